//! What is waited for, and for how long.

use super::{ErrorKind, Kind, Status};
use crate::machine::{Mono, Phase, UnknownWord, Want};
use crate::sys::clock;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Until {
    /// `run` runs.
    Up,
    /// Nothing runs, `finish` included, and nothing is about to be started.
    Down,
    /// It is ready. Under s6 it has said so itself; under onit it is up and its `./check`, if it has one, ends with 0. That
    /// is run by us, again and again, as `sv check` and `onit check` do. An error at once where readiness never shows, see
    /// [`ErrorKind::NoReadiness`].
    Ready,
    /// `run` runs as another process than in this earlier status, or for the first time if there was none.
    Restarted(Option<Status>),
    /// It has been started since this earlier status was read, or runs still. Met also when it has ended again.
    Started(Option<Status>),
    /// A supervisor looks after it, and says something about it.
    Supervised,
    /// No supervisor looks after it.
    Gone,
}

/// What is known of a service at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct StatusFile {
    /// A supervisor looks after it.
    pub alive: bool,
    /// What it says; `None` also if that cannot be read.
    pub status: Option<Status>,
}

impl Until {
    /// Whether it is so; an error where it will never be.
    pub(super) fn is_met(self, sight: StatusFile) -> std::result::Result<bool, ErrorKind> {
        match self {
            Until::Gone => return Ok(!sight.alive),
            Until::Supervised => return Ok(sight.alive && sight.status.is_some()),
            _ if !sight.alive => return Err(ErrorKind::NoSupervisor),
            _ => {}
        }
        let Some(status) = sight.status else { return Ok(false) };
        let up = status.phase == Phase::Run;
        Ok(match self {
            Until::Up => up,
            Until::Down => status.phase == Phase::Down && status.want != Want::Up,
            Until::Ready => status.ready.ok_or(ErrorKind::NoReadiness(kind(&status)))? && up,
            Until::Restarted(before) => up && before.is_none_or(|before| is_other(&before, &status)),
            Until::Started(before) => up || before.is_none_or(|before| before.since != status.since),
            Until::Supervised | Until::Gone => true,
        })
    }
}

fn is_other(before: &Status, now: &Status) -> bool {
    before.phase != Phase::Run || before.pid != now.pid || before.since != now.since
}

/// For words only: onit cannot be told from runit by a record.
fn kind(status: &Status) -> Kind {
    use crate::wire::status::any::Format;
    match status.format {
        Format::Daemontools => Kind::Daemontools,
        Format::Runit => Kind::Runit,
        Format::Encore => Kind::Encore,
        Format::S6 | Format::S6Long => Kind::S6,
        Format::Universal => Kind::Onit,
        Format::Systemd => Kind::Systemd,
    }
}

impl Until {
    /// What an error says was waited for.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Until::Up => "it is up",
            Until::Down => "it is down",
            Until::Ready => "it is ready",
            Until::Restarted(_) => "it is up again",
            Until::Started(_) => "it was started",
            Until::Supervised => "it is supervised",
            Until::Gone => "its supervisor is gone",
        }
    }

    /// The word for it; an earlier status is not told.
    pub fn word(self) -> &'static str {
        match self {
            Until::Up => "up",
            Until::Down => "down",
            Until::Ready => "ready",
            Until::Restarted(_) => "restarted",
            Until::Started(_) => "started",
            Until::Supervised => "supervised",
            Until::Gone => "gone",
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Until {
    type Err = UnknownWord;

    /// By its [word](Until::word); `restarted` and `started` compare with no earlier status.
    fn from_str(word: &str) -> Result<Until, UnknownWord> {
        let all = [
            Until::Up,
            Until::Down,
            Until::Ready,
            Until::Restarted(None),
            Until::Started(None),
            Until::Supervised,
            Until::Gone,
        ];
        let meant = all.into_iter().find(|until| until.word() == word);
        meant.ok_or_else(|| UnknownWord::new("state to wait for", word))
    }
}

/// When waiting ends: an instant, made of a [`Duration`] from now, or [`NEVER`](Deadline::NEVER).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline(pub(crate) Option<Mono>);

impl Deadline {
    /// As long as it takes.
    pub const NEVER: Deadline = Deadline(None);

    /// This much from now. Waiting is exact to the millisecond, and never too short.
    pub fn after(span: Duration) -> Deadline {
        Deadline(Some(clock::now().after(span)))
    }

    /// At this moment of our clock; never, if there is none.
    #[cfg(feature = "tools")]
    pub(crate) fn at(moment: Option<Mono>) -> Deadline {
        Deadline(moment)
    }

    /// The earlier one.
    pub(super) fn min(self, other: Deadline) -> Deadline {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Deadline(Some(one.min(other))),
            (one, other) => Deadline(one.or(other)),
        }
    }

    /// It has come.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|at| at <= clock::now())
    }
}

impl From<Duration> for Deadline {
    fn from(span: Duration) -> Deadline {
        Deadline::after(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Pid;
    use crate::wire::status::any::Format;
    use std::time::SystemTime;

    const UP: Status = Status {
        format: Format::Runit,
        phase: Phase::Run,
        want: Want::Up,
        pid: Some(Pid(7)),
        paused: false,
        since: SystemTime::UNIX_EPOCH,
        ready: None,
        got_term: false,
        failed: false,
        last_exit: None,
    };
    const DOWN: Status = Status { phase: Phase::Down, want: Want::Down, pid: None, ..UP };

    fn met(until: Until, status: Status) -> std::result::Result<bool, ErrorKind> {
        until.is_met(StatusFile { alive: true, status: Some(status) })
    }

    fn later(status: Status) -> Status {
        Status { since: status.since + Duration::from_nanos(1), ..status }
    }

    #[test]
    fn up_and_down_are_what_they_say() {
        assert_eq!((met(Until::Up, UP), met(Until::Up, DOWN)), (Ok(true), Ok(false)));
        assert_eq!((met(Until::Down, UP), met(Until::Down, DOWN)), (Ok(false), Ok(true)));
        assert_eq!(met(Until::Down, Status { want: Want::Up, ..DOWN }), Ok(false), "it is about to be started");
        assert_eq!(met(Until::Down, Status { want: Want::Once, ..DOWN }), Ok(true));
        let finish = Status { phase: Phase::Finish, want: Want::Down, ..UP };
        assert_eq!((met(Until::Up, finish), met(Until::Down, finish)), (Ok(false), Ok(false)));
    }

    #[test]
    fn readiness_is_waited_for_only_where_it_shows() {
        assert_eq!(met(Until::Ready, Status { ready: Some(true), ..UP }), Ok(true));
        assert_eq!(met(Until::Ready, Status { ready: Some(false), ..UP }), Ok(false));
        for status in [UP, DOWN] {
            assert_eq!(met(Until::Ready, status), Err(ErrorKind::NoReadiness(Kind::Runit)));
        }
        assert_eq!(met(Until::Ready, Status { ready: Some(true), ..DOWN }), Ok(false));
    }

    #[test]
    fn another_life_is_another_process_or_a_later_start() {
        let until = Until::Restarted(Some(UP));
        assert_eq!(met(until, UP), Ok(false));
        assert_eq!(met(until, Status { paused: true, ..UP }), Ok(false));
        assert_eq!(met(until, Status { pid: Some(Pid(8)), ..UP }), Ok(true));
        assert_eq!(met(until, later(UP)), Ok(true), "a pid may come again");
        assert_eq!(met(until, later(DOWN)), Ok(false));
        assert_eq!(met(Until::Restarted(Some(DOWN)), UP), Ok(true));
        assert_eq!(met(Until::Restarted(None), UP), Ok(true));
    }

    #[test]
    fn a_start_counts_also_when_it_is_over() {
        assert_eq!(met(Until::Started(Some(DOWN)), DOWN), Ok(false));
        assert_eq!(met(Until::Started(Some(DOWN)), later(DOWN)), Ok(true));
        assert_eq!(met(Until::Started(Some(UP)), UP), Ok(true));
    }

    #[test]
    fn without_a_supervisor_only_its_absence_can_be_waited_for() {
        let gone = StatusFile { alive: false, status: Some(UP) };
        for until in [Until::Up, Until::Down, Until::Ready, Until::Restarted(None), Until::Started(None)] {
            assert_eq!(until.is_met(gone), Err(ErrorKind::NoSupervisor));
            assert_eq!(until.is_met(StatusFile { alive: true, status: None }), Ok(false));
        }
        assert_eq!((Until::Gone.is_met(gone), Until::Supervised.is_met(gone)), (Ok(true), Ok(false)));
        let silent = StatusFile { alive: true, status: None };
        assert_eq!((Until::Gone.is_met(silent), Until::Supervised.is_met(silent)), (Ok(false), Ok(false)));
        assert_eq!(met(Until::Supervised, DOWN), Ok(true));
    }

    #[test]
    fn what_is_waited_for_is_read_from_its_word() {
        for until in [Until::Up, Until::Ready, Until::Restarted(None), Until::Gone] {
            assert_eq!(until.to_string().parse(), Ok(until));
        }
        let error = "redy".parse::<Until>().expect_err("it is misspelt");
        assert_eq!(error.to_string(), "\"redy\" is no state to wait for");
        assert!(Kind::ALL.iter().all(|kind| kind.to_string().parse() == Ok(*kind)));
    }
}
