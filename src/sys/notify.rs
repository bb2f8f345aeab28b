//! A socket that services send datagrams to, as systemd's `sd_notify(3)` does: `NOTIFY_SOCKET`.
//!
//! A sender that is too fast waits in its own send(2): the kernel queues `net.unix.max_dgram_qlen` datagrams.

use super::Errno;
use super::message::{self, Descriptors, MOST_DESCRIPTORS, Message, Sender};
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, bind, getsockopt, setsockopt, shutdown, socket, sockopt,
    sockopt::PassCred,
};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// A datagram has at most so many bytes, as for systemd (`NOTIFY_BUFFER_MAX`).
pub const MOST: usize = 4096;

/// The name of a socket has at most so many bytes.
pub const LONGEST_NAME: usize = 107;

/// Where datagrams come from.
#[derive(Debug)]
pub struct Receiver(OwnedFd);

/// What one sender has sent at once.
#[derive(Debug)]
pub struct Datagram {
    /// What it says. It may be empty.
    pub bytes: Vec<u8>,
    /// Which process has sent it. `None` if that is not to be seen from our PID namespace: systemd passes over those.
    pub sender: Option<Sender>,
    /// What came with it.
    pub descriptors: Descriptors,
    /// It had more than [`MOST`] bytes; neither bytes nor descriptors are here.
    pub is_cut: bool,
    /// It had descriptors that this process has no room for (`RLIMIT_NOFILE`); none are here. systemd then passes over
    /// the datagram.
    pub lost_descriptors: bool,
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Receiver {
    /// Receives what is sent to this name, which no path leads to (unix(7), "abstract"): every process of the network
    /// namespace may send, whatever its user and its root. EADDRINUSE if there is one, EINVAL if the name has more than
    /// [`LONGEST_NAME`] bytes.
    pub fn bind(name: &[u8]) -> Result<Receiver, Errno> {
        let address = UnixAddr::new_abstract(name)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let receiver = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&receiver, PassCred, &true)?; // before there is a name: no datagram comes without
        bind(receiver.as_raw_fd(), &address)?;
        Ok(Receiver(receiver))
    }

    /// A socket that was bound before our program was executed. Or the descriptor, which is none.
    pub fn restore(descriptor: OwnedFd) -> Result<Receiver, OwnedFd> {
        if getsockopt(&descriptor, sockopt::SockType) == Ok(SockType::Datagram) {
            Ok(Receiver(descriptor))
        } else {
            Err(descriptor)
        }
    }

    /// The next datagram; `None` if there is none, or a signal came first. It never waits.
    pub fn receive(&self) -> Result<Option<Datagram>, Errno> {
        self.receive_with(MOST_DESCRIPTORS)
    }

    fn receive_with(&self, room: usize) -> Result<Option<Datagram>, Errno> {
        let mut buffer = [0u8; MOST];
        let Message { length, sender, descriptors, is_cut, lost_descriptors } =
            match message::receive(self.0.as_fd(), &mut buffer, room) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(errno) => return Err(errno),
            };
        let bytes = if is_cut { &[] } else { buffer.get(..length).unwrap_or_default() }.to_vec();
        let descriptors = if is_cut || lost_descriptors { Descriptors::default() } else { descriptors };
        Ok(Some(Datagram { bytes, sender, descriptors, is_cut, lost_descriptors }))
    }
}

impl Drop for Receiver {
    /// Receives no more, also in every other process that has this socket, and does not wait for what was sent with
    /// datagrams that are still in the queue.
    fn drop(&mut self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Read); // from here on send(2) is EPIPE, and the queue has an end
        while let Ok(Some(_)) = self.receive() {}
    }
}

/// A number that nobody knows before. 0 if the kernel has none so early.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: getrandom(2) writes to `bytes`, no more than its length.
    let length = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    if length == 8 { u64::from_ne_bytes(bytes) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::message::{hold_nothing_up, lingering};
    use super::*;
    use crate::machine::Pid;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::io::{IoSlice, Read as _};
    use std::os::fd::RawFd;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    struct Place {
        name: Vec<u8>,
        receiver: Receiver,
        sender: UnixDatagram,
    }

    fn place() -> Place {
        let name = format!("onit-test/{:016x}", random()).into_bytes();
        let receiver = Receiver::bind(&name).expect("bound");
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.connect_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("connected");
        Place { name, receiver, sender }
    }

    impl Place {
        fn send(&self, bytes: &[u8], descriptors: &[RawFd]) -> Result<usize, Errno> {
            let parts = [IoSlice::new(bytes)];
            sendmsg::<UnixAddr>(
                self.sender.as_raw_fd(),
                &parts,
                &[ControlMessage::ScmRights(descriptors)],
                MsgFlags::empty(),
                None,
            )
        }

        fn receive(&self) -> Datagram {
            self.receiver.receive().expect("received").expect("a datagram")
        }
    }

    /// What we have closed, a child that another test has just started holds until its exec.
    fn comes_about(mut is_so: impl FnMut() -> bool) {
        let deadline = super::super::clock::now().after(Duration::from_secs(20));
        while !is_so() {
            assert!(super::super::clock::now() < deadline, "not in time");
        }
    }

    /// A pipe whose other end is closed everywhere when this says so.
    fn pipe() -> (impl FnMut() -> bool, OwnedFd) {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        fcntl(&reader, FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).expect("set");
        (move || reader.read(&mut [0]).is_ok_and(|length| length == 0), writer.into())
    }

    /// A socket, which unlike a pipe is closed by a child.
    fn socket_pair() -> (impl FnMut() -> bool, OwnedFd) {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        reader.set_nonblocking(true).expect("set");
        (move || reader.read(&mut [0]).is_ok_and(|length| length == 0), writer.into())
    }

    #[test]
    fn what_is_sent_arrives_as_it_was_sent() {
        let place = place();
        assert!(place.receiver.receive().expect("nothing yet").is_none());
        for bytes in [&b"READY=1\n"[..], b"", b"\0", &[b'x'; MOST]] {
            place.send(bytes, &[]).expect("sent");
        }
        for bytes in [&b"READY=1\n"[..], b"", b"\0", &[b'x'; MOST]] {
            let datagram = place.receive();
            assert_eq!(datagram.bytes, bytes);
            assert!(datagram.descriptors.is_empty() && !datagram.is_cut && !datagram.lost_descriptors);
        }
        assert!(place.receiver.receive().expect("nothing more").is_none());
    }

    #[test]
    fn the_process_that_has_sent_it_is_known() {
        let place = place();
        place.send(b"x", &[]).expect("sent");
        let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let us = Sender { pid: Pid(std::process::id().cast_signed()), user, group };
        assert_eq!(place.receive().sender, Some(us));
        // SAFETY: the child makes two system calls.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the socket is open, and the byte is there.
            unsafe {
                libc::send(place.sender.as_raw_fd(), b"y".as_ptr().cast(), 1, libc::MSG_DONTWAIT);
                libc::_exit(0);
            }
        }
        assert!(child > 0);
        // SAFETY: it is our child, and is told to wait for no status.
        assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
        let datagram = place.receive();
        assert_eq!((&datagram.bytes[..], datagram.sender), (&b"y"[..], Some(Sender { pid: Pid(child), user, group })));
    }

    #[test]
    fn descriptors_arrive_and_are_closed_when_dropped() {
        let place = place();
        let (mut is_closed, end) = pipe();
        place.send(b"BARRIER=1", &[end.as_raw_fd()]).expect("sent");
        drop(end);
        let datagram = place.receive();
        assert!(!is_closed() && datagram.descriptors.len() == 1);
        drop(datagram);
        comes_about(is_closed);
        let (mut is_closed, end) = socket_pair();
        place.send(b"FDSTORE=1", &[end.as_raw_fd(); 3]).expect("sent");
        drop(end);
        let kept = place.receive().descriptors.take();
        let flags = |descriptor: &OwnedFd| fcntl(descriptor, FcntlArg::F_GETFD).expect("open");
        assert!(kept.iter().all(|descriptor| flags(descriptor) & libc::FD_CLOEXEC != 0));
        assert!(!is_closed() && kept.len() == 3);
        drop(Descriptors::from(kept));
        comes_about(is_closed);
    }

    #[test]
    fn as_many_descriptors_as_can_be_sent_arrive() {
        let place = place();
        let (is_closed, end) = socket_pair();
        place.send(b"x", &[end.as_raw_fd(); MOST_DESCRIPTORS]).expect("sent");
        assert!(place.send(b"x", &[end.as_raw_fd(); MOST_DESCRIPTORS + 1]).is_err(), "the kernel takes more");
        drop(end);
        let datagram = place.receive();
        assert_eq!((datagram.descriptors.len(), datagram.lost_descriptors), (MOST_DESCRIPTORS, false));
        drop(datagram);
        comes_about(is_closed);
    }

    #[test]
    fn descriptors_without_room_are_told_and_none_stays_open() {
        for room in [0, 1, 2, 100] {
            let place = place();
            let (is_closed, end) = socket_pair();
            place.send(b"READY=1", &[end.as_raw_fd(); 110]).expect("sent");
            drop(end);
            let datagram = place.receiver.receive_with(room).expect("received").expect("a datagram");
            assert!(datagram.lost_descriptors && datagram.descriptors.is_empty(), "{room}");
            assert_eq!((&datagram.bytes[..], datagram.sender.is_some()), (&b"READY=1"[..], true));
            comes_about(is_closed);
        }
    }

    #[test]
    fn a_full_table_of_descriptors_loses_them_and_nothing_else() {
        let place = place();
        let (is_closed, end) = socket_pair();
        place.send(b"READY=1", &[end.as_raw_fd(); 200]).expect("sent");
        drop(end);
        // In a process of its own: the limit holds for all threads of this one.
        // SAFETY: the child allocates, which the C library allows after fork(2), and takes no lock that another has.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let highest = place.receiver.as_fd().as_raw_fd().max(place.sender.as_raw_fd()) as u64;
            let few = super::super::process::limit(highest + 9, highest + 9);
            // SAFETY: it only reads `few`.
            let is_set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) } == 0;
            let datagram = place.receiver.receive().ok().flatten();
            let is_told = datagram.is_some_and(|one| one.lost_descriptors && one.bytes == b"READY=1");
            // SAFETY: it ends here.
            unsafe { libc::_exit(i32::from(!(is_set && is_told))) };
        }
        let mut status = -1;
        // SAFETY: it is our child, and `status` has room.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        comes_about(is_closed);
    }

    #[test]
    fn a_datagram_that_is_too_long_is_told_and_its_descriptors_are_closed() {
        let place = place();
        let (is_closed, end) = socket_pair();
        place.send(&[b'x'; MOST + 1], &[end.as_raw_fd()]).expect("sent");
        drop(end);
        let datagram = place.receive();
        assert!(datagram.is_cut && datagram.bytes.is_empty() && datagram.descriptors.is_empty());
        assert!(datagram.sender.is_some());
        comes_about(is_closed);
    }

    #[test]
    fn a_flood_is_taken_one_by_one_and_its_sender_waits() {
        let place = place();
        place.sender.set_nonblocking(true).expect("set");
        let mut sent = 0;
        for _ in 0..3 {
            while place.send(&[b'x'; 100], &[]).is_ok() {
                sent += 1;
            }
            assert_eq!(place.send(b"x", &[]), Err(Errno::EAGAIN));
            assert_eq!(place.receive().bytes.len(), 100);
            sent -= 1;
        }
        while place.receiver.receive().expect("received").is_some() {
            sent -= 1;
        }
        assert_eq!(sent, 0);
    }

    #[test]
    fn a_descriptor_that_takes_long_to_close_holds_nothing_up() {
        let (end, other) = lingering();
        let place = place();
        place.send(b"x", &[end.as_raw_fd()]).expect("sent");
        drop(end);
        hold_nothing_up(|| drop(place.receive()));
        let (end, another) = lingering();
        let inner = self::place();
        inner.send(b"x", &[end.as_raw_fd()]).expect("sent");
        drop(end);
        place.send(b"x", &[inner.receiver.as_fd().as_raw_fd()]).expect("sent");
        drop(inner.sender);
        hold_nothing_up(|| drop(inner.receiver));
        let (end, third) = lingering();
        place.send(b"x", &[end.as_raw_fd()]).expect("sent");
        drop(end);
        hold_nothing_up(|| drop(place.receiver));
        drop((other, another, third));
    }

    #[test]
    fn what_is_closed_is_closed_for_senders() {
        let place = place();
        place.send(b"x", &[]).expect("sent");
        drop(place.receiver);
        comes_about(|| matches!(place.sender.send(b"x"), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock));
    }

    #[test]
    fn a_name_is_one_receivers_as_long_as_that_lives() {
        let place = place();
        assert_eq!(Receiver::bind(&place.name).err(), Some(Errno::EADDRINUSE));
        drop(place.receiver);
        comes_about(|| Receiver::bind(&place.name).is_ok());
        assert!(Receiver::bind(&[b'n'; LONGEST_NAME + 1]).is_err());
        let mut longest = format!("onit-test/{:016x}", random()).into_bytes();
        longest.resize(LONGEST_NAME, b'n');
        assert!(Receiver::bind(&longest).is_ok());
    }

    #[test]
    fn what_was_bound_before_is_told_from_a_pipe() {
        let place = place();
        place.send(b"x", &[]).expect("sent");
        let copy = place.receiver.as_fd().try_clone_to_owned().expect("a copy");
        let receiver = Receiver::restore(copy).expect("a socket");
        assert_eq!(receiver.receive().expect("received").expect("a datagram").bytes, b"x");
        let (pipe, _) = nix::unistd::pipe().expect("a pipe");
        let number = pipe.as_raw_fd();
        assert_eq!(Receiver::restore(pipe).expect_err("a pipe").as_raw_fd(), number);
    }

    #[test]
    fn numbers_differ() {
        assert_ne!(random(), random());
    }
}
