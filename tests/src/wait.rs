//! Waiting for conditions.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// Longest wait for anything that a test expects. Generous: CI has two cores for everything.
pub const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);

/// Asks until the answer is `Ok`, and fails with the last other answer after [`PATIENCE`].
pub async fn until<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    ask: impl FnMut() -> F,
) -> Result<T> {
    until_within(PATIENCE, what, ask).await
}

/// The same, with a patience of its own.
pub async fn until_within<T, E: Debug, F: Future<Output = Result<T, E>>>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(last) if start.elapsed() > patience => {
                bail!("waited {patience:?} for: {what}. Last: {last:?}")
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Shows that something stays so for a while.
pub async fn holds_for<E: Debug, F: Future<Output = Result<(), E>>>(
    what: &str,
    time: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(broken) = ask().await {
            bail!("{what} did not hold: {broken:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
