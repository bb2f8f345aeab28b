//! Private trees of services, the programs under `examples/` that use the library, and systemd.

use crate::proc;
use crate::svdir::{SOON, SvDir, find_in_path, is_root, missing_tools, onit, output, skip, wait_for, write_file};
use onit::client::{DevTree, ErrorKind, Scanner, Until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program under `examples/`; Cargo builds them with the tests.
fn example(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_BIN_EXE_onit")).parent().expect("a directory").join("examples").join(name);
    assert!(place.exists(), "{} is not built", place.display());
    place
}

fn with_service(name: &str, body: &str) -> DevTree {
    let tree = DevTree::create().expect("a tree");
    fs::create_dir(tree.directory(name)).expect("mkdir");
    write_file(&tree.directory(name).join("run"), &format!("#!/bin/sh\n{body}\n"), 0o755);
    tree
}

fn a_life(scanner: Scanner) {
    let mut tree = with_service("web", "echo $$ >>pids; exec sleep 1000");
    let root = tree.root().to_owned();
    tree.start(scanner.clone()).expect("started");
    assert_eq!(tree.start(scanner).expect_err("a second time").kind(), ErrorKind::Busy);
    assert_eq!(tree.enable("nosuch").expect_err("no such service").kind(), ErrorKind::NoService);
    let web = tree.enable("web").expect("enabled");
    assert_eq!(tree.enabled().expect("names"), ["web"]);
    web.wait(Until::Supervised, SOON).expect("supervised");
    let pid = web.wait(Until::Up, SOON).expect("up").and_then(|status| status.pid).expect("a process");
    tree.disable("web", SOON).expect("disabled");
    assert!(!Path::new(&format!("/proc/{pid}")).exists() && tree.enabled().expect("names").is_empty());
    tree.disable("web", SOON).expect("disabled already");
    let web = tree.enable("web").expect("enabled again");
    web.wait(Until::Supervised, SOON).expect("supervised");
    let pid = web.wait(Until::Up, SOON).expect("up").and_then(|status| status.pid).expect("a process");
    let scanner = tree.pid().expect("it runs");
    tree.stop(SOON).expect("stopped");
    assert!([pid, scanner].iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    assert_eq!((tree.pid(), tree.stop(SOON)), (None, Ok(())));
    drop(tree);
    assert!(!root.exists());
}

#[test]
fn a_tree_lives_and_leaves_nothing_under_onit() {
    a_life(Scanner::Onit(onit()));
}

#[test]
fn a_tree_lives_and_leaves_nothing_under_runsvdir() {
    if let Some(missing) = missing_tools(&["runsvdir"]) {
        skip!("{missing}");
    }
    a_life(Scanner::Runsvdir("runsvdir".into()));
}

#[test]
fn a_service_that_ends_again_and_again_is_not_up() {
    let mut tree = with_service("loop", "exit 1");
    tree.start(Scanner::Onit(onit())).expect("started");
    assert_eq!(tree.up("loop", SOON).expect_err("it does not stay").kind(), ErrorKind::Ended);
}

#[test]
fn a_tree_says_where_its_onit_can_be_asked() {
    let mut tree = with_service("web", "exec sleep 1000");
    let late = tree.up("web", std::time::Duration::ZERO).expect_err("nobody runs the tree");
    assert_eq!((late.kind(), late.operation()), (ErrorKind::TimedOut, "wait until it is supervised"));
    tree.start(Scanner::Onit(onit())).expect("started");
    let web = tree.up("web", SOON).expect("up");
    let mut api = wait_for("the socket", SOON, || onit::client::api::Api::connect(tree.socket()).ok());
    let (told, seen) = (api.status("web").expect("told"), web.status().expect("seen"));
    assert_eq!((told.state.as_str(), told.pid), ("up", seen.pid.map(|pid| pid.0)));
}

/// As in `cargo test`: each thread has a tree of its own, and none meets another.
#[test]
fn threads_have_trees_of_their_own() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    a_life(Scanner::Onit(onit()));
                }
            });
        }
    });
}

/// Whoever runs the tree is killed twice, and started again once.
fn a_violent_life(scanner: Scanner) {
    let mut tree = with_service("web", "exec sleep 1000");
    let web = tree.enable("web").expect("enabled");
    let mut pids = Vec::new();
    for _ in 0..2 {
        tree.start(scanner.clone()).expect("started");
        let pid = wait_for("another process", SOON, || {
            let pid = web.status().ok()?.pid?.0.cast_unsigned();
            (!pids.contains(&pid)).then_some(pid)
        });
        pids.push(pid);
        let scanner = tree.pid().expect("it runs").0;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(scanner), nix::sys::signal::SIGKILL).expect("killed");
        wait_for("its end", SOON, || tree.pid().is_none().then_some(()));
    }
    tree.stop(SOON).expect("stopped");
    wait_for("the end of all", SOON, || pids.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
}

#[test]
fn a_tree_whose_onit_is_killed_leaves_nothing() {
    a_violent_life(Scanner::Onit(onit()));
}

#[test]
fn a_tree_whose_runsvdir_is_killed_leaves_nothing() {
    if let Some(missing) = missing_tools(&["runsvdir"]) {
        skip!("{missing}");
    }
    a_violent_life(Scanner::Runsvdir("runsvdir".into()));
}

#[test]
fn a_tree_that_is_dropped_while_it_runs_leaves_nothing() {
    let mut tree = with_service("web", "trap '' TERM; while :; do sleep 0.1; done");
    tree.start(Scanner::Onit(onit())).expect("started");
    let web = tree.enable("web").expect("enabled");
    web.wait(Until::Supervised, SOON).expect("supervised");
    let pid = web.wait(Until::Up, SOON).expect("up").and_then(|status| status.pid).expect("a process");
    let root = tree.root().to_owned();
    drop(tree);
    assert!(!root.exists() && !Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_program_that_cannot_be_executed_starts_no_tree() {
    let mut tree = DevTree::create().expect("a tree");
    let error = tree.start(Scanner::Onit("/nosuch/onit".into())).expect_err("no such program");
    assert_eq!(error.to_string(), "/nosuch/onit: cannot execute it: No such file or directory");
    assert_eq!(tree.pid(), None);
}

#[test]
fn the_example_of_a_tree_shows_what_happens_in_it() {
    let mut command = Command::new(example("dev_tree"));
    command.arg(onit());
    let said = output(command);
    assert_eq!(said.code, 0, "{}", said.stderr);
    // Between its two lives web may have been seen in any state, or in none.
    let [restarted, failed] = ["web: up\n", "crash: "].map(|line| said.stdout.matches(line).count() >= 2);
    assert!(restarted && failed && said.stdout.ends_with("still enabled: [\"web\"]\n"), "{said:?}");
}

#[test]
fn the_example_restarts_a_service_when_a_file_changes() {
    let mut tree = with_service("web", "exec sleep 1000");
    tree.start(Scanner::Onit(onit())).expect("started");
    let web = tree.enable("web").expect("enabled");
    web.wait(Until::Supervised, SOON).expect("supervised");
    let before = web.wait(Until::Up, SOON).expect("up");
    let file = tree.root().join("web.conf");
    let sv = SvDir::new();
    let mut command = Command::new(example("restart_on_change"));
    command.args([web.path(), &file]);
    let running = sv.spawn(command);
    let after = wait_for("another life", SOON, || {
        fs::write(&file, "x").expect("written"); // again and again: it may not have begun to watch
        web.wait(Until::Restarted(before), std::time::Duration::from_millis(300)).ok()
    });
    assert_ne!(after.and_then(|status| status.pid), before.and_then(|status| status.pid));
    wait_for("its line", SOON, || running.stdout().starts_with("restarted: ").then_some(()));
}

/// A manager of our own in a namespace of its own, with one unit, driven by the example.
const SYSTEMD: &str = r#"
mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/user "$XDG_CONFIG_HOME/systemd/user" || exit 9
printf '[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=100ms\n' >"$XDG_CONFIG_HOME/systemd/user/web.service"
printf '[Service]\nExecStart=/bin/sleep 1000\n' >"$XDG_CONFIG_HOME/systemd/user/plain.service"
"$CONTROL" --user web; echo "code $?"
"$SYSTEMD" --user --log-target=console >"$XDG_RUNTIME_DIR/log" 2>&1 &
until systemctl --user is-system-running >/dev/null 2>&1; do i=$((i+1)); [ $i -lt 200 ] || exit 8; sleep 0.1; done
await() { n=0; until "$CONTROL" --user $1 | grep -q "^$2"; do n=$((n+1)); [ $n -lt 200 ] || { echo "never $2"; exit 7; }; sleep 0.05; done; echo "$1 $2"; }
pid() { "$CONTROL" --user web | tr -dc 0-9; }
changed() { n=0; until [ "$(pid)" != "$1" ] && [ -n "$(pid)" ]; do n=$((n+1)); [ $n -lt 200 ] || exit 6; sleep 0.05; done; echo "web has another process"; }
await web down
"$CONTROL" --user web up; await web up
old=$(pid); "$CONTROL" --user web KILL; changed "$old"
old=$(pid); "$CONTROL" --user web restart; changed "$old"
"$CONTROL" --user web once; echo "code $?"
"$CONTROL" --user web down; await web down
"$CONTROL" --user plain once; await plain up
"$CONTROL" --user plain KILL; await plain failed
"$CONTROL" --user nosuch; echo "code $?"
"$CONTROL" --user nosuch up; echo "code $?"
systemctl --user exit
"#;

#[test]
fn systemd_is_driven_like_any_other() {
    let systemd = Path::new("/lib/systemd/systemd");
    if !is_root() || !systemd.exists() || find_in_path("systemctl").is_none() {
        skip!("needs root and systemd");
    }
    let sv = SvDir::new();
    let mut command = Command::new("unshare");
    command.args(["-mpf", "--kill-child", "--mount-proc", "sh", "-c", SYSTEMD]);
    command.env("CONTROL", example("control")).env("SYSTEMD", systemd).env_remove("DBUS_SESSION_BUS_ADDRESS");
    command.env("XDG_RUNTIME_DIR", sv.root()).env("XDG_CONFIG_HOME", sv.root().join("config"));
    let said = sv.run(command);
    let expected = "code 1\nweb down\nweb up\nweb has another process\nweb has another process\ncode 1\nweb down\nplain up\n\
        plain failed\ncode 1\ncode 1\n";
    assert_eq!(said.stdout, expected, "{}", said.stderr);
    let errors = "control: web: cannot read its status: no supervisor\n\
        control: web: cannot send once: systemd knows no such command\n\
        control: nosuch: cannot read its status: no such service\n\
        control: nosuch: cannot send up: no such service\n";
    assert_eq!(said.stderr, errors);
}

#[test]
fn without_systemctl_it_is_systemctl_that_is_missing() {
    let sv = SvDir::new();
    write_file(&sv.root().join("systemctl"), "no program", 0o644);
    let nowhere = sv.root().join("nowhere");
    for (path, line) in [
        (&*nowhere, "control: web: cannot send up: there is no systemctl in $PATH\n"),
        (sv.root(), "control: web: cannot send up: systemctl: not permitted\n"),
    ] {
        let mut command = Command::new(example("control"));
        command.args(["--systemd", "web", "up"]).env("PATH", path);
        let said = output(command);
        assert_eq!((said.code, said.stderr.as_str()), (1, line));
    }
}
