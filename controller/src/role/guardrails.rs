//! Limits that an account sets on the roles made in it.

use rolectl_crds::Guardrails;

use super::desired::{DesiredRole, policy_arn};

/// The first guardrail that `role` breaks, as a sentence for its author.
pub fn violation(guardrails: &Guardrails, role: &DesiredRole, partition: &str) -> Option<String> {
    let Guardrails {
        role_name_pattern,
        path_pattern,
        require_permissions_boundary,
        denied_managed_policies,
        // Counted where all roles of the account are known.
        max_roles: _,
    } = guardrails;
    if let Some(pattern) = role_name_pattern.as_deref().filter(|p| !matches(p, &role.name)) {
        return Some(format!(
            "the account wants role names like {pattern}, this one is {}",
            role.name
        ));
    }
    if let Some(pattern) = path_pattern.as_deref().filter(|p| !matches(p, &role.path)) {
        return Some(format!(
            "the account wants paths like {pattern}, this one is {}",
            role.path
        ));
    }
    if !require_permissions_boundary.is_empty() {
        let allowed: Vec<String> = require_permissions_boundary
            .iter()
            .map(|p| policy_arn(p, partition))
            .collect();
        if !role
            .permissions_boundary
            .as_ref()
            .is_some_and(|b| allowed.contains(b))
        {
            return Some(format!(
                "the account wants permissionsBoundary to be one of {}",
                allowed.join(", ")
            ));
        }
    }
    role.managed_policies
        .iter()
        .find(|arn| {
            denied_managed_policies
                .iter()
                .any(|denied| matches(&policy_arn(denied, partition), arn))
        })
        .map(|arn| format!("the account denies the managed policy {arn}"))
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
        assert_eq!(violation(&none, &role, "aws"), None);
        let name = Guardrails {
            role_name_pattern: Some("team-*".into()),
            ..none.clone()
        };
        assert_eq!(
            violation(&name, &role, "aws").unwrap(),
            "the account wants role names like team-*, this one is app"
        );
        let denied = Guardrails {
            denied_managed_policies: vec!["Administrator*".into()],
            ..none.clone()
        };
        assert!(
            violation(&denied, &role, "aws")
                .unwrap()
                .ends_with("AdministratorAccess")
        );
        let boundary = Guardrails {
            require_permissions_boundary: vec!["Bound".into()],
            ..none
        };
        assert!(violation(&boundary, &role, "aws").is_some());
    }
}
