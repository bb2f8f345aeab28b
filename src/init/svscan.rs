//! `.s6-svscan` in the directory of services: what `s6-svscanctl` orders, and programs in place of signals. And the
//! signals that `s6-supervise` obeys.

use super::Init;
use super::config::Root;
use super::table::SlotId;
use super::turn::Token;
use crate::machine::s6::{ScanOrder, SuperviseOrder, program_for};
use crate::machine::{Command, Event, Signal, Target};
use crate::sys::fs::Ends;
use crate::sys::poll::Poller;
use crate::sys::spawn::{Exec, Plan};
use crate::sys::{Errno, fs, process};
use crate::wire::journal::{Field, noted_both};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::rc::Rc;

pub(super) const DIRECTORY: &str = ".s6-svscan";
/// Taken in one turn at most, as by s6.
const BYTES: usize = 64;

/// As which of s6's supervisors we take signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalsOf {
    /// `s6-svscan`.
    Svscan,
    /// `s6-supervise`.
    Supervise,
}

/// The directory, as long as it is served.
pub(super) struct Svscan {
    dir: OwnedFd,
    control: OwnedFd,
    /// Never read. It must not be opened a second time, see [`fs::lock`].
    lock: OwnedFd,
    /// Services that are not in the directory are to be ended when that has been looked at.
    ends_inactive: Option<bool>,
}

impl Svscan {
    /// EAGAIN: another supervisor serves it.
    pub(super) fn open(services: &Path, poller: &Poller) -> Result<Svscan, Errno> {
        let services = fs::open_path(services)?;
        let dir = fs::make_dir(&services, OsStr::new(DIRECTORY), 0o700)?;
        let lock = fs::lock(&dir, "lock")?;
        let control = fs::fifo(&dir, "control", Ends::Both)?;
        Svscan::serve([control, lock, dir], poller)
    }

    fn serve([control, lock, dir]: [OwnedFd; 3], poller: &Poller) -> Result<Svscan, Errno> {
        poller.add(&control, Token::Svscan.pack())?;
        Ok(Svscan { dir, control, lock, ends_inactive: None })
    }
}

impl Init {
    /// `s6-svscan` does not start without; we do, and who goes on after a supervisor that had it goes on without.
    pub(super) fn open_svscan(&mut self, is_successor: bool) -> Result<(), Errno> {
        let Root::Directory(services) = &self.config.root else { return Ok(()) };
        if self.svscan.is_some() {
            return Ok(()); // it was left to us
        }
        match Svscan::open(services, &self.poller) {
            Ok(svscan) => self.svscan = Some(svscan),
            Err(errno) if self.config.personality.signals_of_s6.is_some() && !is_successor => return Err(errno),
            Err(errno) => {
                let cause = if errno == Errno::EAGAIN { "is held by another supervisor" } else { errno.desc() };
                let services = services.display();
                self.config.log.warn(
                    None,
                    &format_args!("{services}/{DIRECTORY}: {cause}; going on, out of reach for s6-svscanctl"),
                );
            }
        }
        Ok(())
    }

    pub(super) fn read_svscan(&mut self) {
        for _ in 0..BYTES {
            let journal = self.table.journal;
            let Some(svscan) = self.svscan.as_ref().filter(|_| !journal.has_order()) else { return };
            let byte = journal.take_scan_order(&svscan.control);
            if let Some(byte) = byte {
                self.obey_scan_byte(byte);
            }
            journal.order_is_done();
            if byte.is_none() {
                return;
            }
        }
    }

    pub(super) fn obey_scan_byte(&mut self, byte: u8) {
        match ScanOrder::of_byte(byte) {
            Some(order) => {
                self.obey_scan_order(order);
                self.commit();
            }
            None => {
                let letter = char::from(byte).escape_default();
                self.config.log.warn(None, &format_args!("unknown control command: {letter}"));
            }
        }
    }

    /// An order that was written to it already is not lost with us, nor is the lock.
    pub(super) fn commit_svscan(&self) {
        let [control, lock, dir] = match &self.svscan {
            Some(svscan) => [&svscan.control, &svscan.lock, &svscan.dir].map(|fd| Some(fd.as_raw_fd())),
            None => [None; 3],
        };
        let journal = self.table.journal;
        journal.set(Field::Svscan, noted_both(control, lock));
        journal.set(Field::SvscanDir, noted_both(dir, self.config.console));
    }

    pub(super) fn restore_svscan(&mut self, left: Option<[OwnedFd; 3]>) {
        self.svscan = left.and_then(|left| Svscan::serve(left, &self.poller).ok());
    }

    fn obey_scan_order(&mut self, order: ScanOrder) {
        match order {
            ScanOrder::Reap => self.children.unreaped = true,
            ScanOrder::Rescan => self.rescan(),
            ScanOrder::RescanAndEndInactive => {
                self.rescan();
                self.end_inactive_later(false);
            }
            ScanOrder::EndInactive { loggers } => self.end_inactive_later(loggers),
            ScanOrder::Stop { loggers } => {
                self.stop_once();
                let ended = if loggers { self.table.all() } else { Vec::new() };
                for at in ended {
                    if self.table.get(at).is_some_and(|slot| slot.is_logger()) {
                        self.end_logger(at);
                    }
                }
            }
            ScanOrder::Abort => self.system.ask_for(crate::machine::request::ShutdownAction::Exit, true),
        }
    }

    fn end_logger(&mut self, at: SlotId) {
        self.apply(at, Event::Command(Command::Term));
    }

    fn end_inactive_later(&mut self, loggers: bool) {
        if let Some(svscan) = &mut self.svscan {
            svscan.ends_inactive = Some(svscan.ends_inactive.unwrap_or_default() || loggers);
        }
    }

    /// All names of the directory have been looked at, or none was to be.
    pub(super) fn end_inactive(&mut self) {
        if self.scan.has_backlog() {
            return;
        }
        let Some(loggers) = self.svscan.as_mut().and_then(|svscan| svscan.ends_inactive.take()) else { return };
        for at in self.table.services() {
            if self.table.get(at).is_some_and(|slot| !slot.removed && !self.scan.has(&slot.name, slot.id)) {
                let logger = self.table.get(at).and_then(|slot| slot.logger());
                self.release(at);
                logger.filter(|_| loggers).into_iter().for_each(|logger| self.end_logger(logger));
            }
        }
    }

    /// As which of s6's supervisors we run, that is what a signal means.
    pub(super) fn obey_signal_as_s6(&mut self, whose: SignalsOf, signal: Signal) {
        match whose {
            SignalsOf::Svscan if self.start_in_place_of(signal) => {}
            SignalsOf::Svscan => ScanOrder::of_signal(signal).into_iter().for_each(|order| self.obey_scan_order(order)),
            SignalsOf::Supervise => {
                SuperviseOrder::of_signal(signal).into_iter().for_each(|order| self.obey_supervise_order(order));
            }
        }
    }

    fn obey_supervise_order(&mut self, order: SuperviseOrder) {
        let services = self.table.services();
        match order {
            SuperviseOrder::Stop => self.stop(),
            SuperviseOrder::Leave => {
                self.let_go_of_pipes();
                services.into_iter().for_each(|at| _ = self.apply(at, Event::Command(Command::Exit)))
            }
            SuperviseOrder::Abandon => self.obey_scan_order(ScanOrder::Abort),
            SuperviseOrder::Interrupt => {
                let pids = services.iter().filter_map(|at| self.table.get(*at)?.service.view().pid);
                pids.for_each(|pid| _ = process::kill(pid, Signal::INT, Target::Group)); // or it has ended
                self.obey_scan_order(ScanOrder::Abort);
            }
        }
    }

    /// `s6-supervise` that is to leave keeps no logger waiting that reads from it.
    pub(super) fn let_go_of_pipes(&self) {
        if self.config.personality.signals_of_s6 == Some(SignalsOf::Supervise) {
            let _ = fs::open_null().and_then(process::let_go_of_pipes); // or that logger waits for the end
        }
    }

    /// Whether there is a program in place of what a signal means; then it was started. It is an orphan to us.
    fn start_in_place_of(&mut self, signal: Signal) -> bool {
        let (Some(svscan), Some(name)) = (&self.svscan, program_for(signal)) else { return false };
        if !fs::is_executable(&svscan.dir, name) {
            return false;
        }
        let program = CString::new(format!("{DIRECTORY}/{name}")).unwrap_or_default();
        let argv = [program.as_c_str()];
        let dir = self.scan.dir_path().and_then(|path| fs::open_path(path).ok()).map(Rc::new);
        let plan = Plan { dir: dir.as_ref(), ..Plan::new(&argv) };
        self.wait_for_exec(); // it belongs to the one that was started before
        let started = self.children.spawner.spawn(&plan).map(|_| self.children.spawner.wait_for_exec());
        if let Err(errno) | Ok(Some((_, Exec::Failed(errno)))) = started {
            self.config.log.warn(None, &format_args!("unable to spawn {DIRECTORY}/{name}: {}", errno.desc()));
        }
        true
    }
}
