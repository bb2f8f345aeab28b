//! Reaping.

use super::{Errno, checked, poll};
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
    /// There are children, but none has ended.
    NoneYet,
    /// There are no children.
    Childless,
}

/// Reaps one child that has ended, if there is one. Does not wait. How it ended the kernel writes to `status`, which
/// may be in memory that outlives us: who fails before it notes that leaves it to its successor.
///
/// Not by nix: its `waitpid` reaps a child killed by a real-time signal and then reports EINVAL, losing both its
/// pid and its status.
pub fn reap(status: &AtomicU64) -> Reaped {
    match wait_for(-1, libc::WNOHANG, status) {
        Ok(Some((pid, exit))) => Reaped::Child(pid, exit),
        Ok(None) => Reaped::NoneYet,
        Err(_) => Reaped::Childless, // ECHILD; waitpid(2) has no other error for these arguments
    }
}

/// Whether there are children, dead ones included.
pub fn has_children() -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: waitid(2) writes to `info` only, which nobody reads.
    checked(unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) }).is_ok()
}

/// Waits for the end of this child, but not past `deadline`. Before Linux 5.3 nobody can wait for both: then for its
/// end.
pub fn reap_until(pid: Pid, deadline: Mono) -> Result<Option<Exit>, Errno> {
    let flags = match end_of(pid).and_then(|end| poll::input(end, deadline)) {
        Ok(()) => libc::WNOHANG,
        Err(_) => 0,
    };
    Ok(wait_for(pid.0, flags, &AtomicU64::new(0))?.map(|(_, exit)| exit))
}

/// A descriptor that has input when this child has ended.
fn end_of(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: it has just been opened for us, with close-on-exec, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for the end of this child.
#[cfg(test)]
pub(super) fn reap_only(pid: Pid) -> Option<Exit> {
    wait_for(pid.0, 0, &AtomicU64::new(0)).ok().flatten().map(|(_, exit)| exit)
}

fn wait_for(pid: libc::pid_t, flags: libc::c_int, status: &AtomicU64) -> Result<Option<(Pid, Exit)>, Errno> {
    status.store(UNWRITTEN, Ordering::Relaxed);
    // SAFETY: waitpid(2) writes the first half of `status` only, which is valid for the call.
    let pid = checked(unsafe { libc::waitpid(pid, status.as_ptr().cast(), flags) })?;
    Ok(written(status.load(Ordering::Relaxed)).filter(|_| pid > 0).map(|exit| (Pid(pid), exit)))
}

/// How the child ended that was reaped last, by what the kernel wrote there. `None` if it has not.
pub fn written(status: u64) -> Option<Exit> {
    let [a, b, c, d, ..] = status.to_ne_bytes();
    Some(i32::from_ne_bytes([a, b, c, d])).filter(|_| status != UNWRITTEN).map(decode)
}

/// Stops and continues are not asked for, so a status is either an exit or a death by signal.
fn decode(status: libc::c_int) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal { signal: Signal(libc::WTERMSIG(status)), core: libc::WCOREDUMP(status) }
    } else {
        Exit::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
    }
}
