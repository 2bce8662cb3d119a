//! `/livez` and `/readyz`, for the kubelet, and `/metrics`, for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The kinds that are watched.
pub const KINDS: [&str; 4] = ["AwsAccount", "IamRole", "MfaSession", "Namespace"];
/// How long a watch may fail before the controller is not ready any more.
const FAILS_AT_MOST: Duration = Duration::from_mins(1);
/// Most characters of an error in an answer.
const SHOWN: usize = 500;

/// Returns true if the controller can work: it has all objects of each kind, and their watches work.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<Watches>>);

#[derive(Debug)]
struct Watches {
    /// Kinds whose first list has not arrived.
    waits: Vec<&'static str>,
    /// Since when the watch of a kind fails, and why.
    failing: BTreeMap<&'static str, (Instant, String)>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Watches {
            waits: KINDS.to_vec(),
            failing: BTreeMap::new(),
        })))
    }
}

impl Readiness {
    /// All objects of the kind have been listed.
    pub fn filled(&self, kind: &str) {
        self.0.lock().waits.retain(|waits| *waits != kind);
    }

    /// The list or the watch of the kind fails.
    pub fn fails(&self, kind: &'static str, why: &str) {
        let why: String = why.chars().take(SHOWN).collect();
        let mut watches = self.0.lock();
        let since = watches
            .failing
            .get(kind)
            .map_or_else(Instant::now, |(since, _)| *since);
        watches.failing.insert(kind, (since, why));
    }

    /// The watch of the kind works.
    pub fn works(&self, kind: &'static str) {
        self.0.lock().failing.remove(kind);
    }

    /// For each kind whose watch fails, how long it has been failing.
    pub fn failing(&self) -> Vec<(&'static str, Duration)> {
        let watches = self.0.lock();
        let failing = watches.failing.iter();
        failing
            .map(|(kind, (since, _))| (*kind, since.elapsed()))
            .collect()
    }

    fn answer(&self, now: Instant) -> (StatusCode, String) {
        let watches = self.0.lock();
        let mut text = String::new();
        if !watches.waits.is_empty() {
            let waits = watches.waits.join(", ");
            let _ = writeln!(
                text,
                "waiting for the API server's list of {waits}: see the log if this lasts"
            );
        }
        for (kind, (since, why)) in &watches.failing {
            let lasts = now.saturating_duration_since(*since);
            if lasts > FAILS_AT_MOST {
                let _ = writeln!(
                    text,
                    "the watch of {kind} has been failing for {} s: {why}",
                    lasts.as_secs()
                );
            }
        }
        if text.is_empty() {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

fn metrics_answer(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => (
            [(
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness.answer(Instant::now())))
        .route("/metrics", get(async move || metrics_answer(&metrics)));
    let listener = tokio::net::TcpListener::bind(address).await?;
    tokio::spawn(async move {
        let served = axum::serve(listener, app)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::warn!(%error, "health endpoint ended");
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_once_all_kinds_are_known_and_says_before_which_are_not() {
        let readiness = Readiness::default();
        readiness.filled("IamRole");
        let (status, text) = readiness.answer(Instant::now());
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.contains("AwsAccount, MfaSession, Namespace") && !text.contains("IamRole"),
            "{text}"
        );
        readiness.filled("MfaSession");
        readiness.filled("AwsAccount");
        readiness.filled("Namespace");
        assert_eq!(readiness.answer(Instant::now()).0, StatusCode::OK);
    }

    #[test]
    fn a_watch_that_fails_for_more_than_a_minute_is_not_ready_and_says_why_until_it_works_again() {
        let readiness = Readiness::default();
        for kind in KINDS {
            readiness.filled(kind);
        }
        readiness.fails("IamRole", "forbidden: first");
        readiness.fails("IamRole", "forbidden: iamroles is closed");
        let now = Instant::now();
        assert_eq!(readiness.answer(now + Duration::from_secs(50)).0, StatusCode::OK);
        let (status, text) = readiness.answer(now + Duration::from_secs(70));
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.contains("the watch of IamRole has been failing for 7")
                && text.contains("iamroles is closed"),
            "{text}"
        );
        readiness.works("IamRole");
        assert_eq!(readiness.answer(now + Duration::from_secs(70)).0, StatusCode::OK);
        assert_eq!(readiness.failing(), []);
    }
}
