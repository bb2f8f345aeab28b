//! What most services leave as it is.

use std::ops::{Deref, DerefMut};

/// A value that most services have in common.
pub trait Common: Clone + PartialEq + 'static {
    /// That value.
    const COMMON: &'static Self;
}

/// Such a value. It takes memory only where it was changed.
#[derive(Clone, Debug)]
pub struct Rare<T>(Option<Box<T>>);

impl<T: Common> Rare<T> {
    /// This one.
    pub fn of(value: T) -> Rare<T> {
        Rare((value != *T::COMMON).then(|| Box::new(value)))
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T> From<T> for Rare<T> {
    fn from(value: T) -> Rare<T> {
        Rare(Some(Box::new(value)))
    }
}

impl<T: Common> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::COMMON)
    }
}

impl<T: Common> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::COMMON.clone()))
    }
}

impl<T: Common> PartialEq for Rare<T> {
    fn eq(&self, other: &Rare<T>) -> bool {
        **self == **other
    }
}

impl<T: Common + Eq> Eq for Rare<T> {}
