//! The fixture: a throw-away services directory, a supervisor that watches it, and the tools that talk to it.
//!
//! ```ignore
//! let sv = SvDir::new();
//! let web = sv.service("web").run("exec sleep 100").file("down", "").create();
//! let onit = sv.start(UnderTest::Onit);
//! onit.wait_for("web to be supervised", SOON, || web.is_supervised().then_some(()));
//! assert_eq!(sv.sv(&["up", "web"]).code, 0);
//! ```
//!
//! Nothing outlives an [`SvDir`], also when the test panics: see [`SvDir::drop`].

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::proc;

/// Long enough for anything that happens "at once", however busy the machine is.
pub const SOON: Duration = Duration::from_secs(60);

/// Whether the host of this machine takes it away from us for more than a tenth of the time in which it has something to
/// do. Times that processes are said to have been busy say nothing then.
pub fn is_starved() -> bool {
    static STARVED: LazyLock<bool> = LazyLock::new(|| {
        let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
        let words = stat.lines().next().expect("a line").split_ascii_whitespace().skip(1);
        let times: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
        let (idle, stolen) = (times[3] + times[4], times[7]);
        stolen * 10 > times[..8].iter().sum::<u64>() - idle
    });
    *STARVED
}

/// So many of something that costs much; a tenth on a machine that is starved.
pub fn as_many(number: usize) -> usize {
    if is_starved() { number.div_ceil(10) } else { number }
}

/// Leaves the test and says why, aloud: a test that silently does nothing is worse than none. With `CI=true` it fails.
macro_rules! skip {
    ($($why:tt)+) => {{
        let why = format!($($why)+);
        assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1"), "may not be skipped in CI: {why}");
        println!("skipped: {why}");
        return;
    }};
}
pub(crate) use skip;

/// The programs of `names` that are not installed, as a sentence for [`skip!`]; `None` when all are there.
pub fn missing_tools(names: &[&str]) -> Option<String> {
    let missing: Vec<_> = names.iter().filter(|name| find_in_path(name).is_none()).copied().collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(" ")))
}

/// Where an installed program is.
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The onit under test. `ONIT_BIN` replaces it, to try the same tests on a static or an installed build.
pub fn onit() -> PathBuf {
    std::env::var_os("ONIT_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_onit")), PathBuf::from)
}

/// Before the first test there is a single thread: from now on `onit` in PATH is the program under test, as it is on a
/// machine where it is installed.
#[used]
#[unsafe(link_section = ".init_array")]
#[allow(unsafe_code)]
static ONIT_IN_PATH: extern "C" fn() = put_onit_in_path;

extern "C" fn put_onit_in_path() {
    let program = onit();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(places) {
        // SAFETY: no other thread runs yet.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var("PATH", path);
        }
    }
}

/// Polls `look` until it finds something; panics, naming `what`, when that takes longer than `deadline`.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
    poll_until(deadline, look).unwrap_or_else(|| panic!("waited {deadline:?} in vain for {what}"))
}

/// Polls `look` until it finds something or the deadline passes. The pauses grow, and none is shorter than the look before
/// it took, so that a hundred waiters stay cheap.
pub fn poll_until<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        // Asked before the look, so that the last look is never older than the deadline.
        let begun = start.elapsed();
        let last = begun >= deadline;
        if let Some(found) = look() {
            return Some(found);
        }
        if last {
            return None;
        }
        thread::sleep(pause.max(start.elapsed() - begun));
        pause = (pause * 3 / 2).min(Duration::from_millis(50));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The directory
// ---------------------------------------------------------------------------------------------------------------------

/// A temporary directory with a services directory `service/` in it, and all processes that were started on it.
pub struct SvDir {
    root: TempDir,
    mark: String,
    logs: AtomicU32,
}

impl SvDir {
    /// An empty services directory in memory where the machine has `/dev/shm`, else in the usual temporary place.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        adopt_orphans();
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        fs::create_dir(root.path().join("service")).expect("mkdir service");
        let mark = format!("ONIT_TEST_ID={}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { root, mark, logs: AtomicU32::new(0) }
    }

    /// The temporary directory: a place for files that are not services.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The services directory, what `SVDIR` means to `sv`.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("service")
    }

    /// Where onit makes its runtime mirror, if it needs one.
    pub fn live(&self) -> PathBuf {
        self.root.path().join("live")
    }

    /// Begins to describe the service `service/NAME`; end with `create` or `create_atomically`.
    pub fn service(&self, name: &str) -> ServiceBuilder {
        self.service_at(self.path().join(name))
    }

    /// The same anywhere else, for a directory that is to be linked into `service/`.
    pub fn service_at(&self, dir: impl Into<PathBuf>) -> ServiceBuilder {
        ServiceBuilder { dir: dir.into(), staging: self.root.path().to_owned(), entries: Vec::new() }
    }

    /// The service of this name, whoever made it.
    pub fn existing(&self, name: &str) -> Service {
        Service::at(self.path().join(name))
    }

    /// Starts a supervisor on the services directory.
    pub fn start(&self, which: UnderTest) -> Supervisor {
        self.spawn(which.command(&self.path()))
    }

    /// Starts onit with these options on the services directory.
    pub fn start_with(&self, options: &[&str]) -> Supervisor {
        let mut command = UnderTest::Onit.program();
        command.args(options).arg(self.path());
        self.spawn(command)
    }

    /// Starts a supervisor on one service.
    pub fn start_on(&self, which: UnderTest, service: &Service) -> Supervisor {
        self.spawn(which.command(&service.dir))
    }

    /// Starts `command` on these standard descriptors, marked; what it says is not kept.
    pub fn spawn_between(&self, mut command: Command, [stdin, stdout, stderr]: [Stdio; 3]) -> Supervisor {
        self.mark(&mut command).stdin(stdin).stdout(stdout).stderr(stderr);
        let child = spawn(&mut command);
        Supervisor { pid: child.id(), child: Mutex::new(child), stdout: PathBuf::new(), stderr: PathBuf::new() }
    }

    /// Starts `command` as a supervisor: marked, with stdout and stderr kept in files.
    pub fn spawn(&self, mut command: Command) -> Supervisor {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        let log = |name: &str| self.root.path().join(format!(".{name}.{number}"));
        let (stdout, stderr) = (log("stdout"), log("stderr"));
        self.mark(&mut command).stdin(Stdio::null()).stdout(create(&stdout)).stderr(create(&stderr));
        if !command.get_envs().any(|(name, _)| name == "ONIT_RUN") {
            command.env("ONIT_RUN", self.live()); // nothing is left behind in /run
        }
        let child = spawn(&mut command);
        Supervisor { pid: child.id(), child: Mutex::new(child), stdout, stderr }
    }

    /// Runs a short-lived command to its end. `SVDIR` is set, so `sv` takes bare names.
    #[track_caller]
    pub fn run(&self, mut command: Command) -> Output {
        self.mark(&mut command).env("SVDIR", self.path());
        output(command)
    }

    /// Runs the installed program `name` in `service/`, so that `svc -d web` takes bare names as `sv` does.
    #[track_caller]
    pub fn tool(&self, name: &str, args: &[&str]) -> Output {
        let mut command = Command::new(name);
        command.args(args).current_dir(self.path());
        self.run(command)
    }

    /// runit's `sv`, the real one.
    #[track_caller]
    pub fn sv(&self, args: &[&str]) -> Output {
        self.tool("sv", args)
    }

    /// daemontools' `svc`, the real one.
    #[track_caller]
    pub fn svc(&self, args: &[&str]) -> Output {
        self.tool("svc", args)
    }

    /// daemontools' `svstat`, the real one.
    #[track_caller]
    pub fn svstat(&self, args: &[&str]) -> Output {
        self.tool("svstat", args)
    }

    /// daemontools' `svok`, the real one.
    #[track_caller]
    pub fn svok(&self, args: &[&str]) -> Output {
        self.tool("svok", args)
    }

    /// `s6-svc`, the real one.
    #[track_caller]
    pub fn s6_svc(&self, args: &[&str]) -> Output {
        self.tool("s6-svc", args)
    }

    /// A verb of onit, `onit ARGS…`.
    #[track_caller]
    pub fn onit(&self, args: &[&str]) -> Output {
        self.tool(onit().to_str().expect("a printable path"), args)
    }

    /// Every living process that was started on this directory, for assertions about leftovers.
    pub fn processes(&self) -> Vec<u32> {
        proc::marked(&self.mark, self.root.path())
    }

    fn mark<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let (name, value) = self.mark.split_once('=').expect("NAME=VALUE");
        command.env(name, value)
    }
}

impl Drop for SvDir {
    /// Kills what is left, again and again until a look finds nothing: a supervisor may start something between the looks.
    fn drop(&mut self) {
        let gone = poll_until(SOON, || {
            let left = self.processes();
            left.iter().for_each(|&pid| send(pid, Signal::SIGKILL));
            // Orphans came to us (see adopt_orphans); whoever is another's child is reaped there, and ECHILD here.
            left.iter().for_each(|&pid| _ = waitpid(nix_pid(pid), Some(WaitPidFlag::WNOHANG)));
            left.is_empty().then_some(())
        });
        if gone.is_none() && !thread::panicking() {
            panic!("left behind, and cannot be killed: {:?}", describe(&self.processes()));
        }
    }
}

/// Makes the test process the parent of every orphan, so that none escapes to the machine's PID 1.
pub fn adopt_orphans() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| nix::sys::prctl::set_child_subreaper(true).expect("prctl PR_SET_CHILD_SUBREAPER"));
}

// ---------------------------------------------------------------------------------------------------------------------
// A service
// ---------------------------------------------------------------------------------------------------------------------

enum Entry {
    File(String, String, u32),
    Link(String, PathBuf),
    Dir(String),
    Fifo(String),
}

/// A service directory to be. Nothing is on disk before `create` or `create_atomically`.
#[must_use = "end with .create() or .create_atomically()"]
pub struct ServiceBuilder {
    dir: PathBuf,
    staging: PathBuf,
    entries: Vec<Entry>,
}

impl ServiceBuilder {
    /// The `run` script, without its `#!` line.
    pub fn run(self, body: &str) -> Self {
        self.script("run", body)
    }

    /// The `finish` script, without its `#!` line.
    pub fn finish(self, body: &str) -> Self {
        self.script("finish", body)
    }

    /// The `run` script of the logger.
    pub fn log(self, body: &str) -> Self {
        self.script("log/run", body)
    }

    /// An executable `/bin/sh` script at `path` in the service directory.
    pub fn script(self, path: &str, body: &str) -> Self {
        self.exec(path, &format!("#!/bin/sh\n{body}\n"))
    }

    /// An executable file with exactly this content.
    pub fn exec(self, path: &str, content: &str) -> Self {
        self.entry(Entry::File(path.into(), content.into(), 0o755))
    }

    /// A plain file.
    pub fn file(self, path: &str, content: &str) -> Self {
        self.file_with_mode(path, content, 0o644)
    }

    /// A file with exactly this content and mode.
    pub fn file_with_mode(self, path: &str, content: &str, mode: u32) -> Self {
        self.entry(Entry::File(path.into(), content.into(), mode))
    }

    /// The file that means: do not start by itself.
    pub fn down(self) -> Self {
        self.file("down", "")
    }

    /// A symbolic link at `path`.
    pub fn symlink(self, path: &str, target: impl Into<PathBuf>) -> Self {
        self.entry(Entry::Link(path.into(), target.into()))
    }

    /// An empty directory.
    pub fn dir(self, path: &str) -> Self {
        self.entry(Entry::Dir(path.into()))
    }

    /// A FIFO that the service and the test agree on.
    pub fn fifo(self, path: &str) -> Self {
        self.entry(Entry::Fifo(path.into()))
    }

    fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Builds it in place, file by file, as an administrator's shell does: a supervisor may see it half done.
    pub fn create(self) -> Service {
        self.build(&self.dir);
        Service { dir: self.dir }
    }

    /// Builds it elsewhere and renames it into place: a supervisor sees all of it or nothing.
    pub fn create_atomically(self) -> Service {
        let stage = tempfile::tempdir_in(&self.staging).expect("a staging directory");
        let built = stage.path().join("service");
        self.build(&built);
        fs::rename(&built, &self.dir).unwrap_or_else(|e| panic!("rename to {}: {e}", self.dir.display()));
        Service { dir: self.dir }
    }

    /// Builds it at another place, from where the caller moves it.
    pub fn create_at(self, place: &Path) -> Service {
        self.build(place);
        Service { dir: place.to_owned() }
    }

    fn build(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("mkdir {}: {e}", dir.display()));
        for entry in &self.entries {
            let (Entry::File(name, ..) | Entry::Link(name, _) | Entry::Dir(name) | Entry::Fifo(name)) = entry;
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).unwrap_or_else(|e| panic!("mkdir {}: {e}", parent.display()));
            }
            match entry {
                Entry::File(_, content, mode) => write_file(&path, content, *mode),
                Entry::Link(_, target) => symlink(target, &path).expect("symlink"),
                Entry::Dir(_) => fs::create_dir_all(&path).expect("mkdir"),
                Entry::Fifo(_) => {
                    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo")
                }
            }
        }
    }
}

/// A service directory on disk.
#[derive(Clone, Debug)]
pub struct Service {
    dir: PathBuf,
}

impl Service {
    /// A service directory anywhere, whoever made it.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Its name, the last part of the path.
    pub fn name(&self) -> &str {
        self.dir.file_name().and_then(OsStr::to_str).unwrap_or_default()
    }

    /// The logger's directory as a service of its own.
    pub fn logger(&self) -> Self {
        Self { dir: self.dir.join("log") }
    }

    /// Adds or replaces a file of a living service.
    pub fn write(&self, path: &str, content: &str) {
        write_file(&self.dir.join(path), content, 0o644);
    }

    /// Adds or replaces an executable `/bin/sh` script of a living service, whole: it may be executed at any moment.
    pub fn write_script(&self, path: &str, body: &str) {
        let (place, new) = (self.dir.join(path), self.dir.join(".script.new"));
        write_file(&new, &format!("#!/bin/sh\n{body}\n"), 0o755);
        fs::rename(new, &place).unwrap_or_else(|e| panic!("cannot write {}: {e}", place.display()));
    }

    /// The text of a file that the service writes; empty while it does not exist.
    pub fn text(&self, path: &str) -> String {
        fs::read(self.dir.join(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// What `supervise/` says; `None` before there is a status.
    pub fn status(&self) -> Option<Status> {
        Status::read(&self.dir)
    }

    /// The question every client asks first: does anyone hold `supervise/ok` open?
    pub fn is_supervised(&self) -> bool {
        open_fifo(&self.dir.join("supervise/ok")).is_ok()
    }

    /// Sends command bytes in one write, as `sv` does.
    pub fn control(&self, bytes: &[u8]) -> std::io::Result<()> {
        open_fifo(&self.dir.join("supervise/control"))?.write_all(bytes)
    }

    /// Waits until `wanted` holds for the status, and returns that status.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let found = poll_until(SOON, || self.status().filter(|status| self.is_supervised() && wanted(status)));
        found.unwrap_or_else(|| {
            panic!("{}: waited {SOON:?} in vain for {what}; last seen: {:?}", self.dir.display(), self.status())
        })
    }

    /// Waits until the `run` process exists, and returns its pid.
    #[track_caller]
    pub fn wait_up(&self) -> u32 {
        self.wait_for("the service to run", |status| status.phase() == Phase::Run)
            .pid()
            .expect("a running service has a pid")
    }

    /// Waits until there is no process and none is wanted.
    #[track_caller]
    pub fn wait_down(&self) -> Status {
        self.wait_for("the service to be down", |status| status.phase() == Phase::Down && status.want() == b'd')
    }
}

/// A FIFO's write end, without waiting: ENXIO when nobody reads.
fn open_fifo(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Byte 19 of runit's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Down,
    Run,
    Finish,
    Unknown(u8),
}

/// What `supervise/` says: the record, and runit's two texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// `supervise/status`, as it is.
    pub raw: Vec<u8>,
    /// `supervise/stat`.
    pub stat: String,
    /// `supervise/pid`.
    pub pid_text: String,
}

impl Status {
    /// Reads them; `None` when there is no record, or only the beginning of one.
    pub fn read(service: &Path) -> Option<Self> {
        let file = |name: &str| fs::read(service.join("supervise").join(name));
        let text =
            |name: &str| file(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let raw = file("status").ok().filter(|raw| raw.len() >= 18)?;
        Some(Self { raw, stat: text("stat"), pid_text: text("pid") })
    }

    /// The process: `run`, or `finish` while that runs.
    pub fn pid(&self) -> Option<u32> {
        let bytes = self.raw.get(12..16)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes)).filter(|&pid| pid != 0)
    }

    /// Down, run or finish. daemontools' shorter record does not say; there the pid decides.
    pub fn phase(&self) -> Phase {
        match self.raw.get(19) {
            Some(0) => Phase::Down,
            Some(1) => Phase::Run,
            Some(2) => Phase::Finish,
            Some(&other) => Phase::Unknown(other),
            None if self.pid().is_some() => Phase::Run,
            None => Phase::Down,
        }
    }

    /// `u`, `d`, or 0 for daemontools' "once".
    pub fn want(&self) -> u8 {
        self.raw[17]
    }

    /// The pause flag, which in runit outlives the process.
    pub fn paused(&self) -> bool {
        self.raw[16] != 0
    }

    /// The supervisor sent TERM to the living process.
    pub fn got_term(&self) -> bool {
        self.raw.get(18).is_some_and(|&flag| flag != 0)
    }

    /// The TAI64N label, as it is: it compares like time does.
    pub fn stamp(&self) -> [u8; 12] {
        self.raw[..12].try_into().expect("twelve bytes")
    }

    /// The label as time since 1970.
    pub fn since_1970(&self) -> Duration {
        let label = u64::from_be_bytes(self.raw[..8].try_into().expect("eight bytes"));
        let nanoseconds = u32::from_be_bytes(self.raw[8..12].try_into().expect("four bytes"));
        Duration::new(label.saturating_sub((1 << 62) + 10), nanoseconds)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.raw.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "{hex} stat={:?} pid={:?}", self.stat, self.pid_text)
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// A supervisor
// ---------------------------------------------------------------------------------------------------------------------

/// Who supervises: ours, or one of those that we claim to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderTest {
    /// `onit run DIR`.
    Onit,
    /// `onit NAME DIR`, which is what a symlink called NAME does.
    OnitAs(&'static str),
    /// runit's scanner, each runsv in its own session.
    Runsvdir,
    /// runit's supervisor of one service.
    Runsv,
    /// daemontools' scanner.
    Svscan,
    /// daemontools' supervisor of one service.
    Supervise,
    /// s6's supervisor of one service.
    S6Supervise,
}

impl UnderTest {
    /// The command that supervises `dir`, to be completed with arguments or variables and given to [`SvDir::spawn`].
    pub fn command(self, dir: &Path) -> Command {
        let mut command = self.program();
        command.arg(dir);
        command
    }

    /// The same without the directory, for tests that place it themselves.
    pub fn program(self) -> Command {
        let onit = onit();
        let words: &[&OsStr] = match self {
            Self::Onit => &[onit.as_os_str(), OsStr::new("run")],
            Self::OnitAs(name) => &[onit.as_os_str(), OsStr::new(name)],
            Self::Runsvdir => &[OsStr::new("runsvdir"), OsStr::new("-P")],
            Self::Runsv => &[OsStr::new("runsv")],
            Self::Svscan => &[OsStr::new("svscan")],
            Self::Supervise => &[OsStr::new("supervise")],
            Self::S6Supervise => &[OsStr::new("s6-supervise")],
        };
        hearing_all_signals(words)
    }

    /// What must be installed for it, for [`missing_tools`].
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Onit | Self::OnitAs(_) => &[],
            Self::Runsvdir => &["runsvdir", "runsv"],
            Self::Runsv => &["runsv"],
            Self::Svscan => &["svscan", "supervise"],
            Self::Supervise => &["supervise"],
            Self::S6Supervise => &["s6-supervise"],
        }
    }
}

/// A shell that starts us in the background makes us, and so all real supervisors and their services, deaf to INT and
/// QUIT, and nohup(1) to HUP; tests must mean the same there.
fn hearing_all_signals(words: &[&OsStr]) -> Command {
    let deaf = proc::Glimpse::of(std::process::id()).is_some_and(|us| us.ignored & 0b111 != 0);
    let prefix: &[&str] = if deaf { &["env", "--default-signal=HUP,INT,QUIT"] } else { &[] };
    let mut all = prefix.iter().map(OsStr::new).chain(words.iter().copied());
    let mut command = Command::new(all.next().expect("a program"));
    command.args(all);
    command
}

/// A supervisor that runs, or has run. It ends with its [`SvDir`] at the latest.
pub struct Supervisor {
    child: Mutex<Child>,
    pid: u32,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Supervisor {
    /// Its pid, also after it ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it, and the services that share its stderr, said so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// What went to the stdout that its services share.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // The pid is ours until the child is waited for, so this cannot hit a stranger.
        let mut child = self.child.lock().expect("no panic while locked");
        if matches!(child.try_wait(), Ok(None)) {
            send(self.pid, signal);
        }
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().expect("no panic while locked").try_wait().expect("wait for our own child")
    }

    /// Waits for its end and says how it ended.
    #[track_caller]
    pub fn wait_end(&self, deadline: Duration) -> Ending {
        let status = self.wait_for("the supervisor to end", deadline, || self.ended());
        Ending::from(status)
    }

    /// As the free [`wait_for`], and shows at the deadline what the supervisor said and which processes there are.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
        poll_until(deadline, look).unwrap_or_else(|| {
            panic!(
                "waited {deadline:?} in vain for {what}\nended: {:?}\nits processes: {:#?}\nits stderr:\n{}",
                self.ended(),
                describe(&proc::tree(self.pid)),
                self.stderr()
            )
        })
    }
}

impl Drop for Supervisor {
    /// Ends the supervisor only: a test may replace one and look how the next takes over. The services end with [`SvDir`].
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if thread::panicking() {
            let ended = child.try_wait();
            eprintln!("the supervisor (ended: {ended:?}): {:#?}", describe(&proc::tree(self.pid)));
            eprintln!("its stderr:\n{}", read_lossy(&self.stderr));
        }
        drop(child.kill());
        drop(child.wait());
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Commands
// ---------------------------------------------------------------------------------------------------------------------

/// What a short-lived command said, and its exit code (128 + N when signal N ended it, as in a shell).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end; panics when that takes more than a minute, instead of hanging the whole test run.
#[track_caller]
pub fn output(mut command: Command) -> Output {
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let pid = child.id();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    let output = told.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
        send(pid, Signal::SIGKILL);
        panic!("does not come to an end: {command:?}")
    });
    let output = output.expect("read from a pipe");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
    Output { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A file that is still open for writing anywhere cannot be executed (ETXTBSY), and a fork in another thread holds a copy
/// of every descriptor until its exec. So files are written and processes started one at a time.
static WRITE_OR_SPAWN: Mutex<()> = Mutex::new(());

/// Does something that writes programs, while nothing is started.
pub fn while_nothing_starts<T>(write: impl FnOnce() -> T) -> T {
    let _alone = WRITE_OR_SPAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    write()
}

/// What a command does, begun while no file is open for writing.
pub trait InTurn {
    fn spawn_in_turn(&mut self) -> std::io::Result<Child>;
    fn status_in_turn(&mut self) -> std::io::Result<ExitStatus>;
    /// Its input is empty.
    fn output_in_turn(&mut self) -> std::io::Result<std::process::Output>;
}

impl InTurn for Command {
    fn spawn_in_turn(&mut self) -> std::io::Result<Child> {
        // A poisoned lock is a lock: the panic elsewhere is already a failed test.
        let _alone = WRITE_OR_SPAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.spawn()
    }

    fn status_in_turn(&mut self) -> std::io::Result<ExitStatus> {
        self.spawn_in_turn()?.wait()
    }

    fn output_in_turn(&mut self) -> std::io::Result<std::process::Output> {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn_in_turn()?.wait_with_output()
    }
}

/// Starts a process while no file is open for writing.
#[track_caller]
pub fn spawn(command: &mut Command) -> Child {
    command.spawn_in_turn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"))
}

/// Writes a file of this mode, or writes it anew.
#[track_caller]
pub fn write_file(path: &Path, content: &str, mode: u32) {
    let _alone = WRITE_OR_SPAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    let mut file = file.unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    file.write_all(content.as_bytes()).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}

/// Removes a directory in which somebody may still write something.
#[track_caller]
pub fn remove_tree(dir: &Path) {
    wait_for("a directory to be removed", SOON, || (fs::remove_dir_all(dir).is_ok() || !dir.exists()).then_some(()));
}

/// Copies a program so that anybody may execute it.
#[track_caller]
pub fn copy_program(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _alone = WRITE_OR_SPAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    fs::copy(from, to).unwrap_or_else(|e| panic!("cannot copy {} to {}: {e}", from.display(), to.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("chmod");
}

fn create(path: &Path) -> File {
    File::create(path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()))
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn nix_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

/// Sends a signal; that the process is already gone is no error. After a STOP it stands still.
pub fn send(pid: u32, signal: Signal) {
    let _ = kill(nix_pid(pid), signal);
    if signal == Signal::SIGSTOP {
        poll_until(SOON, || {
            proc::Glimpse::of(pid).is_none_or(|seen| matches!(seen.state, 'T' | 't' | 'Z')).then_some(())
        });
    }
}

fn describe(pids: &[u32]) -> Vec<String> {
    let line = |&pid: &u32| {
        let state = proc::Glimpse::of(pid).map_or('-', |p| p.state);
        format!("{pid} {state} {}", proc::command_line(pid))
    };
    pids.iter().map(line).collect()
}

// ---------------------------------------------------------------------------------------------------------------------
// Short words for what many tests do
// ---------------------------------------------------------------------------------------------------------------------

/// Whether we may do what only root may.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// `command`, started by the words of `prefix`: `unshare …`, `setpriv …`, `prlimit …`.
pub fn wrapped(prefix: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(prefix[0]);
    outer.args(&prefix[1..]).arg(command.get_program()).args(command.get_args());
    outer
}

/// Gives the directory, and a place for the runtime mirror, to another user, and returns the words that run onit on it as
/// that user. Only root can do that.
pub fn given_to(sv: &SvDir, uid: u32) -> Vec<String> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let copy = sv.root().join("onit");
    copy_program(&onit(), &copy);
    fs::set_permissions(sv.root(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir_all(sv.live()).expect("mkdir");
    let mut next = vec![sv.path(), sv.live()];
    while let Some(path) = next.pop() {
        chown(&path, Some(uid), Some(uid)).expect("chown");
        next.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    let (uid, dir) = (uid.to_string(), sv.path());
    let words = ["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"];
    let run = [copy.to_str(), Some("run"), dir.to_str()].map(|word| word.expect("a printable path"));
    words.iter().chain(&run).map(|word| (*word).to_owned()).collect()
}

impl SvDir {
    /// Starts these words as a supervisor.
    pub fn spawn_words<W: AsRef<OsStr>>(&self, words: &[W]) -> Supervisor {
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        self.spawn(hearing_all_signals(&words))
    }

    /// The same in this directory.
    pub fn spawn_words_in<W: AsRef<OsStr>>(&self, dir: &Path, words: &[W]) -> Supervisor {
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        let mut command = hearing_all_signals(&words);
        command.current_dir(dir);
        self.spawn(command)
    }
}

impl Supervisor {
    /// The lines on stderr that hold each of `words`.
    pub fn said(&self, words: &[&str]) -> Vec<String> {
        let stderr = self.stderr();
        stderr.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
    }

    /// Waits for such a line.
    #[track_caller]
    pub fn wait_said(&self, words: &[&str]) -> String {
        self.wait_for(&format!("a line with {words:?}"), SOON, || self.said(words).into_iter().next())
    }
}

impl Service {
    /// Sends command bytes that must arrive.
    #[track_caller]
    pub fn order(&self, bytes: &[u8]) {
        self.control(bytes).unwrap_or_else(|e| panic!("{} hears no orders: {e}", self.dir.display()));
    }

    /// Waits until `run` is another process than `pid`, and returns it.
    #[track_caller]
    pub fn wait_other(&self, pid: u32) -> u32 {
        let another = |status: &Status| status.phase() == Phase::Run && status.pid() != Some(pid);
        self.wait_for("another life of the service", another).pid().expect("a running service has a pid")
    }

    /// Waits until the file at `path` holds such text, and returns it.
    #[track_caller]
    pub fn wait_text(&self, path: &str, wanted: impl Fn(&str) -> bool) -> String {
        let what = format!("the awaited text in {}/{path}", self.dir.display());
        wait_for(&what, SOON, || Some(self.text(path)).filter(|text| wanted(text)))
    }

    /// Waits until a script has written a pid and a newline to the file at `path`.
    #[track_caller]
    pub fn wait_pid(&self, path: &str) -> u32 {
        self.wait_text(path, |text| text.ends_with('\n')).trim().parse().expect("a pid")
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The fixture keeps its own promises
// ---------------------------------------------------------------------------------------------------------------------

mod tests {
    use super::*;

    #[test]
    fn nothing_outlives_the_directory_even_when_a_test_panics() {
        if let Some(why) = missing_tools(&["runsvdir", "runsv"]) {
            skip!("{why}");
        }
        let (tell, told) = mpsc::channel();
        let test = thread::spawn(move || {
            let sv = SvDir::new();
            // One that lost its mark, one that ignores TERM and left its parent: both must go.
            let bare = sv.service("bare").run("exec env -i sleep 1000").create();
            let stray = sv
                .service("stray")
                .run("trap '' TERM; (cd /; sleep 1000 & echo $! >\"$OLDPWD/stray\"); exec sleep 1000")
                .create();
            let _runsvdir = sv.start(UnderTest::Runsvdir);
            let stray_pid = wait_for("the stray process", SOON, || stray.text("stray").trim().parse().ok());
            tell.send(vec![bare.wait_up(), stray.wait_up(), stray_pid]).expect("told");
            std::panic::resume_unwind(Box::new("a failing test"));
        });
        let pids: Vec<u32> = told.recv_timeout(SOON).expect("three processes");
        assert!(test.join().is_err(), "the test above was to panic");
        assert_eq!(pids.iter().filter(|&&pid| proc::is_alive(pid)).count(), 0, "left behind: {:?}", describe(&pids));
    }

    #[test]
    fn a_service_built_atomically_is_never_seen_half_done() {
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 100").file("env/A", "1").symlink("link", "run").create_atomically();
        let names: Vec<_> = fs::read_dir(sv.path()).expect("service/").flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["web"]);
        assert_eq!(web.text("link"), "#!/bin/sh\nexec sleep 100\n");
        assert_eq!(web.text("env/A"), "1");
    }

    #[test]
    fn the_status_of_a_real_runsv_is_read_right() {
        if let Some(why) = missing_tools(&["runsv", "sv"]) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 100").create();
        let runsv = sv.start_on(UnderTest::Runsv, &web);
        let pid = web.wait_up();
        let status = web.status().expect("a status");
        assert_eq!(proc::children(runsv.pid()), [pid]);
        assert_eq!((status.stat.as_str(), status.pid_text.as_str()), ("run\n", format!("{pid}\n").as_str()));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        assert!(now.saturating_sub(status.since_1970()) < SOON && now >= status.since_1970(), "{status:?}");
        web.control(b"pd").expect("supervised");
        let status = web.wait_down();
        assert!(status.paused() && !status.got_term() && status.pid().is_none(), "{status:?}");
        assert_eq!(sv.sv(&["exit", "web"]).code, 0);
        assert_eq!(runsv.wait_end(SOON), Ending::Code(0));
        assert!(!web.is_supervised());
    }
}
