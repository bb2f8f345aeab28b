//! onit: a tiny synchronous PID 1 and service supervisor, and a library for its services and for those of runit,
//! daemontools and s6. What the program does stands in its README; this is about the library.
//!
//! - [`client`]: what services do, orders to them, and waiting for what comes of it. It goes through the files that all of
//!   these supervisors keep, so onit need not run. Nothing is polled, there is no thread and no runtime.
//! - [`service_dir`]: service directories as types: written, read, examined, told to systemd.
//! - [`loader`]: a program says which jobs it has, and `onit run --loaders` runs them.
//! - `embed` (feature `embed`): a program has its own child processes supervised.
//! - [`wire`]: the formats themselves, as pure functions: status records, control letters, small files, the api socket.
//!
//! Ask a service, order it, wait for it:
//!
//! ```no_run
//! use onit::client::{Operation, Service, Until};
//! use std::time::Duration;
//!
//! # fn main() -> onit::client::Result<()> {
//! let web = Service::named("web")?; // in $SVDIR, else in /etc/service; or a path
//! let status = web.status()?;
//! println!("{}, process {:?}, since {:?}", status.state().word(), status.pid, status.since);
//!
//! web.hup()?; // an order: sent, and not waited for
//! web.perform(Operation::Restart, Duration::from_secs(10))?; // done when another process runs
//! web.wait(Until::Up, Duration::from_secs(5))?; // no order
//! # Ok(()) }
//! ```
//!
//! Hear of every change of all services in a directory:
//!
//! ```no_run
//! use onit::client::{Service, Watch};
//!
//! # fn main() -> onit::client::Result<()> {
//! let services = Service::all_in("/etc/service")?;
//! for change in Watch::new(&services)? {
//!     let change = change?;
//!     println!("{}: {:?}", change.service.name().display(), change.new.map(|status| status.state()));
//! }
//! # Ok(()) }
//! ```
//!
//! Write a service directory, and run it in a tree of its own, as in a test:
//!
//! ```no_run
//! use onit::client::{DevTree, Operation, Scanner};
//! use onit::service_dir::{Logger, ServiceBuilder};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tree = DevTree::create()?; // dropped, it stops everything and removes itself
//! let web = ServiceBuilder::new(["httpd", "-f"]).env("PORT", "8080").logger(Logger::new("main"));
//! web.write(tree.directory("web"))?;
//!
//! tree.start(Scanner::Onit("onit".into()))?; // or runit's runsvdir
//! let web = tree.up("web", Duration::from_secs(5))?;
//! web.perform(Operation::Restart, Duration::from_secs(5))?;
//! # Ok(()) }
//! ```
//!
//! Longer programs are in `examples/` of the repository.
//!
//! Everything else here is the program `onit` and its tests, and may change in any version. Its rooms, bottom-up; an arrow
//! never points upwards: `exit` (the exit codes), `machine` (the decisions, pure), [`wire`] (bytes and texts of the
//! protocol, pure), `sys` (every system call, as small safe verbs), `init` (PID 1 itself, the only mutable room),
//! [`client`], [`service_dir`], [`loader`], `embed`, `tool` (options and words of other projects' tools), `helpers` (loggers
//! and other processes beside services), `cli` (short-lived verbs).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::todo)
)]

#[cfg(feature = "tools")]
#[doc(hidden)]
pub mod cli;
pub mod client;
#[cfg(feature = "embed")]
pub mod embed;
#[doc(hidden)]
pub mod exit;
#[cfg(feature = "helpers")]
#[doc(hidden)]
pub mod helpers;
#[cfg(any(feature = "init", feature = "embed"))]
#[doc(hidden)]
pub mod init;
#[cfg(feature = "loader")]
pub mod loader;
#[doc(hidden)]
pub mod machine;
pub mod service_dir;
#[doc(hidden)]
pub mod sys;
#[cfg(feature = "tools")]
#[doc(hidden)]
pub mod tool;
pub mod wire;
