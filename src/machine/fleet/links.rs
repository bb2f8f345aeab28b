//! Who starts after whom, and stops before whom (`dependencies.d` and `after.d`).

use crate::machine::{Phase, ServiceState, View, Want};
use std::collections::{BTreeMap, BTreeSet};

/// How a service depends on another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// It starts when the other one is ready, and brings it up; when that one is told to stop, it stops too.
    Needs,
    /// It starts when the other one is ready, or is not about to be.
    After,
}

impl Kind {
    /// Whether the way is free if the other one stands like this, or is not there.
    pub fn is_met(self, other: Option<ServiceState>) -> bool {
        match other {
            Some(ServiceState::Up | ServiceState::Done | ServiceState::Skipped) => true,
            Some(ServiceState::Down | ServiceState::Failed | ServiceState::Refused | ServiceState::Unknown) | None => {
                self == Kind::After
            }
            Some(
                ServiceState::Backoff
                | ServiceState::Waiting
                | ServiceState::Setup
                | ServiceState::Starting
                | ServiceState::Stopping
                | ServiceState::Finishing,
            ) => false,
        }
    }
}

/// Whether an order to start a service that needs another one brings that up, if it stands like this.
pub fn is_brought_up(state: ServiceState, want: Want) -> bool {
    match state {
        ServiceState::Down | ServiceState::Failed => true,
        ServiceState::Up
        | ServiceState::Starting
        | ServiceState::Setup
        | ServiceState::Stopping
        | ServiceState::Finishing => want != Want::Up,
        ServiceState::Backoff
        | ServiceState::Waiting
        | ServiceState::Done
        | ServiceState::Skipped
        | ServiceState::Refused
        | ServiceState::Unknown => false,
    }
}

/// Whether what a service depends on is held for it: something of it runs, and is to end for good.
pub fn is_being_stopped(view: &View, all_stop: bool) -> bool {
    view.phase != Phase::Down && (all_stop || view.leaving || view.want == Want::Down)
}

/// The links of many services, by what they know each other by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Links<K> {
    of: BTreeMap<K, Vec<(Kind, K)>>,
    /// The same backwards.
    to: BTreeMap<K, BTreeSet<K>>,
    /// Links that lead back to where they come from, over others or not. They are passed over, or nobody of the circle
    /// would ever start.
    circular: BTreeMap<K, BTreeSet<K>>,
    /// Circles may have come or gone.
    is_unsettled: bool,
}

impl<K> Default for Links<K> {
    fn default() -> Links<K> {
        Links { of: BTreeMap::new(), to: BTreeMap::new(), circular: BTreeMap::new(), is_unsettled: false }
    }
}

impl<K: Ord + Clone> Links<K> {
    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether a service has any, or is named by any.
    pub fn concern(&self, at: &K) -> bool {
        self.of.contains_key(at) || self.to.contains_key(at)
    }

    /// From now on a service has these, and no others. Whether that is news.
    pub fn set(&mut self, at: &K, links: Vec<(Kind, K)>) -> bool {
        if self.all_of(at) == links {
            return false;
        }
        for (_, other) in self.of.remove(at).unwrap_or_default() {
            if let Some(dependents) = self.to.get_mut(&other) {
                dependents.remove(at);
                if dependents.is_empty() {
                    self.to.remove(&other);
                }
            }
        }
        for (_, other) in &links {
            self.to.entry(other.clone()).or_default().insert(at.clone());
        }
        if !links.is_empty() {
            self.of.insert(at.clone(), links);
        }
        self.is_unsettled = true;
        true
    }

    /// What a service depends on, as its files say.
    pub fn all_of(&self, at: &K) -> &[(Kind, K)] {
        self.of.get(at).map_or(&[], Vec::as_slice)
    }

    /// What it depends on, circles left out.
    pub fn of<'a>(&'a self, at: &'a K) -> impl Iterator<Item = (Kind, &'a K)> {
        let circular = self.circular.get(at);
        let counts = move |other: &K| other != at && !circular.is_some_and(|circular| circular.contains(other));
        self.all_of(at).iter().filter(move |(_, other)| counts(other)).map(|(kind, other)| (*kind, other))
    }

    /// Who depends on it, circles left out.
    pub fn dependents<'a>(&'a self, at: &'a K) -> impl Iterator<Item = (Kind, &'a K)> {
        let all = self.to.get(at).into_iter().flatten();
        all.filter_map(move |other| self.of(other).find(|(_, on)| *on == at).map(|(kind, _)| (kind, other)))
    }

    /// What keeps a service from starting, if anything does.
    pub fn awaited<'a>(&'a self, at: &'a K, state: impl Fn(&K) -> Option<ServiceState>) -> Option<(Kind, &'a K)> {
        self.of(at).find(|(kind, other)| !kind.is_met(state(other)))
    }

    /// Whether a service is not to be stopped yet, as one that depends on it still is.
    pub fn is_held<'a>(&'a self, at: &'a K, is_being_stopped: impl Fn(&K) -> bool) -> bool {
        self.dependents(at).any(|(_, other)| is_being_stopped(other))
    }

    /// What a service needs, directly or not, what is needed most first.
    pub fn needs(&self, at: &K) -> Vec<K> {
        self.collect(at, |links, at| {
            links.of(at).filter(|(kind, _)| *kind == Kind::Needs).map(|(_, on)| on.clone()).collect()
        })
    }

    /// Who needs a service, directly or not, those first that nobody needs.
    pub fn needed_by(&self, at: &K) -> Vec<K> {
        self.collect(at, |links, at| {
            links.dependents(at).filter(|(kind, _)| *kind == Kind::Needs).map(|(_, by)| by.clone()).collect()
        })
    }

    /// Everything that follows from a service, each behind all that follows from it.
    fn collect(&self, at: &K, next: impl Fn(&Links<K>, &K) -> Vec<K>) -> Vec<K> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::from([at.clone()]));
        let mut path = vec![(at.clone(), next(self, at))];
        while let Some((_, rest)) = path.last_mut() {
            match rest.pop() {
                Some(other) if seen.insert(other.clone()) => {
                    let following = next(self, &other);
                    path.push((other, following));
                }
                Some(_) => {}
                None => found.extend(path.pop().map(|(done, _)| done)),
            }
        }
        found.pop(); // itself
        found
    }

    /// Finds the circles anew, if anything has changed. Returns one way around each that is new.
    pub fn settle(&mut self) -> Vec<Vec<K>> {
        if !std::mem::take(&mut self.is_unsettled) {
            return Vec::new();
        }
        let (mut circular, mut news) = (BTreeMap::new(), Vec::new());
        for group in self.groups() {
            let inside = |at: &K| self.all_of(at).iter().map(|(_, on)| on).filter(|on| group.contains(on)).cloned();
            let is_known = |at| self.circular.get(at).is_some_and(|known| inside(at).all(|on| known.contains(&on)));
            if !group.iter().all(is_known) {
                news.extend(way_around(&group, inside));
            }
            circular.extend(group.iter().map(|at| (at.clone(), inside(at).collect())));
        }
        self.circular = circular;
        news
    }

    /// Services that depend on each other: each set from which every member can be reached from every other one. A single
    /// one is a set if it depends on itself. (Tarjan's algorithm, without recursion.)
    fn groups(&self) -> Vec<BTreeSet<K>> {
        let (mut order, mut low) = (BTreeMap::<&K, usize>::new(), BTreeMap::<&K, usize>::new());
        let (mut stack, mut on_stack, mut groups) = (Vec::<&K>::new(), BTreeSet::<&K>::new(), Vec::new());
        for root in self.of.keys() {
            if order.contains_key(root) {
                continue;
            }
            let mut path = vec![(root, 0)];
            while let Some((at, next)) = path.last_mut() {
                let at = *at;
                if *next == 0 && !order.contains_key(at) {
                    let number = order.len();
                    order.insert(at, number);
                    low.insert(at, number);
                    stack.push(at);
                    on_stack.insert(at);
                }
                let link = self.all_of(at).get(*next);
                *next += 1;
                match link {
                    Some((_, on)) if !order.contains_key(on) => path.push((on, 0)),
                    Some((_, on)) if on_stack.contains(on) => lower(&mut low, at, order.get(on).copied()),
                    Some(_) => {}
                    None => {
                        path.pop();
                        let own = low.get(at).copied();
                        if let Some((parent, _)) = path.last() {
                            lower(&mut low, parent, own);
                        }
                        if own == order.get(at).copied() {
                            let group = take_group(&mut stack, &mut on_stack, at);
                            let is_circle = group.len() > 1 || self.all_of(at).iter().any(|(_, on)| on == at);
                            groups.extend(is_circle.then_some(group));
                        }
                    }
                }
            }
        }
        groups
    }
}

fn lower<'a, K: Ord>(low: &mut BTreeMap<&'a K, usize>, at: &'a K, to: Option<usize>) {
    if let (Some(known), Some(to)) = (low.get_mut(at), to) {
        *known = (*known).min(to);
    }
}

fn take_group<K: Ord + Clone>(stack: &mut Vec<&K>, on_stack: &mut BTreeSet<&K>, last: &K) -> BTreeSet<K> {
    let mut group = BTreeSet::new();
    while let Some(member) = stack.pop() {
        on_stack.remove(member);
        group.insert(member.clone());
        if member == last {
            break;
        }
    }
    group
}

/// A shortest way through such a set from its first member back to it; that member stands at both ends.
fn way_around<K: Ord + Clone, I: Iterator<Item = K>>(group: &BTreeSet<K>, next: impl Fn(&K) -> I) -> Option<Vec<K>> {
    let first = group.first()?;
    let (mut from, mut front) = (BTreeMap::<K, K>::new(), vec![first.clone()]);
    while !from.contains_key(first) && !front.is_empty() {
        let mut reached = Vec::new();
        for at in &front {
            for on in next(at) {
                if !from.contains_key(&on) {
                    from.insert(on.clone(), at.clone());
                    reached.push(on);
                }
            }
        }
        front = reached;
    }
    let mut way = vec![first.clone()];
    loop {
        let before = from.get(way.last()?)?.clone();
        let is_around = before == *first;
        way.push(before);
        if is_around {
            way.reverse();
            return Some(way);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEEDS: Kind = Kind::Needs;

    fn links(all: &[(u8, &[u8])]) -> Links<u8> {
        let mut links = Links::default();
        for (at, on) in all {
            links.set(at, on.iter().map(|on| (NEEDS, *on)).collect());
        }
        links
    }

    fn of(links: &Links<u8>, at: u8) -> Vec<u8> {
        links.of(&at).map(|(_, on)| *on).collect()
    }

    #[test]
    fn who_is_needed_has_to_be_ready_and_who_only_comes_before_may_have_given_up() {
        use ServiceState::*;
        for (state, needs, after) in [
            (None, false, true),
            (Some(Up), true, true),
            (Some(Done), true, true),
            (Some(Skipped), true, true),
            (Some(Down), false, true),
            (Some(Failed), false, true),
            (Some(Refused), false, true),
            (Some(Unknown), false, true),
            (Some(Backoff), false, false),
            (Some(Waiting), false, false),
            (Some(Setup), false, false),
            (Some(Starting), false, false),
            (Some(Stopping), false, false),
            (Some(Finishing), false, false),
        ] {
            assert_eq!([Kind::Needs, Kind::After].map(|kind| kind.is_met(state)), [needs, after], "{state:?}");
        }
    }

    #[test]
    fn links_are_known_in_both_directions_until_they_change() {
        let mut all = links(&[(3, &[2, 1]), (2, &[1])]);
        assert!(!all.set(&3, vec![(NEEDS, 2), (NEEDS, 1)]) && all.set(&9, vec![(Kind::After, 1)]));
        assert_eq!(all.dependents(&1).collect::<Vec<_>>(), [(NEEDS, &2), (NEEDS, &3), (Kind::After, &9)]);
        assert!(all.concern(&1) && all.concern(&9) && !all.concern(&4));
        let ready = |ready: &'static [u8]| move |at: &u8| ready.contains(at).then_some(ServiceState::Up);
        assert_eq!(all.awaited(&3, ready(&[2])), Some((NEEDS, &1)));
        assert_eq!((all.awaited(&3, ready(&[1, 2])), all.awaited(&9, ready(&[]))), (None, None));
        assert!(all.is_held(&1, |at| *at == 2) && !all.is_held(&3, |_| true));
        assert!([9, 3, 2].iter().all(|at| all.set(at, Vec::new())) && all.is_empty() && !all.concern(&1));
    }

    #[test]
    fn what_is_needed_most_comes_first_and_who_is_needed_least_stops_first() {
        let mut all = links(&[(4, &[3, 2]), (3, &[1]), (2, &[1]), (5, &[4])]);
        all.set(&6, vec![(Kind::After, 1)]);
        assert_eq!(all.needs(&5), [1, 2, 3, 4]);
        assert_eq!(all.needed_by(&1), [5, 4, 3, 2]);
        assert_eq!((all.needs(&6), all.needed_by(&6)), (vec![], vec![]));
    }

    #[test]
    fn a_circle_is_told_once_and_passed_over() {
        let mut all = links(&[(1, &[2]), (2, &[3]), (3, &[1, 4]), (4, &[5]), (6, &[6, 4])]);
        assert_eq!(all.settle(), [vec![1, 2, 3, 1], vec![6, 6]]);
        assert_eq!([1, 2, 3, 4, 6].map(|at| of(&all, at)), [vec![], vec![], vec![4], vec![5], vec![4]]);
        assert_eq!((all.needs(&1), all.needed_by(&4)), (vec![], vec![6, 3]));
        all.set(&5, vec![(NEEDS, 4)]);
        assert_eq!(all.settle(), [vec![4, 5, 4]], "the others are known");
        all.set(&3, vec![]);
        assert!(all.settle().is_empty());
        assert_eq!([1, 2].map(|at| of(&all, at)), [vec![2], vec![3]], "and count again when they are none");
    }

    /// As one would look for circles by hand.
    fn reaches(links: &BTreeMap<u8, Vec<u8>>, from: u8, to: u8) -> bool {
        let (mut seen, mut front) = (BTreeSet::new(), links.get(&from).cloned().unwrap_or_default());
        while let Some(at) = front.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                front.extend(links.get(&at).into_iter().flatten());
            }
        }
        false
    }

    proptest! {
        #[test]
        fn exactly_the_links_of_circles_are_passed_over(
            graph in prop::collection::btree_map(0u8..12, prop::collection::vec(0u8..12, 0..4), 0..12),
            then in prop::collection::btree_map(0u8..12, prop::collection::vec(0u8..12, 0..4), 0..3),
        ) {
            let mut all = Links::default();
            let mut known = BTreeMap::new();
            for change in [graph, then] {
                for (at, on) in change {
                    let on: BTreeSet<u8> = on.into_iter().collect();
                    all.set(&at, on.iter().map(|on| (NEEDS, *on)).collect());
                    known.insert(at, on.into_iter().collect::<Vec<_>>());
                }
                for way in all.settle() {
                    prop_assert!(way.len() > 1 && way.first() == way.last());
                    prop_assert!(way.windows(2).all(|two| known[&two[0]].contains(&two[1])), "{:?}", way);
                }
                for (at, on) in &known {
                    let counts: Vec<u8> = on.iter().copied().filter(|on| !reaches(&known, *on, *at) && on != at).collect();
                    prop_assert_eq!(of(&all, *at), counts);
                    let needs = all.needs(at);
                    for (place, need) in needs.iter().enumerate() {
                        prop_assert!(of(&all, *need).iter().all(|on| needs[..place].contains(on)));
                    }
                    prop_assert!(all.needed_by(at).iter().all(|by| all.needs(by).contains(at)));
                }
                prop_assert!(all.settle().is_empty());
            }
        }
    }
}
