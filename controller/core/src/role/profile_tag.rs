//! The tag on a role that records the instance profiles that rolectl made for it.

use rolectl_crds::PROFILE_TAG;

use super::observed::ObservedRole;

/// Returns the value of the tag that records these instance profiles: names, separated by spaces. A comma in a name becomes a colon,
/// because a tag cannot have a comma and a name cannot have a colon.
pub fn profile_tag<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.replace(',', ":")).collect();
    names.join(" ")
}

/// Returns the instance profiles that the tag on the role records.
pub fn recorded_profiles(observed: &ObservedRole) -> Vec<String> {
    let tag = observed.tags.get(PROFILE_TAG).map_or("", String::as_str);
    tag.split(' ')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace(':', ","))
        .collect()
}
