//! Lines for the user at the console or terminal: what has come up when a machine has booted, and what an end waits
//! for. They come on a machine and on a terminal only; elsewhere no line means that all is well.

use super::Init;
use super::config::Root;
use super::log::{Span, one_line};
use crate::machine::request::InitMode;
use crate::machine::watchdog::last_action;
use crate::machine::{Mono, Phase, ServiceState, Want};
use crate::sys::process;
use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::time::Duration;

/// After this most services that cannot run have failed; and a user who waits for an end wants to know the reason.
const AFTER: Duration = Duration::from_secs(1);
/// So many services are named, and the rest is counted.
const NAMED: usize = 5;

/// A line that is to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Notice {
    at: Mono,
    of: News,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    CameUp,
    WaitsFor,
}

impl Init {
    /// When the line that is to come is due.
    pub(super) fn notice_deadline(&self) -> Option<Mono> {
        self.notice.map(|notice| notice.at)
    }

    /// Everything that is to start has started.
    pub(super) fn begin_notice_of_start(&mut self) {
        if self.config.mode == InitMode::Machine {
            self.notice = Some(Notice { at: self.now.after(AFTER), of: News::CameUp });
        }
    }

    /// Everything is to end from now on.
    pub(super) fn begin_notice_of_end(&mut self) {
        let on_machine = self.config.mode == InitMode::Machine;
        if on_machine {
            let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.state);
            let (action, running) =
                (last_action(self.system.conclusion().action, watchdog).word(), self.running().count());
            self.config.log.info(None, &format_args!("{action}: stopping {}", counted(running)));
        }
        let is_seen = on_machine || (self.config.root != Root::Nothing && std::io::stderr().is_terminal());
        self.notice = (self.config.personality.tells_news && is_seen)
            .then(|| Notice { at: self.now.after(AFTER), of: News::WaitsFor });
    }

    /// Says what is due.
    pub(super) fn give_notice(&mut self) {
        let Some(Notice { of, .. }) = self.notice.take_if(|notice| notice.at <= self.now) else { return };
        let line = match of {
            News::CameUp => Some(self.what_came_up()),
            News::WaitsFor => self.what_is_waited_for(),
        };
        if let Some(line) = line {
            self.config.log.info(None, &line);
        }
    }

    /// The services that run, loggers excepted.
    fn running(&self) -> impl Iterator<Item = &OsStr> {
        let slots = self.table.services().into_iter().filter_map(|at| self.table.get(at));
        slots.filter(|slot| slot.service.view().phase == Phase::Run).map(|slot| slot.name.as_os_str())
    }

    fn what_came_up(&self) -> String {
        let slots = self.table.services().into_iter().filter_map(|at| self.table.get(at));
        let fails = slots.filter(|slot| {
            let view = slot.service.view();
            slot.state() == ServiceState::Failed || (view.want == Want::Up && view.phase != Phase::Run)
        });
        let first = self.scan.next_refused(None);
        let refused = std::iter::successors(first, |(name, _)| self.scan.next_refused(Some(name)));
        let refused = refused.map(|(name, _)| name.to_owned());
        let failed: Vec<_> = fails.map(|slot| slot.name.clone()).chain(refused).collect();
        let up = format!("{} up", counted(self.running().count()));
        match failed.len() {
            0 => up,
            count => format!("{up}, {count} failed: {}", list(failed.iter().map(|name| one_line(name)).collect())),
        }
    }

    /// `None`: nothing is waited for any more, or without /proc it cannot be found out.
    fn what_is_waited_for(&self) -> Option<String> {
        let slots = self.table.all().into_iter().filter_map(|at| self.table.get(at));
        let services =
            slots.filter_map(|slot| Some(format!("{} (pid {})", one_line(&slot.name), slot.service.view().pid?)));
        let mut waits: Vec<String> = services.collect();
        if self.system.is_sweeping() {
            let left = process::children()?.into_iter().filter(|pid| !self.table.owns(*pid));
            waits.extend(left.map(|pid| format!("{} (pid {pid})", process::name(pid))));
        }
        let last = match self.system.kills_at() {
            Some(at) => format!("; what still runs in {} is killed", Span(at.since(self.now))),
            None => String::new(),
        };
        let sooner = if self.config.mode == InitMode::Supervisor { ", or at once with another ^C" } else { "" };
        (!waits.is_empty()).then(|| format!("waiting for {}{last}{sooner}", list(waits)))
    }
}

fn counted(services: usize) -> String {
    if services == 1 { "1 service".into() } else { format!("{services} services") }
}

/// The first few of them, and how many more there are.
fn list(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_counted_and_few_are_named() {
        let names = |count: usize| list((1..=count).map(|n| format!("s{n}")).collect());
        assert_eq!([names(1), names(5), names(7)], ["s1", "s1, s2, s3, s4, s5", "s1, s2, s3, s4, s5 and 2 more"]);
        assert_eq!([counted(0), counted(1), counted(2)], ["0 services", "1 service", "2 services"]);
    }
}
