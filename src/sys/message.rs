//! Messages of sockets, and the descriptors that come with them.
//!
//! Senders are not trusted, and descriptors that they send are not closed by this process: the last close(2) of a TCP
//! socket with `SO_LINGER` lasts as long as its sender likes, so does that of a Unix socket in whose queue such a socket
//! lies, and a file in FUSE or NFS asks its server first. That also holds for descriptors that the kernel drops because
//! there is no room for them, so there is always room for all that one message can have.

use super::{Errno, checked};
use crate::machine::Pid;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockType, SockaddrLike as _, SockaddrStorage, getsockname, getsockopt,
    sendmsg, sockopt,
};
use std::ffi::{c_int, c_void};
use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};

/// With one message the kernel sends at most so many descriptors (`SCM_MAX_FD`).
pub const MOST_DESCRIPTORS: usize = 253;

/// Room for what comes beside the bytes. The kernel puts the credentials first.
// SAFETY: it computes a length.
const CREDENTIALS: usize = unsafe { libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) } as usize;

/// The stack of a process that closes descriptors.
const STACK: usize = 16 * 1024;

/// What was received at once, but for its bytes.
#[derive(Debug)]
pub struct Message {
    /// How many bytes there are in the buffer. None: the other end of a stream says nothing more.
    pub length: usize,
    /// Which process has sent it, if the socket asks for that (`SO_PASSCRED`) and it is to be seen from our PID namespace.
    pub sender: Option<Sender>,
    /// What came with it.
    pub descriptors: Descriptors,
    /// There was more than the buffer has room for, and that is lost.
    pub is_cut: bool,
    /// It had descriptors that this process has no room for (`RLIMIT_NOFILE`).
    pub lost_descriptors: bool,
}

/// A process, as the kernel knows it; with privileges it may have said that it is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// Its number.
    pub pid: Pid,
    /// Its effective user.
    pub user: u32,
    /// Its effective group.
    pub group: u32,
}

/// Descriptors of a sender, close-on-exec. Dropped, they are closed, and nothing is waited for.
#[derive(Default, Debug)]
pub struct Descriptors(Vec<OwnedFd>);

/// Receives what has come, with room for so many descriptors. EAGAIN if there is nothing: it never waits.
pub fn receive(socket: BorrowedFd, bytes: &mut [u8], room: usize) -> Result<Message, Errno> {
    receive_with(socket, bytes, room, 0)
}

/// The same, but the message stays there, and these are copies of its descriptors.
pub fn peek(socket: BorrowedFd, bytes: &mut [u8], room: usize) -> Result<Message, Errno> {
    receive_with(socket, bytes, room, libc::MSG_PEEK)
}

/// Sends a message with descriptors, up to [`MOST_DESCRIPTORS`]. It never waits.
pub fn send(socket: BorrowedFd, bytes: &[u8], descriptors: &[RawFd]) -> Result<(), Errno> {
    let part = [IoSlice::new(bytes)];
    let rights = [ControlMessage::ScmRights(descriptors)];
    let beside = if descriptors.is_empty() { &[] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &part, beside, flags, None).map(drop)
}

fn receive_with(socket: BorrowedFd, bytes: &mut [u8], room: usize, flags: c_int) -> Result<Message, Errno> {
    let mut control = Control([0; _]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a struct of numbers and pointers; zeros are a message of nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control_length(room.min(MOST_DESCRIPTORS)) as _;
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: recvmsg(2) writes to what `message` points to, no more than the lengths in it, and all of that lives on.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(Errno::result(received)?).unwrap_or(0);
    // Before anything else: what is not in `Descriptors` stays open for ever. nix reads none of a truncated message, so
    // those that did arrive would.
    // SAFETY: recvmsg(2) has filled `message` and `control`, and nothing else owns the descriptors.
    let (sender, descriptors) = unsafe { beside(&message) };
    let is_cut = message.msg_flags & libc::MSG_TRUNC != 0;
    let lost_descriptors = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Message { length, sender, descriptors, is_cut, lost_descriptors })
}

/// Aligned as `CMSG_FIRSTHDR` needs it.
#[repr(C, align(8))]
struct Control([u8; control_length(MOST_DESCRIPTORS)]);

const fn control_length(room: usize) -> usize {
    // Without a descriptor there is no message of them.
    // SAFETY: it computes a length.
    CREDENTIALS + if room == 0 { 0 } else { unsafe { libc::CMSG_SPACE((room * size_of::<RawFd>()) as u32) as usize } }
}

/// The credentials and descriptors of a message that was received.
///
/// # Safety
/// `message` is as recvmsg(2) has left it, what it points to is still there, and its descriptors belong to the caller.
unsafe fn beside(message: &libc::msghdr) -> (Option<Sender>, Descriptors) {
    let (mut sender, mut descriptors) = (None, Descriptors::default());
    // SAFETY: cmsg(3): these walk through the headers that the kernel has written, up to `msg_controllen`, and give null
    // in the end. The data begin behind each header and end with `cmsg_len`, and need not be aligned.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while let Some(header) = next.as_ref() {
            let data = libc::CMSG_DATA(header);
            #[allow(clippy::unnecessary_cast)] // musl has another type
            let length = (header.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let numbers = (0..length / size_of::<RawFd>()).map(|at| data.cast::<RawFd>().add(at));
                    descriptors.0.extend(numbers.map(|number| OwnedFd::from_raw_fd(number.read_unaligned())));
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                    let ucred = data.cast::<libc::ucred>().read_unaligned();
                    let known = Sender { pid: Pid(ucred.pid), user: ucred.uid, group: ucred.gid };
                    sender = (ucred.pid > 0).then_some(known);
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(message, header);
        }
    }
    (sender, descriptors)
}

impl Descriptors {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// To keep them. To close one may take as long as its sender likes: back into `Descriptors` with it.
    pub fn take(mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<OwnedFd>> for Descriptors {
    fn from(descriptors: Vec<OwnedFd>) -> Descriptors {
        Descriptors(descriptors)
    }
}

impl Drop for Descriptors {
    /// What nobody can make take long is closed at once. For others there is a child that shares the table of descriptors,
    /// ends when they are closed, and is reaped like an orphan.
    fn drop(&mut self) {
        self.0.retain(|descriptor| !is_closed_at_once(descriptor));
        if self.0.is_empty() {
            return;
        }
        let mut numbers = [-1; MOST_DESCRIPTORS];
        while !self.0.is_empty() {
            let batch = self.0.split_off(self.0.len().saturating_sub(MOST_DESCRIPTORS));
            let count = batch.len();
            numbers.iter_mut().zip(&batch).for_each(|(number, descriptor)| *number = descriptor.as_raw_fd());
            let mut list = List { numbers, count };
            if close_elsewhere(&mut list).is_ok() {
                batch.into_iter().for_each(|descriptor| {
                    let _ = descriptor.into_raw_fd();
                });
            } // else there is no process to be had: they are closed here
        }
    }
}

/// A pipe, which a barrier is; and what is bound to an address without a connection, which somebody may be about to bind
/// anew. A socket with a path is none of that: descriptors may wait in it.
fn is_closed_at_once(descriptor: &OwnedFd) -> bool {
    let family = || getsockname::<SockaddrStorage>(descriptor.as_raw_fd()).ok().and_then(|address| address.family());
    let is_internet = || matches!(family(), Some(AddressFamily::Inet | AddressFamily::Inet6));
    let has_kind = |kind| getsockopt(descriptor, sockopt::SockType).is_ok_and(|is| is == kind);
    let listens = || getsockopt(descriptor, sockopt::AcceptConn) == Ok(true);
    fcntl(descriptor, FcntlArg::F_GETPIPE_SZ).is_ok()
        || (is_internet() && (has_kind(SockType::Datagram) || has_kind(SockType::Stream) && listens()))
}

struct List {
    numbers: [RawFd; MOST_DESCRIPTORS],
    count: usize,
}

fn close_elsewhere(list: &mut List) -> Result<(), Errno> {
    #[repr(C, align(16))]
    struct Stack([u8; STACK]);
    let mut stack = Stack([0; STACK]);
    let top = stack.0.as_mut_ptr_range().end.cast();
    let flags = libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: clone(2) without CLONE_VM: the child has its own copy of all memory, stack and list included, and makes
    // system calls only. The descriptors are closed there, in the table of both, and by the caller no more.
    checked(unsafe { libc::clone(close_all, top, flags, (&raw mut *list).cast()) }).map(drop)
}

extern "C" fn close_all(list: *mut c_void) -> c_int {
    // SAFETY: the copy of what `close_elsewhere` was given.
    let list = unsafe { &*list.cast::<List>() };
    for number in list.numbers.iter().take(list.count) {
        // SAFETY: nothing else closes it.
        unsafe { libc::close(*number) };
    }
    0
}

#[cfg(test)]
pub(super) use tests::{hold_nothing_up, lingering};

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{setsockopt, sockopt::Linger};
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    /// So many seconds it takes to close what lingers. Not for ever: a child that another test has just started may have
    /// both ends, and be the last to close one.
    const LINGERS: u16 = 20;

    /// What is done here is done before anything that lingers is closed.
    pub fn hold_nothing_up(does: impl FnOnce()) {
        let begin = super::super::clock::now();
        does();
        let took = super::super::clock::now().since(begin);
        assert!(took < std::time::Duration::from_secs(LINGERS.into()), "it waits for what lingers: {took:?}");
    }

    /// A connection whose other end reads nothing, so that to close it takes long. That other end, closed, is the end of
    /// that.
    pub fn lingering() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut stream = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let (other, _) = listener.accept().expect("accepted");
        stream.set_nonblocking(true).expect("set");
        while stream.write(&[0; 65536]).is_ok() {}
        stream.set_nonblocking(false).expect("set");
        let linger = libc::linger { l_onoff: 1, l_linger: LINGERS.into() };
        setsockopt(&stream, Linger, &linger).expect("set");
        (stream.into(), other)
    }
}
