//! Bytes and texts of the protocol, and what they mean. Pure: nothing here opens a file.
#![forbid(unsafe_code)]

pub mod api;
#[doc(hidden)]
pub mod calendar;
#[doc(hidden)]
pub mod capability;
pub mod cgroup;
pub mod control;
#[doc(hidden)]
pub mod cron;
pub mod death_tally;
#[doc(hidden)]
pub mod env_file;
#[doc(hidden)]
pub mod event;
#[doc(hidden)]
pub mod fifodir;
pub mod godv1;
#[doc(hidden)]
pub mod initctl;
#[doc(hidden)]
pub mod journal;
#[doc(hidden)]
pub mod json;
#[doc(hidden)]
pub mod limit;
#[doc(hidden)]
pub mod log_pattern;
#[doc(hidden)]
pub mod log_script;
#[doc(hidden)]
pub mod log_time;
#[doc(hidden)]
pub mod mounts;
#[doc(hidden)]
pub mod mux;
#[doc(hidden)]
pub mod notify; // wired by the readiness of services next
#[doc(hidden)]
pub mod phrase;
#[doc(hidden)]
pub mod reason;
#[doc(hidden)]
pub mod scheduling;
#[doc(hidden)]
pub mod select;
pub mod settings;
/// The file `sockets`.
pub mod sockets;
#[doc(hidden)]
pub mod stamp;
pub mod status;
pub mod svdir;
#[doc(hidden)]
pub mod svlogd;
pub mod tai;
pub mod watchdog;
mod word;
