//! A sorted vector that finds slots by a key.
//!
//! Denser and far less code than a tree. Inserting moves what lies behind, which for ten thousand services costs less
//! than starting one of them does.

use super::table::SlotId;
use std::borrow::Borrow;

/// Slots by key; a key may stand for several slots.
pub struct Index<K>(Vec<(K, SlotId)>);

impl<K> Default for Index<K> {
    fn default() -> Index<K> {
        Index(Vec::new())
    }
}

impl<K: Ord> Index<K> {
    /// The first slot of this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<SlotId>
    where
        K: Borrow<Q>,
    {
        let place = self.0.partition_point(|(known, _)| known.borrow() < key);
        self.0.get(place).filter(|(known, _)| known.borrow() == key).map(|(_, slot)| *slot)
    }

    /// The slot of this key, if it stands for no other.
    pub fn only<Q: Ord + ?Sized>(&self, key: &Q) -> Option<SlotId>
    where
        K: Borrow<Q>,
    {
        let place = self.0.partition_point(|(known, _)| known.borrow() < key);
        let is_next_too = self.0.get(place + 1).is_some_and(|(known, _)| known.borrow() == key);
        self.get(key).filter(|_| !is_next_too)
    }

    /// From now on this key stands for this slot as well.
    pub fn insert(&mut self, key: K, slot: SlotId) {
        let place = self.0.partition_point(|known| (&known.0, known.1) < (&key, slot));
        self.0.insert(place, (key, slot));
    }

    /// This key no longer stands for this slot.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q, slot: SlotId)
    where
        K: Borrow<Q>,
    {
        let place = self.0.partition_point(|(known, at)| (known.borrow(), *at) < (key, slot));
        if self.0.get(place).is_some_and(|(known, at)| known.borrow() == key && *at == slot) {
            self.0.remove(place);
        }
    }

    /// The first key behind this one, or the first of all.
    pub fn next<Q: Ord + ?Sized>(&self, key: Option<&Q>) -> Option<(&K, SlotId)>
    where
        K: Borrow<Q>,
    {
        let place = key.map_or(0, |key| self.0.partition_point(|(known, _)| known.borrow() <= key));
        self.0.get(place).map(|(key, slot)| (key, *slot))
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> std::slice::Iter<'_, (K, SlotId)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Index;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn an_index_is_a_sorted_set(steps in prop::collection::vec((any::<bool>(), 0u8..8, 0usize..4), 0..64)) {
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for (insert, key, slot) in steps {
                if !insert {
                    index.remove(&key, slot);
                    model.remove(&(key, slot));
                } else if model.insert((key, slot)) {
                    index.insert(key, slot);
                }
                prop_assert!(index.iter().eq(model.iter()));
                let first = model.iter().find(|(known, _)| *known == key).map(|(_, slot)| *slot);
                prop_assert_eq!(index.get(&key), first);
                let is_only = model.iter().filter(|(known, _)| *known == key).count() == 1;
                prop_assert_eq!(index.only(&key), first.filter(|_| is_only));
            }
        }
    }
}
