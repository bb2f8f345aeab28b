//! A machine: what it needs before anything can run, and how it ends.

use super::spawn::{Side, fork};
use super::{Errno, checked, process, signals};
use crate::machine::request::ShutdownAction;
use crate::machine::{Pid, Signal};
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::reboot::{RebootMode, set_cad_enabled};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, stat, umask};
use std::ffi::{CString, OsStr, OsString};
use std::fmt::Display;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Where programs are looked for when nothing says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// linux/kd.h
const KDSIGACCEPT: libc::Ioctl = 0x4b4e as libc::Ioctl;
/// What a shell says of a program that cannot be executed.
const NOT_EXECUTED: i32 = 127;
const CONSOLE: &str = "/dev/console";
const NULL: &str = "/dev/null";
/// Devices, and their permissions; the numbers are in the kernel's devices.txt.
const DEVICES: [(&str, libc::dev_t, u32); 2] = [(CONSOLE, makedev(5, 1), 0o600), (NULL, makedev(1, 3), 0o666)];

/// A file system that every machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Early {
    /// Where it belongs.
    pub target: &'static str,
    /// Its type, which is also the name of its source.
    pub kind: &'static str,
    /// No program is executed from it.
    pub no_exec: bool,
    /// No device is opened through it.
    pub no_dev: bool,
    /// What this type understands besides.
    pub options: &'static str,
    /// A kernel without it is no error.
    pub optional: bool,
}

const API: Early = Early { target: "", kind: "", no_exec: true, no_dev: true, options: "", optional: false };

/// What tells what is mounted, among much else.
pub const PROC: Early = Early { target: "/proc", kind: "proc", ..API };

/// In the order in which they are mounted.
pub const EARLY: [Early; 7] = [
    PROC,
    Early { target: "/sys", kind: "sysfs", ..API },
    Early { target: "/dev", kind: "devtmpfs", options: "mode=0755", no_exec: false, no_dev: false, ..API },
    Early { target: "/dev/pts", kind: "devpts", options: "gid=5,mode=620,ptmxmode=000", no_dev: false, ..API },
    Early { target: "/dev/shm", kind: "tmpfs", options: "mode=1777", no_exec: false, ..API },
    Early { target: "/run", kind: "tmpfs", options: "mode=0755", no_exec: false, ..API },
    Early { target: "/sys/fs/cgroup", kind: "cgroup2", options: "nsdelegate", optional: true, ..API },
];

/// Names that programs expect in /dev, and where they lead.
pub const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Ctrl-Alt-Del is from now on a signal for us, instead of a reboot on the spot. The kernel does not allow that in a
/// container: false tells that this is one.
pub fn take_ctrl_alt_del() -> bool {
    set_cad_enabled(false).is_ok()
}

/// Whether we are in the kernel's first PID namespace, where the machine is; `None` before /proc is mounted.
pub fn is_first_namespace() -> Option<bool> {
    const FIRST: u64 = 0xefff_fffc; // linux/proc_ns.h
    stat("/proc/self/ns/pid").ok().map(|namespace| namespace.st_ino == FIRST)
}

/// The key for it (Alt-Up in most keymaps) is from now on the signal WINCH for us. Many machines have no keyboard.
pub fn take_keyboard_requests() {
    if let Ok(terminal) = open_terminal(Path::new("/dev/tty0")) {
        // SAFETY: this ioctl takes two numbers.
        unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&terminal), KDSIGACCEPT, libc::SIGWINCH) };
    }
}

/// What we were started with is the kernel's: the root directory, a session of our own, files that all users may read,
/// and a PATH, which it does not set.
pub fn set_up_process() {
    #[expect(clippy::disallowed_methods, reason = "it stays")]
    umask(Mode::from_bits_truncate(0o022));
    let _ = nix::unistd::chdir("/");
    process::lead_session();
    if std::env::var_os("PATH").is_none() {
        // SAFETY: this process has a single thread.
        unsafe { std::env::set_var("PATH", PATH) };
    }
}

/// Mounts this where nothing is mounted.
pub fn mount_missing(early: &Early) -> Result<(), Errno> {
    if is_mount_point(early.target) {
        return Ok(());
    }
    if stat(early.target).is_err() {
        nix::unistd::mkdir(early.target, Mode::from_bits_truncate(0o755))?;
    }
    let mut flags = MsFlags::MS_NOSUID;
    flags.set(MsFlags::MS_NOEXEC, early.no_exec);
    flags.set(MsFlags::MS_NODEV, early.no_dev);
    let with = |options: &str| mount(Some(early.kind), early.target, Some(early.kind), flags, Some(options));
    match with(early.options) {
        Err(Errno::EBUSY) => Ok(()),
        Err(Errno::EINVAL) => with(""), // an older kernel, which knows fewer options
        Err(Errno::ENODEV | Errno::ENOENT) if early.optional => Ok(()),
        result => result,
    }
}

/// Whether this directory is on another device than the one it stands in.
pub fn is_mount_point(path: impl AsRef<Path>) -> bool {
    let device = |path: &Path| stat(path).map(|stat| stat.st_dev);
    let path = path.as_ref();
    matches!((device(path), device(&path.join(".."))), (Ok(here), Ok(above)) if here != above)
}

/// Makes the console and the null device, where the kernel has made none.
pub fn make_devices() {
    for (name, device, mode) in DEVICES {
        if mknod(name, SFlag::S_IFCHR, Mode::empty(), device).is_ok() {
            let _ = fs::set_permissions(name, fs::Permissions::from_mode(mode)); // it is of use to us at least
        }
    }
}

/// Makes the names in /dev that programs expect.
pub fn link_descriptors() {
    for (name, target) in LINKS {
        let _ = std::os::unix::fs::symlink(target, name); // it is there, or cannot be made
    }
}

/// The machine's name.
pub fn set_host_name(name: &str) -> Result<(), Errno> {
    nix::unistd::sethostname(name)
}

/// Descriptors among 0, 1 and 2 that were closed when we were executed become the console or, if there is none, lead
/// nowhere.
pub fn open_console() {
    let Ok(console) = open_terminal(Path::new(CONSOLE)).or_else(|_| open_terminal(Path::new(NULL))) else { return };
    let places = [nix::unistd::dup2_stdin, nix::unistd::dup2_stdout, nix::unistd::dup2_stderr];
    for (number, place) in (0..).zip(places) {
        if process::was_closed(number) {
            let _ = place(&console); // what is there instead is as good as none
        }
    }
}

/// Our standard input is no longer the console: two readers would share what is typed.
pub fn give_up_input() -> Result<(), Errno> {
    nix::unistd::dup2_stdin(open_terminal(Path::new(NULL))?)
}

fn open_terminal(path: &Path) -> Result<OwnedFd, Errno> {
    super::fs::open_at(super::fs::HERE, path, OFlag::O_RDWR, 0)
}

/// The terminal that the console is. `/dev/console` itself controls no session.
fn console_terminal() -> Result<OwnedFd, Errno> {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let real = active.split_ascii_whitespace().next_back().map(|name| Path::new("/dev").join(name));
    real.and_then(|path| open_terminal(&path).ok()).map_or_else(|| open_terminal(Path::new(CONSOLE)), Ok)
}

/// What a program of the machine gets as its standard input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terminal {
    /// The console, which does not control it: what it leaves in the background runs on.
    Shared,
    /// The console, which controls it: Ctrl-C works.
    Own,
}

/// Starts a program in a session of its own. If it cannot be executed, the child says so and ends with 127.
pub fn start(program: &Path, words: &[&str], terminal: Terminal, say: &dyn Fn(&dyn Display)) -> Result<Pid, Errno> {
    in_child(|| {
        process::lead_session();
        if let Err(errno) = use_terminal(terminal) {
            say(&format_args!("{}: cannot open the console: {}; going on without", program.display(), errno.desc()));
        }
        let mut command = Command::new(program);
        if terminal == Terminal::Own {
            command.arg0("-sh"); // a login shell
        }
        signals::unblock_all();
        let errno = failed(command.args(words).exec());
        say(&format_args!("cannot start {}: {}", program.display(), errno.desc()));
        NOT_EXECUTED
    })
}

fn failed(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL))
}

fn use_terminal(terminal: Terminal) -> Result<(), Errno> {
    if terminal == Terminal::Shared {
        return nix::unistd::dup2_stdin(open_terminal(Path::new(CONSOLE))?);
    }
    let fd = console_terminal()?;
    // SAFETY: this ioctl takes two numbers; 1 takes the terminal from a session that has it.
    unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&fd), libc::TIOCSCTTY, 1) };
    nix::unistd::dup2_stdin(&fd)?;
    nix::unistd::dup2_stdout(&fd)?;
    nix::unistd::dup2_stderr(&fd)
}

/// Does something that may take for ever in a process of its own, which ends with the code that it returns. It can be
/// ended, and keeps nothing of ours open.
pub fn in_child(work: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    match fork()? {
        Side::Parent(pid) => Ok(pid),
        Side::Child => {
            super::rescue::Claims::default().close_the_rest();
            signals::unblock_all();
            std::process::exit(work())
        }
    }
}

/// Executes another program in place of this one. Returns only if that failed, and then why.
pub fn become_program(program: &Path, words: &[OsString]) -> Errno {
    signals::unblock_all();
    failed(Command::new(program).args(words).exec())
}

/// Sends a signal to a process that is no child of ours.
pub fn signal_stranger(pid: Pid, signal: Signal) -> Result<(), Errno> {
    signals::send(pid.0, signal)
}

/// Makes a file of which only the mode counts, as runit's: its owner may execute it, or it has no permissions.
pub fn set_flag_file(path: &Path, set: bool) -> Result<(), Errno> {
    let mode = fs::Permissions::from_mode(if set { 0o100 } else { 0 });
    let made = if path.exists() || !set { Ok(()) } else { fs::write(path, "") };
    made.and_then(|()| fs::set_permissions(path, mode)).map_err(failed)
}

/// Rests for a moment where there is nothing to wait for but time.
pub fn rest() {
    let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(100u8));
}

// The end.

/// What was written is on the disks.
pub fn sync() {
    nix::unistd::sync();
}

/// Gives up a swap file or partition.
pub fn swap_off(path: &OsStr) -> Result<(), Errno> {
    let path = CString::new(path.as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: swapoff(2) reads the path only.
    checked(unsafe { libc::swapoff(path.as_ptr()) }).map(drop)
}

/// Unmounts what is mounted last here.
pub fn unmount(target: &OsStr) -> Result<(), Errno> {
    umount2(target, MntFlags::UMOUNT_NOFOLLOW)
}

/// Makes the file system that is mounted here read-only.
pub fn make_read_only(target: &OsStr) -> Result<(), Errno> {
    let none: Option<&OsStr> = None;
    mount(none, target, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none)
}

/// Asks the kernel to make every file system read-only, in use or not. It does so in its own time.
pub fn make_everything_read_only() -> Result<(), Errno> {
    fs::write("/proc/sysrq-trigger", "u").map_err(failed)
}

/// Ends the machine; in a container, ends us, so that its manager learns the action. Returns only if that failed, and
/// why.
pub fn reboot(action: ShutdownAction) -> Errno {
    let how = match action {
        ShutdownAction::Exit | ShutdownAction::PowerOff => RebootMode::RB_POWER_OFF,
        ShutdownAction::Halt => RebootMode::RB_HALT_SYSTEM,
        ShutdownAction::Reboot => RebootMode::RB_AUTOBOOT,
        ShutdownAction::Kexec => RebootMode::RB_KEXEC,
    };
    match nix::sys::reboot::reboot(how) {
        Err(errno) => errno,
    }
}

// From the initial root into the real one.

/// Whether the root directory is one that lives in memory and may be emptied.
pub fn is_initial_root() -> bool {
    use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
    const RAMFS: FsType = FsType(0x8584_58f6);
    statfs("/").is_ok_and(|fs| [RAMFS, TMPFS_MAGIC].contains(&fs.filesystem_type()))
}

/// Moves a mount to another place.
pub fn move_mount(from: &Path, to: &Path) -> Result<(), Errno> {
    let none: Option<&str> = None;
    mount(Some(from), to, none, MsFlags::MS_MOVE, none)
}

/// Takes a mount out of the tree; it goes when no process uses it any more.
pub fn detach(target: &Path) -> Result<(), Errno> {
    umount2(target, MntFlags::MNT_DETACH)
}

/// Removes everything in a directory that is on the same device.
pub fn empty(dir: &Path) {
    let Ok(device) = stat(dir).map(|stat| stat.st_dev) else { return };
    empty_on(dir, device);
}

fn empty_on(dir: &Path, device: libc::dev_t) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, is_dir) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
        if !is_dir {
            let _ = fs::remove_file(&path);
        } else if stat(&path).is_ok_and(|stat| stat.st_dev == device) {
            empty_on(&path, device);
            let _ = fs::remove_dir(&path);
        }
    }
}

/// The root of what is mounted here becomes ours, and the whole tree's.
pub fn enter_root(root: &Path) -> Result<(), Errno> {
    nix::unistd::chdir(root)?;
    move_mount(Path::new("."), Path::new("/"))?;
    nix::unistd::chroot(".")?;
    nix::unistd::chdir("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_known_by_its_device() {
        assert!(is_mount_point("/proc") && !is_mount_point("/etc") && !is_mount_point("/no/such/place"));
        assert!(!is_mount_point("/"), "what is above the root is the root");
    }

    #[test]
    fn a_flag_file_is_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("stopit");
        let mode = || fs::metadata(&file).map(|file| file.permissions().mode() & 0o777).ok();
        assert_eq!((set_flag_file(&file, false).is_ok(), mode()), (false, None));
        assert_eq!((set_flag_file(&file, true).is_ok(), mode()), (true, Some(0o100)));
        assert_eq!((set_flag_file(&file, false).is_ok(), mode()), (true, Some(0)));
    }
}
