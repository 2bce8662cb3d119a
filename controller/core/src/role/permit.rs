//! The check before every call that changes something: the objects that the change is based on are as they were.

use kube::ResourceExt as _;
use rolectl_crds::{AwsAccount, IamRole};

use crate::names::full_name;

/// Checks whether work that began with the object `then` may still change the role in AWS, by the object as it is `now`.
///
/// # Errors
/// The reason why nothing may be changed any more.
pub fn permit_of_role(then: &IamRole, now: Option<&IamRole>) -> Result<(), String> {
    let name = full_name(then);
    let Some(now) = now else {
        // What is being deleted anyway is removed although the object has left the cache.
        let removes = then.metadata.deletion_timestamp.is_some();
        return if removes {
            Ok(())
        } else {
            Err(format!("IamRole {name} was deleted"))
        };
    };
    if now.metadata.uid != then.metadata.uid {
        Err(format!("IamRole {name} was deleted and created again"))
    } else if now.metadata.generation == then.metadata.generation {
        Ok(())
    } else if now.spec.suspend {
        Err(format!("IamRole {name} is suspended"))
    } else if now.metadata.deletion_timestamp.is_some() {
        Err(format!("IamRole {name} is being deleted"))
    } else {
        Err(format!("IamRole {name} has changed"))
    }
}

/// Checks whether work that began with the object `then` may still change roles in the account, by the object as it is `now`.
/// `namespace` must be admitted there; `None` for a removal, which needs no admission.
///
/// # Errors
/// The reason why nothing may be changed any more.
pub fn permit_of_account(
    then: &AwsAccount,
    now: Option<&AwsAccount>,
    namespace: Option<&str>,
    admits: impl Fn(&AwsAccount, &str) -> bool,
) -> Result<(), String> {
    let name = then.name_any();
    let Some(now) = now else {
        return Err(format!("AwsAccount {name} was deleted"));
    };
    let facts = |account: &AwsAccount| (account.metadata.uid.clone(), account.metadata.generation);
    let is_same = facts(now) == facts(then) && now.metadata.labels == then.metadata.labels;
    if !is_same && now.spec.suspend {
        return Err(format!("AwsAccount {name} is suspended"));
    }
    // Asked each time: labels of a namespace change without a change of the account.
    if let Some(namespace) = namespace.filter(|namespace| !admits(now, namespace)) {
        return Err(format!("AwsAccount {name} does not allow namespace {namespace}"));
    }
    if is_same {
        Ok(())
    } else {
        Err(format!("AwsAccount {name} has changed"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::selection::may_admit;

    fn role(change: serde_json::Value) -> IamRole {
        let mut role = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": "app", "namespace": "team", "uid": "1", "generation": 1, "resourceVersion": "1"},
            "spec": {"accounts": {"names": ["dev"]}, "ensure": "Absent"}});
        json_patch(&mut role, change);
        serde_json::from_value(role).unwrap()
    }

    fn account(change: serde_json::Value) -> AwsAccount {
        let mut account = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": "dev", "uid": "1", "generation": 1, "resourceVersion": "1"},
            "spec": {"accountId": "222222222222", "allowedNamespaces": {"from": "Names", "names": ["team"]}}});
        json_patch(&mut account, change);
        serde_json::from_value(account).unwrap()
    }

    /// A JSON merge patch.
    fn json_patch(target: &mut serde_json::Value, patch: serde_json::Value) {
        let serde_json::Value::Object(patch) = patch else {
            *target = patch;
            return;
        };
        for (key, value) in patch {
            json_patch(&mut target[key], value);
        }
    }

    #[test]
    fn a_pass_may_change_aws_only_while_its_role_is_as_it_was_when_it_began() {
        let then = role(json!({}));
        for (change, says) in [
            (
                json!({"metadata": {"resourceVersion": "2", "annotations": {"a": "b"}}}),
                None,
            ),
            (
                json!({"metadata": {"uid": "2"}}),
                Some("IamRole team/app was deleted and created again"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"suspend": true}}),
                Some("IamRole team/app is suspended"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"ensure": "Absent"}}),
                Some("IamRole team/app has changed"),
            ),
            (
                json!({"metadata": {"generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                Some("IamRole team/app is being deleted"),
            ),
        ] {
            let permit = permit_of_role(&then, Some(&role(change.clone())));
            assert_eq!(permit.err().as_deref(), says, "{change}");
        }
        let says = permit_of_role(&then, None).err();
        assert_eq!(says.as_deref(), Some("IamRole team/app was deleted"));
        let deleting = role(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert_eq!(
            permit_of_role(&deleting, None),
            Ok(()),
            "its removal is carried out"
        );
    }

    #[test]
    fn a_pass_may_change_aws_only_while_the_account_allows_what_it_allowed_when_it_began() {
        let then = account(json!({}));
        for (change, says) in [
            (
                json!({"metadata": {"resourceVersion": "2"}, "status": {"cluster": "c"}}),
                None,
            ),
            (
                json!({"metadata": {"uid": "2"}}),
                Some("AwsAccount dev has changed"),
            ),
            (
                json!({"metadata": {"labels": {"tier": "prod"}}}),
                Some("AwsAccount dev has changed"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"guardrails": {"maxRoles": 1}}}),
                Some("AwsAccount dev has changed"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"suspend": true}}),
                Some("AwsAccount dev is suspended"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"allowedNamespaces": {"from": "None"}}}),
                Some("AwsAccount dev does not allow namespace team"),
            ),
        ] {
            let permit = permit_of_account(&then, Some(&account(change.clone())), Some("team"), may_admit);
            assert_eq!(permit.err().as_deref(), says, "{change}");
        }
        // The account is as it was, and the labels of the namespace are not.
        let says = permit_of_account(&then, Some(&then), Some("team"), |_, _| false).err();
        assert_eq!(
            says.as_deref(),
            Some("AwsAccount dev does not allow namespace team")
        );
        assert_eq!(
            permit_of_account(&then, Some(&then), None, |_, _| false),
            Ok(()),
            "a removal"
        );
        let says = permit_of_account(&then, None, Some("team"), may_admit).err();
        assert_eq!(says.as_deref(), Some("AwsAccount dev was deleted"));
    }
}
