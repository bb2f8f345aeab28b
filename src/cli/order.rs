//! `onit up`, `down`, `restart` and all the others that change something, and wait until it is so.

use super::check;
use super::find::{Talk, Target, Trouble, Way, worse};
use super::leftover::Sessions;
use super::wait_condition::{Before, Patience, Pending, WaitCondition, wait};
use super::{files, words};
use crate::exit;
use crate::machine::UnknownWord;
use crate::wire::api::ServiceStatus;
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

/// After these `run` is to have ended, and what it has started with it.
const STOPPING: [&str; 4] = ["down", "restart", "exit", "disable"];

/// SVC is a name, a glob, a path or "all".
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Order {
    /// the services
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// say what came of it
    #[argh(switch, short = 'v')]
    verbose: bool,
    /// wait no longer than this (SVWAIT, or 7)
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(words::patience))]
    timeout: Option<Duration>,
    /// do not wait
    #[argh(switch)]
    no_wait: bool,
}

impl Order {
    /// Gives the order. Returns the exit code.
    pub fn run(&self, verb: &str) -> i32 {
        if self.services.is_empty() {
            return Trouble::new(exit::USAGE, format!("{verb}: which service? (\"all\" is every one)")).tell();
        }
        let mut talk = Talk::open_within(Some(Patience::of_setter(self.timeout)));
        let (targets, code) = talk.targets(&self.services);
        if !self.no_wait
            && let Some(api) = &mut talk.api
            && let Err(failure) = api.subscribe()
        {
            return Trouble::new(exit::SYSTEM, failure.to_string()).tell();
        }
        let patience = Patience::new(Some(Patience::of_setter(self.timeout)), self.verbose);
        let mut sessions = Sessions::default();
        let (pending, told) = give(&mut talk, verb, targets, patience, &mut sessions);
        let code = worse(code, told);
        if self.no_wait {
            return code;
        }
        let available: Vec<Target> = match verb {
            "up" | "restart" | "enable" => pending.iter().map(|one| one.target.clone()).collect(),
            _ => Vec::new(),
        };
        let waited = wait(&mut talk, pending, patience);
        sessions.tell();
        match worse(code, waited) {
            exit::OK => check::until_available(&mut talk, &available, patience),
            code => code,
        }
    }
}

/// Gives the order to each of them. Returns for what is to be waited, and the exit code.
fn give(
    talk: &mut Talk,
    verb: &str,
    targets: Vec<Target>,
    patience: Patience,
    sessions: &mut Sessions,
) -> (Vec<Pending>, i32) {
    let (mut pending, mut code) = (Vec::new(), exit::OK);
    for target in targets {
        let looked = talk.look_until(&target, patience.deadline());
        let given = looked.and_then(|before| {
            if STOPPING.contains(&verb) {
                sessions.remember(talk, &target, &before);
            }
            tell(talk, verb, &target).map(|()| before)
        });
        match given {
            Ok(before) => pending.extend(condition(verb, &before).map(|condition| Pending { target, condition })),
            Err(trouble) if trouble.code == exit::SYSTEM && verb == "exit" && talk.api.is_none() => {} // it has gone already
            Err(trouble) => code = worse(code, trouble.tell()),
        }
    }
    (pending, code)
}

fn tell(talk: &mut Talk, verb: &str, target: &Target) -> Result<(), Trouble> {
    if let Way::Files(path) = &target.way {
        return files::order(verb, &target.name, path).map_err(|trouble| talk.explain(trouble));
    }
    let directory = talk.directory.clone();
    let api = talk.api()?;
    if !api.hello().control {
        // Whoever may write to a FIFO may give orders as well.
        let view = std::path::PathBuf::from(&api.hello().view).join(&target.name);
        let by_file = files::order(verb, &target.name, &view);
        return by_file
            .map_err(|trouble| Trouble::new(exit::FAILED, format!("{}; you may not give orders", trouble.text)));
    }
    let order = verb.parse().map_err(|why: UnknownWord| Trouble::new(exit::USAGE, why.to_string()))?;
    api.order(order, &target.name).map_err(|error| Trouble::of(&target.name, &error, &directory))
}

/// When the order has had its effect; `None` if that does not show.
fn condition(verb: &str, before: &ServiceStatus) -> Option<WaitCondition> {
    let then = Before::of(before);
    Some(match verb {
        "up" => WaitCondition::Launched(then),
        "down" => WaitCondition::Down,
        "once" => WaitCondition::Started(then),
        "restart" => WaitCondition::Restarted(then),
        "exit" => WaitCondition::Gone(then),
        "pause" => WaitCondition::Paused(true),
        "cont" => WaitCondition::Paused(false),
        "term" | "kill" => WaitCondition::Ended(then),
        "enable" => WaitCondition::Enabled(then),
        "disable" => WaitCondition::Disabled,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api;

    #[test]
    fn options_are_read_as_sv_users_write_them() {
        let order = Order::from_args(&["onit up"], &["-v", "-t", "2.5", "--no-wait", "web", "help"]).expect("words");
        assert_eq!(order.services, ["web", "help"]);
        assert_eq!((order.verbose, order.no_wait, order.timeout), (true, true, Some(Duration::from_millis(2500))));
        assert!(Order::from_args(&["onit up"], &["-t", "soon", "web"]).is_err());
    }

    #[test]
    fn every_order_can_be_given_through_files() {
        for verb in api::Order::ALL {
            let trouble = files::order(verb.word(), "web", "/nowhere/web".as_ref()).expect_err("there is none");
            assert_eq!(trouble.code, exit::UNKNOWN, "{verb}: {}", trouble.text);
        }
    }
}
