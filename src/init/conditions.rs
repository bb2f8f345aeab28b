//! What has to hold for a service to start at all: the lines of its file `condition`, and that the environment of onit
//! does not say otherwise.
//!
//! Nothing is said of a service that is skipped: all is well. Who asks is told why.

use super::Init;
use super::inputs::{Listing, may_be_read_later};
use super::table::SlotId;
use super::warnings::Matter;
use crate::machine::ServiceState;
use crate::machine::policy::Gate;
use crate::sys::fs;
use crate::wire::svdir::{Condition, Fact, excerpt};

/// The file.
const CONDITION: &str = "condition";

impl Init {
    /// Whether a service is not to start now, by its conditions.
    pub(super) fn is_to_be_skipped(&mut self, at: SlotId, listing: &Listing) -> bool {
        let reads = self.config.personality.reads_small_files;
        let Some(slot) = self.table.get(at).filter(|slot| reads && !slot.is_logger()) else { return false };
        let text = if listing.may_have(CONDITION) { fs::read_small(&slot.dir, CONDITION) } else { Ok(None) };
        let (reason, bad) = match text {
            Ok(None) => (None, None),
            Ok(Some(text)) => self.unmet(at, &text),
            Err(errno) if may_be_read_later(errno) => {
                let bad = format!("cannot read {CONDITION}: {}; going by what was known of it", errno.desc());
                (slot.warnings.of(Matter::Skipped).cloned(), Some(bad))
            }
            Err(errno) => (None, Some(format!("cannot read {CONDITION}: {}; going without it", errno.desc()))),
        };
        self.warn_of_bad_value(at, CONDITION, bad);
        self.note_why_skipped(at, reason)
    }

    /// The first condition that does not hold, and what is wrong with lines that are none.
    fn unmet(&mut self, at: SlotId, text: &str) -> (Option<String>, Option<String>) {
        let lines = || text.lines().filter(|line| !line.is_empty());
        let bad: Vec<String> = lines()
            .filter(|line| Condition::parse(line).is_none())
            .map(|line| format!("{CONDITION} says {:?}, which is no condition; going without it", excerpt(line)))
            .collect();
        let unmet = lines().filter_map(Condition::parse).find(|condition| !self.holds(at, condition));
        let reason = unmet.map(|unmet| format!("{CONDITION} {unmet}").replace(char::is_control, "?"));
        (reason, (!bad.is_empty()).then(|| bad.join("\n")))
    }

    fn holds(&mut self, at: SlotId, condition: &Condition) -> bool {
        let is_so = match &condition.fact {
            Fact::Env(name, value) => {
                let is = self.environment_of(at).value(name);
                is.is_some_and(|is| value.as_ref().is_none_or(|value| is == **value))
            }
            Fact::Path(path) => self.table.get(at).is_some_and(|slot| fs::exists(&slot.dir, path)),
        };
        is_so != condition.not
    }

    /// Whether a service that comes starts by itself. Orders and what follows from them are not asked.
    pub(super) fn look_at_selection(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at).filter(|slot| !slot.is_logger()) else { return };
        let reason = self.config.selection.reason(&slot.name.to_string_lossy()).map(str::to_owned);
        if reason.is_some() && self.note_why_skipped(at, reason) {
            self.table.get_mut(at).into_iter().for_each(|slot| slot.service.inputs.gate = Gate::Skipped);
        }
    }

    /// Whether there is a reason.
    fn note_why_skipped(&mut self, at: SlotId, reason: Option<String>) -> bool {
        let is_skipped = reason.is_some();
        if let Some(slot) = self.table.get_mut(at) {
            slot.warnings.take(Matter::Skipped);
            reason.into_iter().for_each(|reason| _ = slot.warnings.replace(Matter::Skipped, reason));
        }
        is_skipped
    }

    /// A supervisor goes on from what another one has left, which is not told why.
    pub(super) fn restore_why_skipped(&mut self, at: SlotId) {
        if self.table.get(at).is_some_and(|slot| slot.state() == ServiceState::Skipped)
            && !self.is_to_be_skipped(at, &Listing::UNKNOWN)
        {
            self.look_at_selection(at);
        }
    }

    /// Everything has been taken in: what stands for none of it may be a slip.
    pub(super) fn warn_of_unmatched(&self) {
        let names = self.table.names().chain(self.scan.templates.names());
        let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        for pattern in self.config.selection.unmatched(&names) {
            let pattern = excerpt(pattern).replace(char::is_control, "?");
            self.config.log.warn(None, &format_args!("ONIT_ENABLE says {pattern}, and there is no such service"));
        }
    }
}
