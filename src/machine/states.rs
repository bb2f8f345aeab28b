//! How a service gets from one state to another: the diagram of `onit states`.
//!
//! The tests explore the machine of a service and compare what they meet with this table, in both directions.

use super::ServiceState::{self, *};
use super::words;

/// What leads from one state to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// An order.
    Order,
    /// The process of the state has ended, or its program could not be executed.
    End,
    /// It is ready.
    Ready,
    /// Its time has come, or another service is ready or has ended.
    Time,
    /// It says so itself, by a notification, or its `health` does.
    Says,
}

words!(Cause, "cause of a change", Order = "order", End = "end", Ready = "ready", Time = "time", Says = "says");

/// From this state, for this cause, one of these follows, if it does not stay as it is.
#[rustfmt::skip]
const CHANGES: &[(ServiceState, Cause, &[ServiceState])] = &[
    (Down, Cause::Order, &[Waiting, Backoff, Setup, Starting, Up, Finishing, Done, Failed, Skipped]),
    (Down, Cause::Time, &[Waiting, Setup, Starting, Up, Finishing, Skipped]),
    (Waiting, Cause::Order, &[Down, Done, Failed]),
    (Waiting, Cause::Time, &[Down, Backoff, Setup, Starting, Up, Finishing, Skipped]),
    (Backoff, Cause::Order, &[Down, Waiting, Setup, Starting, Up, Finishing, Done, Failed, Skipped]),
    (Backoff, Cause::Time, &[Waiting, Setup, Starting, Up, Finishing, Skipped]),
    (Setup, Cause::Order, &[Stopping]),
    (Setup, Cause::End, &[Down, Waiting, Backoff, Starting, Up, Finishing, Done, Failed, Skipped]),
    (Starting, Cause::Order, &[Stopping]),
    (Starting, Cause::End, &[Down, Waiting, Backoff, Finishing, Done, Failed, Skipped]),
    (Starting, Cause::Ready, &[Up]),
    (Starting, Cause::Time, &[Stopping]),
    (Starting, Cause::Says, &[Stopping]),
    (Up, Cause::Order, &[Stopping]),
    (Up, Cause::Time, &[Stopping]),
    (Up, Cause::Says, &[Stopping]),
    (Up, Cause::End, &[Down, Waiting, Backoff, Starting, Finishing, Done, Failed, Skipped]),
    (Stopping, Cause::End, &[Down, Waiting, Backoff, Setup, Starting, Finishing, Done, Failed, Skipped]),
    (Finishing, Cause::End, &[Down, Waiting, Backoff, Done, Failed, Skipped]),
    (Done, Cause::Order, &[Down, Waiting, Setup, Starting, Up, Skipped]),
    (Failed, Cause::Order, &[Waiting, Setup, Starting, Up, Skipped]),
    (Skipped, Cause::Order, &[Down, Waiting, Backoff, Setup, Starting, Up, Finishing, Done, Failed]),
];

/// Each change that there is.
pub fn changes() -> impl Iterator<Item = (ServiceState, Cause, ServiceState)> {
    CHANGES.iter().flat_map(|(from, cause, to)| to.iter().map(|to| (*from, *cause, *to)))
}

/// What the states of a group have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Group {
    /// Nothing runs, and nothing is about to.
    Rest,
    /// Nothing runs yet.
    Soon,
    /// `setup` or `run` runs.
    Runs,
    /// What runs is about to end.
    Ends,
}

words!(Group, "group of states", Rest = "rest", Soon = "soon", Runs = "runs", Ends = "ends");

impl Group {
    /// The group of a state. Those that only others than its supervisor know have none.
    pub fn of(state: ServiceState) -> Option<Group> {
        match state {
            Down | Done | Failed | Skipped => Some(Group::Rest),
            Waiting | Backoff => Some(Group::Soon),
            Setup | Starting | Up => Some(Group::Runs),
            Stopping | Finishing => Some(Group::Ends),
            Refused | Unknown => None,
        }
    }

    /// Its states.
    pub fn states(self) -> impl Iterator<Item = ServiceState> {
        ServiceState::ALL.into_iter().filter(move |state| Group::of(*state) == Some(self))
    }
}
