//! How long services are supervised, if not until an order comes (`onit run --until`).

use super::history::End;
use super::{ServiceState, words};

/// Until when.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Until {
    /// Nothing is left to run: every service is done, has failed, or is down.
    Done,
    /// A service has ended.
    Any,
    /// Every service that is wanted is ready, or has done its work.
    Ready,
}

words!(Until, "end of everything: name one of done, any, ready", Done = "done", Any = "any", Ready = "ready");

/// How it stands with one service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its state.
    pub state: ServiceState,
    /// How it ended the last time.
    pub last_end: Option<End>,
}

impl Standing {
    /// The exit code of its last end, or 128 and the signal. 0 if it was told to end, or did not fail.
    fn code(&self) -> i32 {
        let end = self.last_end.filter(|end| !(end.asked || end.is_success));
        end.map_or(0, |end| end.exit.shell_code().into())
    }

    fn is_at_rest(&self) -> bool {
        match self.state {
            ServiceState::Down | ServiceState::Done | ServiceState::Failed | ServiceState::Skipped => true,
            ServiceState::Backoff
            | ServiceState::Waiting
            | ServiceState::Setup
            | ServiceState::Starting
            | ServiceState::Up
            | ServiceState::Stopping
            | ServiceState::Finishing
            | ServiceState::Refused
            | ServiceState::Unknown => false,
        }
    }
}

impl Until {
    /// The exit code, if that is so now. A service that has failed never becomes ready; its code is at least 1.
    pub fn code(self, services: impl Iterator<Item = Standing> + Clone) -> Option<i32> {
        let worst = || services.clone().map(|service| service.code()).max().unwrap_or(0);
        match self {
            Until::Done => {
                let waits = |service: &Standing| service.state == ServiceState::Waiting;
                let is_over = services.clone().all(|service| service.is_at_rest() || waits(&service));
                let least = i32::from(services.clone().any(|service| waits(&service))); // it waits in vain
                is_over.then(|| worst().max(least))
            }
            Until::Any => None, // an end says so, with its own code
            Until::Ready => {
                let failed = |service: &Standing| service.state == ServiceState::Failed;
                if services.clone().any(|service| failed(&service)) {
                    return Some(worst().max(1));
                }
                let is_ready = |service: Standing| service.state == ServiceState::Up || service.is_at_rest();
                services.clone().all(is_ready).then_some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Exit, Mono, Signal};

    fn service(state: ServiceState, exit: Option<Exit>) -> Standing {
        let end = |exit: Exit| End { at: Mono(1), exit, asked: false, is_success: exit.is_success(), over: None };
        Standing { state, last_end: exit.map(end) }
    }

    fn code(until: Until, services: &[Standing]) -> Option<i32> {
        until.code(services.iter().copied())
    }

    const THREE: Option<Exit> = Some(Exit::Code(3));
    const KILLED: Option<Exit> = Some(Exit::Signal { signal: Signal::KILL, core: false });

    #[test]
    fn it_is_done_when_nothing_is_left_to_run_and_the_worst_code_counts() {
        let done = service(ServiceState::Done, Some(Exit::Code(0)));
        let (failed, killed) = (service(ServiceState::Failed, THREE), service(ServiceState::Failed, KILLED));
        assert_eq!(code(Until::Done, &[]), Some(0));
        assert_eq!(code(Until::Done, &[done, service(ServiceState::Down, None)]), Some(0));
        assert_eq!(code(Until::Done, &[done, failed, killed]), Some(137));
        for state in [ServiceState::Up, ServiceState::Backoff, ServiceState::Setup, ServiceState::Stopping] {
            assert_eq!(code(Until::Done, &[done, service(state, THREE)]), None, "{state}");
        }
        let waiting = service(ServiceState::Waiting, None);
        assert_eq!(code(Until::Done, &[done, waiting]), Some(1), "for what never comes");
        assert_eq!(code(Until::Done, &[failed, waiting]), Some(3));
        assert_eq!(code(Until::Done, &[service(ServiceState::Starting, None), waiting]), None);
        let told = |end: End| End { asked: true, ..end };
        assert_eq!(code(Until::Done, &[Standing { last_end: failed.last_end.map(told), ..failed }]), Some(0));
    }

    #[test]
    fn it_is_ready_when_all_are_or_have_done_their_work_and_a_failure_is_the_end() {
        let (up, starting) = (service(ServiceState::Up, None), service(ServiceState::Starting, None));
        let done = service(ServiceState::Done, Some(Exit::Code(0)));
        assert_eq!(code(Until::Ready, &[up, done, service(ServiceState::Down, None)]), Some(0));
        assert_eq!(code(Until::Ready, &[up, starting]), None);
        assert_eq!(code(Until::Ready, &[starting, service(ServiceState::Failed, THREE)]), Some(3));
        assert_eq!(code(Until::Ready, &[service(ServiceState::Failed, Some(Exit::Code(0)))]), Some(1));
    }

    #[test]
    fn that_one_has_ended_is_said_by_its_end() {
        assert_eq!(code(Until::Any, &[service(ServiceState::Backoff, THREE)]), None);
    }
}
