//! A control group of everything that we start. However fast its processes fork, it ends at once, with cgroup.kill (cgroups(7)).

use super::{Errno, checked, fs, process};
use crate::machine::Pid;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat, write};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

/// With this, and the value 1, systemd marks a group that it leaves to the processes in it.
const MARKS: [&CStr; 2] = [c"user.delegate", c"trusted.delegate"];

/// The group, which goes when this does, if nothing is in it.
pub struct Group {
    parent: OwnedFd,
    name: String,
    dir: OwnedFd,
}

impl Group {
    /// Makes a group in the one that we are in, which has this directory, if that was given to us: systemd says so, or it
    /// belongs to our user, who is not root, or it is all that is to be seen (`is_whole`). `None`: it was not, or the
    /// kernel is older than 5.14. `again`: we have made one before.
    pub fn make(own: &Path, is_whole: bool, again: bool) -> Option<Group> {
        let parent = fs::open_at(fs::HERE, own, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0).ok()?;
        // The root group of the machine has no type, and is never given to a program.
        let is_given = fs::exists(&parent, "cgroup.type") && (is_whole || is_marked(&parent) || is_our_user_s(&parent));
        if !is_given || !fs::exists(&parent, "cgroup.kill") {
            return None;
        }
        let name = format!("onit.{}", std::process::id());
        match mkdirat(&parent, name.as_str(), Mode::from_bits_truncate(0o755)) {
            Ok(()) => {}
            Err(Errno::EEXIST) if again => {}
            Err(_) => return None,
        }
        let dir = fs::open_dir(&parent, name.as_ref()).ok()?;
        Some(Group { parent, name, dir })
    }

    /// Takes in a child of ours.
    pub fn take_in(&self, pid: Pid) -> Result<(), Errno> {
        self.write("cgroup.procs", pid.0.to_string().as_bytes())
    }

    /// Kills everything in it.
    pub fn kill(&self) -> Result<(), Errno> {
        self.write("cgroup.kill", b"1")
    }

    fn write(&self, name: &str, word: &[u8]) -> Result<(), Errno> {
        let file = fs::open_at(&self.dir, name, OFlag::O_WRONLY, 0)?;
        write(file, word).map(drop)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = unlinkat(&self.parent, self.name.as_str(), UnlinkatFlags::RemoveDir);
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn is_marked(dir: &OwnedFd) -> bool {
    let mut value = [0u8; 1];
    MARKS.into_iter().any(|mark| {
        // SAFETY: fgetxattr(2) reads a string and writes at most the one byte that there is room for.
        let length = unsafe { libc::fgetxattr(dir.as_raw_fd(), mark.as_ptr(), value.as_mut_ptr().cast(), 1) };
        checked(length as libc::c_int) == Ok(1) && value == *b"1"
    })
}

fn is_our_user_s(dir: &OwnedFd) -> bool {
    let us = process::user();
    us != 0 && fs::owner(dir).is_ok_and(|owner| owner.user == us)
}
