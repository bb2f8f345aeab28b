//! What to measure: an option, else its environment variable, else the default.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::Outcome;

#[derive(Clone)]
pub struct Options {
    /// Names of peers; empty: all.
    pub only: Vec<String>,
    pub sizes: Vec<usize>,
    pub runs: usize,
    /// How long the idle supervisor is watched; zero: not at all.
    pub idle: Duration,
    /// How long a peer may take for anything before it has failed.
    pub patience: Duration,
    /// Where service directories are made: memory, so that no disk is measured.
    pub dir: PathBuf,
    pub onit: PathBuf,
}

impl Options {
    /// Idleness hardly varies and costs `idle` seconds a peer, so only the first round watches it.
    pub fn round(&self, round: usize) -> Options {
        let idle = if round == 0 { self.idle } else { Duration::ZERO };
        Options { idle, ..self.clone() }
    }
}

pub fn read(args: Vec<OsString>) -> Outcome<Options> {
    let mut words = Words::default();
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("bench") => (), // cargo's own
            Arg::Long("only") => words.only = Some(parser.value()?.string()?),
            Arg::Long("sizes") => words.sizes = Some(parser.value()?.string()?),
            Arg::Long("runs") => words.runs = Some(parser.value()?.string()?),
            Arg::Long("idle") => words.idle = Some(parser.value()?.string()?),
            Arg::Long("patience") => words.patience = Some(parser.value()?.string()?),
            Arg::Long("dir") => words.dir = Some(parser.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    words.understood()
}

#[derive(Default)]
struct Words {
    only: Option<String>,
    sizes: Option<String>,
    runs: Option<String>,
    idle: Option<String>,
    patience: Option<String>,
    dir: Option<String>,
}

impl Words {
    fn understood(self) -> Outcome<Options> {
        let sizes = word(self.sizes, "BENCH_SIZES", "10,100,1000");
        Ok(Options {
            only: list(&word(self.only, "BENCH_ONLY", "")),
            sizes: list(&sizes).iter().map(|n| number(n).map(|n| n as usize)).collect::<Outcome<_>>()?,
            runs: number(&word(self.runs, "BENCH_RUNS", "5"))? as usize,
            idle: Duration::from_secs(number(&word(self.idle, "BENCH_IDLE", "10"))?),
            patience: Duration::from_secs(number(&word(self.patience, "BENCH_PATIENCE", "120"))?),
            dir: self.dir.or(env::var("BENCH_DIR").ok()).map_or_else(memory_dir, PathBuf::from),
            onit: env::var_os("ONIT").unwrap_or_else(|| env!("CARGO_BIN_EXE_onit").into()).into(),
        })
    }
}

fn word(option: Option<String>, variable: &str, default: &str) -> String {
    option.or_else(|| env::var(variable).ok()).unwrap_or_else(|| default.to_string())
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_string).collect()
}

fn number(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number").into())
}

/// /dev/shm, unless programs cannot run there (Docker mounts it noexec).
fn memory_dir() -> PathBuf {
    let shm = Path::new("/dev/shm");
    match statvfs(shm) {
        Ok(fs) if !fs.flags().contains(FsFlags::ST_NOEXEC) => shm.to_path_buf(),
        _ => env::temp_dir(),
    }
}
