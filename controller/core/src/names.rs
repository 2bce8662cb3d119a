//! The names of an `IamRole` in AWS and in Kubernetes, and the value of its owner tag.

use std::fmt;
use std::sync::Arc;

use crate::digest::sha256;

use rolectl_crds::{IamRole, IamRoleSpec};

/// Namespace and name of an `IamRole`. A clone is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl RoleKey {
    /// The key of the object with this namespace and name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of(role: &IamRole) -> Self {
        let metadata = &role.metadata;
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

impl fmt::Display for RoleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Returns the name of the role in AWS: `spec.roleName`, or else the name of the object.
pub fn role_name<'a>(spec: &'a IamRoleSpec, object_name: &'a str) -> &'a str {
    spec.role_name.as_deref().unwrap_or(object_name)
}

/// Returns the name in AWS of an object's role.
pub fn name_in_aws(role: &IamRole) -> &str {
    role_name(&role.spec, role.metadata.name.as_deref().unwrap_or_default())
}

/// Returns `namespace/name` of an object, for messages.
pub fn full_name(role: &IamRole) -> String {
    let metadata = &role.metadata;
    format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}

/// Returns the value of the owner tag for an `IamRole`: `cluster/namespace/name`. A value longer than the 256 characters of a tag
/// is shortened and ends in a hash.
pub fn owner(cluster: &str, namespace: &str, name: &str) -> String {
    shortened(&format!("{cluster}/{namespace}/{name}"), 256)
}

/// Returns the value of the owner tag for this object.
pub fn owner_of(cluster: &str, role: &IamRole) -> String {
    let metadata = &role.metadata;
    owner(
        cluster,
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// Returns `full` in at most `limit` characters. A text that was cut ends in a hash, so that it stays unique.
pub fn shortened(full: &str, limit: usize) -> String {
    if full.chars().count() <= limit {
        return full.to_owned();
    }
    let digest = sha256(full);
    let hash: String = digest.chars().take(16).collect();
    let start: String = full.chars().take(limit - hash.len() - 1).collect();
    format!("{start}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_longer_than_a_tag_ends_in_a_hash_and_stays_unique() {
        assert_eq!(owner("c", "ns", "app"), "c/ns/app");
        let (a, b) = (
            owner("c", "ns", &format!("{}a", "x".repeat(260))),
            owner("c", "ns", &format!("{}b", "x".repeat(260))),
        );
        assert_eq!(a.chars().count(), 256);
        assert_ne!(a, b);
    }
}
