//! `NAME@`, `instances` and `onit scale`: one directory, several services.

use crate::any_uid_any_root::{in_view, view};
use crate::conditions::start_with;
use crate::container::{Bundle, why_no_containers};
use crate::crash_and_upgrade::{damage, replace, wait_idle};
use crate::restarts::{told, wait_state};
use crate::svdir::{Ending, SOON, Service, Supervisor, SvDir, UnderTest, as_many, missing_tools, skip, wait_for};
use crate::verbs::{fails, json, start, verb, well};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

/// A template whose instances say which they are.
fn template(sv: &SvDir, name: &str, files: &[(&str, &str)]) -> Service {
    let run = "echo \"$1 $ONIT_INSTANCE\" >>\"started.$1\"; exec sleep 1000";
    let service = sv.service(name).run(run);
    files.iter().fold(service, |service, (file, content)| service.file(file, content)).create()
}

/// What the file says from now on, at one stroke.
fn says(template: &Service, text: &str) {
    template.write(".new", text);
    put(template);
}

fn put(template: &Service) {
    fs::rename(template.path().join(".new"), template.path().join("instances")).expect("renamed");
}

/// The names of all services, and their processes.
fn pids(sv: &SvDir) -> BTreeMap<String, Option<u64>> {
    let all = json(&verb(sv, &["status", "--json"]).stdout);
    let all = all.as_array().cloned().unwrap_or_default();
    all.iter().map(|one| (one["name"].as_str().expect("a name").to_owned(), one["pid"].as_u64())).collect()
}

fn wait_names(sv: &SvDir, names: &[&str]) -> BTreeMap<String, Option<u64>> {
    wait_for(&format!("{names:?}"), SOON, || {
        let all = pids(sv);
        (all.keys().eq(names.iter()) && all.values().all(Option::is_some)).then_some(all)
    })
}

fn stop(onit: &Supervisor) {
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

#[test]
fn a_number_makes_so_many_services_of_one_directory() {
    let sv = SvDir::new();
    let web = template(&sv, "web@", &[("instances", "3\n"), ("env/OWN", "x")]);
    template(&sv, "unused@", &[]);
    let onit = start(&sv, UnderTest::Onit);
    let first = wait_names(&sv, &["web@1", "web@2", "web@3"]);
    for x in ["1", "2", "3"] {
        wait_for("its line", SOON, || (web.text(&format!("started.{x}")) == format!("{x} {x}\n")).then_some(()));
        assert_eq!(
            fs::read_link(in_view(&sv, &format!("web@{x}")).path().join("run")).ok(),
            Some(web.path().join("run"))
        );
        assert!(in_view(&sv, &format!("web@{x}")).is_supervised());
    }
    assert!(!web.path().join("supervise").exists());
    well(&sv, &["restart", "web@2"]);
    let second = pids(&sv);
    assert_eq!((second["web@1"], second["web@3"]), (first["web@1"], first["web@3"]));
    assert_ne!(second["web@2"], first["web@2"]);
    // More, and fewer: only the difference.
    says(&web, "5\n");
    well(&sv, &["rescan"]);
    let third = wait_names(&sv, &["web@1", "web@2", "web@3", "web@4", "web@5"]);
    assert!(second.iter().all(|(name, pid)| third[name] == *pid));
    says(&web, "2\n");
    well(&sv, &["rescan"]);
    let fourth = wait_names(&sv, &["web@1", "web@2"]);
    assert!(fourth.iter().all(|(name, pid)| third[name] == *pid));
    assert!(!view(&sv).join("web@3").exists(), "nothing is left of it");
    fs::remove_file(web.path().join("instances")).expect("removed");
    well(&sv, &["rescan"]);
    wait_for("none", SOON, || pids(&sv).is_empty().then_some(()));
    says(&web, "1\n");
    well(&sv, &["rescan"]);
    wait_names(&sv, &["web@1"]);
    fs::rename(web.path(), sv.root().join("elsewhere")).expect("moved away");
    wait_for("none", SOON, || pids(&sv).is_empty().then_some(()));
    assert_eq!(onit.stderr(), "");
    stop(&onit);
}

#[test]
fn a_change_of_the_file_is_noticed_at_once() {
    let sv = SvDir::new();
    fs::create_dir(sv.path()).ok();
    let onit = start(&sv, UnderTest::Onit);
    // As an administrator's shell makes it: the file comes last.
    let web = template(&sv, "web@", &[]);
    well(&sv, &["rescan"]);
    assert!(pids(&sv).is_empty());
    web.write("instances", "2\n");
    let first = wait_names(&sv, &["web@1", "web@2"]);
    for text in ["3\n", "1\n2\n3\n"] {
        web.write("instances", text); // in its place
        assert_eq!(wait_names(&sv, &["web@1", "web@2", "web@3"])["web@1"], first["web@1"]);
    }
    says(&web, "1\n"); // and by another file
    wait_names(&sv, &["web@1"]);
    says(&web, "2\n");
    wait_names(&sv, &["web@1", "web@2"]);
    fs::remove_file(web.path().join("instances")).expect("removed");
    wait_for("none", SOON, || pids(&sv).is_empty().then_some(()));
    let api = sv.path().join("api@");
    fs::rename(web.path(), &api).expect("renamed");
    Service::at(api.clone()).write("instances", "x\n");
    let pid = wait_names(&sv, &["api@x"])["api@x"];
    fs::rename(&api, web.path()).expect("renamed");
    assert_eq!(wait_names(&sv, &["web@x"])["web@x"], pid, "instances follow their template");
    assert_eq!(onit.stderr(), "");
    stop(&onit);
}

#[test]
fn every_script_is_told_which_instance_it_is_for() {
    let sv = SvDir::new();
    let tell = |script: &str| format!("echo {script} \"$#\" \"$*\" \"$ONIT_INSTANCE\" >>\"told.$ONIT_INSTANCE\"");
    let web = sv
        .service("web@")
        .script("setup", &tell("setup"))
        .run(&format!("{}; exec sleep 1000", tell("run")))
        .finish(&tell("finish"))
        .script("control/t", &format!("{}; exit 1", tell("t")))
        .script("stop", &format!("{}; exit 1", tell("stop")))
        .script("check", &tell("check"))
        .log(&format!("{}; exec cat >>\"../log.$1\"", tell("log").replace("told.", "../told.log.")))
        .file("instances", "a\nb-c.d\n")
        .create();
    let _onit = start(&sv, UnderTest::Onit);
    wait_names(&sv, &["web@a", "web@b-c.d"]);
    wait_for("all of them", SOON, || {
        let has = |told: &str, lines| web.text(told).lines().count() >= lines;
        (has("told.a", 2) && ["told.log.a", "told.b-c.d", "told.log.b-c.d"].iter().all(|told| has(told, 1)))
            .then_some(())
    });
    well(&sv, &["check", "web@a"]);
    well(&sv, &["down", "web@a"]);
    let lines =
        ["setup 1 a a", "run 1 a a", "check 1 a a", "t 1 a a", "stop 1 a a", "finish 3 -1 15 a a", ""].join("\n");
    assert_eq!(web.text("told.a"), lines);
    assert_eq!(web.text("told.log.a"), "log 1 a a\n", "its logger is its own");
    assert_eq!(web.text("told.b-c.d").lines().next(), Some("setup 1 b-c.d b-c.d"));
    assert_eq!(web.text("told.log.b-c.d"), "log 1 b-c.d b-c.d\n");
    let loggers = json(&well(&sv, &["status", "-a", "--json"]));
    assert_eq!(loggers.as_array().expect("services").len(), 4);
    fails(&sv, &["disable", "web@b-c.d"], 1, &["an instance has no file down of its own"]);
    assert!(!web.path().join("down").exists());
}

#[test]
fn links_and_variables_make_instances_too_and_a_directory_is_a_service_of_its_own() {
    let sv = SvDir::new();
    let web = template(&sv, "web@", &[]);
    let elsewhere = sv.service_at(sv.root().join("getty@")).run("echo $1 >>started; exec sleep 1000").create();
    symlink("web@", sv.path().join("web@x")).expect("linked");
    symlink(web.path(), sv.path().join("web@y")).expect("linked");
    symlink(elsewhere.path(), sv.path().join("getty@tty1")).expect("linked");
    template(&sv, "job@", &[("instances", "$JOBS\n")]);
    template(&sv, "few@", &[("instances", "$NAMES")]);
    let own = sv.service("job@2").run("echo \"$#\" >started; exec sleep 1000").create();
    // s6's: it says nothing.
    template(&sv, "s6@", &[("instances/x/run", "")]);
    let onit = start_with(&sv, &[("JOBS", "2"), ("NAMES", " red, blue\n")]);
    let all = ["few@blue", "few@red", "getty@tty1", "job@1", "job@2", "web@x", "web@y"];
    wait_names(&sv, &all);
    wait_for("its line", SOON, || (own.text("started") == "0\n").then_some(()));
    wait_for("its line", SOON, || (elsewhere.text("started") == "tty1\n").then_some(()));
    wait_for("its line", SOON, || (web.text("started.y") == "y y\n").then_some(()));
    assert!(own.is_supervised() && in_view(&sv, "web@x").is_supervised());
    fs::remove_file(sv.path().join("web@x")).expect("removed");
    wait_names(&sv, &all.iter().copied().filter(|name| *name != "web@x").collect::<Vec<_>>());
    assert_eq!(onit.stderr(), "");
}

#[test]
fn stock_tools_find_an_instance_in_the_runtime_mirror() {
    if let Some(why) = missing_tools(&["sv", "svstat", "svok"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    template(&sv, "web@", &[("instances", "2")]);
    let onit = start(&sv, UnderTest::Onit);
    let pid = wait_names(&sv, &["web@1", "web@2"])["web@1"].expect("a process");
    let path = in_view(&sv, "web@1").path().display().to_string();
    let said = sv.tool("sv", &["status", &path]);
    assert!(said.code == 0 && said.stdout.starts_with(&format!("run: {path}: (pid {pid}) ")), "{said:?}");
    assert_eq!(sv.tool("svok", &[&path]).code, 0);
    assert_eq!(sv.tool("sv", &["-w", "60", "restart", &path]).code, 0);
    in_view(&sv, "web@1").wait_other(u32::try_from(pid).expect("a pid"));
    assert_eq!(sv.tool("sv", &["-w", "60", "down", &path]).code, 0);
    assert_eq!(
        (told(&sv, "web@1")["state"].clone(), told(&sv, "web@2")["state"].clone()),
        ("down".into(), "up".into())
    );
    stop(&onit);
}

#[test]
fn what_instances_cannot_say_is_told_once_and_changes_nothing() {
    let sv = SvDir::new();
    let web = template(&sv, "web@", &[("instances", "2\n")]);
    let says = |text: &str| says(&web, text);
    let onit = start(&sv, UnderTest::Onit);
    let before = wait_names(&sv, &["web@1", "web@2"]);
    let then = "no instance is started or stopped for it";
    let mut lines = 0;
    let mut told = |why: &str| {
        well(&sv, &["rescan"]);
        well(&sv, &["rescan"]);
        onit.wait_said(&[&format!("onit: web@: {why}; {then}")]);
        lines += 1;
        assert_eq!(onit.stderr().lines().count(), lines, "{}", onit.stderr());
        assert_eq!(pids(&sv), before);
    };
    says("1000000\n");
    told("instances asks for 1000000 instances, and 1000 are the most");
    for bad in ["../../etc", "a/b", ".hidden", "a\n..\n", "a b", "", "3x", "web@"] {
        says(bad);
        told(&format!("instances says {:?}, which is no value for it", bad.trim_end()));
    }
    says("$NOBODY");
    told("instances names $NOBODY, which is not set");
    let file = fs::File::create(web.path().join(".new")).expect("made");
    file.set_len(4 << 30).expect("a file of 4 GiB, of which nothing is there");
    put(&web);
    told("instances is longer than 65536 bytes");
    nix::unistd::mkfifo(&web.path().join(".new"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    put(&web);
    told("instances is no regular file");
    let long = "x".repeat(60);
    says(&format!("1\n{long}\n"));
    well(&sv, &["rescan"]);
    let line =
        format!("onit: web@{long}: cannot note its name: File name too long; not supervised until that is mended");
    onit.wait_said(&[&line]);
    wait_for("the others", SOON, || (!pids(&sv).contains_key("web@2")).then_some(()));
    assert_eq!(pids(&sv)["web@1"], before["web@1"]);
}

#[test]
fn scale_starts_and_stops_the_difference_and_stays() {
    let sv = SvDir::new();
    let web = template(&sv, "web@", &[("instances", "2\n")]);
    template(&sv, "job@", &[]);
    template(&sv, "named@", &[("instances", "a\nb\n")]);
    let onit = start(&sv, UnderTest::Onit);
    let first = wait_names(&sv, &["named@a", "named@b", "web@1", "web@2"]);
    let said = well(&sv, &["scale", "-v", "web=3", "job@=1"]);
    assert!(
        said.contains("web@3: up (pid ") && said.contains("job@1: up (pid ") && said.lines().count() == 2,
        "{said}"
    );
    assert_eq!(well(&sv, &["rescan", "--dry-run"]), "- job@1\n- web@3\n", "and what the files say");
    let second = pids(&sv);
    assert!(second.len() == 6 && first.iter().all(|(name, pid)| second[name] == *pid), "{second:?}");
    well(&sv, &["rescan"]);
    assert_eq!(well(&sv, &["scale", "-v", "web=1"]).lines().collect::<Vec<_>>().len(), 2);
    assert_eq!(pids(&sv).keys().collect::<Vec<_>>(), ["job@1", "named@a", "named@b", "web@1"]);
    well(&sv, &["scale", "web=1"]);
    assert_eq!(pids(&sv)["web@1"], first["web@1"]);
    well(&sv, &["scale", "job=0"]);
    assert_eq!(web.text("instances"), "2\n", "no file is written");
    fails(&sv, &["scale", "db=1"], 4, &["db: no such template in ", "(a directory db@)"]);
    fails(&sv, &["scale", "named=1"], 1, &["named: ", "its instances have names"]);
    fails(&sv, &["scale", "web=1001"], 1, &["web: ", "1000 instances are the most"]);
    fails(&sv, &["scale", "web"], 100, &["NAME=N"]);
    fails(&sv, &["scale"], 100, &["which template"]);
    // The next word of the file counts again.
    says(&web, "4\n");
    well(&sv, &["rescan"]);
    let last = wait_names(&sv, &["named@a", "named@b", "web@1", "web@2", "web@3", "web@4"]);
    assert_eq!(last["web@1"], first["web@1"]);
    assert_eq!(onit.stderr(), "");
    stop(&onit);
}

#[test]
fn instances_live_on_when_the_supervisor_is_replaced() {
    for fails in [false, true] {
        let sv = SvDir::new();
        let run = "trap 'exit 0' TERM; echo \"$1\"; while :; do sleep 0.02; done";
        let web = sv.service("web@").run(run).log("exec cat >>\"got.$1\"").file("instances", "2\n").create();
        template(&sv, "job@", &[("instances", "3\n")]);
        template(&sv, "link@", &[]);
        template(&sv, "new@", &[]);
        symlink("link@", sv.path().join("link@x")).expect("linked");
        let onit = start(&sv, UnderTest::Onit);
        wait_names(&sv, &["job@1", "job@2", "job@3", "link@x", "web@1", "web@2"]);
        well(&sv, &["scale", "web=4", "job=1", "new=1"]);
        let before = wait_names(&sv, &["job@1", "link@x", "new@1", "web@1", "web@2", "web@3", "web@4"]);
        for _ in 0..2 {
            replace(&sv, &onit, fails);
            well(&sv, &["rescan"]);
            assert_eq!(pids(&sv), before, "nothing restarts");
        }
        for x in 1..=4 {
            assert!(in_view(&sv, &format!("web@{x}")).is_supervised());
            wait_for("its line", SOON, || (web.text(&format!("log/got.{x}")) == format!("{x}\n")).then_some(()));
        }
        well(&sv, &["restart", "web@4"]);
        wait_for("its line", SOON, || (web.text("log/got.4") == "4\n4\n").then_some(()));
        well(&sv, &["scale", "web=1"]);
        wait_names(&sv, &["job@1", "link@x", "new@1", "web@1"]); // the loggers of the others read to the end
        assert_eq!(onit.stderr().lines().filter(|line| !line.contains("SIGSEGV")).count(), 0, "{}", onit.stderr());
        stop(&onit);
    }
}

#[test]
fn instances_are_found_again_by_their_status_when_what_was_left_is_lost() {
    let sv = SvDir::new();
    template(&sv, "web@", &[("instances", "3\n")]);
    let onit = start(&sv, UnderTest::Onit);
    let before = wait_names(&sv, &["web@1", "web@2", "web@3"]);
    wait_idle(&onit);
    damage(onit.pid(), 0, 1);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["onit: the state journal cannot be read: not an onit state file; looking for the services"]);
    assert_eq!(wait_names(&sv, &["web@1", "web@2", "web@3"]), before);
    well(&sv, &["restart", "web@2"]);
    stop(&onit);
}

#[test]
fn every_verb_takes_all_instances_at_once() {
    let sv = SvDir::new();
    template(&sv, "web@", &[("instances", "10\n")]);
    sv.service("web").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    wait_for("all", SOON, || (pids(&sv).len() == 11 && pids(&sv).values().all(Option::is_some)).then_some(()));
    let names = |word| {
        let said = well(&sv, &["status", word]);
        said.lines().skip(1).map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let all: Vec<String> = (1..=10).map(|x| format!("web@{x}")).collect();
    assert_eq!([names("web@*"), names("web@all")], [all.clone(), all]);
    well(&sv, &["down", "web@all"]);
    assert_eq!(
        pids(&sv).into_iter().filter(|(_, pid)| pid.is_some()).map(|(name, _)| name).collect::<Vec<_>>(),
        ["web"]
    );
    well(&sv, &["up", "web@[1-3]"]);
    well(&sv, &["wait", "up", "web@1", "web@3"]);
    fails(&sv, &["down", "db@all"], 4, &["db@all: no such service"]);
}

#[test]
fn a_directory_that_cannot_be_written_and_a_lost_mirror_change_nothing() {
    let sv = SvDir::new();
    let web = template(&sv, "web@", &[("instances", "2")]);
    let onit = start(&sv, UnderTest::Onit);
    let before = wait_names(&sv, &["web@1", "web@2"]);
    fs::remove_dir_all(view(&sv)).expect("removed");
    well(&sv, &["rescan"]);
    wait_for("the mirror", SOON, || in_view(&sv, "web@2").is_supervised().then_some(()));
    assert_eq!(pids(&sv), before);
    let name = in_view(&sv, "web@2");
    name.control(b"d").expect("an order");
    wait_state(&sv, "web@2", "down");
    assert!(!web.path().join("supervise").exists());
    assert_eq!(onit.stderr(), "");
}

#[test]
fn without_a_place_for_their_state_instances_run_all_the_same() {
    let sv = SvDir::new();
    let web = template(&sv, "web@", &[("instances", "2")]);
    fs::write(sv.root().join("file"), "").expect("written");
    let mut command = UnderTest::Onit.command(&sv.path());
    command.env("ONIT_RUN", sv.root().join("file/run"));
    let onit = sv.spawn(command);
    for x in ["1", "2"] {
        wait_for("its line", SOON, || (web.text(&format!("started.{x}")) == format!("{x} {x}\n")).then_some(()));
    }
    onit.wait_said(&["onit: web@1: cannot share supervise: ", "running, but out of reach for sv and svc"]);
    assert!(!web.path().join("supervise").exists());
    stop(&onit);
}

#[test]
fn a_thousand_instances_are_the_most() {
    let sv = SvDir::new();
    let most = as_many(1000);
    template(&sv, "web@", &[("instances", &most.to_string())]);
    let onit = start(&sv, UnderTest::Onit);
    wait_for("all of them", SOON * 5, || {
        let all = pids(&sv);
        (all.len() == most && all.values().all(Option::is_some)).then_some(())
    });
    well(&sv, &["scale", "-t", "300", "web=3"]);
    assert_eq!(pids(&sv).len(), 3);
    assert_eq!(onit.stderr(), "");
    stop(&onit);
}

#[test]
fn one_image_has_many_roles() {
    let sv = SvDir::new();
    template(&sv, "queue@", &[("instances", "$WORKERS\n")]);
    for name in ["web", "scheduler"] {
        sv.service(name).run("exec sleep 1000").create();
    }
    sv.service("queue-metrics").run("exec sleep 1000").file("dependencies.d/web", "").create();
    let onit = start_with(&sv, &[("ONIT_ENABLE", "queue queue-metrics"), ("WORKERS", "3")]);
    for name in ["queue@1", "queue@2", "queue@3", "queue-metrics"] {
        wait_state(&sv, name, "up");
    }
    for name in ["web", "scheduler"] {
        let web = told(&sv, name);
        assert_eq!((&web["state"], &web["reason"]), (&"skipped".into(), &"not in ONIT_ENABLE".into()));
    }
    well(&sv, &["health"]);
    assert_eq!(onit.stderr(), "");
    stop(&onit);
}

#[test]
fn one_image_has_many_roles_in_a_container_that_cannot_be_written() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let run = "echo \"$1 $ONIT_INSTANCE $QUEUE\"; exec sleep 1000";
    let bundle = Bundle::new().args(["onit", "run", "/sv"]).read_only().mount_tmpfs("/run", "mode=755");
    let bundle = bundle.script("/sv/queue@/run", run).file("/sv/queue@/instances", "$WORKERS\n", 0o644);
    let bundle = bundle.script("/sv/web/run", "exec sleep 1000").script("/sv/scheduler/run", "exec sleep 1000");
    let bundle = bundle.env("ONIT_ENABLE", "queue").env("WORKERS", "3").env("QUEUE", "mail");
    let container = bundle.start();
    let status = || json(&container.exec(["onit", "status", "--json"]).stdout);
    let states = || -> Vec<String> {
        let all = status();
        let told = all.as_array().into_iter().flatten();
        told.map(|one| format!("{} {}", one["name"].as_str().unwrap_or(""), one["state"].as_str().unwrap_or("")))
            .collect()
    };
    let wanted = ["queue@1 up", "queue@2 up", "queue@3 up", "scheduler skipped", "web skipped"];
    container.wait_for("the queues", SOON, || (states() == wanted).then_some(()));
    assert_eq!(container.exec(["onit", "health"]).code, 0);
    container.wait_for("their lines", SOON, || {
        let mut lines: Vec<String> = container.stdout().lines().map(str::to_owned).collect();
        lines.sort();
        (lines == ["1 1 mail", "2 2 mail", "3 3 mail"]).then_some(())
    });
    assert_eq!(container.exec(["onit", "scale", "queue=1"]).code, 0);
    assert_eq!(states(), ["queue@1 up", "scheduler skipped", "web skipped"]);
    assert_eq!(container.stderr(), "");
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0));
}
