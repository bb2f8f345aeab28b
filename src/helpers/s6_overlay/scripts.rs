//! Programs that are run one after the other, when a container comes up and when it has gone down.

use super::settings::{OnFailure, Settings};
use super::tree;
use crate::exit;
use crate::helpers::end_of;
use crate::sys::say::say;
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Runs those of `/etc/cont-init.d`. One that fails does not hold up the others, unless the container is to end then.
pub fn init(settings: &Settings) -> i32 {
    for program in tree::programs(tree::INIT) {
        let code = run(&program, settings.on_failure != OnFailure::GoOn);
        if code != exit::OK && settings.on_failure == OnFailure::Stop {
            return code;
        }
    }
    exit::OK
}

/// Runs those of `/etc/cont-finish.d`.
pub fn finish() -> i32 {
    tree::programs(tree::FINISH).iter().for_each(|program| _ = run(program, true));
    exit::OK
}

fn run(program: &Path, tells: bool) -> i32 {
    let (code, how) = match Command::new(program).status() {
        Ok(status) => (code(status), end_of(status)),
        Err(error) => (exit::NOT_EXECUTABLE, format!("cannot be executed: {error}")),
    };
    if code != exit::OK && tells {
        say(format_args!("onit: {}: {how}", program.display()));
    }
    code
}

fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(exit::FAILED)
}

/// Runs what is to be run before services are looked for: a text for a shell.
pub fn hook(text: &OsStr) -> Result<(), String> {
    let status = Command::new("/bin/sh").arg("-c").arg(text).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("S6_STAGE2_HOOK: {}", end_of(status))),
        Err(error) => Err(format!("S6_STAGE2_HOOK: cannot execute /bin/sh: {error}")),
    }
}
