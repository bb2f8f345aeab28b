//! How a service is stopped: by the program `stop`, or a signal; and which signal `onit reload` sends.

use crate::proc;
use crate::restarts::{told, wait_state};
use crate::svdir::{SOON, Service, SvDir, UnderTest, missing_tools, send, skip, wait_for};
use crate::verbs::{start, verb, well};
use nix::sys::signal::Signal;

/// A `run` that notes each TERM, and ends when there is a file `end`.
const STUBBORN: &str = "trap 'echo TERM >>got' TERM; : >on; while [ ! -e end ]; do sleep 0.02; done; rm on end";

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
    well(&sv, &["up", "web"]);
    let pid = web.wait_up();
    wait_on(&web);
    web.write_script("stop", "echo again >>got; : >end");
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
    let web = sv.service("web").run(STUBBORN).exec("stop", stop).file("timeout-kill", "2500").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["down", "-t", "60", "web"]);
    assert_eq!(got(&web), "stop\nTERM\n");
    let lines = onit.said(&["is still running past its time limit; killing it"]);
    assert!(lines.len() == 2 && lines[0].contains("./stop") && lines[1].contains("./run"), "{lines:?}");
}

#[test]
fn stop_may_say_how_long_the_service_has_to_end() {
    let sv = SvDir::new();
    let stop = "#!/bin/sh\necho 200 >timeout-kill\n";
    let web = sv.service("web").run(STUBBORN).exec("stop", stop).file("timeout-kill", "3600000").create();
    let _onit = start(&sv, UnderTest::Onit);
    wait_on(&web);
    well(&sv, &["down", "-t", "60", "web"]);
    assert_eq!((told(&sv, "web")["exit"]["name"].as_str(), got(&web).as_str()), (Some("SIGKILL"), ""));
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

/// Leaves a child behind that gets no TERM by itself, and is deaf to it if there is a file `deaf`.
const PARENT: &str = "if [ -e deaf ]; then trap '' TERM; fi; sleep 1000 & echo $! >.child; trap - TERM; \
    mv .child child; exec sleep 1000";

/// The child that this `run` has started.
fn child(service: &Service) -> u32 {
    let file = service.path().join("child");
    let pid = wait_for("its child", SOON, || std::fs::read_to_string(&file).ok()?.trim().parse().ok());
    std::fs::remove_file(file).expect("the next one is another one's");
    pid
}

fn wait_gone(pid: u32) {
    wait_for("its end", SOON, || (!proc::is_alive(pid)).then_some(()));
}

#[test]
fn the_stop_signal_reaches_the_group_if_kill_mode_says_so_and_nothing_is_left_of_it() {
    let sv = SvDir::new();
    let alone = sv.service("alone").run(PARENT).create();
    let web = sv.service("web").run(PARENT).file("kill-mode", "group").create();
    let onit = start(&sv, UnderTest::Onit);
    let (lonely, together) = (child(&alone), child(&web));
    let told = verb(&sv, &["down", "alone", "web"]);
    assert!(told.code == 0 && told.stderr.starts_with("onit: alone: stopped, but process"), "{told:?}");
    wait_gone(together);
    assert!(proc::is_alive(lonely), "that is what kill-mode is for");
    web.write("deaf", "");
    well(&sv, &["up", "web"]);
    let deaf = child(&web);
    well(&sv, &["down", "web"]);
    wait_gone(deaf);
    onit.wait_said(&["onit: web: ./run left 1 process behind; killed it"]);
    assert_eq!(onit.said(&["alone"]).len(), 0, "{}", onit.stderr());
}

#[test]
fn what_an_end_of_its_own_leaves_of_the_group_is_killed_before_the_next_start_also_after_a_fault() {
    for is_upgrade in [false, true] {
        let sv = SvDir::new();
        // SIGKILL is sent before the next start; how soon the kernel has carried it out is its own affair
        let gone =
            "n=0; while [ -e pid ] && kill -0 $(cat pid); do n=$((n+1)); [ $n -lt 100 ] || break; sleep 0.1; done";
        let run = format!("{gone}; [ $n -lt 100 ] || echo alive >>got; {PARENT}");
        let run = run.replace("mv .child child", "cat .child >pid; mv .child child");
        let web = sv.service("web").run(&run).file("kill-mode", "group").file("backoff", "10ms 10ms 1h").create();
        let onit = start(&sv, UnderTest::Onit);
        let pid = web.wait_up();
        let left = child(&web);
        web.write("kill-mode", "process"); // for the next start
        if is_upgrade {
            assert_eq!(verb(&sv, &["upgrade", &onit.pid().to_string()]).code, 0);
        } else {
            onit.signal(Signal::SIGSEGV);
            onit.wait_said(&["SIGSEGV: starting again"]);
        }
        send(pid, Signal::SIGKILL);
        web.wait_other(pid);
        wait_gone(left);
        child(&web);
        assert_eq!(got(&web), "", "it found nothing alive");
        onit.wait_said(&["onit: web: ./run left 1 process behind; killed it"]);
    }
}

#[test]
fn what_is_deaf_to_the_stop_signal_is_killed_with_its_group() {
    let sv = SvDir::new();
    let run = "trap '' TERM; sleep 1000 & echo $! >.child; mv .child child; sleep 1000; exit 7";
    let web = sv.service("web").run(run).file("kill-mode", "group").file("timeout-kill", "300").create();
    let _onit = start(&sv, UnderTest::Onit);
    let left = child(&web);
    well(&sv, &["down", "-t", "60", "web"]);
    wait_gone(left);
}

#[test]
fn without_a_control_group_kill_mode_cgroup_is_group() {
    let sv = SvDir::new();
    let web = sv.service("web").run(PARENT).file("kill-mode", "cgroup").create();
    let onit = start(&sv, UnderTest::Onit);
    let left = child(&web);
    well(&sv, &["restart", "web"]);
    wait_gone(left);
    let told = "kill-mode says cgroup, but there is no control group (none was given to onit); going by group";
    onit.wait_said(&[&format!("onit: web: {told}")]);
    assert_eq!(onit.said(&["kill-mode"]).len(), 1, "said once: {}", onit.stderr());
}
