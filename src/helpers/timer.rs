//! `onit every` and `onit at`: a service that runs a job again and again, one at a time.
//!
//! TERM, INT, QUIT and HUP end it: at once while it waits, and with the job, to which they are passed on, while that runs.
//! ALRM runs the job now.

mod plan;

pub use plan::{Plan, Schedule};

use crate::exit;
use crate::machine::{Pid, Signal, Target};
use crate::sys::clock::{self, Alarm, AlarmClock};
use crate::sys::manager::Manager;
use crate::sys::poll::Poller;
use crate::sys::say::say;
use crate::sys::signals::Signals;
use crate::sys::{Errno, notify, process};
use crate::wire::phrase;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What is run, and when.
#[derive(Debug)]
pub struct Timer {
    /// The verb, for what is said.
    pub verb: &'static str,
    /// When.
    pub schedule: Schedule,
    /// What was missed is made up for, once.
    pub catch_up: bool,
    /// The first run is at once.
    pub now: bool,
    /// Each run starts by up to so much later than it is due.
    pub jitter: Duration,
    /// Nothing is said of jobs that succeed.
    pub quiet: bool,
    /// The job's variable `TZ`, if the timer has another one.
    pub zone: Option<Option<OsString>>,
    /// The program, and its words.
    pub command: Vec<OsString>,
}

/// A job that runs.
struct Job {
    child: Child,
    started: Duration,
}

struct Loop<'t> {
    timer: &'t Timer,
    clock: AlarmClock,
    plan: Plan,
    job: Option<Job>,
    manager: Option<Manager>,
    /// It ends with its job.
    ending: bool,
    /// How the last job ended.
    last: String,
}

const SIGNALS: u64 = 0;
const ALARM: u64 = 1;

impl Timer {
    /// Runs until it is told to end. Returns the exit code.
    pub fn run(&self) -> i32 {
        self.go().unwrap_or_else(|errno| {
            say(format_args!("onit: {}: cannot wait for time or signals: {}", self.verb, errno.desc()));
            exit::SYSTEM
        })
    }

    fn go(&self) -> Result<i32, Errno> {
        let signals = Signals::take_over()?;
        let clock = if matches!(self.schedule, Schedule::Every(_)) { AlarmClock::Boot } else { AlarmClock::Wall };
        let alarm = Alarm::new(clock)?;
        let mut poller = Poller::new()?;
        poller.add(&signals, SIGNALS)?;
        poller.add(&alarm, ALARM)?;
        let plan = Plan::new(self.schedule.clone(), self.catch_up, time(clock), self.now, clock::offset);
        let manager = Manager::from_environment();
        let mut it =
            Loop { timer: self, clock, plan, job: None, manager, ending: false, last: "has not run yet".into() };
        it.delay();
        it.tell("READY=1\n");
        loop {
            match it.plan.wakes().filter(|_| it.job.is_none()) {
                Some(at) => alarm.set(at)?,
                None if it.job.is_none() => return Ok(it.nothing_is_due()),
                None => {}
            }
            for token in poller.wait(clock::now(), None).collect::<Vec<_>>() {
                if token == ALARM && alarm.was_set() {
                    it.plan.clock_was_set(time(clock), clock::offset);
                }
            }
            while let Some(signal) = signals.next() {
                it.on_signal(signal);
            }
            let was_busy = it.job_has_ended();
            if it.ending && it.job.is_none() {
                return Ok(exit::OK);
            }
            if it.job.is_none() {
                it.look(was_busy);
            }
        }
    }
}

impl Loop<'_> {
    fn say(&self, text: &str) {
        let program = self.timer.command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
        say(format_args!("onit: {}: {}: {text}", self.timer.verb, program.display()));
    }

    /// What `onit status` shows.
    fn tell(&self, before: &str) {
        let Some(manager) = &self.manager else { return };
        manager.notify(&match (&self.job, self.plan.wakes()) {
            (Some(_), _) => format!("{before}STATUS=running since {}; before: {}", moment(clock::wall()), self.last),
            (None, Some(at)) => format!("{before}STATUS=next {}; last: {}", self.on_wall(at), self.last),
            (None, None) => format!("{before}STATUS=never again; last: {}", self.last),
        });
    }

    /// What the wall clock shows when our clock shows this.
    fn on_wall(&self, at: Duration) -> String {
        match self.clock {
            AlarmClock::Wall => moment(at),
            AlarmClock::Boot => moment((clock::wall() + at).saturating_sub(clock::since_boot())),
        }
    }

    fn nothing_is_due(&self) -> i32 {
        self.say("it is never due again");
        exit::OK
    }

    /// Draws lots for the next run.
    fn delay(&mut self) {
        let jitter = u64::try_from(self.timer.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.plan.delay(Duration::from_nanos(notify::random().checked_rem(jitter).unwrap_or_default()));
    }

    fn on_signal(&mut self, signal: Signal) {
        let ends = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP].contains(&signal);
        self.ending |= ends;
        match &self.job {
            Some(job) if ends || signal != Signal::CHLD && signal != Signal::ALRM => {
                let _ = process::kill(Pid(job.child.id().cast_signed()), signal, Target::Process); // it may have ended
            }
            Some(_) => {}
            None if signal == Signal::ALRM && !self.ending => self.start(),
            None => {}
        }
    }

    fn look(&mut self, was_busy: bool) {
        let look = self.plan.look(time(self.clock), was_busy, clock::offset);
        if look.missed > 0 {
            let why = if was_busy { "it ran longer than that" } else { "the machine slept, or its clock was set" };
            let then = if look.run { "; one run makes up for them" } else { "" };
            self.say(&format!("missed {} run{}: {why}{then}", look.missed, if look.missed == 1 { "" } else { "s" }));
        }
        if look.missed > 0 || look.run {
            self.delay();
        }
        if look.run {
            self.start();
        } else if was_busy || look.missed > 0 {
            self.tell("");
        }
    }

    fn start(&mut self) {
        let Some((program, args)) = self.timer.command.split_first() else { return };
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        match &self.timer.zone {
            Some(Some(zone)) => _ = command.env("TZ", zone),
            Some(None) => _ = command.env_remove("TZ"),
            None => {}
        }
        match command.spawn() {
            Ok(child) => self.job = Some(Job { child, started: clock::since_boot() }),
            Err(error) => {
                let why =
                    error.raw_os_error().map_or_else(|| error.to_string(), |it| Errno::from_raw(it).desc().into());
                self.last = format!("cannot be started: {why}");
                self.say(&self.last);
            }
        }
        self.tell("");
    }

    /// Whether a job has ended that had not before.
    fn job_has_ended(&mut self) -> bool {
        let Some(job) = &mut self.job else { return false };
        let Ok(Some(status)) = job.child.try_wait() else { return false };
        let span = phrase::span((clock::since_boot() - job.started).as_secs_f64());
        let how = format!("{} after {span}", super::end_of(status));
        if !self.timer.quiet || !status.success() {
            self.say(&how);
        }
        self.last = format!("{how}, {}", moment(clock::wall()));
        self.job = None;
        true
    }
}

fn time(clock: AlarmClock) -> Duration {
    match clock {
        AlarmClock::Boot => clock::since_boot(),
        AlarmClock::Wall => clock::wall(),
    }
}

fn moment(since_1970: Duration) -> String {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    clock::local(seconds).map_or_else(|| seconds.to_string(), |at| at.to_string())
}
