//! The error of a command: what happened, and what the user does next.

use std::fmt;

use rolectl_crds::PartitionError;

/// The error of a command, with the next step for the user.
#[derive(Debug)]
pub struct Failure {
    what: String,
    next: String,
    code: u8,
    no_cluster: bool,
    forbidden: bool,
}

impl Failure {
    pub fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
            code: 1,
            no_cluster: false,
            forbidden: false,
        }
    }

    /// Marks the failure as one to reach a cluster.
    pub fn without_cluster(self) -> Self {
        Self {
            no_cluster: true,
            ..self
        }
    }

    /// Returns true if the command could not reach a cluster.
    pub const fn has_no_cluster(&self) -> bool {
        self.no_cluster
    }

    /// Marks the failure as a request that the cluster refused for lack of rights.
    pub fn forbidden(self) -> Self {
        Self {
            forbidden: true,
            ..self
        }
    }

    /// Returns true if the user lacks rights in the cluster.
    pub const fn is_forbidden(&self) -> bool {
        self.forbidden
    }

    /// Sets the exit code of wrong usage and of unreadable input, 2.
    pub fn usage(self) -> Self {
        Self { code: 2, ..self }
    }

    /// Sets the general exit code, 1, for commands in which 2 has another meaning.
    pub fn plain(self) -> Self {
        Self { code: 1, ..self }
    }

    /// Sets another exit code.
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
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
        write!(f, "error: {}\n  next: {}", self.what, self.next)
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
