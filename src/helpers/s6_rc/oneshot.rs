//! What the programs of a oneshot are: links to onit, which finds in their directory what is to be done.

use crate::exit;
use crate::helpers::exec::{Change, Plan, Search, Step};
use crate::sys::say::say;
use crate::wire::godv1::Reader;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What is done when it comes up, a message of words.
pub const UP: &str = "s6-rc.up";
/// What is done when it goes down.
pub const DOWN: &str = "s6-rc.down";

/// As `setup`, `run` and `finish` in the directory of a oneshot. `None`: we were called otherwise.
pub fn by_name(program: &OsStr) -> Option<i32> {
    let name = Path::new(program).file_name()?.to_str()?;
    let file = match name {
        "setup" | "run" => UP,
        "finish" => DOWN,
        _ => return None,
    };
    let text = std::fs::read(file).ok()?;
    Some(if name == "run" { wait() } else { become_it(&text) })
}

/// It is up until it is told to end, by a signal.
fn wait() -> i32 {
    loop {
        std::thread::park();
    }
}

fn become_it(text: &[u8]) -> i32 {
    let here = std::env::current_dir().unwrap_or_default();
    let service = here.file_name().unwrap_or_default();
    let mut reader = Reader::default();
    reader.push(text);
    let Ok(Some(words)) = reader.message() else {
        say(format_args!("onit: {}: what it is to do cannot be read", service.display()));
        return exit::SYSTEM;
    };
    if words.is_empty() {
        return exit::OK;
    }
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let name = [b"RC_NAME=", service.as_encoded_bytes()].concat();
    let failure = Plan { environment: vec![Change::Entry(name)], search: Search::Its, ..Plan::default() }.run(&words);
    let program = words.first().cloned().unwrap_or_default();
    say(format_args!("onit: {}: cannot execute {}: {}", service.display(), program.display(), failure.errno.desc()));
    match failure.step {
        Step::Run if failure.errno == crate::sys::Errno::ENOENT => exit::NOT_FOUND,
        _ => exit::NOT_EXECUTABLE,
    }
}
