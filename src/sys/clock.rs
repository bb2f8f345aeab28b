//! The two clocks: the monotonic one for decisions, the wall clock for what people read.

use crate::machine::Mono;
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// The monotonic clock. Read once a turn.
pub fn now() -> Mono {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(time) => Mono(time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned()),
        Err(_) => Mono::default(), // clock_gettime(2): the only errors are a bad address and an unknown clock
    }
}

/// The wall clock: time since 1970 (zero before).
pub fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
