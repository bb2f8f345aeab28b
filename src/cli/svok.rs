//! `svok`: whether a supervisor is there.
//!
//! Source: `svok.c` of daemontools 0.76.

use crate::exit;
use crate::sys::{Errno, fs};
use crate::tool::print;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

/// There is none. The same number as for wrong use.
const NOBODY: i32 = 100;

/// `svok DIR`.
pub fn svok(args: &[OsString]) -> i32 {
    let Some(dir) = args.first() else {
        print::stderr(&[b"svok: usage: svok dir\n"]);
        return exit::USAGE;
    };
    if let Err(errno) = fs::enter(dir) {
        return fatal(&[b"unable to chdir to ", dir.as_bytes(), b": ", print::why(errno)]);
    }
    match fs::open_writer("supervise/ok") {
        Ok(_) => exit::OK,
        Err(Errno::ENOENT | Errno::ENXIO) => NOBODY,
        Err(errno) => fatal(&[b"unable to open ", dir.as_bytes(), b"/supervise/ok: ", print::why(errno)]),
    }
}

fn fatal(parts: &[&[u8]]) -> i32 {
    print::stderr(&[b"svok: fatal: ", &parts.concat(), b"\n"]);
    exit::SYSTEM
}
