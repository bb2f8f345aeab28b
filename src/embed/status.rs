//! How a process is.

use crate::client::ServiceState;
use crate::client::api::{ExitRecord, ServiceStatus};
use crate::machine::probe::Health;
use crate::machine::words;
use std::time::{Duration, SystemTime};

/// Where a process stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ProcessState {
    /// It starts when those are ready that it depends on.
    Waiting,
    /// It runs, and is not ready yet.
    Starting,
    /// It runs, is ready, and its check has nothing against it.
    Healthy,
    /// It runs, and its check has failed as often as its policy says.
    Unhealthy,
    /// It has ended, and is about to be started again.
    Restarting,
    /// It was told to stop, and has not ended yet.
    Stopping,
    /// It does not run, and was told so.
    Stopped,
    /// It has done its work, and is not to be started again.
    Done,
    /// It has failed, and is not to be started again.
    Failed,
    /// The supervisor says something that is not known here.
    Unknown,
}

words!(
    ProcessState,
    "state of a process",
    Waiting = "waiting",
    Starting = "starting",
    Healthy = "healthy",
    Unhealthy = "unhealthy",
    Restarting = "restarting",
    Stopping = "stopping",
    Stopped = "stopped",
    Done = "done",
    Failed = "failed",
    Unknown = "unknown",
);

impl ProcessState {
    fn of(state: ServiceState, health: Option<Health>) -> ProcessState {
        match state {
            ServiceState::Up if health == Some(Health::Unhealthy) => ProcessState::Unhealthy,
            ServiceState::Up => ProcessState::Healthy,
            ServiceState::Setup | ServiceState::Starting => ProcessState::Starting,
            ServiceState::Waiting => ProcessState::Waiting,
            ServiceState::Backoff | ServiceState::Finishing => ProcessState::Restarting,
            ServiceState::Stopping => ProcessState::Stopping,
            ServiceState::Down | ServiceState::Skipped => ProcessState::Stopped,
            ServiceState::Done => ProcessState::Done,
            ServiceState::Failed => ProcessState::Failed,
            ServiceState::Refused | ServiceState::Unknown => ProcessState::Unknown,
        }
    }
}

/// What is known of a process, at one instant.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: ProcessState,
    /// Its process id, if it runs.
    pub pid: Option<i32>,
    /// When it was started, if it runs.
    pub started_at: Option<SystemTime>,
    /// How often it was started again.
    pub retries: u64,
    /// The pause that it is in before it is started again, as a whole.
    pub backoff: Option<Duration>,
    /// How the last one ended.
    pub exit: Option<ExitRecord>,
    /// Why it does not run, or what the supervisor last had to complain of.
    pub reason: Option<String>,
}

impl ProcessStatus {
    pub(super) fn of(service: ServiceStatus) -> ProcessStatus {
        let state = service.state.known().unwrap_or(ServiceState::Unknown);
        let health = service.health.as_ref().and_then(|health| health.known());
        let span = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        ProcessStatus {
            state: ProcessState::of(state, health),
            pid: service.pid,
            started_at: service.pid.map(|_| SystemTime::UNIX_EPOCH + span(service.since)),
            retries: service.restarts.unwrap_or_default(),
            backoff: service.next.filter(|_| state == ServiceState::Backoff).map(|next| span(next + service.seconds)),
            exit: service.exit,
            reason: service.reason.or(service.trouble),
            name: service.name,
        }
    }

    /// For how long it has run.
    pub fn uptime(&self) -> Duration {
        self.started_at.and_then(|start| start.elapsed().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Want;

    #[test]
    fn a_state_says_how_it_is_for_who_has_it() {
        let of = |state, health| ProcessState::of(state, health);
        assert_eq!(of(ServiceState::Up, None), ProcessState::Healthy);
        assert_eq!(of(ServiceState::Up, Some(Health::Degraded)), ProcessState::Healthy);
        assert_eq!(of(ServiceState::Up, Some(Health::Unhealthy)), ProcessState::Unhealthy);
        assert_eq!(of(ServiceState::Backoff, Some(Health::Unhealthy)), ProcessState::Restarting);
    }

    #[test]
    fn the_pause_is_what_has_passed_of_it_and_what_is_to_come() {
        let mut service = ServiceStatus::new("x", ServiceState::Backoff, Want::Up);
        (service.seconds, service.next, service.restarts) = (3.0, Some(5.0), Some(2));
        let status = ProcessStatus::of(service.clone());
        assert_eq!((status.backoff, status.retries), (Some(Duration::from_secs(8)), 2));
        assert_eq!((status.started_at, status.uptime()), (None, Duration::ZERO));
        service.state = ServiceState::Up.into();
        (service.pid, service.since) = (Some(7), 1000.0);
        let status = ProcessStatus::of(service);
        assert_eq!((status.backoff, status.started_at.map(|at| at > SystemTime::UNIX_EPOCH)), (None, Some(true)));
    }
}
