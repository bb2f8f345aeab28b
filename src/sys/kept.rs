//! What outlasts this program: bytes and descriptors, in a message that nobody takes. The socket in whose queue it lies
//! is one descriptor, which can be passed on to the next program as it is.

use super::Errno;
use super::message::{self, Descriptors, MOST_DESCRIPTORS};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

/// As many bytes there may be.
pub const MOST_BYTES: usize = 65536;

/// What is kept. Dropped, it is given up: its descriptors are closed, and nothing is waited for.
#[derive(Debug)]
pub struct Kept(OwnedFd);

impl Kept {
    /// Keeps a copy of these. EMFILE, ETOOMANYREFS: so many descriptors this user cannot have on their way; EMSGSIZE: too
    /// many bytes.
    pub fn new(bytes: &[u8], descriptors: &[BorrowedFd]) -> Result<Kept, Errno> {
        if bytes.len() > MOST_BYTES || descriptors.len() > MOST_DESCRIPTORS {
            return Err(Errno::EMSGSIZE);
        }
        let (to, from) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC)?;
        let numbers: Vec<RawFd> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
        message::send(from.as_fd(), bytes, &numbers)?;
        Ok(Kept(to))
    }

    /// What another program has kept.
    pub fn restore(descriptor: OwnedFd) -> Kept {
        Kept(descriptor)
    }

    /// A copy of what is kept. EAGAIN if there is nothing, EMFILE if there is no room for the descriptors.
    pub fn look(&self) -> Result<(Vec<u8>, Descriptors), Errno> {
        let mut bytes = vec![0; MOST_BYTES];
        let message = message::peek(self.0.as_fd(), &mut bytes, MOST_DESCRIPTORS)?;
        bytes.truncate(message.length);
        if message.lost_descriptors { Err(Errno::EMFILE) } else { Ok((bytes, message.descriptors)) }
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(message::receive(self.0.as_fd(), &mut [], MOST_DESCRIPTORS)); // to close the socket would close them all
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{hold_nothing_up, lingering};
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn what_is_kept_can_be_looked_at_again_and_again() {
        let (mut read, write) = std::io::pipe().expect("a pipe");
        let kept = Kept::new(b"words", &[write.as_fd()]).expect("kept");
        drop(write);
        for byte in b"ab" {
            let kept = Kept::restore(kept.as_fd().try_clone_to_owned().expect("a copy"));
            let (bytes, descriptors) = kept.look().expect("there");
            assert_eq!(bytes, b"words");
            let mut copies: Vec<std::fs::File> = descriptors.take().into_iter().map(Into::into).collect();
            copies[0].write_all(&[*byte]).expect("written");
            std::mem::forget(kept); // it is one and the same queue
        }
        drop(kept);
        let mut text = String::new();
        read.read_to_string(&mut text).expect("no other end is open");
        assert_eq!(text, "ab");
        let nothing = Kept::new(b"", &[]).expect("kept");
        assert!(nothing.look().is_ok_and(|(bytes, descriptors)| bytes.is_empty() && descriptors.is_empty()));
        assert_eq!(Kept::new(&[0; MOST_BYTES + 1], &[]).err(), Some(Errno::EMSGSIZE));
    }

    #[test]
    fn who_gives_up_what_lingers_does_not_wait() {
        let (lingers, _other) = lingering();
        let kept = Kept::new(b"", &[lingers.as_fd()]).expect("kept");
        drop(Descriptors::from(vec![lingers]));
        hold_nothing_up(|| drop(kept));
    }
}
