//! What a `run` says of itself beside that it is ready (`sd_notify(3)`), and who may say so.

use super::fields::{Place, fields};
use super::rare::Common;
use super::service::memory::{EXTRA, instant, number, of_instant, pid_of};
use super::{Mono, Pid};
use std::time::Duration;

/// So many generations behind `run` a process may be: it is looked up for each datagram.
const GENERATIONS: usize = 32;

/// What `run` says, as far as anything follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notification {
    /// It reloads, until it says that it is ready.
    Reloading,
    /// It is about to end. Nothing takes that back.
    Stopping,
    /// It is alive.
    Alive,
    /// It wants what happens when it has not been alive for too long.
    Trigger,
    /// From now on it says that often that it is alive. `None`: no more.
    AliveEvery(Option<Duration>),
    /// What it is about to do takes that long from now, at the most.
    MoreTime(Duration),
    /// When its own process has ended, this one goes on in its place.
    Successor(Pid),
}

/// What holds of a `run` since it has said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notified {
    /// It reloads.
    pub is_reloading: bool,
    /// It is about to end.
    pub is_stopping: bool,
    /// How often it says that it is alive, in whole milliseconds, and when it has to have done so.
    pub watchdog: Option<(Duration, Mono)>,
    /// Before this it is not late, although it is not ready.
    pub extended: Option<Mono>,
    /// The process that goes on in its place.
    pub successor: Option<Pid>,
}

impl Common for Notified {
    const COMMON: &'static Notified =
        &Notified { is_reloading: false, is_stopping: false, watchdog: None, extended: None, successor: None };
}

impl Notified {
    /// It says that it is alive.
    pub fn hear(&mut self, now: Mono) {
        if let Some((every, until)) = &mut self.watchdog {
            *until = now.after(*every);
        }
    }

    /// From now on it says that often that it is alive. A span that the journal has no room for (49 days) is for ever.
    pub fn expect_every(&mut self, now: Mono, every: Option<Duration>) {
        let ms = every.and_then(|every| u64::try_from(every.as_nanos().div_ceil(1_000_000)).ok());
        let every = ms.filter(|ms| (1..=EVERY.mask()).contains(ms)).map(Duration::from_millis);
        self.watchdog = every.map(|every| (every, now.after(every)));
    }
}

const EVERY: Place = Place::bits(4, 32, 32);

fields! {
    /// The same, as it is noted for the supervisor that goes on. Instants are in nanoseconds, and one more: zero is none.
    pub struct Fields in EXTRA {
        /// It reloads.
        is_reloading: Place::bits(4, 0, 1),
        /// It is about to end.
        is_stopping: Place::bits(4, 1, 1),
        /// The process that goes on in its place. The kernel has none above 2^22.
        successor: Place::bits(4, 2, 30),
        /// How often it says that it is alive, in milliseconds.
        every: EVERY,
        /// When it has to have done so.
        alive_until: Place::word(5),
        /// Before this it is not late.
        extended: Place::word(6),
    }
}

impl Notified {
    /// As it is noted.
    pub fn pack(&self) -> [u64; EXTRA] {
        let Notified { is_reloading, is_stopping, watchdog, extended, successor } = *self;
        let every = watchdog.map_or(0, |(every, _)| u64::try_from(every.as_millis()).unwrap_or_default());
        let successor = successor.map_or(0, number);
        let alive_until = instant(watchdog.map(|(_, until)| until));
        let (is_reloading, is_stopping) = (is_reloading.into(), is_stopping.into());
        Fields { is_reloading, is_stopping, successor, every, alive_until, extended: instant(extended) }.pack()
    }

    /// And back. `None` if nothing was.
    pub fn unpack(words: &[u64; EXTRA]) -> Option<Notified> {
        let Fields { is_reloading, is_stopping, successor, every, alive_until, extended } = Fields::unpack(words);
        let every = Some(Duration::from_millis(every)).filter(|every| !every.is_zero());
        let notified = Notified {
            is_reloading: is_reloading != 0,
            is_stopping: is_stopping != 0,
            watchdog: every.zip(of_instant(alive_until)),
            extended: of_instant(extended),
            successor: pid_of(successor),
        };
        (notified != Notified::default()).then_some(notified)
    }
}

/// The parent of a process, and its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kin {
    /// The process that has started it, or has taken it over.
    pub parent: Pid,
    /// The process that leads its session, or has led it.
    pub session: Pid,
}

/// Whether a process is `run` itself, comes from it, or is left over in the session that it leads.
pub fn is_of_service(sender: Pid, run: Pid, kin: impl Fn(Pid) -> Option<Kin>) -> bool {
    let mut process = sender;
    for _ in 0..=GENERATIONS {
        if process == run {
            return true;
        }
        match kin(process) {
            Some(Kin { session, .. }) if session == run => return true,
            Some(Kin { parent, .. }) if parent.0 > 1 => process = parent,
            Some(_) | None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_noted_is_read_again_and_nothing_is_zeros() {
        let said = Notified {
            is_reloading: true,
            is_stopping: true,
            watchdog: Some((Duration::from_millis(EVERY.mask()), Mono(0))),
            extended: Some(Mono(7)),
            successor: Some(Pid(1 << 22)),
        };
        for notified in [said, Notified { watchdog: None, ..said }, Notified { extended: None, ..said }] {
            assert_eq!(Notified::unpack(&notified.pack()), Some(notified));
        }
        assert_eq!(Notified::default().pack(), [0; EXTRA]);
        assert_eq!(Notified::unpack(&[0; EXTRA]), None);
    }

    /// Others note something in the same words.
    #[test]
    fn it_touches_its_own_words_only() {
        let all = Notified { is_reloading: true, is_stopping: true, ..Notified::default() };
        let all = Notified { watchdog: Some((SECOND, Mono(1))), extended: Some(Mono(1)), ..all };
        let all = Notified { successor: Some(Pid(7)), ..all };
        assert_eq!(all.pack()[..4], [0; 4]);
        assert_eq!(Notified::unpack(&std::array::from_fn(|at| if (4..7).contains(&at) { 0 } else { u64::MAX })), None);
    }

    #[test]
    fn a_span_that_is_none_or_for_ever_is_no_watchdog() {
        let every = |every| {
            let mut notified = Notified::default();
            notified.expect_every(Mono(5), every);
            notified.watchdog
        };
        assert_eq!(every(Some(SECOND)), Some((SECOND, Mono(5).after(SECOND))));
        let ms = Duration::from_millis(1);
        assert_eq!(every(Some(Duration::from_nanos(999))).map(|(span, _)| span), Some(ms), "that is as exact as it is");
        for none in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            assert_eq!(every(none), None, "{none:?}");
        }
        let largest = Duration::from_millis(EVERY.mask());
        assert_eq!(every(Some(largest)).map(|(span, _)| span), Some(largest));
        assert_eq!(every(Some(largest + ms)), None);
    }

    /// 10 is `run`; 11 and 12 come from it, 13 is an orphan of its session and 14 comes from that, 20 is another service,
    /// and 21 comes from that. From 51 on each is the child of the one before, in a session of no service.
    fn kin(pid: Pid) -> Option<Kin> {
        let kin = |parent, session| Some(Kin { parent: Pid(parent), session: Pid(session) });
        match pid.0 {
            10 => kin(1, 10),
            11 => kin(10, 10),
            12 => kin(11, 12),
            13 => kin(1, 10),
            14 => kin(13, 14),
            20 => kin(1, 20),
            21 => kin(20, 20),
            50.. => kin(pid.0 - 1, 7),
            _ => None,
        }
    }

    #[test]
    fn who_comes_from_run_is_of_the_service_and_nobody_else() {
        let is_of = |sender, run| is_of_service(Pid(sender), Pid(run), kin);
        assert!([10, 11, 12, 13, 14].into_iter().all(|sender| is_of(sender, 10)));
        assert!([1, 20, 21, 9].into_iter().all(|sender| !is_of(sender, 10)));
        assert!(is_of(9, 9), "run itself is known without a look");
    }

    #[test]
    fn the_way_up_has_an_end() {
        let looks = std::cell::Cell::new(0);
        let counted = |pid| {
            looks.set(looks.get() + 1);
            kin(pid)
        };
        assert!(!is_of_service(Pid(5000), Pid(50), counted));
        assert_eq!(looks.get(), GENERATIONS + 1);
        assert!(is_of_service(Pid(50 + GENERATIONS as i32), Pid(50), kin));
        assert!(!is_of_service(Pid(51 + GENERATIONS as i32), Pid(50), kin));
    }
}
