//! The processes of a service, as they are numbered where we are. A supervisor may live in a PID namespace of its own, and
//! what it calls 7 is another process here, if it is one at all.

use super::connect::{CliError, Connection, Target, Via};
use crate::exit;
use crate::machine::Pid;
use crate::sys::fs::FileId;
use crate::sys::process;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What it takes to look into a process of another user, as root too: a container often has it not.
pub const LACKS_PTRACE: &str =
    ": that takes CAP_SYS_PTRACE, which you have not (docker: --cap-add SYS_PTRACE), or its own user";

/// A process that a supervisor tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// This one in our own `/proc`.
    Here(Pid),
    /// It has the same number here, as far as can be told; what is in `/proc` under that number may be another one.
    Probably(Pid),
    /// It is not to be seen from here: it has ended, or lives in another PID namespace.
    Nowhere,
}

/// Where the process is that the supervisor of this service calls `told`.
pub fn look(talk: &Connection, target: &Target, told: i32) -> Seen {
    let told = Pid(told);
    match &target.way {
        Via::Api => {
            let supervisor = talk.supervisor();
            let found = process::known_as(told).find(|(_, parent)| Some(*parent) == supervisor);
            match found {
                Some((pid, _)) => Seen::Here(pid),
                None if talk.is_elsewhere() => Seen::Nowhere,
                None => Seen::Probably(told),
            }
        }
        Via::Files(path) => by_lock(path, told),
    }
}

/// The supervisor holds the lock of the service open, and is the parent of what runs.
fn by_lock(path: &Path, told: Pid) -> Seen {
    let Ok(lock) = std::fs::metadata(path.join("supervise/lock")) else { return Seen::Probably(told) };
    let lock = FileId { device: lock.dev(), inode: lock.ino() };
    let mut otherwise = if process::sees_ours() { Seen::Nowhere } else { Seen::Probably(told) };
    for (pid, parent) in process::known_as(told) {
        match process::holds(parent, lock) {
            Some(true) => return Seen::Here(pid),
            Some(false) => {}
            None if pid == told => otherwise = Seen::Probably(told),
            None => {}
        }
    }
    otherwise
}

/// The number that it has here, for a caller that wants to do something with it.
pub fn number(talk: &Connection, target: &Target, told: i32) -> Result<Pid, CliError> {
    match look(talk, target, told) {
        Seen::Here(pid) | Seen::Probably(pid) => Ok(pid),
        Seen::Nowhere => Err(unseen(target, told)),
    }
}

/// The directory of it in `/proc`, if it is beyond doubt that this is the one.
pub fn proc_of(talk: &Connection, target: &Target, told: i32) -> Result<PathBuf, CliError> {
    match look(talk, target, told) {
        Seen::Here(pid) => Ok(PathBuf::from(format!("/proc/{pid}"))),
        Seen::Probably(pid) if process::sees_ours() && !process::may_trace() => {
            let (name, process) = (&target.name, format!("process {pid}"));
            let why = format!("{name}: cannot see whether {process} is that of this service{LACKS_PTRACE}");
            Err(CliError::new(exit::FAILED, why))
        }
        Seen::Probably(_) | Seen::Nowhere => Err(unseen(target, told)),
    }
}

fn unseen(target: &Target, told: i32) -> CliError {
    let name = &target.name;
    let text =
        format!("{name}: what its supervisor calls process {told} is not to be seen here (another PID namespace?)");
    CliError::new(exit::FAILED, text)
}
