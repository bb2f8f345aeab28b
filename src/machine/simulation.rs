//! A world for [`Service`] to live in, without processes and without waiting.
//!
//! [`World`] answers each start at once, keeps the processes that live, lets them die, and jumps through time. After
//! each event it compares the machine with what a bystander knows ([`Known`]), so each test in the rooms below also
//! checks that:
//!
//! - never two `run`s live, nor `run` beside `finish`, nor two `control/X`, nor two probes
//! - `check` asks a `run` that is not ready, `health` one that is, and neither outlives it or its order to stop
//! - no signal goes to a process that is not alive and ours
//! - few starts follow from one event
//! - what is wanted up has a process or a deadline; what is not wanted starts nothing and has no deadline
//! - starts that no order asked for are as far apart as the pauses say, and stop where the limits say so
//! - the view names the living process, since when, and flags that belong to it
//! - no deadline is left in the past, so nobody wakes in vain
//! - where `kill-mode` says so, what a program leaves behind is killed before anything else starts
//! - programs with a time limit are killed when it is over, not before

mod fleet;
mod graphs;
mod promises;
mod states;
mod transitions;
mod walks;

use super::notify::Notification;
use super::policy::{Essential, Gate, KillMode, Leave, Limits, Scripts, ServiceRules};
use super::probe::{HealthAction, HealthPolicy};
use super::rare::Rare;
use super::readiness::Readiness;
use super::restart::{Restart, Rules};
use super::service::{Role, Service};
use super::{
    Command, Effect, Event, Exit, Mono, Outcome, Phase, Pid, Refusal, Script, ServiceState, Signal, Target, Want,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// More starts than this never follow from one event: `finish`, `control/u`, `run`, and `finish` again.
const MOST_STARTS: usize = 4;

/// Every command, each signal command once.
const COMMANDS: [Command; 20] = [
    Command::Up,
    Command::Down,
    Command::Once,
    Command::NoRestart,
    Command::Exit,
    Command::Term,
    Command::StopSignal,
    Command::Kill(Target::Process),
    Command::Kill(Target::Group),
    Command::Pause(Target::Process),
    Command::Pause(Target::Group),
    Command::Continue(Target::Process),
    Command::Continue(Target::Group),
    Command::Signal(Signal::HUP),
    Command::Signal(Signal::INT),
    Command::Signal(Signal::USR1),
    Command::Signal(Signal::WINCH),
    Command::Reload,
    Command::Disable,
    Command::Enable,
];

/// A program that a service may have or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Program {
    Absent,
    Runs,
    Refused(Refusal),
}

/// What becomes of a start. Hooks are named by their commands' words; the others are there only to be refused.
#[derive(Clone, Copy, Debug)]
struct Programs {
    setup: Program,
    /// There is no `run` beside `setup`.
    oneshot: bool,
    run: Option<Refusal>,
    finish: Program,
    stop: Program,
    hooks: &'static [Command],
    refused_hooks: Option<Refusal>,
    refused_probes: Option<Refusal>,
}

impl Programs {
    const RUN: Programs = Programs {
        setup: Program::Absent,
        oneshot: false,
        run: None,
        finish: Program::Absent,
        stop: Program::Absent,
        hooks: &[],
        refused_hooks: None,
        refused_probes: None,
    };
    const RUN_AND_FINISH: Programs = Programs { finish: Program::Runs, ..Programs::RUN };

    fn scripts(&self) -> Scripts {
        let finish = self.finish != Program::Absent;
        let has_hook = |command| self.refused_hooks.is_some() || self.hooks.contains(&command);
        let mut scripts = Scripts::default().with_hooks(has_hook);
        scripts.finish = finish;
        scripts.stop = self.stop != Program::Absent;
        scripts.setup = self.setup != Program::Absent;
        scripts.oneshot = scripts.setup && self.oneshot;
        scripts
    }

    fn refusal(&self, script: Script) -> Option<Refusal> {
        let of = |program| match program {
            Program::Runs => None,
            Program::Refused(why) => Some(why),
            Program::Absent => Some(Refusal::Exec),
        };
        match script {
            Script::Setup => of(self.setup),
            Script::Run | Script::Successor => self.run,
            Script::Finish(_) => of(self.finish),
            Script::Stop => of(self.stop),
            Script::Control(command) if self.hooks.contains(&command) => None,
            Script::Control(_) => Some(self.refused_hooks.expect("it has no such hook")),
            Script::Check | Script::Health => self.refused_probes,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Process {
    pid: Pid,
    script: Script,
    born: Mono,
    /// When it must end, by what was known at its start.
    limit: Option<Duration>,
    /// It was told to end, in a way that it obeys unless it is stopped.
    told: bool,
    stopped: bool,
    /// KILL was sent, which no later STOP holds up.
    doomed: bool,
    /// It was last killed for being late at.
    killed: Option<Mono>,
    /// For a probe and `stop`: the `run` that it is about.
    about: Option<Pid>,
}

/// What a bystander knows from the orders and the deaths alone.
#[derive(Clone, Debug)]
struct Known {
    want: Want,
    paused: bool,
    up_since: Mono,
    down_since: Mono,
    /// One start was ordered, whatever is wanted later.
    owed: bool,
    /// Somebody asked for the next start, with rules in which that ends a pause.
    hasty: bool,
    attempted: Option<Mono>,
    stop_sent: bool,
    /// The stop signal had been sent before what happens now.
    had_term: bool,
    /// `run` was told to end by an order.
    asked_to_end: bool,
    /// An order sent a signal to `run`.
    signalled: Option<Mono>,
    /// The ends of `run` that no order caused, since it was told to start.
    ends: Vec<Mono>,
    /// How many of the last of them followed each other without a long life.
    streak: u32,
    /// No order caused the last end of `run`.
    failed: bool,
    /// `setup` has ended well, and `run` follows.
    set_up: bool,
    /// There was no process for the last start.
    no_process: bool,
    /// What has just ended, and is to leave nothing behind.
    leaves: Option<(Pid, Script)>,
    /// What held when its life began.
    kill_mode: KillMode,
    /// When the life of now began, with `setup` if there is one.
    life_since: Mono,
    /// `run` follows a `setup` of the same life.
    follows_setup: bool,
    /// `run` is not ready yet, and may become so.
    awaited: bool,
    /// Since when it is ready.
    ready_since: Option<Mono>,
    /// How often `run` says that it is alive, and since when it has not.
    alive: Option<(Duration, Mono)>,
    /// It wants what follows from that.
    triggered: bool,
    /// What it has said of itself.
    reloading: bool,
    stopping: bool,
    /// It has said that until then it is not to be given up.
    more_time: Mono,
    /// How many of the last lives were never ready.
    unready: u32,
    /// How many times in a row `health` has failed in this life.
    unwell: u32,
    /// `run` was stopped for it.
    stopped_as_unhealthy: bool,
    escalated: bool,
}

#[derive(Clone, Debug)]
struct World {
    service: Service,
    rules: &'static ServiceRules,
    role: Role,
    limits: Limits,
    programs: Programs,
    now: Mono,
    born: i32,
    living: Vec<Process>,
    /// What a logger leaves in its pipe when it ends.
    unread: usize,
    /// What was in its pipe when that was last looked at.
    left: usize,
    essential: Option<Essential>,
    restarts: Rare<Rules>,
    readiness: Readiness,
    /// How `health` is asked, if there is one.
    health: Option<HealthPolicy>,
    kill_mode: KillMode,
    gate: Gate,
    held: bool,
    /// What held when `run` was started.
    readiness_of_life: Readiness,
    readiness_of_second: Readiness,
    /// What the last event meant for others.
    outcome: Option<Outcome>,
    known: Known,
}

impl World {
    /// Supervision has not begun yet.
    fn new(rules: &'static ServiceRules, role: Role, want: Want) -> World {
        let now = Mono(1_000_000_000);
        World {
            service: Service::new(rules, role, want, now),
            rules,
            role,
            limits: Limits::of(rules),
            programs: Programs::RUN_AND_FINISH,
            now,
            born: 0,
            living: Vec::new(),
            unread: 0,
            left: usize::MAX,
            essential: None,
            restarts: Rare::default(),
            readiness: Readiness::None,
            health: None,
            kill_mode: KillMode::Process,
            gate: Gate::Open,
            held: false,
            readiness_of_life: Readiness::None,
            readiness_of_second: Readiness::None,
            outcome: None,
            known: Known {
                want,
                paused: false,
                up_since: now,
                down_since: now,
                owed: false,
                hasty: false,
                attempted: None,
                stop_sent: false,
                had_term: false,
                asked_to_end: false,
                signalled: None,
                ends: Vec::new(),
                streak: 0,
                failed: false,
                set_up: false,
                no_process: false,
                leaves: None,
                kill_mode: KillMode::Process,
                life_since: now,
                follows_setup: false,
                awaited: false,
                ready_since: None,
                alive: None,
                triggered: false,
                reloading: false,
                stopping: false,
                more_time: Mono(0),
                unready: 0,
                unwell: 0,
                stopped_as_unhealthy: false,
                escalated: false,
            },
        }
    }

    /// `run` lives, and has for a while.
    fn up(rules: &'static ServiceRules) -> World {
        World::up_as(rules, Role::Main)
    }

    fn up_as(rules: &'static ServiceRules, role: Role) -> World {
        let mut world = World::new(rules, role, Want::Up);
        assert_eq!(world.begin(), "run");
        world.pass(10 * SECOND);
        world
    }

    fn with(mut self, programs: Programs) -> World {
        self.programs = programs;
        self
    }

    fn hooked(self, hooks: &'static [Command]) -> World {
        self.with(Programs { hooks, ..Programs::RUN_AND_FINISH })
    }

    fn limited(mut self, limits: Limits) -> World {
        self.limit(limits);
        self
    }

    fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        self.service.inputs.limits = limits;
    }

    // What can happen. Each tells in words what the machine did, up to the point where it waits again.

    fn begin(&mut self) -> String {
        self.handle(Event::Begin)
    }

    fn order(&mut self, command: Command) -> String {
        self.learn(command);
        self.handle(Event::Command(command))
    }

    fn orders<const N: usize>(&mut self, commands: [Command; N]) -> [String; N] {
        commands.map(|command| self.order(command))
    }

    /// The one process that is no hook and no probe ends.
    fn ends(&mut self, exit: Exit) -> String {
        let at = self.living.iter().position(|p| part(p.script) == Part::Life).expect("run or finish lives");
        self.death(at, exit)
    }

    /// `check` or `health` ends.
    fn probe_ends(&mut self, exit: Exit) -> String {
        let at = self.living.iter().position(|p| part(p.script) == Part::Probe).expect("a probe lives");
        self.death(at, exit)
    }

    fn hook_ends(&mut self, exit: Exit) -> String {
        let at = self.living.iter().position(|p| is_control(p.script)).expect("a hook lives");
        self.death(at, exit)
    }

    fn death(&mut self, at: usize, exit: Exit) -> String {
        let mut dead = self.living.swap_remove(at);
        if dead.script == Script::Run && self.second_goes_on() {
            dead.script = Script::Successor; // the other one is `run`
        }
        if part(dead.script) == Part::Life {
            self.known.down_since = self.now;
        }
        if part(dead.script) == Part::Probe {
            self.learn_of_answer(&dead, exit);
        }
        let gives_up = matches!(dead.script, Script::Finish(_)) && exit == Exit::GIVE_UP && !self.known.owed;
        if gives_up && self.rules.finish_gives_up {
            self.known.want = Want::Down;
        }
        let leaves =
            self.known.kill_mode != KillMode::Process && matches!(part(dead.script), Part::Life | Part::Second);
        self.known.leaves = leaves.then_some((dead.pid, dead.script));
        if dead.script == Script::Setup {
            self.learn_of_setup(exit);
        }
        if dead.script == Script::Run {
            let is_over = self.learn_of_end(exit);
            if self.is_essential_end(exit) {
                self.known.want = Want::Once;
            } else if is_over {
                self.known.want = Want::Down;
            }
        }
        if dead.script == Script::Stop && exit == Exit::Code(0) && !dead.doomed {
            // It has told `run` to end.
            self.living.iter_mut().filter(|p| Some(p.pid) == dead.about).for_each(|run| run.told = true);
        }
        if self.role == Role::Logger && self.service.view().leaving {
            self.known.hasty |= self.unread < self.left; // it reads, so it need not wait
            self.left = self.unread;
        }
        self.handle(Event::Died(dead.pid, exit))
    }

    /// A second `run` lives that was not told to end, and the service is wanted.
    fn second_goes_on(&self) -> bool {
        let is_second = |process: &Process| process.script == Script::Successor && !process.told && !process.doomed;
        let is_wanted = self.service.view().want != Want::Down && !self.service.view().leaving && !self.known.escalated;
        is_wanted && self.living.iter().any(is_second)
    }

    /// It is `run` now, and the one before, if that lives, is to end.
    fn learn_of_replacement(&mut self) {
        let old = self.living.iter().position(|process| process.script == Script::Run);
        let is_second = |process: &Process| process.script == Script::Successor && !process.told && !process.doomed;
        let new = self.living.iter().position(is_second).expect("a second one lives");
        self.living[new].script = Script::Run;
        if let Some(old) = old {
            (self.living[old].script, self.living[old].limit) = (Script::Successor, None);
        }
        let (born, now, known) = (self.living[new].born, self.now, &mut self.known);
        self.readiness_of_life = match self.readiness_of_second {
            Readiness::None | Readiness::Check(_) => Readiness::After(SECOND),
            readiness => readiness,
        };
        (known.awaited, known.ready_since) = (old.is_none(), old.map(|_| now));
        (known.up_since, known.life_since, known.attempted) = (born, born, Some(born));
        (known.stop_sent, known.asked_to_end, known.signalled, known.paused) = (false, false, None, false);
        (known.unwell, known.stopped_as_unhealthy) = (0, false);
        (known.alive, known.reloading, known.stopping, known.more_time) = (None, false, false, Mono(0));
    }

    /// The second `run` says that it is ready.
    fn second_is_ready(&mut self) -> String {
        self.handle(Event::SecondReady)
    }

    fn learn_of_answer(&mut self, probe: &Process, exit: Exit) {
        let view = self.service.view();
        let is_ending = view.got_term || self.known.stopping || self.known.escalated || self.service.is_stop_due();
        let counts = probe.about == view.pid && !view.paused && !is_ending;
        let is_well = matches!(exit, Exit::Code(0 | 75)) && !probe.doomed;
        match probe.script {
            Script::Check if counts && exit == Exit::Code(0) && !probe.doomed => self.learn_that_it_is_ready(),
            Script::Health if counts && self.health.is_some() => {
                self.known.unwell = if is_well { 0 } else { self.known.unwell + 1 }
            }
            _ => {}
        }
    }

    fn limits_restarts(&self) -> bool {
        self.rules.limits_restarts && self.role == Role::Main
    }

    /// What the manual says of an end of `run`: whether the service is not to be started again.
    fn learn_of_end(&mut self, exit: Exit) -> bool {
        let (now, rules) = (self.now, *self.restarts);
        let is_wanted = self.known.want == Want::Up && !self.service.view().leaving && !self.known.escalated;
        let known = &mut self.known;
        let is_effect = known.signalled.is_some_and(|at| now.since(at) <= 10 * SECOND);
        known.failed = !(known.asked_to_end || is_effect);
        if !known.failed {
            let is_asked = known.asked_to_end || !is_wanted || !self.limits_restarts();
            let is_success = rules.success.contain(exit) && !self.known.stopped_as_unhealthy;
            return !is_asked && rules.restart.is_over(is_success).is_some();
        }
        known.ends.push(now);
        if !is_wanted || !self.limits_restarts() {
            return false;
        }
        let known = &mut self.known;
        known.ready_since = known.ready_since.filter(|ready| exit != Exit::Code(111) || now.since(*ready) >= SECOND);
        if known.ready_since.is_some_and(|ready| now.since(ready) >= rules.backoff.reset) {
            known.streak = 0;
        }
        known.streak += 1;
        known.unready = if known.ready_since.is_some() { 0 } else { known.unready + 1 };
        let gives_up = rules.start_retries.is_some_and(|most| known.unready > most);
        let is_success = rules.success.contain(exit) && !known.stopped_as_unhealthy;
        let is_too_often = rules.max_restarts.is_some_and(|most| {
            known.ends.iter().filter(|at| now.since(**at) <= most.window).count() > most.count as usize
        });
        match rules.restart {
            Restart::Never => true,
            Restart::OnFailure if is_success => true,
            Restart::Always | Restart::OnFailure => is_too_often || gives_up || exit == Exit::Code(100) && !is_success,
        }
    }

    /// The same of an end of `setup`.
    fn learn_of_setup(&mut self, exit: Exit) {
        let is_told = self.known.asked_to_end || self.service.view().leaving || self.known.escalated;
        let is_wanted = self.known.want != Want::Down && !is_told;
        let (is_done, oneshot) = (exit == Exit::Code(0), self.programs.scripts().oneshot);
        if is_done && is_wanted && !oneshot {
            self.known.set_up = true;
            self.known.leaves = None; // `run` may use it
            return;
        }
        self.known.failed = !self.known.asked_to_end;
        if is_done && is_wanted {
            let is_essential = matches!(self.essential, Some(Essential::Always));
            if self.known.want == Want::Up || is_essential {
                self.known.want = Want::Down;
            }
            self.known.ends.push(self.now);
        } else if self.known.failed {
            let rules = *self.restarts;
            self.known.ends.push(self.now);
            if self.known.want == Want::Up && is_wanted && exit != Exit::Code(111) {
                self.known.streak += 1;
                self.known.unready += 1;
                let gives_up = rules.start_retries.is_some_and(|most| self.known.unready > most);
                let is_too_often = rules.max_restarts.is_some_and(|most| {
                    let recent = self.known.ends.iter().filter(|at| self.now.since(**at) <= most.window);
                    recent.count() > most.count as usize
                });
                if rules.restart == Restart::Never || is_too_often || gives_up {
                    self.known.want = Want::Down;
                }
            } else if self.known.want == Want::Up && is_wanted {
                self.known.want = Want::Down;
            }
        }
    }

    /// The least time between two starts that no order asked for.
    fn least_pause(&self) -> Duration {
        let backoff = self.restarts.backoff;
        if !self.limits_restarts() {
            SECOND
        } else if self.known.failed {
            let doubled = (1..self.known.streak).fold(backoff.min, |pause, _| (2 * pause).min(backoff.max));
            backoff.min.max(doubled * 9 / 10)
        } else {
            SECOND.min(backoff.min)
        }
    }

    /// As a bystander would say who knows the orders.
    fn is_essential_end(&self, exit: Exit) -> bool {
        let known = &self.known;
        let wanted =
            known.want != Want::Down && !known.asked_to_end && !self.service.view().leaving && !known.escalated;
        wanted
            && match self.essential {
                Some(Essential::Always) => true,
                Some(Essential::OnFailure) => exit != Exit::Code(0),
                Some(Essential::OnGiveup) | None => false,
            }
    }

    /// `run` says that it is ready, or says it again.
    fn says_that_it_is_ready(&mut self) -> String {
        self.known.reloading = false;
        self.learn_that_it_is_ready();
        self.handle(Event::Ready)
    }

    /// `run` says something else of itself, or nobody does where none lives.
    fn says(&mut self, said: Notification) -> String {
        if self.service.view().phase == Phase::Run {
            let drains = self.role == Role::Logger && self.service.view().leaving;
            let (now, known) = (self.now, &mut self.known);
            match said {
                Notification::Reloading => known.reloading = !known.stopping,
                Notification::Stopping => (known.stopping, known.reloading) = (true, false),
                Notification::Alive => known.alive = known.alive.map(|(every, _)| (every, now)),
                Notification::Trigger => known.triggered = true,
                Notification::AliveEvery(every) => {
                    known.alive = every.filter(|every| !every.is_zero()).map(|every| (every, now));
                }
                Notification::MoreTime(_) if drains => {} // what is left is read in the time that there is
                Notification::MoreTime(span) => known.more_time = known.more_time.max(now.after(span)),
                Notification::Successor(_) => {}
            }
        }
        let words = self.handle(Event::Notify(said));
        self.known.triggered = false;
        words
    }

    /// The process of `run` ends, and another one goes on in its place, which it has named before.
    fn is_succeeded(&mut self) -> String {
        let Some(at) = self.living.iter().position(|p| p.script == Script::Run) else { return String::new() };
        self.born += 1;
        let (new, old) = (Pid(self.born), self.living[at].pid);
        self.says(Notification::Successor(new));
        assert_eq!(self.service.successor(), Some(new));
        let (process, stopped, doomed) = (&mut self.living[at], false, false);
        assert_eq!(process.pid, old);
        *process = Process { pid: new, told: false, stopped, doomed, killed: None, ..*process };
        self.living.iter_mut().filter(|p| p.about == Some(old)).for_each(|p| p.about = Some(new));
        self.known.paused = false;
        let words = self.handle(Event::Succeeded(new));
        assert_eq!(self.service.successor(), None, "that is itself now");
        words
    }

    fn learn_that_it_is_ready(&mut self) {
        if std::mem::take(&mut self.known.awaited) {
            self.known.ready_since = Some(self.now);
        }
    }

    fn drain(&mut self, pending: bool) -> String {
        self.drain_with(pending.into())
    }

    /// Nobody writes any more, and so many bytes are left.
    fn drain_with(&mut self, unread: usize) -> String {
        let view = self.service.view();
        if view.phase == Phase::Run && !view.leaving {
            self.known.paused = false;
        }
        let later = std::mem::replace(&mut self.unread, unread);
        let words = self.handle(Event::Drain);
        self.unread = later;
        words
    }

    fn escalate(&mut self) -> String {
        self.known.want = Want::Down;
        self.known.owed = false;
        self.known.escalated = true;
        self.handle(Event::Escalate)
    }

    /// Time passes, and nobody looks.
    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    /// Time passes up to the next deadline, which is this far away.
    fn wait(&mut self, span: Duration) -> String {
        let deadline = self.service.deadline().expect("something is to come");
        assert_eq!(deadline.since(self.now), span, "the next deadline");
        self.now = deadline;
        self.ticks()
    }

    /// The timers' part of a turn.
    fn ticks(&mut self) -> String {
        let mut words = Vec::new();
        while self.is_due() {
            // `control/X`, a probe and the program beside them may be due at once; one more time is a busy loop.
            assert!(words.len() < 4, "a tick at its deadline leads on: {:?}", self.service);
            if let Readiness::After(span) = self.readiness_of_life
                && self.now >= self.known.up_since.after(span)
                && self.up_by().is_none_or(|by| self.known.up_since.after(span) <= by)
                && self.service.view().phase == Phase::Run
            {
                self.learn_that_it_is_ready();
            }
            words.push(self.handle(Event::Tick));
        }
        self.check_limits();
        words.retain(|word| !word.is_empty());
        words.join(", ")
    }

    /// When it has to be ready, if it is not to be down.
    fn up_by(&self) -> Option<Mono> {
        self.limits
            .up_limit
            .filter(|_| self.known.want != Want::Down)
            .map(|limit| self.known.life_since.after(limit).max(self.known.more_time))
    }

    fn is_due(&self) -> bool {
        self.service.deadline().is_some_and(|at| at <= self.now)
    }

    /// From now on nobody gives orders, and the world is kind: every start succeeds, `run` is ready and obeys its stop signal,
    /// `finish` and hooks end soon. Returns once nothing is left to happen, with the time that took.
    fn settle(&mut self) -> Duration {
        let from = self.now;
        let Programs { hooks, stop, .. } = self.programs;
        self.programs = Programs { hooks, stop, ..Programs::RUN_AND_FINISH };
        (self.readiness, self.health) = (Readiness::None, None);
        self.says(Notification::AliveEvery(None));
        for _ in 0..100 {
            self.ticks();
            if self.known.awaited && self.service.view().phase == Phase::Run {
                self.says_that_it_is_ready();
            }
            if let Some(at) = self.living.iter().position(Process::ends_soon) {
                let is_hook = matches!(self.living[at].script, Script::Control(_));
                let exit = if is_hook { Exit::Code(1) } else { Exit::Code(0) };
                self.death(at, exit);
            } else if let Some(deadline) = self.service.deadline() {
                self.now = self.now.max(deadline);
            } else {
                return self.now.since(from);
            }
        }
        panic!("it never settles: {self:?}");
    }

    // The feedback of a turn.

    fn handle(&mut self, event: Event) -> String {
        let over = self.service.is_gone();
        let mut words = Vec::new();
        let mut starts = 0;
        let mut next = Some(event);
        self.outcome = None;
        while let Some(event) = next.take() {
            self.forget_and_remember();
            self.look_up();
            self.known.had_term = self.service.view().got_term;
            let step = self.service.step(self.now, event);
            if step.outcome == Some(Outcome::Replaced) {
                self.learn_of_replacement();
            }
            step.effects().for_each(|effect| self.act(effect, &mut words));
            if let Some(Script::Finish(_)) = step.start {
                let has_one = self.programs.finish != Program::Absent;
                assert!(has_one || event == Event::Tick, "it has no finish, or had one when a fork failed");
            }
            next = step.start.map(|script| self.start(script, &mut words));
            self.outcome = self.outcome.or(step.outcome);
            starts += usize::from(next.is_some());
            assert!(starts <= MOST_STARTS, "a turn ends: {words:?}");
        }
        assert_eq!(self.known.leaves, None, "nothing is left behind");
        if self.gate == Gate::Skipped && self.service.state() == ServiceState::Skipped {
            (self.known.want, self.known.owed) = (Want::Down, false);
        }
        if over {
            assert!(words.is_empty() && self.service.is_gone(), "gone is final: {words:?}");
        }
        self.check();
        words.join(", ")
    }

    /// The supervisor fails between two steps, and another one goes on from what it noted.
    fn forget_and_remember(&mut self) {
        let history = self.service.history().clone();
        let again = Service::remembered(self.rules, self.role, self.service.memory(), self.service.extra(), history);
        let mut again = again.expect("what is noted can be read");
        assert_eq!(again.inputs.limits, self.service.inputs.limits, "what holds for a process since its start");
        again.inputs = self.service.inputs.clone();
        assert_eq!(again, self.service, "what is noted is what is");
        self.service = again;
    }

    fn look_up(&mut self) {
        let inputs = &mut self.service.inputs;
        inputs.scripts = self.programs.scripts();
        (inputs.essential, inputs.unread) = (self.essential, self.unread);
        inputs.restarts = self.restarts.clone();
        inputs.readiness.readiness = self.readiness;
        inputs.scripts.health = self.health.is_some();
        inputs.probes.policy = self.health.unwrap_or_default();
        inputs.kill_mode = self.kill_mode;
        (inputs.gate, inputs.held) = (self.gate, self.held);
    }

    fn act(&mut self, effect: Effect, words: &mut Vec<String>) {
        match effect {
            Effect::Signal(pid, signal, to) => {
                let kill_mode = self.known.kill_mode;
                let process = self.process(pid);
                process.receive(signal);
                let script = process.script;
                if signal == Signal::CONT && script == Script::Run && self.rules.pause_needs_process {
                    self.learn_that_it_goes_on();
                }
                let is_of_stop = signal == Signal::TERM && matches!(script, Script::Setup | Script::Run);
                if is_of_stop && self.role == Role::Main && self.rules.leave != Leave::Wait {
                    assert_eq!(to == Target::Group, kill_mode != KillMode::Process, "whom a stop reaches");
                }
                if script == Script::Successor && signal == self.limits.stop_signal {
                    self.process(pid).told = true;
                }
                if matches!(script, Script::Setup | Script::Run)
                    && (signal == Signal::TERM || signal == self.limits.stop_signal)
                {
                    let process = self.process(pid);
                    (process.told, process.limit) = (true, None); // what is told to end may be killed earlier
                    self.known.stop_sent = true;
                }
                let group = if to == Target::Group { "'s group" } else { "" };
                words.push(format!("{} {}{group}", signal_word(signal), script_word(script)));
            }
            Effect::KillLate(pid, script) => {
                let now = self.now;
                let process = self.process(pid);
                assert_eq!(process.script, script, "the program that is late");
                let early = process.limit.is_some_and(|limit| now.since(process.born) < limit);
                assert!(!early, "{script:?} has its time");
                process.receive(Signal::KILL);
                process.killed = Some(now);
                words.push(format!("kill late {}", script_word(script)));
            }
            Effect::NotReady(pid) => {
                let (now, limit) = (self.now, self.limits.up_limit.expect("a limit"));
                assert!(self.known.awaited && now.since(self.known.life_since) >= limit, "it has its time");
                assert!(now >= self.known.more_time, "and what it has asked for");
                assert_ne!(self.known.want, Want::Down, "and has failed only if it was to be up");
                self.known.stop_sent = true;
                self.process(pid).told = true;
                self.readiness_of_life = Readiness::None; // no time makes it ready any more
                words.push("not ready".into());
            }
            Effect::KillProbe(pid) => {
                let now = self.now;
                let process = self.process(pid);
                assert_eq!(part(process.script), Part::Probe);
                process.receive(Signal::KILL);
                process.killed = Some(now);
                words.push(format!("kill {}", script_word(process.script)));
            }
            Effect::Unhealthy { failures, last: _, stops } => {
                let policy = self.health.expect("there is a health");
                assert_eq!(u32::from(failures), self.known.unwell, "how often it has failed");
                assert!(self.known.unwell >= policy.retries, "it may fail so often");
                assert_eq!(stops, policy.action == HealthAction::Restart);
                if stops {
                    let run = self.living.iter_mut().find(|p| p.script == Script::Run).expect("run lives");
                    run.told = true;
                    (self.known.stop_sent, self.known.stopped_as_unhealthy) = (true, true);
                }
                words.push("unhealthy".into());
            }
            Effect::Silent(pid, span) => {
                assert!(!self.known.had_term && !self.known.stopping, "it is not being stopped");
                match (span, self.known.alive) {
                    (None, _) => assert!(self.known.triggered, "it wants that"),
                    (Some(span), Some((every, heard))) => {
                        assert!(
                            span == every && self.now.since(heard) >= span && !self.known.paused,
                            "it has its time"
                        );
                    }
                    (Some(_), None) => panic!("it does not say that it is alive"),
                }
                self.known.stop_sent = true;
                self.process(pid).told = true;
                self.readiness_of_life = Readiness::None; // no time makes it ready any more
                words.push("silent".into());
            }
            Effect::KillLeftovers(pid, script) => {
                assert_eq!(self.known.leaves.take(), Some((pid, script)), "it has just ended");
                words.push(format!("kill what {} left", script_word(script)));
            }
            Effect::NoteDeath(exit, most) => words.push(format!("note {} of {most}", exit_word(exit))),
            Effect::StopFailed(exit, _) => words.push(format!("stop failed {}", exit_word(exit))),
            Effect::DownFile(true) => words.push("create down".into()),
            Effect::DownFile(false) => words.push("remove down".into()),
        }
    }

    fn process(&mut self, pid: Pid) -> &mut Process {
        self.living.iter_mut().find(|p| p.pid == pid).expect("a signal goes to a living process of ours")
    }

    fn start(&mut self, script: Script, words: &mut Vec<String>) -> Event {
        assert!(!self.known.escalated, "nothing starts when patience is over");
        assert_eq!(self.known.leaves, None, "nothing is left behind");
        if script == Script::Setup || script == Script::Run && !self.known.set_up {
            self.known.kill_mode = self.kill_mode;
        }
        assert!(self.living.iter().all(|p| part(p.script) != part(script)), "{script:?} beside its like");
        match script {
            Script::Setup => {
                assert!(self.rules.setup, "other tools have no setup");
                self.check_start();
            }
            Script::Run if std::mem::take(&mut self.known.set_up) => {
                self.known.attempted = Some(self.now);
                self.known.follows_setup = true;
                self.known.owed |= self.known.want == Want::Once; // until `run` has started
            }
            Script::Run => self.check_start(),
            Script::Check | Script::Health => self.check_probe(script),
            Script::Stop => assert!(self.rules.setup && self.role == Role::Main, "other tools have no stop"),
            Script::Successor => {
                assert!(self.rules.setup && self.role == Role::Main, "other tools have no second run");
                let view = self.service.view();
                assert!(view.phase == Phase::Run && !view.got_term && !self.known.stopping, "beside one that goes on");
                self.readiness_of_second = self.readiness;
            }
            Script::Finish(_) | Script::Control(_) => {}
        }
        let refusal = self.programs.refusal(script);
        match (script, refusal) {
            (Script::Setup, Some(Refusal::Exec)) => {
                self.known.down_since = self.now;
                (self.known.owed, self.known.failed) = (false, true);
                self.known.streak += 1;
            }
            (Script::Setup, None) | (Script::Run, None | Some(Refusal::Exec)) => {
                self.known.up_since = self.now;
                self.known.down_since = self.now;
                self.known.owed = false;
            }
            (Script::Finish(_), Some(Refusal::Exec)) => {
                self.known.down_since = self.now;
                self.known.paused = false;
            }
            (Script::Setup | Script::Run, Some(Refusal::Fork)) => self.known.no_process = true,
            (Script::Health, Some(Refusal::Exec)) => self.known.unwell += 1,
            (Script::Finish(_), Some(Refusal::Fork) | None)
            | (Script::Successor | Script::Control(_) | Script::Stop | Script::Check | Script::Health, _) => {}
        }
        self.known.follows_setup &= refusal.is_none();
        match refusal {
            Some(refusal) => words.push(format!("no {}: {refusal:?}", script_word(script))),
            None => words.push(script_word(script)),
        }
        refusal.map_or_else(|| self.birth(script), Event::NotSpawned)
    }

    fn birth(&mut self, script: Script) -> Event {
        self.born += 1;
        let pid = Pid(self.born);
        let limit = match script {
            Script::Setup => self.limits.up_limit,
            Script::Run | Script::Successor => None,
            Script::Finish(_) => self.limits.finish_limit,
            Script::Control(_) => Some(self.rules.control_limit),
            Script::Stop => self.limits.kill_after.or(Some(self.rules.control_limit)),
            Script::Check => Some(5 * SECOND),
            Script::Health => self.health.map(|policy| policy.timeout),
        };
        self.known.stop_sent |= script == Script::Stop;
        if part(script) == Part::Life {
            self.known.paused = false;
            self.known.stop_sent = false;
        }
        if script == Script::Setup || (script == Script::Run && !std::mem::take(&mut self.known.follows_setup)) {
            self.known.life_since = self.now;
        }
        if script == Script::Run {
            let is_asked = self.rules.probes && self.role == Role::Main;
            let waits = self.readiness.is_acted_on() && (is_asked || !matches!(self.readiness, Readiness::Check(_)));
            self.known.ready_since = (!waits).then_some(self.now);
            self.known.awaited = waits;
            self.readiness_of_life = self.readiness;
            let known = &mut self.known;
            (known.unwell, known.stopped_as_unhealthy) = (0, false);
            (known.alive, known.reloading, known.stopping, known.more_time) = (None, false, false, Mono(0));
        }
        if matches!(script, Script::Setup | Script::Run) {
            self.known.asked_to_end = false;
            self.known.signalled = None;
        }
        let (told, stopped, doomed, killed) = (false, false, false, None);
        let is_about_run = script == Script::Stop || part(script) == Part::Probe;
        let about = self.service.view().pid.filter(|_| is_about_run);
        self.living.push(Process { pid, script, born: self.now, limit, told, stopped, doomed, killed, about });
        Event::Spawned(pid)
    }

    fn learn(&mut self, command: Command) {
        if self.known.escalated || self.is_over() {
            return;
        }
        let phase = self.service.view().phase;
        let known = &mut self.known;
        let ends = [Command::Down, Command::Exit, Command::Term, Command::StopSignal];
        let runs = matches!(phase, Phase::Setup | Phase::Run);
        known.asked_to_end |= runs && (ends.contains(&command) || matches!(command, Command::Kill(_)));
        if phase == Phase::Run && matches!(command, Command::Signal(_) | Command::Reload) {
            known.signalled = Some(self.now);
        }
        match command {
            Command::Up | Command::Once => {
                if !runs {
                    (known.ends, known.streak, known.unready) = (Vec::new(), 0, 0);
                }
                known.want = if command == Command::Up { Want::Up } else { Want::Once };
                known.owed = !runs;
                known.hasty = self.rules.up_ends_pause && phase == Phase::Down;
            }
            Command::Down => (known.want, known.owed) = (Want::Down, false),
            Command::NoRestart => (known.want, known.owed) = (Want::Once, false),
            Command::Exit if self.role == Role::Main && self.rules.leave == Leave::Stop => {
                (known.want, known.owed) = (Want::Down, false);
            }
            Command::Exit if self.role == Role::Main && phase == Phase::Down => known.owed = false,
            Command::Pause(_) => known.paused = true,
            Command::Continue(_) => self.learn_that_it_goes_on(),
            Command::Exit
            | Command::Term
            | Command::StopSignal
            | Command::Kill(_)
            | Command::Signal(_)
            | Command::Reload
            | Command::Replace
            | Command::Disable
            | Command::Enable => {}
        }
    }

    /// It is paused no longer, and has its time to say that it is alive.
    fn learn_that_it_goes_on(&mut self) {
        if std::mem::take(&mut self.known.paused) {
            self.known.alive = self.known.alive.map(|(every, _)| (every, self.now));
        }
    }

    /// It has left, though `control/X` may still live; only a logger leaves later than it comes to rest.
    fn is_over(&self) -> bool {
        let view = self.service.view();
        let drains = self.role == Role::Logger && self.service.deadline().is_some();
        view.leaving && view.phase == Phase::Down && !drains
    }

    // What holds after each event.

    fn check_start(&mut self) {
        let least = if std::mem::take(&mut self.known.no_process) { SECOND } else { self.least_pause() };
        assert_eq!(self.gate, Gate::Open, "it starts when it may");
        let known = &mut self.known;
        assert!(known.want == Want::Up || known.owed, "run starts only when it is wanted");
        if let Some(before) = known.attempted.replace(self.now) {
            let pause = self.now.since(before);
            assert!(known.hasty || pause >= least, "starts are {least:?} apart, not {pause:?}");
        }
        known.hasty = false;
    }

    /// A probe is about to be started.
    fn check_probe(&self, script: Script) {
        let view = self.service.view();
        assert!(self.rules.probes && self.role == Role::Main, "natively, and not for loggers");
        assert!(view.phase == Phase::Run && !view.got_term && !view.paused, "it asks who can answer: {view:?}");
        let by_check = matches!(self.readiness_of_life, Readiness::Check(_));
        match script {
            Script::Check => assert!(self.known.awaited && by_check, "it is not known yet"),
            _ => assert!(!self.known.awaited && self.health.is_some(), "nothing is asked before it is ready"),
        }
    }

    fn check(&self) {
        if self.service.is_gone() {
            assert!(self.living.is_empty(), "nothing outlives supervision");
            assert_eq!(self.service.deadline(), None, "nothing is to come");
            return;
        }
        self.check_view();
        self.check_prospects();
    }

    fn check_view(&self) {
        let view = self.service.view();
        let shown = self.living.iter().find(|p| part(p.script) == Part::Life);
        for probe in self.living.iter().filter(|p| part(p.script) == Part::Probe) {
            let is_ending = view.got_term || self.known.stopping;
            let is_asked = view.phase == Phase::Run && probe.about == view.pid && !is_ending;
            assert!(is_asked || probe.doomed, "{:?} outlives what it is about: {:?}", probe.script, self.service);
        }
        assert_eq!(view.pid, shown.map(|p| p.pid), "the pid is that of what runs");
        match shown.map(|p| p.script) {
            Some(Script::Setup) => assert_eq!(view.phase, Phase::Setup),
            Some(Script::Run) => assert_eq!(view.phase, Phase::Run),
            Some(_) => assert_eq!(view.phase, Phase::Finish),
            None => assert_ne!(view.phase, Phase::Run),
        }
        let waits = self.living.iter().any(|p| matches!(p.script, Script::Control(_)));
        assert_eq!(self.service.is_busy(), waits, "busy with a hook");
        let runs = matches!(view.phase, Phase::Setup | Phase::Run);
        assert!(!view.got_term || (runs && self.known.stop_sent), "whoever got TERM lives");
        if self.known.escalated {
            return;
        }
        assert_eq!(
            view.is_ready,
            view.phase == Phase::Run && !self.known.awaited,
            "whether it is ready: {:?}",
            self.service
        );
        let runs = view.phase == Phase::Run;
        assert_eq!(self.service.is_reloading(), runs && self.known.reloading, "whether it reloads");
        if runs && self.known.stopping {
            assert_eq!(self.service.state(), ServiceState::Stopping, "as it says");
        }
        assert_eq!(view.want, self.known.want, "the last order holds");
        let since = if view.phase == Phase::Down { self.known.down_since } else { self.known.up_since };
        assert_eq!(view.since, since, "since when {view:?}");
        if self.rules.pause_needs_process {
            assert!(!view.paused || view.phase == Phase::Run, "what is paused lives");
        } else {
            assert_eq!(view.paused, self.known.paused, "the last of pause, continue and start holds");
        }
    }

    /// Nothing waits for nothing, and nothing comes that nobody wants.
    fn check_prospects(&self) {
        if !self.living.is_empty() {
            return;
        }
        let view = self.service.view();
        let wanted = self.known.want == Want::Up || self.known.owed;
        let finish_is_due = view.phase == Phase::Finish;
        let deadline = self.service.deadline();
        let is_free = self.gate != Gate::Waiting || finish_is_due;
        assert_eq!(deadline.is_some(), (wanted || finish_is_due) && is_free, "{:?}", self.service);
        let most = self.rules.exec_pause.unwrap_or(5 * SECOND).max(self.restarts.backoff.max * 11 / 10);
        assert!(deadline.is_none_or(|at| at <= self.now.after(most)), "no start is further away than {most:?}");
    }

    /// Whoever has a time limit is killed when it is over, and again while it lives.
    fn check_limits(&self) {
        let known = &self.known;
        if let (Some((every, heard)), Phase::Run) = (known.alive, self.service.view().phase)
            && self.now.since(heard) >= every
        {
            let is_let_be = known.stop_sent || known.stopping || known.paused || known.escalated;
            let is_being_stopped = known.asked_to_end || self.service.view().leaving;
            assert!(is_let_be || is_being_stopped, "what is silent is stopped: {:?}", self.service);
        }
        for process in &self.living {
            if let Some(limit) = process.limit
                && self.now >= process.born.after(limit)
            {
                let killed = process.killed.expect("what is late is killed");
                let again = self.service.deadline().expect("and watched");
                assert!(again <= killed.after(5 * SECOND) || again <= self.now.after(5 * SECOND));
            }
        }
    }
}

impl Process {
    fn receive(&mut self, signal: Signal) {
        match signal {
            Signal::STOP => self.stopped = true,
            Signal::CONT => self.stopped = false,
            Signal::KILL => self.doomed = true,
            _ => {}
        }
    }

    fn ends_soon(&self) -> bool {
        self.script != Script::Run || self.doomed || (self.told && !self.stopped)
    }
}

/// Of programs of one part one lives at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Life,
    Second,
    Hook,
    Probe,
}

fn part(script: Script) -> Part {
    match script {
        Script::Setup | Script::Run | Script::Finish(_) => Part::Life,
        Script::Successor => Part::Second,
        Script::Control(_) | Script::Stop => Part::Hook,
        Script::Check | Script::Health => Part::Probe,
    }
}

fn is_control(script: Script) -> bool {
    part(script) == Part::Hook
}

// Words, for failures and for the table of transitions.

fn script_word(script: Script) -> String {
    match script {
        Script::Setup => "setup".into(),
        Script::Run => "run".into(),
        Script::Successor => "second run".into(),
        Script::Finish(exit) => format!("finish {}", exit_word(exit)),
        Script::Control(command) => format!("control/{}", command_word(command)),
        Script::Stop => "stop".into(),
        Script::Check => "check".into(),
        Script::Health => "health".into(),
    }
}

fn exit_word(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal { signal, core } => format!("{}{}", signal_word(signal), if core { "+core" } else { "" }),
    }
}

fn command_word(command: Command) -> String {
    match command {
        Command::Up => "u".into(),
        Command::Down => "d".into(),
        Command::Once => "o".into(),
        Command::NoRestart => "O".into(),
        Command::Exit => "x".into(),
        Command::Term => "t".into(),
        Command::StopSignal => "r".into(),
        Command::Kill(Target::Process) => "k".into(),
        Command::Kill(Target::Group) => "K".into(),
        Command::Pause(Target::Process) => "p".into(),
        Command::Pause(Target::Group) => "P".into(),
        Command::Continue(Target::Process) => "c".into(),
        Command::Continue(Target::Group) => "C".into(),
        Command::Signal(signal) => signal_word(signal),
        Command::Replace => "overlap".into(),
        Command::Reload => "l".into(),
        Command::Disable => "disable".into(),
        Command::Enable => "enable".into(),
    }
}

fn signal_word(signal: Signal) -> String {
    let known = signal.name();
    known.map_or_else(|| signal.0.to_string(), |name| name.trim_start_matches("SIG").into())
}
