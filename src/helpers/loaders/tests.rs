//! Loaders, a supervisor and jobs, played to the engine in simulated time.

use super::engine::{Action, Definition, Engine, LoaderId, Program, Stamp};
use super::job::Seen;
use crate::machine::{Mono, ServiceState};
use crate::wire::api::Order;
use crate::wire::godv1::Auto;
use std::collections::BTreeMap;
use std::time::Duration;

/// An engine, and what it has done and not been asked about yet.
struct World {
    engine: Engine,
    now: Mono,
    done: Vec<Action>,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl World {
    /// With these programs, which are started in this order.
    fn new(files: &[(&str, u64)]) -> World {
        let now = Mono::default().after(Duration::from_secs(1000));
        let mut world = World { engine: Engine::default(), now, done: Vec::new() };
        world.files(files, false);
        world
    }

    fn files(&mut self, files: &[(&str, u64)], anew: bool) {
        let found: BTreeMap<String, Stamp> =
            files.iter().map(|(name, stamp)| ((*name).to_owned(), (1, *stamp, 0, 0, 0))).collect();
        self.engine.files(self.now, &found, anew);
        self.take();
    }

    fn take(&mut self) {
        self.done.extend(self.engine.take());
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.after(Duration::from_millis(ms));
        let mut rounds = 0;
        while let Some(at) = self.engine.deadline().filter(|at| *at <= until) {
            rounds += 1;
            assert!(rounds < 10_000, "what is due stays due: it would never wait");
            self.now = self.now.max(at);
            self.engine.tick(self.now);
            self.take();
        }
        self.now = until;
    }

    fn say(&mut self, id: LoaderId, text: &str) {
        self.engine.said(self.now, id, words(text));
        self.take();
    }

    fn state(&mut self, job: &str, state: ServiceState, pid: Option<i32>, exit: Option<i32>) {
        self.engine.state(self.now, job, Seen { state, pid, exit });
        self.take();
    }

    /// What has been done since the last time.
    fn done(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.done)
    }

    /// What was sent, without the marks of JSON.
    fn sent(&mut self) -> Vec<String> {
        let plain = |text: String| text.replace(['[', ']', '"', '\n'], "").replace(',', " ");
        let sent = |action| if let Action::Send(_, text) = action { Some(plain(text)) } else { None };
        self.done().into_iter().filter_map(sent).collect()
    }

    fn orders(&mut self) -> Vec<(Order, String)> {
        let order = |action| if let Action::Order(order, job) = action { Some((order, job)) } else { None };
        self.done().into_iter().filter_map(order).collect()
    }

    fn warned(&mut self) -> Vec<String> {
        let line = |action| if let Action::Warn(line) = action { Some(line) } else { None };
        self.done().into_iter().filter_map(line).collect()
    }

    /// A loader with one job that starts, as process 7.
    fn running(check: &str) -> World {
        let mut world = World::new(&[("one", 1)]);
        for text in ["godv1 web", "true"] {
            world.say(1, text);
        }
        world.start(7);
        world.say(1, "httpd -f");
        world.say(1, "");
        world.state("web", ServiceState::Starting, Some(7), None);
        world.say(1, ""); // to onStart
        world.say(1, check);
        world
    }

    fn start(&mut self, pid: i32) {
        self.engine.asks_to_run(self.now, 9, "web", pid, "@there".into());
        self.take();
    }
}

fn definition(auto: Auto) -> Definition {
    Definition { file: "one".into(), auto, ..Definition::default() }
}

#[test]
fn a_job_is_made_when_its_loader_has_said_all_and_becomes_what_that_says() {
    let mut world = World::new(&[("one", 1)]);
    assert_eq!(world.done(), [Action::Start(1, "one".into())]);
    world.say(1, "godv1 web db");
    assert_eq!(world.sent(), ["db auto"].map(|_| "web auto"), "one at a time");
    world.say(1, "db");
    assert_eq!(world.sent(), ["db auto"]);
    world.say(1, "true");
    let made = [
        Action::Install("db".into(), definition(Auto::Yes)),
        Action::Install("web".into(), definition(Auto::After(vec!["db".into()]))),
        Action::AllSaid,
    ];
    assert_eq!(world.done(), made);
    world.start(7);
    assert_eq!(world.sent(), ["web exec"]);
    world.say(1, "httpd -f");
    assert_eq!(world.sent(), ["web env"]);
    world.say(1, "A=b");
    let program = Program { argv: words("httpd -f"), env: words("A=b") };
    let done = world.done();
    let codes = Action::Write("web".into(), "success-codes", "0\n".into());
    let becomes = Action::Become(9, Ok(program.clone()));
    let place = |action: &Action| done.iter().position(|it| it == action).expect("an action");
    assert!(place(&codes) < place(&becomes), "{done:?}");
    assert!(done.contains(&Action::Keep("web".into(), program)));
    assert!(done.contains(&Action::Notify("@there".into(), "STATUS=loader: start".into())));
}

#[test]
fn the_first_ok_makes_it_ready_and_then_it_is_asked_as_often_as_it_says() {
    let mut world = World::running("degrade 300");
    assert!(!world.done().iter().any(|it| matches!(it, Action::Notify(_, text) if text.contains("READY"))));
    world.pass(299);
    assert_eq!(world.sent(), [""; 0]);
    world.pass(1);
    assert_eq!(world.sent(), ["web check"]);
    world.say(1, "ok 5000");
    let done = world.done();
    assert!(done.contains(&Action::Notify("@there".into(), "READY=1\nSTATUS=loader: run".into())), "{done:?}");
    assert!(done.contains(&Action::Write("web".into(), "restart", "always\n".into())));
    world.say(1, ""); // to onRun
    world.pass(4999);
    assert_eq!(world.sent(), [""; 0]);
    world.pass(1);
    assert_eq!(world.sent(), ["web check"]);
    world.say(1, "degrade");
    assert_eq!(world.sent(), ["web onDegrade"]);
    world.say(1, "");
    world.pass(1000);
    assert_eq!(world.sent(), ["web check"]);
    world.say(1, "ok");
    assert_eq!(world.sent(), ["web onRun"], "and it is not ready for a second time");
}

#[test]
fn without_a_check_it_is_ready_at_once_and_never_asked_again() {
    let mut world = World::running("");
    assert!(world.done().iter().any(|it| matches!(it, Action::Notify(_, text) if text.starts_with("READY=1"))));
    world.say(1, "");
    world.pass(3_600_000);
    assert_eq!(world.sent(), [""; 0]);
}

#[test]
fn a_check_orders_its_own_job_or_another_and_no_stranger() {
    let mut world = World::running("fail");
    assert_eq!(world.orders(), [(Order::Restart, "web".into())]);
    let mut world = World::running("@web stop");
    assert_eq!(world.orders(), [(Order::Down, "web".into())]);
    let mut world = World::running("@sshd stop");
    assert_eq!(world.warned(), ["web: its check speaks of sshd, which is no job"]);
    for text in ["@web ok", "fine"] {
        let mut world = World::running(text);
        assert_eq!(world.warned().len(), 1);
        world.pass(1000);
        assert_eq!(world.sent(), ["web check"], "after {text}");
    }
}

#[test]
fn an_end_is_told_as_what_it_is() {
    let ends = [
        ("", ServiceState::Backoff, 3, "web onExit 3"),
        ("degrade", ServiceState::Done, 0, "web onDone"),
        ("", ServiceState::Backoff, 0, "web onExit 0"),
    ];
    for (check, state, code, told) in ends {
        let mut world = World::running(check);
        if check.is_empty() {
            world.say(1, ""); // to onRun
        }
        world.done();
        world.state("web", state, None, Some(code));
        assert_eq!(world.sent(), [told]);
        world.say(1, "");
        world.pass(60_000);
        assert_eq!(world.sent(), [""; 0], "it is not asked while it does not run");
    }
}

#[test]
fn what_is_told_of_an_earlier_run_means_nothing_for_this_one() {
    let mut world = World::new(&[("one", 1)]);
    ["godv1 web", "true"].iter().for_each(|text| world.say(1, text));
    world.start(7);
    ["httpd", "", "", "ok 60000", ""].iter().for_each(|text| world.say(1, text));
    world.done();
    world.state("web", ServiceState::Backoff, None, Some(1));
    assert_eq!(world.sent(), [""; 0], "the supervisor has not told of this one yet");
    world.state("web", ServiceState::Starting, Some(7), None);
    world.state("web", ServiceState::Backoff, None, Some(1));
    assert_eq!(world.sent(), ["web onExit 1"]);
}

#[test]
fn a_check_that_was_about_an_earlier_run_means_nothing_for_this_one() {
    let mut world = World::new(&[("one", 1)]);
    world.say(1, "onitv1 web");
    ["1 true", "2", "3"].iter().for_each(|text| world.say(1, text));
    world.start(7);
    ["4 httpd", "5"].iter().for_each(|text| world.say(1, text));
    assert_eq!(world.sent().last().map(String::as_str), Some("7 web check"));
    world.state("web", ServiceState::Starting, Some(7), None);
    world.state("web", ServiceState::Backoff, None, Some(1));
    world.start(8);
    ["9 httpd", "10"].iter().for_each(|text| world.say(1, text));
    assert_eq!(world.sent().last().map(String::as_str), Some("12 web check"));
    world.say(1, "7 fail");
    assert_eq!(world.orders(), []);
    world.say(1, "12 fail");
    assert_eq!(world.orders(), [(Order::Restart, "web".into())]);
}

#[test]
fn a_stop_is_an_interrupt_or_what_the_loader_does_and_kill_follows() {
    for (answer, interrupts, ms) in [("", true, 5000), ("200", false, 200)] {
        let mut world = World::running("ok 60000");
        world.say(1, "");
        world.state("web", ServiceState::Stopping, Some(7), None);
        world.engine.asks_to_stop(world.now, 4, "web");
        world.take();
        world.say(1, ""); // to onStop
        assert_eq!(world.sent().last().map(String::as_str), Some("web stop 7"));
        world.say(1, answer);
        let done = world.done();
        assert_eq!(done.contains(&Action::Order(Order::Int, "web".into())), interrupts, "{done:?}");
        assert!(done.contains(&Action::Write("web".into(), "timeout-kill", format!("{ms}\n"))));
        assert_eq!(done.last(), Some(&Action::Stopped(4, true)));
        world.pass(ms - 1);
        assert_eq!(world.orders(), []);
        world.pass(1);
        assert_eq!(world.orders(), [(Order::Kill, "web".into())]);
    }
}

#[test]
fn one_that_has_stopped_in_time_is_not_killed_nor_is_the_next_run() {
    let mut world = World::running("ok 60000");
    world.say(1, "");
    world.engine.asks_to_stop(world.now, 4, "web");
    world.say(1, "");
    world.state("web", ServiceState::Down, None, Some(0));
    world.start(8);
    world.done();
    world.pass(10_000);
    assert_eq!(world.orders(), []);
}

#[test]
fn who_says_no_hello_is_killed_and_tried_five_times() {
    let mut world = World::new(&[("one", 1)]);
    world.done();
    world.pass(499);
    assert_eq!(world.done(), []);
    world.pass(1);
    let done = world.done();
    assert!(done.contains(&Action::Kill(1)) && done.contains(&Action::AllSaid), "{done:?}");
    world.pass(3_600_000);
    let done = world.done();
    let starts = done.iter().filter(|it| matches!(it, Action::Start(..))).count();
    assert_eq!(starts, 4, "{done:?}");
    world.files(&[("one", 1)], false);
    assert_eq!(world.done(), []);
    world.files(&[("one", 1)], true);
    assert_eq!(world.done(), [Action::Start(6, "one".into())]);
    for hello in ["", "godv2 a"] {
        let mut world = World::new(&[("one", 1)]);
        world.say(1, hello);
        assert!(world.done().contains(&Action::Kill(1)), "{hello:?}");
    }
}

#[test]
fn a_loader_that_hangs_lies_or_ends_is_started_again_and_its_jobs_are_left_alone() {
    let ends: [fn(&mut World); 4] = [
        |world| {
            world.pass(1000); // a check
            world.pass(5000); // that is not answered
        },
        |world| world.say(1, "ok"),
        |world| {
            world.engine.broken(world.now, 1, "says too much");
            world.take();
        },
        |world| {
            world.engine.ended(world.now, 1, "was killed");
            world.take();
        },
    ];
    for end in ends {
        let mut world = World::running("ok");
        world.say(1, "");
        world.done();
        end(&mut world);
        world.pass(1000);
        let done = world.done();
        assert!(done.contains(&Action::Start(2, "one".into())), "{done:?}");
        assert!(!done.iter().any(|it| matches!(it, Action::Remove(_) | Action::Order(..) | Action::Update(..))));
        world.say(2, "godv1 web");
        world.say(2, "true");
        assert_eq!(world.sent(), ["web auto", "web check"], "it is asked how its job is");
    }
}

#[test]
fn without_a_loader_a_job_becomes_what_it_was() {
    let mut world = World::running("ok");
    world.engine.ended(world.now, 1, "was killed");
    world.take();
    world.done();
    world.start(8);
    let known = Program { argv: words("httpd -f"), env: vec![] };
    assert!(world.done().contains(&Action::Become(9, Ok(known))));
    world.engine.asks_to_stop(world.now, 5, "web");
    world.take();
    assert_eq!(
        world.done(),
        [
            Action::Write("web".into(), "timeout-kill", "5000\n".into()),
            Action::Order(Order::Int, "web".into()),
            Action::Stopped(5, true)
        ]
    );
}

#[test]
fn who_waits_for_an_answer_when_a_loader_dies_is_answered_from_what_is_known() {
    let mut world = World::running("ok");
    world.say(1, "");
    world.start(8);
    world.done();
    world.engine.ended(world.now, 1, "was killed");
    world.take();
    assert!(world.done().iter().any(|it| matches!(it, Action::Become(9, Ok(_)))));
    let mut world = World::new(&[("one", 1)]);
    ["godv1 web", "true"].iter().for_each(|text| world.say(1, text));
    world.start(7);
    world.engine.ended(world.now, 1, "was killed");
    world.take();
    assert!(world.done().iter().any(|it| matches!(it, Action::Become(9, Err(_)))));
}

#[test]
fn a_changed_loader_takes_over_when_it_has_said_all_and_not_before() {
    let mut world = World::running("ok 60000");
    world.say(1, "");
    world.done();
    world.files(&[("one", 2)], false);
    world.pass(100);
    assert_eq!(world.done(), [Action::Start(2, "one".into())]);
    world.say(2, "godv1 web new");
    world.say(2, "true");
    assert!(!world.done().contains(&Action::Kill(1)));
    world.say(2, "false");
    let done = world.done();
    assert!(done.contains(&Action::Install("new".into(), definition(Auto::No))), "{done:?}");
    assert!(done.contains(&Action::Kill(1)) && !done.iter().any(|it| matches!(it, Action::Remove(_))), "{done:?}");
}

#[test]
fn a_changed_loader_that_is_none_changes_nothing() {
    let mut world = World::running("ok 60000");
    world.say(1, "");
    world.files(&[("one", 2)], false);
    world.pass(10_000);
    let done = world.done();
    assert!(!done.iter().any(|it| matches!(it, Action::Kill(1) | Action::Remove(_) | Action::Order(..))), "{done:?}");
    world.start(8);
    assert_eq!(world.sent(), ["web exec"]);
}

#[test]
fn jobs_that_no_loader_has_any_more_are_taken_away_and_may_come_again() {
    let mut world = World::running("ok 60000");
    world.say(1, "");
    world.done();
    world.files(&[], false);
    assert_eq!(world.done(), [Action::Kill(1), Action::Remove("web".into())]);
    world.files(&[("one", 3)], false);
    world.say(2, "godv1 web");
    world.say(2, "true");
    assert!(!world.done().iter().any(|it| matches!(it, Action::Install(..))), "it has not gone yet");
    world.engine.gone(world.now, "web");
    world.take();
    assert_eq!(world.done(), [Action::Install("web".into(), definition(Auto::Yes))]);
}

#[test]
fn a_job_follows_its_loader_to_another_name() {
    let mut world = World::running("ok 60000");
    world.say(1, "");
    world.done();
    world.files(&[("two", 1)], false);
    world.say(2, "godv1 web");
    world.say(2, "true");
    let done = world.done();
    assert!(!done.iter().any(|it| matches!(it, Action::Remove(_))), "{done:?}");
    assert!(done.iter().any(|it| matches!(it, Action::Update(job, it) if job == "web" && it.file == "two")));
}

#[test]
fn of_two_loaders_with_one_job_the_first_has_it() {
    let mut world = World::new(&[("one", 1), ("two", 1)]);
    for id in [1, 2] {
        world.say(id, "godv1 web");
        world.say(id, "true");
    }
    let done = world.done();
    assert_eq!(done.iter().filter(|it| matches!(it, Action::Install(..))).count(), 1);
    assert!(done.contains(&Action::Warn("two: web is a job of one already; that one counts".into())), "{done:?}");
}

#[test]
fn a_name_that_is_taken_is_refused_once_and_tried_again_at_a_change() {
    let mut world = World::new(&[("one", 1)]);
    world.say(1, "godv1 web ../x");
    assert_eq!(world.warned(), ["one: \"../x\" can be no name of a job"]);
    world.say(1, "true");
    world.engine.refused("web", "it is there");
    world.take();
    assert_eq!(world.warned(), ["one: the job web is refused: it is there"]);
    world.files(&[("one", 1)], false);
    assert_eq!(world.done(), [Action::Install("web".into(), definition(Auto::Yes))]);
}

#[test]
fn requests_with_numbers_overlap_and_are_answered_in_any_order() {
    let mut world = World::new(&[("one", 1)]);
    world.say(1, "onitv1 a b");
    let asked = ["1 a auto", "2 a log", "3 a sockets", "4 b auto", "5 b log", "6 b sockets"];
    assert_eq!(world.sent(), asked);
    for text in ["6", "2 logger -x", "5", "1 true", "4 a", "3 tcp"] {
        world.say(1, text);
    }
    let a = Definition { log: words("logger -x"), sockets: words("tcp"), ..definition(Auto::Yes) };
    let b = definition(Auto::After(vec!["a".into()]));
    let made = [Action::Install("a".into(), a), Action::Install("b".into(), b), Action::AllSaid];
    assert_eq!(world.done(), made);
    world.say(1, "7 true");
    assert!(world.done().contains(&Action::Kill(1)), "nobody has asked that");
}

#[test]
fn a_long_check_holds_nothing_up_where_requests_have_numbers() {
    let mut world = World::new(&[("one", 1)]);
    world.say(1, "onitv1 web");
    ["1 true", "2", "3"].iter().for_each(|text| world.say(1, text));
    world.start(7);
    ["4 httpd", "5"].iter().for_each(|text| world.say(1, text));
    assert_eq!(world.sent().last().map(String::as_str), Some("7 web check"));
    world.say(1, "6");
    world.pass(59_000);
    world.start(8);
    let done = world.done();
    assert!(!done.contains(&Action::Kill(1)), "{done:?}");
    world.pass(1000);
    assert!(world.done().contains(&Action::Kill(1)), "but not for ever");
}

#[test]
fn jobs_from_before_us_are_attached_or_taken_away() {
    let mut world = World::new(&[]);
    let known = Program { argv: words("httpd"), env: vec![] };
    for (job, file) in [("web", "one"), ("old", "gone")] {
        world.engine.restore(job.into(), file.into(), Some(known.clone()));
    }
    world.files(&[("one", 1)], false);
    let done = world.done();
    assert!(!done.iter().any(|it| matches!(it, Action::Remove(_))), "first all loaders have their say: {done:?}");
    let seen = Seen { state: ServiceState::Up, pid: Some(7), exit: None };
    world.engine.sync(world.now, "web", seen, "@there".into());
    ["godv1 web", "true"].iter().for_each(|text| world.say(1, text));
    let done = world.done();
    assert!(done.contains(&Action::Remove("old".into())), "{done:?}");
    assert!(!done.iter().any(|it| matches!(it, Action::Remove(job) if job == "web")), "{done:?}");
    world.say(1, "degrade");
    assert!(world.done().contains(&Action::Notify("@there".into(), "STATUS=loader: degrade".into())));
}

#[test]
fn an_end_counts_whether_the_supervisor_or_the_process_tells_of_the_start_first() {
    for told_first in [true, false] {
        let mut world = World::new(&[("one", 1)]);
        ["godv1 web", "true"].iter().for_each(|text| world.say(1, text));
        let starting = |world: &mut World| world.state("web", ServiceState::Starting, Some(7), None);
        if told_first {
            starting(&mut world);
        }
        world.start(7);
        if !told_first {
            starting(&mut world);
        }
        ["httpd", "", "", "degrade"].iter().for_each(|text| world.say(1, text));
        world.done();
        world.state("web", ServiceState::Done, None, Some(0));
        assert_eq!(world.sent(), ["web onDone"], "{told_first}");
    }
    // And if it had ended before we could listen.
    let mut world = World::new(&[("one", 1)]);
    ["godv1 web", "true"].iter().for_each(|text| world.say(1, text));
    world.start(7);
    ["httpd", "", "", "degrade"].iter().for_each(|text| world.say(1, text));
    world.done();
    let seen = Seen { state: ServiceState::Backoff, pid: None, exit: Some(4) };
    world.engine.sync(world.now, "web", seen, String::new());
    world.take();
    assert_eq!(world.sent(), ["web onExit 4"]);
}

#[test]
fn one_that_is_to_take_the_place_of_another_is_the_one_that_is_asked_about_or_it_is_that_again() {
    for takes_place in [true, false] {
        let mut world = World::running("ok 60000");
        world.say(1, "");
        world.start(8);
        ["httpd -g", "", ""].iter().for_each(|text| world.say(1, text));
        let done = world.done();
        assert!(done.contains(&Action::Notify("@there".into(), "STATUS=loader: start".into())), "{done:?}");
        world.say(1, "ok 50");
        world.say(1, "");
        let pid = if takes_place { 8 } else { 7 };
        world.state("web", ServiceState::Up, Some(pid), None);
        world.done();
        world.engine.asks_to_stop(world.now, 4, "web");
        world.take();
        assert_eq!(world.sent(), [format!("web stop {pid}")]);
    }
}
