//! When the supervisor itself fails, or is replaced on purpose: it goes on as the same process, no service is started
//! again, no line on its way to a logger is lost, and whatever was under way comes right.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use onit::wire::journal::{FACTS, RECORD};

use crate::svdir::InTurn as _;
use crate::svdir::{Ending, Phase, SOON, Service, Supervisor, SvDir, UnderTest};
use crate::svdir::{as_many, given_to, is_root, is_starved, missing_tools, onit, send, skip, wait_for, wrapped};
use crate::verbs::{verb, well};
use crate::{any_uid_any_root, proc, ptrace};

const SERVICES: usize = 100;
/// How many of them write to a logger all the time.
const CHATTY: usize = 5;

/// Numbered lines, each in one write.
const COUNT: &str =
    r#"exec perl -e '$| = 1; for (my $n = 1; ; $n++) { print "$n\n"; select(undef, undef, undef, 0.001) }'"#;

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

/// Many services, and some of them with busy loggers.
struct Crowd {
    services: Vec<Service>,
    pids: Vec<u32>,
}

impl Crowd {
    fn new(sv: &SvDir) -> Crowd {
        let service = |number: usize| {
            let service = sv.service(&format!("s{number:03}"));
            let chatty = number < CHATTY;
            let service =
                if chatty { service.run(COUNT).log("exec cat >>../got") } else { service.run("exec sleep 1000") };
            service.create_atomically()
        };
        Crowd { services: (0..SERVICES).map(service).collect(), pids: Vec::new() }
    }

    fn all(&self) -> Vec<Service> {
        let loggers = self.services.iter().take(CHATTY).map(Service::logger);
        self.services.iter().cloned().chain(loggers).collect()
    }

    fn up(mut self) -> Crowd {
        self.pids = self.all().iter().map(Service::wait_up).collect();
        self
    }

    #[track_caller]
    fn are_unaffected(&self) {
        let pids: Vec<u32> = self.all().iter().map(Service::wait_up).collect();
        assert_eq!(pids, self.pids);
    }

    /// Every line that was ever written has arrived, once and in order.
    #[track_caller]
    fn lines_are_complete(&self) {
        for service in self.services.iter().take(CHATTY) {
            let got = service.text("got");
            let wrong = got.lines().enumerate().find(|(at, line)| line.parse() != Ok(at + 1));
            assert_eq!(wrong, None, "{} of {} lines", service.name(), got.lines().count());
            assert!(got.lines().count() > 10, "it was busy");
        }
    }
}

/// It is controlled as before, by the real tools, and what ends is started again.
#[track_caller]
fn is_in_control(sv: &SvDir, web: &Service) {
    let name = web.name();
    let pid = web.wait_up();
    assert_eq!(sv.sv(&["restart", name]).code, 0);
    let pid = web.wait_other(pid);
    assert_eq!(sv.svc(&["-d", name]).code, 0);
    web.wait_down();
    assert_eq!(sv.sv(&["up", name]).code, 0);
    let next = web.wait_other(pid);
    web.order(b"k"); // not by its pid, which in another namespace is somebody else's
    web.wait_other(next);
    assert_eq!(sv.svok(&[name]).code, 0);
}

#[track_caller]
fn wait_lines(onit: &Supervisor, word: &str, count: usize) {
    onit.wait_for(&format!("{count} lines with {word}"), SOON, || (onit.said(&[word]).len() >= count).then_some(()));
}

fn tools() -> Option<String> {
    missing_tools(&["perl", "sv", "svc", "svok"])
}

fn why_no_namespace() -> Option<String> {
    missing_tools(&["unshare"]).or_else(|| (!is_root()).then(|| "needs root for namespaces".into()))
}

fn as_pid_1(command: &Command) -> Command {
    wrapped(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], command)
}

fn inner(unshare: &Supervisor) -> u32 {
    unshare.wait_for("PID 1", SOON, || proc::children(unshare.pid()).pop())
}

/// `onit upgrade PID` as a user would say it.
fn upgrade(sv: &SvDir, pid: u32) -> crate::svdir::Output {
    sv.onit(&["upgrade", &pid.to_string()])
}

// ---------------------------------------------------------------------------------------------------------------------
// Failures
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn after_a_fault_of_onit_a_hundred_services_and_their_logs_go_on_as_if_nothing_had_happened() {
    if let Some(why) = tools() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let crowd = Crowd::new(&sv);
    let onit = sv.start(UnderTest::Onit);
    let crowd = crowd.up();
    for (name, signal) in [("SIGSEGV", Signal::SIGSEGV), ("SIGABRT", Signal::SIGABRT), ("SIGBUS", Signal::SIGBUS)] {
        onit.signal(signal);
        onit.wait_said(&[&format!("onit: {name}: starting again; {SERVICES} services keep running")]);
        crowd.are_unaffected();
    }
    assert_eq!(onit.stderr().lines().count(), 3, "{}", onit.stderr());
    is_in_control(&sv, &crowd.services[SERVICES - 1]);
    sleeper(&sv, "later").wait_up();
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    crowd.lines_are_complete();
    assert_eq!(sv.processes(), [0u32; 0]);
}

/// Only a build for tests panics when told, so this one is never about another.
#[cfg(debug_assertions)]
#[test]
fn after_a_panic_the_same() {
    if let Some(why) = tools() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let crowd = Crowd::new(&sv);
    let told = sv.root().join("panic");
    let mut command = Command::new(env!("CARGO_BIN_EXE_onit"));
    command.arg("run").arg(sv.path()).env("ONIT_TEST_PANIC", &told);
    let onit = sv.spawn(command);
    let crowd = crowd.up();
    fs::write(&told, "").expect("write");
    onit.signal(Signal::SIGHUP);
    let line = onit.wait_said(&["onit: panic at ", ": starting again; 100 services keep running"]);
    assert!(line.contains("src/sys/rescue.rs:") && line.contains("divide by zero"), "{line}");
    crowd.are_unaffected();
    is_in_control(&sv, &crowd.services[SERVICES - 1]);
    // What it was told in the turn in which it failed is not forgotten.
    send(onit.pid(), Signal::SIGSTOP);
    fs::write(&told, "").expect("write");
    onit.signal(Signal::SIGTERM);
    send(onit.pid(), Signal::SIGCONT);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    assert_eq!(onit.said(&["onit: panic at "]).len(), 2, "{}", onit.stderr());
    crowd.lines_are_complete();
    assert_eq!(sv.processes(), [0u32; 0]);
}

#[test]
fn pid_1_goes_on_after_a_fault_that_comes_from_inside_or_from_outside() {
    if let Some(why) = tools().or_else(why_no_namespace) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let crowd = Crowd::new(&sv);
    let hit = sv.service("hit").run("while [ ! -e go ]; do sleep 0.02; done; rm go; kill -SEGV 1; exec sleep 1000");
    let hit = hit.create_atomically();
    let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
    let real = |sv: &SvDir| -> Vec<_> {
        crowd.services.iter().map(|s| (s.clone(), sv.existing(s.name()).wait_up())).collect()
    };
    let (before, onit) = (real(&sv), inner(&unshare));
    send(onit, Signal::SIGABRT);
    unshare.wait_said(&["onit: SIGABRT: starting again; 101 services keep running"]);
    hit.write("go", "");
    unshare.wait_said(&["onit: SIGSEGV: starting again; 101 services keep running"]);
    assert!(upgrade(&sv, onit).code == 0, "{}", unshare.stderr());
    assert_eq!((real(&sv).len(), inner(&unshare)), (before.len(), onit));
    for ((service, old), (_, new)) in before.iter().zip(real(&sv)) {
        assert_eq!(*old, new, "{}", service.name());
    }
    is_in_control(&sv, &crowd.services[SERVICES - 1]);
    send(onit, Signal::SIGTERM);
    assert_eq!(unshare.wait_end(SOON), Ending::Code(0));
    crowd.lines_are_complete();
    assert_eq!(unshare.stderr().lines().count(), 2, "{}", unshare.stderr());
}

#[test]
fn who_fails_again_and_again_is_slowed_down_and_loses_nothing() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    let begun = Instant::now();
    for count in 1..=6 {
        onit.signal(Signal::SIGSEGV);
        wait_lines(&onit, "onit: SIGSEGV: starting again; 1 service keeps running", count);
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "three at once, then one a second");
    assert_eq!((web.wait_up(), onit.stderr().lines().count()), (pid, 6));
    web.order(b"t");
    web.wait_other(pid);
}

/// Does something a hundred times a second, until it is dropped.
struct Again(std::sync::Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Again {
    fn and_again(what: impl Fn() + Send + 'static) -> Again {
        let over = std::sync::Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                what();
                thread::sleep(Duration::from_millis(10));
            }
        });
        Again(over, Some(thread))
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        drop(self.1.take().map(thread::JoinHandle::join));
    }
}

#[test]
fn who_sends_faults_all_the_time_does_not_keep_onit_from_its_work() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    let (begun, supervisor) = (Instant::now(), onit.pid());
    let storm = Again::and_again(move || send(supervisor, Signal::SIGSEGV));
    wait_lines(&onit, "onit: SIGSEGV: starting again; 1 service keeps running", 4);
    send(pid, Signal::SIGKILL);
    let pid = web.wait_other(pid);
    web.order(b"t");
    let pid = web.wait_other(pid);
    sleeper(&sv, "late").wait_up();
    let (lines, seconds) = (onit.said(&["starting again"]).len(), begun.elapsed().as_secs());
    assert!(lines as u64 <= seconds + 5, "{lines} in {seconds} s: the others get their time");
    drop(storm);
    assert_eq!(web.wait_up(), pid);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

#[cfg(debug_assertions)]
#[test]
fn who_fails_in_every_turn_starts_services_again_nevertheless() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let told = sv.root().join("panic");
    let mut command = Command::new(env!("CARGO_BIN_EXE_onit"));
    command.arg("run").arg(sv.path()).env("ONIT_TEST_PANIC", &told);
    let onit = sv.spawn(command);
    let mut pid = web.wait_up();
    let begun = Instant::now();
    let always = Again::and_again(move || drop(fs::write(&told, "")));
    // Who has nothing to do has no turn to fail in.
    wait_for("four failures", SOON, || {
        onit.signal(Signal::SIGHUP);
        (onit.said(&["onit: panic at "]).len() >= 4).then_some(())
    });
    for _ in 0..2 {
        send(pid, Signal::SIGKILL);
        pid = web.wait_other(pid);
    }
    let (lines, seconds) = (onit.said(&["onit: panic at "]).len(), begun.elapsed().as_secs());
    assert!(lines as u64 <= seconds + 5, "{lines} in {seconds} s: the others get their time");
    drop(always);
    assert_eq!(web.wait_up(), pid);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

/// Lives for up to 70 ms, and tells if another one of it lives at the same time.
const BRIEF: &str = r#"#!/usr/bin/perl
use Fcntl ':flock';
open(my $lock, '>', 'lock'); open(my $lives, '>>', 'lives'); open(my $twice, '>>', 'twice');
flock($lock, LOCK_EX | LOCK_NB) or print $twice "$$\n";
print $lives "$$\n"; close $lives;
select(undef, undef, undef, 0.001 * ($$ % 70));
"#;

#[test]
fn a_fault_at_any_moment_of_a_busy_life_leaves_each_service_one_process() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let brief = |n| sv.service(&format!("b{n:02}")).exec("run", BRIEF).finish("exit 0").create();
    let all: Vec<_> = (0..20).map(brief).collect();
    let onit = sv.start(UnderTest::Onit);
    all.iter().for_each(|service| drop(service.wait_text("lives", |text| !text.is_empty())));
    for count in 1..=8 {
        // `t` and `u` make them start at once, so there is always something under way.
        all.iter().for_each(|service| drop(service.control(b"tu")));
        onit.signal(Signal::SIGSEGV);
        wait_lines(&onit, "onit: SIGSEGV: starting again", count);
    }
    let lives = |service: &Service| service.text("lives").lines().count();
    let twice = |service: &Service| !service.text("twice").is_empty();
    let before: Vec<_> = all.iter().map(lives).collect();
    onit.wait_for("further lives of all", SOON, || {
        all.iter().zip(&before).all(|(service, before)| lives(service) > before + 1).then_some(())
    });
    all.iter().for_each(|service| service.order(b"d"));
    all.iter().for_each(|service| drop(service.wait_down()));
    onit.wait_for("nobody to be left over", SOON, || (sv.processes() == [onit.pid()]).then_some(()));
    assert_eq!(all.iter().filter(|service| twice(service)).count(), 0, "never two at once");
}

#[test]
fn states_that_are_under_way_come_right() {
    if let Some(why) = missing_tools(&["sv", "svc"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let finishing = sv.service("finishing").run("exec sleep 1000");
    let finishing = finishing.finish("echo $1 $2 >>ends; while [ ! -e go ]; do sleep 0.02; done").create();
    let hooked = sv.service("hooked").run("exec sleep 1000");
    let hooked = hooked.script("control/t", "echo >asked; while [ ! -e go ]; do sleep 0.02; done; exit 1").create();
    let once = sv.service("once").run("while [ ! -e go ]; do sleep 0.02; done").down().create();
    let (paused, down) = (sleeper(&sv, "paused"), sv.service("down").run("exec sleep 1000").down().create());
    let stopping = sv.service("stopping");
    let stopping =
        stopping.run("trap 'echo >asked' TERM; echo >hears; while [ ! -e go ]; do sleep 0.02; done").create();
    let onit = sv.start(UnderTest::Onit);
    let pids: Vec<u32> = [&finishing, &hooked, &paused, &stopping].map(Service::wait_up).into();
    once.order(b"o");
    let once_pid = once.wait_up();
    paused.order(b"p");
    stopping.wait_text("hears", |text| !text.is_empty());
    stopping.order(b"d");
    stopping.wait_text("asked", |text| !text.is_empty());
    hooked.order(b"t");
    hooked.wait_text("asked", |text| !text.is_empty());
    hooked.order(b"d"); // waits for the hook
    finishing.order(b"t");
    let finish = finishing.wait_for("finish", |status| status.phase() == Phase::Finish && status.pid().is_some());
    let all = [&finishing, &hooked, &once, &paused, &down, &stopping];
    paused.wait_for("the pause", |status| status.paused());
    let before = all.map(|service| service.status());
    for count in 1..=2 {
        onit.signal(Signal::SIGSEGV);
        wait_lines(&onit, "onit: SIGSEGV: starting again; 4 services keep running", count);
        assert_eq!(all.map(|service| service.status()), before);
    }
    [&finishing, &hooked, &once, &stopping].iter().for_each(|service| service.write("go", ""));
    let next = finishing.wait_other(finish.pid().expect("finish"));
    assert!(next != pids[0] && finishing.text("ends") == "-1 15\n", "{}", finishing.text("ends"));
    assert_eq!(hooked.wait_down().stat, "down\n");
    assert_eq!((once.wait_down().pid(), stopping.wait_down().pid()), (None, None));
    assert!(!proc::is_alive(once_pid));
    paused.order(b"c");
    paused.wait_for("its life", |status| !status.paused() && status.pid() == Some(pids[2]));
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
}

#[test]
fn a_fault_in_the_middle_of_a_shutdown_does_not_keep_it_from_its_end() {
    let sv = SvDir::new();
    let slow =
        sv.service("slow").run("trap 'echo >asked; exec sleep 1.5' TERM; echo >ready; while :; do sleep 0.02; done");
    let slow = slow.log("exec cat >../got").create();
    let (web, deaf) =
        (sleeper(&sv, "web"), sv.service("deaf").run("trap '' TERM; echo >ready; exec sleep 1000").create());
    let onit = sv.start(UnderTest::Onit);
    web.wait_up();
    [&slow, &deaf].iter().for_each(|service| drop(service.wait_text("ready", |text| !text.is_empty())));
    onit.signal(Signal::SIGTERM);
    slow.wait_text("asked", |text| !text.is_empty());
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["onit: SIGSEGV: starting again"]);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(onit.said(&["onit: deaf: still running (pid", "killing it"]).len(), 1, "{}", onit.stderr());
    assert_eq!(sv.processes(), [0u32; 0]);
}

#[test]
fn in_the_place_of_other_tools_the_same() {
    for tool in ["runsvdir", "svscan", "runsv", "supervise"] {
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let which = UnderTest::OnitAs(tool);
        let scans = matches!(tool, "runsvdir" | "svscan");
        let front = if scans { sv.start(which) } else { sv.start_on(which, &web) };
        let pid = web.wait_up();
        let parent = sv.processes().into_iter().find(|parent| proc::children(*parent).contains(&pid));
        let onit = parent.expect("a parent");
        send(onit, Signal::SIGSEGV);
        front.wait_said(&[": SIGSEGV: starting again; 1 service keeps running"]);
        assert_eq!(web.wait_up(), pid, "{tool}");
        web.order(b"t");
        web.wait_other(pid);
        if tool == "runsvdir" {
            front.signal(Signal::SIGHUP); // the front still leads to it
            assert_eq!(front.wait_end(SOON), Ending::Code(111));
            front.wait_for("the end of all", SOON, || sv.processes().is_empty().then_some(()));
        }
    }
}

#[test]
fn a_main_process_goes_on_hears_signals_and_its_code_becomes_ours() {
    let sv = SvDir::new();
    sleeper(&sv, "web");
    let script = "trap 'exit 7' TERM; echo $$ >pid; while :; do sleep 0.02; done";
    let place = sv.service_at(sv.root().join("main")).file("x", "").create();
    let shell = format!("cd {}; {script}", place.path().display());
    let mut command = UnderTest::Onit.command(&sv.path());
    command.args(["--", "sh", "-c", &shell]);
    let onit = sv.spawn(command);
    let pid = place.wait_pid("pid");
    for count in 1..=2 {
        onit.signal(Signal::SIGSEGV);
        wait_lines(&onit, "onit: SIGSEGV: starting again; the main process and 1 service keep running", count);
    }
    assert_eq!(upgrade(&sv, onit.pid()).code, 0);
    assert_eq!((place.wait_pid("pid"), proc::is_alive(pid)), (pid, true));
    assert_eq!(proc::children(onit.pid()).len(), 2);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(7), "{}", onit.stderr());
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
}

#[test]
fn whoever_runs_us_hears_of_the_end_also_after_a_failure_and_of_the_beginning_once() {
    for damaged in [false, true] {
        let sv = SvDir::new();
        let web = sv.service("web").run("echo \"${NOTIFY_SOCKET-none}${ONIT_LEDGER-none}\" >got; exec sleep 1000");
        let web = web.create_atomically();
        let path = sv.root().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(SOON)).expect("a time limit");
        let told = || {
            let mut text = [0; 64];
            let length = socket.recv(&mut text).expect("a word");
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let mut command = Command::new(onit());
        command.arg("run").arg(sv.path()).env("NOTIFY_SOCKET", &path);
        let onit = sv.spawn(command);
        assert_eq!(told(), "READY=1");
        let pid = web.wait_up();
        wait_idle(&onit);
        if damaged {
            damage(onit.pid(), 0, 1);
        }
        onit.signal(Signal::SIGSEGV);
        onit.wait_said(&[if damaged {
            "onit: the state journal cannot be read"
        } else {
            "onit: SIGSEGV: starting again"
        }]);
        assert_eq!(web.wait_up(), pid);
        web.order(b"t");
        web.wait_other(pid);
        web.wait_text("got", |text| text == "nonenone\n");
        onit.signal(Signal::SIGTERM);
        assert_eq!(onit.wait_end(SOON), Ending::Code(0));
        if damaged {
            assert_eq!(told(), "READY=1", "nobody knows that this was said");
        }
        assert_eq!(told(), "STOPPING=1");
    }
}

#[test]
fn what_is_in_the_live_view_stays_there() {
    if let Some(why) = any_uid_any_root::why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let chatty = sv.service("chatty").run("exec sleep 1000").log("exec cat").create();
    let words = any_uid_any_root::as_a_stranger(&sv, 54_501);
    let onit = sv.spawn_words(&words);
    let all = [any_uid_any_root::in_view(&sv, "chatty"), any_uid_any_root::in_view(&sv, "chatty/log")];
    let before = all.clone().map(|service| service.wait_up());
    for count in 1..=2 {
        onit.signal(Signal::SIGSEGV);
        wait_lines(&onit, "onit: SIGSEGV: starting again; 1 service keeps running", count);
        assert_eq!(all.clone().map(|service| service.wait_up()), before);
    }
    assert_eq!(upgrade(&sv, onit.pid()).code, 0);
    all[0].order(b"t");
    all[0].wait_other(before[0]);
    // Another one needs the view too, and it is still ours.
    sv.service("later").run("exec sleep 1000").create_atomically();
    any_uid_any_root::in_view(&sv, "later").wait_up();
    assert_eq!(all[1].wait_up(), before[1]);
    assert!(!chatty.path().join("supervise").exists());
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
}

// ---------------------------------------------------------------------------------------------------------------------
// A fault at one system call
// ---------------------------------------------------------------------------------------------------------------------

/// The n-th call of this name is a fault: when it has been made or, `instead`, in its place.
#[derive(Clone, Copy, Debug)]
pub struct At(pub &'static str, pub u32, pub bool);

/// Holds a supervisor until it is removed; then it runs into the fault.
pub struct Trap {
    strace: Child,
    pid: u32,
}

impl Trap {
    pub fn set(sv: &SvDir, pid: u32, At(call, nth, instead): At) -> Result<Trap, String> {
        let instead = if instead { "error=ENOSYS:" } else { "" };
        Trap::inject(sv, pid, &format!("{call}:{instead}signal=SEGV:when={nth}"))
    }

    fn inject(sv: &SvDir, pid: u32, what: &str) -> Result<Trap, String> {
        send(pid, Signal::SIGSTOP); // so that what comes until it is removed comes in one turn
        let inject = format!("inject={what}");
        let said = sv.root().join("strace");
        let mut command = Command::new("strace");
        command.args(["-o", "/dev/null", "-e", &inject, "-p", &pid.to_string()]);
        let mut strace = command.stderr(fs::File::create(&said).expect("create")).spawn_in_turn().expect("strace");
        let text = || fs::read_to_string(&said).expect("what it says");
        let ready = wait_for("strace", SOON, || {
            let ended = strace.try_wait().expect("strace").is_some();
            if ended { Some(Err(text())) } else { text().contains("attached").then_some(Ok(())) }
        });
        ready.map(|()| Trap { strace, pid })
    }

    pub fn release(&self) {
        send(self.pid, Signal::SIGCONT);
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        send(self.strace.id(), Signal::SIGTERM); // it lets go
        drop(self.strace.wait());
    }
}

pub fn why_no_traps() -> Option<String> {
    missing_tools(&["strace"]).or_else(|| {
        let mut other = Command::new("sleep").arg("1000").spawn_in_turn().expect("sleep");
        let trap = Trap::set(&SvDir::new(), other.id(), At("read", 1, false));
        let why = trap.err().map(|why| format!("strace cannot do it here: {}", why.trim()));
        drop((other.kill(), other.wait()));
        why
    })
}

/// At each of these places in a life of its own: an idle supervisor of a service with a logger is held, something happens
/// to it, and it runs into the fault. It says one line of that, and so many of other things.
fn at_each(places: &[At], lines: usize, live: impl Fn(&SvDir, &Service, &Supervisor, &dyn Fn()) + Sync) {
    let one = |place: At| {
        println!("{place:?}");
        let sv = SvDir::new();
        let web =
            sv.service("web").run("exec sleep 1000").finish("echo $1 $2 >>ends").log("exec cat >>../got").create();
        let mut command = Command::new(onit());
        command.arg("run").arg(sv.path()).env("NOTIFY_SOCKET", sv.root().join("nobody"));
        let onit = sv.spawn(command);
        web.wait_up();
        web.logger().wait_up();
        wait_idle(&onit);
        let trap = Trap::set(&sv, onit.pid(), place).expect("a trap");
        live(&sv, &web, &onit, &|| trap.release());
        let fault = onit.said(&["onit: SIGSEGV: starting again"]).len();
        let text = onit.stderr();
        let all = text.lines().filter(|line| !is_starved() || !line.contains(": still running")).count();
        assert_eq!((fault, all), (1, 1 + lines), "{place:?}: {}", onit.stderr());
    };
    let one = &one;
    std::thread::scope(|scope| {
        for part in places.chunks(places.len().div_ceil(4)) {
            scope.spawn(move || part.iter().copied().for_each(one));
        }
    });
}

#[test]
fn a_fault_at_any_system_call_of_a_shutdown_leads_to_the_same_end() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    let heard = [At("read", 1, false), At("read", 1, true), At("read", 2, false)];
    let told = [At("sendto", 1, false), At("sendto", 1, true), At("kill", 1, false), At("kill", 1, true)];
    let ended = [At("kill", 2, true), At("wait4", 1, false), At("wait4", 2, false), At("clone", 1, false)];
    at_each(&[&heard[..], &told, &ended].concat(), 0, |sv, web, onit, release| {
        onit.signal(Signal::SIGTERM);
        release();
        assert_eq!(onit.wait_end(SOON), Ending::Code(0));
        assert_eq!((web.text("ends").as_str(), sv.processes().len()), ("-1 15\n", 0));
    });
}

#[test]
fn a_fault_at_any_system_call_of_an_order_does_not_keep_it_from_being_obeyed() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    let places = [At("read", 3, false), At("read", 3, true), At("kill", 1, true), At("wait4", 1, false)];
    at_each(&places, 0, |_, web, onit, release| {
        let pid = web.wait_up();
        web.order(b"k");
        release();
        web.wait_other(pid);
        assert_eq!(web.text("ends"), "-1 9\n");
        onit.signal(Signal::SIGTERM);
        assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    });
}

#[test]
fn a_fault_at_any_system_call_of_a_start_leaves_no_half_of_a_pair() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    let made = [At("mkdirat", 1, false), At("epoll_ctl", 1, false), At("epoll_ctl", 1, true), At("pipe2", 1, false)];
    let begun = [At("epoll_ctl", 2, false), At("epoll_ctl", 2, true), At("clone", 1, false), At("clone", 2, true)];
    at_each(&[made, begun].concat(), 0, |sv, _, onit, release| {
        let late = sv.service("late").run("echo >>starts\necho line\nexec sleep 1000").log("exec cat >>../got");
        let late = late.create_atomically();
        release();
        late.wait_up();
        late.logger().wait_up();
        late.wait_text("got", |text| text == "line\n");
        assert_eq!((late.text("starts").as_str(), proc::children(onit.pid()).len()), ("\n", 4));
    });
}

#[test]
fn a_lack_of_memory_or_descriptors_after_a_fault_is_waited_for() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    for lack in ["signalfd4:error=ENOMEM:when=1", "epoll_create1:error=EMFILE:when=1"] {
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let onit = sv.start(UnderTest::Onit);
        let pid = web.wait_up();
        wait_idle(&onit);
        let trap = Trap::inject(&sv, onit.pid(), lack).expect("a trap");
        onit.signal(Signal::SIGSEGV);
        trap.release();
        onit.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
        assert_eq!((web.wait_up(), onit.stderr().lines().count()), (pid, 1), "{lack}: {}", onit.stderr());
    }
}

#[test]
fn who_cannot_be_executed_again_after_a_fault_that_was_sent_goes_on() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    let trap = Trap::inject(&sv, onit.pid(), "execve:error=ENOMEM:when=1..2").expect("a trap");
    onit.signal(Signal::SIGSEGV);
    trap.release();
    onit.wait_said(&["onit: cannot start again after a fault: Out of memory; going on as before"]);
    drop(trap);
    web.order(b"t");
    web.wait_other(pid);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
}

#[cfg(debug_assertions)]
#[test]
fn who_cannot_be_executed_again_after_a_fault_of_its_own_tries_for_a_while() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let told = sv.root().join("panic");
    let mut command = Command::new(env!("CARGO_BIN_EXE_onit"));
    command.arg("run").arg(sv.path()).env("ONIT_TEST_PANIC", &told);
    let onit = sv.spawn(command);
    let pid = web.wait_up();
    let trap = Trap::inject(&sv, onit.pid(), "execve:error=EAGAIN:when=1..6").expect("a trap");
    fs::write(&told, "").expect("write");
    onit.signal(Signal::SIGHUP);
    trap.release();
    onit.wait_said(&["onit: panic at ", ": starting again; 1 service keeps running"]);
    assert_eq!(web.wait_up(), pid);
}

#[test]
fn a_main_process_that_starts_after_a_fault_gets_what_was_open_for_it() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").log("exec cat").create();
    let word = sv.root().join("word");
    fs::write(&word, "word\n").expect("write");
    let traced = "strace -D -o /dev/null -e inject=pipe2:signal=SEGV:when=1";
    let script =
        format!("exec {traced} {} run {} -- cat /dev/fd/3 3<{}", onit().display(), sv.path().display(), word.display());
    let onit = sv.spawn_words(&["sh", "-c", &script]);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    assert_eq!((onit.stdout().as_str(), onit.said(&["onit: SIGSEGV: starting again"]).len()), ("word\n", 1));
}

#[test]
fn a_fault_while_a_traced_child_stands_still_does_not_leave_it_there() {
    if let Some(why) = why_no_traps().or_else(ptrace::why_not) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let code = format!("select(undef, undef, undef, 0.02) until -e \"go\"; {}", ptrace::trace_me());
    let web = sv.service("web").run(&ptrace::perl(&format!("{code} {}", ptrace::SIGNALS_ITSELF))).create();
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    wait_idle(&onit);
    let trap = Trap::set(&sv, onit.pid(), At("ptrace", 1, false)).expect("a trap");
    web.write("go", "");
    wait_for("the stop", SOON, || proc::Glimpse::of(pid).filter(|seen| seen.state == 't'));
    trap.release();
    onit.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
    assert_eq!((web.wait_pid("alive"), web.wait_up()), (pid, pid));
}

#[test]
fn a_fault_at_any_system_call_after_the_end_of_an_essential_service_does_not_change_our_code() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    at_each(&[At("wait4", 1, false), At("write", 1, true), At("/^p?poll$", 1, false)], 1, |_, web, onit, release| {
        web.write("essential", "always");
        send(web.wait_up(), Signal::SIGINT);
        release();
        assert_eq!(onit.wait_end(SOON), Ending::Code(130));
    });
    at_each(
        &[At("wait4", 3, false), At("/^p?poll$", 2, false), At("/^p?poll$", 2, true)],
        2,
        |_, web, onit, release| {
            web.write("essential", "on-giveup");
            web.write("finish", "#!/bin/sh\nexit 125\n");
            send(web.wait_up(), Signal::SIGINT);
            release();
            assert_eq!(onit.wait_end(SOON), Ending::Code(130));
        },
    );
}

#[test]
fn after_a_fault_the_code_of_an_essential_service_stands_also_if_it_is_0() {
    let sv = SvDir::new();
    let run = "while [ ! -e ../../ready ]; do sleep 0.02; done; exit 0";
    sv.service("db").run(run).file("essential", "always").create_atomically();
    let mut command = UnderTest::Onit.command(&sv.path());
    let script = "trap 'echo >told; while [ ! -e go ]; do sleep 0.02; done; exit 3' TERM; echo >ready; \
                  while :; do sleep 0.02; done";
    command.args(["--", "sh", "-c", script]).current_dir(sv.root()).env("ONIT_STOP_TIMEOUT", "60");
    let onit = sv.spawn(command);
    onit.wait_for("the main process to be told", SOON, || sv.root().join("told").exists().then_some(()));
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["onit: SIGSEGV: starting again; the main process keeps running"]);
    fs::write(sv.root().join("go"), "").expect("write");
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

// ---------------------------------------------------------------------------------------------------------------------
// A journal that is no good
// ---------------------------------------------------------------------------------------------------------------------

/// The memory in which it keeps its journal.
fn journal(pid: u32) -> fs::File {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let is_journal = |path: &PathBuf| fs::read_link(path).is_ok_and(|link| link.starts_with("/memfd:onit (deleted)"));
    let journal = fds.flatten().map(|entry| entry.path()).find(is_journal).expect("a journal");
    OpenOptions::new().read(true).write(true).open(journal).expect("open")
}

/// Overwrites words of the journal, as a wild pointer would.
pub fn damage(pid: u32, word: u64, count: usize) {
    journal(pid).write_all_at(&vec![0xa5; count * 8], word * 8).expect("write");
}

/// Another onit goes on in its place, on purpose or after a fault.
pub fn replace(sv: &SvDir, onit: &Supervisor, fails: bool) {
    wait_idle(onit);
    if fails {
        let before = onit.said(&["SIGSEGV"]).len();
        onit.signal(Signal::SIGSEGV);
        wait_for("another start", SOON, || (onit.said(&["SIGSEGV"]).len() > before).then_some(()));
    } else {
        well(sv, &["upgrade", &onit.pid().to_string()]);
    }
    onit.wait_for("an answer", SOON, || (verb(sv, &["rescan"]).code == 0).then_some(()));
}

/// It notes nothing any more.
pub fn wait_idle(onit: &Supervisor) {
    let looked = || proc::Glimpse::of(onit.pid()).map(|glimpse| (glimpse.state, glimpse.switches));
    let mut last = None;
    onit.wait_for("it to be idle", SOON, || {
        std::thread::sleep(Duration::from_millis(100));
        let before = std::mem::replace(&mut last, looked());
        (before == last && last.is_some_and(|(state, _)| state == 'S')).then_some(())
    });
}

/// The supervisor says one line, and each service has one process, that which it had.
#[track_caller]
fn survives_damage(word: u64, count: usize, lines: &[&str]) {
    let sv = SvDir::new();
    let (web, other) = (sleeper(&sv, "web"), sleeper(&sv, "other"));
    let chatty = sv.service("chatty").run(COUNT).log("exec cat >>../got").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    let all = [web.clone(), other, chatty.clone(), chatty.logger()];
    let before = all.clone().map(|service| service.wait_up());
    wait_idle(&onit);
    damage(onit.pid(), word, count);
    onit.signal(Signal::SIGSEGV);
    lines.iter().for_each(|line| drop(onit.wait_said(&[line])));
    assert_eq!(all.clone().map(|service| service.wait_up()), before);
    assert_eq!(proc::children(onit.pid()).len(), 4);
    assert_eq!(onit.stderr().lines().count(), lines.len(), "{}", onit.stderr());
    web.order(b"t");
    web.wait_other(before[0]);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    let got = chatty.text("got");
    assert!(got.lines().enumerate().all(|(at, line)| line.parse() == Ok(at + 1)), "no line is lost");
    assert_eq!(sv.processes(), [0u32; 0]);
}

#[test]
fn a_ledger_that_is_none_is_told_and_the_running_services_are_found_by_their_status() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    survives_damage(
        0,
        1,
        &["onit: the state journal cannot be read: not an onit state file; looking for the services"],
    );
    survives_damage(
        2,
        1,
        &["onit: the state journal cannot be read: it belongs to another process; looking for the services"],
    );
}

/// What was open for them before is closed when that is said: nobody reads there.
#[test]
fn who_waits_for_the_word_of_a_lost_ledger_and_then_for_a_service_gives_no_order_in_vain() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    wait_idle(&onit);
    damage(onit.pid(), 0, 1);
    let trap = Trap::inject(&sv, onit.pid(), "close_range:delay_enter=300000").expect("a trap");
    onit.signal(Signal::SIGSEGV);
    trap.release();
    onit.wait_said(&["onit: the state journal cannot be read: not an onit state file; looking for the services"]);
    assert_eq!(web.wait_up(), pid);
    web.order(b"t");
    web.wait_other(pid);
}

/// Whoever holds the lock lets go some time: then the process of before is found, and there is no second one.
#[test]
fn the_process_of_a_service_that_is_refused_after_a_lost_ledger_is_found_when_it_is_taken_in() {
    let sv = SvDir::new();
    let (web, other) = (sleeper(&sv, "web"), sleeper(&sv, "other"));
    let onit = sv.start(UnderTest::Onit);
    let before = [&web, &other].map(Service::wait_up);
    wait_idle(&onit);
    let path = web.path().join("supervise/lock");
    fs::remove_file(&path).expect("rm");
    let lock = fs::File::create(&path).expect("another lock");
    lock.lock().expect("locked");
    damage(onit.pid(), 0, 1);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["onit: the state journal cannot be read: not an onit state file; looking for the services"]);
    onit.wait_said(&["onit: web: supervise/lock is held by another supervisor; not supervised until that is mended"]);
    assert_eq!((other.wait_up(), web.is_supervised()), (before[1], false));
    drop(lock);
    onit.signal(Signal::SIGHUP); // in time it comes by itself
    assert_eq!([&web, &other].map(Service::wait_up), before);
    assert_eq!((proc::children(onit.pid()).len(), onit.stderr().lines().count()), (2, 2), "{}", onit.stderr());
}

/// Their directories cannot be written, so their status is in the runtime mirror.
#[test]
fn the_processes_of_lost_records_and_of_a_lost_ledger_are_found_by_what_the_live_view_says_of_them() {
    if let Some(why) = any_uid_any_root::why_not() {
        skip!("{why}");
    }
    let records =
        ["SIGSEGV: starting again", "3 of the services and loggers cannot be read in the state journal; looking for"];
    let whole = ["the state journal cannot be read: not an onit state file; looking for the services"];
    for (word, count, lines) in [(FACTS, RECORD * 3, &records[..]), (0, 1, &whole)] {
        let sv = SvDir::new();
        sleeper(&sv, "web");
        sv.service("pair").run("exec sleep 1000").log("exec cat").create_atomically();
        let onit = sv.spawn_words(&any_uid_any_root::as_a_stranger(&sv, 54_503));
        let all = ["web", "pair", "pair/log"].map(|name| any_uid_any_root::in_view(&sv, name));
        let before = all.clone().map(|service| service.wait_up());
        wait_idle(&onit);
        damage(onit.pid(), word as u64, count);
        onit.signal(Signal::SIGSEGV);
        lines.iter().for_each(|line| drop(onit.wait_said(&[line])));
        wait_idle(&onit);
        assert_eq!(all.clone().map(|service| service.wait_up()), before);
        let said = onit.stderr();
        assert_eq!((proc::children(onit.pid()).len(), said.lines().count()), (3, lines.len()), "{said}");
        all[0].order(b"t");
        all[0].wait_other(before[0]);
        assert_eq!(all[2].wait_up(), before[2]);
    }
}

/// Of two services and a logger, in many lives of several supervisors at the same time: one word of the journal changes, and
/// there is a fault.
fn survive_each(words: impl Iterator<Item = u64>) {
    let words: Vec<u64> = words.collect();
    let live = |words: &[u64]| {
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let pair = sv.service("pair").run("exec sleep 1000").log("exec cat").create_atomically();
        let onit = sv.start(UnderTest::Onit);
        let all = [web, pair.logger(), pair];
        let before = all.clone().map(|service| service.wait_up());
        for word in words {
            wait_idle(&onit);
            let (journal, mut bytes, lines) = (journal(onit.pid()), [0; 8], onit.stderr().lines().count());
            journal.read_exact_at(&mut bytes, word * 8).expect("read");
            journal.write_all_at(&bytes.map(|byte| byte ^ 0x25), word * 8).expect("write");
            onit.signal(Signal::SIGSEGV);
            onit.wait_for("a line", SOON, || (onit.stderr().lines().count() > lines).then_some(()));
            wait_idle(&onit);
            let after = all.clone().map(|service| service.wait_up());
            assert_eq!((after, proc::children(onit.pid()).len()), (before, 3), "word {word}: {}", onit.stderr());
        }
        onit.signal(Signal::SIGTERM);
        assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
        assert_eq!(sv.processes(), [0u32; 0]);
    };
    let live = &live;
    thread::scope(|scope| words.chunks(words.len().div_ceil(8)).for_each(|part| drop(scope.spawn(move || live(part)))));
}

#[test]
fn whichever_word_of_a_record_is_another_no_service_is_started_twice() {
    let record = |number: usize| (FACTS + RECORD * number) as u64;
    survive_each((0..3).flat_map(|number| (0..24).chain([31]).map(move |word| record(number) + word)));
}

#[test]
fn whichever_word_of_the_facts_is_another_no_service_is_started_twice() {
    survive_each(0..48);
}

/// The file of the journal may be so long.
fn with_little_room(bytes: usize) -> (SvDir, Supervisor) {
    let sv = SvDir::new();
    let limit = format!("--fsize={bytes}:{bytes}");
    for number in 0..4 {
        sleeper(&sv, &format!("s{number}"));
    }
    let onit = sv.spawn(wrapped(&["prlimit", &limit], &UnderTest::Onit.command(&sv.path())));
    (sv, onit)
}

#[test]
fn services_for_which_the_ledger_has_no_room_are_not_started_twice() {
    if let Some(why) = missing_tools(&["prlimit"]) {
        skip!("{why}");
    }
    let (sv, onit) = with_little_room((FACTS + 2 * RECORD) * 8);
    let pids = || (0..4).map(|number| sv.existing(&format!("s{number}")).wait_up()).collect::<Vec<_>>();
    let before = pids();
    for count in 1..=2 {
        wait_idle(&onit);
        onit.signal(Signal::SIGSEGV);
        wait_lines(&onit, "onit: SIGSEGV: starting again", count);
        wait_idle(&onit);
        assert_eq!((pids(), proc::children(onit.pid()).len()), (before.clone(), 4), "{}", onit.stderr());
    }
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
}

#[test]
fn where_there_is_no_room_for_a_ledger_this_is_told_and_all_else_works() {
    if let Some(why) = missing_tools(&["prlimit"]) {
        skip!("{why}");
    }
    let (sv, onit) = with_little_room(4096);
    let web = sv.existing("s0");
    let pid = web.wait_up();
    onit.wait_said(&[
        "onit: cannot prepare for a fault of onit itself: ftruncate: File too large; services run as usual",
    ]);
    web.order(b"t");
    let pid = web.wait_other(pid);
    web.order(b"k");
    web.wait_other(pid);
    let answer = upgrade(&sv, onit.pid());
    assert_eq!((answer.code, onit.stderr().lines().count()), (1, 1), "{answer:?} {}", onit.stderr());
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

#[test]
fn with_few_descriptors_or_without_the_call_for_it_that_there_is_no_ledger_is_told() {
    if let Some(why) = why_no_traps().or_else(|| missing_tools(&["prlimit"])) {
        skip!("{why}");
    }
    let refused = ["strace", "-D", "-o", "/dev/null", "-e", "inject=memfd_create:error=EPERM"];
    for (prefix, cause) in
        [(&["prlimit", "--nofile=8:8"][..], "Too many open files"), (&refused, "Operation not permitted")]
    {
        let sv = SvDir::new();
        let onit = sv.spawn(wrapped(prefix, &UnderTest::Onit.command(&sv.path())));
        onit.wait_said(&[&format!("onit: cannot prepare for a fault of onit itself: memfd_create: {cause}; ")]);
        onit.signal(Signal::SIGTERM);
        assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    }
}

#[test]
fn with_few_addresses_the_ledger_is_smaller_and_a_fault_is_survived() {
    if let Some(why) = missing_tools(&["prlimit"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let limit = format!("--as={0}:{0}", 96 << 20);
    let onit = sv.spawn(wrapped(&["prlimit", &limit], &UnderTest::Onit.command(&sv.path())));
    let pid = web.wait_up();
    for count in 1..=2 {
        onit.signal(Signal::SIGSEGV);
        wait_lines(&onit, "onit: SIGSEGV: starting again; 1 service keeps running", count);
        assert_eq!((web.wait_up(), onit.stderr().lines().count()), (pid, count), "{}", onit.stderr());
    }
}

#[test]
fn records_that_are_damaged_are_told_and_the_rest_is_good() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let told = [
        "onit: SIGSEGV: starting again",
        "of the services and loggers cannot be read in the state journal; looking for them",
    ];
    for record in 0..4 {
        survives_damage((FACTS + RECORD * record) as u64, 20, &told);
    }
    survives_damage(FACTS as u64, RECORD * 4, &told);
}

// ---------------------------------------------------------------------------------------------------------------------
// Signals that C libraries keep for their threads
// ---------------------------------------------------------------------------------------------------------------------

const KEPT_BY_LIBRARIES: [i32; 3] = [32, 33, 34];

fn send_number(pid: u32, signal: i32) {
    let sent = std::process::Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status_in_turn();
    assert!(sent.is_ok_and(|status| status.success()), "signal {signal}");
}

/// Each of them is sent to a supervisor that stands still; then `what` happens to it, and it goes on.
fn hear_them(sv: &SvDir, pid: u32, what: impl FnOnce() + Send) {
    send(pid, Signal::SIGSTOP);
    wait_for("it to stand still", SOON, || proc::Glimpse::of(pid)?.is_stopped().then_some(()));
    KEPT_BY_LIBRARIES.iter().for_each(|signal| send_number(pid, *signal));
    thread::scope(|scope| {
        let happens = scope.spawn(what);
        let others = |pending: u64| pending & !KEPT_BY_LIBRARIES.iter().fold(0, |all, signal| all | 1 << (signal - 1));
        wait_for("another signal", SOON, || proc::Glimpse::of(pid).filter(|seen| others(seen.pending) != 0).map(drop));
        send(pid, Signal::SIGCONT);
        happens.join().expect("it happened");
    });
    let web = sv.existing("web");
    let before = web.wait_up();
    web.order(b"t");
    web.wait_other(before);
    KEPT_BY_LIBRARIES.iter().for_each(|signal| send_number(pid, *signal));
    web.order(b"t");
    let blocked = proc::Glimpse::of(pid).expect("it lives").blocked;
    assert!(KEPT_BY_LIBRARIES.iter().all(|signal| blocked >> (signal - 1) & 1 == 1), "{blocked:x}");
}

#[test]
fn signals_that_c_libraries_keep_for_themselves_do_not_end_onit_however_it_is_executed_again() {
    let sv = SvDir::new();
    sleeper(&sv, "web");
    let place = put(&sv, &onit());
    let running = start_from(&sv, &place);
    let pid = running.pid();
    sv.existing("web").wait_up();
    hear_them(&sv, pid, || send(pid, Signal::SIGSEGV));
    running.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
    hear_them(&sv, pid, || assert_eq!(upgrade(&sv, pid).code, 0));
    fs::remove_file(&place).expect("rm");
    hear_them(&sv, pid, || assert_eq!(upgrade(&sv, pid).code, 1));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait_end(SOON), Ending::Code(0), "{}", running.stderr());
}

#[test]
fn as_pid_1_the_same() {
    if let Some(why) = why_no_namespace() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sleeper(&sv, "web");
    let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
    sv.existing("web").wait_up();
    let pid = inner(&unshare);
    hear_them(&sv, pid, || send(pid, Signal::SIGSEGV));
    unshare.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
    send(pid, Signal::SIGTERM);
    assert_eq!(unshare.wait_end(SOON), Ending::Code(0), "{}", unshare.stderr());
}

#[test]
fn signals_that_c_libraries_keep_for_themselves_are_passed_on_to_the_command() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    // Whoever has started us by posix_spawn(3) of glibc, as cargo does, has had some of them ignored.
    let to_default = KEPT_BY_LIBRARIES.map(|n| format!("syscall({}, {n}, $default, 0, 8);", libc::SYS_rt_sigaction));
    let start = format!("$default = \"\\0\" x 32; {} exec @ARGV", to_default.concat());
    for signal in KEPT_BY_LIBRARIES {
        let program = onit();
        let program = program.to_str().expect("a printable path");
        let onit = sv.spawn_words(&["perl", "-e", &start, program, "--", "sleep", "1000"]);
        onit.wait_for("the command", SOON, || {
            let command = proc::children(onit.pid()).pop()?;
            proc::command_line(command).starts_with("sleep").then_some(())
        });
        send_number(onit.pid(), signal);
        assert_eq!(onit.wait_end(SOON), Ending::Code(128 + signal), "{}", onit.stderr());
    }
}

/// coreutils can say that of 34 alone.
#[test]
fn the_command_gets_the_first_real_time_signal_as_it_was() {
    if let Some(why) = missing_tools(&["env", "grep"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let show = ["--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    for (how, field) in [("--block-signal=RTMIN", "SigBlk"), ("--ignore-signal=RTMIN", "SigIgn")] {
        let program = onit();
        let program = program.to_str().expect("a printable path");
        let words = [&["env", "--default-signal", how, program], &show[..]].concat();
        let onit = sv.spawn_words(&words);
        assert_eq!(onit.wait_end(SOON), Ending::Code(0));
        let said = onit.stdout();
        let set = said.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        let set = u64::from_str_radix(set.expect(field), 16).expect("a set of signals");
        assert!(set >> 33 & 1 == 1, "{said}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// On purpose
// ---------------------------------------------------------------------------------------------------------------------

/// An onit of our own, that can be replaced; what stands there is replaced in one step, as a package manager does.
fn put(sv: &SvDir, content: &Path) -> PathBuf {
    let (place, fresh) = (sv.root().join("onit"), sv.root().join("onit.new"));
    let copied = Command::new("cp").args([content, &fresh]).status_in_turn().expect("cp");
    assert!(copied.success());
    fs::rename(&fresh, &place).expect("rename");
    place
}

fn start_from(sv: &SvDir, place: &Path) -> Supervisor {
    sv.spawn_words(&[place.as_os_str(), "run".as_ref(), sv.path().as_os_str()])
}

#[test]
fn onit_is_replaced_a_hundred_times_and_no_service_notices() {
    if let Some(why) = tools() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let crowd = Crowd::new(&sv);
    let place = put(&sv, &onit());
    let running = start_from(&sv, &place);
    let crowd = crowd.up();
    for round in 0..as_many(100) {
        if round % 10 == 0 {
            put(&sv, &onit());
        }
        let answer = upgrade(&sv, running.pid());
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "round {round}");
    }
    let program = fs::read_link(format!("/proc/{}/exe", running.pid())).expect("its program");
    assert_eq!(program, place, "the new one");
    crowd.are_unaffected();
    is_in_control(&sv, &crowd.services[SERVICES - 1]);
    running.signal(Signal::SIGTERM);
    assert_eq!((running.wait_end(SOON), running.stderr().as_str()), (Ending::Code(0), ""));
    crowd.lines_are_complete();
    assert_eq!(sv.processes(), [0u32; 0]);
}

mod soak {
    use super::*;

    /// Each is replaced by the other again and again, while services end and start.
    #[test]
    fn an_older_and_a_newer_version_follow_each_other() {
        if let Some(why) = tools() {
            skip!("{why}");
        }
        let built = Command::new("tests/soak/one-more-field").output_in_turn().expect("built");
        let newer = String::from_utf8(built.stdout).expect("a path");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let newer = PathBuf::from(newer.trim_end());
        for [first, second] in [[onit(), newer.clone()], [newer, onit()]] {
            let sv = SvDir::new();
            let crowd = Crowd::new(&sv);
            let running = start_from(&sv, &put(&sv, &first));
            let crowd = crowd.up();
            let restarted = sleeper(&sv, "restarted");
            for round in 0..as_many(20) {
                let pid = restarted.wait_up();
                put(&sv, if round % 2 == 0 { &second } else { &first });
                let answer = upgrade(&sv, running.pid());
                assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "round {round}");
                restarted.order(b"t");
                restarted.wait_other(pid);
            }
            crowd.are_unaffected();
            running.signal(Signal::SIGTERM);
            assert_eq!((running.wait_end(SOON), running.stderr().as_str()), (Ending::Code(0), ""));
            crowd.lines_are_complete();
        }
    }
}

#[test]
fn what_cannot_be_executed_is_told_to_both_and_the_old_one_goes_on() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let place = put(&sv, &onit());
    let running = start_from(&sv, &place);
    let pid = web.wait_up();
    let refused = |why: &str| {
        let answer = upgrade(&sv, running.pid());
        let told = format!("onit: {} cannot be executed: {why}; the running one goes on\n", place.display());
        assert_eq!((answer.code, answer.stderr), (1, told));
        running.wait_said(&[&format!("onit: cannot execute {}: {why}; going on as before", place.display())]);
        assert_eq!(web.wait_up(), pid);
    };
    fs::remove_file(&place).expect("rm");
    refused("No such file or directory");
    let text = sv.service_at(sv.root().join("text")).file("text", "no program\n").create().path().join("text");
    put(&sv, &text);
    refused("Permission denied");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("chmod");
    refused("Exec format error");
    // What runs, but is no onit, would be the end of everything: it is not even asked for.
    let stderr = running.stderr();
    put(&sv, Path::new("/bin/true"));
    let answer = upgrade(&sv, running.pid());
    let told = format!("onit: {} is no onit that can go on from the running one\n", place.display());
    assert_eq!((answer.code, answer.stderr, running.stderr()), (1, told, stderr));
    put(&sv, &onit());
    assert_eq!(upgrade(&sv, running.pid()).code, 0);
    web.order(b"t");
    web.wait_other(pid);
    // Failing works too after all this.
    running.signal(Signal::SIGSEGV);
    running.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
}

/// What stands at the path is the other user's: root does not lend it any rights by asking.
#[test]
fn what_another_user_has_put_there_is_tried_with_that_users_rights_or_only_read() {
    if let Some(why) = any_uid_any_root::why_not() {
        skip!("{why}");
    }
    for beside in [true, false] {
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let mut words = given_to(&sv, 54_502);
        if !beside {
            words.splice(0..0, ["unshare", "--mount", "--"].map(str::to_owned));
        }
        let onit = sv.spawn_words(&words);
        let pid = web.wait_up();
        let caught = web.path().join("caught");
        let trap =
            sv.service_at(sv.root().join("trap")).exec("trap", &format!("#!/bin/sh\nid -u >>{}\n", caught.display()));
        put(&sv, &trap.create().path().join("trap"));
        let answer = upgrade(&sv, onit.pid());
        assert!(answer.code == 1 && answer.stderr.contains("is no onit that can go on"), "{answer:?}");
        let ran = fs::read_to_string(&caught).ok();
        assert_eq!(ran.as_deref(), beside.then_some("54502\n"), "root has executed it");
        put(&sv, &crate::svdir::onit());
        assert_eq!(
            upgrade(&sv, onit.pid()),
            crate::svdir::Output { code: 0, stdout: String::new(), stderr: String::new() }
        );
        assert_eq!(web.wait_up(), pid);
    }
}

#[test]
fn who_is_no_supervisor_cannot_be_upgraded() {
    let sv = SvDir::new();
    let main = sv.spawn_words(&[onit().to_str().expect("a printable path"), "--", "sh", "-c", "echo; exec sleep 1000"]);
    main.wait_for("the main process", SOON, || (!main.stdout().is_empty()).then_some(()));
    let another = sv.spawn_words(&["sleep", "1000"]); // not us: another test here may look into a journal
    for pid in [another.pid(), main.pid()] {
        let answer = upgrade(&sv, pid);
        let told = format!("onit: process {pid} is no supervisor that can be upgraded\n");
        assert_eq!((answer.code, answer.stderr), (1, told));
    }
    assert_eq!(main.stderr(), "");
}

/// Who has been accepted is hung up on, and asks again; who was to give orders to many gives them to all.
#[test]
fn a_verb_does_what_it_was_told_although_the_supervisor_is_replaced_all_the_time() {
    let sv = SvDir::new();
    let names: Vec<String> = (0..as_many(50)).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| _ = sleeper(&sv, name));
    sv.service("job@").run("exec sleep 1000").create();
    let onit = crate::verbs::start(&sv, UnderTest::Onit);
    let verbs: [&[&str]; 8] = [
        &["down", "-t", "40", "s*"],
        &["wait", "down", "-t", "40", "s*"],
        &["up", "-t", "40", "s*"],
        &["scale", "job=3"],
        &["history", "s1"],
        &["status", "s1", "s2"],
        &["list"],
        &["rescan"],
    ];
    thread::scope(|scope| {
        let caller = scope.spawn(|| (0..5).for_each(|_| verbs.iter().for_each(|words| _ = well(&sv, words))));
        while !caller.is_finished() {
            assert_eq!(upgrade(&sv, onit.pid()).code, 0);
        }
        caller.join().expect("done as told");
    });
}
