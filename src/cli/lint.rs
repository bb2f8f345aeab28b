//! `onit lint DIR…`: what is wrong with service directories, before anything is started.

use super::connect::worse;
use super::term;
use crate::exit;
use crate::service_dir::{Finding, Severity, lint};
use crate::sys::say::say;
use argh::{ArgsInfo, FromArgs};
use std::path::PathBuf;

/// Examine service directories. Says nothing if all is well, else one line for each finding.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
#[argh(error_code(0, "no errors, at most warnings"), error_code(1, "errors"), error_code(100, "wrong usage"))]
pub struct Lint {
    /// service directories, and directories of services
    #[argh(positional, arg_name = "DIR")]
    directories: Vec<PathBuf>,
    /// findings as a JSON array of objects; [] if there are none
    #[argh(switch)]
    json: bool,
    /// warnings count as errors
    #[argh(switch)]
    strict: bool,
}

impl Lint {
    /// Examines, and tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        if self.directories.is_empty() {
            say("onit: lint: which directory?");
            return exit::USAGE;
        }
        let findings = lint::examine(&self.directories);
        let text = if self.json { term::json(&findings) } else { lines(&findings) };
        let counts = |finding: &Finding| self.strict || finding.severity == Severity::Error;
        worse(term::print(&text), if findings.iter().any(counts) { exit::FAILED } else { exit::OK })
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}
