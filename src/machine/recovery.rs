//! How a supervisor goes on that follows one that failed: as if nothing had happened, unless that happens too often.

use super::Mono;
use std::time::Duration;

/// More than three failures in this time are too many.
const WINDOW: Duration = Duration::from_secs(10);
/// For so long there is no other failure then, as far as that is in our power.
pub const RESPITE: Duration = Duration::from_secs(1);

/// How to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// As always.
    Complete,
    /// For a while, a fault that is sent has to wait: it says nothing about us.
    HoldFaults,
    /// For a while, only what the services need most is done: the cause is in the rest, or it would not come again.
    Essentials,
    /// Not even that worked: the others get some time first.
    PauseFirst,
}

/// A failure, as its successor sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The third last one before it. `None`: there were not so many.
    pub third_last: Option<Mono>,
    /// It was sent by another process.
    pub sent: bool,
    /// Only the essentials were being done.
    pub in_essentials: bool,
}

/// How to go on after a failure.
pub fn recovery(now: Mono, Failure { third_last, sent, in_essentials }: Failure) -> Recovery {
    match third_last {
        Some(at) if now.since(at) < WINDOW => match (sent, in_essentials) {
            (true, _) => Recovery::HoldFaults,
            (false, false) => Recovery::Essentials,
            (false, true) => Recovery::PauseFirst,
        },
        Some(_) | None => Recovery::Complete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, sent: bool, in_essentials: bool) -> Recovery {
        let start = Mono(1);
        recovery(start.after(Duration::from_secs(seconds)), Failure { third_last: Some(start), sent, in_essentials })
    }

    #[test]
    fn three_failures_in_ten_seconds_change_nothing() {
        let first = Failure { third_last: None, sent: false, in_essentials: false };
        assert_eq!(recovery(Mono(1), first), Recovery::Complete);
        for (sent, in_essentials) in [(false, false), (true, false), (false, true)] {
            assert_eq!(after(10, sent, in_essentials), Recovery::Complete);
        }
    }

    #[test]
    fn who_is_shot_at_works_on_and_who_fails_by_itself_does_less_and_less() {
        assert_eq!(after(9, true, false), Recovery::HoldFaults);
        assert_eq!(after(9, true, true), Recovery::HoldFaults);
        assert_eq!(after(9, false, false), Recovery::Essentials);
        assert_eq!(after(9, false, true), Recovery::PauseFirst);
    }
}
