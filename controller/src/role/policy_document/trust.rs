//! Who a trust policy lets in: the principals that it names, and the conditions that narrow them.

use std::collections::BTreeSet;

use super::condition::matching;
use super::{Caseless, Effect, PolicyDocument, Principals, Scope, Statement, is_account, is_unique_id};
use crate::role::guardrails::matches;

/// A principal that an Allow statement of a trust policy names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustedPrincipal<'a> {
    /// `AWS`, `Service`, `Federated` or `CanonicalUser`.
    pub kind: &'a str,
    /// The principal in its canonical form: an account's root is the bare account id, everybody is `*`.
    pub value: &'a str,
    /// The organization ids, one of which the caller must have: those of `StringEquals` on `aws:PrincipalOrgID`.
    /// Empty where the statement does not restrict the organization.
    pub organizations: BTreeSet<&'a str>,
}

impl PolicyDocument {
    /// Every principal that an Allow statement names, with the organizations that its conditions require.
    ///
    /// `Principal: "*"`, Allow with `NotPrincipal` and Allow without a principal are all `AWS` `*`: what cannot be
    /// listed counts as everybody.
    pub fn trusted_principals(&self) -> BTreeSet<TrustedPrincipal<'_>> {
        self.statements
            .iter()
            .filter(|statement| statement.effect == Effect::Allow)
            .flat_map(Statement::trusted_principals)
            .collect()
    }
}

impl Statement {
    fn trusted_principals(&self) -> Vec<TrustedPrincipal<'_>> {
        let organizations = self.organizations();
        let principal = |kind, value| TrustedPrincipal {
            kind,
            value,
            organizations: organizations.clone(),
        };
        match &self.principal {
            Some(Scope::Only(Principals::Named(kinds))) => kinds
                .iter()
                .flat_map(|(kind, values)| values.iter().map(move |value| (kind.as_str(), value.as_str())))
                .map(|(kind, value)| principal(kind, value))
                .collect(),
            Some(Scope::Only(Principals::Everybody) | Scope::AllBut(_)) | None => vec![principal("AWS", "*")],
        }
    }

    /// The organization ids out of which the caller's must be. Conditions are joined by AND, so where several fix the
    /// organization any one of them is a sound answer; the shortest list is the closest.
    fn organizations(&self) -> BTreeSet<&str> {
        self.condition
            .iter()
            .filter(|(operator, _)| is_plain(operator, "StringEquals"))
            .filter_map(|(_, keys)| keys.get(&Caseless::from("aws:PrincipalOrgID")))
            .filter(|values| values.iter().all(|value| !value.contains("${")))
            .min_by_key(|values| values.len())
            .map(|values| values.iter().map(String::as_str).collect())
            .unwrap_or_default()
    }
}

/// Condition keys whose fixed values pick out callers from all AWS accounts. A closed list, in the manner of
/// [what S3 counts as public](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status):
/// anybody can give a principal of an account of their own the tags, names, session names, MFA, regions and external ids
/// that other keys ask for.
const NARROWING: &[(&str, Fixed)] = &[
    ("aws:PrincipalOrgID", Fixed::Organization),
    ("aws:PrincipalOrgPaths", Fixed::Organization),
    ("aws:PrincipalOrgMasterAccountId", Fixed::Account),
    ("aws:PrincipalAccount", Fixed::Account),
    ("aws:PrincipalArn", Fixed::Arn),
    ("aws:SourceAccount", Fixed::Account),
    ("aws:SourceArn", Fixed::Arn),
    ("aws:SourceIp", Fixed::Network),
    ("aws:SourceOrgID", Fixed::Organization),
    ("aws:SourceOrgPaths", Fixed::Organization),
    ("aws:SourceOwner", Fixed::Account),
    ("aws:SourceVpc", Fixed::Id("vpc-")),
    ("aws:SourceVpcArn", Fixed::Arn),
    ("aws:SourceVpce", Fixed::Id("vpce-")),
    ("aws:VpceAccount", Fixed::Account),
    ("aws:VpceOrgID", Fixed::Organization),
    ("aws:VpceOrgPaths", Fixed::Organization),
    ("aws:userid", Fixed::UniqueId),
];

/// The part of a value that must be fixed, so that the value picks out callers.
#[derive(Clone, Copy)]
enum Fixed {
    /// The organization's id, of which a path may follow.
    Organization,
    /// The account id.
    Account,
    /// The account of an ARN.
    Arn,
    /// A network of at most a 256th of the IPv4 addresses, or a 65,536th of the IPv6 ones.
    Network,
    /// The whole id.
    Id(&'static str),
    /// The unique id of a user or a role, or an account id, of which a session's name may follow.
    UniqueId,
}

impl Fixed {
    /// Whether a value is fixed where it must be. `arn` says that wildcards match within the parts of an ARN only.
    fn is_in(self, value: &str, arn: bool) -> bool {
        // What stands before the first wildcard. A policy variable takes the caller's own value.
        let fixed = fixed_prefix(value);
        match self {
            Self::Organization => {
                let (id, all) = match fixed.split_once('/') {
                    Some((id, _)) => (id, true),
                    None => (fixed, fixed == value),
                };
                all && id.len() > 2 && id.starts_with("o-")
            }
            Self::Account => fixed == value && is_account(value),
            Self::Arn => {
                let mut parts = value.splitn(6, ':');
                let mut part = || parts.next().unwrap_or_default();
                let (prefix, partition, service, region, account) = (part(), part(), part(), part(), part());
                let literal = |text: &str| fixed_prefix(text) == text;
                prefix == "arn"
                    && (arn || [partition, service, region].into_iter().all(literal))
                    && is_account(account)
            }
            Self::Network => {
                let (address, length) = value.split_once('/').unwrap_or((value, "128"));
                let least = if address.contains(':') { 16 } else { 8 };
                address.parse::<std::net::IpAddr>().is_ok()
                    && length.parse::<u8>().is_ok_and(|length| length >= least)
            }
            Self::Id(prefix) => fixed == value && value.starts_with(prefix) && value.len() > prefix.len(),
            Self::UniqueId => {
                let (id, all) = match fixed.split_once(':') {
                    Some((id, _)) => (id, true),
                    None => (fixed, fixed == value),
                };
                all && (is_account(id) || is_unique_id(id))
            }
        }
    }
}

fn is_arn(operator: &str) -> bool {
    operator.get(..3).is_some_and(|o| o.eq_ignore_ascii_case("Arn"))
}

/// What stands before the first wildcard or policy variable.
fn fixed_prefix(value: &str) -> &str {
    let end = value.find(['*', '?']).into_iter().chain(value.find("${")).min();
    value.get(..end.unwrap_or(value.len())).unwrap_or_default()
}

impl Statement {
    /// The positive conditions of the statement that a missing key does not meet: base operator, key, values.
    fn required(&self) -> impl Iterator<Item = (&str, &str, &BTreeSet<String>)> {
        const PICKING: &[&str] = &[
            "StringEquals",
            "StringEqualsIgnoreCase",
            "StringLike",
            "ArnEquals",
            "ArnLike",
            "IpAddress",
        ];
        self.condition
            .iter()
            .filter_map(|(operator, keys)| {
                let base = matching(operator.as_str())?;
                let picks = PICKING.iter().any(|known| known.eq_ignore_ascii_case(base));
                picks.then_some((base, keys))
            })
            .flat_map(|(base, keys)| keys.iter().map(move |(key, values)| (base, key.as_str(), values)))
            .filter(|(_, _, values)| !values.is_empty())
    }

    /// Whether a condition picks out some callers of all AWS accounts.
    pub(super) fn narrows_everybody(&self) -> bool {
        self.required().any(|(operator, key, values)| {
            let arn = is_arn(operator);
            let fixed = NARROWING
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(key));
            fixed.is_some_and(|(_, fixed)| values.iter().all(|value| fixed.is_in(value, arn)))
        })
    }

    /// Whether the statement speaks of the action, which is given in lower case.
    pub(super) fn covers(&self, action: &str) -> bool {
        let named = self.action.inner().iter();
        let named = named
            .into_iter()
            .any(|pattern| matches(&pattern.as_str().to_ascii_lowercase(), action));
        match self.action {
            Scope::Only(_) => named,
            Scope::AllBut(_) => !named,
        }
    }

    /// The identity providers under `Federated`.
    pub(super) fn providers(&self) -> impl Iterator<Item = &str> {
        let named = match &self.principal {
            Some(Scope::Only(Principals::Named(kinds))) => kinds.get("Federated"),
            _ => None,
        };
        named.into_iter().flatten().map(String::as_str)
    }

    /// How far the conditions fix whose token of the issuer is accepted.
    pub(super) fn token_owner(&self, issuer: &str) -> TokenOwner {
        let provider = Issuer::of(issuer);
        let claims: Vec<(&str, &str, &BTreeSet<String>)> = self
            .required()
            .filter_map(|(operator, key, values)| Some((operator, claim_of(key, issuer)?, values)))
            .collect();
        let fixes = |wanted: &str| {
            claims.iter().any(|(operator, claim, values)| {
                let like = operator.eq_ignore_ascii_case("StringLike") || is_arn(operator);
                claim.eq_ignore_ascii_case(wanted)
                    && values
                        .iter()
                        .all(|value| provider.fixes_owner(wanted, value, like))
            })
        };
        if provider.owner_claims().iter().any(|claim| fixes(claim)) {
            return TokenOwner::Fixed;
        }
        let evaluates_subject = claims
            .iter()
            .any(|(_, claim, _)| claim.eq_ignore_ascii_case("sub"));
        if provider == Issuer::GitHub && evaluates_subject && GITHUB_CLAIMS.iter().any(|claim| fixes(claim)) {
            return TokenOwner::Fixed;
        }
        if provider == Issuer::Private {
            // Every claim but the audience describes the caller.
            let described = claims
                .iter()
                .map(|(_, claim, _)| *claim)
                .filter(|claim| !["aud", "amr"].contains(&claim.to_ascii_lowercase().as_str()))
                .any(fixes);
            if described {
                return TokenOwner::Fixed;
            }
            if fixes("aud") {
                return TokenOwner::Audience;
            }
        }
        TokenOwner::Anybody
    }
}

/// Whose token a statement accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenOwner {
    /// That of a fixed owner.
    Fixed,
    /// That of every user of one application of a private provider.
    Audience,
    /// Anybody's.
    Anybody,
}

/// Claims of GitHub's that fix an owner. AWS requires that `sub` is evaluated beside them.
const GITHUB_CLAIMS: &[&str] = &[
    "repository_owner_id",
    "repository_id",
    "repository",
    "enterprise_id",
    "job_workflow_ref",
];

/// Issuers whose URL many organizations share, so that only a claim tells them apart, with the claim that AWS requires:
/// [identity-provider controls](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc_secure-by-default.html)
/// and, for the consumer providers,
/// [the keys of OIDC federation](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif).
const SHARED: &[(&str, &[&str])] = &[
    ("accounts.google.com", &["aud", "oaud", "sub", "email"]),
    ("agent.buildkite.com", &["sub"]),
    ("api.pulumi.com/oidc", &["aud"]),
    ("app.terraform.io", &["sub"]),
    ("cognito-identity.amazonaws.com", &["aud", "sub"]),
    ("cognito-identity-us-gov.amazonaws.com", &["aud", "sub"]),
    ("graph.facebook.com", &["app_id", "id"]),
    ("oidc.codefresh.io", &["sub"]),
    ("oidc.vercel.com", &["aud", "sub"]),
    ("oidc-configuration.audit-log.githubusercontent.com", &["sub"]),
    ("proidc.upbound.io", &["sub"]),
    ("sandboxes.cloud", &["aud"]),
    ("scalr.io", &["sub"]),
    ("studio.datachain.ai/api", &["sub"]),
    ("tokens.cloud.shisho.dev", &["sub"]),
    ("www.amazon.com", &["app_id", "user_id"]),
];

/// An OIDC provider by how its tokens name their owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Issuer {
    GitHub,
    GitLab,
    /// A Kubernetes cluster, of which every workload has a token for the audience `sts.amazonaws.com`.
    Cluster,
    Shared(&'static [&'static str]),
    /// One organization's own. AWS requires no claim.
    Private,
}

impl Issuer {
    fn of(issuer: &str) -> Self {
        let issuer = issuer.trim_end_matches('/').to_ascii_lowercase();
        let host = issuer.split('/').next().unwrap_or_default();
        if let Some((_, claims)) = SHARED.iter().find(|(known, _)| *known == issuer) {
            return Self::Shared(claims);
        }
        if host.ends_with("actions.githubusercontent.com") || issuer.ends_with("/_services/token") {
            Self::GitHub
        } else if host.split('.').any(|label| label.starts_with("gitlab")) {
            Self::GitLab
        } else if host.starts_with("oidc.eks.") || host.starts_with("oidc-eks.") {
            Self::Cluster
        } else {
            Self::Private
        }
    }

    /// The claims, each of which fixes the owner of a token where its value does.
    const fn owner_claims(self) -> &'static [&'static str] {
        match self {
            Self::GitHub | Self::GitLab | Self::Cluster | Self::Private => &["sub"],
            Self::Shared(claims) => claims,
        }
    }

    /// Whether the value of a claim fixes the owner. Only `like` operators know wildcards, and a `*` under another one
    /// is a mistake that must not count.
    fn fixes_owner(self, claim: &str, value: &str, like: bool) -> bool {
        let fixed = fixed_prefix(value);
        let whole = fixed == value;
        if !whole && !like {
            return false;
        }
        let letters = |text: &str| text.bytes().filter(u8::is_ascii_alphanumeric).count();
        // A value such as `KEY:OWNER/...`: the owner must end before a wildcard begins.
        let owner = |keys: &[&str]| {
            keys.iter().any(|key| {
                let at = fixed.find(&format!("{key}:")).filter(|at| {
                    let before = at.checked_sub(1).and_then(|at| fixed.as_bytes().get(at));
                    matches!(before, None | Some(b':'))
                });
                let rest = at
                    .and_then(|at| fixed.get(at + key.len() + 1..))
                    .unwrap_or_default();
                match rest.find(['/', ':']) {
                    Some(end) => end > 0,
                    None => whole && !rest.is_empty(),
                }
            })
        };
        if value.starts_with("system:") || (self == Self::Cluster && claim == "sub") {
            let mut parts = fixed.split(':');
            let service_account = parts.next() == Some("system") && parts.next() == Some("serviceaccount");
            let namespace = parts.next().unwrap_or_default();
            return service_account && !namespace.is_empty() && (whole || parts.next().is_some());
        }
        match (self, claim) {
            (Self::GitHub, "sub") => owner(&[
                "repo",
                "repository",
                "repository_id",
                "repository_owner",
                "repository_owner_id",
                "enterprise",
                "enterprise_id",
                "job_workflow_ref",
            ]),
            (Self::GitHub, "repository" | "job_workflow_ref") => fixed.find('/').is_some_and(|end| end > 0),
            (Self::GitLab, _) => owner(&[
                "project_path",
                "project_id",
                "namespace_path",
                "namespace_id",
                "user_login",
                "user_id",
            ]),
            (Self::Shared(_), "sub") if !whole => {
                let rest = fixed.split_once(':').map(|(_, rest)| rest).unwrap_or_default();
                rest.find(['/', ':']).is_some_and(|end| end > 0)
            }
            (Self::GitHub | Self::Shared(_), _) => whole && letters(value) > 0,
            (_, "aud") => whole && letters(value) > 0 && !value.eq_ignore_ascii_case("sts.amazonaws.com"),
            _ => !value.contains("${") && letters(value) >= 3,
        }
    }

    /// A value that fixes the owner, for people.
    const fn example(self) -> &'static str {
        match self {
            Self::GitHub => "sub such as repo:OWNER/REPOSITORY:*",
            Self::GitLab => "sub such as project_path:GROUP/PROJECT:*",
            Self::Cluster => "sub such as system:serviceaccount:NAMESPACE:NAME",
            Self::Shared(claims) => match claims.first() {
                Some(claim) => claim,
                None => "sub",
            },
            Self::Private => "sub",
        }
    }
}

/// The claim and value to put into a condition on the issuer's tokens, for people.
pub(super) fn owner_example(issuer: &str) -> String {
    let host = issuer.trim_end_matches('/');
    format!("{host}:{}", Issuer::of(issuer).example())
}

/// The issuer of an OIDC provider's ARN, or a domain that stands for one itself. `None`: a SAML provider, or none at all.
pub(super) fn oidc_issuer(provider: &str) -> Option<&str> {
    match provider.split_once(":oidc-provider/") {
        Some((_, issuer)) => Some(issuer),
        None => (!provider.starts_with("arn:")).then_some(provider),
    }
}

/// The claim that a condition key such as `ISSUER:sub` is about.
fn claim_of<'k>(key: &'k str, issuer: &str) -> Option<&'k str> {
    let issuer = issuer.trim_end_matches('/');
    let prefix = key.get(..issuer.len())?;
    let claim = key.get(issuer.len()..)?.strip_prefix(':')?;
    prefix.eq_ignore_ascii_case(issuer).then_some(claim)
}

/// What is wrong with a principal under `AWS`, by
/// [the forms that a trust policy takes](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
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
    // The account is empty where `$(session.accountId)` stands and there is no session yet: nothing is written then.
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

/// What is wrong with a provider under `Federated`: IAM takes a domain name, or the ARN of a SAML or OIDC provider.
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

/// What is wrong with a service principal: it is a host name.
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

/// Whether the operator is `name` in a form that a missing key does not meet: without `ForAllValues:` and `IfExists`.
fn is_plain(operator: &Caseless, name: &str) -> bool {
    matching(operator.as_str()).is_some_and(|base| base.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn listed(statement: &Value) -> Vec<String> {
        let document = PolicyDocument::from_value(&json!({"Statement": statement})).unwrap();
        let show = |p: TrustedPrincipal<'_>| format!("{} {} {:?}", p.kind, p.value, p.organizations);
        document.trusted_principals().into_iter().map(show).collect()
    }

    #[test]
    fn every_principal_of_an_allow_statement_is_listed_with_its_organizations() {
        let allow = |principal: Value, condition: Value| json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition});
        for (statement, expected) in [
            (
                allow(
                    json!({"AWS": ["arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:role/x"], "Service": "ec2.amazonaws.com"}),
                    json!({}),
                ),
                vec![
                    "AWS 111111111111 {}",
                    "AWS arn:aws:iam::222222222222:role/x {}",
                    "Service ec2.amazonaws.com {}",
                ],
            ),
            (allow(json!("*"), json!({})), vec!["AWS * {}"]),
            (
                allow(
                    json!("*"),
                    json!({"stringequals": {"AWS:principalorgid": ["o-a", "o-b"]}}),
                ),
                vec![r#"AWS * {"o-a", "o-b"}"#],
            ),
            // A missing key meets these.
            (
                allow(
                    json!("*"),
                    json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-a"}}),
                ),
                vec!["AWS * {}"],
            ),
            (
                allow(
                    json!("*"),
                    json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-a"}}),
                ),
                vec!["AWS * {}"],
            ),
            // Everybody's own organization is no organization.
            (
                allow(
                    json!("*"),
                    json!({"StringEquals": {"aws:PrincipalOrgID": "${aws:PrincipalOrgID}"}}),
                ),
                vec!["AWS * {}"],
            ),
            (
                json!({"Effect": "Allow", "Action": "sts:AssumeRole", "NotPrincipal": {"AWS": "111111111111"}}),
                vec!["AWS * {}"],
            ),
            (
                json!({"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": "*"}),
                vec![],
            ),
        ] {
            assert_eq!(listed(&statement), expected, "{statement}");
        }
    }
}
