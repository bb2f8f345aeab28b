//! PID 1 of a machine: brings it up, supervises, takes it down. It never ends.
//!
//! One thing after the other: what the kernel leaves undone, the `boot` script, the services, the `shutdown` script, the
//! rest (in `last`). While a script runs, everything that dies is reaped and every signal is heard. With runit's three
//! stages, and no `boot` script of ours, these are what is run, as runit runs them.

use super::Init;
use super::config::Config;
use super::initctl::Initctl;
use super::log::{Ended, Log, Span};
use super::turn::DEATHS;
use super::watchdog::Watchdog;
use crate::exit;
use crate::machine::request::{InitMode, Request, ShutdownAction, request};
use crate::machine::stage::{self, Next, Order, Part, Stage, Verdict};
use crate::machine::system::Conclusion;
use crate::machine::{Exit, Mono, Pid, Signal, Target, watchdog};
use crate::sys::boot::{self, Terminal};
use crate::sys::poll::Poller;
use crate::sys::signals::Signals;
use crate::sys::wait::{Reaped, reap};
use crate::sys::{Errno, clock, fs, process, rescue, signals};
use crate::wire::svdir;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// Where a machine's own scripts are.
pub(super) const HOME: &str = "/etc/onit";
const RUNIT: &str = "/etc/runit";
/// What the poller knows the descriptors by.
const SIGNALS: u64 = 0;
pub(super) const INITCTL: u64 = 1;
/// What a panic is.
const MISTAKE: &str = "this is a mistake in onit";
/// The files whose modes tell runit what is wanted; the second of each is Debian's place for it.
const STOPIT: [&str; 2] = ["/etc/runit/stopit", "/run/runit.stopit"];
const REBOOT: [&str; 2] = ["/etc/runit/reboot", "/run/runit.reboot"];

/// Supervises as PID 1 of a machine if that is what we are, and as any process otherwise.
pub fn supervise(config: Config) -> i32 {
    match init_mode() {
        InitMode::Machine => HostInit::begin(Words::default(), config.log).run_machine(config),
        mode => supervise_in(mode, config),
    }
}

/// As `init`: the words are the kernel's.
pub fn init(config: Config, words: &[OsString]) -> i32 {
    match init_mode() {
        InitMode::Machine => HostInit::begin(Words::of(words), config.log).run_machine(config),
        mode => supervise_in(mode, config),
    }
}

/// Where we run; signals wait from here on. Only PID 1 of a machine may change what Ctrl-Alt-Del does. `/.dockerenv` and
/// its like are not looked for: disks of machines are made from images of containers.
fn init_mode() -> InitMode {
    let _ = signals::hold_back();
    if std::process::id() != 1 {
        InitMode::Supervisor
    } else if std::env::var_os("container").is_none()
        && boot::is_first_namespace() != Some(false)
        && boot::take_ctrl_alt_del()
    {
        InitMode::Machine
    } else {
        InitMode::Container
    }
}

/// Whether we are PID 1 of a machine. Signals wait from here on.
pub fn is_machine() -> bool {
    init_mode() == InitMode::Machine
}

/// PID 1 of a machine that has nothing more to do must not end: the kernel would panic.
pub fn stay_if_machine(code: i32) -> i32 {
    stay_or_end(Log::Onit, code)
}

/// Refuses a command line. The usage follows, unless the log is JSON, which is for programs.
#[cfg(feature = "init")]
pub(super) fn refuse(log: Log, wrong: &str, usage: &str) -> i32 {
    log.warn(None, &wrong);
    if log != Log::Json {
        crate::sys::say::say(usage);
    }
    stay_or_end(log, exit::USAGE)
}

fn stay_or_end(log: Log, code: i32) -> i32 {
    if std::process::id() != 1 {
        return code;
    }
    match init_mode() {
        InitMode::Machine => HostInit::begin(Words::default(), log).stay(),
        InitMode::Container | InitMode::Supervisor => code,
    }
}

fn supervise_in(mode: InitMode, config: Config) -> i32 {
    process::adopt_descriptors();
    let log = config.log;
    std::panic::set_hook(Box::new(move |mistake| log.warn(None, &format_args!("{MISTAKE}: {mistake}"))));
    let Conclusion { code, action, .. } = match Init::boot(Config { mode, ..config }.with_budget()) {
        Ok(init) => init.run_to_end(),
        Err(errno) => {
            log.warn(None, &format_args!("cannot start: {}", errno.desc()));
            return exit::SYSTEM;
        }
    };
    if action == ShutdownAction::Reboot {
        let errno = boot::reboot(action); // the manager sees an end by SIGHUP
        log.warn(None, &format_args!("cannot reboot this container: {}; ending it", errno.desc()));
    }
    code
}

/// The words of the kernel's command line that it passes on to us. Words that we do not know are for other programs.
#[derive(Clone, Default)]
struct Words {
    all: Vec<OsString>,
    /// A shell before anything is run.
    emergency: bool,
    /// A shell before the services.
    rescue: bool,
}

impl Words {
    fn of(words: &[OsString]) -> Words {
        let one_of = |known: &[&str]| words.iter().any(|word| known.iter().any(|known| word == known));
        let rescue = one_of(&["single", "rescue", "S", "s", "1"]);
        Words { all: words.to_vec(), emergency: one_of(&["emergency", "-b"]), rescue }
    }
}

/// A machine's life, but for the time in which services are supervised.
pub(super) struct HostInit {
    pub(super) log: Log,
    signals: Signals,
    pub(super) poller: Poller,
    pub(super) initctl: Initctl,
    words: Words,
    /// What was asked for.
    pub(super) shutdown_action: Option<ShutdownAction>,
    /// It was asked for since we looked.
    pub(super) asked: bool,
    /// Nothing is to be waited for.
    at_once: bool,
    /// The script that Ctrl-Alt-Del started.
    ctrl_alt_del: Option<Pid>,
    /// runit's stage 2 runs.
    in_runit: bool,
    unreaped: bool,
    pub(super) watchdog: Option<Watchdog>,
}

impl HostInit {
    fn begin(words: Words, log: Log) -> HostInit {
        last_words_of_a_panic(log);
        boot::set_up_process();
        let mounts = boot::EARLY.map(|early| (early.target, boot::mount_missing(&early)));
        boot::make_devices();
        boot::link_descriptors();
        boot::open_console();
        for (target, errno) in mounts.iter().filter_map(|(target, result)| Some((target, result.err()?))) {
            log.warn(None, &format_args!("cannot mount {target}: {}; going on without", errno.desc()));
        }
        process::adopt_descriptors();
        boot::take_keyboard_requests();
        let _ = boot::give_up_input(); // without /dev/null it stays as it is
        set_host_name(log);
        HostInit::again(words, log)
    }

    /// Listens for signals. Nothing works without that, so it is tried for ever.
    fn again(words: Words, log: Log) -> HostInit {
        loop {
            match listen() {
                Ok((signals, poller)) => {
                    return HostInit {
                        log,
                        signals,
                        poller,
                        initctl: Initctl::default(),
                        words,
                        shutdown_action: None,
                        asked: false,
                        at_once: false,
                        ctrl_alt_del: None,
                        in_runit: false,
                        unreaped: true,
                        watchdog: None,
                    };
                }
                Err(errno) => {
                    log.warn(None, &format_args!("cannot listen for signals: {}; trying again", errno.desc()));
                    boot::rest();
                }
            }
        }
    }

    fn run_machine(mut self, config: Config) -> ! {
        if rescue::is_successor() {
            // The supervisor that ran before failed while it was supervising: what comes before that is done.
            self.supervise(config).take_down(is_runit());
        }
        self.watch_initctl();
        self.start_watchdog_early();
        if self.words.emergency {
            self.rescue("asked for at boot");
        }
        let runit = is_runit();
        let (part, script) = if runit { (Part::RunitBoot, in_runit("1")) } else { (Part::Boot, in_home("boot")) };
        if exists(&script) {
            self.bring_up(part, &script);
        }
        if self.words.rescue && self.shutdown_action.is_none() {
            self.rescue("asked for at boot");
        }
        if self.shutdown_action.is_none() {
            self.enter_new_root();
        }
        if runit && exists(&in_runit("2")) {
            self.runit_up();
        } else if self.shutdown_action.is_none() {
            self = self.supervise(config);
        }
        self.take_down(runit)
    }

    fn bring_up(&mut self, part: Part, script: &Path) {
        let verdict = self.run(part, script, &[], self.limit("timeout-boot"));
        match stage::next(part, verdict) {
            Next::Rescue => self.rescue(&trouble(script, verdict)),
            Next::GoOn if verdict != Verdict::Done => {
                self.log.warn(None, &format_args!("{}; going on", trouble(script, verdict)));
            }
            Next::GoOn | Next::Again | Next::Shutdown => {}
        }
    }

    /// A shell on the console, in which the administrator can repair what went wrong.
    pub(super) fn rescue(&mut self, why: &str) {
        self.log.warn(None, &format_args!("{why}; a shell on the console, and when it ends, going on"));
        let own = in_home("rescue");
        let shell = if exists(&own) { own } else { PathBuf::from("/bin/sh") };
        let verdict = self.run(Part::Rescue, &shell, &[], None);
        match verdict {
            Verdict::Failed(Exit::Code(127)) => self.log.warn(None, &"there is no shell; going on"),
            _ => self.log.warn(None, &"the shell has ended; going on"),
        }
    }

    /// The time in which services are supervised.
    fn supervise(self, config: Config) -> HostInit {
        let (words, log) = (self.words.clone(), self.log);
        let (initctl, watchdog) = (self.initctl, self.watchdog);
        drop((self.signals, self.poller)); // the signals that come now wait until the next ones are opened
        let Served { conclusion, initctl, watchdog } =
            match Init::boot(Config { mode: InitMode::Machine, ..config }.with_budget()) {
                Ok(init) => init.run_on_machine(initctl, watchdog),
                Err(errno) => {
                    let mut init = HostInit::again(words, log);
                    (init.initctl, init.watchdog) = (initctl, watchdog);
                    init.watch_initctl();
                    init.rescue(&format!("cannot supervise: {}", errno.desc()));
                    return init;
                }
            };
        rescue::disarm();
        last_words_of_a_panic(log);
        let mut init = HostInit::again(words, log);
        (init.initctl, init.watchdog) = (initctl, watchdog);
        init.watch_initctl();
        init.shutdown_action = Some(conclusion.action);
        init.at_once = conclusion.immediate;
        init
    }

    /// runit's stage 2, as runit treats it.
    fn runit_up(&mut self) {
        let script = in_runit("2");
        self.in_runit = true;
        while self.shutdown_action.is_none() {
            let verdict = self.run(Part::RunitUp, &script, &[], None);
            if stage::next(Part::RunitUp, verdict) != Next::Again {
                break;
            }
            let pause = stage::PAUSE;
            self.log.warn(None, &format_args!("{}; again in {}", trouble(&script, verdict), Span(pause)));
            self.pause(clock::now().after(pause));
        }
        self.in_runit = false;
    }

    fn take_down(mut self, runit: bool) -> ! {
        let action = self.shutdown_action.take();
        let (script, word) = match action {
            _ if runit => (in_runit("3"), None),
            action => (
                in_home("shutdown"),
                Some(action.map_or(ShutdownAction::PowerOff, |action| self.last_action(action)).word()),
            ),
        };
        if runit {
            write_runit_mode(action);
        }
        if exists(&script) && !self.at_once {
            let verdict = self.run(Part::Shutdown, &script, word.as_slice(), self.limit("timeout-shutdown"));
            if !matches!(verdict, Verdict::Done | Verdict::Cut) {
                self.log.warn(None, &format_args!("{}; going on", trouble(&script, verdict)));
            }
        }
        // The last request decides.
        let said = self.shutdown_action.or(action).map(|action| self.last_action(action));
        let action = match said {
            None if runit && any_flag(&REBOOT) => ShutdownAction::Reboot,
            said => said.unwrap_or(ShutdownAction::PowerOff),
        };
        self.end(action)
    }

    // Listening.

    /// Runs a script to its end.
    fn run(&mut self, part: Part, script: &Path, words: &[&str], limit: Option<std::time::Duration>) -> Verdict {
        let terminal = if part == Part::Rescue { Terminal::Own } else { Terminal::Shared };
        let pid = match start(self.log, script, words, terminal) {
            Ok(pid) => pid,
            Err(errno) => {
                self.log.warn(None, &format_args!("cannot start {}: {}", script.display(), errno.desc()));
                return Verdict::Failed(Exit::NOT_RUN);
            }
        };
        let mut stage = Stage::new(clock::now(), limit);
        self.asked = false;
        loop {
            let (dead, now) = self.turn(stage.deadline());
            if let Some((_, exit)) = dead.iter().find(|(dead, _)| *dead == pid) {
                return stage.died(*exit);
            }
            let order = if std::mem::take(&mut self.asked) { Some(stage.cut(now)) } else { stage.tick(now) };
            match order {
                Some(Order::End) => end_script(pid, part),
                Some(Order::Kill) => kill_script(pid),
                None => {}
            }
        }
    }

    /// A time limit in our directory; a file that says none is told of.
    fn limit(&self, name: &str) -> Option<std::time::Duration> {
        let text = fs::open_path(Path::new(HOME)).and_then(|home| fs::read_small(home, name)).ok()??;
        svdir::limit(&text).unwrap_or_else(|| {
            let said = svdir::excerpt(text.trim_end());
            self.log.warn(None, &format_args!("{HOME}/{name} says {said:?}, which is no time; going by none"));
            None
        })
    }

    /// Waits until then, or until a shutdown is asked for.
    pub(super) fn pause(&mut self, until: Mono) {
        while self.shutdown_action.is_none() && clock::now() < until {
            self.turn(Some(until));
        }
    }

    /// Waits for the next thing that happens, at most until then. Returns the children that have ended, and the time.
    pub(super) fn turn(&mut self, deadline: Option<Mono>) -> (Vec<(Pid, Exit)>, Mono) {
        let now = clock::now();
        let deadline = if std::mem::take(&mut self.unreaped) { Some(now) } else { deadline };
        let fed = self.watchdog.as_ref().and_then(|watchdog| watchdog.state.deadline());
        let _ = self.poller.wait(now, deadline.into_iter().chain(fed).min()).count();
        while let Some(signal) = self.signals.next() {
            if let Some(request) = request(InitMode::Machine, signal) {
                self.handle(request);
            }
        }
        for request in self.initctl.read(self.log) {
            self.handle(request);
        }
        let dead = self.reap();
        if self.ctrl_alt_del.take_if(|pid| dead.iter().any(|(dead, _)| dead == pid)).is_some() {
            self.handle(Request::LookAtStopit);
        }
        let now = clock::now();
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.turn(now);
        }
        (dead, now)
    }

    /// Reaps the children that have ended. If there are more than one turn takes, the rest is left for the next turn.
    fn reap(&mut self) -> Vec<(Pid, Exit)> {
        let mut dead = Vec::new();
        for _ in 0..DEATHS {
            match reap(&AtomicU64::new(0)) {
                Reaped::Child(pid, exit) => dead.push((pid, exit)),
                Reaped::Stopped => {}
                Reaped::NoneYet | Reaped::Childless => return dead,
            }
        }
        self.unreaped = true;
        dead
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Shutdown(action) => self.ask(action),
            Request::ShutdownNow(action) => {
                self.at_once = true;
                self.ask(action);
            }
            Request::CtrlAltDel if self.in_runit => self.run_ctrl_alt_del(),
            Request::CtrlAltDel => self.ask(ShutdownAction::Reboot),
            Request::Keyboard => start_keyboard_request(self.log),
            Request::LookAtStopit if self.in_runit && any_flag(&STOPIT) => {
                for path in STOPIT {
                    let _ = boot::set_flag_file(Path::new(path), false); // one of them is there
                }
                self.ask(if any_flag(&REBOOT) { ShutdownAction::Reboot } else { ShutdownAction::PowerOff });
            }
            Request::Rescan => self.watch_initctl(), // the services are not ours
            Request::LookAtStopit => {}              // there is no stage of runit's to end
        }
    }

    fn ask(&mut self, action: ShutdownAction) {
        self.shutdown_action = Some(action);
        self.asked = true;
    }

    /// As runit does: the script says by the file `stopit` whether this is to be a shutdown.
    fn run_ctrl_alt_del(&mut self) {
        let script = in_runit("ctrlaltdel");
        if self.ctrl_alt_del.is_none() && any_flag(&["/etc/runit/ctrlaltdel"]) {
            self.ctrl_alt_del = start(self.log, &script, &[], Terminal::Shared).ok();
        }
    }

    /// What ends this machine when that was asked for.
    pub(super) fn last_action(&self, action: ShutdownAction) -> ShutdownAction {
        watchdog::last_action(action, self.watchdog.as_ref().map(|watchdog| watchdog.state))
    }

    pub(super) fn kernel_words(&self) -> &[OsString] {
        &self.words.all
    }
}

fn listen() -> Result<(Signals, Poller), Errno> {
    let signals = Signals::take_over()?;
    let poller = Poller::new()?;
    poller.add(&signals, SIGNALS)?;
    Ok((signals, poller))
}

/// Starts a script. Its process speaks as we do until it is the script.
fn start(log: Log, script: &Path, words: &[&str], terminal: Terminal) -> Result<Pid, Errno> {
    boot::start(script, words, terminal, &|trouble| log.warn(None, trouble))
}

/// The whole group; a shell at a terminal reacts to HUP only.
fn end_script(pid: Pid, part: Part) {
    let signal = if part == Part::Rescue { Signal::HUP } else { Signal::TERM };
    for signal in [signal, Signal::CONT] {
        let _ = process::kill(pid, signal, Target::Group); // it may just have ended
    }
}

fn kill_script(pid: Pid) {
    for to in [Target::Group, Target::Process] {
        let _ = process::kill(pid, Signal::KILL, to); // it may not lead a group yet
    }
}

fn trouble(script: &Path, verdict: Verdict) -> String {
    match verdict {
        Verdict::Failed(exit) => format!("{} {}", script.display(), Ended(exit)),
        Verdict::Overdue => format!("{} was still running past its time limit and was killed", script.display()),
        Verdict::Done | Verdict::Cut => format!("{} has ended", script.display()),
    }
}

fn in_home(name: &str) -> PathBuf {
    Path::new(HOME).join(name)
}

fn in_runit(name: &str) -> PathBuf {
    Path::new(RUNIT).join(name)
}

fn exists(path: &Path) -> bool {
    path.exists()
}

/// Whether runit's scripts are what this machine has.
fn is_runit() -> bool {
    !exists(&in_home("boot")) && exists(&in_runit("1")) && exists(&in_runit("3"))
}

fn any_flag(paths: &[&str]) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let set = |path: &&str| std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o100 != 0);
    paths.iter().any(set)
}

/// runit's stage 3 looks at the file to know whether this is a reboot, however it was asked for.
fn write_runit_mode(action: Option<ShutdownAction>) {
    let Some(action) = action else { return };
    for path in REBOOT.map(Path::new) {
        let _ = boot::set_flag_file(path, action == ShutdownAction::Reboot && path.exists());
    }
    if action == ShutdownAction::Reboot && !any_flag(&REBOOT) {
        let _ = REBOOT.map(|path| boot::set_flag_file(Path::new(path), true));
    }
}

fn set_host_name(log: Log) {
    let text = fs::open_path(Path::new("/etc")).and_then(|etc| fs::read_small(etc, "hostname")).ok().flatten();
    let name = text.as_deref().and_then(|text| text.lines().map(str::trim).find(|line| !line.starts_with('#')));
    if let Some(name) = name.filter(|name| !name.is_empty())
        && let Err(errno) = boot::set_host_name(name)
    {
        log.warn(None, &format_args!("cannot set the host name to {name}: {}; going on", errno.desc()));
    }
}

/// What the key does is up to the administrator who has installed the script.
fn start_keyboard_request(log: Log) {
    let script = in_home("keyboard-request");
    if exists(&script) {
        let _ = start(log, &script, &[], Terminal::Shared); // says so itself
    }
}

/// The kernel stops when PID 1 does. Should there be a mistake in here, a shell is better than that.
fn last_words_of_a_panic(log: Log) {
    std::panic::set_hook(Box::new(move |mistake| {
        if std::process::id() != 1 {
            return log.warn(None, &format_args!("{MISTAKE}: {mistake}"));
        }
        log.warn(None, &format_args!("{MISTAKE}: {mistake}; a shell on the console instead"));
        HostInit::again(Words::default(), log).stay()
    }));
}

/// What follows when the services have ended, and what goes on.
pub(super) struct Served {
    conclusion: Conclusion,
    initctl: Initctl,
    watchdog: Option<Watchdog>,
}

impl Init {
    pub(super) fn run_on_machine(mut self, initctl: Initctl, watchdog: Option<Watchdog>) -> Served {
        self.watch_initctl(initctl);
        self.take_watchdog(watchdog);
        self.turn_until_over();
        let initctl = self.initctl.unwrap_or_default();
        Served { conclusion: self.system.conclusion(), initctl, watchdog: self.watchdog }
    }

    pub(super) fn apply_signal_on_machine(&mut self, signal: Signal) {
        match request(InitMode::Machine, signal) {
            Some(request) => self.apply_request(request),
            None => self.forward(signal),
        }
    }

    pub(super) fn apply_request(&mut self, request: Request) {
        match request {
            Request::Shutdown(action) => {
                self.system.ask_for(action, false);
                self.forward(Signal::TERM); // to a main process, if there is one
                self.stop();
            }
            Request::ShutdownNow(action) => self.system.ask_for(action, true),
            Request::CtrlAltDel => self.apply_request(Request::Shutdown(ShutdownAction::Reboot)),
            Request::Keyboard => start_keyboard_request(self.config.log),
            Request::Rescan => {
                self.find_initctl();
                self.rescan();
            }
            Request::LookAtStopit => {} // runit's stages are not ours to supervise
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Words;
    use std::ffi::OsString;

    #[test]
    fn of_the_kernel_s_words_few_are_for_us() {
        let words = |text: &str| {
            let words = Words::of(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
            (words.emergency, words.rescue)
        };
        assert_eq!(words("splash nosmt 5 --x=y"), (false, false));
        assert_eq!([words("splash single"), words("1"), words("rescue")], [(false, true); 3]);
        assert_eq!([words("emergency"), words("-b x")], [(true, false); 2]);
    }
}
