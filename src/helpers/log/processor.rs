//! What is run on a closed file: a command of the shell that reads it, and writes what takes its place.

use super::current::truncate;
use super::waiting::Waiter;
use crate::machine::Pid;
use crate::sys::spawn::Descriptor;
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;

/// What it has been told before, and what it says for the next time.
pub const STATE: &str = "state";
/// The same while it is written.
pub const NEW_STATE: &str = "newstate";

/// The words that start it.
pub enum Shell<'a> {
    /// `/bin/sh -c`.
    Sh(&'a [u8]),
    /// `execlineb -Pc` where it is installed, else the shell.
    Execline(&'a [u8]),
}

/// Starts it in the working directory, which is that of the log: from one file to another, with `state` as descriptor 4
/// and `newstate` as descriptor 5.
pub fn start(waiter: &mut Waiter, shell: Shell, from: &str, to: &str) -> io::Result<Pid> {
    let input = File::open(from)?;
    // One that was left running when a logger was killed may still write to the old one.
    match std::fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let output = truncate(to)?;
    let state = OpenOptions::new().read(true).append(true).create(true).open(STATE)?;
    let new_state = truncate(NEW_STATE)?;
    let descriptors = [(&input, 0), (&output, 1), (&state, 4), (&new_state, 5)];
    let descriptors = descriptors.map(|(file, to)| Descriptor { from: file.as_fd(), to });
    let text = |command: &[u8]| CString::new(command).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    match shell {
        Shell::Sh(command) => waiter.spawn(&[c"/bin/sh", c"-c", &text(command)?], &descriptors),
        Shell::Execline(command) => {
            const EITHER: &CStr =
                c"command -v execlineb >/dev/null && exec execlineb -Pc \"$0\"; exec /bin/sh -c \"$0\"";
            waiter.spawn(&[c"/bin/sh", c"-c", EITHER, &text(command)?], &descriptors)
        }
    }
}
