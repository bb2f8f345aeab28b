//! The status record of any supervisor, as a client reads it.
//!
//! daemontools' 18 and runit's 20 bytes are described [above](super). The others:
//!
//! | byte | daemontools-encore: 20 bytes, or 40 with a logger |
//! |---|---|
//! | 0–17 | as daemontools |
//! | 18 | 0 stopped, 1 starting, 2 started, 3 running, 4 stopping, 5 failed |
//! | 19 | 0 |
//! | 20–39 | the same for its logger, not read here |
//!
//! s6's 35 bytes, and 43 in its versions 2.13.0 to 2.13.2, are described in [`s6`](super::s6), as is onit's record for
//! all.
//!
//! Sources: `supervise.c` of daemontools-encore 1.11, `s6-supervise` 2.11 to 2.15; checked against records of the
//! real tools, see the tests. Nothing here allocates.

use super::s6::{FINISHING, LEN as S6_LEN, LONG_LEN as S6_LONG_LEN, PAUSED, READY, WANT_UP};
use super::{Bad, DAEMONTOOLS_LEN, RUNIT_LEN};
use crate::machine::{Completion, Exit, Phase, Pid, ServiceState, Signal, Want};
use crate::wire::tai::Tai;
use std::time::{Duration, SystemTime};

/// No record is longer, in bytes.
pub const LONGEST: usize = S6_LONG_LEN;
const ENCORE_LOGGED_LEN: usize = 40;

/// Whose record it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Format {
    /// daemontools: 18 bytes.
    Daemontools,
    /// runit, and onit: 20 bytes.
    Runit,
    /// daemontools-encore: 20 bytes, or 40 with a logger.
    Encore,
    /// s6: 35 bytes.
    S6,
    /// s6 2.13.0 to 2.13.2: 43 bytes.
    S6Long,
    /// onit's for the tools of all: 43 bytes.
    Universal,
    /// No record: what `systemctl show` prints, see [`systemd`](super::systemd). Never detected.
    Systemd,
}

impl Format {
    /// Whose record these bytes are, by their number. runit's and encore's 20 bytes differ where it matters: encore
    /// always has 0 at byte 19, and something at byte 18, where runit has 0 as long as byte 19 says *down*.
    pub fn detect(record: &[u8]) -> Option<Format> {
        match (record.len(), record) {
            (DAEMONTOOLS_LEN, _) => Some(Format::Daemontools),
            (RUNIT_LEN, [.., want, word, 0]) if *want == 0 || *word != 0 => Some(Format::Encore),
            (RUNIT_LEN, _) => Some(Format::Runit),
            (ENCORE_LOGGED_LEN, _) => Some(Format::Encore),
            (S6_LEN, _) => Some(Format::S6),
            (S6_LONG_LEN, _) if is_universal(record) => Some(Format::Universal),
            (S6_LONG_LEN, _) => Some(Format::S6Long),
            _ => None,
        }
    }
}

/// What a supervisor says about a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status {
    /// Whose record this was read from.
    pub format: Format,
    /// What runs. With daemontools, which knows no `finish`, it is derived from the process.
    pub phase: Phase,
    /// What it was told to be. runit and s6 have no *once*: there it reads as *down*.
    pub want: Want,
    /// The process of `run`, or of `finish` while that runs.
    pub pid: Option<Pid>,
    /// STOP was sent through the supervisor, and no CONT since. With runit this may outlive the process.
    pub paused: bool,
    /// Since when it is up or down, on the wall clock.
    pub since: SystemTime,
    /// It has said that it is ready (s6), or its `start` is over (encore). `None` where the supervisor does not record
    /// that; false while it is down.
    pub ready: Option<bool>,
    /// The stop signal was sent to this process. Recorded by runit, onit, and encore.
    pub got_term: bool,
    /// encore: it has failed for good, and is not started again without an order.
    pub failed: bool,
    /// s6, and onit's record for all: how the last `run` ended. While none has ended yet, most versions record an exit with code 0.
    pub last_exit: Option<Exit>,
}

/// In s6's long record the second of its readiness stands there, which begins with other bytes ever since 1970.
fn is_universal(record: &[u8]) -> bool {
    matches!(record.get(16..24), Some([0 | 1, b'u' | b'd', 0 | 1, 0..=2, 0, 0, 0, 0]))
}

impl Status {
    /// Reads a record of any supervisor. Its length says whose it is.
    ///
    /// # Errors
    /// There is no record of this length, or a byte in it has a value that its writer never writes.
    pub fn decode(record: &[u8]) -> Result<Status, Bad> {
        Status::decode_as(Format::detect(record).ok_or(Bad::Length(record.len()))?, record)
    }

    /// Reads a record of this format. Bytes behind it are not looked at.
    ///
    /// # Errors
    /// The record is too short, or a byte in it has a value that its writer never writes.
    pub fn decode_as(format: Format, record: &[u8]) -> Result<Status, Bad> {
        let short = Bad::Length(record.len());
        match format {
            Format::Daemontools | Format::Runit => {
                let length = if format == Format::Runit { RUNIT_LEN } else { DAEMONTOOLS_LEN };
                let read = super::Status::unpack(record.get(..length).ok_or(short)?)?;
                Ok(Status {
                    phase: read.phase,
                    got_term: read.got_term,
                    ..Status::common(format, read.since, read.pid, read.want, read.paused)?
                })
            }
            Format::Systemd => {
                let text = std::str::from_utf8(record).map_err(|bad| Bad::Byte(bad.valid_up_to()))?;
                Ok(super::systemd::Unit::parse(text).status)
            }
            Format::Encore => encore(record.first_chunk().ok_or(short)?),
            Format::S6 => {
                let [head @ .., a, b, flags] = record.first_chunk::<S6_LEN>().ok_or(short)?;
                s6(format, head, [*a, *b], *flags)
            }
            Format::S6Long => {
                let [head @ .., a, b, flags] = record.first_chunk::<S6_LONG_LEN>().ok_or(short)?;
                s6(format, head.first_chunk().ok_or(short)?, [*a, *b], *flags)
            }
            Format::Universal => {
                let [head @ .., a, b, flags] = record.first_chunk::<S6_LONG_LEN>().ok_or(short)?;
                let of_s6 = s6(format, head.first_chunk().ok_or(short)?, [*a, *b], *flags)?;
                let of_runit = Status::decode_as(Format::Runit, record)?;
                Ok(Status { format, ready: of_s6.ready, last_exit: of_s6.last_exit, ..of_runit })
            }
        }
    }

    /// How long it has been up or down at `now`. Zero if the record says that it begins later, as all tools have it.
    pub fn uptime(&self, now: SystemTime) -> Duration {
        now.duration_since(self.since).unwrap_or_default()
    }

    /// Where it stands, in one word.
    pub fn state(&self) -> ServiceState {
        ServiceState::of(self.phase, self.want, self.got_term, self.failed.then_some(Completion::Failed))
    }

    fn common(format: Format, since: Tai, pid: Option<Pid>, want: Want, paused: bool) -> Result<Status, Bad> {
        Ok(Status {
            format,
            phase: if pid.is_some() { Phase::Run } else { Phase::Down },
            want,
            pid,
            paused,
            since: since.time().ok_or(Bad::Byte(8))?,
            ready: None,
            got_term: false,
            failed: false,
            last_exit: None,
        })
    }
}

fn encore(record: &[u8; RUNIT_LEN]) -> Result<Status, Bad> {
    let [common @ .., word, zero] = record;
    let read = super::Status::unpack(common)?;
    if *zero != 0 {
        return Err(Bad::Byte(19));
    }
    let status = Status::common(Format::Encore, read.since, read.pid, read.want, read.paused)?;
    Ok(match (word, read.pid) {
        (0 | 1 | 3, None) => Status { ready: Some(false), ..status },
        (1, Some(_)) => Status { ready: Some(false), ..status },
        (2, None) => Status { phase: Phase::Run, ready: Some(true), ..status }, // `start` without `run`
        (0 | 2 | 3, Some(_)) => Status { ready: Some(true), ..status },
        (4, _) => Status { ready: Some(false), got_term: read.pid.is_some(), ..status },
        (5, _) => Status { ready: Some(false), failed: read.pid.is_none(), ..status },
        _ => return Err(Bad::Byte(18)),
    })
}

/// `head`: all up to the process.
fn s6(format: Format, head: &[u8; 32], ended: [u8; 2], flags: u8) -> Result<Status, Bad> {
    let short = Bad::Length(head.len());
    let stamp = head.first_chunk().ok_or(short)?;
    let pid = u64::from_be_bytes(*head.last_chunk().ok_or(short)?);
    let pid = i32::try_from(pid).map_err(|_| Bad::Byte(24))?;
    let pid = (pid != 0).then_some(Pid(pid));
    let at = if format == Format::S6 { S6_LEN } else { S6_LONG_LEN } - 1;
    if flags & !(PAUSED | FINISHING | WANT_UP | READY) != 0 {
        return Err(Bad::Byte(at));
    }
    let has = |flag| flags & flag != 0;
    let want = if has(WANT_UP) { Want::Up } else { Want::Down };
    let status = Status::common(format, Tai::unpack_s6(*stamp), pid, want, has(PAUSED) && pid.is_some())?;
    let phase = if has(FINISHING) && pid.is_some() { Phase::Finish } else { status.phase };
    let never = has(PAUSED) && pid.is_none(); // since 2.13.2
    let last_exit = exit(u16::from_be_bytes(ended)).ok_or(Bad::Byte(at - 1))?;
    Ok(Status {
        phase,
        ready: Some(has(READY) && phase == Phase::Run),
        last_exit: (!never).then_some(last_exit),
        ..status
    })
}

/// What `waitpid` said; `None` for what is no end. The layout is that of every Linux.
fn exit(status: u16) -> Option<Exit> {
    let [code, low] = status.to_be_bytes();
    match low & 0x7f {
        0 if low == 0 => Some(Exit::Code(code)),
        0 | 0x7f => None,
        signal => Some(Exit::Signal { signal: Signal(signal.into()), core: low & 0x80 != 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
    }

    fn decoded(hex: &str) -> Status {
        Status::decode(&bytes(hex)).unwrap_or_else(|bad| panic!("{hex}: {bad}"))
    }

    fn at(unix: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(unix, nanos)
    }

    /// Phase, want, process, paused, ready, got TERM.
    type Facts = (Phase, Want, Option<i32>, bool, Option<bool>, bool);

    fn facts(status: &Status) -> Facts {
        let Status { phase, want, pid, paused, ready, got_term, .. } = *status;
        (phase, want, pid.map(|pid| pid.0), paused, ready, got_term)
    }

    const fn ended(signal: i32) -> Option<Exit> {
        Some(Exit::Signal { signal: Signal(signal), core: false })
    }

    #[test]
    fn records_of_real_s6_2_11() {
        use Phase::{Down, Finish, Run};
        use Want::{Down as No, Up};
        let first = "400000006b05475209c45957400000006b05475209bc6f64";
        let second = "400000006b0547531c731c48400000006b05475209bc6f64";
        let third = "400000006b0547591db72890400000006b05475b1dd9687a";
        let (unready, code) = (Some(false), |code| Some(Exit::Code(code)));
        for (record, expected, last) in [
            (format!("{first}0000000000005a45000004"), (Run, Up, Some(0x5a45), false, unready, false), code(0)),
            (format!("{first}0000000000005a45000005"), (Run, Up, Some(0x5a45), true, unready, false), code(0)),
            (format!("{first}0000000000005a4500000c"), (Run, Up, Some(0x5a45), false, Some(true), false), code(0)),
            (format!("{second}0000000000005a52000906"), (Finish, Up, Some(0x5a52), false, unready, false), ended(9)),
            (format!("{second}0000000000005a5a000904"), (Run, Up, Some(0x5a5a), false, unready, false), ended(9)),
            (format!("{third}0000000000005b05030002"), (Finish, No, Some(0x5b05), false, unready, false), code(3)),
            (format!("{third}0000000000000000000f08"), (Down, No, None, false, unready, false), ended(15)),
            (format!("{third}0000000000000000030008"), (Down, No, None, false, unready, false), code(3)),
            (format!("{third}000000000000000003000c"), (Down, Up, None, false, unready, false), code(3)),
        ] {
            let status = decoded(&record);
            assert_eq!((status.format, facts(&status), status.last_exit), (Format::S6, expected, last), "{record}");
        }
        let up = decoded(&format!("{first}0000000000005a45000004"));
        assert_eq!(up.since, at(0x6b05_4752 - 37, 0x09c4_5957));
    }

    #[test]
    fn s6_that_has_not_started_yet_has_no_last_exit() {
        let status = decoded(&format!("{}{}000009", "400000006b05475209c45957".repeat(2), "0".repeat(16)));
        assert_eq!((status.phase, status.paused, status.last_exit), (Phase::Down, false, None));
    }

    #[test]
    fn a_core_is_seen_in_s6s_record() {
        let status = decoded(&format!("{}{}008b08", "400000006b05475209c45957".repeat(2), "0".repeat(16)));
        assert_eq!(status.last_exit, Some(Exit::Signal { signal: Signal(11), core: true }));
    }

    #[test]
    fn s6s_long_record_has_a_process_group_between() {
        let head = format!("{}0000000000005a45", "400000006b05475209c45957".repeat(2));
        let (short, long) = (decoded(&format!("{head}010007")), decoded(&format!("{head}0000000000005a45010007")));
        assert_eq!((short.format, long.format), (Format::S6, Format::S6Long));
        assert_eq!(Status { format: Format::S6, ..long }, short);
    }

    #[test]
    fn the_record_for_all_is_told_from_that_of_s6_and_says_what_both_say() {
        use crate::wire::status::s6::{Extra, pack_universal};
        let since = Tai { unix: 1_700_000_000, nanos: 5 };
        let written = super::super::Status {
            since,
            pid: Some(Pid(64)),
            paused: false,
            want: Want::Up,
            got_term: true,
            phase: Phase::Run,
        };
        let extra = Extra { since, ready: Some(since), last_exit: ended(9) };
        let read = Status::decode(&pack_universal(&written, &extra)).expect("a record");
        assert_eq!(
            (read.format, facts(&read)),
            (Format::Universal, (Phase::Run, Want::Up, Some(64), false, Some(true), true))
        );
        assert_eq!((read.last_exit, read.since), (ended(9), at(1_700_000_000, 5)));
        let down = super::super::Status { pid: None, phase: Phase::Down, want: Want::Down, got_term: false, ..written };
        let read = Status::decode(&pack_universal(&down, &extra)).expect("a record");
        assert_eq!(
            (read.format, facts(&read)),
            (Format::Universal, (Phase::Down, Want::Down, None, false, Some(false), false))
        );
        for bad in [16, 17, 18, 19, 42] {
            let mut record = pack_universal(&written, &extra);
            record[bad] = 0xff;
            assert!(Status::decode_as(Format::Universal, &record).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_of_real_supervise() {
        let stamp = "400000006b05474106aececc";
        let up = decoded(&format!("{stamp}375b00000075"));
        assert_eq!(facts(&up), (Phase::Run, Want::Up, Some(0x5b37), false, None, false));
        assert_eq!((up.format, up.since), (Format::Daemontools, at(0x6b05_4741 - 10, 0x06ae_cecc)));
        assert_eq!(decoded(&format!("{stamp}375b00000000")).want, Want::Once);
        assert!(decoded(&format!("{stamp}375b00000100")).paused);
        let down = decoded("400000006b0547423169874c000000000064");
        assert_eq!(facts(&down), (Phase::Down, Want::Down, None, false, None, false));
    }

    #[test]
    fn records_of_real_runsv() {
        let stamp = "400000006b054743082749b4";
        for (tail, expected) in [
            ("515b000000750001", (Phase::Run, Want::Up, Some(0x5b51), false, None, false)),
            ("515b000001750001", (Phase::Run, Want::Up, Some(0x5b51), true, None, false)),
            ("577b000001750101", (Phase::Run, Want::Up, Some(0x7b57), true, None, true)),
            ("5d5b000000640002", (Phase::Finish, Want::Down, Some(0x5b5d), false, None, false)),
            ("0000000000640000", (Phase::Down, Want::Down, None, false, None, false)),
            ("0000000001640000", (Phase::Down, Want::Down, None, true, None, false)),
        ] {
            let status = decoded(&format!("{stamp}{tail}"));
            assert_eq!((status.format, facts(&status)), (Format::Runit, expected), "{tail}");
            assert_eq!(status.since, at(0x6b05_4743 - 10, 0x0827_49b4));
        }
    }

    #[test]
    fn records_as_encore_writes_them() {
        let stamp = "400000006b054743082749b4";
        let (yes, no) = (Some(true), Some(false));
        for (tail, expected, failed) in [
            ("0000000000750100", (Phase::Down, Want::Up, None, false, no, false), false),
            ("515b000000750100", (Phase::Run, Want::Up, Some(0x5b51), false, no, false), false),
            ("0000000000000200", (Phase::Run, Want::Once, None, false, yes, false), false),
            ("515b000001750300", (Phase::Run, Want::Up, Some(0x5b51), true, yes, false), false),
            ("515b000000640400", (Phase::Run, Want::Down, Some(0x5b51), false, no, true), false),
            ("0000000000640500", (Phase::Down, Want::Down, None, false, no, false), true),
        ] {
            for logger in ["", "400000006b054743082749b4525b000000750300"] {
                let status = decoded(&format!("{stamp}{tail}{logger}"));
                assert_eq!((facts(&status), status.failed), (expected, failed), "{tail}");
                assert_eq!(status.format, Format::Encore);
            }
        }
        let stopped = bytes(&format!("{stamp}0000000000640000"));
        let read = |format| Status::decode_as(format, &stopped).expect("a record of both");
        let (encore, runit) = (read(Format::Encore), read(Format::Runit));
        assert_eq!(Status { format: Format::Runit, ready: None, ..encore }, runit);
    }

    #[test]
    fn where_it_stands() {
        let status = decoded("400000006b054743082749b4515b000000750001");
        let down = Status { phase: Phase::Down, pid: None, ..status };
        for (status, state) in [
            (status, ServiceState::Up),
            (Status { got_term: true, ..status }, ServiceState::Stopping),
            (Status { phase: Phase::Finish, ..status }, ServiceState::Finishing),
            (down, ServiceState::Backoff),
            (Status { want: Want::Down, ..down }, ServiceState::Down),
            (Status { want: Want::Once, ..down }, ServiceState::Down),
            (Status { failed: true, ..down }, ServiceState::Failed),
        ] {
            assert_eq!(status.state(), state, "{status:?}");
        }
    }

    #[test]
    fn an_uptime_is_never_negative() {
        let status = decoded("400000006b054743082749b4515b000000750001");
        assert_eq!(status.uptime(status.since + Duration::from_millis(1500)), Duration::from_millis(1500));
        assert_eq!(status.uptime(status.since - Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn what_no_writer_writes_is_no_record() {
        let s6 = bytes(&format!("{}0000000000005a45010007", "400000006b05475209c45957".repeat(2)));
        for (at, byte, blamed) in
            [(8, 0x3c, 8), (24, 1, 24), (28, 0x80, 24), (33, 0x7f, 33), (33, 0x80, 33), (34, 16, 34)]
        {
            let mut record = s6.clone();
            record[at] = byte;
            assert_eq!(Status::decode(&record), Err(Bad::Byte(blamed)), "byte {at}");
        }
        let runit = bytes("400000006b054743082749b4515b000000750001");
        for (at, byte) in [(8, 0xff), (15, 0x80), (16, 2), (17, b'x'), (18, 2), (19, 3)] {
            let mut record = runit.clone();
            record[at] = byte;
            assert_eq!(Status::decode(&record), Err(Bad::Byte(at)), "byte {at}");
        }
        for (word, blamed) in [(6, Bad::Byte(18)), (255, Bad::Byte(18))] {
            let mut record = runit.clone();
            record[18..].copy_from_slice(&[word, 0]);
            assert_eq!(Status::decode(&record), Err(blamed));
        }
        for length in (0..=64).filter(|length| ![18, 20, 35, 40, 43].contains(length)) {
            assert_eq!(Status::decode(&[0; 64][..length]), Err(Bad::Length(length)));
        }
    }

    #[test]
    fn a_chosen_format_takes_its_part_of_the_bytes() {
        let s6 = bytes(&format!("{}0000000000005a45010007", "400000006b05475209c45957".repeat(2)));
        let longer = [s6.clone(), vec![0xff; 9]].concat();
        assert_eq!(Status::decode_as(Format::S6, &longer), Status::decode(&s6));
        for (format, length) in [
            (Format::Daemontools, 18),
            (Format::Runit, 20),
            (Format::Encore, 20),
            (Format::S6, 35),
            (Format::S6Long, 43),
        ] {
            assert_eq!(Status::decode_as(format, &[0; 64][..length - 1]), Err(Bad::Length(length - 1)));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_status_or_an_error(
            record in prop::collection::vec(any::<u8>(), 0..64), stamp in any::<u32>()
        ) {
            let mut record = record;
            for at in [0, 12] { // most random stamps are too far away for anything else to be looked at
                if let Some(label) = record.get_mut(at..at + 12) {
                    label.copy_from_slice(&Tai { unix: stamp.into(), nanos: 0 }.pack());
                }
            }
            let detected = Format::detect(&record);
            match Status::decode(&record) {
                Ok(status) => {
                    prop_assert_eq!(Some(status.format), detected);
                    prop_assert_eq!(Status::decode_as(status.format, &record), Ok(status));
                }
                Err(Bad::Length(length)) => prop_assert!(detected.is_none() && length == record.len()),
                Err(Bad::Byte(at)) => prop_assert!(at < record.len()),
            }
        }

        #[test]
        fn what_pid_1_writes_a_client_reads(
            unix in 0i64..1 << 40, nanos in 0u32..1_000_000_000, pid in 1..i32::MAX, bits in 0u8..8, phase in 0u8..3
        ) {
            let phase = [Phase::Down, Phase::Run, Phase::Finish][usize::from(phase)];
            let written = super::super::Status {
                since: Tai { unix, nanos },
                pid: (phase != Phase::Down).then_some(Pid(pid)),
                paused: bits & 1 != 0,
                want: if bits & 2 != 0 { Want::Up } else { Want::Down },
                got_term: bits & 4 != 0 && phase != Phase::Down,
                phase,
            };
            let read = Status::decode(&written.pack_runit()).expect("a record of runit");
            prop_assert_eq!(read.format, Format::Runit);
            prop_assert_eq!((read.phase, read.want, read.pid), (written.phase, written.want, written.pid));
            prop_assert_eq!((read.paused, read.got_term), (written.paused, written.got_term));
            prop_assert_eq!(Some(read.since), written.since.time());
        }
    }
}
