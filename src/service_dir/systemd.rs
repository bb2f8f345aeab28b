//! The same service as a unit of systemd. What has no equivalent there is named in a comment.

use super::Target;
use super::builder::{Resource, ServiceBuilder, User};
use super::write::Error;
use super::{Fact, KillMode, Limit, Readiness, Restart, ServiceDir, Settings};
use crate::machine::Signal;
use crate::wire::settings::{Systemd, VALUES};
use crate::wire::svdir;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// RTMIN of the C library that systemd is linked with.
const RTMIN: i32 = 34;

/// The unit of a service that is there: it executes its `run`.
pub fn unit(service: &ServiceDir) -> String {
    let path = std::path::absolute(&service.path).unwrap_or_else(|_| service.path.clone());
    let (mut environment, mut unset) = (BTreeMap::new(), Vec::new());
    for (name, value) in &service.environment {
        match value {
            Some(value) => _ = environment.insert(name.clone(), value.clone()),
            None => unset.push(name),
        }
    }
    let has = |there: bool, name: &'static str| there.then_some(name);
    let scripts = [
        has(service.run.is_some(), "run"),
        has(service.setup.is_some(), "setup"),
        has(service.stop.is_some(), "stop"),
        has(service.finish.is_some(), "finish"),
        has(service.check.is_some(), "check"),
        has(service.health.is_some(), "health"),
        has(service.log.is_some(), "log"),
        has(!service.environment.is_empty(), "env"),
    ];
    let run = path.join("run").into_os_string();
    Source {
        name: service.name.clone(),
        command: if service.run.is_some() { vec![run] } else { Vec::new() },
        directory: path.clone(),
        path,
        environment,
        unset,
        user: None,
        groups: &[],
        limits: &BTreeMap::new(),
        nice: None,
        scripts: scripts.into_iter().flatten().collect(),
        control: service.control.keys().copied().collect(),
        settings: &service.settings,
    }
    .unit()
}

impl ServiceBuilder {
    /// The unit of this service. `path` is its service directory: its other scripts are taken from there, and its name
    /// is the unit's.
    ///
    /// # Errors
    /// Where onit itself could not be told to run it.
    pub fn systemd_unit(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        self.clone().target(Target::Onit).plan()?;
        let path = std::path::absolute(path.as_ref()).map_err(|error| Error::Io {
            verb: "find",
            path: path.as_ref().to_owned(),
            error,
        })?;
        let mut scripts: BTreeSet<&'static str> = self.scripts.keys().copied().collect();
        scripts.extend(self.logger.as_ref().map(|_| "log"));
        let source = Source {
            name: path.file_name().map(OsStr::to_owned).unwrap_or_default(),
            command: self.command.clone(),
            directory: self.directory.as_ref().map_or_else(|| path.clone(), |directory| path.join(directory)),
            path,
            environment: self.environment.clone(),
            unset: Vec::new(),
            user: self.user.as_ref(),
            groups: &self.groups,
            limits: &self.limits,
            nice: self.nice,
            scripts,
            control: self.control.keys().copied().collect(),
            settings: &self.settings,
        };
        Ok(source.unit())
    }
}

/// What a unit is made from.
struct Source<'a> {
    name: OsString,
    path: PathBuf,
    command: Vec<OsString>,
    directory: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    unset: Vec<&'a OsString>,
    user: Option<&'a User>,
    groups: &'a [String],
    limits: &'a BTreeMap<Resource, u64>,
    nice: Option<i32>,
    scripts: BTreeSet<&'static str>,
    control: BTreeSet<char>,
    settings: &'a Settings,
}

/// The text of a unit, line by line.
struct Text(String);

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    /// A blank at the end of a value is lost, and a backslash there would join the next line to it.
    fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        let backslashes = value.len() - value.trim_end_matches('\\').len();
        if backslashes % 2 == 1 || value.ends_with(char::is_whitespace) {
            return self.lost(key, &format!("a unit cannot say it, because of how it ends: \"{value}\""));
        }
        let _ = writeln!(self.0, "{key}={value}");
    }

    fn lost(&mut self, file: &str, why: &str) {
        let _ = writeln!(self.0, "# {file}: {why}");
    }
}

impl Source<'_> {
    fn unit(&self) -> String {
        let mut text = Text(String::new());
        text.line(format!("# Made by `onit export systemd` from {}", comment(&self.path)));
        self.section_unit(&mut text);
        self.section_service(&mut text);
        if self.settings.down {
            text.line("\n# down: it is not started by itself, so there is no [Install]");
        } else {
            text.line("\n[Install]\nWantedBy=multi-user.target");
        }
        text.0
    }

    fn section_unit(&self, text: &mut Text) {
        let settings = self.settings;
        text.line("\n[Unit]");
        text.set(
            "Description",
            specifiers(&self.name.to_string_lossy().replace(|c: char| c.is_control(), "?").replace('\\', "\\\\")),
        );
        for name in &settings.dependencies {
            let unit = unit_name(name);
            text.set("Requires", &unit);
            text.set("After", &unit);
        }
        for name in &settings.after {
            text.set("After", unit_name(name));
        }
        for socket in &settings.sockets {
            text.lost("sockets", &format!("{socket}: that is a unit of its own, a .socket"));
        }
        for condition in &settings.conditions {
            let not = if condition.not { "!" } else { "" };
            match &condition.fact {
                Fact::Env(name, value) => {
                    let value = value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
                    text.set("ConditionEnvironment", format!("{not}{}", specifiers(&format!("{name}{value}"))));
                }
                Fact::Path(path) if path.starts_with('/') => {
                    text.set("ConditionPathExists", format!("{not}{}", specifiers(path)));
                }
                Fact::Path(path) => {
                    let path = self.path.join(path);
                    text.set("ConditionPathExists", format!("{not}{}", specifiers(&path.to_string_lossy())));
                }
            }
        }
        match settings.max_restarts {
            // The first start counts as well.
            Some(max) => {
                text.set("StartLimitIntervalSec", seconds(max.window));
                text.set("StartLimitBurst", u64::from(max.count) + 1);
            }
            None => text.set("StartLimitIntervalSec", 0),
        }
    }

    fn section_service(&self, text: &mut Text) {
        text.line("\n[Service]");
        self.kind(text);
        self.commands(text);
        let directory = quote_value(self.directory.as_os_str());
        match directory {
            Some(directory) => text.set("WorkingDirectory", directory),
            None => text.lost("directory", "a unit cannot name it: it is not UTF-8, or has a newline in it"),
        }
        self.process(text);
        self.restarts(text);
        self.stop(text);
        self.without_equivalent(text);
    }

    fn kind(&self, text: &mut Text) {
        if self.command.is_empty() {
            text.set("Type", "oneshot");
            text.set("RemainAfterExit", "yes");
            return;
        }
        match (self.settings.readiness, self.settings.notification_fd) {
            (Some(Readiness::Notify), _) => {
                text.set("Type", "notify");
                text.set("NotifyAccess", "all");
            }
            (Some(Readiness::Descriptor(_)), _) | (None, Some(_)) => {
                text.set("Type", "exec");
                text.lost("notification-fd", "no equivalent: it counts as ready when it is started");
            }
            (Some(Readiness::Check(_)), _) => {
                text.set("Type", "exec");
                text.lost("readiness", "no equivalent of `check`: it counts as ready when it is started");
            }
            (Some(Readiness::After(_)), _) => {
                text.set("Type", "exec");
                text.lost("readiness", "no equivalent of a time: it counts as ready when it is started");
            }
            (Some(Readiness::None) | None, _) => text.set("Type", "exec"),
        }
        if let Some(limit) = self.settings.timeout_up {
            text.set("TimeoutStartSec", time(limit));
        }
    }

    fn commands(&self, text: &mut Text) {
        let mut prefix: Vec<OsString> = Vec::new();
        for (name, value) in &self.environment {
            let word = OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat());
            if is_variable(name, value) {
                text.set("Environment", quote(&word, false));
            } else {
                prefix.push(word);
            }
        }
        for name in &self.unset {
            if is_variable(name, OsStr::new("")) {
                text.set("UnsetEnvironment", name.display());
            } else {
                text.lost(&comment(&Path::new("env").join(name)), "a unit cannot remove a variable of this name");
            }
        }
        if self.scripts.contains("setup") {
            let key = if self.command.is_empty() { "ExecStart" } else { "ExecStartPre" };
            text.set(key, self.script(&prefix, "setup", "exec \"$0\""));
        }
        if !self.command.is_empty() {
            text.set("ExecStart", line(&prefix, &self.command));
        }
        if self.scripts.contains("stop") {
            // systemd sends its signal when this ends: if `stop` has done its work, that waits for the end of the service.
            let shell = "[ -n \"$MAINPID\" ] && \"$0\" && while kill -0 \"$MAINPID\"; do sleep 1; done 2>/dev/null";
            text.set("ExecStop", format!("-{}", self.script(&prefix, "stop", shell)));
        }
        if self.scripts.contains("finish") {
            let shell =
                "[ \"$EXIT_CODE\" = exited ] || exec \"$0\" -1 \"$EXIT_STATUS\"; exec \"$0\" \"$EXIT_STATUS\" 0";
            text.set("ExecStopPost", self.script(&prefix, "finish", shell));
            text.lost(
                "finish",
                "its second argument is a name, as TERM, and not a number; 125 does not end the restarts",
            );
        }
    }

    /// The command line of another script: it runs in the service directory, and as the user that the supervisor runs
    /// as.
    fn script(&self, variables: &[OsString], name: &str, shell: &str) -> String {
        let script = self.path.join(name).into_os_string();
        let shell = format!("cd \"${{0%/*}}\" || exit 111; {shell}");
        let words = ["/bin/sh".into(), "-c".into(), shell.into(), script];
        let plus = if self.user.is_some() { "+" } else { "" };
        format!("{plus}{}", line(variables, &words))
    }

    fn process(&self, text: &mut Text) {
        match self.user {
            Some(User::Name(name)) => text.set("User", specifiers(name)),
            Some(User::Id { user, group }) => {
                text.set("User", user);
                text.set("Group", group);
            }
            None => {}
        }
        let mut groups = self.groups.iter();
        if let Some(User::Name(_)) = self.user
            && let Some(own) = groups.next()
        {
            text.set("Group", specifiers(own));
        }
        for group in groups {
            text.set("SupplementaryGroups", specifiers(group));
        }
        if let Some(nice) = self.nice {
            text.set("Nice", nice.clamp(-20, 19));
        }
        for (resource, value) in self.limits {
            text.set(&format!("Limit{}", resource.systemd()), value);
        }
    }

    fn restarts(&self, text: &mut Text) {
        let settings = self.settings;
        if !self.command.is_empty() {
            text.set(
                "Restart",
                match settings.restart.unwrap_or_default() {
                    Restart::Always => "always",
                    Restart::OnFailure => "on-failure",
                    Restart::Never => "no",
                },
            );
        }
        if let Some(codes) = settings.success_codes {
            text.set("SuccessExitStatus", codes);
        }
        match settings.backoff {
            Some(backoff) => {
                text.set("RestartSec", seconds(backoff.min));
                let max = seconds(backoff.max);
                text.lost(
                    "backoff",
                    &format!("the pause stays the same; since systemd 254: RestartSteps=5, RestartMaxDelaySec={max}"),
                );
            }
            None => text.set("RestartSec", "1s"),
        }
    }

    fn stop(&self, text: &mut Text) {
        let settings = self.settings;
        if let Some(signal) = settings.down_signal {
            text.set("KillSignal", signal_name(signal));
        }
        if let Some(signal) = settings.reload_signal {
            text.set("ExecReload", format!("/bin/kill -{} $MAINPID", signal.0));
        }
        text.set(
            "KillMode",
            match settings.kill_mode {
                // TERM is for the service's own process; what it leaves behind is killed.
                None => "mixed",
                Some(KillMode::Process) => "process",
                Some(KillMode::Group | KillMode::Cgroup) => "control-group",
            },
        );
        text.set("TimeoutStopSec", time(settings.timeout_kill.unwrap_or(Limit::Never)));
    }

    fn without_equivalent(&self, text: &mut Text) {
        if self.scripts.contains("check") && !matches!(self.settings.readiness, Some(Readiness::Check(_))) {
            text.lost("check", "no equivalent");
        }
        if self.scripts.contains("health") {
            text.lost("health", "no equivalent: a service that supports it can use WatchdogSec");
        }
        if self.scripts.contains("env") {
            text.lost("env", "as it is now: a change of it is a change of this unit");
        }
        if self.scripts.contains("log") {
            text.lost("log", "systemd's journal takes its place");
        }
        for command in &self.control {
            text.lost(&format!("control/{command}"), "no equivalent: the signal itself is sent");
        }
        for value in VALUES {
            if let (Systemd::Lost(why), Some(_)) = (value.systemd, (value.text)(self.settings)) {
                text.lost(value.name, why);
            }
        }
    }
}

fn comment(path: &Path) -> String {
    path.to_string_lossy().replace(char::is_control, "?")
}

/// A name as it may stand in the name of a unit.
fn unit_name(name: &OsStr) -> String {
    let mut unit = String::new();
    for (at, byte) in name.as_bytes().iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'-' | b'@' => unit.push(char::from(*byte)),
            b'.' if at > 0 => unit.push('.'),
            other => _ = write!(unit, "\\x{other:02x}"),
        }
    }
    unit.push_str(".service");
    unit
}

/// `%` begins something that systemd replaces.
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// A variable that systemd takes in `Environment=`.
fn is_variable(name: &OsStr, value: &OsStr) -> bool {
    let good =
        |(at, byte): (usize, &u8)| byte.is_ascii_alphabetic() || *byte == b'_' || at > 0 && byte.is_ascii_digit();
    let name = !name.is_empty() && name.as_bytes().iter().enumerate().all(good);
    name && value.to_str().is_some_and(|value| !value.contains(|c: char| c.is_control() && c != '\t' && c != '\n'))
}

/// A whole value that is a directory and is not unquoted by systemd. A dot keeps what it ends with away from the end.
fn quote_value(value: &OsStr) -> Option<String> {
    let text = value.to_str().filter(|text| !text.contains(char::is_control))?;
    let odd = text.ends_with(|c: char| c == '\\' || c.is_whitespace());
    Some(specifiers(text) + if odd { "/." } else { "" })
}

/// A command line. What systemd could misread as the name of a program is found by env.
fn line(variables: &[OsString], words: &[OsString]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=,:@".contains(byte);
    let program = words.first().map(|word| word.as_bytes()).unwrap_or_default();
    let direct = variables.is_empty() && program.starts_with(b"/") && program.iter().all(plain);
    let mut quoted: Vec<String> = Vec::new();
    if !direct {
        quoted.extend(["/usr/bin/env".into(), "--".into()]);
        quoted.extend(variables.iter().map(|word| quote(word, true)));
        if program.contains(&b'=') {
            quoted.extend(["/bin/sh", "-c", "\"exec \\\"$$0\\\" \\\"$$@\\\"\""].map(String::from));
        }
    }
    quoted.extend(words.iter().map(|word| quote(word, true)));
    quoted.join(" ")
}

/// A word as systemd takes it apart; in a command line `$` begins a variable.
fn quote(word: &OsStr, command: bool) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=,:@".contains(byte);
    let bytes = word.as_bytes();
    let mut quoted = String::new();
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '"' | '\\' => _ = write!(quoted, "\\{c}"),
                '%' => quoted.push_str("%%"),
                '$' if command => quoted.push_str("$$"),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                c if c.is_control() && c.is_ascii() => _ = write!(quoted, "\\x{:02x}", u32::from(c)),
                c => quoted.push(c),
            }
        }
        for byte in part.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    if !bytes.is_empty() && bytes.iter().all(plain) { quoted } else { format!("\"{quoted}\"") }
}

fn signal_name(signal: Signal) -> String {
    match signal.0 - RTMIN {
        over if over >= 0 => format!("RTMIN+{over}"),
        _ => {
            let text = svdir::signal_text(&signal);
            if text.starts_with(|c: char| c.is_ascii_digit()) { text } else { format!("SIG{text}") }
        }
    }
}

fn time(limit: Limit) -> String {
    match limit {
        Limit::After(time) => seconds(time),
        Limit::Never => "infinity".into(),
    }
}

fn seconds(time: Duration) -> String {
    svdir::span_text(time)
}
