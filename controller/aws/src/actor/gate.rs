//! Which changes of a proposal wait for the approval of an operator. Nothing here makes a call; the only state that changes is the account's count
//! of removals.

use rolectl_core::names::{RoleKey, full_name};
use rolectl_core::policy::inclusion::Budget;
use rolectl_core::removals::{Limits, Parked, Target};
use rolectl_core::role::admission::deletion_policy;
use rolectl_core::role::managed_policy::is_same_policy;
use rolectl_core::role::{Change, ObservedRole, Refusal};
use rolectl_core::widening::hold::{Hold, Subject, after, hold_all, is_never_wider, narrow_now};
use rolectl_core::widening::{Widening, goal_digest, place_of};
use rolectl_crds::{ApprovalsFor, DeletionPolicy, DriftPolicy, Ensure, IamRole, Reason};

use super::directory::policies_of;
use super::propose::{Asks, Case, Proposal, Proposed, Refused, SessionView};
use crate::approvals::{Decision, Verdict};
use crate::session::OpenSession;

/// Changes that wait for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Digest of the changes, which an approval names.
    pub digest: String,
    /// The role's owner, as its owner tag has it.
    pub owner: String,
    /// Digest of the role after all changes.
    pub goal: String,
    /// Digests of the single changes.
    pub change_digests: Vec<String>,
    /// What the role may allow after them. Nothing, where every change needs an approval.
    pub widening: Widening,
    /// The changes, one line each.
    pub changes: Vec<String>,
}

impl Pending {
    fn of(hold: &Hold, digest: String, owner: &str, goal: String) -> Self {
        Self {
            digest,
            owner: owner.to_owned(),
            goal,
            change_digests: hold.change_digests(),
            changes: hold.waiting.iter().map(ToString::to_string).collect(),
            widening: hold.widening.clone(),
        }
    }

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

/// What operators decided about changes.
#[allow(clippy::large_enum_variant, reason = "one lives at a time")]
enum Decided {
    /// They are approved, and have not begun.
    Approved(Granted),
    /// They were approved, have begun and are finished.
    UnderWay,
    /// They wait, or were denied.
    No {
        /// The changes.
        pending: Pending,
        /// The denial.
        denied: Option<Decision>,
    },
}

impl Case<'_> {
    /// Returns what is done of the proposal now, by the approvals that the account asks for.
    pub(super) fn gate(&self, proposed: Proposed, owner: &str) -> Proposal {
        let proposed = match self.limit_removals(proposed, owner) {
            Ok(proposed) => proposed,
            Err(instead) => return *instead,
        };
        let (before, changes) = (proposed.observed.as_ref(), proposed.plan.changes.as_slice());
        let needed_for = self.account.spec.approvals_for();
        if needed_for == ApprovalsFor::None || proposed.granted.is_some() {
            return Proposal::Change(Box::new(proposed));
        }
        let policies = self.live.policies();
        if before.is_some() && self.asks == Asks::Controller {
            // Their owners may change the documents at any time. `rolectl approve` reads them again: with old ones here the digest would
            // differ from the one that the operator approves.
            let mut given = policies_given(changes).peekable();
            let is_stale = given.peek().is_some() && !self.live.has_recent_policies();
            if is_stale || given.any(|arn| !policies.is_wanted(arn)) {
                return Proposal::PoliciesUnread;
            }
        }
        let place = place_of(&self.account.spec, &policies);
        let judged = before.map(|before| self.without_policies_of_others(before, changes));
        let judged = judged.as_ref();
        let hold = if needed_for == ApprovalsFor::All {
            hold_all(judged, changes, place, &Budget::default())
        } else if is_never_wider(judged, changes, place, &Budget::default()) {
            return Proposal::Change(Box::new(proposed));
        } else {
            // The comparison before may have used up its budget.
            narrow_now(judged, changes, place, &Budget::default())
        };
        if hold.waiting.is_empty() && !hold.now.is_empty() {
            // In this order no step is wider than the role before.
            let mut proposed = proposed;
            proposed.plan.changes = hold.now;
            return Proposal::Change(Box::new(proposed));
        }
        let SessionView::Open(session) = self.session else {
            return Proposal::Waits("waiting for the session");
        };
        match self.decided(session, &hold, &proposed, owner) {
            Decided::Approved(granted) => Proposal::Change(Box::new(Proposed {
                granted: Some(granted),
                ..proposed
            })),
            Decided::UnderWay => Proposal::Change(Box::new(proposed)),
            Decided::No { pending, denied } => self.hold(proposed, hold, pending, denied.as_ref()),
        }
    }

    /// Returns the role without the policies of others that stay on it. They may be removed at any time. A change that is not wider only
    /// because of them must wait, because it is wider after that.
    fn without_policies_of_others(&self, before: &ObservedRole, changes: &[Change]) -> ObservedRole {
        let is_removed = |policy: &str| {
            changes.iter().any(|change| match change {
                Change::DeleteInlinePolicy(removed) => removed == policy,
                Change::DetachPolicy(removed) => is_same_policy(removed, policy),
                _ => false,
            })
        };
        let named = policies_of(self.directory, self.account, [self.role]);
        let is_named = |arn: &str| named.iter().any(|named| is_same_policy(named, arn));
        let inline = &self.role.spec.inline_policies;
        let mut before = before.clone();
        before
            .inline_policies
            .retain(|name, _| inline.contains_key(name) || is_removed(name));
        before
            .managed_policies
            .retain(|arn| is_named(arn) || is_removed(arn));
        before
    }

    /// Parks the removal of the role if it exceeds the limit of the account.
    pub(super) fn limit_removals(&self, proposed: Proposed, owner: &str) -> Result<Proposed, Box<Proposal>> {
        let key = RoleKey::of(self.role);
        if !proposed.plan.changes.contains(&Change::DeleteRole) {
            self.live.removals.lock().forget(&key);
            return Ok(proposed);
        }
        if self.asks == Asks::Operator {
            return Ok(proposed);
        }
        let policies = self.live.policies();
        let place = place_of(&self.account.spec, &policies);
        let budget = Budget::default();
        let hold = hold_all(proposed.observed.as_ref(), &proposed.plan.changes, place, &budget);
        let SessionView::Open(session) = self.session else {
            return Err(Box::new(Proposal::Waits("waiting for the session")));
        };
        let (pending, denied) = match self.decided(session, &hold, &proposed, owner) {
            Decided::Approved(granted) => {
                self.live.removals.lock().approve(&key);
                return Ok(Proposed {
                    granted: Some(granted),
                    ..proposed
                });
            }
            Decided::UnderWay => return Ok(proposed),
            Decided::No { pending, denied } => (Some(pending), denied),
        };
        if self.asks == Asks::Approver {
            return Err(Box::new(Proposal::Change(Box::new(Proposed {
                pending,
                ..proposed
            }))));
        }
        let message = if let Some(denied) = denied {
            self.live.removals.lock().deny(&key);
            denial(&denied)
        } else {
            match self.begin_removal(&key, &proposed, owner) {
                Ok(()) => return Ok(proposed),
                Err(parked) => format!(
                    "{parked}: an operator runs `rolectl approve {}`, or `rolectl approve --all --removals --account {}`",
                    command_of(&full_name(self.role)),
                    self.live.name
                ),
            }
        };
        Err(Box::new(Proposal::Refused(Refused {
            pending,
            ..Refused::from(Refusal::new(Reason::RemovalsParked, message))
        })))
    }

    fn begin_removal(&self, key: &RoleKey, proposed: &Proposed, owner: &str) -> Result<(), Parked> {
        let guardrails = self.account.spec.guardrails.as_ref();
        let limits = Limits::of(guardrails.and_then(|guardrails| guardrails.max_removals.as_ref()));
        let (managed, _) = self.live.snapshot.lock().counts();
        let counts = |key: &RoleKey, target: &Target| self.deletes(key, target);
        let target = Target {
            name: proposed.name.clone(),
            owner: owner.to_owned(),
        };
        let managed = usize::try_from(managed).unwrap_or(usize::MAX);
        let mut removals = self.live.removals.lock();
        removals.want(key.clone(), target);
        removals.begin(key, limits, managed, counts, self.live.now())
    }

    /// Returns true if the removal of a role that an object wants removed deletes one in AWS, as far as that is known.
    fn deletes(&self, key: &RoleKey, target: &Target) -> bool {
        let observed = {
            let snapshot = self.live.snapshot.lock();
            if snapshot.may_have_role_of(&target.name, &target.owner) == Some(false) {
                return false;
            }
            snapshot.last_seen(&target.name.to_lowercase())
        };
        let Some(role) = self.directory.role(key) else {
            return true;
        };
        if role.spec.suspend || is_retained(&role) {
            return false;
        }
        if is_kept_absent(&role) {
            return role.spec.drift != DriftPolicy::Report;
        }
        let observed = observed.and_then(|role| role.unpack());
        let policy = deletion_policy(&role, self.account, observed.as_ref());
        policy.is_ok_and(|policy| policy == DeletionPolicy::Delete)
    }

    /// Returns what operators decided about the changes that wait.
    fn decided(&self, session: &OpenSession, hold: &Hold, proposed: &Proposed, owner: &str) -> Decided {
        let (before, changes) = (proposed.observed.as_ref(), proposed.plan.changes.as_slice());
        let account_id = &self.account.spec.account_id;
        let digest = hold.digest(Subject {
            owner,
            account_id,
            role_id: before.map(|role| role.role_id.as_str()),
        });
        let goal = goal_digest(after(before, changes).as_ref());
        let now = self.live.now();
        let decision = session.approvals.decision(&digest, now);
        let is_fresh = !session.grants.is_used(&digest);
        if let Some(denied) = decision.filter(|decision| decision.verdict == Verdict::Denied) {
            session.grants.deny(account_id, owner);
            return Decided::No {
                pending: Pending::of(hold, digest, owner, goal),
                denied: Some(denied.clone()),
            };
        }
        if let Some(approved) = decision.filter(|_| is_fresh) {
            return Decided::Approved(Granted {
                digest,
                goal,
                by: by(approved),
            });
        }
        let pending = Pending::of(hold, digest, owner, goal);
        let remaining = (pending.goal.as_str(), pending.change_digests.as_slice());
        if session.grants.is_under_way(account_id, owner, remaining, now) {
            return Decided::UnderWay;
        }
        Decided::No {
            pending,
            denied: None,
        }
    }

    /// Leaves the waiting changes, and makes the others.
    fn hold(
        &self,
        mut proposed: Proposed,
        hold: Hold,
        pending: Pending,
        denied: Option<&Decision>,
    ) -> Proposal {
        let role = full_name(self.role);
        let pending = Some(pending);
        if self.asks != Asks::Controller {
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
            denial,
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

/// Returns the ARNs of the managed policies that the changes give to a role, boundaries among them.
fn policies_given(changes: &[Change]) -> impl Iterator<Item = &str> {
    changes.iter().filter_map(|change| match change {
        Change::AttachPolicy(arn) | Change::PutBoundary(arn) => Some(arn.as_str()),
        _ => None,
    })
}

fn denial(denied: &Decision) -> String {
    let reason = denied.reason.as_deref();
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!(
        "{} denied the changes{reason}. Revert them, or ask an operator to approve them",
        by(denied)
    )
}

/// Returns true if the object is not being deleted, and its role is to be absent.
fn is_kept_absent(role: &IamRole) -> bool {
    role.spec.ensure == Ensure::Absent && role.metadata.deletion_timestamp.is_none()
}

/// Returns true if the spec says that the role stays in AWS.
fn is_retained(role: &IamRole) -> bool {
    !is_kept_absent(role) && role.spec.deletion_policy == Some(DeletionPolicy::Retain)
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
