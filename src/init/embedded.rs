//! The supervisor of an application's own processes (`onit::embed`). It is a process of its own, and looks whether the
//! application is still there: whether its process lives, and holds its end of the connection to us. What it says there
//! is an order to stop everything, as with a launcher; a second one is for more haste.

use super::Init;
use super::boot;
use super::config::{Application, Config};
use super::reexec;
use super::turn::Token;
use crate::machine::until::Until;
use crate::sys::poll::Poller;
use crate::sys::{Errno, process};
use crate::wire::api::DIRECTORY_VARIABLE;
use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;

/// Supervises the services in this directory until the application ends, and those of them that are detached for as long
/// as one of them is to run. Both descriptors are the application's: its process, and the connection to it. Without
/// them, we go on after a fault, and they are known. Returns the exit code.
pub fn supervise(directory: &Path, detached: Vec<OsString>, application: Option<(OwnedFd, OwnedFd)>) -> i32 {
    process::export(DIRECTORY_VARIABLE, directory.as_os_str());
    let (process, launcher) = application.unzip();
    let application = Some(Application { process, detached });
    boot::supervise(Config { application, launcher, ..Config::onit(directory.to_owned()) })
}

impl Config {
    /// Has the poller look at the application's process; its connection is looked at as a launcher's.
    pub(super) fn watch_application(&mut self, poller: &Poller, is_successor: bool) -> Result<(), Errno> {
        let Some(application) = &self.application else { return Ok(()) };
        match &application.process {
            Some(process) => reexec::retry(is_successor, || poller.add(process, Token::Launcher.pack())),
            None => {
                self.until = Some(Until::Done);
                Ok(())
            }
        }
    }

    pub(super) fn application_descriptor(&self) -> Option<RawFd> {
        self.application.as_ref()?.process.as_ref().map(OwnedFd::as_raw_fd)
    }
}

impl Init {
    /// Stops what is not detached, and everything if nothing is.
    pub(super) fn application_ended(&mut self) {
        let Some(application) = &mut self.config.application else { return };
        let (process, connection) = (application.process.take(), self.config.launcher.take());
        let is_news = process.is_some() || connection.is_some(); // both may say so in one turn
        let detached = application.detached.clone();
        self.table.bury(process.into_iter().chain(connection));
        if !is_news || !self.system.is_up() {
            return;
        }
        if detached.is_empty() {
            return self.stop();
        }
        self.scan.stop_taking_in();
        self.config.until = Some(Until::Done);
        for at in self.table.services() {
            if self.table.get(at).is_some_and(|slot| !detached.contains(&slot.name)) {
                self.release_in_order(at);
            }
        }
    }
}
