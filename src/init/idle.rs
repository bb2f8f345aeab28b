//! `onit idle`: PID 1 of a container into which programs are brought from outside. It starts nothing, reaps every orphan,
//! and ends at TERM.

use super::boot;
use super::entry::answer;
use super::log::Log;
use crate::exit;
use crate::machine::main_process::FAULTS_AND_ABRT;
use crate::machine::{Mono, Signal};
use crate::sys::poll::Poller;
use crate::sys::rescue::Claims;
use crate::sys::signals::{self, Signals};
use crate::sys::wait::{Reaped, reap};
use crate::sys::{Errno, process};
use std::ffi::{OsStr, OsString};
use std::sync::atomic::AtomicU64;

const USAGE: &str = "usage: onit idle";
const ABOUT: &str = "
Starts nothing, reaps orphans, and ends with 0 at TERM or INT (^C); other signals
change nothing. It is for PID 1 of a container or pod, where \"sleep infinity\"
neither reaps nor hears TERM. A link called pause does the same, and one called
catatonit does with -P.";

/// As Kubernetes' `pause` and as `catatonit -P`. `None`: it was called otherwise.
pub fn by_name(name: &OsStr, args: &[OsString]) -> Option<i32> {
    match args {
        _ if name == "pause" => Some(idle(args)),
        [option, rest @ ..] if name == "catatonit" && (option == "-P" || option == "--pause") => Some(idle(rest)),
        _ => None,
    }
}

/// `onit idle`.
pub fn idle(args: &[OsString]) -> i32 {
    match args {
        [] => {}
        [word] if word == "-h" || word == "--help" => return answer(&format!("{USAGE}\n{ABOUT}")),
        [word, ..] => {
            let wrong = format!("idle: {} is one word too many", word.display());
            return boot::refuse(Log::Onit, &wrong, USAGE);
        }
    }
    match reap_until_told() {
        Ok(()) => exit::OK,
        Err(errno) => {
            Log::Onit.warn(None, &format_args!("cannot start: {}", errno.desc()));
            exit::SYSTEM
        }
    }
}

fn reap_until_told() -> Result<(), Errno> {
    // It outlives whoever started it, and would keep their pipes open and their file systems mounted.
    Claims::default().close_the_rest();
    drop(process::leave_directory());
    process::become_subreaper();
    signals::take_as_faults(FAULTS_AND_ABRT);
    let signals = Signals::take_over()?;
    let mut poller = Poller::new()?;
    poller.add(&signals, 0)?;
    loop {
        // Reaped first: whoever executed us may have left us dead children, of which no signal tells. Then one signal for
        // each death, so that neither a storm of orphans nor one of signals keeps the other waiting.
        let reaped = reap(&AtomicU64::new(0));
        match (signals.next(), reaped) {
            (Some(Signal::TERM | Signal::INT), _) => return Ok(()),
            (None, Reaped::NoneYet | Reaped::Childless) => _ = poller.wait(Mono::default(), None).count(),
            (Some(_), _) | (None, Reaped::Child(..) | Reaped::Stopped) => {}
        }
    }
}
