//! `onit export systemd DIR`: a service in the words of another supervisor.

use super::paint;
use crate::exit;
use crate::service_dir::{ServiceDir, cause, systemd};
use crate::sys::say::say;
use argh::FromArgs;
use std::path::PathBuf;

/// Print a service in the words of another supervisor.
#[derive(FromArgs, Debug)]
pub struct Export {
    #[argh(subcommand)]
    format: Format,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum Format {
    Systemd(Systemd),
}

/// As a unit of systemd, with a comment for what has no equivalent there.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "systemd")]
struct Systemd {
    /// a service directory
    #[argh(positional)]
    directory: PathBuf,
}

impl Export {
    /// Prints it. Returns the exit code.
    pub fn run(&self) -> i32 {
        let Format::Systemd(Systemd { directory }) = &self.format;
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
        paint::print(&systemd::unit(&service))
    }
}
