//! What stands before the command of a container: it waits until the services are up, and becomes the command.

use super::settings::{OnFailure, Settings};
use super::tree;
use crate::client::Deadline;
use crate::client::api::Api;
use crate::exit;
use crate::helpers::exec::{Plan, Search};
use crate::helpers::s6_rc::source;
use crate::machine::ServiceState;
use crate::sys::say::say;
use crate::sys::{Errno, clock, poll};
use crate::wire::api::{ServiceStatus, Word};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The supervisor opens its socket when it has started us.
const SOCKET: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// It has seen all directories by then.
const SEEN: Duration = Duration::from_secs(1);

/// Becomes this command when the services in `place` are up, have failed, or have had their time.
pub fn run(settings: &Settings, place: &Path, words: &[OsString]) -> i32 {
    let trouble = match wait(settings, place) {
        Ok(failed) if failed.is_empty() => None,
        Ok(failed) => Some(format!("{} did not come up", failed.join(", "))),
        Err(why) => Some(why),
    };
    if let Some(trouble) = trouble.filter(|_| settings.on_failure != OnFailure::GoOn) {
        say(format_args!("onit: s6-overlay: {trouble}"));
        if settings.on_failure == OnFailure::Stop {
            return exit::FAILED;
        }
    }
    let failure = Plan { search: Search::Its, ..Plan::default() }.run(words);
    let program = words.first().cloned().unwrap_or_default();
    say(format_args!("onit: cannot execute {}: {}", program.display(), failure.errno.desc()));
    if failure.errno == Errno::ENOENT { exit::NOT_FOUND } else { exit::NOT_EXECUTABLE }
}

/// The services that have failed; or why nothing is known of them.
fn wait(settings: &Settings, place: &Path) -> Result<Vec<String>, String> {
    let now = clock::now();
    let until = settings.patience.map(|patience| now.after(patience));
    let late = || format!("services did not come up within {} ms", settings.patience.unwrap_or_default().as_millis());
    let ignored = if settings.waits_for_legacy { Vec::new() } else { tree::legacy_names() };
    let names = source::names(place).unwrap_or_default();
    let seen = now.after(SEEN);
    let mut api = connect(place)?;
    let said = |error: crate::client::Error| format!("cannot ask for services: {error}");
    api.subscribe().map_err(said)?;
    loop {
        let mut all = api.all().map_err(said)?;
        all.retain(|service| !service.logger);
        let progress = Progress::of(&all, |service, directory| {
            let names = std::fs::read_dir(place.join(service).join(directory)).into_iter().flatten().flatten();
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        });
        if clock::now() < seen && names.iter().any(|name| !progress.services.contains_key(name)) {
            let _ = poll::pause(LOOK_AGAIN);
            continue;
        }
        if !progress.is_moving(|name| ignored.iter().any(|it| it == name)) {
            return Ok(progress.failed());
        }
        let deadline = until.map_or(Deadline::NEVER, |until| Deadline::after(until.since(clock::now())));
        if api.event(deadline).map_err(said)?.is_none() {
            return Err(late());
        }
    }
}

fn connect(place: &Path) -> Result<Api, String> {
    let until = clock::now().after(SOCKET);
    loop {
        match Api::find_for(place) {
            Ok(api) => return Ok(api),
            Err(error) if clock::now() >= until => return Err(format!("cannot ask for services: {error}")),
            Err(_) => _ = poll::pause(LOOK_AGAIN),
        }
    }
}

/// Where services are on their way up.
struct Progress {
    /// Of each, where it is, and what it waits for: those that have to be up, and those that are only to come before.
    services: BTreeMap<String, (ServiceState, [Vec<String>; 2])>,
}

impl Progress {
    fn of(all: &[ServiceStatus], names: impl Fn(&str, &str) -> Vec<String>) -> Progress {
        let services = all.iter().map(|service| {
            let state = if let Word::Known(state) = &service.state { *state } else { ServiceState::Unknown };
            let awaited = match state {
                ServiceState::Waiting => ["dependencies.d", "after.d"].map(|place| names(&service.name, place)),
                _ => Default::default(),
            };
            (service.name.clone(), (state, awaited))
        });
        Progress { services: services.collect() }
    }

    /// Whether any of them is going to be somewhere else, and we wait for that.
    fn is_moving(&self, ignored: impl Fn(&str) -> bool) -> bool {
        self.services.iter().filter(|(name, _)| !ignored(name)).any(|(_, (state, awaited))| match state {
            ServiceState::Setup | ServiceState::Starting => true,
            ServiceState::Waiting => self.may_start(awaited),
            _ => false,
        })
    }

    /// Whether all that it waits for is up, so that it starts at any moment.
    fn may_start(&self, [needed, before]: &[Vec<String>; 2]) -> bool {
        use ServiceState::{Backoff, Done, Down, Failed, Skipped, Unknown, Up};
        let state = |name: &String| self.services.get(name).map_or(Unknown, |(state, _)| *state);
        let is_up = |name: &String| matches!(state(name), Up | Done | Skipped | Backoff);
        let is_over = |name: &String| is_up(name) || matches!(state(name), Failed | Down | Unknown);
        needed.iter().all(is_up) && before.iter().all(|name| needed.contains(name) || is_over(name))
    }

    fn failed(&self) -> Vec<String> {
        let is_failed = |state: ServiceState| matches!(state, ServiceState::Failed | ServiceState::Waiting);
        let failed = self.services.iter().filter(|(_, (state, _))| is_failed(*state));
        failed.map(|(name, _)| name.clone()).collect()
    }
}
