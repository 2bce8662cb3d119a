//! `/livez` and `/readyz`, for the kubelet, and `/metrics`, for Prometheus.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Whether the controller can do its work: once it knows all objects of each kind.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(vec!["AwsAccount", "IamRole", "MfaSession"])))
    }
}

impl Readiness {
    /// All objects of the kind are known.
    pub fn filled(&self, kind: &str) {
        self.0.lock().retain(|waits| *waits != kind);
    }

    fn answer(&self) -> (StatusCode, String) {
        let waits = self.0.lock().join(", ");
        if waits.is_empty() {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("waiting for the API server's list of {waits}: see the log if this lasts\n"),
            )
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
        .route("/readyz", get(async move || readiness.answer()))
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
        let (status, text) = readiness.answer();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.contains("AwsAccount, MfaSession") && !text.contains("IamRole"),
            "{text}"
        );
        readiness.filled("MfaSession");
        readiness.filled("AwsAccount");
        assert_eq!(readiness.answer().0, StatusCode::OK);
    }
}
