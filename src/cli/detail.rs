//! Everything that is known of one service: what it does, why it is not up, and the last lines of its log.

use super::connect::{Connection, Target, Via};
use super::pidns::{self, Seen};
use super::term::{self, Paint, Tone};
use super::{changed, format, status};
use crate::client::tail::{customary, tail};
use crate::machine::{ServiceState, Want};
use crate::sys::{Errno, fs};
use crate::wire::api::{RunRecord, ServiceStatus};
use crate::wire::tai::Tai;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where the log is, a logger's script says before so many bytes.
const SCRIPT: u64 = 64 * 1024;
/// `@` and what follows it in a line of multilog or svlogd -t.
const LABEL: usize = 25;

/// The lines about this service.
pub fn lines(talk: &mut Connection, target: &Target, service: &ServiceStatus, paint: Paint) -> Vec<String> {
    let lives = match (&target.way, &mut talk.api) {
        (Via::Api, Some(api)) => api.history(&target.name).unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut lines = vec![title(service, paint)];
    let mut say = |name: &str, text: String| {
        lines.push(format!("  {} {text}", paint.tone(Tone::Quiet, &format!("{name:<9}"))));
    };
    if talk.unusual_directory().is_some() {
        say("directory", term::cut(&talk.place(target).display().to_string(), usize::MAX));
    }
    if let Some(pid) = service.pid {
        say("pid", process(pid, pidns::look(talk, target, pid), service.state == ServiceState::Finishing));
    }
    if service.since > 0.0 {
        say("since", format!("{} ({})", format::moment(service.since), format::span(service.seconds)));
    }
    say("want", want(service));
    if let Some(text) = says(service) {
        say("says", term::cut(&text, usize::MAX));
    }
    if let Some(why) = why(service, &lives) {
        say("why", why);
    }
    if let Some(health) = health(service) {
        say("health", health);
    }
    let changed = changed::since_start(service, &talk.place(target));
    if !changed.is_empty() {
        say("changed", format!("{} since its start; \"onit restart\" applies that", changed.join(", ")));
    }
    if service.restarts.is_some() {
        say("restarts", restarts(service));
    }
    if let Some(end) = last_end(service, &lives) {
        say("last end", end);
    }
    if let Some(seconds) = service.next {
        say("next", format!("starts again in {}", format::ahead(seconds)));
    }
    if let Some(trouble) = service.trouble.as_ref().filter(|_| format::is_troubled(service)) {
        say("trouble", paint.tone(Tone::Bad, &term::cut(trouble, usize::MAX)));
    }
    log(talk, target, service, paint, &mut lines);
    lines
}

/// A process with its name, and with what it is called here, if that is something else.
fn process(told: i32, seen: Seen, finishing: bool) -> String {
    let Seen::Here(pid) = seen else {
        let unseen = if seen == Seen::Nowhere { " (not to be seen here: another PID namespace?)" } else { "" };
        return format!("{told}{unseen}");
    };
    let name = term::cut(&crate::sys::process::name(pid), usize::MAX);
    let what = if finishing { "finish" } else { &name };
    let here = elsewhere(told, seen);
    if name.is_empty() { format!("{told}{here}") } else { format!("{told} ({what}){here}") }
}

/// What a process is called here, if that is something else.
fn elsewhere(told: i32, seen: Seen) -> String {
    match seen {
        Seen::Here(pid) if pid.0 != told => format!(", {pid} in our PID namespace"),
        _ => String::new(),
    }
}

fn title(service: &ServiceStatus, paint: Paint) -> String {
    let name = paint.tone(Tone::Strong, &term::cut(&service.name, usize::MAX));
    format!("{name}: {}", paint.tone(status::tone(service), &format::described_state(service)))
}

fn want(service: &ServiceStatus) -> String {
    let mut text = service.want.to_string();
    if service.leaving {
        text.push_str(", and to be left alone");
    }
    text + if service.enabled { "" } else { "; does not start by itself (there is a file \"down\")" }
}

fn health(service: &ServiceStatus) -> Option<String> {
    if let Some(unwell) = format::unwell(service) {
        return Some(unwell);
    }
    let health = service.health.as_ref().map(ToString::to_string);
    Some(match service.health_failures? {
        0 => health?,
        failures => {
            format!("{}; ./health has failed {failures} times in a row", health.as_deref().unwrap_or("not known"))
        }
    })
}

/// What it says of itself.
fn says(service: &ServiceStatus) -> Option<String> {
    let reloads = service.reloading.filter(|reloads| *reloads).map(|_| "reloading".to_owned());
    let error = service.errno.filter(|errno| *errno != 0).map(|errno| Errno::from_raw(errno).desc().to_owned());
    let parts: Vec<String> = [reloads, service.status_text.clone(), error].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn restarts(service: &ServiceStatus) -> String {
    match service.flapping {
        Some(times) => format!("{}; flapping: ended {times} times within a minute", format::restarts(service)),
        None => format::restarts(service),
    }
}

/// Why it is not up, or what the user may want to know of it while it is up.
fn why(service: &ServiceStatus, lives: &[RunRecord]) -> Option<String> {
    let asked = lives.last().is_some_and(|life| life.asked);
    let want = service.want.known();
    Some(match service.state.known()? {
        ServiceState::Up if service.paused => "STOP was sent; \"onit cont\" lets it go on".into(),
        ServiceState::Up if service.ready == Some(false) => "it runs, and has not said that it is ready".into(),
        ServiceState::Up if want == Some(Want::Once) => "it will not be started again when it ends".into(),
        ServiceState::Up if service.ready.is_none() => {
            "it runs; \"onit check\" asks its ./check whether it is available".into()
        }
        ServiceState::Up => return None,
        ServiceState::Setup => "its setup is running, which prepares the start".into(),
        ServiceState::Starting => {
            "it runs, and is not ready yet; or its run is being executed, which a slow file system delays".into()
        }
        ServiceState::Refused => "it is not supervised".into(),
        ServiceState::Unknown => "you may not look at its status".into(),
        ServiceState::Done => "it has done its work, and stays down until it is told \"up\"".into(),
        ServiceState::Waiting => format!("it is {}", format::waiting(service)),
        ServiceState::Skipped => format!("it was {}; \"up\" tries again", format::skipped(service)),
        ServiceState::Failed => "it has failed, and stays down until it is told \"up\"".into(),
        ServiceState::Backoff if format::is_troubled(service) => {
            "it could not be started, and waits for its next start".into()
        }
        ServiceState::Backoff => "it has ended, and waits for its next start".into(),
        ServiceState::Stopping if want == Some(Want::Up) => "it was told to end, and starts again when it has".into(),
        ServiceState::Stopping => "it was told to end, and has not ended yet".into(),
        ServiceState::Finishing => "run has ended, finish cleans up".into(),
        ServiceState::Down => match want {
            Some(Want::Once) => "it ran once and ended".into(),
            Some(Want::Down) if service.leaving => "it was told to leave (exit)".into(),
            Some(Want::Down) if asked || service.exit.is_some() => "it was told to be down".into(),
            Some(Want::Down) if !service.enabled => "there is a file \"down\", and nobody has started it".into(),
            Some(Want::Down) => "it was told to be down before it had started".into(),
            Some(Want::Up) | None => "it is about to be started".into(),
        },
    })
}

fn last_end(service: &ServiceStatus, lives: &[RunRecord]) -> Option<String> {
    let exit = service.exit.as_ref()?;
    let life = lives.iter().rev().find(|life| life.exit.is_some());
    let mut text = format::exit(exit);
    let asked = life.is_some_and(|life| life.asked);
    match format::hint(exit).filter(|_| !asked) {
        Some(hint) => text += &format!(" ({hint})"),
        None if asked => text += ", as it was told",
        None => {}
    }
    if let Some(life) = life {
        text += &format!(", after {}", format::span(life.seconds));
        text += &life.end.map_or(String::new(), |end| format!(", at {}", format::moment(end)));
    }
    Some(text)
}

/// The directory of the logger of a service, and its status, if it has one. It may be a logger itself.
fn logger(
    talk: &mut Connection,
    target: &Target,
    service: Option<&ServiceStatus>,
) -> Option<(PathBuf, Option<(Target, ServiceStatus)>)> {
    let place = talk.place(target);
    if let Some(service) = service.filter(|service| service.logger) {
        return Some((place, Some((target.clone(), service.clone()))));
    }
    if !place.join("log").exists() {
        return None;
    }
    let way = match &target.way {
        Via::Api => Via::Api,
        Via::Files(path) => Via::Files(path.join("log")),
    };
    let target = Target { name: format!("{}/log", target.name), way };
    let logger = talk.look(&target).ok();
    Some((place.join("log"), logger.map(|logger| (target, logger))))
}

/// The process of a logger: where it is, and what its supervisor calls it.
fn process_of(talk: &Connection, logger: Option<&(Target, ServiceStatus)>) -> Option<(Seen, i32)> {
    let (target, logger) = logger?;
    let told = logger.pid?;
    Some((pidns::look(talk, target, told), told))
}

/// The newest file of the log of a service; `None` within if its logger has not made one, or that is not to be seen.
/// `None`: the service has no logger.
pub fn log_file(talk: &mut Connection, target: &Target, service: Option<&ServiceStatus>) -> Option<Option<PathBuf>> {
    let (directory, logger) = logger(talk, target, service)?;
    let process = process_of(talk, logger.as_ref());
    Some(current(&directory, process, talk.is_elsewhere()).or_else(|| plain(&directory, talk.is_elsewhere())))
}

/// The newest file of the log of a service that is the logger of others.
pub fn own_log_file(talk: &mut Connection, target: &Target, service: Option<&ServiceStatus>) -> Option<PathBuf> {
    let logger = service.map(|service| (target.clone(), service.clone()));
    let process = process_of(talk, logger.as_ref());
    let place = talk.place(target);
    current(&place, process, talk.is_elsewhere()).or_else(|| plain(&place, talk.is_elsewhere()))
}

/// A file that a logger appends to, as its `run` names it: `logger /var/log/web.log`, `cat >>../log.txt`.
fn plain(directory: &Path, elsewhere: bool) -> Option<PathBuf> {
    let script = fs::read_regular(&directory.join("run"), SCRIPT).unwrap_or_default();
    let script = String::from_utf8_lossy(&script);
    let words = script.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    let mut files = words.filter_map(|word| {
        let word = word.rsplit(['>', '=']).next()?.trim_matches(['"', '\'']);
        let is_path = word.contains('/') || word.ends_with(".log");
        (is_path && !(elsewhere && word.starts_with('/'))).then(|| directory.join(word))
    });
    let is_executable = |file: &PathBuf| file.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    files.find(|file| file.is_file() && !is_executable(file))
}

/// The logger, and the last lines that it wrote.
fn log(talk: &mut Connection, target: &Target, service: &ServiceStatus, paint: Paint, lines: &mut Vec<String>) {
    let Some((directory, logger)) = logger(talk, target, Some(service)) else { return };
    let heading = |text: String| format!("  {} {text}", paint.tone(Tone::Quiet, &format!("{:<9}", "log")));
    let process = process_of(talk, logger.as_ref());
    if let Some((_, logger)) = logger.as_ref().filter(|_| !service.logger) {
        let pid = process.map_or(String::new(), |(seen, told)| format!(" (pid {told}{})", elsewhere(told, seen)));
        let state = paint.tone(status::tone(logger), &format::described_state(logger));
        let since = if logger.since > 0.0 { format!(" for {}", format::span(logger.seconds)) } else { String::new() };
        lines.push(heading(format!("{state}{pid}{since}")));
    }
    let Some(file) = current(&directory, process, talk.is_elsewhere()) else { return };
    let shown = term::cut(&file.display().to_string(), usize::MAX);
    match tail(&file) {
        Ok(tail) if tail.is_empty() => lines.push(format!("  {shown} is empty")),
        Ok(tail) => {
            lines.push(format!("  {}", paint.tone(Tone::Quiet, &format!("the last of {shown}"))));
            let width = term::width().unwrap_or(usize::MAX);
            lines
                .extend(tail.iter().map(|line| format!("    {}", term::cut(&readable(line), width.saturating_sub(4)))));
        }
        Err(error) => lines.push(format!("  cannot read {shown}: {error}")),
    }
}

/// The file that the logger writes to: the one it holds open, one of those that loggers have by custom, or one in a
/// directory that its `run` names. What it calls `/` is something else to us, if it lives elsewhere.
fn current(directory: &Path, logger: Option<(Seen, i32)>, elsewhere: bool) -> Option<PathBuf> {
    let process = logger.and_then(|(seen, told)| if let Seen::Here(pid) = seen { Some((pid, told)) } else { None });
    let root = match process {
        Some((pid, told)) if pid.0 != told => Some(PathBuf::from(format!("/proc/{pid}/root"))),
        _ => (!elsewhere).then(|| PathBuf::from("/")),
    };
    let theirs = |path: &Path| Some(root.as_ref()?.join(path.strip_prefix("/").ok()?));
    let open = process.and_then(|(pid, _)| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let targets = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        theirs(&targets.filter(|target| target.file_name().is_some_and(|name| name == "current")).min()?)
    });
    let script = fs::read_regular(&directory.join("run"), SCRIPT).unwrap_or_default();
    let script = String::from_utf8_lossy(&script);
    let named = script.split_whitespace().filter_map(|word| {
        let word = Path::new(word.trim_matches(['"', '\'']));
        Some(if word.is_absolute() { theirs(word)? } else { directory.join(word) }.join("current"))
    });
    open.into_iter().chain(customary(directory)).chain(named).find(|file| file.is_file())
}

/// A line with its label as a time, if it has one.
fn readable(line: &str) -> String {
    let bytes = line.get(1..LABEL).filter(|_| line.starts_with('@')).and_then(|label| {
        let pairs = label.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
    });
    match (bytes, line.get(LABEL..)) {
        (Some(bytes), Some(rest)) => {
            let at = Tai::unpack(bytes);
            format!("{}.{:03}{rest}", format::moment(at.unix as f64), at.nanos / 1_000_000)
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Pid;

    #[test]
    fn a_process_has_the_number_that_it_has_here() {
        let us = std::process::id().cast_signed();
        let name = crate::sys::process::name(Pid(us));
        assert_eq!(process(us, Seen::Here(Pid(us)), false), format!("{us} ({name})"));
        assert_eq!(process(7, Seen::Here(Pid(us)), true), format!("7 (finish), {us} in our PID namespace"));
        assert_eq!(process(7, Seen::Probably(Pid(7)), false), "7");
        assert_eq!(process(7, Seen::Nowhere, false), "7 (not to be seen here: another PID namespace?)");
    }

    #[test]
    fn labels_are_shown_as_times() {
        let label = Tai { unix: 1_700_000_000, nanos: 123_456_789 }.pack().map(|byte| format!("{byte:02x}")).concat();
        let line = readable(&format!("@{label} hello"));
        assert!(line.starts_with("2023-11-1") && line.ends_with(".123 hello"), "{line}");
        assert_eq!([readable("@short"), readable("plain"), readable("")], ["@short", "plain", ""]);
        assert_eq!(readable("@zz00000000000000000000zz x"), "@zz00000000000000000000zz x");
    }

    #[test]
    fn the_log_is_found_where_the_logger_says() {
        let root = tempfile::tempdir().expect("a directory");
        let (log, far) = (root.path().join("log"), root.path().join("far"));
        std::fs::create_dir_all(&log).expect("mkdir");
        std::fs::create_dir_all(&far).expect("mkdir");
        assert_eq!(current(&log, None, false), None);
        std::fs::write(log.join("run"), format!("#!/bin/sh\nexec svlogd -tt '{}'\n", far.display())).expect("write");
        assert_eq!(current(&log, None, false), None);
        std::fs::write(far.join("current"), "").expect("write");
        assert_eq!(current(&log, None, false), Some(far.join("current")));
        std::fs::write(log.join("web.log"), "").expect("write");
        assert_eq!(plain(&log, false), None);
        std::fs::write(log.join("run"), "#!/bin/sh\nexec cat >>'./web.log'\n").expect("write");
        assert_eq!(plain(&log, false), Some(log.join("./web.log")));
        std::fs::write(log.join("run"), format!("#!/bin/sh\nexec svlogd -tt '{}'\n", far.display())).expect("write");
        assert_eq!(current(&log, None, true), None, "what it calls so is something else to us");
        let mut logger = std::process::Command::new("sleep").arg("1000").spawn().expect("a process");
        let here = Some((Seen::Here(Pid(logger.id().cast_signed())), 7));
        let root = PathBuf::from(format!("/proc/{}/root", logger.id()));
        let found = current(&log, here, true);
        drop(logger.kill());
        drop(logger.wait());
        assert_eq!(found, Some(root.join(far.strip_prefix("/").unwrap()).join("current")));
        std::fs::create_dir(log.join("main")).expect("mkdir");
        std::fs::write(log.join("main/current"), "").expect("write");
        assert_eq!(current(&log, None, false), Some(log.join("main/current")));
    }
}
