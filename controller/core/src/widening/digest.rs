//! The digest of changes that wait for an approval.

use serde_json::{Value, json};

use super::Widening;
use crate::digest::sha256;
use crate::policy::Document;
use crate::role::Change;

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
