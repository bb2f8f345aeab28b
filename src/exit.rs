//! The exit codes: the only numbers the programs end with.

/// All is well.
pub const OK: i32 = 0;
/// The thing asked for did not come about.
pub const FAILED: i32 = 1;
/// Wrong use: unknown word, missing argument (daemontools, runit and s6 agree on this number).
pub const USAGE: i32 = 100;
/// A system call failed (daemontools, runit and s6 agree on this number).
pub const SYSTEM: i32 = 111;
