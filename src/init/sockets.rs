//! What is bound for a service before it starts, as its file `sockets` says, and stays so over its restarts: who
//! connects meanwhile waits, and is not refused. It gets them as `sd_listen_fds(3)` has it.
//!
//! They are closed when it is at rest. With `start-on-connect`, it starts when somebody calls.

use super::Init;
use super::inputs::{Listing, may_be_read_later};
use super::log::one_line;
use super::table::{Slot, SlotId};
use super::turn::Token;
use super::warnings::Matter;
use crate::machine::readiness::Readiness;
use crate::machine::{Event, ServiceState};
use crate::sys::fs::{self, FileId};
use crate::sys::listen::{self, Options, Type};
use crate::sys::{Errno, process};
use crate::wire::sockets::{Internet, Place, Socket, UnixKind, inode_of, parse};
use crate::wire::svdir;
use std::ffi::{OsStr, OsString, c_int};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

/// The file.
pub(super) const FILE: &str = "sockets";
/// What the next supervisor knows them by: this, and their line.
pub(super) const SOCKET: &str = ":s ";
/// The first descriptor that `run` gets of them, and of what it has stored (`sd_listen_fds(3)`).
pub(super) const FIRST: c_int = 3;
/// Permissions of a path, if nothing else is said.
const MODE: u32 = 0o666;
/// The file is not longer, in bytes.
const LONGEST: u64 = 32_768;
/// More of the list of users is not read.
const LIST: u64 = 1 << 20;

/// What is bound for a service, in the order of the lines.
#[derive(Default)]
pub(super) struct Sockets {
    all: Vec<Bound>,
    /// It is called; until then it does not start.
    is_called: bool,
    /// The poller tells of callers.
    listens: bool,
}

/// One of them.
struct Bound {
    socket: Socket,
    /// As a line, behind what marks it.
    name: String,
    open: OwnedFd,
    /// What stands under its path.
    file: Option<FileId>,
}

impl Bound {
    fn new(socket: Socket, open: OwnedFd) -> Bound {
        let file = socket.place.path().and_then(|path| listen::identity(Path::new(path)).ok());
        Bound { name: format!("{SOCKET}{socket}"), socket, open, file }
    }

    /// Whoever looks for its path finds it.
    fn is_there(&self) -> bool {
        let path = self.socket.place.path();
        path.is_none_or(|path| self.file.is_some_and(|file| listen::identity(Path::new(path)) == Ok(file)))
    }

    /// It goes on as another line for the same place says.
    fn change(self, socket: Socket) -> Result<Bound, String> {
        if socket.backlog != self.socket.backlog && self.socket.place.has_backlog() {
            listen::let_wait(&self.open, socket.backlog)
                .map_err(|errno| format!("cannot change {}: {}", socket.place, errno.desc()))?;
        }
        give(&socket)?;
        Ok(Bound { name: format!("{SOCKET}{socket}"), socket, ..self })
    }

    /// A pipe stays, in which something may be yet.
    fn remove_path(&self) {
        if let (Place::Unix(..), Some(path), Some(file)) = (&self.socket.place, self.socket.place.path(), self.file) {
            listen::remove(Path::new(path), file);
        }
    }
}

impl Sockets {
    /// From what another supervisor has held.
    pub(super) fn restore(ends: Vec<(String, OwnedFd)>) -> Option<Sockets> {
        let bound =
            |(name, open): (String, OwnedFd)| Some(Bound::new(Socket::parse(name.strip_prefix(SOCKET)?).ok()?, open));
        let all: Vec<_> = ends.into_iter().filter_map(bound).collect();
        (!all.is_empty()).then_some(Sockets { all, ..Sockets::default() })
    }

    /// Each with the name that no stored descriptor has.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.all.iter().map(|bound| (&*bound.name, bound.open.as_fd()))
    }

    fn callers(&self) -> impl Iterator<Item = &OwnedFd> {
        self.all.iter().filter(|bound| bound.socket.starts).map(|bound| &bound.open)
    }
}

impl Slot {
    /// It does not run, but who calls it starts it.
    pub(super) fn can_be_called(&self) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| sockets.listens) && self.state() == ServiceState::Waiting
    }

    /// What its `run` gets beside the standard ones, each under its name: sockets first, and then what it has stored.
    pub(super) fn listen_descriptors(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let own = || self.name.to_string_lossy().replace([':', '\n'], "_");
        let sockets = self.sockets.iter().flat_map(|sockets| &sockets.all);
        let sockets = sockets.map(move |bound| (bound.socket.name.clone().unwrap_or_else(own), bound.open.as_fd()));
        let stored = self.stored.iter().flat_map(|store| store.named());
        sockets.chain(stored.map(|(name, open)| (name.to_owned(), open)))
    }
}

/// What tells `run` of them.
pub(super) fn listen_variables(listened: &[(String, BorrowedFd)]) -> Vec<(&'static str, OsString)> {
    if listened.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = listened.iter().map(|(name, _)| name.as_str()).collect();
    vec![("LISTEN_FDS", listened.len().to_string().into()), ("LISTEN_FDNAMES", names.join(":").into())]
}

impl Init {
    /// Binds what the file says and is not bound yet, and closes what it says no longer.
    pub(super) fn bind_sockets(&mut self, at: SlotId) -> Result<(), String> {
        let Some(slot) = self.table.get(at).filter(|slot| !slot.is_logger()) else { return Ok(()) };
        if !self.config.personality.reads_small_files {
            return Ok(());
        }
        let wanted = match read(slot) {
            Ok(text) => parse(&text).map_err(|why| format!("{FILE} says {why}"))?,
            Err(errno) if may_be_read_later(errno) && slot.sockets.is_some() => return Ok(()),
            Err(Errno::EFBIG) => return Err(format!("{FILE} is longer than {LONGEST} bytes")),
            Err(errno) => return Err(format!("cannot read {FILE}: {}", errno.desc())),
        };
        if wanted.is_empty() && slot.sockets.is_none() {
            return Ok(());
        }
        if let Some(trouble) = collision(slot, wanted.len()) {
            return Err(trouble);
        }
        let mut old = self.take_sockets(at);
        let mut take = |socket: &Socket| {
            let known = old.iter().position(|bound| bound.socket.is_opened_like(socket) && bound.is_there());
            known.map(|known| old.remove(known))
        };
        let wanted: Vec<_> = wanted.into_iter().map(|socket| (take(&socket), socket)).collect();
        let (mut all, mut changed, mut trouble) = (Vec::new(), !old.is_empty(), None);
        self.give_up(at, old);
        for (known, socket) in wanted {
            let bound = match known {
                Some(bound) if bound.socket == socket => Ok(bound),
                Some(bound) => bound.change(socket).inspect(|_| changed = true),
                None if trouble.is_some() => continue,
                None => self.bind(&socket).inspect(|_| changed = true),
            };
            bound.map_or_else(|why| trouble = Some(why), |bound| all.push(bound));
        }
        if let Some(slot) = self.table.get_mut(at) {
            slot.sockets = (!all.is_empty()).then(|| Box::new(Sockets { all, ..Sockets::default() }));
            if trouble.is_none() {
                slot.warnings.take(Matter::File(FILE));
            }
        }
        if changed {
            self.keep_for_the_next(at);
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Closes them, and the copies for the next supervisor with them: a new one may have the same address.
    fn give_up(&mut self, at: SlotId, old: Vec<Bound>) {
        if !old.is_empty() {
            old.iter().for_each(Bound::remove_path);
            drop(old); // before its copies: what may take long is closed with the last of them, which holds nobody up
            self.table.get_mut(at).into_iter().for_each(|slot| slot.kept = None);
        }
    }

    fn bind(&self, socket: &Socket) -> Result<Bound, String> {
        let cannot = |errno: Errno| {
            let holder = if errno == Errno::EADDRINUSE { self.holder(&socket.place) } else { None };
            let holder = holder.map(|holder| format!(" ({holder} has it)")).unwrap_or_default();
            format!("cannot bind {}: {}{holder}", socket.place, errno.desc())
        };
        let options = |place: &Internet| Options {
            only_six: place.only_six,
            reuseport: socket.reuseport,
            freebind: socket.freebind,
            backlog: socket.backlog,
        };
        let mode = socket.mode.unwrap_or(MODE);
        // To look whether somebody listens there is to call: that would start the service that has it.
        let is_ours = socket.place.path().is_some_and(|path| fs::is_socket(fs::HERE, path))
            && self.service_with(&socket.place).is_some();
        let open = match &socket.place {
            _ if is_ours => Err(Errno::EADDRINUSE),
            Place::Tcp(place) => listen::internet(Type::Stream, place.address, options(place)),
            Place::Udp(place) => listen::internet(Type::Datagram, place.address, options(place)),
            Place::Unix(kind, path) => listen::unix(type_of(*kind), path, socket.backlog, mode),
            Place::Fifo(path) => listen::fifo(path),
        };
        let open = open.map_err(cannot)?;
        let bound = Bound::new(socket.clone(), open);
        give(socket).inspect_err(|_| bound.remove_path())?;
        Ok(bound)
    }

    fn service_with(&self, place: &Place) -> Option<&Slot> {
        let has_it =
            |slot: &&Slot| slot.sockets.iter().flat_map(|held| &held.all).any(|one| one.socket.place == *place);
        self.table.all().into_iter().filter_map(|at| self.table.get(at)).find(has_it)
    }

    /// Who has an address that cannot be bound, in words.
    fn holder(&self, place: &Place) -> Option<String> {
        if let Some(slot) = self.service_with(place) {
            return Some(format!("service {}", one_line(&slot.name)));
        }
        let pid = match place {
            Place::Tcp(at) | Place::Udp(at) => {
                let kind = if matches!(place, Place::Tcp(_)) { "tcp" } else { "udp" };
                let lists = [kind.to_owned(), format!("{kind}6")];
                lists.iter().find_map(|list| inode_of(&listen::listed(list), at.address)).and_then(listen::holder_of)
            }
            Place::Unix(kind, path) => listen::holder_of_path(type_of(*kind), path),
            Place::Fifo(_) => None,
        }?;
        Some(format!("{} (pid {pid})", process::name(pid)))
    }

    /// What was bound is not held any more. Nobody is told of callers.
    fn take_sockets(&mut self, at: SlotId) -> Vec<Bound> {
        self.listen_for_callers(at, false);
        self.table.get_mut(at).and_then(|slot| slot.sockets.take()).map(|sockets| sockets.all).unwrap_or_default()
    }

    fn listen_for_callers(&mut self, at: SlotId, listens: bool) {
        let Some(sockets) = self.table.get_mut(at).and_then(|slot| slot.sockets.as_mut()) else { return };
        if std::mem::replace(&mut sockets.listens, listens) != listens {
            for open in sockets.callers() {
                let _ = match listens {
                    true => self.poller.add(open, Token::Caller(at).pack()),
                    false => self.poller.remove(open), // its copy for the next supervisor stays open
                };
            }
        }
    }

    /// Whether a service starts only when somebody calls it, and nobody has.
    pub(super) fn waits_for_caller(&self, at: SlotId, listing: &Listing) -> bool {
        let Some(slot) = self.table.get(at).filter(|slot| !slot.is_logger()) else { return false };
        if !self.config.personality.reads_small_files || !listing.may_have(FILE) {
            return false;
        }
        let starts = parse(&read(slot).unwrap_or_default()).is_ok_and(|all| all.iter().any(|socket| socket.starts));
        starts && !slot.sockets.as_ref().is_some_and(|sockets| sockets.is_called)
    }

    /// Binds them where a caller is waited for, and closes them when the service is at rest.
    pub(super) fn look_after_sockets(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at) else { return };
        if slot.sockets.is_some() && slot.service.is_at_rest() {
            self.leave_sockets(at);
            self.keep_for_the_next(at);
        } else if slot.state() == ServiceState::Waiting && !slot.can_be_called() && self.is_open_to_callers(at) {
            self.await_callers(at);
        }
    }

    fn is_open_to_callers(&self, at: SlotId) -> bool {
        self.awaited_text(at).is_none() && self.waits_for_caller(at, &Listing::UNKNOWN)
    }

    /// If they cannot be bound, it is started, which fails for that, and is tried again with its pause.
    fn await_callers(&mut self, at: SlotId) {
        let is_bound = self.bind_sockets(at).is_ok();
        if let Some(slot) = self.table.get_mut(at) {
            slot.sockets.get_or_insert_default().is_called = !is_bound;
        }
        self.listen_for_callers(at, is_bound);
        if is_bound {
            self.tell_dependents(at);
        } else {
            self.apply(at, Event::Tick);
        }
    }

    /// Somebody has called it.
    pub(super) fn hear_caller(&mut self, at: SlotId) {
        self.listen_for_callers(at, false);
        if let Some(sockets) = self.table.get_mut(at).and_then(|slot| slot.sockets.as_mut()) {
            sockets.is_called = true;
            self.apply(at, Event::Tick);
        }
    }

    /// A supervisor goes on from what another one has left.
    pub(super) fn restore_sockets(&mut self, at: SlotId) {
        if self.table.get(at).is_some_and(|slot| slot.state() == ServiceState::Waiting) && self.is_open_to_callers(at) {
            self.await_callers(at);
        }
    }

    /// They are closed, and what stands in the file system for them goes.
    pub(super) fn leave_sockets(&mut self, at: SlotId) {
        self.take_sockets(at).iter().for_each(Bound::remove_path);
    }
}

/// The descriptor by which it says that it is ready would be that of one of so many sockets, too.
fn collision(slot: &Slot, count: usize) -> Option<String> {
    let Readiness::Descriptor(number) = slot.service.inputs.readiness.readiness() else { return None };
    let behind = FIRST.unsigned_abs().saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    (FIRST.unsigned_abs()..behind).contains(&number).then(|| {
        format!("descriptor {number} is to be that of a socket and of notification-fd: take one from {behind} on there")
    })
}

fn type_of(kind: UnixKind) -> Type {
    match kind {
        UnixKind::Stream => Type::Stream,
        UnixKind::Packets => Type::SeqPacket,
        UnixKind::Datagrams => Type::Datagram,
    }
}

/// What the file says; nothing if there is none.
fn read(slot: &Slot) -> Result<String, Errno> {
    match fs::read_any(&slot.dir, OsStr::new(FILE), LONGEST + 1) {
        Ok(text) if text.len() as u64 > LONGEST => Err(Errno::EFBIG),
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
    }
}

/// A path gets the permissions and owners that its line names.
fn give(socket: &Socket) -> Result<(), String> {
    let Some(path) = socket.place.path() else { return Ok(()) };
    let user = socket.user.as_deref().map(|user| listed("/etc/passwd", "user", user)).transpose()?;
    let group = socket.group.as_deref().map(|group| listed("/etc/group", "group", group)).transpose()?;
    listen::give(Path::new(path), socket.mode.unwrap_or(MODE), user, group)
        .map_err(|errno| format!("cannot give {path} to its owner: {}", errno.desc()))
}

/// The number of a user or group.
fn listed(list: &str, what: &str, word: &str) -> Result<u32, String> {
    let text = fs::read_regular(Path::new(list), LIST).unwrap_or_default();
    svdir::group(word, &String::from_utf8_lossy(&text)).ok_or_else(|| format!("{list} knows no {what} {word}"))
}
