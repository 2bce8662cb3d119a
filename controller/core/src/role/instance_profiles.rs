//! How the tag that names the instance profiles of a role changes with them.

use std::collections::{BTreeMap, BTreeSet};

use rolectl_crds::{OWNER_TAG, PROFILE_TAG};

use super::change::Change;
use super::desired::DesiredRole;
use super::observed::ObservedRole;
use super::profile_tag::{profile_tag, recorded_profiles};

/// Characters that a tag's value may have.
const TAG_VALUE: usize = 256;

/// What the tag that names the role's instance profiles becomes before any profile changes, and the change that it needs
/// once all of them are made. In between it names the old and the new ones, so that a kill forgets none.
pub fn profile_record(desired: &DesiredRole, observed: &ObservedRole) -> (Option<String>, Option<Change>) {
    let there = observed.tags.get(PROFILE_TAG);
    let wanted = desired.tags.get(PROFILE_TAG);
    let first = if observed.tags.get(OWNER_TAG) == Some(&desired.owner) {
        let old = recorded_profiles(observed);
        let new = desired.instance_profile.iter().filter(|_| wanted.is_some());
        let both = profile_tag(
            new.clone()
                .chain(old.iter().filter(|name| !new.clone().any(|n| n == *name))),
        );
        // Two of the longest names do not fit. The spec names the new one until the old one is removed.
        if both.chars().count() > TAG_VALUE {
            there.cloned().unwrap_or_default()
        } else {
            both
        }
    } else {
        // What another owner's tag names is not ours to remove.
        wanted.cloned().unwrap_or_default()
    };
    let changed = there.map_or("", String::as_str) != first;
    let last = match wanted {
        Some(wanted) if *wanted != first => Some(Change::Tag(BTreeMap::from([(
            PROFILE_TAG.to_owned(),
            wanted.clone(),
        )]))),
        None if there.is_some() || changed => Some(Change::Untag(BTreeSet::from([PROFILE_TAG.to_owned()]))),
        _ => None,
    };
    (changed.then_some(first), last)
}
