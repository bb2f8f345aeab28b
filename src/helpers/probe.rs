//! `onit probe`: one question to a server, a file, a process or a program, and how long it may take to be answered.
//!
//! Everything has one deadline, also a server that answers a byte a second. The lookup of a name alone takes as long as
//! the resolver's own limits (resolv.conf(5)).

mod command;
mod http;

pub use http::{Expected, Url};

use crate::machine::{Mono, Pid};
use crate::sys::{clock, process};
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Does a server take a connection there?
    Tcp(HostPort),
    /// Does one at this socket?
    Unix(PathBuf),
    /// What does this page say?
    Http(Url, Expected),
    /// Does this program end with 0?
    Exec(Vec<OsString>),
    /// Is there such a file?
    File(PathBuf),
    /// Is there a process of this name?
    Process(String),
}

/// A server, by its name or address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl HostPort {
    /// Reads `HOST:PORT`, where an IPv6 address stands in brackets; without a port it is this one, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, usual: Option<u16>) -> Result<HostPort, String> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("") })),
            None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let is_bracketed = text.starts_with('[');
        if host.is_empty() || (host.contains(':') && !is_bracketed) {
            return Err(format!("\"{text}\" is not HOST:PORT (an IPv6 address: [::1]:PORT)"));
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0),
            None => usual,
        };
        let port = port.ok_or_else(|| format!("\"{text}\" has no port from 1 to 65535"))?;
        Ok(HostPort { host: host.to_owned(), port })
    }

    /// Connects to the first of its addresses that answers. Each has its share of the time.
    fn connect(&self, until: Mono) -> Result<TcpStream, String> {
        let addresses: Vec<_> =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| why(&error))?.collect();
        let mut failure = "it has no address".to_owned();
        for (at, address) in addresses.iter().enumerate() {
            let share = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let connected = left(until).and_then(|left| TcpStream::connect_timeout(address, left / share));
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = why(&error),
            }
        }
        Err(failure)
    }
}

/// Asks. No answer within `limit` is a no.
///
/// # Errors
/// Why the answer is no, for people.
pub fn ask(question: &Question, limit: Duration, quiet: bool) -> Result<(), String> {
    let until = clock::now().after(limit);
    match question {
        Question::Tcp(server) => server.connect(until).map(drop),
        Question::Unix(path) => crate::sys::socket::call(path, limit).map(drop).map_err(|errno| match errno {
            crate::sys::Errno::EAGAIN => IN_VAIN.to_owned(),
            errno => errno.desc().to_owned(),
        }),
        Question::Http(url, expected) => http::ask(url, expected, until),
        Question::Exec(words) => command::ask(words, until, quiet),
        Question::File(path) => std::fs::metadata(path).map(drop).map_err(|error| why(&error)),
        Question::Process(name) => match there_is(name) {
            true => Ok(()),
            false => Err("there is no such process".into()),
        },
    }
}

const IN_VAIN: &str = "no answer in time";

/// What is left of the time; an error if nothing is.
fn left(until: Mono) -> io::Result<Duration> {
    let left = until.since(clock::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// An error as people know it, without its number.
fn why(error: &io::Error) -> String {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock, _) => IN_VAIN.into(),
        (_, Some(number)) => crate::sys::Errno::from_raw(number).desc().to_owned(),
        (_, None) => error.to_string(),
    }
}

/// Whether a process that has not ended has this short name, or was started by it, with or without a path.
fn there_is(name: &str) -> bool {
    let us = Pid(std::process::id().cast_signed());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid));
    pids.any(|pid| pid != us && is_called(pid, name) && process::origin(pid).is_some())
}

fn is_called(pid: Pid, name: &str) -> bool {
    if process::name(pid) == name {
        return true;
    }
    let first = process::words(pid).and_then(|words| words.into_iter().next());
    first.is_some_and(|word| word == name || Path::new(&word).file_name() == Some(OsStr::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        let read = |text| HostPort::parse(text, None).map(|it| (it.host, it.port)).ok();
        assert_eq!(read("localhost:80"), Some(("localhost".into(), 80)));
        assert_eq!(read("[::1]:6379"), Some(("::1".into(), 6379)));
        for wrong in
            ["", ":80", "localhost", "localhost:", "localhost:0", "x:65536", "::1:80", "[::1]", "[::1]80", "[]:1"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(HostPort::parse("[::1]", Some(80)).map(|it| it.port), Ok(80));
        assert_eq!(HostPort::parse("a", Some(80)).map(|it| it.host), Ok("a".into()));
    }

    #[test]
    fn each_address_has_its_share_and_the_last_reason_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = |host: &str| Question::Tcp(HostPort { host: host.into(), port });
        let second = Duration::from_secs(20);
        assert_eq!(ask(&server("127.0.0.1"), second, false), Ok(()));
        assert_eq!(ask(&server("localhost"), second, false), Ok(()));
        assert_eq!(ask(&server("127.0.0.1"), Duration::ZERO, false), Err(IN_VAIN.into()));
        drop(listener);
        assert_eq!(ask(&server("127.0.0.1"), second, false), Err("Connection refused".into()));
    }

    #[test]
    fn a_process_is_found_by_either_name_and_only_while_it_lives() {
        let root = tempfile::tempdir().expect("a directory");
        let other = root.path().join("onit-probed");
        std::os::unix::fs::symlink("/bin/sleep", &other).expect("a link");
        assert!(!there_is("onit-probed"));
        let mut child = std::process::Command::new(&other).arg("1000").spawn().expect("a process");
        let found = (0..10_000).any(|_| there_is("onit-probed")); // the kernel gives it the name when its parent goes on
        child.kill().expect("kill");
        let killed = (0..10_000).any(|_| !there_is("onit-probed")); // a zombie is none
        child.wait().expect("wait");
        assert!(found && killed);
    }
}
