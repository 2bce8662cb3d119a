//! One planned change of a role.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use rolectl_core::bounded::display;
use rolectl_core::policy::Document;
use rolectl_core::role::{Change, DesiredRole, DocumentDiff, ObservedDocument, ObservedRole};
use rolectl_core::widening::{Atom, Part, Verdict, VerdictKind};

/// Number of parts of a widening that are shown.
const WIDENS_SHOWN: usize = 3;
/// Length of the longest line about one of them, in bytes.
const WIDENS_LINE: usize = 400;

/// One planned change, in the form of the JSON output.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PlannedChange")]
pub(super) struct ChangeLine {
    /// Name of the AWS operation.
    operation: &'static str,
    /// The kind of what changes.
    kind: &'static str,
    /// The name or ARN of what changes.
    target: String,
    /// Its value in AWS.
    #[serde(skip_serializing_if = "Value::is_null")]
    before: Value,
    /// Its value after the change.
    #[serde(skip_serializing_if = "Value::is_null")]
    after: Value,
    /// The change in one line, for people.
    #[serde(rename = "text")]
    pub(super) line: String,
    /// What is created, or how a document changes, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) details: Vec<String>,
    /// Whether the role allows more or less after the change. A role that is created widens once, as a whole: what it is created with
    /// is `Same`.
    pub(super) verdict: VerdictKind,
    /// The first parts of what the role may allow after the change and did not before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) widens: Vec<Atom>,
    /// Number of all such parts.
    #[serde(skip_serializing_if = "is_zero")]
    widens_count: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl ChangeLine {
    /// Returns the line for a change of the role `role_name`.
    pub(super) fn of(
        change: &Change,
        verdict: &Verdict,
        role_name: &str,
        observed: Option<&ObservedRole>,
    ) -> Self {
        let (kind, target) = what(change, role_name);
        let (before, after) = values(change, observed);
        let line = match change {
            Change::DeleteRole => format!("- role {role_name}"),
            change => change.to_string(),
        };
        Self {
            operation: change.operation(),
            kind,
            target,
            before,
            after,
            line,
            details: details(change),
            verdict: verdict.kind(),
            widens: verdict
                .widening()
                .map_or_else(Vec::new, |more| more.atoms.clone()),
            widens_count: verdict.widening().map_or(0, |more| more.count),
        }
    }

    /// Returns the lines that show what the role may allow after the change and did not before. Only the first parts are shown unless
    /// `full`.
    pub(super) fn widening(&self, full: bool) -> Vec<String> {
        let shown = if full { usize::MAX } else { WIDENS_SHOWN };
        let mut lines: Vec<String> = self
            .widens
            .iter()
            .take(shown)
            .map(|atom| match atom.part {
                Part::Role => "widens: creates the role".to_owned(),
                _ => format!("widens: {}", display(atom, WIDENS_LINE)),
            })
            .collect();
        let more = self.widens_count.saturating_sub(lines.len());
        if more > 0 {
            lines.push(format!("widens: and {more} more"));
        }
        lines
    }
}

/// Returns the kind and the name of what changes.
fn what(change: &Change, role_name: &str) -> (&'static str, String) {
    match change {
        Change::CreateRole(_) | Change::DeleteRole => ("Role", role_name.to_owned()),
        Change::UpdateRole { .. } => ("RoleSettings", role_name.to_owned()),
        Change::UpdateTrustPolicy(..) => ("TrustPolicy", role_name.to_owned()),
        Change::Tag(tags) => ("Tags", tags.keys().cloned().collect::<Vec<_>>().join(",")),
        Change::Untag(keys) => ("Tags", keys.iter().cloned().collect::<Vec<_>>().join(",")),
        Change::PutBoundary(_) | Change::DeleteBoundary => ("PermissionsBoundary", role_name.to_owned()),
        Change::AttachPolicy(arn) | Change::DetachPolicy(arn) => ("ManagedPolicy", arn.clone()),
        Change::PutInlinePolicy(name, ..) | Change::DeleteInlinePolicy(name) => {
            ("InlinePolicy", name.clone())
        }
        Change::AddInstanceProfile(profile) => ("InstanceProfile", profile.name.clone()),
        Change::RemoveInstanceProfile(name, _) | Change::ReleaseInstanceProfile(name, _) => {
            ("InstanceProfile", name.clone())
        }
    }
}

/// Returns the values before and after the change. What is only there or not has none.
fn values(change: &Change, observed: Option<&ObservedRole>) -> (Value, Value) {
    let tags_of = |keys: &mut dyn Iterator<Item = &String>| {
        let there = observed.map(|role| &role.tags);
        let tags: Map<String, Value> = keys
            .filter_map(|key| Some((key.clone(), there?.get(key)?.clone().into())))
            .collect();
        if tags.is_empty() { Value::Null } else { tags.into() }
    };
    let inline = |name: &str| {
        observed
            .and_then(|role| role.inline_policies.get(name))
            .map_or(Value::Null, seen)
    };
    let boundary = observed
        .and_then(|role| role.permissions_boundary.clone())
        .map_or(Value::Null, Value::from);
    match change {
        Change::CreateRole(role) => (Value::Null, created(role)),
        Change::Tag(tags) => (tags_of(&mut tags.keys()), json!(tags)),
        Change::Untag(keys) => (tags_of(&mut keys.iter()), Value::Null),
        Change::UpdateTrustPolicy(document, _) => (
            observed.map_or(Value::Null, |role| seen(&role.trust)),
            wanted(document),
        ),
        Change::PutInlinePolicy(name, document, _) => (inline(name), wanted(document)),
        Change::DeleteInlinePolicy(name) => (inline(name), Value::Null),
        Change::PutBoundary(arn) => (boundary, arn.clone().into()),
        Change::DeleteBoundary => (boundary, Value::Null),
        Change::UpdateRole {
            description,
            max_session_duration,
            ..
        } => {
            let settings =
                |text: &str, seconds: i32| json!({"description": text, "maxSessionDuration": seconds});
            let before = observed.map_or(Value::Null, |role| {
                settings(&role.description, role.max_session_duration)
            });
            (before, settings(description, *max_session_duration))
        }
        Change::AttachPolicy(_)
        | Change::DetachPolicy(_)
        | Change::AddInstanceProfile(_)
        | Change::RemoveInstanceProfile(..)
        | Change::ReleaseInstanceProfile(..)
        | Change::DeleteRole => (Value::Null, Value::Null),
    }
}

fn wanted(document: &Document) -> Value {
    json!(document.canonical())
}

fn seen(document: &ObservedDocument) -> Value {
    match document {
        ObservedDocument::Parsed(document) => wanted(document),
        ObservedDocument::Unreadable(text) => text.clone().into(),
    }
}

fn created(role: &DesiredRole) -> Value {
    json!({
        "path": role.path,
        "description": role.description,
        "maxSessionDuration": role.max_session_duration,
        "permissionsBoundary": role.permissions_boundary,
        "tags": role.tags,
        "trustPolicy": role.trust.as_ref().map(wanted),
    })
}

/// Returns what is created in full, or how a document changes.
pub fn details(change: &Change) -> Vec<String> {
    let listing = |document: &Document| {
        let lines = document.canonical().listing();
        lines.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    match change {
        Change::CreateRole(role) => {
            let mut lines = vec![];
            if !role.description.is_empty() {
                lines.push(format!("+ description {:?}", role.description));
            }
            lines.push(format!("+ max session duration {} s", role.max_session_duration));
            if let Some(arn) = &role.permissions_boundary {
                lines.push(format!("+ permissions boundary {arn}"));
            }
            lines.extend(
                role.tags
                    .iter()
                    .map(|(key, value)| format!("+ tag {key}={value}")),
            );
            if let Some(trust) = &role.trust {
                lines.push("+ trust policy".to_owned());
                lines.extend(listing(trust).into_iter().map(|line| format!("    {line}")));
            }
            lines
        }
        Change::PutInlinePolicy(_, document, DocumentDiff::New) => listing(document),
        change => change.details().iter().map(ToString::to_string).collect(),
    }
}
