//! `onit run --s6-rc`: a source directory of s6-rc comes up and goes down as it is.

use crate::svdir::{Ending, SOON, ServiceBuilder, Supervisor, SvDir, missing_tools, onit, output, skip, wait_for};
use crate::verbs::json;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// A directory of the source, of this type, which needs these.
fn source(sv: &SvDir, name: &str, kind: &str, needs: &[&str]) -> ServiceBuilder {
    let source = sv.service_at(sv.root().join("src").join(name)).file("type", &format!("{kind}\n"));
    needs.iter().fold(source, |source, need| source.file(&format!("dependencies.d/{need}"), ""))
}

fn command(sv: &SvDir) -> Command {
    let mut command = Command::new(onit());
    command.args(["run", "--s6-rc"]).arg(sv.root().join("src")).env("ONIT_RUN", sv.live()).env("TRACE", trace_of(sv));
    command
}

fn start(sv: &SvDir) -> Supervisor {
    sv.spawn(command(sv))
}

fn trace_of(sv: &SvDir) -> String {
    sv.root().join("trace").to_str().expect("a printable path").to_owned()
}

fn trace(sv: &SvDir) -> Vec<String> {
    fs::read_to_string(trace_of(sv)).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// What onit tells of a service.
fn told(sv: &SvDir, name: &str) -> Value {
    let mut status = Command::new(onit());
    status.args(["status", "--json", name]).env("ONIT_RUN", sv.live()).env("SVDIR", sv.live().join("s6-rc"));
    let told = output(status);
    if told.stdout.starts_with('[') { json(&told.stdout)[0].clone() } else { Value::Null }
}

#[track_caller]
fn wait_state(sv: &SvDir, name: &str, state: &str) -> Value {
    let mut last = Value::Null;
    let looked = crate::svdir::poll_until(SOON, || {
        last = told(sv, name);
        (last["state"] == state).then(|| last.clone())
    });
    looked.unwrap_or_else(|| panic!("{name} is not {state}: {last}"))
}

/// Says in the trace that it is up, and later that it goes down.
const TRACED: &str = "#!/bin/sh
name=${PWD##*/}
trap 'echo \"$name down\" >>\"$TRACE\"; exit 0' TERM
echo \"$name says $(cat data/word)\"
echo \"$name up\" >>\"$TRACE\"
if [ -e notification-fd ]; then echo >&3; exec 3>&-; fi
while :; do sleep 0.02; done
";

fn traced(sv: &SvDir, name: &str, needs: &[&str]) -> ServiceBuilder {
    source(sv, name, "longrun", needs).exec("run", TRACED).file("data/word", &format!("word of {name}\n"))
}

#[test]
fn a_tree_comes_up_and_goes_down_in_order() {
    let sv = SvDir::new();
    let script = sv.root().join("prepare");
    crate::svdir::write_file(&script, "#!/bin/sh\necho \"$RC_NAME $1\" >>\"$TRACE\"\n", 0o755);
    let line = |words: &str| format!("# a comment\n{} {words}\n", script.display());
    source(&sv, "prepare", "oneshot", &[]).file("up", &line("\"is done\"")).file("down", &line("undone")).create();
    source(&sv, "anchor", "oneshot", &["prepare"]).file("up", "").create();
    source(&sv, "own", "oneshot", &["anchor"]).exec("up", "#!/bin/sh\necho own up >>\"$TRACE\"\n").create();
    let web = traced(&sv, "web", &["own", "database"]).file("notification-fd", "3\n").file("down", "");
    web.file("producer-for", "writer\n").create();
    // A pipeline of several, a program without the permission, and a service in a bundle in a bundle.
    let worker = source(&sv, "worker", "longrun", &["anchor"]).file("run", TRACED).file("data/word", "w\n");
    worker.file("producer-for", "writer\n").create();
    let writer = source(&sv, "writer", "longrun", &[]).file("consumer-for", "web\nworker\n");
    let log = sv.root().join("log");
    writer
        .exec("run", &format!("#!/bin/sh\nexec cat >>{}\n", log.display()))
        .file("pipeline-name", "logged\n")
        .create();
    traced(&sv, "db", &["anchor"]).file("notification-fd", "3\n").create();
    traced(&sv, "unused", &[]).create();
    source(&sv, "database", "bundle", &[]).file("contents.d/db", "").create();
    source(&sv, "default", "bundle", &[]).file("contents.d/logged", "").create();
    fs::write(sv.root().join("src/README"), "no directory, so no service\n").expect("written");

    let onit = start(&sv);
    for (name, state) in [("prepare", "up"), ("anchor", "done"), ("own", "done"), ("web", "up"), ("worker", "up")] {
        wait_state(&sv, name, state);
    }
    let up = wait_for("all", SOON, || Some(trace(&sv)).filter(|trace| trace.len() == 5));
    let at = |word: &str| up.iter().position(|line| line == word).unwrap_or_else(|| panic!("no {word}: {up:?}"));
    assert_eq!(up[0], "prepare is done");
    assert!(at("own up") < at("web up") && at("db up") < at("web up") && at("worker up") > 0, "{up:?}");
    assert_eq!(wait_state(&sv, "unused", "down")["enabled"], false);

    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    let down = trace(&sv).split_off(5);
    let at = |word: &str| down.iter().position(|line| line == word).unwrap_or_else(|| panic!("no {word}: {down:?}"));
    assert!(at("web down") < at("db down"), "{down:?}");
    assert_eq!((down.len(), down[3].as_str()), (4, "prepare undone"), "{down:?}");
    let mut logged: Vec<String> = fs::read_to_string(&log).expect("a log").lines().map(str::to_owned).collect();
    logged.sort();
    assert_eq!(logged, ["web says word of web", "worker says w"]);
    assert_eq!(onit.stderr(), "");
}

#[test]
fn without_a_bundle_of_that_name_all_start() {
    let sv = SvDir::new();
    traced(&sv, "one", &[]).create();
    source(&sv, "two", "oneshot", &[]).file("up", "/bin/sh -c \"echo two >>$TRACE\"\n").create();
    let onit = start(&sv);
    wait_state(&sv, "one", "up");
    wait_state(&sv, "two", "done");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    // What is left of it is no hindrance to the next one.
    let onit = start(&sv);
    wait_for("both lives", SOON, || (trace(&sv).iter().filter(|line| *line == "two").count() == 2).then_some(()));
    wait_state(&sv, "one", "up");
    let again = sv.spawn(command(&sv));
    assert_eq!(again.wait_end(SOON), Ending::Code(1));
    let line = again.stderr();
    assert!(line.ends_with("s6-rc is served by another supervisor (ONIT_RUN may name one)\n"), "{line}");
    wait_state(&sv, "one", "up");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

#[test]
fn what_is_wrong_in_a_tree_is_told_with_its_file_and_nothing_starts() {
    type Make = fn(&SvDir);
    let cases: [(Make, &[&str]); 12] = [
        (|sv| _ = source(sv, "a", "daemon", &[]).create(), &["/a/type says \"daemon\", which is neither oneshot, "]),
        (|sv| _ = sv.service_at(sv.root().join("src/a")).file("run", "").create(), &["/a/type is not there"]),
        (|sv| _ = source(sv, "a", "oneshot", &[]).create(), &["/a/up: a oneshot needs this file"]),
        (|sv| _ = source(sv, "a", "longrun", &[]).create(), &["/a/run: a longrun needs this file"]),
        (
            |sv| _ = traced(sv, "a", &["b"]).create(),
            &["/a/dependencies.d/b: there is no service or bundle of that name"],
        ),
        (|sv| _ = traced(sv, "s6rc-a", &[]).create(), &["/s6rc-a: such a name is reserved"]),
        (|sv| _ = traced(sv, "a\nb", &[]).create(), &["/a\\nb: such a name is reserved"]),
        (
            |sv| {
                source(sv, "a", "oneshot", &[]).create();
                let up = sv.root().join("src/a/up");
                nix::unistd::mkfifo(&up, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
            },
            &["/a/up: it is no regular file"],
        ),
        (
            |sv| {
                source(sv, "a", "oneshot", &[]).create();
                fs::write(sv.root().join("src/a/up"), b"echo \xff\n").expect("written");
            },
            &["/a/up: is no UTF-8"],
        ),
        (
            |sv| _ = traced(sv, "a", &[]).file("timeout-up", "1s\n").create(),
            &["/a/timeout-up says \"1s\", which is no "],
        ),
        (
            |sv| {
                traced(sv, "a", &["b"]).create();
                traced(sv, "b", &["a"]).create();
            },
            &["/a/dependencies.d: services need each other in a circle: a -> b -> a"],
        ),
        (
            |sv| {
                traced(sv, "a", &[]).file("producer-for", "b\n").create();
                traced(sv, "b", &[]).file("consumer-for", "c\n").create();
                traced(sv, "c", &[]).create();
            },
            &[
                "/a/producer-for names b, whose consumer-for does not",
                "/b/consumer-for names c, whose producer-for does",
            ],
        ),
    ];
    for (make, lines) in cases {
        let sv = SvDir::new();
        traced(&sv, "well", &[]).create();
        make(&sv);
        let refused = sv.run(command(&sv));
        let said: Vec<&str> = refused.stderr.lines().collect();
        assert_eq!((refused.code, said.len()), (1, lines.len()), "{refused:?}");
        let src = format!("onit: {}", sv.root().join("src").display());
        for (line, expected) in said.iter().zip(lines) {
            assert!(line.starts_with(&format!("{src}{expected}")), "{line:?} and {expected:?}");
        }
        assert_eq!(trace(&sv), [""; 0]);
    }
    let sv = SvDir::new();
    let refused = sv.run(command(&sv));
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.ends_with("/src: No such file or directory (os error 2)\n"), "{refused:?}");
    let mut empty = Command::new(onit());
    empty.args(["run", "--s6-rc", ""]);
    assert_eq!(sv.run(empty).code, 100);
}

#[test]
fn a_oneshot_that_fails_or_takes_too_long_has_failed_and_what_needs_it_waits() {
    let sv = SvDir::new();
    source(&sv, "fails", "oneshot", &[]).file("up", "sh -c \"echo tried >>$TRACE; exit 7\"\n").create();
    source(&sv, "hangs", "oneshot", &[]).file("up", "sleep 1000\n").file("timeout-up", "100\n").create();
    traced(&sv, "web", &["fails"]).create();
    traced(&sv, "worker", &["hangs"]).create();
    traced(&sv, "other", &[]).create();
    let onit = start(&sv);
    assert_eq!(wait_state(&sv, "fails", "failed")["exit"]["code"], 7);
    assert_eq!(wait_state(&sv, "hangs", "failed")["exit"]["signal"], 9);
    wait_state(&sv, "other", "up");
    for name in ["web", "worker"] {
        wait_state(&sv, name, "waiting");
    }
    let mut tried = wait_for("both lines", SOON, || Some(trace(&sv)).filter(|trace| trace.len() >= 2));
    tried.sort();
    assert_eq!(tried, ["other up", "tried"], "once");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(137), "the worst of its oneshots: {}", onit.stderr());
}

#[test]
fn what_is_execline_is_run_by_execlineb_or_one_line_says_that_there_is_none() {
    if let Some(missing) = missing_tools(&["execlineb"]) {
        skip!("{missing}");
    }
    for is_there in [true, false] {
        let sv = SvDir::new();
        let bin = sv.root().join("bin");
        fs::create_dir(&bin).expect("mkdir");
        symlink("/bin/sh", bin.join("sh")).expect("symlink");
        symlink("/bin/sleep", bin.join("sleep")).expect("symlink");
        let path = if is_there { std::env::var("PATH").expect("a PATH") } else { bin.display().to_string() };
        let block = "foreground { sh -c \"echo first >>$TRACE\" }\nsh -c \"echo second >>$TRACE\"\n";
        source(&sv, "block", "oneshot", &[]).file("up", block).create();
        source(&sv, "plain", "oneshot", &[]).file("up", "#!/nowhere/execlineb -P\nsh -c \"exit 0\"\n").create();
        source(&sv, "run", "longrun", &[]).exec("run", "#!/nowhere/execlineb -P\nsleep 1000\n").create();
        let mut command = command(&sv);
        command.env("PATH", path);
        let onit = sv.spawn(command);
        wait_state(&sv, "plain", "done");
        let src = sv.root().join("src").display().to_string();
        onit.wait_said(&[&format!("onit: {src}/run/run needs execlineb, which is not installed")]);
        if is_there {
            wait_state(&sv, "block", "done");
            assert_eq!(trace(&sv), ["first", "second"]);
        } else {
            onit.wait_said(&[&format!("onit: {src}/block/up needs execlineb, which is not installed")]);
            assert_eq!(wait_state(&sv, "block", "failed")["exit"]["code"], 127);
            onit.wait_said(&["onit: block: cannot execute execlineb: "]);
        }
        assert_eq!(onit.said(&["needs execlineb"]).len(), if is_there { 1 } else { 2 });
    }
}
