//! `onit completion`: scripts for shells. They ask `onit list` for the names of services.

use super::paint;
use super::table::{Takes, verbs};
use argh::FromArgs;
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
#[derive(FromArgs, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Completion {
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL")]
    shell: Shell,
}

impl Completion {
    /// Prints the script. Returns the exit code.
    pub fn run(&self) -> i32 {
        paint::print(&match self.shell {
            Shell::Bash => bash(),
            Shell::Zsh => zsh(),
            Shell::Fish => fish(),
        })
    }
}

/// The verbs that are words, and not options.
fn words() -> Vec<&'static str> {
    verbs().map(|verb| verb.name).filter(|name| !name.starts_with('-')).collect()
}

/// The verbs, and other words for them, whose words are of a kind; as a pattern of the shell.
fn pattern(is: impl Fn(Takes) -> bool) -> String {
    let names = verbs().filter(|verb| is(verb.takes)).flat_map(|verb| std::iter::once(&verb.name).chain(verb.also));
    names.copied().collect::<Vec<_>>().join("|")
}

fn takes_services(takes: Takes) -> bool {
    matches!(takes, Takes::Services | Takes::Then(_))
}

/// The lines of a `case` for verbs whose first word is one of a few.
fn choices(line: impl Fn(&str, &str, bool) -> String) -> String {
    let lines = verbs().filter_map(|verb| match verb.takes {
        Takes::Then(words) => Some(line(verb.name, &words.join(" "), true)),
        Takes::OneOf(words) => Some(line(verb.name, &words.join(" "), false)),
        Takes::Services | Takes::Files | Takes::Nothing => None,
    });
    lines.collect()
}

fn bash() -> String {
    let first = choices(|verb, words, _| format!("        {verb}) [ \"$COMP_CWORD\" -eq 2 ] && words='{words}' ;;\n"));
    BASH.replace("@VERBS@", &words().join(" "))
        .replace("@SERVICES@", &pattern(takes_services))
        .replace("@FILES@", &pattern(|takes| takes == Takes::Files))
        .replace("@FIRST@", &first)
}

const BASH: &str = r#"# onit: completion for bash
_onit() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W '@VERBS@' -- "$word"))
        return
    fi
    case $verb in
        help) words='@VERBS@' ;;
@FIRST@    esac
    if [ -z "$words" ]; then
        case $verb in
            @SERVICES@) words=$(onit list --all 2>/dev/null) ;;
            @FILES@) COMPREPLY=($(compgen -f -- "$word")); return ;;
        esac
        case $word in
            /*|.*) COMPREPLY=($(compgen -d -- "$word")); return ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o filenames -F _onit onit
"#;

fn zsh() -> String {
    let first = choices(|verb, words, then| {
        let and = if then { "&& return " } else { "; return " };
        format!("        {verb}) (( CURRENT == 3 )) && compadd -- {words} {and};;\n").replace(" ; ", "; ")
    });
    let described: Vec<String> = verbs()
        .filter(|verb| !verb.name.starts_with('-'))
        .map(|verb| format!("        '{}:{}'", verb.name, verb.about.replace('\'', "'\\''").replace(':', "\\:")))
        .collect();
    ZSH.replace("@DESCRIBED@", &described.join("\n"))
        .replace("@VERBS@", &words().join(" "))
        .replace("@SERVICES@", &pattern(takes_services))
        .replace("@FILES@", &pattern(|takes| takes == Takes::Files))
        .replace("@FIRST@", &first)
}

const ZSH: &str = r#"#compdef onit
# onit: completion for zsh
_onit() {
    local -a verbs services
    verbs=(
@DESCRIBED@
    )
    if (( CURRENT == 2 )); then
        _describe verb verbs
        return
    fi
    case $words[2] in
        help) compadd -- @VERBS@; return ;;
@FIRST@    esac
    case $words[2] in
        @SERVICES@)
            if [[ $PREFIX == [/.]* ]]; then
                _files -/
            else
                services=(${(f)"$(onit list --all 2>/dev/null)"})
                compadd -a services
            fi ;;
        @FILES@) _files ;;
    esac
}
compdef _onit onit
"#;

fn fish() -> String {
    let mut script = String::from("# onit: completion for fish\ncomplete -c onit -f\n");
    for verb in verbs().filter(|verb| !verb.name.starts_with('-')) {
        let about = verb.about.replace('\'', "\\'");
        script += &format!("complete -c onit -n __fish_use_subcommand -a {} -d '{about}'\n", verb.name);
        let seen = format!("complete -c onit -n '__fish_seen_subcommand_from {}'", verb.name);
        script += &match verb.takes {
            Takes::Services => format!("{seen} -a '(onit list --all 2>/dev/null)'\n"),
            Takes::Then(words) => format!("{seen} -a '{} (onit list --all 2>/dev/null)'\n", words.join(" ")),
            Takes::OneOf(words) => format!("{seen} -a '{}'\n", words.join(" ")),
            Takes::Files => format!("{seen} -F\n"),
            Takes::Nothing => String::new(),
        };
    }
    script += &format!("complete -c onit -n '__fish_seen_subcommand_from help' -a '{}'\n", words().join(" "));
    script
}
