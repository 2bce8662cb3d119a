//! Time and chance: what a run depends on apart from its input. A simulation replaces both.
//!
//! Monotonic time is the runtime's, so that a test can pause it. The time of day, which decides when a session ends, comes from a
//! [`Clock`].

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// The monotonic time now.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time of day.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The clock of this host.
    #[default]
    Host,
    /// A clock that advances with the runtime's monotonic time, and stands still when that is paused.
    Runtime {
        /// A point of the monotonic time.
        began: Instant,
        /// The time of day at that point.
        start: Timestamp,
    },
}

impl Clock {
    /// The time of day now.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Host => Timestamp::now(),
            Self::Runtime { began, start } => {
                let passed = now().saturating_duration_since(*began);
                start.saturating_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}

/// Random numbers that spread waits, so that many accounts and roles do not call AWS at the same moment.
#[derive(Clone, Debug, Default)]
pub struct Jitter(Option<Arc<Mutex<StdRng>>>);

impl Jitter {
    /// Numbers that depend on the seed only.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// The next number, at least -1 and less than 1.
    pub fn draw(&self) -> f64 {
        let range = -1.0..1.0;
        self.0.as_ref().map_or_else(
            || rand::random_range(range.clone()),
            |seeded| seeded.lock().random_range(range.clone()),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_runtimes_clock_advances_with_paused_time() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::Runtime { began: now(), start };
        assert_eq!(clock.now(), start);
        tokio::time::advance(Duration::from_hours(12)).await;
        assert_eq!(clock.now(), "2026-01-01T12:00:00Z".parse().unwrap());
    }

    #[test]
    fn jitter_of_the_same_seed_is_the_same_and_within_its_bounds() {
        let draws = |seed| {
            let jitter = Jitter::seeded(seed);
            (0..100).map(|_| jitter.draw()).collect::<Vec<f64>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        let all = draws(1)
            .into_iter()
            .chain(std::iter::repeat_with(|| Jitter::default().draw()).take(100));
        assert!(all.into_iter().all(|draw| (-1.0..1.0).contains(&draw)));
    }
}
