//! The floor: start every service with `posix_spawn`, start again what dies, kill all at TERM. No files, no policy, no
//! promises; no supervisor can do less work per service than this.
//!
//! It runs as a process of its own (`supervisors --floor DIR`), as the peers do. It is this dynamically linked program, so it
//! loads about a millisecond later than a static one: with ten services a static supervisor can be up before it.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, chdir};

use crate::Outcome;

/// The hidden first argument.
pub const WORD: &str = "--floor";

pub fn supervise(dir: &Path) -> ExitCode {
    match Floor::start(dir).and_then(Floor::until_term) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("floor: {why}");
            ExitCode::FAILURE
        }
    }
}

struct Floor {
    attr: PosixSpawnAttr,
    actions: PosixSpawnFileActions,
    env: Vec<CString>,
    running: HashMap<Pid, PathBuf>,
}

impl Floor {
    fn start(dir: &Path) -> Outcome<Floor> {
        awaited().thread_block()?;
        let mut attr = PosixSpawnAttr::init()?;
        attr.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
        attr.set_sigmask(&SigSet::empty())?;
        let env =
            std::env::vars().map(|(name, value)| CString::new(format!("{name}={value}"))).collect::<Result<_, _>>()?;
        let mut floor = Floor { attr, actions: PosixSpawnFileActions::init()?, env, running: HashMap::new() };
        for entry in std::fs::read_dir(dir)? {
            floor.spawn(entry?.path())?;
        }
        Ok(floor)
    }

    fn spawn(&mut self, service: PathBuf) -> Outcome<()> {
        chdir(&service)?;
        let pid = posix_spawn(c"./run", &self.actions, &self.attr, &[c"./run"], &self.env)?;
        self.running.insert(pid, service);
        Ok(())
    }

    fn until_term(mut self) -> Outcome<()> {
        loop {
            match awaited().wait()? {
                Signal::SIGTERM => return self.stop(),
                _ => self.start_the_dead_again()?,
            }
        }
    }

    fn start_the_dead_again(&mut self) -> Outcome<()> {
        while let Some(pid) = waitpid(None, Some(WaitPidFlag::WNOHANG))?.pid() {
            if let Some(service) = self.running.remove(&pid) {
                self.spawn(service)?;
            }
        }
        Ok(())
    }

    fn stop(self) -> Outcome<()> {
        for &pid in self.running.keys() {
            kill(pid, Signal::SIGTERM)?;
        }
        while waitpid(None, None) != Err(Errno::ECHILD) {}
        Ok(())
    }
}

fn awaited() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM])
}
