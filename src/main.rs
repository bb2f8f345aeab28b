//! argv[0] or argv[1] names a function; nothing else happens here.

#[cfg(not(feature = "cli"))]
use onit::cli::bare as table;
#[cfg(feature = "cli")]
use onit::cli::{power, s6, table};
use onit::cli::{sv, svc, svok, svstat};
use onit::init::{boot, entry, entrypoint, idle};
use onit::{exit, sys::say::say};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

fn main() {
    #[cfg(feature = "embed")]
    onit::embed::hook();
    let args = as_interpreter(std::env::args_os().collect());
    std::process::exit(boot::stay_if_machine(dispatch(&args)));
}

/// The words of a script that begins with `#!/bin/onit exec --user web -- /bin/httpd`: the kernel gives those behind onit
/// as one, and then the script's path, which nobody needs. What the script was given follows.
fn as_interpreter(args: Vec<OsString>) -> Vec<OsString> {
    let [name, line, _script, given @ ..] = args.as_slice() else { return args };
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let is_line = line.as_bytes().iter().any(is_blank) && !line.as_bytes().starts_with(b"-");
    if !is_line || Path::new(name).file_name() != Some(OsStr::new("onit")) || std::process::id() == 1 {
        return args;
    }
    let words = line.as_bytes().split(is_blank).filter(|word| !word.is_empty());
    let words = words.map(|word| OsStr::from_bytes(word).to_owned());
    [name.clone()].into_iter().chain(words).chain(given.iter().cloned()).collect()
}

fn dispatch(args: &[OsString]) -> i32 {
    #[cfg(feature = "helpers")]
    if let Some(code) = of_s6(args) {
        return code;
    }
    let name = args.first().and_then(|name| Path::new(name).file_name()).unwrap_or_default();
    if let Some(code) = tool(&name.to_string_lossy(), args.get(1..).unwrap_or_default()) {
        return code;
    }
    if let Some(code) = sv::init_script(name, args) {
        return code;
    }
    if let Some(code) = idle::by_name(name, args.get(1..).unwrap_or_default()) {
        return code;
    }
    let rest = args.get(2..).unwrap_or_default();
    let word = args.get(1).map(|word| word.to_string_lossy());
    if let Some(code) = word.as_deref().and_then(|word| tool(word, rest)) {
        return code;
    }
    match word.as_deref() {
        #[cfg(feature = "helpers")]
        Some("run") => onit::helpers::s6_rc::run(rest, entry::place).unwrap_or_else(|| entry::run(rest)),
        #[cfg(not(feature = "helpers"))]
        Some("run") => entry::run(rest),
        #[cfg(feature = "helpers")]
        Some("s6-overlay") => onit::helpers::s6_overlay::run(rest, entry::place),
        Some("idle") => idle::idle(rest),
        Some("-V" | "--version") => entry::answer(concat!("onit ", env!("CARGO_PKG_VERSION"))),
        Some("-h" | "--help") => table::help(None),
        Some("help") if args.get(2).is_some_and(|verb| verb == "run" || verb == "--") => entry::run(&["--help".into()]),
        Some("-b") if std::process::id() == 1 => entry::init(args.get(1..).unwrap_or_default()), // the kernel's word
        Some(option) if option.starts_with('-') => entrypoint::main_process(args.get(1..).unwrap_or_default()),
        word if std::process::id() == 1 && (word.is_none() || boot::is_machine()) => {
            entry::init(args.get(1..).unwrap_or_default()) // the kernel's words
        }
        Some(word) => table::run(word, rest).unwrap_or_else(|| table::unknown(word)),
        None => {
            say(table::everyday().trim_end());
            exit::USAGE
        }
    }
}

/// By the names that have a meaning in a tree of s6-rc or s6-overlay only. As `/init` of a container that has such a tree
/// we are its init; PID 1 of a machine never is.
#[cfg(feature = "helpers")]
fn of_s6(args: &[OsString]) -> Option<i32> {
    use onit::helpers::{s6_overlay, s6_rc};
    let (program, rest) = args.split_first()?;
    let is_init = Path::new(program).file_name() == Some(OsStr::new("init"));
    let is_asked = is_init && (std::process::id() == 1 || program == "/init");
    if is_asked && s6_overlay::is_here() && !boot::is_machine() {
        return Some(s6_overlay::run(rest, entry::place));
    }
    s6_overlay::by_name(program).or_else(|| s6_rc::oneshot::by_name(program))
}

/// The tools we stand in for, by their names.
fn tool(name: &str, args: &[OsString]) -> Option<i32> {
    Some(match name {
        "runsv" => entry::runsv(args),
        "runsvdir" => entry::runsvdir(args),
        "supervise" => entry::supervise(args),
        "svscan" => entry::svscan(args),
        "s6-svscan" => entry::s6_svscan(args),
        "s6-supervise" => entry::s6_supervise(args),
        "sv" => sv::sv(args),
        "svc" => svc::svc(args),
        "svstat" => svstat::svstat(args),
        "svok" => svok::svok(args),
        #[cfg(feature = "cli")]
        name if name.starts_with("s6-sv") => return s6::tool(name, args),
        "tini" | "tini-static" | "docker-init" => entrypoint::tini::tini(args),
        "init" if std::process::id() == 1 => entry::init(args),
        #[cfg(feature = "cli")]
        "init" | "telinit" => power::telinit(args),
        #[cfg(feature = "cli")]
        "poweroff" | "reboot" | "halt" | "kexec" => power::power(name, args),
        #[cfg(feature = "cli")]
        "shutdown" => power::shutdown(args),
        #[cfg(feature = "helpers")]
        "mux" => onit::helpers::mux::mux(args),
        #[cfg(feature = "helpers")]
        "loaders" => onit::helpers::loaders::loaders(args),
        #[cfg(feature = "helpers")]
        "s6-overlay-stage" => onit::helpers::s6_overlay::stage(args),
        #[cfg(feature = "helpers")]
        "loaded" => onit::helpers::loaders::loaded(args),
        "dumb-init" => entrypoint::dumb_init::dumb_init(args),
        #[cfg(feature = "helpers")]
        name => return onit::helpers::tool(name, args),
        #[cfg(not(feature = "helpers"))]
        _ => return None,
    })
}
