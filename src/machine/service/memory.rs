//! A service as plain data, and back: what outlives the program that supervises.

use super::{Draining, Hook, HookProgram, Inputs, Limits, Role, Service, ServiceRules, State, Then};
use crate::machine::fields::{Place, fields};
use crate::machine::history::History;
use crate::machine::notify::Notified;
use crate::machine::overlap::Overlap;
use crate::machine::policy::{Gate, KillMode};
use crate::machine::probe::{self, Probe};
use crate::machine::rare::Rare;
use crate::machine::readiness::Awaited;
use crate::machine::restart::Streak;
use crate::machine::{Command, Effect, Exit, Mono, Pid, Signal, Step, Target, Want};
use std::time::Duration;

/// How many words. Some of them are free.
pub const WORDS: usize = 15;
/// And how many for what few services need.
pub const EXTRA: usize = 11;

fields! {
    /// Everything about a service but its rules, its role, its last lives and what it has to look up anyhow. Instants and
    /// spans are in nanoseconds, and one more: zero is none.
    pub struct Memory in WORDS {
        /// Which of the states.
        state: Place::bits(0, 0, 8),
        /// Whether `control/X` was asked for, or runs.
        hook: Place::bits(0, 8, 8),
        /// What it was told to be.
        want: Place::bits(0, 16, 8),
        /// It is told to leave.
        leaving: Place::bits(0, 24, 1),
        /// What still runs was sent KILL.
        escalated: Place::bits(0, 25, 1),
        /// It is stopped by STOP.
        paused: Place::bits(0, 26, 1),
        /// The signal that ends it was sent.
        got_term: Place::bits(0, 27, 1),
        /// An order has caused the last end.
        ended_by_order: Place::bits(0, 28, 1),
        /// `run` starts when its time comes, or after `finish`.
        starts_again: Place::bits(0, 29, 1),
        /// `control/X` was killed.
        hook_late: Place::bits(0, 30, 1),
        /// `run` was told to end, by an order.
        stop_requested: Place::bits(0, 31, 1),
        /// The number of the signal that ends it.
        stop_signal: Place::bits(0, 32, 8),
        /// How `run` ended.
        exit: Place::bits(0, 40, 24),
        /// The process of `run` or `finish`.
        pid: Place::bits(1, 0, 32),
        /// The process of `control/X`.
        hook_pid: Place::bits(1, 32, 32),
        /// Since when it is what it is.
        since: Place::word(2),
        /// When `run` started, or before when it does not.
        started: Place::word(3),
        /// When something is due: KILL, or `finish`.
        due: Place::word(4),
        /// When `control/X` is killed.
        hook_kill_at: Place::word(5),
        /// Until when a logger may read what is left.
        drain_until: Place::word(6),
        /// How much there was left to read, in bytes.
        unread: Place::word(7),
        /// Which program runs: `control/X` of which order, or `stop`.
        hook_command: Place::bits(8, 0, 8),
        /// What follows it, and with which signal, to whom.
        then: Place::bits(8, 8, 8),
        then_signal: Place::bits(8, 16, 8),
        then_group: Place::bits(8, 24, 1),
        /// `stop` has told `run` to end.
        stop_handled: Place::bits(8, 25, 1),
        then_pid: Place::bits(8, 32, 32),
        /// The limits of a stop and of `finish`.
        kill_after: Place::word(9),
        finish_limit: Place::word(10),
        /// The limit of `setup`.
        up_limit: Place::word(14),
        /// Ends in a row that no order caused, and starts in a row that ended before the service was ready.
        streak_ends: Place::bits(11, 0, 8),
        streak_unready: Place::bits(11, 8, 8),
        /// What is waited for while `run` is not ready.
        awaited: Place::bits(11, 16, 2),
        /// Whom signals of a stop reach.
        kill_mode: Place::bits(11, 18, 2),
        /// Whether it may start, as far as that depends on others.
        gate: Place::bits(11, 20, 2),
        /// It is stopped when it is held no longer.
        stop_due: Place::bits(11, 22, 1),
        /// It was not to start.
        skipped: Place::bits(11, 23, 1),
        /// Lives before this one are not counted.
        first_life: Place::bits(11, 32, 32),
        /// When it is ready, if time alone says so.
        ready_at: Place::word(12),
        /// When an order sent a signal to it.
        signalled: Place::word(13),
    }
}

#[cfg(test)]
impl Memory {
    /// The same without numbers that grow for ever, without which process it is, and without what is only told.
    pub fn abstracted(self) -> Memory {
        let [pid, hook_pid, then_pid] = [self.pid, self.hook_pid, self.then_pid].map(|pid| pid.min(1));
        let told = Memory { since: 0, exit: 0, ended_by_order: 0, ..self };
        Memory { pid, hook_pid, then_pid, streak_ends: 0, streak_unready: 0, first_life: 0, ..told }
    }

    /// Each instant that matters.
    pub fn instants(&mut self) -> [&mut u64; 6] {
        let Memory { started, due, hook_kill_at, drain_until, ready_at, signalled, .. } = self;
        [started, due, hook_kill_at, drain_until, ready_at, signalled]
    }
}

/// In the order in which they are numbered. A new one goes to the end.
const COMMANDS: [Command; 14] = [
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
    Command::Disable,
];
const ENABLE: u64 = 14;
/// No order, but the program `stop`.
const STOP: u64 = 15;
/// From here on: this signal.
const SIGNALS: u64 = 128;

impl Service {
    /// What there is to remember of it.
    pub fn memory(&self) -> Memory {
        let Service {
            rules: _,
            role: _,
            inputs: Inputs { limits, gate, .. },
            want,
            leaving,
            escalated,
            stop_requested,
            stop_due,
            skipped,
            paused,
            got_term,
            stop_handled,
            kill_mode,
            since,
            draining,
            state,
            hook,
            ended_by_order,
            awaited,
            notified: _,
            signalled,
            streak,
            probe: _,
            overlap: _,
            history: _,
        } = *self;
        let mut memory = Memory {
            want: match want {
                Want::Up => 0,
                Want::Down => 1,
                Want::Once => 2,
            },
            leaving: leaving.into(),
            escalated: escalated.into(),
            stop_requested: stop_requested.into(),
            paused: paused.into(),
            got_term: got_term.into(),
            stop_handled: stop_handled.into(),
            kill_mode: match kill_mode {
                KillMode::Process => 0,
                KillMode::Group => 1,
                KillMode::Cgroup => 2,
            },
            since: since.0,
            drain_until: instant(draining.map(|draining| draining.until)),
            unread: draining.map_or(0, |draining| draining.unread as u64),
            stop_signal: signal_number(limits.stop_signal),
            kill_after: span(limits.kill_after),
            finish_limit: span(limits.finish_limit),
            up_limit: span(limits.up_limit),
            streak_ends: streak.ends.into(),
            streak_unready: streak.unready.into(),
            awaited: match awaited {
                None => 0,
                Some(Awaited::Word) => 1,
                Some(Awaited::Time(_)) => 2,
                Some(Awaited::End) => 3,
            },
            ready_at: match awaited {
                Some(Awaited::Time(at)) => instant(Some(at)),
                None | Some(Awaited::Word | Awaited::End) => 0,
            },
            gate: match gate {
                Gate::Open => 0,
                Gate::Waiting => 1,
                Gate::Skipped => 2,
            },
            stop_due: stop_due.into(),
            skipped: skipped.into(),
            first_life: streak.first_life.into(),
            ended_by_order: ended_by_order.into(),
            signalled: instant(signalled),
            ..Memory::default()
        };
        memory.set_state(state);
        memory.set_hook(hook);
        memory
    }

    /// And of what few services need: zeros for the others.
    pub fn extra(&self) -> [u64; EXTRA] {
        let (notified, probe, overlap) = (self.notified.pack(), self.probe.memory().pack(), self.overlap.pack());
        std::array::from_fn(|at| {
            [&notified, &probe, &overlap].iter().filter_map(|words| words.get(at)).fold(0, |all, word| all | word)
        })
    }

    /// The service that this is the memory of. `None` if it is nobody's.
    pub fn remembered(
        rules: &'static ServiceRules,
        role: Role,
        memory: Memory,
        extra: [u64; EXTRA],
        history: History,
    ) -> Option<Service> {
        let probe = Probe::remembered(probe::Memory::unpack(&extra))?;
        Some(Service {
            rules,
            role,
            inputs: Inputs {
                limits: Limits {
                    stop_signal: signal_of(memory.stop_signal)?,
                    kill_after: of_span(memory.kill_after),
                    finish_limit: of_span(memory.finish_limit),
                    up_limit: of_span(memory.up_limit),
                },
                gate: match memory.gate {
                    1 => Gate::Waiting,
                    2 => Gate::Skipped,
                    _ => Gate::Open,
                },
                ..Inputs::of(rules)
            },
            want: match memory.want {
                0 => Want::Up,
                1 => Want::Down,
                2 => Want::Once,
                _ => return None,
            },
            leaving: memory.leaving != 0,
            escalated: memory.escalated != 0,
            stop_requested: memory.stop_requested != 0,
            stop_due: memory.stop_due != 0,
            skipped: memory.skipped != 0,
            paused: memory.paused != 0,
            got_term: memory.got_term != 0,
            stop_handled: memory.stop_handled != 0,
            kill_mode: match memory.kill_mode {
                0 => KillMode::Process,
                1 => KillMode::Group,
                _ => KillMode::Cgroup,
            },
            since: Mono(memory.since),
            draining: of_instant(memory.drain_until).map(|until| Draining { until, unread: memory.unread as usize }),
            state: memory.state()?,
            hook: memory.hook()?,
            ended_by_order: memory.ended_by_order != 0,
            awaited: match memory.awaited {
                0 => None,
                1 => Some(Awaited::Word),
                2 => Some(Awaited::Time(of_instant(memory.ready_at)?)),
                _ => Some(Awaited::End),
            },
            notified: Notified::unpack(&extra).map_or_else(Rare::default, Rare::from),
            signalled: of_instant(memory.signalled),
            streak: Streak {
                ends: memory.streak_ends as u8,
                unready: memory.streak_unready as u8,
                first_life: memory.first_life as u32,
            },
            probe: Rare::of(probe),
            overlap: Rare::of(Overlap::unpack(&extra)),
            history,
        })
    }

    /// A service that runs already, and of which nothing else is known.
    pub fn found(rules: &'static ServiceRules, role: Role, want: Want, pid: Pid, since: Mono) -> Service {
        let state = State::Up { pid, started: since, kill_at: None };
        let mut history = History::default();
        history.begin(since, pid, Some(since));
        Service { state, history, ..Service::new(rules, role, want, since) }
    }

    /// Its processes: that of `run` or `finish`, that of `control/X` or `stop`, that of `check` or `health`, and the one
    /// beside `run`.
    pub fn pids(&self) -> impl Iterator<Item = Pid> {
        let hook = match self.hook {
            Hook::Running { pid, .. } => Some(pid),
            Hook::None | Hook::Asked { .. } => None,
        };
        self.view().pid.into_iter().chain(hook).chain(self.probe.pid()).chain(self.beside())
    }

    /// Whether it asked for a program, and the answer was lost with whoever was to give it.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::SetupDue | State::Starting)
            || matches!(self.hook, Hook::Asked { .. })
            || self.probe.is_asked_for()
            || *self.overlap == Overlap::Asked
    }

    /// Whether `run` or `finish` was asked for, `control/X` or a probe, so that a new process can be its.
    pub fn may_have_a_child(&self) -> bool {
        self.awaits_answer() || matches!(self.state, State::FinishDue { .. })
    }

    /// The signals of an orderly stop that may not have been sent.
    pub fn stop_again(&self) -> Step {
        let mut step = Step::NOTHING;
        if let (State::Up { pid, .. }, true) = (self.state, self.got_term && !self.stop_handled) {
            step.push(Effect::Signal(pid, self.inputs.limits.stop_signal, self.reach()));
            step.push(Effect::Signal(pid, Signal::CONT, self.reach()));
        }
        step.then(self.stop_beside())
    }
}

impl Memory {
    fn set_state(&mut self, state: State) {
        match state {
            State::Gone => self.state = 0,
            State::Down { armed, not_before } => {
                (self.state, self.starts_again, self.started) = (1, armed.into(), not_before.0);
            }
            State::Starting => self.state = 2,
            State::SetupDue => self.state = 6,
            State::SettingUp { pid, started, kill_at } => {
                (self.state, self.pid, self.started, self.due) = (7, number(pid), started.0, instant(kill_at));
            }
            State::Up { pid, started, kill_at } => {
                (self.state, self.pid, self.started, self.due) = (3, number(pid), started.0, instant(kill_at));
            }
            State::FinishDue { exit, started, again, at } => {
                (self.state, self.exit, self.starts_again) = (4, exit_number(exit), again.into());
                (self.started, self.due) = (started.0, instant(Some(at)));
            }
            State::Finishing { pid, exit, started, again, kill_at } => {
                (self.state, self.pid, self.exit, self.starts_again) =
                    (5, number(pid), exit_number(exit), again.into());
                (self.started, self.due) = (started.0, instant(kill_at));
            }
        }
    }

    fn state(&self) -> Option<State> {
        let (started, again, due) = (Mono(self.started), self.starts_again != 0, of_instant(self.due));
        Some(match self.state {
            0 => State::Gone,
            1 => State::Down { armed: again, not_before: started },
            2 => State::Starting,
            3 => State::Up { pid: pid_of(self.pid)?, started, kill_at: due },
            4 => State::FinishDue { exit: exit_of(self.exit)?, started, again, at: due? },
            5 => {
                let (pid, exit) = (pid_of(self.pid)?, exit_of(self.exit)?);
                State::Finishing { pid, exit, started, again, kill_at: due }
            }
            6 => State::SetupDue,
            7 => State::SettingUp { pid: pid_of(self.pid)?, started, kill_at: due },
            _ => return None,
        })
    }

    fn set_hook(&mut self, hook: Hook) {
        match hook {
            Hook::None => self.hook = 0,
            Hook::Asked { program, then } => {
                self.hook = 1;
                self.set_order(program, then);
            }
            Hook::Running { pid, program, then, kill_at, late } => {
                (self.hook, self.hook_pid) = (2, number(pid));
                (self.hook_kill_at, self.hook_late) = (instant(Some(kill_at)), late.into());
                self.set_order(program, then);
            }
        }
    }

    fn hook(&self) -> Option<Hook> {
        Some(match self.hook {
            0 => Hook::None,
            1 => Hook::Asked { program: self.program()?, then: self.then()? },
            2 => Hook::Running {
                pid: pid_of(self.hook_pid)?,
                program: self.program()?,
                then: self.then()?,
                kill_at: of_instant(self.hook_kill_at)?,
                late: self.hook_late != 0,
            },
            _ => return None,
        })
    }

    fn set_order(&mut self, program: HookProgram, then: Then) {
        self.hook_command = match program {
            HookProgram::Stop => STOP,
            HookProgram::Control(Command::Signal(signal)) => SIGNALS | signal_number(signal),
            HookProgram::Control(Command::Enable) => ENABLE,
            HookProgram::Control(listed) => {
                COMMANDS.iter().position(|known| *known == listed).unwrap_or_default() as u64
            }
        };
        match then {
            Then::Nothing => self.then = 0,
            Then::Start => self.then = 1,
            Then::Stop { pid, signal } => {
                (self.then, self.then_pid, self.then_signal) = (2, number(pid), signal_number(signal));
            }
            Then::Deliver { pid, signal, to } => {
                (self.then, self.then_pid, self.then_signal) = (3, number(pid), signal_number(signal));
                self.then_group = (to == Target::Group).into();
            }
        }
    }

    fn program(&self) -> Option<HookProgram> {
        let command = match self.hook_command {
            STOP => return Some(HookProgram::Stop),
            ENABLE => Command::Enable,
            signal if signal >= SIGNALS => Command::Signal(signal_of(signal - SIGNALS)?),
            listed => *COMMANDS.get(usize::try_from(listed).ok()?)?,
        };
        Some(HookProgram::Control(command))
    }

    fn then(&self) -> Option<Then> {
        Some(match self.then {
            0 => Then::Nothing,
            1 => Then::Start,
            2 => Then::Stop { pid: pid_of(self.then_pid)?, signal: signal_of(self.then_signal)? },
            3 => {
                let to = if self.then_group == 0 { Target::Process } else { Target::Group };
                Then::Deliver { pid: pid_of(self.then_pid)?, signal: signal_of(self.then_signal)?, to }
            }
            _ => return None,
        })
    }
}

/// A pid as a number. No pid is zero.
pub fn number(pid: Pid) -> u64 {
    pid.0.cast_unsigned().into()
}

/// And back.
pub fn pid_of(number: u64) -> Option<Pid> {
    i32::try_from(number).ok().filter(|pid| *pid > 0).map(Pid)
}

/// An instant, or none, as a number.
pub fn instant(at: Option<Mono>) -> u64 {
    at.map_or(0, |at| at.0.saturating_add(1))
}

/// And back.
pub fn of_instant(number: u64) -> Option<Mono> {
    number.checked_sub(1).map(Mono)
}

fn span(span: Option<Duration>) -> u64 {
    span.map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
}

fn of_span(number: u64) -> Option<Duration> {
    number.checked_sub(1).map(Duration::from_nanos)
}

fn signal_number(signal: Signal) -> u64 {
    u64::from(signal.0 as u8)
}

fn signal_of(number: u64) -> Option<Signal> {
    (1..=64).contains(&number).then_some(Signal(number as i32))
}

/// An end as a number of 24 bits. None is zero.
pub fn exit_number(exit: Exit) -> u64 {
    match exit {
        Exit::Code(code) => 1 | u64::from(code) << 8,
        Exit::Signal { signal, core } => 2 | signal_number(signal) << 8 | u64::from(core) << 16,
    }
}

/// And back.
pub fn exit_of(number: u64) -> Option<Exit> {
    match number & 0xff {
        1 => Some(Exit::Code((number >> 8) as u8)),
        2 => Some(Exit::Signal { signal: signal_of(number >> 8 & 0xff)?, core: number >> 16 != 0 }),
        _ => None,
    }
}
