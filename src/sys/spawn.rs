//! Starting a program: the cost does not grow with the supervisor, and a failed exec is known within the turn.
//!
//! `clone(CLONE_VM)`: no page table is copied, and the child leaves the reason of a failure in memory that both share.
//! No pipe, so spawning works at the descriptor limit. `posix_spawn` does the same, but stands still until the child
//! has executed its program. Here the parent goes on: it can prepare the next service meanwhile, and meets the child
//! in [`Spawner::wait_for_exec`], before it starts another one and before the turn ends.
//!
//! An exec may take long: a file system does not answer, somebody holds a lease on the file, or the child was stopped.
//! So the wait is short, and a child that has not answered by then is *pending*: it keeps the memory that it was
//! started with, the next one gets other memory, and its answer is asked for with [`Spawner::answer`].
//!
//! With `CLONE_FILES` the table of descriptors is not copied either, which for a thousand services would cost as much
//! as the rest together: the child takes the lowest few for its own with `close_range(CLOSE_RANGE_UNSHARE)`. Since it
//! can keep only the lowest, what becomes its standard input and output is put there before. As long as a pending child
//! has not come that far, what it is going to use stays as it is, and others are started with a copy of the table.

use super::cgroup::Group;
use super::{Errno, checked, clock, fs, raw};
use crate::machine::{Mono, Pid};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
#[cfg(test)]
use {super::wait, crate::machine::Exit};

/// So long one child is waited for. Whoever waits in vain waits half as long for the next one in the same turn, so that
/// a turn is held up twice as long at most.
const EXEC_PATIENCE: Duration = Duration::from_millis(8);

/// Enough for the few calls the child makes before it becomes another program.
const STACK: usize = 64 * 1024;
const ARGS: usize = 6;
/// linux/close_range.h
const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
/// The first descriptor that no service gets.
const FIRST_OF_OURS: usize = 3;
/// Signals that dump core, but for those that [`rescue`](super::rescue) takes as faults.
const CORE_DUMPING: [c_int; 3] = [libc::SIGQUIT, libc::SIGXCPU, libc::SIGXFSZ];
/// Bytes of the kernel's set of signals.
pub(super) const KERNEL_SIGSET: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 16 } else { 8 };

/// What to start, and how.
pub struct Plan<'a> {
    /// The working directory. It stays open until the child is in it.
    pub dir: &'a Rc<OwnedFd>,
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

/// How far a child has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exec {
    /// It has become its program.
    Done,
    /// It could not become its program. It has ended, or is about to, with 111.
    Failed(Errno),
    /// It has not answered in time, and may yet do either.
    Pending,
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
    /// The descriptors from this number on are not for the program; `None` where the kernel cannot close them all.
    give_up_from: Option<usize>,
    /// The table of descriptors is the parent's.
    shares_files: AtomicBool,
    failed: AtomicI32,
    /// The kernel sets it to zero when the child has left this memory, by executing its program or by its end.
    here: AtomicU32,
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Memory for one child. It stays for ever, since a child may be in it longer than its [`Spawner`] is there; one that
/// is empty is used again.
struct Room {
    stack: UnsafeCell<Box<[u8]>>,
    child: UnsafeCell<Child>,
}

impl Room {
    fn new() -> &'static Room {
        let stack = vec![0; STACK].into_boxed_slice();
        Box::leak(Box::new(Room { stack: UnsafeCell::new(stack), child: UnsafeCell::default() }))
    }

    /// The answer of the child, once it is no longer here.
    fn answer(&self) -> Option<Result<(), Errno>> {
        (self.here().load(Ordering::Acquire) == 0).then(|| self.result())
    }

    fn result(&self) -> Result<(), Errno> {
        // SAFETY: an atomic, which both sides may look at.
        match unsafe { (*self.child.get()).failed.load(Ordering::Relaxed) } {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        }
    }

    fn here(&self) -> &AtomicU32 {
        // SAFETY: an atomic, which both sides may look at.
        unsafe { &(*self.child.get()).here }
    }

    fn shares_files(&self) -> bool {
        // SAFETY: an atomic, which both sides may look at.
        self.answer().is_none() && unsafe { (*self.child.get()).shares_files.load(Ordering::Acquire) }
    }

    /// Waits until the child is no longer here, but not longer than this.
    fn wait_until_empty(&self, patience: Duration) -> Option<Result<(), Errno>> {
        if let Some(answer) = self.answer() {
            return Some(answer);
        }
        let deadline = clock::now().after(patience);
        while self.answer().is_none() && clock::now() < deadline {
            futex_wait(self.here(), deadline);
        }
        self.answer()
    }
}

/// Waits until somebody says that this word, which is 1, has changed, or the deadline has come.
fn futex_wait(word: &AtomicU32, deadline: Mono) {
    let until = libc::timespec {
        tv_sec: (deadline.0 / 1_000_000_000) as _,
        tv_nsec: (deadline.0 % 1_000_000_000) as libc::c_long,
    };
    let nobody = ptr::null::<c_void>();
    // SAFETY: futex(2) looks at `word` and reads `until`, an instant of the monotonic clock; it returns at once when the
    // word is no longer 1. Not a private futex, since the kernel's wake-up is not one.
    unsafe {
        let (word, operation, any) = (ptr::from_ref(word), libc::FUTEX_WAIT_BITSET, libc::FUTEX_BITSET_MATCH_ANY);
        libc::syscall(libc::SYS_futex, word, operation, 1, ptr::from_ref(&until), nobody, any);
    }
}

/// A child that may still be in its room.
struct Started {
    pid: Pid,
    room: &'static Room,
    /// Its directory. It keeps its number as long as the child may go by that.
    _dir: Rc<OwnedFd>,
}

/// Starts programs, one after the other.
pub struct Spawner {
    /// Who was started last, until it was asked how it fared.
    last: Option<Started>,
    /// Who had not answered in time.
    pending: Vec<Started>,
    empty: Vec<&'static Room>,
    /// So long the next child is waited for.
    patience: Duration,
    /// Low descriptors that hold a child's standard input and output while it starts, and `null` otherwise.
    places: [OwnedFd; 2],
    /// Which of them hold something.
    taken: [bool; 2],
    null: OwnedFd,
    /// The kernel can close all descriptors from one on, and take a table apart for that.
    has_close_range: bool,
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
            last: None,
            pending: Vec::new(),
            empty: Vec::new(),
            patience: EXEC_PATIENCE,
            places,
            taken: [false; 2],
            null,
            has_close_range: refused == 0,
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

    /// A turn begins: there is time to wait for a child again.
    pub fn begin_turn(&mut self) {
        self.patience = EXEC_PATIENCE;
    }

    /// Starts a program. Whether it is executed tells [`Spawner::wait_for_exec`], which has to come before the next one
    /// is started. An error: there is no process.
    pub fn spawn(&mut self, plan: &Plan) -> Result<Pid, Errno> {
        debug_assert!(self.last.is_none(), "whoever starts the next one asks first how the last one fared");
        let _ = self.wait_for_exec();
        let shares_files = self.has_close_range && !self.shares_files();
        let room = self.empty.pop().unwrap_or_else(Room::new);
        let started = self.start(plan, room, shares_files);
        match started {
            Ok(pid) => self.last = Some(Started { pid, room, _dir: Rc::clone(plan.dir) }),
            Err(_) => self.reuse(room),
        }
        started
    }

    fn start(&mut self, plan: &Plan, room: &'static Room, shares_files: bool) -> Result<Pid, Errno> {
        let [stdin, stdout] = [plan.stdin, plan.stdout];
        let [stdin, stdout] =
            if shares_files { [self.put(0, stdin)?, self.put(1, stdout)?] } else { [stdin, stdout].map(number) };
        let highest = self.places.iter().map(|place| place.as_raw_fd()).max().unwrap_or_default();
        let child = room.child.get();
        // SAFETY: nobody is in the room.
        unsafe {
            *child = Child {
                dir: plan.dir.as_raw_fd() as usize,
                stdin,
                stdout,
                new_session: plan.new_session,
                open_files: plan.open_files,
                give_up_from: self.has_close_range.then_some(if shares_files {
                    highest as usize + 1
                } else {
                    FIRST_OF_OURS
                }),
                shares_files: AtomicBool::new(shares_files),
                here: AtomicU32::new(1),
                ..Child::saying(plan.argv)
            };
        }
        let share_files = if shares_files { libc::CLONE_FILES } else { 0 };
        let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | share_files | libc::SIGCHLD;
        let newborn = self.newborn.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the child uses its room and what that points to, all of which stay in place, and are left alone by us,
        // until the kernel has told that it has left. `become_program` makes system calls only, past the C library, and
        // changes no descriptor of a table that it shares. `newborn` stays for ever.
        let clone = |flags, group: Option<&Group>| unsafe {
            let stack = &mut *room.stack.get();
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
            room.here().store(0, Ordering::Relaxed);
        }
        match raw::error(pid) {
            None => Ok(Pid(pid as i32)),
            Some(errno) => Err(Errno::from_raw(errno)),
        }
    }

    /// Waits until the last program that was started has been executed, or could not be; but not for long. `None`: there
    /// is none, or this was asked before.
    pub fn wait_for_exec(&mut self) -> Option<(Pid, Exec)> {
        let child = self.last.take()?;
        let pid = child.pid;
        let exec = match child.room.wait_until_empty(self.patience) {
            Some(answer) => {
                self.reuse(child.room);
                answer.map_or_else(Exec::Failed, |()| Exec::Done)
            }
            None => {
                self.patience /= 2;
                self.pending.push(child);
                self.clear_places();
                Exec::Pending
            }
        };
        Some((pid, exec))
    }

    /// The answer of a pending child, if it has come; then it is no longer pending.
    pub fn answer(&mut self, pid: Pid) -> Option<Result<(), Errno>> {
        self.clear_places();
        let answer = self.pending.iter().find(|child| child.pid == pid)?.room.answer()?;
        self.ended(pid);
        Some(answer)
    }

    /// A pending child has ended: the answer that it left, if it did. It is no longer pending.
    pub fn ended(&mut self, pid: Pid) -> Option<Errno> {
        let place = self.pending.iter().position(|child| child.pid == pid)?;
        let room = self.pending.swap_remove(place).room;
        self.reuse(room);
        room.result().err()
    }

    /// Whether a pending child still uses our descriptors.
    fn shares_files(&self) -> bool {
        self.pending.iter().any(|child| child.room.shares_files())
    }

    /// Nobody is in this room any more, whether or not the kernel has told so.
    fn reuse(&mut self, room: &'static Room) {
        room.here().store(0, Ordering::Relaxed);
        self.empty.push(room);
        self.clear_places();
    }

    /// Puts a copy of a descriptor, if there is one, where the child finds it.
    fn put(&mut self, place: usize, fd: Option<BorrowedFd>) -> Result<Option<usize>, Errno> {
        let (Some(fd), Some(number), Some(taken)) = (fd, self.places.get(place), self.taken.get_mut(place)) else {
            return Ok(None);
        };
        *taken = true;
        copy(fd, number).map(Some)
    }

    /// Nothing of a child's stays open once it is through with it.
    fn clear_places(&mut self) {
        if self.taken == [false; 2] || self.shares_files() {
            return;
        }
        for (place, taken) in self.places.iter().zip(&mut self.taken) {
            if std::mem::take(taken) {
                let _ = copy(self.null.as_fd(), place);
            }
        }
    }
}

fn number(fd: Option<BorrowedFd>) -> Option<usize> {
    fd.map(|fd| fd.as_raw_fd() as usize)
}

/// Makes `place` a copy of a descriptor, and returns its number.
fn copy(fd: BorrowedFd, place: &OwnedFd) -> Result<usize, Errno> {
    // SAFETY: `place` is ours alone; what it held is closed.
    checked(unsafe { libc::dup3(fd.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) }).map(|fd| fd as usize)
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
            shares_files: AtomicBool::new(false),
            failed: AtomicI32::new(0),
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
    // SAFETY: `arg` is the parent's `Child`, which stays in place while we are here; of it the parent uses atomics only.
    unsafe {
        let child = &*arg.cast::<Child>();
        if let Err(errno) = prepare(child).and_then(|()| {
            let argv: *const *const c_char = (&raw const child.argv).cast();
            call(libc::SYS_execve, [*argv as usize, argv as usize, environ as usize, 0])
        }) {
            child.failed.store(errno, Ordering::Relaxed);
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
        let give_up =
            |first, flags: libc::c_uint| call(libc::SYS_close_range, [first, u32::MAX as usize, flags as usize, 0]);
        let shared = child.shares_files.load(Ordering::Relaxed);
        if let Some(first) = child.give_up_from.filter(|_| shared) {
            give_up(first, CLOSE_RANGE_UNSHARE)?;
            child.shares_files.store(false, Ordering::Release);
        } // from here on the descriptors are our own
        if let Some(stdin) = child.stdin {
            call(libc::SYS_dup3, [stdin, 0, 0, 0])?;
        }
        if let Some(stdout) = child.stdout {
            call(libc::SYS_dup3, [stdout, 1, 0, 0])?;
        }
        if let Some(first) = child.give_up_from.filter(|_| !shared) {
            give_up(first, 0)?; // whoever waits long for its exec holds no lock and no pipe of others
        }
        if let Some(limit) = &child.open_files {
            call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as usize, ptr::from_ref(limit) as usize, 0])?;
        }
        let none = [0u64; 2];
        call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, (&raw const none) as usize, 0, KERNEL_SIGSET])
    }
}

/// To be called when the other signals have their default action. Before Linux 5.16 a core dump ends every process that
/// shares the memory of the one that dumps: so a child that has not executed its program yet dumps none, as it inherits
/// these actions. The program does not. We ourselves let these signals wait, and read them.
pub fn dump_no_core_in_shared_memory() {
    for signal in CORE_DUMPING {
        // SAFETY: a handler that makes one system call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = leave as extern "C" fn(c_int) as usize;
            libc::sigfillset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

/// Ends this process as a shell tells of such an end.
extern "C" fn leave(signal: c_int) {
    // SAFETY: exit_group(2) takes a number.
    let _ = unsafe { call(libc::SYS_exit_group, [128 + signal as usize, 0, 0, 0]) };
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

    fn root() -> Rc<OwnedFd> {
        Rc::new(File::open("/").expect("/ opens").into())
    }

    fn plan<'a>(dir: &'a Rc<OwnedFd>, argv: &'a [&'a CStr]) -> Plan<'a> {
        Plan { dir, argv, stdin: None, stdout: None, new_session: true, open_files: None }
    }

    fn spawn_in_root(argv: &[&CStr]) -> (Pid, Exec) {
        let mut spawner = Spawner::new().expect("a spawner");
        spawner.patience = Duration::from_secs(60); // on a busy machine, too
        let pid = spawner.spawn(&plan(&root(), argv)).expect("a process");
        let (same, exec) = spawner.wait_for_exec().expect("one was started");
        assert_eq!(same, pid);
        (pid, exec)
    }

    #[test]
    fn a_program_that_cannot_be_executed_says_why_and_exits_with_111() {
        for (program, errno) in [(c"./no/such/program", Errno::ENOENT), (c"./etc", Errno::EACCES)] {
            let (pid, exec) = spawn_in_root(&[program]);
            assert_eq!(exec, Exec::Failed(errno));
            assert_eq!(wait::reap_only(pid), Some(Exit::NOT_RUN));
        }
    }

    #[test]
    fn a_program_runs_with_its_arguments() {
        let (pid, exec) = spawn_in_root(&[c"./bin/sh", c"-c", c"exit $1", c"sh", c"7"]);
        assert_eq!((exec, wait::reap_only(pid)), (Exec::Done, Some(Exit::Code(7))));
    }

    /// Waits for the answer of a pending child.
    fn answer(spawner: &mut Spawner, pid: Pid) -> Result<(), Errno> {
        let deadline = clock::now().after(Duration::from_secs(60));
        loop {
            if let Some(answer) = spawner.answer(pid) {
                return answer;
            }
            assert!(clock::now() < deadline, "it never answers");
            std::thread::yield_now();
        }
    }

    #[test]
    fn children_that_nobody_waits_for_answer_each_for_itself() {
        let mut spawner = Spawner::new().expect("a spawner");
        let (sh, missing) = ([c"./bin/sh", c"-c", c"read line && [ $line = hello ]"], [c"./no/such/program"]);
        let mut started = Vec::new();
        for round in 0..20 {
            spawner.patience = Duration::ZERO;
            let (read, write) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
            nix::unistd::write(&write, b"hello\n").expect("write");
            let (dir, fails) = (root(), round % 3 == 2);
            let argv = if fails { &missing[..] } else { &sh[..] };
            let pid = spawner.spawn(&Plan { stdin: Some(read.as_fd()), ..plan(&dir, argv) }).expect("a process");
            let (_, exec) = spawner.wait_for_exec().expect("one was started");
            started.push((pid, fails, exec));
        } // the directories and the pipes are closed here, as far as we are concerned
        for (pid, fails, exec) in started {
            let answer = match exec {
                Exec::Done => Ok(()),
                Exec::Failed(errno) => Err(errno),
                Exec::Pending => answer(&mut spawner, pid),
            };
            assert_eq!(answer, if fails { Err(Errno::ENOENT) } else { Ok(()) });
            assert_eq!(wait::reap_only(pid), Some(if fails { Exit::NOT_RUN } else { Exit::Code(0) }));
        }
        assert_eq!((spawner.pending.len(), spawner.taken), (0, [false; 2]), "nothing is held for anybody");
    }
}
