//! Short-lived verbs.
#![forbid(unsafe_code)]

pub mod check;
pub mod completion;
mod detail;
pub mod events;
mod files;
mod find;
mod goal;
pub mod health;
pub mod history;
pub mod inspect;
pub mod install;
pub mod order;
mod paint;
pub mod power;
pub mod status;
pub mod table;
pub mod upgrade;
pub mod wait;
mod words;
