//! Whoever waits for a service in s6's way is told what happens to it: letters, in the FIFOs that they have put into its
//! directory `event`. They read its status once and then go by these, so a status is written before they are told.

use super::Init;
use super::log::Failure;
use super::table::{Slot, SlotId};
use super::warnings::Matter;
use crate::machine::life_event::{self, LifeEvent};
use crate::machine::service::Service;
use crate::machine::{Event, Mono, Phase, View};
use crate::sys::fs;
use crate::wire::fifodir::{DIRECTORY, bits, is_listener, letter, of_bits};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// Of one service so many reads of the directory in one turn: a thousand listeners, at most.
const READS: usize = 16;
/// What follows the end of a service is told so much later. Who waits for a restart (`s6-svc -wr`) waits for the end
/// first, and then forgets what it has read together with that.
const AFTER_THE_END: Duration = Duration::from_millis(50);
/// When a service is let go all are told at once, but no more than so many times that.
const TURNS: usize = 64;

/// What they have not been told yet.
#[derive(Default)]
pub(super) struct Listeners {
    letters: Vec<u8>,
    /// These are told to each of the directory, as far as that was not read.
    round: Option<(OwnedFd, Vec<u8>)>,
    /// The next ones are told from then on.
    held_until: Option<Mono>,
}

impl Listeners {
    /// What is to be told by the supervisor that goes on after us, if that is before we have told it.
    pub(super) fn untold(&self) -> u8 {
        let begun = self.round.iter().flat_map(|(_, letters)| letters);
        bits(begun.chain(&self.letters).copied())
    }

    /// When there is something to tell, if that is not now.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.held_until.filter(|_| !self.letters.is_empty())
    }

    /// What was held is told, if it is time.
    pub(super) fn let_go(&mut self, now: Mono) {
        self.held_until = self.held_until.filter(|until| *until > now);
    }

    /// The next letters are told to each of this directory: all up to the last end.
    fn begin(&mut self, dir: OwnedFd, now: Mono) {
        let end = self.letters.iter().rposition(|known| *known == letter(LifeEvent::Down));
        self.held_until = end.map(|_| now.after(AFTER_THE_END));
        let rest = end.map_or_else(Vec::new, |end| self.letters.split_off(end + 1));
        self.round = Some((dir, std::mem::replace(&mut self.letters, rest)));
    }

    /// What the supervisor before us has not told. Nobody was, or who comes first in the directory is told twice.
    pub(super) fn left(untold: u8, now: Phase) -> Option<Box<Listeners>> {
        let letters = of_bits(untold, now);
        (!letters.is_empty()).then(|| Box::new(Listeners { letters, ..Listeners::default() }))
    }
}

impl Slot {
    fn note(&mut self, event: LifeEvent) {
        self.listeners.get_or_insert_default().letters.push(letter(event));
    }
}

/// What was, to be compared with what is.
#[derive(Clone, Copy)]
pub(super) struct Before {
    view: View,
    ready: Option<Mono>,
}

impl Before {
    pub(super) fn of(service: &Service) -> Before {
        Before { view: service.view(), ready: service.last_change().ready }
    }
}

impl Init {
    /// A step was made.
    pub(super) fn note_life_events(&mut self, at: SlotId, before: &Before, event: Event) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let ready = slot.service.last_change().ready;
        let has_become_ready = ready.is_some() && ready != before.ready;
        let after = slot.service.view();
        life_event::events(&before.view, event, &after, has_become_ready).for_each(|event| slot.note(event));
    }

    /// Its `run` could not be executed, and nobody has heard yet that it was started.
    pub(super) fn take_back_that_it_is_up(&mut self, at: SlotId) {
        if self.config.personality.service.exec_pause.is_some()
            && let Some(listeners) = self.table.get_mut(at).and_then(|slot| slot.listeners.as_mut())
        {
            listeners.letters.pop_if(|last| *last == letter(LifeEvent::Up));
        }
    }

    pub(super) fn note_life_event(&mut self, at: SlotId, event: LifeEvent) {
        self.table.get_mut(at).into_iter().for_each(|slot| slot.note(event));
    }

    /// What s6's tools look for is there from the beginning: a place for who waits, and the deaths, none so far.
    pub(super) fn make_place_for_listeners(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at).filter(|_| self.config.personality.has_listeners) else { return };
        slot.begin_death_tally();
        match fs::make_drop_box(slot.home(), DIRECTORY) {
            Ok(()) => _ = slot.warnings.take(Matter::File(DIRECTORY)),
            Err(errno) => {
                let cause = self.config.log.words(&Failure { verb: "use", path: DIRECTORY, errno });
                self.warn_about(at, Matter::File(DIRECTORY), format!("{cause}; nobody can wait for it"));
            }
        }
    }

    /// Tells them what has happened in this turn, after its status was written.
    pub(super) fn tell_listeners(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let Some(mut listeners) = slot.listeners.take() else { return };
        listeners.let_go(self.now);
        if listeners.round.is_none() && listeners.held_until.is_none() {
            let Ok(dir) = fs::open_list(slot.home(), OsStr::new(DIRECTORY)) else { return }; // nobody listens
            listeners.begin(dir, self.now);
        }
        let is_over = listeners.round.as_ref().is_none_or(|(dir, letters)| tell_next(dir, letters));
        listeners.round.take_if(|_| is_over);
        let (is_held, is_told) = (listeners.held_until.is_some(), listeners.letters.is_empty());
        if is_held || !is_told || !is_over {
            slot.listeners = Some(listeners);
        }
        if !is_over || !is_held && !is_told {
            self.telling.insert(at);
        }
        self.table.arm(at);
    }

    /// Of a service with many of them the rest is told in the next turns.
    pub(super) fn go_on_telling(&mut self) {
        for at in std::mem::take(&mut self.telling) {
            self.tell_listeners(at);
        }
    }

    /// It is let go, and they are told that at last.
    pub(super) fn tell_listeners_that_it_left(&mut self, at: SlotId) {
        self.note_life_event(at, LifeEvent::Left);
        for _ in 0..TURNS {
            let listeners = self.table.get_mut(at).and_then(|slot| slot.listeners.as_mut());
            listeners.into_iter().for_each(|listeners| listeners.held_until = None);
            self.tell_listeners(at);
        }
        self.telling.remove(&at);
    }
}

/// Tells those who come next in the directory. Whether these were the last ones.
fn tell_next(dir: &OwnedFd, letters: &[u8]) -> bool {
    let read = fs::list_on(dir, READS, |name| {
        if is_listener(name) {
            let _ = fs::tell(dir, OsStr::from_bytes(name), letters); // who cannot be told misses it
        }
    });
    read.unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_end_is_told_later() {
        let begun = |letters: &[u8]| {
            let mut listeners = Listeners { letters: letters.to_vec(), ..Listeners::default() };
            listeners.begin(fs::working_dir().expect("a directory"), Mono(7));
            let (_, told) = listeners.round.take().expect("a round");
            (listeners, told)
        };
        let later = Mono(7).after(AFTER_THE_END);
        for (letters, first, rest) in [(&b"dDuU"[..], &b"dD"[..], &b"uU"[..]), (b"dDudDu", b"dDudD", b"u")] {
            let (mut listeners, told) = begun(letters);
            assert_eq!((told.as_slice(), listeners.letters.as_slice()), (first, rest));
            assert_eq!(listeners.deadline(), Some(later));
            assert_eq!(listeners.untold(), bits(rest.iter().copied()));
            listeners.let_go(Mono(8));
            assert_eq!(listeners.deadline(), Some(later));
            listeners.let_go(later);
            assert_eq!((listeners.deadline(), listeners.held_until), (None, None));
        }
        let (listeners, told) = begun(b"dD");
        assert_eq!((told.as_slice(), listeners.held_until, listeners.deadline()), (&b"dD"[..], Some(later), None));
        let (listeners, told) = begun(b"suU");
        assert_eq!((told.as_slice(), listeners.held_until), (&b"suU"[..], None));
    }
}
