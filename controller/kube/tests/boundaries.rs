//! What the crate may depend on.

use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn objects_are_read_without_a_runtime_of_controllers_and_without_aws() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal"])
        .args(["--prefix", "none", "--manifest-path", manifest])
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let packages: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(packages.contains("kube-client"), "{packages:?}");
    let unwanted = ["aws-", "kube-runtime", "rolectl-aws", "rolectl-controller"];
    let found: Vec<_> = packages
        .iter()
        .filter(|name| unwanted.iter().any(|unwanted| name.starts_with(unwanted)))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
