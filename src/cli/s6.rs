//! `s6-svc`, `s6-svstat`, `s6-svwait` and `s6-svok`, for systems where scripts call them and s6 is not installed.
//!
//! Source: the files of these names of s6 2.11, and what they print.

mod svc;
mod svstat;
mod svwait;

use crate::exit;
use crate::sys::Errno;
use crate::sys::fs::{self, Holder};
use crate::tool::print;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What ends later than it was to.
const LATE: i32 = 99;

/// The tool of this name. `None`: it is none of these.
pub fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "s6-svc" => svc::svc(args),
        "s6-svstat" => svstat::svstat(args),
        "s6-svwait" => svwait::svwait(args),
        "s6-svok" => svok(args),
        _ => return None,
    })
}

/// `s6-svok DIR`.
fn svok(args: &[OsString]) -> i32 {
    let Some(dir) = args.first() else { return usage("s6-svok", "servicedir") };
    match is_supervised(dir) {
        Ok(true) => exit::OK,
        Ok(false) => exit::FAILED,
        Err(errno) => fatal("s6-svok", &[b"unable to check ", dir.as_bytes()], errno),
    }
}

/// Whether a supervisor holds the lock of a service.
fn is_supervised(dir: &OsStr) -> Result<bool, Errno> {
    match fs::lock_holder(&Path::new(dir).join("supervise/lock")) {
        Ok(Holder::Nobody) | Err(Errno::ENOENT) => Ok(false),
        Ok(Holder::Process(_) | Holder::Stranger) => Ok(true),
        Err(errno) => Err(errno),
    }
}

fn usage(name: &str, words: &str) -> i32 {
    print::stderr(&[name.as_bytes(), b": usage: ", name.as_bytes(), b" ", words.as_bytes(), b"\n"]);
    exit::USAGE
}

fn fatal(name: &str, what: &[&[u8]], errno: Errno) -> i32 {
    die(name, &[&what.concat(), b": ", errno.desc().as_bytes()], exit::SYSTEM)
}

fn die(name: &str, what: &[&[u8]], code: i32) -> i32 {
    print::stderr(&[name.as_bytes(), b": fatal: ", &what.concat(), b"\n"]);
    code
}

/// A number of milliseconds.
fn milliseconds(value: &[u8]) -> Option<u64> {
    str::from_utf8(value).ok()?.parse::<u32>().ok().map(u64::from)
}
