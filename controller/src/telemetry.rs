//! Logs of the controller, and its traces where a collector is named.

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
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::args::LogFormat;
use rolectl_aws::spans;

/// How long a batch of spans may take to be sent. Longer, and it is lost.
const SENDING: Duration = Duration::from_secs(10);

/// Traces that are collected and not sent yet.
#[derive(Debug)]
#[must_use = "spans that are not flushed are lost"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
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

/// Sends logs to standard error, and spans to the collector at `traces_endpoint` if there is one.
///
/// The AWS SDK and the HTTP stack stay at `warn` unless the filter names them: at `trace` they log requests,
/// and no request of ours belongs in a log. kube's client quotes bodies that it cannot parse even in warnings.
///
/// # Errors
/// When the filter or the endpoint cannot be read.
pub fn init(
    filter: &str,
    format: LogFormat,
    traces_endpoint: Option<&str>,
    instance: &str,
) -> Result<Traces, Box<dyn std::error::Error>> {
    let quiet = "aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,aws_sdk_iam=warn,aws_sdk_sts=warn,aws_config=warn,aws_runtime=warn,aws_smithy_http_client=warn,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,tower=warn,kube_client=error";
    let filter = EnvFilter::try_new(format!("{quiet},{filter}"))?;
    // Without a hint the filter would have every library's finest events made, to throw them away.
    let no_span = filter_fn(|meta| meta.target() != spans::TARGET).with_max_level_hint(LevelFilter::TRACE);
    let logged = filter.and(no_span);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(false).with_filter(logged).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(logged).boxed(),
    };
    let provider = traces_endpoint
        .map(|endpoint| provider(endpoint, instance))
        .transpose();
    let exported = provider.as_ref().ok().and_then(Option::as_ref).map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("rolectl"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(
                filter_fn(|meta| meta.target() == spans::TARGET).with_max_level_hint(LevelFilter::INFO),
            )
    });
    tracing_subscriber::registry().with(lines).with(exported).init();
    // Only now can it be told.
    provider.map(Traces)
}

/// Spans go out as [OTLP over HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp), in protobuf. Names and sampling
/// can be set by the usual `OTEL_` variables.
fn provider(endpoint: &str, instance: &str) -> Result<SdkTracerProvider, Box<dyn std::error::Error>> {
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
