//! Random walks: any order, death, refusal and delay in any order, and then an end that must come out right.
//!
//! The walks are the same in each run; `WALKS=100000 cargo test --lib walks` takes so many new ones, and `SEED=7` beside
//! that the same ones again.

use super::*;
use crate::machine::policy::{KILL_RETRY, KillMode};
use crate::machine::restart::{Backoff, MaxRestarts, SuccessCodes};
use crate::machine::system::{Order, System};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// A kind world comes to rest in this time: a drain (30 s), a KILL after a TERM, a `timeout-kill`, and a start.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Happening {
    Order(Command),
    Death(usize, Exit),
    Pass(Duration),
    /// Time jumps to the deadline.
    Due,
    Programs(Programs),
    Limits(Limits),
    /// Another `health`, or none.
    Health(Option<HealthPolicy>),
    Drain {
        pending: bool,
    },
    Escalate,
    Ready,
    Says(Notification),
    Succeeded,
    /// A second `run` says that it is ready.
    SecondReady,
}

pub(super) fn settings() -> ProptestConfig {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u32>().ok());
    let (walks, seed) = (number("WALKS"), number("SEED"));
    ProptestConfig {
        cases: walks.unwrap_or(500),
        rng_seed: match (walks, seed) {
            (Some(_), None) => RngSeed::Random,
            (_, seed) => RngSeed::Fixed(seed.unwrap_or(1).into()),
        },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn exits() -> impl Strategy<Value = Exit> {
    let killed = |signal, core| Exit::Signal { signal, core };
    let codes = [0, 1, 75, 100, 111].map(Exit::Code);
    select([&codes[..], &[killed(Signal::TERM, false), killed(Signal(11), true)]].concat())
}

fn spans() -> impl Strategy<Value = Duration> {
    prop_oneof![0u64..100, 0u64..1500, 0u64..8000].prop_map(Duration::from_millis)
}

fn programs() -> impl Strategy<Value = Programs> {
    const STOPS: &[Command] = &[Command::Term, Command::Down, Command::Exit];
    let run = prop_oneof![4 => Just(None), 1 => refusals().prop_map(Some)];
    let refused = refusals().prop_map(Program::Refused);
    let finish = prop_oneof![8 => Just(Program::Runs), 1 => Just(Program::Absent), 1 => refused];
    let hooks = select(vec![&[], &COMMANDS[..], &[Command::Up], &[Command::Term], STOPS]);
    let refused = refusals().prop_map(Program::Refused);
    let setup = (prop_oneof![8 => Just(Program::Absent), 4 => Just(Program::Runs), 1 => refused], any::<bool>());
    let refused = refusals().prop_map(Program::Refused);
    let stop = prop_oneof![8 => Just(Program::Absent), 4 => Just(Program::Runs), 1 => refused];
    let probes = prop_oneof![4 => Just(None), 1 => refusals().prop_map(Some)];
    let all = (setup, run, (finish, stop), hooks, proptest::option::of(refusals()), probes);
    all.prop_map(|((setup, oneshot), run, (finish, stop), hooks, refused_hooks, refused_probes)| Programs {
        setup,
        oneshot,
        run,
        finish,
        stop,
        hooks,
        refused_hooks,
        refused_probes,
    })
}

fn refusals() -> impl Strategy<Value = Refusal> {
    select(vec![Refusal::Exec, Refusal::Fork])
}

fn limits() -> impl Strategy<Value = Limits> {
    let maybe = || proptest::option::of((1u64..10_000).prop_map(Duration::from_millis));
    let signals = select(vec![Signal::TERM, Signal::HUP, Signal::KILL]);
    (signals, maybe(), maybe(), maybe()).prop_map(|(stop_signal, kill_after, finish_limit, up_limit)| Limits {
        up_limit,
        stop_signal,
        kill_after,
        finish_limit,
    })
}

fn happenings() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => select(COMMANDS.to_vec()).prop_map(Happening::Order),
        30 => (0usize..4, exits()).prop_map(|(which, exit)| Happening::Death(which, exit)),
        25 => Just(Happening::Due),
        15 => spans().prop_map(Happening::Pass),
        10 => programs().prop_map(Happening::Programs),
        5 => limits().prop_map(Happening::Limits),
        3 => health().prop_map(Happening::Health),
        2 => any::<bool>().prop_map(|pending| Happening::Drain { pending }),
        1 => Just(Happening::Escalate),
        10 => Just(Happening::Ready),
        10 => notifications().prop_map(Happening::Says),
        5 => Just(Happening::Succeeded),
        8 => Just(Happening::Order(Command::Replace)),
        8 => Just(Happening::SecondReady),
    ]
}

fn notifications() -> impl Strategy<Value = Notification> {
    prop_oneof![
        1 => Just(Notification::Reloading),
        1 => Just(Notification::Stopping),
        3 => Just(Notification::Alive),
        1 => Just(Notification::Trigger),
        4 => proptest::option::of(spans()).prop_map(Notification::AliveEvery),
        2 => spans().prop_map(Notification::MoreTime),
    ]
}

/// A service, its world, and what happens to it.
#[derive(Clone, Debug)]
struct Walk {
    rules: &'static ServiceRules,
    role: Role,
    want: Want,
    programs: Programs,
    limits: Limits,
    restarts: Rare<Rules>,
    readiness: Readiness,
    health: Option<HealthPolicy>,
    kill_mode: KillMode,
    happenings: Vec<Happening>,
}

fn readiness() -> impl Strategy<Value = Readiness> {
    prop_oneof![
        3 => Just(Readiness::None),
        1 => spans().prop_map(Readiness::After),
        2 => Just(Readiness::Descriptor(3)),
        2 => Just(Readiness::Notify),
        2 => proptest::option::of(spans()).prop_map(Readiness::Check),
    ]
}

fn health() -> impl Strategy<Value = Option<HealthPolicy>> {
    let actions = select(vec![HealthAction::Restart, HealthAction::Report]);
    let some =
        (1u64..3000, 1u64..6000, 1u32..4, 0u64..2000, actions).prop_map(|(every, timeout, retries, after, action)| {
            let [every, timeout, after] = [every, timeout, after].map(Duration::from_millis);
            HealthPolicy { every, timeout, retries, after, action }
        });
    proptest::option::of(some)
}

prop_compose! {
    fn restarts()(
        restart in select(vec![Restart::Always, Restart::Always, Restart::OnFailure, Restart::Never]),
        success in select(vec![0, 0, 1]),
        min in 1u64..3000,
        more in 0u64..20_000,
        max_restarts in proptest::option::of((0u32..4, 1u64..60).prop_map(|(count, window)| MaxRestarts { count, window: window as u32 * SECOND })),
        start_retries in proptest::option::of(0u32..4),
        is_default in any::<bool>(),
    ) -> Rare<Rules> {
        let mut restarts: Rare<Rules> = Rare::default();
        if !is_default {
            let [min, max] = [min, min + more].map(Duration::from_millis);
            restarts.restart = restart;
            restarts.success = SuccessCodes::default().and(Exit::Code(success));
            restarts.backoff = Backoff { min, max, reset: 30 * SECOND };
            restarts.max_restarts = max_restarts;
            restarts.start_retries = start_retries;
        }
        restarts
    }
}

prop_compose! {
    fn walks()(
        rules in select(vec![
            &ServiceRules::ONIT,
            &ServiceRules::RUNSV,
            &ServiceRules::SUPERVISE,
            &ServiceRules::S6,
            &ServiceRules::S6_SUPERVISE,
        ]),
        role in select(vec![Role::Main, Role::Main, Role::Logger]),
        want in select(vec![Want::Up, Want::Down, Want::Once]),
        programs in programs(),
        limits in limits(),
        restarts in restarts(),
        readiness in readiness(),
        health in health(),
        kill_mode in select(vec![KillMode::Process, KillMode::Process, KillMode::Group, KillMode::Cgroup]),
        happenings in prop::collection::vec(happenings(), 0..50),
    ) -> Walk {
        Walk { rules, role, want, programs, limits, restarts, readiness, health, kill_mode, happenings }
    }
}

impl Walk {
    fn walked(self) -> World {
        let mut world = World::new(self.rules, self.role, self.want).with(self.programs).limited(self.limits);
        world.restarts = self.restarts;
        (world.readiness, world.health) = (self.readiness, self.health);
        world.kill_mode = self.kill_mode;
        world.begin();
        for happening in self.happenings {
            world.turn(happening);
        }
        world
    }
}

impl World {
    /// A turn as in life: what happened comes before the timers, which may be late.
    fn turn(&mut self, happening: Happening) {
        match happening {
            Happening::Order(command) => drop(self.order(command)),
            Happening::Death(which, exit) if which < self.living.len() => drop(self.death(which, exit)),
            Happening::Death(..) => {}
            Happening::Pass(span) => self.pass(span),
            Happening::Due => self.now = self.service.deadline().unwrap_or(self.now).max(self.now),
            Happening::Programs(programs) => self.programs = programs,
            // As in life: they are read before a start.
            Happening::Limits(limits) if self.living.is_empty() => self.limit(limits),
            Happening::Limits(_) => {}
            Happening::Health(health) => self.health = health,
            Happening::Drain { pending } if self.role == Role::Logger => {
                self.unread = pending.into();
                self.drain(pending);
            }
            Happening::Drain { .. } => {}
            Happening::Escalate => drop(self.escalate()),
            Happening::Ready => drop(self.says_that_it_is_ready()),
            Happening::Says(said) => drop(self.says(said)),
            Happening::Succeeded => drop(self.is_succeeded()),
            Happening::SecondReady => drop(self.second_is_ready()),
        }
        self.ticks();
    }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn whatever_was_told_up_runs_again(walk in walks()) {
        let mut world = walk.walked();
        world.order(Command::Up);
        let told_up = !world.service.view().leaving;
        let took = world.settle();
        prop_assert!(took <= PATIENCE);
        let has_failed = world.known.want == Want::Down; // it was stopped, as it was not ready in time, once too often
        prop_assert!(!told_up || has_failed || world.service.view().phase == Phase::Run, "{world:?}");
    }

    #[test]
    fn whatever_was_told_down_comes_to_rest(walk in walks()) {
        let mut world = walk.walked();
        world.order(Command::Down);
        prop_assert!(world.settle() <= PATIENCE);
        prop_assert!(world.known.escalated || world.living.is_empty(), "{world:?}");
    }

    #[test]
    fn whatever_was_told_to_exit_is_gone_soon(walk in walks()) {
        let mut world = walk.walked();
        match world.role {
            Role::Main => drop(world.order(Command::Exit)),
            Role::Logger => drop(world.drain(true)),
        }
        let waits = world.role == Role::Main && world.rules.leave == Leave::Wait;
        prop_assert!(world.settle() <= PATIENCE);
        prop_assert!(world.service.is_gone() || waits, "{world:?}");
        if let Some(run) = world.living.iter().position(|p| p.script == Script::Run) {
            world.death(run, Exit::Code(0));
            prop_assert!(world.settle() <= PATIENCE);
            prop_assert!(world.service.is_gone(), "{world:?}");
        }
    }

    #[test]
    fn whatever_is_escalated_is_gone_with_its_processes(walk in walks(), which in 0usize..3, exit in exits()) {
        let mut world = walk.walked();
        world.escalate();
        prop_assert!(world.living.iter().all(|p| p.doomed), "each was sent KILL: {world:?}");
        while !world.living.is_empty() {
            world.death(which % world.living.len(), exit);
        }
        prop_assert!(world.service.is_gone(), "{world:?}");
    }

    #[test]
    fn nobody_is_left_by_repeated_kills(walk in walks()) {
        let mut world = walk.walked();
        // Whoever is killed late and does not die is killed again, each KILL_RETRY.
        for _ in 0..5 {
            if let Some(deadline) = world.service.deadline() {
                let before = world.now;
                world.turn(Happening::Due);
                prop_assert!(deadline > before, "a deadline lies ahead");
            }
        }
        if let Some(late) = world.living.iter().find(|p| p.killed == Some(world.now)) {
            let next = world.service.deadline().expect("it is watched");
            prop_assert!(next <= world.now.after(KILL_RETRY), "{late:?}");
        }
    }

    #[test]
    fn the_system_stops_once_and_kills_when_patience_is_over(
        calls in prop::collection::vec((0u8..4, 0u64..5000), 0..12),
        budget in proptest::option::of((1u64..10_000).prop_map(Duration::from_millis)),
        has_main: bool,
    ) {
        let (mut system, mut now, mut end, mut main) = (System::UP, Mono(0), None, has_main);
        for (call, millis) in calls {
            now = now.after(Duration::from_millis(millis));
            let (was_up, was_sweeping) = (system.is_up(), system.is_sweeping());
            let due = system.deadline().is_some_and(|at| at <= now);
            let order = match call {
                0 => Some(system.stop(now, budget, main)),
                1 => system.tick(now),
                2 if std::mem::take(&mut main) => system.main_ended(now, budget, 0),
                2 => None,
                _ if main => None,
                _ => system.services_ended(now),
            };
            if was_up && !system.is_up() {
                let first = if call == 0 && has_main && main { Order::AwaitMain } else { Order::StopAll };
                prop_assert_eq!(order, Some(first));
                end = budget.map(|budget| now.after(budget));
            } else if call == 0 {
                prop_assert_eq!(order, Some(Order::KillAll));
            } else if call == 1 {
                prop_assert_eq!(order.is_some(), due);
            }
            match order {
                Some(Order::KillAll) => {
                    prop_assert!(call == 0 || end.is_some_and(|end| end <= now), "only who asks twice is not given the time");
                    prop_assert_eq!(system.deadline(), None, "killed once");
                }
                Some(Order::Sweep) => prop_assert!(call == 1 || !was_sweeping, "one sweep, and one more to kill"),
                Some(Order::StopAll | Order::AwaitMain) | None => {}
            }
            prop_assert!(end.is_none_or(|end| system.deadline().is_none_or(|at| at <= end)), "one budget for all");
        }
    }
}
