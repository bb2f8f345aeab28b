//! Starting a program: the cost does not grow with the supervisor, and a failed exec is known within the turn.
//!
//! `clone(CLONE_VM)`: no page table is copied, and the child leaves the reason of a failure in memory that both share.
//! No pipe, so spawning works at the descriptor limit. `posix_spawn` does the same, but stands still until the child
//! has executed its program. Here the parent goes on: it can prepare the next service meanwhile, and meets the child
//! in [`Spawner::settle`], before it starts another one and before the turn ends.
//!
//! With `CLONE_FILES` the table of descriptors is not copied either, which for a thousand services would cost as much
//! as the rest together: the child takes the lowest few for its own with `close_range(CLOSE_RANGE_UNSHARE)`. Since it
//! can keep only the lowest, what becomes its standard input and output is put there before.

use super::cgroup::Group;
use super::{Errno, checked, fs, raw};
use crate::machine::Pid;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(test)]
use {super::wait, crate::machine::Exit};

/// Enough for the few calls the child makes before it becomes another program.
const STACK: usize = 64 * 1024;
const ARGS: usize = 6;
/// linux/close_range.h
const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
/// Bytes of the kernel's set of signals.
const KERNEL_SIGSET: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 16 } else { 8 };

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

/// A program that could not be executed after all. Its process has ended, or is about to, with 111.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotExecuted {
    /// The process that was to become the program.
    pub pid: Pid,
    /// Why it could not.
    pub errno: Errno,
}

/// What the child needs, in memory that both sides share. It stays in place while the child uses it.
struct Child {
    dir: usize,
    argv: [*const c_char; ARGS],
    words: [CString; ARGS - 1],
    stdin: Option<usize>,
    stdout: Option<usize>,
    new_session: bool,
    open_files: Option<libc::rlimit>,
    /// The table of descriptors is the parent's, until those from this number on are given up.
    give_up_from: Option<usize>,
    failed: c_int,
    /// The kernel sets it to zero when the child has left this memory, by executing its program or by its end.
    here: AtomicU32,
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Starts programs, one after the other.
pub struct Spawner {
    stack: Box<[u8]>,
    child: Box<UnsafeCell<Child>>,
    /// Who may still be in our memory.
    pid: Option<Pid>,
    /// Low descriptors that hold a child's standard input and output while it starts, and `null` otherwise.
    places: [OwnedFd; 2],
    null: OwnedFd,
    can_share_files: bool,
    /// Where the kernel writes the pid of a child, before the child begins.
    newborn: Option<&'static AtomicU64>,
    /// What the children are in; else in what we are in.
    group: Option<Group>,
}

impl Spawner {
    /// To be made before other descriptors are, so that it has the lowest.
    pub fn new() -> Result<Spawner, Errno> {
        // Where there is no /dev, a pipe that nobody writes to does as well.
        let null = fs::open_at(fs::HERE, "/dev/null", OFlag::O_RDWR, 0);
        let null = null.or_else(|_| pipe2(OFlag::O_CLOEXEC).map(|(read, _)| read))?;
        let copy = || null.try_clone().map_err(|_| Errno::EMFILE);
        let places = [copy()?, copy()?];
        // SAFETY: closes nothing, as no descriptor has this number.
        let refused = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, CLOSE_RANGE_UNSHARE) };
        Ok(Spawner {
            stack: vec![0; STACK].into_boxed_slice(),
            child: Box::new(UnsafeCell::new(Child::default())),
            pid: None,
            places,
            null,
            can_share_files: refused == 0,
            newborn: None,
            group: None,
        })
    }

    /// From now on the kernel writes the pid of each child here before the child begins: so if we fail before we note
    /// it, it is known nevertheless.
    pub fn announce_to(&mut self, newborn: Option<&'static AtomicU64>) {
        self.newborn = newborn;
    }

    /// From now on the children are in this group.
    pub fn start_in(&mut self, group: Option<Group>) {
        self.group = group;
    }

    /// What the children are in, if it is a group of their own.
    pub fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// The pid that the kernel wrote.
    pub fn announced(newborn: u64) -> Option<Pid> {
        let [a, b, c, d, ..] = newborn.to_ne_bytes();
        Some(Pid(i32::from_ne_bytes([a, b, c, d]))).filter(|pid| pid.0 > 0)
    }

    /// Starts a program. It may turn out in [`Spawner::settle`], which has to come before the next one is started
    /// and before its directory is closed, that it could not be executed. An error: there is no process.
    pub fn spawn(&mut self, plan: &Plan) -> Result<Pid, Errno> {
        debug_assert!(self.pid.is_none(), "whoever starts the next one asks first how the last one fared");
        let _ = self.settle(); // one child at a time is in our memory
        let [stdin, stdout] = &self.places;
        let highest = stdin.as_raw_fd().max(stdout.as_raw_fd());
        *self.child.get_mut() = Child {
            dir: plan.dir.as_raw_fd() as usize,
            stdin: put(plan.stdin, stdin)?,
            stdout: put(plan.stdout, stdout)?,
            new_session: plan.new_session,
            open_files: plan.open_files,
            give_up_from: self.can_share_files.then_some(highest as usize + 1),
            here: AtomicU32::new(1),
            ..Child::saying(plan.argv)
        };
        let share_files = if self.can_share_files { libc::CLONE_FILES } else { 0 };
        let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | share_files | libc::SIGCHLD;
        let stack = &mut self.stack;
        let child = self.child.get();
        let newborn = self.newborn.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the child uses its stack, `child` and what that points to, all of which stay in place, and are left
        // alone by us, until `settle` has seen it leave. `become_program` makes system calls only, past the C library,
        // and changes no descriptor of a table that it shares. `newborn` stays for ever.
        let mut clone = |flags, group: Option<&Group>| unsafe {
            let here = &raw const (*child).here;
            match group {
                Some(group) => {
                    raw::clone_into(group.as_fd(), flags, stack, become_program, child.cast(), here, newborn)
                }
                None => raw::clone(flags, stack, become_program, child.cast(), here, newborn),
            }
        };
        let mut pid = clone(flags, self.group.as_ref());
        if self.group.is_some() && !matches!(raw::error(pid), None | Some(libc::EAGAIN | libc::ENOMEM)) {
            self.group = None; // it cannot be entered, or is no longer there
            pid = clone(flags, None);
        }
        if raw::error(pid) == Some(libc::EINVAL) {
            // qemu-user lets nobody share our memory. A child with a copy tells by its exit code only that it failed.
            pid = clone(libc::SIGCHLD, None);
            self.child.get_mut().here = AtomicU32::new(0);
        }
        let pid = match raw::error(pid) {
            None => Ok(Pid(pid as i32)),
            Some(errno) => Err(Errno::from_raw(errno)),
        };
        if pid.is_err() {
            self.clear_places();
        }
        self.pid = pid.ok();
        pid
    }

    /// Waits until the last program that was started has been executed, or could not be. This takes as long as the
    /// kernel takes to load a program.
    pub fn settle(&mut self) -> Option<NotExecuted> {
        let pid = self.pid.take()?;
        // SAFETY: `here` is an atomic, which both sides may look at.
        let here = unsafe { &(*self.child.get()).here };
        while here.load(Ordering::Acquire) != 0 {
            // SAFETY: futex(2) looks at `here`; it returns at once when that is no longer 1.
            // Not a private futex, since the kernel's wake-up is not one.
            unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(here), libc::FUTEX_WAIT, 1, ptr::null::<c_void>()) };
        }
        self.clear_places();
        match self.child.get_mut().failed {
            0 => None,
            errno => Some(NotExecuted { pid, errno: Errno::from_raw(errno) }),
        }
    }

    /// Nothing of a child's stays open.
    fn clear_places(&mut self) {
        let child = self.child.get_mut();
        for (place, used) in self.places.iter().zip([child.stdin.take(), child.stdout.take()]) {
            if used.is_some() {
                let _ = put(Some(self.null.as_fd()), place);
            }
        }
    }
}

/// Puts a copy of a descriptor, if there is one, in that place.
fn put(fd: Option<BorrowedFd>, place: &OwnedFd) -> Result<Option<usize>, Errno> {
    let Some(fd) = fd else { return Ok(None) };
    // SAFETY: `place` is ours alone; what it held is closed.
    let put = checked(unsafe { libc::dup3(fd.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) })?;
    Ok(Some(put as usize))
}

impl Default for Child {
    fn default() -> Child {
        Child {
            dir: 0,
            argv: [ptr::null(); ARGS],
            words: Default::default(),
            stdin: None,
            stdout: None,
            new_session: false,
            open_files: None,
            give_up_from: None,
            failed: 0,
            here: AtomicU32::new(0),
        }
    }
}

impl Child {
    /// One that executes the first of these words, which it keeps. A null pointer ends the arguments.
    fn saying(words: &[&CStr]) -> Child {
        debug_assert!(words.len() < ARGS, "more arguments than there is room for");
        let mut child = Child::default();
        for ((pointer, kept), word) in child.argv.iter_mut().zip(&mut child.words).zip(words) {
            *kept = (*word).to_owned();
            *pointer = kept.as_ptr();
        }
        child
    }
}

/// The child: sets itself up and becomes the program, or notes why not.
extern "C" fn become_program(arg: *mut c_void) -> c_int {
    let child: *mut Child = arg.cast();
    // SAFETY: `arg` is the parent's `Child`, which stays in place and unused by the parent while we are here.
    unsafe {
        if let Err(errno) = prepare(&*child).and_then(|()| {
            let argv: *const *const c_char = (&raw const (*child).argv).cast();
            call(libc::SYS_execve, [*argv as usize, argv as usize, environ as usize, 0])
        }) {
            (*child).failed = errno;
        }
        loop {
            let _ = call(libc::SYS_exit, [111, 0, 0, 0]);
        }
    }
}

/// Everything before the exec.
///
/// # Safety
/// Runs in a child that shares its parent's memory: plain system calls only, no allocation, no C library.
unsafe fn prepare(child: &Child) -> Result<(), c_int> {
    // SAFETY: plain system calls on numbers and on memory that the parent keeps valid.
    unsafe {
        if child.new_session {
            let _ = call(libc::SYS_setsid, [0; 4]); // a fresh child leads no group, so this cannot fail
        }
        call(libc::SYS_fchdir, [child.dir, 0, 0, 0])?;
        if let Some(first) = child.give_up_from {
            call(libc::SYS_close_range, [first, u32::MAX as usize, CLOSE_RANGE_UNSHARE as usize, 0])?;
        } // from here on the descriptors are our own
        if let Some(stdin) = child.stdin {
            call(libc::SYS_dup3, [stdin, 0, 0, 0])?;
        }
        if let Some(stdout) = child.stdout {
            call(libc::SYS_dup3, [stdout, 1, 0, 0])?;
        }
        if let Some(limit) = &child.open_files {
            call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as usize, ptr::from_ref(limit) as usize, 0])?;
        }
        let none = [0u64; 2];
        call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, (&raw const none) as usize, 0, KERNEL_SIGSET])
    }
}

/// # Safety
/// As for the system call itself.
unsafe fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> Result<(), c_int> {
    // SAFETY: the caller's promise.
    raw::error(unsafe { raw::call(number, a, b, c, d) }).map_or(Ok(()), Err)
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

/// Becomes the program at `path`, relative to the working directory, called `name`, without arguments and without
/// standard output. Returns only if that fails.
pub fn become_silent(path: &CStr, name: &CStr) -> Errno {
    let argv = [name.as_ptr(), ptr::null()];
    // SAFETY: the strings outlive the call, both arrays end with a null pointer, and whoever calls this gives up its
    // standard output. Our runtime ignores PIPE, which the program is not to inherit.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::close(libc::STDOUT_FILENO);
        libc::execve(path.as_ptr(), argv.as_ptr(), environ.cast());
    }
    Errno::last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn spawn_in_root(argv: &[&CStr]) -> (Pid, Option<NotExecuted>) {
        let root = File::open("/").expect("/ opens");
        let plan = Plan { dir: root.as_fd(), argv, stdin: None, stdout: None, new_session: true, open_files: None };
        let mut spawner = Spawner::new().expect("a spawner");
        let pid = spawner.spawn(&plan).expect("a process");
        (pid, spawner.settle())
    }

    #[test]
    fn a_program_that_cannot_be_executed_says_why_and_exits_with_111() {
        for (program, errno) in [(c"./no/such/program", Errno::ENOENT), (c"./etc", Errno::EACCES)] {
            let (pid, failed) = spawn_in_root(&[program]);
            assert_eq!(failed, Some(NotExecuted { pid, errno }));
            assert_eq!(wait::reap_only(pid), Some(Exit::NOT_RUN));
        }
    }

    #[test]
    fn a_program_runs_with_its_arguments() {
        let (pid, failed) = spawn_in_root(&[c"./bin/sh", c"-c", c"exit $1", c"sh", c"7"]);
        assert_eq!((failed, wait::reap_only(pid)), (None, Some(Exit::Code(7))));
    }
}
