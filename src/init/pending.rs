//! Children that have not executed their program in time: each is looked after by itself, and nothing else waits for
//! it.
//!
//! A supervisor that fails leaves them to the next one. They do not answer to that one: it has to look in /proc whether
//! they have executed their program.

use super::Init;
use super::log::{Span, script_name};
use super::report::seen;
use super::table::SlotId;
use crate::machine::pending::{EXEC_TIMEOUT, Order, PendingExec};
use crate::machine::{Exit, Mono, Phase, Pid, Script, Signal, Target};
use crate::sys::{Errno, process};

/// A child that has not executed its program yet, as far as is known.
pub(super) struct PendingChild {
    pid: Pid,
    /// Whose it is. A service stays in the table until its children are reaped.
    at: SlotId,
    script: Script,
    exec: PendingExec,
    /// It was started by a supervisor that has failed.
    inherited: bool,
}

impl PendingChild {
    pub(super) fn new(pid: Pid, at: SlotId, script: Script, now: Mono) -> PendingChild {
        PendingChild { pid, at, script, exec: PendingExec::new(now), inherited: false }
    }
}

impl Init {
    pub(super) fn pending_deadline(&self) -> Option<Mono> {
        self.children.pending.iter().filter_map(|child| child.exec.deadline()).min()
    }

    /// Takes the answers that have come, and does something about those that have not.
    pub(super) fn look_at_pending(&mut self) {
        for mut child in std::mem::take(&mut self.children.pending) {
            let answer = if child.inherited {
                (!process::has_not_executed(child.pid)).then_some(Ok(()))
            } else {
                self.children.spawner.answer(child.pid)
            };
            match answer {
                // Its end comes, and that it was killed before it had its program is known here.
                Some(Ok(())) if child.exec.is_killed() => self.children.pending.push(child),
                Some(Ok(())) => self.note_executed(&child),
                Some(Err(errno)) => self.exec_failed(&child, errno),
                None => {
                    self.urge(&mut child);
                    self.children.pending.push(child);
                }
            }
        }
    }

    /// A supervisor has failed, and left this `run` behind. A `finish`, a `control` and a `stop` have their own limits.
    pub(super) fn restore_pending(&mut self, at: SlotId) {
        let Some(view) = self.table.get(at).map(|slot| slot.service.view()) else { return };
        let is_new = self.now.since(view.since) <= EXEC_TIMEOUT * 2;
        let run = view.pid.filter(|_| view.phase == Phase::Run && (is_new || view.paused));
        if let Some(pid) = run.filter(|pid| process::has_not_executed(*pid)) {
            self.expect_exec(PendingChild { inherited: true, ..PendingChild::new(pid, at, Script::Run, self.now) });
        }
    }

    /// A child has not executed its program in time, and may do so yet.
    pub(super) fn expect_exec(&mut self, child: PendingChild) {
        if let Some(slot) = self.table.get_mut(child.at).filter(|_| child.script == Script::Run) {
            slot.is_pending = true;
        }
        self.children.pending.push(child);
    }

    fn note_executed(&mut self, child: &PendingChild) {
        self.note_exec(child.at, child.script);
        if let Some(slot) = self.table.get_mut(child.at).filter(|_| child.script == Script::Run) {
            let before = seen(slot);
            slot.is_pending = false;
            if seen(slot) != before {
                self.tell_dependents(child.at);
                self.publish_change(child.at, before, None); // one that was told to stop is still stopping
            }
        }
    }

    fn exec_failed(&mut self, child: &PendingChild, errno: Errno) {
        if child.script == Script::Run {
            self.run_failed(child.at, child.pid, errno);
        } else {
            self.warn_of_exec_error(child.at, child.script, errno);
        }
    }

    fn urge(&mut self, child: &mut PendingChild) {
        let paused = self.table.get(child.at).is_some_and(|slot| slot.service.view().paused);
        let (paused, pid) = (paused && child.script == Script::Run, child.pid);
        let signal = match child.exec.tick(self.now, paused, || process::is_runnable(pid)) {
            Some(Order::Continue) => Signal::CONT,
            Some(Order::Kill) => {
                self.warn_of_timeout(child);
                Signal::KILL
            }
            None => return,
        };
        let _ = process::kill(child.pid, signal, Target::Process); // that it may not be signalled is no news
    }

    fn warn_of_timeout(&mut self, child: &PendingChild) {
        let then = if matches!(child.script, Script::Setup | Script::Run) {
            "killing it and trying again"
        } else {
            "killing it"
        };
        let (script, limit) = (script_name(child.script), Span(EXEC_TIMEOUT));
        let cause = "it was stopped, or its file system does not answer";
        let trouble = format!("{script} could not be executed within {limit} ({cause}); {then}");
        self.warn_of_script(child.at, child.script, &trouble);
        if let Some(slot) = self.table.get_mut(child.at).filter(|_| child.script == Script::Run) {
            slot.end_is_explained = true;
        }
    }

    /// A child was reaped. Returns how it ended, which for a pending one is known better here: a child that was killed
    /// because its program was not executed in time has not run.
    pub(super) fn pending_ended(&mut self, pid: Pid, exit: Exit) -> Exit {
        let Some(place) = self.children.pending.iter().position(|child| child.pid == pid) else { return exit };
        let child = self.children.pending.swap_remove(place);
        let exec_error = self.children.spawner.ended(pid);
        let is_unexecuted = exec_error.is_some();
        if let Some(errno) = exec_error {
            self.exec_failed(&child, errno);
        }
        let is_killed = child.exec.is_killed();
        match child.script == Script::Setup {
            true if is_unexecuted || is_killed => Exit::NOT_EXECUTED,
            false if is_killed => Exit::NOT_RUN,
            true | false => exit,
        }
    }
}
