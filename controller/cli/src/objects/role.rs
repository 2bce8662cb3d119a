//! An `IamRole` as `status` shows it.

use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_crds::{AccountStatus, IamRole, Reason};
use rolectl_kube::objects::Unreadable;

use super::ready;

/// An `IamRole` with its state in all accounts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleLine {
    pub namespace: String,
    pub name: String,
    /// Status of the condition `Ready`: `True`, `False` or `Unknown`.
    pub ready: String,
    /// Number of accounts in sync and of all accounts, such as `2/2`.
    pub summary: String,
    /// Reason of the condition `Ready`.
    pub reason: String,
    pub message: String,
    /// The state in each account.
    pub accounts: Vec<AccountStatus>,
}

impl From<IamRole> for RoleLine {
    fn from(role: IamRole) -> Self {
        let (namespace, name) = (role.namespace().unwrap_or_default(), role.name_any());
        let status = role.status.unwrap_or_default();
        let ready = ready(&status.conditions);
        Self {
            namespace,
            name,
            ready: ready.status,
            reason: ready.reason,
            message: ready.message,
            summary: status.summary.unwrap_or_default(),
            accounts: status.accounts,
        }
    }
}

impl From<Unreadable> for RoleLine {
    /// Returns the line for an object that cannot be read, so that the user notices it.
    fn from(object: Unreadable) -> Self {
        Self {
            ready: "False".to_owned(),
            summary: String::new(),
            reason: Reason::InvalidSpec.as_str().to_owned(),
            message: format!("the object cannot be read: {}", object.problem),
            accounts: vec![],
            namespace: object.metadata.namespace.unwrap_or_default(),
            name: object.metadata.name.unwrap_or_default(),
        }
    }
}
