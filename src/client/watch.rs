//! Being told what changes.
//!
//! One inotify instance tells of every new status. It watches `supervise`, and the names that the way there depends on:
//! links, and directories that are removed and made anew. A supervisor that dies causes no such event; but the kernel
//! tells it, on the writing end of the FIFO that it has read from. And one that comes opens that FIFO.

use super::service::Liveness;
use super::until::StatusFile;
use super::{Deadline, Error, Format, Result, Service, Status};
use crate::sys::poll::Poller;
use crate::sys::watch::{Interest, Mark, News, Notifier};
use crate::sys::{Errno, clock};
use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// As many links as the kernel follows.
const HOPS: usize = 40;
/// How often the files are looked at where inotify cannot tell.
const TICK: Duration = Duration::from_millis(100);
/// The token of the notifier. Services have their place in the list.
const NEWS: u64 = u64::MAX;

/// Another status of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Of which service.
    pub service: Service,
    /// What was told before. `None` the first time, and if there was no supervisor.
    pub old: Option<Status>,
    /// What its supervisor says now. `None` if there is none any more, or if its status cannot be read.
    pub new: Option<Status>,
}

/// Tells what changes of one or many services. First comes the present status of each that is supervised, with no `old`
/// one; then what changes, one by one, never twice the same. What changes and changes again before it is looked at is
/// told once: a status file holds the present only.
///
/// It waits in no thread. [`AsFd`] is a descriptor for the caller's poll loop: at first, and whenever it has input,
/// [`try_next`](Watch::try_next) is to be called until there is no change left. As an iterator it waits, without end.
///
/// `supervise`, and the service directory, may go and come again, or be links that lead elsewhere from now on. Each
/// service takes one descriptor and a few inotify watches; where there are no more of these, that is an error, since there
/// is nothing that a poll loop could wait for. File systems of other machines do not tell what changes.
pub struct Watch {
    poller: Poller,
    /// `None` where this user has too many.
    notifier: Option<Notifier>,
    /// What is not told is looked for.
    may_look: bool,
    /// Not everything is told.
    looks: bool,
    slots: Vec<Option<Slot>>,
    marks: HashMap<Mark, Vec<Place>>,
    /// Services to be looked at.
    due: VecDeque<usize>,
}

struct Slot {
    service: Service,
    pulse: Option<Liveness>,
    seen: StatusFile,
    /// Nothing has been told yet.
    fresh: bool,
    /// It stands in `due`.
    due: bool,
    /// The way to it has changed.
    path_changed: bool,
    /// Its supervisor has died.
    lost: bool,
    /// What was written while it had no supervisor.
    stale: Option<Status>,
    /// What is watched for it.
    marks: Vec<Mark>,
}

/// What a mark means to one service.
struct Place {
    slot: usize,
    role: Role,
}

#[derive(PartialEq, Eq)]
enum Role {
    /// An entry of this name is on the way.
    Way(OsString),
    /// `supervise` itself.
    Supervise,
    /// The status file, where `supervise` cannot be watched.
    Record,
    /// A FIFO that a supervisor will open.
    Door,
}

impl Watch {
    /// Watches these services.
    ///
    /// # Errors
    /// [`Limit`](super::ErrorKind::Limit) if this user has too many watches, or we have too many open files,
    /// [`NotPermitted`](super::ErrorKind::NotPermitted) if we may not look at one of them.
    pub fn new<'s>(services: impl IntoIterator<Item = &'s Service>) -> Result<Watch> {
        let mut services = services.into_iter().peekable();
        let first = services.peek().map_or(Path::new("/"), |service| service.path());
        let mut watch = Watch::of_nothing(false).map_err(|errno| Error::of_watch(first, errno))?;
        for service in services {
            watch.add(service)?;
        }
        Ok(watch)
    }

    /// For a caller that waits here and nowhere else: where a limit of inotify is reached, everything is looked at
    /// again and again.
    pub(super) fn or_look() -> Result<Watch> {
        Watch::of_nothing(true).map_err(|errno| Error::of_watch(Path::new("/"), errno))
    }

    fn of_nothing(may_look: bool) -> std::result::Result<Watch, Errno> {
        let poller = Poller::new()?;
        let notifier = match Notifier::new() {
            Err(Errno::EMFILE) if may_look => None,
            notifier => Some(notifier?),
        };
        if let Some(notifier) = &notifier {
            poller.add(notifier, NEWS)?;
        }
        let (looks, slots, marks, due) = (notifier.is_none(), Vec::new(), HashMap::new(), VecDeque::new());
        Ok(Watch { poller, notifier, may_look, looks, slots, marks, due })
    }

    /// Watches this service as well.
    ///
    /// # Errors
    /// As [`new`](Watch::new).
    pub fn add(&mut self, service: &Service) -> Result<()> {
        self.enter(service).map(drop)
    }

    /// Watches this service no more.
    pub fn remove(&mut self, service: &Service) {
        let is_it = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.service == *service);
        while let Some(at) = self.slots.iter().position(is_it) {
            self.leave(at);
        }
    }

    /// What is watched.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.slots.iter().flatten().map(|slot| &slot.service)
    }

    /// The next change, if there is one already. Does not wait.
    ///
    /// # Errors
    /// The way to a service has changed, and its new one cannot be watched.
    pub fn try_next(&mut self) -> Result<Option<Change>> {
        self.next_by(Deadline(Some(crate::machine::Mono::default())))
    }

    /// The next change, or `None` when the deadline has come.
    ///
    /// # Errors
    /// As [`try_next`](Watch::try_next).
    pub fn next_by(&mut self, deadline: impl Into<Deadline>) -> Result<Option<Change>> {
        let deadline = deadline.into();
        while let Some((at, before)) = self.step(deadline)? {
            let Some(slot) = self.slots.get(at).and_then(Option::as_ref) else { continue };
            if before.status != slot.seen.status {
                let (service, old, new) = (slot.service.clone(), before.status, slot.seen.status);
                return Ok(Some(Change { service, old, new }));
            }
        }
        Ok(None)
    }

    /// The next service that is another than before, or is seen for the first time, and how it was seen before.
    pub(super) fn step(&mut self, deadline: Deadline) -> Result<Option<(usize, StatusFile)>> {
        loop {
            self.listen(Deadline(Some(crate::machine::Mono::default())));
            while let Some(at) = self.due.pop_front() {
                if let Some(before) = self.look(at)? {
                    return Ok(Some((at, before)));
                }
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            if !self.looks {
                self.listen(deadline);
                continue;
            }
            let tick = clock::now().after(TICK);
            self.listen(Deadline(Some(deadline.0.map_or(tick, |at| at.min(tick)))));
            (0..self.slots.len()).for_each(|at| self.touch(at, |slot| slot.path_changed = true));
        }
    }

    /// How a service is seen.
    pub(super) fn sight(&self, at: usize) -> StatusFile {
        self.slots.get(at).and_then(Option::as_ref).map(|slot| slot.seen).unwrap_or_default()
    }

    /// Takes a service in, and says under which number.
    pub(super) fn enter(&mut self, service: &Service) -> Result<usize> {
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let slot = Slot {
            service: service.clone(),
            pulse: None,
            seen: StatusFile::default(),
            fresh: true,
            due: true,
            path_changed: false,
            lost: false,
            stale: None,
            marks: Vec::new(),
        };
        match self.slots.get_mut(at) {
            Some(place) => *place = Some(slot),
            None => self.slots.push(Some(slot)),
        }
        self.due.push_back(at);
        let entered = self.find_way(at).and_then(|()| self.take_pulse(at));
        if entered.is_err() {
            self.leave(at);
        }
        entered.map(|()| at)
    }

    /// Lets a service go.
    pub(super) fn leave(&mut self, at: usize) {
        self.unmark(at, |_| true);
        self.due.retain(|due| *due != at);
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::take) {
            self.forget(slot.pulse);
        }
    }

    /// Waits for news, and notes which services are to be looked at.
    fn listen(&mut self, deadline: Deadline) {
        let ready: Vec<u64> = self.poller.wait(clock::now(), deadline.0).collect();
        for token in ready {
            match usize::try_from(token) {
                Ok(at) if token != NEWS => self.touch(at, |slot| slot.lost = true),
                _ => {
                    let news = self.notifier.as_ref().map(Notifier::news).unwrap_or_default();
                    news.into_iter().for_each(|news| self.hear(news));
                }
            }
        }
    }

    fn hear(&mut self, news: News) {
        let News::At(mark, name) = news else {
            return (0..self.slots.len()).for_each(|at| self.touch(at, |slot| slot.path_changed = true));
        };
        let places = self.marks.get(&mark).map(Vec::as_slice).unwrap_or_default();
        let concerned: Vec<(usize, bool)> =
            places.iter().filter_map(|place| Some((place.slot, place.role.changes_path(name.as_deref())?))).collect();
        for (at, path_changed) in concerned {
            self.touch(at, |slot| slot.path_changed |= path_changed);
        }
    }

    fn touch(&mut self, at: usize, note: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return };
        note(slot);
        if !std::mem::replace(&mut slot.due, true) {
            self.due.push_back(at);
        }
    }

    /// Looks at one service. How it was seen before, if it is seen otherwise now.
    fn look(&mut self, at: usize) -> Result<Option<StatusFile>> {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return Ok(None) };
        slot.due = false;
        let before = slot.seen;
        if slot.lost
            && !slot.path_changed
            && let Some(last) = last_words(slot)
        {
            slot.seen.status = Some(last);
            self.touch(at, |_| ()); // and then that it is dead
            return Ok(Some(before));
        }
        let service = slot.service.clone();
        if slot.path_changed {
            self.find_way(at)?;
        }
        // If there is no supervisor after this was read, none that comes later has written it.
        let earlier = service.record().ok();
        self.take_pulse(at)?;
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return Ok(None) };
        let (alive, record) = (slot.pulse.is_some(), service.record().ok());
        if !alive {
            slot.stale = earlier;
        } else if slot.stale != record || record.is_none_or(|record| !is_signed_late(&record)) {
            slot.stale = None;
        }
        slot.seen = StatusFile { alive, status: record.filter(|_| alive && slot.stale.is_none()) };
        let fresh = std::mem::take(&mut slot.fresh);
        Ok((fresh || slot.seen != before).then_some(before))
    }

    /// Makes sure that the end, or the coming, of a supervisor is heard.
    fn take_pulse(&mut self, at: usize) -> Result<()> {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return Ok(()) };
        let lost = std::mem::take(&mut slot.lost);
        if !lost && matches!(slot.pulse, Some(Liveness(Some(_)))) {
            return Ok(());
        }
        let (service, old) = (slot.service.clone(), slot.pulse.take());
        self.forget(old);
        let mut pulse = probe(&service)?;
        self.unmark(at, |role| *role == Role::Door);
        if pulse.is_none() {
            for door in service.fifos() {
                self.mark(at, door, Interest::Openings, Role::Door)?;
            }
            pulse = probe(&service)?; // it may have come meanwhile
        }
        if let Some(Liveness(Some(end))) = &pulse {
            self.unmark(at, |role| *role == Role::Door); // clients open it all the time
            let token = u64::try_from(at).unwrap_or(NEWS);
            self.poller.add(end, token).map_err(|errno| Error::of_watch(service.path(), errno))?;
        }
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) {
            slot.pulse = pulse;
        }
        Ok(())
    }

    /// Watches the way to a service, as it is now.
    fn find_way(&mut self, at: usize) -> Result<()> {
        self.unmark(at, |_| true);
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return Ok(()) };
        slot.path_changed = false;
        let (service, pulse) = (slot.service.clone(), slot.pulse.take());
        self.forget(pulse);
        self.follow(at, service.path())?;
        self.follow(at, service.supervise())?;
        match self.be_told(service.supervise(), Interest::Contents) {
            Ok(mark) => self.note(mark, at, Role::Supervise),
            Err(Errno::EACCES) => self.mark(at, service.status_file(), Interest::File, Role::Record)?,
            Err(Errno::ENOENT | Errno::ENOTDIR) => {} // the way tells when it comes
            Err(errno) => return Err(Error::of_watch(service.path(), errno)),
        }
        Ok(())
    }

    /// Watches the names that this path depends on: its last one, every link that it leads to, and what is missing.
    /// Each is watched before it is looked at, so nothing happens in between.
    fn follow(&mut self, at: usize, path: &Path) -> Result<()> {
        let mut path = path.to_owned();
        for _ in 0..HOPS {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { break };
            match self.be_told(parent, Interest::Names) {
                Ok(mark) => self.note(mark, at, Role::Way(name.to_owned())),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {
                    path = parent.to_owned();
                    continue;
                }
                Err(Errno::EACCES) => {} // without permission to read a directory we are not told
                Err(errno) => return Err(self.trouble(at, errno)),
            }
            let Ok(target) = std::fs::read_link(&path) else { break };
            path = parent.join(target);
        }
        Ok(())
    }

    fn mark(&mut self, at: usize, path: &Path, interest: Interest, role: Role) -> Result<()> {
        match self.be_told(path, interest) {
            Ok(mark) => self.note(mark, at, role),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
            Err(errno) => return Err(self.trouble(at, errno)),
        }
        Ok(())
    }

    /// `None` where that is not to be had, and is looked for instead.
    fn be_told(&mut self, path: &Path, interest: Interest) -> std::result::Result<Option<Mark>, Errno> {
        let Some(notifier) = &self.notifier else { return Ok(None) };
        match notifier.add(path, interest) {
            Err(Errno::ENOSPC) if self.may_look => {
                self.looks = true;
                Ok(None)
            }
            mark => mark.map(Some),
        }
    }

    fn trouble(&self, at: usize, errno: Errno) -> Error {
        let slot = self.slots.get(at).and_then(Option::as_ref);
        Error::of_watch(slot.map_or(Path::new("/"), |slot| slot.service.path()), errno)
    }

    fn note(&mut self, mark: Option<Mark>, at: usize, role: Role) {
        let Some(mark) = mark else { return };
        self.marks.entry(mark).or_default().push(Place { slot: at, role });
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) {
            slot.marks.push(mark);
        }
    }

    fn unmark(&mut self, at: usize, which: impl Fn(&Role) -> bool) {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return };
        slot.marks.retain(|mark| {
            let Some(places) = self.marks.get_mut(mark) else { return false };
            places.retain(|place| place.slot != at || !which(&place.role));
            let still = places.iter().any(|place| place.slot == at);
            if places.is_empty() {
                self.marks.remove(mark);
                if let Some(notifier) = &self.notifier {
                    notifier.remove(*mark);
                }
            }
            still
        });
    }

    fn forget(&self, pulse: Option<Liveness>) {
        if let Some(Liveness(Some(end))) = pulse {
            let _ = self.poller.remove(end);
        }
    }
}

impl Iterator for Watch {
    type Item = Result<Change>;

    /// Waits for the next change, however long that takes. `None` only if no service is watched.
    fn next(&mut self) -> Option<Result<Change>> {
        if self.slots.iter().all(Option::is_none) {
            return None;
        }
        self.next_by(Deadline::NEVER).transpose()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.services()).finish()
    }
}

impl AsFd for Watch {
    /// Has input while there may be a change to be told.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl Role {
    /// Whether something that happened to this name (to the place itself, if `None`) matters; and whether it changes the
    /// way.
    fn changes_path(&self, name: Option<&OsStr>) -> Option<bool> {
        match (self, name.map(OsStr::to_str)) {
            (Role::Way(own), Some(_)) => (name == Some(own)).then_some(true),
            (Role::Supervise, Some(Some("status"))) => Some(false),
            (Role::Supervise, Some(Some("ok" | "control"))) => Some(false),
            (Role::Supervise, Some(_)) => None,
            (Role::Door, _) => Some(false),
            (Role::Way(_) | Role::Supervise | Role::Record, _) => Some(true),
        }
    }
}

/// A supervisor of s6 can be seen before it writes its first status, which is another one than any before. What stands
/// there until then is the word of a dead one.
fn is_signed_late(record: &Status) -> bool {
    matches!(record.format, Format::S6 | Format::S6Long)
}

/// What a supervisor that has died said at last, if that was not seen yet.
fn last_words(slot: &Slot) -> Option<Status> {
    let last = slot.service.record().ok()?;
    (slot.seen.alive && slot.seen.status.is_some_and(|seen| seen != last)).then_some(last)
}

/// A sign of life. Where we may not look, what is written is taken for true.
fn probe(service: &Service) -> Result<Option<Liveness>> {
    match service.pulse() {
        Err(error) if error.kind() == super::ErrorKind::NotPermitted && service.record().is_ok() => {
            Ok(Some(Liveness(None)))
        }
        result => result,
    }
}
