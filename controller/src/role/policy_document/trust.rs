//! Who a trust policy lets in: the principals that it names, and the conditions that narrow them.

use std::collections::BTreeSet;

use super::condition::matching;
use super::{Caseless, Effect, PolicyDocument, Principals, Scope, Statement};

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
