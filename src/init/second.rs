//! A second `run` beside the first one, until it is ready: what it says, and what is said of it.

use super::Init;
use super::api::Refusal;
use super::log::Ended;
use super::report::seen;
use super::table::{ReadyLink, SlotId};
use super::turn::Token;
use super::warnings::Matter;
use crate::machine::notify::is_of_service;
use crate::machine::overlap::READY_LIMIT;
use crate::machine::{Command, Event, Outcome, Unreplaced};
use crate::sys::{Errno, fs, process};
use crate::wire::api::ErrorCode;
use crate::wire::notify::{self, Assignment};
use crate::wire::svdir;

/// What the next supervisor knows by this is what the second one speaks through.
pub(super) const SECOND: &str = ":2";
/// Read from it at a time.
const CHUNK: usize = 4096;
/// Taken from it in one turn.
const DATAGRAMS: usize = 16;

impl Init {
    /// An order to replace `run` without a gap.
    pub(super) fn replace(&mut self, at: SlotId) -> Result<(), Refusal> {
        let why = self.table.get(at).and_then(|slot| slot.service.why_not_replaced());
        if let Some(why) = why {
            return Err((ErrorCode::Failed, why.to_owned()));
        }
        self.table.get_mut(at).into_iter().for_each(|slot| _ = slot.warnings.take(Matter::Second));
        self.obey(at, Command::Replace);
        Ok(())
    }

    pub(super) fn listen_to_second(&mut self, at: SlotId, link: ReadyLink) -> Result<(), Errno> {
        self.poller.add(&link, Token::Second(at).pack())?;
        if let Some(slot) = self.table.get_mut(at) {
            slot.second_link = Some(Box::new(link));
        }
        self.keep_for_the_next(at);
        Ok(())
    }

    /// A supervisor has left this behind.
    pub(super) fn restore_second_link(&self, at: SlotId) {
        if let Some(link) = self.table.get(at).and_then(|slot| slot.second_link.as_deref()) {
            let _ = self.poller.add(link, Token::Second(at).pack()); // without memory for it, it is late
        }
    }

    /// It says something. Until it is ready, nothing else counts.
    pub(super) fn hear_second(&mut self, at: SlotId) {
        let link = self.table.get(at).and_then(|slot| slot.second_link.as_deref());
        let is_ready = match link {
            Some(ReadyLink::Pipe(pipe)) => {
                let mut buffer = [0; CHUNK];
                match fs::read_now(pipe, &mut buffer) {
                    Ok(0) => return self.close_second_link(at), // it does not say so any more
                    Ok(length) => buffer.get(..length).unwrap_or_default().contains(&b'\n'),
                    Err(_) => false,
                }
            }
            Some(ReadyLink::Socket(_)) => (0..DATAGRAMS).any(|_| self.second_says_ready(at)),
            None => false,
        };
        if is_ready {
            self.apply(at, Event::SecondReady);
        }
    }

    fn second_says_ready(&self, at: SlotId) -> bool {
        let Some(slot) = self.table.get(at) else { return false };
        let (Some(ReadyLink::Socket(receiver)), Some(second)) = (slot.second_link.as_deref(), slot.service.beside())
        else {
            return false;
        };
        let Ok(Some(datagram)) = receiver.receive() else { return false };
        let is_its = datagram
            .sender
            .is_some_and(|sender| self.is_loaders(sender.pid) || is_of_service(sender.pid, second, process::kin));
        let says =
            |bytes| notify::parse(bytes).is_ok_and(|mut all| all.any(|one| matches!(one, Ok(Assignment::Ready))));
        is_its && says(&datagram.bytes)
    }

    /// What has become of it: what it speaks through is that of `run` now, or is closed.
    pub(super) fn look_at_second(&mut self, at: SlotId, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Replaced) => self.hand_over_link(at),
            Some(Outcome::NotReplaced(why)) => self.warn_of_second(at, why),
            Some(
                Outcome::Ended { .. }
                | Outcome::SetupFailed(_)
                | Outcome::Done
                | Outcome::GaveUp(..)
                | Outcome::EssentialEnded(_),
            )
            | None => {}
        }
        let is_over = self.table.get(at).is_some_and(|slot| !slot.service.is_being_replaced());
        if is_over {
            self.close_second_link(at);
        }
    }

    fn hand_over_link(&mut self, at: SlotId) {
        self.close_ready_link(at);
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.said = None;
        slot.warnings.take(Matter::Second);
        if let Some(link) = slot.second_link.take() {
            let _ = self.poller.listen(&*link, Token::Ready(at).pack(), true);
            self.table.set_ready_link(at, Some(*link));
        }
        self.keep_for_the_next(at);
    }

    fn close_second_link(&mut self, at: SlotId) {
        if let Some(link) = self.table.get_mut(at).and_then(|slot| slot.second_link.take()) {
            let _ = self.poller.remove(&*link);
            self.keep_for_the_next(at);
        }
    }

    fn warn_of_second(&mut self, at: SlotId, why: Unreplaced) {
        let limit = self.table.get(at).and_then(|slot| slot.service.inputs.limits.up_limit).unwrap_or(READY_LIMIT);
        let why = match why {
            Unreplaced::NotStarted(_) => "could not be started".to_owned(),
            Unreplaced::Ended(exit) => Ended(exit).to_string(),
            Unreplaced::Late => format!("was not ready within {}", svdir::span_text(limit)),
        };
        self.warn_about(at, Matter::Second, format!("the new ./run {why}; the one that runs stays"));
        if let Some(as_it_is) = self.table.get(at).map(seen) {
            self.publish_change(at, as_it_is, None); // who waits looks again
        }
    }
}
