//! The small files of a service directory: one fact per file.
//!
//! Source: s6's service directory. As there, only the first line counts, and a value that does not parse as a
//! whole is no value: the default holds and a warning names the file.

use crate::machine::Signal;
use crate::machine::main_process::Rewrite;
use crate::machine::policy::Essential;
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

/// What `essential` says: `always`, `on-failure` or `on-giveup`.
pub fn essential(text: &str) -> Option<Essential> {
    match first_line(text) {
        "always" => Some(Essential::Always),
        "on-failure" => Some(Essential::OnFailure),
        "on-giveup" => Some(Essential::OnGiveup),
        _ => None,
    }
}

/// How long everything may take to end (`ONIT_STOP_TIMEOUT`): as [`limit`], but a bare number is seconds, as in
/// everything that has to do with containers.
pub fn budget(text: &str) -> Option<Option<Duration>> {
    let seconds = text.parse::<u64>().ok();
    seconds.map_or_else(|| limit(text), |number| Some((number != 0).then(|| Duration::from_secs(number))))
}

/// A signal for another: `TERM=QUIT`. Without a second one, or with 0, the first is dropped.
pub fn rewrite(text: &str, separator: char) -> Option<Rewrite> {
    let (from, to) = text.split_once(separator)?;
    let to = if matches!(to, "" | "0") { None } else { Some(signal(to)?) };
    Some((signal(from)?, to))
}

/// An exit code for another: `143=0`.
pub fn exit_map(text: &str) -> Option<(u8, u8)> {
    let (from, to) = text.split_once('=')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// The number of a group that is named, or given as a number. `listed`: the text of `/etc/group`, see group(5).
pub fn group(word: &str, listed: &str) -> Option<u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(word)).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    word.parse().ok().or_else(|| listed.lines().find_map(number))
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
    fn essentials() {
        let all = [Some(Essential::Always), Some(Essential::OnFailure), Some(Essential::OnGiveup), None, None];
        assert_eq!(["always", "on-failure\n", "on-giveup\n#", "", "Always"].map(essential), all);
    }

    #[test]
    fn budgets() {
        let some = |ms| Some(Some(Duration::from_millis(ms)));
        assert_eq!([budget("9"), budget("250ms"), budget("1m")], [some(9000), some(250), some(60_000)]);
        assert_eq!([budget("0"), budget("0s"), budget("x"), budget("")], [Some(None), Some(None), None, None]);
    }

    #[test]
    fn groups() {
        let listed = "root:x:0:\nops:x:1007:alice,bob\nbad\nodd:x:y:\n";
        let found = ["ops", "root", "12", "bob", "bad", "odd", ""].map(|word| group(word, listed));
        assert_eq!(found, [Some(1007), Some(0), Some(12), None, None, None, None]);
    }

    #[test]
    fn rewritings() {
        assert_eq!(rewrite("TERM=quit", '='), Some((Signal::TERM, Some(Signal::QUIT))));
        assert_eq!(rewrite("15:0", ':'), Some((Signal::TERM, None)));
        assert_eq!(rewrite("HUP=", '='), Some((Signal::HUP, None)));
        for bad in ["TERM", "TERM=NOPE", "=QUIT", "NOPE=QUIT", "TERM:QUIT"] {
            assert_eq!(rewrite(bad, '='), None, "{bad:?}");
        }
        assert_eq!((exit_map("143=0"), exit_map("256=0"), exit_map("1")), (Some((143, 0)), None, None));
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
