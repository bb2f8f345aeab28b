//! `tai64n` puts a time stamp in front of each line, `tai64nlocal` makes them readable: as daemontools has them.

use crate::sys::{clock, process};
use crate::tool::print;
use crate::wire::tai::Tai;
use std::io::{Read as _, Write as _};

/// What is read at a time.
const ROOM: usize = 65536;
/// What the tools of daemontools end with when they cannot go on.
const TROUBLE: i32 = 111;

/// Stamps each line of standard input with the time at which its first byte was read. Returns the exit code.
pub fn tai64n() -> i32 {
    let mut is_within_line = false;
    filter("tai64n", |read, out| {
        let stamp = Tai::after_1970(clock::wall()).label();
        for line in read.split_inclusive(|byte| *byte == b'\n') {
            if !is_within_line {
                out.extend([b"@", stamp.as_bytes(), b" "].concat());
            }
            out.extend(line);
            is_within_line = !line.ends_with(b"\n");
        }
    })
}

/// Writes the stamp at the front of each line as local time. Returns the exit code.
pub fn tai64nlocal() -> i32 {
    let mut stamp = Stamp::default();
    filter("tai64nlocal", |read, out| read.iter().for_each(|byte| stamp.take(*byte, out)))
}

/// What has been read of a line.
#[derive(Default)]
enum Stamp {
    #[default]
    Nothing,
    /// An `@`, and the digits of a label.
    Digits(u128),
    /// More than its stamp.
    Text,
}

impl Stamp {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let (Stamp::Nothing, b'@') = (&self, byte) {
            *self = Stamp::Digits(0);
            return;
        }
        if let Stamp::Digits(label) = self {
            if let Some(digit) = hex(byte) {
                *label = *label << 4 | u128::from(digit);
                return;
            }
            out.extend(local(*label).into_bytes());
        }
        out.push(byte);
        *self = if byte == b'\n' { Stamp::Nothing } else { Stamp::Text };
    }
}

/// Only small letters are digits.
fn hex(byte: u8) -> Option<u32> {
    match byte {
        b'0'..=b'9' | b'a'..=b'f' => char::from(byte).to_digit(16),
        _ => None,
    }
}

/// As `2026-11-29 18:04:05.123456789`; the last 24 digits count.
fn local(label: u128) -> String {
    let [_, _, _, _, label @ ..] = label.to_be_bytes();
    let Tai { unix, nanos } = Tai::unpack(label);
    let Some(at) = clock::local(unix) else { return String::new() };
    let date = format!("{}-{:02}-{:02}", at.year, at.month, at.day);
    format!("{date} {:02}:{:02}:{:02}.{nanos:09}", at.hour, at.minute, at.second)
}

/// Copies standard input to standard output through `change`, as it comes: what has been read is written before more is
/// waited for.
fn filter(program: &str, mut change: impl FnMut(&[u8], &mut Vec<u8>)) -> i32 {
    let closed = [(0, "read input"), (1, "write output")].into_iter().find(|(fd, _)| process::was_closed(*fd));
    if let Some((_, what)) = closed {
        return fatal(program, what, &std::io::Error::from_raw_os_error(libc::EBADF));
    }
    let mut room = vec![0; ROOM];
    let mut out = Vec::new();
    let mut stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout().lock();
    loop {
        let count = match stdin.read(&mut room) {
            Ok(0) => return 0,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return fatal(program, "read input", &error),
        };
        change(room.get(..count).unwrap_or_default(), &mut out);
        if let Err(error) = stdout.write_all(&out).and_then(|()| stdout.flush()) {
            return fatal(program, "write output", &error);
        }
        out.clear();
    }
}

fn fatal(program: &str, what: &str, error: &std::io::Error) -> i32 {
    let why = print::why(crate::sys::Errno::from_raw(error.raw_os_error().unwrap_or_default()));
    print::stderr(&[program.as_bytes(), b": fatal: unable to ", what.as_bytes(), b": ", why, b"\n"]);
    TROUBLE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_of(input: &[u8]) -> String {
        let (mut stamp, mut out) = (Stamp::default(), Vec::new());
        input.iter().for_each(|byte| stamp.take(*byte, &mut out));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_label_at_the_front_of_a_line_becomes_a_time_and_nothing_else_does() {
        let at = local(0x4000_0000_6553_f10a_075b_cd15);
        assert!(at.starts_with("2023-11-1") && at.ends_with(".123456789"), "{at}");
        let label = "@400000006553f10a075bcd15";
        assert_eq!(
            local_of(format!("{label} a {label}\nb\n{label}\n").as_bytes()),
            format!("{at} a {label}\nb\n{at}\n")
        );
        assert_eq!(local_of(b"x@4"), "x@4");
        assert_eq!(local_of(b"@40"), "", "it may go on");
    }
}
