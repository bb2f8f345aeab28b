//! The scripts of a machine's life: what brings it up, what takes it down, and the shell that helps.

use super::{Exit, Mono};
use std::time::Duration;

/// A script that was told to end has this long, or is killed.
pub const GRACE: Duration = Duration::from_secs(5);
/// runit's pause before a stage 2 that crashed is started again.
pub const PAUSE: Duration = Duration::from_secs(5);

/// Which script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// onit's `boot`.
    Boot,
    /// runit's stage 1: the same, in runit's rules.
    RunitBoot,
    /// runit's stage 2: what runs while the machine is up.
    RunitUp,
    /// onit's `shutdown`, and runit's stage 3.
    Shutdown,
    /// A shell for whoever sits at the console.
    Rescue,
}

/// How a script fared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It ended well.
    Done,
    /// It ended like this.
    Failed(Exit),
    /// It was killed at its time limit.
    Overdue,
    /// It was ended for a shutdown that somebody asked for.
    Cut,
}

/// What follows a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// What comes in its turn.
    GoOn,
    /// A shell on the console, and then what comes in its turn.
    Rescue,
    /// The same script, after a pause.
    Again,
    /// The shutdown.
    Shutdown,
}

/// What follows when this script has fared like that.
pub fn next(part: Part, verdict: Verdict) -> Next {
    match (part, verdict) {
        (Part::Shutdown, _) => Next::GoOn,
        (Part::Boot | Part::RunitBoot | Part::RunitUp | Part::Rescue, Verdict::Cut) => Next::Shutdown,
        (Part::Rescue, Verdict::Done | Verdict::Failed(_) | Verdict::Overdue) => Next::GoOn,
        (Part::Boot | Part::RunitBoot, Verdict::Done) => Next::GoOn,
        (Part::Boot, Verdict::Failed(_) | Verdict::Overdue) => Next::Rescue,
        // runit goes on after any other code, and would shut down after these. A shell is of more use.
        (Part::RunitBoot, Verdict::Failed(Exit::Code(100) | Exit::Signal { .. }) | Verdict::Overdue) => Next::Rescue,
        (Part::RunitBoot, Verdict::Failed(Exit::Code(_))) => Next::GoOn,
        (Part::RunitUp, Verdict::Failed(Exit::Code(111) | Exit::Signal { .. }) | Verdict::Overdue) => Next::Again,
        (Part::RunitUp, Verdict::Done | Verdict::Failed(Exit::Code(_))) => Next::Shutdown,
    }
}

/// What is to be done with a script that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// It is told to end.
    End,
    /// It is killed.
    Kill,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Running { overdue_at: Option<Mono> },
    Overdue,
    Cut { kill_at: Option<Mono> },
}

/// A script that runs.
#[derive(Clone, Copy, Debug)]
pub struct Stage(State);

impl Stage {
    /// One that starts now and may take so long.
    pub fn new(now: Mono, limit: Option<Duration>) -> Stage {
        Stage(State::Running { overdue_at: limit.map(|limit| now.after(limit)) })
    }

    /// When `tick` is due.
    pub fn deadline(self) -> Option<Mono> {
        match self.0 {
            State::Running { overdue_at: at } | State::Cut { kill_at: at } => at,
            State::Overdue => None,
        }
    }

    /// The time has come that `deadline` named.
    pub fn tick(&mut self, now: Mono) -> Option<Order> {
        self.deadline().filter(|at| *at <= now)?;
        self.0 = match self.0 {
            State::Running { .. } | State::Overdue => State::Overdue,
            State::Cut { .. } => State::Cut { kill_at: None },
        };
        Some(Order::Kill)
    }

    /// Somebody asked for a shutdown that this script is in the way of: the first time it may end in order.
    pub fn cut(&mut self, now: Mono) -> Order {
        let (kill_at, order) = match self.0 {
            State::Running { .. } => (Some(now.after(GRACE)), Order::End),
            State::Overdue | State::Cut { .. } => (None, Order::Kill),
        };
        self.0 = State::Cut { kill_at };
        order
    }

    /// It has ended.
    pub fn died(self, exit: Exit) -> Verdict {
        match self.0 {
            State::Cut { .. } => Verdict::Cut,
            State::Overdue => Verdict::Overdue,
            State::Running { .. } if exit.is_success() => Verdict::Done,
            State::Running { .. } => Verdict::Failed(exit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Signal;

    const KILLED: Exit = Exit::Signal { signal: Signal::KILL, core: false };

    fn second(n: u64) -> Mono {
        Mono(0).after(Duration::from_secs(n))
    }

    #[test]
    fn a_script_without_a_limit_may_take_for_ever() {
        let mut stage = Stage::new(second(1), None);
        assert_eq!((stage.deadline(), stage.tick(second(1_000_000))), (None, None));
        assert_eq!(stage.died(Exit::Code(0)), Verdict::Done);
        assert_eq!(stage.died(Exit::Code(3)), Verdict::Failed(Exit::Code(3)));
    }

    #[test]
    fn a_script_past_its_limit_is_killed_once() {
        let mut stage = Stage::new(second(1), Some(Duration::from_secs(10)));
        assert_eq!((stage.deadline(), stage.tick(second(10))), (Some(second(11)), None));
        assert_eq!((stage.tick(second(11)), stage.tick(second(12)), stage.deadline()), (Some(Order::Kill), None, None));
        assert_eq!(stage.died(KILLED), Verdict::Overdue);
    }

    #[test]
    fn a_shutdown_cuts_a_script_short_and_the_second_one_kills_it() {
        let mut stage = Stage::new(second(1), Some(Duration::from_secs(100)));
        assert_eq!((stage.cut(second(2)), stage.deadline()), (Order::End, Some(second(7))));
        assert_eq!((stage.cut(second(3)), stage.deadline()), (Order::Kill, None));
        assert_eq!(stage.died(KILLED), Verdict::Cut);
        let mut stage = Stage::new(second(1), None);
        stage.cut(second(2));
        assert_eq!((stage.tick(second(7)), stage.deadline()), (Some(Order::Kill), None));
    }

    #[test]
    fn a_boot_that_fails_ends_in_a_shell_and_never_in_nothing() {
        let [done, three, hundred] = [Verdict::Done, Verdict::Failed(Exit::Code(3)), Verdict::Failed(Exit::Code(100))];
        let nexts = |part| [done, three, hundred, Verdict::Failed(KILLED), Verdict::Overdue].map(|v| next(part, v));
        use Next::{Again, GoOn, Rescue, Shutdown};
        assert_eq!(nexts(Part::Boot), [GoOn, Rescue, Rescue, Rescue, Rescue]);
        assert_eq!(nexts(Part::RunitBoot), [GoOn, GoOn, Rescue, Rescue, Rescue]);
        assert_eq!(nexts(Part::RunitUp), [Shutdown, Shutdown, Shutdown, Again, Again]);
        assert_eq!(nexts(Part::Rescue), [GoOn; 5]);
        assert_eq!(nexts(Part::Shutdown), [GoOn; 5]);
        assert_eq!(next(Part::RunitUp, Verdict::Failed(Exit::Code(111))), Again);
        for part in [Part::Boot, Part::RunitBoot, Part::RunitUp, Part::Rescue] {
            assert_eq!(next(part, Verdict::Cut), Shutdown);
        }
    }
}
