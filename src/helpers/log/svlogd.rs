//! `svlogd`, as Debian's runit 2.1.2 has it; onit-compat(7) says what is different.

pub mod directory;

use super::current::{HIGH_WATER, flush};
use super::engine::{Program, TROUBLE, run};
use super::lines::{Cutter, Sink};
use super::stamp::Stamp;
use super::waiting::{ROOM, Stop, Waiter};
use crate::machine::{Mono, Signal};
use crate::sys::{clock, fs};
use crate::tool::getopt::{Options, number};
use crate::tool::print;
use crate::wire::log_time::Format;
use crate::wire::svlogd::{Config, Selected};
use directory::{Common, Directory};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;
use std::time::Duration;

/// What the options say.
struct Settings {
    format: Format,
    /// What takes the place of other bytes than the printable ones, and of these.
    replacement: Option<u8>,
    replaced: Vec<u8>,
    length: usize,
    is_verbose: bool,
}

/// `svlogd`. Returns the exit code.
pub fn svlogd(args: &[OsString]) -> i32 {
    let Some((settings, names)) = read(args) else {
        print::stderr(&[b"usage: svlogd [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n"]);
        return TROUBLE;
    };
    let home = match fs::working_dir() {
        Ok(home) => Rc::new(home),
        Err(errno) => return fatal("unable to open current working directory: ", print::why(errno)),
    };
    let mut waiter = match Waiter::new() {
        Ok(waiter) => waiter,
        Err(errno) => return fatal("unable to wait: ", print::why(errno)),
    };
    let (is_verbose, length, defaults) = (settings.is_verbose, settings.length, Config::default());
    let common = Common { program: "svlogd", defaults, home, is_verbose, length };
    let directories = names.iter().map(|_| None).collect();
    let kept = names.iter().map(|_| Vec::new()).collect();
    let writers = Writers { settings, directories, errors: Vec::new(), line: Vec::new(), stamp: Stamp::default() };
    let cutter = Cutter::new(writers.settings.length);
    let mut svlogd = Svlogd { names, common, writers, cutter, kept };
    if !svlogd.open_all(&mut waiter) {
        return TROUBLE;
    }
    let room = svlogd.room();
    run(&mut svlogd, &mut waiter, room)
}

fn fatal(what: &str, why: &[u8]) -> i32 {
    print::stderr(&[b"svlogd: fatal: ", what.as_bytes(), why, b"\n"]);
    TROUBLE
}

/// The options and the directories. `None` for a wrong use.
fn read(args: &[OsString]) -> Option<(Settings, Vec<Vec<u8>>)> {
    let mut settings =
        Settings { format: Format::None, replacement: None, replaced: Vec::new(), length: 1000, is_verbose: false };
    let mut buffer = 1024;
    let or = |value: &[u8], default| usize::try_from(number(value)).ok().filter(|value| *value > 0).unwrap_or(default);
    let mut options = Options::new(b"svlogd", b"R:r:l:b:tvV", args);
    for option in options.by_ref() {
        match option.ok()? {
            (b'R', value) => {
                settings.replaced = value.to_vec();
                settings.replacement = settings.replacement.or(Some(b'_'));
            }
            (b'r', [letter]) => settings.replacement = Some(*letter),
            (b'l', value) => settings.length = or(value, 1000),
            (b'b', value) => buffer = or(value, 1024),
            (b't', _) => {
                settings.format = match settings.format {
                    Format::None => Format::Tai64n,
                    Format::Tai64n => Format::Readable,
                    _ => Format::ReadableT,
                }
            }
            (b'v', _) => settings.is_verbose = true,
            _ => return None,
        }
    }
    let names: Vec<_> = options.rest().iter().map(|name| name.as_bytes().to_vec()).collect();
    (!names.is_empty() && buffer > settings.length).then_some((settings, names))
}

/// A svlogd that runs.
struct Svlogd {
    names: Vec<Vec<u8>>,
    common: Common,
    writers: Writers,
    cutter: Cutter,
    /// What could not be written to each directory before that could not be opened again.
    kept: Vec<Vec<u8>>,
}

impl Svlogd {
    /// Opens all directories, those that are open anew. Whether one of them works.
    fn open_all(&mut self, waiter: &mut Waiter) -> bool {
        let places = self.writers.directories.iter_mut().zip(&mut self.kept);
        for (name, (place, kept)) in self.names.iter().zip(places) {
            let mut processor = None;
            let selected = place.as_ref().map(|directory| directory.selected);
            if let Some(directory) = place.take() {
                (*kept, processor) = directory.close(waiter);
            }
            *place = Directory::open(name, &self.common, processor, waiter);
            if let Some(directory) = place {
                directory.selected = selected.unwrap_or(directory.selected);
                *directory.waiting() = std::mem::take(kept);
            }
        }
        let works = self.writers.directories.iter().any(Option::is_some);
        if !works {
            fatal("no functional log directories.", b"");
        }
        works
    }

    /// How much is read at a time: little if it can become much.
    fn room(&self) -> usize {
        let prefixes = self.writers.directories.iter().flatten().map(|directory| directory.config.prefix.len());
        (HIGH_WATER / (prefixes.max().unwrap_or(0) + 32)).clamp(1024, ROOM)
    }

    fn info(&self, what: &str) {
        if self.common.is_verbose {
            print::stderr(&[b"svlogd: info: ", what.as_bytes(), b"\n"]);
        }
    }
}

impl Program for Svlogd {
    const NAME: &'static str = "svlogd";
    type Writers = Writers;

    fn parts(&mut self) -> (&mut Cutter, &mut Writers) {
        (&mut self.cutter, &mut self.writers)
    }

    fn take(&mut self, read: &[u8]) {
        let now = if self.writers.settings.format == Format::None { Duration::ZERO } else { clock::wall() };
        self.cutter.take(read, now, &mut self.writers);
    }

    fn flush(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        if !self.writers.errors.is_empty() {
            print::stderr(&[&std::mem::take(&mut self.writers.errors)]);
        }
        let now = clock_if(self.writers.directories.iter().flatten().any(|directory| directory.too_old.is_some()));
        for directory in self.writers.directories.iter_mut().flatten() {
            directory.look_at_age(now);
            flush(directory, waiter)?;
        }
        Ok(())
    }

    fn waiting(&mut self) -> Vec<(usize, Vec<u8>)> {
        let directories = self.writers.directories.iter_mut().flatten();
        directories.map(|directory| (directory.waiting().len(), directory.name().to_vec())).collect()
    }

    fn on_signal(&mut self, signal: Signal, waiter: &mut Waiter) -> Result<(), i32> {
        match signal {
            Signal::TERM => {
                self.info("sigterm received.");
                waiter.end();
            }
            Signal::ALRM => {
                self.info("sigalarm received.");
                self.writers.directories.iter_mut().flatten().for_each(Directory::close_current);
            }
            Signal::HUP => {
                self.info("sighangup received.");
                if !self.open_all(waiter) {
                    return Err(TROUBLE);
                }
            }
            other => Waiter::do_default(other),
        }
        Ok(())
    }

    fn close(&mut self, waiter: &mut Waiter) {
        for directory in self.writers.directories.iter_mut().filter_map(Option::take) {
            directory.close(waiter);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let directories = self.writers.directories.iter().flatten();
        directories.flat_map(|directory| [directory.too_old, directory.retry]).flatten().min()
    }

    fn look_after_processors(&mut self, waiter: &mut Waiter) -> bool {
        let mut works = false;
        for directory in self.writers.directories.iter_mut().flatten().filter(|directory| directory.has_work()) {
            directory.look_after_processor(waiter);
            works |= directory.has_work();
        }
        works
    }

    fn leave_processors(&self) {
        for directory in self.writers.directories.iter().flatten().filter(|directory| directory.has_work()) {
            let what = b"svlogd: warning: processor does not end, its file stays for the next start: ";
            print::stderr(&[what, directory.name(), b"\n"]);
        }
    }
}

fn clock_if(asked: bool) -> Mono {
    if asked { clock::now() } else { Mono::default() }
}

/// What takes the lines: each directory, and standard error.
struct Writers {
    settings: Settings,
    /// `None`: it could not be opened.
    directories: Vec<Option<Directory>>,
    /// For standard error.
    errors: Vec<u8>,
    /// The line with its bytes replaced, or as it is sent.
    line: Vec<u8>,
    stamp: Stamp,
}

impl Settings {
    /// Replaces bytes that are not to be in a log.
    fn replace(&self, line: &mut [u8]) {
        let Some(replacement) = self.replacement else { return };
        for byte in line {
            if !matches!(*byte, b' '..=b'~') || self.replaced.contains(byte) {
                *byte = replacement;
            }
        }
    }
}

impl Sink for Writers {
    fn begin(&mut self, head: &[u8], began: Duration) {
        let Writers { settings, directories, errors, line, stamp } = self;
        stamp.renew(settings.format, began);
        let is_long = head.len() == settings.length;
        line.clear();
        let head = if settings.replacement.is_some() {
            line.extend_from_slice(head);
            settings.replace(line);
            line.as_slice()
        } else {
            head
        };
        for directory in directories.iter_mut().flatten() {
            let config = &directory.config;
            let selected =
                if config.rules.is_empty() { Selected { written: true, copied: false } } else { config.select(head) };
            let dots: &[u8] = if is_long { b"...\n" } else { b"\n" };
            if selected.copied {
                for part in [&stamp.text, &config.prefix, head, dots] {
                    errors.extend_from_slice(part);
                }
            }
            if selected.written && config.udp.is_some() {
                let sent = [&stamp.text, &config.prefix, head, dots].concat();
                if !directory.send(&sent) {
                    let waiting = directory.waiting();
                    waiting.extend_from_slice(b"warning: failure sending through udp: ");
                    waiting.extend_from_slice(&sent);
                }
            }
            directory.selected = Selected { written: selected.written && !directory.config.udp_only, ..selected };
            if directory.selected.written {
                let prefix = std::mem::take(&mut directory.config.prefix);
                let waiting = directory.waiting();
                for part in [&stamp.text, &prefix, head].into_iter().filter(|part| !part.is_empty()) {
                    waiting.extend_from_slice(part);
                }
                directory.config.prefix = prefix;
            }
        }
    }

    fn more(&mut self, bytes: &[u8]) {
        for directory in self.directories.iter_mut().flatten().filter(|directory| directory.selected.written) {
            directory.waiting().extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        for directory in self.directories.iter_mut().flatten().filter(|directory| directory.selected.written) {
            directory.waiting().push(b'\n');
        }
    }
}
