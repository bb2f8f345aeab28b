//! onit's own verbs: against onit through its socket, and against runit through the files.

use crate::proc;
use crate::restarts::wait_state;
use crate::svdir::{
    self, Output, SOON, Service, Supervisor, SvDir, UnderTest, is_starved, missing_tools, skip, spawn, wait_for,
};
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// `onit ARGS…`, which finds the socket of the supervisor of this directory.
pub fn command(sv: &SvDir, args: &[&str]) -> Command {
    let mut command = Command::new(svdir::onit());
    command.args(args).env("ONIT_RUN", sv.live()).env_remove("SVWAIT").env("TZ", "UTC0").current_dir(sv.root());
    command
}

#[track_caller]
pub fn verb(sv: &SvDir, args: &[&str]) -> Output {
    sv.run(command(sv, args))
}

/// A verb that is to succeed. What it printed.
#[track_caller]
pub fn well(sv: &SvDir, args: &[&str]) -> String {
    let output = verb(sv, args);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args:?}: {output:?}");
    output.stdout
}

/// A verb that is to fail like this, with these words on standard error.
#[track_caller]
pub fn fails(sv: &SvDir, args: &[&str], code: i32, words: &[&str]) {
    let output = verb(sv, args);
    assert_eq!(output.code, code, "{args:?}: {output:?}");
    assert!(words.iter().all(|word| output.stderr.contains(word)), "{args:?}: {}", output.stderr);
    assert!(output.stderr.lines().all(|line| line.starts_with("onit: ")), "{}", output.stderr);
}

/// Starts a supervisor and waits until the verbs reach it.
pub fn start(sv: &SvDir, which: UnderTest) -> Supervisor {
    let supervisor = sv.start(which);
    let reaches = || (verb(sv, &["status", "--json"]).code == 0).then_some(());
    supervisor.wait_for("a status", SOON, reaches);
    if which == UnderTest::Onit {
        supervisor.wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    }
    supervisor
}

fn pid(service: &Service) -> Option<u32> {
    service.status().and_then(|status| status.pid())
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn an_order_is_over_when_it_has_had_its_effect() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run("sleep .2; exec sleep 1000").finish("sleep .2").create();
        let cron = sv.service("cron").run("exec sleep 1000").down().create();
        let _supervisor = start(&sv, which);
        web.wait_up();
        assert_eq!(well(&sv, &["down", "web"]), "", "{which:?}");
        assert_eq!(pid(&web), None, "{which:?}: finish is over, too");
        assert_eq!(well(&sv, &["up", "web"]), "");
        let first = pid(&web);
        assert!(first.is_some_and(proc::is_alive), "{which:?}");
        assert_eq!(well(&sv, &["restart", "web"]), "");
        assert!(pid(&web).is_some_and(proc::is_alive) && pid(&web) != first, "{which:?}");
        let before = pid(&web).expect("a process");
        well(&sv, &["kill", "web"]);
        assert!(!proc::is_alive(before));
        web.wait_up();
        well(&sv, &["pause", "web"]);
        assert!(web.status().is_some_and(|status| status.paused()));
        well(&sv, &["cont", "web"]);
        assert!(web.status().is_some_and(|status| !status.paused()));

        assert_eq!(well(&sv, &["once", "-v", "cron"]), format!("cron: up (pid {})\n", pid(&cron).expect("it runs")));
        well(&sv, &["disable", "cron"]);
        assert!(pid(&cron).is_none() && cron.path().join("down").exists());
        well(&sv, &["enable", "cron"]);
        assert!(pid(&cron).is_some() && !cron.path().join("down").exists());
        assert_eq!(well(&sv, &["stop", "-v", "all"]), "cron: down\nweb: down\n");
    }
}

#[test]
fn a_file_down_that_cannot_be_made_or_removed_is_told_to_who_asked() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let nowhere = sv.service("nowhere").run("exec sleep 1000").symlink("down", "missing/down").create();
        let full = sv.service("full").run("exec sleep 1000").dir("down/in").create();
        let _supervisor = start(&sv, which);
        nowhere.wait_for("it to be looked after", |_| true);
        full.wait_for("it to be looked after", |_| true);
        let only = |what: &'static str| if which == UnderTest::Onit { what } else { "" };
        let created = ["onit: nowhere: cannot create down: File exists", only("; it is only stopped")];
        fails(&sv, &["disable", "nowhere"], 1, &created);
        let removed = ["onit: full: cannot remove down: Is a directory", only("; it is only started")];
        fails(&sv, &["enable", "-t", "60", "full"], 1, &removed);
        fails(&sv, &["enable", "--no-wait", "full"], 1, &removed);
        if which == UnderTest::Onit {
            full.wait_up();
            nowhere.wait_down();
        }
        well(&sv, &["down", "full"]);
    }
}

#[test]
fn the_stop_signal_of_a_service_is_the_one_that_restarts_it() {
    let sv = SvDir::new();
    let run =
        "trap 'echo quit >>said; exit' QUIT; trap 'echo term >>said' TERM; echo up >>said; while :; do sleep .1; done";
    let web = sv.service("web").run(run).file("down-signal", "QUIT").create();
    let _onit = start(&sv, UnderTest::Onit);
    wait_for("it to listen", SOON, || web.text("said").contains("up").then_some(()));
    well(&sv, &["restart", "web"]);
    wait_for("it to listen again", SOON, || (web.text("said") == "up\nquit\nup\n").then_some(()));
}

#[test]
fn what_does_not_come_about_is_told_with_its_cause() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let deaf = sv.service("deaf").run("trap '' TERM; while :; do sleep .1; done").create();
        let broken = sv.service("broken").file_with_mode("run", "#!/bin/sh\n", 0o644).create();
        let web = sv.service("web").run("exec sleep 1000").create();
        let _supervisor = start(&sv, which);
        deaf.wait_up();
        web.wait_up();
        broken.wait_for("it to be looked after", |_| true);
        // It has to be deaf before it is told: its shell needs a moment for that.
        wait_for("it to be deaf", SOON, || {
            proc::Glimpse::of(pid(&deaf)?).filter(|seen| seen.ignored & (1 << 14) != 0).map(drop)
        });
        fails(&sv, &["down", "-t", "0.2", "deaf"], 99, &["onit: deaf: not down after ", "s: stopping (pid "]);
        match which {
            UnderTest::Onit if is_starved() => {} // what waits long for its exec is seen running
            UnderTest::Onit => {
                let why = ["onit: broken: not up: ", "cannot start ./run: Permission denied"];
                fails(&sv, &["up", "-t", "60", "broken", "web"], 1, &why);
            }
            _ => fails(&sv, &["up", "-t", "300ms", "broken", "web"], 99, &["onit: broken: not up after "]),
        }
        fails(&sv, &["up", "nope", "web"], 4, &["onit: nope: no such service in ", "onit list"]);
        fails(&sv, &["status", "z*"], 4, &["onit: z*: no such service in "]);
        fails(&sv, &["down"], 100, &["which service?"]);
        fails(&sv, &["down", "--frobnicate", "web"], 100, &["--frobnicate", "onit help down"]);
        fails(&sv, &["wait", "soon", "web"], 100, &["up, ready, down or done"]);
        fails(&sv, &["frobnicate"], 100, &["onit: there is no verb frobnicate (", "onit -- frobnicate"]);
        fails(&sv, &["stauts"], 100, &["there is no verb stauts; did you mean status?"]);
        fails(&sv, &["status", "wbe"], 4, &["onit: wbe: no such service in ", "did you mean web?"]);
        fails(
            &sv,
            &["stop", "web", "--no-wiat"],
            100,
            &["no option --no-wiat; did you mean --no-wait?", "onit help down"],
        );
        fails(&sv, &["stop", "web", "-t"], 100, &["onit: down: -t needs a value"]);
        fails(&sv, &["pid", "web", "deaf"], 100, &["onit: pid: deaf is one word too many"]);
        fails(&sv, &["pid"], 100, &["onit: pid: SVC is missing"]);
        fails(&sv, &["export", "upstart", "web"], 100, &["the only format there is is systemd"]);
        fails(&sv, &["export", "systemd"], 100, &["onit: export: DIR is missing"]);
        let mut command = command(&sv, &["down", "deaf"]);
        command.env("SVWAIT", "0");
        assert_eq!(sv.run(command).code, 99, "SVWAIT is read");
        assert_eq!(verb(&sv, &["kill", "--no-wait", "deaf"]).code, 0);
    }
}

#[test]
fn where_nobody_answers_every_place_is_named() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    for args in [&["status"][..], &["health"], &["list"], &["up", "web"], &["events"], &["history", "web"], &["rescan"]]
    {
        let (directory, tried) = (sv.path().display().to_string(), sv.live().join("api").display().to_string());
        fails(&sv, args, 111, &["no supervisor answers for", &directory, &tried, "is onit running?"]);
    }
    fails(&sv, &["status", "nope"], 4, &["nope: no such service"]);
}

#[test]
fn the_table_shows_each_service_and_the_detail_says_why() {
    let sv = SvDir::new();
    sv.service("web").run("echo hello; echo; exec sleep 1000").log("exec svlogd -t ./main").dir("log/main").create();
    sv.service("api").run("exit 3").create();
    sv.service("cron").run("exec sleep 1000").down().create();
    sv.service("give").run("exit 4").finish("exit 125").create();
    sv.service("noexec").file_with_mode("run", "#!/bin/sh\n", 0o644).create();
    let onit = start(&sv, UnderTest::Onit);
    let api = || json(&well(&sv, &["status", "--json", "api"]))[0].clone();
    onit.wait_for("api to be flapping", SOON, || api()["flapping"].is_u64().then_some(()));
    wait_state(&sv, "give", "failed");
    sv.existing("web").wait_up();
    sv.existing("web").logger().wait_up();
    let table = well(&sv, &["status"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        "NAME STATE PID FOR RESTARTS LAST EXIT / NEXT".split(' ').collect::<Vec<_>>()
    );
    let names: Vec<&str> = lines[1..].iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["api", "cron", "give", "noexec", "web"]);
    let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).map_or("", |line| *line);
    assert!(
        row("api").contains("exit 3, again in ") && row("api").contains("flapping ") || row("api").contains("up"),
        "{table}"
    );
    assert!(
        row("cron").contains("down")
            && row("give").contains("failed")
            && row("give").ends_with("exited with 4, and ./finish says 125"),
        "{table}"
    );
    assert!(row("noexec").contains("cannot start ./run: Permission denied"), "{table}");
    assert!(well(&sv, &["status", "-a"]).contains("\nweb/log "));
    assert_eq!(well(&sv, &["list", "-a"]), "api\ncron\ngive\nnoexec\nweb\nweb/log\n");
    assert_eq!(json(&well(&sv, &["list", "--json"])), json(r#"["api","cron","give","noexec","web"]"#));

    let detail = |name: &str| well(&sv, &["status", name]);
    assert!(detail("give").contains("./finish says 125"), "{}", detail("give"));
    assert!(detail("cron").contains("there is a file \"down\", and nobody has started it"), "{}", detail("cron"));
    assert!(detail("noexec").contains("trouble   cannot start ./run: Permission denied"), "{}", detail("noexec"));
    assert!(detail("api").contains("last end  exit 3, after "), "{}", detail("api"));
    let web = sv.existing("web");
    let own = format!("pid       {}", pid(&web).expect("it runs"));
    let logged = || Some(detail("web")).filter(|text| text.contains(" hello\n"));
    let text = wait_for("its log", SOON, logged);
    let logger = format!("log       up (pid {})", pid(&web.logger()).expect("a logger"));
    assert!(text.contains(&own) && text.contains(&logger) && text.contains("log/main/current\n    20"), "{text}");
    well(&sv, &["kill", "web"]);
    well(&sv, &["wait", "up", "web"]);
    let killed = detail("web");
    assert!(killed.contains("last end  SIGKILL, as it was told, after "), "{killed}");
    web.wait_up();
    svdir::send(pid(&web).expect("it runs"), Signal::SIGKILL);
    let hint = || detail("web").contains("SIGKILL (out of memory?), after").then_some(());
    wait_for("a hint", SOON, hint);
    let history = well(&sv, &["history", "web"]);
    assert!(history.contains("SIGKILL, as it was told") && history.contains("SIGKILL (out of memory?)"), "{history}");
    let lives = json(&well(&sv, &["history", "--json", "web"]));
    assert_eq!(lives[0]["exit"]["name"], "SIGKILL");
}

/// What a terminal of 80 columns is told by a verb that succeeds.
pub fn on_terminal(sv: &SvDir, args: &[&str], no_color: bool) -> String {
    let (mut master, slave) = crate::terminal::pair();
    let mut resize = Command::new("stty");
    resize.args(["cols", "80", "rows", "24", "-opost"]).stdin(slave.try_clone().expect("a descriptor"));
    assert!(spawn(&mut resize).wait().expect("stty").success());
    let mut command = command(sv, args);
    command.env("SVDIR", sv.path()).env("TERM", "xterm").stdout(slave).stderr(Stdio::null());
    command.env_remove("NO_COLOR").envs(no_color.then_some(("NO_COLOR", "1")));
    let mut child = spawn(&mut command);
    drop((resize, command)); // the terminal hangs up when nobody holds its other end
    let reader = thread::spawn(move || {
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = master.read(&mut piece) {
            text.extend_from_slice(&piece[..length]);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    assert!(child.wait().expect("an end").success());
    reader.join().expect("the screen")
}

#[test]
fn a_table_on_a_terminal_is_in_colour_and_no_wider() {
    let sv = SvDir::new();
    let name = "a-service-with-a-rather-long-name-that-somebody-has-chosen-for-it";
    sv.service(name).file_with_mode("run", "#!/bin/sh\n", 0o644).file("backoff", "1h 1h 1h").create();
    sv.service("web").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    sv.existing("web").wait_up();
    wait_state(&sv, name, "backoff");
    let seen = |args: &[&str], no_color: bool| on_terminal(&sv, args, no_color);
    let coloured = seen(&["status"], false);
    assert!(coloured.contains("\x1b[32mup\x1b[0m") && coloured.contains("mbackoff\x1b[0m"), "{coloured:?}");
    for plain in [seen(&["status"], true), seen(&["status", "--color", "never"], false)] {
        assert!(!plain.contains('\x1b') && plain.contains("backoff"), "{plain:?}");
        assert!(plain.lines().all(|line| line.len() <= 80), "{plain}");
    }
    assert!(!well(&sv, &["status"]).contains('\x1b'), "a pipe is no terminal");
    assert!(well(&sv, &["status", "--color=always"]).contains("\x1b[32mup\x1b[0m"));
}

#[test]
fn health_says_what_is_amiss_in_one_line() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    sv.service("cron").run("exec sleep 1000").down().create();
    sv.service("migrate").run("exit 0").down().create();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    well(&sv, &["once", "migrate"]);
    well(&sv, &["wait", "done", "migrate"]);
    assert_eq!(well(&sv, &["health"]), "", "a oneshot that has ended and what is wanted down are fine");
    let report = json(&well(&sv, &["health", "--json"]));
    assert_eq!((report["healthy"].as_bool(), report["services"].as_u64()), (Some(true), Some(3)));
    sv.service("api").run("exit 101").create();
    let unwell = || Some(verb(&sv, &["health"])).filter(|output| output.stdout.contains("flapping"));
    let output = onit.wait_for("it to be noticed", SOON, unwell);
    assert_eq!((output.code, output.stderr.as_str()), (1, ""));
    assert!(
        output.stdout.starts_with("api: flapping, ") && output.stdout.ends_with("it ended with 101\n"),
        "{output:?}"
    );
    assert_eq!(verb(&sv, &["health", "web"]).code, 0);
    let report = verb(&sv, &["health", "--json"]);
    assert_eq!((report.code, &json(&report.stdout)["unhealthy"][0]["name"]), (1, &"api".into()));
    well(&sv, &["down", "api"]);
    assert_eq!(well(&sv, &["health"]), "");
    well(&sv, &["pause", "web"]);
    assert!(verb(&sv, &["health"]).stdout.starts_with("web: paused for "));
    well(&sv, &["cont", "web"]);
}

#[test]
fn health_asks_every_check_at_once_and_status_says_that_nobody_has() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 1000").script("check", "test -e available").create();
        for name in ["s1", "s2", "s3"] {
            sv.service(name).run("exec sleep 1000").script("check", "exec sleep 1").create();
        }
        sv.service("plain").run("exec sleep 1000").create();
        sv.service("off").run("exec sleep 1000").script("check", "exit 1").down().create();
        let supervisor = start(&sv, which);
        let all_up = || well(&sv, &["status", "--json"]).matches("\"state\":\"up\"").count() == 5;
        let up = || (sv.existing("off").is_supervised() && all_up()).then_some(());
        supervisor.wait_for("all to be up", SOON, up);
        let ready = |name: &str| json(&well(&sv, &["status", "--json", name]))[0]["ready"].as_bool();
        assert_eq!([ready("web"), ready("plain"), ready("off")], [None, Some(true), Some(false)], "{which:?}");
        assert!(well(&sv, &["status"]).lines().any(|line| line.contains("web ") && line.contains("up, not checked")));
        assert!(well(&sv, &["status", "web"]).starts_with("web: up, not checked\n"));
        assert!(well(&sv, &["status", "plain"]).starts_with("plain: up\n"));

        // A check that does not come to its end within its two seconds is told in other words.
        let late = |output: &Output| output.stdout.contains("./check has not ended within 2 seconds");
        let health = || Some(verb(&sv, &["health", "web", "plain", "off"])).filter(|output| !late(output));
        let output = wait_for("a check that is in time", SOON, health);
        let told = "web: not available: ./check does not succeed\n";
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (1, told, ""), "{which:?}");
        web.write("available", "");
        let output = wait_for("a check that is in time", SOON, health);
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "", ""), "{which:?}");
        web.write_script("check", "sleep 1000 & echo $! >child; wait");
        let has_child = |_: &Output| web.text("child").ends_with('\n');
        let health = || Some(verb(&sv, &["health", "--json", "web"])).filter(has_child);
        let report = wait_for("a check that has a child", SOON, health);
        let reason = "web: not available: ./check has not ended within 2 seconds";
        assert_eq!((report.code, &json(&report.stdout)["reason"]), (1, &reason.into()));
        let child = web.wait_pid("child");
        wait_for("the end of what the check waited for", SOON, || (!proc::is_alive(child)).then_some(()));
        // One after the other they would take longer than there is time.
        web.write_script("check", "exit 0");
        let healthy = || (verb(&sv, &["health"]).code == 0).then_some(());
        wait_for("a quiet moment", SOON, healthy);
    }
}

#[test]
fn what_is_done_is_healthy_and_as_it_was_ordered() {
    let sv = SvDir::new();
    sv.service("job").run("exit 0").finish("exit 125").down().create();
    sv.service("broken").run("exit 3").finish("exit 125").down().create();
    let _onit = start(&sv, UnderTest::Onit);
    let said = well(&sv, &["start", "-v", "job"]);
    assert!(said == "job: done\n" || said.starts_with("job: up (pid "), "it may be seen before its end: {said}");
    well(&sv, &["wait", "done", "job"]);
    assert_eq!(well(&sv, &["health"]), "");
    fails(&sv, &["wait", "-t", "60", "up", "job"], 1, &["onit: job: not up: done, want down"]);
    let detail = well(&sv, &["status", "job"]);
    assert!(detail.starts_with("job: done\n") && detail.contains("it has done its work"), "{detail}");
    verb(&sv, &["start", "broken"]); // what it says depends on whether it was seen before its end
    wait_for("its end", SOON, || (verb(&sv, &["health"]).code != 0).then_some(()));
    fails(
        &sv,
        &["wait", "-t", "60", "up", "broken"],
        1,
        &["onit: broken: not up: failed: exited with 3, and ./finish says 125"],
    );
    assert_eq!(
        verb(&sv, &["health"]).stdout,
        "broken: failed: exited with 3, and ./finish says 125: not started again until told\n"
    );
}

#[test]
fn what_a_service_leaves_behind_is_named() {
    let sv = SvDir::new();
    let leaver = sv.service("leaver").run("sleep 1000 & echo $! >child; trap 'exit 0' TERM; wait").create();
    let daemon = "echo >>lives; [ -e child ] || { sleep 1000 & echo $! >child; }";
    let daemon = sv.service("daemon").run(daemon).down().create();
    let apart = "[ -e child ] || { setsid sh -c 'echo $$ >child; exec sleep 1000' & }\n\
        while [ ! -s child ]; do sleep .01; done";
    let apart = sv.service("apart").run(apart).down().create();
    let tidy = sv.service("tidy").run("exec sleep 1000").create();
    let onit = start(&sv, UnderTest::Onit);
    let leaves = |before: u32| {
        let file = || leaver.text("child").strip_suffix('\n')?.parse().ok();
        wait_for("its child", SOON, || {
            file().filter(|pid: &u32| *pid != before && proc::command_line(*pid).starts_with("sleep"))
        })
    };
    let mut child = 0;
    tidy.wait_up();
    for verb in ["restart", "stop"] {
        child = leaves(child);
        let output = self::verb(&sv, &[verb, "leaver", "tidy"]);
        let lines: Vec<&str> = output.stderr.lines().collect();
        let named =
            |line: &&str| line.starts_with("onit: leaver: stopped, but process ") && line.contains("(sleep) of its");
        assert!(output.code == 0 && lines.len() == 1 && lines.iter().all(named), "{verb}: {output:?}");
        assert!(lines[0].contains(&format!("process {child} (")), "{output:?}");
    }
    daemon.order(b"u");
    let child = daemon.wait_pid("child");
    let question = format!("(does it go into the background? process {child} ("); // it may not be sleep yet
    let news = "onit: daemon: exited with 0 within a second of its start; trying again";
    onit.wait_said(&[news, &question, "), of its session, still lives)"]);
    apart.order(b"u");
    let child = apart.wait_pid("child");
    onit.wait_said(&[
        "onit: apart: exited with 0 within",
        &format!("process {child} (s"),
        ", started meanwhile, still lives)",
    ]);
    daemon.wait_text("lives", |text| text.lines().count() > 3); // it goes on, and is not told again
    assert_eq!(onit.said(&["onit: daemon: "]).len(), 1, "{}", onit.stderr());
}

#[test]
fn who_may_not_ask_is_told_so_and_not_that_nobody_runs() {
    if let Some(why) = missing_tools(&["setpriv"]) {
        skip!("{why}");
    }
    if !svdir::is_root() {
        skip!("needs root to become somebody else");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let words = svdir::given_to(&sv, 0); // where another user can execute it
    let _onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    for args in [&["status"][..], &["list"], &["health"], &["rescan"], &["history", "web"], &["events"]] {
        let mut prefix = vec!["setpriv", "--reuid", "54325", "--regid", "54325", "--clear-groups"];
        prefix.push(words[6].as_str());
        let mut asks = Command::new(prefix[0]);
        asks.args(&prefix[1..]).args(args).env("ONIT_RUN", sv.live());
        let output = sv.run(asks);
        assert!(output.stderr.contains("you may not ask the supervisor at "), "{args:?}: {output:?}");
        assert!(output.code == 1 && !output.stderr.contains("is onit running?"), "{args:?}: {output:?}");
    }
    // Nor may root look into every process in a container.
    let lacking = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"];
    let output = sv.run(svdir::wrapped(&lacking, &command(&sv, &["env", "web"])));
    assert!(output.code == 1 && output.stderr.contains("that takes CAP_SYS_PTRACE, which you have not"), "{output:?}");
}

#[test]
fn a_service_that_needs_a_tool_that_is_not_there_is_told_of() {
    let sv = SvDir::new();
    let mut new = command(&sv, &["new", "web", "--user", "nobody", "--", "sleep", "1000"]);
    let output = sv.run({
        new.env("PATH", "/nowhere");
        new
    });
    let told =
        output.stderr.contains("web/run:") && output.stderr.contains("there is no onit in this PATH; install onit");
    assert!(output.code == 0 && told, "{output:?}");
    let mut lint = command(&sv, &["lint", "service/web"]);
    lint.env("PATH", "/nowhere");
    let output = sv.run(lint);
    assert!(output.code == 0 && output.stdout.contains("there is no onit in this PATH"), "{output:?}");
}

#[test]
fn waiting_ends_when_it_is_so_and_not_before() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let job = sv.service("job").run("read line <go; exit 0").fifo("go").down().create();
        let web = sv.service("web").run("exec sleep 1000").down().create();
        let supervisor = start(&sv, which);
        supervisor.wait_for("it", SOON, || (job.is_supervised() && web.is_supervised()).then_some(()));
        well(&sv, &["once", "job"]);
        let mut waiting = command(&sv, &["wait", "down", "job", "-v"]);
        let mut waiting = spawn(waiting.env("SVDIR", sv.path()).stdout(Stdio::piped()));
        assert_eq!(verb(&sv, &["wait", "-t", "0.1", "down", "job"]).code, 99);
        assert!(waiting.try_wait().expect("its state").is_none(), "{which:?}: the job runs still");
        fs::write(job.path().join("go"), "go\n").expect("written");
        let mut said = String::new();
        assert!(waiting.wait().expect("an end").success());
        waiting.stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
        let done = if which == UnderTest::Onit { "job: done\n" } else { "job: down\n" };
        assert_eq!(said, done, "{which:?}");
        assert_eq!(verb(&sv, &["wait", "-t", "0.1", "up", "job", "web"]).code, 99);
        well(&sv, &["up", "web"]);
        well(&sv, &["wait", "up", "--any", "job", "web"]);
        assert!(web.status().is_some());
    }
}

#[test]
fn a_job_is_done_when_it_has_ended_whoever_looks_after_it() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir, UnderTest::Svscan, UnderTest::S6Supervise] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let job = sv.service("job").run("read line <go; exit 0").fifo("go").down().create();
        let supervisor = match which {
            UnderTest::S6Supervise => sv.start_on(which, &job),
            _ => start(&sv, which),
        };
        supervisor.wait_for("a status", SOON, || {
            well(&sv, &["status", "--json", "job"]).contains("\"state\":\"down\"").then_some(())
        });
        well(&sv, &["once", "job"]);
        fails(&sv, &["wait", "-t", "0.1", "done", "job"], 99, &["onit: job: not done after ", "s: up (pid "]);
        fs::write(job.path().join("go"), "go\n").expect("written");
        let done = if which == UnderTest::Onit { "job: done\n" } else { "job: down\n" };
        assert_eq!(well(&sv, &["wait", "-t", "60", "-v", "done", "job"]), done, "{which:?}");
        well(&sv, &["up", "job"]);
        fs::write(job.path().join("go"), "go\n").expect("written");
        fails(&sv, &["wait", "-t", "0.1", "done", "job"], 99, &["not done"]); // it comes again
    }
}

#[test]
fn who_waits_for_what_nobody_looks_after_is_told_so() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    for what in ["up", "down", "done"] {
        let why = format!("onit: web: not {what}: not supervised: no supervisor looks after it");
        fails(&sv, &["wait", what, "web"], 1, &[&why]);
    }
}

#[test]
fn check_asks_the_services_own_script() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 1000").script("check", "test -e available").create();
        let _supervisor = start(&sv, which);
        web.wait_up();
        let why = if is_starved() { "" } else { "./check does not succeed" };
        fails(&sv, &["check", "-t", "0.1", "web"], 1, &["onit: web: not available: ", why]);
        fails(&sv, &["up", "-t", "0.1", "web"], 99, &["not available"]);
        web.write("available", "");
        well(&sv, &["check", "web"]);
        well(&sv, &["restart", "web"]);
        well(&sv, &["wait", "ready", "web"]);
        web.write_script("check", "exec sleep 1000");
        fails(&sv, &["check", "-t", "0.2", "web"], 1, &["not available"]);
        well(&sv, &["down", "web"]);
        assert_eq!(well(&sv, &["check", "-v", "web"]), "web: down\n", "down is what is wanted");
    }
}

/// What happens while `./check` is asked: here `./check` itself does it.
#[test]
fn who_is_not_available_in_the_end_is_told_why() {
    let cases = [
        ("kill -STOP $(cat ../../supervisor)", 1, "onit: web: not available: its supervisor does not answer in time"),
        ("kill -KILL $(cat ../../supervisor)", 111, "onit: no supervisor answers for "),
        (
            "mv \"$PWD\" ../..; while [ -s supervise/pid ]; do sleep 0.05; done",
            1,
            "onit: web: not available: it is not up any more",
        ),
    ];
    let one = |what: &str, code, why| {
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 1000").script("check", &format!("{what}\nexit 1")).create();
        let onit = start(&sv, UnderTest::Onit);
        fs::write(sv.root().join("supervisor"), onit.pid().to_string()).expect("write");
        web.wait_up();
        let why = if is_starved() { "onit: " } else { why };
        fails(&sv, &["check", "-t", "4", "web"], code, &[why]);
    };
    thread::scope(|scope| cases.iter().for_each(|(what, code, why)| drop(scope.spawn(|| one(what, *code, why)))));
}

/// It does not matter to who is available that the supervisor has failed and goes on.
#[test]
fn check_asks_again_whoever_has_hung_up() {
    let sv = SvDir::new();
    let once = "[ -e asked ] && exit 0; echo >asked; kill -SEGV $(cat ../../supervisor); exit 1";
    let web = sv.service("web").run("exec sleep 1000").script("check", once).create();
    let onit = start(&sv, UnderTest::Onit);
    fs::write(sv.root().join("supervisor"), onit.pid().to_string()).expect("write");
    web.wait_up();
    well(&sv, &["check", "-t", "60", "web"]);
    onit.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
}

/// The lines that `onit events` tells, as they come.
struct Listener {
    child: Child,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn start(sv: &SvDir, args: &[&str]) -> Listener {
        let mut child = spawn(command(sv, args).env("SVDIR", sv.path()).stdout(Stdio::piped()));
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let list = heard.clone();
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| list.lock().expect("a list").push(line)));
        Listener { child, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("a list").clone()
    }

    fn has_heard(&self, words: &str) -> bool {
        self.heard().iter().any(|line| line.contains(words))
    }
}

#[test]
fn events_are_told_also_of_a_supervisor_that_executes_itself_again() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    sv.service("other").run("exec sleep 1000").create();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    let events = Listener::start(&sv, &["events", "web"]);
    let objects = Listener::start(&sv, &["events", "--json"]);
    let program = sv.root().join("hear");
    let script =
        "#!/bin/sh\necho $ONIT_EVENT $ONIT_SERVICE $ONIT_OLD $ONIT_NEW ${ONIT_EXIT-none} ${ONIT_SIGNAL-none} >>heard\n";
    svdir::write_file(&program, script, 0o755);
    let executing = Listener::start(&sv, &["events", "--exec", program.to_str().expect("a path"), "w*"]);
    // When somebody begins to listen does not show: so it happens until everybody has heard of it.
    wait_for("everybody to hear", SOON, || {
        well(&sv, &["restart", "web", "other"]);
        let written = fs::read_to_string(sv.root().join("heard")).unwrap_or_default();
        let by_program = written.contains("state web stopping backoff none 15\n") && !written.contains("other");
        (by_program && events.has_heard("web: up -> stopping") && objects.has_heard("\"other\"")).then_some(())
    });
    assert!(!events.has_heard("other"));
    let first = json(objects.heard().first().expect("a line"));
    assert!(first["what"] == "state" && first["time"].is_f64() && first["old"].is_string(), "{first}");

    assert_eq!(verb(&sv, &["upgrade", &onit.pid().to_string()]).code, 0);
    wait_for("events again", SOON, || {
        well(&sv, &["kill", "web"]);
        well(&sv, &["wait", "up", "web"]);
        events.has_heard("web: up -> backoff, SIGKILL").then_some(())
    });
    // Whoever has heard something has come back, and the others are about to.
    let ready = |listener: &Listener| {
        let before = listener.heard().len();
        wait_for("one to hear more", SOON, || {
            well(&sv, &["kill", "web"]);
            well(&sv, &["wait", "up", "web"]);
            (listener.heard().len() > before).then_some(())
        });
    };
    ready(&objects);
    onit.signal(Signal::SIGTERM);
    onit.wait_end(SOON);
    for mut listener in [events, objects] {
        let code = wait_for("its end", SOON, || listener.child.try_wait().expect("its state"));
        assert!(code.success() && listener.has_heard("stopping"), "after a stop there is nothing more to come");
    }
    drop(executing);
}

/// Answers one client like a supervisor in which `web` is up, but hangs up on whoever asks for more than so many lines.
fn answer(client: UnixStream, requests: usize) {
    let web = "{\"service\":{\"name\":\"web\",\"state\":\"up\",\"want\":\"up\",\"leaving\":false,\"pid\":7,\"since\":1.0,\
        \"seconds\":1.0,\"ready\":true,\"paused\":false,\"enabled\":true,\"restarts\":0,\"logger\":false}}\n";
    let hello = "{\"hello\":{\"api\":1,\"version\":\"\",\"pid\":1,\"directory\":\"/\",\"view\":\"/\",\"state\":\"up\",\
        \"control\":true}}\n";
    for line in BufReader::new(&client).lines().take(requests) {
        let lines = match line.expect("a request").as_str() {
            "hello" => hello,
            "status web" => web,
            _ => "",
        };
        (&client).write_all(format!("{lines}{{\"done\":{{\"count\":0}}}}\n").as_bytes()).expect("answered");
    }
}

#[test]
fn who_waits_goes_on_when_the_supervisor_hangs_up_on_a_question() {
    let sv = SvDir::new();
    fs::create_dir(sv.live()).expect("mkdir");
    let api = sv.live().join("api");
    let listener = UnixListener::bind(&api).expect("a socket");
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            answer(listener.accept().expect("a client").0, 2); // hello, subscribe, and it executes itself again
            answer(listener.accept().expect("it comes again").0, usize::MAX);
        });
        let output = verb(&sv, &["wait", "up", "-v", "web"]);
        drop(UnixStream::connect(&api)); // if it has not come again, nobody else would
        output
    });
    assert_eq!((output.code, output.stdout.as_str()), (0, "web: up (pid 7)\n"), "{output:?}");
}

#[test]
fn who_has_little_time_does_not_wait_longer_for_a_supervisor_to_come_back() {
    for goes_on_listening in [false, true] {
        let sv = SvDir::new();
        fs::create_dir(sv.live()).expect("mkdir");
        let listener = UnixListener::bind(sv.live().join("api")).expect("a socket");
        let start = |time: &str| spawn(command(&sv, &["wait", "down", "-t", time, "web"]).stderr(Stdio::null()));
        let (mut short, mut long) = (start("3"), start("60"));
        let clients = [0, 1].map(|_| listener.accept().expect("a client").0);
        for client in &clients {
            answer(client.try_clone().expect("a descriptor"), 3); // hello, subscribe, status
        }
        let listening = goes_on_listening.then_some(listener);
        drop(clients);
        let code = wait_for("its end", SOON, || short.try_wait().expect("its state")).code();
        let still_waits = long.try_wait().expect("its state").is_none();
        drop(listening); // before it, for the sake of the one who waits
        long.kill().and_then(|()| long.wait()).expect("its end");
        assert!(code == Some(111) && still_waits, "{goes_on_listening}: {code:?}");
    }
}

#[test]
fn a_supervisor_that_has_died_is_named_with_its_place() {
    let sv = SvDir::new();
    fs::create_dir(sv.live()).expect("mkdir");
    let listener = UnixListener::bind(sv.live().join("api")).expect("a socket");
    thread::scope(|scope| {
        scope.spawn(move || {
            let (client, _) = listener.accept().expect("a client");
            drop(listener);
            answer(client, 2); // hello, subscribe
        });
        fails(&sv, &["events"], 111, &["live/api: Connection refused)"]);
    });
}

/// Every verb that prints, and where it prints more than once.
const PRINTING: [&[&str]; 21] = [
    &["status"],
    &["status", "web"],
    &["status", "--json"],
    &["list"],
    &["list", "--json"],
    &["health", "--json"],
    &["health"],
    &["pid", "web"],
    &["env", "web"],
    &["env", "--json", "web"],
    &["history", "web"],
    &["history", "--json", "web"],
    &["wait", "up", "-v", "web"],
    &["wait", "up", "--any", "-v", "web"],
    &["cont", "-v", "web"],
    &["lint", "service/broken"],
    &["export", "systemd", "service/web"],
    &["completion", "bash"],
    &["help"],
    &["help", "up"],
    &["--version"],
];
const GOING_ON: [&[&str]; 4] =
    [&["events"], &["events", "--json"], &["status", "--watch"], &["status", "--watch", "--json"]];

/// How each verb ends, and what it says, whose standard output is this.
fn ends_with(sv: &SvDir, stdout: impl Fn() -> Stdio) -> Vec<(&'static [&'static str], Option<i32>, String)> {
    let start = |args| spawn(command(sv, args).env("SVDIR", sv.path()).stdout(stdout()).stderr(Stdio::piped()));
    let mut children: Vec<_> = PRINTING.into_iter().chain(GOING_ON).map(|args| (args, start(args))).collect();
    for (args, child) in &mut children {
        // When somebody begins to listen does not show.
        wait_for(&format!("{args:?} to end"), SOON, || {
            let ended = child.try_wait().expect("its state").map(drop);
            if ended.is_none() && GOING_ON.contains(args) {
                well(sv, &["restart", "web"]);
            }
            ended
        });
    }
    let told = |(args, child): (_, Child)| {
        let output = child.wait_with_output().expect("its end");
        (args, output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    children.into_iter().map(told).collect()
}

#[test]
fn what_cannot_be_written_is_told_with_its_cause() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    sv.service("broken").file_with_mode("run", "#!/bin/sh\n", 0o644).create();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    onit.wait_said(&["onit: broken: cannot start ./run: Permission denied"]);
    let full = || fs::File::options().write(true).open("/dev/full").expect("a full device").into();
    for (args, code, told) in ends_with(&sv, full) {
        assert_eq!(code, Some(111), "{args:?}: {told}");
        assert_eq!(told.matches("onit: cannot write to standard output: No space left").count(), 1, "{args:?}: {told}");
    }
    // Who reads no more has heard enough.
    let closed = || std::io::pipe().expect("a pipe").1.into();
    for (args, code, told) in ends_with(&sv, closed) {
        let may_fail = PRINTING.contains(&args) && !args.contains(&"-v");
        assert!(told.is_empty() && (code == Some(0) || may_fail && code == Some(1)), "{args:?}: {code:?} {told}");
    }
}

#[test]
fn a_name_of_two_lines_is_a_name() {
    let sv = SvDir::new();
    let two = sv.service("two\nlines").run("exec sleep 1000").create();
    let web = sv.service("web").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    two.wait_up();
    web.wait_up();
    well(&sv, &["restart", "t*"]);
    well(&sv, &["stop", "all"]);
    assert_eq!((pid(&two), pid(&web)), (None, None));
    // It is told in one line, and cannot pass for another one.
    assert_eq!(
        well(&sv, &["start", "-v", "two\nlines"]),
        format!("two?lines: up (pid {})\n", pid(&two).expect("it runs"))
    );
    fails(
        &sv,
        &["history", "two\nlines"],
        1,
        &["onit: two?lines: a name of several lines cannot be told on the socket"],
    );
    fails(&sv, &["up", "no\nsuch"], 4, &["onit: no?such: no such service in "]);
}

#[test]
fn names_may_be_of_any_letters_and_bytes() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        for name in [&b"a b"[..], "größe".as_bytes(), b"[br]", b"bad\xff", b"two\xfe", b"two\xff"] {
            let dir = sv.path().join(OsStr::from_bytes(name));
            fs::create_dir(&dir).expect("mkdir");
            svdir::write_file(&dir.join("run"), "#!/bin/sh\nexec sleep 1000\n", 0o755);
        }
        let supervisor = start(&sv, which);
        let up = || (well(&sv, &["status", "--json"]).matches("\"state\":\"up\"").count() == 6).then_some(());
        supervisor.wait_for("all to be up", SOON, up);
        let lossy = "bad\u{fffd}";
        for (words, name) in
            [("a b", "a b"), ("gr?ße", "größe"), ("gr[a-ü]ße", "größe"), ("[br]", "[br]"), (lossy, lossy)]
        {
            assert_eq!(well(&sv, &["stop", "-v", words]), format!("{name}: down\n"), "{which:?}");
            assert!(well(&sv, &["start", "-v", words]).starts_with(&format!("{name}: up (pid ")), "{which:?}");
        }
        let raw = sv.run({
            let mut command = command(&sv, &["pid"]);
            command.arg(OsStr::from_bytes(b"bad\xff"));
            command
        });
        assert_eq!(raw.code, 0, "{raw:?}");
        // Which of two is meant, nobody can say: so neither is.
        for args in [&["stop", "two\u{fffd}"][..], &["status", "two*"]] {
            fails(&sv, args, 1, &["onit: two\u{fffd}: several names that are not UTF-8 look like this"]);
        }
        assert_eq!(well(&sv, &["list"]).matches("two\u{fffd}\n").count(), 2);
    }
}

#[test]
fn a_supervisor_that_does_not_answer_is_not_healthy() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_for("web", SOON, || pid(&web));
    onit.signal(Signal::SIGSTOP);
    let output = verb(&sv, &["health"]);
    onit.signal(Signal::SIGCONT);
    assert_eq!(output.code, 111, "{output:?}");
    assert!(output.stderr.contains("live/api: the supervisor does not answer"), "{output:?}");
}

#[test]
fn the_environment_of_a_service_is_shown_without_its_secrets() {
    let sv = SvDir::new();
    let run = "export DB_PASSWORD=hunter2 PORT=80 DB_URL=pg://joe:hunter2@db/x; exec sleep 1000";
    let web = sv.service("web").run(run).create();
    let _onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    let environment = || Some(well(&sv, &["env", "web"])).filter(|text| text.contains("PORT=80\n"));
    let text = wait_for("sleep to run", SOON, environment);
    assert!(text.contains("DB_PASSWORD=********\n") && text.contains("DB_URL=pg://joe:********@db/x\n"), "{text}");
    assert!(!text.contains("hunter2"));
    assert!(well(&sv, &["env", "--show", "web"]).contains("DB_PASSWORD=hunter2\n"));
    assert_eq!(json(&well(&sv, &["env", "--json", "web"]))["PORT"], "80");
    assert_eq!(well(&sv, &["pid", "web"]), format!("{}\n", pid(&web).expect("it runs")));
    well(&sv, &["down", "web"]);
    fails(&sv, &["pid", "web"], 1, &["web: it does not run: down"]);
    assert_eq!(verb(&sv, &["status", "-q", "web"]).code, 3);
    assert_eq!(verb(&sv, &["status", "-q", "nope"]).code, 4);
}

#[test]
fn of_another_pid_namespace_the_process_that_is_meant_is_shown_and_never_another_one() {
    if let Some(why) = missing_tools(&["unshare", "nsenter", "runsvdir", "runsv"]) {
        skip!("{why}");
    }
    if !svdir::is_root() {
        skip!("needs root for namespaces");
    }
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        let sv = SvDir::new();
        let web = sv.service("web").run("export MARK=inside; exec sleep 1000");
        let web = web.log("exec sleep 2000").create();
        let inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
        let supervisor = sv.spawn(svdir::wrapped(&inside, &which.command(&sv.path())));
        let told = web.wait_up();
        let is_api = which == UnderTest::Onit;
        supervisor.wait_for("the socket", SOON, || (!is_api || sv.live().join("api").exists()).then_some(()));
        let is_run = |pid: &u32| proc::command_line(*pid).starts_with("sleep 1000");
        let here = supervisor.wait_for("its sleep", SOON, || proc::tree(supervisor.pid()).into_iter().find(is_run));
        assert_ne!(here, told);
        assert_eq!(well(&sv, &["pid", "web"]), format!("{here}\n"), "{which:?}");
        assert!(well(&sv, &["env", "web"]).contains("MARK=inside\n"), "{which:?}");
        let is_log = |pid: &u32| proc::command_line(*pid).starts_with("sleep 2000");
        let log = supervisor.wait_for("a logger", SOON, || proc::tree(supervisor.pid()).into_iter().find(is_log));
        let detail = well(&sv, &["status", "web"]);
        assert!(detail.contains(&format!("{told} (sleep), {here} in our PID namespace\n")), "{detail}");
        assert!(detail.contains(&format!(", {log} in our PID namespace) for ")), "{detail}");
        assert_eq!(well(&sv, &["status"]).contains("another PID namespace"), is_api);

        // Where it is not to be seen at all, nobody is taken for it: beside it is another namespace, with the same numbers.
        let beside = |args: &[&str]| sv.run(svdir::wrapped(&inside, &command(&sv, args)));
        for args in [&["pid", "web"], &["env", "web"]] {
            let output = beside(args);
            let why = format!("onit: web: what its supervisor calls process {told} is not to be seen here");
            assert!(output.code == 1 && output.stdout.is_empty() && output.stderr.starts_with(&why), "{output:?}");
        }
        let detail = beside(&["status", "web"]).stdout;
        assert!(
            detail.contains(&format!("pid       {told} (not to be seen here: another PID namespace?)\n")),
            "{detail}"
        );

        // A /proc that is not ours tells of others. This one is the supervisor's, but who can know that?
        let init = proc::children(supervisor.pid())[0].to_string();
        let mounted = sv.run(svdir::wrapped(&["nsenter", "-m", "-t", &init], &command(&sv, &["env", "web"])));
        assert!(mounted.code == 1 && mounted.stderr.contains("is not to be seen here"), "{mounted:?}");
        // Among its own everything is as ever.
        let within = ["nsenter", "-p", "-m", "-t", &init];
        let told = format!("{told}\n");
        assert_eq!(sv.run(svdir::wrapped(&within, &command(&sv, &["pid", "web"]))).stdout, told);
        assert!(!sv.run(svdir::wrapped(&within, &command(&sv, &["status"]))).stdout.contains("another PID namespace"));
    }
}

#[test]
fn names_paths_and_globs_name_services() {
    let sv = SvDir::new();
    for name in ["web", "worker-1", "worker-2", "worker-10"] {
        sv.service(name).run("exec sleep 1000").down().create();
    }
    let far = sv.root().join("far/apart");
    let apart = SvDir::new();
    let lone = apart.service("lone").run("exec sleep 1000").down().create();
    fs::create_dir_all(&far).expect("mkdir");
    let _onit = start(&sv, UnderTest::Onit);
    let _other = apart.start(UnderTest::Onit);
    wait_for("the other one", SOON, || lone.is_supervised().then_some(()));
    assert_eq!(well(&sv, &["up", "-v", "worker-*"]).lines().count(), 3);
    let up = |name: &str| pid(&sv.existing(name)).is_some();
    assert!(!up("web") && up("worker-1") && up("worker-10"));
    let path = |name: &str| sv.path().join(name).display().to_string();
    assert!(well(&sv, &["up", "-v", &path("web")]).starts_with("web: up"));
    let lone_path = lone.path().display().to_string();
    assert!(well(&sv, &["up", "-v", "-t", "20", &lone_path, "worker-[12]"]).contains(&format!("{lone_path}: up")));
    assert!(pid(&lone).is_some(), "through its files");
    let table = well(&sv, &["status"]);
    let names: Vec<_> = table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["web", "worker-1", "worker-2", "worker-10"]);
    let mut here = command(&sv, &["down", "-v", "./web"]);
    here.current_dir(sv.path());
    assert_eq!(sv.run(here).stdout, "web: down\n");
    assert_eq!(verb(&sv, &["down", &sv.path().join("none").display().to_string()]).code, 4);
}

#[test]
fn the_socket_beside_the_services_is_found_however_long_its_path_is() {
    let sv = SvDir::new();
    let deep = sv.root().join("d".repeat(120));
    sv.service("web").run("exec sleep 1000").create();
    fs::rename(sv.path(), &deep).expect("moved");
    let run = sv.root().join("run");
    fs::create_dir(&run).expect("mkdir");
    let mut command = UnderTest::Onit.command(&deep);
    command.env("ONIT_RUN", "").env("XDG_RUNTIME_DIR", &run);
    let onit = sv.spawn(command);
    onit.wait_for("the socket", SOON, || deep.join(".onit/api").exists().then_some(()));
    let say = |directory: Option<&Path>, args: &[&str]| {
        let mut command = Command::new(svdir::onit());
        command.args(args).env_remove("ONIT_RUN").env("XDG_RUNTIME_DIR", &run).env_remove("SVDIR");
        svdir::output({
            command.envs(directory.map(|directory| ("SVDIR", directory)));
            command
        })
    };
    assert_eq!(say(Some(&deep), &["history", "web"]).code, 0, "only the socket can tell that");
    let elsewhere = SvDir::new();
    let other = say(Some(&elsewhere.path()), &["list"]);
    assert_eq!(other.code, 111, "{other:?}: another directory's supervisor is not asked");
    onit.signal(Signal::SIGTERM);
    onit.wait_end(SOON);
}

#[test]
fn shells_complete_verbs_and_services() {
    if let Some(why) = missing_tools(&["bash", "zsh", "fish"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").log("exec cat >/dev/null").create();
    sv.service("worker").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    let script = |shell: &str| {
        let path = sv.root().join(shell);
        fs::write(&path, well(&sv, &["completion", shell])).expect("written");
        path
    };
    let run = |shell: &str, args: &[&str], code: &str| {
        let path = format!(
            "{}:{}",
            svdir::onit().parent().expect("a directory").display(),
            std::env::var("PATH").expect("PATH")
        );
        let mut command = Command::new(shell);
        command.args(args).args(["-c", code]).env("PATH", path).env("ONIT_RUN", sv.live());
        sv.run(command)
    };
    let bash = script("bash");
    let complete = |words: &str, at: usize| {
        let code = format!(
            ". {}; COMP_WORDS=({words}); COMP_CWORD={at}; _onit; echo \"${{COMPREPLY[*]}}\"; complete -p onit",
            bash.display()
        );
        let output = run("bash", &["--norc"], &code);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
        output.stdout.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(complete("onit sta", 1), "status states start");
    assert_eq!(complete("onit restart w", 2), "web web/log worker");
    assert_eq!(complete("onit d wo", 2), "worker");
    assert_eq!(complete("onit wait re", 2), "ready");
    assert_eq!(complete("onit wait ready web", 3), "web web/log");
    assert_eq!(complete("onit completion z", 2), "zsh");
    assert_eq!([complete("onit sto", 1), complete("onit start w", 2)], ["stop", "web web/log worker"]);
    assert_eq!(complete("onit stop --no", 2), "--no-wait");
    assert_eq!(complete("onit status --color a", 3), "auto always");
    assert_eq!(complete("onit status --color = n", 4), "never");
    assert_eq!(complete("onit stop -t ''", 3), "");
    assert_eq!(complete("onit run --log j", 3), "json");
    assert_eq!(complete("onit help al", 2), "all alrm alarm");
    assert_eq!(complete("onit export ''", 2), "systemd");
    for offers_no_file in ["onit status ''", "onit stop ''", "onit health ''", "onit sv up ''"] {
        let count = offers_no_file.split(' ').count();
        assert_eq!(complete(offers_no_file, count - 1), "web web/log worker", "{offers_no_file}");
    }
    assert_eq!(complete("onit help hea", 2), "health");
    for shell in ["zsh", "fish"] {
        let path = script(shell).display().to_string();
        let mut command = Command::new(shell);
        command.args(["-n", &path]);
        let output = sv.run(command);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{shell}: {output:?}");
    }
    let fish = run(
        "fish",
        &["--no-config"],
        &format!("source {}; complete -C 'onit restart w'", sv.root().join("fish").display()),
    );
    let names: Vec<&str> = fish.stdout.split_whitespace().collect();
    assert_eq!(names, ["web", "web/log", "worker"], "{fish:?}");
    let complete = |words: &str| {
        let code = format!("source {}; complete -C '{words}'", sv.root().join("fish").display());
        let output = run("fish", &["--no-config"], &code);
        let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        (output.stdout.lines().map(first).collect::<Vec<_>>().join(" "), output.stderr)
    };
    for (words, offered) in [
        ("onit sto", "stop"),
        ("onit stop w", "web web/log worker"),
        ("onit wait re", "ready"),
        ("onit wait ready we", "web web/log"),
        ("onit status --color al", "always"),
        ("onit stop --no", "--no-wait"),
        ("onit restart run w", "web web/log worker"),
    ] {
        assert_eq!(complete(words), (offered.to_owned(), String::new()), "{words}");
    }
}

#[test]
fn help_knows_every_verb() {
    let sv = SvDir::new();
    let everyday = well(&sv, &["help"]);
    assert!(everyday.lines().count() <= 24, "{everyday}");
    let alone = verb(&sv, &[]);
    assert_eq!((alone.code, alone.stdout.as_str(), alone.stderr.as_str()), (100, "", everyday.as_str()));
    let overview = well(&sv, &["help", "all"]);
    for verb in ["status", "restart", "winch", "health", "events", "completion", "run", "svscan"] {
        assert!(overview.contains(verb), "{verb}");
        assert!(well(&sv, &["help", verb]).contains(&format!("onit {verb}")), "{verb}");
    }
    let all = "status list health check wait history events pid env up rescan reload new lint export upgrade install \
        completion run runsv init";
    for verb in all.split_whitespace() {
        let text = well(&sv, &["help", verb]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{verb}: {text}");
    }
    let usage = well(&sv, &["run", "--help"]);
    assert!(usage.starts_with("usage: onit run [-v]") && usage.lines().all(|line| line.len() <= 80), "{usage}");
    assert!(
        ["--control-group", "--rewrite", "--exit-map", "-g "].iter().all(|option| usage.contains(option)),
        "{usage}"
    );
    assert_eq!(well(&sv, &["help", "run"]), usage);
    assert_eq!(well(&sv, &["--help"]), everyday);
    for verb in ["install", "upgrade", "export", "new", "lint", "status", "stop"] {
        assert_eq!(well(&sv, &[verb, "-h"]), well(&sv, &["help", verb]), "{verb}");
    }
    fails(&sv, &["help", "frobnicate"], 100, &["there is no verb frobnicate"]);
}

// ---------------------------------------------------------------------------------------------------------------------
// What was changed
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn what_was_changed_since_a_start_is_told_until_the_next_one() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").file("env/PORT", "80").file("restart", "always").create();
    sv.service("other").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    let pid = web.wait_up();
    assert_eq!((well(&sv, &["rescan", "--dry-run"]), well(&sv, &["rescan"])), (String::new(), String::new()));
    assert!(!well(&sv, &["status"]).contains("changed"));
    web.write("env/PORT", "81");
    web.write("timeout-up", "5s");
    web.write_script("run", "exec sleep 2000");
    web.write("restart", "never"); // which holds at once
    let told = "~ web: run, timeout-up, env/PORT\n";
    assert_eq!((well(&sv, &["rescan", "--dry-run"]), well(&sv, &["rescan"])), (told.into(), told.into()));
    assert!(well(&sv, &["status"]).contains("(changed since their start: web;"));
    assert!(well(&sv, &["status", "web"]).contains("changed   run, timeout-up, env/PORT since its start"));
    assert_eq!(web.wait_up(), pid, "nothing was restarted");
    well(&sv, &["restart", "web"]);
    web.wait_other(pid);
    assert_eq!(well(&sv, &["rescan", "--dry-run"]), "");
    std::fs::remove_file(web.path().join("env/PORT")).expect("removed");
    assert_eq!(well(&sv, &["rescan", "--dry-run"]), "~ web: env/\n");
}

/// A block of Python in a document, behind these words.
fn python(document: &str, behind: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(path).expect("a document");
    let (_, rest) = text.split_once(behind).expect("its place");
    let block = rest.split_once("```python\n").and_then(|(_, block)| block.split_once("```")).expect("a block");
    block.0.to_owned()
}

#[test]
fn what_the_client_of_procnanny_prints_can_be_made_of_a_status() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let run = "exec onit exec --nice 1 --ionice best-effort:3 -- env ruby=1 sleep 1000";
    let workers = sv.service("hello world@").run(run).file("instances", "2").create();
    let _onit = start(&sv, UnderTest::Onit);
    assert!(workers.path().exists());
    let script = python("docs/peers.md", "## procnanny");
    let printed = wait_for("both to run", SOON, || {
        let mut python = Command::new("python3");
        let status = well(&sv, &["status", "--json"]);
        let mut child = spawn(python.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()));
        std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), status.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("its output");
        let printed = json(&String::from_utf8_lossy(&output.stdout));
        let runs = |number: &str| printed["programs"]["hello world"]["instances"][number]["pid"].is_number();
        let is_exec = printed["programs"]["hello world"]["command"] == "sleep";
        (runs("1") && runs("2") && is_exec).then_some(printed)
    });
    let program = &printed["programs"]["hello world"];
    assert_eq!((&program["args"], &program["active"]), (&serde_json::json!(["1000"]), &true.into()));
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!(
        (&program["uid"], &program["nice"], &program["ionice"]),
        (&uid.into(), &1.into(), &serde_json::json!([2, 3]))
    );
    let first = &program["instances"]["1"];
    assert_eq!((&first["state"], &first["exitcode"], &first["admin_state"]), (&"up".into(), &0.into(), &"up".into()));
}

#[test]
fn an_unknown_request_is_answered_with_itself() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    let mut socket = std::os::unix::net::UnixStream::connect(sv.live().join("api")).expect("the socket");
    std::io::Write::write_all(&mut socket, b"fizzle\nstatus nobody\n").expect("asked");
    let mut answers = BufReader::new(socket).lines().map(|line| json(&line.expect("a line")));
    let mut next = || answers.next().expect("an answer")["error"].clone();
    assert_eq!(next(), serde_json::json!({"kind": "request", "text": "no such verb", "request": "fizzle"}));
    assert_eq!(next(), serde_json::json!({"kind": "service", "text": "no such service: nobody", "request": null}));
}
