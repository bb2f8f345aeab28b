//! The diagram of states is that of the machine: every change that it can make is there, and no other.

use super::*;
use crate::machine::ServiceState;
use crate::machine::restart::{Backoff, MaxRestarts};
use crate::machine::states::{Cause, changes as changes_told};
use std::collections::{BTreeSet, HashSet, VecDeque};

#[derive(Clone, Copy, Debug)]
enum Happening {
    Order(Command),
    Ends(u8),
    Ready,
    Tick,
    Pass,
    /// What it depends on is another than it was.
    Gate(Gate),
    /// What it says of itself.
    Says(Notification),
    /// What `check` or `health` say.
    Probe(u8),
}

impl Happening {
    const ALL: [Happening; 21] = [
        Happening::Order(Command::Up),
        Happening::Order(Command::Down),
        Happening::Order(Command::Once),
        Happening::Order(Command::Exit),
        Happening::Order(Command::Term),
        Happening::Ends(0),
        Happening::Ends(3),
        Happening::Ends(100),
        Happening::Ends(111),
        Happening::Ends(125),
        Happening::Ready,
        Happening::Tick,
        Happening::Pass,
        Happening::Gate(Gate::Open),
        Happening::Gate(Gate::Waiting),
        Happening::Gate(Gate::Skipped),
        Happening::Says(Notification::Stopping),
        Happening::Says(Notification::Trigger),
        Happening::Says(Notification::AliveEvery(Some(SECOND))),
        Happening::Probe(0),
        Happening::Probe(1),
    ];

    /// Why what it happens to changes its state, which is this one now.
    fn cause(self, state: ServiceState) -> Cause {
        match self {
            Happening::Order(_) => Cause::Order,
            Happening::Ends(_) => Cause::End,
            Happening::Ready => Cause::Ready,
            Happening::Says(_) => Cause::Says,
            Happening::Probe(_) => match state {
                ServiceState::Starting => Cause::Ready,
                ServiceState::Up => Cause::Says,
                _ => Cause::Time, // it only shows what has come about meanwhile
            },
            Happening::Tick | Happening::Pass | Happening::Gate(_) => Cause::Time,
        }
    }

    fn happens_to(self, world: &mut World) {
        match self {
            Happening::Order(command) => _ = world.order(command),
            Happening::Ends(code) if has(world, Part::Life) => _ = world.ends(Exit::Code(code)),
            Happening::Probe(code) if has(world, Part::Probe) => _ = world.probe_ends(Exit::Code(code)),
            Happening::Ready if world.known.awaited && world.service.view().phase == Phase::Run => {
                world.says_that_it_is_ready();
            }
            Happening::Tick => {
                world.now = world.service.deadline().map_or(world.now, |at| at.max(world.now));
                world.ticks();
            }
            Happening::Pass if world.service.deadline().is_none() => world.pass(SECOND),
            Happening::Gate(gate) => {
                // Who waits for others is looked at again when they change; all else at its next start.
                world.gate = gate;
                if world.service.state() == ServiceState::Waiting {
                    world.handle(Event::Tick);
                }
            }
            Happening::Says(said)
                if world.readiness_of_life == Readiness::Notify && world.service.view().phase == Phase::Run =>
            {
                world.says(said);
            }
            Happening::Ends(_) | Happening::Ready | Happening::Pass | Happening::Says(_) | Happening::Probe(_) => {}
        }
    }
}

fn has(world: &World, wanted: Part) -> bool {
    world.living.iter().any(|p| part(p.script) == wanted)
}

/// The state, at whatever time it was reached.
fn abstracted(world: &World) -> String {
    let mut memory = world.service.memory().abstracted();
    for at in memory.instants() {
        *at = match *at {
            0 => 0,
            past if past <= world.now.0 + 1 => 1,
            _ => 2,
        };
    }
    let last = world.service.history().last_end().map(|end| (end.asked, end.is_success, end.over));
    let [probe, _, _, _, said, alive_until, ..] = world.service.extra();
    let silent = if alive_until > world.now.0 + 1 { 2 } else { alive_until.min(1) };
    let ends = world.service.history().lives().len().min(3);
    let probe = probe >> 32 & 0xffff; // all but its process, and how often it has failed
    format!("{:?} {last:?} {ends} {:?} {} {said} {silent} {probe}", memory.pack(), world.gate, world.known.owed)
}

type Change = (&'static str, &'static str, &'static str);

/// Every change of this world.
fn explore(first: World, changes: &mut BTreeSet<Change>) {
    let mut seen = HashSet::from([abstracted(&first)]);
    let mut front = VecDeque::from([first]);
    while let Some(world) = front.pop_front() {
        for happening in Happening::ALL {
            let mut next = world.clone();
            happening.happens_to(&mut next);
            let (before, after) = (world.service.state(), next.service.state());
            if before != after {
                changes.insert((before.word(), happening.cause(before).word(), after.word()));
            }
            if seen.insert(abstracted(&next)) {
                front.push_back(next);
            }
        }
    }
}

fn worlds() -> impl Iterator<Item = World> {
    let setups = [Program::Absent, Program::Runs, Program::Refused(Refusal::Exec)];
    let finishes = [Program::Absent, Program::Runs];
    let runs = [None, Some(Refusal::Exec)];
    let all = setups.into_iter().flat_map(move |setup| finishes.into_iter().map(move |finish| (setup, finish)));
    let all = all.flat_map(move |(setup, finish)| runs.into_iter().map(move |run| (setup, finish, run)));
    all.flat_map(|(setup, finish, run)| {
        // Notifications make many states: one of these is enough.
        let is_simple = setup == Program::Absent && finish == Program::Absent && run.is_none();
        let says = if is_simple { Readiness::Notify } else { Readiness::Descriptor(3) };
        let checks = Some(Readiness::Check(None)).filter(|_| is_simple);
        [Readiness::None, says].into_iter().chain(checks).flat_map(move |readiness| {
            let oneshots = [false, setup == Program::Runs];
            oneshots.into_iter().map(move |oneshot| {
                let programs = Programs { setup, oneshot, run, finish, ..Programs::RUN };
                let limits = Limits { up_limit: Some(SECOND * 5), ..Limits::of(&ServiceRules::ONIT) };
                let world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
                let mut world = world.with(programs).limited(limits);
                (world.readiness, world.restarts.restart) = (readiness, Restart::OnFailure);
                let policy = HealthPolicy { retries: 1, ..HealthPolicy::default() };
                world.health = matches!(readiness, Readiness::Check(_)).then_some(policy);
                world.restarts.backoff = Backoff { min: SECOND, max: SECOND, reset: Duration::ZERO };
                world.restarts.max_restarts = Some(MaxRestarts { count: 1, window: SECOND * 3 });
                world
            })
        })
    })
}

#[test]
fn the_diagram_of_states_has_every_change_and_no_other() {
    let mut changes = BTreeSet::new();
    for mut world in worlds() {
        world.begin();
        explore(world, &mut changes);
    }
    let told: Vec<Change> = changes_told().map(|(from, cause, to)| (from.word(), cause.word(), to.word())).collect();
    let missing: Vec<_> = changes.iter().filter(|change| !told.contains(change)).collect();
    let invented: Vec<_> = told.iter().filter(|change| !changes.contains(change)).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}; invented: {invented:?}");
    assert_eq!(told.len(), changes.len(), "each once");
}
