//! `onit run --loaders`: jobs that programs say become services; what such a program does to itself harms no job.

use crate::manual::{examples, page};
use crate::notify::wait_told;
use crate::proc;
use crate::restarts::{told, wait_state};
use crate::svdir::{
    Ending, Output, SOON, Supervisor, SvDir, UnderTest, missing_tools, onit, send, skip, wait_for, write_file,
};
use crate::verbs::{verb, well};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A loader as its specification has it, in a language that is not ours. What it says of a job is in the files JOB.PROPERTY
/// beside it, each an array; `late` in the name of one makes it answer that 0.3 s later, behind what is asked meanwhile.
/// It writes down what it is asked.
const LOADER: &str = r#"#!/usr/bin/python3 -SE
import json, os, select, sys, time
if sys.argv[1:] != ["godv1"]: sys.exit(3)
home = os.path.dirname(sys.argv[0]) + "/../said/"
numbered = WORD == "onitv1"
def say(words):
    sys.stdout.write(json.dumps(words, indent=1) + " ")
    sys.stdout.flush()
say([WORD] + JOBS)
late, buffer, decoder = [], "", json.JSONDecoder()
def answer(words, is_late=False):
    number, rest = (words[:1], words[1:]) if numbered else ([], words)
    with open(home + "asked", "a") as asked: asked.write(" ".join(rest) + "\n")
    path = home + ".".join(rest[:2])
    if os.path.exists(path + ".late") and not is_late:
        late.append((time.monotonic() + 0.3, words))
        return
    try: said = json.load(open(path))
    except FileNotFoundError: said = []
    if said == ["hang"]: return
    if said == ["flood"]:
        while True: sys.stdout.write("x" * 65536)
    if said == ["long"]: said = ["x" * 10_000_000]
    say(number + said)
while True:
    ready = select.select([0], [], [], 0.05 if late else None)[0]
    while late and late[0][0] <= time.monotonic(): answer(late.pop(0)[1], True)
    if not ready: continue
    piece = os.read(0, 65536).decode()
    if not piece: break
    buffer = (buffer + piece).lstrip()
    while buffer:
        words, end = decoder.raw_decode(buffer)
        buffer = buffer[end:].lstrip()
        answer(words)
"#;

struct Loaders<'s> {
    sv: &'s SvDir,
}

impl<'s> Loaders<'s> {
    fn new(sv: &'s SvDir) -> Loaders<'s> {
        for name in ["loaders", "said"] {
            fs::create_dir(sv.root().join(name)).expect("mkdir");
        }
        Loaders { sv }
    }

    fn dir(&self) -> PathBuf {
        self.sv.root().join("loaders")
    }

    /// A program in the directory, put there whole.
    fn program(&self, name: &str, text: &str) {
        let new = self.sv.root().join("new");
        write_file(&new, text, 0o755);
        fs::rename(new, self.dir().join(name)).expect("moved");
    }

    fn loader(&self, name: &str, word: &str, jobs: &[&str]) {
        let head = format!("WORD, JOBS = {word:?}, {jobs:?}\nimport");
        self.program(name, &LOADER.replacen("import", &head, 1));
    }

    /// What it says of a property of a job.
    fn says(&self, what: &str, words: Value) {
        let new = self.sv.root().join("new");
        fs::write(&new, words.to_string()).expect("written");
        fs::rename(new, self.sv.root().join("said").join(what)).expect("moved");
    }

    /// A job that starts by itself, and sleeps.
    fn sleeper(&self, job: &str) {
        self.says(&format!("{job}.auto"), json!(["true"]));
        self.says(&format!("{job}.exec"), json!(["sleep", "1000"]));
    }

    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.sv.root().join("said/asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|it| *it == what).count()
    }

    /// It is asked this once more.
    fn wait_asked(&self, what: &str) {
        let before = self.count(what);
        wait_for(what, SOON, || (self.count(what) > before).then_some(()));
    }

    fn start(&self) -> Supervisor {
        let mut command = UnderTest::Onit.program();
        command.arg("--loaders").arg(self.dir()).arg(self.sv.path());
        self.sv.spawn(command)
    }

    fn pid(&self, job: &str) -> u32 {
        wait_for(job, SOON, || {
            let told = told(self.sv, job);
            told["pid"].as_u64().filter(|_| told["state"] == "up").and_then(|pid| u32::try_from(pid).ok())
        })
    }
}

/// The process `onit loaders`, and a loader.
fn helper(onit: &Supervisor) -> u32 {
    let find = || proc::children(onit.pid()).into_iter().find(|pid| proc::command_line(*pid).contains(" loaders "));
    wait_for("onit loaders", SOON, find)
}

fn loader(onit: &Supervisor, name: &str) -> u32 {
    let is_it = |pid: &u32| proc::command_line(*pid).contains(&format!("/loaders/{name} godv1"));
    wait_for(name, SOON, || proc::children(helper(onit)).into_iter().find(is_it))
}

/// What onit says, but for loaders that needed more than their half second to begin, on a machine that is that slow.
fn said(onit: &Supervisor) -> Vec<String> {
    let is_late = |line: &str| {
        line.ends_with("has not said hello within 500ms; killing it") || line.contains(": has ended: SIGKILL")
    };
    onit.stderr().lines().filter(|line| !is_late(line)).map(str::to_owned).collect()
}

fn stop(onit: &Supervisor) {
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

macro_rules! need_python {
    () => {
        if let Some(why) = missing_tools(&["python3"]) {
            skip!("{why}");
        }
    };
}

#[test]
fn jobs_are_services_that_start_in_order_with_what_their_loader_says() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["web", "init", "db", "idle"]);
    ["web", "db", "idle"].iter().for_each(|job| loaders.sleeper(job));
    loaders.says("web.auto", json!(["db", "init"]));
    loaders.says("idle.auto", json!(["false"]));
    loaders.says("init.auto", json!(["true"]));
    let line = "env >../said/env; pwd >>../said/env; test -n \"$NOTIFY_SOCKET\" && echo told; exit 0";
    loaders.says("init.exec", json!(["sh", "-c", line]));
    loaders.says("init.env", json!(["A=b c", "PATH=/usr/bin:/bin"]));
    loaders.says("init.check", json!(["degrade", "10"]));
    loaders.says("db.check", json!(["degrade", "20"]));
    sv.service("own").run("exec sleep 1000").create();
    let onit = loaders.start();
    wait_state(&sv, "init", "done");
    wait_state(&sv, "db", "starting");
    wait_state(&sv, "idle", "down");
    let reason = wait_state(&sv, "web", "waiting")["reason"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.starts_with("db ")), "{reason}");
    wait_state(&sv, "own", "up");
    loaders.says("db.check", json!(["ok", "20"]));
    loaders.pid("web");
    let env = fs::read_to_string(sv.root().join("said/env")).expect("said");
    let mut lines: Vec<&str> = env.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with('_')).collect();
    lines.sort_unstable();
    lines.retain(|line| !line.starts_with("SHLVL="));
    assert_eq!(lines, [loaders.dir().to_str().expect("a path"), "A=b c", "PATH=/usr/bin:/bin"]);
    assert_eq!(onit.stdout(), "");
    well(&sv, &["start", "idle"]);
    well(&sv, &["restart", "web"]);
    well(&sv, &["stop", "idle"]);
    // Where tools look.
    let shown = sv.live().join("service/db/supervise/status");
    assert!(shown.exists(), "{}", shown.display());
    let before = loaders.asked();
    assert!(before.contains(&"init onStart".into()) && before.contains(&"init onDone".into()), "{before:?}");
    let place = |what: &str| before.iter().position(|it| it == what).unwrap_or_else(|| panic!("{what}: {before:?}"));
    assert!(place("db onRun") < place("web exec") && place("init onDone") < place("web exec"), "{before:?}");
    stop(&onit);
    let stopped: Vec<String> = loaders.asked().into_iter().filter(|it| it.ends_with("onStop")).collect();
    assert!(stopped.ends_with(&["web onStop".into(), "db onStop".into()]), "{stopped:?}");
    assert!(!sv.live().join("loaded").exists(), "what was written for them has gone");
    assert_eq!(said(&onit), [""; 0]);
}

#[test]
fn a_check_says_how_a_job_is_and_what_is_to_be_done() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["web", "db"]);
    loaders.sleeper("web");
    loaders.sleeper("db");
    loaders.says("web.check", json!(["degrade", "20"]));
    let onit = loaders.start();
    let db = loaders.pid("db");
    wait_state(&sv, "web", "starting");
    assert_eq!(wait_told(&sv, "web", "status_text", "loader: start")["ready"], false);
    loaders.says("web.check", json!(["ok", "20"]));
    assert_eq!(wait_told(&sv, "web", "status_text", "loader: run")["ready"], true);
    let web = loaders.pid("web");
    loaders.says("web.check", json!(["degrade", "20"]));
    assert_eq!(wait_told(&sv, "web", "status_text", "loader: degrade")["ready"], true);
    loaders.says("web.check", json!(["@db", "restart"]));
    wait_for("another db", SOON, || (loaders.pid("db") != db).then_some(()));
    loaders.says("web.check", json!(["fail"]));
    wait_for("another web", SOON, || told(&sv, "web")["pid"].as_u64().filter(|pid| *pid != u64::from(web)));
    loaders.says("web.check", json!(["what", "is this"]));
    let strange = "onit: loaders: web: [\"what\", \"is this\"] is no answer to check";
    wait_for(strange, SOON, || onit.stderr().contains(strange).then_some(()));
    loaders.says("web.check", json!(["stop"]));
    wait_state(&sv, "web", "down");
    assert!(loaders.count("web onStopped") >= 1 && loaders.count("web onDegrade") >= 1);
    stop(&onit);
    assert_eq!(said(&onit).len(), 1, "{}", onit.stderr());
}

#[test]
fn a_stop_has_the_time_that_the_loader_gives_it_also_in_a_restart() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["polite", "deaf", "asked"]);
    ["polite", "deaf", "asked"].iter().for_each(|job| loaders.sleeper(job));
    let deaf = "trap '' INT TERM; echo >../said/deaf; while :; do sleep .1; done";
    loaders.says("deaf.exec", json!(["sh", "-c", deaf]));
    loaders.says("deaf.stop", json!(["300"]));
    let onit = loaders.start();
    let ends = |job: &str| told(&sv, job)["exit"]["name"].clone();
    let polite = loaders.pid("polite");
    well(&sv, &["stop", "polite"]);
    assert_eq!(ends("polite"), "SIGINT");
    assert!(loaders.asked().contains(&format!("polite stop {polite}")));
    let first = loaders.pid("deaf");
    wait_for("it to be deaf", SOON, || sv.root().join("said/deaf").exists().then_some(()));
    fs::remove_file(sv.root().join("said/deaf")).expect("removed");
    let begun = Instant::now();
    well(&sv, &["restart", "deaf"]);
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
    assert_eq!(ends("deaf"), "SIGKILL");
    assert_ne!(loaders.pid("deaf"), first);
    wait_for("it to be deaf", SOON, || sv.root().join("said/deaf").exists().then_some(()));
    send(helper(&onit), Signal::SIGSTOP); // what is asked to end the service is in a file as well
    let begun = Instant::now();
    let stopping = verb(&sv, &["stop", "-t", "60", "deaf"]);
    assert_eq!((stopping.code, ends("deaf")), (0, "SIGKILL".into()), "{stopping:?}");
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    send(helper(&onit), Signal::SIGCONT);
    stop(&onit);
}

#[test]
fn a_loader_is_replaced_while_its_jobs_go_on() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["web", "old"]);
    ["web", "old", "new"].iter().for_each(|job| loaders.sleeper(job));
    loaders.says("web.check", json!(["ok", "30"]));
    let onit = loaders.start();
    let (web, first) = (loaders.pid("web"), loader(&onit, "one"));
    loaders.pid("old");
    loaders.loader("one", "godv1", &["web", "new"]);
    loaders.pid("new");
    wait_for("old to go", SOON, || told(&sv, "old").is_null().then_some(()));
    wait_for("its directory to go", SOON, || {
        let entries = fs::read_dir(sv.live().join("loaded")).expect("there").flatten();
        (!entries.map(|entry| entry.file_name()).any(|name| name == ".gone-old")).then_some(())
    });
    assert_ne!(loader(&onit, "one"), first);
    assert!(!proc::is_alive(first));
    loaders.wait_asked("web check");
    // What is no loader any more changes nothing.
    loaders.program("one", "#!/bin/sh\nexec sleep 1000\n");
    wait_for("a line", SOON, || onit.stderr().contains("one: has not said hello within 500ms").then_some(()));
    loaders.wait_asked("web check");
    assert_eq!(loaders.pid("web"), web);
    // It gets another name, and its jobs with it.
    fs::remove_file(loaders.dir().join("one")).expect("removed");
    wait_for("web to go", SOON, || told(&sv, "web").is_null().then_some(()));
    loaders.loader("two", "godv1", &["web"]);
    let web = loaders.pid("web");
    fs::rename(loaders.dir().join("two"), loaders.dir().join("three")).expect("renamed");
    loader(&onit, "three");
    loaders.wait_asked("web check");
    assert_eq!(loaders.pid("web"), web);
    stop(&onit);
}

#[test]
fn a_loader_that_dies_or_hangs_is_started_again_and_its_jobs_go_on() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["web"]);
    loaders.loader("two", "godv1", &["other"]);
    loaders.sleeper("web");
    loaders.sleeper("other");
    loaders.says("web.check", json!(["ok", "30"]));
    let onit = loaders.start();
    let (web, other) = (loaders.pid("web"), loaders.pid("other"));
    let first = loader(&onit, "one");
    send(first, Signal::SIGKILL);
    wait_for("another one", SOON, || (loader(&onit, "one") != first).then_some(()));
    loaders.wait_asked("web check");
    for (says, line) in [
        ("hang", "onit: loaders: one: has not answered check of web within 5s; killing it"),
        ("flood", "onit: loaders: one: says what is no array of strings"),
        ("long", "onit: loaders: one: says a message of more than 1048576 bytes; killing it"),
    ] {
        loaders.says("web.check", json!([says]));
        wait_for(line, SOON, || onit.stderr().contains(line).then_some(()));
        loaders.says("web.check", json!(["ok", "30"]));
        loaders.wait_asked("web check");
    }
    assert!(onit.stderr().contains("onit: loaders: one: has ended: SIGKILL"), "{}", onit.stderr());
    assert_eq!((loaders.pid("web"), loaders.pid("other")), (web, other));
    stop(&onit);
}

#[test]
fn what_is_no_loader_is_killed_and_the_others_go_on() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.program("silent", "#!/bin/sh\nexec sleep 1000\n");
    loaders.program("other", "#!/bin/sh\necho '[\"godv2\", \"web\"]'; exec sleep 1000\n");
    loaders.program("ends", "#!/bin/sh\necho oops >&2; exit 3\n");
    loaders.program("none.sh~", "#!/bin/sh\nexec sleep 1000\n");
    loaders.loader("good", "godv1", &["web", "own", "../x"]);
    loaders.sleeper("web");
    loaders.sleeper("own");
    let own = sv.service("own").run("exec sleep 1000").create();
    fs::write(loaders.dir().join("README"), "no program").expect("written");
    let onit = loaders.start();
    loaders.pid("web");
    let own_pid = own.wait_up();
    let taken = format!("good: the job own is refused: {} has a service of that name", sv.path().display());
    for line in [
        "silent: has not said hello within 500ms; killing it",
        "other: is no loader: its first word is \"godv2\", and neither godv1 nor onitv1; killing it",
        "ends L: oops",
        "ends: has ended: exit 3",
        "good: \"../x\" can be no name of a job",
        &taken,
    ] {
        let line = format!("onit: loaders: {line}");
        wait_for(&line, SOON, || onit.stderr().contains(&line).then_some(()));
    }
    assert!(!onit.stderr().contains("README") && !onit.stderr().contains("none.sh"), "{}", onit.stderr());
    assert_eq!(own.wait_up(), own_pid);
    fs::rename(own.path(), sv.root().join("away")).expect("moved");
    wait_for("own to go", SOON, || (told(&sv, "own")["pid"].as_u64() != Some(own_pid.into())).then_some(()));
    well(&sv, &["rescan"]);
    wait_for("the job", SOON, || {
        let _ = verb(&sv, &["rescan"]);
        told(&sv, "own")["status_text"].as_str().filter(|text| *text == "loader: run").map(drop)
    });
    stop(&onit);
}

#[test]
fn with_numbers_answers_come_in_any_order_and_output_has_a_reader() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "onitv1", &["slow", "web"]);
    loaders.sleeper("slow");
    loaders.says("slow.check", json!(["ok", "10"]));
    loaders.says("slow.check.late", json!([]));
    let socket = sv.root().join("web.sock").display().to_string();
    loaders.says("web.auto", json!(["true"]));
    let line = "echo said by web, $LISTEN_FDS $LISTEN_FDNAMES; test $$ = $LISTEN_PID && exec sleep 1000";
    loaders.says("web.exec", json!(["sh", "-c", line]));
    loaders.says("web.env", json!(["PATH=/usr/bin:/bin"]));
    loaders.says("web.log", json!(["sh", "-c", "exec cat >../said/log"]));
    loaders.says("web.check", json!(["ok", "20"]));
    loaders.says("web.sockets", json!([format!("unix {socket} name=front")]));
    let onit = loaders.start();
    loaders.pid("slow");
    wait_for("a line", SOON, || {
        (fs::read_to_string(sv.root().join("said/log")).unwrap_or_default() == "said by web, 1 front\n").then_some(())
    });
    loaders.pid("web");
    std::os::unix::net::UnixStream::connect(&socket).expect("it listens");
    let overtaken = || {
        let asked = loaders.asked();
        let late: Vec<usize> = (0..asked.len()).filter(|at| asked[*at] == "slow check").collect();
        late.chunks_exact(2).any(|pair| asked[pair[0]..pair[1]].iter().any(|it| it == "web check")).then_some(())
    };
    wait_for("an answer that comes before an earlier one", SOON, overtaken);
    assert_eq!(said(&onit), [""; 0]);
    stop(&onit);
}

#[test]
fn jobs_go_on_and_start_again_while_onit_loaders_is_away_and_over_upgrades_and_faults() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["web"]);
    loaders.sleeper("web");
    loaders.says("web.check", json!(["ok", "30"]));
    let onit = loaders.start();
    let (web, first) = (loaders.pid("web"), helper(&onit));
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["SIGSEGV: starting again"]);
    loaders.wait_asked("web check");
    assert_eq!((loaders.pid("web"), helper(&onit)), (web, first));
    // It has lived for longer than its pause, so it starts again before there is anybody to ask what it is.
    wait_for("it to have lived", SOON, || told(&sv, "web")["seconds"].as_f64().filter(|it| *it > 1.5));
    let socket = sv.live().join("loaded/.socket");
    send(first, Signal::SIGKILL);
    fs::remove_file(&socket).expect("removed");
    send(web, Signal::SIGKILL);
    let again = wait_for("another web", SOON, || {
        told(&sv, "web")["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != web)
    });
    wait_for("another one", SOON, || (helper(&onit) != first).then_some(()));
    loaders.wait_asked("web check");
    assert!(onit.stderr().contains("onit loaders was killed by SIGKILL; starting it again, their jobs go on"));
    assert_eq!(loaders.pid("web"), again, "{}", onit.stderr());
    assert!(proc::command_line(again).contains("sleep"));
    assert!(!onit.stderr().contains("what to run is not known"), "{}", onit.stderr());
    stop(&onit);
    assert!(!sv.live().join("loaded").exists());
}

#[test]
fn without_a_directory_of_services_there_are_only_jobs() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["web"]);
    loaders.sleeper("web");
    fs::create_dir_all(sv.live().join("loaded/left/supervise")).expect("mkdir");
    write_file(&sv.live().join("loaded/left/run"), "#!/bin/sh\nexec sleep 1000\n", 0o755);
    let mut command = UnderTest::Onit.program();
    command.env("ONIT_LOADERS", loaders.dir()).env_remove("SVDIR");
    let onit = sv.spawn(command);
    let find = || {
        let mut command = Command::new(crate::svdir::onit());
        command.args(["status", "--json"]).env("ONIT_RUN", sv.live()).env_remove("SVDIR");
        let Output { code, stdout, .. } = crate::svdir::output(command);
        let all: Vec<Value> = (code == 0).then(|| serde_json::from_str(&stdout).expect("JSON"))?;
        let names: Vec<String> = all.iter().filter_map(|it| it["name"].as_str().map(str::to_owned)).collect();
        (names == ["web"] && all[0]["state"] == "up").then_some(())
    };
    wait_for("web alone", SOON, find);
    stop(&onit);
    assert_eq!(said(&onit), [""; 0]);
    for words in [&["run", "--loaders", ""][..], &["--loaders", "/x", "--", "true"]] {
        let mut command = Command::new(crate::svdir::onit());
        command.args(words);
        assert_eq!(crate::svdir::output(command).code, 100, "{words:?}");
    }
}

#[test]
fn a_program_of_the_library_carries_its_own_jobs() {
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    let program = onit().with_file_name("examples").join("loader");
    std::os::unix::fs::symlink(&program, loaders.dir().join("example")).expect("linked");
    let mut command = UnderTest::Onit.program();
    command.arg("--loaders").arg(loaders.dir()).arg(sv.path()).env("TMPDIR", sv.root());
    let onit = sv.spawn(command);
    let (db, web) = (loaders.pid("db"), loaders.pid("web"));
    assert!(proc::command_line(db).contains("sleep 1000"));
    assert!(proc::command_line(web).contains(" godv1 web"));
    wait_for("its line", SOON, || onit.stderr().contains("serving on port 8080").then_some(()));
    send(db, Signal::SIGKILL);
    let line = "onit: loaders: example L: db has ended with -1";
    wait_for(line, SOON, || onit.stderr().contains(line).then_some(()));
    let sleeps = |pid: &u32| *pid != db && proc::command_line(*pid).starts_with("sleep");
    wait_for("another db", SOON, || Some(loaders.pid("db")).filter(sleeps));
    assert_eq!(loaders.pid("web"), web);
    let flag = sv.root().join("onit-example-db");
    assert!(flag.exists());
    stop(&onit);
    assert!(!flag.exists());
}

#[test]
fn the_example_of_the_manual_is_a_loader() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.program("example", &examples(&page("onit-loaders.7"))[0]);
    let onit = loaders.start();
    let web = loaders.pid("web");
    assert!(proc::command_line(web).contains("sleep 1001"));
    stop(&onit);
    assert_eq!(said(&onit), [""; 0]);
}

#[test]
fn what_waits_for_all_services_waits_for_jobs_too() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["job"]);
    loaders.says("job.auto", json!(["true"]));
    loaders.says("job.check", json!(["degrade"]));
    loaders.says("job.exec", json!(["sh", "-c", "echo done >>../said/work"]));
    let work = || fs::read_to_string(sv.root().join("said/work")).unwrap_or_default();
    let begin = |words: &[&str]| {
        let mut command = UnderTest::Onit.program();
        command.arg("--loaders").arg(loaders.dir()).args(&words[..words.len().min(2)]).arg(sv.path());
        command.args(&words[words.len().min(2)..]);
        sv.spawn(command)
    };
    let onit = begin(&["--until", "done"]);
    assert_eq!((onit.wait_end(SOON), work()), (Ending::Code(0), "done\n".into()), "{}", onit.stderr());
    let there = format!("test -d {}/loaded/job", sv.live().display());
    let onit = begin(&["--poll", "never", "--", "sh", "-c", &there]);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

#[test]
fn a_job_is_replaced_by_a_second_run_when_its_loader_says_that_it_is_ready() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("one", "godv1", &["web"]);
    loaders.sleeper("web");
    loaders.says("web.check", json!(["ok", "30"]));
    let onit = loaders.start();
    let first = loaders.pid("web");
    well(&sv, &["restart", "--overlap", "web"]);
    let second = loaders.pid("web");
    assert_ne!(second, first);
    loaders.says("web.check", json!(["degrade", "30"]));
    wait_told(&sv, "web", "status_text", "loader: degrade");
    loaders.wait_asked("web check");
    assert_eq!(loaders.pid("web"), second);
    well(&sv, &["stop", "web"]);
    assert!(loaders.asked().contains(&format!("web stop {second}")));
    stop(&onit);
    assert_eq!(said(&onit), [""; 0]);
}

/// It has not been told before, so there is nothing else that the job could become.
#[test]
fn who_is_stopped_and_continued_while_it_asks_what_to_become_becomes_it() {
    need_python!();
    let sv = SvDir::new();
    let loaders = Loaders::new(&sv);
    loaders.loader("x", "onitv1", &["web"]);
    loaders.sleeper("web");
    loaders.says("web.exec.late", json!([]));
    let onit = loaders.start();
    let (helper, reads) = (helper(&onit), Some(nix::libc::SYS_recvfrom));
    let asks = |pid: &u32| *pid != helper && proc::syscall(*pid) == reads;
    let waiter = wait_for("who asks", SOON, || proc::children(onit.pid()).into_iter().find(asks));
    send(waiter, Signal::SIGSTOP);
    send(waiter, Signal::SIGCONT);
    assert_eq!(loaders.pid("web"), waiter);
    wait_for("the job", SOON, || proc::is_called(waiter, "sleep").then_some(()));
    assert_eq!(said(&onit), [""; 0]);
    stop(&onit);
}
