//! Every change of every service in a directory, one line each, until standard input ends or has a line.
//!
//! ```sh
//! cargo run --example watch -- ./svdir-examples
//! ```
//!
//! `for change in watch` would do where there is nothing else to wait for. Here the watch stands in a poll loop beside
//! standard input.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use onit::client::{Change, Service, Status, Watch};
use std::error::Error;
use std::io::Write as _;
use std::os::fd::AsFd as _;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "/etc/service".into());
    let services = Service::all_in(directory)?;
    let loggers: Vec<Service> = services.iter().filter_map(Service::logger).collect();
    let mut watch = Watch::new(services.iter().chain(&loggers))?;
    let stdin = std::io::stdin();
    loop {
        // First all that there is: the descriptor tells of what comes after.
        while let Some(change) = watch.try_next()? {
            tell(&change)?;
        }
        let mut ready = [PollFd::new(watch.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::NONE)?;
        if ready[1].any() == Some(true) {
            return Ok(());
        }
    }
}

fn tell(change: &Change) -> std::io::Result<()> {
    let path = change.service.path().display();
    writeln!(std::io::stdout(), "{path}: {} -> {}", words(change.old), words(change.new))
}

fn words(status: Option<Status>) -> String {
    let Some(status) = status else { return "not supervised".to_string() };
    let process = status.pid.map_or_else(String::new, |pid| format!(" ({pid})"));
    let paused = if status.paused { ", paused" } else { "" };
    format!("{}{process}{paused}, want {}", status.state().word(), status.want.word())
}
