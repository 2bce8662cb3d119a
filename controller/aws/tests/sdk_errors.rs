//! The table of error codes against the SDK's own source: no modelled error of a call that we make is missing.

// Helpers outside of the tests themselves fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rolectl_aws::error::{Class, classify, is_classed};
use rolectl_aws::operations::OPERATIONS;

/// Where cargo keeps the source of an SDK crate.
fn source_of(service: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = format!("aws-sdk-{service}");
    let package = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["name"] == name.as_str())
        .unwrap();
    Path::new(package["manifest_path"].as_str().unwrap())
        .parent()
        .unwrap()
        .to_path_buf()
}

fn snake(operation: &str) -> String {
    let mut out = String::new();
    for c in operation.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The codes that the SDK tells apart in an operation's answers.
fn modelled(source: &Path, operation: &str) -> Vec<String> {
    let file = source.join(format!("src/protocol_serde/shape_{}.rs", snake(operation)));
    let text =
        std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{operation}: no {}", file.display()));
    let arms = text.lines().filter_map(|line| {
        line.trim()
            .strip_prefix('"')?
            .split_once("\" => crate::operation")
    });
    arms.map(|(code, _)| code.to_owned()).collect()
}

#[test]
fn every_modelled_error_of_every_call_that_we_make_has_a_class() {
    let mut seen = 0;
    for (service, operations) in OPERATIONS {
        let source = source_of(service);
        for operation in *operations {
            for code in modelled(&source, operation) {
                assert!(
                    is_classed(&code),
                    "{operation} can answer {code}: give it a class in error.rs"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "the SDK's source is read: {seen}");
}

#[test]
fn the_calls_of_the_engine_are_the_operations_in_the_list() {
    // A call that is made and not listed would escape the test above, and the policy that bootstrap writes.
    let api = include_str!("../src/api.rs");
    let calls = api.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("async fn ")?;
        let name = name.split('(').next().unwrap_or_default();
        // One operation has two methods: its answer is about roles, or about managed policies.
        let is_second = name == "get_managed_policies";
        Some(
            if is_second {
                "get_account_authorization_details"
            } else {
                name
            }
            .to_owned(),
        )
    });
    let calls: BTreeSet<String> = calls.collect();
    let listed = OPERATIONS.iter().flat_map(|(_, names)| names.iter().copied());
    let listed: BTreeSet<String> = listed.map(snake).collect();
    assert_eq!(calls, listed);
}

#[test]
fn what_is_retried_and_what_stalls_follows_from_the_code() {
    for (code, class) in [
        ("Throttling", Class::Throttled),
        ("ServiceFailure", Class::Transient),
        ("ConcurrentModification", Class::Conflict),
        ("DeleteConflict", Class::Conflict),
        ("AccessDenied", Class::AccessDenied),
        ("LimitExceeded", Class::Quota),
        ("PolicyNotAttachable", Class::Invalid),
        ("UnmodifiableEntity", Class::Invalid),
        ("EntityAlreadyExists", Class::Exists),
        ("ExpiredTokenException", Class::Expired),
    ] {
        assert_eq!(classify(code, ""), class, "{code}");
        assert!(is_classed(code));
    }
    assert_eq!(
        classify("NeverHeardOf", ""),
        Class::Transient,
        "what is unknown is tried again"
    );
    assert!(!is_classed("NeverHeardOf"));
}
