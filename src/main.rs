//! argv[0] or argv[1] names a function; nothing else happens here.

use onit::cli::{power, table};
use onit::init::{boot, entry, entrypoint};
use onit::{exit, sys, sys::say::say};
use std::ffi::OsString;
use std::path::Path;

fn main() {
    let args: Vec<OsString> = std::env::args_os().collect();
    let code = dispatch(&args);
    std::process::exit(if std::process::id() == 1 { boot::stay_if_machine(code) } else { code });
}

fn dispatch(args: &[OsString]) -> i32 {
    let name = args.first().and_then(|name| Path::new(name).file_name()).unwrap_or_default();
    if let Some(code) = tool(&name.to_string_lossy(), args.get(1..).unwrap_or_default()) {
        return code;
    }
    let rest = args.get(2..).unwrap_or_default();
    match args.get(1).map(|word| word.to_string_lossy()).as_deref() {
        Some("run") => entry::run(rest),
        Some("-V" | "--version") => entry::answer(concat!("onit ", env!("CARGO_PKG_VERSION"))),
        Some("-h" | "--help") => table::help(None),
        Some(option) if option.starts_with('-') => entrypoint::main_process(args.get(1..).unwrap_or_default()),
        Some(word) if let Some(code) = tool(word, rest) => code,
        Some(word)
            if is_for_us(word)
                && let Some(code) = table::run(word, rest) =>
        {
            code
        }
        _ if std::process::id() == 1 => entry::init(args.get(1..).unwrap_or_default()), // the kernel's words
        Some(word) => {
            say(format_args!("onit: there is no such verb: {word} (\"onit help\" shows those there are)"));
            exit::USAGE
        }
        None => {
            say(table::overview().trim_end());
            exit::USAGE
        }
    }
}

/// The tools we stand in for, by their names.
fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "runsv" => entry::runsv(args),
        "runsvdir" => entry::runsvdir(args),
        "supervise" => entry::supervise(args),
        "svscan" => entry::svscan(args),
        "tini" | "tini-static" | "docker-init" => entrypoint::tini(args),
        "init" if std::process::id() == 1 => entry::init(args),
        "init" | "telinit" => power::telinit(args),
        "poweroff" | "reboot" | "halt" | "kexec" => power::power(name, args),
        "shutdown" => power::shutdown(args),
        "dumb-init" => entrypoint::dumb_init(args),
        _ => return None,
    })
}

/// What the kernel says to PID 1 of a machine are no verbs.
fn is_for_us(word: &str) -> bool {
    std::process::id() != 1 || word.len() > 1 && sys::boot::is_first_namespace() == Some(false)
}
