//! The accounts that a role selects, and the namespaces that an account allows.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use kube::core::{Expression, Selector, SelectorExt as _};

use rolectl_crds::{AccountSelection, AwsAccount, IamRole, NamespacesFrom};

use crate::spelling::nearest;

/// Returns true if the role's `spec.accounts` selects the account by name or by label.
pub fn targets(role: &IamRole, account: &AwsAccount) -> bool {
    in_selection(&role.spec.accounts, account)
}

/// Returns true if the selection has the account by name or by label.
pub fn in_selection(selection: &AccountSelection, account: &AwsAccount) -> bool {
    if selection
        .names
        .iter()
        .any(|name| Some(name) == account.metadata.name.as_ref())
    {
        return true;
    }
    let Some(selector) = &selection.selector else {
        return false;
    };
    selects(selector, account.labels())
}

/// Returns true if the account's `allowedNamespaces` can allow the namespace, without a look at the labels of the namespace.
pub fn may_admit(account: &AwsAccount, namespace: &str) -> bool {
    let allowed = &account.spec.allowed_namespaces;
    match allowed.from {
        NamespacesFrom::None => false,
        NamespacesFrom::All | NamespacesFrom::Selector => true,
        NamespacesFrom::Names => allowed.names.iter().any(|name| name == namespace),
    }
}

/// Returns true if the account's `allowedNamespaces` allow the namespace. `labels` are those of the namespace; `None` means that
/// there is no such namespace or that its labels are not loaded, and matches no selector.
pub fn admits(account: &AwsAccount, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let selected = match &account.spec.allowed_namespaces.selector {
        None => true,
        Some(selector) => labels.is_some_and(|labels| selects(selector, labels)),
    };
    selected && may_admit(account, namespace)
}

/// Returns the error in the role's selector, if it has one. Such a role must stay unchanged: a typing error in a selector must not
/// look like accounts that the role no longer selects.
pub fn selector_error(role: &IamRole) -> Option<String> {
    operator_error(role.spec.accounts.selector.as_ref()?)
}

/// Returns the error in a selector that the API server accepts, if it has one.
pub fn operator_error(selector: &LabelSelector) -> Option<String> {
    let expressions = selector.match_expressions.as_ref()?;
    expressions.iter().find_map(|requirement| {
        let has_values = requirement
            .values
            .as_ref()
            .is_some_and(|values| !values.is_empty());
        match requirement.operator.as_str() {
            "Exists" | "DoesNotExist" if !has_values => None,
            "Exists" | "DoesNotExist" => Some(format!("{} takes no values", requirement.operator)),
            "In" | "NotIn" if has_values => None,
            "In" | "NotIn" => Some(format!("{} needs values", requirement.operator)),
            other => Some(format!(
                "operator {other} is unknown: write In, NotIn, Exists or DoesNotExist"
            )),
        }
    })
}

/// Returns the message for a role that no account matches, with suggestions for misspelled label keys. The suggestions are only
/// from accounts that allow the role's namespace, so that the message shows no labels of others.
pub fn nothing_selected<A: std::borrow::Borrow<AwsAccount>>(role: &IamRole, accounts: &[A]) -> String {
    let namespace = role.metadata.namespace.as_deref().unwrap_or_default();
    let visible = accounts.iter().map(std::borrow::Borrow::borrow);
    let keys: BTreeSet<&str> = visible
        .filter(|account| may_admit(account, namespace))
        .flat_map(|account| account.labels().keys().map(String::as_str))
        .collect();
    let selector = role.spec.accounts.selector.as_ref();
    let equal = selector.and_then(|s| s.match_labels.as_ref()).into_iter();
    let expressions = selector.and_then(|s| s.match_expressions.as_ref()).into_iter();
    let wanted = equal
        .flat_map(|labels| labels.keys().map(String::as_str))
        .chain(expressions.flatten().map(|e| e.key.as_str()));
    let hints: Vec<String> = wanted
        .filter(|key| !keys.contains(key))
        .take(3)
        .map(|key| {
            let near = nearest(key, keys.iter().copied())
                .map(|near| format!(", did you mean {near}?"))
                .unwrap_or_default();
            format!("no AwsAccount that allows this namespace has a label {key}{near}")
        })
        .collect();
    let mut message = "no AwsAccount matches spec.accounts".to_owned();
    if !hints.is_empty() {
        message.push_str(": ");
        message.push_str(&hints.join("; "));
    }
    message
}

/// Returns true if a
/// [label selector](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors) matches the labels.
/// An empty selector matches everything. An unknown operator matches nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let mut all = Selector::default();
    if let Some(equal) = &selector.match_labels {
        all.extend(equal.iter().map(|(k, v)| Expression::Equal(k.clone(), v.clone())));
    }
    for requirement in selector.match_expressions.iter().flatten() {
        let values = requirement.values.iter().flatten().cloned().collect();
        let key = requirement.key.clone();
        all.extend([match requirement.operator.as_str() {
            "In" => Expression::In(key, values),
            "NotIn" => Expression::NotIn(key, values),
            "Exists" => Expression::Exists(key),
            "DoesNotExist" => Expression::DoesNotExist(key),
            _ => return false,
        }]);
    }
    all.matches(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_message_for_a_selector_that_matches_nothing_suggests_a_label_key() {
        let account = |labels: Value, from: &str| -> AwsAccount {
            serde_json::from_value(
                json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
                "metadata": {"name": "a", "labels": labels},
                "spec": {"accountId": "222222222222", "allowedNamespaces": {"from": from}}}),
            )
            .unwrap()
        };
        let role = |selector: Value| -> IamRole {
            serde_json::from_value(
                json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
                "metadata": {"name": "app", "namespace": "team"},
                "spec": {"ensure": "Absent", "accounts": {"selector": selector}}}),
            )
            .unwrap()
        };
        let accounts = [
            account(json!({"tier": "prod"}), "All"),
            account(json!({"secret-project": "x"}), "None"),
        ];
        let none = "no AwsAccount matches spec.accounts";
        for (selector, message) in [
            (json!({"matchLabels": {"tier": "prd"}}), none.to_owned()),
            (
                json!({"matchLabels": {"teir": "prod"}}),
                format!(
                    "{none}: no AwsAccount that allows this namespace has a label teir, did you mean tier?"
                ),
            ),
            (
                json!({"matchExpressions": [{"key": "secret-projekt", "operator": "Exists"}]}),
                format!("{none}: no AwsAccount that allows this namespace has a label secret-projekt"),
            ),
        ] {
            assert_eq!(
                nothing_selected(&role(selector.clone()), &accounts),
                message,
                "{selector}"
            );
        }
    }
}
