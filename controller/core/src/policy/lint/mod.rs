//! Checks of a policy document before AWS sees it, with messages that tell the author what to write instead.
//!
//! An [error](Severity::Error) is something that AWS refuses or that opens a role to everybody. Such a document is not written.
//! A [warning](Severity::Warning) is shown and stops nothing.
//!
//! The imports between the modules:
//!
//! ```text
//! conditions -> finding
//! resources -> finding
//! trust -> finding, services
//! finding
//! services
//! ```

mod conditions;
mod finding;
mod resources;
mod services;
mod trust;

use std::collections::BTreeSet;

use serde_json::Value;

use super::document::{Caseless, Document, Effect, Scope, Statement};
use super::parse::{Ordered, ordered};
use super::problem::Problem;
use super::statement::Source;
use conditions::{conditions, empty_conditions};
use finding::{Linter, errors};
use resources::{is_resource, resource_problem};
use services::action_warning;
use trust::trust;

pub use finding::{Finding, MAX_FINDINGS, Place, Severity};
pub use services::is_listed_service;

/// Returns the findings about a document, for accounts of any partition. A value that is not a document has errors.
pub fn lint_value(value: &Value, place: Place) -> Vec<Finding> {
    read(value, place, None).1
}

/// Reads a document that an author wrote. Returns the document, or `None` if it cannot be parsed, and the findings about it.
/// `partition` is that of the account; without it the partitions in ARNs are not checked.
pub fn read(value: &Value, place: Place, partition: Option<&str>) -> (Option<Document>, Vec<Finding>) {
    let (document, mut findings) = read_all(value, place, partition);
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    if more > 0 {
        let dropped = findings.split_off(MAX_FINDINGS);
        findings.push(Finding {
            severity: dropped
                .iter()
                .map(|f| f.severity)
                .min()
                .unwrap_or(Severity::Error),
            problem: Problem::new(
                "",
                format!(
                    "has {more} more {}",
                    if more == 1 { "problem" } else { "problems" }
                ),
            ),
        });
    }
    (document, findings)
}

fn read_all(value: &Value, place: Place, partition: Option<&str>) -> (Option<Document>, Vec<Finding>) {
    let document = match ordered(value, Source::Author) {
        Ok(document) => document,
        Err(error) => return (None, errors(error.0)),
    };
    let mut to = Linter::default();
    characters(&mut to, "", value);
    // The canonical form of an account's root has no partition.
    if let Some(partition) = partition {
        partitions(&mut to, "", value, partition);
    }
    empty_conditions(&mut to, value);
    lint_ordered(&mut to, &document, place);
    let findings = to.0;
    let document = Document::new(value.to_string(), document.into());
    (Some(document), findings)
}

/// Calls `visit` with every text in a document, including keys, and its path. The recursion is bounded, because a document that was
/// read has a limited depth.
fn texts(at: &str, value: &Value, visit: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(at, text),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                // Paths count statements, not the values of a list.
                let here = if at == "Statement" {
                    format!("{at}[{n}]")
                } else {
                    at.to_owned()
                };
                texts(&here, item, visit);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                visit(at, key);
                let here = match at {
                    "" => key.clone(),
                    "Statement" => format!("{at}[0].{key}"),
                    _ => format!("{at}.{key}"),
                };
                texts(&here, item, visit);
            }
        }
        _ => {}
    }
}

/// Adds an error for every character that IAM does not accept in a document: it accepts
/// [characters up to U+00FF](https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html).
fn characters(to: &mut Linter, at: &str, value: &Value) {
    texts(at, value, &mut |at, text| {
        if let Some(bad) = text.chars().find(|c| *c > '\u{ff}') {
            to.error(
                at,
                format!(
                    "holds the character {bad} (U+{:04X}), which IAM does not take in a policy document: use Latin-1 characters only",
                    u32::from(bad)
                ),
            );
        }
    });
}

/// Adds an error for every resource and principal of another partition than the account's, which IAM refuses.
fn partitions(to: &mut Linter, at: &str, value: &Value, partition: &str) {
    texts(at, value, &mut |at, text| {
        let element = at.split('.').nth(1).unwrap_or_default();
        if !["Resource", "NotResource", "Principal", "NotPrincipal"].contains(&element) {
            return;
        }
        let Some((theirs, _)) = text.strip_prefix("arn:").and_then(|rest| rest.split_once(':')) else {
            return;
        };
        if theirs != partition && !theirs.contains(['*', '?', '$']) {
            to.error(
                at,
                format!(
                    "holds {text} of the partition {theirs}, but the account is in {partition}: write arn:$(aws.partition):..."
                ),
            );
        }
    });
}

fn lint_ordered(to: &mut Linter, document: &Ordered, place: Place) {
    let modern = document.version.as_deref() == Some("2012-10-17");
    match document.version.as_deref() {
        None | Some("2012-10-17" | "2008-10-17") => {}
        Some(other) => to.error("Version", format!("is \"{other}\": write \"2012-10-17\"")),
    }
    match &document.statements {
        None => to.error("", "has no Statement"),
        Some(list) if list.is_empty() => to.error("Statement", "is empty: write at least one statement"),
        Some(_) => {}
    }
    let mut sids = BTreeSet::new();
    for (at, statement) in document.statements.iter().flatten() {
        if let Some(sid) = &statement.sid {
            if !sids.insert(sid) {
                to.error(
                    &format!("{at}.Sid"),
                    format!("\"{sid}\" occurs twice: give each statement its own"),
                );
            }
            // Some published examples have spaces, which other services accept. IAM does not:
            // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html
            if !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
                to.error(
                    &format!("{at}.Sid"),
                    format!("\"{sid}\" may hold letters and digits only"),
                );
            }
        }
        if statement.action.inner().is_empty() {
            to.error(&format!("{at}.Action"), "is empty: name at least one action");
        }
        actions(to, at, statement);
        match place {
            Place::Trust => trust(to, at, statement),
            Place::Identity => identity(to, at, statement),
        }
        conditions(to, at, statement);
        if !modern {
            variables_need_version(to, at, statement);
        }
    }
}

/// Adds an error for every action that is not a service prefix, a colon and a name. Both parts may have the wildcards `*` and `?`.
fn actions(to: &mut Linter, at: &str, statement: &Statement) {
    let valid = |action: &str| {
        let all = |text: &str, more: &[u8]| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-*?".contains(&b) || more.contains(&b))
        };
        action == "*"
            || action
                .split_once(':')
                .is_some_and(|(service, name)| all(service, b".") && all(name, b"_/."))
    };
    for bad in statement.action.inner().iter().filter(|a| !valid(a.as_str())) {
        let element = statement.action.element("Action", "NotAction");
        to.error(
            &format!("{at}.{element}"),
            format!(
                "holds {:?}, which is no action: write it as service:Action",
                bad.as_str()
            ),
        );
    }
    for action in statement.action.inner().iter().filter(|a| valid(a.as_str())) {
        if let Some(warning) = action_warning(action.as_str()) {
            let element = statement.action.element("Action", "NotAction");
            to.warn(&format!("{at}.{element}"), warning);
        }
    }
}

fn identity(to: &mut Linter, at: &str, statement: &Statement) {
    if statement.principal.is_some() {
        to.error(
            at,
            "has a Principal, which belongs into a trust policy only: remove it",
        );
    }
    match &statement.resource {
        None => to.error(at, "has no Resource: write one, \"*\" for every resource"),
        Some(scope) => {
            let here = format!("{at}.Resource");
            if scope.inner().is_empty() {
                to.error(&here, "is empty: name at least one resource, \"*\" for every one");
            }
            for resource in scope.inner() {
                if !is_resource(resource) {
                    to.error(&here, format!("holds {resource}: write an ARN, or \"*\""));
                } else if let Some((severity, problem)) = resource_problem(resource) {
                    to.add(severity, &here, problem);
                }
            }
        }
    }
    let allows = statement.effect == Effect::Allow;
    let passes = |action: &Caseless| action.as_str().eq_ignore_ascii_case("iam:PassRole");
    let everything = matches!(&statement.resource, Some(Scope::Only(r)) if r.contains("*"));
    if allows
        && everything
        && statement.condition.is_empty()
        && matches!(&statement.action, Scope::Only(actions) if actions.iter().any(passes))
    {
        to.warn(at, "lets every role be passed to every service: name the roles in Resource, or add iam:PassedToService");
    }
    if allows && let Some(Scope::AllBut(_)) = &statement.resource {
        to.warn(
            at,
            "allows with NotResource, which takes in every resource that is not listed, also future ones",
        );
    }
}

/// Adds a warning for `${...}` in a document of the version 2008-10-17, in which IAM does not replace variables:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>.
fn variables_need_version(to: &mut Linter, at: &str, statement: &Statement) {
    let resources = statement.resource.iter().flat_map(Scope::inner);
    let values = statement
        .condition
        .values()
        .flat_map(|keys| keys.values().flatten());
    if resources.chain(values).any(|text| text.contains("${")) {
        to.warn(
            at,
            "uses ${...}, which IAM fills in only with \"Version\": \"2012-10-17\": write that Version",
        );
    }
}
