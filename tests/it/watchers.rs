//! Who watches `supervise/status`, by whatever means, sees each change: nobody has to look again and again.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::svdir::{Phase, SOON, SvDir, UnderTest, missing_tools, skip, wait_for};

/// Where the watch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Means {
    /// On `supervise/`, as fsnotify recommends, for all that it asks for.
    Directory,
    /// On the file, and anew on the file of that name after each event, as `tail -F`, and programs that know no better.
    File,
}

struct Watcher {
    means: Means,
    inotify: Inotify,
    status: PathBuf,
}

impl Watcher {
    fn new(means: Means, service: &Path) -> Watcher {
        let init = || Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        let inotify = wait_for("an inotify instance, of which a user has 128", SOON, init);
        let watcher = Watcher { means, inotify, status: service.join("supervise/status") };
        watcher.watch();
        watcher
    }

    fn watch(&self) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let path = match self.means {
            Means::Directory => self.status.parent().expect("supervise"),
            Means::File => &self.status,
        };
        self.inotify.add_watch(path, flags).expect("a watch");
    }

    /// Sleeps until it is told of a change of the file. Whether that was before the deadline.
    fn is_told(&self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).expect("a time");
            if poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout) == Ok(0) {
                return false;
            }
            let events = self.inotify.read_events().unwrap_or_default();
            if events.iter().any(|event| event.name.as_ref().is_none_or(|name| name == "status")) {
                return true;
            }
        }
    }
}

/// Looks at the status only when it is told to; each new life of the service is found in it.
fn sees_each_change(which: UnderTest, means: Means) {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create_atomically();
    let _supervisor = sv.start(which);
    let mut pid = web.wait_up();
    let watcher = Watcher::new(means, web.path());
    for turn in 0..10 {
        web.order(b"k");
        let deadline = Instant::now() + SOON;
        pid = loop {
            assert!(watcher.is_told(deadline), "{which:?}, {means:?}, restart {turn}: nothing was told");
            if means == Means::File {
                watcher.watch(); // first, so that no change can come between
            }
            let status = web.status().filter(|status| status.phase() == Phase::Run && status.pid() != Some(pid));
            if let Some(next) = status.and_then(|status| status.pid()) {
                break next;
            }
        };
    }
}

#[test]
fn a_watch_on_supervise_is_told_of_each_change() {
    sees_each_change(UnderTest::Onit, Means::Directory);
}

#[test]
fn a_watch_on_the_status_itself_is_told_of_each_change() {
    sees_each_change(UnderTest::Onit, Means::File);
}

#[test]
fn with_the_real_runsvdir_it_is_the_same() {
    if let Some(why) = missing_tools(UnderTest::Runsvdir.needs()) {
        skip!("{why}");
    }
    sees_each_change(UnderTest::Runsvdir, Means::Directory);
    sees_each_change(UnderTest::Runsvdir, Means::File);
}
