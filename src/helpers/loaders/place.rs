//! The directories of jobs: each is written whole under a hidden name, and gets its own by a rename.

use super::engine::{Definition, Program};
use super::stub;
use crate::sys::fs;
use crate::wire::godv1::{self, Auto, Reader};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What a job becomes: three messages.
pub const EXEC: &str = "exec";
/// Its name, in a file: the directory of one that is taken away has another.
pub const JOB: &str = "job";
/// Whether it is started again.
pub const RESTART: &str = "restart";
/// Until it is ready an end with 0 is that of work that is done.
pub const UNLESS_DONE: &str = "on-failure\n";
const LOADER: &str = "loader";
/// Where its run listens.
pub const NOTIFY: &str = "notify";
const DEPENDENCIES: &str = "dependencies.d";
/// The longest path of an interpreter that a `#!` line can have on any kernel that we run on.
const INTERPRETER: usize = 120;

/// Where they are.
pub struct Place {
    path: PathBuf,
    /// The directory of services whose names are taken; the same one if there is no other.
    services: PathBuf,
    /// Our own program.
    program: PathBuf,
    /// Where loaders are: jobs run there.
    loaders: PathBuf,
}

/// A job that is there already.
pub struct Found {
    /// Its name.
    pub name: String,
    /// The file of its loader.
    pub loader: String,
    /// What it became the last time.
    pub program: Option<Program>,
}

impl Place {
    /// Half-made directories of an earlier process like this one are removed.
    pub fn new(path: PathBuf, services: PathBuf, program: PathBuf, loaders: PathBuf) -> Place {
        let place = Place { path, services, program, loaders };
        place.entries().iter().filter(|name| name.starts_with(".new-")).for_each(|name| place.delete(name));
        place
    }

    fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// The jobs that are there.
    pub fn found(&self) -> Vec<Found> {
        let names = self.entries().into_iter().filter(|name| !name.starts_with('.'));
        let found = names.filter_map(|name| {
            let home = self.path.join(&name);
            let loader = std::fs::read_to_string(home.join(LOADER)).ok()?;
            let program = std::fs::read(home.join(EXEC)).ok().and_then(|text| stub::read_program(&text));
            Some(Found { name, loader, program: program.map(|(_, program)| program) })
        });
        found.collect()
    }

    /// Where the run of a job listens, as it was the last time.
    pub fn address(&self, name: &str) -> String {
        std::fs::read_to_string(self.path.join(name).join(NOTIFY)).unwrap_or_default()
    }

    /// Makes the directory of a job. Or says why there can be none.
    pub fn install(&self, name: &str, definition: &Definition) -> Result<(), String> {
        if self.services != self.path && self.services.join(name).symlink_metadata().is_ok() {
            return Err(format!("{} has a service of that name", self.services.display()));
        }
        let hidden = format!(".new-{name}");
        self.delete(&hidden);
        let home = self.path.join(&hidden);
        let made = self.fill(&home, name, definition).and_then(|()| {
            fs::rename_fresh(&home, &self.path.join(name)).map_err(|errno| io::Error::from_raw_os_error(errno as i32))
        });
        made.map_err(|error| {
            self.delete(&hidden);
            format!("cannot make {}: {error}", self.path.join(name).display())
        })
    }

    fn fill(&self, home: &Path, name: &str, definition: &Definition) -> io::Result<()> {
        std::fs::create_dir(home)?;
        let files = [
            (JOB, name),
            ("readiness", "notify\n"),
            (RESTART, UNLESS_DONE),
            ("backoff", "1s 1s 1s\n"),
            ("down-signal", "INT\n"),
            ("timeout-kill", "5000\n"),
        ];
        for (file, text) in files {
            std::fs::write(home.join(file), text)?;
        }
        self.program(&home.join("run"))?;
        self.program(&home.join("stop"))?;
        self.define(home, definition)
    }

    /// What a loader says of a job, whatever it said before.
    fn define(&self, home: &Path, definition: &Definition) -> io::Result<()> {
        write(home, LOADER, &definition.file)?;
        match definition.auto {
            Auto::No => write(home, "down", "")?,
            Auto::Yes | Auto::After(_) => remove(&home.join("down"))?,
        }
        let names: &[String] = if let Auto::After(names) = &definition.auto { names } else { &[] };
        let dependencies = home.join(DEPENDENCIES);
        std::fs::create_dir_all(&dependencies)?;
        for known in std::fs::read_dir(&dependencies)?.flatten() {
            if !names.iter().any(|name| OsStr::new(name) == known.file_name()) {
                remove(&known.path())?;
            }
        }
        names.iter().try_for_each(|name| write(&dependencies, name, ""))?;
        match definition.sockets.is_empty() {
            true => remove(&home.join("sockets"))?,
            false => write(home, "sockets", &format!("{}\n", definition.sockets.join("\n")))?,
        }
        self.define_log(home, &definition.log)
    }

    /// A logger that is there stays, as the service is its own: it is only told what to become at its next start.
    fn define_log(&self, home: &Path, argv: &[String]) -> io::Result<()> {
        if argv.is_empty() {
            return Ok(());
        }
        let program = Program { argv: argv.to_vec(), env: Vec::new() };
        let text = self.text(&program);
        let log = home.join("log");
        if log.is_dir() {
            return write(&log, EXEC, &text);
        }
        let hidden = home.join(".log");
        std::fs::create_dir_all(&hidden)?;
        write(&hidden, EXEC, &text)?;
        self.program(&hidden.join("run"))?;
        std::fs::rename(&hidden, &log)
    }

    /// Changes the directory of a job.
    pub fn update(&self, name: &str, definition: &Definition) -> Result<(), String> {
        let home = self.path.join(name);
        self.define(&home, definition).map_err(|error| format!("cannot change {}: {error}", home.display()))
    }

    /// The name of the job goes at once. What is in its directory is needed until it has stopped.
    pub fn put_aside(&self, name: &str) {
        let aside = format!(".gone-{name}");
        self.delete(&aside);
        let _ = std::fs::rename(self.path.join(name), self.path.join(aside)); // it may never have been made
    }

    /// It has stopped.
    pub fn forget(&self, name: &str) {
        self.delete(&format!(".gone-{name}"));
    }

    /// What was put aside, and is no service any more.
    pub fn forget_all_but(&self, services: &[String]) {
        let entries = self.entries();
        let aside = entries.iter().filter_map(|name| name.strip_prefix(".gone-"));
        aside.filter(|name| !services.iter().any(|it| it == name)).for_each(|name| self.forget(name));
    }

    /// The supervisor is told that all jobs are there.
    pub fn all_said(&self) {
        let _ = std::fs::write(self.path.join(".said"), ""); // it does not wait for ever
    }

    fn delete(&self, entry: &str) {
        if let Ok(dir) = fs::open_path(&self.path) {
            let _ = fs::remove_all(&dir, OsStr::new(entry)); // it need not be there
        }
    }

    /// Writes a small file of a job.
    pub fn write(&self, name: &str, file: &str, text: &str) -> io::Result<()> {
        write(&self.path.join(name), file, text)
    }

    /// Keeps what a job becomes, for when we are away.
    pub fn keep(&self, name: &str, program: &Program) -> io::Result<()> {
        self.write(name, EXEC, &self.text(program))
    }

    /// A program as it is told to who becomes it.
    pub fn text(&self, program: &Program) -> String {
        let head = ["exec", &self.loaders.to_string_lossy()];
        [godv1::message(&head), godv1::message(&program.argv), godv1::message(&program.env)].concat()
    }

    /// A file that calls us: by its own name, without a shell where the path of our program allows that.
    fn program(&self, path: &Path) -> io::Result<()> {
        let program = self.program.to_string_lossy();
        let is_plain = program.len() <= INTERPRETER && !program.contains(|it: char| it.is_whitespace());
        let text = match is_plain {
            true => format!("#!{program} loaded\n"),
            false => format!("#!/bin/sh\nexec '{}' loaded \"$0\"\n", program.replace('\'', "'\\''")),
        };
        std::fs::write(path, text)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
    }
}

/// Whole or not at all.
pub fn write(home: &Path, file: &str, text: &str) -> io::Result<()> {
    let path = home.join(file);
    if std::fs::read(&path).is_ok_and(|known| known == text.as_bytes()) {
        return Ok(());
    }
    let new = home.join(format!(".{file}.new"));
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Three messages, as [`Place::text`] writes them.
pub fn parse(text: &[u8]) -> Option<[Vec<String>; 3]> {
    let mut reader = Reader::default();
    reader.push(text);
    let mut next = || reader.message().ok().flatten();
    Some([next()?, next()?, next()?])
}
