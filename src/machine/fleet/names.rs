//! Many services and the names that lead to them: which service goes by which name.
//!
//! A service is known by its name, and follows its directory: when the directory goes by another name, so does the
//! service, and runs on; that holds for swaps and rotations too. A name that leads to another directory means another
//! service. A directory with several names is one service, which goes by the first of them that was seen. A service whose
//! directory has no name any more is over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What each name in the directory of services leads to, as it was when that name was looked at last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names<D>(BTreeMap<OsString, D>);

impl<D> Default for Names<D> {
    fn default() -> Names<D> {
        Names(BTreeMap::new())
    }
}

/// A service, for who decides what becomes of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'a, S, D> {
    /// Which one.
    pub service: S,
    /// The name that it goes by.
    pub name: &'a OsStr,
    /// Its directory.
    pub dir: D,
}

/// What becomes of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameChange<S> {
    /// It goes by this name from now on.
    Rename(S, OsString),
    /// No name leads to it any more. `replaced`: its own name leads to another directory.
    Lost {
        /// Which one.
        service: S,
        /// Whether its name means another service from now on.
        replaced: bool,
    },
}

impl<D: Copy + PartialEq> Names<D> {
    /// This name leads there; `None`: to no directory, or it is not there.
    pub fn saw(&mut self, name: OsString, dir: Option<D>) {
        match dir {
            Some(dir) => _ = self.0.insert(name, dir),
            None => _ = self.0.remove(&name),
        }
    }

    /// Where this name leads.
    pub fn leads_to(&self, name: &OsStr) -> Option<D> {
        self.0.get(name).copied()
    }

    /// All that lead anywhere, in alphabetical order.
    pub fn all(&self) -> impl Iterator<Item = &OsString> {
        self.0.keys()
    }

    fn names_of(&self, dir: D) -> impl Iterator<Item = &OsString> {
        self.0.iter().filter(move |(_, leads_to)| **leads_to == dir).map(|(name, _)| name)
    }

    /// What becomes of services whose names may lead elsewhere by now. All of it happens at once: two that have swapped
    /// their names never have the same one.
    pub fn changes<'a, S: Copy + 'a>(&self, services: impl IntoIterator<Item = Named<'a, S, D>>) -> Vec<NameChange<S>>
    where
        D: 'a,
    {
        let has_another = |one: &Named<S, D>| self.leads_to(one.name) != Some(one.dir);
        let change = |one: Named<S, D>| match self.names_of(one.dir).next() {
            Some(name) => NameChange::Rename(one.service, name.clone()),
            None => NameChange::Lost { service: one.service, replaced: self.leads_to(one.name).is_some() },
        };
        services.into_iter().filter(has_another).map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A directory as it is, and a supervisor that looks at its names one by one, some time after they have changed.
    #[derive(Clone, Debug, Default)]
    struct World {
        really: BTreeMap<OsString, u32>,
        to_look_at: Vec<OsString>,
        names: Names<u32>,
        /// The services, by their directories: these never change.
        services: BTreeMap<u32, OsString>,
        stopped: Vec<u32>,
    }

    #[derive(Clone, Debug)]
    enum Happening {
        Make(u8, u32),
        Remove(u8),
        Rename(u8, u8),
        Exchange(u8, u8),
        Look(usize),
        Settle,
    }

    fn name(number: u8) -> OsString {
        OsString::from(char::from(b'a' + number).to_string())
    }

    impl World {
        fn happens(&mut self, happening: Happening) {
            match happening {
                Happening::Make(at, dir) => self.put(name(at), Some(dir)),
                Happening::Remove(at) => self.put(name(at), None),
                Happening::Rename(from, to) => {
                    if let Some(dir) = self.really.get(&name(from)).copied() {
                        self.put(name(from), None);
                        self.put(name(to), Some(dir));
                    }
                }
                Happening::Exchange(one, other) => {
                    let [first, second] = [one, other].map(|at| self.really.get(&name(at)).copied());
                    self.put(name(one), second);
                    self.put(name(other), first);
                }
                Happening::Look(at) if !self.to_look_at.is_empty() => {
                    let at = at % self.to_look_at.len();
                    let name = self.to_look_at.swap_remove(at);
                    self.look(name);
                }
                Happening::Look(_) => {}
                Happening::Settle => self.settle(),
            }
        }

        fn put(&mut self, name: OsString, dir: Option<u32>) {
            match dir {
                Some(dir) => _ = self.really.insert(name.clone(), dir),
                None => _ = self.really.remove(&name),
            }
            self.to_look_at.push(name);
        }

        fn look(&mut self, name: OsString) {
            let dir = self.really.get(&name).copied();
            self.names.saw(name.clone(), dir);
            if let Some(dir) = dir.filter(|dir| !self.services.contains_key(dir))
                && !self.services.values().any(|taken| *taken == name)
            {
                self.services.insert(dir, name);
            }
        }

        /// All that is known to have changed has been looked at: now it is decided.
        fn settle(&mut self) {
            std::mem::take(&mut self.to_look_at).into_iter().for_each(|name| self.look(name));
            let services: Vec<(u32, OsString)> = self.services.clone().into_iter().collect();
            let named = services.iter().map(|(dir, name)| Named { service: *dir, name: name.as_os_str(), dir: *dir });
            for change in self.names.changes(named) {
                match change {
                    NameChange::Rename(dir, name) => _ = self.services.insert(dir, name),
                    NameChange::Lost { service, .. } => {
                        self.services.remove(&service);
                        self.stopped.push(service);
                    }
                }
            }
            // Names that were not free before.
            self.names.all().cloned().collect::<Vec<_>>().into_iter().for_each(|name| self.look(name));
        }
    }

    fn happenings() -> impl Strategy<Value = Happening> {
        let name = || 0u8..6;
        prop_oneof![
            (name(), 1u32..9).prop_map(|(at, dir)| Happening::Make(at, dir)),
            name().prop_map(Happening::Remove),
            (name(), name()).prop_map(|(from, to)| Happening::Rename(from, to)),
            (name(), name()).prop_map(|(one, other)| Happening::Exchange(one, other)),
            (0usize..9).prop_map(Happening::Look),
            Just(Happening::Settle),
        ]
    }

    proptest! {
        #[test]
        fn in_the_end_each_directory_that_has_a_name_is_one_service_that_goes_by_it(
            happenings in prop::collection::vec(happenings(), 0..60)
        ) {
            let mut world = World::default();
            for happening in happenings {
                world.happens(happening.clone());
                let before = world.stopped.len();
                if let Happening::Settle = happening {
                    let left = |dir| world.really.values().any(|there| *there == dir);
                    prop_assert!(!world.stopped[before..].iter().any(|dir| left(*dir)), "what has a name runs on");
                }
            }
            world.settle();
            let dirs: BTreeSet<u32> = world.really.values().copied().collect();
            prop_assert_eq!(world.services.keys().copied().collect::<BTreeSet<_>>(), dirs);
            prop_assert!(world.services.iter().all(|(dir, name)| world.really.get(name) == Some(dir)));
        }
    }

    fn settled(before: [(&str, u32); 3], after: &[(&str, u32)]) -> Vec<NameChange<u32>> {
        let mut names = Names::default();
        after.iter().for_each(|(name, dir)| names.saw((*name).into(), Some(*dir)));
        let services = before.map(|(name, dir)| Named { service: dir, name: OsStr::new(name), dir });
        names.changes(services)
    }

    const BEFORE: [(&str, u32); 3] = [("a", 1), ("b", 2), ("c", 3)];

    fn renamed(service: u32, name: &str) -> NameChange<u32> {
        NameChange::Rename(service, name.into())
    }

    #[test]
    fn services_follow_their_directories_also_in_a_circle() {
        assert_eq!(settled(BEFORE, &BEFORE), []);
        assert_eq!(settled(BEFORE, &[("d", 1), ("b", 2), ("c", 3)]), [renamed(1, "d")]);
        assert_eq!(settled(BEFORE, &[("b", 1), ("a", 2), ("c", 3)]), [renamed(1, "b"), renamed(2, "a")]);
        let circle = [("b", 1), ("c", 2), ("a", 3)];
        assert_eq!(settled(BEFORE, &circle), [renamed(1, "b"), renamed(2, "c"), renamed(3, "a")]);
    }

    #[test]
    fn a_name_that_leads_elsewhere_means_another_service() {
        let lost = |service, replaced| NameChange::Lost { service, replaced };
        assert_eq!(settled(BEFORE, &[("a", 9), ("b", 2), ("c", 3)]), [lost(1, true)]);
        assert_eq!(settled(BEFORE, &[("b", 2), ("c", 3)]), [lost(1, false)]);
        assert_eq!(settled(BEFORE, &[("a", 2), ("c", 3)]), [lost(1, true), renamed(2, "a")]);
        // b goes on under the name of c, which is over.
        assert_eq!(settled(BEFORE, &[("a", 1), ("c", 2), ("b", 7)]), [renamed(2, "c"), lost(3, true)]);
        // Another name had led to the same directory before.
        assert_eq!(settled(BEFORE, &[("a", 9), ("x", 1), ("b", 2), ("c", 3)]), [renamed(1, "x")]);
    }
}
