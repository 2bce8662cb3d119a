//! Policies and boundaries that stay on a role although its spec does not list them.

use rolectl_crds::Denies;

use super::access::is_only_deny;
use super::desired::DesiredRole;
use super::managed_policy::{is_same_policy, matches_policy, only_denies};
use super::observed::{ObservedDocument, ObservedRole};
use crate::glob::matches;

/// The policies and the boundary that stay on a role although the spec does not list them. The entries are texts for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Policies that only deny, and a permissions boundary. Somebody else restricted the role with them.
    pub restrictions: Vec<String>,
    /// Policies that match the account's `ignorePolicies`.
    pub ignored: Vec<String>,
}

/// The beginning of the message about a restricted role.
pub const RESTRICTED: &str = "restricted from outside by ";

impl Kept {
    /// Returns one sentence for a status and a plan. `None` if nothing stays.
    pub fn message(&self) -> Option<String> {
        let part = |what: &str, entries: &[String]| {
            (!entries.is_empty()).then(|| format!("{what}{}", first_few(entries)))
        };
        let parts = [
            part(RESTRICTED, &self.restrictions),
            part("left to others by ignorePolicies: ", &self.ignored),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Returns the first entries of a list and the number of the others.
fn first_few(entries: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = entries.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match entries.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("{shown} and {more} more"),
        None => shown,
    }
}

/// Returns what stays on the observed role although `desired` does not list it.
pub fn what_stays(desired: &DesiredRole, observed: &ObservedRole) -> Kept {
    let mut kept = Kept::default();
    for arn in unlisted_policies(desired, observed) {
        let line = format!("managed policy {arn}");
        if is_ignored_policy(desired, arn) {
            kept.ignored.push(line);
        } else if only_denies(arn) && keeps_policy(desired, arn) {
            kept.restrictions.push(line);
        }
    }
    for (name, document) in &observed.inline_policies {
        let line = format!("inline policy {name}");
        if desired.inline_policies.contains_key(name) {
            continue;
        }
        if is_ignored_inline(desired, name) {
            kept.ignored.push(line);
        } else if is_only_deny(document) && keeps_inline(desired, name, document) {
            kept.restrictions.push(line);
        }
    }
    if let Some(boundary) = &observed.permissions_boundary
        && desired.permissions_boundary.is_none()
        && !desired.exclusive.boundary
    {
        kept.restrictions.push(format!("permissions boundary {boundary}"));
    }
    kept
}

/// Returns the attached managed policies that the spec does not list.
pub(super) fn unlisted_policies<'a>(
    desired: &'a DesiredRole,
    observed: &'a ObservedRole,
) -> impl Iterator<Item = &'a String> {
    let listed = |arn: &String| desired.managed_policies.iter().any(|d| is_same_policy(d, arn));
    observed.managed_policies.iter().filter(move |arn| !listed(arn))
}

fn is_ignored_policy(desired: &DesiredRole, arn: &str) -> bool {
    desired
        .ignore_policies
        .iter()
        .any(|pattern| matches_policy(pattern, arn))
}

fn is_ignored_inline(desired: &DesiredRole, name: &str) -> bool {
    let name = name.to_lowercase();
    let mut patterns = desired.ignore_policies.iter();
    patterns.any(|pattern| matches(&pattern.to_lowercase(), &name))
}

/// Returns true if an attached policy that the spec does not list stays on the role.
pub(super) fn keeps_policy(desired: &DesiredRole, arn: &str) -> bool {
    let restricts = desired.exclusive.denies == Denies::Keep && only_denies(arn);
    !desired.exclusive.managed_policies || restricts || is_ignored_policy(desired, arn)
}

/// Returns true if an inline policy that the spec does not list stays on the role.
pub(super) fn keeps_inline(desired: &DesiredRole, name: &str, document: &ObservedDocument) -> bool {
    let restricts = desired.exclusive.denies == Denies::Keep && is_only_deny(document);
    !desired.exclusive.inline_policies || restricts || is_ignored_inline(desired, name)
}
