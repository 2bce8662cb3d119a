//! Monotonic time.

use std::time::Instant;

/// The time now. It is the runtime's, so that a test can pause it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
