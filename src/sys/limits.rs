//! Limits of what this process may use (getrlimit(2)).

use super::{Errno, checked};
use crate::machine::LimitKind;

/// Soft and hard, in the unit of what is limited; [`UNLIMITED`] is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What counts.
    pub soft: u64,
    /// Up to which the soft one may be raised.
    pub hard: u64,
}

/// No limit.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// The limit as it is.
pub fn get(kind: LimitKind) -> Result<Limit, Errno> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes to `limit` only.
    checked(unsafe { libc::getrlimit(kind.0 as _, &raw mut limit) })?;
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Sets it.
pub fn set(kind: LimitKind, limit: Limit) -> Result<(), Errno> {
    let limit = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: setrlimit(2) reads the limit only.
    checked(unsafe { libc::setrlimit(kind.0 as _, &raw const limit) }).map(drop)
}
