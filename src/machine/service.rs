//! One service: what it was told to be, what it is, and what follows from each event.
//!
//! *Want* and *is* are two fields. A pid stands only in a state that has one, from its spawn until it is reaped,
//! so no signal can reach a process that is not ours. Every "later" is an absolute deadline in a state.

pub mod memory;
mod overlap;

use super::history::{End, History};
use super::notify::{Notification, Notified};
use super::overlap::Overlap;
use super::policy::{
    DRAIN_LIMIT, Essential, Gate, Inputs, KILL_RETRY, KillMode, Leave, Limits, Lived, PAUSE, ServiceRules,
};
use super::probe::{Health, Probe, Verdict};
use super::rare::Rare;
use super::readiness::{Awaited, Readiness};
use super::restart::{Cause, Ended, Streak};
use super::{
    Command, Effect, Event, Exit, LastChange, Mono, Outcome, Phase, Pid, Refusal, Script, ServiceState, Signal, Step,
    Target, View, Want,
};
use std::time::Duration;

/// What a service is for another: loggers have no scripts of their own and end when their input does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A service of its own.
    Main,
    /// The `log` of one.
    Logger,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No process. If `armed`, `run` starts, but not before the instant.
    Down { armed: bool, not_before: Mono },
    /// `setup` was asked for and the answer comes within this turn.
    SetupDue,
    /// `setup` lives. At `kill_at` it has had its time.
    SettingUp { pid: Pid, started: Mono, kill_at: Option<Mono> },
    /// `run` was asked for and the answer comes within this turn.
    Starting,
    /// `run` lives. At `kill_at` it has had its time to stop.
    Up { pid: Pid, started: Mono, kill_at: Option<Mono> },
    /// `run` ended; `finish` was asked for, or is asked for again at the instant because the fork failed.
    FinishDue { exit: Exit, started: Mono, again: bool, at: Mono },
    /// `finish` lives. `again`: once it is over, `run` starts although the service is not wanted up.
    Finishing { pid: Pid, exit: Exit, started: Mono, again: bool, kill_at: Option<Mono> },
    /// Supervision is over.
    Gone,
}

/// What follows when `control/X` or `stop` is through (or there is none).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Start,
    Stop { pid: Pid, signal: Signal },
    Deliver { pid: Pid, signal: Signal, to: Target },
    Nothing,
}

/// A program that may take the place of a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HookProgram {
    /// `control/X` of this command.
    Control(Command),
    Stop,
}

impl HookProgram {
    fn script(self) -> Script {
        match self {
            HookProgram::Control(command) => Script::Control(command),
            HookProgram::Stop => Script::Stop,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hook {
    None,
    /// `control/X` or `stop` was asked for and the answer comes within this turn.
    Asked {
        program: HookProgram,
        then: Then,
    },
    /// `control/X` or `stop` lives. `late`: it was killed, so what it was to prevent happens.
    Running {
        pid: Pid,
        program: HookProgram,
        then: Then,
        kill_at: Mono,
        late: bool,
    },
}

/// A limit that runs is never put off: whoever repeats an order wants it done.
fn sooner(running: Option<Mono>, new: Mono) -> Mono {
    running.map_or(new, |at| at.min(new))
}

/// How a logger reads what is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Draining {
    until: Mono,
    unread: usize,
}

/// The machine of one service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    rules: &'static ServiceRules,
    role: Role,
    /// What it has to know. To be brought up to date before a step that depends on it.
    pub inputs: Inputs,
    want: Want,
    leaving: bool,
    /// Patience is over: what still runs was sent KILL, and nothing starts any more.
    escalated: bool,
    /// `run` was told to end, by an order.
    stop_requested: bool,
    /// And is when it is held no longer.
    stop_due: bool,
    /// It was not to start.
    skipped: bool,
    paused: bool,
    got_term: bool,
    /// `stop` has told `run` to end, so no signal has to be sent.
    stop_handled: bool,
    /// Whom signals of a stop reach, since its start.
    kill_mode: KillMode,
    since: Mono,
    /// A logger whose input has ended.
    draining: Option<Draining>,
    state: State,
    hook: Hook,
    /// An order has caused the last end.
    ended_by_order: bool,
    /// `run` is not ready yet.
    awaited: Option<Awaited>,
    /// What this `run` has said beside that.
    notified: Rare<Notified>,
    /// The last signal that an order sent to this `run`, but for those that stop and continue it.
    signalled: Option<Mono>,
    streak: Streak,
    /// What asks whether it is ready, and well.
    probe: Rare<Probe>,
    /// A second `run`.
    overlap: Rare<Overlap>,
    history: History,
}

/// An end that comes this soon after a signal that an order sent is an effect of it.
const EFFECT_OF_A_SIGNAL: Duration = Duration::from_secs(10);

impl Service {
    /// A service under supervision since `now`, with no process yet. It starts at [`Event::Begin`], if wanted up.
    pub fn new(rules: &'static ServiceRules, role: Role, want: Want, now: Mono) -> Service {
        Service {
            rules,
            role,
            inputs: Inputs::of(rules),
            want,
            leaving: false,
            escalated: false,
            stop_requested: false,
            stop_due: false,
            skipped: false,
            paused: false,
            got_term: false,
            stop_handled: false,
            kill_mode: KillMode::default(),
            since: now,
            draining: None,
            state: State::Down { armed: want == Want::Up, not_before: now },
            hook: Hook::None,
            ended_by_order: false,
            awaited: None,
            notified: Rare::default(),
            signalled: None,
            streak: Streak::default(),
            probe: Rare::default(),
            overlap: Rare::default(),
            history: History::default(),
        }
    }

    /// Its last lives.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whom signals of a stop reach, since its start.
    pub fn kill_mode(&self) -> KillMode {
        self.kill_mode
    }

    /// Where it stands.
    pub fn state(&self) -> ServiceState {
        let (is_down, is_up) = (matches!(self.state, State::Down { .. }), matches!(self.state, State::Up { .. }));
        if self.is_waiting() && self.next_start().is_some() {
            ServiceState::Waiting
        } else if self.skipped && is_down {
            ServiceState::Skipped
        } else if self.notified.is_stopping && is_up {
            ServiceState::Stopping
        } else {
            self.view().state(self.history.end_of_last().filter(|_| self.is_at_rest()))
        }
    }

    /// Whether `run` says that it reloads.
    pub fn is_reloading(&self) -> bool {
        self.notified.is_reloading
    }

    fn is_waiting(&self) -> bool {
        self.inputs.gate == Gate::Waiting
    }

    /// Whether it is told to stop as soon as it is held no longer.
    pub fn is_stop_due(&self) -> bool {
        self.stop_due
    }

    /// What asks whether it is ready, and well.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// How well it is, if `health` has said that of this life of `run`.
    pub fn health(&self) -> Option<Health> {
        self.probe.health()
    }

    /// Whether supervision is over: no process is left and none will be started.
    pub fn is_gone(&self) -> bool {
        self.state == State::Gone && self.hook == Hook::None && self.probe.pid().is_none() && self.beside().is_none()
    }

    /// Whether `control/X` runs, so that further orders have to wait for it. None waits for `stop`, which may take long.
    pub fn is_busy(&self) -> bool {
        self.hook != Hook::None && !self.is_in_stop()
    }

    /// Whether `stop` was asked for, or runs.
    fn is_in_stop(&self) -> bool {
        matches!(
            self.hook,
            Hook::Asked { program: HookProgram::Stop, .. } | Hook::Running { program: HookProgram::Stop, .. }
        )
    }

    fn is_being_stopped(&self) -> bool {
        let (Hook::Asked { then, .. } | Hook::Running { then, .. }) = self.hook else { return false };
        self.is_in_stop() && self.stops_run(then)
    }

    /// Whether this is a stop of the `run` of now, and not of one whose place was taken.
    fn stops_run(&self, then: Then) -> bool {
        matches!(then, Then::Stop { pid, .. } if self.is_up_as(pid))
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Mono> {
        let state = match self.state {
            State::Down { armed: true, not_before } if self.hook == Hook::None && !self.is_waiting() => {
                Some(not_before)
            }
            State::SettingUp { kill_at, .. } | State::Up { kill_at, .. } | State::Finishing { kill_at, .. } => kill_at,
            State::FinishDue { at, .. } => Some(at),
            State::Down { .. } | State::SetupDue | State::Starting | State::Gone => None,
        };
        let hook = match self.hook {
            Hook::Running { kill_at, .. } => Some(kill_at),
            Hook::None | Hook::Asked { .. } => None,
        };
        let others =
            [self.probe.deadline(), self.ready_at(), self.ready_by(), self.alive_by(), self.overlap.deadline()];
        [state, hook].into_iter().chain(others).flatten().min()
    }

    /// When `run` counts as ready, if time alone says so.
    fn ready_at(&self) -> Option<Mono> {
        match self.awaited? {
            Awaited::Time(at) => Some(at),
            Awaited::Word | Awaited::End => None,
        }
    }

    /// Whether `run` has had its time to become ready, or to say that it is alive, and is to be stopped.
    pub fn is_late(&self, now: Mono) -> bool {
        self.is_unready(now) || self.is_silent(now)
    }

    fn is_unready(&self, now: Mono) -> bool {
        self.ready_by().is_some_and(|at| at <= now)
    }

    fn is_silent(&self, now: Mono) -> bool {
        self.alive_by().is_some_and(|at| at <= now)
    }

    /// When `run` has to say again that it is alive. What is being stopped, or is paused, need not.
    fn alive_by(&self) -> Option<Mono> {
        let (_, until) = self.notified.watchdog?;
        Some(until).filter(|_| self.is_to_go_on() && !self.paused)
    }

    /// Whether `run` lives, and neither we nor it itself are about to end it.
    fn is_to_go_on(&self) -> bool {
        let lives = matches!(self.state, State::Up { kill_at: None, .. });
        lives && !(self.got_term || self.is_being_stopped() || self.notified.is_stopping || self.escalated)
    }

    fn is_ready_by_now(&self, now: Mono) -> bool {
        let is_in_time = |at: Mono| self.ready_by().is_none_or(|by| at <= by);
        self.ready_at().is_some_and(|at| at <= now && is_in_time(at))
    }

    /// When `run` has to be ready. What is to be down has the time that a stop has, and need not.
    fn ready_by(&self) -> Option<Mono> {
        self.awaited.filter(|awaited| *awaited != Awaited::End && self.want != Want::Down)?;
        let limit = self.inputs.limits.up_limit?;
        let extended = self.notified.extended.unwrap_or_default();
        self.history.lives().last().map(|life| life.start.after(limit).max(extended))
    }

    /// When it starts, if it waits for that.
    pub fn next_start(&self) -> Option<Mono> {
        match self.state {
            State::Down { armed: true, not_before } => Some(not_before),
            State::Down { .. }
            | State::SetupDue
            | State::SettingUp { .. }
            | State::Starting
            | State::Up { .. }
            | State::FinishDue { .. }
            | State::Finishing { .. }
            | State::Gone => None,
        }
    }

    /// Whether nothing runs, and nothing starts until somebody says so.
    pub fn is_at_rest(&self) -> bool {
        match self.state {
            State::Down { armed, .. } => !armed,
            State::Gone => true,
            State::SetupDue
            | State::SettingUp { .. }
            | State::Starting
            | State::Up { .. }
            | State::FinishDue { .. }
            | State::Finishing { .. } => false,
        }
    }

    /// What the outside may see.
    pub fn view(&self) -> View {
        let (phase, pid) = match self.state {
            State::SettingUp { pid, .. } => (Phase::Setup, Some(pid)),
            State::Up { pid, .. } => (Phase::Run, Some(pid)),
            State::FinishDue { .. } => (Phase::Finish, None),
            State::Finishing { pid, .. } => (Phase::Finish, Some(pid)),
            State::Down { .. } | State::SetupDue | State::Starting | State::Gone => (Phase::Down, None),
        };
        View {
            phase,
            pid,
            want: self.want,
            leaving: self.leaving,
            paused: self.paused,
            got_term: self.got_term || (phase == Phase::Run && self.is_being_stopped()),
            is_ready: phase == Phase::Run && self.awaited.is_none(),
            since: self.since,
        }
    }

    /// What s6's tools are told beside that. Who counts as ready without having said so is not, there.
    pub fn last_change(&self) -> LastChange {
        let end = self.history.last_end();
        let exit = end.map(|end| end.exit);
        match self.view().phase {
            Phase::Run => {
                let ready = self.history.lives().last().and_then(|life| life.ready);
                LastChange { at: self.since, ready: ready.filter(|ready| *ready > self.since), exit }
            }
            phase @ (Phase::Down | Phase::Setup | Phase::Finish) => LastChange {
                at: end.map_or(self.since, |end| end.at),
                ready: (phase == Phase::Down).then_some(self.since),
                exit,
            },
        }
    }

    /// The next step.
    pub fn step(&mut self, now: Mono, event: Event) -> Step {
        match event {
            Event::Begin => self.try_start(now),
            Event::Command(command) => self.command(now, command),
            Event::Spawned(pid) => self.spawned(now, pid),
            Event::NotSpawned(why) => self.not_spawned(now, why),
            Event::Died(pid, exit) => self.died(now, pid, exit),
            Event::NeverRan(pid) => self.never_ran(now, pid),
            Event::Ready => self.says_ready(now),
            Event::Notify(said) => self.notified(now, said),
            Event::Succeeded(pid) => self.succeeded(now, pid),
            Event::SecondReady => self.second_is_ready(now),
            Event::Tick => self.tick(now),
            Event::Drain => self.drain(now),
            Event::Escalate => self.escalate(now),
        }
    }

    fn has_scripts(&self) -> bool {
        self.rules.scripts && self.role == Role::Main && !self.escalated
    }

    // Orders.

    fn command(&mut self, now: Mono, command: Command) -> Step {
        if self.state == State::Gone || self.escalated {
            return Step::NOTHING;
        }
        // A logger leaves because its input has ended, which no order takes back.
        if self.role == Role::Main && self.rules.stays(command) {
            self.leaving = false;
        }
        let runs = matches!(self.state, State::Up { .. });
        if runs || matches!(self.state, State::SettingUp { .. }) {
            self.stop_requested |= asks_to_end(command);
        }
        if runs && matches!(command, Command::Signal(_) | Command::Reload) {
            self.signalled = Some(now);
        }
        match command {
            Command::Up => self.up(now, Want::Up),
            Command::Once => self.up(now, Want::Once),
            Command::Down => self.down(now, Want::Down),
            Command::NoRestart => self.no_restart(),
            Command::Exit => self.exit(now),
            Command::Term if self.rules.leave == Leave::Wait => {
                self.deliver(now, command, Signal::TERM, Target::Process)
            }
            Command::Term => self.stop(now, Signal::TERM),
            Command::StopSignal => self.stop(now, self.inputs.limits.stop_signal),
            Command::Kill(to) => self.kill(now, to),
            Command::Pause(to) => {
                self.paused = matches!(self.state, State::Up { .. }) || !self.rules.pause_needs_process;
                self.deliver(now, command, Signal::STOP, to)
            }
            Command::Continue(to) => {
                self.resume(now);
                self.deliver(now, command, Signal::CONT, to)
            }
            Command::Signal(signal) => self.deliver(now, command, signal, Target::Process),
            Command::Reload => {
                let signal = self.inputs.reload_signal;
                self.deliver(now, Command::Signal(signal), signal, Target::Process)
            }
            Command::Replace => self.replace(),
            Command::Disable => Effect::DownFile(true).into(),
            Command::Enable => Effect::DownFile(false).into(),
        }
    }

    fn up(&mut self, now: Mono, want: Want) -> Step {
        self.want = want;
        (self.stop_due, self.skipped) = (false, false);
        if !matches!(self.state, State::SettingUp { .. } | State::Up { .. }) {
            self.streak.begin_anew(self.history.begun() as u32);
        }
        match &mut self.state {
            State::Down { armed, not_before } => {
                *armed = true;
                if self.rules.up_ends_pause {
                    *not_before = now;
                }
            }
            State::FinishDue { again, .. } | State::Finishing { again, .. } => *again = true,
            State::SetupDue | State::SettingUp { .. } | State::Starting | State::Up { .. } | State::Gone => {}
        }
        self.try_start(now)
    }

    fn down(&mut self, now: Mono, want: Want) -> Step {
        self.want = want;
        self.skipped = false;
        match &mut self.state {
            State::Down { .. } => {
                self.rest();
                Step::NOTHING
            }
            State::FinishDue { again, .. } | State::Finishing { again, .. } => {
                *again = false;
                Step::NOTHING
            }
            State::SettingUp { .. } | State::Up { .. } => {
                self.stop_due = self.inputs.held;
                if self.stop_due { Step::NOTHING } else { self.stop(now, self.inputs.limits.stop_signal) }
            }
            State::SetupDue | State::Starting | State::Gone => Step::NOTHING,
        }
    }

    fn no_restart(&mut self) -> Step {
        self.want = Want::Once;
        match &mut self.state {
            State::Down { .. } => self.rest(),
            State::FinishDue { again, .. } | State::Finishing { again, .. } => *again = false,
            State::SetupDue | State::SettingUp { .. } | State::Starting | State::Up { .. } | State::Gone => {}
        }
        Step::NOTHING
    }

    /// Down with nothing to come: for good, if it was told to leave.
    fn rest(&mut self) {
        if self.leaving {
            self.state = State::Gone;
        } else if let State::Down { armed, .. } = &mut self.state {
            *armed = false;
        }
    }

    fn exit(&mut self, now: Mono) -> Step {
        if self.role == Role::Logger {
            return Step::NOTHING; // a logger leaves when its input ends, or what it was still to read is lost
        }
        self.leaving = true;
        match self.rules.leave {
            Leave::Stop => self.down(now, Want::Down),
            Leave::Wait => {
                if let State::Down { .. } = self.state {
                    self.rest();
                }
                Step::NOTHING
            }
        }
    }

    fn kill(&mut self, now: Mono, to: Target) -> Step {
        let step = self.kill_stop();
        step.then(match self.state {
            State::Up { .. } => self.deliver(now, Command::Kill(to), Signal::KILL, to),
            State::Finishing { .. } if !self.rules.kills_finish => Step::NOTHING,
            State::SettingUp { pid, .. } | State::Finishing { pid, .. } => Effect::Signal(pid, Signal::KILL, to).into(),
            State::Down { .. } | State::SetupDue | State::Starting | State::FinishDue { .. } | State::Gone => {
                Step::NOTHING
            }
        })
    }

    /// Whoever orders KILL does not wait for `stop`.
    fn kill_stop(&mut self) -> Step {
        match &mut self.hook {
            Hook::Running { pid, program: HookProgram::Stop, late, .. } => {
                *late = true;
                Effect::Signal(*pid, Signal::KILL, Target::Process).into()
            }
            Hook::None | Hook::Asked { .. } | Hook::Running { .. } => Step::NOTHING,
        }
    }

    /// It is paused no longer, and has its time to say that it is alive.
    fn resume(&mut self, now: Mono) {
        if std::mem::take(&mut self.paused) {
            self.hear(now);
        }
    }

    fn stop(&mut self, now: Mono, signal: Signal) -> Step {
        match self.state {
            State::Up { pid, .. } => self.ask_first(now, Command::Term, Then::Stop { pid, signal }),
            State::SettingUp { pid, .. } => self.stop_setup(now, pid, signal),
            State::Down { .. }
            | State::SetupDue
            | State::Starting
            | State::FinishDue { .. }
            | State::Finishing { .. }
            | State::Gone => Step::NOTHING,
        }
    }

    fn deliver(&mut self, now: Mono, command: Command, signal: Signal, to: Target) -> Step {
        match self.state {
            State::Up { pid, .. } => self.ask_first(now, command, Then::Deliver { pid, signal, to }),
            State::Down { .. }
            | State::SetupDue
            | State::SettingUp { .. }
            | State::Starting
            | State::FinishDue { .. }
            | State::Finishing { .. }
            | State::Gone => Step::NOTHING,
        }
    }

    /// Whom signals of a stop reach.
    fn reach(&self) -> Target {
        match self.kill_mode {
            KillMode::Process => Target::Process,
            KillMode::Group | KillMode::Cgroup => Target::Group,
        }
    }

    fn kill_leftovers(&self, dead: Pid, script: Script) -> Step {
        match self.kill_mode {
            KillMode::Process => Step::NOTHING,
            KillMode::Group | KillMode::Cgroup => Effect::KillLeftovers(dead, script).into(),
        }
    }

    fn note_death(&self, exit: Exit) -> Step {
        let most = self.inputs.death_tally.filter(|most| *most > 0);
        most.map_or(Step::NOTHING, |most| Effect::NoteDeath(exit, most).into())
    }

    /// What runs has so much longer to stop.
    fn kill_after(&mut self, now: Mono, limit: Option<Duration>) {
        if let (State::SettingUp { kill_at, .. } | State::Up { kill_at, .. }, Some(limit)) = (&mut self.state, limit) {
            *kill_at = Some(sooner(*kill_at, now.after(limit)));
        }
    }

    /// `setup` is stopped without `control/X`, which is for `run`.
    fn stop_setup(&mut self, now: Mono, pid: Pid, signal: Signal) -> Step {
        self.got_term = true;
        if self.want != Want::Up {
            self.kill_after(now, self.inputs.limits.kill_after);
        }
        let mut step = Step::from(Effect::Signal(pid, signal, self.reach()));
        step.push(Effect::Signal(pid, Signal::CONT, self.reach()));
        step
    }

    // control/X: a program of the user's that may take the place of a signal.

    fn ask_first(&mut self, now: Mono, command: Command, then: Then) -> Step {
        let has_hook = self.has_scripts() && self.inputs.scripts.has_hook(command);
        if !has_hook || self.hook != Hook::None {
            return self.ask_stop(now, then);
        }
        self.ask(HookProgram::Control(command), then)
    }

    fn is_up_as(&self, alive: Pid) -> bool {
        matches!(self.state, State::Up { pid, .. } if pid == alive)
    }

    fn ask(&mut self, program: HookProgram, then: Then) -> Step {
        self.hook = Hook::Asked { program, then };
        Step::starting(program.script())
    }

    /// `control/X` has not handled it. `stop` comes before the stop signal, if there is one.
    fn ask_stop(&mut self, now: Mono, then: Then) -> Step {
        let has_stop = self.has_scripts() && self.rules.setup && self.inputs.scripts.stop;
        if !has_stop || !self.stops_run(then) {
            return self.follow(now, then, false);
        }
        match self.hook {
            Hook::None => self.end_probes(now, false).then(self.ask(HookProgram::Stop, then)),
            // The stop that is under way does what is wanted when it comes to that.
            Hook::Running { then, .. } if self.stops_run(then) => Step::NOTHING,
            Hook::Asked { .. } | Hook::Running { .. } => self.follow(now, then, false),
        }
    }

    /// This program has ended, or could not be started.
    fn hook_ended(&mut self, now: Mono, program: HookProgram, then: Then, handled: bool) -> Step {
        match program {
            HookProgram::Control(_) if handled => self.follow(now, then, true),
            HookProgram::Control(_) => self.ask_stop(now, then),
            HookProgram::Stop => {
                if handled && self.stops_run(then) {
                    (self.got_term, self.stop_handled) = (true, true);
                }
                self.follow(now, then, handled)
            }
        }
    }

    /// What `control/X` was asked about happens now, unless it has `handled` it.
    fn follow(&mut self, now: Mono, then: Then, handled: bool) -> Step {
        match (then, self.state) {
            (Then::Start, State::Down { armed: true, .. }) => self.launch(),
            (Then::Stop { pid, signal }, State::Up { pid: alive, .. }) if pid == alive => {
                self.stop_now(now, pid, signal, handled)
            }
            (Then::Deliver { pid, signal, to }, State::Up { pid: alive, .. }) if pid == alive && !handled => {
                Effect::Signal(pid, signal, to).into()
            }
            // The process the order was for is gone, or nothing is to follow.
            (Then::Start | Then::Stop { .. } | Then::Deliver { .. } | Then::Nothing, _) => Step::NOTHING,
        }
    }

    fn stop_now(&mut self, now: Mono, pid: Pid, signal: Signal, handled: bool) -> Step {
        let goes_on = handled && self.want == Want::Up;
        let mut step = if goes_on { Step::NOTHING } else { self.end_probes(now, false) };
        if !handled {
            step.push(Effect::Signal(pid, signal, self.reach()));
            (self.got_term, self.stop_handled) = (true, false);
        }
        if self.want == Want::Up {
            return step;
        }
        step.push(self.continued(now, pid));
        self.kill_after(now, self.inputs.limits.kill_after);
        step = step.then(self.end_second(now));
        let tail = if self.leaving { Command::Exit } else { Command::Down };
        step.then(self.ask_first(now, tail, Then::Nothing))
    }

    /// What is told to end goes on to its end: an earlier STOP that still waits for `control/X` does not follow.
    fn continued(&mut self, now: Mono, pid: Pid) -> Effect {
        if let Hook::Asked { then, .. } | Hook::Running { then, .. } = &mut self.hook
            && matches!(then, Then::Deliver { signal: Signal::STOP, .. })
        {
            *then = Then::Nothing;
        }
        if self.rules.pause_needs_process {
            self.resume(now);
        }
        Effect::Signal(pid, Signal::CONT, self.reach())
    }

    // Life and death.

    fn try_start(&mut self, now: Mono) -> Step {
        match (self.state, self.inputs.gate) {
            (State::Down { armed: true, not_before }, Gate::Open) if not_before <= now && self.hook == Hook::None => {
                self.ask_first(now, Command::Up, Then::Start)
            }
            (State::Down { armed: true, .. }, Gate::Skipped) => self.skip(),
            (
                State::Down { .. }
                | State::SetupDue
                | State::SettingUp { .. }
                | State::Starting
                | State::Up { .. }
                | State::FinishDue { .. }
                | State::Finishing { .. }
                | State::Gone,
                Gate::Open | Gate::Waiting | Gate::Skipped,
            ) => Step::NOTHING,
        }
    }

    /// It is not to start, until an order says so.
    fn skip(&mut self) -> Step {
        self.want = Want::Down;
        self.skipped = true;
        self.rest();
        Step::NOTHING
    }

    fn launch(&mut self) -> Step {
        self.kill_mode = self.inputs.kill_mode;
        if self.has_scripts() && self.rules.setup && self.inputs.scripts.setup {
            self.state = State::SetupDue;
            return Step::starting(Script::Setup);
        }
        self.launch_run()
    }

    fn launch_run(&mut self) -> Step {
        self.state = State::Starting;
        Step::starting(Script::Run)
    }

    fn spawned(&mut self, now: Mono, pid: Pid) -> Step {
        if let Hook::Asked { program, then } = self.hook {
            let kill_at = now.after(self.limit_of(program));
            self.hook = Hook::Running { pid, program, then, kill_at, late: false };
            return Step::NOTHING;
        }
        if self.probe.is_asked_for() {
            return kill_probe(self.probe.started(now, pid, &self.inputs.probes.policy));
        }
        if *self.overlap == Overlap::Asked {
            return self.second_started(now, pid);
        }
        let mut step = Step::NOTHING;
        match self.state {
            State::SetupDue => {
                let kill_at = self.inputs.limits.up_limit.map(|limit| now.after(limit));
                self.state = State::SettingUp { pid, started: now, kill_at };
                self.since = now;
                (self.stop_requested, self.signalled) = (false, None);
                self.history.begin(now, pid, None);
            }
            State::Starting => {
                self.stop_handled = false;
                let kill_at = self.draining.map(|draining| draining.until);
                self.state = State::Up { pid, started: now, kill_at };
                self.since = now;
                (self.stop_requested, self.signalled) = (false, None);
                self.awaited = Awaited::of(self.readiness(), now);
                self.history.begin(now, pid, self.awaited.is_none().then_some(now));
                step = self.begin_probes(now);
            }
            State::FinishDue { exit, started, again, .. } => {
                let kill_at = self.inputs.limits.finish_limit.map(|limit| now.after(limit));
                self.state = State::Finishing { pid, exit, started, again, kill_at };
            }
            State::Down { .. } | State::SettingUp { .. } | State::Up { .. } | State::Finishing { .. } | State::Gone => {
                debug_assert!(false, "an answer without a question");
            }
        }
        self.paused = false;
        step
    }

    fn limit_of(&self, program: HookProgram) -> Duration {
        let of_stop = self.inputs.limits.kill_after.filter(|_| program == HookProgram::Stop);
        of_stop.unwrap_or(self.rules.control_limit)
    }

    fn not_spawned(&mut self, now: Mono, why: Refusal) -> Step {
        if let Hook::Asked { program, then } = self.hook {
            self.hook = Hook::None;
            return self.hook_ended(now, program, then, false);
        }
        if self.probe.is_asked_for() {
            return self.probe_not_started(now, why);
        }
        if *self.overlap == Overlap::Asked {
            return self.second_not_started(why);
        }
        match (self.state, why) {
            (State::SetupDue, Refusal::Fork) | (State::Starting, Refusal::Fork)
                if self.leaving && !self.has_time_to_drain(now) =>
            {
                self.cycle_ended(now, now, false)
            }
            (State::SetupDue | State::Starting, Refusal::Fork) => {
                self.history.forget_unfinished();
                self.state = State::Down { armed: true, not_before: self.rules.next_fork(now) };
                Step::NOTHING
            }
            (State::SetupDue, Refusal::Exec) => self.setup_not_executed(now),
            (State::Starting, Refusal::Exec) if self.rules.exec_pause.is_some() => self.run_not_executed(now),
            (State::Starting, Refusal::Exec) => {
                self.history.forget_unfinished(); // its `setup` belongs to no other life
                self.since = now;
                self.run_ended(now, Exit::NOT_RUN, now)
            }
            (State::FinishDue { exit, started, again, .. }, Refusal::Fork) => {
                self.state = State::FinishDue { exit, started, again, at: self.rules.next_fork(now) };
                Step::NOTHING
            }
            (State::FinishDue { started, again, .. }, Refusal::Exec) => {
                self.paused = false; // it counts as having run
                self.cycle_ended(now, started, again)
            }
            (
                State::Down { .. } | State::SettingUp { .. } | State::Up { .. } | State::Finishing { .. } | State::Gone,
                _,
            ) => {
                debug_assert!(false, "an answer without a question");
                Step::NOTHING
            }
        }
    }

    fn died(&mut self, now: Mono, dead: Pid, exit: Exit) -> Step {
        if let Hook::Running { pid, program, then, late, .. } = self.hook
            && pid == dead
        {
            self.hook = Hook::None;
            let handled = exit.is_success() && !late;
            // What waited for the hook to end: the start it was asked about, or one that came due meanwhile.
            return match (then, self.state) {
                (Then::Start, _) => self.follow(now, then, handled),
                (Then::Stop { signal, .. }, _) if program == HookProgram::Stop && self.stops_run(then) => {
                    let is_news = !(handled || late);
                    let step = if is_news { Effect::StopFailed(exit, signal).into() } else { Step::NOTHING };
                    step.then(self.hook_ended(now, program, then, handled))
                }
                (_, State::Down { .. }) => self.try_start(now),
                (
                    _,
                    State::SetupDue
                    | State::SettingUp { .. }
                    | State::Starting
                    | State::Up { .. }
                    | State::FinishDue { .. },
                ) => self.hook_ended(now, program, then, handled),
                (_, State::Finishing { .. } | State::Gone) => Step::NOTHING,
            };
        }
        if self.probe.pid() == Some(dead) {
            return self.probe_ended(now, exit);
        }
        if let Some(step) = self.beside_died(now, dead, exit) {
            return step;
        }
        match self.state {
            State::Up { pid, started, .. } if pid == dead => {
                if let Some(step) = self.second_goes_on(now, dead, exit) {
                    return step.then(self.note_death(exit));
                }
                let outcome = self.end_of_run(now, exit);
                let step = outcome.map_or(Step::NOTHING, Step::from).then(self.kill_leftovers(dead, Script::Run));
                step.then(self.note_death(exit)).then(self.run_ended(now, exit, started))
            }
            State::Finishing { pid, exit: of_run, started, again, .. } if pid == dead => {
                let gives_up = self.rules.finish_gives_up && exit == Exit::GIVE_UP && !again;
                let is_success = self.history.last_end().is_some_and(|end| end.is_success);
                let over = if is_success { Ok(()) } else { Err(Cause::Finish) };
                let outcome = if gives_up { self.give_up(over) } else { None };
                let step = outcome.map_or(Step::NOTHING, Step::from);
                let step = step.then(self.kill_leftovers(dead, Script::Finish(of_run)));
                step.then(self.cycle_ended(now, started, again))
            }
            State::SettingUp { pid, started, .. } if pid == dead => self.setup_ended(now, dead, exit, started),
            State::Up { .. }
            | State::Finishing { .. }
            | State::Down { .. }
            | State::SetupDue
            | State::SettingUp { .. }
            | State::Starting
            | State::FinishDue { .. }
            | State::Gone => {
                debug_assert!(false, "a death of somebody else");
                Step::NOTHING
            }
        }
    }

    /// Records how `run` has ended, and tells what that means if no order had asked for it.
    fn end_of_run(&mut self, now: Mono, exit: Exit) -> Option<Outcome> {
        let is_success = self.inputs.restarts.success.contain(exit) && !self.probe.has_stopped();
        let is_effect = self.signalled.is_some_and(|at| now.since(at) <= EFFECT_OF_A_SIGNAL);
        self.ended_by_order = self.stop_requested || is_effect;
        self.history.end(now, exit, self.ended_by_order, is_success);
        if self.stop_requested || self.leaving || self.want == Want::Down {
            return None;
        }
        if self.inputs.essential.is_some_and(|essential| essential.is_fatal(exit)) {
            self.want = Want::Once; // all that is still to come is its `finish`
            return Some(Outcome::EssentialEnded(exit));
        }
        if self.want != Want::Up {
            return None;
        }
        let over = match (self.limits_restarts(), is_effect) {
            (false, _) => None,
            (true, true) => self.inputs.restarts.restart.is_over(is_success),
            (true, false) if exit == Exit::PERMANENT && !is_success => Some(Err(Cause::Permanent)),
            (true, false) => self.is_over(now, exit, is_success),
        };
        match over {
            Some(over) => self.give_up(over),
            None => Some(Outcome::Ended { exit, lived: now.since(self.since) }),
        }
    }

    fn setup_ended(&mut self, now: Mono, dead: Pid, exit: Exit, started: Mono) -> Step {
        let is_wanted = !(self.stop_requested || self.leaving || self.want == Want::Down || self.escalated);
        if exit.is_success() && is_wanted && !self.inputs.scripts.oneshot {
            (self.got_term, self.since) = (false, now);
            return self.launch_run();
        }
        self.ended_by_order = self.stop_requested;
        self.history.end(now, exit, self.ended_by_order, exit.is_success());
        let outcome = if is_wanted { self.end_of_setup(now, exit) } else { None };
        let step = outcome.map_or(Step::NOTHING, Step::from).then(self.kill_leftovers(dead, Script::Setup));
        step.then(self.cycle_ended(now, started, false))
    }

    /// What it means that `setup` has failed, or has done all the work that there is.
    fn end_of_setup(&mut self, now: Mono, exit: Exit) -> Option<Outcome> {
        let is_done = exit.is_success();
        if is_done && self.inputs.essential.is_some_and(|essential| essential.is_fatal(exit)) {
            self.want = Want::Down;
            self.history.settle(Ok(()));
            return Some(Outcome::EssentialEnded(exit));
        }
        let over = match self.want {
            Want::Down => return None,
            Want::Once if is_done => return None,
            Want::Once => {
                self.history.settle(Err(Cause::Setup));
                return Some(Outcome::GaveUp(exit, Cause::Setup));
            }
            Want::Up if is_done => Some(Ok(())),
            Want::Up if exit == Exit::NOT_RUN => Some(Err(Cause::Permanent)),
            Want::Up => self.is_over(now, exit, false),
        };
        over.map_or(Some(Outcome::SetupFailed(exit)), |over| self.give_up(over))
    }

    fn never_ran(&mut self, now: Mono, dead: Pid) -> Step {
        if !self.is_up_as(dead) || self.rules.exec_pause.is_none() {
            return self.died(now, dead, Exit::NOT_RUN);
        }
        self.forget_run(now).then(self.run_not_executed(now))
    }

    /// What was said by `run` and about it does not hold any longer.
    fn forget_run(&mut self, now: Mono) -> Step {
        (self.got_term, self.awaited, self.notified) = (false, None, Rare::default());
        self.end_probes(now, true)
    }

    /// `run` cannot be executed, which is no end of it.
    fn run_not_executed(&mut self, now: Mono) -> Step {
        self.history.forget_unfinished();
        self.since = now;
        self.paused &= !self.rules.pause_needs_process;
        let not_before = now.after(self.rules.exec_pause.unwrap_or(PAUSE));
        self.state = State::Down { armed: self.want == Want::Up, not_before };
        if self.leaving {
            self.rest();
        }
        Step::NOTHING
    }

    /// `setup` is there, and cannot be executed.
    fn setup_not_executed(&mut self, now: Mono) -> Step {
        self.ended_by_order = false;
        self.streak.ends = self.streak.ends.saturating_add(1);
        self.cycle_ended(now, now, false)
    }

    /// A logger starts again after its pause, as what its service writes is lost otherwise.
    fn limits_restarts(&self) -> bool {
        self.rules.limits_restarts && self.role == Role::Main
    }

    fn is_over(&mut self, now: Mono, exit: Exit, is_success: bool) -> Option<Result<(), Cause>> {
        // What could not be executed was never ready. It ends at once.
        let is_executed = |ready: &Mono| exit != Exit::NOT_RUN || now.since(*ready) >= PAUSE;
        let ready = self.history.lives().last().and_then(|life| life.ready).filter(is_executed);
        let history = &self.history;
        self.streak.end(now, Ended { is_success, ready }, &self.inputs.restarts, |from, life| {
            history.ends_since(from, life.into())
        })
    }

    /// It is not to be started again. That is news of a service that was wanted up.
    fn give_up(&mut self, over: Result<(), Cause>) -> Option<Outcome> {
        if std::mem::replace(&mut self.want, Want::Down) != Want::Up {
            return None;
        }
        self.history.settle(over);
        let End { exit, .. } = self.history.last_end()?;
        Some(match (self.inputs.essential, over) {
            (Some(Essential::Always | Essential::OnFailure), Err(Cause::Finish)) => {
                Outcome::GaveUp(exit, Cause::Finish)
            }
            (Some(_), Err(_)) if exit.is_success() => Outcome::EssentialEnded(Exit::Code(1)),
            (Some(_), Err(_)) => Outcome::EssentialEnded(exit),
            (_, Err(cause)) => Outcome::GaveUp(exit, cause),
            (_, Ok(())) => Outcome::Done,
        })
    }

    /// When the next start may follow a life from `started` to `now`.
    fn next_start_after(&self, started: Mono, now: Mono) -> Mono {
        let pause = if !self.limits_restarts() {
            PAUSE
        } else if self.ended_by_order {
            PAUSE.min(self.inputs.restarts.backoff.min)
        } else {
            self.streak.pause(&self.inputs.restarts.backoff, self.seed(now))
        };
        let ready = self.history.lives().last().and_then(|life| life.ready).filter(|ready| *ready > started);
        self.rules.next_start(Lived { started, ready, ended: now }, pause)
    }

    /// `run` says that it is ready: for the first time, or after it has reloaded.
    fn says_ready(&mut self, now: Mono) -> Step {
        if self.notified.is_reloading {
            self.notified.is_reloading = false;
        }
        self.ready(now)
    }

    /// `run` is ready. Only the first time counts.
    fn ready(&mut self, now: Mono) -> Step {
        if self.awaited.take().is_none() {
            return Step::NOTHING;
        }
        self.history.ready(now);
        self.begin_health(now)
    }

    fn notified(&mut self, now: Mono, said: Notification) -> Step {
        let State::Up { pid, .. } = self.state else { return Step::NOTHING };
        match said {
            Notification::Reloading => self.notified.is_reloading = !self.notified.is_stopping,
            Notification::Stopping => {
                (self.notified.is_stopping, self.notified.is_reloading) = (true, false);
                return self.end_probes(now, false);
            }
            Notification::Alive => self.hear(now),
            Notification::Trigger if self.is_to_go_on() => return self.silent(now, pid, None),
            Notification::Trigger => {}
            Notification::AliveEvery(every) => self.notified.expect_every(now, every),
            Notification::MoreTime(span) => self.extend(now.after(span)),
            Notification::Successor(other) => self.notified.successor = Some(other).filter(|other| *other != pid),
        }
        Step::NOTHING
    }

    /// The process that goes on as `run` when its own has ended, if that said so.
    pub fn successor(&self) -> Option<Pid> {
        self.notified.successor
    }

    /// Another process is `run` now. What was sent to the one before, this one has not got.
    fn succeeded(&mut self, now: Mono, new: Pid) -> Step {
        let State::Up { pid, .. } = &mut self.state else {
            debug_assert!(false, "nothing to go on with");
            return Step::NOTHING;
        };
        let old = std::mem::replace(pid, new);
        self.notified.successor = None;
        self.paused = false;
        if let Hook::Asked { then, .. } | Hook::Running { then, .. } = &mut self.hook
            && let Then::Stop { pid, .. } | Then::Deliver { pid, .. } = then
            && *pid == old
        {
            *pid = new;
        }
        if self.escalated {
            return Effect::Signal(new, Signal::KILL, Target::Process).into();
        }
        if !self.got_term {
            return Step::NOTHING;
        }
        let mut step = Step::from(Effect::Signal(new, self.inputs.limits.stop_signal, self.reach()));
        step.push(self.continued(now, new));
        step
    }

    fn hear(&mut self, now: Mono) {
        if self.notified.watchdog.is_some() {
            self.notified.hear(now);
        }
    }

    /// What runs out before this does not: the time to become ready, or to stop. Never the time of a logger to read what
    /// is left.
    fn extend(&mut self, until: Mono) {
        let State::Up { kill_at, .. } = &mut self.state else { return };
        if self.draining.is_some() {
            return;
        }
        *kill_at = kill_at.map(|at| at.max(until));
        if self.awaited.is_some() {
            self.notified.extended = self.notified.extended.max(Some(until));
        }
    }

    /// `run` has not said that it is alive, for so long: it is stopped, and has failed.
    fn silent(&mut self, now: Mono, pid: Pid, span: Option<Duration>) -> Step {
        self.awaited = self.awaited.map(|_| Awaited::End);
        self.stop_failed(now, pid, Effect::Silent(pid, span), Signal::ABRT) // whose core shows where it hangs
    }

    /// `run` has had its time to become ready: it is stopped, and has failed.
    fn not_ready(&mut self, now: Mono, pid: Pid) -> Step {
        self.awaited = Some(Awaited::End);
        self.stop_failed(now, pid, Effect::NotReady(pid), self.inputs.limits.stop_signal)
    }

    /// `run` is stopped by this signal although no order says so, because of that.
    fn stop_failed(&mut self, now: Mono, pid: Pid, why: Effect, signal: Signal) -> Step {
        self.got_term = true;
        self.kill_after(now, Some(self.inputs.limits.kill_after.unwrap_or(KILL_RETRY)));
        let mut step = Step::from(why);
        step.push(Effect::Signal(pid, signal, self.reach()));
        step.push(self.continued(now, pid));
        step.then(self.end_probes(now, false))
    }

    // check and health: programs that ask about `run` while it lives.

    fn has_probes(&self) -> bool {
        self.rules.probes && self.role == Role::Main && !self.escalated
    }

    /// When the `run` that starts now counts as ready.
    fn readiness(&self) -> Readiness {
        match self.inputs.readiness.readiness() {
            Readiness::Check(_) if !self.has_probes() => Readiness::None,
            readiness => readiness,
        }
    }

    /// `run` has just been started.
    fn begin_probes(&mut self, now: Mono) -> Step {
        match self.readiness() {
            Readiness::Check(every) => kill_probe(self.probe.ask_ready(now, every)),
            Readiness::None | Readiness::After(_) | Readiness::Descriptor(_) | Readiness::Notify => {
                if self.awaited.is_none() { self.begin_health(now) } else { Step::NOTHING }
            }
        }
    }

    /// `run` is ready: from now on it is asked whether it is well.
    fn begin_health(&mut self, now: Mono) -> Step {
        if !self.is_to_go_on() {
            return Step::NOTHING;
        }
        if self.has_probes() && self.inputs.scripts.health {
            let seed = self.seed(now);
            kill_probe(self.probe.ask_health(now, &self.inputs.probes.policy, seed))
        } else {
            self.end_probes(now, false)
        }
    }

    /// A number that differs between services that do the same at the same time.
    fn seed(&self, now: Mono) -> u64 {
        now.0 ^ self.history.lives().last().map_or(0, |life| memory::number(life.pid)) << 32
    }

    /// Nothing is asked any more: `run` is told to end, or has ended (`is_over`), and what was said of it is past.
    fn end_probes(&mut self, now: Mono, is_over: bool) -> Step {
        if self.probe.is_idle() {
            return Step::NOTHING;
        }
        kill_probe(self.probe.end(now, is_over))
    }

    /// Whether it is time to ask whether it is ready, or well.
    pub fn is_probe_due(&self, now: Mono) -> bool {
        self.probe.is_due(now) && !self.is_late(now)
    }

    fn tick_probe(&mut self, now: Mono) -> Option<Step> {
        if self.probe.pid().is_some() {
            return self.probe.late(now).map(|pid| Effect::KillProbe(pid).into());
        }
        if !self.is_probe_due(now) {
            return None;
        }
        if self.probe.asks_health() && !self.inputs.scripts.health {
            self.probe.forget_health(); // there was one
            return Some(Step::NOTHING);
        }
        if self.paused {
            self.probe.put_off(now, &self.inputs.probes.policy); // what is stopped cannot answer
            return Some(Step::NOTHING);
        }
        self.probe.start().map(Step::starting)
    }

    fn probe_not_started(&mut self, now: Mono, why: Refusal) -> Step {
        let verdict = match why {
            Refusal::Fork => {
                self.probe.not_started(now, &self.inputs.probes.policy);
                Verdict::None
            }
            Refusal::Exec => self.probe.not_executed(now, &self.inputs.probes.policy),
        };
        self.follow_verdict(now, verdict)
    }

    fn probe_ended(&mut self, now: Mono, exit: Exit) -> Step {
        let (counts, seed) = (!(self.paused || self.stop_due), self.seed(now)); // else its answer is of no use
        if self.probe.asks_health() && !self.inputs.scripts.health {
            self.probe.forget_health(); // there was one, whose last answer nobody wants any more
            return Step::NOTHING;
        }
        let verdict = self.probe.ended(now, exit, &self.inputs.probes.policy, counts, seed);
        self.follow_verdict(now, verdict)
    }

    fn follow_verdict(&mut self, now: Mono, verdict: Verdict) -> Step {
        let failures = self.probe.failures();
        match (verdict, self.state) {
            (Verdict::Ready, _) => self.ready(now),
            (Verdict::Unhealthy(last), _) => Effect::Unhealthy { failures, last, stops: false }.into(),
            (Verdict::Restart(last), State::Up { pid, .. }) => {
                let why = Effect::Unhealthy { failures, last, stops: true };
                self.stop_failed(now, pid, why, self.inputs.limits.stop_signal)
            }
            (Verdict::None | Verdict::Restart(_), _) => Step::NOTHING,
        }
    }

    fn run_ended(&mut self, now: Mono, exit: Exit, started: Mono) -> Step {
        self.paused &= !self.rules.pause_needs_process;
        let probes = self.forget_run(now).then(self.end_second(now));
        let may_finish = self.rules.loggers_finish && !self.escalated || self.has_scripts();
        if !(may_finish && self.inputs.scripts.finish) {
            return probes.then(self.cycle_ended(now, started, false));
        }
        self.state = State::FinishDue { exit, started, again: false, at: now };
        probes.then(Step::starting(Script::Finish(exit)))
    }

    fn cycle_ended(&mut self, now: Mono, started: Mono, again: bool) -> Step {
        (self.got_term, self.stop_due) = (false, false);
        self.since = now;
        if self.rules.pause_needs_process {
            self.paused = false;
        }
        let armed = self.want == Want::Up || again;
        self.state = State::Down { armed, not_before: self.next_start_after(started, now) };
        if armed && self.has_time_to_drain(now) {
            return self.drain(now); // what it leaves in the pipe is not lost as long as there is time
        }
        if self.leaving {
            self.rest();
        }
        self.try_start(now)
    }

    // Time.

    fn tick(&mut self, now: Mono) -> Step {
        if self.stop_due && !self.inputs.held {
            self.stop_due = false;
            return self.stop(now, self.inputs.limits.stop_signal);
        }
        if self.is_ready_by_now(now) {
            return self.ready(now);
        }
        if let Hook::Running { pid, program, then, kill_at, .. } = self.hook
            && kill_at <= now
        {
            self.hook = Hook::Running { pid, program, then, kill_at: now.after(KILL_RETRY), late: true };
            return Effect::KillLate(pid, program.script()).into();
        }
        if let Some(step) = self.tick_probe(now) {
            return step;
        }
        if let Some(step) = self.tick_overlap(now) {
            return step;
        }
        match self.state {
            State::Up { pid, .. } if self.is_unready(now) => self.not_ready(now, pid),
            State::Up { pid, .. } if self.is_silent(now) => {
                self.silent(now, pid, self.notified.watchdog.map(|(span, _)| span))
            }
            State::Up { pid, started, kill_at: Some(at) } if at <= now => {
                self.state = State::Up { pid, started, kill_at: Some(now.after(KILL_RETRY)) };
                if self.draining.is_some() && !self.got_term {
                    self.got_term = true;
                    return Effect::Signal(pid, Signal::TERM, Target::Process).into();
                }
                Effect::KillLate(pid, Script::Run).into()
            }
            State::Finishing { pid, exit, started, again, kill_at: Some(at) } if at <= now => {
                self.state = State::Finishing { pid, exit, started, again, kill_at: Some(now.after(KILL_RETRY)) };
                Effect::KillLate(pid, Script::Finish(exit)).into()
            }
            State::FinishDue { exit, started, again, at } if at <= now => {
                self.state = State::FinishDue { exit, started, again, at: now };
                Step::starting(Script::Finish(exit))
            }
            State::SettingUp { pid, started, kill_at: Some(at) } if at <= now => {
                self.state = State::SettingUp { pid, started, kill_at: Some(now.after(KILL_RETRY)) };
                Effect::KillLate(pid, Script::Setup).into()
            }
            State::Down { .. }
            | State::SetupDue
            | State::SettingUp { .. }
            | State::Starting
            | State::Up { .. }
            | State::FinishDue { .. }
            | State::Finishing { .. }
            | State::Gone => self.try_start(now),
        }
    }

    // The end.

    fn has_time_to_drain(&self, now: Mono) -> bool {
        !self.escalated && self.draining.is_some_and(|draining| now < draining.until)
    }

    fn drain(&mut self, now: Mono) -> Step {
        let unread = self.inputs.unread;
        self.leaving = true;
        let begins = self.draining.is_none();
        let before = self.draining.get_or_insert(Draining { until: now.after(DRAIN_LIMIT), unread });
        let until = before.until;
        let progress = unread < std::mem::replace(&mut before.unread, unread);
        match &mut self.state {
            State::Up { pid, kill_at, .. } => {
                *kill_at = Some(sooner(*kill_at, until));
                if begins {
                    // Who is stopped reads nothing.
                    self.paused = false;
                    return Effect::Signal(*pid, Signal::CONT, Target::Process).into();
                }
            }
            State::Down { armed: true, not_before } if unread > 0 => {
                if progress {
                    *not_before = now;
                }
            }
            State::Down { .. } => self.rest(),
            State::SetupDue
            | State::SettingUp { .. }
            | State::Starting
            | State::FinishDue { .. }
            | State::Finishing { .. }
            | State::Gone => {}
        }
        self.try_start(now)
    }

    fn escalate(&mut self, now: Mono) -> Step {
        self.want = Want::Down;
        self.leaving = true;
        self.escalated = true;
        let mut step = self.end_probes(now, false);
        if let Hook::Running { pid, late, .. } = &mut self.hook {
            *late = true;
            step.push(Effect::Signal(*pid, Signal::KILL, Target::Process));
        }
        if let Some(pid) = self.beside() {
            step.push(Effect::Signal(pid, Signal::KILL, self.reach()));
        }
        match self.state {
            State::SettingUp { pid, .. } | State::Up { pid, .. } | State::Finishing { pid, .. } => {
                step.push(Effect::Signal(pid, Signal::KILL, self.reach()));
            }
            State::Down { .. } | State::SetupDue | State::Starting | State::FinishDue { .. } => {
                self.state = State::Gone;
            }
            State::Gone => {}
        }
        step
    }
}

fn kill_probe(pid: Option<Pid>) -> Step {
    pid.map_or(Step::NOTHING, |pid| Effect::KillProbe(pid).into())
}

/// Whether an order means that `run` is to end: what ends because of it has not failed.
fn asks_to_end(command: Command) -> bool {
    match command {
        Command::Down | Command::Exit | Command::Term | Command::StopSignal | Command::Kill(_) => true,
        Command::Up
        | Command::Once
        | Command::NoRestart
        | Command::Pause(_)
        | Command::Continue(_)
        | Command::Signal(_)
        | Command::Reload
        | Command::Replace
        | Command::Disable
        | Command::Enable => false,
    }
}
