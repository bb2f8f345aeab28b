//! As PID 1 of real containers: codes, signals, the terminal, the stop, and storms of orphans.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::container::{Bundle, Container, why_no_containers};
use crate::proc::{self, Glimpse};
use crate::svdir::{Ending, SOON, as_many, is_starved, missing_tools, poll_until, send, skip, wait_for};

/// Lets some threads, each with a bundle of its own, do the work on all of `items`.
fn share<T: Sync>(items: &[T], work: impl Fn(Bundle, &T) -> Bundle + Sync) {
    const HANDS: usize = 4;
    thread::scope(|scope| {
        for hand in 0..HANDS {
            let work = &work;
            scope.spawn(move || items.iter().skip(hand).step_by(HANDS).fold(Bundle::new(), work));
        }
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Codes and signals
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn the_code_of_the_command_is_the_containers() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    // All that mean something to an engine or a shell, and some that do not.
    let codes = [0, 1, 2, 3, 64, 97, 99, 100, 101, 111, 124, 125, 126, 127, 128, 129, 130, 137, 139, 143, 254, 255];
    share(&codes, |bundle, code| {
        let script = format!("exit {code}");
        let bundle = bundle.args(["onit", "--", "sh", "-c", &script]);
        let outcome = bundle.run();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (*code, ""));
        bundle
    });
}

#[test]
fn by_its_name_it_is_what_an_engine_puts_in_front_of_the_command() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = Bundle::new().symlink("/bin/docker-init", "onit").symlink("/bin/dumb-init", "onit");
    let bundle = bundle.args(["docker-init", "--", "sh", "-c", "exit 7"]);
    let outcome = bundle.run();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (7, ""), "{}", outcome.stdout);
    let bundle = bundle.args(["docker-init", "--version"]);
    let outcome = bundle.run();
    assert!(outcome.code == 0 && outcome.stdout.starts_with("tini version "), "{outcome:?}");
    let bundle = bundle.args([
        "dumb-init",
        "-r",
        "15:10",
        "sh",
        "-c",
        "trap 'exit 9' USR1; echo up; while :; do sleep 0.02; done",
    ]);
    let container = bundle.start();
    container.wait_for("the command", SOON, || (container.stdout() == "up\n").then_some(()));
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(9));
}

#[test]
fn every_signal_from_outside_reaches_the_command() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let numbers = (1..=31).chain([34, 40]).filter(|number| ![9, 19].contains(number));
    let traps: String = numbers.clone().map(|number| format!("trap 'echo {number}' {number}; ")).collect();
    let script = format!("{traps}sleep 1000 & echo 0; while :; do wait $!; done");
    let bundle = Bundle::new().args(["onit", "--", "sh", "-c", &script]);
    let container = bundle.start();
    let heard = || container.stdout().lines().map(str::to_owned).collect::<Vec<String>>();
    container.wait_for("the command", SOON, || (heard() == ["0"]).then_some(()));
    // Nobody sends faults; the kernel keeps them from PID 1. CHLD, TTIN and TTOU are about PID 1 itself.
    let kept = [4, 5, 7, 8, 11, 17, 21, 22, 31];
    let mut expected = vec!["0".to_owned()];
    for number in numbers {
        container.kill(&number.to_string());
        if kept.contains(&number) {
            // Two fences: of two that wait, the lower number may be taken first.
            for _ in 0..2 {
                container.kill("10");
                expected.push("10".into());
                container.wait_for("the fence", SOON, || (heard().len() >= expected.len()).then_some(()));
            }
        } else {
            expected.push(number.to_string());
        }
        container.wait_for(&format!("{number}"), SOON, || (heard().len() >= expected.len()).then_some(()));
        assert_eq!(heard(), expected, "after {number}");
    }
    container.kill("STOP");
    container.wait_for("the stop", SOON, || Glimpse::of(container.pid()).filter(Glimpse::is_stopped));
    container.kill("CONT");
    container.wait_for("CONT", SOON, || (heard().last().map(String::as_str) == Some("18")).then_some(()));
    container.kill("KILL");
    assert_eq!(container.wait_end(SOON), Ending::Signal(9));
}

/// 0 to 49.999 ms, another one each time and the same ones in each run.
fn delay() -> Duration {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let n = SEED.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let halvings = 2 * (n >> 61); // most of them are short: what happens at the start happens within a millisecond
    Duration::from_micros(((n >> 20) % 50_000) >> halvings)
}

/// A signal that comes before onit is there is the kernel's to throw away; onit is there as soon as it has said which
/// signals it wants to wait.
fn is_there(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("bin/onit"))
        && Glimpse::of(pid).is_some_and(|glimpse| glimpse.blocked & 1 << (Signal::SIGTERM as i32 - 1) != 0)
}

#[test]
fn term_at_any_moment_of_the_start_ends_the_container() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let numbers: Vec<usize> = (0..as_many(200)).collect();
    share(&numbers, |bundle, number| {
        let dumb_init = bundle.root().join("bin/dumb-init");
        let bundle = if dumb_init.is_symlink() { bundle } else { bundle.symlink("/bin/dumb-init", "onit") };
        let (bundle, ending) = match number / 4 % 4 {
            0 => (bundle.args(["onit", "--", "sleep", "1000"]), Ending::Code(143)),
            1 => (bundle.args(["dumb-init", "sleep", "1000"]), Ending::Code(143)),
            _ => (bundle.script("/sv/web/run", "exec sleep 1000").args(["onit", "run", "/sv"]), Ending::Code(0)),
        };
        let container = bundle.create_with(Stdio::null(), None, None);
        let delay = delay();
        thread::scope(|scope| {
            scope.spawn(|| container.go());
            let start = Instant::now();
            while !is_there(container.pid()) && container.ended().is_none() && start.elapsed() < SOON {
                thread::yield_now();
            }
            thread::sleep(delay);
            send(container.pid(), Signal::SIGTERM);
        });
        assert_eq!(container.wait_end(SOON), ending, "{delay:?} {}", container.stderr());
        drop(container);
        bundle
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// The stop
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_slow_drainer_has_its_time_and_what_is_deaf_beside_it_is_killed() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let drain = "trap 'sleep 2; echo drained; exit 0' TERM; ./helper & until [ -e deaf ]; do sleep 0.01; done; \
                 echo ready; while :; do sleep 0.05; done";
    let bundle = Bundle::new().args(["onit", "run", "/sv"]).script("/sv/drainer/run", drain);
    let bundle = bundle.script("/sv/drainer/helper", "trap '' TERM HUP; echo >deaf; exec sleep 1000");
    let bundle = bundle.script("/sv/web/run", "exec sleep 1000");
    let container = bundle.start();
    container.wait_for("the drainer", SOON, || (container.stdout() == "ready\n").then_some(()));
    let start = Instant::now();
    container.kill("TERM");
    assert_eq!((container.wait_end(SOON), container.stdout().as_str()), (Ending::Code(0), "ready\ndrained\n"));
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    let killed = container.said(&["still running", "killing it"]);
    assert!(killed.len() == 1 && killed[0].starts_with("onit: sleep (pid "), "{}", container.stderr());
}

#[test]
fn fifty_quick_services_stop_and_none_of_them_has_to_be_killed() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let container = with_fifty_services(Bundle::new().args(["onit", "run", "/sv"]));
    let container = container.start();
    wait_for_fifty(&container);
    container.kill("TERM");
    assert_eq!((container.wait_end(SOON), container.stderr().as_str()), (Ending::Code(0), ""));
}

fn with_fifty_services(bundle: Bundle) -> Bundle {
    (0..50).fold(bundle, |bundle, n| bundle.script(&format!("/sv/quick{n}/run"), "exec sleep 1000"))
}

fn wait_for_fifty(container: &Container) {
    let asleep = || proc::children(container.pid()).into_iter().filter(|&pid| proc::command_line(pid) == "sleep 1000");
    container.wait_for("fifty services", SOON, || (asleep().count() >= 50).then_some(()));
}

/// As HEALTHCHECK would ask.
#[test]
fn a_crash_loop_is_seen_from_outside_and_so_is_its_end() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = Bundle::new().args(["onit", "run", "/sv"]).script("/sv/web/run", "exec sleep 1000");
    let bundle = bundle.dir("/run", 0o755).script("/sv/api/run", "[ -e /mended ] && exec sleep 1000; exit 101");
    let bundle = bundle.script("/sv/off/run", "exec sleep 1000").file("/sv/off/down", "", 0o644);
    let container = bundle.start();
    container.service("/sv/web").wait_up();
    let health = || container.exec(["onit", "health"]);
    let reason = container.wait_for("a reason", SOON, || {
        let output = health();
        (output.code == 1 && output.stdout.contains("flapping")).then_some(output.stdout)
    });
    assert!(reason.starts_with("api: ") && reason.contains("101") && reason.lines().count() == 1, "{reason:?}");
    fs::write(container.path("/mended"), "").expect("written");
    let output = container.wait_for("health", SOON * 3, || Some(health()).filter(|output| output.code == 0));
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(container.exec(["onit", "health", "off"]).code, 0, "what is wanted down is as it is wanted");
}

#[test]
fn the_end_of_an_essential_service_is_the_containers() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    for (end, code, words) in [("exit 7", 7, "exited with 7"), ("kill -SEGV $$", 139, "was killed by SIGSEGV")] {
        let run = format!("while [ ! -e /go ]; do sleep 0.01; done; {end}");
        let bundle = Bundle::new().args(["onit", "run", "/sv"]).script("/sv/web/run", "exec sleep 1000");
        let bundle = bundle.script("/sv/vital/run", &run).file("/sv/vital/essential", "on-failure\n", 0o644);
        let container = bundle.start();
        container.service("/sv/web").wait_up();
        container.service("/sv/vital").wait_up();
        fs::write(container.path("/go"), "").expect("written");
        assert_eq!(container.wait_end(SOON), Ending::Code(code), "{}", container.stderr());
        container.wait_said(&["vital", words, "essential"]);
    }
}

#[test]
fn the_command_beside_services_ends_first_and_its_code_is_the_containers() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let log = "trap 'echo service >>/order; exit 0' TERM; echo up >>/order; while :; do sleep 0.01; done";
    // busybox's shell is deaf to QUIT unless told otherwise.
    let command = "echo command up >>/order; trap 'exit 131' QUIT; trap 'sleep 0.2; echo command >>/order; exit 5' TERM; echo ready; \
                   while :; do sleep 0.01; done";
    let bundle = Bundle::new().args(["onit", "run", "/sv", "--", "sh", "-c", command]);
    let bundle = bundle.script("/sv/web/run", log).script("/sv/web/log/run", "cat; echo logger >>/order");
    for signal in ["TERM", "INT", "QUIT", "PWR", "37"] {
        let _ = fs::remove_file(bundle.root().join("order"));
        let container = bundle.start();
        container.wait_for("the command", SOON, || (container.stdout() == "ready\n").then_some(()));
        container
            .wait_for("the service", SOON, || container.text("/order").lines().any(|line| line == "up").then_some(()));
        container.kill(signal);
        // Those which the command does not trap end it.
        let number = match signal {
            "INT" => 2,
            "QUIT" => 3,
            "PWR" => 30,
            other => other.parse().unwrap_or(0),
        };
        let (code, said) = if signal == "TERM" { (5, "command\n") } else { (128 + number, "") };
        assert_eq!(container.wait_end(SOON), Ending::Code(code), "{signal}: {}", container.stderr());
        let order = fs::read_to_string(bundle.root().join("order")).expect("order");
        let lines: BTreeSet<&str> = order.lines().take(2).collect();
        assert_eq!(lines, BTreeSet::from(["up", "command up"]), "{signal}: {order}");
        assert!(order.ends_with(&format!("up\n{said}service\nlogger\n")), "{signal}: {order}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The storm
// ---------------------------------------------------------------------------------------------------------------------

/// Processes that lose their parent in one storm: `ORPHANS`, for the test that takes long.
fn orphans() -> usize {
    std::env::var("ORPHANS").map_or(as_many(10_000), |number| number.parse().expect("ORPHANS is a number"))
}

/// Families of forty lose their parent, half of them before they end.
const STORM: &str = "#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int family = argc > 1 ? atoi(argv[1]) / 40 : 0; family > 0; family--) {
        pid_t parent = fork();
        if (parent == 0) {
            for (int n = 0; n < 40; n++)
                if (fork() == 0) { if (n & 1) usleep(5000); _exit(0); }
            _exit(0);
        }
        if (waitpid(parent, 0, 0) != parent) return 1;
    }
    return 0;
}
";

/// Whoever can link Rust has a C compiler. Nothing else here forks so cheaply.
fn storm_in(bundle: Bundle) -> Bundle {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (source, program) = (place.path().join("storm.c"), place.path().join("storm"));
    fs::write(&source, STORM).expect("written");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-o"]).args([&program, &source]);
    assert!(crate::svdir::spawn(&mut cc).wait().is_ok_and(|done| done.success()), "cc");
    bundle.program_from(&program, "/bin/storm")
}

#[test]
fn a_storm_of_orphans_leaves_no_zombie_costs_about_what_it_costs_tini_and_then_it_sleeps() {
    if let Some(why) = why_no_containers().or_else(|| missing_tools(&["tini", "cc"])) {
        skip!("{why}");
    }
    let fifty = "n=0; while [ $n -lt 50 ]; do n=$((n+1)); (sleep 1000 &); done;";
    let script = |before: &str| format!("{before} storm {} && echo over; exec sleep 1000", orphans());
    let ours = storm_in(with_fifty_services(Bundle::new())).args(["onit", "run", "/sv", "--", "sh", "-c", &script("")]);
    let theirs = storm_in(Bundle::new().program("tini")).args(["tini", "--", "sh", "-c", &script(fifty)]);
    let (ours, theirs) = (ours.start(), theirs.start());
    for container in [&ours, &theirs] {
        container.wait_for("the end of the storm", 3 * SOON, || (container.stdout() == "over\n").then_some(()));
        // The fifty, and the command.
        container
            .wait_for("the last zombie to go", SOON, || (proc::children(container.pid()).len() == 51).then_some(()));
    }
    let (cost, theirs) = (proc::cpu(ours.pid()), proc::cpu(theirs.pid()));
    println!("{cost:?}, tini {theirs:?}");
    // They share the machine with each other and with other tests: twice as much would be a mistake, less is noise, and
    // the kernel counts in hundredths.
    assert!(is_starved() || cost <= 2 * theirs + Duration::from_millis(200), "{cost:?}, and tini {theirs:?}");
    assert!(proc::children(ours.pid()).into_iter().all(proc::is_alive));
    // What has just happened may still be published.
    wait_for("rest", SOON, || {
        let before = proc::naps(ours.pid());
        thread::sleep(Duration::from_millis(1500));
        (proc::naps(ours.pid()) == before).then_some(())
    });
    let before = proc::naps(ours.pid());
    assert_eq!(poll_until(Duration::from_secs(10), || ours.ended()), None);
    assert_eq!(proc::naps(ours.pid()), before, "it woke up although nothing happened");
    assert_eq!(ours.stderr(), "");
}
