//! The table as it is noted in shared memory while it changes, so that whoever goes on after us finds it.

use super::table::{Pair, Slot, SlotId};
use crate::machine::Signal;
use crate::sys::shared::Shared;
use crate::wire::ledger::{self, Descriptors, Fact, Kind, Record, Words};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::AtomicU64;

/// The ledger; without shared memory nothing is noted.
#[derive(Clone, Copy, Default)]
pub struct Ledger(Option<&'static Shared>);

impl Ledger {
    /// A new one, for us.
    pub fn begin() -> Ledger {
        let shared = Shared::create(c"onit", ledger::length(0)).ok();
        if let Some(shared) = shared {
            let _ = shared.grow(ledger::WHOLE); // without that room there is no history to go on with
            ledger::begin(shared.words(), crate::sys::rescue::pid());
        }
        Ledger(shared)
    }

    /// The one that we were left.
    pub fn of(shared: &'static Shared) -> Ledger {
        Ledger(Some(shared))
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
    pub fn get(self, fact: Fact) -> u64 {
        ledger::fact(self.words(), fact)
    }

    /// A fact about the whole changes.
    pub fn set(self, fact: Fact, value: u64) {
        ledger::set(self.words(), fact, value);
    }

    /// Notes a service as it is now.
    pub fn note(self, at: SlotId, slot: &Slot) {
        if self.has_room_for(at) {
            ledger::note(self.words(), at, &record(slot));
        }
    }

    /// Notes its name.
    pub fn note_name(self, at: SlotId, slot: &Slot) {
        if self.has_room_for(at) && !slot.is_logger() {
            ledger::note_name(self.words(), at, slot.name.as_bytes());
        }
    }

    /// Notes its last life.
    pub fn note_life(self, at: SlotId, slot: &Slot) {
        if self.has_room_for(at) {
            ledger::note_life(self.words(), at, &slot.history);
        }
    }

    /// Forgets it.
    pub fn erase(self, at: SlotId) {
        ledger::erase(self.words(), at);
    }

    fn has_room_for(self, at: SlotId) -> bool {
        let Some(shared) = self.0 else { return false };
        if at >= ledger::MOST {
            return false;
        }
        let records = at as u64 + 1;
        if self.get(Fact::Records) < records {
            if shared.grow(ledger::length(at + 1)).is_err() {
                return false;
            }
            self.set(Fact::Records, records);
        }
        true
    }

    /// Where the kernel writes the pid of a child.
    pub fn newborn(self) -> Option<&'static AtomicU64> {
        self.0?.word(Fact::Newborn as usize)
    }

    /// The next child will be this service's.
    pub fn expect_child(self, at: SlotId) {
        self.set(Fact::Newborn, 0);
        self.set(Fact::NewbornOf, at as u64 + 1);
    }

    /// The child stands in a record now.
    pub fn child_is_noted(self) {
        self.set(Fact::NewbornOf, 0);
    }

    /// These signals were taken, and are to be obeyed.
    pub fn note_signals(self, signals: &[Signal]) {
        let bits = signals.iter().fold(0, |bits, signal| bits | bit(*signal));
        self.set(Fact::Signals, bits);
    }

    /// This one is being obeyed.
    pub fn forget_signal(self, signal: Signal) {
        self.set(Fact::Signals, self.get(Fact::Signals) & !bit(signal));
    }

    /// Those that nobody has obeyed.
    pub fn signals(self) -> impl Iterator<Item = Signal> {
        let bits = self.get(Fact::Signals);
        (1..=64).map(Signal).filter(move |signal| bits & bit(*signal) != 0)
    }
}

fn bit(signal: Signal) -> u64 {
    signal.0.checked_sub(1).map_or(0, |place| 1u64.checked_shl(place.cast_unsigned()).unwrap_or_default())
}

fn record(slot: &Slot) -> Record {
    let number = |fd: &Option<OwnedFd>| fd.as_ref().map(|fd| fd.as_raw_fd());
    let (kind, pipe) = match &slot.pair {
        Pair::Alone => (Kind::Alone, None),
        Pair::Producer { logger, pipe } => (Kind::Producer(*logger as u32), number(pipe)),
        Pair::Logger { producer, pipe } => (Kind::Logger(*producer as u32), Some(pipe.as_raw_fd())),
    };
    Record {
        kind,
        id: (slot.id.device, slot.id.inode),
        fds: Descriptors {
            dir: Some(slot.dir.as_raw_fd()),
            lock: number(&slot.files.lock),
            control: number(&slot.files.control),
            ok: number(&slot.files.ok),
            pipe,
            home: number(&slot.files.home),
        },
        asked: slot.asked,
        released: slot.released,
        shown: slot.shown.filter(|(view, _)| *view == slot.service.view()).map(|(_, stamp)| stamp),
        memory: slot.service.memory(),
    }
}
