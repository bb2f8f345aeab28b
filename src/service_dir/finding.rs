//! What is wrong with a service directory: where, what, and what to do about it.

use crate::wire::json;
use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Severity {
    /// It works, but hardly as it was meant.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of trouble: a word that does not change, as `interpreter-missing`.
    pub kind: &'static str,
    /// The file or directory.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
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
        write!(f, ": {}: {}; {}", self.severity.word(), one_line(&self.problem), one_line(&self.mend))
    }
}

impl json::Write for Finding {
    fn write(&self, to: &mut String) {
        let Finding { severity, kind, file, line, problem, mend } = self;
        let (severity, file) = (severity.word(), file.to_string_lossy().into_owned());
        json::object(
            to,
            &[
                ("severity", &severity),
                ("kind", kind),
                ("file", &file),
                ("line", line),
                ("problem", problem),
                ("mend", mend),
            ],
        );
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}
