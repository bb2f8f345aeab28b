//! The same operation on many services, some at a time, within one time limit.

use super::check::Asking;
use super::until::StatusFile;
use super::watch::Watch;
use super::{Deadline, Error, ErrorKind, Kind, Result, Service, Status, Until};
use crate::machine::Command;
use crate::sys::clock;
use std::io;

/// As many services are dealt with at a time, if nothing else is said.
const AT_ONCE: usize = 16;

/// What is to be done with a service, and when it counts as done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Operation {
    /// Ordered up; done when `run` runs.
    Up,
    /// Ordered down; done when nothing runs any more, `finish` included.
    Down,
    /// Ordered once; done when it has been started, or runs already.
    Once,
    /// The stop signal, CONT, and up; done when `run` runs as another process than before.
    Restart,
    /// Down, and its supervisor leaves; done when the supervisor is gone. See [`Service::exit`].
    Exit,
    /// Other orders; done when they are sent.
    Send(Vec<Command>),
    /// No order; done when it is so.
    Wait(Until),
}

impl Operation {
    /// The order, and what is waited for behind it.
    fn begin(&self, service: &Service, before: StatusFile) -> Result<Option<Until>> {
        if !before.alive && !matches!(self, Operation::Wait(_)) {
            return Err(service.unsupervised(&self.words()));
        }
        Ok(Some(match self {
            Operation::Up => service.up().map(|()| Until::Up)?,
            Operation::Down => service.down().map(|()| Until::Down)?,
            Operation::Once => service.once().map(|()| Until::Started(before.status))?,
            Operation::Restart => service.restart().map(|()| Until::Restarted(before.status))?,
            Operation::Exit => service.exit().map(|()| Until::Gone)?,
            Operation::Send(commands) => return service.send(commands).map(|()| None),
            Operation::Wait(Until::Ready) => service.can_become_ready().map(|()| Until::Ready)?,
            Operation::Wait(until) => *until,
        }))
    }

    fn words(&self) -> String {
        match self {
            Operation::Up => "send up".into(),
            Operation::Down => "send down".into(),
            Operation::Once => "send once".into(),
            Operation::Restart => "send restart".into(),
            Operation::Exit => "send exit".into(),
            Operation::Send(_) => "send orders".into(),
            Operation::Wait(until) => waiting(*until),
        }
    }
}

fn waiting(until: Until) -> String {
    format!("wait until {}", until.sentence())
}

/// What came of it, for one service.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which service.
    pub service: Service,
    /// The status when it was done: `None` if its supervisor was to leave, or if nothing was waited for.
    pub result: Result<Option<Status>>,
}

/// Many services. Each operation is given to all of them, a bounded number at a time, by one thread that waits for all
/// at once. A service that is not done at the deadline has [timed out](ErrorKind::TimedOut), and one whose turn has not
/// come by then gets [no order any more](ErrorKind::NotItsTurn). Where there is none to give, each is looked at at
/// least once.
///
/// Nothing is polled, but for one case: where this user has no more inotify instances or watches, those that are dealt
/// with are looked at ten times a second.
#[derive(Clone, Debug)]
pub struct Manager {
    services: Vec<Service>,
    at_once: usize,
}

impl Manager {
    /// Of these services, in this order.
    pub fn new(services: impl IntoIterator<Item = Service>) -> Manager {
        Manager { services: services.into_iter().collect(), at_once: AT_ONCE }
    }

    /// So many at a time: at least 1; 16 if nothing is said. Each takes one descriptor while it is dealt with.
    pub fn at_once(self, at_once: usize) -> Manager {
        Manager { at_once: at_once.max(1), ..self }
    }

    /// Its services.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Starts all. See [`Operation::Up`]. One outcome for each service, in their order; so with all of these.
    pub fn up(&self, deadline: impl Into<Deadline>) -> Vec<Outcome> {
        self.perform(&Operation::Up, deadline)
    }

    /// Stops all. See [`Operation::Down`].
    pub fn down(&self, deadline: impl Into<Deadline>) -> Vec<Outcome> {
        self.perform(&Operation::Down, deadline)
    }

    /// Restarts all. See [`Operation::Restart`].
    pub fn restart(&self, deadline: impl Into<Deadline>) -> Vec<Outcome> {
        self.perform(&Operation::Restart, deadline)
    }

    /// Waits for all.
    pub fn wait(&self, until: Until, deadline: impl Into<Deadline>) -> Vec<Outcome> {
        self.perform(&Operation::Wait(until), deadline)
    }

    /// Does this with all.
    pub fn perform(&self, operation: &Operation, deadline: impl Into<Deadline>) -> Vec<Outcome> {
        let mut results = perform(&self.services, self.at_once, operation, deadline.into());
        results.resize_with(self.services.len(), || None); // it has this length
        let outcome = |(service, result): (&Service, Option<Result<_>>)| Outcome {
            service: service.clone(),
            result: result.unwrap_or_else(|| Err(Error::new(service.path(), operation.words(), ErrorKind::NotItsTurn))),
        };
        self.services.iter().zip(results).map(outcome).collect()
    }

    /// What all of them are doing now.
    pub fn status(&self) -> Vec<Outcome> {
        let outcome = |service: &Service| Outcome { service: service.clone(), result: service.status().map(Some) };
        self.services.iter().map(outcome).collect()
    }
}

/// The same for one service.
pub(super) fn perform_one(service: &Service, operation: Operation, deadline: Deadline) -> Result<Option<Status>> {
    let mut results = perform(std::slice::from_ref(service), 1, &operation, deadline);
    results.pop().flatten().unwrap_or_else(|| Err(Error::new(service.path(), operation.words(), ErrorKind::TimedOut)))
}

/// A service that is being dealt with.
struct Work {
    service: usize,
    /// Its number in the watch.
    at: usize,
    /// What is waited for; `None` before the order is sent.
    until: Option<Until>,
    /// Where its `./check` is what says that it is ready.
    check: Option<Asking>,
}

/// One result for each service; `None` for those whose turn has not come in time.
fn perform(
    services: &[Service],
    at_once: usize,
    operation: &Operation,
    deadline: Deadline,
) -> Vec<Option<Result<Option<Status>>>> {
    let mut results: Vec<Option<Result<Option<Status>>>> = services.iter().map(|_| None).collect();
    let mut watch = match Watch::or_look() {
        Ok(watch) => watch,
        Err(error) => return services.iter().map(|service| Some(Err(error.clone().about(service.path())))).collect(),
    };
    let mut queue = services.iter().enumerate();
    let mut works: Vec<Work> = Vec::new();
    loop {
        while works.len() < at_once
            && let Some((service, it)) = queue.next()
        {
            match watch.enter(it) {
                Ok(at) => works.push(Work { service, at, until: None, check: None }),
                Err(error) => put(&mut results, service, Err(error.during(operation.words()))),
            }
        }
        if works.is_empty() {
            return results;
        }
        let asked = works.iter().filter_map(|work| work.check.as_ref()?.deadline(clock::now())).min();
        let concerned = match watch.step(deadline.min(Deadline(asked))) {
            Ok(Some((at, _))) => vec![at],
            Ok(None) if !deadline.has_passed() => {
                works.iter().filter(|work| work.check.is_some()).map(|work| work.at).collect()
            }
            Ok(None) => {
                for work in works.drain(..) {
                    watch.leave(work.at);
                    if let (Some(service), Some(until)) = (services.get(work.service), work.until) {
                        let late = Error::new(service.path(), waiting(until), ErrorKind::TimedOut);
                        put(&mut results, work.service, Err(late));
                    }
                }
                if !matches!(operation, Operation::Wait(_)) {
                    return results;
                }
                continue;
            }
            Err(error) => {
                // One of them cannot be watched any more; which one, its path says.
                let lost = |work: &Work| services.get(work.service).is_some_and(|it| it.path() == error.path());
                let Some(place) = works.iter().position(lost) else { return results };
                let work = works.swap_remove(place);
                watch.leave(work.at);
                put(&mut results, work.service, Err(error.during(operation.words())));
                continue;
            }
        };
        for at in concerned {
            let Some(place) = works.iter().position(|work| work.at == at) else { continue };
            let (Some(work), sight) = (works.get_mut(place), watch.sight(at)) else { continue };
            let Some(service) = services.get(work.service) else { continue };
            if let Some(result) = go_on(work, service, operation, sight) {
                put(&mut results, work.service, result);
                works.swap_remove(place);
                watch.leave(at);
            }
        }
    }
}

/// Sends the order, or looks whether it is carried out. A result, if there is one already.
fn go_on(
    work: &mut Work,
    service: &Service,
    operation: &Operation,
    sight: StatusFile,
) -> Option<Result<Option<Status>>> {
    let until = match work.until {
        Some(until) => until,
        None => match operation.begin(service, sight) {
            Ok(Some(until)) => {
                let by_check = until == Until::Ready && service.kind() == Ok(Kind::Onit);
                work.check = by_check.then(|| Asking::new(service.path()));
                *work.until.insert(until)
            }
            Ok(None) => return Some(Ok(None)),
            Err(error) => return Some(Err(error)),
        },
    };
    let never = |kind| match kind {
        ErrorKind::NoSupervisor => service.unsupervised(&waiting(until)),
        kind => Error::new(service.path(), waiting(until), kind),
    };
    let cannot_ask = |why: io::Error| {
        let error = Error::of_io(service.path(), &waiting(until), &why);
        let words = format!("./check: {}", error.why());
        error.saying(words)
    };
    let met = match &mut work.check {
        Some(check) => {
            let is_up = Until::Up.is_met(sight).map_err(never);
            is_up.and_then(|is_up| check.look(is_up, clock::now()).map_err(cannot_ask))
        }
        None => until.is_met(sight).map_err(never),
    };
    match met {
        Ok(true) => Some(Ok(sight.status.filter(|_| until != Until::Gone))),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    }
}

fn put(results: &mut [Option<Result<Option<Status>>>], at: usize, result: Result<Option<Status>>) {
    if let Some(place) = results.get_mut(at) {
        *place = Some(result);
    }
}
