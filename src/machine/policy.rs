//! The habits in which the supervisors of this family differ, and the limits of one service.

use super::probe;
use super::rare::Rare;
use super::readiness::Said;
use super::restart::Rules;
use super::{Command, Exit, Mono, Signal, Target, words};
use std::time::Duration;

/// At least this long lies between two starts that no order asked for, if the service does not say otherwise.
pub const PAUSE: Duration = Duration::from_secs(1);

/// How a logger is helped to its end once nobody can write to it any more: after this it gets TERM.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Between a signal that had to end a process and the next attempt.
pub const KILL_RETRY: Duration = Duration::from_secs(5);

/// From when the pause before a start is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    /// From the last start: a service that has lived longer starts at once.
    Start,
    /// From the end, if the life was shorter than the pause; else none.
    End,
    /// From the instant at which `run` has said that it is ready; from the end of all if it never has.
    Ready,
}

/// A life that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lived {
    /// Its start.
    pub started: Mono,
    /// When `run` has said that it is ready.
    pub ready: Option<Mono>,
    /// Its end, that of its `finish` too.
    pub ended: Mono,
}

/// What an order to leave does to a running service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// Stop it, then leave.
    Stop,
    /// Leave once it has ended by itself.
    Wait,
}

/// How a supervisor behaves where daemontools, runit and onit itself differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceRules {
    pause: Pause,
    /// The small files about restarts count, an end of `run` with 100 too, and the pause grows; else it is [`PAUSE`].
    pub limits_restarts: bool,
    /// `up` and `once` start a service that pauses before its next start.
    pub up_ends_pause: bool,
    /// What `exit` does.
    pub leave: Leave,
    /// `finish` and `control/X` are looked for.
    pub scripts: bool,
    /// Loggers have a `finish`, too.
    pub loggers_finish: bool,
    /// `setup` and `stop` are looked for, too.
    pub setup: bool,
    /// `check` and `health` are asked.
    pub probes: bool,
    /// `down` takes back an order to leave, as `up` does.
    down_stays: bool,
    /// A `finish` that ends with [`Exit::GIVE_UP`](super::Exit::GIVE_UP) ends the restarts.
    pub finish_gives_up: bool,
    /// The paused flag is only kept for a living process.
    pub pause_needs_process: bool,
    /// The order KILL reaches `finish`, too.
    pub kills_finish: bool,
    /// After a failed fork.
    fork_pause: Duration,
    /// After a `run` that could not be executed. None: that counts as an end of it.
    pub exec_pause: Option<Duration>,
    /// So many deaths of `run` are remembered if the service does not say. None: none is.
    pub death_tally: Option<u32>,
    /// How long `finish` may take when the service does not say. None: for ever.
    pub finish_limit: Option<Duration>,
    /// How long `control/X` may take before the default action is taken.
    pub control_limit: Duration,
}

impl ServiceRules {
    /// onit's own.
    pub const ONIT: ServiceRules = ServiceRules {
        pause: Pause::Start,
        limits_restarts: true,
        up_ends_pause: true,
        leave: Leave::Stop,
        scripts: true,
        loggers_finish: false,
        setup: true,
        probes: true,
        down_stays: false,
        finish_gives_up: true,
        pause_needs_process: false,
        kills_finish: true,
        fork_pause: Duration::from_secs(1),
        exec_pause: None,
        death_tally: None,
        finish_limit: Some(Duration::from_secs(5)),
        control_limit: Duration::from_secs(5),
    };

    /// runit's runsv.
    pub const RUNSV: ServiceRules = ServiceRules {
        pause: Pause::End,
        limits_restarts: false,
        setup: false,
        probes: false,
        up_ends_pause: false,
        down_stays: true,
        finish_gives_up: false,
        fork_pause: Duration::from_secs(5),
        finish_limit: None,
        ..ServiceRules::ONIT
    };

    /// daemontools' supervise.
    pub const SUPERVISE: ServiceRules = ServiceRules {
        limits_restarts: false,
        up_ends_pause: false,
        leave: Leave::Wait,
        scripts: false,
        setup: false,
        probes: false,
        finish_gives_up: false,
        pause_needs_process: true,
        fork_pause: Duration::from_secs(5),
        finish_limit: None,
        ..ServiceRules::ONIT
    };

    /// s6's s6-supervise.
    pub const S6_SUPERVISE: ServiceRules = ServiceRules { setup: false, probes: false, ..ServiceRules::S6 };

    /// The same, with what onit has beside.
    pub const S6: ServiceRules = ServiceRules {
        pause: Pause::Ready,
        limits_restarts: false,
        leave: Leave::Wait,
        loggers_finish: true,
        pause_needs_process: true,
        kills_finish: false,
        fork_pause: Duration::from_secs(10),
        exec_pause: Some(Duration::from_secs(10)),
        death_tally: Some(100),
        ..ServiceRules::ONIT
    };

    /// The earliest instant of the next start after that life.
    pub fn next_start(&self, Lived { started, ready, ended }: Lived, pause: Duration) -> Mono {
        match self.pause {
            Pause::Ready => ready.unwrap_or(ended).after(pause).max(ended),
            Pause::Start => started.after(pause).max(ended),
            Pause::End if ended.since(started) < pause => ended.after(pause),
            Pause::End => ended,
        }
    }

    /// Whether this order takes back an earlier order to leave.
    pub fn stays(&self, command: Command) -> bool {
        match (self.leave, command) {
            (Leave::Stop, Command::Up | Command::Once) => true,
            (Leave::Stop, Command::Down | Command::NoRestart) => self.down_stays,
            (Leave::Stop | Leave::Wait, _) => false,
        }
    }

    /// The instant of the next attempt after a fork failed.
    pub fn next_fork(&self, now: Mono) -> Mono {
        now.after(self.fork_pause)
    }
}

/// Whether a service's end, if nobody asked for it, is the end of everything (file `essential`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Essential {
    /// However it ends.
    Always,
    /// If it ends with anything but 0.
    OnFailure,
    /// If it is not to be started again.
    OnGiveup,
}

words!(Essential, "rule for the end", Always = "always", OnFailure = "on-failure", OnGiveup = "on-giveup");

impl Essential {
    /// Whether this end of `run` ends everything.
    pub fn is_fatal(self, exit: Exit) -> bool {
        match self {
            Essential::Always => true,
            Essential::OnFailure => !exit.is_success(),
            Essential::OnGiveup => false,
        }
    }
}

/// Whom the stop signal and its KILL reach (file `kill-mode`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum KillMode {
    /// The process of the script.
    #[default]
    Process,
    /// Its process group, of which nothing is left when it has ended.
    Group,
    /// The same; and a control group of the service's own is killed with that, where there can be one.
    Cgroup,
}

words!(KillMode, "kill mode", Process = "process", Group = "group", Cgroup = "cgroup");

/// What the small files of one service say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The signal that stops it (`down-signal`).
    pub stop_signal: Signal,
    /// After an orderly stop, KILL follows this much later (`timeout-kill`). None: never.
    pub kill_after: Option<Duration>,
    /// `finish` is killed after this (`timeout-finish`). None: never.
    pub finish_limit: Option<Duration>,
    /// `setup` and the time until `run` is ready may take this long together (`timeout-up`). None: for ever.
    pub up_limit: Option<Duration>,
}

impl Limits {
    /// What holds for a service that says nothing.
    pub fn of(rules: &ServiceRules) -> Limits {
        Limits { stop_signal: Signal::TERM, kill_after: None, finish_limit: rules.finish_limit, up_limit: None }
    }
}

/// The orders in whose place a program `control/X` may act: those that runit asks about.
pub const HOOKED: [Command; 13] = [
    Command::Up,
    Command::Down,
    Command::Exit,
    Command::Term,
    Command::Kill(Target::Process),
    Command::Pause(Target::Process),
    Command::Continue(Target::Process),
    Command::Signal(Signal::HUP),
    Command::Signal(Signal::ALRM),
    Command::Signal(Signal::INT),
    Command::Signal(Signal::QUIT),
    Command::Signal(Signal::USR1),
    Command::Signal(Signal::USR2),
];

/// Which programs a service has beside `run`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scripts {
    /// `setup`.
    pub setup: bool,
    /// There is a `setup` and no `run`: the work is done when `setup` is.
    pub oneshot: bool,
    /// `finish`.
    pub finish: bool,
    /// `stop`.
    pub stop: bool,
    /// `health`.
    pub health: bool,
    hooks: u16,
}

impl Scripts {
    /// The same, and `control/X` for those of [`HOOKED`] of which this holds.
    pub fn with_hooks(self, has: impl Fn(Command) -> bool) -> Scripts {
        let bits = HOOKED.iter().enumerate().map(|(at, command)| u16::from(has(*command)) << at);
        Scripts { hooks: bits.sum(), ..self }
    }

    /// Whether there is a `control/X` for this order.
    pub fn has_hook(self, command: Command) -> bool {
        HOOKED.iter().position(|hooked| *hooked == command).is_some_and(|at| self.hooks >> at & 1 == 1)
    }
}

/// Whether a service may start, as far as that depends on others and on its conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Gate {
    /// It may.
    #[default]
    Open,
    /// It has to wait for another service.
    Waiting,
    /// It is not to start until an order says so: its conditions are not met, or it is not enabled.
    Skipped,
}

/// What the machine of a service has to know of the world, as it was when its owner looked last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inputs {
    /// What its small files say.
    pub limits: Limits,
    /// Whether everything ends with it.
    pub essential: Option<Essential>,
    /// Whether an end is followed by a start, and when.
    pub restarts: Rare<Rules>,
    /// When it counts as ready.
    pub readiness: Rare<Said>,
    /// Whom its stop signal is to reach, from the next start on (`kill-mode`).
    pub kill_mode: KillMode,
    /// The signal that lets it read its configuration again (`reload-signal`).
    pub reload_signal: Signal,
    /// So many deaths of `run` are remembered for s6's tools (`max-death-tally`). None: none is.
    pub death_tally: Option<u32>,
    /// How its probes are asked.
    pub probes: Rare<probe::Said>,
    /// Which programs it has.
    pub scripts: Scripts,
    /// Whether it may start.
    pub gate: Gate,
    /// It is not to be stopped yet: another service that needs it is still being stopped.
    pub held: bool,
    /// For a logger: how much is left in the pipe that it reads from, in bytes.
    pub unread: usize,
}

impl Inputs {
    /// What holds for a service that says nothing, and has nothing but `run`.
    pub fn of(rules: &ServiceRules) -> Inputs {
        Inputs {
            limits: Limits::of(rules),
            essential: None,
            restarts: Rare::default(),
            readiness: Rare::default(),
            kill_mode: KillMode::default(),
            reload_signal: Signal::HUP,
            death_tally: rules.death_tally,
            probes: Rare::default(),
            scripts: Scripts::default(),
            gate: Gate::Open,
            held: false,
            unread: 0,
        }
    }
}
