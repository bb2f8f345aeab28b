//! When a job is due, and what becomes of the times at which it could not run. Pure: time comes in as seconds and
//! nanoseconds of the clock that the schedule goes by.

use crate::wire::cron::Cron;
use std::time::Duration;

/// A job that starts later than this after its time was missed: the machine slept, or its clock was set.
const LATE: Duration = Duration::from_secs(60);
/// A clock that is put back by more was wrong before.
const CORRECTED: Duration = Duration::from_secs(3 * 3600);
/// So many times that were missed are counted.
const COUNTED: u64 = 1000;

/// When a job is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// Again and again after so much time, on the clock that counts since boot.
    Every(Duration),
    /// When a crontab's line says, on the wall clock.
    At(Cron),
}

/// A schedule, and how far it has come.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    /// What was missed is made up for, once.
    catch_up: bool,
    /// The next time.
    due: Option<Duration>,
    /// How much later than that the job is to start.
    delay: Duration,
    /// The last time that has come.
    last: Option<Duration>,
}

/// What there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// The job is to be started.
    pub run: bool,
    /// So many times were missed (at most a thousand are counted).
    pub missed: u64,
}

impl Plan {
    /// A plan that begins now, or with a first run now.
    pub fn new(schedule: Schedule, catch_up: bool, now: Duration, first: bool, offset: impl Fn(i64) -> i64) -> Plan {
        let mut plan = Plan { schedule, catch_up, due: Some(now), delay: Duration::ZERO, last: None };
        if !first {
            plan.due = plan.after(now, now, offset);
        }
        plan
    }

    /// When to look again; `None` if nothing is due ever again.
    pub fn wakes(&self) -> Option<Duration> {
        Some(self.due?.saturating_add(self.delay))
    }

    /// The next run is to start so much later than it is due.
    pub fn delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// What is to be done now. `was_busy`: the job has just ended, so what came meanwhile could not be done in time.
    pub fn look(&mut self, now: Duration, was_busy: bool, offset: impl Fn(i64) -> i64 + Copy) -> Look {
        let (Some(first), Some(wakes)) = (self.due, self.wakes()) else { return Look::default() };
        if now < if was_busy { first } else { wakes } {
            return Look::default();
        }
        let (mut last, mut count) = (first, 1);
        while let Some(next) = self.after(last, last, offset).filter(|next| *next <= now && count < COUNTED) {
            (last, count) = (next, count + 1);
        }
        let is_in_time = !was_busy && now.saturating_sub(last.max(wakes)) <= LATE;
        let missed = if is_in_time { count - 1 } else { count };
        self.last = Some(last);
        self.due = self.after(last, now, offset);
        self.delay = Duration::ZERO;
        Look { run: is_in_time || (self.catch_up && missed > 0), missed }
    }

    /// The wall clock was set. What was done already is not done again, unless it was put back by hours.
    pub fn clock_was_set(&mut self, now: Duration, offset: impl Fn(i64) -> i64) {
        let is_ahead = self.due.is_some_and(|due| due > now);
        if is_ahead && matches!(self.schedule, Schedule::At(_)) {
            let done = self.last.filter(|last| last.saturating_sub(now) <= CORRECTED);
            let from = done.map_or(now, |done| done.max(now));
            self.due = self.after(from, from, offset);
        }
    }

    /// The first time after `now` that follows `last`.
    fn after(&self, last: Duration, now: Duration, offset: impl Fn(i64) -> i64) -> Option<Duration> {
        match &self.schedule {
            Schedule::Every(period) => {
                let periods = now.saturating_sub(last).as_nanos() / period.as_nanos().max(1) + 1;
                let span = period.as_nanos().checked_mul(periods)?;
                last.checked_add(Duration::from_nanos(u64::try_from(span).ok()?))
            }
            Schedule::At(cron) => {
                let next = cron.next(i64::try_from(now.max(last).as_secs()).ok()?, offset)?;
                u64::try_from(next).ok().map(Duration::from_secs)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn utc(_: i64) -> i64 {
        0
    }

    fn every(period: u64, catch_up: bool) -> Plan {
        Plan::new(Schedule::Every(seconds(period)), catch_up, seconds(1000), false, utc)
    }

    fn at(line: &str, catch_up: bool, now: u64) -> Plan {
        Plan::new(Schedule::At(line.parse().expect("a line")), catch_up, seconds(now), false, utc)
    }

    fn look(plan: &mut Plan, now: u64, was_busy: bool) -> (bool, u64) {
        let look = plan.look(seconds(now), was_busy, utc);
        (look.run, look.missed)
    }

    #[test]
    fn a_job_is_due_each_period_and_not_before() {
        let mut plan = every(10, false);
        assert_eq!((plan.wakes(), look(&mut plan, 1009, false)), (Some(seconds(1010)), (false, 0)));
        assert_eq!((look(&mut plan, 1010, false), plan.wakes()), ((true, 0), Some(seconds(1020))));
        assert_eq!((look(&mut plan, 1013, true), plan.wakes()), ((false, 0), Some(seconds(1020))), "it has ended");
        let first = Plan::new(Schedule::Every(seconds(10)), false, seconds(7), true, utc);
        assert_eq!(first.wakes(), Some(seconds(7)));
    }

    #[test]
    fn what_came_while_the_job_ran_is_missed_or_made_up_for_once() {
        for catch_up in [false, true] {
            let mut plan = every(10, catch_up);
            assert_eq!(look(&mut plan, 1010, false), (true, 0));
            assert_eq!(look(&mut plan, 1035, true), (catch_up, 2), "1020 and 1030");
            assert_eq!(plan.wakes(), Some(seconds(1040)), "the beat is kept");
        }
    }

    #[test]
    fn what_came_while_the_machine_slept_is_missed_but_for_the_last_minute() {
        for catch_up in [false, true] {
            let mut plan = every(100, catch_up);
            assert_eq!(look(&mut plan, 1361, false), (catch_up, 3), "1100, 1200, 1300");
            assert_eq!(plan.wakes(), Some(seconds(1400)));
            let mut plan = every(100, catch_up);
            assert_eq!(look(&mut plan, 1360, false), (true, 2), "1300 was a minute ago");
        }
        let mut plan = every(1, false);
        assert_eq!(look(&mut plan, 1_000_000, false), (false, COUNTED), "and no more are counted");
        assert_eq!(plan.wakes(), Some(seconds(1_000_001)));
    }

    #[test]
    fn a_delay_is_not_late() {
        let mut plan = every(100, false);
        plan.delay(seconds(90));
        assert_eq!((plan.wakes(), look(&mut plan, 1189, false)), (Some(seconds(1190)), (false, 0)));
        assert_eq!((look(&mut plan, 1190, false), plan.wakes()), ((true, 0), Some(seconds(1200))));
    }

    #[test]
    fn the_wall_clock_may_be_set() {
        let mut plan = at("0 * * * *", false, 0);
        assert_eq!((plan.wakes(), look(&mut plan, 3600, false)), (Some(seconds(3600)), (true, 0)));
        plan.clock_was_set(seconds(3500), utc);
        assert_eq!(plan.wakes(), Some(seconds(7200)), "it was done already");
        plan.clock_was_set(seconds(8000), utc);
        assert_eq!(look(&mut plan, 8000, false), (false, 1), "it is long past");
        let mut plan = at("0 * * * *", false, 1_000_000_000);
        assert_eq!(look(&mut plan, 1_000_000_800, false), (true, 0));
        plan.clock_was_set(seconds(5000), utc);
        assert_eq!(plan.wakes(), Some(seconds(7200)), "it was years ahead");
    }

    proptest! {
        #[test]
        fn each_time_is_run_or_missed_and_never_both(
            period in 1..90u64, catch_up: bool, steps in prop::collection::vec((0..200u64, any::<bool>()), 1..40)
        ) {
            let (mut plan, mut now, mut times) = (every(period, catch_up), 1000, 0);
            for (step, was_busy) in steps {
                now += step;
                let due = plan.due.expect("it goes on");
                let (run, missed) = look(&mut plan, now, was_busy);
                times += missed + u64::from(run && !(catch_up && missed > 0 && was_busy));
                if run && catch_up && missed > 0 && !was_busy && (now - 1000) % period > 60 {
                    times -= 1; // made up for
                }
                prop_assert!(!run || now >= due.as_secs());
                prop_assert_eq!(times, (now - 1000) / period, "at {}", now);
                prop_assert!(plan.wakes() > Some(seconds(now)));
            }
        }
    }
}
