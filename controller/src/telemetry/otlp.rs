//! Spans for a collector, as the feature `otlp` has them.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use rolectl_aws::spans;

/// How long a batch of spans may take to be sent. A batch that takes longer is dropped.
const SENDING: Duration = Duration::from_secs(10);

/// Traces that are collected and not sent yet.
#[derive(Debug, Default)]
#[must_use = "spans that are not flushed are lost"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Traces for the collector at this endpoint.
    pub(super) fn to(endpoint: &str, instance: &str) -> Result<Self, Box<dyn Error>> {
        Ok(Self(Some(provider(endpoint, instance)?)))
    }

    /// What collects the spans.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let provider = self.0.as_ref()?;
        let collected = filter_fn(|meta| meta.target() == spans::TARGET);
        Some(
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("rolectl"))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(collected.with_max_level_hint(LevelFilter::INFO)),
        )
    }

    /// Sends what is left.
    pub async fn flush(self) {
        if let Some(provider) = self.0 {
            // It waits for its own thread.
            let ended =
                tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_secs(2)));
            if let Ok(Err(error)) = ended.await {
                tracing::debug!(%error, "some spans were not sent");
            }
        }
    }
}

/// Spans go out as [OTLP over HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp), in protobuf. Names and sampling
/// can be set by the usual `OTEL_` variables.
fn provider(endpoint: &str, instance: &str) -> Result<SdkTracerProvider, Box<dyn Error>> {
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Sender {
        runtime: Handle::current(),
        client: HyperClient::new(connector, SENDING, None),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(endpoint)
        .with_timeout(SENDING)
        .build()?;
    let mut resource = Resource::builder();
    // As everywhere, the environment has the last word. The SDK reads it, and it would be overwritten here.
    #[allow(clippy::disallowed_methods)]
    let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let named = attributes
        .split(',')
        .any(|pair| pair.trim_start().starts_with("service.name="));
    #[allow(clippy::disallowed_methods)]
    if !named && std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("rolectl-controller");
    }
    let resource = resource
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ])
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Batches are sent by a thread of their own, which knows no runtime; the HTTP client needs one.
#[derive(Debug)]
struct Sender {
    runtime: Handle,
    client: HyperClient<HttpsConnector<HttpConnector>>,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime
            .spawn(async move { client.send_bytes(request).await })
            .await?
    }
}
