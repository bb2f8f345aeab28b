//! A hardware watchdog, as Linux shows it: whatever is written to its device feeds it, `V` before the last close stops
//! it, and without that it goes on when the process that opened it is no more.

use super::rescue::Claims;
use super::{Errno, checked};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};
use nix::unistd::write;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// linux/watchdog.h; the same number on every processor that we are built for.
const WDIOC_SETTIMEOUT: libc::Ioctl = 0xc004_5706_u32 as libc::Ioctl;
const WDIOC_GETTIMEOUT: libc::Ioctl = 0x8004_5707_u32 as libc::Ioctl;
/// The program that executed us has opened few files before this one.
const INHERITED: std::ops::Range<i32> = 3..64;

/// A watchdog that is open, and so runs.
pub struct Watchdog(OwnedFd);

impl Watchdog {
    /// Opens a device. From now on it wants to be fed.
    pub fn open(path: &Path) -> Result<Watchdog, Errno> {
        if !is_device(&stat(path)?) {
            return Err(Errno::ENOTTY); // a FIFO, or a file, would take what is written to feed it
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        open(path, flags, Mode::empty()).map(Watchdog)
    }

    /// The one that was left open for us by another program that was this process.
    pub fn inherited(path: &Path) -> Option<Watchdog> {
        let device = stat(path).ok().filter(is_device)?;
        // SAFETY: only asked about, and not closed in the meantime: there is a single thread.
        let about = |fd| fstat(unsafe { BorrowedFd::borrow_raw(fd) });
        let found = INHERITED
            .into_iter()
            .find(|fd| about(*fd).is_ok_and(|it| is_device(&it) && it.st_rdev == device.st_rdev))?;
        Claims::default().claim(found).map(Watchdog)
    }

    /// One that was claimed already.
    pub fn of(fd: OwnedFd) -> Watchdog {
        Watchdog(fd)
    }

    /// It is patient for this long from now on, in whole seconds. Returns how long it is indeed: hardware has its limits.
    pub fn set_timeout(&self, timeout: Duration) -> Result<Duration, Errno> {
        let rest = u64::from(timeout.subsec_nanos() > 0);
        let seconds = i32::try_from(timeout.as_secs().saturating_add(rest)).unwrap_or(i32::MAX);
        self.ask(WDIOC_SETTIMEOUT, seconds)
    }

    /// How long it is patient.
    pub fn timeout(&self) -> Result<Duration, Errno> {
        self.ask(WDIOC_GETTIMEOUT, 0)
    }

    fn ask(&self, request: libc::Ioctl, mut seconds: i32) -> Result<Duration, Errno> {
        // SAFETY: both requests read and write one int.
        checked(unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut seconds) })?;
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or(Errno::ERANGE)
    }

    /// Feeds it.
    pub fn feed(&self) -> Result<(), Errno> {
        write(&self.0, b"\0").map(drop)
    }

    /// Stops it, unless it cannot be stopped (`nowayout`).
    pub fn stop(self) -> Result<(), Errno> {
        write(&self.0, b"V").map(drop)
    }

    /// Whether another program that takes the place of this one finds it open.
    pub fn keep_over_exec(&self, keep: bool) -> Result<(), Errno> {
        let flags = if keep { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
        fcntl(&self.0, FcntlArg::F_SETFD(flags)).map(drop)
    }
}

impl AsFd for Watchdog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn is_device(file: &FileStat) -> bool {
    SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_is_not_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
        assert_eq!(Watchdog::open(&fifo).err(), Some(Errno::ENOTTY));
        assert_eq!(Watchdog::open(&dir.path().join("none")).err(), Some(Errno::ENOENT));
    }

    #[test]
    fn what_keeps_no_time_is_told_apart_from_a_watchdog() {
        let null = Watchdog::open(Path::new("/dev/null")).expect("a device");
        assert_eq!(
            (null.set_timeout(Duration::from_millis(1)), null.timeout()),
            (Err(Errno::ENOTTY), Err(Errno::ENOTTY))
        );
    }
}
