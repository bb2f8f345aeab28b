//! What other programs use to talk to a supervisor.
#![forbid(unsafe_code)]

pub mod api;
