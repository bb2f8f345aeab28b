//! Whether an end of `run` is followed by a start, and after which pause.

use super::rare::Common;
use super::{Exit, Mono, Signal, words};
use std::time::Duration;

/// Whether an end of `run` is followed by a start (file `restart`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// If it failed.
    OnFailure,
    /// Never.
    Never,
}

impl Restart {
    /// Whether the service is over after a success or a failure: `Ok` if it has done its work, or why it has failed.
    pub fn is_over(self, is_success: bool) -> Option<Result<(), Cause>> {
        match self {
            Restart::Never | Restart::OnFailure if is_success => Some(Ok(())),
            Restart::Never => Some(Err(Cause::NoRestart)),
            Restart::Always | Restart::OnFailure => None,
        }
    }
}

words!(Restart, "rule for restarts", Always = "always", OnFailure = "on-failure", Never = "never");

/// How long it takes until the next start (file `backoff`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// After the first end; more than nothing.
    pub min: Duration,
    /// It is doubled with each end up to this; at least `min`.
    pub max: Duration,
    /// A life that was ready for this long takes it back to `min`.
    pub reset: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Rules::COMMON.backoff
    }
}

/// A doubled pause is longer or shorter by at most this part, in thousandths, so that many services that failed together
/// do not start together.
const JITTER: u64 = 100;

impl Backoff {
    /// The pause after so many ends in a row before this one. `seed` is any number that differs between services.
    pub fn pause(&self, ends: u32, seed: u64) -> Duration {
        if ends == 0 {
            return self.min;
        }
        let doubled = 1_u32.checked_shl(ends).and_then(|factor| self.min.checked_mul(factor));
        let pause = doubled.map_or(self.max, |pause| pause.min(self.max));
        let part = 1000 - JITTER + mixed(seed) % (2 * JITTER + 1);
        let nanos = pause.as_nanos() * u128::from(part) / 1000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).max(self.min)
    }
}

/// The last step of SplitMix64: numbers that are near each other become any numbers.
pub(super) fn mixed(seed: u64) -> u64 {
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

/// More ends than this in that time, and the service has failed (file `max-restarts`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxRestarts {
    /// How many restarts are allowed: at most [`MaxRestarts::MOST`].
    pub count: u32,
    /// In which time; more than nothing.
    pub window: Duration,
}

impl MaxRestarts {
    /// So many ends are remembered that can be counted, and one more.
    pub const MOST: u32 = super::history::KEPT as u32 - 1;
}

/// Exit codes and signals that are no failure (file `success-codes`). 0 is one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SuccessCodes {
    codes: [u64; 4],
    signals: u64,
}

impl Default for SuccessCodes {
    fn default() -> SuccessCodes {
        Rules::COMMON.success
    }
}

impl SuccessCodes {
    /// These, and this one.
    pub fn and(mut self, exit: Exit) -> SuccessCodes {
        match exit {
            Exit::Code(code) => {
                self.codes.get_mut(usize::from(code / 64)).into_iter().for_each(|bits| *bits |= 1 << (code % 64));
            }
            Exit::Signal { signal, .. } => self.signals |= signal_bit(signal),
        }
        self
    }

    /// Whether such an end is no failure. A core dump is one.
    pub fn contain(&self, exit: Exit) -> bool {
        match exit {
            Exit::Code(code) => self.codes.get(usize::from(code / 64)).is_some_and(|bits| bits >> (code % 64) & 1 == 1),
            Exit::Signal { signal, core } => !core && self.signals & signal_bit(signal) != 0,
        }
    }

    /// All of them: codes first.
    pub fn iter(&self) -> impl Iterator<Item = Exit> + use<> {
        let these = *self;
        let signals = (1..=64).map(|number| Exit::Signal { signal: Signal(number), core: false });
        (0..=u8::MAX).map(Exit::Code).chain(signals).filter(move |exit| these.contain(*exit))
    }
}

fn signal_bit(signal: Signal) -> u64 {
    u32::try_from(signal.0 - 1).ok().and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0)
}

/// Why a service is not started again, although it has not done its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// `finish` ended with 125.
    Finish,
    /// `run` ended with 100, or `setup` with 111.
    Permanent,
    /// `setup` has failed, and was to run once.
    Setup,
    /// It is to run once only (file `restart`).
    NoRestart,
    /// It has ended too often within a while (file `max-restarts`).
    TooOften,
    /// Too many starts in a row ended before it was ready (file `start-retries`).
    NeverReady,
}

/// What the small files of a service say about its restarts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// File `restart`.
    pub restart: Restart,
    /// File `success-codes`.
    pub success: SuccessCodes,
    /// File `backoff`.
    pub backoff: Backoff,
    /// File `max-restarts`.
    pub max_restarts: Option<MaxRestarts>,
    /// File `start-retries`.
    pub start_retries: Option<u32>,
}

impl Default for Rules {
    fn default() -> Rules {
        *Rules::COMMON
    }
}

impl Common for Rules {
    const COMMON: &'static Rules = &Rules {
        restart: Restart::Always,
        success: SuccessCodes { codes: [1, 0, 0, 0], signals: 0 },
        backoff: Backoff { min: Duration::from_secs(1), max: Duration::from_secs(30), reset: Duration::from_secs(30) },
        max_restarts: None,
        start_retries: None,
    };
}

/// What is remembered from one life to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Streak {
    /// So many ends in a row that no order caused, none of them after a long life.
    pub ends: u8,
    /// So many of the last starts in a row ended before the service was ready.
    pub unready: u8,
    /// The lives before this one are not counted: the service was told to start since.
    pub first_life: u32,
}

/// A life that has ended although no order had caused it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// It did not fail.
    pub is_success: bool,
    /// Since when it was ready, if it was.
    pub ready: Option<Mono>,
}

impl Streak {
    /// An end that no order caused. `recent` counts those since an instant and a life, this one included. Whether the service is over:
    /// `Ok` if it has done its work, or why it has failed.
    pub fn end(
        &mut self,
        now: Mono,
        ended: Ended,
        rules: &Rules,
        recent: impl Fn(Mono, u32) -> usize,
    ) -> Option<Result<(), Cause>> {
        if ended.ready.is_some_and(|ready| now.since(ready) >= rules.backoff.reset) {
            self.ends = 0;
        }
        self.ends = self.ends.saturating_add(1);
        self.unready = if ended.ready.is_some() { 0 } else { self.unready.saturating_add(1) };
        if let Some(over) = rules.restart.is_over(ended.is_success) {
            return Some(over);
        }
        let is_too_often = |most: MaxRestarts| recent(now.before(most.window), self.first_life) > most.count as usize;
        if rules.max_restarts.is_some_and(is_too_often) {
            Some(Err(Cause::TooOften))
        } else if rules.start_retries.is_some_and(|most| u32::from(self.unready) > most) {
            Some(Err(Cause::NeverReady))
        } else {
            None
        }
    }

    /// The service was told to start, after so many lives: what was before is no more counted.
    pub fn begin_anew(&mut self, lives: u32) {
        *self = Streak { first_life: lives, ..Streak::default() };
    }

    /// How long after its start the next one may follow.
    pub fn pause(&self, backoff: &Backoff, seed: u64) -> Duration {
        backoff.pause(u32::from(self.ends.saturating_sub(1)), seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Mono {
        Mono(0).after(Duration::from_secs(seconds))
    }

    /// One end, of a life that was ready from its start or never, with these seconds of former ends in the history.
    fn end(
        streak: &mut Streak,
        now: u64,
        ready: Option<u64>,
        code: u8,
        rules: &Rules,
        former: &[u64],
    ) -> Option<Result<(), Cause>> {
        let ends = || former.iter().chain([&now]);
        let recent = |from: Mono, life: u32| ends().skip(life as usize).filter(|end| at(**end) >= from).count();
        streak.end(
            at(now),
            Ended { is_success: rules.success.contain(Exit::Code(code)), ready: ready.map(at) },
            rules,
            recent,
        )
    }

    #[test]
    fn the_pause_is_doubled_up_to_the_most_and_a_long_life_takes_it_back() {
        let (mut streak, rules, mut former) = (Streak::default(), Rules::default(), Vec::new());
        for (n, wanted) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
            let now = 100 * n as u64;
            assert_eq!(end(&mut streak, now, Some(now), 1, &rules, &former), None);
            former.push(now);
            let pause = streak.pause(&rules.backoff, 7);
            let (least, most) = (wanted * SECOND * 9 / 10, wanted * SECOND * 11 / 10);
            assert!((least.max(SECOND)..=most).contains(&pause), "{n}: {pause:?}");
        }
        assert_eq!(end(&mut streak, 1000, Some(971), 1, &rules, &former), None);
        assert!(streak.pause(&rules.backoff, 7) > SECOND, "29 s are no long life");
        assert_eq!(end(&mut streak, 2000, Some(1970), 1, &rules, &former), None);
        assert_eq!(streak.pause(&rules.backoff, 7), SECOND, "30 s are");
        streak.ends = u8::MAX;
        assert_eq!(end(&mut streak, 3000, None, 1, &rules, &former), None);
        assert!(streak.pause(&rules.backoff, 7) <= 33 * SECOND);
        streak.begin_anew(8);
        assert_eq!(streak.pause(&rules.backoff, 7), SECOND);
    }

    #[test]
    fn services_that_failed_together_do_not_start_together() {
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|seed| Backoff::default().pause(9, seed)).collect();
        assert!(pauses.len() > 50, "{pauses:?}");
    }

    #[test]
    fn what_counts_as_success_is_done_unless_it_is_always_started_again() {
        let success = SuccessCodes::default().and(Exit::Code(3));
        for (restart, wanted) in [
            (Restart::Always, [None, None, None]),
            (Restart::OnFailure, [Some(Ok(())), Some(Ok(())), None]),
            (Restart::Never, [Some(Ok(())), Some(Ok(())), Some(Err(Cause::NoRestart))]),
        ] {
            let rules = Rules { restart, success, ..Rules::default() };
            let over = [0, 3, 4].map(|code| end(&mut Streak::default(), 1, Some(0), code, &rules, &[]));
            assert_eq!(over, wanted, "{restart}");
        }
    }

    #[test]
    fn five_restarts_are_allowed_and_the_sixth_end_within_the_window_is_one_too_many() {
        let rules = Rules { max_restarts: Some(MaxRestarts { count: 5, window: 60 * SECOND }), ..Rules::default() };
        let mut streak = Streak::default();
        let mut ends = |now, former: &[u64]| end(&mut streak, now, Some(now), 1, &rules, former);
        assert_eq!(ends(40, &[0, 10, 20, 30]), None);
        assert_eq!(ends(61, &[0, 10, 20, 30, 40]), None, "the first one is forgotten");
        assert_eq!(ends(60, &[0, 10, 20, 30, 40]), Some(Err(Cause::TooOften)));
        streak.begin_anew(6);
        let mut ends = |now, former: &[u64]| end(&mut streak, now, Some(now), 1, &rules, former);
        assert_eq!(ends(61, &[0, 10, 20, 30, 40, 60]), None, "an order begins anew");
    }

    #[test]
    fn only_starts_that_end_before_they_are_ready_count_as_retries() {
        let rules = Rules { start_retries: Some(3), ..Rules::default() };
        let mut streak = Streak::default();
        let over: Vec<_> = (0..4).map(|now| end(&mut streak, now, None, 1, &rules, &[])).collect();
        assert_eq!(over, [None, None, None, Some(Err(Cause::NeverReady))], "a start and three retries");
        assert_eq!(end(&mut streak, 5, Some(5), 1, &rules, &[]), None);
        assert_eq!(streak.unready, 0);
    }

    proptest! {
        #[test]
        fn a_set_of_ends_is_what_was_put_into_it(codes: Vec<u8>, signals in prop::collection::vec(1..=64, 0..9)) {
            let signals = signals.into_iter().map(|number| Exit::Signal { signal: Signal(number), core: false });
            let all: Vec<Exit> = codes.into_iter().map(Exit::Code).chain(signals).collect();
            let set = all.iter().fold(SuccessCodes::default(), |set, exit| set.and(*exit));
            prop_assert!(all.iter().all(|exit| set.contain(*exit)) && set.contain(Exit::Code(0)));
            prop_assert!(set.iter().all(|exit| all.contains(&exit) || exit == Exit::Code(0)));
        }

        #[test]
        fn a_pause_is_within_its_bounds(min in 1_u64..100_000, more in 0_u64..1_000_000, ends in 0_u32..300, seed: u64) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
            let pause = Backoff { min, max, reset: SECOND }.pause(ends, seed);
            prop_assert!(pause >= min && pause <= max * 11 / 10, "{pause:?}");
        }
    }
}
