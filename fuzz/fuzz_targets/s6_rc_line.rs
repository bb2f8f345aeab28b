//! Any text is a command line of s6-rc, or is left to execlineb; what is read is read again from its words in quotes.
//!
//! ```sh
//! cargo +nightly fuzz run s6_rc_line
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::helpers::s6_rc::words::{Line, read};

fuzz_target!(|text: &str| {
    let Line::Words(words) = read(text) else { return };
    let quoted = |word: &String| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
    let again = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
    assert_eq!(read(&again), Line::Words(words));
});
