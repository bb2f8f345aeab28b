//! The decisions of onit, and the words they are made in.
//!
//! Nothing in this room touches a file descriptor, a clock, the environment or the kernel: time comes in as
//! [`Mono`], facts come in as [`Event`], and what is to be done goes out as a [`Step`]. So every decision is
//! tested in simulated time.
#![forbid(unsafe_code)]

pub mod allowance;
pub mod fields;
pub mod fleet;
pub mod history;
pub mod life_event;
mod limit_kind;
pub mod main_process;
pub mod notify;
pub mod overlap;
pub mod pending;
pub mod policy;
pub mod probe;
pub mod rare;
pub mod readiness;
pub mod recovery;
pub mod request;
pub mod restart;
pub mod s6;
pub mod service;
#[cfg(test)]
mod simulation;
pub mod stage;
pub mod states;
pub mod system;
pub mod until;
pub mod watchdog;
mod word;

use history::End;
pub use limit_kind::LimitKind;
use notify::Notification;
use probe::Failure;
use restart::Cause;
use std::fmt;
use std::time::Duration;
pub use word::UnknownWord;
pub(crate) use word::words;

/// An instant of the monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The instant `span` later; the far future where that overflows.
    pub fn after(self, span: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The instant `span` earlier; the beginning where there is none.
    pub fn before(self, span: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` until this instant; zero where `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A process that we started and have not reaped yet. Always positive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signal number; real-time signals are in range (1 to 64).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Signal(pub i32);

impl Signal {
    #![allow(missing_docs)]
    pub const HUP: Signal = Signal(libc::SIGHUP);
    pub const INT: Signal = Signal(libc::SIGINT);
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    pub const ABRT: Signal = Signal(libc::SIGABRT);
    pub const ILL: Signal = Signal(libc::SIGILL);
    pub const TRAP: Signal = Signal(libc::SIGTRAP);
    pub const BUS: Signal = Signal(libc::SIGBUS);
    pub const FPE: Signal = Signal(libc::SIGFPE);
    pub const SEGV: Signal = Signal(libc::SIGSEGV);
    pub const SYS: Signal = Signal(libc::SIGSYS);
    pub const KILL: Signal = Signal(libc::SIGKILL);
    pub const USR1: Signal = Signal(libc::SIGUSR1);
    pub const USR2: Signal = Signal(libc::SIGUSR2);
    pub const ALRM: Signal = Signal(libc::SIGALRM);
    pub const TERM: Signal = Signal(libc::SIGTERM);
    pub const CHLD: Signal = Signal(libc::SIGCHLD);
    pub const PIPE: Signal = Signal(libc::SIGPIPE);
    pub const CONT: Signal = Signal(libc::SIGCONT);
    pub const STOP: Signal = Signal(libc::SIGSTOP);
    pub const TSTP: Signal = Signal(libc::SIGTSTP);
    pub const TTIN: Signal = Signal(libc::SIGTTIN);
    pub const TTOU: Signal = Signal(libc::SIGTTOU);
    pub const PWR: Signal = Signal(libc::SIGPWR);
    pub const WINCH: Signal = Signal(libc::SIGWINCH);
}

impl Signal {
    /// The first real-time signal as those count who send us one: as glibc does. musl's own is one more.
    pub const RTMIN: Signal = Signal(34);

    /// Its name, `SIGTERM`; real-time signals have none.
    pub fn name(self) -> Option<&'static str> {
        nix::sys::signal::Signal::try_from(self.0).ok().map(nix::sys::signal::Signal::as_str)
    }

    /// The signal of this name or number: `TERM`, `SIGTERM`, `term` and `15` are the same one, and so are `RTMIN+1` and
    /// `35`.
    pub fn named(text: &str) -> Option<Signal> {
        let text = text.to_ascii_uppercase();
        let name = text.strip_prefix("SIG").unwrap_or(&text);
        if let Some(more) = name.strip_prefix("RTMIN") {
            let number = if more.is_empty() { 0 } else { more.strip_prefix('+')?.parse::<i32>().ok()? };
            return (0..=30).contains(&number).then_some(Signal(Signal::RTMIN.0 + number));
        }
        if let Ok(number) = name.parse::<i32>() {
            return (1..=64).contains(&number).then_some(Signal(number));
        }
        (1..=31).map(Signal).find(|signal| signal.name().and_then(|known| known.strip_prefix("SIG")) == Some(name))
    }
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Exit {
    /// It returned this code, 0 to 255.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Which one.
        signal: Signal,
        /// A core was dumped.
        core: bool,
    },
}

impl Exit {
    /// What the child of runit and daemontools exits with when `run` cannot be executed.
    pub const NOT_RUN: Exit = Exit::Code(111);
    /// How a `setup` ends that could not be executed, as in a shell: 111 is what it says when it has failed for good.
    pub const NOT_EXECUTED: Exit = Exit::Code(126);
    /// What `run` says when it is not to be started again, in daemontools-encore and natively.
    pub const PERMANENT: Exit = Exit::Code(100);
    /// What `finish` says when the service is not to be started again, in s6 and natively.
    pub const GIVE_UP: Exit = Exit::Code(125);
    /// What `health` says of a service that works, and not as it should.
    pub const DEGRADED: Exit = Exit::Code(75);

    /// What a shell makes of it: the code, or 128 and the signal.
    pub fn shell_code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal { signal, .. } => u8::try_from(128 + signal.0).unwrap_or(u8::MAX),
        }
    }

    /// Exit code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

/// Whom a signal is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Target {
    /// The one process that we started.
    Process,
    /// Its process group.
    Group,
}

/// An order to one service. The bytes that carry them are in `wire::control`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Command {
    /// Start, and start again whenever it ends.
    Up,
    /// Stop, and do not start again.
    Down,
    /// Start if it is down; do not start again when it ends.
    Once,
    /// Do not start again when it ends; start nothing now (s6 `O`).
    NoRestart,
    /// Leave the service: stop it and release its directory.
    Exit,
    /// TERM, which is a restart as long as the service is wanted up.
    Term,
    /// The service's own stop signal, which is a restart as long as the service is wanted up (s6 `r`).
    StopSignal,
    /// KILL.
    Kill(Target),
    /// STOP.
    Pause(Target),
    /// CONT.
    Continue(Target),
    /// Any other signal, as it is.
    Signal(Signal),
    /// The service's own signal for reading its configuration again (s6 `l`).
    Reload,
    /// Start a second `run`, which takes the place of the first when it is ready.
    Replace,
    /// Create the file `down` (s6 `D` and `Q`).
    Disable,
    /// Remove the file `down` (s6 `U`).
    Enable,
}

/// What a service was told to be. What it is, is in its state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Want {
    /// Running; started again whenever it ends.
    Up,
    /// Not running.
    Down,
    /// Running until it ends by itself.
    Once,
}

/// Which of a service's programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Script {
    /// `setup`: what prepares each start of `run`, or the whole work of a service without `run`.
    Setup,
    /// `run`: the service.
    Run,
    /// `run` for the second time, beside the first.
    Successor,
    /// `finish`: what cleans up after this end of `run`.
    Finish(Exit),
    /// `control/X`: what is run in place of this command's signal.
    Control(Command),
    /// `stop`: what is run in place of the stop signal.
    Stop,
    /// `check`: what says whether the service is ready.
    Check,
    /// `health`: what says whether it is well.
    Health,
}

impl Script {
    /// Whether it is `run`, for the first time or the second.
    pub fn is_run(self) -> bool {
        matches!(self, Script::Run | Script::Successor)
    }
}

/// Why a program could not be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is there, but cannot be executed.
    Exec,
    /// No process could be made: out of processes or memory.
    Fork,
}

/// What a service's machine is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Supervision begins.
    Begin,
    /// Somebody gave an order.
    Command(Command),
    /// The program that the last [`Step::start`] named runs as this process.
    Spawned(Pid),
    /// The program that the last [`Step::start`] named does not run.
    NotSpawned(Refusal),
    /// This process has ended and was reaped.
    Died(Pid, Exit),
    /// This process of `run`, which had not executed its program, has ended and was reaped.
    NeverRan(Pid),
    /// `run` says that it is ready, or that is seen.
    Ready,
    /// `run` says something else.
    Notify(Notification),
    /// The process of `run` has ended, and this one, which it had named in its place and which is our child, goes on as
    /// `run`.
    Succeeded(Pid),
    /// The second `run` says that it is ready.
    SecondReady,
    /// The time that `deadline()` named has come.
    Tick,
    /// For a logger: what it reads from has ended for ever.
    Drain,
    /// Shutdown is out of patience: whatever still runs is killed.
    Escalate,
}

/// What a service's machine wants done, and what has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send a signal to a process of ours.
    Signal(Pid, Signal, Target),
    /// This program has overstayed its time limit and is killed.
    KillLate(Pid, Script),
    /// `run` has not become ready in its time, and is stopped.
    NotReady(Pid),
    /// This `check` or `health` is killed, with all that it has started.
    KillProbe(Pid),
    /// `health` has failed so often in a row, the last time because of this.
    Unhealthy {
        /// How often.
        failures: u16,
        /// The last time.
        last: Failure,
        /// `run` is stopped for it.
        stops: bool,
    },
    /// `run` has not said for so long that it is alive, or (`None`) wants what follows from that, and is stopped.
    Silent(Pid, Option<Duration>),
    /// `run` has ended like this, which is to be remembered with so many deaths in all.
    NoteDeath(Exit, u32),
    /// This script, which was that process, has ended: what is left of its group is killed.
    KillLeftovers(Pid, Script),
    /// `stop` has ended like this, so this signal is sent.
    StopFailed(Exit, Signal),
    /// Create (true) or remove (false) the file `down`.
    DownFile(bool),
}

/// What an event means for others than the service itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// `run` has ended although nobody had asked for it, and is to be started again.
    Ended {
        /// How.
        exit: Exit,
        /// How long after its start.
        lived: Duration,
    },
    /// `setup` has ended like this, and is to be started again.
    SetupFailed(Exit),
    /// It has done its work, and is not to be started again.
    Done,
    /// `run` had ended like this, and is not to be started again.
    GaveUp(Exit, Cause),
    /// `run` has ended like this, and with it everything does.
    EssentialEnded(Exit),
    /// The second `run` has taken the place of the first.
    Replaced,
    /// It does not, because of this.
    NotReplaced(Unreplaced),
}

/// Why a second `run` does not take the place of the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreplaced {
    /// It could not be started.
    NotStarted(Refusal),
    /// It has ended like this before it was ready.
    Ended(Exit),
    /// It was not ready in time.
    Late,
}

/// What follows from one event. No allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    effects: [Option<Effect>; 6],
    /// This program is to be started once the effects are done. It is answered by [`Event::Spawned`] or
    /// [`Event::NotSpawned`] at once.
    pub start: Option<Script>,
    /// What others have to know.
    pub outcome: Option<Outcome>,
}

impl Step {
    /// Nothing follows.
    pub const NOTHING: Step = Step { effects: [None; 6], start: None, outcome: None };

    /// What is to be done, in this order: at most four things.
    pub fn effects(&self) -> impl Iterator<Item = Effect> + use<> {
        self.effects.into_iter().flatten()
    }

    fn starting(script: Script) -> Step {
        Step { start: Some(script), ..Step::NOTHING }
    }

    fn push(&mut self, effect: Effect) {
        match self.effects.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(effect),
            None => debug_assert!(false, "a step never has more than four effects"),
        }
    }

    /// And then that. What it means for others was said first by whoever knew more.
    fn then(mut self, next: Step) -> Step {
        next.effects().for_each(|effect| self.push(effect));
        Step { start: next.start.or(self.start), outcome: self.outcome.or(next.outcome), ..self }
    }
}

impl From<Effect> for Step {
    fn from(effect: Effect) -> Step {
        Step { effects: [Some(effect), None, None, None, None, None], ..Step::NOTHING }
    }
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Step {
        Step { outcome: Some(outcome), ..Step::NOTHING }
    }
}

/// What the outside may see of a service: the content of its status file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// What runs.
    pub phase: Phase,
    /// The process that runs, if there is one.
    pub pid: Option<Pid>,
    /// What it was told to be.
    pub want: Want,
    /// It was told to leave.
    pub leaving: bool,
    /// STOP was sent and no CONT since.
    pub paused: bool,
    /// The stop signal was sent to this process.
    pub got_term: bool,
    /// `run` runs, and counts as ready.
    pub is_ready: bool,
    /// Since when it is up or down.
    pub since: Mono,
}

/// What s6's tools are told beside that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastChange {
    /// Since when it is up or, from the end of `run` on, down.
    pub at: Mono,
    /// Since when `run` has said that it is ready, or since when nothing of what is down runs any more.
    pub ready: Option<Mono>,
    /// How `run` has ended the last time.
    pub exit: Option<Exit>,
}

/// What of a service runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Nothing.
    Down,
    /// `setup`. Status files say that nothing runs.
    Setup,
    /// `run`.
    Run,
    /// `finish`.
    Finish,
}

/// The state of a service, in the word that people and programs are told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ServiceState {
    /// Nothing runs, and nothing is about to.
    Down,
    /// Nothing runs; it is about to be started.
    Backoff,
    /// Nothing runs; it starts when other services are ready.
    Waiting,
    /// `setup` prepares the start.
    Setup,
    /// `run` has a process, and is not ready, or has not executed its program yet. Only the supervisor itself knows.
    Starting,
    /// `run` lives, and is ready if it is known to say when it is.
    Up,
    /// `run` was sent the stop signal and has not ended yet.
    Stopping,
    /// `run` has ended and `finish` cleans up.
    Finishing,
    /// `run` has done its work, and is not to be started again until an order says so.
    Done,
    /// It has failed, and is not to be started again until an order says so.
    Failed,
    /// It was not started, as its conditions are not met or it is not enabled, and is not until an order says so.
    Skipped,
    /// It is not supervised. A service that is has another state; this is what is told of one that is not.
    Refused,
    /// It cannot be told: whoever asks may not look, or cannot.
    Unknown,
}

/// What came of a service that is not to be started again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Completion {
    /// It has done its work.
    Done,
    /// It has failed for good.
    Failed,
}

impl ServiceState {
    /// Where a service stands of which this is known.
    pub fn of(phase: Phase, want: Want, got_term: bool, completion: Option<Completion>) -> ServiceState {
        match (phase, completion) {
            (Phase::Run | Phase::Setup, _) if got_term => ServiceState::Stopping,
            (Phase::Setup, _) => ServiceState::Setup,
            (Phase::Run, _) => ServiceState::Up,
            (Phase::Finish, _) => ServiceState::Finishing,
            (Phase::Down, Some(Completion::Done)) => ServiceState::Done,
            (Phase::Down, Some(Completion::Failed)) => ServiceState::Failed,
            (Phase::Down, None) if want == Want::Up => ServiceState::Backoff,
            (Phase::Down, None) => ServiceState::Down,
        }
    }
}

words!(
    ServiceState,
    "state of a service",
    Down = "down",
    Backoff = "backoff",
    Waiting = "waiting",
    Setup = "setup",
    Starting = "starting",
    Up = "up",
    Stopping = "stopping",
    Finishing = "finishing",
    Done = "done",
    Failed = "failed",
    Skipped = "skipped",
    Refused = "refused",
    Unknown = "unknown",
);

impl View {
    /// As it is in status files: the tools that read them know no `setup`, so nothing runs. And no readiness, but for
    /// those of s6 (`tells_readiness`), where what is down is ready once nothing of it runs any more.
    pub fn in_files(self, tells_readiness: bool) -> View {
        let is_ready = match self.phase {
            Phase::Run => self.is_ready,
            Phase::Down => true,
            Phase::Setup | Phase::Finish => false,
        };
        let view = View { is_ready: is_ready || !tells_readiness, ..self };
        match self.phase {
            Phase::Setup => View { phase: Phase::Down, pid: None, got_term: false, ..view },
            Phase::Down | Phase::Run | Phase::Finish => view,
        }
    }

    /// Its state, if its last life ended like this.
    pub fn state(&self, last: Option<End>) -> ServiceState {
        let want = if self.leaving { Want::Down } else { self.want };
        match ServiceState::of(self.phase, want, self.got_term, last.and_then(|end| end.completion(want))) {
            ServiceState::Up if !self.is_ready => ServiceState::Starting,
            state => state,
        }
    }
}

words!(Want, "want of a service", Up = "up", Down = "down", Once = "once");
words!(Phase, "phase of a service", Down = "down", Setup = "setup", Run = "run", Finish = "finish");

impl fmt::Display for Signal {
    /// `TERM`; a real-time signal is `RTMIN+3`, and any other one its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name().and_then(|name| name.strip_prefix("SIG")) {
            Some(name) => f.pad(name),
            None if (Signal::RTMIN.0..=64).contains(&self.0) => write!(f, "RTMIN+{}", self.0 - Signal::RTMIN.0),
            None => self.0.fmt(f),
        }
    }
}

impl std::str::FromStr for Signal {
    type Err = UnknownWord;

    /// As [`Signal::named`].
    fn from_str(text: &str) -> Result<Signal, UnknownWord> {
        Signal::named(text).ok_or_else(|| UnknownWord::new("signal", text))
    }
}
