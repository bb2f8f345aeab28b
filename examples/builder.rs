//! Writes a service directory from Rust, reads it back, examines it, and shows it as a unit of systemd.
//!
//!     cargo run --example builder -- /tmp/service
//!     onit run /tmp/service

use onit::service_dir::{Essential, Logger, Resource, Script, ServiceBuilder, ServiceDir, Signal, Written, lint};
use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let services = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: builder DIRECTORY")?);
    std::fs::create_dir_all(&services)?;
    let web = services.join("web");

    let builder = ServiceBuilder::new(["busybox", "httpd", "-f", "-p", "127.0.0.1:8081"])
        .directory("/")
        .env("GREETING", "it's $5, \"cash\"\nor nothing")
        .limit(Resource::OpenFiles, 1024)
        .logger(Logger::new("main").size(100_000))
        .finish(Script::command(["echo", "web has ended"]))
        .essential(Essential::OnFailure)
        .down_signal(Signal::INT)
        .timeout_kill(Duration::from_secs(10))
        .replace(true);

    let mut out = stdout().lock();
    match builder.write(&web)? {
        Written::Created => writeln!(out, "{} is written", web.display())?,
        Written::Replaced => writeln!(out, "{} says something else now", web.display())?,
        Written::Unchanged => writeln!(out, "{} said so already", web.display())?,
    }
    for finding in lint::examine([&services]) {
        writeln!(out, "{finding}")?;
    }
    let read = ServiceDir::read(&web)?;
    writeln!(out, "it is stopped by {:?}", read.settings.down_signal)?;
    writeln!(out, "\n{}", builder.systemd_unit(&web)?)?;
    Ok(())
}
