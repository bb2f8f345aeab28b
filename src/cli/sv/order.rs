//! What a word orders.
//!
//! Source: `sv(8)` and `sv.c` of runit: a few whole words, and for all others the first letter.

/// What `sv` does for a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order<'a> {
    /// What is done first.
    pub act: Act,
    /// What is written to `supervise/control`, and what must be so for each in turn. `C` is `check`.
    pub letters: &'a [u8],
    /// It is waited for without `-v` too.
    pub waits: bool,
    /// What does not come about in time is killed.
    pub kills: bool,
}

/// What is done first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The letters are sent.
    Send,
    /// A line is printed, and that is all.
    Status,
    /// Nothing.
    Nothing,
}

const fn send(letters: &[u8]) -> Order<'_> {
    Order { act: Act::Send, letters, waits: false, kills: false }
}

const fn wait(letters: &[u8]) -> Order<'_> {
    Order { waits: true, ..send(letters) }
}

const fn force(letters: &[u8]) -> Order<'_> {
    Order { kills: true, ..wait(letters) }
}

const STATUS: Order = Order { act: Act::Status, ..send(b"s") };

/// Reads a word. As an init script `sv` takes no other word with `s` for `status`.
pub fn read(word: &[u8], init_script: bool) -> Option<Order<'_>> {
    Some(match word {
        b"start" => wait(b"u"),
        b"stop" => wait(b"d"),
        b"shutdown" => wait(b"x"),
        b"restart" => wait(b"tcu"),
        b"try-restart" => wait(b"tc"),
        b"reload" => wait(b"h"),
        b"check" => Order { act: Act::Nothing, ..wait(b"C") },
        b"force-stop" | [b'D', ..] => force(b"d"),
        b"force-shutdown" | [b'X' | b'E', ..] => force(b"x"),
        b"force-reload" | [b'T', ..] => force(b"tc"),
        b"force-restart" => force(b"tcu"),
        [b'x' | b'e', ..] => send(b"x"),
        [b's', ..] if !init_script || word == b"status" => STATUS,
        [b'u' | b'd' | b'o' | b't' | b'c' | b'p' | b'h' | b'a' | b'i' | b'k' | b'q' | b'1' | b'2', ..] => {
            send(word.get(..1)?)
        }
        _ => return None,
    })
}

/// The words of the manual. That a letter begins like one of them is no sign that `sv` is meant.
pub const WORDS: &str = "status up down once pause cont hup alarm interrupt quit 1 2 term kill exit start stop reload \
    restart shutdown check try-restart force-stop force-reload force-restart force-shutdown";

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(word: &str) -> Option<&[u8]> {
        read(word.as_bytes(), false).map(|order| order.letters)
    }

    #[test]
    fn first_letters_are_enough_except_where_a_word_is_its_own() {
        for (word, sent) in [
            ("up", "u"),
            ("upward", "u"),
            ("down", "d"),
            ("try", "t"),
            ("try-restart", "tc"),
            ("check", "C"),
            ("checks", "c"),
            ("cont", "c"),
            ("exit", "x"),
            ("x", "x"),
            ("E", "x"),
            ("Down", "d"),
            ("Term", "tc"),
            ("start", "u"),
            ("stop", "d"),
            ("starts", "s"),
            ("restart", "tcu"),
            ("force-restart", "tcu"),
            ("reload", "h"),
            ("1", "1"),
            ("2nd", "2"),
        ] {
            assert_eq!(letters(word), Some(sent.as_bytes()), "{word}");
        }
        for word in ["", "U", "run", "r", "force", "f", "-", "3", "w"] {
            assert_eq!(letters(word), None, "{word}");
        }
    }

    #[test]
    fn an_init_script_has_no_abbreviation_of_status() {
        assert_eq!(read(b"s", true), None);
        assert_eq!(read(b"status", true), read(b"s", false));
        assert_eq!(read(b"shutdown", true), read(b"shutdown", false));
        assert!(WORDS.split(' ').all(|word| read(word.as_bytes(), true).is_some()));
    }
}
