//! When this program itself fails: it is executed again, with everything still open that the journal names.
//!
//! The handler of a fault trusts nothing but memory that was laid out before, and makes system calls only. It may run
//! at any moment, and also in a child that still shares our memory: that one just ends.

use super::shared::Shared;
use super::signals::{self, FAULTS};
use super::{Errno, checked, is_passing, manager, raw};
use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_uint, c_void};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};

/// The variable that leads to the journal. Services do not get it.
const VARIABLE: &str = "ONIT_LEDGER";
/// Enough for the handler, whatever registers the processor has to save.
const STACK: usize = 64 * 1024;
/// In the word of the cause: the signal was sent, and says nothing about us.
pub const SENT: u64 = 1 << 32;
/// Where the kernel lacks memory, executing this program is tried so often, so many nanoseconds apart: for ten seconds.
const TRIES: u32 = 100;
const TRY_AGAIN: libc::c_long = 100_000_000;

/// Calls its second argument for every descriptor that has to stay open.
pub type Kept = fn(&[AtomicU64], &mut dyn FnMut(i32));

/// How this program is executed again.
struct Plan {
    pid: isize,
    journal: &'static Shared,
    kept: Kept,
    cause: usize,
    program: CString,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

static PLAN: AtomicPtr<Plan> = AtomicPtr::new(ptr::null_mut());

/// Faults that are sent wait.
static HOLDS: AtomicBool = AtomicBool::new(false);
/// The last one that waits, or 0.
static HELD: AtomicI32 = AtomicI32::new(0);
/// Why this program could not be executed after a fault that was sent, or 0.
static REFUSED: AtomicI32 = AtomicI32::new(0);

struct Stack(UnsafeCell<[u8; STACK]>);

// SAFETY: only the kernel uses it, for one handler at a time.
unsafe impl Sync for Stack {}

static HANDLER_STACK: Stack = Stack(UnsafeCell::new([0; STACK]));

/// From now on a fault of ours is followed by a new start. `cause` is the word of the journal that gets the signal,
/// `program` what is executed where there is no /proc. Faults that were held back until now come after this.
/// The manager's name was taken out of the environment, but the next one needs it.
pub fn arm(
    journal: &'static Shared,
    kept: Kept,
    cause: usize,
    program: &[u8],
    manager: Option<&OsStr>,
) -> Result<(), Errno> {
    let forever = |text: Vec<u8>| CString::new(text).map_or(c"".as_ptr(), |text| text.into_raw().cast_const());
    let argv = std::env::args_os().map(|word| forever(word.into_vec()));
    let manager = manager.map(|name| (manager::VARIABLE.into(), name.to_owned()));
    let envp = std::env::vars_os()
        .filter(|(name, _)| name != VARIABLE)
        .chain(manager)
        .map(|(name, value)| forever([name.as_bytes(), b"=", value.as_bytes()].concat()));
    let ours = forever(format!("{VARIABLE}={}", journal.as_fd().as_raw_fd()).into_bytes());
    let plan = Plan {
        pid: own_pid(),
        journal,
        kept,
        cause,
        program: CString::new(program).unwrap_or_default(),
        argv: argv.chain([ptr::null()]).collect(),
        envp: envp.chain([ours, ptr::null()]).collect(),
    };
    PLAN.store(Box::into_raw(Box::new(plan)), Ordering::Release); // its predecessor, if any, may be in use
    let stack = libc::stack_t { ss_sp: HANDLER_STACK.0.get().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the stack is there for ever, and nothing else uses it.
    checked(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) })?;
    for signal in FAULTS {
        handle(signal)?;
    }
    signals::mask(libc::SIG_UNBLOCK, signals::set_of(FAULTS));
    Ok(())
}

/// Faults that are sent wait from now on, so that a process that sends one after the other does not keep us from
/// working. Those of our own cannot.
pub fn hold_sent_faults() {
    HOLDS.store(true, Ordering::Relaxed);
}

/// From now on they do not. Returns only if none has come.
pub fn let_sent_faults_through() {
    HOLDS.store(false, Ordering::Relaxed);
    let held = HELD.swap(0, Ordering::Relaxed);
    if let Some(plan) = plan().filter(|_| held != 0) {
        plan.follow_sent(held);
    }
}

/// Why a fault that was sent was not followed by a new start, if there was one since this was last asked.
pub fn refusal() -> Option<Errno> {
    let errno = REFUSED.swap(0, Ordering::Relaxed);
    (errno != 0).then(|| Errno::from_raw(errno))
}

/// From now on a fault of ours does what it does in any program: there is nothing left to go on with.
pub fn disarm() {
    PLAN.store(ptr::null_mut(), Ordering::Release);
    for signal in FAULTS {
        // SAFETY: the default action installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn handle(signal: c_int) -> Result<(), Errno> {
    // SAFETY: a handler that makes system calls only, on a stack of its own, with everything blocked.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as extern "C" fn(c_int, *const libc::siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigfillset(&raw mut action.sa_mask);
        checked(libc::sigaction(signal, &raw const action, ptr::null_mut())).map(drop)
    }
}

extern "C" fn on_fault(signal: c_int, info: *const libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel says where the signal comes from.
    let sent = unsafe { info.as_ref() }.is_some_and(is_sent);
    if let Some(plan) = plan() {
        if sent && HOLDS.load(Ordering::Relaxed) {
            return HELD.store(signal, Ordering::Relaxed);
        }
        if sent {
            return plan.follow_sent(signal);
        }
        plan.note_cause(signal as u64);
        plan.insist();
    } else {
        // SAFETY: ends this process, which shares memory with the supervisor.
        unsafe { raw::call(libc::SYS_exit_group, 111, 0, 0, 0) };
    }
    // It cannot be helped: the signal does what it does without us.
    // SAFETY: two calls that are allowed in a handler.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Whether another process has sent it. What abort(3) does is a fault of our own.
fn is_sent(info: &libc::siginfo_t) -> bool {
    // SAFETY: the kernel names the sender of every signal that was sent.
    info.si_code <= 0 && unsafe { info.si_pid() } as isize != own_pid()
}

/// How to go on, in the process that has laid it out.
fn plan() -> Option<&'static Plan> {
    // SAFETY: what `arm` has laid out is never changed.
    unsafe { PLAN.load(Ordering::Acquire).as_ref() }.filter(|plan| plan.pid == own_pid())
}

fn own_pid() -> isize {
    // SAFETY: getpid(2) takes nothing.
    unsafe { raw::call(libc::SYS_getpid, 0, 0, 0, 0) }
}

impl Plan {
    fn note_cause(&self, cause: u64) {
        if let Some(word) = self.journal.words().get(self.cause) {
            word.store(cause, Ordering::Relaxed);
        }
    }

    /// After a fault that was sent. If it does not work we are as good as before.
    fn follow_sent(&self, signal: c_int) {
        self.note_cause(signal as u64 | SENT);
        REFUSED.store(self.execute(None), Ordering::Relaxed);
        self.note_cause(0);
    }

    /// Executes this program, again and again if something is lacking. Returns only if that does not work.
    fn insist(&self) {
        for _ in 0..TRIES {
            if !is_passing(Errno::from_raw(self.execute(None))) {
                return;
            }
            let span = libc::timespec { tv_sec: 0, tv_nsec: TRY_AGAIN };
            // SAFETY: nanosleep(2) reads the time. There is nothing else that we could do.
            unsafe { raw::call(libc::SYS_nanosleep, &raw const span as usize, 0, 0, 0) };
        }
    }

    /// Executes this program, or the one that is given. Returns only if that does not work; nothing has changed then.
    fn execute(&self, program: Option<&CStr>) -> c_int {
        let inherit = |fd: i32, flags: c_int| {
            // SAFETY: sets the flag of a descriptor; a number that is not open is refused.
            unsafe { raw::call(libc::SYS_fcntl, fd as usize, libc::F_SETFD as usize, flags as usize, 0) };
        };
        let before = signals::mask(libc::SIG_BLOCK, signals::set_of(FAULTS)); // until the next one is ready for them
        let journal = self.journal.as_fd().as_raw_fd();
        (self.kept)(self.journal.words(), &mut |fd| inherit(fd, 0));
        inherit(journal, 0);
        let attempts = [program.unwrap_or(c"/proc/self/exe"), program.unwrap_or(&self.program)];
        let mut errno = 0;
        for attempt in attempts {
            let (argv, envp) = (self.argv.as_ptr() as usize, self.envp.as_ptr() as usize);
            // SAFETY: both lists end with a null, and their words are there for ever.
            let result = unsafe { raw::call(libc::SYS_execve, attempt.as_ptr() as usize, argv, envp, 0) };
            if !is_passing(Errno::from_raw(errno)) {
                errno = raw::error(result).unwrap_or_default();
            }
        }
        (self.kept)(self.journal.words(), &mut |fd| inherit(fd, libc::FD_CLOEXEC));
        inherit(journal, libc::FD_CLOEXEC);
        signals::mask(libc::SIG_SETMASK, before);
        errno
    }
}

/// Executes this program again, now: the cause is noted already. Returns only if that does not work.
pub fn start_again() {
    if let Some(plan) = plan() {
        plan.insist();
    }
}

/// Executes the program that stands at this path now. Returns only if that does not work, and then why.
pub fn replace_by(program: &[u8]) -> Errno {
    match (plan(), CString::new(program)) {
        (Some(plan), Ok(program)) => Errno::from_raw(plan.execute(Some(&program))),
        _ => Errno::ENOSYS,
    }
}

/// For the tests: fails as a mistake in the program would, if the file is there that the environment names.
#[cfg(debug_assertions)]
pub fn fail_if_told() {
    if std::env::var_os("ONIT_TEST_PANIC").is_some_and(|path| std::fs::remove_file(path).is_ok()) {
        std::hint::black_box(1 / std::hint::black_box(0));
    }
}

/// Whether the supervisor that ran before left us a journal.
pub fn is_successor() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The journal that the supervisor that ran before left us, whatever it is. Services do not inherit the variable.
pub fn inherit() -> Option<Result<&'static Shared, Errno>> {
    let value = std::env::var_os(VARIABLE)?;
    // SAFETY: this process has a single thread.
    unsafe { std::env::remove_var(VARIABLE) };
    let number = value.to_str().and_then(|text| text.parse().ok());
    Some(match number.and_then(|fd| Claims::default().claim(fd)) {
        Some(fd) => Shared::open(fd),
        None => Err(Errno::EBADF),
    })
}

/// Descriptors that were open before this program was executed, and that a part of it has claimed.
#[derive(Default)]
pub struct Claims(Vec<i32>);

impl Claims {
    /// Makes an open descriptor ours. `None` if it is not open, is 0 to 2, or was claimed already.
    pub fn claim(&mut self, fd: i32) -> Option<OwnedFd> {
        let place = self.0.binary_search(&fd).err()?;
        // SAFETY: sets the flag of a descriptor; a number that is not open is refused.
        if fd <= libc::STDERR_FILENO || unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return None;
        }
        self.0.insert(place, fd);
        // SAFETY: it is open, and the program that opened it is no more. Nothing else in this program has claimed it.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// An open descriptor stays open, and nothing in this program closes it. `None` as for [`claim`](Claims::claim).
    pub fn keep(&mut self, fd: i32) -> Option<i32> {
        self.claim(fd).map(IntoRawFd::into_raw_fd)
    }

    /// This one is in use already, and stays open.
    pub fn leave(&mut self, fd: impl AsFd) {
        let fd = fd.as_fd().as_raw_fd();
        if let Err(place) = self.0.binary_search(&fd) {
            self.0.insert(place, fd);
        }
    }

    /// Closes what was not claimed: locks among it would keep other processes out, and us.
    pub fn close_the_rest(self) {
        let mut from = libc::STDERR_FILENO + 1;
        for fd in self.0.into_iter().chain([i32::MAX]) {
            if from < fd {
                close_all(from, fd - 1);
            }
            from = fd.saturating_add(1);
        }
    }
}

/// Nothing in this program has opened or claimed one of these descriptors.
fn close_all(first: i32, last: i32) {
    // SAFETY: nothing in this program uses them, see above.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first as c_uint, last as c_uint, 0) };
    if done == -1 {
        // Before Linux 5.9. Without /proc they stay open.
        let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let listed: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for fd in listed.into_iter().filter(|fd| (first..=last).contains(fd)) {
            // SAFETY: as above; the descriptor of the list itself is closed already, which does no harm.
            unsafe { libc::close(fd) };
        }
    }
}

/// `ps` goes on showing the name that we were started by.
pub fn keep_name() {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_ref().and_then(|path| path.file_name()).and_then(|name| CString::new(name.as_bytes()).ok());
    if let Some(name) = name {
        // SAFETY: prctl(2) reads the name.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
    }
}

/// The path that this program stands at, and another one may stand at later.
pub fn program_path() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    let gone = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").filter(|_| !path.exists());
    Some(gone.map_or(path.clone(), |path| PathBuf::from(std::ffi::OsStr::from_bytes(path))))
}

/// Our own pid, as the kernel tells it.
pub fn pid() -> u32 {
    u32::try_from(own_pid()).unwrap_or_default()
}

/// Whether this is a child of ours that was not reaped yet.
pub fn is_child(pid: crate::machine::Pid) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid(2) writes to `info` only.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, pid.0.cast_unsigned(), &raw mut info, flags) == 0
    }
}

/// Whether a fault of ours is followed by a new start.
pub(super) fn is_armed() -> bool {
    !PLAN.load(Ordering::Relaxed).is_null()
}
