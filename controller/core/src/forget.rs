//! `IamRole`s whose deletion no longer waits for an account.
//!
//! An annotation on the `AwsAccount` names them, because only the owner of the account may decide that a role stays in it. The
//! annotation has the uid of each `IamRole`, so that it does not apply to a later object of the same name.

use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use rolectl_crds::{AwsAccount, FORGET_ANNOTATION, IamRole};

/// Size of the largest annotation that is read, in bytes. The API server accepts 256 KiB in all annotations of an object.
const MAX_BYTES: usize = 64 * 1024;
/// Number of entries of the annotation that are read. The others are ignored.
pub const MAX_ENTRIES: usize = 200;

/// One entry of the annotation, which names an `IamRole`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgottenRole {
    /// Namespace of the `IamRole`.
    pub namespace: String,
    /// Name of the `IamRole`.
    pub name: String,
    /// Uid of the `IamRole`.
    pub uid: String,
}

impl ForgottenRole {
    /// Returns the entry for an object. `None` if the object did not come from an API server and therefore has no uid.
    pub fn of(role: &IamRole) -> Option<Self> {
        Some(Self {
            namespace: role.metadata.namespace.clone()?,
            name: role.metadata.name.clone()?,
            uid: role.metadata.uid.clone()?,
        })
    }
}

/// Returns the entries of the account's annotation. An annotation that is too large or cannot be parsed has no entries.
pub fn forgotten(account: &AwsAccount) -> Vec<ForgottenRole> {
    let text = account.annotations().get(FORGET_ANNOTATION);
    let text = text.filter(|text| text.len() <= MAX_BYTES);
    let all: Option<Vec<ForgottenRole>> = text.and_then(|text| serde_json::from_str(text).ok());
    let mut all = all.unwrap_or_default();
    all.truncate(MAX_ENTRIES);
    all
}

/// Returns true if the deletion of the object does not wait for the account. Returns false for an object that is not being
/// deleted.
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
    fn an_account_forgets_the_object_with_the_uid_that_it_names_once_the_object_is_being_deleted() {
        let named = account(r#"[{"namespace":"team","name":"app","uid":"1"}]"#);
        assert!(forgets(&named, &role("1", true)));
        assert!(!forgets(&named, &role("1", false)), "it is not being deleted");
        assert!(
            !forgets(&named, &role("2", true)),
            "another object of the same name"
        );
        for (namespace, name) in [("other", "app"), ("team", "other")] {
            let entry = json!([{"namespace": namespace, "name": name, "uid": "1"}]).to_string();
            assert!(!forgets(&account(&entry), &role("1", true)));
        }
    }

    #[test]
    fn an_annotation_that_cannot_be_parsed_has_no_entries() {
        let entry = r#"{"namespace":"team","name":"app","uid":"1"}"#;
        let many = format!("[{}]", vec![entry; 5000].join(","));
        for text in ["", "true", entry, "[{}]", "[", &many] {
            assert!(!forgets(&account(text), &role("1", true)), "{text:.40}");
        }
        let some = format!("[{}]", vec![entry; 300].join(","));
        assert_eq!(forgotten(&account(&some)).len(), MAX_ENTRIES);
    }
}
