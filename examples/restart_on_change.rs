//! Restarts a service whenever a file changes, for its configuration or for the program that is being written.
//!
//! ```sh
//! cargo run --example restart_on_change -- /etc/service/web /etc/web.conf
//! ```
#![allow(clippy::disallowed_macros)] // those of clippy.toml are for PID 1

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use onit::client::{Operation, Service};
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    let [service, file] = words.as_slice() else { return Err("usage: restart_on_change SERVICE FILE".into()) };
    let service = Service::named(service)?;
    let file = std::path::absolute(file)?;
    // Editors write another file and rename it, so it is the directory that tells.
    let directory = file.parent().ok_or("a file has a directory")?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(directory, AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO)?;
    loop {
        let changes = inotify.read_events()?;
        if changes.iter().any(|change| change.name.as_deref() == file.file_name()) {
            match service.perform(Operation::Restart, Duration::from_secs(30)) {
                Ok(status) => println!("restarted: {:?}", status.and_then(|status| status.pid)),
                Err(why) => eprintln!("{why}"), // the next change may mend it
            }
        }
    }
}
