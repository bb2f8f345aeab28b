//! When a service that runs counts as ready.

use super::Mono;
use std::time::Duration;

/// When a service counts as ready (file `readiness`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Readiness {
    /// At once.
    #[default]
    None,
    /// When it has lived for this long.
    After(Duration),
    /// When it has written a newline to this descriptor, as in s6.
    Descriptor(u32),
    /// When it has sent `READY=1` to `$NOTIFY_SOCKET`, as with systemd.
    Notify,
    /// When `./check` succeeds; asked this often.
    Check(Option<Duration>),
}

/// What the small files of a service say of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// File `readiness`.
    pub readiness: Readiness,
    /// File `notification-fd`, as s6 has it.
    pub descriptor: Option<u32>,
}

impl Said {
    /// What holds.
    pub fn readiness(self) -> Readiness {
        match (self.readiness, self.descriptor) {
            (Readiness::None, Some(number)) => Readiness::Descriptor(number),
            (readiness, _) => readiness,
        }
    }

    /// Whether the supervisor knows when the service is ready.
    pub fn is_acted_on(self) -> bool {
        self.readiness().is_acted_on()
    }
}

impl Readiness {
    /// Whether this version waits for it. What it does not wait for is ready at once.
    pub fn is_acted_on(self) -> bool {
        match self {
            Readiness::After(span) => !span.is_zero(),
            Readiness::Descriptor(_) => true,
            Readiness::None | Readiness::Notify | Readiness::Check(_) => false,
        }
    }
}

/// What a service that runs is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// It is ready then, if it still lives. `None`: it is told.
    pub ready_at: Option<Mono>,
    /// It has had its time.
    pub is_late: bool,
}

impl Awaited {
    /// For one that is started now. `None`: it is ready at once.
    pub fn of(readiness: Readiness, now: Mono) -> Option<Awaited> {
        match readiness {
            Readiness::None | Readiness::Notify | Readiness::Check(_) | Readiness::After(Duration::ZERO) => None,
            Readiness::After(span) => Some(Awaited { ready_at: Some(now.after(span)), is_late: false }),
            Readiness::Descriptor(_) => Some(Awaited { ready_at: None, is_late: false }),
        }
    }
}
