//! What every service can be told and asked, whichever supervisor looks after it.

use super::{Command, Result, Service, Signal, Status};

/// A service, by whatever means it is reached: [`Service`] through the files of its supervisor, and
/// [`Unit`](super::Unit) through systemd. Orders are given and not waited for.
pub trait Control {
    /// What it is doing.
    ///
    /// # Errors
    /// There is no such service, no supervisor looks after it, or we may not look.
    fn status(&self) -> Result<Status>;

    /// One order.
    ///
    /// # Errors
    /// As [`status`](Control::status); and [`NoSuchCommand`](super::ErrorKind::NoSuchCommand) for a command that its
    /// supervisor does not have.
    fn order(&self, command: Command) -> Result<()>;

    /// It runs anew, also if it was down.
    ///
    /// # Errors
    /// As [`order`](Control::order).
    fn restart(&self) -> Result<()>;

    /// Up: start it, and keep it running by its own rules.
    ///
    /// # Errors
    /// As [`order`](Control::order).
    fn up(&self) -> Result<()> {
        self.order(Command::Up)
    }

    /// Down: stop it, and do not start it again.
    ///
    /// # Errors
    /// As [`order`](Control::order).
    fn down(&self) -> Result<()> {
        self.order(Command::Down)
    }

    /// Once: start it, and do not start it again when it ends.
    ///
    /// # Errors
    /// As [`order`](Control::order).
    fn once(&self) -> Result<()> {
        self.order(Command::Once)
    }

    /// A signal for its main process.
    ///
    /// # Errors
    /// As [`order`](Control::order).
    fn signal(&self, signal: Signal) -> Result<()> {
        self.order(super::service::carries(signal))
    }
}

impl Control for Service {
    fn status(&self) -> Result<Status> {
        Service::status(self)
    }

    fn order(&self, command: Command) -> Result<()> {
        self.send(&[command])
    }

    fn restart(&self) -> Result<()> {
        Service::restart(self)
    }
}
