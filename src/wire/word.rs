//! A word of a protocol, which may be newer than we are.

use super::json::{Read, Value, Write};
use std::fmt;
use std::str::FromStr;

/// What one word says. A newer onit may have words that this one does not know: such a word spoils nothing else of its
/// line, and is told again as it was said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Word<T> {
    /// It means this.
    Known(T),
    /// We do not know what it means.
    Other(String),
}

impl<T: Copy> Word<T> {
    /// What it means, if we know.
    pub fn known(&self) -> Option<T> {
        match self {
            Word::Known(meaning) => Some(*meaning),
            Word::Other(_) => None,
        }
    }
}

impl<T: AsRef<str>> Word<T> {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Word::Known(meaning) => meaning.as_ref(),
            Word::Other(word) => word,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(meaning: T) -> Word<T> {
        Word::Known(meaning)
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, meaning: &T) -> bool {
        match self {
            Word::Known(known) => known == meaning,
            Word::Other(_) => false,
        }
    }
}

impl<T: AsRef<str>> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T: FromStr> Word<T> {
    fn of(word: String) -> Word<T> {
        word.parse().map_or(Word::Other(word), Word::Known)
    }
}

impl<T: AsRef<str>> Write for Word<T> {
    fn write(&self, to: &mut String) {
        self.as_str().write(to);
    }
}

impl<T: FromStr> Read for Word<T> {
    fn read(value: &Value) -> Option<Word<T>> {
        String::read(value).map(Word::of)
    }
}

#[cfg(feature = "serde")]
impl<T: AsRef<str>> serde::Serialize for Word<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de, T: FromStr> serde::Deserialize<'de> for Word<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Word<T>, D::Error> {
        <String as serde::Deserialize>::deserialize(from).map(Word::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Want;

    #[test]
    fn a_word_that_we_do_not_know_is_kept_as_it_was_said() {
        let read = |text: &str| Value::parse(text.as_bytes()).ok().as_ref().and_then(Word::<Want>::read);
        let words = [r#""once""#, r#""never \"ever\"""#].map(|text| read(text).expect("a word"));
        assert_eq!(words, [Word::Known(Want::Once), Word::Other("never \"ever\"".into())]);
        assert_eq!(words.iter().map(Word::known).collect::<Vec<_>>(), [Some(Want::Once), None]);
        assert_eq!(super::super::json::text(&words[..]), r#"["once","never \"ever\""]"#);
        assert!(words[0] == Want::Once && words[0] != Want::Up && Want::ALL.iter().all(|want| words[1] != *want));
        assert_eq!(format!("{:5}|{}", words[0], words[1]), "once |never \"ever\"");
        assert_eq!(read("1"), None);
    }
}
