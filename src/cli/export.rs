//! `onit export systemd DIR`: a service in the words of another supervisor.

use super::term;
use crate::exit;
use crate::service_dir::{ServiceDir, cause, systemd};
use crate::sys::say::say;
use argh::{ArgsInfo, FromArgs};
use std::path::PathBuf;
use std::str::FromStr;

/// Print a service in the words of another supervisor, on standard output: as a unit of systemd, with a comment for what
/// has no equivalent there.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Export {
    /// systemd: there is no other one yet
    #[argh(positional, arg_name = "FORMAT")]
    format: Format,
    /// a service directory
    #[argh(positional, arg_name = "DIR")]
    directory: PathBuf,
}

/// In whose words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Systemd,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Format, String> {
        if word == "systemd" { Ok(Format::Systemd) } else { Err("the only format there is is systemd".into()) }
    }
}

impl Export {
    /// Prints it. Returns the exit code.
    pub fn run(&self) -> i32 {
        let directory = &self.directory;
        let service = match ServiceDir::read(directory) {
            Ok(service) if service.run.is_some() || service.setup.is_some() => service,
            Ok(_) => {
                say(format_args!("onit: {} is no service directory: there is no run in it", directory.display()));
                return exit::FAILED;
            }
            Err(error) => {
                say(format_args!("onit: cannot open {}: {}", directory.display(), cause(&error)));
                return exit::SYSTEM;
            }
        };
        term::print(&match self.format {
            Format::Systemd => systemd::unit(&service),
        })
    }
}
