//! Time stamps at the front of the lines of a log.
//!
//! Sources: svlogd(8) (`fmt_ptime.c` of runit), tai64n(8), and what the real svlogd and s6-log wrote.

use super::calendar::date;
use super::tai::Tai;
use std::time::Duration;

/// What stands in front of each line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Nothing.
    #[default]
    None,
    /// `@` and a TAI64N label, as runit and daemontools count.
    Tai64n,
    /// The same as s6 counts: with the leap seconds since 1972.
    Tai64nOfS6,
    /// `2026-11-29_04:18:52.37414`: UTC, with five digits behind the second.
    Readable,
    /// The same with a `T` between date and time.
    ReadableT,
    /// `2026-11-29T04:18:52.374140123Z`.
    Iso,
    /// `2026-11-29 04:18:52.374140123` and two spaces, local time: as s6-log's `T`. The offset is that of the time zone,
    /// in seconds.
    Local(i32),
}

/// Writes the stamp of an instant, and the space behind it. `after_1970` is what the wall clock shows.
pub fn push(to: &mut Vec<u8>, format: Format, after_1970: Duration) {
    let at = Tai::after_1970(after_1970);
    match format {
        Format::None => {}
        Format::Tai64n => label(to, at.digits()),
        Format::Tai64nOfS6 => label(to, at.digits_of_s6()),
        Format::Readable => calendar(to, at, b'_', 5, b" "),
        Format::ReadableT => calendar(to, at, b'T', 5, b" "),
        Format::Iso => calendar(to, at, b'T', 9, b"Z "),
        Format::Local(offset) => {
            let at = Tai { unix: at.unix.saturating_add(offset.into()), ..at };
            calendar(to, at, b' ', 9, b"  ");
        }
    }
}

/// The same instant as text for JSON: `2026-11-29T04:18:52.374140Z`.
pub fn iso_micros(to: &mut Vec<u8>, after_1970: Duration) {
    calendar(to, Tai::after_1970(after_1970), b'T', 6, b"Z");
}

fn label(to: &mut Vec<u8>, digits: [u8; 24]) {
    to.push(b'@');
    to.extend_from_slice(&digits);
    to.push(b' ');
}

fn calendar(to: &mut Vec<u8>, at: Tai, between: u8, fraction: u32, end: &[u8]) {
    let (days, second) = (at.unix.div_euclid(86_400), at.unix.rem_euclid(86_400));
    let (year, month, day) = date(days);
    number(to, year, 4);
    for (mark, value) in [(b'-', month), (b'-', day), (between, second / 3600), (b':', second / 60 % 60)] {
        to.push(mark);
        number(to, value, 2);
    }
    to.push(b':');
    number(to, second % 60, 2);
    to.push(b'.');
    number(to, i64::from(at.nanos / 10_u32.pow(9_u32.saturating_sub(fraction))), fraction);
    to.extend_from_slice(end);
}

/// At least so many digits.
fn number(to: &mut Vec<u8>, value: i64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        to.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: Format, seconds: u64, nanos: u32) -> String {
        let mut to = Vec::new();
        push(&mut to, format, Duration::new(seconds, nanos));
        String::from_utf8(to).expect("text")
    }

    #[test]
    fn stamps_are_those_of_the_tools() {
        for (format, stamp) in [
            (Format::None, ""),
            (Format::Tai64n, "@400000006a0c65f3141e1c0d "),
            (Format::Tai64nOfS6, "@400000006a0c660e141e1c0d "),
            (Format::Readable, "2026-05-19_13:30:17.33751 "),
            (Format::ReadableT, "2026-05-19T13:30:17.33751 "),
            (Format::Iso, "2026-05-19T13:30:17.337517581Z "),
            (Format::Local(-3600), "2026-05-19 12:30:17.337517581  "),
        ] {
            assert_eq!(shown(format, 0x6a0c_65e9, 337_517_581), stamp, "{format:?}");
        }
        let mut json = Vec::new();
        iso_micros(&mut json, Duration::new(0x6a0c_65e9, 337_517_581));
        assert_eq!(json, b"2026-05-19T13:30:17.337517Z");
    }
}
