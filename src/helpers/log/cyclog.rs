//! A log directory as multilog and s6-log keep it: `current` becomes `previous`, a processor makes `processed` of that,
//! and what is done gets a name with the time. After a crash the next one sees by the files how far it was.
//!
//! Source: multilog(8), `multilog.c` of daemontools 0.76, and what the real multilog and s6-log left behind.

use super::current::{
    COMPLETE, COMPLETE_BIT, CURRENT, Current, HIGH_WATER, INCOMPLETE, Rotating, append, closed_files, fresh_name,
    set_mode, set_open_mode, truncate,
};
use super::processor::{self, NEW_STATE, STATE, Shell};
use super::rotation::Rule;
use super::waiting::{Stop, Waiter, why};
use crate::machine::{Exit, Pid};
use crate::sys::{Errno, clock, fs};
use crate::tool::print;
use crate::wire::log_script;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::rc::Rc;
use std::time::Duration;

const PREVIOUS: &str = "previous";
const PROCESSED: &str = "processed";

/// Whose directory it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// multilog.
    Multilog,
    /// s6-log.
    S6Log,
}

impl Owner {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Owner::Multilog => "multilog",
            Owner::S6Log => "s6-log",
        }
    }
}

/// How far a file that is full has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// None is on its way.
    Idle,
    /// It is `previous`.
    Renamed,
    /// And there is a new current file.
    Opened,
    /// The processor runs.
    Processing(Pid),
    /// It has made `processed` of it.
    Processed,
}

/// A directory, open.
pub struct Cyclog {
    owner: Owner,
    spec: log_script::Directory,
    dir: OwnedFd,
    home: Rc<OwnedFd>,
    _lock: OwnedFd,
    current: Current,
    stage: Stage,
    /// As much is in the buffer of the real multilog.
    buffered: usize,
    /// While a processor runs more is read, as much as memory is to hold.
    pub reads_on: bool,
    /// Whether the line that is read goes here.
    pub is_selected: bool,
}

impl Cyclog {
    /// Makes the directory if there is none, and opens it. The error says what failed: for a line behind `fatal: `.
    pub fn open(owner: Owner, spec: log_script::Directory, home: Rc<OwnedFd>) -> Result<Cyclog, Vec<u8>> {
        let opened = Cyclog::open_there(owner, spec, home.clone());
        let _ = fs::return_to(&home);
        opened
    }

    fn open_there(owner: Owner, spec: log_script::Directory, home: Rc<OwnedFd>) -> Result<Cyclog, Vec<u8>> {
        let path = OsStr::from_bytes(&spec.path);
        let fails = |what: &str, file: &str, error: &io::Error| {
            [b"unable to ", what.as_bytes(), &spec.path, file.as_bytes(), b": ", why(error)].concat()
        };
        let mode = if owner == Owner::S6Log { 0o2700 } else { 0o700 };
        let _ = std::fs::DirBuilder::new().mode(mode).create(path);
        let opened = fs::open_dir(fs::HERE, path).and_then(|dir| fs::return_to(&dir).map(|()| dir));
        let dir = opened.map_err(|errno| fails("open directory ", "", &errno.into()))?;
        let lock = fs::lock(fs::HERE, "lock").map_err(|errno| fails("lock directory ", "", &errno.into()))?;
        let size = match std::fs::metadata(CURRENT) {
            Ok(found) if found.mode() & COMPLETE_BIT != 0 => Some(found.size()),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fails("stat ", "/current", &error)),
        };
        if size.is_none() {
            recover(owner, &spec).map_err(|error| fails("recover ", "", &error))?;
            let state = truncate(STATE).and_then(|file| set_open_mode(&file, INCOMPLETE));
            state.map_err(|error| fails("write to ", "/state", &error))?;
        }
        let file = append(CURRENT, 0o600).map_err(|error| fails("append to ", "/current", &error))?;
        set_open_mode(&file, INCOMPLETE).map_err(|error| fails("set mode of ", "/current", &error))?;
        let rule = match owner {
            Owner::Multilog => Rule::Chunks { size: spec.size },
            Owner::S6Log => Rule::s6_log(spec.size, spec.tolerance),
        };
        let (waiting, chunks) = (Vec::new(), Vec::new());
        let current = Current { file, size: size.unwrap_or(0), waiting, chunks, rule, is_full: false };
        let (stage, buffered, reads_on, is_selected) = (Stage::Idle, 0, false, false);
        Ok(Cyclog { owner, spec, dir, home, _lock: lock, current, stage, buffered, reads_on, is_selected })
    }

    /// Its name, as it was given.
    pub fn name(&self) -> &[u8] {
        &self.spec.path
    }

    /// How many bytes wait to be written.
    pub fn waiting(&self) -> usize {
        self.current.waiting.len()
    }

    /// The current file is to be closed, unless it is empty.
    pub fn close_current(&mut self) {
        self.current.is_full |= self.current.size > 0;
    }

    /// Adds the beginning of a line. The real multilog writes it in one piece if it is larger than its buffer.
    pub fn put(&mut self, bytes: &[u8]) {
        if self.owner == Owner::Multilog {
            if bytes.len() > BUFFER - self.buffered {
                self.end_chunk();
            }
            self.buffered += bytes.len();
        }
        self.current.waiting.extend_from_slice(bytes);
        if self.buffered > BUFFER {
            self.end_chunk();
        }
    }

    /// Adds what follows, which the real multilog does byte by byte.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        if self.owner == Owner::S6Log {
            return self.current.waiting.extend_from_slice(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.buffered == BUFFER {
                self.end_chunk();
            }
            let (part, behind) = rest.split_at_checked(BUFFER - self.buffered).unwrap_or((rest, &[]));
            self.current.waiting.extend_from_slice(part);
            self.buffered += part.len();
            rest = behind;
        }
    }

    /// Ends the line.
    pub fn put_newline(&mut self) {
        if self.buffered == BUFFER {
            self.end_chunk();
        }
        self.current.waiting.push(b'\n');
        self.buffered += usize::from(self.owner == Owner::Multilog);
    }

    /// The real multilog would write now what is in its buffer.
    pub fn end_chunk(&mut self) {
        if self.buffered > 0 {
            self.current.chunks.push(self.current.waiting.len());
            self.buffered = 0;
        }
    }

    /// Closes it: the file is complete, unless another one is still on its way: then the next start has to see to both.
    pub fn close(&mut self, waiter: &mut Waiter) {
        let line = self.says("unable to write ", "/current to disk");
        let synced = waiter.insist(|| line.clone(), self.spec.retry, || self.current.file.sync_all());
        if synced.is_ok() && self.stage == Stage::Idle {
            let line = self.says("unable to set mode of ", "/current");
            let _ = waiter.insist(|| line.clone(), self.spec.retry, || set_open_mode(&self.current.file, COMPLETE));
        }
    }

    /// What it says when it waits.
    fn says(&self, what: &str, file: &str) -> Vec<u8> {
        let pausing: &[u8] = if self.owner == Owner::Multilog { b", pausing: " } else { b": " };
        let name = self.owner.name().as_bytes();
        [name, b": warning: ", what.as_bytes(), &self.spec.path, file.as_bytes(), pausing].concat()
    }

    fn insist<T>(
        &mut self,
        waiter: &mut Waiter,
        (what, file): (&str, &str),
        mut attempt: impl FnMut(&mut Cyclog) -> io::Result<T>,
    ) -> Result<T, Stop> {
        let (line, retry) = (self.says(what, file), self.spec.retry);
        waiter.insist(|| line.clone(), retry, || attempt(self))
    }

    /// Goes on from the stage that was reached.
    fn rotate_here(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        if self.stage == Stage::Idle {
            self.insist(waiter, ("unable to write ", "/current to disk"), |here| here.current.file.sync_all())?;
            let what = ("unable to rename current to previous in directory ", "");
            self.insist(waiter, what, |_| std::fs::rename(CURRENT, PREVIOUS))?;
            self.stage = Stage::Renamed;
        }
        if self.stage == Stage::Renamed {
            self.current.file = self.insist(waiter, ("unable to create ", "/current"), |_| new_current())?;
            self.current.size = 0;
            self.insist(waiter, ("unable to set mode of ", "/previous"), |_| set_mode(PREVIOUS, COMPLETE))?;
            self.stage = Stage::Opened;
        }
        if self.spec.processor.is_some() {
            self.process(waiter)?;
        }
        let last = if self.spec.processor.is_some() { PROCESSED } else { PREVIOUS };
        let (owner, spec) = (self.owner, self.spec.clone());
        self.insist(waiter, ("unable to finish ", &format!("/{last}")), |_| finish(owner, &spec, last, 's'))?;
        self.stage = Stage::Idle;
        Ok(())
    }

    /// Runs the processor until it succeeds. Whoever is to end does not wait for long.
    fn process(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        let command = self.spec.processor.clone().unwrap_or_default();
        while self.stage != Stage::Processed {
            if waiter.last_processor().is_some_and(|late| late <= clock::now()) {
                return Err(Stop::GiveUp);
            }
            let Stage::Processing(pid) = self.stage else {
                let shell = if self.owner == Owner::Multilog { Shell::Sh(&command) } else { Shell::Execline(&command) };
                let started = processor::start(waiter, shell, PREVIOUS, PROCESSED);
                match started {
                    Ok(pid) => self.stage = Stage::Processing(pid),
                    Err(error) => {
                        waiter.fails(self.says("unable to run processor in ", ""), &error, self.spec.retry)?
                    }
                }
                continue;
            };
            match waiter.end_of(pid) {
                None if self.reads_on && waiter.reads_on() && self.waiting() < HIGH_WATER => return Err(Stop::Busy),
                None => waiter.pause(Duration::from_secs(1))?,
                Some(Exit::Code(0)) => self.stage = Stage::Processed,
                Some(exit) => {
                    self.stage = Stage::Opened;
                    let how = if matches!(exit, Exit::Code(_)) { "failed" } else { "crashed" };
                    let line = format!("{}: warning: processor {how} in ", self.owner.name());
                    print::stderr(&[line.as_bytes(), &self.spec.path, b", pausing\n"]);
                    waiter.pause(self.spec.retry)?;
                }
            }
        }
        self.insist(waiter, ("unable to write ", "/processed to disk"), |_| complete(PROCESSED))?;
        self.insist(waiter, ("unable to write ", "/newstate to disk"), |_| append(NEW_STATE, 0o600)?.sync_all())?;
        self.insist(waiter, ("unable to remove ", "/previous"), |_| remove(PREVIOUS))?;
        let what = ("unable to rename newstate to state in directory ", "");
        self.insist(waiter, what, |_| match std::fs::rename(NEW_STATE, STATE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // done before a signal came
            result => result,
        })
    }
}

/// The buffer of the real multilog, in bytes.
const BUFFER: usize = 512;
/// The length of `@` and 24 digits.
const STAMP: usize = 25;

impl Rotating for Cyclog {
    fn current(&mut self) -> &mut Current {
        &mut self.current
    }

    fn rotate(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        let _ = fs::return_to(&self.dir);
        let result = self.rotate_here(waiter);
        let _ = fs::return_to(&self.home);
        if result == Err(Stop::GiveUp) {
            self.current.rule = Rule::NEVER; // what waits goes into the file that is open
            return Ok(());
        }
        result
    }

    fn cannot_write(&mut self, waiter: &mut Waiter, error: &io::Error) -> Result<(), Stop> {
        waiter.fails(self.says("unable to write to ", "/current"), error, self.spec.retry)
    }
}

fn new_current() -> io::Result<File> {
    let file = append(CURRENT, 0o600)?;
    set_open_mode(&file, INCOMPLETE)?;
    Ok(file)
}

fn complete(file: &str) -> io::Result<()> {
    let file = append(file, 0o600)?;
    file.sync_all()?;
    set_open_mode(&file, COMPLETE)
}

fn remove(file: &str) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What a logger left that was killed gets names: what was processed is done, what was not ends in `u`.
fn recover(owner: Owner, spec: &log_script::Directory) -> io::Result<()> {
    remove(STATE)?;
    remove(NEW_STATE)?;
    let is_processed = std::fs::metadata(PROCESSED).is_ok_and(|found| found.mode() & COMPLETE_BIT != 0);
    if is_processed {
        remove(PREVIOUS)?;
        finish(owner, spec, PROCESSED, 's')?;
    } else {
        remove(PROCESSED)?;
        finish(owner, spec, PREVIOUS, 'u')?;
    }
    finish(owner, spec, CURRENT, 'u')
}

/// Gives a file its last name, and removes old ones.
fn finish(owner: Owner, spec: &log_script::Directory, file: &str, letter: char) -> io::Result<()> {
    match std::fs::metadata(file) {
        Ok(found) if found.nlink() == 1 => std::fs::hard_link(file, fresh_name(letter, owner == Owner::S6Log))?,
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    std::fs::remove_file(file)?;
    let mut files = Vec::new();
    for name in closed_files(|length| if owner == Owner::Multilog { length >= STAMP } else { length == STAMP + 2 })? {
        let size = std::fs::metadata(&name).map_or(0, |found| found.size());
        files.push((name, size));
    }
    for name in surplus(owner, spec, &files) {
        if let Err(error) = remove(name) {
            let line = [owner.name().as_bytes(), b": warning: unable to unlink ", &spec.path, b"/", name.as_bytes()];
            print::stderr(&[&line.concat(), b": ", why(&error), b"\n"]);
        }
    }
    Ok(())
}

/// Which of these files, the oldest of which comes first, are too many or together too large.
fn surplus<'f>(owner: Owner, spec: &log_script::Directory, files: &'f [(String, u64)]) -> Vec<&'f String> {
    let keep = if owner == Owner::Multilog { spec.keep.saturating_sub(1) } else { spec.keep };
    let mut left = files.len() as u64;
    let mut total: u64 = files.iter().map(|(_, size)| size).sum();
    let mut surplus = Vec::new();
    for (name, size) in files {
        if left <= keep && (spec.total == 0 || total <= spec.total) {
            break;
        }
        left -= 1;
        total -= size;
        surplus.push(name);
    }
    surplus
}

/// Opens the directory that relative paths begin at.
pub fn home() -> Result<Rc<OwnedFd>, Errno> {
    fs::working_dir().map(Rc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_are_kept_as_the_tools_keep() {
        let spec = |keep, total| {
            let words = [format!("n{keep}"), format!("S{total}"), "./x".into()];
            log_script::S6Log::parse(&words).expect("a script").directories().next().expect("one").clone()
        };
        let files = ["@1", "@2", "@3", "@4"].map(|name| (name.to_owned(), 100));
        let removed = |owner, keep, total| surplus(owner, &spec(keep, total), &files).len();
        assert_eq!(removed(Owner::Multilog, 3, 0), 2, "the current one counts");
        assert_eq!(removed(Owner::S6Log, 3, 0), 1);
        assert_eq!(removed(Owner::S6Log, 10, 250), 2);
        assert_eq!(removed(Owner::S6Log, 10, 0), 0);
        assert_eq!(removed(Owner::S6Log, 0, 0), 4);
    }
}
