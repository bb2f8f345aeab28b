//! `multilog`, as daemontools 0.76 has it; onit-compat(7) says what is different.

use super::current::flush;
use super::cyclog::{Cyclog, Owner, home};
use super::engine::{Program, TROUBLE, run};
use super::lines::{Cutter, Sink};
use super::stamp::Stamp;
use super::waiting::{ROOM, Stop, Waiter, why};
use crate::machine::Signal;
use crate::sys::clock;
use crate::tool::print;
use crate::wire::log_script::{self, Action};
use crate::wire::log_time::Format;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::Duration;

/// The first bytes of a line, stamp included, decide what becomes of it.
const LINE: usize = 1000;
/// The length of a time stamp.
const STAMP: usize = 26;
/// So many bytes go to standard error.
const COPY: usize = 200;
/// The real one reads so many bytes, and writes what is in its buffer before the next ones.
const READ: usize = 1024;
/// How long it waits when something fails.
const PAUSE: Duration = Duration::from_secs(5);

/// `multilog`. Returns the exit code.
pub fn multilog(args: &[OsString]) -> i32 {
    let words: Vec<&[u8]> = args.iter().map(|word| word.as_bytes()).collect();
    let started = Waiter::new().map_err(|errno| [b"unable to wait: ", print::why(errno)].concat());
    let started = started.and_then(|waiter| Ok((Multilog::open(log_script::Multilog::parse(&words))?, waiter)));
    match started {
        Ok((mut multilog, mut waiter)) => run(&mut multilog, &mut waiter, ROOM),
        Err(error) => {
            print::stderr(&[b"multilog: fatal: ", &error, b"\n"]);
            TROUBLE
        }
    }
}

/// A multilog that runs.
struct Multilog {
    cutter: Cutter,
    writers: Writers,
}

/// What takes the lines.
struct Writers {
    script: log_script::Multilog,
    /// One for each action of the script.
    places: Vec<Place>,
    errors: Vec<u8>,
    line: Vec<u8>,
    stamp: Stamp,
}

/// Where a line goes.
enum Place {
    /// It is a selection.
    Nowhere,
    Errors,
    /// The file, and what it is to hold.
    Status(Vec<u8>, File, Option<Vec<u8>>),
    /// The file of that place.
    Again(usize),
    Directory(Box<Cyclog>),
}

fn position(places: &[Place], path: &[u8]) -> Option<usize> {
    places.iter().position(|place| matches!(place, Place::Status(known, ..) if known == path))
}

/// The place, but for a file that stands in the script before: that one.
fn meant(places: &[Place], at: usize) -> usize {
    if let Some(Place::Again(first)) = places.get(at) { *first } else { at }
}

impl Multilog {
    fn open(script: log_script::Multilog) -> Result<Multilog, Vec<u8>> {
        let home = home().map_err(|errno| [b"unable to switch to current directory: ", print::why(errno)].concat())?;
        let mut places = Vec::new();
        for action in &script.actions {
            places.push(match action {
                Action::Select(_) | Action::Deselect(_) => Place::Nowhere,
                Action::Copy => Place::Errors,
                Action::Status(path) if position(&places, path).is_some() => {
                    position(&places, path).map_or(Place::Nowhere, Place::Again)
                }
                Action::Status(path) => {
                    let mut options = OpenOptions::new();
                    let file = options.write(true).create(true).mode(0o600).open(OsStr::from_bytes(path));
                    let file = file.map_err(|error| [b"unable to create ", &**path, b": ", why(&error)].concat())?;
                    Place::Status(path.clone(), file, None)
                }
                Action::Write(spec) => {
                    Place::Directory(Box::new(Cyclog::open(Owner::Multilog, spec.clone(), home.clone())?))
                }
            });
        }
        let cutter = Cutter::new(if script.stamps { LINE - STAMP } else { LINE });
        let (errors, line, stamp) = (Vec::new(), Vec::new(), Stamp::default());
        Ok(Multilog { cutter, writers: Writers { script, places, errors, line, stamp } })
    }

    fn directories(&mut self) -> impl Iterator<Item = &mut Cyclog> {
        self.writers.directories()
    }
}

impl Writers {
    fn directories(&mut self) -> impl Iterator<Item = &mut Cyclog> {
        self.places.iter_mut().filter_map(|place| match place {
            Place::Directory(directory) => Some(&mut **directory),
            _ => None,
        })
    }

    fn selected(&mut self) -> impl Iterator<Item = &mut Cyclog> {
        self.directories().filter(|directory| directory.is_selected)
    }
}

impl Program for Multilog {
    const NAME: &'static str = "multilog";
    type Writers = Writers;

    fn parts(&mut self) -> (&mut Cutter, &mut Writers) {
        (&mut self.cutter, &mut self.writers)
    }

    fn take(&mut self, read: &[u8]) {
        let now = if self.writers.script.stamps { clock::wall() } else { Duration::ZERO };
        for part in read.chunks(READ) {
            self.cutter.take(part, now, &mut self.writers);
            self.directories().for_each(Cyclog::end_chunk);
        }
    }

    fn flush(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        if !self.writers.errors.is_empty() {
            print::stderr(&[&std::mem::take(&mut self.writers.errors)]);
        }
        for place in &mut self.writers.places {
            match place {
                Place::Status(path, file, latest) => {
                    let Some(content) = latest else { continue };
                    let line = || [b"multilog: warning: unable to write ", &**path, b", pausing: "].concat();
                    waiter.insist(line, PAUSE, || file.write_all_at(content, 0))?;
                    *latest = None;
                }
                Place::Directory(directory) => flush(&mut **directory, waiter)?,
                Place::Nowhere | Place::Errors | Place::Again(_) => {}
            }
        }
        Ok(())
    }

    fn waiting(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.directories().map(|directory| (directory.waiting(), directory.name().to_vec())).collect()
    }

    fn on_signal(&mut self, signal: Signal, waiter: &mut Waiter) -> Result<(), i32> {
        match signal {
            Signal::TERM => waiter.end(),
            Signal::ALRM => self.directories().for_each(Cyclog::close_current),
            other => Waiter::do_default(other),
        }
        Ok(())
    }

    fn close(&mut self, waiter: &mut Waiter) {
        self.directories().for_each(|directory| directory.close(waiter));
    }
}

impl Sink for Writers {
    fn begin(&mut self, head: &[u8], began: Duration) {
        let Writers { script, places, errors, line, stamp } = self;
        let line = if script.stamps {
            stamp.renew(Format::Tai64n, began);
            line.clear();
            line.extend_from_slice(&stamp.text);
            line.extend_from_slice(head);
            line.as_slice()
        } else {
            head
        };
        for place in places.iter_mut() {
            if let Place::Directory(directory) = place {
                directory.is_selected = false;
            }
        }
        script.run(line, |at| {
            let at = meant(places, at);
            match places.get_mut(at) {
                Some(Place::Errors) => {
                    errors.extend_from_slice(line.get(..COPY).unwrap_or(line));
                    errors.extend_from_slice(if line.len() > COPY { b"...\n" } else { b"\n" });
                }
                Some(Place::Status(_, _, latest)) => {
                    let content = latest.get_or_insert_default();
                    content.clear();
                    content.extend_from_slice(line);
                    content.resize(LINE + 1, b'\n');
                }
                Some(Place::Directory(directory)) => {
                    directory.is_selected = true;
                    directory.put(line);
                }
                Some(Place::Nowhere | Place::Again(_)) | None => {}
            }
        });
    }

    fn more(&mut self, bytes: &[u8]) {
        self.selected().for_each(|directory| directory.put_bytes(bytes));
    }

    fn end(&mut self) {
        self.selected().for_each(Cyclog::put_newline);
    }
}
