//! Waiting of a logger: for input, for signals, for the ends of its processors, and for what fails to work again.

use crate::machine::{Exit, Mono, Pid, Signal, Target};
use crate::sys::poll::{self, Poller};
use crate::sys::signals::{self, Signals};
use crate::sys::spawn::{Descriptor, Exec, Plan, Spawner};
use crate::sys::wait::{Reaped, reap};
use crate::sys::{Errno, clock, fs, process};
use crate::tool::print;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What is read at a time: as much as a pipe holds.
pub const ROOM: usize = 65_536;
/// What cannot be written when a logger is told to end is tried again for so long.
const LAST_ATTEMPTS: Duration = Duration::from_secs(5);
/// A processor that runs when a logger is told to end is waited for so long.
const LAST_PROCESSOR: Duration = Duration::from_secs(10);
/// The rest of a line is waited for so long then.
const LAST_LINE: Duration = Duration::from_secs(1);

const INPUT: u64 = 0;
const SIGNALS: u64 = 1;
const OUTPUT: u64 = 2;

/// Why something is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A signal came. It is done when that has been seen to.
    Signal,
    /// The logger was told to end, and it cannot be done.
    GiveUp,
    /// A processor runs. More may be read meanwhile.
    Busy,
}

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// Input, or its end.
    Input,
    /// A signal, the end of a processor, or the deadline.
    Other,
}

/// How standard input is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Input {
    Polled,
    /// It is a file: there is always more, or it is over.
    Always,
}

/// All that a logger waits for.
pub struct Waiter {
    poller: Poller,
    signals: Signals,
    input: Input,
    heard: VecDeque<Signal>,
    ended: Vec<(Pid, Exit)>,
    spawner: Option<Spawner>,
    /// When it was told to end.
    told_to_end: Option<Mono>,
    /// Nothing more is read.
    is_over: bool,
    /// What has been said of something that still fails.
    said: Vec<u8>,
}

impl Waiter {
    /// From now on signals are read here.
    pub fn new() -> Result<Waiter, Errno> {
        let signals = Signals::take_over()?;
        let poller = Poller::new()?;
        poller.add(&signals, SIGNALS)?;
        let input = match poller.add(io::stdin().as_fd(), INPUT) {
            Ok(()) => Input::Polled,
            Err(Errno::EPERM) => Input::Always,
            Err(errno) => return Err(errno),
        };
        Ok(Waiter {
            poller,
            signals,
            input,
            heard: VecDeque::new(),
            ended: Vec::new(),
            spawner: None,
            told_to_end: None,
            is_over: false,
            said: Vec::new(),
        })
    }

    /// Waits for input, for a signal, or until the deadline.
    pub fn wait(&mut self, deadline: Option<Mono>) -> Ready {
        let mut ready = Ready::Other;
        let (now, until) = match (self.input, deadline) {
            (Input::Always, _) => (Mono::default(), Some(Mono::default())),
            (Input::Polled, None) => (Mono::default(), None),
            (Input::Polled, Some(_)) => (clock::now(), deadline),
        };
        let mut has_signals = false;
        for token in self.poller.wait(now, until) {
            match token {
                INPUT => ready = Ready::Input,
                _ => has_signals = true,
            }
        }
        if has_signals {
            self.hear();
        }
        if self.input == Input::Always { Ready::Input } else { ready }
    }

    /// Reads what there is into the room; nothing at the end.
    pub fn read<'r>(&self, room: &'r mut [u8]) -> Result<&'r [u8], Errno> {
        loop {
            match fs::read_now(io::stdin().as_fd(), room) {
                Ok(count) => return Ok(room.get(..count).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The next signal that was heard.
    pub fn signal(&mut self) -> Option<Signal> {
        self.heard.pop_front()
    }

    /// How a processor ended, once.
    pub fn end_of(&mut self, pid: Pid) -> Option<Exit> {
        let at = self.ended.iter().position(|(ended, _)| *ended == pid)?;
        Some(self.ended.swap_remove(at).1)
    }

    /// The logger has been told to end.
    pub fn end(&mut self) {
        self.told_to_end = self.told_to_end.or_else(|| Some(clock::now()));
    }

    /// Whether the logger has been told to end.
    pub fn is_ending(&self) -> bool {
        self.told_to_end.is_some()
    }

    /// From now on nothing more is read.
    pub fn finish(&mut self) {
        self.is_over = true;
    }

    /// Whether more may be read.
    pub fn reads_on(&self) -> bool {
        !self.is_over
    }

    /// How long a processor is waited for.
    pub fn last_processor(&self) -> Option<Mono> {
        self.told_to_end.map(|at| at.after(LAST_PROCESSOR))
    }

    /// What the signal does by default: to most it is the end. No other one is let through with it: TERM would be the
    /// end before all is written, and the end of a processor would never be heard of.
    pub fn do_default(signal: Signal) {
        let us = Pid(std::process::id().cast_signed());
        let _ = process::kill(us, signal, Target::Process);
        signals::let_through(signal);
    }

    fn hear(&mut self) {
        while let Some(signal) = self.signals.next() {
            if signal != Signal::CHLD {
                self.heard.push_back(signal);
                continue;
            }
            while let Reaped::Child(pid, exit) = reap(&AtomicU64::new(0)) {
                self.ended.push((pid, exit));
            }
        }
    }

    /// Waits so long, or until a signal comes or a processor ends.
    pub fn pause(&mut self, span: Duration) -> Result<(), Stop> {
        let _ = poll::input(&self.signals, clock::now().after(span));
        self.hear();
        if self.heard.is_empty() { Ok(()) } else { Err(Stop::Signal) }
    }

    /// Waits until something of this can be written without waiting. Not for ever, if the logger is told to end; other
    /// signals are seen to when it has been written, but for those that end any program.
    pub fn wait_for_room(&mut self, output: impl AsFd) -> io::Result<()> {
        let mut poller = Poller::new()?;
        match poller.add(&output, OUTPUT).and_then(|()| poller.look_for(&output, OUTPUT, false, true)) {
            Err(Errno::EPERM) => return Ok(()), // a file has room, or says that it has none
            added => added?,
        }
        poller.add(&self.signals, SIGNALS)?;
        loop {
            let until = self.told_to_end.map(|at| at.after(LAST_ATTEMPTS));
            let now = clock::now();
            if poller.wait(now, until).any(|token| token == OUTPUT) {
                return Ok(());
            }
            if until.is_some_and(|until| until <= now) {
                return Err(Errno::ETIMEDOUT.into());
            }
            self.hear();
            if self.heard.contains(&Signal::TERM) {
                self.end();
            }
            let is_known =
                |signal: &Signal| matches!(*signal, Signal::TERM | Signal::HUP | Signal::USR1 | Signal::ALRM);
            if let Some(other) = self.heard.iter().position(|signal| !is_known(signal)) {
                self.heard.remove(other).into_iter().for_each(Waiter::do_default);
            }
        }
    }

    /// Does it until it succeeds. That it fails is said once: `line`, and the reason.
    pub fn insist<T>(
        &mut self,
        line: impl Fn() -> Vec<u8>,
        span: Duration,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Result<T, Stop> {
        loop {
            match attempt() {
                Ok(done) => {
                    self.said.clear();
                    return Ok(done);
                }
                Err(error) => self.fails(line(), &error, span)?,
            }
        }
    }

    /// Something fails: says it once, and waits.
    pub fn fails(&mut self, line: Vec<u8>, error: &io::Error, span: Duration) -> Result<(), Stop> {
        let line = [&line, why(error), b"\n"].concat();
        if line != self.said {
            print::stderr(&[&line]);
            self.said = line;
        }
        match self.told_to_end {
            None => self.pause(span),
            Some(at) if clock::now() < at.after(LAST_ATTEMPTS) => self.pause(span.min(Duration::from_secs(1))),
            Some(_) => Err(Stop::GiveUp),
        }
    }

    /// Starts a program in the working directory.
    pub fn spawn(&mut self, argv: &[&CStr], descriptors: &[Descriptor]) -> io::Result<Pid> {
        let spawner = match &mut self.spawner {
            Some(spawner) => spawner,
            none => none.insert(Spawner::new()?),
        };
        let plan = Plan { descriptors, ..Plan::new(argv) };
        spawner.begin_turn();
        let pid = spawner.spawn(&plan)?;
        let _: Option<(Pid, Exec)> = spawner.wait_for_exec(); // one that fails ends with 111, as others that fail
        Ok(pid)
    }

    /// Reads on, byte by byte, while a line has begun: what is behind it is for the next logger. Does not wait for long.
    pub fn read_rest(&mut self, mut is_within_line: bool, mut takes: impl FnMut(&[u8]) -> bool) {
        let deadline = clock::now().after(LAST_LINE);
        while is_within_line {
            if self.wait(Some(deadline)) != Ready::Input {
                if clock::now() >= deadline {
                    return;
                }
                continue;
            }
            match self.read(&mut [0]) {
                Ok(byte) if !byte.is_empty() => is_within_line = takes(byte),
                _ => return,
            }
        }
    }
}

/// The tools' words for an error.
pub fn why(error: &io::Error) -> &'static [u8] {
    print::why(Errno::from_raw(error.raw_os_error().unwrap_or_default()))
}
