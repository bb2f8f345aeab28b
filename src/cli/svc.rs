//! `svc`: one letter for each order, to daemontools' supervise or a supervisor in its place.
//!
//! Source: `svc.c` of daemontools 0.76.

use crate::exit;
use crate::sys::{Errno, fs};
use crate::tool::getopt::Options;
use crate::tool::print;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

const HELP: &[u8] = b"svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, \
    t term, k kill\n";

/// `svc [-udopchaitkx] DIR...`. Ends with 0 also where no supervisor was reached.
pub fn svc(args: &[OsString]) -> i32 {
    let mut letters = Vec::new();
    let mut options = Options::new(b"svc", b"udopchaitkx", args);
    for option in options.by_ref() {
        let Ok((letter, _)) = option else {
            print::stderr(&[HELP]);
            return exit::USAGE;
        };
        if !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    in_each(b"svc", options.rest(), |dir| {
        if let Err(trouble) = order(dir.as_bytes(), &letters) {
            print::stderr(&[b"svc: warning: ", &trouble, b"\n"]);
        }
    })
}

/// Calls `what` for each directory. Relative ones begin where we were started, so `what` may go elsewhere.
pub(super) fn in_each(program: &[u8], dirs: &[OsString], mut what: impl FnMut(&OsStr)) -> i32 {
    let home = match fs::working_dir() {
        Ok(home) => home,
        Err(errno) => return fatal(program, b"unable to open current directory", errno),
    };
    for dir in dirs {
        what(dir);
        if let Err(errno) = fs::return_to(&home) {
            return fatal(program, b"unable to set directory", errno);
        }
    }
    exit::OK
}

fn fatal(program: &[u8], what: &[u8], errno: Errno) -> i32 {
    print::stderr(&[program, b": fatal: ", what, b": ", print::why(errno), b"\n"]);
    exit::SYSTEM
}

fn order(dir: &[u8], letters: &[u8]) -> Result<(), Vec<u8>> {
    let because = |what: &[u8], errno| [what, dir, b": ", print::why(errno)].concat();
    fs::enter(OsStr::from_bytes(dir)).map_err(|errno| because(b"unable to chdir to ", errno))?;
    let control = fs::open_writer("supervise/control").map_err(|errno| match errno {
        Errno::ENXIO => [b"unable to control ", dir, b": supervise not running"].concat(),
        errno => because(b"unable to control ", errno),
    })?;
    // As svc does: it waits for a supervisor that is slow to read.
    let written = fs::set_blocking(&control).and_then(|()| fs::send(control, letters));
    written.map_err(|errno| because(b"error writing commands to ", errno))
}
