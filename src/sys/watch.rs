//! Being told when a directory changes.

use super::Errno;
use super::fs::{FileId, identity, is_changed_elsewhere, open_path};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// As many symbolic links as the kernel follows.
const HOPS: usize = 40;
/// A directory that comes or goes while it is about to be watched is looked at again so often.
const ATTEMPTS: usize = 8;

/// Something that changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// This entry of the directory came, went or was replaced.
    Entry {
        /// Its name.
        name: OsString,
        /// It was renamed, and its new name was not told with it: it may stand in the directory, or elsewhere.
        moved_away: bool,
    },
    /// The file of this entry that [`Watch::follow`] was told of.
    Inside(OsString),
    /// Everything may have changed: look at it all, and watch anew.
    Everything,
}

/// Watches the entries of a directory and, if its path is a symbolic link, every link on the way. The directories
/// that these stand in are left alone otherwise: what happens in `/tmp` must not wake us.
pub struct Watch {
    inotify: Inotify,
    entries: Option<WatchDescriptor>,
    links: Vec<(WatchDescriptor, OsString)>,
    followed: Vec<Followed>,
}

/// A file in an entry of the directory.
struct Followed {
    entry: OsString,
    file: &'static str,
    /// The entry, a directory, in which it comes and goes.
    dir: WatchDescriptor,
    /// The file, if it is there.
    itself: Option<WatchDescriptor>,
}

impl Watch {
    /// Watches the directory at `path`, or for it to come, if only its parent is there. EAGAIN if it comes and goes all
    /// the time.
    pub fn new(path: &Path) -> Result<Watch, Errno> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut watch = Watch { inotify, entries: None, links: Vec::new(), followed: Vec::new() };
        watch.renew(path)?;
        Ok(watch)
    }

    /// Watches what is at `path` now, which may be something else than before. The descriptor stays: the kernel takes its
    /// time to close one.
    pub fn renew(&mut self, path: &Path) -> Result<(), Errno> {
        for _ in 0..ATTEMPTS {
            let before = way(path);
            self.set(path, &before)?;
            // inotify does not tell what came or went before it was watched.
            if self.entries.is_some() == before.0.is_some() && way(path) == before {
                return Ok(());
            }
        }
        Err(Errno::EAGAIN)
    }

    fn set(&mut self, path: &Path, (_, links): &Way) -> Result<(), Errno> {
        let inotify = &self.inotify;
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let entries = match inotify.add_watch(path, flags) {
            Ok(descriptor) => Some(descriptor),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let mut watched = Vec::new();
        for (parent, name) in links {
            let flags = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
            watched.push((inotify.add_watch(parent, flags)?, name.clone()));
        }
        // To add what is watched already gives the same descriptor, so what is left is watched for nothing.
        let all = |entries: Option<WatchDescriptor>, links: &[(WatchDescriptor, OsString)]| {
            entries.into_iter().chain(links.iter().map(|(descriptor, _)| *descriptor)).collect::<Vec<_>>()
        };
        let now = all(entries, &watched);
        for stale in all(self.entries, &self.links).into_iter().filter(|old| !now.contains(old)) {
            let _ = inotify.rm_watch(stale); // EINVAL: it went with its directory
        }
        (self.entries, self.links) = (entries, watched);
        Ok(())
    }

    /// From now on it is told when a file in an entry of the directory, which stands at this path, was written, came or
    /// went. To be called again after each such change: it may be another file by now. Other files there wake nobody as
    /// long as none of them comes or goes.
    pub fn follow(&mut self, entry: OsString, path: &Path, file: &'static str) -> Result<(), Errno> {
        self.unfollow(&entry);
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR;
        let dir = self.inotify.add_watch(path, flags)?;
        let itself = self.inotify.add_watch(&path.join(file), AddWatchFlags::IN_CLOSE_WRITE).ok();
        self.followed.push(Followed { entry, file, dir, itself });
        Ok(())
    }

    /// Nothing is told of what is in this entry any more.
    pub fn unfollow(&mut self, entry: &OsStr) {
        let (gone, left) =
            std::mem::take(&mut self.followed).into_iter().partition(|one: &Followed| one.entry == entry);
        self.followed = left;
        let gone: Vec<Followed> = gone;
        for stale in gone.iter().flat_map(|one| one.itself.into_iter().chain([one.dir])) {
            if !self.followed.iter().any(|one| one.dir == stale || one.itself == Some(stale)) {
                let _ = self.inotify.rm_watch(stale); // EINVAL: it went with its file
            }
        }
    }

    fn change_inside<'a>(
        &'a self,
        InotifyEvent { wd, mask, name, .. }: &'a InotifyEvent,
    ) -> impl Iterator<Item = Change> {
        let is_told = !mask.contains(AddWatchFlags::IN_IGNORED);
        let concerns = move |one: &&Followed| {
            one.itself == Some(*wd) || one.dir == *wd && name.as_ref().is_some_and(|name| name == one.file)
        };
        self.followed.iter().filter(move |one| is_told && concerns(one)).map(|one| Change::Inside(one.entry.clone()))
    }

    /// The changes since the last call.
    pub fn changes(&self) -> Vec<Change> {
        let Ok(events) = self.inotify.read_events() else { return Vec::new() };
        let arrived = |event: &InotifyEvent| {
            let moved_to = |other: &&InotifyEvent| other.mask.contains(AddWatchFlags::IN_MOVED_TO);
            events.iter().filter(moved_to).any(|other| other.wd == event.wd && other.cookie == event.cookie)
        };
        let change = |event| self.change(event, arrived(event));
        let inside = events.iter().flat_map(|event| self.change_inside(event));
        events.iter().filter_map(change).chain(inside).collect()
    }

    /// `arrived`: if it is a name that was renamed, the new one was told, too.
    fn change(&self, event: &InotifyEvent, arrived: bool) -> Option<Change> {
        let InotifyEvent { wd, mask, name, .. } = event;
        if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return Some(Change::Everything);
        }
        if Some(*wd) != self.entries {
            let ours = self.links.iter().any(|(descriptor, link)| descriptor == wd && Some(link) == name.as_ref());
            return ours.then_some(Change::Everything);
        }
        if mask.contains(AddWatchFlags::IN_IGNORED) {
            return None; // whatever ended the watch was told before
        }
        match name {
            Some(name) => {
                let moved_away = mask.contains(AddWatchFlags::IN_MOVED_FROM) && !arrived;
                Some(Change::Entry { name: name.clone(), moved_away })
            }
            None => Some(Change::Everything), // the directory itself went
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Watches the files of several directories for being written or replaced.
pub struct Writes(Inotify);

/// One of the directories, however often it was given to [`Writes::add`], and under whatever name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(WatchDescriptor);

impl Writes {
    /// Watches nothing yet.
    pub fn new() -> Result<Writes, Errno> {
        Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map(Writes)
    }

    /// Watches a directory too. EACCES if it may not be read, ENOSPC if the user watches too many.
    pub fn add(&self, dir: &str) -> Result<Place, Errno> {
        let flags = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        self.0.add_watch(dir, flags).map(Place)
    }

    /// Where the file of this name was written or replaced since the last call, or its directory went. `None`: it may
    /// have been anywhere.
    pub fn of(&self, name: &str) -> Option<Vec<Place>> {
        let events = self.0.read_events().unwrap_or_default();
        if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)) {
            return None;
        }
        let ours = events.into_iter().filter(|event| event.name.as_ref().is_none_or(|changed| changed == name));
        Some(ours.map(|event| Place(event.wd)).collect())
    }
}

impl AsFd for Writes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is at a path, and on the way there: see [`links_of`].
type Way = (Option<FileId>, Vec<(PathBuf, OsString)>);

/// Whether a directory, or a symbolic link on the way to it, can change without a [`Watch`] being told.
pub fn may_miss_changes(path: &Path) -> bool {
    let (there, links) = way(path);
    there.is_some() && is_changed_elsewhere(path) || links.iter().any(|(parent, _)| is_changed_elsewhere(parent))
}

fn way(path: &Path) -> Way {
    let there = open_path(path).and_then(identity).ok();
    (there, links_of(path, there.is_none()))
}

/// Where each symbolic link stands that the path consists of: (directory, name). With `missing`, the last place too.
fn links_of(path: &Path, missing: bool) -> Vec<(PathBuf, OsString)> {
    let mut places = Vec::new();
    let mut path = path.to_path_buf();
    for _ in 0..HOPS {
        let (Some(parent), Some(name)) = (path.parent().map(Path::to_path_buf), path.file_name()) else { break };
        let parent = if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent };
        let target = std::fs::read_link(&path);
        if target.is_ok() || missing {
            places.push((parent.clone(), name.to_os_string()));
        }
        let Ok(target) = target else { break };
        path = parent.join(target);
    }
    places
}

/// Which watch of a [`Notifier`].
pub type Mark = WatchDescriptor;

/// What is told about a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Names in a directory that come and go.
    Names,
    /// The same, and what is written to the files behind them.
    Contents,
    /// Names in a directory that come and go, and files behind them that were written or are allowed something else.
    Programs,
    /// What is written to one file, and whether it loses its name.
    File,
    /// That one file is opened.
    Openings,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// At this watch: to the entry of that name, or, without one, to the watched thing itself.
    At(Mark, Option<OsString>),
    /// So much that the kernel has dropped some of it: everything may have changed.
    Lost,
}

/// Being told about many places, each with an [`Interest`] of its own.
pub struct Notifier(Inotify);

impl Notifier {
    /// Without any place yet. EMFILE if this user has too many (`fs.inotify.max_user_instances`).
    pub fn new() -> Result<Notifier, Errno> {
        Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map(Notifier)
    }

    /// From now on this place is told about. A place that is there already keeps its mark and adds to its interest.
    /// ENOSPC if this user watches too many (`fs.inotify.max_user_watches`).
    pub fn add(&self, path: &Path, interest: Interest) -> Result<Mark, Errno> {
        let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        let names = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR
            | itself;
        let flags = match interest {
            Interest::Names => names,
            Interest::Programs => names | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB,
            Interest::Contents => names | AddWatchFlags::IN_MODIFY,
            Interest::File => itself | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB,
            Interest::Openings => AddWatchFlags::IN_OPEN,
        };
        self.0.add_watch(path, flags | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD))
    }

    /// No more of this place.
    pub fn remove(&self, mark: Mark) {
        let _ = self.0.rm_watch(mark); // EINVAL: it has gone with its place
    }

    /// What has happened since the last call, in order. Does not wait.
    pub fn news(&self) -> Vec<News> {
        let mut all = Vec::new();
        while let Ok(events) = self.0.read_events() {
            all.extend(events.into_iter().map(|event| match event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                true => News::Lost,
                false => News::At(event.wd, event.name),
            }));
        }
        all
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
