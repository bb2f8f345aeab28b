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

/// A moment as a calendar and a clock on the wall show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    /// The year.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: i32,
    /// The day of the month, 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
}

/// That many seconds after 1970 in the time zone of this process; `None` where no calendar goes that far.
pub fn local(seconds: i64) -> Option<Local> {
    let mut tm = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r(3) reads `seconds` and fills `tm`; all zeros are a `tm` as well. It reads the environment,
    // which does not change meanwhile: these are programs of one thread.
    let tm = unsafe {
        if libc::localtime_r(&raw const seconds, tm.as_mut_ptr()).is_null() {
            return None;
        }
        tm.assume_init()
    };
    Some(Local {
        year: i64::from(tm.tm_year) + 1900,
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    })
}

/// How many seconds local time is ahead of UTC at that many seconds after 1970; 0 where no calendar goes that far.
pub fn offset(seconds: i64) -> i32 {
    let mut tm = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: as in `local`.
    let tm = unsafe {
        if libc::localtime_r(&raw const seconds, tm.as_mut_ptr()).is_null() {
            return 0;
        }
        tm.assume_init()
    };
    i32::try_from(tm.tm_gmtoff).unwrap_or(0)
}
