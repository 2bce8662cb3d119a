//! What the crate may depend on.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]

#[path = "../../core/tests/cargo_tree/mod.rs"]
mod cargo_tree;

use cargo_tree::{assert_none, packages};

#[test]
fn objects_are_read_without_a_runtime_of_controllers_and_without_aws() {
    let packages = packages(env!("CARGO_MANIFEST_DIR"), &[]);
    assert!(packages.contains("kube-client"), "{packages:?}");
    assert_none(
        &packages,
        &["aws-", "kube-runtime", "rolectl-aws", "rolectl-controller"],
    );
}
