//! The time stamps in front of the lines of a log, and the moments that people ask for.
//!
//! Source: files of the real svlogd (`-t`, `-tt`, `-ttt`), multilog (`t`) and s6-log (`t`, `T`).

use super::calendar;
use super::tai::Tai;
use std::time::Duration;

/// Seconds of a day.
const DAY: i64 = 86400;
/// `2026-11-29 10:00:00`.
const CIVIL: usize = 19;
/// More digits of a second are no time stamp.
const DIGITS: usize = 9;

/// What a line of JSON of `onit logger` begins with. Its time stamp is left where it is.
const JSON: &[u8] = b"{\"ts\":\"";

/// What a time stamp counts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zone {
    /// A TAI64N label of svlogd or multilog; those of s6-log are 27 seconds later.
    Label,
    /// The calendar of svlogd: UTC.
    Utc,
    /// The calendar of s6-log: that of the time zone in which it ran.
    Local,
}

/// The time stamp of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The moment; of [`Zone::Local`] as if that were UTC.
    pub at: Tai,
    /// What it counts from.
    pub zone: Zone,
    /// How many bytes of the line it takes, with the blanks behind it.
    pub length: usize,
}

/// The time stamp that a line begins with, if it does.
pub fn stamp(line: &[u8]) -> Option<Stamp> {
    if let Some(json) = line.strip_prefix(JSON) {
        return calendar(json).map(|(at, zone, _)| Stamp { at, zone, length: 0 });
    }
    let (at, zone, digits) = if line.first() == Some(&b'@') { label(line)? } else { calendar(line)? };
    let rest = line.get(digits..)?;
    let blanks = rest.iter().take(if zone == Zone::Local { 2 } else { 1 }).take_while(|byte| **byte == b' ').count();
    (blanks > 0 || rest.is_empty()).then_some(Stamp { at, zone, length: digits + blanks })
}

/// `@400000006b0c76de0291f38c`, which is also the beginning of the name of an old file.
pub fn label(text: &[u8]) -> Option<(Tai, Zone, usize)> {
    let digits = text.get(1..25).filter(|_| text.first() == Some(&b'@'))?;
    let mut bytes = [0; 12];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |byte, digit| Some(byte << 4 | hex(*digit)?))?;
    }
    let at = Tai::unpack(bytes);
    (at.nanos < 1_000_000_000).then_some((at, Zone::Label, 25))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// `2026-11-29_19:02:44.05195`, the same with `T`, or `2026-11-29 20:02:44.031182323`.
fn calendar(line: &[u8]) -> Option<(Tai, Zone, usize)> {
    let (civil, rest) = line.split_at_checked(CIVIL)?;
    let zone = match civil.get(10)? {
        b' ' => Zone::Local,
        b'_' | b'T' => Zone::Utc,
        _ => return None,
    };
    let unix = civil_seconds(civil)?;
    let fraction = rest.strip_prefix(b".")?;
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let nanos = fraction.get(..digits).filter(|_| (1..=DIGITS).contains(&digits))?;
    let nanos =
        nanos.iter().chain([&b'0'; DIGITS]).take(DIGITS).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some((Tai { unix, nanos }, zone, CIVIL + 1 + digits))
}

/// `2026-11-29?10:00:00` as if it were UTC.
fn civil_seconds(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let (month, day) = (number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_time = marks.iter().all(|(at, mark)| text.get(*at) == Some(mark))
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    is_time.then_some(seconds_of([number(0, 4)?, month, day, hour, minute, second]))
}

/// Seconds from 1970 to a year, month, day, hour, minute and second of the Gregorian calendar, as if that were UTC.
pub fn seconds_of([year, month, day, hour, minute, second]: [i64; 6]) -> i64 {
    calendar::days(year, month, day) * DAY + hour * 3600 + minute * 60 + second
}

/// The instant that a calendar somewhere shows so. `shown`: what it shows at an instant, both in seconds since 1970. Of
/// an hour that it shows twice, one of both.
pub fn instant(civil: i64, shown: impl Fn(i64) -> Option<i64>) -> i64 {
    let closer = |guess: i64| shown(guess).map_or(civil, |shown| civil.saturating_sub(shown.saturating_sub(guess)));
    closer(closer(civil))
}

/// A moment that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// So long before now.
    Ago(Duration),
    /// Seconds since 1970.
    Unix(i64),
    /// What a calendar here shows, in seconds since 1970 as if it were UTC.
    Local(i64),
}

/// Reads `10m`, `2h`, `2026-11-29`, `2026-11-29 10:00`, `2026-11-29T10:00:05` or `@1795978964`.
pub fn when(text: &str) -> Option<When> {
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().ok().map(When::Unix);
    }
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 7 * 86400)];
    let ago = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    if let Some((number, seconds)) = ago {
        let number: u64 = number.parse().ok()?;
        return number.checked_mul(seconds).map(|seconds| When::Ago(Duration::from_secs(seconds)));
    }
    let missing = match text.len() {
        10 => " 00:00:00",
        16 => ":00",
        CIVIL => "",
        _ => return None,
    };
    let is_apart = matches!(text.as_bytes().get(10), None | Some(b' ' | b'T' | b'_'));
    civil_seconds(format!("{text}{missing}").as_bytes()).filter(|_| is_apart).map(When::Local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(line: &str) -> Option<(i64, u32, Zone, &str)> {
        let Stamp { at, zone, length } = stamp(line.as_bytes())?;
        Some((at.unix, at.nanos, zone, &line[length..]))
    }

    #[test]
    fn the_stamps_of_the_real_ones_are_read() {
        let at = 1_795_978_964;
        assert_eq!(seen("@400000006b0c76de0291f38c hi"), Some((at, 43_119_500, Zone::Label, "hi")));
        assert_eq!(seen("2026-11-29_19:02:44.05195 hi"), Some((at, 51_950_000, Zone::Utc, "hi")));
        assert_eq!(seen("2026-11-29T19:02:44.05632  hi"), Some((at, 56_320_000, Zone::Utc, " hi")));
        assert_eq!(seen("2026-11-29 20:02:44.031182323  hi"), Some((at + 3600, 31_182_323, Zone::Local, "hi")));
        let json = r#"{"ts":"2026-11-29T19:02:44.056320Z","msg":"hi"}"#;
        assert_eq!(seen(json), Some((at, 56_320_000, Zone::Utc, json)));
        assert_eq!(seen("@400000006b0c76de0291f38c"), Some((at, 43_119_500, Zone::Label, "")));
    }

    #[test]
    fn what_looks_like_one_and_is_none_is_text() {
        for line in [
            "",
            "hi",
            "@",
            "@400000006b0c76de0291f38",
            "@400000006b0c76de0291f38chi",
            "@400000006B0C76DE0291F38C hi",
            "@400000006b0c76deffffffff hi",
            "2026-11-29 19:02:44 hi",
            "2026-11-29-19:02:44.05 hi",
            "2026-13-29_19:02:44.05 hi",
            "2026-11-29_24:02:44.05 hi",
            "2026-11-29_19:02:44.05hi",
            "2026-11-29_19:02:44. hi",
            "2026-11-29_19:02:44.0123456789 hi",
            "\u{fc}026-11-29_19:02:44.05 hi",
        ] {
            assert_eq!(seen(line), None, "{line}");
        }
    }

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        for (civil, seconds) in [
            ([1970, 1, 1, 0, 0, 0], 0),
            ([1969, 12, 31, 23, 59, 59], -1),
            ([2000, 2, 29, 0, 0, 0], 951_782_400),
            ([2000, 3, 1, 0, 0, 0], 951_868_800),
            ([2100, 3, 1, 0, 0, 0], 4_107_542_400),
            ([2026, 11, 29, 19, 2, 44], 1_795_978_964),
        ] {
            assert_eq!(seconds_of(civil), seconds, "{civil:?}");
        }
    }

    #[test]
    fn a_calendar_may_be_ahead_or_behind_and_jump() {
        let summer = 1_000_000;
        let shown = |unix: i64| Some(unix + if unix >= summer { 7200 } else { 3600 });
        for unix in [0, summer - 4000, summer, summer + 1, summer + 10_000] {
            assert_eq!(instant(shown(unix).expect("shown"), shown), unix);
        }
        assert_eq!(instant(5, |_| None), 5);
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let noon = seconds_of([2026, 11, 29, 12, 0, 0]);
        for (text, when) in [
            ("10m", When::Ago(Duration::from_secs(600))),
            ("2h", When::Ago(Duration::from_secs(7200))),
            ("1d", When::Ago(Duration::from_secs(86400))),
            ("@17", When::Unix(17)),
            ("2026-11-29", When::Local(noon - 12 * 3600)),
            ("2026-11-29 12:00", When::Local(noon)),
            ("2026-11-29T12:00:07", When::Local(noon + 7)),
        ] {
            assert_eq!(super::when(text), Some(when), "{text}");
        }
        for text in
            ["", "x", "m", "-5m", "5", "@", "2026-11", "2026-11-32", "2026-11-29x12:00", "99999999999999999999d"]
        {
            assert_eq!(super::when(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_label_is_the_moment_it_was_made_of(unix in -1_i64 << 40..1 << 40, nanos in 0_u32..1_000_000_000, text in "[^ ]*") {
            let at = Tai { unix, nanos };
            let line = format!("@{} {text}", at.label());
            prop_assert_eq!(stamp(line.as_bytes()), Some(Stamp { at, zone: Zone::Label, length: 26 }));
        }

        #[test]
        fn any_bytes_are_read(line in proptest::collection::vec(any::<u8>(), 0..64), text in ".{0,24}") {
            if let Some(Stamp { at, length, .. }) = stamp(&line) {
                prop_assert!(length <= line.len() && at.nanos < 1_000_000_000);
            }
            let _ = super::when(&text);
        }
    }
}
