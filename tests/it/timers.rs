//! `onit every` and `onit at`: a job runs when it is due, never twice at a time, and ends with its timer.

use crate::proc;
use crate::restarts::told;
use crate::svdir::{Ending, SOON, Supervisor, SvDir, UnderTest, missing_tools, send, skip, wait_for};
use crate::verbs::{command, fails, start, well};
use nix::sys::signal::Signal;
use onit::wire::cron::Cron;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn timer(sv: &SvDir, words: &[&str]) -> Supervisor {
    sv.spawn(command(sv, words))
}

fn text(sv: &SvDir, name: &str) -> String {
    std::fs::read_to_string(sv.root().join(name)).unwrap_or_default()
}

fn wait_lines(timer: &Supervisor, sv: &SvDir, name: &str, count: usize) -> String {
    let lines = || Some(text(sv, name)).filter(|text| text.lines().count() >= count);
    timer.wait_for(&format!("{count} lines in {name}"), SOON, lines)
}

#[test]
fn a_job_that_takes_longer_than_its_period_never_runs_twice_at_a_time() {
    for catch_up in [false, true] {
        let sv = SvDir::new();
        let job = "[ ! -e runs ] || echo twice >>twice; touch runs; sleep .7; rm runs; echo ran >>ran";
        let mut words = vec!["every", "500ms", "--now"];
        if catch_up {
            words.push("--catch-up");
        }
        let timer = timer(&sv, &[&words[..], &["--", "sh", "-c", job]].concat());
        wait_lines(&timer, &sv, "ran", 3);
        let missed = timer.wait_said(&["onit: every: sh: missed ", "it ran longer than that"]);
        assert_eq!(missed.ends_with("; one run makes up for them"), catch_up, "{missed}");
        assert_eq!(text(&sv, "twice"), "");
        timer.wait_said(&["onit: every: sh: exit 0 after "]);
        timer.signal(Signal::SIGTERM);
        assert_eq!(timer.wait_end(SOON), Ending::Code(0));
    }
}

#[test]
fn term_ends_it_at_once_while_it_waits_and_with_the_job_while_that_runs() {
    let sv = SvDir::new();
    let waits = timer(&sv, &["every", "1h", "--", "true"]);
    wait_for("its mask", SOON, || proc::Glimpse::of(waits.pid()).filter(|it| it.blocked & 1 << 14 != 0));
    waits.signal(Signal::SIGTERM);
    assert_eq!((waits.wait_end(SOON), waits.stderr().as_str()), (Ending::Code(0), ""));

    let job =
        "trap 'echo told >>log; sleep .3; echo done >>log; exit 5' TERM; echo up >>log; while :; do sleep .05; done";
    let runs = timer(&sv, &["every", "1h", "--now", "--", "sh", "-c", job]);
    wait_lines(&runs, &sv, "log", 1);
    runs.signal(Signal::SIGTERM);
    assert_eq!(runs.wait_end(SOON), Ending::Code(0));
    assert_eq!(text(&sv, "log"), "up\ntold\ndone\n", "it waited for the job");
    runs.wait_said(&["onit: every: sh: exit 5 after "]);
}

#[test]
fn a_job_has_clean_signals_and_its_end_is_told() {
    let sv = SvDir::new();
    let job = "grep -E 'Sig(Blk|Ign)' /proc/self/status >>mask; echo \"$NOTIFY_SOCKET\" >>socket; kill -9 $$";
    let timer = timer(&sv, &["every", "1h", "--now", "-q", "--", "sh", "-c", job]);
    timer.wait_said(&["onit: every: sh: SIGKILL after "]);
    let mask = text(&sv, "mask");
    let sets: Vec<u64> =
        mask.lines().filter_map(|line| u64::from_str_radix(line.split('\t').nth(1)?, 16).ok()).collect();
    // The GNU C library lets no program that it starts have those that it keeps for its threads, 32 and 33.
    assert!(sets.len() == 2 && sets.iter().all(|set| set & !(3 << 31) == 0), "{mask}");
    assert_eq!(text(&sv, "socket"), "\n");
    timer.signal(Signal::SIGALRM);
    timer.wait_for("another run", SOON, || (timer.said(&["SIGKILL"]).len() == 2).then_some(()));
    let nothing = self::timer(&sv, &["every", "1h", "--now", "--", "/nothing/there"]);
    nothing.wait_said(&["onit: every: there: cannot be started: No such file or directory"]);
    assert_eq!(nothing.ended(), None, "it may be there the next time");
    let quiet = self::timer(&sv, &["every", "300ms", "-q", "--", "sh", "-c", "echo x >>quiet"]);
    wait_lines(&quiet, &sv, "quiet", 2);
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn as_a_service_it_says_how_its_jobs_end_and_when_the_next_one_is() {
    let sv = SvDir::new();
    let run = format!("exec {} every 1h --now -- sh -c 'exit 3'", crate::svdir::onit().display());
    sv.service("job").run(&run).file("readiness", "notify").create();
    let onit = start(&sv, UnderTest::Onit);
    well(&sv, &["wait", "ready", "job"]);
    let said = wait_for("its end", SOON, || {
        let said = told(&sv, "job")["status_text"].as_str().unwrap_or_default().to_owned();
        Some(said).filter(|said| said.contains("; last: exit 3 after ") && said.starts_with("next "))
    });
    assert!(well(&sv, &["status", "job"]).contains(&format!("says      {said}")));
    well(&sv, &["alrm", "job"]);
    onit.wait_for("another run", SOON, || (onit.said(&["onit: every: sh: exit 3"]).len() == 2).then_some(()));
    well(&sv, &["down", "job"]);
}

/// What the timer says first: when its first run is.
fn first(sv: &SvDir, zone: &str, line: &str) -> String {
    let path = sv.root().join("notify");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a limit");
    let mut words = command(sv, &["at", "--tz", zone, line, "--", "true"]);
    words.env("NOTIFY_SOCKET", &path);
    let _timer = sv.spawn(words);
    let mut room = [0; 1024];
    let length = socket.recv(&mut room).expect("what it says");
    String::from_utf8_lossy(&room[..length]).into_owned()
}

#[test]
fn a_line_of_a_crontab_is_read_in_its_time_zone() {
    let sv = SvDir::new();
    for zone in ["CET-1CEST,M3.5.0,M10.5.0/3", "UTC", "<+0545>-5:45"] {
        let said = first(&sv, zone, "59 3 29 2 *");
        assert!(
            said.starts_with("READY=1\nSTATUS=next 20") && said.contains("-02-29 03:59:00; last: has not run"),
            "{said}"
        );
    }
    fails(&sv, &["at", "61 * * * *", "--", "true"], 100, &["\"61\" is no minute (0-59"]);
    fails(&sv, &["at", "* * *", "--", "true"], 100, &["has 3 fields in place of five"]);
    fails(&sv, &["at", "* * * * *"], 100, &["which command?"]);
    fails(&sv, &["at", "--tz", "Europe/Nowhere", "* * * * *", "--", "true"], 100, &["there is no time zone"]);
    fails(&sv, &["every", "soon", "--", "true"], 100, &["\"soon\" is no time"]);
    fails(&sv, &["every", "5s", "--jitter", "5s", "--", "true"], 100, &["--jitter has to be less"]);
}

#[test]
fn a_job_runs_in_the_minute_in_which_it_is_due() {
    let sv = SvDir::new();
    let job = "date +%S >>at; echo \"$TZ\" >>zone";
    let timer = timer(&sv, &["at", "--tz", "CET-1CEST", "* * * * *", "--", "sh", "-c", job]);
    let deadline = SOON * 2; // most of a minute passes before it is due
    let second = timer.wait_for("its run", deadline, || Some(text(&sv, "at")).filter(|text| text.ends_with('\n')));
    assert!(second.trim().parse::<u32>().is_ok_and(|second| second < 50), "{second}");
    timer.wait_said(&["onit: at: sh: exit 0 after "]);
    assert_eq!(text(&sv, "zone"), "UTC0\n", "its own, as ever");
}

/// The next times as systemd has them, for what both can say.
#[test]
fn lines_of_crontabs_are_due_when_systemd_says_that_they_are() {
    if let Some(why) = missing_tools(&["systemd-analyze"]) {
        skip!("{why}");
    }
    let lines = [
        ("*/15 * * * *", "*-*-* *:0/15:00"),
        ("5,35 8-18/2 * * *", "*-*-* 8..18/2:5,35:00"),
        ("0 0 1 1 *", "*-1-1 00:00:00"),
        ("30 4 * * mon", "Mon *-*-* 04:30:00"),
        ("0 12 */10 6,12 *", "*-6,12-1/10 12:00:00"),
        ("59 23 29 2 *", "*-2-29 23:59:00"),
        ("0 6 * * 1-5", "Mon..Fri *-*-* 06:00:00"),
        ("@weekly", "Sun *-*-* 00:00:00"),
        ("17 3 31 * *", "*-*-31 03:17:00"),
    ];
    for (line, calendar) in lines {
        let cron: Cron = line.parse().unwrap_or_else(|bad| panic!("{line}: {bad}"));
        let mut command = Command::new("systemd-analyze");
        command.args(["calendar", "--iterations=5", "--base-time=2026-01-31 12:34:56 UTC", calendar]).env("TZ", "UTC");
        let said = crate::svdir::output(command);
        assert_eq!(said.code, 0, "{calendar}: {said:?}");
        let times = said.stdout.lines().filter(|line| line.contains("Next elapse:") || line.contains("Iter. #"));
        let theirs: Vec<i64> = times.map(seconds).collect();
        assert_eq!(theirs.len(), 5, "{said:?}");
        let mut at = seconds("Sat 2026-01-31 12:34:56 UTC");
        let ours: Vec<i64> = std::iter::from_fn(|| {
            at = cron.next(at, |_| 0)?;
            Some(at)
        })
        .take(5)
        .collect();
        assert_eq!(ours, theirs, "{line}, {calendar}");
    }
}

/// `… 2026-01-31 12:34:56 UTC`, after 1970.
fn seconds(line: &str) -> i64 {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = Command::new("date");
    command.args(["-u", "-d", &words[words.len() - 3..].join(" "), "+%s"]);
    crate::svdir::output(command).stdout.trim().parse().expect("seconds")
}

/// The next job is told, and so is the one that was due while the timer was stopped.
#[test]
fn what_came_due_while_nothing_could_run_is_told_as_missed() {
    let sv = SvDir::new();
    let timer = timer(&sv, &["every", "30s", "--jitter", "100ms", "--now", "--", "sh", "-c", "echo x >>ran"]);
    wait_lines(&timer, &sv, "ran", 1);
    timer.wait_said(&["exit 0"]);
    let pid = timer.pid();
    send(pid, Signal::SIGSTOP);
    wait_for("its stop", SOON, || proc::Glimpse::of(pid).filter(proc::Glimpse::is_stopped));
    let start = SystemTime::now();
    wait_for("35 seconds", SOON * 2, || start.elapsed().ok().filter(|span| *span > Duration::from_secs(35)));
    send(pid, Signal::SIGCONT);
    wait_lines(&timer, &sv, "ran", 2);
    timer.signal(Signal::SIGTERM);
    assert_eq!(timer.wait_end(SOON), Ending::Code(0));
}
