//! `onit check`: `./check` says whether a service is available, as with `sv`.

use super::find::{Talk, Target, Trouble, worse};
use super::goal::{Goal, Patience, Pending, wait};
use super::words;
use crate::machine::{Mono, Pid};
use crate::sys::poll::{self, Poller};
use crate::sys::{Errno, clock, process};
use crate::{exit, sys::say::say};
use argh::FromArgs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What `./check` asks about tells nobody when it changes.
const PAUSE: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(10);

/// Exit code 0: each is as it is wanted, and its ./check, if it has one, says that it is available.
#[derive(FromArgs, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Check {
    /// the services
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// say what came of it
    #[argh(switch, short = 'v')]
    verbose: bool,
    /// wait no longer than this (SVWAIT, or 7)
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(words::patience))]
    timeout: Option<Duration>,
}

impl Check {
    /// Waits until it is so. Returns the exit code.
    pub fn run(&self) -> i32 {
        if self.services.is_empty() {
            return Trouble::new(exit::USAGE, "check: which service? (\"all\" is every one)").tell();
        }
        let mut talk = Talk::open_within(Some(Patience::of_setter(self.timeout)));
        let (targets, mut code) = talk.targets(&self.services);
        if let Some(api) = &mut talk.api
            && let Err(failure) = api.subscribe()
        {
            return Trouble::new(exit::SYSTEM, failure.to_string()).tell();
        }
        let patience = Patience::new(Some(Patience::of_setter(self.timeout)), self.verbose);
        let (mut pending, mut available) = (Vec::new(), Vec::new());
        for target in targets {
            match talk.look(&target) {
                Ok(now) if now.want == "up" || (now.want == "once" && now.pid.is_some()) => {
                    available.push(target.clone());
                    pending.push(Pending { target, goal: Goal::Ready });
                }
                Ok(now) if now.state == "refused" => {
                    code = worse(code, Trouble::new(exit::FAILED, format!("{}: not supervised", target.name)).tell());
                }
                Ok(_) => pending.push(Pending { target, goal: Goal::Down }),
                Err(trouble) => code = worse(code, trouble.tell()),
            }
        }
        let waited = wait(&mut talk, pending, patience);
        let waited = if waited == exit::OK { until_available(&mut talk, &available, patience) } else { waited };
        // A question, not an order: what has not come about in time is not so.
        worse(code, if waited == exit::LATE { exit::FAILED } else { waited })
    }
}

/// Waits until each `./check` of these services succeeds while the service is up. Returns the exit code.
pub fn until_available(talk: &mut Talk, targets: &[Target], patience: Patience) -> i32 {
    let mut code = exit::OK;
    for target in targets {
        let place = talk.place(target);
        if place.join("check").exists() {
            code = worse(code, until_one_is(talk, target, &place, patience));
        }
    }
    code
}

fn until_one_is(talk: &mut Talk, target: &Target, place: &Path, patience: Patience) -> i32 {
    loop {
        let up = talk.look(target).is_ok_and(|now| now.state == "up");
        if up && passes(&target.name, place, patience.deadline()) {
            return exit::OK;
        }
        if patience.is_over() {
            let what = if up { "./check does not succeed" } else { "it is not up any more" };
            say(format_args!("onit: {}: not available: {what}", target.name));
            return exit::LATE;
        }
        let left = patience.deadline().map_or(PAUSE, |at| at.since(clock::now())).min(PAUSE);
        if poll::pause(left).is_err() {
            return exit::SYSTEM;
        }
    }
}

/// Whether `./check` succeeds. As with `sv`, one that cannot be executed does not stand in the way, nor does one that a
/// signal ends; one that takes too long does.
fn passes(name: &str, place: &Path, deadline: Option<Mono>) -> bool {
    let started = Command::new("./check").current_dir(place).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            say(format_args!("onit: {name}: cannot run ./check: {error}"));
            return true;
        }
    };
    if has_ended_by(&mut child, deadline) {
        return child.wait().is_ok_and(|end| end.code().is_none_or(|code| code == 0));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn has_ended_by(child: &mut Child, deadline: Option<Mono>) -> bool {
    let handle = i32::try_from(child.id()).map_err(|_| Errno::ESRCH).and_then(|pid| process::handle(Pid(pid)));
    let mut poller =
        handle.and_then(|handle| Poller::new().and_then(|poller| poller.add(&handle, 0).map(|()| (poller, handle))));
    while child.try_wait().is_ok_and(|end| end.is_none()) {
        if deadline.is_some_and(|at| at <= clock::now()) {
            return false;
        }
        match &mut poller {
            Ok((poller, _)) => poller.wait(clock::now(), deadline).for_each(drop),
            Err(_) => _ = poll::pause(LOOK), // Linux before 5.3
        }
    }
    true
}
