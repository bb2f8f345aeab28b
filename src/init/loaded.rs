//! The second directory of services: what programs in the directory of loaders say, written there by `onit loaders`. A
//! name that the first directory has is that of the first.

#[cfg(feature = "init")]
pub(super) mod place;

use super::Init;
use super::config::{Config, Root};
use super::turn::Token;
use crate::sys::poll::Poller;
use crate::sys::watch::{Change, Watch};
use crate::sys::{Errno, fs};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What is known of it.
#[derive(Default)]
pub(super) struct Loaded {
    path: Option<PathBuf>,
    dir: Option<OwnedFd>,
    watch: Option<Watch>,
}

/// Where services are.
#[derive(Clone)]
pub(super) struct Homes {
    pub(super) services: PathBuf,
    loaded: Option<PathBuf>,
}

impl Homes {
    pub(super) fn of(config: &Config) -> Option<Homes> {
        let Root::Directory(services) = &config.root else { return None };
        let loaded = config.loaders.as_ref().map(|loaders| loaders.place.clone());
        Some(Homes { services: fs::absolute(services), loaded })
    }

    /// The directory of the service of this name, or of the template.
    pub(super) fn path(&self, name: &OsStr) -> PathBuf {
        let first = self.services.join(name);
        let second = self.loaded.as_ref().map(|loaded| loaded.join(name));
        second.filter(|second| !is_there(&first) && is_there(second)).unwrap_or(first)
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

impl Loaded {
    /// There is none if the first directory is the one for what loaders say.
    pub(super) fn of(config: &Config) -> Loaded {
        let is_second = |place: &PathBuf| config.root != Root::Directory(place.clone());
        let place = config.loaders.as_ref().map(|loaders| loaders.place.clone());
        Loaded { path: place.filter(is_second), ..Loaded::default() }
    }

    /// Whether changes in it are not told.
    pub(super) fn is_unwatched(&self) -> bool {
        self.path.is_some() && self.watch.is_none()
    }

    pub(super) fn dir(&self) -> Option<&OwnedFd> {
        self.dir.as_ref()
    }

    /// Opens it for a turn. The kernel does not tell that a directory was removed as long as it is open.
    pub(super) fn open(&mut self) {
        self.dir = self.path.as_ref().and_then(|path| fs::open_path(path).ok());
    }

    pub(super) fn close(&mut self) {
        self.dir = None;
    }

    pub(super) fn names(&self) -> Vec<OsString> {
        self.dir.as_ref().and_then(|dir| fs::names(dir).ok()).unwrap_or_default()
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        self.watch.as_ref().map(Watch::changes).unwrap_or_default()
    }

    /// Watches what is at its path now.
    pub(super) fn watch(&mut self, poller: &Poller) -> Result<(), Errno> {
        let Some(path) = &self.path else { return Ok(()) };
        self.watch = match self.watch.take() {
            Some(mut watch) => watch.renew(path).map(|()| Some(watch)),
            None => {
                Watch::new(path).and_then(|watch| poller.add(&watch, Token::Directory.pack()).map(|()| Some(watch)))
            }
        }?;
        Ok(())
    }
}

impl Init {
    /// Nothing runs any more: what was written for that goes.
    pub(super) fn remove_loaded(&self) {
        let Some(loaders) = &self.config.loaders else { return };
        let parent = loaders.place.parent().map(fs::open_path);
        if let (Some(Ok(parent)), Some(name)) = (parent, loaders.place.file_name()) {
            let _ = fs::remove_all(&parent, name); // the next one clears what is left
        }
    }

    /// Whether there is no directory of services but that of what loaders say: then nobody could find our socket there.
    pub(super) fn is_all_loaded(&self) -> bool {
        self.config.loaders.as_ref().is_some_and(|loaders| self.config.root == Root::Directory(loaders.place.clone()))
    }
}
