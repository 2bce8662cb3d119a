//! What `get`, `status` and `describe` show of the objects of the cluster, in the form of the output for programs.

mod account;
mod placement;
mod role;
mod session;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use rolectl_crds::{ConditionType, Reason};

pub use self::account::AccountRow;
pub use self::placement::{ORPHANED, RoleRow, rows};
pub use self::role::RoleLine;
pub use self::session::SessionRow;
use crate::output::{Cell, Colour};

/// Reason of an object without a condition. It appears in no status.
pub const NOT_SEEN: &str = "NotSeen";

/// Message of an object without a condition.
const NOT_SEEN_MESSAGE: &str = "the controller has not looked yet";

/// The condition `Ready` of an object.
pub struct Ready {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// Returns the condition `Ready`, or `None` if no controller has written one.
pub fn ready_condition(conditions: &[Condition]) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready.as_str())
}

/// Returns the condition `Ready` as it is shown, also if there is none.
pub fn ready(conditions: &[Condition]) -> Ready {
    match ready_condition(conditions) {
        Some(condition) => Ready {
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        },
        None => Ready {
            status: "Unknown".to_owned(),
            reason: NOT_SEEN.to_owned(),
            message: NOT_SEEN_MESSAGE.to_owned(),
        },
    }
}

/// Returns a reason in the colour of a condition's status.
pub fn coloured_reason(ready: &str, reason: &str) -> Cell {
    let colour = match ready {
        "True" => Colour::Green,
        "False" => Colour::Red,
        _ => Colour::Yellow,
    };
    Cell::coloured(reason, colour)
}

/// Returns the state of a role in one account, coloured.
fn coloured_state(state: Option<Reason>) -> Cell {
    let Some(state) = state else {
        return "-".into();
    };
    Cell::coloured(state.as_str(), Colour::of(state))
}

/// Returns a text, or a dash for none.
fn or_dash(text: Option<&str>) -> Cell {
    text.unwrap_or("-").into()
}
