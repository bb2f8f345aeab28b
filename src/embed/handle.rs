//! What a program has of its supervisor.

use super::metrics::{self, Metrics};
use super::own::Own;
use super::status::ProcessStatus;
use crate::client::api::{Api, Event, Order};
use crate::client::{Deadline, Error, ErrorKind, Result, ServiceState};
use crate::sys::{clock, poll, signals, socket};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What was told to end at a deadline and is killed then has this long.
const AFTER_KILL: Duration = Duration::from_secs(5);
/// A supervisor that has failed has so long to be there again.
const AGAIN: Duration = Duration::from_secs(5);
const TRY_EVERY: Duration = Duration::from_millis(10);

type Crashes = Arc<Mutex<BTreeMap<String, u64>>>;

/// A supervisor that runs. Dropped, it stops all processes that are not [detached](super::Process::detached), and does not
/// wait for that. It can be sent to, and used from, any thread.
#[derive(Debug)]
pub struct Handle {
    directory: PathBuf,
    api: Mutex<Own<Api>>,
    connection: Own<UnixStream>,
    /// Where the program is asked, if it has checks of its own.
    questions: Option<Own<UnixListener>>,
    crashes: Crashes,
}

impl Handle {
    pub(super) fn new(
        directory: &Path,
        api: Api,
        connection: UnixStream,
        questions: Option<Own<UnixListener>>,
    ) -> io::Result<Handle> {
        let crashes = Crashes::default();
        let watch = Watch { events: subscribe(directory).map_err(io::Error::other)?, crashes: Arc::clone(&crashes) };
        signals::thread_without_signals("onit-events", || watch.run())?;
        let (api, connection) = (Mutex::new(Own::new(api)), Own::new(connection));
        Ok(Handle { directory: directory.to_owned(), api, connection, questions, crashes })
    }

    /// The directory of services that is supervised.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How all processes are, by name.
    ///
    /// # Errors
    /// The supervisor has ended, or does not answer within ten seconds.
    pub fn status(&self) -> Result<Vec<ProcessStatus>> {
        Ok(self.ask(Api::all)?.into_iter().map(ProcessStatus::of).collect())
    }

    /// How this process is.
    ///
    /// # Errors
    /// As [`status`](Handle::status); there is no such process.
    pub fn status_of(&self, name: &str) -> Result<ProcessStatus> {
        self.ask(|api| api.status(name)).map(ProcessStatus::of)
    }

    /// Stops a process, and does not start it again. Does not wait for that.
    ///
    /// # Errors
    /// As [`status_of`](Handle::status_of).
    pub fn stop(&self, name: &str) -> Result<()> {
        self.order(Order::Down, name)
    }

    /// Starts a process that was stopped, is done or has failed. One that runs goes on. Does not wait for that.
    ///
    /// # Errors
    /// As [`status_of`](Handle::status_of).
    pub fn start(&self, name: &str) -> Result<()> {
        self.order(Order::Up, name)
    }

    /// Stops a process and starts it again. Does not wait for that.
    ///
    /// # Errors
    /// As [`status_of`](Handle::status_of).
    pub fn restart(&self, name: &str) -> Result<()> {
        self.order(Order::Restart, name)
    }

    /// Any other order to a process, such as a signal.
    ///
    /// # Errors
    /// As [`status_of`](Handle::status_of).
    pub fn order(&self, order: Order, name: &str) -> Result<()> {
        self.ask(|api| api.order(order, name))
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// As [`status`](Handle::status).
    pub fn events(&self) -> Result<Events> {
        subscribe(&self.directory)
    }

    /// What has become of all processes, by name.
    ///
    /// # Errors
    /// As [`status`](Handle::status).
    pub fn metrics(&self) -> Result<Vec<Metrics>> {
        let all = self.status()?;
        let crashes = locked(&self.crashes);
        let of = |status: ProcessStatus| {
            let count = crashes.get(&status.name).copied().unwrap_or_default();
            Metrics::of(status, count)
        };
        Ok(all.into_iter().map(of).collect())
    }

    /// The same as a text for Prometheus, in its format 0.0.4.
    ///
    /// # Errors
    /// As [`status`](Handle::status).
    pub fn prometheus(&self) -> Result<String> {
        self.metrics().map(|all| metrics::prometheus(&all))
    }

    /// Stops all processes in order, detached ones as well, and waits for the end of the supervisor. What has not ended at
    /// the deadline is killed.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut): something was killed, or has not even ended then.
    pub fn shutdown(self, deadline: impl Into<Deadline>) -> Result<()> {
        let Deadline(at) = deadline.into();
        let told = self.tell_to_stop();
        if told.and_then(|()| self.is_over_by(at.map_or(Duration::MAX, |at| at.since(clock::now())))).unwrap_or(true) {
            return Ok(());
        }
        let _ = self.tell_to_stop(); // a second time is for more haste
        let _ = self.is_over_by(AFTER_KILL);
        Err(self.error("stop all processes", ErrorKind::TimedOut))
    }

    fn tell_to_stop(&self) -> io::Result<()> {
        self.connection.get().map_or(Ok(()), |mut connection| connection.write_all(b"x"))
    }

    /// Whether the supervisor ends in this time.
    fn is_over_by(&self, span: Duration) -> io::Result<bool> {
        let Some(connection) = self.connection.get() else { return Ok(true) };
        poll::input(connection, clock::now().after(span))?;
        is_over(connection)
    }

    /// Asks, once more if the supervisor has failed and is there again.
    fn ask<T>(&self, mut question: impl FnMut(&mut Api) -> Result<T>) -> Result<T> {
        let mut api = locked(&self.api);
        let answer = api.get_mut().map(&mut question);
        match answer {
            Some(Err(error)) if error.kind() == ErrorKind::Closed => {
                let mut again = connect_again(&self.directory)?;
                let answer = question(&mut again);
                *api = Own::new(again);
                answer
            }
            Some(answer) => answer,
            None => Err(self.error("ask the supervisor", ErrorKind::Closed)),
        }
    }

    fn error(&self, operation: &str, kind: ErrorKind) -> Error {
        Error::new(&self.directory, operation, kind)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A child that was forked, and a thread of ours, may hold copies.
        let _ = self.connection.get().map(|connection| connection.shutdown(Shutdown::Both));
        let _ = self.questions.as_ref().and_then(Own::get).map(socket::stop);
    }
}

/// What happens to the processes, as it happens; it waits for that. It ends with an error when the supervisor has ended.
#[derive(Debug)]
pub struct Events {
    directory: PathBuf,
    api: Own<Api>,
}

impl Events {
    /// The next event, or `None` when the deadline has come. One that has passed already takes what is there.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed): the supervisor has ended. One that has failed and goes on has lost its listeners.
    pub fn next_by(&mut self, deadline: impl Into<Deadline>) -> Result<Option<Event>> {
        let closed = || Error::new(&self.directory, "wait for an event", ErrorKind::Closed);
        self.api.get_mut().ok_or_else(closed)?.event(deadline)
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        self.next_by(Deadline::NEVER).transpose()
    }
}

impl AsFd for Events {
    /// Has input when something has happened. What was read together with an earlier event gives no input any more: take
    /// events with [`next_by`](Events::next_by) until there is none.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.api.as_fd()
    }
}

impl AsRawFd for Events {
    /// The same descriptor.
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// The thread that counts crashes, and tells the `log` crate.
struct Watch {
    events: Events,
    crashes: Crashes,
}

impl Watch {
    fn run(mut self) {
        loop {
            match self.events.next_by(Deadline::NEVER) {
                Ok(Some(event)) => self.note(&event),
                Ok(None) => {}
                Err(_) if self.events.api.get().is_none() => return,
                Err(_) => match connect_again(&self.events.directory)
                    .and_then(|api| subscribed(api, &self.events.directory))
                {
                    Ok(events) => self.events = events,
                    Err(_) => return,
                },
            }
        }
    }

    fn note(&self, event: &Event) {
        let name = event.name.clone().unwrap_or_default();
        if is_crash(event) {
            *locked(&self.crashes).entry(name).or_default() += 1;
        }
        #[cfg(feature = "log")]
        record(event);
    }
}

/// Whether a process has ended without being told to, and not with 0.
fn is_crash(event: &Event) -> bool {
    let was = event.old.as_ref().and_then(|state| state.known());
    let failed = event.exit.as_ref().is_some_and(|exit| exit.code != Some(0));
    failed && matches!(was, Some(ServiceState::Up | ServiceState::Starting))
}

#[cfg(feature = "log")]
fn record(event: &Event) {
    let name = event.name.as_deref().unwrap_or_default();
    let level = if is_crash(event) { log::Level::Warn } else { log::Level::Info };
    let new = event.new.as_ref().map(ToString::to_string).or(event.health.as_ref().map(ToString::to_string));
    let (what, new) = (event.what.to_string(), new.unwrap_or_default());
    let old = event.old.as_ref().map(ToString::to_string).unwrap_or_default();
    let (pid, code) = (event.pid, event.exit.as_ref().and_then(|exit| exit.code));
    let signal = event.exit.as_ref().and_then(|exit| exit.signal);
    let (what, new, old) = (what.as_str(), new.as_str(), old.as_str());
    log::log!(target: "onit::embed", level, what, process = name, old, new, pid, code, signal; "{name}: {what} {new}");
}

fn subscribe(directory: &Path) -> Result<Events> {
    subscribed(Api::connect(socket_in(directory))?, directory)
}

fn subscribed(mut api: Api, directory: &Path) -> Result<Events> {
    api.subscribe()?;
    Ok(Events { directory: directory.to_owned(), api: Own::new(api) })
}

/// Connects to a supervisor that has hung up, and may have failed.
fn connect_again(directory: &Path) -> Result<Api> {
    let end = clock::now().after(AGAIN);
    loop {
        match Api::connect(socket_in(directory)) {
            Err(error) if clock::now() < end && directory.exists() => {
                let passed = poll::pause(TRY_EVERY);
                passed.map_err(|_| error)?;
            }
            answer => return answer,
        }
    }
}

/// Where the supervisor of this directory is spoken to.
pub(super) fn socket_in(directory: &Path) -> PathBuf {
    directory.join(".onit/api")
}

/// Whether the supervisor has ended. It says nothing here.
pub(super) fn is_over(connection: &UnixStream) -> io::Result<bool> {
    connection.set_nonblocking(true)?;
    let mut connection = connection;
    match connection.read(&mut [0]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
        Err(error) => Err(error),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::api::{EventKind, ExitRecord};

    #[test]
    fn a_crash_is_an_end_without_an_order_that_fails() {
        let event = |old: ServiceState, code| Event {
            what: EventKind::State.into(),
            time: 0.0,
            name: Some("x".into()),
            old: Some(old.into()),
            new: Some(ServiceState::Backoff.into()),
            want: None,
            pid: None,
            exit: Some(ExitRecord { code, signal: None, name: None, core: false }),
            health: None,
        };
        assert!(is_crash(&event(ServiceState::Up, Some(1))) && is_crash(&event(ServiceState::Starting, None)));
        assert!(!is_crash(&event(ServiceState::Up, Some(0))) && !is_crash(&event(ServiceState::Stopping, Some(1))));
        assert!(!is_crash(&Event { exit: None, ..event(ServiceState::Up, None) }));
    }
}
