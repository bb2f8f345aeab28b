//! `onit install DIR`: the names by which onit stands in for other tools.

use crate::exit;
pub use crate::helpers::S6;
use crate::sys::say::say;
use argh::{ArgsInfo, FromArgs};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The supervisors that onit stands in for, and the tools that speak to them.
pub const SUPERVISORS: [&str; 8] = ["runsv", "runsvdir", "supervise", "sv", "svc", "svok", "svscan", "svstat"];
/// The inits of containers.
pub const CONTAINER: [&str; 3] = ["docker-init", "dumb-init", "tini"];
/// The init of a machine, and what asks it to end. `kexec` is not among them: the tool that loads a kernel has the name.
pub const INIT: [&str; 6] = ["halt", "init", "poweroff", "reboot", "shutdown", "telinit"];

/// Helpers of runit and daemontools: what stands in front of a service, or behind it.
pub const TOOLS: [&str; 12] = [
    "chpst",
    "envdir",
    "envuidgid",
    "fghack",
    "multilog",
    "pgrphack",
    "setlock",
    "setuidgid",
    "softlimit",
    "svlogd",
    "tai64n",
    "tai64nlocal",
];
/// Link the names of tools that onit can stand in for to this program: runsv, runsvdir, sv, supervise, svscan, svc, svok
/// and svstat, unless an option says which.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Install {
    /// where the links go: /usr/local/bin, for example
    #[argh(positional, arg_name = "DIR")]
    directory: PathBuf,
    /// replace what stands in the way; without it, that is an error, and the other links are made
    #[argh(switch, short = 'f')]
    force: bool,
    /// these names: docker-init, dumb-init and tini, the inits of containers
    #[argh(switch)]
    container: bool,
    /// these names: init, telinit, shutdown, halt, poweroff and reboot, for the init of a machine
    #[argh(switch)]
    init: bool,
    /// these names: helpers of runit and daemontools, chpst, setuidgid, envdir, softlimit and so on
    #[argh(switch)]
    tools: bool,
    /// these names: helpers of s6, s6-setuidgid, s6-envdir and so on, and with-contenv
    #[argh(switch)]
    s6: bool,
}

impl Install {
    /// Makes the links. Returns the exit code.
    pub fn run(&self) -> i32 {
        let program = match std::env::current_exe() {
            Ok(program) => program,
            Err(error) => {
                say(format_args!("onit: cannot find this program: {error}"));
                return exit::SYSTEM;
            }
        };
        let mut code = exit::OK;
        for name in self.names() {
            let place = self.directory.join(name);
            if let Err(error) = self.link(&program, &place) {
                say(format_args!("onit: cannot link {}: {error}", place.display()));
                code = exit::SYSTEM;
            }
        }
        code
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let asked = [(self.container, &CONTAINER[..]), (self.init, &INIT), (self.tools, &TOOLS), (self.s6, &S6)];
        let is_plain = asked.iter().all(|(asked, _)| !asked);
        let all = std::iter::once((is_plain, &SUPERVISORS[..])).chain(asked);
        all.filter(|(asked, _)| *asked).flat_map(|(_, names)| names.iter().copied())
    }

    fn link(&self, program: &Path, place: &Path) -> Result<(), Error> {
        match symlink(program, place) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result,
        }
        if place.canonicalize().is_ok_and(|target| target == program) {
            return Ok(()); // a link to it, or the program itself
        }
        if !self.force {
            return Err(Error::other("something else stands there (-f replaces it)"));
        }
        replace(program, place)
    }
}

/// In one step: there is no moment without an init.
fn replace(program: &Path, place: &Path) -> Result<(), Error> {
    let fresh = place.with_extension("onit-new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => symlink(program, &fresh)?,
    }
    std::fs::rename(&fresh, place).inspect_err(|_| drop(std::fs::remove_file(&fresh)))
}
