//! Processes that are not supervised are ended before we end: daemons that went into the background, and children that
//! services and the main process left behind.
//!
//! Signals go to our own children only. Until we reap one, its pid cannot be that of another process; when one ends,
//! its children become ours and have their turn. So nothing is signalled that is not our descendant, also where we
//! share the machine's PID namespace. Where we may make a control group, what is in it can be killed at once, with
//! cgroup.kill.

use super::Init;
use super::main_log::MainEvent;
use crate::machine::request::InitMode;
use crate::machine::{Exit, Pid, Signal, Target};
use crate::sys::cgroup::Group;
use crate::sys::process;
use crate::wire::{cgroup, mounts};

impl Init {
    /// Whether we end processes that are not supervised. On a machine the `shutdown` script comes before that.
    pub(super) fn kills_leftovers(&self) -> bool {
        let here = self.config.personality.owns_descendants && self.config.mode != InitMode::Machine;
        here && self.config.main.as_ref().is_none_or(|main| main.options.sweep)
    }

    /// What we start goes into a control group of its own, if ours was given to us. PID 1 needs none: it can signal all
    /// that there is. `again`: the supervisor that ran before has failed, and may have made it.
    pub(super) fn make_group(&mut self, again: bool) {
        if std::process::id() == 1 || !self.kills_leftovers() {
            return;
        }
        let [cgroup, mounts] =
            ["cgroup", "mountinfo"].map(|name| std::fs::read(format!("/proc/self/{name}")).unwrap_or_default());
        let own = cgroup::directory(&cgroup, &mounts::mounts(&mounts));
        self.children.group = own.and_then(|own| Group::make(&own, cgroup::is_whole(&cgroup), again));
    }

    pub(super) fn end_leftovers(&mut self) {
        if self.system.is_up() || !self.kills_leftovers() || self.main.is_to_come_or_here() || self.table.has_services()
        {
            return;
        }
        let _ = self.system.services_ended(self.now);
        let Some(signal) = self.system.orphan_signal().filter(|_| !self.children.childless) else { return };
        match process::children() {
            Some(children) => {
                for pid in children
                    .into_iter()
                    .filter(|pid| !self.table.owns(*pid) && !self.is_helper(*pid))
                    .collect::<Vec<_>>()
                {
                    self.end_orphan(pid, signal);
                }
                if signal == Signal::KILL && self.table.is_empty() {
                    self.kill_group();
                }
            }
            None if self.table.is_empty() => self.kill_leftovers_blindly(signal),
            None => {} // loggers that still read would be hit too
        }
    }

    /// Kills all at once, also processes that fork faster than we can list them.
    fn kill_group(&self) {
        process::kill_all(Signal::KILL); // if we are PID 1
        if let Some(group) = &self.children.group {
            let _ = group.kill();
        }
    }

    fn end_orphan(&mut self, pid: Pid, signal: Signal) {
        let known = self.children.swept.contains(&pid);
        if signal == Signal::KILL {
            if known {
                let name = process::name(pid);
                self.config.log.warn(None, &format_args!("{name} (pid {pid}) is still running; killing it"));
                self.children.swept.retain(|swept| *swept != pid);
            }
            let _ = process::kill(pid, Signal::KILL, Target::Process);
        } else if !known {
            self.children.swept.push(pid);
            let _ = process::kill(pid, signal, Target::Process);
            let _ = process::kill(pid, Signal::CONT, Target::Process);
        }
    }

    /// Without a `/proc` of our PID namespace we cannot know which processes there are.
    fn kill_leftovers_blindly(&mut self, signal: Signal) {
        if std::process::id() != 1 {
            self.config.log.warn(None, &"there is no /proc of ours, so processes that were left behind are left alone");
            self.children.childless = true;
        } else if signal == Signal::KILL {
            process::kill_all(signal);
        } else if self.children.swept.is_empty() {
            self.children.swept.push(Pid(1));
            process::kill_all(signal);
            process::kill_all(Signal::CONT);
        }
    }

    pub(super) fn orphan_ended(&mut self, pid: Pid, exit: Exit) {
        self.remove_old_groups();
        self.children.swept.retain(|swept| *swept != pid);
        self.log_main(MainEvent::Reaped(pid, exit));
        self.log_main(MainEvent::Orphan(pid));
    }
}
