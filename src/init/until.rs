//! `onit run --until`: supervises until something is so, and ends then.

use super::Init;
use super::log::{Ended, Span};
use super::table::SlotId;
use crate::exit;
use crate::machine::until::{Standing, Until};
use crate::machine::{Exit, Mono};

impl Init {
    pub(super) fn until_deadline(&self) -> Option<Mono> {
        self.until_at.filter(|_| self.system.is_up())
    }

    /// At the end of each turn: whether it is so, or its time is over.
    pub(super) fn end_if_it_is_so(&mut self) {
        let Some(until) = self.config.until.filter(|_| self.system.is_up()) else { return };
        if self.has_backlog() || self.scan.has_newcomers() || self.awaits_loaders() {
            return; // not all have been taken in
        }
        let services = self.table.services().into_iter().filter_map(|at| self.table.get(at));
        let standings: Vec<Standing> = services
            .map(|slot| Standing { state: slot.state(), last_end: slot.service.history().last_end() })
            .collect();
        if let Some(code) = until.code(standings.into_iter()) {
            self.end_with(code);
        } else if self.until_at.is_some_and(|at| at <= self.now) {
            let limit = Span(self.config.until_limit.unwrap_or_default());
            self.config.log.warn(None, &format_args!("not {until} within {limit}: stopping everything"));
            self.end_with(exit::LATE);
        }
    }

    /// `run` of a service has ended although no order had asked for it.
    pub(super) fn end_after_any(&mut self, at: SlotId, ended: Exit) {
        if self.config.until == Some(Until::Any) && self.system.is_up() {
            self.warn(at, &format_args!("{}: stopping everything", Ended(ended)));
            self.end_with(ended.shell_code().into());
        }
    }

    fn end_with(&mut self, code: i32) {
        self.system.conclude(code);
        self.stop();
    }
}
