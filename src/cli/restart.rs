//! `onit restart`: stopped and started; with `--overlap` without a gap, and with `--rolling` one after the other.

use super::connect::{CliError, Connection};
use super::format;
use super::order::{Order, leave};
use crate::exit;
use crate::wire::api;
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

/// SVC is a name, a glob, a path or "all".
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Restart {
    /// the services
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// start the new one beside the old one, which is stopped when the new one is ready
    #[argh(switch)]
    overlap: bool,
    /// one after the other, each when the one before is ready again
    #[argh(switch)]
    rolling: bool,
    /// say what came of it
    #[argh(switch, short = 'v')]
    verbose: bool,
    /// wait no longer than this for each (SVWAIT, or 7)
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(format::patience))]
    timeout: Option<Duration>,
    /// do not wait
    #[argh(switch)]
    no_wait: bool,
}

impl Restart {
    /// Gives the order. Returns the exit code.
    pub fn run(self) -> i32 {
        if self.rolling && self.no_wait {
            return CliError::new(exit::USAGE, "restart: --rolling waits for each: not together with --no-wait")
                .report();
        }
        if !self.rolling || self.services.is_empty() {
            return self.order(self.services.clone());
        }
        let (targets, code) = Connection::open().targets(&self.services);
        if code != exit::OK {
            return code;
        }
        let names: Vec<String> = targets.into_iter().map(|target| target.name).collect();
        for (done, name) in names.iter().enumerate() {
            let code = self.order(vec![name.clone()]);
            if code != exit::OK {
                leave("restart", code, names.get(done + 1..).unwrap_or_default());
                return code;
            }
        }
        exit::OK
    }

    fn order(&self, services: Vec<String>) -> i32 {
        let order = if self.overlap { api::Order::Overlap } else { api::Order::Restart };
        Order::to(services, self.verbose, self.timeout, self.no_wait).carry_out(order)
    }
}
