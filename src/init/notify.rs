//! What services say by notifications, as `sd_notify(3)` has it: from whom they come, and what follows.
//!
//! Each `run` has a socket of its own, so what an earlier one has left says nothing about the next. Anybody may send to
//! it: a stranger's datagrams cost a look at `/proc` each, so many a turn, and one line.

use super::Init;
use super::mux::Outputs;
use super::second::SECOND;
use super::sockets::{SOCKET, Sockets};
use super::table::{ReadyLink, Slot, SlotId};
use crate::machine::notify::{Notification, is_of_service};
use crate::machine::{Event, Phase, Pid};
use crate::sys::kept::Kept;
use crate::sys::message::Descriptors;
use crate::sys::notify::{Datagram, LONGEST_NAME, Receiver, random};
use crate::sys::{Errno, fs, notify as sys, process, rescue};
use crate::wire::notify::{self as wire, Assignment, Assignments, Refusal, Words};
use crate::wire::svdir::excerpt;
use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

/// Taken from one service in one turn.
const DATAGRAMS: usize = 16;
/// As many characters of a status are kept.
const STATUS: usize = 512;
/// As many descriptors of one service are kept.
const STORED: usize = 128;
pub(super) const STORED_TEXT: &str = "128";
/// Names to try, if one is taken.
const NAMES: usize = 4;

const _: () = assert!(wire::MOST == sys::MOST);

/// What a `run` has said of itself, and what was said of that.
#[derive(Default)]
pub(super) struct Said {
    /// For people, one line. Empty: nothing.
    pub status: String,
    /// What went wrong.
    pub errno: Option<i32>,
    stranger_is_told: bool,
    mistake_is_told: bool,
}

/// Descriptors that a service keeps here, each under a name. Dropped, they are closed, and nothing is waited for.
#[derive(Default)]
pub(super) struct Store(Vec<(String, OwnedFd)>);

impl Drop for Store {
    fn drop(&mut self) {
        drop(Descriptors::from(self.0.drain(..).map(|(_, kept)| kept).collect::<Vec<_>>()));
    }
}

impl Slot {
    /// Goes on with what a supervisor before us has kept.
    pub(super) fn look_at_kept(&mut self) {
        if let Some(Ok((bytes, descriptors))) = self.kept.as_ref().map(Kept::look) {
            let Words { status, errno, names } = Words::parse(&bytes);
            if !status.is_empty() || errno.is_some() {
                self.said = Some(Box::new(Said { status: harmless(status), errno, ..Said::default() }));
            }
            let all = names.into_iter().map(str::to_owned).zip(descriptors.take());
            let (others, stored): (Vec<_>, Vec<_>) = all.partition(|(name, _)| name.starts_with(':'));
            let (mut second, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(name, _)| name == SECOND);
            let (sockets, outputs) = others.into_iter().partition(|(name, _)| name.starts_with(SOCKET));
            self.second_link = second.pop().map(|(_, link)| Box::new(ReadyLink::restore(link)));
            self.sockets = Sockets::restore(sockets).map(Box::new);
            self.outputs = Outputs::restore(outputs).map(Box::new);
            self.stored = (!stored.is_empty()).then(|| Box::new(Store(stored)));
        }
    }
}

impl Store {
    fn remove(&mut self, name: &str) {
        drop(Store(self.0.extract_if(.., |(known, _)| known == name).collect()));
    }

    /// Keeps them. Those that are there already, under whatever name, are not kept twice. Whether all could be.
    fn add(&mut self, name: &str, descriptors: Vec<OwnedFd>, has_room: impl Fn(&OwnedFd) -> bool) -> bool {
        let mut refused = Store::default();
        let mut is_refused = false;
        for new in descriptors {
            let is_known = self.0.iter().any(|(_, known)| fs::is_same_open_file(known, &new));
            let has_place = self.0.len() < STORED && has_room(&new);
            is_refused |= !is_known && !has_place;
            let to = if is_known || !has_place { &mut refused } else { &mut *self };
            to.0.push((name.to_owned(), new));
        }
        !is_refused
    }

    /// Each with its name.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.0.iter().map(|(name, kept)| (name.as_str(), kept.as_fd()))
    }
}

/// What one datagram says. Of what stands several times the first counts.
#[derive(Default)]
struct Message<'a> {
    is_ready: bool,
    events: Vec<Notification>,
    status: Option<&'a str>,
    errno: Option<i32>,
    main: Option<Pid>,
    stores: bool,
    removes: bool,
    name: Option<&'a str>,
    mistake: Option<String>,
}

impl<'a> Message<'a> {
    fn of(assignments: Assignments<'a>) -> Message<'a> {
        let (mut message, mut reloads, mut stops) = (Message::default(), false, false);
        for assignment in assignments {
            match assignment {
                Ok(Assignment::Ready) => message.is_ready = true,
                Ok(Assignment::Reloading) => reloads = true,
                Ok(Assignment::Stopping) => stops = true,
                Ok(Assignment::Status(text)) => message.status = Some(text),
                Ok(Assignment::Errno(errno)) => message.errno = Some(errno),
                Ok(Assignment::MainPid(pid)) => message.main = Some(pid),
                Ok(Assignment::Watchdog) => message.events.push(Notification::Alive),
                Ok(Assignment::WatchdogTrigger) => message.events.push(Notification::Trigger),
                Ok(Assignment::WatchdogUsec(every)) => message.events.push(Notification::AliveEvery(some_span(every))),
                Ok(Assignment::ExtendTimeout(span)) => {
                    message.events.extend(some_span(span).map(Notification::MoreTime));
                }
                Ok(Assignment::FdStore) => message.stores = true,
                Ok(Assignment::FdStoreRemove) => message.removes = true,
                Ok(Assignment::FdName(name)) => message.name = Some(name),
                Ok(Assignment::Barrier | Assignment::FdPollOff | Assignment::MonotonicUsec(_)) => {}
                Err(bad) => {
                    let value = String::from_utf8_lossy(bad.value);
                    message.mistake = Some(format!("{}={}, which is no value for it", bad.key, excerpt(&value)));
                }
            }
        }
        message.is_ready &= !stops;
        let state = match (stops, message.is_ready, reloads) {
            (true, ..) => Some(Notification::Stopping),
            (false, false, true) => Some(Notification::Reloading),
            (false, ..) => None,
        };
        message.events.splice(0..0, state);
        message
    }
}

/// What a service has said and stored, and its pipes and sockets. `None` if there is nothing of that.
fn keep(slot: &Slot) -> Option<Result<Kept, Errno>> {
    let stored = slot.stored.iter().flat_map(|store| store.named());
    let outputs = slot.outputs.iter().flat_map(|outputs| outputs.named());
    let sockets = slot.sockets.iter().flat_map(|sockets| sockets.named());
    let second = slot.second_link.iter().map(|link| (SECOND, link.as_fd()));
    let (names, descriptors): (Vec<_>, Vec<_>) = stored.chain(outputs).chain(sockets).chain(second).unzip();
    let status = slot.said.as_ref().map_or("", |said| &said.status);
    let words = Words { status, errno: slot.said.as_ref().and_then(|said| said.errno), names };
    (words != Words::default()).then(|| Kept::new(&words.to_bytes(), &descriptors))
}

/// Zero, and for ever, are none.
fn some_span(span: Duration) -> Option<Duration> {
    Some(span).filter(|span| !span.is_zero() && *span < Duration::from_micros(u64::MAX))
}

/// As it is shown: one line, and not too long.
fn harmless(text: &str) -> String {
    text.trim().chars().take(STATUS).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn told(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TooLong => "more than 4096 bytes",
        Refusal::Nul => "a NUL",
        Refusal::Barrier => "BARRIER=1 and something else",
    }
}

impl Init {
    /// A socket for the next `run`, and its address.
    pub(super) fn new_socket(&self, at: SlotId) -> Result<(Receiver, OsString), Errno> {
        let name = self.table.get(at).map(|slot| slot.name.as_bytes()).unwrap_or_default();
        let mut bound = Err(Errno::EADDRINUSE);
        for _ in 0..NAMES {
            let mut address = format!("@onit/{:016x}/", random()).into_bytes();
            address.extend(name.iter().map(|byte| if byte.is_ascii_graphic() { *byte } else { b'?' }));
            address.truncate(1 + LONGEST_NAME);
            bound = Receiver::bind(address.get(1..).unwrap_or_default())
                .map(|receiver| (receiver, OsString::from_vec(address)));
            if !matches!(bound, Err(Errno::EADDRINUSE)) {
                break;
            }
        }
        bound
    }

    /// Takes what was sent. What is left is taken in the next turn.
    pub(super) fn read_notifications(&mut self, at: SlotId) {
        for _ in 0..DATAGRAMS {
            let link = self.table.get(at).and_then(|slot| slot.ready_link.as_ref());
            let Some(ReadyLink::Socket(receiver)) = link else { return };
            match receiver.receive() {
                Ok(Some(datagram)) => self.read_datagram(at, datagram),
                Ok(None) => return,
                Err(errno) => {
                    self.warn(at, &format_args!("cannot receive notifications: {}; not listening", errno.desc()));
                    return self.close_ready_link(at);
                }
            }
        }
    }

    /// Its descriptors are closed when all of this has been done, which is what `BARRIER=1` asks for.
    fn read_datagram(&mut self, at: SlotId, datagram: Datagram) {
        let view = self.table.get(at).map(|slot| slot.service.view());
        let run = view.filter(|view| view.phase == Phase::Run).and_then(|view| view.pid);
        let (Some(run), Some(sender)) = (run, datagram.sender) else { return };
        if !self.is_loaders(sender.pid) && !is_of_service(sender.pid, run, process::kin) {
            return self.pass_over(at, sender.pid);
        }
        if datagram.is_cut {
            return self.tell_mistake(at, told(Refusal::TooLong));
        }
        if datagram.lost_descriptors {
            return self.tell_mistake(at, "descriptors, for which there is no room (the limit of open files)");
        }
        match wire::parse(&datagram.bytes) {
            Ok(assignments) => self.take_in(at, run, Message::of(assignments), datagram.descriptors),
            Err(refusal) => self.tell_mistake(at, told(refusal)),
        }
    }

    fn take_in(&mut self, at: SlotId, run: Pid, message: Message, descriptors: Descriptors) {
        let Message { is_ready, events, status, errno, main, stores, removes, name, mistake } = message;
        if let Some(mistake) = mistake {
            self.tell_mistake(at, &mistake);
        }
        let main = main.filter(|main| {
            let is_ours = is_of_service(*main, run, process::kin);
            if !is_ours {
                self.tell_mistake(at, &format!("MAINPID={main}, which is not of this service"));
            }
            is_ours
        });
        if status.is_some() || errno.is_some() {
            let said = self.said(at);
            said.into_iter().for_each(|said| {
                said.status = status.map_or_else(|| std::mem::take(&mut said.status), harmless);
                said.errno = errno.or(said.errno);
            });
        }
        let ready = is_ready.then_some(Event::Ready);
        let said = main.map(Notification::Successor).into_iter().chain(events).map(Event::Notify);
        for event in ready.into_iter().chain(said) {
            self.apply(at, event);
        }
        let says = status.is_some() || errno.is_some();
        match (removes, name) {
            (true, Some(name)) => self.store(at).into_iter().for_each(|store| store.remove(name)),
            (true, None) => {}
            (false, name) if stores => self.keep(at, name.unwrap_or("stored"), descriptors),
            (false, _) => {}
        }
        if says || removes || stores {
            self.keep_for_the_next(at);
        }
    }

    fn store(&mut self, at: SlotId) -> Option<&mut Store> {
        Some(&mut **self.table.get_mut(at)?.stored.get_or_insert_default())
    }

    fn keep(&mut self, at: SlotId, name: &str, descriptors: Descriptors) {
        let ours = self.open_files.ours;
        let has_room = |new: &OwnedFd| !fs::is_last(new, ours, super::adopt::SPARE_FILES);
        let Some(store) = self.store(at) else { return };
        if !store.add(name, descriptors.take(), has_room) {
            self.tell_mistake(at, &format!("FDSTORE=1 where no more can be kept ({STORED} for each service)"));
        }
    }

    /// What was said and stored is kept where the supervisor that goes on after us finds it.
    pub(super) fn keep_for_the_next(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let (new, trouble) = match keep(slot) {
            Some(Err(errno)) => (None, Some(errno)),
            Some(Ok(kept)) => (Some(kept), None),
            None => (None, None),
        };
        let old = std::mem::replace(&mut slot.kept, new);
        self.table.bury_kept(old);
        if let Some(errno) = trouble {
            let why = errno.desc();
            self.warn_once(at, format!("what it has stored would be lost by an upgrade or a fault: {why}"));
        }
    }

    /// What is at rest has no next `run` to keep anything for.
    pub(super) fn forget_stored(&mut self, at: SlotId) {
        let is_over = |slot: &Slot| slot.stored.is_some() && slot.service.is_at_rest();
        if self.table.get(at).is_some_and(is_over) {
            self.table.get_mut(at).into_iter().for_each(|slot| slot.stored = None);
            self.keep_for_the_next(at);
        }
    }

    /// Another program takes our place. What it will not know of is closed as its sender likes.
    pub(super) fn forget_what_is_not_kept(&mut self) {
        for at in self.table.all() {
            if self.table.get(at).is_some_and(|slot| slot.stored.is_some() && slot.kept.is_none()) {
                self.table.get_mut(at).into_iter().for_each(|slot| slot.stored = None);
            }
        }
    }

    /// `run` has ended. Whether the process that it has named in its place has come to us, and goes on.
    pub(super) fn goes_on_elsewhere(&mut self, at: SlotId) -> bool {
        let successor = self.table.get(at).and_then(|slot| slot.service.successor());
        let Some(new) = successor.filter(|new| rescue::is_child(*new) && !self.table.owns(*new)) else { return false };
        self.table.own(new, at);
        self.apply(at, Event::Succeeded(new));
        true
    }

    fn said(&mut self, at: SlotId) -> Option<&mut Said> {
        Some(&mut **self.table.get_mut(at)?.said.get_or_insert_default())
    }

    /// Who sends is not of the service. That is told once in each life of it: it need not be what sends.
    fn pass_over(&mut self, at: SlotId, sender: Pid) {
        if self.said(at).is_some_and(|said| !std::mem::replace(&mut said.stranger_is_told, true)) {
            self.warn(
                at,
                &format_args!("a notification from process {sender}, which is not of this service; passed over"),
            );
        }
    }

    /// What is wrong with a notification of its own is told once, too.
    fn tell_mistake(&mut self, at: SlotId, what: &str) {
        if self.said(at).is_some_and(|said| !std::mem::replace(&mut said.mistake_is_told, true)) {
            let what = what.replace(char::is_control, "?");
            self.warn(at, &format_args!("a notification says {what}; passed over"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message<'_> {
        Message::of(wire::parse(text.as_bytes()).expect("a message"))
    }

    #[test]
    fn of_what_contradicts_itself_the_later_stage_counts() {
        let states =
            ["READY=1", "RELOADING=1", "STOPPING=1", "RELOADING=1\nREADY=1", "READY=1\nSTOPPING=1\nRELOADING=1"];
        let states = states.map(|text| {
            let message = message(text);
            (message.is_ready, message.events)
        });
        let expected = [
            (true, vec![]),
            (false, vec![Notification::Reloading]),
            (false, vec![Notification::Stopping]),
            (true, vec![]),
            (false, vec![Notification::Stopping]),
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn spans_that_are_none_and_values_that_are_none() {
        let ms = Duration::from_millis(1);
        let watched = message("WATCHDOG_USEC=1000\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=1000");
        let all = [Notification::AliveEvery(Some(ms)), Notification::Alive, Notification::MoreTime(ms)];
        assert_eq!(watched.events, all);
        let none = message("WATCHDOG_USEC=0\nEXTEND_TIMEOUT_USEC=18446744073709551615\nERRNO=x");
        assert_eq!(none.events, [Notification::AliveEvery(None)]);
        assert_eq!(none.mistake.as_deref(), Some("ERRNO=x, which is no value for it"));
    }

    #[test]
    fn a_status_is_one_line_for_people() {
        assert_eq!(harmless("  up \x1b[31m\tnow\u{9b} "), "up ?[31m?now?");
        assert_eq!(harmless(&"ä".repeat(STATUS + 1)), "ä".repeat(STATUS));
    }
}
