//! Where it is: only a command line names a directory of loaders, or of s6-rc.

use crate::init::config::Loaders;
use crate::init::{mirror, scan};
use crate::sys::{fs, rescue};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Its name in a place of ours, followed by our pid where others may use that place too.
const NAME: &str = "loaded";
/// `onit loaders` holds this in it.
const LOCK: &str = ".lock";

impl Loaders {
    /// Finds a place for what they say, and makes it. `beside`: the directory of services, if there is one.
    pub(in crate::init) fn of(dir: &OsStr, beside: Option<&Path>) -> Result<Loaders, String> {
        let place = find(NAME, beside);
        let place = place.map_err(|why| format!("there is no place for what loaders say: {why}"))?;
        Ok(Loaders { dir: fs::absolute(dir.as_ref()), place })
    }
}

/// Finds a place for a directory of services that we write ourselves, and makes it, empty.
pub(in crate::init) fn find(name: &str, beside: Option<&Path>) -> Result<PathBuf, String> {
    let own = format!("{name}-{}", std::process::id());
    let is_named = mirror::variable("ONIT_RUN").is_some();
    let name = if is_named { name } else { &own };
    let mut places = mirror::places_from_environment();
    places.extend(beside.filter(|_| !is_named).map(|services| fs::absolute(services).join(".onit")));
    let mut why = Vec::new();
    for place in places {
        match make(&place, name) {
            Ok(place) => return Ok(place),
            Err(cause) => why.push(cause),
        }
    }
    Err(format!("{} (ONIT_RUN may name one)", why.join("; ")))
}

fn make(place: &Path, name: &str) -> Result<PathBuf, String> {
    let base = mirror::base(place)?;
    let path = fs::absolute(&place.join(name));
    let made = fs::make_dir(&base, OsStr::new(name), 0o755);
    let made = made.map_err(|errno| format!("cannot create {}: {}", path.display(), errno.desc()))?;
    if !fs::is_ours_alone(&made) {
        return Err(format!("others can change {}", path.display()));
    }
    if !rescue::is_successor() {
        if scan::server_of(&path).is_some() {
            return Err(format!("{} is served by another supervisor", path.display()));
        }
        let _lock = fs::lock(&made, LOCK).map_err(|_| format!("{} is held by another supervisor", path.display()))?;
        clear(&made);
    }
    Ok(path)
}

/// What a supervisor has left that was killed would be taken for services.
fn clear(dir: &OwnedFd) {
    let entries = fs::entries(dir).unwrap_or_default();
    entries.iter().filter(|name| *name != LOCK).for_each(|name| _ = fs::remove_all(dir, name));
}
