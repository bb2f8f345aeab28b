//! onit: a tiny synchronous PID 1 and service supervisor.
//!
//! The rooms, bottom-up; an arrow never points upwards:
//!
//! - [`exit`]: the exit codes
//! - [`machine`]: the decisions, pure
//! - [`wire`]: bytes and texts of the protocol, pure
//! - [`sys`]: every system call, as small safe verbs
//! - [`init`]: PID 1 itself, the only mutable room
//! - [`client`]: the library: services of any of these supervisors, from any program
//! - [`service_dir`]: service directories as types: written, read, examined
//! - [`cli`]: short-lived verbs

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::todo)
)]

pub mod cli;
pub mod client;
pub mod exit;
pub mod init;
pub mod machine;
pub mod service_dir;
pub mod sys;
pub mod wire;
