//! The file that lines go into, and the files that it becomes: what all log directories have in common.

use super::rotation::{Next, Rule};
use super::waiting::{Stop, Waiter};
use crate::sys::clock;
use crate::wire::tai::Tai;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The name of the file that lines go into.
pub const CURRENT: &str = "current";
/// A file that is complete.
pub const COMPLETE: u32 = 0o744;
/// One that is not.
pub const INCOMPLETE: u32 = 0o644;
/// That it is complete is told by this bit.
pub const COMPLETE_BIT: u32 = 0o100;
/// Written before more lines are taken: a prefix can make much of little.
pub const HIGH_WATER: usize = 4 << 20;

/// A file, what waits to be written to it, and when it is full.
pub struct Current {
    /// The file.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// What waits.
    pub waiting: Vec<u8>,
    /// The ends of the chunks in what waits; see [`Rule::Chunks`].
    pub chunks: Vec<usize>,
    /// When it is full.
    pub rule: Rule,
    /// It is full, and the next one is to be begun.
    pub is_full: bool,
}

/// A place for lines that begins another file when one is full.
pub trait Rotating {
    /// The file.
    fn current(&mut self) -> &mut Current;
    /// Begins another file. Done again after a [`Stop`].
    fn rotate(&mut self, waiter: &mut Waiter) -> Result<(), Stop>;
    /// Whether room was made on a full file system.
    fn makes_room(&mut self) -> bool {
        false
    }
    /// A write failed: says so, and waits.
    fn cannot_write(&mut self, waiter: &mut Waiter, error: &io::Error) -> Result<(), Stop>;
}

/// Writes what waits. Nothing of it is lost by a [`Stop`].
pub fn flush(place: &mut impl Rotating, waiter: &mut Waiter) -> Result<(), Stop> {
    let mut done = 0;
    let result = flush_from(place, waiter, &mut done);
    let current = place.current();
    if done >= current.waiting.len() {
        current.waiting.clear();
        current.chunks.clear();
    } else {
        current.waiting.drain(..done);
        current.chunks.retain_mut(|end| {
            *end = end.saturating_sub(done);
            *end > 0
        });
    }
    result
}

fn flush_from(place: &mut impl Rotating, waiter: &mut Waiter, done: &mut usize) -> Result<(), Stop> {
    let mut passed = 0;
    loop {
        if place.current().is_full {
            place.rotate(waiter)?;
            place.current().is_full = false;
        }
        let current = place.current();
        let waiting = current.waiting.get(*done..).unwrap_or_default();
        if waiting.is_empty() {
            return Ok(());
        }
        passed += current.chunks.iter().skip(passed).take_while(|end| **end <= *done).count();
        let next = match current.rule {
            Rule::Lines { .. } => current.rule.next(current.size, waiting, &[]),
            Rule::Chunks { .. } => {
                let ends: Vec<usize> = current.chunks.iter().skip(passed).map(|end| end - *done).collect();
                current.rule.next(current.size, waiting, &ends)
            }
        };
        let (count, fills) = match next {
            Next::Rotate => (0, true),
            Next::Write(count, fills) => (count, fills),
        };
        let end = *done + count;
        while *done < end {
            let current = place.current();
            match current.file.write(current.waiting.get(*done..end).unwrap_or_default()) {
                Ok(0) => place.cannot_write(waiter, &io::ErrorKind::WriteZero.into())?,
                Ok(written) => {
                    *done += written;
                    current.size += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull && place.makes_room() => {}
                Err(error) => place.cannot_write(waiter, &error)?,
            }
        }
        place.current().is_full = fills;
    }
}

/// Opens a file to add to it.
pub fn append(path: impl AsRef<Path>, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(mode).open(path)
}

/// Empties a file, or creates it, and opens it for writing.
pub fn truncate(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)
}

/// Changes a file's permissions.
pub fn set_mode(path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Changes those of an open file.
pub fn set_open_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// A name that no file in the working directory has: `@`, the time as a TAI64N label, a dot and a letter.
pub fn fresh_name(letter: char, counts_leap_seconds: bool) -> String {
    loop {
        let now = Tai::after_1970(clock::wall());
        let digits = if counts_leap_seconds { now.digits_of_s6() } else { now.digits() };
        let digits: String = digits.map(char::from).iter().collect();
        let name = format!("@{digits}.{letter}");
        if std::fs::symlink_metadata(&name).is_err() {
            return name;
        }
    }
}

/// The names in the working directory that are those of closed files: `@`, and so long.
pub fn closed_files(is_length: impl Fn(usize) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(".")? {
        let name = entry?.file_name();
        if name.as_bytes().starts_with(b"@") && is_length(name.len()) {
            names.extend(name.into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}
