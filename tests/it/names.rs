//! What the names in the directory mean, whatever is done to them: each directory that has a name runs once, and each name
//! is that of the service in the directory that it leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::Signal;

use crate::crash_and_upgrade::{At, Trap, why_no_traps};
use crate::proc;
use crate::svdir::{SOON, Supervisor, SvDir, UnderTest, as_many, poll_until, skip, wait_for, write_file};
use crate::verbs::verb;

/// Some directories of services, and the names that lead to them.
struct Tree {
    sv: SvDir,
    onit: Supervisor,
    /// By links, or the directories themselves.
    links: bool,
    names: BTreeMap<String, usize>,
}

impl Tree {
    /// With these names at first.
    fn new(links: bool, names: &[(&str, usize)]) -> Tree {
        let sv = SvDir::new();
        for number in 0..6 {
            sv.service_at(sv.root().join(format!("d{number}"))).run("exec sleep 1000").create();
        }
        let onit = sv.start(UnderTest::Onit);
        let mut tree = Tree { sv, onit, links, names: BTreeMap::new() };
        names.iter().for_each(|(name, dir)| tree.make(name, *dir));
        tree.is_as_it_should_be(&"at first");
        tree
    }

    fn at(&self, name: &str) -> PathBuf {
        self.sv.path().join(name)
    }

    fn aside(&self, dir: usize) -> PathBuf {
        self.sv.root().join(format!("d{dir}"))
    }

    fn make(&mut self, name: &str, dir: usize) {
        if self.links {
            symlink(self.aside(dir), self.at(name)).expect("a link");
        } else {
            fs::rename(self.aside(dir), self.at(name)).expect("a directory");
        }
        self.names.insert(name.into(), dir);
    }

    fn remove(&mut self, name: &str) {
        let Some(dir) = self.names.remove(name) else { return };
        if self.links {
            fs::remove_file(self.at(name)).expect("rm");
        } else {
            fs::rename(self.at(name), self.aside(dir)).expect("mv");
        }
    }

    /// As `mv -T`: what had the name has it no more. A directory has to be moved out of the way for that.
    fn rename(&mut self, from: &str, to: &str) {
        let Some(dir) = self.names.get(from).copied().filter(|_| from != to) else { return };
        if !self.links {
            self.remove(to);
        }
        fs::rename(self.at(from), self.at(to)).expect("mv");
        self.names.remove(from);
        self.names.insert(to.into(), dir);
    }

    /// As `ln -s; mv -T`.
    fn replace(&mut self, name: &str, dir: usize) {
        if !self.links {
            return;
        }
        let fresh = self.at(".fresh");
        symlink(self.aside(dir), &fresh).expect("a link");
        fs::rename(fresh, self.at(name)).expect("mv");
        self.names.insert(name.into(), dir);
    }

    /// As `ln -sfn` of GNU: the fresh link has a name that could be that of a service.
    fn replace_in_sight(&mut self, name: &str, dir: usize) {
        let fresh = self.at("CuAbCdEf");
        symlink(self.aside(dir), &fresh).expect("a link");
        fs::rename(fresh, self.at(name)).expect("mv");
        self.names.insert(name.into(), dir);
    }

    fn exchange(&mut self, one: &str, other: &str) {
        let (Some(first), Some(second)) = (self.names.get(one).copied(), self.names.get(other).copied()) else {
            return;
        };
        let flags = RenameFlags::RENAME_EXCHANGE;
        renameat2(AT_FDCWD, &self.at(one), AT_FDCWD, &self.at(other), flags).expect("an exchange");
        self.names.insert(one.into(), second);
        self.names.insert(other.into(), first);
    }

    /// All this happens within one turn of the supervisor, if `at_once`.
    fn change(&mut self, at_once: bool, how: impl FnOnce(&mut Tree)) {
        if at_once {
            self.onit.signal(Signal::SIGSTOP);
            wait_for("it to stand still", SOON, || proc::Glimpse::of(self.onit.pid())?.is_stopped().then_some(()));
        }
        how(self);
        if at_once {
            self.onit.signal(Signal::SIGCONT);
        }
    }

    /// The processes, by the directories that they run in.
    fn running(&self) -> BTreeMap<usize, Vec<u32>> {
        let mut running: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for pid in proc::children(self.onit.pid()) {
            let Ok(place) = fs::read_link(format!("/proc/{pid}/cwd")) else { continue };
            let name = place.file_name().expect("a name").to_string_lossy().into_owned();
            let aside = || name.strip_prefix('d')?.parse().ok();
            let dir = if self.links { aside() } else { self.names.get(&name).copied().or_else(aside) };
            // A child that has just begun is not there yet.
            dir.into_iter().for_each(|dir| running.entry(dir).or_default().push(pid));
        }
        running
    }

    /// Who is told to run, by names.
    fn told(&self) -> BTreeMap<String, u32> {
        let status = verb(&self.sv, &["status", "--json"]).stdout;
        let told = |line: &str| {
            let after = |key: &str| Some(line.split_once(&format!("\"{key}\":"))?.1);
            let pid = after("pid")?.trim_start().split([',', '}']).next()?.parse().ok()?;
            Some((after("name")?.split('"').nth(1)?.to_owned(), pid))
        };
        status.lines().filter_map(told).collect()
    }

    /// What is not as the names say, if anything: each directory that has a name runs once, and is told by one of its names.
    fn trouble(&self) -> Option<String> {
        let (running, told) = (self.running(), self.told());
        let wanted: BTreeSet<usize> = self.names.values().copied().collect();
        let one_each =
            running.len() == wanted.len() && wanted.iter().all(|dir| running.get(dir).map(Vec::len) == Some(1));
        let is_right = |(name, pid): (&String, &u32)| {
            let dir = self.names.get(name);
            dir.is_some_and(|dir| running.get(dir).is_some_and(|pids| pids.contains(pid)))
        };
        let all_right = told.len() == wanted.len() && told.iter().all(is_right);
        (!one_each || !all_right).then(|| format!("{running:?} run, and told are {told:?}"))
    }

    #[track_caller]
    fn is_as_it_should_be(&self, after: &dyn std::fmt::Debug) {
        if poll_until(SOON, || self.trouble().is_none().then_some(())).is_none() {
            panic!("{:?} after {after:?}: {:?}\n{}", self.names, self.trouble(), self.onit.stderr());
        }
    }
}

/// Changes that people make, and what of it is hard: a name that is taken over, one that gets another directory while its
/// own one gets another name, circles.
#[test]
fn whatever_happens_to_names_each_means_the_service_in_its_directory() {
    type Case = (&'static str, &'static [(&'static str, usize)], fn(&mut Tree));
    let cases: [Case; 8] = [
        ("taken over", &[("a", 1), ("b", 2)], |tree| tree.rename("b", "a")),
        ("replaced in sight", &[("app", 1)], |tree| tree.replace_in_sight("app", 2)),
        ("replaced", &[("app", 1)], |tree| tree.replace("app", 2)),
        ("given away and replaced", &[("a", 1)], |tree| {
            tree.replace("b", 1);
            tree.replace("a", 2);
        }),
        ("moved on", &[("c", 1), ("e", 3)], |tree| {
            tree.replace("e", 1);
            tree.replace("c", 2);
        }),
        ("swapped", &[("c", 1), ("e", 2)], |tree| {
            tree.replace("e", 1);
            tree.replace("c", 2);
        }),
        ("in a circle", &[("c", 1), ("e", 2), ("g", 3)], |tree| {
            tree.replace("c", 2);
            tree.replace("e", 3);
            tree.replace("g", 1);
        }),
        ("exchanged and taken over", &[("c", 1), ("e", 2), ("g", 3)], |tree| {
            tree.exchange("c", "e");
            tree.rename("g", "c");
        }),
    ];
    for (what, names, change) in cases {
        for at_once in [true, false] {
            let mut tree = Tree::new(true, names);
            tree.change(at_once, change);
            tree.is_as_it_should_be(&(what, at_once));
        }
    }
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_another_service() {
    for at_once in [true, false] {
        let mut tree = Tree::new(false, &[("b", 1), ("c", 2)]);
        tree.change(at_once, |tree| tree.rename("b", "c"));
        tree.is_as_it_should_be(&at_once);
        tree.change(at_once, |tree| {
            tree.make("x", 3);
            tree.exchange("x", "c");
        });
        tree.is_as_it_should_be(&at_once);
    }
}

/// Its name means another service, and then it gets one again before it has ended: the other one waits for the first name.
#[test]
fn a_name_means_its_directory_also_when_who_had_it_last_ends_under_another_name() {
    let mut tree = Tree::new(true, &[]);
    let run = "#!/bin/sh\ntrap 'echo >told; while [ ! -e go ]; do sleep 0.05; done; exit' TERM\necho >ready\nwhile :; do sleep 0.05; done\n";
    write_file(&tree.aside(1).join("run"), run, 0o755);
    tree.make("b", 1);
    let has = |tree: &Tree, file: &str| {
        wait_for("the slow one", SOON, || tree.aside(1).join(file).exists().then_some(()));
    };
    has(&tree, "ready");
    tree.replace("b", 2);
    has(&tree, "told");
    tree.make("e", 1);
    tree.onit.wait_for("its other name", SOON, || tree.told().contains_key("e").then_some(()));
    fs::write(tree.aside(1).join("go"), "").expect("go");
    tree.is_as_it_should_be(&"all of it");
}

/// The one that takes the name over has it already, and the other one has not lost it yet.
#[test]
fn after_a_fault_a_name_that_two_services_have_means_the_one_in_its_directory() {
    if let Some(why) = why_no_traps() {
        skip!("{why}");
    }
    for (from, to) in [("b", "a"), ("a", "b")] {
        let mut tree = Tree::new(true, &[("a", 1), ("b", 2)]);
        let looks_where_it_is_now = At("/^readlink(at)?$", 1, false);
        let trap = Trap::set(&tree.sv, tree.onit.pid(), looks_where_it_is_now).expect("a trap");
        tree.rename(from, to);
        trap.release();
        tree.onit.wait_said(&["onit: SIGSEGV: starting again; 2 services keep running"]);
        drop(trap);
        tree.is_as_it_should_be(&(from, to));
        tree.remove(to);
        tree.is_as_it_should_be(&"its end");
    }
}

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn after_any_storm_of_changes_it_is_as_the_names_say() {
    for (links, seed) in [(true, 1), (false, 2), (true, 3)] {
        let mut dice = Dice(seed);
        let mut tree = Tree::new(links, &[("a", 0), ("b", 1)]);
        for round in 0..as_many(25) {
            let mut done = Vec::new();
            for _ in 0..1 + dice.throw(5) {
                let [one, other] = [dice.throw(4), dice.throw(4)].map(|at| ["a", "b", "c", "e"][at]);
                let free = (0..6).find(|dir| !tree.names.values().any(|taken| taken == dir)).expect("a free one");
                let at_once = dice.throw(2) == 0;
                let what = dice.throw(6);
                done.push((what, one, other, free, at_once));
                tree.change(at_once, |tree| match what {
                    0 if !tree.names.contains_key(one) => tree.make(one, free),
                    1 => tree.remove(one),
                    2 => tree.rename(one, other),
                    3 => tree.exchange(one, other),
                    4 => tree.replace(one, dice.throw(6)),
                    _ if tree.names.contains_key(one) && links => tree.replace_in_sight(one, free),
                    _ => {}
                });
                if dice.throw(4) == 0 {
                    tree.onit.signal(if dice.throw(2) == 0 { Signal::SIGSEGV } else { Signal::SIGHUP });
                }
            }
            tree.is_as_it_should_be(&(links, seed, round, done));
        }
    }
}
