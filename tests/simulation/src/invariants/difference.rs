//! Is a role as its object declares it?

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::iam::{Role, State};
use crate::spec::{callers, normal_text, only_denies};
use crate::wanted::Wanted;

/// Compares a role with what its object wants.
///
/// # Errors
/// The first difference.
pub(super) fn compare(role: &Role, wanted: &Wanted, state: &State) -> Result<(), String> {
    let trusted = callers(&serde_json::from_str(&role.trust).unwrap_or_default());
    if trusted != wanted.callers {
        return Err(format!("it trusts {trusted:?}"));
    }
    if !is_as_listed(&wanted.managed, &role.managed, wanted.is_additive) {
        return Err(format!("attached are {:?}", role.managed));
    }
    let inline = role.inline.iter().filter(|(_, document)| !only_denies(document));
    let inline: BTreeSet<(String, String)> = inline
        .map(|(name, document)| (name.clone(), normal_text(document)))
        .collect();
    let listed = wanted.inline.clone().into_iter().collect();
    if !is_as_listed(&listed, &inline, wanted.is_additive) {
        return Err(format!("inline policies are {inline:?}"));
    }
    if wanted.boundary.is_some() && role.boundary != wanted.boundary {
        return Err(format!("the boundary is {:?}", role.boundary));
    }
    if (role.max_session_duration, &role.description) != (wanted.duration, &wanted.description) {
        return Err(format!("{} s, {:?}", role.max_session_duration, role.description));
    }
    let tags: BTreeMap<&String, &String> = role
        .tags
        .iter()
        .filter(|(key, _)| !key.starts_with("iam.rolectl.dev/"))
        .collect();
    let listed = wanted.tags.iter().collect();
    if !is_as_listed(&listed, &tags.clone().into_iter().collect(), wanted.is_additive) {
        return Err(format!("the tags are {tags:?}"));
    }
    let there = state.profiles_of(&role.name);
    let is_in = |profile: &String| there.iter().any(|name| name.eq_ignore_ascii_case(profile));
    if !wanted.profile.iter().all(is_in) {
        return Err(format!("it is in the profiles {there:?}"));
    }
    Ok(())
}

fn is_as_listed<T: Ord>(listed: &BTreeSet<T>, there: &BTreeSet<T>, is_additive: bool) -> bool {
    if is_additive {
        listed.is_subset(there)
    } else {
        listed == there
    }
}
