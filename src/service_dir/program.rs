//! What is to be executed: is it there, may it be executed, will the kernel take it, does it stay in the foreground?

use super::finding::Finding;
use super::shell::{self, Reading};
use crate::sys::fs;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Scripts are looked at up to here, in bytes.
const LONGEST: u64 = 16 << 20;
/// The kernel looks at this many bytes of a first line, less one; at 127 before Linux 5.1.
const FIRST_LINE: usize = 256;
const FIRST_LINE_ONCE: usize = 128;

/// A file that is executed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What executes it: the words of its first line after `#!`. Empty for a binary.
    pub interpreter: Vec<String>,
}

/// Which part a program has in a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// It is the service: it has to stay.
    Service,
    /// It does something and ends.
    Passing,
}

/// Looks at a program. `None` if it is not there, or is no file.
pub(super) fn examine(path: &Path, part: Part, findings: &mut Vec<Finding>) -> Option<Program> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if path.symlink_metadata().is_ok() => {
            let problem = format!("is a link that cannot be followed: {}", cause(&error));
            findings.push(Finding::error("link-dead", path, problem, "make the link anew"));
            return None;
        }
        Err(_) => return None,
    };
    if !metadata.is_file() {
        let problem = format!("is no file, but {}", what(&metadata));
        findings.push(Finding::error("not-a-file", path, problem, "put a script or a program in its place"));
        return None;
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        findings.push(Finding::error("not-executable", path, "is not executable", "chmod +x"));
    }
    examine_writers(path, &metadata, findings);
    let mut program = Program { path: path.to_owned(), interpreter: Vec::new() };
    match fs::read_regular(path, LONGEST) {
        Ok(text) => examine_text(&mut program, &text, part, findings),
        Err(error) => {
            let problem = format!("cannot be read: {}", cause(&error));
            findings.push(Finding::warning("unreadable", path, problem, "look at it as another user"));
        }
    }
    Some(program)
}

/// A user who may write here controls the service, and with it the user it runs as.
pub(super) fn examine_writers(path: &Path, metadata: &Metadata, findings: &mut Vec<Finding>) {
    let mode = metadata.permissions().mode();
    if mode & 0o002 != 0 {
        findings.push(Finding::error("world-writable", path, "can be changed by everybody", "chmod o-w"));
    } else if mode & 0o020 != 0 {
        findings.push(Finding::warning("group-writable", path, "can be changed by its whole group", "chmod g-w"));
    }
}

fn examine_text(program: &mut Program, text: &[u8], part: Part, findings: &mut Vec<Finding>) {
    let path = program.path.clone();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if text.is_empty() {
        findings.push(Finding::error("empty", &path, "is empty", "write a script that begins with #!/bin/sh"));
    } else if text.starts_with(b"\x7fELF") {
    } else if let Some(words) = first.strip_prefix(b"#!") {
        if examine_first_line(program, first, words, findings) {
            examine_shell(program, text, part, findings);
        }
    } else {
        let mark = text.starts_with("\u{feff}".as_bytes());
        let (problem, mend) = match first.trim_ascii_start().starts_with(b"#!")
            || text.trim_ascii_start().starts_with(b"#!")
        {
            _ if mark => ("begins with a byte order mark, so the kernel does not see its #!", "save it without one"),
            true => ("has something before its #!, so the kernel does not see it", "let the file begin with #!"),
            false => ("is no program, and does not begin with #!", "begin it with #!/bin/sh"),
        };
        findings.push(Finding::error("no-interpreter", &path, problem, mend).at(1));
    }
}

/// The line that begins with `#!`. Returns whether it makes sense to look further.
fn examine_first_line(program: &mut Program, first: &[u8], words: &[u8], findings: &mut Vec<Finding>) -> bool {
    let path = program.path.clone();
    let mut find = |finding: Finding| findings.push(finding.at(1));
    if let Some(words) = words.strip_suffix(b"\r") {
        program.interpreter = split(words);
        let mend = "save it with lines that end in LF alone: sed -i 's/\\r$//'";
        let problem = "its first line ends in CR LF: the CR is taken as a part of it";
        find(Finding::error("carriage-return", &path, problem, mend));
        return false;
    }
    program.interpreter = split(words);
    let mend = "shorten the interpreter's path, or execute it from a script of /bin/sh";
    if first.len() >= FIRST_LINE {
        let problem = format!("its first line is {} bytes long; the kernel reads {}", first.len(), FIRST_LINE - 1);
        find(Finding::error("first-line-long", &path, problem, mend));
    } else if first.len() >= FIRST_LINE_ONCE {
        let problem =
            format!("its first line is {} bytes long; Linux before 5.1 reads {}", first.len(), FIRST_LINE_ONCE - 1);
        find(Finding::warning("first-line-long", &path, problem, mend));
    }
    let Some(interpreter) = program.interpreter.first() else {
        find(Finding::error("no-interpreter", &path, "names no interpreter after #!", "name one: #!/bin/sh"));
        return false;
    };
    examine_interpreter(&path, interpreter, &mut find);
    if Path::new(interpreter).file_name() == Some(OsStr::new("env")) {
        examine_env(&path, words, &program.interpreter, &mut find);
    }
    true
}

fn examine_interpreter(path: &Path, interpreter: &str, find: &mut impl FnMut(Finding)) {
    let mend = "install it, or name another one";
    match std::fs::metadata(interpreter) {
        _ if !interpreter.starts_with('/') => {
            let problem = format!("its interpreter {interpreter} is looked for in the service directory");
            find(Finding::warning("interpreter-relative", path, problem, "name it by its whole path"));
        }
        Err(error) => {
            let problem = format!("its interpreter {interpreter} cannot be executed: {}", cause(&error));
            find(Finding::error("interpreter-missing", path, problem, mend));
        }
        Ok(metadata) if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 => {
            let problem = format!("its interpreter {interpreter} is no program");
            find(Finding::error("interpreter-missing", path, problem, mend));
        }
        Ok(_) => {}
    }
}

/// The kernel passes what follows the interpreter as one argument, blanks and all.
fn examine_env(path: &Path, words: &[u8], interpreter: &[String], find: &mut impl FnMut(Finding)) {
    let argument = String::from_utf8_lossy(words.trim_ascii()).into_owned();
    let argument = argument.split_once([' ', '\t']).map_or("", |(_, argument)| argument.trim());
    let splits = argument.starts_with("-S") || argument.starts_with("--split-string");
    if argument.contains([' ', '\t']) && !splits {
        let problem = format!("env looks for a program that is called \"{argument}\": a first line has one argument");
        find(Finding::error("interpreter-missing", path, problem, "use env -S, or `set` in the script"));
    } else if let Some(name) = interpreter.get(1).filter(|name| !splits && !name.starts_with('-'))
        && !is_in_path(name)
    {
        let problem = format!("env finds no {name} in this PATH");
        let mend = "install it, or see to the PATH of the supervisor";
        find(Finding::warning("interpreter-missing", path, problem, mend));
    }
}

fn is_in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

fn split(words: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(words).split_ascii_whitespace().map(str::to_owned).collect()
}

/// Whether the interpreter is a shell of Bourne's kind.
fn is_shell(interpreter: &[String]) -> bool {
    let names = interpreter.iter().take(2).filter_map(|word| Path::new(word).file_name());
    names.filter_map(OsStr::to_str).any(|name| ["sh", "dash", "bash", "ash", "ksh", "mksh", "zsh"].contains(&name))
}

fn examine_shell(program: &Program, text: &[u8], part: Part, findings: &mut Vec<Finding>) {
    if !is_shell(&program.interpreter) {
        return;
    }
    let path = &program.path;
    let reading = shell::read(text);
    if let Some(line) = reading.carriage_return {
        let mend = "save it with lines that end in LF alone: sed -i 's/\\r$//'";
        let problem = "ends in CR LF: the CR becomes a part of the last word";
        findings.push(Finding::error("carriage-return", path, problem, mend).at(line));
    }
    examine_tools(path, &reading, findings);
    if part == Part::Service {
        examine_stay(path, &reading, findings);
    }
}

/// The kind of finding for a tool that is not there.
pub(crate) const TOOL_MISSING: &str = "tool-missing";

/// The package of what changes the user, the limits and the environment of a service, or writes its log.
fn package_of(tool: &str) -> Option<&'static str> {
    match tool {
        "onit" => Some("onit"),
        "chpst" | "svlogd" => Some("runit"),
        "setuidgid" | "envuidgid" | "envdir" | "softlimit" | "setlock" | "pgrphack" | "multilog" => Some("daemontools"),
        tool if tool.starts_with("s6-") => Some("s6"),
        _ => None,
    }
}

/// Each of these tools that cannot be found is told once.
fn examine_tools(path: &Path, reading: &Reading, findings: &mut Vec<Finding>) {
    let mut told: Vec<&str> = Vec::new();
    for (number, line) in &reading.lines {
        let mut before = "";
        for word in line.split([' ', '\t', ';', '&', '|', '(', ')']).filter(|word| !word.is_empty()) {
            let is_of_onit = before.rsplit('/').next() == Some("onit"); // `onit svlogd` takes no other program
            before = word;
            if is_of_onit {
                continue;
            }
            let Some(package) = package_of(word).filter(|_| !told.contains(&word) && !is_in_path(word)) else {
                continue;
            };
            told.push(word);
            let mend = format!("install {package}, or see to the PATH of the supervisor");
            findings.push(
                Finding::warning(TOOL_MISSING, path, format!("there is no {word} in this PATH"), mend).at(*number),
            );
        }
    }
}

/// Programs that go into the background unless told otherwise, and the words that tell them to.
const BACKGROUND: &[(&str, &str, &str)] = &[
    ("nginx", "daemon on", "say `daemon off;`"),
    ("redis-server", "--daemonize yes", "say `--daemonize no`"),
    ("gunicorn", "--daemon", "leave --daemon out"),
    ("start-stop-daemon", "--background", "execute the program itself"),
    ("start-stop-daemon", " -b ", "execute the program itself"),
    ("apachectl", " start", "say `apachectl -DFOREGROUND`"),
    ("apache2ctl", " start", "say `apache2ctl -DFOREGROUND`"),
    ("pg_ctl", " start", "execute `postgres` itself"),
    ("systemctl", " start", "execute the program itself"),
    ("service", " start", "execute the program itself"),
];

/// A `run` that ends while its daemon goes on is started again and again.
fn examine_stay(path: &Path, reading: &Reading, findings: &mut Vec<Finding>) {
    for (number, line) in &reading.lines {
        let bare = format!("{} ", line.replace(['\'', '"', ';'], " "));
        let has = |(program, words, _): &&(&str, &str, &str)| {
            let program = bare.split_ascii_whitespace().any(|word| word.rsplit('/').next() == Some(program));
            program && bare.contains(&format!("{} ", words.trim_end()))
        };
        if line.starts_with("echo ") || line.starts_with("printf ") {
            continue;
        }
        if let Some((program, words, mend)) = BACKGROUND.iter().find(has) {
            let problem = format!("`{}` sends {program} into the background, where it has no supervisor", words.trim());
            findings.push(Finding::warning("background", path, problem, *mend).at(*number));
        }
    }
    let Some((number, last)) = reading.lines.last().filter(|_| !reading.has_documents) else { return };
    if last.ends_with('&') && !last.ends_with("&&") {
        let problem = "starts its last command in the background and ends: it has no supervisor then";
        findings.push(Finding::warning("background", path, problem, "exec it, without the &").at(*number));
    } else if is_left_waiting(last)
        && !reading.lines.iter().any(|(_, line)| line.starts_with("trap ") || defines(line, last))
    {
        let problem = "its last command has no exec: signals reach the shell, and not the service";
        findings.push(Finding::warning("no-exec", path, problem, "put exec before it").at(*number));
    }
}

/// Whether this line begins the function that the command calls: what that does is not known.
fn defines(line: &str, command: &str) -> bool {
    let name = command.split([' ', '\t', ';']).next().unwrap_or_default();
    let rest = line.strip_prefix("function ").map_or(line, str::trim_start).strip_prefix(name);
    let parens = rest.is_some_and(|rest| rest.trim_start().starts_with("()"));
    parens || line.strip_prefix("function ").is_some_and(|rest| rest.split([' ', '{']).next() == Some(name))
}

/// Whether the shell waits for this command, with nothing left to do.
fn is_left_waiting(line: &str) -> bool {
    const OTHER: [&str; 22] = [
        ".", "source", "eval", "sv", "exec", "exit", "wait", "done", "fi", "esac", "}", ")", ":", "true", "false",
        "return", "kill", "echo", "printf", "rm", "read", "fg",
    ];
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    let executes = line.split(['&', '|', ';', '{', '(', ' ', '\t']).any(|word| word == "exec" || word == "wait");
    !executes
        && !OTHER.contains(&first.trim_end_matches(';'))
        && !first.contains('=')
        && !line.ends_with(['}', ')', '`'])
}

/// A kind of file, for people.
pub(super) fn what(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

/// What the system says, without its number.
pub fn cause(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |code| crate::sys::Errno::from_raw(code).desc().to_owned())
}

/// A name as it is shown to people.
pub(super) fn shown(name: &OsStr) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
