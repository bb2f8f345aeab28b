//! What several of the benches need: their numbers from the command line or the environment, the onit to measure, and the
//! middle of what was measured.
#![allow(dead_code)] // no bench needs all of it

use lexopt::{Arg, Parser, ValueExt as _};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A number above zero: an option `--NAME`, else this environment variable, else this.
pub type Number = (&'static str, &'static str, usize);

/// Measures, unless Cargo only asks whether it would (`cargo test --benches`).
pub fn run<const N: usize>(numbers: [Number; N], measure: impl FnOnce([usize; N]) -> Outcome<()>) -> ExitCode {
    if std::env::args_os().any(|word| word == "--test") {
        return ExitCode::SUCCESS;
    }
    match read(numbers).and_then(measure) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn read<const N: usize>(numbers: [Number; N]) -> Outcome<[usize; N]> {
    let mut texts = numbers.map(|(_, variable, default)| std::env::var(variable).unwrap_or(default.to_string()));
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        let known = match &arg {
            Arg::Long("bench") => continue, // cargo's own
            Arg::Long(name) => numbers.iter().position(|(known, ..)| known == name),
            _ => None,
        };
        let Some(known) = known else { return Err(arg.unexpected().into()) };
        texts[known] = parser.value()?.string()?;
    }
    let mut values = [0; N];
    for ((value, text), (name, ..)) in values.iter_mut().zip(&texts).zip(numbers) {
        let number = text.parse().ok().filter(|number| *number > 0);
        *value = number.ok_or_else(|| format!("--{name}: {text:?} is not a whole number above 0"))?;
    }
    Ok(values)
}

/// The onit to measure.
pub fn onit() -> PathBuf {
    std::env::var_os("ONIT").map_or_else(|| env!("CARGO_BIN_EXE_onit").into(), PathBuf::from)
}

/// Where an installed program is.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

pub fn median(values: &[f64]) -> f64 {
    nth(values, 2)
}

/// What one in ten is faster than.
pub fn fastest_tenth(values: &[f64]) -> f64 {
    nth(values, 10)
}

fn nth(values: &[f64], part: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / part]
}

/// A time for people, of so many nanoseconds.
pub fn time(nanos: f64) -> String {
    if nanos < 1e3 {
        format!("{nanos:.1} ns")
    } else if nanos < 1e6 {
        format!("{:.2} µs", nanos / 1e3)
    } else {
        format!("{:.2} ms", nanos / 1e6)
    }
}
