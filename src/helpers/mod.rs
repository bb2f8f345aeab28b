//! Ordinary processes that stand beside services or in front of them: loggers, what changes a process before it becomes
//! the service, probes, timers. PID 1 knows nothing of them but that they are programs.
#![forbid(unsafe_code)]

pub mod exec;
pub mod log;
mod tai64n;

use std::ffi::OsString;

/// The tools of other projects that are helpers, by their names. `None` if it is none of them.
pub fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "tai64n" => tai64n::tai64n(),
        "tai64nlocal" => tai64n::tai64nlocal(),
        name => return exec::tool(name, args).or_else(|| log::tool(name, args)),
    })
}
