//! Checks of a statement of a trust policy.

use super::super::document::{Effect, Principals, Scope, Statement, is_unique_id};
use super::super::oidc::{TokenOwner, oidc_issuer, owner_example};
use super::super::principal::{aws_principal_problem, federated_problem, service_problem};
use super::finding::Linter;
use super::services::principal_warning;

pub(super) fn trust(to: &mut Linter, at: &str, statement: &Statement) {
    if statement.resource.is_some() {
        to.error(
            at,
            "has a Resource, which a trust policy must not have: remove it",
        );
    }
    for action in statement.action.inner() {
        let name = action.as_str().to_ascii_lowercase();
        if name != "*" && !name.starts_with("sts:") {
            to.error(
                &format!("{at}.Action"),
                format!("holds {action}: a trust policy speaks of sts: actions only, such as sts:AssumeRole"),
            );
        }
    }
    let Some(principal) = &statement.principal else {
        to.error(at, "has no Principal: say who may assume the role");
        return;
    };
    if let Scope::AllBut(_) = principal {
        to.error(
            at,
            "has NotPrincipal, which IAM does not allow in a trust policy: name who may in Principal, or deny with a Condition ArnNotEquals on aws:PrincipalArn",
        );
        return;
    }
    let open = match principal.inner() {
        Principals::Everybody => true,
        Principals::Named(_) => statement.aws_principals().any(|p| p == "*"),
    };
    if open && statement.effect == Effect::Allow && !statement.narrows_everybody() {
        to.error(
            at,
            "lets everybody in the world assume the role: name principals, or add a Condition that only callers of yours meet, such as aws:PrincipalOrgID with your organization's id",
        );
    }
    principals(to, at, statement, principal.inner());
    if statement.effect == Effect::Allow {
        federation(to, at, statement);
    }
}

/// Checks the form of each principal.
fn principals(to: &mut Linter, at: &str, statement: &Statement, principals: &Principals) {
    // Without an account the variables of a spec are not replaced.
    let filled = |p: &&String| !p.contains("$(");
    let here = format!("{at}.Principal.AWS");
    for p in statement.aws_principals() {
        if is_unique_id(p) {
            to.warn(
                &here,
                format!("holds {p}, the id of a principal that was deleted: name its successor"),
            );
        } else if !p.contains("$(")
            && let Some(problem) = aws_principal_problem(p)
        {
            to.error(&here, problem);
        }
    }
    let Principals::Named(kinds) = principals else {
        return;
    };
    let of = |kind: &str| kinds.get(kind).into_iter().flatten().filter(filled);
    for problem in of("Service").filter_map(|p| service_problem(p)) {
        to.error(&format!("{at}.Principal.Service"), problem);
    }
    for warning in of("Service").filter_map(|p| principal_warning(p)) {
        to.warn(&format!("{at}.Principal.Service"), warning);
    }
    for problem in of("Federated").filter_map(|p| federated_problem(p)) {
        to.error(&format!("{at}.Principal.Federated"), problem);
    }
}

/// Checks the statement for users of identity providers: the action must match the provider, and the conditions must fix the owner
/// of a token.
fn federation(to: &mut Linter, at: &str, statement: &Statement) {
    for provider in statement.providers() {
        let issuer = oidc_issuer(provider);
        let (action, covered) = if issuer.is_some() {
            let action = "sts:AssumeRoleWithWebIdentity";
            (action, statement.covers("sts:assumerolewithwebidentity"))
        } else {
            let action = "sts:AssumeRoleWithSAML";
            (action, statement.covers("sts:assumerolewithsaml"))
        };
        if !covered {
            to.warn(
                at,
                format!(
                    "never matches a user of {provider}: such users call {action}, which Action does not list"
                ),
            );
            continue;
        }
        let Some(issuer) = issuer else {
            // A SAML provider belongs to the account, so the account selects its users.
            if statement.condition.is_empty() {
                to.warn(
                    at,
                    format!("accepts every assertion of {provider}: add a Condition such as SAML:aud"),
                );
            }
            continue;
        };
        match statement.token_owner(issuer) {
            TokenOwner::Fixed => {}
            TokenOwner::Audience => to.warn(
                at,
                format!("lets every user of one application of {issuer} assume the role: add a Condition on {}", owner_example(issuer)),
            ),
            TokenOwner::Anybody => to.error(
                at,
                format!(
                    "lets every user of the identity provider {issuer} assume the role: add a Condition that fixes the owner of a token, on {}",
                    owner_example(issuer)
                ),
            ),
        }
    }
}
