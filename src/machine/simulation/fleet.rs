//! Many services, some with loggers, and the machine of the whole: what the end of one means for the others.

use super::*;
use crate::machine::fleet::{LogLink, Member, Removal, leave, removal};
use crate::machine::system::{Order, System};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const BUDGET: Duration = Duration::from_secs(7);

type Key = usize;

struct Place {
    world: World,
    link: LogLink<Key>,
}

/// What a bystander knows of the whole.
#[derive(Default)]
struct Seen {
    /// How the first essential service ended.
    essential: Option<Exit>,
    stopped: bool,
    /// Services that were told to leave.
    told: BTreeSet<Key>,
    /// Those that are not started again until somebody says so.
    gave_up: BTreeSet<Key>,
}

struct Fleet {
    places: BTreeMap<Key, Place>,
    system: System,
    now: Mono,
    has_main: bool,
    seen: Seen,
}

/// A service, by what matters here.
#[derive(Clone, Copy, Debug)]
struct Kind {
    has_logger: bool,
    has_finish: bool,
    essential: Option<Essential>,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    /// What runs of this one ends.
    Ends(Key, Exit),
    Order(Key, Command),
    /// Its directory was removed.
    Removed(Key),
    Pass(Duration),
    MainEnds(u8),
    Stop,
}

impl Fleet {
    fn new(rules: &'static ServiceRules, kinds: &[Kind], has_main: bool) -> Fleet {
        let mut places = BTreeMap::new();
        for (at, kind) in kinds.iter().enumerate() {
            let (service, logger) = (2 * at, 2 * at + 1);
            let mut world = World::new(rules, Role::Main, Want::Up);
            world.essential = kind.essential;
            world.programs = if kind.has_finish { Programs::RUN_AND_FINISH } else { Programs::RUN };
            let mut link = LogLink::None;
            if kind.has_logger {
                link = LogLink::Producer { logger, is_open: true };
                let world = World::new(rules, Role::Logger, Want::Up);
                places.insert(logger, Place { world, link: LogLink::Logger { of: service } });
            }
            places.insert(service, Place { world, link });
        }
        let now = places.values().next().map_or(Mono(0), |place| place.world.now);
        let mut fleet = Fleet { places, system: System::UP, now, has_main, seen: Seen::default() };
        fleet.keys().into_iter().for_each(|at| fleet.with(at, World::begin));
        fleet
    }

    fn keys(&self) -> Vec<Key> {
        self.places.keys().copied().collect()
    }

    fn is_logger(&self, at: Key) -> bool {
        self.places.get(&at).is_some_and(|place| place.world.role == Role::Logger)
    }

    /// Something happens to one of them, and what follows for the others.
    fn with(&mut self, at: Key, happens: impl FnOnce(&mut World) -> String) {
        let Some(place) = self.places.get_mut(&at) else { return };
        place.world.outcome = None;
        let _ = happens(&mut place.world);
        let outcome = place.world.outcome;
        if let Some(Outcome::EssentialEnded(exit)) = outcome {
            let order = self.system.essential_ended(self.now, Some(BUDGET), self.has_main, exit);
            self.follow(order);
        }
        if let Some(Outcome::GaveUp(..)) = outcome {
            self.seen.gave_up.insert(at);
        }
        self.part(at);
    }

    fn part(&mut self, at: Key) {
        let member = |places: &BTreeMap<Key, Place>, at| {
            let place = places.get(&at)?;
            Some(Member { link: place.link, is_gone: place.world.service.is_gone() })
        };
        while let Some(removal) = removal(at, |at| member(&self.places, at)) {
            match removal {
                Removal::Drain { service, logger } => {
                    let producer = self.places.get_mut(&service).expect("a service");
                    assert!(producer.world.living.is_empty(), "a logger reads as long as somebody may write");
                    producer.link = LogLink::Producer { logger, is_open: false };
                    self.with(logger, |world| world.drain(false));
                }
                Removal::Remove { service, logger } => {
                    assert!(self.seen.told.contains(&service), "only who was told to leave is let go");
                    for at in [Some(service), logger].into_iter().flatten() {
                        let gone = self.places.remove(&at).expect("let go once");
                        assert!(gone.world.living.is_empty(), "nothing of it is left");
                    }
                    return;
                }
            }
        }
    }

    fn release(&mut self, at: Key) {
        self.seen.told.insert(at);
        let rules = self.places.get(&at).map_or(&ServiceRules::ONIT, |place| place.world.rules);
        for command in leave(rules) {
            self.with(at, |world| world.order(*command));
        }
        assert!(self.places.get(&at).is_none_or(|place| place.world.service.view().leaving), "{at} leaves");
    }

    fn follow(&mut self, order: Option<Order>) {
        match order {
            None | Some(Order::AwaitMain | Order::Sweep) => {}
            Some(Order::StopAll) => {
                let services = self.keys().into_iter().filter(|at| !self.is_logger(*at));
                services.collect::<Vec<_>>().into_iter().for_each(|at| self.release(at));
            }
            Some(Order::KillAll) => {
                self.seen.told.extend(self.keys());
                self.keys().into_iter().for_each(|at| self.with(at, World::escalate));
            }
        }
    }

    fn happens(&mut self, happening: Happening) {
        self.expect(happening);
        match happening {
            Happening::Ends(at, exit) => self.with(at, |world| {
                let has_one = world.living.iter().any(|process| !is_control(process.script));
                if has_one { world.ends(exit) } else { String::new() }
            }),
            Happening::Order(at, command) => {
                if let Command::Up | Command::Once = command {
                    self.seen.gave_up.remove(&at);
                }
                self.with(at, |world| world.order(command));
            }
            Happening::Removed(at) if !self.is_logger(at) && self.places.contains_key(&at) => self.release(at),
            Happening::Removed(_) => {}
            Happening::Pass(span) => self.pass(span),
            Happening::MainEnds(code) if self.has_main => {
                self.has_main = false;
                let order = self.system.main_ended(self.now, Some(BUDGET), code.into());
                self.follow(order);
            }
            Happening::MainEnds(_) => {}
            Happening::Stop => {
                let order = self.system.stop(self.now, Some(BUDGET), self.has_main);
                self.follow(Some(order));
            }
        }
        self.check();
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
        let order = self.system.tick(self.now);
        self.follow(order);
        for at in self.keys() {
            self.with(at, |world| {
                world.pass(span);
                world.ticks()
            });
        }
    }

    /// What a bystander who knows the rules says before it happens.
    fn expect(&mut self, happening: Happening) {
        self.seen.stopped |= match happening {
            Happening::Stop => true,
            Happening::MainEnds(_) => self.has_main,
            Happening::Ends(at, exit) => {
                let fatal = self.places.get(&at).is_some_and(|place| is_fatal(&place.world, exit));
                if fatal && !self.seen.stopped {
                    self.seen.essential = Some(match self.places.get(&at).and_then(|place| end_of_run(&place.world)) {
                        Some(end) => end, // that of `run`, though it is `finish` that ends now
                        None => exit,
                    });
                }
                fatal
            }
            Happening::Order(..) | Happening::Removed(_) | Happening::Pass(_) => false,
        };
    }

    fn check(&self) {
        assert_eq!(self.seen.stopped, !self.system.is_up(), "it stops when somebody says so, and only then");
        if let Some(exit) = self.seen.essential {
            assert_eq!(self.system.conclusion().code, i32::from(exit.shell_code()), "the first essential one decides");
        }
        for (at, place) in &self.places {
            let view = place.world.service.view();
            assert!(!self.seen.gave_up.contains(at) || place.world.service.is_at_rest(), "{at} has given up");
            if let Role::Main = place.world.role {
                let told = self.seen.told.contains(at);
                assert!(!view.leaving || told, "{at} was not told to leave");
                if let LogLink::Producer { logger, is_open } = place.link {
                    assert_eq!(is_open, !place.world.service.is_gone(), "{at}: its pipe");
                    let logger = self.places.get(&logger).expect("a logger goes with its service, not before");
                    let reads_on = !logger.world.service.view().leaving;
                    assert!(reads_on == is_open || self.system.is_killing(), "{at}: its logger reads on");
                }
            }
        }
    }

    /// The world is kind from now on, and everything ends.
    fn end(&mut self) {
        self.has_main = false;
        if self.system.is_up() {
            self.happens(Happening::Stop);
        } else {
            let order = self.system.main_ended(self.now, Some(BUDGET), 0);
            self.follow(order);
        }
        for _ in 0..200 {
            for at in self.keys() {
                self.with(at, |world| match world.living.iter().position(Process::ends_soon) {
                    Some(which) => world.death(which, Exit::Code(0)),
                    None => String::new(),
                });
            }
            self.pass(SECOND);
            if self.places.is_empty() {
                return;
            }
        }
        panic!("who was told to leave is let go: {:?}", self.keys());
    }
}

/// The end of `run` that `finish` deals with at the moment.
fn end_of_run(world: &World) -> Option<Exit> {
    world.living.iter().find_map(|process| match process.script {
        Script::Finish(exit) => Some(exit),
        Script::Setup
        | Script::Run
        | Script::Successor
        | Script::Control(_)
        | Script::Stop
        | Script::Check
        | Script::Health => None,
    })
}

/// Whether this end of what runs ends everything, by the words of the manual.
fn is_fatal(world: &World, exit: Exit) -> bool {
    let runs = world.living.iter().any(|process| process.script == Script::Run);
    match end_of_run(world) {
        Some(end) => {
            let known = &world.known;
            let gives_up = exit == Exit::GIVE_UP && world.rules.finish_gives_up && !known.owed && !known.escalated;
            let restarts = known.want == Want::Up && !world.service.view().leaving;
            gives_up && restarts && world.essential == Some(Essential::OnGiveup) && end != Exit::Code(0)
        }
        None => runs && world.is_essential_end(exit),
    }
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let essential = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Essential::Always)),
        1 => Just(Some(Essential::OnFailure)),
        1 => Just(Some(Essential::OnGiveup)),
    ];
    let kind = (any::<bool>(), any::<bool>(), essential);
    let kind = kind.prop_map(|(has_logger, has_finish, essential)| Kind { has_logger, has_finish, essential });
    prop::collection::vec(kind, 1..7)
}

fn happenings() -> impl Strategy<Value = Happening> {
    let at = || 0usize..14;
    let exits = prop_oneof![
        2 => Just(Exit::Code(0)),
        2 => Just(Exit::Code(3)),
        2 => Just(Exit::GIVE_UP),
        1 => Just(Exit::Signal { signal: Signal::TERM, core: false }),
    ];
    let orders = prop_oneof![Just(Command::Up), Just(Command::Down), Just(Command::Once), Just(Command::Term)];
    prop_oneof![
        8 => (at(), exits).prop_map(|(at, exit)| Happening::Ends(at, exit)),
        3 => (at(), orders).prop_map(|(at, command)| Happening::Order(at, command)),
        1 => at().prop_map(Happening::Removed),
        6 => (0u64..3000).prop_map(|span| Happening::Pass(Duration::from_millis(span))),
        1 => any::<u8>().prop_map(Happening::MainEnds),
        1 => Just(Happening::Stop),
    ]
}

proptest! {
    #![proptest_config(super::walks::settings())]

    #[test]
    fn one_ends_all_only_if_it_is_essential_and_who_is_told_to_leave_is_let_go_with_its_logger(
        kinds in kinds(),
        has_main in any::<bool>(),
        happenings in prop::collection::vec(happenings(), 0..60),
    ) {
        let mut fleet = Fleet::new(&ServiceRules::ONIT, &kinds, has_main);
        happenings.into_iter().for_each(|happening| fleet.happens(happening));
        fleet.end();
    }
}

const PLAIN: Kind = Kind { has_logger: false, has_finish: true, essential: None };

#[test]
fn whoever_gives_up_rests_and_the_others_run_on() {
    let mut fleet = Fleet::new(&ServiceRules::ONIT, &[PLAIN; 3], false);
    fleet.happens(Happening::Pass(2 * SECOND));
    fleet.happens(Happening::Ends(2, Exit::Code(3)));
    fleet.happens(Happening::Ends(2, Exit::GIVE_UP));
    fleet.happens(Happening::Pass(100 * SECOND));
    let phase = |fleet: &Fleet, at| fleet.places[&at].world.service.view().phase;
    assert_eq!([0, 2, 4].map(|at| phase(&fleet, at)), [Phase::Run, Phase::Down, Phase::Run]);
    assert_eq!((fleet.seen.gave_up.iter().collect::<Vec<_>>(), fleet.system.is_up()), (vec![&2], true));
    fleet.happens(Happening::Order(2, Command::Up));
    assert_eq!(phase(&fleet, 2), Phase::Run);
    fleet.end();
}
