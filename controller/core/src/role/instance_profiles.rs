//! The changes to the tag that records the instance profiles of a role.

use std::collections::{BTreeMap, BTreeSet};

use rolectl_crds::{OWNER_TAG, PROFILE_TAG};

use super::change::Change;
use super::desired::DesiredRole;
use super::observed::ObservedRole;
use super::profile_tag::{profile_tag, recorded_profiles};

/// Length of the longest value of a tag in IAM, in characters.
const TAG_VALUE: usize = 256;

/// Returns the value of the tag `iam.rolectl.dev/instance-profile` before the profiles change, and the change to the tag after all of
/// them. In between the tag names the old and the new profiles, so that none is forgotten if the process stops. Each is `None` if the
/// tag does not change.
pub fn profile_record(desired: &DesiredRole, observed: &ObservedRole) -> (Option<String>, Option<Change>) {
    let current = observed.tags.get(PROFILE_TAG);
    let wanted = desired.tags.get(PROFILE_TAG);
    let first = if observed.tags.get(OWNER_TAG) == Some(&desired.owner) {
        let old = recorded_profiles(observed);
        let new = desired.instance_profile.iter().filter(|_| wanted.is_some());
        let both = profile_tag(
            new.clone()
                .chain(old.iter().filter(|name| !new.clone().any(|n| n == *name))),
        );
        // Two of the longest names do not fit into a tag. The spec names the new profile until the old one is removed.
        if both.chars().count() > TAG_VALUE {
            current.cloned().unwrap_or_default()
        } else {
            both
        }
    } else {
        // Profiles that another owner recorded must not be removed.
        wanted.cloned().unwrap_or_default()
    };
    let changed = current.map_or("", String::as_str) != first;
    let last = match wanted {
        Some(wanted) if *wanted != first => Some(Change::Tag(BTreeMap::from([(
            PROFILE_TAG.to_owned(),
            wanted.clone(),
        )]))),
        None if current.is_some() || changed => Some(Change::Untag(BTreeSet::from([PROFILE_TAG.to_owned()]))),
        _ => None,
    };
    (changed.then_some(first), last)
}
