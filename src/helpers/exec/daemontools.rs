//! `setuidgid`, `envuidgid`, `envdir`, `pgrphack`, `setlock` and `softlimit`, as daemontools 0.76 has them.
//!
//! Source: the files of these names there.

use super::chpst::{flock, number};
use super::environment::{Change, Rules};
use super::plan::{Failure, Plan, SoftLimit, Step, Who};
use super::users;
use crate::exit;
use crate::machine::LimitKind;
use crate::sys::Errno;
use crate::sys::lock::Wait;
use crate::tool::getopt::Options;
use crate::tool::print;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

const SOFTLIMIT: &str = "[-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] \
    [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child";

/// Options of softlimit, and what they limit.
const LIMITS: [(u8, &[LimitKind]); 11] = [
    (b'a', &[LimitKind::SPACE]),
    (b'c', &[LimitKind::CORE]),
    (b'd', &[LimitKind::DATA]),
    (b'f', &[LimitKind::FILE_SIZE]),
    (b'l', &[LimitKind::LOCKED]),
    (b'm', &[LimitKind::DATA, LimitKind::STACK, LimitKind::LOCKED, LimitKind::SPACE]),
    (b'o', &[LimitKind::FILES]),
    (b'p', &[LimitKind::PROCESSES]),
    (b'r', &[LimitKind::RESIDENT]),
    (b's', &[LimitKind::STACK]),
    (b't', &[LimitKind::CPU]),
];
/// The same as letters.
pub(super) const LIMIT_OPTIONS: &[u8] = b"a:c:d:f:l:m:o:p:r:s:t:";

/// Prints how a tool is used. Returns the exit code.
pub(super) fn usage(program: &str, words: &str, code: i32) -> i32 {
    print::stderr(&[format!("{program}: usage: {program} {words}\n").as_bytes()]);
    code
}

/// The first word, and those behind it, of which there is one at least.
fn two(args: &[OsString]) -> Option<(&OsString, &[OsString])> {
    args.split_first().filter(|(_, command)| !command.is_empty())
}

fn account(word: &OsString) -> Option<Who> {
    Some(Who { word: word.as_bytes().to_vec(), look_up: users::of_account })
}

/// Returns the exit code, if there is no program to become.
pub(super) fn setuidgid(args: &[OsString]) -> i32 {
    let Some((word, command)) = two(args) else { return usage("setuidgid", "account child", exit::USAGE) };
    let plan = Plan { user: account(word), ..Plan::default() };
    report("setuidgid", &plan.run(command))
}

/// Returns the exit code, if there is no program to become.
pub(super) fn envuidgid(args: &[OsString]) -> i32 {
    let Some((word, command)) = two(args) else { return usage("envuidgid", "account child", exit::USAGE) };
    let plan = Plan { exported: account(word), ..Plan::default() };
    report("envuidgid", &plan.run(command))
}

/// Returns the exit code, if there is no program to become.
pub(super) fn envdir(args: &[OsString]) -> i32 {
    let Some((path, command)) = two(args) else { return usage("envdir", "dir child", exit::SYSTEM) };
    let plan = Plan { environment: vec![Change::Directory(path.clone(), Rules::Envdir)], ..Plan::default() };
    report("envdir", &plan.run(command))
}

/// Returns the exit code, if there is no program to become.
pub(super) fn pgrphack(args: &[OsString]) -> i32 {
    if args.is_empty() {
        return usage("pgrphack", "child", exit::USAGE);
    }
    report("pgrphack", &Plan { session: true, ..Plan::default() }.run(args))
}

/// Returns the exit code, if there is no program to become.
pub(super) fn setlock(args: &[OsString]) -> i32 {
    let (mut wait, mut silent) = (Wait::Forever, false);
    let mut options = Options::new(b"setlock", b"nNxX", args);
    let wrong = || usage("setlock", "[ -nNxX ] file program [ arg ... ]", exit::USAGE);
    for option in &mut options {
        match option {
            Ok((b'n', _)) => wait = Wait::Never,
            Ok((b'N', _)) => wait = Wait::Forever,
            Ok((letter, _)) => silent = letter == b'x',
            Err(()) => return wrong(),
        }
    }
    let Some((path, command)) = two(options.rest()) else { return wrong() };
    let failure = Plan { lock: Some(flock(path.clone(), wait)), ..Plan::default() }.run(command);
    match failure.step {
        Step::OpenLock | Step::Lock if silent => exit::OK,
        _ => report("setlock", &failure),
    }
}

/// Returns the exit code, if there is no program to become.
pub(super) fn softlimit(args: &[OsString]) -> i32 {
    let mut options = Options::new(b"softlimit", LIMIT_OPTIONS, args);
    match limits(&mut options).filter(|_| !options.rest().is_empty()) {
        Some(plan) => report("softlimit", &plan.run(options.rest())),
        None => usage("softlimit", SOFTLIMIT, exit::USAGE),
    }
}

/// What the options of softlimit say, in their order. `None`: they are wrong.
fn limits(options: &mut Options<'_>) -> Option<Plan> {
    let mut plan = Plan::default();
    for option in options {
        let (letter, value) = option.ok()?;
        add_limits(&mut plan, letter, value, number)?;
    }
    Some(plan)
}

/// Adds what one of the options says.
pub(super) fn add_limits(plan: &mut Plan, letter: u8, value: &[u8], number: fn(&[u8]) -> Option<u64>) -> Option<()> {
    let soft = if value == b"=" { SoftLimit::Hard } else { SoftLimit::AtMost(number(value)?) };
    let kinds = LIMITS.iter().filter(|(known, _)| *known == letter).flat_map(|(_, kinds)| *kinds);
    plan.soft_limits.extend(kinds.map(|kind| (*kind, soft)));
    Some(())
}

/// Says why there is no program. Returns the exit code.
pub(super) fn report(program: &str, failure: &Failure) -> i32 {
    let what = match failure.step {
        Step::OpenHere => "unable to switch to current directory",
        Step::EnterVariables => "unable to switch to directory",
        Step::OpenVariables | Step::ListVariables => "unable to read directory",
        Step::ReadVariables => "unable to read",
        Step::UnknownUser => "unknown account",
        Step::SetGroups | Step::SetGroup => "unable to setgid",
        Step::SetUser => "unable to setuid",
        Step::OpenLock => "unable to open",
        Step::Lock => "unable to lock",
        Step::GetLimit => "getrlimit failed",
        Step::SetLimit => "setrlimit failed",
        _ => "unable to run",
    };
    let mut line = [program.as_bytes(), b": fatal: ", what.as_bytes()].concat();
    let is_alone = matches!(failure.step, Step::OpenHere | Step::GetLimit | Step::SetLimit)
        || matches!(failure.step, Step::SetGroups | Step::SetGroup | Step::SetUser);
    if !is_alone {
        line.extend([b" ", &failure.object[..]].concat());
    }
    if failure.errno != Errno::UnknownErrno {
        line.extend([b": ", print::why(failure.errno)].concat());
    }
    line.push(b'\n');
    print::stderr(&[&line]);
    exit::SYSTEM
}
