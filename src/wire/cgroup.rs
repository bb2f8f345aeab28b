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

/// A name that is longer than this when it is written for a group is cut: directories have names of at most 255 bytes.
const LONGEST: usize = 180;

/// How the group of a service ends that is in the directory with these numbers, whatever its name is.
pub fn service_suffix(device: u64, inode: u64) -> String {
    format!(".{device:x}-{inode:x}")
}

/// What the group of a service of this name is called: what is no letter or digit, nor one of `-_@`, stands there as
/// `%XX`.
pub fn service_group(name: &OsStr, device: u64, inode: u64) -> String {
    let mut written = String::new();
    for byte in name.as_bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_@".contains(byte) => written.push(char::from(*byte)),
            byte => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written.truncate(LONGEST);
    written + &service_suffix(device, inode)
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
    fn the_group_of_a_service_has_a_name_that_leads_nowhere_else() {
        let called = |name: &[u8]| service_group(OsStr::from_bytes(name), 0x801, 10);
        assert_eq!(called(b"web-1"), "web-1.801-a");
        assert_eq!(called(b"web/log"), "web%2Flog.801-a");
        assert_eq!(called(b"../x\n\xff% "), "%2E%2E%2Fx%0A%FF%25%20.801-a");
        assert_eq!(called(b"cgroup.procs"), "cgroup%2Eprocs.801-a");
        assert!(called(&[0xff; 255]).len() <= 255 && called(&[b'a'; 255]).ends_with(&service_suffix(0x801, 10)));
    }

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
