//! A second `run` beside the first one, which takes its place as soon as it is ready: a restart without a gap.

use super::fields::{Place, fields};
use super::rare::Common;
use super::readiness::Awaited;
use super::service::memory::{EXTRA, instant, number, of_instant, pid_of};
use super::{Mono, Pid};
use std::time::Duration;

/// It has so long to become ready, where the service does not say.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// If nothing tells whether it is ready, it has to live for so long.
pub const PROVEN: Duration = Duration::from_secs(1);

/// How it stands with that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overlap {
    /// There is one `run` at most.
    None,
    /// The second one was asked for, and the answer comes within this turn.
    Asked,
    /// Both live. The first one is what everybody sees.
    Beside {
        /// The second one.
        pid: Pid,
        /// When it was started.
        started: Mono,
        /// What is waited for.
        awaited: Awaited,
        /// Until then.
        ready_by: Mono,
    },
    /// One of both was told to end: the first, whose place was taken, or the second, which has failed.
    Ending {
        /// That one.
        pid: Pid,
        /// It is killed then.
        kill_at: Option<Mono>,
    },
}

impl Common for Overlap {
    const COMMON: &'static Overlap = &Overlap::None;
}

fields! {
    /// The same, as it is noted for a supervisor that goes on. Instants are in nanoseconds, and one more: zero is none.
    pub struct Fields in EXTRA {
        /// The process beside `run`.
        pid: Place::bits(7, 0, 32),
        /// Which of the cases.
        stage: Place::bits(7, 32, 2),
        /// What is waited for.
        awaited: Place::bits(7, 34, 2),
        /// When it is to be ready, or killed.
        until: Place::word(8),
        /// When it was started.
        started: Place::word(9),
        /// When it is ready, if time alone says so.
        ready_at: Place::word(10),
    }
}

impl Overlap {
    /// The process that runs beside `run`.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Overlap::Beside { pid, .. } | Overlap::Ending { pid, .. } => Some(*pid),
            Overlap::None | Overlap::Asked => None,
        }
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Mono> {
        match self {
            Overlap::None | Overlap::Asked => None,
            Overlap::Beside { awaited: Awaited::Time(at), ready_by, .. } => Some((*at).min(*ready_by)),
            Overlap::Beside { awaited: Awaited::Word | Awaited::End, ready_by, .. } => Some(*ready_by),
            Overlap::Ending { kill_at, .. } => *kill_at,
        }
    }

    /// As it is noted.
    pub fn pack(&self) -> [u64; EXTRA] {
        let fields = match *self {
            Overlap::None => Fields::default(),
            Overlap::Asked => Fields { stage: 1, ..Fields::default() },
            Overlap::Beside { pid, started, awaited, ready_by } => {
                let (awaited, ready_at) = match awaited {
                    Awaited::Word => (0, None),
                    Awaited::Time(at) => (1, Some(at)),
                    Awaited::End => (2, None),
                };
                let (until, ready_at) = (instant(Some(ready_by)), instant(ready_at));
                Fields { pid: number(pid), stage: 2, awaited, until, started: started.0, ready_at }
            }
            Overlap::Ending { pid, kill_at } => {
                Fields { pid: number(pid), stage: 3, until: instant(kill_at), ..Fields::default() }
            }
        };
        fields.pack()
    }

    /// And back. What cannot be is none.
    pub fn unpack(words: &[u64; EXTRA]) -> Overlap {
        let Fields { pid, stage, awaited, until, started, ready_at } = Fields::unpack(words);
        let awaited = match awaited {
            0 => Some(Awaited::Word),
            1 => of_instant(ready_at).map(Awaited::Time),
            _ => Some(Awaited::End),
        };
        let until = of_instant(until);
        let some = match stage {
            0 => None,
            1 => Some(Overlap::Asked),
            2 => pid_of(pid).zip(awaited).zip(until).map(|((pid, awaited), ready_by)| Overlap::Beside {
                pid,
                started: Mono(started),
                awaited,
                ready_by,
            }),
            _ => pid_of(pid).map(|pid| Overlap::Ending { pid, kill_at: until }),
        };
        some.unwrap_or(Overlap::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_and_touches_no_other_word() {
        let (pid, at) = (Pid(7), Mono(5));
        let beside = |awaited| Overlap::Beside { pid, started: Mono(1), awaited, ready_by: at };
        for case in [
            Overlap::None,
            Overlap::Asked,
            beside(Awaited::Word),
            beside(Awaited::Time(Mono(9))),
            Overlap::Ending { pid, kill_at: Some(at) },
            Overlap::Ending { pid, kill_at: None },
        ] {
            assert_eq!(Overlap::unpack(&case.pack()), case);
            assert_eq!(case.pack()[..7], [0; 7]);
        }
    }

    #[test]
    fn what_is_due_first_counts() {
        let beside = |awaited| Overlap::Beside { pid: Pid(7), started: Mono(1), awaited, ready_by: Mono(9) };
        assert_eq!(beside(Awaited::Word).deadline(), Some(Mono(9)));
        assert_eq!(beside(Awaited::Time(Mono(5))).deadline(), Some(Mono(5)));
        assert_eq!(beside(Awaited::Time(Mono(50))).deadline(), Some(Mono(9)));
    }
}
