//! One service: what it is doing, an order, and what comes of it.
//!
//! ```sh
//! SVDIR=./svdir-examples cargo run --example basic -- web
//! ```
//!
//! It makes no difference whether onit, runit, daemontools or s6 looks after the service.

use onit::client::{ErrorKind, Operation, Result, Service, Status, Until};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

fn main() -> ExitCode {
    let Some(name) = std::env::args_os().nth(1) else {
        let _ = writeln!(std::io::stderr(), "usage: basic SERVICE");
        return ExitCode::from(100);
    };
    match Service::named(&name).and_then(|service| restart(&service)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "basic: {error}"); // operation, path and cause, in one line
            ExitCode::FAILURE
        }
    }
}

fn restart(service: &Service) -> Result<()> {
    show("before", &service.status()?);

    // An order and its effect: sent, and waited for. Nothing is polled meanwhile.
    let patience = Duration::from_secs(10);
    if let Some(status) = service.perform(Operation::Restart, patience)? {
        show("after ", &status);
    }

    // An order by itself. What this supervisor does not understand is an error, and nothing is sent.
    match service.winch() {
        Ok(()) => say("it was sent WINCH"),
        Err(error) if matches!(error.kind(), ErrorKind::NoSuchCommand(_)) => say(&error.to_string()),
        Err(error) => return Err(error),
    }

    // Ready is more than up, where the supervisor records it.
    match service.wait(Until::Ready, patience) {
        Ok(_) => say("and it is ready"),
        Err(error) => say(&std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)),
    }
    Ok(())
}

fn show(when: &str, status: &Status) {
    let process = status.pid.map_or_else(|| "no process".to_string(), |pid| format!("process {pid}"));
    let seconds = status.uptime(SystemTime::now()).as_secs();
    say(&format!("{when}: {}, {process}, for {seconds}s", status.state().word()));
}

/// A reader that has gone is no reason to panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
