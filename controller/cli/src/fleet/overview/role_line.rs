//! The plan for one role in one account.

use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_core::role::Change;
use rolectl_core::widening::{Place, VerdictKind, verdicts};
use rolectl_crds::{OWNER_TAG, Reason};

use super::change_line::ChangeLine;
use crate::once::{NothingToRemove, Proposal};

/// What the plan does with a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Create,
    Change,
    Delete,
    /// The role stays in AWS and loses the owner tag.
    Release,
    None,
    /// It was to be removed, and AWS has no such role.
    Absent,
    /// It was to be removed, and AWS has a role of this name that is not of this object. It stays.
    Foreign,
    /// The role differs, and `drift: Report` excludes a correction.
    Report,
    Refused,
}

/// The plan for one role in one account, in the form of the JSON output.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PlannedRole")]
pub(super) struct RoleLine {
    pub namespace: String,
    pub name: String,
    pub role_name: String,
    pub action: Action,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What stays on the role although the spec does not list it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// Changes wait for `rolectl approve` where the controller makes them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_approval: bool,
}

impl RoleLine {
    /// Returns true if the spec is refused and the plan only detaches managed policies that the account denies.
    pub(super) fn is_enforced(&self) -> bool {
        self.action == Action::Change && self.reason.is_some()
    }

    /// Returns true if the role is refused, wholly or but for policies that the account denies.
    pub(super) fn is_refused(&self) -> bool {
        self.action == Action::Refused || self.is_enforced()
    }

    /// Returns true if there is nothing to show of the role.
    pub(super) fn is_quiet(&self) -> bool {
        self.action == Action::None && self.kept.is_none()
    }

    /// Returns what the planned changes do to the role: `Widens` if one of them does. What is only reported is not made, and does
    /// nothing.
    pub(super) fn verdict(&self) -> VerdictKind {
        let has = |kind| self.changes.iter().any(|change| change.verdict == kind);
        match self.action {
            Action::Report => VerdictKind::Same,
            _ if has(VerdictKind::Widens) => VerdictKind::Widens,
            _ if has(VerdictKind::Narrows) => VerdictKind::Narrows,
            _ => VerdictKind::Same,
        }
    }

    /// Returns the line for a proposal of a role in this place.
    pub(super) fn of(proposal: &Proposal, place: Place<'_>) -> Self {
        let (action, changes, refusal) = match &proposal.verdict {
            Err(refusal) => (Action::Refused, vec![], Some(refusal)),
            Ok(plan) => {
                let refusal = proposal.refusal.as_ref();
                let has = |wanted: fn(&Change) -> bool| plan.changes.iter().any(wanted);
                let action = if let Some(nothing) = &proposal.nothing_to_remove {
                    match nothing {
                        NothingToRemove::Absent => Action::Absent,
                        NothingToRemove::Foreign(_) => Action::Foreign,
                    }
                } else if plan.is_empty() {
                    Action::None
                } else if proposal.only_shown {
                    Action::Report
                } else if plan.creates() {
                    Action::Create
                } else if has(|c| *c == Change::DeleteRole) {
                    Action::Delete
                } else if plan
                    .changes
                    .iter()
                    .all(|c| matches!(c, Change::Untag(_) | Change::ReleaseInstanceProfile(..)))
                    && has(|c| matches!(c, Change::Untag(keys) if keys.contains(OWNER_TAG)))
                {
                    Action::Release
                } else {
                    Action::Change
                };
                let observed = proposal.observed.as_ref().map(|(role, _)| role);
                let changes = plan
                    .changes
                    .iter()
                    .zip(verdicts(observed, &plan.changes, place))
                    .map(|(change, verdict)| ChangeLine::of(change, &verdict, &proposal.role_name, observed));
                (action, changes.collect(), refusal)
            }
        };
        Self {
            namespace: proposal.role.namespace().unwrap_or_default(),
            name: proposal.role.name_any(),
            role_name: proposal.role_name.clone(),
            action,
            changes,
            reason: refusal.map(|r| r.reason),
            message: refusal
                .map(|r| r.message.clone())
                .or_else(|| owned_by_another(proposal)),
            kept: proposal
                .verdict
                .as_ref()
                .ok()
                .and_then(|plan| plan.kept.message()),
            needs_approval: proposal.pending.is_some(),
        }
    }
}

/// Returns whose role it is that stays.
fn owned_by_another(proposal: &Proposal) -> Option<String> {
    match proposal.nothing_to_remove.as_ref()? {
        NothingToRemove::Absent => None,
        NothingToRemove::Foreign(Some(owner)) => Some(format!("its owner tag is {owner}")),
        NothingToRemove::Foreign(None) => Some("it has no owner tag".to_owned()),
    }
}
