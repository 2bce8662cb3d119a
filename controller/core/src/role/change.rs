//! One change to a role: its AWS operation, its line in a plan, and the role after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rolectl_crds::Adoption;

use super::desired::DesiredRole;
use super::observed::{ObservedDocument, ObservedRole};
use super::tags::same_key;
use crate::policy::{DiffLine, Document};

/// One change to a role or to its instance profile, which is one or two calls to AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CreateRole` with the trust policy, the description, the boundary and the tags.
    CreateRole(Box<DesiredRole>),
    /// `TagRole` with these tags.
    Tag(BTreeMap<String, String>),
    /// `UpdateAssumeRolePolicy` with this document, which has this difference from the current one.
    UpdateTrustPolicy(Document, DocumentDiff),
    /// `PutRolePermissionsBoundary` with this ARN.
    PutBoundary(String),
    /// `UpdateRole`, always with both values, because AWS resets a missing one.
    UpdateRole {
        /// The description. An empty one removes it.
        description: String,
        /// Longest session in seconds.
        max_session_duration: i32,
        /// The values that change, for people.
        what: String,
    },
    /// `AttachRolePolicy` with this ARN.
    AttachPolicy(String),
    /// `PutRolePolicy` with this name and document, which has this difference from the current one.
    PutInlinePolicy(String, Document, DocumentDiff),
    /// `DetachRolePolicy` with this ARN.
    DetachPolicy(String),
    /// `DeleteRolePolicy` with this name.
    DeleteInlinePolicy(String),
    /// `DeleteRolePermissionsBoundary`.
    DeleteBoundary,
    /// `UntagRole` with these keys.
    Untag(BTreeSet<String>),
    /// `AddRoleToInstanceProfile`, after `CreateInstanceProfile` if the profile does not exist.
    AddInstanceProfile(DesiredProfile),
    /// `RemoveRoleFromInstanceProfile` of the profile with this name, then `DeleteInstanceProfile` if it carries this owner tag.
    RemoveInstanceProfile(String, String),
    /// `UntagInstanceProfile`, which removes this owner tag from the profile with this name. The profile stays.
    ReleaseInstanceProfile(String, String),
    /// `DeleteRole`.
    DeleteRole,
}

/// The desired state of an instance profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredProfile {
    /// Name of the profile.
    pub name: String,
    /// IAM path of the profile, the same as that of the role.
    pub path: String,
    /// Value of the owner tag.
    pub owner: String,
    /// The existing profiles of this name that may be taken over.
    pub adoption: Adoption,
}

impl DesiredProfile {
    /// Returns the desired profile called `name` of a role.
    pub fn new(name: &str, role: &DesiredRole) -> Self {
        Self {
            name: name.to_owned(),
            path: role.path.clone(),
            owner: role.owner.clone(),
            adoption: role.adoption,
        }
    }
}

/// The difference between a document in AWS and the desired one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentDiff {
    /// AWS has no such document.
    New,
    /// AWS has another document.
    Changed {
        /// The differences. Empty if the document in AWS cannot be parsed.
        lines: Vec<DiffLine>,
        /// Unique ids of deleted principals in the document in AWS.
        deleted_principals: Vec<String>,
    },
}

impl DocumentDiff {
    /// Returns the difference that leads from `observed` to `wanted`.
    pub fn between(observed: &ObservedDocument, wanted: &Document) -> Self {
        match observed {
            ObservedDocument::Parsed(current) => Self::Changed {
                lines: current.canonical().diff(wanted.canonical()),
                deleted_principals: current
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

/// The identifiers that AWS gives a role when it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// ARN of the role.
    pub arn: String,
    /// Unique id of the role (`AROA...`).
    pub role_id: String,
}

impl Change {
    /// Returns the name of the AWS operation that makes the change.
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

    /// Returns the lines that show how the change alters a document. Empty for changes without a document.
    pub fn details(&self) -> &[DiffLine] {
        match self {
            Self::UpdateTrustPolicy(_, diff) | Self::PutInlinePolicy(_, _, diff) => diff.lines(),
            _ => &[],
        }
    }

    /// Returns the role after this change. `created` has the identifiers that AWS returned from `CreateRole`.
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

/// Writes one line for people: `+` adds, `~` changes, `-` removes.
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
