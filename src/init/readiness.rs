//! How a service says that it is ready: by a newline in a pipe, s6's way, or by notifications.

use super::Init;
use super::table::{ReadyLink, Slot, SlotId};
use super::turn::Token;
use crate::machine::readiness::Readiness;
use crate::machine::{Event, Phase, Script};
use crate::sys::spawn::{Descriptor, Value, Variable};
use crate::sys::{Errno, fs, manager};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};

/// What says that a service is ready is short. One that writes so much without a newline does not mean that.
const READ_CHUNK: usize = 4096;

/// What `run` gets to say it.
pub(super) enum ReadyEnd {
    None,
    /// The end of a pipe, and the number of the descriptor that it is to be.
    Pipe(OwnedFd, i32),
    /// The address of a socket.
    Socket(OsString),
}

impl ReadyEnd {
    pub(super) fn descriptor(&self) -> Option<Descriptor<'_>> {
        match self {
            ReadyEnd::Pipe(write, number) => Some(Descriptor { from: write.as_fd(), to: *number }),
            ReadyEnd::None | ReadyEnd::Socket(_) => None,
        }
    }

    pub(super) fn variables(&self) -> Vec<Variable<'_>> {
        let text = |name, value| Variable { name: OsStr::new(name), value: Value::Text(value) };
        match self {
            ReadyEnd::Socket(address) => {
                vec![text(manager::VARIABLE, address), text("FDSTORE", OsStr::new(super::notify::STORED_TEXT))]
            }
            ReadyEnd::None | ReadyEnd::Pipe(..) => Vec::new(),
        }
    }
}

impl Init {
    /// What the next `run` gets, if it is to say that it is ready. Nothing is left of an earlier one.
    /// For a second `run`, all that the first one has stays.
    pub(super) fn new_ready_link(&mut self, at: SlotId, script: Script) -> Result<ReadyEnd, Errno> {
        let is_second = script == Script::Successor;
        if !is_second {
            self.close_ready_link(at);
            let Some(slot) = self.table.get_mut(at) else { return Ok(ReadyEnd::None) };
            slot.said = None;
            self.keep_for_the_next(at);
        }
        let Some(slot) = self.table.get_mut(at) else { return Ok(ReadyEnd::None) };
        match slot.service.inputs.readiness.readiness() {
            Readiness::Descriptor(number) => {
                let number = i32::try_from(number).map_err(|_| Errno::EBADF)?;
                let (read, write) = fs::pipe()?;
                fs::never_wait(&read)?; // what was reported of an earlier pipe may be taken for news of this one
                self.listen(at, ReadyLink::Pipe(read), is_second)?;
                Ok(ReadyEnd::Pipe(write, number))
            }
            Readiness::Notify => {
                let (receiver, address) = self.new_socket(at)?;
                self.listen(at, ReadyLink::Socket(receiver), is_second)?;
                Ok(ReadyEnd::Socket(address))
            }
            Readiness::None | Readiness::After(_) | Readiness::Check(_) => Ok(ReadyEnd::None),
        }
    }

    fn listen(&mut self, at: SlotId, link: ReadyLink, is_second: bool) -> Result<(), Errno> {
        if is_second {
            return self.listen_to_second(at, link);
        }
        self.poller.add(&link, Token::Ready(at).pack())?;
        self.table.set_ready_link(at, Some(link));
        Ok(())
    }

    /// A supervisor has failed, and left this behind.
    pub(super) fn restore_ready_link(&self, at: SlotId) {
        if let Some(link) = self.table.get(at).and_then(|slot| slot.ready_link.as_ref()) {
            let _ = self.poller.add(link, Token::Ready(at).pack()); // without memory for it, it never says so
        }
    }

    /// It says something, or nothing has it open any more.
    pub(super) fn read_ready_link(&mut self, at: SlotId) {
        match self.table.get(at).and_then(|slot| slot.ready_link.as_ref()) {
            Some(ReadyLink::Pipe(_)) => self.read_ready_pipe(at),
            Some(ReadyLink::Socket(_)) => self.read_notifications(at),
            None => {}
        }
    }

    fn read_ready_pipe(&mut self, at: SlotId) {
        let Some(ReadyLink::Pipe(pipe)) = self.table.get(at).and_then(|slot| slot.ready_link.as_ref()) else { return };
        let mut buffer = [0; READ_CHUNK];
        let said = match fs::read_now(pipe, &mut buffer) {
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) => &[],
        };
        let is_ready = said.contains(&b'\n');
        if said.len() == READ_CHUNK && !is_ready {
            self.warn(
                at,
                &format_args!("wrote {READ_CHUNK} bytes where a newline means ready, and none; not listening"),
            );
        } else if !said.is_empty() && !is_ready {
            return;
        }
        self.close_ready_link(at);
        if is_ready {
            self.apply(at, Event::Ready);
        }
    }

    /// It is not needed any more.
    pub(super) fn close_ready_link(&mut self, at: SlotId) {
        if let Some(link) = self.table.get(at).and_then(|slot| slot.ready_link.as_ref()) {
            let _ = self.poller.remove(link); // it stays open until the next commit
            self.table.set_ready_link(at, None);
        }
    }

    /// `run` has ended, and what is left of it has nothing to say any more.
    pub(super) fn close_dead_socket(&mut self, at: SlotId) {
        let is_dead = |slot: &Slot| slot.notifies() && slot.service.view().phase != Phase::Run;
        if self.table.get(at).is_some_and(is_dead) {
            self.close_ready_link(at);
        }
    }
}
