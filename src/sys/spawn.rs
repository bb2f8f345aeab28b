//! Starting a program: the cost does not grow with the supervisor, and a failed exec is known at once.
//!
//! `clone(CLONE_VM | CLONE_VFORK)`, as `posix_spawn` does it: no page table is copied, the parent stands still until
//! the child has executed the program or given up, and the child leaves the reason in memory that both share. No
//! pipe, so spawning works at the descriptor limit.
//!
//! With `CLONE_FILES` the table of descriptors is not copied either, which for a thousand services costs as much as
//! the rest together: the child takes the lowest few for its own with `close_range(CLOSE_RANGE_UNSHARE)`. Since it can
//! keep only the lowest, what becomes its standard input and output is put there before.

use super::{Errno, checked, wait};
use crate::machine::Pid;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

/// Enough for the few calls the child makes before it becomes another program.
const STACK: usize = 64 * 1024;
const ARGS: usize = 6;
/// linux/close_range.h
const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;

/// What to start, and how.
pub struct Plan<'a> {
    /// The working directory.
    pub dir: BorrowedFd<'a>,
    /// The program, relative to the working directory, and its arguments. At most five.
    pub argv: &'a [&'a CStr],
    /// Standard input; else ours.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Standard output; else ours.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Whether it leads a session of its own.
    pub new_session: bool,
    /// The limit of open files it gets; else ours.
    pub open_files: Option<libc::rlimit>,
}

/// Why a program does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No process could be made.
    Fork(Errno),
    /// The process could not become the program.
    Exec(Errno),
}

/// What the child needs, on both sides of the shared memory.
struct Child {
    dir: RawFd,
    argv: [*const c_char; ARGS],
    stdin: Option<RawFd>,
    stdout: Option<RawFd>,
    new_session: bool,
    open_files: Option<libc::rlimit>,
    /// The table of descriptors is the parent's, until those from this number on are given up.
    give_up_from: Option<RawFd>,
    failed: c_int,
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Starts programs one after the other, on a stack that they share.
pub struct Spawner {
    stack: Box<[u8]>,
    /// Low descriptors that hold a child's standard input and output while it starts, and `null` otherwise.
    places: [OwnedFd; 2],
    null: OwnedFd,
    can_share_files: bool,
}

impl Spawner {
    /// To be made before other descriptors are, so that it has the lowest.
    pub fn new() -> Result<Spawner, Errno> {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        let places = [null.try_clone(), null.try_clone()].map(|place| place.map_err(|_| Errno::EMFILE));
        let [stdin, stdout] = places;
        // SAFETY: closes nothing, as no descriptor has this number.
        let refused = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, CLOSE_RANGE_UNSHARE) };
        Ok(Spawner {
            stack: vec![0; STACK].into_boxed_slice(),
            places: [stdin?, stdout?],
            null,
            can_share_files: refused == 0,
        })
    }

    /// Starts a program. When this returns, the program runs, or there is no process.
    pub fn spawn(&mut self, plan: &Plan) -> Result<Pid, Failure> {
        debug_assert!(plan.argv.len() < ARGS, "a null pointer ends the arguments");
        let mut argv = [ptr::null(); ARGS];
        for (place, arg) in argv.iter_mut().take(ARGS - 1).zip(plan.argv) {
            *place = arg.as_ptr();
        }
        let [stdin, stdout] = &self.places;
        let highest = stdin.as_raw_fd().max(stdout.as_raw_fd());
        let mut child = Child {
            dir: plan.dir.as_raw_fd(),
            argv,
            stdin: put(plan.stdin, stdin).map_err(Failure::Fork)?,
            stdout: put(plan.stdout, stdout).map_err(Failure::Fork)?,
            new_session: plan.new_session,
            open_files: plan.open_files,
            give_up_from: self.can_share_files.then_some(highest + 1),
            failed: 0,
        };
        let result = start(&mut self.stack, &mut child);
        for (place, used) in [(stdin, child.stdin), (stdout, child.stdout)] {
            if used.is_some() {
                let _ = put(Some(self.null.as_fd()), place);
            }
        }
        result
    }
}

/// Puts a copy of a descriptor, if there is one, in that place.
fn put(fd: Option<BorrowedFd>, place: &OwnedFd) -> Result<Option<RawFd>, Errno> {
    let Some(fd) = fd else { return Ok(None) };
    // SAFETY: `place` is ours alone; what it held is closed.
    checked(unsafe { libc::dup3(fd.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) }).map(Some)
}

fn start(stack: &mut [u8], child: &mut Child) -> Result<Pid, Failure> {
    let share_files = if child.give_up_from.is_some() { libc::CLONE_FILES } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | share_files | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end;
    let child: *mut Child = child;
    // SAFETY: with CLONE_VFORK this thread, the only one, stands still until the child is gone from our memory, so
    // `child` and the stack are used by one side at a time and outlive their use. clone(2)'s wrappers align `top`.
    // The child runs `become_program`, which only makes system calls, and changes no descriptor of a shared table.
    let pid = unsafe { libc::clone(become_program, top.cast(), flags, child.cast()) };
    // SAFETY: `child` is ours again; read through the pointer since another process may have written it.
    let failed = unsafe { ptr::read_volatile(&raw const (*child).failed) };
    match (pid, failed) {
        (-1, _) => Err(Failure::Fork(Errno::last())),
        (pid, 0) => Ok(Pid(pid)),
        (pid, errno) => {
            wait::reap_exiting(Pid(pid));
            Err(Failure::Exec(Errno::from_raw(errno)))
        }
    }
}

/// The child: sets itself up and becomes the program, or notes why not.
extern "C" fn become_program(arg: *mut c_void) -> c_int {
    let child: *mut Child = arg.cast();
    // SAFETY: `arg` is the parent's `Child`, which stays in place and unused by the parent while we run.
    unsafe {
        if !prepare(&*child) || libc::execve((*child).argv[0], (*child).argv.as_ptr(), environ) == -1 {
            (*child).failed = Errno::last_raw();
        }
        libc::_exit(111)
    }
}

/// Everything before the exec. False with `errno` set when something failed.
///
/// # Safety
/// Runs in a child that shares its parent's memory: plain system calls only, no allocation.
unsafe fn prepare(child: &Child) -> bool {
    // SAFETY: plain system calls on numbers and on memory that the parent keeps valid.
    unsafe {
        let moved = |from: Option<RawFd>, to| from.is_none_or(|from| libc::dup2(from, to) != -1);
        let given_up = |from: Option<RawFd>| {
            from.is_none_or(|from| libc::syscall(libc::SYS_close_range, from, u32::MAX, CLOSE_RANGE_UNSHARE) == 0)
        };
        if child.new_session {
            libc::setsid(); // a fresh child leads no group, so this cannot fail
        }
        if libc::fchdir(child.dir) == -1
            || !given_up(child.give_up_from) // from here on the descriptors are our own
            || !moved(child.stdin, libc::STDIN_FILENO)
            || !moved(child.stdout, libc::STDOUT_FILENO)
            || child.open_files.is_some_and(|limit| libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == -1)
        {
            return false;
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) != -1
    }
}

/// Which side of a fork we are.
pub enum Side {
    /// The new process.
    Child,
    /// The old one.
    Parent(Pid),
}

/// Splits this process, which has a single thread, in two.
pub fn fork() -> Result<Side, Errno> {
    // SAFETY: with a single thread no lock can be held by another that the child lacks.
    match checked(unsafe { libc::fork() })? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid(pid))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn spawn_in_root(program: &CStr) -> Result<Pid, Failure> {
        let root = File::open("/").expect("/ opens");
        let plan = Plan {
            dir: root.as_fd(),
            argv: &[program],
            stdin: None,
            stdout: None,
            new_session: true,
            open_files: None,
        };
        Spawner::new().expect("a spawner").spawn(&plan)
    }

    #[test]
    fn a_missing_program_is_known_at_once_and_leaves_no_zombie() {
        assert_eq!(spawn_in_root(c"./no/such/program"), Err(Failure::Exec(Errno::ENOENT)));
        assert_eq!(spawn_in_root(c"./etc"), Err(Failure::Exec(Errno::EACCES)));
    }

    #[test]
    fn a_program_that_is_there_runs() {
        let pid = spawn_in_root(c"./bin/true").expect("/bin/true runs");
        wait::reap_exiting(pid);
    }
}
