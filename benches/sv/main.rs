//! `sv restart` of many services: how long until all run again, with our `sv` and with runit's.
//!
//! ```sh
//! make bench
//! ONIT=target/release/onit cargo bench --bench sv -- --services 100 --runs 10
//! ```
//!
//! Both take turns at the same services, under `onit run` and under runit's `runsvdir`, and the ratio is taken inside a
//! round. Before each turn every service has been running for more than a second, so none is made to wait. A number here
//! never fails a build.
#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_macros)]

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Longer than any supervisor makes a service wait that has just started.
const LIFE: Duration = Duration::from_millis(1200);
const PATIENCE: Duration = Duration::from_secs(120);

struct Options {
    services: usize,
    runs: usize,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.iter().any(|word| word == "--test") {
        return ExitCode::SUCCESS; // cargo test --benches
    }
    match options(args).and_then(|options| compare(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: Vec<OsString>) -> Outcome<Options> {
    let number = |name: &str, default| -> Outcome<usize> {
        let Ok(text) = std::env::var(name) else { return Ok(default) };
        Ok(text.parse().map_err(|_| format!("{name}: {text:?} is not a whole number"))?)
    };
    let (mut services, mut runs) = (number("BENCH_SV_SERVICES", 100)?, number("BENCH_SV_RUNS", 5)?);
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("bench") => (), // cargo's own
            Arg::Long("services") => services = parser.value()?.parse()?,
            Arg::Long("runs") => runs = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if runs == 0 || services == 0 { Err("nothing to measure".into()) } else { Ok(Options { services, runs }) }
}

fn compare(options: &Options) -> Outcome<()> {
    let Some(stock) = on_path("sv") else {
        println!("skipped: sv: not installed");
        return Ok(());
    };
    let onit = std::env::var_os("ONIT").map_or_else(|| env!("CARGO_BIN_EXE_onit").into(), PathBuf::from);
    println!("\n=== sv restart of {} services, {} rounds ===\n", options.services, options.runs);
    println!("{:<12}{:>14}{:>14}{:>26}", "under", "onit's sv", "runit's sv", "ratio, inside a round");
    let peers = [
        ("onit", vec![onit.as_os_str(), OsStr::new("run")], Signal::SIGTERM),
        ("runsvdir", vec![OsStr::new("runsvdir")], Signal::SIGHUP),
    ];
    for (name, words, end) in peers {
        if name == "runsvdir" && on_path(name).is_none() {
            println!("skipped: {name}: not installed");
            continue;
        }
        let ground = Ground::prepare(&onit, options.services)?;
        let _supervisor = ground.start(&words, end)?;
        let tools = [ground.root.path().join("sv"), stock.clone()];
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.runs {
            let [own, other] = [ground.restart(&tools[0])?, ground.restart(&tools[1])?];
            ours.push(own);
            theirs.push(other);
            ratios.push(own / other);
        }
        println!(
            "{name:<12}{:>11.1} ms{:>11.1} ms{:>26.2}",
            median(&mut ours) * 1e3,
            median(&mut theirs) * 1e3,
            median(&mut ratios)
        );
    }
    Ok(())
}

/// A services directory, and our `sv`.
struct Ground {
    root: TempDir,
    names: Vec<String>,
}

/// Ends with its services, whatever happens.
struct Supervisor {
    child: Child,
    /// What makes it stop them.
    end: Signal,
}

impl Ground {
    fn prepare(onit: &Path, services: usize) -> Outcome<Ground> {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
        symlink(fs::canonicalize(onit)?, root.path().join("sv"))?;
        let names: Vec<_> = (0..services).map(|n| format!("s{n:04}")).collect();
        for name in &names {
            let run = root.path().join("service").join(name).join("run");
            fs::create_dir_all(run.parent().ok_or("a service")?)?;
            fs::write(&run, "#!/bin/sh\nexec sleep 100000\n")?;
            fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Ground { root, names })
    }

    fn start(&self, words: &[&OsStr], end: Signal) -> Outcome<Supervisor> {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(self.root.path().join("service")).env("ONIT_RUN", self.root.path().join("live"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let supervisor = Supervisor { child, end };
        let start = Instant::now();
        let up = |name: &String| {
            let stat = self.root.path().join("service").join(name).join("supervise/stat");
            fs::read_to_string(stat).is_ok_and(|text| text == "run\n")
        };
        while !self.names.iter().all(up) {
            if start.elapsed() > PATIENCE {
                return Err(format!("{}: not all services start", words[0].display()).into());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(supervisor)
    }

    /// Seconds until all have been restarted.
    fn restart(&self, sv: &Path) -> Outcome<f64> {
        sleep(LIFE);
        let mut command = Command::new(sv);
        command.args(["-w", "60", "restart"]).args(&self.names).env("SVDIR", self.root.path().join("service"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status()?;
        let seconds = start.elapsed().as_secs_f64();
        if status.success() { Ok(seconds) } else { Err(format!("{}: {status}", sv.display()).into()) }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), self.end);
        let _ = self.child.wait();
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
