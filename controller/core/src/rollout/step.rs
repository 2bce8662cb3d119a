//! What an account may do at this moment of a rollout, and why it waits.

use std::fmt;
use std::time::Instant;

use super::waves::Wave;

/// What an account may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The generation is applied.
    Go,
    /// It is not applied yet.
    Wait(Why),
}

/// Why an account waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An earlier wave is not complete.
    Wave(Wave),
    /// An earlier wave was completed, and the next one begins at this time.
    Soak(Wave, Instant),
    /// `maxConcurrent` accounts are being changed.
    Turn,
    /// The change failed, and is tried again later.
    Retry,
    /// The rollout has stopped.
    Stopped,
    /// The account cannot be used.
    Unavailable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wave(wave) => write!(f, "waits for wave {wave}"),
            Self::Soak(wave, _) => write!(f, "waits for the end of spec.rollout.soak after wave {wave}"),
            Self::Turn => f.write_str("waits for other accounts, as spec.rollout.maxConcurrent limits"),
            Self::Retry => f.write_str("waits to be tried again, as spec.rollout.maxConcurrent limits"),
            Self::Stopped => f.write_str("not changed, because the rollout has stopped"),
            Self::Unavailable => f.write_str("waits until the account can be used"),
        }
    }
}
