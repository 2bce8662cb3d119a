//! What the crate may depend on.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]

#[path = "../../core/tests/cargo_tree/mod.rs"]
mod cargo_tree;

use cargo_tree::{assert_none, packages};

#[test]
fn aws_is_called_without_a_kubernetes_client() {
    let packages = packages(env!("CARGO_MANIFEST_DIR"), &[]);
    assert!(packages.contains("rolectl-core"), "{packages:?}");
    assert_none(
        &packages,
        &[
            "kube-client",
            "kube-runtime",
            "axum",
            "prometheus-client",
            "opentelemetry",
        ],
    );
}
