//! A word of a protocol, which may be newer than we are.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

impl<T: AsRef<str>> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Word<T>, D::Error> {
        let word = String::deserialize(from)?;
        Ok(word.parse().map_or(Word::Other(word), Word::Known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Want;

    #[test]
    fn a_word_that_we_do_not_know_is_kept_as_it_was_said() {
        let words: Vec<Word<Want>> = serde_json::from_str(r#"["once","never \"ever\""]"#).expect("words");
        assert_eq!(words, [Word::Known(Want::Once), Word::Other("never \"ever\"".into())]);
        assert_eq!(words.iter().map(Word::known).collect::<Vec<_>>(), [Some(Want::Once), None]);
        assert_eq!(serde_json::to_string(&words).expect("text"), r#"["once","never \"ever\""]"#);
        assert!(words[0] == Want::Once && words[0] != Want::Up && Want::ALL.iter().all(|want| words[1] != *want));
        assert_eq!(format!("{:5}|{}", words[0], words[1]), "once |never \"ever\"");
        assert!(serde_json::from_str::<Word<Want>>("1").is_err());
    }
}
