//! From a command line to a supervisor. Read by hand: as PID 1 the kernel decides what our arguments are.

use super::api::Groups;
use super::boot;
use super::config::{Config, Root};
use super::entrypoint::{self, Words};
use super::front::{self, Manner};
use super::voice::{Failure, Voice};
use super::{Init, Refused};
use crate::exit;
use crate::sys::manager::Manager;
use crate::sys::{fs, process, rescue, say::say};
use crate::wire::svdir;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// Where services are looked for when nothing says otherwise.
const SERVICES: &str = "/etc/service";
/// Shorter areas for errors are refused, as runit does.
const LEAST_LOG: usize = 7;

const RUN: &str = "\
usage: onit run [-v] [--log text|json] [--control-group GROUP]
           [--status-group GROUP] [DIR] [[-g] [--rewrite SIGNAL=SIGNAL]...
           [--exit-map CODE=CODE]... -- CMD]";

type Args<'a> = &'a [OsString];

/// `onit run [OPTIONS] [DIR] [-- CMD]`.
pub fn run(args: Args) -> i32 {
    if let [word] = args
        && (word == "-h" || word == "--help")
    {
        return answer(RUN);
    }
    match entrypoint::parse(args) {
        Ok(Words { directory, trace, voice, control_group, status_group, main }) => {
            let directory = directory.or_else(|| std::env::var_os("SVDIR")).unwrap_or_else(|| SERVICES.into());
            let manager = Manager::from_environment();
            let groups = groups(voice, control_group, status_group);
            boot::supervise(Config { trace, voice, groups, main, manager, ..Config::onit(PathBuf::from(directory)) })
        }
        Err(wrong) => {
            say(format_args!("onit: {wrong}"));
            say(RUN);
            exit::USAGE
        }
    }
}

/// `init`, and whatever the kernel says to PID 1.
pub fn init(args: Args) -> i32 {
    let directory = std::env::var_os("SVDIR").unwrap_or_else(|| SERVICES.into());
    let manager = Manager::from_environment();
    let groups = groups(Voice::Onit, None, None);
    boot::init(Config { manager, groups, ..Config::onit(PathBuf::from(directory)) }, args)
}

/// Who may use the api socket, by the options or else by the environment.
fn groups(voice: Voice, control: Option<String>, status: Option<String>) -> Groups {
    let listed = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let find = |word: Option<String>, variable: &str| {
        let word = word.or_else(|| std::env::var(variable).ok()).filter(|word| !word.is_empty())?;
        let group = svdir::group(&word, &listed);
        if group.is_none() {
            voice.complain(None, &format_args!("there is no group {word} in /etc/group; nobody is let in for it"));
        }
        group
    };
    Groups { control: find(control, "ONIT_CONTROL_GROUP"), status: find(status, "ONIT_STATUS_GROUP") }
}

/// Says what was asked for.
pub fn answer(text: &str) -> i32 {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Ok(()) => exit::OK,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => exit::FAILED,
        Err(error) => {
            say(format_args!("onit: cannot write to standard output: {error}"));
            exit::SYSTEM
        }
    }
}

/// `runsvdir [-P] DIR [LOG]`.
pub fn runsvdir(args: Args) -> i32 {
    let (own_session, rest) = match args {
        [flag, rest @ ..] if flag == "-P" => (true, rest),
        [flag, rest @ ..] if flag == "--" => (false, rest),
        rest => (false, rest),
    };
    let (directory, log) = match rest {
        [directory] => (directory, None),
        [directory, log, ..] => (directory, Some(log)),
        [] => {
            say("usage: runsvdir [-P] dir\n");
            return exit::FAILED;
        }
    };
    let log = log.is_some_and(|log| is_log_area(directory, log));
    let config = Config { new_session: own_session, ..Config::runsvdir(PathBuf::from(directory)) };
    let flag = if own_session { "-P" } else { "--" };
    let words = ["onit", "runsvdir", flag].map(OsString::from).into_iter().chain([directory.clone()]).collect();
    supervise_behind_a_front(config, Manner::Runsvdir, directory, log, words)
}

fn is_log_area(directory: &OsStr, log: &OsString) -> bool {
    let enough = log.len() >= LEAST_LOG;
    if !enough {
        let warning = format!("runsvdir {}: warning:", directory.display());
        say(format_args!("{warning} log must have at least seven characters."));
        say(format_args!("{warning} log service disabled."));
    }
    enough
}

/// `svscan [DIR]`.
pub fn svscan(args: Args) -> i32 {
    let directory = args.first().map_or(OsStr::new("."), OsString::as_os_str);
    if let Err(errno) = fs::open_path(directory.as_ref()) {
        let reason = crate::wire::reason::reason(errno as i32);
        say(format_args!("svscan: fatal: unable to chdir to {}: {reason}", directory.display()));
        return exit::SYSTEM;
    }
    let words = vec!["onit".into(), "svscan".into(), directory.to_owned()];
    supervise_behind_a_front(Config::svscan(PathBuf::from(directory)), Manner::Svscan, directory, false, words)
}

/// `runsv DIR`.
pub fn runsv(args: Args) -> i32 {
    let [service] = args else {
        say("usage: runsv dir\n");
        return exit::FAILED;
    };
    supervise_one(Config::runsv(PathBuf::from(service)))
}

/// `supervise DIR`.
pub fn supervise(args: Args) -> i32 {
    let [service, ..] = args else {
        say("supervise: usage: supervise dir");
        return exit::USAGE;
    };
    supervise_one(Config::supervise(PathBuf::from(service)))
}

/// As PID 1 there is nobody to leave behind: the front would take everything with it.
fn supervise_behind_a_front(config: Config, manner: Manner, directory: &OsStr, log: bool, words: Vec<OsString>) -> i32 {
    process::adopt_descriptors();
    let behind = front::behind();
    if behind.is_some() || std::process::id() == 1 || rescue::is_heir() {
        return supervise_all(Config { front: behind, ..config });
    }
    match front::split(manner, directory, log, &words) {
        Ok(front) => supervise_all(Config { front: Some(front), ..config }),
        Err(errno) => {
            say(format_args!("onit: cannot start: {}", errno.desc()));
            exit::SYSTEM
        }
    }
}

/// Supervises what the configuration says.
fn supervise_all(config: Config) -> i32 {
    process::adopt_descriptors();
    match Init::boot(with_budget(config)) {
        Ok(init) => init.run(),
        Err(errno) => {
            say(format_args!("onit: cannot start: {}", errno.desc()));
            exit::SYSTEM
        }
    }
}

/// The configuration with the time that `ONIT_STOP_TIMEOUT` allows.
pub(super) fn with_budget(config: Config) -> Config {
    Config { stop_budget: stop_budget(&config), ..config }
}

/// How long everything may take to end, as `ONIT_STOP_TIMEOUT` says.
fn stop_budget(config: &Config) -> Option<Duration> {
    let Some(text) = std::env::var_os("ONIT_STOP_TIMEOUT").filter(|_| config.native) else { return config.stop_budget };
    let text = text.to_string_lossy();
    svdir::budget(&text).unwrap_or_else(|| {
        let cause = format!("ONIT_STOP_TIMEOUT says {text:?}, which is no time; going by the default of 9s");
        config.voice.complain(None, &cause);
        config.stop_budget
    })
}

fn supervise_one(config: Config) -> i32 {
    process::adopt_descriptors();
    let Root::Service(path) = config.root.clone() else { return exit::USAGE };
    let (voice, name) = (config.voice, path.clone().into_os_string());
    let begun = Init::boot(config)
        .map_err(|errno| Failure { verb: "start", path: "supervising", errno })
        .and_then(|mut init| if init.table.is_empty() { init.adopt_only(&path).map(|()| init) } else { Ok(init) });
    match begun {
        Ok(init) => init.run(),
        Err(failure) => {
            voice.fatal(&name, &failure);
            exit::SYSTEM
        }
    }
}

impl Init {
    /// The one service that is supervised: if it cannot be, that is the end.
    fn adopt_only(&mut self, path: &std::path::Path) -> Result<(), Failure> {
        let unreachable = |errno| Failure { verb: "change to", path: "directory", errno };
        let dir = fs::open_path(path).map_err(unreachable)?;
        let id = fs::identity(&dir).map_err(unreachable)?;
        self.adopt(path.as_os_str().to_os_string(), id, dir).map_err(|Refused { failure, .. }| failure)
    }
}
