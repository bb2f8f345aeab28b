//! Files of a service directory, always relative to a directory that is held open.

use super::{Errno, checked};
use nix::NixPath as _;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat, stat};
use nix::sys::statfs::statfs;
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, mkfifoat, read, symlinkat, unlinkat, write};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The small files of a service directory are read up to here.
const SMALL: usize = 4096;
/// A directory is opened for nothing but looking up names in it. That works without read permission.
const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);
/// To read what is there, whatever it is, without waiting for another process.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK);
/// Where nothing outlasts a boot.
const RUN: &str = "/run";
/// As many symbolic links as are followed to a directory that is to be made.
const HOPS: usize = 8;
/// Where relative paths begin.
pub const HERE: BorrowedFd<'static> = AT_FDCWD;

/// A file or a directory, whatever its names are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileId {
    /// On which file system.
    pub device: u64,
    /// Which file there.
    pub inode: u64,
}

/// Opens a file, always with two flags more: a program that we execute does not get it; and a terminal, wherever a name
/// may lead to one, does not become that of our session, since then a ^C typed there would stop everything.
pub(super) fn open_at<P: nix::NixPath + ?Sized>(
    dir: impl AsFd,
    path: &P,
    flags: OFlag,
    mode: u32,
) -> Result<OwnedFd, Errno> {
    openat(dir, path, flags | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::from_bits_truncate(mode))
}

/// Opens a directory.
pub fn open_dir(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_at(at, name, DIRECTORY, 0)
}

/// The same, if the name is that of the directory itself. ENOTDIR if it is a link.
pub fn open_own_dir(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_at(at, name, DIRECTORY | OFlag::O_NOFOLLOW, 0)
}

/// What takes everything that is written to it.
pub fn open_null() -> Result<OwnedFd, Errno> {
    open_at(HERE, "/dev/null", OFlag::O_RDWR, 0)
}

/// Opens a directory by its path.
pub fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    open_dir(AT_FDCWD, path.as_os_str())
}

/// Another descriptor of the same directory.
pub fn copy(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    dir.try_clone().map_err(|_| Errno::EMFILE)
}

/// The path of an open directory, as far as `/proc` can tell.
pub fn path_of(dir: impl AsFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd())).ok()
}

/// Opens a directory to list it.
pub fn open_list(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_at(at, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)
}

/// The working directory, to come back to. It must be readable, as it must for the tools that do the same.
pub fn working_dir() -> Result<OwnedFd, Errno> {
    open_list(HERE, OsStr::new("."))
}

/// Makes a directory the working directory of the whole process. Not for a supervisor.
pub fn enter(path: &OsStr) -> Result<(), Errno> {
    nix::unistd::chdir(path)
}

/// Goes back to a directory that is held open.
pub fn return_to(dir: impl AsFd) -> Result<(), Errno> {
    nix::unistd::fchdir(dir)
}

/// Which directory this is.
pub fn identity(dir: impl AsFd) -> Result<FileId, Errno> {
    fstat(dir).map(|stat| FileId { device: stat.st_dev, inode: stat.st_ino })
}

/// Whether two descriptors are of one open file, as after dup(2). Of what is no socket not where the kernel does not tell:
/// it may have no kcmp(2), or forbid it.
pub fn is_same_open_file(one: impl AsFd, other: impl AsFd) -> bool {
    const KCMP_FILE: libc::c_long = 0;
    let (Ok(first), Ok(second)) = (fstat(&one), fstat(&other)) else { return false };
    let is_one_file = (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino);
    if !is_one_file || kind(&first) == SFlag::S_IFSOCK {
        return is_one_file;
    }
    let [one, other] = [one.as_fd().as_raw_fd(), other.as_fd().as_raw_fd()].map(libc::c_long::from);
    let us = libc::c_long::from(std::process::id().cast_signed());
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, us, us, KCMP_FILE, one, other) == 0 }
}

/// Which file has this name; a symbolic link is itself.
pub fn identity_at(dir: impl AsFd, name: &OsStr) -> Result<FileId, Errno> {
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(FileId { device: stat.st_dev, inode: stat.st_ino })
}

/// What changes in a directory with every name that comes, goes or is replaced in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    id: FileId,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamp of the directory that stands at a path now.
pub fn stamp(path: &Path) -> Result<Stamp, Errno> {
    let stat = stat(path)?;
    Ok(Stamp {
        id: FileId { device: stat.st_dev, inode: stat.st_ino },
        modified: (stat.st_mtime, stat.st_mtime_nsec),
        changed: (stat.st_ctime, stat.st_ctime_nsec),
    })
}

/// When something in an open directory came, went or was replaced the last time, on the wall clock.
pub fn last_change(dir: impl AsFd) -> Option<Duration> {
    let stat = fstat(dir).ok()?;
    let seconds = u64::try_from(stat.st_ctime).ok()?;
    Some(Duration::new(seconds, u32::try_from(stat.st_ctime_nsec).unwrap_or(0)))
}

/// File systems that can also be changed elsewhere, by another machine for example, without the kernel here knowing of
/// it, and so without inotify telling. All but GFS2 are in linux/magic.h; virtiofs calls itself FUSE.
const CHANGED_ELSEWHERE: [u32; 15] = [
    0x6969,      // NFS_SUPER_MAGIC
    0x517b,      // SMB_SUPER_MAGIC
    0xff53_4d42, // CIFS_SUPER_MAGIC
    0xfe53_4d42, // SMB2_SUPER_MAGIC
    0x0102_1997, // V9FS_MAGIC
    0x6573_5546, // FUSE_SUPER_MAGIC
    0x00c3_6400, // CEPH_SUPER_MAGIC
    0x5346_414f, // AFS_SUPER_MAGIC
    0x6b41_4653, // AFS_FS_MAGIC
    0x7375_7245, // CODA_SUPER_MAGIC
    0x564c,      // NCP_SUPER_MAGIC
    0x7461_636f, // OCFS2_SUPER_MAGIC
    0x786f_4256, // VBOXSF_SUPER_MAGIC
    0x0116_1970, // GFS2_MAGIC
    OVERLAY,
];
/// OVERLAYFS_SUPER_MAGIC
const OVERLAY: u32 = 0x794c_7630;

/// Whether what is at this path can be changed without inotify telling. An overlay that is the root file system counts
/// as one that is not: it is that of a container or of a board, no other program changes its layers, and a program that
/// runs on it is not to be woken for nothing.
pub fn is_changed_elsewhere(path: &Path) -> bool {
    let Ok(kind) = statfs(path).map(|found| found.filesystem_type().0 as u32) else { return false };
    let is_root = || stat(path).is_ok_and(|here| stat("/").is_ok_and(|root| root.st_dev == here.st_dev));
    CHANGED_ELSEWHERE.contains(&kind) && !(kind == OVERLAY && is_root())
}

/// Whether an open directory was removed.
pub fn is_removed(dir: impl AsFd) -> bool {
    fstat(dir).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Whether what is open stands at this path now.
pub fn stands_at(open: impl AsFd, dir: impl AsFd, path: &str) -> bool {
    let there = fstatat(dir, path, AtFlags::AT_SYMLINK_NOFOLLOW);
    there.is_ok_and(|stat| identity(open) == Ok(FileId { device: stat.st_dev, inode: stat.st_ino }))
}

/// The names in a directory that do not begin with a dot, in alphabetical order.
pub fn names(dir: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = entries(dir)?;
    names.retain(|name| !name.as_bytes().starts_with(b"."));
    names.sort_unstable();
    Ok(names)
}

/// All names in a directory, as they come.
pub fn entries(dir: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    list(dir, ".", usize::MAX, |name| names.push(OsStr::from_bytes(name).to_os_string()))?;
    Ok(names)
}

/// Tells of each name in a directory. EFBIG if it does not fit into so many reads: then not all were told of.
pub fn list(dir: impl AsFd, path: &str, reads: usize, found: impl FnMut(&[u8])) -> Result<(), Errno> {
    let dir = open_at(dir, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
    if list_on(&dir, reads, found)? { Ok(()) } else { Err(Errno::EFBIG) }
}

/// Tells of the next names in a directory that [`open_list`] has opened, as many as fit into so many reads. Whether these
/// were the last ones.
pub fn list_on(dir: &OwnedFd, reads: usize, mut found: impl FnMut(&[u8])) -> Result<bool, Errno> {
    let mut buffer = [0; SMALL];
    for _ in 0..reads {
        // SAFETY: getdents64(2), for which the C library has something that allocates, writes no more bytes than it is
        // told that there are.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
        let length = usize::try_from(Errno::result(read)?).unwrap_or(0);
        let mut rest = buffer.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Ok(true);
        }
        // Each entry: an inode and an offset, 8 bytes each, its own length, a kind, and a name that ends in NUL.
        while let Some([low, high]) = rest.get(16..18) {
            let (entry, others) =
                rest.split_at_checked(u16::from_ne_bytes([*low, *high]).into()).unwrap_or((rest, &[]));
            let name = entry.get(19..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
            if !matches!(name, b"." | b"..") {
                found(name);
            }
            rest = others;
        }
    }
    Ok(false)
}

/// Whether a name is there, following symbolic links.
pub fn exists(dir: impl AsFd, path: impl AsRef<Path>) -> bool {
    faccessat(dir, path.as_ref(), AccessFlags::F_OK, AtFlags::empty()).is_ok()
}

/// The same, where it matters whether that could be found out: only ENOENT means that there is nothing.
pub fn look_up<P: nix::NixPath + ?Sized>(dir: impl AsFd, name: &P) -> Result<bool, Errno> {
    match fstatat(dir, name, AtFlags::empty()) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether anything has this name, a link that leads nowhere included.
pub fn is_there(dir: impl AsFd, name: &OsStr) -> bool {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
}

/// Whether a name stands for a symbolic link.
pub fn is_link(dir: impl AsFd, name: &OsStr) -> bool {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| kind(&stat) == SFlag::S_IFLNK)
}

/// Whether a name stands for a socket.
pub fn is_socket(dir: impl AsFd, name: &str) -> bool {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| kind(&stat) == SFlag::S_IFSOCK)
}

/// Whether a directory can be reached under this name.
pub fn is_dir(dir: impl AsFd, name: &OsStr) -> bool {
    fstatat(dir, name, AtFlags::empty()).is_ok_and(|stat| kind(&stat) == SFlag::S_IFDIR)
}

/// Whether a file's owner may execute it: what runit asks of `control/X`.
pub fn is_executable(dir: impl AsFd, name: &str) -> bool {
    fstatat(dir, name, AtFlags::empty()).is_ok_and(|stat| stat.st_mode & 0o100 != 0)
}

/// Whether a name stands for a file that has something in it.
pub fn has_content(dir: impl AsFd, name: &str) -> bool {
    fstatat(dir, name, AtFlags::empty()).is_ok_and(|stat| kind(&stat) == SFlag::S_IFREG && stat.st_size > 0)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// The start of a small text file; `None` if there is none. Never waits: a FIFO reads as empty.
pub fn read_small(dir: impl AsFd, name: &str) -> Result<Option<String>, Errno> {
    Ok(read_bytes(dir, name)?.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// The start of a small file of any content, in the same way.
pub fn read_bytes(dir: impl AsFd, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let file = match open_at(dir, name, READ, 0) {
        Ok(file) => file,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let mut text = [0; SMALL];
    let length = read(&file, &mut text)?;
    Ok(Some(text.get(..length).unwrap_or_default().to_vec()))
}

/// Whether we may make files in this directory.
pub fn may_write(dir: &Path) -> bool {
    nix::unistd::access(dir, AccessFlags::W_OK).is_ok()
}

/// The start of a file, as much as fits. Never waits, and allocates nothing for paths of less than 1,024 bytes. EINVAL
/// for what is no regular file: nothing is read of it.
pub fn read_into<'b>(path: &Path, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let file = open_at(HERE, path, READ, 0)?;
    if kind(&fstat(&file)?) != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let length = read(&file, buffer)?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// File systems whose files only look like files: to read one may wait, never end, or take away what another process
/// was to read. proc, sysfs, debugfs, tracefs, securityfs, cgroup, cgroup2, pstore, selinuxfs, bpf, efivarfs.
const OF_THE_KERNEL: [u64; 11] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x0027_e0eb,
    0x6367_7270,
    0x6165_676c,
    0xf97c_ff8c,
    0xcafe_4a11,
    0xde5e_81e4,
];

/// Opens a file that another user or program may have made, to read it. ENOTSUP if it is no regular file with a content
/// of its own: nothing is opened then, so no FIFO is waited for, no device begins to do something, and no log of the
/// kernel is emptied.
pub fn open_regular(dir: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let found = open_at(&dir, path, OFlag::O_PATH, 0)?;
    if kind(&fstat(&found)?) != SFlag::S_IFREG || is_of_the_kernel(&found) {
        return Err(Errno::ENOTSUP);
    }
    match open_at(HERE, format!("/proc/self/fd/{}", found.as_raw_fd()).as_str(), READ, 0) {
        // There is no /proc: the name is opened again, and another file that has it by now is not read.
        Err(Errno::ENOENT) => {
            let file = open_at(dir, path, READ, 0)?;
            if identity(&file)? == identity(&found)? { Ok(file) } else { Err(Errno::ENOTSUP) }
        }
        result => result,
    }
}

fn is_of_the_kernel(file: &OwnedFd) -> bool {
    let kind = nix::sys::statfs::fstatfs(file).map(|fs| fs.filesystem_type().0 as u64 & 0xffff_ffff);
    kind.is_ok_and(|kind| OF_THE_KERNEL.contains(&kind))
}

/// The content of a file that another user or program may have made, up to so many bytes; see [`open_regular`].
pub fn read_regular(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let file = regular(path)?;
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// The start of a file of somebody else's, as much as fits; see [`open_regular`].
pub fn read_regular_into<'b>(dir: impl AsFd, path: &Path, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let file = open_regular(dir, path)?;
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match read(&file, rest)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(buffer.get(..length).unwrap_or_default())
}

/// What a file says, whatever it is, up to so many bytes. Nothing is waited for: a pipe without a writer is empty.
pub fn read_any(dir: impl AsFd, name: &OsStr, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::from(open_at(dir, name, READ, 0)?).take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// The same file, opened.
pub fn regular(path: &Path) -> std::io::Result<File> {
    open_regular(HERE, path).map(File::from).map_err(|errno| match errno {
        Errno::ENOTSUP => std::io::Error::other("it is no regular file"),
        errno => errno.into(),
    })
}

/// Creates an empty file, or leaves what is there. A link that leads nowhere is not followed: EEXIST.
pub fn touch(dir: impl AsFd, name: &str) -> Result<(), Errno> {
    match open_at(&dir, name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, 0o644) {
        Err(Errno::EEXIST) if exists(&dir, name) => Ok(()),
        result => result.map(drop),
    }
}

/// Removes a file; that there was none is no error.
pub fn remove(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<(), Errno> {
    match unlinkat(dir, name.as_ref(), UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    }
}

/// Removes a file, or a directory and all that is in it. Links are not followed.
pub fn remove_all(dir: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    match remove(&dir, name) {
        Err(Errno::EISDIR) => {
            let inner = open_at(&dir, name, DIRECTORY | OFlag::O_NOFOLLOW, 0)?;
            for entry in entries(&inner)? {
                remove_all(&inner, &entry)?;
            }
            unlinkat(dir, name, UnlinkatFlags::RemoveDir)
        }
        result => result,
    }
}

/// Gives what is under one name another one, in the same directory.
pub fn rename(dir: impl AsFd, old: &OsStr, new: &OsStr) -> Result<(), Errno> {
    renameat(&dir, old, &dir, new)
}

/// Gives what is under one path another one, if nothing has that yet: EEXIST otherwise.
pub fn rename_fresh(old: &Path, new: &Path) -> Result<(), Errno> {
    rename_fresh_at(HERE, old, new)
}

/// The same with paths from this directory on.
pub fn rename_fresh_at(dir: impl AsFd, old: &Path, new: &Path) -> Result<(), Errno> {
    match renameat2(&dir, old, new, libc::RENAME_NOREPLACE) {
        // A file system that cannot do that in one step. Without it only an empty directory can be lost.
        Err(Errno::EINVAL | Errno::ENOSYS) if is_there(&dir, new.as_os_str()) => Err(Errno::EEXIST),
        Err(Errno::EINVAL | Errno::ENOSYS) => renameat(&dir, old, &dir, new),
        result => result,
    }
}

/// Exchanges two names in one step. EINVAL or ENOSYS where that is not to be had.
pub(super) fn exchange(dir: impl AsFd, one: &str, other: &str) -> Result<(), Errno> {
    renameat2(dir, Path::new(one), Path::new(other), libc::RENAME_EXCHANGE)
}

fn renameat2(dir: impl AsFd, old: &Path, new: &Path, flags: libc::c_uint) -> Result<(), Errno> {
    let (dir, number) = (dir.as_fd().as_raw_fd(), libc::SYS_renameat2);
    let result = old.with_nix_path(|old| {
        // SAFETY: renameat2(2), which not every C library has, reads two strings that end in NUL.
        new.with_nix_path(|new| unsafe { libc::syscall(number, dir, old.as_ptr(), dir, new.as_ptr(), flags) })
    })??;
    Errno::result(result).map(drop)
}

/// Whether a name stands for a symbolic link to this target.
pub fn leads_to(dir: impl AsFd, path: &Path, target: &Path) -> bool {
    readlinkat(dir, path).is_ok_and(|known| known == target.as_os_str())
}

/// Makes a symbolic link, in place of one that leads elsewhere. Anything else that has this name stays.
pub fn link(dir: impl AsFd, name: &OsStr, target: &Path) -> Result<(), Errno> {
    match symlinkat(target, &dir, name) {
        Err(Errno::EEXIST) if is_link(&dir, name) && !leads_to(&dir, Path::new(name), target) => {
            remove(&dir, name)?;
            symlinkat(target, &dir, name)
        }
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// Adds to a file that is there.
pub fn append_to(path: &Path, content: &[u8]) -> Result<(), Errno> {
    write(open_at(HERE, path, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK, 0)?, content).map(drop)
}

/// Writes over a file, and makes it if it is not there; but waits for nobody, so not to a FIFO without a reader.
pub fn write_now(path: &Path, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NONBLOCK;
    write(open_at(HERE, path, flags, 0o644)?, content).map(drop)
}

/// Makes a directory of this mode, or takes the one that is there, and opens it. A link is no directory.
pub fn make_dir(at: impl AsFd, name: &OsStr, mode: u32) -> Result<OwnedFd, Errno> {
    match mkdirat(&at, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => open_at(at, name, DIRECTORY | OFlag::O_NOFOLLOW, 0),
        Err(errno) => Err(errno),
    }
}

/// Makes a directory of this mode and opens it. What had its name goes: we have left it when we failed.
pub fn make_dir_anew(at: impl AsFd, name: &OsStr, mode: u32) -> Result<OwnedFd, Errno> {
    if let Err(Errno::EEXIST) = mkdirat(&at, name, Mode::from_bits_truncate(mode)) {
        remove_all(&at, name)?;
    }
    make_dir(at, name, mode)
}

/// Makes a directory of our own; the path ends with `XXXXXX`, which becomes something that is not there yet.
pub fn make_temporary_dir(template: &Path) -> Result<PathBuf, Errno> {
    nix::unistd::mkdtemp(template)
}

/// The owner of a file, and its permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The permissions.
    pub mode: u32,
}

impl Owner {
    /// Whether only this user (and root) can change what is in a directory of this owner.
    pub fn keeps_others_out(&self, us: u32) -> bool {
        self.user == us && self.mode & 0o022 == 0
    }
}

/// The owner of an open file.
pub fn owner(file: impl AsFd) -> Result<Owner, Errno> {
    fstat(file).map(|stat| Owner { user: stat.st_uid, group: stat.st_gid, mode: stat.st_mode })
}

/// The same path, but from `/` on: it does not depend on the working directory.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether only our user (and root) can change which files stand in a directory.
pub fn is_ours_alone(dir: impl AsFd) -> bool {
    owner(dir).is_ok_and(|owner| owner.keeps_others_out(super::process::user()))
}

/// Makes a directory for its owner alone, if nothing has its name yet: see [`vacancy`].
pub fn make_private_dir(dir: &OwnedFd, name: &str) -> Result<(), Errno> {
    let Some((parent, name)) = vacancy(dir, name)? else { return Ok(()) };
    match mkdirat(parent, name.as_os_str(), Mode::from_bits_truncate(0o700)) {
        Err(Errno::EEXIST) => Ok(()), // by now
        result => result,
    }
}

/// Where what is to have this name can be made: here, or where the link leads that stands here and leads nowhere. `None`
/// if something is there. Directories on the way are made if they are below `/run`.
pub fn vacancy(dir: &OwnedFd, name: &str) -> Result<Option<(OwnedFd, OsString)>, Errno> {
    let (mut dir, mut name) = (copy(dir)?, OsString::from(name));
    for _ in 0..HOPS {
        match fstatat(&dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(Some((dir, name))),
            Err(errno) => return Err(errno),
            Ok(stat) if kind(&stat) != SFlag::S_IFLNK || look_up(&dir, name.as_os_str())? => return Ok(None),
            Ok(_) => {}
        }
        let target = PathBuf::from(readlinkat(&dir, name.as_os_str())?);
        let last = target.file_name().ok_or(Errno::ENOENT)?;
        dir = open_making(&dir, target.parent().unwrap_or(Path::new("")))?;
        name = last.to_owned();
    }
    Err(Errno::ELOOP)
}

/// Opens a directory by its path from here. What is missing is made if it is below `/run`.
fn open_making(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut at = if path.is_absolute() { open_path(Path::new("/"))? } else { copy(dir)? };
    for part in path.components() {
        at = match part {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir => open_dir(&at, OsStr::new(".."))?,
            Component::Normal(name) => match open_dir(&at, name) {
                Err(Errno::ENOENT) if path_of(&at).is_some_and(|path| path.starts_with(RUN)) => {
                    make_dir(&at, name, 0o755)?
                }
                found => found?,
            },
        };
    }
    Ok(at)
}

/// What a link leads to. `None`: it is none.
pub fn target(dir: impl AsFd, name: &str) -> Option<PathBuf> {
    readlinkat(dir, name).ok().map(PathBuf::from)
}

/// Takes the lock file: by flock, as runit and daemontools do, and by fcntl, as s6 does. EAGAIN when either is held by
/// another process. The lock lasts as long as the descriptor; the file must not be opened a second time, since closing
/// any descriptor of it gives up the fcntl lock. So what may be another service's lock is not even opened: EMLINK if it
/// is a link, or no plain file.
pub fn lock(dir: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    if !is_vacant_or_ours(&dir, path.as_ref(), SFlag::S_IFREG)? {
        return Err(Errno::EMLINK);
    }
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = open_at(dir, path.as_ref(), flags, 0o600)?;
    flock(&file)?;
    let whole =
        libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
    match fcntl(&file, FcntlArg::F_SETLK(&whole)) {
        Err(Errno::EACCES) => Err(Errno::EAGAIN),
        result => result.map(|_| file),
    }
}

/// Writes to the FIFO of a process that listens, in one piece or, if it is full, not at all. One that nobody has open for
/// reading is removed. What is no FIFO stays as it is, and so does one that has another name: it may be somebody else's.
pub fn tell(dir: impl AsFd, name: &OsStr, bytes: &[u8]) -> Result<(), Errno> {
    let fifo = open_at(&dir, name, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW, 0);
    let told = fifo.and_then(|fifo| {
        let stat = fstat(&fifo)?;
        let is_ours = kind(&stat) == SFlag::S_IFIFO && stat.st_nlink == 1;
        if is_ours { send(&fifo, bytes) } else { Ok(()) }
    });
    match told {
        Err(Errno::ENXIO) if !is_fifo_at(&dir, name) => Ok(()), // a socket
        Err(Errno::ENXIO | Errno::EPIPE) => remove(dir, name),
        Err(Errno::EAGAIN | Errno::ENOENT | Errno::ELOOP | Errno::EISDIR) => Ok(()),
        result => result,
    }
}

fn is_fifo_at(dir: impl AsFd, name: &OsStr) -> bool {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| kind(&stat) == SFlag::S_IFIFO)
}

/// Makes a directory into which all in our group can put what they alone can remove, and nobody else can list. A link
/// that leads nowhere is followed. One that is there stays as it is; an error tells that we cannot list it.
pub fn make_drop_box(dir: &OwnedFd, name: &str) -> Result<(), Errno> {
    let Some((parent, name)) = vacancy(dir, name)? else { return open_list(dir, OsStr::new(name)).map(drop) };
    mkdirat(&parent, name.as_os_str(), Mode::S_IRWXU)?;
    let made = open_list(&parent, &name)?;
    nix::unistd::fchown(&made, None, Some(nix::unistd::getegid()))?;
    nix::sys::stat::fchmod(&made, Mode::from_bits_truncate(0o3730))
}

/// From now on others may write to a FIFO of ours.
pub fn let_all_write(fifo: impl AsFd) -> Result<(), Errno> {
    nix::sys::stat::fchmod(fifo, Mode::from_bits_truncate(0o622))
}

/// From now on others may read a file of ours.
pub fn let_all_read(file: impl AsFd) -> Result<(), Errno> {
    nix::sys::stat::fchmod(file, Mode::from_bits_truncate(0o644))
}

/// Locks it by flock for as long as it is open. EAGAIN when it is locked already.
pub fn flock(file: impl AsFd) -> Result<(), Errno> {
    // SAFETY: flock(2) takes a descriptor that we hold, and a number.
    checked(unsafe { libc::flock(file.as_fd().as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}

/// Whether nothing has this name, or a file of this kind which is not another service's. One that has several names may
/// be, unless only our user (and root) can write to the directory.
fn is_vacant_or_ours<P: nix::NixPath + ?Sized>(dir: impl AsFd, name: &P, wanted: SFlag) -> Result<bool, Errno> {
    match fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(is_ours(&stat, dir, wanted)),
        Err(Errno::ENOENT) => Ok(true),
        Err(errno) => Err(errno),
    }
}

fn is_ours(stat: &FileStat, dir: impl AsFd, wanted: SFlag) -> bool {
    kind(stat) == wanted && (stat.st_nlink == 1 || is_ours_alone(dir))
}

/// The process that holds a lock file by fcntl, as s6 and onit do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// No process.
    Nobody,
    /// This process.
    Process(crate::machine::Pid),
    /// A process that has no number here: one of another PID namespace.
    Stranger,
}

/// Finds out which process holds a lock file by fcntl. A process that looks at a lock of its own gives it up: it must
/// not.
pub fn lock_holder(path: &Path) -> Result<Holder, Errno> {
    let file = open_at(HERE, path, READ, 0)?;
    let mut found =
        libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&file, FcntlArg::F_GETLK(&mut found))?;
    Ok(match found.l_pid {
        _ if libc::c_int::from(found.l_type) == libc::F_UNLCK => Holder::Nobody,
        1.. => Holder::Process(crate::machine::Pid(found.l_pid)),
        _ => Holder::Stranger,
    })
}

/// The writing end of a FIFO that a process has open for reading. ENXIO if none has, ENOTSUP if it is no FIFO.
pub fn writer(path: &Path) -> Result<OwnedFd, Errno> {
    let fifo = open_writer(path)?;
    if kind(&fstat(&fifo)?) == SFlag::S_IFIFO { Ok(fifo) } else { Err(Errno::ENOTSUP) }
}

/// The same, but of whatever is there, for the tools that we replace, which take any file for a FIFO.
pub fn open_writer(path: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    open_at(HERE, path.as_ref(), OFlag::O_WRONLY | OFlag::O_NONBLOCK, 0)
}

/// Writes all of it to a FIFO in one piece, or nothing: EAGAIN if it is full, EPIPE if it has no reader any more. At
/// most 4,096 bytes (`PIPE_BUF`).
pub fn send(fifo: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    write(fifo, bytes).map(drop)
}

/// Which ends of a FIFO are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// Reading.
    Read,
    /// Both, so that a reader never sees the end of input. (Linux allows this; POSIX leaves it open.)
    Both,
}

/// Makes a FIFO for its owner alone, or takes the one that is there, and opens it. ENOTSUP when something else
/// stands under that name, which is not even opened: a link to a FIFO is something else, since it may lead out of our
/// directory.
pub fn fifo(dir: impl AsFd, name: &str, ends: Ends) -> Result<OwnedFd, Errno> {
    match make_fifo(&dir, name) {
        Err(Errno::EEXIST) if !is_vacant_or_ours(&dir, name, SFlag::S_IFIFO)? => return Err(Errno::ENOTSUP),
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let mode = if ends == Ends::Both { OFlag::O_RDWR } else { OFlag::O_RDONLY };
    let fifo = open_at(&dir, name, mode | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW, 0).map_err(|errno| match errno {
        Errno::ELOOP => Errno::ENOTSUP,
        errno => errno,
    })?;
    // Another process may have put another one there since.
    if is_ours(&fstat(&fifo)?, dir, SFlag::S_IFIFO) { Ok(fifo) } else { Err(Errno::ENOTSUP) }
}

/// Makes a FIFO for its owner alone.
pub fn make_fifo(dir: impl AsFd, name: &str) -> Result<(), Errno> {
    mkfifoat(dir, name, Mode::from_bits_truncate(0o600))
}

/// Opens a file to read it, without waiting.
pub fn open_reader(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    open_at(dir, name, READ, 0)
}

/// Reads once. Returns what came.
pub fn read_once(file: impl AsFd, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    let length = read(file, buffer)?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// From now on, writing waits until there is room.
pub fn set_blocking(file: impl AsFd) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETFL(OFlag::empty())).map(drop)
}

/// Reads what there is; nothing at the end.
pub fn read_now(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    read(fd, buffer)
}

/// From now on nothing waits for this descriptor, in whatever process: it fails with EAGAIN.
pub fn never_wait(fd: impl AsFd) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// A pipe: what is read from, what is written to.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC)
}

/// The pipe that is the standard input of a process: what is read from, what is written to.
pub fn pipe_of(pid: crate::machine::Pid) -> Option<(OwnedFd, OwnedFd)> {
    let path = format!("/proc/{pid}/fd/0");
    let end = |mode| open_at(HERE, path.as_str(), mode, 0).ok();
    if stat(path.as_str()).ok().is_none_or(|stat| kind(&stat) != SFlag::S_IFIFO) {
        return None;
    }
    let _both = end(OFlag::O_RDWR)?; // with this, neither of the next two waits
    Some((end(OFlag::O_RDONLY)?, end(OFlag::O_WRONLY)?))
}

/// How many bytes a pipe holds.
pub fn pending(pipe: impl AsFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int to `count`.
    let result = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result == -1 { 0 } else { usize::try_from(count).unwrap_or(0) }
}

/// The next byte, if there is one. The kernel writes it to the first byte of `place`, which may be in memory that
/// outlives us, and nothing else is changed there.
pub fn read_byte(fd: impl AsFd, place: &AtomicU64) -> Option<u8> {
    // SAFETY: read(2) writes one byte to `place`, which has room for eight.
    let length = unsafe { libc::read(fd.as_fd().as_raw_fd(), place.as_ptr().cast(), 1) };
    let [byte, ..] = place.load(Ordering::Relaxed).to_ne_bytes();
    (length == 1).then_some(byte)
}

/// What can be read now, as much as fits.
pub fn read_some(fd: impl AsFd, buffer: &mut [u8]) -> &[u8] {
    let length = read(fd, buffer).unwrap_or(0);
    buffer.get(..length).unwrap_or_default()
}

/// Writes one byte; that it has no reader is no error.
pub fn write_byte(fd: impl AsFd, byte: u8) {
    let _ = write(fd, &[byte]);
}

/// Whether a descriptor's number is so high that the limit of open files is near.
pub fn is_last(fd: impl AsFd, limit: u64, spare: u64) -> bool {
    u64::try_from(fd.as_fd().as_raw_fd()).is_ok_and(|number| number + spare >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_socket_are_one_open_file_and_two_files_are_not() {
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(is_same_open_file(&one, one.try_clone().expect("a copy")) && !is_same_open_file(&one, &other));
        let [first, second] = [(); 2].map(|()| File::open("/dev/null").expect("open"));
        assert!(!is_same_open_file(&first, &second) && !is_same_open_file(&first, &one));
    }

    #[test]
    fn only_a_file_with_a_content_of_its_own_is_read() {
        let root = tempfile::tempdir().expect("a directory");
        let fifo = root.path().join("fifo");
        mkfifoat(HERE, &fifo, Mode::from_bits_truncate(0o600)).expect("mkfifo");
        for strange in [&fifo, root.path(), Path::new("/dev/zero"), Path::new("/proc/kmsg"), Path::new("/sys/kernel")] {
            assert_eq!(open_regular(HERE, strange).err(), Some(Errno::ENOTSUP), "{}", strange.display());
        }
        let link = root.path().join("link");
        std::os::unix::fs::symlink("/proc/version", &link).expect("symlink");
        assert_eq!(read_regular(&link, 9).expect_err("it is the kernel's").to_string(), "it is no regular file");
        let large = root.path().join("large");
        File::create(&large).and_then(|file| file.set_len(10 << 30)).expect("a hole");
        assert_eq!(read_regular(&large, 5).expect("read"), [0; 5]);
        assert_eq!(open_regular(HERE, &root.path().join("nothing")).err(), Some(Errno::ENOENT));
    }
}
