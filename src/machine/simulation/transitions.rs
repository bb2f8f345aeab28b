//! State × event, written out: `tests/golden/transitions.txt`. A review sees a change of behaviour as a diff of it.
//!
//! `BLESS=1 cargo test --lib transitions` writes the file anew.

use super::*;
use std::fmt::Write;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/transitions.txt");

const LEGEND: &str = "\
# state + event -> effects, start, outcome | what the outside sees then
#
# One step of the machine of one service, for each state and each event that can happen in it. Made by
# `BLESS=1 cargo test --lib transitions`; see src/machine/simulation/transitions.rs.
#
# states    `run?` `finish?` `control/t?`: asked for, the answer comes within the turn
#           `in control/t`: it runs, and what it was asked about waits; without a hook, none is there
# events    a letter: that command of sv, svc or s6-svc; `started`, `no WHY`: the answer; `1s`: so much time passes
#           `READY` to `more-9s`: what `run` says by sd_notify
# seen      phase want [paused] [got TERM] [leaving] [starting: not ready] [reloading] [ending: it says so]
#           [busy: a hook is asked or runs] [in: time to the next deadline]
";

/// Of the commands that differ only in the signal or its target, one.
const SHOWN: [Command; 13] = [
    Command::Up,
    Command::Down,
    Command::Once,
    Command::NoRestart,
    Command::Exit,
    Command::Term,
    Command::StopSignal,
    Command::Kill(Target::Process),
    Command::Pause(Target::Process),
    Command::Continue(Target::Process),
    Command::Signal(Signal::HUP),
    Command::Disable,
    Command::Enable,
];

/// What `run` says, of which something follows.
const NOTIFICATIONS: [(&str, Notification); 6] = [
    ("RELOADING", Notification::Reloading),
    ("STOPPING", Notification::Stopping),
    ("alive", Notification::Alive),
    ("trigger", Notification::Trigger),
    ("alive-every-9s", Notification::AliveEvery(Some(Duration::from_secs(9)))),
    ("more-9s", Notification::MoreTime(Duration::from_secs(9))),
];

/// A state: how it is called, and a world in it. The last event is not answered yet, if there is one.
struct Row {
    name: &'static str,
    world: World,
    last: Option<Event>,
}

/// `run` is to say that it is ready.
fn notifies(mut world: World) -> World {
    (world.readiness, world.programs) = (Readiness::Notify, Programs::RUN);
    world.begin();
    world
}

/// `run` is to say that it is alive, and reloads.
fn watched(mut world: World) -> World {
    world.says(Notification::AliveEvery(Some(20 * SECOND)));
    world.says(Notification::Reloading);
    world
}

/// Every state that these rules have.
fn rows(rules: &'static ServiceRules, role: Role) -> Vec<Row> {
    let limits = Limits { kill_after: Some(3 * SECOND), ..Limits::of(rules) };
    let fresh = |want| World::new(rules, role, want).limited(limits);
    let up = || {
        let mut world = fresh(Want::Up).with(Programs::RUN);
        world.begin();
        world.pass(10 * SECOND);
        world
    };
    let after = |mut world: World, command| {
        world.order(command);
        world
    };
    let dead = |mut world: World, finish| {
        world.programs.finish = finish;
        world.ends(Exit::Code(1));
        world
    };
    let hooked = |world: World, hooks, command| after(world.with(Programs { hooks, ..Programs::RUN }), command);
    let state = |name, world| Row { name, world, last: None };
    let asked = |name, world, event| Row { name, world, last: Some(event) };
    let up_ended = |world: &World| Event::Died(world.living[0].pid, Exit::Code(1));

    let mut pausing = fresh(Want::Up).with(Programs::RUN);
    pausing.begin();
    let pausing = dead(pausing, Program::Absent);
    let stop = Event::Command(Command::Down);
    let mut rows = vec![
        state("down", fresh(Want::Down)),
        state("pausing", pausing),
        state("up", up()),
        state("up once", after(up(), Command::Once)),
        state("paused", after(up(), Command::Pause(Target::Process))),
        state("restarting", after(up(), Command::Term)),
        state("stopping", after(up(), Command::Down)),
    ];
    if rules.limits_restarts && role == Role::Main {
        rows.extend([state("starting", notifies(fresh(Want::Up))), state("watched", watched(up()))]);
    }
    if role == Role::Logger {
        let drained = |mut world: World, pending| {
            world.drain(pending);
            world
        };
        rows.push(state("draining", drained(up(), true)));
        rows.push(state("gone", drained(fresh(Want::Down), false)));
        return rows;
    }
    rows.push(state("leaving", after(up(), Command::Exit)));
    rows.push(state("gone", after(fresh(Want::Down), Command::Exit)));
    if !rules.scripts {
        rows.push(asked("run?", fresh(Want::Up), Event::Begin));
        return rows;
    }
    let hooks: &[Command] = &[Command::Up, Command::Term, Command::Down];
    let in_control_u = || hooked(fresh(Want::Down), hooks, Command::Up);
    let hook_ended = |world: &World| {
        let hook = world.living.iter().find(|p| is_control(p.script)).expect("a hook lives");
        Event::Died(hook.pid, Exit::Code(1))
    };
    let run_asked = in_control_u();
    let run_asked_by = hook_ended(&run_asked);
    let finish_asked = up().with(Programs::RUN_AND_FINISH);
    let finish_asked_by = up_ended(&finish_asked);
    let tail_asked = hooked(up(), hooks, Command::Down);
    let tail_asked_by = hook_ended(&tail_asked);
    rows.extend([
        asked("control/u?", fresh(Want::Up).with(Programs { hooks, ..Programs::RUN }), Event::Begin),
        state("in control/u", in_control_u()),
        asked("run?", run_asked, run_asked_by),
        asked("control/t?", up().with(Programs { hooks, ..Programs::RUN }), stop),
        state("in control/t", hooked(up(), hooks, Command::Down)),
        state("in control/t for a restart", hooked(up(), hooks, Command::Term)),
        state("in control/p", hooked(up(), &COMMANDS, Command::Pause(Target::Process))),
        asked("control/d?", tail_asked, tail_asked_by),
        state("in control/d", hooked(up(), &[Command::Down], Command::Down)),
        state("ended in control/t", dead(hooked(up(), hooks, Command::Term), Program::Absent)),
        asked("finish?", finish_asked, finish_asked_by),
        state("finish due", dead(up(), Program::Refused(Refusal::Fork))),
        state("finish", dead(up(), Program::Runs)),
        state("finish, once more", after(dead(after(up(), Command::Down), Program::Runs), Command::Once)),
        state("finish, leaving", after(dead(up(), Program::Runs), Command::Exit)),
    ]);
    if rules.setup {
        let with_stop = up().with(Programs { stop: Program::Runs, ..Programs::RUN });
        rows.push(state("in stop", after(with_stop, Command::Down)));
    }
    if rules.probes {
        rows.extend(rows_with_probes(up));
    }
    rows
}

/// Those in which a probe was asked for, lives, or was killed. One failure of `health` is enough.
fn rows_with_probes(up: impl Fn() -> World) -> [Row; 4] {
    let retried = |readiness| {
        let mut world = up();
        (world.readiness, world.health) = (readiness, Some(HealthPolicy { retries: 1, ..HealthPolicy::default() }));
        world.ends(Exit::Code(1));
        world.ticks();
        world
    };
    let asked = |readiness| {
        let mut world = retried(readiness);
        world.now = world.service.deadline().expect("a probe is due");
        world.ticks();
        world
    };
    let check = Readiness::Check(None);
    let (waiting, mut killed) = (retried(Readiness::None), asked(Readiness::None));
    killed.order(Command::Term);
    [
        Row { name: "up, before health", world: waiting, last: None },
        Row { name: "starting, in check", world: asked(check), last: None },
        Row { name: "up, in health", world: asked(Readiness::None), last: None },
        Row { name: "restarting, health killed", world: killed, last: None },
    ]
}

/// An event, with the time until it happens, and what a logger has not read then.
#[derive(Clone)]
struct Happening {
    word: String,
    event: Event,
    span: Duration,
    unread: usize,
}

/// Every event that can happen in this state.
fn events(row: &Row) -> Vec<Happening> {
    let now = |word: String, event| Happening { word, event, span: Duration::ZERO, unread: 0 };
    if row.last.is_some() {
        let refused = [Refusal::Exec, Refusal::Fork];
        let mut answers = vec![now("started".into(), Event::Spawned(Pid(99)))];
        answers.extend(refused.map(|why| now(format!("no {why:?}"), Event::NotSpawned(why))));
        return answers;
    }
    let mut events: Vec<_> = SHOWN.map(|command| now(command_word(command), Event::Command(command))).into();
    for process in &row.world.living {
        for exit in [Exit::Code(0), Exit::Code(1)] {
            let program = match process.script {
                Script::Setup => "setup",
                Script::Run => "run",
                Script::Successor => "second run",
                Script::Finish(_) => "finish",
                Script::Control(_) => "hook",
                Script::Stop => "stop",
                Script::Check => "check",
                Script::Health => "health",
            };
            events.push(now(format!("{program}={}", exit_word(exit)), Event::Died(process.pid, exit)));
        }
    }
    if let Some(at) = row.world.service.deadline() {
        let span = at.since(row.world.now);
        events.push(Happening { span, ..now(format!("{}s", span.as_secs_f32()), Event::Tick) });
    }
    if ["starting", "watched"].contains(&row.name) {
        events.push(now("READY".into(), Event::Ready));
        for (word, said) in NOTIFICATIONS {
            events.push(now(word.into(), Event::Notify(said)));
        }
    }
    if row.world.role == Role::Logger {
        for (word, pending) in [("drained", false), ("input-ends", true)] {
            events.push(Happening { unread: usize::from(pending), ..now(word.into(), Event::Drain) });
        }
    }
    events.push(now("escalate".into(), Event::Escalate));
    events
}

#[derive(Clone, PartialEq)]
struct Line {
    state: &'static str,
    event: String,
    outcome: String,
}

fn lines(rules: &'static ServiceRules, role: Role) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in rows(rules, role) {
        for happening in events(&row) {
            let outcome = outcome(&row, &happening);
            lines.push(Line { state: row.name, event: happening.word, outcome });
        }
    }
    lines
}

fn outcome(row: &Row, happening: &Happening) -> String {
    let mut world = row.world.clone();
    world.pass(happening.span);
    world.unread = happening.unread;
    world.look_up();
    if let Some(last) = row.last {
        world.service.step(world.now, last);
    }
    let step = world.service.step(world.now, happening.event);
    let effects = step.effects().map(|effect| effect_word(&world, effect));
    let start = step.start.map(|script| format!("start {}", script_word(script)));
    let outcome = step.outcome.map(outcome_word);
    let words: Vec<String> = effects.chain(start).chain(outcome).collect();
    let words = if words.is_empty() { "-".into() } else { words.join(", ") };
    format!("{words} | {}", seen(&world, step.start.is_some()))
}

fn outcome_word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Ended { exit, .. } => format!("ended {}", exit_word(exit)),
        Outcome::SetupFailed(exit) => format!("setup failed {}", exit_word(exit)),
        Outcome::Done => "done".into(),
        Outcome::GaveUp(exit, _) => format!("gave up after {}", exit_word(exit)),
        Outcome::EssentialEnded(exit) => format!("essential ended {}", exit_word(exit)),
        Outcome::Replaced => "replaced".into(),
        Outcome::NotReplaced(why) => format!("not replaced: {why:?}"),
    }
}

/// Events of one state with one outcome share a line.
fn folded(lines: &[Line]) -> String {
    let mut folded: Vec<Line> = Vec::new();
    for line in lines {
        match folded.iter_mut().find(|old| old.state == line.state && old.outcome == line.outcome) {
            Some(old) => old.event = format!("{} {}", old.event, line.event),
            None => folded.push(line.clone()),
        }
    }
    folded.iter().map(|line| format!("{} + {} -> {}\n", line.state, line.event, line.outcome)).collect()
}

fn effect_word(world: &World, effect: Effect) -> String {
    let name = |pid| world.living.iter().find(|p| p.pid == pid).map_or("run".into(), |p| script_word(p.script));
    match effect {
        Effect::Signal(pid, signal, Target::Process) => format!("{} {}", signal_word(signal), name(pid)),
        Effect::Signal(pid, signal, Target::Group) => format!("{} {}'s group", signal_word(signal), name(pid)),
        Effect::KillLate(_, script) => format!("kill late {}", script_word(script)),
        Effect::NotReady(_) => "not ready".into(),
        Effect::KillProbe(pid) => format!("kill {}", name(pid)),
        Effect::Unhealthy { .. } => "unhealthy".into(),
        Effect::Silent(..) => "silent".into(),
        Effect::KillLeftovers(_, script) => format!("kill what {} left", script_word(script)),
        Effect::NoteDeath(exit, most) => format!("note {} of {most}", exit_word(exit)),
        Effect::StopFailed(exit, _) => format!("stop failed {}", exit_word(exit)),
        Effect::DownFile(true) => "create down".into(),
        Effect::DownFile(false) => "remove down".into(),
    }
}

fn seen(world: &World, asked: bool) -> String {
    let (service, view) = (&world.service, world.service.view());
    if service.is_gone() {
        return "gone".into();
    }
    let phase = match (view.phase, view.pid) {
        (Phase::Down, _) => "down",
        (Phase::Setup, _) => "setup",
        (Phase::Run, _) => "run",
        (Phase::Finish, Some(_)) => "finish",
        (Phase::Finish, None) => "finish due",
    };
    let want = match view.want {
        Want::Up => "up",
        Want::Down => "down",
        Want::Once => "once",
    };
    let mut seen = format!("{phase} {want}");
    let flags = [
        (view.paused, " paused"),
        (view.got_term, " got-TERM"),
        (view.leaving, " leaving"),
        (service.state() == ServiceState::Starting, " starting"),
        (service.is_reloading(), " reloading"),
        (service.state() == ServiceState::Stopping && !view.got_term, " ending"),
        (service.is_busy(), " busy"),
    ];
    seen.extend(flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word));
    // Until the answer is there, a deadline means nothing.
    if let (false, Some(at)) = (asked, service.deadline()) {
        write!(seen, " in:{}s", at.since(world.now).as_secs_f32()).expect("a String takes all");
    }
    seen
}

/// All of onit's own, and of the others what differs.
fn table() -> String {
    let mut table = String::from(LEGEND);
    let own = lines(&ServiceRules::ONIT, Role::Main);
    let mut section = |title: &str, lines: &[Line]| {
        write!(table, "\n== {title}\n\n{}", folded(lines)).expect("a String takes all");
    };
    section("onit", &own);
    for (title, rules, role) in [
        ("onit, a logger, where it differs", &ServiceRules::ONIT, Role::Logger),
        ("as runsv, where it differs", &ServiceRules::RUNSV, Role::Main),
        ("as supervise, where it differs", &ServiceRules::SUPERVISE, Role::Main),
    ] {
        let mut lines = lines(rules, role);
        lines.retain(|line| !own.contains(line));
        section(title, &lines);
    }
    table
}

#[test]
fn transitions_are_those_of_the_golden_table() {
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(GOLDEN, &table).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("tests/golden/transitions.txt is there");
    let differ = golden.lines().zip(table.lines()).find(|(golden, now)| golden != now);
    assert_eq!(differ, None, "golden and now; if the change is meant: BLESS=1 cargo test --lib transitions");
    assert_eq!(golden.len(), table.len(), "one of them is longer");
}
