//! Short-lived verbs.
#![forbid(unsafe_code)]

pub mod export;
pub mod install;
pub mod lint;
pub mod new;
pub mod power;
pub mod upgrade;
