//! The names that mean something in a service directory, and to whom.

use std::fmt;
use std::str::FromStr;

/// Who is to supervise the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Target {
    /// onit itself.
    #[default]
    Onit,
    /// runit's runsv.
    Runit,
    /// daemontools' supervise.
    Daemontools,
    /// s6's s6-supervise.
    S6,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 4] = [Target::Onit, Target::Runit, Target::Daemontools, Target::S6];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Onit => "onit",
            Target::Runit => "runit",
            Target::Daemontools => "daemontools",
            Target::S6 => "s6",
        })
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        Target::ALL
            .into_iter()
            .find(|target| target.to_string() == text)
            .ok_or_else(|| format!("\"{text}\" is none of onit, runit, daemontools, s6"))
    }
}

/// What stands under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Something to be executed.
    Program,
    /// A small text file.
    Value,
    /// It counts that it is there.
    Flag,
    /// A directory.
    Directory,
}

const ONIT: u8 = 1;
const RUNIT: u8 = 2;
const S6: u8 = 8;
const ALL: u8 = 15;
/// onit's name for something that it does not act on in this version.
const LATER: u8 = 16;

/// Name, what it is, who heeds it. The one place where this is written.
const NAMES: &[(&str, Kind, u8)] = &[
    ("run", Kind::Program, ALL),
    ("setup", Kind::Program, ONIT | LATER),
    ("finish", Kind::Program, ONIT | RUNIT | S6),
    ("check", Kind::Program, ONIT | RUNIT),
    ("health", Kind::Program, ONIT | LATER),
    ("health-policy", Kind::Value, ONIT | LATER),
    ("down", Kind::Flag, ALL),
    ("control", Kind::Directory, ONIT | RUNIT),
    ("log", Kind::Directory, ALL),
    ("env", Kind::Directory, ONIT | LATER),
    ("notification-fd", Kind::Value, ONIT | S6 | LATER),
    ("timeout-kill", Kind::Value, ONIT | S6),
    ("timeout-finish", Kind::Value, ONIT | S6),
    ("timeout-up", Kind::Value, ONIT | LATER),
    ("down-signal", Kind::Value, ONIT | S6),
    ("max-death-tally", Kind::Value, ONIT | S6 | LATER),
    ("readiness", Kind::Value, ONIT | LATER),
    ("dependencies.d", Kind::Directory, ONIT | LATER),
    ("after.d", Kind::Directory, ONIT | LATER),
    ("restart", Kind::Value, ONIT | LATER),
    ("backoff", Kind::Value, ONIT | LATER),
    ("max-restarts", Kind::Value, ONIT | LATER),
    ("essential", Kind::Value, ONIT),
    ("condition", Kind::Value, ONIT | LATER),
    ("instances", Kind::Value, ONIT | LATER),
    ("supervise", Kind::Directory, ALL),
];

/// Names that others give a meaning, and what to do instead.
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
    ("flag-newpidns", "only s6 reads it: let run execute `unshare --pid`"),
    ("flag-timeout-killpg", "only s6 reads it: remove it"),
    ("reload-signal", "only s6 reads it: write a control/h that sends the signal"),
    ("nosetsid", "no version of s6 reads it any more: remove it"),
    ("no-setsid", "only daemontools-encore reads it: remove it"),
];

/// The letters of the commands that run a `control/X`.
pub(super) const CONTROLS: &str = "udtxkpchaiq12";

pub(super) fn kind(name: &str) -> Option<Kind> {
    NAMES.iter().find(|(known, ..)| *known == name).map(|(_, kind, _)| *kind)
}

/// The names of the small text files.
pub(super) fn values() -> impl Iterator<Item = &'static str> {
    NAMES.iter().filter(|(_, kind, _)| *kind == Kind::Value).map(|(name, ..)| *name)
}

/// Whether the supervisor heeds what has this name in a service directory.
pub(super) fn is_heeded(name: &str, target: Target) -> bool {
    NAMES.iter().any(|(known, _, who)| *known == name && who & target.bit() != 0)
}

/// Whether onit knows this name, and does not act on it in this version.
pub(super) fn is_for_later(name: &str) -> bool {
    NAMES.iter().any(|(known, _, who)| *known == name && who & LATER != 0)
}

/// The name that was meant, if this one is close to it: only the case differs, it has an ending as `.sh`, or it takes
/// one change to come to it (two in a long name).
pub(super) fn meant(name: &str, kinds: &[Kind]) -> Option<&'static str> {
    let bare = name.to_lowercase().replace('_', "-");
    let stem = [".sh", ".txt"].iter().find_map(|ending| bare.strip_suffix(ending)).unwrap_or(&bare);
    let names = NAMES.iter().filter(|(_, kind, _)| kinds.contains(kind)).map(|(known, ..)| *known);
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

    #[test]
    fn each_target_heeds_what_it_reads() {
        let heeded = |target| NAMES.iter().filter(|(name, ..)| is_heeded(name, target)).count();
        assert_eq!(Target::ALL.map(heeded), [NAMES.len(), 7, 4, 10]);
        let later: Vec<_> = NAMES.iter().filter(|(name, ..)| is_for_later(name)).collect();
        assert!(later.len() == 15 && later.iter().all(|(name, ..)| is_heeded(name, Target::Onit)), "{later:?}");
        assert_eq!(Target::ALL.map(|target| target.to_string().parse()), Target::ALL.map(Ok));
    }
}
