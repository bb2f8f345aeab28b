//! Who starts after whom, and stops before whom, as the files `dependencies.d/NAME` and `after.d/NAME` say.
//!
//! A service that has to wait is looked at again when one that it depends on has changed; a service that is held, when
//! one that depends on it has. Nothing of this costs anything where no service has such files.

use super::Init;
use super::config::Root;
use super::inputs::Listing;
use super::log::one_line;
use super::table::{Slot, SlotId};
use super::warnings::Matter;
use crate::machine::fleet::links::{Kind, Links, is_being_stopped, is_brought_up};
use crate::machine::policy::Gate;
use crate::machine::{Command, Event, ServiceState, Want};
use crate::sys::{Errno, fs};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// The directories that hold them.
const PLACES: [(&str, Kind); 2] = [("dependencies.d", Kind::Needs), ("after.d", Kind::After)];
/// Reads of each of them. More names than that are no dependencies of one service.
const READS: usize = 16;
/// Services looked at again in one turn.
const LOOKS_A_TURN: usize = 4096;

/// How the services depend on each other.
#[derive(Default)]
pub(super) struct Dependencies {
    links: Links<OsString>,
    /// Services that may start, or be stopped, by now.
    due: VecDeque<SlotId>,
    /// Names or links have come or gone.
    is_unsettled: bool,
}

impl Dependencies {
    pub(super) fn has_backlog(&self) -> bool {
        !self.due.is_empty()
    }
}

impl Init {
    /// What the directory of a service says about it. What cannot be read is as it was.
    pub(super) fn read_links(&mut self, at: SlotId, listing: &Listing) {
        let Some(slot) = self.table.get(at).filter(|slot| !slot.is_logger()) else { return };
        if !(self.config.personality.reads_small_files && matches!(self.config.root, Root::Directory(_))) {
            return;
        }
        let (name, mut links, mut troubles) = (slot.name.clone(), Vec::new(), Vec::new());
        for (place, kind) in PLACES.into_iter().filter(|(place, _)| listing.may_have(place)) {
            let mut add = |name: &[u8]| links.push((kind, OsStr::from_bytes(name).to_owned()));
            match fs::list(&slot.dir, place, READS, |name| {
                if !name.starts_with(b".") {
                    add(name)
                }
            }) {
                Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => troubles.push((place, errno)),
            }
        }
        links.sort_unstable();
        links.dedup_by(|after, needs| after.1 == needs.1);
        for (place, _) in PLACES {
            let trouble = troubles.iter().find(|(troubled, _)| *troubled == place);
            let trouble = trouble.map(|(_, errno)| format!("cannot read {place}: {}", errno.desc()));
            self.warn_of_bad_value(at, place, trouble);
        }
        if troubles.is_empty() {
            let has_links = !links.is_empty();
            self.dependencies.is_unsettled |= self.dependencies.links.set(&name, links);
            self.table.get_mut(at).into_iter().for_each(|slot| slot.has_links = has_links);
        }
    }

    /// Whether a service may start now, as far as that depends on others and on its conditions.
    pub(super) fn look_at_gate(&mut self, at: SlotId, listing: &Listing) {
        let awaits_unknown = self.awaited(at).map(|(_, name)| self.table.named(name).is_none());
        self.dependencies.is_unsettled |= awaits_unknown == Some(true); // which is told when all is settled
        let gate = if awaits_unknown.is_some() {
            Gate::Waiting
        } else if self.is_to_be_skipped(at, listing) {
            Gate::Skipped
        } else if self.waits_for_caller(at, listing) {
            Gate::Waiting
        } else {
            Gate::Open
        };
        if let Some(slot) = self.table.get_mut(at) {
            slot.service.inputs.gate = gate;
        }
    }

    /// Whether a service is not to be stopped yet.
    pub(super) fn look_at_hold(&mut self, at: SlotId) {
        let held = !self.dependencies.links.is_empty() && self.is_held(at);
        if self.table.get(at).is_some_and(|slot| slot.service.inputs.held != held) {
            self.table.get_mut(at).into_iter().for_each(|slot| slot.service.inputs.held = held);
        }
    }

    fn is_held(&self, at: SlotId) -> bool {
        let all_stop = self.system.is_stopping();
        let is_stopping = |name: &OsString| {
            let slot = self.table.named(name).and_then(|at| self.table.get(at));
            slot.is_some_and(|slot| is_being_stopped(&slot.service.view(), all_stop))
        };
        self.table.get(at).is_some_and(|slot| self.dependencies.links.is_held(&slot.name, is_stopping))
    }

    /// What a service waits for.
    fn awaited(&self, at: SlotId) -> Option<(Kind, &OsString)> {
        let slot = self.table.get(at)?;
        // Who is not there may come as long as not all names have been looked at.
        let all_here = !self.scan.has_backlog() && !self.scan.has_newcomers();
        let unknown = if all_here { None } else { Some(ServiceState::Starting) };
        let state = |name: &OsString| {
            let slot = self.table.named(name).and_then(|at| self.table.get(at));
            slot.map_or(unknown, |slot| Some(if slot.can_be_called() { ServiceState::Up } else { slot.state() }))
        };
        self.dependencies.links.awaited(&slot.name, state)
    }

    /// What a service waits for, in words.
    pub(super) fn awaited_text(&self, at: SlotId) -> Option<String> {
        let Some((_, name)) = self.awaited(at) else {
            return self.table.get(at).filter(|slot| slot.can_be_called()).map(|_| "a connection".to_owned());
        };
        let shown = one_line(name);
        Some(match self.table.named(name).and_then(|at| self.table.get(at)) {
            Some(slot) => {
                let seconds = self.now.since(slot.service.view().since).as_secs();
                format!("{shown} ({}, {seconds}s)", slot.state())
            }
            None => format!("{shown} (not there)"),
        })
    }

    /// A service is another than it was: others may start, or be stopped, for that.
    pub(super) fn tell_dependents(&mut self, at: SlotId) {
        let links = &self.dependencies.links;
        let Some(slot) = self.table.get(at).filter(|slot| links.concern(&slot.name)) else { return };
        let is_held = |at: &SlotId| self.table.get(*at).is_some_and(|slot| slot.service.is_stop_due());
        let waiting = links.dependents(&slot.name).filter_map(|(_, name)| self.table.named(name));
        let held = links.of(&slot.name).filter_map(|(_, name)| self.table.named(name)).filter(is_held);
        self.dependencies.due.extend(waiting.filter(|at| self.is_waiting(*at)).chain(held).collect::<Vec<_>>());
    }

    fn is_waiting(&self, at: SlotId) -> bool {
        self.table.get(at).is_some_and(|slot| slot.state() == ServiceState::Waiting)
    }

    /// A service has come, gone, or got another name.
    pub(super) fn links_of_names_changed(&mut self) {
        self.dependencies.is_unsettled |= !self.dependencies.links.is_empty();
    }

    /// It goes by another name, or by none.
    pub(super) fn forget_links(&mut self, name: &OsString) {
        if self.dependencies.links.concern(name) {
            self.dependencies.is_unsettled |= self.dependencies.links.set(name, Vec::new());
        }
    }

    /// Starts those that need not wait any more, and stops those that are held no longer.
    pub(super) fn follow_links(&mut self) {
        self.settle_links();
        for _ in 0..LOOKS_A_TURN {
            let Some(at) = self.dependencies.due.pop_front() else { return };
            self.wait_for_exec(); // what has just been started may not run
            let is_due = (self.is_waiting(at) && self.awaited(at).is_none())
                || (self.table.get(at).is_some_and(|slot| slot.service.is_stop_due()) && !self.is_held(at));
            if is_due {
                self.apply(at, Event::Tick);
            }
        }
    }

    /// All names have been looked at: who waits for what is not there, or in a circle, shows now.
    fn settle_links(&mut self) {
        if self.scan.has_backlog() || self.scan.has_newcomers() || !std::mem::take(&mut self.dependencies.is_unsettled)
        {
            return;
        }
        for way in self.dependencies.links.settle() {
            self.warn_of_circle(&way);
        }
        let services = self.table.services();
        let is_down = |slot: &Slot| slot.state() == ServiceState::Down && slot.service.history().begun() == 0;
        let any_down = services.iter().any(|at| self.table.get(*at).is_some_and(is_down));
        for at in services {
            let Some(slot) = self.table.get(at).filter(|slot| slot.has_links) else { continue };
            if any_down && slot.service.view().want == Want::Up && self.system.is_up() {
                self.start_needs(at, is_down);
            }
            self.warn_of_unknown(at);
            self.dependencies.due.push_back(at);
        }
    }

    fn warn_of_circle(&self, way: &[OsString]) {
        let Some(first) = way.first() else { return };
        let names: Vec<_> = way.iter().map(|name| one_line(name)).collect();
        let names = names.join(" -> ");
        let line = format!("depends on itself: {names}; these do not wait for each other");
        self.config.log.warn(Some(first), &line);
    }

    fn warn_of_unknown(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at) else { return };
        let needs = self.dependencies.links.of(&slot.name).filter(|(kind, _)| *kind == Kind::Needs);
        let unknown = needs.map(|(_, name)| name).find(|name| self.table.named(name).is_none());
        let waits = slot.state() == ServiceState::Waiting;
        match unknown.map(|name| one_line(name)) {
            Some(name) if waits => {
                self.warn_about(at, Matter::Needs, format!("waits for {name} (dependencies.d), which is not there"));
            }
            Some(_) => {}
            None => _ = self.table.get_mut(at).and_then(|slot| slot.warnings.take(Matter::Needs)),
        }
    }

    // Orders.

    /// An order that somebody has given: `up` brings up what is needed, and what needs it stops first at a `down`.
    pub(super) fn obey(&mut self, at: SlotId, command: Command) {
        match command {
            Command::Up | Command::Once => self.start_needs(at, |_| true),
            Command::Down | Command::Exit => self.stop_dependents(at),
            Command::NoRestart
            | Command::Term
            | Command::StopSignal
            | Command::Kill(_)
            | Command::Pause(_)
            | Command::Continue(_)
            | Command::Signal(_)
            | Command::Reload
            | Command::Replace
            | Command::Disable
            | Command::Enable => {}
        }
        self.apply(at, Event::Command(command));
    }

    /// Brings up what a service needs and is not wanted up, as far as this holds for it.
    fn start_needs(&mut self, at: SlotId, which: impl Fn(&Slot) -> bool) {
        let Some(slot) = self.table.get(at).filter(|slot| slot.has_links) else { return };
        for name in self.dependencies.links.needs(&slot.name) {
            let Some(at) = self.table.named(&name) else { continue };
            let is_to_start = |slot: &&Slot| is_brought_up(slot.state(), slot.service.view().want);
            if self.table.get(at).filter(is_to_start).is_some_and(&which) {
                self.apply(at, Event::Command(Command::Up));
            }
        }
    }

    fn stop_dependents(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at).filter(|slot| self.dependencies.links.concern(&slot.name)) else { return };
        let needed_by = self.dependencies.links.needed_by(&slot.name);
        let is_wanted = |at: &SlotId| self.table.get(*at).is_some_and(|slot| slot.service.view().want != Want::Down);
        let stopped: Vec<SlotId> =
            needed_by.iter().filter_map(|name| self.table.named(name)).filter(is_wanted).collect();
        if stopped.is_empty() {
            return;
        }
        let names: Vec<_> = stopped.iter().filter_map(|at| Some(one_line(&self.table.get(*at)?.name))).collect();
        self.warn(at, &format_args!("told to stop; stopping first what needs it: {}", names.join(", ")));
        for at in stopped {
            self.apply(at, Event::Command(Command::Down));
        }
    }

    /// Somebody asks to look at everything again.
    pub(super) fn read_all_links(&mut self) {
        for at in self.table.services() {
            self.read_links(at, &Listing::UNKNOWN);
        }
    }

    /// A supervisor goes on from what another one has left: links are read again, and news may have been lost.
    pub(super) fn restore_links(&mut self, at: SlotId) {
        if self.table.get(at).is_some_and(|slot| slot.has_links) {
            self.read_links(at, &Listing::UNKNOWN);
            self.dependencies.due.push_back(at);
        }
    }
}
