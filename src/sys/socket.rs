//! The local socket that programs talk to us through, and the processes and users at its other end.

use super::message::{self, MOST_DESCRIPTORS, Message};
use super::{Errno, checked, clock};
use crate::machine::{Mono, Pid};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, accept4, bind, getsockopt, send,
    shutdown, socket, socketpair, sockopt::PeerCredentials,
};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More groups than a user has in practice.
const GROUPS: usize = 1024;

/// How many may wait to be accepted.
const BACKLOG: i32 = 128;
/// A socket refuses a limit of no time at all.
const LEAST: Duration = Duration::from_millis(1);
const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// Where connections come from.
pub struct Listener(OwnedFd);

/// Two ends of one connection, which keeps messages apart.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The client at the other end, as the kernel knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its process, when it connected.
    pub pid: Pid,
    /// Its user.
    pub user: u32,
    /// Its groups.
    pub groups: Vec<u32>,
}

/// Nothing is accepted here any more, and who waits for that waits no longer.
pub fn stop(listener: impl AsFd) {
    let _ = shutdown(listener.as_fd().as_raw_fd(), Shutdown::Both);
}

/// Listens in a directory, under this name and with these permissions. A socket that no process listens to is replaced.
/// EADDRINUSE if a process does, or if something else has the name.
pub fn listen(dir: &OwnedFd, name: &str, mode: u32) -> Result<Listener, Errno> {
    let path = within(dir, name);
    match connect(&path) {
        Ok(_) | Err(Errno::EAGAIN) => return Err(Errno::EADDRINUSE),
        Err(Errno::ECONNREFUSED) if super::fs::is_socket(dir, name) => super::fs::remove(dir, name)?,
        Err(_) if super::fs::is_there(dir, name.as_ref()) => return Err(Errno::EADDRINUSE),
        Err(_) => {} // bind(2) says what is wrong
    }
    // It gets its name when it is listened to: a client that waits for the name to come can connect at once.
    let unheard = format!("{name}.new");
    super::fs::remove(dir, &unheard)?;
    let listener = fresh()?;
    // The umask is left alone: if we failed while it was another, our successor would inherit that. The file has the
    // mode of the socket, less the umask; what that takes away comes back before a client can connect.
    let mode = Mode::from_bits_truncate(mode);
    fchmod(&listener, mode)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(&within(dir, &unheard))?)?;
    let heard = fchmodat(dir, unheard.as_str(), mode, FchmodatFlags::FollowSymlink)
        .and_then(|()| nix::sys::socket::listen(&listener, Backlog::new(BACKLOG)?))
        .and_then(|()| super::fs::rename(dir, unheard.as_ref(), name.as_ref()));
    if heard.is_err() {
        let _ = super::fs::remove(dir, &unheard);
    }
    heard.map(|()| Listener(listener))
}

/// Whether this very process made the socket of this name, before a fault: a child that has not executed its program
/// yet holds the listener that we no longer have.
pub fn is_left_by_us(dir: &OwnedFd, name: &str) -> bool {
    let listens = connect(&within(dir, name)).and_then(|connection| getsockopt(&connection.0, PeerCredentials));
    listens.is_ok_and(|credentials| u32::try_from(credentials.pid()) == Ok(std::process::id()))
}

/// Connects without waiting. ECONNREFUSED if no process listens; EAGAIN if as many clients as it allows wait already.
pub fn connect(path: &Path) -> Result<Connection, Errno> {
    let stream = fresh()?;
    nix::sys::socket::connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(Connection(stream))
}

/// Connects to the socket at this path, however long the path is. A server that accepts no connection for so long is
/// given up (EAGAIN), and so is one that takes as long with an answer, or with what is sent to it.
pub fn call(path: &Path, patience: Duration) -> Result<UnixStream, Errno> {
    let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
    let patience = patience.max(LEAST);
    stream.set_read_timeout(Some(patience)).map_err(|_| Errno::EINVAL)?;
    let address = match UnixAddr::new(path) {
        Ok(address) => return reach(stream, &address, patience),
        Err(Errno::ENAMETOOLONG) => super::fs::open_path(path.parent().unwrap_or(Path::new("."))),
        Err(errno) => return Err(errno),
    };
    let (dir, name) = (address?, path.file_name().unwrap_or_default().to_string_lossy());
    reach(stream, &UnixAddr::new(&within(&dir, &name))?, patience)
}

fn reach(stream: UnixStream, address: &UnixAddr, patience: Duration) -> Result<UnixStream, Errno> {
    let until = clock::now().after(patience);
    let limit = |span: Duration| stream.set_write_timeout(Some(span)).map_err(|_| Errno::EINVAL);
    loop {
        let left = until.since(clock::now());
        limit(left.max(LEAST))?;
        match nix::sys::socket::connect(stream.as_raw_fd(), address) {
            Err(Errno::EINTR) if !left.is_zero() => {} // a signal that means nothing to this
            Err(Errno::EINTR) => return Err(Errno::EAGAIN),
            result => return result.and_then(|()| limit(patience)).map(|()| stream),
        }
    }
}

/// Reads what comes, but waits no longer than until then: `WouldBlock`. What has come is read after that, too: we may
/// have been stopped meanwhile.
pub fn read_by(mut stream: &UnixStream, buffer: &mut [u8], until: Mono) -> io::Result<usize> {
    loop {
        let left = until.since(clock::now());
        stream.set_read_timeout(Some(left.max(LEAST)))?;
        match stream.read(buffer) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Err(_) if left.is_zero() => return Err(ErrorKind::WouldBlock.into()),
            Err(_) => {}
            Ok(length) => return Ok(length),
        }
    }
}

/// The process that has claimed a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimant {
    /// Its process, if that has a number here.
    pub pid: Option<Pid>,
    /// Its user.
    pub user: u32,
}

/// Claims a word that one process at a time has in a network namespace, for as long as this is open. There is no file,
/// so it works also where nothing can be written, and for every user. A process that connects learns which one has it,
/// and takes one of the places of waiting clients until it is accepted. EADDRINUSE if another process has it.
pub fn claim(word: &str) -> Result<Listener, Errno> {
    let socket = fresh()?;
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(word.as_bytes())?)?;
    nix::sys::socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(Listener(socket))
}

/// The process that has claimed a word; `None` if none has, or if it cannot be found out.
pub fn claimant(word: &str) -> Option<Claimant> {
    let stream = fresh().ok()?;
    nix::sys::socket::connect(stream.as_raw_fd(), &UnixAddr::new_abstract(word.as_bytes()).ok()?).ok()?;
    let one = getsockopt(&stream, PeerCredentials).ok()?;
    Some(Claimant { pid: (one.pid() > 0).then_some(Pid(one.pid())), user: one.uid() })
}

fn fresh() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)
}

/// A path to what is in an open directory, however long its own path is.
fn within(dir: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// A connection that never waits, whatever its other end sends.
pub struct Connection(OwnedFd);

/// What is to be sent. To take from its front costs nothing, however long it is.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    sent: usize,
}

impl Output {
    /// Adds this to its end.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was not sent yet.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes that is.
    pub fn len(&self) -> usize {
        self.rest().len()
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// So many bytes at its front are not to be sent any more.
    pub fn was_sent(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            *self = Output::default();
        } else if self.sent > self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

impl From<OwnedFd> for Connection {
    /// A connection that somebody else has accepted.
    fn from(accepted: OwnedFd) -> Connection {
        Connection(accepted)
    }
}

impl Drop for Connection {
    /// What is still in its queue may have descriptors with it, which the kernel would close in our place.
    fn drop(&mut self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Read); // nothing more can be sent
        while self.read(&mut [0; 4096]).is_some_and(|bytes| !bytes.is_empty()) {}
    }
}

impl Drop for Listener {
    /// What waits to be accepted may have sent something, too.
    fn drop(&mut self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
        while let Ok(Some(_)) = self.accept() {}
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// One that the supervisor before us has left us.
    pub fn restore(left: OwnedFd) -> Listener {
        Listener(left)
    }

    /// The next one that waits to be accepted.
    pub fn accept(&self) -> Result<Option<(Connection, Peer)>, Errno> {
        let stream = match accept4(self.0.as_raw_fd(), FLAGS) {
            // SAFETY: it is new, and nothing else uses it.
            Ok(number) => unsafe { OwnedFd::from_raw_fd(number) },
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let peer = peer(&stream)?;
        Ok(Some((Connection(stream), peer)))
    }
}

impl Connection {
    /// What has come, as much as fits; `None` if the other end has gone.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        match message::receive(self.0.as_fd(), buffer, MOST_DESCRIPTORS) {
            Ok(Message { length: 0, .. }) => None,
            Ok(Message { length, .. }) => buffer.get(..length), // descriptors are of no use here
            Err(Errno::EAGAIN | Errno::EINTR) => Some(&[]),
            Err(_) => None,
        }
    }

    /// Whether the other end has gone altogether, and does not just say nothing more.
    pub fn has_hung_up(&self) -> bool {
        let mut state = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        poll(&mut state, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Sends what there is room for; `None` if the other end has gone. There is no SIGPIPE.
    pub fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        match send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
            Ok(length) => Some(length),
            Err(Errno::EAGAIN | Errno::EINTR) => Some(0),
            Err(_) => None,
        }
    }
}

/// The process that listens at the other end, as processes are numbered here; `None` if its process is not to be seen
/// from our PID namespace.
pub fn server(stream: &UnixStream) -> Option<Pid> {
    let pid = getsockopt(stream, PeerCredentials).ok()?.pid();
    (pid > 0).then_some(Pid(pid))
}

/// The user who listens at the other end, as users are numbered here.
pub fn server_user(stream: &UnixStream) -> Option<u32> {
    getsockopt(stream, PeerCredentials).ok().map(|credentials| credentials.uid())
}

/// `unix(7)`: the credentials are those of the moment of connect(2); the groups need Linux 4.13.
fn peer(stream: &OwnedFd) -> Result<Peer, Errno> {
    let one = getsockopt(stream, PeerCredentials)?;
    let groups = groups(stream).unwrap_or_default().into_iter().chain([one.gid()]).collect();
    Ok(Peer { pid: Pid(one.pid()), user: one.uid(), groups })
}

fn groups(stream: &OwnedFd) -> Result<Vec<u32>, Errno> {
    let mut groups = [0u32; GROUPS];
    let mut length = size_of_val(&groups) as libc::socklen_t;
    // SAFETY: getsockopt(2) writes at most `length` bytes to `groups`, and their number to `length`.
    checked(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    Ok(groups.iter().take(length as usize / size_of::<u32>()).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessage, sendmsg};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_was_sent_is_gone_and_the_rest_stays_in_order() {
        let mut output = Output::default();
        output.add(b"hello ");
        output.was_sent(2);
        output.add(b"world");
        assert_eq!((output.rest(), output.len()), (&b"llo world"[..], 9));
        output.was_sent(7);
        assert_eq!(output.rest(), b"ld");
        output.was_sent(2);
        assert!(output.is_empty() && output.bytes.capacity() == 0);
    }

    #[test]
    fn who_connects_is_known_and_a_socket_that_nobody_answers_is_replaced() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = super::super::fs::open_path(place.path()).expect("opened");
        let listener = listen(&dir, "api", 0o600).expect("a socket");
        assert!(listener.accept().expect("nobody yet").is_none());
        assert_eq!(listen(&dir, "api", 0o600).err(), Some(Errno::EADDRINUSE));
        let mut client = connect(&place.path().join("api")).expect("connected");
        assert!(listener.accept().expect("who asked whether somebody listens").is_some());
        let (mut connection, peer) = listener.accept().expect("accepted").expect("somebody");
        assert_eq!((peer.pid.0 as u32, peer.user), (std::process::id(), nix::unistd::geteuid().as_raw()));
        assert!(peer.groups.contains(&nix::unistd::getegid().as_raw()));
        assert_eq!(connection.read(&mut [0; 8]), Some(&b""[..]));
        assert_eq!(client.write(b"hello\n"), Some(6));
        assert_eq!(connection.read(&mut [0; 8]), Some(&b"hello\n"[..]));
        assert_eq!(connection.write(b"x"), Some(1));
        drop(client);
        comes_about(|| (connection.read(&mut [0; 8]), connection.write(b"x")) == (None, None));
        assert!(is_left_by_us(&dir, "api") && !is_left_by_us(&dir, "other"));
        drop(listener);
        comes_about(|| listen(&dir, "api", 0o600).is_ok());
    }

    /// To close what came with a message takes long there, and here nothing is waited for.
    #[test]
    fn descriptors_that_a_client_sends_hold_nothing_up() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = super::super::fs::open_path(place.path()).expect("opened");
        let listener = listen(&dir, "api", 0o600).expect("a socket");
        let mut others = Vec::new();
        let mut client = || {
            let client = connect(&place.path().join("api")).expect("connected");
            let (end, other) = super::super::message::lingering();
            others.push(other);
            let rights = [ControlMessage::ScmRights(&[end.as_raw_fd()])];
            let parts = [std::io::IoSlice::new(b"list\n")];
            sendmsg::<UnixAddr>(client.0.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None).expect("sent");
            client
        };
        let (one, other, third) = (client(), client(), client());
        super::super::message::hold_nothing_up(|| {
            let (mut connection, _) = listener.accept().expect("accepted").expect("a client");
            assert_eq!(connection.read(&mut [0; 8]), Some(&b"list\n"[..]), "it is read");
            let (connection, _) = listener.accept().expect("accepted").expect("a client");
            drop(connection);
            drop(listener); // with one that nobody has accepted
        });
        drop((one, other, third));
    }

    /// What we have closed, a child that another test has just started holds until its exec.
    fn comes_about(mut is_so: impl FnMut() -> bool) {
        let deadline = clock::now().after(SOON);
        while !is_so() {
            assert!(clock::now() < deadline, "not in time");
        }
    }

    #[test]
    fn a_word_is_claimed_by_one_and_everybody_sees_by_whom() {
        let word = format!("onit test {}", std::process::id());
        assert_eq!(claimant(&word), None);
        let first = claim(&word).expect("claimed");
        assert_eq!(claim(&word).err(), Some(Errno::EADDRINUSE));
        let us = Claimant { pid: Some(Pid(std::process::id().cast_signed())), user: nix::unistd::geteuid().as_raw() };
        for _ in 0..=2 * BACKLOG {
            assert_eq!(claimant(&word), Some(us));
            assert!(first.accept().is_ok_and(|one| one.is_some()), "nobody stays in the way of the next one");
        }
        drop(first);
        comes_about(|| claimant(&word).is_none());
        comes_about(|| claim(&word).is_ok());
    }

    #[test]
    fn its_permissions_are_those_that_were_asked_for() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = super::super::fs::open_path(place.path()).expect("opened");
        for mode in [0o600, 0o660, 0o666, 0o620] {
            let _listener = listen(&dir, &format!("{mode:o}"), mode).expect("a socket");
            let path = place.path().join(format!("{mode:o}"));
            let stands = std::fs::metadata(path).expect("it is there").permissions().mode();
            assert_eq!(stands & 0o777, mode);
        }
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_socket_is_reached_however_long_its_path_is() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = root.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).expect("mkdir");
        let _listener = listen(&super::super::fs::open_path(&deep).expect("opened"), "api", 0o600).expect("a socket");
        assert!(call(&deep.join("api"), SOON).is_ok());
        assert_eq!(call(&deep.join("nothing"), SOON).err(), Some(Errno::ENOENT));
        assert_eq!(call(&root.path().join("nothing"), SOON).err(), Some(Errno::ENOENT));
        assert_eq!(call(&deep.join("x".repeat(200)), SOON).err(), Some(Errno::ENAMETOOLONG));
    }

    #[test]
    fn who_takes_nobody_in_is_given_up() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = super::super::fs::open_path(root.path()).expect("opened");
        let _listener = listen(&dir, "api", 0o600).expect("a socket");
        let mut held = Vec::new();
        let moment = Duration::from_millis(20);
        let last = (0..10_000).find_map(|_| call(&root.path().join("api"), moment).map(|s| held.push(s)).err());
        assert_eq!(last, Some(Errno::EAGAIN));
    }
}
