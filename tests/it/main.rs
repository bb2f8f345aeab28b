//! The integration tests, one binary: each module keeps one family of promises to the user.

// The rules of clippy.toml are for PID 1. A test may wait, look at the clock, start threads and print.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, missing_docs)]

mod anywhere;
mod api;
mod boxes;
mod cgroup;
mod client;
mod container;
mod delegated;
mod differential;
mod directory;
mod entrypoint;
mod examples;
mod exec;
mod faults;
mod images;
mod isolation;
mod json_lines;
mod loggers;
mod machine;
mod manual;
mod names;
mod orders;
mod personalities;
mod pid1;
mod procfs;
mod rescue;
mod scale;
mod scenario;
mod service_dirs;
mod shutdown;
mod svdir;
mod talk;
mod terminal;
mod tidy;
mod traced;
mod trees;
mod verbs;
mod watchers;
