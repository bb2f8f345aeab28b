//! The life of the whole: up, stopping, sweeping up what nobody supervises, over.

use super::{Mono, Signal};
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

/// The machine of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct System(State);

impl System {
    /// Everything is wanted as the services say.
    pub const UP: System = System(State::Up);

    /// What there is to remember of it.
    pub fn memory(self) -> [u64; 3] {
        match self.0 {
            State::Up => [0; 3],
            State::Ending { all } => [1, all.memory(), 0],
            State::Stopping { all } => [2, all.memory(), 0],
            State::Sweeping { all, orphans } => [3, all.memory(), orphans.memory()],
        }
    }

    /// The system that this is the memory of. `None` if it is nobody's.
    pub fn remembered([tag, all, orphans]: [u64; 3]) -> Option<System> {
        let (all, orphans) = (Patience::remembered(all), Patience::remembered(orphans));
        match tag {
            0 => Some(System::UP),
            1 => Some(System(State::Ending { all })),
            2 => Some(System(State::Stopping { all })),
            3 => Some(System(State::Sweeping { all, orphans })),
            _ => None,
        }
    }

    /// Whether the services were told to leave.
    pub fn is_stopping(self) -> bool {
        matches!(self.0, State::Stopping { .. } | State::Sweeping { .. })
    }

    /// Whether patience is over.
    pub fn is_killing(self) -> bool {
        matches!(self.0, State::Stopping { all: Patience::Over } | State::Sweeping { all: Patience::Over, .. })
    }

    /// When patience is over, if it has an end.
    pub fn kills_at(self) -> Option<Mono> {
        match self.0 {
            State::Up => None,
            State::Ending { all } | State::Stopping { all } | State::Sweeping { all, .. } => all.deadline(),
        }
    }

    /// Whether new services are taken in.
    pub fn is_up(self) -> bool {
        self.0 == State::Up
    }

    /// Whether nothing but loggers is left of what is supervised.
    pub fn is_sweeping(self) -> bool {
        matches!(self.0, State::Sweeping { .. })
    }

    /// When `tick` is due.
    pub fn deadline(self) -> Option<Mono> {
        match self.0 {
            State::Up => None,
            State::Ending { all } | State::Stopping { all } => all.deadline(),
            State::Sweeping { all, orphans } => all.deadline().into_iter().chain(orphans.deadline()).min(),
        }
    }

    /// What those get that are left behind by the services and the main process.
    pub fn orphan_signal(self) -> Option<Signal> {
        match self.0 {
            State::Up | State::Ending { .. } | State::Stopping { .. } => None,
            State::Sweeping { orphans: Patience::Over, .. } => Some(Signal::KILL),
            State::Sweeping { .. } => Some(Signal::TERM),
        }
    }

    /// Somebody wants it to end: the first time in order, the second time at once.
    pub fn stop(&mut self, now: Mono, budget: Option<Duration>, has_main: bool) -> Order {
        let all = Patience::from(now, budget);
        match self.0 {
            State::Up if has_main => {
                self.0 = State::Ending { all };
                Order::AwaitMain
            }
            State::Up => {
                self.0 = State::Stopping { all };
                Order::StopAll
            }
            State::Ending { .. } | State::Stopping { .. } | State::Sweeping { .. } => self.lose_patience(),
        }
    }

    /// The main process has ended, so everything does.
    pub fn main_ended(&mut self, now: Mono, budget: Option<Duration>) -> Option<Order> {
        let all = match self.0 {
            State::Up => Patience::from(now, budget),
            State::Ending { all } => all,
            State::Stopping { .. } | State::Sweeping { .. } => return None,
        };
        self.0 = State::Stopping { all };
        Some(Order::StopAll)
    }

    /// Neither a main process nor a service is left, loggers excepted.
    pub fn services_ended(&mut self, now: Mono) -> Option<Order> {
        let State::Stopping { all } = self.0 else { return None };
        let orphans = match all {
            Patience::Over => Patience::Over,
            Patience::Until(_) | Patience::Endless => Patience::Until(now.after(GRACE)),
        };
        self.0 = State::Sweeping { all, orphans };
        Some(Order::Sweep)
    }

    /// The time has come that `deadline` named.
    pub fn tick(&mut self, now: Mono) -> Option<Order> {
        match &mut self.0 {
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
        self.0 = match self.0 {
            State::Sweeping { .. } => State::Sweeping { all: over, orphans: over },
            State::Up | State::Ending { .. } | State::Stopping { .. } => State::Stopping { all: over },
        };
        Order::KillAll
    }
}
