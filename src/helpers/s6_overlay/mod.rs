//! `onit s6-overlay`: the tree of a container made for s6-overlay becomes a directory of services, and this process the
//! supervisor of it.

mod command;
mod container;
mod logutil;
mod scripts;
mod settings;
mod tree;

pub use container::by_name;
pub use logutil::logutil;
pub use tree::is_here;

use crate::exit;
use crate::helpers::s6_rc::{self, FindPlace, our_program, refuse};
use crate::machine::Signal;
use crate::sys::process;
use crate::sys::say::say;
use crate::sys::signals::Signals;
use settings::{OnFailure, Settings};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The word by which onit calls itself for the parts of it.
const STAGE: &str = "s6-overlay-stage";
/// What the supervisor itself needs to end.
const MARGIN: Duration = Duration::from_secs(1);
/// Those that are the end of a container that is not up yet.
const SIGNALS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::QUIT];

/// `onit s6-overlay [CMD...]`, also called as `/init`. Returns only if there is nothing to run, with the exit code.
pub fn run(args: &[OsString], find_place: FindPlace) -> i32 {
    // PID 1 loses a signal that it does not take.
    let signals = match Signals::take_over() {
        Ok(signals) => signals,
        Err(errno) => return refuse(&[format!("s6-overlay: cannot wait for signals: {}", errno.desc())]),
    };
    let (settings, wrong) = Settings::from_environment();
    wrong.iter().for_each(|line| tell(line));
    if let Some(code) = run_hook(&settings, &signals) {
        return code;
    }
    if std::fs::read_dir(tree::ATTRIBUTES).is_ok_and(|mut entries| entries.next().is_some()) {
        tell(&format!("what {} says of owners and modes is ignored", tree::ATTRIBUTES));
    }
    let (place, stop_limit) = match write(&settings, find_place) {
        Ok(written) => written,
        Err(wrong) => return refuse(&wrong),
    };
    change_environment(&place, stop_limit);
    let missing = container::prepare(&our_program(), &place, !settings.keeps_environment);
    if !missing.is_empty() {
        tell(&format!("cannot make what some programs look for: {}", missing.join(", ")));
    }
    if let Some(signal) = std::iter::from_fn(|| signals.next()).find(|it| SIGNALS.contains(it)) {
        return 128 + signal.0;
    }
    s6_rc::supervise(&place, words(&place, args))
}

/// Returns an exit code, if it is the end.
fn run_hook(settings: &Settings, signals: &Signals) -> Option<i32> {
    let text = std::env::var_os("S6_STAGE2_HOOK").filter(|text| !text.is_empty())?;
    match scripts::hook(&text, signals, settings.kill_grace) {
        Ok(told) => told.map(|signal| 128 + signal.0),
        Err(why) => {
            tell(&why);
            (settings.on_failure == OnFailure::Stop).then_some(exit::FAILED)
        }
    }
}

fn tell(line: &str) {
    say(format_args!("onit: s6-overlay: {line}"));
}

/// Returns where the services are, and how long all may take to end.
fn write(settings: &Settings, find_place: FindPlace) -> Result<(PathBuf, Duration), Vec<String>> {
    let stage = [our_program().to_string_lossy().into_owned(), STAGE.to_owned()];
    let limit = u64::try_from(settings.finish_limit.as_millis()).unwrap_or(u64::MAX);
    let (graph, starts) = tree::read(&stage, limit)?;
    let rules =
        s6_rc::Rules { is_strict: settings.on_failure == OnFailure::Stop, grace: Some(settings.services_grace) };
    let place = s6_rc::write(&graph, &starts, rules, find_place).map_err(|why| vec![why])?;
    let stop_limit = graph.time_to_end(&starts).saturating_add(settings.services_grace + settings.kill_grace + MARGIN);
    Ok((place, stop_limit))
}

/// What the supervisor is told beside its directory.
fn words(place: &Path, command: &[OsString]) -> Vec<OsString> {
    let mut words = Vec::new();
    if Path::new(container::EXIT_CODE).exists() {
        words.extend(["--exit-file", container::EXIT_CODE].map(OsString::from));
    }
    if !command.is_empty() {
        let program = our_program().into_os_string();
        words.extend(["--".into(), program, STAGE.into(), "command".into(), place.into()]);
        let front = std::env::var("S6_CMD_ARG0").unwrap_or_default();
        words.extend(front.split_whitespace().map(OsString::from).chain(command.iter().cloned()));
    }
    words
}

/// The three directories that s6-overlay always has in `PATH`; the time for the end of all; and as PID 1 everybody who
/// comes into the container finds us without being told where.
fn change_environment(place: &Path, stop_limit: Duration) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| !dir.as_os_str().is_empty()).collect();
    for dir in ["/usr/bin", "/bin"].map(PathBuf::from) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    if !dirs.iter().any(|dir| dir == Path::new(container::COMMANDS)) {
        dirs.insert(0, container::COMMANDS.into());
    }
    if let Ok(path) = std::env::join_paths(dirs) {
        process::export("PATH", &path);
    }
    let is_unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    if is_unset("ONIT_STOP_TIMEOUT") {
        process::export("ONIT_STOP_TIMEOUT", OsStr::new(&format!("{}ms", stop_limit.as_millis())));
    }
    if let Some(run) = place.parent().filter(|_| std::process::id() == 1 && is_unset("ONIT_RUN")) {
        process::export("ONIT_RUN", run.as_os_str());
    }
}

/// A part of it, in a process of its own.
pub fn stage(args: &[OsString]) -> i32 {
    let (settings, _) = Settings::from_environment();
    match args {
        [word] if word == "init" => scripts::init(&settings),
        [word] if word == "finish" => scripts::finish(),
        [word, place, command @ ..] if word == "command" && !command.is_empty() => {
            command::run(&settings, place.as_ref(), command)
        }
        _ => {
            say("onit: s6-overlay-stage is started by onit s6-overlay");
            exit::USAGE
        }
    }
}
