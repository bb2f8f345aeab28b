//! Service directories as types: written, read, examined, and told to systemd.
//!
//! - [`ServiceBuilder`] describes a service and writes its directory, for onit, runit, daemontools or s6
//! - [`ServiceDir::read`] takes a directory apart, with everything that is wrong in it as [`Finding`]s
//! - [`lint`] examines directories and what they say of each other
//! - [`systemd`] says the same as a unit
//!
//! Every small file is read by the parsers that PID 1 reads it with: [`crate::wire::svdir`].
//!
//! ```
//! use onit::service_dir::{ServiceBuilder, ServiceDir, Signal, Written};
//!
//! let parent = tempfile::tempdir()?;
//! let web = ServiceBuilder::new(["httpd", "-f"]).env("PORT", "8080").down_signal(Signal::QUIT);
//! assert_eq!(web.write(parent.path().join("web"))?, Written::Created);
//!
//! let read = ServiceDir::read(parent.path().join("web"))?;
//! assert_eq!(read.settings.down_signal, Some(Signal::QUIT));
//! assert!(read.findings.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod builder;
mod finding;
mod known;
pub mod lint;
mod plan;
mod program;
mod read;
mod shell;
#[cfg(feature = "systemd")]
pub mod systemd;
mod write;

pub use builder::{Logger, Resource, Script, ServiceBuilder, User};
pub use finding::{Finding, Severity};
pub use known::Target;
pub use program::Program;
pub use write::{Error, Written};
#[cfg(feature = "cli")]
pub(crate) use {
    known::distance,
    program::{TOOL_MISSING, cause},
    read::NOT_YET,
};

pub use crate::machine::Signal;
pub use crate::machine::policy::Essential;
#[doc(inline)]
pub use crate::wire::svdir::{
    Backoff, Condition, Fact, HealthAction, HealthPolicy, Instances, MaxRestarts, Readiness, Restart,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long something may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// This long, in whole milliseconds: what is left of one counts as one.
    After(Duration),
    /// For ever.
    Never,
}

impl From<Duration> for Limit {
    fn from(time: Duration) -> Limit {
        Limit::After(time)
    }
}

impl From<Option<Duration>> for Limit {
    fn from(limit: Option<Duration>) -> Limit {
        limit.map_or(Limit::Never, Limit::After)
    }
}

impl From<Limit> for Option<Duration> {
    fn from(limit: Limit) -> Option<Duration> {
        match limit {
            Limit::After(time) => Some(time),
            Limit::Never => None,
        }
    }
}

/// What the small files of a service directory say. What a service does not say is `None`, empty or false.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// It is not started by itself (`down`).
    pub down: bool,
    /// Its end stops everything (`essential`).
    pub essential: Option<Essential>,
    /// Whether it is started again (`restart`).
    pub restart: Option<Restart>,
    /// When it is started again (`backoff`).
    pub backoff: Option<Backoff>,
    /// How often it is started again (`max-restarts`).
    pub max_restarts: Option<MaxRestarts>,
    /// When it counts as ready (`readiness`).
    pub readiness: Option<Readiness>,
    /// Where it says that it is ready, s6's way (`notification-fd`).
    pub notification_fd: Option<u32>,
    /// It starts when these are ready, and stops before them (`dependencies.d/`).
    pub dependencies: Vec<OsString>,
    /// It starts when these are ready or have settled (`after.d/`).
    pub after: Vec<OsString>,
    /// It starts only if all of these hold (`condition`).
    pub conditions: Vec<Condition>,
    /// After an order to stop, KILL follows this much later (`timeout-kill`).
    pub timeout_kill: Option<Limit>,
    /// `finish` may take this long (`timeout-finish`).
    pub timeout_finish: Option<Limit>,
    /// It is to be ready within this time (`timeout-up`).
    pub timeout_up: Option<Limit>,
    /// What stops it (`down-signal`).
    pub down_signal: Option<Signal>,
    /// How many of its deaths are remembered (`max-death-tally`).
    pub max_death_tally: Option<u32>,
    /// Which services the template stands for (`instances`).
    pub instances: Option<Instances>,
    /// How `health` is asked (`health-policy`).
    pub health_policy: Option<HealthPolicy>,
}

/// A service directory as it is on disk; see [`ServiceDir::read`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServiceDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its name: the last part of the path.
    pub name: OsString,
    /// The service itself.
    pub run: Option<Program>,
    /// What runs before each `run`.
    pub setup: Option<Program>,
    /// What runs after each end of `run`.
    pub finish: Option<Program>,
    /// What says whether it is available.
    pub check: Option<Program>,
    /// What says whether it is well.
    pub health: Option<Program>,
    /// What runs in place of a signal, by the byte of its command.
    pub control: BTreeMap<char, Program>,
    /// Its logger.
    pub log: Option<Box<ServiceDir>>,
    /// The variables of `env/`; `None` removes one.
    pub environment: BTreeMap<OsString, Option<OsString>>,
    /// What the small files say.
    pub settings: Settings,
    /// What is wrong with all this.
    pub findings: Vec<Finding>,
}
