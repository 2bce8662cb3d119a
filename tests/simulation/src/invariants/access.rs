//! Who may do what with a role, in the small vocabulary of the specs.

use std::collections::BTreeSet;

use crate::aws::iam::Role;
use crate::spec::{callers, normal_text, only_denies};
use crate::wanted::Wanted;

/// Who may do what with a role.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) callers: BTreeSet<String>,
    pub(super) permissions: BTreeSet<String>,
    pub(super) is_bounded: bool,
}

impl Access {
    /// The access that a role grants.
    pub(super) fn of(role: &Role) -> Self {
        let inline = role.inline.values().filter(|document| !only_denies(document));
        let inline = inline.map(|document| normal_text(document));
        Self {
            callers: callers(&serde_json::from_str(&role.trust).unwrap_or_default()),
            permissions: role.managed.iter().cloned().chain(inline).collect(),
            is_bounded: role.boundary.is_some(),
        }
    }

    /// The access that an object asks for. Where the spec leaves what it does not list, that is part of it.
    pub(super) fn wanted(wanted: &Wanted, before: Option<&Self>) -> Self {
        let before = before.filter(|_| wanted.is_additive);
        let kept = before.into_iter().flat_map(|before| &before.permissions);
        let permissions = wanted.managed.iter().chain(wanted.inline.values()).chain(kept);
        Self {
            callers: wanted.callers.clone(),
            permissions: permissions.cloned().collect(),
            is_bounded: wanted.boundary.is_some(),
        }
    }

    /// Returns true if this grants the permission to the caller, without a boundary if `unbounded`.
    pub(super) fn grants(&self, caller: &str, permission: &str, unbounded: bool) -> bool {
        self.callers.contains(caller)
            && self.permissions.contains(permission)
            && !(unbounded && self.is_bounded)
    }
}
