//! `fghack`, as daemontools 0.76 has it: a program that goes to the background is waited for all the same, until all have
//! closed a pipe that it does not know of.

use super::daemontools::{report, usage};
use super::plan::Plan;
use crate::exit;
use crate::machine::Exit;
use crate::sys::spawn::{Side, fork};
use crate::sys::{Errno, program, wait};
use crate::tool::print;
use std::ffi::OsString;
use std::io::Read as _;

/// The program gets the pipe so often: some close a number of descriptors that they do not know.
const COPIES: usize = 30;

/// Returns the exit code: that of the program, or 111 if it was killed.
pub(super) fn fghack(args: &[OsString]) -> i32 {
    if args.is_empty() {
        return usage("fghack", "child", exit::USAGE);
    }
    let (mut reader, writer) = match program::pipe_to_inherit() {
        Ok(pipe) => pipe,
        Err(errno) => return fatal("unable to create pipe", errno),
    };
    match fork() {
        Err(errno) => fatal("unable to fork", errno),
        Ok(Side::Child) => {
            drop(reader);
            program::leave_open(writer, COPIES);
            report("fghack", &Plan::default().run(args))
        }
        Ok(Side::Parent(pid)) => {
            drop(writer);
            let mut room = [0; 64];
            loop {
                match reader.read(&mut room) {
                    Ok(0) => break,
                    Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
            match wait::reap_only(pid) {
                Some(Exit::Code(code)) => code.into(),
                Some(Exit::Signal { .. }) => {
                    print::stderr(&[b"fghack: fatal: child crashed\n"]);
                    exit::SYSTEM
                }
                None => fatal("wait failed", Errno::ECHILD),
            }
        }
    }
}

fn fatal(what: &str, errno: Errno) -> i32 {
    print::stderr(&[b"fghack: fatal: ", what.as_bytes(), b": ", print::why(errno), b"\n"]);
    exit::SYSTEM
}
