//! Speaking: one line, one write, to standard error; never blocking, never failing.

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::fmt::Display;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

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
        let own = opened_anew(stderr);
        let _ = nix::unistd::write(own.as_ref().map_or(stderr, |own| own.as_fd()), &text);
    }
}

/// A terminal has room for a part of a line and then waits for whoever reads it; of a pipe others may take the last
/// room. What we open ourselves does not wait, and those who share standard error with us do not notice.
fn opened_anew(stderr: BorrowedFd) -> Option<OwnedFd> {
    let kind = SFlag::from_bits_truncate(fstat(stderr).ok()?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFIFO && !nix::unistd::isatty(stderr).unwrap_or(false) {
        return None;
    }
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open("/proc/self/fd/2", flags, Mode::empty()).ok()
}
