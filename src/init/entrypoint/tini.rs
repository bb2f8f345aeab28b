//! tini's command line, version 0.19.

use super::super::config::MainConfig;
use super::super::main_log::{MainEvent, MainLog};
use super::super::{boot, entry};
use super::{alone, called, main_of, option_error, rest};
use crate::exit;
use crate::machine::main_process::MainOptions;
use crate::machine::{Signal, Target};
use crate::sys::{process, say::say};
use crate::wire::svdir;
use std::ffi::OsString;

const VERSION: &str = "tini version 0.19.0";
const USAGE: &str = "\
Usage: tini [OPTIONS] PROGRAM -- [ARGS] | --version

Runs a program under the supervision of a valid init process, which is onit.

  --version     Say which tini this stands in for.
  -h            Say this.
  -s            Adopt orphans also where it is not PID 1.
  -p SIGNAL     Get this signal when the parent ends: -p SIGKILL.
  -v            Be more verbose; once more for each -v, three times at most.
  -w            Warn for each orphan that is reaped.
  -g            Pass signals on to the process group of the program.
  -e EXIT_CODE  End with 0 in place of this code, 0 to 255; may be repeated.
  -l            Show the licence.

Environment: TINI_SUBREAPER is -s, TINI_KILL_PROCESS_GROUP is -g, TINI_VERBOSITY
is a number, 1 if it is not set.";

/// `tini [-s] [-g] [-p SIGNAL] [-e CODE] [-v] [-w] [--] CMD`, with tini's environment.
pub fn tini(args: &[OsString]) -> i32 {
    let set = |name| std::env::var_os(name).is_some();
    let mut options = MainOptions { adopts: set("TINI_SUBREAPER"), ..MainOptions::tini() };
    if set("TINI_KILL_PROCESS_GROUP") {
        options.to = Target::Group;
    }
    let (mut death_signal, mut verbosity, mut warn_on_reap, mut argv) = (None, 1, false, Vec::new());
    if args.len() == 1 && args.first().is_some_and(|word| word == "--version") {
        return entry::answer(VERSION);
    }
    let mut words = lexopt::Parser::from_args(args);
    while let Some(option) = words.next().transpose() {
        use lexopt::Arg::{Long, Short, Value};
        match option {
            Ok(Short('s')) => options.adopts = true,
            Ok(Short('v')) => verbosity += 1,
            Ok(Short('g')) => options.to = Target::Group,
            Ok(Short('w')) => warn_on_reap = true,
            Ok(Short(letter @ ('e' | 'p'))) => {
                let text = match words.value() {
                    Ok(text) => text.to_string_lossy().into_owned(),
                    Err(error) => return wrong(&option_error(&called("tini"), &Err(error))),
                };
                match (letter, text.parse(), signal(&text)) {
                    ('e', Ok(code), _) => options.exit_map.push((code, 0)),
                    ('p', _, Some(signal)) => death_signal = Some(signal),
                    _ => {
                        say(format_args!(
                            "[FATAL tini ({})] Not a valid option for -{letter}: {text}",
                            std::process::id()
                        ));
                        return exit::FAILED;
                    }
                }
            }
            Ok(Short('h')) => return entry::answer(&format!("tini ({VERSION})\n{USAGE}")),
            Ok(Short('l')) => return entry::answer(include_str!("../../../LICENSE-MIT")),
            Ok(Value(program)) => {
                argv = rest(program, &mut words);
                break;
            }
            Ok(Long(_)) => return wrong(&option_error(&called("tini"), &Ok(Short('-')))),
            wrong_one => return wrong(&option_error(&called("tini"), &wrong_one)),
        }
    }
    if let Ok(text) = std::env::var("TINI_VERBOSITY") {
        verbosity = text.trim().parse().unwrap_or(0);
    }
    let log = MainLog::Tini { verbosity, warn_on_reap };
    let adopts = options.adopts;
    let Some(main) = main_of(argv, options, log) else {
        say(format_args!("tini ({VERSION})\n{USAGE}"));
        return exit::FAILED;
    };
    if adopts {
        log.log(MainEvent::Adopting, None);
    } else if !process::is_reaper() {
        log.log(MainEvent::NotAdopting, None);
    }
    boot::supervise(alone(MainConfig { death_signal, ..main }))
}

/// A signal by its whole name.
fn signal(text: &str) -> Option<Signal> {
    text.strip_prefix("SIG").filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))?;
    svdir::signal(text)
}

fn wrong(message: &str) -> i32 {
    say(format_args!("{message}\ntini ({VERSION})\n{USAGE}"));
    exit::FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_whole_names() {
        assert_eq!([signal("SIGTERM"), signal("SIGUSR2")], [Some(Signal::TERM), Some(Signal::USR2)]);
        assert_eq!(["TERM", "15", "SIG15", "sigterm", "SIGFOO", "SIG", ""].map(signal), [None; 7]);
    }
}
