//! Loggers: what services write to a pipe goes into files that are begun anew when they are large or old.
//!
//! All of them read as much as a pipe holds, write that with one call, and read on only when it is written: when writing
//! is not possible, whoever writes to the pipe waits, and no line is lost.

mod current;
mod cyclog;
mod engine;
pub(super) mod json;
mod lines;
mod logger;
mod multilog;
mod named_file;
mod processor;
mod rotation;
mod s6_log;
mod stamp;
mod svlogd;
mod tee;
mod waiting;

pub use crate::wire::log_time::Format;
pub use logger::{Settings, logger};
pub use named_file::Retention;

use std::ffi::OsString;

/// The loggers of other projects, by their names. `None` if it is none of them.
pub fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "multilog" => multilog::multilog(args),
        "s6-log" => s6_log::s6_log(args),
        "svlogd" => svlogd::svlogd(args),
        _ => return None,
    })
}
