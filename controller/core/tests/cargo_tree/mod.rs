//! The packages that a crate is built from. The boundaries of every crate of `controller/` are tested with it.

use std::collections::BTreeSet;
use std::process::Command;

/// The packages that a normal build of the crate in this folder needs, itself included.
pub fn packages(crate_folder: &str, flags: &[&str]) -> BTreeSet<String> {
    let manifest = format!("{crate_folder}/Cargo.toml");
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal"])
        .args(["--prefix", "none", "--manifest-path", &manifest])
        .args(flags)
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

/// Fails if a package has a name that begins with one of these.
pub fn assert_none(packages: &BTreeSet<String>, unwanted: &[&str]) {
    let is_unwanted = |name: &&String| unwanted.iter().any(|unwanted| name.starts_with(unwanted));
    let found: Vec<_> = packages.iter().filter(is_unwanted).collect();
    assert!(found.is_empty(), "{found:?}");
}
