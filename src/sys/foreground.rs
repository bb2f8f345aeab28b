//! The main process of a container: started as if in our place, and in front of the terminal where we are.
//!
//! Unlike services it gets everything as we got it: the mask and the ignored signals, every descriptor, the terminal.

use super::cgroup::Group;
use super::signals::Action;
use super::spawn::{self, Descriptor, ExitCodes, Job, Limit, SignalState, Spawner, Value, Variable};
use super::{Errno, checked, fs, signals, tracee};
use crate::machine::main_process::Leads;
use crate::machine::{Pid, Signal, Target};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::signal::SigSet;
use nix::unistd::{getpgrp, getpid, tcgetpgrp, tcsetpgrp};
use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// The signals as the program that executed us left them: one bit for each that was blocked, from 1 on, or ignored.
static BLOCKED: AtomicU64 = AtomicU64::new(0);
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// Runs before Rust's runtime does, which ignores SIGPIPE and would be taken for our parent's wish. PID 1 lets signals wait
/// before anything else: the C library blocks them for a moment when it is asked for ABRT, and then they would get lost.
extern "C" fn note_signals() {
    let blocked = if std::process::id() == 1 { signals::hold_back() } else { signals::mask(libc::SIG_BLOCK, 0) };
    let ignored = signals::set_of(signals::ALL.filter(|signal| Action::now(*signal).is_ignored()));
    set_inherited([blocked, ignored]);
    signals::install_first_handler();
}

/// What the main process gets: the blocked signals and the ignored ones.
pub fn inherited() -> [u64; 2] {
    [&BLOCKED, &IGNORED].map(|bits| bits.load(Ordering::Relaxed))
}

/// Notes them. After a new start they are those that the supervisor before us was given.
pub fn set_inherited([blocked, ignored]: [u64; 2]) {
    BLOCKED.store(blocked, Ordering::Relaxed);
    IGNORED.store(ignored, Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = note_signals;

/// The descriptors from 3 on that a program executed by us would get. To be asked before they are changed.
pub fn inherited_descriptors() -> Vec<RawFd> {
    let listed = std::fs::read_dir("/proc/self/fd").ok().map(|entries| {
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect::<Vec<RawFd>>()
    });
    let candidates = listed.unwrap_or_else(|| (3..256).collect()); // without /proc
    candidates.into_iter().filter(|fd| *fd > 2 && stays_open(*fd)).collect()
}

fn stays_open(fd: RawFd) -> bool {
    flags(fd).is_ok_and(|flags| !flags.contains(FdFlag::FD_CLOEXEC))
}

fn flags(fd: RawFd) -> Result<FdFlag, Errno> {
    // SAFETY: only asked for its flags; a number that is not open is refused.
    fcntl(unsafe { BorrowedFd::borrow_raw(fd) }, FcntlArg::F_GETFD).map(FdFlag::from_bits_retain)
}

/// What to start as the main process.
pub struct Plan<'a> {
    /// The program, looked for in `PATH` if it has no slash, and its arguments.
    pub argv: &'a [CString],
    /// The descriptors it inherits beside the first three.
    pub descriptors: &'a [RawFd],
    /// What it leads.
    pub leads: Leads,
    /// We leave our working directory to it, and stand in `/` from now on.
    pub leaves_directory: bool,
    /// We get this signal when our parent ends, and with us the main process.
    pub death_signal: Option<Signal>,
    /// The limit of open files that it gets; else ours.
    pub open_files: Option<libc::rlimit>,
    /// What it is in; else in what we are in.
    pub group: Option<&'a Group>,
    /// How it ends if it cannot be executed.
    pub exit_codes: ExitCodes,
}

/// What happens to the terminal while the main process starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// We have left the terminal; as the leader of its session, or not.
    Left {
        /// Then the kernel sends HUP and CONT.
        leader: bool,
    },
    /// There is no terminal of ours to leave.
    NotLeft(Errno),
    /// A signal that came of it, and is not passed on.
    HandedOff(Signal),
    /// There is no terminal for the session of the main process.
    NotTaken(Errno),
    /// It leads a session.
    Session,
}

/// How it is said what happens.
pub trait Report {
    /// Reports this step, or ignores it.
    fn step(&self, step: Step);
    /// This process cannot execute the program: says so.
    fn exec_failed(&self, pid: u32, name: &CStr, errno: Errno);
}

/// Why the session of the main process has no terminal.
static NOT_TAKEN: AtomicI32 = AtomicI32::new(0);

/// Where programs are looked for if `PATH` is not set.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Starts it. Whether its exec worked tells [`Spawner::wait_for_exec`]; only where a child cannot tell us does it say
/// itself that it could not be executed.
pub fn start(plan: &Plan, spawner: &mut Spawner, report: &impl Report) -> Result<Pid, Errno> {
    let terminal = (plan.leads == Leads::Group).then(terminal_in_front).flatten();
    if plan.leads == Leads::Session {
        leave_terminal(report);
    }
    if let Some(signal) = plan.death_signal {
        // SAFETY: prctl(2) with numbers only.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.0, 0, 0, 0) };
    }
    let name = plan.argv.first().map_or(c"", CString::as_c_str);
    let pid = spawner.spawn(&spawn::Plan {
        search: Some(&std::env::var_os("PATH").unwrap_or_else(|| PATH.into())),
        dir: plan.leaves_directory.then(super::process::leave_directory).flatten().map(Rc::new).as_ref(),
        environment: listener().as_slice(),
        descriptors: &descriptors(plan.descriptors),
        job: job(plan.leads, terminal.as_ref()),
        limits: plan.open_files.map(Limit::open_files).as_slice(),
        signals: signal_state(),
        group: plan.group,
        exit_codes: plan.exit_codes,
        say_failure: Some(&|errno| report.exec_failed(std::process::id(), name, errno)),
        ..spawn::Plan::new(&plan.argv.iter().map(CString::as_c_str).collect::<Vec<_>>())
    })?;
    if plan.leads == Leads::Group {
        let _ = set_group(pid); // the child does so too; it is done before any signal for the group
    }
    Ok(pid)
}

/// Says what became of the terminal in the child, which has executed its program, or could not.
pub fn report_session(leads: Leads, report: &impl Report) {
    if leads != Leads::Session {
        return;
    }
    match NOT_TAKEN.load(Ordering::Relaxed) {
        0 => {}
        errno => report.step(Step::NotTaken(Errno::from_raw(errno))),
    }
    report.step(Step::Session);
}

fn job(leads: Leads, in_front: Option<&OwnedFd>) -> Job<'_> {
    match (leads, in_front) {
        (Leads::Nothing, _) => Job::Inherited,
        (Leads::Session, _) => Job::SessionWithTerminal { refused: &NOT_TAKEN },
        (Leads::Group, None) => Job::Group,
        (Leads::Group, Some(terminal)) => Job::GroupInFront(terminal.as_fd()),
    }
}

/// Those that are still there, each as its own number.
fn descriptors(inherited: &[RawFd]) -> Vec<Descriptor<'static>> {
    let open = inherited.iter().filter(|fd| flags(**fd).is_ok());
    // SAFETY: they were left to us for the main process, and are not closed.
    open.map(|fd| Descriptor { from: unsafe { BorrowedFd::borrow_raw(*fd) }, to: *fd }).collect()
}

/// Socket activation names the process that is meant, and that was us.
fn listener() -> Option<Variable<'static>> {
    let names_us = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == getpid().to_string());
    names_us.then_some(Variable { name: OsStr::new("LISTEN_PID"), value: Value::OwnPid })
}

fn signal_state() -> SignalState {
    let [blocked, ignored] = inherited();
    SignalState { blocked, ignored }
}

// The terminal.

/// The terminal of our session, whatever standard input is: in a pipe, a pager still reads it. Where there is no such
/// device, standard input may be it.
fn terminal() -> Result<OwnedFd, Errno> {
    fs::open_at(fs::HERE, "/dev/tty", OFlag::O_RDWR, 0).or_else(|_| {
        // SAFETY: descriptor 0 is never closed by us; where it is not open this is refused.
        let copy = fcntl(unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) }, FcntlArg::F_DUPFD_CLOEXEC(3))?;
        // SAFETY: it was made just now, and nothing else uses it.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    })
}

fn is_front(group: nix::unistd::Pid) -> bool {
    terminal().and_then(tcgetpgrp).is_ok_and(|front| front == group)
}

/// Whether our process group is the one that the terminal, if there is one, listens to.
pub fn is_in_front() -> bool {
    is_front(getpgrp())
}

/// The terminal, if it listens to our process group.
fn terminal_in_front() -> Option<OwnedFd> {
    terminal().ok().filter(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()))
}

/// Whether the terminal, if there is one, listens to the main process or to us.
pub fn is_at_terminal(main: Pid) -> bool {
    let known = [nix::unistd::Pid::from_raw(main.0), getpgrp()];
    terminal().and_then(tcgetpgrp).is_ok_and(|front| known.contains(&front))
}

/// All signals are blocked here, SIGTTOU too, so this is allowed from wherever we are.
fn put_in_front(group: nix::unistd::Pid) {
    let _ = terminal().and_then(|terminal| tcsetpgrp(terminal, group));
}

/// Leaves our terminal to the session of the main process. If it was our session's, the kernel tells us, as every
/// process in front of it, that it hung up; that is not passed on to the main process.
fn leave_terminal(report: &impl Report) {
    // SAFETY: takes no argument.
    if let Err(errno) = checked(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY) }) {
        return report.step(Step::NotLeft(errno));
    }
    let leader = nix::unistd::getsid(None) == Ok(getpid());
    report.step(Step::Left { leader });
    if leader {
        let mut words = SigSet::empty();
        words.add(nix::sys::signal::Signal::SIGHUP);
        words.add(nix::sys::signal::Signal::SIGCONT);
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: reads the set and the time; the sender of the signal is not asked for.
        let next = || unsafe { libc::sigtimedwait(words.as_ref(), std::ptr::null_mut(), &at_once) };
        std::iter::from_fn(|| Some(next()).filter(|signal| *signal > 0))
            .for_each(|signal| report.step(Step::HandedOff(Signal(signal))));
    }
}

fn set_group(pid: Pid) -> Result<(), Errno> {
    let pid = nix::unistd::Pid::from_raw(pid.0);
    nix::unistd::setpgid(pid, pid)
}

/// The main process has ended: the terminal is ours again if it was the main process's.
pub fn take_back_terminal(main: Pid) {
    if is_front(nix::unistd::Pid::from_raw(main.0)) {
        put_in_front(getpgrp());
    }
}

/// The signal by which the main process was stopped since this was last asked. The stop of one that is traced is none.
pub fn has_stopped(main: Pid) -> Option<Signal> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WSTOPPED | libc::WNOHANG;
    // SAFETY: waitid(2) writes to `info` only. Only stops are asked for, so nothing is reaped.
    checked(unsafe { libc::waitid(libc::P_PID, main.0.cast_unsigned(), info.as_mut_ptr(), flags) }).ok()?;
    // SAFETY: zeroed, or written by the kernel. Without a stop the pid stays zero.
    let (pid, status, code) = unsafe {
        let info = info.assume_init();
        (info.si_pid(), info.si_status(), info.si_code)
    };
    if pid != 0 && code == libc::CLD_TRAPPED {
        tracee::release(main);
        return None;
    }
    (pid != 0).then_some(Signal(status))
}

/// Stops ourselves and our process group, as the terminal would have done had the main process been in our place, so
/// that the shell that waits for us has its prompt again. Returns when another process continues us; at once where none
/// could: the kernel stops neither PID 1 nor a group that no shell looks after.
pub fn stop_with_main() {
    let mut stop = SigSet::empty();
    stop.add(nix::sys::signal::Signal::SIGTSTP);
    let _ = stop.thread_unblock();
    let _ = signals::send(0, Signal::TSTP);
    let _ = stop.thread_block();
}

/// Stops ourselves, as we were told to. Returns when another process continues us; at once as PID 1, which the kernel
/// does not stop.
pub fn stop_ourselves() {
    let _ = signals::send(getpid().as_raw(), Signal::STOP);
}

/// Sends the main process a signal. As long as it does not lead its group, just after its start, or when it has left it,
/// it is alone.
pub fn send_signal(main: Pid, signal: Signal, to: Target) {
    let pid = nix::unistd::Pid::from_raw(main.0);
    let to = if nix::unistd::getpgid(Some(pid)) == Ok(pid) { to } else { Target::Process };
    let _ = super::process::kill(main, signal, to); // that we may not signal it is not told
}

/// Continues the main process, in front if we are there.
pub fn continue_main(main: Pid) {
    if is_in_front() {
        put_in_front(nix::unistd::Pid::from_raw(main.0));
    }
    send_signal(main, Signal::CONT, Target::Group);
}
