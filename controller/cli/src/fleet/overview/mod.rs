//! The plan for all accounts, as programs and people read it.

mod change_line;
mod refusals;
mod role_line;
mod rollouts;
mod summary;
mod text;

use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_core::widening::place_of;

pub use self::change_line::details;
use self::role_line::RoleLine;
use self::rollouts::{RolloutLine, rollouts};
pub use self::summary::FailOn;
use self::summary::Summary;
use super::read::Seen;
use crate::output::Document;

/// The plan for one account, in the form of the JSON output.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AccountLines {
    account: String,
    account_id: String,
    /// Why the account could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    roles: Vec<RoleLine>,
}

/// The plan for all accounts, in the form of the JSON output.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Plan")]
pub struct Overview {
    accounts: Vec<AccountLines>,
    /// The order in which changes reach the accounts, for roles that have one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rollouts: Vec<RolloutLine>,
    pub summary: Summary,
}

impl Document for Overview {
    const KIND: &'static str = "Plan";
}

impl Overview {
    /// Returns the plan for accounts that were read.
    pub fn of(seen: &[Seen]) -> Self {
        let mut summary = Summary::default();
        let accounts = seen.iter().map(|seen| {
            let policies = seen.live.as_ref().map(|live| live.policies()).unwrap_or_default();
            let place = place_of(&seen.account.spec, &policies);
            let lines = seen.proposals.iter();
            let roles: Vec<RoleLine> = lines.map(|proposal| RoleLine::of(proposal, place)).collect();
            for role in &roles {
                summary.add(role);
            }
            summary.failed_accounts += usize::from(seen.failure.is_some());
            AccountLines {
                account: seen.account.name_any(),
                account_id: seen.account.spec.account_id.clone(),
                failure: seen.failure.clone(),
                roles,
            }
        });
        let accounts = accounts.collect();
        Self {
            accounts,
            rollouts: rollouts(seen),
            summary,
        }
    }
}
