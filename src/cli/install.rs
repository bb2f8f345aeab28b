//! `onit install DIR`: the names by which onit stands in for other tools.

use crate::exit;
use crate::sys::say::say;
use argh::FromArgs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The tools that onit stands in for.
pub const NAMES: [&str; 4] = ["runsv", "runsvdir", "supervise", "svscan"];

/// Link the names of the tools that onit can stand in for to this program.
#[derive(FromArgs, Debug)]
pub struct Install {
    /// where the links go
    #[argh(positional)]
    directory: PathBuf,
    /// replace what stands in the way
    #[argh(switch, short = 'f')]
    force: bool,
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
        for name in NAMES {
            let place = self.directory.join(name);
            if let Err(error) = self.link(&program, &place) {
                say(format_args!("onit: cannot link {}: {error}", place.display()));
                code = exit::SYSTEM;
            }
        }
        code
    }

    fn link(&self, program: &Path, place: &Path) -> Result<(), Error> {
        match symlink(program, place) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result,
        }
        if std::fs::read_link(place).is_ok_and(|target| target == program) {
            return Ok(());
        }
        if !self.force {
            return Err(Error::other("something else stands there (-f replaces it)"));
        }
        std::fs::remove_file(place)?;
        symlink(program, place)
    }
}
