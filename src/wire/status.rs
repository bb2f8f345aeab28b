//! The status record of `supervise/status`, and runit's texts `stat` and `pid`.
//!
//! | byte | content |
//! |---|---|
//! | 0–11 | TAI64N since when it is up or down, big-endian |
//! | 12–15 | process id, little-endian; 0 = none |
//! | 16 | paused: 1 or 0 |
//! | 17 | want: `u`, `d`, or (daemontools) 0 for *once* |
//! | 18 | runit only: 1 when the stop signal was sent to this process |
//! | 19 | runit only: 0 down, 1 `run`, 2 `finish` |
//!
//! Those of s6 have 35 bytes, see [`s6`].
//!
//! Sources: `supervise.c` of daemontools 0.76, `runsv.c` of runit 2.3; checked against records of the real tools.

pub mod any;
pub mod s6;
pub mod systemd;

use super::tai::Tai;
use crate::machine::{Phase, Pid, View, Want, words};
use std::fmt;

/// Length of runit's record.
pub const RUNIT_LEN: usize = 20;
/// Length of daemontools' record.
pub const DAEMONTOOLS_LEN: usize = 18;

/// Whose record is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// 20 bytes, and beside them `stat` and `pid`.
    #[default]
    Runit,
    /// 18 bytes.
    Daemontools,
    /// 35 bytes.
    S6,
    /// 43 bytes, which the tools of all three read.
    Universal,
}

words!(
    Format,
    "format of a status record",
    Runit = "runit",
    Daemontools = "daemontools",
    S6 = "s6",
    Universal = "universal"
);

impl Format {
    /// Whether its readers are told when a service is ready.
    pub fn tells_readiness(self) -> bool {
        match self {
            Format::Runit | Format::Daemontools => false,
            Format::S6 | Format::Universal => true,
        }
    }

    /// Whether the tools that read it look for `supervise/ok` first. Those of s6 look for the lock; the others are not to
    /// find what they would read wrongly.
    pub fn has_ok(self) -> bool {
        self != Format::S6
    }
}

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Since when it is up or down.
    pub since: Tai,
    /// The process that runs, if there is one.
    pub pid: Option<Pid>,
    /// STOP was sent and no CONT since.
    pub paused: bool,
    /// What it was told to be.
    pub want: Want,
    /// The stop signal was sent to this process. Always false in daemontools' record.
    pub got_term: bool,
    /// What runs. In daemontools' record derived from the pid.
    pub phase: Phase,
}

/// Why bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Bad {
    /// No record has so many bytes, or this one has more.
    Length(usize),
    /// The byte at this offset has a value that no writer gives it.
    Byte(usize),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Length(length) => write!(f, "{length} bytes are no status record"),
            Bad::Byte(at) => write!(f, "no status record: byte {at} has a value that nobody writes"),
        }
    }
}

impl std::error::Error for Bad {}

impl Status {
    /// The record of what the outside may see.
    pub fn of(view: &View, since: Tai) -> Status {
        Status {
            since,
            pid: view.pid,
            paused: view.paused,
            want: view.want,
            got_term: view.got_term,
            phase: view.phase,
        }
    }

    /// runit's 20 bytes. runit knows no *once*: it stands as *down*.
    pub fn pack_runit(&self) -> [u8; RUNIT_LEN] {
        let want = if self.want == Want::Up { b'u' } else { b'd' };
        let phase = match self.phase {
            Phase::Down | Phase::Setup => 0,
            Phase::Run => 1,
            Phase::Finish => 2,
        };
        let mut record = [0; RUNIT_LEN];
        let (common, rest) = record.split_at_mut(DAEMONTOOLS_LEN);
        common.copy_from_slice(&self.pack_common(want));
        rest.copy_from_slice(&[self.got_term.into(), phase]);
        record
    }

    /// daemontools' 18 bytes.
    pub fn pack_daemontools(&self) -> [u8; DAEMONTOOLS_LEN] {
        self.pack_common(match self.want {
            Want::Up => b'u',
            Want::Down => b'd',
            Want::Once => 0,
        })
    }

    fn pack_common(&self, want: u8) -> [u8; DAEMONTOOLS_LEN] {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.since.pack();
        let [p, q, r, s] = self.pid.map_or(0, |pid| pid.0).to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, p, q, r, s, self.paused.into(), want]
    }

    /// Reads a record of either length.
    pub fn unpack(record: &[u8]) -> Result<Status, Bad> {
        let (common, extra) = match (record.first_chunk(), record.len()) {
            (Some(common), DAEMONTOOLS_LEN) => (common, None),
            (Some(common), RUNIT_LEN) => (common, record.last_chunk::<2>()),
            (_, length) => return Err(Bad::Length(length)),
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, p, q, r, s, paused, want]: [u8; DAEMONTOOLS_LEN] = *common;
        let pid = i32::try_from(u32::from_le_bytes([p, q, r, s])).map_err(|_| Bad::Byte(15))?;
        let pid = (pid != 0).then_some(Pid(pid));
        Ok(Status {
            since: Tai::unpack([a, b, c, d, e, f, g, h, i, j, k, l]),
            pid,
            paused: flag(paused, 16)?,
            want: match want {
                b'u' => Want::Up,
                b'd' => Want::Down,
                0 => Want::Once,
                _ => return Err(Bad::Byte(17)),
            },
            got_term: extra.map_or(Ok(false), |[got_term, _]| flag(*got_term, 18))?,
            phase: match (extra, pid) {
                (Some([_, 0]), _) | (None, None) => Phase::Down,
                (Some([_, 1]), _) | (None, Some(_)) => Phase::Run,
                (Some([_, 2]), _) => Phase::Finish,
                (Some(_), _) => return Err(Bad::Byte(19)),
            },
        })
    }
}

fn flag(byte: u8, at: usize) -> Result<bool, Bad> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Bad::Byte(at)),
    }
}

/// The line of runit's `supervise/stat`.
pub fn stat_line(view: &View) -> String {
    let mut line = String::from(match (view.phase, view.pid) {
        (Phase::Down, _) => "down",
        (Phase::Setup, _) => "setup",
        (Phase::Run, _) => "run",
        (Phase::Finish, Some(_)) => "finish",
        (Phase::Finish, None) => "finish...",
    });
    if view.paused {
        line.push_str(", paused");
    }
    if view.got_term {
        line.push_str(", got TERM");
    }
    if view.phase != Phase::Down {
        if view.leaving {
            line.push_str(", want exit");
        } else if view.want != Want::Up {
            line.push_str(", want down");
        }
    }
    line.push('\n');
    line
}

/// The text of runit's `supervise/pid`: empty when there is no process.
pub fn pid_line(pid: Option<Pid>) -> String {
    pid.map_or_else(String::new, |pid| format!("{pid}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mono;
    use proptest::prelude::*;

    const UP: Status = Status {
        since: Tai { unix: 0x6b02_6a71 - 10, nanos: 0x1519_aa2c },
        pid: Some(Pid(8151)),
        paused: false,
        want: Want::Up,
        got_term: false,
        phase: Phase::Run,
    };

    #[test]
    fn a_record_of_real_supervise() {
        let real = *b"\x40\0\0\0\x6b\x02\x6a\x71\x15\x19\xaa\x2c\xd7\x1f\0\0\0u";
        assert_eq!(UP.pack_daemontools(), real);
        assert_eq!(Status::unpack(&real), Ok(UP));
    }

    #[test]
    fn daemontools_knows_once_and_runit_calls_it_down() {
        let once = Status { want: Want::Once, ..UP };
        assert_eq!(once.pack_daemontools()[17], 0);
        assert_eq!(Status::unpack(&once.pack_daemontools()), Ok(once));
        assert_eq!(Status::unpack(&once.pack_runit()), Ok(Status { want: Want::Down, ..UP }));
    }

    #[test]
    fn what_no_writer_writes_is_no_record() {
        for (at, byte) in [(15, 0x80), (16, 2), (17, b'x'), (18, 2), (19, 3)] {
            let mut record = UP.pack_runit();
            record[at] = byte;
            assert_eq!(Status::unpack(&record), Err(Bad::Byte(at)));
        }
        for length in [0, 17, 19, 21] {
            assert_eq!(Status::unpack(&[0; 64][..length]), Err(Bad::Length(length)));
        }
    }

    #[test]
    fn records_of_real_runsv() {
        let tail = |status: Status| <[u8; 8]>::try_from(&status.pack_runit()[12..]).expect("eight bytes");
        let run = Status { pid: Some(Pid(30688)), ..UP };
        assert_eq!(tail(run), [0xe0, 0x77, 0, 0, 0, b'u', 0, 1]);
        let paused = Status { pid: Some(Pid(0x7b57)), paused: true, got_term: true, ..UP };
        assert_eq!(tail(paused), [0x57, 0x7b, 0, 0, 1, b'u', 1, 1]);
        let once = Status { pid: Some(Pid(0x7d00)), want: Want::Once, ..UP };
        assert_eq!(tail(once), [0, 0x7d, 0, 0, 0, b'd', 0, 1]);
        let finish = Status { pid: Some(Pid(0x7e1c)), want: Want::Down, phase: Phase::Finish, ..UP };
        assert_eq!(tail(finish), [0x1c, 0x7e, 0, 0, 0, b'd', 0, 2]);
    }

    #[test]
    fn lines_of_real_runsv() {
        let run = View {
            is_ready: true,
            phase: Phase::Run,
            pid: Some(Pid(1)),
            want: Want::Up,
            leaving: false,
            paused: false,
            got_term: false,
            since: Mono(0),
        };
        assert_eq!(stat_line(&run), "run\n");
        assert_eq!(stat_line(&View { paused: true, got_term: true, ..run }), "run, paused, got TERM\n");
        assert_eq!(stat_line(&View { want: Want::Down, got_term: true, ..run }), "run, got TERM, want down\n");
        assert_eq!(stat_line(&View { want: Want::Once, ..run }), "run, want down\n");
        assert_eq!(stat_line(&View { want: Want::Down, leaving: true, ..run }), "run, want exit\n");
        let down = View { phase: Phase::Down, pid: None, want: Want::Down, paused: true, ..run };
        assert_eq!(stat_line(&down), "down, paused\n");
        assert_eq!(stat_line(&View { phase: Phase::Finish, ..run }), "finish\n");
        assert_eq!(stat_line(&View { phase: Phase::Finish, pid: None, ..run }), "finish...\n");
        assert_eq!((pid_line(Some(Pid(7))).as_str(), pid_line(None).as_str()), ("7\n", ""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(record in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(status) = Status::unpack(&record) {
                prop_assert!(record.len() == RUNIT_LEN || record.len() == DAEMONTOOLS_LEN);
                if record.len() == DAEMONTOOLS_LEN {
                    prop_assert_eq!(&status.pack_daemontools()[..], &record[..]);
                }
            }
        }

        #[test]
        fn packing_and_unpacking_are_inverse(
            unix in 0i64..1 << 40, nanos in 0u32..1_000_000_000, pid in 0..i32::MAX, bits in 0u8..8, phase in 0u8..3
        ) {
            let status = Status {
                since: Tai { unix, nanos },
                pid: (pid != 0).then_some(Pid(pid)),
                paused: bits & 1 != 0,
                want: if bits & 2 != 0 { Want::Up } else { Want::Down },
                got_term: bits & 4 != 0,
                phase: [Phase::Down, Phase::Run, Phase::Finish][usize::from(phase)],
            };
            prop_assert_eq!(Status::unpack(&status.pack_runit()), Ok(status));
        }
    }
}
