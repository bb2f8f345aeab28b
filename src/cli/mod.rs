//! Short-lived verbs, and the tools of others that onit stands in for.
#![forbid(unsafe_code)]

mod arrival;
pub mod check;
pub mod completion;
mod detail;
pub mod events;
pub mod export;
mod files;
mod find;
mod getopt;
pub mod health;
mod here;
pub mod history;
pub mod inspect;
pub mod install;
mod leftover;
pub mod lint;
mod near;
pub mod new;
pub mod order;
mod paint;
pub mod power;
mod print;
pub mod status;
pub mod sv;
pub mod svc;
pub mod svok;
pub mod svstat;
pub mod table;
pub mod upgrade;
pub mod wait;
mod wait_condition;
mod words;
