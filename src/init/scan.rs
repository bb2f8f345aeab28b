//! The directory of services, and how it changes.
//!
//! A service is its directory, whatever its name: a renamed entry goes on running. Changes come through inotify, by
//! name; where that does not work, or somebody asks for it, the whole directory is looked at.

use super::Init;
use super::adopt::Refused;
use super::turn::Token;
use super::voice::Failure;
use crate::machine::Mono;
use crate::sys::fs::FileId;
use crate::sys::watch::{Change, Watch};
use crate::sys::{Errno, fs};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// Names looked at in one turn.
const NAMES_A_TURN: usize = 64;
/// How often the directory is looked at where it cannot be watched.
const SLOW: Duration = Duration::from_secs(5);
/// A service that was told to exit, but is still in the directory, comes back after this: long enough for whoever
/// gave the order to see that it had gone (`sv` looks every 0.42 s).
const RETAKE: Duration = Duration::from_secs(2);

/// What is known of the directory.
#[derive(Default)]
pub(super) struct Scan {
    path: Option<PathBuf>,
    dir: Option<OwnedFd>,
    watch: Option<Watch>,
    poll_at: Option<Mono>,
    look_at_all: bool,
    backlog: VecDeque<Name>,
    missing: Vec<OsString>,
    /// Further names of services that are there under another one.
    aliases: Vec<OsString>,
    later: Vec<Later>,
    complaint: Option<String>,
}

/// A name to look at, and what was last said about it.
struct Name {
    name: OsString,
    said: Option<String>,
}

impl From<OsString> for Name {
    fn from(name: OsString) -> Name {
        Name { name, said: None }
    }
}

/// A name that is looked at again.
struct Later {
    at: Mono,
    name: Name,
}

impl Scan {
    pub(super) fn of(path: PathBuf) -> Scan {
        Scan { path: Some(path), look_at_all: true, ..Scan::default() }
    }

    /// Whether services that appear are taken in.
    pub(super) fn takes_in(&self) -> bool {
        self.path.is_some()
    }

    /// The watch stays open: the kernel takes its time to close one, and others wait for us now.
    pub(super) fn stop_taking_in(&mut self) {
        *self = Scan { watch: self.watch.take(), ..Scan::default() };
    }

    pub(super) fn look_at_everything(&mut self) {
        self.look_at_all = self.takes_in();
        self.watch = None; // it may be another directory by now
    }

    pub(super) fn has_backlog(&self) -> bool {
        self.look_at_all || !self.backlog.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.later.iter().map(|later| later.at).chain(self.poll_at).min()
    }

    /// A service was let go. If it is still there, it comes back.
    pub(super) fn was_let_go(&mut self, name: OsString, released: bool, now: Mono) {
        if self.takes_in() {
            let at = if released { now } else { now.after(RETAKE) };
            self.later.push(Later { at, name: name.into() });
        }
    }

    /// Names that are refused, and what was said about them.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&OsString, &String)> {
        self.later.iter().filter_map(|later| Some((&later.name.name, later.name.said.as_ref()?)))
    }

    fn take_changes(&mut self) {
        for change in self.watch.as_ref().map(Watch::changes).unwrap_or_default() {
            match change {
                _ if self.path.is_none() => {}
                Change::Entry { name, moved } => {
                    self.look_at_all |= moved;
                    self.backlog.push_back(name.into());
                }
                Change::Everything => {
                    self.look_at_all = true;
                    self.watch = None;
                }
            }
        }
    }

    /// Opens the directory for this turn. If it was removed, so was what stood in it.
    fn open(&mut self) {
        let Some(path) = &self.path else { return };
        match fs::open_path(path) {
            Ok(dir) => self.dir = Some(dir),
            Err(Errno::ENOENT) => {}
            Err(_) => {
                self.backlog.clear();
                self.look_at_all = true; // which says why, and tries again
            }
        }
    }

    /// Forgets that this name is to be looked at; returns what was last said about it.
    fn take_later(&mut self, name: &OsStr) -> Option<String> {
        let place = self.later.iter().position(|later| later.name.name == name)?;
        self.later.swap_remove(place).name.said
    }

    fn take_due(&mut self, now: Mono) {
        if self.poll_at.is_some_and(|at| at <= now) {
            self.look_at_all = true;
        }
        while let Some(due) = self.later.iter().position(|later| later.at <= now) {
            self.backlog.push_back(self.later.swap_remove(due).name);
        }
    }
}

impl Init {
    pub(super) fn look_at_directory(&mut self, changed: bool) {
        if changed {
            self.scan.take_changes();
        }
        if !self.scan.takes_in() {
            return;
        }
        self.scan.take_due(self.now);
        if !self.scan.has_backlog() {
            return;
        }
        self.scan.open();
        if std::mem::take(&mut self.scan.look_at_all) {
            self.list();
        }
        for _ in 0..NAMES_A_TURN {
            let Some(name) = self.scan.backlog.pop_front() else { break };
            self.consider(name);
        }
        if self.scan.backlog.is_empty() {
            self.release_missing();
        }
        self.scan.dir = None; // as long as we hold it open, the kernel does not tell that it was removed
    }

    /// Looks at every name, those in the directory and those that were in it.
    fn list(&mut self) {
        let Some(path) = self.scan.path.clone() else { return };
        self.scan.poll_at = None;
        if self.scan.watch.is_none() {
            self.watch(&path);
        }
        let names = fs::open_path(&path).and_then(|dir| {
            let names = fs::names(&dir)?;
            self.scan.dir = Some(dir);
            Ok(names)
        });
        match names {
            Ok(names) => {
                self.scan.aliases.clear(); // they are found again
                self.scan.backlog.extend(names.into_iter().map(Name::from));
                self.scan.backlog.extend(self.table.names().cloned().map(Name::from));
                if self.scan.watch.is_some() {
                    self.scan.complaint = None;
                }
            }
            Err(errno) => {
                self.complain_of_directory(format!("cannot open {}: {}; waiting for it", path.display(), errno.desc()));
                if self.scan.watch.is_none() || errno != Errno::ENOENT {
                    self.scan.poll_at = Some(self.now.after(SLOW));
                }
            }
        }
    }

    fn watch(&mut self, path: &std::path::Path) {
        let watched = Watch::new(path).and_then(|watch| {
            self.poller.add(&watch, Token::Directory.pack())?;
            Ok(watch)
        });
        match watched {
            Ok(watch) => self.scan.watch = Some(watch),
            Err(errno) => {
                self.scan.poll_at = Some(self.now.after(SLOW));
                let every = SLOW.as_secs();
                self.complain_of_directory(format!(
                    "cannot watch {} (inotify): {}; looking at it every {every}s instead",
                    path.display(),
                    errno.desc()
                ));
            }
        }
    }

    fn complain_of_directory(&mut self, trouble: String) {
        if self.scan.complaint.as_ref() != Some(&trouble) {
            self.config.voice.complain(None, &trouble);
            self.scan.complaint = Some(trouble);
        }
    }

    /// What is this name now, and what follows?
    fn consider(&mut self, Name { name, said }: Name) {
        let said = self.scan.take_later(&name).or(said);
        if !self.is_service_name(&name) {
            return;
        }
        let found = self.scan.dir.as_ref().map_or(Err(Errno::ENOENT), |dir| fs::open_dir(dir, &name));
        match found.and_then(|found| fs::identity(&found).map(|id| (found, id))) {
            Ok((found, id)) => self.found(name, found, id, said),
            Err(errno) => self.not_found(name, errno, said),
        }
    }

    /// Names with a leading dot are hidden; `NAME@` is a template for services, and none itself.
    fn is_service_name(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        !(name.starts_with(b".") || self.config.native && name.ends_with(b"@"))
    }

    fn found(&mut self, name: OsString, dir: OwnedFd, id: FileId, said: Option<String>) {
        if let Some(at) = self.table.in_dir(id) {
            let known = self.table.get(at).map(|slot| slot.name.clone()).unwrap_or_default();
            if known != name && self.is_named(&known, id) {
                if !self.scan.aliases.contains(&name) {
                    self.scan.aliases.push(name);
                }
            } else if known != name {
                self.rename(at, name);
            }
        } else if self.table.named(&name).is_some() {
            self.scan.missing.push(name); // unless it goes by another name by now
        } else if let Err(refused) = self.adopt(name.clone(), id, dir) {
            self.refuse(name, &refused, said);
        }
    }

    fn is_named(&self, name: &OsStr, id: FileId) -> bool {
        let Some(dir) = &self.scan.dir else { return false };
        fs::open_dir(dir, name).and_then(fs::identity) == Ok(id)
    }

    fn not_found(&mut self, name: OsString, errno: Errno, said: Option<String>) {
        let link = self.scan.dir.as_ref().is_some_and(|dir| fs::is_link(dir, &name));
        match (self.table.named(&name), errno) {
            (Some(_), Errno::ENOTDIR) => self.scan.missing.push(name),
            (Some(_), Errno::ENOENT) if !link => self.scan.missing.push(name),
            (Some(at), _) => {
                self.complain(at, format!("its directory cannot be reached: {}; keeping it as it is", errno.desc()));
            }
            (None, Errno::ENOTDIR) => {} // a plain file is no service
            (None, Errno::ENOENT) if !link => {}
            (None, _) => {
                let failure = Failure { verb: "open", path: "its directory", errno };
                self.refuse(name.clone(), &Refused { name, failure }, said);
            }
        }
    }

    /// Says once why a service is not supervised, and tries again.
    fn refuse(&mut self, name: OsString, refused: &Refused, said: Option<String>) {
        let trouble = format!("{}; not supervised until that is mended", self.config.voice.words(&refused.failure));
        if said.as_ref() != Some(&trouble) {
            self.config.voice.complain(Some(&refused.name), &trouble);
        }
        let name = Name { name, said: Some(trouble) };
        self.scan.later.push(Later { at: self.now.after(SLOW), name });
    }

    /// What has left the directory or was replaced, and has not just been renamed, is stopped.
    fn release_missing(&mut self) {
        for name in std::mem::take(&mut self.scan.missing) {
            let Some(at) = self.table.named(&name) else {
                self.scan.backlog.push_back(name.into()); // it was renamed: who has its name now?
                continue;
            };
            let Some(slot) = self.table.get(at) else { continue };
            if slot.released && slot.service.view().leaving {
                continue; // it was told already
            }
            let id = slot.id;
            let replaced = self.scan.dir.as_ref().is_some_and(|dir| fs::is_dir(dir, &name));
            if self.is_named(&name, id) || !(replaced || self.config.stop_removed) {
                continue;
            }
            match self.scan.aliases.iter().find(|alias| self.is_named(alias, id)).cloned() {
                Some(alias) => self.rename(at, alias),
                None => self.release(at), // and when it has gone, its name is looked at again
            }
        }
    }
}
