//! Any datagram is a list of lines or a refusal, no key is told twice that counts once, and what is read once is read
//! again.
//!
//! ```sh
//! cargo +nightly fuzz run notify
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::notify::{Assignment, LONGEST_NAME, MOST, parse};

fuzz_target!(|datagram: &[u8]| {
    let Ok(assignments) = parse(datagram) else { return };
    assert!(datagram.len() <= MOST);
    let mut told = Vec::new();
    for assignment in assignments.flatten() {
        let line = assignment.to_string();
        let again: Vec<_> = parse(line.as_bytes()).expect("a line is a datagram").collect();
        assert_eq!(again, [Ok(assignment)]);
        match assignment {
            Assignment::MainPid(pid) => assert!(pid.0 > 0),
            Assignment::Errno(number) => assert!((0..=4095).contains(&number)),
            Assignment::FdName(name) => assert!(name.len() <= LONGEST_NAME && !name.contains(':')),
            _ => {}
        }
        told.push(line.split('=').next().map(str::to_owned));
    }
    let lines = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), lines);
});
