//! `onit check`: `./check` says whether a service is available, as with `sv`.

use super::connect::{CliError, Connection, Lost, Target, worse};
use super::format;
use super::wait_condition::{Patience, Pending, WaitCondition, wait};
use crate::client::check::{LOOK, PAUSE, command, says_yes, tell_instance};
use crate::machine::{Mono, Pid, ServiceState, Signal, Want};
use crate::sys::poll::{self, Poller};
use crate::sys::{Errno, clock, process};
use crate::{exit, sys::say::say};
use argh::{ArgsInfo, FromArgs};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// So many run side by side: a probe is no reason for a thousand processes.
const AT_ONCE: usize = 64;

/// Exit code 0: each is as it is wanted, and its ./check, if it has one, says that it is available.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Check {
    /// the services
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// say what came of it
    #[argh(switch, short = 'v')]
    verbose: bool,
    /// wait no longer than this (SVWAIT, or 7)
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(format::patience))]
    timeout: Option<Duration>,
}

impl Check {
    /// Waits until it is so. Returns the exit code.
    pub fn run(&self) -> i32 {
        if self.services.is_empty() {
            return CliError::new(exit::USAGE, "check: which service? (\"all\" is every one)").report();
        }
        let mut talk = Connection::open_within(Some(Patience::of_setter(self.timeout)));
        let (targets, mut code) = talk.targets(&self.services);
        let patience = Patience::new(Some(Patience::of_setter(self.timeout)), self.verbose);
        if let Err(failure) = talk.insist(patience.deadline(), Connection::subscribe) {
            return failure.report();
        }
        let (mut pending, mut available) = (Vec::new(), Vec::new());
        for target in targets {
            match talk.insist(patience.deadline(), |talk| talk.look(&target)) {
                Ok(now) if now.want == Want::Up || (now.want == Want::Once && now.pid.is_some()) => {
                    available.push(target.clone());
                    pending.push(Pending { target, condition: WaitCondition::Ready });
                }
                Ok(now) if now.state == ServiceState::Refused => {
                    code =
                        worse(code, CliError::new(exit::FAILED, format!("{}: not supervised", target.name)).report());
                }
                Ok(_) => pending.push(Pending { target, condition: WaitCondition::Down }),
                Err(trouble) => code = worse(code, trouble.report()),
            }
        }
        let waited = wait(&mut talk, pending, patience);
        let waited = if waited == exit::OK { until_available(&mut talk, &available, patience) } else { waited };
        // A question, not an order: what has not come about in time is not so.
        worse(code, if waited == exit::LATE { exit::FAILED } else { waited })
    }
}

/// Waits until each `./check` of these services succeeds while the service is up. Returns the exit code.
fn until_available(talk: &mut Connection, targets: &[Target], patience: Patience) -> i32 {
    let mut code = exit::OK;
    for target in targets {
        let place = talk.place(target);
        if place.join("check").exists() {
            code = worse(code, until_one_is(talk, target, &place, patience));
        }
    }
    code
}

/// The same for those of which the supervisor does not know whether they are ready.
pub fn until_available_where_only_check_knows(talk: &mut Connection, targets: &[Target], patience: Patience) -> i32 {
    let is_known = |talk: &mut Connection, target| talk.look(target).is_ok_and(|now| now.ready == Some(true));
    let unknown: Vec<Target> = targets.iter().filter(|target| !is_known(talk, target)).cloned().collect();
    until_available(talk, &unknown, patience)
}

fn until_one_is(talk: &mut Connection, target: &Target, place: &Path, patience: Patience) -> i32 {
    loop {
        let mut answer = talk.look(target);
        if answer.as_ref().is_err_and(|trouble| trouble.lost == Some(Lost::HungUp)) {
            match talk.again(patience.deadline()) {
                Ok(again) => *talk = again,
                Err(trouble) => return trouble.report(),
            }
            answer = talk.look(target);
        }
        let state = answer.map(|now| now.state);
        let is = |wanted: ServiceState| state.as_ref().is_ok_and(|state| *state == wanted);
        let up = is(ServiceState::Up);
        if is(ServiceState::Done) || up && passes(&target.name, place, patience.deadline()) {
            return exit::OK;
        }
        if patience.is_over() {
            let what = match state {
                Ok(_) if up => "./check does not succeed",
                Err(trouble) if trouble.code != exit::UNKNOWN => "its supervisor does not answer in time",
                Ok(_) | Err(_) => "it is not up any more", // it may have left the directory
            };
            say(format_args!("onit: {}: not available: {what}", target.name));
            return exit::LATE;
        }
        let left = patience.deadline().map_or(PAUSE, |at| at.since(clock::now())).min(PAUSE);
        if poll::pause(left).is_err() {
            return exit::SYSTEM;
        }
    }
}

/// Whether `./check` succeeds. One that takes too long does not.
fn passes(name: &str, place: &Path, deadline: Option<Mono>) -> bool {
    let Some(mut child) = start(name, &mut command_of(name, place)) else { return true };
    if has_ended_by(&mut child, deadline) {
        return child.wait().is_ok_and(says_yes);
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// The directory of an instance, which is that of its template, does not tell which one it is.
fn command_of(name: &str, place: &Path) -> Command {
    let mut command = command(place);
    if place.file_name() != Some(OsStr::new(name)) {
        tell_instance(&mut command, OsStr::new(name));
    }
    command
}

/// As with `sv`, a `./check` that cannot be executed does not stand in the way.
fn start(name: &str, command: &mut Command) -> Option<Child> {
    let started = command.spawn();
    started.inspect_err(|error| say(format_args!("onit: {name}: cannot run ./check: {error}"))).ok()
}

/// Ends one that leads a group of its own, and what it waits for.
fn end(mut child: Child) {
    let group = i32::try_from(child.id()).map(Pid);
    let _ = group.map(|group| process::kill(group, Signal::KILL, crate::machine::Target::Group)); // it may have ended
    let _ = child.wait();
}

/// What `./check` says in time of each of several services, all of which are asked at once; in their order.
pub fn ask_all(services: &[(&str, &Path)], deadline: Mono) -> Vec<Answer> {
    let mut answers = vec![Answer::Late; services.len()];
    let mut waiting = services.iter().enumerate();
    let mut running: Vec<(usize, Child)> = Vec::new();
    while clock::now() < deadline {
        while running.len() < AT_ONCE
            && let Some((at, (name, place))) = waiting.next()
        {
            match start(name, command_of(name, place).stderr(Stdio::null()).process_group(0)) {
                Some(child) => running.push((at, child)),
                None => answers.get_mut(at).into_iter().for_each(|answer| *answer = Answer::Yes),
            }
        }
        running.retain_mut(|(at, child)| match child.try_wait() {
            Ok(None) => true,
            ended => {
                let yes = ended.ok().flatten().is_none_or(says_yes);
                answers
                    .get_mut(*at)
                    .into_iter()
                    .for_each(|answer| *answer = if yes { Answer::Yes } else { Answer::No });
                false
            }
        });
        if running.is_empty() && waiting.len() == 0 {
            break;
        }
        let _ = poll::pause(LOOK);
    }
    running.into_iter().for_each(|(_, child)| end(child));
    answers
}

/// What came of a `./check`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The service is available.
    Yes,
    /// It is not.
    No,
    /// It took too long.
    Late,
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
