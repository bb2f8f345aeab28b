//! `./check` of a service: is it available?

use super::{STEP, speak::report};
use crate::machine::{Exit, Mono, Signal, Target};
use crate::sys::spawn::{self, Side};
use crate::sys::{fs, process, wait};

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// Yes. So do one that is not there, one that cannot be executed and one that a signal ends, as in runit.
    Passed,
    /// No.
    Failed,
    /// Nothing in time.
    TooLate,
}

/// Runs `./check` in the working directory, with standard output closed. What still runs at the `limit` is killed.
pub fn check(name: &[u8], limit: Mono) -> Check {
    let trouble = |verb, errno| {
        report(verb, name, "check", errno);
        Check::Failed
    };
    match fs::look_up(fs::HERE, "check") {
        Ok(true) => {}
        Ok(false) => return Check::Passed,
        Err(errno) => return trouble("stat", errno),
    }
    let child = match spawn::fork() {
        Ok(Side::Child) => {
            report("run", name, "check", spawn::become_silent(c"check", c"./check"));
            std::process::exit(0)
        }
        Ok(Side::Parent(child)) => child,
        Err(errno) => return trouble("fork for", errno),
    };
    match wait::reap_until(child, limit) {
        Ok(Some(Exit::Code(0) | Exit::Signal { .. })) => Check::Passed,
        Ok(Some(Exit::Code(_))) => Check::Failed,
        Ok(None) => {
            let _ = process::kill(child, Signal::KILL, Target::Process);
            let _ = wait::reap_until(child, limit.after(STEP));
            Check::TooLate
        }
        Err(errno) => trouble("wait for child", errno),
    }
}
