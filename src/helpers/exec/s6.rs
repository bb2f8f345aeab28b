//! `s6-setuidgid`, `s6-envuidgid`, `s6-envdir`, `s6-softlimit`, `s6-setsid` and `s6-setlock`, as s6 2.11 has them, and
//! `with-contenv` of s6-overlay 3.
//!
//! Source: the files of these names there; messages as the programs print them.

use super::daemontools::{LIMIT_OPTIONS, add_limits, usage};
use super::environment::{Change, Rules, S6};
use super::plan::{Failure, Lock, Plan, Search, Step, Who};
use super::users::Identity;
use crate::exit;
use crate::sys::credentials::{self, Account};
use crate::sys::lock::{self, Wait};
use crate::sys::{Errno, scheduling};
use crate::tool::getopt::Options;
use crate::tool::print;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

const SOFTLIMIT: &str = "[ -a allbytes ] [ -c corebytes ] [ -d databytes ] [ -f filebytes ] [ -l lockbytes ] \
    [ -m membytes ] [ -o openfiles ] [ -p processes ] [ -r residentbytes ] [ -s stackbytes ] [ -t cpusecs ] prog...";
const ENVUIDGID: &str = "[ -i | -D defaultuid:defaultgid:defaultgidlist ] [ -u | -g | -B ] [ -n ] account prog...";
const APPLYUIDGID: &str = "[ -z ] [ -u uid ] [ -g gid ] [ -G gidlist ] [ -U ] prog...";
const SETSID: &str = "[ -s | -b | -f | -g ] [ -i | -I | -q ] [ -d ctty ] prog...";

/// Where s6-overlay keeps the environment of the container.
const CONTAINER: &str = "/run/s6/container_environment";

/// What all of them change: nothing.
pub(super) fn plan() -> Plan {
    Plan { search: Search::OursWithoutEmpty, ..Plan::default() }
}

/// A whole number that is not too large for its type.
pub(super) fn whole<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let digits = std::str::from_utf8(text).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

// s6-setuidgid

/// Returns the exit code, if there is no program to become.
pub(super) fn setuidgid(args: &[OsString]) -> i32 {
    let Some((word, command)) = args.split_first().filter(|(_, command)| !command.is_empty()) else {
        return usage("s6-setuidgid", "username prog...", exit::USAGE);
    };
    let numeric = word.as_bytes().contains(&b':');
    let look_up = if numeric { of_numbers } else { of_name };
    let unset: &[&str] = if numeric { &[] } else { &["UID", "GID", "GIDLIST"] };
    let environment = unset.iter().map(|name| Change::Entry(name.as_bytes().to_vec())).collect();
    let user = Some(Who { word: word.as_bytes().to_vec(), look_up });
    report("s6-applyuidgid", &Plan { user, environment, ..plan() }.run(command))
}

/// `UID:GID`; what is 0 stays as it is.
fn of_numbers(word: &[u8]) -> Result<Identity, Failure> {
    let mut parts = word.splitn(2, |byte| *byte == b':');
    let mut number = || parts.next().and_then(whole::<u32>);
    match (number(), number()) {
        (Some(user), Some(group)) => Ok(identity(user, group, &[])),
        _ => Err(Failure::plain(Step::BadNumbers, word)),
    }
}

fn of_name(word: &[u8]) -> Result<Identity, Failure> {
    let account = account(word).ok_or_else(|| Failure::plain(Step::UnknownUser, word))?;
    Ok(identity(account.user, account.group, &credentials::groups_of(&account)))
}

fn identity(user: u32, group: u32, others: &[u32]) -> Identity {
    let own = if group == 0 { credentials::group() } else { group };
    let mut groups = vec![own];
    groups.extend(others.iter().filter(|other| **other != own));
    let some = |number| (number != 0).then_some(number);
    Identity { user: some(user), group: some(group), groups: Some(groups), account: None }
}

/// Whatever keeps us from finding it, s6 has one word for it.
fn account(name: &[u8]) -> Option<Account> {
    credentials::user_of_name(name).unwrap_or_default()
}

// s6-envuidgid

/// What is exported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Account,
    User,
    Group,
    Both,
}

/// Returns the exit code, if there is no program to become.
pub(super) fn envuidgid(args: &[OsString]) -> i32 {
    let wrong = || usage("s6-envuidgid", ENVUIDGID, exit::USAGE);
    let (mut what, mut numeric, mut defaults) = (What::Account, false, None);
    let mut options = Options::new(b"s6-envuidgid", b"ugBniD:", args).of_s6();
    for option in &mut options {
        match option {
            Ok((b'u', _)) => what = What::User,
            Ok((b'g', _)) => what = What::Group,
            Ok((b'B', _)) => what = What::Both,
            Ok((b'n', _)) => {
                numeric = true;
                what = if what == What::Account { What::Both } else { what };
            }
            Ok((b'i', _)) => defaults = None,
            Ok((_, value)) => match scan_defaults(value) {
                Some(read) => defaults = Some(read),
                None => return wrong(),
            },
            Err(()) => return wrong(),
        }
    }
    let Some((word, command)) = options.rest().split_first().filter(|(_, command)| !command.is_empty()) else {
        return wrong();
    };
    match exported(word.as_bytes(), what, numeric, defaults) {
        Ok(environment) => report("s6-envuidgid", &Plan { environment, ..plan() }.run(command)),
        Err(failure) => report("s6-envuidgid", &failure),
    }
}

/// A user, a group, and the others.
type Numbers = (u32, u32, Vec<u32>);

/// `UID:GID:GIDLIST`, the last with commas; what is missing is 0, or none.
fn scan_defaults(text: &[u8]) -> Option<Numbers> {
    let mut parts = text.splitn(3, |byte| *byte == b':').map(Some).chain(std::iter::repeat(None));
    let mut number = || parts.next().flatten().map_or(Some(0), whole_or_empty);
    let (user, group) = (number()?, number()?);
    let list = parts.next().flatten().filter(|list| !list.is_empty());
    let groups = list.map_or(Some(Vec::new()), |list| list.split(|byte| *byte == b',').map(whole).collect());
    (!text.is_empty()).then_some((user, group, groups?))
}

fn whole_or_empty(text: &[u8]) -> Option<u32> {
    if text.is_empty() { Some(0) } else { whole(text) }
}

fn exported(word: &[u8], what: What, numeric: bool, defaults: Option<Numbers>) -> Result<Vec<Change>, Failure> {
    let insists = defaults.is_none();
    let (mut user, mut group, mut groups) = defaults.unwrap_or_default();
    let mut parts = word.splitn(2, |byte| *byte == b':');
    let [first, second] = match what {
        What::Both => [parts.next(), parts.next()].map(|part| part.filter(|part| !part.is_empty())),
        What::Group => [None, Some(word)],
        What::Account | What::User => [Some(word), None],
    };
    if let Some(name) = second {
        let found = credentials::group_of_name(name).unwrap_or_default();
        let found = found.or_else(|| whole(name).filter(|_| numeric));
        group = found.or((!insists).then_some(group)).ok_or_else(|| Failure::plain(Step::UnknownGroup, name))?;
    }
    if let Some(name) = first {
        match account(name) {
            Some(account) => {
                user = account.user;
                if what == What::Account {
                    (group, groups) = (account.group, credentials::groups_of(&account));
                }
            }
            None => {
                let found = whole(name).filter(|_| numeric).or((!insists).then_some(user));
                user = found.ok_or_else(|| Failure::plain(Step::UnknownUser, name))?;
            }
        }
    }
    let list = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let all = [
        (what != What::Group).then(|| format!("UID={user}")),
        (what != What::User).then(|| format!("GID={group}")),
        (what == What::Account).then(|| format!("GIDLIST={list}")),
    ];
    Ok(all.into_iter().flatten().map(|text| Change::Entry(text.into_bytes())).collect())
}

// The others

/// Returns the exit code, if there is no program to become.
pub(super) fn envdir(args: &[OsString]) -> i32 {
    let wrong = || usage("s6-envdir", "[ -I | -i ] [ -n ] [ -f ] [ -L ] [ -c nullchar ] dir prog...", exit::USAGE);
    let mut rules = S6 { insists: true, keeps_blanks: false, whole: false, nul: b'\n' };
    let mut options = Options::new(b"s6-envdir", b"IinfLc:", args).of_s6();
    for option in &mut options {
        match option {
            Ok((b'I', _)) => rules.insists = false,
            Ok((b'i', _)) => rules.insists = true,
            Ok((b'n', _)) => rules.keeps_blanks = true,
            Ok((b'f', _)) => rules.whole = true,
            Ok((b'L', _)) => {} // here no size is limited
            Ok((_, nul)) => rules.nul = nul.first().copied().unwrap_or(0),
            Err(()) => return wrong(),
        }
    }
    let Some((path, command)) = options.rest().split_first().filter(|(_, command)| !command.is_empty()) else {
        return wrong();
    };
    if rules.nul == 0 {
        return report("s6-envdir", &Failure::with(Step::ListVariables, path.as_bytes())(Errno::EINVAL));
    }
    let environment = vec![Change::Directory(path.clone(), Rules::S6(rules))];
    report("s6-envdir", &Plan { environment, ..plan() }.run(command))
}

/// Returns the exit code, if there is no program to become.
pub(super) fn softlimit(args: &[OsString]) -> i32 {
    let mut options = Options::new(b"s6-softlimit", LIMIT_OPTIONS, args).of_s6();
    let mut plan = plan();
    let wrong = || usage("s6-softlimit", SOFTLIMIT, exit::USAGE);
    // It takes no notice of options that it does not know.
    for (letter, value) in (&mut options).flatten() {
        if add_limits(&mut plan, letter, value, whole).is_none() {
            return wrong();
        }
    }
    match options.rest() {
        [] => wrong(),
        command => report("s6-softlimit", &plan.run(command)),
    }
}

/// Returns the exit code, if there is no program to become.
pub(super) fn setlock(args: &[OsString]) -> i32 {
    let wrong = || usage("s6-setlock", "[ -r | -w ] [ -n | -N | -t timeout ] lockfile prog...", exit::USAGE);
    let (mut kind, mut wait) = (lock::Lock::Exclusive, Wait::Forever);
    let mut options = Options::new(b"s6-setlock", b"nNrwt:", args).of_s6();
    for option in &mut options {
        match option {
            Ok((b'n', _)) => wait = Wait::Never,
            Ok((b'N', _)) => wait = Wait::Forever,
            Ok((b'r', _)) => kind = lock::Lock::Shared,
            Ok((b'w', _)) => kind = lock::Lock::Exclusive,
            Ok((_, value)) => match whole::<u32>(value) {
                Some(milliseconds) => wait = Wait::For(Duration::from_millis(milliseconds.into())),
                None => return wrong(),
            },
            Err(()) => return wrong(),
        }
    }
    let Some((path, command)) = options.rest().split_first().filter(|(_, command)| !command.is_empty()) else {
        return wrong();
    };
    let lock = Some(Lock { path: path.clone(), kind, wait });
    report("s6-setlock", &Plan { lock, ..plan() }.run(command))
}

/// What becomes of what could not be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Insists {
    Fatal,
    Warning,
    No,
}

/// Returns the exit code, if there is no program to become.
pub(super) fn setsid(args: &[OsString]) -> i32 {
    let (mut what, mut insists, mut terminal) = (b's', Insists::Warning, 0);
    let mut options = Options::new(b"s6-setsid", b"sbfgiIqd:", args).of_s6();
    for option in &mut options {
        match option {
            Ok((b'i', _)) => insists = Insists::Fatal,
            Ok((b'I', _)) => insists = Insists::Warning,
            Ok((b'q', _)) => insists = Insists::No,
            Ok((b'd', value)) if whole::<i32>(value).is_some() => terminal = whole(value).unwrap_or_default(),
            Ok((letter, _)) if letter != b'd' => what = letter,
            _ => return usage("s6-setsid", SETSID, exit::USAGE),
        }
    }
    let command = options.rest();
    if command.is_empty() {
        return usage("s6-setsid", SETSID, exit::USAGE);
    }
    let mut steps = match what {
        b's' => vec![("setsid", scheduling::lead_session())],
        _ => vec![("setpgid", scheduling::lead_group())],
    };
    if matches!(what, b'f' | b'g') {
        steps.push(("tcsetpgrp", scheduling::take_terminal(terminal, what == b'g')));
    }
    for (name, result) in steps {
        let (Err(errno), true) = (result, insists != Insists::No) else { continue };
        let word = if insists == Insists::Fatal { "fatal" } else { "warning" };
        print::stderr(&[format!("s6-setsid: {word}: unable to {name}: {}\n", text(errno)).as_bytes()]);
        if insists == Insists::Fatal {
            return exit::SYSTEM;
        }
    }
    report("s6-setsid", &plan().run(command))
}

/// Returns the exit code, if there is no program to become.
pub(super) fn with_contenv(args: &[OsString]) -> i32 {
    if args.is_empty() {
        return usage("with-contenv", "prog...", exit::USAGE);
    }
    let keeps = std::env::var("S6_KEEP_ENV").is_ok_and(|value| value.parse::<u64>().is_ok_and(|number| number != 0));
    let mut environment = Vec::new();
    if !keeps && std::path::Path::new(CONTAINER).is_dir() {
        let rules = S6 { insists: true, keeps_blanks: false, whole: true, nul: b'\n' };
        environment = vec![Change::Clear(&["PATH"]), Change::Directory(CONTAINER.into(), Rules::S6(rules))];
    }
    report("with-contenv", &Plan { environment, search: Search::Its, ..Plan::default() }.run(args))
}

/// The words of the C library for an error.
pub(super) fn text(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno as i32).to_string();
    text.rsplit_once(" (os error ").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// Says why there is no program. Returns the exit code.
pub(super) fn report(program: &str, failure: &Failure) -> i32 {
    let object = &failure.object;
    let (words, errno): (Vec<&[u8]>, _) = match (failure.step, failure.errno) {
        (Step::BadNumbers, _) => return usage("s6-applyuidgid", APPLYUIDGID, exit::USAGE),
        (Step::UnknownUser | Step::UnknownGroup, _) => {
            let what: &[u8] = if failure.step == Step::UnknownUser { b"unknown user: " } else { b"unknown group: " };
            print::stderr(&[b"s6-envuidgid: fatal: ", what, object, b"\n"]);
            return exit::FAILED;
        }
        (Step::OpenLock, errno) => (vec![b"open ", object, b" for writing"], errno),
        (Step::Lock, Errno::ETIMEDOUT) => (vec![b"acquire lock"], Errno::ETIMEDOUT),
        (Step::Lock, Errno::EAGAIN | Errno::EACCES) => (vec![b"lock ", object], Errno::EBUSY),
        (Step::Lock, errno) => (vec![b"lock ", object], errno),
        (Step::ListVariables | Step::ReadVariables, errno) => (vec![b"envdir ", object], errno),
        (Step::SetGroups, errno) => (vec![b"set supplementary group list"], errno),
        (Step::SetGroup, errno) => (vec![b"setgid"], errno),
        (Step::SetUser, errno) => (vec![b"setuid"], errno),
        (Step::GetLimit, errno) => (vec![b"getrlimit"], errno),
        (Step::SetLimit, errno) => (vec![b"setrlimit"], errno),
        (_, errno) => (vec![b"exec ", object], errno),
    };
    let (words, why) = (words.concat(), text(errno));
    print::stderr(&[program.as_bytes(), b": fatal: unable to ", &words, b": ", why.as_bytes(), b"\n"]);
    match failure.step {
        Step::Run if failure.errno == Errno::ENOENT => exit::NOT_FOUND,
        Step::Run => exit::NOT_EXECUTABLE,
        Step::Lock => exit::FAILED,
        _ => exit::SYSTEM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_numbers_that_may_be_missing() {
        let read = |text: &str| scan_defaults(text.as_bytes());
        assert_eq!(read("1:2:3,4"), Some((1, 2, vec![3, 4])));
        for (text, numbers) in [("1", (1, 0)), ("1:", (1, 0)), (":2", (0, 2)), (":", (0, 0)), ("1:2:", (1, 2))] {
            assert_eq!(read(text), Some((numbers.0, numbers.1, Vec::new())), "{text}");
        }
        for wrong in ["x", "99999999999:1", "1:x", "1:2:x", "1:2:3,,4", "1:2:3:4"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_zero_stays_and_a_group_stands_once() {
        let some = identity(5, 6, &[7, 6]);
        assert_eq!((some.user, some.group, some.groups), (Some(5), Some(6), Some(vec![6, 7])));
        assert_eq!((identity(0, 6, &[]).user, identity(5, 0, &[]).group), (None, None));
        assert!(of_numbers(b"1:2x").is_err() && of_numbers(b"1:").is_err() && of_numbers(b"1:0").is_ok());
    }
}
