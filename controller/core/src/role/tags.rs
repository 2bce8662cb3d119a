//! Keys of tags: which are one, which are AWS's own, and which somebody else manages.

use crate::glob::matches;

/// Whether AWS keeps the tag for itself.
pub(super) fn is_reserved_tag(key: &str) -> bool {
    key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:"))
}

/// Whether two keys of a role's tags are one, [as IAM has it](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html).
pub fn same_key(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// Returns true if the account's `ignoreTags` leave the tag to somebody else.
pub fn is_ignored(ignore_tags: &[String], key: &str) -> bool {
    let key = key.to_lowercase();
    let mut patterns = ignore_tags.iter();
    patterns.any(|pattern| matches(&pattern.to_lowercase(), &key))
}
