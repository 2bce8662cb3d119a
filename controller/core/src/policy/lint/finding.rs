//! The findings about a policy document.

use std::fmt;

use super::super::problem::Problem;

/// The use of a policy document, which determines what it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The trust policy of a role.
    Trust,
    /// An inline or managed policy, which grants permissions to an identity.
    Identity,
}

/// Number of findings about one document that are kept. The last finding counts the others.
pub const MAX_FINDINGS: usize = 1000;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used, but its effect is probably not what the author wants.
    Warning,
}

/// One finding about a policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The path, the problem and what to write instead.
    pub problem: Problem,
}

impl Finding {
    /// Returns an error about the document as a whole, such as a variable without a value.
    pub fn error(what: impl fmt::Display) -> Self {
        Self {
            severity: Severity::Error,
            problem: Problem::new("", what.to_string()),
        }
    }

    /// Returns the length of the text in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.problem.at.len() + self.problem.what.len()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

/// Returns the problems as findings with the severity `Error`.
pub(super) fn errors(problems: Vec<Problem>) -> Vec<Finding> {
    let error = |problem| Finding {
        severity: Severity::Error,
        problem,
    };
    problems.into_iter().map(error).collect()
}

/// A list of findings that the checks add to.
#[derive(Default)]
pub(super) struct Linter(pub(super) Vec<Finding>);

impl Linter {
    pub(super) fn add(&mut self, severity: Severity, at: &str, what: impl Into<String>) {
        self.0.push(Finding {
            severity,
            problem: Problem::new(at, what),
        });
    }

    pub(super) fn error(&mut self, at: &str, what: impl Into<String>) {
        self.add(Severity::Error, at, what);
    }

    pub(super) fn warn(&mut self, at: &str, what: impl Into<String>) {
        self.add(Severity::Warning, at, what);
    }
}
