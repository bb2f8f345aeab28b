//! `onit probe`: does this server, file, process or program answer?

use super::format;
use crate::exit;
use crate::helpers::probe::{self, Expected, HostPort, Question, Url};
use crate::sys::say::say;
use argh::{ArgsInfo, FromArgs};
use std::ffi::OsString;
use std::time::Duration;

/// Exit code 0, the answer is yes: there is a connection to tcp HOST:PORT or unix PATH, http URL has the right code and
/// text, exec CMD ends with 0, file PATH is there, process NAME runs. 1: no, and a line says why.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Probe {
    /// tcp, unix, http, exec, file or process
    #[argh(positional, arg_name = "KIND")]
    kind: String,
    /// what is asked
    #[argh(positional, arg_name = "WHAT")]
    what: Option<String>,
    /// what has not answered after this does not (default: 3s)
    #[argh(option, short = 't', arg_name = "TIME", default = "Duration::from_secs(3)", from_str_fn(format::patience))]
    timeout: Duration,
    /// http: these codes, as 200 or 200-299 (default: 200-399)
    #[argh(option, arg_name = "CODES")]
    status: Option<String>,
    /// http: this is in the answer
    #[argh(option, arg_name = "TEXT")]
    body: Option<String>,
    /// say nothing
    #[argh(switch, short = 'q')]
    quiet: bool,
}

/// The options that have a value.
const WITH_VALUE: [&str; 4] = ["-t", "--timeout", "--status", "--body"];

/// The words of the probe itself, and behind `exec` its command, byte for byte.
pub fn split(args: &[OsString]) -> (&[OsString], &[OsString]) {
    let (mut at, mut is_exec) = (0, false);
    while let Some(word) = args.get(at) {
        match word.to_str() {
            Some("--") if is_exec => {
                return (args.get(..at).unwrap_or_default(), args.get(at + 1..).unwrap_or_default());
            }
            Some(option) if WITH_VALUE.contains(&option) => at += 1,
            Some(option) if option.starts_with('-') => {}
            _ if is_exec => return args.split_at(at),
            Some("exec") => is_exec = true,
            _ => break,
        }
        at += 1;
    }
    (args, &[])
}

impl Probe {
    /// Asks. Returns the exit code.
    pub fn run(&self, command: &[OsString]) -> i32 {
        let question = match self.question(command) {
            Ok(question) => question,
            Err(why) => {
                say(format_args!("onit: probe: {why} (\"onit help probe\" says more)"));
                return exit::USAGE;
            }
        };
        match probe::ask(&question, self.timeout, self.quiet) {
            Ok(()) => exit::OK,
            Err(why) => {
                if !self.quiet {
                    let what = command.first().map(|word| word.to_string_lossy().into_owned()).or(self.what.clone());
                    say(format_args!("onit: probe: {} {}: {why}", self.kind, what.unwrap_or_default()));
                }
                exit::FAILED
            }
        }
    }

    fn question(&self, command: &[OsString]) -> Result<Question, String> {
        let is_http = self.kind == "http";
        if !is_http && (self.status.is_some() || self.body.is_some()) {
            return Err("--status and --body are for http".into());
        }
        if self.kind == "exec" {
            return match (command, &self.what) {
                ([], _) => Err("exec: which command?".into()),
                (command, None) => Ok(Question::Exec(command.to_vec())),
                (_, Some(word)) => Err(format!("{word} is one word too many")),
            };
        }
        let what = || self.what.clone().ok_or_else(|| format!("{}: of what?", self.kind));
        Ok(match self.kind.as_str() {
            "tcp" => Question::Tcp(HostPort::parse(&what()?, None)?),
            "unix" => Question::Unix(what()?.into()),
            "http" => {
                let codes = self.status.as_deref().unwrap_or("200-399");
                Question::Http(Url::parse(&what()?)?, Expected::parse(codes, self.body.clone())?)
            }
            "file" => Question::File(what()?.into()),
            "process" => Question::Process(what()?),
            other => return Err(format!("{other} is none of tcp, unix, http, exec, file and process")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_exec_is_the_command_s() {
        for (line, options) in [
            ("tcp a:1 -q", 3),
            ("exec true", 1),
            ("exec -- true -q", 1),
            ("-t 5 exec true -t 7", 3),
            ("exec --timeout 5 -- -x", 3),
            ("-q exec -q ls exec", 3),
            ("http exec", 2),
            ("http u --body exec", 4),
            ("--body exec http u", 4),
            ("exec", 1),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(split(&words).0.len(), options, "{line}");
        }
        let words = ["exec", "--", "--", "x"].map(OsString::from);
        assert_eq!(split(&words).1, ["--", "x"]);
    }
}
