//! What services say, from a supervisor that reads it all (`onit run --prefix`).

use super::api::Api;
use super::log_files::Line;
use super::{Error, Result};
use crate::sys::{clock, socket};
use crate::wire::mux::record;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Whoever makes the stream waits for its reader, and takes longer than this if that one does not read.
const PATIENCE: Duration = Duration::from_secs(3);
const CHUNK: usize = 64 * 1024;

/// The connection through which it comes.
pub(crate) struct Stream {
    connection: UnixStream,
    received: Vec<u8>,
}

/// A line that a service has said.
pub(crate) struct Said {
    /// Its name.
    pub service: String,
    pub line: Line,
}

impl Stream {
    /// Asks for it. What was said last is returned as well, the oldest line first.
    pub(crate) fn open(api: Api) -> Result<(Stream, Vec<Said>)> {
        let (path, connection, received) = api.logs()?;
        let mut stream = Stream { connection, received };
        let recent = stream.recent().map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::WouldBlock => "nobody reads onit's standard output, so what services say waits".into(),
                io::ErrorKind::UnexpectedEof => {
                    "as many read it as may, or onit has just started to read it again".into()
                }
                _ => error.to_string(),
            };
            Error::new(&path, "read what services say", super::ErrorKind::Closed).saying(why)
        })?;
        Ok((stream, recent))
    }

    fn recent(&mut self) -> io::Result<Vec<Said>> {
        let deadline = clock::now().after(PATIENCE);
        let end = loop {
            let bytes = &self.received;
            let is_end = |at: &usize| bytes.get(*at) == Some(&b'\n') && (*at == 0 || bytes.get(at - 1) == Some(&b'\n'));
            if let Some(end) = (0..bytes.len()).find(is_end) {
                break end;
            }
            let mut piece = [0; CHUNK];
            match socket::read_by(&self.connection, &mut piece, deadline)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.received.extend_from_slice(piece.get(..length).unwrap_or_default()),
            }
        };
        self.connection.set_nonblocking(true)?;
        let mut said = lines(self.received.drain(..=end).as_slice());
        said.sort_by_key(|one| one.line.at);
        Ok(said)
    }

    /// What has come since.
    ///
    /// # Errors
    /// There is nothing more to come.
    pub(crate) fn more(&mut self) -> io::Result<Vec<Said>> {
        while match self.receive() {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(error),
        } {}
        let whole = self.received.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Ok(lines(self.received.drain(..whole).as_slice()))
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut piece = [0; CHUNK];
        let count = self.connection.read(&mut piece)?;
        self.received.extend_from_slice(piece.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl AsFd for Stream {
    /// Has input when a service has said something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn lines(records: &[u8]) -> Vec<Said> {
    let said = records.split(|byte| *byte == b'\n').filter_map(record).map(|record| Said {
        service: String::from_utf8_lossy(record.name).into_owned(),
        line: Line { at: record.at, is_error: record.is_error, text: record.line.to_vec() },
    });
    said.collect()
}
