//! The library, against every supervisor that it claims to drive, the real ones and ours: one life for all of them.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal as Posix;
use onit::client::{
    Change, ErrorKind, Exit, Kind, Manager, Operation, Phase, Pid, Result, Service, Signal, Standing, Status, Until,
    Want, Watch,
};

use crate::procfs;
use crate::svdir::{self, SOON, Supervisor, SvDir, UnderTest, missing_tools, skip};

/// Says which signals it hears, and ends at TERM.
const LISTENER: &str = r#"#!/usr/bin/perl
for my $name (qw(HUP INT ALRM QUIT USR1 USR2 WINCH ABRT)) {
    $SIG{$name} = sub { open(my $heard, ">>", "heard"); print $heard "$name\n" };
}
$SIG{TERM} = sub { exit 7 };
open(my $heard, ">>", "heard"); print $heard "up\n"; close $heard;
sleep while 1;
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
    let deadline = onit::client::Deadline::after(SOON);
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
    assert_eq!((status.standing(), status.want, status.pid), (Standing::Down, Want::Down, None));
    assert_eq!(web.kind().expect("a status"), tool.kind);

    let up = done(web.perform(Operation::Up, SOON));
    assert_eq!((up.standing(), up.want, up.phase), (Standing::Up, Want::Up, Phase::Run));
    assert!(procfs::command_line(pid(&up)).contains("run"), "{}", procfs::command_line(pid(&up)));
    assert!(up.since >= status.since && up.uptime(std::time::SystemTime::now()) < SOON, "{up:?}");
    assert_eq!(up.ready, (tool.kind == Kind::S6).then_some(false));
    directory.wait_text("heard", |heard| heard == "up\n");
    every_signal(tool.kind, &web, &directory);
    assert_eq!(web.status().expect("a status").pid, up.pid, "it lives still");
    pause_and_continue(&web);

    let again = done(web.perform(Operation::Restart, SOON));
    assert_ne!(again.pid, up.pid);
    assert!(!procfs::is_alive(pid(&up)));
    web.kill().expect("KILL");
    let crashed = done(web.wait(Until::Restarted(Some(again)), SOON));
    assert_ne!(crashed.pid, again.pid);
    if tool.kind == Kind::S6 {
        assert_eq!(crashed.last_exit, Some(Exit::Signal { signal: Signal::KILL, core: false }));
    }
    web.once().expect("once");
    see(&web, "once", |status| status.want == if tool.kind == Kind::Daemontools { Want::Once } else { Want::Down });
    listens(&directory, &web);
    web.term().expect("TERM");
    let down = done(web.wait(Until::Down, SOON));
    assert_eq!(down.last_exit, (tool.kind == Kind::S6).then_some(Exit::Code(7)));
    let down = done(web.perform(Operation::Down, SOON));
    assert_eq!((down.standing(), down.want), (Standing::Down, Want::Down));
    done(web.perform(Operation::Once, SOON));
    assert!(web.perform(Operation::Exit, SOON).unwrap_or_else(|error| panic!("{error}")).is_none());
    if !tool.scans {
        assert_eq!(kind_of(web.wait(Until::Up, SOON)), ErrorKind::NoSupervisor);
        assert_eq!(kind_of(web.status()), ErrorKind::NoSupervisor);
        assert_eq!(web.record().expect("a record").phase, Phase::Down);
    }
}

/// Waits until the listener of this life has said that it listens.
fn listens(directory: &svdir::Service, web: &Service) {
    let starts = |text: &str| text.lines().filter(|line| *line == "up").count();
    let lives = 3; // up, restart, crash
    directory.wait_text("heard", |heard| starts(heard) >= lives);
    assert_eq!(web.status().expect("a status").phase, Phase::Run);
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
    let stopped = |status: &Status| procfs::Glimpse::of(pid(status)).is_some_and(|seen| seen.is_stopped());
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
