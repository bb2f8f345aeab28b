//! The table as it is noted in shared memory while it changes, so that the supervisor that goes on after us finds it.

use super::log::Log;
use super::table::{LogPipe, Slot, SlotId};
use crate::machine::service::memory;
use crate::machine::{Exit, Signal};
use crate::sys::shared::{Refused, Shared};
use crate::sys::signals::{self, Signals};
use crate::sys::wait::{self, Reaped};
use crate::sys::{fs, process, tracee};
use crate::wire::journal::{self, Descriptors, Field, Kind, Name, Record, Words};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// So often a signal or an order is carried out if the supervisor fails each time.
const TRIES: u64 = 3;

/// The journal; without shared memory nothing is noted.
#[derive(Clone, Copy, Default)]
pub struct Journal(Option<&'static Shared>);

impl Journal {
    /// A new one, for us. A warning says if there is none: then no supervisor can go on after us.
    pub fn begin(log: Log) -> Journal {
        match Shared::create(c"onit", journal::length(0)) {
            Ok(shared) => {
                let _ = shared.grow(journal::WHOLE); // without that room there is no history to go on with
                journal::begin(shared.words(), crate::sys::rescue::pid());
                Journal(Some(shared))
            }
            Err(Refused { call, errno }) => {
                let cause = format!("cannot prepare for a fault of onit itself: {call}: {}", errno.desc());
                log.warn(None, &format_args!("{cause}; services run as usual, but a fault or SIGSEGV ends onit"));
                Journal(None)
            }
        }
    }

    /// The one that we were left.
    pub fn of(shared: &'static Shared) -> Journal {
        Journal(Some(shared))
    }

    /// Its memory, if it has any.
    pub fn shared(self) -> Option<&'static Shared> {
        self.0
    }

    /// All of it.
    pub fn words(self) -> &'static Words {
        self.0.map_or(&[], Shared::words)
    }

    /// A fact about the whole.
    pub fn get(self, fact: Field) -> u64 {
        journal::fact(self.words(), fact)
    }

    /// A fact about the whole changes.
    pub fn set(self, fact: Field, value: u64) {
        journal::set(self.words(), fact, value);
    }

    /// Notes a service as it is now.
    pub fn commit(self, at: SlotId, slot: &Slot) {
        if self.has_room_for(at) {
            journal::write_run(self.words(), at, slot.service.history());
            let (extra, record) = (slot.service.extra(), record(slot));
            if record.has_extra {
                journal::write_extra(self.words(), at, extra);
            }
            journal::write_kept(self.words(), at, slot.kept.as_ref().map(|kept| kept.as_fd().as_raw_fd()));
            journal::write(self.words(), at, &record);
        }
    }

    /// Forgets it.
    pub fn erase(self, at: SlotId) {
        journal::erase(self.words(), at);
    }

    fn has_room_for(self, at: SlotId) -> bool {
        let Some(shared) = self.0 else { return false };
        if at < journal::MOST && self.get(Field::Records) > at as u64 {
            return true;
        }
        if at >= journal::MOST || shared.grow(journal::length(at + 1)).is_err() {
            self.set(Field::Unnoted, 1);
            return false;
        }
        journal::count(self.words(), at + 1);
        true
    }

    /// Where the kernel writes the pid of a child.
    pub fn new_child(self) -> Option<&'static AtomicU64> {
        self.0?.word(Field::NewChild as usize)
    }

    /// The next child will be this service's.
    pub fn expect_child(self, at: SlotId) {
        self.set(Field::NewChild, 0);
        self.set(Field::NewChildOf, at as u64 + 1);
    }

    /// The next child will be no service's.
    pub fn expect_nobody_s_child(self) {
        self.set(Field::NewChildOf, 0);
        self.set(Field::NewChild, 0);
    }

    /// The child stands in a record now.
    pub fn child_is_noted(self) {
        self.set(Field::NewChildOf, 0);
    }

    /// Takes the next signal, if one has come. It is not lost before [`Journal::forget_signal`].
    pub fn take_signal(self, signals: &Signals) -> Option<Signal> {
        let Some(inbox) = journal::inbox(self.words()) else { return signals.next() };
        signals.next_to(inbox)?;
        self.take_written_signal()
    }

    /// The signal that the kernel wrote and no supervisor has taken.
    pub fn take_written_signal(self) -> Option<Signal> {
        let inbox = journal::inbox(self.words())?;
        let signal = signals::written(inbox)?;
        self.set(Field::Signals, self.get(Field::Signals) | bit(signal));
        inbox.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        Some(signal)
    }

    /// This signal is being carried out: `TRIES` times at most, if the supervisor fails each time.
    pub fn begin_signal(self, signal: Signal) {
        let (known, times) = halves(self.get(Field::Obeying));
        let times = if Ok(known) == u64::try_from(signal.0) { times + 1 } else { 1 };
        self.set(Field::Obeying, u64::from(signal.0.unsigned_abs()) | times << 32);
        if times == TRIES {
            self.forget_signal(signal);
        }
    }

    /// It was obeyed.
    pub fn forget_signal(self, signal: Signal) {
        self.set(Field::Signals, self.get(Field::Signals) & !bit(signal));
    }

    /// What is being obeyed is under way: to begin again would be another order.
    pub fn forget_what_is_applied(self) {
        let (signal, _) = halves(self.get(Field::Obeying));
        if let Ok(signal) = i32::try_from(signal) {
            self.forget_signal(Signal(signal));
        }
        self.order_is_done();
    }

    /// Takes the next byte of an order for this service. It is not lost before [`Journal::order_is_done`].
    pub fn take_order(self, at: SlotId, control: &OwnedFd) -> Option<u8> {
        self.take_byte(at as u64 + 1, control)
    }

    /// Takes the next byte that the launcher says, in the same way.
    pub fn take_word(self, launcher: &OwnedFd) -> Option<u8> {
        self.take_byte(journal::LAUNCHER, launcher)
    }

    /// Takes the next byte of an order for the whole directory, in the same way.
    pub fn take_scan_order(self, control: &OwnedFd) -> Option<u8> {
        self.take_byte(journal::SVSCAN, control)
    }

    fn take_byte(self, of: u64, from: &OwnedFd) -> Option<u8> {
        let local = AtomicU64::new(0);
        let place = self.0.and_then(|shared| shared.word(Field::Order as usize)).unwrap_or(&local);
        place.store(journal::UNWRITTEN, Ordering::Relaxed);
        self.set(Field::OrderOf, of);
        fs::read_byte(from, place)
    }

    /// The order that was taken, and the number of the service that it is for (or that of the launcher), if it was not
    /// carried out. It is taken `TRIES` times at most, if the supervisor fails each time.
    pub fn take_order_again(self) -> Option<(u64, u8)> {
        let (of, times) = halves(self.get(Field::OrderOf));
        let word = Some(self.get(Field::Order)).filter(|word| of > 0 && *word != journal::UNWRITTEN)?;
        self.set(Field::OrderOf, if times + 2 < TRIES { of | (times + 1) << 32 } else { 0 });
        let [byte, ..] = word.to_ne_bytes();
        Some((of, byte))
    }

    /// Whether an order was taken that was not carried out.
    pub fn has_order(self) -> bool {
        self.get(Field::OrderOf) != 0
    }

    /// The order was obeyed.
    pub fn order_is_done(self) {
        self.set(Field::OrderOf, 0);
    }

    /// Reaps a child. How it ended is not lost before the next one is reaped.
    pub fn reap(self) -> Reaped {
        let local = AtomicU64::new(0);
        wait::reap(self.0.and_then(|shared| shared.word(Field::Ended as usize)).unwrap_or(&local))
    }

    /// How the child ended that was reaped last, if that was not noted. There is one such child at most.
    pub fn end(self) -> Option<Exit> {
        wait::written(self.get(Field::Ended))
    }

    /// The supervisor before us was told that a traced child had stopped, and perhaps failed before it let it run on.
    /// The kernel does not tell that again.
    pub fn release_if_stopped(self) {
        if wait::is_stop(self.get(Field::Ended)) {
            process::children().into_iter().flatten().for_each(tracee::release);
        }
    }

    /// It is noted now.
    pub fn end_is_noted(self) {
        self.set(Field::Ended, journal::UNWRITTEN);
    }

    /// The signals that were taken and not carried out.
    pub fn signals(self) -> impl Iterator<Item = Signal> {
        let bits = self.get(Field::Signals);
        (1..=64).map(Signal).filter(move |signal| bits & bit(*signal) != 0)
    }
}

/// A word that counts in its upper half.
fn halves(word: u64) -> (u64, u64) {
    (word & 0xffff_ffff, word >> 32)
}

fn bit(signal: Signal) -> u64 {
    signal.0.checked_sub(1).map_or(0, |place| 1u64.checked_shl(place.cast_unsigned()).unwrap_or_default())
}

fn record(slot: &Slot) -> Record {
    let number = |fd: &Option<OwnedFd>| fd.as_ref().map(|fd| fd.as_raw_fd());
    let (kind, pipe) = match &slot.log_pipe {
        LogPipe::Alone => (Kind::Alone, None),
        LogPipe::Producer { logger, pipe } => (Kind::Producer(*logger as u32), number(pipe)),
        LogPipe::Logger { producer, pipe } => (Kind::Logger(*producer as u32), Some(pipe.as_raw_fd())),
        LogPipe::Writer { logger, pipe } => {
            (Kind::Writer(logger.map_or(u32::MAX, |logger| logger as u32)), Some(pipe.as_raw_fd()))
        }
        LogPipe::Shared { pipe } => (Kind::Alone, Some(pipe.as_raw_fd())),
    };
    Record {
        kind,
        id: (slot.id.dir.device, slot.id.dir.inode),
        is_instance: slot.id.is_instance(),
        scale: slot.scale,
        fds: Descriptors {
            dir: Some(slot.dir.as_raw_fd()),
            lock: number(&slot.files.lock),
            control: number(&slot.files.control),
            ok: number(&slot.files.ok),
            pipe,
            home: number(&slot.files.home),
            ready: slot.ready_link.as_ref().map(|link| link.as_fd().as_raw_fd()),
        },
        removed: slot.removed,
        has_links: slot.has_links,
        shown: slot.published.filter(|(view, _)| *view == slot.view_in_files()).map(|(_, stamp)| stamp),
        format: Some(slot.files.format),
        untold: slot.listeners.as_ref().map_or(0, |listeners| listeners.untold()),
        begun: slot.service.history().begun(),
        has_kept: slot.kept.is_some(),
        has_extra: slot.service.extra() != [0; memory::EXTRA],
        memory: slot.service.memory(),
        name: if slot.is_logger() { Name::default() } else { Name::of(slot.name.as_bytes()) },
    }
}
