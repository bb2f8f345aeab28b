//! The files that a log consists of: the newest, and the old ones beside it.

use crate::sys::fs;
use crate::wire::stamp::label;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// An open file of a log.
pub(crate) struct Found {
    pub(crate) file: File,
    /// Device and inode.
    pub(crate) id: (u64, u64),
}

impl Found {
    pub(crate) fn new(file: File) -> io::Result<Found> {
        let metadata = file.metadata()?;
        Ok(Found { file, id: (metadata.dev(), metadata.ino()) })
    }
}

/// An old file of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Archive {
    /// What it is called, without what loggers change of a name later.
    pub(crate) name: OsString,
    pub(crate) path: PathBuf,
    /// Device and inode.
    pub(crate) id: (u64, u64),
}

impl Archive {
    /// Whether it is one of a processor or of `onit logger` that must be unpacked to be read.
    pub(crate) fn is_compressed(&self) -> bool {
        let name = self.path.as_os_str().as_bytes();
        let mut head = [0; 4];
        [".gz", ".zst", ".xz", ".bz2"].iter().any(|end| name.ends_with(end.as_bytes()))
            || open(&self.path)
                .and_then(|file| std::os::unix::fs::FileExt::read_at(&file, &mut head, 0))
                .is_ok_and(|_| head.starts_with(b"\x1f\x8b") || head == *b"\x28\xb5\x2f\xfd" || head == *b"\xfd7zX")
    }
}

/// Opens a file of a log, if it is a regular one.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    fs::regular(path)
}

/// The old files beside the newest one of a log, the oldest first.
pub(crate) fn archives(newest: &Path) -> Vec<Archive> {
    let (Some(directory), Some(own)) = (newest.parent(), newest.file_name()) else { return Vec::new() };
    let names = fs::open_path(directory).and_then(fs::entries).unwrap_or_default();
    let mut found: Vec<(Age, Archive)> = names
        .iter()
        .filter_map(|name| {
            let age = age(own, name)?;
            let path = directory.join(name);
            let metadata = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
            let name = match &age {
                Age::Labelled(label) => OsStr::from_bytes(label).to_owned(),
                Age::Numbered(_) | Age::Newest => name.clone(),
            };
            Some((age, Archive { name, path, id: (metadata.dev(), metadata.ino()) }))
        })
        .collect();
    found.sort_unstable_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.path.cmp(&other.1.path)));
    // While a processor runs, the same lines stand in several files.
    found.dedup_by(|later, earlier| later.0 == earlier.0 && matches!(later.0, Age::Labelled(_)));
    found.into_iter().map(|(_, archive)| archive).collect()
}

/// The order of old files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Age {
    /// Named by the time of its rotation: `@400000006b0c76de0291f38c.s`.
    Labelled(Vec<u8>),
    /// `FILE.1` is younger than `FILE.2`.
    Numbered(std::cmp::Reverse<u64>),
    /// `previous`, which multilog and s6-log are about to rename.
    Newest,
}

/// What a file is to the log whose newest is called `own`, if it belongs to it.
fn age(own: &OsStr, name: &OsStr) -> Option<Age> {
    let (own, name) = (own.as_bytes(), name.as_bytes());
    if own == b"current" {
        if name == b"previous" {
            return Some(Age::Newest);
        }
        let (_, _, length) = label(name)?;
        let is_whole = matches!(name.get(length..), Some(b".s" | b".u"));
        return is_whole.then(|| Age::Labelled(name.get(..length).unwrap_or_default().to_vec()));
    }
    let number = std::str::from_utf8(name.strip_prefix(own)?.strip_prefix(b".")?).ok()?;
    let number = number.strip_suffix(".gz").unwrap_or(number);
    number.parse().ok().map(|number| Age::Numbered(std::cmp::Reverse(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(own: &str, there: &[&str]) -> Vec<String> {
        let root = tempfile::tempdir().expect("a directory");
        there.iter().for_each(|name| std::fs::write(root.path().join(name), "").expect("written"));
        let found = archives(&root.path().join(own)).into_iter().map(|one| one.path);
        found.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn old_files_are_found_from_the_oldest_on() {
        let (old, new) = ("@400000006b0c76de0291f38c.s", "@400000006b0c76df0291f38c.u");
        assert_eq!(names("current", &[new, "previous", "current", old, "lock", "@x.s"]), [old, new, "previous"]);
        assert_eq!(
            names("log", &["log", "log.1", "log.10", "log.2.gz", "log.x", "logs.1"]),
            ["log.10", "log.2.gz", "log.1"]
        );
    }

    #[test]
    fn a_file_that_is_being_processed_counts_once() {
        let label = "@400000006b0c76de0291f38c";
        let [s, u, t] = [".s", ".u", ".t"].map(|end| format!("{label}{end}"));
        assert_eq!(names("current", &[&s, &u, &t]), [s]);
    }
}
