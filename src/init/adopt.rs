//! Taking a service directory under supervision: its lock and its FIFOs first, then it starts. Its status is written
//! when every service that is to start has started, since that is what people wait for.

use super::Init;
use super::log::Failure;
use super::publish::{stamp, write};
use super::table::{Files, Identity, LogPipe, Slot, SlotId};
use super::turn::Token;
use super::warnings::Matter;
use crate::machine::life_event::LifeEvent;
use crate::machine::service::{Role, Service};
use crate::machine::{Event, Mono, Pid, View, Want};
use crate::sys::fs::Ends;
use crate::sys::{Errno, fs, published};
use crate::wire::api::EventKind;
use crate::wire::journal::Name;
use crate::wire::status::Format;
use crate::wire::status::s6::Extra;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Descriptors that are kept free for passing needs.
pub(super) const SPARE_FILES: u64 = 16;
/// What could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(5);
/// What is in `supervise` is for our user; the administrator may let other users in.
const PRIVATE: u32 = 0o700;

/// A directory that is ours, and what may be wrong with its `supervise`.
struct Claim {
    id: Identity,
    dir: OwnedFd,
    files: Files,
    trouble: Option<Failure>,
    service: Service,
    /// Its process, and since when it runs, if a supervisor failed and left no record of it.
    running: Option<(Pid, Mono)>,
}

/// Why a service is not supervised: the directory that is in the way, and what is wrong with it.
pub(super) struct Refused {
    pub(super) name: OsString,
    pub(super) failure: Failure,
}

impl Init {
    /// Takes a service and its logger in, and starts them.
    pub(super) fn adopt(&mut self, name: OsString, id: Identity, dir: OwnedFd) -> Result<(), Refused> {
        let claim = match self.claim(&name, id, dir, Role::Main) {
            Ok(claim) => claim,
            Err(failure) => return Err(Refused { name, failure }),
        };
        let log = log_of(&name, &claim.dir, !self.shares_loggers()).inspect_err(|_| self.hide(&name))?;
        let is_link = matches!(log, Log::Link);
        let logger = match log {
            Log::Directory(log) => Some(self.claim_logger(&name, id, log).inspect_err(|_| self.hide(&name))?),
            Log::Nothing | Log::Link => None,
        };
        let at = self.insert(name.clone(), claim, LogPipe::Alone);
        if let Some(logger) = logger
            && let Err(refused) = self.join(at, logger)
        {
            self.table.remove(at);
            self.commit(); // or its lock would be given up when another claim of this directory has it
            self.hide(&name);
            return Err(refused);
        }
        self.show(at);
        self.note_scale(at);
        self.publish_event(EventKind::Added, Some(&name));
        self.inherit_input(at);
        self.newcomers.push((at, is_link));
        self.links_of_names_changed();
        Ok(())
    }

    /// Those that were taken in start. Their loggers may be among them.
    pub(super) fn begin_newcomers(&mut self) {
        let newcomers = std::mem::take(&mut self.newcomers);
        let linked = newcomers.iter().filter(|(_, is_link)| *is_link);
        linked.for_each(|(at, _)| self.adopt_missing_logger(*at));
        newcomers.into_iter().for_each(|(at, _)| _ = self.apply(at, Event::Begin));
    }

    /// A `log` that was added later serves from the next start of its service on.
    pub(super) fn adopt_late_logger(&mut self, at: SlotId) {
        if self.table.get(at).is_some_and(|slot| slot.published.is_some()) {
            self.adopt_missing_logger(at);
        }
    }

    /// A service that has a `log`, but no logger, gets one.
    pub(super) fn adopt_missing_logger(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at).filter(|slot| matches!(slot.log_pipe, LogPipe::Alone)) else { return };
        let joined = match log_of(&slot.name, &slot.dir, true) {
            Ok(Log::Nothing | Log::Link) => Ok(()),
            Ok(Log::Directory(log)) => match self.shared_logger(at, &log) {
                Some(logger) => self.share(at, logger),
                None => self.adopt_own_logger(at, log),
            },
            Err(Refused { failure, .. }) => Err(self.config.log.words(&failure)),
        };
        match joined {
            Ok(()) => _ = self.table.get_mut(at).and_then(|slot| slot.warnings.take(Matter::Logger)),
            Err(cause) => self.warn_about(at, Matter::Logger, format!("log: {cause}; running without it")),
        }
    }

    fn adopt_own_logger(&mut self, at: SlotId, log: OwnedFd) -> Result<(), String> {
        let Some((name, id)) = self.table.get(at).map(|slot| (slot.name.clone(), slot.id)) else { return Ok(()) };
        let joined = self.claim_logger(&name, id, log).and_then(|claim| self.join(at, claim));
        joined.map_err(|Refused { failure, .. }| self.config.log.words(&failure))
    }

    fn claim_logger(&mut self, name: &OsStr, of: Identity, log: OwnedFd) -> Result<Claim, Refused> {
        let name = logger_name(name);
        fs::identity(&log)
            .map_err(|errno| Failure { verb: "open", path: "log", errno })
            .and_then(|id| self.claim(&name, of.with_dir(id), log, Role::Logger))
            .map_err(|failure| Refused { name, failure })
    }

    /// Locks a service directory and opens its FIFOs. onit goes on without what it cannot open, unless another
    /// supervisor holds the lock, or descriptors or memory are lacking.
    fn claim(&mut self, name: &OsStr, id: Identity, dir: OwnedFd, role: Role) -> Result<Claim, Failure> {
        if self.table.holds(id) {
            // To open the lock again, and close it, would give it up.
            return Err(Failure { verb: "lock", path: "supervise/lock", errno: Errno::EAGAIN });
        }
        if id.is_instance() && name.len() > Name::LONGEST {
            return Err(Failure { verb: "note", path: "its name", errno: Errno::ENAMETOOLONG });
        }
        let want = if fs::exists(&dir, "down") { Want::Down } else { Want::Up };
        let running = self.find_running(name, id, &dir);
        let service = match running {
            Some((pid, since)) => Service::found(self.config.personality.service, role, want, pid, since),
            None => Service::new(self.config.personality.service, role, want, self.now),
        };
        let mut files = Files { format: self.config.format_in(&dir).0, ..Files::default() };
        let trouble = match self.reach(name, id, &dir, &mut files, &service.view()) {
            Err(failure) if !self.config.personality.mirrors || is_refusal(failure.errno) => return Err(failure),
            result => result.err(),
        };
        Ok(Claim { id, dir, files, trouble, service, running })
    }

    /// Opens `supervise` in the service directory or, if that is not for us to write, in the runtime mirror.
    /// That of an instance is always there: the directory is that of all.
    fn reach(
        &mut self,
        name: &OsStr,
        id: Identity,
        dir: &OwnedFd,
        files: &mut Files,
        view: &View,
    ) -> Result<(), Failure> {
        if id.is_instance() {
            if files.home.is_none() {
                files.home = self.stand_in(name)?;
            }
            let nowhere = Failure { verb: "share", path: "supervise", errno: Errno::EPERM };
            return if files.home.is_some() { self.open(dir, files, view) } else { Err(nowhere) };
        }
        match self.open(dir, files, view) {
            Err(failure) if self.config.personality.mirrors && is_barred(dir, files, failure.errno) => {
                files.home = self.stand_in(name)?;
                if files.home.is_some() { self.open(dir, files, view) } else { Err(failure) }
            }
            result => result,
        }
    }

    /// Opens what of `supervise` has to be there before the service starts, and is not open yet.
    fn open(&self, dir: &OwnedFd, files: &mut Files, view: &View) -> Result<(), Failure> {
        let was_open = files.control.is_some();
        let home = files.home.as_ref().unwrap_or(dir);
        if files.lock.is_none()
            && !was_open
            && let Some((lock, control)) = self.make_supervise(home, view, files.format)
        {
            (files.lock, files.control) = (Some(lock), Some(control));
        }
        if files.lock.is_none() || files.control.is_none() {
            let supervise = supervise(home)?;
            if files.lock.is_none() {
                files.lock = Some(lock(&supervise, files.format)?);
            }
            if files.control.is_none() {
                files.control = Some(fifo(&supervise, "supervise/control", Ends::Both)?);
            }
        }
        // As many services run as can be reached: each still needs `ok`. Some descriptors are for passing needs.
        let spare = SPARE_FILES + self.unpublished.len() as u64;
        let is_last = |control: &mut OwnedFd| fs::is_last(control, self.open_files.ours, spare);
        match files.control.take_if(|control| !was_open && is_last(control)) {
            Some(_) => Err(Failure { verb: "open", path: "supervise/ok", errno: Errno::EMFILE }),
            None => Ok(()),
        }
    }

    /// Makes all of `supervise` under another name first, so that no process sees half of it. Returns its lock and
    /// control.
    /// Where that is not to be had, because there is one already for example, it is completed in its place, and what is
    /// wrong shows there.
    fn make_supervise(&self, home: &OwnedFd, view: &View, format: Format) -> Option<(OwnedFd, OwnedFd)> {
        let (parent, name) = fs::vacancy(home, "supervise").ok()??;
        let mut hidden = OsString::from(".");
        hidden.push(&name);
        hidden.push(format!(".{}", std::process::id()));
        let made = self.fill_supervise(&parent, &hidden, view, format).and_then(|made| {
            fs::rename_fresh_at(&parent, Path::new(&hidden), Path::new(&name))?;
            Ok(made)
        });
        if made.is_err() {
            let _ = fs::remove_all(&parent, &hidden);
        }
        made.ok()
    }

    fn fill_supervise(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        view: &View,
        format: Format,
    ) -> Result<(OwnedFd, OwnedFd), Errno> {
        let supervise = fs::make_dir_anew(parent, name, PRIVATE)?;
        let lock = fs::lock(&supervise, "lock")?;
        show_lock(&lock, format)?;
        let control = fs::fifo(&supervise, "control", Ends::Both)?;
        if format.has_ok() {
            fs::make_fifo(&supervise, "ok")?;
        }
        // All of them, so that at the first change each has its kept file, which needs no room on a full disk.
        let put = |name: &str, content: &[u8]| published::make(&supervise, name, content);
        let since = stamp(view.since, self.now);
        let extra = Extra { since, ready: view.is_ready.then_some(since), last_exit: None };
        write(format, view, since, &extra, true, put).map_err(|failure| failure.errno)?;
        Ok((lock, control))
    }

    /// `ok` is what tools look for, and then they read the status: so it is opened once that is written.
    pub(super) fn be_seen(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at).filter(|slot| slot.files.lack_ok()) else { return };
        let ok = open_supervise(slot.home()).and_then(|supervise| fifo(supervise, "supervise/ok", Ends::Read));
        match ok {
            Ok(ok) => slot.files.ok = Some(ok),
            Err(failure) => self.warn_of_no_control(at, &failure),
        }
    }

    fn insert(&mut self, name: OsString, claim: Claim, log_pipe: LogPipe) -> SlotId {
        let at = self.table.insert(Slot::new(name, claim.id, claim.dir, claim.service, claim.files, log_pipe));
        if let Some((pid, _)) = claim.running {
            self.table.own(pid, at);
        }
        self.listen_for_orders(at);
        self.make_place_for_listeners(at);
        self.note_life_event(at, LifeEvent::Supervised);
        if let Some(failure) = claim.trouble {
            self.warn_of_no_control(at, &failure);
        }
        self.table.touch(at);
        at
    }

    /// Orders for this service are heard from now on.
    pub(super) fn listen_for_orders(&mut self, at: SlotId) {
        let Some(control) = self.table.get(at).and_then(|slot| slot.files.control.as_ref()) else { return };
        if let Err(errno) = self.poller.add(control, Token::Control(at).pack()) {
            self.warn_of_no_control(at, &Failure { verb: "watch", path: "supervise/control", errno });
            let control = self.table.get_mut(at).and_then(|slot| slot.files.control.take());
            self.table.bury(control); // it is opened again, and watched then
        }
    }

    /// Gives a service its logger, and starts that.
    fn join(&mut self, at: SlotId, logger: Claim) -> Result<(), Refused> {
        let Some(name) = self.table.get(at).map(|slot| logger_name(&slot.name)) else { return Ok(()) };
        let in_use = logger.running.and_then(|(pid, _)| fs::pipe_of(pid));
        let (input, output) = match in_use.map_or_else(fs::pipe, Ok) {
            Ok(pipe) => pipe,
            Err(errno) => {
                let failure = Failure { verb: "create", path: "the log pipe", errno };
                return Err(Refused { name, failure });
            }
        };
        let logger = self.insert(name, logger, LogPipe::Logger { producer: at, pipe: input });
        if let Some(slot) = self.table.get_mut(at) {
            slot.log_pipe = LogPipe::Producer { logger, pipe: Some(output) };
        }
        self.apply(logger, Event::Begin);
        Ok(())
    }

    // Trouble with `supervise`.

    fn warn_of_no_control(&mut self, at: SlotId, failure: &Failure) {
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.reopen_at = (!is_lasting(failure.errno)).then(|| self.now.after(RETRY));
        let leads = match fs::target(slot.home(), "supervise") {
            Some(target) => format!(" (supervise is a link to {})", target.display()),
            None => String::new(),
        };
        let cause = format!("{}{}", self.config.log.words(failure), leads.replace(char::is_control, "?"));
        if self.config.personality.mirrors
            && self.mirror.has_no_place()
            && is_barred(&slot.dir, &slot.files, failure.errno)
        {
            self.warn_of_no_mirror(at, &cause);
        } else {
            let trouble = format!("{cause}; running, but out of reach for sv and svc");
            self.warn_about(at, Matter::Supervise, trouble);
        }
    }

    /// The directory is to be looked at again: files may have been removed, or can be made by now.
    pub(super) fn open_all_again(&mut self) {
        self.renew_view();
        for at in self.table.all() {
            let removed = self.is_removed_or_its_logger(at);
            let Some(slot) = self.table.get_mut(at) else { continue };
            if removed || fs::is_removed(&slot.dir) {
                continue; // there is no place for it any more
            }
            let removed = slot.give_up_removed();
            let incomplete = !removed.is_empty() || slot.files.lack_ok();
            if !removed.is_empty() || !fs::exists(slot.home(), "supervise/status") {
                slot.published = None;
                self.table.touch(at);
            }
            self.table.bury(removed);
            if incomplete {
                self.open_again(at);
            }
        }
    }

    /// What could not be opened or written may work by now.
    pub(super) fn open_again(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let (name, id, mut files) = (slot.name.clone(), slot.id, std::mem::take(&mut slot.files));
        let dir = fs::copy(&slot.dir);
        let view = slot.service.view();
        let deaf = files.control.is_none();
        let opened = match dir {
            Ok(dir) => self.reach(&name, id, &dir, &mut files, &view),
            Err(errno) => Err(Failure { verb: "open", path: "supervise", errno }),
        };
        if let Some(slot) = self.table.get_mut(at) {
            slot.files = files;
            slot.control_paused &= !deaf;
            if opened.is_ok() {
                slot.warnings.take(Matter::Supervise);
            }
        }
        if deaf {
            self.listen_for_orders(at);
            self.pause_or_resume_control(at);
        }
        match opened {
            Ok(()) => self.be_seen(at),
            Err(failure) => self.warn_of_no_control(at, &failure),
        }
        self.table.touch(at);
    }
}

/// What a service has by the name of `log`.
enum Log {
    Nothing,
    Directory(OwnedFd),
    /// It was not followed.
    Link,
}

fn log_of(name: &OsStr, dir: &OwnedFd, follows: bool) -> Result<Log, Refused> {
    let log = OsStr::new("log");
    match if follows { fs::open_dir(dir, log) } else { fs::open_own_dir(dir, log) } {
        Ok(log) => Ok(Log::Directory(log)),
        Err(Errno::ENOTDIR) if !follows && fs::is_link(dir, log) => Ok(Log::Link),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Log::Nothing),
        Err(errno) => {
            let failure = Failure { verb: "open", path: "log", errno };
            Err(Refused { name: name.to_os_string(), failure })
        }
    }
}

pub(super) fn logger_name(name: &OsStr) -> OsString {
    let mut name = name.to_os_string();
    name.push("/log");
    name
}

/// Another supervisor is there, or we lack the means: the service is not for us now.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)
}

/// Nothing of `supervise` could be opened, and to try again would not change that; or it is a link that leads where
/// nothing can be made.
fn is_barred(dir: &OwnedFd, files: &Files, errno: Errno) -> bool {
    let leads_nowhere = || errno == Errno::ENOENT && fs::is_link(dir, OsStr::new("supervise"));
    files.home.is_none() && files.lock.is_none() && (is_lasting(errno) || leads_nowhere())
}

fn is_lasting(errno: Errno) -> bool {
    matches!(errno, Errno::EROFS | Errno::EACCES | Errno::EPERM)
}

/// `supervise`, which is made if it is not there.
fn supervise(home: &OwnedFd) -> Result<OwnedFd, Failure> {
    fs::make_private_dir(home, "supervise").map_err(|errno| Failure { verb: "create", path: "supervise", errno })?;
    open_supervise(home)
}

/// All of it is reached through its lock.
fn open_supervise(home: &OwnedFd) -> Result<OwnedFd, Failure> {
    fs::open_dir(home, OsStr::new("supervise")).map_err(|errno| Failure { verb: "open", path: "supervise/lock", errno })
}

/// The tools of s6 open it to see whether it is held, also those of another user who may look into `supervise`.
fn show_lock(lock: &OwnedFd, format: Format) -> Result<(), Errno> {
    if format.tells_readiness() { fs::let_all_read(lock) } else { Ok(()) }
}

fn lock(supervise: &OwnedFd, format: Format) -> Result<OwnedFd, Failure> {
    let locked = fs::lock(supervise, "lock").and_then(|lock| show_lock(&lock, format).map(|()| lock));
    locked.map_err(|errno| {
        let verb = if errno == Errno::EAGAIN { "lock" } else { "open" };
        Failure { verb, path: "supervise/lock", errno }
    })
}

fn fifo(supervise: impl AsFd, path: &'static str, ends: Ends) -> Result<OwnedFd, Failure> {
    let name = path.strip_prefix("supervise/").unwrap_or(path);
    fs::fifo(supervise, name, ends).map_err(|errno| Failure { verb: "open", path, errno })
}
