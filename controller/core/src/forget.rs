//! Roles that an account's owner has rolectl forget: their deletion no longer waits for the account.
//!
//! An annotation on the `AwsAccount` names them, since only the owner of the account may decide that a role is left in it. It names
//! the uid of the `IamRole`, so that an object of the same name that comes later is not meant.

use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use rolectl_crds::{AwsAccount, FORGET_ANNOTATION, IamRole};

/// Largest annotation that is read, in bytes. The API server takes 256 KiB in all annotations of an object.
const MAX_BYTES: usize = 64 * 1024;
/// Most entries of the annotation.
pub const MAX_ENTRIES: usize = 200;

/// One entry of the annotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgottenRole {
    /// Namespace of the `IamRole`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl ForgottenRole {
    /// The entry for an object. `None` for one that did not come from an API server.
    pub fn of(role: &IamRole) -> Option<Self> {
        Some(Self {
            namespace: role.metadata.namespace.clone()?,
            name: role.metadata.name.clone()?,
            uid: role.metadata.uid.clone()?,
        })
    }
}

/// The entries of the account's annotation. One that is too large or cannot be read names nobody.
pub fn forgotten(account: &AwsAccount) -> Vec<ForgottenRole> {
    let text = account.annotations().get(FORGET_ANNOTATION);
    let text = text.filter(|text| text.len() <= MAX_BYTES);
    let all: Option<Vec<ForgottenRole>> = text.and_then(|text| serde_json::from_str(text).ok());
    let mut all = all.unwrap_or_default();
    all.truncate(MAX_ENTRIES);
    all
}

/// Returns true if the deletion of the object is not to wait for the account. It says nothing of an object that is not being deleted.
pub fn forgets(account: &AwsAccount, role: &IamRole) -> bool {
    role.metadata.deletion_timestamp.is_some()
        && ForgottenRole::of(role).is_some_and(|entry| forgotten(account).contains(&entry))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::fixtures::spec;

    fn account(annotation: &str) -> AwsAccount {
        let account = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": "dev", "annotations": {FORGET_ANNOTATION: annotation}},
            "spec": {"accountId": "222222222222"}});
        serde_json::from_value(account).unwrap()
    }

    fn role(uid: &str, is_deleting: bool) -> IamRole {
        let mut role = IamRole::new("app", spec());
        role.metadata.namespace = Some("team".to_owned());
        role.metadata.uid = Some(uid.to_owned());
        role.metadata.deletion_timestamp = is_deleting.then_some(Time(jiff::Timestamp::UNIX_EPOCH));
        role
    }

    #[test]
    fn an_account_forgets_the_object_that_it_names_by_its_uid_and_only_while_it_is_deleted() {
        let named = account(r#"[{"namespace":"team","name":"app","uid":"1"}]"#);
        assert!(forgets(&named, &role("1", true)));
        assert!(!forgets(&named, &role("1", false)), "it lives");
        assert!(!forgets(&named, &role("2", true)), "another object of the name");
        for (namespace, name) in [("other", "app"), ("team", "other")] {
            let entry = json!([{"namespace": namespace, "name": name, "uid": "1"}]).to_string();
            assert!(!forgets(&account(&entry), &role("1", true)));
        }
    }

    #[test]
    fn an_annotation_that_cannot_be_read_forgets_nobody() {
        let entry = r#"{"namespace":"team","name":"app","uid":"1"}"#;
        let many = format!("[{}]", vec![entry; 5000].join(","));
        for text in ["", "true", entry, "[{}]", "[", &many] {
            assert!(!forgets(&account(text), &role("1", true)), "{text:.40}");
        }
        let some = format!("[{}]", vec![entry; 300].join(","));
        assert_eq!(forgotten(&account(&some)).len(), MAX_ENTRIES);
    }
}
