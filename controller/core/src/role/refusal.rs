//! The reason why a role must not be changed.

use rolectl_crds::Reason;

/// The reason why a role must not be changed, for its status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason in the condition.
    pub reason: Reason,
    /// The cause, and what a user can do about it.
    pub message: String,
}

impl Refusal {
    /// Returns a refusal.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
