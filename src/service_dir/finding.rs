//! What is wrong with a service directory: where, what, and what to do about it.

use serde::{Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, but hardly as it was meant.
    Warning,
    /// It does not work.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of trouble: a word that does not change, as `interpreter-missing`.
    pub kind: &'static str,
    /// The file or directory.
    #[serde(serialize_with = "as_text")]
    pub file: PathBuf,
    /// The line, counted from 1, where it is about one.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
}

impl Finding {
    pub(super) fn error(
        kind: &'static str,
        file: &Path,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        let (file, problem, mend) = (file.to_owned(), problem.into(), mend.into());
        Finding { severity: Severity::Error, kind, file, line: None, problem, mend }
    }

    pub(super) fn warning(
        kind: &'static str,
        file: &Path,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding { severity: Severity::Warning, ..Finding::error(kind, file, problem, mend) }
    }

    pub(super) fn at(self, line: usize) -> Finding {
        Finding { line: Some(line), ..self }
    }
}

impl fmt::Display for Finding {
    /// `FILE:LINE: error: PROBLEM; MEND`, in one line whatever the names of files are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", one_line(&self.file.to_string_lossy()))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, ": {severity}: {}; {}", one_line(&self.problem), one_line(&self.mend))
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

fn as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}
