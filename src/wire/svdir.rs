//! The small files of a service directory: one fact per file.
//!
//! Source: s6's service directory. As there, only the first line counts, and a value that does not parse as a
//! whole is no value: the default holds and a warning names the file.

use crate::machine::Signal;
use std::time::Duration;

/// A time in a file that s6 defines: a bare number is milliseconds and 0 is for ever; `500ms`, `10s`, `5m` and
/// `1h` are understood too. `None` when it is neither.
pub fn limit(text: &str) -> Option<Option<Duration>> {
    let line = first_line(text);
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = line.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let span = match unit {
        "" | "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    };
    Some((number != 0).then_some(span))
}

/// A signal by name or number: `TERM`, `SIGTERM`, `term` and `15` are the same one.
pub fn signal(text: &str) -> Option<Signal> {
    let line = first_line(text).to_ascii_uppercase();
    let name = line.strip_prefix("SIG").unwrap_or(&line);
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(Signal(number));
    }
    (1..=31).find(|n| signal_hook::low_level::signal_name(*n).is_some_and(|known| &known[3..] == name)).map(Signal)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let some = |ms| Some(Some(Duration::from_millis(ms)));
        assert_eq!(limit("5000\n"), some(5000));
        assert_eq!(limit("250ms"), some(250));
        assert_eq!(limit("10s\nsecond line"), some(10_000));
        assert_eq!(limit("2m"), some(120_000));
        assert_eq!(limit("0"), Some(None));
        for bad in ["", "x", "5 ", " 5", "-1", "5d", "1.5s", "99999999999999999999"] {
            assert_eq!(limit(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn signals() {
        for same in ["TERM", "SIGTERM\n", "term", "15", "sig15"] {
            assert_eq!(signal(same), Some(Signal::TERM), "{same:?}");
        }
        assert_eq!(signal("USR1"), Some(Signal::USR1));
        assert_eq!(signal("40"), Some(Signal(40)));
        for bad in ["", "0", "65", "TERM ", "NOPE", "-1"] {
            assert_eq!(signal(bad), None, "{bad:?}");
        }
    }
}
