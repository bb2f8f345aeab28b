//! `s6-log`, the part of it that is used; onit-compat(7) says what is different.

use super::current::flush;
use super::cyclog::{Cyclog, Owner, home};
use super::engine::{Program, TROUBLE, run};
use super::lines::{Cutter, Sink};
use super::stamp::Stamp;
use super::waiting::{ROOM, Stop, Waiter, why};
use crate::machine::Signal;
use crate::sys::regex::Regex;
use crate::sys::{clock, process};
use crate::tool::getopt::{Options, number};
use crate::tool::print;
use crate::wire::log_script::{Deed, S6Log, Selection};
use crate::wire::log_time::{self, Format};
use crate::{exit, wire::log_script};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// The first bytes of a line decide what becomes of it, where the real one keeps all of it in memory.
const LINE: usize = 65_536;
/// The shortest limit of lines.
const SHORTEST: usize = 48;
/// How long it waits when something fails.
const PAUSE: Duration = Duration::from_secs(2);

const USAGE: &[u8] =
    b"s6-log: usage: s6-log [ -d notif ] [ -q | -v ] [ -b ] [ -p ] [ -l linelimit ] [ -- ] logging_script\n";

/// `s6-log`. Returns the exit code.
pub fn s6_log(args: &[OsString]) -> i32 {
    let Some((settings, words)) = read(args) else {
        print::stderr(&[USAGE]);
        return exit::USAGE;
    };
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let script = S6Log::parse(&words).and_then(|script| Ok((compile(&script)?, script)));
    let (blocks, script) = match script {
        Ok(script) => script,
        Err(error) => return fatal(&error, exit::USAGE),
    };
    if script.is_open && settings.verbosity > 0 {
        print::stderr(&[b"s6-log: warning: ignoring extraneous non-action directives\n"]);
    }
    let started = Waiter::new().map_err(|errno| [b"unable to wait: ", print::why(errno)].concat());
    let ready = settings.ready;
    let started = started.and_then(|waiter| Ok((Logger::open(settings, &script, blocks)?, waiter)));
    match started {
        Ok((mut logger, mut waiter)) => {
            if let Some(number) = ready {
                process::tell_ready(number);
            }
            run(&mut logger, &mut waiter, ROOM)
        }
        Err(error) => fatal(&error, TROUBLE),
    }
}

fn fatal(why: &[u8], code: i32) -> i32 {
    print::stderr(&[b"s6-log: fatal: ", why, b"\n"]);
    code
}

/// What the options say.
struct Settings {
    /// TERM changes nothing.
    is_protected: bool,
    /// Nothing is read while a processor runs.
    blocks: bool,
    verbosity: u32,
    /// A longer line gets a newline; 0: none.
    limit: usize,
    /// A descriptor that gets a newline when all is open.
    ready: Option<i32>,
}

/// The options, and the script. `None` for a wrong use.
fn read(args: &[OsString]) -> Option<(Settings, &[OsString])> {
    let mut settings = Settings { is_protected: false, blocks: false, verbosity: 1, limit: 0, ready: None };
    let mut options = Options::new(b"", b"qvbptel:d:", args).of_s6();
    for option in options.by_ref() {
        match option.ok()? {
            (b'q', _) => settings.verbosity = settings.verbosity.saturating_sub(1),
            (b'v', _) => settings.verbosity += 1,
            (b'p', _) => settings.is_protected = true,
            (b'b', _) => settings.blocks = true,
            (b'l', value) => {
                let limit = usize::try_from(number(value)).ok().filter(|_| value.iter().all(u8::is_ascii_digit))?;
                settings.limit = if limit == 0 { 0 } else { limit.max(SHORTEST) };
            }
            (b'd', value) => settings.ready = Some(i32::try_from(number(value)).ok().filter(|number| *number > 2)?),
            _ => {} // -t and -e are history
        }
    }
    (!options.rest().is_empty()).then(|| (settings, options.rest()))
}

/// A block with its expressions compiled.
struct Block {
    selections: Vec<Compiled>,
    deeds: Vec<(Deed, Stamp)>,
}

enum Compiled {
    Default,
    Select(Regex),
    Deselect(Regex),
}

fn compile(script: &S6Log) -> Result<Vec<Block>, Vec<u8>> {
    let regex = |sign: &[u8], text: &Vec<u8>| {
        let compiled = CString::new(text.as_slice()).ok().and_then(|text| Regex::new(&text));
        compiled.ok_or_else(|| [b"unrecognized directive: ", sign, text].concat())
    };
    let selection = |selection: &Selection| {
        Ok(match selection {
            Selection::Default => Compiled::Default,
            Selection::Select(text) => Compiled::Select(regex(b"+", text)?),
            Selection::Deselect(text) => Compiled::Deselect(regex(b"-", text)?),
        })
    };
    let block = |block: &log_script::Block| {
        let selections = block.selections.iter().map(selection).collect::<Result<_, Vec<u8>>>()?;
        Ok(Block { selections, deeds: block.deeds.iter().map(|deed| (deed.clone(), Stamp::default())).collect() })
    };
    script.blocks.iter().map(block).collect()
}

/// A s6-log that runs.
struct Logger {
    cutter: Cutter,
    writers: Writers,
}

/// What takes the lines.
struct Writers {
    settings: Settings,
    blocks: Vec<Block>,
    to: Places,
    /// The beginning of a line, with a NUL behind it, if there are expressions that may fit it.
    line: Vec<u8>,
    has_expressions: bool,
    /// So many bytes of the line have been read.
    length: usize,
}

/// Where lines go.
struct Places {
    directories: Vec<Cyclog>,
    output: Vec<u8>,
    errors: Vec<u8>,
    /// Files and what they are to hold.
    statuses: Vec<(Vec<u8>, Vec<u8>)>,
    /// The rest of the line goes to standard output as well.
    is_output: bool,
}

impl Logger {
    fn open(settings: Settings, script: &S6Log, blocks: Vec<Block>) -> Result<Logger, Vec<u8>> {
        let home = home().map_err(|errno| [b"unable to open current directory: ", print::why(errno)].concat())?;
        let directories = script.directories().map(|spec| Cyclog::open(Owner::S6Log, spec.clone(), home.clone()));
        let mut directories: Vec<Cyclog> = directories.collect::<Result<_, _>>()?;
        directories.iter_mut().for_each(|directory| directory.reads_on = !settings.blocks);
        let (output, errors, statuses, line) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let to = Places { directories, output, errors, statuses, is_output: false };
        let has_expressions = script.blocks.iter().any(|block| !block.selections.is_empty());
        let writers = Writers { settings, blocks, to, line, has_expressions, length: 0 };
        let limit = if writers.settings.limit == 0 { LINE } else { writers.settings.limit.min(LINE) };
        Ok(Logger { cutter: Cutter::new(limit).and_at_nul(), writers })
    }
}

impl Program for Logger {
    const NAME: &'static str = "s6-log";
    type Writers = Writers;

    fn parts(&mut self) -> (&mut Cutter, &mut Writers) {
        (&mut self.cutter, &mut self.writers)
    }

    fn take(&mut self, read: &[u8]) {
        self.cutter.take(read, clock::wall(), &mut self.writers);
    }

    fn flush(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        let Places { directories, output, errors, statuses, .. } = &mut self.writers.to;
        if !errors.is_empty() {
            print::stderr(&[&std::mem::take(errors)]);
        }
        if !output.is_empty() {
            let written = std::io::stdout().write_all(output).and_then(|()| std::io::stdout().flush());
            if let Err(error) = written {
                print::stderr(&[b"s6-log: warning: unable to write to stdout: ", why(&error), b"\n"]);
            }
            output.clear();
        }
        while let Some((path, content)) = statuses.last() {
            let line = || [b"s6-log: warning: unable to write status file ", &**path, b": "].concat();
            waiter.insist(line, PAUSE, || replace(path, content))?;
            statuses.pop();
        }
        directories.iter_mut().try_for_each(|directory| match flush(directory, waiter) {
            Err(Stop::Busy) if waiter.reads_on() => Ok(()),
            result => result,
        })
    }

    fn waiting(&mut self) -> Vec<(usize, Vec<u8>)> {
        let directories = self.writers.to.directories.iter();
        directories.map(|directory| (directory.waiting(), directory.name().to_vec())).collect()
    }

    fn on_signal(&mut self, signal: Signal, waiter: &mut Waiter) -> Result<(), i32> {
        match signal {
            Signal::TERM if self.writers.settings.is_protected => {}
            Signal::TERM | Signal::HUP => waiter.end(),
            Signal::ALRM => self.writers.to.directories.iter_mut().for_each(Cyclog::close_current),
            other => Waiter::do_default(other),
        }
        Ok(())
    }

    fn close(&mut self, waiter: &mut Waiter) {
        self.writers.to.directories.iter_mut().for_each(|directory| directory.close(waiter));
    }
}

/// Replaces a file in one step.
fn replace(path: &[u8], content: &[u8]) -> std::io::Result<()> {
    let fresh = [path, b".new"].concat();
    std::fs::write(OsStr::from_bytes(&fresh), content)?;
    std::fs::rename(OsStr::from_bytes(&fresh), OsStr::from_bytes(path))
}

/// Makes it what stands in front of a line.
fn renew(stamp: &mut Stamp, deed: &Deed, at: Duration) {
    stamp.renew_with(at, |text| {
        if deed.label {
            log_time::push(text, Format::Tai64nOfS6, at);
        }
        if deed.date {
            let offset = i32::try_from(clock::offset(at.as_secs().cast_signed())).unwrap_or_default();
            log_time::push(text, Format::Local(offset), at);
        }
    });
}

impl Places {
    fn act(&mut self, deed: &Deed, stamps: &[u8], place: usize, head: &[u8]) {
        match &deed.to {
            log_script::Place::Output => {
                self.output.extend_from_slice(stamps);
                self.output.extend_from_slice(head);
                self.is_output = true;
            }
            log_script::Place::Error(most) => {
                let most = usize::try_from(*most).unwrap_or(usize::MAX);
                let is_long = most > 0 && head.len() > most.saturating_add(3);
                let head = if is_long { head.get(..most).unwrap_or(head) } else { head };
                let end: &[u8] = if is_long { b"...\n" } else { b"\n" };
                self.errors.extend([b"s6-log: alert: ", stamps, head, end].concat());
            }
            log_script::Place::Status(path, size) => {
                let mut content = [stamps, head, b"\n"].concat();
                if *size > 0 {
                    content.resize(usize::try_from(*size).unwrap_or(content.len()), b'\n');
                }
                self.statuses.retain(|(known, _)| known != path);
                self.statuses.push((path.clone(), content));
            }
            log_script::Place::Directory(_) => {
                if let Some(directory) = self.directories.get_mut(place) {
                    directory.is_selected = true;
                    if !stamps.is_empty() {
                        directory.put(stamps);
                    }
                    directory.put(head);
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.is_output {
            self.output.extend_from_slice(bytes);
        }
        self.directories.iter_mut().filter(|directory| directory.is_selected).for_each(|directory| {
            directory.put_bytes(bytes);
        });
    }

    fn write_newline(&mut self) {
        if self.is_output {
            self.output.push(b'\n');
        }
        self.directories.iter_mut().filter(|directory| directory.is_selected).for_each(Cyclog::put_newline);
    }
}

impl Writers {
    /// Selects and acts, block by block.
    fn script(&mut self, head: &[u8], began: Duration) {
        let Writers { blocks, line, to, .. } = self;
        let text = CStr::from_bytes_until_nul(line).unwrap_or_default(); // none, if nothing is to fit it
        let (mut is_selected, mut has_acted, mut place) = (true, false, 0);
        for block in blocks {
            for selection in &block.selections {
                match selection {
                    Compiled::Default => is_selected = !has_acted,
                    Compiled::Select(regex) => is_selected = is_selected || regex.fits(text),
                    Compiled::Deselect(regex) => is_selected = is_selected && !regex.fits(text),
                }
            }
            has_acted |= is_selected;
            for (deed, stamp) in &mut block.deeds {
                if is_selected {
                    renew(stamp, deed, began);
                    to.act(deed, &stamp.text, place, head);
                }
                place += usize::from(matches!(deed.to, log_script::Place::Directory(_)));
            }
        }
    }

    fn warn(&self, what: &str) {
        if self.settings.verbosity > 0 {
            print::stderr(&[b"s6-log: warning: input line too long, ", what.as_bytes(), b"\n"]);
        }
    }
}

impl Sink for Writers {
    fn begin(&mut self, head: &[u8], began: Duration) {
        if self.has_expressions {
            self.line.clear();
            self.line.extend_from_slice(head);
            self.line.push(0);
        }
        (self.to.is_output, self.length) = (false, head.len());
        self.to.directories.iter_mut().for_each(|directory| directory.is_selected = false);
        self.script(head, began);
    }

    fn more(&mut self, bytes: &[u8]) {
        let limit = self.settings.limit;
        let mut rest = bytes;
        // A line of several times the limit becomes as many lines; they go where its beginning went.
        while limit > 0 && self.length + rest.len() > limit {
            let (part, behind) = rest.split_at_checked(limit.saturating_sub(self.length)).unwrap_or((rest, &[]));
            self.to.write(part);
            self.to.write_newline();
            self.warn("inserting a newline");
            (rest, self.length) = (behind, 0);
        }
        self.length += rest.len();
        self.to.write(rest);
    }

    fn end(&mut self) {
        self.to.write_newline();
    }
}
