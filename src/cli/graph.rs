//! `onit graph`: what services depend on, as a tree.

use super::connect::{Connection, worse};
use super::format;
use super::status;
use super::term::{self, Colour, Paint};
use crate::exit;
use crate::machine::fleet::links::{Kind, Links};
use crate::service_dir::ServiceDir;
use crate::wire::api::ServiceStatus;
use argh::{ArgsInfo, FromArgs};
use std::collections::{BTreeMap, BTreeSet};

/// What services depend on, by the files dependencies.d and after.d of their directories: first those that nothing
/// depends on, below each what it waits for.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Graph {
    /// services; all without one
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// as a graph for dot(1)
    #[argh(switch)]
    dot: bool,
    /// auto (on a terminal, unless NO_COLOR is set), always or never
    #[argh(option, default = "Colour::Auto", arg_name = "WHEN")]
    color: Colour,
}

/// Services by name, and how they depend on each other.
struct Known {
    services: BTreeMap<String, ServiceStatus>,
    links: Links<String>,
    circular: BTreeSet<String>,
}

impl Graph {
    /// Tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Connection::open();
        let services = match talk.everything() {
            Ok(services) => services,
            Err(trouble) => return trouble.report(),
        };
        let (targets, code) =
            if self.services.is_empty() { (Vec::new(), exit::OK) } else { talk.targets(&self.services) };
        let roots: Vec<String> = targets.into_iter().map(|target| target.name).collect();
        if roots.is_empty() && code != exit::OK {
            return code;
        }
        let known = Known::of(&talk, services);
        let roots = if roots.is_empty() { known.roots() } else { roots };
        let told = if self.dot {
            term::print(&known.dot(&roots))
        } else {
            term::print_lines(&known.tree(&roots, self.color.paint()))
        };
        worse(told, code)
    }
}

impl Known {
    fn of(talk: &Connection, services: Vec<ServiceStatus>) -> Known {
        let mut links = Links::default();
        for service in services.iter().filter(|service| !service.logger) {
            let Ok(dir) = ServiceDir::read(talk.place(&talk.target(&service.name))) else { continue };
            let needs = dir.settings.dependencies.iter().map(|name| (Kind::Needs, name));
            let all = needs.chain(dir.settings.after.iter().map(|name| (Kind::After, name)));
            links.set(&service.name, all.map(|(kind, name)| (kind, name.to_string_lossy().into_owned())).collect());
        }
        let circular = links.settle().into_iter().flatten().collect();
        let services = services.into_iter().filter(|service| !service.logger);
        Known { services: services.map(|service| (service.name.clone(), service)).collect(), links, circular }
    }

    /// Those that nothing depends on, and of each circle the first.
    fn roots(&self) -> Vec<String> {
        let mut reached = BTreeSet::new();
        let mut roots: Vec<String> =
            self.services.keys().filter(|name| self.links.dependents(name).next().is_none()).cloned().collect();
        roots.retain(|name| !self.circular.contains(name) || reached.insert(name.clone()));
        roots
    }

    fn tree(&self, roots: &[String], paint: Paint) -> Vec<String> {
        let (mut lines, mut shown) = (Vec::new(), BTreeSet::new());
        for root in roots {
            lines.push(self.line(root, "", paint));
            self.branch(root, "", paint, &mut shown, &mut lines);
        }
        lines
    }

    /// What stands below a service. What was shown already is not shown again.
    fn branch(&self, at: &String, indent: &str, paint: Paint, shown: &mut BTreeSet<String>, lines: &mut Vec<String>) {
        shown.insert(at.clone());
        let on: Vec<(Kind, &String)> = self.links.of(at).collect();
        for (place, (kind, name)) in on.iter().enumerate() {
            let is_last = place + 1 == on.len();
            let (twig, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let how = if *kind == Kind::After { "after " } else { "" };
            let is_known = shown.contains(*name) && self.links.of(name).next().is_some();
            let again = if is_known { " …" } else { "" };
            lines.push(format!("{indent}{twig}{}{again}", self.line(name, how, paint)));
            if !is_known {
                self.branch(name, &format!("{indent}{below}"), paint, shown, lines);
            }
        }
    }

    fn line(&self, name: &str, how: &str, paint: Paint) -> String {
        let circle = if self.circular.contains(name) { ", in a circle" } else { "" };
        let shown = term::cut(name, usize::MAX);
        match self.services.get(name) {
            Some(service) => {
                let state = paint.tone(status::tone(service), &format::described_state(service));
                format!("{how}{shown} ({state}{circle})")
            }
            None => format!("{how}{shown} (not there)"),
        }
    }

    fn dot(&self, roots: &[String]) -> String {
        let mut text = String::from("digraph services {\n");
        let (mut front, mut seen) = (roots.to_vec(), BTreeSet::new());
        while let Some(at) = front.pop() {
            if !seen.insert(at.clone()) {
                continue;
            }
            text += &format!("    {};\n", quoted(&at));
            for (kind, on) in self.links.all_of(&at) {
                let style = if *kind == Kind::After { " [style=dashed]" } else { "" };
                text += &format!("    {} -> {}{style};\n", quoted(&at), quoted(on));
                front.push(on.clone());
            }
        }
        text + "}\n"
    }
}

/// As a word of dot's language.
fn quoted(name: &str) -> String {
    format!("\"{}\"", term::cut(name, usize::MAX).replace('\\', "\\\\").replace('"', "\\\""))
}
