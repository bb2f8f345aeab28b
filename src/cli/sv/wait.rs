//! Waiting until it is so. A supervisor is not asked again and again: one that has news replaces `supervise/status`, which
//! inotify tells, and one that goes away lets go of `supervise/ok`, whose writing end we hold.

use super::check::{Check, check};
use super::speak::{self, Known, Sv};
use super::{Ends, STEP};
use crate::machine::{Mono, Phase, Want};
use crate::sys::poll::Poller;
use crate::sys::watch::{Place, Writes};
use crate::sys::{Errno, clock, fs, process};
use crate::wire::status::Status;
use crate::wire::tai::Tai;
use std::os::fd::OwnedFd;

/// The token of the news from inotify; those of services are their numbers.
const NEWS: u64 = u64::MAX;
/// Descriptors that are not spent on holding `ok`.
const SPARE: u64 = 16;

/// A service that is waited for.
pub struct Awaited<'a> {
    name: &'a [u8],
    number: u64,
    /// Since when it was what it was before the order: what still has this stamp is not the answer to it.
    before: Tai,
    /// When it is looked at, even if nothing is heard of it.
    next: Option<Mono>,
    place: Option<Place>,
    ok: Option<OwnedFd>,
    settled: bool,
}

/// Where we hear of news.
struct Listener {
    /// None where the user has too many of them; then everything is looked at every [`STEP`].
    writes: Option<Writes>,
    poller: Poller,
    limit: Mono,
    open_files: u64,
}

/// What a look shows.
enum Look {
    /// There is nothing to wait for any more, and it has been said why.
    Settled,
    /// It is not so yet. `heard`: we hear of it when that changes.
    NotYet { heard: bool },
    /// It is not so, and there is no time to look again.
    TooLate,
}

/// Whether one thing is as it was ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    No,
    IfCheckPasses,
    Yes,
}

/// Waits for all of these services, but not past `limit`.
pub fn wait(sv: &mut Sv, mut services: Vec<Awaited>, limit: Mono) -> Ends<()> {
    let mut listener = Listener::new(limit).map_err(|errno| speak::fatal(sv.init_script, "unable to wait", errno))?;
    loop {
        let now = clock::now();
        sv.look_at_clock();
        for service in services.iter_mut().filter(|service| service.is_due(now, limit)) {
            service.turn(sv, &listener, now)?;
        }
        services.retain(|service| !service.settled);
        if services.is_empty() {
            return Ok(());
        }
        listener.listen(&mut services);
    }
}

impl Listener {
    fn new(limit: Mono) -> Result<Listener, Errno> {
        let (writes, poller) = (Writes::new().ok(), Poller::new()?);
        if let Some(writes) = &writes {
            poller.add(writes, NEWS)?;
        }
        let open_files = process::open_files().map_or(0, |limit| limit.rlim_cur);
        Ok(Listener { writes, poller, limit, open_files })
    }

    fn listen(&mut self, services: &mut [Awaited]) {
        let next = services.iter().filter_map(|service| service.next).min();
        let deadline = next.map_or(self.limit, |next| next.min(self.limit));
        for token in self.poller.wait(clock::now(), Some(deadline)) {
            let places = self.writes.as_ref().filter(|_| token == NEWS).map(|writes| writes.of("status"));
            for service in &mut *services {
                let heard = match &places {
                    Some(Some(places)) => service.place.is_some_and(|place| places.contains(&place)),
                    Some(None) => true,
                    None => service.number == token,
                };
                if heard {
                    service.next = Some(Mono::default());
                }
            }
        }
    }
}

impl<'a> Awaited<'a> {
    /// One of the services, by its number, and its stamp before the order.
    pub fn new(name: &'a [u8], number: u64, before: Tai) -> Self {
        Awaited { name, number, before, next: Some(Mono::default()), place: None, ok: None, settled: false }
    }

    fn is_due(&self, now: Mono, limit: Mono) -> bool {
        now >= limit || self.next.is_some_and(|next| next <= now)
    }

    fn turn(&mut self, sv: &mut Sv, listener: &Listener, now: Mono) -> Ends<()> {
        self.settled = true;
        if sv.enter(self.name) {
            match self.look(sv, listener) {
                Look::Settled => {}
                Look::NotYet { heard } if now < listener.limit => {
                    self.settled = false;
                    self.next = (!heard).then(|| now.after(STEP));
                }
                Look::NotYet { .. } | Look::TooLate => sv.timed_out(self.name),
            }
        }
        sv.leave()
    }

    fn look(&mut self, sv: &mut Sv, listener: &Listener) -> Look {
        // Before the record is read: what comes later is news.
        self.place = listener.writes.as_ref().and_then(|writes| writes.add("supervise").ok());
        let Known::Status(status, ok) = sv.ask(self.name) else { return Look::Settled };
        let held = !fs::is_last(&ok, listener.open_files, SPARE) && listener.poller.add(&ok, self.number).is_ok();
        self.ok = held.then_some(ok);
        let heard = held && self.place.is_some();
        let all = sv.order.letters.iter().map(|letter| is_so(*letter, &status, self.before)).min();
        let check = match all {
            Some(Outcome::No) => return Look::NotYet { heard },
            Some(Outcome::IfCheckPasses) => check(self.name, listener.limit.after(STEP)),
            Some(Outcome::Yes) | None => Check::Passed,
        };
        match check {
            Check::Passed => sv.settled(&status, self.name),
            Check::Failed => return Look::NotYet { heard: false }, // nothing tells when it would pass
            Check::TooLate => return Look::TooLate,
        }
        Look::Settled
    }
}

/// runit compares the second in which it was started with that of the stamp, and so takes a process for new that has
/// started in the same second. A stamp that is another one than before cannot deceive.
fn is_so(letter: u8, status: &Status, before: Tai) -> Outcome {
    let (up, anew) = (status.pid.is_some(), before != status.since);
    let so = match letter {
        b'u' | b'C' if up && status.phase == Phase::Run => return Outcome::IfCheckPasses,
        b't' | b'k' if up && anew && !status.got_term => return Outcome::IfCheckPasses,
        b'C' if up => return Outcome::IfCheckPasses,
        b'u' | b'x' => false,
        b'd' => !up && status.phase == Phase::Down,
        b't' | b'k' => !up && status.want == Want::Down,
        b'o' if up => status.want == Want::Down,
        b'o' => anew,
        b'p' => !up || status.paused,
        b'c' => !up || !status.paused,
        _ => true,
    };
    if so { Outcome::Yes } else { Outcome::No }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Pid;
    use Outcome::{IfCheckPasses, No, Yes};

    const BEFORE: Tai = Tai { unix: 1, nanos: 2 };
    const UP: Status =
        Status { since: BEFORE, pid: Some(Pid(7)), paused: false, want: Want::Up, got_term: false, phase: Phase::Run };
    const DOWN: Status = Status { pid: None, want: Want::Down, phase: Phase::Down, ..UP };

    fn each(letters: &str, status: Status) -> Vec<Outcome> {
        letters.bytes().map(|letter| is_so(letter, &status, BEFORE)).collect()
    }

    #[test]
    fn it_runs_and_is_the_one_from_before_the_order() {
        assert_eq!(each("udotkpcxC", UP), [IfCheckPasses, No, No, No, No, No, Yes, No, IfCheckPasses]);
        assert_eq!(each("haiq12", UP), [Yes; 6]);
        assert_eq!(each("pc", Status { paused: true, ..UP }), [Yes, No]);
        assert_eq!(each("o", Status { want: Want::Down, ..UP }), [Yes]);
    }

    #[test]
    fn it_runs_anew() {
        let anew = Status { since: Tai { unix: 1, nanos: 3 }, ..UP };
        assert_eq!(each("tk", anew), [IfCheckPasses; 2]);
        assert_eq!(each("tk", Status { got_term: true, ..anew }), [No; 2]);
        assert_eq!(each("uo", Status { phase: Phase::Finish, want: Want::Down, ..anew }), [No, Yes]);
    }

    #[test]
    fn it_is_down() {
        assert_eq!(each("udotkpcxC", DOWN), [No, Yes, No, Yes, Yes, Yes, Yes, No, Yes]);
        assert_eq!(each("tkC", Status { want: Want::Up, ..DOWN }), [No, No, Yes]);
        assert_eq!(each("o", Status { since: Tai { unix: 1, nanos: 3 }, ..DOWN }), [Yes]);
        assert_eq!(each("d", Status { phase: Phase::Finish, ..DOWN }), [No]);
    }
}
