//! dumb-init's command line, version 1.2.5.

use super::super::boot;
use super::super::main_log::MainLog;
use super::{alone, called, main_of, option_error, rest};
use crate::exit;
use crate::machine::Signal;
use crate::machine::main_process::{MainOptions, Rewrite};
use crate::sys::say::say;
use std::ffi::OsString;

const VERSION: &str = "dumb-init v1.2.5";
const OPTIONS: &str = "\
Starts the command, passes signals on to its session, and ends with its exit
code. This is onit in place of dumb-init; see onit-run(8).

   -c, --single-child   Only the command gets signals, and leads no session.
   -r, --rewrite s:r    The command gets signal r for s (numbers from 1 to 31),
                        or nothing for 0; may be repeated.
   -v, --verbose        Say on standard error what happens.
   -h, --help           Say this.
   -V, --version        Say which dumb-init this stands in for.";
/// The last signal that it knows.
const LAST: i32 = 31;
const LONG: [&str; 5] = ["help", "single-child", "rewrite", "verbose", "version"];

/// `dumb-init [-c] [-r SIGNAL:SIGNAL] [-v] [--] CMD`, with dumb-init's environment.
pub fn dumb_init(args: &[OsString]) -> i32 {
    let says = |name: &str, what: &str| std::env::var_os(name).is_some_and(|value| value == what);
    let (mut session, mut debug) = (!says("DUMB_INIT_SETSID", "0"), says("DUMB_INIT_DEBUG", "1"));
    let mut rewrite = Vec::new();
    let mut argv = Vec::new();
    let mut words = lexopt::Parser::from_args(args);
    while let Some(option) = words.next().transpose() {
        use lexopt::Arg::{Long, Short, Value};
        let letter = match &option {
            Ok(Short(letter)) => Some(*letter),
            Ok(Long(name)) => whole(name).and_then(letter),
            Ok(Value(_)) | Err(_) => None,
        };
        match (letter, option) {
            (Some('c'), _) => session = false,
            (Some('v'), _) => debug = true,
            (Some('r'), _) => {
                let text = match words.value() {
                    Ok(text) => text,
                    Err(error) => return wrong(&option_error(&called("dumb-init"), &Err(error))),
                };
                match read_rewrite(&text.to_string_lossy()) {
                    Some(log_pipe) => rewrite.push(log_pipe),
                    None => {
                        return wrong(&format!(
                            "Usage: -r option takes <signum>:<signum>, where <signum> is between 1 and {LAST}.\n\
                             This option can be specified multiple times.\n\
                             Use --help for full usage."
                        ));
                    }
                }
            }
            (Some('V'), _) => {
                say(VERSION);
                return exit::OK;
            }
            (Some('h'), _) => {
                let program = called("dumb-init");
                say(format_args!("{VERSION}\nUsage: {program} [option] command [[arg] ...]\n\n{OPTIONS}"));
                return exit::OK;
            }
            (_, Ok(Value(program))) => {
                argv = rest(program, &mut words);
                break;
            }
            (_, option) => return wrong(&option_error(&called("dumb-init"), &option)),
        }
    }
    match main_of(argv, MainOptions::dumb_init(session, rewrite), MainLog::DumbInit { debug }) {
        Some(main) => {
            if debug && says("DUMB_INIT_DEBUG", "1") {
                say("[dumb-init] Running in debug mode.");
            }
            if debug && says("DUMB_INIT_SETSID", "0") {
                say("[dumb-init] Not running in setsid mode.");
            }
            boot::supervise(alone(main))
        }
        None => {
            let program = called("dumb-init");
            wrong(&format!("Usage: {program} [option] program [args]\nTry {program} --help for full usage."))
        }
    }
}

fn wrong(message: &str) -> i32 {
    say(message);
    exit::FAILED
}

/// The long option that is meant: as getopt_long(3) has it, the beginning is enough if only one begins so.
fn whole(name: &str) -> Option<&'static str> {
    let mut begin = LONG.iter().filter(|long| long.starts_with(name));
    begin.next().filter(|first| begin.next().is_none() || **first == name).copied()
}

fn letter(long: &str) -> Option<char> {
    if long == "version" { Some('V') } else { long.chars().next().map(|first| if first == 's' { 'c' } else { first }) }
}

/// As scanf(3) reads `%d:%d`: what follows does not matter.
fn read_rewrite(text: &str) -> Option<Rewrite> {
    let (from, rest) = read_number(text)?;
    let (to, _) = read_number(rest.strip_prefix(':')?)?;
    let to = if to == 0 { None } else { Some(read_signal(to)?) };
    Some((read_signal(from)?, to))
}

fn read_signal(number: i32) -> Option<Signal> {
    (1..=LAST).contains(&number).then_some(Signal(number))
}

/// The number at the front, and what follows.
fn read_number(text: &str) -> Option<(i32, &str)> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix('+').unwrap_or(text);
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    Some((digits.get(..digits.len() - rest.len())?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_takes_numbers_of_signals_and_nothing_else() {
        let pair = |from, to: i32| Some((Signal(from), Some(Signal(to)).filter(|_| to != 0)));
        for (text, read) in
            [("15:2", pair(15, 2)), ("1:31", pair(1, 31)), ("31:0", pair(31, 0)), ("+2: 3x", pair(2, 3))]
        {
            assert_eq!(read_rewrite(text), read, "{text}");
        }
        let bad = ["", "herp", "herp:derp", "15", "15::12", "15:derp", "0", "1:32", "32:1", "0:1", "TERM:INT", "15:-1"];
        assert_eq!(bad.map(read_rewrite), [None; 12]);
    }

    #[test]
    fn the_beginning_of_a_long_option_is_enough_if_it_is_one_only() {
        let letters = ["help", "single", "r", "verb", "vers", "version", "ver", "x", ""]
            .map(|name| whole(name).and_then(letter).unwrap_or('?'));
        assert_eq!(letters.iter().collect::<String>(), "hcrvVV???");
    }
}
