//! Any pid, any user, any root: where a service directory cannot be written, tools find it in the runtime mirror.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::container::{Bundle, Container, why_no_containers};
use crate::proc;
use crate::svdir::{Ending, Phase, SOON, Service, Supervisor, SvDir, UnderTest};
use crate::svdir::{as_many, given_to, is_root, missing_tools, remove_tree, skip, wrapped};

// ---------------------------------------------------------------------------------------------------------------------
// In containers
// ---------------------------------------------------------------------------------------------------------------------

/// What `/run` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Absent,
    OfRoot,
    Tmpfs,
    Noexec,
    OfTheUser,
}

/// A service with a logger, and one that fails again and again.
fn services(bundle: Bundle) -> Bundle {
    let bundle = bundle.script("/sv/web/run", "echo hello; trap 'exit 0' TERM; while :; do sleep 0.1; done");
    bundle.script("/sv/web/log/run", "read line; echo got $line; exec cat").script("/sv/crash/run", "exit 3")
}

fn box_of(uid: u32, read_only: bool, run: Run) -> Bundle {
    let bundle = services(Bundle::new().uid(uid).no_capabilities().no_new_privileges()).program("sv");
    let bundle = match run {
        Run::Absent => bundle,
        Run::OfRoot => bundle.dir("/run", 0o755),
        Run::Tmpfs => bundle.mount_tmpfs("/run", "mode=1777,nosuid,nodev"),
        Run::Noexec => bundle.mount_tmpfs("/run", "mode=1777,noexec"),
        Run::OfTheUser if read_only => bundle.mount_tmpfs("/run", &format!("mode=755,uid={uid},gid={uid}")),
        Run::OfTheUser => bundle.dir("/run", 0o755).owned("/run", uid),
    };
    let bundle = bundle.args(["env", "-i", "/bin/onit", "run", "/sv"]);
    if read_only { bundle.read_only() } else { bundle }
}

/// Who is without capabilities, even as root, can write what is his only.
#[test]
fn as_any_user_on_any_root_services_run_and_are_reached_wherever_there_is_a_place_to_write() {
    if let Some(why) = why_no_containers().or_else(|| missing_tools(&["sv"])) {
        skip!("{why}");
    }
    std::thread::scope(|scope| {
        for (n, (uid, read_only)) in [(0, false), (0, true), (12345, false), (12345, true)].into_iter().enumerate() {
            scope.spawn(move || {
                let runs = [Run::Absent, Run::OfRoot, Run::Tmpfs, Run::Noexec, Run::OfTheUser];
                runs.into_iter().cycle().skip(n).take(as_many(5)).for_each(|run| anywhere(uid, read_only, run));
            });
        }
    });
}

fn anywhere(uid: u32, read_only: bool, run: Run) {
    let case = format!("uid {uid}, root {}, /run {run:?}", if read_only { "read-only" } else { "writable" });
    let bundle = box_of(uid, read_only, run);
    let container = bundle.start();
    let got = || container.stdout().contains("got hello\n").then_some(());
    container.wait_for(&format!("{case}: what was logged"), SOON, got);
    let again = "onit: crash: exited with 3 within a second of its start; trying again";
    container.wait_said(&[again]);

    let in_place = uid == 0 && !read_only;
    let in_view = matches!(run, Run::Tmpfs | Run::Noexec)
        || run == Run::OfTheUser
        || run == Run::OfRoot && uid == 0 && !read_only;
    let cause = if read_only { "Read-only file system" } else { "Permission denied" };
    let silent = if in_place || in_view {
        let services = if in_place { "/sv" } else { "/run/onit/service" };
        reached(&container, services, &case);
        assert_eq!(container.path("/run/onit/service").exists(), !in_place, "{case}");
        true
    } else {
        let why = match run {
            Run::Absent => "No such file or directory",
            _ => cause,
        };
        container
            .wait_said(&[&format!("cannot create supervise: {cause}, and cannot create /run/onit: {why}; running")]);
        false
    };
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0), "{case}");
    let is_news = |line: &&str| !line.starts_with("onit: crash: exited with 3 ");
    let lines: Vec<String> = container.stderr().lines().filter(is_news).map(str::to_owned).collect();
    // That of the services, and that of the api socket, for which there is no place either.
    assert_eq!(lines.len(), if silent { 0 } else { 2 }, "{case}: {lines:?}");
}

/// runit's own `sv` is understood, and obeyed.
fn reached(container: &Container, services: &str, case: &str) {
    let sv = |words: &[&str]| {
        let variable = format!("SVDIR={services}");
        let output = container.exec(["env", &variable, "/bin/sv"].into_iter().chain(words.iter().copied()));
        output.stdout + &output.stderr
    };
    let status = |what: &str, shows: &dyn Fn(&str) -> bool| {
        container
            .wait_for(&format!("{case}: {what}"), SOON, || Some(sv(&["status", "web", "crash"])).filter(|s| shows(s)))
    };
    status("web, its log and crash", &|s| {
        s.contains("run: web: (pid ") && s.contains("; run: log: (pid ") && s.contains("down: crash: ")
    });
    let web = container.service(&format!("{services}/web"));
    let pid = web.wait_up();
    assert!(sv(&["-w9", "restart", "web"]).contains("ok: run: web: (pid "), "{case}");
    web.wait_other(pid);
    assert!(sv(&["down", "crash"]).is_empty(), "{case}");
    status("crash to be down", &|s| s.contains("down: crash: ") && !s.contains("want up"));
    assert_eq!(web.logger().status().map(|status| status.phase()), Some(Phase::Run), "{case}");
}

#[test]
fn services_on_a_read_only_mount_are_seen_under_the_name_that_led_to_them() {
    if let Some(why) = why_no_containers().or_else(|| missing_tools(&["sv"])) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").log("exec cat").create();
    sv.service("crash").run("exit 3").create();
    let bundle = Bundle::new().program("sv").symlink("/etc/service", "/volume").dir("/run", 0o755).cwd("/etc");
    let bundle = bundle.bind(&sv.path(), "/volume", "ro").args(["onit", "run", "service"]);
    let container = bundle.start();
    reached(&container, "/run/onit/service", "a read-only mount");
    let target = container.exec(["readlink", "/run/onit/service/web/run"]).stdout;
    assert_eq!(target, "/etc/service/web/run\n");
    assert!(container.text("/run/onit/service/web/run").is_empty(), "it is a path of the container's");
    assert_eq!(container.text("/run/onit/service/web/supervise/stat"), "run\n");
    assert!(
        container.stderr().lines().all(|line| line.starts_with("onit: crash: exited with 3 ")),
        "{}",
        container.stderr()
    );
}

#[test]
fn a_root_without_dev_null_and_proc_is_enough() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let hide = "rm /dev/null; umount -l /proc; exec onit run /sv";
    let bundle = services(Bundle::new()).capabilities(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]).args(["sh", "-c", hide]);
    let container = bundle.start();
    container.wait_for("what was logged", SOON, || container.stdout().contains("got hello\n").then_some(()));
    assert!(!container.path("/dev/null").exists() && !container.path("/proc/self").exists());
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0));
}

#[test]
fn a_place_in_the_hands_of_others_is_not_taken() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let place = |bundle: Bundle| bundle.mount_tmpfs("/run", "mode=1777").read_only();
    let onit = "exec env -i onit run /sv";
    // Each is what another user may have put there before.
    for (trap, why) in [
        ("mkdir /run/onit && chmod 777 /run/onit", "others can change /run/onit;"),
        ("mkdir -p /run/mine && ln -s /run/mine /run/onit", "cannot create /run/onit: Not a directory"),
        ("mkdir -p /run/onit/service && chmod 777 /run/onit/service", "others can change /run/onit/service;"),
        ("mkdir -p /run/onit/service/precious", "/run/onit/service holds something else;"),
        ("mkdir -p /run/onit && touch /run/onit/service", "cannot create /run/onit/service: Not a directory"),
    ] {
        let bundle = place(services(Bundle::new())).args(["sh", "-c", &format!("{trap}; {onit}")]);
        let container = bundle.start();
        container.wait_said(&["cannot create supervise: Read-only file system, and ", why]);
        let left = container.exec(["find", "/run", "-name", "supervise"]);
        assert_eq!(left.stdout, "", "{trap}");
    }
    // Root's own comes first; with root's in the way, anybody else uses XDG_RUNTIME_DIR.
    let bundle = place(services(Bundle::new().uid(12345))).program("sv");
    let bundle = bundle.mount_tmpfs("/run/onit", "mode=755").mount_tmpfs("/run/user", "mode=700,uid=12345");
    let bundle = bundle.env("XDG_RUNTIME_DIR", "/run/user").args(["onit", "run", "/sv"]);
    let container = bundle.start();
    container.service("/run/user/onit/service/web").wait_up();
    reached(&container, "/run/user/onit/service", "XDG_RUNTIME_DIR");
    assert_eq!(container.said(&["supervise"]).len(), 0, "{}", container.stderr());
}

// ---------------------------------------------------------------------------------------------------------------------
// The view
// ---------------------------------------------------------------------------------------------------------------------

/// The words that run onit on this directory as a user to whom no service belongs.
pub fn as_a_stranger(sv: &SvDir, uid: u32) -> Vec<String> {
    let words = given_to(sv, uid);
    for path in sv.path().read_dir().expect("service/").map(|entry| entry.expect("an entry").path()) {
        give(&path, 0);
    }
    words
}

fn give(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).expect("chown");
    if path.is_dir() && !path.is_symlink() {
        path.read_dir().expect("a directory").for_each(|entry| give(&entry.expect("an entry").path(), uid));
    }
}

pub fn view(sv: &SvDir) -> PathBuf {
    sv.live().join("service")
}

pub fn in_view(sv: &SvDir, name: &str) -> Service {
    Service::at(view(sv).join(name))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = dir
        .read_dir()
        .expect("a directory")
        .map(|e| e.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}

pub fn why_not() -> Option<String> {
    missing_tools(&["setpriv", "sv", "svc", "svstat", "svok"])
        .or((!is_root()).then(|| "needs root to be others".into()))
}

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create()
}

#[test]
fn without_need_there_is_no_view() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(UnderTest::Onit);
    web.wait_up();
    onit.signal(Signal::SIGHUP);
    sleeper(&sv, "other").wait_up();
    assert!(!sv.live().join("service").exists());
}

#[test]
fn the_view_shows_every_service_to_the_tools_of_runit_and_daemontools() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").log("exec cat").file("check", "").file("data", "1").create();
    let half = sv.service("half").run("exec sleep 1000").log("exec cat").create();
    let (early, mine) = (sleeper(&sv, "early"), sleeper(&sv, "mine"));
    let words = as_a_stranger(&sv, 54_401);
    give(early.path(), 54_401);
    give(mine.path(), 54_401);
    std::os::unix::fs::chown(half.path(), Some(54_401), None).expect("chown"); // but not its log
    let onit = sv.spawn_words(&words);
    for name in ["web", "web/log", "half", "half/log", "early", "mine"] {
        in_view(&sv, name).wait_up();
    }
    assert_eq!(names(&view(&sv)), [".lock", "early", "half", "mine", "web"]);
    assert_eq!(names(&view(&sv).join("web")), ["check", "data", "log", "run", "supervise"]);
    assert_eq!(names(&view(&sv).join("web/log")), ["run", "supervise"]);
    assert_eq!(view(&sv).join("mine").read_link().expect("a link"), *mine.path());
    assert_eq!(view(&sv).join("half/supervise").read_link().expect("a link"), half.path().join("supervise"));
    assert_eq!(fs::read_to_string(view(&sv).join("web/data")).expect("led to"), "1");
    assert!(!web.path().join("supervise").exists() && !half.path().join("log/supervise").exists());
    let mode = |path: PathBuf| fs::metadata(path).expect("metadata").mode() & 0o7777;
    assert_eq!(
        (mode(view(&sv)), mode(view(&sv).join("web")), mode(view(&sv).join("web/supervise"))),
        (0o755, 0o755, 0o700)
    );

    let svdir = |tool: &str, words: &[&str]| {
        let mut command = Command::new(tool);
        command.args(words).env("SVDIR", view(&sv)).current_dir(view(&sv));
        let output = crate::svdir::output(command);
        (output.code, output.stdout)
    };
    let (code, said) = svdir("sv", &["status", "web"]);
    assert!(code == 0 && said.starts_with("run: web: (pid ") && said.contains("; run: log: (pid "), "{said}");
    let before = in_view(&sv, "web").wait_up();
    assert_eq!(svdir("sv", &["restart", "web"]).0, 0);
    let pid = in_view(&sv, "web").wait_other(before);
    assert_eq!(svdir("svok", &["web"]).0, 0);
    let (code, said) = svdir("svstat", &["web", "mine"]);
    assert!(code == 0 && said.contains(&format!("web: up (pid {pid})")) && said.contains("mine: up (pid"), "{said}");
    assert_eq!(svdir("svc", &["-d", "mine", "web/log"]).0, 0);
    mine.wait_down();
    in_view(&sv, "web/log").wait_down();
    assert_eq!(onit.stderr(), "");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(names(&view(&sv)), [".lock"]);
}

#[test]
fn the_view_follows_services_that_come_go_and_exchange_names() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (a, b, mine) = (sleeper(&sv, "a"), sleeper(&sv, "b"), sleeper(&sv, "mine"));
    let words = as_a_stranger(&sv, 54_402);
    give(mine.path(), 54_402);
    let onit = sv.spawn_words(&words);
    let [pid_a, pid_b, pid_mine] = ["a", "b", "mine"].map(|name| in_view(&sv, name).wait_up());
    let swap = |one: &Path, other: &Path| {
        // In one step: who is away for a moment is stopped.
        let here = nix::fcntl::AT_FDCWD;
        nix::fcntl::renameat2(here, one, here, other, nix::fcntl::RenameFlags::RENAME_EXCHANGE).expect("an exchange");
        onit.signal(Signal::SIGHUP);
    };
    let shows = |name: &str, pid: u32| {
        onit.wait_for(&format!("{name} to be {pid}"), SOON, || {
            let service = in_view(&sv, name);
            (service.is_supervised() && service.status()?.pid() == Some(pid)).then_some(())
        });
    };
    swap(a.path(), b.path());
    shows("a", pid_b);
    shows("b", pid_a);
    swap(b.path(), mine.path());
    shows("b", pid_mine);
    shows("mine", pid_a);
    fs::rename(b.path(), sv.path().join("c")).expect("rename");
    shows("c", pid_mine);
    assert_eq!(names(&view(&sv)), [".lock", "a", "c", "mine"]);
    assert_eq!(view(&sv).join("mine/run").read_link().expect("a link"), mine.path().join("run"));

    fs::rename(a.path(), sv.root().join("gone")).expect("rename");
    onit.wait_for("its end", SOON, || (names(&view(&sv)) == [".lock", "c", "mine"]).then_some(()));
    let late = sv.service("late").run("exec sleep 1000").log("exec cat").create_atomically();
    assert!(late.path().exists());
    in_view(&sv, "late/log").wait_up();
    assert!(!late.path().join("supervise").exists(), "it belongs to root");
    assert_eq!(onit.stderr(), "");
}

#[test]
fn who_is_refused_because_of_its_logger_leaves_nothing_in_the_view() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create_atomically();
    let zap = sv.service("zap").run("exec sleep 1000").log("exec cat").dir("log/supervise").create_atomically();
    let lock = fs::File::create(zap.path().join("log/supervise/lock")).expect("a lock");
    for (path, mode) in [("log/supervise", 0o777), ("log/supervise/lock", 0o666)] {
        fs::set_permissions(zap.path().join(path), fs::Permissions::from_mode(mode)).expect("chmod");
    }
    lock.lock().expect("it is another supervisor's");
    let onit = sv.spawn_words(&as_a_stranger(&sv, 54_403));
    in_view(&sv, "web").wait_up();
    onit.wait_said(&["onit: zap/log: supervise/lock is held by another supervisor; not supervised"]);
    onit.wait_for("its end in the view", SOON, || (names(&view(&sv)) == [".lock", "web"]).then_some(()));
}

#[test]
fn a_view_that_was_removed_is_there_again_after_a_hangup() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").log("exec cat").create_atomically();
    let onit = sv.spawn_words(&as_a_stranger(&sv, 54_404));
    let pids = ["web", "web/log"].map(|name| in_view(&sv, name).wait_up());
    for removed in [view(&sv).join("web"), view(&sv)] {
        remove_tree(&removed);
        onit.signal(Signal::SIGHUP);
        for (name, pid) in ["web", "web/log"].into_iter().zip(pids) {
            let service = in_view(&sv, name);
            service.wait_for("its process", |status| status.pid() == Some(pid));
            onit.wait_for("its supervise", SOON, || service.is_supervised().then_some(()));
        }
    }
    in_view(&sv, "web").order(b"d");
    in_view(&sv, "web").wait_down();
    assert_eq!(onit.stderr(), "");
}

#[test]
fn after_a_hangup_the_view_has_what_was_added_and_a_place_that_was_mended_is_taken() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    sleeper(&sv, "other");
    let words = as_a_stranger(&sv, 54_407);
    give(&sv.live(), 0);
    let onit = sv.spawn_words(&words);
    onit.wait_said(&[
        "cannot create supervise: Permission denied, and cannot create",
        "live/service: Permission denied; ",
    ]);
    onit.wait_for("both", SOON, || (proc::children(onit.pid()).len() == 2).then_some(()));
    onit.signal(Signal::SIGHUP);
    give(&sv.live(), 54_407);
    onit.signal(Signal::SIGHUP);
    let pid = in_view(&sv, "web").wait_up();
    in_view(&sv, "other").wait_up();
    web.write("check", "");
    onit.signal(Signal::SIGHUP);
    in_view(&sv, "web").wait_for("its check", |_| view(&sv).join("web/check").exists());
    assert_eq!(in_view(&sv, "web").wait_up(), pid);
    assert_eq!(onit.said(&["cannot create supervise"]).len(), 1, "{}", onit.stderr());
}

#[test]
fn who_was_told_to_exit_is_seen_to_have_gone_and_comes_back() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sleeper(&sv, "web");
    let words = as_a_stranger(&sv, 54_403);
    let onit = sv.spawn_words(&words);
    let web = in_view(&sv, "web");
    let pid = web.wait_up();
    let mut command = Command::new("sv");
    command.args(["shutdown", "web"]).env("SVDIR", view(&sv));
    assert_eq!(crate::svdir::output(command).code, 0);
    web.wait_other(pid);
    assert_eq!(onit.stderr(), "");
}

#[test]
fn the_view_of_a_dead_supervisor_is_replaced_and_that_of_a_living_one_left_alone() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let other = sv.root().join("other");
    fs::create_dir(&other).expect("mkdir");
    sv.service_at(other.join("db")).run("echo $$ >&2; exec sleep 1000").create();
    sv.service_at(other.join("web")).run("echo $$ >&2; exec sleep 1000").create();
    let words = as_a_stranger(&sv, 54_404);
    let first = sv.spawn_words(&words);
    in_view(&sv, "web").wait_up();
    let mut again = words.clone();
    *again.last_mut().expect("a directory") = other.to_str().expect("text").into();
    let second = sv.spawn_words(&again);
    let held =
        format!("{} is held by another supervisor; running, but out of reach for sv and svc", sv.live().display());
    second.wait_said(&["onit: ", "cannot create supervise: Permission denied, and", &held]);
    second.wait_for("both", SOON, || (proc::children(second.pid()).len() == 2).then_some(()));
    assert_eq!(second.said(&["onit:", "supervise"]).len(), 1, "{}", second.stderr());
    assert_eq!(names(&view(&sv)), [".lock", "web"]);

    first.signal(Signal::SIGKILL);
    first.wait_end(SOON);
    second.signal(Signal::SIGHUP);
    let db = in_view(&sv, "db");
    db.wait_for("the second to show its services", |status| status.phase() == Phase::Run);
    in_view(&sv, "web").wait_up();
    assert_eq!(names(&view(&sv)), [".lock", "db", "web"]);
    assert_eq!(view(&sv).join("web/run").read_link().expect("a link"), other.join("web/run"));
    assert!(web.path().exists());
}

#[test]
fn a_service_in_the_view_of_another_is_not_started_a_second_time() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").log("exec cat").create();
    let words = as_a_stranger(&sv, 54_406);
    let first = sv.spawn_words(&words);
    let web = in_view(&sv, "web");
    let pid = web.wait_up();
    // It cannot see in its network namespace that the first one serves the directory.
    let apart = [&["unshare".to_owned(), "-n".to_owned()][..], &words[..]].concat();
    let second = sv.spawn_words(&apart);
    second.wait_said(&["onit: web: supervise/lock is held by another supervisor; not supervised until that is mended"]);
    assert_eq!(proc::children(second.pid()), [0u32; 0]);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait_end(SOON), Ending::Code(0));
    assert_ne!(web.wait_other(pid), pid);
    in_view(&sv, "web/log").wait_up();
    assert_eq!(second.said(&["web"]).len(), 1, "{}", second.stderr());
}

#[test]
fn a_directory_of_services_is_never_taken_for_a_view() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let words = as_a_stranger(&sv, 54_405);
    std::os::unix::fs::chown(sv.root(), Some(54_405), None).expect("chown");
    std::os::unix::fs::chown(sv.path(), Some(54_405), None).expect("chown");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("ONIT_RUN", sv.root());
    let onit = sv.spawn(command);
    onit.wait_said(&[
        "onit: web: cannot create supervise: Permission denied, and",
        "service holds something else; running",
    ]);
    assert!(web.path().join("run").exists());
}

// ---------------------------------------------------------------------------------------------------------------------
// Whatever it inherits
// ---------------------------------------------------------------------------------------------------------------------

/// It supervises, says nothing that it should not, and ends when told.
#[track_caller]
fn works(sv: &SvDir, onit: &Supervisor, web: &Service) {
    let pid = web.wait_up();
    web.order(b"t");
    web.wait_other(pid);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(sv.processes(), [0u32; 0]);
}

/// As started by a shell like this, which has the command in its arguments.
#[track_caller]
fn works_after(shell: &str) {
    works_started_by(&["sh", "-c", shell], |_| ());
}

/// As started by these words. `then` happens while it runs.
#[track_caller]
fn works_started_by(words: &[&str], then: impl FnOnce(&Supervisor)) {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").log("exec cat").create();
    // What cannot be started gives it something to say.
    let mute = sv.service("mute").file("run", "").create();
    let mut words: Vec<&str> = words.to_vec();
    if words[0] == "sh" {
        words.push("sh");
    }
    let onit = sv.spawn(wrapped(&words, &UnderTest::Onit.command(&sv.path())));
    mute.wait_for("a try", |status| status.want() == b'u');
    let pid = web.wait_up();
    // Two belong to the C library. Before it is executed, its signals may be ours.
    let is_clean = || proc::Glimpse::of(pid).is_some_and(|seen| seen.ignored & 0x7fff_ffff == 0);
    onit.wait_for("clean signals, with which services begin", SOON, || is_clean().then_some(()));
    then(&onit);
    works(&sv, &onit, &web);
}

#[test]
fn with_ignored_and_blocked_signals_it_works() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let ignore = "$SIG{$_} = 'IGNORE' for qw(CHLD TERM HUP INT PIPE ALRM); ";
    let block = "use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(1 .. 31)); exec @ARGV";
    works_started_by(&["perl", "-e", &format!("{ignore}{block}")], |_| ());
}

#[test]
fn without_standard_descriptors_it_works() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        works_after(&format!("exec \"$@\" {closed}"));
    }
}

#[test]
fn without_environment_it_works() {
    works_after("exec env -i PATH=\"$PATH\" ONIT_TEST_ID=\"$ONIT_TEST_ID\" \"$@\"");
}

#[test]
fn where_nobody_reads_what_it_says_it_works() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    works_after("exec \"$@\" 2>/dev/full");
    let pipe = "use Fcntl; $^F = 9; pipe R, W; ";
    let closed = "close R; ";
    let full =
        "fcntl W, F_SETFL, O_NONBLOCK; 1 while syswrite W, 'x' x 4096; 1 while syswrite W, 'x'; fcntl W, F_SETFL, 0; ";
    for state in [closed, full] {
        works_started_by(&["perl", "-e", &format!("{pipe}{state}open STDERR, '>&W'; exec @ARGV")], |_| ());
    }
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    // Who is not the owner of a pipe cannot open it anew.
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let mute = sv.service("mute").file("run", "").create();
    let mut words: Vec<String> =
        ["perl", "-e", &format!("{pipe}{full}open STDERR, '>&W'; exec @ARGV")].map(str::to_owned).into();
    words.extend(given_to(&sv, 54_408));
    let onit = sv.spawn_words(&words);
    mute.wait_for("a try", |status| status.want() == b'u');
    works(&sv, &onit, &web);
}

#[test]
fn through_a_socket_it_speaks_and_does_not_wait() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let pair = "use Socket; $^F = 9; socketpair R, W, AF_UNIX, SOCK_STREAM, PF_UNSPEC; ";
    let full = "use Fcntl; fcntl W, F_SETFL, O_NONBLOCK; 1 while syswrite W, 'x' x 4096; fcntl W, F_SETFL, 0; ";
    for state in ["close R; ", full] {
        works_started_by(&["perl", "-e", &format!("{pair}{state}open STDERR, '>&W'; exec @ARGV")], |_| ());
    }
    let heard = tempfile::NamedTempFile::new().expect("a file");
    let reader = format!(
        "unless (fork) {{ close W; open STDIN, '<&R'; open STDOUT, '>{}'; exec 'cat' }} ",
        heard.path().display()
    );
    let script = format!("{pair}{reader}close R; open STDERR, '>&W'; exec @ARGV");
    works_started_by(&["perl", "-e", &script], |onit| {
        let heard =
            || fs::read_to_string(heard.path()).ok().filter(|text| text.contains("onit: mute: cannot start ./run"));
        onit.wait_for("its word", SOON, heard);
    });
}

#[test]
fn when_its_terminal_is_closed_it_goes_on() {
    if let Some(why) = missing_tools(&["setsid"]) {
        skip!("{why}");
    }
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let name = nix::unistd::ttyname(&pty.slave).expect("its name");
    let shell = format!("exec \"$@\" <>{0} >{0} 2>{0}", name.display());
    drop(pty.slave);
    works_started_by(&["setsid", "sh", "-c", &shell, "sh"], |onit| {
        drop(pty.master);
        assert_eq!(onit.ended(), None);
    });
}
