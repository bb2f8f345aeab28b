//! Whether, when and how often a service is started again: `restart`, `success-codes`, `backoff`, `max-restarts`.

use crate::svdir::InTurn as _;
use crate::svdir::{Ending, SOON, Service, SvDir, UnderTest, missing_tools, send, skip, wait_for};
use crate::verbs::{json, start, verb, well};
use nix::sys::signal::Signal;

/// What `onit status --json` says of it.
pub fn told(sv: &SvDir, name: &str) -> serde_json::Value {
    let said = verb(sv, &["status", "--json", name]);
    let all: Vec<serde_json::Value> =
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    all.into_iter().next().unwrap_or_default() // it may not be taken in yet
}

pub fn wait_state(sv: &SvDir, name: &str, state: &str) -> serde_json::Value {
    wait_for(state, SOON, || Some(told(sv, name)).filter(|told| told["state"] == state))
}

/// When it was started, each time, by the clock of the supervisor.
fn begun(sv: &SvDir, name: &str) -> Vec<f64> {
    let lives = json(&well(sv, &["history", "--json", name]));
    lives.as_array().expect("lives").iter().filter_map(|life| life["start"].as_f64()).collect()
}

/// When its `run` was started, each time, by its own clock.
fn starts(service: &Service) -> Vec<f64> {
    let times = std::fs::read_to_string(service.path().join("starts")).unwrap_or_default();
    times.lines().map(|time| time.parse().expect("a time")).collect()
}

/// Notes its start, and ends with this code.
fn ending(code: u8) -> String {
    format!("cut -d' ' -f1 /proc/uptime >>starts; exit {code}")
}

#[test]
fn the_pause_doubles() {
    let sv = SvDir::new();
    let web = sv.service("web").run(&ending(3)).file("backoff", "100ms 2s 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_for("six starts", SOON, || (starts(&web).len() >= 6).then_some(()));
    let times = begun(&sv, "web");
    // 0.1, 0.2, 0.4, 0.8, 1.6 s; a tenth less is allowed. A busy machine is only later.
    for (gap, least) in times.windows(2).map(|pair| pair[1] - pair[0]).zip([0.1, 0.18, 0.36, 0.72, 1.44]) {
        assert!(gap >= least - 0.001, "{gap} is less than {least}: {times:?}");
    }
    let backoff = wait_state(&sv, "web", "backoff");
    assert_eq!(backoff["want"], "up");
    assert!(onit.stderr().contains("web: exited with 3 within a second of its start"), "{}", onit.stderr());
}

#[test]
fn after_so_many_ends_it_has_failed_until_an_order_says_up() {
    let sv = SvDir::new();
    let web = sv.service("web").run(&ending(3)).file("backoff", "20ms 20ms 1h").file("max-restarts", "5/1h").create();
    let onit = start(&sv, UnderTest::Onit);
    let failed = wait_state(&sv, "web", "failed");
    assert_eq!(starts(&web).len(), 6, "a start and five restarts");
    assert_eq!(failed["want"], "down");
    let why = "6 ends within 1h (max-restarts), and the last one exited with 3: not started again until told";
    onit.wait_said(&[&format!("onit: web: {why}")]);
    assert_eq!(verb(&sv, &["health"]).code, 1, "that is a failure");
    assert!(verb(&sv, &["status", "web"]).stdout.contains("6 ends within 1h"), "{:?}", verb(&sv, &["status", "web"]));
    verb(&sv, &["up", "--no-wait", "web"]);
    wait_for("six more starts", SOON, || (starts(&web).len() >= 12).then_some(()));
    wait_state(&sv, "web", "failed");
    assert_eq!(starts(&web).len(), 12, "an order begins anew");
    assert_eq!(onit.said(&["6 ends within 1h"]).len(), 2, "{}", onit.stderr());
}

#[test]
fn what_ends_with_the_last_allowed_restart_ends_everything_if_it_is_essential_on_giveup() {
    for (code, whole) in [(3, 3), (0, 1)] {
        let sv = SvDir::new();
        let limits = |service| sv.service(service).file("backoff", "20ms 20ms 1h").file("max-restarts", "2/1h");
        let web = limits("web").run(&ending(code)).file("essential", "on-giveup").create();
        sv.service("other").run("exec sleep 1000").create();
        let onit = sv.start(UnderTest::Onit);
        assert_eq!((onit.wait_end(SOON), starts(&web).len()), (Ending::Code(whole), 3), "{}", onit.stderr());
    }
}

#[test]
fn whether_it_is_started_again_depends_on_restart_and_success_codes() {
    let sv = SvDir::new();
    let make = |name: &str, restart: &str, code: u8| {
        let service =
            sv.service(name).file("restart", restart).file("success-codes", "3, TERM").file("backoff", "20ms 20ms 1h");
        service.run(&ending(code)).create()
    };
    let onit = start(&sv, UnderTest::Onit);
    let done = [make("a", "never", 0), make("b", "never", 3), make("c", "on-failure", 0), make("d", "on-failure", 3)];
    let failed = [make("e", "never", 4)];
    let again = [make("f", "on-failure", 4), make("g", "always", 0)];
    for service in &done {
        assert_eq!(wait_state(&sv, service.name(), "done")["want"], "down");
    }
    wait_state(&sv, "e", "failed");
    onit.wait_said(&["onit: e: exited with 4, and restart says never: not started again until told"]);
    for service in &again {
        wait_for("restarts", SOON, || (starts(service).len() >= 3).then_some(()));
    }
    assert!(done.iter().chain(&failed).all(|service| starts(service).len() == 1));
    // A signal is a success as well.
    let killed =
        sv.service("h").file("restart", "on-failure").file("success-codes", "3 USR1").run("exec sleep 1000").create();
    send(killed.wait_up(), Signal::SIGUSR1);
    wait_state(&sv, "h", "done");
    verb(&sv, &["down", "f", "g"]);
}

#[test]
fn run_that_exits_with_100_has_failed_for_good_unless_that_is_a_success() {
    let sv = SvDir::new();
    let web = sv.service("web").run(&ending(100)).create();
    let fine =
        sv.service("fine").run(&ending(100)).file("success-codes", "100").file("backoff", "20ms 20ms 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "failed");
    onit.wait_said(&["onit: web: exited with 100, which means a permanent failure: not started again until told"]);
    wait_for("restarts", SOON, || (starts(&fine).len() >= 3).then_some(()));
    assert_eq!(starts(&web).len(), 1);
}

/// As runsv and supervise: these files are not read, and the pause is that of the tool.
#[test]
fn other_tools_do_not_know_these_files() {
    for which in [UnderTest::OnitAs("runsvdir"), UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run(&ending(100)).file("restart", "never").file("max-restarts", "0/1h").create();
        let _supervisor = sv.start(which);
        wait_for("restarts", SOON, || (starts(&web).len() >= 3).then_some(()));
        let times = starts(&web);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 0.98), "{which:?}: {times:?}");
    }
}

#[test]
fn an_end_that_an_order_or_its_signal_has_caused_counts_towards_no_limit() {
    let sv = SvDir::new();
    let web =
        sv.service("web").run("exec sleep 1000").file("backoff", "20ms 20ms 1h").file("max-restarts", "1/1h").create();
    let _onit = start(&sv, UnderTest::Onit);
    let mut pid = web.wait_up();
    for order in [b"t", b"i", b"k", b"h", b"1", b"r"] {
        web.control(order).expect("an order");
        pid = web.wait_other(pid);
    }
    for _ in 0..2 {
        assert_eq!(told(&sv, "web")["state"], "up");
        send(pid, Signal::SIGTERM); // not through onit
        if told(&sv, "web")["state"] != "failed" {
            pid = wait_for("an end", SOON, || {
                let told = told(&sv, "web");
                let other = told["pid"].as_u64().filter(|other| *other != u64::from(pid));
                if told["state"] == "failed" { Some(pid) } else { other.map(|other| other as u32) }
            });
        }
    }
    wait_state(&sv, "web", "failed");
}

/// Neither a fault nor an upgrade forgets how often it has ended, nor starts it before its time.
#[test]
fn a_supervisor_that_goes_on_remembers_the_pause_and_what_it_counts() {
    for is_upgrade in [false, true] {
        let sv = SvDir::new();
        let web = sv.service("web").run(&ending(3)).file("backoff", "1s 1s 1h").file("max-restarts", "4/1h").create();
        let slow = sv.service("slow").run(&ending(3)).file("backoff", "1h 1h 1h").create();
        let onit = start(&sv, UnderTest::Onit);
        wait_for("a start", SOON, || (!starts(&web).is_empty() && starts(&slow).len() == 1).then_some(()));
        wait_state(&sv, "web", "backoff");
        if is_upgrade {
            let said = verb(&sv, &["upgrade", &onit.pid().to_string()]);
            assert_eq!(said.code, 0, "{said:?}");
        } else {
            onit.signal(Signal::SIGSEGV);
            onit.wait_said(&["SIGSEGV: starting again"]);
        }
        wait_state(&sv, "web", "failed");
        assert_eq!((starts(&web).len(), starts(&slow).len()), (5, 1), "{}", onit.stderr());
        let begun = begun(&sv, "web");
        assert!(begun.windows(2).all(|pair| pair[1] - pair[0] >= 0.999), "{begun:?}");
        assert_eq!(told(&sv, "slow")["state"], "backoff");
    }
}

#[test]
fn deaths_are_remembered_for_the_tools_of_s6() {
    if let Some(why) = missing_tools(&["s6-svdt", "s6-permafailon"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run(&ending(3)).file("backoff", "10ms 10ms 1h").file("max-death-tally", "2");
    let web = web.finish("exec s6-permafailon 1000 2 3 true").create();
    let quiet = sv.service("quiet").run("exec sleep 1000").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "failed");
    assert_eq!(starts(&web).len(), 2, "s6-permafailon has seen two deaths");
    let told = || {
        let mut command = std::process::Command::new("s6-svdt");
        String::from_utf8(command.arg(web.path()).output_in_turn().expect("s6-svdt").stdout).expect("text")
    };
    let last_word = |told: &str| told.lines().map(|line| line.split_once(' ').expect("words").1.to_owned()).collect();
    let ends: Vec<String> = last_word(&told());
    assert_eq!(ends, ["exitcode 3"; 2]);
    // What it has written is true for one that goes on, and no more is kept than wanted.
    assert_eq!(verb(&sv, &["upgrade", &onit.pid().to_string()]).code, 0);
    std::fs::remove_file(web.path().join("finish")).expect("removed");
    web.write("run", "#!/bin/sh\nexec sleep 1000\n");
    verb(&sv, &["up", "--no-wait", "web"]);
    send(web.wait_up(), Signal::SIGKILL);
    let ends = wait_for("another death", SOON, || {
        Some(last_word(&told())).filter(|ends: &Vec<String>| ends.iter().any(|end| end.starts_with("signal")))
    });
    assert!(ends.len() == 2 && ends[0] == "exitcode 3" && ends[1].starts_with("signal SIGKILL"), "{ends:?}");
    send(quiet.wait_up(), Signal::SIGKILL);
    quiet.wait_up();
    assert!(!quiet.path().join("supervise/death_tally").exists(), "nobody has asked");
    assert_eq!(onit.said(&["death_tally"]).len(), 0, "{}", onit.stderr());
}

#[test]
fn a_death_that_cannot_be_noted_is_told_and_nothing_else_fails() {
    let sv = SvDir::new();
    let web = sv.service("web").run(&ending(3)).file("backoff", "10ms 10ms 1h").file("max-death-tally", "9").create();
    web.write("down", "");
    let onit = start(&sv, UnderTest::Onit);
    web.wait_down();
    // What stands in the way: directories that are not empty.
    for name in ["death_tally", "death_tally.new"] {
        std::fs::create_dir_all(web.path().join("supervise").join(name).join("x")).expect("a directory");
    }
    verb(&sv, &["up", "--no-wait", "web"]);
    wait_for("three starts", SOON, || (starts(&web).len() >= 3).then_some(()));
    onit.wait_said(&["onit: web: cannot write supervise/death_tally: ", "; this death is not counted"]);
    assert_eq!(onit.said(&["death_tally"]).len(), 1, "said once: {}", onit.stderr());
}
