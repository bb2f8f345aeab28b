//! What the supervisor executes for a process: a file whose interpreter is the program itself, so that no shell and no
//! tool are needed. `/proc/self/exe` is the executable of the supervisor, also if another file stands in its place by now.
//! Behind the first line come fields: a letter, a text, and a zero byte.

use super::check::{Check as _, Http, Question, Tcp};
use super::hook::{EXECUTABLE, MARK};
use super::{Process, User};
use crate::exit;
use crate::service_dir::Script;
use crate::sys::credentials::{self, Account};
use crate::sys::program::Program;
use crate::sys::{Errno, fs, say::say};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The path of commands where no variable says it.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What the program answers if a process is well.
pub(super) const WELL: &[u8] = b"y";

/// What such a file is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Task {
    /// Becoming the process, or a command that says whether it is well.
    Become(Vec<OsString>),
    /// See [`Tcp`].
    Tcp(String),
    /// See [`Http`].
    Http(String),
    /// Asking the program at this socket about the process of this name.
    Ask { socket: OsString, name: OsString },
}

impl From<Question> for Task {
    fn from(question: Question) -> Task {
        match question {
            Question::Tcp(address) => Task::Tcp(address),
            Question::Http(url) => Task::Http(url),
            Question::Exec(words) => Task::Become(words),
        }
    }
}

/// The file.
pub(super) fn write(process: &Process, task: &Task) -> Script {
    let mut file = format!("#!{EXECUTABLE} {MARK}\n").into_bytes();
    let mut field = |letter: u8, texts: &[&[u8]]| {
        file.push(letter);
        texts.iter().for_each(|text| file.extend_from_slice(text));
        file.push(0);
    };
    match task {
        Task::Tcp(address) => field(b't', &[address.as_bytes()]),
        Task::Http(url) => field(b'h', &[url.as_bytes()]),
        Task::Ask { socket, name } => {
            field(b's', &[socket.as_bytes()]);
            field(b'n', &[name.as_bytes()]);
        }
        Task::Become(words) => {
            if process.clear {
                field(b'-', &[]);
            }
            for (name, value) in &process.environment {
                field(b'e', &[name.as_bytes(), b"=", value.as_bytes()]);
            }
            field(b'd', &[process.directory.as_os_str().as_bytes()]);
            match &process.user {
                Some(User::Name(name)) => field(b'u', &[name.as_bytes()]),
                Some(User::Id { user, group }) => field(b'i', &[format!("{user}:{group}").as_bytes()]),
                None => {}
            }
            words.iter().for_each(|word| field(b'a', &[word.as_bytes()]));
        }
    }
    Script::file(file)
}

/// Does what such a file says; the exit code, if this does not become another program.
pub(super) fn run(path: &Path) -> i32 {
    let path = &fs::absolute(path);
    let fields = match std::fs::read(path) {
        Ok(file) => Fields::of(&file),
        Err(error) => return refuse(path, &error),
    };
    if let Some(address) = fields.text(b't') {
        return answer(Tcp(address).is_well());
    }
    if let Some(url) = fields.text(b'h') {
        return answer(Http(url).is_well());
    }
    if let Some(socket) = fields.one(b's') {
        return answer(ask(&socket, &fields.one(b'n').unwrap_or_default()));
    }
    match fields.become_it() {
        Ok(never) => match never {},
        Err(why) => refuse(path, &why),
    }
}

fn answer(is_well: bool) -> i32 {
    if is_well { exit::OK } else { exit::FAILED }
}

fn refuse(path: &Path, why: &dyn std::fmt::Display) -> i32 {
    say(format_args!("onit: {}: {why}", path.display()));
    exit::SYSTEM
}

/// Asks the program. One that is not there any more has nothing against it.
fn ask(socket: &OsStr, name: &OsStr) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return true };
    let mut said = Vec::new();
    let asked = stream.write_all(&[name.as_bytes(), b"\n"].concat());
    asked.and_then(|()| stream.read_to_end(&mut said)).is_ok() && said == WELL
}

/// What stands in such a file.
struct Fields(Vec<(u8, OsString)>);

enum Never {}

impl Fields {
    fn of(file: &[u8]) -> Fields {
        let start = file.iter().position(|byte| *byte == b'\n').map_or(file.len(), |at| at + 1);
        let fields = file.get(start..).unwrap_or_default().split(|byte| *byte == 0);
        let fields = fields.filter_map(|field| field.split_first());
        Fields(fields.map(|(letter, text)| (*letter, OsString::from_vec(text.to_vec()))).collect())
    }

    fn all(&self, letter: u8) -> impl Iterator<Item = &OsString> {
        self.0.iter().filter(move |(one, _)| *one == letter).map(|(_, text)| text)
    }

    fn one(&self, letter: u8) -> Option<OsString> {
        self.all(letter).next().cloned()
    }

    fn text(&self, letter: u8) -> Option<String> {
        self.one(letter).map(|text| text.to_string_lossy().into_owned())
    }

    /// Becomes the process. Or says why that does not work.
    fn become_it(&self) -> Result<Never, String> {
        let words: Vec<OsString> = self.all(b'a').cloned().collect();
        let name = words.first().ok_or("no command")?;
        let environment = self.environment();
        let paths = candidates(name, environment.get(OsStr::new("PATH")));
        let environment =
            environment.into_iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
        let program = Program::new(paths, &words, environment.collect()).map_err(|errno| errno.desc().to_owned())?;
        self.change_user()?;
        if let Some(directory) = self.one(b'd') {
            fs::enter(&directory).map_err(|errno| format!("{}: {}", directory.display(), errno.desc()))?;
        }
        Err(format!("{}: {}", name.display(), program.execute(&[Errno::EACCES, Errno::ENOTDIR]).desc()))
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let inherited = std::env::vars_os().filter(|_| self.one(b'-').is_none());
        let given = self.all(b'e').filter_map(|entry| {
            let at = entry.as_bytes().iter().position(|byte| *byte == b'=')?;
            let (name, value) = entry.as_bytes().split_at_checked(at)?;
            Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value.get(1..)?).to_owned()))
        });
        let given: Vec<_> = given.collect();
        inherited.chain(given).collect()
    }

    fn change_user(&self) -> Result<(), String> {
        let (user, group, groups) = if let Some(name) = self.one(b'u') {
            let account = account(&name)?;
            (account.user, account.group, [vec![account.group], credentials::groups_of(&account)].concat())
        } else if let Some(ids) = self.text(b'i') {
            let numbers = ids.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
            let (user, group) = numbers.ok_or_else(|| format!("{ids} is no user and group"))?;
            (user, group, vec![group])
        } else {
            return Ok(());
        };
        let changed = credentials::set_groups(&groups)
            .and_then(|()| credentials::set_group(group))
            .and_then(|()| credentials::set_user(user));
        changed.map_err(|errno| format!("cannot become user {user}, group {group}: {}", errno.desc()))
    }
}

fn account(name: &OsStr) -> Result<Account, String> {
    match credentials::user_of_name(name.as_bytes()) {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(format!("there is no user {}", name.display())),
        Err(errno) => Err(format!("cannot look for user {}: {}", name.display(), errno.desc())),
    }
}

/// Where a program of this name may stand.
fn candidates(name: &OsStr, path: Option<&OsString>) -> Vec<Vec<u8>> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.as_bytes().to_vec()];
    }
    let path = path.map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    std::env::split_paths(path).map(|place| place.join(name).into_os_string().into_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let process = Process::new("x", ["unused"]).env("A", "b=c\nd").env("E", "").directory("/some where");
        let process = process.user(User::Id { user: 5, group: 6 });
        let words = vec!["cmd".into(), "".into(), "two words\n".into()];
        let Ok(file) = content(&write(&process, &Task::Become(words.clone()))) else { panic!("no file") };
        assert!(file.starts_with(b"#!/proc/self/exe onit::embed\n"));
        let fields = Fields::of(&file);
        assert_eq!(fields.all(b'a').cloned().collect::<Vec<_>>(), words);
        assert_eq!(fields.text(b'i').as_deref(), Some("5:6"));
        assert_eq!(fields.text(b'd').as_deref(), Some("/some where"));
        let environment = fields.environment();
        assert_eq!(environment.get(OsStr::new("A")), Some(&"b=c\nd".into()));
        assert_eq!(environment.get(OsStr::new("E")), Some(&"".into()));
        assert!(environment.contains_key(OsStr::new("PATH")));
        let clear = Fields::of(&content(&write(&process.clear_env(), &Task::Become(words))).expect("fields"));
        assert_eq!(clear.environment().len(), 2);
    }

    fn content(script: &Script) -> std::io::Result<Vec<u8>> {
        let directory = tempfile::tempdir()?;
        let service = crate::service_dir::ServiceBuilder::new(["x"]).run_file(script.clone());
        service.write(directory.path().join("x")).map_err(std::io::Error::other)?;
        std::fs::read(directory.path().join("x/run"))
    }

    #[test]
    fn a_name_is_looked_for_in_the_path() {
        let all =
            |name: &str, path: Option<&str>| candidates(name.as_ref(), path.map(OsString::from).as_ref()).join(&b' ');
        assert_eq!(all("x", Some("/a:/b")), b"/a/x /b/x");
        assert_eq!(all("./x", Some("/a:/b")), b"./x");
        assert_eq!(all("x", None), b"/usr/local/bin/x /usr/bin/x /bin/x");
    }
}
