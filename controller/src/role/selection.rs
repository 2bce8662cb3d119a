//! Which accounts a role names, and what a label selector selects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use kube::core::{Expression, Selector, SelectorExt as _};
use rolectl_crds::{AwsAccount, IamRole, NamespacesFrom};

/// Whether the role's `spec.accounts` names the account.
pub fn targets(role: &IamRole, account: &AwsAccount) -> bool {
    let selection = &role.spec.accounts;
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

/// Whether the account lets `namespace` use it, as far as its object alone can tell.
pub fn may_admit(account: &AwsAccount, namespace: &str) -> bool {
    let allowed = &account.spec.allowed_namespaces;
    match allowed.from {
        NamespacesFrom::None => false,
        NamespacesFrom::All | NamespacesFrom::Selector => true,
        NamespacesFrom::Names => allowed.names.iter().any(|name| name == namespace),
    }
}

/// Whether the account lets `namespace` use it, by its `allowedNamespaces`. Without `labels` the namespace is not there,
/// or nobody has looked.
pub fn admits(account: &AwsAccount, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let selected = match &account.spec.allowed_namespaces.selector {
        None => true,
        Some(selector) => labels.is_some_and(|labels| selects(selector, labels)),
    };
    selected && may_admit(account, namespace)
}

/// Why the role's selector cannot be read. Such a role is left exactly as it is: a typing error in a selector
/// must not look like accounts that leave.
pub fn selector_error(role: &IamRole) -> Option<String> {
    let expressions = role.spec.accounts.selector.as_ref()?.match_expressions.as_ref()?;
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

/// Whether a label selector matches. An empty one matches everything, as in Kubernetes.
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
