//! `onit events`: what happens, as it happens; and a program for each event.

use super::connect::{CliError, Connection};
use super::{format, term};
use crate::client::Deadline;
use crate::exit;
use crate::machine::Want;
use crate::sys::say::say;
use crate::wire::api::{Event, EventKind, Word};
use crate::wire::event::variables;
use crate::wire::json;
use crate::wire::select::{matches, pattern};
use argh::{ArgsInfo, FromArgs};
use std::process::{Command, Stdio};

/// Tells every transition of every service, or of those that are named, until it is ended. It goes on when the
/// supervisor executes itself again, and ends when the supervisor has ended.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Events {
    /// names and globs
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// for programs: an object a line
    #[argh(switch)]
    json: bool,
    /// run PROGRAM for each event, one after the other, with ONIT_EVENT, ONIT_SERVICE, ONIT_OLD, ONIT_NEW, ONIT_WANT,
    /// ONIT_PID, ONIT_EXIT, ONIT_SIGNAL and ONIT_TIME in its environment, in place of telling it
    #[argh(option, arg_name = "PROGRAM")]
    exec: Option<String>,
}

impl Events {
    /// Tells, until there is nothing more to come. Returns the exit code.
    pub fn run(&self) -> i32 {
        if self.services.iter().any(String::is_empty) {
            return CliError::empty().report();
        }
        let mut talk = Connection::open();
        let mut stopping = false;
        if let Err(trouble) = listen(&mut talk) {
            return trouble.report();
        }
        loop {
            loop {
                match talk.api.as_mut().map(|api| api.event(Deadline::NEVER)) {
                    Some(Ok(Some(event))) => {
                        stopping |= event.what == EventKind::Stopping;
                        if self.concerns(&event)
                            && let Err(code) = self.print(&event)
                        {
                            return code;
                        }
                    }
                    Some(Ok(None)) => {}
                    Some(Err(_)) | None => break,
                }
            }
            talk = match talk.again(None) {
                Ok(talk) => talk,
                Err(_) if stopping => return exit::OK,
                Err(trouble) => return trouble.report(),
            };
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        let Some(name) = &event.name else { return true };
        self.services.is_empty()
            || self.services.iter().any(|word| word == "all" || word == name || matches(&pattern(word), name))
    }

    /// An error is the exit code to end with: 0 if there is no reader any more.
    fn print(&self, event: &Event) -> Result<(), i32> {
        if let Some(program) = &self.exec {
            execute(program, event);
            return Ok(());
        }
        if self.json {
            return term::report(&format!("{}\n", json::text(event)));
        }
        term::report(&format!("{}\n", line(event)))
    }
}

fn listen(talk: &mut Connection) -> Result<(), CliError> {
    talk.api()?;
    talk.insist(None, Connection::subscribe)
}

/// An event for people: `2026-11-24 08:09:10 web: up -> backoff, exit 1`.
fn line(event: &Event) -> String {
    let time = format::moment(event.time);
    let Some(name) = &event.name else { return format!("{time} {}", event.what) };
    let mut text = format!("{time} {}: ", term::cut(name, usize::MAX));
    match (&event.old, &event.new) {
        (Some(old), Some(new)) if old != new => text += &format!("{old} -> {new}"),
        (_, Some(new)) if event.what == EventKind::State => text += new.as_str(),
        _ if event.what == EventKind::Health => {
            text += "health ";
            text += event.health.as_ref().map_or("not known", Word::as_str);
        }
        _ => text += event.what.as_str(),
    }
    if let Some(want) = &event.want
        && *want != Want::Up
        && Some(want.as_str()) != event.new.as_ref().map(Word::as_str)
    {
        text += &format!(", want {want}");
    }
    if let Some(pid) = event.pid {
        text += &format!(", pid {pid}");
    }
    if let Some(exit) = &event.exit {
        text += &format!(", {}", format::exit(exit));
    }
    text
}

/// That a program fails is not told; that one cannot be run is told, each time.
fn execute(program: &str, event: &Event) {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for (name, value) in variables(event) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Err(error) = command.status() {
        say(format_args!("onit: events: cannot run {program}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ServiceState;
    use crate::machine::probe::Health;
    use crate::wire::api::ExitRecord;

    fn event() -> Event {
        Event {
            what: EventKind::State.into(),
            time: 1_700_000_000.5,
            name: Some("web".into()),
            old: Some(ServiceState::Up.into()),
            new: Some(ServiceState::Backoff.into()),
            want: Some(Want::Up.into()),
            pid: None,
            exit: Some(ExitRecord { code: None, signal: Some(9), name: Some("SIGKILL".into()), core: false }),
            health: None,
        }
    }

    fn events(services: &[&str]) -> Events {
        Events { services: services.iter().map(|name| name.to_string()).collect(), json: false, exec: None }
    }

    #[test]
    fn an_event_is_a_line() {
        let tail = |event: &Event| line(event).chars().skip(20).collect::<String>();
        assert_eq!(tail(&event()), "web: up -> backoff, SIGKILL");
        let up = Event {
            old: Some(ServiceState::Down.into()),
            new: Some(ServiceState::Up.into()),
            pid: Some(7),
            exit: None,
            ..event()
        };
        assert_eq!(tail(&up), "web: down -> up, pid 7");
        let down =
            Event { new: Some(ServiceState::Stopping.into()), want: Some(Want::Down.into()), exit: None, ..event() };
        assert_eq!(tail(&down), "web: up -> stopping, want down");
        let added = Event { what: EventKind::Added.into(), old: None, new: None, want: None, exit: None, ..event() };
        assert_eq!(tail(&added), "web: added");
        let unwell = Event {
            what: EventKind::Health.into(),
            old: None,
            new: Some(ServiceState::Up.into()),
            health: Some(Health::Degraded.into()),
            exit: None,
            ..event()
        };
        assert_eq!(tail(&unwell), "web: health degraded");
        assert_eq!(tail(&Event { health: None, ..unwell }), "web: health not known");
        assert_eq!(tail(&Event { what: EventKind::Stopping.into(), name: None, ..added }), "stopping");
    }

    #[test]
    fn one_hears_of_those_one_asked_for() {
        let is_told = |words: &[&str]| events(words).concerns(&event());
        assert!(is_told(&[]) && is_told(&["web"]) && is_told(&["x", "w*"]) && is_told(&["all"]));
        assert!(!is_told(&["x"]) && !is_told(&["web/*"]));
        assert!(events(&["x"]).concerns(&Event { name: None, ..event() }), "an end of everything concerns everybody");
    }

    #[test]
    fn a_program_hears_what_is_known_and_nothing_else() {
        let facts = variables(&event());
        let of = |name| facts.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.as_deref());
        assert_eq!((of("ONIT_SERVICE"), of("ONIT_SIGNAL"), of("ONIT_EXIT")), (Some("web"), Some("9"), None));
        assert_eq!((of("ONIT_TIME"), of("ONIT_PID")), (Some("1700000000.500"), None));
    }
}
