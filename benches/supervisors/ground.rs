//! The ground a peer stands on: a fresh directory with N services in it, and the pipe on which they report.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::Outcome;

/// The compiled `tiny.rs`; its directory goes with it.
pub struct Tiny {
    dir: TempDir,
    program: PathBuf,
}

pub fn compile_tiny(parent: &Path) -> Outcome<Tiny> {
    let dir = fresh_dir(parent)?;
    let source = dir.path().join("tiny.rs");
    let program = dir.path().join("tiny");
    fs::write(&source, include_str!("tiny.rs"))?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let done = Command::new(rustc)
        .args(["--edition=2024", "-O", "-Cpanic=abort", "-Cstrip=symbols", "-Crelocation-model=static"])
        .args(["-Clink-args=-nostartfiles -nostdlib -static", "-o"])
        .args([&program, &source])
        .status()
        .map_err(|why| format!("rustc: {why}"))?;
    match done.success() {
        true => Ok(Tiny { dir, program }),
        false => Err("rustc could not compile benches/supervisors/tiny.rs".into()),
    }
}

fn fresh_dir(parent: &Path) -> Outcome<TempDir> {
    let made = tempfile::Builder::new().prefix("onit-bench-").tempdir_in(parent);
    made.map_err(|why| format!("{}: {why}", parent.display()).into())
}

/// One service's first words. `nanos` is its own reading of CLOCK_MONOTONIC: however late we read it, it stays true.
#[derive(Clone, Copy)]
pub struct Report {
    pub pid: i32,
    pub nanos: u64,
}

/// As at a boot, the directory has not changed just now: runsvdir would wait a second to see whether more is to come.
const OLD: Duration = Duration::from_secs(3600);

pub struct Ground {
    root: TempDir,
    pub size: usize,
    /// The inode of every service's `run`: they are hard links of one file, and so known from any other process.
    pub tiny: (u64, u64),
    reports: File,
}

impl Ground {
    pub fn prepare(tiny: &Tiny, size: usize) -> Outcome<Ground> {
        let root = fresh_dir(tiny.dir.path())?;
        let reports = report_pipe(&root.path().join("report"))?;
        let file = fs::metadata(&tiny.program)?;
        let ground = Ground { root, size, tiny: (file.dev(), file.ino()), reports };
        fs::create_dir(ground.services())?;
        for name in ground.names() {
            let service = ground.services().join(name);
            fs::create_dir(&service)?;
            fs::hard_link(&tiny.program, service.join("run"))?;
        }
        File::open(ground.services())?.set_modified(SystemTime::now() - OLD)?;
        Ok(ground)
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The directory which the peers are given.
    pub fn services(&self) -> PathBuf {
        self.root().join("services")
    }

    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.size).map(|n| format!("s{n:05}"))
    }

    /// Where a peer's own words go.
    pub fn log(&self) -> PathBuf {
        self.root().join("log")
    }

    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_string()
    }

    /// What has arrived since the last look.
    pub fn new_reports(&mut self) -> Outcome<Vec<Report>> {
        let mut bytes = [0; 1 << 16]; // a whole number of reports, and each is written in one piece
        let mut reports = Vec::new();
        loop {
            match self.reports.read(&mut bytes) {
                Ok(n) => reports.extend(bytes[..n].chunks_exact(16).map(report)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(reports),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn report(bytes: &[u8]) -> Report {
    let word = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    Report { pid: word(0) as i32, nanos: word(8) }
}

/// Open for both ends, so it never ends and no writer waits for a reader; roomy, so no writer waits for room either.
fn report_pipe(path: &Path) -> Outcome<File> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let pipe = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(1 << 20)); // refused to some users: 4096 reports still fit
    Ok(pipe)
}
