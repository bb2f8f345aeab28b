//! Short-lived verbs.
#![forbid(unsafe_code)]

pub mod install;
pub mod power;
pub mod upgrade;
