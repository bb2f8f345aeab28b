//! Services that depend on each other: every graph of up to three, in every state that it can be in.
//!
//! Time is abstract: what is to come is known by its order, and what is past by whether it was long ago. From each state
//! each event is tried, and from each state all services are brought up, brought down and stopped, in a kind world.

use super::*;
use crate::machine::ServiceState;
use crate::machine::fleet::links::{Kind, Links, is_being_stopped, is_brought_up};
use crate::machine::restart::Backoff;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

type Key = usize;

/// What a service is, by what matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sort {
    /// It is ready at once.
    Plain,
    /// It says when it is ready.
    Speaks,
    /// It has nothing but a `setup`.
    Oneshot,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Happening {
    Order(Key, Command),
    Ends(Key, u8),
    Ready(Key),
    /// The next deadline comes.
    Tick,
    /// A second without one.
    Pass,
    StopAll,
}

#[derive(Clone, Debug)]
struct Fleet {
    worlds: Vec<World>,
    links: Links<Key>,
    now: Mono,
    stopping: bool,
    due: VecDeque<Key>,
    /// Services in the order in which they were told to end by an order to stop.
    told: Vec<Key>,
}

impl Fleet {
    fn new(sorts: &[Sort], links: &[(Key, Kind, Key)]) -> Fleet {
        let mut all = Links::default();
        for at in 0..sorts.len() {
            let own = links.iter().filter(|(from, ..)| *from == at).map(|(_, kind, on)| (*kind, *on));
            all.set(&at, own.collect());
        }
        all.settle();
        let worlds = sorts.iter().map(|sort| world(*sort)).collect();
        let mut fleet =
            Fleet { worlds, links: all, now: Mono(1_000_000_000), stopping: false, due: VecDeque::new(), told: vec![] };
        (0..sorts.len()).for_each(|at| fleet.with(at, false, World::begin));
        fleet
    }

    fn state(&self, at: Key) -> ServiceState {
        self.worlds[at].service.state()
    }

    fn awaited(&self, at: Key) -> bool {
        self.links.awaited(&at, |on| Some(self.state(*on))).is_some()
    }

    fn is_held(&self, at: Key) -> bool {
        self.links.is_held(&at, |by| is_being_stopped(&self.worlds[*by].service.view(), self.stopping))
    }

    /// Something happens to one of them. `may_stop`: it may be told to end although others that depend on it still run.
    fn with(&mut self, at: Key, may_stop: bool, happens: impl FnOnce(&mut World) -> String) {
        self.step(at, may_stop, happens);
        while let Some(at) = self.due.pop_front() {
            let waits = self.state(at) == ServiceState::Waiting && !self.awaited(at);
            if waits || (self.worlds[at].service.is_stop_due() && !self.is_held(at)) {
                self.step(at, false, |world| world.handle(Event::Tick));
            }
        }
    }

    fn step(&mut self, at: Key, may_stop: bool, happens: impl FnOnce(&mut World) -> String) {
        let (gate, held) = (if self.awaited(at) { Gate::Waiting } else { Gate::Open }, self.is_held(at));
        let stood = (self.state(at), self.worlds[at].service.view());
        let world = &mut self.worlds[at];
        (world.gate, world.held, world.now) = (gate, held, self.now);
        let was_told = world.living.iter().any(|process| process.told);
        happens(world);
        if !was_told && world.living.iter().any(|process| process.told) && !may_stop {
            assert!(!self.has_to_wait(at), "{at} is needed by one that is still being stopped: {self:?}");
            self.told.push(at);
        }
        if (self.state(at), self.worlds[at].service.view()) != stood {
            let waiting = self.links.dependents(&at).map(|(_, by)| *by);
            let held = self.links.of(&at).map(|(_, on)| *on);
            self.due.extend(waiting.chain(held).collect::<Vec<_>>());
        }
    }

    /// Whether one that depends on it still runs, and is to end for good: as a bystander knows it.
    fn has_to_wait(&self, at: Key) -> bool {
        self.links.dependents(&at).any(|(_, by)| {
            let by = &self.worlds[*by];
            !by.living.is_empty() && (self.stopping || by.known.want == Want::Down)
        })
    }

    fn order(&mut self, at: Key, command: Command) {
        match command {
            Command::Up | Command::Once => {
                for on in self.links.needs(&at) {
                    if is_brought_up(self.state(on), self.worlds[on].service.view().want) {
                        self.with(on, false, |world| world.order(Command::Up));
                    }
                }
            }
            Command::Down => {
                for by in self.links.needed_by(&at) {
                    if self.worlds[by].service.view().want != Want::Down {
                        self.with(by, false, |world| world.order(Command::Down));
                    }
                }
            }
            _ => {}
        }
        let is_stop = command == Command::Down;
        self.with(at, !is_stop, |world| world.order(command));
    }

    fn stop_all(&mut self) {
        self.stopping = true;
        (0..self.worlds.len()).for_each(|at| self.with(at, false, |world| world.order(Command::Exit)));
    }

    fn deadline(&self) -> Option<Mono> {
        self.worlds.iter().filter_map(|world| world.service.deadline()).min()
    }

    /// Whether this can happen now.
    fn can(&self, happening: Happening) -> bool {
        match happening {
            Happening::Order(_, Command::Up | Command::Once) | Happening::StopAll => !self.stopping,
            Happening::Order(..) => true,
            Happening::Ends(at, _) => !self.worlds[at].living.is_empty(),
            Happening::Ready(at) => self.speaks(at),
            Happening::Tick => self.deadline().is_some(),
            Happening::Pass => self.deadline().is_none_or(|at| at > self.now.after(SECOND)),
        }
    }

    fn speaks(&self, at: Key) -> bool {
        self.worlds[at].known.awaited && self.worlds[at].service.view().phase == Phase::Run
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Order(at, command) => self.order(at, command),
            Happening::Ends(at, code) => self.with(at, true, |world| world.ends(Exit::Code(code))),
            Happening::Ready(at) => self.with(at, true, World::says_that_it_is_ready),
            Happening::Tick => {
                self.now = self.deadline().map_or(self.now, |at| at.max(self.now));
                for at in 0..self.worlds.len() {
                    self.with(at, false, World::ticks);
                }
            }
            Happening::Pass => self.now = self.now.after(SECOND),
            Happening::StopAll => self.stop_all(),
        }
        self.check();
    }

    fn check(&self) {
        for at in 0..self.worlds.len() {
            let due = self.worlds[at].service.is_stop_due();
            assert!(!due || self.is_held(at), "{at} is stopped as soon as nobody holds it: {self:?}");
            assert!(!due || self.worlds[at].known.want != Want::Up, "{at} was told to stay up: {self:?}");
            let waits = self.state(at) == ServiceState::Waiting;
            assert!(!waits || self.awaited(at), "{at} waits for nothing: {self:?}");
        }
    }

    /// The same state, at whatever time it was reached.
    fn abstracted(&self) -> Vec<u64> {
        let mut memories: Vec<_> = self.worlds.iter().map(|world| world.service.memory().abstracted()).collect();
        let (now, long) = (self.now.0, SECOND.as_nanos() as u64);
        let future: BTreeSet<u64> =
            memories.iter_mut().flat_map(|memory| memory.instants().map(|at| *at)).filter(|at| *at > now + 1).collect();
        let rank = |at: u64| future.iter().position(|known| *known == at).unwrap_or(0) as u64;
        let class = |at: u64| match at {
            0 => 0,
            past if past <= now + 1 => 1 + u64::from(now + 1 - past >= long),
            to_come => 3 + rank(to_come),
        };
        let mut words = vec![u64::from(self.stopping)];
        for (memory, world) in memories.iter_mut().zip(&self.worlds) {
            memory.instants().into_iter().for_each(|at| *at = class(*at));
            words.extend(memory.pack());
            words.push(world.service.state() as u64 | u64::from(world.known.owed) << 8);
        }
        words
    }

    // In a kind world.

    /// Whatever is told to end does, `setup` succeeds, and who may become ready does. Until nothing more happens.
    fn settle(&mut self) {
        for _ in 0..100 {
            let count = self.worlds.len();
            if let Some(at) = (0..count).find(|at| self.speaks(*at)) {
                self.happens(Happening::Ready(at));
            } else if let Some(at) = (0..count).find(|at| self.worlds[*at].living.iter().any(Process::ends_soon)) {
                self.happens(Happening::Ends(at, 0));
            } else if self.deadline().is_some() {
                self.happens(Happening::Tick);
            } else {
                return;
            }
        }
        panic!("it never settles: {self:?}");
    }

    /// What is promised from each state.
    fn try_ends(&self) {
        let all = 0..self.worlds.len();
        if !self.stopping {
            let mut up = self.clone();
            all.clone().for_each(|at| up.order(at, Command::Up));
            up.settle();
            let is_up = |at| matches!(up.state(at), ServiceState::Up | ServiceState::Done);
            assert!(all.clone().all(is_up), "up leads up from {self:?} to {up:?}");
            let mut down = self.clone();
            all.clone().for_each(|at| down.order(at, Command::Down));
            down.settle();
            assert!(down.worlds.iter().all(|world| world.living.is_empty()), "down leads down from {self:?}");
        }
        let mut over = self.clone();
        over.told.clear();
        over.stop_all();
        over.settle();
        assert!(over.worlds.iter().all(|world| world.service.is_gone()), "all end from {self:?} to {over:?}");
        let told_at = |at: Key| over.told.iter().position(|told| *told == at);
        for at in all {
            for (_, on) in self.links.of(&at) {
                let in_order = told_at(at).zip(told_at(*on)).is_none_or(|(first, then)| first < then);
                assert!(in_order, "{at} stops before {on}: {:?} from {self:?}", over.told);
            }
        }
    }
}

fn world(sort: Sort) -> World {
    let programs = match sort {
        Sort::Plain | Sort::Speaks => Programs::RUN,
        Sort::Oneshot => Programs { setup: Program::Runs, oneshot: true, ..Programs::RUN },
    };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(programs);
    if sort == Sort::Speaks {
        world.readiness = Readiness::Descriptor(3);
    }
    // The pause is always the same, so that how many ends there were makes no difference.
    world.restarts.backoff = Backoff { min: SECOND, max: SECOND, reset: Duration::ZERO };
    world
}

/// What is tried in each state.
#[derive(Clone, Copy, Debug)]
struct Alphabet {
    orders: &'static [Command],
    /// With which codes processes end.
    codes: &'static [u8],
    /// Whether lives may be long.
    passes: bool,
}

impl Alphabet {
    const WHOLE: Alphabet = Alphabet {
        orders: &[Command::Up, Command::Down, Command::Once, Command::Term, Command::Kill(Target::Process)],
        codes: &[0, 3],
        passes: true,
    };
    const SMALL: Alphabet = Alphabet { orders: &[Command::Up, Command::Down], codes: &[0], passes: false };

    fn events(&self, services: usize) -> Vec<Happening> {
        let mut events = vec![Happening::Tick, Happening::StopAll];
        events.extend(self.passes.then_some(Happening::Pass));
        for at in 0..services {
            events.push(Happening::Ready(at));
            events.extend(self.orders.iter().map(|command| Happening::Order(at, *command)));
            events.extend(self.codes.iter().map(|code| Happening::Ends(at, *code)));
        }
        events
    }
}

/// Every state that can be reached: their number.
fn explore(sorts: &[Sort], links: &[(Key, Kind, Key)], alphabet: Alphabet) -> usize {
    let events = alphabet.events(sorts.len());
    let first = Fleet::new(sorts, links);
    let mut seen = HashSet::from([first.abstracted()]);
    let mut front = VecDeque::from([first]);
    while let Some(fleet) = front.pop_front() {
        fleet.try_ends();
        for event in &events {
            if fleet.can(*event) {
                let mut next = fleet.clone();
                next.happens(*event);
                next.told.clear();
                if seen.insert(next.abstracted()) {
                    front.push_back(next);
                }
            }
        }
    }
    seen.len()
}

/// Services, and how they are linked.
type Graph = (Vec<Sort>, Vec<(Key, Kind, Key)>);

/// Explores these graphs, a thread for each processor, and says how many states they have.
fn explore_all(graphs: &[Graph], alphabet: Alphabet) {
    let (next, states) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((sorts, links)) = graphs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    states.fetch_add(explore(sorts, links, alphabet), Ordering::Relaxed);
                }
            });
        }
    });
    crate::sys::say::say(format_args!("{} graphs of services: {} states", graphs.len(), states.into_inner()));
}

/// Every way to link these, each with those before it: a circle is passed over, so there is none.
fn graphs(sorts: &[Sort]) -> Vec<Graph> {
    let pairs: Vec<(Key, Key)> = (0..sorts.len()).flat_map(|at| (0..at).map(move |on| (at, on))).collect();
    let kinds = [None, Some(Kind::Needs), Some(Kind::After)];
    (0..kinds.len().pow(pairs.len() as u32))
        .map(|number| {
            let kind = |place: usize| kinds[number / kinds.len().pow(place as u32) % kinds.len()];
            let links = pairs.iter().enumerate().filter_map(|(place, (at, on))| Some((*at, kind(place)?, *on)));
            (sorts.to_vec(), links.collect())
        })
        .collect()
}

#[test]
fn one_or_two_services_keep_their_promises_in_every_state() {
    let sorts = [&[Sort::Plain][..], &[Sort::Speaks], &[Sort::Oneshot], &[Sort::Speaks, Sort::Plain]];
    explore_all(&sorts.into_iter().flat_map(graphs).collect::<Vec<_>>(), Alphabet::WHOLE);
    let sorts = [&[Sort::Oneshot, Sort::Speaks], &[Sort::Speaks, Sort::Oneshot]];
    explore_all(&sorts.into_iter().flat_map(|sorts| graphs(sorts)).collect::<Vec<_>>(), Alphabet::SMALL);
}

/// All ways to link three of them take minutes: a chain and a join are the daily part.
#[test]
fn three_services_keep_their_promises_in_every_state() {
    let [plain, oneshot] =
        [Sort::Plain, Sort::Oneshot].map(|sort| graphs(&[Sort::Speaks, sort, Sort::Plain]).into_iter());
    let all: Vec<Graph> = plain.chain(oneshot).collect();
    let chain = (all[0].0.clone(), vec![(1, Kind::Needs, 0), (2, Kind::Needs, 1)]);
    let join = (all[27].0.clone(), vec![(2, Kind::After, 0), (2, Kind::Needs, 1)]);
    let is_daily = std::env::var_os("GRAPHS").is_none();
    explore_all(&if is_daily { vec![chain, join] } else { all }, Alphabet::SMALL);
}

#[test]
fn those_of_a_circle_do_not_wait_for_each_other() {
    let links = vec![(0, Kind::Needs, 1), (1, Kind::After, 0), (1, Kind::Needs, 1)];
    explore_all(&[(vec![Sort::Speaks, Sort::Plain], links)], Alphabet::SMALL);
}
