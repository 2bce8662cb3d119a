//! A role in one account, as a row.

use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_crds::{IamRole, Reason};

use super::{NOT_SEEN_MESSAGE, coloured_state, or_dash, ready};
use crate::output::{Cell, Document, List, Row};

/// State of a role that has the cluster's owner tag and no `IamRole`. It appears in no status, because there is no object.
pub const ORPHANED: Reason = Reason::Other("Orphaned");

/// A role in one account, or a role whose status has no account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleRow {
    pub namespace: String,
    pub name: String,
    /// Name of the `AwsAccount`.
    pub account: Option<String>,
    pub account_id: Option<String>,
    /// `null` if the controller has not written a status.
    pub state: Option<Reason>,
    pub arn: Option<String>,
    /// The first changes that are pending.
    pub changes: Vec<String>,
    pub message: Option<String>,
    /// Digest of the changes that wait for an approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
}

/// Returns a row for each account of a role.
pub fn rows(role: &IamRole) -> Vec<RoleRow> {
    let row = || RoleRow {
        namespace: role.namespace().unwrap_or_default(),
        name: role.name_any(),
        account: None,
        account_id: None,
        state: None,
        arn: None,
        changes: vec![],
        message: None,
        approval: None,
    };
    let Some(status) = &role.status else {
        let message = Some(NOT_SEEN_MESSAGE.to_owned());
        return vec![RoleRow { message, ..row() }];
    };
    if status.accounts.is_empty() {
        let ready = ready(&status.conditions);
        return vec![RoleRow {
            state: Reason::named(&ready.reason),
            message: Some(ready.message),
            ..row()
        }];
    }
    let entries = status.accounts.iter();
    entries
        .map(|entry| RoleRow {
            account: Some(entry.name.clone()),
            account_id: entry.account_id.clone(),
            state: Some(entry.state),
            arn: entry.arn.clone(),
            changes: entry.changes.clone(),
            message: entry.message.clone(),
            approval: entry.approval.clone(),
            ..row()
        })
        .collect()
}

impl Document for List<RoleRow> {
    const KIND: &'static str = "RoleList";
}

impl Row for RoleRow {
    const COLUMNS: &'static [&'static str] = &["ROLE", "ACCOUNT", "STATE", "DRIFT OR MESSAGE"];
    const WIDE: &'static [&'static str] = &["ACCOUNT ID", "ARN"];

    fn cells(&self) -> Vec<Cell> {
        let changes = self.changes.join("; ");
        let more = if changes.is_empty() {
            self.message.as_deref().unwrap_or_default()
        } else {
            &changes
        };
        vec![
            Cell::from(format!("{}/{}", self.namespace, self.name)),
            or_dash(self.account.as_deref()),
            coloured_state(self.state),
            Cell::from(more),
        ]
    }

    fn wide_cells(&self) -> Vec<Cell> {
        vec![or_dash(self.account_id.as_deref()), or_dash(self.arn.as_deref())]
    }

    fn resource(&self) -> String {
        format!("iamrole.iam.rolectl.dev/{}", self.name)
    }

    fn identity(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}
