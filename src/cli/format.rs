//! Words for what is known: how long, when, how it ended, and what is to be made of it.

use crate::machine::probe::Health;
use crate::machine::{ServiceState, Signal, Want};
use crate::sys::clock;
use crate::wire::api::{ExitRecord, ServiceStatus};
pub use crate::wire::phrase::{exit, span};
use std::time::Duration;

/// The exit code of what could not be executed.
const NOT_RUN: u8 = 111;

/// A span that is yet to pass is never rounded to nothing.
pub fn ahead(seconds: f64) -> String {
    span(seconds.ceil())
}

/// A moment, `2026-11-24 08:09:10`, in the time zone of this process.
pub fn moment(unix: f64) -> String {
    clock::local(unix.floor() as i64).map_or_else(|| format!("{unix:.0}"), |at| at.to_string())
}

/// How a process ended, as a sentence would have it: `ended with 3`, `was killed by SIGKILL`.
pub fn ended(record: &ExitRecord) -> String {
    match record.code {
        Some(code) => format!("ended with {code}"),
        None => format!("was killed by {}", exit(record)),
    }
}

/// What may be behind such an end, if it was not asked for.
pub fn hint(record: &ExitRecord) -> Option<String> {
    match (record.code, record.signal.map(Signal)) {
        (Some(126), _) => Some("a command was found, and could not be executed?".into()),
        (Some(127), _) => Some("a command was not found?".into()),
        (Some(code), _) if (129..=128 + 64).contains(&code) => {
            let name = Signal(i32::from(code) - 128).name()?;
            Some(format!("what a shell says when {name} has ended a command"))
        }
        (None, Some(Signal::KILL)) => Some("out of memory?".into()),
        (None, Some(Signal(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL))) => Some("a mistake of the program".into()),
        (None, Some(Signal(libc::SIGSYS))) => Some("a system call that is not allowed".into()),
        (None, Some(Signal(libc::SIGXCPU | libc::SIGXFSZ))) => Some("a limit was reached".into()),
        _ => None,
    }
}

/// One word for where a service stands.
pub fn state(service: &ServiceStatus) -> &str {
    let up = service.state == ServiceState::Up;
    if up && service.paused {
        "paused"
    } else if up && service.ready == Some(false) {
        ServiceState::Starting.word()
    } else {
        service.state.as_str()
    }
}

/// The same; and where only its `check` knows whether it is ready, that it was not checked.
pub fn described_state(service: &ServiceStatus) -> String {
    let state = state(service);
    if state == ServiceState::Up.word() && service.ready.is_none() {
        format!("{state}, not checked")
    } else {
        state.to_owned()
    }
}

/// How often it was started again.
pub fn restarts(service: &ServiceStatus) -> String {
    service.restarts.map_or_else(|| "-".into(), |times| times.to_string())
}

/// Why this service is not as it is wanted, in one phrase; `None` if it is, or if it is not wanted.
pub fn amiss(service: &ServiceStatus) -> Option<String> {
    let because = |words: String| match cause(service) {
        Some(cause) => format!("{words}: {cause}"),
        None => words,
    };
    if service.state == ServiceState::Refused {
        return Some(because("not supervised".into()));
    }
    if service.state == ServiceState::Skipped {
        return None;
    }
    if service.state == ServiceState::Failed || service.state == ServiceState::Unknown {
        return Some(because(service.state.to_string()));
    }
    if service.want == Want::Down || service.leaving || (service.want == Want::Once && service.pid.is_none()) {
        return None;
    }
    if let Some(times) = service.flapping {
        return Some(because(format!("flapping, {times} ends within a minute")));
    }
    let short = |what: &str| Some(format!("{what} for {}", span(service.seconds)));
    match service.state.known() {
        Some(ServiceState::Up) if service.paused => short("paused"),
        Some(ServiceState::Up) if service.ready == Some(false) => short("not ready"),
        Some(ServiceState::Up) => unwell(service).filter(|_| !is_degraded(service)),
        Some(ServiceState::Backoff) => Some(because("down, to be started again".into())),
        Some(ServiceState::Down) => Some(because("down".into())),
        Some(ServiceState::Waiting) if service.ready == Some(true) => None, // it starts when somebody calls it
        Some(ServiceState::Waiting) => Some(waiting(service)),
        Some(
            ServiceState::Setup
            | ServiceState::Starting
            | ServiceState::Stopping
            | ServiceState::Finishing
            | ServiceState::Done
            | ServiceState::Failed
            | ServiceState::Skipped
            | ServiceState::Refused
            | ServiceState::Unknown,
        )
        | None => Some(format!("{}{}", service.state, process(service))),
    }
}

/// What its `health` has against it.
pub fn unwell(service: &ServiceStatus) -> Option<String> {
    let health = service.health.as_ref().filter(|health| **health != Health::Healthy)?;
    Some(match service.health_failures.unwrap_or_default() {
        _ if is_degraded(service) => "degraded: ./health says so".into(),
        1 => format!("{health}: ./health has failed"),
        times => format!("{health}: ./health has failed {times} times in a row"),
    })
}

/// Whether it works, and not as it should.
pub fn is_degraded(service: &ServiceStatus) -> bool {
    service.health.as_ref().is_some_and(|health| *health == Health::Degraded)
}

/// What it waits for.
pub fn waiting(service: &ServiceStatus) -> String {
    service.reason.as_ref().map_or("waiting".into(), |reason| format!("waiting for {reason}"))
}

/// Why it was skipped.
pub fn skipped(service: &ServiceStatus) -> String {
    service.reason.as_ref().map_or("skipped".into(), |reason| format!("skipped: {reason}"))
}

/// Its process, behind something else.
pub fn process(service: &ServiceStatus) -> String {
    service.pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
}

/// Why it does not run: how it ended, or what kept it from starting.
fn cause(service: &ServiceStatus) -> Option<String> {
    match &service.exit {
        Some(exit) if !is_troubled(service) => Some(format!("it {}", ended(exit))),
        _ => service.trouble.clone(),
    }
}

/// Whether the trouble that was told last says more than the way it ended.
pub fn is_troubled(service: &ServiceStatus) -> bool {
    let could_not_run = service.exit.as_ref().is_none_or(|exit| exit.code == Some(NOT_RUN));
    let has_failed = service.state.known() == Some(ServiceState::Failed);
    let waits = service.state.known() == Some(ServiceState::Waiting);
    service.trouble.is_some() && !waits && service.pid.is_none() && (could_not_run || has_failed)
}

/// Reads how long to wait: seconds with decimals, or `500ms`, `10s`, `5m`, `1h`.
pub fn patience(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no time: seconds, or 500ms, 10s, 5m, 1h");
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text, 1.0));
    let seconds: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds * unit).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Exit;
    use crate::wire::api::Word;

    /// A service that is up and well.
    pub fn well() -> ServiceStatus {
        ServiceStatus {
            pid: Some(7),
            since: 1.0,
            seconds: 75.0,
            ready: Some(true),
            ..ServiceStatus::new("web", ServiceState::Up, Want::Up)
        }
    }

    fn end(exit: Exit) -> ExitRecord {
        ExitRecord::of(exit)
    }

    #[test]
    fn spans_have_two_units() {
        let spans = [0.0, 59.9, 60.0, 185.0, 3600.0, 7620.0, 86399.0, 86400.0, 352_800.0, -3.0].map(span);
        assert_eq!(spans, ["0s", "59s", "1m00s", "3m05s", "1h00m", "2h07m", "23h59m", "1d00h", "4d02h", "0s"]);
        assert_eq!([ahead(0.2), ahead(3.0), ahead(59.5)], ["1s", "3s", "1m00s"]);
    }

    #[test]
    fn ends_are_told_as_people_know_them() {
        assert_eq!(exit(&end(Exit::Code(3))), "exit 3");
        assert_eq!(exit(&end(Exit::Signal { signal: Signal::KILL, core: false })), "SIGKILL");
        assert_eq!(exit(&end(Exit::Signal { signal: Signal(11), core: true })), "SIGSEGV (core)");
        assert_eq!(exit(&end(Exit::Signal { signal: Signal(40), core: false })), "signal 40");
        assert_eq!(ended(&end(Exit::Code(0))), "ended with 0");
        assert_eq!(hint(&end(Exit::Code(1))), None);
        assert_eq!(hint(&end(Exit::Signal { signal: Signal::TERM, core: false })), None);
        assert!(hint(&end(Exit::Code(137))).is_some_and(|hint| hint.contains("SIGKILL")));
        assert!(
            hint(&end(Exit::Signal { signal: Signal::KILL, core: false })).is_some_and(|hint| hint.contains("memory"))
        );
    }

    #[test]
    fn what_is_wanted_down_or_has_run_once_is_not_amiss() {
        let is_fine = |change: fn(&mut ServiceStatus)| {
            let mut service = well();
            change(&mut service);
            amiss(&service).is_none()
        };
        assert!(is_fine(|_| {}));
        assert!(is_fine(|s| (s.state, s.want, s.pid) = (ServiceState::Down.into(), Want::Down.into(), None)));
        assert!(is_fine(|s| (s.state, s.want, s.pid) = (ServiceState::Down.into(), Want::Once.into(), None)));
        assert!(is_fine(|s| s.want = Want::Once.into()));
        assert!(is_fine(|s| (s.state, s.want, s.pid) = (ServiceState::Done.into(), Want::Down.into(), None)));
        assert!(!is_fine(|s| (s.state, s.want, s.pid) = (ServiceState::Unknown.into(), Want::Down.into(), None)));
        assert!(is_fine(|s| (s.state, s.want) = (ServiceState::Stopping.into(), Want::Down.into())));
        assert!(is_fine(|s| (s.flapping, s.want) = (Some(9), Want::Down.into())));
        assert!(!is_fine(|s| s.flapping = Some(9)));
        assert!(!is_fine(|s| s.ready = Some(false)));
        assert!(is_fine(|s| s.health = Some(Health::Healthy.into())));
        assert!(is_fine(|s| s.health = Some(Health::Degraded.into())), "it works");
        assert!(!is_fine(|s| s.health = Some(Health::Unhealthy.into())));
        assert!(!is_fine(|s| s.health = Some(Word::Other("dead".into()))), "whatever that is, it is not well");
        assert!(is_fine(|s| s.ready = None), "that only its check knows is for who runs it");
        assert!(!is_fine(|s| s.paused = true));
        assert!(!is_fine(|s| (s.state, s.pid) = (ServiceState::Down.into(), None)));
        assert!(!is_fine(|s| (s.state, s.pid) = (ServiceState::Backoff.into(), None)));
        assert!(!is_fine(|s| s.state = ServiceState::Finishing.into()));
        assert!(!is_fine(|s| s.state = ServiceState::Starting.into()));
        assert!(!is_fine(|s| (s.state, s.pid) = (ServiceState::Failed.into(), None)));
        assert!(!is_fine(|s| (s.state, s.want, s.pid) = (ServiceState::Failed.into(), Want::Down.into(), None)));
        assert!(!is_fine(|s| (s.state, s.want, s.pid) = (ServiceState::Refused.into(), Want::Down.into(), None)));
        assert!(!is_fine(|s| s.state = Word::Other("frozen".into())), "whatever that is, it is not up");
        assert!(is_fine(|s| (s.state, s.want) = (Word::Other("frozen".into()), Want::Down.into())));
    }

    #[test]
    fn what_health_says_is_said_unless_all_is_well() {
        let told = |health: Option<Health>, failures| {
            let (health, health_failures) = (health.map(Into::into), Some(failures));
            unwell(&ServiceStatus { health, health_failures, ..well() })
        };
        assert_eq!([told(None, 2), told(Some(Health::Healthy), 2)], [None, None]);
        assert_eq!(told(Some(Health::Degraded), 1).as_deref(), Some("degraded: ./health says so"));
        assert_eq!(told(Some(Health::Unhealthy), 1).as_deref(), Some("unhealthy: ./health has failed"));
        let often = "unhealthy: ./health has failed 3 times in a row";
        assert_eq!(told(Some(Health::Unhealthy), 3).as_deref(), Some(often));
    }

    #[test]
    fn what_nobody_has_checked_is_not_said_to_be_ready() {
        let told = |ready| described_state(&ServiceStatus { ready, ..well() });
        assert_eq!([Some(true), None, Some(false)].map(told), ["up", "up, not checked", "starting"]);
        assert_eq!(described_state(&ServiceStatus { ready: None, paused: true, ..well() }), "paused");
        assert_eq!(described_state(&ServiceStatus { ready: None, state: ServiceState::Down.into(), ..well() }), "down");
    }

    #[test]
    fn times_are_read_in_every_way_people_write_them() {
        let read = |text| patience(text).map(|span| span.as_millis());
        assert_eq!(
            [read("7"), read("0.5"), read("500ms"), read("1m"), read("0")].map(Result::unwrap),
            [7000, 500, 500, 60000, 0]
        );
        assert!(["", "x", "-1", "1d", "nan", "inf", "1e300"].iter().all(|text| read(text).is_err()));
    }
}
