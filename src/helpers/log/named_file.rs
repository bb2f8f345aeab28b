//! A log file with a name: when it is large it becomes `FILE.1`, what was that becomes `FILE.2`, and so on, compressed if
//! that is asked for. Whoever moves it away sends a signal, and it is opened anew.

use super::current::{Current, Rotating, append};
use super::rotation::Rule;
use super::waiting::{Stop, Waiter, why};
use crate::tool::print;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the next attempt is waited for when something fails.
const PAUSE: Duration = Duration::from_secs(3);

/// What becomes of a file that is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// A file is closed behind the line that reaches this size, in bytes; 0: never.
    pub size: u64,
    /// So many closed files are kept.
    pub keep: u32,
    /// They are compressed.
    pub gzip: bool,
}

/// The file, open.
pub struct NamedFile {
    /// `None`: standard output, which is never full.
    path: Option<PathBuf>,
    retention: Retention,
    current: Current,
    /// It has been renamed, and no other one is open yet.
    is_renamed: bool,
}

impl NamedFile {
    /// Opens it, to add to what is there. What a logger that was killed has left of a line stays a line of its own.
    pub fn open(path: &Path, retention: Retention) -> io::Result<NamedFile> {
        let file = append(path, 0o644)?;
        let rule = if retention.size == 0 { Rule::NEVER } else { Rule::s6_log(retention.size, 0) };
        let mut current = current(file, rule)?;
        if current.file.metadata()?.is_file() && is_within_line(path, current.size) {
            current.waiting.push(b'\n');
        }
        Ok(NamedFile { path: Some(path.to_owned()), retention, current, is_renamed: false })
    }

    /// Standard output.
    pub fn output() -> io::Result<NamedFile> {
        use std::os::fd::AsFd as _;
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let retention = Retention { size: 0, keep: 0, gzip: false };
        Ok(NamedFile { path: None, retention, current: current(file, Rule::NEVER)?, is_renamed: false })
    }

    /// Its name, for a line.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard output".into(), |path| path.display().to_string())
    }

    /// What waits to be written.
    pub fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.current.waiting
    }

    /// It is to be closed, unless it is empty.
    pub fn close_current(&mut self) {
        self.current.is_full |= self.path.is_some() && self.current.size > 0;
    }

    /// Opens what has its name now. If that fails the old one stays open.
    pub fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path, 0o644).and_then(|file| file.metadata().map(|found| (file, found.len()))) {
            Ok((file, size)) => (self.current.file, self.current.size) = (file, size),
            Err(error) => self.warn("cannot open it anew, the old file stays open", &error),
        }
    }

    /// Sees to it that what was written is on the disk.
    pub fn sync(&self) {
        let _ = self.current.file.sync_all(); // a pipe or a terminal cannot
    }

    fn warn(&self, what: &str, error: &io::Error) {
        let line = format!("onit: logger: {}: {what}: ", self.name());
        print::stderr(&[line.as_bytes(), why(error), b"\n"]);
    }

    fn compress(&self, path: &Path) {
        if !self.retention.gzip || self.retention.keep == 0 {
            return;
        }
        let first = numbered(path, 1, "");
        let (fresh, done) = (numbered(path, 1, ".gz.new"), numbered(path, 1, ".gz"));
        let compressed = gzip(&first, &fresh).and_then(|()| std::fs::rename(&fresh, &done));
        match compressed.and_then(|()| std::fs::remove_file(&first)) {
            Ok(()) => {}
            Err(error) => {
                let _ = std::fs::remove_file(&fresh);
                self.warn("cannot compress the closed file, which stays as it is", &error);
            }
        }
    }
}

/// Whether its last line has no end. One that may not be read is taken to be whole.
fn is_within_line(path: &Path, size: u64) -> bool {
    let mut last = [b'\n'];
    let _ = File::open(path).and_then(|file| file.read_at(&mut last, size.saturating_sub(1)));
    last != [b'\n']
}

fn current(file: File, rule: Rule) -> io::Result<Current> {
    let size = file.metadata()?.len();
    Ok(Current { file, size, waiting: Vec::new(), chunks: Vec::new(), rule, is_full: false })
}

impl Rotating for NamedFile {
    fn current(&mut self) -> &mut Current {
        &mut self.current
    }

    fn rotate(&mut self, waiter: &mut Waiter) -> Result<(), Stop> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let line = |what: &str| format!("onit: logger: {}: {what}: ", path.display()).into_bytes();
        if !self.is_renamed {
            waiter.insist(|| line("cannot write it to the disk"), PAUSE, || self.current.file.sync_all())?;
            waiter.insist(|| line("cannot rename it"), PAUSE, || shift(&path, self.retention.keep))?;
            self.is_renamed = true;
        }
        self.current.file = waiter.insist(|| line("cannot create it"), PAUSE, || append(&path, 0o644))?;
        self.current.size = 0;
        self.is_renamed = false;
        self.compress(&path);
        Ok(())
    }

    fn cannot_write(&mut self, waiter: &mut Waiter, error: &io::Error) -> Result<(), Stop> {
        let line = format!("onit: logger: {}: cannot write, waiting: ", self.name());
        waiter.fails(line.into_bytes(), error, PAUSE)
    }
}

/// `FILE.N`, and what is behind that.
fn numbered(path: &Path, number: u32, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}{end}"));
    name.into()
}

/// Makes FILE the first of the closed ones. They move up to where none is missing, so that an interrupted shift costs no
/// file.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return std::fs::remove_file(path);
    }
    let is_there = |number: &u32| ["", ".gz"].iter().any(|end| numbered(path, *number, end).exists());
    let free = (1..keep).find(|number| !is_there(number)).unwrap_or(keep);
    for number in (1..=free).rev() {
        for end in ["", ".gz"] {
            let to = numbered(path, number, end);
            match number {
                1 if end.is_empty() => std::fs::rename(path, to)?,
                1 => {}
                _ => match std::fs::rename(numbered(path, number - 1, end), to) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let _ = std::fs::remove_file(numbered(path, number, end)); // the last one goes
                    }
                    result => result?,
                },
            }
        }
    }
    Ok(())
}

fn gzip(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(to)?, Compression::default());
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a directory").flatten();
        let mut names: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().expect("a name");
                format!("{name}={}", std::fs::read_to_string(entry.path()).expect("text"))
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn closed_files_move_up_and_the_last_one_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        for text in ["a", "b", "c", "d"] {
            std::fs::write(&file, text).expect("written");
            shift(&file, 3).expect("shifted");
        }
        assert_eq!(names(dir.path()), ["log.1=d", "log.2=c", "log.3=b"]);
    }

    #[test]
    fn where_one_is_missing_no_other_one_is_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        for (name, text) in [("log", "d"), ("log.1.gz", "c"), ("log.3", "b")] {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        shift(&file, 3).expect("shifted");
        assert_eq!(names(dir.path()), ["log.1=d", "log.2.gz=c", "log.3=b"]);
    }

    #[test]
    fn a_compressed_one_replaces_a_plain_one_of_its_number() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        for (name, text) in [("log", "c"), ("log.1.gz", "b"), ("log.2", "a")] {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        shift(&file, 2).expect("shifted");
        assert_eq!(names(dir.path()), ["log.1=c", "log.2.gz=b"]);
    }
}
