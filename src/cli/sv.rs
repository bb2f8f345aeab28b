//! `sv`: orders for services, and what became of them, as runit's `sv` has it to the byte.
//!
//! Sources: `sv(8)` and `sv.c` of runit 2.1.2, as Debian has it. As in 2.3, the exit code of `status` as an init script is
//! that of the service, whatever its logger does; there, `check` is not content with a service that is wanted up and has
//! no process.
//!
//! A service that has just been put into the directory of an onit is waited for, as long as for what it is told.
//!
//! It looks again when something has happened, and not every 0.42 seconds. That time is left in two places: what is
//! allowed to take N seconds is given up at the first multiple of it that is more, as in runit; and while `./check` says no,
//! it is asked every 0.42 seconds, since nothing tells when it would say yes.

mod check;
mod order;
mod speak;
mod wait;

use super::newcomer;
use crate::exit;
use crate::sys::{clock, fs};
use crate::tool::{getopt, print};
use order::{Act, Order};
use speak::Sv;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wait::Awaited;

/// How often runit's sv looks.
const STEP: Duration = Duration::from_millis(420);
/// Where services are, unless `SVDIR` says otherwise.
const SERVICES: &str = "/etc/service/";
/// How long is waited, in seconds, unless `SVWAIT` or `-w` say otherwise.
const WAIT: u64 = 7;
/// The exit code of an init script for wrong use (LSB).
const LSB_USAGE: i32 = 2;
const CENTURY: u64 = 100 * 365 * 24 * 3600;
/// As many symbolic links as the kernel follows.
const HOPS: usize = 40;

/// Either it goes on, or the program ends with this exit code.
type Ends<T> = Result<T, i32>;

/// `sv [-v] [-w SEC] COMMAND SERVICE...`.
pub fn sv(args: &[OsString]) -> i32 {
    call(b"sv", args, false)
}

/// `SERVICE [-w SEC] COMMAND`, where SERVICE is a link to us, as init scripts are. `None` if this is no such call: a
/// name alone is not enough, since a user who renames onit or links to it means onit.
///
/// It is one if the link leads here through one called `sv`, or if there is a service of this name and the only word is
/// one of `sv`'s. PID 1 is never an init script.
pub fn init_script(name: &OsStr, argv: &[OsString]) -> Option<i32> {
    let (path, args) = argv.split_first()?;
    if std::process::id() == 1 || name.as_bytes().starts_with(b"onit") {
        return None;
    }
    let is_path = path.as_bytes().contains(&b'/'); // or else it was found somewhere in PATH
    let means_sv = is_path && leads_through_sv(Path::new(path))
        || is_one_order(args) && Path::new(&services()).join(name).is_dir();
    means_sv.then(|| call(name.as_bytes(), args, true))
}

fn leads_through_sv(path: &Path) -> bool {
    let mut path = PathBuf::from(path);
    for _ in 0..HOPS {
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
        if path.file_name() == Some(OsStr::new("sv")) {
            return true;
        }
    }
    false
}

/// `[-w SEC] WORD`, with a word from the manual.
fn is_one_order(args: &[OsString]) -> bool {
    let word = match args {
        [word] => word,
        [option, _, word] if option == "-w" => word,
        _ => return false,
    };
    order::WORDS.split(' ').any(|known| word == known)
}

fn services() -> OsString {
    std::env::var_os("SVDIR").unwrap_or_else(|| SERVICES.into())
}

/// What stands on the command line.
struct Words<'a> {
    verbose: bool,
    seconds: u64,
    order: Order<'a>,
    services: Vec<&'a [u8]>,
}

fn call(program: &[u8], args: &[OsString], init_script: bool) -> i32 {
    match words(program, args, init_script) {
        Some(words) => obey(&words, init_script).unwrap_or_else(|code| code),
        None => {
            let rest: &[u8] = if init_script { b"" } else { b" service ..." };
            let options: &[u8] = if init_script { b"" } else { b" [-v]" };
            print::stderr(&[b"usage: ", program, options, b" [-w sec] command", rest, b"\n\n"]);
            if init_script { LSB_USAGE } else { exit::USAGE }
        }
    }
}

fn words<'a>(program: &'a [u8], args: &'a [OsString], init_script: bool) -> Option<Words<'a>> {
    let mut seconds = std::env::var_os("SVWAIT").map_or(WAIT, |text| getopt::number(text.as_bytes()));
    let mut verbose = false;
    let mut options = getopt::Options::new(program, b"w:vV", args);
    for option in options.by_ref() {
        match option.ok()? {
            (b'w', value) => (verbose, seconds) = (true, getopt::number(value)),
            (b'v', _) => verbose = true,
            _ => {
                print::stderr(&[b"onit ", env!("CARGO_PKG_VERSION").as_bytes(), b"\n"]);
                return None;
            }
        }
    }
    let (word, names) = options.rest().split_first()?;
    let services = if init_script { vec![program] } else { names.iter().map(|name| name.as_bytes()).collect() };
    let order = order::read(word.as_bytes(), init_script)?;
    (!services.is_empty()).then_some(Words { verbose, seconds, order, services })
}

/// All are told before any is waited for.
fn obey(words: &Words, init_script: bool) -> Ends<i32> {
    let (order, start, place) = (words.order, clock::now(), services());
    let mut sv = Sv::new(order, init_script, &place)?;
    sv.look_at_clock();
    let mut awaited = Vec::new();
    let limit = start.after(patience(words.seconds));
    for (number, name) in (0..).zip(&words.services) {
        if order.act != Act::Status && !order.letters.starts_with(b"x") {
            newcomer::wait(&fs::absolute(&place_of(name, &place)), limit);
        }
        if sv.enter(name)
            && let Some(before) = sv.act(name)?
        {
            awaited.push(Awaited::new(name, number, before));
        }
        sv.leave()?;
    }
    if order.waits || words.verbose {
        wait::wait(&mut sv, awaited, limit)?;
    }
    Ok(sv.code())
}

/// Where a service is. What is no path is one of the services.
fn place_of(name: &[u8], services: &OsStr) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(name));
    if speak::is_path(name) { path.to_owned() } else { Path::new(services).join(path) }
}

/// How long "more than this many seconds" is for a program that looks every [`STEP`].
fn patience(seconds: u64) -> Duration {
    let steps = Duration::from_secs(seconds.min(CENTURY)).as_millis() / STEP.as_millis() + 1;
    STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_up_at_the_first_look_after_it() {
        for (seconds, millis) in [(0, 420), (1, 1260), (7, 7140), (42, 42420)] {
            assert_eq!(patience(seconds), Duration::from_millis(millis));
        }
        assert!(patience(u64::MAX) > Duration::from_secs(CENTURY / 2));
    }

    #[test]
    fn only_one_order_makes_an_init_script() {
        let is_one = |text: &str| is_one_order(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(["status", "start", "force-reload", "-w 5 stop", "up"].iter().all(|text| is_one(text)));
        assert!(!["", "run", "u", "status web", "-- status", "-w status", "-v start"].iter().any(|text| is_one(text)));
    }
}
