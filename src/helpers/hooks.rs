//! `onit hooks`: programs that are run when something happens to a service. It hears of that by the supervisor's socket,
//! as any client does; the supervisor does not know it.

mod queue;

use crate::client::api::{Api, Event};
use crate::client::find::Directory;
use crate::client::{Deadline, tail};
use crate::exit;
use crate::machine::{Mono, Pid, Signal, Target};
use crate::sys::poll::{self, Poller};
use crate::sys::say::say;
use crate::sys::signals::Signals;
use crate::sys::{Errno, clock, process};
use crate::wire::api::Word;
use crate::wire::{event, phrase};
use queue::{Notice, Queue};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A supervisor that takes longer with an answer does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// One that does not listen is looked for so long and so often.
const AWAY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);
/// Where hooks are, in the directory of services.
const PLACE: &str = ".onit/hooks";

/// Which programs, and how.
#[derive(Debug)]
pub struct Hooks {
    /// Where they are; `None`: `.onit/hooks` in the directory of services.
    pub dir: Option<PathBuf>,
    /// None is started sooner than this after its last start.
    pub pause: Duration,
    /// One that takes longer is killed.
    pub limit: Duration,
}

#[derive(Default)]
struct Hook {
    queue: Queue,
    running: Option<(Child, Mono)>,
}

/// A supervisor, and where its services are.
struct Supervisor {
    api: Api,
    services: PathBuf,
}

struct Loop<'h> {
    options: &'h Hooks,
    dir: PathBuf,
    supervisor: Supervisor,
    hooks: BTreeMap<OsString, Hook>,
}

const SIGNALS: u64 = 0;
const EVENTS: u64 = 1;

impl Supervisor {
    fn find() -> Result<Supervisor, String> {
        let directory = Directory::from_environment();
        let (found, misses) = directory.search(PATIENCE);
        let why = misses.iter().map(|miss| format!("{}: {}", miss.error.path().display(), miss.error.why()));
        let (mut api, place) =
            found.ok_or_else(|| format!("no supervisor answers ({})", why.collect::<Vec<_>>().join(", ")))?;
        api.subscribe().map_err(|error| error.why())?;
        let services = if place.beside { directory.path } else { PathBuf::from(&api.hello().directory) };
        Ok(Supervisor { api, services })
    }

    /// One that has just started us may not listen yet, and one that executes itself again is away for a moment. `None` if
    /// we are told to end meanwhile.
    fn wait_for(signals: &Signals) -> Result<Option<Supervisor>, String> {
        let until = clock::now().after(AWAY);
        loop {
            match Supervisor::find() {
                Ok(supervisor) => return Ok(Some(supervisor)),
                Err(why) if clock::now() >= until => return Err(why),
                Err(_) if is_told_to_end(signals) => return Ok(None),
                Err(_) => _ = poll::pause(LOOK),
            }
        }
    }
}

impl Hooks {
    /// Runs hooks until the supervisor ends, or until TERM, INT, QUIT or HUP. Returns the exit code.
    pub fn run(&self) -> i32 {
        self.go().unwrap_or_else(|why| {
            say(format_args!("onit: hooks: {why}"));
            exit::SYSTEM
        })
    }

    fn go(&self) -> Result<i32, String> {
        let said = |errno: Errno| format!("cannot wait for events: {}", errno.desc());
        let signals = Signals::take_over().map_err(said)?;
        let Some(supervisor) = Supervisor::wait_for(&signals)? else { return Ok(exit::OK) };
        let dir = self.dir.clone().unwrap_or_else(|| supervisor.services.join(PLACE));
        let mut it = Loop { options: self, dir, supervisor, hooks: BTreeMap::new() };
        it.names()?; // a directory that cannot be read is told at once
        loop {
            let mut poller = Poller::new().map_err(said)?;
            poller.add(&signals, SIGNALS).map_err(said)?;
            poller.add(&it.supervisor.api, EVENTS).map_err(said)?;
            let next = if it.until_gone(&mut poller, &signals) { Ok(None) } else { Supervisor::wait_for(&signals) };
            match next {
                Ok(Some(supervisor)) => it.supervisor = supervisor,
                Ok(None) => {
                    it.end();
                    return Ok(exit::OK);
                }
                Err(why) => {
                    it.end();
                    return Err(why);
                }
            }
        }
    }
}

impl Loop<'_> {
    /// Whether it is to end; else the supervisor has gone.
    fn until_gone(&mut self, poller: &mut Poller, signals: &Signals) -> bool {
        loop {
            // What is asked of the supervisor for a hook brings events along: then there is no input to wait for.
            loop {
                if !self.take_events() {
                    return false;
                }
                if !self.start_due() {
                    break;
                }
            }
            poller.wait(clock::now(), self.deadline()).for_each(drop);
            if is_told_to_end(signals) {
                return true;
            }
            self.reap();
        }
    }

    /// Every event that has come; false if the supervisor has gone.
    fn take_events(&mut self) -> bool {
        loop {
            match self.supervisor.api.event(Deadline::after(Duration::ZERO)) {
                Ok(Some(event)) => self.on_event(&event),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        let names = self.names().unwrap_or_else(|why| {
            say(format_args!("onit: hooks: {why}"));
            Vec::new()
        });
        self.hooks.retain(|name, hook| names.contains(name) || hook.running.is_some());
        for name in names {
            let hook = self.hooks.entry(name.clone()).or_default();
            if !hook.queue.push(event) {
                say(format_args!("onit: hooks: {}: is too slow, and is not told of everything", name.display()));
            }
        }
    }

    /// The programs in the directory, in their order. A backup of an editor is none. No directory, no programs.
    fn names(&self) -> Result<Vec<OsString>, String> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("cannot read {}: {error}", self.dir.display())),
        };
        let is_program =
            |path: &Path| std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
        let is_name = |name: &str| !name.starts_with('.') && !name.ends_with('~');
        let files = entries.flatten().filter(|entry| is_name(&entry.file_name().to_string_lossy()));
        let mut names: Vec<OsString> = files.filter(|it| is_program(&it.path())).map(|it| it.file_name()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn deadline(&self) -> Option<Mono> {
        let limits = self.hooks.values().filter_map(|hook| hook.running.as_ref().map(|(_, limit)| *limit));
        limits.chain(self.hooks.values().filter_map(|hook| hook.queue.due())).min()
    }

    /// Whether there was one.
    fn start_due(&mut self) -> bool {
        let (now, pause) = (clock::now(), self.options.pause);
        let start = |(name, hook): (&OsString, &mut Hook)| Some((name.clone(), hook.queue.start(now, pause)?));
        let due: Vec<(OsString, Notice)> = self.hooks.iter_mut().filter_map(start).collect();
        for (name, notice) in &due {
            let started = self.start(name, notice);
            let Some(hook) = self.hooks.get_mut(name) else { continue };
            match started {
                Ok(child) => hook.running = Some((child, now.after(self.options.limit))),
                Err(error) => {
                    hook.queue.ended();
                    say(format_args!("onit: hooks: cannot run {}: {error}", self.dir.join(name).display()));
                }
            }
        }
        !due.is_empty()
    }

    /// `HOOK EVENT SERVICE OLD NEW`, in a process group of its own, with the last lines of the log as its input.
    fn start(&mut self, name: &OsString, Notice { event, count }: &Notice) -> std::io::Result<Child> {
        let mut command = Command::new(self.dir.join(name));
        let state = |state: &Option<Word<_>>| state.as_ref().map(Word::to_string);
        let words = [Some(event.what.to_string()), event.name.clone(), state(&event.old), state(&event.new)];
        command.args(words.map(|word| word.unwrap_or_else(|| "-".into())));
        let more = [("ONIT_COUNT", Some(count.to_string())), ("ONIT_REASON", self.reason(event))];
        for (name, value) in event::variables(event).into_iter().chain(more) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.stdin(Stdio::piped()).process_group(0).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(self.log(event).as_bytes()); // a pipe has room for all of it
        }
        Ok(child)
    }

    /// Why it is so, as the supervisor knows it now.
    fn reason(&mut self, event: &Event) -> Option<String> {
        let status = self.supervisor.api.status(event.name.as_ref()?).ok()?;
        status.reason.or(status.trouble)
    }

    /// The last lines of its log, if it has a logger with a file where loggers have them by custom.
    fn log(&self, event: &Event) -> String {
        let Some(name) = event.name.as_ref().filter(|name| !name.contains('/')) else { return String::new() };
        let places = tail::customary(&self.supervisor.services.join(name).join("log"));
        let lines = places.iter().find_map(|file| tail::tail(file).ok()).unwrap_or_default();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Tells what has failed, and kills what takes too long.
    fn reap(&mut self) {
        let now = clock::now();
        for (name, hook) in &mut self.hooks {
            let Some((child, limit)) = &mut hook.running else { continue };
            match child.try_wait() {
                Ok(None) if *limit > now => continue,
                Ok(None) => {
                    kill(child, Signal::KILL);
                    let _ = child.wait();
                    let limit = phrase::span(self.options.limit.as_secs_f64());
                    say(format_args!("onit: hooks: {}: killed after {limit}", name.display()));
                }
                Ok(Some(status)) if status.success() => {}
                Ok(Some(status)) => say(format_args!("onit: hooks: {}: {}", name.display(), super::end_of(status))),
                Err(error) => say(format_args!("onit: hooks: {}: {error}", name.display())),
            }
            hook.running = None;
            hook.queue.ended();
        }
    }

    fn end(&mut self) {
        self.hooks.values().filter_map(|hook| hook.running.as_ref()).for_each(|(child, _)| kill(child, Signal::TERM));
    }
}

fn kill(child: &Child, signal: Signal) {
    let _ = process::kill(Pid(child.id().cast_signed()), signal, Target::Group); // it may have ended
}

fn is_told_to_end(signals: &Signals) -> bool {
    let ends = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];
    std::iter::from_fn(|| signals.next()).fold(false, |end, signal| end | ends.contains(&signal))
}
