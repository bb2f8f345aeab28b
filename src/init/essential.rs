//! Services whose end is the end of everything, and with what code.

use super::Init;
use super::log::Ended;
use super::table::SlotId;
use crate::machine::{Exit, ServiceState};
use crate::sys::fs;
use std::path::Path;

/// Where a container leaves its last words. Made by Kubernetes.
const TERMINATION_LOG: &str = "/dev/termination-log";

impl Init {
    /// Kubernetes shows what stands there as the reason of a container's end.
    fn leave_message(&self, at: SlotId, why: &str) {
        if let Some(slot) = self.table.get(at).filter(|_| std::process::id() == 1) {
            let line = format!("onit: {}: {why}\n", slot.name.display());
            let _ = fs::append_to(Path::new(TERMINATION_LOG), line.as_bytes()); // that there is none is usual
        }
    }

    /// A oneshot that has failed, and has never done its work, is told by the exit code: not everything has come up.
    pub(super) fn conclude_by_oneshots(&mut self) {
        if !self.config.personality.escalates || self.system.conclusion().code != 0 {
            return;
        }
        let services = self.table.services().into_iter().filter_map(|at| self.table.get(at));
        let failed = services.filter(|slot| slot.state() == ServiceState::Failed && !fs::exists(&slot.dir, "run"));
        let never_done = failed.map(|slot| slot.service.history().lives()).filter(|lives| {
            let mut ends = lives.iter().filter_map(|life| life.end);
            ends.all(|end| !end.is_success)
        });
        let codes = never_done.filter_map(|lives| Some(lives.last()?.end?.exit.shell_code()));
        if let Some(code) = codes.max() {
            self.system.conclude(code.into());
        }
    }

    /// An essential service has ended like this.
    pub(super) fn end_all(&mut self, at: SlotId, exit: Exit) {
        let why = format!("{}; it is essential: stopping everything", Ended(exit));
        self.warn(at, &why);
        let has_main = self.main.is_here(); // one that was not started is not any more
        let order = self.system.essential_ended(self.now, self.config.stop_budget, has_main, exit);
        if let Some(order) = order {
            self.leave_message(at, &why);
            self.note_code(exit.shell_code().into());
            self.starve_watchdog();
            self.stop_main();
            self.begin_stop(order);
        }
    }
}
