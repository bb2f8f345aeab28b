//! `onit logger`: standard input into a named file, a log directory, or standard output; as it is, with time stamps, or
//! as JSON.

use super::current::{HIGH_WATER, flush};
use super::engine::{Program, run};
use super::json::JsonLine;
use super::lines::{Cutter, Sink};
use super::named_file::{NamedFile, Retention};
use super::stamp::Stamp;
use super::svlogd::directory::{Common, Directory};
use super::tee::Tee;
use super::waiting::{ROOM, Stop, Waiter};
use crate::exit;
use crate::machine::{Mono, Signal};
use crate::sys::say::say;
use crate::sys::{clock, fs};
use crate::wire::log_time::Format;
use crate::wire::svlogd::Config;
use std::fmt::Display;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Patterns in a `config` see so many bytes of a line.
const LINE: usize = 1000;

/// What is to be done with the lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Each one becomes one of JSON.
    pub json: bool,
    /// What stands in front of each one that does not.
    pub format: Format,
    /// They go into this file.
    pub file: Option<PathBuf>,
    /// They go into this log directory.
    pub directory: Option<PathBuf>,
    /// What becomes of files that are full.
    pub retention: Retention,
    /// They go to standard output as well, as they came.
    pub tee: bool,
}

/// Runs until there is no more input. Returns the exit code.
pub fn logger(settings: &Settings) -> i32 {
    let fails = |what: &dyn Display, why: &dyn Display| {
        say(format_args!("onit: logger: {what}: {why}"));
        exit::SYSTEM
    };
    let mut waiter = match Waiter::new() {
        Ok(waiter) => waiter,
        Err(errno) => return fails(&"cannot wait for input", &errno.desc()),
    };
    let mut places = Vec::new();
    if let Some(path) = &settings.file {
        match NamedFile::open(path, settings.retention) {
            Ok(file) => places.push(Place::File(Box::new(file))),
            Err(error) => return fails(&path.display(), &error),
        }
    }
    if let Some(path) = &settings.directory {
        match directory(path, settings, &mut waiter) {
            Ok(Some(place)) => places.push(place),
            Ok(None) => return exit::SYSTEM, // that has been said
            Err(error) => return fails(&path.display(), &error),
        }
    }
    if places.is_empty() {
        match NamedFile::output() {
            Ok(output) => places.push(Place::File(Box::new(output))),
            Err(error) => return fails(&"standard output", &error),
        }
    }
    let tee = match settings.tee.then(Tee::new).transpose() {
        Ok(tee) => tee,
        Err(error) => return fails(&"standard output", &error),
    };
    let (stamp, json, made) = (Stamp::default(), JsonLine::default(), Vec::new());
    let writers = Writers { settings: settings.clone(), places, tee, stamp, json, made };
    let mut logger = Logger { cutter: Cutter::new(LINE), writers };
    let room = logger.room();
    run(&mut logger, &mut waiter, room)
}

fn directory(path: &PathBuf, settings: &Settings, waiter: &mut Waiter) -> io::Result<Option<Place>> {
    std::fs::create_dir_all(path)?;
    let (size, keep) = (settings.retention.size, settings.retention.keep.max(1).into()); // 0 would be: all of them
    let defaults = Config { size, keep, keep_when_full: keep, ..Config::default() };
    let home = Rc::new(fs::working_dir()?);
    let common = Common { program: "onit: logger", defaults, home, is_verbose: false, length: LINE };
    let opened = Directory::open(path.as_os_str().as_bytes(), &common, None, waiter);
    Ok(opened.map(|directory| Place::Directory(Box::new(Some(directory)), common)))
}

/// Where lines go.
enum Place {
    File(Box<NamedFile>),
    /// `None`: it could not be opened anew.
    Directory(Box<Option<Directory>>, Common),
}

/// A logger that runs.
struct Logger {
    cutter: Cutter,
    writers: Writers,
}

struct Writers {
    settings: Settings,
    places: Vec<Place>,
    tee: Option<Tee>,
    stamp: Stamp,
    json: JsonLine,
    /// What is added to each place.
    made: Vec<u8>,
}

impl Logger {
    fn directories(&mut self) -> impl Iterator<Item = &mut Directory> {
        self.writers.places.iter_mut().filter_map(|place| match place {
            Place::Directory(directory, _) => (**directory).as_mut(),
            Place::File(_) => None,
        })
    }

    fn room(&mut self) -> usize {
        let prefixes = self.directories().map(|directory| directory.config.prefix.len());
        (HIGH_WATER / (prefixes.max().unwrap_or(0) + 64)).clamp(1024, ROOM)
    }

    fn reopen(&mut self, waiter: &mut Waiter) -> Result<(), i32> {
        for place in &mut self.writers.places {
            match place {
                Place::File(file) => file.reopen(),
                Place::Directory(place, common) => {
                    let Some(directory) = place.take() else { continue };
                    let (name, selected) = (directory.name().to_vec(), directory.selected);
                    let (waiting, processor) = directory.close(waiter);
                    let Some(mut directory) = Directory::open(&name, common, processor, waiter) else {
                        return Err(exit::SYSTEM);
                    };
                    (*directory.waiting(), directory.selected) = (waiting, selected);
                    **place = Some(directory);
                }
            }
        }
        Ok(())
    }
}

impl Program for Logger {
    const NAME: &'static str = "onit: logger";
    type Writers = Writers;

    fn parts(&mut self) -> (&mut Cutter, &mut Writers) {
        (&mut self.cutter, &mut self.writers)
    }

    fn take(&mut self, read: &[u8]) {
        self.cutter.take(read, clock::wall(), &mut self.writers);
    }

    fn flush(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        for place in &mut self.writers.places {
            match place {
                Place::File(file) => flush(&mut **file, waiter)?,
                Place::Directory(directory, _) => {
                    let Some(directory) = &mut **directory else { continue };
                    if directory.too_old.is_some() {
                        directory.look_at_age(clock::now());
                    }
                    flush(directory, waiter)?;
                }
            }
        }
        self.writers.tee.iter_mut().for_each(|tee| tee.write(waiter));
        Ok(())
    }

    fn waiting(&mut self) -> Vec<(usize, Vec<u8>)> {
        let places = self.writers.places.iter_mut();
        let count = |place: &mut Place| match place {
            Place::File(file) => (file.waiting().len(), file.name().into_bytes()),
            Place::Directory(directory, _) => match &mut **directory {
                Some(directory) => (directory.waiting().len(), directory.name().to_vec()),
                None => (0, Vec::new()),
            },
        };
        places.map(count).collect()
    }

    fn on_signal(&mut self, signal: Signal, waiter: &mut Waiter) -> Result<(), i32> {
        match signal {
            Signal::TERM => waiter.end(),
            Signal::HUP | Signal::USR1 => self.reopen(waiter)?,
            Signal::ALRM => self.writers.places.iter_mut().for_each(|place| match place {
                Place::File(file) => file.close_current(),
                Place::Directory(directory, _) => directory.iter_mut().for_each(Directory::close_current),
            }),
            other => Waiter::do_default(other),
        }
        Ok(())
    }

    fn close(&mut self, waiter: &mut Waiter) {
        for place in self.writers.places.drain(..) {
            match place {
                Place::File(file) => file.sync(),
                Place::Directory(directory, _) => {
                    if let Some(directory) = *directory {
                        directory.close(waiter);
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let directories = self.writers.places.iter().filter_map(|place| match place {
            Place::Directory(directory, _) => (**directory).as_ref(),
            Place::File(_) => None,
        });
        directories.flat_map(|directory| [directory.too_old, directory.retry]).flatten().min()
    }

    fn look_after_processors(&mut self, waiter: &mut Waiter) -> bool {
        let mut works = false;
        for directory in self.directories().filter(|directory| directory.has_work()) {
            directory.look_after_processor(waiter);
            works |= directory.has_work();
        }
        works
    }
}

impl Place {
    /// What waits to be written, for a line that goes there.
    fn waiting(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Place::File(file) => Some(file.waiting()),
            Place::Directory(directory, _) => {
                (**directory).as_mut().filter(|directory| directory.selected.written).map(Directory::waiting)
            }
        }
    }
}

impl Writers {
    /// Adds to each place.
    fn add(&mut self, bytes: &[u8]) {
        self.places.iter_mut().filter_map(Place::waiting).for_each(|waiting| waiting.extend_from_slice(bytes));
    }

    /// Adds what is complete of the JSON.
    fn add_json(&mut self, write: impl FnOnce(&mut JsonLine, &mut Vec<u8>)) {
        let mut made = std::mem::take(&mut self.made);
        write(&mut self.json, &mut made);
        self.add(&made);
        made.clear();
        self.made = made;
    }
}

impl Sink for Writers {
    fn begin(&mut self, head: &[u8], began: Duration) {
        self.tee.iter_mut().for_each(|tee| tee.add(head));
        for place in &mut self.places {
            if let Place::Directory(directory, _) = place {
                for directory in directory.iter_mut() {
                    directory.selected = directory.config.select(head);
                }
            }
        }
        if self.settings.json {
            return self.add_json(|json, made| json.begin(head, began, made));
        }
        self.stamp.renew(self.settings.format, began);
        for waiting in self.places.iter_mut().filter_map(Place::waiting) {
            if !self.stamp.text.is_empty() {
                waiting.extend_from_slice(&self.stamp.text);
            }
            waiting.extend_from_slice(head);
        }
    }

    fn more(&mut self, bytes: &[u8]) {
        self.tee.iter_mut().for_each(|tee| tee.add(bytes));
        if self.settings.json {
            return self.add_json(|json, made| json.more(bytes, made));
        }
        self.add(bytes);
    }

    fn end(&mut self) {
        self.tee.iter_mut().for_each(|tee| tee.add(b"\n"));
        if self.settings.json {
            return self.add_json(JsonLine::end);
        }
        self.places.iter_mut().filter_map(Place::waiting).for_each(|waiting| waiting.push(b'\n'));
    }
}
