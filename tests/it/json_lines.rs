//! With `--log json` everything that onit says is an object a line, from the first line to the last, also where it says
//! it before it supervises, after it has failed, or in the place of a program that cannot be executed.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{Ending, SOON, Supervisor, SvDir, is_root, missing_tools, onit, output, skip, wrapped};

/// The messages of these lines, all of which are objects with the keys that are promised.
#[track_caller]
fn messages(stderr: &str) -> Vec<String> {
    let message = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{stderr}"));
        assert!(object["time"].as_f64().is_some_and(|time| time > 1.7e9), "{line}");
        assert!(["info", "warning"].iter().any(|level| object["level"] == *level), "{line}");
        assert!(object["service"].is_string() || object["service"].is_null(), "{line}");
        object["message"].as_str().unwrap_or_else(|| panic!("no message: {line}")).to_owned()
    };
    stderr.lines().map(message).collect()
}

/// Each of these words is in one of the messages.
#[track_caller]
fn are_said(stderr: &str, words: &[&str]) {
    let messages = messages(stderr);
    for word in words {
        assert!(messages.iter().any(|message| message.contains(word)), "nothing of {word:?}: {messages:#?}");
    }
}

fn json(sv: &SvDir) -> Command {
    let mut command = Command::new(onit());
    command.args(["run", "-v", "--log", "json"]).arg(sv.path());
    command
}

/// A directory with something for every line that comes from services.
fn troubled() -> SvDir {
    let sv = SvDir::new();
    sv.service("fails").run("exit 3").create();
    sv.service("absent").exec("run", "#!/nonexistent/interpreter\n").create();
    sv.service("c1 \u{9b}31m").run("exit 4").create();
    sv.service("deaf")
        .run("trap '' TERM; echo >is_deaf; while :; do sleep 0.1; done")
        .file("timeout-kill", "200ms\n")
        .create();
    sv.service("left").run("(trap '' TERM; setsid sleep 1000 2>&- & echo $! >is_left); exec sleep 1000").create();
    sv
}

const TROUBLES: [&str; 7] = [
    "exited with 3",
    "exited with 4",
    "cannot start",
    "SIGSEGV: starting again",
    "is still running",
    "ONIT_POLL says",
    "ONIT_STOP_TIMEOUT says",
];

#[test]
fn a_supervisor_says_everything_in_objects() {
    let sv = troubled();
    let mut command = json(&sv);
    command.env("ONIT_POLL", "often").env("ONIT_STOP_TIMEOUT", "soon").env("ONIT_STATUS_GROUP", "nobody's");
    let onit = sv.spawn(command);
    onit.wait_said(&["exited with 3"]);
    onit.wait_said(&["exited with 4"]);
    onit.wait_said(&["cannot start"]);
    sv.existing("deaf").wait_text("is_deaf", |text| !text.is_empty());
    sv.existing("left").wait_text("is_left", |text| !text.is_empty());
    let second = output(json(&sv));
    assert_eq!(second.code, 111, "{}", second.stderr);
    are_said(&second.stderr, &["already serves it"]);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["starting again"]);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(2 * SOON), Ending::Code(0));
    are_said(&onit.stderr(), &TROUBLES);
    are_said(&onit.stderr(), &["no group nobody's"]);
    assert!(!onit.said(&["c1 \\u009b31m"]).is_empty(), "the name is not whole: {}", onit.stderr());
}

#[test]
fn what_is_refused_at_the_start_is_refused_in_one_object() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let (dir, service) = (sv.path(), web.path().to_owned());
    let (dir, service) = (dir.to_str().expect("a printable path"), service.to_str().expect("a printable path"));
    let long = format!("/{}", "x/".repeat(3000));
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "--log", "json", "--poll", "often", dir], 100, "--poll often"),
        (&["run", "--log", "json", "--nonsense", dir], 100, "--nonsense"),
        (&["run", "--log", "json", "--control-group"], 100, "--control-group"),
        (&["run", "--log", "json", dir, "other"], 100, "other"),
        (&["run", "--log", "json", dir, "--"], 100, "no command behind --"),
        (&["run", "--log", "json", service], 100, "is a service"),
        (&["--log", "json", "--poll", "1", "--", "true"], 100, "--poll"),
        (&["--log", "json", "--exit-map", "1", "--", "true"], 100, "--exit-map 1"),
        (&["--log", "json", "--", "/nonexistent/program"], 127, "cannot run /nonexistent/program"),
        (&["--log", "json", "--", &long], 126, "cannot run /x/x"),
        (&["run", "--log", "json", dir, "--", "/nonexistent/program"], 127, "cannot run /nonexistent/program"),
    ];
    for (words, code, message) in cases {
        let mut command = Command::new(onit());
        command.args(*words);
        let refused = output(command);
        assert_eq!((refused.code, refused.stdout.as_str()), (*code, ""), "{words:?}: {}", refused.stderr);
        are_said(&refused.stderr, &[message]);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}

/// The supervisor's pid as we see it; `unshare` waits for it and ends as it does.
fn inner(unshare: &Supervisor) -> u32 {
    unshare.wait_for("PID 1", SOON, || proc::children(unshare.pid()).pop())
}

#[test]
fn a_container_says_everything_in_objects_also_that_it_cannot_be_rebooted() {
    let lacking = missing_tools(&["unshare", "setpriv"]).or_else(|| (!is_root()).then(|| "needs root".to_owned()));
    if let Some(why) = lacking {
        skip!("{why}");
    }
    let in_container = |main: &[&str], end: &str, words: &[&str]| {
        let sv = troubled();
        let mut command = json(&sv);
        command.args(main);
        let powerless = ["setpriv", "--bounding-set", "-sys_boot", "--inh-caps", "-sys_boot"];
        let command = wrapped(&powerless, &command);
        let mut command = wrapped(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], &command);
        command.env("container", "yes").env("ONIT_POLL", "often").env("ONIT_STOP_TIMEOUT", "soon");
        let unshare = sv.spawn(command);
        for words in ["exited with 3", "exited with 4", "cannot start"] {
            unshare.wait_said(&[words]);
        }
        sv.existing("deaf").wait_text("is_deaf", |text| !text.is_empty());
        sv.existing("left").wait_text("is_left", |text| !text.is_empty());
        let onit = inner(&unshare).to_string();
        let send = |signal| Command::new("kill").args(["-s", signal, onit.as_str()]).status_in_turn().expect("kill");
        assert!(send("SEGV").success());
        unshare.wait_said(&["starting again"]);
        assert!(send(end).success());
        unshare.wait_for("its end", 2 * SOON, || unshare.ended());
        are_said(&unshare.stderr(), &TROUBLES);
        are_said(&unshare.stderr(), words);
    };
    in_container(&["--", "sleep", "1000"], "TERM", &["starting again; the main process"]);
    in_container(&[], "39", &["cannot reboot this container"]); // RTMIN+5
}

/// Only a build for tests fails when told. Without services nobody goes on, and the words of a panic are the last ones.
#[cfg(debug_assertions)]
#[test]
fn a_panic_is_told_in_an_object_whether_it_goes_on_or_not() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let told = sv.root().join("panic");
    let fail = |mut command: Command, words: &str| {
        let onit = sv.spawn({
            command.env("ONIT_TEST_PANIC", &told);
            command
        });
        onit.wait_for("a handler of HUP", SOON, || proc::children(onit.pid()).pop());
        std::fs::write(&told, "").expect("write");
        onit.signal(Signal::SIGHUP);
        onit.wait_said(&[words]);
        onit.signal(Signal::SIGTERM);
        onit.wait_for("its end", SOON, || onit.ended());
        are_said(&onit.stderr(), &[words, "divide by zero"]);
    };
    fail(json(&sv), "starting again");
    let mut alone = Command::new(env!("CARGO_BIN_EXE_onit"));
    alone.args(["--log", "json", "--", "sleep", "1000"]);
    fail(alone, "this is a mistake in onit");
}
