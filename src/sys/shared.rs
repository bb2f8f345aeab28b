//! Memory that outlives the program: an open file without a name. A user who may look into our process can read it.

use super::{Errno, checked, fs};
use crate::machine::Pid;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Addresses that are set aside, in words. More than the file may ever have; less where there are not so many.
const ROOM: usize = 64 << 17;
/// The file grows by this much, in words.
const STEP: usize = 4096;
const WORD: usize = size_of::<AtomicU64>();
/// linux/memfd.h: it will never be executed. Asked for where the kernel knows it, since some systems insist on it.
const NOEXEC_SEAL: libc::c_uint = 8;

/// Words in shared memory. They stay mapped for ever.
pub struct Shared {
    fd: OwnedFd,
    base: AtomicPtr<AtomicU64>,
    length: AtomicUsize,
    room: usize,
}

/// What the kernel does not let us have, by the name of its call, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The call.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
}

impl Shared {
    /// New memory of this many words, all zero.
    pub fn create(name: &CStr, words: usize) -> Result<&'static Shared, Refused> {
        let refused = |call| move |errno| Refused { call, errno };
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: memfd_create(2) takes a name and a number.
        let create = |flags| checked(unsafe { libc::memfd_create(name.as_ptr(), flags) });
        let fd = match create(flags | NOEXEC_SEAL) {
            Err(Errno::EINVAL) => create(flags),
            result => result,
        }
        .map_err(refused("memfd_create"))?;
        // SAFETY: it is new, and nothing else uses it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let seal = fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)); // or to read it could be a fault
        seal.map_err(refused("fcntl"))?;
        let shared = Shared::map(fd).map_err(refused("mmap"))?;
        shared.grow(words).map_err(refused("ftruncate"))?;
        Ok(shared)
    }

    /// The memory that another process has made, or the supervisor that ran before. EINVAL if it could shrink under us.
    pub fn open(fd: OwnedFd) -> Result<&'static Shared, Errno> {
        let seals = SealFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GET_SEALS)?);
        if seals.contains(SealFlag::F_SEAL_SHRINK) { Shared::map(fd) } else { Err(Errno::EINVAL) }
    }

    /// The memory that this process has made, if we may look into it. ENOENT if there is none.
    pub fn of_process(pid: Pid) -> Result<&'static Shared, Errno> {
        let directory = PathBuf::from(format!("/proc/{pid}/fd"));
        let cause = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        for entry in std::fs::read_dir(directory).map_err(cause)? {
            let path = entry.map_err(cause)?.path();
            if std::fs::read_link(&path).is_ok_and(|link| link.as_os_str() == "/memfd:onit (deleted)") {
                return Shared::open(fs::open_at(fs::HERE, &path, OFlag::O_RDWR, 0)?);
            }
        }
        Err(Errno::ENOENT)
    }

    fn map(fd: OwnedFd) -> Result<&'static Shared, Errno> {
        let length = usize::try_from(fstat(&fd)?.st_size).unwrap_or_default() / WORD;
        let mut room = ROOM;
        let base = loop {
            match set_aside(&fd, room) {
                Err(Errno::ENOMEM) if room > STEP => room /= 2,
                result => break result?,
            }
        };
        let length = AtomicUsize::new(length.min(room));
        Ok(Box::leak(Box::new(Shared { fd, base: AtomicPtr::new(base), length, room })))
    }

    /// From now on there are at least this many words.
    pub fn grow(&self, words: usize) -> Result<(), Errno> {
        if words <= self.length.load(Ordering::Relaxed) {
            return Ok(());
        }
        let may_be =
            super::process::file_size().map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX) / WORD);
        let length = words.next_multiple_of(STEP).min(may_be);
        if words > length {
            return Err(Errno::EFBIG); // to try would bring a signal
        }
        if length > self.room {
            return Err(Errno::ENOMEM);
        }
        ftruncate(&self.fd, i64::try_from(length * WORD).unwrap_or(i64::MAX))?;
        self.length.store(length, Ordering::Relaxed);
        Ok(())
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for ever, as long as the file is, which cannot shrink; zeroed memory is an atomic number, and
        // each other process that has it mapped changes it as such.
        unsafe { std::slice::from_raw_parts(self.base.load(Ordering::Relaxed), self.length.load(Ordering::Relaxed)) }
    }

    /// One of them.
    pub fn word(&'static self, at: usize) -> Option<&'static AtomicU64> {
        self.words().get(at)
    }
}

/// Maps so many words of the file, and leaves as much room again to everything else.
fn set_aside(fd: &OwnedFd, room: usize) -> Result<*mut AtomicU64, Errno> {
    let (access, bytes) = (libc::PROT_READ | libc::PROT_WRITE, room * WORD);
    // SAFETY: a new mapping, which nothing else refers to, and half of it given up again. Nothing is read behind the
    // end of the file.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), 2 * bytes, access, libc::MAP_SHARED, fd.as_raw_fd(), 0);
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        libc::munmap(base.byte_add(bytes), bytes);
        Ok(base.cast())
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads_and_nobody_can_cut_it_short() {
        let ours = Shared::create(c"test", 10).expect("shared memory");
        let theirs = Shared::open(ours.fd.try_clone().expect("a copy")).expect("the same memory");
        ours.words()[9].store(7, Ordering::Relaxed);
        assert_eq!(theirs.words()[9].load(Ordering::Relaxed), 7);
        assert_eq!(ftruncate(&ours.fd, 8), Err(Errno::EPERM));
        let file = std::fs::File::open("/proc/self/exe").expect("a file");
        assert_eq!(Shared::open(file.into()).err(), Some(Errno::EINVAL));
        // SAFETY: memfd_create(2) takes a name and a number, and nothing else uses what it makes.
        let open_to_all =
            unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"test".as_ptr(), libc::MFD_ALLOW_SEALING)) };
        assert_eq!(Shared::open(open_to_all).err(), Some(Errno::EINVAL), "it could be cut short");
        assert_eq!(ours.grow(ROOM + 1), Err(Errno::ENOMEM));
        assert!(ours.grow(STEP * 3).is_ok() && ours.words().len() == STEP * 3);
    }
}
