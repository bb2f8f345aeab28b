//! Whoever reads what services say beside the stream (`onit logs`): the last lines that there are, then each that comes.
//! Nobody waits for a reader.

use crate::sys::Errno;
use crate::sys::poll::Poller;
use crate::sys::socket::{Connection, Output};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// At least so much of the records of one stream is there, in bytes, and at most twice as much, but the last one is.
const RECENT: usize = 8192;
/// So many readers, and not more.
const READERS: usize = 64;
/// Who has so much to take, in bytes, does not keep up.
const TOO_MUCH: usize = 4 << 20;
/// From here on the poller's tokens are readers, and not pipes.
pub const FIRST: u64 = 1 << 63;

/// The last records of one stream.
#[derive(Default)]
pub struct Recent(Vec<u8>);

impl Recent {
    /// Adds whole records.
    pub fn push(&mut self, records: &[u8]) {
        self.0.extend_from_slice(records);
        if self.0.len() > 2 * RECENT {
            let newest = self.0.len() - RECENT;
            let before_last = self.0.len() - 1;
            let cut = memchr::memrchr(b'\n', self.0.get(..newest).unwrap_or_default());
            let last = || memchr::memrchr(b'\n', self.0.get(..before_last).unwrap_or_default());
            let cut = cut.or_else(last).map_or(0, |end| end + 1);
            self.0.drain(..cut);
        }
    }
}

struct Reader {
    connection: Connection,
    output: Output,
    waits_for_room: bool,
}

/// All of them.
#[derive(Default)]
pub struct Readers {
    all: BTreeMap<u64, Reader>,
    last: u64,
}

impl Readers {
    /// One more, who is told the last records first.
    pub fn add<'r>(&mut self, poller: &Poller, connection: OwnedFd, recent: impl Iterator<Item = &'r Recent>) {
        if self.all.len() >= READERS {
            return;
        }
        let mut output = Output::default();
        recent.for_each(|recent| output.add(&recent.0));
        output.add(b"\n");
        let reader = Reader { connection: Connection::from(connection), output, waits_for_room: false };
        let token = FIRST | self.last;
        // Without input: it says nothing. That it has gone is reported all the same.
        if poller.add(&reader.connection, token).and_then(|()| poller.listen(&reader.connection, token, false)).is_ok()
        {
            self.last += 1;
            self.all.insert(token, reader);
            self.send(poller, token);
        }
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Tells them these records.
    pub fn tell(&mut self, poller: &Poller, records: &[u8]) {
        self.all.values_mut().for_each(|reader| reader.output.add(records));
        for token in self.all.keys().copied().collect::<Vec<_>>() {
            self.send(poller, token);
        }
    }

    /// One of them has room again, or has gone.
    pub fn send(&mut self, poller: &Poller, token: u64) {
        if self.all.get_mut(&token).is_some_and(|reader| reader.send(poller, token).is_err()) {
            self.all.remove(&token);
        }
    }
}

impl Reader {
    fn send(&mut self, poller: &Poller, token: u64) -> Result<(), Errno> {
        if self.connection.has_hung_up() {
            return Err(Errno::EPIPE);
        }
        let sent = self.connection.write(self.output.rest()).ok_or(Errno::EPIPE)?;
        self.output.was_sent(sent);
        if self.output.len() > TOO_MUCH {
            return Err(Errno::ENOBUFS);
        }
        let waits = !self.output.is_empty();
        if std::mem::replace(&mut self.waits_for_room, waits) != waits {
            poller.look_for(&self.connection, token, false, waits)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    fn line(number: usize) -> String {
        format!("line {number}\n")
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_last_records_are_there_and_are_whole() {
        let mut recent = Recent::default();
        for number in 0..10_000 {
            recent.push(line(number).as_bytes());
            let lines: Vec<&str> = text(&recent.0).lines().collect();
            assert!(recent.0.len() <= 2 * RECENT && (recent.0.len() >= RECENT || lines.len() == number + 1));
            let first = number + 1 - lines.len();
            let expected: String = (first..=number).map(line).collect();
            assert_eq!(text(&recent.0), expected);
        }
        let long = "x".repeat(3 * RECENT) + "\n";
        recent.push(long.as_bytes());
        assert_eq!(text(&recent.0), long);
        recent.push(b"y\n");
        assert_eq!(text(&recent.0), "y\n");
    }

    #[test]
    fn a_reader_is_told_what_was_and_what_comes_and_a_slow_one_is_dropped() {
        let poller = Poller::new().expect("a poller");
        let mut readers = Readers::default();
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("set");
        let mut recent = Recent::default();
        recent.push(b"old\n");
        readers.add(&poller, theirs.into(), [&recent].into_iter());
        readers.tell(&poller, b"new\n");
        let mut bytes = [0; 9];
        ours.read_exact(&mut bytes).expect("read");
        assert_eq!(text(&bytes), "old\n\nnew\n");
        let much = vec![b'\n'; TOO_MUCH / 2];
        readers.tell(&poller, &much);
        assert!(!readers.is_empty());
        readers.tell(&poller, &much);
        readers.tell(&poller, &much);
        assert!(readers.is_empty());
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).expect("read");
        assert!(!rest.is_empty() && rest.len() < 2 * TOO_MUCH);
    }
}
