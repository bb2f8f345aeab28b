//! What of s6 a service has under plain `onit run`, by its files: which status record, who listens in `event/`, a PID
//! namespace of its own. Read by the real tools of s6, runit and daemontools.

use crate::proc;
use crate::svdir::{
    Ending, Output, SOON, Service, Supervisor, SvDir, UnderTest, is_root, missing_tools, send, skip, wait_for,
};
use crate::verbs::well;
use nix::sys::signal::Signal;
use std::fs;

fn start(sv: &SvDir, options: &[&str]) -> Supervisor {
    let mut command = UnderTest::Onit.program();
    command.args(options).arg(sv.path());
    sv.spawn(command)
}

fn length(service: &Service) -> usize {
    fs::read(service.path().join("supervise/status")).map_or(0, |record| record.len())
}

fn wait_length(service: &Service, wanted: usize) {
    wait_for(&format!("{wanted} bytes in {}", service.path().display()), SOON, || {
        (length(service) == wanted).then_some(())
    });
}

fn said(output: Output) -> String {
    output.stdout + &output.stderr
}

/// Numbers of processes and of seconds are not looked at.
fn without_numbers(line: &str) -> String {
    let digit = |c: char| c.is_ascii_digit();
    line.split_inclusive(|c: char| !digit(c)).map(|piece| piece.trim_start_matches(digit)).collect()
}

#[test]
fn one_record_is_read_by_the_tools_of_all() {
    if let Some(why) = missing_tools(&["sv", "svstat", "s6-svstat"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("echo >&3; exec 3>&-; exec sleep 1000").finish("exec sleep 1000");
    let web = web.file("notification-fd", "3\n").file("timeout-finish", "0\n").create();
    let quiet = sv.service("quiet").run("exec sleep 1000").create();
    let _onit = start(&sv, &["--status-format", "universal"]);
    wait_length(&web, 43);
    let lines = |service: &Service| {
        let path = service.path().to_str().expect("a path");
        let line =
            |tool: &str, args: &[&str]| without_numbers(said(sv.tool(tool, args)).replace(path, "DIR").trim_end());
        let kinds = ["up", "wantedup", "ready", "paused", "exitcode", "signal", "pid"].join(",");
        [
            line("sv", &["status", path]),
            line("svstat", &[path]),
            said(sv.tool("s6-svstat", &["-o", &kinds, path])).trim_end().to_owned(),
        ]
    };
    let wait_lines = |what: &str, service: &Service, wanted: [&str; 3]| {
        wait_for(what, SOON, || {
            let mut now = lines(service);
            let pid = service.status().and_then(|status| status.pid()).map_or("-1".to_owned(), |pid| pid.to_string());
            if let Some(rest) = now[2].strip_suffix(&format!(" {pid}")) {
                now[2] = format!("{rest} PID");
            }
            (now == wanted).then_some(())
        });
    };
    let up = ["run: DIR: (pid ) s", "DIR: up (pid )  seconds"];
    wait_lines("ready", &web, [up[0], up[1], "true true true false -1 NA PID"]);
    wait_lines("up", &quiet, [up[0], up[1], "true true false false -1 NA PID"]);
    quiet.control(b"p").expect("told");
    let paused = ["run: DIR: (pid ) s, paused", "DIR: up (pid )  seconds, paused"];
    wait_lines("paused", &quiet, [paused[0], paused[1], "true true false true -1 NA PID"]);
    quiet.control(b"cd").expect("told");
    let down = ["down: DIR: s, normally up", "DIR: down  seconds, normally up"];
    wait_lines("down", &quiet, [down[0], down[1], "false false false false -1 SIGTERM PID"]);
    web.control(b"d").expect("told");
    let finish = ["finish: DIR: (pid ) s, want down", "DIR: up (pid )  seconds, want down"];
    let pid = wait_for("finish", SOON, || {
        let status = web.status()?;
        (status.phase() == crate::svdir::Phase::Finish).then(|| status.pid()).flatten()
    });
    let now = lines(&web);
    assert_eq!(now[..2], finish, "{now:?}");
    assert_eq!(now[2], "false false false false -1 SIGTERM -1");
    assert!(said(sv.tool("s6-svstat", &[web.path().to_str().expect("a path")])).starts_with("down (signal SIGTERM)"));
    send(pid, Signal::SIGKILL);
    let down = ["down: DIR: s, normally up", "DIR: down  seconds, normally up"];
    wait_lines("down", &web, [down[0], down[1], "false false false false -1 SIGTERM PID"]);
}

#[test]
fn each_service_says_which_record_it_has() {
    let sv = SvDir::new();
    let make = |name: &str, format: &str| {
        sv.service(name).run("exec sleep 1000").file("status-format", &format!("{format}\n")).create()
    };
    let services = [("runit", 20), ("s6", 35), ("universal", 43), ("daemontools", 18), ("nothing", 43)];
    let services = services.map(|(name, length)| (make(name, name), length));
    let onit = start(&sv, &["--status-format=universal"]);
    for (service, length) in &services {
        wait_length(service, *length);
        let ok = service.path().join("supervise/ok");
        assert_eq!(ok.exists(), *length != 35, "{}", service.name());
    }
    let told = "nothing: status-format says \"nothing\", which is no value for it; going by the default";
    onit.wait_for("a line", SOON, || onit.stderr().contains(told).then_some(()));

    // It holds from the next start on, and there is what its tools look for.
    let s6 = &services[1].0;
    s6.write("status-format", "runit\n");
    well(&sv, &["restart", "s6"]);
    wait_length(s6, 20);
    wait_for("it is seen", SOON, || (sv.svok(&["s6"]).code == 0).then_some(()));

    // A supervisor that goes on after this one knows.
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    let universal = &services[2].0;
    well(&sv, &["restart", "universal", "daemontools"]);
    wait_length(universal, 43);
    wait_length(&services[3].0, 18);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

#[test]
fn a_wrong_word_for_all_is_told_and_starts_nothing() {
    let sv = SvDir::new();
    let mut command = UnderTest::Onit.program();
    command.args(["--status-format", "djb"]).arg(sv.path());
    let refused = sv.run(command);
    assert_eq!(refused.code, 100);
    assert!(refused.stderr.contains("\"djb\" is no format of a status record"), "{}", refused.stderr);
    let web = sv.service("web").run("exec sleep 1000").create();
    let mut command = UnderTest::Onit.program();
    command.arg(sv.path()).env("ONIT_STATUS_FORMAT", "djb");
    let onit = sv.spawn(command);
    wait_length(&web, 20);
    let told = "ONIT_STATUS_FORMAT: \"djb\" is no format of a status record: ignored";
    onit.wait_for("a line", SOON, || onit.stderr().contains(told).then_some(()));
}

#[test]
fn who_listens_in_an_event_directory_that_is_there_is_told() {
    if let Some(why) = missing_tools(&["s6-svwait", "s6-svc"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").file("status-format", "universal\n").dir("event").create();
    let quiet = sv.service("quiet").run("exec sleep 1000").create();
    let _onit = start(&sv, &[]);
    wait_length(&web, 43);
    quiet.wait_up();
    let path = web.path().to_str().expect("a path").to_owned();
    for words in [["-wu", "-u"], ["-wD", "-d"], ["-wu", "-o"], ["-wr", "-r"]] {
        // `-r` of what runs once is its end.
        let order = if words[1] == "-r" { "-ur" } else { words[1] };
        let done = sv.tool("s6-svc", &[words[0], "-T", "30000", order, &path]);
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{words:?}");
    }
    assert!(!quiet.path().join("event").exists(), "nobody has asked for it");
    assert_eq!(fs::read_dir(web.path().join("event")).expect("it is there").count(), 0);
}

#[test]
fn a_run_may_be_pid_1_of_a_namespace_of_its_own() {
    if !is_root() {
        skip!("only root may make PID namespaces");
    }
    let sv = SvDir::new();
    let web =
        sv.service("web").run("echo $$ >pid; (setsid sleep 1000 &); trap 'exit 0' TERM; while :; do sleep 0.1; done");
    let web = web.file("flag-newpidns", "").create();
    let _onit = start(&sv, &[]);
    wait_for("its own pid", SOON, || (web.text("pid") == "1\n").then_some(()));
    let pid = web.wait_up();
    let find =
        || proc::children(pid).into_iter().chain(sv.processes()).find(|pid| proc::command_line(*pid) == "sleep 1000");
    let detached = wait_for("what it has started", SOON, find);
    well(&sv, &["stop", "web"]);
    wait_for("the end of all of it", SOON, || proc::command_line(detached).is_empty().then_some(()));
}
