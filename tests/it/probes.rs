//! `check` and `health`: programs that are asked whether a service is ready, and whether it is well.

use crate::crash_and_upgrade::wait_idle;
use crate::proc;
use crate::restarts::{told, wait_state};
use crate::svdir::{Ending, SOON, Service, Supervisor, SvDir, UnderTest, as_many, missing_tools, send, skip, wait_for};
use crate::verbs::{fails, json, start, verb, well};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;

const SLEEPS: &str = "exec sleep 1000";
/// Notes that it was asked, and says what the file `says` says; 0 if there is none.
const SAYS: &str = "echo $$ >>asked; read code <says || exit 0; exit $code";
/// Notes its process and that of a child, neither of which heeds TERM, and takes for ever.
const HANGS: &str = "trap '' TERM; sleep 1001 & echo $! >>children; echo $$ >>asked; wait; wait";
const OFTEN: &str = "every=100ms timeout=10s retries=3";

fn asked(service: &Service) -> Vec<u32> {
    let pids = fs::read_to_string(service.path().join("asked")).unwrap_or_default();
    pids.lines().map(|pid| pid.parse().expect("a pid")).collect()
}

fn wait_asked(service: &Service, times: usize) -> u32 {
    wait_for("it is asked", SOON, || asked(service).get(times - 1).copied())
}

fn wait_health(sv: &SvDir, health: &str) -> Value {
    wait_for(health, SOON, || Some(told(sv, "web")).filter(|told| told["health"] == health))
}

fn wait_gone(pid: u32) {
    wait_for("its end", SOON, || (!proc::is_alive(pid)).then_some(()));
}

fn child(service: &Service) -> u32 {
    service
        .wait_text("children", |text| text.ends_with('\n'))
        .lines()
        .last()
        .and_then(|pid| pid.parse().ok())
        .expect("a pid")
}

#[test]
fn check_is_asked_until_it_succeeds_and_then_no_more() {
    for readiness in ["check", "check 200ms"] {
        let sv = SvDir::new();
        let web = sv.service("web").run(SLEEPS).script("check", "echo $$ >>asked; test -e go");
        let web = web.file("readiness", readiness).create();
        let onit = start(&sv, UnderTest::Onit);
        wait_asked(&web, 3);
        let starting = wait_state(&sv, "web", "starting");
        assert!(starting["ready"] == false && starting["health"].is_null(), "{starting}");
        assert_eq!(verb(&sv, &["health"]).code, 1);
        fails(&sv, &["wait", "-t", "0.1", "ready", "web"], 99, &["onit: web: not "]);
        web.write("go", "");
        well(&sv, &["wait", "ready", "web"]);
        assert_eq!(told(&sv, "web")["ready"], true);
        let times = asked(&web).len();
        wait_idle(&onit);
        assert_eq!((asked(&web).len(), verb(&sv, &["health"]).code), (times, 0));
        assert_eq!(verb(&sv, &["check", "web"]).code, 0, "a client asks by itself, as ever");
        assert_eq!(asked(&web).len(), times + 1);
        assert_eq!(onit.stderr(), "");
    }
}

/// What nobody says it is asked for is not asked by us.
#[test]
fn a_check_without_that_readiness_is_for_clients() {
    let sv = SvDir::new();
    let web = sv.service("web").run(SLEEPS).script("check", SAYS).create();
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    wait_idle(&onit);
    assert!(told(&sv, "web")["ready"].is_null() && asked(&web).is_empty());
}

#[test]
fn a_check_that_never_succeeds_ends_with_timeout_up_and_with_all_that_it_has_started() {
    let sv = SvDir::new();
    let web = sv.service("web").run(SLEEPS).script("check", HANGS).file("readiness", "check");
    let web = web.file("timeout-up", "3000").file("start-retries", "0").create();
    let onit = start(&sv, UnderTest::Onit);
    let (check, child) = (wait_asked(&web, 1), child(&web));
    assert!(proc::leads_a_session(check));
    wait_state(&sv, "web", "failed");
    onit.wait_said(&["onit: web: not ready within 3s (timeout-up); stopping it"]);
    wait_gone(check);
    wait_gone(child);
    assert_eq!(asked(&web).len(), 1);
}

#[test]
fn a_check_that_is_not_there_is_said_once_and_one_that_comes_is_asked() {
    let sv = SvDir::new();
    let web = sv.service("web").run(SLEEPS).file("readiness", "check").create();
    let onit = start(&sv, UnderTest::Onit);
    onit.wait_said(&["onit: web: cannot start ./check: No such file or directory"]);
    web.write_script("check", "exit 0");
    well(&sv, &["wait", "ready", "web"]);
    assert_eq!(onit.said(&["./check"]).len(), 1, "{}", onit.stderr());
}

/// What the file `says` says holds for one life.
fn unwell(sv: &SvDir, policy: &str) -> (Service, Supervisor) {
    let web = sv.service("web").run(SLEEPS).script("health", SAYS).file("says", "0\n").file("health-policy", policy);
    let web = web.finish("echo 0 >says").file("backoff", "20ms 20ms 1h").create();
    (web, start(sv, UnderTest::Onit))
}

#[test]
fn what_fails_three_times_is_restarted_and_one_line_says_why() {
    let sv = SvDir::new();
    let (web, onit) = unwell(&sv, OFTEN);
    let well_now = wait_health(&sv, "healthy");
    assert!(well_now["health_failures"] == 0 && well_now["health_asked"].is_f64(), "{well_now}");
    let pid = web.wait_up();
    web.write("says", "3\n");
    let next = web.wait_other(pid);
    onit.wait_said(&["onit: web: health failed 3 times (last: exited with 3); restarting it"]);
    wait_health(&sv, "healthy");
    let lives = json(&well(&sv, &["history", "--json", "web"]));
    assert_eq!((&lives[0]["exit"]["name"], &lives[0]["asked"]), (&"SIGTERM".into(), &false.into()));
    assert_eq!((told(&sv, "web")["restarts"].as_u64(), web.wait_up()), (Some(1), next));
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
}

/// It takes a KILL, although `timeout-kill` says nothing; and its failures count towards the limits.
#[test]
fn what_is_restarted_too_often_has_failed() {
    let sv = SvDir::new();
    let deaf = "trap 'echo term >>got' TERM; echo 1 >says; while :; do sleep 0.05; done";
    let web = sv.service("web").run(deaf).script("health", SAYS).file("max-restarts", "0/1h");
    let web = web.file("health-policy", "every=100ms retries=1").create();
    let onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "failed");
    onit.wait_said(&["onit: web: health failed once (last: exited with 1); restarting it"]);
    onit.wait_said(&[
        "onit: web: 1 ends within 1h (max-restarts), and the last one was killed by SIGKILL: not started",
    ]);
    assert_eq!((web.text("got").as_str(), told(&sv, "web")["health"].is_null()), ("term\n", true));
}

#[test]
fn what_is_only_reported_stays_and_is_said_once_each_time() {
    let sv = SvDir::new();
    let (web, onit) = unwell(&sv, "every=100ms retries=2 action=report");
    let events = sv.spawn(crate::verbs::command(&sv, &["events", "--json", "web"]));
    let told = || -> Vec<String> {
        let lines = events.stdout();
        let lines = lines.lines().map(json).filter(|event| event["what"] == "health");
        lines.map(|event| event["health"].as_str().unwrap_or("null").to_owned()).collect()
    };
    // When somebody begins to listen does not show.
    wait_for("somebody to listen", SOON, || {
        web.write("says", "75\n");
        wait_health(&sv, "degraded");
        web.write("says", "0\n");
        wait_health(&sv, "healthy");
        told().last().filter(|health| *health == "healthy").map(drop)
    });
    assert_eq!(verb(&sv, &["health"]).stdout, "");
    let pid = web.wait_up();
    let line = "onit: web: health failed 2 times (last: exited with 9)";
    for round in 1..=2 {
        web.write("says", "9\n");
        wait_health(&sv, "unhealthy");
        let times = asked(&web).len();
        wait_asked(&web, times + 3);
        assert_eq!(onit.said(&[line]).len(), round, "{}", onit.stderr());
        let health = verb(&sv, &["health"]);
        assert!(health.code == 1 && health.stdout.starts_with("web: unhealthy: ./health has failed "), "{health:?}");
        assert!(
            verb(&sv, &["status"]).stdout.contains("unhealthy")
                && verb(&sv, &["status", "web"]).stdout.contains("in a row")
        );
        web.write("says", "75\n");
        wait_health(&sv, "degraded");
        let health = verb(&sv, &["health"]);
        assert_eq!((health.code, health.stdout.as_str()), (0, "web: degraded\n"));
        assert_eq!(json(&verb(&sv, &["health", "--json"]).stdout)["degraded"][0], "web");
        web.write("says", "0\n");
        wait_health(&sv, "healthy");
    }
    assert_eq!(web.wait_up(), pid);
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
    let all = ["unhealthy", "degraded", "healthy", "unhealthy", "degraded", "healthy"];
    wait_for("events", SOON, || told().ends_with(&all.map(String::from)).then_some(()));
}

#[test]
fn nothing_is_asked_before_it_is_ready_and_after_a_while() {
    let sv = SvDir::new();
    let web = sv.service("web").run(SLEEPS).script("check", "test -e go").file("readiness", "check");
    let web = web.script("health", SAYS).file("health-policy", "every=100ms after=700ms").create();
    let _onit = start(&sv, UnderTest::Onit);
    wait_state(&sv, "web", "starting");
    assert!(asked(&web).is_empty());
    web.write("go", "");
    wait_health(&sv, "healthy");
    let told = told(&sv, "web");
    let life = &json(&well(&sv, &["history", "--json", "web"]))[0];
    let first = fs::metadata(web.path().join("asked")).and_then(|file| file.created()).ok();
    let first = first.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).map(|at| at.as_secs_f64());
    let ready = life["ready"].as_f64().expect("it is ready");
    assert!(first.is_none_or(|first| first - ready > 0.69), "{told} {life}");
}

#[test]
fn orders_are_obeyed_while_a_probe_hangs_and_it_ends_with_its_service() {
    let sv = SvDir::new();
    let web = sv.service("web").run("trap 'echo hup >>got' HUP; echo >>hears; while :; do sleep 0.02; done");
    let web = web.script("health", HANGS).file("health-policy", "every=100ms timeout=1h").create();
    let onit = start(&sv, UnderTest::Onit);
    for (round, stop) in ["down", "restart", "kill"].into_iter().enumerate() {
        let probe = wait_asked(&web, round + 1);
        let (pid, child) = (web.wait_up(), child(&web));
        web.wait_text("hears", |hears| hears.lines().count() == round + 1);
        well(&sv, &["hup", "web"]);
        web.wait_text("got", |got| got.lines().count() == round + 1);
        well(&sv, &[stop, "--no-wait", "web"]);
        wait_gone(pid);
        wait_gone(probe);
        wait_gone(child);
        if stop == "down" {
            web.wait_down();
            well(&sv, &["up", "--no-wait", "web"]);
        }
    }
    wait_asked(&web, 4);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(sv.processes(), [0u32; 0]);
}

/// It forks, floods, is late, and is replaced by a directory.
#[test]
fn a_hostile_probe_costs_its_time_and_nothing_else() {
    let sv = SvDir::new();
    let web = sv
        .service("web")
        .run(SLEEPS)
        .log("exec cat >/dev/null")
        .script("health", "yes & yes & sleep 1001 & echo $! >>children; echo $$ >>asked; trap '' TERM; yes");
    let web = web.file("health-policy", "every=1ms timeout=300ms retries=2 action=report").create();
    let other = sv.service("other").run(SLEEPS).create();
    let onit = start(&sv, UnderTest::Onit);
    let child = child(&web);
    let pid = web.wait_up();
    onit.wait_said(&["onit: web: health failed 2 times (last: took too long)"]);
    wait_gone(child);
    let other_pid = other.wait_up();
    other.order(b"t");
    other.wait_other(other_pid);
    fs::remove_file(web.path().join("health")).expect("removed");
    wait_for("nothing is known", SOON, || told(&sv, "web")["health"].is_null().then_some(()));
    fs::create_dir(web.path().join("health")).expect("a directory");
    web.order(b"t");
    let pid = web.wait_other(pid);
    onit.wait_said(&["onit: web: cannot start ./health: Permission denied"]);
    wait_health(&sv, "unhealthy");
    assert_eq!((onit.said(&["cannot start ./health"]).len(), web.wait_up()), (1, pid), "{}", onit.stderr());
    fs::remove_dir(web.path().join("health")).expect("removed");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(sv.processes(), [0u32; 0]);
}

#[test]
fn a_probe_has_what_run_has() {
    let sv = SvDir::new();
    let web = sv.service("web").run(SLEEPS).log("exec cat >>../got").file("env/COLOUR", "green");
    let web = web.script("health", "echo \"$COLOUR $(pwd) $0\"; exit 0").create();
    let _onit = start(&sv, UnderTest::Onit);
    let got = web.wait_text("got", |got| got.ends_with('\n'));
    assert_eq!(got.lines().next(), Some(format!("green {} ./health", web.path().display()).as_str()));
}

#[test]
fn a_fault_and_an_upgrade_neither_double_nor_lose_a_probe() {
    for (program, says) in [("check", "check"), ("health", "none")] {
        let sv = SvDir::new();
        let waits = "echo $$ >>asked; while [ ! -e go ]; do sleep 0.02; done; rm go; exit 0";
        let web = sv.service("web").run(SLEEPS).script(program, waits).file("readiness", says);
        let web = web.file("health-policy", "every=300ms timeout=1h retries=1").create();
        let onit = start(&sv, UnderTest::Onit);
        for round in 1..=2 {
            let (probe, pid) = (wait_asked(&web, round), web.wait_up());
            if round == 1 {
                onit.signal(Signal::SIGSEGV);
                onit.wait_said(&["onit: SIGSEGV: starting again; 1 service keeps running"]);
            }
            well(&sv, &["upgrade", &onit.pid().to_string()]);
            wait_idle(&onit);
            assert_eq!((asked(&web).len(), proc::is_alive(probe), web.wait_up()), (round, true, pid));
            web.write("go", "");
            if program == "check" {
                well(&sv, &["wait", "ready", "web"]);
                assert_eq!((told(&sv, "web")["ready"].as_bool(), asked(&web).len()), (Some(true), 1));
                break;
            }
            wait_health(&sv, "healthy");
            wait_asked(&web, round + 1);
        }
        assert_eq!(told(&sv, "web")["restarts"], 0);
    }
}

/// While no probe runs, a supervisor that fails again and again still asks in time.
#[test]
fn between_two_probes_a_fault_loses_neither_the_next_nor_the_failures_so_far() {
    let sv = SvDir::new();
    let (web, onit) = unwell(&sv, "every=500ms retries=3 action=report");
    wait_health(&sv, "healthy");
    web.write("says", "1\n");
    for failures in 1..=2 {
        wait_for("a failure", SOON, || {
            told(&sv, "web")["health_failures"].as_u64().is_some_and(|so_far| so_far >= failures).then_some(())
        });
        well(&sv, &["upgrade", &onit.pid().to_string()]);
    }
    wait_health(&sv, "unhealthy");
    onit.wait_said(&["onit: web: health failed 3 times (last: exited with 1)"]);
}

/// The database that takes a while, what prepares it, and what uses it.
#[test]
fn what_needs_a_service_starts_when_its_check_succeeds() {
    let sv = SvDir::new();
    let db =
        sv.service("db").run(SLEEPS).script("check", "echo $$ >>asked; test -e go").file("readiness", "check 200ms");
    let db = db.create();
    let migrate = sv.service("migrate").script("setup", "echo >>done").file("dependencies.d/db", "").create();
    let app = sv.service("app").run(SLEEPS).file("dependencies.d/migrate", "").create();
    let _onit = start(&sv, UnderTest::Onit);
    wait_asked(&db, 3);
    assert!([&migrate, &app].iter().all(|service| told(&sv, service.name())["state"] == "waiting"));
    db.write("go", "");
    app.wait_up();
    assert_eq!(migrate.text("done"), "\n");
    // Its next life is not ready yet, and what runs goes on.
    fs::remove_file(db.path().join("go")).expect("removed");
    let (before, pid) = (app.wait_up(), db.wait_up());
    db.order(b"k");
    db.wait_other(pid);
    wait_state(&sv, "db", "starting");
    assert_eq!(app.wait_up(), before);
}

/// Each has its own moment, and between two of them nothing wakes the supervisor.
#[test]
fn many_probes_do_not_start_in_one_instant() {
    let sv = SvDir::new();
    let number = as_many(100);
    let services: Vec<Service> = (0..number)
        .map(|n| {
            let web = sv.service(&format!("s{n}")).run(SLEEPS);
            let web = web.exec("health", "#!/bin/sh\ncut -d' ' -f1 /proc/uptime >>at\n");
            web.file("health-policy", "every=4s").create_atomically()
        })
        .collect();
    let onit = start(&sv, UnderTest::Onit);
    let first = |service: &Service| -> Option<f64> {
        fs::read_to_string(service.path().join("at")).ok()?.lines().next()?.parse().ok()
    };
    let times = wait_for("each was asked", 2 * SOON, || services.iter().map(first).collect::<Option<Vec<f64>>>());
    let at_once = |at: f64| times.iter().filter(|time| (at..at + 0.1).contains(*time)).count();
    let most = times.iter().map(|at| at_once(*at)).max().unwrap_or_default();
    assert!(most < number / 2, "{most} of {number} within a tenth of a second: {times:?}");
    // Each is asked in turn, and that wakes the supervisor a few times.
    let (asked_before, naps) = (total(&services), proc::naps(onit.pid()));
    let asked =
        wait_for("many more", 2 * SOON, || Some(total(&services) - asked_before).filter(|asked| *asked >= number));
    let naps = proc::naps(onit.pid()) - naps;
    assert!(naps <= 8 * asked as u64 + 50, "{naps} for {asked}");
}

fn total(services: &[Service]) -> usize {
    let lines = |service: &Service| fs::read_to_string(service.path().join("at")).unwrap_or_default().lines().count();
    services.iter().map(lines).sum()
}

#[test]
fn other_tools_ask_nothing() {
    for which in [UnderTest::OnitAs("runsvdir"), UnderTest::Runsvdir] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run(SLEEPS).script("health", SAYS).script("check", SAYS).file("readiness", "check");
        let web = web.file("health-policy", "every=100ms").create();
        let _supervisor = sv.start(which);
        let pid = web.wait_up();
        send(pid, Signal::SIGKILL);
        web.wait_other(pid);
        assert!(asked(&web).is_empty(), "{which:?}");
    }
}
