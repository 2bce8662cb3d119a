//! Why nothing may be done to a role.

use rolectl_crds::Reason;

/// Why nothing may be done to a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Reason for the status.
    pub reason: Reason,
    /// What stands in the way, and what to do about it.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
