//! Starting a program: the cost does not grow with the supervisor, and a failed exec is known within the turn.
//!
//! `clone(CLONE_VM)`: no page table is copied, and the child leaves the reason of a failure in memory that both share.
//! No pipe, so spawning works at the descriptor limit. `posix_spawn` does the same, but stands still until the child
//! has executed its program. Here the parent goes on: it can prepare the next service meanwhile, and meets the child
//! in [`Spawner::wait_for_exec`], before it starts another one and before the turn ends.
//!
//! An exec may take long: a file system does not answer, another process holds a lease on the file, or the child was
//! stopped. So the wait is short, and a child that has not answered by then is *pending*: it keeps the memory that it
//! was started with, the next one gets other memory, and its answer is asked for with [`Spawner::answer`].
//!
//! With `CLONE_FILES` the table of descriptors is not copied either, which for a thousand services would cost as much
//! as the rest together: the child takes the lowest few for its own with `close_range(CLOSE_RANGE_UNSHARE)`. Since it
//! can keep only the lowest, what it gets beside our standard descriptors is put there before. As long as a pending
//! child has not come that far, what it is going to use stays as it is, and other children are started with a copy of
//! the table; so is a child that gets more than there are places for.
//!
//! What a child is started with is its [`Plan`], prepared here, before there is a child that waits; `child.rs` is what
//! it does itself.

mod child;
mod moves;
mod plan;
mod text;

pub use plan::{Descriptor, ExitCodes, Job, Limit, Plan, SignalState, Value, Variable};

use super::cgroup::Group;
use super::{Errno, checked, clock, fs, raw};
use crate::machine::{Mono, Pid};
use child::{Alone, CLOSE_RANGE_UNSHARE, Child, Table, become_program, become_program_alone, call};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
#[cfg(test)]
use {super::wait, crate::machine::Exit};

/// So long one child is waited for. After a wait in vain the next one in the same turn is waited for half as long, so
/// that a turn is held up twice as long at most.
const EXEC_PATIENCE: Duration = Duration::from_millis(8);

/// Enough for the few calls that the child makes before it executes its program.
const STACK: usize = 64 * 1024;
/// As many descriptors can be handed to a child that shares our table.
const PLACES: usize = 2;
/// Signals that dump core, but for those that [`rescue`](super::rescue) takes as faults.
const CORE_DUMPING: [c_int; 3] = [libc::SIGQUIT, libc::SIGXCPU, libc::SIGXFSZ];
/// Bytes of the kernel's set of signals.
pub(super) const KERNEL_SIGSET: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 16 } else { 8 };

/// How far a child has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exec {
    /// It has executed its program.
    Done,
    /// It could not execute its program. It has ended, or is about to, with the code that the plan names.
    Failed(Errno),
    /// It has not answered in time, and may yet do either.
    Pending,
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

fn namespaces(plan: &Plan) -> c_int {
    if plan.new_pid_namespace { libc::CLONE_NEWPID } else { 0 }
}

/// Waits until the kernel says that this word, which is 1, has changed, or the deadline has come.
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
    _dir: Option<Rc<OwnedFd>>,
}

/// Starts programs, one after the other.
pub struct Spawner {
    /// The child that was started last, until it was asked whether its exec worked.
    last: Option<Started>,
    /// The children that had not answered in time.
    pending: Vec<Started>,
    empty: Vec<&'static Room>,
    /// So long the next child is waited for.
    patience: Duration,
    /// Low descriptors that hold what a child gets while it starts, and `null` otherwise.
    places: [OwnedFd; PLACES],
    /// Which of them hold something.
    taken: [bool; PLACES],
    /// The numbers of a child's descriptors: those that it has at first, and those that it is to have.
    descriptors: Vec<(c_int, c_int)>,
    null: OwnedFd,
    /// The kernel can close all descriptors from one on, and take a table apart for that.
    has_close_range: bool,
    /// A child can be in our memory.
    shares_memory: bool,
    /// Where the kernel writes the pid of a child, before the child begins.
    pending_child: Option<&'static AtomicU64>,
}

impl Spawner {
    /// To be made before other descriptors are, so that it has the lowest.
    pub fn new() -> Result<Spawner, Errno> {
        // Where there is no /dev, a pipe without a writer does as well.
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
            taken: [false; PLACES],
            descriptors: Vec::new(),
            null,
            has_close_range: refused == 0,
            shares_memory: true,
            pending_child: None,
        })
    }

    /// From now on the kernel writes the pid of each child here before the child begins: so if we fail before we note
    /// it, it is known nevertheless.
    pub fn announce_to(&mut self, pending_child: Option<&'static AtomicU64>) {
        self.pending_child = pending_child;
    }

    /// The pid that the kernel wrote.
    pub fn announced(pending_child: u64) -> Option<Pid> {
        let [a, b, c, d, ..] = pending_child.to_ne_bytes();
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
        let room = self.empty.pop().unwrap_or_else(Room::new);
        let started = self.prepare(plan, room).and_then(|flags| self.start(plan, room, flags));
        match started {
            Ok(pid) => self.last = Some(Started { pid, room, _dir: plan.dir.map(Rc::clone) }),
            Err(_) => self.reuse(room),
        }
        started
    }

    /// Puts everything where the child finds it. Returns the flags for clone(2).
    fn prepare(&mut self, plan: &Plan, room: &'static Room) -> Result<c_int, Errno> {
        let shares_files = self.has_close_range && is_within_places(plan) && !self.shares_files();
        self.descriptors.clear();
        if shares_files {
            self.put_all(plan.descriptors)?;
        } else {
            self.descriptors.extend(plan.descriptors.iter().map(numbers));
        }
        let table = match (shares_files, self.has_close_range) {
            (true, _) => Table::Shared { kept_below: self.highest_place() + 1 },
            (false, true) => Table::Copied,
            (false, false) => Table::CopiedWhole,
        };
        // SAFETY: no child is in the room.
        unsafe { (*room.child.get()).take_up(plan, &self.descriptors, table)? };
        let files = if shares_files { libc::CLONE_FILES } else { 0 };
        Ok(libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | files | namespaces(plan) | libc::SIGCHLD)
    }

    fn start(&mut self, plan: &Plan, room: &'static Room, flags: c_int) -> Result<Pid, Errno> {
        if self.shares_memory {
            match self.start_in_group(plan.group, room, flags) {
                Err(Errno::EINVAL) => self.shares_memory = false, // qemu-user
                result => return result,
            }
        }
        self.start_alone(plan, room)
    }

    fn start_in_group(&self, group: Option<&Group>, room: &'static Room, flags: c_int) -> Result<Pid, Errno> {
        let Some(group) = group else { return self.clone(None, room, flags) };
        match self.clone(Some(group), room, flags) {
            result @ (Ok(_) | Err(Errno::EAGAIN | Errno::ENOMEM)) => result,
            Err(_) => {
                let pid = self.clone(None, room, flags)?; // it cannot be entered like that, or is no longer there
                let _ = group.take_in(pid);
                Ok(pid)
            }
        }
    }

    fn clone(&self, group: Option<&Group>, room: &'static Room, flags: c_int) -> Result<Pid, Errno> {
        let child = room.child.get();
        let pending_child = self.pending_child.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the child uses its room and what that points to, all of which stay in place, and are left alone by us,
        // until the kernel has told that it has left. `become_program` makes system calls only, past the C library, and
        // changes no descriptor of a table that it shares. `pending_child` stays for ever.
        process(unsafe {
            let stack = &mut *room.stack.get();
            let here = &raw const (*child).here;
            match group {
                Some(group) => {
                    raw::clone_into(group.as_fd(), flags, stack, become_program, child.cast(), here, pending_child)
                }
                None => raw::clone(flags, stack, become_program, child.cast(), here, pending_child),
            }
        })
    }

    /// A child with a copy of our memory tells by its exit code only that it failed, and says it itself.
    fn start_alone(&self, plan: &Plan, room: &'static Room) -> Result<Pid, Errno> {
        let mut alone = Alone { child: room.child.get(), say_failure: plan.say_failure };
        let pending_child = self.pending_child.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the child has a copy of all that it uses, and we have a single thread, so that it may do what we may.
        let pid = process(unsafe {
            let (stack, here) = (&mut *room.stack.get(), ptr::from_ref(room.here()));
            let flags = namespaces(plan) | libc::SIGCHLD;
            raw::clone(flags, stack, become_program_alone, (&raw mut alone).cast(), here, pending_child)
        });
        // SAFETY: an atomic. The child is in no room of ours, and uses no descriptor of ours.
        unsafe { (*room.child.get()).shares_files.store(false, Ordering::Relaxed) };
        room.here().store(0, Ordering::Relaxed);
        if let (Ok(pid), Some(group)) = (pid, plan.group) {
            let _ = group.take_in(pid);
        }
        pid
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

    /// No child is in this room any more, whether or not the kernel has told so.
    fn reuse(&mut self, room: &'static Room) {
        room.here().store(0, Ordering::Relaxed);
        // SAFETY: nobody is in the room.
        unsafe { (*room.child.get()).forget_environment() };
        self.empty.push(room);
        self.clear_places();
    }

    /// Puts copies of descriptors where a child that shares our table finds them.
    fn put_all(&mut self, descriptors: &[Descriptor]) -> Result<(), Errno> {
        let mut places = self.places.iter().zip(&mut self.taken);
        for descriptor in descriptors {
            let (from, to) = numbers(descriptor);
            if is_standard(from) {
                self.descriptors.push((from, to));
            } else if let Some((place, taken)) = places.next() {
                *taken = true;
                self.descriptors.push((copy(descriptor.from, place)?, to));
            }
        }
        Ok(())
    }

    fn highest_place(&self) -> c_int {
        self.places.iter().map(|place| place.as_raw_fd()).max().unwrap_or_default()
    }

    /// Nothing of a child's stays open once it is through with it.
    fn clear_places(&mut self) {
        if self.taken == [false; PLACES] || self.shares_files() {
            return;
        }
        for (place, taken) in self.places.iter().zip(&mut self.taken) {
            if std::mem::take(taken) {
                let _ = copy(self.null.as_fd(), place);
            }
        }
    }
}

/// Whether a child that shares our table can be handed all of it.
fn is_within_places(plan: &Plan) -> bool {
    let strangers = plan.descriptors.iter().filter(|descriptor| !is_standard(descriptor.from.as_raw_fd()));
    strangers.count() <= PLACES && !matches!(plan.job, Job::GroupInFront(_))
}

/// Whether it is one of those that every child gets anyway.
fn is_standard(fd: c_int) -> bool {
    fd <= libc::STDERR_FILENO
}

fn numbers(descriptor: &Descriptor) -> (c_int, c_int) {
    (descriptor.from.as_raw_fd(), descriptor.to)
}

/// What clone(2) returned.
fn process(result: isize) -> Result<Pid, Errno> {
    raw::error(result).map_or(Ok(Pid(result as i32)), |errno| Err(Errno::from_raw(errno)))
}

/// Makes `place` a copy of a descriptor, and returns its number.
fn copy(fd: BorrowedFd, place: &OwnedFd) -> Result<c_int, Errno> {
    // SAFETY: `place` is ours alone; what it held is closed.
    checked(unsafe { libc::dup3(fd.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) })
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
    // SAFETY: the strings outlive the call, both arrays end with a null pointer, and the caller gives up its standard
    // output. Our runtime ignores PIPE, which the program is not to inherit.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::close(libc::STDOUT_FILENO);
        libc::execve(path.as_ptr(), argv.as_ptr(), text::our_environment());
    }
    Errno::last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::Resource;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::ffi::{CString, OsStr};
    use std::fs::{self as files, File};
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::atomic::AtomicI32;

    fn root() -> Rc<OwnedFd> {
        Rc::new(File::open("/").expect("/ opens").into())
    }

    fn plan<'a>(dir: &'a Rc<OwnedFd>, argv: &'a [&'a CStr]) -> Plan<'a> {
        Plan { dir: Some(dir), job: Job::Session, ..Plan::new(argv) }
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
            let stdin = [Descriptor { from: read.as_fd(), to: 0 }];
            let pid = spawner.spawn(&Plan { descriptors: &stdin, ..plan(&dir, argv) }).expect("a process");
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
        assert_eq!((spawner.pending.len(), spawner.taken), (0, [false; PLACES]), "nothing is held for anybody");
    }

    /// A spawner for each way to start a child: in our memory, where the kernel cannot close a row of descriptors, and in
    /// a copy.
    fn ways() -> [Spawner; 3] {
        let spawner = || Spawner { patience: Duration::from_secs(60), ..Spawner::new().expect("a spawner") };
        [spawner(), Spawner { has_close_range: false, ..spawner() }, Spawner { shares_memory: false, ..spawner() }]
    }

    fn pipe() -> (File, OwnedFd) {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        (read.into(), write)
    }

    /// What the program writes to its standard output, and how it ends.
    fn run(spawner: &mut Spawner, plan: &Plan) -> (String, Exit) {
        let (mut read, write) = pipe();
        let mut descriptors = plan.descriptors.to_vec();
        descriptors.push(Descriptor { from: write.as_fd(), to: 1 });
        let pid = spawner.spawn(&Plan { descriptors: &descriptors, ..*plan }).expect("a process");
        let (same, _) = spawner.wait_for_exec().expect("one was started");
        assert_eq!(same, pid);
        drop(write);
        let mut written = String::new();
        read.read_to_string(&mut written).expect("read");
        (written, wait::reap_only(pid).expect("it is our child"))
    }

    fn output(spawner: &mut Spawner, plan: &Plan) -> String {
        let (written, exit) = run(spawner, plan);
        assert_eq!(exit, Exit::Code(0), "{written}");
        written
    }

    const PATH: &str = "/usr/bin:/bin";

    /// A program of the system.
    fn tool<'a>(argv: &'a [&'a CStr]) -> Plan<'a> {
        Plan { search: Some(OsStr::new(PATH)), ..Plan::new(argv) }
    }

    #[test]
    fn a_program_has_as_many_arguments_as_it_is_given() {
        let words: Vec<CString> = (0..100).map(|n| CString::new(format!("word {n}")).expect("no NUL")).collect();
        let argv: Vec<&CStr> = [c"printf", c"%s,"].into_iter().chain(words.iter().map(CString::as_c_str)).collect();
        let expected: String = (0..100).map(|n| format!("word {n},")).collect();
        for mut spawner in ways() {
            assert_eq!(output(&mut spawner, &tool(&argv)), expected);
            assert_eq!(output(&mut spawner, &tool(&[c"printf", c"less"])), "less", "nothing is left of the one before");
        }
    }

    fn text<'a>(name: &'a str, value: &'a str) -> Variable<'a> {
        Variable { name: OsStr::new(name), value: Value::Text(OsStr::new(value)) }
    }

    fn unset(name: &str) -> Variable<'_> {
        Variable { name: OsStr::new(name), value: Value::Unset }
    }

    #[test]
    fn an_environment_is_ours_with_its_changes() {
        let ours: BTreeMap<String, String> = std::env::vars().collect();
        let changes = [text("A", "1"), text("PATH", "/there"), unset("HOME"), text("B", "x"), text("B", "a=b c")];
        assert!(ours.contains_key("HOME") && ours.contains_key("PATH"));
        let mut expected = ours.clone();
        expected.remove("HOME");
        expected.extend([("A", "1"), ("B", "a=b c"), ("PATH", "/there")].map(|(a, b)| (a.to_owned(), b.to_owned())));
        for mut spawner in ways() {
            let mut seen = |changes: &[Variable]| -> BTreeMap<String, String> {
                let written = output(&mut spawner, &Plan { environment: changes, ..tool(&[c"env", c"-0"]) });
                let lines = written.split_terminator('\0').filter_map(|line| line.split_once('='));
                lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            };
            assert_eq!(seen(&changes), expected);
            assert_eq!(seen(&[text("A", "1"), unset("A")]), ours);
            assert_eq!(seen(&[]), ours);
        }
    }

    #[test]
    fn many_variables_arrive_and_none_is_kept() {
        let names: Vec<String> = (0..10_000).map(|at| format!("V{at}")).collect();
        let changes: Vec<Variable> = names.iter().map(|name| text(name, "x")).collect();
        for mut spawner in ways() {
            let written = output(&mut spawner, &Plan { environment: &changes, ..tool(&[c"env"]) });
            assert_eq!(written.lines().filter(|line| line.starts_with('V') && line.ends_with("=x")).count(), 10_000);
            // SAFETY: nobody is in an empty room.
            let kept = spawner.empty.iter().map(|room| unsafe { (*room.child.get()).environment_size() });
            assert_eq!(kept.collect::<Vec<_>>(), [0]);
        }
    }

    #[test]
    fn a_variable_that_cannot_be_is_refused_before_there_is_a_process() {
        let mut spawner = Spawner::new().expect("a spawner");
        for (name, value) in [("", "x"), ("a=b", "x"), ("a\0b", "x"), ("a", "x\0y")] {
            let changes = [text(name, value)];
            let refused = spawner.spawn(&Plan { environment: &changes, ..tool(&[c"true"]) });
            assert_eq!(refused, Err(Errno::EINVAL), "{name:?} {value:?}");
        }
        assert_eq!((output(&mut spawner, &tool(&[c"true"])), spawner.taken), (String::new(), [false; PLACES]));
    }

    #[test]
    fn a_program_finds_its_own_pid_in_its_environment() {
        let own = |name| Variable { name: OsStr::new(name), value: Value::OwnPid };
        let changes = [text("BEFORE", "1"), own("LISTEN_PID"), own("OTHER"), text("BEHIND", "2")];
        let argv = [c"sh", c"-c", c"[ $LISTEN_PID = $$ ] && [ $OTHER = $$ ] && echo $BEFORE$BEHIND"];
        for mut spawner in ways() {
            for _ in 0..3 {
                assert_eq!(output(&mut spawner, &Plan { environment: &changes, ..tool(&argv) }), "12\n");
            }
        }
    }

    /// The files below `dir` that a program has open, each by its number.
    fn open_files(spawner: &mut Spawner, dir: &Path, descriptors: &[Descriptor]) -> BTreeMap<c_int, String> {
        let argv = [c"find", c"/proc/self/fd", c"-type", c"l", c"-printf", c"%f %l\n"];
        let written = output(spawner, &Plan { descriptors, ..tool(&argv) });
        let lines = written.lines().filter_map(|line| line.split_once(' '));
        let files = lines.filter_map(|(number, path)| Some((number, Path::new(path).strip_prefix(dir).ok()?)));
        let pairs = files.map(|(number, name)| (number.parse().expect("a number"), name.display().to_string()));
        pairs.collect()
    }

    fn files_in(dir: &Path, count: usize) -> Vec<OwnedFd> {
        (0..count).map(|n| File::create(dir.join(n.to_string())).expect("a file").into()).collect()
    }

    /// What a program has open that gets these files under these numbers, or under the number of one of them.
    fn handed_over(spawner: &mut Spawner, wanted: &[(usize, Result<c_int, usize>)]) {
        let dir = tempfile::tempdir().expect("a directory");
        let open = files_in(dir.path(), 6);
        let number = |target: &Result<c_int, usize>| target.unwrap_or_else(|other| open[other].as_raw_fd());
        let descriptors: Vec<_> =
            wanted.iter().map(|(file, to)| Descriptor { from: open[*file].as_fd(), to: number(to) }).collect();
        let expected: BTreeMap<_, _> = wanted.iter().map(|(file, to)| (number(to), file.to_string())).collect();
        assert_eq!(open_files(spawner, dir.path(), &descriptors), expected);
        assert_eq!(spawner.taken, [false; PLACES]);
    }

    #[test]
    fn any_descriptor_becomes_any_number() {
        for mut spawner in ways() {
            for wanted in [
                &[][..],
                &[(0, Ok(0))],
                &[(0, Ok(2)), (0, Ok(900))],
                &[(0, Err(0)), (1, Err(1)), (2, Err(2))],
                &[(0, Err(1)), (1, Err(0))],
                &[(0, Err(1)), (1, Err(2)), (2, Err(3)), (3, Err(0)), (3, Ok(3)), (1, Ok(4)), (5, Ok(0))],
            ] {
                handed_over(&mut spawner, wanted);
            }
        }
    }

    #[test]
    fn a_standard_descriptor_of_ours_becomes_any_number() {
        let argv =
            [c"sh", c"-c", c"[ /proc/self/fd/2 -ef /proc/self/fd/7 ] && [ ! /proc/self/fd/1 -ef /proc/self/fd/7 ]"];
        let stderr = std::io::stderr();
        for mut spawner in ways() {
            let copy = [Descriptor { from: stderr.as_fd(), to: 7 }];
            assert_eq!(output(&mut spawner, &Plan { descriptors: &copy, ..tool(&argv) }), "");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn descriptors_that_are_in_each_other_s_way_arrive(
            way in 0..3usize,
            wanted in prop::collection::vec((0..6usize, prop_oneof![
                (0..6usize).prop_map(Err),
                (3..30).prop_map(Ok),
                Just(Ok(0)),
                Just(Ok(2)),
            ]), 0..8),
        ) {
            let mut spawner = ways().into_iter().nth(way).expect("three ways");
            handed_over(&mut spawner, &wanted);
        }
    }

    /// Fields of its own line in /proc: its pid, process group, session, terminal and the group in front of that.
    const JOB: [&CStr; 5] = [c"cut", c"-d", c" ", c"-f1,5-8", c"/proc/self/stat"];

    fn job_of(spawner: &mut Spawner, job: Job, stdin: Option<BorrowedFd>) -> [i32; 5] {
        let stdin = stdin.map(|from| Descriptor { from, to: 0 });
        let written = output(spawner, &Plan { job, descriptors: stdin.as_slice(), ..tool(&JOB) });
        let fields: Vec<i32> = written.split_whitespace().map(|field| field.parse().expect("a number")).collect();
        fields.try_into().expect("five fields")
    }

    #[test]
    fn a_program_is_in_our_group_or_leads_a_group_or_a_session() {
        let [group, session] =
            [nix::unistd::getpgrp(), nix::unistd::getsid(None).expect("a session")].map(|id| id.as_raw());
        for mut spawner in ways() {
            let [_, its_group, its_session, ..] = job_of(&mut spawner, Job::Inherited, None);
            assert_eq!((its_group, its_session), (group, session));
            let [pid, its_group, its_session, ..] = job_of(&mut spawner, Job::Group, None);
            assert_eq!((its_group, its_session), (pid, session));
            let [pid, its_group, its_session, terminal, _] = job_of(&mut spawner, Job::Session, None);
            assert_eq!((its_group, its_session, terminal), (pid, pid, 0));
        }
    }

    #[test]
    fn a_session_takes_a_terminal_that_is_nobody_s() {
        static REFUSED: AtomicI32 = AtomicI32::new(0);
        let job = Job::SessionWithTerminal { refused: &REFUSED };
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let mut spawner = ways().into_iter().next().expect("a spawner");
        let [pid, _, _, terminal, in_front] = job_of(&mut spawner, job, Some(pty.slave.as_fd()));
        assert_eq!((terminal != 0, in_front, REFUSED.load(Ordering::Relaxed)), (true, pid, 0));
        let [.., terminal, _] = job_of(&mut spawner, job, Some(pipe().1.as_fd()));
        assert_eq!((terminal, REFUSED.load(Ordering::Relaxed)), (0, libc::ENOTTY));
    }

    #[test]
    fn a_program_has_the_limits_that_it_is_given() {
        let limit = |resource, to| Limit { resource, to: libc::rlimit { rlim_cur: to, rlim_max: to } };
        let limits = [
            limit(Resource::RLIMIT_CORE, 0),
            limit(Resource::RLIMIT_FSIZE, 512 * 7),
            Limit::open_files(libc::rlimit { rlim_cur: 64, rlim_max: 65 }),
        ];
        let argv = [c"sh", c"-c", c"ulimit -c; ulimit -f; ulimit -Sn; ulimit -Hn"];
        let dir = tempfile::tempdir().expect("a directory");
        let open = files_in(dir.path(), 1);
        let high = [Descriptor { from: open[0].as_fd(), to: 200 }]; // is there before the limit is
        for mut spawner in ways() {
            let plan = Plan { limits: &limits, descriptors: &high, ..tool(&argv) };
            assert!(["0\n7\n64\n65\n", "0\n3\n64\n65\n"].contains(&output(&mut spawner, &plan).as_str()));
        }
    }

    #[test]
    fn a_program_has_the_signals_that_it_is_given() {
        fn sets(status: &str) -> Vec<u64> {
            let lines = status.lines().filter(|line| line.starts_with("SigBlk:") || line.starts_with("SigIgn:"));
            lines.filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()).collect()
        }
        let ignored_by_us = sets(&files::read_to_string("/proc/self/status").expect("a status"))[1];
        let bit = |signal: c_int| 1u64 << (signal - 1);
        let signals = SignalState {
            blocked: bit(libc::SIGTERM) | bit(33) | bit(64),
            ignored: bit(libc::SIGHUP) | bit(libc::SIGCHLD) | bit(34),
        };
        for mut spawner in ways() {
            let mut seen =
                |signals| sets(&output(&mut spawner, &Plan { signals, ..tool(&[c"cat", c"/proc/self/status"]) }));
            assert_eq!(seen(signals), [signals.blocked, signals.ignored | ignored_by_us]);
            assert_eq!(seen(SignalState::default()), [0, ignored_by_us]);
        }
    }

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        let dir = tempfile::tempdir().expect("a directory");
        for (place, content, mode) in [("denied", "exit 1", 0o644), ("last", "exit $(($# * 10 + ${1#x}))", 0o755)] {
            let place = dir.path().join(place);
            files::create_dir(&place).expect("mkdir");
            let path = place.join("program");
            files::write(&path, content).expect("write");
            files::set_permissions(&path, files::Permissions::from_mode(mode)).expect("chmod");
        }
        let [denied, last, absent] = ["denied", "last", "absent"].map(|place| dir.path().join(place));
        let path = |places: &[&Path]| std::env::join_paths(places).expect("a PATH");
        let codes = ExitCodes { absent: 127, denied: 126, otherwise: 125 };
        let argv = [c"program", c"x2", c"y"];
        let below_a_file =
            CString::new(last.join("program/below").into_os_string().into_encoded_bytes()).expect("no NUL");
        for mut spawner in ways() {
            let mut exit = |argv: &[&CStr], path: &OsStr| {
                run(&mut spawner, &Plan { search: Some(path), exit_codes: codes, ..Plan::new(argv) }).1
            };
            assert_eq!(exit(&argv, &path(&[&absent, &denied, &last])), Exit::Code(22));
            assert_eq!(exit(&argv, &path(&[&denied, &absent])), Exit::Code(126));
            assert_eq!(exit(&argv, &path(&[&absent])), Exit::Code(127));
            assert_eq!(exit(&[c""], &path(&[&last])), Exit::Code(127));
            assert_eq!(exit(&[], &path(&[&last])), Exit::Code(127));
            assert_eq!(exit(&[&below_a_file], &path(&[&last])), Exit::Code(125));
        }
    }

    #[test]
    fn a_child_in_a_copy_of_our_memory_says_itself_that_it_failed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("said");
        let say = |errno: Errno| files::write(&path, format!("{errno:?}")).expect("write");
        let mut spawner = Spawner { shares_memory: false, ..Spawner::new().expect("a spawner") };
        let plan = Plan { say_failure: Some(&say), ..Plan::new(&[c"/no/such/program"]) };
        let pid = spawner.spawn(&plan).expect("a process");
        assert_eq!(spawner.wait_for_exec(), Some((pid, Exec::Done)), "it cannot tell us");
        assert_eq!(wait::reap_only(pid), Some(Exit::NOT_RUN));
        assert_eq!(files::read_to_string(path).expect("read"), "ENOENT");
    }

    #[test]
    fn who_gets_more_than_there_are_places_for_is_started_beside_one_that_is_pending() {
        let mut spawner = Spawner { patience: Duration::ZERO, ..Spawner::new().expect("a spawner") };
        let (dir, mut children) = (tempfile::tempdir().expect("a directory"), Vec::new());
        let open = files_in(dir.path(), 3);
        for (n, mut file) in (0..12).zip(open.iter().map(|fd| File::from(fd.try_clone().expect("a copy"))).cycle()) {
            let from = |n: usize, to| Descriptor { from: open[n].as_fd(), to };
            let descriptors = [from(0, 5), from(1, 6), from(2, 7)];
            let plan = Plan { descriptors: &descriptors[..n % 4], ..tool(&[c"sh", c"-c", c"echo x 2>/dev/null >&7"]) };
            children.push((n % 4 == 3, spawner.spawn(&plan).expect("a process")));
            spawner.wait_for_exec();
            file.flush().expect("flush");
        }
        for (has_it, pid) in children {
            assert_eq!(wait::reap_only(pid) == Some(Exit::Code(0)), has_it);
            spawner.ended(pid);
        }
        assert_eq!(files::read_to_string(dir.path().join("2")).expect("read"), "x\nx\nx\n");
        assert_eq!((spawner.pending.len(), spawner.taken), (0, [false; PLACES]));
    }
}
