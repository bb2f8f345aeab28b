//! `onit loaders`: asks the programs in a directory for their jobs, and writes each job as a directory of a service, which
//! the supervisor takes in. The supervisor keeps this process alive, and jobs live without it: it may end at any moment.
//!
//! What follows from what is in `engine.rs`; here are the processes, pipes, files and sockets.

mod engine;
mod job;
mod place;
mod stub;
#[cfg(test)]
mod tests;

pub use stub::loaded;

use crate::client::Deadline;
use crate::client::api::{Api, Event, EventKind};
use crate::exit;
use crate::machine::{Mono, Pid, ServiceState, Signal, Target};
use crate::sys::manager::Manager;
use crate::sys::poll::Poller;
use crate::sys::say::say;
use crate::sys::signals::Signals;
use crate::sys::socket::{Connection, Listener};
use crate::sys::watch::{Interest, Mark, News, Notifier};
use crate::sys::{Errno, clock, fs, process, rescue, socket};
use crate::wire::api::{ExitRecord, Order};
use crate::wire::godv1::{self, Reader};
use engine::{Action, Engine, LoaderId, Stamp, Token};
use job::Seen;
use place::Place;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What is read of a loader at a time.
const PIECE: usize = 65_536;
/// A line of its standard error that is longer is several.
const LINE: usize = 4096;
/// A supervisor that does not listen yet, and a directory that cannot be watched, are looked at this often.
const LOOK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(2);
/// What it takes to hold the place.
const LOCK: &str = ".lock";
/// Told to end, it waits no longer for loaders that do not answer. The supervisor gives it two seconds.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Another one that is ending has this long.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

const SIGNALS: u64 = 0;
const WATCH: u64 = 1;
const LISTENER: u64 = 2;
const API: u64 = 3;
/// From here on: two for each loader.
const LOADERS: u64 = 16;
/// From here on: who asks.
const ASKS: u64 = 1 << 62;

/// A loader that runs.
struct Running {
    file: String,
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
    reader: Reader,
    line: Vec<u8>,
}

/// Who asks what to become, or how to stop.
struct Asker {
    connection: Connection,
    reader: Reader,
}

struct Helper {
    dir: PathBuf,
    services: PathBuf,
    place: Place,
    engine: Engine,
    poller: Poller,
    signals: Signals,
    notifier: Notifier,
    mark: Option<Mark>,
    listener: Listener,
    api: Option<Api>,
    /// When the supervisor is looked for, and the directory.
    connect_at: Option<Mono>,
    look_at: Option<Mono>,
    parent: u32,
    running: BTreeMap<LoaderId, Running>,
    dying: Vec<Child>,
    askers: BTreeMap<Token, Asker>,
    last_token: Token,
    orders: VecDeque<(Order, String)>,
    trouble: String,
    _lock: OwnedFd,
}

/// Runs it. Returns the exit code.
pub fn loaders(args: &[OsString]) -> i32 {
    let [dir, into, place, services_option, services] = args else { return usage() };
    if into != "--into" || services_option != "--services" {
        return usage();
    }
    match Helper::begin(dir.into(), place.into(), services.into()) {
        Ok(Some(mut helper)) => helper.run(),
        Ok(None) => exit::OK,
        Err(why) => {
            say(format_args!("onit: loaders: {why}"));
            exit::SYSTEM
        }
    }
}

fn usage() -> i32 {
    say("onit: loaders is started by onit run --loaders");
    exit::USAGE
}

fn told_to_end(signals: &Signals) -> (bool, bool) {
    let all: Vec<Signal> = std::iter::from_fn(|| signals.next()).collect();
    let ends = [Signal::TERM, Signal::INT, Signal::QUIT];
    (all.iter().any(|signal| ends.contains(signal)), all.contains(&Signal::HUP))
}

impl Helper {
    fn begin(dir: PathBuf, path: PathBuf, services: PathBuf) -> Result<Option<Helper>, String> {
        let said = |what: &str, errno: Errno| format!("cannot {what}: {}", errno.desc());
        let signals = Signals::take_over().map_err(|errno| said("take signals", errno))?;
        let here = fs::open_path(&path).map_err(|errno| said(&format!("open {}", path.display()), errno))?;
        let Some(lock) = lock(&here, &signals).map_err(|errno| said(&format!("lock {}", path.display()), errno))?
        else {
            return Ok(None);
        };
        let listener = socket::listen(&here, ".socket", 0o600).map_err(|errno| said("listen", errno))?;
        let program = rescue::program_path().ok_or("cannot find its own program")?;
        let place = Place::new(path, services.clone(), program, dir.clone());
        let mut engine = Engine::default();
        for place::Found { name, loader, program } in place.found() {
            engine.restore(name, loader, program);
        }
        let poller = Poller::new().map_err(|errno| said("wait", errno))?;
        let notifier = Notifier::new().map_err(|errno| said("watch", errno))?;
        poller.add(&signals, SIGNALS).map_err(|errno| said("wait", errno))?;
        poller.add(&notifier, WATCH).map_err(|errno| said("wait", errno))?;
        poller.add(&listener, LISTENER).map_err(|errno| said("wait", errno))?;
        let now = clock::now();
        Ok(Some(Helper {
            dir,
            services,
            place,
            engine,
            poller,
            signals,
            notifier,
            mark: None,
            listener,
            api: None,
            connect_at: Some(now),
            look_at: Some(now),
            parent: std::os::unix::process::parent_id(),
            running: BTreeMap::new(),
            dying: Vec::new(),
            askers: BTreeMap::new(),
            last_token: 0,
            orders: VecDeque::new(),
            trouble: String::new(),
            _lock: lock,
        }))
    }

    /// When it is told to end, the loaders still hear what has become of their jobs.
    fn run(&mut self) -> i32 {
        let mut ends_by = None;
        loop {
            self.work();
            let is_over = ends_by.is_some_and(|by| by <= clock::now() || !self.engine.is_telling());
            if is_over || std::os::unix::process::parent_id() != self.parent {
                self.running.values_mut().for_each(|loader| kill(&loader.child));
                return exit::OK;
            }
            let deadlines = [self.engine.deadline(), self.connect_at, self.look_at, ends_by];
            let deadline = deadlines.into_iter().flatten().min();
            let ready: Vec<u64> = self.poller.wait(clock::now(), deadline).collect();
            let (ends, looks) = told_to_end(&self.signals);
            if ends {
                ends_by.get_or_insert_with(|| clock::now().after(LAST_WORDS));
            }
            if looks {
                self.look(true);
            }
            ready.into_iter().for_each(|token| self.ready(token));
            self.reap();
            self.engine.tick(clock::now());
        }
    }

    /// What is due, and what follows from it, until nothing does.
    fn work(&mut self) {
        let now = clock::now();
        if self.connect_at.take_if(|at| *at <= now).is_some() {
            self.connect();
        }
        if self.look_at.take_if(|at| *at <= now).is_some() {
            self.look(false);
        }
        loop {
            self.take_events();
            let actions = self.engine.take();
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.act(action));
            self.give_orders();
        }
    }

    fn ready(&mut self, token: u64) {
        match token {
            SIGNALS | API => {} // are looked at in each turn
            WATCH => self.changed(),
            LISTENER => self.accept(),
            asker if asker >= ASKS => self.read_asker(asker - ASKS),
            loader if loader % 2 == 0 => self.read_loader((loader - LOADERS) / 2),
            loader => self.read_errors((loader - LOADERS) / 2),
        }
    }

    // The directory of loaders.

    fn changed(&mut self) {
        let itself = |news: &News| !matches!(news, News::At(_, Some(_)));
        if self.notifier.news().iter().any(itself)
            && let Some(mark) = self.mark.take()
        {
            self.notifier.remove(mark);
        }
        self.look(false);
    }

    /// Looks which programs there are.
    fn look(&mut self, anew: bool) {
        let now = clock::now();
        if self.mark.is_none() {
            self.mark = self.notifier.add(&self.dir, Interest::Programs).ok();
        }
        self.look_at = self.mark.is_none().then(|| now.after(SLOW));
        match programs(&self.dir) {
            Ok(found) => {
                self.trouble.clear();
                self.engine.files(now, &found, anew);
            }
            Err(error) => {
                self.warn_of_directory(&format!("cannot read {}: {error}; waiting for it", self.dir.display()))
            }
        }
    }

    fn warn_of_directory(&mut self, trouble: &str) {
        if self.trouble != trouble {
            warn(trouble);
            self.trouble = trouble.to_owned();
        }
    }

    // Loaders.

    fn start(&mut self, id: LoaderId, file: String) {
        let mut command = Command::new(self.dir.join(&file));
        command.arg(godv1::GOD_WORD).env(godv1::VARIABLE, godv1::ONIT_WORD).current_dir(&self.dir).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = command.spawn().map_err(|error| error.to_string()).and_then(|child| self.watch(id, file, child));
        match running {
            Ok(running) => _ = self.running.insert(id, running),
            Err(why) => self.engine.ended(clock::now(), id, &format!("cannot be started: {why}")),
        }
    }

    fn watch(&self, id: LoaderId, file: String, mut child: Child) -> Result<Running, String> {
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("it has no pipes".into());
        };
        let never_wait = [fs::never_wait(&input), fs::never_wait(&output), fs::never_wait(&errors)];
        let added = [self.poller.add(&output, LOADERS + 2 * id), self.poller.add(&errors, LOADERS + 2 * id + 1)];
        for result in never_wait.into_iter().chain(added) {
            if let Err(errno) = result {
                kill(&child);
                let _ = child.wait(); // KILL was sent
                return Err(errno.desc().to_owned());
            }
        }
        Ok(Running { file, child, input, output, errors, reader: Reader::default(), line: Vec::new() })
    }

    fn read_loader(&mut self, id: LoaderId) {
        let Some(loader) = self.running.get_mut(&id) else { return };
        let mut piece = vec![0; PIECE];
        match fs::read_now(&loader.output, &mut piece) {
            Ok(0) => self.lost(id),
            Ok(length) => {
                loader.reader.push(piece.get(..length).unwrap_or_default());
                self.read_messages(id);
            }
            Err(_) => {} // nothing there after all
        }
    }

    fn read_messages(&mut self, id: LoaderId) {
        while let Some(loader) = self.running.get_mut(&id) {
            let now = clock::now();
            match loader.reader.message() {
                Ok(Some(words)) => self.engine.said(now, id, words),
                Ok(None) => return,
                Err(broken) => self.engine.broken(now, id, &format!("says {broken}")),
            }
            let actions = self.engine.take();
            actions.into_iter().for_each(|action| self.act(action)); // it may be killed for that
        }
    }

    fn read_errors(&mut self, id: LoaderId) {
        let Some(loader) = self.running.get_mut(&id) else { return };
        let mut piece = vec![0; LINE];
        match fs::read_now(&loader.errors, &mut piece) {
            Ok(0) => _ = self.poller.remove(&loader.errors),
            Ok(length) => {
                loader.line.extend_from_slice(piece.get(..length).unwrap_or_default());
                loader.say_lines();
            }
            Err(_) => {}
        }
    }

    /// Its output has ended, so it can say nothing more.
    fn lost(&mut self, id: LoaderId) {
        let Some(mut loader) = self.running.remove(&id) else { return };
        let how = match loader.child.try_wait() {
            Ok(Some(status)) => format!("has ended: {}", super::end_of(status)),
            _ => "has closed its standard output".to_owned(),
        };
        kill(&loader.child);
        loader.say_rest();
        self.dying.push(loader.child);
        self.engine.ended(clock::now(), id, &how);
    }

    fn reap(&mut self) {
        self.dying.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let has_ended = |loader: &mut Running| !matches!(loader.child.try_wait(), Ok(None));
        let ended: Vec<LoaderId> =
            self.running.iter_mut().filter_map(|(id, loader)| has_ended(loader).then_some(*id)).collect();
        for id in ended {
            // What it has said last is read first; its output ends with it, unless it has left that to another process.
            self.read_loader(id);
            self.lost(id);
        }
    }

    fn stop_loader(&mut self, id: LoaderId) {
        if let Some(mut loader) = self.running.remove(&id) {
            kill(&loader.child);
            loader.say_rest();
            self.dying.push(loader.child);
        }
    }

    fn send(&mut self, id: LoaderId, line: &str) {
        let Some(loader) = self.running.get_mut(&id) else { return };
        match loader.input.write_all(line.as_bytes()) {
            Ok(()) => {}
            // It has ended, and is about to be reaped; or it does not answer in time.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(_) => self.engine.broken(clock::now(), id, "does not read what it is asked"),
        }
    }

    // Processes that are about to become jobs, or to stop them.

    fn accept(&mut self) {
        while let Ok(Some((connection, _))) = self.listener.accept() {
            self.last_token += 1;
            if self.poller.add(&connection, ASKS + self.last_token).is_ok() {
                self.askers.insert(self.last_token, Asker { connection, reader: Reader::default() });
            }
        }
    }

    fn read_asker(&mut self, token: Token) {
        let Some(asker) = self.askers.get_mut(&token) else { return };
        let mut piece = [0; LINE];
        match asker.connection.read(&mut piece) {
            Some(bytes) => asker.reader.push(bytes),
            None => {
                self.askers.remove(&token);
                return;
            }
        }
        match asker.reader.message() {
            Ok(Some(words)) => self.asked(token, &words),
            Ok(None) => {}
            Err(_) => _ = self.askers.remove(&token),
        }
    }

    fn asked(&mut self, token: Token, words: &[String]) {
        self.take_events(); // an end that was told before the start that follows it
        let now = clock::now();
        match words {
            [what, job, pid, address] if what == "run" => {
                self.engine.asks_to_run(now, token, job, pid.parse().unwrap_or_default(), address.clone());
            }
            [what, job] if what == "stop" => self.engine.asks_to_stop(now, token, job),
            _ => _ = self.askers.remove(&token),
        }
    }

    fn reply(&mut self, token: Token, text: &str) {
        if let Some(mut asker) = self.askers.remove(&token) {
            let _ = asker.connection.write(text.as_bytes()); // it may have been killed
        }
    }

    // The supervisor.

    fn connect(&mut self) {
        match self.try_to_connect() {
            Ok(()) => self.give_orders(),
            Err(_) => {
                self.api = None;
                self.connect_at = Some(clock::now().after(LOOK)); // it listens when all services have started
            }
        }
    }

    fn try_to_connect(&mut self) -> crate::client::Result<()> {
        let mut api = Api::find_for(&self.services)?;
        api.subscribe()?;
        let all = api.all()?;
        let now = clock::now();
        for service in &all {
            let state = service.state.known().unwrap_or(ServiceState::Unknown);
            let seen = Seen { state, pid: service.pid, exit: code(service.exit.as_ref()) };
            self.engine.sync(now, &service.name, seen, self.place.address(&service.name));
        }
        let names: Vec<String> = all.into_iter().map(|service| service.name).collect();
        let gone: Vec<String> = self.engine.names().filter(|name| !names.contains(name)).cloned().collect();
        gone.iter().for_each(|name| self.engine.gone(now, name));
        self.place.forget_all_but(&names);
        let _ = self.poller.add(&api, API); // or it is heard with the next thing that happens
        self.api = Some(api);
        Ok(())
    }

    fn take_events(&mut self) {
        while let Some(api) = &mut self.api {
            match api.event(Deadline::after(Duration::ZERO)) {
                Ok(Some(event)) => self.on_event(&event),
                Ok(None) => return,
                Err(_) => {
                    self.api = None;
                    self.connect_at = Some(clock::now()); // it may have executed itself anew
                }
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        let Some(name) = &event.name else { return };
        let now = clock::now();
        match event.what.known() {
            Some(EventKind::State) => {
                let Some(state) = event.new.as_ref().and_then(|state| state.known()) else { return };
                let seen = Seen { state, pid: event.pid, exit: code(event.exit.as_ref()) };
                self.engine.state(now, name, seen);
            }
            Some(EventKind::Removed) => {
                self.place.forget(name);
                self.engine.gone(now, name);
            }
            _ => {}
        }
    }

    fn give_orders(&mut self) {
        while let (Some(api), Some((order, name))) = (&mut self.api, self.orders.pop_front()) {
            if let Err(error) = api.order(order, &name) {
                warn(&format!("{name}: the order {} is refused: {}", order.word(), error.why()));
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(id, file) => self.start(id, file),
            Action::Kill(id) => self.stop_loader(id),
            Action::Send(id, line) => self.send(id, &line),
            Action::Warn(line) => warn(&line),
            Action::Install(name, definition) => {
                if let Err(why) = self.place.install(&name, &definition) {
                    self.engine.refused(&name, &why);
                }
            }
            Action::Update(name, definition) => {
                self.place.update(&name, &definition).unwrap_or_else(|why| warn(&why));
            }
            Action::Remove(name) => self.place.put_aside(&name),
            Action::Write(name, file, text) => {
                let written = self.place.write(&name, file, &text);
                written.unwrap_or_else(|error| warn(&format!("{name}: cannot write {file}: {error}")));
            }
            Action::Keep(name, program) => {
                let written = self.place.keep(&name, &program);
                written.unwrap_or_else(|error| warn(&format!("{name}: cannot keep what to run: {error}")));
            }
            Action::AllSaid => self.place.all_said(),
            Action::Order(order, name) => self.orders.push_back((order, name)),
            Action::Notify(address, text) => {
                Manager::at(address.into()).into_iter().for_each(|supervisor| supervisor.notify(&text));
            }
            Action::Become(token, Ok(program)) => self.reply(token, &self.place.text(&program)),
            Action::Become(token, Err(why)) => self.reply(token, &godv1::message(&["error", &why])),
            Action::Stopped(token, handled) => {
                self.give_orders(); // the signal comes first
                self.reply(token, &godv1::message(&[if handled { "stopped" } else { "signal" }]));
            }
        }
    }
}

impl Running {
    /// Whole lines, and what is too long for one.
    fn say_lines(&mut self) {
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.say(&line);
        }
        if self.line.len() >= LINE {
            self.say_rest();
        }
    }

    fn say_rest(&mut self) {
        let mut piece = vec![0; LINE];
        let length = fs::read_now(&self.errors, &mut piece).unwrap_or_default();
        self.line.extend_from_slice(piece.get(..length).unwrap_or_default());
        let rest = std::mem::take(&mut self.line);
        rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| self.say(line));
    }

    fn say(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        say(format_args!("onit: loaders: {} L: {}", self.file, line.trim_end().replace(char::is_control, "?")));
    }
}

fn code(exit: Option<&ExitRecord>) -> Option<i32> {
    exit.map(|exit| exit.code.map_or(-1, i32::from))
}

fn warn(line: &str) {
    say(format_args!("onit: loaders: {}", line.replace(char::is_control, "?")));
}

fn kill(child: &Child) {
    let _ = process::kill(Pid(child.id().cast_signed()), Signal::KILL, Target::Group); // it may have ended
}

/// `None`: told to end meanwhile.
fn lock(place: &OwnedFd, signals: &Signals) -> Result<Option<OwnedFd>, Errno> {
    let until = clock::now().after(LOCK_LIMIT);
    loop {
        match fs::lock(place, LOCK) {
            Err(Errno::EAGAIN) if clock::now() < until => {}
            result => return result.map(Some),
        }
        crate::sys::poll::pause(LOOK)?;
        if told_to_end(signals).0 {
            return Ok(None);
        }
    }
}

/// The programs in the directory. A backup of an editor is none.
fn programs(dir: &Path) -> std::io::Result<BTreeMap<String, Stamp>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir)?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(it) = std::fs::metadata(entry.path()) else { continue };
        let is_program = it.is_file() && it.permissions().mode() & 0o111 != 0;
        if is_program && !name.starts_with('.') && !name.ends_with('~') {
            let changed = it.ctime().saturating_mul(1_000_000_000).saturating_add(it.ctime_nsec());
            found.insert(name, (it.dev(), it.ino(), it.size().cast_signed(), it.mtime(), changed));
        }
    }
    Ok(found)
}
