//! Children that are traced by us although we never asked for it.
//!
//! `PTRACE_TRACEME` makes the parent of the process that calls it its tracer: programs do so to keep debuggers away, or
//! before they execute another one for a debugger that is not there. From then on each signal but KILL stops the child
//! until its tracer lets it go on, and each stop is reported to us like an end.

use crate::machine::Pid;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

/// A traced child that has stopped runs on, gets the signal that it was stopped by, and is traced no longer: so stop
/// and continue work for it as for any other. Does nothing to other children.
pub fn release(pid: Pid) {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: ptrace(2) writes to `info` only; zeroed, it holds no signal. It refuses a process that we do not trace,
    // or that is not stopped.
    unsafe {
        libc::ptrace(libc::PTRACE_GETSIGINFO, pid.0, nothing, info.as_mut_ptr());
        let signal = libc::c_long::from(signal_for(pid, &info.assume_init()));
        libc::ptrace(libc::PTRACE_DETACH, pid.0, nothing, signal);
    }
}

/// The signal that it gets after all. None where there is none: the whole process was stopped before, or the stop is
/// about the tracing itself. An exec under a tracer sends TRAP, in the name of the process itself, which ends a process
/// that is not traced.
fn signal_for(pid: Pid, info: &libc::siginfo_t) -> c_int {
    // SAFETY: as zeros, or as kill(2) sends it, there is a pid.
    let from_itself = info.si_code == libc::SI_USER && unsafe { info.si_pid() } == pid.0;
    let is_event = info.si_code > 0xff;
    if info.si_signo == libc::SIGTRAP && (from_itself || is_event) { 0 } else { info.si_signo }
}
