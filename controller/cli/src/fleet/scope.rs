//! Selects the roles that a command works on.

use rolectl_core::names::full_name;
use rolectl_crds::IamRole;

/// The roles that a command works on. The inventory contains the others, too, because one of them can claim the same role in AWS.
pub(super) struct Scope {
    /// Only this role, as `namespace/name`.
    pub(super) role: Option<String>,
    /// Only the roles of this namespace.
    pub(super) namespace: Option<String>,
}

impl Scope {
    /// Returns true if the command works on the role.
    pub(super) fn contains(&self, role: &IamRole) -> bool {
        let named = self.role.as_ref().is_none_or(|only| full_name(role) == *only);
        named && (self.namespace.is_none() || self.namespace == role.metadata.namespace)
    }
}
