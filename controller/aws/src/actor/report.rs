//! What an actor reports: the state of each role in its account, and of the account itself.

use std::time::Duration;

use jiff::Timestamp;
use rolectl_crds::Reason;
use tokio::time::Instant;

/// What is to become of a role in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// It is as its spec declares it.
    Keep,
    /// It is removed or released: the spec no longer selects the account, or the object is being deleted.
    Remove,
}

/// A role that an actor is to look after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What is to become of it.
    pub goal: Goal,
    /// A number that grows with every change of the assignment. A report names the one that it answers.
    pub revision: u64,
    /// The account was given up on with this generation before: a principal of the trust policy does not exist. It is not waited for
    /// again.
    pub is_given_up: bool,
    /// The turn of the account, where accounts are changed in waves ([`rolectl_core::rollout`]).
    pub turn: Turn,
}

/// The turn of an account in a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// The account waits for no other one.
    #[default]
    Free,
    /// The account waits. Only what takes access away is made.
    Waits,
    /// This generation may be applied.
    Of(Option<i64>),
}

/// The state of a role in one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleReport {
    /// The revision of the assignment that this report answers.
    pub revision: u64,
    /// The generation of the `IamRole` that this report is about.
    pub generation: Option<i64>,
    /// What was found.
    pub finding: Finding,
    /// The changes made in AWS since the last report.
    pub done: Vec<String>,
    /// What the author of the spec may not have meant.
    pub warnings: Vec<String>,
}

/// What was found about a role in one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing yet, because of this.
    Waits(&'static str),
    /// It is in this state.
    State(Box<RoleInAccount>),
    /// Nothing of this owner is in the account.
    Gone,
}

/// A role in one account, as a status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleInAccount {
    /// The state.
    pub state: Reason,
    /// Details.
    pub message: Option<String>,
    /// The changes that are not made, for `drift: Report`.
    pub changes: Vec<String>,
    /// The identity of the role in AWS.
    pub identity: RoleIdentity,
    /// For a role that is in sync: the instance profiles that the spec wants.
    pub in_sync: Option<Vec<String>>,
    /// Somebody has restricted the role from outside.
    pub is_restricted: bool,
    /// Digest of the changes that wait for an approval.
    pub approval: Option<String>,
}

/// What a report says of the identity of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleIdentity {
    /// Nothing: what was reported earlier is still true.
    Unchanged,
    /// ARN and unique id. `None`: the account has no such role, or it is not ours.
    Known(Option<(String, String)>),
}

impl RoleInAccount {
    /// A state with a message and nothing else.
    pub fn new(state: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            message: Some(message.into()),
            changes: vec![],
            identity: RoleIdentity::Unchanged,
            in_sync: None,
            is_restricted: false,
            approval: None,
        }
    }
}

/// The state of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountReport {
    /// The state.
    pub reason: Reason,
    /// Details.
    pub message: String,
    /// The last sweep that succeeded.
    pub sweep: Option<SweepReport>,
    /// Failures of sweeps in a row.
    pub failures: u32,
    /// Number of the session that the roles were read on. `None`: they were not read since the session was opened.
    pub session: Option<u64>,
    /// The failure of the sweep concerns the roles: they are not acted on until a sweep succeeds.
    pub is_failing: bool,
}

/// One sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepReport {
    /// A number that grows with each sweep.
    pub number: u64,
    /// When it ended.
    pub ended: Timestamp,
    /// When it ended, by the monotonic clock.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// How many roles of ours AWS showed otherwise than this process left them.
    pub drifted: u32,
}
