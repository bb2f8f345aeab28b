//! A service of systemd, driven through `systemctl`.

use super::{Command, Control, Error, ErrorKind, Kind, Result, Status, Target};
use crate::wire::status::systemd::{PROPERTIES, Unit as Seen};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command as Program, Output, Stdio};

/// Whose unit it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Scope {
    /// The machine's.
    System,
    /// The user's own manager's.
    User,
}

/// A unit of systemd. Each call runs the `systemctl` in `$PATH` once and waits for it, but not for what the order leads
/// to. Where there is none, no manager looks after any unit: [`NoSupervisor`](ErrorKind::NoSupervisor).
///
/// ```no_run
/// use onit::client::{Control, Scope, Unit};
///
/// let web = Unit::new("web.service", Scope::System);
/// web.restart()?;
/// println!("{}", web.status()?.state().word());
/// # Ok::<(), onit::client::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Unit {
    name: OsString,
    scope: Scope,
}

impl Unit {
    /// The unit of this name; `.service` may be left out. It need not exist.
    pub fn new(name: impl AsRef<OsStr>, scope: Scope) -> Unit {
        Unit { name: name.as_ref().to_owned(), scope }
    }

    /// Its name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    fn seen(&self, operation: &str) -> Result<Seen> {
        let output = self.run(operation, &["show", "--timestamp=unix", "-p", PROPERTIES])?;
        let seen = Seen::parse(&String::from_utf8_lossy(&output.stdout));
        if seen.exists { Ok(seen) } else { Err(self.error(operation, ErrorKind::NoService)) }
    }

    /// What `systemctl` says, if it says that all is well.
    fn run(&self, operation: &str, words: &[&str]) -> Result<Output> {
        let mut program = Program::new("systemctl");
        if self.scope == Scope::User {
            program.arg("--user");
        }
        program.args(["--no-ask-password", "--no-pager"]).args(words).arg("--").arg(&self.name);
        program.stdin(Stdio::null()).env("LC_ALL", "C");
        let output = program.output().map_err(|why| self.without_systemctl(operation, &why))?;
        if output.status.success() {
            return Ok(output);
        }
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
        let kind = if says(&["not found", "not loaded", "could not be found"]) {
            ErrorKind::NoService
        } else if says(&["authentication required", "Access denied", "Permission denied"]) {
            ErrorKind::NotPermitted
        } else if says(&["Failed to connect", "not been booted with systemd", "Connection refused"]) {
            ErrorKind::NoSupervisor
        } else {
            ErrorKind::Refused(output.status.code().unwrap_or(-1))
        };
        Err(self.error(operation, kind))
    }

    fn without_systemctl(&self, operation: &str, why: &std::io::Error) -> Error {
        match why.kind() {
            std::io::ErrorKind::NotFound => {
                self.error(operation, ErrorKind::NoSupervisor).saying("there is no systemctl in $PATH")
            }
            _ => {
                let error = Error::of_io(Path::new(&self.name), operation, why);
                let words = format!("systemctl: {}", error.why());
                error.saying(words)
            }
        }
    }

    fn error(&self, operation: &str, kind: ErrorKind) -> Error {
        Error::new(Path::new(&self.name), operation, kind)
    }
}

impl Control for Unit {
    fn status(&self) -> Result<Status> {
        Ok(self.seen("read its status")?.status)
    }

    fn order(&self, command: Command) -> Result<()> {
        let operation = format!("send {}", super::service::word(command));
        let kill = |signal: i32, whom: &str| {
            let signal = format!("--signal={signal}");
            self.run(&operation, &["kill", &signal, whom]).map(drop)
        };
        let whom = |to: Target| if to == Target::Process { "--kill-whom=main" } else { "--kill-whom=all" };
        let start = || self.run(&operation, &["start", "--no-block"]).map(drop);
        match command {
            Command::Up => start(),
            Command::Down => self.run(&operation, &["stop", "--no-block"]).map(drop),
            // systemd has no *once*; it is the same where nothing is started again anyway.
            Command::Once if !self.seen(&operation)?.restarts => start(),
            Command::StopSignal => self.run(&operation, &["try-restart", "--no-block"]).map(drop),
            Command::Term => kill(libc::SIGTERM, whom(Target::Process)),
            Command::Kill(to) => kill(libc::SIGKILL, whom(to)),
            Command::Pause(to) => kill(libc::SIGSTOP, whom(to)),
            Command::Continue(to) => kill(libc::SIGCONT, whom(to)),
            Command::Signal(signal) => kill(signal.0, whom(Target::Process)),
            Command::Reload => self.run(&operation, &["reload", "--no-block"]).map(drop),
            Command::Enable => self.run(&operation, &["enable", "--now", "--no-block"]).map(drop),
            Command::Disable => self.run(&operation, &["disable", "--now", "--no-block"]).map(drop),
            Command::Once | Command::NoRestart | Command::Exit | Command::Replace => {
                Err(self.error(&operation, ErrorKind::NoSuchCommand(Kind::Systemd)))
            }
        }
    }

    fn restart(&self) -> Result<()> {
        self.run("send restart", &["restart", "--no-block"]).map(drop)
    }
}
