//! What is wrong with one service is felt by no other.

use std::time::{Duration, Instant};

use crate::proc;
use crate::svdir::{Ending, Phase, SOON, Service, Supervisor, SvDir, UnderTest};
use nix::sys::signal::Signal;

/// A service that has nothing to do with the trouble.
fn bystander(sv: &SvDir) -> Service {
    sv.service("bystander").run("exec sleep 1000").create()
}

/// Orders of every kind are followed.
#[track_caller]
fn goes_about_its_business(service: &Service) {
    let pid = service.wait_up();
    service.order(b"t");
    let next = service.wait_other(pid);
    service.order(b"d");
    service.wait_down();
    assert!(!proc::is_alive(next));
    service.order(b"u");
    service.wait_up();
}

fn start(sv: &SvDir) -> Supervisor {
    sv.start(UnderTest::Onit)
}

#[test]
fn a_hung_control_script_delays_nobody_and_is_killed_after_five_seconds() {
    let sv = SvDir::new();
    let (web, hung) = (bystander(&sv), sv.service("hung").run("exec sleep 1000"));
    let hung = hung.script("control/t", "echo $$ >hook; exec sleep 1000").create();
    let onit = start(&sv);
    let pid = hung.wait_up();
    hung.order(b"td"); // what stands behind the first order waits, and is not lost
    let asked = Instant::now();
    let hook = hung.wait_pid("hook");
    goes_about_its_business(&web);
    assert!(proc::is_alive(hook) && hung.wait_up() == pid, "the bystander was to be quicker than the limit");

    onit.wait_said(&["onit: hung: control/t is still running past its time limit; killing it"]);
    assert!(asked.elapsed() >= Duration::from_millis(4_900), "killed after {:?}", asked.elapsed());
    hung.wait_down(); // TERM was sent in its place
    assert!(!proc::is_alive(hook) && !proc::is_alive(pid));
}

#[test]
fn a_hung_finish_delays_nobody_and_zero_gives_it_for_ever() {
    let sv = SvDir::new();
    let (web, hung) = (bystander(&sv), sv.service("hung").run("exec sleep 1000").file("timeout-finish", "0\n"));
    let hung = hung.finish("exec sleep 1000").create();
    let onit = start(&sv);
    hung.wait_up();
    hung.order(b"t");
    let finish = hung.wait_for("finish", |status| status.phase() == Phase::Finish && status.pid().is_some()).pid();
    goes_about_its_business(&web);
    assert_eq!(hung.status().and_then(|status| status.pid()), finish, "finish goes on");
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_finish_has_the_time_that_timeout_finish_gives_it() {
    let sv = SvDir::new();
    let hung = sv.service("hung").run("exec sleep 1000").file("timeout-finish", "300\n").finish("exec sleep 1000");
    let hung = hung.create();
    let onit = start(&sv);
    let pid = hung.wait_up();
    let asked = Instant::now();
    hung.order(b"t");
    onit.wait_said(&["onit: hung: ./finish is still running past its time limit; killing it"]);
    assert!(asked.elapsed() >= Duration::from_millis(290), "killed after {:?}", asked.elapsed());
    hung.wait_other(pid);
}

#[test]
fn a_service_that_ignores_term_delays_nobody() {
    let sv = SvDir::new();
    let (web, deaf) = (bystander(&sv), sv.service("deaf").run("trap '' TERM; echo >ready; exec sleep 1000").create());
    let onit = start(&sv);
    deaf.wait_text("ready", |text| !text.is_empty());
    let pid = deaf.wait_up();
    deaf.order(b"d");
    deaf.wait_for("TERM to be sent", |status| status.got_term() && status.want() == b'd');
    goes_about_its_business(&web);
    assert!(proc::is_alive(pid) && onit.stderr().is_empty());
    deaf.order(b"k");
    deaf.wait_down();
}

#[test]
fn a_hundred_thousand_bytes_of_garbage_for_one_service_delay_no_other_and_do_no_harm() {
    let sv = SvDir::new();
    let (web, flooded) = (bystander(&sv), sv.service("flooded").run("exec sleep 1000").create());
    let onit = start(&sv);
    let (pid, _) = (flooded.wait_up(), web.wait_up());
    let orders = b"uodxtkpchaiq12bywlrPCKOQDU";
    let garbage: Vec<u8> = (0..=255).filter(|byte| !orders.contains(byte)).cycle().take(100_000).collect();
    for (part, bytes) in garbage.chunks(4096).enumerate() {
        onit.wait_for("room in the FIFO", SOON, || flooded.control(bytes).ok());
        if part == 12 {
            goes_about_its_business(&web);
        }
    }
    assert_eq!((flooded.wait_up(), onit.stderr().as_str()), (pid, ""));
    flooded.order(b"d"); // stands behind all the garbage
    flooded.wait_down();
}

#[test]
fn a_service_that_dies_at_once_all_the_time_delays_nobody_and_is_started_once_a_second() {
    let sv = SvDir::new();
    let (web, flaky) = (bystander(&sv), sv.service("flaky").run("echo >>lives; exit 1").create());
    let begun = Instant::now();
    let onit = start(&sv);
    flaky.wait_text("lives", |text| text.len() >= 2);
    goes_about_its_business(&web);
    let lives = flaky.wait_text("lives", |text| text.len() >= 3).len();
    assert!(lives as u64 <= begun.elapsed().as_secs() + 1, "{lives} lives in {:?}", begun.elapsed());
    assert_eq!(onit.said(&["flaky: exited with 1 within a second of its start; trying again"]).len(), 1, "said once");
}

#[test]
fn a_service_that_is_stopped_the_moment_it_starts_keeps_nobody_waiting() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").down().create();
    let onit = sv.start(UnderTest::Onit);
    web.wait_down();
    for _ in 0..50 {
        web.order(b"op");
        web.wait_for("paused as soon as it runs", |status| status.paused() && status.pid().is_some());
        web.order(b"cd");
        web.wait_down();
    }
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}
