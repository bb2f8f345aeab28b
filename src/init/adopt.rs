//! Taking a service directory under supervision.
//!
//! First it is locked and started; its FIFOs are opened and its status is written when every service that is to
//! start has started, since that is what people wait for.

use super::Init;
use super::table::{Files, Pair, Slot, SlotId, Stage};
use super::turn::Token;
use super::voice::Failure;
use crate::machine::service::{Role, Service};
use crate::machine::{Event, Want};
use crate::sys::fs::{Ends, FileId};
use crate::sys::{Errno, fs};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Descriptors that are kept free for passing needs.
const SPARE_FILES: u64 = 16;
/// `supervise` directories opened in one turn.
const OPENED_A_TURN: usize = 64;
/// What could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// A directory that is ours.
struct Claim {
    id: FileId,
    dir: OwnedFd,
    files: Files,
    trouble: Option<Failure>,
}

/// Why a service is not supervised: the directory that is in the way, and what is wrong with it.
pub(super) struct Refused {
    pub(super) name: OsString,
    pub(super) failure: Failure,
}

impl Init {
    /// Takes a service and its logger in, and starts them.
    pub(super) fn adopt(&mut self, name: OsString, id: FileId, dir: OwnedFd) -> Result<(), Refused> {
        let claim = match self.claim(id, dir) {
            Ok(claim) => claim,
            Err(failure) => return Err(Refused { name, failure }),
        };
        let logger = self.claim_logger(&name, &claim.dir)?;
        let at = self.insert(name, claim, Role::Main, Pair::Alone);
        if let Some(logger) = logger {
            self.join(at, logger)?;
        }
        if !self.config.native {
            self.open_now(at)?; // who stands in for a tool promises its files before the service starts
        }
        self.apply(at, Event::Begin);
        Ok(())
    }

    /// A `log` that was added later serves from the next start of its service on.
    pub(super) fn adopt_late_logger(&mut self, at: SlotId) {
        let claim = match self.table.get(at) {
            Some(slot) if matches!(slot.pair, Pair::Alone) && slot.shown.is_some() => {
                self.claim_logger(&slot.name, &slot.dir)
            }
            _ => return,
        };
        let joined = claim.and_then(|claim| claim.map_or(Ok(()), |claim| self.join(at, claim)));
        if let Err(Refused { failure, .. }) = joined {
            let cause = self.config.voice.words(&failure);
            self.complain(at, format!("log/: {cause}; running without it"));
        }
    }

    fn claim_logger(&self, name: &OsStr, dir: &OwnedFd) -> Result<Option<Claim>, Refused> {
        let log = match fs::open_dir(dir, OsStr::new("log")) {
            Ok(log) => log,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => {
                let failure = Failure { verb: "open", path: "log", errno };
                return Err(Refused { name: name.to_os_string(), failure });
            }
        };
        fs::identity(&log)
            .map_err(|errno| Failure { verb: "open", path: "log", errno })
            .and_then(|id| self.claim(id, log))
            .map(Some)
            .map_err(|failure| Refused { name: logger_name(name), failure })
    }

    /// Locks a service directory. Where that is impossible for everybody, onit goes on without.
    fn claim(&self, id: FileId, dir: OwnedFd) -> Result<Claim, Failure> {
        let reserved = SPARE_FILES + 2 * (self.unopened.len() as u64 + 2);
        let mut files = Files::default();
        match lock(&dir).and_then(|lock| self.if_room(lock, reserved)) {
            Ok(lock) => files.lock = Some(lock),
            Err(failure) if self.config.native && is_unwritable(failure.errno) => {
                files.stage = Stage::Unwritable;
                return Ok(Claim { id, dir, files, trouble: Some(failure) });
            }
            Err(failure) => return Err(failure),
        }
        Ok(Claim { id, dir, files, trouble: None })
    }

    /// As many services run as their descriptors fit; none takes those that another needs to be controlled.
    fn if_room(&self, lock: OwnedFd, reserved: u64) -> Result<OwnedFd, Failure> {
        if fs::is_last(&lock, self.open_files_limit, reserved) {
            return Err(Failure { verb: "open", path: "supervise/lock", errno: Errno::EMFILE });
        }
        Ok(lock)
    }

    fn insert(&mut self, name: OsString, claim: Claim, role: Role, pair: Pair) -> SlotId {
        let want = if fs::exists(&claim.dir, "down") { Want::Down } else { Want::Up };
        let service = Service::new(self.config.manners, role, want, self.now);
        let at = self.table.insert(Slot::new(name, claim.id, claim.dir, service, claim.files, pair));
        match claim.trouble {
            Some(failure) => self.tell_unwritable(at, &failure),
            None => self.unopened.push_back(at),
        }
        self.table.touch(at);
        at
    }

    /// Gives a service its logger, and starts that.
    fn join(&mut self, at: SlotId, logger: Claim) -> Result<(), Refused> {
        let Some(name) = self.table.get(at).map(|slot| logger_name(&slot.name)) else { return Ok(()) };
        let (input, output) = match fs::pipe() {
            Ok(pipe) => pipe,
            Err(errno) => {
                let failure = Failure { verb: "create", path: "the log pipe", errno };
                return Err(Refused { name, failure });
            }
        };
        let logger = self.insert(name, logger, Role::Logger, Pair::Logger { producer: at, pipe: input });
        if let Some(slot) = self.table.get_mut(at) {
            slot.pair = Pair::Producer { logger, pipe: Some(output) };
        }
        self.apply(logger, Event::Begin);
        Ok(())
    }

    // Opening `supervise`.

    pub(super) fn open_some(&mut self) {
        if self.scan.has_backlog() {
            return; // first everything starts
        }
        for _ in 0..OPENED_A_TURN {
            let Some(at) = self.unopened.pop_front() else { return };
            if let Err(failure) = self.open(at) {
                let cause = self.config.voice.words(&failure);
                self.complain(at, format!("{cause}; running, but out of reach for sv and svc until that works"));
                if let Some(slot) = self.table.get_mut(at) {
                    slot.retry_at = Some(self.now.after(RETRY));
                }
            }
            self.table.touch(at);
        }
    }

    fn open_now(&mut self, at: SlotId) -> Result<(), Refused> {
        while let Some(next) = self.unopened.pop_back() {
            if let Err(failure) = self.open(next) {
                let name = self.table.remove(next).map(|slot| slot.name).unwrap_or_default();
                self.table.remove(at);
                return Err(Refused { name, failure });
            }
            self.publish(next);
        }
        Ok(())
    }

    /// Opens what of `supervise` is not open yet.
    fn open(&mut self, at: SlotId) -> Result<(), Failure> {
        let Some(slot) = self.table.get_mut(at) else { return Ok(()) };
        if slot.files.lock.is_none() {
            slot.files.lock = Some(lock(&slot.dir)?);
        }
        slot.files.stage = Stage::Open;
        if slot.files.control.is_none() {
            let control = fifo(&slot.dir, "supervise/control", Ends::Both)?;
            let added = self.poller.add(&control, Token::Control(at).pack());
            added.map_err(|errno| Failure { verb: "watch", path: "supervise/control", errno })?;
            slot.files.control = Some(control);
        }
        if slot.files.ok.is_none() {
            slot.files.ok = Some(fifo(&slot.dir, "supervise/ok", Ends::Read)?);
        }
        Ok(())
    }

    fn tell_unwritable(&mut self, at: SlotId, failure: &Failure) {
        let cause = self.config.voice.words(failure);
        self.complain(at, format!("{cause}; running, but out of reach for sv and svc"));
        let passing = matches!(failure.errno, Errno::ENOSPC | Errno::EDQUOT);
        if let Some(slot) = self.table.get_mut(at) {
            slot.retry_at = passing.then(|| self.now.after(RETRY));
        }
    }
}

fn logger_name(name: &OsStr) -> OsString {
    let mut name = name.to_os_string();
    name.push("/log");
    name
}

/// Nobody could supervise this directory, so nobody does it beside us.
fn is_unwritable(errno: Errno) -> bool {
    !matches!(errno, Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)
}

fn lock(dir: impl AsFd) -> Result<OwnedFd, Failure> {
    fs::make_private_dir(&dir, "supervise").map_err(|errno| Failure { verb: "create", path: "supervise", errno })?;
    fs::lock(&dir, "supervise/lock").map_err(|errno| {
        let verb = if errno == Errno::EAGAIN { "lock" } else { "open" };
        Failure { verb, path: "supervise/lock", errno }
    })
}

fn fifo(dir: impl AsFd, path: &'static str, ends: Ends) -> Result<OwnedFd, Failure> {
    fs::fifo(dir, path, ends).map_err(|errno| Failure { verb: "open", path, errno })
}
