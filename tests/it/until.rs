//! `onit run --until`: everything ends when something is so, and with which code.

use crate::svdir::{Ending, SOON, Supervisor, SvDir, onit, output};
use std::process::Command;

pub fn until(sv: &SvDir, words: &[&str]) -> Supervisor {
    let mut command = Command::new(onit());
    command.arg("run").args(words).arg(sv.path()).env("ONIT_RUN", sv.live());
    sv.spawn(command)
}

/// A job that runs once and ends with this code.
fn job(sv: &SvDir, name: &str, code: u8) {
    sv.service(name).run(&format!("sleep 0.1; exit {code}")).file("restart", "never").create();
}

#[test]
fn when_nothing_is_left_to_run_it_ends_with_the_worst_code() {
    for (codes, whole) in [(&[0, 0][..], 0), (&[0, 3, 2], 3)] {
        let sv = SvDir::new();
        codes.iter().enumerate().for_each(|(at, code)| job(&sv, &format!("job{at}"), *code));
        sv.service("prepared").exec("setup", "#!/bin/sh\ntrue\n").create();
        sv.service("off").run("exec sleep 1000").down().create();
        let web = sv.service("logged").run("echo line").file("restart", "never").log("cat >>got").create();
        let onit = until(&sv, &["--until", "done"]);
        assert_eq!(onit.wait_end(SOON), Ending::Code(whole), "{}", onit.stderr());
        assert_eq!(web.text("log/got"), "line\n", "its logger has read everything");
    }
    let sv = SvDir::new();
    job(&sv, "killed", 0);
    sv.service("dies").run("kill -KILL $$").file("max-restarts", "1/1h").file("backoff", "10ms 10ms 1h").create();
    let onit = until(&sv, &["--until", "done"]);
    assert_eq!(onit.wait_end(SOON), Ending::Code(137), "{}", onit.stderr());
}

/// They are taken in a moment later, as a `run` may still come.
#[test]
fn oneshots_alone_are_waited_for() {
    let sv = SvDir::new();
    let job = sv.service("job").exec("setup", "#!/bin/sh\necho done >>got\n").create();
    let onit = until(&sv, &["--until", "done"]);
    assert_eq!((onit.wait_end(SOON), job.text("got").as_str()), (Ending::Code(0), "done\n"), "{}", onit.stderr());
}

#[test]
fn while_one_is_started_again_it_goes_on() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo x >>starts; [ $(wc -l <starts) -ge 4 ]").file("restart", "on-failure");
    let web = web.file("backoff", "10ms 10ms 1h").create();
    let onit = until(&sv, &["--until", "done"]);
    assert_eq!((onit.wait_end(SOON), web.text("starts").len()), (Ending::Code(0), 8), "{}", onit.stderr());
}

#[test]
fn the_first_that_ends_ends_all_with_its_code() {
    let sv = SvDir::new();
    sv.service("prepared").exec("setup", "#!/bin/sh\ntrue\n").create(); // a oneshot that is done has not ended
    let other = sv.service("other").run("exec sleep 1000").create();
    sv.service("web").run("until [ -e ../other/go ]; do sleep 0.02; done; exit 7").create();
    let onit = until(&sv, &["--until", "any"]);
    other.wait_up();
    other.write("go", "");
    assert_eq!(onit.wait_end(SOON), Ending::Code(7), "{}", onit.stderr());
    assert_eq!(onit.said(&["onit: web: exited with 7: stopping everything"]).len(), 1, "{}", onit.stderr());
    assert!(other.status().is_some_and(|status| status.pid().is_none()));
}

#[test]
fn an_order_ends_nothing_but_what_it_is_for() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let onit = until(&sv, &["--until", "any"]);
    let pid = web.wait_up();
    web.control(b"t").expect("an order");
    web.wait_other(pid);
    onit.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

#[test]
fn when_all_are_ready_it_ends_with_0_and_with_99_if_that_takes_too_long() {
    let make = |sv: &SvDir| {
        sv.service("web").run("exec sleep 1000").create();
        sv.service("slow")
            .run("until [ -e go ]; do sleep 0.02; done; echo >&3; exec sleep 1000")
            .file("notification-fd", "3")
            .create()
    };
    let sv = SvDir::new();
    let slow = make(&sv);
    let onit = until(&sv, &["--until", "ready", "-t", "300ms"]);
    assert_eq!(onit.wait_end(SOON), Ending::Code(99), "{}", onit.stderr());
    assert!(onit.stderr().contains("onit: not ready within 0.3s: stopping everything"), "{}", onit.stderr());
    slow.write("go", "");
    let onit = until(&sv, &["--until", "ready", "-t", "60"]);
    assert_eq!((onit.wait_end(SOON), onit.stderr()), (Ending::Code(0), String::new()));
    job(&sv, "broken", 3);
    std::fs::remove_file(slow.path().join("go")).expect("removed");
    let onit = until(&sv, &["--until", "ready"]);
    assert_eq!(onit.wait_end(SOON), Ending::Code(3), "what has failed is never ready: {}", onit.stderr());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let sv = SvDir::new();
    let path = sv.path().display().to_string();
    for words in [
        &["run", "--until", "never", &path][..],
        &["run", "-t", "5", &path],
        &["run", "--until", "any", "-t", "soon", &path],
        &["--until", "done", "--", "true"],
    ] {
        let mut command = Command::new(onit());
        command.args(words);
        let said = output(command);
        assert!(said.code == 100 && said.stderr.starts_with("onit: "), "{words:?}: {said:?}");
    }
}
