//! Limits and sizes as people write them: `nofile=1024:unlimited`, `512M`.

use crate::machine::LimitKind;

/// Names of limits, each with its number for setrlimit(2): as prlimit(1) and the C library have them, then as `onit new`.
/// ulimit(1) knows letters only.
const NAMES: [(&str, &str, LimitKind); 16] = [
    ("as", "address-space", LimitKind::SPACE),
    ("core", "", LimitKind::CORE),
    ("cpu", "", LimitKind::CPU),
    ("data", "", LimitKind::DATA),
    ("fsize", "file-size", LimitKind::FILE_SIZE),
    ("locks", "", LimitKind::LOCKS),
    ("memlock", "locked-memory", LimitKind::LOCKED),
    ("msgqueue", "", LimitKind::QUEUES),
    ("nice", "", LimitKind::NICE),
    ("nofile", "open-files", LimitKind::FILES),
    ("nproc", "processes", LimitKind::PROCESSES),
    ("rss", "resident", LimitKind::RESIDENT),
    ("rtprio", "", LimitKind::PRIORITY),
    ("rttime", "", LimitKind::REALTIME),
    ("sigpending", "", LimitKind::SIGNALS),
    ("stack", "", LimitKind::STACK),
];

/// A limit to be: `u64::MAX` is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Its number for setrlimit(2).
    pub kind: LimitKind,
    /// What counts.
    pub soft: u64,
    /// Up to which the soft one may be raised. `None`: it stays, and the soft one is not above it.
    pub hard: Option<u64>,
}

/// `NAME=SOFT[:HARD]`; without a colon both are the same, and with nothing behind it the hard one stays. Or what is wrong with it, in a line.
pub fn limit(text: &str) -> Result<Limit, String> {
    let (name, values) = text.split_once('=').ok_or("write NAME=SOFT or NAME=SOFT:HARD")?;
    let plain = name.to_ascii_lowercase();
    let plain = plain.strip_prefix("rlimit_").unwrap_or(&plain);
    let found = NAMES.iter().find(|(short, long, _)| plain == *short || !long.is_empty() && plain == *long);
    let (_, _, kind) = found.ok_or_else(|| {
        let names = NAMES.map(|(short, _, _)| short).join(" ");
        format!("\"{name}\" is none of {names}")
    })?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let soft = amount(soft)?;
    let hard = if hard.is_empty() && !values.is_empty() { None } else { Some(amount(hard)?) };
    if hard.is_some_and(|hard| soft > hard) {
        return Err("the soft limit is above the hard one".into());
    }
    Ok(Limit { kind: *kind, soft, hard })
}

/// A number, perhaps of `K`, `M`, `G` or `T` (powers of 1024), or `unlimited`, which is `u64::MAX`.
pub fn amount(text: &str) -> Result<u64, String> {
    if ["unlimited", "infinity", "max"].contains(&text) {
        return Ok(u64::MAX);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B')).unwrap_or(unit) {
        "" if unit.is_empty() => Some(0),
        "k" | "K" => Some(10),
        "m" | "M" => Some(20),
        "g" | "G" => Some(30),
        "t" | "T" => Some(40),
        _ => None,
    };
    let value = digits.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    value.ok_or_else(|| format!("\"{text}\" is no number, or one of K, M, G, T, or \"unlimited\""))
}

/// So many processors, `1.5` for example, as `cpu.max` of a control group has it: microseconds of each 100,000. Or `max`.
pub fn processors(text: &str) -> Result<String, String> {
    const PERIOD: f64 = 100_000.0;
    if text == "max" {
        return Ok("max 100000".into());
    }
    let number = text.parse::<f64>().ok().filter(|number| (0.01..=100_000.0).contains(number));
    let number = number.ok_or_else(|| format!("\"{text}\" is no number of processors, as 1.5, nor \"max\""))?;
    Ok(format!("{:.0} {PERIOD:.0}", number * PERIOD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_have_names_values_and_units() {
        let read = |text| limit(text).map(|limit| (limit.kind, limit.soft, limit.hard));
        let nofile = LimitKind::FILES;
        assert_eq!(read("nofile=1024"), Ok((nofile, 1024, Some(1024))));
        assert_eq!(read("open-files=1K:2k"), Ok((nofile, 1024, Some(2048))));
        assert_eq!(read("RLIMIT_NOFILE=5:unlimited"), Ok((nofile, 5, Some(u64::MAX))));
        assert_eq!(read("nofile=5:"), Ok((nofile, 5, None)));
        assert_eq!(read("core=unlimited").map(|limit| limit.1), Ok(u64::MAX));
        for wrong in [
            "nofile",
            "=1",
            "files=1",
            "nofile=",
            "nofile=2:1",
            "nofile=unlimited:1",
            "nofile=1:2:3",
            "nofile=:",
            "nofile=1::",
            "as=-1",
        ] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_read_with_their_units() {
        for (text, value) in [
            ("0", Some(0)),
            ("512M", Some(512 << 20)),
            ("1GiB", Some(1 << 30)),
            ("2TB", Some(2 << 40)),
            ("max", Some(u64::MAX)),
            ("1x", None),
            ("B", None),
            ("1B", None),
            ("", None),
            ("17179869184G", None),
            ("1.5G", None),
        ] {
            assert_eq!(amount(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn processors_are_parts_of_a_tenth_of_a_second() {
        assert_eq!(processors("1.5").as_deref(), Ok("150000 100000"));
        assert_eq!(processors("max").as_deref(), Ok("max 100000"));
        assert!(["0", "-1", "nan", "x", "1e9"].into_iter().all(|text| processors(text).is_err()));
    }

    proptest! {
        #[test]
        fn a_limit_is_never_above_its_hard_one(text in "[a-z]{2,5}=[0-9a-zA-Z]{0,8}(:[0-9a-zA-Z]{0,8})?") {
            if let Ok(limit) = limit(&text) {
                prop_assert!(limit.hard.is_none_or(|hard| limit.soft <= hard));
            }
        }
    }
}
