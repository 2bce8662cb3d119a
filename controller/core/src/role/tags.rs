//! The keys of tags: those that are equal in IAM, those that AWS reserves, and those that somebody else manages.

use crate::glob::matches;

/// Returns true if AWS reserves the key, which begins with `aws:`.
pub(super) fn is_reserved_tag(key: &str) -> bool {
    key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:"))
}

/// Returns true if two keys are equal on a role. IAM
/// [compares the keys of a role without regard to case](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html).
pub fn same_key(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// Returns true if the account's `ignoreTags` leave the tag to somebody else.
pub fn is_ignored(ignore_tags: &[String], key: &str) -> bool {
    let key = key.to_lowercase();
    let mut patterns = ignore_tags.iter();
    patterns.any(|pattern| matches(&pattern.to_lowercase(), &key))
}
