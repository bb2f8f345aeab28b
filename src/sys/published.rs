//! Files that other programs read while we change them: `supervise/status` and its kin.
//!
//! A process that opens such a file reads it whole, as it was or as it is. To make it anew and to rename it over the
//! old one would do for that. But file systems take care that a power failure loses neither of the two, and ext4 takes
//! up to a millisecond for it, though after a power failure it is of no use to know what ran before. So the last file
//! but one is kept beside the present one, as `NAME.new`; it is written over, and then the two exchange their names,
//! which happens in memory.
//!
//! No process may read a file that is being written over. It is not to be found under its name, but a process that
//! opened it while it was the present one may have it open still, and read on. The kernel knows: it gives a lease for
//! writing only on a file that no other process has open. A file that has a reader is left to it, and another one is
//! made.
//!
//! Only where no other user can put files is one kept at all. In a directory that other users may write (a `supervise`
//! that was given to a user, so that he controls the service) each file is made anew: what stands there under its name
//! may be a link to anything.

use super::fs::{self, open_at};
use super::{Errno, process};
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{ftruncate, write};
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

/// Which signal tells that a lease is broken.
const F_SETSIG: libc::c_int = 10;

/// A directory of such files.
pub struct Published {
    dir: OwnedFd,
    /// What was kept in it is what we kept.
    keeps: bool,
    /// Its file system can exchange two names.
    exchanges: bool,
}

impl Published {
    /// The directory of this name. `exchanges`: that its file system cannot was not found out yet.
    pub fn open(at: impl AsFd, name: &str, exchanges: bool) -> Result<Published, Errno> {
        let dir = fs::open_dir(at, OsStr::new(name))?;
        let keeps = fs::is_ours_alone(&dir);
        Ok(Published { dir, keeps, exchanges })
    }

    /// Whether its file system can exchange two names, as far as is known.
    pub fn exchanges(&self) -> bool {
        self.exchanges
    }

    /// What we have put into a file, but no more than this many bytes. Nothing if another one has made it.
    pub fn get(&self, name: &str, most: usize) -> Vec<u8> {
        let file = open_at(&self.dir, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW, 0).ok();
        let Some(file) = file.filter(|file| fstat(file).is_ok_and(|stat| is_ours(&stat))) else { return Vec::new() };
        let mut content = Vec::new();
        let read = std::fs::File::from(file).take(most as u64).read_to_end(&mut content);
        if read.is_ok() { content } else { Vec::new() }
    }

    /// Gives a file this content in one step, also on a full disk: a reader sees the old one or the new one, whole.
    pub fn put(&mut self, name: &str, content: &[u8]) -> Result<(), Errno> {
        let scratch = format!("{name}.new");
        let result = self.write(&scratch, content).and_then(|()| self.give_name(&scratch, name));
        if result.is_err() {
            let _ = fs::remove(&self.dir, &scratch);
        }
        result
    }

    fn write(&self, scratch: &str, content: &[u8]) -> Result<(), Errno> {
        let Some((file, length)) = self.kept(scratch) else { return make(&self.dir, scratch, content) };
        write_all(&file, content)?;
        if length > content.len() as u64 {
            ftruncate(&file, content.len() as libc::off_t)?;
        }
        Ok(())
    }

    /// The file that was kept, and its length, if it can be written over.
    fn kept(&self, scratch: &str) -> Option<(OwnedFd, u64)> {
        if !self.keeps {
            return None;
        }
        let file = open_at(&self.dir, scratch, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW, 0).ok()?;
        let stat = fstat(&file).ok()?;
        (is_ours(&stat) && is_unread(&file)).then_some((file, stat.st_size.cast_unsigned()))
    }

    fn give_name(&mut self, scratch: &str, name: &str) -> Result<(), Errno> {
        if self.exchanges {
            // In this order the last thing that a watcher of the directory hears is that `name` has come.
            match fs::exchange(&self.dir, name, scratch) {
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => self.exchanges = false,
                Err(Errno::ENOENT) => {} // there is none yet
                result => return result,
            }
        }
        fs::rename(&self.dir, OsStr::new(scratch), OsStr::new(name))
    }
}

/// Whether it is a file that we have made, with one name.
fn is_ours(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() && stat.st_nlink == 1 && stat.st_uid == process::user()
}

/// Makes a file. Whatever had its name has it no more; if that is a link, what it leads to stays as it is.
pub fn make(dir: &OwnedFd, name: &str, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let file = match open_at(dir, name, flags, 0o644) {
        Err(Errno::EEXIST) => fs::remove(dir, name).and_then(|()| open_at(dir, name, flags, 0o644)),
        result => result,
    }?;
    write_all(&file, content)
}

fn write_all(file: &OwnedFd, content: &[u8]) -> Result<(), Errno> {
    match write(file, content)? {
        length if length == content.len() => Ok(()),
        _ => Err(Errno::ENOSPC),
    }
}

/// Whether no other process has this file open. False where the file system gives no leases, and so cannot tell.
fn is_unread(file: &OwnedFd) -> bool {
    // SAFETY: fcntl(2) with numbers, on a descriptor that we hold.
    let ask = |what: libc::c_int, number: libc::c_int| unsafe { libc::fcntl(file.as_raw_fd(), what, number) } != -1;
    // A process that opens it between the two is made to wait, and we get SIGCHLD, which asks for nothing by itself.
    ask(F_SETSIG, libc::SIGCHLD) && ask(libc::F_SETLEASE, libc::F_WRLCK) && ask(libc::F_SETLEASE, libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;

    fn directory() -> (tempfile::TempDir, Published) {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).expect("chmod");
        let published = again(root.path());
        (root, published)
    }

    fn again(path: &Path) -> Published {
        Published::open(fs::HERE, path.to_str().expect("text"), true).expect("open")
    }

    /// A child of another test may have a copy of our descriptors for a moment, and then the file that is kept has a
    /// reader. So it is enough if one of many tries succeeds.
    #[test]
    fn two_files_take_turns() {
        assert!((0..50).any(|_| take_turns()));
    }

    fn take_turns() -> bool {
        let (root, mut published) = directory();
        let (file, scratch) = (root.path().join("stat"), root.path().join("stat.new"));
        let inode = || std::fs::metadata(&file).expect("a file").ino();
        published.put("stat", b"down\n").expect("put");
        let first = inode();
        assert!(!scratch.exists(), "there was nothing to keep");
        published.put("stat", b"run, got TERM\n").expect("put");
        let (second, mut as_expected) = (inode(), true);
        for (content, expected) in [("", first), ("run, paused\n", second), ("run\n", first), ("down\n", second)] {
            published.put("stat", content.as_bytes()).expect("put");
            assert_eq!(std::fs::read_to_string(&file).expect("read"), content);
            as_expected &= inode() == expected;
        }
        assert!(published.exchanges());
        as_expected
    }

    #[test]
    fn who_reads_on_sees_the_file_that_he_has_opened() {
        let (root, mut published) = directory();
        let path = root.path().join("stat");
        published.put("stat", b"run, want down\n").expect("put");
        let mut slow = std::fs::File::open(&path).expect("open");
        let mut start = [0; 4];
        slow.read_exact(&mut start).expect("read");
        for content in ["down\n", "run, paused, got TERM, want exit\n", "down\n", ""] {
            published.put("stat", content.as_bytes()).expect("put");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), content);
        }
        let mut rest = String::new();
        slow.read_to_string(&mut rest).expect("read");
        assert_eq!((&start, rest.as_str()), (b"run,", " want down\n"));
    }

    #[test]
    fn a_link_that_stands_in_the_place_of_the_kept_file_is_not_written_through() {
        for ours_alone in [true, false] {
            let (root, mut published) = directory();
            let (precious, scratch) = (root.path().join("precious"), root.path().join("status.new"));
            std::fs::write(&precious, "a secret of some length").expect("write");
            if !ours_alone {
                std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o733)).expect("chmod");
                published = again(root.path());
            }
            published.put("status", b"one").expect("put");
            published.put("status", b"two").expect("put");
            let links: [fn(&Path, &Path); 3] = [
                |precious, scratch| symlink(precious, scratch).expect("a link"),
                |precious, scratch| std::fs::hard_link(precious, scratch).expect("a link"),
                |_, scratch| nix::unistd::mkfifo(scratch, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"),
            ];
            for link in links {
                std::fs::remove_file(&scratch).expect("rm");
                link(&precious, &scratch);
                published.put("status", b"three").expect("put");
                assert_eq!(std::fs::read(&precious).expect("read"), b"a secret of some length");
                assert_eq!(std::fs::read(root.path().join("status")).expect("read"), b"three");
                published.put("status", b"four").expect("put");
                published.put("status", b"five").expect("put");
            }
            assert_eq!(std::fs::metadata(&precious).expect("there").nlink(), 1);
        }
    }

    #[test]
    fn where_others_may_write_nothing_is_written_over() {
        let (root, mut published) = directory();
        published.put("status", b"one").expect("put");
        published.put("status", b"two").expect("put");
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o720)).expect("chmod");
        let (file, moved) = (root.path().join("other"), root.path().join("status.new"));
        std::fs::write(&file, "ours, but something else").expect("write");
        let other = std::fs::File::open(&file).expect("open");
        std::fs::rename(&file, &moved).expect("mv");
        again(root.path()).put("status", b"three").expect("put");
        let mut text = String::new();
        (&other).read_to_string(&mut text).expect("read");
        assert_eq!(text, "ours, but something else");
    }
}
