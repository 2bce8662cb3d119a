//! The changes that delete a role.

use super::access::{is_only_deny, may_deny};
use super::change::Change;
use super::managed_policy::{is_aws_owned, only_denies};
use super::observed::ObservedRole;

/// Returns the changes that remove everything from a role and delete it, in an order that IAM accepts. Policies that deny are removed
/// after those that allow, so that a restricted role stays restricted if a call fails.
pub fn removal(observed: &ObservedRole, owner: &str) -> Vec<Change> {
    let inline = observed.inline_policies.iter().map(|(name, document)| {
        let rank = match (is_only_deny(document), may_deny(document)) {
            (true, _) => 3,
            (false, denies) => u8::from(denies),
        };
        (rank, Change::DeleteInlinePolicy(name.clone()))
    });
    let managed = observed.managed_policies.iter().map(|arn| {
        let rank = match (only_denies(arn), is_aws_owned(arn)) {
            (true, _) => 3,
            (false, aws) => u8::from(!aws),
        };
        (rank, Change::DetachPolicy(arn.clone()))
    });
    let profiles = observed.instance_profiles.iter().map(|profile| {
        let change = Change::RemoveInstanceProfile(profile.clone(), owner.to_owned());
        (2, change)
    });
    let mut changes: Vec<(u8, Change)> = inline.chain(managed).chain(profiles).collect();
    // The sort is stable.
    changes.sort_by_key(|(rank, _)| *rank);
    changes
        .into_iter()
        .map(|(_, change)| change)
        .chain([Change::DeleteRole])
        .collect()
}
