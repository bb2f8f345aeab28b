//! A program with supervised processes, for the tests: what it does beside that is its first argument, its second one
//! the directory in which all of it is. It says a line when it has come so far, and then waits until it is killed.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, unsafe_code)]

use onit::embed::{self, Handle, Process, Supervisor};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn main() {
    embed::hook();
    let words: Vec<String> = std::env::args().collect();
    let (Some(mode), Some(place)) = (words.get(1), words.get(2).map(PathBuf::from)) else { return };
    match mode.as_str() {
        "wait" => {
            let handle = start(&place, true);
            assert!(Command::new("true").status().unwrap().success(), "its own child is waited for");
            say("waits", &handle);
        }
        "alone" => say("waits", &start(&place, false)),
        "execute" => {
            let _handle = start(&place, false);
            println!("executes");
            let _ = Command::new("sleep").arg("1000").exec();
        }
        "fork" => {
            let handle = start(&place, false);
            // SAFETY: the child only waits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                rest();
            }
            std::fs::write(place.join("child"), child.to_string()).unwrap();
            say("has forked", &handle);
        }
        "close" => {
            let handle = start(&place, false);
            println!("closes");
            // SAFETY: what it closes is used no more but to see what comes of that.
            unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
            assert!(handle.status().is_err());
            std::fs::write(place.join("closed"), "").unwrap();
            rest();
        }
        "reap" => {
            let handle = start(&place, false);
            reap(handle);
        }
        "busy" => busy(&place),
        other => panic!("{other}?"),
    }
}

fn rest() -> ! {
    loop {
        std::thread::park();
    }
}

fn say(word: &str, handle: &Handle) {
    println!("{word} {}", handle.directory().display());
    rest();
}

/// A process that notes its number.
fn noting(name: &str, place: &Path) -> Process {
    let script = format!("echo $$ >{0}/{name}.new && mv {0}/{name}.new {0}/{name}; exec sleep 1000", place.display());
    Process::new(name, ["sh", "-c", &script])
}

fn start(place: &Path, with_detached: bool) -> Handle {
    let mut supervisor = Supervisor::new().within(place).add(noting("tied", place));
    if with_detached {
        supervisor = supervisor.add(noting("kept", place).detached());
    }
    let handle = supervisor.start().unwrap();
    let end = Instant::now() + SOON;
    while !place.join("tied").exists() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    handle
}

/// Waits for any child, as some programs do: only its own one is ever seen.
fn reap(handle: Handle) {
    let own = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap().id().cast_signed();
    let mut seen = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: it writes to where it is told.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if pid == -1 {
            break;
        }
        seen.push((pid, libc::WEXITSTATUS(status)));
    }
    assert_eq!(seen, [(own, 7)]);
    handle.shutdown(SOON).unwrap();
    println!("has reaped its own child only");
}

/// 100 processes beside 16 threads that work, and that have the signals of the program.
fn busy(place: &Path) {
    static OVER: AtomicBool = AtomicBool::new(false);
    let workers: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(|| {
                let mut sum = 0_u64;
                while !OVER.load(Ordering::Relaxed) {
                    sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
                }
                sum
            })
        })
        .collect();
    let processes = (0..100).map(|number| noting(&format!("p{number}"), place));
    let handle = processes.fold(Supervisor::new().within(place), Supervisor::add).start().unwrap();
    let end = Instant::now() + SOON;
    while handle.status().unwrap().iter().filter(|status| status.state.to_string() == "healthy").count() < 100 {
        assert!(Instant::now() < end, "{:?}", handle.status());
        std::thread::yield_now();
    }
    for _ in 0..50 {
        assert!(Command::new("true").status().unwrap().success());
    }
    OVER.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|worker| _ = worker.join().unwrap());
    handle.shutdown(SOON).unwrap();
    println!("100 have run");
}
