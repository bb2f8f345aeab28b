//! What of s6 a service has under plain `onit run`, by its files: which status record, who listens in `event/`, a PID
//! namespace of its own. Read by the real tools of s6, runit and daemontools.

use crate::proc;
use crate::svdir::{Ending, SOON, Service, SvDir, UnderTest, is_root, missing_tools, skip, wait_for};
use crate::verbs::well;
use nix::sys::signal::Signal;
use std::fs;

fn length(service: &Service) -> usize {
    fs::read(service.path().join("supervise/status")).map_or(0, |record| record.len())
}

fn wait_length(service: &Service, wanted: usize) {
    wait_for(&format!("{wanted} bytes in {}", service.path().display()), SOON, || {
        (length(service) == wanted).then_some(())
    });
}

#[test]
fn each_service_says_which_record_it_has() {
    let sv = SvDir::new();
    let make = |name: &str, format: &str| {
        sv.service(name).run("exec sleep 1000").file("status-format", &format!("{format}\n")).create()
    };
    let services = [("runit", 20), ("s6", 35), ("universal", 43), ("daemontools", 18), ("nothing", 43)];
    let services = services.map(|(name, length)| (make(name, name), length));
    let onit = sv.start_with(&["--status-format=universal"]);
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
    let _onit = sv.start_with(&[]);
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
        sv.service("web").run("trap 'exit 0' TERM; echo $$ >pid; (setsid sleep 1000 &); while :; do sleep 0.1; done");
    let web = web.file("flag-newpidns", "").create();
    let _onit = sv.start_with(&[]);
    wait_for("its own pid", SOON, || (web.text("pid") == "1\n").then_some(()));
    let pid = web.wait_up();
    let find =
        || proc::children(pid).into_iter().chain(sv.processes()).find(|pid| proc::command_line(*pid) == "sleep 1000");
    let detached = wait_for("what it has started", SOON, find);
    well(&sv, &["stop", "web"]);
    wait_for("the end of all of it", SOON, || proc::command_line(detached).is_empty().then_some(()));
}
