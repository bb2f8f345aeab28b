//! What our tools do otherwise than the stock ones: each case with its reason, and the proof that it is so. All else is the
//! same to the byte, see [`scenario`](crate::scenario).

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::proc;
use crate::scenario::{Tools, play};
use crate::svdir::{
    SOON, SvDir, UnderTest, find_in_path, is_root, missing_tools, onit, poll_until, skip, wait_for, wrapped,
};

/// A difference on purpose.
struct Difference {
    why: &'static str,
    /// What leads to it, as in a scenario.
    scene: &'static [&'static str],
    /// The command that shows it.
    command: &'static str,
    /// What is said, and the exit code: by the stock tools, and by ours.
    stock: &'static [&'static str],
    ours: &'static [&'static str],
}

/// A service that has been running since another second.
const WEB: &str = "service web\n  run exec sleep 1000\nwait web: old run";
/// A supervisor that does not answer. Its process runs since 2106, so no second is later than that.
const FAKE: &str = "$ mkdir -p ../fake/supervise; cd ../fake/supervise; mkfifo ok control; exec 3<>ok 4<>control; \
    printf '\\100\\0\\0\\0\\377\\377\\377\\377\\0\\0\\0\\0\\322\\004\\0\\0\\0u\\0\\1' >status; sleep 1000 >/dev/null 2>&1 &";
/// The same with another record.
const FAKE_DOWN: &str =
    "$ printf '\\100\\0\\0\\0\\377\\377\\377\\377\\0\\0\\0\\0\\0\\0\\0\\0\\0d\\0\\0' >../fake/supervise/status";
const FAKE_ENCORE: &str =
    "$ printf '\\100\\0\\0\\0\\377\\377\\377\\377\\0\\0\\0\\0\\322\\004\\0\\0\\0u\\3\\0' >../fake/supervise/status";

/// A service that its init script has stopped, with a logger that goes on.
const STOPPED: &str = "service pair\n  run exec sleep 1000\n  log/run exec cat\nwait pair: run\nwait pair/log: run\n\
    $ ln -s \"$(command -v sv)\" ../pair; ../pair stop";

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "as in runit 2.3, the exit code of an init script is that of the service, whose logger runs on",
        scene: &[STOPPED],
        command: "../pair status",
        stock: &["down: pair: Xs, normally up; run: log: (pid P) Xs", "[0]"],
        ours: &["down: pair: Xs, normally up; run: log: (pid P) Xs", "[3]"],
    },
    Difference {
        why: "the same the other way round",
        scene: &[STOPPED, "$ ../pair start; sv down pair/log\nwait pair/log: down"],
        command: "../pair status",
        stock: &["run: pair: (pid P) Xs; down: log: Xs, normally up", "[3]"],
        ours: &["run: pair: (pid P) Xs; down: log: Xs, normally up", "[0]"],
    },
    Difference {
        why: "what has started in the same second as sv may be the old process: another stamp is the proof of a restart",
        scene: &[FAKE],
        command: "sv -w0 restart ../fake",
        stock: &["ok: run: ../fake: (pid P) Xs", "[0]"],
        ours: &["timeout: run: ../fake: (pid P) Xs", "[1]"],
    },
    Difference {
        why: "the same for a kill",
        scene: &[FAKE],
        command: "sv -w0 -v kill ../fake",
        stock: &["ok: run: ../fake: (pid P) Xs", "[0]"],
        ours: &["timeout: run: ../fake: (pid P) Xs", "[1]"],
    },
    Difference {
        why: "the same for a service that went down in this second, before it was to run once",
        scene: &[FAKE, FAKE_DOWN],
        command: "sv -w0 -v once ../fake",
        stock: &["ok: down: ../fake: Xs, normally up", "[0]"],
        ours: &["timeout: down: ../fake: Xs, normally up", "[1]"],
    },
    Difference {
        why: "a path with a slash at its end is one, also while it is waited for",
        scene: &[WEB],
        command: "mkdir ../there; mv web ../there; cd ../there; sv -v up web/",
        stock: &["fail: web/: unable to change to service directory: file does not exist", "[1]"],
        ours: &["ok: run: web/: (pid P) Xs", "[0]"],
    },
    Difference {
        why: "a logger without a supervisor has no status: what the stock sv prints is the service's own",
        scene: &[WEB, "$ mkdir web/log"],
        command: "sv status web",
        stock: &[
            "run: web: (pid P) Xs; warning: web/log: unable to open supervise/ok: file does not exist",
            "run: log: (pid P) Xs",
            "[1]",
        ],
        ours: &["run: web: (pid P) Xs; warning: web/log: unable to open supervise/ok: file does not exist", "[1]"],
    },
    Difference {
        why: "a check that hangs does not hang sv: -w is a limit for it too",
        scene: &[WEB, "$ printf '#!/bin/sh\\nexec sleep 1000\\n' >web/check; chmod 755 web/check"],
        command: "timeout 20 sv -w0 check web",
        stock: &["[124]"],
        ours: &["timeout: run: web: (pid P) Xs", "[1]"],
    },
    Difference {
        why: "a check is asked once a look, not once for each letter of an order",
        scene: &[WEB, "$ printf '#!/bin/sh\\necho asked >>asked\\n' >web/check; chmod 755 web/check"],
        command: "sv restart web; wc -l <web/asked",
        stock: &["ok: run: web: (pid P) Xs", "2", "[0]"],
        ours: &["ok: run: web: (pid P) Xs", "1", "[0]"],
    },
    Difference {
        why: "a record that no runit writes is one of a bad format, not something to be made sense of",
        scene: &[FAKE, FAKE_ENCORE],
        command: "sv status ../fake",
        stock: &["down: ../fake: Xs, got TERM", "[0]"],
        ours: &["warning: ../fake: unable to read supervise/status: bad format", "[1]"],
    },
    Difference {
        why: "svstat overlooks that it could not read, and prints what it has not read",
        scene: &[FAKE, "$ rm ../fake/supervise/status; mkdir ../fake/supervise/status"],
        command: "svstat ../fake",
        stock: &["../fake: down X seconds, normally up", "[0]"],
        ours: &["../fake: unable to read supervise/status: is a directory", "[0]"],
    },
    Difference {
        why: "who asks for the version gets ours",
        scene: &[],
        command: "sv -V 2>&1 | head -n 1 | cut -c 1-4",
        stock: &["$Id:", "[0]"],
        ours: &["onit", "[0]"],
    },
];

#[test]
fn what_is_different_is_so_for_a_reason() {
    if let Some(why) = missing_tools(&["runsvdir", "runsv", "sv", "svstat"]) {
        skip!("{why}");
    }
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        let cases = DIFFERENCES.iter().flat_map(|case| [(case, Tools::Stock), (case, Tools::Ours)]);
        let all: Vec<_> =
            cases.map(|(case, tools)| (case, tools, scope.spawn(move || last_words(case, tools)))).collect();
        for (case, tools, thread) in all {
            let said = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let expected = if tools == Tools::Stock { case.stock } else { case.ours };
            if said != expected {
                wrong.push(format!("{}\n$ {}\n{tools:?} tools: {said:#?}, not {expected:#?}", case.why, case.command));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What is written down after the last command of a case.
fn last_words(case: &Difference, tools: Tools) -> Vec<String> {
    let command = format!("$ {}", case.command);
    let script = [case.scene.join("\n"), command.clone()].join("\n");
    let transcript = play(&script, UnderTest::Runsvdir, tools);
    let (_, said) = transcript.rsplit_once(&command).expect("the command");
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Whether this sv goes to sleep once, or again and again, while what it waits for does not come.
fn wakes_up_while_it_waits(program: &str) -> bool {
    let sv = SvDir::new();
    let deaf = sv.service("deaf").run("trap '' TERM; echo >ready; while :; do sleep 1000; done").create();
    let _onit = sv.start(UnderTest::Onit);
    wait_for("the service to be deaf", SOON, || deaf.path().join("ready").exists().then_some(()));
    deaf.wait_up(); // it may be ready before sv can reach its supervisor
    let mut command = Command::new(program);
    command.args(["-w", "600", "stop"]).arg(deaf.path());
    let waiting = sv.spawn_between(command, [Stdio::null(), Stdio::null(), Stdio::null()]);
    deaf.wait_for("the order", |status| status.got_term());
    // One that looks again and again does so within any two seconds; one that does not comes to rest before long.
    poll_until(Duration::from_secs(10), || {
        let before = proc::naps(waiting.pid());
        std::thread::sleep(Duration::from_secs(2));
        (proc::naps(waiting.pid()) == before).then_some(())
    })
    .is_none()
}

#[test]
fn nothing_is_asked_again_and_again() {
    let stock = find_in_path("sv");
    let place = SvDir::new();
    symlink(onit(), place.root().join("sv")).expect("symlink");
    let ours = place.root().join("sv");
    assert!(!wakes_up_while_it_waits(ours.to_str().expect("a printable path")));
    let Some(stock) = stock else { skip!("not installed: sv") };
    assert!(
        wakes_up_while_it_waits(stock.to_str().expect("a printable path")),
        "the test sees who looks again and again"
    );
}

#[test]
fn few_descriptors_are_enough_for_many_services() {
    if let Some(why) = missing_tools(&["prlimit"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let services: Vec<_> = (0..40).map(|n| sv.service(&format!("s{n}")).run("exec sleep 1000").create()).collect();
    let _onit = sv.start(UnderTest::Onit);
    let before: Vec<_> = services.iter().map(|service| service.wait_up()).collect();
    let mut command = Command::new("prlimit");
    command.arg("--nofile=24:24").arg(onit()).args(["sv", "-w600", "restart"]);
    let said = sv.run({
        command.args(services.iter().map(|service| service.name()));
        command
    });
    assert_eq!((said.code, said.stdout.lines().count()), (0, 40), "{said:?}");
    for (service, pid) in services.iter().zip(before) {
        assert_ne!(service.wait_up(), pid);
    }
}

#[test]
fn a_link_is_an_init_script_only_where_it_must_be_one() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let _onit = sv.start(UnderTest::Onit);
    web.wait_up();
    let bin = sv.root().join("bin");
    std::fs::create_dir(&bin).expect("mkdir");
    symlink(onit(), bin.join("sv")).expect("symlink");
    for name in ["web", "ctl", "onit-web"] {
        symlink(onit(), bin.join(name)).expect("symlink");
    }
    std::fs::create_dir(bin.join("init.d")).expect("mkdir");
    symlink("../sv", bin.join("init.d/ctl")).expect("symlink");
    std::fs::create_dir(sv.path().join("onit-web")).expect("mkdir");
    let call = |words: &str| {
        let mut words = words.split(' ');
        let mut command = Command::new(bin.join(words.next().expect("a name")));
        command.args(words).current_dir(sv.path());
        sv.run(command)
    };
    // The name of a service, and one word of sv.
    assert!(call("web status").stdout.starts_with("run: web: (pid "));
    assert_eq!(call("web -w 5 stop").code, 0);
    assert_eq!(call("web status").code, 3);
    // Through a link called sv, whatever is said.
    assert_eq!(call("init.d/ctl bogus").code, 2);
    assert!(call("init.d/ctl status").stdout.starts_with("fail: ctl: "));
    // All else is onit, by another name.
    for (words, code, stdout, stderr) in [
        ("web bogus", 100, "", "onit: there is no verb bogus"),
        ("web u", 100, "", "onit: up: which service?"),
        ("web status web", 0, "web: down", ""),
        ("ctl status", 0, "NAME ", ""),
        ("onit-web status", 0, "NAME ", ""),
    ] {
        let said = call(words);
        let fits = said.code == code && said.stdout.starts_with(stdout) && said.stderr.starts_with(stderr);
        assert!(fits, "{words}: {said:?}");
    }
    assert_eq!(call("web --version").stdout, call("onit-web --version").stdout);
    assert_eq!(call("web -- true").code, 0);
    assert_eq!(call("web sv status web").code, 0);
}

#[test]
fn pid_1_is_no_init_script() {
    if let Some(why) = missing_tools(&["unshare"]).or_else(|| (!is_root()).then(|| "needs root for namespaces".into()))
    {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let _onit = sv.start(UnderTest::Onit);
    web.wait_up();
    symlink(onit(), sv.root().join("web")).expect("symlink");
    let mut command = Command::new(sv.root().join("web"));
    command.arg("status");
    let said = sv.run(wrapped(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], &command));
    assert!(said.code == 0 && said.stdout.starts_with("NAME "), "onit's own verb: {said:?}");
    assert!(sv.run(command).stdout.starts_with("run: web: (pid "), "for all others the same words are a question");
}
