//! When a service is ready: a newline in a pipe, s6's way; a time that it has lived; and what follows if it is not.

use crate::any_uid_any_root::{as_a_stranger, view, why_not};
use crate::crash_and_upgrade::wait_idle;
use crate::proc;
use crate::restarts::{told, wait_state};
use crate::svdir::{SOON, Service, SvDir, UnderTest, missing_tools, onit, send, skip, wait_for};
use crate::verbs::{fails, json, start, verb, well};
use nix::sys::signal::Signal;
use std::fs;

/// A `run` that says on descriptor 4 that it is ready once the file `go` is there, and not by anything before.
const SAYS: &str = "printf 'not yet' >&4; while [ ! -e go ]; do sleep 0.02; done; printf ', but now\\n' >&4; exec 4>&-; exec sleep 1000";

fn lives(sv: &SvDir, name: &str) -> serde_json::Value {
    json(&well(sv, &["history", "--json", name]))
}

#[test]
fn a_newline_in_the_pipe_makes_it_ready() {
    for file in [("notification-fd", "4"), ("readiness", "fd 4")] {
        let sv = SvDir::new();
        let web = sv.service("web").run(SAYS).file(file.0, file.1).create();
        let onit = start(&sv, UnderTest::Onit);
        let starting = wait_state(&sv, "web", "starting");
        assert!(starting["ready"] == false && starting["pid"].is_u64(), "{starting}");
        web.wait_up(); // for stock tools it runs
        assert_eq!(verb(&sv, &["health"]).code, 1);
        fails(&sv, &["wait", "-t", "0.1", "ready", "web"], 99, &["onit: web: not "]);
        assert!(lives(&sv, "web")[0]["ready"].is_null());
        web.write("go", "");
        well(&sv, &["wait", "ready", "web"]);
        let up = told(&sv, "web");
        assert_eq!((&up["state"], &up["ready"], &up["pid"]), (&"up".into(), &true.into(), &starting["pid"]));
        assert!(lives(&sv, "web")[0]["ready"].is_f64() && verb(&sv, &["health"]).code == 0);
        // The next start begins anew.
        std::fs::remove_file(web.path().join("go")).expect("removed");
        well(&sv, &["restart", "--no-wait", "web"]);
        wait_for("another start", SOON, || {
            Some(told(&sv, "web")).filter(|told| told["pid"] != up["pid"] && told["state"] == "starting")
        });
        web.write("go", "");
        well(&sv, &["wait", "ready", "web"]);
        assert_eq!(onit.stderr(), "");
    }
}

#[test]
fn a_setter_waits_until_what_it_starts_is_ready() {
    let sv = SvDir::new();
    let web =
        sv.service("web").run("sleep 0.3; echo >&3; exec sleep 1000").file("notification-fd", "3").down().create();
    let _onit = start(&sv, UnderTest::Onit);
    well(&sv, &["start", "web"]);
    assert_eq!(told(&sv, "web")["ready"], true);
    let pid = web.wait_up();
    well(&sv, &["restart", "web"]);
    assert!(told(&sv, "web")["ready"] == true && web.wait_up() != pid);
}

/// s6's own program and ours, and its own supervisor: the same files mean the same to all.
#[test]
fn s6_notifyoncheck_tells_onit_as_it_tells_s6() {
    if let Some(why) = missing_tools(&["s6-notifyoncheck", "s6-supervise", "s6-svstat"]) {
        skip!("{why}");
    }
    let ours = format!("{} s6-notifyoncheck", onit().display());
    for program in ["s6-notifyoncheck", &ours] {
        for which in [UnderTest::Onit, UnderTest::S6Supervise] {
            is_told_after_a_check(which, program);
        }
    }
}

fn is_told_after_a_check(which: UnderTest, program: &str) {
    let sv = SvDir::new();
    let run = format!("echo $$ >pid; exec {program} -d -w 20 -n 0 sleep 1000");
    let web = sv.service("web").run(&run).file("notification-fd", "3");
    // The stock one looks for the end of the service there, and onit makes none.
    let web = if program == "s6-notifyoncheck" { web.dir("event") } else { web };
    let web = web.exec("data/check", "#!/bin/sh\ntouch asked\nexec test -e go\n").create();
    let (_onit, _s6);
    let is_ready: Box<dyn Fn() -> bool> = if which == UnderTest::Onit {
        _onit = start(&sv, which);
        Box::new(|| told(&sv, "web")["ready"] == true)
    } else {
        _s6 = sv.start_on(which, &web);
        Box::new(|| sv.tool("s6-svstat", &["-o", "ready", &web.path().display().to_string()]).stdout == "true\n")
    };
    wait_for("its check", SOON, || web.path().join("asked").exists().then_some(()));
    assert!(!is_ready(), "{which:?} {program}");
    web.write("go", "");
    wait_for("readiness", SOON, || is_ready().then_some(()));
    let comm = format!("/proc/{}/comm", web.wait_pid("pid"));
    wait_for("sleep", SOON, || fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n").then_some(()));
}

#[test]
fn our_s6_notifyoncheck_serves_a_directory_that_onit_may_not_write_to() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let run = format!("exec {} s6-notifyoncheck sleep 1000", onit().display());
    sv.service("web").run(&run).file("notification-fd", "3").exec("data/check", "#!/bin/sh\nexit 0\n").create();
    let onit = sv.spawn_words(&as_a_stranger(&sv, 54_410));
    let ready = || {
        json(&verb(&sv, &["status", "--json", &view(&sv).join("web").display().to_string()]).stdout)[0]["ready"] == true
    };
    onit.wait_for("readiness", SOON, || ready().then_some(()));
}

#[test]
fn our_s6_notifyoncheck_ends_a_check_that_takes_too_long() {
    let sv = SvDir::new();
    let run = format!("exec {} s6-notifyoncheck -t 2000 -n 2 -w 20 -3 1 sleep 1000", onit().display());
    let web = sv.service("web").run(&run).exec("data/check", "#!/bin/sh\necho $$ >>pids\nexec sleep 1000\n").create();
    let _onit = start(&sv, UnderTest::Onit);
    let pids = wait_for("two checks", SOON, || {
        let pids = fs::read_to_string(web.path().join("pids")).unwrap_or_default();
        let pids: Vec<u32> = pids.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    });
    wait_for("their end", SOON, || pids.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
    assert_eq!(told(&sv, "web")["state"], "up");
}

/// It knows when the service has ended, and asks no more.
#[test]
fn our_s6_notifyoncheck_ends_with_its_service() {
    for options in ["", "-d", "-w 0", "-t 600000"] {
        let sv = SvDir::new();
        let run = format!("exec {} s6-notifyoncheck {options} -s 0 -n 0 -3 1 sleep 1000", onit().display());
        let check = "#!/bin/sh\nps -o ppid= -p $$ >parent\nmv parent asker\n[ -e slow ] || exit 1\nexec sleep 1000\n";
        let web = sv.service("web").run(&run).exec("data/check", check);
        let web = if options == "-t 600000" { web.file("slow", "") } else { web }.create();
        let _onit = start(&sv, UnderTest::Onit);
        let asker = wait_for("a question", SOON, || fs::read_to_string(web.path().join("asker")).ok());
        let asker: u32 = asker.trim().parse().expect("a pid");
        assert!(proc::is_alive(asker), "{options}");
        well(&sv, &["stop", "web"]);
        wait_for("its end", SOON, || (!proc::is_alive(asker)).then_some(()));
    }
}

#[test]
fn what_has_lived_for_so_long_is_ready_and_no_sooner() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").file("readiness", "after 400ms").create();
    sv.service("dies")
        .run("exit 3")
        .file("readiness", "after 1h")
        .file("start-retries", "2")
        .file("backoff", "20ms 20ms 1h")
        .create();
    let onit = start(&sv, UnderTest::Onit);
    well(&sv, &["wait", "ready", "web"]);
    let life = lives(&sv, "web")[0].clone();
    let [start, ready] = ["start", "ready"].map(|key| life[key].as_f64().expect("a time"));
    assert!(ready - start >= 0.399, "{life}");
    wait_state(&sv, "dies", "failed");
    assert_eq!(lives(&sv, "dies").as_array().expect("lives").len(), 3);
    onit.wait_said(&[
        "onit: dies: 3 starts ended before it was ready (start-retries), and the last one exited with 3: not",
    ]);
}

#[test]
fn what_is_not_ready_in_its_time_is_stopped_and_has_failed_to_start() {
    let sv = SvDir::new();
    let deaf = "trap 'echo term >>got' TERM; while :; do sleep 0.05; done";
    let web = sv
        .service("web")
        .run(deaf)
        .file("notification-fd", "3")
        .file("timeout-up", "2000")
        .file("timeout-kill", "2000");
    let web = web.file("start-retries", "1").file("backoff", "20ms 20ms 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "failed");
    onit.wait_said(&["onit: web: not ready within 2s (timeout-up); stopping it"]);
    onit.wait_said(&[
        "onit: web: 2 starts ended before it was ready (start-retries), and the last one was killed by SIGKILL",
    ]);
    assert_eq!(web.text("got"), "term\nterm\n", "first TERM, then KILL");
}

/// What says so has ended, or says anything but a newline.
#[test]
fn a_pipe_that_is_closed_without_a_newline_makes_nothing_ready() {
    let sv = SvDir::new();
    let web = sv.service("web").run("head -c 1000 /dev/zero >&3; exec 3>&-; echo >closed; exec sleep 1000");
    let web = web.file("notification-fd", "3").create();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_text("closed", |text| !text.is_empty());
    assert_eq!(told(&sv, "web")["state"], "starting");
    wait_idle(&onit); // the pipe is not looked at again
    assert_eq!(onit.stderr(), "");
}

/// The pipe of the life before may be reported when that of the next one is there already.
#[test]
fn a_run_that_ends_before_it_is_ready_and_starts_again_at_once_holds_nothing_up() {
    let sv = SvDir::new();
    let web = sv.service("web").run(SAYS).file("notification-fd", "4").file("backoff", "10ms 10ms 1h").create();
    let other = sv.service("other").run("exec sleep 1000").create();
    let onit = start(&sv, UnderTest::Onit);
    let mut pid = web.wait_up();
    for round in 0..20 {
        wait_for("a life that is longer than its pause", SOON, || {
            told(&sv, "web")["seconds"].as_f64().filter(|lived| *lived > 0.02)
        });
        if round % 2 == 0 {
            send(pid, Signal::SIGKILL);
        } else {
            web.control(b"t").expect("an order");
        }
        pid = web.wait_other(pid);
        assert_eq!(told(&sv, "web")["ready"], false);
    }
    let before = other.wait_up();
    other.control(b"t").expect("an order");
    other.wait_other(before);
    web.write("go", "");
    well(&sv, &["wait", "ready", "web"]);
    assert!(onit.ended().is_none());
}

#[test]
fn a_service_that_floods_its_pipe_is_not_listened_to() {
    let sv = SvDir::new();
    let web = sv
        .service("web")
        .run("exec cat /dev/zero >&3")
        .file("notification-fd", "3")
        .file("backoff", "1h 1h 1h")
        .create();
    let onit = start(&sv, UnderTest::Onit);
    onit.wait_said(&["onit: web: wrote 4096 bytes where a newline means ready, and none; not listening"]);
    onit.wait_said(&["onit: web: was killed by SIGPIPE"]);
    web.wait_for("no process", |status| status.pid().is_none());
}

/// The signal and the time to KILL are those of any stop.
#[test]
fn what_is_late_is_stopped_as_by_an_order() {
    let sv = SvDir::new();
    let run = "trap 'echo int >>got' INT; trap 'echo term >>got' TERM; while :; do sleep 0.05; done";
    let web =
        sv.service("web").run(run).file("notification-fd", "3").file("timeout-up", "2000").file("timeout-kill", "2000");
    let web = web.file("down-signal", "INT").file("backoff", "1h 1h 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "backoff");
    assert_eq!(
        (web.text("got").as_str(), &told(&sv, "web")["exit"]["signal"]),
        ("int\n", &9.into()),
        "{}",
        onit.stderr()
    );
}

fn descriptors(service: &Service) -> Vec<String> {
    let dir = std::fs::read_dir(format!("/proc/{}/fd", service.wait_up())).expect("its descriptors");
    let mut all: Vec<_> =
        dir.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

#[test]
fn only_run_gets_the_descriptor_and_nothing_else_of_it() {
    let sv = SvDir::new();
    let web = sv.service("web").exec("run", "#!/usr/bin/tail -f\n").file("notification-fd", "7");
    let lists = "#!/bin/sh\nls /proc/self/fd >fds\n";
    let web = web.exec("setup", lists).exec("finish", lists).log("exec cat >/dev/null").create();
    let other = sv.service("other").exec("run", "#!/usr/bin/tail -f\n").create();
    let _onit = start(&sv, UnderTest::Onit);
    for service in [&web, &other] {
        // Before that, it has what we have.
        let is_tail = || proc::command_line(service.wait_up()).starts_with("/usr/bin/tail").then_some(());
        wait_for("tail", SOON, is_tail);
    }
    let has = |service| {
        descriptors(service)
            .into_iter()
            .filter(|fd| !["0", "1", "2", "3", "4"].contains(&fd.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!((has(&web), has(&other)), (vec!["7".to_owned()], vec![]));
    let of_setup = web.text("fds");
    assert!(!of_setup.contains('7'), "{of_setup}");
    well(&sv, &["down", "web"]);
    assert!(!web.wait_text("fds", |text| !text.is_empty()).contains('7'));
}

#[test]
fn a_supervisor_that_goes_on_still_hears_it() {
    for is_upgrade in [false, true] {
        let sv = SvDir::new();
        let web = sv.service("web").run(SAYS).file("notification-fd", "4").create();
        let timed = sv.service("timed").run("exec sleep 1000").file("readiness", "after 1s").create();
        let onit = start(&sv, UnderTest::Onit);
        let pid = wait_state(&sv, "web", "starting")["pid"].clone();
        timed.wait_up();
        if is_upgrade {
            assert_eq!(verb(&sv, &["upgrade", &onit.pid().to_string()]).code, 0);
        } else {
            onit.signal(Signal::SIGSEGV);
            onit.wait_said(&["SIGSEGV: starting again"]);
        }
        assert_eq!(told(&sv, "web")["state"], "starting");
        web.write("go", "");
        well(&sv, &["wait", "-t", "60", "ready", "web", "timed"]);
        assert_eq!(told(&sv, "web")["pid"], pid);
        assert!(
            lives(&sv, "timed")[0]["ready"].as_f64() >= lives(&sv, "timed")[0]["start"].as_f64().map(|at| at + 0.999)
        );
    }
}
