//! How a service says that it is ready: by a newline in a pipe, s6's way.

use super::Init;
use super::table::SlotId;
use super::turn::Token;
use crate::machine::Event;
use crate::machine::readiness::Readiness;
use crate::sys::{Errno, fs};
use std::os::fd::OwnedFd;

/// What says that a service is ready is short. One that writes so much without a newline does not mean that.
const READ_CHUNK: usize = 4096;

/// The end of the pipe that `run` gets, and the number of the descriptor that it is to be.
pub(super) struct ReadyPipe {
    pub write: OwnedFd,
    pub number: i32,
}

impl Init {
    /// A pipe for the next `run`, if that is to say that it is ready by one. Nothing is left of an earlier one.
    pub(super) fn new_ready_pipe(&mut self, at: SlotId) -> Result<Option<ReadyPipe>, Errno> {
        self.close_ready_pipe(at);
        let Some(slot) = self.table.get_mut(at) else { return Ok(None) };
        let Readiness::Descriptor(number) = slot.service.inputs.readiness.readiness() else { return Ok(None) };
        let (read, write) = fs::pipe()?;
        fs::never_wait(&read)?; // what was reported of an earlier pipe may be taken for news of this one
        self.poller.add(&read, Token::Ready(at).pack())?;
        slot.ready_pipe = Some(read);
        Ok(Some(ReadyPipe { write, number: i32::try_from(number).map_err(|_| Errno::EBADF)? }))
    }

    /// A supervisor has failed, and left this pipe behind.
    pub(super) fn restore_ready_pipe(&self, at: SlotId) {
        if let Some(pipe) = self.table.get(at).and_then(|slot| slot.ready_pipe.as_ref()) {
            let _ = self.poller.add(pipe, Token::Ready(at).pack()); // without memory for it, it never says so
        }
    }

    /// It says something, or nothing has it open any more.
    pub(super) fn read_ready_pipe(&mut self, at: SlotId) {
        let Some(pipe) = self.table.get(at).and_then(|slot| slot.ready_pipe.as_ref()) else { return };
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
        self.close_ready_pipe(at);
        if is_ready {
            self.apply(at, Event::Ready);
        }
    }

    /// It is not needed any more.
    pub(super) fn close_ready_pipe(&mut self, at: SlotId) {
        if let Some(pipe) = self.table.get(at).and_then(|slot| slot.ready_pipe.as_ref()) {
            let _ = self.poller.remove(pipe); // it stays open until the next commit
            let pipe = self.table.get_mut(at).and_then(|slot| slot.ready_pipe.take());
            self.table.bury(pipe);
        }
    }
}
