//! One order for one service, whoever looks after it; without an order, what it is doing.
//!
//! ```sh
//! cargo run --example control -- /etc/service/web restart        # onit, runit, daemontools, s6
//! cargo run --example control -- --systemd web.service USR1      # systemd; --user for that of the user
//! ```
#![allow(clippy::disallowed_macros)] // those of clippy.toml are for PID 1

use onit::client::{Control, Scope, Service, Signal, Unit};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--systemd", unit, order @ ..] => obey(&Unit::new(unit, Scope::System), order),
        ["--user", unit, order @ ..] => obey(&Unit::new(unit, Scope::User), order),
        [service, order @ ..] => Service::named(service).map_err(Into::into).and_then(|service| obey(&service, order)),
        [] => Err("usage: control [--systemd|--user] SERVICE [up|down|once|restart|SIGNAL]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("control: {why}");
            ExitCode::FAILURE
        }
    }
}

fn obey(service: &impl Control, order: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    match order {
        [] => {
            let status = service.status()?;
            let pid = status.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            println!("{}{pid}", status.state().word());
        }
        ["up"] => service.up()?,
        ["down"] => service.down()?,
        ["once"] => service.once()?,
        ["restart"] => service.restart()?,
        [name] => service.signal(Signal::named(name).ok_or(format!("there is no signal {name}"))?)?,
        _ => return Err("one order at a time".into()),
    }
    Ok(())
}
