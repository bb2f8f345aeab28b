//! `onit up`, `down`, `restart` and all the other verbs that change something, and wait until it is so.

use super::check;
use super::connect::{CliError, Connection, Lost, Target, Via, worse};
use super::leftover::Sessions;
use super::wait_condition::{Before, Patience, Pending, WaitCondition, wait};
use super::{files, format, term};
use crate::exit;
use crate::machine::Mono;
use crate::wire::api::{self, ServiceStatus};
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

/// After these `run` is to have ended, and what it has started with it.
const STOPPING: [api::Order; 4] = [api::Order::Down, api::Order::Restart, api::Order::Exit, api::Order::Disable];

/// When the supervisor hangs up before it has answered, one of these is given again, as it may not have been taken. It
/// does nothing more the second time, but for a restart of what has just been restarted.
const REPEATABLE: [api::Order; 9] = {
    use api::Order::{Cont, Disable, Down, Enable, Exit, Pause, Ready, Restart, Up};
    [Up, Down, Restart, Exit, Pause, Cont, Enable, Disable, Ready]
};

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
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(format::patience))]
    timeout: Option<Duration>,
    /// do not wait
    #[argh(switch)]
    no_wait: bool,
}

impl Order {
    /// An order to these services.
    pub fn to(services: Vec<String>, verbose: bool, timeout: Option<Duration>, no_wait: bool) -> Order {
        Order { services, verbose, timeout, no_wait }
    }

    /// Gives the order that is called like this verb. Returns the exit code.
    pub fn run(&self, verb: &str) -> i32 {
        match verb.parse::<api::Order>() {
            Ok(order) => self.carry_out(order),
            Err(why) => CliError::new(exit::USAGE, why.to_string()).report(),
        }
    }

    /// Gives this one, and waits until it has had its effect. Returns the exit code.
    pub fn carry_out(&self, order: api::Order) -> i32 {
        if self.services.is_empty() {
            return CliError::new(exit::USAGE, format!("{order}: which service? (\"all\" is every one)")).report();
        }
        let mut talk = Connection::open_within(Some(Patience::of_setter(self.timeout)));
        let (targets, code) = talk.targets(&self.services);
        let patience = Patience::new(Some(Patience::of_setter(self.timeout)), self.verbose);
        if !self.no_wait
            && let Err(failure) = talk.insist(patience.deadline(), Connection::subscribe)
        {
            return failure.report();
        }
        let mut sessions = Sessions::default();
        let (pending, told) = give(&mut talk, order, targets, patience, &mut sessions);
        let code = worse(code, told);
        if self.no_wait {
            return code;
        }
        let starts = matches!(order, api::Order::Up | api::Order::Restart | api::Order::Overlap | api::Order::Enable);
        let available: Vec<Target> = pending.iter().filter(|_| starts).map(|one| one.target.clone()).collect();
        let waited = wait(&mut talk, pending, patience);
        sessions.report();
        match worse(code, waited) {
            exit::OK => check::until_available_where_only_check_knows(&mut talk, &available, patience),
            code => code,
        }
    }
}

/// Gives the order to each of them, as long as the supervisor answers. Returns for what is to be waited, and the exit code.
fn give(
    talk: &mut Connection,
    order: api::Order,
    targets: Vec<Target>,
    patience: Patience,
    sessions: &mut Sessions,
) -> (Vec<Pending>, i32) {
    let (mut pending, mut code) = (Vec::new(), exit::OK);
    let mut targets = targets.into_iter();
    while let Some(target) = targets.next() {
        let until = patience.deadline();
        match talk.insist(until, |talk| give_one(talk, order, &target, until, sessions)) {
            Ok((order, before)) => {
                pending.extend(condition(order, &before).map(|condition| Pending { target, condition }))
            }
            Err(trouble) if trouble.code == exit::SYSTEM && order == api::Order::Exit && talk.api.is_none() => {} // it has gone already
            Err(trouble) => {
                code = worse(code, trouble.report());
                if trouble.lost.is_some() {
                    leave(order.word(), code, &targets.by_ref().map(|target| target.name).collect::<Vec<_>>());
                }
            }
        }
    }
    (pending, code)
}

/// Says which are not told after a failure with this code.
pub fn leave(verb: &str, code: i32, left: &[String]) {
    if !left.is_empty() {
        let left = term::cut(&left.join(", "), 1000);
        CliError::new(code, format!("{verb}: for that, these were left as they are: {left}")).report();
    }
}

/// Returns which order was given, and how the service was before.
fn give_one(
    talk: &mut Connection,
    order: api::Order,
    target: &Target,
    until: Option<Mono>,
    sessions: &mut Sessions,
) -> Result<(api::Order, ServiceStatus), CliError> {
    let before = talk.look_until(target, until)?;
    if STOPPING.contains(&order) {
        sessions.remember(talk, target, &before);
    }
    // What does not run has nothing to overlap with.
    let is_up = before.pid.is_some() || order != api::Order::Overlap;
    let order = if is_up { order } else { api::Order::Restart };
    send(talk, order, target).map_err(|trouble| match trouble.lost {
        Some(Lost::HungUp) if !REPEATABLE.contains(&order) => CliError { lost: None, ..trouble },
        _ => trouble,
    })?;
    Ok((order, before))
}

fn send(talk: &mut Connection, order: api::Order, target: &Target) -> Result<(), CliError> {
    if let Via::Files(path) = &target.way {
        return files::order(order, &target.name, path).map_err(|trouble| talk.explain(trouble));
    }
    let directory = talk.directory.clone();
    let api = talk.api()?;
    if !api.hello().control {
        // A user who may write to a FIFO may give orders as well.
        let view = std::path::PathBuf::from(&api.hello().view).join(&target.name);
        let by_file = files::order(order, &target.name, &view);
        return by_file
            .map_err(|trouble| CliError::new(exit::FAILED, format!("{}; you may not give orders", trouble.text)));
    }
    api.order(order, &target.name).map_err(|error| CliError::of(&target.name, &error, &directory))
}

/// When the order has had its effect; `None` if that does not show.
fn condition(order: api::Order, before: &ServiceStatus) -> Option<WaitCondition> {
    use api::Order;
    let then = Before::of(before);
    match order {
        Order::Up => Some(WaitCondition::Launched(then)),
        Order::Down => Some(WaitCondition::Down),
        Order::Once => Some(WaitCondition::Started(then)),
        Order::Restart => Some(WaitCondition::Restarted(then)),
        Order::Overlap => Some(WaitCondition::Replaced(then)),
        Order::Exit => Some(WaitCondition::Gone(then)),
        Order::Pause => Some(WaitCondition::Paused(true)),
        Order::Cont => Some(WaitCondition::Paused(false)),
        Order::Term | Order::Kill => Some(WaitCondition::Ended(then)),
        Order::Enable => Some(WaitCondition::Enabled(then)),
        Order::Disable => Some(WaitCondition::Disabled),
        Order::Reload
        | Order::Hup
        | Order::Int
        | Order::Quit
        | Order::Alrm
        | Order::Usr1
        | Order::Usr2
        | Order::Abrt
        | Order::Winch
        | Order::Ready => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_sv_users_write_them() {
        let order = Order::from_args(&["onit up"], &["-v", "-t", "2.5", "--no-wait", "web", "help"]).expect("words");
        assert_eq!(order.services, ["web", "help"]);
        assert_eq!((order.verbose, order.no_wait, order.timeout), (true, true, Some(Duration::from_millis(2500))));
        assert!(Order::from_args(&["onit up"], &["-t", "soon", "web"]).is_err());
    }

    #[test]
    fn every_order_can_be_given_through_files() {
        for order in api::Order::ALL {
            let trouble = files::order(order, "web", "/nowhere/web".as_ref()).expect_err("there is none");
            assert_eq!(trouble.code, exit::UNKNOWN, "{order}: {}", trouble.text);
        }
    }
}
