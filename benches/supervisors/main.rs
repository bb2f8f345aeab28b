//! onit beside its peers: how long until N services are up, what the supervisor itself costs, how soon a dead service has
//! a successor, and how long until everything is down.
//!
//! ```sh
//! make bench                                                     # all of it
//! ONIT=target/release/onit cargo bench --bench supervisors -- --only onit,floor --sizes 1000 --runs 3
//! BENCH_SIZES=10000 make bench                                   # only onit and the floor go so far
//! ```
//!
//! Options, or the environment variable: `--only NAMES` (`BENCH_ONLY`), `--sizes 10,100,1000` (`BENCH_SIZES`), `--runs 5`
//! (`BENCH_RUNS`), `--idle SECONDS` (`BENCH_IDLE`: 10, once per size; 0 leaves it out), `--patience SECONDS` (`BENCH_PATIENCE`: 120), `--dir DIR`
//! (`BENCH_DIR`: /dev/shm). `ONIT` names the onit to measure.
//!
//! The **floor** is a bare `posix_spawn` loop (`floor.rs`): what the kernel alone needs on this machine at this moment. The
//! peers take turns, and every ratio is taken inside one turn, so a machine that is slow for a while is slow for all.
//! A number here never fails a build. `measure.rs` says what exactly each number means.
#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_macros)]

mod family;
mod floor;
mod ground;
mod measure;
mod options;
mod peers;
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use ground::{Ground, Tiny};
use measure::Sample;
use options::Options;
use peers::Peer;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What one peer did at one size, by round; a round that failed is absent.
type Rounds = BTreeMap<usize, Sample>;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [word, dir] if word == floor::WORD => return floor::supervise(Path::new(dir)),
        words if words.iter().any(|w| w == "--test") => return ExitCode::SUCCESS, // cargo test --benches
        _ => (),
    }
    match options::read(args).and_then(|options| compare(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Outcome<()> {
    family::adopt()?;
    family::raise_fd_limit(options.sizes.iter().copied().max().unwrap_or(0))?;
    let tiny = ground::compile_tiny(&options.dir)?;
    let peers = usable(peers::chosen(options)?, &tiny, options)?;
    println!("{}", table::machine());
    for &size in &options.sizes {
        let results = one_size(&peers, &tiny, size, options)?;
        print!("{}", table::of_size(size, options.runs, &results));
    }
    Ok(())
}

/// The peers which are installed and work; the others are named and left out. A short life with two services, unrecorded,
/// finds what cannot run here at all, and warms the caches.
fn usable(peers: Vec<Peer>, tiny: &Tiny, options: &Options) -> Outcome<Vec<Peer>> {
    let mut usable = Vec::new();
    for peer in peers {
        let trial = match peer.installed() {
            true => Ground::prepare(tiny, 2).and_then(|mut ground| measure::trial(&peer, &mut ground, options)),
            false => Err("not installed".into()),
        };
        family::interrupted()?;
        match trial {
            Ok(()) => usable.push(peer),
            Err(why) => println!("skipped: {}: {why}", peer.name),
        }
    }
    Ok(usable)
}

fn one_size<'a>(peers: &'a [Peer], tiny: &Tiny, size: usize, options: &Options) -> Outcome<Vec<(&'a str, Rounds)>> {
    let mut results: Vec<(&Peer, Rounds)> = Vec::new();
    for peer in peers {
        match size <= peer.most {
            true => results.push((peer, Rounds::new())),
            false => println!("skipped: {}: measured up to {} services only", peer.name, peer.most),
        }
    }
    for round in 0..options.runs {
        for (peer, rounds) in &mut results {
            progress(&format!("{size} services, round {} of {}: {}", round + 1, options.runs, peer.name));
            let life = Ground::prepare(tiny, size).and_then(|mut g| measure::life(peer, &mut g, options.round(round)));
            progress("");
            family::interrupted()?;
            match life {
                Ok(sample) => drop(rounds.insert(round, sample)),
                Err(why) => println!("failed: {}, {size} services: {why}", peer.name),
            }
        }
    }
    Ok(results.into_iter().map(|(peer, rounds)| (peer.name, rounds)).collect())
}

/// One line that is overwritten, and only for a person at a terminal.
fn progress(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{text}");
    }
}
