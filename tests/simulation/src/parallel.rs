//! Runs many checks on all cores.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Checks the numbers from 0 on, on all cores, until `most` checks have found something. Returns what they found, by number, and how
/// many numbers were checked.
pub fn check_all<T: Send>(
    count: u64,
    most: usize,
    check: impl Fn(u64) -> Option<T> + Sync,
) -> (BTreeMap<u64, T>, u64) {
    let (next, found) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let found_so_far = || found.lock().map_or(0, |found| found.len());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while found_so_far() < most {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    if let (Some(it), Ok(mut found)) = (check(n), found.lock()) {
                        found.insert(n, it);
                    }
                }
            });
        }
    });
    let checked = next.load(Ordering::Relaxed).min(count);
    (found.into_inner().unwrap_or_default(), checked)
}
