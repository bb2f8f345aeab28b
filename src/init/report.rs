//! What is told to clients that ask, and to subscribers: the table in the words of the api.

use super::Init;
use super::config::Root;
use super::publish::stamp;
use super::table::{LogPipe, Slot, SlotId};
use super::warnings::Matter;
use crate::machine::history::Life;
use crate::machine::probe::Health;
use crate::machine::{Exit, Mono, Phase, ServiceState, View, Want};
use crate::sys::fs;
use crate::wire::api::{Event, EventKind, ExitRecord, Hello, Line, RunRecord, ServiceStatus, SupervisorState};
use crate::wire::tai::Tai;
use std::ffi::OsStr;
use std::time::Duration;

impl Init {
    pub(super) fn hello(&self, control: bool) -> Line {
        let directory = match &self.config.root {
            Root::Directory(path) | Root::Service(path) => fs::absolute(path).display().to_string(),
            Root::Nothing => String::new(),
        };
        Line::Hello(Hello {
            api: crate::wire::api::VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id().cast_signed(),
            view: self.mirror.path().map_or_else(|| directory.clone(), |view| view.display().to_string()),
            directory,
            state: if self.system.is_up() { SupervisorState::Up } else { SupervisorState::Stopping }.into(),
            control,
        })
    }

    /// What is known of a service now.
    pub(super) fn status_line(&self, at: SlotId) -> Option<Line> {
        let slot = self.table.get(at)?;
        let view = slot.service.view();
        let since = match slot.published {
            Some((shown, stamp)) if shown.since == view.since => stamp,
            _ => stamp(view.since, self.now),
        };
        let is_waiting = slot.state() == ServiceState::Waiting;
        let next = slot.service.next_start().filter(|_| !is_waiting).map(|at| seconds(at.since(self.now)));
        let probe = slot.service.probe();
        let is_up = view.phase == Phase::Run && !slot.is_pending;
        let said = slot.said.as_ref();
        Some(Line::Service(Box::new(ServiceStatus {
            name: text(&slot.name),
            state: slot.state().into(),
            want: view.want.into(),
            leaving: view.leaving,
            pid: view.pid.map(|pid| pid.0),
            since: unix(since),
            seconds: seconds(self.now.since(view.since)),
            ready: if is_up && !knows_readiness(slot) {
                None
            } else {
                Some(is_up && view.is_ready || slot.can_be_called())
            },
            paused: view.paused,
            enabled: !fs::exists(&slot.dir, "down"),
            restarts: Some(slot.service.history().restarts()),
            flapping: slot.service.history().flapping(self.now).map(|ends| ends as u64),
            exit: slot.service.history().last_end().map(|end| exit_record(end.exit)),
            next,
            health: slot.service.health().map(Into::into),
            health_failures: probe.asked().map(|_| probe.failures().into()),
            health_asked: probe.asked().map(|at| unix(stamp(at, self.now))),
            logger: matches!(slot.log_pipe, LogPipe::Logger { .. }),
            reason: match slot.state() {
                ServiceState::Waiting => self.awaited_text(at),
                ServiceState::Skipped => slot.warnings.of(Matter::Skipped).cloned(),
                _ => None,
            },
            trouble: slot.warnings.worst().cloned(),
            reloading: slot.notifies().then(|| slot.service.is_reloading()),
            status_text: said.map(|said| said.status.clone()).filter(|text| !text.is_empty()),
            errno: said.and_then(|said| said.errno),
            successor: slot.service.beside().filter(|_| slot.service.is_being_replaced()).map(|pid| pid.0),
        })))
    }

    pub(super) fn life_lines(&self, at: SlotId) -> Vec<Line> {
        let Some(slot) = self.table.get(at) else { return Vec::new() };
        let knows = knows_readiness(slot);
        slot.service.history().lives().iter().map(|life| Line::Life(self.life(life, knows))).collect()
    }

    /// `knows`: whether we know when its process was ready.
    fn life(&self, life: &Life, knows: bool) -> RunRecord {
        let at = |instant: Mono| unix(stamp(instant, self.now));
        RunRecord {
            pid: life.pid.0,
            start: at(life.start),
            ready: life.ready.filter(|_| knows).map(at),
            end: life.end.map(|end| at(end.at)),
            seconds: seconds(life.end.map_or(self.now, |end| end.at).since(life.start)),
            exit: life.end.map(|end| exit_record(end.exit)),
            asked: life.end.is_some_and(|end| end.asked),
        }
    }

    /// Tells the subscribers what has become of a service. `exit`: its process has just ended like this.
    pub(super) fn publish_change(&mut self, at: SlotId, before: (ServiceState, View), exit: Option<Exit>) {
        if !self.api.has_subscribers() {
            return;
        }
        let Some(slot) = self.table.get(at) else { return };
        let (old, (new, view)) = (before.0, seen(slot));
        let event = Event {
            old: Some(old.into()),
            new: Some(new.into()),
            want: Some(view.want.into()),
            pid: view.pid.map(|pid| pid.0),
            exit: exit.map(exit_record),
            ..self.event(EventKind::State, Some(&slot.name))
        };
        self.api.publish(&Line::Event(event));
    }

    /// Tells the subscribers how well a service is, if that has changed.
    pub(super) fn publish_health(&mut self, at: SlotId, before: Option<Health>) {
        let Some(slot) = self.table.get(at).filter(|_| self.api.has_subscribers()) else { return };
        let (health, (state, view)) = (slot.service.health(), seen(slot));
        if health == before {
            return;
        }
        let event = Event {
            new: Some(state.into()),
            want: Some(view.want.into()),
            pid: view.pid.map(|pid| pid.0),
            health: health.map(Into::into),
            ..self.event(EventKind::Health, Some(&slot.name))
        };
        self.api.publish(&Line::Event(event));
    }

    /// Tells the subscribers that a service has come, or gone, or that everything stops.
    pub(super) fn publish_event(&mut self, what: EventKind, name: Option<&OsStr>) {
        if self.api.has_subscribers() {
            let event = self.event(what, name);
            self.api.publish(&Line::Event(event));
        }
    }

    fn event(&self, what: EventKind, name: Option<&OsStr>) -> Event {
        let time = unix(stamp(self.now, self.now));
        let name = name.map(text);
        Event { what: what.into(), time, name, old: None, new: None, want: None, pid: None, exit: None, health: None }
    }
}

/// What stands in the directory and is not supervised, and why.
pub(super) fn refused_line(name: &OsStr, why: &str) -> Line {
    Line::Service(Box::new(ServiceStatus {
        restarts: Some(0),
        trouble: Some(why.to_owned()),
        ..ServiceStatus::new(text(name), ServiceState::Refused, Want::Up)
    }))
}

/// What can be seen of a service, and the word for it.
pub(super) fn seen(slot: &Slot) -> (ServiceState, View) {
    (slot.state(), slot.service.view())
}

/// A service that does not say when it is ready is so at once, unless it has a `check`: only that knows, and we run it only
/// where `readiness` says so.
fn knows_readiness(slot: &Slot) -> bool {
    let inputs = &slot.service.inputs;
    inputs.readiness.is_acted_on() || slot.service.probe().checks() || !fs::exists(&slot.dir, "check")
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

fn exit_record(exit: Exit) -> ExitRecord {
    ExitRecord::of(exit)
}

/// To the millisecond, which is as exact as the wall clock is.
fn seconds(span: Duration) -> f64 {
    span.as_millis() as f64 / 1e3
}

fn unix(at: Tai) -> f64 {
    at.unix as f64 + f64::from(at.nanos / 1_000_000) / 1e3
}
