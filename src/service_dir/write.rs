//! Writes the planned files as a directory: whole or not at all, and never over what we have not written.
//!
//! A directory is made under a hidden name beside its place and then renamed. That name is ignored by every supervisor
//! of this family. What a directory of ours consists of stands in its file [`MANIFEST`]; whatever is not listed there
//! belongs to the supervisor, the logger or an administrator, and is not touched.
//!
//! One that is there is never exchanged as a whole (`RENAME_EXCHANGE`), even if no supervisor looks after it: to a
//! supervisor a service is its directory, and there would be a moment in which what we have not written is in the wrong
//! one of the two.

use super::Target;
use super::builder::ServiceBuilder;
use super::plan::{Content, Plan};
use super::program::cause;
use crate::sys::{Errno, fs as sys_fs, fs::read_regular};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// What says that a directory is ours, and what in it.
pub(super) const MANIFEST: &str = ".written-by-onit";
/// The same, of both at once, while one takes the place of the other.
const UNION: &str = ".written-by-onit-before-and-now";
const MANIFEST_HEAD: &str =
    "# onit's service builder wrote these files, and replaces them when told to. All others are yours.";
/// A hidden name that is taken was left by a builder that was killed; then the next one will do.
const ATTEMPTS: u32 = 100;

/// What [`ServiceBuilder::write`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// There was nothing; now there is a directory.
    Created,
    /// The directory said all this already.
    Unchanged,
    /// The directory said something else before.
    Replaced,
}

/// Why there is no such directory now.
#[derive(Debug)]
pub enum Error {
    /// There can be no such service.
    Invalid(String),
    /// The supervisor cannot do this.
    Inexpressible {
        /// The supervisor.
        target: Target,
        /// What it cannot do.
        what: String,
    },
    /// Something stands there that we did not write. It was left alone.
    Foreign(PathBuf),
    /// We wrote the directory, and it says something else, in this file for one. It was left alone.
    Differs(PathBuf),
    /// The system refused something.
    Io {
        /// What.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(what) => f.write_str(what),
            Error::Inexpressible { target, what } => write!(f, "{target} cannot {what}"),
            Error::Foreign(path) => write!(f, "{} is there, and onit did not write it", path.display()),
            Error::Differs(path) => write!(f, "{} says something else, and was not to be replaced", path.display()),
            Error::Io { verb, path, error } => write!(f, "cannot {verb} {}: {}", path.display(), cause(error)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Error::Io { error, .. } = self { Some(error) } else { None }
    }
}

fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Io { verb, path: path.to_owned(), error }
}

impl ServiceBuilder {
    /// Makes `path` the directory of this service; the directory that it is to be in has to be there. A supervisor sees a
    /// new directory whole or not at all.
    ///
    /// One that we wrote before and that says the same is left as it is. One that says something else is an error
    /// ([`Error::Differs`]) unless it is to be [replaced](ServiceBuilder::replace): then each file of ours is exchanged
    /// in one step, `run` last, once all of them are on the disk. So a running service goes on, its logs and
    /// `supervise/` stay, and the new files hold from its next start. While another builder writes there, that is an
    /// error ([`Error::Io`], [`ResourceBusy`](io::ErrorKind::ResourceBusy)). Anything else that stands there is an
    /// error ([`Error::Foreign`]).
    ///
    /// A program that looks while a directory is being replaced, or after a crash or a power failure in the middle of
    /// that, finds one of these, and each file is whole:
    ///
    /// 1. the old `run` with some files new, and all that are old and not replaced
    /// 2. the new `run` with all files new, and perhaps some that are to go; `down` goes last
    ///
    /// So a new `run` never stands beside an older file than its own, a service that is *down* before or afterwards is so
    /// all the time, and a [private](ServiceBuilder::private) one is closed before anything new comes in. To write it once
    /// more completes it, and clears away the hidden directory that may have been left beside it.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<Written, Error> {
        let path = path.as_ref();
        let mut plan = self.plan()?;
        let manifest = Manifest(plan.keys().cloned().collect());
        plan.insert(MANIFEST.into(), manifest.content());
        clear_away(path);
        if path.symlink_metadata().is_err() {
            let stage = Stage::make(path, &plan, self.private)?;
            match sys_fs::rename_fresh(&stage.path, path) {
                Ok(()) => {
                    stage.settle();
                    return Ok(Written::Created);
                }
                Err(Errno::EEXIST | Errno::ENOTEMPTY) => {} // another process was faster
                Err(errno) => return Err(io("create", path)(errno.into())),
            }
        }
        self.write_over(path, &plan, &manifest)
    }

    fn write_over(&self, path: &Path, plan: &Plan, manifest: &Manifest) -> Result<Written, Error> {
        let _alone = alone(path)?;
        let known = Manifest::read(path).ok_or_else(|| Error::Foreign(path.to_owned()))?;
        let Some(other) = difference(path, plan, self.private) else { return Ok(Written::Unchanged) };
        if !self.replace {
            return Err(Error::Differs(other));
        }
        let directories: BTreeSet<PathBuf> = plan.keys().filter_map(|file| file.parent().map(Path::to_owned)).collect();
        if let Some(link) =
            directories.iter().map(|directory| path.join(directory)).find(|place| is_no_directory(place))
        {
            return Err(Error::Foreign(link));
        }
        let stage = Stage::make(path, plan, self.private)?;
        if self.private {
            set_mode(path, 0o700)?;
        }
        let union = Manifest(known.0.union(&manifest.0).cloned().collect());
        let (staged, list) = (stage.path.join(UNION), path.join(MANIFEST));
        make_file(&staged, &union.content())?;
        fs::rename(staged, &list).map_err(io("replace", &list))?;
        for directory in &directories {
            let directory = path.join(directory);
            fs::create_dir_all(&directory).map_err(io("create", &directory))?;
        }
        let exchange = |file: &Path| {
            let place = path.join(file);
            fs::rename(stage.path.join(file), &place).map_err(io("replace", &place))
        };
        let is = |name: &'static str| move |file: &&PathBuf| file.as_os_str() == name;
        let (run, others): (Vec<_>, Vec<_>) = manifest.0.iter().partition(is("run"));
        others.into_iter().try_for_each(|file| exchange(file))?;
        directories.iter().for_each(|directory| sync(&path.join(directory)));
        run.into_iter().try_for_each(|file| exchange(file))?;
        sync(path);
        let (down, others): (Vec<_>, Vec<_>) = known.0.difference(&manifest.0).partition(is("down"));
        others.into_iter().chain(down).try_for_each(|file| remove(path, file))?;
        exchange(Path::new(MANIFEST))?;
        if !self.private {
            set_mode(path, 0o755)?;
        }
        sync(path);
        Ok(Written::Replaced)
    }
}

/// No list of files is longer, in bytes.
const LONGEST_MANIFEST: u64 = 1 << 20;

/// Keeps other builders out of a directory while this lives. It does not wait: a user who may read the directory can
/// keep us out. Where there are no locks, no builder is kept out.
fn alone(path: &Path) -> Result<Option<File>, Error> {
    let mut open = fs::OpenOptions::new();
    let Ok(directory) = open.read(true).custom_flags(libc::O_DIRECTORY).open(path) else { return Ok(None) };
    match sys_fs::flock(&directory) {
        Ok(()) => Ok(Some(directory)),
        Err(Errno::EWOULDBLOCK) => {
            let busy = io::Error::new(io::ErrorKind::ResourceBusy, "somebody else is at it");
            Err(io("write over", path)(busy))
        }
        Err(_) => Ok(None),
    }
}

/// Under that name there is something, and it is no directory: a link may lead to what we have not written.
fn is_no_directory(place: &Path) -> bool {
    place.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) && place.file_name().is_some()
}

/// Removes a file, and the directories that are empty then.
fn remove(path: &Path, file: &Path) -> Result<(), Error> {
    let place = path.join(file);
    match fs::remove_file(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove", &place)(error)),
        _ => {}
    }
    for directory in file.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty()) {
        if fs::remove_dir(path.join(directory)).is_err() {
            break; // there is something in it that is not ours
        }
    }
    Ok(())
}

/// The first file that is not as it is to be; the list of files comes last, since it tells people the least.
fn difference(path: &Path, plan: &Plan, private: bool) -> Option<PathBuf> {
    if fs::metadata(path).is_ok_and(|metadata| private && metadata.permissions().mode() & 0o077 != 0) {
        return Some(path.to_owned());
    }
    let (list, files): (Vec<_>, Vec<_>) = plan.iter().partition(|(file, _)| file.as_os_str() == MANIFEST);
    let mut all = files.into_iter().chain(list).map(|(file, content)| (path.join(file), content));
    all.find(|(place, content)| !is(place, content)).map(|(place, _)| place)
}

fn is(place: &Path, content: &Content) -> bool {
    let Ok(metadata) = place.symlink_metadata() else { return false };
    let executable = metadata.permissions().mode() & 0o100 != 0;
    let length = metadata.len() == content.bytes.len() as u64;
    metadata.is_file()
        && length
        && executable == content.executable
        && read_regular(place, content.bytes.len() as u64 + 1).is_ok_and(|is| is == content.bytes)
}

/// The files of a directory that are ours.
struct Manifest(BTreeSet<PathBuf>);

impl Manifest {
    fn content(&self) -> Content {
        let mut bytes = MANIFEST_HEAD.as_bytes().to_vec();
        for file in &self.0 {
            bytes.push(b'\n');
            bytes.extend_from_slice(file.as_os_str().as_bytes());
        }
        bytes.push(b'\n');
        Content { bytes, executable: false }
    }

    /// `None` if the directory is not ours.
    fn read(path: &Path) -> Option<Manifest> {
        let place = path.join(MANIFEST);
        place.symlink_metadata().ok().filter(|metadata| metadata.is_file())?;
        let text = read_regular(&place, LONGEST_MANIFEST).ok()?;
        let mut lines = text.split(|byte| *byte == b'\n');
        (lines.next()? == MANIFEST_HEAD.as_bytes()).then_some(())?;
        let files = lines.map(|line| PathBuf::from(OsString::from_vec(line.to_vec())));
        let inside = |file: &PathBuf| file.components().all(|part| matches!(part, Component::Normal(_)));
        Some(Manifest(files.filter(|file| !file.as_os_str().is_empty() && inside(file)).collect()))
    }
}

/// A directory under a hidden name; it does not outlive its use. If we are killed it does, but not its lock.
struct Stage {
    path: PathBuf,
    lock: Option<File>,
}

impl Stage {
    fn make(place: &Path, plan: &Plan, private: bool) -> Result<Stage, Error> {
        let name = place.file_name().ok_or_else(|| Error::Invalid(format!("{} is no name", place.display())))?;
        let stage = hidden(place, name)?;
        for (file, content) in plan {
            let target = stage.path.join(file);
            let parent = target.parent().unwrap_or(&stage.path);
            make_directories(&stage.path, parent)?;
            make_file(&target, content)?;
        }
        set_mode(&stage.path, if private { 0o700 } else { 0o755 })?;
        sync(&stage.path);
        Ok(stage)
    }

    /// It has its name now; that is to outlive a power failure.
    fn settle(mut self) {
        drop(self.lock.take());
        sync(self.path.parent().unwrap_or(Path::new(".")));
        std::mem::forget(self);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What all hidden directories of a service begin with; a number follows, and another one.
fn hidden_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".new-");
    prefix
}

/// Makes a directory for us alone, beside the place where it is to be.
fn hidden(place: &Path, name: &OsStr) -> Result<Stage, Error> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        let mut hidden = hidden_prefix(name);
        hidden.push(format!("{}-{attempt}", std::process::id()));
        let path = place.with_file_name(hidden);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => match alone(&path) {
                Ok(lock) if path.is_dir() => return Ok(Stage { path, lock }),
                Ok(_) | Err(_) => {} // another builder took it for one that was left
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(io("create", place)(error)),
        }
    }
    Err(io("create", place)(last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into())))
}

/// Removes what builders that were killed have left.
fn clear_away(place: &Path) {
    let Some(name) = place.file_name() else { return };
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = hidden_prefix(name);
    let is_left = |name: &OsStr| {
        let numbers = name.as_bytes().strip_prefix(prefix.as_bytes());
        numbers.is_some_and(|numbers| numbers.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-'))
    };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_directory || !is_left(&entry.file_name()) {
            continue;
        }
        if let Ok(Some(_alone)) = alone(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn make_directories(stage: &Path, directory: &Path) -> Result<(), Error> {
    let missing: Vec<_> = directory.ancestors().take_while(|path| *path != stage && !path.exists()).collect();
    for path in missing.into_iter().rev() {
        fs::create_dir(path).map_err(io("create", path))?;
        set_mode(path, 0o755)?;
    }
    Ok(())
}

/// The mode does not depend on the umask: a logger of another user has to read its `run`.
fn make_file(path: &Path, content: &Content) -> Result<(), Error> {
    let mut open = fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(io("create", path))?;
    file.write_all(&content.bytes).map_err(io("write", path))?;
    let mode = Permissions::from_mode(if content.executable { 0o755 } else { 0o644 });
    file.set_permissions(mode).and_then(|()| file.sync_all()).map_err(io("write", path))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io("change the mode of", path))
}

/// That a directory cannot be synchronised is no reason to go without it.
fn sync(directory: &Path) {
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
}
