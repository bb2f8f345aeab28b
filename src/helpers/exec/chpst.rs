//! `chpst`, as runit 2.1.2 has it, and its option `-C` of 2.3.
//!
//! Source: `chpst.c` of both, and Debian's program where that differs.

use super::environment::{Change, Rules};
use super::plan::{Failure, Lock, Plan, SoftLimit, Step, Who};
use super::users;
use crate::exit;
use crate::machine::LimitKind;
use crate::sys::Errno;
use crate::sys::lock;
use crate::tool::getopt::{self, Options};
use crate::tool::print;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

const OPTIONS: &[u8] = b"u:U:b:e:m:d:o:p:f:c:r:t:/:C:n:l:L:vP012V";
const USAGE: &str = "usage: chpst [-vVP012] [-u user[:group]] [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-n nice] \
    [-l|-L lock] [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog\n\n";
/// What Debian's 2.1.2 says of its version.
const VERSION: &str = "$Id: f279d44141c981dd7535a12260efcf1ef7beed26 $\n";

/// `-m` sets all of these.
const MEMORY: [LimitKind; 4] = [LimitKind::DATA, LimitKind::STACK, LimitKind::LOCKED, LimitKind::SPACE];
/// The letters of the others, in the order in which they are set.
const LIMITS: [(u8, LimitKind); 10] = [
    (b'd', LimitKind::DATA),
    (b'm', LimitKind::STACK),
    (b'm', LimitKind::LOCKED),
    (b'm', LimitKind::SPACE),
    (b'o', LimitKind::FILES),
    (b'p', LimitKind::PROCESSES),
    (b'f', LimitKind::FILE_SIZE),
    (b'c', LimitKind::CORE),
    (b'r', LimitKind::RESIDENT),
    (b't', LimitKind::CPU),
];

/// Returns the exit code, if there is no program to become.
pub(super) fn chpst(args: &[OsString]) -> i32 {
    match read(args) {
        Some((plan, command)) => report(&plan.run(command)),
        None => {
            print::stderr(&[USAGE.as_bytes()]);
            exit::USAGE
        }
    }
}

/// `None`: the words are wrong.
fn read(args: &[OsString]) -> Option<(Plan, &[OsString])> {
    let mut plan = Plan::default();
    let mut limits = [None; LIMITS.len()];
    let (mut verbose, mut variables) = (false, None);
    let mut options = Options::new(b"chpst", OPTIONS, args);
    for option in &mut options {
        let (letter, value) = option.ok()?;
        let word = || OsStr::from_bytes(value).to_owned();
        match letter {
            b'u' => plan.user = Some(Who { word: value.to_vec(), look_up: users::of_chpst }),
            b'U' => plan.exported = Some(Who { word: value.to_vec(), look_up: users::of_chpst }),
            b'b' => plan.name = Some(word()),
            b'e' => variables = Some(word()),
            b'/' => plan.root = Some(word()),
            b'C' => plan.directory = Some(word()),
            b'n' => plan.nice = niceness(value)?,
            b'l' | b'L' if plan.lock.is_some() => return None,
            b'l' => plan.lock = Some(flock(word(), lock::Wait::Forever)),
            b'L' => plan.lock = Some(flock(word(), lock::Wait::Never)),
            b'v' => verbose = true,
            b'P' => plan.session = true,
            b'0'..=b'2' => plan.closed.iter_mut().skip(usize::from(letter - b'0')).take(1).for_each(|fd| *fd = true),
            b'V' => {
                print::stderr(&[VERSION.as_bytes()]);
                return None;
            }
            letter => set_limit(&mut limits, letter, number(value)?),
        }
    }
    plan.environment = variables.map(|path| Change::Directory(path, Rules::Chpst { verbose })).into_iter().collect();
    plan.soft_limits = LIMITS.iter().zip(limits).filter_map(|((_, kind), soft)| Some((*kind, soft?))).collect();
    Some((plan, options.rest())).filter(|(_, command)| !command.is_empty())
}

pub(super) fn flock(path: OsString, wait: lock::Wait) -> Lock {
    Lock { path, kind: lock::Lock::Flock, wait }
}

/// The number is a `long`, of which -1 is the hard limit and -2 is none at all.
fn set_limit(limits: &mut [Option<SoftLimit>; LIMITS.len()], letter: u8, number: u64) {
    let soft = match number.cast_signed() {
        -1 => Some(SoftLimit::Hard),
        ..-1 => None,
        _ => Some(SoftLimit::AtMost(number)),
    };
    for ((known, kind), limit) in LIMITS.iter().zip(limits) {
        if *known == letter || letter == b'm' && MEMORY.contains(kind) {
            *limit = soft;
        }
    }
}

/// Digits and nothing else; none are 0.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    text.iter().all(u8::is_ascii_digit).then(|| getopt::number(text))
}

/// A number that may have a sign, as an `int`.
fn niceness(text: &[u8]) -> Option<i32> {
    match text.strip_prefix(b"-") {
        Some(digits) => number(digits).map(|number| number.wrapping_neg() as i32),
        None => number(text.strip_prefix(b"+").unwrap_or(text)).map(|number| number as i32),
    }
}

fn report(failure: &Failure) -> i32 {
    let what = match failure.step {
        Step::OpenHere => "unable to open current working directory",
        Step::EnterVariables => "unable to switch to directory",
        Step::OpenVariables => "unable to open directory",
        Step::ListVariables => "unable to read directory",
        Step::ReadVariables => "unable to read",
        Step::ChangeDirectory => "unable to change directory",
        Step::ChangeRoot => "unable to change root directory",
        Step::Nice => "unable to set nice level",
        Step::ReadUsers => "unable to get password/group file entry",
        Step::UnknownUser => "unknown user/group",
        Step::BadNumbers => "invalid uid/gids",
        Step::SetGroups => "unable to setgroups",
        Step::SetGroup => "unable to setgid",
        Step::SetUser => "unable to setuid",
        Step::OpenLock => "unable to open lock",
        Step::Lock => "unable to lock",
        Step::Close => "unable to close",
        Step::GetLimit => "unable to getrlimit()",
        Step::SetLimit => "unable to setrlimit()",
        _ => "unable to run",
    };
    let mut line = [b"chpst: fatal: ", what.as_bytes()].concat();
    let separator: Option<&[u8]> = match failure.step {
        Step::Close | Step::ReadVariables => Some(b" "),
        Step::OpenHere | Step::ChangeRoot | Step::Nice | Step::ReadUsers | Step::GetLimit | Step::SetLimit => None,
        Step::SetGroups | Step::SetGroup | Step::SetUser => None,
        _ => Some(b": "),
    };
    separator.into_iter().for_each(|separator| line.extend([separator, &failure.object[..]].concat()));
    if failure.errno != Errno::UnknownErrno {
        line.extend([b": ", print::why(failure.errno)].concat());
    }
    line.push(b'\n');
    print::stderr(&[&line]);
    exit::SYSTEM
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(text: &str) -> Option<(Plan, usize)> {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        read(&words).map(|(plan, command)| (plan, command.len()))
    }

    #[test]
    fn numbers_are_whole() {
        for (text, value) in
            [("5", Some(5)), ("", Some(0)), ("5x", None), ("-5", None), ("18446744073709551617", Some(1))]
        {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
        for (text, value) in
            [("5", Some(5)), ("+5", Some(5)), ("-5", Some(-5)), ("-", Some(0)), ("--5", None), ("", Some(0))]
        {
            assert_eq!(niceness(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn limits_are_set_in_one_order_and_the_last_word_counts() {
        let limits = |words: &str| read_words(words).expect("words").0.soft_limits;
        let most = SoftLimit::AtMost;
        let nofile = LimitKind::FILES;
        assert_eq!(limits("-o 5 -d 7 prog"), [(LimitKind::DATA, most(7)), (nofile, most(5))]);
        assert_eq!(limits("-m 5 prog"), MEMORY.map(|kind| (kind, most(5))));
        assert_eq!(limits("-m 5 -d 6 prog").first(), Some(&(LimitKind::DATA, most(6))));
        assert_eq!(limits("-d 6 -m 5 prog").first(), Some(&(LimitKind::DATA, most(5))));
        assert_eq!(limits("-o18446744073709551615 prog"), [(nofile, SoftLimit::Hard)]);
        assert_eq!(limits("-o5 -o18446744073709551614 prog"), []);
    }

    #[test]
    fn words_are_refused_as_by_the_real_one() {
        assert!(read_words("-l a -L b prog").is_none() && read_words("-o 5x prog").is_none());
        assert!(read_words("-P").is_none() && read_words("-x prog").is_none());
        let (plan, left) = read_words("-P02 -n-5 -b name -- prog -x").expect("words");
        assert_eq!((plan.session, plan.closed, plan.nice, left), (true, [true, false, true], -5, 2));
    }
}
