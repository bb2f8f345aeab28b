//! The same operation on all services in a directory: eight at a time, half a minute for all of it, a result for each.
//!
//! ```sh
//! cargo run --example manager -- restart ./svdir-examples
//! ```
//!
//! The exit code is the number of services that it did not work with.

use onit::client::{Manager, Operation, Outcome, Service};
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: manager up|down|restart|status DIRECTORY";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [verb, directory] = words.as_slice() else { return Err(USAGE.into()) };
    let manager = Manager::new(Service::all_in(directory)?).at_once(8);
    let patience = Duration::from_secs(30);
    let outcomes = match verb.as_str() {
        "up" => manager.perform(&Operation::Up, patience),
        "down" => manager.perform(&Operation::Down, patience),
        "restart" => manager.perform(&Operation::Restart, patience),
        "status" => manager.status(),
        _ => return Err(USAGE.into()),
    };
    let mut failed = 0u8;
    for Outcome { service, result } in outcomes {
        let name = service.name().to_string_lossy();
        match result {
            Ok(Some(status)) => writeln!(std::io::stdout(), "{name}: {}", status.state().word())?,
            Ok(None) => writeln!(std::io::stdout(), "{name}: done")?,
            Err(error) => {
                failed = failed.saturating_add(1);
                writeln!(std::io::stderr(), "manager: {error}")?;
            }
        }
    }
    Ok(ExitCode::from(failed))
}
