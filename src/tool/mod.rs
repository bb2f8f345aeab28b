//! What the tools of other projects have in common: options as they read them, and their words.
#![forbid(unsafe_code)]

pub mod getopt;
pub mod print;
