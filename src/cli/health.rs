//! `onit health`: is everything as it is wanted, and available? For `HEALTHCHECK` and probes: fast, and one line.

use super::check::{self, Answer};
use super::connect::{CliError, Connection, worse};
use super::health_exit::{ExitStyle, Outcome, Verdict};
use super::{format, term};
use crate::exit;
use crate::machine::ServiceState;
use crate::sys::clock;
use crate::wire::api::{ServiceStatus, SupervisorState};
use crate::wire::json;
use argh::{ArgsInfo, FromArgs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All the checks together have this long.
const CHECKS: Duration = Duration::from_secs(2);

/// Exit code 0: every service that is to be up is up, ready, not flapping and not unhealthy, and its ./check, if it has
/// one that the supervisor does not ask, succeeds (all are run at once, and have two seconds); a line for each that is
/// degraded. 1: one is not; one line says which and why.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Health {
    /// only these
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// for programs: an object
    #[argh(switch)]
    json: bool,
    /// the exit codes of docker (0 or 1), consul (1: degraded, 2: unhealthy) or nagios (the same, 3: not known, with a line for
    /// it)
    #[argh(option, arg_name = "STYLE")]
    exit: Option<ExitStyle>,
}

/// What is told to programs.
#[derive(Debug)]
struct Report {
    healthy: bool,
    /// How many services were looked at.
    services: usize,
    /// The line for people.
    reason: Option<String>,
    unhealthy: Vec<Case>,
    /// Those that work, and not as they should.
    degraded: Vec<String>,
}

#[derive(Debug)]
struct Case {
    name: String,
    state: String,
    reason: String,
}

impl json::Write for Report {
    fn write(&self, to: &mut String) {
        let Report { healthy, services, reason, unhealthy, degraded } = self;
        let about: [(_, &dyn json::Write); 3] = [("healthy", healthy), ("services", services), ("reason", reason)];
        json::object(to, &[&about[..], &[("unhealthy", unhealthy), ("degraded", degraded)]].concat());
    }
}

impl json::Write for Case {
    fn write(&self, to: &mut String) {
        json::object(to, &[("name", &self.name), ("state", &self.state), ("reason", &self.reason)]);
    }
}

impl Health {
    /// Looks, and tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        match (examine(&self.services, None), self.exit) {
            (Ok(Examined { report, .. }), None) => {
                let code = if report.healthy { exit::OK } else { exit::FAILED };
                worse(self.tell(&report), code)
            }
            (Ok(Examined { report, .. }), Some(style)) => {
                let told = match style {
                    ExitStyle::Nagios if !self.json => term::print(&report.outcome().nagios()),
                    _ => self.tell(&report),
                };
                if told == exit::OK { style.code(&report.outcome()) } else { style.code(&Outcome::unknown("")) }
            }
            (Err(troubles), None) => troubles.iter().fold(exit::OK, |code, trouble| worse(code, trouble.report())),
            (Err(troubles), Some(style)) => {
                let unknown = Outcome::unknown(troubles.first().map_or("", |trouble| &trouble.text));
                if style == ExitStyle::Nagios {
                    term::print(&unknown.nagios());
                } else {
                    troubles.iter().for_each(|trouble| _ = trouble.report());
                }
                style.code(&unknown)
            }
        }
    }

    /// A line for people, or an object for programs.
    fn tell(&self, report: &Report) -> i32 {
        match (&report.reason, self.json) {
            (_, true) => term::print(&format!("{}\n", json::text(report))),
            (Some(reason), false) => term::print(&format!("{reason}\n")),
            (None, false) if report.degraded.is_empty() => exit::OK,
            (None, false) => {
                let name = |name: &String| format!("{}: degraded", term::cut(name, usize::MAX));
                term::print_lines(&report.degraded.iter().map(name).collect::<Vec<_>>())
            }
        }
    }
}

impl Report {
    fn outcome(&self) -> Outcome {
        Outcome {
            verdict: match (self.healthy, self.degraded.is_empty()) {
                (true, true) => Verdict::Healthy,
                (true, false) => Verdict::Degraded,
                (false, _) => Verdict::Unhealthy,
            },
            text: match (&self.reason, &self.degraded[..]) {
                (Some(reason), _) => reason.clone(),
                (None, []) => "all as wanted".into(),
                (None, names) => format!("degraded: {}", names.join(", ")),
            },
            counts: [self.services, self.unhealthy.len(), self.degraded.len()],
        }
    }
}

/// What is known of some services, and what is made of it.
pub(super) struct Examined {
    /// Those that were looked at.
    services: Vec<ServiceStatus>,
    report: Report,
}

impl Examined {
    /// Whether all is well, and a line for each service.
    pub(super) fn lines(&self) -> (bool, String) {
        let mut text = match (&self.report.healthy, &self.report.reason) {
            (false, Some(reason)) if self.report.unhealthy.is_empty() => format!("{reason}\n"),
            (false, _) => "unhealthy\n".into(),
            (true, _) => "healthy\n".into(),
        };
        for service in &self.services {
            let case = self.report.unhealthy.iter().find(|case| case.name == service.name);
            let (sign, state) = match case {
                Some(case) => ('-', case.reason.clone()),
                None if self.report.degraded.contains(&service.name) => ('+', "degraded".into()),
                None => ('+', format::described_state(service)),
            };
            text += &term::cut(&format!("[{sign}]{}: {state}", service.name), usize::MAX);
            text.push('\n');
        }
        (self.report.healthy, text)
    }
}

/// Looks at these services, or at all, for a caller that has so much time for each answer.
pub(super) fn examine(names: &[String], limit: Option<Duration>) -> Result<Examined, Vec<CliError>> {
    let mut talk = Connection::open_within(limit);
    if let Some(trouble) = talk.silence() {
        return Err(vec![trouble]);
    }
    let (services, places) = look(&mut talk, names)?;
    let stopping = talk.api.as_ref().is_some_and(|api| api.hello().state == SupervisorState::Stopping);
    let troubles = if stopping { Vec::new() } else { unavailable(&services, &places) };
    let report = report(&services, &troubles, stopping);
    Ok(Examined { services, report })
}

/// The services, and the directory of each.
fn look(talk: &mut Connection, names: &[String]) -> Result<(Vec<ServiceStatus>, Vec<PathBuf>), Vec<CliError>> {
    if names.is_empty() {
        let services = talk.everything().map_err(|trouble| vec![trouble])?;
        let places = services.iter().map(|service| talk.place(&talk.target(&service.name))).collect();
        return Ok((services, places));
    }
    let (targets, mut troubles) = talk.find(names);
    let (mut services, mut places) = (Vec::new(), Vec::new());
    for target in &targets {
        match talk.look(target) {
            Ok(service) => {
                services.push(service);
                places.push(talk.place(target));
            }
            Err(trouble) => troubles.push(trouble),
        }
    }
    if troubles.is_empty() { Ok((services, places)) } else { Err(troubles) }
}

/// What is amiss with each of these by its `./check`, which is asked where nothing else is amiss.
fn unavailable(services: &[ServiceStatus], places: &[PathBuf]) -> Vec<Option<&'static str>> {
    let has_check = |(service, place): &(&ServiceStatus, &PathBuf)| {
        let may_be_well =
            service.state == ServiceState::Up && service.ready.is_none() && format::amiss(service).is_none();
        may_be_well && place.join("check").exists()
    };
    let all = services.iter().zip(places);
    let asked: Vec<(&str, &Path)> =
        all.clone().filter(has_check).map(|(service, place)| (service.name.as_str(), place.as_path())).collect();
    let mut answers = check::ask_all(&asked, clock::now().after(CHECKS)).into_iter();
    let mut asked = asked.into_iter().map(|(_, place)| place).peekable();
    let answer = |(_, place): (&ServiceStatus, &PathBuf)| {
        asked.next_if(|asked| *asked == place.as_path())?;
        match answers.next()? {
            Answer::Yes => None,
            Answer::No => Some("not available: ./check does not succeed"),
            Answer::Late => Some("not available: ./check has not ended within 2 seconds"),
        }
    };
    all.map(answer).collect()
}

/// `unavailable`: what is amiss with each of them besides, as far as that is known.
fn report(services: &[ServiceStatus], unavailable: &[Option<&str>], stopping: bool) -> Report {
    let besides = unavailable.iter().copied().chain(std::iter::repeat(None));
    let case = |(service, besides): (&ServiceStatus, Option<&str>)| {
        let reason = format::amiss(service).or_else(|| besides.map(str::to_owned))?;
        Some(Case { name: service.name.clone(), state: format::state(service).to_owned(), reason })
    };
    let cases = services.iter().zip(besides).filter_map(case);
    let (mut unhealthy, waiting): (Vec<_>, Vec<_>) = cases.partition(|case| case.state != ServiceState::Waiting.word());
    unhealthy.extend(waiting); // what they wait for comes first
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
    let reason = reason.map(|reason| term::cut(&reason, 1000));
    let degraded = services.iter().filter(|service| is_up(service) && format::is_degraded(service));
    let degraded = degraded.map(|service| service.name.clone()).collect();
    Report { healthy: reason.is_none(), services: services.len(), reason, unhealthy, degraded }
}

fn is_up(service: &ServiceStatus) -> bool {
    service.state == ServiceState::Up
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Want;
    use crate::machine::probe::Health;

    fn service(name: &str, state: ServiceState, want: Want) -> ServiceStatus {
        ServiceStatus {
            pid: (state == ServiceState::Up).then_some(7),
            since: 5.0,
            seconds: 1.0,
            ready: Some(state == ServiceState::Up),
            ..ServiceStatus::new(name, state, want)
        }
    }

    #[test]
    fn one_line_says_what_is_amiss() {
        let fine = [
            service("web", ServiceState::Up, Want::Up),
            service("cron", ServiceState::Down, Want::Down),
            service("migrate", ServiceState::Down, Want::Once),
        ];
        let good = report(&fine, &[], false);
        assert_eq!((good.healthy, good.services, good.reason, good.unhealthy.len()), (true, 3, None, 0));
        assert_eq!(report(&fine, &[], true).reason.as_deref(), Some("everything is being stopped"));
        let waits = ServiceStatus {
            reason: Some("web (starting, 3s)".into()),
            ..service("app", ServiceState::Waiting, Want::Up)
        };
        let late = [waits, ServiceStatus { ready: Some(false), ..service("web", ServiceState::Up, Want::Up) }];
        assert_eq!(report(&late, &[], false).reason.as_deref(), Some("web: not ready for 1s; and 1 more: app"));
        assert_eq!(report(&late[..1], &[], false).reason.as_deref(), Some("app: waiting for web (starting, 3s)"));
        let mut api = service("api", ServiceState::Backoff, Want::Up);
        api.trouble = Some("cannot start ./run:\nPermission denied".into());
        let reason = |services: &[ServiceStatus]| report(services, &[], false).reason.expect("a reason");
        let line = "api: down, to be started again: cannot start ./run:?Permission denied";
        assert_eq!(reason(std::slice::from_ref(&api)), line);
        let many: Vec<_> = (0..9).map(|n| service(&format!("s{n}"), ServiceState::Failed, Want::Up)).collect();
        assert_eq!(reason(&many), "s0: failed; and 8 more: s1, s2, s3, s4, s5, ..");
        let checked = report(&fine, &[Some("not available")], false);
        assert_eq!((checked.healthy, checked.reason.as_deref()), (false, Some("web: not available")));
        let unwell = |health: Health| [ServiceStatus { health: Some(health.into()), ..fine[0].clone() }];
        let degraded = report(&unwell(Health::Degraded), &[], false);
        assert_eq!((degraded.healthy, degraded.degraded), (true, vec!["web".to_owned()]), "it works");
        assert_eq!(reason(&unwell(Health::Unhealthy)), "web: unhealthy: ./health has failed 0 times in a row");
    }
}
