//! The files of a service directory: one row for each that has a meaning, and what its small files say.
//!
//! A new small file is a row of `small_files!`, and the code that uses its value.

use super::svdir;
use crate::machine::policy::Inputs;
use crate::machine::words;
use std::ffi::OsString;

/// The supervisor that is to look after the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Target {
    /// onit itself.
    #[default]
    Onit,
    /// runit's runsv.
    Runit,
    /// daemontools' supervise.
    Daemontools,
    /// s6's s6-supervise.
    S6,
}

words!(
    Target,
    "supervisor: name one of onit, runit, daemontools, s6",
    Onit = "onit",
    Runit = "runit",
    Daemontools = "daemontools",
    S6 = "s6",
);

/// What stands under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Something to be executed.
    Program,
    /// A small text file.
    Value,
    /// It counts that it is there.
    Flag,
    /// A directory.
    Directory,
}

/// When PID 1 reads a small file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Before a start.
    Start,
    /// At an order to stop.
    Stop,
    /// At an order to reload.
    Reload,
    /// At an end of `run`, or of a `finish` that gives up.
    Death,
    /// Before a start, and before each `health`.
    Probe,
}

/// How the value of a small file gets into what the machine of a service knows.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// Takes the value from a text. False, and nothing changes, if it is none.
    pub parse: fn(&mut Inputs, &str) -> bool,
    /// Takes the value that other inputs have.
    pub copy: fn(&mut Inputs, &Inputs),
}

/// What of onit reads a file.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    /// PID 1, with code for this file.
    Supervisor,
    /// PID 1, as one of the inputs of a service.
    Input(Moment, Input),
}

/// A name that means something in a service directory.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// The name.
    pub name: &'static str,
    /// What stands there.
    pub kind: Kind,
    /// Which supervisors read it.
    targets: &'static [Target],
    /// What of onit reads it.
    pub reader: Reader,
}

impl File {
    /// Whether this supervisor reads it.
    pub fn is_read_by(&self, target: Target) -> bool {
        self.targets.contains(&target)
    }

    /// Where it comes from: the eldest supervisor that reads it, or `all`.
    pub fn origin(&self) -> &'static str {
        match self.targets {
            [Target::Onit, Target::Runit, Target::Daemontools, ..] => "all",
            [Target::Onit, Target::Runit, ..] => "runit",
            [Target::Onit, Target::S6] => "s6",
            _ => "onit",
        }
    }
}

const ALL: &[Target] = &Target::ALL;
const RUNIT: &[Target] = &[Target::Onit, Target::Runit];
const RUNIT_AND_S6: &[Target] = &[Target::Onit, Target::Runit, Target::S6];
const S6: &[Target] = &[Target::Onit, Target::S6];
const ONIT: &[Target] = &[Target::Onit];

/// Which lines of a small file count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    /// The first one.
    First,
    /// The first one, which is a time as s6 has it.
    Time,
    /// All.
    All,
}

/// What a unit of systemd says instead of a small file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Systemd {
    /// A line with this key.
    Key(&'static str),
    /// Nothing, and why.
    Lost(&'static str),
}

/// A small file that holds a value.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// Its name.
    pub name: &'static str,
    /// Which of its lines count.
    pub lines: Lines,
    /// What it would say to mean what holds without it; nothing if no value does.
    pub default: &'static str,
    /// What to write into it.
    pub hint: &'static str,
    /// Words that it may consist of.
    pub words: &'static [&'static str],
    /// systemd's word for it.
    pub systemd: Systemd,
    /// Takes the value from a text. Whether it is one.
    pub parse: fn(&mut Settings, &str) -> bool,
    /// The text of the value.
    pub text: fn(&Settings) -> Option<String>,
    /// Whether two services say the same.
    pub is_same: fn(&Settings, &Settings) -> bool,
}

const TIME: &str = "write a time: 5000 (milliseconds), 500ms, 10s, 5m or 1h; 0 for never";

/// Gives all small files that hold a value to a macro, one row for each:
///
/// - what it means; field, type and name; what `onit new` says of the option, if there is one
/// - which supervisors read it, what holds without it, what of onit reads it, and the parser
/// - what to write into it, and words that it may consist of; systemd's word for it
macro_rules! small_files {
    ($then:ident) => {
        $then! {
            /// Its end stops everything.
            essential: Essential = "essential", option "its end is the end of everything: always, on-failure or on-giveup" {
                for ONIT, default "", read by onit at Death into essential, parse svdir::word;
                hint "write one of always, on-failure, on-giveup", words ["always", "on-failure", "on-giveup"]; systemd Lost("no equivalent on a machine; in a container, FailureAction=exit and SuccessAction=exit")
            }
            /// Whether it is started again.
            restart: Restart = "restart", option "whether it is started again: always, on-failure or never" {
                for ONIT, default "always", read by onit at Death into restarts.restart, parse svdir::word;
                hint "write one of always, on-failure, never", words ["always", "on-failure", "never"]; systemd Key("Restart")
            }
            /// Which ends are no failure.
            success_codes: SuccessCodes = "success-codes", option "exit codes and signals that are no failure, as \"3 TERM\"" {
                for ONIT, default "0", read by onit at Death into restarts.success, parse svdir::SuccessCodes::parse;
                hint "write exit codes and signals: 3 TERM"; systemd Key("SuccessExitStatus")
            }
            /// When it is started again.
            backoff: Backoff = "backoff", option "pauses before a start, as \"1s 30s 30s\"" {
                for ONIT, default "1s 30s 30s", read by onit at Death into restarts.backoff, parse svdir::Backoff::parse;
                hint "write three times, the first no longer than the second: 1s 30s 30s"; systemd Key("RestartSec")
            }
            /// How often it is started again.
            max_restarts: MaxRestarts = "max-restarts", option "give up after more than this, as 5/60s" {
                for ONIT, default "", read by onit at Death into restarts.max_restarts, parse svdir::MaxRestarts::parse;
                hint "write a number up to 15 and a time: 5/60s"; systemd Key("StartLimitBurst")
            }
            /// How many starts in a row may end before it is ready.
            start_retries: Number = "start-retries", option "give up after this many more starts that end before it is ready" {
                for ONIT, default "", read by onit at Death into restarts.start_retries, parse svdir::retries;
                hint "write a number from 0 to 255"; systemd Lost("no equivalent: StartLimitBurst counts all starts")
            }
            /// When it counts as ready.
            readiness: Readiness = "readiness", option "when it is ready: none, \"after 5s\", \"fd 3\", notify, check or \"check 2s\"" {
                for ONIT, default "none", read by onit at Start into readiness.readiness, parse svdir::Readiness::parse;
                hint "write one of none, after TIME (as 5s), fd N, notify, check, check TIME", words ["none", "notify", "check"]; systemd Key("Type")
            }
            /// The descriptor to which it writes a newline when it is ready, s6's way: 1 or more.
            notification_fd: Number = "notification-fd", option "descriptor that says that it is ready, for s6" {
                for S6, default "", read by onit at Start into readiness.descriptor, parse svdir::descriptor;
                hint "write the number of a descriptor: 3"; systemd Key("Type")
            }
            /// After an order to stop, KILL follows this much later: more than nothing, in whole milliseconds.
            timeout_kill: Limit = "timeout-kill", option "time from that signal to KILL, as 10s" {
                for S6, default "0", read by onit at Stop into limits.kill_after, parse svdir::Limit::parse;
                hint TIME; systemd Key("TimeoutStopSec")
            }
            /// `finish` may take this long: more than nothing, in whole milliseconds.
            timeout_finish: Limit = "timeout-finish", option "time for --finish" {
                for S6, default "5000", read by onit at Death into limits.finish_limit, parse svdir::Limit::parse;
                hint TIME; systemd Lost("no equivalent: finish is under TimeoutStopSec")
            }
            /// It is to be ready within this time: more than nothing, in whole milliseconds.
            timeout_up: Limit = "timeout-up", option "time to become ready" {
                for ONIT, default "0", read by onit at Start into limits.up_limit, parse svdir::Limit::parse;
                hint TIME; systemd Key("TimeoutStartSec")
            }
            /// What stops it.
            down_signal: Signal = "down-signal", option "signal that stops it (default: TERM)" {
                for S6, default "TERM", read by onit at Stop into limits.stop_signal, parse svdir::signal;
                hint "write a signal: TERM, or 15", words ["TERM", "INT", "QUIT", "HUP", "KILL", "ALRM", "USR1", "USR2", "WINCH"]; systemd Key("KillSignal")
            }
            /// Whom its stop signal reaches.
            kill_mode: KillMode = "kill-mode", option "whom that signal and KILL reach: process, group or cgroup" {
                for ONIT, default "process", read by onit at Start into kill_mode, parse svdir::word;
                hint "write one of process, group, cgroup", words ["process", "group", "cgroup"]; systemd Key("KillMode")
            }
            /// What lets it read its configuration again.
            reload_signal: Signal = "reload-signal", option "signal for `onit reload` (default: HUP)" {
                for S6, default "HUP", read by onit at Reload into reload_signal, parse svdir::signal;
                hint "write a signal: HUP, or 1", words ["HUP", "USR1", "USR2", "QUIT", "WINCH", "ALRM"]; systemd Key("ExecReload")
            }
            /// How many of its deaths are remembered in `supervise/death_tally`: 0 to 4096.
            max_death_tally: Number = "max-death-tally" {
                for S6, default "", read by onit at Death into death_tally, parse svdir::tally;
                hint "write a number from 0 to 4096"; systemd Lost("no equivalent: see the journal")
            }
            /// Which record is written to `supervise/status`.
            status_format: StatusFormat = "status-format", option "status record: runit, s6, universal (read by all tools) or daemontools" {
                for ONIT, default "runit", read by supervisor, parse svdir::word;
                hint "write one of runit, s6, universal, daemontools", words ["runit", "s6", "universal", "daemontools"]; systemd Lost("no equivalent: systemctl tells")
            }
            /// Which services it stands for, if its name ends in `@`.
            instances: Instances = "instances" {
                for ONIT, default "", read by supervisor, parse svdir::Instances::parse;
                hint "write a number, $VARIABLE, or one name a line"; systemd Lost("no equivalent: enable each, as NAME@INSTANCE.service")
            }
            /// How `health` is asked, and what follows.
            health_policy: HealthPolicy = "health-policy" {
                for ONIT, default "every=10s timeout=5s retries=3 after=0s action=restart", read by onit at Probe into probes.policy, parse svdir::HealthPolicy::parse;
                hint "write words as every=10s timeout=5s retries=3 after=0s action=restart (or report)"; systemd Lost("no equivalent of a program that is asked")
            }
        }
    };
}
pub(crate) use small_files;

#[rustfmt::skip]
macro_rules! lines {
    (Limit) => { Lines::Time };
    (Instances) => { Lines::All };
    ($other:ident) => { Lines::First };
}

#[rustfmt::skip]
macro_rules! text {
    (Signal) => { svdir::signal_text };
    ($other:ident) => { ToString::to_string };
}

macro_rules! reader {
    (supervisor, $type:ident, $parse:path) => { Reader::Supervisor };
    (onit, $type:ident, $parse:path, $moment:ident, $($place:ident).+) => {
        Reader::Input(
            Moment::$moment,
            Input {
                parse: |inputs, text| {
                    let Some(value) = $parse(text).map(|value: svdir::$type| value.into()) else { return false };
                    if inputs.$($place).+ != value {
                        inputs.$($place).+ = value;
                    }
                    true
                },
                copy: |inputs, others| {
                    if inputs.$($place).+ != others.$($place).+ {
                        inputs.$($place).+ = others.$($place).+;
                    }
                },
            },
        )
    };
}

macro_rules! define {
    ($($(#[$doc:meta])* $field:ident: $type:ident = $name:tt $(, option $help:tt)? {
        for $targets:ident, default $default:tt, read by $reader:ident $(at $moment:ident into $($place:ident).+)?,
        parse $parse:path;
        hint $hint:expr $(, words [$($word:tt),*])?; systemd $systemd:ident($systemd_word:tt)
    })*) => {
        /// What the small files of a service directory say. What a service does not say is `None`, empty or false.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Settings {
            /// It is not started by itself (`down`).
            pub down: bool,
            /// It starts when these are ready, and stops before them (`dependencies.d/`).
            pub dependencies: Vec<OsString>,
            /// It starts when these are ready or have settled (`after.d/`).
            pub after: Vec<OsString>,
            /// It starts only if all of these hold (`condition`).
            pub conditions: Vec<svdir::Condition>,
            /// These are bound before it starts, and held (`sockets`).
            pub sockets: Vec<super::sockets::Socket>,
            $($(#[$doc])* #[doc = concat!("(`", $name, "`)")] pub $field: Option<svdir::$type>,)*
        }

        /// Every name that means something in a service directory.
        pub const FILES: &[File] = &[
            File { name: "run", kind: Kind::Program, targets: ALL, reader: Reader::Supervisor },
            File { name: "setup", kind: Kind::Program, targets: ONIT, reader: Reader::Supervisor },
            File { name: "stop", kind: Kind::Program, targets: ONIT, reader: Reader::Supervisor },
            File { name: "finish", kind: Kind::Program, targets: RUNIT_AND_S6, reader: Reader::Supervisor },
            File { name: "check", kind: Kind::Program, targets: RUNIT, reader: Reader::Supervisor },
            File { name: "health", kind: Kind::Program, targets: ONIT, reader: Reader::Supervisor },
            File { name: "down", kind: Kind::Flag, targets: ALL, reader: Reader::Supervisor },
            File { name: "flag-newpidns", kind: Kind::Flag, targets: S6, reader: Reader::Supervisor },
            File { name: "control", kind: Kind::Directory, targets: RUNIT, reader: Reader::Supervisor },
            File { name: "log", kind: Kind::Directory, targets: ALL, reader: Reader::Supervisor },
            File { name: "env", kind: Kind::Directory, targets: ONIT, reader: Reader::Supervisor },
            File { name: "dependencies.d", kind: Kind::Directory, targets: ONIT, reader: Reader::Supervisor },
            File { name: "after.d", kind: Kind::Directory, targets: ONIT, reader: Reader::Supervisor },
            File { name: "condition", kind: Kind::Value, targets: ONIT, reader: Reader::Supervisor },
            File { name: "sockets", kind: Kind::Value, targets: ONIT, reader: Reader::Supervisor },
            File { name: "event", kind: Kind::Directory, targets: S6, reader: Reader::Supervisor },
            File { name: "supervise", kind: Kind::Directory, targets: ALL, reader: Reader::Supervisor },
            $(File {
                name: $name,
                kind: Kind::Value,
                targets: $targets,
                reader: reader!($reader, $type, $parse $(, $moment, $($place).+)?),
            },)*
        ];

        /// Every small file that holds a value.
        pub const VALUES: &[Value] = &[$(Value {
            name: $name,
            lines: lines!($type),
            default: $default,
            hint: $hint,
            words: &[$($($word),*)?],
            systemd: Systemd::$systemd($systemd_word),
            parse: |settings, text| {
                settings.$field = $parse(text);
                settings.$field.is_some()
            },
            text: |settings| settings.$field.as_ref().map(text!($type)),
            is_same: |one, other| one.$field == other.$field,
        },)*];
    };
}
small_files!(define);

/// What a name means in a service directory, if anything.
pub fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

/// The small file of this name.
pub fn value(name: &str) -> Option<&'static Value> {
    VALUES.iter().find(|value| value.name == name)
}

/// What PID 1 reads at one of these moments, and where it goes.
pub fn inputs(moments: &[Moment]) -> impl Iterator<Item = (&'static File, Input)> + Clone {
    FILES.iter().filter_map(move |file| match file.reader {
        Reader::Input(when, input) if moments.contains(&when) => Some((file, input)),
        Reader::Input(..) | Reader::Supervisor => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::policy::ServiceRules;

    #[test]
    fn each_target_reads_its_own_files() {
        let read = |target| FILES.iter().filter(|file| file.is_read_by(target)).count();
        assert_eq!(Target::ALL.map(read), [FILES.len(), 7, 4, 13]);
        assert_eq!(Target::ALL.map(|target| target.to_string().parse()), Target::ALL.map(Ok));
        let origins = ["run", "finish", "check", "down-signal", "essential", "supervise"];
        let origins = origins.map(|name| file(name).map(File::origin).unwrap_or_default());
        assert_eq!(origins, ["all", "runit", "runit", "s6", "onit", "all"]);
    }

    #[test]
    fn each_value_is_written_as_it_is_read() {
        for value in VALUES {
            assert!(file(value.name).is_some_and(|file| file.kind == Kind::Value), "{}", value.name);
            let (mut settings, mut again) = (Settings::default(), Settings::default());
            assert_eq!((value.parse)(&mut settings, value.default), !value.default.is_empty(), "{}", value.name);
            for word in value.words {
                assert!((value.parse)(&mut settings, word), "{}: {word}", value.name);
            }
            if let Some(text) = (value.text)(&settings) {
                assert!((value.parse)(&mut again, &text) && (value.is_same)(&settings, &again), "{text}");
            }
            assert!(!(value.parse)(&mut settings, "\n") && settings == Settings::default(), "{}", value.name);
        }
    }

    #[test]
    fn what_stands_in_the_table_is_what_holds_without_the_file() {
        let none = Inputs::of(&ServiceRules::ONIT);
        for moment in [Moment::Start, Moment::Stop, Moment::Reload, Moment::Death, Moment::Probe] {
            for (file, input) in inputs(&[moment]) {
                let default = value(file.name).expect("it has a value").default;
                let mut inputs = none.clone();
                assert_eq!((input.parse)(&mut inputs, default), !default.is_empty(), "{}", file.name);
                assert_eq!(inputs, none, "{}", file.name);
                let said = match file.name {
                    "essential" => "always",
                    "restart" => "never",
                    "success-codes" => "3",
                    "backoff" => "2s 3s 4s",
                    "max-restarts" => "5/60s",
                    "start-retries" | "max-death-tally" => "3",
                    "down-signal" | "reload-signal" => "INT",
                    "readiness" => "after 5s",
                    "health-policy" => "retries=5",
                    "kill-mode" => "group",
                    "notification-fd" => "3",
                    _ => "7s",
                };
                assert!((input.parse)(&mut inputs, said) && inputs != none, "{}", file.name);
                (input.copy)(&mut inputs, &none);
                assert_eq!(inputs, none, "{}", file.name);
            }
        }
    }
}
