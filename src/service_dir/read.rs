//! A service directory, taken apart: everything that it says, and everything that is wrong with it.

mod cross_checks;
mod values;

use super::ServiceDir;
use super::finding::Finding;
use super::names::{self, CONTROLS, FOREIGN};
use super::program::{self, Part, Program, cause, examine_writers, shown, what};
use crate::sys::fs;
use crate::wire::settings::{self, FILES, Kind};
use crate::wire::svdir::{self, VariableName};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

impl ServiceDir {
    /// Reads everything that is in a service directory. What is wrong with it is among the
    /// [`findings`](ServiceDir::findings); only a directory that cannot be read at all is an error.
    pub fn read(path: impl AsRef<Path>) -> Result<ServiceDir, io::Error> {
        read(path.as_ref(), Role::Main)
    }
}

/// Which service this is of the two that may share a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Logger,
}

fn read(path: &Path, role: Role) -> Result<ServiceDir, io::Error> {
    let mut names: Vec<OsString> =
        std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    names.sort_unstable();
    let mut reader = Reader { path, name: name_of(path), role, names, findings: Vec::new() };
    let mut service = ServiceDir {
        path: path.to_owned(),
        name: reader.name.clone(),
        run: reader.program("run", Part::Service),
        setup: reader.program("setup", Part::Passing),
        stop: reader.program("stop", Part::Passing),
        finish: reader.program("finish", Part::Passing),
        check: reader.program("check", Part::Passing),
        health: reader.program("health", Part::Passing),
        control: reader.control(),
        log: reader.log(),
        environment: reader.environment(),
        settings: reader.settings(),
        findings: Vec::new(),
    };
    reader.supervise();
    reader.strangers();
    reader.whole(&service);
    service.findings = reader.findings;
    Ok(service)
}

/// The name of a service: a link has one of its own.
fn name_of(path: &Path) -> OsString {
    let canonical = || path.canonicalize().ok()?.file_name().map(OsStr::to_owned);
    path.file_name().map(OsStr::to_owned).or_else(canonical).unwrap_or_default()
}

struct Reader<'a> {
    path: &'a Path,
    name: OsString,
    role: Role,
    names: Vec<OsString>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    fn error(
        &mut self,
        kind: &'static str,
        file: impl AsRef<Path>,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.findings.push(Finding::error(kind, &self.path.join(file), problem, mend));
    }

    fn warn(
        &mut self,
        kind: &'static str,
        file: impl AsRef<Path>,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.findings.push(Finding::warning(kind, &self.path.join(file), problem, mend));
    }

    fn cannot_read(&mut self, file: impl AsRef<Path>, error: &io::Error) {
        self.warn("unreadable", file, format!("cannot be read: {}", cause(error)), "look at it as another user");
    }

    fn program(&mut self, name: &str, part: Part) -> Option<Program> {
        program::examine(&self.path.join(name), part, &mut self.findings)
    }

    /// What stands under a name, if that can be said.
    fn metadata(&mut self, name: &str) -> Option<Metadata> {
        let path = self.path.join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) => Some(metadata),
            Err(error) if self.has(name) => {
                self.error("link-dead", name, format!("cannot be followed: {}", cause(&error)), "make the link anew");
                None
            }
            Err(_) => None,
        }
    }

    /// The names in a directory of the service, if it has one; those that begin with a dot mean nothing.
    fn directory(&mut self, name: &str) -> Vec<OsString> {
        let Some(metadata) = self.metadata(name) else { return Vec::new() };
        if !metadata.is_dir() {
            let problem = format!("is no directory, but {}", what(&metadata));
            self.error("not-a-directory", name, problem, "make it a directory");
            return Vec::new();
        }
        examine_writers(&self.path.join(name), &metadata, &mut self.findings);
        let read = std::fs::read_dir(self.path.join(name));
        match read.and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
        }) {
            Ok(mut names) => {
                names.retain(|name| !name.as_bytes().starts_with(b"."));
                names.sort_unstable();
                names
            }
            Err(error) => {
                self.cannot_read(name, &error);
                Vec::new()
            }
        }
    }

    fn control(&mut self) -> BTreeMap<char, Program> {
        let mut programs = BTreeMap::new();
        let names = self.directory("control");
        for name in names {
            let file = Path::new("control").join(&name);
            let name = shown(&name);
            match (name.chars().next(), name.chars().count()) {
                (Some(letter), 1) if CONTROLS.contains(letter) => {
                    let program = program::examine(&self.path.join(&file), Part::Passing, &mut self.findings);
                    programs.extend(program.map(|program| (letter, program)));
                }
                (_, 1) => {
                    let mend = format!("take one of {CONTROLS}");
                    let problem = format!("no command of this letter runs a program: \"{name}\"");
                    self.error("control-unknown", file, problem, mend);
                }
                _ => {
                    if let Some(letter) = letter_of(&name) {
                        let problem = "is never run: the name is that of a command, and not its letter";
                        self.warn("control-unknown", file, problem, format!("call it {letter}"));
                    }
                }
            }
        }
        programs
    }

    fn log(&mut self) -> Option<Box<ServiceDir>> {
        let path = self.path.join("log");
        let link = path.symlink_metadata().ok()?.is_symlink();
        match std::fs::metadata(&path) {
            Err(error) => {
                let problem = format!("is a link that cannot be followed: {}", cause(&error));
                let mend = "make the link anew; without a logger the service runs all the same";
                self.error("log-dead", "log", problem, mend);
                None
            }
            Ok(metadata) if !metadata.is_dir() => {
                let problem = format!("is no service directory, but {}", what(&metadata));
                self.error("log-not-a-directory", "log", problem, "make it a directory with a `run`");
                None
            }
            Ok(_) if self.role == Role::Logger => {
                self.warn("log-of-log", "log", "a logger has no logger: this is ignored", "remove it");
                None
            }
            Ok(_) => match read(&path, Role::Logger) {
                Ok(log) => {
                    // Another service tells of itself.
                    self.findings.extend(log.findings.iter().filter(|_| !link).cloned());
                    Some(Box::new(log))
                }
                Err(error) => {
                    self.cannot_read("log", &error);
                    None
                }
            },
        }
    }

    fn environment(&mut self) -> BTreeMap<OsString, Option<OsString>> {
        let mut variables = BTreeMap::new();
        for name in self.directory("env") {
            let file = Path::new("env").join(&name);
            if svdir::variable_name(name.as_bytes()) == VariableName::Bad {
                let problem = "a variable's name cannot have = in it";
                self.error("env-name", file, problem, "rename it; the content is the value");
                continue;
            }
            let content = match std::fs::metadata(self.path.join(&file)) {
                // A dead link counts as empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
                Ok(metadata) if metadata.is_file() => read_variable(&self.path.join(&file)),
                Ok(metadata) => {
                    let problem = format!("is no file, but {}", what(&metadata));
                    self.error("env-not-a-file", file, problem, "leave only files in env/, one for each variable");
                    continue;
                }
            };
            let content = match content {
                Ok(content) => content,
                Err(error) => {
                    self.cannot_read(file, &error);
                    continue;
                }
            };
            if content.len() > svdir::VARIABLE {
                let problem = format!("is longer than {} bytes: the service starts without it", svdir::VARIABLE);
                self.error("env-long", file, problem, "keep it in a file, and name that");
                continue;
            }
            self.variable(&file, &content);
            variables.insert(name, svdir::variable(&content).map(OsString::from_vec));
        }
        variables
    }

    fn variable(&mut self, file: &Path, content: &[u8]) {
        let path = self.path.join(file);
        let mut lines = content.split(|byte| *byte == b'\n');
        if lines.next().is_some_and(|line| line.ends_with(b"\r")) {
            let problem = "ends in CR LF: the CR is a part of the value";
            self.findings.push(Finding::error("carriage-return", &path, problem, "save it with LF alone").at(1));
        }
        if lines.any(|line| !line.is_empty()) {
            let problem = "only the first line of a variable counts";
            let mend = "write NUL in place of each newline, or set it in run";
            self.findings.push(Finding::warning("more-lines", &path, problem, mend).at(2));
        }
    }

    fn supervise(&mut self) {
        let path = self.path.join("supervise");
        let Ok(metadata) = path.symlink_metadata() else { return };
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && metadata.is_symlink() => {
                // The last directory is made, but no more than that.
                let target = std::fs::read_link(&path).map(|target| self.path.join(target)).unwrap_or_default();
                if !target.parent().is_some_and(Path::is_dir) {
                    let problem = format!("leads to {}, which cannot be made", target.display());
                    self.error("supervise-dead", "supervise", problem, "make the directory that it is to be in");
                }
            }
            Err(error) => {
                let problem = format!("cannot be followed: {}", cause(&error));
                self.error("supervise-dead", "supervise", problem, "make the link anew");
            }
            Ok(metadata) if !metadata.is_dir() => {
                let problem = format!("is no directory, but {}", what(&metadata));
                self.error("supervise-not-a-directory", "supervise", problem, "remove it: onit makes it");
            }
            Ok(_) => {
                for name in ["supervise/control", "supervise/ok"] {
                    let there = std::fs::symlink_metadata(self.path.join(name));
                    if let Some(metadata) = there.ok().filter(|metadata| !metadata.file_type().is_fifo()) {
                        let problem = format!("is no FIFO, but {}", what(&metadata));
                        self.error("supervise-no-fifo", name, problem, "remove it: onit makes it");
                    }
                }
            }
        }
    }

    /// Names that mean nothing here, but were perhaps meant to.
    fn strangers(&mut self) {
        for name in self.names.clone() {
            let Some(text) = name.to_str() else { continue };
            if text.starts_with('.') || settings::file(text).is_some() {
                continue;
            }
            if let Some((_, why)) = FOREIGN.iter().find(|(foreign, _)| *foreign == text) {
                self.warn("foreign", &name, "onit does not read this file", *why);
                continue;
            }
            let path = self.path.join(&name);
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            let near = if metadata.is_dir() {
                names::meant(text, &[Kind::Directory]).filter(|near| *near != "log" || path.join("run").exists())
            } else {
                names::meant(text, &[Kind::Program, Kind::Value, Kind::Flag])
            };
            if let Some(near) = near.filter(|near| !self.has(near) && *near != "supervise") {
                self.warn("name-unknown", &name, "means nothing to a supervisor", format!("did you mean `{near}`?"));
            }
        }
    }
}

/// As much of a variable as is read of it, and a byte more.
fn read_variable(path: &Path) -> io::Result<Vec<u8>> {
    fs::read_regular(path, svdir::VARIABLE as u64 + 1)
}

/// The letter of a command that goes by this name.
fn letter_of(name: &str) -> Option<char> {
    let words =
        ["up", "down", "term", "exit", "kill", "pause", "cont", "hup", "alarm", "interrupt", "quit", "usr1", "usr2"];
    let letters = ['u', 'd', 't', 'x', 'k', 'p', 'c', 'h', 'a', 'i', 'q', '1', '2'];
    let bare = name.to_lowercase();
    let bare = bare.strip_suffix(".sh").unwrap_or(&bare);
    let bare = bare.strip_prefix("sig").unwrap_or(bare);
    let short = |letter: &char| bare.len() == 1 && bare.starts_with(*letter);
    let same = |word: &&str| **word == *bare || bare.len() >= 3 && word.starts_with(bare);
    words.iter().zip(letters).find(|(word, letter)| same(word) || short(letter)).map(|(_, letter)| letter)
}

/// Whether a directory is a service itself, and not a directory of services: it has a file that only a service has.
pub(super) fn is_service(path: &Path) -> bool {
    let file = |name: &str| {
        let place = path.join(name);
        std::fs::metadata(&place).map_or(place.is_symlink(), |metadata| !metadata.is_dir())
    };
    let directory = |name: &str| path.join(name).is_dir();
    file("type")
        || FILES.iter().filter(|known| known.kind != Kind::Directory).any(|known| file(known.name))
        || ["supervise", "dependencies.d", "after.d"].into_iter().any(directory)
}

/// The names in a directory that are services, or cannot be anything else.
pub(super) fn services_in(path: &Path) -> Result<Vec<(OsString, PathBuf)>, io::Error> {
    let mut services = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let place = path.join(&name);
        let plain = std::fs::metadata(&place).is_ok_and(|metadata| !metadata.is_dir());
        if !plain {
            services.push((name, place));
        }
    }
    services.sort_unstable();
    Ok(services)
}
