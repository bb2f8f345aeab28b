//! Notifications: what a service says by sd_notify(3), who may say it, and what follows.

use crate::crash_and_upgrade::wait_idle;
use crate::restarts::{told, wait_state};
use crate::svdir::{
    SOON, Service, ServiceBuilder, Supervisor, SvDir, UnderTest, is_root, missing_tools, send, skip, wait_for,
};
use crate::verbs::{fails, json, start, verb, well};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Says what the lines of the FIFO `orders` say, `|` being a newline. `!alive N`: for N seconds that it is alive.
/// `!orphan TEXT`: a process says it that nobody has started. `!last TEXT`: says it and ends.
const PUPPET: &str = r#"
import os, signal, socket, sys, time
socket_name = os.environ["NOTIFY_SOCKET"]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect("\0" + socket_name[1:])
say = lambda text: manager.send(text.replace("|", "\n").encode())
open("life", "a").write("born\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for first in sys.argv[1:]:
    say(first)
with os.fdopen(os.open("orders", os.O_RDWR)) as orders:
    for line in orders:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "!alive":
            end = time.monotonic() + float(rest)
            while time.monotonic() < end:
                say("WATCHDOG=1")
                time.sleep(0.05)
        elif word == "!orphan":
            if os.fork() == 0:
                parent = os.getpid()
                if os.fork() == 0:
                    while os.getppid() == parent:
                        time.sleep(0.01)
                    say(rest)
                os._exit(0)
            os.wait()
        elif word == "!last":
            say(rest)
            sys.exit(3)
        else:
            say(line.rstrip("\n"))
"#;

fn puppet(sv: &SvDir, name: &str, first: &str) -> ServiceBuilder {
    let run = format!("exec python3 -u puppet {first}");
    sv.service(name).run(&run).file("puppet", PUPPET).fifo("orders").file("readiness", "notify")
}

impl Service {
    fn says(&self, text: &str) {
        let mut orders = std::fs::OpenOptions::new().write(true).open(self.path().join("orders")).expect("its FIFO");
        writeln!(orders, "{text}").expect("said");
    }
}

/// Where its process was told to send to.
fn address(pid: u32) -> SocketAddr {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("its environment");
    let name = environment.split(|byte| *byte == 0).find_map(|word| word.strip_prefix(b"NOTIFY_SOCKET=@"));
    SocketAddr::from_abstract_name(name.expect("an abstract socket")).expect("a name")
}

fn lives(sv: &SvDir, name: &str) -> Vec<Value> {
    json(&well(sv, &["history", "--json", name])).as_array().expect("lives").clone()
}

pub fn wait_told(sv: &SvDir, name: &str, key: &str, wanted: impl Into<Value>) -> Value {
    let wanted = wanted.into();
    wait_for(&format!("{key} {wanted}"), SOON, || Some(told(sv, name)).filter(|told| told[key] == wanted))
}

fn upgrade(sv: &SvDir, onit: &Supervisor) {
    assert_eq!(verb(sv, &["upgrade", &onit.pid().to_string()]).code, 0);
}

#[test]
fn a_service_is_ready_when_it_says_so_and_tells_how_it_is() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = puppet(&sv, "web", "STATUS=loading").create();
    let onit = start(&sv, UnderTest::Onit);
    let starting = wait_told(&sv, "web", "status_text", "loading");
    assert_eq!((&starting["state"], &starting["ready"]), (&"starting".into(), &false.into()));
    web.says("X_OTHER=1|STATUS=\u{1b}[2J");
    assert_eq!(wait_told(&sv, "web", "status_text", "?[2J")["ready"], false);
    web.says("READY=1|STATUS=serving");
    well(&sv, &["wait", "ready", "web"]);
    let up = wait_told(&sv, "web", "status_text", "serving");
    assert_eq!((&up["state"], &up["ready"], &up["reloading"]), (&"up".into(), &true.into(), &false.into()));
    assert!(lives(&sv, "web")[0]["ready"].is_f64());
    web.says("RELOADING=1|MONOTONIC_USEC=1|STATUS=reading");
    assert_eq!(wait_told(&sv, "web", "reloading", true)["state"], "up");
    assert!(well(&sv, &["status", "web"]).contains("says      reloading; reading"));
    web.says("READY=1|STATUS=|ERRNO=2");
    let reloaded = wait_told(&sv, "web", "reloading", false);
    assert_eq!((&reloaded["status_text"], &reloaded["errno"]), (&Value::Null, &2.into()));
    assert!(well(&sv, &["status", "web"]).contains("says      No such file or directory"));
    web.says("STOPPING=1");
    wait_told(&sv, "web", "state", "stopping");
    assert_eq!(onit.stderr(), "");
    // The next one begins anew.
    web.says("!last STATUS=gone");
    let again = wait_for("another life", SOON, || Some(told(&sv, "web")).filter(|it| it["pid"] != up["pid"]));
    assert_ne!(again["state"], "stopping");
    wait_told(&sv, "web", "status_text", "loading");
}

/// Stores a socket and the ends of two pipes, removes one of them, and writes to the socket that the life before has
/// stored.
const KEEPER: &str = r#"
import os, signal, socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect("\0" + os.environ["NOTIFY_SOCKET"][1:])
keep = lambda text, *kept: socket.send_fds(manager, [text.encode()], [one.fileno() for one in kept])
names = os.environ.get("LISTEN_FDNAMES", "").split(":") if os.environ.get("LISTEN_PID") == str(os.getpid()) else []
assert len(names) == int(os.environ.get("LISTEN_FDS", "0"))
print(os.environ["FDSTORE"], *names, file=open("told", "a"))
if names:
    kept = socket.socket(fileno=3 + names.index("web"))
    kept.send(b"kept")
else:
    one, other = socket.socketpair()
    keep("FDSTORE=1\nFDNAME=web", one)
    keep("FDSTORE=1\nFDNAME=again", one)
    keep("FDSTORE=1", other)
    keep("FDSTORE=1\nFDNAME=old", *[open("/dev/null") for _ in range(3)])
    keep("FDSTOREREMOVE=1\nFDNAME=old")
manager.send(b"READY=1")
signal.pause()
"#;

#[test]
fn descriptors_are_kept_from_one_life_to_the_next_and_no_longer() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec python3 -u keeper").file("keeper", KEEPER).file("readiness", "notify");
    let web = web.file("backoff", "10ms 10ms 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    let mut pid = web.wait_up();
    for count in 2..4 {
        well(&sv, &["wait", "ready", "web"]);
        send(pid, Signal::SIGKILL);
        pid = web.wait_other(pid);
        web.wait_text("told", |text| text.lines().count() == count);
    }
    well(&sv, &["restart", "web"]);
    web.wait_text("told", |text| text.lines().count() == 4);
    assert_eq!(web.text("told"), "128\n128 web stored\n128 web stored\n128 web stored\n");
    // What is stopped has nothing kept for it.
    well(&sv, &["down", "web"]);
    well(&sv, &["up", "web"]);
    assert!(web.wait_text("told", |text| text.lines().count() == 5).ends_with("stored\n128\n"));
    for count in [6, 7] {
        well(&sv, &["wait", "ready", "web"]);
        if count == 6 {
            upgrade(&sv, &onit);
        } else {
            onit.signal(Signal::SIGSEGV);
            onit.wait_said(&["SIGSEGV: starting again"]);
        }
        well(&sv, &["restart", "web"]);
        assert!(web.wait_text("told", |text| text.lines().count() == count).ends_with("128 web stored\n"), "{count}");
    }
    assert_eq!(onit.said(&["notification"]), Vec::<String>::new());
}

#[test]
fn so_many_descriptors_are_kept_and_no_more() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let hoards = "manager.send(b'STATUS=begun')\nwhile True: keep('FDSTORE=1', *[socket.socket() for _ in range(50)])";
    let keeper = format!("{}{hoards}", KEEPER.split("names =").next().expect("its beginning"));
    sv.service("web").run("exec python3 -u keeper").file("keeper", &keeper).file("readiness", "notify").create();
    let onit = start(&sv, UnderTest::Onit);
    onit.wait_said(&["onit: web: a notification says FDSTORE=1 where no more can be kept (128 for each service)"]);
    // While they are noted anew, there are copies of them.
    wait_for("no more than those that are kept", SOON, || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", onit.pid())).expect("its descriptors").count();
        (128..250).contains(&open).then_some(())
    });
    well(&sv, &["down", "web"]);
    wait_for("no descriptor to be kept", SOON, || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", onit.pid())).expect("its descriptors").count();
        (open < 100).then_some(())
    });
}

/// As a daemon does that executes a new version of itself, or goes into the background.
#[test]
fn a_process_that_was_named_goes_on_in_the_place_of_run() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    for is_upgrade in [false, true] {
        let sv = SvDir::new();
        let forks = PUPPET.replace(
            "for first in",
            "if os.fork():\n    open('parent', 'w').write('waits\\n')\n    while not os.path.exists('go'): time.sleep(0.02)\n    \
             os._exit(7)\nsay(f'MAINPID={os.getpid()}')\nfor first in",
        );
        let web = puppet(&sv, "web", "'READY=1|STATUS=first'").file("puppet", &forks).create();
        let onit = start(&sv, UnderTest::Onit);
        well(&sv, &["wait", "ready", "web"]);
        let pid = web.wait_up();
        if is_upgrade {
            upgrade(&sv, &onit);
        }
        web.write("go", "");
        let other = web.wait_other(pid);
        let up = told(&sv, "web");
        assert_eq!((&up["state"], &up["restarts"], &up["exit"]), (&"up".into(), &0.into(), &Value::Null), "{up}");
        web.says("STATUS=second");
        wait_told(&sv, "web", "status_text", "second");
        assert_eq!(onit.stderr(), "");
        std::fs::remove_file(web.path().join("go")).expect("removed");
        send(other, Signal::SIGKILL);
        let pid = web.wait_other(other);
        onit.wait_said(&["onit: web: was killed by SIGKILL"]);
        well(&sv, &["wait", "ready", "web"]);
        web.write("go", "");
        web.wait_other(pid); // else one of the two would be left behind
        well(&sv, &["down", "web"]);
    }
}

/// It sends from a process that ends at once, and waits until what it has sent has been dealt with.
#[test]
fn systemd_notify_is_understood() {
    if let Some(why) = missing_tools(&["systemd-notify"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let run = "systemd-notify --status=warming; echo said >warm; while [ ! -e go ]; do sleep 0.02; done; \
               systemd-notify --ready --pid --status=serving; echo said >ready; exec sleep 1000";
    let web = sv.service("web").run(run).file("readiness", "notify").create();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_text("warm", |text| text == "said\n");
    let starting = told(&sv, "web");
    assert_eq!((&starting["state"], &starting["status_text"]), (&"starting".into(), &"warming".into()));
    web.write("go", "");
    well(&sv, &["wait", "ready", "web"]);
    assert_eq!(told(&sv, "web")["status_text"], "serving");
    web.wait_text("ready", |text| text == "said\n");
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_service_of_another_user_reaches_its_supervisor() {
    if let Some(why) = missing_tools(&["systemd-notify", "setpriv"]) {
        skip!("{why}");
    }
    if !is_root() {
        skip!("only root may become another user");
    }
    let sv = SvDir::new();
    let run = "exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'systemd-notify --ready; exec sleep 1000'";
    sv.service("web").run(run).file("readiness", "notify").create();
    let onit = start(&sv, UnderTest::Onit);
    well(&sv, &["wait", "ready", "web"]);
    assert_eq!(onit.stderr(), "");
}

/// Root too: whoever runs these tests.
#[test]
fn a_stranger_says_nothing_and_his_flood_holds_nothing_up() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = puppet(&sv, "web", "STATUS=here").create();
    let other = sv.service("other").run("exec sleep 1000").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_told(&sv, "web", "status_text", "here");
    let address = address(web.wait_up());
    let stranger = UnixDatagram::unbound().expect("a socket");
    stranger.connect_addr(&address).expect("connected");
    stranger.send(b"READY=1\nSTATUS=hacked\nWATCHDOG=trigger").expect("sent");
    onit.wait_said(&["onit: web: a notification from process ", ", which is not of this service; passed over"]);
    let (is_over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let is_sent = stranger.send(b"READY=1\nSTATUS=hacked").is_ok();
                sent.fetch_add(usize::from(is_sent), Ordering::Relaxed);
            }
        });
        // `other` is supervised all the same, orders are obeyed, and the service itself is heard.
        let mut pid = other.wait_up();
        for _ in 0..3 {
            send(pid, Signal::SIGKILL);
            pid = other.wait_other(pid);
            well(&sv, &["restart", "other"]);
            pid = other.wait_other(pid);
        }
        assert_eq!(told(&sv, "web")["state"], "starting");
        web.says("READY=1|STATUS=mine");
        well(&sv, &["wait", "ready", "web"]);
        wait_for("what can be called a flood", SOON, || (sent.load(Ordering::Relaxed) > 1000).then_some(()));
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(told(&sv, "web")["status_text"], "mine");
    assert_eq!(onit.said(&["a notification"]).len(), 1, "{}", onit.stderr());
    well(&sv, &["down", "web"]);
    assert!(stranger.send(b"READY=1").is_err(), "nothing listens where nothing runs");
    wait_idle(&onit);
}

#[test]
fn a_service_that_says_no_more_that_it_is_alive_is_stopped_and_started_again() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = puppet(&sv, "web", "READY=1").file("backoff", "10ms 10ms 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    well(&sv, &["wait", "ready", "web"]);
    let pid = web.wait_up();
    web.says("WATCHDOG_USEC=3000000");
    web.says("!alive 4");
    web.says("STATUS=alive");
    wait_told(&sv, "web", "status_text", "alive");
    assert_eq!((web.wait_up(), onit.stderr()), (pid, String::new()), "longer than it may be silent");
    web.says("WATCHDOG_USEC=200000");
    onit.wait_said(&["onit: web: watchdog: nothing heard for 200ms; stopping it"]);
    let pid = web.wait_other(pid);
    let life = lives(&sv, "web")[0].clone();
    assert_eq!((&life["exit"]["signal"], &life["asked"]), (&6.into(), &false.into()), "{life}");
    well(&sv, &["wait", "ready", "web"]);
    web.says("WATCHDOG=trigger");
    onit.wait_said(&["onit: web: watchdog: it says WATCHDOG=trigger; stopping it"]);
    web.wait_other(pid);
}

/// The next supervisor knows what was said to the last one, and hears what is said to it.
#[test]
fn a_supervisor_that_goes_on_knows_what_was_said() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    for is_upgrade in [false, true] {
        let sv = SvDir::new();
        let starting = puppet(&sv, "starting", "STATUS=here").create();
        let watched = puppet(&sv, "watched", "READY=1").create();
        let reloading = puppet(&sv, "reloading", "READY=1").create();
        let onit = start(&sv, UnderTest::Onit);
        well(&sv, &["wait", "ready", "watched", "reloading"]);
        wait_told(&sv, "starting", "status_text", "here");
        let pids = [&starting, &watched, &reloading].map(Service::wait_up);
        reloading.says("RELOADING=1");
        wait_told(&sv, "reloading", "reloading", true);
        watched.says("WATCHDOG_USEC=4500000|STATUS=watched");
        wait_told(&sv, "watched", "status_text", "watched");
        if is_upgrade {
            upgrade(&sv, &onit);
        } else {
            onit.signal(Signal::SIGSEGV);
            onit.wait_said(&["SIGSEGV: starting again"]);
        }
        assert_eq!(told(&sv, "starting")["status_text"], "here");
        let still = told(&sv, "reloading");
        assert_eq!((&still["state"], &still["reloading"]), (&"up".into(), &true.into()), "{still}");
        reloading.says("READY=1");
        wait_told(&sv, "reloading", "reloading", false);
        assert_eq!(told(&sv, "starting")["state"], "starting");
        starting.says("READY=1|STATUS=again");
        assert_eq!(wait_told(&sv, "starting", "status_text", "again")["state"], "up");
        onit.wait_said(&["onit: watched: watchdog: nothing heard for 4500ms; stopping it"]);
        watched.wait_other(pids[1]);
        assert_eq!([starting.wait_up(), reloading.wait_up()], [pids[0], pids[2]]);
    }
}

/// Something happens while the supervisor looks away: until a child of it has ended.
fn unseen(onit: &Supervisor, act: impl FnOnce()) {
    onit.signal(Signal::SIGSTOP);
    act();
    let children = format!("/proc/{0}/task/{0}/children", onit.pid());
    let has_ended =
        |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    wait_for("a child that has ended", SOON, || {
        let children = std::fs::read_to_string(&children).expect("its children");
        children.split_whitespace().any(has_ended).then_some(())
    });
    onit.signal(Signal::SIGCONT);
}

/// What it has sent is read before it is taken for dead.
#[test]
fn the_last_words_of_a_service_are_heard() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = puppet(&sv, "web", "").file("start-retries", "0").file("backoff", "10ms 10ms 1h").create();
    let onit = start(&sv, UnderTest::Onit);
    for life in 1..=3 {
        web.wait_text("life", |text| text.lines().count() == life);
        unseen(&onit, || web.says("!last READY=1"));
    }
    web.wait_text("life", |text| text.lines().count() == 4);
    assert!(lives(&sv, "web").iter().take(3).all(|life| life["ready"].is_f64()), "{}", onit.stderr());
}

#[test]
fn an_orphan_of_the_service_is_heard_although_it_has_ended() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = puppet(&sv, "web", "").create();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    unseen(&onit, || web.says("!orphan READY=1"));
    well(&sv, &["wait", "ready", "web"]);
    assert_eq!(onit.stderr(), "");
}

#[test]
fn what_makes_no_sense_is_told_once_and_harms_nothing() {
    if let Some(why) = missing_tools(&["python3"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = puppet(&sv, "web", "").create();
    let onit = start(&sv, UnderTest::Onit);
    for nonsense in ["ERRNO=many|STATUS=1", "BARRIER=1|READY=1", "MAINPID=1|STATUS=2"] {
        web.says(nonsense);
    }
    assert_eq!(wait_told(&sv, "web", "status_text", "2")["state"], "starting");
    assert_eq!(onit.said(&[]), ["onit: web: a notification says ERRNO=many, which is no value for it; passed over"]);
}

#[test]
fn who_needs_longer_to_start_says_so() {
    if let Some(why) = missing_tools(&["systemd-notify"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let run = "systemd-notify EXTEND_TIMEOUT_USEC=100000000 STATUS=long; while [ ! -e go ]; do sleep 0.02; done; \
               systemd-notify --ready; exec sleep 1000";
    let web = sv.service("web").run(run).file("readiness", "notify").file("timeout-up", "2s").create();
    let _onit = start(&sv, UnderTest::Onit);
    wait_for("more than its time", SOON, || {
        let told = told(&sv, "web");
        (told["state"] == "starting" && told["seconds"].as_f64() > Some(2.2)).then_some(())
    });
    web.write("go", "");
    well(&sv, &["wait", "ready", "web"]);
}

/// And it is what the supervisor says, whatever `env/` does.
#[test]
fn only_run_is_told_where_to_send_and_only_if_it_is_to() {
    let sv = SvDir::new();
    let tells = "#!/bin/sh\necho ${NOTIFY_SOCKET-none} >>told\n";
    let web = sv.service("web").run("echo ${NOTIFY_SOCKET-none} >>told; exec sleep 1000").file("readiness", "notify");
    let web = web.exec("setup", tells).exec("finish", tells).create();
    let of_env = sv.service("env").run("echo ${NOTIFY_SOCKET-none} >>told; exec sleep 1000");
    let of_env = of_env.file("readiness", "notify").file("env/NOTIFY_SOCKET", "/mine").create();
    let other = sv.service("other").run("echo ${NOTIFY_SOCKET-none} >>told; exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::Onit);
    for service in [&web, &of_env, &other] {
        service.wait_text("told", |text| text.ends_with('\n'));
    }
    web.wait_text("told", |text| text.lines().count() == 2);
    well(&sv, &["down", "web"]);
    let of_web = web.text("told");
    let lines: Vec<_> = of_web.lines().collect();
    assert!(matches!(lines[..], ["none", address, "none"] if address.starts_with("@onit/")), "{of_web}");
    assert!(of_env.text("told").starts_with("@onit/") && of_env.text("told").trim() != lines[1]);
    assert_eq!(other.text("told"), "none\n");
}

#[test]
fn somebody_else_may_say_that_it_is_ready() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").file("notification-fd", "3").create();
    sv.service("late").run("exec sleep 1000").file("readiness", "after 1h").create();
    sv.service("rests").run("exec sleep 1000").down().create();
    let onit = start(&sv, UnderTest::Onit);
    for name in ["web", "late"] {
        wait_state(&sv, name, "starting");
        well(&sv, &["ready", name]);
        assert_eq!(wait_told(&sv, name, "state", "up")["ready"], true);
        well(&sv, &["ready", name]);
    }
    assert!(lives(&sv, "web")[0]["ready"].is_f64());
    fails(&sv, &["ready", "rests"], 1, &["onit: rests: it does not run, so it cannot be ready"]);
    fails(&sv, &["ready"], 100, &["onit: ready: which service?"]);
    assert_eq!(onit.stderr(), "");
}

#[test]
fn without_the_socket_nobody_else_can_say_it() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let _onit = start(&sv, UnderTest::OnitAs("runsvdir"));
    let why = "onit: web: there are no files by which it could be told that it is ready; the supervisor itself can";
    fails(&sv, &["ready", "web"], 111, &[why]);
}
