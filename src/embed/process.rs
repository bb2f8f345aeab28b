//! A process, described.

use super::check::{Check, Question};
use super::script::{self, Task};
use super::{HealthPolicy, Readiness, Restart, User};
use crate::service_dir::{Backoff, MaxRestarts, ServiceBuilder};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A life that was ready for this long takes the pause before the next start back to its minimum.
const RESET: Duration = Duration::from_secs(45);
const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(30), reset: RESET };

/// A process to be: what is executed, when it is started again, and how it is known to be well.
#[derive(Clone)]
#[must_use = "nothing runs before Supervisor::start"]
pub struct Process {
    pub(super) name: String,
    pub(super) command: Vec<OsString>,
    pub(super) directory: PathBuf,
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) clear: bool,
    pub(super) user: Option<User>,
    pub(super) detached: bool,
    pub(super) check: Option<Arc<dyn Check>>,
    pub(super) needs: Vec<String>,
    policy: HealthPolicy,
    readiness: Option<Readiness>,
    backoff: Backoff,
    service: ServiceBuilder,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("command", &self.command).finish_non_exhaustive()
    }
}

impl Process {
    /// A process of this name: this program, looked for in `$PATH`, with these arguments. It has to stay in the foreground.
    /// Its name is also that of a directory: not empty, without `/`, not beginning with a dot.
    pub fn new<W: Into<OsString>>(name: impl Into<String>, command: impl IntoIterator<Item = W>) -> Process {
        let command: Vec<OsString> = command.into_iter().map(Into::into).collect();
        Process {
            name: name.into(),
            service: ServiceBuilder::new(command.clone()).private(true),
            command,
            directory: PathBuf::new(),
            environment: BTreeMap::new(),
            clear: false,
            user: None,
            detached: false,
            check: None,
            needs: Vec::new(),
            policy: HealthPolicy::default(),
            readiness: None,
            backoff: BACKOFF,
        }
    }

    /// Its working directory; that of the program, as it is at the start, if none is named.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Process {
        self.directory = directory.into();
        self
    }

    /// Sets a variable in its environment, which is otherwise that of the program.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Process {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// It has only the variables that are set here.
    pub fn clear_env(mut self) -> Process {
        self.clear = true;
        self
    }

    /// The user that it runs as; the program must be root. By name, it is in all groups that the system has that user in.
    pub fn user(mut self, user: impl Into<User>) -> Process {
        self.user = Some(user.into());
        self
    }

    /// Whether it is started again when it has ended; always, if this is not said.
    pub fn restart(self, restart: Restart) -> Process {
        self.with(|service| service.restart(restart))
    }

    /// The pause before it is started again: the first one, and up to which it is doubled each time. 1 to 30 seconds if this
    /// is not said. Each but the first is longer or shorter by up to a tenth.
    pub fn backoff(mut self, pauses: Range<Duration>) -> Process {
        self.backoff = Backoff { min: pauses.start, max: pauses.end, ..self.backoff };
        self
    }

    /// How long it has to be ready for the pause to be the first one again; 45 seconds if this is not said.
    pub fn backoff_reset(mut self, reset: Duration) -> Process {
        self.backoff.reset = reset;
        self
    }

    /// More ends than this, up to 15, in this time, and it has failed: it is not started again until it is told to.
    pub fn max_restarts(self, count: u32, window: Duration) -> Process {
        self.with(|service| service.max_restarts(MaxRestarts { count, window }))
    }

    /// It starts when the process of this name is ready, and is stopped before it.
    pub fn depends_on(mut self, name: impl Into<String>) -> Process {
        self.needs.push(name.into());
        self
    }

    /// What says whether it is ready, and from then on whether it is well.
    pub fn check(mut self, check: impl Check) -> Process {
        self.check = Some(Arc::new(check));
        self
    }

    /// How often the check is asked, and what follows if it fails: every 10 seconds, and a restart after 3 failures in a row,
    /// if this is not said.
    pub fn health_policy(mut self, policy: HealthPolicy) -> Process {
        self.policy = policy;
        self
    }

    /// When it counts as ready, if not by its check: see [`Readiness`].
    pub fn readiness(mut self, readiness: Readiness) -> Process {
        self.readiness = Some(readiness);
        self
    }

    /// It outlives the program: it goes on, and is supervised, until it is told to stop by the verbs of onit or is not to be
    /// started again. What it depends on has to be detached as well.
    pub fn detached(mut self) -> Process {
        self.detached = true;
        self
    }

    /// What else the small files of a service can say: sockets, signals, time limits, conditions. Its command, environment,
    /// directory, user, limits and logger are not taken from there.
    pub fn with(mut self, change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Process {
        self.service = change(self.service);
        self
    }

    /// The description of its directory. `socket` is where the program is asked, `here` its directory.
    pub(super) fn service(&self, socket: &Path, here: &Path) -> ServiceBuilder {
        let process = Process { directory: here.join(&self.directory), ..self.clone() };
        let mut service = self.service.clone().backoff(self.backoff);
        service = service.run_file(script::write(&process, &Task::Become(self.command.clone())));
        for name in &self.needs {
            service = service.depends_on(name);
        }
        if let Some(check) = &self.check {
            let file = script::write(&process, &self.task(check.question(), socket));
            service = service.check(file.clone()).health(file, self.policy);
        }
        let by_check = self.check.as_ref().map(|_| Readiness::Check(None));
        match self.readiness.or(by_check) {
            Some(readiness) => service.readiness(readiness),
            None => service,
        }
    }

    fn task(&self, question: Option<Question>, socket: &Path) -> Task {
        let ask = || Task::Ask { socket: socket.into(), name: self.name.clone().into() };
        question.map_or_else(ask, Task::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_dir::ServiceDir;

    /// What stands in its directory.
    fn files(process: &Process) -> (ServiceDir, tempfile::TempDir) {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("x");
        process.service(Path::new("/questions"), Path::new("/here")).write(&path).expect("written");
        (ServiceDir::read(&path).expect("a directory"), place)
    }

    #[test]
    fn pauses_are_as_they_are_said_and_else_as_they_are_promised() {
        let (read, _place) = files(&Process::new("x", ["x"]));
        let secs = Duration::from_secs;
        assert_eq!(read.settings.backoff, Some(Backoff { min: secs(1), max: secs(30), reset: secs(45) }));
        let process =
            Process::new("x", ["x"]).backoff_reset(secs(7)).backoff(secs(2)..secs(3)).max_restarts(4, secs(60));
        let (read, _place) = files(&process.restart(Restart::Never).depends_on("y"));
        assert_eq!(read.settings.backoff, Some(Backoff { min: secs(2), max: secs(3), reset: secs(7) }));
        assert_eq!(read.settings.max_restarts, Some(MaxRestarts { count: 4, window: secs(60) }));
        assert_eq!((read.settings.restart, read.settings.dependencies), (Some(Restart::Never), vec!["y".into()]));
    }

    #[test]
    fn a_check_says_when_it_is_ready_unless_something_else_does() {
        let (read, _place) = files(&Process::new("x", ["x"]));
        assert!(read.check.is_none() && read.health.is_none() && read.settings.readiness.is_none());
        let (read, _place) = files(&Process::new("x", ["x"]).check(|| true));
        assert!(read.check.is_some() && read.health.is_some());
        assert_eq!(read.settings.readiness, Some(Readiness::Check(None)));
        let (read, _place) = files(&Process::new("x", ["x"]).check(|| true).readiness(Readiness::Notify));
        assert_eq!(read.settings.readiness, Some(Readiness::Notify));
    }

    #[test]
    fn what_else_can_be_said_is_kept() {
        let (read, place) =
            files(&Process::new("x", ["x"]).with(|service| service.timeout_kill(Duration::from_secs(3))));
        assert!(read.settings.timeout_kill.is_some());
        let mode =
            std::fs::metadata(place.path().join("x")).map(|metadata| std::os::unix::fs::MetadataExt::mode(&metadata));
        assert_eq!(mode.expect("its mode") & 0o777, 0o700);
    }
}
