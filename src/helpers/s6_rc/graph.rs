//! What the directories of a source mean together: which services there are, who needs whom, who logs for whom.

use super::source::{Kind, Pipeline, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Names of services.
pub type Names = BTreeSet<String>;

/// All services, and the names of several.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Graph {
    /// By their names.
    pub services: BTreeMap<String, Planned>,
    /// The services that each bundle stands for.
    pub bundles: BTreeMap<String, Names>,
}

/// A service to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// What it is made from. It is no bundle.
    pub source: Source,
    /// What has to be up before it starts.
    pub needs: Names,
    /// What it comes after, if that is about to be up.
    pub after: Names,
    /// Who reads what it writes.
    pub log: Option<String>,
}

impl Graph {
    /// Or tells what is wrong, a line each.
    pub fn of(sources: Vec<Source>) -> Result<Graph, Vec<String>> {
        let by_name = unique(sources)?;
        let mut wrong = Vec::new();
        let bundles = expand_all(&by_name, &mut wrong);
        let mut graph = Graph { services: BTreeMap::new(), bundles };
        for (name, source) in &by_name {
            if !matches!(source.kind, Kind::Bundle(_)) {
                let log = logger(source, &by_name, &mut wrong);
                let needs = graph.needs(source, &by_name, log.as_ref(), &mut wrong);
                let planned = Planned { source: source.clone(), needs, after: Names::new(), log };
                graph.services.insert(name.clone(), planned);
            }
        }
        if wrong.is_empty() {
            wrong.extend(graph.circle());
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        graph.need_what_the_done_need();
        Ok(graph)
    }

    /// A oneshot with nothing to undo is done, and holds nothing up when all goes down: who needs it needs what it needs.
    fn need_what_the_done_need(&mut self) {
        let is_done = |planned: &Planned| matches!(&planned.source.kind, Kind::Oneshot { down, .. } if down.is_empty());
        let done = self.services.iter().filter(|(_, planned)| is_done(planned));
        let done: BTreeMap<String, Names> = done.map(|(name, planned)| (name.clone(), planned.needs.clone())).collect();
        for planned in self.services.values_mut() {
            let mut open: Vec<String> = planned.needs.iter().cloned().collect();
            while let Some(name) = open.pop() {
                for behind in done.get(&name).into_iter().flatten() {
                    if planned.needs.insert(behind.clone()) {
                        open.push(behind.clone());
                    }
                }
            }
        }
    }

    fn needs(
        &self,
        source: &Source,
        all: &BTreeMap<String, Source>,
        log: Option<&String>,
        wrong: &mut Vec<String>,
    ) -> Names {
        let mut needs: Names = log.cloned().into_iter().collect();
        for name in &source.needs {
            match self.bundles.get(name) {
                Some(members) => needs.extend(members.iter().cloned()),
                None if all.contains_key(name) => _ = needs.insert(name.clone()),
                None => wrong.push(unknown(source, "dependencies.d", name)),
            }
        }
        needs
    }

    /// The services that these names stand for, and all that they need. Names that are not known are nothing.
    pub fn closure<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Names {
        let mut open: Vec<String> = Vec::new();
        for name in names {
            match self.bundles.get(name) {
                Some(members) => open.extend(members.iter().cloned()),
                None => open.push(name.to_owned()),
            }
        }
        let mut found = Names::new();
        while let Some(name) = open.pop() {
            if let Some(planned) = self.services.get(&name)
                && found.insert(name)
            {
                open.extend(planned.needs.iter().cloned());
            }
        }
        found
    }

    /// How long these take to go down at most, one after the other, as far as they say so.
    pub fn time_to_end(&self, names: &Names) -> Duration {
        let services = names.iter().filter_map(|name| self.services.get(name));
        Duration::from_millis(services.fold(0, |all, planned| all.saturating_add(planned.source.limits.down)))
    }

    /// These start after those, unless they are among them.
    pub fn put_after(&mut self, names: &Names, before: &Names) {
        for name in names.difference(before) {
            if let Some(planned) = self.services.get_mut(name) {
                planned.after.extend(before.iter().cloned());
            }
        }
    }

    /// Services that need each other in a circle.
    fn circle(&self) -> Option<String> {
        let next = |name: &str| -> Vec<&str> {
            self.services.get(name).map(|it| it.needs.iter().map(String::as_str).collect()).unwrap_or_default()
        };
        let chain = circle(self.services.keys().map(String::as_str), next)?;
        let at = chain.first().and_then(|name| self.services.get(*name)).map(|it| it.source.at.display().to_string());
        let at = at.unwrap_or_default();
        Some(format!("{at}/dependencies.d: services need each other in a circle: {}", chain.join(" -> ")))
    }
}

fn unknown(source: &Source, place: &str, name: &str) -> String {
    format!("{}/{place}/{name}: there is no service or bundle of that name", source.at.display())
}

/// A name stands for one thing; but bundles of one name are one bundle. A pipeline with a name is a bundle.
fn unique(sources: Vec<Source>) -> Result<BTreeMap<String, Source>, Vec<String>> {
    let (mut by_name, mut wrong) = (BTreeMap::<String, Source>::new(), Vec::new());
    let pipelines: Vec<Source> = sources.iter().filter_map(pipeline).collect();
    for source in sources.into_iter().chain(pipelines) {
        let Some(known) = by_name.get_mut(&source.name) else {
            by_name.insert(source.name.clone(), source);
            continue;
        };
        match (&mut known.kind, source.kind) {
            (Kind::Bundle(known), Kind::Bundle(more)) => known.extend(more),
            _ => wrong.push(format!("{}: {} has the same name", source.at.display(), known.at.display())),
        }
    }
    if wrong.is_empty() { Ok(by_name) } else { Err(wrong) }
}

/// The bundle that the last one of a pipeline names.
fn pipeline(source: &Source) -> Option<Source> {
    let Kind::Longrun(Pipeline { producer_for: None, consumer_for, name: Some(name) }) = &source.kind else {
        return None;
    };
    let members = consumer_for.iter().chain([&source.name]).cloned().collect();
    let at = source.at.join("pipeline-name");
    Some(Source { name: name.clone(), at, kind: Kind::Bundle(members), needs: Vec::new(), limits: source.limits })
}

fn expand_all(all: &BTreeMap<String, Source>, wrong: &mut Vec<String>) -> BTreeMap<String, Names> {
    let contents = |name: &str| -> Vec<&str> {
        match all.get(name).map(|source| &source.kind) {
            Some(Kind::Bundle(contents)) => contents.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    };
    let is_bundle = |source: &&Source| matches!(source.kind, Kind::Bundle(_));
    let bundles: Vec<&Source> = all.values().filter(is_bundle).collect();
    if let Some(chain) = circle(bundles.iter().map(|source| source.name.as_str()), contents) {
        let at =
            chain.first().and_then(|name| all.get(*name)).map(|it| it.at.display().to_string()).unwrap_or_default();
        wrong.push(format!("{at}/contents.d: bundles hold each other in a circle: {}", chain.join(" -> ")));
        return BTreeMap::new();
    }
    let mut expanded = BTreeMap::new();
    for bundle in bundles {
        let (mut open, mut members) = (contents(&bundle.name), Names::new());
        let strangers = open.iter().filter(|name| !all.contains_key(**name));
        wrong.extend(strangers.map(|name| unknown(bundle, "contents.d", name)));
        while let Some(name) = open.pop() {
            match all.get(name).map(|source| &source.kind) {
                Some(Kind::Bundle(_)) => open.extend(contents(name)),
                Some(_) => _ = members.insert(name.to_owned()),
                None => {}
            }
        }
        expanded.insert(bundle.name.clone(), members);
    }
    expanded
}

/// Who reads what a service writes. Both have to say so.
fn logger(source: &Source, all: &BTreeMap<String, Source>, wrong: &mut Vec<String>) -> Option<String> {
    let Kind::Longrun(Pipeline { producer_for, consumer_for, .. }) = &source.kind else { return None };
    let of = |name: &str| match all.get(name).map(|source| &source.kind) {
        Some(Kind::Longrun(pipeline)) => Some(pipeline),
        _ => None,
    };
    let at = source.at.display();
    for producer in consumer_for {
        match of(producer).map(|pipeline| pipeline.producer_for.as_ref() == Some(&source.name)) {
            Some(true) => {}
            Some(false) => wrong.push(format!("{at}/consumer-for names {producer}, whose producer-for does not agree")),
            None => wrong.push(format!("{at}/consumer-for names {producer}, which is no longrun")),
        }
    }
    let consumer = producer_for.as_ref()?;
    match of(consumer).map(|pipeline| pipeline.consumer_for.contains(&source.name)) {
        Some(true) if !consumer_for.is_empty() => {
            wrong.push(format!("{at}/producer-for: what reads of others cannot have a reader itself in onit"));
        }
        Some(true) => return Some(consumer.clone()),
        Some(false) => wrong.push(format!("{at}/producer-for names {consumer}, whose consumer-for does not agree")),
        None => wrong.push(format!("{at}/producer-for names {consumer}, which is no longrun")),
    }
    None
}

/// The first way that leads back to where it has been, as far as it is a circle.
fn circle<'n>(starts: impl Iterator<Item = &'n str>, next: impl Fn(&str) -> Vec<&'n str>) -> Option<Vec<&'n str>> {
    let mut known = BTreeSet::new();
    for start in starts {
        let mut way = vec![(start, next(start))];
        while let Some((here, ahead)) = way.last_mut() {
            let here = *here;
            match ahead.pop() {
                Some(name) if way.iter().any(|(passed, _)| *passed == name) => {
                    let passed = way.iter().map(|(passed, _)| *passed).skip_while(|passed| *passed != name);
                    return Some(passed.chain([name]).collect());
                }
                Some(name) if !known.contains(name) => way.push((name, next(name))),
                Some(_) => {}
                None => {
                    known.insert(here);
                    way.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helpers::s6_rc::source::Limits;
    use std::path::Path;

    fn source(name: &str, kind: Kind, needs: &[&str]) -> Source {
        let needs = needs.iter().map(|name| (*name).to_owned()).collect();
        Source { name: name.into(), at: Path::new("/src").join(name), kind, needs, limits: Limits::default() }
    }

    fn longrun(name: &str, needs: &[&str]) -> Source {
        source(name, Kind::Longrun(Pipeline::default()), needs)
    }

    fn bundle(name: &str, contents: &[&str]) -> Source {
        source(name, Kind::Bundle(contents.iter().map(|name| (*name).to_owned()).collect()), &[])
    }

    fn piped(name: &str, producer_for: Option<&str>, consumer_for: &[&str]) -> Source {
        let consumer_for = consumer_for.iter().map(|name| (*name).to_owned()).collect();
        let producer_for = producer_for.map(str::to_owned);
        let name_of_all = (name == "log").then(|| "all".to_owned());
        source(name, Kind::Longrun(Pipeline { producer_for, consumer_for, name: name_of_all }), &[])
    }

    fn names(names: &[&str]) -> Names {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[track_caller]
    fn wrong(sources: Vec<Source>, expected: &[&str]) {
        assert_eq!(Graph::of(sources).expect_err("something is wrong"), expected);
    }

    #[test]
    fn bundles_stand_for_all_that_is_in_them_however_deep() {
        let sources = vec![
            bundle("all", &["web", "some"]),
            bundle("some", &["db"]),
            bundle("some", &["cache"]),
            longrun("web", &["some"]),
            longrun("db", &["disk"]),
            longrun("cache", &[]),
            longrun("disk", &[]),
            longrun("other", &["all"]),
        ];
        let graph = Graph::of(sources).expect("all is well");
        assert_eq!(graph.bundles["all"], names(&["web", "db", "cache"]));
        assert_eq!(graph.services["web"].needs, names(&["db", "cache"]));
        assert_eq!(graph.services["other"].needs, names(&["web", "db", "cache"]));
        assert_eq!(graph.closure(["all"]), names(&["web", "db", "cache", "disk"]));
        assert_eq!(graph.closure(["db", "nobody"]), names(&["db", "disk"]));
    }

    #[test]
    fn the_time_to_end_is_that_of_all_and_never_too_much_to_say() {
        let timed = |name: &str, down: u64| Source { limits: Limits { up: 1, down }, ..longrun(name, &[]) };
        let graph = Graph::of(vec![timed("a", 300), timed("b", 20), timed("c", 4), timed("long", u64::MAX)]);
        let graph = graph.expect("all is well");
        assert_eq!(graph.time_to_end(&names(&["a", "c"])), Duration::from_millis(304));
        assert_eq!(graph.time_to_end(&names(&["a", "long"])), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn who_needs_what_is_done_at_once_needs_what_that_needs() {
        let oneshot = |name: &str, down: &[&str], needs: &[&str]| {
            let down = down.iter().map(|word| (*word).to_owned()).collect();
            source(name, Kind::Oneshot { up: Vec::new(), down }, needs)
        };
        let sources = vec![
            longrun("web", &["one"]),
            oneshot("one", &[], &["two"]),
            oneshot("two", &[], &["three"]),
            oneshot("three", &["undo"], &["four"]),
            oneshot("four", &[], &[]),
        ];
        let graph = Graph::of(sources).expect("all is well");
        assert_eq!(graph.services["web"].needs, names(&["one", "two", "three"]));
    }

    #[test]
    fn names_that_are_not_there_or_stand_twice_are_told_with_their_file() {
        wrong(vec![longrun("a", &["b"])], &["/src/a/dependencies.d/b: there is no service or bundle of that name"]);
        wrong(vec![bundle("a", &["b"])], &["/src/a/contents.d/b: there is no service or bundle of that name"]);
        wrong(vec![bundle("a", &[]), longrun("a", &[])], &["/src/a: /src/a has the same name"]);
    }

    #[test]
    fn a_circle_is_told_with_its_chain() {
        let circle = "/src/b/dependencies.d: services need each other in a circle: b -> c -> b";
        wrong(
            vec![longrun("a", &["b"]), longrun("b", &["c", "d"]), longrun("c", &["b"]), longrun("d", &[])],
            &[circle],
        );
        wrong(
            vec![bundle("a", &["b"]), bundle("b", &["a"])],
            &["/src/a/contents.d: bundles hold each other in a circle: a -> b -> a"],
        );
        let own = "/src/a/dependencies.d: services need each other in a circle: a -> a";
        wrong(vec![longrun("a", &["b"]), bundle("b", &["a"])], &[own]);
        let shared = vec![longrun("a", &["b", "c"]), longrun("b", &["d"]), longrun("c", &["d"]), longrun("d", &[])];
        assert!(Graph::of(shared).is_ok(), "two ways to one are no circle");
    }

    #[test]
    fn both_ends_of_a_pipeline_have_to_agree() {
        let (web, db, log) = (piped("web", Some("log"), &[]), piped("db", Some("log"), &[]), &["web", "db"]);
        let graph = Graph::of(vec![web.clone(), db.clone(), piped("log", None, log)]).expect("all is well");
        assert_eq!(graph.services["web"].log.as_deref(), Some("log"));
        assert_eq!((&graph.services["db"].needs, &graph.services["log"].log), (&names(&["log"]), &None));
        assert_eq!(graph.bundles["all"], names(&["db", "log", "web"]));
        let disagrees = "/src/db/producer-for names log, whose consumer-for does not agree";
        wrong(vec![web.clone(), db, piped("log", None, &["web"])], &[disagrees]);
        let disagrees = "/src/log/consumer-for names x, whose producer-for does not agree";
        wrong(vec![piped("x", None, &[]), piped("log", None, &["x"])], &[disagrees]);
        wrong(vec![web.clone()], &["/src/web/producer-for names log, which is no longrun"]);
        let middle = piped("log", Some("end"), &["web"]);
        wrong(
            vec![web, middle, piped("end", None, &["log"])],
            &["/src/log/producer-for: what reads of others cannot have a reader itself in onit"],
        );
    }
}
