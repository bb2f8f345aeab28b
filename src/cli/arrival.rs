//! What is not there yet: a supervisor that is about to answer. The kernel tells when a name comes; nothing is asked again
//! and again.

use super::connect::{CliError, Connection};
use crate::exit;
use crate::machine::Mono;
use crate::sys::watch::{Interest, Notifier};
use crate::sys::{Errno, clock, poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// A directory that comes while it is about to be watched is looked at again so often.
const ATTEMPTS: usize = 8;

/// Tells when one of several files may have come.
pub struct Arrival(Notifier);

impl Arrival {
    /// To be made before the files are looked for, so that none comes in between.
    pub fn of(files: &[PathBuf]) -> Result<Arrival, Errno> {
        let notifier = Notifier::new()?;
        for file in files {
            for _ in 0..ATTEMPTS {
                if watch_way(&notifier, file)? {
                    break;
                }
            }
        }
        Ok(Arrival(notifier))
    }
}

impl AsFd for Arrival {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Watches the last directory on the way to a file that there is. Whether it is still the last one.
fn watch_way(notifier: &Notifier, file: &Path) -> Result<bool, Errno> {
    let mut missing: Option<&Path> = None;
    for folder in file.ancestors().skip(1) {
        match notifier.add(folder, Interest::Names) {
            Ok(_) => return Ok(missing.is_none_or(|missing| !missing.exists())),
            Err(Errno::ENOENT | Errno::ENOTDIR) => missing = Some(folder),
            Err(Errno::EACCES) => return Ok(true), // without permission we are not told
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

/// A supervisor that knows its services, or what there is when the time has come.
pub fn supervisor(mut talk: Connection, until: Option<Mono>) -> Result<Connection, CliError> {
    let failed = |errno: Errno| CliError::new(exit::SYSTEM, format!("cannot wait: {}", errno.desc()));
    while talk.everything().is_err() && until.is_none_or(|until| clock::now() < until) {
        let arrival = Arrival::of(&[talk.sockets(), talk.fifos()].concat()).map_err(failed)?;
        talk = Connection::open_within(until.map(|until| until.since(clock::now())));
        if talk.everything().is_err() {
            poll::input(&arrival, until.unwrap_or(Mono(u64::MAX))).map_err(failed)?;
        }
    }
    Ok(talk)
}
