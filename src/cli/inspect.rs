//! `onit list`, `pid`, `env` and `rescan`: short questions.

use super::connect::{CliError, Connection, Target};
use super::pidns;
use super::term;
use crate::exit;
use crate::sys::process;
use crate::wire::json;
use argh::{ArgsInfo, FromArgs};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;

/// Stands for a value that is shown only if the user asks for it.
const MASK: &str = "********";
/// Words in the name of a variable that hint at a secret.
const SECRET: [&str; 9] = ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "PRIVATE", "SESSION", "PWD"];
/// Names that have such a word in them and are none.
const NONE: [&str; 5] = ["PWD", "OLDPWD", "SSH_AUTH_SOCK", "XDG_SESSION_ID", "XDG_SESSION_TYPE"];

/// The names of all services, one a line.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct List {
    /// loggers too
    #[argh(switch, short = 'a')]
    all: bool,
    /// for programs: an array of names
    #[argh(switch)]
    json: bool,
}

impl List {
    /// Tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        let services = match Connection::open().everything() {
            Ok(services) => services,
            Err(trouble) => return trouble.report(),
        };
        let wanted = services.into_iter().filter(|service| self.all || !service.logger);
        let terminal = std::io::stdout().is_terminal() && !self.json;
        let names: Vec<String> = wanted.map(|service| service.name).collect();
        match (self.json, terminal) {
            (true, _) => term::print(&term::json(&names)),
            (false, true) => {
                let shown: String = names.iter().map(|name| term::cut(name, usize::MAX) + "\n").collect();
                term::print(&shown)
            }
            // As ls does: a program that reads the names gets the names.
            (false, false) => {
                term::print_bytes(names.iter().map(|name| format!("{name}\n")).collect::<String>().as_bytes())
            }
        }
    }
}

/// The process of SVC: of its run, or of its finish. Exit code 1: there is none.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Process {
    /// the service
    #[argh(positional, arg_name = "SVC")]
    service: String,
}

impl Process {
    /// Tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Connection::open();
        let told = pid(&mut talk, &self.service).and_then(|(target, pid)| pidns::number(&talk, &target, pid));
        match told {
            Ok(pid) => term::print(&format!("{pid}\n")),
            Err(trouble) => trouble.report(),
        }
    }
}

/// The one service that a word names, and what its supervisor calls its process.
fn pid(talk: &mut Connection, word: &str) -> Result<(Target, i32), CliError> {
    let target = talk.only(word)?;
    let now = talk.look(&target)?;
    let pid = now.pid.ok_or_else(|| {
        CliError::new(exit::FAILED, format!("{word}: it does not run: {}", super::wait_condition::stands(&now)))
    });
    Ok((target, pid?))
}

/// The environment that the process of SVC was started with. The values of names that look like secrets are masked.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Env {
    /// the service
    #[argh(positional, arg_name = "SVC")]
    service: String,
    /// secrets as well
    #[argh(switch)]
    show: bool,
    /// for programs: an object
    #[argh(switch)]
    json: bool,
}

impl Env {
    /// Tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Connection::open();
        let told = pid(&mut talk, &self.service).and_then(|(target, pid)| {
            let environ = pidns::proc_of(&talk, &target, pid)?.join("environ");
            std::fs::read(&environ).map_err(|error| {
                let lacks = error.kind() == std::io::ErrorKind::PermissionDenied && !process::may_trace();
                let hint = if lacks { pidns::LACKS_PTRACE } else { "" };
                let (name, environ) = (&self.service, environ.display());
                CliError::new(exit::FAILED, format!("{name}: cannot read {environ}: {error}{hint}"))
            })
        });
        let variables = match told {
            Ok(bytes) => variables(&bytes, self.show),
            Err(trouble) => return trouble.report(),
        };
        if self.json {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let all: BTreeMap<_, _> = variables.into_iter().map(|(name, value)| (text(name), text(value))).collect();
            return term::print_bytes(format!("{}\n", json::text(&all)).as_bytes());
        }
        let terminal = std::io::stdout().is_terminal();
        let line = |(name, value): (Vec<u8>, Vec<u8>)| {
            let line = [&name[..], b"=", &value].concat();
            [&term::escaped(&line, terminal)[..], b"\n"].concat()
        };
        let lines: Vec<Vec<u8>> = variables.into_iter().map(line).collect();
        term::print_bytes(&lines.concat())
    }
}

/// The variables in `/proc/PID/environ`, by name. They are bytes, and UTF-8 by custom only.
fn variables(environ: &[u8], show: bool) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = environ.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let pairs = entries.filter_map(|entry| {
        let (name, value) = entry.split_at_checked(entry.iter().position(|byte| *byte == b'=')?)?;
        let value = value.get(1..)?;
        let shown = if show || value.is_empty() { None } else { mask(name, value) };
        Some((name.to_vec(), shown.unwrap_or_else(|| value.to_vec())))
    });
    pairs.collect()
}

/// What is shown in place of this value; `None` if it looks like no secret.
fn mask(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let (name, text) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    Some(masked(&name, &text)).filter(|shown| **shown != *text).map(String::into_bytes)
}

/// The value, without what looks like a secret: all of it, or what stands before the `@` of a URL.
fn masked(name: &str, value: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if !NONE.contains(&upper.as_str()) && SECRET.iter().any(|word| upper.contains(word)) {
        return MASK.into();
    }
    let url = value.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.split(['/', '?', '#']).next()?;
        let (user, _) = authority.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:{MASK}{}", rest.get(user.len()..)?))
    });
    url.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else_is() {
        let told = |name: &str, value: &str| masked(name, value);
        for name in ["DB_PASSWORD", "api_key", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MYSQL_PWD", "passphrase"] {
            assert_eq!(told(name, "x"), MASK, "{name}");
        }
        for name in ["PATH", "HOME", "PWD", "OLDPWD", "SSH_AUTH_SOCK", "PORT"] {
            assert_eq!(told(name, "/x"), "/x", "{name}");
        }
        assert_eq!(told("DATABASE_URL", "pg://joe:s3cret@db/x?a=b@c"), format!("pg://joe:{MASK}@db/x?a=b@c"));
        assert_eq!(told("URL", "http://db/joe:x@y"), "http://db/joe:x@y");
        assert_eq!(told("URL", "http://joe@db/"), "http://joe@db/");
    }

    #[test]
    fn an_environment_is_read_as_it_stands() {
        let read = variables(b"B=2=3\0A=x\ny\0EMPTY_TOKEN=\0TOKEN=t\0junk\0", false);
        let list: Vec<_> = read.iter().map(|(name, value)| [&name[..], b"=", value].concat()).collect();
        let masked = format!("TOKEN={MASK}");
        assert_eq!(list, [b"A=x\ny", &b"B=2=3"[..], b"EMPTY_TOKEN=", masked.as_bytes()]);
        let one = |environ: &[u8], show| variables(environ, show).into_values().next();
        assert_eq!(one(b"TOKEN=t\0", true), Some(b"t".to_vec()));
        assert_eq!(one(b"\xfe=\xff\0", false), Some(b"\xff".to_vec()));
        assert_eq!(one(b"TOKEN=\xff\0", false), Some(MASK.as_bytes().to_vec()));
    }
}
