//! What a program without the verbs says in place of them: as [`table`](super) does, but short.

use crate::exit;
use crate::sys::say::say;
use crate::tool::print;
use std::ffi::OsString;

/// There is none.
pub fn run(_: &str, _: &[OsString]) -> Option<i32> {
    None
}

/// There is no such verb. Returns the exit code.
pub fn unknown(word: &str) -> i32 {
    say(format_args!(
        "onit: there is no verb {word} (this onit has run, idle, sv, svc, svstat and svok; a program: onit -- {word})"
    ));
    exit::USAGE
}

/// Tells what there is. Returns the exit code.
pub fn help(_: Option<&str>) -> i32 {
    print::stdout(&[everyday().as_bytes()]);
    exit::OK
}

/// What there is.
pub fn everyday() -> &'static str {
    "\
usage: onit run [OPTIONS] [DIR] [-- CMD]    run the services in DIR
       onit -- CMD                          run CMD as the main process
       onit idle                            run nothing, reap orphans
       onit sv [-v] [-w SEC] ORDER SVC...   orders, as those of runit
       onit svc|svstat|svok ...             those of daemontools

This onit has no other verbs. onit run --help tells more.
"
}
