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

#[path = "../shared/mod.rs"]
mod shared;

use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use shared::{Outcome, fastest_tenth, median, on_path, time};

/// Not recorded: what happens first happens in cold caches.
const WARM_UP: usize = 20;

struct Peer {
    name: &'static str,
    words: Vec<OsString>,
    /// Nanoseconds, by round.
    times: Vec<f64>,
}

fn main() -> ExitCode {
    shared::run([("runs", "BENCH_ENTRYPOINT_RUNS", 1000)], |[runs]| compare(runs))
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
        println!(
            "{name:<12}{:>12}{:>16}{:>16}{ratio:>24}",
            time(middle),
            time(fastest_tenth(times)),
            time(middle - bare)
        );
    }
    Ok(())
}

fn peers() -> Outcome<Vec<Peer>> {
    let word = std::path::PathBuf::into_os_string;
    let command = word(on_path("true").ok_or("there is no true")?);
    let mut peers = vec![Peer { name: "bare", words: vec![command.clone()], times: Vec::new() }];
    let others = ["tini", "tini-static", "dumb-init", "catatonit"].map(|name| (name, on_path(name).map(word)));
    for (name, program) in [("onit", Some(word(shared::onit())))].into_iter().chain(others) {
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

fn life(words: &[OsString]) -> Outcome<f64> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).env_clear();
    let start = Instant::now();
    let status = command.status().map_err(|why| format!("{}: {why}", words[0].display()))?;
    let nanos = start.elapsed().as_nanos() as f64;
    if status.success() { Ok(nanos) } else { Err(format!("{}: {status}", words[0].display()).into()) }
}
