//! `onit poweroff`, `reboot`, `halt` and `kexec`: PID 1 is asked by a signal, or the kernel is.

use crate::exit;
use crate::machine::request::ShutdownAction;
use crate::machine::{Pid, Signal};
use crate::sys::{Errno, boot, fs, say::say};
use crate::wire::initctl;
use lexopt::Arg::{Long, Short, Value};
use std::ffi::OsString;
use std::path::Path;

/// Where sysvinit's PID 1 listens, and ours.
const INITCTL: &str = "/run/initctl";

/// What is asked for, and of PID 1 or of the kernel.
struct Wish {
    action: ShutdownAction,
    /// Not PID 1: the kernel, at once.
    force: bool,
    /// What was written goes to the disks first.
    sync: bool,
}

/// `poweroff [-f] [-n]`, and so on.
pub fn power(name: &str, args: &[OsString]) -> i32 {
    let wish = ShutdownAction::named(name).and_then(|action| options(Wish { action, force: false, sync: true }, args));
    let Some(wish) = wish else {
        say(format_args!("usage: {name} [-f [-n]]"));
        return exit::USAGE;
    };
    if wish.force { force(&wish) } else { ask(wish.action) }
}

/// What other tools of these names understand and what changes nothing here is passed over.
fn options(mut wish: Wish, args: &[OsString]) -> Option<Wish> {
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(option) = parser.next().transpose() {
        match option.ok()? {
            Short('f') | Long("force") => wish.force = true,
            Short('n') | Long("no-sync") => wish.sync = false,
            Short('p') | Long("poweroff") => wish.action = ShutdownAction::PowerOff,
            Short('w' | 'i' | 'h') => {}
            Short(_) | Long(_) | Value(_) => return None,
        }
    }
    Some(wish)
}

/// `init 0`, `init 6`: as with sysvinit and runit. Where PID 1 listens as sysvinit's does, it hears it in that way:
/// `shutdown` may have said there before what run level 0 is to be.
pub fn telinit(args: &[OsString]) -> i32 {
    let Some(level) = run_level(args) else {
        say("usage: init [-t SECONDS] 0|6|q (power off, reboot, look at the services)");
        return exit::USAGE;
    };
    if fs::writer(Path::new(INITCTL)).and_then(|fifo| fs::send(fifo, &initctl::level(level))).is_ok() {
        return exit::OK;
    }
    match level {
        b'0' => ask(ShutdownAction::PowerOff),
        b'6' => ask(ShutdownAction::Reboot),
        _ => send_signal(Signal::HUP, "look at the services"),
    }
}

/// `-t`, which tells sysvinit how long to wait between TERM and KILL, is ignored.
fn run_level(args: &[OsString]) -> Option<u8> {
    let (mut level, mut parser) = (None, lexopt::Parser::from_args(args));
    while let Some(option) = parser.next().transpose() {
        match option.ok()? {
            Short('t') => drop(parser.value().ok()?),
            Value(word) if level.is_none() => level = Some(word),
            Short(_) | Long(_) | Value(_) => return None,
        }
    }
    match level?.as_encoded_bytes() {
        [level @ (b'0' | b'6' | b'q' | b'Q')] => Some(*level),
        _ => None,
    }
}

/// `shutdown [-h|-P|-r|-H] now`.
pub fn shutdown(args: &[OsString]) -> i32 {
    match moment(args) {
        Some(action) => ask(action),
        None => {
            say("usage: shutdown [-h|-P|-r|-H] now (there is no other time)");
            exit::USAGE
        }
    }
}

fn moment(args: &[OsString]) -> Option<ShutdownAction> {
    let (mut action, mut now) = (ShutdownAction::PowerOff, false);
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(option) = parser.next().transpose() {
        match option.ok()? {
            Short('h' | 'P') | Long("poweroff") => action = ShutdownAction::PowerOff,
            Short('r') | Long("reboot") => action = ShutdownAction::Reboot,
            Short('H') | Long("halt") => action = ShutdownAction::Halt,
            Value(word) if !now => now = word == "now" || word == "+0" || word == "0",
            Value(_) => {} // the message to all users
            Short(_) | Long(_) => return None,
        }
    }
    now.then_some(action)
}

fn ask(action: ShutdownAction) -> i32 {
    send_signal(action.signal(), action.word())
}

/// A signal that PID 1 has no use for would be lost without a word.
fn send_signal(signal: Signal, what: &str) -> i32 {
    if !is_known(signal) {
        say(format_args!("onit: PID 1 does not listen to signal {}, so it was not asked to {what}", signal.0));
        return exit::FAILED;
    }
    match boot::signal_stranger(Pid(1), signal) {
        Ok(()) => exit::OK,
        Err(errno) => {
            say(format_args!("onit: cannot ask PID 1 to {what}: {}", errno.desc()));
            exit::SYSTEM
        }
    }
}

/// Whether PID 1 blocks or catches it. Where that cannot be seen, it is taken to.
fn is_known(signal: Signal) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/1/status") else { return true };
    let mask = |line: &str| u64::from_str_radix(line.trim(), 16).ok();
    let masks = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigBlk:").or_else(|| line.strip_prefix("SigCgt:")).and_then(mask));
    masks.fold(0, |all, mask| all | mask) & (1 << (signal.0 - 1)) != 0
}

fn force(wish: &Wish) -> i32 {
    if wish.sync {
        boot::sync();
    }
    let errno = boot::reboot(wish.action);
    let hint = match errno {
        Errno::EINVAL if wish.action == ShutdownAction::Kexec => " (no kernel is loaded)",
        _ => "",
    };
    say(format_args!("onit: cannot {}: {}{hint}", wish.action.word(), errno.desc()));
    exit::SYSTEM
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn options_of_busybox_and_sysvinit_are_understood() {
        let wish = |text| {
            let wish = options(Wish { action: ShutdownAction::Halt, force: false, sync: true }, &words(text));
            wish.map(|wish| (wish.action, wish.force, wish.sync))
        };
        assert_eq!(wish(""), Some((ShutdownAction::Halt, false, true)));
        assert_eq!(wish("-f -n"), Some((ShutdownAction::Halt, true, false)));
        assert_eq!(wish("-pw --force"), Some((ShutdownAction::PowerOff, true, true)));
        assert_eq!([wish("-x"), wish("now")], [None, None]);
    }

    #[test]
    fn the_run_level_stands_alone_whatever_the_pause() {
        let level = |text| run_level(&words(text));
        assert_eq!([level("0"), level("-t 5 6"), level("q -t5")], [Some(b'0'), Some(b'6'), Some(b'q')]);
        assert_eq!(["", "3", "06", "0 6", "-t", "-t 0", "-e 0"].map(level), [None; 7]);
    }

    #[test]
    fn there_is_no_time_but_now() {
        let action = |text| moment(&words(text));
        assert_eq!(
            [action("-h now"), action("-r now bye"), action("-H +0")].map(Option::unwrap),
            [ShutdownAction::PowerOff, ShutdownAction::Reboot, ShutdownAction::Halt]
        );
        assert_eq!([action("-h"), action("-r +5"), action("-c")], [None; 3]);
    }
}
