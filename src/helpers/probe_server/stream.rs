//! Where a server listens, and its clients: TCP, or a socket in a directory. Nothing here waits.

use crate::sys::socket;
use crate::sys::{Errno, fs, is_passing};
use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Everybody who can reach the directory may ask.
const MODE: u32 = 0o666;

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `HOST:PORT`.
    Tcp(String),
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: has no path behind it".into()),
            Some(path) => Ok(Place::Unix(path.into())),
            None if text
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) =>
            {
                Ok(Place::Tcp(text.to_owned()))
            }
            None => Err(format!("\"{text}\" is neither ADDRESS:PORT nor unix:PATH")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => f.write_str(address),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Place {
    /// Listens; a socket that nobody listens to any more is replaced.
    pub fn listen(&self) -> Result<Listener, String> {
        match self {
            Place::Tcp(address) => tcp(address).map(Listener::Tcp).map_err(|error| {
                error.raw_os_error().map_or_else(|| error.to_string(), |it| Errno::from_raw(it).desc().to_owned())
            }),
            Place::Unix(path) => unix(path).map(Listener::Unix).map_err(|errno| errno.desc().to_owned()),
        }
    }
}

fn tcp(address: &str) -> io::Result<TcpListener> {
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    let listener = TcpListener::bind(&addresses[..])?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn unix(path: &Path) -> Result<socket::Listener, Errno> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::EINVAL)?;
    socket::listen(&fs::open_path(parent)?, name, MODE)
}

/// Where clients come from.
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// By a socket in a directory.
    Unix(socket::Listener),
}

impl Listener {
    /// Has input when a client waits.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }

    /// The next client, if one waits.
    pub fn accept(&self) -> Result<Option<Box<dyn Stream>>, Errno> {
        match self {
            Listener::Tcp(listener) => {
                match listener.accept().and_then(|(it, _)| it.set_nonblocking(true).map(|()| it)) {
                    Ok(stream) => Ok(Some(Box::new(stream))),
                    Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
                        errno if is_passing(errno) && errno != Errno::EAGAIN || errno == Errno::ENOBUFS => Err(errno),
                        _ => Ok(None),
                    },
                }
            }
            Listener::Unix(listener) => Ok(match listener.accept()? {
                Some((stream, _)) => Some(Box::new(stream)),
                None => None,
            }),
        }
    }
}

/// A client.
pub trait Stream {
    /// Its descriptor.
    fn as_fd(&self) -> BorrowedFd<'_>;
    /// What has come, perhaps nothing; `None` if it has gone.
    fn read(&mut self, room: &mut [u8]) -> Option<usize>;
    /// How much was sent, perhaps nothing; `None` if it has gone.
    fn write(&mut self, bytes: &[u8]) -> Option<usize>;
}

impl Stream for socket::Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(self)
    }

    fn read(&mut self, room: &mut [u8]) -> Option<usize> {
        socket::Connection::read(self, room).map(<[u8]>::len)
    }

    fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        socket::Connection::write(self, bytes)
    }
}

impl Stream for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(self)
    }

    fn read(&mut self, room: &mut [u8]) -> Option<usize> {
        let mut stream: &TcpStream = self;
        moved(stream.read(room)).filter(|count| *count != Some(0)).map(Option::unwrap_or_default)
    }

    fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut stream: &TcpStream = self;
        moved(stream.write(bytes)).map(Option::unwrap_or_default)
    }
}

/// `None` if the other end has gone; `Some(None)` if nothing can be moved now.
fn moved(result: io::Result<usize>) -> Option<Option<usize>> {
    match result {
        Ok(count) => Some(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(None),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_path() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Place::Tcp("127.0.0.1:80".into())));
        assert_eq!("[::]:8080".parse(), Ok(Place::Tcp("[::]:8080".into())));
        assert_eq!("unix:/run/probe".parse(), Ok(Place::Unix("/run/probe".into())));
        assert!(
            ["", "80", ":80", "x:", "x:y", "unix:", "/run/probe"].iter().all(|text| text.parse::<Place>().is_err())
        );
    }
}
