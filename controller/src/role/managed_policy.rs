//! References to managed policies: an ARN, or the name of one of AWS's own, with or without its path.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::policy_document::nearest;

/// AWS's own policies: name to `path/name`. Their names are unique.
static CATALOGUE: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    include_str!("aws_managed_policies.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|full| (full.rsplit('/').next().unwrap_or(full), full))
        .collect()
});

/// ARN of a managed policy given by ARN, by name, or by path and name. Without an ARN it is AWS's own.
///
/// A name that is not in the catalogue may be new: it is taken as it stands.
pub fn policy_arn(reference: &str, partition: &str) -> String {
    arn_as_written(CATALOGUE.get(reference).copied().unwrap_or(reference), partition)
}

/// The same without the catalogue: a name has no path that it does not show.
pub fn arn_as_written(reference: &str, partition: &str) -> String {
    if reference.starts_with("arn:") {
        reference.to_owned()
    } else {
        format!("arn:{partition}:iam::aws:policy/{reference}")
    }
}

/// Whether a managed policy is one of AWS's own.
pub fn is_aws_owned(arn: &str) -> bool {
    aws_owned_name(arn).is_some()
}

/// Whether a managed policy is one of AWS's own that only deny: AWS and incident responders attach them to stop a role.
pub fn only_denies(arn: &str) -> bool {
    let name = aws_owned_name(arn).unwrap_or_default().to_ascii_lowercase();
    name == "awsdenyall" || name.starts_with("awscompromisedkeyquarantine")
}

/// Name of a policy of AWS's own, without its path.
fn aws_owned_name(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let is_iam = parts.next() == Some("arn") && parts.next().is_some() && parts.next() == Some("iam");
    let is_aws = is_iam && parts.next() == Some("") && parts.next() == Some("aws");
    let (kind, name) = parts.next().filter(|_| is_aws)?.split_once('/')?;
    (kind == "policy").then(|| name.rsplit('/').next().unwrap_or(name))
}

/// What the author of an ARN of AWS's own probably meant, where the catalogue has no such policy.
pub fn suggestion(arn: &str) -> Option<&'static str> {
    let (_, reference) = arn.split_once(":iam::aws:policy/")?;
    let name = reference.rsplit('/').next().unwrap_or(reference);
    match CATALOGUE.get(name) {
        Some(full) => (*full != reference).then_some(*full),
        None => nearest(name, CATALOGUE.keys().copied()),
    }
}

/// All of the catalogue, as `path/name`.
pub fn catalogue() -> impl Iterator<Item = &'static str> {
    CATALOGUE.values().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_path() {
        for (reference, arn) in [
            (
                "AdministratorAccess",
                "arn:aws:iam::aws:policy/AdministratorAccess",
            ),
            ("Billing", "arn:aws:iam::aws:policy/job-function/Billing"),
            (
                "job-function/Billing",
                "arn:aws:iam::aws:policy/job-function/Billing",
            ),
            (
                "AWSLambdaBasicExecutionRole",
                "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
            ),
            ("BrandNew", "arn:aws:iam::aws:policy/BrandNew"),
            ("arn:aws:iam::1:policy/Billing", "arn:aws:iam::1:policy/Billing"),
        ] {
            assert_eq!(policy_arn(reference, "aws"), arn);
        }
        assert_eq!(
            policy_arn("ReadOnlyAccess", "aws-cn"),
            "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"
        );
    }

    #[test]
    fn a_typing_error_gets_a_suggestion() {
        for (arn, meant) in [
            (
                "arn:aws:iam::aws:policy/AdministratorAcces",
                Some("AdministratorAccess"),
            ),
            (
                "arn:aws:iam::aws:policy/service-role/Billing",
                Some("job-function/Billing"),
            ),
            ("arn:aws:iam::aws:policy/ReadOnlyAccess", None),
            ("arn:aws:iam::aws:policy/NothingLikeAnythingThatThereIs", None),
            ("arn:aws:iam::111111111111:policy/AdministratorAcces", None),
        ] {
            assert_eq!(suggestion(arn), meant, "{arn}");
        }
    }

    #[test]
    fn every_name_stands_in_the_catalogue_once() {
        let lines = include_str!("aws_managed_policies.txt")
            .lines()
            .filter(|l| !l.starts_with('#'));
        assert_eq!(lines.count(), CATALOGUE.len());
        assert!(CATALOGUE.len() > 1000);
    }
}
