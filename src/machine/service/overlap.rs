//! `run` is replaced without a gap: a second one starts beside it, and takes its place when it is ready.

use super::{Awaited, KILL_RETRY, Role, Service, State, sooner};
use crate::machine::overlap::{Overlap, PROVEN, READY_LIMIT};
use crate::machine::rare::Rare;
use crate::machine::readiness::Readiness;
use crate::machine::{Effect, Exit, Mono, Outcome, Pid, Refusal, Script, Signal, Step, Unreplaced, Want};

impl Service {
    /// The process beside `run`: the one that may take its place, or the one whose place was taken.
    pub fn beside(&self) -> Option<Pid> {
        self.overlap.pid()
    }

    /// The process that is to take the place of `run`, or whether one was asked for.
    pub fn is_being_replaced(&self) -> bool {
        matches!(*self.overlap, Overlap::Asked | Overlap::Beside { .. })
    }

    /// Why a second `run` cannot be started now, if it cannot.
    pub fn why_not_replaced(&self) -> Option<&'static str> {
        let is_checked = matches!(self.readiness(), Readiness::Check(_));
        match *self.overlap {
            _ if !self.rules.setup || self.role != Role::Main => Some("it is none whose run could be replaced"),
            _ if !self.is_to_go_on() || self.is_to_end() => Some("it does not run, or is about to end"),
            Overlap::Asked | Overlap::Beside { .. } => Some("another one is starting beside it already"),
            Overlap::Ending { .. } => Some("the one before has not ended yet"),
            Overlap::None if is_checked => Some(
                "check cannot tell whether it is the new one that answers: use notification-fd, readiness notify or a time",
            ),
            Overlap::None => None,
        }
    }

    /// The service is told to end, or is about to be.
    fn is_to_end(&self) -> bool {
        self.leaving || self.escalated || self.stop_due || self.want == Want::Down
    }

    /// Somebody wants `run` replaced.
    pub(super) fn replace(&mut self) -> Step {
        if self.why_not_replaced().is_some() {
            return Step::NOTHING;
        }
        self.overlap = Rare::of(Overlap::Asked);
        Step::starting(Script::Successor)
    }

    pub(super) fn second_started(&mut self, now: Mono, pid: Pid) -> Step {
        let proven = Awaited::Time(now.after(PROVEN));
        let awaited = Awaited::of(self.readiness(), now).unwrap_or(proven);
        let ready_by = now.after(self.inputs.limits.up_limit.unwrap_or(READY_LIMIT));
        self.overlap = Rare::of(Overlap::Beside { pid, started: now, awaited, ready_by });
        Step::NOTHING
    }

    pub(super) fn second_not_started(&mut self, why: Refusal) -> Step {
        self.overlap = Rare::of(Overlap::None);
        Outcome::NotReplaced(Unreplaced::NotStarted(why)).into()
    }

    /// The second one says that it is ready.
    pub(super) fn second_is_ready(&mut self, now: Mono) -> Step {
        match (*self.overlap, self.state) {
            (Overlap::Beside { .. }, State::Up { .. }) if self.is_to_end() => self.end_second(now),
            (Overlap::Beside { pid, started, .. }, State::Up { pid: old, kill_at, .. }) => {
                self.take_place(now, pid, started, None).then(self.end_beside(now, old, kill_at))
            }
            // It was told to end meanwhile.
            (Overlap::None | Overlap::Asked | Overlap::Ending { .. } | Overlap::Beside { .. }, _) => Step::NOTHING,
        }
    }

    /// `run` has ended beside the second one, and is wanted: that one goes on in its place, ready or not.
    pub(super) fn second_goes_on(&mut self, now: Mono, dead: Pid, exit: Exit) -> Option<Step> {
        let Overlap::Beside { pid, started, awaited, .. } = *self.overlap else { return None };
        if self.is_to_end() {
            return None;
        }
        let step = self.take_place(now, pid, started, Some(awaited));
        self.overlap = Rare::of(Overlap::None);
        self.history.end_earlier(dead, now, exit);
        Some(step.then(self.kill_leftovers(dead, Script::Successor)))
    }

    fn take_place(&mut self, now: Mono, pid: Pid, started: Mono, awaited: Option<Awaited>) -> Step {
        let probes = self.end_probes(now, true);
        self.state = State::Up { pid, started, kill_at: None };
        (self.since, self.awaited, self.notified) = (started, awaited, Default::default());
        (self.paused, self.got_term, self.stop_handled) = (false, false, false);
        (self.stop_requested, self.signalled) = (false, None);
        self.history.replace(started, pid, awaited.is_none().then_some(now));
        let health = if awaited.is_none() { self.begin_health(now) } else { Step::NOTHING };
        Step::from(Outcome::Replaced).then(probes).then(health)
    }

    /// Tells this process to end, and gives it the time that a stop has, or what was left of it.
    fn end_beside(&mut self, now: Mono, pid: Pid, running: Option<Mono>) -> Step {
        let new = self.inputs.limits.kill_after.map(|limit| now.after(limit));
        let kill_at = new.map_or(running, |new| Some(sooner(running, new)));
        self.overlap = Rare::of(Overlap::Ending { pid, kill_at });
        self.stop_beside()
    }

    /// The signals of an orderly stop for the process beside `run`, if that is to end.
    pub(super) fn stop_beside(&self) -> Step {
        let Overlap::Ending { pid, .. } = *self.overlap else { return Step::NOTHING };
        let mut step = Step::from(Effect::Signal(pid, self.inputs.limits.stop_signal, self.reach()));
        step.push(Effect::Signal(pid, Signal::CONT, self.reach()));
        step
    }

    /// The service is told to end, and with it who was to take its place.
    pub(super) fn end_second(&mut self, now: Mono) -> Step {
        match *self.overlap {
            Overlap::Beside { pid, .. } => self.end_beside(now, pid, None),
            Overlap::None | Overlap::Asked | Overlap::Ending { .. } => Step::NOTHING,
        }
    }

    /// The process beside `run` has ended, if that was it.
    pub(super) fn beside_died(&mut self, now: Mono, dead: Pid, exit: Exit) -> Option<Step> {
        let outcome = match *self.overlap {
            Overlap::Beside { pid, .. } if pid == dead => Some(Outcome::NotReplaced(Unreplaced::Ended(exit))),
            Overlap::Ending { pid, .. } if pid == dead => None,
            Overlap::None | Overlap::Asked | Overlap::Beside { .. } | Overlap::Ending { .. } => return None,
        };
        self.overlap = Rare::of(Overlap::None);
        self.history.end_earlier(dead, now, exit);
        let step = outcome.map_or(Step::NOTHING, Step::from);
        Some(step.then(self.kill_leftovers(dead, Script::Successor)))
    }

    pub(super) fn tick_overlap(&mut self, now: Mono) -> Option<Step> {
        match *self.overlap {
            Overlap::Beside { awaited: Awaited::Time(at), ready_by, .. } if at <= now && at <= ready_by => {
                Some(self.second_is_ready(now))
            }
            Overlap::Beside { pid, ready_by, .. } if ready_by <= now => {
                Some(Step::from(Outcome::NotReplaced(Unreplaced::Late)).then(self.end_beside(now, pid, None)))
            }
            Overlap::Ending { pid, kill_at: Some(at) } if at <= now => {
                self.overlap = Rare::of(Overlap::Ending { pid, kill_at: Some(now.after(KILL_RETRY)) });
                Some(Effect::KillLate(pid, Script::Successor).into())
            }
            Overlap::None | Overlap::Asked | Overlap::Beside { .. } | Overlap::Ending { .. } => None,
        }
    }
}
