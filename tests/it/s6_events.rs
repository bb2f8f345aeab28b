//! `event/` and the status for s6's tools beyond what a transcript shows: each listener hears each event, and none can
//! disturb anyone; the universal record is read right by the tools of three projects at the same moment.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;

use crate::s6::Listener;
use crate::svdir::{
    SOON, Service, Supervisor, SvDir, UnderTest, as_many, given_to, is_root, missing_tools, poll_until, skip, wait_for,
};

/// What the record of 35 bytes says: the process, and the flags.
fn record(service: &Service) -> Option<(u64, u8)> {
    let raw = fs::read(service.path().join("supervise/status")).ok().filter(|raw| raw.len() >= 35)?;
    Some((u64::from_be_bytes(raw[24..32].try_into().ok()?), raw[34]))
}

const FINISHING: u8 = 2;

/// The process of a service that is up.
fn up(service: &Service) -> Option<u64> {
    record(service).filter(|&(pid, flags)| pid != 0 && flags & FINISHING == 0).map(|(pid, _)| pid)
}

/// Waits until another process than this is up.
#[track_caller]
fn another(service: &Service, pid: u64) -> u64 {
    let what = format!("another process of {}", service.name());
    wait_for(&what, SOON, || up(service).filter(|&other| other != pid))
}

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

/// Neither ended nor had to go on after a fault.
#[track_caller]
fn is_well(onit: &Supervisor) {
    assert_eq!(onit.ended(), None, "{}", onit.stderr());
    assert!(onit.said(&["fault"]).is_empty(), "{}", onit.stderr());
}

// ---------------------------------------------------------------------------------------------------------------------
// Listeners
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn who_hears_a_letter_can_read_what_it_means() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let _onit = sv.start_with(&["--s6"]);
    let mut pid = another(&web, 0);
    let mut listener = Listener::at(&web, "single");
    for _ in 0..as_many(100) {
        web.order(b"ku"); // up at once: the pause of a second ends with the order
        let begun = Instant::now();
        let mut seen = 0;
        loop {
            let heard = listener.heard().to_owned();
            if heard.len() > seen {
                let now = up(&web);
                let is_so = if heard.ends_with('u') { now.is_some_and(|now| now != pid) } else { now != Some(pid) };
                assert!(is_so, "after {heard}: {now:?}, before {pid}");
                seen = heard.len();
            }
            if heard.ends_with('u') {
                break;
            }
            if heard.ends_with('D') {
                web.order(b"u");
            }
            assert!(begun.elapsed() < SOON, "only {heard}");
        }
        assert_eq!(listener.letters(3), "dDu");
        pid = another(&web, pid);
    }
}

/// `s6-svc -wr` waits for the end, and forgets what it has read together with that.
#[test]
fn a_start_that_follows_an_end_at_once_is_told_later() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo >&3; exec 3>&-; exec sleep 1000").file("notification-fd", "3\n");
    let web = web.create_atomically();
    let _onit = sv.start_with(&["--s6"]);
    let first = another(&web, 0);
    let begun = Instant::now();
    wait_for("no pause to be left", SOON, || (begun.elapsed() > Duration::from_millis(1500)).then_some(()));
    let mut listener = Listener::at(&web, "single");
    let ordered = Instant::now();
    web.order(b"r");
    assert_eq!(listener.letters(2), "dD");
    assert_eq!(listener.letters(2), "uU");
    assert!(ordered.elapsed() >= Duration::from_millis(50), "{:?}", ordered.elapsed());
    another(&web, first);
    // Who is gone is told so at once.
    web.order(b"xd");
    assert_eq!(listener.letters(3), "dDx");
}

#[test]
fn a_thousand_listeners_come_and_go_while_services_restart() {
    const MANY: usize = 1000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
    if hard < 4000 {
        skip!("no more than {hard} descriptors");
    }
    if soft < 4000 {
        setrlimit(Resource::RLIMIT_NOFILE, 4000, hard).expect("setrlimit");
    }
    let sv = SvDir::new();
    let services = [sleeper(&sv, "one"), sleeper(&sv, "two")];
    let onit = sv.start_with(&["--s6"]);
    let mut pids = services.each_ref().map(|service| another(service, 0));
    let mut live: Vec<Listener> = (0..20).map(|n| Listener::at(&services[n % 2], &format!("live{n:02}"))).collect();
    let (is_over, is_full) = (AtomicBool::new(false), AtomicBool::new(false));
    let restarts = as_many(30);
    let slowest = thread::scope(|scope| {
        let crowd = scope.spawn(|| come_and_go(&services, MANY, &is_full, &is_over));
        let slowest = (0..restarts).map(|_| {
            wait_for("the crowd", SOON, || is_full.load(Ordering::Relaxed).then_some(()));
            let begun = Instant::now();
            for (service, pid) in services.iter().zip(&mut pids) {
                service.order(b"k");
                wait_for("the death", SOON, || (up(service) != Some(*pid)).then_some(()));
                service.order(b"u");
                *pid = another(service, *pid);
            }
            begun.elapsed()
        });
        let slowest = slowest.max();
        is_over.store(true, Ordering::Relaxed);
        assert!(crowd.join().expect("no panic") > MANY, "they came and went");
        slowest
    });
    println!("two restarts with {MANY} listeners: {slowest:?} at most");
    let all = "dDu".repeat(restarts);
    for listener in &mut live {
        assert_eq!(listener.letters(all.len()), all);
        assert_eq!(listener.heard(), "");
    }
    // Nobody is left but those who live, after each has been told once more.
    for (service, pid) in services.iter().zip(pids) {
        service.order(b"k");
        another(service, pid);
        wait_for("the dead to be gone", SOON, || (listeners(service).len() == 10).then_some(()));
    }
    live.into_iter().for_each(Listener::die);
    for service in &services {
        service.order(b"k");
        wait_for("all to be gone", SOON, || listeners(service).is_empty().then_some(()));
    }
    is_well(&onit);
}

fn listeners(service: &Service) -> BTreeSet<String> {
    listeners_in(service.path())
}

fn listeners_in(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.join("event")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// So many at a time, of which one after another goes, with its FIFO or without, and another one comes. How many there were.
fn come_and_go(services: &[Service; 2], many: usize, is_full: &AtomicBool, is_over: &AtomicBool) -> usize {
    let mut crowd = std::collections::VecDeque::new();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            crowd.into_iter().for_each(Listener::die);
            return number;
        }
        crowd.push_back(Listener::at(&services[number % 2], &format!("{number:06}")));
        if crowd.len() > many {
            is_full.store(true, Ordering::Relaxed);
            let first = crowd.pop_front().expect("many");
            if number % 3 == 0 { first.die() } else { drop(first) }
        }
    }
    unreachable!("a thousand million listeners");
}

// ---------------------------------------------------------------------------------------------------------------------
// A hostile directory
// ---------------------------------------------------------------------------------------------------------------------

/// The name that a listener might have.
fn name(number: usize) -> String {
    format!("ftrig1:@4000000000000000{number:08x}:bad{:03}", number % 1000)
}

/// What is in `event/` of a service, or is that, disturbs neither this service nor others, nor a listener beside it.
#[track_caller]
fn is_borne(sv: &SvDir, onit: &Supervisor, bad: &Service, mut listener: Option<Listener>) {
    let good = sv.existing("good");
    for _ in 0..3 {
        for service in [bad, &good] {
            let pid = another(service, 0);
            service.order(b"k");
            wait_for("the death", SOON, || (up(service) != Some(pid)).then_some(()));
            service.order(b"u");
            another(service, pid);
        }
        if let Some(listener) = &mut listener {
            assert_eq!(listener.letters(3), "dDu");
        }
    }
    is_well(onit);
}

#[test]
fn what_is_no_fifo_is_left_alone() {
    let sv = SvDir::new();
    let (bad, _good) = (sleeper(&sv, "bad"), sleeper(&sv, "good"));
    let onit = sv.start_with(&["--s6"]);
    another(&bad, 0);
    let event = bad.path().join("event");
    let secret = sv.root().join("secret");
    fs::write(&secret, "secret").expect("write");
    fs::write(event.join(name(1)), "file").expect("write");
    fs::create_dir(event.join(name(2))).expect("mkdir");
    symlink(&secret, event.join(name(3))).expect("symlink");
    symlink(sv.root().join("missing"), event.join(name(4))).expect("symlink");
    symlink(name(5), event.join(name(5))).expect("symlink");
    symlink("/dev/full", event.join(name(6))).expect("symlink");
    let socket = std::os::unix::net::UnixListener::bind(event.join(name(7))).expect("bind");
    // Letters are orders to others: nobody may have them written to a FIFO elsewhere.
    fs::create_dir(sv.root().join("event")).expect("mkdir");
    let mut elsewhere = Listener::at(&Service::at(sv.root().to_owned()), "abroad");
    let place = listeners_in(sv.root()).first().expect("one").clone();
    let place = sv.root().join("event").join(place);
    symlink(&place, event.join(name(8))).expect("symlink");
    fs::hard_link(&place, event.join(name(9))).expect("link");
    let before = listeners(&bad);
    let listener = Listener::at(&bad, "friend");
    is_borne(&sv, &onit, &bad, Some(listener));
    drop(socket);
    assert_eq!(elsewhere.heard(), "");
    assert_eq!(listeners(&bad), before);
    assert_eq!(fs::read_to_string(&secret).expect("read"), "secret");
    assert_eq!(fs::read_to_string(event.join(name(1))).expect("read"), "file");
    assert!(!sv.root().join("missing").exists());
}

#[test]
fn a_listener_that_never_reads_harms_nobody() {
    let sv = SvDir::new();
    let (bad, _good) = (sleeper(&sv, "bad"), sleeper(&sv, "good"));
    let onit = sv.start_with(&["--s6"]);
    another(&bad, 0);
    let mut full = Listener::at(&bad, "ffffff");
    while full.fifo().write(&[b'.'; 4096]).is_ok() {}
    while full.fifo().write(b".").is_ok() {}
    let listener = Listener::at(&bad, "friend");
    is_borne(&sv, &onit, &bad, Some(listener));
    assert_eq!(listeners(&bad).len(), 1, "it lives, so it stays");
}

#[test]
fn twenty_thousand_files_harm_nobody() {
    let sv = SvDir::new();
    let (bad, _good) = (sleeper(&sv, "bad"), sleeper(&sv, "good"));
    let onit = sv.start_with(&["--s6"]);
    another(&bad, 0);
    let event = bad.path().join("event");
    for number in 0..20_000 {
        match number % 2 {
            0 => fs::write(event.join(name(number)), "").expect("write"),
            _ => nix::unistd::mkfifo(&event.join(name(number)), Mode::S_IRWXU).expect("mkfifo"),
        }
    }
    let listener = Listener::at(&bad, "friend");
    is_borne(&sv, &onit, &bad, Some(listener));
    wait_for("the dead to be gone", SOON, || (listeners(&bad).len() == 10_000).then_some(()));
}

#[test]
fn a_fifodir_that_is_none_harms_nobody() {
    let sv = SvDir::new();
    let (bad, _good) = (sleeper(&sv, "bad"), sleeper(&sv, "good"));
    let onit = sv.start_with(&["--s6"]);
    another(&bad, 0);
    let event = bad.path().join("event");
    fs::remove_dir(&event).expect("rmdir");
    is_borne(&sv, &onit, &bad, None);
    fs::write(&event, "").expect("write");
    is_borne(&sv, &onit, &bad, None);
    fs::remove_file(&event).expect("rm");
    symlink("event", &event).expect("symlink");
    is_borne(&sv, &onit, &bad, None);
    fs::remove_file(&event).expect("rm");
    nix::unistd::mkfifo(&event, Mode::S_IRWXU).expect("mkfifo");
    is_borne(&sv, &onit, &bad, None);
    fs::remove_file(&event).expect("rm");
    // Once it is one again, who listens is told.
    fs::create_dir(&event).expect("mkdir");
    let listener = Listener::at(&bad, "friend");
    is_borne(&sv, &onit, &bad, Some(listener));
}

#[test]
fn a_fifodir_that_may_not_be_read_harms_nobody() {
    if !is_root() {
        skip!("only root can be another user");
    }
    let sv = SvDir::new();
    let (bad, _good) = (sleeper(&sv, "bad"), sleeper(&sv, "good"));
    let mut words = given_to(&sv, 12345);
    words.insert(words.len() - 1, "--s6".to_owned());
    let onit = sv.spawn_words(&words);
    another(&bad, 0);
    let event = bad.path().join("event");
    let mut deaf = Listener::at(&bad, "rooted"); // of root, mode 600: it cannot be written to
    fs::set_permissions(event.join(listeners(&bad).first().expect("it")), Permissions::from_mode(0o600))
        .expect("chmod");
    is_borne(&sv, &onit, &bad, None);
    assert_eq!(deaf.heard(), "");
    fs::set_permissions(&event, Permissions::from_mode(0o000)).expect("chmod");
    is_borne(&sv, &onit, &bad, None);
}

// ---------------------------------------------------------------------------------------------------------------------
// One record for all
// ---------------------------------------------------------------------------------------------------------------------

/// What the three say of a service, with pids and seconds replaced, while its record did not change. s6 counts the leap
/// seconds.
fn three_say(sv: &SvDir, service: &Service) -> Option<[String; 4]> {
    let fields = "up,wantedup,normallyup,ready,paused,pid,exitcode,signal";
    let name = service.name();
    let before = service.status()?;
    let said = [
        sv.svstat(&[name]),
        sv.sv(&["status", name]),
        sv.tool("s6-svstat", &[name]),
        sv.tool("s6-svstat", &["-o", fields, name]),
    ];
    let pid = before.pid().map_or("0".to_owned(), |pid| pid.to_string());
    let seconds: Vec<u64> = said[..3].iter().filter_map(|said| age(&said.stdout)).collect();
    if service.status()? != before || seconds.len() != 3 {
        return None;
    }
    let is_near = |one: u64, other: u64| one.abs_diff(other) <= 1;
    assert!(is_near(seconds[0], seconds[1]) && is_near(seconds[0] + 27, seconds[2]), "{said:?}");
    Some(said.map(|said| replaced(said.stdout.trim_end(), &pid)))
}

/// The number that is followed by `s` or ` seconds`.
fn age(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split([' ', ',', '\n']).collect();
    let number = |word: &str| word.parse().ok();
    let after = words.iter().position(|word| *word == "seconds").and_then(|at| number(words[at - 1]));
    after.or_else(|| words.iter().find_map(|word| number(word.strip_suffix('s')?)))
}

fn replaced(text: &str, pid: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = text.split(' ').collect();
    let word = |(at, word): (usize, &&str)| {
        let bare = word.trim_end_matches([')', ',']);
        let age = bare.strip_suffix('s').filter(|age| is_number(age));
        match words.get(at + 1) {
            _ if pid != "0" && bare == pid => word.replace(pid, "P"),
            Some(next) if next.starts_with("seconds") && word.len() > 12 => "GIANT".to_owned(),
            Some(next) if next.starts_with("seconds") && is_number(word) => "X".to_owned(),
            _ => age.map_or_else(|| (*word).to_owned(), |age| word.replacen(age, "X", 1)),
        }
    };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn all_say(sv: &SvDir, service: &Service, expected: [&str; 4]) {
    let mut last = None;
    let found = poll_until(SOON, || {
        last = three_say(sv, service).or_else(|| last.take());
        last.as_ref().filter(|said| **said == expected).map(|_| ())
    });
    assert!(found.is_some(), "last: {last:#?}, not {expected:#?}");
}

/// In each state, all three; by option, by variable, or by the file of the service.
#[test]
fn the_universal_record_is_read_right_by_all_three() {
    if let Some(why) = missing_tools(&["sv", "svstat", "s6-svstat"]) {
        skip!("{why}");
    }
    thread::scope(|scope| {
        for way in ["option", "variable", "file"] {
            scope.spawn(move || each_state(way));
        }
    });
}

fn each_state(way: &str) {
    let sv = SvDir::new();
    let hold = "test -p hold || mkfifo hold; read -r code <hold; exit $code";
    let mut service = sv.service("svc").run(hold).finish("test -p pause || mkfifo pause; read -r _ <pause").down();
    let mut command = UnderTest::Onit.program();
    match way {
        "option" => _ = command.args(["--status-format", "universal"]),
        "variable" => _ = command.env("ONIT_STATUS_FORMAT", "universal"),
        _ => service = service.file("status-format", "universal\n"),
    }
    let svc = service.create_atomically();
    command.arg(sv.path());
    let onit = sv.spawn(command);
    let say = |expected: [&str; 4]| all_say(&sv, &svc, expected);
    let order = |bytes: &[u8]| svc.order(bytes);
    let open = |name: &str, line: &str| {
        wait_for(name, SOON, || svc.path().join(name).exists().then_some(()));
        fs::write(svc.path().join(name), line).expect("write to a FIFO");
    };

    wait_for("it to be supervised", SOON, || svc.is_supervised().then_some(()));
    say([
        "svc: down X seconds",
        "down: svc: Xs",
        "down (exitcode 0) X seconds, ready GIANT seconds",
        "false false false false false -1 0 NA",
    ]);
    order(b"u");
    say([
        "svc: up (pid P) X seconds, normally down",
        "run: svc: (pid P) Xs, normally down",
        "up (pid P) X seconds, normally down",
        "true true false false false P -1 NA",
    ]);
    fs::remove_file(svc.path().join("down")).expect("rm");
    say([
        "svc: up (pid P) X seconds",
        "run: svc: (pid P) Xs",
        "up (pid P) X seconds",
        "true true true false false P -1 NA",
    ]);
    order(b"p");
    say([
        "svc: up (pid P) X seconds, paused",
        "run: svc: (pid P) Xs, paused",
        "up (pid P) X seconds, paused",
        "true true true false true P -1 NA",
    ]);
    order(b"co");
    say([
        "svc: up (pid P) X seconds, want down",
        "run: svc: (pid P) Xs, want down",
        "up (pid P) X seconds, want down",
        "true false true false false P -1 NA",
    ]);
    order(b"u");
    open("hold", "3\n");
    say([
        "svc: up (pid P) X seconds",
        "finish: svc: (pid P) Xs",
        "down (exitcode 3) X seconds, normally up, want up",
        "false true true false false -1 3 NA",
    ]);
    order(b"d");
    svc.wait_for("the order", |status| status.want() == b'd'); // an end that is seen first is followed by a start
    open("pause", "\n");
    say([
        "svc: down X seconds, normally up",
        "down: svc: Xs, normally up",
        "down (exitcode 3) X seconds, normally up, ready GIANT seconds",
        "false false true false false -1 3 NA",
    ]);
    order(b"u");
    wait_for("it to be up", SOON, || up(&svc));
    order(b"o");
    order(b"k");
    open("pause", "\n");
    say([
        "svc: down X seconds, normally up",
        "down: svc: Xs, normally up",
        "down (signal SIGKILL) X seconds, normally up, ready GIANT seconds",
        "false false true false false -1 -1 SIGKILL",
    ]);
    is_well(&onit);
}

/// Leap seconds are taken from s6's own record alone: one of 27 seconds too many would be older than the service.
#[test]
fn our_svstat_knows_since_when_in_every_record() {
    for format in ["runit", "daemontools", "s6", "universal"] {
        let begun = Instant::now();
        let sv = SvDir::new();
        let svc = sv.service("svc").run("exec sleep 1000").create_atomically();
        let _onit = sv.start_with(&["--status-format", format]);
        let svstat = || sv.tool(env!("CARGO_BIN_EXE_onit"), &["s6-svstat", svc.name()]).stdout;
        let said = wait_for("it to be up", SOON, || Some(svstat()).filter(|said| said.starts_with("up (pid ")));
        let seconds = age(&said).expect("its age");
        assert!(seconds <= begun.elapsed().as_secs() + 1, "{format}: {said}");
    }
}
