//! `sockets`: what is bound for a service before it starts stays so over its crashes, and over faults and upgrades of
//! onit; nobody is refused meanwhile.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::proc;
use crate::restarts::{told, wait_state};
use crate::svdir::{SOON, Service, SvDir, UnderTest, is_root, missing_tools, send, skip, wait_for};
use crate::verbs::{start, verb, well};

/// An address of this machine that no other test uses.
pub fn address() -> SocketAddr {
    static USED: AtomicU32 = AtomicU32::new(0);
    let [_, b, c, d] = (std::process::id() * 64 + USED.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
    SocketAddr::from(([127, b.max(1), c, d], 8000))
}

/// Answers each connection to its first socket with its pid, one after the other.
const SERVER: &str = r#"#!/usr/bin/perl
use Socket;
open(my $env, '>', 'got'); print $env "$ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES} ", $ENV{LISTEN_PID} == $$ ? 'ours' : 'not ours'; close $env;
open(my $listener, '+<&=', 3) or die; $| = 1;
while (accept(my $client, $listener)) { syswrite($client, "$$\n"); close $client; exit 3 if -e 'crash' }
"#;

fn server(sv: &SvDir, name: &str, sockets: &str) -> Service {
    let service = sv.service(name).exec("run", SERVER).file("sockets", sockets).file("backoff", "10ms 10ms 1h");
    service.create_atomically()
}

/// What somebody is told there.
pub fn call(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn no_perl() -> Option<String> {
    missing_tools(&["perl"])
}

#[test]
fn a_service_gets_its_sockets_and_their_names() {
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (tcp, udp) = (address(), address());
    let path = sv.root().join("web.sock");
    let fifo = sv.root().join("web.fifo");
    let lines = format!(
        "# of the test\ntcp {tcp}\nudp {udp} name=dns\nunix {} mode=0640 name=local\nfifo {}\n",
        path.display(),
        fifo.display()
    );
    let web = server(&sv, "web", &lines);
    let _onit = start(&sv, UnderTest::Onit);
    let pid = web.wait_up();
    web.wait_text("got", |text| text == "4 web:dns:local:web ours");
    assert_eq!(call(tcp).expect("an answer"), pid.to_string());
    let mode = fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    UnixStream::connect(&path).expect("connected");
    assert_eq!(UdpSocket::bind(udp).expect_err("taken").kind(), ErrorKind::AddrInUse);
    assert!(fifo.exists());
    well(&sv, &["down", "web"]);
    let is_gone = || TcpStream::connect(tcp).is_err() && !path.exists();
    wait_for("nobody to listen, and the socket to go with it", SOON, || is_gone().then_some(()));
    well(&sv, &["up", "web"]);
    web.wait_up();
    assert!(call(tcp).is_ok() && path.exists());
}

#[test]
fn a_socket_has_the_owner_that_its_line_names() {
    if !is_root() {
        skip!("only root gives files away");
    }
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let path = sv.root().join("x.sock");
    let web = server(&sv, "web", &format!("unix {} user=daemon group=7 mode=0600", path.display()));
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    let data = wait_for("the socket", SOON, || fs::metadata(&path).ok());
    assert_eq!((data.uid(), data.gid(), data.mode() & 0o777), (1, 7, 0o600));
    let other = sv.root().join("y.sock");
    server(&sv, "other", &format!("unix {} user=nobodyknows", other.display()));
    onit.wait_said(&["other: /etc/passwd knows no user nobodyknows; trying again"]);
    assert!(!other.exists(), "it is not left there");
}

/// Somebody who connects all the time, and what became of that.
pub struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<std::io::Error>>,
}

impl Load {
    pub fn on(address: SocketAddr) -> Load {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, well) = (stop.clone(), answers.clone());
        let thread = thread::spawn(move || {
            let mut errors = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                match call(address) {
                    Ok(_) => _ = well.fetch_add(1, Ordering::Relaxed),
                    Err(error) => errors.push(error),
                }
            }
            errors
        });
        Load { stop, answers, thread }
    }

    /// Waits for so many answers more.
    pub fn wait_more(&self, count: usize) {
        let before = self.answers.load(Ordering::Relaxed);
        wait_for("answers", SOON, || (self.answers.load(Ordering::Relaxed) >= before + count).then_some(()));
    }

    /// How many answers there were, and what went wrong.
    pub fn end(self) -> (usize, Vec<std::io::Error>) {
        self.stop.store(true, Ordering::Relaxed);
        let errors = self.thread.join().expect("its end");
        (self.answers.load(Ordering::Relaxed), errors)
    }
}

/// Ends the service in this way, and waits for the next one.
fn again(web: &Service, end: impl FnOnce(u32)) {
    let before = web.wait_up();
    end(before);
    wait_for("the next one", SOON, || {
        let status = web.status()?;
        status.pid().filter(|pid| *pid != before && status.want() == b'u')
    });
}

#[test]
fn while_it_crashes_nobody_is_refused_also_over_faults_and_upgrades_of_onit() {
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let at = address();
    let web = server(&sv, "web", &format!("tcp {at}"));
    web.write("max-restarts", "1000 1s");
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    let load = Load::on(at);
    for round in 0..30 {
        again(&web, |pid| send(pid, Signal::SIGKILL));
        if round % 10 == 5 {
            let before = onit.said(&["SIGSEGV: starting again"]).len();
            onit.signal(Signal::SIGSEGV);
            wait_for("a new one", SOON, || (onit.said(&["SIGSEGV: starting again"]).len() > before).then_some(()));
        }
        if round % 10 == 8 {
            well(&sv, &["upgrade", &onit.pid().to_string()]);
        }
    }
    load.wait_more(31);
    let (answers, errors) = load.end();
    // A connection that was being answered when its server was killed is reset.
    let refused: Vec<_> = errors.iter().filter(|error| error.kind() != ErrorKind::ConnectionReset).collect();
    assert!(answers > 30 && refused.is_empty() && errors.len() <= 30, "{answers} {errors:?}");
}

#[test]
fn a_service_starts_when_it_is_called_and_then_waits_for_the_next_call() {
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let at = address();
    let web = server(&sv, "web", &format!("tcp {at} start-on-connect"));
    web.write("crash", "after each answer");
    let after =
        sv.service("after").run("exec sleep 1000").dir("dependencies.d").file("dependencies.d/web", "").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "waiting");
    after.wait_up(); // who needs it can call it
    let status = told(&sv, "web");
    assert_eq!(
        (&status["reason"], &status["ready"], &status["pid"]),
        (&"a connection".into(), &true.into(), &().into())
    );
    assert_eq!(verb(&sv, &["health"]).code, 0);
    let first = call(at).expect("an answer");
    wait_state(&sv, "web", "waiting");
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    let second = call(at).expect("an answer");
    assert_ne!(first, second);
    wait_state(&sv, "web", "waiting");
    well(&sv, &["down", "web"]);
    wait_for("nobody to listen", SOON, || TcpStream::connect(at).is_err().then_some(()));
    well(&sv, &["up", "web"]);
    wait_state(&sv, "web", "waiting");
    assert!(call(at).is_ok());
}

#[test]
fn what_cannot_be_bound_names_who_has_it_and_is_tried_again() {
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (theirs, ours) = (address(), address());
    let other = TcpListener::bind(theirs).expect("bound");
    let web = server(&sv, "web", &format!("tcp {theirs}"));
    server(&sv, "lazy", &format!("tcp {theirs} start-on-connect"));
    server(&sv, "first", &format!("tcp {ours}")).write("down", "");
    let onit = start(&sv, UnderTest::Onit);
    let us = std::process::id();
    let words = format!("cannot bind tcp {theirs}: Address already in use (");
    for name in ["web", "lazy"] {
        let line = onit.wait_said(&[name, &words]);
        assert!(line.ends_with(&format!("(pid {us}) has it); trying again")), "{line}");
    }
    assert!(!web.path().join("got").exists(), "it was not started");
    well(&sv, &["up", "first"]);
    sv.existing("first").wait_up();
    server(&sv, "second", &format!("tcp {ours}"));
    onit.wait_said(&["second", "(service first has it)"]);
    web.write("sockets", "tcp nowhere");
    onit.wait_said(&["web", "sockets says \"tcp nowhere\": that is no address"]);
    web.write("sockets", &format!("tcp {}", address()));
    web.wait_up();
    drop(other);
    wait_state(&sv, "lazy", "waiting");
    assert!(call(theirs).is_ok());
    assert!(onit.said(&["lazy", "cannot bind"]).len() == 1, "it is told once");
}

#[test]
fn a_path_is_taken_over_from_the_dead_and_from_nobody_else() {
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let path = sv.root().join("x.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let web = server(&sv, "web", &format!("unix {}", path.display()));
    let file = sv.root().join("file");
    fs::write(&file, "precious").expect("written");
    server(&sv, "wrong", &format!("unix {}", file.display()));
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    UnixStream::connect(&path).expect("connected");
    onit.wait_said(&["wrong", &format!("cannot bind unix {}: File exists", file.display())]);
    assert_eq!(fs::read_to_string(&file).expect("read"), "precious");
}

#[test]
fn a_program_of_systemd_takes_its_sockets_from_us() {
    let proxy = "/lib/systemd/systemd-socket-proxyd";
    if !Path::new(proxy).exists() {
        skip!("{proxy} is not installed");
    }
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (front, behind) = (address(), address());
    let web = server(&sv, "web", &format!("tcp {behind}"));
    let proxy = sv.service("proxy").run(&format!("exec {proxy} --exit-idle-time=1s {behind}"));
    proxy.file("sockets", &format!("tcp {front} start-on-connect")).create();
    let _onit = start(&sv, UnderTest::Onit);
    let pid = web.wait_up().to_string();
    for _ in 0..2 {
        wait_state(&sv, "proxy", "waiting"); // it ends when it has had nothing to do for a second
        assert_eq!(call(front).expect("an answer"), pid);
        assert_eq!(call(front).expect("an answer"), pid);
    }
}

#[test]
fn another_line_for_the_same_place_changes_it_and_nobody_who_waits_is_lost() {
    let sv = SvDir::new();
    let path = sv.root().join("x.sock");
    let line = |rest: &str| format!("unix {} {rest}\n", path.display());
    let web = sv.service("web").exec("run", "#!/bin/sh\nexec sleep 1000\n").file("sockets", &line(""));
    let web = web.file("readiness", "after 1ms").create_atomically();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    let mode = || fs::metadata(&path).expect("the socket").permissions().mode() & 0o777;
    let mut waits = UnixStream::connect(&path).expect("connected");
    web.write("sockets", &line("mode=0600 backlog=7 name=it"));
    well(&sv, &["restart", "web"]);
    assert_eq!(mode(), 0o600);
    web.write("sockets", &line("mode=0640"));
    well(&sv, &["restart", "--overlap", "web"]);
    assert_eq!(mode(), 0o640);
    waits.set_nonblocking(true).expect("set");
    assert_eq!(waits.read(&mut [0]).expect_err("nothing yet").kind(), ErrorKind::WouldBlock);
    // A path that went is made anew.
    fs::remove_file(&path).expect("removed");
    well(&sv, &["restart", "web"]);
    UnixStream::connect(&path).expect("connected");
    assert!(onit.said(&["cannot"]).is_empty(), "{}", onit.stderr());
}

#[test]
fn an_address_that_overlaps_the_one_before_is_bound_in_its_place() {
    let sv = SvDir::new();
    let at = address();
    let any = SocketAddr::from(([0, 0, 0, 0], 20_000 + (std::process::id() % 10_000) as u16));
    let run = "#!/bin/sh\nexec sleep 1000\n";
    let web = sv.service("web").exec("run", run).file("sockets", &format!("tcp {at}\ntcp {any}\n"));
    let web = web.create_atomically();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    let one = SocketAddr::from(([127, 0, 0, 1], any.port()));
    web.write("sockets", &format!("tcp {one}\ntcp {at} freebind\n"));
    well(&sv, &["restart", "web"]);
    assert!(TcpStream::connect(one).is_ok() && TcpStream::connect(at).is_ok());
    assert!(onit.said(&["cannot"]).is_empty(), "{}", onit.stderr());
}

#[test]
fn a_long_file_is_read_to_its_end_and_one_that_is_too_long_is_refused() {
    let sv = SvDir::new();
    let at = address();
    let run = "#!/bin/sh\nexec sleep 1000\n";
    let long = "# ".to_owned() + &"x".repeat(10_000) + &format!("\ntcp {at}\n");
    let web = sv.service("web").exec("run", run).file("sockets", &long).file("backoff", "1h").create_atomically();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    TcpStream::connect(at).expect("connected");
    web.write("sockets", &"#".repeat(1 << 20));
    verb(&sv, &["restart", "web"]);
    onit.wait_said(&["web: sockets is longer than 32768 bytes; trying again"]);
}

#[test]
fn who_wants_the_path_of_a_service_that_waits_for_a_caller_does_not_start_it() {
    let sv = SvDir::new();
    let path = sv.root().join("x.sock");
    let line = format!("unix {} start-on-connect\n", path.display());
    let run = "#!/bin/sh\nexec sleep 1000\n";
    sv.service("first").exec("run", run).file("sockets", &line).create_atomically();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "first", "waiting");
    sv.service("second").exec("run", run).file("sockets", &line).create_atomically();
    onit.wait_said(&["second: cannot bind unix", "(service first has it)"]);
    wait_for("another try", SOON, || (told(&sv, "second")["state"] == "backoff").then_some(()));
    assert_eq!(told(&sv, "first")["state"], "waiting");
    well(&sv, &["restart", "first"]); // it waits again, and that is all
    well(&sv, &["restart", "--overlap", "first"]);
    assert_eq!(told(&sv, "first")["state"], "waiting");
    UnixStream::connect(&path).expect("connected");
    wait_state(&sv, "first", "up");
    well(&sv, &["restart", "first"]);
}

#[test]
fn a_descriptor_is_that_of_a_socket_or_of_readiness_and_that_is_told_once() {
    if let Some(why) = no_perl() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = server(&sv, "web", &format!("tcp {}\ntcp {}", address(), address()));
    web.write("notification-fd", "4");
    let onit = start(&sv, UnderTest::Onit);
    let why = "descriptor 4 is to be that of a socket and of notification-fd: take one from 5 on there; trying again";
    onit.wait_said(&["web", why]);
    let woken = proc::naps(onit.pid());
    wait_for("some more tries", SOON, || (proc::naps(onit.pid()) > woken + 10).then_some(()));
    assert!(!web.path().join("got").exists());
    web.write("notification-fd", "5");
    web.wait_up();
    assert_eq!(onit.said(&[why]).len(), 1);
}
