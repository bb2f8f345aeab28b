//! What is written for limits, processors, priorities and capabilities is read or refused.
//!
//! ```sh
//! cargo +nightly fuzz run limit
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::{capability, limit, scheduling};

fuzz_target!(|text: &str| {
    if let Ok(limit) = limit::limit(text) {
        assert!(limit.hard.is_none_or(|hard| limit.soft <= hard));
    }
    if let Ok(processors) = limit::processors(text) {
        assert!(processors.ends_with(" 100000"), "{processors}");
    }
    if let Ok((class, level)) = scheduling::io_priority(text) {
        assert!(class < 4 && level < 8);
    }
    if let Ok((_, priority)) = scheduling::scheduler(text) {
        assert!((0..100).contains(&priority));
    }
    let _ = (limit::amount(text), scheduling::processors(text), capability::set(text));
});
