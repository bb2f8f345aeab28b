//! What s6's tools rely on when the supervisor fails or is replaced: no order and no letter is lost, locks stay locked,
//! descriptors that were given stay what they are, and nothing is started twice.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread;

use nix::sys::signal::Signal;

use crate::crash_and_upgrade::{damage, wait_idle};
use crate::s6::Listener;
use crate::svdir::{
    Ending, SOON, Service, Supervisor, SvDir, UnderTest, missing_tools, onit, remove_tree, send, skip, wait_for,
};
use crate::verbs::well;
use crate::{proc, restarts};

const SVSCAN: UnderTest = UnderTest::OnitAs("s6-svscan");

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

/// The process in a record of s6's.
fn pid(service: &Service) -> Option<u32> {
    let raw = fs::read(service.path().join("supervise/status")).ok().filter(|raw| raw.len() >= 35)?;
    let pid = u64::from_be_bytes(raw[24..32].try_into().ok()?);
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

#[track_caller]
fn wait_up(service: &Service) -> u32 {
    wait_for("its process", SOON, || pid(service))
}

/// Writes orders to the FIFO of `s6-svscanctl`, as that does: it does not wait for a reader.
#[track_caller]
fn order_all(sv: &SvDir, bytes: &[u8]) {
    let control = sv.path().join(".s6-svscan/control");
    let mut control = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(control).expect("a reader");
    control.write_all(bytes).expect("written");
}

/// It is stopped, and does what was asked for meanwhile when it is let go.
fn while_stopped(onit: &Supervisor, act: impl FnOnce()) {
    onit.signal(Signal::SIGSTOP);
    let is_stopped = || proc::Glimpse::of(onit.pid()).is_some_and(|it| it.is_stopped()).then_some(());
    wait_for("it to be stopped", SOON, is_stopped);
    act();
    onit.signal(Signal::SIGCONT);
}

/// Whether another process holds this file by the lock that s6's tools look for.
fn is_locked(sv: &SvDir) -> bool {
    let refused = sv.spawn(SVSCAN.command(&sv.path()));
    refused.wait_end(SOON) == Ending::Code(100) && !refused.said(&["another instance of s6-svscan"]).is_empty()
}

#[test]
fn an_order_to_all_that_was_written_before_a_fault_is_obeyed_after_it() {
    for as_svscan in [true, false] {
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let onit = if as_svscan { sv.start(SVSCAN) } else { sv.start_with(&["--s6"]) };
        let before = wait_up(&web);
        wait_idle(&onit);
        while_stopped(&onit, || {
            order_all(&sv, b"?");
            onit.signal(Signal::SIGSEGV);
        });
        onit.wait_said(&["SIGSEGV: starting again; 1 service keeps running"]);
        onit.wait_said(&["unknown control command: ?"]);
        assert!(is_locked(&sv));
        while_stopped(&onit, || {
            order_all(&sv, b"?t");
            onit.signal(Signal::SIGSEGV);
        });
        assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
        assert_eq!(onit.said(&["unknown control command: ?"]).len(), 2, "each once");
        assert!(!proc::is_alive(before));
    }
}

/// The end of the service and the request for the upgrade are seen in the same turn.
#[test]
fn what_happens_within_the_moment_of_an_upgrade_is_told() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start_with(&["--s6"]);
    let first = wait_up(&web);
    wait_idle(&onit);
    let mut listener = Listener::at(&web, "curios");
    thread::scope(|scope| {
        while_stopped(&onit, || {
            let words = onit.pid().to_string();
            let sv = &sv;
            scope.spawn(move || well(sv, &["upgrade", &words]));
            let child = 1 << (Signal::SIGCHLD as u64 - 1);
            let is_asked = || proc::Glimpse::of(onit.pid()).is_some_and(|it| it.pending & child != 0).then_some(());
            wait_for("the request", SOON, is_asked);
            send(first, Signal::SIGKILL);
            wait_for("its end", SOON, || (!proc::is_alive(first)).then_some(()));
        });
    });
    assert_eq!(listener.letters(3), "dDu");
    assert_ne!(wait_up(&web), first);
    web.order(b"d");
    assert_eq!(listener.letters(2), "dD");
    assert_eq!(onit.ended(), None);
}

#[test]
fn descriptors_that_were_given_to_s6_svscan_mean_the_same_later() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let [ready, console] = ["ready", "console"].map(|name| sv.root().join(name));
    fs::create_dir(sv.path().join(".s6-svscan")).expect("mkdir");
    crate::svdir::write_file(&sv.path().join(".s6-svscan/finish"), "#!/bin/sh\necho over\n", 0o755);
    let line = "exec \"$0\" s6-svscan -d 3 -X 7 \"$1\" 3>\"$2\" 7>\"$3\"";
    let ours = onit();
    let onit = sv.spawn_words(&[
        "sh".as_ref(),
        "-c".as_ref(),
        line.as_ref(),
        ours.as_os_str(),
        sv.path().as_os_str(),
        ready.as_os_str(),
        console.as_os_str(),
    ]);
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    wait_for("a newline", SOON, || (text(&ready) == "\n").then_some(()));
    let first = wait_up(&web);
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    wait_idle(&onit);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["SIGSEGV: starting again; 1 service keeps running"]);
    web.order(b"r");
    wait_for("another process", SOON, || pid(&web).filter(|pid| *pid != first));
    order_all(&sv, b"t");
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!((text(&ready), text(&console)), ("\n".into(), "over\n".into()));
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
}

#[test]
fn s6_svscan_goes_on_where_its_directory_has_another_name_by_now() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(SVSCAN);
    let first = wait_up(&web);
    wait_idle(&onit);
    let moved = sv.root().join("moved");
    fs::rename(sv.path(), &moved).expect("mv");
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["SIGSEGV: starting again; 1 service keeps running"]);
    let web = Service::at(moved.join("web"));
    web.order(b"r");
    wait_for("another process", SOON, || pid(&web).filter(|pid| *pid != first));
    fs::rename(moved, sv.path()).expect("mv");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

/// Its status is all that is known of it.
#[test]
fn after_a_lost_journal_a_service_is_found_by_a_record_of_any_format() {
    for format in ["s6", "universal", "daemontools", "runit"] {
        let sv = SvDir::new();
        let web = sv.service("web").run("echo >>lives; exec sleep 1000").create_atomically();
        let onit = sv.start_with(&["--status-format", format]);
        web.wait_text("lives", |lives| lives == "\n");
        wait_idle(&onit);
        damage(onit.pid(), 0, 1);
        onit.signal(Signal::SIGSEGV);
        onit.wait_said(&["the state journal cannot be read: not an onit state file; looking for the services"]);
        restarts::wait_state(&sv, "web", "up");
        assert_eq!(web.text("lives"), "\n", "{format}");
        well(&sv, &["restart", "web"]);
        web.wait_text("lives", |lives| lives == "\n\n");
    }
}

/// Whoever looks for `supervise/ok` would read nonsense in a record of s6's.
#[test]
fn a_record_is_seen_by_those_who_can_read_it() {
    if let Some(why) = missing_tools(&["svok", "s6-svok"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").file("status-format", "runit\n").create_atomically();
    let onit = sv.start_with(&["--s6"]);
    wait_for("the tools of runit", SOON, || (sv.svok(&["web"]).code == 0).then_some(()));
    let path = web.path().to_str().expect("a path");
    let length = || fs::read(web.path().join("supervise/status")).map_or(0, |record| record.len());
    let seen = || (length(), sv.svok(&["web"]).code, sv.tool("s6-svok", &[path]).code);
    assert_eq!(seen(), (20, 0, 0));
    // It holds from the next start on, whoever supervises by then.
    web.write("status-format", "s6\n");
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    wait_idle(&onit);
    assert_eq!(seen(), (20, 0, 0));
    well(&sv, &["restart", "web"]);
    assert_eq!(seen(), (35, 100, 0));
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    wait_idle(&onit);
    web.write("status-format", "runit\n");
    assert_eq!(seen(), (35, 100, 0));
}

#[test]
fn a_program_in_place_of_a_signal_that_cannot_be_executed_is_told() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(SVSCAN);
    wait_up(&web);
    crate::svdir::write_file(&sv.path().join(".s6-svscan/SIGUSR1"), "no program", 0o755);
    onit.signal(Signal::SIGUSR1);
    onit.wait_said(&["s6-svscan: warning: unable to spawn .s6-svscan/SIGUSR1: Exec format error"]);
}

#[test]
fn a_directory_that_was_removed_with_its_service_counts_no_deaths() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start_with(&["--s6"]);
    let first = wait_up(&web);
    remove_tree(web.path());
    wait_for("its end", SOON, || (!proc::is_alive(first)).then_some(()));
    well(&sv, &["rescan"]);
    assert!(onit.said(&["death_tally"]).is_empty(), "{}", onit.stderr());
}

#[test]
fn where_nobody_can_wait_for_a_service_that_is_told() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").file("event", "").create_atomically();
    let onit = sv.start_with(&["--s6"]);
    wait_up(&web);
    onit.wait_said(&["onit: web: cannot use event: Not a directory; nobody can wait for it"]);
}
