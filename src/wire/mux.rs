//! What the supervisor says to `onit mux`, which makes one stream of what services say: a letter, and the name of a
//! service. With the first two comes the pipe, with a reader its connection.
//!
//! And what a reader is told: a record for each of the last lines that it has of each stream, an empty line, and then a
//! record for each line that comes. A record is a line: a TAI64N label, the name of the service, `/o` or `/e` for its
//! standard output or error, and what it has said.

use super::log_time::{self, Format};
use super::stamp;
use super::tai::Tai;
use std::time::Duration;

/// Its standard output is read from this pipe.
pub const OUTPUT: u8 = b'o';
/// Its standard error is.
pub const ERRORS: u8 = b'e';
/// A process of it has ended: what it has said is complete, whatever its last line looks like.
pub const ENDED: u8 = b'f';
/// These were all pipes that there are. No name.
pub const ALL: u8 = b'a';
/// Somebody wants to read what is said. No name.
pub const READER: u8 = b'r';

/// Words of the memory that is handed on from one to the next.
pub const MEMORY: usize = 4096;

/// A line that a service has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// When it was read.
    pub at: Tai,
    /// The service.
    pub name: &'a [u8],
    /// On its standard error.
    pub is_error: bool,
    /// Without its newline.
    pub line: &'a [u8],
}

/// Writes a record. `after_1970`: the time of the wall clock.
pub fn push(to: &mut Vec<u8>, after_1970: Duration, name: &[u8], is_error: bool, line: &[u8]) {
    log_time::push(to, Format::Tai64n, after_1970);
    to.extend_from_slice(name);
    to.extend_from_slice(if is_error { b"/e " } else { b"/o " });
    to.extend_from_slice(line);
    to.push(b'\n');
}

/// Reads one, without its newline.
pub fn record(text: &[u8]) -> Option<Record<'_>> {
    let (at, _, length) = stamp::label(text)?;
    let rest = text.get(length..)?.strip_prefix(b" ")?;
    let (name, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'/')?)?;
    let is_error = rest.starts_with(b"/e ");
    let line = rest.strip_prefix(if is_error { b"/e " } else { b"/o " })?;
    Some(Record { at, name, is_error, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for (name, is_error, line) in [("web", false, "a line"), ("a b", true, "/o x"), ("x@1", false, "")] {
            let mut text = Vec::new();
            push(&mut text, Duration::new(1_700_000_000, 5), name.as_bytes(), is_error, line.as_bytes());
            let text = text.strip_suffix(b"\n").expect("a line");
            let (at, name, line) = (Tai { unix: 1_700_000_000, nanos: 5 }, name.as_bytes(), line.as_bytes());
            assert_eq!(record(text), Some(Record { at, name, is_error, line }));
        }
        for wrong in ["", "web/o x", "@400000006b0c76de0291f38cweb/o x", "@400000006b0c76de0291f38c web/x x"] {
            assert_eq!(record(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
