//! The api socket, from the side of whoever asks. What is sent and answered stands in [`crate::wire::api`].
//!
//! ```no_run
//! use onit::client::api::Api;
//!
//! let mut api = Api::connect("/run/onit/api".as_ref())?;
//! api.subscribe()?;
//! api.order("up", b"web")?;
//! while !api.status(Some(b"web"))?.iter().all(|web| web.state == "up") {
//!     api.event(None)?;
//! }
//! # Ok::<(), onit::client::api::Failure>(())
//! ```
//!
//! Whoever subscribes first, then orders, then looks, misses nothing.

use crate::machine::{Mono, Pid};
use crate::sys::{Errno, clock, socket};
use crate::wire::api::{self, Event, Hello, LifeRecord, Line, ServiceStatus};
use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A supervisor that takes longer with an answer than this does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// No line of an answer is longer.
const LONGEST: usize = 1 << 20;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nobody can be reached there.
    Unreachable(Errno),
    /// It says no.
    Refused(api::Error),
    /// It has hung up. It may come back: a supervisor that executes itself again does.
    Closed,
    /// It does not answer, or not in time.
    Silent,
    /// What it says is no line of this protocol.
    Garbled(String),
    /// A request cannot say such a name.
    Name,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(errno) => errno.desc().fmt(f),
            Failure::Refused(error) => error.text.fmt(f),
            Failure::Closed => f.write_str("the supervisor has hung up"),
            Failure::Silent => f.write_str("the supervisor does not answer"),
            Failure::Garbled(what) => write!(f, "the supervisor speaks another language: {what}"),
            Failure::Name => f.write_str("no service can have such a name"),
        }
    }
}

impl std::error::Error for Failure {}

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Api {
    stream: UnixStream,
    received: Vec<u8>,
    /// They came while something else was waited for.
    events: VecDeque<Event>,
    hello: Hello,
    patience: Duration,
}

impl Api {
    /// Connects to the socket at this path, and asks who is there.
    pub fn connect(path: &Path) -> Result<Api, Failure> {
        Api::connect_within(path, PATIENCE)
    }

    /// The same for who has less time than ten seconds: a supervisor that takes longer than this with any answer does
    /// not answer.
    pub fn connect_within(path: &Path, patience: Duration) -> Result<Api, Failure> {
        let stream = socket::call(path, patience).map_err(|errno| match errno {
            Errno::EAGAIN => Failure::Silent,
            errno => Failure::Unreachable(errno),
        })?;
        let hello = Hello {
            api: 0,
            version: String::new(),
            pid: 0,
            directory: String::new(),
            view: String::new(),
            state: String::new(),
            control: false,
        };
        let mut api = Api { stream, received: Vec::new(), events: VecDeque::new(), hello, patience };
        let answer = api.request("hello", None)?;
        let said = answer.into_iter().find_map(|line| if let Line::Hello(hello) = line { Some(hello) } else { None });
        api.hello = said.ok_or_else(|| Failure::Garbled("no hello".into()))?;
        if api.hello.api != api::VERSION {
            return Err(Failure::Garbled(format!("version {} of the protocol", api.hello.api)));
        }
        Ok(api)
    }

    /// Who answers.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The process that answers, as it is numbered where we are. In another PID namespace than ours it calls itself
    /// otherwise, see [`Hello::pid`], and so it does with the processes of its services. `None`: it is not to be seen.
    pub fn supervisor(&self) -> Option<Pid> {
        socket::server(&self.stream)
    }

    /// What is known of one service, or of all of them.
    pub fn status(&mut self, name: Option<&[u8]>) -> Result<Vec<ServiceStatus>, Failure> {
        let lines = self.request("status", name)?.into_iter();
        Ok(lines.filter_map(|line| if let Line::Service(service) = line { Some(*service) } else { None }).collect())
    }

    /// The last lives of a service, oldest first.
    pub fn history(&mut self, name: &[u8]) -> Result<Vec<LifeRecord>, Failure> {
        let lines = self.request("history", Some(name))?.into_iter();
        Ok(lines.filter_map(|line| if let Line::Life(life) = line { Some(life) } else { None }).collect())
    }

    /// One of the verbs in [`api::ORDERS`]. When this returns the order has been taken, and may not have had its effect.
    pub fn order(&mut self, verb: &str, name: &[u8]) -> Result<(), Failure> {
        self.request(verb, Some(name)).map(drop)
    }

    /// The directory of services is looked at.
    pub fn rescan(&mut self) -> Result<(), Failure> {
        self.request("rescan", None).map(drop)
    }

    /// From now on [`Api::event`] hears of everything.
    pub fn subscribe(&mut self) -> Result<(), Failure> {
        self.request("subscribe", None).map(drop)
    }

    /// The next event; `None` when none has come by then.
    pub fn event(&mut self, deadline: Option<Mono>) -> Result<Option<Event>, Failure> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match self.line(deadline) {
                Ok(Line::Event(event)) => return Ok(Some(event)),
                Ok(_) => {}
                Err(Failure::Silent) => return Ok(None),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Asks for anything, and waits for the whole answer: all lines but the one that ends it.
    pub fn request(&mut self, verb: &str, name: Option<&[u8]>) -> Result<Vec<Line>, Failure> {
        let mut request = verb.as_bytes().to_vec();
        if let Some(name) = name {
            request.push(b' ');
            request.extend_from_slice(name);
        }
        if request.contains(&b'\n') || request.len() > api::LONGEST {
            return Err(Failure::Name);
        }
        request.push(b'\n');
        self.stream.write_all(&request).map_err(|error| failed(&error))?;
        let mut lines = Vec::new();
        loop {
            match self.line(Some(clock::now().after(self.patience)))? {
                Line::Done(_) => return Ok(lines),
                Line::Error(error) => return Err(Failure::Refused(error)),
                Line::Event(event) => self.events.push_back(event),
                line => lines.push(line),
            }
        }
    }

    /// The next line, whatever it is.
    fn line(&mut self, deadline: Option<Mono>) -> Result<Line, Failure> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Line::decode(&line).map_err(Failure::Garbled);
            }
            if self.received.len() > LONGEST {
                return Err(Failure::Garbled("a line without an end".into()));
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Option<Mono>) -> Result<(), Failure> {
        // A socket takes no limit of zero, and takes none at all for one that never comes.
        let left = deadline.map(|at| at.since(clock::now()).max(Duration::from_millis(1)));
        self.stream.set_read_timeout(left).map_err(|error| failed(&error))?;
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Failure::Closed),
            Ok(length) => {
                self.received.extend_from_slice(piece.get(..length).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl AsFd for Api {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn failed(error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Silent,
        _ => Failure::Closed,
    }
}
