//! A copy of what comes, for whoever reads standard output: whole lines, as they came.

use super::waiting::{ROOM, why};
use crate::sys::poll;
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
    /// room. What cannot be written never will be: from then on there is no copy.
    pub fn write(&mut self) {
        let Some(output) = &mut self.output else { return };
        let end = match self.waiting.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if self.waiting.len() >= ROOM => self.waiting.len(),
            None => return,
        };
        if let Err(error) = write_all(output, self.waiting.get(..end).unwrap_or_default()) {
            let line = b"onit: logger: cannot write to standard output, lines go to the log alone: ";
            print::stderr(&[line, why(&error), b"\n"]);
            self.output = None;
        }
        self.waiting.drain(..end);
    }
}

/// Also if whoever shares it has made it one that does not wait.
fn write_all(output: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => poll::output(&*output)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
