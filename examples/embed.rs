//! A program that has its own child processes supervised: one that is checked, and one that fails again and
//! again.
//!
//! ```sh
//! cargo run --example embed
//! ```
#![allow(clippy::disallowed_macros)] // those of clippy.toml are for PID 1

use onit::embed::{self, Exec, Process, Restart, Supervisor};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    embed::hook();
    let secs = Duration::from_secs;
    let server = Process::new("server", ["sleep", "1000"]).check(Exec(["true"])); // or Tcp, Http, or anything of yours
    let flaky = Process::new("flaky", ["sh", "-c", "exit 1"]).restart(Restart::OnFailure);
    let supervisor = Supervisor::new().add(server).add(flaky.backoff(secs(1)..secs(30))).start()?;
    for event in supervisor.events()?.take(6) {
        let event = event?;
        println!("{}: {}", event.name.unwrap_or_default(), event.new.map_or("?".into(), |state| state.to_string()));
    }
    print!("{}", supervisor.prometheus()?);
    supervisor.shutdown(secs(10))?;
    Ok(())
}
