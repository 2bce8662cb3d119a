//! The first run builds nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::tools::root;

/// Returns the features of each crate in a build of these packages. A crate can have several versions.
fn features(packages: &[&str]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let cargo = option_env!("CARGO").context("cargo sets it")?;
    let tree = ["tree", "--locked", "--prefix", "none", "--format", "{p}|{f}"];
    let output = std::process::Command::new(cargo)
        .current_dir(root())
        .args(tree)
        .args(packages)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let text = String::from_utf8(output.stdout)?;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let line = line.trim_end_matches(" (*)");
        let (package, features) = line.split_once('|').context("no features")?;
        // Built for the host and for the target, a crate can have two sets.
        all.entry(package.to_owned())
            .or_default()
            .insert(features.to_owned());
    }
    Ok(all)
}

#[test]
fn the_demo_builds_each_crate_with_the_features_of_the_whole_workspace() -> Result<()> {
    // `cargo demo` builds the harness first, and the harness builds the workspace. A crate with other features is built a second time, and
    // so is everything that depends on it.
    let kinds = ["--edges", "normal,build"];
    let demo = features(&[&["--package", "rolectl-tests"], &kinds[..]].concat())?;
    let workspace = features(&[&["--workspace"], &kinds[..]].concat())?;
    ensure!(demo.len() > 200, "{} crates", demo.len());
    let twice: Vec<_> = demo
        .iter()
        .filter(|(package, features)| {
            !features.is_subset(workspace.get(*package).unwrap_or(&BTreeSet::new()))
        })
        .map(|(package, features)| {
            format!(
                "{package}: {features:?}, in the workspace {:?}",
                workspace.get(package)
            )
        })
        .collect();
    ensure!(
        twice.is_empty(),
        "give rolectl-tests the features of the workspace: {twice:#?}"
    );
    Ok(())
}
