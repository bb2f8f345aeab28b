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
mod tai64n;
pub mod timer;

use crate::machine::{Exit, Signal};
use crate::wire::api::ExitRecord;
use crate::wire::phrase;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// The tools of other projects that are helpers, by their names. `None` if it is none of them.
pub fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "tai64n" => tai64n::tai64n(),
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
