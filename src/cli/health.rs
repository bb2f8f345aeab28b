//! `onit health`: is everything as it is wanted? For `HEALTHCHECK` and probes: fast, and one line.

use super::find::{Talk, Trouble, worse};
use super::paint;
use super::words;
use crate::exit;
use crate::wire::api::ServiceStatus;
use argh::FromArgs;
use serde::Serialize;

/// Exit code 0: every service that is to be up is up, ready, and not flapping. 1: one is not; one line says which and why.
#[derive(FromArgs, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Health {
    /// only these
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// for programs: an object
    #[argh(switch)]
    json: bool,
}

/// What is told to programs.
#[derive(Serialize, Debug)]
struct Report {
    healthy: bool,
    /// How many services were looked at.
    services: usize,
    /// The line for people.
    reason: Option<String>,
    unhealthy: Vec<Case>,
}

#[derive(Serialize, Debug)]
struct Case {
    name: String,
    state: String,
    reason: String,
}

impl Health {
    /// Looks, and tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Talk::open();
        if let Some(trouble) = talk.silence() {
            return trouble.tell();
        }
        let (services, code) = self.look(&mut talk);
        if code != exit::OK {
            return code;
        }
        let stopping = talk.api.as_ref().is_some_and(|api| api.hello().state == "stopping");
        let report = report(&services, stopping);
        let told = match (&report.reason, self.json) {
            (_, true) => paint::print(&format!("{}\n", serde_json::to_string(&report).unwrap_or_default())),
            (Some(reason), false) => paint::print(&format!("{reason}\n")),
            (None, false) => exit::OK,
        };
        worse(told, if report.healthy { exit::OK } else { exit::FAILED })
    }

    fn look(&self, talk: &mut Talk) -> (Vec<ServiceStatus>, i32) {
        if self.services.is_empty() {
            return match talk.everything() {
                Ok(services) => (services, exit::OK),
                Err(trouble) => (Vec::new(), trouble.tell()),
            };
        }
        let (targets, mut code) = talk.targets(&self.services);
        let looked: Vec<Result<ServiceStatus, Trouble>> = targets.iter().map(|target| talk.look(target)).collect();
        let services =
            looked.into_iter().filter_map(|looked| looked.map_err(|trouble| code = worse(code, trouble.tell())).ok());
        (services.collect(), code)
    }
}

fn report(services: &[ServiceStatus], stopping: bool) -> Report {
    let case = |service: &ServiceStatus| {
        let reason = words::amiss(service)?;
        Some(Case { name: service.name.clone(), state: words::state(service).to_owned(), reason })
    };
    let unhealthy: Vec<Case> = services.iter().filter_map(case).collect();
    let reason = match &unhealthy[..] {
        _ if stopping => Some("everything is being stopped".to_owned()),
        [] => None,
        [first] => Some(format!("{}: {}", first.name, first.reason)),
        [first, others @ ..] => {
            let names: Vec<&str> = others.iter().take(5).map(|case| case.name.as_str()).collect();
            let more = if others.len() > names.len() { ", .." } else { "" };
            Some(format!("{}: {}; and {} more: {}{more}", first.name, first.reason, others.len(), names.join(", ")))
        }
    };
    let reason = reason.map(|reason| paint::cut(&reason, 1000));
    Report { healthy: reason.is_none(), services: services.len(), reason, unhealthy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, state: &str, want: &str) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            state: state.into(),
            want: want.into(),
            pid: (state == "up").then_some(7),
            since: 5.0,
            seconds: 1.0,
            ready: state == "up",
            enabled: true,
            ..ServiceStatus::default()
        }
    }

    #[test]
    fn one_line_says_what_is_amiss() {
        let fine = [service("web", "up", "up"), service("cron", "down", "down"), service("migrate", "down", "once")];
        let good = report(&fine, false);
        assert_eq!((good.healthy, good.services, good.reason, good.unhealthy.len()), (true, 3, None, 0));
        assert_eq!(report(&fine, true).reason.as_deref(), Some("everything is being stopped"));
        let mut api = service("api", "backoff", "up");
        api.trouble = Some("cannot start ./run:\nPermission denied".into());
        let reason = |services: &[ServiceStatus]| report(services, false).reason.expect("a reason");
        let line = "api: down, to be started again: cannot start ./run:?Permission denied";
        assert_eq!(reason(std::slice::from_ref(&api)), line);
        let many: Vec<_> = (0..9).map(|n| service(&format!("s{n}"), "failed", "up")).collect();
        assert_eq!(reason(&many), "s0: failed; and 8 more: s1, s2, s3, s4, s5, ..");
    }
}
