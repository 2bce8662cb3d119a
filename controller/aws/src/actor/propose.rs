//! What is to be done about one role in one account. The controller's actors and `rolectl plan` both ask here.
//!
//! Nothing here makes a call: what AWS has comes from the account's snapshot, and the objects from the [`Directory`].

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rolectl_core::names::name_in_aws;
use rolectl_core::role::admission::{
    AccountCase, Admission, Candidate, check_access, deletion_policy, forbids_removal,
};
use rolectl_core::role::kept::Kept;
use rolectl_core::role::ownership::is_ours;
use rolectl_core::role::{Change, ObservedRole, Plan, PlanContext, Refusal, plan_removal};
use rolectl_core::selection::targets;
use rolectl_crds::{AwsAccount, DriftPolicy, IamRole, Reason};

use super::directory::{Admits, Directory};
use super::gate::{Granted, Pending};
use super::report::Goal;
use super::role_state::Left;
use crate::account::Account;
use crate::clock::now;
use crate::session::{OpenSession, SessionState, Sessions};

/// The session of an account.
#[derive(Clone, Debug)]
pub enum SessionView {
    /// It is open.
    Open(Arc<OpenSession>),
    /// It was not looked at yet.
    Waits,
    /// There is no `MfaSession` of this name.
    Missing(String),
    /// It is locked, because of this.
    Locked(String),
}

impl SessionView {
    /// The session that the account is assumed on, at `now`.
    pub fn of(account: &AwsAccount, sessions: &Sessions, directory: &dyn Directory, now: Timestamp) -> Self {
        let name = &account.spec.session_ref;
        match sessions.state(name, now) {
            SessionState::Open(open) => Self::Open(open),
            SessionState::Locked(why) => Self::Locked(why),
            SessionState::Pending if directory.session(name).is_some() => Self::Waits,
            SessionState::Pending => Self::Missing(name.clone()),
        }
    }
}

/// For whom the plan is computed, which decides whether approvals hold changes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// The controller: changes wait for approvals.
    Controller,
    /// An operator who makes the changes with a session of his own: they do not wait.
    Operator,
    /// An operator who decides about the changes that wait in the controller.
    Approver,
}

/// A role in an account, with everything that it is judged by.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The objects.
    pub directory: &'a dyn Directory,
    /// The role's object.
    pub role: &'a IamRole,
    /// The account's object.
    pub account: &'a AwsAccount,
    /// The account in AWS.
    pub live: &'a Account,
    /// Its session.
    pub session: &'a SessionView,
    /// Why the account's roles cannot be acted on, if they cannot.
    pub failure: Option<&'a (Reason, String)>,
    /// For whom the plan is computed.
    pub asks: Asks,
}

/// What is to be done.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time")]
pub enum Proposal {
    /// Nothing of this owner is in the account, and nothing is to be.
    Gone,
    /// Nothing can be said yet, because of this.
    Waits(&'static str),
    /// No sweep has shown the role yet, or the last one left it in doubt.
    Unread,
    /// The plan gives the role a managed policy whose document was not read within the last minute.
    PoliciesUnread,
    /// The role is as it should be.
    InSync {
        /// The role in AWS. `None` for `ensure: Absent`.
        observed: Option<ObservedRole>,
        /// What is left on it although the spec does not list it.
        kept: Kept,
    },
    /// Nothing may be done.
    Refused(Refused),
    /// It differs, and `drift: Report` leaves it so.
    Differs(Box<Proposed>),
    /// These changes are to be made.
    Change(Box<Proposed>),
}

/// A refusal, and how long it lasts.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The reason and its message.
    pub refusal: Refusal,
    /// Set where only a change of the spec or of the role in AWS can end it. Else every sweep looks again.
    pub left: Option<Left>,
    /// The role in AWS belongs to somebody else: nothing of it may be shown to the tenant.
    pub is_foreign: bool,
    /// The changes that wait for an approval.
    pub pending: Option<Pending>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            left: None,
            is_foreign: false,
            pending: None,
        }
    }
}

/// Changes to a role.
#[derive(Debug)]
pub struct Proposed {
    /// The name of the role in AWS.
    pub name: String,
    /// The changes.
    pub plan: Plan,
    /// The role in AWS.
    pub observed: Option<ObservedRole>,
    /// When AWS showed it so.
    pub seen: Instant,
    /// The role in AWS is ours already.
    pub is_ours: bool,
    /// Why the changes are not all those of the spec: it breaks a guardrail, and all that is done is to detach managed policies that the
    /// account denies; or the others wait for an approval.
    pub refusal: Option<Refusal>,
    /// The changes that wait for an approval.
    pub pending: Option<Pending>,
    /// The approval of these changes.
    pub granted: Option<Granted>,
}

impl Proposed {
    /// Returns true if all that is done is to detach managed policies that the account denies.
    pub fn is_enforced(&self) -> bool {
        let refusal = self.refusal.as_ref();
        refusal.is_some_and(|refusal| refusal.reason == Reason::GuardrailViolated)
    }

    /// How a sweep shows the role until it is changed.
    pub fn left(&self, role: &IamRole) -> Left {
        left(role, self.observed.as_ref())
    }
}

/// How a visit that changes nothing leaves the role.
pub fn left(role: &IamRole, observed: Option<&ObservedRole>) -> Left {
    Left {
        generation: role.metadata.generation,
        fingerprint: observed.map(ObservedRole::fingerprint),
    }
}

/// The role as AWS has it, and when it was seen.
type Observation = (Option<ObservedRole>, Instant);

impl<'a> Case<'a> {
    /// What is to be done for the goal, and what the author of the spec may not have meant.
    pub fn propose(&self, goal: Goal) -> (Proposal, Vec<String>) {
        match goal {
            Goal::Keep => self.keep(),
            Goal::Remove => (self.remove().unwrap_or_else(|instead| *instead), vec![]),
        }
    }

    fn namespace(&self) -> &'a str {
        self.role.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn role_name(&self) -> &'a str {
        name_in_aws(self.role)
    }

    /// The `IamRole` as one that wants a role here.
    pub fn candidate<'r>(&self, role: &'r IamRole) -> Candidate<'r> {
        let owner = self.directory.owner_of(role);
        let namespace = role.metadata.namespace.as_deref().unwrap_or_default();
        Candidate {
            role,
            // Labels that have not arrived yet may admit it: it must not lose a name to somebody who came later.
            is_admitted: self.directory.admits(self.account, namespace) != Admits::No,
            role_id: self.live.snapshot.lock().claimed(name_in_aws(role), &owner),
            owner,
        }
    }

    fn keep(&self) -> (Proposal, Vec<String>) {
        if let Some(refused) = self.check_before_spec() {
            return (refused, vec![]);
        }
        let through = self.directory.access_roles(self.account);
        let session = self.directory.session(&self.account.spec.session_ref);
        let case = AccountCase {
            object: self.account,
            session: session.as_ref().map(|session| &session.spec),
            access_roles: &through,
            quotas: self.live.quotas(),
            documents: self.directory.documents(),
        };
        let candidate = self.candidate(self.role);
        let desired = match case.desired(&candidate) {
            Ok(desired) => desired,
            Err(refusal) => return (self.enforce(&case, &candidate, refusal), vec![]),
        };
        let warnings = desired.warnings.clone();
        let (observed, seen) = match self.observe() {
            Ok(observation) => observation,
            Err(instead) => return (*instead, warnings),
        };
        let mut namesakes = self.directory.namesakes(self.role_name());
        namesakes.retain(|other| !is_same_object(other, self.role) && targets(other, self.account));
        let rivals: Vec<Candidate<'_>> = namesakes.iter().map(|other| self.candidate(other)).collect();
        let proposal = match case.admit(&candidate, &desired, &rivals, observed.as_ref()) {
            Admission::Admitted(plan) if plan.is_empty() => Proposal::InSync {
                observed,
                kept: plan.kept,
            },
            Admission::Admitted(plan) => {
                let proposed = Box::new(Proposed {
                    name: desired.name,
                    is_ours: observed
                        .as_ref()
                        .is_some_and(|o| is_ours(o, &candidate.owner, candidate.role_id.as_deref())),
                    plan,
                    observed,
                    seen,
                    refusal: None,
                    pending: None,
                    granted: None,
                });
                if desired.drift == DriftPolicy::Report {
                    Proposal::Differs(proposed)
                } else {
                    self.gate(*proposed, &candidate.owner)
                }
            }
            Admission::Yields(refusal) => Proposal::Refused(refusal.into()),
            Admission::Refused(refusal) => {
                match (case.enforce(&candidate, &refusal, observed.as_ref()), observed) {
                    (Some(plan), Some(observed)) => enforced(plan, observed, seen, refusal),
                    (_, observed) => self.refused(refusal, observed.as_ref()),
                }
            }
        };
        (proposal, warnings)
    }

    /// What can be said before the spec is read.
    fn check_before_spec(&self) -> Option<Proposal> {
        let refuse = |refusal: Refusal| Some(Proposal::Refused(refusal.into()));
        let is_suspended = self.account.spec.suspend;
        if self.account.metadata.deletion_timestamp.is_some() && !is_suspended {
            let owner = self.directory.owner_of(self.role);
            if self
                .live
                .snapshot
                .lock()
                .may_have_role_of(self.role_name(), &owner)
                == Some(false)
            {
                let message = "the AwsAccount is being deleted: take it out of spec.accounts";
                return refuse(Refusal::new(Reason::AccountNotFound, message));
            }
        }
        if !is_suspended && self.directory.admits(self.account, self.namespace()) == Admits::Unknown {
            return Some(Proposal::Waits("waiting for the labels of the namespace"));
        }
        check_access(self.account, &self.candidate(self.role))
            .err()
            .and_then(refuse)
    }

    fn refused(&self, refusal: Refusal, observed: Option<&ObservedRole>) -> Proposal {
        // A guardrail may change, and a quota may be raised: every sweep looks again.
        let lasts = !matches!(refusal.reason, Reason::GuardrailViolated | Reason::QuotaExceeded);
        Proposal::Refused(Refused {
            left: lasts.then(|| left(self.role, observed)),
            is_foreign: lasts && refusal.reason != Reason::InvalidSpec,
            refusal,
            pending: None,
        })
    }

    /// The spec cannot be carried out. Managed policies that the account denies are detached all the same: a guardrail that was
    /// tightened counts for roles that are there.
    fn enforce(&self, case: &AccountCase<'_>, candidate: &Candidate<'_>, refusal: Refusal) -> Proposal {
        if refusal.reason == Reason::GuardrailViolated
            && let Ok((Some(observed), seen)) = self.observe()
            && let Some(plan) = case.enforce(candidate, &refusal, Some(&observed))
        {
            return enforced(plan, observed, seen, refusal);
        }
        Proposal::Refused(refusal.into())
    }

    /// Removes or releases the role. Only what carries our owner tag is touched where the account does not admit the namespace now.
    fn remove(&self) -> Result<Proposal, Box<Proposal>> {
        if self.account.spec.suspend {
            let message = "the account is suspended; the role there is still to be removed";
            return Ok(Proposal::Refused(Refusal::new(Reason::Suspended, message).into()));
        }
        let (observed, seen) = self.observe()?;
        let candidate = self.candidate(self.role);
        let is_tagged = observed
            .as_ref()
            .is_some_and(|role| is_ours(role, &candidate.owner, None));
        if !is_tagged && self.directory.admits(self.account, self.namespace()) != Admits::Yes {
            return Ok(Proposal::Gone);
        }
        // The record of profiles is a tag of the role. Without the role, the profile that the spec names is looked at.
        let profile = self.role.spec.instance_profile.as_ref();
        let profile = profile.map(|p| p.name.clone().unwrap_or_else(|| self.role_name().to_owned()));
        let profiles: Vec<String> = profile.filter(|_| observed.is_none()).into_iter().collect();
        let known = PlanContext {
            role_id: candidate.role_id.as_deref(),
            instance_profiles: &profiles,
            quotas: None,
        };
        let policy = match deletion_policy(self.role, self.account, observed.as_ref()) {
            Ok(policy) => policy,
            Err(refusal) => return Ok(Proposal::Refused(refusal.into())),
        };
        let plan = plan_removal(observed.as_ref(), &candidate.owner, &known, policy);
        if plan.is_empty() {
            return Ok(Proposal::Gone);
        }
        if plan.changes.contains(&Change::DeleteRole)
            && let through = self.directory.access_roles(self.account)
            && let Some(message) = forbids_removal(&through, self.role_name())
        {
            let refusal = Refusal::new(Reason::GuardrailViolated, message);
            return Ok(Proposal::Refused(refusal.into()));
        }
        let proposed = Proposed {
            name: observed
                .as_ref()
                .map_or_else(|| self.role_name().to_owned(), |o| o.name.clone()),
            is_ours: is_tagged,
            plan,
            observed,
            seen,
            refusal: None,
            pending: None,
            granted: None,
        };
        Ok(self
            .limit_removals(proposed, &candidate.owner)
            .map_or_else(|parked| *parked, |proposed| Proposal::Change(Box::new(proposed))))
    }

    /// The role as AWS has it, or what to say while that is not known.
    fn observe(&self) -> Result<Observation, Box<Proposal>> {
        let refuse =
            |reason, message: String| Err(Box::new(Proposal::Refused(Refusal::new(reason, message).into())));
        match self.session {
            SessionView::Open(_) => {}
            SessionView::Waits => return Err(Box::new(Proposal::Waits("waiting for the session"))),
            SessionView::Missing(session) => {
                let message = format!(
                    "MfaSession {session} does not exist: create it, or correct the account's sessionRef"
                );
                return refuse(Reason::SessionLocked, message);
            }
            SessionView::Locked(why) => return refuse(Reason::SessionLocked, why.clone()),
        }
        if let Some((reason, message)) = self.failure {
            return refuse(*reason, message.clone());
        }
        let found = self.live.snapshot.lock().lookup(self.role_name());
        match found.known() {
            Some(Some((role, seen))) => Ok((Some(role), seen)),
            Some(None) => Ok((None, now())),
            None => Err(Box::new(Proposal::Unread)),
        }
    }
}

/// Returns the proposal to detach what the account denies from a role that is refused.
fn enforced(plan: Plan, observed: ObservedRole, seen: Instant, refusal: Refusal) -> Proposal {
    Proposal::Change(Box::new(Proposed {
        name: observed.name.clone(),
        plan,
        observed: Some(observed),
        seen,
        is_ours: true,
        refusal: Some(refusal),
        pending: None,
        granted: None,
    }))
}

/// Returns true if two `IamRole`s are one object: by their uid, or, where objects of files have none, by their names.
fn is_same_object(one: &IamRole, other: &IamRole) -> bool {
    let (one, other) = (&one.metadata, &other.metadata);
    if one.uid.is_some() || other.uid.is_some() {
        one.uid == other.uid
    } else {
        (&one.namespace, &one.name) == (&other.namespace, &other.name)
    }
}
