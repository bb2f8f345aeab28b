//! Values that people and programs are told as one word, and that are read from the same word.

use std::fmt;

/// A word that stands for nothing of its kind: what the `FromStr` of such values says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UnknownWord {
    what: &'static str,
    word: String,
}

impl UnknownWord {
    /// This word is no `what`.
    pub fn new(what: &'static str, word: &str) -> UnknownWord {
        UnknownWord { what, word: word.to_owned() }
    }

    /// The word.
    pub fn word(&self) -> &str {
        &self.word
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no {}", self.word, self.what)
    }
}

impl std::error::Error for UnknownWord {}

/// The words of an enum: `word()`, `AsRef<str>`, `Display`, `FromStr`, and with the feature `serde` the same as text.
macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident = $word:literal),+ $(,)?) => {
        impl $type {
            /// Every one there is.
            pub const ALL: [$type; [$($word),+].len()] = [$($type::$variant),+];

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self {
                    $($type::$variant => $word),+
                }
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.word()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::machine::UnknownWord;

            fn from_str(word: &str) -> Result<$type, $crate::machine::UnknownWord> {
                let meant = $type::ALL.iter().find(|one| one.word() == word).copied();
                meant.ok_or_else(|| $crate::machine::UnknownWord::new($what, word))
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.word())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                let word = <String as serde::Deserialize>::deserialize(from)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;
