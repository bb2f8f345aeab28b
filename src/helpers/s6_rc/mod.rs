//! `onit run --s6-rc`: a source directory of s6-rc becomes a directory of services, and this process the supervisor of it,
//! which knows nothing of s6-rc.

pub mod graph;
pub mod oneshot;
pub mod place;
pub mod source;
pub mod words;

use crate::exit;
use crate::sys::program::{self, Program};
use crate::sys::say::say;
use crate::sys::{Errno, rescue};
use graph::{Graph, Names, Planned};
use place::Place;
use source::Kind;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Finds a place for services, and makes it; or says why there is none.
pub type FindPlace = fn(&str) -> Result<PathBuf, String>;

/// Its name in a place of ours.
pub const PLACE: &str = "s6-rc";
/// What starts, if there is a bundle of this name; else all.
const DEFAULT: &str = "default";
const OPTION: &str = "--s6-rc";

/// `onit run --s6-rc SOURCE ...`. `None`: this is not what is asked for. Else it returns only if that cannot be done.
pub fn run(args: &[OsString], find_place: FindPlace) -> Option<i32> {
    let (source, others) = split(args)?;
    if source.is_empty() {
        say("onit: the value of --s6-rc is missing or empty (a variable that is not set?)");
        return Some(exit::USAGE);
    }
    let graph = match source::read(&[source.into()], &[]).and_then(Graph::of) {
        Ok(graph) => graph,
        Err(wrong) => return Some(refuse(&wrong)),
    };
    let starts = match graph.bundles.contains_key(DEFAULT) {
        true => graph.closure([DEFAULT]),
        false => graph.services.keys().cloned().collect(),
    };
    let place = match write(&graph, &starts, Rules::default(), find_place) {
        Ok(place) => place,
        Err(why) => return Some(refuse(&[why])),
    };
    Some(supervise(&place, others))
}

/// The source directory, and the words beside it. What is behind `--` is not ours.
fn split(args: &[OsString]) -> Option<(OsString, Vec<OsString>)> {
    let ours = args.iter().take_while(|word| *word != "--");
    let with_value =
        |word: &OsString| word.as_bytes().strip_prefix(b"--s6-rc=").map(|it| OsStr::from_bytes(it).to_owned());
    let (at, word) = ours.enumerate().find(|(_, word)| *word == OPTION || with_value(word).is_some())?;
    let (source, end) = match with_value(word) {
        Some(source) => (source, at + 1),
        None => (args.get(at + 1).filter(|word| *word != "--").cloned().unwrap_or_default(), at + 2),
    };
    Some((source, args.iter().take(at).chain(args.iter().skip(end)).cloned().collect()))
}

/// What holds for all services of a tree.
#[derive(Clone, Copy, Default)]
pub struct Rules {
    /// The end of everything is that of a oneshot that fails.
    pub is_strict: bool,
    /// How long those of s6 that do not say have to end.
    pub grace: Option<Duration>,
}

/// Tells what is wrong. Returns the exit code.
pub fn refuse(wrong: &[String]) -> i32 {
    wrong.iter().for_each(|line| say(format_args!("onit: {line}")));
    exit::FAILED
}

/// Writes services to a place of ours, and tells what they lack on this system.
pub fn write(graph: &Graph, starts: &Names, rules: Rules, find_place: FindPlace) -> Result<PathBuf, String> {
    let path = find_place(PLACE).map_err(|why| format!("there is no place for the services of s6-rc: {why}"))?;
    Place { path: &path, program: &our_program(), rules }.write(graph, starts)?;
    graph.services.values().filter_map(lacks).for_each(|line| say(format_args!("onit: {line}")));
    Ok(path)
}

/// The file that cannot be read without execlineb, where there is none.
fn lacks(planned: &Planned) -> Option<String> {
    let at = &planned.source.at;
    let file = match &planned.source.kind {
        Kind::Bundle(_) => None,
        Kind::Oneshot { up, down } => {
            let both = [("up", up), ("down", down)].into_iter();
            let mut asks = both.filter(|(_, words)| words.first().is_some_and(|word| source::is_execlineb(word)));
            asks.next().filter(|_| !is_in_path("execlineb")).map(|(name, _)| at.join(name))
        }
        Kind::Longrun(_) | Kind::Plain => {
            let mut files = ["run", "finish"].into_iter().map(|name| at.join(name));
            files.find(|file| {
                let line = source::first_line(file).unwrap_or_default();
                let program = source::interpreter(&line).filter(|program| source::is_execlineb(program));
                program.is_some_and(|program| !Path::new(program).exists())
            })
        }
    };
    file.map(|file| format!("{} needs execlineb, which is not installed", file.display()))
}

/// Whether one of the directories in `PATH` has this program.
pub fn is_in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| source::is_executable(&dir.join(name)))
}

/// Our own program.
pub fn our_program() -> PathBuf {
    rescue::program_path().unwrap_or_else(|| "/proc/self/exe".into())
}

/// This process becomes the supervisor of this directory. Returns the exit code if it cannot.
pub fn supervise(place: &Path, others: Vec<OsString>) -> i32 {
    let ours = ["onit", "run", "--s6"].map(OsString::from).into_iter().chain([place.into()]);
    let words: Vec<OsString> = ours.chain(others).collect();
    let errno = become_ourselves(&words);
    say(format_args!("onit: cannot execute {}: {}", our_program().display(), errno.desc()));
    exit::SYSTEM
}

/// This process becomes onit with these words. Returns only if it cannot.
pub fn become_ourselves(words: &[OsString]) -> Errno {
    let paths = vec![our_program().into_os_string().as_bytes().to_vec()];
    match Program::new(paths, words, program::environment()) {
        Ok(program) => program.execute(&[]),
        Err(errno) => errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_taken_out_of_the_words_before_the_command() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let split = |text: &str| split(&words(text)).map(|(source, others)| (source.into_string(), others));
        let expected = |source: &str, others: &str| Some((Ok(source.to_owned()), words(others)));
        assert_eq!(split("-v --s6-rc src --log json -- a"), expected("src", "-v --log json -- a"));
        assert_eq!(split("--s6-rc=src -v"), expected("src", "-v"));
        assert_eq!([split("-v dir"), split("-- a --s6-rc src"), split("")], [None, None, None]);
        assert_eq!(split("--s6-rc -- a").map(|(source, _)| source), Some(Ok(String::new())));
        assert_eq!(split("--s6-rc").map(|(source, _)| source), Some(Ok(String::new())));
    }
}
