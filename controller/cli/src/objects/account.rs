//! An `AwsAccount`, as a row.

use jiff::Timestamp;
use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_crds::AwsAccount;

use super::{coloured_reason, or_dash, ready};
use crate::output::{Cell, Document, List, Row};
use crate::times::{age, moment};

/// An `AwsAccount`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRow {
    pub name: String,
    pub account_id: String,
    pub partition: String,
    /// Name of its `MfaSession`.
    pub session: String,
    /// Status of the condition `Ready`: `True`, `False` or `Unknown`.
    pub ready: String,
    /// Reason of the condition `Ready`.
    pub reason: String,
    /// Roles that rolectl manages in the account.
    pub managed: Option<u32>,
    /// Managed roles that differ from their `IamRole`.
    pub drifted: Option<u32>,
    /// Roles with an owner tag of this cluster and without an `IamRole`.
    pub orphaned: Option<u32>,
    /// When all roles of the account were read last.
    #[schemars(with = "Option<String>")]
    pub last_sweep: Option<Timestamp>,
    pub message: String,
}

impl From<AwsAccount> for AccountRow {
    fn from(account: AwsAccount) -> Self {
        let name = account.name_any();
        let status = account.status.unwrap_or_default();
        let ready = ready(&status.conditions);
        Self {
            name,
            account_id: account.spec.account_id,
            partition: account.spec.partition,
            session: account.spec.session_ref,
            ready: ready.status,
            reason: ready.reason,
            managed: status.roles.map(|roles| roles.managed),
            drifted: status.roles.map(|roles| roles.drifted),
            orphaned: status.roles.map(|roles| roles.orphaned),
            last_sweep: status.last_sweep_time.map(|time| time.0),
            message: ready.message,
        }
    }
}

impl Document for List<AccountRow> {
    const KIND: &'static str = "AccountList";
}

/// Returns a number, or a dash for none.
fn number(number: Option<u32>) -> Cell {
    or_dash(number.map(|number| number.to_string()).as_deref())
}

impl Row for AccountRow {
    const COLUMNS: &'static [&'static str] = &["NAME", "ID", "STATE", "ROLES", "DRIFTED", "SWEPT", "MESSAGE"];
    const WIDE: &'static [&'static str] = &["ORPHANED", "SESSION", "PARTITION", "AT"];

    fn cells(&self) -> Vec<Cell> {
        let swept = self.last_sweep.map(|at| age(at, Timestamp::now()));
        let message = if self.ready == "True" { "" } else { &self.message };
        vec![
            Cell::from(&self.name),
            Cell::from(&self.account_id),
            coloured_reason(&self.ready, &self.reason),
            number(self.managed),
            number(self.drifted),
            or_dash(swept.as_deref()),
            Cell::from(message),
        ]
    }

    fn wide_cells(&self) -> Vec<Cell> {
        let swept = self.last_sweep.map(|at| moment(at, Timestamp::now()));
        vec![
            number(self.orphaned),
            Cell::from(&self.session),
            Cell::from(&self.partition),
            or_dash(swept.as_deref()),
        ]
    }

    fn resource(&self) -> String {
        format!("awsaccount.iam.rolectl.dev/{}", self.name)
    }

    fn identity(&self) -> (&str, &str) {
        ("", &self.name)
    }
}
