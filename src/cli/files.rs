//! Services through their files: where there is no socket, as with runit, daemontools and s6.

use super::find::{Trouble, is_service};
use crate::client::api::Api;
use crate::client::{self, ErrorKind, Service, Watch};
use crate::exit;
use crate::machine::{Mono, Phase, Want};
use crate::sys::poll::Poller;
use crate::sys::{Errno, clock, fs, signals};
use crate::wire::api::{ExitRecord, ServiceStatus};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What a service says that nobody looks after.
const NOBODY: &str = "no supervisor looks after it";

/// What the files say of a service. That nobody supervises it is an answer.
pub fn look(name: &str, path: &Path) -> Result<ServiceStatus, Trouble> {
    let service = open(name, path)?;
    let status = match service.status() {
        Ok(status) => Some(status),
        Err(error) if error.kind() == ErrorKind::NoSupervisor => None,
        Err(error) => return Err(trouble(name, &error)),
    };
    Ok(match status {
        Some(status) => told(name, path, &status),
        None => unsupervised(name, path, NOBODY.into()),
    })
}

/// A service of a directory of services, and its logger.
pub fn pair(directory: &Path, name: &OsStr) -> Vec<ServiceStatus> {
    let path = directory.join(name);
    if !is_service(name) || !path.is_dir() {
        return Vec::new();
    }
    let name = name.to_string_lossy();
    let look = |name: &str, path: &Path| {
        look(name, path).unwrap_or_else(|trouble| {
            let text = trouble.text.strip_prefix(&format!("{name}: ")).map(str::to_owned);
            unsupervised(name, path, text.unwrap_or(trouble.text))
        })
    };
    let mut found = vec![look(&name, &path)];
    if path.join("log").is_dir() {
        let logger = look(&format!("{name}/log"), &path.join("log"));
        found.push(ServiceStatus { logger: true, ..logger });
    }
    found
}

/// An order, by its name in [`crate::wire::api::ORDERS`].
pub fn order(verb: &str, name: &str, path: &Path) -> Result<(), Trouble> {
    let service = open(name, path)?;
    let told = match verb {
        "up" => service.up(),
        "down" => service.down(),
        "once" => service.once(),
        "restart" => service.restart(),
        "exit" => service.exit(),
        "pause" => service.pause(),
        "cont" => service.cont(),
        "term" => service.term(),
        "kill" => service.kill(),
        "reload" | "hup" => service.hup(),
        "int" => service.int(),
        "quit" => service.quit(),
        "alrm" => service.alrm(),
        "usr1" => service.usr1(),
        "usr2" => service.usr2(),
        "abrt" => service.abrt(),
        "winch" => service.winch(),
        "enable" => return switch(name, path, true).and_then(|()| service.up().map_err(|error| trouble(name, &error))),
        "disable" => {
            return switch(name, path, false).and_then(|()| service.down().map_err(|error| trouble(name, &error)));
        }
        _ => return Err(Trouble::new(exit::FAILED, format!("{name}: there is no such order: {verb}"))),
    };
    told.map_err(|error| trouble(name, &error))
}

/// Waits until one of these services may have changed, the socket has something to say, or the time has come.
pub fn wait_for_change(
    watch: &mut Option<Watch>,
    paths: &[PathBuf],
    api: Option<&Api>,
    until: Option<Mono>,
) -> Result<(), Trouble> {
    let told = |error: client::Error| Trouble::new(exit::SYSTEM, error.to_string());
    let failed = |errno: Errno| Trouble::new(exit::SYSTEM, format!("cannot wait: {}", errno.desc()));
    let watch = match watch {
        Some(watch) => watch,
        None => {
            let services: Vec<Service> = paths.iter().filter_map(|path| Service::open(path).ok()).collect();
            watch.insert(Watch::new(&services).map_err(told)?)
        }
    };
    if watch.try_next().map_err(told)?.is_some() {
        return Ok(());
    }
    let mut poller = Poller::new().map_err(failed)?;
    poller.add(&*watch, 0).map_err(failed)?;
    if let Some(api) = api {
        poller.add(api, 1).map_err(failed)?;
    }
    poller.wait(clock::now(), until).for_each(drop);
    Ok(())
}

fn open(name: &str, path: &Path) -> Result<Service, Trouble> {
    Service::open(path).map_err(|error| match error.kind() {
        ErrorKind::NoService => Trouble::unknown(name, path.parent().unwrap_or(path)),
        _ => trouble(name, &error),
    })
}

fn trouble(name: &str, error: &client::Error) -> Trouble {
    let code = match error.kind() {
        ErrorKind::NoService => exit::UNKNOWN,
        ErrorKind::NoSupervisor => exit::SYSTEM,
        ErrorKind::TimedOut => exit::LATE,
        _ => exit::FAILED,
    };
    Trouble::new(code, format!("{name}: cannot {}: {}", error.operation(), error.cause()))
}

/// Makes or removes the file `down`, as onit and s6 do it themselves, and no other supervisor.
fn switch(name: &str, path: &Path, enabled: bool) -> Result<(), Trouble> {
    let done = fs::open_path(path).and_then(|dir| if enabled { fs::remove(dir, "down") } else { fs::touch(dir, "down") });
    let verb = if enabled { "remove" } else { "create" };
    done.map_err(|errno| Trouble::new(exit::FAILED, format!("{name}: cannot {verb} down: {}", errno.desc())))
}

fn unsupervised(name: &str, path: &Path, why: String) -> ServiceStatus {
    ServiceStatus {
        name: name.to_owned(),
        state: "refused".into(),
        want: "down".into(),
        leaving: false,
        pid: None,
        since: 0.0,
        seconds: 0.0,
        ready: false,
        paused: false,
        enabled: !path.join("down").exists(),
        restarts: 0,
        flapping: None,
        exit: None,
        next: None,
        logger: false,
        trouble: Some(why),
    }
}

/// The files know less: neither restarts nor what comes next.
fn told(name: &str, path: &Path, status: &client::Status) -> ServiceStatus {
    let state = match (status.phase, status.want) {
        (Phase::Down, _) if status.failed => "failed",
        (Phase::Down, Want::Up) => "backoff",
        (Phase::Down, Want::Down | Want::Once) => "down",
        (Phase::Run, Want::Up | Want::Once) if !status.got_term => "up",
        (Phase::Run, Want::Down) if !status.got_term => "up",
        (Phase::Run, _) => "stopping",
        (Phase::Finish, _) => "finishing",
    };
    let want = match status.want {
        Want::Up => "up",
        Want::Down if state == "up" => "once", // runit knows no other word for it
        Want::Down => "down",
        Want::Once => "once",
    };
    let since = status.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    ServiceStatus {
        state: state.into(),
        want: want.into(),
        pid: status.pid.map(|pid| pid.0),
        since: since.as_secs_f64(),
        seconds: clock::wall().saturating_sub(since).as_secs_f64(),
        ready: status.ready.unwrap_or(state == "up"),
        paused: status.paused && status.pid.is_some(),
        exit: status.last_exit.map(|exit| ExitRecord::of(exit, signals::name)),
        trouble: None,
        ..unsupervised(name, path, String::new())
    }
}
