//! The services under supervision, and everything that is held open for them.

use super::index::Index;
use super::journal::Journal;
use super::listeners::Listeners;
use super::mux::Outputs;
use super::notify::{Said, Store};
use super::sockets::Sockets;
use super::warnings::Warnings;
use crate::machine::fleet::{LogLink, Member};
use crate::machine::service::Service;
use crate::machine::{Mono, Pid, ServiceState, View};
use crate::sys::fs::{self, FileId};
use crate::sys::kept::Kept;
use crate::sys::notify::Receiver;
use crate::wire::status::Format;
use crate::wire::svdir::template_and_instance;
use crate::wire::tai::Tai;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

/// Where a service stands in the table.
pub type SlotId = usize;

/// Which service a directory is for, whatever its name: that of a template is for each of its instances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Identity {
    /// The directory.
    pub dir: FileId,
    /// A number that stands for the name of the instance; zero if it is none.
    instance: u64,
}

impl Identity {
    /// This directory, for the instance of this name.
    pub fn new(dir: FileId, instance: Option<&[u8]>) -> Identity {
        Identity { dir, instance: instance.map_or(0, number_of) }
    }

    /// Whether it is an instance of a template.
    pub fn is_instance(self) -> bool {
        self.instance != 0
    }

    /// Two numbers that no other service of this system has.
    pub fn numbers(self) -> (u64, u64) {
        (self.dir.device, self.dir.inode ^ self.instance)
    }

    /// The same instance in another directory: its logger.
    pub fn with_dir(self, dir: FileId) -> Identity {
        Identity { dir, ..self }
    }
}

/// Never zero, and of two names not the same. (FNV-1a: a template has few instances.)
fn number_of(instance: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    instance.iter().fold(0xcbf2_9ce4_8422_2325, step).max(1)
}

/// One service.
pub struct Slot {
    /// Its name in the directory; `web/log` for a logger.
    pub name: OsString,
    /// Which service it is, whatever its name.
    pub id: Identity,
    /// To how many instances its template was scaled, and one; zero if it was not.
    pub scale: u16,
    /// That directory. A child that starts in it may need it longer than we do.
    pub dir: Rc<OwnedFd>,
    /// What it was told to be, and what it is.
    pub service: Service,
    /// Its `supervise`.
    pub files: Files,
    /// What it is connected with.
    pub log_pipe: LogPipe,
    /// Through this its `run` says that it is ready.
    pub ready_link: Option<ReadyLink>,
    /// And through this a second `run` does.
    pub second_link: Option<Box<ReadyLink>>,
    /// What its `run` has said of itself, by notifications.
    pub said: Option<Box<Said>>,
    /// What it has here from one `run` to the next.
    pub stored: Option<Box<Store>>,
    /// What is bound for it.
    pub sockets: Option<Box<Sockets>>,
    /// What reads from it in place of our standard output and error.
    pub outputs: Option<Box<Outputs>>,
    /// What those who wait for it have not been told yet.
    pub listeners: Option<Box<Listeners>>,
    /// All four, for the supervisor that goes on after us.
    pub kept: Option<Kept>,
    /// What `supervise/status` says.
    pub published: Option<(View, Tai)>,
    /// When what of `supervise` could not be opened is tried again.
    pub reopen_at: Option<Mono>,
    /// When a status that could not be written is tried again.
    pub rewrite_at: Option<Mono>,
    /// Why its `run` ends was told: it could not be executed, or `health` has failed. So its end is no news.
    pub end_is_explained: bool,
    /// Its `run` has a process that has not executed its program yet.
    pub is_pending: bool,
    /// What was said of it, so that it is said once.
    pub warnings: Warnings,
    /// The place of its status was not there the last time.
    pub is_place_missing: bool,
    /// Its `run` is PID 1 of a PID namespace of its own.
    pub has_pid_namespace: bool,
    /// It depends on others, by its files.
    pub has_links: bool,
    /// It left the directory, or all are told to end: it is not taken in again.
    pub removed: bool,
    /// Its control FIFO waits until `control/X` is through.
    pub control_paused: bool,
    armed: Option<Mono>,
    touched: bool,
    /// It may differ from its record.
    is_dirty: bool,
}

/// A `supervise` directory.
#[derive(Default)]
pub struct Files {
    /// What stands in for the service directory, where that cannot be written.
    pub home: Option<OwnedFd>,
    /// Held by both kinds of lock as long as the service is ours. Never read.
    pub lock: Option<OwnedFd>,
    /// Where orders come from.
    pub control: Option<OwnedFd>,
    /// Held open so that tools see that a supervisor is there. Never read.
    pub ok: Option<OwnedFd>,
    /// Its file system cannot exchange two names.
    pub renames_only: bool,
    /// Which record is written.
    pub format: Format,
}

impl Files {
    /// Whether it is not to be seen that a supervisor is there, although it should.
    pub fn lack_ok(&self) -> bool {
        self.ok.is_none() && self.format.has_ok()
    }
}

/// Where a `run` says that it is ready.
#[derive(Debug)]
pub enum ReadyLink {
    /// A newline comes out of this.
    Pipe(OwnedFd),
    /// Notifications come here.
    Socket(Receiver),
}

impl ReadyLink {
    /// One that a supervisor before us has left.
    pub fn restore(descriptor: OwnedFd) -> ReadyLink {
        Receiver::restore(descriptor).map_or_else(ReadyLink::Pipe, ReadyLink::Socket)
    }
}

impl AsFd for ReadyLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            ReadyLink::Pipe(pipe) => pipe.as_fd(),
            ReadyLink::Socket(socket) => socket.as_fd(),
        }
    }
}

/// A service and its logger.
pub enum LogPipe {
    /// It has no logger and is none.
    Alone,
    /// It has one. The pipe is held as long as anything may be written to it.
    Producer {
        /// The logger.
        logger: SlotId,
        /// Its standard input; ours to write.
        pipe: Option<OwnedFd>,
    },
    /// It is one.
    Logger {
        /// Of this service.
        producer: SlotId,
        /// What it reads from.
        pipe: OwnedFd,
    },
    /// Its logger is a service of its own, and may be that of others.
    Writer {
        /// Which one; `None` as long as that is not there.
        logger: Option<SlotId>,
        /// The standard input of that one; ours to write.
        pipe: OwnedFd,
    },
    /// It is a service of its own, to which others write.
    Shared {
        /// What it reads from.
        pipe: OwnedFd,
    },
}

impl Slot {
    /// A service that is about to be supervised.
    pub fn new(name: OsString, id: Identity, dir: OwnedFd, service: Service, files: Files, log_pipe: LogPipe) -> Slot {
        Slot {
            name,
            id,
            scale: 0,
            dir: Rc::new(dir),
            service,
            files,
            log_pipe,
            ready_link: None,
            second_link: None,
            said: None,
            stored: None,
            sockets: None,
            outputs: None,
            listeners: None,
            kept: None,
            published: None,
            reopen_at: None,
            rewrite_at: None,
            end_is_explained: false,
            is_pending: false,
            warnings: Warnings::default(),
            is_place_missing: false,
            has_pid_namespace: false,
            has_links: false,
            removed: false,
            control_paused: false,
            armed: None,
            touched: false,
            is_dirty: false,
        }
    }

    /// Where its `supervise` is.
    pub fn home(&self) -> &OwnedFd {
        self.files.home.as_ref().unwrap_or(&self.dir)
    }

    /// What its status file is to say.
    pub fn view_in_files(&self) -> View {
        self.service.view().in_files(self.files.format.tells_readiness())
    }

    /// What is open of `supervise` and was removed there is ours no more. The caller has to bury it.
    pub fn give_up_removed(&mut self) -> Vec<OwnedFd> {
        let Files { home, lock, control, ok, renames_only: _, format: _ } = &mut self.files;
        let stood_in = home.take_if(|home| fs::is_removed(home));
        let home = home.as_ref().unwrap_or(&self.dir);
        let known = [(lock, "supervise/lock"), (control, "supervise/control"), (ok, "supervise/ok")];
        let removed = known.map(|(file, path)| file.take_if(|file| !fs::stands_at(file, home, path)));
        removed.into_iter().chain([stood_in]).flatten().collect()
    }

    /// Which instance of its template it is, if it is one; that of a logger is that of its service.
    pub fn instance(&self) -> Option<&OsStr> {
        let name = self.name.as_bytes();
        let own = name.strip_suffix(b"/log").filter(|_| self.is_logger()).unwrap_or(name);
        let (_, instance) = template_and_instance(own).filter(|_| self.id.is_instance())?;
        Some(OsStr::from_bytes(instance))
    }

    /// That of its own, if it has one.
    pub fn logger(&self) -> Option<SlotId> {
        match &self.log_pipe {
            LogPipe::Producer { logger, .. } => Some(*logger),
            LogPipe::Alone | LogPipe::Logger { .. } | LogPipe::Writer { .. } | LogPipe::Shared { .. } => None,
        }
    }

    /// Whether it is a logger.
    pub fn is_logger(&self) -> bool {
        matches!(self.log_pipe, LogPipe::Logger { .. })
    }

    /// Whether its `run` may say something of itself by notifications.
    pub fn notifies(&self) -> bool {
        matches!(self.ready_link, Some(ReadyLink::Socket(_)))
    }

    /// What the rules for a service and its logger have to know of it.
    pub fn member(&self) -> Member<SlotId> {
        let link = match &self.log_pipe {
            LogPipe::Alone | LogPipe::Writer { .. } | LogPipe::Shared { .. } => LogLink::None,
            LogPipe::Producer { logger, pipe } => LogLink::Producer { logger: *logger, is_open: pipe.is_some() },
            LogPipe::Logger { producer, .. } => LogLink::Logger { of: *producer },
        };
        Member { link, is_gone: self.service.is_gone() }
    }

    /// Where it stands.
    pub fn state(&self) -> ServiceState {
        match self.service.state() {
            ServiceState::Up if self.is_pending => ServiceState::Starting,
            standing => standing,
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let of_listeners = self.listeners.as_ref().and_then(|listeners| listeners.deadline());
        [self.service.deadline(), self.reopen_at, self.rewrite_at, of_listeners].into_iter().flatten().min()
    }
}

/// All of them.
#[derive(Default)]
pub struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    by_name: Index<OsString>,
    /// Services whose names are no UTF-8, by the names that are told.
    by_told: Index<String>,
    by_id: Index<Identity>,
    by_pid: Index<Pid>,
    deadlines: Index<Mono>,
    touched: VecDeque<SlotId>,
    /// How many may say something of themselves by notifications.
    notifying: usize,
    /// Places that may differ from their records.
    dirty: Vec<SlotId>,
    /// What is not held any more is still open, as long as a record names it: a descriptor of that number must not be
    /// another one when a supervisor goes on after us.
    graveyard: Graveyard,
    /// Where all this is noted.
    pub journal: Journal,
}

#[derive(Default)]
struct Graveyard {
    slots: Vec<Slot>,
    descriptors: Vec<OwnedFd>,
    ready_links: Vec<ReadyLink>,
    kept: Vec<Kept>,
}

impl Table {
    /// An empty one, of which everything is noted there.
    pub fn noted_in(journal: Journal) -> Table {
        Table { journal, ..Table::default() }
    }

    /// Takes a service in. Loggers are found through the service they belong to.
    pub fn insert(&mut self, slot: Slot) -> SlotId {
        let at = self.free.pop().unwrap_or(self.slots.len());
        self.restore(at, slot);
        at
    }

    /// Takes a service in that has its place already.
    pub fn restore(&mut self, at: SlotId, slot: Slot) {
        if !(slot.is_logger() || slot.removed && self.named(&slot.name).is_some()) {
            self.note_as_named(&slot.name, at);
        }
        self.by_id.insert(slot.id, at);
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        self.notifying += usize::from(slot.notifies());
        if let Some(place) = self.slots.get_mut(at) {
            *place = Some(Slot { is_dirty: true, ..slot });
            self.dirty.push(at);
        }
    }

    /// All that have their places have taken them.
    pub fn count_free_places(&mut self) {
        self.free = (0..self.slots.len()).rev().filter(|at| self.get(*at).is_none()).collect();
    }

    /// Notes every service as it is now, and closes what is not held any more.
    pub fn commit(&mut self) {
        // The last first: a logger was added after its service, so it is noted first; noted alone, it belongs to none.
        while let Some(at) = self.dirty.pop() {
            match self.slots.get_mut(at).and_then(Option::as_mut) {
                Some(slot) => {
                    slot.is_dirty = false;
                    self.journal.commit(at, slot);
                }
                None => self.journal.erase(at),
            }
        }
        self.graveyard = Graveyard::default();
    }

    /// These are held no longer.
    pub fn bury(&mut self, descriptors: impl IntoIterator<Item = OwnedFd>) {
        self.graveyard.descriptors.extend(descriptors);
    }

    /// The same of what was kept.
    pub fn bury_kept(&mut self, kept: Option<Kept>) {
        self.graveyard.kept.extend(kept);
    }

    /// From now on `run` says by this that it is ready, and not by what it had for that before.
    pub fn set_ready_link(&mut self, at: SlotId, link: Option<ReadyLink>) {
        let Some(slot) = self.get_mut(at) else { return };
        let was_notifying = slot.notifies();
        let before = std::mem::replace(&mut slot.ready_link, link);
        let is_notifying = slot.notifies();
        self.notifying = self.notifying + usize::from(is_notifying) - usize::from(was_notifying);
        self.graveyard.ready_links.extend(before);
    }

    /// Whether any service may say something of itself by notifications.
    pub fn is_any_notifying(&self) -> bool {
        self.notifying > 0
    }

    /// Lets a service go, with everything held open for it.
    pub fn remove(&mut self, at: SlotId) -> Option<&Slot> {
        let slot = self.slots.get_mut(at)?.take()?;
        self.notifying -= usize::from(slot.notifies());
        self.dirty.push(at);
        self.free.push(at);
        if let Some(deadline) = slot.armed {
            self.deadlines.remove(&deadline, at);
        }
        if !slot.is_logger() {
            self.forget_as_named(&slot.name, at);
        }
        self.by_id.remove(&slot.id, at);
        if let Some(pid) = slot.service.view().pid {
            self.by_pid.remove(&pid, at); // it was found, and its service could not be taken in
        }
        self.graveyard.slots.push(slot);
        self.graveyard.slots.last()
    }

    /// A service.
    pub fn get(&self, at: SlotId) -> Option<&Slot> {
        self.slots.get(at)?.as_ref()
    }

    /// A service, to change. What tools see of it is published if [`Table::touch`] is called.
    pub fn get_mut(&mut self, at: SlotId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(at)?.as_mut()?;
        if !std::mem::replace(&mut slot.is_dirty, true) {
            self.dirty.push(at);
        }
        Some(slot)
    }

    /// The service of this name.
    pub fn named(&self, name: &OsStr) -> Option<SlotId> {
        self.by_name.get(name)
    }

    /// Whatever went by this name goes by another one soon, or is over and has none.
    fn note_as_named(&mut self, name: &OsStr, at: SlotId) {
        if let Some(other) = self.named(name) {
            self.forget_as_named(name, other);
        }
        self.by_name.insert(name.to_owned(), at);
        if name.to_str().is_none() {
            self.by_told.insert(name.to_string_lossy().into_owned(), at);
        }
    }

    fn forget_as_named(&mut self, name: &OsStr, at: SlotId) {
        self.by_name.remove(name, at);
        if name.to_str().is_none() {
            self.by_told.remove(&*name.to_string_lossy(), at);
        }
    }

    /// The one service that is told of by this name, although its own is no UTF-8.
    pub fn told_as(&self, name: &str) -> Option<SlotId> {
        self.by_told.only(name)
    }

    /// The service in this directory, if it is no logger.
    pub fn in_dir(&self, id: Identity) -> Option<SlotId> {
        self.by_id.get(&id).filter(|at| self.get(*at).is_some_and(|slot| !slot.is_logger()))
    }

    /// Whether this directory is that of a service or a logger.
    pub fn holds(&self, id: Identity) -> bool {
        self.by_id.get(&id).is_some()
    }

    /// The service goes by another name now.
    pub fn rename(&mut self, at: SlotId, name: OsString) {
        let Some(slot) = self.get_mut(at) else { return };
        let old = std::mem::replace(&mut slot.name, name.clone());
        self.forget_as_named(&old, at);
        self.note_as_named(&name, at);
    }

    /// The names of all, loggers excepted.
    pub fn names(&self) -> impl Iterator<Item = &OsString> {
        self.by_name.iter().map(|(name, _)| name)
    }

    /// Those whose names stand for other services: they are over, or the supervisor before us failed before it was
    /// settled what becomes of them.
    pub fn without_a_name(&self) -> impl Iterator<Item = SlotId> {
        self.main_slots().filter(|at| self.get(*at).is_some_and(|slot| self.named(&slot.name) != Some(*at)))
    }

    /// The first service behind this name, in alphabetical order, and its name.
    pub fn next_name(&self, name: Option<&OsStr>) -> Option<(&OsString, SlotId)> {
        self.by_name.next(name)
    }

    /// All, loggers excepted, in the order of their names. One that is over may have none of its own any more.
    pub fn services(&self) -> Vec<SlotId> {
        let mut named: Vec<(&OsStr, SlotId)> =
            self.main_slots().filter_map(|at| Some((self.get(at)?.name.as_os_str(), at))).collect();
        named.sort_unstable();
        named.into_iter().map(|(_, at)| at).collect()
    }

    fn main_slots(&self) -> impl Iterator<Item = SlotId> {
        let mains = self.slots.iter().enumerate().filter(|(_, slot)| slot.as_ref().is_some_and(|it| !it.is_logger()));
        mains.map(|(at, _)| at)
    }

    /// Whether any service, loggers excepted, is not over.
    pub fn has_services(&self) -> bool {
        self.main_slots().any(|at| self.get(at).is_some_and(|slot| !slot.service.is_gone()))
    }

    /// All, loggers included.
    pub fn all(&self) -> Vec<SlotId> {
        (0..self.slots.len()).filter(|at| self.get(*at).is_some()).collect()
    }

    /// Whether nothing is supervised.
    pub fn is_empty(&self) -> bool {
        self.main_slots().next().is_none()
    }

    /// A process of this service lives.
    pub fn own(&mut self, pid: Pid, at: SlotId) {
        self.by_pid.insert(pid, at);
    }

    /// Whether this is a process of a service.
    pub fn owns(&self, pid: Pid) -> bool {
        self.by_pid.get(&pid).is_some()
    }

    /// A process was reaped. Whose was it?
    pub fn disown(&mut self, pid: Pid) -> Option<SlotId> {
        let at = self.by_pid.get(&pid)?;
        self.by_pid.remove(&pid, at);
        Some(at)
    }

    /// Something about this service changed: its deadline holds anew, and it is looked at before the turn ends.
    pub fn touch(&mut self, at: SlotId) {
        self.arm(at);
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut)
            && !std::mem::replace(&mut slot.touched, true)
        {
            self.touched.push_back(at);
        }
    }

    /// Its deadline holds anew.
    pub fn arm(&mut self, at: SlotId) {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return };
        let deadline = slot.deadline();
        if deadline != slot.armed {
            if let Some(old) = slot.armed {
                self.deadlines.remove(&old, at);
            }
            if let Some(new) = deadline {
                self.deadlines.insert(new, at);
            }
            slot.armed = deadline;
        }
    }

    /// Whether there is one that was touched.
    pub fn is_any_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The first service that was touched and has not been taken since.
    pub fn take_touched(&mut self) -> Option<SlotId> {
        let at = self.touched.pop_front()?;
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) {
            slot.touched = false;
        }
        Some(at)
    }

    /// The nearest deadline.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadlines.iter().next().map(|(at, _)| *at)
    }

    /// A service whose deadline has come.
    pub fn due(&self, now: Mono) -> Option<SlotId> {
        self.deadlines.iter().next().filter(|(at, _)| *at <= now).map(|(_, slot)| *slot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::Log;
    use super::*;
    use crate::machine::Want;
    use crate::machine::policy::ServiceRules;
    use crate::machine::service::Role;
    use crate::wire::journal::{self, Entry, Field};
    use std::os::fd::{AsRawFd as _, RawFd};
    use std::path::Path;

    const PID: Pid = Pid(7);

    fn web() -> Slot {
        let dir = fs::open_path("/".as_ref()).expect("a directory");
        let id = Identity::new(fs::identity(&dir).expect("an identity"), None);
        let service = Service::found(&ServiceRules::ONIT, Role::Main, Want::Up, PID, Mono::default());
        Slot::new("web".into(), id, dir, service, Files::default(), LogPipe::Alone)
    }

    fn noted(table: &Table, at: SlotId) -> Option<(bool, Option<i32>)> {
        match journal::entry(table.journal.words(), at) {
            _ if table.journal.get(Field::Records) <= at as u64 => None,
            Entry::Record(record) => Some((record.removed, record.fds.dir)),
            Entry::Empty => None,
            Entry::Damaged => panic!("a record of ours"),
        }
    }

    fn is_open(fd: RawFd) -> bool {
        Path::new(&format!("/proc/self/fd/{fd}")).exists()
    }

    #[test]
    fn what_changes_is_noted_at_the_next_commit_and_what_a_record_names_is_open_until_then() {
        let mut table = Table::noted_in(Journal::begin(Log::Onit));
        let at = table.insert(web());
        assert_eq!(noted(&table, at), None);
        table.commit();
        let dir = table.get(at).map(|slot| slot.dir.as_raw_fd()).expect("a service");
        assert_eq!(noted(&table, at), Some((false, Some(dir))));
        for removed in [true, false] {
            table.get_mut(at).expect("a service").removed = removed;
            assert_eq!(noted(&table, at), Some((!removed, Some(dir))));
            table.commit();
            assert_eq!(noted(&table, at), Some((removed, Some(dir))));
        }
        let (lock, buried) = fs::pipe().expect("two files");
        let [lock_fd, buried_fd] = [lock.as_raw_fd(), buried.as_raw_fd()];
        table.get_mut(at).expect("a service").files.lock = Some(lock);
        table.bury([buried]);
        assert_eq!(table.remove(at).map(|slot| slot.name.clone()), Some("web".into()));
        assert!(table.is_empty() && noted(&table, at).is_some() && is_open(lock_fd) && is_open(buried_fd));
        table.commit();
        assert_eq!(noted(&table, at), None);
        // A child of another test may hold copies; here they are closed, and their numbers may be those of other files
        // by now.
        assert!(table.graveyard.slots.is_empty() && table.graveyard.descriptors.is_empty());
    }

    #[test]
    fn each_instance_of_a_template_is_a_service_of_its_own() {
        let mut table = Table::default();
        let slots = ["web@1", "web@2"].map(|name| {
            let slot = web();
            let id = Identity::new(slot.id.dir, Some(name.strip_prefix("web@").unwrap_or_default().as_bytes()));
            Slot { name: name.into(), id, ..slot }
        });
        let ids = [slots[0].id, slots[1].id, web().id];
        assert_eq!(
            slots.each_ref().map(|slot| slot.instance().map(OsStr::to_owned)),
            ["1", "2"].map(|x| Some(x.into()))
        );
        let at = slots.map(|slot| table.insert(slot));
        assert_eq!(ids.map(|id| table.in_dir(id)), [Some(at[0]), Some(at[1]), None]);
        assert_eq!(Slot { name: "web@1".into(), ..web() }.instance(), None, "a directory that is called so");
    }

    /// Otherwise its process would not be taken for that of the next service whose status names it.
    #[test]
    fn the_process_of_a_service_that_is_removed_is_nobodys() {
        let mut table = Table::default();
        let (slot, pid) = (web(), PID);
        let id = slot.id;
        let at = table.insert(slot);
        table.own(pid, at);
        assert!(table.owns(pid) && table.holds(id));
        table.remove(at);
        assert!(!table.owns(pid) && !table.holds(id) && table.is_empty());
    }
}
