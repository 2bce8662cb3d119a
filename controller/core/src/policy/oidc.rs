//! OIDC identity providers, and the claims that restrict a statement to the tokens of one owner.

use crate::glob::fixed_prefix;

/// The owner whose tokens a statement accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenOwner {
    /// One owner or a list of owners.
    Fixed,
    /// Every user of one application of a private provider.
    Audience,
    /// Every user of the provider.
    Anybody,
}

/// Claims of GitHub tokens that fix the owner. AWS requires a condition on `sub` in addition.
pub(super) const GITHUB_CLAIMS: &[&str] = &[
    "repository_owner_id",
    "repository_id",
    "repository",
    "enterprise_id",
    "job_workflow_ref",
];

/// Issuers whose URL many organizations share, and the claims that distinguish the organizations, one of which AWS requires:
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

/// The kind of an OIDC provider. It determines which claims of a token name the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issuer {
    GitHub,
    GitLab,
    /// A Kubernetes cluster. Every workload can have a token for the audience `sts.amazonaws.com`.
    Cluster,
    Shared(&'static [&'static str]),
    /// A provider of one organization. AWS requires no claim.
    Private,
}

impl Issuer {
    pub(super) fn of(issuer: &str) -> Self {
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

    /// Returns the claims that name the owner of a token. Each of them is enough.
    pub(super) const fn owner_claims(self) -> &'static [&'static str] {
        match self {
            Self::GitHub | Self::GitLab | Self::Cluster | Self::Private => &["sub"],
            Self::Shared(claims) => claims,
        }
    }

    /// Returns true if the value of a claim fixes the owner. `like` is true for operators that support wildcards. Under other
    /// operators a `*` is a mistake of the author, and the value fixes nothing.
    pub(super) fn fixes_owner(self, claim: &str, value: &str, like: bool) -> bool {
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

    /// Returns a claim, with an example of a value that fixes the owner, for messages.
    pub(super) const fn example(self) -> &'static str {
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

/// Returns the condition key, with an example of a value that fixes the owner, for messages.
pub(super) fn owner_example(issuer: &str) -> String {
    let host = issuer.trim_end_matches('/');
    format!("{host}:{}", Issuer::of(issuer).example())
}

/// Returns the issuer of an OIDC provider, which is given by ARN or by domain. `None` for a SAML provider.
pub(super) fn oidc_issuer(provider: &str) -> Option<&str> {
    match provider.split_once(":oidc-provider/") {
        Some((_, issuer)) => Some(issuer),
        None => (!provider.starts_with("arn:")).then_some(provider),
    }
}

/// Returns the claim in a condition key such as `ISSUER:sub`. `None` if the key is not of this issuer.
pub(super) fn claim_of<'k>(key: &'k str, issuer: &str) -> Option<&'k str> {
    let issuer = issuer.trim_end_matches('/');
    let prefix = key.get(..issuer.len())?;
    let claim = key.get(issuer.len()..)?.strip_prefix(':')?;
    prefix.eq_ignore_ascii_case(issuer).then_some(claim)
}
