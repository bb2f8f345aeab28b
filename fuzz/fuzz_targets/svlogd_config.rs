//! Any bytes are a config of svlogd, and any line is selected by it or not. The last line is the line.
//!
//! ```sh
//! cargo +nightly fuzz run svlogd_config
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::svlogd::Config;

fuzz_target!(|input: &[u8]| {
    let (config, line) = match input.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => (&input[..at + 1], &input[at + 1..]),
        None => (input, &b""[..]),
    };
    let (config, _) = Config::parse(config);
    config.select(line);
    assert!(config.udp.is_some() || !config.udp_only);
});
