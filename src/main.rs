//! argv[0] or argv[1] names a function; nothing else happens here.

use argh::FromArgs as _;
use onit::cli::export::Export;
use onit::cli::install::Install;
use onit::cli::lint::Lint;
use onit::cli::new::{self, New};
use onit::cli::upgrade::Upgrade;
use onit::cli::{power, sv, svc, svok, svstat};
use onit::init::{boot, entry, entrypoint};
use onit::{exit, sys::say::say};
use std::ffi::OsString;
use std::path::Path;

const USAGE: &str = "usage: onit run [-v] [DIR] [-- CMD]   run every service in DIR ($SVDIR, /etc/service), and CMD
       onit [-g] -- CMD              run CMD as a container's main process
       onit new NAME [...] -- CMD    write a service directory that runs CMD
       onit lint [--json] DIR...     examine service directories
       onit export systemd DIR       print a service as a unit
       onit install [-f] [--container] [--init] DIR
                                     link names to this program in DIR: of runit's and daemontools' supervisors,
                                     or tini, docker-init and dumb-init, or init, telinit, shutdown and so on
       onit upgrade [PID]            let a running supervisor (1) become the onit that stands at its path now
       onit runsvdir [-P] DIR [LOG]  as runit's runsvdir
       onit runsv DIR                as runit's runsv
       onit svscan [DIR]             as daemontools' svscan
       onit supervise DIR            as daemontools' supervise
       onit sv, onit svc, onit svstat, onit svok  as those, of runit and daemontools
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
    if let Some(code) = sv::init_script(name, args) {
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
        Some("-b") if std::process::id() == 1 => entry::init(args.get(1..).unwrap_or_default()), // the kernel's word
        Some(option) if option.starts_with('-') => entrypoint::main_process(args.get(1..).unwrap_or_default()),
        Some(word) if let Some(code) = tool(word, rest) => code,
        word if std::process::id() == 1 && (word.is_none() || boot::is_machine()) => {
            entry::init(args.get(1..).unwrap_or_default()) // the kernel's words
        }
        word => {
            if let Some(word) = word {
                say(format_args!("onit: there is no verb {word}; to run a program, say onit -- {word}"));
            }
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
        "sv" => sv::sv(args),
        "svc" => svc::svc(args),
        "svstat" => svstat::svstat(args),
        "svok" => svok::svok(args),
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
