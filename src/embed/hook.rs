//! Where a program becomes its own supervisor, or one of its processes.

use super::script;
use crate::exit;
use crate::init::embedded;
use crate::machine::Pid;
use crate::sys::spawn::{Side, fork};
use crate::sys::{Errno, fs, process, rescue, say::say};
use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name by which a program is its own supervisor.
pub(super) const NAME: &str = "onit-embed";
/// The path by which it is the interpreter of what it executes for a process, and the word in front of the path of that.
pub(super) const EXECUTABLE: &str = "/proc/self/exe";
pub(super) const MARK: &str = "onit::embed";

/// This program has the hook, and may so be its own supervisor.
static IS_THERE: AtomicBool = AtomicBool::new(false);

pub(super) fn is_there() -> bool {
    IS_THERE.load(Ordering::Relaxed)
}

/// The first line of `main`, before any thread is started or file opened. Returns at once in the program itself. Where
/// [`Supervisor::start`](super::Supervisor::start) has started it, it is the supervisor from here on, and does not return.
///
/// A program that runs with more rights than who started it, such as a setuid one, does not become a supervisor.
pub fn hook() {
    if process::is_privileged() {
        return;
    }
    IS_THERE.store(true, Ordering::Relaxed);
    let args: Vec<OsString> = std::env::args_os().take(1).collect();
    if args.iter().all(|name| name != NAME && name != EXECUTABLE) {
        return;
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.as_slice() {
        [name, directory, detached @ ..] if name == NAME => {
            std::process::exit(supervise(Path::new(directory), detached))
        }
        [name, mark, file] if name == EXECUTABLE && mark == MARK => std::process::exit(script::run(Path::new(file))),
        _ => {}
    }
}

/// Supervises what stands in this directory, and removes it at the end.
fn supervise(directory: &Path, detached: &[OsString]) -> i32 {
    rescue::keep_name();
    let application = if rescue::is_successor() { Ok(None) } else { part().map(Some) };
    // The program takes the end of its connection for the end of all this: that comes with our end, and not before.
    let connection = application.as_ref().ok().and_then(Option::as_ref).map(|(_, connection)| connection.try_clone());
    let code = match application {
        Ok(application) => embedded::supervise(directory, detached.to_vec(), application),
        Err(errno) => {
            say(format_args!("onit: {}: cannot leave the program: {}", directory.display(), errno.desc()));
            exit::SYSTEM
        }
    };
    let _ = std::fs::remove_dir_all(directory);
    drop(connection);
    code
}

/// Leaves the program that has started us: what goes on is no child of it, so that it may wait for any child of its own.
/// Returns its process, and the connection to it, which is our standard input.
fn part() -> Result<(OwnedFd, OwnedFd), Errno> {
    let application = process::handle(Pid(parent_id().cast_signed()))?;
    if let Side::Parent(_) = fork()? {
        std::process::exit(exit::OK);
    }
    process::lead_session();
    let connection = std::io::stdin().as_fd().try_clone_to_owned().map_err(|_| Errno::last())?;
    fs::never_wait(&connection)?;
    process::become_stdin(fs::open_null()?)?;
    Ok((application, connection))
}
