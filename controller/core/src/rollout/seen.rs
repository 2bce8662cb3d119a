//! How far an account is with a change, by what is seen of it.

use std::time::Instant;

use rolectl_crds::Reason;

use super::waves::Wave;
use crate::bounded::{MESSAGE, clip};

/// How far an account is with a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The generation was applied there, now or earlier.
    Done,
    /// The change has begun.
    Working,
    /// The change was refused or failed. It counts once the account has begun, or its wave is reached: an account of a later wave may
    /// refuse it already.
    Failed {
        /// The account was told to begin.
        has_begun: bool,
        /// What happened.
        message: String,
        /// When the change is tried again.
        retry: Retry,
    },
    /// Nothing can be done in the account now, and that does not come from the change. The account does not delay the others.
    Unavailable,
    /// The change has not begun.
    Waiting,
}

/// When a change that failed is tried again. It matters only where the number of accounts at once is limited: otherwise the account tries
/// again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// As soon as the account has its turn.
    Due,
    /// Not before this time.
    At(Instant),
    /// It is being tried.
    UnderWay,
}

/// What is seen of an account.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The generation was applied in full at some time.
    pub is_applied: bool,
    /// The account was told to begin.
    pub has_begun: bool,
    /// The account as a whole cannot be used.
    pub is_unavailable: bool,
    /// The state that was reported for this generation, with its message.
    pub reported: Option<(Reason, &'a str)>,
    /// When a change that failed is tried again.
    pub retry: Retry,
}

impl State {
    /// Returns how far the account is.
    pub fn of(seen: &Seen<'_>) -> Self {
        if seen.is_applied {
            return Self::Done;
        }
        let (reason, message) = seen.reported.unzip();
        if seen.is_unavailable || reason.is_some_and(is_no_fault_of_the_change) {
            return Self::Unavailable;
        }
        match reason {
            Some(reason) if is_failure(reason) => {
                let message = message.filter(|message| !message.is_empty());
                Self::Failed {
                    has_begun: seen.has_begun,
                    message: clip(message.unwrap_or(reason.as_str()), MESSAGE).into_owned(),
                    retry: seen.retry,
                }
            }
            _ if seen.has_begun => Self::Working,
            _ => Self::Waiting,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Working | Self::Waiting)
    }

    /// Returns true if the change is being made in the account.
    pub(super) const fn is_under_way(&self) -> bool {
        let is_tried_again = matches!(
            self,
            Self::Failed {
                retry: Retry::UnderWay,
                ..
            }
        );
        is_tried_again || matches!(self, Self::Working)
    }
}

/// Returns true for a state of a role that is a failure of the change.
pub fn is_failure(reason: Reason) -> bool {
    reason.is_stalled() && reason != Reason::RolloutStopped && !is_no_fault_of_the_change(reason)
}

/// Returns true for a state of a role that comes from its account or its session, whatever the spec is.
const fn is_no_fault_of_the_change(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SessionLocked
            | Reason::Suspended
            | Reason::AccountMismatch
            | Reason::AccountNotFound
            | Reason::NamespaceNotAllowed
    )
}

/// Returns true for a state of a whole account in which no role of it can be changed.
pub const fn is_unavailable(account: Reason) -> bool {
    is_no_fault_of_the_change(account)
        || matches!(
            account,
            Reason::AccessDenied | Reason::Throttled | Reason::AwsUnavailable
        )
}

/// An account of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// Its wave ([`super::wave_of`]).
    pub wave: Wave,
    /// How far it is.
    pub state: State,
}

impl Progress {
    /// The place of the account in the order of all.
    pub(super) fn key(&self) -> (Wave, &str) {
        (self.wave, &self.name)
    }

    /// Returns what happened in the account, with its name.
    pub(super) fn failure(&self, message: &str) -> String {
        clip(&format!("{}: {message}", self.name), MESSAGE).into_owned()
    }
}
