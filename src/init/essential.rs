//! Services whose end is the end of everything, and with what code.

use super::Init;
use super::table::SlotId;
use super::voice::Ended;
use crate::machine::history::End;
use crate::machine::policy::Essential;
use crate::machine::{Exit, Phase, Pid, View, Want};
use crate::sys::fs;
use crate::wire::svdir;
use std::path::Path;

/// Where a container leaves its last words. Made by Kubernetes.
const TERMINATION_LOG: &str = "/dev/termination-log";

impl Init {
    /// Whether the end of this process, which nobody asked for, is the end of all.
    pub(super) fn is_fatal(&mut self, at: SlotId, pid: Pid, exit: Exit) -> bool {
        let Some(slot) = self.table.get(at).filter(|_| self.config.personality.reads_small_files) else { return false };
        let view = slot.service.view();
        let wanted = view.want != Want::Down && !view.leaving;
        if !wanted || slot.asked || view.phase != Phase::Run || view.pid != Some(pid) {
            return false;
        }
        self.essential(at).is_some_and(|essential| essential.is_fatal(exit))
    }

    /// Whether this is the end of a `finish` that says 125, and with that ends everything if the service was wanted up.
    pub(super) fn may_give_up_for_all(&mut self, at: SlotId, pid: Pid, exit: Exit) -> bool {
        let view = self.table.get(at).map(|slot| slot.service.view());
        let finishes = view.is_some_and(|view| view.phase == Phase::Finish && view.pid == Some(pid));
        self.config.personality.reads_small_files && finishes && exit == Exit::GIVE_UP && self.is_fatal_for_good(at)
    }

    /// Whether everything ends if the service is not to be started again.
    fn is_fatal_for_good(&mut self, at: SlotId) -> bool {
        let end = self.table.get(at).and_then(|slot| slot.history.last_end());
        end.is_some_and(|end| self.essential(at).is_some_and(|essential| essential.is_fatal_for_good(end.exit)))
    }

    /// Tells that `finish` has taken back the wish that the service be up, and what follows. That it is done is no news.
    pub(super) fn heed_giving_up(&mut self, at: SlotId, before: &View) {
        let Some(slot) = self.table.get(at) else { return };
        let (view, Some(End { exit, .. })) = (slot.service.view(), slot.history.last_end()) else { return };
        if before.phase != Phase::Finish || before.want != Want::Up || view.want != Want::Down {
            return;
        }
        if self.is_fatal_for_good(at) {
            self.end_all(at, exit);
        } else if exit.is_success() {
            self.table.get_mut(at).into_iter().for_each(|slot| slot.complaint = None);
        } else {
            self.complain(at, format!("{}, and ./finish says 125: not started again until told", Ended(exit)));
        }
    }

    /// Kubernetes shows what stands there as the reason of a container's end.
    fn leave_message(&self, at: SlotId, why: &str) {
        if let Some(slot) = self.table.get(at).filter(|_| std::process::id() == 1) {
            let line = format!("onit: {}: {why}\n", slot.name.display());
            let _ = fs::append_to(Path::new(TERMINATION_LOG), line.as_bytes()); // that there is none is usual
        }
    }

    fn essential(&mut self, at: SlotId) -> Option<Essential> {
        self.read_fact(at, "essential", svdir::essential)
    }

    /// An essential service has ended like this.
    pub(super) fn end_all(&mut self, at: SlotId, exit: Exit) {
        let why = format!("{}; it is essential: stopping everything", Ended(exit));
        self.tell(at, &why);
        if self.system.is_up() {
            self.leave_message(at, &why);
            self.code = exit.shell_code().into();
            self.code_stands = true;
            self.starve_watchdog();
            self.tell_main_to_end();
            self.stop();
        }
    }
}
