//! Thousands of random histories, lived by the real `runsv` and by `onit runsv` side by side: whenever all is quiet, the
//! two must look the same to everyone who looks.
//!
//! A history is made while it is played, because what may come next depends on what is the case ([`foresight`]); chance is
//! seeded, so a seed is a history. `ONIT_SEED=N` plays one again and shows it, `ONIT_SEQUENCES=N` plays another number,
//! `ONIT_AT_ONCE=N` another number at the same time.

mod foresight;
mod play;
pub mod rng;
mod setup;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::svdir::{SOON, SvDir, UnderTest, as_many, is_starved, missing_tools, skip};

use foresight::{Difference, Foresight, Refusal, Target};
use play::{Seen, Side, Step};
use rng::Rng;
use setup::{Finish, Setup};

/// The bytes that histories are made of: all that runsv knows, some that others know, and dirt.
const COMMANDS: &[u8] = b"udoxtkpchaiq12";
const JUNK: &[u8] = b"zZwbyWPC0\n\0\xff ";

/// Two supervisors, and what is done to the bytes that the second one gets.
struct Contest {
    theirs: UnderTest,
    ours: UnderTest,
    /// The second one never gets this byte: to see whether that is noticed.
    withheld: Option<u8>,
}

impl Contest {
    fn between(theirs: UnderTest, ours: UnderTest) -> Self {
        Self { theirs, ours, withheld: None }
    }

    fn for_ours(&self, step: &Step) -> Step {
        match (step, self.withheld) {
            (Step::Write(target, bytes), Some(byte)) => {
                Step::Write(*target, bytes.iter().map(|&b| if b == byte { b'z' } else { b }).collect())
            }
            _ => step.clone(),
        }
    }
}

/// What was not played, and how often it was wished for.
#[derive(Default)]
struct Refusals(Mutex<BTreeMap<Difference, usize>>);

impl Refusals {
    fn note(&self, refusal: Refusal) {
        if let Refusal::Different(difference) = refusal {
            *lock(&self.0).entry(difference).or_default() += 1;
        }
    }
}

/// Two sides that did not look the same.
struct Mismatch {
    seed: u64,
    setup: Setup,
    steps: Vec<Step>,
    theirs: Vec<Seen>,
    ours: Vec<Seen>,
}

impl Mismatch {
    /// The names of what differs: mismatches of the same kind have, most often, the same cause.
    fn kind(&self) -> String {
        let names: Vec<_> = self.differences().into_iter().map(|(name, ..)| name).collect();
        if names.is_empty() { "neither side comes to rest".to_string() } else { names.join(", ") }
    }

    fn differences(&self) -> Vec<(String, String, String)> {
        let last = self.theirs.last().zip(self.ours.last());
        last.map(|(theirs, ours)| theirs.differences(ours)).unwrap_or_default()
    }

    fn report(&self) -> String {
        let mut text = format!("seed {}: {:?}\n", self.seed, self.setup);
        let steps = std::iter::once("start".to_string()).chain(self.steps.iter().map(Step::to_string));
        for (step, seen) in steps.zip(&self.theirs) {
            let _ =
                writeln!(text, "  {step}\n    theirs is now {:?}, trace {:?}", seen.main.stat.trim_end(), seen.trace);
        }
        for (name, theirs, ours) in self.differences() {
            let _ = match theirs.len() + ours.len() {
                0..60 => writeln!(text, "  {name}: theirs {theirs}, ours {ours}"),
                _ => writeln!(text, "  {name}:\n    theirs {theirs}\n    ours   {ours}"),
            };
        }
        text + &format!("  whole history: ONIT_SEED={} cargo test differential\n", self.seed)
    }
}

/// Plays histories in one directory.
struct History<'a> {
    contest: &'a Contest,
    sv: &'a SvDir,
    refusals: &'a Refusals,
    favourite: Option<u8>,
}

impl History<'_> {
    fn play(&self, seed: u64) -> Option<Mismatch> {
        let mut rng = Rng::new(seed);
        let setup = Setup::any(&mut rng);
        let length = 4 + rng.below(7) as usize;
        self.run(seed, &setup, |played, seen| {
            (played < length).then(|| self.next_step(&mut rng, &setup, seen)).flatten()
        })
    }

    /// The same steps again, without those that have become impossible.
    fn replay(&self, seed: u64, setup: &Setup, steps: &[Step]) -> Option<Mismatch> {
        let mut rest = steps.iter();
        self.run(seed, setup, |_, seen| rest.find(|step| self.is_possible(step, setup, seen)).cloned())
    }

    /// These steps, whatever they lead to.
    fn act(&self, setup: &Setup, steps: &[Step]) -> Option<Mismatch> {
        self.run(0, setup, |played, _| steps.get(played).cloned())
    }

    fn run(&self, seed: u64, setup: &Setup, mut next: impl FnMut(usize, &Seen) -> Option<Step>) -> Option<Mismatch> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let place = self.sv.root().join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        let side = |name, which| Side::new(self.sv, which, place.join(name), setup);
        let (mut theirs, mut ours) = (side("theirs", self.contest.theirs), side("ours", self.contest.ours));
        let mut story =
            Mismatch { seed, setup: setup.clone(), steps: Vec::new(), theirs: Vec::new(), ours: Vec::new() };
        let differ = loop {
            let (of_theirs, of_ours) = (theirs.settle(), ours.settle());
            // Restless on both sides is no agreement: it means that foresight failed.
            let differ = of_theirs != of_ours || of_theirs.restless;
            let step = if differ { None } else { next(story.steps.len(), &of_theirs) };
            story.theirs.push(of_theirs);
            story.ours.push(of_ours);
            let Some(step) = step else { break differ };
            match step {
                Step::Wait(tenths) => thread::sleep(Duration::from_millis(tenths * 100)),
                _ => {
                    theirs.play(&step);
                    ours.play(&self.contest.for_ours(&step));
                }
            }
            story.steps.push(step);
        };
        theirs.end();
        ours.end();
        drop(fs::remove_dir_all(place));
        if number_from_env("ONIT_SEED") == Some(seed) {
            println!("{}", story.report());
        }
        differ.then_some(story)
    }

    fn next_step(&self, rng: &mut Rng, setup: &Setup, seen: &Seen) -> Option<Step> {
        if seen.ended.is_some() {
            return rng.chance(1, 2).then_some(Step::Again);
        }
        // Most wishes can be granted; a service that offers nothing any more ends its history.
        (0..50).map(|_| self.wish(rng, setup, seen)).find(|step| self.is_possible(step, setup, seen))
    }

    fn wish(&self, rng: &mut Rng, setup: &Setup, seen: &Seen) -> Step {
        let target = if setup.log && rng.chance(1, 4) { Target::Log } else { Target::Main };
        match rng.below(20) {
            0..=1 => Step::Kill(target, rng.pick(&[1, 2, 3, 6, 9, 9, 9, 11, 12, 15, 15, 34, 40])),
            2..=4 => Step::Exit(rng.pick(&[0, 0, 1, 2, 100, 111, 125, 127, 128, 255])),
            // Beyond the second in which a death is followed by a pause.
            5 => Step::Wait(11),
            6 if rng.chance(1, 3) => Step::Term,
            _ => Step::Write(target, self.bytes(rng, setup, target, seen)),
        }
    }

    fn bytes(&self, rng: &mut Rng, setup: &Setup, target: Target, seen: &Seen) -> Vec<u8> {
        let mut foresight = Foresight::new(setup, target, seen);
        let count = if rng.chance(1, 2) { 1 } else { 1 + rng.below(8) };
        let mut bytes = Vec::new();
        for _ in 0..count {
            let byte = self.byte(rng);
            match foresight.admit(byte) {
                Ok(()) => bytes.push(byte),
                Err(refusal) => self.refusals.note(refusal),
            }
        }
        bytes
    }

    fn byte(&self, rng: &mut Rng) -> u8 {
        match self.favourite {
            Some(byte) if rng.chance(1, 2) => byte,
            // Exit ends a history: not too often.
            _ if rng.chance(1, 6) => rng.pick(JUNK),
            _ => Some(rng.pick(COMMANDS)).filter(|&byte| byte != b'x').unwrap_or_else(|| rng.pick(b"xxudkco")),
        }
    }

    fn is_possible(&self, step: &Step, setup: &Setup, seen: &Seen) -> bool {
        let runs = seen.ended.is_none();
        match step {
            Step::Write(_, bytes) if bytes.is_empty() => false,
            Step::Write(Target::Log, _) | Step::Kill(Target::Log, _) if !setup.log => false,
            Step::Write(target, bytes) => runs && is_admitted(setup, *target, seen, bytes),
            Step::Kill(target, _) => runs && is_there(seen, *target),
            Step::Exit(_) => runs && takes_orders(setup, seen),
            Step::Term => runs && is_admitted(setup, Target::Main, seen, b"x"),
            Step::Again => !runs,
            Step::Wait(_) => runs,
        }
    }
}

fn is_admitted(setup: &Setup, target: Target, seen: &Seen, bytes: &[u8]) -> bool {
    let mut foresight = Foresight::new(setup, target, seen);
    bytes.iter().all(|&byte| foresight.admit(byte).is_ok())
}

fn is_there(seen: &Seen, target: Target) -> bool {
    let half = if target == Target::Log { seen.log.as_ref() } else { Some(&seen.main) };
    half.is_some_and(|half| half.process.is_some())
}

/// A process that waits at its FIFO, and is not stopped.
fn takes_orders(setup: &Setup, seen: &Seen) -> bool {
    let waits = match seen.main.phase {
        1 => setup.lasts(),
        2 => setup.finish == Finish::Held,
        _ => false,
    };
    waits && seen.main.process.is_some_and(|process| !process.stopped)
}

// ---------------------------------------------------------------------------------------------------------------------
// Many at once: most of their time is the one-second throttle
// ---------------------------------------------------------------------------------------------------------------------

/// So many mismatches are enough to work with; one of each kind is told in full.
const ENOUGH: usize = 20;

/// Plays `seeds` histories with `at_once` workers and returns what did not match.
fn tournament(
    contest: &Contest,
    favourite: Option<u8>,
    seeds: &[u64],
    at_once: usize,
    refusals: &Refusals,
) -> Vec<Mismatch> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once.min(seeds.len()) {
            scope.spawn(|| {
                let sv = SvDir::new();
                let history = History { contest, sv: &sv, refusals, favourite };
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if lock(&found).len() >= ENOUGH {
                        break;
                    }
                    if let Some(mismatch) = history.play(seed) {
                        lock(&found).push(mismatch);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves out steps as long as the sides still differ: the shortest history that shows it.
fn shrink(contest: &Contest, mut mismatch: Mismatch) -> Mismatch {
    let (sv, refusals) = (SvDir::new(), Refusals::default());
    let history = History { contest, sv: &sv, refusals: &refusals, favourite: None };
    let mut at = 0;
    while at < mismatch.steps.len() {
        let mut fewer = mismatch.steps.clone();
        fewer.remove(at);
        match history.replay(mismatch.seed, &mismatch.setup, &fewer) {
            Some(smaller) if smaller.steps.len() < mismatch.steps.len() => mismatch = smaller,
            _ => at += 1,
        }
    }
    mismatch
}

fn reports(contest: &Contest, mismatches: Vec<Mismatch>) -> String {
    let mut kinds: BTreeMap<String, Vec<Mismatch>> = BTreeMap::new();
    for mismatch in mismatches {
        kinds.entry(mismatch.kind()).or_default().push(mismatch);
    }
    let tell = |kind: &str, mut all: Vec<Mismatch>| {
        let count = all.len();
        all.sort_by_key(|mismatch| mismatch.steps.len());
        let shortest = all.swap_remove(0);
        format!("--- {count} of this kind: {kind}\n{}", shrink(contest, shortest).report())
    };
    thread::scope(|scope| {
        let told: Vec<_> = kinds.into_iter().map(|(kind, all)| scope.spawn(move || tell(&kind, all))).collect();
        told.into_iter().map(|report| report.join().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// Seeds that differ from day to day would make a red test nobody can repeat; these are always the same, and
/// `ONIT_SEED` begins elsewhere.
fn seeds(first: u64, count: u64) -> Vec<u64> {
    (first..first + count).collect()
}

/// The kernel must let us see in which system call a process waits.
fn why_not() -> Option<String> {
    let hidden = fs::read("/proc/self/syscall").is_err().then(|| "no /proc/PID/syscall here".to_string());
    missing_tools(&["runsv", "supervise"]).or(hidden)
}

// ---------------------------------------------------------------------------------------------------------------------
// The promises
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn onit_as_runsv_lives_every_history_as_runsv_does() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let contest = Contest::between(UnderTest::Runsv, UnderTest::OnitAs("runsv"));
    let (first, default_count) = number_from_env("ONIT_SEED").map_or((1, as_many(200) as u64), |seed| (seed, 1));
    let seeds = seeds(first, number_from_env("ONIT_SEQUENCES").unwrap_or(default_count));
    let refusals = Refusals::default();
    let at_once = number_from_env("ONIT_AT_ONCE").unwrap_or(as_many(40) as u64) as usize;
    let mismatches = tournament(&contest, None, &seeds, at_once, &refusals);
    assert!(mismatches.is_empty(), "{}", reports(&contest, mismatches));
    let refused = lock(&refusals.0);
    for difference in Difference::ALL.iter().filter(|_| seeds.len() >= 1000) {
        assert!(
            refused.contains_key(difference),
            "{difference:?} was never met: is it still one? ({})",
            difference.reason()
        );
    }
}

/// Without this the test above could be red by chance: what it compares must follow from the history alone.
#[test]
fn the_real_runsv_lives_every_history_as_itself() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let contest = Contest::between(UnderTest::Runsv, UnderTest::Runsv);
    let (first, default_count) = number_from_env("ONIT_SEED").map_or((1_000_000, as_many(40) as u64), |seed| (seed, 1));
    let seeds = seeds(first, number_from_env("ONIT_SEQUENCES").unwrap_or(default_count));
    let mismatches = tournament(
        &contest,
        None,
        &seeds,
        number_from_env("ONIT_AT_ONCE").unwrap_or(as_many(20) as u64) as usize,
        &Refusals::default(),
    );
    assert!(mismatches.is_empty(), "{}", reports(&contest, mismatches));
}

/// Without this the test above could be green by blindness: a supervisor that is deaf to one byte must be found out.
#[test]
fn a_runsv_that_misses_any_one_byte_is_found_out() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let unnoticed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for &byte in COMMANDS {
            let unnoticed = &unnoticed;
            scope.spawn(move || {
                let contest = Contest { withheld: Some(byte), ..Contest::between(UnderTest::Runsv, UnderTest::Runsv) };
                let found = tournament(&contest, Some(byte), &seeds(2_000_000, 20), 4, &Refusals::default());
                if found.is_empty() {
                    lock(unnoticed).push(byte as char);
                }
            });
        }
    });
    assert_eq!(*lock(&unnoticed), [] as [char; 0], "bytes that nobody would miss");
}

/// The same for a supervisor of another family, which is alike in most things.
#[test]
fn daemontools_supervise_is_told_from_runsv() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let contest = Contest::between(UnderTest::Runsv, UnderTest::Supervise);
    assert!(!tournament(&contest, None, &seeds(3_000_000, 10), 10, &Refusals::default()).is_empty());
}

/// What is left out of the histories is left out for a reason that still holds: onit does better than runsv there.
#[test]
fn every_difference_from_runsv_is_still_one() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let contest = Contest::between(UnderTest::Runsv, UnderTest::OnitAs("runsv"));
    let refusals = Refusals::default();
    let check = |difference: Difference| {
        let sv = SvDir::new();
        let history = History { contest: &contest, sv: &sv, refusals: &refusals, favourite: None };
        let (setup, steps, what) = difference.example()?;
        let shown = history
            .act(&setup, &steps)
            .is_some_and(|found| found.steps == steps && found.differences().iter().any(|(name, ..)| name == what));
        (!shown).then(|| format!("{difference:?}: {}", difference.reason()))
    };
    let gone: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = Difference::ALL.into_iter().map(|it| scope.spawn(move || check(it))).collect();
        all.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(
        gone.is_empty(),
        "not seen any more: if onit is as runsv here, let the histories have it\n{}",
        gone.join("\n")
    );
}

/// The histories compare what is, not how long it took. The pause after a death is what scripts and people see of that.
#[test]
fn onit_as_runsv_restarts_at_the_pace_of_runsv() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    // How long run and finish take, and how long then passes from start to start (interface document, §4.1).
    let cases =
        [("0", None, 1.0), ("0.3", None, 1.3), ("0.3", Some("0.4"), 1.7), ("0.3", Some("1"), 1.3), ("1.5", None, 1.5)];
    let sides = [UnderTest::Runsv, UnderTest::OnitAs("runsv")];
    thread::scope(|scope| {
        for (case, which) in cases.iter().flat_map(|case| sides.map(|which| (case, which))) {
            scope.spawn(move || {
                let (run, finish, expected) = *case;
                let period = pace(which, run, finish);
                // Starting two shells takes its time, above all on a busy machine; starting early is never right.
                let (early, late) = (expected - 0.02, if is_starved() { f64::INFINITY } else { expected + 0.6 });
                assert!((early..late).contains(&period), "{which:?} {case:?}: a start every {period:.2} s");
            });
        }
    });
}

/// The shortest time between two starts of a service, of four; the longest where what a start writes about itself may
/// come much later than the start.
fn pace(which: UnderTest, run: &str, finish: Option<&str>) -> f64 {
    let sv = SvDir::new();
    let mut service = sv.service("web").run(&format!("date +%s.%N >>starts; exec sleep {run}"));
    if let Some(finish) = finish {
        service = service.finish(&format!("exec sleep {finish}"));
    }
    let service = service.create();
    let supervisor = sv.start_on(which, &service);
    let starts: Vec<f64> = supervisor.wait_for("five starts", SOON * 3, || {
        let starts: Vec<f64> = service.text("starts").lines().filter_map(|line| line.parse().ok()).collect();
        (starts.len() >= 5).then_some(starts)
    });
    let periods = starts.windows(2).map(|pair| pair[1] - pair[0]);
    periods.reduce(if is_starved() { f64::max } else { f64::min }).expect("four of them")
}
