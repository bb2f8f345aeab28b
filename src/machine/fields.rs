//! State as plain data: numbers with names, each at a place of its own in a few words.
//!
//! A program leaves such words to the one that goes on, which may be older or newer. So a place never changes its meaning,
//! a new field gets bits that were free, and zero is what a field says that nobody has written.

/// A field: its word, its first bit there, and how many bits it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The word.
    pub word: usize,
    /// The first bit.
    pub first: u32,
    /// How many.
    pub bits: u32,
}

impl Place {
    /// A whole word.
    pub const fn word(word: usize) -> Place {
        Place::bits(word, 0, 64)
    }

    /// Some bits of a word.
    pub const fn bits(word: usize, first: u32, bits: u32) -> Place {
        Place { word, first, bits }
    }

    /// What the field can hold, as a mask.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// What these words say. Words that are not there are zero.
    pub fn read(self, words: &[u64]) -> u64 {
        words.get(self.word).map_or(0, |word| word >> self.first & self.mask())
    }

    /// Writes it to words that are zero there.
    pub fn write(self, words: &mut [u64], number: u64) {
        debug_assert!(number <= self.mask());
        words.get_mut(self.word).into_iter().for_each(|word| *word |= (number & self.mask()) << self.first);
    }
}

/// Whether each field fits into so many words, and none into another one.
#[allow(clippy::indexing_slicing)] // the compiler does this
pub const fn are_apart<const WORDS: usize>(places: &[Place]) -> bool {
    let (mut taken, mut at) = ([0; WORDS], 0);
    while at < places.len() {
        let place = places[at];
        let bits = place.mask() << place.first;
        let is_real = place.bits > 0 && place.first + place.bits <= 64;
        if !is_real || place.word >= WORDS || taken[place.word] & bits != 0 {
            return false;
        }
        taken[place.word] |= bits;
        at += 1;
    }
    true
}

/// A struct of numbers, and their places in an array of words.
macro_rules! fields {
    ($(#[$about:meta])* pub struct $name:ident in $words:ident { $($(#[$what:meta])* $field:ident: $place:expr,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name {
            $($(#[$what])* pub $field: u64,)*
        }

        impl $name {
            #[allow(missing_docs)]
            const PLACES: &[$crate::machine::fields::Place] = &[$($place),*];

            /// As words.
            pub fn pack(&self) -> [u64; $words] {
                let mut words = [0; $words];
                $($place.write(&mut words, self.$field);)*
                words
            }

            /// And back. What else the words say is not ours to know.
            pub fn unpack(words: &[u64; $words]) -> $name {
                $name { $($field: $place.read(words),)* }
            }
        }

        const _: () = assert!($crate::machine::fields::are_apart::<$words>($name::PLACES));
    };
}
pub(crate) use fields;

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: usize = 2;
    fields! {
        /// What an older version knows.
        pub struct Older in WORDS {
            phase: Place::bits(0, 0, 4),
            since: Place::word(1),
        }
    }
    fields! {
        /// The same and something more.
        pub struct Newer in WORDS {
            phase: Place::bits(0, 0, 4),
            is_ready: Place::bits(0, 4, 1),
            since: Place::word(1),
        }
    }

    #[test]
    fn an_older_and_a_newer_version_follow_each_other() {
        let newer = Newer { phase: 15, is_ready: 1, since: u64::MAX };
        assert_eq!(Newer::unpack(&newer.pack()), newer);
        let older = Older::unpack(&newer.pack());
        assert_eq!(older, Older { phase: 15, since: u64::MAX });
        assert_eq!(Newer::unpack(&older.pack()), Newer { is_ready: 0, ..newer });
    }

    #[test]
    fn two_fields_never_share_a_bit() {
        let [low, high] = [Place::bits(0, 0, 32), Place::bits(0, 32, 32)];
        assert!(are_apart::<1>(&[low, high]));
        assert!(!are_apart::<1>(&[low, Place::bits(0, 31, 2)]));
        assert!(!are_apart::<1>(&[Place::word(1)]));
        assert_eq!(high.read(&[7 << 32 | 5]), 7);
        assert_eq!(high.read(&[]), 0);
    }
}
