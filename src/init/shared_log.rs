//! A logger of several services: a service of its own, to which those write whose `log` is a link to its directory.
//!
//! Each that writes holds an end of one pipe, so that nothing in it is lost while the logger is not there; the logger
//! itself holds the other end. When everything is to stop, the logger is told by the end of its input, as every logger
//! is; an order to it alone is one like any other.

use super::Init;
use super::config::Root;
use super::log::one_line;
use super::table::{Identity, LogPipe, Slot, SlotId};
use crate::machine::fleet::{InputEnd, input_end};
use crate::machine::{Command, Event, Phase};
use crate::sys::{Errno, fs};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// A pipe whose logger is not there, and who writes to it. Another supervisor does not go on with it.
pub(super) struct Unread {
    pipe: OwnedFd,
    writers: Vec<SlotId>,
}

impl Init {
    /// Whether a `log` that is a link may lead to another service.
    pub(super) fn shares_loggers(&self) -> bool {
        self.config.personality.reads_small_files && matches!(self.config.root, Root::Directory(_))
    }

    /// The service whose directory the `log` of this one is, by a link.
    pub(super) fn shared_logger(&self, at: SlotId, log: &OwnedFd) -> Option<SlotId> {
        let slot = self.table.get(at).filter(|_| self.shares_loggers())?;
        let target = fs::target(&slot.dir, "log")?;
        let dir = fs::identity(log).ok()?;
        let named = target.file_name().and_then(|name| self.table.named(name));
        let is_it = |at: &SlotId| self.table.get(*at).is_some_and(|slot| slot.id.dir == dir);
        named.filter(is_it).or_else(|| self.table.in_dir(Identity::new(dir, None)))
    }

    /// From its next start on a service writes to this one.
    pub(super) fn share(&mut self, at: SlotId, logger: SlotId) -> Result<(), String> {
        let of_pipe = |errno: Errno| format!("cannot create its pipe: {}", errno.desc());
        if at == logger {
            return Err("is a link to the service itself".into());
        }
        let pipe = match self.table.get(logger).map(|slot| &slot.log_pipe) {
            Some(LogPipe::Shared { .. }) => self.another_end(logger).map_err(of_pipe)?,
            Some(LogPipe::Alone) => self.give_input(logger).map_err(of_pipe)?,
            _ => return Err("is a link to a service that has a logger itself".into()),
        };
        if let Some(slot) = self.table.get_mut(at) {
            slot.log_pipe = LogPipe::Writer { logger: Some(logger), pipe };
        }
        Ok(())
    }

    /// Another end to write to, of the pipe that this logger reads.
    fn another_end(&self, logger: SlotId) -> Result<OwnedFd, Errno> {
        let mut ends = self.table.services().into_iter().filter_map(|at| match &self.table.get(at)?.log_pipe {
            LogPipe::Writer { logger: Some(known), pipe } if *known == logger => Some(fs::copy(pipe)),
            _ => None,
        });
        ends.next().unwrap_or(Err(Errno::EPIPE))
    }

    /// The first one writes to this service: it gets a pipe to read. Returns the end to write to.
    fn give_input(&mut self, logger: SlotId) -> Result<OwnedFd, Errno> {
        let slot = self.table.get(logger).ok_or(Errno::ESRCH)?;
        let (runs, is_read) = (slot.service.view(), |pid| self.recovery.searches.then(|| fs::pipe_of(pid)).flatten());
        let in_use = runs.pid.and_then(is_read);
        let starts_anew = runs.phase == Phase::Run && in_use.is_none();
        let (input, output) = in_use.map_or_else(fs::pipe, Ok)?;
        if let Some(slot) = self.table.get_mut(logger) {
            slot.log_pipe = LogPipe::Shared { pipe: input };
        }
        if starts_anew {
            self.warn(logger, &format_args!("another service writes to it from now on; starting it again"));
            self.apply(logger, Event::Command(Command::Term));
        }
        Ok(output)
    }

    /// A service of this name is about to come: what those write that had another one of the name is for it.
    pub(super) fn inherit_input(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let Some(Unread { pipe, writers }) = self.unread_pipes.remove(&slot.name) else { return };
        slot.log_pipe = LogPipe::Shared { pipe };
        for writer in writers {
            if let Some(LogPipe::Writer { logger, .. }) = self.table.get_mut(writer).map(|slot| &mut slot.log_pipe) {
                *logger = Some(at);
            }
        }
    }

    /// A service has gone: it writes to its logger no more, and if others write to it, that waits for its successor.
    pub(super) fn part(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        match std::mem::replace(&mut slot.log_pipe, LogPipe::Alone) {
            LogPipe::Shared { pipe } => self.keep_unread(at, pipe),
            LogPipe::Writer { logger, pipe } => {
                self.table.bury(Some(pipe));
                self.forget_writer(at);
                logger.into_iter().for_each(|logger| self.end_input(logger));
            }
            other => slot.log_pipe = other,
        }
    }

    /// What waits for a logger that is not there is lost with the last one that writes to it.
    fn forget_writer(&mut self, at: SlotId) {
        let log = self.config.log;
        self.unread_pipes.retain(|name, Unread { pipe, writers }| {
            writers.retain(|writer| *writer != at);
            let lost = if writers.is_empty() { fs::pending(&*pipe) } else { 0 };
            if lost > 0 {
                log.warn(Some(name), &format_args!("{lost} bytes were left unread in its pipe, and are lost"));
            }
            !writers.is_empty()
        });
    }

    fn keep_unread(&mut self, at: SlotId, pipe: OwnedFd) {
        let Some(name) = self.table.get(at).map(|slot| slot.name.clone()) else { return };
        let writers = self.writers(at);
        for writer in &writers {
            if let Some(LogPipe::Writer { logger, .. }) = self.table.get_mut(*writer).map(|slot| &mut slot.log_pipe) {
                *logger = None;
            }
        }
        if let Some(writer) = writers.first().and_then(|at| self.table.get(*at)) {
            let line = format!("has gone; {} still writes to it, which waits in the pipe", one_line(&writer.name));
            self.config.log.warn(Some(&name), &line);
            self.unread_pipes.insert(name, Unread { pipe, writers });
        } else {
            self.warn_of_unread(at, fs::pending(&pipe));
            self.table.bury(Some(pipe));
        }
    }

    fn writers(&self, logger: SlotId) -> Vec<SlotId> {
        let writes = |at: &SlotId| match self.table.get(*at).map(|slot| &slot.log_pipe) {
            Some(LogPipe::Writer { logger: known, .. }) => *known == Some(logger),
            _ => false,
        };
        self.table.services().into_iter().filter(writes).collect()
    }

    /// Whether anybody writes to it still, and what follows.
    fn end_input(&mut self, logger: SlotId) {
        let Some(slot) = self.table.get(logger).filter(|slot| matches!(slot.log_pipe, LogPipe::Shared { .. })) else {
            return;
        };
        match input_end(!self.writers(logger).is_empty(), slot.removed) {
            InputEnd::No => {}
            InputEnd::Drain => {
                self.apply(logger, Event::Drain);
                self.publish(logger);
            }
            InputEnd::Close => {
                if let Some(slot) = self.table.get_mut(logger)
                    && let LogPipe::Shared { pipe } = std::mem::replace(&mut slot.log_pipe, LogPipe::Alone)
                {
                    self.table.bury(Some(pipe));
                }
            }
        }
    }

    /// Everything stops: who reads what others write leaves after them.
    pub(super) fn release_in_order(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if matches!(slot.log_pipe, LogPipe::Shared { .. }) {
            slot.removed = true;
            self.end_input(at);
        } else {
            self.release(at);
        }
    }
}

/// A logger knows by a pipe that others write to it, and they know which one it is; or both are services like any other.
pub(super) fn bring_together(slots: &mut BTreeMap<SlotId, Slot>) {
    let is_shared = |slot: Option<&Slot>| slot.is_some_and(|slot| matches!(slot.log_pipe, LogPipe::Shared { .. }));
    let written = slots.iter().filter_map(|(at, slot)| match slot.log_pipe {
        LogPipe::Writer { logger: Some(logger), .. } => Some((*at, logger)),
        _ => None,
    });
    let (met, lost): (Vec<_>, Vec<_>) = written.partition(|(_, logger)| is_shared(slots.get(logger)));
    let unwritten = slots.iter().filter(|(at, slot)| is_shared(Some(slot)) && !met.iter().any(|(_, on)| on == *at));
    let alone: Vec<SlotId> = unwritten.map(|(at, _)| *at).chain(lost.into_iter().map(|(at, _)| at)).collect();
    for at in alone {
        slots.get_mut(&at).into_iter().for_each(|slot| slot.log_pipe = LogPipe::Alone);
    }
}
