//! What it costs to put the name of a service in front of each line that it says: `onit run --prefix`, beside a
//! `sed --unbuffered 's/^/NAME | /'` for each service.
//!
//! ```sh
//! make bench
//! ONIT=target/release/onit cargo bench --bench mux -- --lines 500000 --runs 10
//! ```
//!
//! Four services write lines of 100 bytes, and both ways run under onit. In each round the one follows the other, and the
//! ratios are taken inside a round: of the time until the last line has been read, and of what all processes together
//! have used of the processors, services included. A number here never fails a build.
#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_macros)]

#[path = "../shared/mod.rs"]
mod shared;

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use shared::{Outcome, median};

const SERVICES: [&str; 4] = ["api", "db", "queue", "web"];
const LENGTH: usize = 100;
/// What /proc counts the use of processors in, a second.
const TICKS: f64 = 100.0;

fn main() -> ExitCode {
    let numbers = [("lines", "BENCH_MUX_LINES", 500_000), ("runs", "BENCH_MUX_RUNS", 7)];
    shared::run(numbers, |[lines, runs]| compare(lines, runs))
}

fn compare(lines: usize, runs: usize) -> Outcome<()> {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let line = [&b"x".repeat(LENGTH - 1)[..], b"\n"].concat();
    fs::write(root.path().join("lines"), line.repeat(lines / SERVICES.len()))?;
    services(&root.path().join("sed"), |name| format!("cat ../../lines | sed --unbuffered 's/^/{name} | /'"))?;
    services(&root.path().join("onit"), |_| "exec cat ../../lines".to_owned())?;
    let (mut theirs, mut ours) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..runs {
        let (bytes, sed) = measure(&root.path().join("sed"), &[])?;
        let (same, onit) = measure(&root.path().join("onit"), &["--prefix"])?;
        if bytes != same {
            return Err(format!("sed wrote {bytes} bytes, onit {same}").into());
        }
        for at in 0..2 {
            theirs[at].push(sed[at]);
            ours[at].push(onit[at]);
        }
    }
    println!("\n=== {lines} lines of {LENGTH} bytes from {} services, {runs} rounds: µs a line ===\n", SERVICES.len());
    println!("{:<20}{:>10}{:>10}", "", "time", "cpu");
    for (name, [wall, cpu]) in [("sed --unbuffered", &theirs), ("onit run --prefix", &ours)] {
        let each = |seconds: &[f64]| median(seconds) * 1e6 / lines as f64;
        println!("{name:<20}{:>10.2}{:>10.2}", each(wall), each(cpu));
    }
    let ratio = |at: usize| median(&theirs[at].iter().zip(&ours[at]).map(|(sed, onit)| onit / sed).collect::<Vec<_>>());
    println!("{:<20}{:>10.2}{:>10.2}", "ratio", ratio(0), ratio(1));
    Ok(())
}

fn services(dir: &Path, run: impl Fn(&str) -> String) -> Outcome<()> {
    for name in SERVICES {
        let service = dir.join(name);
        fs::create_dir_all(&service)?;
        fs::write(service.join("restart"), "never\n")?;
        fs::write(service.join("run"), format!("#!/bin/sh\n{}\n", run(name)))?;
        fs::set_permissions(service.join("run"), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// How many bytes came; the seconds until the last one, and those of processors.
fn measure(dir: &Path, words: &[&str]) -> Outcome<(u64, [f64; 2])> {
    let before = used()?;
    let mut command = Command::new(shared::onit());
    command.args(["run", "--until", "done"]).args(words).arg(dir).stdin(Stdio::null()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut onit = command.spawn()?;
    let (mut bytes, mut seconds) = (0, 0.0);
    let mut stream = onit.stdout.take().ok_or("a pipe")?;
    let mut room = vec![0; 1 << 16];
    loop {
        match stream.read(&mut room) {
            Ok(0) => break,
            Ok(count) => {
                bytes += count as u64;
                seconds = start.elapsed().as_secs_f64();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let status = onit.wait()?;
    if status.success() { Ok((bytes, [seconds, used()? - before])) } else { Err(format!("onit: {status}").into()) }
}

/// What children that have ended, and theirs, have used of the processors, in seconds.
fn used() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit_once(')').ok_or("a name")?.1;
    let ticks = behind_name.split_whitespace().skip(13).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS)
}
