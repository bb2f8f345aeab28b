//! What a verb talks to: the supervisor, by its socket or else by the files, and the services that its words name.

use super::newcomer::{SEARCH_TIMEOUT, is_service};
use super::{files, near, term};
use crate::client::find::{Directory, Miss, same};
use crate::client::{Deadline, Error, ErrorKind, api::Api};
use crate::exit;
use crate::machine::{Mono, Pid, ServiceState};
use crate::sys::{Errno, clock, fs, poll, say::say};
use crate::wire::api::ServiceStatus;
use crate::wire::select::{matches, pattern};
use crate::wire::svdir::{SERVICES, template_and_instance};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A supervisor that takes longer with an answer than this does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long one that has hung up has to come back.
const RETURN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// One that hangs up so often is not asked again.
const TIMES: usize = 5;

/// Why a verb does not come about: its exit code, and a line for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CliError {
    /// See [`crate::exit`].
    pub code: i32,
    /// Without the name of the program.
    pub text: String,
    /// Why the connection is of no use any more, if it is not. The supervisor may come back.
    pub lost: Option<Lost>,
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The supervisor has hung up.
    HungUp,
    /// It did not answer in time, so we have.
    Silent,
}

impl CliError {
    /// A trouble.
    pub fn new(code: i32, text: impl Into<String>) -> CliError {
        CliError { code, text: text.into(), lost: None }
    }

    /// A request that failed.
    pub fn failed(error: &Error) -> CliError {
        let lost = match error.kind() {
            ErrorKind::Closed => Some(Lost::HungUp),
            ErrorKind::TimedOut => Some(Lost::Silent),
            _ => None,
        };
        CliError { lost, ..CliError::new(exit::SYSTEM, error.why()) }
    }

    /// There is no such service.
    pub fn unknown(name: &str, directory: &Path) -> CliError {
        let names = fs::open_path(directory).and_then(fs::names).unwrap_or_default();
        let names: Vec<_> = names.iter().filter(|name| is_service(name)).map(|name| name.to_string_lossy()).collect();
        let (place, question) = (directory.display(), near::question(name, &names));
        let list = "(\"onit list\" shows those there are)";
        CliError::new(exit::UNKNOWN, format!("{name}: no such service in {place}{question} {list}"))
    }

    /// A word that is empty, as that of a script whose variable is not set, names no service, and never all of them.
    pub fn empty() -> CliError {
        CliError::new(exit::USAGE, "the name of a service is empty (a variable that is not set?)")
    }

    /// Names whose bytes are no UTF-8 may look the same.
    fn ambiguous(name: &str) -> CliError {
        let text =
            format!("{name}: several names that are not UTF-8 look like this (\"onit sv\" takes them as they are)");
        CliError::new(exit::FAILED, text)
    }

    /// A request about a service that failed.
    pub fn of(name: &str, error: &Error, directory: &Path) -> CliError {
        if error.kind() == ErrorKind::NoService {
            return CliError::unknown(name, directory);
        }
        let trouble = CliError::failed(error);
        let says_no = matches!(error.kind(), ErrorKind::NotPermitted | ErrorKind::Declined);
        let code = if says_no { exit::FAILED } else { trouble.code };
        CliError { code, text: format!("{name}: {}", trouble.text), ..trouble }
    }

    /// Says it. Returns the exit code.
    pub fn report(&self) -> i32 {
        say(format_args!("onit: {}", term::cut(&self.text, usize::MAX)));
        self.code
    }
}

/// Of several exit codes the one that says most.
pub fn worse(one: i32, other: i32) -> i32 {
    one.max(other)
}

/// The service of this name, where these are all.
pub fn of_all(all: &[ServiceStatus], name: &str) -> Result<Option<ServiceStatus>, CliError> {
    let mut meant = all.iter().filter(|service| service.name == name);
    match (meant.next(), meant.next()) {
        (Some(_), Some(_)) => Err(CliError::ambiguous(name)),
        (found, _) => Ok(found.cloned()),
    }
}

/// Sorts services by their names.
pub fn sort_by_name(services: &mut [ServiceStatus]) {
    services.sort_by(|one, other| term::by_name(&one.name, &other.name));
}

/// How a service is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Via {
    /// Through the socket, by this name.
    Api,
    /// Through the files of this directory.
    Files(PathBuf),
}

/// A service that was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// As people know it.
    pub name: String,
    /// How it is reached.
    pub way: Via,
}

/// A supervisor, as far as it can be reached.
pub struct Connection {
    /// Its socket, if it answers there.
    pub api: Option<Api>,
    /// The path of that socket.
    pub socket: Option<PathBuf>,
    /// Where the service directories are.
    pub directory: PathBuf,
    /// Where its socket was looked for, and why it is not used.
    tried: Vec<(PathBuf, String)>,
    /// It is there, but does not answer.
    silent: bool,
    /// The socket of a supervisor that we may not ask, and why.
    pub(super) forbidden: Option<(PathBuf, String)>,
    /// It hears of everything.
    subscribed: bool,
}

impl Connection {
    /// Looks for a supervisor. That none answers by a socket shows when the files say nothing either.
    pub fn open() -> Connection {
        Connection::open_within(None)
    }

    /// The same for a caller that has so much time. A supervisor always has a moment to answer: it is asked also with a
    /// limit of zero.
    pub fn open_within(limit: Option<Duration>) -> Connection {
        let patience = limit.map_or(PATIENCE, |limit| limit.clamp(SEARCH_TIMEOUT, PATIENCE));
        let directory = Directory::from_environment();
        let (found, misses) = directory.search(patience);
        let is_forbidden = |miss: &&Miss| miss.may_be_theirs && miss.error.kind() == ErrorKind::NotPermitted;
        let why = |miss: &Miss| (miss.error.path().to_owned(), miss.error.why());
        for miss in misses.iter().filter(|miss| miss.error.kind() == ErrorKind::Untrusted) {
            CliError::new(exit::OK, format!("{}: {}", miss.error.path().display(), miss.error.why())).report();
        }
        let mut talk = Connection {
            api: None,
            socket: None,
            directory: fs::absolute(&directory.path),
            tried: misses.iter().map(why).collect(),
            silent: misses.iter().any(Miss::is_silent),
            forbidden: misses.iter().find(is_forbidden).map(why),
            subscribed: false,
        };
        if let Some((api, place)) = found {
            // A socket beside the services is that of their supervisor, whatever path it has for the directory.
            let theirs = PathBuf::from(&api.hello().directory);
            (talk.api, talk.socket) = (Some(api), Some(place.socket));
            if !place.beside {
                talk.directory = if talk.is_elsewhere() { talk.as_seen_there(&theirs) } else { theirs };
            }
        }
        talk
    }

    /// A supervisor that executes itself again has been away for a moment. It has until then to come back, if there is a
    /// limit, and never longer than five seconds.
    pub fn again(&self, deadline: Option<Mono>) -> Result<Connection, CliError> {
        let until = [deadline, Some(clock::now().after(RETURN))].into_iter().flatten().min();
        loop {
            let left = until.map_or(RETURN, |until| until.since(clock::now()));
            let mut talk = Connection::open_within(Some(left));
            let answer = match talk.api {
                Some(_) if self.subscribed => talk.subscribe(),
                Some(_) => Ok(()),
                None => Err(talk.unreachable()),
            };
            let Err(trouble) = answer else { return Ok(talk) };
            if self.api.is_none() || left.is_zero() || poll::pause(PAUSE.min(left)).is_err() {
                return Err(CliError { lost: Some(Lost::Silent), ..trouble });
            }
        }
    }

    /// Does this, and does it anew where the supervisor has hung up meanwhile, if that comes back.
    pub fn insist<T>(
        &mut self,
        deadline: Option<Mono>,
        mut act: impl FnMut(&mut Connection) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let mut answer = act(self);
        for _ in 0..TIMES {
            if !answer.as_ref().is_err_and(|trouble| trouble.lost == Some(Lost::HungUp)) {
                break;
            }
            *self = self.again(deadline)?;
            answer = act(self);
        }
        answer
    }

    /// From now on it hears of everything, if there is a socket; also when it has come [`again`](Connection::again).
    pub fn subscribe(&mut self) -> Result<(), CliError> {
        self.subscribed = true;
        let answer = self.api.as_mut().map_or(Ok(()), Api::subscribe);
        answer.map_err(|error| CliError { text: error.to_string(), ..CliError::failed(&error) })
    }

    /// The process of the supervisor that answers, as it is numbered here, if it is to be seen.
    pub fn supervisor(&self) -> Option<Pid> {
        self.api.as_ref().and_then(Api::supervisor)
    }

    /// The supervisor that answers numbers processes otherwise than we do.
    pub fn is_elsewhere(&self) -> bool {
        self.api.as_ref().is_some_and(|api| api.supervisor() != Some(Pid(api.hello().pid)))
    }

    /// What the supervisor calls so; it may have other file systems than we have.
    fn as_seen_there(&self, path: &Path) -> PathBuf {
        let root = self.supervisor().map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
        let there = root.and_then(|root| Some(root.join(path.strip_prefix("/").ok()?)));
        there.filter(|there| there.exists()).unwrap_or_else(|| path.to_owned())
    }

    /// The sockets that were looked for and did not help.
    pub fn sockets(&self) -> Vec<PathBuf> {
        self.tried.iter().map(|(socket, _)| socket.clone()).collect()
    }

    /// The FIFOs that show whether a supervisor without a socket looks after a service of the directory.
    pub fn fifos(&self) -> Vec<PathBuf> {
        let names = fs::open_path(&self.directory).and_then(fs::names).unwrap_or_default();
        names.iter().map(|name| self.directory.join(name).join("supervise/ok")).collect()
    }

    /// The directory of services, if it is not the default.
    pub fn unusual_directory(&self) -> Option<&Path> {
        Some(&*self.directory).filter(|directory| *directory != Path::new(SERVICES))
    }

    /// The error if a supervisor does not answer: its files may be as they were before it hung, so they do not tell
    /// whether all is well.
    pub fn silence(&self) -> Option<CliError> {
        self.silent.then(|| self.unreachable())
    }

    /// The error: no supervisor answers, or we may not ask it.
    pub fn unreachable(&self) -> CliError {
        if let Some((socket, why)) = &self.forbidden {
            let who = "its own user and root may ask it, and the groups of its --status-group and --control-group";
            return CliError::new(
                exit::FAILED,
                format!("you may not ask the supervisor at {}: {why}; {who}", socket.display()),
            );
        }
        let telling = |(path, why): &(PathBuf, String)| match why.as_str() {
            why if why == Errno::ENOENT.desc() => path.display().to_string(),
            why => format!("{}: {why}", path.display()),
        };
        let tried: Vec<String> = self.tried.iter().map(telling).collect();
        let (directory, tried) = (self.directory.display(), tried.join(", "));
        CliError::new(exit::SYSTEM, format!("no supervisor answers for {directory} (tried {tried}): is onit running?"))
    }

    /// The socket, for what only it can do.
    pub fn api(&mut self) -> Result<&mut Api, CliError> {
        let trouble = if self.api.is_none() { Some(self.unreachable()) } else { None };
        self.api.as_mut().ok_or_else(|| trouble.unwrap_or_else(|| CliError::new(exit::SYSTEM, "no socket")))
    }

    /// Everything that is known of every service, by name.
    pub fn everything(&mut self) -> Result<Vec<ServiceStatus>, CliError> {
        self.insist(None, Connection::everything_now)
    }

    /// The same for a caller that looks itself whether the supervisor has hung up.
    pub fn everything_now(&mut self) -> Result<Vec<ServiceStatus>, CliError> {
        match &mut self.api {
            Some(api) => {
                let mut all = api.all().map_err(|error| CliError::failed(&error))?;
                sort_by_name(&mut all);
                Ok(all)
            }
            None => {
                let names = fs::open_path(&self.directory).and_then(fs::names).map_err(|errno| {
                    let why = format!("cannot read {}: {}", self.directory.display(), errno.desc());
                    if errno == Errno::EACCES {
                        return CliError::new(exit::FAILED, why);
                    }
                    CliError::new(exit::SYSTEM, format!("{why}; {}", self.unreachable().text))
                })?;
                let mut services: Vec<_> = names.iter().flat_map(|name| files::pair(&self.directory, name)).collect();
                sort_by_name(&mut services);
                let unseen = |service: &ServiceStatus| {
                    service.state == ServiceState::Refused
                        || (service.state == ServiceState::Unknown && self.forbidden.is_some())
                };
                if services.iter().all(unseen) {
                    return Err(self.unreachable());
                }
                Ok(services)
            }
        }
    }

    /// The services that these words name: names, globs, paths, and `all`. With none, every one. A path is what begins
    /// with a slash or a dot, or ends with a slash, as with `sv`. What names nothing is told and leaves its exit code.
    pub fn targets(&mut self, words: &[String]) -> (Vec<Target>, i32) {
        let (targets, troubles) = self.find(words);
        (targets, troubles.iter().fold(exit::OK, |code, trouble| worse(code, trouble.report())))
    }

    /// The same, and what names nothing is not told.
    pub fn find(&mut self, words: &[String]) -> (Vec<Target>, Vec<CliError>) {
        let all = ["all".to_owned()];
        let words = if words.is_empty() { &all[..] } else { words };
        let (mut targets, mut troubles) = (Vec::new(), Vec::new());
        let mut known = None;
        for word in words {
            match self.named(word, &mut known) {
                Ok(found) => found.into_iter().for_each(|target| {
                    if !targets.contains(&target) {
                        targets.push(target);
                    }
                }),
                Err(trouble) => troubles.push(trouble),
            }
        }
        (targets, troubles)
    }

    /// The one service that a word names.
    pub fn only(&mut self, word: &str) -> Result<Target, CliError> {
        let mut found = self.named(word, &mut None)?;
        let count = found.len();
        match found.pop() {
            Some(target) if count == 1 => Ok(target),
            _ => Err(CliError::new(exit::USAGE, format!("{word}: {count} services, where one is needed"))),
        }
    }

    fn named(&mut self, word: &str, known: &mut Option<Vec<(String, bool)>>) -> Result<Vec<Target>, CliError> {
        if word.is_empty() {
            return Err(CliError::empty());
        }
        if is_path(word) {
            return self.path(Path::new(word)).map(|target| vec![target]);
        }
        if !is_many(word) {
            if !can_be_name(word) && (self.api.is_some() || !self.directory.join(word).is_dir()) {
                return Err(CliError::unknown(word, &self.directory)); // there is nothing that could come yet
            }
            return Ok(vec![self.target(word)]);
        }
        if known.is_none() {
            *known = Some(self.everything()?.into_iter().map(|service| (service.name, service.logger)).collect());
        }
        let matching = |(name, logger): &&(String, bool)| {
            if word == "all" { !logger } else { name == word || matches(&pattern(word), name) }
        };
        let found: Vec<String> = known.iter().flatten().filter(matching).map(|(name, _)| name.clone()).collect();
        if found.is_empty() && word != "all" {
            return Err(CliError::unknown(word, &self.directory));
        }
        Ok(found.iter().map(|name| self.target(name)).collect())
    }

    /// A service by its name.
    pub fn target(&self, name: &str) -> Target {
        let can_be_asked = self.api.is_some() && !name.contains('\n'); // a request is a line
        let way = if can_be_asked { Via::Api } else { Via::Files(stands(&self.directory, name)) };
        Target { name: name.to_owned(), way }
    }

    /// A service by its path. It is reached by name if it stands in the directory of this supervisor.
    fn path(&self, path: &Path) -> Result<Target, CliError> {
        let shown = path.display().to_string();
        if let Err(errno) = fs::open_path(path) {
            return Err(CliError::new(exit::UNKNOWN, format!("{shown}: no such service: {}", errno.desc())));
        }
        if is_no_service(path) {
            return Err(CliError::new(
                exit::FAILED,
                format!("{shown}: is no service directory: there is no run in it"),
            ));
        }
        let place = fs::absolute(path);
        if let (Some(parent), Some(name)) = (place.parent(), place.file_name().and_then(OsStr::to_str))
            && self.api.is_some()
            && same(parent, &self.directory)
        {
            return Ok(self.target(name));
        }
        Ok(Target { name: shown.trim_end_matches('/').to_owned(), way: Via::Files(place) })
    }

    /// What is known of a service.
    pub fn look(&mut self, target: &Target) -> Result<ServiceStatus, CliError> {
        self.look_for(target)?.ok_or_else(|| CliError::unknown(&target.name, &self.directory))
    }

    /// The same. `None`: the supervisor knows no such service.
    pub fn look_for(&mut self, target: &Target) -> Result<Option<ServiceStatus>, CliError> {
        match &target.way {
            Via::Files(path) => files::look(&target.name, path).map(Some).map_err(|trouble| match trouble.code {
                exit::UNKNOWN if self.looks_like_several(&target.name) => CliError::ambiguous(&target.name),
                _ => self.explain(trouble),
            }),
            Via::Api => match self.api()?.status(&target.name) {
                Err(error) if error.kind() == ErrorKind::NoService => {
                    let is_no_utf8 = target.name.contains(char::REPLACEMENT_CHARACTER);
                    let all = if is_no_utf8 { self.everything_now()? } else { Vec::new() };
                    of_all(&all, &target.name)
                }
                answer => answer.map(Some).map_err(|error| CliError::of(&target.name, &error, &self.directory)),
            },
        }
    }

    /// The same for a caller that has some time: a service that has just been put into the directory is known before
    /// long.
    pub fn look_until(&mut self, target: &Target, until: Option<Mono>) -> Result<ServiceStatus, CliError> {
        let answer = self.look(target);
        let is_unknown =
            |answer: &Result<_, CliError>| answer.as_ref().is_err_and(|trouble| trouble.code == exit::UNKNOWN);
        let place = self.place(target);
        if !is_unknown(&answer)
            || target.way != Via::Api
            || !place.is_dir()
            || !place.file_name().is_some_and(is_service)
        {
            return answer;
        }
        let failed = |error| CliError::failed(&error);
        self.subscribe()?;
        if self.api()?.hello().control {
            self.api()?.rescan().map_err(failed)?; // where nothing tells that a directory has changed
        }
        loop {
            let answer = self.look(target);
            if !is_unknown(&answer) {
                return answer;
            }
            let mut news = self.api()?.event(Deadline::at(until)).map_err(failed)?;
            while news.as_ref().is_some_and(|event| event.name.as_ref() != Some(&target.name)) {
                news = self.api()?.event(Deadline::at(until)).map_err(failed)?;
            }
            if news.is_none() {
                return answer;
            }
        }
    }

    fn looks_like_several(&self, name: &str) -> bool {
        let names = fs::open_path(&self.directory).and_then(fs::names).unwrap_or_default();
        names.iter().filter(|one| one.to_string_lossy() == name).count() > 1
    }

    /// Where its service directory is.
    pub fn place(&self, target: &Target) -> PathBuf {
        match &target.way {
            Via::Files(path) => path.clone(),
            Via::Api => {
                let (own, logger) = target.name.strip_suffix("/log").map_or((&*target.name, ""), |own| (own, "log"));
                match template_and_instance(own.as_bytes()) {
                    // That of an instance is its template's, unless it is a link.
                    Some((template, _)) if self.directory.join(own).symlink_metadata().is_err() => {
                        self.directory.join(OsStr::from_bytes(template)).join(logger)
                    }
                    Some(_) | None => stands(&self.directory, &target.name),
                }
            }
        }
    }

    /// Adds that no supervisor answers at all, if that may be the cause.
    pub fn explain(&self, trouble: CliError) -> CliError {
        if trouble.code != exit::SYSTEM || self.api.is_some() {
            return trouble;
        }
        CliError::new(trouble.code, format!("{}; {}", trouble.text, self.unreachable().text))
    }
}

/// Whether a directory can be none of a service: there is no `run` or `setup` in it (or it is a directory, as in `/`), and no
/// supervisor has ever looked after it. Where that cannot be seen it may be one.
pub fn is_no_service(path: &Path) -> bool {
    let is_missing = |file: &str| match path.join(file).symlink_metadata() {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory),
    };
    let is_missing_or_directory = |file: &str| is_missing(file) || path.join(file).is_dir();
    ["run", "setup"].into_iter().all(is_missing_or_directory)
        && is_missing("supervise/lock")
        && is_missing("supervise/status")
}

/// What `sv` takes for a path.
pub fn is_path(word: &str) -> bool {
    word.starts_with(['/', '.']) || word.ends_with('/')
}

/// Whether a service of a directory may be called so. There is a slash in the name of a logger only.
fn can_be_name(word: &str) -> bool {
    let own = word.strip_suffix("/log").unwrap_or(word);
    !own.is_empty() && !own.contains('/')
}

/// Whether a word may name several services, so that it takes a list of them.
pub fn is_many(word: &str) -> bool {
    word == "all" || (!is_path(word) && pattern(word).contains(['*', '?', '[']))
}

/// Where a service is whose name is told like this. Bytes that are no UTF-8 are told as U+FFFD.
fn stands(directory: &Path, name: &str) -> PathBuf {
    let place = directory.join(name);
    if !name.contains(char::REPLACEMENT_CHARACTER) {
        return place;
    }
    let (own, log) = name.strip_suffix("/log").map_or((name, ""), |own| (own, "log"));
    let names = fs::open_path(directory).and_then(fs::names).unwrap_or_default();
    let mut meant = names.iter().filter(|one| one.to_string_lossy() == own);
    match (meant.next(), meant.next()) {
        (Some(one), None) if log.is_empty() => directory.join(one),
        (Some(one), None) => directory.join(one).join(log),
        _ => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(tried: Vec<(PathBuf, String)>) -> Connection {
        let directory = "/etc/service".into();
        Connection { api: None, socket: None, directory, tried, silent: false, forbidden: None, subscribed: false }
    }

    #[test]
    fn paths_are_told_from_names_as_sv_does() {
        assert!(["/etc/sv/web", "./web", "web/", ".", "../web"].iter().all(|word| is_path(word)));
        assert!(["web", "web/log", "a.b"].iter().all(|word| !is_path(word)));
    }

    #[test]
    fn a_directory_with_a_run_that_is_one_itself_is_no_service() {
        let place = tempfile::tempdir().expect("a directory");
        let make = |path: &str| std::fs::create_dir_all(place.path().join(path)).expect("made");
        let is_none = |path: &str| is_no_service(&place.path().join(path));
        make("empty");
        make("root/run");
        make("linked");
        make("looked-after/supervise");
        make("service");
        std::fs::write(place.path().join("looked-after/supervise/lock"), "").expect("written");
        std::fs::write(place.path().join("service/run"), "").expect("written");
        std::os::unix::fs::symlink("nowhere", place.path().join("linked/run")).expect("linked");
        assert_eq!(["empty", "root", "missing"].map(is_none), [true; 3]);
        assert_eq!(["linked", "looked-after", "service"].map(is_none), [false; 3]);
    }

    #[test]
    fn what_has_a_slash_in_it_is_a_logger_or_no_name() {
        assert!(["web", "web/log", "a.b", "two\nlines"].iter().all(|word| can_be_name(word)));
        assert!(["web/../db", "web/x", "web//log", "a/b/log"].iter().all(|word| !can_be_name(word)));
    }

    #[test]
    fn an_empty_word_names_nobody() {
        assert_eq!(nobody(Vec::new()).only(""), Err(CliError::empty()));
    }

    #[test]
    fn one_that_answers_for_nobody_names_every_place() {
        let missing = |path: &str| (PathBuf::from(path), Errno::ENOENT.desc().to_owned());
        let tried = vec![missing("/etc/service/.onit/api"), ("/run/onit/api".into(), "serves /srv".to_owned())];
        assert_eq!(
            nobody(tried).unreachable().text,
            "no supervisor answers for /etc/service (tried /etc/service/.onit/api, /run/onit/api: serves /srv): \
             is onit running?"
        );
    }
}
