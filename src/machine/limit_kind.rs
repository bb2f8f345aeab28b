//! What a limit of a process is put on: the numbers of setrlimit(2).
#![allow(clippy::unnecessary_cast, reason = "the C libraries have different types for these numbers")]

/// What a limit is put on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitKind(pub i32);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:ident)*) => {
        impl LimitKind {
            $($(#[$doc])* pub const $name: LimitKind = LimitKind(libc::$number as i32);)*
        }
    };
}

kinds! {
    /// Address space, in bytes.
    SPACE = RLIMIT_AS
    /// A core file, in bytes.
    CORE = RLIMIT_CORE
    /// Processor time, in seconds.
    CPU = RLIMIT_CPU
    /// The data segment, in bytes.
    DATA = RLIMIT_DATA
    /// A file that is written, in bytes.
    FILE_SIZE = RLIMIT_FSIZE
    /// Locks of files; Linux ignores it now.
    LOCKS = RLIMIT_LOCKS
    /// Locked memory, in bytes.
    LOCKED = RLIMIT_MEMLOCK
    /// Bytes in POSIX message queues.
    QUEUES = RLIMIT_MSGQUEUE
    /// 20 minus the lowest niceness.
    NICE = RLIMIT_NICE
    /// Open files.
    FILES = RLIMIT_NOFILE
    /// Processes of the user.
    PROCESSES = RLIMIT_NPROC
    /// Resident memory, in bytes; Linux ignores it now.
    RESIDENT = RLIMIT_RSS
    /// The highest realtime priority.
    PRIORITY = RLIMIT_RTPRIO
    /// Realtime without a system call that waits, in microseconds.
    REALTIME = RLIMIT_RTTIME
    /// Signals that wait.
    SIGNALS = RLIMIT_SIGPENDING
    /// The stack, in bytes.
    STACK = RLIMIT_STACK
}
