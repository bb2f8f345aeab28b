//! A log directory as svlogd keeps it: its files, their names and modes.
//!
//! Source: svlogd(8), `svlogd.c` of runit 2.1.2, and what the real one left behind.

use super::super::current::{
    COMPLETE, COMPLETE_BIT, CURRENT, Current, INCOMPLETE, Rotating, append, closed_files, fresh_name, set_mode,
    set_open_mode,
};
use super::super::processor::{self, NEW_STATE, STATE, Shell};
use super::super::rotation::Rule;
use super::super::waiting::{Stop, Waiter, why};
use crate::machine::{Exit, Mono, Pid};
use crate::sys::{Errno, clock, fs, poll};
use crate::tool::print;
use crate::wire::svlogd::{Config, Selected};
use std::ffi::OsStr;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;
use std::time::Duration;

/// How long svlogd waits when something fails.
const PAUSE: Duration = Duration::from_secs(3);
/// So long after a processor failed it is started again.
const PROCESSOR_RETRY: Duration = Duration::from_secs(1);
/// A lock that is held is tried so often, with this pause.
const LOCK_ATTEMPTS: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// The length of `@`, 24 digits, a dot and a letter.
const NAME: usize = 27;

/// A directory, open.
pub struct Directory {
    name: Vec<u8>,
    dir: OwnedFd,
    common: Common,
    _lock: OwnedFd,
    /// Its file `config`.
    pub config: Config,
    current: Current,
    /// When the current file is too old.
    pub too_old: Option<Mono>,
    /// Its name as a closed file, until the next one is open.
    closed_as: Option<String>,
    processor: Option<Processor>,
    /// When a processor that failed is started again.
    pub retry: Option<Mono>,
    /// What becomes of the line that is being read.
    pub selected: Selected,
    udp: Option<UdpSocket>,
}

/// A processor that runs.
pub struct Processor {
    pid: Pid,
    /// The file that it reads, which ends in `u`.
    file: String,
}

/// What all directories of a logger have in common.
#[derive(Clone)]
pub struct Common {
    /// Its name, for its lines.
    pub program: &'static str,
    /// What counts where `config` says nothing.
    pub defaults: Config,
    /// Where relative paths begin.
    pub home: Rc<OwnedFd>,
    /// What is done is said.
    pub is_verbose: bool,
    /// Of a line so many bytes are looked at.
    pub length: usize,
}

/// A processor that we have just started holds the lock that we had until it executes its program.
fn lock() -> Result<OwnedFd, Errno> {
    for _ in 0..LOCK_ATTEMPTS {
        match fs::lock(fs::HERE, "lock") {
            Err(Errno::EAGAIN) => _ = poll::pause(LOCK_PAUSE),
            result => return result,
        }
    }
    fs::lock(fs::HERE, "lock")
}

impl Directory {
    /// Opens it and its current file. `None`: that has been said. A processor that was running for this directory before
    /// it was closed goes on.
    pub fn open(name: &[u8], common: &Common, running: Option<Processor>, waiter: &mut Waiter) -> Option<Directory> {
        let warn = |what: &str, error: io::Error| {
            print::stderr(&[
                common.program.as_bytes(),
                b": warning: ",
                what.as_bytes(),
                b": ",
                name,
                b": ",
                why(&error),
                b"\n",
            ]);
        };
        let dir = fs::open_dir(fs::HERE, OsStr::from_bytes(name));
        let dir = dir.map_err(|errno| warn("unable to open log directory", errno.into())).ok()?;
        fs::return_to(&dir).map_err(|errno| warn("unable to change directory", errno.into())).ok()?;
        let opened = Directory::open_here(name, dir, common, running, waiter);
        let opened = opened.map_err(|(what, error)| warn(what, error)).ok();
        let _ = fs::return_to(&common.home);
        opened
    }

    fn open_here(
        name: &[u8],
        dir: OwnedFd,
        common: &Common,
        processor: Option<Processor>,
        waiter: &mut Waiter,
    ) -> Result<Directory, (&'static str, io::Error)> {
        let lock = lock().map_err(|errno| ("unable to lock directory", errno.into()))?;
        let info = |what: &str, file: &str| {
            if common.is_verbose {
                let program = common.program.as_bytes();
                print::stderr(&[program, b": info: ", what.as_bytes(), b": ", name, file.as_bytes(), b"\n"]);
            }
        };
        let config = read_config(name, common, &info);
        let size = match std::fs::metadata(CURRENT) {
            Ok(found) if found.size() > 0 && found.mode() & COMPLETE_BIT == 0 => {
                let line = || common.pausing("unable to rename current", name);
                let rename = || std::fs::rename(CURRENT, fresh_name('u', false));
                let stopped = |_| ("unable to rename current", Errno::EINTR.into());
                waiter.insist(line, PAUSE, rename).map_err(stopped)?;
                None
            }
            Ok(found) => Some(found.size()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(("unable to stat current", error)),
        };
        let file = append(CURRENT, 0o600).map_err(|error| ("unable to open current", error))?;
        set_open_mode(&file, INCOMPLETE).map_err(|error| ("unable to set mode of current", error))?;
        info(if size.is_some() { "append" } else { "new" }, "/current");
        let rule = Rule::svlogd(config.size, common.length as u64);
        let (waiting, chunks) = (Vec::new(), Vec::new());
        let udp = config.udp.and_then(|_| UdpSocket::bind("0.0.0.0:0").ok());
        let udp = udp.filter(|socket| socket.set_nonblocking(true).is_ok());
        let mut opened = Directory {
            name: name.to_vec(),
            dir,
            common: common.clone(),
            _lock: lock,
            too_old: (!config.age.is_zero()).then(|| clock::now().after(config.age)),
            config,
            current: Current { file, size: size.unwrap_or(0), waiting, chunks, rule, is_full: false },
            closed_as: None,
            processor,
            retry: None,
            selected: Selected { written: true, copied: false },
            udp,
        };
        if size.is_none() {
            opened.remove_oldest();
        }
        opened.start_processor(waiter);
        Ok(opened)
    }

    /// Its name, as it was given.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What waits to be written.
    pub fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.current.waiting
    }

    /// The current file is to be closed, unless it is empty.
    pub fn close_current(&mut self) {
        self.current.is_full = self.current.size > 0;
    }

    /// The current file is to be closed if it is too old.
    pub fn look_at_age(&mut self, now: Mono) {
        if self.too_old.is_some_and(|at| at <= now) {
            self.close_current();
            self.too_old = Some(now.after(self.config.age));
        }
    }

    /// Sends a line. Whether it was sent.
    pub fn send(&self, line: &[u8]) -> bool {
        let sent = self.udp.as_ref().zip(self.config.udp).map(|(socket, to)| socket.send_to(line, to));
        sent.is_some_and(|sent| sent.is_ok_and(|count| count == line.len()))
    }

    /// Closes it: the file is complete. What still waits is handed back, and the processor.
    pub fn close(mut self, waiter: &mut Waiter) -> (Vec<u8>, Option<Processor>) {
        self.info("close", "");
        let (name, common) = (self.name.clone(), self.common.clone());
        let _ = waiter.insist(
            || common.pausing("unable to fsync current logfile", &name),
            PAUSE,
            || self.current.file.sync_all(),
        );
        let _ = waiter.insist(
            || common.pausing("unable to set mode of current", &name),
            PAUSE,
            || set_open_mode(&self.current.file, COMPLETE),
        );
        (std::mem::take(&mut self.current.waiting), self.processor.take())
    }

    /// Sees to a processor that has ended or is to be started again.
    pub fn look_after_processor(&mut self, waiter: &mut Waiter) {
        if let Some(exit) = self.processor.as_ref().and_then(|running| waiter.end_of(running.pid)) {
            let file = self.processor.take().map(|running| running.file).unwrap_or_default();
            self.within(|here| here.processed(&file, exit));
        }
        if self.processor.is_none() && self.retry.is_none_or(|at| at <= clock::now()) {
            self.retry = None;
            self.within(|here| here.start_processor(waiter));
        }
    }

    /// Whether a processor runs, or will again because it failed.
    pub fn has_work(&self) -> bool {
        self.processor.is_some() || self.retry.is_some()
    }

    fn within<T>(&mut self, act: impl FnOnce(&mut Directory) -> T) -> T {
        let _ = fs::return_to(&self.dir);
        let result = act(self);
        let _ = fs::return_to(&self.common.home);
        result
    }

    fn info(&self, what: &str, file: &str) {
        if self.common.is_verbose {
            let program = self.common.program.as_bytes();
            print::stderr(&[program, b": info: ", what.as_bytes(), b": ", &self.name, file.as_bytes(), b"\n"]);
        }
    }

    fn warn(&self, what: &str, error: &io::Error) {
        let program = self.common.program.as_bytes();
        print::stderr(&[program, b": warning: ", what.as_bytes(), b": ", &self.name, b": ", why(error), b"\n"]);
    }

    /// Starts it on the oldest file that waits for it. Those that a crash left are not among them: they are not complete.
    fn start_processor(&mut self, waiter: &mut Waiter) {
        let Some(command) = self.config.processor.clone().filter(|_| self.processor.is_none()) else { return };
        let names = closed_files(|length| length == NAME).unwrap_or_default();
        let waits = |name: &&String| {
            name.ends_with(".u") && std::fs::metadata(name).is_ok_and(|found| found.mode() & COMPLETE_BIT != 0)
        };
        let Some(file) = names.iter().find(waits).cloned() else { return };
        self.info("processing", &format!("/{file}"));
        match processor::start(waiter, Shell::Sh(&command), &file, &ending(&file, 't')) {
            Ok(pid) => self.processor = Some(Processor { pid, file }),
            Err(error) => {
                self.warn("unable to run processor", &error);
                self.retry = Some(clock::now().after(PAUSE));
            }
        }
    }

    fn processed(&mut self, file: &str, exit: Exit) {
        let (output, done) = (ending(file, 't'), ending(file, 's'));
        if exit != Exit::Code(0) {
            let program = self.common.program.as_bytes();
            print::stderr(&[program, b": warning: processor failed, restart: ", &self.name, b"\n"]);
            let _ = std::fs::remove_file(output);
            self.retry = Some(clock::now().after(PROCESSOR_RETRY));
            return;
        }
        // In this order: whenever it is interrupted, one of them is there whole.
        let renamed = set_mode(&output, COMPLETE).and_then(|()| std::fs::rename(&output, &done));
        if let Err(error) = renamed {
            self.warn("unable to rename processed", &error);
            self.retry = Some(clock::now().after(PAUSE));
            return;
        }
        if let Err(error) = std::fs::remove_file(file) {
            self.warn("unable to unlink", &error);
        }
        if let Err(error) = std::fs::rename(NEW_STATE, STATE) {
            self.warn("unable to rename state", &error);
        }
        self.info("processed", &format!("/{done}"));
    }

    /// Removes what processors left, and one file if there are too many. Those that wait for a processor do not count.
    fn remove_oldest(&mut self) {
        let names = match closed_files(|length| length == NAME) {
            Ok(names) => names,
            Err(error) => return self.warn("unable to read directory", &error),
        };
        let (unfinished, rest): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.ends_with('t'));
        let closed: Vec<_> = rest.into_iter().filter(|name| name.ends_with('s')).collect();
        let running = self.processor.as_ref().map(|running| ending(&running.file, 't'));
        for name in unfinished.iter().filter(|name| Some(*name) != running.as_ref()) {
            if let Err(error) = std::fs::remove_file(name) {
                self.warn("unable to unlink processor leftover", &error);
            }
        }
        if self.config.keep > 0 && closed.len() as u64 > self.config.keep {
            self.remove(&closed, "delete");
        }
    }

    fn remove(&self, closed: &[String], what: &str) -> bool {
        let busy = self.processor.as_ref().map(|running| &running.file);
        let Some(oldest) = closed.iter().find(|name| Some(*name) != busy) else { return false };
        self.info(what, &format!("/{oldest}"));
        match std::fs::remove_file(oldest) {
            Ok(()) => true,
            Err(error) => {
                self.warn("unable to unlink oldest logfile", &error);
                false
            }
        }
    }

    fn rotate_here(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        let (name, common) = (self.name.clone(), self.common.clone());
        if self.closed_as.is_none() {
            let letter = if self.config.processor.is_some() { 'u' } else { 's' };
            waiter.insist(
                || common.pausing("unable to fsync current logfile", &name),
                PAUSE,
                || self.current.file.sync_all(),
            )?;
            waiter.insist(
                || common.pausing("unable to set mode of current", &name),
                PAUSE,
                || set_open_mode(&self.current.file, COMPLETE),
            )?;
            let closed = waiter.insist(
                || common.pausing("unable to rename current", &name),
                PAUSE,
                || {
                    let closed = fresh_name(letter, false);
                    std::fs::rename(CURRENT, &closed).map(|()| closed)
                },
            )?;
            if self.common.is_verbose {
                let what = format!("/current {closed} {}\n", self.current.size);
                print::stderr(&[self.common.program.as_bytes(), b": info: rename: ", &name, what.as_bytes()]);
            }
            self.closed_as = Some(closed);
        }
        let file = waiter.insist(
            || common.pausing("unable to create new current", &name),
            PAUSE,
            || {
                let file = append(CURRENT, 0o600)?;
                set_open_mode(&file, INCOMPLETE)?;
                Ok(file)
            },
        )?;
        (self.current.file, self.current.size, self.closed_as) = (file, 0, None);
        self.remove_oldest();
        self.start_processor(waiter);
        Ok(())
    }
}

impl Rotating for Directory {
    fn current(&mut self) -> &mut Current {
        &mut self.current
    }

    /// A processor that runs is waited for, so that not more and more wait for it; but not by who is to end.
    fn rotate(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        while self.closed_as.is_none() && self.has_work() {
            self.look_after_processor(waiter);
            if waiter.is_ending() && self.has_work() {
                self.current.rule = Rule::NEVER;
                return Ok(());
            }
            if self.has_work() {
                let span = self.retry.map_or(PAUSE, |at| at.since(clock::now()));
                waiter.pause(span)?;
            }
        }
        let result = self.within(|here| here.rotate_here(waiter));
        if result == Err(Stop::GiveUp) {
            self.current.rule = Rule::NEVER; // what waits goes into the file that is open
            return Ok(());
        }
        result
    }

    fn makes_room(&mut self) -> bool {
        if self.config.keep_when_full >= self.config.keep {
            return false;
        }
        self.within(|here| {
            let closed = closed_files(|length| length == NAME).unwrap_or_default();
            let Some(oldest) = closed.first().filter(|_| closed.len() as u64 > here.config.keep_when_full) else {
                return false;
            };
            let what = b": warning: out of disk space, delete: ";
            print::stderr(&[here.common.program.as_bytes(), what, &here.name, b"/", oldest.as_bytes(), b"\n"]);
            match std::fs::remove_file(oldest) {
                Ok(()) => true,
                Err(error) => {
                    here.warn("unable to unlink oldest logfile", &error);
                    false
                }
            }
        })
    }

    fn cannot_write(&mut self, waiter: &mut Waiter, error: &io::Error) -> Result<(), Stop> {
        waiter.fails(self.common.pausing("unable to write to current", &self.name), error, PAUSE)
    }
}

impl Common {
    fn pausing(&self, what: &str, name: &[u8]) -> Vec<u8> {
        [self.program.as_bytes(), b": pausing: ", what.as_bytes(), b": ", name, b": "].concat()
    }
}

/// The same name with another letter at its end.
fn ending(name: &str, letter: char) -> String {
    let mut name = name.to_owned();
    name.pop();
    name.push(letter);
    name
}

/// A file that is missing says nothing; of one that cannot be read that is said.
fn read_config(name: &[u8], common: &Common, info: &impl Fn(&str, &str)) -> Config {
    let (program, defaults) = (common.program.as_bytes(), common.defaults.clone());
    let text = match std::fs::read("config") {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return defaults,
        Err(error) => {
            print::stderr(&[program, b": warning: unable to read config: ", name, b": ", why(&error), b"\n"]);
            return defaults;
        }
    };
    info("read", "/config");
    let (config, warnings) = defaults.with(&text);
    for (what, text) in warnings {
        print::stderr(&[program, b": warning: ", what.as_bytes(), b": ", &text, b"\n"]);
    }
    config
}
