//! Going on where a supervisor failed: the same process, the same children, the same descriptors, another program.
//!
//! What is read here was written by a supervisor that failed, or by another version: nothing of it is taken on trust.
//! The journal stays as it is until a record is written again, so if a supervisor fails here, the next one
//! reads the same.

use super::Init;
use super::config::{Config, Root};
use super::journal::Journal;
use super::listeners::Listeners;
use super::log::Named;
use super::mirror::Mirror;
use super::shared_log;
use super::table::{Files, Identity, LogPipe, ReadyLink, Slot, SlotId};
use super::watchdog::Watchdog;
use crate::machine::recovery::{Failure, RESPITE, Recovery, recovery};
use crate::machine::service::{Role, Service};
use crate::machine::system::System;
use crate::machine::{Effect, Event, Exit, Mono, Phase, Pid, Refusal, Signal, Want};
use crate::sys::fs::FileId;
use crate::sys::kept::Kept;
use crate::sys::manager::Manager;
use crate::sys::rescue::{self, Claims};
use crate::sys::spawn::Spawner;
use crate::sys::{Errno, boot, clock, foreground, fs, is_passing, poll, process};
use crate::wire::journal::{self, Descriptors, Entry, Field, Kind, Record};
use crate::wire::status::any::Status;
use crate::wire::svdir::template_and_instance;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a successor needs to begin is asked for so often, if the kernel lacks it: for ten seconds.
const TRIES: usize = 100;

/// The end of a process that a supervisor reaped before it failed, without noting how it ended.
pub(super) const UNKNOWN: Exit = Exit::NOT_RUN;

/// What the supervisor that ran before left us.
pub(super) struct Handover {
    pub(super) journal: Journal,
    pub(super) care: Care,
    slots: BTreeMap<SlotId, Slot>,
    mirror: Option<Mirror>,
    watchdog: Option<Watchdog>,
    /// What makes one stream of what services say.
    mux: Option<Kept>,
    /// `.s6-svscan`: the FIFO, its lock and the directory.
    svscan: Option<[OwnedFd; 3]>,
    /// The api socket, where clients may wait already.
    api: Option<OwnedFd>,
    /// Records that could not be read. `None`: nothing could.
    lost: Option<usize>,
}

/// What the supervisor that ran before left us, if there was one. Descriptors that are not needed any more are closed.
pub(super) fn handover(config: &mut Config) -> Option<Handover> {
    let shared = rescue::inherit()?;
    rescue::keep_name();
    if let Some(main) = &mut config.main {
        main.descriptors.clear(); // those that are open now are ours
    }
    config.console = None; // so is what has its number
    let refusal = match shared {
        Ok(shared) => journal::refusal(shared.words(), rescue::pid()),
        Err(errno) => Some(errno.desc().to_owned()),
    };
    let journal = match (shared, refusal) {
        (Ok(shared), None) => Journal::of(shared),
        (_, refusal) => {
            claims(config).close_the_rest(); // first: an order that is written to one of them now is lost
            let why = refusal.unwrap_or_default();
            config.log.warn(None, &format_args!("the state journal cannot be read: {why}; looking for the services"));
            let (journal, care) = (Journal::begin(config.log), Care::begin(Recovery::HoldFaults));
            arm(journal, config);
            return Some(Handover {
                journal,
                care,
                slots: BTreeMap::new(),
                mirror: None,
                watchdog: None,
                mux: None,
                svscan: None,
                api: None,
                lost: None,
            });
        }
    };
    let care = Care::begin(note_failure(journal));
    journal.set(Field::Essentials, care.is_essential().into());
    journal::forget_unknown(journal.words());
    arm(journal, config);
    journal::take_back(journal.words());
    Some(read(journal, care, config))
}

/// Notes when the supervisor that ran before failed, and says how to go on.
fn note_failure(journal: Journal) -> Recovery {
    if journal.get(Field::Cause) == journal::UPGRADE {
        return Recovery::Complete;
    }
    let [first, second, third] = [Field::Failed1, Field::Failed2, Field::Failed3].map(|fact| journal.get(fact));
    let now = clock::now();
    journal.set(Field::Failed1, second);
    journal.set(Field::Failed2, third);
    journal.set(Field::Failed3, now.0);
    let sent = journal.get(Field::Cause) & rescue::SENT != 0;
    let third_last = (first != 0).then_some(Mono(first));
    recovery(now, Failure { third_last, sent, in_essentials: journal.get(Field::Essentials) != 0 })
}

/// What a successor leaves undone for a while, so that failures that follow each other do not keep it from its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Care {
    /// Nothing.
    None,
    /// Faults that are sent wait until then.
    HoldFaults(Mono),
    /// And only the essentials are done.
    Essentials(Mono),
}

impl Care {
    /// To be said before [`arm`]: a fault may be waiting.
    fn begin(recovery: Recovery) -> Care {
        if recovery == Recovery::PauseFirst {
            let _ = poll::pause(RESPITE);
        }
        if recovery != Recovery::Complete {
            rescue::hold_sent_faults();
        }
        let until = clock::now().after(RESPITE);
        match recovery {
            Recovery::Complete => Care::None,
            Recovery::HoldFaults => Care::HoldFaults(until),
            Recovery::Essentials | Recovery::PauseFirst => Care::Essentials(until),
        }
    }

    /// Until when.
    pub(super) fn deadline(self) -> Option<Mono> {
        match self {
            Care::None => None,
            Care::HoldFaults(until) | Care::Essentials(until) => Some(until),
        }
    }

    pub(super) fn is_essential(self) -> bool {
        matches!(self, Care::Essentials(_))
    }
}

/// Where the machine of the whole is noted.
const SYSTEM: [Field; 5] = [Field::System1, Field::System2, Field::System3, Field::Code, Field::ShutdownAction];

/// A successor has services that run already: it does not end for a lack of something that may be there again.
pub(super) fn retry<T>(is_successor: bool, mut ask: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let tries = if is_successor { TRIES } else { 1 };
    for _ in 1..tries {
        match ask() {
            Err(errno) if is_passing(errno) => boot::rest(),
            result => return result,
        }
    }
    ask()
}

/// From now on a failure is followed by a new start.
pub(super) fn arm(journal: Journal, config: &Config) {
    let Some(shared) = journal.shared() else { return };
    if journal::text(journal.words(), journal::PROGRAM).is_empty()
        && let Some(path) = program()
    {
        journal::write_text(journal.words(), journal::PROGRAM, path.as_os_str().as_bytes());
    }
    let program = journal::text(journal.words(), journal::PROGRAM);
    let manager = config.manager.as_ref().map(Manager::name);
    if rescue::arm(shared, journal::descriptors, Field::Cause as usize, &program, manager).is_ok() {
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
            let (payload, short) = (panic.payload(), panic.payload().downcast_ref::<&str>().copied());
            let words = short.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
            let text = format!("panic{}: {words}", place.unwrap_or_default());
            journal::write_text(journal.words(), journal::PANIC_TEXT, text.as_bytes());
            journal.set(Field::Cause, journal::PANIC);
            rescue::start_again();
        }));
    }
}

/// Where another version of us would stand: the name that we were started by, if that leads to us.
fn program() -> Option<PathBuf> {
    let ours = rescue::program_path();
    let called = std::env::args_os().next().map(PathBuf::from);
    let leads_to_us = |path: &PathBuf| path.is_absolute() && std::fs::canonicalize(path).ok() == ours;
    called.filter(leads_to_us).or(ours)
}

/// What this program itself has opened so far.
fn claims(config: &Config) -> Claims {
    let mut claims = Claims::default();
    if let Some(manager) = &config.manager {
        claims.leave(manager);
    }
    claims
}

fn read(journal: Journal, care: Care, config: &mut Config) -> Handover {
    let words = journal.words();
    let mut claims = claims(config);
    if let Some(shared) = journal.shared() {
        claims.leave(shared);
    }
    if let Some(main) = &mut config.main {
        main.descriptors = journal::inherited(words).filter_map(|fd| claims.keep(fd)).collect();
    }
    config.launcher = journal::descriptor(journal.get(Field::Launcher)).and_then(|fd| claims.claim(fd));
    let mut held = |fact| journal::descriptor(journal.get(fact)).and_then(|fd| claims.claim(fd));
    if let Some(application) = &mut config.application {
        application.process = held(Field::Application);
    }
    let mirror = match (held(Field::View), held(Field::ViewLock)) {
        (Some(dir), Some(lock)) => Some(Mirror::of(dir, lock, config)),
        _ => None,
    };
    let api = held(Field::Api);
    let watchdog = held(Field::Watchdog).map(|fd| Watchdog::restore(config.log, fd, journal));
    let mux = journal::descriptor(journal.get(Field::Mux) >> 32).and_then(|fd| claims.claim(fd)).map(Kept::restore);
    let svscan = svscan(journal, &mut claims, config);
    let (mut slots, mut lost) = (BTreeMap::new(), 0);
    for at in 0..usize::try_from(journal.get(Field::Records)).unwrap_or_default() {
        match journal::entry(words, at) {
            Entry::Empty => {}
            Entry::Damaged => lost += 1,
            Entry::Record(record) => {
                let history = journal::history(words, at, record.begun);
                let extra = if record.has_extra { journal::extra(words, at) } else { Default::default() };
                let service =
                    |role| Service::remembered(config.personality.service, role, record.memory, extra, history.clone());
                match slot(&record, name(&record, at, config), service, &mut claims, config) {
                    Some(mut slot) => {
                        let kept = journal::kept(words, at).filter(|_| record.has_kept);
                        slot.kept = kept.and_then(|fd| claims.claim(fd)).map(Kept::restore);
                        slots.insert(at, slot);
                    }
                    None => lost += 1,
                }
            }
        }
    }
    lost += pair_up(&mut slots);
    let kept: Vec<SlotId> = slots.keys().copied().collect();
    (0..usize::try_from(journal.get(Field::Records)).unwrap_or_default())
        .filter(|at| kept.binary_search(at).is_err())
        .for_each(|at| journal.erase(at));
    claims.close_the_rest();
    slots.values_mut().for_each(Slot::look_at_kept);
    Handover { journal, care, slots, mirror, watchdog, mux, svscan, api, lost: Some(lost) }
}

/// What is held of `.s6-svscan`. The console has no other number than the one that it was given as.
fn svscan(journal: Journal, claims: &mut Claims, config: &mut Config) -> Option<[OwnedFd; 3]> {
    let [control, lock] = journal::descriptors_in(journal.get(Field::Svscan));
    let [dir, console] = journal::descriptors_in(journal.get(Field::SvscanDir));
    config.console = console.and_then(|fd| claims.keep(fd));
    let [control, lock, dir] = [control, lock, dir].map(|fd| fd.and_then(|fd| claims.claim(fd)));
    Some([control?, lock?, dir?])
}

fn who_keeps(services: usize, main: bool) -> String {
    match (services, main) {
        (0, true) => "the main process keeps".into(),
        (1, true) => "the main process and 1 service keep".into(),
        (_, true) => format!("the main process and {services} services keep"),
        (1, false) => "1 service keeps".into(),
        (_, false) => format!("{services} services keep"),
    }
}

/// A name that is not known is found when the directory is looked at.
fn name(record: &Record, at: SlotId, config: &Config) -> OsString {
    match (&config.root, record.name.bytes()) {
        (Root::Service(path), _) => path.clone().into_os_string(),
        (Root::Directory(_) | Root::Nothing, Some(name)) => OsString::from_vec(name),
        (Root::Directory(_) | Root::Nothing, None) => format!("(service {at})").into(),
    }
}

fn slot(
    record: &Record,
    name: OsString,
    service: impl Fn(Role) -> Option<Service>,
    claims: &mut Claims,
    config: &Config,
) -> Option<Slot> {
    let Descriptors { dir, lock, control, ok, pipe, home, ready } = record.fds;
    let mut claim = |fd: Option<i32>| fd.and_then(|fd| claims.claim(fd));
    let (dir, pipe, ready) = (claim(dir), claim(pipe), claim(ready));
    let files =
        Files { lock: claim(lock), control: claim(control), ok: claim(ok), home: claim(home), ..Files::default() };
    let (dir, file) = (dir?, FileId { device: record.id.0, inode: record.id.1 });
    let id = identity(file, &name, record);
    let (role, log_pipe) = match (record.kind, pipe) {
        (Kind::Alone, None) | (Kind::Writer(_), None) => (Role::Main, LogPipe::Alone),
        (Kind::Alone, Some(pipe)) => (Role::Main, LogPipe::Shared { pipe }),
        (Kind::Writer(logger), Some(pipe)) => (Role::Main, LogPipe::Writer { logger: Some(logger as SlotId), pipe }),
        (Kind::Producer(logger), pipe) => (Role::Main, LogPipe::Producer { logger: logger as SlotId, pipe }),
        (Kind::Logger(producer), Some(pipe)) => (Role::Logger, LogPipe::Logger { producer: producer as SlotId, pipe }),
        (Kind::Logger(_), None) => return None,
    };
    if fs::identity(&dir) != Ok(file) {
        return None;
    }
    let mut slot = Slot::new(name, id, dir, service(role)?, files, log_pipe);
    slot.ready_link = ready.map(ReadyLink::restore);
    slot.scale = record.scale;
    slot.files.format = record.format.unwrap_or_else(|| config.format_in(&slot.dir).0);
    slot.listeners = Listeners::left(record.untold, slot.service.view().phase);
    slot.published = record.shown.map(|stamp| (slot.view_in_files(), stamp));
    (slot.removed, slot.has_links) = (record.removed, record.has_links);
    Some(slot)
}

/// Which service it was. That of a logger is found out with its service.
fn identity(dir: FileId, name: &OsStr, record: &Record) -> Identity {
    let instance = template_and_instance(name.as_bytes()).map(|(_, instance)| instance);
    Identity::new(dir, instance.filter(|_| record.is_instance))
}

/// A service and its logger know each other, or are none. Returns how many loggers are lost by that.
fn pair_up(slots: &mut BTreeMap<SlotId, Slot>) -> usize {
    let partner = |slot: &Slot| match slot.log_pipe {
        LogPipe::Alone | LogPipe::Writer { .. } | LogPipe::Shared { .. } => None,
        LogPipe::Producer { logger, .. } => Some((logger, false)),
        LogPipe::Logger { producer, .. } => Some((producer, true)),
    };
    let known: BTreeMap<SlotId, _> = slots.iter().filter_map(|(at, slot)| Some((*at, partner(slot)?))).collect();
    let is_mutual =
        |at: SlotId| known.get(&at).is_some_and(|(other, is_logger)| known.get(other) == Some(&(at, !is_logger)));
    let is_alone = |at: &SlotId| !known.contains_key(at);
    let mut lost = 0;
    slots.retain(|at, slot| {
        let keeps = !slot.is_logger() || is_mutual(*at);
        // A logger that was not started yet, of a service that is not noted, or is noted without a logger.
        let unfinished = matches!(&slot.log_pipe, LogPipe::Logger { producer, .. } if is_alone(producer));
        let has_started = slot.service.pids().next().is_some();
        lost += usize::from(!keeps && (has_started || !unfinished));
        keeps
    });
    for (at, slot) in slots.iter_mut() {
        if matches!(slot.log_pipe, LogPipe::Producer { .. }) && !is_mutual(*at) {
            slot.log_pipe = LogPipe::Alone;
        }
    }
    shared_log::bring_together(slots);
    let names: BTreeMap<SlotId, (OsString, Identity)> =
        slots.iter().map(|(at, slot)| (*at, (slot.name.clone(), slot.id))).collect();
    for slot in slots.values_mut() {
        if let LogPipe::Logger { producer, .. } = &slot.log_pipe
            && let Some((name, id)) = names.get(producer)
        {
            slot.name = super::adopt::logger_name(name);
            slot.id = id.with_dir(slot.id.dir);
        }
    }
    lost
}

impl Init {
    /// The supervisor that goes on after us finds all this as it is now. To be called before anything is done that
    /// follows from it, and when the turn is over.
    pub(super) fn commit(&mut self) {
        self.commit_all();
        self.table.commit();
    }

    fn commit_all(&self) {
        let journal = self.table.journal;
        SYSTEM.into_iter().zip(self.system.memory()).for_each(|(fact, word)| journal.set(fact, word));
        self.commit_main();
        self.commit_watchdog();
        self.commit_mux();
        self.commit_loaders();
        self.commit_svscan();
        let [blocked, ignored] = foreground::inherited();
        journal.set(Field::InheritedMask, blocked);
        journal.set(Field::InheritedIgnored, ignored);
        journal.set(Field::Announced, self.announced.into());
        if let Some(main) = &self.config.main {
            journal::write_inherited(journal.words(), &main.descriptors);
        }
        let [view, lock] = self.mirror.descriptors();
        journal.set(Field::View, journal::noted(view));
        journal.set(Field::ViewLock, journal::noted(lock));
        journal.set(Field::TakesIn, self.scan.takes_in().into());
        journal
            .set(Field::Launcher, journal::noted(self.config.launcher.as_ref().map(std::os::fd::AsRawFd::as_raw_fd)));
        journal.set(Field::Application, journal::noted(self.config.application_descriptor()));
        journal.set(Field::LimitKnown, self.open_files.of_services.is_some().into());
        if let Some(limit) = self.open_files.of_services {
            journal.set(Field::LimitNow, limit.rlim_cur);
            journal.set(Field::LimitMost, limit.rlim_max);
        }
    }

    /// Goes on with what we were left.
    pub(super) fn restore(&mut self, handover: Handover) {
        let Handover { journal, care, slots, mirror, watchdog, mux, svscan, api, lost } = handover;
        self.recovery.care = care;
        let Some(lost) = lost else {
            self.recovery.searches = true;
            self.recovery.searches_main = true;
            self.mirror = Mirror::left(&self.config);
            return;
        };
        self.recovery.searches = lost > 0 || journal.get(Field::Unnoted) != 0;
        self.restore_whole(journal);
        self.mirror = mirror.unwrap_or_default();
        self.watchdog = watchdog;
        self.restore_api(api);
        for (at, slot) in slots {
            self.table.restore(at, slot);
        }
        self.table.count_free_places();
        self.restore_mux(mux);
        self.restore_loaders();
        self.restore_svscan(svscan);
        journal.release_if_stopped();
        for at in self.table.all() {
            self.restore_service(at);
        }
        self.restore_scales();
        self.repeat_signals(journal); // what is being done is known until something else is
        self.meet_new_child(journal);
        for at in self.table.all() {
            self.answer_what_was_lost(at);
        }
        if self.recovery.searches {
            self.table.services().into_iter().for_each(|at| self.adopt_missing_logger(at));
        }
        self.look_for_main();
        self.go_on_stopping();
        self.log_recovery(journal, lost);
        self.end_all_if_told(journal);
        self.apply_again(journal);
        self.answer_upgrade_request(None);
    }

    fn restore_whole(&mut self, journal: Journal) {
        self.system = System::remembered(SYSTEM.map(|fact| journal.get(fact))).unwrap_or(System::UP);
        self.restore_main(journal);
        foreground::set_inherited([journal.get(Field::InheritedMask), journal.get(Field::InheritedIgnored)]);
        self.announced = journal.get(Field::Announced) != 0;
        if journal.get(Field::TakesIn) == 0 || !self.system.is_up() {
            self.scan.stop_taking_in();
        }
        if journal.get(Field::LimitKnown) != 0 {
            let (rlim_cur, rlim_max) = (journal.get(Field::LimitNow), journal.get(Field::LimitMost));
            self.open_files.of_services = Some(process::limit(rlim_cur, rlim_max));
        }
    }

    /// Its processes are ours, and its orders are heard.
    fn restore_service(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let pids: Vec<_> = slot.service.pids().collect();
        if slot.published.is_some() && (slot.files.control.is_none() || slot.files.lack_ok()) {
            slot.reopen_at = Some(self.now);
        }
        for pid in pids {
            self.table.own(pid, at);
        }
        self.restore_probes(at);
        self.restore_pending(at);
        self.restore_ready_link(at);
        self.restore_second_link(at);
        self.restore_links(at);
        self.restore_why_skipped(at);
        self.restore_sockets(at);
        self.listen_for_orders(at);
        self.pause_or_resume_control(at);
        self.table.touch(at);
    }

    /// A child that the supervisor before us started, and did not note before it failed.
    fn meet_new_child(&mut self, journal: Journal) {
        let Some(at) = usize::try_from(journal.get(Field::NewChildOf)).ok().and_then(|at| at.checked_sub(1)) else {
            return;
        };
        let waits = self.table.get(at).is_some_and(|slot| slot.service.may_have_a_child());
        let child = Spawner::announced(journal.get(Field::NewChild)).filter(|pid| waits && !self.table.owns(*pid));
        if let Some(pid) = child {
            self.table.own(pid, at);
            self.apply(at, Event::Spawned(pid));
        }
        journal.child_is_noted();
    }

    /// A service that waits for the start of a program gets an answer, and one whose process was reaped, but whose end
    /// was not noted, is told of it.
    fn answer_what_was_lost(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at) else { return };
        let dead: Vec<_> = slot.service.pids().filter(|pid| !rescue::is_child(*pid)).collect();
        if slot.service.awaits_answer() {
            self.apply(at, Event::NotSpawned(Refusal::Fork));
        }
        for pid in dead {
            self.table.disown(pid);
            let journal = self.table.journal;
            self.service_ended(at, pid, journal.end().unwrap_or(UNKNOWN), false);
            journal.end_is_noted();
        }
    }

    /// A stop that was noted, but perhaps not sent. A process that was reaped gets none: its pid may be that of another
    /// process now.
    fn repeat_signals(&mut self, journal: Journal) {
        let doing = usize::try_from(journal.get(Field::Doing)).ok().and_then(|at| at.checked_sub(1));
        let step = doing.and_then(|at| self.table.get(at)).map(|slot| slot.service.stop_again());
        for effect in step.unwrap_or_default().effects() {
            if let Effect::Signal(pid, signal, to) = effect
                && rescue::is_child(pid)
            {
                let _ = process::kill(pid, signal, to);
            }
        }
        journal.set(Field::Doing, 0);
    }

    /// An essential service has ended, and that was noted, but perhaps not what follows.
    fn end_all_if_told(&mut self, journal: Journal) {
        let fatal = usize::try_from(journal.get(Field::Fatal)).ok().and_then(|at| at.checked_sub(1));
        let slot = fatal.and_then(|at| Some((at, self.table.get(at)?)));
        let over = slot.filter(|(_, slot)| slot.service.view().want != Want::Up);
        let end = over.and_then(|(at, slot)| Some((at, slot.service.history().last_end()?.exit)));
        if let Some((at, exit)) = end.filter(|_| self.system.is_up()) {
            self.end_all(at, exit);
        }
        journal.set(Field::Fatal, 0);
    }

    /// What was heard and not obeyed to the end.
    fn apply_again(&mut self, journal: Journal) {
        match journal.take_order_again() {
            Some((journal::LAUNCHER, _)) => self.stop(),
            Some((journal::SVSCAN, byte)) => self.obey_scan_byte(byte),
            Some((of, byte)) => {
                let at = usize::try_from(of).unwrap_or_default().saturating_sub(1);
                if !self.is_busy(at) {
                    self.apply_byte(at, byte);
                }
            }
            None => {}
        }
        journal.order_is_done();
        journal.take_written_signal();
        for signal in journal.signals().collect::<Vec<Signal>>() {
            self.on_signal(signal);
        }
    }

    /// A shutdown goes on, also for the services that the order had not reached.
    fn go_on_stopping(&mut self) {
        if !self.system.is_stopping() {
            return;
        }
        for at in self.table.services() {
            if self.table.get(at).is_some_and(|slot| !slot.service.view().leaving) {
                self.release_in_order(at);
            }
        }
        if self.system.is_killing() && self.config.personality.escalates {
            self.kill_main();
            self.table.all().into_iter().for_each(|at| _ = self.apply(at, Event::Escalate));
        }
    }

    /// One line, unless it was on purpose.
    fn log_recovery(&mut self, journal: Journal, lost: usize) {
        let cause = match journal.get(Field::Cause) {
            journal::UPGRADE => None,
            journal::PANIC => {
                let text = journal::text(journal.words(), journal::PANIC_TEXT);
                Some(String::from_utf8_lossy(&text).replace(char::is_control, " "))
            }
            signal => Some(Named(Signal(i32::try_from(signal & !rescue::SENT).unwrap_or_default())).to_string()),
        };
        journal.set(Field::Cause, 0);
        if let Some(cause) = cause {
            let running = self.table.services().into_iter().filter(|at| self.runs(*at)).count();
            let trouble = format!("{cause}: starting again; {} running", who_keeps(running, self.main.is_here()));
            self.config.log.warn(None, &trouble);
        }
        if lost > 0 {
            let trouble =
                format!("{lost} of the services and loggers cannot be read in the state journal; looking for them");
            self.config.log.warn(None, &trouble);
        }
    }

    /// The process of a service of which there is no record, and since when, by its status.
    pub(super) fn find_running(&self, name: &OsStr, id: Identity, dir: &OwnedFd) -> Option<(Pid, Mono)> {
        if !self.recovery.searches {
            return None;
        }
        Some(dir)
            .filter(|_| !id.is_instance())
            .and_then(|dir| self.running_by(dir))
            .or_else(|| self.running_by(&self.mirror.entry(name)?))
    }

    fn running_by(&self, dir: &OwnedFd) -> Option<(Pid, Mono)> {
        let status = Status::decode(&fs::read_bytes(dir, "supervise/status").ok()??).ok()?;
        let pid = status.pid.filter(|pid| status.phase == Phase::Run && !self.table.owns(*pid))?;
        let age = status.uptime(SystemTime::UNIX_EPOCH + clock::wall());
        rescue::is_child(pid).then(|| (pid, self.now.before(age)))
    }

    fn runs(&self, at: SlotId) -> bool {
        self.table.get(at).is_some_and(|slot| {
            let view = slot.service.view();
            view.phase == Phase::Run && view.pid.is_some()
        })
    }

    // Failures that follow each other.

    /// What the services need most: their ends are seen, and what is due is done. Orders, clients and the
    /// directory wait.
    pub(super) fn essential_turn(&mut self, until: Mono) {
        let needs = [self.table.deadline(), self.system.deadline(), self.pending_deadline(), self.watchdog_deadline()];
        let deadlines = needs.into_iter().chain([Some(until)]);
        let deadline = deadlines.flatten().min().filter(|_| !self.children.unreaped).unwrap_or(self.now);
        let waited = poll::input(&self.signals, deadline);
        self.now = clock::now();
        self.children.spawner.begin_turn();
        self.signals_and_deaths();
        self.deadlines();
        self.publish_touched();
        self.wait_for_exec();
        self.feed_watchdog();
        if waited.is_err() || self.now >= until {
            self.recovery.care = Care::HoldFaults(until);
            self.table.journal.set(Field::Essentials, 0);
        }
    }

    /// Faults that were sent are followed again, once a turn has been done in spite of them.
    pub(super) fn end_care(&mut self) {
        if self.recovery.care.deadline().is_some_and(|until| self.now >= until) {
            self.recovery.care = Care::None;
            rescue::let_sent_faults_through();
        }
        if let Some(errno) = rescue::refusal() {
            let trouble = format!("cannot start again after a fault: {}; going on as before", errno.desc());
            self.config.log.warn(None, &trouble);
        }
    }

    // On purpose.

    /// Another process (`onit upgrade`) may have asked that another program takes our place.
    pub(super) fn read_upgrade_request(&mut self) {
        let journal = self.table.journal;
        if journal.get(Field::Request) == journal.get(Field::Answer) {
            return;
        }
        self.wait_for_exec();
        self.forget_what_is_not_kept();
        self.commit();
        journal.set(Field::Cause, journal::UPGRADE);
        let program = journal::text(journal.words(), journal::PROGRAM);
        let errno = rescue::replace_by(&program);
        journal.set(Field::Cause, 0);
        let path = Path::new(std::ffi::OsStr::from_bytes(&program)).display();
        let trouble = format!("cannot execute {path}: {}; going on as before", errno.desc());
        self.config.log.warn(None, &trouble);
        self.answer_upgrade_request(Some(errno));
    }

    fn answer_upgrade_request(&self, errno: Option<Errno>) {
        let journal = self.table.journal;
        journal.set(Field::AnswerErrno, errno.map_or(0, |errno| errno as u64));
        journal.set(Field::Answer, journal.get(Field::Request));
    }
}
