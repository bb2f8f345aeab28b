//! Every word that `onit` understands: for finding its function, for `onit help`, and for completion.

use super::term;
use super::wait;
use super::{
    check, completion, events, export, graph, health, history, inspect, install, lint, logs, near, new, order, rescan,
    restart, scale, states, status, upgrade,
};
use super::{exec, hooks, probe, probe_server, timer};
use crate::{exit, sys::say::say};
use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FlagInfoKind, FromArgs};
use std::ffi::OsString;

/// A word behind `onit`.
pub struct Verb {
    /// The word.
    pub name: &'static str,
    /// Other words for it. A single letter means what it means to `sv`.
    pub also: &'static [&'static str],
    /// What may come behind it.
    pub words: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What its words are, for completion.
    pub takes: Takes,
    /// Its function; `None` if it is none of this room.
    pub run: Option<Run>,
    /// Its options; `None` if its function is none of this room, or there are none.
    pub info: Option<Info>,
}

/// What the words behind a verb are, its options excepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Takes {
    /// The first one is one of these; with none, it is as the others.
    pub first: &'static [&'static str],
    /// The others.
    pub rest: Words,
}

/// What a word is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Words {
    /// The name of a service, or its path.
    Services,
    /// A directory.
    Directories,
    /// A program, and its words.
    Commands,
    /// The name of a user.
    Users,
    /// The name of a group.
    Groups,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Any word, or none.
    Free,
}

const SERVICES: Takes = then(&[], Words::Services);
const DIRECTORIES: Takes = then(&[], Words::Directories);
const COMMANDS: Takes = then(&[], Words::Commands);
const NOTHING: Takes = then(&[], Words::Free);

const fn then(first: &'static [&'static str], rest: Words) -> Takes {
    Takes { first, rest }
}

/// The function of a verb: its words, and the exit code.
pub type Run = fn(&'static Verb, &[OsString]) -> i32;
/// Reads what is behind a verb of this title, and runs it.
type OnWords<'a> = Box<dyn FnOnce(&str, &[&str]) -> Result<i32, EarlyExit> + 'a>;
/// What is known of its words.
pub type Info = fn() -> CommandInfoWithArgs;

/// They need no line each.
const SIGNALS: &str = "signals";
const NO_NAMES: &[&str] = &[];

/// What a new user needs, in this order.
const EVERYDAY: [&str; 10] =
    ["run", "status", "start", "stop", "restart", "health", "history", "events", "new", "lint"];

/// An order to services.
const fn order(name: &'static str, also: &'static [&'static str], about: &'static str) -> Verb {
    let run: Run = |verb, args| verb.read(args, |order: order::Order| order.run(verb.name));
    let info: Info = <order::Order as ArgsInfo>::get_args_info;
    Verb { also, ..ask(name, "[-v] [-t SEC] [--no-wait] SVC...", about, (run, info)) }
}

const fn ask(name: &'static str, words: &'static str, about: &'static str, reader: (Run, Info)) -> Verb {
    Verb { name, also: NO_NAMES, words, about, takes: SERVICES, run: Some(reader.0), info: Some(reader.1) }
}

/// The function of a verb whose words are of this type, and what is known of them.
macro_rules! runs {
    ($words:ty) => {
        (|verb, args| verb.read(args, |words: $words| words.run()), <$words as ArgsInfo>::get_args_info)
    };
}

const fn elsewhere(name: &'static str, words: &'static str, about: &'static str, takes: Takes) -> Verb {
    Verb { name, also: NO_NAMES, words, about, takes, run: None, info: None }
}

/// What `sv` is told to do.
const OF_SV: &[&str] = &[
    "status",
    "up",
    "down",
    "once",
    "pause",
    "cont",
    "hup",
    "alarm",
    "interrupt",
    "quit",
    "1",
    "2",
    "term",
    "kill",
    "exit",
    "start",
    "stop",
    "reload",
    "restart",
    "shutdown",
    "check",
    "force-stop",
    "force-reload",
    "force-restart",
    "force-shutdown",
    "try-restart",
];

/// What stands behind `--` is not for us to read.
const NEW: (Run, Info) = (
    |verb, args| {
        let (options, command) = new::split(args);
        verb.read(options, |new: new::New| new.run(options, command))
    },
    <new::New as ArgsInfo>::get_args_info,
);

/// What is run in time stands behind `--`.
macro_rules! in_time {
    ($words:ty) => {
        (
            |verb, args| {
                let (options, command) = new::split(args);
                verb.read(options, |words: $words| words.run(command))
            },
            <$words as ArgsInfo>::get_args_info,
        )
    };
}

/// What is asked stands behind `exec`.
const PROBE: (Run, Info) = (
    |verb, args| {
        let (options, command) = probe::split(args);
        verb.read(options, |words: probe::Probe| words.run(command))
    },
    <probe::Probe as ArgsInfo>::get_args_info,
);

/// The command begins with the first word that is none of our options, or behind `--`, and is not for us to read.
const EXEC: (Run, Info) = (
    |verb, args| {
        let (options, command) = verb.split(args);
        verb.read(options, |exec: exec::Exec| exec.run(options, command))
    },
    <exec::Exec as ArgsInfo>::get_args_info,
);

/// Its letters may stand together.
const LOGS: (Run, Info) = (
    |verb, args| verb.read(&logs::split(args), |logs: logs::Logs| logs.run()),
    <logs::Logs as ArgsInfo>::get_args_info,
);

/// The words, in the order in which help shows them.
pub const VERBS: &[(&str, &[Verb])] = &[
    (
        "what is it doing?",
        &[
            Verb {
                also: &["s"],
                ..ask(
                    "status",
                    "[-a] [-q] [--watch] [--json] [SVC...]",
                    "where services stand; one that is named, at length",
                    runs!(status::Status),
                )
            },
            Verb { takes: NOTHING, ..ask("list", "[-a] [--json]", "the names of all services", runs!(inspect::List)) },
            ask(
                "health",
                "[--json] [--exit STYLE] [SVC...]",
                "exit code 0 if everything is as wanted; for probes",
                runs!(health::Health),
            ),
            ask(
                "check",
                "[-v] [-t SEC] SVC...",
                "exit code 0 if they are as wanted and ./check succeeds",
                runs!(check::Check),
            ),
            Verb {
                takes: then(&["up", "ready", "down", "done"], Words::Services),
                ..ask("wait", "up|ready|down|done [-t SEC] [--any] SVC...", "wait until it is so", runs!(wait::Wait))
            },
            ask("history", "[--json] SVC", "its last lives", runs!(history::History)),
            Verb {
                takes: NOTHING,
                ..ask(
                    "states",
                    "[--dot|--mermaid]",
                    "the states of a service, and what changes them",
                    runs!(states::States),
                )
            },
            ask("graph", "[--dot] [SVC...]", "what they depend on, as a tree", runs!(graph::Graph)),
            ask("events", "[--json] [--exec PROGRAM] [SVC...]", "what happens, as it happens", runs!(events::Events)),
            ask("logs", "[-ft] [-n N] [--since T] [SVC...]", "the last lines of their logs, merged by time", LOGS),
            ask("pid", "SVC", "its process", runs!(inspect::Process)),
            ask("env", "[--show] [--json] SVC", "the environment of its process", runs!(inspect::Env)),
        ],
    ),
    (
        "orders",
        &[
            order("up", &["u", "start"], "start it, and start it again whenever it ends"),
            order("down", &["d", "stop"], "stop it, and do not start it again"),
            order("once", &["o"], "start it, and do not start it again when it ends"),
            ask(
                "restart",
                "[--overlap] [--rolling] [-v] [-t SEC] [--no-wait] SVC...",
                "stop it and start it, or start it",
                runs!(restart::Restart),
            ),
            order("enable", &[], "remove its file \"down\", and start it"),
            order("disable", &[], "make a file \"down\", and stop it"),
            order("exit", &["x", "e"], "stop it, and leave it"),
            order("ready", &[], "it is ready, whatever it says of that itself"),
            Verb {
                takes: NOTHING,
                ..ask(
                    "scale",
                    "[-v] [-t SEC] [--no-wait] NAME=N...",
                    "so many instances of the template NAME@",
                    runs!(scale::Scale),
                )
            },
            Verb {
                takes: NOTHING,
                ..ask(
                    "rescan",
                    "[--dry-run]",
                    "look at the whole directory, also at what was refused",
                    runs!(rescan::Rescan),
                )
            },
        ],
    ),
    (
        SIGNALS,
        &[
            order("reload", &[], "the signal in its file reload-signal, or HUP"),
            order("pause", &["p"], "STOP"),
            order("cont", &["c"], "CONT"),
            order("term", &["t"], "TERM; it is started again if it is to be up"),
            order("kill", &["k"], "KILL; it is started again if it is to be up"),
            order("hup", &["h"], "HUP"),
            order("int", &["i", "interrupt"], "INT"),
            order("quit", &["q"], "QUIT"),
            order("alrm", &["a", "alarm"], "ALRM"),
            order("usr1", &["1"], "USR1"),
            order("usr2", &["2"], "USR2"),
            order("abrt", &[], "ABRT"),
            order("winch", &[], "WINCH"),
        ],
    ),
    (
        "service directories",
        &[
            Verb {
                takes: NOTHING,
                ..ask("new", "NAME [OPTIONS] -- CMD", "write a service directory that runs CMD", NEW)
            },
            Verb {
                takes: DIRECTORIES,
                ..ask("lint", "[--strict] [--json] DIR...", "examine service directories", runs!(lint::Lint))
            },
            Verb {
                takes: then(&["systemd"], Words::Directories),
                ..ask("export", "systemd DIR", "print a service as a unit", runs!(export::Export))
            },
        ],
    ),
    (
        "supervising",
        &[
            elsewhere("run", "[-v] [DIR] [-- CMD]", "run the services in DIR ($SVDIR, /etc/service)", DIRECTORIES),
            elsewhere("--", "CMD", "run CMD as a container's main process", COMMANDS),
            Verb {
                takes: COMMANDS,
                ..ask("exec", "[OPTIONS] [--] CMD", "become CMD, as another user, within limits, ...", EXEC)
            },
            elsewhere("s6-overlay", "[CMD]", "be the init of an image for s6-overlay", COMMANDS),
            elsewhere("idle", "", "run nothing, reap orphans; for PID 1 of a container", NOTHING),
            Verb {
                takes: NOTHING,
                ..ask("upgrade", "[PID]", "let a running onit (1) become the one at its path", runs!(upgrade::Upgrade))
            },
            Verb {
                takes: DIRECTORIES,
                ..ask(
                    "install",
                    "[-f] [--container] [--init] [--tools] [--s6] DIR",
                    "link the names of other tools to this program in DIR",
                    runs!(install::Install),
                )
            },
            Verb {
                takes: NOTHING,
                ..ask(
                    "logger",
                    "[--file FILE] [--dir DIR] [OPTIONS]",
                    "write standard input to a log, line by line",
                    runs!(super::logger::LoggerVerb),
                )
            },
            elsewhere("svlogd", "[-ttv] DIR...", "as runit's svlogd", DIRECTORIES),
            elsewhere("multilog", "SCRIPT", "as daemontools' multilog", DIRECTORIES),
            elsewhere("s6-log", "SCRIPT", "as in s6", DIRECTORIES),
            elsewhere("runsvdir", "[-P] DIR [LOG]", "as runit's runsvdir", DIRECTORIES),
            elsewhere("runsv", "DIR", "as runit's runsv", DIRECTORIES),
            elsewhere("svscan", "[DIR]", "as daemontools' svscan", DIRECTORIES),
            elsewhere("supervise", "DIR", "as daemontools' supervise", DIRECTORIES),
            elsewhere("s6-svscan", "[DIR]", "as in s6", DIRECTORIES),
            elsewhere("s6-supervise", "DIR", "as in s6", DIRECTORIES),
            elsewhere("s6-svc", "...", "as in s6", DIRECTORIES),
            elsewhere("s6-svok", "DIR", "as in s6", DIRECTORIES),
            elsewhere("s6-svstat", "... DIR", "as in s6", DIRECTORIES),
            elsewhere("s6-svwait", "... DIR...", "as in s6", DIRECTORIES),
            elsewhere("sv", "...", "as runit's sv", then(OF_SV, Words::Services)),
            elsewhere("svc", "...", "as daemontools' svc", DIRECTORIES),
            elsewhere("svstat", "DIR...", "as daemontools' svstat", DIRECTORIES),
            elsewhere("svok", "DIR", "as daemontools' svok", DIRECTORIES),
            elsewhere("tini", "...", "as tini", COMMANDS),
            elsewhere("dumb-init", "...", "as dumb-init", COMMANDS),
            elsewhere("init", "", "PID 1 of a machine", NOTHING),
            elsewhere("poweroff", "[-f]", "ask PID 1 for it (-f: do it); also reboot, halt, kexec", NOTHING),
        ],
    ),
    (
        "beside services",
        &[
            Verb {
                takes: then(&["tcp", "unix", "http", "exec", "file", "process"], Words::Commands),
                ..ask(
                    "probe",
                    "[-q] [-t TIME] tcp|unix|http|exec|file|process WHAT",
                    "exit code 0 if it answers",
                    PROBE,
                )
            },
            Verb {
                takes: NOTHING,
                ..ask(
                    "probe-server",
                    "[--listen PLACE]",
                    "answers /livez, /readyz and /healthz",
                    runs!(probe_server::ProbeServer),
                )
            },
            Verb {
                takes: NOTHING,
                ..ask("hooks", "[--dir DIR]", "run programs when something happens to a service", runs!(hooks::Hooks))
            },
            Verb {
                takes: COMMANDS,
                ..ask("every", "TIME [OPTIONS] -- CMD", "run CMD again and again", in_time!(timer::Every))
            },
            Verb {
                takes: COMMANDS,
                ..ask("at", "LINE [OPTIONS] -- CMD", "run CMD when a line of a crontab says", in_time!(timer::At))
            },
        ],
    ),
    (
        "other",
        &[
            Verb {
                run: Some(|_, args| help(args.first().and_then(|word| word.to_str()))),
                ..elsewhere("help", "[VERB|all]", "what is used every day; every verb; or more about one", NOTHING)
            },
            Verb {
                takes: then(&["bash", "zsh", "fish"], Words::Free),
                ..ask(
                    "completion",
                    "bash|zsh|fish",
                    "a script that completes verbs, options and services",
                    runs!(completion::Completion),
                )
            },
        ],
    ),
];

/// Every verb.
pub fn verbs() -> impl Iterator<Item = &'static Verb> {
    VERBS.iter().flat_map(|(_, verbs)| verbs.iter())
}

/// The verb of this name.
pub fn find(word: &str) -> Option<&'static Verb> {
    verbs().find(|verb| verb.name == word || verb.also.contains(&word))
}

/// There is no such verb. Returns the exit code.
pub fn unknown(word: &str) -> i32 {
    let words: Vec<&str> = verbs().flat_map(|verb| std::iter::once(&verb.name).chain(verb.also)).copied().collect();
    let question = near::question(word, &words);
    say(format_args!("onit: there is no verb {word}{question} (\"onit help\" shows verbs; a program: onit -- {word})"));
    exit::USAGE
}

/// Runs what a word of this room stands for. `None`: it is another one's.
pub fn run(word: &str, args: &[OsString]) -> Option<i32> {
    let verb = find(word)?;
    verb.run.map(|run| run(verb, args))
}

/// `--color=never` is two words to argh.
fn split<W: AsRef<str>>(words: &[W]) -> Vec<&str> {
    let mut split = Vec::with_capacity(words.len());
    let mut options = true;
    for word in words.iter().map(AsRef::as_ref) {
        options &= word != "--";
        match word.split_once('=') {
            Some((option, value)) if options && option.starts_with("--") => split.extend([option, value]),
            _ => split.push(word),
        }
    }
    split
}

impl Verb {
    /// Reads the words behind it, and goes on with them.
    fn read<V: FromArgs>(&'static self, args: &[OsString], run: impl FnOnce(V) -> i32) -> i32 {
        self.go(args, Box::new(|title, words| V::from_args(&[title], words).map(run)))
    }

    /// The same for all types of words, so that it is compiled once.
    fn go(&self, args: &[OsString], run: OnWords) -> i32 {
        let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
        let words = split(&words);
        if let Some(what) = self.empty(&words) {
            say(format_args!("onit: {}: {what} is empty (a variable that is not set?)", self.name));
            return exit::USAGE;
        }
        run(&self.title(), &words).unwrap_or_else(|early| self.instead(&early))
    }

    /// What of its words is empty, and so would be the current directory where it is a path. That of a service has a
    /// line of its own.
    fn empty(&self, words: &[&str]) -> Option<String> {
        let info = self.info?();
        let has_value = |word: &str| has_value(&info, word);
        let mut before = "";
        for word in words {
            if has_value(before) {
                if word.is_empty() {
                    return Some(format!("the value of {before}"));
                }
                before = "";
                continue;
            }
            if word.is_empty() && !self.words.contains("SVC") {
                return Some("a word".into());
            }
            before = word;
        }
        None
    }

    /// Its own options, and the command behind them.
    fn split<'a>(&self, args: &'a [OsString]) -> (&'a [OsString], &'a [OsString]) {
        let info = self.info.map(|info| info());
        let mut at = 0;
        while let Some(word) = args.get(at).map(|word| word.to_string_lossy()) {
            if !word.starts_with('-') || word == "-" || word == "--" {
                break;
            }
            at += if info.as_ref().is_some_and(|info| has_value(info, &word)) { 2 } else { 1 };
        }
        let (options, command) = args.split_at_checked(at).unwrap_or((args, &[]));
        (options, command.split_first().filter(|(word, _)| *word == "--").map_or(command, |(_, command)| command))
    }

    fn wrong(&self, output: &str) -> String {
        let info = self.info.map(|info| info());
        let flags = info.iter().flat_map(|info| info.flags).filter(|flag| !flag.hidden);
        wrong(output, &flags.map(|flag| flag.long.to_owned()).collect::<Vec<_>>())
    }

    fn title(&self) -> String {
        format!("onit {}", self.name)
    }

    /// Help, or why the words behind it are wrong.
    fn instead(&self, early: &EarlyExit) -> i32 {
        let output = early.output.trim_end();
        if early.status.is_ok() {
            let also = if self.also.is_empty() { String::new() } else { format!("Also: {}\n\n", self.also.join(", ")) };
            return term::print(&folded(&format!("{}: {}\n\n{also}{output}\n", self.title(), self.about)));
        }
        let (name, why) = (self.name, self.wrong(output));
        say(format_args!("onit: {name}: {why} (\"onit help {name}\" says more)"));
        exit::USAGE
    }
}

/// Whether a word is an option whose value is the next word.
fn has_value(info: &CommandInfoWithArgs, word: &str) -> bool {
    let is_meant = |flag: &argh::FlagInfo| {
        flag.long == word || flag.short.is_some_and(|letter| word.strip_prefix('-') == Some(&*letter.to_string()))
    };
    info.flags.iter().any(|flag| matches!(flag.kind, FlagInfoKind::Option { .. }) && is_meant(flag))
}

/// Which of the words is wrong, in our words.
fn wrong(output: &str, options: &[String]) -> String {
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Some(word) = first.strip_prefix("Unrecognized argument: ") {
        let is_option = word.starts_with('-');
        return match is_option {
            true => format!("there is no option {word}{}", near::question(word, options)),
            false => format!("{word} is one word too many"),
        };
    }
    match first.strip_prefix("No value provided for option '").and_then(|rest| rest.strip_suffix("'.")) {
        Some(option) => format!("{option} needs a value"),
        None if first.starts_with("Required ") => format!("{second} is missing"),
        None => format!("{first} {second}").trim_end().to_owned(),
    }
}

/// No line is longer than most terminals are wide.
fn folded(text: &str) -> String {
    const WIDTH: usize = 80;
    let mut folded = String::new();
    for line in text.lines() {
        let mut column = 0;
        for word in line.split_inclusive(' ') {
            if column > 0 && column + word.trim_end().chars().count() > WIDTH {
                folded.truncate(folded.trim_end_matches(' ').len());
                folded.push('\n');
                column = 0;
            }
            folded.push_str(word);
            column += word.chars().count();
        }
        folded.push('\n');
    }
    folded
}

/// `onit help [VERB|all]`.
pub fn help(word: Option<&str>) -> i32 {
    let Some(word) = word else { return term::print(&everyday()) };
    match find(word) {
        _ if word == "all" => term::print(&overview()),
        Some(Verb { name: "help", .. }) => term::print("usage: onit help [VERB|all]\n"),
        Some(verb) => match verb.run {
            Some(run) => run(verb, &["--help".into()]),
            None => term::print(&format!("usage: onit {} {}\n\n{}\n", verb.name, verb.words, verb.about)),
        },
        None => unknown(word),
    }
}

/// What is needed every day.
pub fn everyday() -> String {
    let mut text = String::from("usage: onit VERB ...\n\n");
    for word in EVERYDAY {
        let Some(verb) = find(word) else { continue };
        let words = without_options(&verb.words.replace("[OPTIONS] ", ""));
        text += &format!("  {:<22}  {}\n", format!("{word} {words}").trim_end(), verb.about);
    }
    text += "\nonit help VERB tells more about one, with its options; onit help all shows all.\n\
             SVC is a name in $SVDIR (/etc/service), a glob, a path that begins with / or .,\n\
             or \"all\". In a container: onit -- CMD runs CMD as its main process.\n";
    text
}

/// What may come behind a verb, without what stands in brackets and begins with a dash.
fn without_options(words: &str) -> String {
    let (mut bare, mut rest) = (String::new(), words);
    while let Some((before, option)) = rest.split_once("[-") {
        bare += before;
        rest = option.split_once(']').map_or("", |(_, rest)| rest.trim_start());
    }
    bare + rest
}

/// All verbs, each with its line.
pub fn overview() -> String {
    let mut text = String::from("usage: onit VERB ...\n");
    for (title, verbs) in VERBS {
        text += &format!("\n{title}\n");
        if *title == SIGNALS {
            let names: Vec<&str> = verbs.iter().map(|verb| verb.name).collect();
            text += &format!("  {}\n", names.join(" "));
            continue;
        }
        for verb in *verbs {
            let long = match (verb.also.is_empty(), *title) {
                (false, "orders") => format!("{} ({})", verb.name, verb.also.join(", ")),
                (true, "orders") => verb.name.to_owned(),
                _ => format!("{} {}", verb.name, verb.words),
            };
            text += &if long.len() <= 22 {
                format!("  {long:<22}  {}\n", verb.about)
            } else {
                format!("  {long}\n  {:22}  {}\n", "", verb.about)
            };
        }
    }
    text += "\nBehind orders and signals: [-v] [-t SEC] [--no-wait] SVC...\n\
             They wait until it is so. SVC is a name in $SVDIR (/etc/service), a glob, a path\n\
             that begins with / or ., or \"all\".\n\
             Exit codes: 0 yes; 1 no; 4 no such service; 99 not in time; 100 usage error;\n\
             111 nobody answers.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Order;

    #[test]
    fn every_word_stands_once() {
        let words: Vec<&str> = verbs().flat_map(|verb| std::iter::once(&verb.name).chain(verb.also)).copied().collect();
        for (at, word) in words.iter().enumerate() {
            assert!(!words[at + 1..].contains(word), "{word}");
        }
    }

    #[test]
    fn every_order_of_the_api_is_a_verb() {
        // The last one is `restart --overlap`.
        for order in Order::ALL.into_iter().filter(|order| *order != Order::Overlap).map(Order::word) {
            assert!(find(order).is_some_and(|verb| verb.name == order && verb.run.is_some()), "{order}");
        }
    }

    #[test]
    fn single_letters_mean_what_they_mean_to_sv() {
        for (letter, name) in [
            ("u", "up"),
            ("d", "down"),
            ("o", "once"),
            ("p", "pause"),
            ("c", "cont"),
            ("h", "hup"),
            ("a", "alrm"),
            ("i", "int"),
            ("q", "quit"),
            ("1", "usr1"),
            ("2", "usr2"),
            ("t", "term"),
            ("k", "kill"),
            ("x", "exit"),
            ("e", "exit"),
            ("s", "status"),
        ] {
            assert_eq!(find(letter).map(|verb| verb.name), Some(name));
        }
    }

    #[test]
    fn an_option_and_its_value_may_be_one_word() {
        assert_eq!(split(&["--color=never", "a=b", "--", "--x=y"]), ["--color", "never", "a=b", "--", "--x=y"]);
    }

    #[test]
    fn long_lines_are_folded_between_words() {
        let long = format!("{} {}", "x".repeat(79), "and so on");
        assert_eq!(folded(&format!("  short\n\n{long}\n")), format!("  short\n\n{}\nand so on\n", "x".repeat(79)));
        assert_eq!(folded(&"y".repeat(90)), format!("{}\n", "y".repeat(90)));
        assert_eq!(folded(&"ab ".repeat(40)).lines().map(str::len).collect::<Vec<_>>(), [80, 39]);
    }

    #[test]
    fn what_is_needed_every_day_fits_on_a_small_terminal() {
        let text = everyday();
        assert!(text.lines().count() <= 24 && text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(EVERYDAY.iter().all(|word| text.contains(&format!("\n  {word} "))), "{text}");
        assert!(text.contains("\n  run [DIR] ") && text.contains("\n  new NAME -- CMD "), "{text}");
    }

    #[test]
    fn wrong_words_are_told_in_ours() {
        let options = ["--timeout", "--no-wait"].map(String::from);
        for (theirs, ours) in [
            ("Unrecognized argument: --bogus\n", "there is no option --bogus"),
            ("Unrecognized argument: --no-wiat\n", "there is no option --no-wiat; did you mean --no-wait?"),
            ("Unrecognized argument: b\n", "b is one word too many"),
            ("No value provided for option '-t'.\n", "-t needs a value"),
            ("Required positional arguments not provided:\n    SVC\n", "SVC is missing"),
            ("Error parsing option '-t' with value 'x': no\n", "Error parsing option '-t' with value 'x': no"),
        ] {
            assert_eq!(wrong(theirs, &options), ours);
        }
    }

    #[test]
    fn help_fits_on_a_terminal() {
        let text = overview();
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(verbs().all(|verb| text.contains(verb.name)) && text.len() < 4700, "{}", text.len());
    }
}
