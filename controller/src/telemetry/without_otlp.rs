//! The same as `otlp.rs` in a build without the feature `otlp`: there are no traces, and a collector is refused.

use std::error::Error;
use std::future::{Ready, ready};

use tracing_subscriber::layer::Identity;

/// No traces.
#[derive(Debug, Default)]
#[must_use = "spans that are not flushed are lost"]
pub struct Traces(());

impl Traces {
    /// Refused: an operator who names a collector must not wait for spans that never come.
    // The endpoint is not quoted: its URL may have a password.
    pub(super) fn to(_endpoint: &str, _instance: &str) -> Result<Self, Box<dyn Error>> {
        Err(
            "this rolectl-controller was built without the feature `otlp` and cannot send spans. Remove --otlp-endpoint \
             (OTEL_EXPORTER_OTLP_ENDPOINT) and --otlp-traces-endpoint (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), or use a build \
             with the feature, as the image is"
                .into(),
        )
    }

    /// Collects nothing.
    #[allow(clippy::unused_self, reason = "the same signature as with the feature")]
    pub(super) fn layer(&self) -> Option<Identity> {
        None
    }

    /// Sends nothing.
    pub fn flush(self) -> Ready<()> {
        ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_a_collector_is_refused_and_its_url_is_not_quoted() {
        let error = Traces::to("http://user:word@collector:4318/v1/traces", "replica").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("--otlp-endpoint") && text.contains("without the feature `otlp`"),
            "{text}"
        );
        assert!(!text.contains("word@"), "{text}");
    }
}
