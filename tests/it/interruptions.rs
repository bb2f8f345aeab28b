//! Who is stopped and continued, as by ^Z and `fg`, by a debugger, or in a frozen container, goes on as if nothing had been:
//! nothing is lost, what came meanwhile has come in time, and a limit is the same moment as before.

use crate::proc;
use crate::svdir::{Ending, SOON, Supervisor, SvDir, UnderTest, onit, send, wait_for};
use nix::libc;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough that a waiter has begun to wait when it is over, on a busy machine, too.
const LIMIT: Duration = Duration::from_secs(6);

fn waits_in(process: &Supervisor, call: i64) {
    process.wait_for("it to wait", SOON, || (proc::syscall(process.pid()) == Some(call)).then_some(()));
}

/// Under the name that a tool has.
fn called(sv: &SvDir, name: &str) -> Command {
    let link = sv.root().join(name);
    let _ = std::os::unix::fs::symlink(onit(), &link); // it may be there
    Command::new(link)
}

/// Starts it, stops it as soon as it waits in this system call, does something meanwhile, and continues it when its limit
/// has passed. Returns when it was started.
fn stopped_beyond_its_limit(process: &Supervisor, call: i64, begin: Instant, meanwhile: impl FnOnce()) {
    waits_in(process, call);
    send(process.pid(), Signal::SIGSTOP);
    assert!(begin.elapsed() < LIMIT, "it was to be stopped before");
    meanwhile();
    wait_for("the limit", SOON, || (begin.elapsed() > LIMIT).then_some(()));
    send(process.pid(), Signal::SIGCONT);
}

/// A logger in the middle of what a signal does by default: it has stopped itself, as ^Z tells it.
fn suspended_logger(sv: &SvDir, config: &str) -> (Supervisor, std::io::PipeWriter) {
    let dir = sv.root().join("log");
    fs::create_dir(&dir).expect("mkdir");
    fs::write(dir.join("config"), config).expect("written");
    let (input, writer) = std::io::pipe().expect("a pipe");
    let mut command = called(sv, "svlogd");
    command.arg(&dir).process_group(0); // the kernel suspends no group without a shell beside it
    let log = sv.spawn_between(command, [input.into(), Stdio::null(), Stdio::null()]);
    wait_for("its file", SOON, || dir.join("current").exists().then_some(()));
    waits_in(&log, libc::SYS_epoll_wait);
    (log, writer)
}

fn suspend(log: &Supervisor) {
    send(log.pid(), Signal::SIGTSTP);
    wait_for("its stop", SOON, || proc::Glimpse::of(log.pid()).filter(proc::Glimpse::is_stopped));
}

#[test]
fn a_logger_that_is_told_to_end_while_it_is_suspended_writes_what_there_is() {
    let sv = SvDir::new();
    let (log, mut input) = suspended_logger(&sv, "");
    suspend(&log);
    std::io::Write::write_all(&mut input, b"the last words\n").expect("written");
    send(log.pid(), Signal::SIGTERM);
    send(log.pid(), Signal::SIGCONT);
    drop(input);
    assert_eq!(log.wait_end(SOON), Ending::Code(0));
}

#[test]
fn a_processor_that_ends_while_its_logger_is_suspended_is_reaped() {
    let sv = SvDir::new();
    let go = sv.root().join("go");
    let processor = format!("!while ! test -e {}; do sleep 0.01; done; cat\n", go.display());
    let (log, input) = suspended_logger(&sv, &format!("n0\n{processor}"));
    std::io::Write::write_all(&mut &input, b"the first\n").expect("written");
    let current = sv.root().join("log/current");
    wait_for("the line", SOON, || fs::read_to_string(&current).is_ok_and(|text| !text.is_empty()).then_some(()));
    send(log.pid(), Signal::SIGALRM); // close this file
    let child = wait_for("the processor", SOON, || proc::children(log.pid()).first().copied());
    waits_in(&log, libc::SYS_epoll_wait);
    suspend(&log);
    fs::write(&go, "").expect("written");
    wait_for("its end", SOON, || (!proc::is_alive(child)).then_some(()));
    send(log.pid(), Signal::SIGCONT);
    drop(input);
    assert_eq!(log.wait_end(SOON), Ending::Code(0), "it waits for its processor no longer");
}

/// As the real one, which waits in poll(2).
#[test]
fn what_came_about_while_one_was_stopped_came_in_time() {
    let sv = SvDir::new();
    let web = sv.service("web").down().run("exec sleep 1000").create();
    let _onit = sv.start(UnderTest::Onit);
    web.wait_down();
    let mut command = called(&sv, "s6-svwait");
    command.args(["-u", "-t", &LIMIT.as_millis().to_string()]).arg(web.path());
    let begin = Instant::now();
    let waiter = sv.spawn(command);
    stopped_beyond_its_limit(&waiter, libc::SYS_epoll_wait, begin, || {
        web.control(b"u").expect("told");
        web.wait_up();
    });
    assert_eq!(waiter.wait_end(SOON), Ending::Code(0), "{}", waiter.stderr());
}

/// As the real one, in which another process waits for the lock.
#[test]
fn a_lock_that_became_free_while_one_was_stopped_is_taken() {
    let sv = SvDir::new();
    let path = sv.root().join("lock");
    let held = File::create(&path).expect("a file");
    let whole = libc::flock { l_type: libc::F_WRLCK as _, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    nix::fcntl::fcntl(&held, nix::fcntl::FcntlArg::F_SETLK(&whole)).expect("locked");
    let mut command = called(&sv, "s6-setlock");
    command.args(["-t", &LIMIT.as_millis().to_string()]).arg(&path).args(["echo", "locked"]);
    let begin = Instant::now();
    let waiter = sv.spawn(command);
    stopped_beyond_its_limit(&waiter, libc::SYS_fcntl, begin, || drop(held));
    assert_eq!(waiter.wait_end(SOON), Ending::Code(0), "{}", waiter.stderr());
    assert_eq!(waiter.stdout(), "locked\n");
}

#[test]
fn a_limit_is_not_longer_for_who_was_stopped_in_it() {
    let sv = SvDir::new();
    let path = sv.root().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).expect("a number")).expect("listens");
    let _first = UnixStream::connect(&path).expect("the one that there is room for");
    let mut command = Command::new(onit());
    command.args(["probe", "-t", &format!("{}s", LIMIT.as_secs()), "unix"]).arg(&path);
    let begin = Instant::now();
    let probe = sv.spawn(command);
    waits_in(&probe, libc::SYS_connect);
    send(probe.pid(), Signal::SIGSTOP);
    let most = LIMIT - Duration::from_millis(500);
    wait_for("most of the limit", SOON, || (begin.elapsed() > most).then_some(()));
    send(probe.pid(), Signal::SIGCONT);
    assert_eq!(probe.wait_end(SOON), Ending::Code(1), "{}", probe.stderr());
    assert!(begin.elapsed() < most + LIMIT, "it began anew");
}
