//! `s6-svc`: letters for a supervisor, and with `-w` a wait for what they bring about.

use super::svwait::{Target, Waiter};
use super::{die, fatal, milliseconds, usage};
use crate::exit;
use crate::sys::{Errno, fs};
use crate::tool::getopt::Options;
use crate::tool::print;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const NAME: &str = "s6-svc";
const USAGE: &str = "[ -wu | -wU | -wd | -wD | -wr | -wR ] [ -T timeout ] [ -abqhkti12pcyroduDUxOQ ] servicedir";
/// No more letters are sent at once.
const MOST: usize = 62;

/// `s6-svc [-wX] [-T MS] [-LETTERS] DIR`.
pub fn svc(args: &[OsString]) -> i32 {
    let (mut letters, mut target, mut limit) = (Vec::new(), None, 0);
    let mut options = Options::new(NAME.as_bytes(), b"abqhkti12pcyroduDUxOQlPCKw:T:", args).of_s6();
    for option in options.by_ref() {
        match option {
            Ok((b'w', [letter])) => match Target::of(*letter) {
                Some(wanted) => target = Some(wanted),
                None => return usage(NAME, USAGE),
            },
            Ok((b'T', value)) => match milliseconds(value) {
                Some(span) => limit = span,
                None => return usage(NAME, USAGE),
            },
            Ok((b'w', _)) | Err(()) => return usage(NAME, USAGE),
            Ok((letter, _)) if letters.len() < MOST => letters.push(letter),
            Ok(_) => return die(NAME, &[b"too many commands"], exit::USAGE),
        }
    }
    let [dir, others @ ..] = options.rest() else { return usage(NAME, USAGE) };
    if !others.is_empty() {
        print::stderr(&[b"s6-svc: warning: ignoring extra arguments\n"]);
    }
    let Some(target) = target else { return order(dir, &letters) };
    let target = if target.is_of_readiness() && !Path::new(dir).join("notification-fd").exists() {
        let dir = dir.as_bytes();
        print::stderr(&[
            b"s6-svc: warning: ",
            dir,
            b"/notification-fd not present - ignoring request for readiness notification\n",
        ]);
        target.without_readiness()
    } else {
        target
    };
    let name = if letters.is_empty() { "s6-svwait" } else { "s6-svlisten1" };
    let begun = Waiter::begin(name, std::slice::from_ref(dir), target, true, limit);
    let waiter = match begun {
        Ok(waiter) => waiter,
        Err(code) => return code,
    };
    if !letters.is_empty() {
        let code = order(dir, &letters);
        if code != exit::OK {
            return code;
        }
    }
    waiter.wait()
}

fn order(dir: &OsStr, letters: &[u8]) -> i32 {
    let sent = fs::open_writer(Path::new(dir).join("supervise/control")).and_then(|control| fs::send(control, letters));
    let is_alone = |errno| errno == Errno::ENXIO || errno == Errno::ENOENT && Path::new(dir).exists();
    match sent {
        Ok(()) => exit::OK,
        Err(errno) if is_alone(errno) => {
            die(NAME, &[b": unable to control ", dir.as_bytes(), b": supervisor not listening"], exit::USAGE)
        }
        Err(errno) => fatal(NAME, &[b"unable to control ", dir.as_bytes()], errno),
    }
}
