//! Checks of a role against the guardrails of its account.

use std::collections::{BTreeMap, BTreeSet};

use rolectl_crds::{Adoption, DeletionPolicy, Ensure, Guardrails, InlinePolicies, OWNER_TAG, TAG_PREFIX};

use super::access::is_only_deny;
use super::ceiling::{Ceilings, problems};
use super::desired::{AccountContext, DesiredRole};
use super::kept::{keeps_policy, unlisted_policies};
use super::managed_policy::{
    is_aws_owned, is_same_policy, matches_policy, only_denies, pattern_problem, policy_arn,
};
use super::observed::ObservedRole;
use super::tags::same_key;
use crate::glob::matches;
use crate::policy::cache::DocumentCache;
use crate::policy::{Caseless, Document, Effect, Principals, Scope, Statement};

/// Returns a message about the first guardrail that `role` breaks, for its author.
///
/// Policies that stay on the role because a list is not exclusive count like those in the list. The exception are managed policies on
/// a role that is already managed: the denied ones are detached, see [`denied_on`].
pub fn violation(
    guardrails: &Guardrails,
    role: &DesiredRole,
    observed: Option<&ObservedRole>,
    is_ours: bool,
    context: &AccountContext,
    documents: &DocumentCache,
) -> Option<String> {
    let partition = &context.partition;
    // Without `..`, so that a new guardrail cannot be forgotten here.
    let Guardrails {
        role_name_pattern,
        path_pattern,
        require_permissions_boundary,
        denied_managed_policies,
        allowed_managed_policies,
        inline_policies,
        // Checked when a role is created, against the snapshot of the account.
        max_roles: _,
        // Checked before a role is removed, by `removals`.
        max_removals: _,
        // Checked for existing roles by `forbids_adoption`.
        adoption: _,
        // Checked by `forbids_deletion_policy`.
        deletion_policy: _,
        trusted_principals,
        // Read by `Ceilings`.
        ceiling: _,
        trust_ceiling: _,
        required_tags,
        allowed_tag_keys,
    } = guardrails;
    if let Some(pattern) = role_name_pattern.as_deref().filter(|p| !matches(p, &role.name)) {
        return Some(format!(
            "the account wants role names like {pattern}, this one is {}: choose another roleName",
            role.name
        ));
    }
    let profile = role.instance_profile.as_ref();
    if let (Some(pattern), Some(profile)) = (role_name_pattern, profile)
        && role.ensure == Ensure::Present
        && !matches(pattern, profile)
    {
        return Some(format!(
            "the account wants names like {pattern}, the instance profile is called {profile}: choose another spec.instanceProfile.name"
        ));
    }
    if let Some(pattern) = path_pattern.as_deref().filter(|p| !matches(p, &role.path)) {
        return Some(format!(
            "the account wants paths like {pattern}, this one is {}: choose another path",
            role.path
        ));
    }
    // The other guardrails do not apply to a role that is removed.
    if role.ensure == Ensure::Absent {
        return None;
    }
    for (field, patterns) in [
        ("requirePermissionsBoundary", require_permissions_boundary),
        ("deniedManagedPolicies", denied_managed_policies),
        ("allowedManagedPolicies", allowed_managed_policies),
    ] {
        // An entry that never matches would allow or deny everything, which its author does not want.
        if let Some(problem) = patterns.iter().find_map(|p| pattern_problem(p, partition)) {
            return Some(format!(
                "the AwsAccount's guardrails.{field} cannot be enforced: {problem}. Have its owner correct it"
            ));
        }
    }
    let ceilings = match Ceilings::of(guardrails, context, documents) {
        Ok(ceilings) => ceilings,
        Err((field, problem)) => {
            return Some(format!(
                "the AwsAccount's guardrails.{field} cannot be enforced: {problem}. Have its owner correct it"
            ));
        }
    };
    let allowed: Vec<String> = require_permissions_boundary
        .iter()
        .map(|p| policy_arn(p, partition))
        .collect();
    let bounded = role
        .permissions_boundary
        .as_ref()
        .is_some_and(|b| allowed.iter().any(|allowed| is_same_policy(allowed, b)));
    if !allowed.is_empty() && !bounded {
        return Some(format!(
            "the account wants permissionsBoundary to be one of {}: set it",
            allowed.join(", ")
        ));
    }
    let foreign = observed.filter(|_| !is_ours && !role.exclusive.managed_policies);
    let kept = foreign.into_iter().flat_map(|o| &o.managed_policies);
    let kept = kept.filter(|arn| !only_denies(arn));
    for arn in role.managed_policies.iter().chain(kept) {
        if is_denied(guardrails, arn) {
            return Some(format!("the account denies the managed policy {arn}: remove it"));
        }
        if !is_allowed(guardrails, arn) {
            return Some(format!(
                "the account allows managed policies like {} only, and not {arn}: remove it",
                allowed_managed_policies.join(", ")
            ));
        }
    }
    // A required boundary limits managed policies, whatever they allow.
    if ceilings.limits_permissions() && allowed.is_empty() {
        let unlisted = unlisted_managed(guardrails, role, observed, is_ours);
        let mut all = role.managed_policies.iter().chain(&unlisted);
        if let Some(arn) = all.find(|arn| !only_denies(arn) && !is_listed(guardrails, arn)) {
            return Some(format!(
                "managed policy {arn} is not shown to be within the account's guardrails.ceiling, because the documents of managed policies are not compared: remove it, or have the account's owner list it in guardrails.allowedManagedPolicies or set requirePermissionsBoundary"
            ));
        }
    }
    if *inline_policies == Some(InlinePolicies::Forbid) {
        let kept = observed.filter(|_| !role.exclusive.inline_policies);
        let kept = kept.into_iter().flat_map(|o| &o.inline_policies);
        let kept = kept
            .filter(|(_, document)| !is_only_deny(document))
            .map(|(name, _)| name);
        if let Some(name) = role.inline_policies.keys().chain(kept).next() {
            return Some(format!(
                "the account forbids inline policies, and this role has {name}: use a managed policy"
            ));
        }
    }
    if let Some(message) = ceilings.exceeded_by_inline(role, observed) {
        return Some(message);
    }
    let untrusted = role
        .trust
        .as_ref()
        .filter(|_| !trusted_principals.is_empty())
        .and_then(|trust| untrusted(trusted_principals, trust));
    if let Some(principal) = untrusted {
        return Some(format!(
            "the account does not let a trust policy name {principal}: its guardrails.trustedPrincipals are {}",
            trusted_principals.join(", ")
        ));
    }
    if let Some(message) = ceilings.exceeded_by_trust(role) {
        return Some(message);
    }
    tag_violation(role, required_tags, allowed_tag_keys)
}

fn tag_violation(
    role: &DesiredRole,
    required: &BTreeMap<String, String>,
    allowed: &[String],
) -> Option<String> {
    let lacks = |(key, pattern): &(&String, &String)| {
        let value = role.tags.iter().find(|(there, _)| same_key(there, key));
        !value.is_some_and(|(_, value)| matches(pattern, value))
    };
    if let Some((key, pattern)) = required.iter().find(lacks) {
        let like = if pattern == "*" {
            String::new()
        } else {
            format!(" with a value like {pattern}")
        };
        return Some(format!(
            "the account wants the tag {key}{like}: set it in spec.tags"
        ));
    }
    let is_allowed = |key: &&String| {
        let key = key.to_lowercase();
        key.starts_with(TAG_PREFIX) || allowed.iter().any(|p| matches(&p.to_lowercase(), &key))
    };
    let key = role
        .tags
        .keys()
        .find(|key| !allowed.is_empty() && !is_allowed(key))?;
    Some(format!(
        "the account allows tag keys like {} only, and not {key}: remove it",
        allowed.join(", ")
    ))
}

/// Returns the managed policies that stay on the role although the spec does not list them. A denied one on a managed role is detached.
fn unlisted_managed(
    guardrails: &Guardrails,
    role: &DesiredRole,
    observed: Option<&ObservedRole>,
    is_ours: bool,
) -> Vec<String> {
    let Some(observed) = observed else { return vec![] };
    let detached = if is_ours {
        denied_on(guardrails, &role.ignore_policies, observed)
    } else {
        BTreeSet::new()
    };
    unlisted_policies(role, observed)
        .filter(|arn| keeps_policy(role, arn) && !detached.contains(*arn))
        .cloned()
        .collect()
}

/// Returns warnings about guardrails that probably do not have the effect that the owner of the account wants.
pub fn warnings(guardrails: &Guardrails, context: &AccountContext, documents: &DocumentCache) -> Vec<String> {
    let partition = &context.partition;
    let lists = [
        (
            "requirePermissionsBoundary",
            &guardrails.require_permissions_boundary,
        ),
        ("deniedManagedPolicies", &guardrails.denied_managed_policies),
        ("allowedManagedPolicies", &guardrails.allowed_managed_policies),
    ];
    let mut warnings: Vec<String> = lists
        .iter()
        .flat_map(|(field, patterns)| patterns.iter().map(move |pattern| (field, pattern)))
        .filter_map(|(field, pattern)| {
            let problem = pattern_problem(pattern, partition)?;
            Some(format!(
                "guardrails.{field}: {problem}. Every role is refused until it is corrected"
            ))
        })
        .collect();
    warnings.extend(
        problems(guardrails, context, documents)
            .into_iter()
            .map(|(field, problem)| {
                format!("guardrails.{field}: {problem}. Every role is refused until it is corrected")
            }),
    );
    for (field, patterns) in lists.iter().skip(1) {
        if !patterns.is_empty()
            && guardrails.ceiling.is_none()
            && guardrails.require_permissions_boundary.is_empty()
            && guardrails.inline_policies != Some(InlinePolicies::Forbid)
        {
            warnings.push(format!(
                "guardrails.{field} is no wall: an inline policy can grant the same. Set ceiling, requirePermissionsBoundary, or inlinePolicies: Forbid"
            ));
        }
    }
    warnings
}

fn is_denied(guardrails: &Guardrails, arn: &str) -> bool {
    let mut patterns = guardrails.denied_managed_policies.iter();
    patterns.any(|pattern| matches_policy(pattern, arn))
}

/// Returns true if `allowedManagedPolicies` allow the policy. A name allows only AWS managed policies, because anybody can give a policy
/// of the account such a name.
fn is_allowed(guardrails: &Guardrails, arn: &str) -> bool {
    guardrails.allowed_managed_policies.is_empty() || is_listed(guardrails, arn)
}

/// Returns true if an entry of `allowedManagedPolicies` matches the policy.
fn is_listed(guardrails: &Guardrails, arn: &str) -> bool {
    let patterns = &guardrails.allowed_managed_policies;
    let is_arn = |pattern: &str| pattern.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("arn:"));
    let matching = |p: &String| matches_policy(p, arn) && (is_arn(p) || is_aws_owned(arn));
    patterns.iter().any(matching)
}

/// Returns the managed policies on a role that the guardrails deny or do not allow. AWS managed policies that only deny stay, and so do
/// those that match `ignored` (`ignorePolicies`).
pub fn denied_on(guardrails: &Guardrails, ignored: &[String], observed: &ObservedRole) -> BTreeSet<String> {
    let attached = observed.managed_policies.iter();
    let denied = attached.filter(|arn| is_denied(guardrails, arn) || !is_allowed(guardrails, arn));
    let denied = denied.filter(|arn| !only_denies(arn));
    denied
        .filter(|arn| !ignored.iter().any(|pattern| matches_policy(pattern, arn)))
        .cloned()
        .collect()
}

/// Returns the first principal of an Allow statement that `trusted` does not contain.
fn untrusted(trusted: &[String], trust: &Document) -> Option<String> {
    let allows = trust.canonical().statements.iter();
    allows
        .filter(|statement| statement.effect == Effect::Allow)
        .find_map(|statement| untrusted_in(trusted, statement))
}

fn untrusted_in(trusted: &[String], statement: &Statement) -> Option<String> {
    let in_organization = is_in_organization(trusted, statement);
    let named = match statement.principal.as_ref()? {
        Scope::AllBut(_) => return Some("NotPrincipal, which is everybody else".to_owned()),
        Scope::Only(Principals::Everybody) => {
            let everybody = in_organization || trusted.iter().any(|pattern| pattern == "*");
            return (!everybody).then(|| "everybody (\"*\")".to_owned());
        }
        Scope::Only(Principals::Named(kinds)) => kinds,
    };
    let all = named
        .iter()
        .flat_map(|(kind, names)| names.iter().map(move |name| (kind, name)));
    let mut refused = all.filter(|(kind, name)| {
        let is_aws = *kind == "AWS";
        let is_named = trusted.iter().any(|pattern| is_trusted(pattern, is_aws, name));
        !(is_named || (is_aws && in_organization))
    });
    refused.next().map(|(kind, name)| format!("{kind} {name}"))
}

fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_trusted(pattern: &str, is_aws: bool, principal: &str) -> bool {
    if is_account_id(pattern) {
        // An identity provider of the account allows people from elsewhere, so the list must name it.
        return is_aws && account_of(principal) == Some(pattern);
    }
    if is_aws && is_account_id(principal) {
        let root = format!(":iam::{principal}:root");
        return pattern == "*"
            || (pattern.starts_with("arn:")
                && ["aws", "aws-cn", "aws-us-gov", "aws-eusc"]
                    .iter()
                    .any(|partition| matches(pattern, &format!("arn:{partition}{root}"))));
    }
    matches(pattern, principal)
}

/// Returns the account of a principal that is an account id or the ARN of a role, a user or a session.
fn account_of(principal: &str) -> Option<&str> {
    if is_account_id(principal) {
        return Some(principal);
    }
    let parts: Vec<&str> = principal.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam" | "sts", "", account, _] => Some(account),
        _ => None,
    }
}

/// Returns true if a condition allows only callers from the trusted organizations.
fn is_in_organization(trusted: &[String], statement: &Statement) -> bool {
    let organizations: Vec<&String> = trusted.iter().filter(|entry| entry.starts_with("o-")).collect();
    ["StringEquals", "StringLike"].iter().any(|operator| {
        let keys = statement.condition.get(&Caseless::from(*operator));
        let values = keys.and_then(|keys| keys.get(&Caseless::from("aws:PrincipalOrgID")));
        values.is_some_and(|values| {
            !values.is_empty() && values.iter().all(|value| organizations.contains(&value))
        })
    })
}

/// Returns a message if the account does not allow the adoption of an existing role that is not managed yet. Without the guardrail it
/// allows none.
pub fn forbids_adoption(
    guardrails: Option<&Guardrails>,
    role: &DesiredRole,
    observed: &ObservedRole,
) -> Option<String> {
    let needed = if observed.tags.contains_key(OWNER_TAG) {
        Adoption::Always
    } else {
        Adoption::IfUnowned
    };
    let allowed = guardrails.and_then(|g| g.adoption).unwrap_or_default();
    // The check of the ownership refuses an adoption that the role does not ask for.
    (needed <= role.adoption && needed > allowed).then(|| {
        format!(
            "role {} is there and not ours, and the account allows adoption: {allowed:?} at most: choose another roleName, or have the account's owner set spec.guardrails.adoption: {needed:?}",
            role.name
        )
    })
}

/// Returns a message if the account does not allow a role with this `deletionPolicy`.
pub fn forbids_deletion_policy(
    guardrails: Option<&Guardrails>,
    policy: Option<DeletionPolicy>,
) -> Option<String> {
    let only = guardrails?.deletion_policy?;
    let other = policy.filter(|policy| *policy != only)?;
    Some(format!(
        "the account wants deletionPolicy: {only:?}, and this role has {other:?}: set it"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{context, spec, wanted};

    fn broken(
        guardrails: &Guardrails,
        role: &DesiredRole,
        observed: Option<&ObservedRole>,
        is_ours: bool,
    ) -> Option<String> {
        violation(
            guardrails,
            role,
            observed,
            is_ours,
            &context(),
            &DocumentCache::default(),
        )
    }

    #[test]
    fn a_broken_guardrail_is_named() {
        let role = wanted(&{
            let mut s = spec();
            s.managed_policies = vec!["AdministratorAccess".into()];
            s
        });
        let none = Guardrails::default();
        assert_eq!(broken(&none, &role, None, false), None);
        let name = Guardrails {
            role_name_pattern: Some("team-*".into()),
            ..none.clone()
        };
        assert_eq!(
            broken(&name, &role, None, false).unwrap(),
            "the account wants role names like team-*, this one is app: choose another roleName"
        );
        let denied = Guardrails {
            denied_managed_policies: vec!["Administrator*".into()],
            ..none.clone()
        };
        assert!(
            broken(&denied, &role, None, false)
                .unwrap()
                .contains("AdministratorAccess")
        );
        let additive = DesiredRole {
            managed_policies: BTreeSet::new(),
            exclusive: rolectl_crds::Exclusive {
                managed_policies: false,
                ..role.exclusive
            },
            ..role.clone()
        };
        let observed = crate::fixtures::observed(&role);
        assert_eq!(broken(&denied, &additive, None, false), None);
        assert!(
            broken(&denied, &additive, Some(&observed), false).is_some(),
            "what stays on a role that is taken over counts, too"
        );
        assert_eq!(broken(&denied, &additive, Some(&observed), true), None);
        assert_eq!(
            denied_on(&denied, &[], &observed),
            role.managed_policies,
            "it is detached"
        );
        let boundary = Guardrails {
            require_permissions_boundary: vec!["Bound".into()],
            ..none.clone()
        };
        assert!(broken(&boundary, &role, None, false).is_some());
        let mut unowned = observed.clone();
        unowned.tags.remove(OWNER_TAG);
        for (most, asked, there, broken) in [
            (None, Adoption::Always, &observed, true),
            (None, Adoption::IfUnowned, &unowned, true),
            (Some(Adoption::Always), Adoption::Always, &observed, false),
            (Some(Adoption::Never), Adoption::Never, &unowned, false),
            (Some(Adoption::Never), Adoption::IfUnowned, &unowned, true),
            (Some(Adoption::IfUnowned), Adoption::IfUnowned, &unowned, false),
            (Some(Adoption::IfUnowned), Adoption::Always, &unowned, false),
            (Some(Adoption::IfUnowned), Adoption::Always, &observed, true),
        ] {
            let guardrails = Guardrails {
                adoption: most,
                ..none.clone()
            };
            let role = DesiredRole {
                adoption: asked,
                ..role.clone()
            };
            let said = forbids_adoption(Some(&guardrails), &role, there);
            assert_eq!(said.is_some(), broken, "{most:?} {asked:?}: {said:?}");
        }
    }

    fn says(guardrails: serde_json::Value, role: &DesiredRole) -> String {
        let guardrails: Guardrails = serde_json::from_value(guardrails).unwrap();
        broken(&guardrails, role, None, false).unwrap_or_default()
    }

    #[test]
    fn guardrails_that_stop_nobody_have_a_warning() {
        for (guardrails, count) in [
            (json!({}), 0),
            (json!({"deniedManagedPolicies": ["Administrator*"]}), 1),
            (json!({"allowedManagedPolicies": ["ReadOnly*"]}), 1),
            (
                json!({"deniedManagedPolicies": ["A*"], "inlinePolicies": "Forbid"}),
                0,
            ),
            (
                json!({"deniedManagedPolicies": ["A*"], "requirePermissionsBoundary": ["B"]}),
                0,
            ),
            (
                json!({"deniedManagedPolicies": ["arn:aws-cn:iam::aws:policy/A"], "inlinePolicies": "Forbid"}),
                1,
            ),
        ] {
            let parsed: Guardrails = serde_json::from_value(guardrails.clone()).unwrap();
            assert_eq!(
                warnings(&parsed, &context(), &DocumentCache::default()).len(),
                count,
                "{guardrails}"
            );
        }
    }

    #[test]
    fn only_allowed_managed_policies_may_be_named() {
        let with = |policy: &str| {
            let mut s = spec();
            s.managed_policies = vec![policy.to_owned()];
            wanted(&s)
        };
        let own = "arn:aws:iam::222222222222:policy/ReadOnlyAccess";
        for (guardrails, policy, refused) in [
            (
                json!({"allowedManagedPolicies": ["ReadOnly*"]}),
                "ReadOnlyAccess",
                false,
            ),
            (
                json!({"allowedManagedPolicies": ["READONLY*"]}),
                "ReadOnlyAccess",
                false,
            ),
            (
                json!({"allowedManagedPolicies": ["ReadOnly*"]}),
                "AdministratorAccess",
                true,
            ),
            // Anybody can give a policy of the account that name.
            (json!({"allowedManagedPolicies": ["*"]}), own, true),
            (
                json!({"allowedManagedPolicies": ["arn:aws:iam::222222222222:policy/Read*"]}),
                own,
                false,
            ),
            (json!({"deniedManagedPolicies": ["*"]}), own, true),
            (json!({"deniedManagedPolicies": ["readonlyaccess"]}), own, true),
            (
                json!({"deniedManagedPolicies": ["arn:aws-cn:iam::aws:policy/*"]}),
                own,
                true,
            ),
        ] {
            let message = says(guardrails.clone(), &with(policy));
            assert_eq!(!message.is_empty(), refused, "{guardrails} {policy}: {message}");
        }
        let elsewhere = says(
            json!({"deniedManagedPolicies": ["arn:aws-cn:iam::aws:policy/*"]}),
            &with(own),
        );
        assert!(
            elsewhere.contains("is of partition aws-cn, and the account is in aws"),
            "{elsewhere}"
        );
    }

    #[test]
    fn inline_policies_can_be_forbidden() {
        let forbid = json!({"inlinePolicies": "Forbid"});
        assert_eq!(says(forbid.clone(), &wanted(&spec())), "");
        let mut s = spec();
        let any = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
        s.inline_policies = [("all".to_owned(), any.into())].into_iter().collect();
        assert!(says(forbid, &wanted(&s)).contains("forbids inline policies, and this role has all"));
    }

    #[test]
    fn only_trusted_principals_may_be_named() {
        let with = |principal: &serde_json::Value, condition: &serde_json::Value| {
            let mut s = spec();
            let statement = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition});
            s.assume_role_policy = Some(json!({"Version": "2012-10-17", "Statement": [statement]}).into());
            let mut role = wanted(&spec());
            role.trust = Document::from_value(&s.assume_role_policy.unwrap().to_value()).ok();
            role
        };
        let github = "arn:aws:iam::222222222222:oidc-provider/token.actions.githubusercontent.com";
        let organisation = json!({"StringEquals": {"aws:PrincipalOrgID": "o-abc"}});
        let if_exists = json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-abc"}});
        let two = json!({"StringEquals": {"aws:PrincipalOrgID": ["o-abc", "o-other"]}});
        let none = json!({});
        for (trusted, principal, condition, refused) in [
            ("111111111111", json!({"AWS": "111111111111"}), &none, false),
            (
                "111111111111",
                json!({"AWS": "arn:aws:iam::111111111111:root"}),
                &none,
                false,
            ),
            (
                "111111111111",
                json!({"AWS": "arn:aws:iam::111111111111:role/ci"}),
                &none,
                false,
            ),
            (
                "111111111111",
                json!({"AWS": "arn:aws:iam::333333333333:role/ci"}),
                &none,
                true,
            ),
            (
                "111111111111",
                json!({"AWS": ["111111111111", "333333333333"]}),
                &none,
                true,
            ),
            (
                "arn:aws:iam::111111111111:role/ci-*",
                json!({"AWS": "arn:aws:iam::111111111111:role/ci-x"}),
                &none,
                false,
            ),
            (
                "arn:aws:iam::111111111111:role/ci-*",
                json!({"AWS": "111111111111"}),
                &none,
                true,
            ),
            (
                "arn:aws:iam::111111111111:*",
                json!({"AWS": "111111111111"}),
                &none,
                false,
            ),
            ("*", json!({"AWS": "333333333333"}), &none, false),
            ("222222222222", json!({"Federated": github}), &none, true),
            (
                "arn:aws:iam::*:oidc-provider/token.actions.*",
                json!({"Federated": github}),
                &none,
                false,
            ),
            (
                "ec2.amazonaws.com",
                json!({"Service": "ec2.amazonaws.com"}),
                &none,
                false,
            ),
            (
                "*.amazonaws.com",
                json!({"Service": "lambda.amazonaws.com"}),
                &none,
                false,
            ),
            (
                "111111111111",
                json!({"Service": "lambda.amazonaws.com"}),
                &none,
                true,
            ),
            ("111111111111", json!("*"), &none, true),
            ("o-abc", json!("*"), &organisation, false),
            ("o-abc", json!({"AWS": "*"}), &organisation, false),
            ("o-abc", json!({"AWS": "*"}), &if_exists, true),
            ("o-abc", json!({"AWS": "*"}), &two, true),
            (
                "o-abc",
                json!({"Service": "ec2.amazonaws.com"}),
                &organisation,
                true,
            ),
            ("o-abc", json!({"AWS": "333333333333"}), &none, true),
        ] {
            let message = says(
                json!({"trustedPrincipals": [trusted]}),
                &with(&principal, condition),
            );
            assert_eq!(
                !message.is_empty(),
                refused,
                "{trusted} {principal} {condition}: {message}"
            );
        }
    }

    #[test]
    fn tags_can_be_required_and_their_keys_restricted() {
        let mut s = spec();
        s.tags = [("Team".to_owned(), "platform".to_owned())].into_iter().collect();
        let role = wanted(&s);
        for (guardrails, message) in [
            (json!({"requiredTags": {"team": "*"}}), ""),
            (json!({"requiredTags": {"team": "plat*"}}), ""),
            (
                json!({"requiredTags": {"team": "data"}}),
                "the account wants the tag team with a value like data: set it in spec.tags",
            ),
            (
                json!({"requiredTags": {"env": "*"}}),
                "the account wants the tag env: set it in spec.tags",
            ),
            (json!({"allowedTagKeys": ["te*"]}), ""),
            (
                json!({"allowedTagKeys": ["env"]}),
                "the account allows tag keys like env only, and not Team: remove it",
            ),
        ] {
            assert_eq!(says(guardrails.clone(), &role), message, "{guardrails}");
        }
    }
}
