//! Flags of `rolectl-controller`. Each has an environment twin.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// Keeps AWS IAM roles as `IamRole` objects declare them.
///
/// Reaches Kubernetes by `KUBECONFIG` or its in-cluster service account, and AWS by the sessions that
/// `rolectl unlock` stores. `AWS_ENDPOINT_URL` (and `_IAM`, `_STS`) are honoured as by every AWS SDK.
#[derive(Clone, Debug, Parser)]
#[command(name = "rolectl-controller", version)]
pub struct Args {
    /// Namespace of the controller, in which session Secrets live
    #[arg(long, env = "ROLECTL_NAMESPACE", default_value = "rolectl-system")]
    pub namespace: String,
    /// Name of this cluster in owner tags. Default: the UID of the namespace kube-system
    ///
    /// A cluster that is rebuilt from Git finds its roles again only under the same name.
    #[arg(long, env = "ROLECTL_CLUSTER_NAME", value_parser = cluster_name)]
    pub cluster_name: Option<String>,
    /// Look after the IamRoles of this namespace only
    #[arg(long, env = "ROLECTL_WATCH_NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Look after these MfaSessions, and the AwsAccounts that refer to them, only
    ///
    /// For several controllers in one cluster. Of an IamRole with accounts of two of them each looks after its own; it is deleted
    /// once both have done their part.
    #[arg(long, env = "ROLECTL_SESSIONS", value_delimiter = ',')]
    pub sessions: Vec<String>,
    /// Divide the accounts between replicas, in so many shards
    ///
    /// Each shard is a Lease in --namespace that one replica holds. With 1, the default, one replica leads and the others stand by.
    /// Another replica takes over the shard of one that is lost within 30 s. All replicas need the same number. 0 uses no Lease:
    /// only for a process that is certain to be the only one.
    #[arg(long, env = "ROLECTL_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=256))]
    pub shards: u16,
    /// What this replica is called in Leases, with a random end that makes it unique. Default: the host's name
    #[arg(long, env = "ROLECTL_REPLICA")]
    pub replica: Option<String>,
    /// Roles worked on, and AWS calls under way, at the same time, 1 to 10000
    #[arg(long, env = "ROLECTL_CONCURRENCY", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub concurrency: u16,
    /// How long a trust policy may name a principal that AWS does not know before the role stalls, as `10m`
    ///
    /// A principal that was just made can take minutes to be known everywhere.
    #[arg(long, env = "ROLECTL_PRINCIPAL_PATIENCE", default_value = "10m")]
    pub principal_patience: kube::core::Duration,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "ROLECTL_HEALTH_ADDRESS", default_value = "0.0.0.0:8080")]
    pub health_address: SocketAddr,
    /// Where spans are sent, as `http://otel-collector:4318`: one for each reconcile and AWS call. Default: nowhere
    ///
    /// OTLP over HTTP. The usual OTEL_ variables for names and sampling are honoured.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// The same for spans only and in full, as `http://otel-collector:4318/v1/traces`. Goes before the other
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    pub otlp_traces_endpoint: Option<String>,
    /// Form of the log
    #[arg(long, env = "ROLECTL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged, as for RUST_LOG: `info`, `rolectl=debug`
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Args {
    /// Where spans are sent, [as OTLP has it](https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp):
    /// an endpoint for traces is taken as it is, one for all signals gets their path. An empty one is none.
    pub fn traces(&self) -> Option<String> {
        let given = |endpoint: &Option<String>| endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        given(&self.otlp_traces_endpoint).or_else(|| {
            let all = given(&self.otlp_endpoint)?;
            Some(format!("{}/v1/traces", all.trim_end_matches('/')))
        })
    }
}

fn cluster_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=._:@-".contains(c);
    if (1..=63).contains(&text.len()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("a cluster's name has 1 to 63 letters, digits or +=._:@- (no slash: it separates the parts of an owner tag)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_where_the_conventions_of_otlp_have_them() {
        for (flags, sent_to) in [
            (&[][..], None),
            (&["--otlp-endpoint", ""], None),
            (
                &["--otlp-endpoint", "http://c:4318/"],
                Some("http://c:4318/v1/traces"),
            ),
            (&["--otlp-traces-endpoint", "http://c/t"], Some("http://c/t")),
            (
                &[
                    "--otlp-endpoint",
                    "http://c:4318",
                    "--otlp-traces-endpoint",
                    "http://c/t",
                ],
                Some("http://c/t"),
            ),
        ] {
            let args = Args::parse_from([&["rolectl-controller"], flags].concat());
            assert_eq!(args.traces().as_deref(), sent_to, "{flags:?}");
        }
    }
}
