//! `onit upgrade`: a running supervisor executes the program that stands at its path now, and no service notices.
//!
//! The wish is written into the journal of the supervisor, which a user who may look into it can open, and then it gets
//! a SIGCHLD: that means to every supervisor that it should look, and to none anything else. The answer comes the same
//! way, from the new program, or from the old one when there is no new one.

use crate::exit;
use crate::machine::{Mono, Pid, Signal, Target};
use crate::sys::{Errno, clock, fs, poll, process, say::say, shared::Shared};
use crate::wire::journal::{self, Field, Words};
use argh::{ArgsInfo, FromArgs};
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// An answer takes as long as a program takes to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a program says, and has in it, that can go on from a journal of this version.
const YES: &[u8] = b"onit: goes on from ledger 6\n";
/// So long a program may take to say it.
const PROBE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);
/// No onit is larger, in bytes.
const LARGEST: u64 = 256 << 20;
const PIECE: usize = 1 << 20;

/// Let a running supervisor become the onit that stands at its path now; services go on untouched. What cannot be executed
/// there, or is no onit, changes nothing, and is told. Exit code 0: the new one supervises.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Upgrade {
    /// the process of the supervisor (default: 1; "pidof onit" tells it)
    #[argh(positional, default = "1", arg_name = "PID")]
    pid: i32,
    /// only say whether this program goes on from such a journal
    #[argh(option, hidden_help)]
    reads: Option<u64>,
}

impl Upgrade {
    /// Asks, and waits for the answer. Returns the exit code.
    pub fn run(&self) -> i32 {
        match self.reads {
            Some(journal::VERSION) => i32::from(std::io::stdout().write_all(YES).is_err()),
            Some(_) => exit::FAILED,
            None => self.ask().map_or_else(report, |()| exit::OK),
        }
    }

    fn ask(&self) -> Result<(), String> {
        let pid = self.pid;
        let words = match Shared::of_process(Pid(pid)) {
            Ok(shared) if journal::is_one(shared.words()) => shared.words(),
            Ok(_) | Err(Errno::ENOENT) => return Err(format!("process {pid} is no supervisor that can be upgraded")),
            Err(errno) => return Err(format!("cannot look into process {pid}: {}", errno.desc())),
        };
        let program = PathBuf::from(OsString::from_vec(journal::text(words, journal::PROGRAM)));
        if !can_go_on(pid, &program, journal::fact(words, Field::Version)) {
            return Err(format!("{} is no onit that can go on from the running one", program.display()));
        }
        let wish = journal::fact(words, Field::Answer).wrapping_add(1);
        journal::set(words, Field::Request, wish);
        process::kill(Pid(pid), Signal::CHLD, Target::Process).map_err(|errno| {
            journal::set(words, Field::Request, wish.wrapping_sub(1));
            format!("cannot send a signal to process {pid}: {}", errno.desc())
        })?;
        self.wait(words, wish, clock::now().after(PATIENCE))?;
        match journal::fact(words, Field::AnswerErrno) {
            0 => Ok(()),
            errno => {
                let errno = Errno::from_raw(i32::try_from(errno).unwrap_or_default());
                Err(format!("{} cannot be executed: {}; the running one goes on", program.display(), errno.desc()))
            }
        }
    }

    fn wait(&self, words: &Words, wish: u64, until: Mono) -> Result<(), String> {
        while journal::fact(words, Field::Answer) != wish {
            if !Path::new(&format!("/proc/{}", self.pid)).exists() {
                return Err(format!("process {} has ended", self.pid));
            }
            if clock::now() >= until {
                return Err(format!("process {} does not answer", self.pid));
            }
            poll::pause(LOOK).map_err(|errno| errno.desc().to_owned())?;
        }
        Ok(())
    }
}

fn report(trouble: String) -> i32 {
    say(format_args!("onit: {trouble}"));
    exit::FAILED
}

/// There is no way back from a program that runs, but is no onit. One that does not even run is the supervisor's to find.
///
/// The program is whatever the supervisor's user has put there: so it is tried with that user's rights only, and what
/// stands in another container is just read.
fn can_go_on(pid: i32, program: &Path, version: u64) -> bool {
    let word = format!("onit: goes on from ledger {version}\n").into_bytes();
    let place = Path::new(&format!("/proc/{pid}/root")).join(program.strip_prefix("/").unwrap_or(program));
    match owner(pid).filter(|_| is_beside_us(pid)) {
        Some((user, group)) => try_out(&place, (user, group), version, &word),
        None => has_word(&place, &word).unwrap_or(true),
    }
}

/// Whether a program has this word in it, as far as is read of one.
fn has_word(place: &Path, word: &[u8]) -> std::io::Result<bool> {
    let mut program = fs::regular(place)?.take(LARGEST);
    let (mut piece, mut seen) = (vec![0; PIECE], Vec::new());
    loop {
        let length = program.read(&mut piece)?;
        seen.extend_from_slice(piece.get(..length).unwrap_or_default());
        if seen.windows(word.len()).any(|part| part == word) {
            return Ok(true);
        }
        if length == 0 {
            return Ok(false);
        }
        seen.drain(..seen.len().saturating_sub(word.len())); // it may go on in the next piece
    }
}

fn try_out(place: &Path, (user, group): (u32, u32), version: u64, word: &[u8]) -> bool {
    let mut probe = Command::new(place);
    probe.arg0("onit"); // at /sbin/init it would be another tool
    probe.args(["upgrade", "--reads", &version.to_string()]);
    probe.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if process::user() == 0 && user != 0 {
        probe.uid(user).gid(group);
    }
    let Ok(mut probe) = probe.spawn() else { return true };
    let until = clock::now().after(PROBE);
    while matches!(probe.try_wait(), Ok(None)) && clock::now() < until {
        let _ = poll::pause(LOOK);
    }
    let _ = probe.kill(); // it may have ended
    let mut answer = Vec::new();
    let told = probe.stdout.take().map(|pipe| pipe.take(word.len() as u64 + 1).read_to_end(&mut answer));
    let _ = probe.wait();
    told.is_some() && answer == word
}

/// The user and the group with whose rights a process acts.
fn owner(pid: i32) -> Option<(u32, u32)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let effective = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some((effective("Uid:")?, effective("Gid:")?))
}

/// Whether a process is in no other container.
fn is_beside_us(pid: i32) -> bool {
    ["mnt", "pid", "user"].iter().all(|kind| {
        let of = |whose: &str| std::fs::read_link(format!("/proc/{whose}/ns/{kind}")).ok();
        of("self").is_some_and(|ours| of(&pid.to_string()) == Some(ours))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_names_the_version_of_the_ledger() {
        let word = format!("onit: goes on from ledger {}\n", journal::VERSION);
        assert_eq!(YES, word.as_bytes());
    }

    #[test]
    fn we_are_beside_ourselves_and_act_with_our_own_rights() {
        let us = std::process::id().cast_signed();
        assert!(is_beside_us(us) && !is_beside_us(0));
        assert_eq!(owner(us).map(|(user, _)| user), Some(process::user()));
    }
}
