//! Short-lived verbs.
#![forbid(unsafe_code)]

pub mod install;
pub mod upgrade;
