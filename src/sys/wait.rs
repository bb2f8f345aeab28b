//! Reaping.

use crate::machine::{Exit, Pid, Signal};

/// Reaps one child that has ended, if there is one. Does not wait.
///
/// Not by nix: its `waitpid` reaps a child killed by a real-time signal and then reports EINVAL, losing both its
/// pid and its status.
pub fn reap() -> Option<(Pid, Exit)> {
    wait_for(-1, libc::WNOHANG)
}

/// Waits for the end of this child.
#[cfg(test)]
pub(super) fn reap_only(pid: Pid) -> Option<Exit> {
    wait_for(pid.0, 0).map(|(_, exit)| exit)
}

fn wait_for(pid: libc::pid_t, flags: libc::c_int) -> Option<(Pid, Exit)> {
    let mut status = 0;
    // SAFETY: waitpid(2) writes to `status` only, which is valid for the call.
    let pid = unsafe { libc::waitpid(pid, &raw mut status, flags) };
    (pid > 0).then(|| (Pid(pid), decode(status)))
}

/// Stops and continues are not asked for, so a status is either an exit or a death by signal.
fn decode(status: libc::c_int) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal { signal: Signal(libc::WTERMSIG(status)), core: libc::WCOREDUMP(status) }
    } else {
        Exit::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
    }
}
