//! The life of the whole: up, stopping, over.

use super::Mono;
use std::time::Duration;

/// Everything has ended by this long after the order to stop, or is killed. Under Docker's ten seconds.
pub const STOP_BUDGET: Duration = Duration::from_secs(9);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Up,
    Stopping { kill_at: Option<Mono> },
}

/// What the system's machine wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Every service is told to leave; nothing new is taken in.
    StopAll,
    /// Whatever still runs is killed.
    KillAll,
}

/// The machine of the whole.
#[derive(Clone, Copy, Debug)]
pub struct System(State);

impl System {
    /// Everything is wanted as the services say.
    pub const UP: System = System(State::Up);

    /// Whether new services are taken in.
    pub fn is_up(self) -> bool {
        self.0 == State::Up
    }

    /// When `tick` is due.
    pub fn deadline(self) -> Option<Mono> {
        match self.0 {
            State::Up => None,
            State::Stopping { kill_at } => kill_at,
        }
    }

    /// Somebody wants it to end: the first time in order, the second time at once.
    pub fn stop(&mut self, now: Mono, budget: Option<Duration>) -> Order {
        match self.0 {
            State::Up => {
                self.0 = State::Stopping { kill_at: budget.map(|budget| now.after(budget)) };
                Order::StopAll
            }
            State::Stopping { .. } => {
                self.0 = State::Stopping { kill_at: None };
                Order::KillAll
            }
        }
    }

    /// The time has come that `deadline` named.
    pub fn tick(&mut self, now: Mono) -> Option<Order> {
        match self.0 {
            State::Stopping { kill_at: Some(at) } if at <= now => {
                self.0 = State::Stopping { kill_at: None };
                Some(Order::KillAll)
            }
            State::Up | State::Stopping { .. } => None,
        }
    }
}
