//! What a service leaves behind when it has been stopped: processes of its session, which no supervisor looks after any
//! more.

use super::connect::{Connection, Target};
use super::pidns::{self, Seen};
use super::term;
use crate::machine::{Pid, ServiceState};
use crate::sys::{clock, poll, process, say::say};
use crate::wire::api::ServiceStatus;
use std::time::Duration;

/// What was told to end as well has this long: it may be about to.
const GRACE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(50);
/// So many are named.
const NAMED: usize = 3;

/// Services that are to be stopped, each with the session that its `run` leads.
#[derive(Default)]
pub struct Sessions(Vec<(String, Pid)>);

impl Sessions {
    /// Remembers a service as it is before it is stopped, if its process is to be seen here.
    pub fn remember(&mut self, talk: &Connection, target: &Target, before: &ServiceStatus) {
        let state = before.state.known();
        let is_run = matches!(state, Some(ServiceState::Starting | ServiceState::Up | ServiceState::Stopping));
        let run = before.pid.filter(|_| is_run);
        if let Some(Seen::Here(pid)) = run.map(|pid| pidns::look(talk, target, pid)) {
            let one = (target.name.clone(), pid);
            if self.0.last() != Some(&one) {
                self.0.push(one);
            }
        }
    }

    /// Says what is left of them, now that they have stopped.
    pub fn report(&self) {
        let sessions: Vec<Pid> = self.0.iter().map(|(_, session)| *session).collect();
        if sessions.is_empty() {
            return;
        }
        let until = clock::now().after(GRACE);
        let mut left = process::members(&sessions);
        while !left.is_empty() && clock::now() < until && poll::pause(LOOK).is_ok() {
            left = process::members(&sessions);
        }
        for (name, session) in &self.0 {
            // What has the number of the process itself is a `run` that has not ended, and is not told.
            let of_it = left.iter().filter(|(pid, of)| of == session && pid != session).map(|(pid, _)| *pid);
            if let Some(line) = line(name, &of_it.collect::<Vec<_>>()) {
                say(line);
            }
        }
    }
}

fn line(name: &str, left: &[Pid]) -> Option<String> {
    let words: Vec<String> =
        left.iter().take(NAMED).map(|pid| format!("process {pid} ({})", process::name(*pid))).collect();
    let more = if left.len() > NAMED { format!(" and {} more", left.len() - NAMED) } else { String::new() };
    let live = if left.len() == 1 { "lives" } else { "live" };
    let name = term::cut(name, usize::MAX);
    let whose =
        format!("of its session still {live}: its run did not end {}", if left.len() == 1 { "it" } else { "them" });
    (!words.is_empty()).then(|| format!("onit: {name}: stopped, but {}{more} {whose}", words.join(", ")))
}
