//! The main process: started when all services are, told what we are told, and with its end everything ends.

use super::Init;
use super::config::Root;
use super::journal::Journal;
use super::log::Failure;
use super::main_log::MainEvent;
use super::reexec::UNKNOWN;
use crate::machine::main_process::{Leads, ends_all};
use crate::machine::{Exit, Pid, Signal, Target};
use crate::sys::foreground::Report as _;
use crate::sys::spawn::{Exec, Spawner};
use crate::sys::{Errno, foreground, process, rescue};
use crate::wire::journal::Field;

/// Where the main process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Main {
    /// There is none.
    None,
    /// The services start first.
    Waiting,
    /// It is being started. The kernel notes its pid.
    Starting,
    /// It runs.
    Here(Pid),
    /// It has ended.
    Ended,
}

impl Main {
    pub(super) fn is(self, pid: Pid) -> bool {
        self == Main::Here(pid)
    }

    pub(super) fn is_here(self) -> bool {
        matches!(self, Main::Here(_))
    }

    pub(super) fn is_to_come_or_here(self) -> bool {
        matches!(self, Main::Waiting | Main::Starting | Main::Here(_))
    }
}

impl Init {
    /// Starts it once every service that is to start has started.
    pub(super) fn start_main(&mut self) {
        if self.main != Main::Waiting
            || self.scan.has_backlog()
            || !self.unpublished.is_empty()
            || self.awaits_loaders()
        {
            return;
        }
        self.look_for_main();
        if self.main != Main::Waiting {
            return;
        }
        self.wait_for_exec();
        self.table.journal.expect_nobody_s_child();
        self.main = Main::Starting;
        self.commit();
        let Some(config) = &self.config.main else { return };
        let plan = foreground::Plan {
            argv: &config.argv,
            descriptors: &config.descriptors,
            leads: config.options.leads,
            leaves_directory: config.options.leaves_directory,
            death_signal: config.death_signal,
            open_files: self.open_files.of_services,
            group: self.children.group.as_ref(),
            exit_codes: config.log.exec_failed_codes(),
        };
        match foreground::start(&plan, &mut self.children.spawner, &config.log) {
            Ok(pid) => {
                self.main = Main::Here(pid);
                self.log_main(MainEvent::Started(pid));
                self.main_started(pid);
                std::mem::take(&mut self.early).into_iter().for_each(|signal| self.forward(signal));
            }
            Err(errno) => {
                let log = self.config.log;
                let cause = log.words(&Failure { verb: "start", path: "the main process", errno });
                log.warn(None, &format_args!("{cause}; stopping everything"));
                self.main_is_over(crate::exit::SYSTEM);
            }
        }
    }

    /// Says how it fared, if that is known before long.
    fn main_started(&mut self, pid: Pid) {
        let waited = self.children.spawner.wait_for_exec();
        if let Some(config) = &self.config.main {
            foreground::report_session(config.options.leads, &config.log);
        }
        if let Some((_, Exec::Failed(errno))) = waited {
            self.main_not_executed(pid, errno);
        }
    }

    fn main_not_executed(&self, pid: Pid, errno: Errno) {
        if let Some(config) = &self.config.main {
            let name = config.argv.first().map_or(c"", |name| name.as_c_str());
            config.log.exec_failed(pid.0.cast_unsigned(), name, errno);
        }
    }

    /// The supervisor before us failed, and may have started it: if there is one child that is not known
    /// otherwise, that is the main process.
    fn find_main(&mut self) -> Option<Pid> {
        let may_run = std::mem::take(&mut self.recovery.searches_main);
        let children = process::children().filter(|_| may_run)?;
        let mut strangers = children.into_iter().filter(|pid| !self.is_known_child(*pid));
        strangers.next().filter(|_| strangers.next().is_none())
    }

    /// Whether we know what this child is for.
    pub(super) fn is_known_child(&self, pid: Pid) -> bool {
        self.table.owns(pid) || self.main.is(pid) || self.scan.is_looker(pid) || self.is_helper(pid)
    }

    pub(super) fn commit_main(&self) {
        let (state, pid) = match self.main {
            Main::None => (0, 0),
            Main::Waiting => (1, 0),
            Main::Here(pid) => (2, pid.0),
            Main::Ended => (3, 0),
            Main::Starting => (4, 0),
        };
        self.table.journal.set(Field::MainPid, u64::from(pid.cast_unsigned()));
        self.table.journal.set(Field::Main, state);
    }

    /// Where it was when the supervisor before us failed.
    pub(super) fn restore_main(&mut self, journal: Journal) {
        let pid = i32::try_from(journal.get(Field::MainPid)).ok().filter(|pid| *pid > 0).map(Pid);
        match (journal.get(Field::Main), pid) {
            _ if self.config.main.is_none() => {}
            (2, Some(pid)) => self.main = Main::Here(pid),
            (3, _) => self.main = Main::Ended,
            // The kernel has noted its pid, unless it has not begun.
            (4, _) => match Spawner::announced(journal.get(Field::NewChild)) {
                Some(pid) => self.main = Main::Here(pid),
                None => self.recovery.searches_main = true,
            },
            _ => {}
        }
    }

    /// The supervisor before us may have started it, or seen its end, and failed before it noted that.
    pub(super) fn look_for_main(&mut self) {
        if let Some(pid) = self.find_main() {
            self.main = Main::Here(pid);
        } else if let Main::Here(pid) = self.main
            && !rescue::is_child(pid)
        {
            self.main_ended(pid, self.table.journal.end().unwrap_or(UNKNOWN));
            self.table.journal.end_is_noted();
        }
    }

    pub(super) fn main_ended(&mut self, pid: Pid, exit: Exit) {
        foreground::take_back_terminal(pid);
        if let Some(errno) = self.children.spawner.ended(pid) {
            self.main_not_executed(pid, errno); // it took its time
        }
        self.log_main(MainEvent::Reaped(pid, exit));
        let code = self.config.main.as_ref().map_or(0, |main| main.options.code(exit));
        let options = self.config.main.as_ref().map(|main| &main.options);
        if let Some(signal) = options.and_then(|options| options.last_signal()) {
            let _ = process::kill(pid, signal, Target::Group);
        }
        let passed = options.and_then(|options| options.forward(Signal::TERM));
        self.log_main(MainEvent::Ended { exit, passed });
        self.main_is_over(code.into());
    }

    fn main_is_over(&mut self, code: i32) {
        self.main = Main::Ended;
        let is_first = self.system.is_up();
        let order = self.system.main_ended(self.now, self.config.stop_budget, code);
        self.commit(); // the next end that is seen takes the place of this one
        match order {
            Some(order) if is_first => {
                self.note_code(code);
                self.begin_stop(order);
            }
            Some(order) => self.follow(order),
            None => {}
        }
    }

    /// What is sent to us is meant for the main process; with services, some of it for all.
    pub(super) fn apply_signal_beside_main(&mut self, signal: Signal) {
        if signal != Signal::CHLD && self.main.is_to_come_or_here() {
            self.log_main(MainEvent::Received(signal));
        }
        if self.main == Main::Waiting && !self.early.contains(&signal) {
            self.early.push(signal);
        }
        self.forward(signal);
        if self.config.root != Root::Nothing && ends_all(signal) {
            if self.main == Main::Waiting {
                self.main = Main::Ended; // it is not started any more
                self.system.conclude(Exit::Signal { signal, core: false }.shell_code().into());
            }
            self.stop();
        }
    }

    /// Everything is to end, and the main process was not told yet. If it was not started, it is not started any
    /// more.
    pub(super) fn stop_main(&mut self) {
        if self.main == Main::Waiting {
            self.main = Main::Ended;
        }
        self.forward(Signal::TERM);
    }

    pub(super) fn forward(&self, signal: Signal) {
        let (Main::Here(pid), Some(config)) = (self.main, &self.config.main) else { return };
        let passed = config.options.forward(signal);
        match passed {
            Some(Signal::CONT) if config.options.leads == Leads::Group => foreground::continue_main(pid),
            Some(signal) => foreground::send_signal(pid, signal, config.options.to),
            None => {}
        }
        self.log_main(MainEvent::Forwarded { signal, passed });
        if config.options.stops_at(signal) {
            self.log_main(MainEvent::Stopping);
            foreground::stop_ourselves();
        }
    }

    /// Says what becomes of the main process, in the words of the tool that we stand in for.
    pub(super) fn log_main(&self, event: MainEvent) {
        if let Some(config) = &self.config.main {
            config.log.log(event, config.argv.first());
        }
    }

    /// A shell that waits for us as a job sees that the main process was stopped, since we stop with it.
    pub(super) fn stop_if_main_has(&self) {
        let (Main::Here(pid), Some(config)) = (self.main, &self.config.main) else { return };
        let Some(signal) = foreground::has_stopped(pid).filter(|signal| config.options.stops_with(*signal)) else {
            return;
        };
        let wants_terminal = [Signal::TTIN, Signal::TTOU].contains(&signal);
        if wants_terminal && foreground::is_in_front() {
            foreground::continue_main(pid); // we were brought to the foreground in the meantime
        } else if wants_terminal || foreground::is_at_terminal(pid) {
            foreground::stop_with_main();
        }
    }

    pub(super) fn kill_main(&mut self) {
        match self.main {
            Main::Here(pid) => {
                self.config.log.warn(None, &format_args!("the main process is still running (pid {pid}); killing it"));
                for to in [Target::Group, Target::Process] {
                    let _ = process::kill(pid, Signal::KILL, to); // it may have left its group
                }
            }
            Main::Waiting => self.main = Main::Ended,
            Main::None | Main::Starting | Main::Ended => {}
        }
    }
}
