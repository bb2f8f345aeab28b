//! Service directories examined: each for itself, and what they say of each other.

use super::finding::Finding;
use super::program::{cause, shown};
use super::{ServiceDir, read};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Examines these. Each is a service directory, or a directory of services. What a service says of other services is
/// checked against what stands beside it.
pub fn examine<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Vec<Finding> {
    let mut lint = Lint::default();
    for path in paths {
        lint.take(path.as_ref());
    }
    lint.look_at_neighbours();
    lint.findings
}

#[derive(Default)]
struct Lint {
    findings: Vec<Finding>,
    /// Where services were found, in the order of the question.
    asked: Vec<PathBuf>,
    /// Services, and what stands beside them, by their paths. `None`: there is no such service.
    known: BTreeMap<PathBuf, Option<ServiceDir>>,
}

impl Lint {
    fn take(&mut self, path: &Path) {
        match std::fs::metadata(path) {
            Err(error) => self.cannot_open(path, &error),
            Ok(metadata) if !metadata.is_dir() => {
                let problem = "is no directory";
                self.error("not-a-directory", path, problem, "name a service directory");
            }
            Ok(_) if read::is_service(path) => self.service(path),
            Ok(_) => match read::services_in(path) {
                Ok(services) => self.directory(path, services),
                Err(error) => self.cannot_open(path, &error),
            },
        }
    }

    fn error(&mut self, kind: &'static str, file: &Path, problem: impl Into<String>, mend: &str) {
        self.findings.push(Finding::error(kind, file, problem, mend));
    }

    fn warn(&mut self, kind: &'static str, file: &Path, problem: impl Into<String>, mend: &str) {
        self.findings.push(Finding::warning(kind, file, problem, mend));
    }

    fn cannot_open(&mut self, path: &Path, error: &io::Error) {
        let problem = format!("cannot be opened: {}", cause(error));
        self.error("unreadable", path, problem, "name a directory that can be read");
    }

    fn directory(&mut self, path: &Path, services: Vec<(OsString, PathBuf)>) {
        let mut seen: BTreeMap<(u64, u64), OsString> = BTreeMap::new();
        let mut visible = false;
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o002 != 0) {
            let problem = "everybody can put a service there";
            self.error("world-writable", path, problem, "chmod o-w");
        }
        for (name, place) in services {
            let hidden = name.as_bytes().starts_with(b".");
            if hidden && place.join("run").exists() {
                let problem = "is ignored: its name begins with a dot";
                self.warn("name-ignored", &place, problem, "rename it when it is complete");
            }
            if hidden {
                continue;
            }
            visible = true;
            let metadata = match std::fs::metadata(&place) {
                Ok(metadata) => metadata,
                Err(error) => {
                    let problem = format!("is a link that cannot be followed: {}", cause(&error));
                    self.error("link-dead", &place, problem, "make the link anew, or remove it");
                    continue;
                }
            };
            self.name(&name, &place);
            let twin = seen.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.clone());
            if *twin == name {
                self.service(&place);
            } else {
                let problem = format!("is the same directory as {}: it runs once", shown(twin));
                self.warn("name-twice", &place, problem, "remove one of the two");
            }
        }
        if !visible {
            let problem = "is no service, since there is no run, and there are no services in it";
            self.error("nothing-here", path, problem, "write a run, or name another directory");
        }
    }

    fn name(&mut self, name: &OsStr, place: &Path) {
        if name.as_bytes().ends_with(b"@") {
            let problem = "is ignored: a name that ends in @ is that of a template";
            self.warn("name-ignored", place, problem, "rename it, or link NAME@x to it");
        }
        let text = shown(name);
        if text == "all" {
            let problem = "has a name that means every service to the verbs of onit";
            self.warn("name-odd", place, problem, "rename it, or give its path to the verbs");
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) || text.starts_with('-') {
            let problem = format!("{text:?} is hard to give to a command");
            self.warn("name-odd", place, problem, "rename it, without blanks and a leading -");
        }
    }

    fn service(&mut self, path: &Path) {
        let place = if path.file_name().is_some() { Ok(path.to_owned()) } else { path.canonicalize() };
        match place.and_then(|place| ServiceDir::read(path).map(|service| (place, service))) {
            Ok((place, service)) => {
                if !self.asked.contains(&place) {
                    self.findings.extend(service.findings.iter().cloned());
                    self.asked.push(place.clone());
                }
                self.known.insert(place, Some(service));
            }
            Err(error) => self.cannot_open(path, &error),
        }
    }

    // What they say of each other.

    fn look_at_neighbours(&mut self) {
        let (mut done, mut told) = (BTreeSet::new(), BTreeSet::new());
        for place in self.asked.clone() {
            self.dependencies(&place);
            self.cycles(&place, &mut done, &mut told);
        }
    }

    fn get(&mut self, place: &Path) -> Option<&ServiceDir> {
        let known = self.known.entry(place.to_owned());
        known.or_insert_with(|| ServiceDir::read(place).ok()).as_ref()
    }

    fn dependencies(&mut self, place: &Path) {
        let Some(service) = self.get(place).cloned() else { return };
        for (directory, names) in
            [("dependencies.d", &service.settings.dependencies), ("after.d", &service.settings.after)]
        {
            for name in names.iter().filter(|name| **name != service.name) {
                let file = service.path.join(directory).join(name);
                let hard = directory == "dependencies.d";
                let finding = match self.get(&place.with_file_name(name)).map(|other| other.settings.down) {
                    None if self.is_instance(place, name) => continue,
                    None if hard => {
                        let problem = format!("there is no service {}: it waits for ever", shown(name));
                        Finding::error("dependency-missing", &file, problem, "write that service, or remove this file")
                    }
                    None => {
                        let problem = format!("there is no service {}", shown(name));
                        Finding::warning("dependency-missing", &file, problem, "remove this file")
                    }
                    Some(true) if hard && !service.settings.down => {
                        let problem = format!("{} is not started by itself: it has a file down", shown(name));
                        Finding::warning(
                            "dependency-down",
                            &file,
                            problem,
                            "remove that file, or write one here as well",
                        )
                    }
                    Some(_) => continue,
                };
                self.findings.push(finding);
            }
        }
    }

    /// `NAME@x`, where there is a template `NAME@`.
    fn is_instance(&mut self, place: &Path, name: &OsStr) -> bool {
        let name = name.as_bytes();
        let template = name.iter().position(|byte| *byte == b'@').and_then(|at| name.get(..=at));
        template.is_some_and(|template| self.get(&place.with_file_name(OsStr::from_bytes(template))).is_some())
    }

    /// Each service is looked at once: a circle that it is in has been met on the first way that led to it.
    fn cycles(&mut self, start: &Path, done: &mut BTreeSet<PathBuf>, told: &mut BTreeSet<Vec<PathBuf>>) {
        if done.contains(start) {
            return;
        }
        // The way to here, and what is still to be tried from each place on it.
        let mut way: Vec<(PathBuf, Vec<PathBuf>)> = vec![(start.to_owned(), self.waits_for(start))];
        while let Some((here, rest)) = way.last_mut() {
            let Some(next) = rest.pop() else {
                done.insert(here.clone());
                way.pop();
                continue;
            };
            if let Some(from) = way.iter().position(|(place, _)| *place == next) {
                let circle: Vec<PathBuf> = way.iter().skip(from).map(|(place, _)| place.clone()).collect();
                if circle.len() > 1 {
                    self.circle(circle, told);
                }
            } else if !done.contains(&next) {
                let rest = self.waits_for(&next);
                way.push((next, rest));
            }
        }
    }

    /// What a service waits for, in reverse order.
    fn waits_for(&mut self, place: &Path) -> Vec<PathBuf> {
        let Some(service) = self.get(place) else { return Vec::new() };
        let names = service.settings.dependencies.iter().chain(&service.settings.after);
        names.rev().map(|name| place.with_file_name(name)).collect()
    }

    /// A circle is told once, from its first name on.
    fn circle(&mut self, mut circle: Vec<PathBuf>, told: &mut BTreeSet<Vec<PathBuf>>) {
        let first = circle.iter().enumerate().min_by_key(|(_, place)| *place).map_or(0, |(at, _)| at);
        circle.rotate_left(first);
        if !told.insert(circle.clone()) {
            return;
        }
        let name = |place: &PathBuf| place.file_name().map(shown).unwrap_or_default();
        let names: Vec<String> = circle.iter().chain(circle.first()).map(name).collect();
        let problem = format!("these wait for each other, and so for ever: {}", names.join(" -> "));
        let (Some(place), Some(next)) = (circle.first(), circle.get(1).and_then(|next| next.file_name())) else {
            return;
        };
        let file = ["dependencies.d", "after.d"].map(|directory| place.join(directory).join(next));
        let file = file.iter().find(|file| file.symlink_metadata().is_ok()).unwrap_or(place);
        self.error("dependency-cycle", file, problem, "remove one of these");
    }
}
