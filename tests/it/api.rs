//! The api socket: who asks is answered, who listens hears everything, and nobody is waited for.

use crate::svdir::{Ending, SOON, SvDir, UnderTest, as_many, is_root, missing_tools, poll_until, send, skip, wait_for};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};
use onit::client::api::{Api, Order};
use onit::client::{Deadline, ErrorKind, ServiceState, Want};
use onit::wire::api::{Event, EventKind, Line, ServiceStatus, SupervisorState, Word};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Somebody who talks to the socket.
struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Client {
        let stream = wait_for("the socket", SOON * 3, || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(SOON)).expect("a time limit");
        Client(BufReader::new(stream))
    }

    fn of(sv: &SvDir) -> Client {
        Client::connect(&sv.live().join("api"))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("said");
    }

    fn line(&mut self) -> Line {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        Line::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// The answer to a request, without its last line. Errors are `kind: text`.
    fn ask(&mut self, request: &str) -> Result<Vec<Line>, String> {
        self.say(&format!("{request}\n"));
        let mut lines = Vec::new();
        loop {
            match self.line() {
                Line::Done(done) => {
                    assert_eq!(done.count, lines.len() as u64);
                    return Ok(lines);
                }
                Line::Error(error) => return Err(format!("{}: {}", error.kind, error.text)),
                Line::Event(_) => {}
                line @ (Line::Hello(_) | Line::Service(_) | Line::Life(_)) => lines.push(line),
            }
        }
    }

    fn statuses(&mut self, request: &str) -> Vec<ServiceStatus> {
        let lines = self.ask(request).expect("an answer");
        lines
            .into_iter()
            .filter_map(|line| if let Line::Service(status) = line { Some(*status) } else { None })
            .collect()
    }

    fn status(&mut self, name: &str) -> ServiceStatus {
        self.statuses(&format!("status {name}")).pop().expect("one service")
    }

    /// The next event. That a service was starting for a moment, as it is on a slow machine, is left out.
    fn event(&mut self) -> Event {
        let mut before = None;
        let starting = Some(ServiceState::Starting.into());
        loop {
            match self.line() {
                Line::Event(event) if event.new == starting => before = event.old,
                Line::Event(event) if event.old == starting => {
                    return Event { old: before, ..event };
                }
                Line::Event(event) => return event,
                other => panic!("no event: {other:?}"),
            }
        }
    }

    /// The next events up to the one that is `last`, as `name old→new`.
    fn events_until(&mut self, last: &str) -> Vec<String> {
        let mut events = Vec::new();
        while events.last().is_none_or(|event| event != last) {
            let event = self.event();
            let name = event.name.unwrap_or_default();
            events.push(match (event.what, event.old, event.new) {
                (Word::Known(EventKind::State), Some(old), Some(new)) => format!("{name} {old}→{new}"),
                (what, None, None) => format!("{name} {what}"),
                other => panic!("{name}: {other:?}"),
            });
        }
        events
    }
}

#[test]
fn the_library_asks_orders_and_listens() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").file("down", "").create();
    let socket = sv.live().join("api");
    let error = Api::connect(&socket).expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::NoSupervisor);
    assert_eq!(error.to_string(), format!("{}: cannot connect: No such file or directory", socket.display()));

    let onit = sv.start(UnderTest::Onit);
    let mut api = wait_for("the socket", SOON, || Api::connect(&socket).ok());
    assert_eq!(api.hello().pid as u32, onit.pid());
    api.subscribe().expect("subscribed");
    let mut takes = || {
        let begin = std::time::Instant::now();
        (0..1000).for_each(|_| assert_eq!(api.event(Duration::ZERO).expect("nothing yet"), None));
        begin.elapsed()
    };
    assert!((0..3).any(|_| takes() < Duration::from_millis(700)), "who only looks waits");
    assert_eq!(api.status("web").expect("a status").state, ServiceState::Down);
    api.order(Order::Up, "web").expect("ordered");
    while api.status("web").expect("a status").state != ServiceState::Up {
        assert!(api.event(SOON).expect("an event").is_some(), "nothing happens");
    }
    assert_eq!(api.all().expect("all").len(), 1);
    assert_eq!(api.history("web").expect("its lives").len(), 1);

    for (error, kind, line) in [
        (api.status("nosuch").map(drop), ErrorKind::NoService, "ask for status of nosuch: no such service: nosuch"),
        (api.request("jump", Some("web".as_ref())).map(drop), ErrorKind::Declined, "ask for jump of web: no such verb"),
        (api.order(Order::Up, "a\nb"), ErrorKind::BadName, "ask for up of a\nb: no service can have such a name"),
    ] {
        let error = error.expect_err(line);
        assert_eq!((error.kind(), error.path()), (kind, &*socket));
        assert_eq!(error.to_string(), format!("{}: cannot {line}", socket.display()));
    }
    onit.signal(Signal::SIGTERM);
    let last = loop {
        match api.event(Deadline::NEVER) {
            Ok(event) => assert!(event.is_some(), "never is never"),
            Err(error) => break error,
        }
    };
    assert_eq!(last.kind(), ErrorKind::Closed);
    assert_eq!(why(&last), "the supervisor has hung up");
}

/// What an error says behind its last colon.
fn why(error: &onit::client::Error) -> String {
    std::error::Error::source(error).expect("a source").to_string()
}

/// A supervisor that is stopped takes the connection and says nothing; one that is none says something else.
#[test]
fn the_library_is_not_told_nonsense() {
    let sv = SvDir::new();
    let socket = sv.root().join("api");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    for (says, what) in [("220 mail.example.org\n", "no JSON"), ("{\"done\":{\"count\":0}}\n", "no hello")] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("somebody");
                stream.write_all(says.as_bytes()).expect("said");
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let error = Api::connect(&socket).expect_err("no supervisor");
            assert_eq!(error.kind(), ErrorKind::Garbled);
            let cause = why(&error);
            assert!(cause.starts_with("unsupported answer of the supervisor: ") && cause.contains(what), "{cause}");
        });
    }
}

#[test]
fn whoever_asks_is_answered() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").log("exec cat >/dev/null").create();
    sv.service("a b").run("exec sleep 1000").file("down", "").create();
    sv.service("crash").run("exit 7").create();
    let onit = sv.start(UnderTest::Onit);
    let mut client = Client::of(&sv);
    let Ok(hello) = client.ask("hello") else { panic!("no hello") };
    let [Line::Hello(hello)] = &hello[..] else { panic!("{hello:?}") };
    assert_eq!((hello.pid as u32, hello.api, hello.control), (onit.pid(), 1, true));
    assert_eq!(hello.state, SupervisorState::Up);
    assert_eq!(Path::new(&hello.directory), sv.path());

    let all = client.statuses("status");
    let names: Vec<&str> = all.iter().map(|status| status.name.as_str()).collect();
    assert_eq!(names, ["a b", "crash", "web", "web/log"]);
    let is_up = |status: &ServiceStatus| status.state == ServiceState::Up; // it may not have executed its program yet
    let web = wait_for("web to be up", SOON, || Some(client.status("web")).filter(is_up));
    assert_eq!((web.want.as_str(), web.restarts, web.flapping), ("up", Some(0), None));
    assert_eq!(web.pid.map(|pid| pid as u32), sv.existing("web").status().and_then(|status| status.pid()));
    assert!(client.status("web/log").logger && !web.logger && web.enabled);
    let down = client.status("a b");
    assert_eq!((down.state.as_str(), down.want.as_str(), down.enabled, down.pid), ("down", "down", false, None));
    let crash = wait_for("three ends", SOON, || Some(client.status("crash")).filter(|crash| crash.flapping.is_some()));
    assert_eq!(crash.exit.and_then(|exit| exit.code), Some(7));
    assert_eq!(crash.trouble.as_deref(), Some("exited with 7 within a second of its start; trying again"));

    assert_eq!(client.ask("once a b"), Ok(vec![]));
    let once = wait_for("it to be up", SOON, || Some(client.status("a b")).filter(is_up));
    assert_eq!(once.want, Want::Once);
    for (request, error) in [
        ("", "request: no such verb"),
        ("frobnicate web", "request: no such verb"),
        ("up", "request: the name of a service is missing"),
        ("hello you", "request: it takes no name"),
        ("up nosuch", "service: no such service: nosuch"),
        ("history nosuch/log", "service: no such service: nosuch/log"),
    ] {
        assert_eq!(client.ask(request), Err(error.to_owned()));
    }
}

#[test]
fn who_subscribes_hears_every_transition_in_order() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").finish("exit 0").create();
    let _onit = sv.start(UnderTest::Onit);
    let mut client = Client::of(&sv);
    wait_for("a life of two seconds", SOON, || (client.status("web").seconds > 2.0).then_some(()));
    assert_eq!(client.ask("subscribe"), Ok(vec![]));
    assert_eq!(client.ask("restart web"), Ok(vec![]));
    // The answer came first, and the first event was passed over with it.
    let restart = ["web stopping→finishing", "web finishing→backoff", "web backoff→up"];
    assert_eq!(client.events_until("web backoff→up"), restart);
    sv.existing("web").order(b"d");
    assert_eq!(
        client.events_until("web finishing→down"),
        ["web up→stopping", "web stopping→finishing", "web finishing→down"]
    );
    sv.existing("web").order(b"u");
    sv.service("new").run("exec sleep 1000").create_atomically();
    let events = client.events_until("new backoff→up");
    assert_eq!(events.first().map(String::as_str), Some("web down→backoff"));
    assert!(events.contains(&"new added".to_owned()), "{events:?}");
    crate::svdir::send(sv.existing("new").wait_up(), Signal::SIGKILL);
    let killed = wait_for("its death", SOON, || Some(client.event()).filter(|event| event.exit.is_some()));
    assert_eq!(killed.exit.and_then(|exit| exit.name).as_deref(), Some("SIGKILL"));
}

#[test]
fn a_finish_that_gives_up_is_heard_and_seen() {
    let sv = SvDir::new();
    let web = sv.service("web").run("sleep 0.2; exit 9").finish("exit 125").down().create();
    let onit = sv.start(UnderTest::Onit);
    let mut client = Client::of(&sv);
    assert_eq!(client.ask("subscribe"), Ok(vec![]));
    let why = "exited with 9, and ./finish says 125: not started again until told";
    for round in 1..3 {
        web.order(b"u");
        let events = client.events_until("web finishing→failed");
        assert_eq!(events.last().map(String::as_str), Some("web finishing→failed"), "{events:?}");
        let web = client.status("web");
        assert_eq!((web.state.as_str(), web.trouble.as_deref()), ("failed", Some(why)));
        assert_eq!(onit.stderr().matches(why).count(), round, "each time that it was told to start");
    }
    web.order(b"u");
    assert_eq!(client.event().old, Some(ServiceState::Failed.into()));
}

#[test]
fn what_has_ended_with_0_for_good_is_done_and_no_news() {
    let sv = SvDir::new();
    let job = sv.service("job").run("exit 0").finish("exit 125").file("essential", "on-giveup").down().create();
    let once = sv.service("once").run("sleep 0.1").down().create();
    let onit = sv.start(UnderTest::Onit);
    let mut client = Client::of(&sv);
    assert_eq!(client.ask("subscribe"), Ok(vec![]));
    for _ in 0..2 {
        job.order(b"u");
        let events = client.events_until("job finishing→done");
        assert_eq!(events.last().map(String::as_str), Some("job finishing→done"), "{events:?}");
        let status = client.status("job");
        assert_eq!((status.state.as_str(), status.want.as_str(), status.trouble), ("done", "down", None));
    }
    for _ in 0..2 {
        once.order(b"o");
        let events = client.events_until("once up→done");
        assert_eq!(events.iter().filter(|event| event.ends_with("→done")).count(), 1, "not before it runs: {events:?}");
    }
    assert_eq!(onit.stderr(), "", "nor is it the end of everything");
    assert_eq!(onit.ended(), None);
}

#[test]
fn lives_are_remembered_also_by_the_one_who_goes_on_after_a_fault() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    let lives = |client: &mut Client| -> Vec<(i32, Option<String>, bool)> {
        let lines = client.ask("history web").expect("a history");
        let life = |line| match line {
            Line::Life(life) => (life.pid, life.exit.and_then(|exit| exit.name), life.asked),
            other => panic!("{other:?}"),
        };
        lines.into_iter().map(life).collect()
    };
    let mut client = Client::of(&sv);
    let first = web.wait_up();
    crate::svdir::send(first, Signal::SIGKILL);
    let second = web.wait_other(first);
    web.order(b"t");
    let third = web.wait_other(second);
    let name = |name: &str| Some(name.to_owned());
    let expected = vec![
        (first as i32, name("SIGKILL"), false),
        (second as i32, name("SIGTERM"), true),
        (third as i32, None, false),
    ];
    assert_eq!(lives(&mut client), expected);
    onit.signal(Signal::SIGSEGV);
    wait_for("the connection to end", SOON, || (client.0.read(&mut [0; 64]).ok() == Some(0)).then_some(()));
    // Who connects in this very moment may be cut off.
    let mut client = wait_for("it to answer again", SOON, || {
        let mut client = UnixStream::connect(sv.live().join("api")).ok()?;
        client.write_all(b"hello\n").ok()?;
        (client.read(&mut [0; 1]).ok()? == 1).then(|| Client::of(&sv))
    });
    assert_eq!((lives(&mut client), client.status("web").restarts), (expected, Some(2)));
}

/// Nobody is refused in between, and turns to the files of the services, which tell less.
#[test]
fn who_comes_while_the_supervisor_is_replaced_is_answered_by_the_next_one() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    let (socket, pid) = (sv.live().join("api"), web.wait_up());
    Client::of(&sv);
    let is_over = AtomicBool::new(false);
    let call = || {
        let mut answered = 0;
        while !is_over.load(Ordering::Relaxed) {
            match Api::connect(&socket).and_then(|mut api| api.status("web")) {
                Ok(status) => {
                    assert_eq!(status.pid, Some(pid as i32));
                    answered += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "it had been accepted before: {error}"),
            }
        }
        answered
    };
    thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(call));
        for _ in 0..10 {
            assert_eq!(sv.onit(&["upgrade", &onit.pid().to_string()]).code, 0);
        }
        onit.signal(Signal::SIGSEGV);
        onit.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
        is_over.store(true, Ordering::Relaxed);
        assert!(callers.into_iter().all(|caller| caller.join().expect("no refusal") > 0));
    });
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert!(!socket.exists(), "the last one takes it away");
}

/// Connects until the supervisor, which does not accept anybody, can have no more wait.
fn as_many_as_may_wait(socket: &Path) -> Vec<OwnedFd> {
    let address = UnixAddr::new(socket).expect("an address");
    let connect = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let client = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
        nix::sys::socket::connect(client.as_raw_fd(), &address).is_ok().then_some(client)
    };
    std::iter::from_fn(connect).collect()
}

/// The next one cannot connect to see whose socket it is.
#[test]
fn as_many_as_may_wait_wait_for_the_next_supervisor() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    let socket = sv.live().join("api");
    Client::of(&sv);
    let file = || std::fs::metadata(&socket).map(|file| file.ino()).ok();
    let before = file();
    onit.signal(Signal::SIGSTOP);
    let waiting = as_many_as_may_wait(&socket);
    assert!(waiting.len() > 100, "{}", waiting.len());
    onit.signal(Signal::SIGSEGV);
    onit.signal(Signal::SIGCONT);
    onit.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
    drop(waiting);
    assert_eq!(Client::of(&sv).status("web").state, ServiceState::Up);
    assert_eq!((file(), onit.said(&["there is no api socket"])), (before, Vec::<String>::new()));
}

/// As one is whose connection was accepted by a supervisor that then executed itself again.
#[test]
fn who_is_hung_up_on_before_the_first_answer_connects_again_and_not_for_ever() {
    let sv = SvDir::new();
    let _onit = sv.start(UnderTest::Onit);
    let mut real = Client::of(&sv).0.into_inner();
    real.write_all(b"hello\n").expect("said");
    let mut hello = BufReader::new(real).lines().map(|line| line.expect("a line") + "\n");
    let hello: String = hello.by_ref().take(2).collect();
    let socket = sv.root().join("other");
    let listener = UnixListener::bind(&socket).expect("a socket");
    thread::spawn(move || {
        drop(listener.accept());
        let (mut client, _) = listener.accept().expect("a second time");
        client.read_exact(&mut [0; 6]).expect("hello");
        client.write_all(hello.as_bytes()).expect("answered");
        (0..5).for_each(|_| drop(listener.accept()));
    });
    assert!(Api::connect(&socket).is_ok_and(|api| api.hello().control));
    assert_eq!(Api::connect(&socket).expect_err("nobody answers").kind(), ErrorKind::Closed);
}

/// A late answer is not taken for that to the next question.
#[test]
fn a_supervisor_that_does_not_answer_in_time_is_asked_anew() {
    let sv = SvDir::new();
    ["db", "web"].iter().for_each(|name| _ = sv.service(name).run("exec sleep 1000").create());
    let onit = sv.start(UnderTest::Onit);
    let mut api =
        wait_for("the socket", SOON, || Api::connect_within(sv.live().join("api"), Duration::from_millis(200)).ok());
    onit.signal(Signal::SIGSTOP);
    assert_eq!(api.status("db").expect_err("it is stopped").kind(), ErrorKind::TimedOut);
    onit.signal(Signal::SIGCONT);
    assert_eq!(api.status("web").expect_err("it has hung up").kind(), ErrorKind::Closed);
}

#[test]
fn nobody_is_waited_for() {
    let sv = SvDir::new();
    let services: Vec<_> = (0..20).map(|n| sv.service(&format!("s{n}")).run("exec sleep 1000").create()).collect();
    let onit = sv.start(UnderTest::Onit);
    services.iter().for_each(|service| _ = service.wait_up());
    let mut deaf: Vec<Client> = (0..10).map(|_| Client::of(&sv)).collect();
    for client in &mut deaf {
        client.say("subscribe\nstatus\n");
        client.say(&"status\n".repeat(500));
    }
    let mut endless = Client::of(&sv);
    endless.say(&"x".repeat(900));
    let mut half = Client::of(&sv);
    half.say("hello\nsta");
    half.0.get_mut().shutdown(std::net::Shutdown::Write).expect("half closed");
    assert!(matches!(half.line(), Line::Hello(_)) && matches!(half.line(), Line::Done(_)));
    assert_eq!(half.0.read(&mut [0; 8]).ok(), Some(0), "who has nothing more to say and got everything is let go");
    let mut client = Client::of(&sv);
    for round in 0..200 {
        assert_eq!(client.ask(&format!("cont s{}", round % 20)), Ok(vec![]));
    }
    assert_eq!(client.statuses("status").len(), 20);
    endless.say(&"x".repeat(5000));
    assert_eq!(endless.0.read(&mut [0; 64]).unwrap_or(0), 0, "a line without end is no request");
    // A subscriber who does not keep up is dropped before it costs more than a few megabytes.
    let before = resident(onit.pid());
    let flood = "pause s1\ncont s1\n".repeat(2000);
    let dropped = poll_until(SOON * 3, || {
        client.say(&flood);
        (0..4000).for_each(|_| assert!(matches!(client.line(), Line::Done(_))));
        deaf.iter_mut().all(is_cut).then_some(())
    });
    assert!(dropped.is_some(), "still connected");
    let grown = resident(onit.pid()).saturating_sub(before);
    assert!(grown < 80 << 20, "ten of them cost {grown} bytes");
    assert_eq!(onit.stderr(), "");
}

/// Whether the other end has closed a connection from which nothing was read.
fn is_cut(client: &mut Client) -> bool {
    client.0.get_mut().write_all(b"\n").is_err()
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn who_asks_when_many_services_have_ended_at_once_is_not_the_last_to_be_looked_after() {
    let sv = SvDir::new();
    let services: Vec<_> = (0..200).map(|n| sv.service(&format!("s{n:03}")).run("exec sleep 1000").create()).collect();
    let onit = sv.start(UnderTest::Onit);
    let pids: Vec<u32> = services.iter().map(|service| service.wait_up()).collect();
    let mut client = Client::of(&sv);
    onit.signal(Signal::SIGSTOP);
    pids.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    client.say("status s199\n");
    onit.signal(Signal::SIGCONT);
    let Line::Service(last) = client.line() else { panic!("no status") };
    assert_eq!(last.pid.map(i32::unsigned_abs), pids.last().copied(), "its end has been dealt with, and all before it");
    for (service, pid) in services.iter().zip(pids) {
        service.wait_other(pid);
    }
}

#[test]
fn a_thousand_services_that_restart_at_once_are_all_heard() {
    let sv = SvDir::new();
    let names: Vec<String> = (0..as_many(1000)).map(|n| format!("s{n:03}")).collect();
    for name in &names {
        sv.service(name).run("exec sleep 1000").create();
    }
    let _onit = sv.start(UnderTest::Onit);
    let mut client = Client::of(&sv);
    let all_up = |client: &mut Client| client.statuses("status").iter().all(|status| status.state == ServiceState::Up);
    wait_for("all to be up", SOON * 3, || all_up(&mut client).then_some(()));
    let mut listener = Client::of(&sv);
    assert_eq!(listener.ask("subscribe"), Ok(vec![]));
    client.say(&names.iter().map(|name| format!("restart {name}\n")).collect::<String>());
    let mut heard: BTreeMap<String, Vec<Word<ServiceState>>> = BTreeMap::new();
    let is_over = |events: &Vec<Word<_>>| events.last().is_some_and(|new| *new == ServiceState::Up);
    while heard.len() < names.len() || !heard.values().all(is_over) {
        let event = listener.event();
        heard.entry(event.name.expect("a name")).or_default().extend(event.new);
    }
    for (name, events) in heard {
        assert_eq!(events, [ServiceState::Stopping, ServiceState::Backoff, ServiceState::Up], "{name}");
    }
}

#[test]
fn rights_are_those_of_the_user_and_the_groups() {
    if !is_root() {
        skip!("only root can be somebody else");
    }
    if let Some(missing) = missing_tools(&["setpriv", "socat"]) {
        skip!("{missing}");
    }
    let sv = SvDir::new();
    std::fs::set_permissions(sv.root(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    sv.service("web").run("exec sleep 1000").create();
    let mut command = UnderTest::Onit.program();
    command.args(["--control-group", "7001", "--status-group=7002"]).arg(sv.path());
    let _onit = sv.spawn(command);
    drop(Client::of(&sv));
    let socket = format!("UNIX:{}", sv.live().join("api").display());
    let says = |groups: &str| -> Vec<String> {
        let mut command = Command::new("sh");
        let script =
            "printf 'status web\\ncont web\\nrescan\\n' | exec setpriv --reuid 12345 --regid 12345 $1 socat -t9 - $2";
        command.args(["-c", script, "sh", groups, &socket]);
        let kind = |line: &str| match Line::decode(line.as_bytes()) {
            Ok(Line::Service(status)) => status.name,
            Ok(Line::Done(_)) => "done".into(),
            Ok(Line::Error(error)) => error.kind.to_string(),
            other => panic!("{other:?}"),
        };
        sv.run(command).stdout.lines().map(kind).collect()
    };
    assert_eq!(says("--clear-groups"), ["permission"; 3]);
    assert_eq!(says("--groups 7003,7002"), ["web", "done", "permission", "permission"]);
    assert_eq!(says("--groups 7003,7001"), ["web", "done", "done", "done"]);
}

#[test]
fn the_socket_stands_beside_the_services_and_a_link_leads_there() {
    if !is_root() {
        skip!("only root can have a /run of its own");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let run = sv.root().join("run");
    std::fs::create_dir(&run).expect("mkdir");
    let start = || {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount --bind \"$1\" /run && exec \"$2\" run \"$3\"", "sh"]);
        command.args([run.as_path(), &crate::svdir::onit(), &sv.path()]).env("ONIT_RUN", "");
        sv.spawn(command)
    };
    let api = sv.path().join(".onit/api");
    let first = start();
    assert!(Client::connect(&api).ask("hello").is_ok());
    let found = Api::find_for(sv.path()).expect("found beside the services");
    assert_eq!(found.supervisor().map(|pid| pid.0 as u32), Some(first.pid()));
    wait_for("the link", SOON, || (std::fs::read_link(run.join("onit/api")).ok()? == api).then_some(()));
    first.signal(Signal::SIGKILL);
    first.wait_end(SOON);
    let second = start();
    wait_for("the next one to answer", SOON, || UnixStream::connect(&api).ok());
    second.signal(Signal::SIGTERM);
    second.wait_end(SOON);
    assert!(!api.exists() && std::fs::symlink_metadata(run.join("onit/api")).is_err(), "nothing is left behind");
    assert_eq!(Api::find_for(sv.path()).expect_err("nobody is there").kind(), ErrorKind::NoSupervisor);
}

#[test]
fn a_socket_that_was_taken_away_is_made_anew_at_hup_and_what_stands_there_instead_stays() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    let api = sv.live().join("api");
    let mut old = Client::of(&sv);
    assert!(old.ask("hello").is_ok());
    std::fs::remove_file(&api).expect("removed");
    onit.signal(Signal::SIGHUP);
    assert!(Client::of(&sv).ask("hello").is_ok());
    assert!(old.ask("hello").is_ok(), "who was connected stays so");

    std::fs::remove_dir_all(sv.live()).expect("removed");
    onit.signal(Signal::SIGHUP);
    assert!(Client::of(&sv).ask("hello").is_ok());

    std::fs::remove_file(&api).expect("removed");
    std::fs::write(&api, "somebody else's").expect("written");
    onit.signal(Signal::SIGTERM);
    onit.wait_end(SOON);
    assert_eq!(std::fs::read_to_string(&api).expect("it is still there"), "somebody else's");
}

#[test]
fn a_name_that_is_not_utf8_may_be_said_as_it_is_told_if_it_is_nobody_elses() {
    let sv = SvDir::new();
    let make = |name: &[u8]| {
        let dir = sv.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir(&dir).expect("mkdir");
        crate::svdir::write_file(&dir.join("run"), "#!/bin/sh\nexec sleep 1000\n", 0o755);
    };
    make(b"one\xff");
    make(b"two\xfe");
    make(b"two\xff");
    let _onit = sv.start(UnderTest::Onit);
    let mut client = Client::of(&sv);
    assert_eq!(client.status("one\u{fffd}").name, "one\u{fffd}");
    assert!(client.ask("down one\u{fffd}").is_ok());
    assert_eq!(client.status("one\u{fffd}").want, Want::Down);
    assert!(client.ask("down two\u{fffd}").is_err_and(|error| error.starts_with("service: ")));
    assert!(client.statuses("status").iter().filter(|two| two.name == "two\u{fffd}").all(|two| two.want == Want::Up));
}

#[test]
fn trouble_can_be_told_to_programs() {
    let sv = SvDir::new();
    sv.service("we\"ird").run("exit 3").create();
    let mut command = UnderTest::Onit.program();
    command.args(["-v", "--log", "json"]).arg(sv.path());
    let onit = sv.spawn(command);
    let lines = onit.wait_for("a line of each kind", SOON, || {
        let text = onit.stderr();
        let lines: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(lines.len() + 1 >= text.lines().count(), "{text}");
        let has = |level| lines.iter().any(|line| line["level"] == level);
        (has("info") && has("warning")).then_some(lines)
    });
    let warning = lines.iter().find(|line| line["level"] == "warning").expect("a warning");
    assert_eq!(warning["service"], "we\"ird");
    assert_eq!(warning["message"], "exited with 3 within a second of its start; trying again");
    assert!(warning["time"].as_f64().is_some_and(|time| time > 1.7e9));
}

#[test]
fn who_may_only_look_cannot_slow_down_restarts_and_orders() {
    if !is_root() {
        skip!("only root can be somebody else");
    }
    if let Some(missing) = missing_tools(&["setpriv", "/usr/bin/python3"]) {
        skip!("{missing}");
    }
    let sv = SvDir::new();
    std::fs::set_permissions(sv.root(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    for number in 0..300 {
        sv.service(&format!("s{number:03}")).run("exec sleep 1000").down().create();
    }
    let web = sv.service("web").run("exec sleep 1000").create();
    let mut command = UnderTest::Onit.program();
    command.arg("--status-group=7002").arg(sv.path());
    let onit = sv.spawn(command);
    let mut client = Client::of(&sv);
    web.wait_up();
    // Sixty of them ask for everything, and for names that nobody has, as fast as they are answered.
    let flood = "import os,select,socket,sys\n\
        all = [socket.socket(socket.AF_UNIX) for _ in range(60)]\n\
        for s in all: s.connect(sys.argv[1]); s.setblocking(False)\n\
        open(sys.argv[2], 'w').write('floods\\n')\n\
        while True:\n\
        \tfor s in all:\n\
        \t\ttry: s.send(b'status\\nstatus \\xef\\xbf\\xbd\\n' * 100)\n\
        \t\texcept BlockingIOError: pass\n\
        \tfor s in select.select(all, [], [], 0.1)[0]: s.recv(1 << 20)\n";
    let (script, mark) = (sv.root().join("flood"), sv.root().join("mark"));
    crate::svdir::write_file(&script, flood, 0o644);
    crate::svdir::write_file(&mark, "", 0o666);
    std::fs::set_permissions(&mark, std::fs::Permissions::from_mode(0o666)).expect("chmod");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=54411", "--regid=7002", "--clear-groups", "/usr/bin/python3"]).arg(&script);
    command.arg(sv.live().join("api")).arg(&mark);
    let floods = sv.spawn(command);
    floods.wait_for("the flood", SOON, || std::fs::read_to_string(&mark).ok().filter(|text| !text.is_empty()));
    let busy = || crate::proc::cpu(onit.pid());
    let (begun, before) = (std::time::Instant::now(), busy());
    for _ in 0..3 {
        let pid = web.wait_up();
        web.order(b"k");
        web.wait_other(pid);
        assert_eq!(client.statuses("status").len(), 301);
        assert_eq!(client.ask("cont web"), Ok(vec![]));
    }
    wait_for("five seconds", SOON, || (begun.elapsed() > Duration::from_secs(5)).then_some(()));
    // The burst that everybody may have is over soon; what is left is a small share.
    let share = (busy() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.6, "it was busy for {share} of the time");
    assert_eq!((floods.ended(), onit.stderr().as_str()), (None, ""));
}

#[test]
fn ten_thousand_refused_names_are_told_piece_by_piece() {
    let count = as_many(10_000);
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    for number in 0..count {
        std::os::unix::fs::symlink("nowhere", sv.path().join(format!("gone{number:05}"))).expect("symlink");
    }
    let _onit = sv.start(UnderTest::Onit);
    let mut client = Client::of(&sv);
    let all = wait_for("all of them", SOON * 3, || Some(client.statuses("status")).filter(|all| all.len() > count));
    assert_eq!(all.iter().filter(|status| status.state == ServiceState::Refused).count(), count);
    assert_eq!(all.first().map(|status| status.state.as_str()), Some("up"));
    assert_eq!(client.status("gone00000").state, ServiceState::Refused);
}
