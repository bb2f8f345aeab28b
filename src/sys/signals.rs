//! Signals: all blocked, all with their default action, arriving through a descriptor.
//!
//! With the default action everywhere and a mask that only the parent has, a child needs one call to start
//! with clean signals, however many there are.
//!
//! Masks and actions are the kernel's own here. The C libraries keep signals 32 to 34 for their threads: glibc lets no
//! program block 32 and 33, musl leaves all three out of the masks that it returns, and neither says what they do. We
//! have no threads, and such a signal, which a process may send so that we pass it on, must not end us.

use super::spawn::KERNEL_SIGSET;
use super::{Errno, checked, raw};
use crate::machine::Signal;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Faults of our own, which cannot usefully be blocked.
pub(super) const FAULTS: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];

/// Room for what the kernel tells of one signal.
pub type Inbox = [AtomicU64; size_of::<libc::signalfd_siginfo>() / size_of::<u64>()];

/// The signals sent to this process, as they come.
pub struct Signals(SignalFd);

impl Signals {
    /// Sets every signal that is not [`rescue`](super::rescue)'s to its default action, blocks all that can be, and
    /// opens the descriptor. Faults stay blocked if they were: after a new start because of a fault, their handlers may
    /// not be installed yet.
    pub fn take_over() -> Result<Signals, Errno> {
        let handled = |signal: &c_int| super::rescue::is_armed() && FAULTS.contains(signal);
        ALL.filter(|signal| !handled(signal)).for_each(|signal| set_action(signal, Action::of(libc::SIG_DFL)));
        hold_back();
        let set = library_set(all_but_faults());
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal, if one has come.
    pub fn next(&self) -> Option<Signal> {
        self.next_to(&Inbox::default())
    }

    /// The same. The kernel writes it to `inbox`, which may be in memory that outlives us: a supervisor that fails
    /// before it notes the signal leaves it to its successor.
    pub fn next_to(&self, inbox: &Inbox) -> Option<Signal> {
        loop {
            let to = inbox.as_ptr().cast_mut().cast();
            // SAFETY: read(2) writes as many bytes as there are in `inbox` at most.
            let length = unsafe { libc::read(self.0.as_raw_fd(), to, size_of::<Inbox>()) };
            let signal = (length > 0).then(|| written(inbox)).flatten()?;
            if signal != Signal::PIPE || sender(inbox) != Some(std::process::id()) {
                return Some(signal);
            }
            inbox.iter().for_each(|word| word.store(0, Ordering::Relaxed)); // we wrote to a pipe without a reader
        }
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

/// The pid of its sender: `ssi_pid`, behind `ssi_signo`, `ssi_errno` and `ssi_code` (signalfd(2)).
fn sender(inbox: &Inbox) -> Option<u32> {
    let [_, _, _, _, a, b, c, d] = inbox.get(1)?.load(Ordering::Relaxed).to_ne_bytes();
    Some(u32::from_ne_bytes([a, b, c, d]))
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

/// Those of them that were held back before it was known that they are about us do what they do.
pub fn let_own_faults_through() {
    mask(libc::SIG_UNBLOCK, OWN_FAULTS.load(Ordering::Relaxed));
}

/// In the kernel's form: each C library keeps some real-time signals out of its own sets, and not the same ones.
fn all_but_faults() -> u64 {
    !OWN_FAULTS.load(Ordering::Relaxed)
}

/// The C library's type for a set, with the kernel's content.
fn library_set(wanted: u64) -> SigSet {
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
/// wait already, a bit each.
pub fn hold_back() -> u64 {
    mask(libc::SIG_BLOCK, all_but_faults())
}

/// This signal, which has been sent to us and waits, does what it does by default. What else waits, waits on.
pub fn let_through(signal: Signal) {
    let one = set_of([signal.0]);
    mask(libc::SIG_UNBLOCK, one);
    mask(libc::SIG_BLOCK, one);
}

/// Starts a thread that gets no signals: in a program that is not ours, they are for its own threads.
pub fn thread_without_signals(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    // By the C library, which leaves out what it needs itself.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    before.thread_set_mask()?;
    started.map(drop)
}

/// Back to an empty mask, for a process that does not read [`Signals`].
pub fn unblock_all() {
    mask(libc::SIG_SETMASK, 0);
}

/// Every number of a signal.
pub(super) const ALL: std::ops::RangeInclusive<c_int> = 1..=64;

/// A set of signals as the kernel has it: a bit each, from 1 on.
pub(super) fn set_of(signals: impl IntoIterator<Item = c_int>) -> u64 {
    signals.into_iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

/// Changes the mask, and returns what it was.
pub(super) fn mask(how: c_int, set: u64) -> u64 {
    let (new, mut old) = (kernel_set(set), [0; 2]);
    let (from, to) = (new.as_ptr() as usize, old.as_mut_ptr() as usize);
    // SAFETY: rt_sigprocmask(2) reads one set and writes the other, and both have room for the largest there is.
    unsafe { raw::call(libc::SYS_rt_sigprocmask, how as usize, from, to, KERNEL_SIGSET) };
    of_kernel_set(old)
}

/// Those of the blocked signals that have come and wait.
fn pending() -> u64 {
    let mut set = [0; 2];
    // SAFETY: rt_sigpending(2) writes to the set, which has room for the largest there is.
    unsafe { raw::call(libc::SYS_rt_sigpending, set.as_mut_ptr() as usize, KERNEL_SIGSET, 0, 0) };
    of_kernel_set(set)
}

fn kernel_set(set: u64) -> [u64; 2] {
    [if LOW_WORD_FIRST { set.rotate_left(32) } else { set }, 0]
}

fn of_kernel_set([set, _]: [u64; 2]) -> u64 {
    if LOW_WORD_FIRST { set.rotate_left(32) } else { set }
}

/// The kernel's set is an array of its own words.
const LOW_WORD_FIRST: bool = cfg!(all(target_endian = "big", target_pointer_width = "32"));

/// What a signal does: the kernel's `struct sigaction`, whose beginning is the handler on every machine but MIPS.
#[derive(Clone, Copy)]
pub(super) struct Action([usize; 8]);

impl Action {
    /// Nothing, or what it does by default.
    pub(super) fn of(handler: libc::sighandler_t) -> Action {
        Action([handler, 0, 0, 0, 0, 0, 0, 0])
    }

    /// What it does now.
    pub(super) fn now(signal: c_int) -> Action {
        let mut action = Action::of(libc::SIG_DFL);
        let to = action.0.as_mut_ptr() as usize;
        // SAFETY: rt_sigaction(2) writes to the action, which has more room than it needs.
        unsafe { raw::call(libc::SYS_rt_sigaction, signal as usize, 0, to, KERNEL_SIGSET) };
        action
    }

    /// Whether the signal is ignored.
    pub(super) fn is_ignored(self) -> bool {
        self.0.first() == Some(&libc::SIG_IGN)
    }
}

/// From now on the signal does this. KILL and STOP cannot be changed, which does no harm.
pub(super) fn set_action(signal: c_int, Action(action): Action) {
    // SAFETY: rt_sigaction(2) reads the action, which is longer than it needs: none, the default, or what was there before.
    unsafe { raw::call(libc::SYS_rt_sigaction, signal as usize, action.as_ptr() as usize, 0, KERNEL_SIGSET) };
}

/// Those of them that musl unblocks when a program installs its first handler, whatever the mask says.
const UNBLOCKED_BY_LIBRARY: [c_int; 2] = [33, 34];

/// Makes the C library do that now, and then restores the mask: Rust's runtime installs handlers before `main`, and what
/// waits since before this program was executed would be its end. They are ignored meanwhile, and sent again.
pub(super) fn install_first_handler() {
    extern "C" fn nothing(_: c_int) {}
    let some = libc::SIGURG; // any signal will do, and this one ends no process
    let mine = set_of(UNBLOCKED_BY_LIBRARY);
    let (waiting, before) = (pending() & mine, mask(libc::SIG_BLOCK, mine));
    let actions = UNBLOCKED_BY_LIBRARY.map(|signal| (signal, Action::now(signal)));
    actions.iter().for_each(|(signal, _)| set_action(*signal, Action::of(libc::SIG_IGN)));
    let old = Action::now(some);
    // SAFETY: a handler that does nothing, for a moment.
    unsafe { libc::signal(some, nothing as extern "C" fn(c_int) as libc::sighandler_t) };
    set_action(some, old);
    mask(libc::SIG_BLOCK, mine);
    actions.iter().for_each(|(signal, action)| set_action(*signal, *action));
    for signal in UNBLOCKED_BY_LIBRARY.into_iter().filter(|signal| waiting & set_of([*signal]) != 0) {
        // SAFETY: two numbers; it is blocked.
        unsafe { libc::kill(libc::getpid(), signal) };
    }
    mask(libc::SIG_SETMASK, before);
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
