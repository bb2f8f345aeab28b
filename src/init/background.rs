//! A daemon that goes into the background leaves its supervisor: its `run` ends with 0, again and again, and the reason
//! is hard to see.

use super::Init;
use super::log::Ended;
use super::table::SlotId;
use super::warnings::Matter;
use crate::machine::{Exit, Mono, Pid};
use crate::sys::clock;
use crate::sys::process::{self, Origin};
use std::time::Duration;

/// So many of the children that we do not know are looked at, the newest first.
const LOOKED_AT: usize = 64;
/// Starts are counted in these.
const TICK: Duration = Duration::from_millis(10);

impl Init {
    /// What is told of a `run` that has ended with 0 within a second of its start. If it does so again and again, the
    /// process that it left behind is not looked for a second time.
    pub(super) fn news_of_a_daemon(&self, at: SlotId, run: Pid, started: Mono) -> String {
        let news = format!("{} within a second of its start; trying again", Ended(Exit::Code(0)));
        let told = self.table.get(at).and_then(|slot| slot.warnings.of(Matter::Life));
        if let Some(told) = told.filter(|told| told.starts_with(&news)) {
            return told.clone();
        }
        match self.left_by(run, started) {
            Some(left) => format!("{news} (does it go into the background? {left} still lives)"),
            None => news,
        }
    }

    /// A process that this one has left behind, in words. It has become our child, as every orphan below us.
    fn left_by(&self, run: Pid, started: Mono) -> Option<String> {
        let age = clock::now().since(started); // the turn may have taken its time already
        let began = process::since_boot()?.saturating_sub(age + TICK);
        let strangers = process::children()?.into_iter().rev().filter(|pid| !self.is_known_child(*pid));
        strangers.take(LOOKED_AT).find_map(|pid| {
            let whose = belongs(process::origin(pid)?, run, began)?;
            Some(format!("process {pid} ({}), {whose},", process::name(pid)))
        })
    }
}

/// Why a process may come from a `run` that began then. One with a session of its own is known by its age alone.
fn belongs(origin: Origin, run: Pid, began: Duration) -> Option<&'static str> {
    match origin {
        Origin { session, .. } if session == run => Some("of its session"),
        Origin { started, .. } if started >= began => Some("started meanwhile"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_known_by_its_session_or_by_its_age() {
        let began = Duration::from_millis(5000);
        let whose = |session, millis| {
            belongs(Origin { session: Pid(session), started: Duration::from_millis(millis) }, Pid(7), began)
        };
        assert_eq!([whose(7, 5100), whose(7, 0)], [Some("of its session"); 2]);
        assert_eq!([whose(8, 5000), whose(8, 4990)], [Some("started meanwhile"), None]);
    }
}
