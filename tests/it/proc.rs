//! What the kernel says about a process: the tests' only witness besides the files under test.

use std::fs;
use std::path::{Path, PathBuf};

/// One look at `/proc/PID/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// The process looked at.
    pub pid: u32,
    /// `R`, `S`, `T`, `Z`, … as `ps` shows it.
    pub state: char,
    /// Signals sent and not yet taken, bit N-1 for signal N.
    pub pending: u64,
    /// Signals that this process keeps waiting.
    pub blocked: u64,
    /// Signals that this process does not hear.
    pub ignored: u64,
    /// How often it was put on and off a processor: unchanged means that it did nothing at all.
    pub switches: u64,
}

impl Glimpse {
    /// Looks at one process; `None` when there is no such process any more.
    pub fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mut seen = Self { pid, state: '?', pending: 0, blocked: 0, ignored: 0, switches: 0 };
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let mask = || u64::from_str_radix(value, 16).unwrap_or(0);
            match key {
                "State" => seen.state = value.chars().next().unwrap_or('?'),
                "SigPnd" | "ShdPnd" => seen.pending |= mask(),
                "SigBlk" => seen.blocked = mask(),
                "SigIgn" => seen.ignored = mask(),
                "voluntary_ctxt_switches" | "nonvoluntary_ctxt_switches" => {
                    seen.switches += value.parse::<u64>().unwrap_or(0);
                }
                _ => {}
            }
        }
        Some(seen)
    }

    /// Stopped by a signal, as after `sv pause`.
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }
}

/// Exists and is not a zombie: an orphan that died stays a zombie of the test process until reaped.
pub fn is_alive(pid: u32) -> bool {
    Glimpse::of(pid).is_some_and(|p| !matches!(p.state, 'Z' | 'X'))
}

/// The direct children; empty also when the process is gone.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The process and everything below it, parents first.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        all.extend(children(parent));
        next += 1;
    }
    all
}

/// The system call that a sleeping process sleeps in; `None` when it runs or may not be looked at.
pub fn syscall(pid: u32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// How often a process has waited for something so far.
pub fn naps(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a count");
    line.trim().parse().expect("a number")
}

/// The words it was started with, for messages.
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}

/// Whether `pidof` and `pkill -x` take it for the tool of this name: by its short name or by its first word.
pub fn is_called(pid: u32, name: &str) -> bool {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let words = command_line(pid);
    let first = words.split(' ').next().unwrap_or_default();
    comm.trim_end() == name || Path::new(first).file_name().is_some_and(|word| word == name)
}

/// Every process whose environment holds `NAME=VALUE` (`mark`) or that works inside `dir`.
///
/// Two signs, because a test may clear the environment of a service and may start one that changes directory; what does
/// both escapes us.
pub fn marked(mark: &str, dir: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| pid != std::process::id() && is_alive(pid))
        .filter(|&pid| has_mark(pid, mark) || works_in(pid, dir))
        .collect()
}

fn has_mark(pid: u32, mark: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
}

fn works_in(pid: u32, dir: &Path) -> bool {
    // A removed directory reads as "/path (deleted)": still below `dir` unless it is `dir` itself.
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd: PathBuf| cwd.starts_with(dir))
}

/// The numbers of `/proc/PID/stat` behind the name and the state.
fn numbers(pid: u32) -> Vec<i128> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit(')').next().expect("fields").split_ascii_whitespace().skip(1);
    fields.map(|field| field.parse().expect("a number")).collect()
}

/// Whether a process leads a session.
pub fn leads_a_session(pid: u32) -> bool {
    numbers(pid)[2] == i128::from(pid)
}

/// Whether a process has a controlling terminal.
pub fn has_terminal(pid: u32) -> bool {
    numbers(pid)[3] != 0
}

/// How long a process has been on a processor.
pub fn cpu(pid: u32) -> std::time::Duration {
    let ticks: i128 = numbers(pid)[10..12].iter().sum();
    std::time::Duration::from_millis(u64::try_from(ticks).expect("a time") * 10)
}
