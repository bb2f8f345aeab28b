//! What an entrypoint adds to a command: the time from its start to its end around `true`, which itself does nothing.
//!
//! ```sh
//! make bench
//! ONIT=target/release/onit cargo bench --bench entrypoint -- --runs 2000
//! ```
//!
//! In every round each takes its turn, so a machine that is slow for a while is slow for all, and ratios are taken inside
//! a round. `bare` is `true` by itself. A number here never fails a build.
#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_macros)]

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use lexopt::{Arg, Parser, ValueExt};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Not recorded: what happens first happens in cold caches.
const WARM_UP: usize = 20;

struct Peer {
    name: &'static str,
    words: Vec<OsString>,
    /// Nanoseconds, by round.
    times: Vec<f64>,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.iter().any(|word| word == "--test") {
        return ExitCode::SUCCESS; // cargo test --benches
    }
    match rounds(args).and_then(compare) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn rounds(args: Vec<OsString>) -> Outcome<usize> {
    let mut runs = std::env::var("BENCH_ENTRYPOINT_RUNS").unwrap_or_else(|_| "1000".to_string());
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("bench") => (), // cargo's own
            Arg::Long("runs") => runs = parser.value()?.string()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let runs = runs.parse().map_err(|_| format!("{runs:?} is not a whole number"))?;
    if runs == 0 { Err("no round, no number".into()) } else { Ok(runs) }
}

fn compare(runs: usize) -> Outcome<()> {
    let mut peers = peers()?;
    for round in 0..WARM_UP + runs {
        for peer in &mut peers {
            let nanos = life(&peer.words)?;
            if round >= WARM_UP {
                peer.times.push(nanos);
            }
        }
    }
    println!("\n=== entrypoint: start to end around true, {runs} rounds ===\n");
    println!("{:<12}{:>12}{:>16}{:>16}{:>24}", "", "median", "fastest tenth", "above bare", "ratio to tini (median)");
    let bare = median(&peers[0].times);
    let tini = peers.iter().find(|peer| peer.name == "tini").map(|peer| peer.times.clone());
    for Peer { name, times, .. } in &peers {
        let ratio = tini.as_ref().map_or("–".to_string(), |tini| {
            let ratios: Vec<f64> = times.iter().zip(tini).map(|(own, tini)| own / tini).collect();
            format!("{:.2}", median(&ratios))
        });
        let middle = median(times);
        println!("{name:<12}{:>12}{:>16}{:>16}{ratio:>24}", time(middle), time(tenth(times)), time(middle - bare));
    }
    Ok(())
}

fn peers() -> Outcome<Vec<Peer>> {
    let word = |path: PathBuf| path.into_os_string();
    let command = word(on_path("true").ok_or("there is no true")?);
    let onit = std::env::var_os("ONIT").unwrap_or_else(|| env!("CARGO_BIN_EXE_onit").into());
    let mut peers = vec![Peer { name: "bare", words: vec![command.clone()], times: Vec::new() }];
    let others = ["tini", "tini-static", "dumb-init", "catatonit"].map(|name| (name, on_path(name).map(word)));
    for (name, program) in [("onit", Some(onit))].into_iter().chain(others) {
        let Some(program) = program else {
            println!("skipped: {name}: not installed");
            continue;
        };
        let mut words = vec![program];
        words.extend(name.starts_with("tini").then(|| "-s".into())); // as all the others; or else it complains
        words.extend(["--".into(), command.clone()]);
        peers.push(Peer { name, words, times: Vec::new() });
    }
    Ok(peers)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| Path::is_file(file))
}

fn life(words: &[OsString]) -> Outcome<f64> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).env_clear();
    let start = Instant::now();
    let status = command.status().map_err(|why| format!("{}: {why}", words[0].display()))?;
    let nanos = start.elapsed().as_nanos() as f64;
    if status.success() { Ok(nanos) } else { Err(format!("{}: {status}", words[0].display()).into()) }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}

fn tenth(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 10]
}

fn time(nanos: f64) -> String {
    if nanos < 1e6 { format!("{:.0} µs", nanos / 1e3) } else { format!("{:.2} ms", nanos / 1e6) }
}
