//! From a graph to directories of services. Nobody looks at them yet: the supervisor comes later.

use super::Rules;
use super::graph::{Graph, Names, Planned};
use super::oneshot::{DOWN, UP};
use super::source::{Kind, Source, is_executable};
use crate::wire::godv1;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// What s6-rc and s6 themselves take out of such a directory.
const NOT_TAKEN: [&str; 17] = [
    "type",
    "dependencies",
    "dependencies.d",
    "contents",
    "contents.d",
    "producer-for",
    "consumer-for",
    "pipeline-name",
    "timeout-up",
    "timeout-down",
    "flag-essential",
    "flag-recommended",
    "up",
    "reload",
    "event",
    "supervise",
    "instance",
];
/// And what s6-rc does not take.
const OF_PLAIN: [&str; 2] = ["log", "down"];

/// How directories are written.
pub struct Place<'a> {
    /// Where.
    pub path: &'a Path,
    /// Our own program.
    pub program: &'a Path,
    /// What holds for all.
    pub rules: Rules,
}

impl Place<'_> {
    /// Writes all services. Those that are not among `starts` do not start by themselves.
    pub fn write(&self, graph: &Graph, starts: &Names) -> Result<(), String> {
        for (name, planned) in &graph.services {
            let home = self.path.join(name);
            let made = self.write_one(&home, planned, starts.contains(name));
            made.map_err(|error| {
                format!("cannot make {} from {}: {error}", home.display(), planned.source.at.display())
            })?;
        }
        Ok(())
    }

    fn write_one(&self, home: &Path, planned: &Planned, starts: bool) -> io::Result<()> {
        std::fs::create_dir(home)?;
        let source = &planned.source;
        match &source.kind {
            Kind::Bundle(_) => {}
            Kind::Oneshot { up, down } => self.write_oneshot(home, source, up, down)?,
            Kind::Longrun(_) => link_all(&source.at, home, &OF_PLAIN)?,
            Kind::Plain => {
                link_all(&source.at, home, &["log"])?;
                if let Some(grace) = self.rules.grace.filter(|_| !home.join("timeout-kill").exists()) {
                    std::fs::write(home.join("timeout-kill"), format!("{}\n", grace.as_millis()))?;
                }
                if source.at.join("log").is_dir() {
                    std::fs::create_dir(home.join("log"))?;
                    link_all(&source.at.join("log"), &home.join("log"), &OF_PLAIN)?;
                }
            }
        }
        for (place, names) in [("dependencies.d", &planned.needs), ("after.d", &planned.after)] {
            if !names.is_empty() {
                std::fs::create_dir(home.join(place))?;
            }
            names.iter().try_for_each(|name| std::fs::write(home.join(place).join(name), ""))?;
        }
        if source.limits.up > 0 {
            std::fs::write(home.join("timeout-up"), format!("{}ms\n", source.limits.up))?;
        }
        if let Some(log) = &planned.log {
            symlink(Path::new("..").join(log), home.join("log"))?;
        }
        if !starts && !home.join("down").exists() {
            std::fs::write(home.join("down"), "")?;
        }
        Ok(())
    }

    /// The programs are ourselves by their names, so that they can be executed also where this place must not have any. What
    /// has something to undo is up until then.
    fn write_oneshot(&self, home: &Path, source: &Source, up: &[String], down: &[String]) -> io::Result<()> {
        std::fs::write(home.join(UP), godv1::message(up))?;
        std::fs::write(home.join("restart"), "never\n")?;
        symlink(self.program, home.join("setup"))?;
        if self.rules.is_strict {
            std::fs::write(home.join("essential"), "on-giveup\n")?;
        }
        if !down.is_empty() {
            std::fs::write(home.join(DOWN), godv1::message(down))?;
            std::fs::write(home.join("timeout-finish"), format!("{}\n", source.limits.down))?;
            symlink(self.program, home.join("run"))?;
            symlink(self.program, home.join("finish"))?;
        }
        Ok(())
    }
}

/// Links to all entries of a directory. A program that lacks the permission is copied, and has it: s6-rc does so.
fn link_all(from: &Path, to: &Path, left_out: &[&str]) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        let is = |names: &[&str]| names.iter().any(|it| name == *it);
        if is(&NOT_TAKEN) || is(left_out) {
            continue;
        }
        let place = to.join(&name);
        if is(&["run", "finish"]) && path.is_file() && !is_executable(&path) {
            std::fs::copy(&path, &place).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755))?;
        } else {
            symlink(std::path::absolute(&path)?, place)?;
        }
    }
    Ok(())
}
