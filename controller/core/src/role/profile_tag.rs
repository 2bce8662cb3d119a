//! The tag on a role that names the instance profiles that were made for it.

use rolectl_crds::PROFILE_TAG;

use super::observed::ObservedRole;

/// The value of the tag on a role that names its instance profiles. A tag value takes no comma, a name takes no colon.
pub fn profile_tag<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.replace(',', ":")).collect();
    names.join(" ")
}

/// The instance profiles that a tag on the role says were made for it.
pub fn recorded_profiles(observed: &ObservedRole) -> Vec<String> {
    let tag = observed.tags.get(PROFILE_TAG).map_or("", String::as_str);
    tag.split(' ')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace(':', ","))
        .collect()
}
