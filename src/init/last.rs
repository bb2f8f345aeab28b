//! The end of a machine: processes that still run are ended, what is mounted is given back, and the kernel takes over.
//!
//! What may take for ever happens in a process of its own, which gets a time limit.

use super::boot::HostInit;
use super::log::Log;
use crate::machine::request::ShutdownAction;
use crate::machine::{Pid, Signal};
use crate::sys::{Errno, boot, clock, process, wait};
use crate::wire::mounts::{self, Mount};
use std::ffi::OsStr;
use std::time::Duration;

/// Processes that get TERM have this long until they get KILL.
const TERM_GRACE: Duration = Duration::from_secs(3);
/// Processes that get KILL have this long to end; the kernel may hold them longer.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// Disks have this long.
const UNMOUNT: Duration = Duration::from_secs(90);
/// The kernel has this long to do what it was asked to.
const REBOOT: Duration = Duration::from_secs(30);
/// Each round of unmounting makes room for the next one; more are not needed on any machine.
const ROUNDS: usize = 64;

impl HostInit {
    /// Ends the machine.
    pub(super) fn end(mut self, action: ShutdownAction) -> ! {
        let log = self.log;
        process::kill_all(Signal::TERM);
        process::kill_all(Signal::CONT);
        self.await_everybody(TERM_GRACE);
        process::kill_all(Signal::KILL);
        self.await_everybody(KILL_GRACE);
        if !self.await_child("unmounting", UNMOUNT, boot::in_child(|| give_back(log))) {
            log.warn(None, &"unmounting has not ended; going on without");
        }
        self.finish_watchdog(action);
        // The process that calls it is ended by the kernel, so that it cannot be us.
        self.await_child("the reboot", REBOOT, boot::in_child(|| refused(log, action)));
        log.warn(None, &format_args!("this machine does not {}", action.word()));
        self.stay()
    }

    /// Nothing is left to do but to go on running, and to end the machine if that is asked for.
    pub(super) fn stay(mut self) -> ! {
        self.shutdown_action = None;
        self.rescue("nothing else is left");
        loop {
            if let Some(action) = self.shutdown_action.take() {
                let action = self.last_action(action);
                self.end(action);
            }
            self.turn(None);
        }
    }

    /// Waits until no process is left, or the time is over. Every orphan is a child of PID 1 in the end.
    fn await_everybody(&mut self, patience: Duration) {
        let until = clock::now().after(patience);
        while wait::has_children() && clock::now() < until {
            self.turn(Some(until));
        }
    }

    /// Waits for one child. Whether it has ended.
    fn await_child(&mut self, what: &str, patience: Duration, child: Result<Pid, Errno>) -> bool {
        let pid = match child {
            Ok(pid) => pid,
            Err(errno) => {
                self.log.warn(None, &format_args!("cannot start {what}: {}", errno.desc()));
                return false;
            }
        };
        let until = clock::now().after(patience);
        while clock::now() < until {
            let (dead, _) = self.turn(Some(until));
            if dead.iter().any(|(dead, _)| *dead == pid) {
                return true;
            }
        }
        false
    }
}

/// Returns only if the kernel does nothing of the kind.
fn refused(log: Log, action: ShutdownAction) -> i32 {
    let errno = boot::reboot(action);
    let why =
        if action == ShutdownAction::Kexec && errno == Errno::EINVAL { "no kernel is loaded" } else { errno.desc() };
    if action == ShutdownAction::Kexec {
        log.warn(None, &format_args!("cannot kexec: {why}; rebooting instead"));
        return refused(log, ShutdownAction::Reboot);
    }
    log.warn(None, &format_args!("cannot {}: {why}", action.word()));
    1
}

/// Gives back swap space and file systems. Returns an exit code.
fn give_back(log: Log) -> i32 {
    boot::sync();
    // A shutdown script that unmounts everything has unmounted what tells what there is.
    if let Err(errno) = boot::mount_missing(&boot::PROC) {
        log.warn(
            None,
            &format_args!("cannot see what is mounted without /proc: {}; going on without unmounting", errno.desc()),
        );
    }
    for swap in mounts::swaps(&std::fs::read("/proc/swaps").unwrap_or_default()) {
        if let Err(errno) = boot::swap_off(&swap) {
            log.warn(
                None,
                &format_args!("cannot give up the swap space {}: {}; going on", swap.display(), errno.desc()),
            );
        }
    }
    let stuck = unmount_all();
    for (mount, errno) in stuck {
        // What lies below it is busy with it.
        log.warn(
            None,
            &format_args!("cannot unmount {}: {}; making it read-only", mount.target.display(), errno.desc()),
        );
        make_read_only(log, &mount.target);
    }
    make_read_only(log, OsStr::new("/"));
    boot::sync();
    0
}

fn table() -> Vec<Mount> {
    mounts::mounts(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Unmounts what holds data, the last first, until nothing more can be. Returns what is left, and why.
fn unmount_all() -> Vec<(Mount, Errno)> {
    let mut stuck = Vec::new();
    for _ in 0..ROUNDS {
        let wanted = table().into_iter().rev().filter(|mount| mount.holds_data() && !mount.is_root());
        let mut progress = false;
        stuck.clear();
        for mount in wanted {
            match boot::unmount(&mount.target) {
                Ok(()) => progress = true,
                Err(errno) => stuck.push((mount, errno)),
            }
        }
        if !progress {
            break;
        }
    }
    stuck
}

/// A file that is open for writing, or removed but in use, is in the way. The kernel can be made to pass over that.
fn make_read_only(log: Log, target: &OsStr) {
    let Some(mount) = table().into_iter().rfind(|mount| mount.target == target) else { return };
    if mount.read_only || !mount.holds_data() {
        return;
    }
    let Err(errno) = boot::make_read_only(target) else { return };
    if boot::make_everything_read_only().is_err() || !becomes_read_only(target) {
        log.warn(None, &format_args!("cannot make {} read-only: {}; going on", target.display(), errno.desc()));
    }
}

/// The kernel does it when it finds the time.
fn becomes_read_only(target: &OsStr) -> bool {
    (0..50).any(|_| {
        boot::rest();
        table().into_iter().rfind(|mount| mount.target == target).is_none_or(|mount| mount.read_only)
    })
}
