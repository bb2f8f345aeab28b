//! Signals: all blocked, all with their default action, arriving through a descriptor.
//!
//! With the default action everywhere and a mask that only the parent has, a child needs one call to start
//! with clean signals, however many there are.

use super::{Errno, checked};
use crate::machine::Signal;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Faults of our own, which cannot usefully be blocked.
pub(super) const FAULTS: [libc::c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];

/// Room for what the kernel tells of one signal.
pub type Inbox = [AtomicU64; size_of::<libc::signalfd_siginfo>() / size_of::<u64>()];

/// The signals sent to this process, as they come.
pub struct Signals(SignalFd);

impl Signals {
    /// Sets every signal that is not [`rescue`](super::rescue)'s to its default action, blocks all that can be, and
    /// opens the descriptor. Faults stay blocked if they were: whoever follows one that failed may not be ready yet.
    pub fn take_over() -> Result<Signals, Errno> {
        let handled = |signal: &libc::c_int| super::rescue::is_armed() && FAULTS.contains(signal);
        for signal in (1..=libc::SIGRTMAX()).filter(|signal| !handled(signal)) {
            // SAFETY: the default action installs no handler. Numbers that cannot be set are refused, harmlessly.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        let mask = all_but_faults();
        mask.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal, if one has come.
    pub fn next(&self) -> Option<Signal> {
        self.next_to(&Inbox::default())
    }

    /// The same. The kernel writes it to `inbox`, which may be in memory that outlives us: who fails before it notes it
    /// leaves it to its successor.
    pub fn next_to(&self, inbox: &Inbox) -> Option<Signal> {
        // SAFETY: read(2) writes as many bytes as there are in `inbox` at most.
        let length = unsafe { libc::read(self.0.as_raw_fd(), inbox.as_ptr().cast_mut().cast(), size_of::<Inbox>()) };
        (length > 0).then(|| written(inbox)).flatten()
    }
}

/// The signal that the kernel wrote to an inbox, if there is one. It stands in front.
pub fn written(inbox: &Inbox) -> Option<Signal> {
    let [a, b, c, d, ..] = inbox.first()?.load(Ordering::Relaxed).to_ne_bytes();
    i32::try_from(u32::from_ne_bytes([a, b, c, d])).ok().filter(|signal| *signal > 0).map(Signal)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A bit for each signal, from 1 on, that is a fault of ours also when it was sent; each other one is read.
static OWN_FAULTS: AtomicU64 = AtomicU64::new(bits(&FAULTS) & !bits(&[libc::SIGABRT]));

const fn bits(signals: &[libc::c_int]) -> u64 {
    match signals {
        [] => 0,
        [first, rest @ ..] => 1 << (*first - 1) | bits(rest),
    }
}

/// From now on these signals are about us. To be said before [`Signals::take_over`]. One that is not among them ends us
/// all the same when it is a fault: the kernel does not let that wait.
pub fn take_as_faults(signals: &[Signal]) {
    let faults = signals.iter().fold(0, |faults, signal| faults | bits(&[signal.0]));
    OWN_FAULTS.store(faults, Ordering::Relaxed);
}

/// Written as the kernel reads it: no C library lets go of all the real-time signals, and each keeps others for itself.
fn all_but_faults() -> SigSet {
    let wanted = !OWN_FAULTS.load(Ordering::Relaxed);
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let words = set.as_mut_ptr().cast::<libc::c_ulong>();
    // SAFETY: a sigset_t is an array of words and has room for 64 signals; zeroed, it is an empty set.
    unsafe {
        for word in 0..(u64::BITS / libc::c_ulong::BITS) as usize {
            words.add(word).write((wanted >> (word * libc::c_ulong::BITS as usize)) as libc::c_ulong);
        }
        SigSet::from_sigset_t_unchecked(set.assume_init())
    }
}

/// From now on signals wait until they are read: what is sent to PID 1 before would be lost. Returns those that had to
/// wait already.
pub fn hold_back() -> SigSet {
    let before = all_but_faults().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    before.unwrap_or_else(|_| SigSet::empty()) // it has no error for these arguments
}

/// Back to an empty mask, for a process that does not read [`Signals`].
pub fn unblock_all() -> Result<(), Errno> {
    SigSet::empty().thread_set_mask()
}

/// Sends a signal to a process or, with a negative number, to a process group.
pub(super) fn send(pid: libc::pid_t, signal: Signal) -> Result<(), Errno> {
    // SAFETY: kill(2) takes two numbers.
    checked(unsafe { libc::kill(pid, signal.0) }).map(drop)
}

/// What the C library calls a signal: `Terminated`.
pub fn description(signal: Signal) -> String {
    // SAFETY: returns a text that stays as it is until the next call; this process has a single thread.
    let text = unsafe { libc::strsignal(signal.0).as_ref().map(|text| CStr::from_ptr(text)) };
    text.map_or_else(|| format!("Unknown signal {}", signal.0), |text| text.to_string_lossy().into_owned())
}
