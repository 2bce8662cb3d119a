//! The errors of a spec, except for those of its documents.

use std::collections::BTreeMap;
use std::fmt;

use rolectl_crds::{PolicyJson, Reason, TAG_PREFIX};

use super::tags::{is_reserved_tag, same_key};
use crate::bounded;
use crate::glob::matches;
use crate::policy::MAX_BYTES;

/// The error for a spec that is invalid in an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {problem}")]
pub struct SpecError {
    /// Path of the field below `spec`.
    pub field: String,
    /// The problem and what to write instead.
    pub problem: String,
}

impl SpecError {
    pub(super) fn new(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            problem: bounded::display(&problem, bounded::MESSAGE),
        }
    }

    /// Returns the reason for the status of the role.
    pub const fn reason(&self) -> Reason {
        Reason::InvalidSpec
    }
}

/// Returns the first character that IAM refuses in a role's description, by the pattern of
/// [CreateRole](https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html):
/// `[\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*`.
pub fn outside_description(text: &str) -> Option<char> {
    text.chars()
        .find(|c| !matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{a1}'..='\u{ff}'))
}

/// Returns the first character that IAM refuses in a tag's key or value, by the pattern of
/// [Tag](https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html): `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`.
/// Some combining marks that IAM refuses count as letters here.
pub fn outside_tag(text: &str) -> Option<char> {
    let allowed =
        |c: char| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c);
    text.chars().find(|c| !allowed(*c))
}

pub(super) fn check_characters(tags: &BTreeMap<String, String>, description: &str) -> Result<(), SpecError> {
    for (key, value) in tags {
        if let Some(bad) = outside_tag(key).or_else(|| outside_tag(value)) {
            return Err(SpecError::new(
                format!("tags.{key}"),
                format!(
                    "holds {}: a tag has letters, digits, spaces and _.:/=+-@ only",
                    named(bad)
                ),
            ));
        }
    }
    outside_description(description).map_or(Ok(()), |bad| {
        Err(SpecError::new(
            "description",
            format!(
                "holds {}, which IAM does not take in a description: use Latin-1 characters only",
                named(bad)
            ),
        ))
    })
}

/// Returns the name of a character for messages, with its code point because it may be invisible.
fn named(c: char) -> String {
    format!("the character {:?} (U+{:04X})", c, u32::from(c))
}

/// Checks the size of all inline policies together, which share one quota, before they are parsed.
pub(super) fn check_inline_size<'p>(policies: impl Iterator<Item = &'p PolicyJson>) -> Result<(), SpecError> {
    let bytes: usize = policies.map(PolicyJson::text_len).sum();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let problem = format!(
        "hold {bytes} bytes together: IAM allows 10240 characters in all inline policies of a role, so move the larger ones into managed policies"
    );
    Err(SpecError::new("inlinePolicies", problem))
}

/// Checks the tag keys after their variables are replaced. The schema checked them only before that.
pub(super) fn check_tag_keys(tags: &[(String, String)], ignored: &[String]) -> Result<(), SpecError> {
    for (n, (key, _)) in tags.iter().enumerate() {
        let folded = key.to_lowercase();
        let problem = if folded.starts_with(TAG_PREFIX) {
            format!("begins with {TAG_PREFIX}, and such tags are rolectl's own: choose another key")
        } else if is_reserved_tag(key) {
            "begins with aws:, and such tags are AWS's own: choose another key".to_owned()
        } else if key.is_empty() || key.chars().count() > 128 {
            "has to have 1 to 128 characters once its variables are filled in".to_owned()
        } else if tags.iter().skip(n + 1).any(|(other, _)| same_key(other, key)) {
            "is listed twice, and IAM takes keys that differ only in case for one: remove one".to_owned()
        } else if let Some(pattern) = ignored.iter().find(|p| matches(&p.to_lowercase(), &folded)) {
            format!(
                "matches {pattern} of the AwsAccount's ignoreTags, so somebody else looks after this tag: remove it"
            )
        } else {
            continue;
        };
        return Err(SpecError::new(format!("tags.{key}"), problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_iam_refuses_in_descriptions_and_tags_are_named() {
        for (text, description, tag) in [
            ("Für das Büro, 10 %", None, Some(',')),
            ("team: platform/x=1+2-3_4.5@6", None, None),
            ("Büro 会社", Some('会'), None),
            ("a \u{2014} b", Some('\u{2014}'), Some('\u{2014}')),
            ("\u{1f680}", Some('\u{1f680}'), Some('\u{1f680}')),
            ("a\u{a0}b", Some('\u{a0}'), None),
            ("a\tb", None, Some('\t')),
            ("a\u{7f}b", Some('\u{7f}'), Some('\u{7f}')),
        ] {
            assert_eq!(outside_description(text), description, "{text}");
            assert_eq!(outside_tag(text), tag, "{text}");
        }
    }
}
