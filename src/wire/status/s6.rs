//! s6's record, and one that the tools of daemontools, runit and every s6 read.
//!
//! | byte | s6: 35 bytes | universal: 43 bytes |
//! |---|---|---|
//! | 0–11 | TAI64N since when it is up or down, leap seconds counted | the same, not counted |
//! | 12–19 | the first half of the next one | as runit has them: process, paused, want, got TERM, phase |
//! | 12–23 | TAI64N since when it is ready | |
//! | 20–23 | | 0 |
//! | 24–31 | process id, big-endian; 0 = none | the same |
//! | 32–33 | how the last `run` ended: what `waitpid` said, big-endian | the same |
//! | 34 | 1 paused, 2 `finish` runs, 4 wanted up, 8 ready | the same |
//! | 35 | | 0 |
//! | 36–39 | | process group, big-endian |
//! | 40–42 | | 32–34 once more |
//!
//! s6 2.13.0 to 2.13.2 wrote 43 bytes: the process group at 32–39, of which its tools take the last four bytes, and then
//! what else stands at 32–34. So one record is right for all. What it cannot tell is since when a service is ready: there
//! stands what runit's tools read. Only `s6-svstat` shows that time, and shows a giant one; no tool decides by it.
//!
//! Sources: `s6-supervise` 2.11 to 2.15; checked against records of the real tools, and read by them.

use super::Status;
use crate::machine::{Exit, Phase, Want};
use crate::wire::tai::Tai;

/// Length of s6's record.
pub const LEN: usize = 35;
/// Length of the record for all, and of that of s6 2.13.0 to 2.13.2.
pub const LONG_LEN: usize = 43;

/// STOP was sent and no CONT since. Without a process: it was never started (since 2.13.2).
pub const PAUSED: u8 = 1;
/// The process is that of `finish`.
pub const FINISHING: u8 = 2;
/// It is wanted up.
pub const WANT_UP: u8 = 4;
/// It has said that it is ready; or it is down, and nothing of it runs any more.
pub const READY: u8 = 8;

/// What s6's tools are told beside what others are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extra {
    /// Since when it is up or, from the end of `run` on, down.
    pub since: Tai,
    /// Since when it is ready, if it is.
    pub ready: Option<Tai>,
    /// How the last `run` ended.
    pub last_exit: Option<Exit>,
}

/// s6's 35 bytes.
pub fn pack(status: &Status, extra: &Extra) -> [u8; LEN] {
    let mut record = [0; LEN];
    let ready = extra.ready.unwrap_or(extra.since);
    fill(&mut record, &[&extra.since.pack_s6(), &ready.pack_s6(), &process(status), &tail(status, extra)]);
    record
}

/// The 43 bytes for all.
pub fn pack_universal(status: &Status, extra: &Extra) -> [u8; LONG_LEN] {
    let (mut record, tail) = ([0; LONG_LEN], tail(status, extra));
    let group = status.pid.map_or(0, |pid| pid.0).to_be_bytes();
    fill(&mut record, &[&status.pack_runit(), &[0; 4], &process(status), &tail, &[0], &group, &tail]);
    record
}

fn fill(record: &mut [u8], parts: &[&[u8]]) {
    let bytes = parts.iter().copied().flatten();
    record.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
}

fn process(status: &Status) -> [u8; 8] {
    u64::try_from(status.pid.map_or(0, |pid| pid.0)).unwrap_or_default().to_be_bytes()
}

fn tail(status: &Status, extra: &Extra) -> [u8; 3] {
    let [high, low] = wait_status(extra.last_exit).to_be_bytes();
    let flags = [
        (status.paused && status.pid.is_some(), PAUSED),
        (status.phase == Phase::Finish && status.pid.is_some(), FINISHING),
        (status.want == Want::Up, WANT_UP),
        (extra.ready.is_some(), READY),
    ];
    [high, low, flags.iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).sum()]
}

/// What `waitpid` said, as every Linux lays it out; 0 if there was no end yet.
fn wait_status(exit: Option<Exit>) -> u16 {
    match exit {
        None => 0,
        Some(Exit::Code(code)) => u16::from(code) << 8,
        Some(Exit::Signal { signal, core }) => (signal.0 as u16 & 0x7f) | if core { 0x80 } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Pid, Signal};

    const UP: Status = Status {
        since: Tai { unix: 0x6b05_4752 - 37, nanos: 0x09c4_5957 },
        pid: Some(Pid(0x5a45)),
        paused: false,
        want: Want::Up,
        got_term: false,
        phase: Phase::Run,
    };

    fn hex(record: &[u8]) -> String {
        record.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_of_real_s6_2_11() {
        let at = |unix: i64, nanos| Tai { unix: unix - 37, nanos };
        let since = at(0x6b05_4752, 0x09c4_5957);
        let first = "400000006b05475209c45957";
        let up = Extra { since, ready: None, last_exit: Some(Exit::Code(0)) };
        assert_eq!(hex(&pack(&UP, &up)), format!("{first}{first}0000000000005a45000004"));
        let ready = Extra { ready: Some(at(0x6b05_475b, 0x1dd9_687a)), ..up };
        assert_eq!(hex(&pack(&UP, &ready)), format!("{first}400000006b05475b1dd9687a0000000000005a4500000c"));
        let paused = Status { paused: true, ..UP };
        assert_eq!(pack(&paused, &up)[34], 5);
        let killed = Some(Exit::Signal { signal: Signal::KILL, core: false });
        let finishing = Status { phase: Phase::Finish, ..UP };
        assert_eq!(pack(&finishing, &Extra { last_exit: killed, ..up })[32..], [0, 9, 6]);
        let down = Status { phase: Phase::Down, pid: None, want: Want::Down, paused: true, ..UP };
        let extra = Extra { ready: Some(since), last_exit: Some(Exit::Code(3)), ..up };
        assert_eq!(pack(&down, &extra)[24..], [0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 8]);
        assert_eq!(pack(&Status { want: Want::Up, ..down }, &extra)[34], 0x0c);
        let core = Some(Exit::Signal { signal: Signal::SEGV, core: true });
        assert_eq!(pack(&down, &Extra { last_exit: core, ..extra })[32..34], [0, 0x8b]);
    }

    #[test]
    fn the_record_for_all_holds_that_of_runit_and_both_of_s6() {
        let extra = Extra { since: UP.since, ready: Some(UP.since), last_exit: Some(Exit::Code(3)) };
        let record = pack_universal(&UP, &extra);
        assert_eq!(record[..20], UP.pack_runit());
        assert_eq!(record[20..24], [0; 4]);
        assert_eq!(record[24..35], pack(&UP, &extra)[24..]);
        assert_eq!(record[35..40], [0, 0, 0, 0x5a, 0x45]);
        assert_eq!(record[40..], record[32..35]);
    }
}
