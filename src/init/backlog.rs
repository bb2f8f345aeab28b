//! Names that are to be looked at: each once, however often something happens to it.

use crate::machine::Mono;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;

/// What is remembered of a name until it is looked at again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memo {
    /// Why it was refused, as it was told.
    pub refused: Option<String>,
    /// When it was first seen incomplete.
    pub incomplete_since: Option<Mono>,
}

/// Some names wait for their turn, in the order in which they came; the other names wait for their time.
#[derive(Default)]
pub struct Backlog {
    names: BTreeMap<OsString, Waiting>,
    queue: VecDeque<OsString>,
    times: BTreeSet<(Mono, OsString)>,
}

struct Waiting {
    /// `None`: it is in the queue.
    at: Option<Mono>,
    memo: Memo,
}

impl Backlog {
    /// It is to be looked at now.
    pub fn push(&mut self, name: OsString) {
        let waiting =
            self.names.entry(name.clone()).or_insert(Waiting { at: Some(Mono::default()), memo: Memo::default() });
        if let Some(at) = waiting.at.take() {
            self.times.remove(&(at, name.clone()));
            self.queue.push_back(name);
        }
    }

    /// It is to be looked at then, unless its turn comes before.
    pub fn put_off(&mut self, name: OsString, at: Mono, memo: Memo) {
        match self.names.get_mut(&name) {
            Some(Waiting { at: None, memo: known }) => *known = memo,
            Some(Waiting { at: Some(before), memo: known }) => {
                let before = std::mem::replace(before, at);
                *known = memo;
                self.times.remove(&(before, name.clone()));
                self.times.insert((at, name));
            }
            None => {
                self.times.insert((at, name.clone()));
                self.names.insert(name, Waiting { at: Some(at), memo });
            }
        }
    }

    /// The names that wait for their turn wait until then.
    pub fn put_off_all(&mut self, at: Mono) {
        for name in self.queue.drain(..) {
            if let Some(waiting) = self.names.get_mut(&name) {
                waiting.at = Some(at);
                self.times.insert((at, name));
            }
        }
    }

    /// The time of these has come.
    pub fn wake(&mut self, now: Mono) {
        while let Some((at, name)) = self.times.pop_first() {
            if at > now {
                self.times.insert((at, name));
                return;
            }
            if let Some(waiting) = self.names.get_mut(&name) {
                waiting.at = None;
            }
            self.queue.push_back(name);
        }
    }

    /// The next name, and what was remembered of it.
    pub fn pop(&mut self) -> Option<(OsString, Memo)> {
        let name = self.queue.pop_front()?;
        let memo = self.names.remove(&name).map(|waiting| waiting.memo).unwrap_or_default();
        Some((name, memo))
    }

    /// How many wait for their turn.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits for its turn.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether one waits for its turn, or for its time although it was not refused: it is still being made.
    pub fn has_newcomers(&self) -> bool {
        self.names.values().any(|waiting| waiting.memo.refused.is_none())
    }

    /// When the time of the first name comes that waits for its time.
    pub fn deadline(&self) -> Option<Mono> {
        self.times.first().map(|(at, _)| *at)
    }

    /// Why this name was refused, if it was.
    pub fn refusal(&self, name: &OsStr) -> Option<&str> {
        self.names.get(name)?.memo.refused.as_deref()
    }

    /// The first refused name behind this one, or the first of all, and why it was refused.
    pub fn next_refused(&self, behind: Option<&OsStr>) -> Option<(&OsString, &String)> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.names.range::<OsStr, _>((from, Bound::Unbounded));
        names.filter_map(|(name, waiting)| Some((name, waiting.memo.refused.as_ref()?))).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Mono {
        Mono::default().after(Duration::from_secs(seconds))
    }

    fn refused(why: &str) -> Memo {
        Memo { refused: Some(why.into()), ..Memo::default() }
    }

    #[test]
    fn a_name_is_in_it_once_and_keeps_what_is_known_of_it() {
        let mut backlog = Backlog::default();
        backlog.put_off("b".into(), at(5), refused("by another"));
        for name in ["a", "b", "a", "c", "b"] {
            backlog.push(name.into());
        }
        backlog.put_off("b".into(), at(5), refused("locked")); // its turn comes all the same
        assert_eq!((backlog.len(), backlog.deadline()), (3, None));
        let all: Vec<_> = std::iter::from_fn(|| backlog.pop()).collect();
        assert_eq!(
            all,
            [("a".into(), Memo::default()), ("b".into(), refused("locked")), ("c".into(), Memo::default())]
        );
        assert!(backlog.is_empty() && backlog.next_refused(None).is_none());
    }

    #[test]
    fn who_waits_for_its_time_comes_at_its_time() {
        let mut backlog = Backlog::default();
        backlog.put_off("late".into(), at(9), Memo::default());
        backlog.put_off("soon".into(), at(8), Memo::default());
        backlog.put_off("soon".into(), at(3), refused("why"));
        assert_eq!(backlog.deadline(), Some(at(3)));
        backlog.wake(at(2));
        assert!(backlog.is_empty());
        backlog.wake(at(3));
        assert_eq!(
            (backlog.pop(), backlog.pop(), backlog.deadline()),
            (Some(("soon".into(), refused("why"))), None, Some(at(9)))
        );
    }

    #[test]
    fn the_refused_are_told_one_after_the_other() {
        let mut backlog = Backlog::default();
        for name in ["c", "a", "d"] {
            backlog.put_off(name.into(), at(5), refused(name));
        }
        backlog.put_off("b".into(), at(5), Memo::default());
        backlog.push("d".into());
        let next = |behind: Option<&str>| backlog.next_refused(behind.map(OsStr::new)).map(|(name, _)| name.clone());
        assert_eq!(
            [next(None), next(Some("a")), next(Some("c")), next(Some("d"))],
            [Some("a".into()), Some("c".into()), Some("d".into()), None]
        );
    }

    proptest! {
        #[test]
        fn each_name_comes_out_once_for_all_times_that_it_was_put_in(steps in prop::collection::vec((0u8..5, 0u8..6, 0u64..9), 0..80)) {
            let mut backlog = Backlog::default();
            let mut inside = BTreeSet::new();
            for (what, name, time) in steps {
                let name = OsString::from(name.to_string());
                match what {
                    0 => { backlog.push(name.clone()); inside.insert(name); }
                    1 => { backlog.put_off(name.clone(), at(time), Memo::default()); inside.insert(name); }
                    2 => backlog.wake(at(time)),
                    3 => backlog.put_off_all(at(time)),
                    _ => if let Some((name, _)) = backlog.pop() { prop_assert!(inside.remove(&name)); }
                }
            }
            backlog.wake(at(99));
            let left: Vec<_> = std::iter::from_fn(|| backlog.pop()).map(|(name, _)| name).collect();
            prop_assert_eq!(left.len(), inside.len());
            prop_assert_eq!(left.into_iter().collect::<BTreeSet<_>>(), inside);
        }
    }
}
