//! Unix sockets: what the api is reached through.

use super::{Errno, checked, fs};
use std::ffi::OsStr;
use std::mem;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connects to the socket at this path, however long the path is. A server that takes nobody in for so long is given up
/// (EAGAIN), and so is one that takes as long with an answer, or with what is sent to it.
pub fn connect(path: &Path, patience: Duration) -> Result<UnixStream, Errno> {
    let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    let mut directory = None; // held open while its number is part of a path
    let short = if path.as_os_str().len() < address.sun_path.len() {
        path.to_path_buf()
    } else {
        let parent = directory.insert(fs::open_path(path.parent().unwrap_or(Path::new(".")))?);
        let place = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
        place.join(path.file_name().unwrap_or(OsStr::new(".")))
    };
    let bytes = short.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    // SAFETY: socket(2) takes numbers.
    let number = checked(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows its number.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) });
    let limits = stream.set_write_timeout(Some(patience)).and_then(|()| stream.set_read_timeout(Some(patience)));
    limits.map_err(|_| Errno::EINVAL)?; // unix(7): it can only be a span of zero
    let length = libc::socklen_t::try_from(mem::size_of_val(&address)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: connect(2) reads `length` bytes of `address`, whose path ends with a zero.
    checked(unsafe { libc::connect(number, (&raw const address).cast(), length) })?;
    drop(directory);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_socket_is_reached_however_long_its_path_is() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = root.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).expect("mkdir");
        let dir = std::fs::File::open(&deep).expect("open");
        let _listener = UnixListener::bind(format!("/proc/self/fd/{}/api", dir.as_raw_fd())).expect("bind");
        assert!(connect(&deep.join("api"), SOON).is_ok());
        assert_eq!(connect(&deep.join("nothing"), SOON).err(), Some(Errno::ENOENT));
        assert_eq!(connect(&root.path().join("nothing"), SOON).err(), Some(Errno::ENOENT));
        assert_eq!(connect(&deep.join("x".repeat(200)), SOON).err(), Some(Errno::ENAMETOOLONG));
    }

    #[test]
    fn who_takes_nobody_in_is_given_up() {
        let root = tempfile::tempdir().expect("a directory");
        let place = root.path().join("api");
        let _listener = UnixListener::bind(&place).expect("bind");
        let moment = Duration::from_millis(20);
        let mut held = Vec::new();
        let last = (0..10_000).find_map(|_| connect(&place, moment).map(|stream| held.push(stream)).err());
        assert_eq!(last, Some(Errno::EAGAIN));
    }
}
