//! A service as a few plain words, and back: what outlives the program that supervises.

use super::{Draining, Hook, Inputs, Limits, Role, Service, ServiceRules, State, Then};
use crate::machine::history::History;
use crate::machine::{Command, Effect, Exit, Mono, Pid, Signal, Step, Target, Want};
use std::time::Duration;

/// How many words.
pub const WORDS: usize = 11;

/// Everything about a service but its rules, its role, its last lives and what it has to look up anyhow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory(pub [u64; WORDS]);

/// No instant, no span.
const NONE: u64 = u64::MAX;

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
const ENABLE: u8 = 14;
/// From here on: this signal.
const SIGNALS: u8 = 128;

impl Service {
    /// What there is to remember of it.
    pub fn memory(&self) -> Memory {
        let Service {
            rules: _,
            role: _,
            inputs: Inputs { limits, .. },
            want,
            leaving,
            escalated,
            stop_requested,
            paused,
            got_term,
            since,
            draining,
            state: _, // see below
            hook,
            history: _,
        } = *self;
        let is = self.state_words();
        let (hook, hook_pid, order, hook_at, late) = match hook {
            Hook::None => (0, None, 0, NONE, false),
            Hook::Asked { command, then } => (1, None, order(command, then), NONE, false),
            Hook::Running { pid, command, then, kill_at, late } => {
                (2, Some(pid), order(command, then), kill_at.0, late)
            }
        };
        let want = match want {
            Want::Up => 0,
            Want::Down => 1,
            Want::Once => 2,
        };
        let bits = bytes([
            is.tag,
            hook,
            want,
            flags([leaving, escalated, paused, got_term, draining.is_some(), is.flag, late, stop_requested]),
            limits.stop_signal.0 as u8,
            is.exit[0],
            is.exit[1],
            is.exit[2],
        ]);
        Memory([
            bits,
            pair(number(is.pid), number(hook_pid)),
            since.0,
            is.a,
            is.b,
            hook_at,
            draining.map_or(NONE, |draining| draining.until.0),
            draining.map_or(0, |draining| draining.unread as u64),
            order,
            span(limits.kill_after),
            span(limits.finish_limit),
        ])
    }

    fn state_words(&self) -> Is {
        let none = Is { tag: 0, pid: None, exit: [0; 3], flag: false, a: 0, b: NONE };
        match self.state {
            State::Gone => none,
            State::Down { armed, not_before } => Is { tag: 1, flag: armed, a: not_before.0, ..none },
            State::Starting => Is { tag: 2, ..none },
            State::Up { pid, started, kill_at } => {
                Is { tag: 3, pid: Some(pid), a: started.0, b: instant(kill_at), ..none }
            }
            State::FinishDue { exit, started, again, at } => {
                Is { tag: 4, exit: exit_bytes(exit), flag: again, a: started.0, b: at.0, ..none }
            }
            State::Finishing { pid, exit, started, again, kill_at } => {
                Is { tag: 5, pid: Some(pid), exit: exit_bytes(exit), flag: again, a: started.0, b: instant(kill_at) }
            }
        }
    }

    /// The service that this is the memory of. `None` if it is nobody's.
    pub fn remembered(
        rules: &'static ServiceRules,
        role: Role,
        Memory(words): Memory,
        history: History,
    ) -> Option<Service> {
        let [bits, pids, since, a, b, hook_at, until, unread, order, kill_after, finish_limit] = words;
        let [tag, hook, want, flags, stop_signal, kind, value, core] = bits.to_le_bytes();
        let flag = |at: u8| flags & (1 << at) != 0;
        let (pid, hook_pid) = (of_number(pids as u32), of_number((pids >> 32) as u32));
        let exit = exit_of([kind, value, core]);
        let started = Mono(a);
        let again = flag(5);
        let state = match tag {
            0 => State::Gone,
            1 => State::Down { armed: again, not_before: started },
            2 => State::Starting,
            3 => State::Up { pid: pid?, started, kill_at: of_instant(b) },
            4 => State::FinishDue { exit: exit?, started, again, at: Mono(b) },
            5 => State::Finishing { pid: pid?, exit: exit?, started, again, kill_at: of_instant(b) },
            _ => return None,
        };
        let hook = match hook {
            0 => Hook::None,
            1 => Hook::Asked { command: command_of(order)?, then: then_of(order)? },
            2 => Hook::Running {
                pid: hook_pid?,
                command: command_of(order)?,
                then: then_of(order)?,
                kill_at: Mono(hook_at),
                late: flag(6),
            },
            _ => return None,
        };
        Some(Service {
            rules,
            role,
            inputs: Inputs {
                limits: Limits {
                    stop_signal: signal_of(stop_signal)?,
                    kill_after: of_span(kill_after),
                    finish_limit: of_span(finish_limit),
                },
                ..Inputs::of(rules)
            },
            want: match want {
                0 => Want::Up,
                1 => Want::Down,
                2 => Want::Once,
                _ => return None,
            },
            leaving: flag(0),
            escalated: flag(1),
            stop_requested: flag(7),
            paused: flag(2),
            got_term: flag(3),
            since: Mono(since),
            draining: flag(4).then_some(Draining { until: Mono(until), unread: unread as usize }),
            state,
            hook,
            history,
        })
    }

    /// A service that runs already, and of which nothing else is known.
    pub fn found(rules: &'static ServiceRules, role: Role, want: Want, pid: Pid, since: Mono) -> Service {
        let state = State::Up { pid, started: since, kill_at: None };
        let mut history = History::default();
        history.begin(since, pid);
        Service { state, history, ..Service::new(rules, role, want, since) }
    }

    /// Its processes: that of `run` or `finish`, and that of `control/X`.
    pub fn pids(&self) -> impl Iterator<Item = Pid> {
        let hook = match self.hook {
            Hook::Running { pid, .. } => Some(pid),
            Hook::None | Hook::Asked { .. } => None,
        };
        self.view().pid.into_iter().chain(hook)
    }

    /// Whether it asked for a program, and the answer was lost with whoever was to give it.
    pub fn awaits_answer(&self) -> bool {
        self.state == State::Starting || matches!(self.hook, Hook::Asked { .. })
    }

    /// Whether `run` or `finish` was asked for, or `control/X`, so that a new process can be its.
    pub fn may_have_a_child(&self) -> bool {
        self.awaits_answer() || matches!(self.state, State::FinishDue { .. })
    }

    /// The signals of an orderly stop that may not have been sent.
    pub fn stop_again(&self) -> Step {
        let mut step = Step::NOTHING;
        if let (State::Up { pid, .. }, true) = (self.state, self.got_term) {
            step.push(Effect::Signal(pid, self.inputs.limits.stop_signal, Target::Process));
            step.push(Effect::Signal(pid, Signal::CONT, Target::Process));
        }
        step
    }
}

/// A state, flattened.
struct Is {
    tag: u8,
    pid: Option<Pid>,
    exit: [u8; 3],
    flag: bool,
    a: u64,
    b: u64,
}

fn bytes(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes)
}

fn flags(flags: [bool; 8]) -> u8 {
    flags.iter().enumerate().map(|(at, flag)| u8::from(*flag) << at).sum()
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn number(pid: Option<Pid>) -> u32 {
    pid.map_or(0, |pid| pid.0.cast_unsigned())
}

fn of_number(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().filter(|pid| *pid > 0).map(Pid)
}

/// An instant, or none, as a word.
pub fn instant(at: Option<Mono>) -> u64 {
    at.map_or(NONE, |at| at.0)
}

/// And back.
pub fn of_instant(word: u64) -> Option<Mono> {
    (word != NONE).then_some(Mono(word))
}

fn span(span: Option<Duration>) -> u64 {
    span.map_or(NONE, |span| u64::try_from(span.as_nanos()).unwrap_or(NONE))
}

fn of_span(word: u64) -> Option<Duration> {
    (word != NONE).then_some(Duration::from_nanos(word))
}

fn signal_of(byte: u8) -> Option<Signal> {
    (1..=64).contains(&byte).then_some(Signal(i32::from(byte)))
}

/// An end, as bytes.
pub fn exit_bytes(exit: Exit) -> [u8; 3] {
    match exit {
        Exit::Code(code) => [1, code, 0],
        Exit::Signal { signal, core } => [2, signal.0 as u8, core.into()],
    }
}

/// And back.
pub fn exit_of([kind, value, core]: [u8; 3]) -> Option<Exit> {
    match kind {
        1 => Some(Exit::Code(value)),
        2 => Some(Exit::Signal { signal: signal_of(value)?, core: core != 0 }),
        _ => None,
    }
}

/// What `control/X` was asked about, and what follows it.
fn order(command: Command, then: Then) -> u64 {
    let number = match command {
        Command::Signal(signal) => SIGNALS | signal.0 as u8,
        Command::Enable => ENABLE,
        listed => COMMANDS.iter().position(|known| *known == listed).unwrap_or_default() as u8,
    };
    let (then, signal, group, pid) = match then {
        Then::Nothing => (0, 0, 0, None),
        Then::Start => (1, 0, 0, None),
        Then::Stop { pid, signal } => (2, signal.0 as u8, 0, Some(pid)),
        Then::Deliver { pid, signal, to } => (3, signal.0 as u8, u8::from(to == Target::Group), Some(pid)),
    };
    let [a, b, c, d] = self::number(pid).to_le_bytes();
    bytes([number, then, signal, group, a, b, c, d])
}

fn command_of(order: u64) -> Option<Command> {
    match order as u8 {
        ENABLE => Some(Command::Enable),
        signal if signal >= SIGNALS => signal_of(signal - SIGNALS).map(Command::Signal),
        listed => COMMANDS.get(usize::from(listed)).copied(),
    }
}

fn then_of(order: u64) -> Option<Then> {
    let [_, then, signal, group, ..] = order.to_le_bytes();
    let pid = of_number((order >> 32) as u32);
    Some(match then {
        0 => Then::Nothing,
        1 => Then::Start,
        2 => Then::Stop { pid: pid?, signal: signal_of(signal)? },
        3 => {
            let to = if group == 0 { Target::Process } else { Target::Group };
            Then::Deliver { pid: pid?, signal: signal_of(signal)?, to }
        }
        _ => return None,
    })
}
