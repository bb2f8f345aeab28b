//! Short-lived verbs, and the tools of others that onit stands in for.
#![forbid(unsafe_code)]

pub mod export;
mod getopt;
pub mod install;
pub mod lint;
pub mod new;
pub mod power;
mod print;
pub mod sv;
pub mod svc;
pub mod svok;
pub mod svstat;
pub mod upgrade;
