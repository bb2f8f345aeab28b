//! A program that the kernel does not load at once: whoever executes it waits, and nobody else does.

use std::fs::{self, OpenOptions, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;

use onit::client::{ServiceState, api::Api};

use crate::proc::{self, Glimpse};
use crate::svdir::{Ending, Phase, SOON, Service, SvDir, UnderTest};
use crate::svdir::{poll_until, send, skip, wait_for};

/// A write lease on a file, as file servers take it: whoever opens or executes the file waits until it is given back, up to
/// 45 seconds (`/proc/sys/fs/lease-break-time`).
pub struct Lease {
    /// Closed, it is given back.
    _file: OwnedFd,
}

impl Lease {
    /// The system's word for why there is none, if there is none.
    #[allow(unsafe_code)]
    pub fn on(path: &Path) -> Result<Lease, std::io::Error> {
        const F_SETSIG: libc::c_int = 10;
        let file: OwnedFd = OpenOptions::new().read(true).write(true).open(path)?.into();
        // SAFETY: fcntl(2) with numbers only. That somebody waits is told by a signal that nobody minds.
        let taken = unsafe {
            libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG);
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
        };
        if taken == -1 { Err(std::io::Error::last_os_error()) } else { Ok(Lease { _file: file }) }
    }
}

/// A service that is down, whose program at `path` cannot be executed as long as the lease is there. Its `run` says its pid.
macro_rules! leased {
    ($sv:expr, $name:expr, $path:expr) => {{
        let builder = $sv.service($name).down().run("echo $$ >ran; exec sleep 1000");
        let builder = builder.finish("echo $1 $2 >>ends").file("timeout-finish", "0");
        let service = builder.script("control/t", "echo hook >>hooks; exit 1").create();
        match Lease::on(&service.path().join($path)) {
            Ok(lease) => (service, lease),
            Err(error) => skip!("no lease can be had here: {error}"),
        }
    }};
}

/// A service `web` that is down, whose `run` can neither be executed as long as the lease is there nor after that.
macro_rules! leased_without_shell {
    ($sv:expr) => {{
        let service = $sv.service("web").down().exec("run", "#!/no/such/shell\n").finish("echo $1 $2 >>ends").create();
        match Lease::on(&service.path().join("run")) {
            Ok(lease) => (service, lease),
            Err(error) => skip!("no lease can be had here: {error}"),
        }
    }};
}

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create()
}

/// Another service is killed and restarted meanwhile. Whoever waits for a lease waits longer than this test does.
#[track_caller]
fn is_restarted(other: &Service) {
    let pid = other.wait_up();
    other.order(b"k"); // an end that was ordered is no news
    other.wait_other(pid);
}

/// The first order to a service, which it may be about to be supervised for.
#[track_caller]
fn start_it(service: &Service, order: &[u8]) {
    service.wait_for("it to be supervised", |_| true);
    service.order(order);
}

/// The process of a service that has not become its program yet.
#[track_caller]
fn newborn(service: &Service) -> u32 {
    let pid = service.wait_up();
    assert_eq!(service.text("ran"), "", "it waits for the lease");
    pid
}

#[test]
fn a_run_that_is_not_loaded_holds_up_nobody_else_and_runs_when_it_is() {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(leased!(sv, &format!("leased{number}"), "run"));
    }
    let onit = sv.start(UnderTest::Onit);
    other.wait_up();
    waiting.iter().for_each(|(service, _)| start_it(service, b"u"));
    let pids: Vec<u32> = waiting.iter().map(|(service, _)| newborn(service)).collect();
    is_restarted(&other);
    let mut api = wait_for("the socket", SOON, || Api::connect(sv.live().join("api")).ok());
    api.subscribe().expect("subscribed");
    let state = |api: &mut Api, name: &str| api.status(name).expect("a status").state;
    assert_eq!(state(&mut api, "leased7"), ServiceState::Starting);
    for ((service, lease), pid) in waiting.into_iter().zip(pids) {
        drop(lease);
        assert_eq!(service.wait_pid("ran"), pid, "the process that waited, and no other");
    }
    while state(&mut api, "leased7") != ServiceState::Up {
        assert!(api.event(SOON).expect("an event").is_some(), "nobody is told that it has been executed");
    }
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_newborn_child_that_somebody_stops_is_continued() {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let (web, lease) = leased!(sv, "web", "run");
    let _onit = sv.start(UnderTest::Onit);
    start_it(&web, b"u");
    let pid = newborn(&web);
    send(pid, Signal::SIGSTOP);
    is_restarted(&other);
    drop(lease);
    assert_eq!(web.wait_pid("ran"), pid);
}

#[test]
fn a_newborn_child_that_is_paused_on_purpose_stays_paused() {
    let sv = SvDir::new();
    let (web, lease) = leased!(sv, "web", "run");
    let _onit = sv.start(UnderTest::Onit);
    start_it(&web, b"u");
    let pid = newborn(&web);
    web.order(b"p");
    wait_for("the child to stop", SOON, || Glimpse::of(pid).filter(Glimpse::is_stopped));
    drop(lease);
    let runs = poll_until(Duration::from_millis(2500), || Some(web.text("ran")).filter(|text| !text.is_empty()));
    assert_eq!(runs, None, "it was told to pause");
    web.order(b"c");
    assert_eq!(web.wait_pid("ran"), pid);
}

#[test]
fn a_program_that_is_never_loaded_is_told_and_tried_again() {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let (web, lease) = leased!(sv, "web", "run");
    let onit = sv.start(UnderTest::Onit);
    start_it(&web, b"u");
    let pid = newborn(&web);
    let cause = "it was stopped, or its file system does not answer";
    let line = format!("onit: web: ./run could not be executed within 10s ({cause}); killing it and trying again");
    onit.wait_said(&[&line]);
    drop(lease);
    assert_eq!(web.wait_text("ends", |text| text.ends_with('\n')), "111 0\n", "as whoever could not be executed");
    assert_ne!(web.wait_pid("ran"), pid);
    is_restarted(&other);
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
}

#[test]
fn what_fails_late_is_told_as_what_fails_at_once() {
    let sv = SvDir::new();
    let (web, lease) = leased_without_shell!(sv);
    let onit = sv.start(UnderTest::Onit);
    start_it(&web, b"u");
    newborn(&web);
    drop(lease);
    let cause = "No such file or directory (its interpreter /no/such/shell is missing)";
    onit.wait_said(&[&format!("onit: web: cannot start ./run: {cause}; trying again")]);
    assert_eq!(web.wait_text("ends", |text| text.ends_with('\n')), "111 0\n");
    web.write_script("run", "echo $$ >ran; exec sleep 1000");
    web.wait_pid("ran");
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
}

/// It had a process for longer than a second, and has not lived: the next time is no news.
#[test]
fn what_fails_late_and_then_at_once_is_told_once() {
    let sv = SvDir::new();
    let (web, lease) = leased_without_shell!(sv);
    let onit = sv.start(UnderTest::Onit);
    start_it(&web, b"u");
    newborn(&web);
    let born = Instant::now();
    wait_for("a time that would be a life", SOON, || (born.elapsed() > Duration::from_secs(1)).then_some(()));
    drop(lease);
    web.wait_text("ends", |text| text.starts_with("111 0\n111 0\n111 0\n"));
    assert_eq!(onit.said(&["onit: web: cannot start ./run: No such file or directory"]).len(), 1, "{}", onit.stderr());
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
}

/// Each is a trouble of its own, and none makes the other news.
#[test]
fn of_a_run_that_fails_and_a_finish_that_cannot_be_executed_each_is_told_once() {
    let sv = SvDir::new();
    let web = sv
        .service("web")
        .run("echo >>lives; exit 1")
        .file_with_mode("finish", "", 0o644)
        .file("backoff", "200ms 200ms 1h")
        .create();
    let db = sv
        .service("db")
        .file_with_mode("run", "", 0o644)
        .file_with_mode("finish", "", 0o644)
        .file("backoff", "200ms 200ms 1h")
        .create();
    let onit = sv.start(UnderTest::Onit);
    let mut stamps = Vec::new();
    web.wait_text("lives", |text| text.lines().count() >= 4);
    onit.wait_for("db to be tried four times", SOON, || {
        let stamp = db.status()?.stamp();
        if stamps.last() != Some(&stamp) {
            stamps.push(stamp);
        }
        (stamps.len() >= 4).then_some(())
    });
    for line in [
        "onit: web: exited with 1 within a second of its start; trying again",
        "onit: web: cannot start ./finish: Permission denied",
        "onit: db: cannot start ./run: Permission denied; trying again",
        "onit: db: cannot start ./finish: Permission denied",
    ] {
        assert_eq!(onit.said(&[line]).len(), 1, "{line}: {}", onit.stderr());
    }
    assert_eq!(onit.stderr().lines().count(), 4, "{}", onit.stderr());
    let mode = |mode| fs::set_permissions(web.path().join("finish"), Permissions::from_mode(mode)).expect("a mode");
    web.write_script("finish", "echo >>ends");
    mode(0o755);
    web.wait_text("ends", |text| !text.is_empty());
    mode(0o644);
    let again = || (onit.said(&["web: cannot start ./finish"]).len() == 2).then_some(());
    onit.wait_for("what is wrong again to be told again", SOON, again);
}

/// Whoever has a lease has it for a while, and what holds meanwhile is what held before.
#[test]
fn a_small_file_that_cannot_be_read_for_now_says_what_it_said_last() {
    let sv = SvDir::new();
    let run = "trap 'echo usr1 >>ends; exit' USR1; trap 'echo term >>ends; exit' TERM; echo $$ >ran; sleep 1000 & wait";
    let web = sv.service("web").run(run).down().file("down-signal", "USR1").create();
    let onit = sv.start(UnderTest::Onit);
    let mut ends = String::new();
    let mut stop = || {
        start_it(&web, b"u");
        web.wait_text("ran", |text| text.ends_with('\n'));
        web.wait_up(); // or it may still be told as down
        web.order(b"d");
        web.wait_down();
        fs::remove_file(web.path().join("ran")).expect("removed");
        let last = std::mem::replace(&mut ends, web.text("ends"));
        ends.strip_prefix(&last).expect("the same beginning").to_owned()
    };
    assert_eq!(stop(), "usr1\n");
    let lease = match Lease::on(&web.path().join("down-signal")) {
        Ok(lease) => lease,
        Err(error) => skip!("no lease can be had here: {error}"),
    };
    assert_eq!(stop(), "usr1\n", "{}", onit.stderr());
    onit.wait_said(&["onit: web: cannot read down-signal: ", "; going by what was known of it"]);
    drop(lease);
    fs::remove_file(web.path().join("down-signal")).expect("removed");
    assert_eq!(stop(), "term\n");
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
}

#[test]
fn of_a_value_that_is_none_not_everything_is_told() {
    let sv = SvDir::new();
    let long = "é".repeat(2000);
    let web = sv.service("web").run("echo >>lives").finish("exit 0").file("timeout-kill", &long);
    let web = web.symlink("timeout-finish", "/dev/zero").create();
    let onit = sv.start(UnderTest::Onit);
    web.wait_text("lives", |text| !text.is_empty());
    let zeros = onit.wait_said(&["onit: web: timeout-finish says ", "which is no value for it; going by the default"]);
    web.order(b"d"); // this is when it is read
    let letters = onit.wait_said(&["onit: web: timeout-kill says \"éé", "…\", which is no value for it"]);
    assert!(zeros.len() < 250 && letters.len() < 250, "{}", onit.stderr());
}

#[test]
fn finish_and_control_scripts_that_are_not_loaded_hold_up_nobody_else() {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let (web, lease) = leased!(sv, "web", "control/t");
    let _onit = sv.start(UnderTest::Onit);
    start_it(&web, b"u");
    let pid = web.wait_pid("ran");
    web.order(b"t");
    is_restarted(&other);
    drop(lease);
    web.wait_text("hooks", |text| text == "hook\n");
    web.wait_other(pid);
    let lease = Lease::on(&web.path().join("finish")).expect("another lease");
    web.wait_pid("ran");
    web.order(b"k");
    web.wait_for("finish to be waited for", |status| status.phase() == Phase::Finish);
    let ends = web.text("ends");
    is_restarted(&other);
    assert_eq!(web.text("ends"), ends, "it waits for the lease");
    drop(lease);
    web.wait_text("ends", |text| text == format!("{ends}-1 9\n"));
}

#[test]
fn what_is_told_to_a_newborn_child_reaches_it() {
    let sv = SvDir::new();
    let (web, lease) = leased!(sv, "web", "run");
    let onit = sv.start(UnderTest::Onit);
    start_it(&web, b"o");
    let first = newborn(&web);
    send(first, Signal::SIGQUIT); // a core dump of it would be one of ours
    web.wait_text("ends", |text| text == "131 0\n");
    web.order(b"o");
    web.wait_other(first);
    web.order(b"d");
    web.wait_text("ends", |text| text == "131 0\n-1 15\n");
    web.order(b"o");
    let last = web.wait_up();
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "a shutdown waits for no lease");
    assert!(!proc::is_alive(last));
    drop(lease);
    assert_eq!((web.text("ran"), onit.stderr()), (String::new(), String::new()));
}

#[test]
fn after_a_fault_of_onit_a_newborn_child_goes_on() {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let (web, lease) = leased!(sv, "web", "run");
    let onit = sv.start(UnderTest::Onit);
    other.wait_up();
    start_it(&web, b"u");
    let pid = newborn(&web);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["onit: SIGSEGV: starting again; 2 services keep running"]);
    is_restarted(&other);
    drop(lease);
    assert_eq!(web.wait_pid("ran"), pid);
    web.order(b"d");
    web.wait_down();
}

#[test]
fn a_main_process_that_is_not_loaded_holds_up_no_service_and_hears_signals() {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let (program, lease) = leased!(sv, "program", "run");
    let mut command = UnderTest::Onit.command(&sv.path());
    command.arg("--").arg(program.path().join("run"));
    let onit = sv.spawn(command);
    other.wait_up();
    is_restarted(&other);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(143));
    drop(lease);
}

#[test]
fn who_waits_for_nobody_sleeps() {
    let sv = SvDir::new();
    let (web, lease) = leased!(sv, "web", "run");
    let onit = sv.start(UnderTest::Onit);
    start_it(&web, b"u");
    newborn(&web);
    drop(lease);
    web.wait_pid("ran");
    // One that looks again and again does so within any second; one that does not comes to rest before long.
    wait_for("rest", SOON, || {
        let before = proc::naps(onit.pid());
        std::thread::sleep(Duration::from_secs(1));
        (proc::naps(onit.pid()) == before).then_some(())
    });
}
