//! What the crate may depend on, and how its modules may depend on each other.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers of an integration test for other code"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files without their tests, by module path: `role::plan` and so on, empty for `lib.rs`.
fn modules() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(source()).unwrap().with_extension("");
            let parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap()).collect();
            if path.extension().is_none_or(|e| e != "rs") || parts.last() == Some(&"tests") {
                continue;
            }
            let name = parts.join("::");
            let name = match name.strip_suffix("::mod") {
                Some(folder) => folder.to_owned(),
                None if name == "lib" => String::new(),
                None => name,
            };
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            found.insert(name, code);
        }
    }
    found
}

/// The paths that the `use` declarations of a module name, from the root of the crate. Groups are taken apart.
fn imports(module: &str, code: &str) -> Vec<String> {
    let mut paths = vec![];
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        let begins_line = matches!(before, "" | "pub" | "pub(crate)");
        let Some(end) = rest[at..].find(';') else { break };
        let declared = &rest[at + 4..at + end];
        rest = &rest[at + end..];
        if !begins_line {
            continue;
        }
        let (stem, names) = declared.split_once('{').unwrap_or((declared, ""));
        let names: Vec<&str> = match names.strip_suffix('}') {
            Some(names) => names
                .split(',')
                .map(str::trim)
                .filter(|n| !n.is_empty())
                .collect(),
            None => vec![""],
        };
        for name in names {
            let full = format!("{stem}{name}");
            let mut at: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
            let mut parts = full.split("::").peekable();
            match parts.peek() {
                Some(&"crate") => {
                    parts.next();
                    at.clear();
                }
                Some(&"super") => {
                    while parts.peek() == Some(&"super") {
                        parts.next();
                        at.pop();
                    }
                }
                // A child of this module, or another crate.
                _ => {}
            }
            at.extend(parts);
            paths.push(at.join("::"));
        }
    }
    paths
}

/// Which module uses which. Of a path the longest part that is a module counts.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let target = |path: &str| {
        let mut path = path;
        loop {
            if modules.contains_key(path) && !path.is_empty() {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let edges = |(module, code): (&String, &String)| {
        let uses = imports(module, code);
        let uses = uses.iter().filter_map(|path| target(path));
        (module.clone(), uses.filter(|other| other != module).collect())
    };
    modules.iter().map(edges).collect()
}

#[test]
fn modules_use_each_other_in_one_direction_only() {
    let mut left = graph();
    assert!(left["role::plan"].contains("role::order"), "{left:?}");
    assert!(left["policy::lint"].contains("policy::lint::finding"), "{left:?}");
    // Whoever uses nothing that is left is taken out, until nobody is left or a circle is.
    while let Some(leaf) = left
        .iter()
        .find(|(_, uses)| uses.is_empty())
        .map(|(name, _)| name.clone())
    {
        left.remove(&leaf);
        for uses in left.values_mut() {
            uses.remove(&leaf);
        }
    }
    assert!(
        left.is_empty(),
        "these modules use each other in a circle, or use one that does: {left:#?}"
    );
}

#[test]
fn nothing_that_decides_has_a_client_a_runtime_or_an_sdk() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let cargo = env!("CARGO");
    let tree = Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--manifest-path",
            manifest,
        ])
        .output()
        .unwrap();
    let tree_text = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let packages: BTreeSet<&str> = tree_text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(packages.contains("rolectl-crds"), "{packages:?}");
    let forbidden = |name: &&&str| {
        let parts = [
            "tokio",
            "async-std",
            "hyper",
            "reqwest",
            "kube-client",
            "kube-runtime",
            "opentelemetry",
        ];
        parts.iter().any(|part| name.starts_with(part)) || name.starts_with("aws-")
    };
    let found: Vec<_> = packages.iter().filter(forbidden).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn time_is_passed_in() {
    for (module, code) in modules() {
        assert!(!code.contains("::now("), "{module} reads a clock");
    }
}

#[test]
fn no_module_is_too_long_to_read() {
    for (module, code) in modules() {
        let lines = code.lines().count();
        assert!(
            lines <= 500,
            "{module} has {lines} lines without its tests: divide it"
        );
    }
}
