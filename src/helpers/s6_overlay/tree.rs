//! The services of a container: those of s6-overlay's two versions, and the order of its stages.

use crate::helpers::s6_rc::graph::{Graph, Names};
use crate::helpers::s6_rc::source::{self, Kind, Limits, Source};
use std::path::{Path, PathBuf};

/// Where services of version 3 are, and where bundles of the user may be, too.
const SOURCES: [&str; 2] = ["/etc/s6-overlay/s6-rc.d", "/etc/s6-overlay/user-bundles.d"];
/// Those of version 2.
pub const LEGACY: &str = "/etc/services.d";
/// Programs that prepare a container, one after the other.
pub const INIT: &str = "/etc/cont-init.d";
/// Programs that are run when everything has ended.
pub const FINISH: &str = "/etc/cont-finish.d";
/// Owners and modes of files, which we leave as they are.
pub const ATTRIBUTES: &str = "/etc/fix-attrs.d";

/// Services and bundles of s6-overlay itself, which those of users name.
const OWN_INIT: &str = "legacy-cont-init";
const OWN_LEGACY: &str = "legacy-services";
const OWN_ATTRIBUTES: &str = "fix-attrs";
const OWN_BASE: &str = "base";
/// What starts, and what starts after that and after the services of version 2.
const USER: &str = "user";
const USER_LATE: &str = "user2";

/// Whether there is anything of s6-overlay in this file system.
pub fn is_here() -> bool {
    ["/etc/s6-overlay", LEGACY, INIT].into_iter().any(|dir| Path::new(dir).is_dir())
}

/// The services, and which of them start. `stage` is the program that runs `INIT` and `FINISH`, without the word that
/// says which. Or tells what is wrong, a line each.
pub fn read(stage: &[String], finish_limit: u64) -> Result<(Graph, Names), Vec<String>> {
    let places: Vec<PathBuf> = SOURCES.into_iter().map(PathBuf::from).filter(|place| place.is_dir()).collect();
    let mut sources = source::read(&places, &[USER, USER_LATE])?;
    let legacy = legacy_names();
    sources.extend(legacy.iter().map(|name| of_legacy(name)));
    let of_programs = |dir: &str, word: &str| {
        let words = stage.iter().cloned().chain([word.to_owned()]);
        if programs(dir).is_empty() { Vec::new() } else { words.collect() }
    };
    let (up, down) = (of_programs(INIT, "init"), of_programs(FINISH, "finish"));
    let limit = finish_limit.saturating_mul(programs(FINISH).len() as u64);
    let own = own(up, down, limit, legacy);
    sources.extend(own.into_iter().filter(|own| is_missing(own, &sources)).collect::<Vec<_>>());
    let mut graph = Graph::of(sources)?;
    let starts = in_stages(&mut graph);
    Ok((graph, starts))
}

fn is_missing(own: &Source, sources: &[Source]) -> bool {
    matches!(own.kind, Kind::Bundle(_)) || !sources.iter().any(|source| source.name == own.name)
}

/// The services of version 2.
pub fn legacy_names() -> Vec<String> {
    let names = source::names(Path::new(LEGACY)).unwrap_or_default().into_iter();
    names.filter(|name| Path::new(LEGACY).join(name).join("run").is_file()).collect()
}

/// The executable files of a directory, in order.
pub fn programs(dir: &str) -> Vec<PathBuf> {
    let names = source::names(Path::new(dir)).unwrap_or_default().into_iter();
    names.map(|name| Path::new(dir).join(name)).filter(|path| source::is_executable(path)).collect()
}

fn of_legacy(name: &str) -> Source {
    let service = plain(name, Kind::Plain);
    Source { limits: Limits { up: 0, down: source::time_to_kill(&service.at) }, ..service }
}

fn plain(name: &str, kind: Kind) -> Source {
    let at = Path::new(LEGACY).join(name);
    Source { name: name.to_owned(), at, kind, needs: Vec::new(), limits: Limits::default() }
}

/// What s6-overlay brings along itself.
fn own(up: Vec<String>, down: Vec<String>, down_limit: u64, legacy: Vec<String>) -> Vec<Source> {
    let init = plain(OWN_INIT, Kind::Oneshot { up, down });
    let init = Source { at: INIT.into(), limits: Limits { up: 0, down: down_limit }, ..init };
    let bundle = |names: &[&str]| Kind::Bundle(names.iter().map(|name| (*name).to_owned()).collect());
    vec![
        init,
        plain(OWN_ATTRIBUTES, Kind::Oneshot { up: Vec::new(), down: Vec::new() }),
        plain(OWN_BASE, bundle(&[OWN_INIT, OWN_ATTRIBUTES])),
        plain(OWN_LEGACY, Kind::Bundle(legacy)),
        plain(USER, bundle(&[])),
        plain(USER_LATE, bundle(&[])),
    ]
}

/// One stage after the other: what prepares, the services of the user, those of version 2, and the rest. A stage in which
/// something fails does not hold up the next one. Returns what starts.
fn in_stages(graph: &mut Graph) -> Names {
    let init = graph.closure([OWN_BASE]);
    let legacy = graph.closure([OWN_LEGACY]);
    let user = graph.closure([USER]);
    let all: Names = graph.closure([USER, USER_LATE]);
    let of_stages: Names = init.union(&legacy).cloned().collect();
    let needs_legacy = |name: &String| !graph.closure([name.as_str()]).is_disjoint(&legacy);
    let (late, early): (Names, Names) =
        all.difference(&of_stages).cloned().partition(|name| !user.contains(name) || needs_legacy(name));
    graph.put_after(&early, &init);
    let before: Names = init.union(&early).cloned().collect();
    graph.put_after(&legacy, &before);
    let before: Names = before.union(&legacy).cloned().collect();
    graph.put_after(&late, &before);
    before.union(&late).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longrun(name: &str, needs: &[&str]) -> Source {
        let needs = needs.iter().map(|name| (*name).to_owned()).collect();
        Source { needs, ..plain(name, Kind::Longrun(Default::default())) }
    }

    fn bundle(name: &str, names: &[&str]) -> Source {
        plain(name, Kind::Bundle(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    fn names(names: &[&str]) -> Names {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_stage_comes_after_the_ones_before() {
        let mut sources = own(vec!["up".into()], Vec::new(), 0, vec!["old".into()]);
        sources.extend([plain("old", Kind::Plain), longrun("web", &["base"]), longrun("db", &[])]);
        sources.extend([longrun("late", &["db"]), longrun("after-old", &["legacy-services"]), longrun("unused", &[])]);
        sources.extend([bundle("user", &["web", "after-old"]), bundle("user2", &["late"])]);
        let mut graph = Graph::of(sources).expect("all is well");
        let starts = in_stages(&mut graph);
        let init = ["fix-attrs", "legacy-cont-init"];
        assert_eq!(starts, names(&["after-old", "db", "fix-attrs", "late", "legacy-cont-init", "old", "web"]));
        assert_eq!((&graph.services["web"].after, &graph.services["web"].needs), (&names(&init), &names(&init)));
        assert_eq!(graph.services["old"].after, names(&[&init[..], &["web"]].concat()));
        let before = names(&[&init[..], &["web", "old"]].concat());
        assert_eq!([&graph.services["late"].after, &graph.services["after-old"].after], [&before, &before]);
        assert_eq!(graph.services["db"].after, before, "only what is late needs it");
        assert_eq!(graph.services["legacy-cont-init"].after, Names::new());
    }
}
