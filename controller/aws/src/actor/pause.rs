//! How long to wait before something is tried again.

use std::time::Duration;

/// The pause after so many failures in a row: doubled from the first one up to the longest. `spread` is between -1 and 1 and
/// moves it by up to a quarter, so that many that failed together do not come back together.
pub fn backoff(failures: u32, (first, longest): (Duration, Duration), spread: f64) -> Duration {
    let doubled = first
        .saturating_mul(2_u32.saturating_pow(failures.min(10).saturating_sub(1)))
        .min(longest);
    doubled.mul_f64(0.25_f64.mul_add(spread.clamp(-1.0, 1.0), 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_the_longest_and_is_spread_by_a_quarter() {
        let bounds = (Duration::from_secs(1), Duration::from_mins(1));
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (u32::MAX, 60.0)] {
            let exact = backoff(failures, bounds, 0.0).as_secs_f64();
            assert!((exact - seconds).abs() < 1e-9, "{failures}: {exact}");
            let (least, most) = (backoff(failures, bounds, -1.0), backoff(failures, bounds, 1.0));
            assert_eq!(least, Duration::from_secs_f64(seconds).mul_f64(0.75));
            assert_eq!(most, Duration::from_secs_f64(seconds).mul_f64(1.25));
        }
    }
}
