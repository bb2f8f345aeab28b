//! What differs between supervisors: one value.

use crate::machine::{Command, words};
use crate::wire::control::Dialect;

/// Which supervisor looks after a service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// onit, by its own rules. (Called by the name of another one, it counts as that one.)
    Onit,
    /// runit's runsv.
    Runit,
    /// daemontools' supervise.
    Daemontools,
    /// daemontools-encore's supervise.
    Encore,
    /// s6-supervise.
    S6,
    /// systemd, see [`Unit`](super::Unit).
    Systemd,
}

impl Kind {
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Kind::Onit => Dialect::All,
            Kind::Runit => Dialect::Runit,
            Kind::Daemontools => Dialect::Daemontools,
            Kind::Encore => Dialect::Encore,
            Kind::S6 | Kind::Systemd => Dialect::S6, // no letter is ever sent to systemd
        }
    }

    /// The service's own stop signal, where the supervisor knows it; else TERM.
    pub(super) fn stop(self) -> Command {
        match self {
            Kind::Onit | Kind::S6 | Kind::Systemd => Command::StopSignal,
            Kind::Runit | Kind::Daemontools | Kind::Encore => Command::Term,
        }
    }

    /// Whether an order to exit also stops the service. The other supervisors leave it running, and exit only when it
    /// has ended: so they have to be told to stop it as well.
    pub(super) fn exit_stops(self) -> bool {
        matches!(self, Kind::Onit | Kind::Runit)
    }
}

words!(
    Kind,
    "kind of supervisor",
    Onit = "onit",
    Runit = "runit",
    Daemontools = "daemontools",
    Encore = "daemontools-encore",
    S6 = "s6",
    Systemd = "systemd",
);
