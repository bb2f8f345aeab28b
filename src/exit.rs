//! The exit codes: the only numbers the programs end with.

/// All is well.
pub const OK: i32 = 0;
/// The thing asked for did not come about.
pub const FAILED: i32 = 1;
/// It does not run: what LSB calls so (only where its codes are asked for).
pub const NOT_RUNNING: i32 = 3;
/// There is no service of that name.
pub const UNKNOWN: i32 = 4;
/// It did not come about in time (s6 has the same number).
pub const LATE: i32 = 99;
/// Wrong use: unknown word, missing argument (daemontools, runit and s6 agree on this number).
pub const USAGE: i32 = 100;
/// A system call failed, or nobody answers (daemontools, runit and s6 agree on this number).
pub const SYSTEM: i32 = 111;
/// A program was found and cannot be executed (env, nice and s6 agree on this number).
pub const NOT_EXECUTABLE: i32 = 126;
/// A program was not found (env, nice and s6 agree on this number).
pub const NOT_FOUND: i32 = 127;
