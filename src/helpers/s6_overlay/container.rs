//! What programs of a container with s6-overlay look for in its file system. Where it cannot be made, a line says so.

use crate::exit;
use crate::helpers::S6;
use crate::sys::fs;
use crate::sys::say::say;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What a container ends with.
pub const EXIT_CODE: &str = "/run/s6-linux-init-container-results/exitcode";
const RESULTS: &str = "/run/s6-linux-init-container-results";
/// Programs that ask for the end of the container.
const BASE: &str = "/run/s6/basedir";
/// The directory of services, whose supervisor they ask. Scripts of version 2 do that themselves, by this name.
const SERVED: &str = "/run/s6/services";
const ENVIRONMENT: &str = "/run/s6/container_environment";
/// Where s6-overlay has its tools.
pub const COMMANDS: &str = "/command";
/// Where scripts of version 2 find one of them.
const WITH_CONTENV: &str = "/usr/bin/with-contenv";
/// Where its services are.
const SERVICES: &str = "/run/service";

/// Makes all of it. Returns what could not be made, and why.
pub fn prepare(program: &Path, place: &Path, writes_environment: bool) -> Vec<String> {
    let steps = [
        (RESULTS, exit_code()),
        (BASE, base(program, place)),
        (ENVIRONMENT, if writes_environment { environment(std::env::vars_os()) } else { Ok(()) }),
        (SERVICES, link_anew(place, Path::new(SERVICES))),
        (COMMANDS, commands(program)),
        (WITH_CONTENV, link(program, Path::new(WITH_CONTENV))),
    ];
    let failed = steps.into_iter().filter_map(|(what, made)| Some((what, made.err()?)));
    failed.map(|(what, error)| format!("{what} ({error})")).collect()
}

fn exit_code() -> io::Result<()> {
    std::fs::create_dir_all(RESULTS)?;
    fs::write_now(Path::new(EXIT_CODE), b"0\n").map_err(Into::into)
}

fn base(program: &Path, place: &Path) -> io::Result<()> {
    let bin = Path::new(BASE).join("bin");
    std::fs::create_dir_all(&bin)?;
    link(program, &bin.join("halt"))?;
    link_anew(place, Path::new(SERVED))
}

/// A file for each variable. What an earlier start of the container has left goes.
fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> io::Result<()> {
    let dir = Path::new(ENVIRONMENT);
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::fs::create_dir_all(dir)?,
    }
    let is_name = |name: &OsString| !name.is_empty() && !name.as_bytes().contains(&b'/') && name != "." && name != "..";
    for (name, value) in variables.filter(|(name, _)| is_name(name)) {
        std::fs::write(dir.join(name), value.as_bytes())?;
    }
    Ok(())
}

/// The tools, if there are none.
fn commands(program: &Path) -> io::Result<()> {
    let dir = Path::new(COMMANDS);
    if !dir.exists() {
        std::fs::create_dir(dir)?;
    }
    let is_ours = S6.iter().any(|name| dir.join(name).read_link().is_ok_and(|target| target == program));
    if is_ours || std::fs::read_dir(dir)?.next().is_none() {
        S6.iter().try_for_each(|name| link(program, &dir.join(name)))?;
    }
    Ok(())
}

/// What is there stays, unless it is a link that leads nowhere.
fn link(to: &Path, at: &Path) -> io::Result<()> {
    if at.exists() {
        return Ok(());
    }
    match std::fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(to, at),
    }
}

/// A link that an earlier start of the container has left goes.
fn link_anew(to: &Path, at: &Path) -> io::Result<()> {
    if at.is_symlink() {
        std::fs::remove_file(at)?;
    }
    link(to, at)
}

/// As the program that ends a container, by its whole path. `None`: we were called otherwise.
pub fn by_name(program: &OsStr) -> Option<i32> {
    (program == PathBuf::from(BASE).join("bin/halt")).then(halt)
}

/// Asks as `s6-svscanctl -t` does: a signal would be for more haste, if the container is about to end.
fn halt() -> i32 {
    let control = Path::new(SERVED).join(".s6-svscan/control");
    match fs::writer(&control).and_then(|control| fs::send(control, b"t")) {
        Ok(()) => exit::OK,
        Err(errno) => {
            say(format_args!("onit: cannot ask for the end of the container: {}: {}", control.display(), errno.desc()));
            exit::SYSTEM
        }
    }
}
