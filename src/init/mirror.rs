//! The runtime mirror: where tools find the services whose directories cannot be written.
//!
//! `service/NAME/` holds a real `supervise`, and symbolic links to everything else of the service directory. So that one
//! `SVDIR` shows everything, services that need no view are there too, as links. The view is made when the first
//! service needs it; without one, nothing here costs anything.

use super::Init;
use super::config::Config;
use super::inputs::Listing;
use super::loaded::Homes;
use super::log::Failure;
use super::table::{LogPipe, SlotId};
use crate::sys::fs::{self, Owner};
use crate::sys::{Errno, process};
use crate::wire::svdir::template_and_instance;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The supervisor that makes a view holds this lock.
const LOCK: &str = ".lock";
/// The modes of what other users may read, and of what is for our user only.
const SHARED: u32 = 0o755;
const PRIVATE: u32 = 0o700;

/// The view, if there is one.
#[derive(Default)]
pub(super) struct Mirror {
    view: Option<View>,
    /// Why there is none.
    why_not: Option<String>,
    /// The entries of another supervisor, which has the place.
    held: Option<OwnedFd>,
    /// The last reason that was told.
    told: Option<String>,
}

struct View {
    /// The directory of its entries.
    dir: OwnedFd,
    lock: OwnedFd,
    /// Where the services are.
    homes: Homes,
}

/// What becomes of entries that are there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The supervisor that made them has ended.
    Cleared,
    /// We have made them, before we failed.
    Kept,
}

/// Why a place is of no use.
struct NoMirror {
    why: String,
    /// Another supervisor has it; these are its entries. No other place is tried then: tools would not look there.
    held: Option<OwnedFd>,
}

impl Mirror {
    /// The view of the supervisor before us, which failed.
    pub(super) fn of(dir: OwnedFd, lock: OwnedFd, config: &Config) -> Mirror {
        let Some(homes) = Homes::of(config) else { return Mirror::default() };
        Mirror { view: Some(View { dir, lock, homes }), ..Mirror::default() }
    }

    /// The view of the supervisor before us, which failed and left no record of it. What it says of the services that
    /// are there is kept.
    pub(super) fn left(config: &Config) -> Mirror {
        let Some(homes) = Homes::of(config) else { return Mirror::default() };
        let is_theirs = |place: &PathBuf| {
            let dir = fs::open_path(&place.join("service"));
            let names = dir.as_ref().map_err(|errno| *errno).and_then(fs::names).unwrap_or_default();
            dir.is_ok_and(|dir| names.iter().any(|name| stands_for(&dir, name, &homes)))
        };
        let place = places_from_environment().into_iter().find(is_theirs);
        let view = place.and_then(|place| View::take(homes, &place, Left::Kept).ok());
        Mirror { view, ..Mirror::default() }
    }

    /// Where the view is.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.view.as_ref().and_then(|view| fs::path_of(&view.dir))
    }

    /// What the view has for a service, or for a logger.
    pub(super) fn entry(&self, name: &OsStr) -> Option<OwnedFd> {
        fs::open_dir(&self.view.as_ref()?.dir, name).ok()
    }

    /// Whether there can be none.
    pub(super) fn has_no_place(&self) -> bool {
        self.why_not.is_some()
    }

    /// The directory of the view, and its lock.
    pub(super) fn descriptors(&self) -> [Option<i32>; 2] {
        let view = self.view.as_ref();
        [view.map(|view| view.dir.as_raw_fd()), view.map(|view| view.lock.as_raw_fd())]
    }
}

impl Init {
    /// A directory that stands in for the one of this service. `None` if there can be no view.
    pub(super) fn stand_in(&mut self, name: &OsStr) -> Result<Option<OwnedFd>, Failure> {
        let Some(homes) = Homes::of(&self.config) else { return Ok(None) };
        self.open_view(&homes);
        if self.mirror.held.as_ref().is_some_and(|entries| is_supervised(entries, name, &homes)) {
            return Err(Failure { verb: "lock", path: "supervise/lock", errno: Errno::EAGAIN });
        }
        let made = self.mirror.view.as_ref().map(|view| view.make(name)).transpose();
        made.map_err(|errno| Failure { verb: "create", path: "its runtime mirror", errno })
    }

    fn open_view(&mut self, homes: &Homes) {
        if self.mirror.view.is_none() && (self.mirror.why_not.is_none() || self.mirror.held.is_some()) {
            match View::open(homes, &places_from_environment()) {
                Ok(view) => self.mirror = Mirror { view: Some(view), ..Mirror::default() },
                Err(NoMirror { why, held }) => (self.mirror.why_not, self.mirror.held) = (Some(why), held),
            }
            self.table.services().into_iter().for_each(|at| self.show(at));
        }
    }

    /// Where there are loaders, there is a view: it is the one place where tools find all services.
    pub(super) fn show_loaded(&mut self) {
        if let Some(homes) = Homes::of(&self.config).filter(|_| self.config.loaders.is_some()) {
            self.open_view(&homes);
        }
    }

    /// Shows a service that does not need the view, if there is one.
    pub(super) fn show(&self, at: SlotId) {
        if let (Some(view), Some(slot)) = (&self.mirror.view, self.table.get(at))
            && !self.stands_in(at)
        {
            view.show(&slot.name);
        }
    }

    /// Whether anything of a service or its logger is in the view only.
    fn stands_in(&self, at: SlotId) -> bool {
        let Some(slot) = self.table.get(at) else { return false };
        let logger = match slot.log_pipe {
            LogPipe::Producer { logger, .. } => self.table.get(logger),
            LogPipe::Alone | LogPipe::Logger { .. } | LogPipe::Writer { .. } | LogPipe::Shared { .. } => None,
        };
        slot.files.home.is_some() || logger.is_some_and(|logger| logger.files.home.is_some())
    }

    /// A service goes by another name now.
    pub(super) fn rename(&mut self, at: SlotId, name: OsString) {
        if let (Some(view), Some(slot)) = (&self.mirror.view, self.table.get(at)) {
            let taken = self.table.named(&name).is_some();
            view.rename(&slot.name, &name, taken, self.stands_in(at));
        }
        if let Some(slot) = self.table.get(at) {
            let old = slot.name.clone();
            self.forget_links(&old);
        }
        self.table.rename(at, name);
        self.note_scale(at);
        self.read_links(at, &Listing::UNKNOWN);
        self.links_of_names_changed();
        self.tell_outputs(at);
    }

    /// A service has gone.
    pub(super) fn hide(&self, name: &OsStr) {
        if let Some(view) = &self.mirror.view {
            view.hide(name);
        }
    }

    /// The directory is to be looked at again: files may have come, and there may be a place by now.
    pub(super) fn renew_view(&mut self) {
        self.mirror.why_not = None;
        if self.mirror.view.as_ref().is_some_and(|view| fs::is_removed(&view.dir)) {
            let removed = std::mem::take(&mut self.mirror); // it is made anew for the first service that needs it
            self.table.bury(removed.view.into_iter().flat_map(|view| [view.dir, view.lock]));
        }
        let Some(view) = &self.mirror.view else { return };
        for slot in self.table.all().into_iter().filter_map(|at| self.table.get(at)) {
            if slot.files.home.is_some() {
                let _ = view.make(&slot.name);
            }
        }
    }

    /// The reason why services like this one are out of reach. It is the same for all: so it is told once.
    pub(super) fn warn_of_no_mirror(&mut self, at: SlotId, cause: &str) {
        let Some(why) = self.mirror.why_not.clone().filter(|why| self.mirror.told.as_ref() != Some(why)) else {
            return;
        };
        self.warn(
            at,
            &format_args!(
                "{cause}, and {why}; running, but out of reach for sv and svc, like all services of that kind"
            ),
        );
        self.mirror.told = Some(why);
    }
}

pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Where a view may be made.
fn places(run: &Option<OsString>, runtime: &Option<OsString>) -> Vec<PathBuf> {
    match (run, runtime) {
        (Some(run), _) => vec![run.into()],
        (None, Some(runtime)) => vec!["/run/onit".into(), Path::new(runtime).join("onit")],
        (None, None) => vec!["/run/onit".into()],
    }
}

/// Where this environment says that it may be made.
pub(super) fn places_from_environment() -> Vec<PathBuf> {
    places(&variable("ONIT_RUN"), &variable("XDG_RUNTIME_DIR"))
}

/// Makes a directory of ours in which tools and clients look for us, or takes the one that is there. Or says why not.
pub(super) fn base(place: &Path) -> Result<OwnedFd, String> {
    let shown = place.display();
    let base = fs::make_dir(fs::HERE, place.as_os_str(), SHARED);
    let base = base.map_err(|errno| format!("cannot create {shown}: {}", errno.desc()))?;
    if fs::owner(&base).is_ok_and(|owner| is_safe(&owner, process::user())) {
        Ok(base)
    } else {
        Err(format!("others can change {shown}"))
    }
}

/// Only our user and root can take away what is ours in it. (Group 0 counts as root: images of containers that may run
/// as any user are made so.)
fn is_safe(owner: &Owner, us: u32) -> bool {
    let sticky = owner.mode & 0o1000 != 0;
    let by_group = owner.mode & 0o020 != 0 && owner.group != 0;
    let by_all = owner.mode & 0o002 != 0;
    (owner.user == us || owner.user == 0) && (sticky || !by_group && !by_all)
}

impl View {
    fn open(homes: &Homes, places: &[PathBuf]) -> Result<View, NoMirror> {
        let mut first = None;
        for place in places {
            match View::take(homes.clone(), place, Left::Cleared) {
                Err(unfit) if unfit.held.is_none() => _ = first.get_or_insert(unfit),
                result => return result,
            }
        }
        Err(first.unwrap_or(NoMirror { why: String::new(), held: None }))
    }

    /// What was left in it by a supervisor that has died is cleared away.
    fn take(homes: Homes, place: &Path, left: Left) -> Result<View, NoMirror> {
        let shown = place.display();
        let unfit = |why: String| NoMirror { why, held: None };
        let base = base(place).map_err(unfit)?;
        let cannot = |errno: Errno| unfit(format!("cannot create {shown}/service: {}", errno.desc()));
        let dir = fs::make_dir(&base, OsStr::new("service"), SHARED).map_err(cannot)?;
        if !fs::is_ours_alone(&dir) {
            return Err(unfit(format!("others can change {shown}/service")));
        }
        let found = fs::entries(&dir).map_err(cannot)?;
        if !found.is_empty() && !found.iter().any(|name| name == LOCK) {
            return Err(unfit(format!("{shown}/service holds something else")));
        }
        let lock = match fs::lock(&dir, LOCK) {
            Ok(lock) => lock,
            Err(Errno::EAGAIN) => {
                return Err(NoMirror { why: format!("{shown} is held by another supervisor"), held: Some(dir) });
            }
            Err(errno) => return Err(cannot(errno)),
        };
        let stays = |name: &OsStr| name == LOCK || left == Left::Kept && stands_for(&dir, name, &homes);
        for name in found.iter().filter(|name| !stays(name)) {
            let _ = fs::remove_all(&dir, name);
        }
        Ok(View { dir, lock, homes })
    }

    /// Makes the entry of a service, or of a logger (`NAME/log`) in that of its service.
    fn make(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        match name.as_bytes().strip_suffix(b"/log").map(OsStr::from_bytes) {
            Some(service) => {
                let home = dir_instead(&self.dir, &self.place(service), SHARED)?;
                let log = dir_instead(&home, OsStr::new("log"), SHARED)?;
                let path = origin(&self.homes, service);
                lead(&home, &path);
                self.fill(log, path.join("log"))
            }
            None => self.make_at(&self.place(name), name),
        }
    }

    /// Makes the entry of the service `name` at `place`: its name, or where its entry was put aside.
    fn make_at(&self, place: &OsStr, name: &OsStr) -> Result<OwnedFd, Errno> {
        self.fill(dir_instead(&self.dir, place, SHARED)?, origin(&self.homes, name))
    }

    fn fill(&self, home: OwnedFd, path: PathBuf) -> Result<OwnedFd, Errno> {
        drop(dir_instead(&home, OsStr::new("supervise"), PRIVATE)?);
        lead(&home, &path);
        Ok(home)
    }

    fn show(&self, name: &OsStr) {
        let path = self.homes.path(name);
        let _ = fs::link(&self.dir, name, &path);
        if !fs::is_link(&self.dir, name) {
            let _ = fs::remove_all(&self.dir, name); // it needed more the last time
            let _ = fs::link(&self.dir, name, &path);
        }
    }

    fn hide(&self, name: &OsStr) {
        let _ = fs::remove_all(&self.dir, &self.place(name));
    }

    /// Names may be exchanged: an entry that is in the way is put aside until its service gets its own new name, or
    /// goes.
    fn rename(&self, old: &OsStr, new: &OsStr, taken: bool, stands_in: bool) {
        let _ = if taken { fs::rename(&self.dir, new, &aside(new)) } else { fs::remove_all(&self.dir, new) };
        let _ = fs::rename(&self.dir, &self.place(old), new);
        if stands_in {
            let _ = self.make_at(new, new);
        } else {
            self.show(new);
        }
    }

    /// Under which name its entry is.
    fn place(&self, name: &OsStr) -> OsString {
        let aside = aside(name);
        if fs::is_there(&self.dir, &aside) { aside } else { name.to_owned() }
    }
}

/// The directory of the service of this name: that of the template for an instance that has no name there.
fn origin(homes: &Homes, name: &OsStr) -> PathBuf {
    let path = homes.path(name);
    match template_and_instance(name.as_bytes()) {
        Some((template, _)) if path.symlink_metadata().is_err() => homes.path(OsStr::from_bytes(template)),
        Some(_) | None => path,
    }
}

/// Whether the entry of this name stands for the service of that name in this very directory.
fn stands_for(entries: &OwnedFd, name: &OsStr, homes: &Homes) -> bool {
    fs::leads_to(entries, &Path::new(name).join("run"), &origin(homes, name).join("run"))
}

/// Whether this very service is supervised by the supervisor that made these entries.
fn is_supervised(entries: &OwnedFd, name: &OsStr, homes: &Homes) -> bool {
    stands_for(entries, name, homes)
        && fs::lock(entries, Path::new(name).join("supervise/lock")).err() == Some(Errno::EAGAIN)
}

fn aside(name: &OsStr) -> OsString {
    let mut aside = OsString::from(".was.");
    aside.push(name);
    aside
}

/// A directory under this name, instead of a link that may stand there.
fn dir_instead(at: &OwnedFd, name: &OsStr, mode: u32) -> Result<OwnedFd, Errno> {
    match fs::make_dir(at, name, mode) {
        Err(Errno::ENOTDIR | Errno::ELOOP) => fs::remove(at, name).and_then(|()| fs::make_dir(at, name, mode)),
        result => result,
    }
}

/// Links to all that is at `path` and not here. Without the permission to look, there is nothing to link to.
fn lead(home: &OwnedFd, path: &Path) {
    let names = fs::open_path(path).and_then(fs::names).unwrap_or_default();
    for name in names {
        let _ = fs::link(home, &name, &path.join(&name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_the_one_that_was_asked_for_and_then_there_is_no_other() {
        let some = |text: &str| Some(OsString::from(text));
        assert_eq!(places(&some("/a"), &some("/b")), [Path::new("/a")]);
        assert_eq!(places(&None, &some("/b")), [Path::new("/run/onit"), Path::new("/b/onit")]);
        assert_eq!(places(&None, &None), [Path::new("/run/onit")]);
    }

    #[test]
    fn a_place_where_others_could_replace_the_view_is_not_taken() {
        let owner = |user, group, mode| Owner { user, group, mode };
        for safe in
            [owner(5, 5, 0o755), owner(0, 0, 0o755), owner(0, 0, 0o1777), owner(0, 0, 0o775), owner(5, 0, 0o700)]
        {
            assert!(is_safe(&safe, 5), "{safe:?}");
        }
        for bad in [owner(6, 6, 0o755), owner(0, 0, 0o777), owner(5, 5, 0o775), owner(5, 5, 0o757), owner(6, 0, 0o1777)]
        {
            assert!(!is_safe(&bad, 5), "{bad:?}");
        }
        assert!(owner(5, 5, 0o755).keeps_others_out(5) && owner(0, 7, 0o700).keeps_others_out(0));
        for other in [owner(0, 0, 0o755), owner(5, 0, 0o775), owner(5, 5, 0o1777)] {
            assert!(!other.keeps_others_out(5), "{other:?}");
        }
    }
}
