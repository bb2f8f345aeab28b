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
//! Sources: `supervise.c` of daemontools 0.76, `runsv.c` of runit 2.3; checked against records of the real tools.

use super::tai::Tai;
use crate::machine::{Phase, Pid, View, Want};

/// Length of runit's record.
pub const RUNIT_LEN: usize = 20;
/// Length of daemontools' record.
pub const DAEMONTOOLS_LEN: usize = 18;

/// Whose record is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// 20 bytes, and beside them `stat` and `pid`.
    Runit,
    /// 18 bytes.
    Daemontools,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// Neither 18 nor 20 bytes.
    Length(usize),
    /// The byte at this offset has a value that no writer gives it.
    Byte(usize),
}

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
        let mut record = [0; RUNIT_LEN];
        self.pack_common(&mut record);
        record[17] = if self.want == Want::Up { b'u' } else { b'd' };
        record[18] = self.got_term.into();
        record[19] = match self.phase {
            Phase::Down => 0,
            Phase::Run => 1,
            Phase::Finish => 2,
        };
        record
    }

    /// daemontools' 18 bytes.
    pub fn pack_daemontools(&self) -> [u8; DAEMONTOOLS_LEN] {
        let mut record = [0; DAEMONTOOLS_LEN];
        self.pack_common(&mut record);
        record[17] = match self.want {
            Want::Up => b'u',
            Want::Down => b'd',
            Want::Once => 0,
        };
        record
    }

    fn pack_common(&self, record: &mut [u8]) {
        record[..12].copy_from_slice(&self.since.pack());
        record[12..16].copy_from_slice(&self.pid.map_or(0, |pid| pid.0).to_le_bytes());
        record[16] = self.paused.into();
    }

    /// Reads a record of either length.
    pub fn unpack(record: &[u8]) -> Result<Status, Bad> {
        if record.len() != RUNIT_LEN && record.len() != DAEMONTOOLS_LEN {
            return Err(Bad::Length(record.len()));
        }
        let stamp = record.first_chunk().ok_or(Bad::Length(record.len()))?;
        let pid = u32::from_le_bytes([record[12], record[13], record[14], record[15]]);
        let pid = i32::try_from(pid).map_err(|_| Bad::Byte(15))?;
        let pid = (pid != 0).then_some(Pid(pid));
        Ok(Status {
            since: Tai::unpack(*stamp),
            pid,
            paused: flag(record, 16)?,
            want: match record[17] {
                b'u' => Want::Up,
                b'd' => Want::Down,
                0 => Want::Once,
                _ => return Err(Bad::Byte(17)),
            },
            got_term: record.len() == RUNIT_LEN && flag(record, 18)?,
            phase: match (record.get(19), pid) {
                (Some(0), _) | (None, None) => Phase::Down,
                (Some(1), _) | (None, Some(_)) => Phase::Run,
                (Some(2), _) => Phase::Finish,
                (Some(_), _) => return Err(Bad::Byte(19)),
            },
        })
    }
}

fn flag(record: &[u8], at: usize) -> Result<bool, Bad> {
    match record[at] {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Bad::Byte(at)),
    }
}

/// The line of runit's `supervise/stat`.
pub fn stat_line(view: &View) -> String {
    let mut line = String::from(match (view.phase, view.pid) {
        (Phase::Down, _) => "down",
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
