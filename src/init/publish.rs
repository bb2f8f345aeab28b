//! What changed is written where tools look for it, once a turn; services that are over are let go.

use super::Init;
use super::log::Failure;
use super::table::{LogPipe, Slot, SlotId};
use super::warnings::Matter;
use crate::machine::fleet::{self, Removal};
use crate::machine::{Event, Exit, Mono, View, Want};
use crate::sys::published::Published;
use crate::sys::{Errno, clock, fs};
use crate::wire::api::EventKind;
use crate::wire::death_tally::{self, MOST, RECORD};
use crate::wire::status::s6::{self, Extra};
use crate::wire::status::{Format, Status, pid_line, stat_line};
use crate::wire::tai::Tai;
use std::time::Duration;

/// What could not be written is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Services whose status is written for the first time in one turn.
const FIRSTS_A_TURN: usize = 64;
/// After so many, deaths are looked for.
const BETWEEN_DEATHS: usize = 16;

impl Init {
    /// Starting comes first: a service without a status gets its first one when everything has started. And deaths come
    /// first: a process that has just got a signal may have ended by now, and then only its end has to be written.
    pub(super) fn publish_touched(&mut self) {
        for count in 0.. {
            if count % BETWEEN_DEATHS == 0 && self.table.is_any_touched() {
                self.deaths();
            }
            let Some(at) = self.table.take_touched() else { return };
            if self.table.get(at).is_some_and(|slot| slot.published.is_none() && !slot.service.is_gone()) {
                self.unpublished.push_back(at);
            } else {
                self.publish(at);
                self.remove_if_over(at);
            }
        }
    }

    pub(super) fn publish_first(&mut self) {
        if self.scan.has_backlog() {
            return;
        }
        // All names that were not refused have been looked at.
        self.recovery.searches = self.recovery.searches && self.scan.next_refused(None).is_some();
        for _ in 0..FIRSTS_A_TURN {
            let Some(at) = self.unpublished.pop_front() else { return };
            self.publish(at);
            self.remove_if_over(at);
        }
    }

    /// Brings `supervise/status` up to date, and then tells whoever listens.
    pub(super) fn publish(&mut self, at: SlotId) {
        self.publish_status(at);
        self.tell_listeners(at);
    }

    fn publish_status(&mut self, at: SlotId) {
        let removed = self.is_removed_or_its_logger(at);
        let Some(slot) = self.table.get_mut(at).filter(|slot| slot.files.lock.is_some() && slot.rewrite_at.is_none())
        else {
            return;
        };
        let (view, format) = (slot.view_in_files(), slot.files.format);
        let stamp = match slot.published {
            Some((shown, _)) if shown == view => return,
            Some((shown, stamp)) if shown.since == view.since => stamp,
            _ => stamp(view.since, self.now),
        };
        let last = slot.service.last_change();
        let extra = Extra {
            since: stamp_of(last.at, view.since, stamp, self.now),
            ready: last.ready.filter(|_| view.is_ready).map(|at| stamp_of(at, view.since, stamp, self.now)),
            last_exit: last.exit,
        };
        let old_pid = slot.published.map(|(shown, _)| shown.pid);
        let written = Published::open(slot.home(), "supervise", !slot.files.renames_only)
            .map_err(|errno| Failure { verb: "write", path: "supervise/status", errno })
            .and_then(|mut files| {
                let new_pid = old_pid != Some(view.pid);
                write(format, &view, stamp, &extra, new_pid, |name, content| files.put(name, content))?;
                Ok(files.exchanges())
            });
        match written {
            Ok(exchanges) => {
                slot.files.renames_only = !exchanges;
                slot.is_place_missing = false;
                slot.warnings.take(Matter::Status);
                slot.published = Some((view, stamp));
                if slot.reopen_at.is_none() {
                    self.be_seen(at);
                }
            }
            Err(failure) if removed && failure.errno == Errno::ENOENT => {} // its directory was removed
            Err(failure) if failure.errno == Errno::ENOENT && !slot.is_place_missing => {
                // It may be on its way out of the directory.
                (slot.is_place_missing, slot.rewrite_at) = (true, Some(self.now.after(RETRY)));
                self.table.arm(at);
            }
            Err(failure) => {
                slot.rewrite_at = Some(self.now.after(RETRY));
                let cause = self.config.log.words(&failure);
                let trouble = format!("{cause}; its status is out of date until that works");
                self.warn_about(at, Matter::Status, trouble);
                self.table.arm(at); // not touched: this turn has tried
            }
        }
    }

    /// Writes a death to `supervise/death_tally`, where s6's tools look for it. The first one since supervision began
    /// begins anew, as in s6.
    pub(super) fn note_death(&mut self, at: SlotId, exit: Exit, most: u32) {
        let Some(slot) = self.table.get(at).filter(|slot| slot.files.lock.is_some()) else { return };
        let is_first = slot.service.history().begun() <= 1;
        let written = Published::open(slot.home(), "supervise", !slot.files.renames_only).and_then(|mut files| {
            let longest = RECORD * MOST as usize;
            let old = if is_first { Vec::new() } else { files.get("death_tally", longest) };
            files.put("death_tally", &death_tally::with_death(&old, stamp(self.now, self.now), exit, most))
        });
        match (written, self.table.get_mut(at)) {
            (Ok(()), Some(slot)) => _ = slot.warnings.take(Matter::DeathTally),
            (Err(Errno::ENOENT), Some(slot)) if fs::is_removed(&slot.dir) => {} // with all that was in it
            (Err(errno), _) => {
                let cause = self.config.log.words(&Failure { verb: "write", path: "supervise/death_tally", errno });
                self.warn_about(at, Matter::DeathTally, format!("{cause}; this death is not counted"));
            }
            (Ok(()), None) => {}
        }
    }

    /// Whether a service, or that of a logger, is not taken in again.
    pub(super) fn is_removed_or_its_logger(&self, at: SlotId) -> bool {
        self.table.get(at).is_some_and(|slot| match slot.log_pipe {
            LogPipe::Logger { producer, .. } => self.table.get(producer).is_none_or(|service| service.removed),
            LogPipe::Alone | LogPipe::Producer { .. } | LogPipe::Writer { .. } | LogPipe::Shared { .. } => slot.removed,
        })
    }

    /// Does what follows when a service or a logger is over.
    fn remove_if_over(&mut self, at: SlotId) {
        while let Some(removal) = fleet::removal(at, |at| self.table.get(at).map(Slot::member)) {
            match removal {
                Removal::Drain { service, logger } => {
                    self.close_pipe(service);
                    self.apply(logger, Event::Drain);
                    self.publish(logger);
                }
                Removal::Remove { service, logger } => return self.remove(service, logger),
            }
        }
    }

    fn close_pipe(&mut self, producer: SlotId) {
        let pipe = match self.table.get_mut(producer).map(|slot| &mut slot.log_pipe) {
            Some(LogPipe::Producer { pipe, .. }) => pipe.take(),
            Some(LogPipe::Alone | LogPipe::Logger { .. } | LogPipe::Writer { .. } | LogPipe::Shared { .. }) | None => {
                None
            }
        };
        self.table.bury(pipe);
    }

    /// What is left in the pipe of a logger, in bytes.
    pub(super) fn unread(&self, logger: SlotId) -> usize {
        match self.table.get(logger).map(|slot| &slot.log_pipe) {
            Some(LogPipe::Logger { pipe, .. } | LogPipe::Shared { pipe }) => fs::pending(pipe),
            _ => 0,
        }
    }

    /// At the end of all, or of its service.
    pub(super) fn warn_of_unread(&self, logger: SlotId, lost: usize) {
        if lost > 0 && self.config.personality.tells_news {
            self.warn(logger, &format_args!("{lost} bytes were left unread in its pipe, and are lost"));
        }
    }

    fn remove(&mut self, service: SlotId, logger: Option<SlotId>) {
        if let Some(logger) = logger {
            self.warn_of_unread(logger, self.unread(logger));
            self.publish(logger);
            self.tell_listeners_that_it_left(logger);
            self.leave_outputs(logger);
            self.table.remove(logger);
        }
        self.publish(service);
        self.tell_listeners_that_it_left(service);
        self.tell_dependents(service);
        self.links_of_names_changed();
        self.part(service);
        self.leave_outputs(service);
        self.leave_sockets(service);
        if let Some(slot) = self.table.remove(service) {
            let (name, removed) = (slot.name.clone(), slot.removed);
            if self.table.named(&name).is_none() {
                self.forget_links(&name);
            }
            if removed {
                self.hide(&name);
            }
            self.publish_event(EventKind::Removed, Some(&name));
            self.scan.was_let_go(name, removed, self.now);
        }
    }
}

/// When `since` was on the wall clock.
pub(super) fn stamp(since: Mono, now: Mono) -> Tai {
    Tai::after_1970(clock::wall().saturating_sub(now.since(since)))
}

impl Slot {
    /// That it cannot be made is told when there is a death to note.
    pub(super) fn begin_death_tally(&self) {
        if self.files.lock.is_some() {
            let made = Published::open(self.home(), "supervise", !self.files.renames_only);
            let _ = made.and_then(|mut files| files.put("death_tally", b""));
        }
    }
}

/// The same, but what is shown already stays.
fn stamp_of(at: Mono, shown: Mono, shown_as: Tai, now: Mono) -> Tai {
    if at == shown { shown_as } else { stamp(at, now) }
}

/// Writes what can be seen of a service to the files in `supervise`, by `put`. The record is the last of them.
pub(super) fn write(
    format: Format,
    view: &View,
    stamp: Tai,
    extra: &Extra,
    new_pid: bool,
    mut put: impl FnMut(&str, &[u8]) -> Result<(), Errno>,
) -> Result<(), Failure> {
    let mut put = |path: &'static str, content: &[u8]| {
        let name = path.strip_prefix("supervise/").unwrap_or(path);
        put(name, content).map_err(|errno| Failure { verb: "write", path, errno })
    };
    let status = Status::of(view, stamp);
    // For runit, a service that is to leave is not wanted up; nor is a logger that still reads.
    let of_runit = Status { want: if view.leaving { Want::Down } else { view.want }, ..status };
    if let Format::Runit | Format::Universal = format {
        if new_pid {
            put("supervise/pid", pid_line(view.pid).as_bytes())?;
        }
        put("supervise/stat", stat_line(view).as_bytes())?;
    }
    match format {
        Format::Daemontools => put("supervise/status", &status.pack_daemontools()),
        Format::Runit => put("supervise/status", &of_runit.pack_runit()),
        Format::S6 => put("supervise/status", &s6::pack(&status, extra)),
        Format::Universal => put("supervise/status", &s6::pack_universal(&of_runit, extra)),
    }
}
