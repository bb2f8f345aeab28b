//! `kill-mode`: what a service leaves behind is killed, by its process group or by a control group of its own.

use super::Init;
use super::log::script_name;
use super::table::SlotId;
use super::warnings::Matter;
use crate::machine::policy::KillMode;
use crate::machine::request::InitMode;
use crate::machine::{Pid, Script, Signal, Target};
use crate::sys::cgroup::Group;
use crate::sys::process;
use crate::wire::{cgroup, mounts};

impl Init {
    /// The control group that this script of a service is to be in, if it is to be in one of its own.
    pub(super) fn group_for(&mut self, at: SlotId, script: Script) -> Option<Group> {
        match script {
            Script::Setup | Script::Run | Script::Successor | Script::Finish(_) => {}
            // What is killed with the service is not what stops it, or asks about it.
            Script::Control(_) | Script::Stop | Script::Check | Script::Health => return None,
        }
        let slot = self.table.get(at).filter(|slot| slot.service.kill_mode() == KillMode::Cgroup)?;
        let (device, number) = slot.id.numbers();
        let name = cgroup::service_group(&slot.name, device, number);
        if let Some(group) = self.own_group(at) {
            self.children.old_groups.retain(|old| old != group.name()); // it is needed again
            return Some(group);
        }
        let made = match self.groups() {
            Some(groups) => groups.child(name).map_err(|errno| format!("cannot make one: {}", errno.desc())),
            None => Err("none was given to onit".to_owned()),
        };
        match made {
            Ok(group) => {
                let slot = self.table.get_mut(at)?;
                slot.warnings.take(Matter::KillMode);
                Some(group)
            }
            Err(why) => {
                let trouble = format!("kill-mode says cgroup, but there is no control group ({why}); going by group");
                self.warn_about(at, Matter::KillMode, trouble);
                None
            }
        }
    }

    /// Where the groups of services are.
    fn groups(&mut self) -> Option<&Group> {
        if self.children.group.is_none() && self.children.groups.is_none() {
            let [cgroup, mounts] =
                ["cgroup", "mountinfo"].map(|name| std::fs::read(format!("/proc/self/{name}")).unwrap_or_default());
            let (is_whole, own) = (cgroup::is_whole(&cgroup), cgroup::directory(&cgroup, &mounts::mounts(&mounts)));
            let made = own.and_then(|own| match self.config.mode {
                InitMode::Machine if is_whole => Group::make_on_machine(&own),
                InitMode::Machine | InitMode::Container | InitMode::Supervisor => Group::make(&own, is_whole, true),
            });
            self.children.groups = Some(made);
        }
        self.known_groups()
    }

    fn known_groups(&self) -> Option<&Group> {
        self.children.group.as_ref().or_else(|| self.children.groups.as_ref()?.as_ref())
    }

    /// The control group of a service, whatever it was called when that was made.
    fn own_group(&mut self, at: SlotId) -> Option<Group> {
        let slot = self.table.get(at).filter(|slot| slot.service.kill_mode() == KillMode::Cgroup)?;
        let (device, number) = slot.id.numbers();
        let suffix = cgroup::service_suffix(device, number);
        self.groups()?.child_that_ends(&suffix)
    }

    /// A script has used up its time: it is killed, and who belongs to it.
    pub(super) fn kill_late(&mut self, at: SlotId, pid: Pid, script: Script) {
        let kill_mode = self.table.get(at).map_or(KillMode::Process, |slot| slot.service.kill_mode());
        let to = match (script, kill_mode) {
            (Script::Control(_) | Script::Stop | Script::Check | Script::Health, _) | (_, KillMode::Process) => {
                Target::Process
            }
            (
                Script::Setup | Script::Run | Script::Successor | Script::Finish(_),
                KillMode::Group | KillMode::Cgroup,
            ) => Target::Group,
        };
        let _ = process::kill(pid, Signal::KILL, to);
        if to == Target::Group
            && script != Script::Successor // in the control group is the other one, too
            && let Some(group) = self.own_group(at)
        {
            let _ = group.kill_each();
        }
    }

    /// A script has ended: what is left of its group is killed, and told.
    pub(super) fn kill_left_behind(&mut self, at: SlotId, pid: Pid, script: Script) {
        let group = self.own_group(at).filter(|_| script != Script::Successor); // the other one is in it, too
        let in_group = process::left_in_group(pid);
        let count = group.as_ref().map_or(0, Group::count).max(in_group.unwrap_or(0));
        if in_group != Some(0) {
            process::kill_left_in_group(pid);
        }
        if let Some(group) = group {
            let _ = group.kill_each();
            self.children.old_groups.retain(|old| old != group.name());
            self.children.old_groups.push(group.name().to_owned());
        }
        self.remove_old_groups();
        let script = script_name(script);
        match count {
            0 => {}
            1 => self.warn_about(at, Matter::Leftovers, format!("{script} left 1 process behind; killed it")),
            _ => {
                let trouble = format!("{script} left {count} processes behind; killed them");
                self.warn_about(at, Matter::Leftovers, trouble);
            }
        }
    }

    /// What was killed ends by and by. An orphan that was reaped may have been the last one in its group.
    pub(super) fn remove_old_groups(&mut self) {
        let mut old = std::mem::take(&mut self.children.old_groups);
        if let Some(groups) = self.known_groups() {
            old.retain(|name| !groups.remove_child(name));
        }
        self.children.old_groups = old;
    }
}
