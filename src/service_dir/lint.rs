//! Service directories examined: each for itself, and what they say of each other.

use super::finding::Finding;
use super::program::{cause, shown};
use super::{ServiceDir, Settings, read};
use crate::machine::fleet::links::{Kind, Links};
use crate::wire::svdir::{is_template, template_and_instance};
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
            } else if !is_instance_of(&name, twin) {
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
        if name.as_bytes().ends_with(b"@") && !has_instances(name, place) {
            let problem = "is ignored: a name that ends in @ is that of a template, and it has no instances";
            self.warn("name-ignored", place, problem, "rename it, write a file instances, or link NAME@x to it");
        }
        if template_and_instance(name.as_bytes()).is_some_and(|(_, instance)| instance == b"all") {
            let problem = "has a name that means every instance to the verbs of onit";
            self.warn("name-odd", place, problem, "rename it, or give its path to the verbs");
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
        for place in self.asked.clone() {
            self.dependencies(&place);
        }
        self.circles();
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
                if self.get(&place.with_file_name(name)).is_some() || self.is_instance(place, name) {
                    continue;
                }
                let problem = format!("there is no service {}", shown(name));
                let finding = if directory == "dependencies.d" {
                    let problem = format!("{problem}: it waits for ever");
                    Finding::error("dependency-missing", &file, problem, "write that service, or remove this file")
                } else {
                    Finding::warning("dependency-missing", &file, problem, "remove this file")
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

    /// Services that depend on each other, as far as they can be reached from those that were asked for.
    fn circles(&mut self) {
        let (mut links, mut front, mut seen) = (Links::default(), self.asked.clone(), BTreeSet::new());
        while let Some(place) = front.pop() {
            if seen.insert(place.clone()) {
                let on = self.waits_for(&place);
                front.extend(on.iter().map(|(_, on)| on.clone()));
                links.set(&place, on);
            }
        }
        links.settle().iter().for_each(|way| self.circle(way));
    }

    fn waits_for(&mut self, place: &Path) -> Vec<(Kind, PathBuf)> {
        let Some(service) = self.get(place) else { return Vec::new() };
        let Settings { dependencies, after, .. } = &service.settings;
        let needs = dependencies.iter().map(|name| (Kind::Needs, name));
        let all = needs.chain(after.iter().map(|name| (Kind::After, name)));
        all.filter(|(_, name)| **name != service.name).map(|(kind, name)| (kind, place.with_file_name(name))).collect()
    }

    fn circle(&mut self, way: &[PathBuf]) {
        let names: Vec<String> = way.iter().map(|place| place.file_name().map(shown).unwrap_or_default()).collect();
        let problem = format!("these depend on each other, so none waits for another: {}", names.join(" -> "));
        let (Some(place), Some(next)) = (way.first(), way.get(1).and_then(|next| next.file_name())) else {
            return;
        };
        let file = ["dependencies.d", "after.d"].map(|directory| place.join(directory).join(next));
        let file = file.iter().find(|file| file.symlink_metadata().is_ok()).unwrap_or(place);
        self.error("dependency-cycle", file, problem, "remove one of these");
    }
}

/// Whether one name is that of an instance of the template that goes by the other.
fn is_instance_of(name: &OsStr, template: &OsStr) -> bool {
    template_and_instance(name.as_bytes()).is_some_and(|(own, _)| own == template.as_bytes())
}

/// Whether a template says which instances it has, or a link beside it does.
fn has_instances(template: &OsStr, place: &Path) -> bool {
    let is_link = |path: &Path| path.file_name().is_some_and(|name| is_instance_of(name, template));
    let mut beside = place.parent().and_then(|parent| std::fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    let said = place.join("instances").is_file() && is_template(template.as_bytes());
    said || beside.any(|entry| is_link(&entry.path()))
}
