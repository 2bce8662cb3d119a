//! What the crate may depend on.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]

#[path = "../core/tests/cargo_tree/mod.rs"]
mod cargo_tree;

use cargo_tree::{assert_none, packages};

#[test]
fn without_the_feature_otlp_there_is_no_opentelemetry() {
    let packages = packages(env!("CARGO_MANIFEST_DIR"), &["--no-default-features"]);
    assert!(packages.contains("kube-runtime"), "{packages:?}");
    assert_none(&packages, &["opentelemetry", "tracing-opentelemetry"]);
}
