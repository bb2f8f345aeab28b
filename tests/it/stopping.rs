//! How a service is stopped: by the program `stop`, or a signal; and which signal `onit reload` sends.

use crate::restarts::{told, wait_state};
use crate::svdir::{SOON, Service, SvDir, UnderTest, missing_tools, skip, wait_for};
use crate::verbs::{start, verb, well};
use nix::sys::signal::Signal;

/// A `run` that notes each TERM, and ends when there is a file `end`.
const STUBBORN: &str = "trap 'echo TERM >>got' TERM; : >on; while [ ! -e end ]; do sleep 0.02; done";

fn got(service: &Service) -> String {
    std::fs::read_to_string(service.path().join("got")).unwrap_or_default()
}

/// Its traps are set.
fn wait_on(service: &Service) {
    service.wait_up();
    wait_for("it to listen", SOON, || service.path().join("on").exists().then_some(()));
}

fn wait_got(service: &Service, what: &str) {
    wait_for(what, SOON, || (got(service) == what).then_some(()));
}

#[test]
fn stop_asks_the_service_to_end_in_place_of_the_signal() {
    let sv = SvDir::new();
    let stop = "#!/bin/sh\necho \"$# $ONE\" >>got; : >end\n";
    let web = sv.service("web").run(STUBBORN).exec("stop", stop).file("env/ONE", "1").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["down", "web"]);
    assert_eq!(got(&web), "0 1\n", "it has no arguments, and the environment of the service");
    std::fs::remove_file(web.path().join("end")).expect("removed");
    well(&sv, &["up", "web"]);
    let pid = web.wait_up();
    std::fs::write(web.path().join("stop"), "#!/bin/sh\necho again >>got; : >end; sleep 0.2; rm end\n").expect("new");
    well(&sv, &["restart", "web"]);
    assert_ne!(web.wait_up(), pid);
    assert_eq!((got(&web).as_str(), onit.said(&["web:"]).len()), ("0 1\nagain\n", 0), "{}", onit.stderr());
}

#[test]
fn control_t_comes_before_stop_and_a_stop_that_fails_before_the_signal() {
    let sv = SvDir::new();
    let stop = "#!/bin/sh\necho stop >>got; exit 3\n";
    let web = sv.service("web").run(STUBBORN).exec("stop", stop);
    let web = web.exec("control/t", "#!/bin/sh\necho t >>got; [ -e handled ]\n").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["down", "--no-wait", "web"]);
    wait_got(&web, "t\nstop\nTERM\n");
    onit.wait_said(&["onit: web: ./stop exited with 3; sending TERM"]);
    web.write("handled", "");
    well(&sv, &["down", "--no-wait", "web"]);
    wait_got(&web, "t\nstop\nTERM\nt\n");
    web.write("end", "");
    web.wait_down();
    assert_eq!(got(&web), "t\nstop\nTERM\nt\n");
}

#[test]
fn a_stop_that_cannot_be_executed_lets_the_signal_be_sent() {
    let sv = SvDir::new();
    let web = sv.service("web").run(STUBBORN).file("stop", "#!/bin/sh\n").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["down", "--no-wait", "web"]);
    wait_got(&web, "TERM\n");
    onit.wait_said(&["onit: web: cannot start ./stop: Permission denied; sending the signal"]);
    web.write("end", "");
    web.wait_down();
}

#[test]
fn a_late_stop_is_killed_the_signal_sent_and_then_the_service_killed() {
    let sv = SvDir::new();
    let stop = "#!/bin/sh\necho stop >>got; exec sleep 1000\n";
    let web = sv.service("web").run(STUBBORN).exec("stop", stop).file("timeout-kill", "300").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["down", "-t", "60", "web"]);
    assert_eq!(got(&web), "stop\nTERM\n");
    let lines = onit.said(&["is still running past its time limit; killing it"]);
    assert!(lines.len() == 2 && lines[0].contains("./stop") && lines[1].contains("./run"), "{lines:?}");
}

#[test]
fn while_stop_runs_it_is_stopping_and_kill_ends_both() {
    let sv = SvDir::new();
    let stop = "#!/bin/sh\necho $$ >pid; exec sleep 1000\n";
    let web = sv.service("web").run(STUBBORN).exec("stop", stop).file("timeout-kill", "1h").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["down", "--no-wait", "web"]);
    wait_state(&sv, "web", "stopping");
    let pid = wait_for("stop", SOON, || std::fs::read_to_string(web.path().join("pid")).ok()?.trim().parse().ok());
    well(&sv, &["kill", "web"]);
    web.wait_down();
    wait_for("its end", SOON, || nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).err());
    assert_eq!((got(&web), onit.said(&["./stop"]).len()), (String::new(), 0), "{}", onit.stderr());
}

#[test]
fn a_supervisor_that_goes_on_knows_that_stop_runs() {
    for is_upgrade in [false, true] {
        let sv = SvDir::new();
        let stop = "#!/bin/sh\necho stop >>got; while [ ! -e go ]; do sleep 0.02; done; exit $(cat go)\n";
        let web = sv.service("web").run(STUBBORN).exec("stop", stop).file("timeout-kill", "1h").create();
        let onit = start(&sv, UnderTest::Onit);
        wait_on(&web);
        well(&sv, &["down", "--no-wait", "web"]);
        wait_got(&web, "stop\n");
        if is_upgrade {
            assert_eq!(verb(&sv, &["upgrade", &onit.pid().to_string()]).code, 0);
        } else {
            onit.signal(Signal::SIGSEGV);
            onit.wait_said(&["SIGSEGV: starting again"]);
        }
        assert_eq!(told(&sv, "web")["state"], "stopping");
        web.write(".go", if is_upgrade { "0" } else { "1" });
        std::fs::rename(web.path().join(".go"), web.path().join("go")).expect("renamed");
        if !is_upgrade {
            wait_got(&web, "stop\nTERM\n");
        }
        web.write("end", "");
        web.wait_down();
        assert_eq!(got(&web), if is_upgrade { "stop\n" } else { "stop\nTERM\n" });
    }
}

/// A `run` that notes each of these signals.
const NOTES: &str = "for s in HUP USR1 USR2; do trap \"echo $s >>got\" $s; done; : >on; while :; do sleep 0.02; done";

#[test]
fn reload_sends_the_signal_that_the_service_says() {
    let sv = SvDir::new();
    let web = sv.service("web").run(NOTES).exec("control/h", "#!/bin/sh\necho h >>got; exit 1\n").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["reload", "web"]);
    wait_got(&web, "h\nHUP\n");
    web.write("reload-signal", "SIGUSR1\n");
    well(&sv, &["reload", "web"]);
    wait_got(&web, "h\nHUP\nUSR1\n");
    web.write("reload-signal", "USR3\n");
    web.control(b"l").expect("an order");
    wait_got(&web, "h\nHUP\nUSR1\nh\nHUP\n");
    onit.wait_said(&["onit: web: reload-signal says \"USR3\", which is no value for it; going by the default"]);
}

#[test]
fn where_there_is_no_socket_reload_sends_the_byte_of_that_signal() {
    for which in [UnderTest::OnitAs("runsvdir"), UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run(NOTES).create();
        let _supervisor = start(&sv, which);
        wait_on(&web);
        well(&sv, &["reload", "web"]);
        wait_got(&web, "HUP\n");
        web.write("reload-signal", "USR2\n");
        well(&sv, &["reload", "web"]);
        wait_got(&web, "HUP\nUSR2\n");
        web.write("reload-signal", "URG\n");
        assert_eq!(verb(&sv, &["reload", "web"]).code, 1, "it has no byte");
    }
}
