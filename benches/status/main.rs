//! What the library adds to reading a status: decoding beside a plain look at the same bytes, and the status of a service
//! beside a plain read of its file. And how often each asks for memory.
//!
//! ```sh
//! make bench
//! cargo bench --bench status -- --runs 200
//! ```
//!
//! In every round each takes its turn, so a machine that is slow for a while is slow for all, and ratios are taken inside
//! a round. A number here never fails a build.
#![allow(missing_docs, unsafe_code, clippy::disallowed_methods, clippy::disallowed_macros)]

mod counting;
#[path = "../shared/mod.rs"]
mod shared;

use std::fs;
use std::hint::black_box;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use counting::{Counting, allocations};
use nix::libc;
use onit::client::{Service, Status};
use shared::{Outcome, fastest_tenth, median, time};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Records of the real tools.
const RECORDS: [(&str, &str); 3] = [
    ("daemontools, 18 bytes", "400000006b05474106aececc375b00000075"),
    ("runit, 20 bytes", "400000006b054743082749b4515b000000750001"),
    ("s6, 35 bytes", "400000006b0547531c731c48400000006b05475209bc6f640000000000005a52000906"),
];
/// So often in a row is timed in memory, and on files.
const IN_MEMORY: u32 = 10_000;
const ON_FILES: u32 = 200;
/// Not recorded: what happens first happens in cold caches.
const WARM_UP: usize = 3;

struct Peer<'a> {
    name: String,
    work: Box<dyn Fn() + 'a>,
    times: u32,
    /// Nanoseconds for one, by round.
    nanos: Vec<f64>,
    /// The ratio is to this one before it.
    base: usize,
}

fn main() -> ExitCode {
    shared::run([("runs", "BENCH_STATUS_RUNS", 300)], |[runs]| compare(runs))
}

fn compare(runs: usize) -> Outcome<()> {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let records: Vec<(&str, Vec<u8>)> = RECORDS.iter().map(|(name, hex)| (*name, bytes(hex))).collect();
    let (service, _reader) = supervised(root.path(), &records[1].1)?;
    let mut peers = peers(&records, &service);
    for round in 0..WARM_UP + runs {
        for peer in &mut peers {
            let start = Instant::now();
            (0..peer.times).for_each(|_| (peer.work)());
            if round >= WARM_UP {
                peer.nanos.push(start.elapsed().as_nanos() as f64 / f64::from(peer.times));
            }
        }
    }
    println!("\n=== status: one of each, {runs} rounds ===\n");
    println!("{:<40}{:>12}{:>16}{:>16}{:>14}", "", "median", "fastest tenth", "ratio to plain", "allocations");
    for peer in &peers {
        let base = &peers[peer.base].nanos;
        let ratios: Vec<f64> = peer.nanos.iter().zip(base).map(|(own, plain)| own / plain).collect();
        let (middle, best) = (time(median(&peer.nanos)), time(fastest_tenth(&peer.nanos)));
        let (ratio, asked) = (median(&ratios), allocations(&peer.work));
        println!("{:<40}{middle:>12}{best:>16}{ratio:>16.2}{asked:>14}", peer.name);
    }
    Ok(())
}

type Work<'a> = Box<dyn Fn() + 'a>;

fn peers<'a>(records: &'a [(&str, Vec<u8>)], service: &'a Service) -> Vec<Peer<'a>> {
    let mut peers = Vec::new();
    let mut add = |name: String, times: u32, plain: Work<'a>, own: Vec<(&str, Work<'a>)>| {
        let base = peers.len();
        peers.push(Peer { name: format!("{name}, plain"), work: plain, times, nanos: Vec::new(), base });
        for (verb, work) in own {
            peers.push(Peer { name: format!("{name}, {verb}"), work, times, nanos: Vec::new(), base });
        }
    };
    for (name, record) in records {
        let plain = move || {
            black_box(black_box(record).iter().fold(0u8, |all, byte| all.wrapping_add(*byte)));
        };
        let decode = move || {
            black_box(Status::decode(black_box(record))).expect("a record");
        };
        add((*name).to_string(), IN_MEMORY, Box::new(plain), vec![("decoded", Box::new(decode))]);
    }
    let file = service.path().join("supervise/status");
    let plain = move || {
        let mut buffer = [0; 64];
        black_box(fs::File::open(&file).and_then(|mut file| file.read(&mut buffer))).expect("20 bytes");
    };
    let record = || {
        black_box(service.record()).expect("a record");
    };
    let status = || {
        black_box(service.status()).expect("a status");
    };
    let own: Vec<(&str, Work<'_>)> =
        vec![("record()", Box::new(record)), ("status(), supervisor checked", Box::new(status))];
    add("file".into(), ON_FILES, Box::new(plain), own);
    peers
}

/// A service directory that looks supervised for as long as the descriptor lives.
fn supervised(root: &Path, record: &[u8]) -> Outcome<(Service, fs::File)> {
    let supervise = root.join("web/supervise");
    fs::create_dir_all(&supervise)?;
    fs::write(supervise.join("status"), record)?;
    nix::unistd::mkfifo(&supervise.join("ok"), nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    let reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(supervise.join("ok"))?;
    Ok((Service::open(root.join("web"))?, reader))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).filter_map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}
