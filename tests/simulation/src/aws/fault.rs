//! What can go wrong with one call.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::iam::LONGEST_LAG;

/// How long after it was sent a request without an answer may take effect.
pub const LATEST_EFFECT: Duration = Duration::from_secs(8);

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// AWS answers with this code and changes nothing.
    Refused(&'static str),
    /// AWS carries the request out and answers with this code.
    AppliedThenError(&'static str),
    /// The connection breaks before AWS has the request.
    RequestLost,
    /// The connection breaks after AWS has carried the request out.
    AnswerLost,
    /// No answer arrives, and AWS changes nothing.
    Hangs,
    /// No answer arrives, and AWS carries the request out within [`LATEST_EFFECT`].
    HangsApplied,
    /// The replica crashes before it sends the request.
    CrashBefore,
    /// The replica crashes after it has sent the request.
    CrashAfter,
}

/// The faults that the table of scenarios injects into every call.
pub const ALL: [Fault; 16] = [
    Fault::Refused("ServiceFailure"),
    Fault::Refused("InternalFailure"),
    Fault::Refused("Throttling"),
    Fault::Refused("ConcurrentModification"),
    Fault::Refused("EntityTemporarilyUnmodifiable"),
    Fault::Refused("AccessDenied"),
    Fault::Refused("LimitExceeded"),
    Fault::Refused("NoSuchEntity"),
    Fault::Refused("ExpiredToken"),
    Fault::AppliedThenError("ServiceFailure"),
    Fault::RequestLost,
    Fault::AnswerLost,
    Fault::Hangs,
    Fault::HangsApplied,
    Fault::CrashBefore,
    Fault::CrashAfter,
];

/// How often and how calls fail for some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultProfile {
    /// One call in so many fails. 0: none.
    pub one_in: u32,
    /// One call in so many crashes the replica. 0: none.
    pub crashes_one_in: u32,
    /// Reads trail writes by up to so much.
    pub lag: Duration,
    /// Calls are slow by up to so much.
    pub latency: Duration,
    /// AWS takes so many calls a second in an account. 0: any number.
    pub rate: u32,
    /// AWS answers every call with a failure.
    pub is_out: bool,
}

impl FaultProfile {
    /// Calls that succeed after some milliseconds, and reads that trail no write.
    pub fn without_faults() -> Self {
        Self {
            latency: Duration::from_millis(30),
            ..Self::default()
        }
    }

    /// Draws a profile.
    pub fn draw(rng: &mut StdRng) -> Self {
        let pick = |rng: &mut StdRng, all: &[u32]| all[rng.random_range(0..all.len())];
        let lags = [
            Duration::ZERO,
            Duration::from_millis(500),
            Duration::from_secs(3),
            LONGEST_LAG,
        ];
        Self {
            one_in: pick(rng, &[0, 3, 8, 20]),
            crashes_one_in: pick(rng, &[0, 0, 0, 15, 40]),
            lag: lags[rng.random_range(0..lags.len())],
            latency: Duration::from_millis(pick(rng, &[30, 300, 3000]).into()),
            rate: pick(rng, &[0, 0, 1, 5]),
            is_out: rng.random_ratio(1, 12),
        }
    }

    /// Draws a profile in which no call fails, and reads are late.
    pub fn calm(rng: &mut StdRng) -> Self {
        Self {
            lag: Duration::from_millis(rng.random_range(0..9000)),
            latency: Duration::from_millis(300),
            ..Self::default()
        }
    }

    /// Draws the fault of one call.
    pub fn fault(&self, rng: &mut StdRng) -> Option<Fault> {
        if self.is_out {
            return Some(Fault::Refused("ServiceFailure"));
        }
        if self.crashes_one_in > 0 && rng.random_ratio(1, self.crashes_one_in) {
            return Some(if rng.random() {
                Fault::CrashBefore
            } else {
                Fault::CrashAfter
            });
        }
        if self.one_in == 0 || !rng.random_ratio(1, self.one_in) {
            return None;
        }
        // Errors that AWS answers only for a reason (a quota, a missing entity) come from the model itself.
        let random = [
            Fault::Refused("ServiceFailure"),
            Fault::Refused("Throttling"),
            Fault::Refused("ConcurrentModification"),
            Fault::Refused("AccessDenied"),
            Fault::Refused("ExpiredToken"),
            Fault::AppliedThenError("ServiceFailure"),
            Fault::RequestLost,
            Fault::AnswerLost,
            Fault::Hangs,
            Fault::HangsApplied,
        ];
        Some(random[rng.random_range(0..random.len())])
    }
}
