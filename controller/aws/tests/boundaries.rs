//! What the crate may depend on.

use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn aws_is_called_without_a_kubernetes_client() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--manifest-path", manifest])
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let packages: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(packages.contains("rolectl-core"), "{packages:?}");
    for absent in [
        "kube-client",
        "kube-runtime",
        "axum",
        "prometheus-client",
        "opentelemetry",
    ] {
        assert!(!packages.contains(absent), "{absent}");
    }
}
