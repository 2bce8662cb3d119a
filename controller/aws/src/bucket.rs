//! A token bucket: how fast an account may be called, and who is next.
//!
//! The buckets of AWS are unpublished, so this one adapts: throttling halves the rate, success restores it slowly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A token bucket that all calls of one account share. The next token goes to the most urgent caller, and among equals to the one
/// that has waited longest.
#[derive(Debug)]
pub struct Bucket(Mutex<State>);

/// How urgent a call is, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A change that only takes access away.
    Narrowing,
    /// Any other change.
    Change,
    /// A sweep. After [`SWEEP_PATIENCE`] it counts as a change.
    Sweep,
}

/// The place of a caller in the queue.
type Place = (Priority, u64);

#[derive(Debug)]
struct State {
    /// Calls per second that the user allows.
    ceiling: f64,
    /// Calls per second at present.
    rate: f64,
    burst: f64,
    tokens: f64,
    refilled: Instant,
    halved: Option<Instant>,
    /// Callers that wait for a token. The first is notified when it becomes the first.
    queue: BTreeMap<Place, Arc<Notify>>,
    /// Places given out.
    places: u64,
}

/// What one success restores of the rate, as a share of the ceiling.
const RECOVERY: f64 = 0.01;
/// The rate never falls below this share of the ceiling.
const FLOOR: f64 = 0.05;
/// How long a sweep lets changes go first. Drift is found under any load.
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
            queue: BTreeMap::new(),
            places: 0,
        }))
    }

    /// Waits for a token and takes it. A caller that is dropped while it waits leaves the queue.
    pub async fn turn(&self, priority: Priority) {
        let began = Instant::now();
        let mut waiter = Waiter::enter(self, priority);
        loop {
            let step = self.0.lock().step(waiter.place, Instant::now());
            let wait = match step {
                Step::Taken => return,
                Step::First(wait) => Some(wait),
                Step::Behind => None,
            };
            let patience =
                (waiter.place.0 == Priority::Sweep).then(|| SWEEP_PATIENCE.saturating_sub(began.elapsed()));
            let limit = wait.into_iter().chain(patience).min();
            let notified = waiter.notify.notified();
            match limit {
                None => notified.await,
                // A timeout is the token, or the end of a sweep's patience.
                Some(limit) => drop(tokio::time::timeout(limit, notified).await),
            }
            if waiter.place.0 == Priority::Sweep && began.elapsed() >= SWEEP_PATIENCE {
                waiter.promote();
            }
        }
    }

    /// Takes a token that nobody gets.
    #[cfg(test)]
    pub fn waste(&self) {
        self.0.lock().tokens -= 1.0;
    }

    /// AWS throttled a call that began at `began`: halves the rate and empties the bucket. Calls that were under way together are
    /// one overload, and halve the rate once.
    pub fn throttled(&self, began: Instant) {
        let mut state = self.0.lock();
        if state.halved.is_some_and(|halved| began <= halved) {
            return;
        }
        state.halved = Some(Instant::now());
        state.rate = (state.rate / 2.0).max(state.ceiling * FLOOR);
        state.tokens = state.tokens.min(0.0);
    }

    /// A call succeeded: the rate rises a little.
    pub fn succeeded(&self) {
        let mut state = self.0.lock();
        if state.rate < state.ceiling {
            state.rate = (state.rate + RECOVERY * state.ceiling).min(state.ceiling);
        }
    }

    /// Calls per second at present, and the number of calls that could be made at once; below zero, as many calls wait.
    pub fn level(&self) -> (f64, f64) {
        let mut state = self.0.lock();
        state.refill(Instant::now());
        let waiting = u32::try_from(state.queue.len()).unwrap_or(u32::MAX);
        (state.rate, state.tokens - f64::from(waiting))
    }
}

/// A caller in the queue, until it has its token or is dropped.
struct Waiter<'a> {
    bucket: &'a Bucket,
    place: Place,
    notify: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn enter(bucket: &'a Bucket, priority: Priority) -> Self {
        let notify = Arc::<Notify>::default();
        let mut state = bucket.0.lock();
        state.places += 1;
        let place = (priority, state.places);
        state.queue.insert(place, notify.clone());
        drop(state);
        Self {
            bucket,
            place,
            notify,
        }
    }

    /// A sweep has waited long enough: from now on it is a change, and as old as it is.
    fn promote(&mut self) {
        let mut state = self.bucket.0.lock();
        state.leave(self.place);
        self.place.0 = Priority::Change;
        state.queue.insert(self.place, self.notify.clone());
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.bucket.0.lock().leave(self.place);
    }
}

/// What a caller finds when it looks at the queue.
#[derive(Debug, PartialEq)]
enum Step {
    /// It has a token and is out of the queue.
    Taken,
    /// It is the next one, and the token comes after this time.
    First(Duration),
    /// Others go first.
    Behind,
}

impl State {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = elapsed.mul_add(self.rate, self.tokens).min(self.burst);
    }

    fn step(&mut self, place: Place, now: Instant) -> Step {
        self.refill(now);
        if self
            .queue
            .first_key_value()
            .is_none_or(|(first, _)| *first != place)
        {
            return Step::Behind;
        }
        let missing = 1.0 - self.tokens;
        if missing > 0.0 {
            // At least a millisecond: a sleep that rounds to nothing would spin.
            let wait = Duration::from_secs_f64(missing / self.rate);
            return Step::First(wait.max(Duration::from_millis(1)));
        }
        self.tokens -= 1.0;
        self.leave(place);
        Step::Taken
    }

    /// Takes a place out of the queue and notifies the next one.
    fn leave(&mut self, place: Place) {
        let was_queued = self.queue.remove(&place).is_some();
        if let Some((_, next)) = self.queue.first_key_value()
            && was_queued
        {
            next.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn rate(bucket: &Bucket) -> f64 {
        bucket.level().0
    }

    #[tokio::test(start_paused = true)]
    async fn the_burst_is_free_and_the_rest_comes_at_the_rate() {
        let bucket = Bucket::new(10, 5);
        let began = Instant::now();
        let mut waits = vec![];
        for _ in 0..8 {
            bucket.turn(Priority::Change).await;
            waits.push(began.elapsed().as_millis());
        }
        assert_eq!(waits.iter().filter(|wait| **wait == 0).count(), 5, "{waits:?}");
        assert!(
            waits.last().is_some_and(|wait| (299..=305).contains(wait)),
            "{waits:?}"
        );
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(
            (bucket.level().1 - 5.0).abs() < 1e-9,
            "a pause fills the bucket again"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_dropped_leaves_the_queue() {
        let bucket = Bucket::new(1, 1);
        bucket.turn(Priority::Change).await;
        for _ in 0..100 {
            let dropped = tokio::time::timeout(Duration::from_millis(1), bucket.turn(Priority::Change));
            assert!(dropped.await.is_err());
        }
        let level = bucket.level().1;
        assert!((0.0..=1.0).contains(&level), "100 dropped calls leave {level}");
    }

    /// Calls queue up while no token is left. Returns them in the order in which they had their tokens.
    async fn order(calls: &[(&'static str, Priority)], rate: u32) -> Vec<&'static str> {
        let bucket = Arc::new(Bucket::new(rate, 1));
        bucket.turn(Priority::Change).await;
        let done = Arc::<Mutex<Vec<&str>>>::default();
        let mut tasks = vec![];
        for (name, priority) in calls {
            let (name, priority, bucket, done) = (*name, *priority, bucket.clone(), done.clone());
            tasks.push(tokio::spawn(async move {
                bucket.turn(priority).await;
                done.lock().push(name);
            }));
            tokio::task::yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut done.lock())
    }

    #[tokio::test(start_paused = true)]
    async fn a_narrowing_change_goes_first_then_changes_in_their_order_then_sweeps() {
        let calls = [
            ("sweep", Priority::Sweep),
            ("one", Priority::Change),
            ("two", Priority::Change),
            ("narrowing", Priority::Narrowing),
        ];
        assert_eq!(order(&calls, 10).await, ["narrowing", "one", "two", "sweep"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_that_has_waited_long_enough_goes_before_younger_changes() {
        let mut calls = vec![("sweep", Priority::Sweep)];
        calls.extend([("change", Priority::Change); 10]);
        let order = order(&calls, 1).await;
        let place = order.iter().position(|name| *name == "sweep").unwrap();
        assert!((4..=6).contains(&place), "{order:?}");
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
