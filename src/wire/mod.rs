//! Bytes and texts of the protocol, and what they mean. Pure: nothing here opens a file.
#![forbid(unsafe_code)]

pub mod api;
pub mod cgroup;
pub mod control;
pub mod initctl;
pub mod ledger;
pub mod mounts;
pub mod reason;
pub mod status;
pub mod svdir;
pub mod tai;
