//! When a service that runs counts as ready.

use super::Mono;
use super::rare::Common;
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

impl Common for Said {
    const COMMON: &'static Said = &Said { readiness: Readiness::None, descriptor: None };
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

/// What is waited for while `run` is not ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// That it says so, or that this is seen.
    Word,
    /// Nothing but this instant.
    Time(Mono),
    /// Its end: it has had its time.
    End,
}

impl Awaited {
    /// For one that is started now. `None`: it is ready at once.
    pub fn of(readiness: Readiness, now: Mono) -> Option<Awaited> {
        match readiness {
            Readiness::None | Readiness::Notify | Readiness::Check(_) | Readiness::After(Duration::ZERO) => None,
            Readiness::After(span) => Some(Awaited::Time(now.after(span))),
            Readiness::Descriptor(_) => Some(Awaited::Word),
        }
    }
}
