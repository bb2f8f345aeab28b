//! Speaking: one line, one write, to standard error; never blocking, never failing.

use super::fs;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use std::fmt::Display;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;

/// Pipes take this much in one piece (`PIPE_BUF`).
const LINE: usize = 4096;
/// What is longer than this, without its newline, is cut.
pub const LONGEST: usize = LINE - 1;

/// Writes `line` and a newline to standard error. A reader that does not read, or a closed standard error, costs this
/// line and nothing else: a supervisor must not wait for a reader.
pub fn say(line: impl Display) {
    // SAFETY: descriptor 2 is never closed by us, and is only borrowed for this call.
    say_to(unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) }, &line);
}

/// The same, to standard output.
pub fn print(line: impl Display) {
    // SAFETY: as above.
    say_to(unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) }, &line);
}

fn say_to(fd: BorrowedFd, line: &dyn Display) {
    let mut text = Vec::with_capacity(160);
    let _ = write!(text, "{line}");
    disarm(&mut text);
    text.truncate(LONGEST);
    text.push(b'\n');
    let mut ready = [PollFd::new(fd, PollFlags::POLLOUT)];
    let has_room = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|n| n > 0);
    // To write to a pipe without a reader would send us SIGPIPE.
    let is_read = ready.iter().all(|fd| fd.revents().is_some_and(|seen| !seen.contains(PollFlags::POLLERR)));
    if has_room && is_read {
        write_now(fd, &text);
    }
}

/// A name, or what another program has said, is a part of many lines, and is to change no terminal that shows them.
/// `text` is UTF-8, where what stands behind 0xC2 is a control character up to 0x9F.
fn disarm(text: &mut [u8]) {
    let mut last = 0;
    for byte in text {
        let was = *byte;
        if (was < b' ' && !matches!(was, b'\n' | b'\t')) || was == 0x7f || (last == 0xc2 && was < 0xa0) {
            *byte = b'?';
        }
        last = was;
    }
}

/// A terminal may take a part of a line and then wait for its reader; of a pipe or a socket another process may take
/// the last room. None of these ways waits, and the processes that share the descriptor with us do not notice.
fn write_now(to: BorrowedFd, text: &[u8]) {
    let Ok(stat) = fstat(to) else { return };
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFSOCK {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: send(2) reads as many bytes as there are in `text`.
        let _ = unsafe { libc::send(to.as_raw_fd(), text.as_ptr().cast(), text.len(), flags) };
        return;
    }
    let waits = kind == SFlag::S_IFIFO || nix::unistd::isatty(to).unwrap_or(false);
    let _ = match waits.then(|| opened_anew(to)).flatten() {
        Some(own) => nix::unistd::write(own, text),
        None if kind == SFlag::S_IFIFO && !has_plenty_of_room(to) => pass_on(to, text),
        None => nix::unistd::write(to, text),
    };
}

/// A descriptor that we open ourselves need not wait. `None` if the file is another user's, or if there is no /proc.
fn opened_anew(fd: BorrowedFd) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fs::open_at(fs::HERE, path.as_str(), OFlag::O_WRONLY | OFlag::O_NONBLOCK, 0).ok()
}

/// Whether there is more room than other processes fill between two system calls.
fn has_plenty_of_room(pipe: BorrowedFd) -> bool {
    let size = fcntl(pipe, FcntlArg::F_GETPIPE_SZ).map_or(0, |size| usize::try_from(size).unwrap_or(0));
    fs::pending(pipe) + 8 * LINE < size
}

/// From a pipe to another one a line can be moved without waiting. It takes a page there, however short it is.
fn pass_on(pipe: BorrowedFd, text: &[u8]) -> Result<usize, super::Errno> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let (none, length) = (ptr::null_mut(), nix::unistd::write(write, text)?);
    let (from, to) = (read.as_raw_fd(), pipe.as_raw_fd());
    // SAFETY: splice(2) on two pipes, without offsets.
    let moved = unsafe { libc::splice(from, none, to, none, length, libc::SPLICE_F_NONBLOCK) };
    super::Errno::result(moved).map(|moved| moved as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn no_line_changes_a_terminal() {
        let shown = |text: &str| {
            let mut text = text.as_bytes().to_vec();
            disarm(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        assert_eq!(shown("\x1b[2J\x07a\r\x7f\tb\n"), "?[2J?a??\tb\n");
        assert_eq!(shown("größe \u{a0}中 €"), "größe \u{a0}中 €");
        assert_eq!(shown("\u{9b}31m").matches('?').count(), 1);
    }

    #[test]
    fn a_pipe_takes_a_line_whole_or_not_at_all_and_nobody_waits() {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        assert!(has_plenty_of_room(write.as_fd()));
        assert_eq!(pass_on(write.as_fd(), b"one line\n"), Ok(9));
        let mut got = [0; 64];
        assert_eq!(nix::unistd::read(&read, &mut got), Ok(9));
        assert!(got.starts_with(b"one line\n"));
        let lines = (0..10_000).take_while(|_| pass_on(write.as_fd(), &[b'x'; LINE]).is_ok()).count();
        assert!((1..10_000).contains(&lines) && !has_plenty_of_room(write.as_fd()));
        assert_eq!(pass_on(write.as_fd(), b"more\n"), Err(super::super::Errno::EAGAIN));
    }
}
