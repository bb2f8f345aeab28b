//! From descriptions of processes to a supervisor of them.

use super::check::Check;
use super::handle::{self, Handle};
use super::hook;
use super::own::Own;
use super::process::Process;
use super::script::WELL;
use crate::client::api::Api;
use crate::sys::{clock, fs, poll, signals};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

/// The supervisor is to answer within this time.
const PATIENCE: Duration = Duration::from_secs(20);
/// Whether it does is tried this often.
const TRY_EVERY: Duration = Duration::from_millis(5);
/// Where the program is asked whether its processes are well.
const QUESTIONS: &str = ".questions";
/// A question is no longer, in bytes.
const LONGEST_QUESTION: u64 = 1024;
/// Variables that a supervisor of the program has given to it, and to nothing that it starts.
const NOT_FOR_US: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// A supervisor to be.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing runs before start()"]
pub struct Supervisor {
    processes: Vec<Process>,
    program: Option<PathBuf>,
    base: Option<PathBuf>,
}

impl Supervisor {
    /// A supervisor of nothing yet.
    pub fn new() -> Supervisor {
        Supervisor::default()
    }

    /// It supervises this process, too.
    #[allow(clippy::should_implement_trait)] // nothing is summed up
    pub fn add(mut self, process: Process) -> Supervisor {
        self.processes.push(process);
        self
    }

    /// The program that supervises: an `onit`, or any program with the [`hook`](super::hook()). For a program that has none.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Supervisor {
        self.program = Some(program.into());
        self
    }

    /// The directory in which a private one is made, for a program that may not execute files in the usual places.
    pub fn within(mut self, base: impl Into<PathBuf>) -> Supervisor {
        self.base = Some(base.into());
        self
    }

    /// Starts the supervisor, and it the processes. When this returns all of them have been started that do not depend on
    /// others; none of them need be ready.
    ///
    /// # Errors
    /// There can be no such process; the directory cannot be written; the supervisor cannot be executed, or ends at once;
    /// it does not answer within 20 seconds.
    pub fn start(self) -> io::Result<Handle> {
        self.examine().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let directory = self.make_directory()?;
        self.start_in(&directory).inspect_err(|_| _ = std::fs::remove_dir_all(&directory))
    }

    fn examine(&self) -> Result<(), String> {
        if self.program.is_none() && !hook::is_there() {
            return Err("this program does not call onit::embed::hook(), and no other one is named".into());
        }
        let mut known = BTreeMap::new();
        for process in &self.processes {
            if known.insert(process.name.as_str(), process).is_some() {
                return Err(format!("there are two processes {:?}", process.name));
            }
            if process.name.is_empty() || process.name.starts_with('.') || process.name.contains(['/', '\n', '\0']) {
                return Err(format!("no process can be called {:?}", process.name));
            }
        }
        for process in &self.processes {
            for name in &process.needs {
                match known.get(name.as_str()) {
                    None => return Err(format!("{} depends on {name}, which there is not", process.name)),
                    Some(needed) if process.detached && !needed.detached => {
                        return Err(format!("{} is detached, and {name}, which it depends on, is not", process.name));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn make_directory(&self) -> io::Result<PathBuf> {
        let usual = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|place| fs::may_write(place));
        let base = self.base.clone().or(usual).unwrap_or_else(std::env::temp_dir);
        let base = fs::absolute(&base);
        fs::make_temporary_dir(&base.join("onit-embed-XXXXXX")).map_err(|errno| about(&base, &errno.desc()))
    }

    fn start_in(self, directory: &Path) -> io::Result<Handle> {
        let here = std::env::current_dir().map_err(|error| about(Path::new("."), &error))?;
        let questions = directory.join(QUESTIONS);
        for process in &self.processes {
            let written = process.service(&questions, &here).write(directory.join(&process.name));
            written.map_err(|error| about(Path::new(&process.name), &error))?;
        }
        let (ours, theirs) = UnixStream::pair()?;
        let questions = self.answer_questions(&questions)?;
        let mut part = self.command(directory, theirs).spawn().map_err(|error| about(self.executable(), &error))?;
        let api = self.wait(directory, &ours);
        let _ = part.wait(); // it has split off the supervisor; the program may have waited for it itself
        Handle::new(directory, api?, ours, questions)
    }

    fn executable(&self) -> &Path {
        self.program.as_deref().unwrap_or(Path::new(hook::EXECUTABLE))
    }

    fn command(&self, directory: &Path, connection: UnixStream) -> Command {
        let mut command = Command::new(self.executable());
        command.arg0(hook::NAME).arg(directory).stdin(Stdio::from(OwnedFd::from(connection)));
        command.args(self.processes.iter().filter(|process| process.detached).map(|process| &process.name));
        let of_onit = std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_bytes().starts_with(b"ONIT"));
        of_onit.for_each(|name| _ = command.env_remove(name));
        NOT_FOR_US.iter().for_each(|name| _ = command.env_remove(name));
        command
    }

    /// Waits until the supervisor answers.
    fn wait(&self, directory: &Path, connection: &UnixStream) -> io::Result<Api> {
        let socket = handle::socket_in(directory);
        let end = clock::now().after(PATIENCE);
        loop {
            match Api::connect_within(&socket, PATIENCE) {
                Ok(api) => return Ok(api),
                Err(error) if clock::now() >= end => return Err(about(self.executable(), &error)),
                Err(_) => {}
            }
            poll::input(connection, clock::now().after(TRY_EVERY))?;
            if handle::is_over(connection)? {
                return Err(about(self.executable(), &"it has ended, and is no supervisor"));
            }
        }
    }

    /// Answers in a thread what is asked of the program's own checks, until the listener is stopped.
    fn answer_questions(&self, socket: &Path) -> io::Result<Option<Own<UnixListener>>> {
        let own = self.processes.iter().filter_map(|process| {
            let check = process.check.clone().filter(|check| check.question().is_none())?;
            Some((process.name.clone(), Asked { check, busy: Mutex::default() }))
        });
        let own: Arc<BTreeMap<String, Asked>> = Arc::new(own.collect());
        if own.is_empty() {
            return Ok(None);
        }
        let listener = UnixListener::bind(socket).map_err(|error| about(socket, &error))?;
        let copy = Own::new(listener.try_clone()?);
        signals::thread_without_signals("onit-checks", move || answer_all(&Own::new(listener), &own))?;
        Ok(Some(copy))
    }
}

/// A check of the program's own.
struct Asked {
    check: Arc<dyn Check>,
    /// It is being asked.
    busy: Mutex<()>,
}

fn answer_all(listener: &Own<UnixListener>, checks: &Arc<BTreeMap<String, Asked>>) {
    while let Some(Ok((stream, _))) = listener.get().map(UnixListener::accept) {
        let checks = Arc::clone(checks);
        let _ = signals::thread_without_signals("onit-check", move || answer(stream, &checks));
    }
}

/// Answers one question. None is answered twice at a time: a check that hangs is not well.
fn answer(mut stream: UnixStream, checks: &BTreeMap<String, Asked>) {
    let mut name = String::new();
    let limit = stream.set_read_timeout(Some(PATIENCE));
    if limit.is_err() || BufReader::new((&stream).take(LONGEST_QUESTION)).read_line(&mut name).is_err() {
        return;
    }
    let Some(asked) = checks.get(name.trim_end_matches('\n')) else { return };
    let _alone = match asked.busy.try_lock() {
        Ok(alone) => alone,
        Err(TryLockError::Poisoned(error)) => error.into_inner(), // it has panicked, and is asked again all the same
        Err(TryLockError::WouldBlock) => return,
    };
    if asked.check.is_well() {
        let _ = stream.write_all(WELL);
    }
}

fn about(what: impl AsRef<OsStr>, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", what.as_ref().display()))
}
