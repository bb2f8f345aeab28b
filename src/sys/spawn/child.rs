//! What a child does before it executes its program, and the memory that tells it what. The parent has prepared all of
//! it: here are system calls only, past the C library, and nothing is allocated.

use super::super::{Errno, raw, signals};
use super::moves::{Move, in_order};
use super::plan::{ExitCodes, Job, Limit, Plan, SignalState};
use super::text::{Environment, Words};
use nix::sys::resource::Resource;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// linux/close_range.h
pub(super) const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
/// The first descriptor that a program gets only if that is said.
const FIRST_OF_OURS: c_int = 3;
/// The program that reads a text file without a `#!` line.
const SHELL: &CStr = c"/bin/sh";

/// What the child needs, in memory that both sides share. It stays in place while the child uses it.
pub(super) struct Child {
    job: OwnJob,
    dir: Option<c_int>,
    moves: Vec<Move>,
    /// The descriptors from this number on are left to the parent; the others become the child's own.
    unshares_from: Option<c_int>,
    /// The first and the last of each row of descriptors that are not for the program.
    closes: Vec<(c_int, c_int)>,
    limits: Vec<Limit>,
    signals: SignalState,
    argv: Words,
    /// What is tried, one after the other.
    programs: Words,
    /// They are looked for in `PATH`.
    is_searched: bool,
    /// The words with which the shell reads a program, the second one being that; empty: it reads none.
    shell: Vec<Cell<*const c_char>>,
    environment: Environment,
    exit_codes: ExitCodes,
    /// The table of descriptors is the parent's.
    pub(super) shares_files: AtomicBool,
    pub(super) failed: AtomicI32,
    /// The kernel sets it to zero when the child has left this memory, by executing its program or by its end.
    pub(super) here: AtomicU32,
}

/// [`Job`], for as long as the child takes.
#[derive(Clone, Copy)]
enum OwnJob {
    Inherited,
    Session,
    SessionWithTerminal { refused: &'static AtomicI32 },
    Group,
    GroupInFront { terminal: c_int },
}

/// How the child gets a table of descriptors of its own.
#[derive(Clone, Copy)]
pub(super) enum Table {
    /// It begins with the parent's, and keeps what is below this number.
    Shared { kept_below: c_int },
    /// The kernel has copied the parent's.
    Copied,
    /// The same, and the kernel cannot close a row of descriptors.
    CopiedWhole,
}

impl Default for Child {
    fn default() -> Child {
        Child {
            job: OwnJob::Inherited,
            dir: None,
            moves: Vec::new(),
            unshares_from: None,
            closes: Vec::new(),
            limits: Vec::new(),
            signals: SignalState::default(),
            argv: Words::default(),
            programs: Words::default(),
            is_searched: false,
            shell: Vec::new(),
            environment: Environment::default(),
            exit_codes: Plan::new(&[]).exit_codes,
            shares_files: AtomicBool::new(false),
            failed: AtomicI32::new(0),
            here: AtomicU32::new(0),
        }
    }
}

impl Child {
    /// Takes up a plan. Each of the descriptors is one of the child's, and the number that it is to have.
    pub(super) fn take_up(&mut self, plan: &Plan, descriptors: &[(c_int, c_int)], table: Table) -> Result<(), Errno> {
        self.job = match plan.job {
            Job::Inherited => OwnJob::Inherited,
            Job::Session => OwnJob::Session,
            Job::SessionWithTerminal { refused } => OwnJob::SessionWithTerminal { refused },
            Job::Group => OwnJob::Group,
            Job::GroupInFront(terminal) => OwnJob::GroupInFront { terminal: terminal.as_raw_fd() },
        };
        self.dir = plan.dir.map(|dir| dir.as_raw_fd());
        self.take_up_descriptors(descriptors, table);
        self.limits.clear();
        self.limits.extend_from_slice(plan.limits);
        self.signals = plan.signals;
        self.take_up_words(plan)?;
        self.environment.fill(plan.environment)?;
        self.exit_codes = plan.exit_codes;
        self.failed = AtomicI32::new(0);
        self.here = AtomicU32::new(1);
        Ok(())
    }

    /// Nothing of a large environment is kept once the program has it.
    pub(super) fn forget_environment(&mut self) {
        self.environment = Environment::default();
    }

    #[cfg(test)]
    pub(super) fn environment_size(&self) -> usize {
        self.environment.size()
    }

    fn take_up_descriptors(&mut self, descriptors: &[(c_int, c_int)], table: Table) {
        self.moves.clear();
        in_order(descriptors, &mut self.moves);
        self.closes.clear();
        self.unshares_from = None;
        match table {
            Table::Shared { kept_below } => self.unshares_from = Some(kept_below),
            Table::Copied => self.closes.extend(gaps(descriptors)),
            Table::CopiedWhole => {}
        }
        self.shares_files = AtomicBool::new(self.unshares_from.is_some());
    }

    fn take_up_words(&mut self, plan: &Plan) -> Result<(), Errno> {
        for words in [&mut self.argv, &mut self.programs] {
            words.clear();
        }
        self.shell.clear();
        self.is_searched = false;
        plan.argv.iter().try_for_each(|word| self.argv.push(&[word.to_bytes()]))?;
        self.argv.seal();
        let name = plan.argv.first().map_or(&[][..], |name| name.to_bytes());
        match plan.search {
            Some(path) if !name.contains(&b'/') => {
                self.is_searched = true;
                let dirs = std::env::split_paths(path).filter(|_| !name.is_empty());
                dirs.map(|dir| dir.join(Path::new(std::ffi::OsStr::from_bytes(name))).into_os_string().into_vec())
                    .try_for_each(|file| self.programs.push(&[&file]))?;
            }
            Some(_) | None => self.programs.push(&[name])?,
        }
        self.programs.seal();
        if plan.search.is_some() {
            let start = [c"sh".as_ptr(), ptr::null()];
            let words = self.argv.pointers().iter().skip(1); // the null pointer as well
            self.shell.extend(start.into_iter().chain(words.copied()).map(Cell::new));
        }
        Ok(())
    }
}

/// The rows of descriptors, from the first of ours on, that are no target.
fn gaps(descriptors: &[(c_int, c_int)]) -> Vec<(c_int, c_int)> {
    let mut targets: Vec<c_int> = descriptors.iter().map(|(_, to)| *to).filter(|to| *to >= FIRST_OF_OURS).collect();
    targets.sort_unstable();
    let (mut gaps, mut next) = (Vec::new(), FIRST_OF_OURS);
    for target in targets {
        if next < target {
            gaps.push((next, target - 1));
        }
        next = target.saturating_add(1);
    }
    gaps.push((next, c_int::MAX));
    gaps
}

/// The child: sets itself up and executes the program, or notes why that failed.
pub(super) extern "C" fn become_program(arg: *mut c_void) -> c_int {
    // SAFETY: `arg` is the parent's `Child`, which stays in place while we are here; of it the parent uses atomics only.
    unsafe {
        let child = &*arg.cast::<Child>();
        let errno = run(child);
        child.failed.store(errno, Ordering::Relaxed);
        end(child, errno)
    }
}

/// The child where the kernel, or qemu-user in its place, does not let two processes share memory.
pub(super) struct Alone<'a> {
    pub(super) child: *const Child,
    pub(super) say_failure: Option<&'a dyn Fn(Errno)>,
}

/// The same, in a copy of the parent's memory.
pub(super) extern "C" fn become_program_alone(arg: *mut c_void) -> c_int {
    // SAFETY: `arg` is an `Alone` on the parent's stack, of which we have a copy, as of everything that it points to.
    unsafe {
        let alone = &*arg.cast::<Alone>();
        let errno = run(&*alone.child);
        if let Some(say) = alone.say_failure {
            say(Errno::from_raw(errno));
        }
        end(&*alone.child, errno)
    }
}

/// Returns only if the program cannot be executed.
///
/// # Safety
/// Runs in a child that shares its parent's memory: plain system calls only, no allocation, no C library.
unsafe fn run(child: &Child) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match prepare(child) {
            Ok(()) => execute(child),
            Err(errno) => errno,
        }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn end(child: &Child, errno: c_int) -> ! {
    let code = child.exit_codes.of(Errno::from_raw(errno));
    loop {
        // SAFETY: exit(2) takes a number.
        let _ = unsafe { call(libc::SYS_exit, [code.into(), 0, 0, 0]) };
    }
}

/// Everything before the exec.
///
/// # Safety
/// As for [`run`].
unsafe fn prepare(child: &Child) -> Result<(), c_int> {
    // SAFETY: plain system calls on numbers and on memory that the parent keeps valid.
    unsafe {
        lead(child.job);
        if let Some(dir) = child.dir {
            call(libc::SYS_fchdir, [dir as usize, 0, 0, 0])?;
        }
        take_descriptors(child)?;
        take_terminal(child.job);
        for Limit { resource, to } in &child.limits {
            call(libc::SYS_prlimit64, [0, number_of(*resource), ptr::from_ref(to) as usize, 0])?;
        }
        if child.environment.wants_pid() {
            child.environment.note_pid(own_pid().cast_unsigned());
        }
        set_signals(child.signals);
        Ok(())
    }
}

/// What has to be done with the parent's descriptors.
///
/// # Safety
/// As for [`run`].
unsafe fn lead(job: OwnJob) {
    // SAFETY: numbers, and a number on this stack. A fresh child leads no group, so setsid(2) cannot fail.
    unsafe {
        match job {
            OwnJob::Inherited => {}
            OwnJob::Session | OwnJob::SessionWithTerminal { .. } => drop(call(libc::SYS_setsid, [0; 4])),
            OwnJob::Group => drop(call(libc::SYS_setpgid, [0; 4])),
            OwnJob::GroupInFront { terminal } => {
                let _ = call(libc::SYS_setpgid, [0; 4]);
                let us = own_pid();
                let request = libc::TIOCSPGRP as usize;
                let _ = call(libc::SYS_ioctl, [terminal as usize, request, (&raw const us) as usize, 0]);
            }
        }
    }
}

/// What has to be done with the program's own descriptors.
///
/// # Safety
/// As for [`run`].
unsafe fn take_terminal(job: OwnJob) {
    let OwnJob::SessionWithTerminal { refused } = job else { return };
    let (stdin, request) = (libc::STDIN_FILENO as usize, libc::TIOCSCTTY as usize);
    // SAFETY: numbers only.
    if let Err(errno) = unsafe { call(libc::SYS_ioctl, [stdin, request, 0, 0]) } {
        refused.store(errno, Ordering::Relaxed);
    }
}

fn own_pid() -> libc::pid_t {
    // SAFETY: getpid(2) takes nothing.
    unsafe { raw::call(libc::SYS_getpid, 0, 0, 0, 0) as libc::pid_t }
}

/// # Safety
/// As for [`run`].
unsafe fn take_descriptors(child: &Child) -> Result<(), c_int> {
    // SAFETY: numbers only. The table is our own before anything in it is changed.
    unsafe {
        if let Some(first) = child.unshares_from {
            let all = [first as usize, u32::MAX as usize, CLOSE_RANGE_UNSHARE as usize, 0];
            call(libc::SYS_close_range, all)?;
            child.shares_files.store(false, Ordering::Release);
        }
        for step in &child.moves {
            let (from, to, flags) = match *step {
                Move::Copy { from, to } => (from, to, 0),
                Move::Aside { from, to } => (from, to, libc::O_CLOEXEC),
                Move::Keep(fd) => {
                    call(libc::SYS_fcntl, [fd as usize, libc::F_SETFD as usize, 0, 0])?;
                    continue;
                }
            };
            call(libc::SYS_dup3, [from as usize, to as usize, flags as usize, 0])?;
        }
        for (first, last) in &child.closes {
            // A child that waits long for its exec holds no lock and no pipe that is not its own.
            call(libc::SYS_close_range, [*first as usize, *last as usize, 0, 0])?;
        }
        Ok(())
    }
}

fn number_of(resource: Resource) -> usize {
    resource as usize
}

/// Past the C library, as everything here.
fn set_signals(SignalState { blocked, ignored }: SignalState) {
    if ignored != 0 {
        let is_ignored = |signal: &c_int| ignored & signals::set_of([*signal]) != 0;
        let ignore = signals::Action::of(libc::SIG_IGN);
        signals::ALL.filter(is_ignored).for_each(|signal| signals::set_action(signal, ignore));
    }
    signals::mask(libc::SIG_SETMASK, blocked);
}

/// Returns the error number of what was in the way.
///
/// # Safety
/// As for [`run`].
unsafe fn execute(child: &Child) -> c_int {
    let mut worst = libc::ENOENT;
    for program in child.programs.iter() {
        // SAFETY: the caller's promise.
        match unsafe { execute_file(child, program) } {
            libc::ENOENT | libc::ENOTDIR if child.is_searched => {}
            errno => worst = errno,
        }
    }
    worst
}

/// # Safety
/// As for [`run`].
unsafe fn execute_file(child: &Child, program: *const c_char) -> c_int {
    let words = child.shell.as_ptr().cast::<*const c_char>();
    // SAFETY: strings, arrays that a null pointer ends, and the caller's promise. A cell is what is in it.
    unsafe {
        let errno = execve(program, child.argv.pointers().as_ptr(), child);
        if let (libc::ENOEXEC, Some(read)) = (errno, child.shell.get(1)) {
            read.set(program);
            execve(SHELL.as_ptr(), words, child);
        }
        errno
    }
}

/// # Safety
/// As for [`run`].
unsafe fn execve(program: *const c_char, argv: *const *const c_char, child: &Child) -> c_int {
    let environment = child.environment.pointer();
    // SAFETY: the caller's promise.
    let result = unsafe { call(libc::SYS_execve, [program as usize, argv as usize, environment as usize, 0]) };
    result.err().unwrap_or(0)
}

/// # Safety
/// As for the system call itself.
pub(super) unsafe fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> Result<(), c_int> {
    // SAFETY: the caller's promise.
    raw::error(unsafe { raw::call(number, a, b, c, d) }).map_or(Ok(()), Err)
}
