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
            Readiness::Descriptor(_) | Readiness::Notify | Readiness::Check(_) => true,
            Readiness::None => false,
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
            Readiness::None | Readiness::After(Duration::ZERO) => None,
            Readiness::After(span) => Some(Awaited::Time(now.after(span))),
            Readiness::Descriptor(_) | Readiness::Notify | Readiness::Check(_) => Some(Awaited::Word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_readiness_holds_and_else_the_descriptor_of_s6() {
        let (number, after) = (Some(4), Readiness::After(Duration::from_secs(1)));
        let holds = |readiness, descriptor| Said { readiness, descriptor }.readiness();
        assert_eq!(holds(Readiness::None, None), Readiness::None);
        assert_eq!(holds(Readiness::None, number), Readiness::Descriptor(4));
        assert_eq!([holds(after, None), holds(after, number)], [after; 2]);
    }

    #[test]
    fn what_is_not_waited_for_is_ready_at_once() {
        let awaited = |readiness| Awaited::of(readiness, Mono(5));
        for readiness in [Readiness::None, Readiness::After(Duration::ZERO)] {
            assert!(awaited(readiness).is_none() && !readiness.is_acted_on(), "{readiness:?}");
        }
        for readiness in [Readiness::Descriptor(3), Readiness::Notify, Readiness::Check(None)] {
            assert!(awaited(readiness) == Some(Awaited::Word) && readiness.is_acted_on(), "{readiness:?}");
        }
        assert_eq!(awaited(Readiness::After(Duration::from_nanos(7))), Some(Awaited::Time(Mono(12))));
    }
}
