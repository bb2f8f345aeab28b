//! A tree of services for a moment: two services run, one of them fails, and nothing is left behind.
//!
//! ```sh
//! cargo run --example dev_tree -- target/release/onit
//! ```
#![allow(clippy::disallowed_macros)] // those of clippy.toml are for PID 1

use onit::client::{Change, Deadline, DevTree, Scanner, ServiceState, Until, Watch};
use onit::service_dir::ServiceBuilder;
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let onit = std::env::args_os().nth(1).map_or_else(|| "onit".into(), PathBuf::from);
    let soon = Duration::from_secs(10);
    let mut tree = DevTree::create()?;
    ServiceBuilder::new(["sleep", "1000"]).write(tree.directory("web"))?;
    ServiceBuilder::new(["sh", "-c", "sleep 1; exit 7"]).write(tree.directory("crash"))?;
    tree.start(Scanner::Onit(onit))?;
    let (web, crash) = (tree.up("web", soon)?, tree.enable("crash")?); // the latter does not stay up
    crash.wait(Until::Supervised, soon)?;
    let mut watch = Watch::new([&web, &crash])?;
    for _ in 0..2 {
        watch.next_by(soon)?.iter().for_each(tell); // how they are now
    }
    web.restart()?;
    let (mut restarted, mut failed, end) = (false, false, Deadline::after(soon));
    while !(restarted && failed)
        && let Some(change) = watch.next_by(end)?
    {
        tell(&change);
        restarted |= change.service == web && change.new.is_some_and(|status| status.state() == ServiceState::Up);
        failed |= change.service == crash;
    }
    tree.disable("crash", soon)?;
    println!("still enabled: {:?}", tree.enabled()?);
    tree.stop(soon)?;
    Ok(())
}

fn tell(change: &Change) {
    let word = change.new.map_or("gone", |status| status.state().word());
    println!("{}: {word}", change.service.name().display());
}
