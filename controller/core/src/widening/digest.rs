//! Digests: of changes that wait for an approval, and of a role in AWS.

use serde_json::{Value, json};

use super::verdict::Widening;
use crate::digest::sha256;
use crate::policy::Document;
use crate::role::{Change, ObservedDocument, ObservedRole};

/// Number of hexadecimal digits of the digest of a role.
const STATE_DIGITS: usize = 16;

/// Number of hexadecimal digits of the digest of a change.
const CHANGE_DIGITS: usize = 32;

/// What a digest is of, besides the changes.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Value of the owner tag.
    pub owner: &'a str,
    /// Account id.
    pub account_id: &'a str,
    /// Unique id of the role. `None` if it does not exist.
    pub role_id: Option<&'a str>,
}

/// Returns the digest of changes to a role, 64 hexadecimal digits. It covers the whole content of each change, and what the role may allow
/// after them: an approval of it fits nothing else.
pub fn digest(subject: Subject<'_>, changes: &[Change], widening: &Widening) -> String {
    let Subject {
        owner,
        account_id,
        role_id,
    } = subject;
    let changes: Vec<Value> = changes.iter().map(content).collect();
    let atoms: Vec<String> = widening.atoms.iter().map(ToString::to_string).collect();
    let all = json!([
        "rolectl approval 1",
        owner,
        account_id,
        role_id,
        changes,
        atoms,
        widening.count
    ]);
    sha256(all.to_string())
}

/// Returns a digest of each change, 32 hexadecimal digits, which covers its whole content.
pub fn change_digests(changes: &[Change]) -> Vec<String> {
    let of = |change: &Change| {
        let mut digest = sha256(content(change).to_string());
        digest.truncate(CHANGE_DIGITS);
        digest
    };
    changes.iter().map(of).collect()
}

/// Returns the digest of a role in AWS, 16 hexadecimal digits, or `-` if there is none. Equal roles have equal digests in every process:
/// it is the SHA-256 of the role as JSON, with documents in their canonical form.
pub fn state_digest(role: Option<&ObservedRole>) -> String {
    let Some(role) = role else {
        return "-".to_owned();
    };
    let mut digest = sha256(content_of(role));
    digest.truncate(STATE_DIGITS);
    digest
}

/// Returns the digest of the role that a plan leads to, 64 hexadecimal digits. It is the same before and after the role is created, when
/// AWS gives it an ARN and an id.
pub fn goal_digest(role: Option<&ObservedRole>) -> String {
    let role = role.map(|role| ObservedRole {
        arn: String::new(),
        role_id: String::new(),
        ..role.clone()
    });
    sha256(role.as_ref().map(content_of).unwrap_or_default())
}

/// Returns all that a role consists of, as text.
fn content_of(role: &ObservedRole) -> String {
    let ObservedRole {
        name,
        arn,
        role_id,
        path,
        description,
        max_session_duration,
        trust,
        managed_policies,
        inline_policies,
        permissions_boundary,
        tags,
        instance_profiles,
    } = role;
    let inline: Vec<Value> = inline_policies
        .iter()
        .map(|(name, document)| json!([name, observed(document)]))
        .collect();
    let all = json!([
        "rolectl role 1",
        name,
        arn,
        role_id,
        path,
        description,
        max_session_duration,
        observed(trust),
        managed_policies,
        inline,
        permissions_boundary,
        tags,
        instance_profiles
    ]);
    all.to_string()
}

fn observed(document: &ObservedDocument) -> Value {
    match document {
        ObservedDocument::Parsed(document) => json!(document.canonical()),
        // A list, so that no text equals a document.
        ObservedDocument::Unreadable(text) => json!([text]),
    }
}

fn content(change: &Change) -> Value {
    let text = |document: &Document| document.canonical().pretty();
    let what = match change {
        Change::CreateRole(role) => json!({
            "name": role.name,
            "path": role.path,
            "description": role.description,
            "maxSessionDuration": role.max_session_duration,
            "trust": role.trust.as_ref().map(text),
            "boundary": role.permissions_boundary,
            "tags": role.tags,
        }),
        Change::Tag(tags) => json!(tags),
        Change::UpdateTrustPolicy(document, _) => json!(text(document)),
        Change::PutBoundary(name)
        | Change::AttachPolicy(name)
        | Change::DetachPolicy(name)
        | Change::DeleteInlinePolicy(name)
        | Change::RemoveInstanceProfile(name, _)
        | Change::ReleaseInstanceProfile(name, _) => json!(name),
        Change::UpdateRole {
            description,
            max_session_duration,
            what: _,
        } => json!([description, max_session_duration]),
        Change::PutInlinePolicy(name, document, _) => json!([name, text(document)]),
        Change::DeleteBoundary | Change::DeleteRole => Value::Null,
        Change::Untag(keys) => json!(keys),
        Change::AddInstanceProfile(profile) => json!([profile.name, profile.path]),
    };
    json!([change.operation(), what])
}
