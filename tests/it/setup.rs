//! `setup`: what prepares each start of `run`, or is all the work of a oneshot.

use crate::restarts::{told, wait_state};
use crate::slow_exec::Lease;
use crate::svdir::{Ending, Phase, SOON, Service, SvDir, UnderTest, missing_tools, skip, wait_for};
use crate::verbs::{fails, start, verb, well};
use nix::sys::signal::Signal;

/// A line for each script that was run, in their order.
fn ran(service: &Service) -> Vec<String> {
    let lines = std::fs::read_to_string(service.path().join("ran")).unwrap_or_default();
    lines.lines().map(str::to_owned).collect()
}

/// A `setup` that says so, and waits for the file `go` (and is then done).
const WAITS: &str = "echo setup >>ran; while [ ! -e go ]; do sleep 0.02; done";

#[test]
fn run_follows_a_setup_that_succeeds_and_no_other() {
    let sv = SvDir::new();
    let web = sv.service("web").exec("setup", "#!/bin/sh\necho setup >>ran; [ -e go ] || exit 3\n");
    let web = web.run("echo run >>ran; exec sleep 1000").finish("echo finish >>ran").file("backoff", "50ms 50ms 1h");
    let web = web.create();
    let onit = start(&sv, UnderTest::Onit);
    wait_for("three attempts", SOON, || (ran(&web).len() >= 3).then_some(()));
    assert!(ran(&web).iter().all(|line| line == "setup"), "{:?}", ran(&web));
    onit.wait_said(&["onit: web: ./setup exited with 3; trying again"]);
    web.write("go", "");
    let pid = web.wait_up();
    wait_for("run", SOON, || ran(&web).ends_with(&["setup".into(), "run".into()]).then_some(()));
    let before = ran(&web).len();
    web.control(b"t").expect("an order");
    web.wait_other(pid);
    wait_for("run, after all of it", SOON, || (ran(&web)[before..] == ["finish", "setup", "run"]).then_some(()));
    assert_eq!(onit.said(&["./setup"]).len(), 1, "said once: {}", onit.stderr());
}

#[test]
fn a_oneshot_is_done_when_its_setup_is_and_runs_again_when_it_is_told_to() {
    let sv = SvDir::new();
    let job = sv.service("job").exec("setup", "#!/bin/sh\necho setup >>ran\n").create();
    let _onit = start(&sv, UnderTest::Onit);
    assert_eq!(wait_state(&sv, "job", "done")["exit"]["code"], 0);
    assert_eq!((ran(&job).len(), well(&sv, &["health"])), (1, String::new()));
    assert_eq!(job.wait_down().phase(), Phase::Down);
    well(&sv, &["up", "--no-wait", "job"]);
    wait_for("another run", SOON, || (ran(&job).len() == 2).then_some(()));
    wait_state(&sv, "job", "done");
    well(&sv, &["wait", "done", "job"]);
    // Once only, it is as done.
    well(&sv, &["once", "--no-wait", "job"]);
    wait_for("another run", SOON, || (ran(&job).len() == 3).then_some(()));
    wait_state(&sv, "job", "done");
}

#[test]
fn a_oneshot_that_has_failed_is_told_by_the_exit_code_unless_it_has_done_its_work_before() {
    for (mends, code) in [(false, 111), (true, 0)] {
        let sv = SvDir::new();
        let job = sv.service("job").exec("setup", "#!/bin/sh\n[ -e go ] || exit 111\n").create();
        let onit = start(&sv, UnderTest::Onit);
        wait_state(&sv, "job", "failed");
        if mends {
            job.write("go", "");
            well(&sv, &["up", "--no-wait", "job"]);
            wait_state(&sv, "job", "done");
            std::fs::remove_file(job.path().join("go")).expect("removed");
            well(&sv, &["up", "--no-wait", "job"]);
            wait_state(&sv, "job", "failed");
        }
        onit.signal(Signal::SIGTERM);
        assert_eq!(onit.wait_end(SOON), Ending::Code(code), "{}", onit.stderr());
    }
}

#[test]
fn a_setup_that_exits_with_111_has_failed_for_good() {
    let sv = SvDir::new();
    let web = sv.service("web").exec("setup", "#!/bin/sh\necho setup >>ran; exit 111\n").run("echo run >>ran").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "failed");
    onit.wait_said(&[
        "onit: web: ./setup exited with 111, which means a permanent failure: not started again until told",
    ]);
    assert_eq!(ran(&web), ["setup"]);
    fails(&sv, &["wait", "-t", "60", "up", "web"], 1, &["onit: web: not up: failed: ./setup exited with 111"]);
}

#[test]
fn while_it_is_set_up_stock_tools_see_that_nothing_runs_and_an_order_ends_it() {
    let sv = SvDir::new();
    let web = sv.service("web").exec("setup", &format!("#!/bin/sh\n{WAITS}\n")).run("echo run >>ran; exec sleep 1000");
    let web = web.create();
    let _onit = start(&sv, UnderTest::Onit);
    let setup = wait_state(&sv, "web", "setup");
    assert!(setup["pid"].is_u64() && setup["ready"] == false, "{setup}");
    wait_for("setup", SOON, || (ran(&web) == ["setup"]).then_some(()));
    let status = web.wait_for("a status", |status| status.phase() == Phase::Down);
    assert_eq!((status.pid(), status.want()), (None, b'u'));
    assert_eq!(web.text("supervise/stat"), "down\n");
    assert!(well(&sv, &["status"]).contains(" setup "));
    assert_eq!(verb(&sv, &["health"]).code, 1, "it is not up");
    well(&sv, &["down", "web"]);
    let down = wait_state(&sv, "web", "down");
    assert_eq!((down["pid"].is_null(), ran(&web)), (true, vec!["setup".to_owned()]));
    web.write("go", "");
    well(&sv, &["up", "web"]);
    wait_for("run", SOON, || (ran(&web) == ["setup", "setup", "run"]).then_some(()));
}

#[test]
fn a_setup_that_takes_longer_than_timeout_up_is_killed_and_tried_again() {
    let sv = SvDir::new();
    let web = sv.service("web").exec("setup", &format!("#!/bin/sh\ntrap '' TERM\n{WAITS}\n")).file("timeout-up", "200");
    let web = web.run("echo run >>ran; exec sleep 1000").file("backoff", "20ms 20ms 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    onit.wait_said(&["onit: web: ./setup is still running past its time limit; killing it"]);
    onit.wait_said(&["onit: web: ./setup was killed by SIGKILL; trying again"]);
    web.write("go", "");
    web.wait_up();
    wait_for("run", SOON, || (ran(&web).last().is_some_and(|line| line == "run")).then_some(()));
}

#[test]
fn a_supervisor_that_goes_on_knows_what_is_set_up() {
    for is_upgrade in [false, true] {
        let sv = SvDir::new();
        let web =
            sv.service("web").exec("setup", &format!("#!/bin/sh\n{WAITS}\n")).run("echo run >>ran; exec sleep 1000");
        let web = web.create();
        let onit = start(&sv, UnderTest::Onit);
        let pid = wait_state(&sv, "web", "setup")["pid"].clone();
        if is_upgrade {
            assert_eq!(verb(&sv, &["upgrade", &onit.pid().to_string()]).code, 0);
        } else {
            onit.signal(Signal::SIGSEGV);
            onit.wait_said(&["SIGSEGV: starting again"]);
        }
        assert_eq!(told(&sv, "web")["pid"], pid);
        web.write("go", "");
        web.wait_up();
        wait_for("run", SOON, || (ran(&web) == ["setup", "run"]).then_some(()));
    }
}

/// However long the kernel takes to say so.
#[test]
fn a_setup_that_cannot_be_executed_is_tried_again_also_if_that_is_known_late() {
    let sv = SvDir::new();
    let web = sv
        .service("web")
        .exec("setup", "#!/nonexistent\n")
        .run("exec sleep 1000")
        .file("backoff", "50ms 50ms 1h")
        .down();
    let web = web.create();
    let onit = start(&sv, UnderTest::Onit);
    let lease = match Lease::on(&web.path().join("setup")) {
        Ok(lease) => lease,
        Err(error) => skip!("no lease can be had here: {error}"),
    };
    web.control(b"u").expect("an order");
    wait_state(&sv, "web", "setup"); // and is not executed yet
    drop(lease);
    onit.wait_said(&["onit: web: cannot start ./setup: No such file or directory"]);
    assert_ne!(told(&sv, "web")["state"], "failed");
    web.write_script("setup", "");
    web.wait_up();
}

/// Once only: it is not tried again, and whoever asked for it is told.
#[test]
fn a_setup_that_fails_when_it_was_to_run_once_has_failed() {
    let sv = SvDir::new();
    let web = sv
        .service("web")
        .exec("setup", "#!/bin/sh\necho setup >>ran; sleep 0.2; exit 3\n")
        .run("exec sleep 1000")
        .down();
    let web = web.create();
    let onit = start(&sv, UnderTest::Onit);
    fails(&sv, &["once", "web"], 1, &["onit: web: "]);
    assert_eq!((wait_state(&sv, "web", "failed")["want"].as_str(), ran(&web).len()), (Some("once"), 1));
    onit.wait_said(&["onit: web: ./setup exited with 3: not started again until told"]);
    let job = sv.service("job").exec("setup", "#!/bin/sh\nsleep 0.2; echo setup >>ran\n").down().create();
    wait_for("it is taken in", SOON, || job.is_supervised().then_some(()));
    well(&sv, &["once", "job"]);
    assert_eq!((ran(&job).len(), &told(&sv, "job")["state"]), (1, &"done".into()));
}

#[test]
fn other_tools_know_no_setup() {
    for which in [UnderTest::OnitAs("runsvdir"), UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web =
            sv.service("web").exec("setup", "#!/bin/sh\necho setup >>ran; exit 111\n").run("exec sleep 1000").create();
        let _supervisor = sv.start(which);
        web.wait_up();
        assert_eq!(ran(&web), [""; 0], "{which:?}");
    }
}
