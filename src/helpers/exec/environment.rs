//! The environment, changed as daemontools, runit and s6 change it, with the same order of its entries afterwards.

use super::plan::{Failure, Step, errno_of};
use crate::sys::{Errno, fs, program};
use crate::tool::print;
use crate::wire::{env_file, svdir};
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;

/// More of a file is not read, in bytes: the kernel takes half of it as one variable.
const LONGEST: u64 = 1 << 18;
/// A file of variables may be so large, in bytes.
const LARGEST: u64 = 1 << 24;

/// Entries, `NAME=VALUE`.
pub(super) struct Environment(Vec<Vec<u8>>);

impl Environment {
    /// That of this process.
    pub(super) fn ours() -> Environment {
        Environment(program::environment())
    }

    /// `NAME=VALUE` is set, `NAME` removed.
    pub(super) fn change(&mut self, text: Vec<u8>) {
        let end = text.iter().position(|byte| *byte == b'=');
        let (name, _) = text.split_at_checked(end.unwrap_or(text.len())).unwrap_or_default();
        let is_it = |entry: &Vec<u8>| entry.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="));
        if let Some(at) = self.0.iter().position(is_it) {
            self.0.swap_remove(at);
        }
        if end.is_some() {
            self.0.push(text);
        }
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.change([name.as_bytes(), b"=", value.as_ref()].concat());
    }

    /// What a variable is.
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
    }

    /// All of it.
    pub(super) fn into_entries(self) -> Vec<Vec<u8>> {
        self.0
    }
}

/// Something that becomes of the environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing is left but these variables.
    Clear(&'static [&'static str]),
    /// A directory says it, a file for each variable.
    Directory(OsString, Rules),
    /// A file says it, a line for each variable.
    File(OsString),
    /// `NAME=VALUE` is set, `NAME` removed.
    Entry(Vec<u8>),
}

/// How a directory of variables is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rules {
    /// As daemontools does: whatever cannot be read is an error.
    Envdir,
    /// As chpst does: directories in it are none, and a line says so if one is asked for.
    Chpst {
        /// Says so.
        verbose: bool,
    },
    /// As s6-envdir does.
    S6(S6),
}

/// The options of s6-envdir.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct S6 {
    /// A directory that is not there is an error.
    pub insists: bool,
    /// Blanks at the end are kept.
    pub keeps_blanks: bool,
    /// All of a file counts, not only its first line.
    pub whole: bool,
    /// What a NUL stands for.
    pub nul: u8,
}

impl Change {
    /// Makes it.
    pub(super) fn make(&self, environment: &mut Environment) -> Result<(), Failure> {
        match self {
            Change::Clear(kept) => {
                let is_kept = |entry: &Vec<u8>| {
                    kept.iter()
                        .any(|name| entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
                };
                environment.0.retain(is_kept);
                Ok(())
            }
            Change::Directory(path, Rules::S6(options)) => of_s6(path, *options, environment),
            Change::Directory(path, rules) => of_envdir(path, *rules, environment),
            Change::File(path) => of_file(path, environment),
            Change::Entry(text) => {
                environment.change(text.clone());
                Ok(())
            }
        }
    }
}

/// From within the directory, as the tools do it: who may not do that is told so by the same step.
fn of_envdir(path: &OsStr, rules: Rules, environment: &mut Environment) -> Result<(), Failure> {
    let here = fs::working_dir().map_err(Failure::of(Step::OpenHere))?;
    fs::enter(path).map_err(Failure::with(Step::EnterVariables, path.as_bytes()))?;
    let list = fs::open_list(fs::HERE, OsStr::new(".")).map_err(Failure::with(Step::OpenVariables, path.as_bytes()))?;
    let names = names(&list).map_err(Failure::with(Step::ListVariables, path.as_bytes()))?;
    for name in names {
        match content(&list, &name) {
            Ok(content) => environment.change(entry(name, svdir::variable(&content))),
            Err(Errno::EISDIR) if matches!(rules, Rules::Chpst { .. }) => {
                if rules == (Rules::Chpst { verbose: true }) {
                    let why = print::why(Errno::EISDIR);
                    print::stderr(&[
                        b"chpst: warning: unable to read ",
                        path.as_bytes(),
                        b"/",
                        &name,
                        b": ",
                        why,
                        b"\n",
                    ]);
                }
            }
            Err(errno) => {
                return Err(Failure::with(Step::ReadVariables, [path.as_bytes(), b"/", &name].concat())(errno));
            }
        }
    }
    fs::return_to(&here).map_err(Failure::of(Step::OpenHere))
}

/// A link that leads nowhere is as good as an empty file.
fn content(list: impl AsFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    match fs::read_any(list, OsStr::from_bytes(name), LONGEST) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| errno_of(&error)),
    }
}

fn entry(name: Vec<u8>, value: Option<Vec<u8>>) -> Vec<u8> {
    value.map_or(name.clone(), |value| [&name[..], b"=", &value].concat())
}

/// The names in a directory in its own order, those that begin with a dot excepted.
fn names(list: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    fs::list(list, ".", usize::MAX, |name| names.extend((!name.starts_with(b".")).then(|| name.to_vec())))?;
    Ok(names)
}

fn of_s6(path: &OsStr, options: S6, environment: &mut Environment) -> Result<(), Failure> {
    let failed = |errno| Failure::with(Step::ListVariables, path.as_bytes())(errno);
    let list = match fs::open_list(fs::HERE, path) {
        Err(Errno::ENOENT) if !options.insists => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    let names = names(&list).map_err(failed)?;
    let mut changes = Vec::new();
    for name in names.into_iter().filter(|name| !name.contains(&b'=')) {
        let content = match fs::read_any(&list, OsStr::from_bytes(&name), LONGEST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(failed(Errno::EIDRM)),
            result => result.map_err(|error| failed(errno_of(&error)))?,
        };
        changes.push(entry(name, options.value(&content)));
    }
    changes.into_iter().for_each(|change| environment.change(change));
    Ok(())
}

impl S6 {
    /// What a file says: nothing, so that its variable is removed, or a value.
    fn value(self, content: &[u8]) -> Option<Vec<u8>> {
        if content.is_empty() {
            return None;
        }
        let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let value = match (self.whole, self.keeps_blanks) {
            (true, true) => content,
            (true, false) => content.strip_suffix(b"\n").unwrap_or(content),
            (false, true) => line,
            (false, false) => {
                let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
                let end = line.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1);
                line.get(..end).unwrap_or_default()
            }
        };
        Some(value.iter().map(|byte| if *byte == 0 { self.nul } else { *byte }).collect())
    }
}

fn of_file(path: &OsStr, environment: &mut Environment) -> Result<(), Failure> {
    let content = fs::read_any(fs::HERE, path, LARGEST)
        .map_err(|error| Failure::with(Step::ReadVariables, path.as_bytes())(errno_of(&error)))?;
    let variables = env_file::parse(&content).map_err(|(line, why)| {
        let place = format!(", line {line}: {why}");
        Failure::plain(Step::BadVariable, [path.as_bytes(), place.as_bytes()].concat())
    })?;
    let set = variables.into_iter().filter_map(|(name, value)| Some(entry(name, Some(value?))));
    set.for_each(|text| environment.change(text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(entries: &[&str], changes: &[&str]) -> String {
        let mut environment = Environment(entries.iter().map(|text| text.as_bytes().to_vec()).collect());
        changes.iter().for_each(|text| environment.change(text.as_bytes().to_vec()));
        let text = environment.0.into_iter().map(|entry| String::from_utf8(entry).expect("text"));
        text.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_last_entry_takes_the_place_of_one_that_goes() {
        assert_eq!(changed(&["A=1", "B=2", "C=3"], &["A=4"]), "C=3 B=2 A=4");
        assert_eq!(changed(&["A=1", "B=2", "C=3"], &["A"]), "C=3 B=2");
        assert_eq!(changed(&["A=1", "A=2"], &["A"]), "A=2", "only the first one");
        assert_eq!(changed(&["AB=1"], &["A", "B="]), "AB=1 B=");
        assert_eq!(changed(&["A=1"], &["A=V=noeq"]), "A=V=noeq");
        assert_eq!(changed(&["odd", "A=1"], &["odd"]), "odd A=1", "no variable");
    }

    #[test]
    fn a_change_may_leave_only_some_variables() {
        let mut environment = Environment([&b"PATH=/bin"[..], b"PATHS=x", b"A=1"].map(<[u8]>::to_vec).to_vec());
        Change::Clear(&["PATH"]).make(&mut environment).expect("made");
        assert_eq!(environment.value(b"PATH"), Some(&b"/bin"[..]));
        assert_eq!(environment.into_entries().len(), 1);
    }

    #[test]
    fn s6_reads_files_by_its_options() {
        let value = |whole, keeps_blanks, content: &[u8]| {
            let value = S6 { insists: true, keeps_blanks, whole, nul: b'_' }.value(content);
            value.map(|value| String::from_utf8(value).expect("text"))
        };
        let some = |text: &str| Some(text.to_owned());
        for (whole, keeps_blanks, shown) in
            [(false, false, "v"), (false, true, "v \r"), (true, false, "v \r\nw"), (true, true, "v \r\nw\n")]
        {
            assert_eq!(value(whole, keeps_blanks, b"v \r\nw\n"), some(shown));
            assert_eq!(value(whole, keeps_blanks, b""), None);
            assert_eq!(value(whole, keeps_blanks, b"\0"), some("_"));
        }
        assert_eq!(value(false, false, b"\n"), some(""));
        assert_eq!(value(true, false, b"\n"), some(""));
    }
}
