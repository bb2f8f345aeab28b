//! `env/`: what a script of a service gets of it is what envdir and `chpst -e` would give it, at each start anew. Whatever
//! stands there, nobody waits, one line tells of each file that is left out, and the service starts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::slow_exec::Lease;
use crate::svdir::InTurn as _;
use crate::svdir::{SOON, Service, SvDir, UnderTest};
use crate::svdir::{given_to, is_root, missing_tools, skip, wait_for, wrapped};

type Variables = BTreeMap<OsString, OsString>;

/// Goes on, and is no shell: that would leave out what it takes for no variable.
const TRANSPARENT: &str = "#!/usr/bin/tail -f\n";

fn variables(text: &[u8]) -> Variables {
    let pair = |entry: &[u8]| {
        let end = entry.iter().position(|byte| *byte == b'=').expect("NAME=VALUE");
        (OsString::from_vec(entry[..end].to_vec()), OsString::from_vec(entry[end + 1..].to_vec()))
    };
    text.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(pair).collect()
}

/// What `run` of a service was executed with.
#[track_caller]
fn environment_of(service: &Service) -> Variables {
    let pid = service.wait_up();
    wait_for("run to be executed", SOON, || {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let text = fs::read(format!("/proc/{pid}/environ")).ok()?;
        (name.trim() != "onit" && !text.is_empty()).then(|| variables(&text))
    })
}

/// The environment after the next start.
#[track_caller]
fn after_restart(service: &Service) -> Variables {
    let pid = service.wait_up();
    service.order(b"t");
    service.wait_other(pid);
    environment_of(service)
}

fn write(dir: &Path, name: &[u8], content: &[u8]) {
    fs::write(dir.join(OsStr::from_bytes(name)), content).expect("written");
}

/// Odd files, of which the tools say the same: names, and contents.
const ODD: &[(&[u8], &[u8])] = &[
    (b"PLAIN", b"value"),
    (b"NEWLINE", b"value\n"),
    (b"LINES", b"first\nsecond\n"),
    (b"TRAILING", b"value \t \t\n"),
    (b"LEADING", b" \tvalue\n"),
    (b"CR", b"value\r\n"),
    (b"BLANK_BEFORE_CR", b"value \r\n"),
    (b"NUL", b"first\0second\n"),
    (b"NUL_AND_BLANK", b"first \0 \n"),
    (b"NUL_AT_END", b"first \0\n"),
    (b"ONLY_NUL", b"\0"),
    (b"VERTICAL_TAB", b"value\x0b\n"),
    (b"EMPTY_LINE", b"\n"),
    (b"EMPTY_LINE_FIRST", b"\nsecond\n"),
    (b"BLANKS", b" \t "),
    (b"OVERRIDDEN", b"ours\n"),
    (b"BLANKED", b"\n"),
    (b"REMOVED", b""),
    (b"NEVER_THERE", b""),
    (b"EQUALS", b"a=b=c\n"),
    (b"NOT_UTF8", b"\xff\xfe\xc3\n"),
    (b"\xff\xfe", b"name\n"),
    (b"a-b.c d", b"name\n"),
    (b" ", b"name\n"),
    (b"NEW\nLINE", b"name\n"),
    (b"1", b"name\n"),
    (b"lower", b"name\n"),
    (b"~", b"name\n"),
    (b".hidden", b"value\n"),
    (b".REMOVED", b""),
    (b"QUOTES", b"'\"`$(id)$HOME\\\n"),
    (b"LONG", &[b'x'; 60_000]),
    (b"LONG_BLANK", &[b' '; 60_000]),
];

#[test]
fn what_envdir_and_chpst_give_is_what_run_gets() {
    if let Some(why) = missing_tools(&["envdir", "chpst", "tail"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let plain = sv.service("plain").exec("run", TRANSPARENT).create();
    let web = sv.service("web").exec("run", TRANSPARENT).dir("env").create();
    // Alone: beside others, both tools give a dead link the value of the file that they have read before it.
    let dead = sv.service("dead").exec("run", TRANSPARENT).symlink("env/DANGLING", "nowhere").create();
    let env = web.path().join("env");
    ODD.iter().for_each(|(name, content)| write(&env, name, content));
    symlink("PLAIN", env.join("LINK")).expect("symlink");
    let mut command = UnderTest::Onit.command(&sv.path());
    command.envs([("OVERRIDDEN", "theirs"), ("BLANKED", "theirs"), ("REMOVED", "theirs"), ("DANGLING", "theirs")]);
    command.envs([("KEPT", "theirs"), ("hidden", "theirs")]);
    let onit = sv.spawn(command);

    let inherited = environment_of(&plain);
    assert_eq!(inherited.get(OsStr::new("REMOVED")), Some(&"theirs".into()));
    for service in [&web, &dead] {
        let ours = environment_of(service);
        assert_ne!(ours, inherited);
        for tool in [&["envdir"][..], &["chpst", "-e"]] {
            let mut command = Command::new(tool[0]);
            command.args(&tool[1..]).arg(service.path().join("env")).args(["/usr/bin/env", "-0"]);
            let output = command.env_clear().envs(&inherited).output_in_turn().expect("the tool");
            assert!(output.status.success(), "{tool:?}: {output:?}");
            let theirs = variables(&output.stdout);
            let names = ours.keys().chain(theirs.keys());
            let different: Vec<_> = names.filter(|name| ours.get(*name) != theirs.get(*name)).collect();
            assert!(different.is_empty(), "{tool:?}: {different:?}");
        }
    }
    let ours = environment_of(&web);
    assert_eq!(ours.get(OsStr::new("NUL")), Some(&"first\nsecond".into()));
    assert_eq!(onit.stderr().lines().filter(|line| line.starts_with("onit:")).count(), 0, "{}", onit.stderr());
}

#[test]
fn every_script_gets_it_and_a_change_holds_at_the_next_start() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo run $A $B >>told; exec sleep 1000").file("env/A", "1\n").file("env/B", "x");
    let web = web.finish("echo finish $A $B >>told").script("control/t", "echo control $A $B >>told; exit 1");
    let web = web.log("echo ${A-none} $C >../logger; exec cat").file("log/env/C", "3\n").create();
    let _onit = sv.start(UnderTest::Onit);
    let first = web.wait_up();
    assert_eq!(web.wait_text("told", |text| text.ends_with('\n')), "run 1 x\n");
    assert_eq!(web.wait_text("logger", |text| text.ends_with('\n')), "none 3\n", "it has one of its own");
    web.write("env/A", "2\n");
    fs::remove_file(web.path().join("env/B")).expect("removed");
    web.order(b"t");
    web.wait_other(first);
    web.wait_text("told", |text| text == "run 1 x\ncontrol 2\nfinish 2\nrun 2\n");
    fs::remove_dir_all(web.path().join("env")).expect("removed");
    web.order(b"t");
    web.wait_text("told", |text| text.ends_with("run 2\ncontrol\nfinish\nrun\n"));
    fs::create_dir(web.path().join("env")).expect("mkdir");
    web.write("env/A", "3\n"); // that of a directory that has come
    web.order(b"t");
    web.wait_text("told", |text| text.ends_with("control 3\nfinish 3\nrun 3\n"));
}

#[test]
fn the_tools_that_onit_stands_in_for_do_not_know_it() {
    for name in ["runsvdir", "svscan"] {
        let sv = SvDir::new();
        let web = sv.service("web").run("echo ${A-none} >told; exec sleep 1000").file("env/A", "1\n").create();
        let _tool = sv.start(UnderTest::OnitAs(name));
        assert_eq!(web.wait_text("told", |text| text.ends_with('\n')), "none\n", "{name}");
    }
}

/// What cannot be used: how it is made, and the line that tells of it.
type Unusable = (&'static str, fn(&Path), &'static str);

const UNUSABLE: &[Unusable] = &[
    (
        "FIFO",
        |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo"),
        "env/FIFO is no regular file",
    ),
    ("DIR", |path| fs::create_dir(path).expect("mkdir"), "env/DIR is no regular file"),
    ("ZERO", |path| symlink("/dev/zero", path).expect("symlink"), "env/ZERO is no regular file"),
    ("TTY", |path| symlink("/dev/tty", path).expect("symlink"), "env/TTY is no regular file"),
    ("KERNEL", |path| symlink("/proc/version", path).expect("symlink"), "env/KERNEL is no regular file"),
    (
        "LOOP",
        |path| symlink("LOOP", path).expect("symlink"),
        "cannot read env/LOOP: Too many symbolic links encountered",
    ),
    ("A=B", |path| fs::write(path, "x\n").expect("written"), "env/A=B is no variable, since there is = in its name"),
    ("LONG", |path| fs::write(path, vec![b'x'; 65_537]).expect("written"), "env/LONG is longer than 65536 bytes"),
    (
        "HOLE",
        |path| File::create(path).and_then(|file| file.set_len(8 << 30)).expect("a hole"),
        "env/HOLE is longer than 65536 bytes",
    ),
    (
        "LOCKED",
        |path| {
            fs::write(path, "x\n").expect("written");
            fs::set_permissions(path, Permissions::from_mode(0o000)).expect("chmod");
        },
        "cannot read env/LOCKED: Permission denied",
    ),
];

#[test]
fn a_file_that_cannot_be_used_is_told_once_and_left_out() {
    let sv = SvDir::new();
    let web = sv.service("web").exec("run", TRANSPARENT).finish("exit 0").script("control/t", "exit 1");
    let web = web.file("env/GOOD", "1\n").file_with_mode("env/LIMIT", &"y".repeat(65_536), 0o644).create();
    let env = web.path().join("env");
    // As root, nothing is locked.
    let words = if is_root() { given_to(&sv, 54_909) } else { Vec::new() };
    let mut command = if words.is_empty() { UnderTest::Onit.command(&sv.path()) } else { Command::new(&words[0]) };
    let others = || UNUSABLE.iter().filter_map(|(name, ..)| name.split('=').next());
    UNUSABLE.iter().for_each(|(name, make, _)| make(&env.join(name)));
    command.args(words.iter().skip(1)).envs(others().map(|name| (name, "theirs")));
    let onit = sv.spawn(command);
    for seen in [environment_of(&web), after_restart(&web)] {
        assert_eq!(seen.get(OsStr::new("GOOD")), Some(&"1".into()));
        assert_eq!(seen.get(OsStr::new("LIMIT")).map(|value| value.len()), Some(65_536));
        for name in others() {
            assert_eq!(seen.get(OsStr::new(name)), Some(&"theirs".into()), "{name} stays as it was");
        }
    }
    for (_, _, line) in UNUSABLE {
        let line = format!("onit: web: {line}; starting without it");
        assert_eq!(onit.stderr().lines().filter(|told| **told == *line).count(), 1, "{line} in:\n{}", onit.stderr());
    }
    let told = || onit.said(&["onit: "]).len();
    assert_eq!(told(), UNUSABLE.len(), "{}", onit.stderr());

    // Mended, it is used; broken again, it is told again, and the others are not.
    let dir = env.join("DIR");
    fs::remove_dir(&dir).expect("rmdir");
    fs::write(&dir, "mended\n").expect("written");
    assert_eq!(after_restart(&web).get(OsStr::new("DIR")), Some(&"mended".into()));
    fs::remove_file(&dir).expect("rm");
    fs::create_dir(&dir).expect("mkdir");
    assert_eq!(after_restart(&web).get(OsStr::new("DIR")), Some(&"theirs".into()));
    assert_eq!((onit.said(&["env/DIR"]).len(), told()), (2, UNUSABLE.len() + 1), "{}", onit.stderr());
}

#[test]
fn an_env_that_leads_into_a_circle_is_told_once_and_a_plain_file_is_not() {
    let sv = SvDir::new();
    let file = sv.service("file").exec("run", TRANSPARENT).file("env", "A=1\n").create();
    let ring = sv.service("ring").exec("run", TRANSPARENT).symlink("env", "env").create();
    let gone = sv.service("gone").exec("run", TRANSPARENT).symlink("env", "nowhere").create();
    let elsewhere = sv.service_at(sv.root().join("elsewhere")).file("A", "1\n").create();
    let link = sv.service("link").exec("run", TRANSPARENT).symlink("env", elsewhere.path()).create();
    let onit = sv.start(UnderTest::Onit);
    for service in [&file, &ring, &gone] {
        environment_of(service);
        after_restart(service);
    }
    assert_eq!(environment_of(&link).get(OsStr::new("A")), Some(&"1".into()));
    onit.wait_said(&["onit: ring: cannot read env: Too many symbolic links encountered; starting without it"]);
    assert_eq!(onit.said(&["onit: "]).len(), 1, "a plain file is for run itself: {}", onit.stderr());
}

#[test]
fn an_env_that_may_not_be_listed_is_told_once() {
    if !is_root() {
        skip!("only root can be another user");
    }
    let sv = SvDir::new();
    let web = sv.service("web").exec("run", TRANSPARENT).file("env/A", "1\n").create();
    fs::set_permissions(web.path().join("env"), Permissions::from_mode(0o311)).expect("chmod");
    let onit = sv.spawn_words(&given_to(&sv, 54_910));
    environment_of(&web);
    assert_eq!(after_restart(&web).get(OsStr::new("A")), None);
    onit.wait_said(&["onit: web: cannot list env: Permission denied; starting without the rest"]);
    assert_eq!(onit.said(&["onit: "]).len(), 1, "{}", onit.stderr());
}

#[test]
fn a_file_that_is_leased_to_another_process_is_not_waited_for() {
    let sv = SvDir::new();
    let web = sv.service("web").down().exec("run", TRANSPARENT).file("env/A", "1\n").file("env/B", "2\n").create();
    let lease = match Lease::on(&web.path().join("env/A")) {
        Ok(lease) => lease,
        Err(error) => skip!("no lease can be had here: {error}"),
    };
    let onit = sv.start(UnderTest::Onit);
    wait_for("supervision", SOON, || web.is_supervised().then_some(()));
    web.order(b"u");
    let seen = environment_of(&web);
    assert_eq!(["A", "B"].map(|name| seen.get(OsStr::new(name)).cloned()), [None, Some("2".into())]);
    onit.wait_said(&["onit: web: cannot read env/A: ", "; starting without it"]);
    drop(lease);
    assert_eq!(after_restart(&web).get(OsStr::new("A")), Some(&"1".into()));
    assert_eq!(onit.said(&["onit: "]).len(), 1, "{}", onit.stderr());
}

#[test]
fn ten_thousand_files_arrive_and_more_than_there_is_room_for_is_told() {
    let sv = SvDir::new();
    let other = sv.service("other").exec("run", TRANSPARENT).create();
    let many = sv.service("many").exec("run", TRANSPARENT).dir("env").create();
    let large = sv.service("large").exec("run", TRANSPARENT).dir("env").create();
    let endless = sv.service("endless").exec("run", TRANSPARENT).dir("env").create();
    (0..10_000).for_each(|at| write(&many.path().join("env"), format!("V{at}").as_bytes(), b"1\n"));
    (0..17_000).for_each(|at| write(&endless.path().join("env"), format!("V{at}").as_bytes(), b""));
    (0..40).for_each(|at| write(&large.path().join("env"), format!("V{at}").as_bytes(), &[b'x'; 60_000]));
    let onit = sv.start(UnderTest::Onit);
    let inherited = environment_of(&other);
    let seen = environment_of(&many);
    assert_eq!(seen.len(), inherited.len() + 10_000);
    assert!((0..10_000).all(|at| seen.contains_key(OsStr::new(&format!("V{at}")))));
    assert_eq!(environment_of(&endless), inherited, "it starts");
    onit.wait_said(&["onit: endless: env has more than 16384 files; starting without the others"]);
    let held = environment_of(&large).len() - inherited.len();
    assert_eq!(held, (1 << 20) / 60_013, "as many as there is room for");
    assert_eq!(onit.said(&["onit: large: env/V", " is too much: env has more than 1048576 bytes"]).len(), 10);
    let rest = 40 - held - 10;
    onit.wait_said(&[&format!("onit: large: {rest} more files of env/ cannot be used; starting without them")]);
    after_restart(&large);
    assert_eq!(onit.said(&["onit: "]).len(), 12, "{}", onit.stderr());
}

#[test]
fn a_service_without_it_costs_one_system_call_at_a_start() {
    if let Some(why) = missing_tools(&["strace"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").exec("run", TRANSPARENT).create();
    let calls = sv.root().join("calls");
    let strace = ["strace", "-D", "-o", calls.to_str().expect("a path"), "-e", "trace=%file"];
    let onit = sv.spawn(wrapped(&strace, &UnderTest::Onit.command(&sv.path())));
    for _ in 0..3 {
        after_restart(&web);
    }
    onit.signal(Signal::SIGTERM);
    onit.wait_end(SOON);
    let asked = wait_for("all calls", SOON, || {
        let told = fs::read_to_string(&calls).ok()?;
        let asked: Vec<_> = told
            .lines()
            .filter(|line| line.starts_with("open") && line.contains("\"env\""))
            .map(str::to_owned)
            .collect();
        (told.ends_with("+++\n")).then_some(asked)
    });
    assert!(asked.len() == 4 && asked.iter().all(|line| line.contains("ENOENT")), "{asked:#?}");
}
