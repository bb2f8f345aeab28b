//! What the small files say, read by the parsers of PID 1.

use super::Reader;
use crate::service_dir::finding::Finding;
use crate::service_dir::program::what;
use crate::sys::fs;
use crate::wire::settings::{Lines, Settings, VALUES, Value};
use crate::wire::sockets::{self, Socket};
use crate::wire::svdir::{self, excerpt};
use std::ffi::OsString;
use std::path::Path;

/// PID 1 reads small files up to here.
const SMALL: u64 = 4096;
/// A user who writes fewer milliseconds has probably meant seconds.
const SUSPICIOUS: u64 = 100;

impl Reader<'_> {
    pub(super) fn settings(&mut self) -> Settings {
        let mut settings = Settings {
            down: self.has("down"),
            dependencies: self.services("dependencies.d"),
            after: self.services("after.d"),
            conditions: self.conditions(),
            sockets: self.sockets(),
            ..Settings::default()
        };
        for value in VALUES {
            self.value(value, &mut settings);
        }
        settings
    }

    /// The text of a small file, as PID 1 reads it; `None` if there is none, or none worth parsing.
    fn lines(&mut self, name: &str, mend: &str) -> Option<String> {
        let metadata = self.metadata(name)?;
        if !metadata.is_file() {
            self.error("not-a-file", name, format!("is no file, but {}", what(&metadata)), mend);
            return None;
        }
        let text = match fs::read_regular(&self.path.join(name), SMALL) {
            Ok(text) => text,
            Err(error) => {
                self.cannot_read(name, &error);
                return None;
            }
        };
        if text.trim_ascii().is_empty() {
            self.error("value-empty", name, "is empty, and the default holds", mend);
            return None;
        }
        if text.windows(2).any(|pair| pair == b"\r\n") {
            let problem = "ends in CR LF: other supervisors do not take it";
            self.warn("carriage-return", name, problem, "save it with LF alone");
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn value(&mut self, value: &Value, settings: &mut Settings) {
        let Some(text) = self.lines(value.name, value.hint) else { return };
        let path = self.path.join(value.name);
        let mut lines = text.lines();
        let line = lines.next().unwrap_or_default();
        if !(value.parse)(settings, &text) {
            let blanks = line != line.trim() && (value.parse)(&mut Settings::default(), line.trim());
            let is = if blanks { "has a blank too many, and is no value" } else { "is no value" };
            let problem = format!("\"{}\" {is} for it: the default holds", excerpt(line));
            return self.findings.push(Finding::error("value-bad", &path, problem, value.hint).at(1));
        }
        if value.lines != Lines::All && lines.any(|line| !line.trim().is_empty()) {
            let finding = Finding::warning("more-lines", &path, "only the first line counts", "remove the others");
            self.findings.push(finding.at(2));
        }
        if let (Lines::Time, Ok(time @ 1..SUSPICIOUS)) = (value.lines, line.parse::<u64>()) {
            let problem = format!("{time} milliseconds are very little");
            let finding = Finding::warning("time-short", &path, problem, format!("did you mean {time}s?"));
            self.findings.push(finding.at(1));
        }
    }

    fn sockets(&mut self) -> Vec<Socket> {
        const MEND: &str =
            "write lines as `tcp 0.0.0.0:80`, `udp [::]:53`, `unix /run/x.sock mode=0660`, `fifo /run/x`";
        let text = self.lines("sockets", MEND).unwrap_or_default();
        match sockets::parse(&text) {
            Ok(all) => all,
            Err(problem) => {
                self.findings.push(Finding::error("value-bad", &self.path.join("sockets"), problem, MEND));
                Vec::new()
            }
        }
    }

    fn conditions(&mut self) -> Vec<svdir::Condition> {
        const MEND: &str = "write lines as `env NAME`, `env NAME=VALUE`, `path PATH`, or with ! before it";
        let mut conditions = Vec::new();
        for (number, line) in self.lines("condition", MEND).unwrap_or_default().lines().enumerate() {
            match svdir::Condition::parse(line) {
                Some(condition) => conditions.push(condition),
                None if line.is_empty() => {}
                None => {
                    let problem = format!("\"{}\" is no condition", excerpt(line));
                    let finding = Finding::error("value-bad", &self.path.join("condition"), problem, MEND);
                    self.findings.push(finding.at(number + 1));
                }
            }
        }
        conditions
    }

    fn services(&mut self, directory: &'static str) -> Vec<OsString> {
        let names = self.directory(directory);
        if names.contains(&self.name) {
            let file = Path::new(directory).join(&self.name);
            self.error("dependency-self", file, "it waits for itself, and so for ever", "remove it");
        }
        names
    }
}
