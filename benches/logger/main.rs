//! How fast a logger writes what it reads from a pipe to its directory: ours under the names of svlogd, multilog and
//! s6-log, and `onit logger`, beside the real ones.
//!
//! ```sh
//! make bench
//! ONIT=target/release/onit cargo bench --bench logger -- --megabytes 200 --runs 10
//! ```
//!
//! Each round measures all of them with lines of 100 and of 2,000 bytes; the ratio is taken inside a round, between ours
//! and the fastest of the others. A number here never fails a build.
#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_macros)]

#[path = "../shared/mod.rs"]
mod shared;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use shared::{Outcome, median, on_path};

/// The words of each logger; `d` is its directory. Files are closed at a megabyte.
const LOGGERS: [(&str, &[&str]); 4] = [
    ("svlogd", &["-b", "65536", "d"]),
    ("multilog", &["s1000000", "n10", "./d"]),
    ("s6-log", &["s1000000", "n10", "./d"]),
    ("logger", &["--dir", "d"]),
];
const CONFIG: &str = "s1000000\nn10\n";
/// What is written to the pipe at a time.
const PIECE: usize = 65_536;

fn main() -> ExitCode {
    let numbers = [("megabytes", "BENCH_LOGGER_MEGABYTES", 100), ("runs", "BENCH_LOGGER_RUNS", 7)];
    shared::run(numbers, |[megabytes, runs]| {
        [100, 2000].into_iter().try_for_each(|length| compare(length, megabytes << 20, runs))
    })
}

fn compare(length: usize, bytes: usize, runs: usize) -> Outcome<()> {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let onit = shared::onit();
    let theirs = LOGGERS.iter().filter(|(name, _)| *name != "logger" && on_path(name).is_some()); // that one is syslog's
    let theirs: Vec<_> = theirs.collect();
    let line = [&b"x".repeat(length - 1)[..], b"\n"].concat();
    let piece = line.repeat(PIECE.div_ceil(length));
    println!("\n=== {} MB of lines of {length} bytes, {runs} rounds: MB/s ===\n", bytes >> 20);
    let (mut own, mut other) = (vec![Vec::new(); LOGGERS.len()], vec![Vec::new(); theirs.len()]);
    let mut ratios = vec![Vec::new(); LOGGERS.len()];
    for _ in 0..runs {
        for ((name, words), speeds) in theirs.iter().zip(&mut other) {
            speeds.push(measure(root.path(), &[PathBuf::from(name)], words, &piece, bytes)?);
        }
        let best = other.iter().filter_map(|speeds| speeds.last()).copied().fold(0.0, f64::max);
        for (((name, words), speeds), ratios) in LOGGERS.iter().zip(&mut own).zip(&mut ratios) {
            speeds.push(measure(root.path(), &[onit.clone(), name.into()], words, &piece, bytes)?);
            ratios.extend(speeds.last().map(|speed| speed / best));
        }
    }
    for ((name, _), speeds) in theirs.iter().zip(&other) {
        println!("{name:<16}{:>10.0}", median(speeds));
    }
    for (((name, _), speeds), ratios) in LOGGERS.iter().zip(&own).zip(&ratios) {
        println!("{:<16}{:>10.0}{:>12.2} x the best of these", format!("onit {name}"), median(speeds), median(ratios));
    }
    Ok(())
}

/// Megabytes a second, from the first byte to the end of the logger.
fn measure(root: &Path, program: &[PathBuf], words: &[&str], piece: &[u8], bytes: usize) -> Outcome<f64> {
    let _ = fs::remove_dir_all(root.join("d"));
    fs::create_dir(root.join("d"))?;
    fs::write(root.join("d/config"), CONFIG)?;
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).args(words).current_dir(root).stdin(Stdio::piped()).stdout(Stdio::null());
    let start = Instant::now();
    let mut logger = command.spawn()?;
    let mut pipe = logger.stdin.take().ok_or("a pipe")?;
    for _ in 0..bytes / piece.len() {
        pipe.write_all(piece)?;
    }
    drop(pipe);
    let status = logger.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    if status.success() {
        Ok(bytes as f64 / 1e6 / seconds)
    } else {
        Err(format!("{}: {status}", program[0].display()).into())
    }
}
