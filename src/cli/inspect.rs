//! `onit list`, `pid`, `env` and `rescan`: short questions.

use super::find::{Talk, Target, Trouble};
use super::here;
use super::paint;
use crate::exit;
use crate::sys::process;
use argh::{ArgsInfo, FromArgs};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;

/// What is never shown unless somebody asks for it.
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
        let services = match Talk::open().everything() {
            Ok(services) => services,
            Err(trouble) => return trouble.tell(),
        };
        let wanted = services.into_iter().filter(|service| self.all || !service.logger);
        let terminal = std::io::stdout().is_terminal() && !self.json;
        let shown = |name: String| if terminal { paint::cut(&name, usize::MAX) } else { name };
        let names: Vec<String> = wanted.map(|service| shown(service.name)).collect();
        if self.json { paint::print(&paint::json(&names)) } else { paint::print_lines(&names) }
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
        let mut talk = Talk::open();
        let told = pid(&mut talk, &self.service).and_then(|(target, pid)| here::number(&talk, &target, pid));
        match told {
            Ok(pid) => paint::print(&format!("{pid}\n")),
            Err(trouble) => trouble.tell(),
        }
    }
}

/// The one service that a word names, and what its supervisor calls its process.
fn pid(talk: &mut Talk, word: &str) -> Result<(Target, i32), Trouble> {
    let (targets, code) = talk.targets(&[word.to_owned()]);
    let [target] = &targets[..] else {
        let text = format!("{word}: {} services, where one is needed", targets.len());
        return Err(Trouble::new(if code == exit::OK { exit::USAGE } else { code }, text));
    };
    let now = talk.look(target)?;
    let pid = now
        .pid
        .ok_or_else(|| Trouble::new(exit::FAILED, format!("{word}: it does not run: {}", super::goal::stands(&now))));
    Ok((target.clone(), pid?))
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
        let mut talk = Talk::open();
        let told = pid(&mut talk, &self.service).and_then(|(target, pid)| {
            let environ = here::proc_of(&talk, &target, pid)?.join("environ");
            std::fs::read(&environ).map_err(|error| {
                let lacks = error.kind() == std::io::ErrorKind::PermissionDenied && !process::may_trace();
                let hint = if lacks { here::LACKS_PTRACE } else { "" };
                let (name, environ) = (&self.service, environ.display());
                Trouble::new(exit::FAILED, format!("{name}: cannot read {environ}: {error}{hint}"))
            })
        });
        let variables = match told {
            Ok(bytes) => variables(&bytes, self.show),
            Err(trouble) => return trouble.tell(),
        };
        if self.json {
            return paint::print(&format!("{}\n", serde_json::to_string(&variables).unwrap_or_default()));
        }
        let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        paint::print_lines(&lines)
    }
}

/// The variables in `/proc/PID/environ`, by name.
fn variables(environ: &[u8], show: bool) -> BTreeMap<String, String> {
    let entries = environ.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let pairs = entries.filter_map(|entry| {
        let text = String::from_utf8_lossy(entry);
        let (name, value) = text.split_once('=')?;
        let value = if show || value.is_empty() { value.to_owned() } else { masked(name, value) };
        Some((name.to_owned(), value))
    });
    pairs.collect()
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

/// Let the supervisor look at the whole directory again, also at what was refused before.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Rescan {}

impl Rescan {
    /// Asks. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Talk::open();
        let asked = match talk.api() {
            Ok(api) => api.rescan().map_err(|failure| Trouble::new(exit::FAILED, format!("rescan: {failure}"))),
            Err(trouble) => Err(trouble),
        };
        asked.map_or_else(|trouble| trouble.tell(), |()| exit::OK)
    }
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
        let list: Vec<_> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(list, ["A=x\ny", "B=2=3", "EMPTY_TOKEN=", &format!("TOKEN={MASK}")]);
        assert_eq!(variables(b"TOKEN=t\0", true).get("TOKEN").map(String::as_str), Some("t"));
    }
}
