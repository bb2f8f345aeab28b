//! Short-lived verbs, and the tools of other projects that onit replaces.
#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
mod arrival;
#[cfg(not(feature = "cli"))]
pub mod bare;
#[cfg(feature = "cli")]
mod changed;
#[cfg(feature = "cli")]
pub mod check;
#[cfg(feature = "cli")]
pub mod completion;
#[cfg(feature = "cli")]
mod connect;
#[cfg(feature = "cli")]
mod detail;
#[cfg(feature = "cli")]
pub mod events;
#[cfg(feature = "cli")]
pub mod exec;
#[cfg(feature = "cli")]
pub mod export;
#[cfg(feature = "cli")]
mod files;
#[cfg(feature = "cli")]
mod format;
#[cfg(feature = "cli")]
pub mod graph;
#[cfg(feature = "cli")]
pub mod health;
#[cfg(feature = "cli")]
mod health_exit;
#[cfg(feature = "cli")]
pub mod history;
#[cfg(feature = "cli")]
pub mod hooks;
#[cfg(feature = "cli")]
pub mod inspect;
#[cfg(feature = "cli")]
pub mod install;
#[cfg(feature = "cli")]
mod leftover;
#[cfg(feature = "cli")]
pub mod lint;
#[cfg(feature = "cli")]
pub mod logger;
#[cfg(feature = "cli")]
pub mod logs;
#[cfg(feature = "cli")]
mod near;
#[cfg(feature = "cli")]
pub mod new;
mod newcomer;
#[cfg(feature = "cli")]
pub mod order;
#[cfg(feature = "cli")]
mod pidns;
#[cfg(feature = "cli")]
pub mod power;
#[cfg(feature = "cli")]
pub mod probe;
#[cfg(feature = "cli")]
pub mod probe_server;
#[cfg(feature = "cli")]
pub mod program;
#[cfg(feature = "cli")]
pub mod rescan;
#[cfg(feature = "cli")]
pub mod restart;
#[cfg(feature = "cli")]
pub mod s6;
#[cfg(feature = "cli")]
pub mod scale;
#[cfg(feature = "cli")]
pub mod states;
#[cfg(feature = "cli")]
pub mod status;
pub mod sv;
pub mod svc;
pub mod svok;
pub mod svstat;
#[cfg(feature = "cli")]
pub mod table;
#[cfg(feature = "cli")]
mod term;
#[cfg(feature = "cli")]
pub mod timer;
#[cfg(feature = "cli")]
pub mod upgrade;
#[cfg(feature = "cli")]
pub mod wait;
#[cfg(feature = "cli")]
mod wait_condition;
