//! Reaping.

use super::{Errno, checked, poll, tracee};
use crate::machine::{Exit, Mono, Pid, Signal};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// What no status is.
const UNWRITTEN: u64 = u64::MAX;

/// What there is to reap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaped {
    /// This child had ended.
    Child(Pid, Exit),
    /// None: a child that is traced had stopped. It runs on.
    Stopped,
    /// There are children, but none has ended.
    NoneYet,
    /// There are no children.
    Childless,
}

/// Reaps one child that has ended, if there is one. Does not wait. How it ended the kernel writes to `status`, which
/// may be in memory that outlives us: a supervisor that fails before it notes that leaves it to its successor.
///
/// Not by nix: its `waitpid` reaps a child killed by a real-time signal and then reports EINVAL, losing both its
/// pid and its status.
pub fn reap(status: &AtomicU64) -> Reaped {
    // ECHILD; waitpid(2) has no other error for these arguments
    wait_for(-1, libc::WNOHANG, status).unwrap_or(Reaped::Childless)
}

/// Whether there are children, dead ones included.
pub fn has_children() -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: waitid(2) writes to `info` only, which is not used.
    checked(unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) }).is_ok()
}

/// Waits for the end of this child, but not past `deadline`. Before Linux 5.3 it is not possible to wait for both: then
/// for its end.
pub fn reap_until(pid: Pid, deadline: Mono) -> Result<Option<Exit>, Errno> {
    let flags = match end_of(pid).and_then(|end| poll::input(end, deadline)) {
        Ok(()) => libc::WNOHANG,
        Err(_) => 0,
    };
    loop {
        match wait_for(pid.0, flags, &AtomicU64::new(0)) {
            Ok(Reaped::Child(_, exit)) => return Ok(Some(exit)),
            Ok(Reaped::Stopped) | Err(Errno::EINTR) => {}
            Ok(Reaped::NoneYet | Reaped::Childless) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

/// A descriptor that has input when this child has ended.
fn end_of(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: it has just been opened for us, with close-on-exec, and nothing else here knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for the end of this child. Not for a supervisor.
pub fn reap_only(pid: Pid) -> Option<Exit> {
    loop {
        match wait_for(pid.0, 0, &AtomicU64::new(0)) {
            Ok(Reaped::Child(_, exit)) => return Some(exit),
            Ok(Reaped::Stopped) | Err(Errno::EINTR) => {}
            Ok(Reaped::NoneYet | Reaped::Childless) | Err(_) => return None,
        }
    }
}

fn wait_for(pid: libc::pid_t, flags: libc::c_int, status: &AtomicU64) -> Result<Reaped, Errno> {
    status.store(UNWRITTEN, Ordering::Relaxed);
    // SAFETY: waitpid(2) writes the first half of `status` only, which is valid for the call.
    let pid = Pid(checked(unsafe { libc::waitpid(pid, status.as_ptr().cast(), flags) })?);
    if pid.0 == 0 {
        return Ok(Reaped::NoneYet);
    }
    Ok(match written(status.load(Ordering::Relaxed)) {
        Some(exit) => Reaped::Child(pid, exit),
        None => {
            tracee::release(pid);
            Reaped::Stopped
        }
    })
}

/// How the child ended that was reaped last, by what the kernel wrote there. `None` if it has not.
pub fn written(status: u64) -> Option<Exit> {
    wait_status(status).and_then(decode)
}

/// Whether the kernel wrote there that a child had stopped.
pub fn is_stop(status: u64) -> bool {
    wait_status(status).is_some_and(|status| decode(status).is_none())
}

fn wait_status(word: u64) -> Option<libc::c_int> {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    (word != UNWRITTEN).then_some(i32::from_ne_bytes([a, b, c, d]))
}

/// An exit or a death by a signal. A stop is neither: we do not ask for stops, but those of a child that we trace are
/// reported nevertheless.
fn decode(status: libc::c_int) -> Option<Exit> {
    if libc::WIFEXITED(status) {
        Some(Exit::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX)))
    } else if libc::WIFSIGNALED(status) {
        Some(Exit::Signal { signal: Signal(libc::WTERMSIG(status)), core: libc::WCOREDUMP(status) })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(status: u16) -> u64 {
        let [a, b] = status.to_ne_bytes();
        u64::from_ne_bytes(if cfg!(target_endian = "little") {
            [a, b, 0, 0, 255, 255, 255, 255]
        } else {
            [0, 0, a, b, 255, 255, 255, 255]
        })
    }

    #[test]
    fn a_stop_is_no_end() {
        let killed = |signal, core| Exit::Signal { signal: Signal(signal), core };
        assert_eq!([word(0), word(0x0300)].map(written), [0, 3].map(|code| Some(Exit::Code(code))));
        assert_eq!([word(9), word(0x8b)].map(written), [Some(killed(9, false)), Some(killed(11, true))]);
        for stop in [0x057f, 0x137f, 0x857f, 0xffff] {
            assert_eq!((written(word(stop)), is_stop(word(stop))), (None, true), "{stop:x}");
        }
        assert_eq!((written(UNWRITTEN), is_stop(UNWRITTEN), is_stop(word(0))), (None, false, false));
    }
}
