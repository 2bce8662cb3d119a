//! Spans: one for each reconcile, and within it one for each AWS call.
//!
//! They are made for OTLP export only, and are no part of the log. They carry names of objects,
//! accounts and operations, and nothing that was sent or answered.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::operations::service_of;

/// The target of these spans. Spans of libraries have others, and are not exported.
pub const TARGET: &str = "rolectl::spans";

/// A reconcile of one object, without a namespace where the object is of the cluster.
pub fn reconcile(kind: &'static str, namespace: Option<&str>, name: &str) -> Span {
    info_span!(
        target: TARGET,
        "reconcile",
        "otel.name" = format!("reconcile {kind}"),
        "otel.status_code" = Empty,
        "k8s.resource.kind" = kind,
        "k8s.namespace.name" = namespace,
        "k8s.resource.name" = name,
    )
}

/// An AWS call, named as the
/// [conventions for the AWS SDK](https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/) have it.
pub fn aws_call(operation: &'static str, account: &str, account_id: &str) -> Span {
    // Within the macro: nothing is made up where nobody exports.
    let name = || format!("{}/{operation}", service_of(operation));
    info_span!(
        target: TARGET,
        "aws",
        "otel.name" = name(),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "rpc.system.name" = "aws-api",
        "rpc.method" = name(),
        "cloud.account.id" = account_id,
        "rolectl.account" = account,
        "error.type" = Empty,
    )
}

/// Marks a span as failed.
pub fn failed(span: &Span, how: Option<&'static str>) {
    span.record("otel.status_code", "ERROR");
    if let Some(how) = how {
        span.record("error.type", how);
    }
}
