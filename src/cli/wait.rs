//! `onit wait`: until services are up, ready, down or done.

use super::connect::{CliError, Connection, Target, is_many, worse};
use super::wait_condition::{Patience, Pending, WaitCondition, wait};
use super::{arrival, check, format};
use crate::exit;
use argh::{ArgsInfo, FromArgs};
use std::str::FromStr;
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Up,
    Ready,
    Down,
    Done,
}

impl FromStr for What {
    type Err = String;

    fn from_str(word: &str) -> Result<What, String> {
        match word {
            "up" => Ok(What::Up),
            "ready" => Ok(What::Ready),
            "down" => Ok(What::Down),
            "done" => Ok(What::Done),
            _ => Err("it is up, ready, down or done".into()),
        }
    }
}

/// WHAT is "up" (it runs), "ready" (and counts as ready, or ./check succeeds where only that knows), "down" (nothing
/// runs), or "done" (it has ended and stays so).
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Wait {
    /// what for
    #[argh(positional, arg_name = "WHAT")]
    what: What,
    /// the services
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// wait no longer than this, also for a service or a supervisor that is not there yet; without it, for ever
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(format::patience))]
    timeout: Option<Duration>,
    /// until it is so for one of them
    #[argh(switch)]
    any: bool,
    /// say what came of it
    #[argh(switch, short = 'v')]
    verbose: bool,
}

impl Wait {
    /// Waits. Returns the exit code.
    pub fn run(&self) -> i32 {
        if self.services.is_empty() {
            return CliError::new(exit::USAGE, "wait: for which service? (\"all\" is every one)").report();
        }
        let mut patience = Patience::new(self.timeout, self.verbose);
        patience.any = self.any;
        patience.for_arrival = self.timeout.is_some();
        let mut talk = Connection::open_within(self.timeout);
        if patience.for_arrival && self.services.iter().any(|word| is_many(word)) {
            talk = match arrival::supervisor(talk, patience.deadline()) {
                Ok(talk) => talk,
                Err(trouble) => return trouble.report(),
            };
        }
        let (targets, code) = talk.targets(&self.services);
        if let Err(failure) = talk.insist(patience.deadline(), Connection::subscribe) {
            return failure.report();
        }
        let condition = match self.what {
            What::Up => WaitCondition::Up,
            What::Ready => WaitCondition::Ready,
            What::Down => WaitCondition::Down,
            What::Done => WaitCondition::Done,
        };
        let available: Vec<Target> = if self.what == What::Ready && !self.any { targets.clone() } else { Vec::new() };
        let pending = targets.into_iter().map(|target| Pending { target, condition: condition.clone() }).collect();
        let waited = worse(code, wait(&mut talk, pending, patience));
        if waited == exit::OK {
            check::until_available_where_only_check_knows(&mut talk, &available, patience)
        } else {
            waited
        }
    }
}
