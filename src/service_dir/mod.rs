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
pub mod lint;
mod names;
mod plan;
mod program;
mod read;
mod shell;
#[cfg(feature = "systemd")]
pub mod systemd;
mod write;

pub use builder::{Logger, Resource, Script, ServiceBuilder, User};
pub use finding::{Finding, Severity};
pub use program::Program;
pub use write::{Error, Written};
#[cfg(feature = "cli")]
pub(crate) use {
    names::distance,
    program::{TOOL_MISSING, cause},
};

#[doc(inline)]
pub use crate::wire::settings::{Settings, Target};
#[doc(inline)]
pub use crate::wire::sockets::{Internet, Place, Socket, UnixKind};
#[doc(inline)]
pub use crate::wire::svdir::{
    Backoff, Condition, Essential, Fact, HealthAction, HealthPolicy, Instances, KillMode, Limit, MaxRestarts,
    Readiness, Restart, Signal,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

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
    /// `stop`.
    pub stop: Option<Program>,
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
