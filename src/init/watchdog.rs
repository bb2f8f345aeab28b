//! The hardware watchdog of a machine, if `/etc/onit/watchdog` wants one: it resets the machine when our loop stands
//! still. `HostInit` or `Init`, whichever runs the loop, holds it and feeds it; it is never closed in between.

use super::boot::{HOME, HostInit};
use super::log::Log;
use super::{Init, journal::Journal};
use crate::machine::request::ShutdownAction;
use crate::machine::{Mono, watchdog};
use crate::sys::watchdog::Watchdog as Device;
use crate::sys::{Errno, clock, fs};
use crate::wire::journal::{self, Field};
use crate::wire::watchdog::{Wanted, parse};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Its name among a machine's own files.
const NAME: &str = "watchdog";
/// The time of one that does not tell.
const SHORTEST: Duration = Duration::from_secs(3);

/// A watchdog that runs.
pub(super) struct Watchdog {
    device: Device,
    pub(super) state: watchdog::Watchdog,
    /// The last trouble with it.
    told: Option<Errno>,
    log: Log,
}

impl Watchdog {
    /// Starts the one that is wanted, or goes on with it if another init has left it to us. One that is not there yet
    /// may come: its module is loaded by the `boot` script.
    fn start(log: Log, may_come: bool) -> Option<Watchdog> {
        let Wanted { device: path, timeout } = wanted(log)?;
        let device = match Device::inherited(&path).map_or_else(|| Device::open(&path), Ok) {
            Ok(device) => device,
            Err(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) if may_come => return None,
            Err(errno) => {
                let (path, cause) = (path.display(), errno.desc());
                log.warn(None, &format_args!("cannot open {path}: {cause}; going on without a watchdog"));
                return None;
            }
        };
        let set = device.set_timeout(timeout);
        let real = set.or_else(|_| device.timeout()).unwrap_or(timeout);
        if let Err(errno) = set {
            let (path, wanted, real) = (path.display(), timeout.as_secs(), real.as_secs());
            let cause = errno.desc();
            log.warn(None, &format_args!("{path}: cannot set its time to {wanted}s: {cause}; it has {real}s"));
        }
        let state = watchdog::Watchdog::fed(clock::now(), real);
        let mut watchdog = Watchdog { device, state, told: None, log };
        watchdog.feed();
        Some(watchdog)
    }

    /// The one that a supervisor that failed has left us, with what is noted of it.
    pub(super) fn restore(log: Log, fd: OwnedFd, journal: Journal) -> Watchdog {
        let device = Device::of(fd);
        let timeout = device.timeout().unwrap_or(SHORTEST);
        let state = watchdog::Watchdog::remembered(clock::now(), timeout, journal.get(Field::FeedAt));
        Watchdog { device, state, told: None, log }
    }

    /// The end of a turn.
    pub(super) fn turn(&mut self, now: Mono) {
        if self.state.is_due(now) {
            self.feed();
        }
    }

    fn feed(&mut self) {
        match self.device.feed() {
            Ok(()) => self.told = None,
            Err(errno) => {
                if self.told.replace(errno) != Some(errno) {
                    let cause = errno.desc();
                    self.log.warn(None, &format_args!("cannot feed the watchdog: {cause}; trying again"));
                }
            }
        }
    }

    fn stop(self) {
        let Watchdog { device, log, .. } = self;
        if let Err(errno) = device.stop() {
            let cause = errno.desc();
            log.warn(None, &format_args!("cannot stop the watchdog: {cause}; it may reset this machine"));
        }
    }
}

/// What the file says. One that says nothing of the kind is told of.
fn wanted(log: Log) -> Option<Wanted> {
    let text = fs::open_path(Path::new(HOME)).and_then(|home| fs::read_small(home, NAME)).ok()??;
    let wanted = parse(&text);
    if wanted.is_none() {
        let said = format_args!("{HOME}/{NAME} says {:?}", text.trim_end());
        log.warn(None, &format_args!("{said}, which is not like \"/dev/watchdog 30s\"; going on without a watchdog"));
    }
    wanted
}

impl HostInit {
    /// Before the `boot` script: a driver in the kernel has its device already.
    pub(super) fn start_watchdog_early(&mut self) {
        self.watchdog = Watchdog::start(self.log, true);
    }

    /// Before the next init, which stands in `root`, takes our place: it has its own file, or wants none.
    pub(super) fn hand_over_watchdog(&mut self, root: &Path) {
        let stays = root.join(HOME.trim_start_matches('/')).join(NAME).exists();
        if let Some(unwanted) = self.watchdog.take_if(|_| !stays) {
            unwanted.stop();
        }
    }

    /// Whether a program that is executed in our place finds it open.
    pub(super) fn keep_watchdog_over_exec(&self, keep: bool) {
        if let Some(watchdog) = &self.watchdog {
            let _ = watchdog.device.keep_over_exec(keep); // without that it is opened again in time
        }
    }

    /// The kernel is about to be asked for this.
    pub(super) fn finish_watchdog(&mut self, action: ShutdownAction) {
        match self.watchdog.take() {
            Some(mut watchdog) if watchdog::guards(action) => {
                watchdog.state.starve();
                self.watchdog = Some(watchdog);
            }
            Some(watchdog) => watchdog.stop(),
            None => {}
        }
    }
}

impl Init {
    /// Before the first turn: the one that the boot has started, or that a supervisor that failed has left, or else a
    /// new one.
    pub(super) fn take_watchdog(&mut self, watchdog: Option<Watchdog>) {
        let log = self.config.log;
        self.watchdog = self.watchdog.take().or(watchdog).or_else(|| Watchdog::start(log, false));
    }

    /// When it is to be fed.
    pub(super) fn watchdog_deadline(&self) -> Option<Mono> {
        self.watchdog.as_ref().and_then(|watchdog| watchdog.state.deadline())
    }

    pub(super) fn feed_watchdog(&mut self) {
        let now = self.now;
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.turn(now);
        }
    }

    /// An essential service has failed: what follows is over before its time is, or the hardware ends it.
    pub(super) fn starve_watchdog(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.state.starve();
        }
    }

    pub(super) fn commit_watchdog(&self) {
        let fd = self.watchdog.as_ref().map(|watchdog| watchdog.device.as_fd().as_raw_fd());
        self.table.journal.set(Field::Watchdog, journal::noted(fd));
        self.table.journal.set(Field::FeedAt, self.watchdog.as_ref().map_or(0, |watchdog| watchdog.state.memory()));
    }
}
