//! Orders and answers that something stands in the way of: names that are none, services that are not there yet, files
//! and sockets of others.

use crate::svdir::{self, SOON, Supervisor, SvDir, UnderTest, is_root, missing_tools, onit, skip, spawn, wait_for};
use crate::verbs::{command, fails, on_terminal, start, verb, well};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn an_empty_name_is_never_that_of_a_service() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 1000").create();
        let _supervisor = start(&sv, which);
        let pid = web.wait_up();
        let verbs = "up down restart status enable disable pid env history check term kill exit once health events";
        for words in verbs.split(' ').map(|verb| vec![verb, ""]).chain([vec!["wait", "up", "", "-t", "60"]]) {
            fails(&sv, &words, 100, &["the name of a service is empty"]);
        }
        for words in ["sv up", "sv status", "svc -d", "svstat", "svok"] {
            let words: Vec<&str> = words.split(' ').chain([""]).collect();
            assert!(!verb(&sv, &words).stdout.contains("run:"), "{words:?}");
        }
        let services = sv.path().display().to_string();
        fails(&sv, &["disable", &services], 1, &["is no service directory: there is no run in it"]);
        assert_eq!((web.wait_up(), sv.path().join("down").exists()), (pid, false), "{which:?}");
    }
}

#[test]
fn an_empty_word_is_an_error_and_never_the_current_directory() {
    let sv = SvDir::new();
    let here = sv.root().join("here");
    fs::create_dir(&here).expect("a directory");
    for words in [
        &["install", ""][..],
        &["install", "-f", ""],
        &["install", "--", ""],
        &["export", "systemd", ""],
        &["lint", ""],
        &["lint", "/", ""],
        &["new", "", "--", "true"],
        &["new", "web", "--dir", "", "--", "true"],
        &["new", "web", "--dir=", "--", "true"],
        &["new", "web", "--cwd", "", "--", "true"],
        &["new", "web", "--log", "", "--", "true"],
        &["new", "web", "--user", "", "--", "true"],
        &["new", "web", "--depends-on", "", "--", "true"],
        &["upgrade", ""],
        &["completion", ""],
        &["events", "--exec", ""],
        &["status", "--color", ""],
        &["run", ""],
        &["run", "--control-group", "", "."],
        &["run", "--status-group=", "."],
        &["run", "", "--", "true"],
    ] {
        let mut command = command(&sv, words);
        command.current_dir(&here);
        let said = sv.run(command);
        assert_eq!((said.code, said.stdout.as_str()), (100, ""), "{words:?}: {said:?}");
        assert!(said.stderr.starts_with("onit: "), "{words:?}: {said:?}");
        assert_eq!(fs::read_dir(&here).expect("read").count(), 0, "{words:?}");
    }
}

/// As `/` is on every machine, for `$UNSET/` is that.
#[test]
fn a_directory_with_a_run_that_is_a_directory_is_no_service() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        sv.service("web").run("exec sleep 1000").create();
        let _supervisor = start(&sv, which);
        let root = sv.root().join("root");
        fs::create_dir_all(root.join("run")).expect("directories");
        let root = format!("{}/", root.display());
        for verb in ["disable", "enable", "status", "up", "down", "pid", "env", "history", "check", "term", "exit"] {
            fails(&sv, &[verb, &root], 1, &["is no service directory: there is no run in it"]);
        }
        fails(&sv, &["status", "/"], 1, &["onit: /: is no service directory"]);
        assert_eq!(fs::read_dir(&root).expect("read").count(), 1, "{which:?}");
    }
    let sv = SvDir::new();
    let _onit = start(&sv, UnderTest::Onit);
    let mut stream = UnixStream::connect(sv.live().join("api")).expect("a socket");
    let mut answers = BufReader::new(stream.try_clone().expect("a descriptor"));
    let root = format!("disable {}/root/", sv.root().display());
    for request in ["disable ..", "disable ../", root.as_str()] {
        stream.write_all(format!("{request}\n").as_bytes()).expect("sent");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("an answer");
        assert!(answer.starts_with("{\"error\":{\"kind\":\"service\""), "{request}: {answer}");
    }
    assert!(!sv.root().join("down").exists());
}

/// Whoever waited for it would wait for a minute, which is longer than any verb here may take.
#[test]
fn what_can_be_no_name_is_not_waited_for() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let db = sv.service("db").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    db.wait_up();
    for words in ["up -t 90", "restart -t 90 --no-wait", "down -t 90", "wait -t 90 up", "status", "pid", "check -t 90"]
    {
        let words: Vec<&str> = words.split(' ').chain(["web/../db"]).collect();
        fails(&sv, &words, 4, &["onit: web/../db: no such service"]);
    }
    assert_eq!(well(&sv, &["up", &format!("{}/web/../db", sv.path().display())]), "", "a path is one");
}

#[test]
fn an_empty_name_is_an_error_on_the_wire() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    let pid = web.wait_up();
    let mut stream = UnixStream::connect(sv.live().join("api")).expect("a socket");
    let mut answers = BufReader::new(stream.try_clone().expect("a descriptor"));
    for request in ["status ", "history ", "up ", "down ", "kill "] {
        stream.write_all(format!("{request}\n").as_bytes()).expect("sent");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("an answer");
        let told =
            serde_json::json!({"kind": "request", "text": "the name of the service is empty", "request": request});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer).expect("JSON")["error"], told);
    }
    assert_eq!(web.wait_up(), pid);
}

/// A supervisor that never reads what it is told: only its files are there.
struct Silent {
    sv: SvDir,
    _ok: fs::File,
    control: fs::File,
}

impl Silent {
    /// It says this of its service: pid, wanted `u` or `d`, got TERM.
    fn saying(pid: u8, want: u8, got_term: u8) -> Silent {
        let sv = SvDir::new();
        let web = sv.service("web").run("exit").fifo("supervise/ok").fifo("supervise/control").create();
        let state = u8::from(pid != 0);
        let record = [64, 0, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0, pid, 0, 0, 0, 0, want, got_term, state];
        fs::write(web.path().join("supervise/status"), record).expect("written");
        let open = |name: &str| {
            let file = web.path().join("supervise").join(name);
            fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(file).expect("a FIFO")
        };
        Silent { _ok: open("ok"), control: open("control"), sv }
    }

    /// Calls our sv with this order, and says what is to be read then.
    fn after(&mut self, order: &str) -> String {
        self.sv.onit(&["sv", order, "web"]);
        let mut read = [0; 16];
        let length = self.control.read(&mut read).unwrap_or(0);
        String::from_utf8_lossy(&read[..length]).into_owned()
    }
}

#[test]
fn an_order_is_given_although_the_record_of_before_an_unread_one_says_that_it_is_so() {
    assert_eq!(Silent::saying(0, b'u', 0).after("up"), "u", "a `down` may be on its way");
    let mut stopping = Silent::saying(7, b'd', 1);
    assert_eq!(stopping.after("down"), "", "it had its TERM");
    stopping.control.write_all(b"u").expect("written");
    assert_eq!(stopping.after("down"), "ud");
}

#[test]
fn what_was_just_put_there_can_be_ordered_at_once() {
    let sv = SvDir::new();
    let _onit = start(&sv, UnderTest::Onit);
    for n in 0..4 {
        for words in ["up -t 60", "restart -t 60", "down -t 60", "sv -w 60 up", "sv -w 60 start", "sv -w 60 check"] {
            let name = format!("{}{n}", words.replace(' ', ""));
            let home = sv.service_at(sv.root().join(&name)).run("exec sleep 1000").create();
            let mut words: Vec<&str> = words.split(' ').collect();
            words.push(&name);
            symlink(home.path(), sv.path().join(&name)).expect("symlink");
            let said = verb(&sv, &words);
            assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{words:?}: {said:?}");
        }
    }
}

#[test]
fn what_cannot_be_executed_is_told_at_once() {
    let sv = SvDir::new();
    let broken = sv.service("broken").file_with_mode("run", "#!/bin/sh\n", 0o644).create();
    let _onit = start(&sv, UnderTest::Onit);
    broken.wait_for("it to be looked after", |_| true);
    for order in ["up", "restart", "down", "up", "once", "down", "enable"] {
        let asked = Instant::now();
        let code = i32::from(order != "down");
        let give = || verb(&sv, &[order, "-t", "600", "broken"]);
        // On a busy machine the kernel's answer takes longer than onit waits for it, and until then it is a process.
        let said = std::iter::repeat_with(give).take(3).find(|said| said.code == code);
        let said = said.unwrap_or_else(|| panic!("{order} is never told to have failed"));
        assert!(code == 0 || said.stderr.contains("cannot start ./run: Permission denied"), "{order}: {said:?}");
        assert!(asked.elapsed() < Duration::from_secs(60), "{order}");
    }
}

#[test]
fn nothing_that_others_have_written_changes_a_terminal() {
    let sv = SvDir::new();
    let evil = "x\x1b]0;evil\x07\x1b[2J\x1b[31m";
    let log = "exec tee main/current >/dev/null";
    let web = sv.service(evil).run("printf '\\033[2Jlog\\n'; exec sleep 1000").log(log).dir("log/main").create();
    sv.service("lost").exec("run", "#!/no\x1b[2Jsuch\n").create();
    let mut run = UnderTest::Onit.command(&sv.path());
    run.env("EVIL", evil).env("BYTES", std::ffi::OsStr::from_bytes(b"x\xff\xfe")).env("LINES", "a\nb");
    let onit = sv.spawn(run);
    web.wait_up();
    onit.wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    let place = sv.path().display().to_string();
    let lost = sv.path().join("lost").display().to_string();
    for words in [
        &["status"][..],
        &["status", "-a"],
        &["status", evil],
        &["health"],
        &["history", evil],
        &["history", "lost"],
        &["lint", &place],
        &["export", "systemd", &lost],
        &["env", evil],
        &["pid", evil],
        &["restart", "-v", evil],
        &["up", "lost"],
        &["status", "no\x1b[2J"],
        &[evil],
        &["help", evil],
        &["export", "systemd", evil],
    ] {
        let said = verb(&sv, words);
        let text = said.stdout + &said.stderr;
        assert!(!text.contains(['\x1b', '\x07']), "{words:?}: {text:?}");
    }
    for words in [&["list"][..], &["list", "-a"], &["list", "--json"], &["history", evil, "--color", "never"]] {
        let shown = on_terminal(&sv, words, true);
        assert!(!shown.contains(['\x1b', '\x07']), "{words:?}: {shown:?}");
    }
    let mut env = command(&sv, &["env", evil]);
    let text = spawn(env.env("SVDIR", sv.path()).stdout(Stdio::piped())).wait_with_output().expect("an end").stdout;
    let has = |line: &[u8]| text.split(|byte| *byte == b'\n').any(|one| one == line);
    assert!(has(b"BYTES=x\xff\xfe"), "{}", String::from_utf8_lossy(&text));
    assert!(
        has(b"EVIL=x\\x1b]0;evil\\x07\\x1b[2J\\x1b[31m") && has(b"LINES=a\\nb"),
        "{}",
        String::from_utf8_lossy(&text)
    );
    assert!(!onit.stderr().contains('\x1b'), "{:?}", onit.stderr());
}

#[test]
fn no_file_of_others_is_waited_for_or_read_for_ever() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").log("exec sleep 1000").dir("log/main").create();
    let bad = sv.service_at(sv.root().join("bad")).fifo("run").symlink("finish", "/dev/zero");
    let bad =
        bad.symlink("check", "/proc/kmsg").fifo("timeout-kill").symlink("env/A", "/dev/zero").fifo("env/B").create();
    let _onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    let current = web.path().join("log/main/current");
    nix::unistd::mkfifo(&current, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo");
    assert!(!well(&sv, &["status", "web"]).contains("current"), "it is no file");
    for target in ["/proc/kmsg", "/proc/version"] {
        fs::remove_file(&current).expect("removed");
        symlink(target, &current).expect("symlink");
        assert!(well(&sv, &["status", "web"]).contains("it is no regular file"), "{target}");
    }
    fs::remove_file(&current).expect("removed");
    let sparse = fs::File::create(&current).and_then(|file| file.set_len(10 << 30).map(|()| file)).expect("a file");
    drop(sparse);
    well(&sv, &["status", "web"]);
    let large = sv.service_at(sv.root().join("large")).file_with_mode("run", "", 0o755).create();
    let file = fs::File::options().write(true).open(large.path().join("run")).expect("opened");
    file.set_len(10 << 30).expect("a hole");
    drop(file);
    for place in [bad.path(), large.path()] {
        let place = place.display().to_string();
        assert_ne!(verb(&sv, &["lint", &place]).code, 0);
        let _whatever = verb(&sv, &["export", "systemd", &place]); // but it ends
    }
}

/// A verb that goes on while something else is done. It is ended with this, if not before.
struct Going(std::process::Child);

impl Going {
    fn new(sv: &SvDir, words: &[&str]) -> Going {
        Going(spawn(command(sv, words).env("SVDIR", sv.path()).stdout(Stdio::null()).stderr(Stdio::null())))
    }

    /// Waits for its end, and returns its code.
    fn code(&mut self) -> Option<i32> {
        wait_for("its end", SOON, || self.0.try_wait().expect("its state")).code()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_waits_for_so_long_waits_for_what_is_not_there_yet() {
    for which in [UnderTest::Onit, UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        sv.service("cron").run("exec sleep 1000").create();
        let mut early = [&["web"][..], &["cron"], &["all"]]
            .map(|names| Going::new(&sv, &[&["wait", "-t", "60", "ready"][..], names].concat()));
        fails(&sv, &["wait", "-t", "0.1", "up", "web"], 4, &["web: no such service in"]);
        assert!(early.iter_mut().all(|one| one.0.try_wait().expect("its state").is_none()), "{which:?}");
        let _supervisor = start(&sv, which);
        assert_eq!((early[1].code(), early[2].code()), (Some(0), Some(0)), "{which:?}");
        assert!(early[0].0.try_wait().expect("its state").is_none(), "{which:?}: there is no web yet");
        sv.service("web").run("exec sleep 1000").create_atomically();
        assert_eq!(early[0].code(), Some(0), "{which:?}");
        let mut late = Going::new(&sv, &["wait", "-t", "60", "up", "api"]);
        sv.service("api").run("exec sleep 1000").create_atomically();
        assert_eq!(late.code(), Some(0), "{which:?}");
    }
}

#[test]
fn inside_a_service_its_own_supervisor_is_meant() {
    let sv = SvDir::new();
    let inner = sv.service_at(sv.root().join("inner/leaf")).create();
    fs::remove_dir(inner.path()).expect("rmdir");
    let onit = onit().display().to_string();
    let ask =
        format!("unset SVDIR; {onit} wait -t 60 up deep; {onit} list >said.new; mv said.new said; exec sleep 1000");
    let leaf = sv.service_at(sv.root().join("inner/leaf")).run(&ask).create();
    let deep = sv.service_at(sv.root().join("inner/deep")).run("exec sleep 1000").create();
    let nested = format!("unset SVDIR; exec {onit} run {}", sv.root().join("inner").display());
    let outer = format!(
        "unset SVDIR ONIT_RUN; {onit} wait -t 60 up nested; {onit} list >said.new; mv said.new said; exec sleep 1000"
    );
    sv.service("nested").run(&nested).create();
    let ask = sv.service("ask").run(&outer).create();
    let mut run = UnderTest::Onit.command(&sv.path());
    run.env_remove("SVDIR");
    let _onit: Supervisor = sv.spawn(run);
    deep.wait_up();
    assert_eq!(leaf.wait_text("said", |text| !text.is_empty()), "deep\nleaf\n");
    assert_eq!(ask.wait_text("said", |text| !text.is_empty()), "ask\nnested\n");
}

#[test]
fn a_strangers_socket_where_anybody_may_make_one_is_not_used() {
    if !is_root() {
        skip!("needs root");
    }
    if let Some(why) = missing_tools(&["setpriv"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let run = svdir::given_to(&sv, 4711);
    let open = tempfile::tempdir_in(sv.root()).expect("a directory");
    fs::set_permissions(open.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).expect("chmod");
    let place = open.path().join("run");
    let mut words = Command::new(&run[0]);
    words.args(&run[1..]).env("ONIT_RUN", &place);
    let onit = sv.spawn(words);
    web.wait_up();
    onit.wait_for("the socket", SOON, || place.join("api").exists().then_some(()));
    let ask = |services: &std::path::Path| {
        let mut command = Command::new(svdir::onit());
        command.args(["list"]).env("ONIT_RUN", &place).env("SVDIR", services);
        svdir::output(command)
    };
    let own = ask(&sv.path());
    assert_eq!((own.code, own.stdout.as_str()), (0, "web\n"), "who owns the services is believed: {own:?}");
    let ours = sv.root().join("ours");
    fs::create_dir(&ours).expect("mkdir");
    let other = ask(&ours);
    assert!(
        other.stderr.contains("it is not used: user 4711 answers there, and anybody may make a socket in"),
        "{other:?}"
    );
    assert!(!other.stdout.contains("web"), "{other:?}");
}

#[test]
fn that_there_is_no_socket_is_told() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let mut run = UnderTest::Onit.command(&sv.path());
    run.env("ONIT_RUN", "/dev/null/nowhere");
    sv.spawn(run).wait_said(&["there is no api socket: ", "/dev/null/nowhere"]);
}
