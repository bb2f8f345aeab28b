//! The processes of a peer: started so that none can be lost, counted, and ended to the last one.
//!
//! The bench is a subreaper: whatever a supervisor leaves behind becomes its child. So "everything is down" is the moment
//! when it has no child left, for every peer alike; and cleaning up is killing children until there are none.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, getpid, setsid};

use crate::Outcome;

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Once, before anything is started.
pub fn adopt() -> Outcome<()> {
    set_child_subreaper(true)?;
    SigSet::from(Signal::SIGCHLD).thread_block()?; // arrives by signalfd
    let stop = STOP.get_or_init(Arc::default);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(stop))?;
    }
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        end_all(); // a panic may abort, and then no Drop would do it
    }));
    Ok(())
}

/// Ctrl-C ends a measurement as an error does: by returning, so every guard does its work.
pub fn interrupted() -> Outcome<()> {
    match STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        true => Err("interrupted".into()),
        false => Ok(()),
    }
}

/// The soft limit to the hard one; the hard one up only for a size that needs it, and only if we may.
pub fn raise_fd_limit(size: usize) -> Outcome<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = if size > 1000 { hard.max(size as u64 * 10) } else { hard };
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return Ok(());
    }
    println!("note: the limit of open files stays at {hard}: {size} services may be too many for it");
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// CLOCK_MONOTONIC, the clock of the services' reports.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| Duration::from(t).as_nanos() as u64)
}

/// A supervisor in its own session (ctrl-C is for us), with clean signals, that does not outlive us.
pub fn spawn(mut command: Command) -> Outcome<Supervisor> {
    prepare_child(&mut command);
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().map_err(|why| format!("{name}: {why}"))?;
    Ok(Supervisor { pid: Pid::from_raw(child.id() as i32) })
}

#[allow(unsafe_code)]
fn prepare_child(command: &mut Command) {
    let child = || {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        set_pdeathsig(Signal::SIGKILL)?;
        setsid()?;
        Ok(())
    };
    // SAFETY: three system calls, each async-signal-safe, no allocation; we have one thread.
    unsafe { command.pre_exec(child) };
}

/// A running supervisor. When it goes out of scope, it and all it started are gone.
pub struct Supervisor {
    pub pid: Pid,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        end_all();
    }
}

impl Supervisor {
    pub fn has_exited(&self) -> bool {
        !matches!(waitpid(self.pid, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
    }

    /// It and its descendants, without the services: those whose program is `tiny`.
    pub fn processes(&self, tiny: (u64, u64)) -> Vec<Pid> {
        let parents = parents();
        let mut found = vec![self.pid];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        found.retain(|pid| fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(|exe| (exe.dev(), exe.ino()) != tiny));
        found
    }
}

/// Every process with its parent.
fn parents() -> Vec<(Pid, Pid)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(parent).collect()
}

fn parent(pid: i32) -> Option<(Pid, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 1..];
    let ppid = after_name.split_whitespace().nth(1)?.parse().ok()?;
    Some((Pid::from_raw(pid), Pid::from_raw(ppid)))
}

/// Proportional set size in KiB: a page shared by n processes counts 1/n in each.
pub fn pss(pids: &[Pid]) -> f64 {
    pids.iter().filter_map(|pid| field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum::<u64>() as f64
}

pub fn context_switches(pids: &[Pid]) -> u64 {
    let of = |pid: &Pid| {
        let file = format!("/proc/{pid}/status");
        field(&file, "voluntary_ctxt_switches:").unwrap_or(0) + field(&file, "nonvoluntary_ctxt_switches:").unwrap_or(0)
    };
    pids.iter().map(of).sum()
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The instant at which no process of the supervisor is left; None: some are, and patience is at an end.
pub fn all_gone(patience: Duration) -> Outcome<Option<u64>> {
    let deaths = SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let deadline = now() + patience.as_nanos() as u64;
    loop {
        if !reap() {
            return Ok(Some(now()));
        }
        interrupted()?;
        if now() > deadline {
            return Ok(None);
        }
        let mut fds = [PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(100u8)); // the timeout is for ctrl-C; EINTR is one, too
        while let Ok(Some(_)) = deaths.read_signal() {}
    }
}

/// Takes every dead child; is any child left?
fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return false,
            Ok(WaitStatus::StillAlive) => return true,
            _ => (),
        }
    }
}

/// KILL, from the supervisor downward: its children become ours and are next.
fn end_all() {
    while reap() {
        let me = getpid();
        for (pid, _) in parents().into_iter().filter(|(_, parent)| *parent == me) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
