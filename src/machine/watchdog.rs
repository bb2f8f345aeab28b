//! The hardware watchdog of a machine: when it is fed, and when not any more.
//!
//! It is fed at the end of a turn of the loop, so a loop that stands still starves it, and the hardware resets the
//! machine. A third of its time leaves room for a feed that comes late.

use super::Mono;
use super::request::ShutdownAction;
use std::time::Duration;

/// When it is fed next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watchdog {
    every: Duration,
    /// `None`: never again.
    feed_at: Option<Mono>,
}

impl Watchdog {
    /// One that was fed now, and resets the machine if it is not fed for `timeout`.
    pub fn fed(now: Mono, timeout: Duration) -> Watchdog {
        let every = timeout / 3;
        Watchdog { every, feed_at: Some(now.after(every)) }
    }

    /// One that another supervisor has fed. `memory` is what that one had to say: a later time than ours would be is
    /// none of its making.
    pub fn remembered(now: Mono, timeout: Duration, memory: u64) -> Watchdog {
        let Watchdog { every, feed_at } = Watchdog::fed(now, timeout);
        Watchdog { every, feed_at: feed_at.map(|at| at.min(Mono(memory))).filter(|_| memory != u64::MAX) }
    }

    /// What there is to remember of it: when it is fed next. All ones: never again.
    pub fn memory(self) -> u64 {
        self.feed_at.map_or(u64::MAX, |at| at.0)
    }

    /// When `is_due` says yes.
    pub fn deadline(self) -> Option<Mono> {
        self.feed_at
    }

    /// Whether it is to be fed now; then that is done, and the next time is a third of its time after this one was due.
    pub fn is_due(&mut self, now: Mono) -> bool {
        let Some(at) = self.feed_at.filter(|at| *at <= now) else { return false };
        let next = at.after(self.every);
        self.feed_at = Some(if next <= now { now.after(self.every) } else { next });
        true
    }

    /// It is not fed any more: an essential service has failed, or the kernel was asked for a reboot. What is left to
    /// do is done before its time is over, or the hardware does it.
    pub fn starve(&mut self) {
        self.feed_at = None;
    }

    /// Whether it is not fed any more.
    pub fn is_starving(self) -> bool {
        self.feed_at.is_none()
    }
}

/// What ends a machine when everything on it has ended and `action` was asked for. A watchdog is there so that a machine
/// whose essential service has failed comes back.
pub fn last_action(action: ShutdownAction, watchdog: Option<Watchdog>) -> ShutdownAction {
    match action {
        ShutdownAction::Exit if watchdog.is_some_and(Watchdog::is_starving) => ShutdownAction::Reboot,
        ShutdownAction::Exit => ShutdownAction::PowerOff,
        ShutdownAction::Halt | ShutdownAction::PowerOff | ShutdownAction::Reboot | ShutdownAction::Kexec => action,
    }
}

/// Whether it goes on when the kernel is asked for this. A reboot that hangs is what it is there for; a machine that is
/// halted, or runs another kernel that knows nothing of it, must not be reset.
pub fn guards(action: ShutdownAction) -> bool {
    match action {
        ShutdownAction::Reboot => true,
        ShutdownAction::Exit | ShutdownAction::Halt | ShutdownAction::PowerOff | ShutdownAction::Kexec => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn second(n: u64) -> Mono {
        Mono(0).after(Duration::from_secs(n))
    }

    /// When it was fed by a loop whose turns end at these seconds.
    fn feeds(watchdog: &mut Watchdog, turns: impl IntoIterator<Item = u64>) -> Vec<u64> {
        turns.into_iter().filter(|at| watchdog.is_due(second(*at))).collect()
    }

    #[test]
    fn it_is_fed_at_a_third_of_its_time_however_often_the_loop_turns() {
        let mut watchdog = Watchdog::fed(second(5), TIMEOUT);
        assert_eq!(watchdog.deadline(), Some(second(15)));
        assert_eq!(feeds(&mut watchdog, 5..60), [15, 25, 35, 45, 55]);
    }

    #[test]
    fn a_late_feed_does_not_shift_the_next_one_and_a_very_late_one_is_not_made_up_for() {
        let mut watchdog = Watchdog::fed(second(0), TIMEOUT);
        assert_eq!(feeds(&mut watchdog, [9, 13, 19, 20, 58, 60, 67, 68]), [13, 20, 58, 68]);
    }

    #[test]
    fn a_loop_that_stands_still_does_not_feed_it() {
        let mut watchdog = Watchdog::fed(second(0), TIMEOUT);
        assert_eq!(feeds(&mut watchdog, []), [0; 0]);
    }

    #[test]
    fn who_comes_after_keeps_its_times_and_believes_no_others() {
        let mut first = Watchdog::fed(second(0), TIMEOUT);
        assert!(first.is_due(second(12)));
        let mut next = Watchdog::remembered(second(13), TIMEOUT, first.memory());
        assert_eq!(next, first);
        assert_eq!(feeds(&mut next, [14, 19, 20]), [20], "one that fails in each turn does not feed it by starting");
        for strange in [u64::MAX - 1, second(1000).0] {
            assert_eq!(Watchdog::remembered(second(13), TIMEOUT, strange).deadline(), Some(second(23)));
        }
        assert!(Watchdog::remembered(second(13), TIMEOUT, 0).is_due(second(13)));
    }

    #[test]
    fn once_an_essential_service_has_failed_it_is_not_fed_and_the_machine_comes_back() {
        let mut watchdog = Watchdog::fed(second(0), TIMEOUT);
        assert_eq!(last_action(ShutdownAction::Exit, Some(watchdog)), ShutdownAction::PowerOff);
        watchdog.starve();
        assert_eq!((watchdog.deadline(), feeds(&mut watchdog, 0..100)), (None, Vec::new()));
        assert!(Watchdog::remembered(second(1), TIMEOUT, watchdog.memory()).is_starving(), "a fault changes nothing");
        assert_eq!(last_action(ShutdownAction::Exit, Some(watchdog)), ShutdownAction::Reboot);
        assert_eq!(
            last_action(ShutdownAction::Halt, Some(watchdog)),
            ShutdownAction::Halt,
            "somebody has asked for it"
        );
        assert_eq!(last_action(ShutdownAction::Exit, None), ShutdownAction::PowerOff);
    }

    #[test]
    fn only_a_reboot_is_guarded_to_its_end() {
        let actions = [
            ShutdownAction::Exit,
            ShutdownAction::Halt,
            ShutdownAction::PowerOff,
            ShutdownAction::Reboot,
            ShutdownAction::Kexec,
        ];
        assert_eq!(actions.map(guards), [false, false, false, true, false]);
    }
}
