//! What is said of the main process, in the words of the program that we stand in for: scripts match these lines.

use super::log::Log;
use crate::machine::{Exit, Pid, Signal};
use crate::sys::foreground::{Report, Step};
use crate::sys::spawn::ExitCodes;
use crate::sys::{Errno, say, signals};
use std::ffi::{CStr, CString};

/// In the form of which program's messages, and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MainLog {
    /// onit's own: only that the command cannot be executed.
    Onit(Log),
    /// tini's.
    Tini {
        /// 0 is fatal errors, 1 warnings, 2 what happens to the command, 3 signals and children, 4 everything.
        verbosity: i32,
        /// Each orphan that is reaped is a warning (`-w`).
        warn_on_reap: bool,
    },
    /// dumb-init's.
    DumbInit {
        /// Everything that happens is said (`-v`).
        debug: bool,
    },
}

/// What happens to the main process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MainEvent {
    /// On the way to its start.
    Step(Step),
    /// It cannot be executed.
    ExecFailed(Errno),
    /// It has been started.
    Started(Pid),
    /// We have got a signal.
    Received(Signal),
    /// It was passed on as this, or not at all.
    Forwarded {
        /// The signal that we got.
        signal: Signal,
        /// The signal that the command got.
        passed: Option<Signal>,
    },
    /// We stop ourselves.
    Stopping,
    /// A child was reaped, the command or another one.
    Reaped(Pid, Exit),
    /// It was not the command.
    Orphan(Pid),
    /// It was the command, and we end.
    Ended {
        /// How it has ended.
        exit: Exit,
        /// What TERM means for the rest of its session.
        passed: Option<Signal>,
    },
    /// No child that has ended is left to reap; there may be children that run.
    AllReaped {
        /// There are no children.
        childless: bool,
    },
    /// We are about to adopt orphans.
    Adopting,
    /// Orphans will not become our children.
    NotAdopting,
}

/// Where a line goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stream {
    Stdout,
    Stderr,
}

impl MainLog {
    /// Says it, if it is to be said. `command` is the command's name.
    pub fn log(self, event: MainEvent, command: Option<&CString>) {
        self.log_as(std::process::id(), event, command.map_or(c"", CString::as_c_str));
    }

    /// The same, in the name of this process.
    fn log_as(self, us: u32, event: MainEvent, command: &CStr) {
        for (stream, line) in self.lines(event, &command.to_string_lossy(), us) {
            match (self, stream) {
                (MainLog::Onit(log), _) => log.warn(None, &line),
                (_, Stream::Stdout) => say::print(line),
                (_, Stream::Stderr) => say::say(line),
            }
        }
    }

    /// The codes with which we end if the command cannot be executed.
    pub fn exec_failed_codes(self) -> ExitCodes {
        match self {
            MainLog::Onit(_) => ExitCodes { absent: 127, denied: 126, otherwise: 126 }, // as a shell
            MainLog::Tini { .. } => ExitCodes { absent: 127, denied: 126, otherwise: 1 },
            MainLog::DumbInit { .. } => ExitCodes { absent: 2, denied: 2, otherwise: 2 },
        }
    }

    fn lines(self, event: MainEvent, command: &str, us: u32) -> Vec<(Stream, String)> {
        match self {
            MainLog::Onit(_) => match event {
                MainEvent::ExecFailed(errno) => {
                    vec![(Stream::Stderr, format!("cannot run {command}: {}", errno.desc()))]
                }
                _ => Vec::new(),
            },
            MainLog::Tini { verbosity, warn_on_reap } => tini(event, command, warn_on_reap)
                .filter(|(level, _)| (*level as i32) <= verbosity)
                .map(|(level, text)| (level.stream(), format!("[{} tini ({us})] {text}", level.name())))
                .into_iter()
                .collect(),
            MainLog::DumbInit { debug } => dumb_init(event, command)
                .into_iter()
                .filter(|_| debug || matches!(event, MainEvent::ExecFailed(_)))
                .map(|text| (Stream::Stderr, format!("[dumb-init] {text}")))
                .collect(),
        }
    }
}

impl Report for MainLog {
    fn step(&self, step: Step) {
        self.log(MainEvent::Step(step), None);
    }

    fn exec_failed(&self, pid: u32, name: &CStr, errno: Errno) {
        self.log_as(pid, MainEvent::ExecFailed(errno), name);
    }
}

/// How much must be wanted for a line of tini's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Fatal,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    fn name(self) -> &'static str {
        ["FATAL", "WARN ", "INFO ", "DEBUG", "TRACE"].get(self as usize).unwrap_or(&"")
    }

    fn stream(self) -> Stream {
        if matches!(self, Level::Fatal | Level::Warn) { Stream::Stderr } else { Stream::Stdout }
    }
}

fn tini(event: MainEvent, command: &str, warn_on_reap: bool) -> Option<(Level, String)> {
    Some(match event {
        MainEvent::ExecFailed(errno) => (Level::Fatal, format!("exec {command} failed: {}", reason(errno))),
        MainEvent::Started(pid) => (Level::Info, format!("Spawned child process '{command}' with pid '{pid}'")),
        MainEvent::Received(Signal::CHLD) => (Level::Debug, "Received SIGCHLD".to_owned()),
        MainEvent::Forwarded { passed: Some(signal), .. } => {
            (Level::Debug, format!("Passing signal: '{}'", signals::description(signal)))
        }
        MainEvent::Reaped(pid, _) => (Level::Debug, format!("Reaped child with pid: '{pid}'")),
        MainEvent::Orphan(pid) if warn_on_reap => (Level::Warn, format!("Reaped zombie process with pid={pid}")),
        MainEvent::Ended { exit: Exit::Code(code), .. } => {
            (Level::Info, format!("Main child exited normally (with status '{code}')"))
        }
        MainEvent::Ended { exit: Exit::Signal { signal, .. }, .. } => {
            let signal = signals::description(signal);
            (Level::Info, format!("Main child exited with signal (with signal '{signal}')"))
        }
        MainEvent::AllReaped { childless: true } => (Level::Trace, "No child to wait".to_owned()),
        MainEvent::AllReaped { childless: false } => (Level::Trace, "No child to reap".to_owned()),
        MainEvent::Adopting => (Level::Trace, "Registered as child subreaper".to_owned()),
        MainEvent::NotAdopting => {
            let text = "Tini is not running as PID 1 and isn't registered as a child subreaper.\n\
                        Orphans will not become its children, so zombie reaping won't work.\n\
                        Use the option -s, set TINI_SUBREAPER, or run it as PID 1.";
            (Level::Warn, text.to_owned())
        }
        MainEvent::Step(_)
        | MainEvent::Received(_)
        | MainEvent::Forwarded { passed: None, .. }
        | MainEvent::Stopping
        | MainEvent::Orphan(_) => return None,
    })
}

fn dumb_init(event: MainEvent, command: &str) -> Vec<String> {
    let errno = |errno: Errno| format!("(errno={} {})", errno as i32, reason(errno));
    let received = |signal: Signal| format!("Received signal {}.", signal.0);
    let one = match event {
        MainEvent::ExecFailed(errno) => format!("{command}: {}", reason(errno)),
        MainEvent::Step(Step::NotLeft(why)) => format!("Unable to detach from controlling tty {}.", errno(why)),
        MainEvent::Step(Step::Left { leader: true }) => {
            "Detached from controlling tty, ignoring the first SIGHUP and SIGCONT we receive.".to_owned()
        }
        MainEvent::Step(Step::Left { leader: false }) => {
            "Detached from controlling tty, but was not session leader.".to_owned()
        }
        MainEvent::Step(Step::HandedOff(signal)) => {
            return vec![received(signal), format!("Ignoring tty hand-off signal {}.", signal.0)];
        }
        MainEvent::Step(Step::NotTaken(why)) => format!("Unable to attach to controlling tty {}.", errno(why)),
        MainEvent::Step(Step::Session) => "setsid complete.".to_owned(),
        MainEvent::Started(pid) => format!("Child spawned with PID {pid}."),
        MainEvent::Received(signal) => received(signal),
        MainEvent::Forwarded { signal, passed } => return forwarded(signal, passed),
        MainEvent::Stopping => "Suspending self due to TTY signal.".to_owned(),
        MainEvent::Reaped(pid, Exit::Code(code)) => format!("A child with PID {pid} exited with exit status {code}."),
        MainEvent::Reaped(pid, Exit::Signal { signal, .. }) => {
            format!("A child with PID {pid} was terminated by signal {}.", signal.0)
        }
        MainEvent::Ended { exit, passed } => {
            let goodbye = format!("Child exited with status {}. Goodbye.", exit.shell_code());
            return forwarded(Signal::TERM, passed).into_iter().chain([goodbye]).collect();
        }
        MainEvent::Orphan(_) | MainEvent::AllReaped { .. } | MainEvent::Adopting | MainEvent::NotAdopting => {
            return Vec::new();
        }
    };
    vec![one]
}

fn forwarded(signal: Signal, passed: Option<Signal>) -> Vec<String> {
    let to = passed.map_or(0, |signal| signal.0);
    let translated = (passed != Some(signal)).then(|| format!("Translating signal {} to {to}.", signal.0));
    let what = match passed {
        Some(_) => format!("Forwarded signal {to} to children."),
        None => format!("Not forwarding signal {to} to children (ignored)."),
    };
    translated.into_iter().chain([what]).collect()
}

/// An error as the C library says it: `No such file or directory`.
fn reason(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno as i32).to_string();
    text.rsplit_once(" (os error").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: MainEvent = MainEvent::Forwarded { signal: Signal::TERM, passed: Some(Signal::TERM) };

    fn said(log: MainLog, events: &[MainEvent]) -> Vec<String> {
        let lines = events.iter().flat_map(|event| log.lines(*event, "web", 7));
        lines.map(|(stream, line)| format!("{}{line}", if stream == Stream::Stdout { "> " } else { "" })).collect()
    }

    #[test]
    fn a_command_that_cannot_be_executed_is_told_in_each_ones_words() {
        let tini = MainLog::Tini { verbosity: 0, warn_on_reap: false };
        let dumb = MainLog::DumbInit { debug: false };
        let failed = [MainEvent::ExecFailed(Errno::ENOENT)];
        let onit = MainLog::Onit(Log::Onit);
        assert_eq!(said(onit, &failed), ["cannot run web: No such file or directory"]);
        assert_eq!(said(tini, &failed), ["[FATAL tini (7)] exec web failed: No such file or directory"]);
        assert_eq!(said(dumb, &failed), ["[dumb-init] web: No such file or directory"]);
        let codes =
            |log: MainLog| [Errno::ENOENT, Errno::EACCES, Errno::ENOTDIR].map(|e| log.exec_failed_codes().of(e));
        assert_eq!([onit, tini, dumb].map(codes), [[127, 126, 126], [127, 126, 1], [2, 2, 2]]);
    }

    #[test]
    fn nobody_says_anything_unless_asked() {
        let events = [MainEvent::Started(Pid(8)), MainEvent::Received(Signal::TERM), TERM, MainEvent::Orphan(Pid(9))];
        for log in [
            MainLog::Onit(Log::Onit),
            MainLog::Tini { verbosity: 1, warn_on_reap: false },
            MainLog::DumbInit { debug: false },
        ] {
            assert!(said(log, &events).is_empty(), "{log:?}");
        }
    }

    #[test]
    fn tini_says_more_the_more_it_is_told_to() {
        let events = [
            MainEvent::Started(Pid(8)),
            TERM,
            MainEvent::Orphan(Pid(9)),
            MainEvent::Ended { exit: Exit::Code(3), passed: None },
            MainEvent::AllReaped { childless: true },
        ];
        let at = |verbosity| said(MainLog::Tini { verbosity, warn_on_reap: true }, &events);
        assert_eq!(at(0), [""; 0]);
        assert_eq!(at(1), ["[WARN  tini (7)] Reaped zombie process with pid=9"]);
        assert_eq!(
            at(4),
            [
                "> [INFO  tini (7)] Spawned child process 'web' with pid '8'",
                "> [DEBUG tini (7)] Passing signal: 'Terminated'",
                "[WARN  tini (7)] Reaped zombie process with pid=9",
                "> [INFO  tini (7)] Main child exited normally (with status '3')",
                "> [TRACE tini (7)] No child to wait",
            ]
        );
        assert_eq!([at(2).len(), at(3).len()], [3, 4]);
    }

    #[test]
    fn dumb_init_says_each_signal_and_what_it_became() {
        let forwarded = |passed| MainEvent::Forwarded { signal: Signal::TSTP, passed };
        let events = [
            MainEvent::Step(Step::HandedOff(Signal::HUP)),
            MainEvent::Received(Signal::TSTP),
            forwarded(Some(Signal::STOP)),
            MainEvent::Stopping,
            forwarded(None),
            MainEvent::Reaped(Pid(8), Exit::Signal { signal: Signal::KILL, core: false }),
            MainEvent::Ended { exit: Exit::Signal { signal: Signal::KILL, core: false }, passed: Some(Signal::TERM) },
        ];
        let expected = [
            "Received signal 1.",
            "Ignoring tty hand-off signal 1.",
            "Received signal 20.",
            "Translating signal 20 to 19.",
            "Forwarded signal 19 to children.",
            "Suspending self due to TTY signal.",
            "Translating signal 20 to 0.",
            "Not forwarding signal 0 to children (ignored).",
            "A child with PID 8 was terminated by signal 9.",
            "Forwarded signal 15 to children.",
            "Child exited with status 137. Goodbye.",
        ];
        let expected = expected.map(|line| format!("[dumb-init] {line}"));
        assert_eq!(said(MainLog::DumbInit { debug: true }, &events), expected);
    }
}
