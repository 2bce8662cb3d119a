//! Reports slow requests to the cluster and to AWS, and sets how long a request may take.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use futures::future::BoxFuture;
use rolectl_aws::sdk::base_config_of;
use tower::{Layer, Service};

use crate::stdio::eprintln;

/// Requests that take longer than this are reported.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a request may take, unless the user gives another time.
const DEFAULT: Duration = Duration::from_secs(10);

static REQUEST_TIMEOUT: OnceLock<Duration> = OnceLock::new();

/// Sets how long a request may take. The first call counts.
pub fn set_request_timeout(timeout: Duration) {
    let _ = REQUEST_TIMEOUT.set(timeout);
}

/// How long a request may take.
pub fn request_timeout() -> Duration {
    REQUEST_TIMEOUT.get().copied().unwrap_or(DEFAULT)
}

/// Awaits a request, and prints a line if it takes long. The line is printed once for each server.
async fn tell<T>(server: &str, request: impl Future<Output = T>) -> T {
    static TOLD: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut request = std::pin::pin!(request);
    if let Ok(answer) = tokio::time::timeout(SILENCE, &mut request).await {
        return answer;
    }
    let is_new = TOLD
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(server.to_owned());
    if is_new {
        eprintln!(
            "Waiting for {server} ({} s at most) ...",
            request_timeout().as_secs()
        );
    }
    request.await
}

/// Reports slow requests to the cluster.
#[derive(Clone, Debug)]
pub struct TellOfCluster(pub String);

impl<S> Layer<S> for TellOfCluster {
    type Service = Told<S>;

    fn layer(&self, inner: S) -> Told<S> {
        Told {
            inner,
            server: format!("the cluster at {}", self.0),
        }
    }
}

/// A client of the cluster that reports slow requests.
#[derive(Clone, Debug)]
pub struct Told<S> {
    inner: S,
    server: String,
}

impl<S, R> Service<R> for Told<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (server, answer) = (self.server.clone(), self.inner.call(request));
        Box::pin(async move { tell(&server, answer).await })
    }
}

/// Returns the shared configuration of AWS clients, which report slow requests.
pub async fn aws_config_of(profile: Option<&str>) -> SdkConfig {
    let config = base_config_of(profile).await;
    let timeouts = TimeoutConfig::builder().operation_timeout(request_timeout());
    let timeouts = match config.timeout_config().and_then(TimeoutConfig::connect_timeout) {
        Some(connect) => timeouts.connect_timeout(connect),
        None => timeouts,
    };
    let client = config.http_client();
    let builder = config.into_builder().timeout_config(timeouts.build());
    match client {
        Some(client) => builder
            .http_client(SharedHttpClient::new(TellOfAws(client)))
            .build(),
        None => builder.build(),
    }
}

/// Reports slow requests to AWS.
#[derive(Debug)]
struct TellOfAws(SharedHttpClient);

impl HttpClient for TellOfAws {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(ToldConnector(self.0.http_connector(settings, components)))
    }
}

#[derive(Debug)]
struct ToldConnector(SharedHttpConnector);

impl HttpConnector for ToldConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let host = request.uri().parse::<http::Uri>().ok();
        let host = host.and_then(|uri| Some(uri.host()?.to_owned()));
        let server = format!("AWS ({})", host.as_deref().unwrap_or("unknown host"));
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { tell(&server, answer).await })
    }
}
