//! Services of onit, runit, daemontools and s6, from any program: what they are doing, orders to them, and waiting for
//! what comes of it. All of it goes through the files that these supervisors share, so onit need not run.
//!
//! ```no_run
//! use onit::client::{Operation, Service};
//! use std::time::Duration;
//!
//! let web = Service::named("web")?;
//! println!("{} {:?}", web.status()?.state().word(), web.status()?.pid);
//! web.perform(Operation::Restart, Duration::from_secs(10))?;
//! # Ok::<(), onit::client::Error>(())
//! ```
//!
//! - [`Service`]: one service. [`status`](Service::status), an order for each command and signal, and
//!   [`wait`](Service::wait).
//! - [`Watch`]: what changes, of one or many, one change at a time. For a loop of its own, or the caller's poll loop.
//! - [`Manager`]: one operation on many, some at a time, with one deadline and one result for each.
//! - [`Control`]: what a [`Service`] has in common with a [`Unit`] of systemd.
//! - [`api`]: what only onit's socket knows: the history of a service, events, why it waits.
//! - [`DevTree`]: a private tree of services, for development and tests.
//! - [`Status`]: what a status record says, also without any file.
//!
//! Whose supervisor it is makes no difference but one value, [`Kind`]: what one of them does not understand is an
//! [`Error`], never silence. Nothing here polls (as long as inotify is to be had), starts a thread, or needs a runtime;
//! everything can be sent to another thread, and shared between threads. Orders go to a FIFO; Rust programs ignore
//! SIGPIPE, and a program that has changed that must be prepared for it.
#![forbid(unsafe_code)]

pub mod api;
pub(crate) mod check;
mod control;
mod dev_tree;
mod error;
pub(crate) mod find;
mod kind;
// For the verbs alone.
#[cfg(feature = "cli")]
pub(crate) mod log_files;
#[cfg(feature = "cli")]
mod log_place;
mod manager;
mod service;
#[cfg(feature = "cli")]
pub(crate) mod stream;
#[cfg(feature = "systemd")]
mod systemd;
// For the verbs and helpers alone.
#[cfg(feature = "helpers")]
pub(crate) mod tail;
mod trust;
mod until;
mod watch;

pub use crate::machine::{Command, Exit, Phase, Pid, ServiceState, Signal, Target, UnknownWord, Want};
#[doc(inline)]
pub use crate::wire::status::Bad;
#[doc(inline)]
pub use crate::wire::status::any::{Format, Status};
pub use control::Control;
pub use dev_tree::{DevTree, Scanner};
pub use error::{Cause, Error, ErrorKind, Result};
pub use kind::Kind;
pub use manager::{Manager, Operation, Outcome};
pub use service::Service;
#[cfg(feature = "systemd")]
pub use systemd::{Scope, Unit};
pub use until::{Deadline, Until};
pub use watch::{Change, Watch};
