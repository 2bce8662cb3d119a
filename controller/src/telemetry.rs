//! Logs of the controller, and its traces where a collector is named.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
mod without_otlp;

use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::args::LogFormat;
#[cfg(feature = "otlp")]
pub use otlp::Traces;
use rolectl_aws::spans;
#[cfg(not(feature = "otlp"))]
pub use without_otlp::Traces;

/// Sends logs to standard error, and spans to the collector at `traces_endpoint` if there is one.
///
/// The AWS SDK and the HTTP stack stay at `warn` unless the filter names them: at `trace` they log requests,
/// and no request of ours belongs in a log. The spans of kube's runtime would name each object twice. kube's client quotes bodies that it cannot parse even in warnings.
///
/// # Errors
/// When the filter or the endpoint cannot be read, or this build cannot send spans.
pub fn init(
    filter: &str,
    format: LogFormat,
    traces_endpoint: Option<&str>,
    instance: &str,
) -> Result<Traces, Box<dyn std::error::Error>> {
    let quiet = "aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,aws_sdk_iam=warn,aws_sdk_sts=warn,aws_config=warn,aws_runtime=warn,aws_smithy_http_client=warn,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,tower=warn,kube_runtime=warn,kube_client=error";
    let filter = EnvFilter::try_new(format!("{quiet},{filter}"))?;
    // Without a hint the filter would have every library's finest events made, to throw them away.
    let no_span = filter_fn(|meta| meta.target() != spans::TARGET).with_max_level_hint(LevelFilter::TRACE);
    let logged = filter.and(no_span);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(false).with_filter(logged).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(logged).boxed(),
    };
    let traces = traces_endpoint.map_or_else(
        || Ok(Traces::default()),
        |endpoint| Traces::to(endpoint, instance),
    );
    let collected = traces.as_ref().ok().and_then(Traces::layer);
    tracing_subscriber::registry().with(lines).with(collected).init();
    // An error can be logged from here on.
    traces
}
