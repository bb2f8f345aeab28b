//! Where a process stands among the control groups, version 2.

use super::mounts::Mount;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// The directory of the group that `/proc/self/cgroup` names (cgroups(7): the line `0::PATH`), among these mounts. `None`
/// if it cannot be reached through any of them.
pub fn directory(cgroup: &[u8], mounts: &[Mount]) -> Option<PathBuf> {
    let ours = path(cgroup)?;
    if ours.components().any(|part| part == Component::ParentDir) {
        return None; // it is outside of our namespace
    }
    let mut below = mounts.iter().filter(|mount| mount.kind == "cgroup2");
    below.find_map(|mount| Some(Path::new(&mount.target).join(ours.strip_prefix(&mount.root).ok()?)))
}

/// Whether that group is the first one of its namespace: all that is to be seen there.
pub fn is_whole(cgroup: &[u8]) -> bool {
    path(cgroup) == Some(Path::new("/"))
}

fn path(cgroup: &[u8]) -> Option<&Path> {
    let path = cgroup.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(Path::new(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mounts::mounts;

    #[test]
    fn the_group_is_found_below_what_is_mounted() {
        let at = |cgroup: &[u8], table: &[u8]| directory(cgroup, &mounts(table));
        let unified = b"30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = |path: &str| Some(PathBuf::from(path));
        assert_eq!(at(b"0::/a/b.service\n", unified), found("/sys/fs/cgroup/a/b.service"));
        let hybrid = b"29 1 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n\
            30 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(at(b"4:cpu:/x\n0::/a\n", hybrid), found("/sys/fs/cgroup/unified/a"));
        let part = b"30 1 0:26 /pods/one /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(at(b"0::/pods/one\n", part), found("/sys/fs/cgroup/"));
        assert_eq!(at(b"0::/pods/two\n", part), None);
        assert_eq!(at(b"0::/../outside\n", unified), None, "of another namespace");
        assert_eq!(at(b"4:cpu:/x\n", hybrid), None);
        assert_eq!(at(b"0::/\n", b""), None);
        let whole = [&b"4:cpu:/x\n0::/\n"[..], b"0::/a\n", b"4:cpu:/\n"].map(is_whole);
        assert_eq!(whole, [true, false, false]);
    }
}
