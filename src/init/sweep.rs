//! What nobody supervises is ended before we end: daemons that went into the background, and children that services
//! and the main process left behind.
//!
//! Signals go to our own children only. Nobody else reaps them, so their pids cannot be anybody else's; when one ends,
//! its children become ours and have their turn. So nothing is signalled that is not our descendant, also where we
//! share the machine's PID namespace.

use super::Init;
use crate::machine::request::Realm;
use crate::machine::{Pid, Signal, Target};
use crate::sys::process;

impl Init {
    /// Whether we end what nobody supervises. On a machine the `shutdown` script comes before that.
    pub(super) fn sweeps(&self) -> bool {
        let here = self.config.native && self.config.realm != Realm::Machine;
        here && self.config.main.as_ref().is_none_or(|main| main.manners.sweep)
    }

    pub(super) fn sweep(&mut self) {
        if self.system.is_up() || !self.sweeps() || self.main.is_to_come_or_here() || self.table.has_services() {
            return;
        }
        let _ = self.system.services_ended(self.now);
        let Some(signal) = self.system.orphan_signal().filter(|_| !self.childless) else { return };
        match process::children() {
            Some(children) => {
                for pid in children.into_iter().filter(|pid| !self.table.owns(*pid)).collect::<Vec<_>>() {
                    self.end_orphan(pid, signal);
                }
                if signal == Signal::KILL && self.table.is_empty() {
                    process::kill_all(signal); // those who fork faster than we count: at one stroke, if we are PID 1
                }
            }
            None if self.table.is_empty() => self.sweep_blindly(signal),
            None => {} // loggers that still read would be hit too
        }
    }

    fn end_orphan(&mut self, pid: Pid, signal: Signal) {
        let known = self.swept.contains(&pid);
        if signal == Signal::KILL {
            if known {
                let name = process::name(pid);
                self.config.voice.complain(None, &format_args!("{name} (pid {pid}) is still running; killing it"));
                self.swept.retain(|swept| *swept != pid);
            }
            let _ = process::kill(pid, Signal::KILL, Target::Process);
        } else if !known {
            self.swept.push(pid);
            let _ = process::kill(pid, signal, Target::Process);
            let _ = process::kill(pid, Signal::CONT, Target::Process);
        }
    }

    /// Without a `/proc` of ours nobody can tell which processes there are.
    fn sweep_blindly(&mut self, signal: Signal) {
        if std::process::id() != 1 {
            self.config
                .voice
                .complain(None, &"there is no /proc of ours, so processes that were left behind are left alone");
            self.childless = true;
        } else if signal == Signal::KILL {
            process::kill_all(signal);
        } else if self.swept.is_empty() {
            self.swept.push(Pid(1));
            process::kill_all(signal);
            process::kill_all(Signal::CONT);
        }
    }

    pub(super) fn orphan_ended(&mut self, pid: Pid) {
        self.swept.retain(|swept| *swept != pid);
        if self.config.main.as_ref().is_some_and(|main| main.tell_orphans) {
            self.config.voice.complain(None, &format_args!("reaped zombie process with pid={pid}"));
        }
    }
}
