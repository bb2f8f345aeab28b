//! The library, against every supervisor that it claims to drive, the real ones and ours: one life for all of them.

use std::collections::HashSet;
use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal as Posix;
use onit::client::{
    Change, Deadline, ErrorKind, Exit, Format, Kind, Manager, Operation, Phase, Result, Service, ServiceState, Signal,
    Status, Until, Want, Watch,
};

use onit::service_dir::{Finding, ServiceBuilder, ServiceDir};

use crate::proc;
use crate::svdir::{self, SOON, Supervisor, SvDir, UnderTest, missing_tools, skip};

/// Says which signals it hears, and ends at TERM. One that comes just before it sleeps waits for its next turn.
const LISTENER: &str = r#"#!/usr/bin/perl
for my $name (qw(HUP INT ALRM QUIT USR1 USR2 WINCH ABRT)) {
    $SIG{$name} = sub { open(my $heard, ">>", "heard"); print $heard "$name\n" };
}
$SIG{TERM} = sub { exit 7 };
open(my $heard, ">>", "heard"); print $heard "up $$\n"; close $heard;
sleep 1 while 1;
"#;

/// Who supervises, and what is to be expected of it.
#[derive(Clone, Copy, Debug)]
struct Tool {
    words: &'static [&'static str],
    kind: Kind,
    /// It looks after a directory of services.
    scans: bool,
}

const ONIT: Tool = Tool { words: &["onit", "run"], kind: Kind::Onit, scans: true };
const RUNSVDIR: Tool = Tool { words: &["runsvdir", "-P"], kind: Kind::Runit, scans: true };
const RUNSV: Tool = Tool { words: &["runsv"], kind: Kind::Runit, scans: false };
const SVSCAN: Tool = Tool { words: &["svscan"], kind: Kind::Daemontools, scans: true };
const SUPERVISE: Tool = Tool { words: &["supervise"], kind: Kind::Daemontools, scans: false };
const S6_SVSCAN: Tool = Tool { words: &["s6-svscan"], kind: Kind::S6, scans: true };
const S6_SUPERVISE: Tool = Tool { words: &["s6-supervise"], kind: Kind::S6, scans: false };

impl Tool {
    /// What is not installed.
    fn missing(self) -> Option<String> {
        let runsv: &[&str] = match self.words[0] {
            "onit" => &["perl"],
            "runsvdir" => &["perl", "runsvdir", "runsv"],
            "svscan" => &["perl", "svscan", "supervise"],
            "s6-svscan" => &["perl", "s6-svscan", "s6-supervise"],
            _ => &["perl", self.words[0]],
        };
        missing_tools(runsv)
    }

    fn start(self, sv: &SvDir, service: &svdir::Service) -> Supervisor {
        let onit = svdir::onit();
        let program = if self.words[0] == "onit" { onit.to_str().expect("a printable path") } else { self.words[0] };
        let place = if self.scans { sv.path() } else { service.path().to_owned() };
        let rest = self.words[1..].iter().copied().chain([place.to_str().expect("a printable path")]);
        sv.spawn_words(&std::iter::once(program).chain(rest).collect::<Vec<_>>())
    }
}

#[track_caller]
fn done(result: Result<Option<Status>>) -> Status {
    result.unwrap_or_else(|error| panic!("{error}")).expect("a status")
}

#[track_caller]
fn kind_of<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("an error").kind()
}

fn pid(status: &Status) -> u32 {
    u32::try_from(status.pid.expect("a process").0).expect("a pid")
}

fn open(service: &svdir::Service) -> Service {
    Service::open(service.path()).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the status is such.
#[track_caller]
fn see(service: &Service, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut watch = Watch::new([service]).unwrap_or_else(|error| panic!("{error}"));
    let deadline = Deadline::after(SOON);
    loop {
        match watch.next_by(deadline).unwrap_or_else(|error| panic!("{error}")) {
            Some(Change { new: Some(status), .. }) if wanted(&status) => return status,
            Some(_) => {}
            None => panic!("{}: waited in vain for {what}: {:?}", service.path().display(), service.record()),
        }
    }
}

/// From before its supervisor comes until after it has gone.
fn a_whole_life(tool: Tool) {
    if let Some(why) = tool.missing() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let directory = sv.service("web").exec("run", LISTENER).down().create_atomically();
    let web = open(&directory);
    assert_eq!(kind_of(web.status()), ErrorKind::NoSupervisor);
    assert_eq!(kind_of(web.up()), ErrorKind::NoSupervisor);
    let _supervisor = tool.start(&sv, &directory);
    web.wait(Until::Supervised, SOON).unwrap_or_else(|error| panic!("{error}"));
    let status = done(web.wait(Until::Down, SOON));
    assert_eq!((status.state(), status.want, status.pid), (ServiceState::Down, Want::Down, None));
    assert_eq!(web.kind().expect("a status"), tool.kind);

    let up = done(web.perform(Operation::Up, SOON));
    assert_eq!((up.state(), up.want, up.phase), (ServiceState::Up, Want::Up, Phase::Run));
    assert!(proc::is_alive(pid(&up)));
    assert!(up.since >= status.since && up.uptime(std::time::SystemTime::now()) < SOON, "{up:?}");
    assert_eq!(up.ready, (tool.kind == Kind::S6).then_some(false));
    listens(&directory, &up);
    every_signal(tool.kind, &web, &directory);
    assert_eq!(web.status().expect("a status").pid, up.pid, "it lives still");
    pause_and_continue(&web);

    let again = done(web.perform(Operation::Restart, SOON));
    assert_ne!(again.pid, up.pid);
    assert!(!proc::is_alive(pid(&up)));
    listens(&directory, &again);
    web.kill().expect("KILL");
    let crashed = done(web.wait(Until::Restarted(Some(again)), SOON));
    assert_ne!(crashed.pid, again.pid);
    if tool.kind == Kind::S6 {
        assert_eq!(crashed.last_exit, Some(Exit::Signal { signal: Signal::KILL, core: false }));
    }
    listens(&directory, &crashed);
    web.once().expect("once");
    let once = if tool.kind == Kind::Daemontools { Want::Once } else { Want::Down };
    see(&web, "once", |status| status.want == once);
    web.term().expect("TERM");
    let down = done(web.wait(Until::Down, SOON));
    assert_eq!((down.state(), down.want), (ServiceState::Down, once));
    assert_eq!(down.last_exit, (tool.kind == Kind::S6).then_some(Exit::Code(7)));
    listens(&directory, &done(web.perform(Operation::Once, SOON)));
    let down = done(web.perform(Operation::Down, SOON));
    assert_eq!((down.state(), down.want), (ServiceState::Down, Want::Down));
    let last = done(web.perform(Operation::Up, SOON));
    listens(&directory, &last);
    assert!(web.perform(Operation::Exit, SOON).unwrap_or_else(|error| panic!("{error}")).is_none());
    assert!(!proc::is_alive(pid(&last)));
    if !tool.scans {
        assert_eq!(kind_of(web.wait(Until::Up, SOON)), ErrorKind::NoSupervisor);
        assert_eq!(kind_of(web.status()), ErrorKind::NoSupervisor);
        assert_eq!(web.record().expect("a record").phase, Phase::Down);
    }
}

/// Waits until the listener of this life has said that it listens.
#[track_caller]
fn listens(directory: &svdir::Service, life: &Status) {
    let line = format!("up {}\n", pid(life));
    directory.wait_text("heard", |heard| heard.ends_with(&line));
}

fn every_signal(kind: Kind, web: &Service, directory: &svdir::Service) {
    type Send = fn(&Service) -> Result<()>;
    let everywhere: [(&str, Send); 3] = [("HUP", Service::hup), ("INT", Service::int), ("ALRM", Service::alrm)];
    let not_daemontools: [(&str, Send); 3] =
        [("QUIT", Service::quit), ("USR1", Service::usr1), ("USR2", Service::usr2)];
    let not_runit: [(&str, Send); 2] = [("WINCH", Service::winch), ("ABRT", Service::abrt)];
    let sends = |signals: &[(&str, Send)], understood: bool| {
        for (name, send) in signals {
            let sent = send(web);
            if understood {
                sent.unwrap_or_else(|error| panic!("{error}"));
                directory.wait_text("heard", |heard| heard.ends_with(&format!("{name}\n")));
            } else {
                let error = sent.expect_err("not understood");
                assert_eq!(error.kind(), ErrorKind::NoSuchCommand(kind));
                let path = web.path().display();
                assert_eq!(error.to_string(), format!("{path}: cannot send {name}: {kind} knows no such command"));
            }
        }
    };
    sends(&everywhere, true);
    sends(&not_daemontools, kind != Kind::Daemontools);
    sends(&not_runit, matches!(kind, Kind::Onit | Kind::S6));
    assert_eq!(kind_of(web.signal(Signal(libc::SIGURG))), ErrorKind::NoSuchCommand(kind));
}

fn pause_and_continue(web: &Service) {
    let stopped = |status: &Status| proc::Glimpse::of(pid(status)).is_some_and(|seen| seen.is_stopped());
    web.pause().expect("pause");
    let status = see(web, "the pause", |status| status.paused);
    svdir::wait_for("the process to stop", SOON, || stopped(&status).then_some(()));
    web.cont().expect("cont");
    let status = see(web, "the end of the pause", |status| !status.paused);
    svdir::wait_for("the process to go on", SOON, || (!stopped(&status)).then_some(()));
}

#[test]
fn a_life_under_onit() {
    a_whole_life(ONIT);
}

#[test]
fn a_life_under_runsv() {
    a_whole_life(RUNSV);
}

#[test]
fn a_life_under_runsvdir() {
    a_whole_life(RUNSVDIR);
}

#[test]
fn a_life_under_supervise() {
    a_whole_life(SUPERVISE);
}

#[test]
fn a_life_under_svscan() {
    a_whole_life(SVSCAN);
}

#[test]
fn a_life_under_s6_supervise() {
    a_whole_life(S6_SUPERVISE);
}

#[test]
fn a_life_under_s6_svscan() {
    a_whole_life(S6_SVSCAN);
}

// ---------------------------------------------------------------------------------------------------------------------
// Watching
// ---------------------------------------------------------------------------------------------------------------------

/// A watch whose changes follow on one another.
struct Witness {
    watch: Watch,
    last: Option<Status>,
    deadline: Deadline,
}

impl Witness {
    #[track_caller]
    fn of(service: &Service) -> Witness {
        let watch = Watch::new([service]).unwrap_or_else(|error| panic!("{error}"));
        Witness { watch, last: None, deadline: Deadline::after(SOON) }
    }

    /// The next change, whatever it is.
    #[track_caller]
    fn next(&mut self, what: &str) -> Option<Status> {
        let change = self.watch.next_by(self.deadline).unwrap_or_else(|error| panic!("{error}"));
        let change = change.unwrap_or_else(|| panic!("waited in vain for {what}; last told: {:?}", self.last));
        assert_eq!(change.old, self.last, "a change begins where the last one ended");
        assert_ne!(change.old, change.new, "a change changes something");
        self.last = change.new;
        change.new
    }

    /// Reads on until such a status is told.
    #[track_caller]
    fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        loop {
            if let Some(status) = self.next(what).filter(&wanted) {
                return status;
            }
        }
    }

    /// Reads on until it is told that there is no supervisor.
    #[track_caller]
    fn until_gone(&mut self) {
        while self.next("the end of the supervisor").is_some() {}
    }
}

/// Every step takes until it was seen.
fn each_step_is_told(tool: Tool) {
    if let Some(why) = tool.missing() {
        skip!("{why}");
    }
    let finishes = tool.kind != Kind::Daemontools;
    let sv = SvDir::new();
    let slow = LISTENER.replace("exit 7", "select(undef, undef, undef, 0.02) until -e 'end'; exit 7");
    let directory = sv.service("web").exec("run", &slow).finish("until [ -e over ]; do sleep 0.02; done");
    let directory = directory.file("timeout-finish", "0\n").down().create_atomically();
    let web = open(&directory);
    let mut witness = Witness::of(&web);
    assert_eq!(witness.watch.try_next().expect("a look"), None, "there is no supervisor yet");
    let _supervisor = tool.start(&sv, &directory);
    witness.until("down", |status| (status.phase, status.want) == (Phase::Down, Want::Down));
    web.up().expect("up");
    let up = witness.until("up", |status| (status.phase, status.want) == (Phase::Run, Want::Up));
    listens(&directory, &up);
    web.pause().expect("pause");
    witness.until("paused", |status| status.paused && status.pid == up.pid);
    web.cont().expect("cont");
    witness.until("continued", |status| !status.paused && status.pid == up.pid);
    web.down().expect("down");
    let stopping = |status: &Status| (status.phase, status.want, status.pid) == (Phase::Run, Want::Down, up.pid);
    let ending = witness.until("stopping", stopping);
    if tool.words[0] == "onit" || tool.kind == Kind::Runit {
        assert!(ending.got_term || witness.until("got TERM", |status| status.got_term).phase == Phase::Run);
    }
    directory.write("end", "");
    if finishes {
        let finish = witness.until("finish", |status| status.phase == Phase::Finish && status.pid.is_some());
        assert_ne!(finish.pid, up.pid);
        directory.write("over", "");
    }
    let down = witness.until("down", |status| status.phase == Phase::Down && status.pid.is_none());
    assert!(down.since > up.since);
    web.exit().expect("exit");
    witness.until_gone();
}

#[test]
fn each_step_is_told_under_onit() {
    each_step_is_told(ONIT);
}

#[test]
fn each_step_is_told_under_runsv() {
    each_step_is_told(RUNSV);
}

#[test]
fn each_step_is_told_under_supervise() {
    each_step_is_told(SUPERVISE);
}

#[test]
fn each_step_is_told_under_s6_supervise() {
    each_step_is_told(S6_SUPERVISE);
}

/// Nobody writes a status when a supervisor is killed.
fn a_dead_supervisor_is_noticed(tool: Tool) {
    if let Some(why) = tool.missing() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let directory = sv.service("web").exec("run", LISTENER).create_atomically();
    let web = open(&directory);
    let mut witness = Witness::of(&web);
    for _ in 0..2 {
        let supervisor = tool.start(&sv, &directory);
        let up = witness.until("up", |status| status.phase == Phase::Run);
        listens(&directory, &up);
        let waiting = std::thread::spawn({
            let web = web.clone();
            move || (web.wait(Until::Down, SOON), web.wait(Until::Gone, SOON))
        });
        // It waits where we may look for it, so it has seen the living supervisor.
        let asleep = || web.status().is_ok().then_some(());
        svdir::wait_for("a status", SOON, asleep);
        supervisor.signal(Posix::SIGKILL);
        witness.until_gone();
        let (down, gone) = waiting.join().expect("no panic");
        assert_eq!(kind_of(down), ErrorKind::NoSupervisor);
        assert_eq!(gone, Ok(None));
        assert_eq!(web.record().expect("a record").pid, up.pid, "nobody has written that it ended");
        assert_eq!(kind_of(web.status()), ErrorKind::NoSupervisor);
        supervisor.wait_end(SOON);
        svdir::send(pid(&up), Posix::SIGKILL);
        fs::write(directory.path().join("heard"), "").expect("write");
    }
}

#[test]
fn a_dead_onit_is_noticed() {
    a_dead_supervisor_is_noticed(ONIT);
}

#[test]
fn a_dead_runsv_is_noticed() {
    a_dead_supervisor_is_noticed(RUNSV);
}

#[test]
fn a_dead_supervise_is_noticed() {
    a_dead_supervisor_is_noticed(SUPERVISE);
}

#[test]
fn a_dead_s6_supervise_is_noticed() {
    a_dead_supervisor_is_noticed(S6_SUPERVISE);
}

#[test]
fn supervise_may_go_and_come_and_lead_elsewhere() {
    for tool in [ONIT, RUNSV, SUPERVISE, S6_SUPERVISE] {
        if let Some(why) = tool.missing() {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let directory = sv.service("web").exec("run", LISTENER).down().create_atomically();
        let web = open(&directory);
        let supervise = directory.path().join("supervise");
        let mut witness = Witness::of(&web);
        let life = |witness: &mut Witness| {
            let supervisor = tool.start(&sv, &directory);
            witness.until("down", |status| status.phase == Phase::Down);
            supervisor.signal(Posix::SIGKILL);
            witness.until_gone();
            supervisor.wait_end(SOON);
        };
        life(&mut witness);
        life(&mut witness); // nothing is made anew
        fs::remove_dir_all(&supervise).expect("supervise goes");
        life(&mut witness);
        fs::remove_dir_all(&supervise).expect("supervise goes");
        let state = sv.root().join("state");
        std::os::unix::fs::symlink(state.join("web"), &supervise).expect("a link that leads nowhere");
        fs::create_dir(&state).expect("its parent comes later");
        life(&mut witness); // which makes the directory that the link leads to
        assert!(state.join("web/status").exists());
    }
}

#[test]
fn a_directory_may_get_another_kind_of_supervisor() {
    let sv = SvDir::new();
    let directory = sv.service("web").exec("run", LISTENER).down().create_atomically();
    let web = open(&directory);
    let mut witness = Witness::of(&web);
    for tool in [RUNSV, S6_SUPERVISE, SUPERVISE, ONIT, S6_SUPERVISE, RUNSV] {
        if let Some(why) = tool.missing() {
            skip!("{why}");
        }
        let supervisor = tool.start(&sv, &directory);
        witness.until("down", |status| status.phase == Phase::Down);
        assert_eq!(web.kind(), Ok(tool.kind));
        listens(&directory, &done(web.perform(Operation::Up, SOON)));
        done(web.perform(Operation::Down, SOON));
        supervisor.signal(Posix::SIGKILL);
        witness.until_gone();
        assert_eq!(web.is_supervised(), Ok(false));
        supervisor.wait_end(SOON);
    }
}

#[test]
fn a_service_may_be_another_one_from_now_on() {
    if let Some(why) = RUNSV.missing() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let [blue, green] =
        ["blue", "green"].map(|name| sv.service_at(sv.root().join(name)).run("exec sleep 1000").create());
    let link = sv.path().join("web");
    std::os::unix::fs::symlink(blue.path(), &link).expect("a link");
    let web = Service::open(&link).expect("a service");
    let _supervisors = [RUNSV.start(&sv, &blue), RUNSV.start(&sv, &green)];
    let pids = [&blue, &green].map(|service| service.wait_up());
    let mut witness = Witness::of(&web);
    assert_eq!(pid(&witness.next("blue").expect("a status")), pids[0]);
    let fresh = sv.root().join("fresh");
    std::os::unix::fs::symlink(green.path(), &fresh).expect("a link");
    fs::rename(&fresh, &link).expect("in one step");
    assert_eq!(pid(&witness.until("green", |status| pid(status) != pids[0])), pids[1]);
    fs::remove_file(&link).expect("it goes");
    witness.until_gone();
    assert_eq!(kind_of(web.status()), ErrorKind::NoService);
    std::os::unix::fs::symlink(blue.path(), &link).expect("a link");
    assert_eq!(pid(&witness.next("blue again").expect("a status")), pids[0]);
}

#[test]
fn a_watch_stands_in_anybodys_poll_loop_and_is_quiet_there() {
    let sv = SvDir::new();
    let directories = ["a", "b"].map(|name| sv.service(name).run("exec sleep 1000").create());
    let services = directories.each_ref().map(open);
    let first = sv.start(UnderTest::Onit);
    for directory in &directories {
        directory.wait_up();
    }
    first.signal(Posix::SIGKILL);
    for service in &services {
        service.wait(Until::Gone, SOON).unwrap_or_else(|error| panic!("{error}"));
    }
    let mut watch = Watch::new(&services).expect("a watch");
    assert_eq!(watch.try_next().expect("a look"), None);
    let _second = sv.start(UnderTest::Onit);
    let has_input = |watch: &Watch, millis: u16| {
        use nix::poll::{PollFd, PollFlags, poll};
        poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], millis).expect("poll") == 1
    };
    let mut told = [None, None];
    let is_so = |told: &[Option<Status>; 2]| {
        let runs = |status: &Option<Status>| status.is_some_and(|status| status.phase == Phase::Run);
        told.iter().all(runs) && *told == services.each_ref().map(|service| service.status().ok())
    };
    while !is_so(&told) || has_input(&watch, 50) {
        assert!(has_input(&watch, 20_000), "the descriptor tells");
        while let Some(change) = watch.try_next().expect("a look") {
            let at = services.iter().position(|service| *service == change.service).expect("one of them");
            assert_eq!(change.old, told[at]);
            told[at] = change.new;
        }
    }
    for _ in 0..20 {
        assert!(services[0].is_supervised().expect("a look") && services[0].record().is_ok());
    }
    assert!(!has_input(&watch, 100), "who looks is no news");
    services[1].term().expect("TERM");
    let (before, mut another) = (told[1].and_then(|status| status.pid), None);
    while another.is_none() {
        assert!(has_input(&watch, 20_000), "the descriptor tells");
        while let Some(change) = watch.try_next().expect("a look") {
            assert_eq!(change.service, services[1]);
            another = change.new.and_then(|status| status.pid).filter(|pid| Some(*pid) != before);
        }
    }
    watch.remove(&services[1]);
    services[1].term().expect("TERM");
    directories[1].wait_other(another.expect("a process").0 as u32);
    assert_eq!(watch.try_next().expect("a look"), None, "it is watched no more");
}

#[test]
fn who_waits_does_nothing_meanwhile() {
    let sv = SvDir::new();
    let directory = sv.service("web").run("exec sleep 1000").down().create();
    let _onit = sv.start(UnderTest::Onit);
    directory.wait_down();
    let web = open(&directory);
    let (tell, told) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw().cast_unsigned()).expect("told");
        web.wait(Until::Up, SOON)
    });
    let thread = told.recv().expect("told");
    let glimpse = || proc::Glimpse::of(thread).expect("a thread");
    let sleeps = || proc::syscall(thread).filter(|call| [libc::SYS_epoll_wait, libc::SYS_epoll_pwait].contains(call));
    svdir::wait_for("it to wait", SOON, sleeps);
    // What has just happened may still be told; one that looks again and again does so within any half second.
    svdir::wait_for("rest", SOON, || {
        let before = glimpse().switches;
        std::thread::sleep(Duration::from_millis(500));
        (glimpse().switches == before).then_some(())
    });
    directory.order(b"u");
    done(waiting.join().expect("no panic"));
}

// ---------------------------------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn errors_tell_what_where_and_why() {
    let sv = SvDir::new();
    let directory = sv.service("web").run("exec sleep 1000").down().create();
    let web = open(&directory);
    let path = directory.path().display().to_string();
    let line = |result: Result<()>, kind: ErrorKind, line: &str| {
        let error = result.expect_err(line);
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.to_string(), line.replace("PATH", &path));
    };
    let none = Service::open(sv.path().join("none")).expect_err("no service");
    assert_eq!(none.kind(), ErrorKind::NoService);
    assert_eq!(none.to_string(), format!("{}/none: cannot open it: no such service", sv.path().display()));
    let file = Service::open(directory.path().join("run")).expect_err("a file");
    assert_eq!(file.kind(), ErrorKind::NoService);
    line(web.term(), ErrorKind::NoSupervisor, "PATH: cannot send TERM: no supervisor");
    line(web.status().map(drop), ErrorKind::NoSupervisor, "PATH: cannot read its status: no supervisor");
    line(web.record().map(drop), ErrorKind::NoSupervisor, "PATH: cannot read its status: no supervisor");
    let waited = web.wait(Until::Up, SOON).map(drop);
    line(waited, ErrorKind::NoSupervisor, "PATH: cannot wait until it is up: no supervisor");
    let up = web.perform(Operation::Up, SOON).map(drop);
    line(up, ErrorKind::NoSupervisor, "PATH: cannot send up: no supervisor");
    assert_eq!(web.wait(Until::Gone, SOON), Ok(None));

    let onit = sv.start(UnderTest::Onit);
    directory.wait_down();
    let short = Duration::from_millis(20);
    line(web.wait(Until::Up, short).map(drop), ErrorKind::TimedOut, "PATH: cannot wait until it is up: timed out");
    let gone = web.wait(Until::Gone, short).map(drop);
    line(gone, ErrorKind::TimedOut, "PATH: cannot wait until its supervisor is gone: timed out");
    let ready = web.wait(Until::Ready, short).map(drop);
    line(ready, ErrorKind::TimedOut, "PATH: cannot wait until it is ready: timed out");
    onit.signal(Posix::SIGKILL);
    web.wait(Until::Gone, SOON).expect("gone");

    let read = fs::OpenOptions::new().read(true).write(true).open(directory.path().join("supervise/ok")).expect("ok");
    directory.write("supervise/status", "garbage");
    let why = "PATH: cannot read its status: supervise/status: 7 bytes are no status record";
    line(web.status().map(drop), ErrorKind::BadRecord(onit::client::Bad::Length(7)), why);
    drop(read);
    fs::remove_dir_all(directory.path()).expect("it goes");
    line(web.up(), ErrorKind::NoService, "PATH: cannot send up: no such service");
    line(web.status().map(drop), ErrorKind::NoService, "PATH: cannot read its status: no such service");
    let waited = web.wait(Until::Up, SOON).map(drop);
    line(waited, ErrorKind::NoService, "PATH: cannot wait until it is up: no such service");
}

/// What `look` finds as a user who owns nothing here. The user of files belongs to the thread.
fn as_stranger<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        nix::unistd::setfsgid(nix::unistd::Gid::from_raw(65534));
        look()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn who_may_not_is_told_so_and_who_may_only_read_can_watch() {
    use std::os::unix::fs::PermissionsExt;
    if !svdir::is_root() {
        skip!("needs root, to be somebody else");
    }
    for tool in [ONIT, RUNSV, SUPERVISE, S6_SUPERVISE] {
        if let Some(why) = tool.missing() {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let chmod = |path: &std::path::Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        let directory = sv.service("web").exec("run", LISTENER).down().create_atomically();
        let supervisor = tool.start(&sv, &directory);
        let web = open(&directory);
        done(web.wait(Until::Supervised, SOON));
        done(web.wait(Until::Down, SOON));
        let path = directory.path().to_owned();
        chmod(sv.root(), 0o700);
        let closed = as_stranger(move || kind_of(Service::open(path)));
        assert_eq!(closed, ErrorKind::NotPermitted, "its parent is closed to all");

        chmod(sv.root(), 0o755);
        let (strange, path) = (web.clone(), directory.path().display().to_string());
        as_stranger(move || {
            for (kind, error) in [
                ("control", strange.up().expect_err("not permitted")),
                ("ok", strange.is_supervised().map(drop).expect_err("not permitted")),
            ] {
                assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error}");
                let doing = if kind == "control" { "send up" } else { "look for a supervisor" };
                assert_eq!(error.to_string(), format!("{path}: cannot {doing}: supervise/{kind}: not permitted"));
            }
            assert_eq!(kind_of(strange.status()), ErrorKind::NotPermitted);
            assert_eq!(kind_of(strange.wait(Until::Down, SOON)), ErrorKind::NotPermitted);
        });

        for mode in [0o755, 0o711] {
            chmod(&directory.path().join("supervise"), mode);
            let (strange, other) = (web.clone(), web.clone());
            let (tell, told) = std::sync::mpsc::channel();
            let watching = std::thread::spawn(move || {
                as_stranger(move || {
                    let mut witness = Witness::of(&strange);
                    witness.until("down", |status| status.phase == Phase::Down);
                    tell.send(()).expect("told");
                    witness.until("up", |status| status.phase == Phase::Run);
                    tell.send(()).expect("told");
                    witness.until("down", |status| status.phase == Phase::Down && status.want == Want::Down);
                    assert_eq!(kind_of(strange.down()), ErrorKind::NotPermitted);
                })
            });
            told.recv().expect("it watches");
            listens(&directory, &done(other.perform(Operation::Up, SOON)));
            told.recv().expect("it has seen that");
            done(other.perform(Operation::Down, SOON));
            watching.join().expect("seen by somebody who may only read");
        }
        drop(supervisor);
    }
}

#[test]
fn readiness_is_seen_where_s6_records_it() {
    if let Some(why) = S6_SUPERVISE.missing() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let quiet = sv.service("quiet").run("exec sleep 1000").create_atomically();
    let ready = sv
        .service("ready")
        .run("mkfifo go; read line <go; echo >&3; exec sleep 1000")
        .file("notification-fd", "3")
        .create_atomically();
    let _supervisors = [S6_SUPERVISE.start(&sv, &quiet), S6_SUPERVISE.start(&sv, &ready)];
    let services = [open(&quiet), open(&ready)];
    for service in &services {
        service.wait(Until::Supervised, SOON).expect("supervised");
        assert_eq!(done(service.wait(Until::Up, SOON)).ready, Some(false));
    }
    let error = services[0].wait(Until::Ready, SOON).expect_err("it cannot tell");
    assert_eq!(error.kind(), ErrorKind::NoReadiness(Kind::S6));
    assert!(error.to_string().ends_with("cannot wait until it is ready: it has no notification-fd"), "{error}");
    assert_eq!(kind_of(services[1].wait(Until::Ready, Duration::from_millis(50))), ErrorKind::TimedOut);
    svdir::wait_for("the FIFO", SOON, || ready.path().join("go").exists().then_some(()));
    ready.write("go", "now\n");
    assert_eq!(done(services[1].wait(Until::Ready, SOON)).ready, Some(true));
}

#[test]
fn under_onit_who_is_up_is_ready_when_its_check_says_so() {
    let sv = SvDir::new();
    let plain = sv.service("plain").run("exec sleep 1000").create();
    let checked = sv.service("checked").run("exec sleep 1000").script("check", "exec test -e open").create();
    let broken = sv.service("broken").run("exec sleep 1000").file("check", "no program\n").create();
    let _onit = sv.start(UnderTest::Onit);
    for service in [&plain, &checked, &broken] {
        service.wait_up();
    }
    assert_eq!(done(open(&plain).wait(Until::Ready, SOON)).phase, Phase::Run);
    let web = open(&checked);
    assert_eq!(kind_of(web.wait(Until::Ready, Duration::from_millis(50))), ErrorKind::TimedOut);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Manager::new([web.clone(), open(&plain)]).wait(Until::Ready, SOON));
        checked.write("open", "");
        let outcomes = waiting.join().expect("outcomes");
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    });
    web.perform(Operation::Down, SOON).expect("down");
    assert_eq!(kind_of(web.wait(Until::Ready, Duration::from_millis(50))), ErrorKind::TimedOut, "it is not up");
    let error = open(&broken).wait(Until::Ready, SOON).expect_err("it cannot be executed");
    assert_eq!(error.kind(), ErrorKind::NotPermitted);
    assert!(error.to_string().ends_with("cannot wait until it is ready: ./check: not permitted"), "{error}");
}

#[test]
fn readiness_is_no_word_of_runsv() {
    if let Some(why) = RUNSV.missing() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let directory = sv.service("web").run("exec sleep 1000").create();
    let _runsv = RUNSV.start(&sv, &directory);
    directory.wait_up();
    let error = open(&directory).wait(Until::Ready, SOON).expect_err("it cannot tell");
    assert_eq!(error.kind(), ErrorKind::NoReadiness(Kind::Runit));
    assert!(error.to_string().ends_with("cannot wait until it is ready: runit does not record readiness"), "{error}");
}

#[cfg(feature = "serde")]
#[test]
fn what_the_library_tells_goes_through_json_and_back() {
    fn there_and_back<T>(value: &T, text: &str)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let written = serde_json::to_string(value).expect("it is written");
        assert!(text.is_empty() || written == text, "{written}");
        assert_eq!(&serde_json::from_str::<T>(&written).expect("it is read"), value);
    }
    there_and_back(&Kind::Encore, "\"daemontools-encore\"");
    there_and_back(&onit::client::api::Order::Restart, "\"restart\"");
    there_and_back(&Until::Ready, "");
    there_and_back(&Operation::Wait(Until::Down), "");
    let sv = SvDir::new();
    let directory = sv.service("web").run("exec sleep 1000").create();
    let _onit = sv.start(UnderTest::Onit);
    directory.wait_up();
    there_and_back(&open(&directory).status().expect("a status"), "");
    assert!(serde_json::from_str::<Kind>("\"systemv\"").is_err());
}

#[test]
fn onit_called_as_another_is_another() {
    for (name, kind, winch) in [("runsv", Kind::Runit, false), ("supervise", Kind::Daemontools, false)] {
        let sv = SvDir::new();
        let directory = sv.service("web").run("exec sleep 1000").create();
        let _supervisor = sv.start_on(UnderTest::OnitAs(name), &directory);
        directory.wait_up();
        let web = open(&directory);
        assert_eq!(web.kind(), Ok(kind));
        assert_eq!(web.winch().is_ok(), winch, "{name}");
    }
}

#[test]
fn loggers_are_services_too() {
    let sv = SvDir::new();
    let directory = sv.service("web").run("exec sleep 1000").log("exec cat >/dev/null").create();
    let _onit = sv.start(UnderTest::Onit);
    directory.wait_up();
    let pid_of_log = directory.logger().wait_up();
    let web = open(&directory);
    let log = web.logger().expect("a logger");
    assert_eq!(log.name(), "log");
    assert_eq!(log.logger(), None);
    assert_ne!(pid(&done(log.perform(Operation::Restart, SOON))), pid_of_log);
    assert_eq!(Service::all_in(sv.path()), Ok(vec![web]));
}

// ---------------------------------------------------------------------------------------------------------------------
// Many at once
// ---------------------------------------------------------------------------------------------------------------------

fn fifty(tool: Tool) {
    if let Some(why) = tool.missing() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let names: Vec<String> = (0..50).map(|number| format!("s{number:02}")).collect();
    let directories: Vec<_> =
        names.iter().map(|name| sv.service(name).run("exec sleep 1000").down().create_atomically()).collect();
    let _supervisor = tool.start(&sv, &directories[0]);
    let services = Service::all_in(sv.path()).expect("services");
    assert_eq!(services.iter().map(|service| service.name().to_str()).collect::<Vec<_>>(), {
        names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>()
    });
    let manager = Manager::new(services).at_once(8);
    let all = |what: &str, outcomes: Vec<onit::client::Outcome>| -> Vec<Option<Status>> {
        let services = outcomes.iter().map(|outcome| outcome.service.clone()).collect::<Vec<_>>();
        assert_eq!(services, manager.services(), "{what}");
        outcomes.into_iter().map(|it| it.result.unwrap_or_else(|error| panic!("{what}: {error}"))).collect()
    };
    let pids = |statuses: Vec<Option<Status>>| statuses.iter().flatten().map(pid).collect::<Vec<_>>();
    let patience = SOON * 3;
    all("supervised", manager.wait(Until::Supervised, patience));
    let first = pids(all("up", manager.up(patience)));
    assert!(first.len() == 50 && first.iter().all(|pid| proc::is_alive(*pid)));
    let second = pids(all("restart", manager.restart(patience)));
    assert!(second.len() == 50 && first.iter().zip(&second).all(|(old, new)| old != new));
    assert_eq!(pids(all("status", manager.status())), second);
    let down = all("down", manager.down(patience));
    assert!(down.iter().flatten().all(|status| status.state() == ServiceState::Down));
    assert!(first.iter().chain(&second).all(|pid| !proc::is_alive(*pid)));
}

#[test]
fn fifty_services_of_onit() {
    fifty(ONIT);
}

#[test]
fn fifty_services_of_runit() {
    fifty(RUNSVDIR);
}

#[test]
fn fifty_services_of_daemontools() {
    fifty(SVSCAN);
}

#[test]
fn fifty_services_of_s6() {
    fifty(S6_SVSCAN);
}

#[test]
fn one_trouble_is_one_outcome() {
    let sv = SvDir::new();
    let good = sv.service("good").run("exec sleep 1000").down().create();
    let stubborn = sv.service("stubborn").run("trap '' TERM; echo >deaf; while :; do sleep 1000; done").create();
    let stray = sv.service_at(sv.root().join("stray")).run("exec sleep 1000").create();
    let _onit = sv.start(UnderTest::Onit);
    good.wait_down();
    stubborn.wait_up();
    stubborn.wait_text("deaf", |text| text == "\n");
    let manager = Manager::new([&stubborn, &stray, &good].map(open));
    let results = |outcomes: Vec<onit::client::Outcome>| -> Vec<std::result::Result<Phase, ErrorKind>> {
        let phase = |status: Option<Status>| status.expect("a status").phase;
        outcomes.into_iter().map(|outcome| outcome.result.map(phase).map_err(|error| error.kind())).collect()
    };
    let up = results(manager.up(SOON));
    assert_eq!(up, [Ok(Phase::Run), Err(ErrorKind::NoSupervisor), Ok(Phase::Run)]);
    let down = results(manager.clone().at_once(2).down(Duration::from_secs(2)));
    assert_eq!(down, [Err(ErrorKind::TimedOut), Err(ErrorKind::NoSupervisor), Ok(Phase::Down)]);
    let waited = results(manager.at_once(1).wait(Until::Down, Duration::ZERO));
    assert_eq!(waited, down, "each is looked at, however little time there is");
}

#[test]
fn whose_turn_does_not_come_is_told_so_and_goes_on() {
    let sv = SvDir::new();
    let stubborn = sv.service("stubborn").run("trap '' TERM; echo >deaf; while :; do sleep 1000; done").create();
    let good = sv.service("good").run("exec sleep 1000").create();
    let _onit = sv.start(UnderTest::Onit);
    stubborn.wait_text("deaf", |text| text == "\n");
    let before = good.wait_up();
    let outcomes = Manager::new([&stubborn, &good].map(open)).at_once(1).down(Duration::from_millis(300));
    let errors: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.result.err()).collect();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let (stubborn, good) = (stubborn.path().display(), good.path().display());
    let late = format!("{stubborn}: cannot wait until it is down: timed out");
    assert_eq!(lines, [late, format!("{good}: cannot send down: its turn did not come in time")]);
    assert_eq!(errors[1].kind(), ErrorKind::NotItsTurn);
    assert_eq!(sv.existing("good").status().and_then(|status| status.pid()), Some(before), "it was sent nothing");
}

#[test]
fn no_more_than_asked_for_at_once() {
    let sv = SvDir::new();
    let directories = ["a", "b", "c", "d"].map(|name| {
        let stop = "trap 'sleep 0.2; exit 0' TERM; echo >ready; while :; do sleep 0.01; done";
        sv.service(name).run(stop).create()
    });
    let _onit = sv.start(UnderTest::Onit);
    for directory in &directories {
        directory.wait_text("ready", |text| text == "\n");
        directory.wait_up();
    }
    let manager = Manager::new(directories.each_ref().map(open)).at_once(1);
    let outcomes = manager.down(SOON);
    let ends: Vec<_> = outcomes.iter().map(|outcome| done(outcome.result.clone()).since).collect();
    for pair in ends.windows(2) {
        let between = pair[1].duration_since(pair[0]).expect("one after the other");
        assert!(between >= Duration::from_millis(200), "they were stopped at the same time: {between:?}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Threads, and limits
// ---------------------------------------------------------------------------------------------------------------------

const fn crosses_threads<T: Send + Sync + 'static>() {}

/// To be compiled is all that is asked of it.
const _: () = {
    use onit::client::{DevTree, Error, Outcome, Scanner, Unit, api::Api};
    crosses_threads::<(Service, Status, Watch, Change, Manager, Outcome, Operation)>();
    crosses_threads::<(Until, Deadline, Error, ErrorKind, DevTree, Scanner, Unit, Api)>();
    crosses_threads::<(ServiceBuilder, ServiceDir, onit::service_dir::Error, Finding)>();
};

/// Two watches, each in a thread of its own, see every service come and go while a third thread gives orders.
#[test]
fn threads_watch_what_another_one_does() {
    const MANY: usize = 200;
    let sv = SvDir::new();
    for number in 0..MANY {
        sv.service(&format!("s{number}")).run("exec sleep 1000").down().create();
    }
    let _onit = sv.start(UnderTest::Onit);
    let all = Service::all_in(sv.path()).expect("services");
    let manager = Manager::new(all.clone()).at_once(50);
    let okay = |outcomes: Vec<onit::client::Outcome>| outcomes.into_iter().for_each(|outcome| _ = done(outcome.result));
    okay(manager.wait(Until::Supervised, SOON));
    let (ready, up) = (std::sync::Barrier::new(3), std::sync::Barrier::new(3));
    let see_all = |watch: &mut Watch, state: ServiceState| {
        let (deadline, mut seen) = (Deadline::after(SOON), HashSet::new());
        while seen.len() < MANY {
            let change = watch.next_by(deadline).expect("a change").expect("it comes in time");
            if change.new.is_some_and(|status| status.state() == state) {
                seen.insert(change.service);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut watch = Watch::new(&all).expect("a watch");
                see_all(&mut watch, ServiceState::Down);
                ready.wait();
                see_all(&mut watch, ServiceState::Up);
                up.wait();
                see_all(&mut watch, ServiceState::Down);
            });
        }
        ready.wait();
        okay(manager.up(SOON));
        up.wait(); // before: who is slow to look would see both at once
        okay(manager.down(SOON));
    });
}

/// `limits` is for a user namespace, in which the words behind it are executed.
fn limited(limits: &str, words: &[&std::ffi::OsStr]) -> svdir::Output {
    let mut command = std::process::Command::new("unshare");
    let script = format!("echo {} || exit 9; exec \"$@\"", limits.replace('=', " >/proc/sys/user/"));
    command.args(["-Ur", "sh", "-c", &script, "sh"]).args(words).env("ONIT_RUN", "/nonexistent");
    svdir::output(command)
}

/// Who only waits looks again and again; who is to tell somebody else's loop cannot, and says why.
#[test]
fn without_inotify_what_can_be_done_is_done() {
    if limited("0=max_inotify_instances", &["true".as_ref()]).code != 0 {
        skip!("no user namespaces here");
    }
    let sv = SvDir::new();
    let services = ["a", "b", "c"].map(|name| sv.service(name).run("exec sleep 1000").create());
    let _onit = sv.start(UnderTest::Onit);
    let mut pids = services.each_ref().map(svdir::Service::wait_up);
    let example = |name: &str| svdir::onit().with_file_name("examples").join(name);
    let (manager, watch, onit) = (example("manager"), example("watch"), svdir::onit());
    let (directory, a) = (sv.path(), services[0].path());
    let instances = "the limit fs.inotify.max_user_instances, or of open files is reached";
    for (limits, why) in [
        ("0=max_inotify_instances", instances),
        ("0=max_inotify_watches", "the limit fs.inotify.max_user_watches is reached"),
        ("2=max_inotify_watches", "the limit fs.inotify.max_user_watches is reached"),
    ] {
        let said = limited(limits, &[manager.as_ref(), "restart".as_ref(), directory.as_ref()]);
        assert_eq!((said.code, said.stdout.as_str()), (0, "a: up\nb: up\nc: up\n"), "{limits}: {said:?}");
        let now = services.each_ref().map(svdir::Service::wait_up);
        assert!(now.iter().all(|pid| !pids.contains(pid)), "{limits}: {now:?}");
        let said = limited(limits, &[onit.as_ref(), "restart".as_ref(), a.as_ref()]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{limits}");
        assert_ne!(services[0].wait_up(), now[0]);
        pids = services.each_ref().map(svdir::Service::wait_up);
        let said = limited(limits, &[watch.as_ref(), directory.as_ref()]);
        let line = format!("{}: cannot watch it: {why}", a.display());
        assert!(said.code != 0 && said.stderr.contains(&line), "{limits}: {said:?}");
    }
}

#[test]
fn records_of_the_real_tools_that_the_fuzzer_begins_with() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/status");
    let mut seen = 0;
    for entry in fs::read_dir(corpus).expect("the corpus").flatten() {
        let name = entry.file_name().into_string().expect("a printable name");
        let Some((tool, state)) = name.split_once('-') else { continue }; // what the fuzzer has found has no dash
        let record = fs::read(entry.path()).expect("a record");
        let status = Status::decode(&record).unwrap_or_else(|bad| panic!("{name}: {bad}"));
        let format = match tool {
            "daemontools" => Format::Daemontools,
            "runit" => Format::Runit,
            "s6" => Format::S6,
            _ => panic!("{name}: whose record is that?"),
        };
        let phase = match state.split('-').next().expect("a word") {
            "down" => Phase::Down,
            "finish" => Phase::Finish,
            _ => Phase::Run,
        };
        assert_eq!((status.format, status.phase, status.paused), (format, phase, state == "paused"), "{name}");
        seen += 1;
    }
    assert!(seen >= 15, "{seen}");
}
