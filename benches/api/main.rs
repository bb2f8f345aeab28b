//! What talking costs those who are supervised: from a death to its successor, while nobody asks, and while a client asks
//! a thousand times a second and ten subscribers never read. Beside it, how long `status` of a thousand services takes,
//! ours and runit's.
//!
//! ```sh
//! make bench
//! ONIT=target/release/onit cargo bench --bench api -- --runs 5
//! ```
//!
//! Quiet and busy take turns, and ratios are taken inside a round. A number here never fails a build.
#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_macros)]

#[path = "../shared/mod.rs"]
mod shared;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::{Outcome, median, onit, time};

/// Services that die, each once a round.
const DEATHS: usize = 40;
/// Who has lived for a second is started again at once.
const A_LIFE: Duration = Duration::from_millis(1200);
const REQUESTS_A_SECOND: u32 = 1000;
const DEAF: usize = 10;
const CROWD: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    shared::run([("runs", "BENCH_API_RUNS", 5)], |[runs]| latency(runs).and_then(|()| listing(runs)))
}

/// A directory of services and an onit that runs it.
struct Stage {
    root: tempfile::TempDir,
    onit: Child,
}

impl Stage {
    fn start(services: usize) -> Outcome<Stage> {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
        for number in 0..services {
            let dir = root.path().join(format!("sv/s{number:04}"));
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("run"), "#!/bin/sh\nexec sleep 100000\n")?;
            fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o755))?;
        }
        let program = onit();
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg(root.path().join("sv"))
            .env("ONIT_RUN", root.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let stage = Stage { onit: command.spawn()?, root };
        for number in 0..services {
            stage.wait(|| stage.pid(number).is_some())?;
        }
        stage.wait(|| UnixStream::connect(stage.socket()).is_ok())?;
        Ok(stage)
    }

    fn services(&self) -> PathBuf {
        self.root.path().join("sv")
    }

    fn socket(&self) -> PathBuf {
        self.root.path().join("api")
    }

    fn pid(&self, number: usize) -> Option<i32> {
        fs::read_to_string(self.services().join(format!("s{number:04}/supervise/pid"))).ok()?.trim().parse().ok()
    }

    fn wait(&self, mut is_so: impl FnMut() -> bool) -> Outcome<()> {
        let begin = Instant::now();
        while !is_so() {
            if begin.elapsed() > PATIENCE {
                return Err("it does not come about".into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Nanoseconds from a kill to the status of the successor; the median of all.
    fn successors(&self) -> Outcome<f64> {
        std::thread::sleep(A_LIFE);
        let mut all = Vec::new();
        for number in 0..DEATHS {
            let pid = self.pid(number).ok_or("not up")?;
            let begin = Instant::now();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
            self.wait(|| self.pid(number).is_some_and(|now| now != pid))?;
            all.push(begin.elapsed().as_nanos() as f64);
        }
        Ok(median(&all))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.onit.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.onit.wait();
    }
}

fn latency(runs: usize) -> Outcome<()> {
    let (mut quiet, mut busy, mut ratios, mut asked) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    let stage = Stage::start(DEATHS)?;
    for _ in 0..runs {
        let alone = stage.successors()?;
        let talkers = Talkers::start(&stage.socket())?;
        let begin = Instant::now();
        let with = stage.successors()?;
        asked += talkers.end() as f64 / begin.elapsed().as_secs_f64() / runs as f64;
        quiet.push(alone);
        busy.push(with);
        ratios.push(with / alone);
    }
    println!("\n=== api: from a death to its successor, {DEATHS} deaths, {runs} rounds, medians ===\n");
    println!("nobody asks                                     {:>10}", time(median(&quiet)));
    println!("{asked:>4.0} requests a second, {DEAF} deaf subscribers   {:>10}", time(median(&busy)));
    println!("ratio                                           {:>10.2}", median(&ratios));
    Ok(())
}

/// One client that asks and reads, and others that only subscribe.
struct Talkers {
    goes_on: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
    _deaf: Vec<UnixStream>,
}

impl Talkers {
    fn start(socket: &Path) -> Outcome<Talkers> {
        let mut deaf = Vec::new();
        for _ in 0..DEAF {
            let mut stream = UnixStream::connect(socket)?;
            stream.write_all(b"subscribe\nstatus\nstatus\nstatus\nstatus\n")?;
            deaf.push(stream);
        }
        let mut stream = UnixStream::connect(socket)?;
        let (goes_on, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (go, count) = (goes_on.clone(), asked.clone());
        let thread = std::thread::spawn(move || {
            let pause = Duration::from_secs(1) / REQUESTS_A_SECOND;
            let begin = Instant::now();
            let mut answer = [0; 4096];
            while go.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                if stream.write_all(b"status s0001\n").is_err() {
                    return;
                }
                let mut end = 0;
                while !answer[..end].windows(6).any(|bytes| bytes == b"\"done\"") {
                    match stream.read(&mut answer[end..]) {
                        Ok(length) if length > 0 => end += length,
                        _ => return,
                    }
                }
                std::thread::sleep((begin + pause * (number + 1) as u32).saturating_duration_since(Instant::now()));
            }
        });
        Ok(Talkers { goes_on, asked, thread: Some(thread), _deaf: deaf })
    }

    /// How often was asked.
    fn end(mut self) -> u64 {
        self.goes_on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.asked.load(Ordering::Relaxed)
    }
}

fn listing(runs: usize) -> Outcome<()> {
    let stage = Stage::start(CROWD)?;
    let onit = onit();
    let ours: &[&str] = &[&onit.to_string_lossy(), "status"];
    let sv: &[&str] = &["sh", "-c", "sv status \"$SVDIR\"/*"];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..=runs {
        for (words, times) in [ours, sv].iter().zip(&mut times) {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).env("SVDIR", stage.services()).env("ONIT_RUN", stage.root.path());
            let begin = Instant::now();
            let output = command.output()?;
            times.push(begin.elapsed().as_nanos() as f64);
            if output.stdout.split(|byte| *byte == b'\n').count() < CROWD {
                return Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into());
            }
        }
    }
    let [ours, sv] = times.map(|times| times[1..].to_vec());
    let ratios: Vec<f64> = ours.iter().zip(&sv).map(|(ours, sv)| ours / sv).collect();
    println!("\n=== status of {CROWD} services, {runs} rounds, medians ===\n");
    println!("onit status {:>10}\nsv status   {:>10}", time(median(&ours)), time(median(&sv)));
    println!("ratio       {:>10.2}", median(&ratios));
    Ok(())
}
