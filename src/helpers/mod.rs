//! Ordinary processes that stand beside services or in front of them: loggers, what changes a process before it becomes
//! the service, probes, timers. PID 1 knows nothing of them but that they are programs.
#![forbid(unsafe_code)]

pub mod probe;
pub mod probe_server;
mod tai64n;
pub mod timer;

use std::ffi::OsString;

/// The tools of other projects that are helpers, by their names. `None` if it is none of them.
pub fn tool(name: &str, _args: &[OsString]) -> Option<i32> {
    Some(match name {
        "tai64n" => tai64n::tai64n(),
        "tai64nlocal" => tai64n::tai64nlocal(),
        _ => return None,
    })
}
