//! A token bucket: how fast we may call.
//!
//! AWS's own buckets are unpublished, so ours adapts: Throttling halves the rate, success restores it slowly.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A token bucket shared by all calls of one account. First come, first served; what a user waits for goes ahead of
/// sweeps.
#[derive(Debug)]
pub struct Bucket(Mutex<State>);

/// Who waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody who changed an object.
    Change,
    /// A sweep: it takes what changes leave, though not for ever.
    Sweep,
}

#[derive(Debug)]
struct State {
    /// Calls per second that the user allows.
    ceiling: f64,
    /// Calls per second at present.
    rate: f64,
    burst: f64,
    /// Below zero: so many calls have their turns given out already.
    tokens: f64,
    refilled: Instant,
    halved: Option<Instant>,
}

/// What one success gives back of the rate, as a share of the ceiling.
const RECOVERY: f64 = 0.01;
/// The rate never falls below this share of the ceiling.
const FLOOR: f64 = 0.05;
/// How long a sweep gives way. Then it queues up like everybody else, so that drift is found under any load.
const SWEEP_PATIENCE: Duration = Duration::from_secs(5);

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
            halved: None,
        }))
    }

    /// Waits for a turn. Turns are handed out at once and in order, so that waiters do not race.
    pub async fn turn(&self, priority: Priority) {
        let began = Instant::now();
        while priority == Priority::Sweep && began.elapsed() < SWEEP_PATIENCE {
            let Some(wait) = self.0.lock().until_free(Instant::now()) else {
                break;
            };
            tokio::time::sleep(wait.min(SWEEP_PATIENCE)).await;
        }
        let wait = self.0.lock().take(Instant::now());
        if !wait.is_zero() {
            let unused = Unused(self);
            tokio::time::sleep(wait).await;
            std::mem::forget(unused);
        }
    }

    /// Gives a turn to nobody.
    #[cfg(test)]
    pub fn turn_given_out(&self) {
        self.0.lock().take(Instant::now());
    }

    /// AWS throttled a call that began then: half the rate, and nothing left of the burst. Calls that were on their way
    /// together are one overload, and halve the rate once.
    pub fn throttled(&self, began: Instant) {
        let mut state = self.0.lock();
        if state.halved.is_some_and(|halved| began <= halved) {
            return;
        }
        state.halved = Some(Instant::now());
        state.rate = (state.rate / 2.0).max(state.ceiling * FLOOR);
        state.tokens = state.tokens.min(0.0);
    }

    /// A call went through: a little faster again.
    pub fn succeeded(&self) {
        let mut state = self.0.lock();
        if state.rate < state.ceiling {
            state.rate = (state.rate + RECOVERY * state.ceiling).min(state.ceiling);
        }
    }

    /// Calls per second at present, and how many could be made at once. Fewer than none: so many wait.
    pub fn level(&self) -> (f64, f64) {
        let mut state = self.0.lock();
        state.refill(Instant::now());
        (state.rate, state.tokens)
    }
}

/// A turn that was given out and not used yet. Dropped, as when the call may not be made any more, it is given back: else those
/// who come later would wait behind calls that nobody makes.
struct Unused<'a>(&'a Bucket);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.tokens = (state.tokens + 1.0).min(state.burst);
    }
}

impl State {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = elapsed.mul_add(self.rate, self.tokens).min(self.burst);
    }

    /// Takes a turn at `now`: how long to wait for it.
    fn take(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.tokens / self.rate)
        }
    }

    /// How long until a turn is free that nobody waits for, if none is.
    fn until_free(&mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        let missing = 1.0 - self.tokens;
        // At least a millisecond: a sleep that rounds to nothing would spin.
        (missing > 0.0).then(|| Duration::from_secs_f64(missing / self.rate).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bucket: &Bucket) -> f64 {
        bucket.level().0
    }

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

    #[tokio::test]
    async fn a_turn_that_nobody_takes_is_given_back() {
        let bucket = Bucket::new(1, 1);
        bucket.turn(Priority::Change).await;
        for _ in 0..100 {
            let dropped = tokio::time::timeout(Duration::from_millis(1), bucket.turn(Priority::Change));
            assert!(dropped.await.is_err());
        }
        let level = bucket.level().1;
        assert!((-1.0..=1.0).contains(&level), "100 dropped calls leave {level}");
    }

    #[test]
    fn a_sweep_waits_until_every_change_has_had_its_turn() {
        let bucket = Bucket::new(10, 1);
        let now = Instant::now();
        let mut state = bucket.0.lock();
        assert_eq!(state.until_free(now), None, "nobody waits");
        for _ in 0..4 {
            state.take(now);
        }
        let wait = state.until_free(now).map(|wait| wait.as_millis());
        assert!(wait.is_some_and(|wait| (399..=400).contains(&wait)), "{wait:?}");
        state.take(now + Duration::from_millis(100));
        assert!(
            state.until_free(now + Duration::from_millis(401)).is_some(),
            "another change came first"
        );
        assert_eq!(state.until_free(now + Duration::from_millis(501)), None);
    }

    #[test]
    fn throttling_halves_the_rate_once_for_calls_under_way_together_and_success_restores_it_slowly() {
        let bucket = Bucket::new(10, 5);
        let began = Instant::now();
        for _ in 0..64 {
            bucket.throttled(began);
        }
        assert!((rate(&bucket) - 5.0).abs() < 1e-9);
        for _ in 0..100 {
            bucket.throttled(Instant::now() + Duration::from_secs(1));
        }
        assert!((0.5..5.0).contains(&rate(&bucket)), "never to a stop");
        let before = rate(&bucket);
        bucket.succeeded();
        assert!((rate(&bucket) - before - 0.1).abs() < 1e-9);
        for _ in 0..100 {
            bucket.succeeded();
        }
        assert!((rate(&bucket) - 10.0).abs() < 1e-9);
    }
}
