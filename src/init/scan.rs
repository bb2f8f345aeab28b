//! The directory of services, and how it changes.
//!
//! Changes come through inotify, by name; where that does not work or does not tell everything, or if a rescan is
//! asked for, the whole directory is looked at. Each name waits to be looked at once, so that a storm of changes costs
//! no more than there are names. When all have been looked at, [`names`](crate::machine::fleet::names) says which
//! service goes by which.

use super::Init;
use super::adopt::Refused;
use super::backlog::{Backlog, Memo};
use super::config::Poll;
use super::door::Door;
use super::instances::Templates;
use super::loaded::Loaded;
use super::log::{Failure, one_line};
use super::table::{Identity, SlotId};
use super::turn::Token;
use crate::machine::fleet::names::{NameChange, Named, Names};
use crate::machine::{Exit, Mono, Pid};
use crate::sys::fs::{FileId, Stamp};
use crate::sys::watch::{self, Change, Watch};
use crate::sys::{Errno, boot, clock, fs, socket};
use crate::wire::svdir;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names looked at in one turn.
const NAMES_A_TURN: usize = 64;
/// How often the directory is looked at where it cannot be watched, or where a watch does not tell everything.
const SLOW: Duration = Duration::from_secs(5);
/// A service that was told to exit, but is still in the directory, comes back after this: long enough for the tool
/// that gave the order to see that it had gone (`sv` looks every 0.42 s).
const RETAKE: Duration = Duration::from_secs(2);
/// How often, at most, names that were moved away are looked for under other names.
const SEARCH: Duration = Duration::from_millis(100);
/// A directory that is being made has this long until it is complete.
const MAKING: Duration = Duration::from_millis(200);
/// In that time it is looked at again after this at first, and then each time after twice as long.
const MAKING_LOOK: Duration = Duration::from_millis(10);
/// What a process that looks whether the directory has changed ends with if it has not.
const UNCHANGED: u8 = 0;
const CHANGED: u8 = 1;

/// What is known of the directory.
#[derive(Default)]
pub(super) struct Scan {
    path: Option<PathBuf>,
    dir: Option<OwnedFd>,
    watch: Option<Watch>,
    /// The second directory.
    pub(super) loaded: Loaded,
    /// It may be another directory by now, or the links that lead there may be other links.
    rewatch: bool,
    poll: Polling,
    look_at_all: bool,
    /// Names that were moved away are looked for under other names then, and were the last time.
    search_at: Option<Mono>,
    searched: Mono,
    backlog: Backlog,
    /// What the names lead to.
    names: Names<Identity>,
    /// Services whose names may lead elsewhere, or nowhere.
    unsettled: BTreeSet<SlotId>,
    /// Names that lead to the directory of a service, or would mean a service, while another one goes by them.
    open_names: BTreeSet<OsString>,
    /// Further names of services that were told as such.
    aliases: BTreeMap<OsString, Identity>,
    pub(super) templates: Templates,
    complaint: Option<String>,
    /// What says that we serve this very directory.
    pub(super) claim: Option<(FileId, Door)>,
}

/// How the directory is looked at where a watch does not tell everything.
#[derive(Default)]
struct Polling {
    /// How often, if at all, as it was when the directory was listed last. It is not found out each time, because its
    /// file system may be slow to answer.
    every: Option<Duration>,
    at: Option<Mono>,
    /// What the directory was when it was listed last.
    stamp: Option<Stamp>,
    /// It was that already the time before: nothing has changed within the same tick of its clock.
    settled: bool,
    /// The process that looks whether it has changed. A file system that hangs does not hold us up.
    looker: Option<Pid>,
}

impl Scan {
    pub(super) fn of(path: PathBuf, loaded: Loaded) -> Scan {
        Scan { path: Some(path), loaded, look_at_all: true, rewatch: true, ..Scan::default() }
    }

    /// Whether services that appear are taken in.
    pub(super) fn takes_in(&self) -> bool {
        self.path.is_some()
    }

    /// The watch stays open: the kernel takes its time to close one, and other work waits for us now.
    pub(super) fn stop_taking_in(&mut self) {
        *self = Scan { watch: self.watch.take(), claim: self.claim.take(), ..Scan::default() };
    }

    pub(super) fn look_at_everything(&mut self) {
        self.look_at_all = self.takes_in();
        self.rewatch = true;
    }

    pub(super) fn has_backlog(&self) -> bool {
        self.look_at_all || !self.backlog.is_empty()
    }

    pub(super) fn has_newcomers(&self) -> bool {
        self.backlog.has_newcomers()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let door = self.claim.as_ref().and_then(|(_, door)| door.deadline());
        [self.backlog.deadline(), self.poll.at, self.search_at, door].into_iter().flatten().min()
    }

    /// A service was let go. If it is still there, it comes back.
    pub(super) fn was_let_go(&mut self, name: OsString, removed: bool, now: Mono) {
        if self.takes_in() {
            let at = if removed { now } else { now.after(RETAKE) };
            self.backlog.put_off(name, at, Memo::default());
        }
    }

    /// What was said about this name, if it was refused.
    pub(super) fn refusal(&self, name: &OsStr) -> Option<&str> {
        self.backlog.refusal(name)
    }

    /// The first refused name behind this one, or the first of all, and what was said about it.
    pub(super) fn next_refused(&self, behind: Option<&OsStr>) -> Option<(&OsString, &String)> {
        self.backlog.next_refused(behind)
    }

    /// A name is to be looked at.
    pub(super) fn push(&mut self, name: OsString) {
        self.backlog.push(name);
    }

    /// A change of this file in an entry of the directory is told.
    pub(super) fn follow(&mut self, entry: &OsStr, file: &'static str) {
        if let (Some(watch), Some(path)) = (&mut self.watch, &self.path) {
            let _ = watch.follow(entry.to_owned(), &path.join(entry), file); // or it is read when all is looked at
        }
    }

    /// No more.
    pub(super) fn unfollow(&mut self, entry: &OsStr) {
        self.watch.iter_mut().for_each(|watch| watch.unfollow(entry));
    }

    /// Where it is, as long as services are taken in.
    pub(super) fn dir_path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether this name leads to that service.
    pub(super) fn has(&self, name: &OsStr, id: Identity) -> bool {
        self.names.leads_to(name) == Some(id)
    }

    /// The directory, as long as it is looked at.
    pub(super) fn dir(&self) -> Option<&OwnedFd> {
        self.dir.as_ref()
    }

    /// Opens the directory for this turn. If it was removed, so was what stood in it.
    fn open(&mut self) {
        let Some(path) = &self.path else { return };
        match fs::open_path(path) {
            Ok(dir) => self.dir = Some(dir),
            Err(Errno::ENOENT) => {}
            Err(_) => self.look_at_all = true, // which says why, and tries again
        }
        self.loaded.open();
    }

    /// The names that are in the directory now; it stays open for this turn.
    fn names(&mut self, path: &Path) -> Result<Vec<OsString>, Errno> {
        let dir = fs::open_path(path)?;
        let mut names = fs::names(&dir)?;
        self.dir = Some(dir);
        names.extend(self.loaded.names());
        Ok(names)
    }

    /// Nothing can be known of any name before that.
    fn wait_until(&mut self, at: Mono) {
        self.poll.at = Some(at);
        if self.dir.is_none() {
            self.backlog.put_off_all(at);
            self.unsettled.clear();
            self.open_names.clear();
        }
    }

    /// Whether this process looks at the directory for us.
    pub(super) fn is_looker(&self, pid: Pid) -> bool {
        self.poll.looker == Some(pid)
    }

    /// The process that looks has ended. Or it was another one.
    pub(super) fn has_looked(&mut self, pid: Pid, exit: Exit) -> bool {
        let ours = self.is_looker(pid);
        if ours {
            self.poll.looker = None;
            self.look_at_all |= self.takes_in() && (exit != Exit::Code(UNCHANGED) || !self.poll.settled);
        }
        ours
    }

    /// The time has come to see whether anything has changed. Without a watch, all of it has to be looked at.
    fn look(&mut self, now: Mono) {
        let Some(path) = &self.path else { return };
        self.poll.at = Some(now.after(self.poll.every.unwrap_or(SLOW)));
        if self.watch.is_none() || self.loaded.is_unwatched() {
            self.look_at_all = true;
        } else if self.poll.looker.is_none() {
            let known = self.poll.stamp;
            let look = || i32::from(if fs::stamp(path).ok() == known { UNCHANGED } else { CHANGED });
            match boot::in_child(look) {
                Ok(pid) => self.poll.looker = Some(pid),
                Err(_) => self.look_at_all = true,
            }
        }
    }
}

impl Init {
    pub(super) fn look_at_directory(&mut self, changed: bool) {
        // As long as there is enough to do, the kernel keeps the changes, and counts the same one once.
        if changed && self.scan.backlog.len() < NAMES_A_TURN {
            self.take_changes();
        }
        if !self.scan.takes_in() {
            return;
        }
        self.scan.backlog.wake(self.now);
        if self.scan.poll.at.is_some_and(|at| at <= self.now) {
            self.scan.look(self.now);
        }
        let searches = self.scan.search_at.is_some_and(|at| at <= self.now);
        if !self.scan.has_backlog() && !searches {
            return;
        }
        self.scan.open();
        if std::mem::take(&mut self.scan.look_at_all) {
            self.list();
        } else if searches {
            self.search();
        }
        for _ in 0..NAMES_A_TURN {
            let Some((name, memo)) = self.scan.backlog.pop() else { break };
            self.consider(name, memo);
        }
        self.begin_newcomers();
        if self.scan.backlog.is_empty() && self.scan.search_at.is_none() && !self.scan.look_at_all {
            self.settle_names();
        }
        self.scan.loaded.close();
        self.scan.dir = None; // as long as we hold it open, the kernel does not tell that it was removed
    }

    fn take_changes(&mut self) {
        let changes = self.scan.watch.as_ref().map(Watch::changes).unwrap_or_default();
        for change in changes.into_iter().chain(self.scan.loaded.changes()) {
            match change {
                _ if !self.scan.takes_in() => {}
                Change::Entry { name, .. } if !self.is_service_name(&name) && !self.is_template(&name) => {}
                Change::Entry { name, moved_away } => {
                    if moved_away && self.table.named(&name).is_some() && self.scan.search_at.is_none() {
                        self.scan.search_at = Some(self.scan.searched.after(SEARCH).max(self.now));
                    }
                    self.scan.backlog.push(name);
                }
                Change::Inside(template) => {
                    self.scan.backlog.put_off(template, self.now.after(MAKING), Memo::default())
                }
                Change::Everything => self.scan.look_at_everything(),
            }
        }
    }

    /// Looks at every name, those in the directory and those that were in it.
    fn list(&mut self) {
        let Some(path) = self.scan.path.clone() else { return };
        self.scan.poll.at = None;
        let is_unwatched = self.scan.watch.is_none() || self.scan.loaded.is_unwatched();
        if std::mem::take(&mut self.scan.rewatch) || is_unwatched {
            self.watch(&path);
        }
        self.record_stamp(&path);
        match self.scan.names(&path) {
            Ok(names) => {
                self.scan.search_at = None; // all that is there is looked at
                self.claim_directory();
                names.into_iter().for_each(|name| self.scan.backlog.push(name));
                self.table.names().cloned().for_each(|name| self.scan.backlog.push(name));
                self.scan.names.all().cloned().for_each(|name| self.scan.backlog.push(name));
                self.scan.unsettled.extend(self.table.without_a_name());
                if self.scan.watch.is_some() {
                    self.scan.complaint = None;
                }
            }
            Err(errno) => {
                self.warn_of_directory(format!("cannot open {}: {}; waiting for it", path.display(), errno.desc()));
                if errno != Errno::ENOENT {
                    self.scan.wait_until(self.now.after(SLOW));
                }
                self.scan.poll.settled = false; // however it looks: what is in it is not known
                self.scan.loaded.names().into_iter().for_each(|name| self.scan.backlog.push(name));
            }
        }
        self.scan.poll.every = self.interval();
        let next = self.scan.poll.every.map(|every| self.now.after(every));
        self.scan.poll.at = self.scan.poll.at.or(next);
    }

    fn record_stamp(&mut self, path: &Path) {
        let stamp = fs::stamp(path).ok();
        self.scan.poll.settled = self.scan.poll.stamp == stamp;
        self.scan.poll.stamp = stamp;
    }

    /// How often the directory is to be looked at, if at all.
    fn interval(&self) -> Option<Duration> {
        let unwatched = self.scan.watch.is_none() || self.scan.loaded.is_unwatched();
        match self.config.poll {
            Poll::Every(span) => Some(span),
            Poll::Asked(span) => span,
            Poll::Never => unwatched.then_some(SLOW),
            Poll::WhereSilent => {
                let path = self.scan.path.as_ref()?;
                (unwatched || watch::may_miss_changes(path)).then_some(SLOW)
            }
        }
    }

    /// Looks where names have gone that were moved away: perhaps their directories have names that are not known yet.
    fn search(&mut self) {
        (self.scan.search_at, self.scan.searched) = (None, self.now);
        let Some(path) = self.scan.path.clone() else { return };
        match self.scan.names(&path) {
            Ok(names) => {
                let unknown = names.into_iter().filter(|name| self.scan.names.leads_to(name).is_none());
                unknown.for_each(|name| self.scan.backlog.push(name));
            }
            Err(_) => self.scan.look_at_all = true, // which says why
        }
    }

    fn watch(&mut self, path: &Path) {
        if let Poll::Asked(_) = self.config.poll {
            return;
        }
        let watched = match self.scan.watch.take() {
            Some(mut watch) => watch.renew(path).map(|()| watch),
            None => Watch::new(path).and_then(|watch| {
                self.poller.add(&watch, Token::Directory.pack())?;
                Ok(watch)
            }),
        };
        match watched {
            Ok(watch) => self.scan.watch = Some(watch),
            Err(errno) => {
                let every = self.interval().unwrap_or(SLOW);
                self.warn_of_directory(format!(
                    "cannot watch {} (inotify): {}; looking at it every {} instead",
                    path.display(),
                    errno.desc(),
                    svdir::span_text(every)
                ));
            }
        }
        if let Err(errno) = self.scan.loaded.watch(&self.poller) {
            self.warn_of_directory(format!("cannot watch what loaders say (inotify): {}", errno.desc()));
        }
    }

    /// Lets another supervisor that is told to serve this very directory find out that we do.
    fn claim_directory(&mut self) {
        let Some(id) = self.scan.dir.as_ref().and_then(|dir| fs::identity(dir).ok()) else { return };
        if self.config.personality.has_api && self.scan.claim.as_ref().is_none_or(|(known, _)| *known != id) {
            let claim = socket::claim(&claim_on(id)).and_then(|it| Door::new(&self.poller, it, Token::Claim.pack()));
            self.scan.claim = claim.ok().map(|door| (id, door));
        }
    }

    /// A process that asks which supervisor serves the directory knows it once it is connected. Nothing is said to it.
    pub(super) fn turn_away(&mut self) {
        if let Some((_, door)) = &mut self.scan.claim {
            drop(door.accept(&self.poller, self.now));
        }
    }

    fn warn_of_directory(&mut self, trouble: String) {
        if self.scan.complaint.as_ref() != Some(&trouble) {
            self.config.log.warn(None, &trouble);
            self.scan.complaint = Some(trouble);
        }
    }

    /// What is this name now, and what follows?
    fn consider(&mut self, name: OsString, memo: Memo) {
        if self.is_template(&name) {
            return self.look_at_template(&name);
        }
        if !self.is_service_name(&name) {
            return;
        }
        match self.resolve(&name) {
            Ok((found, id)) => self.found(name, found, id, memo),
            Err(errno) => self.not_found(name, errno, memo),
        }
    }

    /// Names with a leading dot are hidden; `NAME@` is a template for services, and none itself.
    fn is_service_name(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        !(name.starts_with(b".") || self.config.personality.has_templates && name.ends_with(b"@"))
    }

    fn found(&mut self, name: OsString, dir: OwnedFd, id: Identity, memo: Memo) {
        self.scan.names.saw(name.clone(), Some(id));
        let (by_name, by_dir) = (self.table.named(&name), self.table.in_dir(id));
        if by_name.is_some() && by_name == by_dir {
            return;
        }
        self.scan.unsettled.extend(by_name.into_iter().chain(by_dir));
        if by_name.is_some() || by_dir.is_some() {
            self.scan.open_names.insert(name);
        } else if let Some((at, memo)) = self.is_being_made(&dir, &memo) {
            self.scan.backlog.put_off(name, at, memo);
        } else if let Err(refused) = self.adopt(name.clone(), id, dir) {
            self.refuse(name, &refused, memo);
        }
    }

    /// Another name of a service. That it is none of its own is said once.
    fn record_alias(&mut self, name: OsString, known: &OsStr, id: Identity) {
        // Two names of one directory that are both no link: it is being renamed at this very moment.
        let is_link = |name| self.scan.dir.as_ref().is_some_and(|dir| fs::is_link(dir, name));
        if !self.config.personality.tells_news || !(is_link(&name) || is_link(known)) {
            return;
        }
        if self.scan.aliases.insert(name.clone(), id) != Some(id) {
            let known = one_line(known);
            let line = format!("is the same directory as {known}: they are one service, which goes by that name");
            self.config.log.warn(Some(&name), &line);
        }
    }

    /// A directory that has just come, and lacks a `run`, is given a moment. Returns when to look again. A oneshot that was
    /// there before us is complete: what waits for all services to start must not overlook it.
    fn is_being_made(&self, dir: &OwnedFd, memo: &Memo) -> Option<(Mono, Memo)> {
        if !self.config.personality.awaits_complete || self.recovery.searches || is_complete(dir) {
            return None;
        }
        if !self.announced && fs::is_executable(dir, "setup") {
            return None;
        }
        let is_new = || fs::last_change(dir).is_some_and(|at| clock::wall().saturating_sub(at) < MAKING);
        let since = memo.incomplete_since.or_else(|| is_new().then_some(self.now))?;
        let (age, end) = (self.now.since(since), since.after(MAKING));
        let again = self.now.after(age.max(MAKING_LOOK)).min(end);
        (self.now < end).then(|| (again, Memo { incomplete_since: Some(since), ..memo.clone() }))
    }

    fn not_found(&mut self, name: OsString, errno: Errno, memo: Memo) {
        let link = self.scan.dir.as_ref().is_some_and(|dir| fs::is_link(dir, &name));
        match (self.table.named(&name), errno) {
            (at, Errno::ENOTDIR) => self.lost_name(name, at), // a plain file is no service
            (at, Errno::ENOENT) if !link => self.lost_name(name, at),
            (Some(at), _) => {
                self.warn_once(at, format!("its directory cannot be reached: {}; keeping it as it is", errno.desc()));
            }
            (None, _) => {
                let failure = Failure { verb: "open", path: "its directory", errno };
                self.refuse(name.clone(), &Refused { name, failure }, memo);
            }
        }
    }

    /// Says once why a service is not supervised, and tries again.
    fn refuse(&mut self, name: OsString, refused: &Refused, memo: Memo) {
        let trouble = format!("{}; not supervised until that is mended", self.config.log.words(&refused.failure));
        if memo.refused.as_ref() != Some(&trouble) {
            self.config.log.warn(Some(&refused.name), &trouble);
        }
        self.scan.backlog.put_off(name, self.now.after(SLOW), Memo { refused: Some(trouble), ..Memo::default() });
    }

    fn lost_name(&mut self, name: OsString, service: Option<SlotId>) {
        self.scan.aliases.remove(&name);
        self.scan.unsettled.extend(service);
        self.scan.names.saw(name, None);
    }

    /// All names have been looked at: services follow their directories, and those that have lost theirs are stopped.
    fn settle_names(&mut self) {
        let unsettled = std::mem::take(&mut self.scan.unsettled);
        unsettled.iter().for_each(|at| self.restore_name(*at));
        let services = unsettled.iter().filter_map(|at| {
            let slot = self.table.get(*at)?;
            Some(Named { service: *at, name: slot.name.as_os_str(), dir: slot.id })
        });
        let changes = self.scan.names.changes(services);
        // First all that go on, so that each of them has the name that it is told about.
        let mut lost = Vec::new();
        for change in changes {
            match change {
                NameChange::Rename(at, name) => {
                    self.scan.open_names.extend(self.table.get(at).map(|slot| slot.name.clone())); // it may be free now
                    self.rename(at, name);
                }
                NameChange::Lost { service, replaced } => lost.push((service, replaced)),
            }
        }
        for (at, replaced) in lost {
            if self.table.get(at).is_some_and(|slot| slot.removed && slot.service.view().leaving) {
                continue; // it was told already
            }
            match self.name_by_now(at) {
                Some(name) => {
                    self.scan.backlog.push(name); // it is being renamed at this very moment
                    self.scan.unsettled.insert(at);
                }
                None if replaced || self.config.personality.stops_removed => self.release(at),
                None => {}
            }
        }
        std::mem::take(&mut self.scan.open_names).into_iter().for_each(|name| self.settle_name(name));
    }

    /// The supervisor before us may have failed when this service had got its name, and the one that had it until then
    /// had not lost it yet. Which of them the name means shows now.
    fn restore_name(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at).filter(|slot| !slot.removed) else { return };
        if self.scan.names.leads_to(&slot.name) == Some(slot.id) && self.table.named(&slot.name) != Some(at) {
            self.table.rename(at, slot.name.clone());
        }
    }

    /// A name that was another service's, or leads to the directory of one.
    fn settle_name(&mut self, name: OsString) {
        let Some(id) = self.scan.names.leads_to(&name) else { return };
        match (self.table.named(&name), self.table.in_dir(id)) {
            (by_name, Some(at)) if by_name != Some(at) => {
                let known = self.table.get(at).map(|slot| slot.name.clone()).unwrap_or_default();
                self.record_alias(name, &known, id);
            }
            (Some(_), _) => {} // as it was, or when that one has gone, its name is looked at again
            (None, _) => self.scan.backlog.push(name),
        }
    }

    /// The name that the kernel knows a service's directory by, if it stands in ours and that is the name of a service.
    fn name_by_now(&self, at: SlotId) -> Option<OsString> {
        let dir = &self.table.get(at)?.dir;
        let path = fs::path_of(dir).filter(|_| !fs::is_removed(dir))?;
        let parent = fs::open_path(path.parent()?).and_then(fs::identity);
        let mut dirs = self.scan.dir.iter().chain(self.scan.loaded.dir());
        let is_ours = parent.is_ok_and(|parent| dirs.any(|dir| fs::identity(dir) == Ok(parent)));
        path.file_name().filter(|name| is_ours && self.is_service_name(name)).map(OsStr::to_owned)
    }
}

/// Whether everything that is to be started is there, and has something in it.
fn is_complete(dir: &OwnedFd) -> bool {
    let can_run = |program: &str| fs::is_executable(dir, program) && fs::has_content(dir, program);
    can_run("run") && (!fs::is_dir(dir, OsStr::new("log")) || can_run("log/run"))
}

/// The word by which a supervisor of this directory is known.
fn claim_on(id: FileId) -> String {
    format!("onit/{:x}/{:x}", id.device, id.inode)
}

/// The process that serves this very directory, as far as it can be believed; its number, if it has one here.
#[cfg(feature = "init")]
pub(super) fn server_of(path: &Path) -> Option<Option<Pid>> {
    let dir = fs::open_path(path).ok()?;
    let owner = fs::owner(&dir).ok()?.user;
    let server = socket::claimant(&claim_on(fs::identity(&dir).ok()?))?;
    let may_serve = [0, owner, crate::sys::process::user()].contains(&server.user);
    let lives = server.pid.is_none_or(crate::sys::process::is_there);
    (may_serve && lives).then_some(server.pid)
}
