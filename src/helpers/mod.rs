//! Ordinary processes that stand beside services or in front of them: loggers, what changes a process before it becomes
//! the service, probes, timers. PID 1 knows nothing of them but that they are programs.
#![forbid(unsafe_code)]

pub mod exec;
pub mod hooks;
pub mod loaders;
pub mod log;
pub mod mux;
pub mod probe;
pub mod probe_server;
pub mod s6_overlay;
pub mod s6_rc;
mod tai64n;
pub mod timer;

use crate::machine::{Exit, Signal};
use crate::wire::api::ExitRecord;
use crate::wire::phrase;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// The names of the tools of s6 and s6-overlay, and of its supervisors.
pub const S6: [&str; 16] = [
    "logutil-service",
    "s6-envdir",
    "s6-envuidgid",
    "s6-log",
    "s6-notifyoncheck",
    "s6-setlock",
    "s6-setsid",
    "s6-setuidgid",
    "s6-softlimit",
    "s6-supervise",
    "s6-svc",
    "s6-svok",
    "s6-svscan",
    "s6-svstat",
    "s6-svwait",
    "with-contenv",
];

/// The tools of other projects that are helpers, by their names. `None` if it is none of them.
pub fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "tai64n" => tai64n::tai64n(),
        "logutil-service" => s6_overlay::logutil(args),
        "tai64nlocal" => tai64n::tai64nlocal(),
        name => return exec::tool(name, args).or_else(|| log::tool(name, args)),
    })
}

/// How a child ended, in a phrase.
fn end_of(status: ExitStatus) -> String {
    phrase::exit(&ExitRecord::of(match status.signal() {
        Some(signal) => Exit::Signal { signal: Signal(signal), core: status.core_dumped() },
        None => Exit::Code(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)),
    }))
}
