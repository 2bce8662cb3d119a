//! Warns of specs that are valid and probably wrong.

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use rolectl_core::selection::targets;
use rolectl_crds::{AwsAccount, IamRole};

/// Maximum edit distance between a label key and the existing key that the warning suggests.
const MAX_DISTANCE: usize = 3;

/// Returns the problem of `spec.accounts.selector` if it matches none of the accounts. Returns `None` if there are no accounts to compare with.
pub fn unmatched(role: &IamRole, accounts: &[AwsAccount]) -> Option<String> {
    let selector = role.spec.accounts.selector.as_ref()?;
    if accounts.is_empty() || accounts.iter().any(|account| targets(role, account)) {
        return None;
    }
    let existing: BTreeSet<&str> = accounts
        .iter()
        .flat_map(|account| account.labels().keys())
        .map(String::as_str)
        .collect();
    let equal = selector.match_labels.iter().flat_map(|labels| labels.keys());
    let listed = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|requirement| &requirement.key);
    let hint = equal.chain(listed).map(String::as_str).find_map(|key| {
        if existing.contains(key) {
            return None;
        }
        let near = existing
            .iter()
            .map(|label| (strsim::damerau_levenshtein(key, label), *label))
            .filter(|(distance, _)| *distance <= MAX_DISTANCE.min(key.chars().count() / 2))
            .min();
        Some(match near {
            Some((_, near)) => format!(": no AwsAccount has the label {key}; did you mean {near}?"),
            None => format!(": no AwsAccount has the label {key}"),
        })
    });
    let count = accounts.len();
    let of = if count == 1 {
        "the 1 AwsAccount".to_owned()
    } else {
        format!("the {count} AwsAccounts")
    };
    Some(format!("matches none of {of} here{}", hint.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_warning_of_a_selector_that_matches_nothing_suggests_a_label() {
        let account: AwsAccount = serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": "prod", "labels": {"tier": "prod"}}, "spec": {"accountId": "222222222222"}}),
        )
        .unwrap();
        let of = |accounts: Value, all: &[AwsAccount]| {
            let role: IamRole = serde_json::from_value(
                json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
                "metadata": {"name": "app"}, "spec": {"accounts": accounts, "assumeRolePolicy": {}}}),
            )
            .unwrap();
            unmatched(&role, all)
        };
        let all = std::slice::from_ref(&account);
        let matching = json!({"selector": {"matchLabels": {"tier": "prod"}}});
        let slip = json!({"selector": {"matchLabels": {"teir": "prod"}}});
        assert_eq!(of(matching, all), None);
        assert_eq!(of(slip.clone(), &[]), None);
        assert_eq!(of(json!({"names": ["other"]}), all), None);
        assert_eq!(
            of(slip, all).as_deref(),
            Some(
                "matches none of the 1 AwsAccount here: no AwsAccount has the label teir; did you mean tier?"
            )
        );
        let value = of(json!({"selector": {"matchLabels": {"tier": "dev"}}}), all);
        assert_eq!(value.as_deref(), Some("matches none of the 1 AwsAccount here"));
    }
}
