//! Pipes, and moving what is in them without reading it.

use super::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice, tee};
use std::os::fd::AsFd;

pub use super::fs::pending;

/// Copies what is in a pipe into another one, at most so many bytes; it stays in the first one. 0: there is nothing more,
/// and nobody who could write it. EAGAIN: there is nothing now, or no room. It never waits.
pub fn copy(from: impl AsFd, to: impl AsFd, most: usize) -> Result<usize, Errno> {
    tee(from, to, most, SpliceFFlags::SPLICE_F_NONBLOCK)
}

/// Moves what is in a pipe, at most so many bytes, into another one or to what else can be written to. EAGAIN: there is
/// nothing in it. EINVAL: nothing can be moved there, it has to be written. Whether it waits for room depends on where
/// it goes: for a pipe that is not non-blocking it does.
pub fn shift(from: impl AsFd, to: impl AsFd, most: usize) -> Result<usize, Errno> {
    splice(from, None, to, None, most, SpliceFFlags::empty())
}

/// Makes room for so many bytes in a pipe, if that may be. Returns how many there is room for.
pub fn grow(pipe: impl AsFd, bytes: usize) -> usize {
    let wanted = i32::try_from(bytes).unwrap_or(i32::MAX);
    let now = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(wanted)).or_else(|_| fcntl(&pipe, FcntlArg::F_GETPIPE_SZ));
    now.ok().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(4096)
}
