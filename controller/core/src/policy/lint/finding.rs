//! Findings, and where the document that they are about is used.

use std::fmt;

use super::super::problem::Problem;

/// Where a document stands, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The trust policy of a role.
    Trust,
    /// An inline or managed policy: what an identity may do.
    Identity,
}

/// Most findings about one document. Whoever has more of them has written something else than a policy.
pub const MAX_FINDINGS: usize = 1000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used and probably does not say what its author means.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where, and what to write instead.
    pub problem: Problem,
}

impl Finding {
    /// An error about the document as a whole, such as a variable that cannot be filled in.
    pub fn error(what: impl fmt::Display) -> Self {
        Self {
            severity: Severity::Error,
            problem: Problem::new("", what.to_string()),
        }
    }

    /// Length of its text in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.problem.at.len() + self.problem.what.len()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

pub(super) fn errors(problems: Vec<Problem>) -> Vec<Finding> {
    let error = |problem| Finding {
        severity: Severity::Error,
        problem,
    };
    problems.into_iter().map(error).collect()
}

#[derive(Default)]
pub(super) struct Linter(pub(super) Vec<Finding>);

impl Linter {
    pub(super) fn say(&mut self, severity: Severity, at: &str, what: impl Into<String>) {
        self.0.push(Finding {
            severity,
            problem: Problem::new(at, what),
        });
    }

    pub(super) fn error(&mut self, at: &str, what: impl Into<String>) {
        self.say(Severity::Error, at, what);
    }

    pub(super) fn warn(&mut self, at: &str, what: impl Into<String>) {
        self.say(Severity::Warning, at, what);
    }
}
