//! This process and its children: what it inherited, what it may use, which processes it signals.

use super::{Errno, checked, fs, signals};
use crate::machine::notify::Kin;
use crate::machine::{Pid, Signal, Target};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Tells whoever gave us this descriptor that we are ready, by a newline, and closes it. A standard one is not touched.
pub fn tell_ready(number: i32) {
    if number > libc::STDERR_FILENO {
        // SAFETY: two calls on a descriptor that we inherited for this, or on none; nothing else here is to use it.
        unsafe {
            libc::write(number, b"\n".as_ptr().cast(), 1);
            libc::close(number);
        }
    }
}

/// Sends a signal to a child of ours, or to its process group. That it has just ended is no error.
pub fn kill(pid: Pid, signal: Signal, to: Target) -> Result<(), Errno> {
    let whom = match to {
        Target::Process => pid.0,
        Target::Group => group_of(pid).map_or(pid.0, |group| -group),
    };
    match signals::send(whom, signal) {
        Err(Errno::ESRCH) => Ok(()),
        result => result,
    }
}

/// Kills what is left of the group that a process led that has been reaped. There is something left: else its number may
/// be another one's by now.
pub fn kill_left_in_group(leader: Pid) {
    let _ = signals::send(-leader.0, Signal::KILL);
}

/// The process group of a process, if that is not ours. A service may go on as a process that leads none.
fn group_of(pid: Pid) -> Option<i32> {
    let group_of =
        |pid| nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).map_or(pid, nix::unistd::Pid::as_raw);
    let group = group_of(pid.0);
    (group != group_of(0)).then_some(group)
}

/// Whether there is a process of this number.
pub fn is_there(pid: Pid) -> bool {
    signals::send(pid.0, Signal(0)) != Err(Errno::ESRCH)
}

/// From now on this is in our environment, and in that of every program that we start. To be called while there is a
/// single thread, as there always is in a supervisor.
pub fn export(name: &str, value: &OsStr) {
    // SAFETY: this process has a single thread.
    unsafe { std::env::set_var(name, value) };
}

/// Which of the descriptors 0 to 2 were closed when we were executed, a bit for each.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Whether this descriptor, 0 to 2, was closed when we were executed.
pub fn was_closed(fd: i32) -> bool {
    CLOSED.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// Runs before Rust's runtime does, which aborts if such a descriptor is closed and there is no /dev/null to open in
/// its place: PID 1 would end before its first line. A directory will do until there is something better.
extern "C" fn fill_descriptors() {
    // SAFETY: asks for the flag of a descriptor, and opens files that nothing else uses. An open file takes the lowest
    // number that is free, and all below this one are taken.
    unsafe {
        for fd in 0..=libc::STDERR_FILENO {
            if libc::fcntl(fd, libc::F_GETFD) != -1 {
                continue;
            }
            CLOSED.fetch_or(1 << fd, Ordering::Relaxed);
            if libc::getpid() == 1 && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_NOCTTY) == -1 {
                libc::open(c"/".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
            }
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = fill_descriptors;

/// Makes descriptors 0 to 2 exist, and every other one close when a program is executed.
pub fn adopt_descriptors() {
    // An open file takes the lowest number that is free.
    while let Ok(fd) = fs::open_at(fs::HERE, "/dev/null", OFlag::O_RDWR, 0) {
        let number = fd.into_raw_fd();
        if number > libc::STDERR_FILENO {
            // SAFETY: we have just opened it, and nothing else uses it.
            unsafe { libc::close(number) };
            break;
        }
        // SAFETY: sets a flag of a descriptor that we have just opened: this one is to be inherited.
        unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    }
    // SAFETY: sets a flag on descriptors, whatever uses them; none of them is closed here.
    let all = unsafe {
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4 /* CLOSE_RANGE_CLOEXEC */)
    };
    if all == -1 {
        close_on_exec_one_by_one(); // before Linux 5.11
    }
}

/// From now on standard error goes here.
pub fn become_stderr(fd: impl AsFd) -> Result<(), Errno> {
    nix::unistd::dup2_stderr(fd)
}

/// From now on standard input comes from here.
pub fn become_stdin(fd: impl AsFd) -> Result<(), Errno> {
    nix::unistd::dup2_stdin(fd)
}

/// From now on standard output and error go to this descriptor, if it is open.
pub fn speak_on(number: i32) {
    if let Ok(fd) = inherited(number) {
        let _ = nix::unistd::dup2_stdout(&fd).and_then(|()| nix::unistd::dup2_stderr(&fd));
    }
}

/// From now on standard input and output are this.
pub fn let_go_of_pipes(null: OwnedFd) -> Result<(), Errno> {
    nix::unistd::dup2_stdin(&null).and_then(|()| nix::unistd::dup2_stdout(&null))
}

/// Whether this program has more rights than the one that executed it, which is not to be believed then.
pub fn is_privileged() -> bool {
    // SAFETY: getauxval(3) takes a number.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

fn close_on_exec_one_by_one() {
    let limit = open_files().map_or(1024, |limit| limit.rlim_cur.min(1 << 20));
    for fd in 3..i32::try_from(limit).unwrap_or(1024) {
        // SAFETY: sets a flag; a number that is not open is refused.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Orphans among our descendants become our children, whatever our pid. Silently, also where it is not possible.
pub fn become_subreaper() {
    // SAFETY: prctl(2) with numbers only.
    let _ = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Whether orphans among our descendants become our children: the program that executed us may have set that.
pub fn is_reaper() -> bool {
    let mut is_subreaper: libc::c_int = 0;
    // SAFETY: prctl(2) writes a number to where it is told.
    let told = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is_subreaper, 0, 0, 0) } == 0;
    std::process::id() == 1 || told && is_subreaper != 0
}

/// Stands in `/` from now on. Returns the directory that was left, if it can be opened.
pub fn leave_directory() -> Option<OwnedFd> {
    let left = super::fs::open_at(super::fs::HERE, ".", OFlag::O_PATH | OFlag::O_DIRECTORY, 0).ok();
    let _ = nix::unistd::chdir("/");
    left
}

/// Executes this program again, as the same process, with these words as its arguments, and with a variable that holds
/// the number of a descriptor that it gets. Returns only if that does not work.
pub fn execute_again(words: &[OsString], variable: &str, kept: &OwnedFd) -> Errno {
    let words: Vec<CString> = words.iter().filter_map(|word| CString::new(word.as_bytes()).ok()).collect();
    // SAFETY: this process has a single thread.
    unsafe { std::env::set_var(variable, kept.as_raw_fd().to_string()) };
    let _ = fcntl(kept, FcntlArg::F_SETFD(FdFlag::empty()));
    let program = super::rescue::program_path().and_then(|path| CString::new(path.into_os_string().into_vec()).ok());
    let errno = match nix::unistd::execv(&program.unwrap_or_else(|| c"/proc/self/exe".to_owned()), &words) {
        Ok(never) => match never {},
        Err(errno) => errno,
    };
    let _ = fcntl(kept, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    // SAFETY: as above.
    unsafe { std::env::remove_var(variable) };
    errno
}

/// A descriptor whose number is in a variable, left there by [`execute_again`]. Services do not inherit the variable.
pub fn inherited_descriptor(variable: &str) -> Option<OwnedFd> {
    let number = std::env::var(variable).ok()?;
    // SAFETY: this process has a single thread.
    unsafe { std::env::remove_var(variable) };
    super::rescue::Claims::default().claim(number.parse().ok()?)
}

/// Whether this descriptor is open.
pub fn is_open(number: i32) -> bool {
    // SAFETY: asks for the flag of a descriptor; a number that is not open is refused.
    checked(unsafe { libc::fcntl(number, libc::F_GETFD) }).is_ok()
}

/// A descriptor that we inherited and nothing else here uses; programs that we start inherit it, too.
pub fn inherited(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: asks for the flag of a descriptor; a number that is not open is refused.
    checked(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if (0..=libc::STDERR_FILENO).contains(&number) && was_closed(number) {
        return Err(Errno::EBADF);
    }
    // SAFETY: it is open, and who calls us says that nothing else here uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Our children, those that have ended too; `None` where there is no `/proc` to tell, or one of another PID namespace,
/// whose numbers are not ours.
pub fn children() -> Option<Vec<Pid>> {
    if !sees_ours() {
        return None;
    }
    let us = std::process::id();
    if let Ok(children) = std::fs::read_to_string(format!("/proc/self/task/{us}/children")) {
        return Some(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().map(Pid)).collect());
    }
    // A kernel without CONFIG_PROC_CHILDREN.
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)?.parse().ok());
        if parent == Some(us) {
            children.push(Pid(pid));
        }
    }
    Some(children)
}

/// As many processes are looked at.
const MOST_LEFT: usize = 4096;

/// How many processes are left of the group of a child that was just reaped: those below us that have not ended. `None`
/// if that cannot be seen.
pub fn left_in_group(leader: Pid) -> Option<usize> {
    let mut found = children()?;
    let (mut count, mut at) = (0, 0);
    while let Some(pid) = found.get(at).copied().filter(|_| at < MOST_LEFT) {
        at += 1;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
        let (state, group) = (fields.next(), fields.nth(1).and_then(|group| group.parse().ok()));
        if group == Some(leader.0) && state != Some("Z") {
            count += 1;
            let below = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            found.extend(below.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().map(Pid)));
        }
    }
    Some(count)
}

/// Where a process comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Its session: the process that leads it, or has led it.
    pub session: Pid,
    /// When it was started, counted as [`since_boot`] counts, to a hundredth of a second.
    pub started: Duration,
}

/// What the kernel says of a process behind its name, from its state on (proc_pid_stat(5)).
fn stat_fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().collect())
}

/// Whether a process was forked and has not executed a program since (`PF_FORKNOEXEC`). False where there is no /proc
/// to tell.
pub fn has_not_executed(pid: Pid) -> bool {
    const FORKNOEXEC: u64 = 0x40;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = stat_fields(&stat).and_then(|fields| fields.get(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & FORKNOEXEC != 0)
}

/// Whether a process has a processor or waits for one. False where there is no /proc to tell.
pub fn is_runnable(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat_fields(&stat).is_some_and(|fields| fields.first() == Some(&"R"))
}

/// Where a process comes from; `None` if it has ended, reaped or not.
pub fn origin(pid: Pid) -> Option<Origin> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat_fields(&stat)?;
    if ["Z", "X"].contains(fields.first()?) {
        return None;
    }
    let session = Pid(fields.get(3)?.parse().ok()?);
    let ticks: u64 = fields.get(19)?.parse().ok()?; // a hundred a second, whatever the kernel counts in itself
    Some(Origin { session, started: Duration::from_millis(ticks.saturating_mul(10)) })
}

/// The parent of a process and its session, also of one that has ended and is not reaped; `None` where it is not to be
/// seen.
pub fn kin(pid: Pid) -> Option<Kin> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat_fields(&stat)?;
    let number = |at: usize| fields.get(at)?.parse().ok().map(Pid);
    Some(Kin { parent: number(1)?, session: number(3)? })
}

/// A user and a group, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// The niceness of a process; `None` where it is not to be seen.
pub fn niceness(pid: Pid) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat_fields(&stat)?.get(16)?.parse().ok()
}

/// Whose process it is: its effective user and group; `None` where it is not to be seen.
pub fn owner(pid: Pid) -> Option<Owner> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let effective = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some(Owner { user: effective("Uid:")?, group: effective("Gid:")? })
}

/// How long the machine has been up.
pub fn since_boot() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_ascii_whitespace().next()?.parse().ok()?).ok()
}

/// The processes of these sessions that have not ended, each with its session.
pub fn members(sessions: &[Pid]) -> Vec<(Pid, Pid)> {
    let entries = std::fs::read_dir("/proc").ok().filter(|_| sees_ours()).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid));
    let sessions = |pid| origin(pid).map(|origin| origin.session).filter(|session| sessions.contains(session));
    pids.filter_map(|pid| sessions(pid).map(|session| (pid, session))).collect()
}

/// The name of a process, for people.
pub fn name(pid: Pid) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().replace(char::is_control, "?")
}

/// Whether we may look into processes of other users: whether we have CAP_SYS_PTRACE, as far as is known.
pub fn may_trace() -> bool {
    const CAP_SYS_PTRACE: u64 = 1 << 19;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    set.is_none_or(|set| set & CAP_SYS_PTRACE != 0)
}

/// Whether `/proc` shows our own PID namespace, and not that of the process that mounted it.
pub fn sees_ours() -> bool {
    std::fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == std::process::id().to_string().as_str())
}

/// The processes in `/proc` that have this number in the innermost PID namespace they live in, each with its parent; the
/// one that has the same number here comes first. None if `/proc` is not that of our own namespace.
///
/// `NSpid` in `/proc/PID/status` has the number of a process in each of its namespaces from ours on (Linux 4.1).
pub fn known_as(number: Pid) -> impl Iterator<Item = (Pid, Pid)> {
    let entries = std::fs::read_dir("/proc").ok().filter(|_| sees_ours());
    let listed = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let same = sees_ours().then_some(number);
    let others = listed.map(Pid).filter(move |pid| *pid != number);
    same.into_iter().chain(others).filter_map(move |pid| parent_if_known_as(pid, number).map(|parent| (pid, parent)))
}

fn parent_if_known_as(pid: Pid, number: Pid) -> Option<Pid> {
    let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let last = |key: &str| -> Option<i32> {
        let field = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        field.split_ascii_whitespace().next_back()?.parse().ok()
    };
    (last("NSpid").or_else(|| last("Pid")) == Some(number.0)).then(|| last("PPid").map(Pid))?
}

/// Whether a process holds this file open; `None` if we may not know. A user who may list the descriptors of a process
/// need not be allowed to see what they are.
pub fn holds(pid: Pid, file: fs::FileId) -> Option<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let mut held = Some(false);
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        match std::fs::metadata(entry.path()) {
            Ok(it) if (it.dev(), it.ino()) == (file.device, file.inode) => return Some(true),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => held = None,
            Ok(_) | Err(_) => {}
        }
    }
    held
}

/// The words that a process was started with; `None` if it is not to be seen.
pub fn words(pid: Pid) -> Option<Vec<std::ffi::OsString>> {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|text| !text.is_empty())?;
    let text = text.strip_suffix(b"\0").unwrap_or(&text);
    Some(text.split(|byte| *byte == 0).map(|word| std::ffi::OsString::from_vec(word.to_vec())).collect())
}

/// A descriptor of a process that has input once the process has ended. Not of Linux before 5.3.
pub fn handle(pid: Pid) -> Result<std::os::fd::OwnedFd, Errno> {
    // SAFETY: pidfd_open(2) with numbers only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just given it to us, and sets close-on-exec on it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to every other process of the PID namespace that we are PID 1 of.
pub fn kill_all(signal: Signal) {
    if std::process::id() == 1 {
        let _ = signals::send(-1, signal);
    }
}

/// Leads a session of its own from now on; a process that leads one already goes on doing so.
pub fn lead_session() {
    // SAFETY: setsid(2) takes nothing.
    let _ = unsafe { libc::setsid() };
}

/// The user that counts when we use files: the effective one.
pub fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Our limit of open files.
pub fn open_files() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes to `limit` only.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }).ok().map(|_| limit)
}

/// Our limit of the size of a file, in bytes.
pub fn file_size() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes to `limit` only.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) }).ok().map(|_| limit.rlim_cur)
}

/// A limit of open files.
pub fn limit(rlim_cur: u64, rlim_max: u64) -> libc::rlimit {
    libc::rlimit { rlim_cur, rlim_max }
}

/// Raises our limit of open files as far as we may, up to `enough`. Returns the limit as it was, for the children;
/// `None` if it stays as it is.
pub fn raise_open_files(enough: u64) -> Option<libc::rlimit> {
    let before = open_files()?;
    let wanted = libc::rlimit { rlim_cur: enough, rlim_max: before.rlim_max.max(enough) };
    let allowed = libc::rlimit { rlim_cur: before.rlim_max.min(enough), ..before };
    if before.rlim_cur >= allowed.rlim_cur && before.rlim_max >= enough {
        return None;
    }
    // SAFETY: setrlimit(2) reads the limit only.
    let set = |limit: libc::rlimit| checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) });
    let raised = set(wanted).is_ok() || (allowed.rlim_cur > before.rlim_cur && set(allowed).is_ok());
    raised.then_some(before)
}
