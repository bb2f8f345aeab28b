//! Sockets and named pipes that services get when they start.

use super::fs::{self, FileId};
use super::{Errno, process};
use crate::machine::Pid;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::socket::sockopt::{Broadcast, IpFreebind, Ipv6V6Only, PeerCredentials, ReuseAddr, ReusePort};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockaddrLike, SockaddrStorage, UnixAddr, bind, connect, getsockopt, listen,
    setsockopt, socket,
};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, lstat};
use nix::unistd::{Gid, Uid, fchownat, unlink};
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

pub use nix::sys::socket::SockType as Type;

/// More of a list of sockets is not read, in bytes.
const LIST: u64 = 1 << 20;
/// Processes whose descriptors are looked at for one that holds an address.
const PROCESSES: usize = 10_000;

/// What an internet socket is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// It takes nothing of the fourth version of IP.
    pub only_six: bool,
    /// Others may bind the same address.
    pub reuseport: bool,
    /// The address need not be one of this machine.
    pub freebind: bool,
    /// So many connections may wait.
    pub backlog: i32,
}

/// Binds an address. What is bound to it in a way that ended moments ago does not count.
pub fn internet(kind: Type, address: SocketAddr, options: Options) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let new = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if options.only_six {
        setsockopt(&new, Ipv6V6Only, &true)?;
    }
    if options.reuseport {
        setsockopt(&new, ReusePort, &true)?;
    }
    if options.freebind {
        setsockopt(&new, IpFreebind, &true)?;
    }
    match kind {
        Type::Stream => setsockopt(&new, ReuseAddr, &true)?, // else what closes slowly would bar it for a minute
        _ => setsockopt(&new, Broadcast, &true)?,
    }
    bind_to(new, kind, &SockaddrStorage::from(address), options.backlog)
}

/// Binds a path, or with `@` in front a name beside the file system. A socket there that no process listens to is
/// replaced. EADDRINUSE if a process does; EEXIST if something else has the name.
pub fn unix(kind: Type, path: &str, backlog: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let address = match path.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes())?,
        None => {
            make_way(kind, path)?;
            UnixAddr::new(path)?
        }
    };
    let new = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&new, Mode::from_bits_truncate(mode & 0o777))?; // nobody gets in before its permissions are right
    bind_to(new, kind, &address, backlog)
}

/// Gives a path its permissions, and these owners. A link is not followed: whoever may write the directory could put one
/// there meanwhile.
pub fn give(path: &Path, mode: u32, user: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
    if user.is_some() || group.is_some() {
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        fchownat(AT_FDCWD, path, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    if lstat(path)?.st_mode & 0o7777 == mode {
        return Ok(()); // what comes next needs /proc on old kernels
    }
    fchmodat(AT_FDCWD, path, Mode::from_bits_truncate(mode), FchmodatFlags::NoFollowSymlink)
}

/// Which file stands there, whatever it is; a link is followed by nobody.
pub fn identity(path: &Path) -> Result<FileId, Errno> {
    fs::identity_at(AT_FDCWD, path.as_os_str())
}

/// Removes a path, if this still stands there.
pub fn remove(path: &Path, id: FileId) {
    if identity(path) == Ok(id) {
        let _ = unlink(path);
    }
}

/// A pipe with this name, of which both ends are held; one that is there is opened. ENOTSUP if something else has the
/// name.
pub fn fifo(path: &str) -> Result<OwnedFd, Errno> {
    let fifo = fs::fifo(AT_FDCWD, path, fs::Ends::Both)?;
    fs::set_blocking(&fifo)?; // as a service expects it
    Ok(fifo)
}

/// So many connections may wait from now on.
pub fn let_wait(socket: &OwnedFd, backlog: i32) -> Result<(), Errno> {
    listen(socket, Backlog::new(backlog.min(libc::SOMAXCONN))?)
}

fn bind_to(new: OwnedFd, kind: Type, address: &dyn SockaddrLike, backlog: i32) -> Result<OwnedFd, Errno> {
    bind(new.as_raw_fd(), address)?;
    if kind != Type::Datagram {
        let_wait(&new, backlog)?;
    }
    Ok(new)
}

/// Removes a socket that nobody listens to.
fn make_way(kind: Type, path: &str) -> Result<(), Errno> {
    match caller(kind, path) {
        Ok(_) | Err(Errno::EAGAIN) => Err(Errno::EADDRINUSE),
        Err(Errno::ECONNREFUSED) if fs::is_socket(AT_FDCWD, path) => unlink(path),
        Err(_) if fs::is_there(AT_FDCWD, path.as_ref()) => Err(Errno::EEXIST),
        Err(_) => Ok(()), // bind(2) says what is wrong
    }
}

/// A connection to whoever listens there. It does not wait.
fn caller(kind: Type, path: &str) -> Result<OwnedFd, Errno> {
    let new = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    let address =
        path.strip_prefix('@').map_or_else(|| UnixAddr::new(path), |name| UnixAddr::new_abstract(name.as_bytes()));
    connect(new.as_raw_fd(), &address?)?;
    Ok(new)
}

/// The process that listens to a path, if it is to be seen.
pub fn holder_of_path(kind: Type, path: &str) -> Option<Pid> {
    let one = getsockopt(&caller(kind, path).ok()?, PeerCredentials).ok()?;
    (one.pid() > 0).then_some(Pid(one.pid()))
}

/// The sockets of one kind that there are: `tcp`, `udp`, `tcp6` or `udp6`.
pub fn listed(kind: &str) -> String {
    let mut text = Vec::new();
    let file = std::fs::File::open(format!("/proc/net/{kind}"));
    let _ = file.and_then(|file| file.take(LIST).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// A process that has the socket with this inode open, if it is to be seen.
pub fn holder_of(inode: u64) -> Option<Pid> {
    let any = socket(AddressFamily::Unix, Type::Stream, SockFlag::SOCK_CLOEXEC, None).ok()?;
    let file = FileId { inode, ..fs::identity(any).ok()? }; // all sockets are of one device
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid);
    pids.take(PROCESSES).find(|pid| process::holds(*pid, file) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_link_is_given_to_nobody_and_what_it_leads_to_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "").expect("written");
        let mode = || std::fs::metadata(&file).expect("there").permissions().mode() & 0o7777;
        assert_eq!((give(&file, 0o600, None, None), mode()), (Ok(()), 0o600));
        symlink(&file, &link).expect("a link");
        assert!(give(&link, 0o666, None, None).is_err());
        assert_eq!(mode(), 0o600);
    }
}
