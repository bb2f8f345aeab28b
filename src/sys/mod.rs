//! Every system call, as small safe verbs. The only room with `unsafe`.
#![allow(unsafe_code)]

pub mod boot;
pub mod capabilities;
pub mod cgroup;
pub mod clock;
pub mod credentials;
pub mod foreground;
pub mod fs;
pub mod kept;
pub mod limits;
pub mod listen;
pub mod lock;
pub mod manager;
pub mod message;
pub mod notify;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod program;
pub mod published;
mod raw;
#[cfg(feature = "helpers")]
pub mod regex;
pub mod rescue;
pub mod say;
pub mod scheduling;
pub mod screen;
pub mod shared;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod title;
pub mod tracee;
#[cfg(lean)]
mod unwind;
pub mod wait;
pub mod watch;
pub mod watchdog;

pub use nix::errno::Errno;

/// Whether it is a lack of something that may be there again in a moment.
pub fn is_passing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOMEM | Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE)
}

/// The result of a raw call, as libc reports it: -1 is an error in `errno`.
fn checked(result: libc::c_int) -> Result<libc::c_int, Errno> {
    Errno::result(result)
}
