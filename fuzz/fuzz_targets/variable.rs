//! Any file of `env/` removes a variable, or is a value that can stand in an environment.
//!
//! ```sh
//! cargo +nightly fuzz run variable
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::svdir::variable;

fuzz_target!(|content: &[u8]| {
    let Some(value) = variable(content) else { return assert!(content.is_empty()) };
    assert!(!content.is_empty() && value.len() <= content.len());
    assert!(!value.contains(&0) && !matches!(value.last(), Some(b' ' | b'\t')));
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    assert_eq!(variable(first).unwrap_or_default(), value, "only the first line counts");
});
