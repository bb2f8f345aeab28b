//! The kernel's tables of what is mounted and swapped on.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// File systems that hold nothing to be kept.
const KEEP_NOTHING: [&str; 22] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Which part of the file system.
    pub root: OsString,
    /// Where.
    pub target: OsString,
    /// Its type.
    pub kind: String,
    /// The file system itself cannot be written.
    pub read_only: bool,
}

impl Mount {
    /// Whether it is where everything else is mounted.
    pub fn is_root(&self) -> bool {
        self.target == "/"
    }

    /// Whether leaving it as it is could lose something. What is in memory is lost anyway.
    pub fn holds_data(&self) -> bool {
        self.kind != "tmpfs" && !KEEP_NOTHING.contains(&self.kind.as_str())
    }
}

/// What `/proc/self/mountinfo` says, in the order of mounting.
pub fn mounts(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// proc(5): id, parent, device, root, target, options, any number of tags, "-", type, source, super options.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let root = OsString::from_vec(unescape(words.nth(3)?));
    let target = OsString::from_vec(unescape(words.next()?));
    let mut behind = words.skip_while(|word| *word != b"-").skip(1);
    let kind = String::from_utf8_lossy(behind.next()?).into_owned();
    let options = behind.nth(1)?;
    Some(Mount { root, target, kind, read_only: options.split(|byte| *byte == b',').any(|option| option == b"ro") })
}

/// The files and partitions in `/proc/swaps`.
pub fn swaps(text: &[u8]) -> Vec<OsString> {
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    lines
        .filter_map(|line| line.split(|byte| *byte == b' ' || *byte == b'\t').next())
        .filter(|name| !name.is_empty())
        .map(|name| OsString::from_vec(unescape(name)))
        .collect()
}

/// Blanks and backslashes stand there as a backslash and three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            _ => (*first, tail),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_understood_with_and_without_tags() {
        let text = b"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n\
            23 22 0:21 / /proc rw,nosuid - proc proc rw\n\
            99 22 8:1 / /mnt/my\\040disk\\134x ro,noatime shared:5 master:3 - vfat /dev/sda1 ro,fmask=0022\n\
            garbage\n";
        let mounts = mounts(text);
        let seen: Vec<_> = mounts.iter().map(|m| (m.target.to_str().unwrap(), m.kind.as_str(), m.read_only)).collect();
        assert_eq!(seen, [("/", "ext4", false), ("/proc", "proc", false), ("/mnt/my disk\\x", "vfat", true)]);
        let [root, proc, disk] = &mounts[..] else { panic!("three mounts") };
        assert!(root.is_root() && root.holds_data() && !proc.holds_data() && disk.holds_data() && !disk.is_root());
    }

    #[test]
    fn only_the_super_block_decides_what_is_read_only() {
        let text = b"30 1 0:1 / /bind ro - ext4 /dev/vda rw\n31 1 0:1 / /bind rw - ext4 /dev/vda rw,ro\n";
        assert_eq!(mounts(text).iter().map(|m| m.read_only).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn swaps_are_found() {
        let text = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/vda2   partition\t1\t0\t-2\n/my\\040swap  file 1 0 -3\n";
        assert_eq!(swaps(text), ["/dev/vda2", "/my swap"]);
        assert!(swaps(b"").is_empty());
    }

    #[test]
    fn bad_escapes_stay_as_they_are() {
        assert_eq!(unescape(br"a\040b\9\04\777\101"), br"a b\9\04\777A");
    }
}
