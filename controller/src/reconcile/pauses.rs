//! How long the controller waits before it looks again.

use std::time::Duration;

use rolectl_aws::actor::pause;

/// The pause after so many failures in a row: doubled from the first one up to the longest, and spread by a quarter.
pub fn backoff(failures: u32, bounds: (Duration, Duration)) -> Duration {
    pause::backoff(failures, bounds, rand::random_range(-1.0..1.0))
}

/// A pause, spread by a tenth, so that many that begin together do not end together.
pub fn spread(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.9..1.1))
}
