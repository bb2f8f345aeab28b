//! A program as a question: 0 is yes.

use crate::machine::{Mono, Pid, Signal, Target};
use crate::sys::{process, wait};
use crate::wire::api::ExitRecord;
use crate::wire::phrase;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Runs it in a process group of its own, which is killed when the time is over.
pub fn ask(words: &[OsString], until: Mono, quiet: bool) -> Result<(), String> {
    let (program, args) = words.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).process_group(0);
    if quiet {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let child = command.spawn().map_err(|error| super::why(&error))?;
    let pid = Pid(i32::try_from(child.id()).map_err(|_| "no process")?);
    let exit = wait::reap_until(pid, until).map_err(|errno| errno.desc())?;
    let Some(exit) = exit else {
        let _ = process::kill(pid, Signal::KILL, Target::Group); // it may have ended
        let _ = wait::reap_until(pid, Mono(u64::MAX));
        return Err(super::IN_VAIN.into());
    };
    if exit.is_success() { Ok(()) } else { Err(phrase::exit(&ExitRecord::of(exit))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use std::time::Duration;

    fn says(words: &[&str], limit: Duration) -> Result<(), String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        ask(&words, clock::now().after(limit), true)
    }

    #[test]
    fn zero_is_yes_and_nothing_else_is() {
        let long = Duration::from_secs(60);
        assert_eq!(says(&["true"], long), Ok(()));
        assert_eq!(says(&["sh", "-c", "exit 3"], long), Err("exit 3".into()));
        assert_eq!(says(&["sh", "-c", "kill -9 $$"], long), Err("SIGKILL".into()));
        assert_eq!(says(&["/nothing/there"], long), Err("No such file or directory".into()));
        assert_eq!(says(&["sleep", "1000"], Duration::from_millis(20)), Err("no answer in time".into()));
    }
}
