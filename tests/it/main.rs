//! The integration tests, one binary: each module keeps one family of promises to the user.

// The rules of clippy.toml are for PID 1. A test may wait, look at the clock, start threads and print.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, missing_docs)]

mod any_uid_any_root;
mod api;
mod cgroup;
mod client;
mod conditions;
mod container;
mod crash_and_upgrade;
mod daemons;
mod delegated_supervise;
mod dependencies;
mod dev_tree;
mod differential;
mod directory;
mod entrypoint;
mod environment;
mod examples;
mod exec;
mod faults;
mod images;
mod in_containers;
mod instances;
mod isolation;
mod json_lines;
mod loggers;
mod logs;
mod machine;
mod manual;
mod names;
mod notify;
mod orders;
mod personalities;
mod pid1;
mod probes;
mod proc;
mod ptrace;
mod readiness;
mod restarts;
mod scale;
mod scenario;
mod service_dirs;
mod setup;
mod shared_loggers;
mod shutdown;
mod slow_exec;
mod stopping;
mod svdir;
mod terminal;
mod tidy;
mod tool_differences;
mod until;
mod verbs;
mod watchers;
