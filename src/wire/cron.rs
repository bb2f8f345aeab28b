//! When a crontab's line is due: five fields, or `@daily`. Pure: what the clocks of a time zone show is a function.
//!
//! Source: crontab(5) and cron(8) of Debian's cron 3.0, changes of the clock included. The crates for these lines bring
//! a calendar library with tables of time zones along, where the C library knows the zone of this process.

use super::calendar::date;
use std::fmt;
use std::str::FromStr;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86400;
/// A change of the clock by more is another time zone, and no reason to run anything.
const MOST_SHIFTED: i64 = 3 * HOUR;
/// The 29th of February is never further away.
const SEARCHED: i64 = 8 * 366 * DAY;

/// When something is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cron {
    /// A bit for each minute, and so on.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// The field begins with `*`.
    any_day: bool,
    any_weekday: bool,
    /// Neither minute nor hour begins with `*`: it is due at times, and not again and again.
    is_at_times: bool,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadCron(String);

impl fmt::Display for BadCron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// What its numbers are called, from the first on.
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, words: &[] },
    Field { name: "hour", first: 0, last: 23, words: &[] },
    Field { name: "day of the month", first: 1, last: 31, words: &[] },
    Field {
        name: "month",
        first: 1,
        last: 12,
        words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of the week", first: 0, last: 7, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl FromStr for Cron {
    type Err = BadCron;

    fn from_str(text: &str) -> Result<Cron, BadCron> {
        let text = text.trim();
        let line = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map_or(text, |(_, line)| line);
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else {
            let fields = "minute, hour, day of the month, month, day of the week";
            return Err(BadCron(format!("\"{text}\" has {} fields in place of five: {fields}", words.len())));
        };
        let [of_minutes, of_hours, of_days, of_months, of_weekdays] = &FIELDS;
        let weekdays = of_weekdays.read(weekday)?;
        let any = |word: &str| word.starts_with('*');
        let cron = Cron {
            minutes: of_minutes.read(minute)?,
            hours: of_hours.read(hour)?,
            days: of_days.read(day)?,
            months: of_months.read(month)?,
            weekdays: weekdays | weekdays >> 7 & 1, // 7 is Sunday as well
            any_day: any(day),
            any_weekday: any(weekday),
            is_at_times: !any(minute) && !any(hour),
        };
        let comes = cron.is_ever();
        comes.then_some(cron).ok_or_else(|| BadCron(format!("\"{text}\" never comes: no such month has such a day")))
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<u64, BadCron> {
        text.split(',').try_fold(0, |set, part| Some(set | self.part(part)?)).ok_or_else(|| {
            BadCron(format!("\"{text}\" is no {} ({}-{}, as in crontab(5))", self.name, self.first, self.last))
        })
    }

    /// A range, or one number, with a step perhaps.
    fn part(&self, text: &str) -> Option<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(digits(step).filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (self.first, self.last),
            (_, Some((first, last))) => (self.number(first)?, self.number(last)?),
            (_, None) if step.is_some() => (self.number(range)?, self.last),
            (_, None) => (self.number(range)?, self.number(range)?),
        };
        if first > last {
            return None;
        }
        Some((first..=last).step_by(step.unwrap_or(1) as usize).fold(0, |set, number| set | bit(number)))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let word = self.words.iter().zip(self.first..).find(|(word, _)| word.eq_ignore_ascii_case(text));
        let number = word.map(|(_, number)| number).or_else(|| digits(text))?;
        (self.first..=self.last).contains(&number).then_some(number)
    }
}

/// A sign is no digit.
fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn bit(number: u32) -> u64 {
    1_u64.checked_shl(number).unwrap_or_default()
}

impl Cron {
    /// The first minute after `after` in which it is due, both in seconds after 1970. `offset` tells how many seconds
    /// local clocks are ahead of UTC at such a moment.
    ///
    /// Where clocks are put forward, what is due at times that they do not show is due when they are put forward; where
    /// they are put back, it is due only the first time that they show it. This is so for changes of up to three hours
    /// and for lines in which neither the minute nor the hour begins with `*`.
    pub fn next(&self, after: i64, offset: impl Fn(i64) -> i64) -> Option<i64> {
        let mut at = after.div_euclid(MINUTE).checked_add(1)?.checked_mul(MINUTE)?;
        let end = at.checked_add(SEARCHED)?;
        while at < end {
            let local = at + offset(at);
            let now = Civil::of(local);
            if self.is_due(at, local, &offset) {
                return Some(at);
            }
            // No clock is changed within an hour that it shows.
            let is_near = self.is_day(&now) && self.hours & bit(now.hour) != 0;
            at += if is_near { MINUTE } else { HOUR - i64::from(now.minute) * MINUTE };
        }
        None
    }

    fn is_due(&self, at: i64, local: i64, offset: &impl Fn(i64) -> i64) -> bool {
        if self.is_at_times {
            let skipped = local - MINUTE - (at - MINUTE + offset(at - MINUTE));
            if (1..=MOST_SHIFTED).contains(&skipped) {
                let hidden = (1..=skipped / MINUTE).map(|minutes| Civil::of(local - minutes * MINUTE));
                return self.shows(&Civil::of(local)) || hidden.into_iter().any(|then| self.shows(&then));
            }
            let before = offset(at - MOST_SHIFTED);
            let repeated = at - MOST_SHIFTED + before - (local - MOST_SHIFTED);
            if (1..=MOST_SHIFTED).contains(&repeated) && offset(at - repeated) == before {
                return false;
            }
        }
        self.shows(&Civil::of(local))
    }

    /// What a clock and a calendar show when it is due.
    fn shows(&self, now: &Civil) -> bool {
        self.minutes & bit(now.minute) != 0 && self.hours & bit(now.hour) != 0 && self.is_day(now)
    }

    /// With both days restricted, either will do.
    fn is_day(&self, now: &Civil) -> bool {
        let (day, weekday) = (self.days & bit(now.day) != 0, self.weekdays & bit(now.weekday) != 0);
        let is_day = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        is_day && self.months & bit(now.month) != 0
    }

    fn is_ever(&self) -> bool {
        let has_day = |month| (1..=days_of(month)).any(|day| self.days & bit(day) != 0);
        let by_weekday = !self.any_weekday && !self.any_day;
        by_weekday || (1..=12).any(|month| self.months & bit(month) != 0 && has_day(month))
    }
}

/// Of a leap year.
fn days_of(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What a clock and a calendar show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Civil {
    month: u32,
    day: u32,
    /// 0 is Sunday.
    weekday: u32,
    hour: u32,
    minute: u32,
}

impl Civil {
    /// That many seconds after 1970 on a clock without changes.
    fn of(seconds: i64) -> Civil {
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (_, month, day) = date(days);
        let small = |number: i64| u32::try_from(number).unwrap_or_default();
        Civil {
            month: small(month),
            day: small(day),
            weekday: small((days + 4).rem_euclid(7)),
            hour: small(second / HOUR),
            minute: small(second % HOUR / MINUTE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-01-01 00:00 UTC, a Thursday.
    const NEW_YEAR: i64 = 1_767_225_600;
    /// 2026-03-29 01:00 UTC: Berlin puts its clocks from 2:00 to 3:00.
    const SPRING: i64 = 1_774_746_000;
    /// 2026-10-25 01:00 UTC: and from 3:00 back to 2:00.
    const AUTUMN: i64 = 1_792_890_000;

    fn berlin(at: i64) -> i64 {
        if (SPRING..AUTUMN).contains(&at) { 2 * HOUR } else { HOUR }
    }

    fn cron(line: &str) -> Cron {
        line.parse().unwrap_or_else(|bad| panic!("{line}: {bad}"))
    }

    /// In days and hours and minutes after `from`.
    fn dues(line: &str, from: i64, count: usize, offset: fn(i64) -> i64) -> Vec<String> {
        let (cron, mut at) = (cron(line), from - 1);
        let mut next = || {
            at = cron.next(at, offset)?;
            let span = at - from;
            Some(format!("{}d{:02}:{:02}", span / DAY, span % DAY / HOUR, span % HOUR / MINUTE))
        };
        (0..count).map_while(|_| next()).collect()
    }

    fn utc(_: i64) -> i64 {
        0
    }

    #[test]
    fn every_form_of_crontab_5_is_understood() {
        let of = |line, count| dues(line, NEW_YEAR, count, utc);
        assert_eq!(of("*/15 * * * *", 5), ["0d00:00", "0d00:15", "0d00:30", "0d00:45", "0d01:00"]);
        assert_eq!(of("5,7-9 1-23/11 * * *", 5), ["0d01:05", "0d01:07", "0d01:08", "0d01:09", "0d12:05"]);
        assert_eq!(of("0 0 1 * *", 3), ["0d00:00", "31d00:00", "59d00:00"]);
        assert_eq!(of("30 6 * * Mon,fri", 3), ["1d06:30", "4d06:30", "8d06:30"]);
        assert_eq!(of("0 0 * feb 7", 2), ["31d00:00", "38d00:00"], "1 February 2026 is a Sunday");
        assert_eq!(of("0 0 * * 0", 1), of("@weekly", 1));
        assert_eq!(of("0 0 13 * 5", 3), ["1d00:00", "8d00:00", "12d00:00"], "the 13th, and every Friday");
        assert_eq!(of("0 0 */5 * 5", 2), ["15d00:00", "36d00:00"], "a star: each 5th day that is a Friday");
        assert_eq!(of("0 0 29 2 *", 2), ["789d00:00", "2250d00:00"], "2028 and 2032");
        assert_eq!(of("@hourly", 2), ["0d00:00", "0d01:00"]);
        assert_eq!([of("@Daily", 2), of("@midnight", 2)], [of("0 0 * * *", 2), of("0 0 * * *", 2)]);
        assert_eq!([of("@yearly", 2), of("@annually", 2)], [of("0 0 1 1 *", 2), of("0 0 1 1 *", 2)]);
        assert_eq!(of("@monthly", 3), of("0 0 1 * *", 3));
        assert_eq!(of("0/20 0 * * *", 3), ["0d00:00", "0d00:20", "0d00:40"]);
    }

    #[test]
    fn what_is_no_time_is_refused_and_the_field_is_named() {
        let why = |line: &str| line.parse::<Cron>().expect_err(line).to_string();
        for (line, words) in [
            ("60 * * * *", "\"60\" is no minute (0-59"),
            ("* 24 * * *", "is no hour"),
            ("* * 0 * *", "is no day of the month (1-31"),
            ("* * * 13 *", "is no month"),
            ("* * * * 8", "is no day of the week (0-7"),
            ("*/0 * * * *", "is no minute"),
            ("9-5 * * * *", "is no minute"),
            ("+5 * * * *", "is no minute"),
            ("5, * * * *", "is no minute"),
            ("-5 * * * *", "is no minute"),
            ("*5 * * * *", "is no minute"),
            ("* * * foo *", "is no month"),
            ("* * * *", "has 4 fields in place of five"),
            ("* * * * * *", "has 6 fields"),
            ("@reboot", "has 1 fields"),
            ("", "has 0 fields"),
            ("0 0 31 2,4 *", "never comes"),
            ("99999999999999999999 * * * *", "is no minute"),
        ] {
            assert!(why(line).contains(words), "{line}: {}", why(line));
        }
        assert_eq!(dues("0 0 31 2 1", NEW_YEAR, 1, utc), ["32d00:00"], "the first Monday of February");
    }

    #[test]
    fn what_a_clock_put_forward_does_not_show_is_done_then_and_once() {
        let from = SPRING - HOUR; // 1:00
        let of = |line, count| dues(line, from, count, berlin);
        assert_eq!(of("30 2 * * *", 2), ["0d01:00", "1d00:30"], "at 3:00, and at 2:30 the day after");
        assert_eq!(of("0,30 2 * * *", 2), ["0d01:00", "1d00:00"]);
        assert_eq!(of("0 3 * * *", 2), ["0d01:00", "1d01:00"]);
        assert_eq!(of("*/30 2 * * *", 1), ["1d00:00"], "again and again: not in an hour that is not there");
        assert_eq!(of("30 * * * *", 2), ["0d00:30", "0d01:30"]);
    }

    #[test]
    fn what_a_clock_put_back_shows_twice_is_done_once_unless_it_is_done_again_and_again() {
        let from = AUTUMN - 2 * HOUR; // 1:00
        let of = |line, count| dues(line, from, count, berlin);
        assert_eq!(of("30 2 * * *", 2), ["0d01:30", "1d02:30"]);
        assert_eq!(of("0 3 * * *", 2), ["0d03:00", "1d03:00"]);
        assert_eq!(of("30 * * * *", 4), ["0d00:30", "0d01:30", "0d02:30", "0d03:30"]);
    }

    #[test]
    fn another_time_zone_is_no_reason_to_run_anything() {
        let moved = |at: i64| if at < SPRING { 0 } else { 12 * HOUR };
        assert_eq!(dues("30 5 * * *", SPRING - HOUR, 1, moved), ["0d17:30"]);
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_refused_and_what_is_due_is_shown(line in "[*0-9,/@a-z -]{0,24}", at in -DAY..i64::MAX) {
            if let Ok(cron) = line.parse::<Cron>() {
                let next = cron.next(at, utc);
                prop_assert!(next.is_none_or(|next| next > at && next % MINUTE == 0 && cron.shows(&Civil::of(next))));
                prop_assert!(next.is_some() || at > i64::MAX - 2 * SEARCHED, "whatever is not refused comes");
            }
        }

        #[test]
        fn nothing_that_is_due_is_passed_over(
            minute in 0..60u32, hour in 0..24u32, day in 1..=31u32, weekday in 0..7u32, from in 0..i64::from(u32::MAX)
        ) {
            let cron = cron(&format!("{minute} {hour} {day} * {weekday}"));
            let next = cron.next(from, utc).expect("it comes");
            let first = from.div_euclid(MINUTE) * MINUTE + MINUTE;
            prop_assert!((first..next).step_by(60).all(|at| !cron.shows(&Civil::of(at))));
        }

        #[test]
        fn each_day_of_fixed_times_has_one_run_whatever_the_clocks_do(hour in 0..24u32, minute in 0..60u32) {
            for change in [SPRING, AUTUMN] {
                let (cron, mut at) = (cron(&format!("{minute} {hour} * * *")), change - 3 * DAY);
                let mut days = Vec::new();
                while at < change + 3 * DAY {
                    at = cron.next(at, berlin).expect("it comes");
                    days.push((at + berlin(at)).div_euclid(DAY));
                }
                prop_assert!(days.windows(2).all(|pair| pair[1] == pair[0] + 1), "{days:?}");
            }
        }
    }
}
