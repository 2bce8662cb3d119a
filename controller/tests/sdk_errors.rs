//! The table of error codes against the SDK's own source: no modelled error of a call that we make is missing.

// Helpers outside of the tests themselves fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;

use rolectl::aws::OPERATIONS;
use rolectl::aws::error::{Class, classify, is_classed};

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
                    "{operation} can answer {code}: give it a class in aws/error.rs"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "the SDK's source is read: {seen}");
}

#[test]
fn every_call_in_the_source_is_in_the_list() {
    // A call that is made and not listed would escape the test above, and the policy that bootstrap writes.
    let listed: Vec<&str> = OPERATIONS
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    for file in ["apply.rs", "sweep.rs", "account.rs", "session.rs"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/aws").join(file))
            .unwrap();
        for receiver in ["iam.", "iam\n", "sts."] {
            for call in text.split(receiver).skip(1) {
                let name: String = call
                    .trim_start()
                    .trim_start_matches('.')
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                if !call.contains(".send()") || !name.contains('_') {
                    continue;
                }
                let known = listed.iter().any(|operation| snake(operation) == name);
                assert!(known, "{file} calls {name}, which is not in aws::OPERATIONS");
            }
        }
    }
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
