//! Any bytes are a status or an error, and what is read once is read again.
//!
//! ```sh
//! cargo +nightly fuzz run status
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::client::{Format, Phase, Status};
use std::time::{Duration, SystemTime};

const FORMATS: [Format; 5] = [Format::Daemontools, Format::Runit, Format::Encore, Format::S6, Format::S6Long];

fuzz_target!(|record: &[u8]| {
    for format in FORMATS {
        if let Ok(status) = Status::decode_as(format, record) {
            check(&status, format);
            let longer = [record, b"more"].concat();
            assert_eq!(Status::decode_as(format, &longer), Ok(status), "what stands behind it matters");
        }
    }
    if let Ok(status) = Status::decode(record) {
        assert_eq!(Format::detect(record), Some(status.format));
        assert_eq!(Status::decode_as(status.format, record), Ok(status));
    }
});

fn check(status: &Status, format: Format) {
    assert_eq!(status.format, format);
    assert!(status.pid.is_none_or(|pid| pid.0 > 0));
    assert!(status.uptime(SystemTime::UNIX_EPOCH) >= Duration::ZERO);
    assert!(!status.state().word().is_empty());
    if status.phase == Phase::Down {
        assert_ne!(status.ready, Some(true), "what is down is not ready");
    }
}
