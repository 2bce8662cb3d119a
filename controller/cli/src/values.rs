//! Parsers of values that several commands take.

use rolectl_crds::Partition;

use crate::schema::takes;

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
pub fn partition(text: &str) -> Result<&'static Partition, String> {
    Partition::named(text).map_err(|error| error.to_string())
}

/// Returns the text if the field of the CRD takes it.
pub fn checked(kind: &str, field: &[&str], text: &str, what: &str) -> Result<String, String> {
    if takes(kind, field, text) {
        Ok(text.to_owned())
    } else {
        Err(what.to_owned())
    }
}

/// Parses an account id.
pub fn account_id(text: &str) -> Result<String, String> {
    let field = ["spec", "accountId"];
    checked("AwsAccount", &field, text, "an account id has 12 digits")
}

/// Parses the name of a Kubernetes namespace, a DNS label.
pub fn namespace(text: &str) -> Result<String, String> {
    let field = ["spec", "allowedNamespaces", "names"];
    let what = "a namespace has 1 to 63 lower-case letters, digits and -";
    checked("AwsAccount", &field, text, what)
}

/// Parses the external id.
pub fn external_id(text: &str) -> Result<String, String> {
    checked(
        "AwsAccount",
        &["spec", "assumeRole", "externalId"],
        text,
        "an external id has 2 to 1224 letters, digits and characters of _+=,.@:/-",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_has_twelve_digits() {
        assert!(account_id("012345678901").is_ok());
        for wrong in ["", "12345678901", "1234567890123", "12345678901x", "١١١١١١١١١١١١"] {
            assert!(account_id(wrong).unwrap_err().contains("12 digits"), "{wrong}");
        }
    }
}
