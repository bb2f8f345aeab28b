//! Text of exactly these bytes, for tools whose output other programs read. Names of services need not be UTF-8.

use crate::sys::Errno;
use crate::wire::reason::reason;
use std::io::Write as _;

/// Writes to standard output. That it has no reader is no failure of what was asked for.
pub fn stdout(parts: &[&[u8]]) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(&parts.concat()).and_then(|()| stdout.flush());
}

/// Writes to standard error.
pub fn stderr(parts: &[&[u8]]) {
    let _ = std::io::stderr().write_all(&parts.concat());
}

/// The tools' words for an error.
pub fn why(errno: Errno) -> &'static [u8] {
    reason(errno as i32).as_bytes()
}
