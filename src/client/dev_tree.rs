//! A private tree of services for development and tests: no root, nothing installed, nothing left behind.

use super::{Deadline, Error, ErrorKind, Manager, Operation, Result, Service, Status, Until, Watch};
use crate::machine::{Phase, Pid, Signal, Target};
use crate::sys::poll::Poller;
use crate::sys::{clock, fs, process};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long what is stopped at the end of a tree may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What has lived so long is up, and not about to end as soon as it was started.
const STEADY: Duration = Duration::from_secs(1);

/// The program that runs the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scanner {
    /// onit, which is this program: `onit run`.
    Onit(PathBuf),
    /// runit's `runsvdir`, by its path or as `$PATH` has it.
    Runsvdir(PathBuf),
}

/// A tree: service directories in `sv/`, and in `service/` a link to each that is enabled, which is what runs. Dropped,
/// it stops everything and removes itself, also in a panic that unwinds. What is not dropped goes on: a program that is
/// killed, calls `exit` or aborts leaves its tree behind, in the directory that `$TMPDIR` names, else `/tmp`. Where that is
/// mounted `noexec` nothing in it can run.
///
/// ```no_run
/// use onit::client::{DevTree, Operation, Scanner};
/// use onit::service_dir::ServiceBuilder;
/// use std::time::Duration;
///
/// let mut tree = DevTree::create()?;
/// ServiceBuilder::new(["httpd", "-f"]).write(tree.directory("web"))?; // or any directory with a `run`
/// tree.start(Scanner::Onit("onit".into()))?;
/// let web = tree.up("web", Duration::from_secs(5))?;
/// web.perform(Operation::Restart, Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DevTree {
    root: PathBuf,
    running: Option<(Scanner, Child)>,
}

impl DevTree {
    /// A new tree in a fresh directory, which only we may enter, in the usual place for temporary files.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create() -> Result<DevTree> {
        let place = std::env::temp_dir();
        let tree = match fs::make_temporary_dir(&place.join("onit-tree-XXXXXX")) {
            Ok(root) => DevTree { root, running: None },
            Err(errno) => return Err(Error::new(&place, "make a tree", ErrorKind::System(errno as i32))),
        };
        for part in ["sv", "service"] {
            let made = std::fs::create_dir(tree.root.join(part));
            made.map_err(|why| Error::of_io(&tree.root, "make a tree", &why))?;
        }
        Ok(tree)
    }

    /// Where all of it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of services: what `$SVDIR` is for `sv` and onit.
    pub fn services(&self) -> PathBuf {
        self.root.join("service")
    }

    /// The socket of the onit that runs it, for [`Api::connect`](super::api::Api::connect). runsvdir has none.
    pub fn socket(&self) -> PathBuf {
        self.live().join("api")
    }

    fn live(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where the service directory of this name is to be made.
    pub fn directory(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root.join("sv").join(name.as_ref())
    }

    /// The service of this name, enabled or not.
    ///
    /// # Errors
    /// As [`Service::open`].
    pub fn service(&self, name: impl AsRef<OsStr>) -> Result<Service> {
        Service::open(self.directory(name))
    }

    /// Starts the tree; again if the program that ran it has died, and then what that one has left is stopped first.
    /// What it says goes to our standard error; it is not at our terminal's signals.
    ///
    /// # Errors
    /// The program cannot be executed; [`Busy`](ErrorKind::Busy) if the tree runs already.
    pub fn start(&mut self, scanner: Scanner) -> Result<()> {
        if self.pid().is_some() {
            return Err(Error::new(&self.root, "start it", ErrorKind::Busy));
        }
        self.stop(PATIENCE)?; // what one that has died has left
        let (program, words): (&Path, &[&str]) = match &scanner {
            Scanner::Onit(path) => (path, &["run"]),
            Scanner::Runsvdir(path) => (path, &["-P"]),
        };
        let mut command = Command::new(program);
        command.args(words).arg(self.services()).stdin(Stdio::null());
        command.env("ONIT_RUN", self.live()).env_remove("NOTIFY_SOCKET");
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|why| Error::of_io(program, "execute it", &why))?;
        self.running = Some((scanner, child));
        Ok(())
    }

    /// The process that runs the tree.
    pub fn pid(&mut self) -> Option<Pid> {
        let (_, child) = self.running.as_mut()?;
        match child.try_wait() {
            Ok(None) => Some(Pid(child.id().cast_signed())),
            Ok(Some(_)) | Err(_) => None,
        }
    }

    /// Lets a service run from now on, and waits until it has done so for a second. The tree has to be started.
    ///
    /// # Errors
    /// [`Ended`](ErrorKind::Ended) if it has ended within its first second, as one does that is started again and again.
    /// As [`enable`](DevTree::enable) and [`Service::wait`].
    pub fn up(&self, name: impl AsRef<OsStr>, deadline: impl Into<Deadline>) -> Result<Service> {
        let (service, deadline) = (self.enable(name)?, deadline.into());
        let before = service.wait(Until::Supervised, deadline)?;
        let first = service.wait(Until::Started(before), deadline)?;
        stays_up(&service, first, deadline)?;
        Ok(service)
    }

    /// Lets a service run from now on. Returns it at once: it has no supervisor yet, which is an error for all but
    /// [`Until::Supervised`].
    ///
    /// # Errors
    /// As [`service`](DevTree::service), or the link cannot be made.
    pub fn enable(&self, name: impl AsRef<OsStr>) -> Result<Service> {
        let service = self.service(&name)?;
        let target = Path::new("../sv").join(name.as_ref());
        let linked = fs::open_path(&self.services()).and_then(|dir| fs::link(&dir, name.as_ref(), &target));
        linked.map_err(|errno| Error::new(service.path(), "enable it", ErrorKind::System(errno as i32)))?;
        Ok(service)
    }

    /// Stops a service, and does not let it run any more. That it is not enabled is no error.
    ///
    /// # Errors
    /// As [`Service::wait`]; the link cannot be removed.
    pub fn disable(&self, name: impl AsRef<OsStr>, deadline: impl Into<Deadline>) -> Result<()> {
        let service = self.service(&name)?;
        let removed = fs::open_path(&self.services()).and_then(|dir| fs::remove(&dir, name.as_ref()));
        removed.map_err(|errno| Error::new(service.path(), "disable it", ErrorKind::System(errno as i32)))?;
        match service.exit() {
            Err(why) if why.kind() == ErrorKind::NoSupervisor => Ok(()),
            Err(why) => Err(why),
            Ok(()) => service.wait(Until::Gone, deadline).map(drop),
        }
    }

    /// The names of all that are enabled, in alphabetical order.
    ///
    /// # Errors
    /// The directory of services cannot be read.
    pub fn enabled(&self) -> Result<Vec<OsString>> {
        let names = fs::open_path(&self.services()).and_then(fs::names);
        names.map_err(|errno| Error::new(&self.root, "list its services", ErrorKind::System(errno as i32)))
    }

    /// Stops everything in order: all services, then the program that runs them. What remains at the deadline is
    /// killed, and that is an error. If that program has died, its services are told to leave, or killed.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut).
    pub fn stop(&mut self, deadline: impl Into<Deadline>) -> Result<()> {
        let deadline = deadline.into();
        let Some((scanner, mut child)) = self.running.take() else { return Ok(()) };
        let pid = Pid(child.id().cast_signed());
        let signal = match scanner {
            Scanner::Onit(_) => Signal::TERM,
            Scanner::Runsvdir(_) => Signal::HUP, // runit(8): all runsv get TERM
        };
        let runs = matches!(child.try_wait(), Ok(None));
        if runs {
            let _ = process::kill(pid, signal, Target::Process);
        }
        let ended = !runs || ends_by(pid, deadline);
        if !ended {
            let _ = child.kill();
        }
        let _ = child.wait();
        let services = Service::all_in(self.services()).unwrap_or_default();
        if !runs {
            Manager::new(services.clone()).perform(&Operation::Exit, deadline); // they were not told yet
        }
        if !runs || !ended {
            services.iter().for_each(|service| self.kill_orphans(service));
        }
        let outcomes = Manager::new(services).wait(Until::Gone, deadline);
        let remaining: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
        for outcome in &remaining {
            let status = outcome.service.record();
            if let Some(pid) = status.ok().and_then(|status| status.pid) {
                let _ = process::kill(pid, Signal::KILL, Target::Group);
            }
        }
        if ended && remaining.is_empty() { Ok(()) } else { Err(Error::new(&self.root, "stop it", ErrorKind::TimedOut)) }
    }
}

impl Drop for DevTree {
    fn drop(&mut self) {
        let _ = self.stop(PATIENCE);
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl DevTree {
    /// Kills what an onit that was killed has left of a service, and of its logger: whatever the last record names, if it
    /// is still in the tree. Another process may have that number by now.
    fn kill_orphans(&self, service: &Service) {
        for service in [Some(service.clone()), service.logger()].into_iter().flatten() {
            let record = service.record().ok().filter(|_| matches!(service.is_supervised(), Ok(false)));
            let Some(pid) = record.and_then(|record| record.pid) else { continue };
            let place = std::fs::read_link(format!("/proc/{}/cwd", pid.0));
            if place.is_ok_and(|place| place.starts_with(&self.root)) {
                let _ = process::kill(pid, Signal::KILL, Target::Group);
            }
        }
    }
}

/// Waits until the process that this status tells of has lived for a second. It may have ended before anybody looked.
fn stays_up(service: &Service, first: Option<Status>, deadline: Deadline) -> Result<()> {
    let trouble = |kind| Err(Error::new(service.path(), "wait until it is up", kind));
    let Some(first) = first else { return trouble(ErrorKind::NoSupervisor) };
    if first.phase != Phase::Run {
        return trouble(ErrorKind::Ended);
    }
    let lived = first.since.elapsed().unwrap_or_default();
    let steady = Deadline::after(STEADY.saturating_sub(lived));
    let mut watch = Watch::or_look()?;
    watch.add(service)?;
    while let Some(change) = watch.next_by(steady.min(deadline))? {
        match change.new {
            Some(now) if now.phase == Phase::Run && now.pid == first.pid => {}
            Some(_) => return trouble(ErrorKind::Ended),
            None => return trouble(ErrorKind::NoSupervisor),
        }
    }
    if steady.has_passed() { Ok(()) } else { trouble(ErrorKind::TimedOut) }
}

/// Whether a child of ours, which was not waited for, ends in time.
fn ends_by(pid: Pid, deadline: Deadline) -> bool {
    let (Ok(handle), Ok(mut poller)) = (process::handle(pid), Poller::new()) else { return false };
    if poller.add(&handle, 0).is_err() {
        return false;
    }
    loop {
        if poller.wait(clock::now(), deadline.0).count() > 0 {
            return true;
        }
        if deadline.has_passed() {
            return false;
        }
    }
}
