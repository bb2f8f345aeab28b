//! A socket at which other processes wait to be accepted.

use crate::machine::Mono;
use crate::sys::Errno;
use crate::sys::poll::Poller;
use crate::sys::socket::{Connection, Listener, Peer};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

/// Without a descriptor for the next one, it is looked for again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Such a socket. A process that connects while it is shut has to wait, and does not wake us.
pub(super) struct Door {
    listener: Listener,
    token: u64,
    shut_until: Option<Mono>,
}

impl Door {
    /// One that is open, and that the poller reports as `token`.
    pub(super) fn new(poller: &Poller, listener: Listener, token: u64) -> Result<Door, Errno> {
        poller.add(&listener, token)?;
        Ok(Door { listener, token, shut_until: None })
    }

    /// The next one that waits. Where there is no descriptor left for it, the door is shut for a while.
    pub(super) fn accept(&mut self, poller: &Poller, now: Mono) -> Option<(Connection, Peer)> {
        if self.shut_until.is_some() {
            return None;
        }
        self.listener.accept().unwrap_or_else(|_| {
            self.shut(poller, now.after(RETRY));
            None
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(super) fn shut(&mut self, poller: &Poller, until: Mono) {
        let _ = poller.listen(&self.listener, self.token, false);
        self.shut_until = Some(until);
    }

    /// When it is to be opened again.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.shut_until
    }

    /// Opens it again, if it is time.
    pub(super) fn tick(&mut self, poller: &Poller, now: Mono) {
        if self.shut_until.take_if(|until| *until <= now).is_some() {
            let _ = poller.listen(&self.listener, self.token, true);
        }
    }
}
