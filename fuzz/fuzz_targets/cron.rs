//! Any text is a line of a crontab or refused, and what is not refused comes.
//!
//! ```sh
//! cargo +nightly fuzz run cron
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::cron::Cron;

/// 2026-01-01 00:00 UTC.
const NEW_YEAR: i64 = 1_767_225_600;

fuzz_target!(|text: &str| {
    let Ok(cron) = text.parse::<Cron>() else { return };
    let next = cron.next(NEW_YEAR, |_| 0).expect("it comes");
    assert!(next > NEW_YEAR && next % 60 == 0, "{next}");
    assert_eq!(cron.next(next - 1, |_| 0), Some(next));
});
