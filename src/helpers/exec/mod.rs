//! What a process changes in itself before it becomes another program: user, groups, limits, environment, directories,
//! locks. One [`Plan`] says what, and is carried out in one order; `chpst`, the tools of daemontools and of s6, and
//! `onit exec` each read their own words into it, and have their own words for what goes wrong.

mod chpst;
mod daemontools;
mod environment;
mod fghack;
mod notify_on_check;
mod plan;
mod s6;
mod users;

pub use environment::{Change, Rules};
pub use plan::{Capabilities, Failure, GroupLimits, Lock, Plan, Search, SoftLimit, Step, Who};
pub use users::of_words;

use std::ffi::OsString;

/// These tools, by their names. `None` if it is none of them.
pub fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "chpst" => chpst::chpst(args),
        "setuidgid" => daemontools::setuidgid(args),
        "envuidgid" => daemontools::envuidgid(args),
        "envdir" => daemontools::envdir(args),
        "pgrphack" => daemontools::pgrphack(args),
        "setlock" => daemontools::setlock(args),
        "softlimit" => daemontools::softlimit(args),
        "fghack" => fghack::fghack(args),
        "s6-setuidgid" => s6::setuidgid(args),
        "s6-envuidgid" => s6::envuidgid(args),
        "s6-envdir" => s6::envdir(args),
        "s6-softlimit" => s6::softlimit(args),
        "s6-setsid" => s6::setsid(args),
        "s6-setlock" => s6::setlock(args),
        "s6-notifyoncheck" => notify_on_check::notify_on_check(args),
        "with-contenv" => s6::with_contenv(args),
        _ => return None,
    })
}
