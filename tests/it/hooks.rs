//! `onit hooks`: programs hear what happens to services, one at a time, in time, and nobody waits for them.

use crate::svdir::{Ending, SOON, Supervisor, SvDir, UnderTest, wait_for, write_file};
use crate::verbs::{command, start, verb, well};
use nix::sys::signal::Signal;
use std::path::PathBuf;

/// Notes what it hears, in one write.
const NOTES: &str =
    "#!/bin/sh\nlog=$(cat)\nprintf '%s\\n' \"$*|$ONIT_COUNT|$ONIT_EXIT|$ONIT_REASON|$log\" >>\"$0.heard\"\n";

struct Hooks {
    dir: PathBuf,
    process: Supervisor,
}

/// A directory of hooks with this one in it, and the process that runs them, which has heard of a service.
fn hooks(sv: &SvDir, name: &str, script: &str, options: &[&str]) -> Hooks {
    let dir = sv.root().join("hooks");
    std::fs::create_dir(&dir).expect("mkdir");
    write_file(&dir.join("first"), NOTES, 0o755);
    write_file(&dir.join(name), script, 0o755);
    let place = dir.to_str().expect("printable").to_owned();
    let mut words = command(sv, &[&["hooks", "--dir", &place], options].concat());
    words.env("SVDIR", sv.path());
    let hooks = Hooks { dir, process: sv.spawn(words) };
    hooks.wait_heard(sv, "first", |_| true);
    hooks
}

impl Hooks {
    fn heard(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join(format!("{name}.heard"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until it has heard something; what it hears of is a service that comes and goes until then.
    fn wait_heard(&self, sv: &SvDir, name: &str, wanted: impl Fn(&str) -> bool) {
        self.process.wait_for("something that it hears", SOON, || {
            verb(sv, &["restart", "tick"]);
            self.heard(name).iter().any(|line| wanted(line)).then_some(())
        });
    }

    fn wait_for(&self, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        let line = || self.heard(name).into_iter().find(|line| wanted(line));
        wait_for(&format!("what {name} is to hear; it heard {:?}", self.heard(name)), SOON, line)
    }
}

fn supervised(sv: &SvDir) -> Supervisor {
    sv.service("tick").run("exec sleep 1000").create();
    start(sv, UnderTest::Onit)
}

#[test]
fn a_hook_hears_what_has_happened_with_the_reason_and_the_last_lines_of_the_log() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo one; echo two; exec sleep 1000").log("cat >>main/current").dir("log/main");
    let web = web.file("backoff", "1h 1h 1h").create();
    let _onit = supervised(&sv);
    let pid = web.wait_up();
    web.logger().wait_text("main/current", |text| text.ends_with("two\n"));
    let hooks = hooks(&sv, "notes", NOTES, &["--pause", "0"]);
    crate::svdir::send(pid, Signal::SIGKILL);
    let line = hooks.wait_for("notes", |line| line.starts_with("state web ") && line.contains(" backoff|"));
    assert!(line.starts_with("state web up backoff|") && line.contains("||was killed by SIGKILL"), "{line}");
    let all = std::fs::read_to_string(hooks.dir.join("notes.heard")).expect("heard");
    assert!(all.contains("|one\ntwo\n"), "{all}");
    well(&sv, &["down", "web"]);
    hooks.wait_for("notes", |line| line.starts_with("state web ") && line.contains(" down|"));
    assert!(hooks.process.stderr().is_empty(), "{}", hooks.process.stderr());
}

#[test]
fn a_slow_hook_is_alone_and_hears_once_of_all_that_came_meanwhile() {
    let sv = SvDir::new();
    let _onit = supervised(&sv);
    let slow = "#!/bin/sh\n[ ! -e \"$0.runs\" ] || echo twice >>\"$0.twice\"\n: >\"$0.runs\"\n\
                until [ -e \"$0.go\" ]; do sleep .05; done\nrm \"$0.runs\"\necho \"$* $ONIT_COUNT\" >>\"$0.heard\"\n";
    let hooks = hooks(&sv, "slow", slow, &["--pause", "0"]);
    let before = hooks.heard("first").len();
    for _ in 0..5 {
        well(&sv, &["restart", "tick"]);
    }
    wait_for("another hook, which waits for nobody", SOON, || (hooks.heard("first").len() > before + 4).then_some(()));
    assert_eq!(hooks.heard("slow"), Vec::<String>::new());
    std::fs::write(hooks.dir.join("slow.go"), "").expect("written");
    let many = |line: &str| {
        line.split(' ').next_back().and_then(|count| count.parse().ok()).is_some_and(|count: u32| count > 8)
    };
    hooks.wait_for("slow", |line| line.starts_with("state tick ") && many(line));
    assert!(!hooks.dir.join("slow.twice").exists());
}

#[test]
fn a_pause_bundles_what_happens_fast() {
    let sv = SvDir::new();
    let _onit = supervised(&sv);
    let hooks = hooks(&sv, "notes", NOTES, &["--pause", "8s"]);
    for _ in 0..4 {
        well(&sv, &["restart", "tick"]);
    }
    let count = |line: &str| line.split('|').nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    let line = hooks.wait_for("notes", |line| count(line) > 4);
    assert!(line.starts_with("state tick "), "{line}");
}

#[test]
fn what_hangs_is_killed_with_all_that_it_has_started_and_what_fails_is_told() {
    let sv = SvDir::new();
    let _onit = supervised(&sv);
    let hangs = "#!/bin/sh\ntrap '' TERM\nsleep 1001 & echo $! >>\"$0.children\"\nwait; wait\n";
    let hooks = hooks(&sv, "hangs", hangs, &["--pause", "0", "-t", "2s"]);
    write_file(&hooks.dir.join("fails"), "#!/bin/sh\nexit 3\n", 0o755);
    write_file(&hooks.dir.join("broken"), "#!/nothing/there\n", 0o755);
    write_file(&hooks.dir.join("no-program"), "#!/bin/sh\nexit 4\n", 0o644);
    write_file(&hooks.dir.join("backup~"), "#!/bin/sh\nexit 5\n", 0o755);
    hooks.wait_heard(&sv, "first", |_| !hooks.process.said(&["hangs: killed after "]).is_empty());
    hooks.wait_heard(&sv, "first", |_| !hooks.process.said(&["fails: exit 3"]).is_empty());
    hooks.wait_heard(&sv, "first", |_| !hooks.process.said(&["cannot run ", "/broken: No such file"]).is_empty());
    let children = std::fs::read_to_string(hooks.dir.join("hangs.children")).expect("children");
    let first: u32 = children.lines().next().expect("one").parse().expect("a pid");
    wait_for("the end of its child", SOON, || (!crate::proc::is_alive(first)).then_some(()));
    assert!(hooks.process.said(&["no-program"]).is_empty() && hooks.process.said(&["backup"]).is_empty());
    hooks.process.signal(Signal::SIGTERM);
    assert_eq!(hooks.process.wait_end(SOON), Ending::Code(0));
}

#[test]
fn hooks_go_on_after_an_upgrade_and_end_with_the_supervisor() {
    let sv = SvDir::new();
    let onit = supervised(&sv);
    let hooks = hooks(&sv, "notes", NOTES, &["--pause", "0"]);
    assert_eq!(verb(&sv, &["upgrade", &onit.pid().to_string()]).code, 0);
    let before = hooks.heard("notes").len();
    hooks.process.wait_for("more", SOON, || {
        verb(&sv, &["restart", "tick"]);
        (hooks.heard("notes").len() > before + 1).then_some(())
    });
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(hooks.process.wait_end(SOON), Ending::Code(111));
    hooks.process.wait_said(&["onit: hooks: no supervisor answers ("]);
}

/// Also where it is one of the services that it tells of, and has nothing but a directory to go by.
#[test]
fn hooks_are_a_service_and_stand_beside_the_services() {
    let sv = SvDir::new();
    let run = format!("exec {} hooks", crate::svdir::onit().display());
    sv.service("hooks").run(&run).create();
    std::fs::create_dir_all(sv.path().join(".onit/hooks")).expect("mkdir");
    write_file(&sv.path().join(".onit/hooks/notes"), NOTES, 0o755);
    let onit = supervised(&sv);
    let heard = || std::fs::read_to_string(sv.path().join(".onit/hooks/notes.heard")).unwrap_or_default();
    onit.wait_for("a note", SOON, || {
        verb(&sv, &["restart", "tick"]);
        heard().contains("state tick ").then_some(())
    });
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}
