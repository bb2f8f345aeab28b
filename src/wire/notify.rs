//! What a service says to its manager: one datagram of systemd's `sd_notify(3)`.
//!
//! Sources: that manual, and what systemd does where the manual is silent (`src/core/service.c`, `manager.c`,
//! `src/shared/notify-recv.c` of version 258). A datagram has at most [`MOST`] bytes: lines `KEY=VALUE`, separated by
//! newlines or carriage returns, of which any number may stand in a row and at both ends. One NUL may end it.
//!
//! - Of a key that stands several times the first counts, whether its value is valid or not. Where a key has only one
//!   value that means anything (`READY=1`), it counts wherever it stands.
//! - A value that is not valid is as good as none, and the rest of the datagram counts: [`Malformed`]. A key that is not
//!   known, and a line without `=`, is none of ours.
//! - A [`Refusal`] is about the whole datagram: nothing in it counts.
//!
//! The order of lines means nothing. If several of these stand in one datagram, `STOPPING=1` wins over `READY=1`, and
//! that over `RELOADING=1`; `FDSTOREREMOVE=1` wins over `FDSTORE=1`.
//!
//! Numbers are as systemd reads them: blanks and a sign may stand before them, and as in C `0x`, `0b`, `0o` and a leading
//! `0` say that they are hexadecimal, binary, octal. Times are microseconds, up to 2^64 - 1, which is for ever.
//!
//! Two things differ from systemd: it also reads names of errors (`ERRNO=ENOENT`), which no manual mentions, and it loses
//! backslashes, which stay here.

use crate::machine::Pid;
use std::fmt;
use std::time::Duration;

/// A datagram has at most so many bytes: systemd's `NOTIFY_BUFFER_MAX`. A longer one counts as none.
pub const MOST: usize = 4096;

/// The name of a descriptor has at most so many bytes: systemd's `FDNAME_MAX`.
pub const LONGEST_NAME: usize = 255;

/// The kernel's largest error number (`MAX_ERRNO`).
const LAST_ERROR: u64 = 4095;

/// One line that is understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignment<'a> {
    /// `READY=1`: the service has started, or has finished reloading.
    Ready,
    /// `RELOADING=1`: it reloads, and `READY=1` will follow. A manager that asked for it by a signal knows only by a
    /// [`MonotonicUsec`](Assignment::MonotonicUsec) in the same datagram that this is the answer.
    Reloading,
    /// `STOPPING=1`: it is about to end.
    Stopping,
    /// `STATUS=`: what it does, for people. Empty: nothing any more. There may be control characters in it.
    Status(&'a str),
    /// `ERRNO=`: what went wrong, from 0 to 4095.
    Errno(i32),
    /// `MAINPID=`: this is its main process. Whether it belongs to the service, and whether the sender may say so, is to be
    /// checked.
    MainPid(Pid),
    /// `WATCHDOG=1`: it is alive.
    Watchdog,
    /// `WATCHDOG=trigger`: it wants what happens when it has not been alive for too long.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=`: from now on it says that often that it is alive. Zero, and for ever: it no longer does.
    WatchdogUsec(Duration),
    /// `EXTEND_TIMEOUT_USEC=`: within this time it says more; until then it is not to be given up. Zero, and for ever,
    /// mean nothing.
    ExtendTimeout(Duration),
    /// `BARRIER=1`: the one descriptor with it is to be closed when all that came before has been dealt with. It is the
    /// only line of its datagram.
    Barrier,
    /// `FDSTORE=1`: the descriptors with it are to be kept for the next start.
    FdStore,
    /// `FDSTOREREMOVE=1`: those kept under [`FdName`](Assignment::FdName) are no longer needed. Without a name it means
    /// nothing.
    FdStoreRemove,
    /// `FDNAME=`: the name that descriptors are kept under: up to [`LONGEST_NAME`] printable ASCII characters, no colon.
    /// It may be empty.
    FdName(&'a str),
    /// `FDPOLL=0`: descriptors are kept even when the other end has gone. There is no other value.
    FdPollOff,
    /// `MONOTONIC_USEC=`: what `CLOCK_MONOTONIC` showed, in microseconds, when the datagram was written.
    MonotonicUsec(u64),
}

/// A line whose key is known, and whose value means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed<'a> {
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: &'a [u8],
}

/// Why nothing in a datagram counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has more than [`MOST`] bytes.
    TooLong,
    /// There is a NUL in it, and not at its end.
    Nul,
    /// `BARRIER=1` is not alone.
    Barrier,
}

/// The lines of a datagram that are understood, or should be.
#[derive(Clone, Debug)]
pub struct Assignments<'a> {
    rest: &'a [u8],
    /// A bit for each row of `TABLE` that no longer counts.
    seen: u32,
}

/// Reads a datagram.
pub fn parse(datagram: &[u8]) -> Result<Assignments<'_>, Refusal> {
    if datagram.len() > MOST {
        return Err(Refusal::TooLong);
    }
    let text = datagram.strip_suffix(b"\0").unwrap_or(datagram);
    if text.contains(&0) {
        return Err(Refusal::Nul);
    }
    if lines(text).any(|line| line == b"BARRIER=1") && lines(text).nth(1).is_some() {
        return Err(Refusal::Barrier);
    }
    Ok(Assignments { rest: text, seen: 0 })
}

/// What a key may be followed by.
enum Value {
    /// This alone means something.
    Only(&'static str, Assignment<'static>),
    /// What this function makes something of.
    Any(for<'a> fn(&'a str) -> Option<Assignment<'a>>),
}

const TABLE: &[(&str, Value)] = &[
    ("READY", Value::Only("1", Assignment::Ready)),
    ("RELOADING", Value::Only("1", Assignment::Reloading)),
    ("STOPPING", Value::Only("1", Assignment::Stopping)),
    ("BARRIER", Value::Only("1", Assignment::Barrier)),
    ("FDSTORE", Value::Only("1", Assignment::FdStore)),
    ("FDSTOREREMOVE", Value::Only("1", Assignment::FdStoreRemove)),
    ("FDPOLL", Value::Only("0", Assignment::FdPollOff)),
    ("STATUS", Value::Any(|text| Some(Assignment::Status(text)))),
    ("ERRNO", Value::Any(error)),
    ("MAINPID", Value::Any(main_pid)),
    ("WATCHDOG", Value::Any(watchdog)),
    ("WATCHDOG_USEC", Value::Any(|text| span(text).map(Assignment::WatchdogUsec))),
    ("EXTEND_TIMEOUT_USEC", Value::Any(|text| span(text).map(Assignment::ExtendTimeout))),
    ("FDNAME", Value::Any(|text| is_name(text).then_some(Assignment::FdName(text)))),
    ("MONOTONIC_USEC", Value::Any(|text| number(text).map(Assignment::MonotonicUsec))),
];

const _: () = assert!(TABLE.len() <= u32::BITS as usize);

impl<'a> Iterator for Assignments<'a> {
    type Item = Result<Assignment<'a>, Malformed<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(line) = self.line() {
            if let Some(read) = self.read(line) {
                return Some(read);
            }
        }
        None
    }
}

impl<'a> Assignments<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|byte| !ends_line(byte))?;
        let (_, behind) = self.rest.split_at(start);
        let (line, rest) = behind.split_at(behind.iter().position(ends_line).unwrap_or(behind.len()));
        self.rest = rest;
        Some(line)
    }

    /// `None` for a line that is none of ours, or does not count any more.
    fn read(&mut self, line: &'a [u8]) -> Option<Result<Assignment<'a>, Malformed<'a>>> {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b'=')?);
        let value = value.strip_prefix(b"=")?;
        let row = TABLE.iter().position(|(key, _)| key.as_bytes() == name)?;
        let (key, kind) = TABLE.get(row)?;
        let bit = 1 << row;
        if self.seen & bit != 0 {
            return None;
        }
        let read = match kind {
            Value::Only(text, assignment) => (text.as_bytes() == value).then_some(*assignment),
            Value::Any(function) => std::str::from_utf8(value).ok().and_then(function),
        };
        if read.is_some() || matches!(kind, Value::Any(_)) {
            self.seen |= bit;
        }
        Some(read.ok_or(Malformed { key, value }))
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(ends_line).filter(|line| !line.is_empty())
}

/// What a service has said and stored, for the supervisor that goes on after this one: a line each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words<'a> {
    /// What it does, for people; one line. Empty: nothing.
    pub status: &'a str,
    /// What went wrong.
    pub errno: Option<i32>,
    /// The names of its descriptors, in their order.
    pub names: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let errno = self.errno.map(|errno| errno.to_string()).unwrap_or_default();
        let lines = [self.status, &errno].into_iter().chain(self.names.iter().copied());
        lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
    }

    /// And back. What is no text is nothing.
    pub fn parse(bytes: &'a [u8]) -> Words<'a> {
        let mut lines = std::str::from_utf8(bytes).unwrap_or_default().split_terminator('\n');
        Words {
            status: lines.next().unwrap_or_default(),
            errno: lines.next().and_then(|errno| errno.parse().ok()),
            names: lines.collect(),
        }
    }
}

fn ends_line(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn error(text: &str) -> Option<Assignment<'_>> {
    let number = number(text).filter(|number| *number <= LAST_ERROR)?;
    i32::try_from(number).ok().map(Assignment::Errno)
}

fn main_pid(text: &str) -> Option<Assignment<'_>> {
    let number = i32::try_from(number(text)?).ok()?;
    (number > 0).then_some(Assignment::MainPid(Pid(number)))
}

fn watchdog(text: &str) -> Option<Assignment<'_>> {
    match text {
        "1" => Some(Assignment::Watchdog),
        "trigger" => Some(Assignment::WatchdogTrigger),
        _ => None,
    }
}

fn span(text: &str) -> Option<Duration> {
    number(text).map(Duration::from_micros)
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b':')
}

/// systemd's `safe_atou64`. Less than zero is none.
fn number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t', '\x0b', '\x0c']);
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixes = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)];
    let prefixed = prefixes.into_iter().find_map(|(prefix, base)| Some((digits.strip_prefix(prefix)?, base)));
    let (digits, base) = prefixed.unwrap_or((digits, if digits.starts_with('0') { 8 } else { 10 }));
    // A sign between prefix and digits, from_str_radix would take.
    let number = digits.starts_with(|digit: char| digit.is_ascii_alphanumeric()).then_some(digits)?;
    u64::from_str_radix(number, base).ok().filter(|number| !is_negative || *number == 0)
}

impl fmt::Display for Assignment<'_> {
    /// The line, without what ends it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assignment::Ready => f.write_str("READY=1"),
            Assignment::Reloading => f.write_str("RELOADING=1"),
            Assignment::Stopping => f.write_str("STOPPING=1"),
            Assignment::Status(text) => write!(f, "STATUS={text}"),
            Assignment::Errno(number) => write!(f, "ERRNO={number}"),
            Assignment::MainPid(pid) => write!(f, "MAINPID={pid}"),
            Assignment::Watchdog => f.write_str("WATCHDOG=1"),
            Assignment::WatchdogTrigger => f.write_str("WATCHDOG=trigger"),
            Assignment::WatchdogUsec(span) => write!(f, "WATCHDOG_USEC={}", span.as_micros()),
            Assignment::ExtendTimeout(span) => write!(f, "EXTEND_TIMEOUT_USEC={}", span.as_micros()),
            Assignment::Barrier => f.write_str("BARRIER=1"),
            Assignment::FdStore => f.write_str("FDSTORE=1"),
            Assignment::FdStoreRemove => f.write_str("FDSTOREREMOVE=1"),
            Assignment::FdName(name) => write!(f, "FDNAME={name}"),
            Assignment::FdPollOff => f.write_str("FDPOLL=0"),
            Assignment::MonotonicUsec(number) => write!(f, "MONOTONIC_USEC={number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Assignment::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Result<Assignment<'_>, Malformed<'_>>> {
        parse(text.as_bytes()).expect("a datagram").collect()
    }

    fn good(text: &str) -> Vec<Assignment<'_>> {
        read(text).into_iter().map(|line| line.expect("a valid line")).collect()
    }

    fn bad(text: &str) -> Vec<&'static str> {
        read(text).into_iter().map(|line| line.expect_err("a malformed line").key).collect()
    }

    #[test]
    fn every_line_of_the_manual_is_understood() {
        assert_eq!(good("READY=1"), [Ready]);
        assert_eq!(good("RELOADING=1\nMONOTONIC_USEC=123456789"), [Reloading, MonotonicUsec(123_456_789)]);
        assert_eq!(good("STOPPING=1\n"), [Stopping]);
        assert_eq!(good("STATUS=Completed 66% of file system check…"), [Status("Completed 66% of file system check…")]);
        assert_eq!(good("STATUS=Failed to start up: No such file\nERRNO=2\n").last(), Some(&Errno(2)));
        assert_eq!(good("READY=1\nSTATUS=\nMAINPID=4711"), [Ready, Status(""), MainPid(Pid(4711))]);
        assert_eq!(good("WATCHDOG=1"), [Watchdog]);
        assert_eq!(good("WATCHDOG=trigger"), [WatchdogTrigger]);
        assert_eq!(good("WATCHDOG_USEC=20000000"), [WatchdogUsec(Duration::from_secs(20))]);
        assert_eq!(good("EXTEND_TIMEOUT_USEC=1500000"), [ExtendTimeout(Duration::from_millis(1500))]);
        assert_eq!(good("FDSTORE=1\nFDNAME=foobar\nFDPOLL=0"), [FdStore, FdName("foobar"), FdPollOff]);
        assert_eq!(good("FDSTOREREMOVE=1\nFDNAME=foobar"), [FdStoreRemove, FdName("foobar")]);
        assert_eq!(good("BARRIER=1"), [Barrier]);
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        assert_eq!(good("X_MINE=1\nREADY=1\nnothing\n=1\nBUSERROR=a.b\nready=1\n READY=1\nREADY =1"), [Ready]);
        for nothing in ["", "\n", "\r\n\n", "\0", "=", "READY", "EXIT_STATUS=0"] {
            assert_eq!(read(nothing), []);
        }
    }

    #[test]
    fn lines_end_with_newlines_or_carriage_returns_and_empty_ones_are_none() {
        assert_eq!(good("\n\nREADY=1\r\n\r\nWATCHDOG=1\rERRNO=0\n\n"), [Ready, Watchdog, Errno(0)]);
        assert_eq!(good("STATUS=a=b=c\\n\0"), [Status("a=b=c\\n")]);
    }

    #[test]
    fn the_first_of_a_key_counts_even_if_its_value_does_not() {
        assert_eq!(good("STATUS=one\nSTATUS=two\nMAINPID=1\nMAINPID=2"), [Status("one"), MainPid(Pid(1))]);
        assert_eq!(good("WATCHDOG=trigger\nWATCHDOG=1"), [WatchdogTrigger]);
        assert_eq!(bad("ERRNO=x\nERRNO=2"), ["ERRNO"]);
        assert_eq!(read("READY=0\nREADY=1\nREADY=1\nREADY=0").len(), 2);
        assert_eq!(read("READY=0\nREADY=1")[1], Ok(Ready));
        assert_eq!(read("FDPOLL=1\nFDPOLL=0")[1], Ok(FdPollOff));
    }

    #[test]
    fn a_malformed_value_is_told_and_the_rest_counts() {
        let whole = b"READY=yes\nSTATUS=\xff\nWATCHDOG=1";
        let lines: Vec<_> = parse(whole).expect("a datagram").collect();
        let malformed = |key, value| Err(Malformed { key, value });
        assert_eq!(lines, [malformed("READY", b"yes"), malformed("STATUS", b"\xff"), Ok(Watchdog)]);
        for flag in ["READY", "RELOADING", "STOPPING", "FDSTORE", "FDSTOREREMOVE", "BARRIER", "FDPOLL", "WATCHDOG"] {
            for value in ["", "2", "01", " 1", "1 ", "+1", "true"] {
                assert_eq!(bad(&format!("{flag}={value}")), [flag]);
            }
        }
    }

    #[test]
    fn numbers_are_those_that_systemd_reads() {
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            (" \t+7", 7),
            ("18446744073709551615", u64::MAX),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("00", 0),
        ] {
            assert_eq!(good(&format!("MONOTONIC_USEC={text}")), [MonotonicUsec(number)], "{text}");
        }
        let none =
            ["", " ", "-1", "18446744073709551616", "1.5", "1s", "1 ", "08", "0x", "0b", "0b2", "0x+1", "--0", "+-1"];
        for text in none.into_iter().chain(["٣", "infinity", "0x-0", "0x 1"]) {
            for key in ["MONOTONIC_USEC", "WATCHDOG_USEC", "EXTEND_TIMEOUT_USEC", "MAINPID", "ERRNO"] {
                assert_eq!(bad(&format!("{key}={text}")), [key], "{text}");
            }
        }
        assert_eq!(good(&format!("WATCHDOG_USEC={}", u64::MAX)), [WatchdogUsec(Duration::from_micros(u64::MAX))]);
    }

    #[test]
    fn errors_and_pids_have_their_ranges() {
        assert_eq!([good("ERRNO=4095"), good("MAINPID=2147483647")], [[Errno(4095)], [MainPid(Pid(i32::MAX))]]);
        assert_eq!([bad("ERRNO=4096"), bad("ERRNO=ENOENT"), bad("ERRNO=-2")], [["ERRNO"]; 3]);
        assert_eq!([bad("MAINPID=0"), bad("MAINPID=2147483648"), bad("MAINPID=4294967297")], [["MAINPID"]; 3]);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        for (status, errno, names) in [
            ("", None, vec![]),
            ("at work", Some(5), vec!["", "a b", ""]),
            ("", Some(0), vec![""]),
            ("x", None, vec!["y"]),
        ] {
            let words = Words { status, errno, names };
            assert_eq!(Words::parse(&words.to_bytes()), words);
        }
        assert_eq!(Words::parse(b"\xff\n1\n"), Words::default());
    }

    #[test]
    fn names_of_descriptors_are_printable_ascii_without_a_colon() {
        let longest = "n".repeat(LONGEST_NAME);
        for name in ["", " ", "a b", "~", "x=y", &longest] {
            assert_eq!(good(&format!("FDNAME={name}")), [FdName(name)]);
        }
        for name in ["a:b", "\t", "\x1f", "\x7f", "ä", &format!("{longest}n")] {
            assert_eq!(bad(&format!("FDNAME={name}")), ["FDNAME"], "{name:?}");
        }
    }

    #[test]
    fn a_datagram_that_is_too_long_or_has_a_nul_counts_as_none() {
        let longest = [b"READY=1\n".as_slice(), &[b'x'; MOST - 8]].concat();
        assert_eq!(parse(&longest).expect("it fits").collect::<Vec<_>>(), [Ok(Ready)]);
        assert_eq!(parse(&[longest, vec![b'x']].concat()).err(), Some(Refusal::TooLong));
        for text in ["READY=1\0\0", "READY=1\0\n", "\0READY=1", "STATUS=a\0b"] {
            assert_eq!(parse(text.as_bytes()).err(), Some(Refusal::Nul), "{text:?}");
        }
        assert_eq!(good("READY=1\0"), [Ready]);
    }

    #[test]
    fn a_barrier_is_alone() {
        assert_eq!([good("\nBARRIER=1\n\n"), good("BARRIER=1\0")], [[Barrier], [Barrier]]);
        for text in ["BARRIER=1\nREADY=1", "X=1\nBARRIER=1", "BARRIER=1\nBARRIER=1", "BARRIER=1\nnothing"] {
            assert_eq!(parse(text.as_bytes()).err(), Some(Refusal::Barrier), "{text}");
        }
        assert_eq!(bad("BARRIER=0"), ["BARRIER"]);
        assert_eq!(read("BARRIER=0\nREADY=1").last(), Some(&Ok(Ready)));
    }

    #[test]
    fn every_key_stands_once() {
        for (at, (key, _)) in TABLE.iter().enumerate() {
            assert!(TABLE[at + 1..].iter().all(|(other, _)| other != key), "{key}");
        }
    }

    /// Each kind once, in any order; `BARRIER=1` has no company.
    fn company() -> impl Strategy<Value = Vec<String>> {
        let name = "[ -9;-~]{0,255}";
        let values = ("[^\0\r\n]{0,300}", 0..4096i32, 1.., any::<bool>(), any::<[u64; 3]>(), name);
        values
            .prop_map(|(status, error, pid, alive, [watchdog, extended, stamp], name)| {
                let all = [
                    Ready,
                    Reloading,
                    Stopping,
                    Status(&status),
                    Errno(error),
                    MainPid(Pid(pid)),
                    if alive { Watchdog } else { WatchdogTrigger },
                    WatchdogUsec(Duration::from_micros(watchdog)),
                    ExtendTimeout(Duration::from_micros(extended)),
                    FdStore,
                    FdStoreRemove,
                    FdName(&name),
                    FdPollOff,
                    MonotonicUsec(stamp),
                ];
                all.map(|assignment| assignment.to_string()).to_vec()
            })
            .prop_shuffle()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(lines in company(), end in "[\r\n]{0,3}\0?", gap in "[\r\n]{1,3}") {
            let text = lines.join(&gap) + &end;
            let again: Vec<String> = good(&text).iter().map(Assignment::to_string).collect();
            prop_assert_eq!(again, lines);
        }

        #[test]
        fn any_bytes_are_lines_or_a_refusal(bytes in proptest::collection::vec(any::<u8>(), 0..MOST + 9)) {
            let _ = parse(&bytes).map(Iterator::count);
        }

        #[test]
        fn any_values_of_known_keys_are_valid_or_told(
            lines in proptest::collection::vec((0..TABLE.len(), "[ -+0-9a-fA-Fx:]{0,24}"), 0..20),
        ) {
            let text: Vec<String> = lines.iter().map(|(row, value)| format!("{}={value}", TABLE[*row].0)).collect();
            if let Ok(assignments) = parse(text.join("\n").as_bytes()) {
                let told: Vec<_> = assignments.collect();
                let keys = |row: &usize| lines.iter().any(|(other, _)| other == row);
                prop_assert!(told.len() >= (0..TABLE.len()).filter(keys).count());
                for assignment in told.into_iter().flatten() {
                    let line = assignment.to_string();
                    prop_assert_eq!(good(&line), [assignment]);
                }
            }
        }
    }
}
