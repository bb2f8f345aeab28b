//! `onit status`: where every service stands, in a table; of one that is named, everything that is known.

use super::connect::{Connection, Target, sort_by_name, worse};
use super::program::WithProgram;
use super::term::{self, Cell, Colour, Paint, Table, Tone};
use super::{changed, detail, format};
use crate::client::{Deadline, api::Api};
use crate::exit;
use crate::machine::{ServiceState, Want};
use crate::sys::{poll, screen};
use crate::wire::api::ServiceStatus;
use crate::wire::json;
use argh::{ArgsInfo, FromArgs};
use std::io::IsTerminal as _;
use std::time::Duration;

/// How often ages are drawn anew.
const SECOND: Duration = Duration::from_secs(1);
/// Events that come together are drawn together.
const TOGETHER: Duration = Duration::from_millis(40);
/// Below a table whose numbers would mislead.
const ELSEWHERE: &str = "(these PIDs are of another PID namespace; \"onit pid NAME\" tells the one here)";
const HEADINGS: &[&str] = &["NAME", "STATE", ">PID", ">FOR", ">RESTARTS", "LAST EXIT / NEXT"];

/// SVC is a name, a glob, a path or "all". One that is named is told at length.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Status {
    /// the services
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// loggers too
    #[argh(switch, short = 'a')]
    all: bool,
    /// go on, and show each change
    #[argh(switch)]
    watch: bool,
    /// for programs: an array of objects
    #[argh(switch)]
    json: bool,
    /// say nothing; the exit code is LSB's: 0 all run, 3 one does not, 4 no such service
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// auto (on a terminal, unless NO_COLOR is set), always or never
    #[argh(option, default = "Colour::Auto", arg_name = "WHEN")]
    color: Colour,
}

impl Status {
    /// Tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Connection::open();
        if self.watch {
            return self.watch(talk);
        }
        let (services, code) = self.look(&mut talk);
        if self.quiet {
            let runs = services.iter().all(|service| service.pid.is_some());
            return if runs { code } else { worse(code, exit::NOT_RUNNING) };
        }
        if self.json {
            return worse(code, term::print(&term::json(&WithProgram::of(&services, &talk))));
        }
        if services.is_empty() && code != exit::OK {
            return code;
        }
        let paint = self.color.paint();
        let lines = match (&self.services[..], &services[..]) {
            ([word], [service]) if word != "all" => {
                let target = self.target(&mut talk, word);
                detail::lines(&mut talk, &target, service, paint)
            }
            _ => {
                let mut lines = table(&services).lines(paint, term::width());
                lines.extend(summary(&services, lines.len()));
                lines.extend(changed_lines(&talk, &services));
                if talk.is_elsewhere() {
                    lines.push(ELSEWHERE.into());
                }
                if let Some(directory) = talk.unusual_directory().filter(|_| std::io::stdout().is_terminal()) {
                    lines.push(term::cut(&format!("(the services in {})", directory.display()), usize::MAX));
                }
                lines
            }
        };
        worse(code, term::print_lines(&lines))
    }

    /// The one service that this word names.
    fn target(&self, talk: &mut Connection, word: &str) -> Target {
        talk.targets(&[word.to_owned()]).0.pop().unwrap_or_else(|| talk.target(word))
    }

    /// What is known of the services that were asked for.
    fn look(&self, talk: &mut Connection) -> (Vec<ServiceStatus>, i32) {
        if self.services.iter().all(|word| word == "all") {
            return match talk.everything() {
                Ok(mut services) => {
                    services.retain(|service| self.all || !service.logger);
                    (services, exit::OK)
                }
                Err(trouble) => (Vec::new(), trouble.report()),
            };
        }
        let (targets, mut code) = talk.targets(&self.services);
        let mut services = Vec::new();
        for target in targets {
            match talk.insist(None, |talk| talk.look(&target)) {
                Ok(service) => services.push(service),
                Err(trouble) => code = worse(code, trouble.report()),
            }
        }
        sort_by_name(&mut services);
        (services, code)
    }

    /// On a terminal the screen is drawn anew; elsewhere each change is told.
    fn watch(&self, mut talk: Connection) -> i32 {
        let screen = std::io::stdout().is_terminal() && !self.json;
        let mut last = None;
        if let Err(trouble) = talk.insist(None, Connection::subscribe) {
            return trouble.report();
        }
        loop {
            loop {
                let (services, code) = self.look(&mut talk);
                if services.is_empty() && code != exit::OK {
                    break;
                }
                let drawn = self.draw(&services, screen);
                let show = if screen { term::draw } else { term::report };
                if last.as_ref() != Some(&drawn)
                    && let Err(code) = show(&drawn)
                {
                    return code;
                }
                last = Some(drawn);
                if !wait_for_change(&mut talk, screen) {
                    break;
                }
            }
            talk = match talk.again(None) {
                Ok(talk) => talk,
                Err(trouble) => return trouble.report(),
            };
        }
    }

    fn draw(&self, services: &[ServiceStatus], screen: bool) -> String {
        if self.json {
            return format!("{}\n", json::text(services));
        }
        let paint = self.color.paint();
        if !screen {
            return table(&steady(services)).lines(paint, None).join("\n") + "\n\n";
        }
        let (columns, rows) = screen::size().unwrap_or((80, 24));
        let lines = fitting(services, rows.saturating_sub(1), paint, columns);
        // Home, each line and nothing behind it, nothing below.
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
    }
}

/// The table of these services.
pub fn table(services: &[ServiceStatus]) -> Table {
    let mut table = Table::new(HEADINGS);
    services.iter().for_each(|service| table.add(row(service)));
    table
}

fn row(service: &ServiceStatus) -> Vec<Cell> {
    let tone = tone(service);
    let quiet = |text: String, is: bool| if is { Cell(Tone::Quiet, text) } else { text.into() };
    let untold = matches!(service.state.known(), Some(ServiceState::Refused | ServiceState::Unknown));
    vec![
        service.name.as_str().into(),
        Cell(tone, format::described_state(service)),
        service.pid.map_or(Cell(Tone::Quiet, "-".into()), |pid| pid.to_string().into()),
        if untold { Cell(Tone::Quiet, "-".into()) } else { format::span(service.seconds).into() },
        quiet(format::restarts(service), matches!(service.restarts, Some(0) | None)),
        last(service, tone),
    ]
}

/// What a state looks like.
pub fn tone(service: &ServiceStatus) -> Tone {
    let is_unwell = format::unwell(service).is_some();
    if service.flapping.is_some() || is_unwell && !format::is_degraded(service) {
        return Tone::Bad;
    }
    match service.state.known() {
        Some(ServiceState::Failed | ServiceState::Refused | ServiceState::Unknown) => Tone::Bad,
        Some(ServiceState::Up) if service.ready != Some(false) && !service.paused && !is_unwell => Tone::Good,
        Some(ServiceState::Down) if service.want == Want::Up => Tone::Bad,
        Some(ServiceState::Down | ServiceState::Done | ServiceState::Skipped) => Tone::Quiet,
        Some(
            ServiceState::Backoff
            | ServiceState::Waiting
            | ServiceState::Setup
            | ServiceState::Starting
            | ServiceState::Up
            | ServiceState::Stopping
            | ServiceState::Finishing,
        )
        | None => Tone::Busy,
    }
}

fn last(service: &ServiceStatus, tone: Tone) -> Cell {
    let mut parts = Vec::new();
    match (&service.exit, &service.trouble) {
        (_, Some(trouble)) if format::is_troubled(service) => {
            let end = ["; trying again", ": not started again until told"];
            parts.push(end.iter().fold(trouble.as_str(), |text, end| text.trim_end_matches(end)).to_owned());
        }
        (Some(exit), _) => parts.push(format::exit(exit)),
        (None, _) => {}
    }
    match service.state.known() {
        Some(ServiceState::Waiting) => parts.insert(0, format::waiting(service)),
        Some(ServiceState::Skipped) => parts.insert(0, format::skipped(service)),
        Some(_) | None => {}
    }
    if let Some(seconds) = service.next {
        parts.insert(parts.len().min(1), format!("again in {}", format::ahead(seconds)));
    }
    if let Some(times) = service.flapping {
        parts.push(format!("flapping {times}/min"));
    }
    if let Some(unwell) = service.health.as_ref().filter(|_| format::unwell(service).is_some()) {
        parts.push(unwell.to_string());
    }
    match parts.is_empty() {
        true => Cell(Tone::Quiet, "-".into()),
        false if tone == Tone::Bad => Cell(Tone::Bad, parts.join(", ")),
        false => parts.join(", ").into(),
    }
}

/// Where the beginning of a table has left the screen, its trouble is named once more.
fn summary(services: &[ServiceStatus], lines: usize) -> Option<String> {
    let (columns, _) = screen::size().filter(|(_, rows)| lines >= *rows)?;
    let names: Vec<&str> =
        services.iter().filter(|one| format::amiss(one).is_some()).map(|one| one.name.as_str()).collect();
    let line = match names.len() {
        0 => format!("{} services, all as wanted", services.len()),
        amiss => format!("{} services, {amiss} not as wanted: {}", services.len(), names.join(" ")),
    };
    Some(term::cut(&line, columns))
}

/// Which of them were changed since their start.
fn changed_lines(talk: &Connection, services: &[ServiceStatus]) -> Option<String> {
    let is_changed =
        |service: &&ServiceStatus| !changed::since_start(service, &talk.place(&talk.target(&service.name))).is_empty();
    let names: Vec<&str> = services.iter().filter(is_changed).map(|service| service.name.as_str()).collect();
    let line = format!("(changed since their start: {}; \"onit rescan --dry-run\" tells what)", names.join(" "));
    (!names.is_empty()).then(|| term::cut(&line, usize::MAX))
}

/// Without what changes by itself: what is left says that something has happened.
fn steady(services: &[ServiceStatus]) -> Vec<ServiceStatus> {
    let still =
        |service: &ServiceStatus| ServiceStatus { seconds: 0.0, next: None, health_asked: None, ..service.clone() };
    services.iter().map(still).collect()
}

/// As many lines as fit. Where not all do, those in trouble come first, and the others are counted.
fn fitting(services: &[ServiceStatus], rows: usize, paint: Paint, columns: usize) -> Vec<String> {
    let shown = |services: &[ServiceStatus]| table(services).lines(paint, Some(columns));
    if services.len() < rows {
        return shown(services);
    }
    let (mut sorted, well): (Vec<_>, Vec<_>) =
        services.iter().cloned().partition(|service| format::amiss(service).is_some());
    sorted.extend(well);
    let rest = sorted.split_off(rows.saturating_sub(2).min(sorted.len()));
    let amiss = rest.iter().filter(|service| format::amiss(service).is_some()).count();
    let mut lines = shown(&sorted);
    lines.push(match amiss {
        0 => format!("and {} more, all as wanted", rest.len()),
        _ => format!("and {} more, {amiss} of them not as wanted", rest.len()),
    });
    lines
}

/// Whether the supervisor is still there.
fn wait_for_change(talk: &mut Connection, ticking: bool) -> bool {
    let Some(api) = &mut talk.api else { return poll::pause(SECOND).is_ok() };
    let second = if ticking { Deadline::after(SECOND) } else { Deadline::NEVER };
    match api.event(second) {
        Ok(None) => true,
        Ok(Some(_)) => drain(api, Deadline::after(TOGETHER)),
        Err(_) => false,
    }
}

fn drain(api: &mut Api, until: Deadline) -> bool {
    loop {
        match api.event(until) {
            Ok(Some(_)) if !until.has_passed() => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::ExitRecord;

    fn service(name: &str) -> ServiceStatus {
        ServiceStatus {
            pid: Some(3449),
            since: 1.0,
            seconds: 12.0,
            ready: Some(true),
            restarts: Some(0),
            ..ServiceStatus::new(name, ServiceState::Up, Want::Up)
        }
    }

    fn crashed(name: &str) -> ServiceStatus {
        let exit = Some(ExitRecord { code: Some(1), signal: None, name: None, core: false });
        let (state, restarts) = (ServiceState::Backoff.into(), Some(14));
        ServiceStatus { state, pid: None, exit, next: Some(3.2), restarts, flapping: Some(8), ..service(name) }
    }

    #[test]
    fn a_table_of_services_says_each_thing_in_its_column() {
        let mut down = service("cron");
        (down.state, down.want, down.pid, down.seconds) = (ServiceState::Down.into(), Want::Down.into(), None, 7620.0);
        let refused = ServiceStatus {
            state: ServiceState::Refused.into(),
            pid: None,
            trouble: Some("it is locked".into()),
            ..service("x")
        };
        let lines = table(&[service("clock"), crashed("api"), down, refused]).lines(Colour::Never.paint(), None);
        assert_eq!(
            lines,
            [
                "NAME   STATE     PID    FOR  RESTARTS  LAST EXIT / NEXT",
                "clock  up       3449    12s         0  -",
                "api    backoff     -    12s        14  exit 1, again in 4s, flapping 8/min",
                "cron   down        -  2h07m         0  -",
                "x      refused     -      -         0  it is locked",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_counted_and_trouble_comes_first() {
        let mut services: Vec<_> = (0..60).map(|n| service(&format!("s{n}"))).collect();
        services.push(crashed("zzz"));
        let lines = fitting(&services, 10, Colour::Never.paint(), 80);
        assert_eq!(lines.len(), 10);
        assert!(lines[1].starts_with("zzz "), "{}", lines[1]);
        assert_eq!(lines[9], "and 53 more, all as wanted");
        assert_eq!(fitting(&services, 62, Colour::Never.paint(), 80).len(), 62);
    }
}
