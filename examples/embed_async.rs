//! A program that is asynchronous, and hears of its supervised processes beside all that it does else.
//!
//! ```sh
//! cargo run --example embed_async
//! ```
#![allow(unsafe_code, clippy::disallowed_macros)] // those of clippy.toml are for PID 1

use onit::embed::{self, Event, Events, Process, Supervisor};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    embed::hook(); // before the runtime, which may have threads
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let flaky = Process::new("flaky", ["sh", "-c", "exit 1"]).backoff(Duration::from_secs(1)..Duration::from_secs(30));
    let supervisor = Supervisor::new().add(flaky).start()?;
    runtime.block_on(async {
        // SAFETY: the events keep their descriptor, and nothing else here closes it.
        let mut events = unsafe { AsyncFd::register(supervisor.events()?)? };
        for _ in 0..4 {
            let event = next(&mut events).await?;
            println!("{}: {}", event.name.unwrap_or_default(), event.new.map_or("?".into(), |state| state.to_string()));
        }
        Ok::<(), Error>(())
    })?;
    supervisor.shutdown(Duration::from_secs(10))?; // waits: in a larger program, by spawn_blocking
    Ok(())
}

/// The next event. What has come with the last one is taken first: it gives no input any more.
async fn next(events: &mut AsyncFd<Events>) -> Result<Event, Error> {
    loop {
        if let Some(event) = events.get_mut().next_by(Duration::ZERO)? {
            return Ok(event);
        }
        events.readable_mut().await?.clear_ready();
    }
}
