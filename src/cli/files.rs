//! Services through their files: where there is no socket, as with runit, daemontools and s6.

use super::connect::{CliError, is_no_service};
use super::newcomer::is_service;
use crate::client::{self, ErrorKind, Format, Service, Watch};
use crate::exit;
use crate::machine::{Exit, Mono, Phase, ServiceState, Want};
use crate::sys::poll::Poller;
use crate::sys::{Errno, clock, fs};
use crate::wire::api::{ExitRecord, Order, ServiceStatus};
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// What is said of a service that no supervisor looks after.
const NOBODY: &str = "no supervisor looks after it";

/// How often the files are looked at where nothing tells of changes.
const TICK: Duration = Duration::from_millis(100);

/// What the files say of a service. That no supervisor looks after it is an answer, and so is that we may not look.
pub fn look(name: &str, path: &Path) -> Result<ServiceStatus, CliError> {
    match open(name, path)?.status() {
        Ok(status) => Ok(told(name, path, &status)),
        Err(error) => match error.kind() {
            ErrorKind::NoSupervisor => Ok(unsupervised(name, path, NOBODY.into())),
            ErrorKind::NotPermitted => {
                let why = format!("cannot {}: {}", error.operation(), error.why());
                Ok(ServiceStatus { state: ServiceState::Unknown.into(), ..unsupervised(name, path, why) })
            }
            _ => Err(trouble(name, &error)),
        },
    }
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
            let unknown = unsupervised(name, path, text.unwrap_or(trouble.text));
            ServiceStatus { state: ServiceState::Unknown.into(), ready: None, ..unknown }
        })
    };
    let mut found = vec![look(&name, &path)];
    if path.join("log").is_dir() {
        let logger = look(&format!("{name}/log"), &path.join("log"));
        found.push(ServiceStatus { logger: true, ..logger });
    }
    found
}

/// An order.
pub fn order(order: Order, name: &str, path: &Path) -> Result<(), CliError> {
    let service = open(name, path)?;
    let told = match order {
        Order::Up => service.up(),
        Order::Down => service.down(),
        Order::Once => service.once(),
        Order::Restart => service.restart(),
        Order::Exit => service.exit(),
        Order::Pause => service.pause(),
        Order::Cont => service.cont(),
        Order::Term => service.term(),
        Order::Kill => service.kill(),
        Order::Reload => service.reload(),
        Order::Hup => service.hup(),
        Order::Int => service.int(),
        Order::Quit => service.quit(),
        Order::Alrm => service.alrm(),
        Order::Usr1 => service.usr1(),
        Order::Usr2 => service.usr2(),
        Order::Abrt => service.abrt(),
        Order::Winch => service.winch(),
        Order::Enable => switch(name, path, true).map(|()| service.up())?,
        Order::Disable => switch(name, path, false).map(|()| service.down())?,
        Order::Ready | Order::Overlap => {
            let what = if order == Order::Ready { "that it is ready" } else { "to overlap" };
            let why = format!("there are no files by which it could be told {what}; the supervisor itself can");
            return Err(CliError::new(exit::SYSTEM, format!("{name}: {why}")));
        }
    };
    told.map_err(|error| trouble(name, &error))
}

/// Waits until one of these services may have changed or come, the other descriptor has something to say, or the time
/// has come.
pub fn wait_for_change(
    watch: &mut Option<Watch>,
    paths: &[PathBuf],
    other: Option<BorrowedFd<'_>>,
    until: Option<Mono>,
) -> Result<(), CliError> {
    let told = |error: client::Error| CliError::new(exit::SYSTEM, error.to_string());
    let failed = |errno: Errno| CliError::new(exit::SYSTEM, format!("cannot wait: {}", errno.desc()));
    let watch = match watch {
        Some(watch) => watch,
        None => {
            let services: Vec<Service> = paths.iter().map(|path| Service::expected(path)).collect();
            match Watch::new(&services) {
                Err(error) if matches!(error.kind(), ErrorKind::Limit(_)) => return pause(until).map_err(failed),
                new => watch.insert(new.map_err(told)?),
            }
        }
    };
    if watch.try_next().map_err(told)?.is_some() {
        return Ok(());
    }
    let mut poller = Poller::new().map_err(failed)?;
    poller.add(&*watch, 0).map_err(failed)?;
    if let Some(other) = other {
        poller.add(other, 1).map_err(failed)?;
    }
    poller.wait(clock::now(), until).for_each(drop);
    Ok(())
}

/// Waits before the files are looked at again, where nothing can tell of changes.
fn pause(until: Option<Mono>) -> Result<(), Errno> {
    let now = clock::now();
    let left = until.map_or(TICK, |until| until.since(now).min(TICK));
    crate::sys::poll::pause(left)
}

fn open(name: &str, path: &Path) -> Result<Service, CliError> {
    Service::open(path).map_err(|error| match error.kind() {
        ErrorKind::NoService => CliError::unknown(name, path.parent().unwrap_or(path)),
        _ => trouble(name, &error),
    })
}

fn trouble(name: &str, error: &client::Error) -> CliError {
    let code = match error.kind() {
        ErrorKind::NoService => exit::UNKNOWN,
        ErrorKind::NoSupervisor => exit::SYSTEM,
        ErrorKind::TimedOut => exit::LATE,
        _ => exit::FAILED,
    };
    CliError::new(code, format!("{name}: cannot {}: {}", error.operation(), error.why()))
}

/// Makes or removes the file `down`, as onit and s6 do it themselves, and no other supervisor. Only in a service
/// directory: in a directory of services, or any other one that was named by mistake, it would mean nothing.
fn switch(name: &str, path: &Path, enabled: bool) -> Result<(), CliError> {
    if is_no_service(path) {
        return Err(CliError::new(exit::FAILED, format!("{name}: is no service directory: there is no run in it")));
    }
    let done =
        fs::open_path(path).and_then(|dir| if enabled { fs::remove(dir, "down") } else { fs::touch(dir, "down") });
    let verb = if enabled { "remove" } else { "create" };
    done.map_err(|errno| CliError::new(exit::FAILED, format!("{name}: cannot {verb} down: {}", errno.desc())))
}

fn unsupervised(name: &str, path: &Path, why: String) -> ServiceStatus {
    ServiceStatus {
        ready: Some(false),
        enabled: !path.join("down").exists(),
        trouble: Some(why),
        ..ServiceStatus::new(name, ServiceState::Refused, Want::Down)
    }
}

/// The files know less: neither restarts nor what comes next.
fn told(name: &str, path: &Path, status: &client::Status) -> ServiceStatus {
    let state = status.state();
    let want = match (status.want, status.format) {
        (Want::Down, Format::Runit) if state == ServiceState::Up => Want::Once, // runit has no other word for it
        (want, _) => want,
    };
    // s6 calls no service ready that cannot say so.
    let can_say = !matches!(status.format, Format::S6 | Format::S6Long | Format::Universal)
        || path.join("notification-fd").exists();
    let up = status.phase == Phase::Run;
    let ready = (!path.join("check").exists()).then_some(true); // else only that knows
    let exit = status.last_exit.filter(|exit| !up || *exit != Exit::Code(0)); // s6: perhaps none has ended yet
    let since = status.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    ServiceStatus {
        state: state.into(),
        want: want.into(),
        pid: status.pid.map(|pid| pid.0),
        since: since.as_secs_f64(),
        seconds: clock::wall().saturating_sub(since).as_secs_f64(),
        ready: if up { status.ready.filter(|_| can_say).or(ready) } else { Some(false) },
        paused: status.paused && status.pid.is_some(),
        exit: exit.map(ExitRecord::of),
        trouble: None,
        ..unsupervised(name, path, String::new())
    }
}
