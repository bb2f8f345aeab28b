//! `onit completion`: scripts for shells. They ask `onit list` for the names of services.

use super::table::{Verb, Words, verbs};
use super::term;
use crate::wire::settings;
use argh::{ArgsInfo, FlagInfoKind, FromArgs};
use std::collections::BTreeMap;
use std::str::FromStr;

/// A shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl FromStr for Shell {
    type Err = String;

    fn from_str(word: &str) -> Result<Shell, String> {
        match word {
            "bash" => Ok(Shell::Bash),
            "zsh" => Ok(Shell::Zsh),
            "fish" => Ok(Shell::Fish),
            _ => Err("it is bash, zsh or fish".into()),
        }
    }
}

/// Bash: eval "$(onit completion bash)" in ~/.bashrc. Zsh: the same, behind compinit, in ~/.zshrc. Fish: onit completion
/// fish >~/.config/fish/completions/onit.fish
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Completion {
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL")]
    shell: Shell,
}

impl Completion {
    /// Prints the script. Returns the exit code.
    pub fn run(&self) -> i32 {
        term::print(&match self.shell {
            Shell::Bash => filled(BASH),
            Shell::Zsh => filled(ZSH),
            Shell::Fish => fish(),
        })
    }
}

/// One option of a verb.
struct Choice {
    /// A letter, if it has one.
    short: Option<char>,
    long: Option<String>,
    about: String,
    /// What follows it, if anything does.
    value: Option<Words>,
}

impl Choice {
    /// As they are written.
    fn names(&self) -> Vec<String> {
        let short = self.short.map(|letter| format!("-{letter}"));
        short.into_iter().chain(self.long.iter().map(|long| format!("--{long}"))).collect()
    }
}

/// The options of those that are none of this room: the verb, the option, whether a value follows, and what it does.
const ELSEWHERE: &[(&str, &str, bool, &str)] = &[
    ("run", "-v", false, "tell each change"),
    ("run", "--log", true, "how lines on standard error look"),
    ("run", "--control-group", true, "its members may give orders"),
    ("run", "--status-group", true, "its members may look"),
    ("run", "--poll", true, "how often to look at DIR"),
    ("run", "--until", true, "when everything ends"),
    ("run", "--prefix", false, "one stream of what services say"),
    ("run", "-t", true, "or after this time"),
    ("run", "-g", false, "signals go to the group of CMD"),
    ("run", "--rewrite", true, "CMD gets another signal"),
    ("run", "--exit-map", true, "another exit code"),
    ("poweroff", "-f", false, "do it now"),
    ("poweroff", "-n", false, "without sync"),
];

/// What may follow this option of a verb.
fn value(verb: &str, option: &str) -> Words {
    match (verb, option) {
        ("run", "log") => Words::OneOf(&["text", "json"]),
        ("run", "poll") => Words::OneOf(&["auto", "never"]),
        ("health", "exit") => Words::OneOf(&["docker", "consul", "nagios"]),
        ("run", "until") => Words::OneOf(&["done", "any", "ready"]),
        (_, "color") => Words::OneOf(&["auto", "always", "never"]),
        (_, "target") => Words::OneOf(&["onit", "runit", "daemontools", "s6"]),
        (_, "ionice") => Words::OneOf(&["none", "idle", "best-effort:", "realtime:"]),
        (_, "scheduler") => Words::OneOf(&["other", "batch", "idle", "fifo:", "rr:"]),
        (_, "limit") => Words::OneOf(&[
            "address-space=",
            "core=",
            "cpu=",
            "data=",
            "file-size=",
            "locked-memory=",
            "open-files=",
            "processes=",
            "resident=",
            "stack=",
        ]),
        ("logger", "timestamp") => Words::OneOf(&["tai64n", "iso", "none"]),
        ("logger", "compress") => Words::OneOf(&["gzip"]),
        (_, "exec") => Words::Commands,
        (_, "dir" | "cwd" | "log" | "cd" | "chroot" | "env-dir") => Words::Directories,
        (_, "user") => Words::Users,
        (_, "group" | "groups" | "control-group" | "status-group") => Words::Groups,
        (_, "depends-on" | "after") => Words::Services,
        (_, file) => match settings::value(file) {
            Some(value) if !value.words.is_empty() => Words::OneOf(value.words),
            Some(_) | None => Words::Free,
        },
    }
}

/// The options of a verb.
fn choices(verb: &Verb) -> Vec<Choice> {
    let info = verb.info.map(|info| info());
    let flags = info.iter().flat_map(|info| info.flags).filter(|flag| !flag.hidden && !flag.long.is_empty());
    let own = flags.map(|flag| {
        let long = flag.long.trim_start_matches('-').to_owned();
        let takes = matches!(flag.kind, FlagInfoKind::Option { .. });
        let value = takes.then(|| value(verb.name, &long));
        Choice { short: flag.short, about: flag.description.to_owned(), value, long: Some(long) }
    });
    let elsewhere = ELSEWHERE.iter().filter(|(of, ..)| *of == verb.name).map(|(_, option, takes, about)| {
        let long = option.strip_prefix("--").map(str::to_owned);
        let value = takes.then(|| value(verb.name, long.as_deref().unwrap_or_default()));
        let short = option.chars().nth(1).filter(|_| long.is_none());
        Choice { short, long, about: (*about).to_owned(), value }
    });
    own.chain(elsewhere).collect()
}

/// The verb and the other words for it.
fn names(verb: &Verb) -> impl Iterator<Item = &'static str> {
    std::iter::once(verb.name).chain(verb.also.iter().copied())
}

/// The verbs and the other words for them that are words, and neither letters nor options.
fn offered() -> Vec<(&'static str, &'static Verb)> {
    let all = verbs().flat_map(|verb| names(verb).map(move |name| (name, verb)));
    all.filter(|(name, _)| name.len() > 1 && !name.starts_with('-')).collect()
}

/// Lines of a `case`: all patterns that lead to the same, in one.
fn cases(all: impl Iterator<Item = (String, String)>) -> String {
    let mut grouped: BTreeMap<String, Vec<String>> = BTreeMap::new();
    all.for_each(|(pattern, does)| grouped.entry(does).or_default().push(pattern));
    grouped.iter().map(|(does, patterns)| format!("        {}) {does} ;;\n", patterns.join("|"))).collect()
}

/// The call that offers such words.
fn offer(words: Words) -> String {
    match words {
        Words::Services => "_onit_offer services".into(),
        Words::Directories => "_onit_offer directories".into(),
        Words::Commands => "_onit_offer commands".into(),
        Words::Users => "_onit_offer users".into(),
        Words::Groups => "_onit_offer groups".into(),
        Words::OneOf(words) => format!("_onit_offer words '{}'", words.join(" ")),
        Words::Free => ":".into(),
    }
}

/// A script with what it is to know.
fn filled(script: &str) -> String {
    let named = || verbs().flat_map(|verb| names(verb).map(move |name| (name, verb)));
    let values = named().flat_map(|(name, verb)| {
        let with_value = choices(verb).into_iter().filter_map(|choice| Some((choice.names(), choice.value?)));
        with_value.flat_map(move |(options, words)| {
            options.into_iter().map(move |option| (format!("'{name} {option}'"), offer(words)))
        })
    });
    let options = named().filter_map(|(name, verb)| {
        let all: Vec<String> = choices(verb).iter().flat_map(Choice::names).collect();
        (!all.is_empty()).then(|| (name.to_owned(), format!("_onit_offer words '{}'", all.join(" "))))
    });
    let first = named().filter(|(_, verb)| !verb.takes.first.is_empty());
    let first = first.map(|(name, verb)| (name.to_owned(), offer(Words::OneOf(verb.takes.first))));
    let rest = named().map(|(name, verb)| (name.to_owned(), offer(verb.takes.rest)));
    let words: Vec<&str> = offered().iter().map(|(name, _)| *name).collect();
    let described = |(name, verb): &(&str, &Verb)| {
        format!("        '{name}:{}'\n", verb.about.replace('\'', "'\\''").replace(':', "\\:"))
    };
    script
        .replace("@DESCRIBED@", offered().iter().map(described).collect::<String>().trim_end())
        .replace("@WORDS@", &words.join(" "))
        .replace("@VALUES@\n", &cases(values))
        .replace("@OPTIONS@\n", &cases(options))
        .replace("@FIRST@\n", &cases(first))
        .replace("@REST@\n", &cases(rest))
}

const BASH: &str = r#"# onit: completion for bash
_onit_offer() {
    case $1 in
        words) COMPREPLY=($(compgen -W "$2" -- "$word")) ;;
        services)
            case $word in
                /*|.*) _onit_offer directories ;;
                *) local IFS=$'\n'; COMPREPLY=($(compgen -W "$(onit list --all 2>/dev/null)" -- "$word")) ;;
            esac ;;
        directories) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$word")) ;;
        commands) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -A command -A file -- "$word")) ;;
        users) COMPREPLY=($(compgen -u -- "$word")) ;;
        groups) COMPREPLY=($(compgen -g -- "$word")) ;;
    esac
}
_onit() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} at
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        _onit_offer words '@WORDS@'
        return
    fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        if [ "${COMP_WORDS[at]}" = -- ]; then
            case $verb in
                --|run|new) _onit_offer commands; return ;;
            esac
        fi
    done
    if [ "$word" = = ]; then
        word=
    elif [ "$before" = = ]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case "$verb $before" in
@VALUES@
        *) before= ;;
    esac
    [ -z "$before" ] || return
    case $word in
        -*)
            case $verb in
@OPTIONS@
            esac
            return ;;
    esac
    if [ "$COMP_CWORD" -eq 2 ]; then
        case $verb in
            help) _onit_offer words 'all @WORDS@'; return ;;
@FIRST@
        esac
        [ -z "${COMPREPLY[*]}" ] || return
    fi
    case $verb in
@REST@
    esac
}
complete -F _onit onit
"#;

const ZSH: &str = r#"#compdef onit
# onit: completion for zsh
_onit_offer() {
    local -a names
    case $1 in
        words) names=(${=2}); compadd -- $names ;;
        services)
            if [[ $PREFIX == [/.]* ]]; then
                _files -/
            else
                names=(${(f)"$(onit list --all 2>/dev/null)"})
                compadd -- $names
            fi ;;
        directories) _files -/ ;;
        commands) _alternative 'commands:command:_command_names -e' 'files:file:_files' ;;
        users) _users ;;
        groups) _groups ;;
    esac
}
_onit() {
    local -a verbs
    local verb=$words[2] before=$words[CURRENT-1]
    verbs=(
@DESCRIBED@
    )
    if (( CURRENT == 2 )); then
        _describe verb verbs
        return
    fi
    case $verb in
        --|run|new)
            if (( ${words[(i)--]} < CURRENT )); then
                _onit_offer commands
                return
            fi ;;
    esac
    if [[ $PREFIX == --*=* ]]; then
        before=${PREFIX%%=*}
        compset -P '*='
    fi
    case "$verb $before" in
@VALUES@
        *) before= ;;
    esac
    [[ -z $before ]] || return
    if [[ $PREFIX == -* ]]; then
        case $verb in
@OPTIONS@
        esac
        return
    fi
    if (( CURRENT == 3 )); then
        case $verb in
            help) _onit_offer words 'all @WORDS@'; return ;;
@FIRST@
        esac
        (( compstate[nmatches] )) && return
    fi
    case $verb in
@REST@
    esac
}
if [[ $funcstack[1] == _onit ]]; then
    _onit "$@"
else
    compdef _onit onit
fi
"#;

fn fish() -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut script = String::from(FISH);
    for (name, verb) in offered() {
        script += &format!("complete -c onit -n '__onit_at 1' -a {name} -d '{}'\n", quoted(verb.about));
    }
    for verb in verbs() {
        let all: Vec<&str> = names(verb).collect();
        let seen = format!("complete -c onit -n '__onit_has {}", all.join(" "));
        for choice in choices(verb) {
            let short = choice.short.map_or(String::new(), |letter| format!(" -s {letter}"));
            let long = choice.long.as_ref().map_or(String::new(), |long| format!(" -l {long}"));
            let value = choice.value.map_or(String::new(), |words| format!(" -x{}", fish_words(words)));
            script += &format!("{seen}'{short}{long}{value} -d '{}'\n", quoted(&choice.about));
        }
        if !verb.takes.first.is_empty() {
            script += &format!("{seen}; and __onit_at 2' -a '{}'\n", verb.takes.first.join(" "));
        }
        let behind = if verb.takes.first.is_empty() { "" } else { "; and not __onit_at 2" };
        match fish_words(verb.takes.rest) {
            rest if rest.is_empty() => {}
            rest => script += &format!("{seen}{behind}'{rest}\n"),
        }
    }
    let words: Vec<&str> = offered().iter().map(|(name, _)| *name).collect();
    script + &format!("complete -c onit -n '__onit_has help; and __onit_at 2' -a 'all {}'\n", words.join(" "))
}

/// The options of fish's `complete` that offer such words.
fn fish_words(words: Words) -> String {
    match words {
        Words::Services => " -a '(__onit_services)'".into(),
        Words::Directories => " -a '(__fish_complete_directories)'".into(),
        Words::Commands => " -a '(__fish_complete_subcommand)'".into(),
        Words::Users => " -a '(__fish_complete_users)'".into(),
        Words::Groups => " -a '(__fish_complete_groups)'".into(),
        Words::OneOf(words) => format!(" -a '{}'", words.join(" ")),
        Words::Free => String::new(),
    }
}

const FISH: &str = r"# onit: completion for fish
function __onit_at
    test (count (commandline -opc)) -eq $argv[1]
end
function __onit_has
    set -l words (commandline -opc)
    test (count $words) -gt 1; and contains -- $words[2] $argv
end
function __onit_services
    if string match -qr '^[/.]' -- (commandline -ct)
        __fish_complete_directories (commandline -ct)
    else
        onit list --all 2>/dev/null
    end
end
complete -c onit -f
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_follow_an_option_is_known_or_nobodys_to_know() {
        const FREE: &[&str] = &[
            "--argv0",
            "--body",
            "--jitter",
            "--listen",
            "--pause",
            "--status",
            "--tz",
            "--cpu",
            "--drop-caps",
            "--keep-caps",
            "--ambient-caps",
            "--lock",
            "--memory",
            "--oom-score-adj",
            "--pids",
            "--umask",
            "-t",
            "--rewrite",
            "--exit-map",
            "--timeout",
            "--env",
            "--nice",
            "--log-size",
            "--log-count",
            "--setup",
            "--stop",
            "--finish",
            "--check",
            "--backoff",
            "--max-restarts",
            "--start-retries",
            "--success-codes",
            "--notification-fd",
            "--condition",
            "--socket",
            "--file",
            "--size",
            "--keep",
            "--lines",
            "--since",
            "--until",
        ];
        for verb in verbs() {
            for choice in choices(verb).into_iter().filter(|choice| choice.value == Some(Words::Free)) {
                let name = choice.names().pop().unwrap_or_default();
                assert!(FREE.iter().any(|free| name.starts_with(free)), "{} {name}", verb.name);
            }
        }
    }

    #[test]
    fn every_word_that_is_no_letter_is_offered_with_the_options_of_its_verb() {
        let script = filled(BASH);
        let offered = offered();
        for word in ["start", "stop", "status", "interrupt", "run"] {
            assert!(offered.iter().any(|(name, _)| *name == word), "{word}");
        }
        assert!(offered.iter().all(|(name, _)| name.len() > 1 && *name != "--"));
        for option in
            ["'status --color'", "'stop -t'", "'new --target'", "--no-wait", "--watch", "--control-group", "--poll"]
        {
            assert!(script.contains(option), "{option}");
        }
        for blank in ["DESCRIBED", "WORDS", "VALUES", "OPTIONS", "FIRST", "REST"].map(|name| format!("@{name}@")) {
            assert!([filled(BASH), filled(ZSH)].iter().all(|script| !script.contains(&blank)), "{blank}");
        }
    }
}
