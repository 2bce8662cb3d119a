//! A token bucket: how fast we may call.
//!
//! AWS's own buckets are unpublished, so ours adapts: Throttling halves the rate, success restores it slowly.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A token bucket shared by all calls of one account. First come, first served.
#[derive(Debug)]
pub struct Bucket(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Calls per second that the user allows.
    ceiling: f64,
    /// Calls per second at present.
    rate: f64,
    burst: f64,
    tokens: f64,
    refilled: Instant,
}

/// What one success gives back of the rate, in calls per second.
const RECOVERY: f64 = 0.05;
/// The rate never falls below this share of the ceiling.
const FLOOR: f64 = 0.05;

impl Bucket {
    /// A full bucket.
    pub fn new(requests_per_second: u32, burst: u32) -> Self {
        let (rate, burst) = (f64::from(requests_per_second), f64::from(burst));
        Self(Mutex::new(State {
            ceiling: rate,
            rate,
            burst,
            tokens: burst,
            refilled: Instant::now(),
        }))
    }

    /// Waits for a turn. Turns are handed out at once and in order, so that waiters do not race.
    pub async fn turn(&self) {
        let wait = self.0.lock().take(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// AWS throttled us: half the rate, and nothing left of the burst.
    pub fn throttled(&self) {
        let mut state = self.0.lock();
        state.rate = (state.rate / 2.0).max(state.ceiling * FLOOR);
        state.tokens = state.tokens.min(0.0);
    }

    /// A call went through: a little faster again.
    pub fn succeeded(&self) {
        let mut state = self.0.lock();
        if state.rate < state.ceiling {
            state.rate = (state.rate + RECOVERY * state.rate).min(state.ceiling);
        }
    }

    /// Calls per second at present.
    pub fn rate(&self) -> f64 {
        self.0.lock().rate
    }
}

impl State {
    /// Takes a turn at `now`: how long to wait for it.
    fn take(&mut self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = elapsed.mul_add(self.rate, self.tokens).min(self.burst) - 1.0;
        if self.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.tokens / self.rate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_is_free_and_the_rest_comes_at_the_rate() {
        let bucket = Bucket::new(10, 5);
        let now = Instant::now();
        let waits: Vec<u128> = (0..8).map(|_| bucket.0.lock().take(now).as_millis()).collect();
        assert_eq!(waits.iter().filter(|w| **w == 0).count(), 5);
        assert!(
            waits.windows(2).all(|w| w[0] <= w[1]),
            "first come, first served: {waits:?}"
        );
        assert!(waits.last().is_some_and(|w| (299..=300).contains(w)), "{waits:?}");
        let later = bucket.0.lock().take(now + Duration::from_mins(1));
        assert!(later.is_zero(), "a pause fills the bucket again");
    }

    #[test]
    fn throttling_halves_the_rate_and_success_restores_it() {
        let bucket = Bucket::new(10, 5);
        bucket.throttled();
        assert!((bucket.rate() - 5.0).abs() < 1e-9);
        for _ in 0..100 {
            bucket.throttled();
        }
        assert!(bucket.rate() >= 0.5, "never to a stop");
        for _ in 0..100 {
            bucket.succeeded();
        }
        assert!((bucket.rate() - 10.0).abs() < 1e-9);
    }
}
