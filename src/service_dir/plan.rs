//! From a description to the files of a directory.

use super::builder::{Logger, Resource, Script, ScriptContent, ServiceBuilder, User};
use super::names::CONTROLS;
use super::write::Error;
use super::{Settings, Target, shell};
use crate::wire::settings::{self, Lines, VALUES};
use crate::wire::sockets;
use crate::wire::svdir;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

/// One file to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) executable: bool,
}

/// The files of a directory, by their paths in it.
pub(super) type Plan = BTreeMap<PathBuf, Content>;

/// PID 1 reads so much of a small file, in bytes.
const SMALL: usize = 4096;

/// At the head of each script of ours that is a command line.
const HEAD: &[u8] = b"#!/bin/sh\n# Written by onit's service builder, which replaces it when told to.\n";
/// At the head of a configuration that a logger of ours may write anew.
const LOG_HEAD: &str = "# written by onit";

impl ServiceBuilder {
    /// The files, or why there cannot be such a service.
    pub(super) fn plan(&self) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        if !self.command.is_empty() {
            add(&mut plan, "run", self.run()?, true);
        } else if !self.scripts.contains_key("setup") {
            return Err(invalid("a service without a command"));
        }
        for (name, script) in &self.scripts {
            add(&mut plan, name, script_file(script)?, true);
        }
        for (command, script) in &self.control {
            if !CONTROLS.contains(*command) {
                return Err(invalid(format!("no command is called {command:?}: control/X is for {CONTROLS}")));
            }
            add(&mut plan, format!("control/{command}"), script_file(script)?, true);
        }
        if let Some(logger) = &self.logger {
            self.plan_logger(logger, &mut plan)?;
        }
        self.plan_settings(&mut plan)?;
        let lost = plan.keys().filter_map(|path| path.iter().next()?.to_str());
        match lost.into_iter().find(|name| !settings::file(name).is_some_and(|file| file.is_read_by(self.target))) {
            Some(name) => Err(self.cannot(format!("read {name}"))),
            None => Ok(plan),
        }
    }

    fn plan_settings(&self, plan: &mut Plan) -> Result<(), Error> {
        let settings = &self.settings;
        if settings.down {
            add(plan, "down", Vec::new(), false);
        }
        for (directory, names) in [("dependencies.d", &settings.dependencies), ("after.d", &settings.after)] {
            for name in names {
                let path = Path::new(directory).join(service_name(name)?);
                add(plan, path, Vec::new(), false);
            }
        }
        let lines: Vec<_> = settings.conditions.iter().map(ToString::to_string).collect();
        if !lines.is_empty() {
            let text = lines.join("\n");
            let again = text.lines().map(svdir::Condition::parse);
            let is_same = again.eq(settings.conditions.iter().cloned().map(Some));
            add_value(plan, "condition", text, is_same)?;
        }
        let lines: Vec<_> = settings.sockets.iter().map(ToString::to_string).collect();
        if !lines.is_empty() {
            let text = lines.join("\n");
            let is_same = sockets::parse(&text).as_ref() == Ok(&settings.sockets);
            add_value(plan, "sockets", text, is_same)?;
        }
        for value in VALUES {
            let Some(text) = (value.text)(settings) else { continue };
            let mut again = Settings::default();
            let is_long = text.parse::<u64>().is_ok_and(|number| number > u64::from(u32::MAX)); // for s6

            let is_same = (value.parse)(&mut again, &text)
                && (value.lines != Lines::All || (value.is_same)(&again, settings))
                && !(is_long && self.target == Target::S6);
            add_value(plan, value.name, text, is_same)?;
        }
        Ok(())
    }

    // run

    fn run(&self) -> Result<Vec<u8>, Error> {
        let mut script = HEAD.to_vec();
        if self.logger.is_some() {
            script.extend_from_slice(b"exec 2>&1\n");
        }
        if let Some(directory) = &self.directory {
            let directory = self.place(directory).into_os_string();
            check_word(&directory)?;
            script.extend_from_slice(b"cd -P ");
            shell::push_word(&mut script, &directory);
            script.extend_from_slice(b" || exit 111\n");
        }
        let mut words: Vec<OsString> = self.chain()?;
        words.extend(self.environment_words()?);
        words.extend(check_command(&self.command)?.iter().cloned());
        script.extend_from_slice(b"exec ");
        script.extend(shell::line(words.iter().map(OsString::as_os_str)));
        script.push(b'\n');
        Ok(script)
    }

    /// What changes the user and the limits, in the words of the target.
    fn chain(&self) -> Result<Vec<OsString>, Error> {
        if let Some(nice) = self.nice
            && !(-39..=39).contains(&nice)
        {
            return Err(invalid(format!("{nice} is no niceness: it is from -39 to 39")));
        }
        if self.user.is_none() && !self.groups.is_empty() {
            return Err(invalid("groups without a user"));
        }
        let mut words = Vec::new();
        match self.target {
            Target::Onit => self.chain_of_onit(&mut words)?,
            Target::Runit => self.chain_of_chpst(&mut words)?,
            Target::Daemontools | Target::S6 => {
                if let Some(nice) = self.nice {
                    words.extend(["nice".into(), "-n".into(), nice.to_string()]);
                }
                self.push_setuidgid(&mut words)?;
                if !self.limits.is_empty() {
                    let softlimit = if self.target == Target::S6 { "s6-softlimit" } else { "softlimit" };
                    words.push(softlimit.into());
                    self.push_limits(&mut words);
                }
            }
        }
        Ok(words.into_iter().map(OsString::from).collect())
    }

    fn chain_of_onit(&self, words: &mut Vec<String>) -> Result<(), Error> {
        let mut options = Vec::new();
        if let Some(nice) = self.nice {
            options.extend(["--nice".into(), nice.to_string()]);
        }
        if let Some(user) = &self.user {
            options.extend(["--user".into(), self.user_of_onit(user)?]);
        }
        for (resource, value) in &self.limits {
            options.extend(["--limit".into(), format!("{}={value}:", resource.word())]);
        }
        if !options.is_empty() {
            words.extend(["onit".into(), "exec".into()]);
            words.append(&mut options);
        }
        Ok(())
    }

    fn chain_of_chpst(&self, words: &mut Vec<String>) -> Result<(), Error> {
        let of_chpst = self.limits.keys().all(|resource| resource.is_of_chpst());
        if self.nice.is_some() || self.user.is_some() || of_chpst && !self.limits.is_empty() {
            words.push("chpst".into());
            if let Some(nice) = self.nice {
                words.extend(["-n".into(), nice.to_string()]);
            }
            if let Some(user) = &self.user {
                words.extend(["-u".into(), self.user_of_chpst(user)?]);
            }
            if of_chpst {
                self.push_limits(words);
            }
        }
        if !of_chpst {
            // chpst has all options of softlimit when it is called by that name.
            words.extend(["chpst", "-b", "softlimit", "chpst"].map(String::from));
            self.push_limits(words);
        }
        Ok(())
    }

    fn push_limits(&self, words: &mut Vec<String>) {
        for (resource, value) in &self.limits {
            words.extend([Resource::option(*resource).to_owned(), value.to_string()]);
        }
    }

    fn user_of_chpst(&self, user: &User) -> Result<String, Error> {
        let numeric = if matches!(user, User::Id { .. }) { ":" } else { "" };
        Ok(format!("{numeric}{}", self.user_of_onit(user)?))
    }

    fn user_of_onit(&self, user: &User) -> Result<String, Error> {
        let mut parts = match user {
            User::Name(name) => vec![account(name)?],
            User::Id { user, group } => {
                self.numeric_groups()?;
                vec![user.to_string(), group.to_string()]
            }
        };
        for group in &self.groups {
            parts.push(account(group)?);
        }
        Ok(parts.join(":"))
    }

    fn push_setuidgid(&self, words: &mut Vec<String>) -> Result<(), Error> {
        let s6 = self.target == Target::S6;
        match &self.user {
            None => {}
            Some(User::Name(_)) if !self.groups.is_empty() => {
                return Err(self.cannot("name groups: the groups of a named user are those of the system's lists"));
            }
            Some(User::Name(name)) => {
                words.extend([if s6 { "s6-setuidgid" } else { "setuidgid" }.into(), account(name)?]);
            }
            Some(User::Id { .. }) if !s6 => return Err(self.cannot("take a user by number: name one")),
            Some(User::Id { user, group }) => {
                self.numeric_groups()?;
                let all: Vec<_> = std::iter::once(group.to_string()).chain(self.groups.iter().cloned()).collect();
                let [user, group, all] = [user.to_string(), group.to_string(), all.join(",")];
                words.extend(["s6-applyuidgid".into(), "-u".into(), user, "-g".into(), group, "-G".into(), all]);
            }
        }
        Ok(())
    }

    fn numeric_groups(&self) -> Result<(), Error> {
        match self.groups.iter().find(|group| group.parse::<u32>().is_err() || group.starts_with('+')) {
            Some(group) => Err(invalid(format!("group \"{group}\" is no number, as its user is"))),
            None => Ok(()),
        }
    }

    fn environment_words(&self) -> Result<Vec<OsString>, Error> {
        if self.environment.is_empty() && !self.clear {
            return Ok(Vec::new());
        }
        let mut words: Vec<OsString> = vec!["env".into()];
        if self.clear {
            words.push("-i".into());
        }
        words.push("--".into());
        for (name, value) in &self.environment {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(invalid(format!("{name:?} is no name of a variable")));
            }
            let word = OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat());
            check_word(&word)?;
            words.push(word);
        }
        if self.command.first().is_some_and(|program| program.as_bytes().contains(&b'=')) {
            // For env this would be a variable.
            let nothing: &[&str] = match self.target {
                Target::Onit => &["onit", "exec"],
                Target::Runit => &["chpst"],
                Target::Daemontools => &["softlimit"],
                Target::S6 => &["s6-softlimit"],
            };
            words.extend(nothing.iter().map(OsString::from));
        }
        Ok(words)
    }

    // log/

    fn plan_logger(&self, logger: &Logger, plan: &mut Plan) -> Result<(), Error> {
        let Logger { size, count, .. } = *logger;
        if let Some(taken) = taken(&logger.directory) {
            let taken = taken.display();
            return Err(invalid(format!(
                "log files cannot be kept in {taken}, which the supervisor reads: call it main"
            )));
        }
        let place = self.place(&logger.directory).into_os_string();
        check_word(&place)?;
        let (sizes, least, name) = match self.target {
            Target::Onit | Target::Runit => (0..=u64::from(u32::MAX), 0, "svlogd"),
            Target::Daemontools => (4096..=16_777_215, 2, "multilog"),
            Target::S6 => (4096..=268_435_455, 0, "s6-log"),
        };
        if !sizes.contains(&size) {
            let (low, high) = (sizes.start(), sizes.end());
            return Err(self.cannot(format!("keep log files of {size} bytes: {name} takes {low} to {high}")));
        }
        if logger.tee && self.target != Target::Onit {
            return Err(self.cannot(format!("write lines to standard output besides: {name} does not do that")));
        }
        if count < least {
            return Err(self.cannot(format!("keep {count} log files: {name} keeps at least {least}")));
        }
        let mut script = HEAD.to_vec();
        let quoted = shell::line([place.as_os_str()]);
        let config = format!("{LOG_HEAD}\ns{size}\nn{count}\n");
        let svlogd = matches!(self.target, Target::Onit | Target::Runit);
        match inside(&logger.directory).filter(|_| svlogd) {
            Some(inside) => add(plan, Path::new("log").join(inside).join("config"), config.into_bytes(), false),
            None => {
                script.extend([b"mkdir -p ", &quoted[..], b" || exit 111\n"].concat());
                if svlogd {
                    script.extend(write_config(&quoted, &config));
                }
            }
        }
        let words = match self.target {
            Target::Onit if logger.tee => "onit logger --tee --timestamp iso --dir ".to_owned(),
            Target::Onit => "onit svlogd -tt ".to_owned(),
            Target::Runit => "svlogd -tt ".to_owned(),
            Target::Daemontools => format!("multilog t s{size} n{count} "),
            Target::S6 => format!("s6-log n{count} s{size} T "),
        };
        script.extend([b"exec ", words.as_bytes(), &quoted, b"\n"].concat());
        add(plan, "log/run", script, true);
        Ok(())
    }

    fn cannot(&self, what: impl Into<String>) -> Error {
        Error::Inexpressible { target: self.target, what: what.into() }
    }
}

/// A configuration that we have not written stays.
fn write_config(directory: &[u8], config: &str) -> Vec<u8> {
    let config = config.trim_end().replace('\n', "' '");
    let head = shell::line([OsStr::new(LOG_HEAD)]);
    let mut lines =
        [b"config=", directory, b"/config\nunset first\n[ ! -e \"$config\" ] || read -r first <\"$config\"\n"].concat();
    lines.extend([b"[ \"${first-", LOG_HEAD.as_bytes(), b"}\" != ", &head[..], b" ] ||\n"].concat());
    lines.extend_from_slice(format!("    printf '%s\\n' '{config}' >\"$config\" || exit 111\n").as_bytes());
    lines
}

/// What a directory of log files would take the place of, as seen from the service directory.
fn taken(directory: &Path) -> Option<PathBuf> {
    let mut place = vec![OsStr::new("log")]; // where a relative path begins
    for component in directory.components() {
        match component {
            Component::Normal(name) => place.push(name),
            Component::CurDir => {}
            Component::ParentDir => _ = place.pop()?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let at = place.iter().take_while(|name| **name == "log").count().min(1); // a logger is a service, too
    let name = place.get(at)?.to_str()?;
    let read = settings::file(name).is_some_and(|_| name != "log") || name == "event"; // s6's; a logger has none
    read.then(|| place.iter().take(at + 1).collect())
}

/// A relative path that does not lead out of where it begins.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if !name.as_bytes().contains(&b'\n') => inside.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(inside).filter(|inside| inside.iter().next().is_some())
}

fn script_file(script: &Script) -> Result<Vec<u8>, Error> {
    match &script.content {
        ScriptContent::File(content) => Ok(content.clone()),
        ScriptContent::Command(words) => {
            let line = shell::line(check_command(words)?.iter().map(OsString::as_os_str));
            Ok([HEAD, b"exec ", &line, b"\n"].concat())
        }
    }
}

fn add(plan: &mut Plan, path: impl Into<PathBuf>, bytes: Vec<u8>, executable: bool) {
    plan.insert(path.into(), Content { bytes, executable });
}

/// A small file, if PID 1 would read the same from it.
fn add_value(plan: &mut Plan, name: &str, text: String, is_same: bool) -> Result<(), Error> {
    if text.len() >= SMALL || !is_same {
        return Err(invalid(format!("\"{text}\" is nothing that {name} can say")));
    }
    add(plan, name, (text + "\n").into_bytes(), false);
    Ok(())
}

/// A program that env, chpst and a shell take for one, and words that the kernel takes.
fn check_command(words: &[OsString]) -> Result<&[OsString], Error> {
    let program = words.first().map(|word| word.as_bytes()).unwrap_or_default();
    if program.is_empty() {
        return Err(invalid("a command without a program"));
    }
    if program.starts_with(b"-") {
        let name = String::from_utf8_lossy(program);
        return Err(invalid(format!("the program {name} would be taken for an option: call it ./{name}")));
    }
    words.iter().try_for_each(|word| check_word(word))?;
    Ok(words)
}

fn check_word(word: &OsStr) -> Result<(), Error> {
    if word.as_bytes().contains(&0) {
        return Err(invalid("there is a NUL in a word, which no program can be given"));
    }
    if word.len() > shell::WORD {
        return Err(invalid(format!("a word has {} bytes; Linux hands on {} at most", word.len(), shell::WORD)));
    }
    Ok(())
}

/// A name that stands alone between colons.
fn account(name: &str) -> Result<String, Error> {
    if name.is_empty() || name.contains([':', ',', '\0', '\n']) || name.starts_with('-') {
        return Err(invalid(format!("{name:?} is no name of a user or group")));
    }
    Ok(name.to_owned())
}

fn service_name(name: &OsStr) -> Result<&OsStr, Error> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.starts_with(b".") || bytes.iter().any(|byte| b"/\n\0".contains(byte)) {
        return Err(invalid(format!("{name:?} is no name of a service")));
    }
    Ok(name)
}

fn invalid(what: impl Into<String>) -> Error {
    Error::Invalid(what.into())
}
