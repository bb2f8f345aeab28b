//! How each supervisor is started on a directory, and how it is asked to stop everything cleanly.

use std::env;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::ground::Ground;
use crate::options::Options;
use crate::{Outcome, floor};

pub struct Peer {
    pub name: &'static str,
    /// The largest directory that it can take, or that is worth anybody's time.
    pub most: usize,
    program: Option<PathBuf>,
    arguments: fn(&Ground, &mut Command) -> Outcome<()>,
    stop: fn(&Ground, Pid) -> Outcome<()>,
}

pub fn chosen(options: &Options) -> Outcome<Vec<Peer>> {
    let all = all(&options.onit);
    if let Some(name) = options.only.iter().find(|name| !all.iter().any(|peer| peer.name == **name)) {
        let names: Vec<_> = all.iter().map(|peer| peer.name).collect();
        return Err(format!("no peer is called {name}; there are {}", names.join(", ")).into());
    }
    let wanted = |peer: &Peer| options.only.is_empty() || options.only.iter().any(|name| name == peer.name);
    Ok(all.into_iter().filter(wanted).collect())
}

fn all(onit_program: &Path) -> Vec<Peer> {
    vec![
        Peer { name: "floor", most: usize::MAX, program: env::current_exe().ok(), arguments: floor, stop: term },
        Peer {
            name: "onit",
            most: usize::MAX,
            program: fs::canonicalize(onit_program).ok(),
            arguments: onit,
            stop: term,
        },
        Peer { name: "runit", most: 1000, program: on_path("runsvdir"), arguments: runit, stop: hup },
        Peer { name: "s6", most: 1000, program: on_path("s6-svscan"), arguments: s6, stop: term },
        Peer { name: "s6-ready", most: 1000, program: on_path("s6-svscan"), arguments: s6_ready, stop: term },
        Peer { name: "daemontools", most: 1000, program: on_path("svscan"), arguments: services, stop: svc_exit },
        Peer { name: "supervisord", most: 1000, program: on_path("supervisord"), arguments: supervisord, stop: term },
    ]
}

impl Peer {
    pub fn installed(&self) -> bool {
        self.program.is_some()
    }

    /// Ready to be spawned; the same small environment for all.
    pub fn command(&self, ground: &Ground) -> Outcome<Command> {
        let program = self.program.as_ref().ok_or("not installed")?;
        let log = File::options().create(true).append(true).open(ground.log())?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("ONIT_RUN", ground.root().join("live"));
        command.stdin(File::open("/dev/null")?).stdout(log.try_clone()?).stderr(log);
        (self.arguments)(ground, &mut command)?;
        Ok(command)
    }

    pub fn stop(&self, ground: &Ground, pid: Pid) -> Outcome<()> {
        (self.stop)(ground, pid)
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn floor(ground: &Ground, command: &mut Command) -> Outcome<()> {
    command.arg(floor::WORD).arg(ground.services());
    Ok(())
}

fn onit(ground: &Ground, command: &mut Command) -> Outcome<()> {
    command.arg("run").arg(ground.services());
    Ok(())
}

fn runit(ground: &Ground, command: &mut Command) -> Outcome<()> {
    command.arg("-P").arg(ground.services());
    Ok(())
}

/// Its default is room for 500.
fn s6(ground: &Ground, command: &mut Command) -> Outcome<()> {
    command.args(["-c", "1100"]).arg(ground.services());
    Ok(())
}

/// s6 pauses for a second after the death of a service, however long it lived, unless that had said that it was ready.
/// So it is measured both ways: as it treats a plain `run`, and as it can be.
fn s6_ready(ground: &Ground, command: &mut Command) -> Outcome<()> {
    for name in ground.names() {
        fs::write(ground.services().join(name).join("notification-fd"), "3\n")?;
    }
    s6(ground, command)
}

fn services(ground: &Ground, command: &mut Command) -> Outcome<()> {
    command.arg(ground.services());
    Ok(())
}

fn supervisord(ground: &Ground, command: &mut Command) -> Outcome<()> {
    let file = ground.root().join("supervisord.conf");
    fs::write(&file, supervisord_conf(ground)?)?;
    command.args(["--nodaemon", "--configuration"]).arg(file);
    Ok(())
}

fn supervisord_conf(ground: &Ground) -> Outcome<String> {
    let root = ground.root().display();
    let fds = 1024.max(3 * ground.size + 100); // it closes as many after each fork: no more than it needs
    let mut conf = format!(
        "[supervisord]\nsilent=true\nlogfile={root}/log\npidfile={root}/supervisord.pid\nminfds={fds}\n\
         user={user}\nchildlogdir={root}\n",
        user = nix::unistd::getuid()
    );
    // One group: it stops group by group, and every program without one is a group of its own.
    writeln!(conf, "[group:all]\nprograms={}", ground.names().collect::<Vec<_>>().join(","))?;
    for name in ground.names() {
        let service = ground.services().join(&name);
        let service = service.display();
        writeln!(
            conf,
            "[program:{name}]\ncommand={service}/run\ndirectory={service}\nautorestart=true\nredirect_stderr=true\n\
             stdout_logfile=NONE"
        )?;
    }
    Ok(conf)
}

fn term(_: &Ground, pid: Pid) -> Outcome<()> {
    Ok(kill(pid, Signal::SIGTERM)?)
}

/// To runsvdir HUP says "TERM to every runsv, then exit"; TERM says "leave everything running".
fn hup(_: &Ground, pid: Pid) -> Outcome<()> {
    Ok(kill(pid, Signal::SIGHUP)?)
}

/// svscan has no clean stop: it goes first, so that it starts nothing again, then every supervise is told to.
fn svc_exit(ground: &Ground, pid: Pid) -> Outcome<()> {
    kill(pid, Signal::SIGTERM)?;
    waitpid(pid, None)?;
    spawn_svc(&ground.services(), ground.names())
}

fn spawn_svc(services: &Path, names: impl Iterator<Item = String>) -> Outcome<()> {
    Command::new("svc").arg("-dx").args(names).current_dir(services).spawn()?; // reaped with all the others
    Ok(())
}
