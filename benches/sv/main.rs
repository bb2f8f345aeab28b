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

#[path = "../shared/mod.rs"]
mod shared;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::{Outcome, median, on_path, time};
use tempfile::TempDir;

/// Longer than any supervisor makes a service wait that has just started.
const LIFE: Duration = Duration::from_millis(1200);
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let numbers = [("services", "BENCH_SV_SERVICES", 100), ("runs", "BENCH_SV_RUNS", 5)];
    shared::run(numbers, |[services, runs]| compare(services, runs))
}

fn compare(services: usize, runs: usize) -> Outcome<()> {
    let Some(stock) = on_path("sv") else {
        println!("skipped: sv: not installed");
        return Ok(());
    };
    let onit = shared::onit();
    println!("\n=== sv restart of {services} services, {runs} rounds ===\n");
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
        let ground = Ground::prepare(&onit, services)?;
        let _supervisor = ground.start(&words, end)?;
        let tools = [ground.root.path().join("sv"), stock.clone()];
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let [own, other] = [ground.restart(&tools[0])?, ground.restart(&tools[1])?];
            ours.push(own);
            theirs.push(other);
            ratios.push(own / other);
        }
        let [ours, theirs] = [ours, theirs].map(|seconds| time(median(&seconds) * 1e9));
        println!("{name:<12}{ours:>14}{theirs:>14}{:>26.2}", median(&ratios));
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
