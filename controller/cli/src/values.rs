//! Parsers of values that several commands take.

use rolectl_crds::Partition;

/// Returns true if the text has a length of 1 to `longest` bytes, all of them letters, digits or one of `more`.
pub fn has_only(text: &str, longest: usize, more: &str) -> bool {
    (1..=longest).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b))
}

/// Returns true for a name of Kubernetes: lower-case letters, digits and `more`, with a letter or a digit at both ends.
pub fn is_dns(text: &str, longest: usize, more: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().last()];
    has_only(text, longest, more)
        && !text.bytes().any(|b| b.is_ascii_uppercase())
        && ends.iter().flatten().all(u8::is_ascii_alphanumeric)
}

/// Parses the name of a partition.
pub fn partition(text: &str) -> Result<String, String> {
    Partition::named(text)
        .map(|partition| partition.name.to_owned())
        .map_err(|error| error.to_string())
}

/// Parses an account id.
pub fn account_id(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an account id has 12 digits".to_owned())
    }
}

/// Parses the name of a Kubernetes namespace, a DNS label.
pub fn namespace(text: &str) -> Result<String, String> {
    if is_dns(text, 63, "-") {
        Ok(text.to_owned())
    } else {
        Err("a namespace has 1 to 63 lower-case letters, digits and -".to_owned())
    }
}
