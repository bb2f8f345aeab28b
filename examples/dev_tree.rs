//! A tree of services for a moment: two services run, one of them fails, and nothing is left behind.
//!
//! ```sh
//! cargo run --example dev_tree -- target/release/onit
//! ```
#![allow(clippy::disallowed_macros)] // those of clippy.toml are for PID 1

use onit::client::{DevTree, Scanner, Until, Watch};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let onit = std::env::args_os().nth(1).map_or_else(|| "onit".into(), PathBuf::from);
    let soon = Duration::from_secs(10);
    let mut tree = DevTree::create()?;
    for (name, body) in [("web", "exec sleep 1000"), ("crash", "sleep 1; exit 7")] {
        let run = tree.directory(name).join("run");
        fs::create_dir(tree.directory(name))?;
        fs::write(&run, format!("#!/bin/sh\n{body}\n"))?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
    }
    tree.start(Scanner::Onit(onit))?;
    let (web, crash) = (tree.enable("web")?, tree.enable("crash")?);
    for service in [&web, &crash] {
        service.wait(Until::Supervised, soon)?;
        service.wait(Until::Up, soon)?;
    }
    let mut watch = Watch::new([&web, &crash])?;
    web.restart()?;
    for _ in 0..6 {
        let Some(change) = watch.next_by(soon)? else { break };
        let word = change.new.map_or("gone", |status| status.standing().word());
        println!("{}: {word}", change.service.name().display());
    }
    tree.disable("crash", soon)?;
    println!("still enabled: {:?}", tree.enabled()?);
    tree.stop(soon)?;
    Ok(())
}
