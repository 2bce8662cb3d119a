//! Which changes of a proposal wait for the approval of an operator. Nothing here makes a call.

use rolectl_core::names::full_name;
use rolectl_core::role::Refusal;
use rolectl_core::widening::hold::{Hold, Subject, after, hold_all, narrow_now};
use rolectl_core::widening::{Widening, goal_digest, place_of, widening};
use rolectl_crds::{ApprovalsFor, Reason};

use super::propose::{Case, Proposal, Proposed, Refused, SessionView};
use crate::approvals::{Decision, Verdict};

/// Changes that wait for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Digest of the changes, which an approval names.
    pub digest: String,
    /// What the role may allow after them. Nothing, where every change needs an approval.
    pub widening: Widening,
    /// The changes, one line each.
    pub changes: Vec<String>,
}

impl Pending {
    /// Returns a line for each of the first things that the role may allow, or for each change if it may allow no more, and the number of
    /// all.
    pub fn lines(&self) -> (Vec<String>, usize) {
        if self.widening.is_none() {
            return (self.changes.clone(), self.changes.len());
        }
        let atoms = self.widening.atoms.iter().map(ToString::to_string);
        (atoms.collect(), self.widening.count)
    }
}

/// An approval of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Digest of the changes.
    pub digest: String,
    /// Digest of the role after them.
    pub goal: String,
    /// ARN of the operator.
    pub by: String,
}

impl Case<'_> {
    /// Returns what is done of the proposal now, by the approvals that the account asks for.
    pub(super) fn gate(&self, proposed: Proposed, owner: &str) -> Proposal {
        let (before, changes) = (proposed.observed.as_ref(), proposed.plan.changes.as_slice());
        let needed_for = self.account.spec.approvals_for();
        if needed_for == ApprovalsFor::None {
            return Proposal::Change(Box::new(proposed));
        }
        let place = place_of(&self.account.spec);
        let goal = after(before, changes);
        let hold = if needed_for == ApprovalsFor::All {
            hold_all(before, changes, place)
        } else if widening(before, goal.as_ref(), place).is_none() {
            // The order of a plan keeps every step within the old or the new role, so that only the whole decides.
            return Proposal::Change(Box::new(proposed));
        } else {
            narrow_now(before, changes, place)
        };
        let SessionView::Open(session) = self.session else {
            return Proposal::Waits("waiting for the session");
        };
        let account_id = &self.account.spec.account_id;
        let digest = hold.digest(Subject {
            owner,
            account_id,
            role_id: before.map(|role| role.role_id.as_str()),
        });
        let goal = goal_digest(goal.as_ref());
        let now = self.live.now();
        let decision = session.approvals.decision(&digest, now);
        let is_fresh = !session.grants.is_used(&digest);
        let approved = decision.filter(|decision| decision.verdict == Verdict::Approved && is_fresh);
        if let Some(decision) = approved {
            return Proposal::Change(Box::new(Proposed {
                granted: Some(Granted {
                    digest,
                    goal,
                    by: by(decision),
                }),
                ..proposed
            }));
        }
        if session.grants.is_under_way(account_id, owner, &goal, now) {
            return Proposal::Change(Box::new(proposed));
        }
        self.hold(
            proposed,
            hold,
            digest,
            decision.filter(|decision| decision.verdict == Verdict::Denied),
        )
    }

    /// Leaves the waiting changes, and makes the others.
    fn hold(
        &self,
        mut proposed: Proposed,
        hold: Hold,
        digest: String,
        denied: Option<&Decision>,
    ) -> Proposal {
        let role = full_name(self.role);
        let pending = Some(Pending {
            digest,
            changes: hold.waiting.iter().map(ToString::to_string).collect(),
            widening: hold.widening.clone(),
        });
        if self.is_operator {
            return Proposal::Change(Box::new(Proposed { pending, ..proposed }));
        }
        let message = denied.map_or_else(
            || {
                format!(
                    "{} for an approval, which AwsAccount {} asks for: an operator runs `rolectl approve {}`",
                    waits(&hold),
                    self.live.name,
                    command_of(&role)
                )
            },
            |denied| {
                let reason = denied
                    .reason
                    .as_deref()
                    .map(|reason| format!(": {reason}"))
                    .unwrap_or_default();
                format!("{} denied the changes{reason}", by(denied))
            },
        );
        let refusal = Refusal::new(Reason::AwaitingApproval, message);
        if hold.now.is_empty() {
            return Proposal::Refused(Refused {
                pending,
                ..Refused::from(refusal)
            });
        }
        proposed.plan.changes = hold.now;
        Proposal::Change(Box::new(Proposed {
            refusal: Some(refusal),
            pending,
            ..proposed
        }))
    }
}

fn waits(hold: &Hold) -> String {
    match hold.waiting.as_slice() {
        [_] => "a change waits".to_owned(),
        several => format!("{} changes wait", several.len()),
    }
}

fn command_of(full_name: &str) -> String {
    match full_name.split_once('/') {
        Some((namespace, name)) => format!("role/{name} -n {namespace}"),
        None => format!("role/{full_name}"),
    }
}

fn by(decision: &Decision) -> String {
    decision
        .by
        .first()
        .map(|by| by.principal_arn.clone())
        .unwrap_or_default()
}
