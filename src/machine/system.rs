//! The life of the whole: up, stopping, sweeping up what nobody supervises, over.

use super::request::ShutdownAction;
use super::{Exit, Mono, Signal};
use std::time::Duration;

/// Everything has ended by this long after the order to stop, or is killed. Under Docker's ten seconds.
pub const STOP_BUDGET: Duration = Duration::from_secs(9);
/// What is left when the services have ended gets TERM, and KILL this much later.
pub const GRACE: Duration = Duration::from_secs(1);

/// How much longer something may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    Until(Mono),
    Endless,
    Over,
}

impl Patience {
    fn from(now: Mono, budget: Option<Duration>) -> Patience {
        budget.map_or(Patience::Endless, |budget| Patience::Until(now.after(budget)))
    }

    fn memory(self) -> u64 {
        match self {
            Patience::Until(at) => at.0.min(u64::MAX - 2),
            Patience::Endless => u64::MAX - 1,
            Patience::Over => u64::MAX,
        }
    }

    fn remembered(word: u64) -> Patience {
        match word {
            u64::MAX => Patience::Over,
            at if at == u64::MAX - 1 => Patience::Endless,
            at => Patience::Until(Mono(at)),
        }
    }

    fn deadline(self) -> Option<Mono> {
        match self {
            Patience::Until(at) => Some(at),
            Patience::Endless | Patience::Over => None,
        }
    }

    fn is_due(self, now: Mono) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Up,
    /// The main process was told to end; the services that it may need are still up.
    Ending {
        all: Patience,
    },
    /// The services leave.
    Stopping {
        all: Patience,
    },
    /// Only loggers are left, and what nobody supervises.
    Sweeping {
        all: Patience,
        orphans: Patience,
    },
}

/// What the system's machine wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Nothing new is taken in; the main process was told, and the services stay until it has ended.
    AwaitMain,
    /// Every service is told to leave; nothing new is taken in.
    StopAll,
    /// Orphans get the signal that [`System::orphan_signal`] names.
    Sweep,
    /// Whatever still runs is killed.
    KillAll,
}

/// With what everything ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conclusion {
    /// The exit code.
    pub code: i32,
    /// An essential service has decided on it. The end of the main process does not change it any more.
    decided: bool,
    /// What the machine or the container is to do then.
    pub action: ShutdownAction,
    /// Nothing is waited for any more.
    pub immediate: bool,
}

/// The machine of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct System {
    state: State,
    conclusion: Conclusion,
}

impl System {
    /// Everything is wanted as the services say.
    pub const UP: System = System {
        state: State::Up,
        conclusion: Conclusion { code: 0, decided: false, action: ShutdownAction::Exit, immediate: false },
    };

    /// What there is to remember of it.
    pub fn memory(self) -> [u64; 5] {
        let [tag, all, orphans] = match self.state {
            State::Up => [0; 3],
            State::Ending { all } => [1, all.memory(), 0],
            State::Stopping { all } => [2, all.memory(), 0],
            State::Sweeping { all, orphans } => [3, all.memory(), orphans.memory()],
        };
        let Conclusion { code, decided, action, immediate } = self.conclusion;
        let code = u64::from(code.cast_unsigned()) | u64::from(decided) << 32;
        [tag, all, orphans, code, action.number() | u64::from(immediate) << 32]
    }

    /// The system that this is the memory of. `None` if it is nobody's.
    pub fn remembered([tag, all, orphans, code, action]: [u64; 5]) -> Option<System> {
        let (all, orphans) = (Patience::remembered(all), Patience::remembered(orphans));
        let state = match tag {
            0 => State::Up,
            1 => State::Ending { all },
            2 => State::Stopping { all },
            3 => State::Sweeping { all, orphans },
            _ => return None,
        };
        let conclusion = Conclusion {
            code: (code as u32).cast_signed(),
            decided: code >> 32 != 0,
            action: ShutdownAction::numbered(action & u64::from(u32::MAX))?,
            immediate: action >> 32 != 0,
        };
        Some(System { state, conclusion })
    }

    /// With what everything ends, as far as is known.
    pub fn conclusion(self) -> Conclusion {
        self.conclusion
    }

    /// Everything ends with this code, unless an essential service has said otherwise.
    pub fn conclude(&mut self, code: i32) {
        if !self.conclusion.decided {
            self.conclusion.code = code;
        }
    }

    /// An essential service has ended like this. The first one decides what everything ends with, and that it does.
    pub fn essential_ended(
        &mut self,
        now: Mono,
        budget: Option<Duration>,
        has_main: bool,
        exit: Exit,
    ) -> Option<Order> {
        if !self.is_up() {
            return None;
        }
        self.conclude(exit.shell_code().into());
        self.conclusion.decided = true;
        Some(self.stop(now, budget, has_main))
    }

    /// Somebody asks for this, in order or at once.
    pub fn ask_for(&mut self, action: ShutdownAction, immediate: bool) {
        self.conclusion.action = action;
        self.conclusion.immediate |= immediate;
    }

    /// Whether the services were told to leave.
    pub fn is_stopping(self) -> bool {
        matches!(self.state, State::Stopping { .. } | State::Sweeping { .. })
    }

    /// Whether patience is over.
    pub fn is_killing(self) -> bool {
        matches!(self.state, State::Stopping { all: Patience::Over } | State::Sweeping { all: Patience::Over, .. })
    }

    /// When patience is over, if it has an end.
    pub fn kills_at(self) -> Option<Mono> {
        match self.state {
            State::Up => None,
            State::Ending { all } | State::Stopping { all } | State::Sweeping { all, .. } => all.deadline(),
        }
    }

    /// Whether new services are taken in.
    pub fn is_up(self) -> bool {
        self.state == State::Up
    }

    /// Whether nothing but loggers is left of what is supervised.
    pub fn is_sweeping(self) -> bool {
        matches!(self.state, State::Sweeping { .. })
    }

    /// When `tick` is due.
    pub fn deadline(self) -> Option<Mono> {
        match self.state {
            State::Up => None,
            State::Ending { all } | State::Stopping { all } => all.deadline(),
            State::Sweeping { all, orphans } => all.deadline().into_iter().chain(orphans.deadline()).min(),
        }
    }

    /// What those get that are left behind by the services and the main process.
    pub fn orphan_signal(self) -> Option<Signal> {
        match self.state {
            State::Up | State::Ending { .. } | State::Stopping { .. } => None,
            State::Sweeping { orphans: Patience::Over, .. } => Some(Signal::KILL),
            State::Sweeping { .. } => Some(Signal::TERM),
        }
    }

    /// Somebody wants it to end: the first time in order, the second time at once.
    pub fn stop(&mut self, now: Mono, budget: Option<Duration>, has_main: bool) -> Order {
        let all = Patience::from(now, budget);
        match self.state {
            State::Up if has_main => {
                self.state = State::Ending { all };
                Order::AwaitMain
            }
            State::Up => {
                self.state = State::Stopping { all };
                Order::StopAll
            }
            State::Ending { .. } | State::Stopping { .. } | State::Sweeping { .. } => self.lose_patience(),
        }
    }

    /// The main process has ended with this code, so everything does.
    pub fn main_ended(&mut self, now: Mono, budget: Option<Duration>, code: i32) -> Option<Order> {
        self.conclude(code);
        let all = match self.state {
            State::Up => Patience::from(now, budget),
            State::Ending { all } => all,
            State::Stopping { .. } | State::Sweeping { .. } => return None,
        };
        self.state = State::Stopping { all };
        Some(Order::StopAll)
    }

    /// Neither a main process nor a service is left, loggers excepted.
    pub fn services_ended(&mut self, now: Mono) -> Option<Order> {
        let State::Stopping { all } = self.state else { return None };
        let orphans = match all {
            Patience::Over => Patience::Over,
            Patience::Until(_) | Patience::Endless => Patience::Until(now.after(GRACE)),
        };
        self.state = State::Sweeping { all, orphans };
        Some(Order::Sweep)
    }

    /// The time has come that `deadline` named.
    pub fn tick(&mut self, now: Mono) -> Option<Order> {
        match &mut self.state {
            State::Up => None,
            State::Ending { all } | State::Stopping { all } | State::Sweeping { all, .. } if all.is_due(now) => {
                Some(self.lose_patience())
            }
            State::Sweeping { orphans, .. } if orphans.is_due(now) => {
                *orphans = Patience::Over;
                Some(Order::Sweep)
            }
            State::Ending { .. } | State::Stopping { .. } | State::Sweeping { .. } => None,
        }
    }

    fn lose_patience(&mut self) -> Order {
        let over = Patience::Over;
        self.state = match self.state {
            State::Sweeping { .. } => State::Sweeping { all: over, orphans: over },
            State::Up | State::Ending { .. } | State::Stopping { .. } => State::Stopping { all: over },
        };
        Order::KillAll
    }
}
