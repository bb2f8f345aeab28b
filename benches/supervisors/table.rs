//! The numbers for a reader: per size and measure one small table, ratios first, absolute medians apart.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use crate::Rounds;
use crate::measure::Measure;

type Writer = fn(f64) -> String;

/// Every measure: its title, the peer that ratios are to, and how its absolute value is written.
const MEASURES: [(Measure, &str, &str, Writer); 6] = [
    (Measure::Up, "time until all are up", "floor", time),
    (Measure::Successor, "death to successor", "floor", time),
    (Measure::Down, "time until all are down", "floor", time),
    (Measure::Memory, "the supervisor's own memory (PSS)", "onit", memory),
    (Measure::MemoryEach, "the same, per service", "onit", memory),
    (Measure::Idle, "context switches per second, idle", "onit", digits),
];

/// Where this was measured; numbers of two machines are not comparable. A load far above zero: nor are those of two runs.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {}, Linux {}, load {load}", model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}

pub fn of_size(size: usize, runs: usize, results: &[(&str, Rounds)]) -> String {
    let mut text = format!("\n=== {size} services, {runs} rounds: median (lowest – highest) ===\n");
    for (measure, title, base, write) in MEASURES {
        let measured: Vec<_> = results.iter().map(|(name, rounds)| (*name, values(measure, rounds))).collect();
        if measured.iter().all(|(_, values)| values.is_empty()) {
            continue;
        }
        let _ = writeln!(text, "\n{title:<40}{:>30} ║ {:>12}", format!("ratio to {base}"), "absolute");
        let base_values = measured.iter().find(|(name, _)| *name == base).map(|(_, values)| values);
        for (name, values) in &measured {
            let ratios = match base_values {
                Some(own) if *name == base => ratios_to_median(own),
                Some(base) => ratios(values, base),
                None => Vec::new(),
            };
            let absolute = median(&values.values().copied().collect::<Vec<_>>()).map_or_else(none, write);
            let _ = writeln!(text, "  {name:<38}{:>30} ║ {absolute:>12}", with_spread(&ratios));
        }
    }
    text
}

/// One measure of one peer, by round.
type Values = BTreeMap<usize, f64>;

fn values(measure: Measure, rounds: &Rounds) -> Values {
    rounds.iter().filter_map(|(&round, sample)| Some((round, *sample.get(&measure)?))).collect()
}

/// Within a round: what disturbed both of them cancels out.
fn ratios(values: &Values, base: &Values) -> Vec<f64> {
    let ratio = |(round, value): (&usize, &f64)| Some(value / base.get(round)?);
    values.iter().filter_map(ratio).filter(|ratio| ratio.is_finite()).collect()
}

/// The base has no other to be compared with: its spread shows how restless the machine was.
fn ratios_to_median(values: &Values) -> Vec<f64> {
    let values: Vec<f64> = values.values().copied().collect();
    let median = median(&values).unwrap_or(f64::NAN);
    values.iter().map(|value| value / median).filter(|ratio| ratio.is_finite()).collect()
}

fn with_spread(ratios: &[f64]) -> String {
    match (median(ratios), lowest(ratios), highest(ratios)) {
        (Some(median), Some(low), Some(high)) => {
            format!("{} {:>19}", digits(median), format!("({} – {})", digits(low), digits(high)))
        }
        _ => none(),
    }
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
