//! What follows from what loaders, the supervisor and starting jobs say, and from time. Pure: actions are returned.
//!
//! A loader is a program in the directory of loaders that runs and has said its jobs. A changed program is started beside
//! the one that runs, and takes its place when it has said all that is asked of its jobs; so a program that has become
//! useless changes nothing. A job belongs to the file of its loader, and lives whether that runs or not.

use super::job::{Ask, Event, Job, Seen, State};
use crate::machine::Mono;
use crate::wire::api::Order;
use crate::wire::godv1::{self, Auto, Check, Command, Hello, Property, Protocol};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A loader says its hello within this.
const HELLO: Duration = Duration::from_millis(500);
/// And answers within this.
const ANSWER: Duration = Duration::from_secs(5);
/// Where requests have numbers a check may take longer: nothing else waits for it.
const LONG_CHECK: Duration = Duration::from_secs(60);
/// So many requests with numbers may be on their way to one loader.
const ON_THEIR_WAY: usize = 64;
/// No loader has more jobs.
const JOBS: usize = 1000;
/// A program that has never been a loader is tried so often.
const TRIES: u32 = 5;
/// The pause before a loader is started again doubles up to this, and begins anew when one has lived for so long.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One that is written in place is left in peace for a moment.
const WRITTEN: Duration = Duration::from_millis(100);
/// What is not to be said twice is remembered up to this.
const REMEMBERED: usize = 1000;

/// A loader that was started.
pub type LoaderId = u64;
/// Who waits for a reply.
pub type Token = u64;
/// What a file was when it was looked at.
pub type Stamp = (u64, u64, i64, i64, i64);

/// What is to be written of a job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Definition {
    /// The file of the loader that says so.
    pub file: String,
    /// When it starts.
    pub auto: Auto,
    /// What reads its output.
    pub log: Vec<String>,
    /// Lines for `sockets`.
    pub sockets: Vec<String>,
}

/// A program and its environment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program {
    /// Its name first.
    pub argv: Vec<String>,
    /// None: inherited.
    pub env: Vec<String>,
}

/// What is to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Starts the program of this name.
    Start(LoaderId, String),
    /// Kills it; it is known no more.
    Kill(LoaderId),
    /// Sends this to it.
    Send(LoaderId, String),
    /// Says this.
    Warn(String),
    /// Makes the directory of a job.
    Install(String, Definition),
    /// Changes it.
    Update(String, Definition),
    /// Takes it away.
    Remove(String),
    /// Writes one of its files.
    Write(String, &'static str, String),
    /// Keeps what it runs.
    Keep(String, Program),
    /// All loaders that were there at first have said their jobs, or will not.
    AllSaid,
    /// Gives an order to the supervisor.
    Order(Order, String),
    /// Tells the supervisor, for the run that listens there.
    Notify(String, String),
    /// The program that a job becomes; or why it becomes none.
    Become(Token, Result<Program, String>),
    /// What is to be done to stop a job has been done. Not so: it gets its signal.
    Stopped(Token, bool),
}

#[derive(Clone, Debug)]
struct Call {
    job: String,
    what: What,
    /// The process that it is about.
    run: Option<i32>,
}

#[derive(Clone, Debug)]
enum What {
    Ask(Property),
    Told(Event),
}

#[derive(Debug)]
struct Loader {
    file: String,
    protocol: Option<Protocol>,
    hello_by: Mono,
    queue: VecDeque<Call>,
    sent: BTreeMap<u64, (Call, Mono)>,
    next: u64,
    /// What it says of its jobs, and how much it has not said yet.
    offers: BTreeMap<String, Definition>,
    unsaid: usize,
    settled: Option<Mono>,
}

#[derive(Debug, Default)]
struct File {
    stamp: Stamp,
    /// The loader of its jobs.
    current: Option<LoaderId>,
    /// The one that is to take its place.
    next: Option<LoaderId>,
    start_at: Option<Mono>,
    failures: u32,
    was_loader: bool,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Engine {
    files: BTreeMap<String, File>,
    loaders: BTreeMap<LoaderId, Loader>,
    jobs: BTreeMap<String, Job>,
    last_id: LoaderId,
    told: BTreeSet<String>,
    all_said: bool,
    actions: Vec<Action>,
}

impl Engine {
    /// What is to be done now.
    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`tick`](Engine::tick) is due.
    pub fn deadline(&self) -> Option<Mono> {
        let files = self.files.values().filter_map(|file| file.start_at);
        let hellos = self.loaders.values().filter(|it| it.protocol.is_none()).map(|it| it.hello_by);
        let answers = self.loaders.values().flat_map(|it| it.sent.values().map(|(_, by)| *by));
        let has_loader = |job: &Job| self.current(&job.file).is_some();
        let checks = self.jobs.values().filter(|job| has_loader(job)).filter_map(Job::check_due);
        let kills = self.jobs.values().filter_map(|job| job.kill_at);
        files.chain(hellos).chain(answers).chain(checks).chain(kills).min()
    }

    /// Whether a loader has not yet taken what it is told of its jobs.
    pub fn is_telling(&self) -> bool {
        let is_told = |call: &Call| matches!(call.what, What::Told(_));
        let sent = |loader: &Loader| loader.sent.values().any(|(call, _)| is_told(call));
        self.loaders.values().any(|loader| sent(loader) || loader.queue.iter().any(is_told))
    }

    /// A job of which an earlier process like this one has made the directory.
    pub fn restore(&mut self, name: String, file: String, program: Option<Program>) {
        self.jobs.insert(name, Job { file, program, ..Job::default() });
    }

    /// How a job is when the supervisor is first asked. `address`: where its run listens, if that was known before us.
    pub fn sync(&mut self, now: Mono, name: &str, seen: Seen, address: String) {
        let Some(job) = self.jobs.get_mut(name) else { return };
        job.sync(now, &seen, address);
        self.state(now, name, seen);
    }

    /// The names of all jobs that are there.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.jobs.keys()
    }

    /// These programs are in the directory. `anew`: also what was given up is tried again.
    pub fn files(&mut self, now: Mono, found: &BTreeMap<String, Stamp>, anew: bool) {
        if anew {
            self.told.clear();
        }
        let gone: Vec<String> = self.files.keys().filter(|name| !found.contains_key(*name)).cloned().collect();
        gone.iter().for_each(|name| self.file_gone(now, name));
        for (name, stamp) in found {
            let file =
                self.files.entry(name.clone()).or_insert_with(|| File { start_at: Some(now), ..File::default() });
            let is_new = file.stamp == Stamp::default();
            let is_changed = file.stamp != *stamp && !is_new;
            file.stamp = *stamp;
            if is_changed {
                (file.start_at, file.failures) = (Some(now.after(WRITTEN)), 0);
                file.was_loader = false;
                if let Some(next) = file.next.take() {
                    self.forget(now, next);
                }
            } else if anew && file.current.is_none() && file.next.is_none() {
                (file.start_at, file.failures) = (Some(now), 0);
            }
        }
        self.offer_again(now);
        self.tick(now);
    }

    fn file_gone(&mut self, now: Mono, name: &str) {
        let Some(file) = self.files.remove(name) else { return };
        file.current.into_iter().chain(file.next).for_each(|id| self.forget(now, id));
    }

    /// Jobs of a file that has gone go, when no program is left that could turn out to be their loader.
    fn sweep(&mut self) {
        let is_open = |file: &File| file.failures == 0 && (file.next.is_some() || file.start_at.is_some());
        if self.files.values().any(is_open) {
            return;
        }
        if !std::mem::replace(&mut self.all_said, true) {
            self.actions.push(Action::AllSaid);
        }
        let orphans = self.jobs.iter().filter(|(_, job)| !self.files.contains_key(&job.file) && !job.is_leaving);
        let orphans: Vec<String> = orphans.map(|(name, _)| name.clone()).collect();
        orphans.iter().for_each(|name| self.remove(name));
    }

    fn remove(&mut self, name: &str) {
        if let Some(job) = self.jobs.get_mut(name).filter(|job| !job.is_leaving) {
            (job.is_leaving, job.check_at) = (true, None);
            self.actions.push(Action::Remove(name.to_owned()));
        }
    }

    /// What is due.
    pub fn tick(&mut self, now: Mono) {
        let mut started = Vec::new();
        for (name, file) in &mut self.files {
            if file.start_at.take_if(|at| *at <= now).is_some() {
                self.last_id += 1;
                file.next = Some(self.last_id);
                started.push((self.last_id, name.clone()));
            }
        }
        for (id, file) in started {
            self.actions.push(Action::Start(id, file.clone()));
            self.loaders.insert(id, Loader::new(file, now.after(HELLO)));
        }
        let late: Vec<(LoaderId, String)> =
            self.loaders.iter().filter_map(|(id, loader)| Some((*id, loader.is_late(now)?))).collect();
        for (id, why) in late {
            self.fail(now, id, &why);
        }
        self.tick_jobs(now);
        self.sweep();
    }

    fn tick_jobs(&mut self, now: Mono) {
        let (mut checks, mut kills) = (Vec::new(), Vec::new());
        for (name, job) in &mut self.jobs {
            if job.kill_at.take_if(|at| *at <= now).is_some() {
                kills.push(name.clone());
            }
            if job.check_due().is_some_and(|at| at <= now) {
                checks.push(name.clone());
            }
        }
        self.actions.extend(kills.into_iter().map(|name| Action::Order(Order::Kill, name)));
        for name in checks {
            if self.call(now, &name, What::Ask(Property::Check))
                && let Some(job) = self.jobs.get_mut(&name)
            {
                job.is_checking = true;
            }
        }
    }

    fn current(&self, file: &str) -> Option<LoaderId> {
        self.files.get(file)?.current
    }

    /// Asks the loader of a job. False: there is none now.
    fn call(&mut self, now: Mono, job: &str, what: What) -> bool {
        let Some(it) = self.jobs.get(job) else { return false };
        let Some(id) = self.current(&it.file) else { return false };
        if let Some(loader) = self.loaders.get_mut(&id) {
            loader.queue.push_back(Call { job: job.to_owned(), what, run: it.pid() });
        }
        self.send(now, id);
        true
    }

    /// As many of the requests that wait as may be on their way.
    fn send(&mut self, now: Mono, id: LoaderId) {
        let Some(loader) = self.loaders.get_mut(&id) else { return };
        while let Some(call) = loader.next_call() {
            let number = loader.next;
            let line = loader.request(number, &call);
            loader.next += 1;
            let by = now.after(loader.limit(&call));
            loader.sent.insert(number, (call, by));
            self.actions.push(Action::Send(id, line));
        }
    }

    /// A loader has said something.
    pub fn said(&mut self, now: Mono, id: LoaderId, words: Vec<String>) {
        let Some(loader) = self.loaders.get_mut(&id) else { return };
        if loader.protocol.is_none() {
            return match Hello::parse(words) {
                Ok(hello) => self.hello(now, id, hello),
                Err(why) => self.fail(now, id, &format!("is no loader: {why}")),
            };
        }
        match loader.answered(words) {
            Some((call, words)) => {
                self.answer(now, id, &call, words);
                self.send(now, id);
                self.tick(now);
            }
            None => self.fail(now, id, "answers what was not asked"),
        }
    }

    fn hello(&mut self, now: Mono, id: LoaderId, Hello { protocol, jobs }: Hello) {
        if jobs.len() > JOBS {
            return self.fail(now, id, &format!("has more than {JOBS} jobs"));
        }
        let Some(loader) = self.loaders.get_mut(&id) else { return };
        loader.protocol = Some(protocol);
        let properties: &[Property] = match protocol {
            Protocol::God => &[Property::Auto],
            Protocol::Onit => &[Property::Auto, Property::Log, Property::Sockets],
        };
        for job in jobs {
            if !godv1::is_job_name(&job) {
                let line = format!("{}: {job:?} can be no name of a job", loader.file);
                self.actions.push(Action::Warn(line));
                continue;
            }
            let offer = Definition { file: loader.file.clone(), ..Definition::default() };
            if loader.offers.insert(job.clone(), offer).is_none() {
                let calls =
                    properties.iter().map(|property| Call { job: job.clone(), what: What::Ask(*property), run: None });
                loader.queue.extend(calls);
                loader.unsaid += properties.len();
            }
        }
        self.send(now, id);
        self.settle(now, id);
    }

    fn answer(&mut self, now: Mono, id: LoaderId, call: &Call, words: Vec<String>) {
        match call.what {
            What::Told(_) => {}
            What::Ask(Property::Auto | Property::Log | Property::Sockets) => self.defined(now, id, call, words),
            What::Ask(Property::Exec) => match godv1::exec(words) {
                Ok(argv) => {
                    let ask = self.jobs.get_mut(&call.job).and_then(|job| job.ask.as_mut());
                    ask.into_iter().for_each(|ask| ask.argv.clone_from(&argv));
                    self.call(now, &call.job, What::Ask(Property::Env));
                }
                Err(why) => self.becomes_nothing(&call.job, why),
            },
            What::Ask(Property::Env) => match godv1::env(words) {
                Ok(env) => self.becomes(now, &call.job, env),
                Err(why) => self.becomes_nothing(&call.job, why),
            },
            What::Ask(Property::Check) if self.jobs.get(&call.job).and_then(Job::pid) != call.run => {} // an earlier one
            What::Ask(Property::Check) => match Check::parse(&words) {
                Ok(check) => self.checked(now, &call.job, check),
                Err(why) => {
                    self.warn_once(format!("{}: {why}", call.job));
                    self.check_later(now, &call.job, godv1::CHECK_AGAIN);
                }
            },
            What::Ask(Property::Stop) => {
                let limit = godv1::stop(&words).unwrap_or_else(|why| {
                    self.warn_once(format!("{}: {why}", call.job));
                    None
                });
                self.stopped(now, &call.job, limit);
            }
        }
    }

    fn defined(&mut self, now: Mono, id: LoaderId, call: &Call, words: Vec<String>) {
        let Some(loader) = self.loaders.get_mut(&id) else { return };
        loader.unsaid = loader.unsaid.saturating_sub(1);
        let mut bad = None;
        if let Some(offer) = loader.offers.get_mut(&call.job) {
            match &call.what {
                What::Ask(Property::Log) => match godv1::exec(words.clone()) {
                    Ok(argv) => offer.log = argv,
                    Err(why) => bad = (!words.is_empty()).then_some(format!("log: {why}")),
                },
                What::Ask(Property::Sockets) => offer.sockets = words,
                _ => offer.auto = Auto::parse(words),
            }
            if let Auto::After(others) = &mut offer.auto {
                bad = others
                    .iter()
                    .find(|it| !godv1::is_job_name(it))
                    .map(|it| format!("auto: {it:?} is no job"))
                    .or(bad);
                others.retain(|other| godv1::is_job_name(other));
            }
        }
        bad.into_iter().for_each(|bad| self.warn_once(format!("{}: {bad}", call.job)));
        self.settle(now, id);
    }

    /// A loader that has said everything takes the place of the one before.
    fn settle(&mut self, now: Mono, id: LoaderId) {
        let Some(loader) = self.loaders.get_mut(&id).filter(|it| it.unsaid == 0 && it.settled.is_none()) else {
            return;
        };
        loader.settled = Some(now);
        let (name, offers) = (loader.file.clone(), loader.offers.clone());
        let Some(file) = self.files.get_mut(&name) else { return };
        let old = file.current.replace(id);
        (file.next, file.was_loader) = (None, true);
        let lost = self.jobs.iter().filter(|(job, it)| it.file == name && !offers.contains_key(*job));
        let lost: Vec<String> = lost.map(|(job, _)| job.clone()).collect();
        lost.iter().for_each(|job| self.remove(job));
        offers.into_iter().for_each(|(job, offer)| self.offer(now, job, offer));
        old.into_iter().for_each(|old| self.forget(now, old));
        self.sweep();
    }

    fn offer(&mut self, now: Mono, name: String, offer: Definition) {
        let Some(job) = self.jobs.get_mut(&name) else {
            let job = Job { file: offer.file.clone(), definition: Some(offer.clone()), ..Job::default() };
            self.jobs.insert(name.clone(), job);
            return self.actions.push(Action::Install(name, offer));
        };
        if job.is_leaving {
            return; // it comes again when it has gone
        }
        if job.file != offer.file && self.files.contains_key(&job.file) {
            let line = format!("{}: {name} is a job of {} already; that one counts", offer.file, job.file);
            return self.warn_once(line);
        }
        job.file.clone_from(&offer.file);
        if job.definition.as_ref() != Some(&offer) {
            job.definition = Some(offer.clone());
            self.actions.push(Action::Update(name.clone(), offer));
        }
        if let Some(job) = self.jobs.get_mut(&name) {
            job.attach(now);
        }
    }

    /// What could not be taken when it was offered may be free by now.
    fn offer_again(&mut self, now: Mono) {
        let settled = self.loaders.values().filter(|loader| loader.settled.is_some());
        let offers = settled.flat_map(|loader| loader.offers.clone());
        let open: Vec<_> = offers.filter(|(name, _)| !self.jobs.contains_key(name)).collect();
        open.into_iter().for_each(|(name, offer)| self.offer(now, name, offer));
    }

    /// The directory of a job could not be made, or its name is another service's.
    pub fn refused(&mut self, name: &str, why: &str) {
        if let Some(job) = self.jobs.remove(name) {
            self.warn_once(format!("{}: the job {name} is refused: {why}", job.file));
        }
    }

    /// A loader says something that cannot be read, or does not read.
    pub fn broken(&mut self, now: Mono, id: LoaderId, why: &str) {
        self.fail(now, id, why);
    }

    /// A loader has ended.
    pub fn ended(&mut self, now: Mono, id: LoaderId, how: &str) {
        if let Some(loader) = self.loaders.get(&id) {
            let line = format!("{}: {how}", loader.file);
            self.actions.push(Action::Warn(line));
            self.lose(now, id);
        }
    }

    fn fail(&mut self, now: Mono, id: LoaderId, why: &str) {
        if let Some(loader) = self.loaders.get(&id) {
            let line = format!("{}: {why}; killing it", loader.file);
            self.actions.push(Action::Warn(line));
            self.actions.push(Action::Kill(id));
            self.lose(now, id);
        }
    }

    /// It has ended, or is as good as ended. It is started again.
    fn lose(&mut self, now: Mono, id: LoaderId) {
        let Some(loader) = self.loaders.get(&id) else { return };
        let has_lived = loader.settled.is_some_and(|since| now.since(since) >= LONGEST_PAUSE);
        let name = loader.file.clone();
        if let Some(file) = self.files.get_mut(&name) {
            file.current.take_if(|it| *it == id);
            file.next.take_if(|it| *it == id);
            file.failures = if has_lived { 1 } else { file.failures.saturating_add(1) };
            let pause = Duration::from_secs(1 << (file.failures - 1).min(5)).min(LONGEST_PAUSE);
            if file.was_loader || file.failures < TRIES {
                file.start_at = file.start_at.or(Some(now.after(pause)));
            } else {
                let line = format!("{name}: not tried again until it changes, or \"onit rescan\"");
                self.actions.push(Action::Warn(line));
            }
        }
        self.drop_calls(now, id);
        self.sweep();
    }

    /// It is needed no more.
    fn forget(&mut self, now: Mono, id: LoaderId) {
        if self.loaders.contains_key(&id) {
            self.actions.push(Action::Kill(id));
            self.drop_calls(now, id);
        }
    }

    /// Who waits for an answer of it is told by its successor, if there is one already, or by what is known.
    fn drop_calls(&mut self, now: Mono, id: LoaderId) {
        let Some(loader) = self.loaders.remove(&id) else { return };
        let was_settled = loader.settled.is_some();
        let calls = loader.sent.into_values().map(|(call, _)| call).chain(loader.queue);
        for Call { job, what, .. } in calls.filter(|_| was_settled) {
            match what {
                What::Ask(Property::Exec | Property::Env) => self.ask_exec(now, &job),
                What::Ask(Property::Stop) => self.ask_stop(now, &job),
                What::Ask(Property::Check) => self.check_later(now, &job, godv1::CHECK_AGAIN),
                What::Ask(Property::Auto | Property::Log | Property::Sockets) | What::Told(_) => {}
            }
        }
    }

    fn warn_once(&mut self, line: String) {
        if self.told.len() < REMEMBERED && self.told.insert(line.clone()) {
            self.actions.push(Action::Warn(line));
        }
    }
}

// Jobs.
impl Engine {
    /// A job is about to start, in this process, and asks what to become.
    pub fn asks_to_run(&mut self, now: Mono, token: Token, name: &str, pid: i32, address: String) {
        let Some(job) = self.jobs.get_mut(name) else {
            return self.actions.push(Action::Become(token, Err("no loader has this job".into())));
        };
        job.ask = Some(Ask { token, pid, address, argv: Vec::new() });
        self.ask_exec(now, name);
    }

    fn ask_exec(&mut self, now: Mono, name: &str) {
        if self.call(now, name, What::Ask(Property::Exec)) {
            return;
        }
        let Some(job) = self.jobs.get_mut(name).filter(|job| job.ask.is_some()) else { return };
        match job.program.clone() {
            Some(known) => {
                let argv = known.argv;
                job.ask.iter_mut().for_each(|ask| ask.argv.clone_from(&argv));
                self.becomes(now, name, known.env);
            }
            None => self.becomes_nothing(name, "its loader does not run".into()),
        }
    }

    fn becomes_nothing(&mut self, name: &str, why: String) {
        if let Some(ask) = self.jobs.get_mut(name).and_then(|job| job.ask.take()) {
            self.actions.push(Action::Become(ask.token, Err(why)));
        }
    }

    fn becomes(&mut self, now: Mono, name: &str, env: Vec<String>) {
        let Some(job) = self.jobs.get_mut(name) else { return };
        let Some(ask) = job.ask.take() else { return };
        let program = Program { argv: ask.argv, env };
        if job.program.as_ref() != Some(&program) {
            job.program = Some(program.clone());
            self.actions.push(Action::Keep(name.to_owned(), program.clone()));
        }
        job.begin(now, ask.pid, ask.address.clone());
        let files = [("success-codes", "0\n".to_owned()), ("timeout-kill", text_of(godv1::STOP_LIMIT))];
        let files = files.into_iter().map(|(file, text)| Action::Write(name.to_owned(), file, text));
        self.actions.extend(files);
        self.actions.push(Action::Become(ask.token, Ok(program)));
        self.tell(now, name, Event::Of(State::Start));
        self.tick_jobs(now);
    }

    /// The loader, of a change; and the supervisor, for its status.
    fn tell(&mut self, now: Mono, name: &str, event: Event) {
        self.call(now, name, What::Told(event));
        let Some(job) = self.jobs.get(name) else { return };
        let Some(run) = job.run.as_ref().filter(|run| !run.address.is_empty()) else { return };
        let text = match event {
            Event::Of(State::Run) => "READY=1\nSTATUS=loader: run".to_owned(),
            Event::Of(state) => format!("STATUS=loader: {}", state.word()),
            Event::Exit(_) => return,
        };
        self.actions.push(Action::Notify(run.address.clone(), text));
    }

    fn check_later(&mut self, now: Mono, name: &str, pause: Duration) {
        if let Some(job) = self.jobs.get_mut(name) {
            job.check_again(now.after(pause));
        }
    }

    fn checked(&mut self, now: Mono, name: &str, check: Option<Check>) {
        let Some(check) = check else {
            if let Some(job) = self.jobs.get_mut(name) {
                (job.check_at, job.is_checking) = (None, false);
            }
            return self.runs(now, name, State::Run); // it has none
        };
        let pause = match check.command {
            Command::Ok(pause) | Command::Degrade(pause) => pause,
            _ => godv1::CHECK_AGAIN,
        };
        self.check_later(now, name, pause);
        let is_other = check.other.is_some();
        let of = check.other.unwrap_or_else(|| name.to_owned());
        if !self.jobs.contains_key(&of) {
            return self.warn_once(format!("{name}: its check speaks of {of}, which is no job"));
        }
        let order = match check.command {
            Command::Ok(_) | Command::Degrade(_) if is_other => {
                return self.warn_once(format!("{name}: its check says how {of} is, which only its own can say"));
            }
            Command::Ok(_) => return self.runs(now, name, State::Run),
            Command::Degrade(_) => return self.runs(now, name, State::Degrade),
            Command::Fail | Command::Restart => Order::Restart,
            Command::Start => Order::Up,
            Command::Stop => Order::Down,
        };
        self.actions.push(Action::Order(order, of));
    }

    fn runs(&mut self, now: Mono, name: &str, state: State) {
        let Some(job) = self.jobs.get_mut(name) else { return };
        let is_first = job.state == State::Start;
        if job.may_become(state) {
            job.state = state;
            if is_first {
                let files = [("success-codes", "0 100\n"), ("restart", "always\n")]; // no code is the last one
                let files = files.into_iter().map(|(file, text)| Action::Write(name.to_owned(), file, text.into()));
                self.actions.extend(files);
            }
            self.tell(now, name, Event::Of(state));
        }
    }

    /// A job is to be stopped, and it is asked how.
    pub fn asks_to_stop(&mut self, now: Mono, token: Token, name: &str) {
        match self.jobs.get_mut(name) {
            Some(job) => {
                job.stop_ask = Some(token);
                self.ask_stop(now, name);
            }
            None => self.actions.push(Action::Stopped(token, false)),
        }
    }

    fn ask_stop(&mut self, now: Mono, name: &str) {
        if !self.call(now, name, What::Ask(Property::Stop)) {
            self.stopped(now, name, None);
        }
    }

    /// `None`: it is to get INT. In both cases KILL follows.
    fn stopped(&mut self, now: Mono, name: &str, limit: Option<Duration>) {
        let Some(job) = self.jobs.get_mut(name) else { return };
        let Some(token) = job.stop_ask.take() else { return };
        let span = limit.unwrap_or(godv1::STOP_LIMIT);
        job.kill_at = job.run.is_some().then(|| now.after(span));
        self.actions.push(Action::Write(name.to_owned(), "timeout-kill", text_of(span)));
        if limit.is_none() {
            self.actions.push(Action::Order(Order::Int, name.to_owned()));
        }
        self.actions.push(Action::Stopped(token, true));
    }

    /// The supervisor says how a job is.
    pub fn state(&mut self, now: Mono, name: &str, seen: Seen) {
        let event = self.jobs.get_mut(name).and_then(|job| job.state(seen));
        event.into_iter().for_each(|event| self.tell(now, name, event));
    }

    /// The supervisor has let a job go.
    pub fn gone(&mut self, now: Mono, name: &str) {
        if self.jobs.get(name).is_some_and(|job| job.is_leaving) {
            self.jobs.remove(name);
            self.offer_again(now);
        }
    }
}

fn text_of(span: Duration) -> String {
    format!("{}\n", span.as_millis().max(1))
}

impl Loader {
    fn new(file: String, hello_by: Mono) -> Loader {
        Loader {
            file,
            protocol: None,
            hello_by,
            queue: VecDeque::new(),
            sent: BTreeMap::new(),
            next: 1,
            offers: BTreeMap::new(),
            unsaid: 0,
            settled: None,
        }
    }

    /// What it is late with, if it is.
    fn is_late(&self, now: Mono) -> Option<String> {
        if self.protocol.is_none() {
            return (self.hello_by <= now).then(|| format!("has not said hello within {HELLO:?}"));
        }
        let (call, _) = self.sent.values().find(|(_, by)| *by <= now)?;
        let limit = self.limit(call);
        Some(format!("has not answered {} of {} within {limit:?}", call.word(), call.job))
    }

    fn limit(&self, call: &Call) -> Duration {
        match (self.protocol, &call.what) {
            (Some(Protocol::Onit), What::Ask(Property::Check)) => LONG_CHECK,
            _ => ANSWER,
        }
    }

    fn next_call(&mut self) -> Option<Call> {
        let most = if self.protocol == Some(Protocol::Onit) { ON_THEIR_WAY } else { 1 };
        if self.sent.len() < most { self.queue.pop_front() } else { None }
    }

    fn request(&self, number: u64, call: &Call) -> String {
        let (number, mut words) = (number.to_string(), Vec::new());
        words.extend((self.protocol == Some(Protocol::Onit)).then_some(number));
        words.extend([call.job.clone(), call.word()]);
        match call.what {
            What::Ask(Property::Stop) => words.push(call.run.unwrap_or_default().to_string()),
            What::Told(Event::Exit(code)) => words.push(code.to_string()),
            What::Ask(_) | What::Told(_) => {}
        }
        godv1::message(&words)
    }

    /// Which call this answers, and what is said.
    fn answered(&mut self, mut words: Vec<String>) -> Option<(Call, Vec<String>)> {
        let number = match self.protocol {
            Some(Protocol::Onit) if words.is_empty() => return None,
            Some(Protocol::Onit) => words.remove(0).parse().ok()?,
            _ => *self.sent.first_key_value()?.0,
        };
        self.sent.remove(&number).map(|(call, _)| (call, words))
    }
}

impl Call {
    fn word(&self) -> String {
        match self.what {
            What::Ask(property) => property.word().to_owned(),
            What::Told(event) => event.word(),
        }
    }
}
