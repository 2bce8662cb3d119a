//! What a person is told when a verb fails: what happened, and the next step.

use std::fmt;

/// A failure with its next step.
#[derive(Debug)]
pub struct Failure {
    what: String,
    next: String,
    code: u8,
    no_cluster: bool,
}

impl Failure {
    pub fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
            code: 1,
            no_cluster: false,
        }
    }

    /// The same, where there is no way to a cluster.
    pub fn without_cluster(self) -> Self {
        Self {
            no_cluster: true,
            ..self
        }
    }

    /// Whether there is no way to a cluster.
    pub const fn has_no_cluster(&self) -> bool {
        self.no_cluster
    }

    /// The same, by the exit code of what cannot be read or was asked for wrongly.
    pub fn usage(self) -> Self {
        Self { code: 2, ..self }
    }

    /// The same, where code 2 has a meaning of its own.
    pub fn plain(self) -> Self {
        Self { code: 1, ..self }
    }

    /// What happened, without the next step.
    pub fn what(&self) -> &str {
        &self.what
    }

    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  next: {}", self.what, self.next)
    }
}
