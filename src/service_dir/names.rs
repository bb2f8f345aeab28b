//! Names that were meant to be those of files of a service, and names that only other supervisors know.

use crate::wire::settings::{FILES, Kind};

/// Names that other supervisors give a meaning, and what to do instead.
pub(super) const FOREIGN: &[(&str, &str)] = &[
    (
        "type",
        "it belongs to the sources of s6-rc: a oneshot is `setup` without `run`, a bundle is a service that depends on others",
    ),
    ("contents.d", "it belongs to the sources of s6-rc: name each service in dependencies.d/"),
    ("contents", "it belongs to the sources of s6-rc: name each service in dependencies.d/"),
    ("dependencies", "it is s6-rc's older form: make an empty file for each in dependencies.d/"),
    ("producer-for", "it belongs to the sources of s6-rc: make `log` a link to the other service"),
    ("consumer-for", "it belongs to the sources of s6-rc: make `log` of the other services links to this one"),
    ("pipeline-name", "it belongs to the sources of s6-rc: remove it"),
    ("timeout-down", "it belongs to the sources of s6-rc: write it to timeout-kill"),
    ("flag-essential", "it belongs to the sources of s6-rc: see essential"),
    ("lock-fd", "only s6 reads it: let run itself take the lock"),
    ("flag-timeout-killpg", "only s6 reads it: remove it"),
    ("nosetsid", "no version of s6 reads it any more: remove it"),
    ("no-setsid", "only daemontools-encore reads it: remove it"),
];

/// The letters of the commands that run a `control/X`.
pub(super) const CONTROLS: &str = "udtxkpchaiq12";

/// The name that was meant, if this one is close to it: only the case differs, it has an ending as `.sh`, or it takes
/// one change to come to it (two in a long name).
pub(super) fn meant(name: &str, kinds: &[Kind]) -> Option<&'static str> {
    let bare = name.to_lowercase().replace('_', "-");
    let stem = [".sh", ".txt"].iter().find_map(|ending| bare.strip_suffix(ending)).unwrap_or(&bare);
    let names = FILES.iter().filter(|file| kinds.contains(&file.kind)).map(|file| file.name);
    let near = names.map(|known| (distance(stem, known), known)).min()?;
    let bound = if near.1.len() >= 10 { 2 } else { 1 };
    (near.0 <= bound && name != near.1).then_some(near.1)
}

/// How many letters are to be added, removed, replaced, or changed with their neighbours.
pub(crate) fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (y, a) in from.iter().enumerate() {
        let mut row = vec![y + 1];
        for (x, b) in to.iter().enumerate() {
            let cell = |up: usize, x: usize| rows.iter().rev().nth(up).and_then(|row| row.get(x)).copied();
            let replaced = cell(0, x).unwrap_or(y) + usize::from(a != b);
            let changed = replaced.min(cell(0, x + 1).unwrap_or(y) + 1).min(row.last().copied().unwrap_or(x) + 1);
            let before = |word: &[char], at: usize| at.checked_sub(1).and_then(|at| word.get(at).copied());
            let swapped = before(&from, y) == Some(*b) && before(&to, x) == Some(*a);
            let swap = swapped.then(|| cell(1, x.wrapping_sub(1))).flatten().map_or(changed, |cost| cost + 1);
            row.push(changed.min(swap));
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, far) in
            [("", "run", 3), ("run", "run", 0), ("rnu", "run", 1), ("finsh", "finish", 1), ("abc", "", 3)]
        {
            assert_eq!(distance(from, to), far, "{from} {to}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("timeout-kil", "timeout-kill"), 1);
    }

    #[test]
    fn what_is_close_to_a_name_was_meant_to_be_it() {
        let all = [Kind::Program, Kind::Value, Kind::Flag, Kind::Directory];
        for (name, known) in [
            ("finsh", "finish"),
            ("Run", "run"),
            ("run.sh", "run"),
            ("rnu", "run"),
            ("time-out-kill", "timeout-kill"),
            ("timeout_kill", "timeout-kill"),
            ("dependencie.d", "dependencies.d"),
            ("notification_fd", "notification-fd"),
            ("essental", "essential"),
            ("ckeck", "check"),
        ] {
            assert_eq!(meant(name, &all), Some(known), "{name}");
        }
        for name in ["README", "data", "conf", "www", "main", "root", "run", "finish", "start", "bin", "event"] {
            assert_eq!(meant(name, &all), None, "{name}");
        }
        assert_eq!(meant("logs", &[Kind::Program]), None, "a directory was not meant to be a program");
    }
}
