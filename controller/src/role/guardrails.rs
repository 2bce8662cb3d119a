//! Limits that an account sets on the roles made in it.

use rolectl_crds::{Adoption, Ensure, Guardrails, OWNER_TAG};

use super::desired::DesiredRole;
use super::managed_policy::{arn_as_written, policy_arn};
use super::observed::ObservedRole;

/// The first guardrail that `role` breaks, as a sentence for its author.
///
/// What stays on the role because a list is not exclusive counts like what the list holds.
pub fn violation(
    guardrails: &Guardrails,
    role: &DesiredRole,
    observed: Option<&ObservedRole>,
    partition: &str,
) -> Option<String> {
    let Guardrails {
        role_name_pattern,
        path_pattern,
        require_permissions_boundary,
        denied_managed_policies,
        // Counted when a role is made, where all roles of the account are known.
        max_roles: _,
        // Of a role that is there and not ours: see `forbids_adoption`.
        adoption: _,
    } = guardrails;
    if let Some(pattern) = role_name_pattern.as_deref().filter(|p| !matches(p, &role.name)) {
        return Some(format!(
            "the account wants role names like {pattern}, this one is {}: choose another roleName",
            role.name
        ));
    }
    if let Some(pattern) = path_pattern.as_deref().filter(|p| !matches(p, &role.path)) {
        return Some(format!(
            "the account wants paths like {pattern}, this one is {}: choose another path",
            role.path
        ));
    }
    // What is to go needs neither boundary nor policies.
    if role.ensure == Ensure::Absent {
        return None;
    }
    let allowed: Vec<String> = require_permissions_boundary
        .iter()
        .map(|p| policy_arn(p, partition))
        .collect();
    let bounded = role
        .permissions_boundary
        .as_ref()
        .is_some_and(|b| allowed.contains(b));
    if !allowed.is_empty() && !bounded {
        return Some(format!(
            "the account wants permissionsBoundary to be one of {}: set it",
            allowed.join(", ")
        ));
    }
    let denied = |arn: &&String| {
        // A pattern without path means the policy wherever it stands, as a name does in a role.
        let bare = arn
            .rsplit_once('/')
            .map_or_else(String::new, |(_, name)| arn_as_written(name, partition));
        denied_managed_policies.iter().any(|denied| {
            let (resolved, written) = (policy_arn(denied, partition), arn_as_written(denied, partition));
            matches(&resolved, arn)
                || matches(&written, arn)
                || (is_aws(arn, partition) && matches(&written, &bare))
        })
    };
    let kept = observed.filter(|_| !role.exclusive.managed_policies);
    let kept = kept.into_iter().flat_map(|o| &o.managed_policies);
    let denied = role.managed_policies.iter().chain(kept).find(denied);
    denied.map(|arn| format!("the account denies the managed policy {arn}: remove it"))
}

/// Why a role that is there, and is not ours yet, may not be taken over, if it may not.
pub fn forbids_adoption(
    guardrails: &Guardrails,
    role: &DesiredRole,
    observed: &ObservedRole,
) -> Option<String> {
    let needed = if observed.tags.contains_key(OWNER_TAG) {
        Adoption::Always
    } else {
        Adoption::IfUnowned
    };
    // What the role does not ask for is refused without us.
    let most = guardrails
        .adoption
        .filter(|most| needed <= role.adoption && needed > *most)?;
    Some(format!(
        "role {} is there and not ours, and the account allows adoption: {most:?} at most: choose another roleName, or ask its owner",
        role.name
    ))
}

fn is_aws(arn: &str, partition: &str) -> bool {
    arn.starts_with(&format!("arn:{partition}:iam::aws:policy/"))
}

/// Whether `text` matches an IAM pattern: `*` is any run of characters, `?` is one.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Row by row over the pattern: `reach[i]` says whether the pattern so far can end before text[i].
    let mut reach = vec![false; text.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for p in pattern {
        let mut next = vec![false; text.len() + 1];
        let mut any = false;
        for (i, slot) in next.iter_mut().enumerate() {
            let here = reach.get(i).copied().unwrap_or_default();
            any |= here;
            let before = i
                .checked_sub(1)
                .and_then(|j| Some((reach.get(j).copied()?, text.get(j).copied()?)));
            *slot = match p {
                '*' => any,
                '?' => before.is_some_and(|(ok, _)| ok),
                c => before.is_some_and(|(ok, t)| ok && t == c),
            };
        }
        reach = next;
    }
    reach.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{spec, wanted};
    use super::*;

    #[test]
    fn patterns_match_as_in_iam() {
        for (pattern, text, matched) in [
            ("app-*", "app-x", true),
            ("app-*", "ap", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*", "abc", true),
            ("", "a", false),
            ("a*b*c", "a1b2c", true),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} {text}");
        }
    }

    #[test]
    fn a_broken_guardrail_is_named() {
        let role = wanted(&{
            let mut s = spec();
            s.managed_policies = vec!["AdministratorAccess".into()];
            s
        });
        let none = Guardrails::default();
        assert_eq!(violation(&none, &role, None, "aws"), None);
        let name = Guardrails {
            role_name_pattern: Some("team-*".into()),
            ..none.clone()
        };
        assert_eq!(
            violation(&name, &role, None, "aws").unwrap(),
            "the account wants role names like team-*, this one is app: choose another roleName"
        );
        let denied = Guardrails {
            denied_managed_policies: vec!["Administrator*".into()],
            ..none.clone()
        };
        assert!(
            violation(&denied, &role, None, "aws")
                .unwrap()
                .contains("AdministratorAccess")
        );
        let additive = DesiredRole {
            managed_policies: std::collections::BTreeSet::new(),
            exclusive: rolectl_crds::Exclusive {
                managed_policies: false,
                ..role.exclusive
            },
            ..role.clone()
        };
        let observed = super::super::fixtures::observed(&role);
        assert_eq!(violation(&denied, &additive, None, "aws"), None);
        assert!(
            violation(&denied, &additive, Some(&observed), "aws").is_some(),
            "what stays on the role counts, too"
        );
        let boundary = Guardrails {
            require_permissions_boundary: vec!["Bound".into()],
            ..none.clone()
        };
        assert!(violation(&boundary, &role, None, "aws").is_some());
        let mut unowned = observed.clone();
        unowned.tags.remove(OWNER_TAG);
        for (most, asked, there, broken) in [
            (None, Adoption::Always, &observed, false),
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
            let said = forbids_adoption(&guardrails, &role, there);
            assert_eq!(said.is_some(), broken, "{most:?} {asked:?}: {said:?}");
        }
    }
}
