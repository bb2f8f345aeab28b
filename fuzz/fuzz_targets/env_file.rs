//! Any file of variables is refused in one of its lines, or has variables that can stand in an environment.
//!
//! ```sh
//! cargo +nightly fuzz run env_file
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::env_file::parse;

fuzz_target!(|content: &[u8]| match parse(content) {
    Ok(variables) => {
        for (name, value) in variables {
            assert!(!name.is_empty() && !name.iter().any(|byte| b"=\n\0 ".contains(byte)));
            assert!(value.is_none_or(|value| !value.iter().any(|byte| b"\n\0".contains(byte))));
        }
    }
    Err((line, _)) => assert!(line >= 1 && line <= content.split(|byte| *byte == b'\n').count()),
});
