//! What a source directory of s6-rc says: its files, read and not yet understood together.

use super::words::{self, Line};
use crate::sys::fs;
use crate::wire::svdir;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// One directory of a source directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Services and bundles that have to be up before.
    pub needs: Vec<String>,
    /// For how long it may come up and go down, in milliseconds; 0 is for ever.
    pub limits: Limits,
}

/// For how long, in milliseconds; 0 is for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Coming up.
    pub up: u64,
    /// Going down. Of a process: from its stop signal to KILL.
    pub down: u64,
}

/// What a directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A name for others.
    Bundle(Vec<String>),
    /// What is done, and undone. Each is a program with its arguments, or nothing.
    Oneshot {
        /// Done when it comes up.
        up: Vec<String>,
        /// Done when it goes down.
        down: Vec<String>,
    },
    /// A process.
    Longrun(Pipeline),
    /// A process whose directory is one of s6, with `log/` and `down`.
    Plain,
}

/// Where a process is in a pipeline.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pipeline {
    /// Who reads what it writes.
    pub producer_for: Option<String>,
    /// Who writes what it reads.
    pub consumer_for: Vec<String>,
    /// The name of a bundle for all of them.
    pub name: Option<String>,
}

/// Reads all that is in these directories; a bundle may be in several of them. Those with these names are bundles also
/// without a file `type`. Or tells what is wrong, a line each.
pub fn read(places: &[PathBuf], bundles: &[&str]) -> Result<Vec<Source>, Vec<String>> {
    let (mut sources, mut wrong) = (Vec::new(), Vec::new());
    for place in places {
        match names(place) {
            Err(error) => wrong.push(format!("{}: {error}", place.display())),
            Ok(names) => {
                let homes = names.into_iter().filter(|name| place.join(name).is_dir());
                for name in homes {
                    match read_one(&place.join(&name), &name, bundles) {
                        Ok(source) => sources.push(source),
                        Err(why) => wrong.push(why),
                    }
                }
            }
        }
    }
    if wrong.is_empty() { Ok(sources) } else { Err(wrong) }
}

/// The names in a directory, in order. Those with a dot in front do not count.
pub fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let text = name.to_str().ok_or_else(|| io::Error::other(format!("{} is no UTF-8", name.display())))?;
        if !text.starts_with('.') {
            names.push(text.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read_one(at: &Path, name: &str, bundles: &[&str]) -> Result<Source, String> {
    if name.starts_with("s6rc-") || name.starts_with("s6-rc-") || name.ends_with('@') || name.contains('\n') {
        return Err(format!("{}: such a name is reserved", at.display()).replace('\n', "\\n"));
    }
    let kind = match text(&at.join("type"))?.as_deref().map(str::trim_end) {
        Some("bundle") => bundle(at)?,
        None if bundles.contains(&name) => bundle(at)?,
        Some("oneshot") => {
            let up = script(&at.join("up"))?;
            let up = up.ok_or_else(|| format!("{}: a oneshot needs this file", at.join("up").display()))?;
            Kind::Oneshot { up, down: script(&at.join("down"))?.unwrap_or_default() }
        }
        Some("longrun") => {
            if !at.join("run").is_file() {
                return Err(format!("{}: a longrun needs this file", at.join("run").display()));
            }
            let producer_for = lines(&at.join("producer-for"))?.into_iter().next();
            let name = lines(&at.join("pipeline-name"))?.into_iter().next();
            Kind::Longrun(Pipeline { producer_for, consumer_for: lines(&at.join("consumer-for"))?, name })
        }
        Some(other) => {
            let said = svdir::excerpt(other);
            return Err(format!("{}/type says {said:?}, which is neither oneshot, longrun nor bundle", at.display()));
        }
        None => return Err(format!("{}/type is not there", at.display())),
    };
    let mut limits =
        Limits { up: milliseconds(&at.join("timeout-up"))?, down: milliseconds(&at.join("timeout-down"))? };
    if matches!(kind, Kind::Longrun(_)) {
        limits.down = time_to_kill(at);
    }
    Ok(Source { name: name.to_owned(), at: at.to_owned(), kind, needs: listed(at, "dependencies")?, limits })
}

fn bundle(at: &Path) -> Result<Kind, String> {
    listed(at, "contents").map(Kind::Bundle)
}

/// The names in `WORD.d`, or else in the lines of the file `WORD`, which is how it was said before.
fn listed(at: &Path, word: &str) -> Result<Vec<String>, String> {
    let dir = at.join(format!("{word}.d"));
    match names(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => lines(&at.join(word)),
        names => names.map_err(|error| format!("{}: {error}", dir.display())),
    }
}

/// The lines of a file that are neither empty nor comments; none if it is not there.
fn lines(path: &Path) -> Result<Vec<String>, String> {
    let text = text(path)?.unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// What a file says, if it is there. Nothing is waited for, as a FIFO would have it.
fn text(path: &Path) -> Result<Option<String>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    match fs::read_regular(path, u64::MAX) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| wrong(&"is no UTF-8")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&error)),
    }
}

fn milliseconds(path: &Path) -> Result<u64, String> {
    let Some(text) = text(path)? else { return Ok(0) };
    let said = text.trim_end();
    said.parse().map_err(|_| format!("{} says {:?}, which is no number", path.display(), svdir::excerpt(said)))
}

/// What `timeout-kill` says, in milliseconds. The supervisor tells what is wrong in it.
pub fn time_to_kill(at: &Path) -> u64 {
    let text = text(&at.join("timeout-kill")).ok().flatten();
    let span = text.and_then(|text| svdir::limit(&text)).flatten().unwrap_or_default();
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The program that `up` or `down` is: itself, if it is a script that can be executed and none of execline's; or what its
/// line says.
fn script(path: &Path) -> Result<Option<Vec<String>>, String> {
    let Some(text) = text(path)? else { return Ok(None) };
    let shown = path.to_str().ok_or_else(|| format!("{}: the path is no UTF-8", path.display()))?;
    if interpreter(&text).is_some_and(|it| !is_execlineb(it)) && is_executable(path) {
        return Ok(Some(vec![shown.to_owned()]));
    }
    Ok(Some(match words::read(&text) {
        Line::Words(words) => words,
        Line::Execline => ["execlineb", "-P", "-c", &text].map(str::to_owned).to_vec(),
    }))
}

/// Whether a file may be executed by somebody.
pub fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// The program that the first line of a script names.
pub fn interpreter(text: &str) -> Option<&str> {
    text.lines().next()?.strip_prefix("#!")?.split_whitespace().next()
}

/// Whether a program is the one that reads execline.
pub fn is_execlineb(program: &str) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == "execlineb")
}

/// The first line of a file, as far as it is one of a script.
pub fn first_line(path: &Path) -> io::Result<String> {
    let start = fs::read_regular(path, 256)?;
    Ok(String::from_utf8_lossy(&start).lines().next().unwrap_or_default().to_owned())
}
