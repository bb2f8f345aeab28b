//! Any line has a time stamp that is a part of it, or none; any words are a moment, or none.
//!
//! ```sh
//! cargo +nightly fuzz run stamp
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::stamp::{stamp, when};

fuzz_target!(|line: &[u8]| {
    if let Some(found) = stamp(line) {
        assert!(found.length <= line.len() && found.at.nanos < 1_000_000_000);
        if found.length > 0 {
            let again = stamp(&line[..found.length]).map(|again| again.at);
            assert_eq!(again, Some(found.at), "what is behind it makes no difference");
        }
    }
    if let Ok(text) = std::str::from_utf8(line) {
        let _ = when(text);
    }
});
