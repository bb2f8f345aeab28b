//! Speaking: one line, one write, to standard error; never blocking, never failing.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt::Display;
use std::io::Write as _;
use std::os::fd::BorrowedFd;

/// Pipes take this much in one piece (`PIPE_BUF`).
const LINE: usize = 4096;

/// Writes `line` and a newline to standard error. A reader that does not read, or a closed standard error, costs
/// this line and nothing else: who supervises must not wait for who reads.
pub fn say(line: impl Display) {
    let mut text = Vec::with_capacity(160);
    let _ = write!(text, "{line}");
    text.truncate(LINE - 1);
    text.push(b'\n');
    // SAFETY: descriptor 2 is never closed by us, and is only borrowed for these two calls.
    let stderr = unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    let mut ready = [PollFd::new(stderr, PollFlags::POLLOUT)];
    if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|n| n > 0) {
        let _ = nix::unistd::write(stderr, &text);
    }
}
