//! One change to a role: the call that makes it, the line that shows it, the role that it leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rolectl_crds::Adoption;

use super::desired::DesiredRole;
use super::observed::{ObservedDocument, ObservedRole};
use super::tags::same_key;
use crate::policy::{DiffLine, Document};

/// One call to AWS that brings a role nearer to its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CreateRole`, with everything that it can carry.
    CreateRole(Box<DesiredRole>),
    /// `TagRole`.
    Tag(BTreeMap<String, String>),
    /// `UpdateAssumeRolePolicy`, and what it changes.
    UpdateTrustPolicy(Document, DocumentDiff),
    /// `PutRolePermissionsBoundary`.
    PutBoundary(String),
    /// `UpdateRole`: description and duration always together, because AWS takes a missing one for empty.
    UpdateRole {
        /// Description, empty to clear it.
        description: String,
        /// Longest session in seconds.
        max_session_duration: i32,
        /// What of the two changes, for people.
        what: String,
    },
    /// `AttachRolePolicy`.
    AttachPolicy(String),
    /// `PutRolePolicy`, and what it changes.
    PutInlinePolicy(String, Document, DocumentDiff),
    /// `DetachRolePolicy`.
    DetachPolicy(String),
    /// `DeleteRolePolicy`.
    DeleteInlinePolicy(String),
    /// `DeleteRolePermissionsBoundary`.
    DeleteBoundary,
    /// `UntagRole`.
    Untag(BTreeSet<String>),
    /// `CreateInstanceProfile` where there is none, and `AddRoleToInstanceProfile`.
    AddInstanceProfile(DesiredProfile),
    /// `RemoveRoleFromInstanceProfile`, and `DeleteInstanceProfile` if its owner tag is ours.
    RemoveInstanceProfile(String, String),
    /// `UntagInstanceProfile` of our owner tag, if it is ours: the profile stays.
    ReleaseInstanceProfile(String, String),
    /// `DeleteRole`.
    DeleteRole,
}

/// An instance profile as the spec of its role wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredProfile {
    /// Name.
    pub name: String,
    /// Path, which is that of the role.
    pub path: String,
    /// Value of the owner tag.
    pub owner: String,
    /// What to do with a profile of this name that is there and not ours.
    pub adoption: Adoption,
}

impl DesiredProfile {
    /// The profile called `name` of a role.
    pub fn new(name: &str, role: &DesiredRole) -> Self {
        Self {
            name: name.to_owned(),
            path: role.path.clone(),
            owner: role.owner.clone(),
            adoption: role.adoption,
        }
    }
}

/// What a document changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentDiff {
    /// Everything: there was no such document.
    New,
    /// These lines, against what AWS has. None where that cannot be read.
    Changed {
        /// The lines.
        lines: Vec<DiffLine>,
        /// Unique ids of deleted principals in what AWS has.
        deleted_principals: Vec<String>,
    },
}

impl DocumentDiff {
    /// What brings `observed` to `wanted`.
    pub fn between(observed: &ObservedDocument, wanted: &Document) -> Self {
        match observed {
            ObservedDocument::Parsed(there) => Self::Changed {
                lines: there.canonical().diff(wanted.canonical()),
                deleted_principals: there
                    .canonical()
                    .deleted_principals()
                    .map(str::to_owned)
                    .collect(),
            },
            ObservedDocument::Unreadable(_) => Self::Changed {
                lines: vec![],
                deleted_principals: vec![],
            },
        }
    }

    fn lines(&self) -> &[DiffLine] {
        match self {
            Self::New => &[],
            Self::Changed { lines, .. } => lines,
        }
    }
}

/// AWS's names for a role, known once it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// ARN.
    pub arn: String,
    /// Unique id.
    pub role_id: String,
}

impl Change {
    /// The AWS operation that makes the change.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::CreateRole(_) => "CreateRole",
            Self::Tag(_) => "TagRole",
            Self::UpdateTrustPolicy(..) => "UpdateAssumeRolePolicy",
            Self::PutBoundary(_) => "PutRolePermissionsBoundary",
            Self::UpdateRole { .. } => "UpdateRole",
            Self::AttachPolicy(_) => "AttachRolePolicy",
            Self::PutInlinePolicy(..) => "PutRolePolicy",
            Self::DetachPolicy(_) => "DetachRolePolicy",
            Self::DeleteInlinePolicy(_) => "DeleteRolePolicy",
            Self::DeleteBoundary => "DeleteRolePermissionsBoundary",
            Self::Untag(_) => "UntagRole",
            Self::AddInstanceProfile(..) => "AddRoleToInstanceProfile",
            Self::RemoveInstanceProfile(..) => "RemoveRoleFromInstanceProfile",
            Self::ReleaseInstanceProfile(..) => "UntagInstanceProfile",
            Self::DeleteRole => "DeleteRole",
        }
    }

    /// What the change does within a document, statement by statement.
    pub fn details(&self) -> &[DiffLine] {
        match self {
            Self::UpdateTrustPolicy(_, diff) | Self::PutInlinePolicy(_, _, diff) => diff.lines(),
            _ => &[],
        }
    }

    /// The role once this change is made. `created` is what AWS answered to `CreateRole`.
    pub fn after(&self, before: Option<ObservedRole>, created: Option<Identity>) -> Option<ObservedRole> {
        let mut role = match (self, before) {
            (Self::CreateRole(desired), _) => {
                return created.map(|Identity { arn, role_id }| ObservedRole {
                    name: desired.name.clone(),
                    arn,
                    role_id,
                    path: desired.path.clone(),
                    description: desired.description.clone(),
                    max_session_duration: desired.max_session_duration,
                    trust: desired.trust.clone().map_or_else(
                        || ObservedDocument::Unreadable(String::new()),
                        ObservedDocument::Parsed,
                    ),
                    managed_policies: BTreeSet::new(),
                    inline_policies: BTreeMap::new(),
                    permissions_boundary: desired.permissions_boundary.clone(),
                    tags: desired.tags.clone(),
                    instance_profiles: BTreeSet::new(),
                });
            }
            (Self::DeleteRole, _) | (_, None) => return None,
            (_, Some(role)) => role,
        };
        match self {
            Self::CreateRole(_) | Self::DeleteRole | Self::ReleaseInstanceProfile(..) => {}
            Self::Tag(tags) => {
                role.tags
                    .retain(|there, _| !tags.keys().any(|key| same_key(key, there)));
                role.tags.extend(tags.clone());
            }
            Self::UpdateTrustPolicy(document, _) => role.trust = ObservedDocument::Parsed(document.clone()),
            Self::PutBoundary(arn) => role.permissions_boundary = Some(arn.clone()),
            Self::UpdateRole {
                description,
                max_session_duration,
                ..
            } => {
                role.description.clone_from(description);
                role.max_session_duration = *max_session_duration;
            }
            Self::AttachPolicy(arn) => {
                role.managed_policies.insert(arn.clone());
            }
            Self::PutInlinePolicy(name, document, _) => {
                role.inline_policies
                    .insert(name.clone(), ObservedDocument::Parsed(document.clone()));
            }
            Self::DetachPolicy(arn) => {
                role.managed_policies.remove(arn);
            }
            Self::DeleteInlinePolicy(name) => {
                role.inline_policies.remove(name);
            }
            Self::DeleteBoundary => role.permissions_boundary = None,
            Self::Untag(keys) => role.tags.retain(|k, _| !keys.contains(k)),
            Self::AddInstanceProfile(profile) => {
                role.instance_profiles.insert(profile.name.clone());
            }
            Self::RemoveInstanceProfile(name, _) => {
                role.instance_profiles.remove(name);
            }
        }
        Some(role)
    }
}

/// `+` adds, `~` changes, `-` removes: one line for people.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |keys: Vec<&str>| keys.join(", ");
        match self {
            Self::CreateRole(role) => write!(f, "+ role {}{}", role.path, role.name),
            Self::Tag(tags) => write!(
                f,
                "+ tags {}",
                tags.iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Self::UpdateTrustPolicy(_, diff) => match diff {
                DocumentDiff::Changed {
                    deleted_principals, ..
                } if !deleted_principals.is_empty() => {
                    write!(
                        f,
                        "~ trust policy (names deleted principals: {})",
                        deleted_principals.join(", ")
                    )
                }
                _ => f.write_str("~ trust policy"),
            },
            Self::PutBoundary(arn) => write!(f, "~ permissions boundary {arn}"),
            Self::UpdateRole { what, .. } => write!(f, "~ {what}"),
            Self::AttachPolicy(arn) => write!(f, "+ managed policy {arn}"),
            Self::PutInlinePolicy(name, _, DocumentDiff::New) => write!(f, "+ inline policy {name}"),
            Self::PutInlinePolicy(name, _, DocumentDiff::Changed { .. }) => {
                write!(f, "~ inline policy {name}")
            }
            Self::DetachPolicy(arn) => write!(f, "- managed policy {arn}"),
            Self::DeleteInlinePolicy(name) => write!(f, "- inline policy {name}"),
            Self::DeleteBoundary => f.write_str("- permissions boundary"),
            Self::Untag(keys) => write!(f, "- tags {}", join(keys.iter().map(String::as_str).collect())),
            Self::AddInstanceProfile(profile) => write!(f, "+ instance profile {}", profile.name),
            Self::RemoveInstanceProfile(name, _) => write!(f, "- instance profile {name}"),
            Self::ReleaseInstanceProfile(name, _) => {
                write!(f, "~ instance profile {name} stays, without our owner tag")
            }
            Self::DeleteRole => f.write_str("- role"),
        }
    }
}
