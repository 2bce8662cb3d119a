//! Compares this host's clock with that of AWS, from the `Date` header of an answer.

use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use super::check::Check;

const NAME: &str = "clock";
/// A code of an MFA device is valid for about this time.
const WARNING: SignedDuration = SignedDuration::from_secs(30);
/// AWS refuses requests that are signed at a time which differs by more.
const FAILURE: SignedDuration = SignedDuration::from_mins(5);

/// The difference of the first answer from AWS: AWS's time minus this host's.
#[derive(Clone, Debug, Default)]
pub struct Skew(Arc<OnceLock<SignedDuration>>);

impl Skew {
    /// Returns the configuration with an HTTP client that measures the skew. Answers that refuse a request are measured, too.
    pub fn measured_by(&self, base: SdkConfig) -> SdkConfig {
        let Some(client) = base.http_client() else {
            return base;
        };
        let measuring = Measuring(client, self.clone());
        base.into_builder()
            .http_client(SharedHttpClient::new(measuring))
            .build()
    }

    /// Returns the check.
    pub fn check(&self) -> Check {
        self.0
            .get()
            .map_or_else(|| Check::skipped(NAME, "AWS gave no time"), |skew| judge(*skew))
    }
}

/// Judges the difference of AWS's time and this host's.
fn judge(skew: SignedDuration) -> Check {
    let seconds = skew.unsigned_abs().as_secs();
    // AWS is ahead of a clock that is slow.
    let direction = if skew.is_negative() { "fast" } else { "slow" };
    let message = format!("this host's clock is {seconds} s {direction}");
    let next = "synchronize the clock (NTP): AWS refuses codes and requests of another time";
    if skew.abs() > FAILURE {
        Check::failed(NAME, message, next)
    } else if skew.abs() > WARNING {
        Check::warning(NAME, message, next)
    } else {
        Check::ok(NAME, format!("within {} s of AWS's", seconds.max(1)))
    }
}

/// Returns AWS's time minus this host's time `now`.
fn skew(date: &str, now: Timestamp) -> Option<SignedDuration> {
    let date = DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(date.duration_since(now))
}

#[derive(Debug)]
struct Measuring(SharedHttpClient, Skew);

impl HttpClient for Measuring {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.0.http_connector(settings, components);
        SharedHttpConnector::new(MeasuringConnector(connector, self.1.clone()))
    }
}

#[derive(Debug)]
struct MeasuringConnector(SharedHttpConnector, Skew);

impl HttpConnector for MeasuringConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, measured) = (self.0.call(request), self.1.clone());
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            let date = answer
                .as_ref()
                .ok()
                .and_then(|answer| answer.headers().get("date"));
            if let Some(skew) = date.and_then(|date| skew(date, Timestamp::now())) {
                let _ = measured.0.set(skew);
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Outcome;
    use super::*;

    #[test]
    fn a_clock_may_differ_by_30_seconds_and_not_by_5_minutes() {
        for (seconds, result) in [
            (0, Outcome::Ok),
            (-30, Outcome::Ok),
            (31, Outcome::Warning),
            (-300, Outcome::Warning),
            (301, Outcome::Failed),
            (i64::MIN, Outcome::Failed),
        ] {
            let skew = SignedDuration::from_secs(seconds.max(-9_999_999_999));
            assert_eq!(judge(skew).result, result, "{seconds}");
        }
        let fast = judge(SignedDuration::from_secs(-60));
        assert_eq!(fast.message, "this host's clock is 60 s fast");
    }

    #[test]
    fn the_date_of_an_http_answer_is_read() {
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        let of = |date| skew(date, now).map(|skew| skew.as_secs());
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(of("yesterday"), None);
    }
}
