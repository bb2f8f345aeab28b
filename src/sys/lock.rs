//! Lock files, which a process keeps locked over execve(2).

use super::{Errno, checked, clock, fs};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

/// Which lock. Those of flock(2) and those of fcntl(2) do not know of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lock {
    /// flock(2), for one: that of runit and daemontools.
    Flock,
    /// fcntl(2), for one: that of s6.
    Exclusive,
    /// fcntl(2), for all that ask for this one.
    Shared,
}

/// How long another process is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all.
    Never,
    /// As long as it takes.
    Forever,
    /// No longer than this.
    For(Duration),
}

/// Opens a lock file to append to it, and makes it if it is not there. Programs that we execute get it.
pub fn open(path: &OsStr, lock: Lock) -> Result<OwnedFd, Errno> {
    let (flags, mode) = match lock {
        Lock::Flock => (OFlag::O_WRONLY | OFlag::O_APPEND, 0o600),
        Lock::Exclusive => (OFlag::O_WRONLY, 0o666),
        Lock::Shared => (OFlag::O_RDONLY, 0o666),
    };
    let file = fs::open_at(fs::HERE, path, flags | OFlag::O_CREAT | OFlag::O_NONBLOCK, mode)?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(file)
}

/// Locks it for as long as this process, or the program that it becomes, has it open. EAGAIN or EACCES: another process
/// has locked it; ETIMEDOUT: it still has.
pub fn lock(file: &OwnedFd, lock: Lock, wait: Wait) -> Result<(), Errno> {
    let (until, _alarm) = match wait {
        Wait::For(time) => (Some(clock::now().after(time)), Some(Alarm::after(time)?)),
        Wait::Never | Wait::Forever => (None, None),
    };
    loop {
        match once(file, lock, wait == Wait::Never) {
            // It may have become free while we were stopped.
            Err(Errno::EINTR) if until.is_some_and(|until| until <= clock::now()) => {
                return once(file, lock, true).map_err(|_| Errno::ETIMEDOUT);
            }
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn once(file: &OwnedFd, lock: Lock, at_once: bool) -> Result<(), Errno> {
    let kind = match lock {
        Lock::Flock => {
            let how = if at_once { libc::LOCK_EX | libc::LOCK_NB } else { libc::LOCK_EX };
            // SAFETY: flock(2) takes a descriptor that we hold, and a number.
            return checked(unsafe { libc::flock(file.as_raw_fd(), how) }).map(drop);
        }
        Lock::Exclusive => libc::F_WRLCK,
        Lock::Shared => libc::F_RDLCK,
    };
    // SAFETY: all zeroes are a value of this type: the whole file.
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = kind as libc::c_short;
    let asked = if at_once { FcntlArg::F_SETLK(&whole) } else { FcntlArg::F_SETLKW(&whole) };
    fcntl(file, asked).map(drop)
}

/// Interrupts what waits, once this time is over, and then again and again: the first time may come too early.
struct Alarm {
    before: libc::sigaction,
}

impl Alarm {
    fn after(time: Duration) -> Result<Alarm, Errno> {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: all zeroes are values of these types; a handler that does nothing, without SA_RESTART; and a timer
        // of numbers.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
            let mut before: libc::sigaction = std::mem::zeroed();
            checked(libc::sigaction(libc::SIGALRM, &raw const action, &raw mut before))?;
            let alarm = Alarm { before };
            super::signals::mask(libc::SIG_UNBLOCK, super::signals::set_of([libc::SIGALRM]));
            checked(set_timer(time.max(Duration::from_micros(1)), Duration::from_millis(10)))?;
            Ok(alarm)
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        set_timer(Duration::ZERO, Duration::ZERO);
        // SAFETY: the action that was there before.
        unsafe { libc::sigaction(libc::SIGALRM, &raw const self.before, ptr::null_mut()) };
    }
}

fn set_timer(first: Duration, then: Duration) -> libc::c_int {
    let seconds = |time: Duration| libc::c_long::try_from(time.as_secs()).unwrap_or(libc::c_long::MAX);
    let micros = |time: Duration| libc::c_long::from(time.subsec_micros().cast_signed());
    let timer = [seconds(then), micros(then), seconds(first), micros(first)]; // struct itimerval
    // SAFETY: setitimer(2) reads the four numbers only. A system call, since the C library's types differ.
    unsafe { libc::syscall(libc::SYS_setitimer, 0, timer.as_ptr(), ptr::null_mut::<libc::c_long>()) as libc::c_int }
}
