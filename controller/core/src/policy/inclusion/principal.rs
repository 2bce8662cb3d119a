//! Whether the principals of one statement are among those of another.

use crate::policy::document::{Principals, Scope, is_account, is_unique_id};

/// One principal of a statement, or the whole of its `NotPrincipal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A permissions policy names no principal: it is that of its role.
    Own,
    /// `"*"`.
    Everybody,
    /// A principal with its kind, such as `AWS`.
    Named(String, String),
    AllBut(Principals),
}

/// Returns the principals of a statement.
pub fn principals(scope: Option<&Scope<Principals>>) -> Vec<Principal> {
    match scope {
        None => vec![Principal::Own],
        Some(Scope::Only(Principals::Everybody)) => vec![Principal::Everybody],
        Some(Scope::Only(Principals::Named(kinds))) => {
            let named = kinds.iter().flat_map(|(kind, values)| {
                values
                    .iter()
                    .map(|value| Principal::Named(kind.clone(), value.clone()))
            });
            named.collect()
        }
        Some(Scope::AllBut(excluded)) => vec![Principal::AllBut(excluded.clone())],
    }
}

impl Principal {
    /// Returns the principal as a message shows it.
    pub fn shown(&self) -> Option<String> {
        match self {
            Self::Own => None,
            Self::Everybody => Some("*".to_owned()),
            Self::Named(kind, value) => Some(format!("{kind} {value}")),
            Self::AllBut(_) => Some("all but some".to_owned()),
        }
    }

    /// Returns the steps to compare the principal with another.
    pub fn steps(&self) -> usize {
        match self {
            Self::Own | Self::Everybody | Self::AllBut(Principals::Everybody) => 1,
            Self::Named(_, value) => 1 + value.len() / 8,
            Self::AllBut(Principals::Named(kinds)) => {
                let all = kinds.values().flatten();
                all.map(|value| 1 + value.len() / 8)
                    .fold(1, usize::saturating_add)
            }
        }
    }

    /// Returns true if every caller that `inner` names is one of this, too. `own_account` is the account of the role whose trust policy it is.
    pub fn covers(&self, inner: &Self, own_account: Option<&str>) -> bool {
        match (self, inner) {
            // AWS puts the unique id in place of a principal that was deleted. Nobody has it again.
            (Self::Named(_, value), _) if is_unique_id(value) => self == inner,
            _ if self == inner => true,
            (Self::Everybody, _) => *inner != Self::Own,
            (Self::Named(kind, everybody), Self::Named(other, _)) if kind == "AWS" && everybody == "*" => {
                other == "AWS"
            }
            // The account lets its users and roles assume the role by their own policies. One of the role's own account that is named needs
            // no such policy, so that it is more.
            (Self::Named(kind, account), Self::Named(other, arn)) if kind == "AWS" && other == "AWS" => {
                is_account(account)
                    && own_account != Some(account)
                    && own_account.is_some()
                    && account_of(arn) == Some(account)
            }
            _ => false,
        }
    }

    /// Returns true if no caller is named by both. False if that cannot be shown.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        let (Self::Named(kind, value), Self::Named(other_kind, other_value)) = (self, other) else {
            return false;
        };
        // AWS documents `{"AWS": "*"}` as everybody, and a canonical user is an account.
        let is_wide = |kind: &str, value: &str| kind == "CanonicalUser" || (kind == "AWS" && value == "*");
        if is_wide(kind, value) || is_wide(other_kind, other_value) {
            return false;
        }
        if kind != other_kind {
            return true;
        }
        match kind.as_str() {
            "AWS" => {}
            // A service may have a name for each region and partition.
            "Service" => return first_label(value) != first_label(other_value),
            // A provider is named by its ARN or by its host.
            _ => return value != other_value && value.starts_with("arn:") == other_value.starts_with("arn:"),
        }
        match (account_of(value), account_of(other_value)) {
            (Some(account), Some(other)) if account != other => true,
            // Two users or roles of one account.
            (Some(_), Some(_)) => {
                is_single(value) && is_single(other_value) && !value.eq_ignore_ascii_case(other_value)
            }
            _ => false,
        }
    }
}

/// Returns the account of a principal of the kind `AWS`.
fn account_of(value: &str) -> Option<&str> {
    if is_account(value) {
        return Some(value);
    }
    let mut parts = value.splitn(6, ':');
    let account = parts.nth(4)?;
    is_account(account).then_some(account)
}

/// Returns the name of a service without region and partition.
fn first_label(service: &str) -> &str {
    service.split('.').next().unwrap_or(service)
}

/// Returns true for the ARN of one user or role.
fn is_single(value: &str) -> bool {
    let resource = value.splitn(6, ':').nth(5).unwrap_or_default();
    (resource.starts_with("role/") || resource.starts_with("user/")) && !resource.contains(['*', '?', '$'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aws(value: &str) -> Principal {
        Principal::Named("AWS".to_owned(), value.to_owned())
    }

    const ROLE: &str = "arn:aws:iam::222222222222:role/app";

    #[test]
    fn an_account_covers_its_users_and_roles_unless_it_is_the_roles_own() {
        let service = Principal::Named("Service".to_owned(), "ec2.amazonaws.com".to_owned());
        for (outer, inner, own, is_covered) in [
            (Principal::Everybody, aws(ROLE), None, true),
            (Principal::Everybody, service.clone(), None, true),
            (aws("*"), aws(ROLE), None, true),
            (aws("*"), service.clone(), None, false),
            (aws(ROLE), aws(ROLE), None, true),
            (aws("222222222222"), aws(ROLE), Some("111111111111"), true),
            (aws("222222222222"), aws(ROLE), Some("222222222222"), false),
            // Whose role it is must be known.
            (aws("222222222222"), aws(ROLE), None, false),
            (aws("333333333333"), aws(ROLE), Some("111111111111"), false),
            (aws(ROLE), aws("222222222222"), Some("111111111111"), false),
            (
                aws("AROAEXAMPLEEXAMPLE12"),
                aws(ROLE),
                Some("111111111111"),
                false,
            ),
            (service, Principal::Everybody, None, false),
        ] {
            assert_eq!(
                outer.covers(&inner, own),
                is_covered,
                "{outer:?} {inner:?} {own:?}"
            );
        }
    }

    #[test]
    fn principals_of_other_kinds_accounts_or_names_are_disjoint() {
        let service = |name: &str| Principal::Named("Service".to_owned(), name.to_owned());
        for (one, other, is_disjoint) in [
            (aws(ROLE), service("ec2.amazonaws.com"), true),
            (aws(ROLE), aws("333333333333"), true),
            (aws(ROLE), aws("222222222222"), false),
            (aws(ROLE), aws("arn:aws:iam::222222222222:role/web"), true),
            (
                aws(ROLE),
                aws("arn:aws:sts::222222222222:assumed-role/app/x"),
                false,
            ),
            (aws(ROLE), aws("*"), false),
            (service("ec2.amazonaws.com"), aws("*"), false),
            (
                service("states.amazonaws.com"),
                service("states.eu-west-1.amazonaws.com"),
                false,
            ),
            (
                service("ec2.amazonaws.com"),
                service("lambda.amazonaws.com"),
                true,
            ),
            (aws(ROLE), Principal::Everybody, false),
        ] {
            assert_eq!(one.is_disjoint(&other), is_disjoint, "{one:?} {other:?}");
        }
    }
}
