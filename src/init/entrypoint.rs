//! The command lines that name a main process: onit's own, tini's and dumb-init's. The program's name, or `--`, ends
//! our options, whatever follows.

use super::config::{Config, MainConfig, Poll, Root};
use super::voice::Voice;
use super::{boot, entry};
use crate::exit;
use crate::machine::main_process::MainManners;
use crate::machine::{Signal, Target};
use crate::sys::{foreground, say::say};
use crate::wire::svdir;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt as _;

/// What a command line of onit's own says.
pub(super) struct Words {
    pub(super) directory: Option<OsString>,
    pub(super) trace: bool,
    pub(super) voice: Voice,
    pub(super) control_group: Option<String>,
    pub(super) status_group: Option<String>,
    pub(super) poll: Option<Poll>,
    pub(super) main: Option<MainConfig>,
}

/// `onit [OPTIONS] -- CMD`.
pub fn main_process(args: &[OsString]) -> i32 {
    let wrong = match parse(args) {
        Ok(Words {
            directory: None,
            trace,
            voice,
            control_group: None,
            status_group: None,
            poll: None,
            main: Some(main),
        }) => {
            return boot::supervise(Config { trace, voice, ..alone(main) });
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
    say(format_args!("onit: {wrong}"));
    say("usage: onit [-g] [-v] [--log text|json] [--rewrite SIGNAL=SIGNAL]... [--exit-map CODE=CODE]... -- CMD");
    exit::USAGE
}

/// Reads our own words, up to `--`; what follows is the main process. Or says what is wrong.
pub(super) fn parse(args: &[OsString]) -> Result<Words, String> {
    let end = args.iter().position(|word| word == "--");
    let (ours, argv) = args.split_at(end.unwrap_or(args.len()));
    let (mut directory, mut trace, mut manners) = (None, false, MainManners::ONIT);
    let (mut voice, mut control_group, mut status_group, mut poll) = (Voice::Onit, None, None, None);
    let mut words = lexopt::Parser::from_args(ours);
    while let Some(option) = words.next().map_err(|error| error.to_string())? {
        use lexopt::Arg::{Long, Short, Value};
        match option {
            Short('v') => trace = true,
            Short('g') => manners.to = Target::Group,
            Long("rewrite") => {
                let text = value(&mut words)?;
                let pair = svdir::rewrite(&text, '=').ok_or(format!("--rewrite {text} is not SIGNAL=SIGNAL"))?;
                manners.rewrite.push(pair);
            }
            Long("exit-map") => {
                let text = value(&mut words)?;
                manners.exit_map.push(svdir::exit_map(&text).ok_or(format!("--exit-map {text} is not CODE=CODE"))?);
            }
            Long("log") => {
                voice = match value(&mut words)?.as_str() {
                    "text" => Voice::Onit,
                    "json" => Voice::Json,
                    other => return Err(format!("--log {other} is neither text nor json")),
                }
            }
            Long("control-group") => control_group = Some(value(&mut words)?),
            Long("status-group") => status_group = Some(value(&mut words)?),
            Long("poll") => {
                let text = value(&mut words)?;
                let wrong = || format!("--poll {text} is neither auto, never nor a time of 100ms or more");
                poll = Some(Poll::parse(&text).ok_or_else(wrong)?);
            }
            Value(word) if directory.is_none() => directory = Some(word),
            Short(_) | Long(_) | Value(_) => return Err(option.unexpected().to_string()),
        }
    }
    let main = main_of(argv.iter().skip(1).cloned(), manners);
    if end.is_some() && main.is_none() {
        Err("there is no command behind --".into())
    } else {
        Ok(Words { directory, trace, voice, control_group, status_group, poll, main })
    }
}

fn value(words: &mut lexopt::Parser) -> Result<String, String> {
    words.value().map(|word| word.to_string_lossy().into_owned()).map_err(|error| error.to_string())
}

/// The main process that a command line names; `None` if it names none.
fn main_of(argv: impl IntoIterator<Item = OsString>, manners: MainManners) -> Option<MainConfig> {
    let argv: Vec<CString> = argv.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let descriptors = foreground::inherited_descriptors();
    (!argv.is_empty()).then_some(MainConfig { argv, descriptors, manners, death_signal: None, tell_orphans: false })
}

fn alone(main: MainConfig) -> Config {
    Config { root: Root::Nothing, main: Some(main), ..Config::onit(Default::default()) }
}

/// `tini [-s] [-g] [-p SIGNAL] [-e CODE] [-v] [-w] [--] CMD`, with tini's environment.
pub fn tini(args: &[OsString]) -> i32 {
    let set = |name| std::env::var_os(name).is_some();
    let to = if set("TINI_KILL_PROCESS_GROUP") { Target::Group } else { Target::Process };
    let mut manners = MainManners { to, sweep: false, ..MainManners::ONIT };
    let (mut death_signal, mut tell_orphans, mut argv) = (None, false, Vec::new());
    let mut words = lexopt::Parser::from_args(args);
    while let Some(option) = words.next().transpose() {
        use lexopt::Arg::{Long, Short, Value};
        match option {
            Ok(Short('s' | 'v')) => {} // we are a subreaper anyway, and have nothing more to say
            Ok(Short('g')) => manners.to = Target::Group,
            Ok(Short('w')) => tell_orphans = true,
            Ok(Short('e')) => match value(&mut words).ok().and_then(|code| code.parse().ok()) {
                Some(code) => manners.exit_map.push((code, 0)),
                None => return wrong("tini: -e takes an exit code, 0 to 255"),
            },
            Ok(Short('p')) => match value(&mut words).ok().and_then(|name| svdir::signal(&name)) {
                Some(signal) => death_signal = Some(signal),
                None => return wrong("tini: -p takes the name of a signal"),
            },
            Ok(Long("version")) => {
                return entry::answer(concat!("tini version 0.19.0 (onit ", env!("CARGO_PKG_VERSION"), ")"));
            }
            Ok(Short('h')) => return entry::answer(TINI),
            Ok(Short('l')) => return entry::answer("onit: MIT or Apache-2.0"),
            Ok(Value(program)) => {
                argv = rest(program, &mut words);
                break;
            }
            Ok(Short(_) | Long(_)) | Err(_) => return wrong(TINI),
        }
    }
    match main_of(argv, manners) {
        Some(main) => boot::supervise(alone(MainConfig { death_signal, tell_orphans, ..main })),
        None => wrong(TINI),
    }
}

/// `dumb-init [-c] [-r SIGNAL:SIGNAL] [-v] [--] CMD`, with dumb-init's environment.
pub fn dumb_init(args: &[OsString]) -> i32 {
    let mut session = std::env::var_os("DUMB_INIT_SETSID").is_none_or(|value| value != "0");
    let mut rewrite = Vec::new();
    let mut argv = Vec::new();
    let mut words = lexopt::Parser::from_args(args);
    while let Some(option) = words.next().transpose() {
        use lexopt::Arg::{Long, Short, Value};
        match option {
            Ok(Short('c') | Long("single-child")) => session = false,
            Ok(Short('v') | Long("verbose")) => {}
            Ok(Short('r') | Long("rewrite")) => {
                match value(&mut words).ok().and_then(|text| svdir::rewrite(&text, ':')) {
                    Some(pair) => rewrite.push(pair),
                    None => return wrong("dumb-init: --rewrite takes SIGNAL:SIGNAL"),
                }
            }
            Ok(Short('V') | Long("version")) => {
                return entry::answer(concat!("dumb-init v1.2.5 (onit ", env!("CARGO_PKG_VERSION"), ")"));
            }
            Ok(Short('h') | Long("help")) => return entry::answer(DUMB_INIT),
            Ok(Value(program)) => {
                argv = rest(program, &mut words);
                break;
            }
            Ok(Short(_) | Long(_)) | Err(_) => return wrong(DUMB_INIT),
        }
    }
    let to = if session { Target::Group } else { Target::Process };
    if session {
        // A session without a terminal of ours would never be continued.
        let stops = [Signal::TSTP, Signal::TTIN, Signal::TTOU].map(|signal| (signal, Some(Signal::STOP)));
        rewrite.splice(0..0, stops);
    }
    match main_of(argv, MainManners { to, rewrite, new_session: session, ..MainManners::ONIT }) {
        Some(main) => boot::supervise(alone(main)),
        None => wrong(DUMB_INIT),
    }
}

const TINI: &str = "usage: tini [-s] [-g] [-w] [-v] [-p SIGNAL] [-e CODE] [--] PROGRAM [ARGS]";
const DUMB_INIT: &str = "usage: dumb-init [-c] [-v] [-r SIGNAL:SIGNAL] [--] PROGRAM [ARGS]";

fn rest(program: OsString, words: &mut lexopt::Parser) -> Vec<OsString> {
    let others = words.raw_args().map(Iterator::collect).unwrap_or_default();
    std::iter::once(program).chain::<Vec<OsString>>(others).collect()
}

fn wrong(message: &str) -> i32 {
    say(message);
    exit::FAILED
}
