//! One job, and the states that watchgod gives it.

use super::engine::{Definition, Program, Token};
use crate::machine::{Mono, ServiceState};

/// As watchgod has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// It waits for others.
    Wait,
    /// It runs, and is not ready.
    Start,
    /// It runs and is well.
    Run,
    /// It runs, but not as it should.
    Degrade,
    /// It has ended, and is started again.
    Exit,
    /// It has done its work.
    Done,
    /// It is being stopped.
    Stop,
    /// It does not run.
    #[default]
    Stopped,
}

impl State {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            State::Wait => "wait",
            State::Start => "start",
            State::Run => "run",
            State::Degrade => "degrade",
            State::Exit => "exit",
            State::Done => "done",
            State::Stop => "stop",
            State::Stopped => "stopped",
        }
    }
}

/// What a loader is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The job has got into this state.
    Of(State),
    /// It has ended with this; -1: a signal has ended it.
    Exit(i32),
}

impl Event {
    /// `on` and the state with a capital.
    pub fn word(self) -> String {
        let word = if let Event::Of(state) = self { state.word() } else { "exit" };
        let (first, rest) = word.split_at(1);
        format!("on{}{rest}", first.to_uppercase())
    }
}

/// A job as the supervisor sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its state as a service.
    pub state: ServiceState,
    /// Its process.
    pub pid: Option<i32>,
    /// How the last one has ended; -1: by a signal.
    pub exit: Option<i32>,
}

/// One life of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Its process.
    pub pid: i32,
    /// Where the supervisor hears of it; empty if that is not known.
    pub address: String,
}

/// A process that waits to become the job.
#[derive(Debug)]
pub struct Ask {
    /// Who waits.
    pub token: Token,
    /// The process.
    pub pid: i32,
    /// Where the supervisor hears of it.
    pub address: String,
    /// What it becomes, if that was said already.
    pub argv: Vec<String>,
}

/// What is known of a job.
#[derive(Debug, Default)]
pub struct Job {
    /// The file of its loader.
    pub file: String,
    /// What its directory says; `None`: somebody before us has written it.
    pub definition: Option<Definition>,
    /// What it became the last time.
    pub program: Option<Program>,
    /// Its state.
    pub state: State,
    /// Its process.
    pub run: Option<Run>,
    /// The one that still runs while this one is to take its place.
    pub before: Option<Run>,
    /// The process that the supervisor has told of last: what it says of an end is about that one.
    pub told_of: Option<i32>,
    /// Who waits to become it.
    pub ask: Option<Ask>,
    /// Who waits for it to be told to stop.
    pub stop_ask: Option<Token>,
    /// When it is asked how it is.
    pub check_at: Option<Mono>,
    /// It was asked, and has not answered.
    pub is_checking: bool,
    /// When it gets KILL.
    pub kill_at: Option<Mono>,
    /// No loader has it any more.
    pub is_leaving: bool,
}

impl Job {
    /// When it is to be asked how it is.
    pub fn check_due(&self) -> Option<Mono> {
        self.check_at.filter(|_| !self.is_checking && self.run.is_some())
    }

    /// Its process.
    pub fn pid(&self) -> Option<i32> {
        self.run.as_ref().map(|run| run.pid)
    }

    /// It is asked again then.
    pub fn check_again(&mut self, at: Mono) {
        self.is_checking = false;
        self.check_at = Some(at).filter(|_| matches!(self.state, State::Start | State::Run | State::Degrade));
    }

    /// Another loader answers for it from now on.
    pub fn attach(&mut self, now: Mono) {
        if self.run.is_some() && !self.is_checking {
            self.check_again(now);
        }
    }

    /// It starts as this process.
    pub fn begin(&mut self, now: Mono, pid: i32, address: String) {
        let before = self.run.replace(Run { pid, address });
        self.before = before.filter(|before| self.told_of == Some(before.pid));
        (self.state, self.kill_at) = (State::Start, None);
        self.check_again(now);
    }

    /// It may have been there before us, and may have ended before we could hear of that.
    pub fn sync(&mut self, now: Mono, seen: &Seen, address: String) {
        self.told_of = seen.pid.or(self.pid()); // the supervisor had started it when it asked us
        let Some(pid) = seen.pid.filter(|_| self.run.is_none()) else { return };
        self.state = match seen.state {
            ServiceState::Starting => State::Start,
            ServiceState::Up => State::Run,
            ServiceState::Stopping => State::Stop,
            _ => return,
        };
        self.run = Some(Run { pid, address });
        self.check_again(now);
    }

    /// Whether a check changes its state to this one.
    pub fn may_become(&self, state: State) -> bool {
        match (self.state, state) {
            (State::Start | State::Degrade, State::Run) | (State::Run, State::Degrade) => self.run.is_some(),
            _ => false,
        }
    }

    /// The supervisor says how it is. What the loader is told of that.
    pub fn state(&mut self, Seen { state, pid, exit }: Seen) -> Option<Event> {
        match state {
            ServiceState::Waiting => self.become_quietly(State::Wait),
            ServiceState::Setup | ServiceState::Starting | ServiceState::Up => {
                self.told_of = pid;
                let stays = self.before.take_if(|before| pid == Some(before.pid));
                if stays.is_some() {
                    (self.run, self.state) = (stays, State::Run); // it was not replaced
                } else {
                    self.before = None;
                }
                None
            }
            ServiceState::Stopping => {
                self.told_of = pid;
                let is_new = self.run.is_some() && self.state != State::Stop;
                (self.check_at, self.is_checking) = (None, false);
                is_new.then(|| self.enter(State::Stop))
            }
            ServiceState::Down
            | ServiceState::Backoff
            | ServiceState::Finishing
            | ServiceState::Done
            | ServiceState::Failed
            | ServiceState::Skipped
            | ServiceState::Refused
            | ServiceState::Unknown => self.at_rest(state, exit),
        }
    }

    fn at_rest(&mut self, state: ServiceState, exit: Option<i32>) -> Option<Event> {
        let told_of = self.told_of.take();
        if self.run.take_if(|run| told_of == Some(run.pid)).is_some() {
            (self.check_at, self.is_checking, self.kill_at, self.before) = (None, false, None, None);
            return Some(match (self.state, state) {
                (State::Stop, _) => self.enter(State::Stopped),
                (State::Start, ServiceState::Done) => self.enter(State::Done),
                _ => {
                    self.state = State::Exit;
                    Event::Exit(exit.unwrap_or(-1))
                }
            });
        }
        let is_cancelled = self.run.is_none() && self.state == State::Exit && state == ServiceState::Down;
        is_cancelled.then(|| self.enter(State::Stopped))
    }

    fn enter(&mut self, state: State) -> Event {
        self.state = state;
        Event::Of(state)
    }

    fn become_quietly(&mut self, state: State) -> Option<Event> {
        if self.run.is_none() {
            self.state = state;
        }
        None
    }
}
