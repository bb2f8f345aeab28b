//! A program has its own child processes supervised, without any tool and without a thread that supervises.
//!
//! ```no_run
//! use onit::embed::{self, Process, Restart, Supervisor, Tcp};
//! use std::time::Duration;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     embed::hook(); // first of all
//!     let redis = Process::new("redis", ["redis-server"])
//!         .restart(Restart::Always)
//!         .backoff(Duration::from_secs(2)..Duration::from_secs(30))
//!         .check(Tcp("localhost:6379"));
//!     let supervisor = Supervisor::new().add(redis).start()?;
//!     // … the program itself …
//!     supervisor.shutdown(Duration::from_secs(10))?;
//!     Ok(())
//! }
//! ```
//!
//! What supervises is a process of its own: the same executable once more, which [`hook`] turns into onit. A program that
//! has no hook names an `onit` instead, see [`Supervisor::program`]. So the program's own children, signals and threads
//! stay its own, and a program that waits for any child of its own sees none of these processes. (One that adopts orphans,
//! such as PID 1 of a container, sees the end of the supervisor.)
//!
//! The processes end with the program: they are stopped at once when its process has ended, however it did, when it
//! executes another program, closes all its descriptors, or drops the [`Handle`]. Those that are
//! [detached](Process::detached) go on, and are supervised for as long as one of them is to run.
//! A child that the program forks holds nothing of this. A program that becomes a daemon by forking does so before.
//!
//! What keeps them is a directory of services, which only the user of the program may enter and which is removed at the
//! end: in `$XDG_RUNTIME_DIR`, else in the place for temporary files. Files in it are executed, so it must not be
//! mounted `noexec`; and `/proc` is needed. All verbs of onit work on it, with `SVDIR` set to
//! [its path](Handle::directory).
#![forbid(unsafe_code)]

mod check;
mod handle;
mod hook;
mod metrics;
mod own;
mod process;
mod script;
mod status;
mod supervisor;

pub use check::{Check, Exec, Http, Tcp};
pub use handle::{Events, Handle};
pub use hook::hook;
pub use metrics::Metrics;
pub use process::Process;
pub use status::{ProcessState, ProcessStatus};
pub use supervisor::Supervisor;

#[doc(inline)]
pub use crate::client::api::{Event, EventKind, ExitRecord};
#[doc(inline)]
pub use crate::service_dir::{HealthAction, HealthPolicy, Readiness, Restart, ServiceBuilder, User};
