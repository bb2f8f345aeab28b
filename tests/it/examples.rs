//! The examples keep their promises: each entry of `svdir-examples/` does its real job, under us and under runsvdir.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::proc;
use crate::restarts::{told, wait_state};
use crate::svdir::InTurn as _;
use crate::svdir::{
    Ending, SOON, Service, ServiceBuilder, Supervisor, SvDir, UnderTest, is_starved, missing_tools, skip, wait_for,
};
use crate::verbs::well;

const ENTRIES: [&str; 10] = ["app@", "checked", "clock", "db", "flaky", "getty", "graceful", "migrate", "redis", "web"];
/// Those that runit's tools know as services.
const STOCK: [&str; 8] = ["checked", "clock", "db", "flaky", "getty", "graceful", "redis", "web"];

/// Time for a process that was sent TERM to be gone; less than any sleep in the examples that TERM was to cut short.
const DYING: Duration = Duration::from_millis(1500);

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("svdir-examples")
}

/// One test for ours and one for runsvdir, which must find the same examples good.
macro_rules! under_both {
    ($($name:ident($which:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn body($which: UnderTest) {
                if let Some(why) = missing_tools(&["sv"]).or_else(|| missing_tools($which.needs())) {
                    skip!("{why}");
                }
                $body
            }

            #[test]
            fn under_onit() {
                body(UnderTest::Onit);
            }

            #[test]
            fn under_runsvdir() {
                body(UnderTest::Runsvdir);
            }
        }
    )+};
}

// ---------------------------------------------------------------------------------------------------------------------
// Each does its job
// ---------------------------------------------------------------------------------------------------------------------

under_both! {
    clock_has_its_ticks_logged(which) {
        let example = Example::copy("clock").start(which);
        let log = || example.service.text("log/main/current");
        let longer_than = |lines: usize| Some(log()).filter(|text| text.lines().count() > lines);
        let ticks = example.supervisor.wait_for("two ticks in the log", SOON, || longer_than(1));
        assert!(ticks.lines().all(|line| line.matches(':').count() >= 2), "each line is a time: {ticks}");
        let status = example.sv(&["status", "clock"]).stdout;
        assert!(status.starts_with("run: clock: (pid ") && status.contains("; run: log: (pid "), "{status}");

        let [clock, logger] = [&example.service, &example.service.logger()].map(Service::wait_up);
        assert_eq!(example.sv(&["restart", "clock/log"]).code, 0);
        let lines = log().lines().count();
        example.supervisor.wait_for("ticks in the log of the next logger", SOON, || longer_than(lines + 1));
        assert_ne!(example.service.logger().wait_up(), logger);
        assert_eq!(example.service.wait_up(), clock, "the logger is restarted alone");
        let lines = log().lines().count();
        example.supervisor.wait_for("one more tick, so that its sleep has just begun", SOON, || longer_than(lines));
        example.stop();
        assert_eq!(example.supervisor.stdout() + &example.supervisor.stderr(), "", "all of it went to the log");
    }

    web_answers_on_loopback(which) {
        if !has_web_server() {
            skip!("not installed: busybox with httpd, or python3");
        }
        let port = free_port();
        let example = Example::copy("web").with_port(port).start(which);
        let page = example.supervisor.wait_for("an answer", SOON, || get(port));
        assert!(page.contains(" 200 OK\r\n") && page.contains("<h1>It runs.</h1>"), "{page}");
        assert_eq!(example.sv(&["stop", "web"]).code, 0);
        assert_eq!(get(port), None, "stopped");
        assert_eq!(example.sv(&["start", "web"]).code, 0);
        example.supervisor.wait_for("an answer after the next start", SOON, || get(port));
        example.stop();
        assert_eq!(example.supervisor.stderr(), "");
    }

    redis_answers_a_ping(which) {
        if let Some(why) = missing_tools(&["redis-server", "redis-cli"]) {
            skip!("{why}");
        }
        let port = free_port();
        let example = Example::copy("redis").with_port(port).start(which);
        let ping = || {
            let mut redis_cli = Command::new("redis-cli");
            redis_cli.args(["-p", &port.to_string(), "ping"]);
            example.svdir.run(redis_cli).stdout
        };
        let first = example.service.wait_up();
        let check = example.sv(&["-w", "20", "start", "redis"]);
        assert!(check.code == 0 && check.stdout.starts_with("ok: run: redis: (pid "), "{check:?}");
        assert_eq!(ping(), "PONG\n", "ready at once, since sv start waited for check");
        assert_eq!(example.sv(&["kill", "redis"]).code, 0);
        example.service.wait_for("the next redis", |status| status.pid().is_some_and(|pid| pid != first));
        example.supervisor.wait_for("an answer of the next redis", SOON, || (ping() == "PONG\n").then_some(()));
        example.stop();
        let files = names_in(&example.service.path().join("."));
        assert_eq!(files, ["README", "check", "env", "run", "supervise"], "it keeps nothing on disk");
    }

    flaky_comes_back(which) {
        let example = Example::copy("flaky").start(which);
        let first = example.service.wait_up();
        let crash = format!("flaky: process {first} crashes\n");
        let said = |line: &str| example.supervisor.stdout().contains(line).then_some(());
        example.supervisor.wait_for("the crash", SOON, || said(&crash));
        let second = example.service.wait_for("the next life", |status| status.pid().is_some_and(|pid| pid != first));
        let birth = format!("flaky: process {} will live for ", second.pid().expect("waited for"));
        example.supervisor.wait_for("its first word", SOON, || said(&birth));
        if which == UnderTest::Onit {
            let told = example.supervisor.stderr();
            assert!(told.starts_with("onit: flaky: exited with 1 "), "a crash is worth a line: {told}");
        }
        example.stop();
    }

    graceful_ends_in_its_own_way(which) {
        let example = Example::copy("graceful").start(which);
        let mut said = Vec::new();
        for (order, hook, finish) in [("term", true, "-1 10"), ("kill", false, "-1 9"), ("stop", true, "-1 10")] {
            let last = said.len();
            let pid = example.supervisor.wait_for("the next life", SOON, || {
                let text = example.supervisor.stdout();
                let line = text.lines().nth(last)?;
                line.strip_prefix("graceful: process ")?.strip_suffix(" runs")?.parse::<u32>().ok()
            });
            assert_eq!(example.service.wait_up(), pid);
            let sv = example.sv(&[order, "graceful"]);
            assert_eq!(sv.code, 0, "{sv:?}");
            said.push(format!("graceful: process {pid} runs"));
            if hook {
                said.push(format!("graceful: control/t sends USR1 to process {pid} in place of TERM"));
            }
            said.push(format!("graceful: finish {finish}"));
        }
        example.service.wait_down();
        assert_eq!(example.supervisor.stdout().lines().collect::<Vec<_>>(), said);
        example.stop();
    }

    checked_is_available_when_its_check_says_so(which) {
        let example = Example::copy("checked").start(which);
        example.service.wait_up();
        let up = Instant::now();
        let early = example.check();
        assert!(early != 0 || up.elapsed() > Duration::from_secs(2), "available while it warms up");
        let sv = example.sv(&["-w", "30", "check", "checked"]);
        assert!(sv.code == 0 && sv.stdout.starts_with("ok: run: checked: (pid "), "{sv:?}");
        assert_eq!(example.check(), 0);
        let text = example.supervisor.wait_for("its word", SOON, || {
            Some(example.supervisor.stdout()).filter(|text| text.ends_with("available\n"))
        });
        assert_eq!(text, "checked: warming up\nchecked: available\n");
        example.stop();
        assert_ne!(example.check(), 0, "nobody is available");
        assert_eq!(example.supervisor.stderr(), "");
    }

    what_is_not_installed_stays_down_and_says_so(which) {
        for (name, sentence) in [
            ("web", "web: neither busybox httpd nor python3 is installed; staying down\n"),
            ("redis", "redis: redis-server is not installed; staying down\n"),
        ] {
            // As little in PATH as possible, so that the example finds nothing suitable.
            let example = Example::copy(name).start_with_tools(which, &["env", "grep", "runsv", "runsvdir", "sleep"]);
            example.service.wait_down();
            assert_eq!(example.supervisor.stdout(), sentence);
            example.stop();
            assert_eq!(example.supervisor.stderr(), "", "not an accident");
        }
    }
}

#[test]
fn all_of_them_run_and_end_together() {
    if let Some(why) = missing_tools(&["sv"]) {
        skip!("{why}");
    }
    let svdir = SvDir::new();
    for name in ENTRIES {
        let service = Example::copy_to(&svdir, name);
        if ["redis", "web"].contains(&name) {
            service.write("env/PORT", &format!("{}\n", free_port()));
        }
    }
    let onit = svdir.start(UnderTest::Onit);
    for name in STOCK {
        onit.wait_for(name, SOON, || svdir.existing(name).is_supervised().then_some(()));
    }
    let status = svdir.sv(&[&["status"], STOCK.as_slice()].concat());
    assert_eq!(status.stdout.lines().filter(|line| line.starts_with("run: ") || line.starts_with("down: ")).count(), 8);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    onit.wait_for("nothing to be left", DYING, || svdir.processes().is_empty().then_some(()));
    assert!(!onit.stderr().contains("killing it"), "each ends when it is asked to: {}", onit.stderr());
}

#[test]
fn a_database_a_migration_and_three_workers_come_up_in_order() {
    let svdir = SvDir::new();
    for name in ["db", "migrate", "app@"] {
        Example::copy_to(&svdir, name);
    }
    let mut command = UnderTest::Onit.command(&svdir.path());
    command.env("TMPDIR", svdir.root()).env("ONIT_RUN", svdir.live());
    let onit = svdir.spawn(command);
    let workers = ["app@1", "app@2", "app@3"];
    for worker in workers {
        wait_state(&svdir, worker, "up");
        wait_for("a healthy worker", SOON, || (told(&svdir, worker)["health"] == "healthy").then_some(()));
    }
    assert_eq!((&told(&svdir, "migrate")["state"], &told(&svdir, "db")["ready"]), (&"done".into(), &true.into()));
    let tree = well(&svdir, &["graph", "app@2"]);
    assert_eq!(tree, "app@2 (up)\n├─ db (up)\n└─ migrate (done)\n   └─ db (up)\n");
    well(&svdir, &["scale", "app=1"]);
    assert!(told(&svdir, "app@3").is_null() && told(&svdir, "app@1")["state"] == "up");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    let lines: Vec<String> = onit.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines[..3], ["db: loading", "db: available", "migrate: the schema is new"]);
    assert_eq!(lines[lines.len() - 2..], ["app: worker 1 leaves", "db: closed"]);
}

#[test]
fn every_entry_is_tested_and_has_a_three_line_readme() {
    // What begins with a dot is no service: after `make run` there is one.
    let is_service = |name: &String| !name.starts_with('.') && examples().join(name).is_dir();
    let dirs = names_in(&examples()).into_iter().filter(is_service);
    assert_eq!(dirs.collect::<Vec<_>>(), ENTRIES, "svdir-examples/ and the tests above");
    for name in ENTRIES {
        let readme = fs::read_to_string(examples().join(name).join("README")).expect("a README");
        assert_eq!(readme.lines().count(), 3, "{name}/README");
        assert!(readme.starts_with(&format!("{name} ")), "{name}/README names its subject first");
    }
}

#[test]
fn every_script_is_plain_sh_and_executable() {
    for name in ENTRIES {
        for (path, content, executable) in files_of(&examples().join(name)) {
            let is_script = ["run", "setup", "finish", "check", "health"]
                .contains(&path.rsplit('/').next().expect("a name"))
                || path.starts_with("control/");
            assert_eq!(is_script, executable, "{name}/{path}: the executable bit");
            assert!(!is_script || content.starts_with("#!/bin/sh\n"), "{name}/{path}: the first line");
            for shell in ["sh", "bash --posix", "busybox ash"] {
                let mut words = shell.split(' ');
                let program = words.next().expect("a word");
                if is_script && missing_tools(&[program]).is_none() {
                    let ok = Command::new(program)
                        .args(words)
                        .arg("-n")
                        .arg(examples().join(name).join(&path))
                        .status_in_turn();
                    assert!(ok.expect("runs").success(), "{shell} -n {name}/{path}");
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The scaffold
// ---------------------------------------------------------------------------------------------------------------------

/// One example in a services directory of its own.
struct Example {
    svdir: SvDir,
    service: Service,
}

/// The same with somebody who looks after it.
struct Supervised {
    // Before the directory, so that nobody starts anything while the directory is cleaned up.
    supervisor: Supervisor,
    which: UnderTest,
    service: Service,
    svdir: SvDir,
}

impl Example {
    fn copy(name: &str) -> Self {
        let svdir = SvDir::new();
        let service = Self::copy_to(&svdir, name);
        Self { svdir, service }
    }

    fn copy_to(svdir: &SvDir, name: &str) -> Service {
        let add = |builder: ServiceBuilder, (path, content, executable): (String, String, bool)| {
            if executable { builder.exec(&path, &content) } else { builder.file(&path, &content) }
        };
        files_of(&examples().join(name)).into_iter().fold(svdir.service(name), add).create()
    }

    fn with_port(self, port: u16) -> Self {
        self.service.write("env/PORT", &format!("{port}\n"));
        self
    }

    fn start(self, which: UnderTest) -> Supervised {
        let command = which.command(&self.svdir.path());
        self.supervise(which, command)
    }

    fn start_with_tools(self, which: UnderTest, tools: &[&str]) -> Supervised {
        let bin = self.svdir.root().join("bin");
        fs::create_dir(&bin).expect("mkdir bin");
        for tool in tools {
            find(tool.as_ref()).into_iter().for_each(|found| symlink(found, bin.join(tool)).expect("symlink"));
        }
        let mut command = which.command(&self.svdir.path());
        command.env("PATH", &bin);
        self.supervise(which, command)
    }

    fn supervise(self, which: UnderTest, command: Command) -> Supervised {
        let Self { svdir, service } = self;
        let supervisor = svdir.spawn(command);
        Supervised { supervisor, which, service, svdir }
    }
}

impl Supervised {
    #[track_caller]
    fn sv(&self, args: &[&str]) -> crate::svdir::Output {
        self.svdir.sv(args)
    }

    /// The exit code of the service's own `check`.
    #[track_caller]
    fn check(&self) -> i32 {
        let mut check = Command::new("./check");
        check.current_dir(self.service.path());
        self.svdir.run(check).code
    }

    /// Stops the service with `sv` and ends the supervisor: both in good order, and nothing is left.
    #[track_caller]
    fn stop(&self) {
        let name = self.service.name();
        let sv = self.sv(&["stop", name]);
        assert!(sv.code == 0 && sv.stdout.starts_with(&format!("ok: down: {name}: ")), "{sv:?}");
        if self.which == UnderTest::Onit {
            // Orphans come to onit, so this sees what the service has left behind.
            let logger: Vec<u32> = self.service.logger().status().and_then(|status| status.pid()).into_iter().collect();
            let only_logger = || (proc::children(self.supervisor.pid()) == logger).then_some(());
            self.supervisor.wait_for("nothing of the service to be left", DYING, only_logger);
        }
        self.supervisor.signal(if self.which == UnderTest::Onit { Signal::SIGTERM } else { Signal::SIGHUP });
        let code = if self.which == UnderTest::Onit { 0 } else { 111 };
        assert_eq!(self.supervisor.wait_end(SOON), Ending::Code(code), "{}", self.supervisor.stderr());
        // runsvdir ends before its services, onit after them: then only what they have killed themselves is on its way.
        let patience = if self.which == UnderTest::Onit && !is_starved() { DYING } else { SOON };
        self.supervisor.wait_for("nothing to be left", patience, || self.svdir.processes().is_empty().then_some(()));
    }
}

/// Where a program is; a path is where it says.
fn find(program: &OsStr) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The files of an example: path, content, executable. Without those that supervisors and loggers make there.
fn files_of(dir: &Path) -> Vec<(String, String, bool)> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for name in names_in(&next) {
            let path = next.join(&name);
            if name == "supervise" || (name == "main" && next.ends_with("log")) {
                continue;
            }
            let about = fs::metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if about.is_dir() {
                dirs.push(path);
            } else {
                let content = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let relative = path.strip_prefix(dir).expect("below it").to_str().expect("a printable path");
                files.push((relative.to_owned(), content, about.permissions().mode() & 0o111 == 0o111));
            }
        }
    }
    files
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().into_string().expect("a printable name")).collect();
    names.sort();
    names
}

/// What the web example looks for.
fn has_web_server() -> bool {
    let has_httpd = |busybox: &str| {
        let list = Command::new(busybox).arg("--list").output_in_turn();
        list.is_ok_and(|list| String::from_utf8_lossy(&list.stdout).lines().any(|applet| applet == "httpd"))
    };
    has_httpd("busybox") || has_httpd("busybox-extras") || missing_tools(&["python3"]).is_none()
}

/// A port that nobody has right now, and that the kernel gives nobody who asks for any.
fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let next = || 10_000 + (std::process::id() * 64 + TRIED.fetch_add(1, Ordering::Relaxed)) % 10_000;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(next).map(|port| port as u16).find(is_free).expect("a free port")
}

/// The whole answer to a request for the first page; `None` while nobody answers.
fn get(port: u16) -> Option<String> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    server.set_read_timeout(Some(SOON)).ok()?;
    server.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

// ---------------------------------------------------------------------------------------------------------------------
// The first steps
// ---------------------------------------------------------------------------------------------------------------------

/// What stands in README's first service is copied into two shells of somebody who has nothing yet.
#[test]
fn the_first_service_runs_as_it_is_copied() {
    if let Some(why) = missing_tools(&["bash"]) {
        skip!("{why}");
    }
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README");
    let part =
        readme.split("## Your first service\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a part");
    let blocks: Vec<&str> = part.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [first, second] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    let sv = SvDir::new();
    let home = sv.root().join("home");
    fs::create_dir(&home).expect("a home");
    let bin = crate::svdir::onit().parent().expect("a directory").to_owned();
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["--norc", "-c", script]).env("HOME", &home).env_remove("SVDIR").current_dir(&home);
        command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH")));
        command
    };
    let run = sv.spawn(shell(&first.replace("onit run", "exec onit run")));
    let hello = Service::at(home.join("service/hello"));
    hello.wait_up();
    run.wait_for("its first line", SOON, || run.stdout().starts_with("hello, I am process ").then_some(()));
    run.wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    let mut second = shell(&format!("set -e\n{second}"));
    second.env("ONIT_RUN", sv.live());
    let output = crate::svdir::output(second);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    assert!(output.stdout.contains("hello: up\n") && output.stdout.contains("SIGTERM, as it was told"), "{output:?}");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.wait_end(SOON), Ending::Code(0));
    assert_eq!(run.stderr(), "");
}
