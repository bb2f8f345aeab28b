//! The api socket, from the side of the client. What is sent and answered stands in [`crate::wire::api`].
//!
//! ```no_run
//! use onit::client::{Deadline, ServiceState, api::{Api, Order}};
//!
//! let mut api = Api::connect("/run/onit/api")?;
//! api.subscribe()?;
//! api.order(Order::Up, "web")?;
//! while api.status("web")?.state != ServiceState::Up {
//!     api.event(Deadline::NEVER)?;
//! }
//! # Ok::<(), onit::client::Error>(())
//! ```
//!
//! A client that subscribes first, then orders, then looks, misses nothing.
//!
//! What is refused has its kind in [`ErrorKind`], [`Declined`](ErrorKind::Declined) if there is none for it, and the
//! supervisor's own words as its [source](std::error::Error::source).

use super::find::Directory;
use super::{Deadline, Error, ErrorKind, Result, trust};
use crate::machine::Pid;
use crate::sys::{Errno, clock, socket};
use crate::wire::api;
#[doc(inline)]
pub use crate::wire::api::{
    ErrorCode, Event, EventKind, ExitRecord, Hello, Line, Order, RunRecord, ServiceStatus, SupervisorState, Word,
};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A supervisor that takes longer with an answer than this does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A supervisor that hangs up on a new client executes itself again, and the next one answers. It is tried so often.
const GREETINGS: usize = 5;
const SILENT: &str = "the supervisor does not answer";
/// No line of an answer is longer.
const LONGEST: usize = 1 << 20;

/// Why there is no answer, and the supervisor's own words for it, if it gave any.
type Failure = (ErrorKind, Option<String>);

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Api {
    connection: Connection,
    hello: Hello,
}

/// What there is before it is known which supervisor answers.
#[derive(Debug)]
struct Connection {
    path: PathBuf,
    stream: UnixStream,
    received: Vec<u8>,
    /// They came while something else was waited for.
    events: VecDeque<Event>,
    patience: Duration,
}

impl Api {
    /// Connects to the socket at this path, and asks which supervisor answers.
    ///
    /// # Errors
    /// [`NoSupervisor`](ErrorKind::NoSupervisor) if no supervisor can be reached there,
    /// [`NotPermitted`](ErrorKind::NotPermitted) if we may not, and as [`request`](Api::request).
    pub fn connect(path: impl AsRef<Path>) -> Result<Api> {
        Api::connect_within(path, PATIENCE)
    }

    /// Connects to the supervisor that the verbs of onit would ask: of the services in `$SVDIR`, else of those among which
    /// we run, else in /etc/service. It is looked for in their `.onit` or where `$ONIT_RUN` says, then in /run/onit and in
    /// `$XDG_RUNTIME_DIR/onit`.
    ///
    /// # Errors
    /// As [`connect`](Api::connect); [`Untrusted`](ErrorKind::Untrusted).
    pub fn find() -> Result<Api> {
        Directory::from_environment().find(PATIENCE)
    }

    /// The same for the services in this directory.
    ///
    /// # Errors
    /// As [`find`](Api::find).
    pub fn find_for(services: impl AsRef<Path>) -> Result<Api> {
        Directory::named(services.as_ref()).find(PATIENCE)
    }

    /// The same as [`connect`](Api::connect) for a caller that has less time than ten seconds: a supervisor that takes
    /// longer than this with any answer does not answer.
    ///
    /// # Errors
    /// As [`connect`](Api::connect).
    pub fn connect_within(path: impl AsRef<Path>, patience: Duration) -> Result<Api> {
        Api::connect_if(path.as_ref(), patience, |_| None)
    }

    /// The same where a socket was found and not named: what answers there is believed only if its user is root, ours
    /// or the owner of this directory of services, or if not every user could have put the socket there.
    ///
    /// # Errors
    /// As [`connect`](Api::connect); [`Untrusted`](ErrorKind::Untrusted).
    pub fn connect_trusted(path: impl AsRef<Path>, patience: Duration, services: &Path) -> Result<Api> {
        let path = path.as_ref();
        Api::connect_if(path, patience, |stream| trust::doubt(stream, path, services))
    }

    fn connect_if(path: &Path, patience: Duration, doubt: impl Fn(&UnixStream) -> Option<String>) -> Result<Api> {
        for _ in 1..GREETINGS {
            match Api::greet(path, patience, &doubt) {
                Err(error) if error.kind() == ErrorKind::Closed => {}
                result => return result,
            }
        }
        Api::greet(path, patience, doubt)
    }

    fn greet(path: &Path, patience: Duration, doubt: impl Fn(&UnixStream) -> Option<String>) -> Result<Api> {
        let stream = socket::call(path, patience).map_err(|errno| unreachable(path, errno))?;
        if let Some(doubt) = doubt(&stream) {
            return Err(Error::new(path, "connect", ErrorKind::Untrusted).saying(doubt));
        }
        let events = VecDeque::new();
        let mut connection = Connection { path: path.to_owned(), stream, received: Vec::new(), events, patience };
        let answer = connection.request("hello", None)?;
        let said = answer.into_iter().find_map(|line| if let Line::Hello(hello) = line { Some(hello) } else { None });
        let hello = said.ok_or_else(|| connection.error("ask who it is", garbled("no hello")))?;
        match hello.api {
            api::VERSION => Ok(Api { connection, hello }),
            other => Err(connection.error("ask who it is", garbled(format!("version {other} of the protocol")))),
        }
    }

    /// The supervisor that answers.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The process that answers, as it is numbered where we are. In another PID namespace than ours it calls itself
    /// otherwise, see [`Hello::pid`], and so it does with the processes of its services. `None`: it is not to be seen.
    pub fn supervisor(&self) -> Option<Pid> {
        socket::server(&self.connection.stream)
    }

    /// What is known of all services and their loggers.
    ///
    /// # Errors
    /// As [`request`](Api::request).
    pub fn all(&mut self) -> Result<Vec<ServiceStatus>> {
        let lines = self.request("status", None)?.into_iter();
        Ok(lines.filter_map(|line| if let Line::Service(service) = line { Some(*service) } else { None }).collect())
    }

    /// What is known of one service; a logger is called `NAME/log`.
    ///
    /// # Errors
    /// As [`request`](Api::request).
    pub fn status(&mut self, name: impl AsRef<OsStr>) -> Result<ServiceStatus> {
        let mut lines = self.request("status", Some(name.as_ref()))?.into_iter();
        let status = lines.find_map(|line| if let Line::Service(service) = line { Some(*service) } else { None });
        status.ok_or_else(|| self.connection.error(words("status", Some(name.as_ref())), (ErrorKind::NoService, None)))
    }

    /// The last lives of a service, oldest first.
    ///
    /// # Errors
    /// As [`request`](Api::request).
    pub fn history(&mut self, name: impl AsRef<OsStr>) -> Result<Vec<RunRecord>> {
        let lines = self.request("history", Some(name.as_ref()))?.into_iter();
        Ok(lines.filter_map(|line| if let Line::Life(life) = line { Some(life) } else { None }).collect())
    }

    /// An order. When this returns the order has been taken, and may not have had its effect.
    ///
    /// # Errors
    /// As [`request`](Api::request); [`NotPermitted`](ErrorKind::NotPermitted) if we may only look,
    /// [`Busy`](ErrorKind::Busy) if it takes no more orders for now.
    pub fn order(&mut self, order: Order, name: impl AsRef<OsStr>) -> Result<()> {
        self.request(order.word(), Some(name.as_ref())).map(drop)
    }

    /// The template `NAME@` is to have so many instances, `NAME@1` and so on. When this returns the order has been taken,
    /// and may not have had its effect.
    ///
    /// # Errors
    /// As [`order`](Api::order); [`NoService`](ErrorKind::NoService) if there is no such template.
    pub fn scale(&mut self, name: impl AsRef<OsStr>, count: u32) -> Result<()> {
        let mut words = name.as_ref().to_owned();
        words.push(format!("={count}"));
        self.request("scale", Some(&words)).map(drop)
    }

    /// The directory of services is looked at.
    ///
    /// # Errors
    /// As [`order`](Api::order).
    pub fn rescan(&mut self) -> Result<()> {
        self.request("rescan", None).map(drop)
    }

    /// From now on [`Api::event`] hears of everything.
    ///
    /// # Errors
    /// As [`request`](Api::request).
    pub fn subscribe(&mut self) -> Result<()> {
        self.request("subscribe", None).map(drop)
    }

    /// The next event, or `None` when the deadline has come. One that has passed already takes what is there.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed), [`Garbled`](ErrorKind::Garbled).
    pub fn event(&mut self, deadline: impl Into<Deadline>) -> Result<Option<Event>> {
        if let Some(event) = self.connection.events.pop_front() {
            return Ok(Some(event));
        }
        let deadline = deadline.into();
        loop {
            match self.connection.line(deadline) {
                Ok(Line::Event(event)) => return Ok(Some(event)),
                Ok(_) => {}
                Err((ErrorKind::TimedOut, _)) => return Ok(None),
                Err(failure) => return Err(self.connection.error("wait for an event", failure)),
            }
        }
    }

    /// What services say comes over this connection from now on: its socket, and what has come already.
    #[cfg(feature = "cli")]
    pub(crate) fn logs(mut self) -> Result<(PathBuf, UnixStream, Vec<u8>)> {
        self.request("logs", None)?;
        let Connection { path, stream, received, .. } = self.connection;
        Ok((path, stream, received))
    }

    /// Asks for anything, and waits for the whole answer: all lines but the one that ends it.
    ///
    /// # Errors
    /// [`NoService`](ErrorKind::NoService), [`BadName`](ErrorKind::BadName), [`Declined`](ErrorKind::Declined);
    /// [`Closed`](ErrorKind::Closed), [`Garbled`](ErrorKind::Garbled), and [`TimedOut`](ErrorKind::TimedOut) if there is
    /// no answer within ten seconds. Then this connection is closed.
    pub fn request(&mut self, verb: &str, name: Option<&OsStr>) -> Result<Vec<Line>> {
        self.connection.request(verb, name)
    }
}

impl Connection {
    fn request(&mut self, verb: &str, name: Option<&OsStr>) -> Result<Vec<Line>> {
        self.exchange(verb, name).map_err(|failure| {
            if failure.0 == ErrorKind::TimedOut {
                self.hang_up(); // or the answer that comes late would be taken for that to the next question
            }
            self.error(words(verb, name), failure)
        })
    }

    fn hang_up(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.received.clear();
    }

    fn exchange(&mut self, verb: &str, name: Option<&OsStr>) -> std::result::Result<Vec<Line>, Failure> {
        let mut request = verb.as_bytes().to_vec();
        if let Some(name) = name {
            request.push(b' ');
            request.extend_from_slice(name.as_bytes());
        }
        if request.contains(&b'\n') || request.len() > api::LONGEST || name.is_some_and(OsStr::is_empty) {
            return Err((ErrorKind::BadName, None));
        }
        request.push(b'\n');
        self.stream.write_all(&request).map_err(|error| failed(&error))?;
        let mut lines = Vec::new();
        loop {
            match self.line(Deadline::after(self.patience))? {
                Line::Done(_) => return Ok(lines),
                Line::Error(error) => return Err((kind(&error), Some(error.text))),
                Line::Event(event) => self.events.push_back(event),
                line => lines.push(line),
            }
        }
    }

    /// The next line, whatever it is.
    fn line(&mut self, deadline: Deadline) -> std::result::Result<Line, Failure> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Line::decode(&line).map_err(garbled);
            }
            if self.received.len() > LONGEST {
                return Err(garbled("a line without an end"));
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Deadline) -> std::result::Result<(), Failure> {
        // A socket takes no limit of zero, and takes none at all for one that never comes. The shortest one that it takes
        // is some milliseconds of the kernel's clock, which who only looks what has come does not have.
        let left = deadline.0.map(|at| at.since(clock::now()));
        let only_looks = left.is_some_and(|left| left.is_zero());
        let limit = if only_looks { self.stream.set_nonblocking(true) } else { self.stream.set_read_timeout(left) };
        limit.map_err(|error| failed(&error))?;
        let mut piece = [0; 16 * 1024];
        let read = self.stream.read(&mut piece);
        if only_looks {
            self.stream.set_nonblocking(false).map_err(|error| failed(&error))?;
        }
        match read {
            Ok(0) => Err((ErrorKind::Closed, None)),
            Ok(length) => {
                self.received.extend_from_slice(piece.get(..length).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    fn error(&self, operation: impl Into<String>, (kind, words): Failure) -> Error {
        let error = Error::new(&self.path, operation, kind);
        match (words, kind) {
            (Some(words), _) => error.saying(words),
            (None, ErrorKind::TimedOut) => error.saying(SILENT),
            (None, _) => error,
        }
    }
}

impl AsFd for Api {
    /// Has input when the supervisor has said something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.stream.as_fd()
    }
}

fn words(verb: &str, name: Option<&OsStr>) -> String {
    name.map_or_else(|| format!("ask for {verb}"), |name| format!("ask for {verb} of {}", name.display()))
}

fn unreachable(path: &Path, errno: Errno) -> Error {
    let (kind, words) = match errno {
        Errno::EAGAIN => (ErrorKind::TimedOut, SILENT),
        Errno::EACCES | Errno::EPERM => (ErrorKind::NotPermitted, errno.desc()),
        Errno::ENOENT | Errno::ENOTDIR | Errno::ECONNREFUSED => (ErrorKind::NoSupervisor, errno.desc()),
        errno => (ErrorKind::System(errno as i32), errno.desc()),
    };
    Error::new(path, "connect", kind).saying(words)
}

fn kind(refusal: &api::Error) -> ErrorKind {
    match refusal.kind.known() {
        Some(ErrorCode::Service) => ErrorKind::NoService,
        Some(ErrorCode::Permission) => ErrorKind::NotPermitted,
        Some(ErrorCode::Busy) => ErrorKind::Busy,
        Some(ErrorCode::Request | ErrorCode::Failed) | None => ErrorKind::Declined,
    }
}

fn garbled(what: impl std::fmt::Display) -> Failure {
    (ErrorKind::Garbled, Some(format!("unsupported answer of the supervisor: {what}")))
}

fn failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => (ErrorKind::TimedOut, None),
        _ => (ErrorKind::Closed, None),
    }
}
