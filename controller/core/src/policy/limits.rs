//! The limits on the size and the nesting of a policy document.

use serde_json::Value;

use super::problem::PolicyError;

/// Largest document of an author that is parsed, in bytes.
///
/// [AWS allows](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html) 10,240 characters or less, white
/// space not counted.
pub const MAX_BYTES: usize = 64 * 1024;
/// Largest document from AWS that is parsed, in bytes. Some AWS managed policies have more than 64 KiB.
pub(super) const MAX_OBSERVED_BYTES: usize = 1024 * 1024;
/// Deepest nesting of a document that is parsed. The grammar needs 6 levels: a value in a list of a condition.
pub const MAX_DEPTH: usize = 16;

/// Returns an error if an author's text is too large for a document. Call this before the text is parsed.
pub fn check_size(bytes: usize) -> Result<(), PolicyError> {
    check_limit(bytes, MAX_BYTES)
}

/// Returns an error if a text of this many bytes exceeds the limit.
pub(super) fn check_limit(bytes: usize, limit: usize) -> Result<(), PolicyError> {
    if bytes <= limit {
        return Ok(());
    }
    let what = format!(
        "is larger than {} KiB: AWS allows 10240 characters at most, so split or shorten it",
        limit / 1024
    );
    Err(PolicyError::of("", what))
}

/// Returns an error if a value has more than `limit` bytes or is nested too deeply.
///
/// The check does not recurse and stops at the limit, because the value may have any shape.
pub(super) fn check_bounds(value: &Value, limit: usize) -> Result<(), PolicyError> {
    let mut todo = vec![(value, 1_usize)];
    let mut bytes = 0_usize;
    while let Some((value, depth)) = todo.pop() {
        if depth > MAX_DEPTH {
            let what = format!("is nested more than {MAX_DEPTH} levels deep: no policy document is");
            return Err(PolicyError::of("", what));
        }
        bytes = bytes.saturating_add(match value {
            Value::String(text) => text.len().saturating_add(2),
            Value::Object(map) => map.keys().map(|key| key.len().saturating_add(3)).sum(),
            _ => 1,
        });
        check_limit(bytes, limit)?;
        match value {
            Value::Array(items) => todo.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => todo.extend(map.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}
