//! PID 1 itself: the only room that changes anything.
//!
//! One turn of the loop, always in this order: deaths, orders, deadlines, the directory, and then what changed is
//! published. Nothing in a turn waits, and each of its parts is bounded.

mod act;
mod adopt;
pub mod api;
mod background;
mod backlog;
pub mod boot;
mod conditions;
pub mod config;
mod door;
pub mod embedded;
#[cfg(feature = "init")]
pub mod entry;
#[cfg(feature = "init")]
pub mod entrypoint;
mod environment;
mod essential;
mod exit_file;
#[cfg(feature = "init")]
pub mod idle;
mod index;
mod initctl;
mod inputs;
mod instances;
mod journal;
mod kill_mode;
mod last;
#[cfg(feature = "init")]
mod launcher;
mod leftovers;
mod links;
mod listeners;
mod loaded;
mod loaders;
mod log;
mod main_log;
mod main_process;
mod mirror;
mod mux;
mod newroot;
mod notice;
mod notify;
mod pending;
pub mod personality;
mod publish;
mod readiness;
mod reexec;
mod report;
mod scan;
mod second;
mod shared_log;
mod sockets;
mod svscan;
mod table;
mod turn;
mod until;
mod warnings;
mod watchdog;

use crate::machine::main_process::{FAULTS, FAULTS_AND_ABRT};
use crate::machine::system::{Conclusion, System};
use crate::machine::{Mono, Pid, Signal};
use crate::sys::cgroup::Group;
use crate::sys::poll::Poller;
use crate::sys::signals::{self, Signals};
use crate::sys::spawn::{self, Spawner};
use crate::sys::{Errno, clock, process};
use api::Api;
use config::{Config, Root};
use initctl::Initctl;
use journal::Journal;
use links::Dependencies;
use loaded::Loaded;
use loaders::LoadersProcess;
use main_process::Main;
use mirror::Mirror;
use mux::Mux;
use notice::Notice;
use pending::PendingChild;
use reexec::Care;
use scan::Scan;
use shared_log::Unread;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use svscan::{SignalsOf, Svscan};
use table::{SlotId, Table};
use watchdog::Watchdog;

/// More than any table of services needs; what it may really have is the kernel's to say.
const OPEN_FILES: u64 = 500_000;

/// A supervisor that can no longer fail.
pub struct Init {
    config: Config,
    signals: Signals,
    poller: Poller,
    children: Children,
    table: Table,
    scan: Scan,
    dependencies: Dependencies,
    /// Services that were taken in, and have not started yet; and whether `log` of each is a link.
    newcomers: Vec<(SlotId, bool)>,
    mux: Mux,
    loaders: LoadersProcess,
    /// By the names of their loggers.
    unread_pipes: BTreeMap<OsString, Unread>,
    mirror: Mirror,
    api: Api,
    system: System,
    /// Services whose status was never written: that waits until everything has started.
    unpublished: VecDeque<SlotId>,
    /// Services with listeners that are not told yet of all.
    telling: BTreeSet<SlotId>,
    main: Main,
    /// Signals for the main process that came before it did.
    early: Vec<Signal>,
    open_files: OpenFiles,
    recovery: AfterFailure,
    /// What is waited for is to be so by then.
    until_at: Option<Mono>,
    /// Read once a turn.
    now: Mono,
    /// That everything has started was told to the manager, if there is one.
    announced: bool,
    /// A line that is to come, for the user at the console or terminal.
    notice: Option<Notice>,
    /// The FIFO for the tools of sysvinit: on a machine only.
    initctl: Option<Initctl>,
    /// On a machine that wants one.
    watchdog: Option<Watchdog>,
    /// For the tools of s6, if they are to have something to speak to.
    svscan: Option<Svscan>,
}

/// Our children, whatever they are for.
struct Children {
    spawner: Spawner,
    /// What they are in, if it is a group of their own.
    group: Option<Group>,
    /// The groups of services with a kill-mode cgroup are in this one, if not in that. The first time it is needed it is
    /// looked for.
    groups: Option<Option<Group>>,
    /// Groups of services that were killed, and are removed when nothing is in them any more.
    old_groups: Vec<String>,
    /// The service that was started last, as long as its program may not have been executed.
    starting: Option<SlotId>,
    /// Children that have not executed their program in time.
    pending: Vec<PendingChild>,
    /// Children whose exec failed and that are not reaped yet.
    dying: Vec<Pid>,
    /// There may be more dead than one turn takes.
    unreaped: bool,
    /// Ends of services handled in this turn.
    ends: usize,
    /// There is none left.
    childless: bool,
    /// Orphans that got the signal that ends them.
    swept: Vec<Pid>,
}

/// The limits of open files.
struct OpenFiles {
    /// That the services get, if it is not ours.
    of_services: Option<libc::rlimit>,
    ours: u64,
}

/// What is left undone, or has to be looked for, because a supervisor before us has failed.
struct AfterFailure {
    /// There is no record of some of the services: they may run, and are known by their status.
    searches: bool,
    /// And the main process may run.
    searches_main: bool,
    /// After too many failures: what is left undone.
    care: Care,
}

impl Init {
    /// Prepares everything that can fail.
    pub fn boot(mut config: Config) -> Result<Init, Errno> {
        let handover = reexec::handover(&mut config);
        let is_successor = handover.is_some();
        let mut spawner = reexec::retry(is_successor, Spawner::new)?;
        let goes_on_after_faults = config.root != Root::Nothing;
        let own_faults = config.main.as_ref().filter(|_| !goes_on_after_faults).map(|main| main.options.own_faults);
        let is_svscan = config.personality.signals_of_s6 == Some(SignalsOf::Svscan); // for which ABRT is an order
        signals::take_as_faults(own_faults.unwrap_or(if is_svscan { FAULTS } else { FAULTS_AND_ABRT }));
        if !goes_on_after_faults {
            signals::let_own_faults_through();
        }
        let (signals, poller) = reexec::retry(is_successor, || {
            let signals = Signals::take_over()?;
            spawn::dump_no_core_in_shared_memory();
            let poller = Poller::new()?;
            poller.add(&signals, turn::Token::Signals.pack())?;
            Ok((signals, poller))
        })?;
        if let Some(launcher) = &config.launcher {
            reexec::retry(is_successor, || poller.add(launcher, turn::Token::Launcher.pack()))?;
        }
        config.watch_application(&poller, is_successor)?;
        if config.personality.owns_descendants && config.main.as_ref().is_none_or(|main| main.options.adopts) {
            process::become_subreaper();
        }
        let open_files = process::raise_open_files(OPEN_FILES);
        let scan = match &config.root {
            Root::Directory(path) => Scan::of(path.clone(), Loaded::of(&config)),
            Root::Service(_) | Root::Nothing => Scan::default(),
        };
        let main = if config.main.is_some() { Main::Waiting } else { Main::None };
        let journal = match &handover {
            Some(handover) => handover.journal,
            None if goes_on_after_faults => Journal::begin(config.log),
            None => Journal::default(), // it would not be read: we do not start again after a fault
        };
        spawner.announce_to(journal.new_child());
        let until_at = config.until_limit.map(|limit| clock::now().after(limit));
        let mut init = Init {
            config,
            signals,
            poller,
            children: Children {
                spawner,
                group: None,
                groups: None,
                old_groups: Vec::new(),
                starting: None,
                pending: Vec::new(),
                dying: Vec::new(),
                ends: 0,
                unreaped: true, // the program that executed us may have left us children
                childless: false,
                swept: Vec::new(),
            },
            table: Table::noted_in(journal),
            scan,
            dependencies: Dependencies::default(),
            newcomers: Vec::new(),
            mux: Mux::default(),
            loaders: LoadersProcess::default(),
            unread_pipes: BTreeMap::new(),
            mirror: Mirror::default(),
            api: Api::default(),
            system: System::UP,
            unpublished: VecDeque::new(),
            telling: BTreeSet::new(),
            main,
            early: Vec::new(),
            open_files: OpenFiles {
                of_services: open_files,
                ours: process::open_files().map_or(u64::MAX, |limit| limit.rlim_cur),
            },
            recovery: AfterFailure { searches: false, searches_main: false, care: Care::None },
            until_at,
            now: clock::now(),
            announced: false,
            notice: None,
            initctl: None,
            watchdog: None,
            svscan: None,
        };
        init.make_group(is_successor);
        match handover {
            Some(handover) => init.restore(handover),
            None if goes_on_after_faults => reexec::arm(journal, &init.config),
            None => {}
        }
        if is_svscan {
            signals::hold_back();
        }
        if init.config.personality.has_svscan && init.config.personality.signals_of_s6.is_none() {
            init.open_svscan(is_successor)?;
        }
        init.show_loaded();
        init.commit();
        Ok(init)
    }

    /// Supervises until told to stop and everything has ended. Returns the exit code.
    pub fn run(self) -> i32 {
        self.run_to_end().code
    }

    /// The same; tells also what is to follow.
    fn run_to_end(mut self) -> Conclusion {
        self.turn_until_over();
        self.close_api();
        self.remove_loaded();
        let mut conclusion = self.system.conclusion();
        conclusion.code = self.last_code().unwrap_or(conclusion.code);
        conclusion
    }

    /// The loop.
    fn turn_until_over(&mut self) {
        while !self.is_over() {
            self.turn();
            self.commit();
        }
    }

    fn is_over(&self) -> bool {
        if self.system.conclusion().immediate {
            return true;
        }
        self.is_nothing_supervised()
            && self.is_mux_over()
            && self.are_loaders_over()
            && (self.children.childless || !self.kills_leftovers())
    }

    fn is_nothing_supervised(&self) -> bool {
        self.table.is_empty() && !self.scan.takes_in() && !self.main.is_to_come_or_here()
    }

    /// Tells the manager that everything that is to start has started.
    fn announce(&mut self) {
        let has_started =
            self.system.is_up() && !self.has_backlog() && !self.awaits_loaders() && self.main != Main::Waiting;
        if has_started && !std::mem::replace(&mut self.announced, true) {
            self.notify_manager("READY=1");
            self.warn_of_unmatched();
            self.begin_notice_of_start();
        }
    }

    fn notify_manager(&self, state: &str) {
        if let Some(manager) = &self.config.manager {
            manager.notify(state);
        }
    }

    fn owner_of(&mut self, pid: Pid) -> Option<SlotId> {
        self.table.disown(pid)
    }
}
