//! What is asked of a supervisor, what is told to it, and what is said of it.

use super::Ends;
use super::order::{Act, Order};
use crate::exit;
use crate::machine::{Phase, Want};
use crate::sys::{Errno, clock, fs};
use crate::tool::print;
use crate::wire::status::{RUNIT_LEN, Status};
use crate::wire::tai::Tai;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

/// Exit codes of an init script (LSB): not running.
const LSB_DOWN: i32 = 3;
/// The same: not known.
const LSB_UNKNOWN: i32 = 4;
/// The same, of runit's sv: the way back is lost.
const LSB_FATAL: i32 = 151;
/// As many failures as an exit code tells.
const MOST: u32 = 99;

/// One call of `sv`.
pub struct Sv<'a> {
    pub order: Order<'a>,
    pub init_script: bool,
    /// Where services are that are no paths.
    services: &'a OsStr,
    /// Where we were started.
    home: OwnedFd,
    /// The wall clock, in seconds: one look, one time.
    seconds: i64,
    failures: u32,
    /// What is to be written in one piece.
    line: Vec<u8>,
}

/// What a supervisor said of itself.
pub enum Known {
    /// This; and while the FIFO `ok` has a reader, there is a supervisor.
    Status(Status, OwnedFd),
    /// There is none.
    NotRunning,
    /// Nothing, and why has been said.
    Nothing,
}

/// What a line says in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Up,
    Down,
    Unknown,
}

impl<'a> Sv<'a> {
    /// A call that is to do this.
    pub fn new(order: Order<'a>, init_script: bool, services: &'a OsStr) -> Ends<Self> {
        let home = fs::working_dir().map_err(|errno| fatal(init_script, "unable to open current directory", errno))?;
        Ok(Sv { order, init_script, services, home, seconds: 0, failures: 0, line: Vec::new() })
    }

    /// Makes a service directory the working directory. A name that is no path is one of the services.
    pub fn enter(&mut self, name: &[u8]) -> bool {
        let entered = if is_path(name) { Ok(()) } else { fs::enter(self.services) };
        let entered = entered.and_then(|()| fs::enter(OsStr::from_bytes(name)));
        entered.map_err(|errno| self.fail(name, "unable to change to service directory", Some(errno))).is_ok()
    }

    /// Goes back to where we were started.
    pub fn leave(&self) -> Ends<()> {
        fs::return_to(&self.home)
            .map_err(|errno| fatal(self.init_script, "unable to change to original directory", errno))
    }

    /// What is done first for the service in the working directory. Returns since when it was what it was before, if it
    /// is there to be waited for. (`check` has no before, and no use for it.)
    pub fn act(&mut self, name: &[u8]) -> Ends<Option<Tai>> {
        match self.order.act {
            Act::Send => Ok(self.send(name, self.order.letters).map(|before| before.since)),
            Act::Status => self.status(name).map(|()| None),
            Act::Nothing => Ok(Some(Tai::default())),
        }
    }

    /// Reads the wall clock.
    pub fn look_at_clock(&mut self) {
        self.seconds = clock::wall().as_secs().cast_signed();
    }

    /// The exit code that tells how many services failed.
    pub fn code(&self) -> i32 {
        self.failures.min(MOST).cast_signed()
    }

    /// What the supervisor of the service in the working directory says.
    pub fn ask(&mut self, name: &[u8]) -> Known {
        let ok = match fs::open_writer("supervise/ok") {
            Ok(ok) => ok,
            Err(Errno::ENXIO) => {
                self.not_running(name, self.order.letters);
                return Known::NotRunning;
            }
            Err(errno) => return self.warn(name, "unable to open supervise/ok", Some(errno)),
        };
        let file = match fs::open_reader(fs::HERE, "supervise/status") {
            Ok(file) => file,
            Err(errno) => return self.warn(name, "unable to open supervise/status", Some(errno)),
        };
        let mut record = [0; RUNIT_LEN]; // of a longer record, only this part
        match fs::read_once(file, &mut record) {
            Ok(read) => match Status::unpack(read) {
                Ok(status) if read.len() == RUNIT_LEN => Known::Status(status, ok),
                _ => self.warn(name, "unable to read supervise/status: bad format", None),
            },
            Err(errno) => self.warn(name, "unable to read supervise/status", Some(errno)),
        }
    }

    /// Sends letters to the supervisor of the service in the working directory, unless it has the wish already. What
    /// it said before is returned; `None` if it was not reached.
    pub fn send(&mut self, name: &[u8], letters: &[u8]) -> Option<Status> {
        let Known::Status(status, _) = self.ask(name) else { return None };
        let control = fs::open_writer("supervise/control");
        // An order that was given just now may not have been read yet, and then the record does not know of it. To be told
        // "up" twice does no harm; "down" would send a second TERM.
        let unread = control.as_ref().map_or(0, fs::pending);
        // Down without a TERM is `once`.
        if letters.starts_with(b"d") && status.want == Want::Down && status.got_term && unread == 0 {
            return Some(status);
        }
        match control.map(|control| fs::send(control, letters)) {
            Ok(Ok(())) => return Some(status),
            Ok(Err(errno)) => drop(self.warn(name, "unable to write to supervise/control", Some(errno))),
            Err(Errno::ENXIO) => self.not_running(name, letters),
            // A user who may not give an order is not told so when it is carried out already.
            Err(Errno::EACCES) if letters.starts_with(b"u") && status.want == Want::Up => return Some(status),
            Err(errno) => drop(self.warn(name, "unable to open supervise/control", Some(errno))),
        }
        None
    }

    /// Prints the line of the service in the working directory, and that of its logger.
    pub fn status(&mut self, name: &[u8]) -> Ends<()> {
        let status = match self.ask(name) {
            Known::Status(status, _) => status,
            Known::NotRunning => return Ok(()),
            Known::Nothing if self.init_script => return Err(LSB_UNKNOWN),
            Known::Nothing => return Ok(()),
        };
        let shown = self.show(&status, name, name);
        let logger = [name, b"/log"].concat();
        match fs::enter(OsStr::new("log")) {
            Ok(()) => {
                self.line.extend(b"; ");
                // With no supervisor there is no line: what can be read here would be about another service.
                if let Known::Status(status, _) = self.ask(&logger) {
                    let _ = self.show(&status, b"log", name); // its state is not that of the service, as since runit 2.3
                    self.end_line();
                }
            }
            Err(Errno::ENOENT) => self.end_line(),
            Err(errno) => {
                self.line.extend(b"; ");
                self.warn(&logger, "unable to change directory", Some(errno));
            }
        }
        match shown {
            _ if !self.init_script => Ok(()),
            Shown::Up => Err(exit::OK),
            Shown::Down => Err(LSB_DOWN),
            Shown::Unknown => Err(LSB_UNKNOWN),
        }
    }

    /// Says that it is so, and prints its line.
    pub fn settled(&mut self, status: &Status, name: &[u8]) {
        self.line.extend(b"ok: ");
        self.show(status, name, name);
        self.end_line();
    }

    /// Says that it has not come about in time, and prints the line of what is instead.
    pub fn timed_out(&mut self, name: &[u8]) {
        self.line.extend(if self.order.kills { &b"kill: "[..] } else { b"timeout: " });
        if let Known::Status(status, _) = self.ask(name) {
            self.show(&status, name, name);
            self.failures += 1;
        }
        self.end_line();
        if self.order.kills {
            let _ = self.send(name, b"k"); // what becomes of it is not waited for
        }
    }

    fn end_line(&mut self) {
        self.line.push(b'\n');
        print::stdout(&[&std::mem::take(&mut self.line)]);
    }

    fn show(&mut self, status: &Status, called: &[u8], name: &[u8]) -> Shown {
        let normally_up = match fs::look_up(fs::HERE, "down") {
            Ok(there) => !there,
            Err(errno) => {
                report("stat", name, "down", errno);
                return Shown::Unknown;
            }
        };
        let text = tail(status, self.seconds, normally_up);
        self.line.extend([word(status.phase), called, b": ", text.as_bytes()].concat());
        if status.pid.is_some() { Shown::Up } else { Shown::Down }
    }

    /// Says that there is no supervisor, which is a success for an order to exit.
    fn not_running(&mut self, name: &[u8], letters: &[u8]) {
        if letters.starts_with(b"x") {
            self.line.extend([b"ok: ", name, b": runsv not running"].concat());
            self.end_line();
        } else {
            self.fail(name, "runsv not running", None);
        }
    }

    fn fail(&mut self, name: &[u8], what: &str, errno: Option<Errno>) {
        self.trouble("fail: ", name, what, errno);
    }

    fn warn(&mut self, name: &[u8], what: &str, errno: Option<Errno>) -> Known {
        self.trouble("warning: ", name, what, errno);
        Known::Nothing
    }

    fn trouble(&mut self, kind: &str, name: &[u8], what: &str, errno: Option<Errno>) {
        self.failures += 1;
        let why = errno.map(|errno| [b": ", print::why(errno)].concat()).unwrap_or_default();
        self.line.extend([kind.as_bytes(), name, b": ", what.as_bytes(), &why].concat());
        self.end_line();
    }
}

/// What is looked for where we were started, and not among the services. So is what has no name, and not found there.
pub fn is_path(name: &[u8]) -> bool {
    matches!(name, [] | [b'/' | b'.', ..] | [.., b'/'])
}

fn word(phase: Phase) -> &'static [u8] {
    match phase {
        Phase::Down | Phase::Setup => b"down: ",
        Phase::Run => b"run: ",
        Phase::Finish => b"finish: ",
    }
}

/// What stands behind the name.
fn tail(status: &Status, now: i64, normally_up: bool) -> String {
    let mut text = String::new();
    if status.phase != Phase::Down {
        text = format!("(pid {}) ", status.pid.map_or(0, |pid| pid.0));
    }
    let up = status.pid.is_some();
    text.push_str(&format!("{}s", now.saturating_sub(status.since.unix).max(0)));
    for (said, what) in [
        (up && !normally_up, ", normally down"),
        (!up && normally_up, ", normally up"),
        (up && status.paused, ", paused"),
        (!up && status.want == Want::Up, ", want up"),
        (up && status.want == Want::Down, ", want down"),
        (up && status.got_term, ", got TERM"),
    ] {
        text.push_str(if said { what } else { "" });
    }
    text
}

/// Something without which no service can be dealt with. Returns the exit code.
pub fn fatal(init_script: bool, what: &str, errno: Errno) -> i32 {
    print::stderr(&[b"fatal: ", what.as_bytes(), b": ", print::why(errno), b"\n"]);
    if init_script { LSB_FATAL } else { exit::USAGE }
}

/// A line on standard error about a file of the service.
pub fn report(verb: &str, name: &[u8], file: &str, errno: Errno) {
    let place: [&[u8]; 3] = [name, b"/", file.as_bytes()];
    let parts = [b"warning: unable to ", verb.as_bytes(), b" ", &place.concat(), b": ", print::why(errno), b"\n"];
    print::stderr(&parts);
}
