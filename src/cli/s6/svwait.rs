//! `s6-svwait`: waits for what happens to services, as told in their directories `event`.

use super::{LATE, die, fatal, milliseconds, usage};
use crate::machine::{Mono, Phase};
use crate::sys::fs::{self, Ends};
use crate::sys::poll::Poller;
use crate::sys::{Errno, clock};
use crate::tool::getopt::Options;
use crate::wire::fifodir;
use crate::wire::status::any::{LONGEST, Status};
use crate::wire::status::s6::READY;
use crate::wire::tai::Tai;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

const NAME: &str = "s6-svwait";
const USAGE: &str = "[ -U | -u | -d | -D | -r | -R ] [ -a | -o ] [ -t timeout ] servicedir...";

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// First it is down.
    again: bool,
    up: bool,
    ready: bool,
}

impl Target {
    /// What the letter stands for.
    pub fn of(letter: u8) -> Option<Target> {
        let is = |again, up, ready| Some(Target { again, up, ready });
        match letter {
            b'u' => is(false, true, false),
            b'U' => is(false, true, true),
            b'd' => is(false, false, false),
            b'D' => is(false, false, true),
            b'r' => is(true, true, false),
            b'R' => is(true, true, true),
            _ => None,
        }
    }

    /// Whether a service has to be able to say that it is ready.
    pub fn is_of_readiness(self) -> bool {
        self.up && self.ready
    }

    /// The same, but ready or not.
    pub fn without_readiness(self) -> Target {
        Target { ready: false, ..self }
    }
}

/// `s6-svwait [-uUdDrR] [-a | -o] [-t MS] DIR...`.
pub fn svwait(args: &[OsString]) -> i32 {
    let (mut target, mut all, mut limit) = (Target { again: false, up: true, ready: false }, true, 0);
    let mut options = Options::new(NAME.as_bytes(), b"UudDrRaot:", args).of_s6();
    for option in options.by_ref() {
        match option {
            Ok((b'a', _)) => all = true,
            Ok((b'o', _)) => all = false,
            Ok((b't', value)) => match milliseconds(value) {
                Some(span) => limit = span,
                None => return usage(NAME, USAGE),
            },
            Ok((letter, _)) => target = Target::of(letter).unwrap_or(target),
            Err(()) => return usage(NAME, USAGE),
        }
    }
    match options.rest() {
        [] => usage(NAME, USAGE),
        dirs => Waiter::begin(NAME, dirs, target, all, limit).map_or_else(|code| code, Waiter::wait),
    }
}

/// A service that is listened to.
struct Listened {
    events: OwnedFd,
    fifo: OwnedFd,
    name: String,
    up: bool,
    ready: bool,
    /// It has been down, if it has to.
    was_down: bool,
    has_failed: bool,
}

/// Who waits.
pub struct Waiter {
    name: &'static str,
    services: Vec<Listened>,
    target: Target,
    all: bool,
    until: Option<Mono>,
    poller: Poller,
}

impl Waiter {
    /// Listens to these services, and looks how they stand: in this order, so that nothing is missed. The error is an exit
    /// code. `limit`: in milliseconds, or 0 for ever.
    pub fn begin(name: &'static str, dirs: &[OsString], target: Target, all: bool, limit: u64) -> Result<Waiter, i32> {
        let until = (limit > 0).then(|| clock::now().after(Duration::from_millis(limit)));
        let poller = Poller::new().map_err(|errno| fatal(name, &[b"unable to wait"], errno))?;
        let mut services = Vec::new();
        for (at, dir) in dirs.iter().enumerate() {
            let subscribe = |errno| fatal(name, &[b"unable to subscribe to events for ", dir.as_bytes()], errno);
            let (events, fifo, listener) = listen(dir, at).map_err(subscribe)?;
            poller.add(&fifo, at as u64).map_err(subscribe)?;
            let was_down = !target.again;
            services.push(Listened {
                events,
                fifo,
                name: listener,
                up: false,
                ready: false,
                was_down,
                has_failed: false,
            });
        }
        for (service, dir) in services.iter_mut().zip(dirs) {
            (service.up, service.ready) =
                standing(dir).map_err(|errno| fatal(name, &[b"unable to s6_svstatus_read"], errno))?;
        }
        Ok(Waiter { name, services, target, all, until, poller })
    }

    /// Until it is so. Returns the exit code: how many services have failed.
    pub fn wait(mut self) -> i32 {
        loop {
            let target = self.target;
            self.services.iter_mut().for_each(|service| service.look(target));
            let mut done = self.services.iter().map(|service| service.is_done(target));
            if if self.all { done.all(|done| done) } else { done.any(|done| done) } {
                let failed = self.services.iter().filter(|service| service.has_failed).count();
                return i32::try_from(failed).unwrap_or(i32::MAX);
            }
            if self.until.is_some_and(|until| until <= clock::now()) {
                return die(self.name, &[b"timed out"], LATE);
            }
            for at in self.poller.wait(clock::now(), self.until) {
                if let Some(service) = usize::try_from(at).ok().and_then(|at| self.services.get_mut(at)) {
                    service.hear(target);
                }
            }
        }
    }
}

impl Listened {
    fn hear(&mut self, target: Target) {
        let mut buffer = [0; 256];
        for letter in fs::read_some(&self.fifo, &mut buffer).to_vec() {
            match letter {
                b'u' => (self.up, self.ready) = (true, false),
                b'U' => (self.up, self.ready) = (true, true),
                b'd' => (self.up, self.ready) = (false, false),
                b'D' => (self.up, self.ready) = (false, true),
                b'O' if target.up && self.was_down => self.has_failed = true,
                b'x' => self.has_failed = !self.is_so(target),
                _ => {}
            }
            self.look(target);
            if self.is_done(target) {
                return;
            }
        }
    }

    fn look(&mut self, target: Target) {
        self.was_down |= !self.up && (self.ready || !target.again);
    }

    fn is_so(&self, target: Target) -> bool {
        self.was_down && self.up == target.up && (self.ready || !target.ready)
    }

    fn is_done(&self, target: Target) -> bool {
        self.has_failed || self.is_so(target)
    }
}

impl Drop for Listened {
    fn drop(&mut self) {
        let _ = fs::remove(&self.events, &self.name); // whoever tells next removes it
    }
}

/// A FIFO in the directory `event` of a service, which is made if it is not there.
fn listen(dir: &OsStr, at: usize) -> Result<(OwnedFd, OwnedFd, String), Errno> {
    let service = fs::open_path(Path::new(dir))?;
    fs::make_drop_box(&service, fifodir::DIRECTORY)?;
    let events = fs::open_dir(&service, OsStr::new(fifodir::DIRECTORY))?;
    let name = fifodir::listener(Tai::after_1970(clock::wall()), std::process::id(), at);
    let hidden = format!(".{name}");
    let fifo = fs::fifo(&events, &hidden, Ends::Both)?;
    fs::let_all_write(&fifo).and_then(|()| fs::rename(&events, OsStr::new(&hidden), OsStr::new(&name)))?;
    Ok((events, fifo, name))
}

/// Whether it is up, and ready.
fn standing(dir: &OsStr) -> Result<(bool, bool), Errno> {
    let mut buffer = [0; LONGEST];
    let read = fs::read_into(&Path::new(dir).join("supervise/status"), &mut buffer)?;
    let status = Status::decode(read).map_err(|_| Errno::EPIPE)?;
    let flags = read.last().copied().filter(|_| read.len() > 20).unwrap_or_default();
    Ok((status.phase == Phase::Run, flags & READY != 0))
}
