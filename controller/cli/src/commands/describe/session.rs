//! Prints a session.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use rolectl_crds::{AwsAccount, MfaSession};

use super::{conditions, field};
use crate::objects::SessionRow;
use crate::paint::Paint;
use crate::times::{moment, remaining};

/// Most accounts that are named.
const NAMED: usize = 20;

/// Prints the spec and the status of a session, and the accounts that use it.
pub fn print(session: &MfaSession, accounts: &[AwsAccount], paint: Paint) {
    let spec = &session.spec;
    let row = SessionRow::from(session.clone());
    field("Session", &row.name);
    field("Account ID", &spec.account_id);
    let who = match (&spec.user_arn, &spec.role_arn) {
        (Some(user), _) => user.clone(),
        (None, Some(role)) => format!("users who may assume {role} with MFA"),
        (None, None) => "any user of the account".to_owned(),
    };
    field("May unlock", &who);
    field(
        "MFA device",
        spec.mfa_serial.as_deref().unwrap_or("the only one of the user"),
    );
    let length = SignedDuration::from_secs(spec.duration_seconds.into());
    field("Duration", &remaining(length));
    field("Secret", &session.secret_name());
    crate::stdio::println!("{:13}{}", "Phase", row.coloured_phase().shown(paint));
    let now = Timestamp::now();
    let status = session.status.clone().unwrap_or_default();
    if let Some(ends) = row.expires_at {
        field("Ends", &moment(ends, now));
    }
    if let Some(by) = &row.unlocked_by {
        let at = status.unlocked_at.as_ref().map(|at| moment(at.0, now));
        field(
            "Unlocked",
            &format!("by {by} at {}", at.unwrap_or_else(|| "?".to_owned())),
        );
    }
    field(
        "Controller",
        row.controller_version.as_deref().unwrap_or_default(),
    );
    conditions(Some(&status.conditions));
    let users = accounts
        .iter()
        .filter(|account| account.spec.session_ref == row.name);
    let names: Vec<String> = users.map(ResourceExt::name_any).collect();
    let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let text = match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    };
    field("Accounts", &text);
}
