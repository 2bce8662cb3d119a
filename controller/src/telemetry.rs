//! Logs of the controller.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Sends logs to standard error.
///
/// The AWS SDK and the HTTP stack stay at `warn` unless the filter names them: at `trace` they log requests,
/// and no request of ours belongs in a log. kube's client quotes bodies that it cannot parse even in warnings.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(filter: &str, format: LogFormat) -> Result<(), tracing_subscriber::filter::ParseError> {
    let quiet = "aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,aws_sdk_iam=warn,aws_sdk_sts=warn,aws_config=warn,aws_runtime=warn,aws_smithy_http_client=warn,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,tower=warn,kube_client=error";
    let filter = EnvFilter::try_new(format!("{quiet},{filter}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
