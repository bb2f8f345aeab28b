//! The manager that runs us as one of its services, and waits for our notification: systemd's `sd_notify(3)`.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket that `NOTIFY_SOCKET` names.
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    name: OsString,
}

/// Where its name is.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

impl AsFd for Manager {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Manager {
    /// The manager that the environment names, if it names one. Our children do not inherit its name: what they would
    /// say is not about us.
    pub fn from_environment() -> Option<Manager> {
        let name = std::env::var_os(VARIABLE)?;
        // SAFETY: PID 1 has a single thread.
        unsafe { std::env::remove_var(VARIABLE) };
        Manager::at(name)
    }

    /// The one that listens at this address.
    pub fn at(name: OsString) -> Option<Manager> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            name => SocketAddr::from_pathname(OsStr::from_bytes(name)),
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Manager { socket, address: address.ok()?, name })
    }

    /// What the environment said.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Says `READY=1`, `STOPPING=1` or the like. A manager that does not listen is no reason to wait.
    pub fn notify(&self, state: &str) {
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.address);
    }
}
