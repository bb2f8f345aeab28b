//! Programs that are run one after the other, when a container comes up and when it has gone down.

use super::settings::{OnFailure, Settings};
use super::{SIGNALS, tree};
use crate::exit;
use crate::helpers::end_of;
use crate::helpers::exec::Plan;
use crate::machine::{Exit, Mono, Pid, Signal, Target};
use crate::sys::poll::Poller;
use crate::sys::say::say;
use crate::sys::signals::{self, Signals};
use crate::sys::spawn::{Side, fork};
use crate::sys::wait::{Reaped, reap};
use crate::sys::{Errno, clock, process};
use crate::wire::api::ExitRecord;
use crate::wire::phrase;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Runs those of `/etc/cont-init.d`. One that fails does not hold up the others, unless the container is to end then.
pub fn init(settings: &Settings) -> i32 {
    for program in tree::programs(tree::INIT) {
        let code = run(&program, settings.on_failure != OnFailure::GoOn);
        if code != exit::OK && settings.on_failure == OnFailure::Stop {
            return code;
        }
    }
    exit::OK
}

/// Runs those of `/etc/cont-finish.d`.
pub fn finish() -> i32 {
    tree::programs(tree::FINISH).iter().for_each(|program| _ = run(program, true));
    exit::OK
}

fn run(program: &Path, tells: bool) -> i32 {
    let (code, how) = match Command::new(program).status() {
        Ok(status) => (code(status), end_of(status)),
        Err(error) => (exit::NOT_EXECUTABLE, format!("cannot be executed: {error}")),
    };
    if code != exit::OK && tells {
        say(format_args!("onit: {}: {how}", program.display()));
    }
    code
}

fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(exit::FAILED)
}

/// Runs what is to be run before services are looked for: a text for a shell. A signal that is the end is passed on, and
/// returned when the shell has ended, which has no longer than `grace` for it.
pub fn hook(text: &OsStr, signals: &Signals, grace: Duration) -> Result<Option<Signal>, String> {
    let wrong = |errno: Errno| format!("S6_STAGE2_HOOK: cannot run it: {}", errno.desc());
    let pid = start_shell(text).map_err(wrong)?;
    let mut poller = Poller::new().map_err(wrong)?;
    poller.add(signals, 0).map_err(wrong)?;
    let (mut told, mut deadline) = (None, None::<Mono>);
    loop {
        let now = clock::now();
        if deadline.take_if(|deadline| now >= *deadline).is_some() {
            let _ = process::kill(pid, Signal::KILL, Target::Process);
        }
        poller.wait(now, deadline).for_each(drop);
        for signal in std::iter::from_fn(|| signals.next()).filter(|signal| SIGNALS.contains(signal)) {
            if told.replace(signal).is_none() {
                deadline = Some(now.after(grace));
            }
            let _ = process::kill(pid, signal, Target::Process);
        }
        match reaped(pid) {
            None => {}
            Some(_) if told.is_some() => return Ok(told),
            Some(exit) if exit.is_success() => return Ok(None),
            Some(exit) => return Err(format!("S6_STAGE2_HOOK: {}", phrase::exit(&ExitRecord::of(exit)))),
        }
    }
}

/// Signals wait for us, but not for what we start.
fn start_shell(text: &OsStr) -> Result<Pid, Errno> {
    match fork()? {
        Side::Parent(pid) => Ok(pid),
        Side::Child => {
            signals::unblock_all();
            let words = ["/bin/sh", "-c"].map(OsString::from).into_iter().chain([text.to_owned()]);
            let failure = Plan::default().run(&words.collect::<Vec<_>>());
            say(format_args!("onit: S6_STAGE2_HOOK: cannot execute /bin/sh: {}", failure.errno.desc()));
            std::process::exit(exit::NOT_EXECUTABLE)
        }
    }
}

/// How this child has ended. Orphans that ended before are reaped along the way.
fn reaped(pid: Pid) -> Option<Exit> {
    while let Reaped::Child(ended, exit) = reap(&AtomicU64::new(0)) {
        if ended == pid {
            return Some(exit);
        }
    }
    None
}
