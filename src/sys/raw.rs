//! System calls without the C library, and a process without it.
//!
//! For a process that shares its parent's memory while the parent runs: the C library would note an error in a
//! variable that belongs to the parent.

use std::ffi::{c_int, c_long, c_void};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use std::sync::atomic::Ordering;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// linux/sched.h; libc's does not fit its type.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a process that shares our memory runs.
pub type Start = extern "C" fn(*mut c_void) -> c_int;

/// A system call with up to four arguments. Negative results are error numbers.
///
/// # Safety
/// As for the system call itself.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call(number: c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the x86-64 convention of syscall(2): rcx and r11 are lost.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    result
}

/// A system call with up to four arguments. Negative results are error numbers.
///
/// # Safety
/// As for the system call itself.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call(number: c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the arm64 convention of syscall(2).
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number as isize,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d,
            options(nostack)
        );
    }
    result
}

/// A system call with up to four arguments. Negative results are error numbers. Through the C library: the parent
/// must stand still meanwhile.
///
/// # Safety
/// As for the system call itself.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub unsafe fn call(number: c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    // SAFETY: the caller's promise.
    match unsafe { libc::syscall(number, a, b, c, d) } {
        -1 => -(super::Errno::last_raw() as isize),
        result => result as isize,
    }
}

/// A process that shares our memory, on a stack of its own, running `start(arg)`, which never returns; and us, going on
/// at the same time. `here` is set to zero by the kernel once the process has left this memory; before it begins, its
/// pid is written to `pid`, if that is not null.
///
/// # Safety
/// Until then `stack`, `arg` and `here` stay in place, and `start` makes system calls only, by [`call`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub unsafe fn clone(
    flags: c_int,
    stack: &mut [u8],
    start: Start,
    arg: *mut c_void,
    here: *const AtomicU32,
    pid: *const AtomicU64,
) -> isize {
    let flags = if pid.is_null() { flags } else { flags | libc::CLONE_PARENT_SETTID };
    let top = aligned_top(stack);
    let (pid, here) = (pid as usize, here as usize);
    let last = if cfg!(target_arch = "x86_64") { [here, 0] } else { [0, here] };
    // SAFETY: clone(2), and the caller's promise.
    unsafe { twice(libc::SYS_clone, [flags as usize, top, pid, last[0], last[1]], start, arg) }
}

/// The same in another control group. A kernel before 5.7 does not know that, and a filter of system calls may not let it
/// through: ENOSYS or EPERM, for example.
///
/// # Safety
/// As for [`clone`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub unsafe fn clone_into(
    group: BorrowedFd,
    flags: c_int,
    stack: &mut [u8],
    start: Start,
    arg: *mut c_void,
    here: *const AtomicU32,
    pid: *const AtomicU64,
) -> isize {
    let flags = if pid.is_null() { flags } else { flags | libc::CLONE_PARENT_SETTID };
    let args = libc::clone_args {
        flags: (flags & !libc::SIGCHLD) as u64 | CLONE_INTO_CGROUP,
        pidfd: 0,
        child_tid: here as u64,
        parent_tid: pid as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: (aligned_top(stack) - stack.as_ptr() as usize) as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.as_raw_fd() as u64,
    };
    let (args, size) = (&raw const args as usize, size_of_val(&args));
    // SAFETY: clone3(2), and the caller's promise.
    unsafe { twice(libc::SYS_clone3, [args, size, 0, 0, 0], start, arg) }
}

/// A stack begins at its end, aligned as a call wants it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn aligned_top(stack: &mut [u8]) -> usize {
    stack.as_mut_ptr_range().end as usize & !15
}

/// A system call that returns here and in a new process, which has a stack of its own and runs `start(arg)` on it.
///
/// # Safety
/// As for the system call itself; `start` never returns.
#[cfg(target_arch = "x86_64")]
unsafe fn twice(number: c_long, [a, b, c, d, e]: [usize; 5], start: Start, arg: *mut c_void) -> isize {
    let result;
    // SAFETY: clone(2): the parent goes on behind label 2 as after any system call. The child has a fresh stack, and never
    // comes back from it.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            in("r12") arg, in("r13") start,
            lateout("rcx") _, lateout("r11") _
        );
    }
    result
}

/// A system call that returns here and in a new process, which has a stack of its own and runs `start(arg)` on it.
///
/// # Safety
/// As for the system call itself; `start` never returns.
#[cfg(target_arch = "aarch64")]
unsafe fn twice(number: c_long, [a, b, c, d, e]: [usize; 5], start: Start, arg: *mut c_void) -> isize {
    let result;
    // SAFETY: clone(2): the parent goes on behind label 2 as after any system call. The child has a fresh stack, and never
    // comes back from it.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") number as isize,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x20") arg, in("x21") start
        );
    }
    result
}

/// A process that shares our memory, on a stack of its own, running `start(arg)`, which never returns. We stand still
/// until it has left this memory. Its pid is written to `pid` before, if that is not null.
///
/// # Safety
/// `start` makes system calls only.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub unsafe fn clone(
    flags: c_int,
    stack: &mut [u8],
    start: Start,
    arg: *mut c_void,
    here: *const AtomicU32,
    pid: *const AtomicU64,
) -> isize {
    let flags = if pid.is_null() { flags } else { flags | libc::CLONE_PARENT_SETTID };
    let flags = (flags & !libc::CLONE_CHILD_CLEARTID) | libc::CLONE_VFORK;
    // SAFETY: the caller's promise, and CLONE_VFORK.
    unsafe {
        let pid = libc::clone(start, stack.as_mut_ptr_range().end.cast(), flags, arg, pid);
        (*here).store(0, Ordering::Release);
        if pid == -1 { -(super::Errno::last_raw() as isize) } else { pid as isize }
    }
}

/// Not without our own [`clone`].
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub unsafe fn clone_into(
    _group: BorrowedFd,
    _flags: c_int,
    _stack: &mut [u8],
    _start: Start,
    _arg: *mut c_void,
    _here: *const AtomicU32,
    _pid: *const AtomicU64,
) -> isize {
    -(libc::ENOSYS as isize)
}

/// The error number of a result, if it is one.
pub fn error(result: isize) -> Option<c_int> {
    (-4095..0).contains(&result).then(|| -result as c_int)
}
