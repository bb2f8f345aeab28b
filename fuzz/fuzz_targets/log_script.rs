//! Any words are a script of multilog; of s6-log they are one or are refused. A NUL ends a word; the last one is the line.
//!
//! ```sh
//! cargo +nightly fuzz run log_script
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::log_script::{Multilog, S6Log};

fuzz_target!(|input: &[u8]| {
    let words: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
    let (line, words) = words.split_last().expect("split gives one at least");
    let script = Multilog::parse(words);
    script.run(line, |place| assert!(place < script.actions.len()));
    if let Ok(script) = S6Log::parse(words) {
        assert!(!script.blocks.is_empty() && script.blocks.iter().all(|block| !block.deeds.is_empty()));
    }
});
