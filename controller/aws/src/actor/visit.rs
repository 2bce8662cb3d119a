//! A visit: one role in one account, from what is known of it to the calls that change it.

use std::sync::Arc;
use std::time::Duration;

use rolectl_core::names::{RoleKey, name_in_aws};
use rolectl_core::role::admission::not_admitted;
use rolectl_core::role::kept::Kept;
use rolectl_core::role::managed_policy::suggestion;
use rolectl_core::role::ownership::is_ours;
use rolectl_core::role::permit::{permit_of_account, permit_of_role};
use rolectl_core::role::{Change, ObservedRole, Refusal};
use rolectl_core::selection::targets;
use rolectl_core::snapshot::Lookup;
use rolectl_core::status::SHOWN_CHANGES;
use rolectl_core::widening::goal_digest;
use rolectl_crds::{AwsAccount, Ensure, IamRole, Reason};
use tokio::time::Instant;

use super::carry_out::carry_out;
use super::directory::{Admits, Directory};
use super::gate::Granted;
use super::propose::{Asks, Case, Proposal, Proposed, Refused, SessionView, left};
use super::report::{Assignment, Finding, Goal, RoleIdentity, RoleInAccount, RoleReport};
use super::role_state::{Failure, Outcome};
use crate::account::{Account, AccountError};
use crate::apply::Applied;
use crate::error::{AwsFailure, Class};
use crate::session::OpenSession;

/// One role in one account, as it was when the visit began.
pub(super) struct Visit {
    pub(super) key: RoleKey,
    pub(super) assignment: Assignment,
    pub(super) role: Arc<IamRole>,
    pub(super) account: Arc<AwsAccount>,
    pub(super) live: Arc<Account>,
    pub(super) session: SessionView,
    pub(super) failure: Option<(Reason, String)>,
    /// Why the changes are not to be made yet.
    pub(super) paused: Option<(Reason, String)>,
    /// A principal that AWS does not know can no longer be one that was just made.
    pub(super) is_out_of_patience: bool,
    pub(super) directory: Arc<dyn Directory>,
}

/// What came of a visit.
#[derive(Debug)]
pub(super) struct Visited {
    pub(super) outcome: Outcome,
    pub(super) finding: Finding,
    pub(super) done: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// A change that AWS refused, with its message.
    pub(super) failed: Option<(Reason, String)>,
    /// A sweep is to follow: something is not certain, or a quota is to be read again.
    pub(super) wants_sweep: bool,
    /// An author can bring this about, so that a sweep is made as seldom as one that a user asks for.
    pub(super) requests_sweep: bool,
    /// AWS refused this session, with this message.
    pub(super) refused_session: Option<(Arc<OpenSession>, String)>,
}

impl Visited {
    fn new(outcome: Outcome, finding: Finding) -> Self {
        Self {
            outcome,
            finding,
            done: vec![],
            warnings: vec![],
            failed: None,
            wants_sweep: false,
            requests_sweep: false,
            refused_session: None,
        }
    }

    pub(super) fn state(outcome: Outcome, role: RoleInAccount) -> Self {
        Self::new(outcome, Finding::State(Box::new(role)))
    }

    /// What is reported of the visit.
    pub(super) fn report(self, revision: u64, generation: Option<i64>) -> RoleReport {
        RoleReport {
            revision,
            generation,
            finding: self.finding,
            done: self.done,
            warnings: self.warnings,
        }
    }

    /// Work was interrupted, and continues by itself.
    fn interrupted(message: impl Into<String>) -> Self {
        Self::state(
            Outcome::Interrupted,
            RoleInAccount::new(Reason::Progressing, message),
        )
    }
}

impl Visit {
    /// Makes the account agree with the role.
    pub(super) async fn run(self) -> Visited {
        if let Some(what) = self.awaits_assignment() {
            return Visited::new(Outcome::Waits, Finding::Waits(what));
        }
        let case = Case {
            directory: &*self.directory,
            role: &self.role,
            account: &self.account,
            live: &self.live,
            session: &self.session,
            failure: self.failure.as_ref(),
            asks: Asks::Controller,
        };
        let (proposal, warnings) = case.propose(self.assignment.goal);
        let visited = match proposal {
            Proposal::Gone => Visited::new(Outcome::Gone, Finding::Gone),
            Proposal::Waits(what) => Visited::new(Outcome::Waits, Finding::Waits(what)),
            // The first sweep comes by itself.
            Proposal::Unread => Visited {
                wants_sweep: self.live.snapshot.lock().is_complete(),
                ..Visited::new(Outcome::Waits, Finding::Waits("reading the account's roles"))
            },
            Proposal::PoliciesUnread => Visited {
                requests_sweep: true,
                ..Visited::new(
                    Outcome::Waits,
                    Finding::Waits("reading the documents of managed policies"),
                )
            },
            Proposal::InSync { observed, kept } => self.in_sync_already(observed.as_ref(), &kept).await,
            Proposal::Refused(refused) => self.refused(refused),
            Proposal::Differs(proposed) => self.differs(&proposed),
            Proposal::Change(proposed) if self.waits_for_turn(&proposed) => {
                self.change_in_part(*proposed).await
            }
            Proposal::Change(proposed) => self.change(*proposed).await,
        };
        match &visited.outcome {
            Outcome::InSync(_) | Outcome::Gone => {
                self.live.removals.lock().forget(&self.key);
                self.end_approved();
            }
            // A role that is not removed for another reason takes no place of those that are.
            Outcome::Refused { reason, .. } if reason.is_stalled() => {
                self.live.removals.lock().forget(&self.key);
            }
            Outcome::Differs(_) => self.live.removals.lock().forget(&self.key),
            _ => {}
        }
        Visited { warnings, ..visited }
    }

    /// The role is as it should be: what was approved is done.
    fn end_approved(&self) {
        let SessionView::Open(session) = &self.session else {
            return;
        };
        if !session.grants.are_any_under_way() {
            return;
        }
        let found = self.live.snapshot.lock().lookup(name_in_aws(&self.role));
        let role = found.known().flatten().map(|(role, _)| role);
        let (owner, goal) = (self.directory.owner_of(&self.role), goal_digest(role.as_ref()));
        let account = &self.account.spec.account_id;
        session.grants.end(account, &owner, &goal, self.live.now());
    }

    /// The object is read later than it was assigned. Returns what is waited for, if the goal is not one of the object as it is now.
    fn awaits_assignment(&self) -> Option<&'static str> {
        if self.role.spec.suspend {
            return Some("suspended");
        }
        let is_deleted = self.role.metadata.deletion_timestamp.is_some();
        let keeps = !is_deleted && targets(&self.role, &self.account);
        (keeps != (self.assignment.goal == Goal::Keep))
            .then_some("the object has changed; its assignment follows")
    }

    fn namespace(&self) -> &str {
        &self.key.namespace
    }

    fn refused(&self, refused: Refused) -> Visited {
        let Refused {
            refusal: Refusal { reason, message },
            left,
            is_foreign,
            pending,
        } = refused;
        let mut role = RoleInAccount::new(reason, message);
        if let Some(pending) = pending {
            let (lines, count) = pending.lines();
            role.changes = first_of(&lines, count);
            role.approval = Some(pending.digest);
        }
        if is_foreign {
            role.identity = RoleIdentity::Known(None);
        }
        Visited {
            wants_sweep: reason == Reason::QuotaExceeded && self.live.reread_quotas(),
            ..Visited::state(Outcome::Refused { reason, left }, role)
        }
    }

    /// The role is as it should be. Its object must not be deleted before the role is: it may be a role of an earlier cluster.
    async fn in_sync_already(&self, observed: Option<&ObservedRole>, kept: &Kept) -> Visited {
        if observed.is_some()
            && let Err(message) = self.directory.protect(&self.role).await
        {
            return Visited::interrupted(message);
        }
        self.in_sync(observed, kept)
    }

    fn in_sync(&self, observed: Option<&ObservedRole>, kept: &Kept) -> Visited {
        let profile = self.role.spec.instance_profile.as_ref();
        let profile = profile.filter(|_| self.role.spec.ensure == Ensure::Present);
        let profile = profile.map(|p| {
            let name = || name_in_aws(&self.role).to_owned();
            p.name.clone().unwrap_or_else(name)
        });
        let role = RoleInAccount {
            state: Reason::InSync,
            message: kept.message(),
            changes: vec![],
            identity: RoleIdentity::Known(observed.map(|o| (o.arn.clone(), o.role_id.clone()))),
            in_sync: Some(profile.into_iter().collect()),
            is_restricted: !kept.restrictions.is_empty(),
            approval: None,
        };
        Visited::state(Outcome::InSync(left(&self.role, observed)), role)
    }

    fn differs(&self, proposed: &Proposed) -> Visited {
        let role = RoleInAccount {
            changes: shown(&proposed.plan.changes),
            ..RoleInAccount::new(Reason::Drifted, "differs, and drift: Report leaves it so")
        };
        Visited::state(Outcome::Differs(proposed.left(&self.role)), role)
    }

    /// What to say while the changes are not made yet: why they failed.
    fn paused(&self, observed: Option<&ObservedRole>) -> Option<Visited> {
        let (reason, message) = self.paused.clone()?;
        let mut role = RoleInAccount::new(reason, message);
        let owner = self.directory.owner_of(&self.role);
        if let Some(ours) = observed.filter(|role| is_ours(role, &owner, None)) {
            role.identity = RoleIdentity::Known(Some((ours.arn.clone(), ours.role_id.clone())));
        }
        Some(Visited::state(Outcome::Paused, role))
    }

    pub(super) async fn change(&self, proposed: Proposed) -> Visited {
        if let Some(visited) = self
            .paused(proposed.observed.as_ref())
            .filter(|_| !proposed.is_enforced())
        {
            return visited;
        }
        let SessionView::Open(session) = &self.session else {
            return Visited::interrupted("waiting for the session");
        };
        let is_kept = self.assignment.goal == Goal::Keep;
        let room = if is_kept {
            let (plan, observed) = (&proposed.plan, proposed.observed.as_ref());
            match self
                .live
                .make_room(&proposed.name, plan, observed, proposed.is_ours)
            {
                Ok(room) => room,
                Err(full) => {
                    return self.refused(Refusal::new(full.reason(), full.to_string()).into());
                }
            }
        } else {
            None
        };
        // What is only detached needs no admission, and nor does a removal.
        if is_kept && !proposed.is_enforced() {
            match self
                .directory
                .confirm_admission(&self.account, self.namespace())
                .await
            {
                Ok(true) => {}
                // The API server says what the cache does not know yet.
                Ok(false) => return self.refused(not_admitted(&self.account, self.namespace()).into()),
                Err(message) => return Visited::interrupted(message),
            }
        }
        if self.role.metadata.deletion_timestamp.is_none()
            && let Err(message) = self.directory.protect(&self.role).await
        {
            return Visited::interrupted(message);
        }
        let (kept, refusal) = (proposed.plan.kept.clone(), proposed.refusal.clone());
        let pending = proposed.pending.clone();
        if let Some(granted) = &proposed.granted {
            self.begin_approved(session, granted);
        }
        let permit = || self.permit();
        let applied = Box::pin(carry_out(&self.live, session, &self.key, proposed, &permit)).await;
        drop(room);
        let visited = self.applied(session, applied, &kept);
        match refusal {
            Some(refusal) if matches!(visited.outcome, Outcome::InSync(_)) => Visited {
                done: visited.done,
                ..self.refused(Refused {
                    pending,
                    ..refusal.into()
                })
            },
            _ => visited,
        }
    }

    /// What was approved is finished even if it is interrupted, and is not done a second time.
    fn begin_approved(&self, session: &OpenSession, granted: &Granted) {
        let owner = self.directory.owner_of(&self.role);
        let account = &self.account.spec.account_id;
        session
            .grants
            .begin(account, &owner, (&granted.goal, self.live.now()), &granted.digest);
        tracing::info!(
            target: "rolectl::audit",
            role = %self.key, account = %self.live.name, account_id = %account,
            digest = granted.digest, approved_by = granted.by,
            "approved"
        );
    }

    /// Returns an error once the objects that this visit is based on have changed, or a right was taken away.
    fn permit(&self) -> Result<(), String> {
        permit_of_role(&self.role, self.directory.role(&self.key).as_deref())?;
        let name = self.account.metadata.name.as_deref().unwrap_or_default();
        let now = self.directory.account(name);
        let namespace = (self.assignment.goal == Goal::Keep).then(|| self.namespace());
        permit_of_account(&self.account, now.as_deref(), namespace, |account, namespace| {
            self.directory.admits(account, namespace) == Admits::Yes
        })
    }

    fn applied(
        &self,
        session: &Arc<OpenSession>,
        result: Result<Applied, AccountError>,
        kept: &Kept,
    ) -> Visited {
        let applied = match result {
            Ok(applied) => applied,
            Err(error) => return self.account_failed(session, &error),
        };
        let done: Vec<String> = applied.done.iter().map(ToString::to_string).collect();
        let mut visited = match applied.failed {
            // Nothing done and nothing failed is a role that was replaced meanwhile.
            None if done.is_empty() => {
                Visited::interrupted("the role in AWS is not the one that was there; looking again")
            }
            None if self.assignment.goal == Goal::Remove => Visited::new(Outcome::Gone, Finding::Gone),
            None => self.in_sync(applied.role.as_ref(), kept),
            Some((_, failure)) if failure.class == Class::Expired => {
                self.live.drop_credentials();
                Visited::interrupted(failure.to_string())
            }
            Some((change, failure)) => self.change_failed(&change, &failure, applied.role.as_ref()),
        };
        if let (Finding::State(state), Some(role)) = (&mut visited.finding, &applied.role) {
            state.identity = RoleIdentity::Known(Some((role.arn.clone(), role.role_id.clone())));
        }
        Visited { done, ..visited }
    }

    fn change_failed(&self, change: &Change, failure: &AwsFailure, role: Option<&ObservedRole>) -> Visited {
        let mut reason = failure.reason();
        let is_given_up = self.assignment.is_given_up || self.is_out_of_patience;
        if reason == Reason::AwaitingPrincipal && is_given_up {
            reason = Reason::InvalidSpec;
        }
        let mut wants_sweep = failure.class == Class::Quota && self.live.reread_quotas();
        let account = &self.account.spec.account_id;
        let message = format!(
            "account {account}: {failure} (at: {change}){}",
            hint(change, failure)
        );
        let failed = Some((reason, message.clone()));
        // What AWS did is not certain: a sweep shows it.
        let name = name_in_aws(&self.role);
        wants_sweep |= matches!(self.live.snapshot.lock().lookup(name), Lookup::Unknown);
        if failure.class == Class::NotMade {
            return Visited {
                failed,
                wants_sweep,
                ..Visited::interrupted(message)
            };
        }
        let outcome = Outcome::Failed(Failure {
            generation: self.role.metadata.generation,
            reason,
            message: message.clone(),
            is_unknown_principal: failure.class == Class::AwaitingPrincipal,
            left: Some(left(&self.role, role)),
        });
        Visited {
            failed,
            wants_sweep,
            ..Visited::state(outcome, RoleInAccount::new(reason, message))
        }
    }

    fn account_failed(&self, session: &Arc<OpenSession>, error: &AccountError) -> Visited {
        let message = format!("account {}: {error}", self.account.spec.account_id);
        let reason = match error {
            AccountError::SessionRefused(_) => {
                let refused = RoleInAccount::new(Reason::SessionLocked, message);
                let outcome = Outcome::Refused {
                    reason: Reason::SessionLocked,
                    left: None,
                };
                return Visited {
                    refused_session: Some((session.clone(), error.to_string())),
                    ..Visited::state(outcome, refused)
                };
            }
            AccountError::Aws(failure) if failure.class == Class::Expired => {
                self.live.drop_credentials();
                Reason::AwsUnavailable
            }
            other => other.reason(),
        };
        let state = RoleInAccount::new(reason, message.clone());
        let outcome = match error {
            AccountError::Aws(_) => Outcome::Failed(Failure {
                generation: self.role.metadata.generation,
                reason,
                message,
                is_unknown_principal: false,
                left: None,
            }),
            AccountError::Mismatch { .. } | AccountError::Place(_) => Outcome::Refused { reason, left: None },
            _ => Outcome::Interrupted,
        };
        Visited::state(outcome, state)
    }
}

/// Returns true if `since` is longer ago than a principal of a trust policy is waited for.
pub(super) fn is_out_of_patience(since: Option<Instant>, patience: Duration) -> bool {
    since.is_some_and(|since| since.elapsed() > patience)
}

/// What to do about a failure, where the message of AWS alone does not lead to it.
fn hint(change: &Change, failure: &AwsFailure) -> String {
    let policy = match change {
        Change::AttachPolicy(arn) => Some(("managedPolicies", arn)),
        Change::PutBoundary(arn) => Some(("permissionsBoundary", arn)),
        Change::CreateRole(role) => role
            .permissions_boundary
            .as_ref()
            .map(|arn| ("permissionsBoundary", arn)),
        _ => None,
    };
    match (failure.class, policy) {
        (Class::Invalid, Some((field, arn)))
            if failure.code.as_deref().is_some_and(|c| c.starts_with("NoSuch")) =>
        {
            let near = suggestion(arn)
                .map(|near| format!(" Did you mean {near}?"))
                .unwrap_or_default();
            format!(". Correct spec.{field}, or create the policy.{near}")
        }
        (Class::Invalid, _) if failure.code.is_some() => ". Correct the spec".to_owned(),
        (Class::AwaitingPrincipal, _) => {
            ". Correct spec.assumeRolePolicy, unless the principal was made moments ago".to_owned()
        }
        (Class::AccessDenied, _) => ". Give the role that rolectl assumes this permission".to_owned(),
        (Class::Quota, _) => ". Make room, or have the quota raised".to_owned(),
        _ => String::new(),
    }
}

/// The first of these changes, and how many more there are.
pub(super) fn shown(changes: &[Change]) -> Vec<String> {
    first_of(changes, changes.len())
}

/// The first lines of a list of `count` things, which may be more than it has, and how many more there are.
fn first_of<T: ToString>(all: &[T], count: usize) -> Vec<String> {
    let mut lines: Vec<String> = all.iter().take(SHOWN_CHANGES).map(ToString::to_string).collect();
    if let Some(more) = count.checked_sub(lines.len()).filter(|n| *n > 0) {
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_what_is_not_shown_counts_what_is_not_listed_either() {
        assert_eq!(
            first_of(&["a"; 40], 100).last().map(String::as_str),
            Some("and 95 more")
        );
        assert_eq!(first_of(&["a"; 5], 5), ["a"; 5]);
        assert_eq!(first_of::<&str>(&[], 0), Vec::<String>::new());
    }
}
