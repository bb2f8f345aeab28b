//! The end: in order, within a budget, nothing left behind, nobody else hit; and services whose end is the end of all.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::proc;
use crate::svdir::{Ending, SOON, Service, Supervisor, SvDir, UnderTest, is_starved, missing_tools, poll_until, skip};

fn start_with(sv: &SvDir, variables: &[(&str, &str)]) -> Supervisor {
    let mut command = UnderTest::Onit.command(&sv.path());
    command.envs(variables.iter().copied());
    sv.spawn(command)
}

/// Ignores TERM, in whatever way a child of it asks.
const DEAF: &str = "trap '' TERM; echo $$ >deaf; exec sleep 1000";

fn deaf(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run(DEAF).create_atomically()
}

/// The end of `onit` after TERM, and how long it took.
fn stop(onit: &Supervisor) -> (Ending, Duration) {
    let begun = Instant::now();
    onit.signal(Signal::SIGTERM);
    (onit.wait_end(SOON), begun.elapsed())
}

#[test]
fn the_time_that_everything_has_to_end_can_be_set() {
    let sv = SvDir::new();
    let (web, onit) = (deaf(&sv, "web"), start_with(&sv, &[("ONIT_STOP_TIMEOUT", "1")]));
    web.wait_pid("deaf");
    let (ending, took) = stop(&onit);
    assert_eq!(ending, Ending::Code(0));
    assert!(took >= Duration::from_secs(1) && (took < Duration::from_secs(8) || is_starved()), "{took:?}");
    onit.wait_said(&["onit: web: still running (pid", "killing it"]);
}

#[test]
fn a_time_that_is_none_is_named_and_the_default_holds() {
    let sv = SvDir::new();
    let (web, onit) = (deaf(&sv, "web"), start_with(&sv, &[("ONIT_STOP_TIMEOUT", "soon")]));
    web.wait_pid("deaf");
    onit.wait_said(&["onit: ONIT_STOP_TIMEOUT says \"soon\", which is no time; going by the default of 9s"]);
    onit.signal(Signal::SIGTERM);
    assert!(poll_until(Duration::from_secs(2), || onit.ended()).is_none(), "it has nine seconds");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

#[test]
fn what_went_into_the_background_is_told_to_end_and_killed_if_it_does_not() {
    let sv = SvDir::new();
    let web = sv.service("web").run(
        "sh -c 'trap \"echo told >told; exit\" TERM; echo $$ >polite; while :; do sleep 0.05; done' &\n\
         sh -c 'trap \"\" TERM; echo $$ >deaf; exec sleep 1000' &\nexec sleep 1000",
    );
    let (web, onit) = (web.create_atomically(), sv.start(UnderTest::Onit));
    let (polite, deaf) = (web.wait_pid("polite"), web.wait_pid("deaf"));
    let bystander = sv.spawn_words(&["sleep", "1000"]);
    let (ending, _) = stop(&onit);
    assert_eq!((ending, web.text("told").as_str()), (Ending::Code(0), "told\n"));
    assert!(!proc::is_alive(polite) && !proc::is_alive(deaf) && proc::is_alive(bystander.pid()));
    assert_eq!(onit.stderr(), format!("onit: sleep (pid {deaf}) is still running; killing it\n"));
}

#[test]
fn a_logger_reads_to_the_end_although_something_left_behind_still_holds_its_pipe() {
    let sv = SvDir::new();
    let web = sv.service("web").log("cat >>log; echo end >>log");
    let web = web.run("echo line\nsh -c 'trap \"\" TERM; echo $$ >deaf; sleep 1000' &\nexec sleep 1000");
    let (web, onit) = (web.create_atomically(), sv.start(UnderTest::Onit));
    web.wait_pid("deaf");
    let (ending, _) = stop(&onit);
    assert_eq!((ending, web.logger().text("log").as_str()), (Ending::Code(0), "line\nend\n"));
}

#[test]
fn the_end_of_an_essential_service_ends_the_rest_and_its_code_is_ours() {
    let cases = [
        ("always", "exit 7", Ending::Code(7), "exited with 7"),
        ("always", "exit 0", Ending::Code(0), "exited with 0"),
        ("on-failure", "exit 7", Ending::Code(7), "exited with 7"),
        ("always", "kill -SEGV $$", Ending::Code(139), "was killed by SIGSEGV"),
    ];
    for (essential, end, code, words) in cases {
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 1000").log("exec cat >log").create_atomically();
        let run = format!("while [ ! -e ../go ]; do sleep 0.05; done; {end}");
        sv.service("db").run(&run).file("essential", essential).create_atomically();
        let onit = sv.start(UnderTest::Onit);
        web.wait_up();
        std::fs::write(sv.path().join("go"), "").expect("a file");
        assert_eq!(onit.wait_end(SOON), code, "{essential} {end}: {}", onit.stderr());
        onit.wait_said(&["onit: db: ", words, "; it is essential: stopping everything"]);
        assert_eq!(web.status().expect("a status").stat, "down\n");
    }
}

#[test]
fn an_end_that_was_asked_for_or_does_not_count_ends_nothing_else() {
    let sv = SvDir::new();
    let asked = sv.service("asked").run("exec sleep 1000").file("essential", "always").create_atomically();
    let fine = sv.service("fine").run("echo >>lives; sleep 0.1").file("essential", "on-failure").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    let pid = asked.wait_up();
    asked.order(b"t");
    asked.wait_other(pid);
    asked.order(b"d");
    asked.wait_down();
    fine.wait_text("lives", |text| text.len() >= 2);
    assert_eq!(onit.ended(), None, "{}", onit.stderr());
    assert_eq!(stop(&onit).0, Ending::Code(0));
}

#[test]
fn a_service_whose_finish_gives_up_stays_down_and_ends_all_if_it_is_essential() {
    let sv = SvDir::new();
    let idle = sv.service("idle").run("exit 3").finish("exit 125").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&["onit: idle: exited with 3, and ./finish says 125: not started again until told"]);
    assert_eq!((idle.wait_down().want(), onit.ended()), (b'd', None));
    let vital = sv.service("vital").run("exit 4").finish("exit 125").file("essential", "on-giveup");
    vital.create_atomically();
    assert_eq!(onit.wait_end(SOON), Ending::Code(4), "{}", onit.stderr());
    onit.wait_said(&["onit: vital: exited with 4; it is essential: stopping everything"]);
}

#[test]
fn an_essential_file_that_says_nothing_known_is_named() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo >>lives; exit 3").file("essential", "yes").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&["onit: web: essential says \"yes\", which is no value for it"]);
    web.wait_text("lives", |text| text.len() >= 3);
    assert_eq!(onit.said(&["essential"]).len(), 1, "{}", onit.stderr());
}

#[test]
fn whoever_runs_us_is_told_when_all_has_started_and_when_it_ends() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo \"${NOTIFY_SOCKET-none}\" >notify; exec sleep 1000").create_atomically();
    let path = sv.root().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a time limit");
    let onit = start_with(&sv, &[("NOTIFY_SOCKET", path.to_str().expect("a printable path"))]);
    let told = || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).expect("a word");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    web.wait_up();
    web.wait_text("notify", |text| text == "none\n");
    onit.signal(Signal::SIGTERM);
    assert_eq!((told().as_str(), onit.wait_end(SOON)), ("STOPPING=1", Ending::Code(0)));
}

#[test]
fn the_main_process_starts_after_the_services_and_ends_before_them() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").finish("echo down >>../../order").create_atomically();
    let mut command = UnderTest::Onit.command(&sv.path());
    let script = "cat service/web/supervise/stat >up; trap 'sleep 0.3; echo main >>order; exit 5' TERM; echo >ready; \
                  while :; do sleep 0.05; done";
    command.args(["--", "sh", "-c", script]).current_dir(sv.root());
    let onit = sv.spawn(command);
    let ready = || std::fs::read_to_string(sv.root().join("ready")).ok().filter(|text| !text.is_empty());
    onit.wait_for("the main process", SOON, ready);
    assert_eq!(std::fs::read_to_string(sv.root().join("up")).expect("up"), "run\n");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(5), "{}", onit.stderr());
    assert_eq!(std::fs::read_to_string(sv.root().join("order")).expect("order"), "main\ndown\n");
    assert_eq!((web.status().expect("a status").stat.as_str(), onit.stderr().as_str()), ("down\n", ""));
}

#[test]
fn the_end_of_an_essential_service_is_told_to_the_main_process_too_and_the_service_s_code_stands() {
    for code in [7, 0] {
        let sv = SvDir::new();
        let run = format!("while [ ! -e ../../ready ]; do sleep 0.05; done; exit {code}");
        sv.service("db").run(&run).file("essential", "always").create_atomically();
        let mut command = UnderTest::Onit.command(&sv.path());
        let script = "trap 'echo told >told; exit 3' TERM; echo >ready; while :; do sleep 0.05; done";
        command.args(["--", "sh", "-c", script]).current_dir(sv.root());
        let onit = sv.spawn(command);
        assert_eq!(onit.wait_end(SOON), Ending::Code(code), "{}", onit.stderr());
        assert_eq!(std::fs::read_to_string(sv.root().join("told")).unwrap_or_default(), "told\n");
        assert!(!onit.stderr().contains("killing"), "{}", onit.stderr());
    }
}

#[test]
fn a_main_process_that_has_left_its_group_is_killed_all_the_same() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create_atomically();
    let main = "$SIG{TERM} = 'IGNORE'; my $child = fork;
        unless ($child) { setpgrp; sleep 1000; exit }
        select(undef, undef, undef, 0.01) until getpgrp($child) == $child;
        setpgrp(0, $child) or die; open(my $ready, '>', 'ready'); print $ready \"$$\n\"; close $ready; sleep 1000";
    let mut command = UnderTest::Onit.command(&sv.path());
    command.args(["--", "perl", "-e", main]).current_dir(sv.root()).env("ONIT_STOP_TIMEOUT", "1");
    let onit = sv.spawn(command);
    let ready = || std::fs::read_to_string(sv.root().join("ready")).ok().filter(|text| text.ends_with('\n'));
    let pid = onit.wait_for("the main process", SOON, ready);
    web.wait_up();
    assert_eq!(stop(&onit).0, Ending::Code(137), "{}", onit.stderr());
    onit.wait_said(&["onit: the main process is still running (pid", pid.trim_end(), "; killing it"]);
}

#[test]
fn wrong_words_are_named_and_nothing_starts() {
    let sv = SvDir::new();
    let said = |args: &[&str], wrong: &str| {
        let mut command = Command::new(crate::svdir::onit());
        command.args(args);
        let output = sv.run(command);
        assert_eq!(output.code, 100, "{args:?}");
        assert!(output.stderr.contains(wrong) && output.stderr.contains("usage: onit"), "{args:?}: {}", output.stderr);
    };
    said(&["--"], "there is no command behind --");
    said(&["-x", "--", "true"], "invalid option '-x'");
    said(&["--rewrite", "TERM", "--", "true"], "--rewrite TERM is not SIGNAL=SIGNAL");
    said(&["--exit-map", "256=0", "--", "true"], "--exit-map 256=0 is not CODE=CODE");
    said(&["-g", "true"], "true is no option; the command stands behind --");
    said(&["run", "a", "b"], "unexpected argument");
    let nginx = sv.onit(&["nginx", "-g"]);
    let told = "onit: there is no verb nginx (\"onit help\" shows verbs; a program: onit -- nginx)\n";
    assert_eq!((nginx.code, nginx.stderr.as_str()), (100, told));
}

#[test]
fn an_essential_service_that_cannot_be_executed_has_ended() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    sv.service("vital").file("run", "#!/bin/sh\nexit 0\n").file("essential", "on-failure\n").create();
    let onit = sv.start(UnderTest::Onit);
    assert_eq!(onit.wait_end(SOON), Ending::Code(111));
    onit.wait_said(&["onit: vital: exited with 111; it is essential: stopping everything"]);
    onit.wait_said(&["onit: vital: cannot start ./run: Permission denied"]);
    assert!(!web.is_supervised() && sv.processes().is_empty());
}
