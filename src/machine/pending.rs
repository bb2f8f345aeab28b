//! A child that has not executed its program in time: when it is looked at, and what is done about it.
//!
//! Nobody reports that it has, so it is looked at: often at first, and less and less often. Somebody may have stopped it,
//! so it is continued. At last it is killed, and its end is reported as any. One that the kernel cannot kill costs nothing
//! more. One that only waits for a processor gets its time again: to start it anew would make its turn come later still.

use super::Mono;
use std::time::Duration;

/// So long after its start it is looked at; the spans between looks double.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// But they are not longer than this.
const LONGEST_SPAN: Duration = Duration::from_millis(250);
/// It is continued as often.
const CONTINUE_EVERY: Duration = Duration::from_secs(1);
/// Whoever has not executed its program by then is killed, unless it waits for a processor.
pub const EXEC_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It has time until `kill_at`.
    Waiting { span: Duration, look_at: Mono, continue_at: Mono, kill_at: Mono },
    /// It was killed, and its end will be reported.
    Killed,
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Continue it, should it be stopped.
    Continue,
    /// Kill it.
    Kill,
}

/// The machine of one such child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingExec(State);

impl PendingExec {
    /// One that was started just now.
    pub fn new(now: Mono) -> PendingExec {
        PendingExec(State::Waiting {
            span: FIRST_LOOK,
            look_at: now.after(FIRST_LOOK),
            continue_at: now.after(CONTINUE_EVERY),
            kill_at: now.after(EXEC_TIMEOUT),
        })
    }

    /// When it is to be looked at.
    pub fn deadline(&self) -> Option<Mono> {
        match self.0 {
            State::Waiting { look_at, .. } => Some(look_at),
            State::Killed => None,
        }
    }

    /// It was looked at, and has not executed its program yet. As long as it is `paused`, stopped on purpose, its time does
    /// not run. Whether it `is_runnable` is asked when its time has come.
    pub fn tick(&mut self, now: Mono, paused: bool, is_runnable: impl FnOnce() -> bool) -> Option<Order> {
        let State::Waiting { span, look_at, continue_at, kill_at } = self.0 else { return None };
        if now < look_at {
            return None;
        }
        let span = (span * 2).min(LONGEST_SPAN);
        let look_at = now.after(span);
        let (continue_again, timeout) = (now.after(CONTINUE_EVERY), now.after(EXEC_TIMEOUT));
        let (state, order) = if paused {
            (State::Waiting { span, look_at, continue_at: continue_again, kill_at: timeout }, None)
        } else if kill_at <= now && is_runnable() {
            (State::Waiting { span, look_at, continue_at, kill_at: timeout }, None)
        } else if kill_at <= now {
            (State::Killed, Some(Order::Kill))
        } else if continue_at <= now {
            (State::Waiting { span, look_at, continue_at: continue_again, kill_at }, Some(Order::Continue))
        } else {
            (State::Waiting { span, look_at, continue_at, kill_at }, None)
        };
        self.0 = state;
        order
    }

    /// Whether it was killed because it did not execute its program.
    pub fn is_killed(&self) -> bool {
        self.0 == State::Killed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(n: u64) -> Mono {
        Mono(0).after(Duration::from_millis(n))
    }

    /// Ticks at each deadline until this many milliseconds have passed. Returns when something was done, and how often it
    /// was looked at.
    fn live(child: &mut PendingExec, until: u64, paused: bool) -> (Vec<(Order, u64)>, usize) {
        live_as(child, until, paused, false)
    }

    fn live_as(child: &mut PendingExec, until: u64, paused: bool, runnable: bool) -> (Vec<(Order, u64)>, usize) {
        let (mut done, mut looks) = (Vec::new(), 0);
        while let Some(at) = child.deadline().filter(|at| *at <= millis(until)) {
            looks += 1;
            done.extend(child.tick(at, paused, || runnable).map(|order| (order, at.0 / 1_000_000)));
        }
        (done, looks)
    }

    #[test]
    fn it_is_continued_each_second_and_killed_once() {
        let mut child = PendingExec::new(millis(0));
        let (done, looks) = live(&mut child, 60_000, false);
        let (killed, continued) = done.split_last().expect("something was done");
        assert!(killed.0 == Order::Kill && (10_000..10_300).contains(&killed.1), "{done:?}");
        assert!((8..=9).contains(&continued.len()), "{done:?}");
        assert!(continued.iter().all(|(order, _)| *order == Order::Continue), "{done:?}");
        assert!((1_000..1_300).contains(&continued[0].1), "{done:?}");
        assert!(looks < 50, "looked at {looks} times");
        assert!(child.is_killed() && child.deadline().is_none(), "it costs nothing more");
        assert_eq!(child.tick(millis(100_000), false, || true), None);
    }

    #[test]
    fn it_is_looked_at_soon_and_then_less_often() {
        let mut child = PendingExec::new(millis(0));
        let mut looks = Vec::new();
        while let Some(at) = child.deadline().filter(|at| *at <= millis(900)) {
            assert_eq!(
                (child.tick(millis(at.0 / 1_000_000 - 1), false, || false), child.deadline()),
                (None, Some(at)),
                "too early"
            );
            child.tick(at, false, || false);
            looks.push(at.0 / 1_000_000);
        }
        assert_eq!(looks, [10, 30, 70, 150, 310, 560, 810]);
    }

    #[test]
    fn what_is_stopped_on_purpose_stays_stopped_and_has_its_time_after_that() {
        let mut child = PendingExec::new(millis(0));
        assert_eq!(live(&mut child, 100_000, true).0, []);
        let (done, _) = live(&mut child, 101_500, false);
        assert!(matches!(done[..], [(Order::Continue, _)]), "{done:?}");
        let (done, _) = live(&mut child, 200_000, false);
        let last = done.last().expect("something was done");
        assert!(last.0 == Order::Kill && (109_700..110_300).contains(&last.1), "{done:?}");
    }

    #[test]
    fn what_waits_for_a_processor_is_not_killed_however_long_it_takes() {
        let mut child = PendingExec::new(millis(0));
        let (done, _) = live_as(&mut child, 3_600_000, false, true);
        assert!(!child.is_killed() && done.iter().all(|(order, _)| *order == Order::Continue), "{done:?}");
        let (done, _) = live(&mut child, 3_700_000, false);
        let last = done.last().expect("something was done");
        assert!(last.0 == Order::Kill && (3_600_000..3_610_600).contains(&last.1), "stopped after that: {done:?}");
    }
}
