//! Any text is a file `sockets` or refused, and what is not refused can be written and read again; and any text is a list
//! of sockets of the kernel, or none.
//!
//! ```sh
//! cargo +nightly fuzz run sockets
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::sockets::{inode_of, parse};

fuzz_target!(|text: &str| {
    let _ = inode_of(text, ([127, 0, 0, 1], 80).into());
    let Ok(sockets) = parse(text) else { return };
    let written: Vec<String> = sockets.iter().map(ToString::to_string).collect();
    assert_eq!(parse(&written.join("\n")), Ok(sockets));
});
