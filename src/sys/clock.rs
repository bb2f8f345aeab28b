//! The two clocks: the monotonic one for decisions, the wall clock for what people read.

use super::Errno;
use crate::machine::Mono;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::{AsFd, BorrowedFd};
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

/// `2026-11-24 08:09:10`
impl std::fmt::Display for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Local { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// That many seconds after 1970 in the time zone of this process; `None` where no calendar goes that far.
pub fn local(seconds: i64) -> Option<Local> {
    let tm = broken_down(seconds)?;
    Some(Local {
        year: i64::from(tm.tm_year) + 1900,
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    })
}

/// How many seconds the clocks of the time zone of this process are ahead of UTC then.
pub fn offset(seconds: i64) -> i64 {
    broken_down(seconds).map_or(0, |tm| tm.tm_gmtoff)
}

fn broken_down(seconds: i64) -> Option<libc::tm> {
    let mut tm = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r(3) reads `seconds` and fills `tm`; all zeros are a `tm` as well. It reads the environment,
    // which does not change meanwhile: these are programs of one thread.
    unsafe {
        if libc::localtime_r(&raw const seconds, tm.as_mut_ptr()).is_null() {
            return None;
        }
        Some(tm.assume_init())
    }
}

/// The monotonic clock that goes on while the machine sleeps: time since its boot.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// The clocks that an [`Alarm`] may go by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlarmClock {
    /// That of [`since_boot`].
    Boot,
    /// That of [`wall`].
    Wall,
}

/// A descriptor that has input when a moment has come, also after the machine has slept, and when the wall clock that it
/// goes by was set.
pub struct Alarm(TimerFd, AlarmClock);

impl Alarm {
    /// One that goes by this clock, and is not set.
    pub fn new(clock: AlarmClock) -> Result<Alarm, Errno> {
        let id = match clock {
            AlarmClock::Boot => timerfd::ClockId::CLOCK_BOOTTIME,
            AlarmClock::Wall => timerfd::ClockId::CLOCK_REALTIME,
        };
        Ok(Alarm(TimerFd::new(id, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?, clock))
    }

    /// From now on it has input when this much is on its clock, and not before.
    pub fn set(&self, at: Duration) -> Result<(), Errno> {
        let mut flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        flags.set(TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET, self.1 == AlarmClock::Wall);
        let at = TimeSpec::from_duration(at.max(Duration::from_nanos(1))); // none at all would be no alarm
        self.0.set(Expiration::OneShot(at), flags)
    }

    /// Takes the input. Whether the wall clock was set.
    pub fn was_set(&self) -> bool {
        self.0.wait() == Err(Errno::ECANCELED)
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
