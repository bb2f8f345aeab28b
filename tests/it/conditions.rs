//! `condition`, `ONIT_ENABLE` and `ONIT_DISABLE`: who does not start although nothing is wrong, and who says so.

use crate::crash_and_upgrade::replace;
use crate::restarts::{told, wait_state};
use crate::svdir::{self, SOON, Service, Supervisor, SvDir, UnderTest, wait_for};
use crate::verbs::{fails, start, verb, well};
use std::process::Command;

fn service(sv: &SvDir, name: &str, files: &[(&str, &str)]) -> Service {
    let service = sv.service(name).run("exec sleep 1000");
    files.iter().fold(service, |service, (file, content)| service.file(file, content)).create()
}

/// Starts onit with these variables.
pub fn start_with(sv: &SvDir, variables: &[(&str, &str)]) -> Supervisor {
    let mut command = Command::new(svdir::onit());
    command.arg("run").arg(sv.path()).env("ONIT_RUN", sv.live()).envs(variables.iter().copied());
    let onit = sv.spawn(command);
    onit.wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    onit
}

fn states(sv: &SvDir, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| told(sv, name)["state"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_service_whose_conditions_do_not_hold_is_skipped_and_all_is_well() {
    let sv = SvDir::new();
    for (name, condition, runs) in [
        ("a-set", "env ROLE\n", true),
        ("b-same", "env ROLE=web\n\npath /\npath ./run\n", true),
        ("c-unset", "!env NOBODY\n!path no-such-file\n", true),
        ("d-other", "env ROLE\nenv ROLE=db\nenv NOBODY\n", false),
        ("e-missing", "path no-such-file", false),
        ("f-not", "!env ROLE\n", false),
        ("g-gone", "env GONE\n", false),
        ("h-own", "env OWN=x y\n", true),
    ] {
        let files = [("condition", condition), ("env/GONE", ""), ("env/OWN", "x y \n")];
        let one = service(&sv, name, &files);
        one.write("up", if runs { "up" } else { "skipped" });
    }
    service(&sv, "needs", &[("dependencies.d/d-other", "")]);
    let onit = start_with(&sv, &[("ROLE", "web"), ("GONE", "x")]);
    for name in ["a-set", "b-same", "c-unset", "d-other", "e-missing", "f-not", "g-gone", "h-own"] {
        wait_state(&sv, name, &sv.existing(name).text("up"));
    }
    wait_state(&sv, "needs", "up");
    let other = told(&sv, "d-other");
    assert_eq!((&other["reason"], &other["want"]), (&"condition env ROLE=db".into(), &"down".into()), "{other}");
    assert_eq!(told(&sv, "f-not")["reason"], "condition !env ROLE");
    assert!(well(&sv, &["status"]).contains("skipped: condition path no-such-file"), "in words");
    well(&sv, &["health"]);
    assert_eq!(onit.stderr(), "");
}

#[test]
fn an_order_looks_again_and_so_does_each_start() {
    let sv = SvDir::new();
    let web = service(&sv, "web", &[("condition", "path go")]);
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "skipped");
    fails(&sv, &["up", "web"], 1, &["web: not up: skipped: condition path go"]);
    web.write("go", "");
    well(&sv, &["up", "web"]);
    std::fs::remove_file(web.path().join("go")).expect("removed");
    well(&sv, &["rescan"]);
    assert_eq!(told(&sv, "web")["state"], "up", "what runs goes on");
    well(&sv, &["kill", "--no-wait", "web"]);
    wait_state(&sv, "web", "skipped");
    well(&sv, &["down", "web"]);
    assert_eq!((told(&sv, "web")["state"].clone(), told(&sv, "web")["reason"].clone()), ("down".into(), ().into()));
    assert_eq!(onit.stderr(), "");
}

#[test]
fn conditions_are_looked_at_when_what_a_service_depends_on_is_ready() {
    let sv = SvDir::new();
    let slow = "#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.02; done; touch ../web/made\n";
    let prepare = sv.service("prepare").exec("setup", slow).create();
    service(&sv, "web", &[("condition", "path made"), ("dependencies.d/prepare", "")]);
    service(&sv, "late", &[("condition", "!path ../web/made"), ("after.d/prepare", "")]);
    let _onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "waiting");
    wait_state(&sv, "late", "waiting");
    prepare.write("go", "");
    wait_state(&sv, "web", "up");
    wait_state(&sv, "late", "skipped");
}

#[test]
fn what_is_no_condition_is_told_once_and_does_not_count() {
    let sv = SvDir::new();
    service(&sv, "web", &[("condition", "env\npath /\nfile /x\n")]);
    service(&sv, "dir", &[("condition/x", "")]);
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "up");
    wait_state(&sv, "dir", "up");
    well(&sv, &["restart", "web"]);
    let line = |said| format!("onit: web: condition says \"{said}\", which is no condition; going without it");
    onit.wait_said(&[&line("env")]);
    onit.wait_said(&[&line("file /x")]);
    onit.wait_said(&["onit: dir: cannot read condition: Is a directory; going without it"]);
    assert_eq!(onit.stderr().lines().count(), 3, "{}", onit.stderr());
}

#[test]
fn who_is_skipped_stays_so_when_the_supervisor_is_replaced() {
    for fails in [false, true] {
        let sv = SvDir::new();
        let web = service(&sv, "web", &[("condition", "path go")]);
        service(&sv, "other", &[]);
        service(&sv, "told", &[]);
        let onit = start_with(&sv, &[("ONIT_DISABLE", "other,told")]);
        wait_state(&sv, "web", "skipped");
        well(&sv, &["up", "told"]);
        let pid = told(&sv, "told")["pid"].clone();
        replace(&sv, &onit, fails);
        let reason = |name| (told(&sv, name)["state"].clone(), told(&sv, name)["reason"].clone());
        assert_eq!(reason("web"), ("skipped".into(), "condition path go".into()));
        assert_eq!(reason("other"), ("skipped".into(), "in ONIT_DISABLE".into()));
        assert_eq!(told(&sv, "told")["pid"], pid);
        web.write("go", "");
        well(&sv, &["rescan"]);
        assert_eq!(states(&sv, &["web", "other", "told"]), ["skipped", "skipped", "up"]);
        well(&sv, &["up", "web", "other"]);
        // Who was ordered up is started again after each end.
        well(&sv, &["kill", "told"]);
        wait_for("another process", SOON, || {
            let now = told(&sv, "told");
            (now["state"] == "up" && now["pid"] != pid).then_some(())
        });
        assert_eq!(onit.stderr().lines().filter(|line| !line.contains("SIGSEGV")).count(), 0, "{}", onit.stderr());
    }
}

#[test]
fn only_the_services_of_the_environment_start_by_themselves() {
    let sv = SvDir::new();
    for name in ["web", "queue", "cron-a", "cron-b"] {
        service(&sv, name, &[]);
    }
    sv.service("down").run("exec sleep 1000").down().create();
    service(&sv, "needs", &[("dependencies.d/web", "")]);
    let onit = start_with(&sv, &[("ONIT_ENABLE", "queue, cron-* needs nobody"), ("ONIT_DISABLE", "*-[b-z]")]);
    for name in ["queue", "cron-a", "needs"] {
        wait_state(&sv, name, "up");
    }
    assert_eq!(states(&sv, &["web", "cron-b", "down"]), ["skipped", "skipped", "down"]);
    assert_eq!(told(&sv, "web")["reason"], "not in ONIT_ENABLE");
    assert!(well(&sv, &["status"]).contains("skipped: in ONIT_DISABLE"));
    well(&sv, &["health"]);
    onit.wait_said(&["onit: ONIT_ENABLE says nobody, and there is no such service"]);
    well(&sv, &["rescan"]);
    // What comes later is asked too, and an order is not.
    service(&sv, "new", &[]);
    wait_state(&sv, "new", "skipped");
    well(&sv, &["up", "web"]);
    well(&sv, &["enable", "down"]);
    sv.existing("new").control(b"u").expect("an order");
    wait_state(&sv, "new", "up");
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
    assert_eq!(verb(&sv, &["status", "-q", "web"]).code, 0);
}

#[test]
fn variables_that_are_empty_say_nothing() {
    let sv = SvDir::new();
    service(&sv, "web", &[]);
    let onit = start_with(&sv, &[("ONIT_ENABLE", " , "), ("ONIT_DISABLE", "")]);
    wait_state(&sv, "web", "up");
    assert_eq!(onit.stderr(), "");
}
