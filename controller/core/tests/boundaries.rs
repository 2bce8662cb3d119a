//! The dependencies of the crate and the imports between its modules.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

mod cargo_tree;

use cargo_tree::{assert_none, packages};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the source of every module without its tests, by module path such as `role::plan`. The path of `lib.rs` is empty.
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

/// Returns the paths that the `use` declarations of a module name, from the root of the crate. A group yields one path for each
/// name.
fn imports(module: &str, code: &str) -> Vec<String> {
    let mut paths = vec![];
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        let begins_line = matches!(before, "" | "pub" | "pub(crate)");
        if !begins_line {
            rest = &rest[at + 4..];
            continue;
        }
        let Some(end) = rest[at..].find(';') else { break };
        let declared = &rest[at + 4..at + end];
        rest = &rest[at + end..];
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

/// Returns the modules that each module imports. The longest prefix of an imported path that is a module counts.
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

/// The file of a module that has modules of its own.
fn file_of(parent: &str) -> PathBuf {
    match parent {
        "" => source().join("lib.rs"),
        _ => source().join(parent.replace("::", "/")).join("mod.rs"),
    }
}

/// The picture that the documentation of `parent` must show: one line for each of its modules, `a -> b, c`, in an order in
/// which a module uses only modules below it. A module stands for everything in its folder.
fn picture_of(parent: &str, graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let child = |module: &str| -> Option<String> {
        let below = match parent {
            "" => module,
            _ => module.strip_prefix(parent)?.strip_prefix("::")?,
        };
        let name = below.split("::").next().unwrap_or_default();
        // Compiled for tests only.
        (!name.is_empty() && name != "fixtures").then(|| name.to_owned())
    };
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, used) in graph {
        let Some(from) = child(module) else { continue };
        let to = used
            .iter()
            .filter_map(|other| child(other))
            .filter(|to| *to != from);
        edges.entry(from.clone()).or_default().extend(to);
    }
    let mut lines: Vec<(usize, String)> = edges
        .iter()
        .map(|(module, used)| {
            let targets: Vec<&str> = used.iter().map(String::as_str).collect();
            let arrow = if used.is_empty() { "" } else { " -> " };
            (
                height(module, &edges, 0),
                format!("{module}{arrow}{}", targets.join(", ")),
            )
        })
        .collect();
    lines.sort_by(|(a, one), (b, other)| b.cmp(a).then(one.cmp(other)));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Returns the length of the longest chain of imports from `module`.
fn height(module: &str, edges: &BTreeMap<String, BTreeSet<String>>, depth: usize) -> usize {
    assert!(depth <= edges.len(), "a cycle of imports leads through {module}");
    let below = edges[module]
        .iter()
        .map(|used| height(used, edges, depth + 1) + 1);
    below.max().unwrap_or(0)
}

#[test]
fn the_picture_of_the_modules_is_the_import_graph() {
    let graph = graph();
    let parents: BTreeSet<&str> = graph
        .keys()
        .filter(|module| !module.is_empty())
        .map(|module| module.rsplit_once("::").map_or("", |(parent, _)| parent))
        .collect();
    assert!(parents.len() > 3, "{parents:?}");
    for parent in parents {
        let file = file_of(parent);
        let text = std::fs::read_to_string(&file).unwrap();
        let shown: Vec<&str> = text
            .lines()
            .skip_while(|line| *line != "//! ```text")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").trim())
            .collect();
        let picture = picture_of(parent, &graph);
        assert!(
            shown == picture,
            "the picture in {} differs from the imports: write\n//! ```text\n//! {}\n//! ```",
            file.display(),
            picture.join("\n//! ")
        );
    }
}

#[test]
fn modules_import_each_other_without_a_cycle() {
    let mut left = graph();
    assert!(left["role::plan"].contains("role::order"), "{left:?}");
    assert!(left["policy::lint"].contains("policy::lint::finding"), "{left:?}");
    // Removes the modules that use no other, again and again. What remains is a cycle, or uses one.
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
        "these modules import each other in a cycle, or import one that does: {left:#?}"
    );
}

#[test]
fn the_crate_depends_on_no_client_no_runtime_and_no_sdk() {
    let packages = packages(env!("CARGO_MANIFEST_DIR"), &[]);
    assert!(packages.contains("rolectl-crds"), "{packages:?}");
    let unwanted = [
        "aws-",
        "tokio",
        "async-std",
        "hyper",
        "reqwest",
        "kube-client",
        "kube-runtime",
        "opentelemetry",
    ];
    assert_none(&packages, &unwanted);
}

#[test]
fn no_module_reads_a_clock() {
    for (module, code) in modules() {
        assert!(!code.contains("::now("), "{module} reads a clock");
    }
}

#[test]
fn no_module_has_more_than_500_lines_without_its_tests() {
    for (module, code) in modules() {
        let lines = code.lines().count();
        assert!(
            lines <= 500,
            "{module} has {lines} lines without its tests: divide it"
        );
    }
}
