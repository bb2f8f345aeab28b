//! `./check` says whether a service is available, as with `sv`.

use crate::machine::Mono;
use crate::wire::svdir::template_and_instance;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// No event tells when the answer of `./check` changes: so long after an answer it is asked again.
pub(crate) const PAUSE: Duration = Duration::from_millis(400);
/// How often one that runs is looked at, where nothing tells when it ends.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// How it is run in this service directory.
pub(crate) fn command(service: &Path) -> Command {
    let mut command = Command::new("./check");
    command.current_dir(service).stdin(Stdio::null()).stdout(Stdio::null());
    tell_instance(&mut command, service.file_name().unwrap_or_default());
    command
}

/// The `check` of an instance is told which one it is, as its `run` is.
pub(crate) fn tell_instance(command: &mut Command, name: &OsStr) {
    if let Some((_, instance)) = template_and_instance(name.as_bytes()) {
        let instance = OsStr::from_bytes(instance);
        command.arg(instance).env("ONIT_INSTANCE", instance);
    }
}

/// As with `sv`, one that a signal ends does not stand in the way.
pub(crate) fn says_yes(end: ExitStatus) -> bool {
    end.code().is_none_or(|code| code == 0)
}

/// Asks `./check` again and again, without waiting for it.
pub(super) struct Asking {
    service: PathBuf,
    state: State,
}

enum State {
    /// The service is not up.
    Idle,
    /// It is asked then.
    Pause(Mono),
    Runs(Child),
}

impl Asking {
    /// Of the service in this directory.
    pub(super) fn new(service: &Path) -> Asking {
        Asking { service: service.to_owned(), state: State::Idle }
    }

    /// When it is to be looked at again.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        match &self.state {
            State::Idle => None,
            State::Pause(until) => Some(*until),
            State::Runs(_) => Some(now.after(LOOK)),
        }
    }

    /// Whether the service is available, as far as is known; where there is no `./check`, it is if it is up. While it
    /// is not up, `./check` is not run, and one that still runs is killed.
    ///
    /// # Errors
    /// It cannot be run.
    pub(super) fn look(&mut self, is_up: bool, now: Mono) -> io::Result<bool> {
        if !is_up {
            self.state = State::Idle;
            return Ok(false);
        }
        match &self.state {
            State::Pause(until) if *until > now => return Ok(false),
            State::Idle | State::Pause(_) if !self.service.join("check").exists() => return Ok(true),
            State::Idle | State::Pause(_) => self.state = State::Runs(command(&self.service).spawn()?),
            State::Runs(_) => {}
        }
        let State::Runs(child) = &mut self.state else { return Ok(false) };
        let Some(end) = child.try_wait()? else { return Ok(false) };
        self.state = State::Pause(now.after(PAUSE));
        Ok(says_yes(end))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let State::Runs(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
