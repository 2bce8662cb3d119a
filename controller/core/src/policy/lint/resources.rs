//! Checks of the resources of a statement.

use super::finding::Severity;

/// Returns true if a text is an ARN of six parts, or has a wildcard that can match one.
pub(super) fn is_resource(text: &str) -> bool {
    text.starts_with('*')
        || text.starts_with("${")
        || (text.starts_with("arn:") && (text.splitn(6, ':').count() == 6 || text.ends_with('*')))
}

/// Returns the problem of an ARN that has the right number of parts.
pub(super) fn resource_problem(resource: &str) -> Option<(Severity, String)> {
    let error = |what: String| Some((Severity::Error, what));
    if resource.contains(|c: char| c.is_control()) {
        return error(format!(
            "holds {resource:?} with a line break or another control character: remove it"
        ));
    }
    let mut parts = resource.strip_prefix("arn:")?.splitn(5, ':').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (service, region, account, path) = (part(), part(), part(), part());
    let wild = |text: &str| text.contains(['*', '?', '$']);
    if account.bytes().all(|b| b.is_ascii_digit()) && !account.is_empty() && account.len() != 12 {
        let what = format!(
            "holds {resource}, which never matches: its account has {} digits, and an account id has 12",
            account.len()
        );
        return Some((Severity::Warning, what));
    }
    if service != "iam" {
        return None;
    }
    if !region.is_empty() && !wild(region) {
        return error(format!(
            "holds {resource}: IAM has no regions, so write nothing between the colons: arn:aws:iam::{account}:{path}"
        ));
    }
    let kind = path.split('/').next().unwrap_or_default();
    let known =
        kind.is_empty() || kind == "root" || wild(kind) || (path.contains('/') && IAM_KINDS.contains(&kind));
    if known {
        return None;
    }
    error(format!(
        "holds {resource}: an IAM resource begins with one of {}/",
        IAM_KINDS.join("/, ")
    ))
}

/// The kinds of IAM resources. IAM lists them in the error for another kind.
const IAM_KINDS: &[&str] = &[
    "user",
    "federated-user",
    "role",
    "group",
    "instance-profile",
    "mfa",
    "server-certificate",
    "policy",
    "sms-mfa",
    "saml-provider",
    "oidc-provider",
    "report",
    "access-report",
    "u2f",
];
