//! The callers that a trust policy allows: its principals, and the conditions that restrict them.

use std::collections::BTreeSet;

use super::condition::matching;
use super::document::{
    Caseless, Effect, PolicyDocument, Principals, Scope, Statement, is_account, is_unique_id,
};
use super::oidc::{GITHUB_CLAIMS, Issuer, TokenOwner, claim_of};
use crate::glob::{fixed_prefix, matches};

/// A principal that an Allow statement of a trust policy names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustedPrincipal<'a> {
    /// `AWS`, `Service`, `Federated` or `CanonicalUser`.
    pub kind: &'a str,
    /// The principal in its canonical form. The root of an account is the account id, everybody is `*`.
    pub value: &'a str,
    /// The organization ids of a `StringEquals` condition on `aws:PrincipalOrgID`. The caller must belong to one of them. Empty if
    /// the statement does not restrict the organization.
    pub organizations: BTreeSet<&'a str>,
}

impl PolicyDocument {
    /// Returns every principal that an Allow statement names, with the organizations that its conditions require.
    ///
    /// `Principal: "*"`, `NotPrincipal` and a missing principal are all returned as `*` of the kind `AWS`, because everybody may be
    /// among them.
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

    /// Returns the organization ids, one of which the caller must have. IAM joins conditions by AND, so if several conditions restrict
    /// the organization, each is a sound answer. The one with the fewest ids is the most precise.
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

/// Condition keys that restrict callers from all AWS accounts if their values are fixed. The list is closed, as in
/// [what S3 counts as public](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status):
/// for every other key, anybody can make a principal with a matching value (tags, names, session names, MFA, regions, external
/// ids) in their own account.
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

/// The part of a value that must be fixed so that the value restricts the callers.
#[derive(Clone, Copy)]
enum Fixed {
    /// The organization's id. A path may follow.
    Organization,
    /// The account id.
    Account,
    /// The account of an ARN.
    Arn,
    /// A network of at most 1/256 of the IPv4 addresses (`/8`), or 1/65,536 of the IPv6 addresses (`/16`).
    Network,
    /// The whole id.
    Id(&'static str),
    /// The unique id of a user or a role, or an account id. A session name may follow.
    UniqueId,
}

impl Fixed {
    /// Returns true if the value is fixed where it must be. `arn` is true for operators whose wildcards match only within one part
    /// of an ARN.
    fn is_in(self, value: &str, arn: bool) -> bool {
        // A policy variable has the caller's own value, so it counts as a wildcard.
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

impl Statement {
    /// Returns the base operator, the key and the values of every condition that lists accepted values and does not match a
    /// missing key.
    fn required(&self) -> impl Iterator<Item = (&str, &str, &BTreeSet<String>)> {
        const POSITIVE: &[&str] = &[
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
                let is_positive = POSITIVE.iter().any(|known| known.eq_ignore_ascii_case(base));
                is_positive.then_some((base, keys))
            })
            .flat_map(|(base, keys)| keys.iter().map(move |(key, values)| (base, key.as_str(), values)))
            .filter(|(_, _, values)| !values.is_empty())
    }

    /// Returns true if a condition restricts the statement to some callers out of all AWS accounts.
    pub(super) fn narrows_everybody(&self) -> bool {
        self.required().any(|(operator, key, values)| {
            let arn = is_arn(operator);
            let fixed = NARROWING
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(key));
            fixed.is_some_and(|(_, fixed)| values.iter().all(|value| fixed.is_in(value, arn)))
        })
    }

    /// Returns true if the statement matches the action, which is given in lower case.
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

    /// Returns the identity providers under `Federated`.
    pub(super) fn providers(&self) -> impl Iterator<Item = &str> {
        let named = match &self.principal {
            Some(Scope::Only(Principals::Named(kinds))) => kinds.get("Federated"),
            _ => None,
        };
        named.into_iter().flatten().map(String::as_str)
    }

    /// Returns whose tokens of the issuer the statement accepts, by its conditions.
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
            // Every claim except `aud` and `amr` describes the caller.
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

/// Returns true if the operator is `name` without `ForAllValues:` and `IfExists`, so that it does not match a missing key.
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
            // These match a missing key.
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
            // The variable is the caller's own organization, so it restricts nobody.
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
