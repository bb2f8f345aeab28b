//! `onit hooks`: programs that are run when something happens to a service.

use super::format;
use crate::helpers::hooks;
use argh::{ArgsInfo, FromArgs};
use std::path::PathBuf;
use std::time::Duration;

/// Run each program in a directory, as PROGRAM EVENT SERVICE OLD NEW, when something happens to a service: one at a time,
/// and once for what happened to a service while it ran or paused. It has the variables of onit events --exec, and
/// ONIT_REASON and ONIT_COUNT; its input are the last lines of the service's log. To be run as a service.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Hooks {
    /// where they are (default: .onit/hooks in the directory of services)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// none is started sooner than this after its last start (default: 1s)
    #[argh(option, arg_name = "TIME", default = "Duration::from_secs(1)", from_str_fn(format::patience))]
    pause: Duration,
    /// one that takes longer is killed (default: 30s)
    #[argh(option, short = 't', arg_name = "TIME", default = "Duration::from_secs(30)", from_str_fn(format::patience))]
    timeout: Duration,
}

impl Hooks {
    /// Runs them until the supervisor ends. Returns the exit code.
    pub fn run(self) -> i32 {
        hooks::Hooks { dir: self.dir, pause: self.pause, limit: self.timeout }.run()
    }
}
