//! `s6-notifyoncheck`, as s6 2.11 has it: the program becomes a service that tells its readiness by a newline, when
//! `./data/check` first ends with 0. A process beside it asks that again and again, as often as it is to.
//!
//! Source: the file of this name there; messages as it prints them.

use super::daemontools::usage;
use super::s6::{plan, report, text, whole};
use crate::exit;
use crate::helpers::s6_rc::is_in_path;
use crate::helpers::s6_rc::words::{self, Line};
use crate::machine::{Exit, Mono, Pid, Signal, Target};
use crate::sys::fs::{self, Holder};
use crate::sys::poll::{self, Poller};
use crate::sys::spawn::{Side, fork};
use crate::sys::wait::Reaped;
use crate::sys::{Errno, clock, process, wait};
use crate::tool::getopt::Options;
use crate::tool::print;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

const USAGE: &str = "[ -d ] [ -3 fd ] [ -s initialsleep ] [ -T globaltimeout ] [ -t localtimeout ] [ -w waitingtime ] \
    [ -n tries ] [ -c \"checkprog...\" ] prog...";
const NAME: &str = "s6-notifyoncheck";
/// The process beside the service.
const BESIDE: &str = "s6-notifyoncheck (child)";

/// How often it looks for the end of a process where the kernel does not tell of it (Linux before 5.3).
const LOOK: Duration = Duration::from_millis(100);

/// What a poller tells of.
const SERVICE: u64 = 0;
const CHECK: u64 = 1;

/// How a check ended whose end cannot be known.
const NO_ANSWER: u8 = 1;

/// With what the process beside the service ends.
const READY: i32 = 0;
const NO_MORE_TRIES: i32 = 1;
const SERVICE_ENDED: i32 = 2;
const TOO_LATE: i32 = 3;

/// What is asked for.
struct Wanted {
    /// The process beside the service is no child of it.
    apart: bool,
    /// The descriptor to write to, if it is not the one that `notification-fd` names.
    number: Option<u32>,
    /// Before the first try.
    first: Duration,
    /// Before every other try; 0 is for ever.
    pause: Duration,
    /// For one try; 0 is for ever.
    limit: Duration,
    /// For all of them; 0 is for ever.
    all: Duration,
    /// How many; 0 is as many as it takes.
    tries: u32,
    check: Vec<OsString>,
}

impl Wanted {
    fn usual() -> Wanted {
        Wanted {
            apart: false,
            number: None,
            first: Duration::from_millis(10),
            pause: Duration::from_secs(1),
            limit: Duration::ZERO,
            all: Duration::ZERO,
            tries: 7,
            check: vec!["./data/check".into()],
        }
    }

    /// Reads the options, and what stands behind them. `None`: they are wrong.
    fn read(args: &[OsString]) -> Option<(Wanted, &[OsString])> {
        let mut wanted = Wanted::usual();
        let mut options = Options::new(NAME.as_bytes(), b"d3:s:T:t:w:n:c:", args).of_s6();
        for option in &mut options {
            let (letter, value) = option.ok()?;
            let milliseconds = || whole::<u32>(value).map(|number| Duration::from_millis(number.into()));
            match letter {
                b'd' => wanted.apart = true,
                b'3' => wanted.number = Some(whole(value)?),
                b's' => wanted.first = milliseconds()?,
                b'T' => wanted.all = milliseconds()?,
                b't' => wanted.limit = milliseconds()?,
                b'w' => wanted.pause = milliseconds()?,
                b'n' => wanted.tries = whole(value)?,
                _ => wanted.check = command_of(value),
            }
        }
        Some((wanted, options.rest())).filter(|(_, command)| !command.is_empty())
    }
}

/// What runs a line of execline. Where there is no execlineb, a plain command does without.
fn command_of(line: &[u8]) -> Vec<OsString> {
    match str::from_utf8(line).map(words::read) {
        Ok(Line::Words(words)) if !words.is_empty() && !is_in_path("execlineb") => {
            words.into_iter().map(OsString::from).collect()
        }
        _ => ["execlineb", "-Pc"].map(OsString::from).into_iter().chain([OsStr::from_bytes(line).to_owned()]).collect(),
    }
}

/// Returns the exit code, if there is no program to become.
pub(super) fn notify_on_check(args: &[OsString]) -> i32 {
    let Some((wanted, command)) = Wanted::read(args) else { return usage(NAME, USAGE, exit::USAGE) };
    let tell = match look_around().and_then(|()| descriptor(wanted.number)) {
        Ok(tell) => tell,
        Err((what, code)) => return fatal(&what, code),
    };
    // Opened while it is certain whose it is.
    let pid = Pid(std::process::id().cast_signed());
    let service = Service { pid, end: process::handle(pid).ok() };
    let begin = clock::now();
    match split(wanted.apart) {
        Err(errno) => {
            let what = if wanted.apart { "doublefork" } else { "fork" };
            fatal(&format!("unable to {what}: {}", text(errno)), exit::SYSTEM)
        }
        Ok(Side::Child) => watch(&wanted, &service, tell, begin),
        Ok(Side::Parent(_)) => {
            drop(tell);
            report(NAME, &plan().run(command))
        }
    }
}

/// A message, and the exit code.
type Wrong = (String, i32);

/// Is this the directory of a service that is supervised?
fn look_around() -> Result<(), Wrong> {
    match fs::lock_holder(Path::new("supervise/lock")) {
        Ok(Holder::Process(_) | Holder::Stranger) => Ok(()),
        // Where services stand that cannot be written, their supervisor has its files elsewhere.
        Err(Errno::ENOENT) if !fs::may_write(Path::new(".")) => Ok(()),
        Ok(Holder::Nobody) | Err(Errno::ENOENT) => Err(("s6-supervise not running.".into(), exit::USAGE)),
        Err(errno) => Err((format!("unable to sanity-check current service directory: {}", text(errno)), exit::SYSTEM)),
    }
}

/// Where readiness is told.
fn descriptor(number: Option<u32>) -> Result<OwnedFd, Wrong> {
    let number = number.map_or_else(number_in_file, Ok)?;
    let open = i32::try_from(number).map_err(|_| Errno::EBADF).and_then(process::inherited);
    open.map_err(|errno| (format!("notification-fd sanity check failed: {}", text(errno)), exit::SYSTEM))
}

fn number_in_file() -> Result<u32, Wrong> {
    let mut room = [0; 11]; // the longest number, and a newline
    let content = fs::read_into(Path::new("notification-fd"), &mut room)
        .map_err(|errno| (format!("unable to read ./notification-fd: {}", text(errno)), exit::SYSTEM))?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    whole(line).ok_or_else(|| ("invalid ./notification-fd".into(), exit::USAGE))
}

fn fatal(what: &str, code: i32) -> i32 {
    print::stderr(&[format!("{NAME}: fatal: {what}\n").as_bytes()]);
    code
}

/// Splits this process. The new one is its child, or `apart`.
fn split(apart: bool) -> Result<Side, Errno> {
    match (fork()?, apart) {
        (Side::Child, true) => match fork() {
            Ok(Side::Child) => Ok(Side::Child),
            between => std::process::exit(i32::from(between.is_err())),
        },
        (Side::Parent(pid), true) => match wait::reap_only(pid) {
            Some(Exit::Code(0)) => Ok(Side::Parent(pid)),
            _ => Err(Errno::EAGAIN),
        },
        (side, _) => Ok(side),
    }
}

/// The process that is to become the service; without a descriptor that tells of its end it is looked for.
struct Service {
    pid: Pid,
    end: Option<OwnedFd>,
}

/// What was waited for.
#[derive(PartialEq, Eq)]
enum Next {
    ServiceEnded,
    Answer(Exit),
    Late,
}

/// Asks until the answer is yes. Returns the exit code.
fn watch(wanted: &Wanted, service: &Service, tell: OwnedFd, begin: Mono) -> i32 {
    let last = after(begin, wanted.all);
    let mut due = begin.after(wanted.first);
    for count in 1_u64.. {
        match next(service, None, due.min(last)) {
            Next::ServiceEnded => return SERVICE_ENDED,
            _ if clock::now() >= last => return TOO_LATE,
            _ => {}
        }
        match ask(wanted, service, after(clock::now(), wanted.limit).min(last)) {
            Some(Next::Answer(exit)) if exit.is_success() => {
                let _ = File::from(tell).write_all(b"\n"); // that nobody reads it is no failure
                return READY;
            }
            Some(Next::ServiceEnded) => return SERVICE_ENDED,
            _ if count == u64::from(wanted.tries) => return NO_MORE_TRIES,
            _ => due = after(clock::now(), wanted.pause),
        }
    }
    NO_MORE_TRIES
}

/// When a span will have passed that is for ever if it is 0.
fn after(now: Mono, span: Duration) -> Mono {
    if span.is_zero() { Mono(u64::MAX) } else { now.after(span) }
}

/// Asks once. `None`: it could not, and has said why.
fn ask(wanted: &Wanted, service: &Service, deadline: Mono) -> Option<Next> {
    let (program, args) = wanted.check.split_first()?;
    let check = match Command::new(program).args(args).spawn() {
        Ok(child) => Pid(child.id().cast_signed()),
        Err(error) => {
            let why = text(Errno::from_raw(error.raw_os_error().unwrap_or_default()));
            let program = program.as_bytes();
            print::stderr(&[BESIDE.as_bytes(), b": warning: unable to spawn ", program, b": ", why.as_bytes(), b"\n"]);
            return None;
        }
    };
    let next = next(service, Some(check), deadline);
    if !matches!(next, Next::Answer(_)) {
        let _ = process::kill(check, Signal::TERM, Target::Process); // it is reaped later, or by another
    }
    Some(next)
}

/// Waits for the end of the service, for an answer, or until the deadline has come.
fn next(service: &Service, check: Option<Pid>, deadline: Mono) -> Next {
    let answered = check.and_then(|pid| process::handle(pid).ok());
    let is_told = service.end.is_some() && answered.is_some() == check.is_some();
    let mut poller = Poller::new().ok().filter(|poller| {
        let ends = [(&service.end, SERVICE), (&answered, CHECK)];
        let mut all = ends.into_iter().filter_map(|(end, token)| Some((end.as_ref()?, token)));
        is_told && all.all(|(end, token)| poller.add(end, token).is_ok())
    });
    loop {
        let now = clock::now();
        let has_ended = match &mut poller {
            Some(poller) => poller.wait(now, Some(deadline)).any(|token| token == SERVICE),
            None => {
                let _ = poll::pause(deadline.min(now.after(LOOK)).since(now));
                !process::is_there(service.pid)
            }
        };
        if has_ended {
            return Next::ServiceEnded;
        }
        if let Some(exit) = check.and_then(reap) {
            return Next::Answer(exit);
        }
        if clock::now() >= deadline {
            return Next::Late;
        }
    }
}

/// How this child ended, if it has. Others that answered too late are reaped on the way.
fn reap(pid: Pid) -> Option<Exit> {
    loop {
        match wait::reap(&AtomicU64::new(0)) {
            Reaped::Child(other, exit) if other == pid => return Some(exit),
            Reaped::Child(..) | Reaped::Stopped => {}
            Reaped::NoneYet => return None,
            Reaped::Childless => return Some(Exit::Code(NO_ANSWER)), // who starts us has children reaped by the kernel
        }
    }
}
