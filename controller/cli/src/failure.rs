//! The error of a command: what happened, and what the user does next.

use std::fmt;

use rolectl_crds::PartitionError;

use crate::output::printable;

/// The error of a command, with the next step for the user.
#[derive(Debug)]
pub struct Failure {
    what: String,
    next: String,
    code: u8,
    cause: Cause,
}

/// Causes by which commands decide how to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Other,
    NoCluster,
    Forbidden,
    NotFound,
}

impl Failure {
    pub fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
            code: 1,
            cause: Cause::Other,
        }
    }

    /// Marks the failure as one to reach a cluster.
    pub fn without_cluster(self) -> Self {
        Self {
            cause: Cause::NoCluster,
            ..self
        }
    }

    /// Returns true if the command could not reach a cluster.
    pub const fn has_no_cluster(&self) -> bool {
        matches!(self.cause, Cause::NoCluster)
    }

    /// Marks the failure as a request that the cluster refused for lack of rights.
    pub fn forbidden(self) -> Self {
        Self {
            cause: Cause::Forbidden,
            ..self
        }
    }

    /// Marks the failure as a request for something that the cluster does not have.
    pub fn not_found(self) -> Self {
        Self {
            cause: Cause::NotFound,
            ..self
        }
    }

    /// Returns true if the cluster does not have what was asked for.
    pub const fn is_not_found(&self) -> bool {
        matches!(self.cause, Cause::NotFound)
    }

    /// Returns true if the user lacks rights in the cluster.
    pub const fn is_forbidden(&self) -> bool {
        matches!(self.cause, Cause::Forbidden)
    }

    /// Sets an exit code, for commands in which 1 has another meaning.
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Sets the exit code of wrong usage and of unreadable input, 2.
    pub fn usage(self) -> Self {
        Self { code: 2, ..self }
    }

    /// Sets the general exit code, 1, for commands in which 2 has another meaning.
    pub fn plain(self) -> Self {
        Self { code: 1, ..self }
    }

    /// Returns what happened, without the next step.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Returns the next step.
    pub fn next(&self) -> &str {
        &self.next
    }

    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Parts of it come from the cluster, from AWS or from files.
        let lines = |text: &str| text.lines().map(printable).collect::<Vec<_>>().join("\n");
        write!(f, "error: {}\n  next: {}", lines(&self.what), lines(&self.next))
    }
}

impl From<PartitionError> for Failure {
    fn from(error: PartitionError) -> Self {
        Self::new(
            error.to_string(),
            "correct AWS_REGION, the region of your profile, or spec.region of the object; no request was made",
        )
    }
}
