//! What is asked to know whether a process is well.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// So long may each step of a connection take: less than the time for a whole answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// A status line is no longer, in bytes.
const STATUS_LINE: u64 = 256;

/// Says whether a process is well. [`Tcp`], [`Http`] and [`Exec`] are asked beside the program; what a program implements
/// itself is asked in it, each time in a thread of its own, which gets no signals. Closures that return `bool` are
/// such checks as well.
///
/// What takes longer than the [time for an answer](super::HealthPolicy::timeout) has failed, and so has what is asked while
/// it has not answered the last time. Once the program has ended, its own checks count as passed: there is nothing to ask.
pub trait Check: Send + Sync + 'static {
    /// Whether it is well. May take its time.
    fn is_well(&self) -> bool;

    /// What can be asked without the program.
    #[doc(hidden)]
    fn question(&self) -> Option<Question> {
        None
    }
}

/// What can be asked by a process that is not the program.
#[doc(hidden)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// See [`Tcp`].
    Tcp(String),
    /// See [`Http`].
    Http(String),
    /// See [`Exec`].
    Exec(Vec<OsString>),
}

impl<F: Fn() -> bool + Send + Sync + 'static> Check for F {
    fn is_well(&self) -> bool {
        self()
    }
}

/// A connection to `HOST:PORT` can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp<A>(pub A);

impl<A: AsRef<str> + Send + Sync + 'static> Check for Tcp<A> {
    fn is_well(&self) -> bool {
        connect(self.0.as_ref()).is_ok()
    }

    fn question(&self) -> Option<Question> {
        Some(Question::Tcp(self.0.as_ref().to_owned()))
    }
}

/// `http://HOST[:PORT][/PATH]` is answered with 200. Encrypted connections are not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Http<U>(pub U);

impl<U: AsRef<str> + Send + Sync + 'static> Check for Http<U> {
    fn is_well(&self) -> bool {
        get(self.0.as_ref()).is_ok_and(|status| status == 200)
    }

    fn question(&self) -> Option<Question> {
        Some(Question::Http(self.0.as_ref().to_owned()))
    }
}

/// This command ends with 0. It has the user, the environment and the directory of the process that is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exec<C>(pub C);

impl<C> Check for Exec<C>
where
    C: IntoIterator<Item: Into<OsString>> + Clone + Send + Sync + 'static,
{
    fn is_well(&self) -> bool {
        let mut words = self.0.clone().into_iter().map(Into::into);
        let program: OsString = words.next().unwrap_or_default();
        std::process::Command::new(program).args(words).status().is_ok_and(|status| status.success())
    }

    fn question(&self) -> Option<Question> {
        Some(Question::Exec(self.0.clone().into_iter().map(Into::into).collect()))
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The host with its port, the host as it was written, and the path.
fn parts(url: &str) -> Option<(String, &str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    (!host.is_empty()).then_some((address, host, path))
}

/// Asks, and returns the status.
fn get(url: &str) -> io::Result<u16> {
    let (address, host, path) = parts(url).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = connect(&address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut line = Vec::new();
    BufReader::new(stream.take(STATUS_LINE)).read_until(b'\n', &mut line)?;
    status(&String::from_utf8_lossy(&line)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The status in a status line.
fn status(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        let parts = |url| parts(url).map(|(address, host, path)| format!("{address} {host} {path}"));
        assert_eq!(parts("http://here").as_deref(), Some("here:80 here /"));
        assert_eq!(parts("http://here:81/a/b?c").as_deref(), Some("here:81 here:81 /a/b?c"));
        assert_eq!(parts("http://[::1]/x").as_deref(), Some("[::1]:80 [::1] /x"));
        assert_eq!([parts("https://here/"), parts("here"), parts("http:///x")], [None, None, None]);
    }

    #[test]
    fn a_status_line_has_a_status() {
        let all = ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 503\r\n", "HTTP/2 200", "", "HTTP/1.1 xyz"].map(status);
        assert_eq!(all, [Some(200), Some(503), None, None, None]);
    }

    /// A server that answers this once; its address.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        std::thread::Builder::new()
            .spawn(move || {
                let (mut stream, _) = listener.accept().expect("a caller");
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(answer.as_bytes());
            })
            .expect("answered");
        address
    }

    #[test]
    fn only_200_is_well() {
        for (answer, is_well) in
            [("HTTP/1.1 200 OK\r\n\r\nhello", true), ("HTTP/1.1 204 No\r\n\r\n", false), ("nonsense\n", false)]
        {
            assert_eq!(Http(format!("http://{}/", server(answer))).is_well(), is_well, "{answer}");
        }
        assert!(!Http("http://127.0.0.1:1/").is_well() && !Tcp("127.0.0.1:1").is_well());
        assert!(Tcp(server("")).is_well());
        assert!(Exec(["true"]).is_well() && !Exec(["false"]).is_well() && (|| true).is_well());
    }
}
