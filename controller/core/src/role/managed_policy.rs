//! References to managed policies: an ARN, or the name of an AWS managed policy with or without its path.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::glob::matches;
use crate::spelling::nearest;

/// AWS managed policies, from name to `path/name`. The names are unique.
static CATALOGUE: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    include_str!("aws_managed_policies.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|full| (full.rsplit('/').next().unwrap_or(full), full))
        .collect()
});

/// AWS managed policies, from name in lower case to `path/name`.
static FOLDED: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    CATALOGUE
        .iter()
        .map(|(name, full)| (name.to_ascii_lowercase(), *full))
        .collect()
});

/// AWS managed policies that have a Deny statement, by name in lower case.
static DENYING: LazyLock<HashSet<String>> = LazyLock::new(|| {
    include_str!("aws_managed_policies_denying.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_ascii_lowercase)
        .collect()
});

/// Returns the ARN of a managed policy that is given by ARN, by name, or by path and name. A policy without an ARN is an AWS managed
/// policy.
///
/// A name that is not in the catalogue may be new, so it is used without change.
pub fn policy_arn(reference: &str, partition: &str) -> String {
    arn_as_written(CATALOGUE.get(reference).copied().unwrap_or(reference), partition)
}

/// Returns the ARN of a managed policy as [`policy_arn`] does, without the catalogue: a name without a path has no path.
pub fn arn_as_written(reference: &str, partition: &str) -> String {
    if reference.starts_with("arn:") {
        reference.to_owned()
    } else {
        format!("arn:{partition}:iam::aws:policy/{reference}")
    }
}

/// Returns true if two ARNs name the same policy. IAM compares ARNs of policies without regard to case.
pub fn is_same_policy(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Returns the problem of the ARN of a managed policy in an account of this partition, and what to write instead.
///
/// IAM resolves such an ARN without regard to its case and, as reported, to its partition. Another spelling would bypass guardrails and
/// differ from what AWS lists at every sweep.
pub fn arn_problem(arn: &str, partition: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, of, service, "", owner, resource] = parts[..] else {
        return Some(format!(
            "{arn} is not the ARN of a managed policy: write arn:{partition}:iam::ACCOUNT:policy/NAME"
        ));
    };
    if of != partition {
        return Some(format!(
            "{arn} is of partition {of}, and the account is in {partition}: write arn:{partition}:{service}::{owner}:{resource}"
        ));
    }
    let is_owner = owner == "aws" || (owner.len() == 12 && owner.bytes().all(|b| b.is_ascii_digit()));
    if service != "iam" || !is_owner || !resource.starts_with("policy/") {
        let folded = arn.to_ascii_lowercase();
        let meant = if folded.starts_with(&format!("arn:{partition}:iam::aws:policy/")) {
            format!("arn:{partition}:iam::aws:policy/")
        } else {
            format!("arn:{partition}:iam::ACCOUNT:policy/NAME")
        };
        return Some(format!(
            "{arn} is not the ARN of a managed policy: it begins with {meant}"
        ));
    }
    let name = aws_owned_name(arn)?;
    let spelled = FOLDED.get(name.to_ascii_lowercase().as_str())?;
    let known = spelled.rsplit('/').next().unwrap_or(spelled);
    (known != name).then(|| format!("AWS has no managed policy {name}: did you mean {spelled}?"))
}

/// Returns true if the ARN of a managed policy matches a pattern of a guardrail, without regard to case. A pattern that is not an ARN is
/// compared with the name of the policy, with and without its path, for policies of every owner.
pub fn matches_policy(pattern: &str, arn: &str) -> bool {
    let (pattern, arn) = (pattern.to_ascii_lowercase(), arn.to_ascii_lowercase());
    let reference = arn.split_once(":policy/").map_or("", |(_, reference)| reference);
    let name = reference.rsplit('/').next().unwrap_or(reference);
    [arn.as_str(), reference, name]
        .iter()
        .any(|text| matches(&pattern, text))
}

/// Returns the problem of a pattern for managed policies that never matches in an account of this partition.
pub fn pattern_problem(pattern: &str, partition: &str) -> Option<String> {
    let folded = pattern.to_ascii_lowercase();
    let of = folded.strip_prefix("arn:")?.split(':').next().unwrap_or_default();
    (!matches(of, partition)).then(|| {
        format!("{pattern} is of partition {of}, and the account is in {partition}: it never matches")
    })
}

/// Returns true if a managed policy is an AWS managed policy.
pub fn is_aws_owned(arn: &str) -> bool {
    aws_owned_name(arn).is_some()
}

/// Returns true if a managed policy is an AWS managed policy that only denies (`AWSDenyAll`, `AWSCompromisedKeyQuarantine*`). AWS and
/// incident responders attach them to stop a role.
pub fn only_denies(arn: &str) -> bool {
    let name = aws_owned_name(arn).unwrap_or_default().to_ascii_lowercase();
    name == "awsdenyall" || name.starts_with("awscompromisedkeyquarantine")
}

/// Returns true if a managed policy may allow something.
pub fn may_allow(arn: &str) -> bool {
    !only_denies(arn)
}

/// Returns true if a managed policy may have a Deny statement. Of the AWS managed policies those that have one are listed. One that the
/// catalogue does not have may be newer.
pub fn may_deny(arn: &str) -> bool {
    let name = aws_owned_name(arn).map(str::to_ascii_lowercase);
    !name.is_some_and(|name| FOLDED.contains_key(&name) && !DENYING.contains(&name))
}

/// Returns the name of an AWS managed policy without its path. `None` for a policy of another owner.
fn aws_owned_name(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let is_iam = parts.next() == Some("arn") && parts.next().is_some() && parts.next() == Some("iam");
    let is_aws = is_iam && parts.next() == Some("") && parts.next() == Some("aws");
    let (kind, name) = parts.next().filter(|_| is_aws)?.split_once('/')?;
    (kind == "policy").then(|| name.rsplit('/').next().unwrap_or(name))
}

/// Returns the entry of the catalogue that is most similar to an AWS managed policy that the catalogue does not have.
pub fn suggestion(arn: &str) -> Option<&'static str> {
    let (_, reference) = arn.split_once(":iam::aws:policy/")?;
    let name = reference.rsplit('/').next().unwrap_or(reference);
    match CATALOGUE.get(name) {
        Some(full) => (*full != reference).then_some(*full),
        None => nearest(name, CATALOGUE.keys().copied()),
    }
}

/// Returns a warning for a reference to an AWS managed policy that the catalogue does not have. It may be newer than the catalogue. A
/// name in another case is an error of its own ([`arn_problem`]).
pub fn unknown_policy(reference: &str) -> Option<String> {
    let arn = policy_arn(reference, "aws");
    let name = aws_owned_name(&arn).filter(|name| !name.contains("$("))?;
    if FOLDED.contains_key(name.to_ascii_lowercase().as_str()) {
        return None;
    }
    let hint = nearest(name, CATALOGUE.keys().copied()).map_or_else(
        || "it may be newer than this rolectl; a policy of your own is named by its ARN".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Some(format!(
        "AWS managed policy {name} is not in rolectl's catalogue: {hint}"
    ))
}

/// Returns all AWS managed policies as `path/name`.
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
    fn an_arn_in_another_spelling_is_an_error_with_the_right_spelling() {
        for (arn, partition, message) in [
            ("arn:aws:iam::aws:policy/AdministratorAccess", "aws", None),
            ("arn:aws:iam::aws:policy/BrandNew", "aws", None),
            (
                "arn:aws:iam::111111111111:policy/administratoraccess",
                "aws",
                None,
            ),
            (
                "arn:aws:iam::aws:policy/administratoraccess",
                "aws",
                Some("did you mean AdministratorAccess?"),
            ),
            (
                "arn:aws:iam::aws:policy/job-function/billing",
                "aws",
                Some("did you mean job-function/Billing?"),
            ),
            (
                "arn:aws:iam::aws:policy/AdministratorAccess",
                "aws-us-gov",
                Some("write arn:aws-us-gov:iam::aws:policy/AdministratorAccess"),
            ),
            ("arn:AWS:iam::aws:policy/X", "aws", Some("partition AWS")),
            (
                "arn:aws:IAM::aws:policy/X",
                "aws",
                Some("begins with arn:aws:iam::aws:policy/"),
            ),
            (
                "arn:aws:iam::AWS:policy/X",
                "aws",
                Some("begins with arn:aws:iam::aws:policy/"),
            ),
            ("arn:aws:iam::aws:role/X", "aws", Some("is not the ARN")),
            ("arn:aws:iam", "aws", Some("is not the ARN")),
        ] {
            let problem = arn_problem(arn, partition);
            let as_expected = match message {
                None => problem.is_none(),
                Some(message) => problem.as_ref().is_some_and(|p| p.contains(message)),
            };
            assert!(as_expected, "{arn}: {problem:?}");
        }
    }

    #[test]
    fn a_bare_pattern_matches_any_policy_of_any_owner_in_any_case() {
        for (pattern, arn, matched) in [
            ("*", "arn:aws:iam::111111111111:policy/mine", true),
            ("admin*", "arn:aws:iam::aws:policy/AdministratorAccess", true),
            ("Admin*", "arn:aws:iam::111111111111:policy/team/Admin", true),
            ("Billing", "arn:aws:iam::aws:policy/job-function/Billing", true),
            (
                "job-function/*",
                "arn:aws:iam::aws:policy/job-function/Billing",
                true,
            ),
            ("Billing", "arn:aws:iam::aws:policy/BillingReadOnly", false),
            (
                "arn:aws:iam::aws:policy/*",
                "arn:aws:iam::111111111111:policy/mine",
                false,
            ),
            (
                "ARN:aws:iam::aws:policy/ADMIN*",
                "arn:aws:iam::aws:policy/AdministratorAccess",
                true,
            ),
        ] {
            assert_eq!(matches_policy(pattern, arn), matched, "{pattern} {arn}");
        }
        assert_eq!(pattern_problem("arn:aws:iam::aws:policy/*", "aws"), None);
        assert_eq!(pattern_problem("arn:*:iam::aws:policy/*", "aws-cn"), None);
        assert_eq!(pattern_problem("Admin*", "aws-cn"), None);
        assert!(pattern_problem("arn:aws:iam::aws:policy/*", "aws-cn").is_some());
    }

    #[test]
    fn a_misspelled_name_has_a_suggestion() {
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
    fn every_name_is_in_the_catalogue_once() {
        let lines = include_str!("aws_managed_policies.txt")
            .lines()
            .filter(|l| !l.starts_with('#'));
        assert_eq!(lines.count(), CATALOGUE.len());
        assert!(CATALOGUE.len() > 1000);
    }
}
