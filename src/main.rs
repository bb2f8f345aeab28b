//! argv[0] or argv[1] names a function; nothing else happens here.

use argh::FromArgs as _;
use onit::cli::export::Export;
use onit::cli::install::Install;
use onit::cli::lint::Lint;
use onit::cli::new::{self, New};
use onit::cli::power;
use onit::cli::upgrade::Upgrade;
use onit::init::{boot, entry, entrypoint};
use onit::{exit, sys::say::say};
use std::ffi::OsString;
use std::path::Path;

const USAGE: &str = "usage: onit run [-v] [DIR] [-- CMD]   run every service in DIR ($SVDIR, /etc/service), and CMD
       onit [-g] -- CMD              run CMD as a container's main process
       onit new NAME [...] -- CMD    write a service directory that runs CMD
       onit lint [--json] DIR...     examine service directories
       onit export systemd DIR       print a service as a unit
       onit install [-f] DIR         link the names below to this program in DIR
       onit upgrade [PID]            let a running supervisor (1) become the onit that stands at its path now
       onit runsvdir [-P] DIR [LOG]  as runit's runsvdir
       onit runsv DIR                as runit's runsv
       onit svscan [DIR]             as daemontools' svscan
       onit supervise DIR            as daemontools' supervise
       onit tini, onit dumb-init     as those
       onit init                     PID 1 of a machine
       onit poweroff|reboot|halt|kexec [-f]  ask PID 1 for it; with -f, do it now";

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
        Some("install") => verb(Install::from_args, "onit install", rest, Install::run),
        Some("lint") => verb(Lint::from_args, "onit lint", rest, Lint::run),
        Some("new") => {
            let (options, command) = new::split(rest);
            verb(New::from_args, "onit new", options, |new| new.run(options, command))
        }
        Some("export") => verb(Export::from_args, "onit export", rest, Export::run),
        Some("upgrade") => verb(Upgrade::from_args, "onit upgrade", rest, Upgrade::run),
        Some("-V" | "--version") => entry::answer(concat!("onit ", env!("CARGO_PKG_VERSION"))),
        Some("help" | "-h" | "--help") => entry::answer(USAGE),
        Some(option) if option.starts_with('-') => entrypoint::main_process(args.get(1..).unwrap_or_default()),
        Some(word) if let Some(code) = tool(word, rest) => code,
        _ if std::process::id() == 1 => entry::init(args.get(1..).unwrap_or_default()), // the kernel's words
        _ => {
            say(USAGE);
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

/// How a verb reads its words.
type Read<V> = fn(&[&str], &[&str]) -> Result<V, argh::EarlyExit>;

fn verb<V>(read: Read<V>, name: &str, args: &[OsString], run: impl FnOnce(&V) -> i32) -> i32 {
    let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match read(&[name], &words) {
        Ok(verb) => run(&verb),
        Err(early) if early.status.is_ok() => entry::answer(&early.output),
        Err(early) => {
            say(early.output.trim_end());
            exit::USAGE
        }
    }
}
