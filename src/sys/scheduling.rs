//! Who gets processors and disks first, on which processors, and who is killed when memory is used up.

use super::{Errno, checked, signals};
use crate::machine::Pid;

/// `IOPRIO_WHO_PROCESS`.
const PROCESS: libc::c_int = 1;

/// Adds to our niceness; the kernel keeps it between -20 and 19.
pub fn add_niceness(more: i32) -> Result<(), Errno> {
    Errno::clear();
    // SAFETY: nice(3) takes a number. -1 may be an answer.
    match (unsafe { libc::nice(more) }, Errno::last()) {
        (-1, errno) if errno != Errno::UnknownErrno => Err(errno),
        _ => Ok(()),
    }
}

/// Sets our class (1 realtime, 2 best-effort, 3 idle, 0 none) and level (0 first, 7 last) for disks: ioprio_set(2).
pub fn set_io_priority(class: u8, level: u8) -> Result<(), Errno> {
    let priority = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, priority) }).map(drop)
}

/// The class and level of a process for disks; `None` if it is not there.
pub fn io_priority_of(pid: Pid) -> Option<(u32, u32)> {
    // SAFETY: numbers only.
    let priority = unsafe { libc::syscall(libc::SYS_ioprio_get, PROCESS, pid.0) };
    let priority = u32::try_from(priority).ok()?;
    Some((priority >> 13 & 7, priority & 7))
}

/// The processors that we may run on, by number. EINVAL: none of them is there.
pub fn set_processors(numbers: &[u16]) -> Result<(), Errno> {
    let mut set = vec![0u8; usize::from(u16::MAX) / 8 + 1];
    for number in numbers {
        if let Some(byte) = set.get_mut(usize::from(*number) / 8) {
            *byte |= 1 << (number % 8);
        }
    }
    if cfg!(target_endian = "big") {
        set.as_chunks_mut::<8>().0.iter_mut().for_each(|word| word.reverse());
    }
    // SAFETY: sched_setaffinity(2) reads as many bytes as it is told that there are.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, set.len(), set.as_ptr()) }).map(drop)
}

/// Sets our scheduling policy (`SCHED_*`) and its priority. A system call, since musl has the function but refuses it.
pub fn set_scheduler(policy: i32, priority: i32) -> Result<(), Errno> {
    // SAFETY: sched_setscheduler(2) reads one number behind the pointer.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) }).map(drop)
}

/// The group of processes that we lead gets the terminal that is open at this descriptor; `anyway`, if we are in its
/// background, and so would be stopped.
pub fn take_terminal(fd: i32, anyway: bool) -> Result<(), Errno> {
    let stop = if anyway { signals::set_of([libc::SIGTTOU]) } else { 0 };
    let before = signals::mask(libc::SIG_BLOCK, stop);
    // SAFETY: numbers only. A descriptor that is none is refused.
    let taken = checked(unsafe { libc::tcsetpgrp(fd, libc::getpid()) }).map(drop);
    signals::mask(libc::SIG_SETMASK, before);
    taken
}

/// Leads a group of processes from now on.
pub fn lead_group() -> Result<(), Errno> {
    // SAFETY: numbers only.
    checked(unsafe { libc::setpgid(0, 0) }).map(drop)
}

/// Leads a session from now on. EPERM: we lead a group, or one already.
pub fn lead_session() -> Result<(), Errno> {
    // SAFETY: setsid(2) takes nothing.
    checked(unsafe { libc::setsid() }).map(drop)
}
