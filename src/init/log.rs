//! The log, on standard error: one line for each failure, naming the file and the cause; silent when all is well.

use crate::machine::{Exit, Script, Signal};
use crate::sys::{
    Errno, clock,
    say::{self, say},
};
use crate::wire::{control, json, reason::reason};
use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

/// In the form of which program's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Log {
    /// onit's own, as text.
    Onit,
    /// onit's own, as an object of JSON a line.
    Json,
    /// That of the tool under whose name we run.
    Tool(&'static str),
}

/// No letter takes more in a line for programs.
const ESCAPED: usize = 6;

#[derive(Clone, Copy)]
enum Level {
    Info,
    Warning,
}

/// A line for programs: `time` is in seconds since 1970. A message that is too long for a line loses its end, not the
/// object its brace.
fn log_line(level: Level, service: Option<&str>, mut message: String) -> String {
    let time = clock::wall().as_millis() as f64 / 1e3;
    let level = match level {
        Level::Info => "info",
        Level::Warning => "warning",
    };
    loop {
        let mut line = String::new();
        json::object(&mut line, &[("time", &time), ("level", &level), ("service", &service), ("message", &message)]);
        let excess = line.len().saturating_sub(say::LONGEST);
        if excess == 0 || message.is_empty() {
            return line;
        }
        (0..excess.div_ceil(ESCAPED)).for_each(|_| _ = message.pop());
    }
}

/// A system call on a file that did not work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What was to be done: `open`, `create`, `lock`.
    pub verb: &'static str,
    /// The file, relative to the service directory.
    pub path: &'static str,
    /// Why not.
    pub errno: Errno,
}

impl Log {
    /// Says that something about a service (or, without a name, about everything) is not as it should be.
    pub fn warn(self, service: Option<&OsStr>, message: &dyn fmt::Display) {
        self.write(Level::Warning, service, message);
    }

    /// Says how a service, or without a name everything, stands now: news, not trouble.
    pub fn info(self, service: Option<&OsStr>, message: &dyn fmt::Display) {
        self.write(Level::Info, service, message);
    }

    fn write(self, level: Level, service: Option<&OsStr>, message: &dyn fmt::Display) {
        let name = service.map(OsStr::to_string_lossy);
        let service = service.map(one_line);
        match (self, service) {
            (Log::Json, _) => say(log_line(level, name.as_deref(), message.to_string())),
            (Log::Onit, Some(service)) => say(format_args!("onit: {service}: {message}")),
            (Log::Onit, None) => say(format_args!("onit: {message}")),
            (Log::Tool(tool), Some(service)) => say(format_args!("{tool} {service}: warning: {message}")),
            (Log::Tool(tool), None) => say(format_args!("{tool}: warning: {message}")),
        }
    }

    /// Says, in a tool's words, why something cannot begin.
    pub fn fatal(self, name: &OsStr, failure: &Failure) {
        let subject = one_line(name);
        match (self, failure.path) {
            (Log::Onit | Log::Json, _) => self.warn(Some(name), &self.words(failure)),
            (Log::Tool("supervise"), path) => {
                let what = match path {
                    "directory" => format!("chdir to {subject}"),
                    "supervise" | "supervise/lock" => format!("acquire {subject}/supervise/lock"),
                    "./run" => format!("start {subject}/run"),
                    _ => format!("read {subject}/{path}"),
                };
                say(format_args!("supervise: fatal: unable to {what}: {}", reason(failure.errno as i32)));
            }
            (Log::Tool("s6-supervise"), "directory") => {
                say(format_args!("s6-supervise: fatal: unable to chdir to {subject}: {}", failure.errno.desc()));
            }
            (Log::Tool("s6-supervise"), "supervise/lock") if failure.errno == Errno::EAGAIN => {
                say(format_args!("s6-supervise {subject}: fatal: another instance of s6-supervise is already running"));
            }
            (Log::Tool("s6-supervise"), path) if failure.errno == Errno::ENOTSUP => {
                say(format_args!("s6-supervise {subject}: fatal: {path} is not a FIFO"));
            }
            (Log::Tool(tool), _) => say(format_args!("{tool} {subject}: fatal: {}", self.words(failure))),
        }
    }

    /// A failure in these words.
    pub fn words(self, failure: &Failure) -> String {
        let Failure { verb, path, errno } = *failure;
        match (self, errno) {
            (Log::Onit | Log::Json, Errno::ENOTSUP) => format!("{path} is not a FIFO of ours"),
            (Log::Onit | Log::Json, Errno::EMLINK) => {
                format!("{path} is no lock file of ours (it is a link, or no plain file)")
            }
            (Log::Onit | Log::Json, Errno::EAGAIN) if verb == "lock" => {
                format!("{path} is held by another supervisor")
            }
            (Log::Onit | Log::Json, Errno::EAGAIN) => {
                format!("cannot {verb} {path}: no more processes are allowed")
            }
            (Log::Onit | Log::Json, _) => format!("cannot {verb} {path}: {}", errno.desc()),
            (Log::Tool(_), _) if path == "supervise" => "unable to open supervise/lock: file does not exist".into(),
            (Log::Tool(_), Errno::ENOTSUP) => format!("{path} exists but is not a fifo"),
            (Log::Tool(_), _) => format!("unable to {verb} {path}: {}", reason(errno as i32)),
        }
    }
}

/// A name that cannot pass for another line, whatever its bytes are.
pub fn one_line(name: &OsStr) -> String {
    name.to_string_lossy().replace(char::is_control, "?")
}

/// The program's name as people know it.
pub fn script_name(script: Script) -> &'static str {
    match script {
        Script::Setup => "./setup",
        Script::Run | Script::Successor => "./run",
        Script::Finish(_) => "./finish",
        Script::Control(command) => control::program(command).unwrap_or("control"),
        Script::Stop => "./stop",
        Script::Check => "./check",
        Script::Health => "./health",
    }
}

/// An end in words: `exited with 3`, `was killed by SIGSEGV (core dumped)`.
pub struct Ended(pub Exit);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Exit::Code(code) => write!(f, "exited with {code}"),
            Exit::Signal { signal, core } => {
                write!(f, "was killed by {}", Named(signal))?;
                f.write_str(if core { " (core dumped)" } else { "" })
            }
        }
    }
}

/// A signal in words: its name, or `signal 40`.
pub struct Named(pub Signal);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0.0),
        }
    }
}

/// A time as people say it: `0.3s`, `12s`.
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.as_millis() / 100;
        if tenths < 100 { write!(f, "{}.{}s", tenths / 10, tenths % 10) } else { write!(f, "{}s", tenths / 10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_another_line() {
        assert_eq!(one_line(OsStr::new("a\nonit: b: \x1b[31m")), "a?onit: b: ?[31m");
    }

    #[test]
    fn an_object_is_whole_however_long_its_message_is() {
        for letter in ['x', '"', '€', '\u{1}', '\u{9b}'] {
            let line = log_line(Level::Info, Some(&"\u{1}".repeat(255)), letter.to_string().repeat(9_000));
            assert!((say::LONGEST - ESCAPED..=say::LONGEST).contains(&line.len()), "{letter:?}: {}", line.len());
            assert!(line.is_ascii() == (letter != '€') && line.ends_with("\"}"), "{line}");
        }
        assert!(log_line(Level::Warning, None, "x".repeat(100)).contains(&"x".repeat(100)));
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let said = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!([said(0), said(340), said(9_960)], ["0.0s", "0.3s", "9.9s"]);
        assert_eq!([said(10_000), said(12_700)], ["10s", "12s"]);
    }
}
