//! What a program is started with.

use super::super::{Errno, cgroup::Group};
use nix::sys::resource::Resource;
use std::ffi::{CStr, OsStr, c_int};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::AtomicI32;

/// What to start, and how. What is not said is inherited, but for signals, which are as for a fresh program, and
/// descriptors from 3 on, which are closed.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The program, relative to the working directory, and its arguments.
    pub argv: &'a [&'a CStr],
    /// As execvp(3) with this `PATH`: a program without a slash is looked for there, and a text file without a `#!`
    /// line is read by the shell.
    pub search: Option<&'a OsStr>,
    /// The working directory. It stays open until the child is in it.
    pub dir: Option<&'a Rc<OwnedFd>>,
    /// Changes of the environment. Of two for one name the last one counts.
    pub environment: &'a [Variable<'a>],
    /// The descriptors that it gets, beside our standard input, output and error. Of two for one number the last counts.
    pub descriptors: &'a [Descriptor<'a>],
    /// Its session, process group and terminal.
    pub job: Job<'a>,
    /// The limits that are not ours.
    pub limits: &'a [Limit],
    /// Its signals.
    pub signals: SignalState,
    /// It is PID 1 of a PID namespace of its own. EPERM if we may make none.
    pub new_pid_namespace: bool,
    /// What it is in, if that can be entered.
    pub group: Option<&'a Group>,
    /// How it ends if the program cannot be executed.
    pub exit_codes: ExitCodes,
    /// Under qemu-user a child cannot tell us why it failed: then it calls this itself, in a copy of our memory.
    pub say_failure: Option<&'a dyn Fn(Errno)>,
}

impl<'a> Plan<'a> {
    /// A program of which nothing else is said.
    pub fn new(argv: &'a [&'a CStr]) -> Plan<'a> {
        Plan {
            argv,
            search: None,
            dir: None,
            environment: &[],
            descriptors: &[],
            job: Job::Inherited,
            limits: &[],
            signals: SignalState::default(),
            new_pid_namespace: false,
            group: None,
            exit_codes: ExitCodes { absent: 111, denied: 111, otherwise: 111 },
            say_failure: None,
        }
    }
}

/// A change of one variable of the environment.
#[derive(Clone, Copy)]
pub struct Variable<'a> {
    /// Its name: not empty, and without `=`.
    pub name: &'a OsStr,
    /// What becomes of it.
    pub value: Value<'a>,
}

/// What becomes of a variable.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// It is there, and is this.
    Text(&'a OsStr),
    /// It is there, and is the pid of the program in decimal, as `LISTEN_PID` has to be.
    OwnPid,
    /// It is not there.
    Unset,
}

/// A descriptor of the program.
#[derive(Clone, Copy)]
pub struct Descriptor<'a> {
    /// What it is.
    pub from: BorrowedFd<'a>,
    /// Which number it has there.
    pub to: c_int,
}

/// What a program leads, and its terminal.
#[derive(Clone, Copy)]
pub enum Job<'a> {
    /// Nothing: it is in our process group.
    Inherited,
    /// A session without a terminal.
    Session,
    /// A session. Its standard input becomes its terminal if it is one that no session has: none is taken away.
    SessionWithTerminal {
        /// The error number if there is no terminal for it; else unchanged.
        refused: &'static AtomicI32,
    },
    /// A process group in our session.
    Group,
    /// The same, and it becomes the one that this terminal listens to. TTOU has to be blocked.
    GroupInFront(BorrowedFd<'a>),
}

/// A limit.
#[derive(Clone, Copy)]
pub struct Limit {
    /// What is limited.
    pub resource: Resource,
    /// The soft limit and the hard one.
    pub to: libc::rlimit,
}

impl Limit {
    /// A limit of the number of open files.
    pub fn open_files(to: libc::rlimit) -> Limit {
        Limit { resource: Resource::RLIMIT_NOFILE, to }
    }
}

/// The signals of a program: a bit for each, from 1 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalState {
    /// These are blocked, and no others.
    pub blocked: u64,
    /// These are ignored. The others do what they do by default, unless we ignore them.
    pub ignored: u64,
}

/// Exit codes of a child that could not execute its program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitCodes {
    /// It is not there.
    pub absent: u8,
    /// It may not be executed.
    pub denied: u8,
    /// Something else is in the way.
    pub otherwise: u8,
}

impl ExitCodes {
    /// The code for this error.
    pub fn of(self, errno: Errno) -> u8 {
        match errno {
            Errno::ENOENT => self.absent,
            Errno::EACCES => self.denied,
            _ => self.otherwise,
        }
    }
}
