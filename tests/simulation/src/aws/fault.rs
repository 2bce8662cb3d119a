//! What can go wrong with one call.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// AWS answers with this code and does nothing.
    Refused(&'static str),
    /// AWS does it and answers with this code.
    DoneAndRefused(&'static str),
    /// The connection breaks before AWS has the request.
    LostRequest,
    /// The connection breaks after AWS has done it.
    LostAnswer,
    /// No answer comes, and AWS does nothing.
    Hangs,
    /// No answer comes, and AWS has done it.
    HangsDone,
    /// The controller is killed before it sends the request.
    KilledBefore,
    /// The controller is killed after it has sent the request.
    KilledAfter,
}

/// The faults of every call, for a table over all of them.
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
    Fault::DoneAndRefused("ServiceFailure"),
    Fault::LostRequest,
    Fault::LostAnswer,
    Fault::Hangs,
    Fault::HangsDone,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

/// How calls go for some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// One call in so many fails. 0: none.
    pub one_in: u32,
    /// One call in so many kills the controller. 0: none.
    pub kills_one_in: u32,
    /// Reads trail writes by up to so much.
    pub lag: Duration,
    /// Calls are slow by up to so much.
    pub latency: Duration,
    /// AWS takes so many calls a second in an account. 0: any number.
    pub rate: u32,
    /// AWS answers every call with a failure.
    pub is_out: bool,
}

impl Weather {
    /// Draws a weather.
    pub fn draw(rng: &mut StdRng) -> Self {
        let pick = |rng: &mut StdRng, all: &[u32]| all[rng.random_range(0..all.len())];
        Self {
            one_in: pick(rng, &[0, 3, 8, 20]),
            kills_one_in: pick(rng, &[0, 0, 0, 15, 40]),
            lag: Duration::from_millis(pick(rng, &[0, 500, 3000, 9000]).into()),
            latency: Duration::from_millis(pick(rng, &[30, 300, 3000]).into()),
            rate: pick(rng, &[0, 0, 1, 5]),
            is_out: rng.random_ratio(1, 12),
        }
    }

    /// Draws a weather in which no call fails, and reads are late.
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
        if self.kills_one_in > 0 && rng.random_ratio(1, self.kills_one_in) {
            return Some(if rng.random() {
                Fault::KilledBefore
            } else {
                Fault::KilledAfter
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
            Fault::DoneAndRefused("ServiceFailure"),
            Fault::LostRequest,
            Fault::LostAnswer,
            Fault::Hangs,
            Fault::HangsDone,
        ];
        Some(random[rng.random_range(0..random.len())])
    }
}
