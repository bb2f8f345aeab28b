//! The `run` of every service: says "I am here, and it is now T" as its first act, then waits to be killed.
//!
//! Not a module of the bench: `ground.rs` has rustc make a static program without libc out of it, so that starting it costs
//! what `execve` costs and next to nothing more, for every supervisor alike.
//! It finds the pipe by path, as some supervisors close or replace the descriptors that they hand down.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::ffi::CStr;

/// From `ROOT/services/NAME` to `ROOT/report`.
const REPORT: &CStr = c"../../report";
/// If the service has this file, a newline on descriptor 3 says "ready" to s6.
const NOTIFICATION_FD: &CStr = c"notification-fd";

/// `Report` in `ground.rs`. Far below PIPE_BUF: a write is never mixed with another.
#[repr(C)]
struct Report {
    pid: u64,
    nanos: u64,
}

// The kernel enters with an aligned stack and no return address; a Rust function wants to be called.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "call {main}", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "bl {main}", main = sym main);

extern "C" fn main() -> ! {
    let nanos = now();
    let report = Report { pid: syscall(GETPID, [0; 4]) as u64, nanos };
    let fd = syscall(OPENAT, [AT_FDCWD, REPORT.as_ptr() as usize, O_WRONLY, 0]);
    let sent = syscall(WRITE, [fd as usize, &raw const report as usize, size_of::<Report>(), 0]);
    if sent != size_of::<Report>() as isize {
        syscall(EXIT_GROUP, [111, 0, 0, 0]);
    }
    syscall(CLOSE, [fd as usize, 0, 0, 0]);
    if syscall(FACCESSAT, [AT_FDCWD, NOTIFICATION_FD.as_ptr() as usize, 0, 0]) == 0 {
        syscall(WRITE, [3, c"\n".as_ptr() as usize, 1, 0]);
    }
    loop {
        syscall(PPOLL, [0; 4]); // no descriptor, no timeout: for ever
    }
}

fn now() -> u64 {
    let mut time = [0u64; 2];
    syscall(CLOCK_GETTIME, [CLOCK_MONOTONIC, &raw mut time as usize, 0, 0]);
    time[0] * 1_000_000_000 + time[1]
}

const AT_FDCWD: usize = -100_isize as usize;
const O_WRONLY: usize = 1;
const CLOCK_MONOTONIC: usize = 1;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const GETPID: usize = 39;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const FACCESSAT: usize = 269;
    pub const PPOLL: usize = 271;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const FACCESSAT: usize = 48;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const EXIT_GROUP: usize = 94;
    pub const CLOCK_GETTIME: usize = 113;
    pub const GETPID: usize = 172;
}
use number::*;

#[cfg(target_arch = "x86_64")]
fn syscall(number: usize, [a, b, c, d]: [usize; 4]) -> isize {
    let result;
    // SAFETY: the calls above only read and write memory that we lend them; rcx and r11 are declared lost. The fifth
    // argument is ppoll's signal set size, unused with a null set.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") 0, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}
#[cfg(target_arch = "aarch64")]
fn syscall(number: usize, [a, b, c, d]: [usize; 4]) -> isize {
    let result;
    // SAFETY: as above; the kernel preserves every register but x0.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
            in("x4") 0, options(nostack));
    }
    result
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
