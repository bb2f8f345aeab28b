//! Reading a status asks for no memory. A binary of its own, since it counts what its allocator is asked for.
#![allow(missing_docs, unsafe_code, clippy::disallowed_methods, clippy::disallowed_macros)]

#[path = "../benches/status/counting.rs"]
mod counting;

use counting::{Counting, allocations};
use onit::client::{Format, Service, Status};
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::SystemTime;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Records of the real runsv, supervise and s6-supervise.
const RECORDS: [&[u8]; 3] = [
    b"\x40\0\0\0\x6b\x05\x47\x43\x08\x27\x49\xb4\x51\x5b\0\0\0u\0\x01",
    b"\x40\0\0\0\x6b\x05\x47\x41\x06\xae\xce\xcc\x37\x5b\0\0\0u",
    b"\x40\0\0\0\x6b\x05\x47\x53\x1c\x73\x1c\x48\x40\0\0\0\x6b\x05\x47\x52\x09\xbc\x6f\x64\0\0\0\0\0\0\x5a\x52\0\x09\x06",
];

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn decoding_asks_for_no_memory() {
    let now = SystemTime::now();
    let decode = || {
        for record in RECORDS {
            let status = Status::decode(record).expect("a record");
            std::hint::black_box((status.uptime(now), status.state()));
            std::hint::black_box(Status::decode_as(Format::Daemontools, record).is_ok());
            std::hint::black_box(Status::decode(&record[1..]).expect_err("no record"));
        }
    };
    assert_eq!(allocations(decode), 0);
}

#[test]
fn neither_does_the_status_of_a_service() {
    let root = tempfile::tempdir().expect("a directory");
    let supervise = root.path().join("supervise");
    fs::create_dir(&supervise).expect("mkdir");
    nix::unistd::mkfifo(&supervise.join("ok"), nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo");
    let ok = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(supervise.join("ok"));
    let service = Service::open(root.path()).expect("a service");
    for record in RECORDS {
        fs::write(supervise.join("status"), record).expect("write");
        let read = || {
            std::hint::black_box(service.status().expect("a status"));
            std::hint::black_box(service.record().expect("a record"));
        };
        assert_eq!(allocations(read), 0);
    }
    drop(ok);
}
