//! Options as the tools of daemontools and runit read them, which is not how lexopt does: there are single letters only,
//! whatever begins with `--` ends them, and `-w=5` has the value `=5`.
//!
//! Source: `subgetopt.c` and `sgetopt.c` of both.

use super::print;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

/// A letter, and its value if it has one.
pub type Letter<'a> = (u8, &'a [u8]);

/// Reads the options at the front of some words.
pub struct Options<'a> {
    program: &'a [u8],
    /// The letters that there are; a colon follows those with a value.
    known: &'static [u8],
    words: &'a [OsString],
    /// What is left of a word of options.
    cluster: &'a [u8],
    /// They are read as s6 does.
    is_s6: bool,
}

impl<'a> Options<'a> {
    /// Of these words, without the program's own name.
    pub fn new(program: &'a [u8], known: &'static [u8], words: &'a [OsString]) -> Self {
        Options { program, known, words, cluster: b"", is_s6: false }
    }

    /// The same as the tools of s6 read them: only `--` alone ends them, and what is wrong with one is not said.
    pub fn of_s6(mut self) -> Self {
        self.is_s6 = true;
        self
    }

    /// The words behind the options.
    pub fn rest(&self) -> &'a [OsString] {
        self.words
    }

    /// The letters of the next word, if it is one of options.
    fn open_word(&mut self) -> Option<&'a [u8]> {
        let (word, rest) = self.words.split_first()?;
        let letters = word.as_bytes().strip_prefix(b"-").filter(|letters| !letters.is_empty())?;
        self.words = rest;
        let is_end = if self.is_s6 { letters == b"-" } else { letters.starts_with(b"-") };
        (!is_end).then_some(letters)
    }

    fn wrong(&self, what: &str, letter: u8) -> Result<Letter<'a>, ()> {
        if !self.is_s6 {
            print::stderr(&[self.program, b": ", what.as_bytes(), b" -- ", &[letter], b"\n"]);
        }
        Err(())
    }
}

/// Each option; `Err` when it is a wrong one, which then has been said.
impl<'a> Iterator for Options<'a> {
    type Item = Result<Letter<'a>, ()>;

    fn next(&mut self) -> Option<Result<Letter<'a>, ()>> {
        let (&letter, rest) = match self.cluster.split_first() {
            Some(next) => next,
            None => self.open_word()?.split_first()?,
        };
        self.cluster = rest;
        let at = self.known.iter().position(|known| *known == letter && letter != b':');
        let Some(at) = at else { return Some(self.wrong("illegal option", letter)) };
        if self.known.get(at + 1) != Some(&b':') {
            return Some(Ok((letter, b"")));
        }
        let attached = std::mem::take(&mut self.cluster);
        if !attached.is_empty() {
            return Some(Ok((letter, attached)));
        }
        let Some((value, rest)) = self.words.split_first() else {
            return Some(self.wrong("option requires an argument", letter));
        };
        self.words = rest;
        Some(Ok((letter, value.as_bytes())))
    }
}

/// A number as the tools read it: the digits at the front, modulo 2^64; 0 if there are none.
pub fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The options as text, and how many words are left.
    fn read(words: &str) -> (String, usize) {
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let mut options = Options::new(b"sv", b"w:vV", &words);
        let mut seen = String::new();
        while let Some(option) = options.next() {
            let Ok((letter, value)) = option else { return (seen + "?", options.rest().len()) };
            seen.push(letter.into());
            seen.push_str(&String::from_utf8_lossy(value));
        }
        (seen, options.rest().len())
    }

    #[test]
    fn options_are_read_as_the_tools_read_them() {
        for (words, seen, left) in [
            ("up web", "", 2),
            ("-v up", "v", 1),
            ("-vw5 up", "vw5", 1),
            ("-w 5 -v up -v", "w5v", 2),
            ("-w=5 up", "w=5", 1),
            ("-wv up", "wv", 1),
            ("-v -- -v", "v", 1),
            ("--verbose up", "", 1),
            ("- up", "", 2),
            ("-x up", "?", 1),
            ("-: up", "?", 1),
            ("-vw", "v?", 0),
        ] {
            assert_eq!(read(words), (seen.to_owned(), left), "{words}");
        }
    }

    #[test]
    fn s6_ends_options_by_two_dashes_alone() {
        let words = ["--v", "--", "-v"].map(OsString::from);
        let mut options = Options::new(b"s6", b"v", &words).of_s6();
        assert_eq!(options.by_ref().collect::<Vec<_>>(), [Err(()), Ok((b'v', &b""[..]))]);
        assert_eq!(options.rest().len(), 1);
    }

    #[test]
    fn numbers_are_their_digits() {
        for (text, value) in [("7", 7), ("12s", 12), ("", 0), ("x", 0), ("-1", 0), ("18446744073709551617", 1)] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }
}
