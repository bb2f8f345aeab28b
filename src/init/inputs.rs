//! What the machine of a service has to know of its directory is looked up when it matters, so that a change holds at
//! once.

use super::Init;
use super::config::FORMAT;
use super::table::{LogPipe, Slot, SlotId};
use super::warnings::Matter;
use crate::machine::notify::Notification;
use crate::machine::policy::Inputs;
use crate::machine::{Command, Event, Exit, Phase, Pid, ServiceState, View};
use crate::sys::{Errno, fs, is_passing};
use crate::wire::settings::{self, File, Input, Moment};
use crate::wire::{control, svdir};
use std::os::fd::AsFd;

/// A listing takes four system calls: fewer names than that are asked for one by one.
const WORTH_A_LISTING: usize = 4;

/// And more reads than this are not worth it: then the directory holds much else.
const LISTING_READS: usize = 4;

/// The file of a service whose `run` is PID 1 of a PID namespace of its own.
pub(super) const NEW_PID_NAMESPACE: &str = "flag-newpidns";

/// Whether a file may well be read the next time.
pub(super) fn may_be_read_later(errno: Errno) -> bool {
    is_passing(errno) || matches!(errno, Errno::EINTR | Errno::EIO | Errno::ESTALE | Errno::ETIMEDOUT)
}

/// The names in a directory, each with a NUL behind it. `None`: they are not known, and each has to be asked for.
pub(super) struct Listing(Option<Vec<u8>>);

impl Listing {
    pub(super) const UNKNOWN: Listing = Listing(None);

    /// `None` if there is no such directory. In one that cannot be listed, names can still be asked for.
    fn of(dir: impl AsFd, path: &str) -> Option<Listing> {
        let mut names = Vec::new();
        match fs::list(dir, path, LISTING_READS, |name| names.extend([name, b"\0"].concat())) {
            Ok(()) => Some(Listing(Some(names))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => None,
            Err(_) => Some(Listing::UNKNOWN),
        }
    }

    pub(super) fn may_have(&self, name: &str) -> bool {
        let has = |names: &Vec<u8>| names.split(|byte| *byte == 0).any(|known| known == name.as_bytes());
        self.0.as_ref().is_none_or(has)
    }
}

impl Init {
    pub(super) fn look_up(&mut self, at: SlotId, event: Event) {
        self.look_at_input(at);
        self.look_at_hold(at);
        let Some(slot) = self.table.get(at) else { return };
        let moments: &[Moment] = match event {
            Event::Command(Command::Up | Command::Once) | Event::Begin => START,
            Event::Command(Command::Down | Command::Exit | Command::StopSignal) => &[Moment::Stop],
            Event::Command(Command::Term) if self.config.personality.service.setup => &[Moment::Stop],
            Event::Command(Command::Replace) => &[Moment::Start, Moment::Probe, Moment::Stop],
            Event::Command(Command::Reload) => &[Moment::Reload],
            Event::Command(_) => &[],
            Event::Tick if slot.service.next_start().is_some_and(|start| start <= self.now) => START,
            Event::Tick if slot.state() == ServiceState::Waiting => START,
            Event::Tick if slot.service.is_late(self.now) => &[Moment::Stop],
            Event::Tick if slot.service.is_probe_due(self.now) => &[Moment::Probe],
            Event::Notify(Notification::Trigger) => &[Moment::Stop],
            Event::Tick if slot.service.beside().is_some() => &[Moment::Stop],
            Event::SecondReady => &[Moment::Stop],
            Event::Tick => &[],
            Event::Died(pid, exit) => {
                moments_of_death(&slot.service.view(), pid, exit, slot.service.inputs.scripts.stop)
            }
            Event::Spawned(_)
            | Event::NotSpawned(_)
            | Event::Ready
            | Event::Notify(_)
            | Event::Succeeded(_)
            | Event::NeverRan(_)
            | Event::Drain
            | Event::Escalate => return,
        };
        self.look_at_files(at, moments);
        if event == Event::Begin {
            self.look_at_selection(at);
        }
        if let Event::Command(command) = event {
            self.forget_old_trouble(at, command);
        }
    }

    fn look_at_input(&mut self, at: SlotId) {
        if self
            .table
            .get(at)
            .is_some_and(|slot| matches!(slot.log_pipe, LogPipe::Logger { .. } | LogPipe::Shared { .. }))
        {
            let unread = self.unread(at);
            self.table.get_mut(at).into_iter().for_each(|slot| slot.service.inputs.unread = unread);
        }
    }

    /// Looks for scripts, and reads the small files that matter at these moments.
    fn look_at_files(&mut self, at: SlotId, moments: &[Moment]) {
        let personality = self.config.personality;
        let Some(slot) = self.table.get_mut(at) else { return };
        let has_scripts = personality.service.scripts && !slot.is_logger();
        let values = settings::inputs(if personality.reads_small_files { moments } else { &[] });
        let [starts, dies, asks] =
            [Moment::Start, Moment::Death, Moment::Probe].map(|moment| has_scripts && moments.contains(&moment));
        let dies = dies || personality.service.loggers_finish && moments.contains(&Moment::Death);
        let asks = asks && personality.service.probes;
        let has_hooks = has_scripts && moments != [Moment::Probe];
        let has_stop = has_scripts && personality.service.setup && moments.contains(&Moment::Stop);
        let scripts = [has_hooks, dies, starts && personality.service.setup, has_stop, asks];
        let names = values.clone().count() + scripts.iter().filter(|is_looked_for| **is_looked_for).count();
        let listing = (names >= WORTH_A_LISTING).then(|| Listing::of(&*slot.dir, ".")).flatten();
        let listing = listing.unwrap_or(Listing::UNKNOWN);
        if has_hooks {
            look_for_hooks(slot, &listing);
        }
        if dies {
            look_for_finish(slot, &listing);
        }
        if starts && personality.service.setup {
            look_for_setup(slot, &listing);
        }
        if asks {
            look_for_health(slot, &listing);
        }
        if has_stop {
            look_for_stop(slot, &listing);
        }
        let default = Inputs::of(personality.service);
        if moments.contains(&Moment::Start) {
            self.read_links(at, &listing);
            self.look_at_gate(at, &listing);
            self.look_at_format(at, &listing);
            self.look_at_namespace(at, &listing);
        }
        for (file, input) in values {
            let Some(slot) = self.table.get_mut(at) else { return };
            let bad = read_value(slot, file, input, &listing, &default);
            self.warn_of_bad_value(at, file.name, bad);
        }
    }

    /// Which status record it has from now on.
    fn look_at_format(&mut self, at: SlotId, listing: &Listing) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let says = listing.may_have(FORMAT);
        let (format, bad) = if says { self.config.format_in(&slot.dir) } else { (self.config.format, None) };
        if std::mem::replace(&mut slot.files.format, format) != format {
            slot.published = None;
            let unfit = slot.files.ok.take_if(|_| !format.has_ok()); // who looks for it would read nonsense
            self.table.bury(unfit);
            self.be_seen(at); // before there is a record by which a supervisor without it is taken for none
        }
        self.warn_of_bad_value(at, FORMAT, bad);
    }

    fn look_at_namespace(&mut self, at: SlotId, listing: &Listing) {
        let reads = self.config.personality.reads_small_files && listing.may_have(NEW_PID_NAMESPACE);
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.has_pid_namespace = reads && fs::exists(&slot.dir, NEW_PID_NAMESPACE);
    }

    /// A supervisor has failed while it asked `check` or `health`. How, stands in files.
    pub(super) fn restore_probes(&mut self, at: SlotId) {
        if self.table.get(at).is_some_and(|slot| !slot.service.probe().is_idle()) {
            self.look_at_files(at, &[Moment::Probe]);
        }
    }

    fn forget_old_trouble(&mut self, at: SlotId, command: Command) {
        if let (Some(slot), Command::Up | Command::Once) = (self.table.get_mut(at), command)
            && matches!(slot.state(), ServiceState::Down | ServiceState::Done | ServiceState::Failed)
        {
            // What goes wrong now is news.
            slot.warnings.forget(|matter| matches!(matter, Matter::Life | Matter::Late(_) | Matter::Script(_)));
        }
    }

    /// What is wrong with a small file is told when it is new: each line for itself, if there are several.
    pub(super) fn warn_of_bad_value(&mut self, at: SlotId, file: &'static str, bad: Option<String>) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let known = slot.warnings.take(Matter::File(file)).unwrap_or_default();
        if let Some(bad) = bad {
            slot.warnings.replace(Matter::File(file), bad.clone());
            let news = bad.lines().filter(|line| !known.lines().any(|told| told == *line));
            news.for_each(|line| self.warn(at, &line));
        }
    }
}

fn look_for_hooks(slot: &mut Slot, listing: &Listing) {
    let hooks = if listing.may_have("control") { Listing::of(&*slot.dir, "control") } else { None };
    let is_there = |program: &str| {
        let may_be = |hooks: &Listing| program.strip_prefix("control/").is_some_and(|letter| hooks.may_have(letter));
        hooks.as_ref().is_some_and(may_be) && fs::is_executable(&slot.dir, program)
    };
    let scripts = slot.service.inputs.scripts.with_hooks(|command| control::program(command).is_some_and(is_there));
    slot.service.inputs.scripts = scripts;
    if hooks.is_none() {
        slot.warnings.forget(|matter| matches!(matter, Matter::Script(script) if !script.starts_with("./")));
    }
}

/// What has to be known before a start. `run` may be ready at once.
const START: &[Moment] = &[Moment::Start, Moment::Probe];

/// What an end makes necessary to know; `finish` or another start may follow it at once.
/// `stop` may have said how long the service has to end.
fn moments_of_death(view: &View, pid: Pid, exit: Exit, has_stop: bool) -> &'static [Moment] {
    match view.phase {
        _ if view.pid != Some(pid) && has_stop => &[Moment::Stop],
        _ if view.pid != Some(pid) => &[],
        Phase::Finish if exit != Exit::GIVE_UP => START,
        Phase::Setup | Phase::Run | Phase::Finish => &[Moment::Death, Moment::Start, Moment::Probe],
        Phase::Down => &[],
    }
}

fn look_for_setup(slot: &mut Slot, listing: &Listing) {
    let has_setup = listing.may_have("setup") && fs::exists(&slot.dir, "setup");
    let scripts = &mut slot.service.inputs.scripts;
    (scripts.setup, scripts.oneshot) = (has_setup, has_setup && !fs::exists(&slot.dir, "run"));
    if !has_setup {
        slot.warnings.take(Matter::Script("./setup"));
    }
}

fn look_for_health(slot: &mut Slot, listing: &Listing) {
    let has_health = listing.may_have("health") && fs::exists(&slot.dir, "health");
    slot.service.inputs.scripts.health = has_health;
    if !has_health {
        slot.warnings.take(Matter::Script("./health"));
    }
}

fn look_for_stop(slot: &mut Slot, listing: &Listing) {
    let has_stop = listing.may_have("stop") && fs::exists(&slot.dir, "stop");
    slot.service.inputs.scripts.stop = has_stop;
    if !has_stop {
        slot.warnings.take(Matter::Script("./stop"));
    }
}

fn look_for_finish(slot: &mut Slot, listing: &Listing) {
    let has_finish = listing.may_have("finish") && fs::exists(&slot.dir, "finish");
    slot.service.inputs.scripts.finish = has_finish;
    if !has_finish {
        slot.warnings.take(Matter::Script("./finish"));
    }
}

/// Reads what a small file says, and returns what is wrong with that. One that cannot be read for now (it is leased to
/// another process, or we have too much open) says what it said last.
fn read_value(slot: &mut Slot, file: &File, input: Input, listing: &Listing, default: &Inputs) -> Option<String> {
    let (name, inputs) = (file.name, &mut slot.service.inputs);
    let text = if listing.may_have(name) { fs::read_small(&slot.dir, name) } else { Ok(None) };
    let bad = match text {
        Ok(Some(text)) if (input.parse)(inputs, &text) => return None,
        Ok(None) => None,
        Ok(Some(text)) => {
            let said = svdir::excerpt(text.trim_end_matches('\n'));
            Some(format!("{name} says {said:?}, which is no value for it; going by the default"))
        }
        Err(errno) if may_be_read_later(errno) => {
            return Some(format!("cannot read {name}: {}; going by what was known of it", errno.desc()));
        }
        Err(errno) => Some(format!("cannot read {name}: {}; going by the default", errno.desc())),
    };
    (input.copy)(inputs, default);
    bad
}
