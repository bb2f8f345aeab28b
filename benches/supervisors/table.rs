//! The numbers for a reader: per size and measure one small table, ratios first, absolute medians apart.

use std::fmt::Write;
use std::fs;

use crate::Rounds;
use crate::measure::Measure;

/// Every measure: its title, the peer that ratios are to, and how its absolute value is written.
const MEASURES: [(Measure, &str, &str, fn(f64) -> String); 6] = [
    (Measure::Up, "time until all are up", "floor", time),
    (Measure::Successor, "death to successor", "floor", time),
    (Measure::Down, "time until all are down", "floor", time),
    (Measure::Memory, "the supervisor's own memory (PSS)", "onit", memory),
    (Measure::MemoryEach, "the same, per service", "onit", memory),
    (Measure::Idle, "context switches per second, idle", "onit", plain),
];

/// Where this was measured; numbers of two machines are not comparable.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {}, Linux {}", model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}

pub fn of_size(size: usize, runs: usize, results: &[(&str, Rounds)]) -> String {
    let mut text = format!("\n=== {size} services, {runs} rounds: median (lowest – highest) ===\n");
    for (measure, title, base, write) in MEASURES {
        let _ = writeln!(text, "\n{title:<40}{:>30} ║ {:>12}", format!("ratio to {base}"), "absolute");
        let base = results.iter().find(|(name, _)| *name == base).map(|(_, rounds)| rounds);
        for (name, rounds) in results {
            let _ = writeln!(text, "{}", row(name, measure, rounds, base, write));
        }
    }
    text
}

fn row(name: &str, measure: Measure, rounds: &Rounds, base: Option<&Rounds>, write: fn(f64) -> String) -> String {
    let values: Vec<f64> = rounds.values().filter_map(|sample| sample.get(&measure).copied()).collect();
    let ratios: Vec<f64> = base.map_or_else(Vec::new, |base| ratios(measure, rounds, base));
    let absolute = median(&values).map_or_else(none, write);
    let (low, high) = (lowest(&ratios), highest(&ratios));
    let spread = format!("({} – {})", low.map_or_else(none, digits), high.map_or_else(none, digits));
    let ratio = median(&ratios).map_or_else(none, |ratio| format!("{} {spread:>19}", digits(ratio)));
    format!("  {name:<38}{ratio:>30} ║ {absolute:>12}")
}

/// Within a round: what disturbed both of them cancels out.
fn ratios(measure: Measure, rounds: &Rounds, base: &Rounds) -> Vec<f64> {
    let ratio =
        |(round, sample): (&usize, &crate::Sample)| Some(sample.get(&measure)? / base.get(round)?.get(&measure)?);
    rounds.iter().filter_map(ratio).filter(|ratio| ratio.is_finite()).collect()
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0),
        _ => sorted.get(middle).copied(),
    }
}

fn lowest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

fn highest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

fn none() -> String {
    "–".to_string()
}

/// Three digits that matter.
fn digits(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

fn time(nanos: f64) -> String {
    match nanos {
        n if n < 1e6 => format!("{} µs", digits(n / 1e3)),
        n if n < 1e9 => format!("{} ms", digits(n / 1e6)),
        n => format!("{} s", digits(n / 1e9)),
    }
}

fn memory(kib: f64) -> String {
    match kib {
        k if k < 1024.0 => format!("{} KiB", digits(k)),
        k => format!("{} MiB", digits(k / 1024.0)),
    }
}

fn plain(value: f64) -> String {
    digits(value)
}
