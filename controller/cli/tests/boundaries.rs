//! What the crate may depend on.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]

#[path = "../../core/tests/cargo_tree/mod.rs"]
mod cargo_tree;

use cargo_tree::{assert_none, packages};

#[test]
fn the_tool_has_nothing_of_the_controller() {
    let packages = packages(env!("CARGO_MANIFEST_DIR"), &[]);
    assert!(packages.contains("kube-client"), "{packages:?}");
    assert_none(
        &packages,
        &[
            "axum",
            "kube-runtime",
            "opentelemetry",
            "prometheus",
            "rolectl-controller",
            "tracing-opentelemetry",
        ],
    );
}
