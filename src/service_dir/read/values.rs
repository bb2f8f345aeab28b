//! What the small files say, read by the parsers of PID 1.

use super::Reader;
use crate::service_dir::finding::Finding;
use crate::service_dir::program::{cause, what};
use crate::service_dir::{Limit, Settings};
use crate::sys::fs;
use crate::wire::svdir::{self, Readiness, Restart, excerpt};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// PID 1 reads small files up to here.
const SMALL: u64 = 4096;
/// Whoever writes so few milliseconds has probably thought of seconds.
const SUSPICIOUS: Duration = Duration::from_millis(100);

const TIME: &str = "write a time: 5000 (milliseconds), 500ms, 10s, 5m or 1h; 0 for never";

impl Reader<'_> {
    pub(super) fn settings(&mut self) -> Settings {
        let essential = "write one of always, on-failure, on-giveup";
        let restart = "write one of always, on-failure, never";
        let readiness = "write one of none, fd N, notify, check, check TIME (as 2s)";
        let instances = "write a number, $VARIABLE, or one name a line";
        let health = "write words as every=10s timeout=5s retries=3 after=0s action=restart (or report)";
        Settings {
            down: self.has("down"),
            essential: self.value("essential", essential, svdir::essential),
            restart: self.value("restart", restart, Restart::parse),
            backoff: self.value(
                "backoff",
                "write three times, the first no longer than the second: 1s 30s 30s",
                svdir::Backoff::parse,
            ),
            max_restarts: self.value("max-restarts", "write a number and a time: 5/60s", svdir::MaxRestarts::parse),
            readiness: self.value("readiness", readiness, Readiness::parse),
            notification_fd: self.value("notification-fd", "write the number of a descriptor: 3", svdir::descriptor),
            dependencies: self.services("dependencies.d"),
            after: self.services("after.d"),
            conditions: self.conditions(),
            timeout_kill: self.time("timeout-kill"),
            timeout_finish: self.time("timeout-finish"),
            timeout_up: self.time("timeout-up"),
            down_signal: self.value("down-signal", "write a signal: TERM, or 15", svdir::signal),
            max_death_tally: self.value("max-death-tally", "write a number from 0 to 4096", svdir::tally),
            instances: self
                .lines("instances", instances)
                .and_then(|text| self.parsed("instances", instances, &text, svdir::Instances::parse)),
            health_policy: self.value("health-policy", health, svdir::HealthPolicy::parse),
        }
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
                let problem = format!("cannot be read: {}", cause(&error));
                self.warn("unreadable", name, problem, "look at it as another user");
                return None;
            }
        };
        if text.trim_ascii().is_empty() {
            self.error("value-empty", name, "is empty, and the default holds", mend);
            return None;
        }
        if text.windows(2).any(|pair| pair == b"\r\n") {
            self.warn(
                "carriage-return",
                name,
                "ends in CR LF: other supervisors do not take it",
                "save it with LF alone",
            );
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// The value of a small file of which the first line counts.
    fn value<T>(&mut self, name: &str, mend: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.lines(name, mend)?;
        let value = self.parsed(name, mend, &text, &parse);
        if value.is_some() && text.lines().skip(1).any(|line| !line.trim().is_empty()) {
            let finding = Finding::warning(
                "more-lines",
                &self.path.join(name),
                "only the first line counts",
                "remove the others",
            );
            self.findings.push(finding.at(2));
        }
        value
    }

    fn parsed<T>(&mut self, name: &str, mend: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = parse(text);
        if value.is_none() {
            let line = text.lines().next().unwrap_or_default();
            let blanks = line != line.trim() && parse(line.trim()).is_some();
            let problem = if blanks {
                format!("\"{}\" has a blank too many, and is no value for it: the default holds", excerpt(line))
            } else {
                format!("\"{}\" is no value for it: the default holds", excerpt(line))
            };
            self.findings.push(Finding::error("value-bad", &self.path.join(name), problem, mend).at(1));
        }
        value
    }

    fn time(&mut self, name: &str) -> Option<Limit> {
        let (limit, bare) = self.value(name, TIME, |text| {
            let bare = text.lines().next().is_some_and(|line| line.trim().parse::<u64>().is_ok());
            svdir::limit(text).map(|limit| (limit, bare))
        })?;
        if let Some(time) = limit.filter(|time| bare && *time < SUSPICIOUS) {
            let (problem, mend) =
                (format!("{} milliseconds are very little", time.as_millis()), format!("{}s?", time.as_millis()));
            let finding =
                Finding::warning("time-short", &self.path.join(name), problem, format!("did you mean {mend}"));
            self.findings.push(finding.at(1));
        }
        Some(limit.into())
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
