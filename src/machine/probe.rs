//! The programs that ask whether a service is ready (`check`), and whether it is well (`health`): when they are started,
//! when they have had their time, and what their answers mean.
//!
//! One of them lives at a time. `check` is asked until it first succeeds; `health` from then on, or from the start of a
//! service that is ready by other means. What is asked no more is killed, and the next one waits until it is reaped.

use super::rare::Common;
use super::restart::mixed;
use super::service::memory::{EXTRA, instant, number, of_instant, pid_of};
use super::{Exit, Mono, Pid, Script, words};
use crate::machine::fields::{Place, fields};
use crate::machine::policy::KILL_RETRY;
use std::time::Duration;

/// The first `check` follows this long after the start. The pauses between two of them double until they are as long as
/// they are to be.
pub const FIRST_CHECK: Duration = Duration::from_millis(100);
/// How long they are if nothing is said.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// So long may one `check` take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Between the end of one and the start of the next lies at least this, whatever a file says.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The first `health` of many services that became ready together is spread over `every`, and over no more than this.
const LONGEST_SPREAD: Duration = Duration::from_secs(10);

/// How `./health` is asked, and what follows (file `health-policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HealthPolicy {
    /// How often: this much after the end of one that of the next one follows; more than nothing.
    pub every: Duration,
    /// An answer that takes longer is none; more than nothing.
    pub timeout: Duration,
    /// It takes this many failures in a row; at least 1.
    pub retries: u32,
    /// The first time at least this much after the service has become ready.
    pub after: Duration,
    /// What follows.
    pub action: HealthAction,
}

/// What follows when `./health` has failed often enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HealthAction {
    /// The service is restarted.
    Restart,
    /// It is told, and nothing else.
    Report,
}

impl Default for HealthPolicy {
    fn default() -> HealthPolicy {
        Said::COMMON.policy
    }
}

/// What the small files of a service say of its probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    /// File `health-policy`.
    pub policy: HealthPolicy,
}

impl Common for Said {
    const COMMON: &'static Said = &Said {
        policy: HealthPolicy {
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            retries: 3,
            after: Duration::ZERO,
            action: HealthAction::Restart,
        },
    };
}

/// What `health` has said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Health {
    /// All is well.
    Healthy,
    /// It works, and not as it should (exit code 75).
    Degraded,
    /// It has failed as often in a row as its policy says.
    Unhealthy,
}

words!(Health, "health", Healthy = "healthy", Degraded = "degraded", Unhealthy = "unhealthy");

/// Why a probe has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It ended like this.
    Ended(Exit),
    /// It took too long.
    Late,
    /// It could not be executed.
    NotExecuted,
}

/// What follows from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    None,
    /// The service is ready.
    Ready,
    /// It is unhealthy, and that is news.
    Unhealthy(Failure),
    /// It is unhealthy, and is to be stopped for it.
    Restart(Failure),
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Question {
    Ready,
    Health,
}

/// The process that is to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Process {
    None,
    /// It was asked for, and the answer comes within this turn.
    Asked,
    /// It lives.
    Lives {
        pid: Pid,
        fate: Fate,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Its answer is awaited.
    Awaited,
    /// It has had its time, and was killed.
    Late,
    /// It answers what nobody asks any more, and was killed.
    Void,
}

/// The probes of one service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    question: Option<Question>,
    process: Process,
    /// Without a process: when there is to be one. With one: when it is killed, once more if it was before.
    at: Mono,
    /// When the last one was started.
    asked: Option<Mono>,
    /// How often `check` is asked.
    every: Duration,
    /// So many failures in a row.
    failures: u16,
    health: Option<Health>,
    /// In this life `check` says, or has said, whether the service is ready.
    checks: bool,
    /// Its failures are why the service was stopped.
    has_stopped: bool,
}

impl Common for Probe {
    const COMMON: &'static Probe = &Probe {
        question: None,
        process: Process::None,
        at: Mono(0),
        asked: None,
        every: Duration::ZERO,
        failures: 0,
        health: None,
        checks: false,
        has_stopped: false,
    };
}

impl Probe {
    /// What `health` has said last, if it was asked in this life and has said enough.
    pub fn health(&self) -> Option<Health> {
        self.health
    }

    /// How many times `health` has failed in a row.
    pub fn failures(&self) -> u16 {
        if self.question == Some(Question::Ready) { 0 } else { self.failures }
    }

    /// When `health` was started the last time in this life.
    pub fn asked(&self) -> Option<Mono> {
        self.asked.filter(|_| self.question != Some(Question::Ready))
    }

    /// Whether `health` is asked.
    pub fn asks_health(&self) -> bool {
        self.question == Some(Question::Health)
    }

    /// Whether `check` says when the service is ready, or has said it.
    pub fn checks(&self) -> bool {
        self.checks
    }

    /// Whether its failures are why the service was stopped.
    pub fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// The process that is to answer, or that was killed.
    pub fn pid(&self) -> Option<Pid> {
        match self.process {
            Process::Lives { pid, .. } => Some(pid),
            Process::None | Process::Asked => None,
        }
    }

    /// Whether one was asked for, and the answer has not come.
    pub fn is_asked_for(&self) -> bool {
        self.process == Process::Asked
    }

    /// Whether there is nothing to remember of it.
    pub fn is_idle(&self) -> bool {
        self == Probe::COMMON
    }

    /// When something is to be done.
    pub fn deadline(&self) -> Option<Mono> {
        match self.process {
            Process::None => self.question.map(|_| self.at),
            Process::Asked => None,
            Process::Lives { .. } => Some(self.at),
        }
    }

    /// Whether it is time for the next one.
    pub fn is_due(&self, now: Mono) -> bool {
        self.process == Process::None && self.question.is_some() && self.at <= now
    }

    // What is asked.

    /// A life begins: `check` says when the service is ready, and is asked so often. Returned is a process to kill.
    pub fn ask_ready(&mut self, now: Mono, every: Option<Duration>) -> Option<Pid> {
        let every = every.unwrap_or(CHECK_EVERY).max(SHORTEST_PAUSE);
        *self = Probe {
            question: Some(Question::Ready),
            every,
            checks: true,
            process: self.process,
            at: self.at,
            ..*Probe::COMMON
        };
        self.begin(now, now.after(FIRST_CHECK))
    }

    /// The service is ready, and `health` is asked from now on.
    pub fn ask_health(&mut self, now: Mono, policy: &HealthPolicy, seed: u64) -> Option<Pid> {
        (self.question, self.failures, self.asked) = (Some(Question::Health), 0, None);
        self.begin(now, first_health(now, policy, seed))
    }

    /// A process that lives answers another question, and is to be killed; the first one to this question waits for its
    /// end.
    fn begin(&mut self, now: Mono, at: Mono) -> Option<Pid> {
        if self.process == Process::None {
            self.at = at;
        }
        self.make_void(now)
    }

    /// Nothing is asked any more, and a process that lives is to be killed: that one. `is_over`: the life is, and what was
    /// said of it does not count any longer.
    pub fn end(&mut self, now: Mono, is_over: bool) -> Option<Pid> {
        self.question = None;
        if is_over {
            *self = Probe { process: self.process, at: self.at, ..*Probe::COMMON };
        }
        if self.process == Process::None {
            self.at = Mono(0);
        }
        self.make_void(now)
    }

    /// There is no `health` any more, no process of it lives, and nothing is known of how well the service is.
    pub fn forget_health(&mut self) {
        *self = Probe { every: self.every, checks: self.checks, ..*Probe::COMMON };
    }

    /// The process that lives answers nothing any more. It is to be killed if it was not yet.
    fn make_void(&mut self, now: Mono) -> Option<Pid> {
        let Process::Lives { pid, fate } = self.process else { return None };
        self.process = Process::Lives { pid, fate: Fate::Void };
        (fate != Fate::Void).then(|| {
            self.at = now.after(KILL_RETRY);
            pid
        })
    }

    // Time.

    /// The next one is to be started.
    pub fn start(&mut self) -> Option<Script> {
        let script = match self.question? {
            Question::Ready => Script::Check,
            Question::Health => Script::Health,
        };
        self.process = Process::Asked;
        Some(script)
    }

    /// It is not asked for now.
    pub fn put_off(&mut self, now: Mono, policy: &HealthPolicy) {
        self.at = now.after(self.pause(policy));
    }

    /// A process that has had its time is to be killed.
    pub fn late(&mut self, now: Mono) -> Option<Pid> {
        let Process::Lives { pid, fate } = self.process else { return None };
        if now < self.at {
            return None;
        }
        let fate = if fate == Fate::Awaited { Fate::Late } else { fate };
        (self.process, self.at) = (Process::Lives { pid, fate }, now.after(KILL_RETRY));
        Some(pid)
    }

    /// It lives. Returned is the process if it is to be killed at once: nothing is asked any more.
    pub fn started(&mut self, now: Mono, pid: Pid, policy: &HealthPolicy) -> Option<Pid> {
        let limit = match self.question {
            Some(Question::Ready) => CHECK_TIMEOUT,
            Some(Question::Health) | None => policy.timeout,
        };
        self.process = Process::Lives { pid, fate: Fate::Awaited };
        (self.at, self.asked) = (now.after(limit), Some(now));
        if self.question.is_none() { self.make_void(now) } else { None }
    }

    /// There is no process for it: that says nothing of the service, and the next one comes in its time.
    pub fn not_started(&mut self, now: Mono, policy: &HealthPolicy) {
        (self.process, self.at) = (Process::None, self.next(now, policy));
    }

    /// It could not be executed.
    pub fn not_executed(&mut self, now: Mono, policy: &HealthPolicy) -> Verdict {
        self.process = Process::None;
        self.answer(now, Err(Failure::NotExecuted), policy)
    }

    /// Its process has ended like this. `counts`: what it says is of the service as it should be now.
    pub fn ended(&mut self, now: Mono, exit: Exit, policy: &HealthPolicy, counts: bool, seed: u64) -> Verdict {
        let Process::Lives { fate, .. } = std::mem::replace(&mut self.process, Process::None) else {
            return Verdict::None;
        };
        match (fate, self.question) {
            (Fate::Void, None) => {
                self.at = Mono(0);
                Verdict::None
            }
            (Fate::Void, Some(Question::Ready)) => {
                self.at = now.after(FIRST_CHECK);
                Verdict::None
            }
            (Fate::Void, Some(Question::Health)) => {
                self.at = first_health(now, policy, seed);
                Verdict::None
            }
            (Fate::Awaited | Fate::Late, _) if !counts => {
                self.at = self.next(now, policy);
                Verdict::None
            }
            (Fate::Late, _) => self.answer(now, Err(Failure::Late), policy),
            (Fate::Awaited, Some(Question::Health)) if exit == Exit::DEGRADED => {
                self.answer(now, Ok(Health::Degraded), policy)
            }
            (Fate::Awaited, _) if exit.is_success() => self.answer(now, Ok(Health::Healthy), policy),
            (Fate::Awaited, _) => self.answer(now, Err(Failure::Ended(exit)), policy),
        }
    }

    fn answer(&mut self, now: Mono, answer: Result<Health, Failure>, policy: &HealthPolicy) -> Verdict {
        let verdict = match (self.question, answer) {
            (None, _) => Verdict::None,
            (Some(Question::Ready), Ok(_)) => {
                (self.question, self.failures, self.asked) = (None, 0, None);
                Verdict::Ready
            }
            (Some(Question::Health), Ok(health)) => {
                (self.health, self.failures) = (Some(health), 0);
                Verdict::None
            }
            (Some(Question::Ready), Err(_)) => {
                self.failures = self.failures.saturating_add(1);
                Verdict::None
            }
            (Some(Question::Health), Err(failure)) => self.fail(failure, policy),
        };
        self.at = if self.question.is_some() { self.next(now, policy) } else { Mono(0) };
        verdict
    }

    fn fail(&mut self, failure: Failure, policy: &HealthPolicy) -> Verdict {
        self.failures = self.failures.saturating_add(1);
        if u32::from(self.failures) < policy.retries.min(u16::MAX.into()) {
            return Verdict::None;
        }
        let is_news = self.health.replace(Health::Unhealthy) != Some(Health::Unhealthy);
        match policy.action {
            HealthAction::Restart => {
                self.has_stopped = true;
                Verdict::Restart(failure)
            }
            HealthAction::Report if is_news => Verdict::Unhealthy(failure),
            HealthAction::Report => Verdict::None,
        }
    }

    fn pause(&self, policy: &HealthPolicy) -> Duration {
        match self.question {
            Some(Question::Ready) => {
                let doubled =
                    1_u32.checked_shl(self.failures.into()).and_then(|factor| FIRST_CHECK.checked_mul(factor));
                doubled.map_or(self.every, |pause| pause.min(self.every))
            }
            Some(Question::Health) | None => policy.every.max(SHORTEST_PAUSE),
        }
    }

    fn next(&self, now: Mono, policy: &HealthPolicy) -> Mono {
        now.after(self.pause(policy))
    }
}

/// When `health` is asked first by one that becomes ready now. `seed`: any number that differs between services.
fn first_health(now: Mono, policy: &HealthPolicy, seed: u64) -> Mono {
    let spread = policy.every.min(LONGEST_SPREAD).as_nanos();
    let part = u128::from(mixed(seed)) % spread.max(1);
    now.after(policy.after).after(Duration::from_nanos(u64::try_from(part).unwrap_or_default()))
}

fields! {
    /// The probes of a service. Instants are in nanoseconds, and one more: zero is none.
    pub struct Memory in EXTRA {
        /// The process.
        pid: Place::bits(0, 0, 32),
        /// Whether there is one: no, asked for, lives.
        process: Place::bits(0, 32, 2),
        /// Whether its answer is awaited, or it was killed, and why.
        fate: Place::bits(0, 34, 2),
        /// What is asked: nothing, `check`, `health`.
        question: Place::bits(0, 36, 2),
        /// Nothing, healthy, degraded, unhealthy.
        health: Place::bits(0, 38, 2),
        /// In this life `check` says when the service is ready.
        checks: Place::bits(0, 40, 1),
        /// Its failures are why the service was stopped.
        has_stopped: Place::bits(0, 41, 1),
        /// Failures in a row.
        failures: Place::bits(0, 48, 16),
        /// When it is started, or killed.
        at: Place::word(1),
        /// When the last one was started.
        asked: Place::word(2),
        /// How often `check` is asked, in nanoseconds.
        every: Place::word(3),
    }
}

impl Probe {
    /// What there is to remember of it.
    pub fn memory(&self) -> Memory {
        let Probe { question, process, at, asked, every, failures, health, checks, has_stopped } = *self;
        let (process, pid, fate) = match process {
            Process::None => (0, 0, 0),
            Process::Asked => (1, 0, 0),
            Process::Lives { pid, fate } => (2, number(pid), fate as u64),
        };
        Memory {
            pid,
            process,
            fate,
            question: question.map_or(0, |question| question as u64 + 1),
            health: health.map_or(0, |health| health as u64 + 1),
            checks: checks.into(),
            has_stopped: has_stopped.into(),
            failures: failures.into(),
            at: at.0,
            asked: instant(asked),
            every: u64::try_from(every.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// The probes that this is the memory of. `None` if it is nobody's.
    pub fn remembered(memory: Memory) -> Option<Probe> {
        let fate = match memory.fate {
            0 => Fate::Awaited,
            1 => Fate::Late,
            2 => Fate::Void,
            _ => return None,
        };
        Some(Probe {
            question: match memory.question {
                0 => None,
                1 => Some(Question::Ready),
                2 => Some(Question::Health),
                _ => return None,
            },
            process: match memory.process {
                0 => Process::None,
                1 => Process::Asked,
                2 => Process::Lives { pid: pid_of(memory.pid)?, fate },
                _ => return None,
            },
            at: Mono(memory.at),
            asked: of_instant(memory.asked),
            every: Duration::from_nanos(memory.every),
            failures: memory.failures as u16,
            health: match memory.health {
                0 => None,
                1 => Some(Health::Healthy),
                2 => Some(Health::Degraded),
                _ => Some(Health::Unhealthy),
            },
            checks: memory.checks != 0,
            has_stopped: memory.has_stopped != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: Mono = Mono(1_000_000_000_000);
    const PID: Pid = Pid(7);
    const FAILED: Exit = Exit::Code(1);

    fn policy() -> HealthPolicy {
        HealthPolicy::default()
    }

    fn report() -> HealthPolicy {
        HealthPolicy { action: HealthAction::Report, ..policy() }
    }

    /// Asks once, as soon as it is due, and is answered after `took`. Returns when it asked, and what follows.
    fn asks(probe: &mut Probe, took: Duration, exit: Exit, policy: &HealthPolicy) -> (Mono, Verdict) {
        let at = probe.deadline().expect("one is due");
        assert!(probe.is_due(at) && !probe.is_due(Mono(at.0 - 1)));
        assert!(probe.start().is_some() && probe.is_asked_for() && probe.deadline().is_none());
        assert_eq!(probe.started(at, PID, policy), None);
        (at, probe.ended(at.after(took), exit, policy, true, 0))
    }

    fn checks(every: Option<Duration>) -> Probe {
        let mut probe = *Probe::COMMON;
        assert_eq!(probe.ask_ready(NOW, every), None);
        probe
    }

    fn asks_health(policy: &HealthPolicy) -> Probe {
        let mut probe = *Probe::COMMON;
        assert_eq!(probe.ask_health(NOW, policy, 5), None);
        probe
    }

    #[test]
    fn check_is_asked_soon_and_then_less_often_until_it_succeeds() {
        for (every, pauses) in [
            (None, [100, 200, 400, 800, 1000, 1000]),
            (Some(SECOND * 300 / 1000), [100, 200, 300, 300, 300, 300]),
            (Some(Duration::from_millis(1)), [100; 6]),
        ] {
            let (mut probe, mut before) = (checks(every), NOW);
            for pause in pauses {
                let took = SECOND / 100;
                let (at, verdict) = asks(&mut probe, took, FAILED, &policy());
                assert_eq!((at.since(before).as_millis(), verdict), (pause, Verdict::None), "{every:?}");
                before = at.after(took);
            }
            assert_eq!(
                asks(&mut probe, SECOND, Exit::DEGRADED, &policy()).1,
                Verdict::None,
                "that is none of its codes"
            );
            assert_eq!(asks(&mut probe, SECOND, Exit::Code(0), &policy()).1, Verdict::Ready);
            assert_eq!((probe.deadline(), probe.start(), probe.checks()), (None, None, true));
            assert_eq!((probe.health(), probe.asked(), probe.failures()), (None, None, 0), "that is of health");
        }
    }

    #[test]
    fn health_is_asked_again_so_long_after_its_end_and_at_first_when_seed_and_policy_say() {
        let policy = HealthPolicy { after: 20 * SECOND, ..policy() };
        let first: Vec<u64> = (0..1000)
            .map(|seed| {
                let mut probe = *Probe::COMMON;
                probe.ask_health(NOW, &policy, seed);
                probe.deadline().expect("it is due").since(NOW.after(policy.after)).as_secs()
            })
            .collect();
        assert!(
            (0..10).all(|second| (60..150).contains(&first.iter().filter(|at| **at == second).count())),
            "{first:?}"
        );
        let hourly = HealthPolicy { every: 3600 * SECOND, ..policy };
        assert!(asks_health(&hourly).deadline().is_some_and(|at| at < NOW.after(31 * SECOND)));
        let mut probe = asks_health(&policy);
        let (at, _) = asks(&mut probe, 3 * SECOND, Exit::Code(0), &policy);
        assert_eq!((probe.deadline(), probe.asked()), (Some(at.after(13 * SECOND)), Some(at)));
        let hasty = HealthPolicy { every: Duration::from_nanos(1), ..policy };
        let (at, _) = asks(&mut probe, Duration::ZERO, Exit::Code(0), &hasty);
        assert_eq!(probe.deadline(), Some(at.after(SHORTEST_PAUSE)), "whatever a file says");
    }

    #[test]
    fn so_many_failures_in_a_row_are_unhealthy_and_what_is_degraded_begins_a_new_row() {
        let (policy, mut probe) = (policy(), asks_health(&policy()));
        let mut say = |code| (asks(&mut probe, SECOND, Exit::Code(code), &policy).1, probe.failures(), probe.health());
        let (none, well) = (Verdict::None, Some(Health::Healthy));
        assert_eq!([say(1), say(2)], [(none, 1, None), (none, 2, None)], "nothing is known yet");
        assert_eq!([say(0), say(1), say(1)], [(none, 0, well), (none, 1, well), (none, 2, well)]);
        assert_eq!(say(75), (none, 0, Some(Health::Degraded)));
        assert_eq!([say(1).1, say(1).1], [1, 2]);
        let last = Verdict::Restart(Failure::Ended(Exit::Code(9)));
        assert_eq!((say(9), probe.has_stopped()), ((last, 3, Some(Health::Unhealthy)), true));
    }

    #[test]
    fn what_is_only_reported_is_reported_once_until_it_is_well_again() {
        let (policy, mut probe) = (HealthPolicy { retries: 2, ..report() }, asks_health(&report()));
        let mut say = |code| asks(&mut probe, SECOND, Exit::Code(code), &policy).1;
        let news = Verdict::Unhealthy(Failure::Ended(FAILED));
        assert_eq!([say(1), say(1), say(1), say(1)], [Verdict::None, news, Verdict::None, Verdict::None]);
        assert_eq!([say(75), say(1), say(1)], [Verdict::None, Verdict::None, news]);
        assert!(!probe.has_stopped());
    }

    #[test]
    fn an_answer_that_takes_too_long_is_none_whatever_it_is() {
        let (policy, mut probe) = (HealthPolicy { retries: 1, ..report() }, asks_health(&report()));
        let at = probe.deadline().expect("it is due");
        probe.start();
        probe.started(at, PID, &policy);
        let late = at.after(policy.timeout);
        assert_eq!((probe.deadline(), probe.late(Mono(late.0 - 1)), probe.late(late)), (Some(late), None, Some(PID)));
        assert_eq!(probe.deadline(), Some(late.after(KILL_RETRY)), "and again while it lives");
        assert_eq!(probe.late(late.after(KILL_RETRY)), Some(PID));
        assert_eq!(
            probe.ended(late.after(7 * SECOND), Exit::Code(0), &policy, true, 0),
            Verdict::Unhealthy(Failure::Late)
        );
    }

    #[test]
    fn what_is_asked_no_more_is_killed_once_and_its_answer_is_none() {
        for exit in [Exit::Code(0), FAILED] {
            let mut probe = checks(None);
            probe.start();
            probe.started(NOW, PID, &policy());
            assert_eq!((probe.end(NOW, false), probe.end(NOW, true)), (Some(PID), None));
            assert_eq!(probe.ask_ready(NOW, None), None, "the next life begins");
            assert!(!probe.is_due(NOW.after(SECOND)), "and waits for its end");
            let end = NOW.after(2 * SECOND);
            assert_eq!(probe.ended(end, exit, &policy(), true, 0), Verdict::None);
            assert_eq!(probe.deadline(), Some(end.after(FIRST_CHECK)));
            assert_eq!((probe.end(end, true), probe.is_idle()), (None, true));
        }
    }

    #[test]
    fn that_there_is_no_process_says_nothing_and_that_it_cannot_be_executed_is_a_failure() {
        let (policy, mut probe) = (HealthPolicy { retries: 1, ..report() }, asks_health(&report()));
        probe.start();
        probe.not_started(NOW, &policy);
        assert_eq!((probe.failures(), probe.health(), probe.deadline()), (0, None, Some(NOW.after(policy.every))));
        probe.start();
        assert_eq!(probe.not_executed(NOW, &policy), Verdict::Unhealthy(Failure::NotExecuted));
    }

    #[test]
    fn it_is_remembered_as_it_is() {
        let mut probes = vec![*Probe::COMMON, checks(Some(3 * SECOND)), asks_health(&policy())];
        for begun in [checks(None), asks_health(&policy())] {
            let mut probe = begun;
            probe.start();
            probes.push(probe);
            probe.started(NOW, PID, &policy());
            probes.push(probe);
            probe.late(NOW.after(99 * SECOND));
            probes.push(probe);
            probe.end(NOW, false);
            probes.push(probe);
        }
        for code in [0, 1, 1, 1, 75] {
            let mut probe = *probes.last().filter(|probe| probe.health().is_some()).unwrap_or(&asks_health(&policy()));
            asks(&mut probe, SECOND, Exit::Code(code), &policy());
            probes.push(probe);
        }
        for probe in probes {
            assert_eq!(Probe::remembered(Memory::unpack(&probe.memory().pack())), Some(probe));
        }
        assert_eq!(Probe::remembered(Memory::default()), Some(*Probe::COMMON), "an older version knows of none");
        assert_eq!(Probe::remembered(Memory { process: 3, ..Memory::default() }), None);
        assert_eq!(Probe::remembered(Memory { process: 2, ..Memory::default() }), None, "no process has the number 0");
    }
}
