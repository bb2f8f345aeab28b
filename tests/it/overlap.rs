//! `onit restart --overlap`: the new `run` starts beside the old one, which ends when the new one is ready; nobody who
//! connects notices. `--rolling`: one service after the other.

use nix::sys::signal::Signal;

use crate::proc;
use crate::restarts::{told, wait_state};
use crate::sockets::{Load, address, call};
use crate::svdir::{SOON, Service, SvDir, UnderTest, missing_tools, send, skip, wait_for};
use crate::verbs::{start, verb, well};

/// Answers connections to its socket with its pid, says that it is ready when `go` lets it, and at TERM ends when it has
/// answered what it has accepted.
const SERVER: &str = r#"#!/usr/bin/perl
use POSIX; use Socket;
open(my $listener, '+<&=', 3) or die;
my $over = 0; sigaction(SIGTERM, POSIX::SigAction->new(sub { $over = 1; close $listener }));
while (-e 'wait' && !$over) { select(undef, undef, undef, 0.01) }
exit 0 if $over;
exit 7 if -e 'fail';
open(my $ready, '>&=', 9) or die; syswrite($ready, "\n"); close $ready;
while (!$over) {
    my $bits = ''; vec($bits, 3, 1) = 1;
    next if select($bits, undef, undef, 0.05) <= 0;
    last if $over;
    accept(my $client, $listener) or next;
    syswrite($client, "$$\n"); close $client;
}
"#;

fn server(sv: &SvDir, name: &str) -> (Service, std::net::SocketAddr) {
    let at = address();
    let service = sv.service(name).exec("run", SERVER).file("sockets", &format!("tcp {at}"));
    let service = service.file("notification-fd", "9").file("timeout-up", "20s");
    (service.create_atomically(), at)
}

fn history(sv: &SvDir, name: &str) -> Vec<serde_json::Value> {
    serde_json::from_str(&well(sv, &["history", "--json", name])).expect("a list")
}

#[test]
fn thirty_times_nobody_is_refused_or_reset() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (web, at) = server(&sv, "web");
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "up");
    wait_for("its first answer", SOON, || call(at).ok());
    let load = Load::on(at);
    for _ in 0..30 {
        let before = web.wait_up();
        well(&sv, &["restart", "--overlap", "-t", "20", "web"]);
        let after = web.wait_up();
        assert_ne!(before, after);
        wait_for("the end of the one before", SOON, || (!proc::is_alive(before)).then_some(()));
        // It is told when it is reaped; the next one may begin then.
        wait_for("that to be told", SOON, || {
            history(&sv, "web").iter().rev().skip(1).all(|life| !life["end"].is_null()).then_some(())
        });
    }
    load.wait_more(31);
    let (answers, errors) = load.end();
    assert!(answers > 30 && errors.is_empty(), "{answers} {errors:?}");
    assert_eq!(told(&sv, "web")["restarts"], 30);
    assert!(onit.said(&["web"]).is_empty(), "{}", onit.stderr());
}

#[test]
fn while_both_run_the_old_one_is_shown_and_if_the_new_one_fails_it_stays() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (web, at) = server(&sv, "web");
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "up");
    wait_for("its first answer", SOON, || call(at).ok());
    let old = web.wait_up();
    web.write("wait", "");
    well(&sv, &["restart", "--overlap", "--no-wait", "web"]);
    let new = wait_for("the second one", SOON, || told(&sv, "web")["successor"].as_u64());
    let status = told(&sv, "web");
    assert_eq!((&status["pid"], &status["state"], &status["ready"]), (&old.into(), &"up".into(), &true.into()));
    assert_eq!(web.status().and_then(|status| status.pid()), Some(old), "sv sees the old one");
    assert_eq!(call(at).expect("an answer"), old.to_string());
    let again = verb(&sv, &["restart", "--overlap", "web"]);
    assert_eq!((again.code, again.stderr.as_str()), (1, "onit: web: another one is starting beside it already\n"));
    web.write("fail", "");
    std::fs::remove_file(web.path().join("wait")).expect("removed");
    onit.wait_said(&["web: the new ./run exited with 7; the one that runs stays"]);
    let status = told(&sv, "web");
    assert_eq!((&status["pid"], &status["successor"]), (&old.into(), &().into()));
    assert!(!proc::is_alive(u32::try_from(new).expect("a pid")));
    let failed = verb(&sv, &["restart", "--overlap", "-t", "20", "web"]);
    let why = "onit: web: not replaced: the new ./run exited with 7; the one that runs stays\n";
    assert_eq!((failed.code, failed.stderr.as_str()), (1, why));
    assert_eq!(web.wait_up(), old);
    std::fs::remove_file(web.path().join("fail")).expect("removed");
    std::fs::rename(web.path().join("run"), web.path().join("away")).expect("renamed");
    let failed = verb(&sv, &["restart", "--overlap", "web"]);
    assert!(failed.code == 1 && failed.stderr.contains("not replaced: "), "{failed:?}");
    std::fs::rename(web.path().join("away"), web.path().join("run")).expect("renamed");
    well(&sv, &["restart", "--overlap", "-t", "20", "web"]);
    assert_ne!(web.wait_up(), old);
}

#[test]
fn what_has_no_time_for_the_second_one_is_late_and_a_crash_of_the_first_lets_it_go_on() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (web, at) = server(&sv, "web");
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "up");
    let old = web.wait_up();
    web.write("wait", "");
    web.write("timeout-up", "300ms");
    let late = verb(&sv, &["restart", "--overlap", "-t", "20", "web"]);
    assert!(late.code == 1 && late.stderr.contains("was not ready within 300ms"), "{late:?}");
    assert_eq!(web.wait_up(), old);
    web.write("timeout-up", "20s");
    wait_for("the end of that", SOON, || {
        let again = verb(&sv, &["restart", "--overlap", "--no-wait", "web"]);
        (again.code == 0).then_some(())
    });
    let new = wait_for("the second one", SOON, || told(&sv, "web")["successor"].as_u64());
    send(old, Signal::SIGKILL);
    wait_for("the second one to be it", SOON, || (u64::from(web.wait_up()) == new).then_some(()));
    assert_eq!(told(&sv, "web")["state"], "starting");
    std::fs::remove_file(web.path().join("wait")).expect("removed");
    wait_state(&sv, "web", "up");
    assert_eq!(call(at).expect("an answer"), new.to_string());
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    well(&sv, &["down", "web"]);
    assert!(sv.processes().iter().all(|pid| *pid == onit.pid()), "nothing is left");
}

#[test]
fn an_upgrade_in_between_ends_well_and_down_ends_both() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").file("readiness", "after 3s").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "up");
    let old = web.wait_up();
    well(&sv, &["restart", "--overlap", "--no-wait", "web"]);
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    let new = wait_for("another one", SOON, || Some(web.wait_up()).filter(|pid| *pid != old));
    wait_for("the end of the old one", SOON, || (!proc::is_alive(old)).then_some(()));
    assert!(proc::is_alive(new));
    wait_for("room for one more", SOON, || {
        (verb(&sv, &["restart", "--overlap", "--no-wait", "web"]).code == 0).then_some(())
    });
    well(&sv, &["down", "web"]);
    wait_for("nothing to be left", SOON, || sv.processes().iter().all(|pid| *pid == onit.pid()).then_some(()));
    well(&sv, &["restart", "--overlap", "web"]); // what does not run is started
    web.wait_up();
    let checked = sv.service("checked").run("exec sleep 1000").script("check", "exit 0").file("readiness", "check");
    checked.create_atomically();
    wait_state(&sv, "checked", "up");
    let refused = verb(&sv, &["restart", "--overlap", "checked"]);
    assert!(refused.code == 1 && refused.stderr.contains("check cannot tell whether it is the new one"), "{refused:?}");
}

#[test]
fn rolling_restarts_one_after_the_other_and_stops_at_one_that_fails() {
    let sv = SvDir::new();
    let run = "echo $$ >>../../order; [ ! -e fail ] || exit 3; echo >&3; exec sleep 1000";
    let services =
        ["web@a", "web@b", "web@c"].map(|name| sv.service(name).run(run).file("notification-fd", "3").create());
    let _onit = start(&sv, UnderTest::Onit);
    let pids = services.clone().map(|service| service.wait_up());
    services.iter().for_each(|service| _ = wait_state(&sv, service.name(), "up"));
    std::fs::write(sv.root().join("order"), "").expect("written");
    well(&sv, &["restart", "--rolling", "-t", "20", "web@*"]);
    let now = services.clone().map(|service| service.wait_up());
    assert!(pids.iter().zip(&now).all(|(before, now)| before != now));
    let order = std::fs::read_to_string(sv.root().join("order")).expect("read");
    assert_eq!(order.lines().collect::<Vec<_>>(), now.map(|pid| pid.to_string()));
    services[1].write("fail", "");
    services[1].write("max-restarts", "0/1h");
    let failed = verb(&sv, &["restart", "--rolling", "-t", "20", "web@*"]);
    assert!(failed.code != 0 && failed.stderr.ends_with("these were left as they are: web@c\n"), "{failed:?}");
    assert_eq!(services[2].wait_up(), now[2]);
    let wrong = verb(&sv, &["restart", "--rolling", "--no-wait", "all"]);
    assert_eq!(wrong.code, 100);
}

#[test]
fn what_the_second_one_says_is_heard_by_the_onit_that_comes_next() {
    let sv = SvDir::new();
    let run = "while [ -e again ] && [ ! -e go ]; do sleep 0.02; done; touch again; echo >&4; exec sleep 1000";
    let pipe = sv.service("pipe").run(run).file("notification-fd", "4").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "pipe", "up");
    for (how, to) in [("an upgrade", None), ("a fault", Some(Signal::SIGSEGV))] {
        let old = pipe.wait_up();
        well(&sv, &["restart", "--overlap", "--no-wait", "pipe"]);
        match to {
            Some(signal) => send(onit.pid(), signal),
            None => _ = well(&sv, &["upgrade", &onit.pid().to_string()]),
        }
        wait_for("the socket", SOON, || (verb(&sv, &["status", "--json"]).code == 0).then_some(()));
        pipe.write("go", "");
        wait_for(how, SOON, || (pipe.wait_up() != old).then_some(()));
        std::fs::remove_file(pipe.path().join("go")).expect("removed");
        wait_for("the end of the old one", SOON, || (!proc::is_alive(old)).then_some(()));
    }
    assert!(onit.said(&["the new ./run"]).is_empty(), "{}", onit.stderr());
}
