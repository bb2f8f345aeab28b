//! A copy of what comes, for whoever reads standard output: whole lines, as they came.

use super::waiting::{ROOM, Waiter, why};
use crate::tool::print;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;

/// Standard output beside the places of a log.
pub struct Tee {
    /// `None`: it cannot be written to, and that has been said.
    output: Option<File>,
    /// What is to be written.
    waiting: Vec<u8>,
}

impl Tee {
    /// Takes standard output.
    pub fn new() -> io::Result<Tee> {
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Tee { output: Some(output.into()), waiting: Vec::new() })
    }

    /// Adds some bytes of a line, or its end.
    pub fn add(&mut self, bytes: &[u8]) {
        if self.output.is_some() {
            self.waiting.extend_from_slice(bytes);
        }
    }

    /// Writes the lines that have ended, and of one that is very long as much as there is. Waits as long as there is no
    /// room, but not for ever if the logger is told to end. What cannot be written never will be: from then on there is no copy.
    pub fn write(&mut self, waiter: &mut Waiter) {
        let Some(output) = &mut self.output else { return };
        let end = match self.waiting.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if self.waiting.len() >= ROOM => self.waiting.len(),
            None => return,
        };
        if let Err(error) = write_all(output, self.waiting.get(..end).unwrap_or_default(), waiter) {
            let line = b"onit: logger: cannot write to standard output, lines go to the log alone: ";
            print::stderr(&[line, why(&error), b"\n"]);
            self.output = None;
        }
        self.waiting.drain(..end);
    }
}

/// Also if whoever shares it has made it one that does not wait. A pipe that has room takes a piece at once.
fn write_all(output: &mut File, bytes: &[u8], waiter: &mut Waiter) -> io::Result<()> {
    for mut piece in bytes.chunks(libc::PIPE_BUF) {
        while !piece.is_empty() {
            waiter.wait_for_room(&*output)?;
            match output.write(piece) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => piece = piece.get(count..).unwrap_or_default(),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
