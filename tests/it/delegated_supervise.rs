//! Who was given the `supervise` of one service, so that he can control it, gets no further with it: neither the files of
//! others, nor other services, nor onit itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::proc;
use crate::svdir::{Ending, SOON, Service, SvDir, UnderTest, is_root, missing_tools, onit, send, skip, wrapped};

/// To whom `supervise` is given.
const OWNER: u32 = 54_411;

fn why_not() -> Option<String> {
    (!is_root()).then(|| "needs root, to give a directory away".into())
}

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

/// Gives `supervise`, and all in it, away.
fn delegate(service: &Service) {
    let supervise = service.path().join("supervise");
    let entries = fs::read_dir(&supervise).expect("supervise/").map(|entry| entry.expect("an entry").path());
    for path in entries.chain([supervise.clone()]) {
        std::os::unix::fs::lchown(&path, Some(OWNER), Some(OWNER)).expect("chown");
    }
}

/// Puts this in the place of each file of `supervise` in turn, and has the service restarted.
fn in_place_of_each_file(put: impl Fn(&Path, &Path)) {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let (secret, text) = (sv.root().join("secret"), "root:secret\n");
    fs::write(&secret, text).expect("write");
    let onit = sv.start(UnderTest::Onit);
    web.wait_up();
    delegate(&web);
    for name in ["status.new", "stat.new", "pid.new", "status", "stat", "pid"] {
        let pid = web.wait_up();
        let path = web.path().join("supervise").join(name);
        let _ = fs::remove_file(&path);
        put(&secret, &path);
        web.order(b"t");
        web.wait_other(pid);
        assert_eq!(fs::read_to_string(&secret).expect("it is there"), text, "{name}");
    }
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(fs::read_to_string(&secret).expect("it is there"), text);
}

#[test]
fn another_name_of_a_file_of_others_is_not_written_through() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    in_place_of_each_file(|secret, path| fs::hard_link(secret, path).expect("a link"));
}

#[test]
fn a_link_to_a_file_of_others_is_not_written_through() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    in_place_of_each_file(|secret, path| symlink(secret, path).expect("a link"));
}

/// With this in the place of its lock, the liar is out of reach when onit starts, and the victim is not.
fn the_liar_is_out_of_reach(put: impl Fn(&Path, &Path)) {
    let sv = SvDir::new();
    let (liar, victim) = (sleeper(&sv, "aaa"), sleeper(&sv, "web"));
    let first = sv.start(UnderTest::Onit);
    liar.wait_up();
    victim.wait_up();
    delegate(&liar);
    let lock = liar.path().join("supervise/lock");
    fs::remove_file(&lock).expect("rm");
    put(&victim.path().join("supervise/lock"), &lock);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait_end(SOON), Ending::Code(0));
    let second = sv.start(UnderTest::Onit);
    second.wait_said(&["onit: aaa: ", "supervise/lock is no lock file of ours", "; running, but out of reach"]);
    victim.wait_up();
    assert_eq!((liar.is_supervised(), second.stderr().lines().count()), (false, 1), "{}", second.stderr());
}

#[test]
fn a_lock_that_is_a_link_to_that_of_another_service_is_no_harm_to_that() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    the_liar_is_out_of_reach(|victims, lock| symlink(victims, lock).expect("a link"));
}

#[test]
fn a_lock_that_is_another_name_of_that_of_another_service_is_no_harm_to_that() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    the_liar_is_out_of_reach(|victims, lock| fs::hard_link(victims, lock).expect("a link"));
}

#[test]
fn a_lock_or_a_down_that_is_a_link_makes_no_file_elsewhere() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let first = sv.start(UnderTest::Onit);
    web.wait_up();
    delegate(&web);
    std::os::unix::fs::chown(web.path(), Some(OWNER), Some(OWNER)).expect("chown");
    let elsewhere = sv.root().join("nologin");
    for name in ["supervise/lock", "down"] {
        let _ = fs::remove_file(web.path().join(name));
        symlink(&elsewhere, web.path().join(name)).expect("a link");
    }
    first.signal(Signal::SIGHUP); // it looks at all there is
    sv.onit(&["disable", "web"]);
    first.signal(Signal::SIGTERM);
    first.wait_end(SOON);
    let second = sv.start(UnderTest::Onit);
    second.wait_said(&["onit: web: ", "supervise/lock"]);
    assert!(!elsewhere.exists());
}

#[test]
fn a_terminal_in_the_place_of_a_small_file_does_not_become_that_of_onit() {
    if let Some(why) = missing_tools(&["setsid"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (web, other) = (sleeper(&sv, "web"), sleeper(&sv, "other"));
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let terminal = nix::unistd::ttyname(&pty.slave).expect("its name");
    for name in ["timeout-kill", "timeout-finish", "down-signal", "down", "essential", "check", "control", "log"] {
        symlink(&terminal, web.path().join(name)).expect("a link");
    }
    let setsid = wrapped(&["setsid", "-w"], Command::new(onit()).arg("run").arg(sv.path()));
    let wrapper = sv.spawn(setsid);
    other.wait_up();
    for order in [b"u", b"t", b"d", b"u"] {
        web.order(order);
    }
    web.wait_up();
    web.order(b"d");
    web.wait_down();
    // setsid(1) forks if it has to.
    let leader = proc::tree(wrapper.pid()).into_iter().find(|pid| proc::leads_a_session(*pid)).expect("onit");
    assert!(!proc::has_terminal(leader));
    let pid = other.wait_up();
    nix::unistd::write(&pty.master, b"\x03").expect("^C");
    other.order(b"t");
    other.wait_other(pid);
    send(leader, Signal::SIGTERM);
    assert_eq!(wrapper.wait_end(SOON), Ending::Code(0));
}
