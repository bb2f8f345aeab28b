//! The file `sockets` of a service: what is bound for it before it starts, a line each.
//!
//! ```text
//! tcp 0.0.0.0:80 backlog=1024
//! tcp6 [::]:80
//! udp 127.0.0.1:53 name=dns
//! unix /run/web.sock mode=0660 user=www start-on-connect
//! fifo /run/web.fifo
//! ```
//!
//! The order of the lines is that of the descriptors (`sd_listen_fds(3)`), from 3 on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// So many of one service.
pub const MOST: usize = 64;
/// The path of a socket has room for so many bytes (`unix(7)`).
pub const LONGEST_PATH: usize = 107;
/// What waits to be accepted, if nothing else is said, as systemd has it; the kernel's own limit holds besides.
const BACKLOG: i32 = 4096;

/// What is bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Connections.
    Tcp(Internet),
    /// Datagrams.
    Udp(Internet),
    /// A name in the file system; with `@` in front, one beside it.
    Unix(UnixKind, String),
    /// A pipe with a name.
    Fifo(String),
}

/// An address of the internet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Internet {
    /// The address.
    pub address: SocketAddr,
    /// Nothing of the fourth version of IP comes there.
    pub only_six: bool,
}

/// What goes through a socket with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnixKind {
    /// Bytes, of connections.
    Stream,
    /// Messages, of connections.
    Packets,
    /// Messages.
    Datagrams,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Socket {
    /// What is bound.
    pub place: Place,
    /// So many connections may wait to be accepted.
    pub backlog: i32,
    /// Others may bind the same address.
    pub reuseport: bool,
    /// The address need not be one of this machine yet.
    pub freebind: bool,
    /// Permissions of the path.
    pub mode: Option<u32>,
    /// Its owner, by name or number.
    pub user: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Its name for the service; without one, that of the service.
    pub name: Option<String>,
    /// The service starts when something comes here, and not before.
    pub starts: bool,
}

impl Place {
    /// Whether connections may wait there to be accepted.
    pub fn has_backlog(&self) -> bool {
        matches!(self, Place::Tcp(_) | Place::Unix(UnixKind::Stream | UnixKind::Packets, _))
    }

    /// What stands in the file system for it.
    pub fn path(&self) -> Option<&str> {
        match self {
            Place::Unix(_, path) | Place::Fifo(path) => Some(path).filter(|path| !path.starts_with('@')),
            Place::Tcp(_) | Place::Udp(_) => None,
        }
        .map(String::as_str)
    }
}

impl fmt::Display for Internet {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", if self.only_six { "6" } else { "" }, self.address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(place) => write!(to, "tcp{place}"),
            Place::Udp(place) => write!(to, "udp{place}"),
            Place::Unix(UnixKind::Stream, path) => write!(to, "unix {path}"),
            Place::Unix(UnixKind::Packets, path) => write!(to, "unix-seqpacket {path}"),
            Place::Unix(UnixKind::Datagrams, path) => write!(to, "unix-dgram {path}"),
            Place::Fifo(path) => write!(to, "fifo {path}"),
        }
    }
}

impl fmt::Display for Socket {
    /// As a line.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.place)?;
        if self.backlog != BACKLOG {
            write!(to, " backlog={}", self.backlog)?;
        }
        for (option, is_set) in
            [("reuseport", self.reuseport), ("freebind", self.freebind), ("start-on-connect", self.starts)]
        {
            if is_set {
                write!(to, " {option}")?;
            }
        }
        if let Some(mode) = self.mode {
            write!(to, " mode={mode:04o}")?;
        }
        for (option, value) in [("user", &self.user), ("group", &self.group), ("name", &self.name)] {
            if let Some(value) = value {
                write!(to, " {option}={value}")?;
            }
        }
        Ok(())
    }
}

/// Reads the file. What is wrong is told with its line.
pub fn parse(text: &str) -> Result<Vec<Socket>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut all: Vec<Socket> = Vec::new();
    for line in lines {
        let socket = Socket::parse(line).map_err(|why| format!("\"{}\": {why}", super::svdir::excerpt(line)))?;
        if all.iter().any(|other| other.place == socket.place) {
            return Err(format!("{} stands there twice", socket.place));
        }
        all.push(socket);
    }
    if all.len() > MOST { Err(format!("{MOST} sockets are the most")) } else { Ok(all) }
}

impl Socket {
    /// Whether what was opened for one can go on for the other: the rest can be changed while it is bound.
    pub fn is_opened_like(&self, other: &Socket) -> bool {
        (&self.place, self.reuseport, self.freebind) == (&other.place, other.reuseport, other.freebind)
    }

    /// Reads a line.
    pub fn parse(line: &str) -> Result<Socket, String> {
        let mut words = line.split_whitespace();
        let (kind, place) = (words.next().unwrap_or_default(), words.next().ok_or("where is missing")?);
        let place = match kind {
            "tcp" | "tcp6" => Place::Tcp(internet(place, kind == "tcp6")?),
            "udp" | "udp6" => Place::Udp(internet(place, kind == "udp6")?),
            "unix" | "unix-stream" => unix(place, UnixKind::Stream)?,
            "unix-seqpacket" => unix(place, UnixKind::Packets)?,
            "unix-dgram" => unix(place, UnixKind::Datagrams)?,
            "fifo" => Place::Fifo(path(place)?),
            _ => {
                return Err(
                    "it begins with none of tcp, tcp6, udp, udp6, unix, unix-dgram, unix-seqpacket, fifo".into()
                );
            }
        };
        let mut socket = Socket {
            place,
            backlog: BACKLOG,
            reuseport: false,
            freebind: false,
            mode: None,
            user: None,
            group: None,
            name: None,
            starts: false,
        };
        words.try_for_each(|word| socket.option(word))?;
        Ok(socket)
    }

    fn option(&mut self, word: &str) -> Result<(), String> {
        let (is_net, is_path) = (matches!(self.place, Place::Tcp(_) | Place::Udp(_)), self.place.path().is_some());
        let (option, value) = word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
        let wrong = || format!("{word} is no value for it");
        match (option, value) {
            ("start-on-connect", None) => self.starts = true,
            ("reuseport", None) if is_net => self.reuseport = true,
            ("freebind", None) if is_net => self.freebind = true,
            ("backlog", Some(value)) if !matches!(self.place, Place::Fifo(_)) => {
                self.backlog = value.parse().ok().filter(|backlog| *backlog > 0).ok_or_else(wrong)?;
            }
            ("mode", Some(value)) if is_path => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                self.mode = Some(mode.ok_or_else(wrong)?);
            }
            ("user", Some(value)) if is_path && !value.is_empty() => self.user = Some(value.to_owned()),
            ("group", Some(value)) if is_path && !value.is_empty() => self.group = Some(value.to_owned()),
            ("name", Some(value)) => {
                let is_name = !value.is_empty() && value.len() < 256 && !value.contains(':');
                self.name = Some(value.to_owned()).filter(|_| is_name);
                self.name.as_ref().ok_or_else(wrong)?;
            }
            _ => return Err(format!("there is no option {word} for it")),
        }
        Ok(())
    }
}

/// `1.2.3.4:80`, `[::1]:80`, `:80` and `80`.
fn internet(text: &str, only_six: bool) -> Result<Internet, String> {
    let any = if only_six { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>().ok().map(|port| SocketAddr::new(any, port));
    let address = port.or_else(|| text.parse().ok()).ok_or("that is no address: as 127.0.0.1:80, [::1]:80 or :80")?;
    match address {
        SocketAddr::V4(_) if only_six => Err("that is no address of IPv6".into()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => Ok(Internet { address, only_six }),
    }
}

fn unix(text: &str, kind: UnixKind) -> Result<Place, String> {
    let path = if text.starts_with('@') && text.len() > 1 { text.to_owned() } else { path(text)? };
    if path.len() > LONGEST_PATH {
        return Err(format!("its path is longer than {LONGEST_PATH} bytes"));
    }
    Ok(Place::Unix(kind, path))
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.ends_with('/') {
        Ok(text.to_owned())
    } else {
        Err("that is no absolute path".into())
    }
}

/// The inode of the socket that is bound to this address, as `/proc/net/tcp`, `tcp6`, `udp` and `udp6` list them, see
/// `proc_net_tcp.rst` of the kernel. One that is bound to every address counts as well.
pub fn inode_of(listed: &str, address: SocketAddr) -> Option<u64> {
    let port = format!("{:04X}", address.port());
    let ip = match address.ip() {
        IpAddr::V4(ip) => hex(&ip.octets()),
        IpAddr::V6(ip) => hex(&ip.octets()),
    };
    listed.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (host, at) = fields.nth(1)?.split_once(':')?;
        let is_any = |host: &str| host.bytes().all(|digit| digit == b'0');
        // Behind it: the other end, which nobody is; state, queues, timer, retransmissions, user, timeout.
        let is_bound = fields.next()?.ends_with(":0000");
        let inode = fields.nth(6)?;
        (at == port && is_bound && (host == ip || is_any(host) || is_any(&ip))).then(|| inode.parse().ok()).flatten()
    })
}

/// Words of four bytes, as the machine has them.
fn hex(octets: &[u8]) -> String {
    let words = octets.chunks_exact(4).filter_map(|word| word.try_into().ok());
    words.map(|word: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "# for all\ntcp :80 backlog=5 reuseport name=http\n\ntcp6 [::1]:443 freebind\nudp 53\n\
                    unix /run/x.sock mode=0660 user=www group=7 start-on-connect\nunix-dgram @x\nfifo /run/f\n";
        let all = parse(text).expect("sockets");
        let places: Vec<String> = all.iter().map(|socket| socket.place.to_string()).collect();
        let expected =
            ["tcp 0.0.0.0:80", "tcp6 [::1]:443", "udp 0.0.0.0:53", "unix /run/x.sock", "unix-dgram @x", "fifo /run/f"];
        assert_eq!(places, expected);
        assert_eq!((all[0].backlog, all[0].reuseport, all[0].name.as_deref()), (5, true, Some("http")));
        assert_eq!((all[1].freebind, all[1].backlog, all[2].starts), (true, 4096, false));
        let unix = &all[3];
        assert_eq!((unix.mode, unix.user.as_deref(), unix.group.as_deref()), (Some(0o660), Some("www"), Some("7")));
        assert!(unix.starts && unix.place.path() == Some("/run/x.sock") && all[4].place.path().is_none());
        for socket in &all {
            assert_eq!(Socket::parse(&socket.to_string()).as_ref(), Ok(socket));
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let long = format!("unix /{}", "x".repeat(LONGEST_PATH));
        for (text, why) in [
            ("tcp", "where is missing"),
            ("sctp :1", "it begins with none of"),
            ("tcp localhost:80", "that is no address"),
            ("tcp 70000", "that is no address"),
            ("tcp6 1.2.3.4:80", "no address of IPv6"),
            ("unix run/x", "no absolute path"),
            (&long, "longer than 107 bytes"),
            ("unix @x mode=0600", "there is no option mode=0600"),
            ("tcp :80 backlog=0", "backlog=0 is no value"),
            ("unix /x mode=9", "mode=9 is no value"),
            ("unix /x mode=10000", "mode=10000 is no value"),
            ("tcp :80 name=a:b", "name=a:b is no value"),
            ("fifo /x backlog=1", "there is no option backlog=1"),
            ("tcp :80\ntcp 0.0.0.0:80 reuseport", "tcp 0.0.0.0:80 stands there twice"),
        ] {
            let told = parse(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
        let many: String = (1..=65).map(|port| format!("tcp {port}\n")).collect();
        assert_eq!(parse(&many), Err("64 sockets are the most".into()));
    }

    #[test]
    fn what_can_be_changed_while_it_is_bound_is_told_from_what_cannot() {
        let socket = |line: &str| Socket::parse(line).expect("a socket");
        let bound = socket("tcp :80");
        let goes_on = ["tcp :80 backlog=7 name=x start-on-connect", "tcp :80"];
        assert!(goes_on.iter().all(|line| bound.is_opened_like(&socket(line))));
        let anew = ["tcp :80 reuseport", "tcp :80 freebind", "tcp :81", "udp :80"];
        assert!(!anew.iter().any(|line| bound.is_opened_like(&socket(line))));
        let backlogs = ["tcp :80", "unix /x", "unix-seqpacket /x", "udp :80", "unix-dgram /x", "fifo /x"];
        assert_eq!(backlogs.map(|line| socket(line).place.has_backlog()), [true, true, true, false, false, false]);
    }

    #[test]
    fn the_holder_of_an_address_is_found_in_the_list() {
        let listed = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0 20\n   \
             1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100\n   \
             2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 88 1 0 100\n";
        let of = |text: &str| inode_of(listed, text.parse().expect("an address"));
        if cfg!(target_endian = "little") {
            assert_eq!([of("127.0.0.1:8080"), of("127.0.0.2:8080"), of("0.0.0.0:8080")], [Some(77), None, Some(77)]);
        }
        assert_eq!([of("127.0.0.2:80"), of("127.0.0.1:81")], [Some(88), None]);
    }
}
