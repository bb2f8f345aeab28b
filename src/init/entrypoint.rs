//! The command lines that name a main process: onit's own, and in rooms of their own tini's and dumb-init's. The
//! program's name, or `--`, ends our options, whatever follows.

pub mod dumb_init;
pub mod tini;

use super::boot;
use super::config::{Config, MainConfig, Poll, Root};
use super::log::Log;
use super::main_log::MainLog;
use crate::machine::main_process::MainOptions;
use crate::machine::until::Until;
use crate::machine::{Target, UnknownWord};
use crate::sys::foreground;
use crate::wire::status::Format;
use crate::wire::svdir;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// What a command line of onit's own says.
#[derive(Default)]
pub(super) struct Words {
    pub(super) directory: Option<OsString>,
    pub(super) trace: bool,
    pub(super) control_group: Option<String>,
    pub(super) status_group: Option<String>,
    pub(super) poll: Option<Poll>,
    pub(super) until: Option<Until>,
    pub(super) until_limit: Option<Duration>,
    /// What services say becomes one stream of this form.
    pub(super) prefix: Option<CString>,
    /// The directory of programs that say which services there are.
    pub(super) loaders: Option<OsString>,
    /// Services are supervised as by s6.
    pub(super) as_s6: bool,
    /// The status record of those that do not say.
    pub(super) format: Option<Format>,
    /// Where the exit code stands in the end.
    pub(super) exit_file: Option<PathBuf>,
    pub(super) main: Option<MainConfig>,
}

const MAIN_PROCESS: &str =
    "usage: onit [-g] [-v] [--log text|json] [--rewrite SIGNAL=SIGNAL]... [--exit-map CODE=CODE]... -- CMD";

/// `onit [OPTIONS] -- CMD`.
pub fn main_process(args: &[OsString]) -> i32 {
    let mut log = Log::Onit;
    let wrong = match parse(args, &mut log) {
        Ok(Words { until: Some(_), .. }) => "without services there is nothing that --until could wait for".to_owned(),
        Ok(Words {
            directory: None,
            trace,
            control_group: None,
            status_group: None,
            poll: None,
            loaders: None,
            as_s6: false,
            format: None,
            exit_file: None,
            main: Some(main),
            ..
        }) => {
            return boot::supervise(Config { trace, log, ..alone(main) });
        }
        Ok(Words { loaders: Some(_), .. }) => "--loaders is an option of onit run".to_owned(),
        Ok(Words { exit_file: Some(_), .. }) => "--exit-file is an option of onit run".to_owned(),
        Ok(Words { as_s6: true, .. } | Words { format: Some(_), .. }) => {
            "without services there is nothing that --s6 or --status-format could be about".to_owned()
        }
        Ok(Words { poll: Some(_), .. }) => {
            "without services there is no directory that --poll could look at".to_owned()
        }
        Ok(Words { control_group: Some(_), .. } | Words { status_group: Some(_), .. }) => {
            "without services there is no api socket that a group could use".to_owned()
        }
        Ok(Words { directory: Some(word), .. }) => {
            format!("{} is no option; the command stands behind --", word.display())
        }
        Ok(Words { main: None, .. }) => "there is no command behind --".to_owned(),
        Err(wrong) => wrong,
    };
    boot::refuse(log, &wrong, MAIN_PROCESS)
}

/// Reads our own words, up to `--`; what follows is the main process. Or says what is wrong, to be written in the form
/// that the words before it have asked for.
pub(super) fn parse(args: &[OsString], log: &mut Log) -> Result<Words, String> {
    let end = args.iter().position(|word| word == "--");
    let (ours, argv) = args.split_at(end.unwrap_or(args.len()));
    let (mut said, mut options) = (Words::default(), MainOptions::ONIT);
    let mut words = lexopt::Parser::from_args(ours);
    while let Some(option) = words.next().map_err(|error| error.to_string())? {
        use lexopt::Arg::{Long, Short, Value};
        match option {
            Short('v') => said.trace = true,
            Short('g') => options.to = Target::Group,
            Long("rewrite") => {
                let text = value(&mut words)?;
                let pair = svdir::rewrite(&text, '=').ok_or(format!("--rewrite {text} is not SIGNAL=SIGNAL"))?;
                options.rewrite.push(pair);
            }
            Long("exit-map") => {
                let text = value(&mut words)?;
                options.exit_map.push(svdir::exit_map(&text).ok_or(format!("--exit-map {text} is not CODE=CODE"))?);
            }
            Long("log") => {
                *log = match value(&mut words)?.as_str() {
                    "text" => Log::Onit,
                    "json" => Log::Json,
                    other => return Err(format!("--log {other} is neither text nor json")),
                }
            }
            Long("prefix") => {
                if !cfg!(feature = "helpers") {
                    return Err("--prefix needs onit mux, which is not in this onit".into());
                }
                let form = words.optional_value().unwrap_or_else(|| "text".into());
                said.prefix = Some(
                    prefix_of(&form).ok_or(format!("--prefix={} is neither text, time nor json", form.display()))?,
                );
            }
            Long("loaders") => {
                if !cfg!(feature = "helpers") {
                    return Err("--loaders needs onit loaders, which is not in this onit".into());
                }
                said.loaders = Some(given(&mut words, "--loaders")?);
            }
            Long("exit-file") => said.exit_file = Some(given(&mut words, "--exit-file")?.into()),
            Long("s6-rc") => return Err("--s6-rc is an option of onit run, where that has its helpers".into()),
            Long("s6") => said.as_s6 = true,
            Long("status-format") => {
                said.format = Some(value(&mut words)?.parse().map_err(|error: UnknownWord| error.to_string())?);
            }
            Long("control-group") => said.control_group = Some(group(&mut words, "--control-group")?),
            Long("status-group") => said.status_group = Some(group(&mut words, "--status-group")?),
            Long("poll") => {
                let text = value(&mut words)?;
                let wrong = || format!("--poll {text} is neither auto, never nor a time of 100ms or more");
                said.poll = Some(Poll::parse(&text).ok_or_else(wrong)?);
            }
            Long("until") => {
                said.until = Some(value(&mut words)?.parse().map_err(|error: UnknownWord| error.to_string())?);
            }
            Short('t') => {
                let text = value(&mut words)?;
                let limit = svdir::budget(&text).flatten().ok_or(format!("-t {text} is no time"))?;
                said.until_limit = Some(limit);
            }
            Value(word) if word.is_empty() => return Err("the directory is empty (a variable that is not set?)".into()),
            Value(word) if said.directory.is_none() => said.directory = Some(word),
            Short(_) | Long(_) | Value(_) => return Err(option.unexpected().to_string()),
        }
    }
    said.main = main_of(argv.iter().skip(1).cloned(), options, MainLog::Onit(*log));
    if end.is_some() && said.main.is_none() {
        Err("there is no command behind --".into())
    } else if said.until_limit.is_some() && said.until.is_none() {
        Err("-t limits --until, which is not there".into())
    } else {
        Ok(said)
    }
}

/// How lines look that have the name of their service in front, as `onit mux` knows it.
pub(super) fn prefix_of(form: &OsStr) -> Option<CString> {
    let form = form.to_str().filter(|form| ["text", "time", "json"].contains(form))?;
    CString::new(form).ok()
}

fn value(words: &mut lexopt::Parser) -> Result<String, String> {
    words.value().map(|word| word.to_string_lossy().into_owned()).map_err(|error| error.to_string())
}

fn group(words: &mut lexopt::Parser, option: &str) -> Result<String, String> {
    given(words, option).map(|group| group.to_string_lossy().into_owned())
}

/// A value that says something.
fn given(words: &mut lexopt::Parser, option: &str) -> Result<OsString, String> {
    let empty = || format!("the value of {option} is empty (a variable that is not set?)");
    let value = words.value().map_err(|error| error.to_string())?;
    Some(value).filter(|value| !value.is_empty()).ok_or_else(empty)
}

/// The main process that a command line names; `None` if it names none.
fn main_of(argv: impl IntoIterator<Item = OsString>, options: MainOptions, log: MainLog) -> Option<MainConfig> {
    let argv: Vec<CString> = argv.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let descriptors = foreground::inherited_descriptors();
    (!argv.is_empty()).then_some(MainConfig { argv, descriptors, options, death_signal: None, log })
}

fn alone(main: MainConfig) -> Config {
    Config { root: Root::Nothing, main: Some(main), ..Config::onit(Default::default()) }
}

/// The words of a command line from the program on.
fn rest(program: OsString, words: &mut lexopt::Parser) -> Vec<OsString> {
    let others = words.raw_args().map(Iterator::collect).unwrap_or_default();
    std::iter::once(program).chain::<Vec<OsString>>(others).collect()
}

/// How we were called, if that is the tool's name, for its messages begin with it; else the tool's name.
fn called(tool: &str) -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let is_tool = std::path::Path::new(&called).file_name().is_some_and(|name| name == tool);
    if is_tool { called.to_string_lossy().into_owned() } else { tool.to_owned() }
}

/// What getopt(3) says about an option that is wrong.
fn option_error(program: &str, option: &Result<lexopt::Arg, lexopt::Error>) -> String {
    let missing = |option: &str| match option.strip_prefix("--") {
        Some(_) => format!("{program}: option '{option}' requires an argument"),
        None => format!("{program}: option requires an argument -- '{}'", option.trim_start_matches('-')),
    };
    match option {
        Ok(lexopt::Arg::Short(letter)) => format!("{program}: invalid option -- '{letter}'"),
        Ok(lexopt::Arg::Long(name)) => format!("{program}: unrecognized option '--{name}'"),
        Err(lexopt::Error::MissingValue { option: Some(option) }) => missing(option),
        Err(lexopt::Error::UnexpectedValue { option, .. }) => {
            format!("{program}: option '{option}' doesn't allow an argument")
        }
        Ok(lexopt::Arg::Value(word)) => format!("{program}: unexpected argument '{}'", word.display()),
        Err(error) => format!("{program}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_option_is_refused_in_the_words_of_getopt() {
        for (words, said) in [
            ("-x", "tool: invalid option -- 'x'"),
            ("--nonsense", "tool: unrecognized option '--nonsense'"),
            ("-r", "tool: option requires an argument -- 'r'"),
            ("--rewrite", "tool: option '--rewrite' requires an argument"),
            ("--verbose=2 x", "tool: option '--verbose' doesn't allow an argument"),
        ] {
            let mut parser = lexopt::Parser::from_args(words.split(' '));
            let first = parser.next().map(|option| option.expect("an option"));
            let wrong = match &first {
                Ok(lexopt::Arg::Short('r') | lexopt::Arg::Long("rewrite")) => parser.value().map(lexopt::Arg::Value),
                Ok(lexopt::Arg::Long("verbose")) => parser.next().map(|option| option.expect("what follows")),
                _ => first,
            };
            assert_eq!(option_error("tool", &wrong), said, "{words}");
        }
    }
}
