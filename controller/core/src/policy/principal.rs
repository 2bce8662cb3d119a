//! Checks of the form of a principal.

use super::document::is_account;

/// Returns the problem of a principal under `AWS` that has none of
/// [the forms that a trust policy accepts](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
pub(super) fn aws_principal_problem(principal: &str) -> Option<String> {
    if principal == "*" || is_account(principal) {
        return None;
    }
    if principal.bytes().all(|b| b.is_ascii_digit()) {
        let digits = principal.len();
        return Some(format!(
            "holds {principal}, which has {digits} digits: an account id has 12, and in YAML it needs quotes"
        ));
    }
    if principal.contains(['*', '?']) {
        return Some(format!(
            "holds {principal}: a principal knows no wildcards; trust the account and add a Condition on aws:PrincipalArn"
        ));
    }
    if !principal.starts_with("arn:") {
        return Some(format!(
            "holds {principal}: write an account id of 12 digits or an ARN"
        ));
    }
    let mut parts = principal.splitn(6, ':').skip(2);
    let mut part = || parts.next().unwrap_or_default();
    let (service, region, account, resource) = (part(), part(), part(), part());
    // `$(session.accountId)` is empty while there is no session. Nothing is written then.
    if !is_account(account) && !account.is_empty() {
        return Some(format!(
            "holds {principal}: the account in an ARN has 12 digits, as in arn:aws:iam::123456789012:role/NAME"
        ));
    }
    let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
    let possible = region.is_empty()
        && match (service, kind) {
            ("iam", "root") => name.is_empty(),
            ("iam", "user" | "role") | ("sts", "federated-user") => !name.is_empty(),
            ("sts", "assumed-role") => name.split('/').filter(|part| !part.is_empty()).count() == 2,
            _ => false,
        };
    if possible {
        return None;
    }
    Some(match (service, kind) {
        ("iam", "group") => {
            format!("holds {principal}: a group is no principal; name its users, or a role that they assume")
        }
        ("iam", "saml-provider" | "oidc-provider") => {
            format!("holds {principal}: write an identity provider under Federated")
        }
        _ => format!(
            "holds {principal}: write an account, a user, a role, or one session as arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION"
        ),
    })
}

/// Returns the problem of a provider under `Federated` that is neither a domain name nor the ARN of a SAML or OIDC provider.
pub(super) fn federated_problem(provider: &str) -> Option<String> {
    let valid = if provider.starts_with("arn:") {
        let mut parts = provider.splitn(6, ':').skip(2);
        let mut part = || parts.next().unwrap_or_default();
        let (service, region, account, resource) = (part(), part(), part(), part());
        let name = resource
            .strip_prefix("saml-provider/")
            .or_else(|| resource.strip_prefix("oidc-provider/"));
        service == "iam"
            && region.is_empty()
            && is_account(account)
            && name.is_some_and(|name| !name.is_empty() && !name.contains(['*', '?']))
    } else {
        provider.contains('.')
            && provider
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b))
    };
    (!valid).then(|| {
        format!(
            "holds {provider}: write a domain such as accounts.google.com, or arn:aws:iam::ACCOUNT:oidc-provider/HOST or saml-provider/NAME"
        )
    })
}

/// Returns the problem of a service principal that is not a host name such as `ec2.amazonaws.com`.
pub(super) fn service_problem(service: &str) -> Option<String> {
    let host = service
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_matches('/');
    let is_host = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    if is_host(service) && service.contains('.') {
        None
    } else if is_host(service) {
        Some(format!("holds {service}: write it as {service}.amazonaws.com"))
    } else if is_host(host) && host.contains('.') {
        Some(format!("holds {service}: write it as {host}"))
    } else {
        Some(format!(
            "holds {service}: write the service's name, such as ec2.amazonaws.com"
        ))
    }
}
