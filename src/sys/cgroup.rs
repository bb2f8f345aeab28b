//! A control group of everything that we start. However fast its processes fork, it ends at once, with cgroup.kill (cgroups(7)).

use super::{Errno, checked, fs, process};
use crate::machine::{Pid, Signal, Target};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat, write};
use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

/// With this, and the value 1, systemd marks a group that it leaves to the processes in it.
const MARKS: [&CStr; 2] = [c"user.delegate", c"trusted.delegate"];

/// Groups in groups are removed, so many levels down.
const DEEPEST: u8 = 8;

/// So often those are looked for that have come since the last look.
const ROUNDS: usize = 64;

/// No link is followed: there is none in this file system.
const IN_IT: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW);

/// The group, which goes when this does, if nothing is in it.
pub struct Group {
    parent: OwnedFd,
    name: String,
    dir: OwnedFd,
    /// There are groups in it that we have made.
    has_children: bool,
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
        Group::make_in(parent, format!("onit.{}", std::process::id()), again, true).ok()
    }

    /// The same in the first group of a machine, as whose PID 1 all of it is ours.
    pub fn make_on_machine(root: &Path) -> Option<Group> {
        let parent = fs::open_at(fs::HERE, root, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0).ok()?;
        let group = Group::make_in(parent, "onit.1".into(), true, true).ok()?;
        fs::exists(&group.dir, "cgroup.kill").then_some(group)
    }

    fn make_in(parent: OwnedFd, name: String, again: bool, has_children: bool) -> Result<Group, Errno> {
        match mkdirat(&parent, name.as_str(), Mode::from_bits_truncate(0o755)) {
            Ok(()) => {}
            Err(Errno::EEXIST) if again => {}
            Err(errno) => return Err(errno),
        }
        let dir = fs::open_at(&parent, name.as_str(), IN_IT, 0)?;
        Ok(Group { parent, name, dir, has_children })
    }

    /// A group in this one, which is made if there is none. It is removed when it is dropped, unless something is in it.
    pub fn child(&self, name: String) -> Result<Group, Errno> {
        Group::make_in(fs::copy(&self.dir)?, name, true, false)
    }

    /// The group in this one whose name ends like this, if there is one.
    pub fn child_that_ends(&self, suffix: &str) -> Option<Group> {
        let name = fs::entries(&self.dir).ok()?.into_iter().filter_map(|name| name.into_string().ok());
        let name = name.into_iter().find(|name| name.ends_with(suffix))?;
        let dir = fs::open_at(&self.dir, name.as_str(), IN_IT, 0).ok()?;
        Some(Group { parent: fs::copy(&self.dir).ok()?, name, dir, has_children: false })
    }

    /// Removes a group in this one, and those in it. False: something is still in it.
    pub fn remove_child(&self, name: &str) -> bool {
        remove(&self.dir, name.as_ref(), DEEPEST) != Err(Errno::EBUSY)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many processes are in it, those that have ended not counted.
    pub fn count(&self) -> usize {
        self.members().len()
    }

    /// Takes in a child of ours.
    pub fn take_in(&self, pid: Pid) -> Result<(), Errno> {
        self.write("cgroup.procs", pid.0.to_string().as_bytes())
    }

    /// Kills everything in it, one by one as long as that leads on. Linux 6.18 kills at once what is started in a group
    /// from outside that cgroup.kill was once written to; so this is for a group that is used again.
    pub fn kill_each(&self) -> Result<(), Errno> {
        let mut told = BTreeSet::new();
        for _ in 0..ROUNDS {
            let new: Vec<Pid> = self.members().into_iter().filter(|pid| told.insert(*pid)).collect();
            if new.is_empty() {
                return Ok(()); // who was told forks no more
            }
            for pid in new {
                let _ = process::kill(pid, Signal::KILL, Target::Process);
            }
        }
        self.kill()
    }

    /// Those in it that are to be seen from our PID namespace.
    fn members(&self) -> Vec<Pid> {
        let procs = fs::open_at(&self.dir, "cgroup.procs", OFlag::O_RDONLY, 0).ok();
        let mut text = String::new();
        let _ = procs.map(|procs| std::fs::File::from(procs).read_to_string(&mut text));
        text.lines().filter_map(|line| line.parse().ok().filter(|pid| *pid > 0).map(Pid)).collect()
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
        let _ = remove(&self.parent, self.name.as_ref(), if self.has_children { DEEPEST } else { 0 });
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Removes a group, and those in it, so many levels down.
fn remove(parent: &OwnedFd, name: &OsStr, levels: u8) -> Result<(), Errno> {
    let removed = unlinkat(parent, name, UnlinkatFlags::RemoveDir);
    if removed != Err(Errno::EBUSY) || levels == 0 {
        return removed;
    }
    let dir = fs::open_at(parent, name, IN_IT, 0)?;
    for child in fs::entries(&dir)? {
        let _ = remove(&dir, &child, levels - 1); // of files too, which this leaves alone
    }
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)
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
