//! Real containers: a bundle in a temporary directory, started by `runc` as an engine's shim does it.
//!
//! ```ignore
//! let bundle = Bundle::new().args(["onit", "run", "/sv"]).uid(12345).read_only().mount_tmpfs("/run", "mode=1777");
//! let bundle = bundle.script("/sv/web/run", "exec sleep 1000");
//! assert_eq!(bundle.run().code, 0);                    // to its end
//! let container = bundle.start();                      // or in the background
//! container.kill("TERM");
//! assert_eq!(container.wait_end(SOON), Ending::Code(0));
//! ```
//!
//! The root holds busybox with all its applets, and onit, in `/bin`; nothing else: no `/etc`, no `/run`, no `/tmp`.
//! `/proc` and `/dev` are there as every engine makes them. A container ends with its value at the latest, also when the
//! test panics.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{self, Ending, Output, SOON, Service, adopt_orphans, copy_program, find_in_path, is_root};
use crate::svdir::{missing_tools, poll_until, send, skip, write_file};
use crate::terminal;

/// What stands in the way of tests in containers.
pub fn why_no_containers() -> Option<String> {
    missing_tools(&["runc", "busybox"]).or_else(|| (!is_root()).then(|| "needs root for containers".into()))
}

// ---------------------------------------------------------------------------------------------------------------------
// The bundle
// ---------------------------------------------------------------------------------------------------------------------

/// A root file system, and what is to run in it. It may be started any number of times, one after the other or at once.
#[must_use = "end with .run() or .start()"]
pub struct Bundle {
    place: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    uid: u32,
    gid: u32,
    cwd: String,
    capabilities: Option<Vec<String>>,
    no_new_privileges: bool,
    read_only: bool,
    terminal: bool,
    mounts: Vec<[String; 4]>,
    started: AtomicU32,
}

impl Bundle {
    /// A root with busybox and onit; runs `onit` as root with the capabilities that Docker gives.
    pub fn new() -> Self {
        let bundle = Self::without_shell();
        let bundle = bundle.program_from(&find_in_path("busybox").expect("busybox is installed"), "/bin/busybox");
        for applet in applets() {
            symlink("busybox", bundle.root().join("bin").join(applet)).expect("symlink");
        }
        bundle
    }

    /// The same with onit alone.
    pub fn without_shell() -> Self {
        adopt_orphans();
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let bundle = Self {
            place,
            args: vec!["onit".into()],
            env: vec![("PATH".into(), "/bin".into())],
            uid: 0,
            gid: 0,
            cwd: "/".into(),
            capabilities: None,
            no_new_privileges: false,
            read_only: false,
            terminal: false,
            mounts: Vec::new(),
            started: AtomicU32::new(0),
        };
        let bundle = bundle.dir("/", 0o755).dir("/bin", 0o755).dir("/proc", 0o755).dir("/dev", 0o755);
        bundle.program_from(onit(), "/bin/onit")
    }

    /// The root file system as the host sees it. What is mounted in the container is not there: see [`Container::path`].
    pub fn root(&self) -> PathBuf {
        self.place.path().join("rootfs")
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    // What runs.

    /// The program, found in `/bin`, and its arguments.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args = args.into_iter().map(str::to_owned).collect();
        self
    }

    /// As this user, and as the group of the same number. There is no passwd that knows either.
    pub fn uid(mut self, uid: u32) -> Self {
        (self.uid, self.gid) = (uid, uid);
        self
    }

    /// As this group.
    pub fn gid(mut self, gid: u32) -> Self {
        self.gid = gid;
        self
    }

    /// With this variable. `PATH=/bin` is there, and runc adds `HOME=/`; `env -i` in front of the program removes all.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    /// In this directory instead of `/`.
    pub fn cwd(mut self, cwd: &str) -> Self {
        self.cwd = cwd.into();
        self
    }

    /// With these capabilities and no others, by name: `CAP_KILL`.
    pub fn capabilities<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.capabilities = Some(names.into_iter().map(str::to_owned).collect());
        self
    }

    /// As `--cap-drop ALL`.
    pub fn no_capabilities(self) -> Self {
        self.capabilities([])
    }

    /// As `--security-opt no-new-privileges`.
    pub fn no_new_privileges(mut self) -> Self {
        self.no_new_privileges = true;
        self
    }

    /// As `--tty`: a terminal of the container's own, whose other end is [`Container::terminal`].
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    // Where it runs.

    /// As `--read-only`.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// An empty file system in memory. The options are those of mount(8): `mode=1777,noexec`.
    pub fn mount_tmpfs(self, path: &str, options: &str) -> Self {
        self.mount(path, "tmpfs", "tmpfs", options)
    }

    /// A file or directory of the host. The options are those of mount(8), as `ro`.
    pub fn bind(self, host: &Path, path: &str, options: &str) -> Self {
        let options = format!("rbind,{options}");
        self.mount(path, "bind", host.to_str().expect("a printable path"), options.trim_end_matches(','))
    }

    /// Anything that can be mounted.
    pub fn mount(mut self, path: &str, kind: &str, source: &str, options: &str) -> Self {
        self.mounts.push([path.into(), kind.into(), source.into(), options.into()]);
        self
    }

    // What is in the root.

    /// A file with exactly this content. Directories that it needs are made.
    pub fn file(self, path: &str, content: &str, mode: u32) -> Self {
        let file = self.inside(path);
        make_dirs(file.parent().expect("a directory"));
        write_file(&file, content, mode);
        self
    }

    /// An executable `/bin/sh` script.
    pub fn script(self, path: &str, body: &str) -> Self {
        self.file(path, &format!("#!/bin/sh\n{body}\n"), 0o755)
    }

    /// A directory of this mode, made or changed.
    pub fn dir(self, path: &str, mode: u32) -> Self {
        let dir = self.inside(path);
        make_dirs(&dir);
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("chmod");
        self
    }

    /// A symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let link = self.inside(path);
        make_dirs(link.parent().expect("a directory"));
        symlink(target, &link).unwrap_or_else(|e| panic!("symlink {}: {e}", link.display()));
        self
    }

    /// Gives a file, or a directory and all that is in it, to this user and the group of the same number.
    pub fn owned(self, path: &str, uid: u32) -> Self {
        let mut next = vec![self.inside(path)];
        while let Some(path) = next.pop() {
            lchown(&path, Some(uid), Some(uid)).expect("chown");
            if path.is_dir() && !path.is_symlink() {
                next.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            }
        }
        self
    }

    /// An installed program, under its own name in `/bin`, with the libraries that it needs.
    pub fn program(self, name: &str) -> Self {
        let from = find_in_path(name).unwrap_or_else(|| panic!("{name} is not installed"));
        self.program_from(&from, &format!("/bin/{name}"))
    }

    /// Any program of the host, with the libraries that it needs.
    pub fn program_from(self, from: &Path, path: &str) -> Self {
        let to = self.inside(path);
        make_dirs(to.parent().expect("a directory"));
        let _ = fs::remove_file(&to); // an applet's link leads to busybox
        copy_program(from, &to);
        for library in libraries(from) {
            let to = self.inside(&library);
            if !to.exists() {
                make_dirs(to.parent().expect("a directory"));
                copy_program(Path::new(&library), &to);
            }
        }
        self
    }

    // Running it.

    /// Runs it to its end, which must come within a minute.
    #[track_caller]
    pub fn run(&self) -> Outcome {
        let begin = Instant::now();
        let container = self.start();
        let code = match container.wait_end(3 * SOON) {
            Ending::Code(code) => code,
            Ending::Signal(signal) => 128 + signal,
        };
        Outcome { code, stdout: container.stdout(), stderr: container.stderr(), took: begin.elapsed() }
    }

    /// Starts it: stdin is empty, stdout and stderr are kept in files.
    #[track_caller]
    pub fn start(&self) -> Container<'_> {
        self.start_with(Stdio::null(), None, None)
    }

    /// Starts it with other standard descriptors, which the container inherits as they are; `None`: kept in files.
    #[track_caller]
    pub fn start_with(&self, stdin: Stdio, stdout: Option<Stdio>, stderr: Option<Stdio>) -> Container<'_> {
        let container = self.create_with(stdin, stdout, stderr);
        container.go();
        container
    }

    /// Creates it without starting its program, which [`Container::go`] does.
    #[track_caller]
    pub fn create_with(&self, stdin: Stdio, stdout: Option<Stdio>, stderr: Option<Stdio>) -> Container<'_> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        write_file(&self.place.path().join("config.json"), &self.config(), 0o644);
        let name = |what: &str| self.place.path().join(format!("{what}.{number}"));
        let (stdout_file, stderr_file) = (name("stdout"), name("stderr"));
        let create = |path: &Path| Stdio::from(File::create(path).expect("a file for what it says"));
        let mut container = Container {
            bundle: self,
            id: format!("onit-{}-{number}", self.place.path().file_name().expect("a name").display()),
            pid: 0,
            front: None,
            terminal: None,
            ending: OnceLock::new(),
            stdout: stdout_file,
            stderr: stderr_file,
        };
        let verb = if self.terminal { "run" } else { "create" };
        let pid_file = name("pid");
        let mut command = container.runc(&[verb, "--pid-file", pid_file.to_str().expect("a printable path")]);
        command.arg("--bundle").arg(self.place.path()).arg(&container.id);
        if self.terminal {
            let (master, slave) = terminal::pair();
            let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
            command.stdin(end()).stdout(end()).stderr(end());
            container.front = Some(std::sync::Mutex::new(svdir::spawn(&mut command)));
            container.terminal = Some(master);
        } else {
            command.stdin(stdin);
            command.stdout(stdout.unwrap_or_else(|| create(&container.stdout)));
            command.stderr(stderr.unwrap_or_else(|| create(&container.stderr)));
            let made = svdir::spawn(&mut command).wait().expect("runc");
            assert!(made.success(), "runc create: {made}\n{}", container.stderr());
        }
        let pid = || fs::read_to_string(&pid_file).ok()?.trim().parse().ok();
        container.pid = poll_until(SOON, pid).unwrap_or_else(|| panic!("runc {verb}: no container"));
        container
    }

    fn config(&self) -> String {
        let list = |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(",");
        let names = self.capabilities.clone().unwrap_or_else(|| DOCKER.iter().map(|name| (*name).into()).collect());
        // As Docker does it: who is not root has them in the bounding set only.
        let (bounding, held) = (list(&names), if self.uid == 0 { list(&names) } else { String::new() });
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mounts: String = self.mounts.iter().map(|mount| format!(",{}", mount_entry(mount))).collect();
        format!(
            r#"{{"ociVersion":"1.0.2","hostname":"box",
"process":{{"terminal":{},"user":{{"uid":{},"gid":{}}},"args":[{}],"env":[{}],"cwd":{},"noNewPrivileges":{},
 "capabilities":{{"bounding":[{bounding}],"permitted":[{held}],"effective":[{held}],"inheritable":[],"ambient":[]}}}},
"root":{{"path":"rootfs","readonly":{}}},
"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}},
 {{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755","size=1m"]}},
 {{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance","ptmxmode=0666","mode=0620"]}}{mounts}],
"linux":{{"namespaces":[{{"type":"pid"}},{{"type":"ipc"}},{{"type":"uts"}},{{"type":"mount"}},{{"type":"network"}}]}}}}"#,
            self.terminal,
            self.uid,
            self.gid,
            list(&self.args),
            list(&env),
            quoted(&self.cwd),
            self.no_new_privileges,
            self.read_only,
        )
    }
}

/// What Docker leaves to root in a container.
const DOCKER: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

fn mount_entry([path, kind, source, options]: &[String; 4]) -> String {
    let options: Vec<String> = options.split(',').filter(|option| !option.is_empty()).map(quoted).collect();
    let [path, kind, source] = [path, kind, source].map(|word| quoted(word));
    format!(r#"{{"destination":{path},"type":{kind},"source":{source},"options":[{}]}}"#, options.join(","))
}

fn quoted(text: &str) -> String {
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => json.push_str(&format!("\\u{:04x}", c as u32)),
            c => json.push(c),
        }
    }
    json + "\""
}

fn make_dirs(dir: &Path) {
    fs::create_dir_all(dir).unwrap_or_else(|e| panic!("mkdir {}: {e}", dir.display()));
}

fn applets() -> &'static [String] {
    static LIST: OnceLock<Vec<String>> = OnceLock::new();
    LIST.get_or_init(|| {
        let mut busybox = Command::new("busybox");
        busybox.arg("--list");
        svdir::output(busybox).stdout.lines().filter(|name| *name != "busybox").map(str::to_owned).collect()
    })
}

/// The libraries of a program, its loader included; none if it is static.
fn libraries(program: &Path) -> Vec<String> {
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    let listed = svdir::output(ldd).stdout;
    listed.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(str::to_owned).collect()
}

/// The onit that goes into a container: a static one where it can be built, else the one under test.
pub fn onit() -> &'static Path {
    static ONIT: OnceLock<PathBuf> = OnceLock::new();
    ONIT.get_or_init(|| match std::env::var_os("ONIT_BIN") {
        Some(bin) => bin.into(),
        None => static_onit().unwrap_or_else(svdir::onit),
    })
}

fn static_onit() -> Option<PathBuf> {
    let place = svdir::onit().parent()?.parent()?.join("container");
    let mut make = Command::new("make");
    make.args(["--silent", "boxed"]).arg(format!("BOXED={}", place.display()));
    make.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let built = svdir::spawn(&mut make).wait().is_ok_and(|status| status.success());
    built.then(|| place.join(format!("{}-unknown-linux-musl/release/onit", std::env::consts::ARCH)))
}

// ---------------------------------------------------------------------------------------------------------------------
// The container
// ---------------------------------------------------------------------------------------------------------------------

/// What a container said, and its exit code (128 + N when signal N ended it, as engines say it).
#[derive(Clone, Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// A container that runs, or has run.
pub struct Container<'b> {
    bundle: &'b Bundle,
    id: String,
    pid: u32,
    /// With a terminal, the `runc` that stands between it and us.
    front: Option<std::sync::Mutex<Child>>,
    terminal: Option<File>,
    ending: OnceLock<Ending>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Container<'_> {
    fn runc(&self, words: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.bundle.place.path().join("state")).arg("--rootless=true").args(words);
        command
    }

    /// Starts the program of a container that was created.
    #[track_caller]
    pub fn go(&self) {
        if self.front.is_none() {
            let started = svdir::output(self.runc(&["start", &self.id]));
            assert_eq!(started.code, 0, "runc start: {}{}", started.stderr, self.stderr());
        }
    }

    /// Its PID 1, as the host counts.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The other end of its terminal.
    pub fn terminal(&self) -> &File {
        self.terminal.as_ref().expect("a bundle with .terminal()")
    }

    /// A file in it as the host can open it, whatever is mounted there. Only as long as PID 1 lives.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid)).join(path.trim_start_matches('/'))
    }

    /// The text of a file in it; empty if there is none.
    pub fn text(&self, path: &str) -> String {
        fs::read(self.path(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// A service directory in it.
    pub fn service(&self, path: &str) -> Service {
        Service::at(self.path(path))
    }

    /// Runs a command beside PID 1, as `docker exec` does: as the same user.
    #[track_caller]
    pub fn exec<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        let mut command = self.runc(&["exec", &self.id]);
        command.args(words);
        svdir::output(command)
    }

    /// The same as another user.
    #[track_caller]
    pub fn exec_as<'a>(&self, uid: u32, words: impl IntoIterator<Item = &'a str>) -> Output {
        let mut command = self.runc(&["exec", "--user", &format!("{uid}:{uid}"), &self.id]);
        command.args(words);
        svdir::output(command)
    }

    /// Sends PID 1 a signal, by name or number, as `docker kill` does.
    #[track_caller]
    pub fn kill(&self, signal: &str) {
        let sent = svdir::output(self.runc(&["kill", &self.id, signal]));
        assert_eq!(sent.code, 0, "runc kill: {}", sent.stderr);
    }

    /// What it said on stdout so far.
    pub fn stdout(&self) -> String {
        fs::read(&self.stdout).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// What it said on stderr so far.
    pub fn stderr(&self) -> String {
        fs::read(&self.stderr).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The lines on stderr that hold each of `words`.
    pub fn said(&self, words: &[&str]) -> Vec<String> {
        let stderr = self.stderr();
        stderr.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> Option<Ending> {
        if let Some(ending) = self.ending.get() {
            return Some(*ending);
        }
        let ending = match &self.front {
            Some(runc) => Ending::from(runc.lock().expect("no panic while locked").try_wait().expect("wait for runc")?),
            None => match waitpid(nix_pid(self.pid), Some(WaitPidFlag::WNOHANG)).expect("wait for an adopted child") {
                WaitStatus::Exited(_, code) => Ending::Code(code),
                WaitStatus::Signaled(_, signal, _) => Ending::Signal(signal as i32),
                _ => return None,
            },
        };
        Some(*self.ending.get_or_init(|| ending))
    }

    /// Waits for its end and says how it ended.
    #[track_caller]
    pub fn wait_end(&self, deadline: Duration) -> Ending {
        self.wait_for("the container to end", deadline, || self.ended())
    }

    /// As [`svdir::wait_for`], and shows at the deadline what the container said and which processes there are.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
        poll_until(deadline, look).unwrap_or_else(|| {
            let processes: Vec<String> = proc::tree(self.pid).into_iter().map(glance).collect();
            let (ended, stdout, stderr) = (self.ended(), self.stdout(), self.stderr());
            panic!(
                "waited {deadline:?} in vain for {what}\nended: {ended:?}\nits processes: {processes:#?}\n\
                its stdout:\n{stdout}\nits stderr:\n{stderr}"
            )
        })
    }

    /// Waits for a line on stderr that holds each of `words`.
    #[track_caller]
    pub fn wait_said(&self, words: &[&str]) -> String {
        self.wait_for(&format!("a line with {words:?}"), SOON, || self.said(words).into_iter().next())
    }
}

impl Drop for Container<'_> {
    /// With its PID 1 everything in it ends.
    fn drop(&mut self) {
        if self.ended().is_none() && self.pid != 0 {
            send(self.pid, Signal::SIGKILL);
        }
        if let Some(runc) = &mut self.front {
            let runc = runc.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            if self.pid == 0 {
                drop(runc.kill());
            }
            drop(runc.wait());
        } else if self.pid != 0 {
            poll_until(SOON, || self.ended());
        }
        drop(self.runc(&["delete", "--force", &self.id]).stdout(Stdio::null()).stderr(Stdio::null()).status_in_turn());
    }
}

fn nix_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

// ---------------------------------------------------------------------------------------------------------------------
// The fixture keeps its own promises
// ---------------------------------------------------------------------------------------------------------------------

mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn a_container_is_as_it_was_described() {
        if let Some(why) = why_no_containers() {
            skip!("{why}");
        }
        let bundle = Bundle::new().uid(12345).gid(7).cwd("/etc").read_only().no_capabilities().no_new_privileges();
        let bundle =
            bundle.env("QUOTE", "\"\\\n").mount_tmpfs("/run", "mode=1777,noexec").file("/etc/x", "one\n", 0o644);
        let look = "id -u; id -g; echo $$; cat x; grep -E '^(CapBnd|CapEff|NoNewPrivs)' /proc/self/status; \
            echo \"$QUOTE$HOME\"; grep -c ' /run .*noexec.* tmpfs' /proc/self/mountinfo; touch /etc/x || exit 3";
        let outcome = bundle.args(["sh", "-c", look]).run();
        let zero = "0000000000000000";
        let wanted = format!("12345\n7\n1\none\nCapEff:\t{zero}\nCapBnd:\t{zero}\nNoNewPrivs:\t1\n\"\\\n/\n1\n");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (3, wanted.as_str()));
        assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
        assert!(outcome.took < SOON);
    }

    #[test]
    fn a_container_is_reached_and_ends_as_it_is_told() {
        if let Some(why) = why_no_containers() {
            skip!("{why}");
        }
        let bundle = Bundle::new().args(["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"]);
        let container = bundle.start();
        container.wait_for("its word", SOON, || (container.stdout() == "up\n").then_some(()));
        let other = container.exec_as(5, ["sh", "-c", "id -u; echo no >&2; exit 4"]);
        assert_eq!((other.code, other.stdout.as_str(), other.stderr.as_str()), (4, "5\n", "no\n"));
        container.kill("TERM");
        assert_eq!(container.wait_end(SOON), Ending::Code(7));
        let again = bundle.start();
        again.kill("KILL");
        assert_eq!(again.wait_end(SOON), Ending::Signal(9));
    }

    #[test]
    fn a_terminal_is_a_terminal() {
        if let Some(why) = why_no_containers() {
            skip!("{why}");
        }
        let bundle = Bundle::new().terminal().args(["sh", "-c", "tty; read word; echo got $word; exit 5"]);
        let container = bundle.start();
        container.terminal().write_all(b"hello\n").expect("written");
        assert_eq!(container.wait_end(SOON), Ending::Code(5));
        let mut shown = Vec::new();
        let _ = container.terminal().read_to_end(&mut shown); // which ends with an error, as terminals do
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains("/dev/pts/0") && shown.contains("got hello"), "{shown}");
    }

    #[test]
    fn nothing_of_a_container_outlives_it_even_when_a_test_panics() {
        if let Some(why) = why_no_containers() {
            skip!("{why}");
        }
        let (tell, told) = std::sync::mpsc::channel();
        let test = std::thread::spawn(move || {
            let bundle = Bundle::new().args(["sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000; exit"]);
            let container = bundle.start();
            let two = || Some(proc::tree(container.pid())).filter(|all| all.len() >= 3);
            tell.send((container.wait_for("its processes", SOON, two), bundle.root())).expect("told");
            std::panic::resume_unwind(Box::new("a failing test"));
        });
        let (pids, root) = told.recv_timeout(3 * SOON).expect("processes");
        assert!(test.join().is_err(), "the test above was to panic");
        assert!(!pids.iter().any(|&pid| proc::is_alive(pid)) && !root.exists(), "left behind: {pids:?}");
    }

    #[test]
    fn a_dynamic_program_brings_its_libraries() {
        if let Some(why) = why_no_containers().or_else(|| missing_tools(&["sv"])) {
            skip!("{why}");
        }
        let outcome = Bundle::new().program("sv").args(["sv", "status", "/none"]).run();
        assert_eq!(
            (outcome.code, outcome.stdout.contains("/none: unable to change to service")),
            (1, true),
            "{outcome:?}"
        );
    }
}

/// What a process is, and which signals it has not taken and does not take.
fn glance(pid: u32) -> String {
    let masks = proc::Glimpse::of(pid).map(|seen| {
        format!("{} pending {:x} blocked {:x} ignored {:x}", seen.state, seen.pending, seen.blocked, seen.ignored)
    });
    format!("{} ({})", proc::command_line(pid), masks.unwrap_or_default())
}
