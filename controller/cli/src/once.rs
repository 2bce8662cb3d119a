//! Does once what the controller does continuously: reads the accounts, proposes the changes of every role in each, makes them.
//!
//! What is to be done is decided by the controller's own code ([`rolectl_aws::actor::propose`]), and done by it
//! ([`rolectl_aws::actor::carry_out`]). Only the source of the objects differs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use rolectl_aws::account::{Account, AccountEnvironment, AccountError, Reader};
use rolectl_aws::actor::carry_out;
use rolectl_aws::actor::directory::{Admits, Directory, policies_of};
use rolectl_aws::actor::gate::Pending;
use rolectl_aws::actor::propose::{Asks, Case, Proposal as Proposed, Proposed as Changes, SessionView};
use rolectl_aws::actor::report::Goal;
use rolectl_aws::apply::Applied;
use rolectl_aws::clock::now;
use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::session::OpenSession;
use rolectl_aws::sweep::{quotas, sweep};
use rolectl_core::names::{RoleKey, full_name, name_in_aws, owner_of};
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::removals::waits_by_status;
use rolectl_core::role::admission::access_roles;
use rolectl_core::role::{ObservedRole, Plan, Refusal};
use rolectl_core::rollout::wave_error;
use rolectl_core::selection::{admits, selector_error, targets};
use rolectl_core::snapshot::Lookup;
use rolectl_crds::{ApprovalsFor, AwsAccount, DriftPolicy, IamRole, MfaSession, OWNER_TAG, Reason};

/// The objects to go by.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Roles.
    pub roles: Vec<IamRole>,
    /// Accounts.
    pub accounts: Vec<AwsAccount>,
    /// Sessions.
    pub sessions: Vec<MfaSession>,
    /// Namespaces, for accounts that select by their labels.
    pub namespaces: Vec<Namespace>,
    /// Name of the cluster in owner tags.
    pub cluster: String,
    /// Documents of the roles, each parsed once for all accounts.
    pub documents: Arc<DocumentCache>,
}

/// What is to be done about one role in one account.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The role's object.
    pub role: IamRole,
    /// Name of the role in AWS.
    pub role_name: String,
    /// Name of the `AwsAccount`.
    pub account: String,
    /// The changes, or why there are none to be made.
    pub verdict: Result<Plan, Refusal>,
    /// Why the changes are not those of the spec: it breaks a guardrail, and all that is done is to detach managed policies that
    /// the account denies.
    pub refusal: Option<Refusal>,
    /// The changes that wait for an approval where the controller makes them.
    pub pending: Option<Pending>,
    /// What AWS has, and when it was seen.
    pub observed: Option<(ObservedRole, Instant)>,
    /// `drift: Report`: the changes are shown and never made.
    pub only_shown: bool,
    /// There is nothing to remove.
    pub nothing_to_remove: Option<NothingToRemove>,
    /// The role in AWS is ours already.
    is_ours: bool,
}

/// What an operator wants to do about the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Make them agree with this goal, or see what that would change.
    Make(Goal),
    /// Decide about the changes that wait in the controller.
    Decide,
}

impl Intent {
    /// Returns the goal of a role in an account, if the role is looked at there.
    fn goal(self, role: &IamRole, account: &AwsAccount) -> Option<Goal> {
        let is_targeted = targets(role, account);
        match self {
            Self::Make(goal) => is_targeted.then_some(goal),
            Self::Decide if is_targeted && role.metadata.deletion_timestamp.is_none() => Some(Goal::Keep),
            Self::Decide => waits_by_status(role, &account.name_any()).then_some(Goal::Remove),
        }
    }
}

/// Why there is nothing to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NothingToRemove {
    /// AWS has no role of this name.
    Absent,
    /// AWS has one that is not of this object. It has this owner tag, if any.
    Foreign(Option<String>),
}

impl Proposal {
    /// The changes that are to be made.
    pub fn to_do(&self) -> Option<&Plan> {
        let plan = self.verdict.as_ref().ok()?;
        (!self.only_shown && !plan.is_empty()).then_some(plan)
    }
}

impl Inventory {
    /// The accounts in which any of these roles is looked at, in order.
    pub fn targeted(&self, intent: Intent, which: impl Fn(&IamRole) -> bool) -> Vec<&AwsAccount> {
        let roles: Vec<&IamRole> = self.roles.iter().filter(|role| which(role)).collect();
        let named = |account: &&AwsAccount| roles.iter().any(|role| intent.goal(role, account).is_some());
        let mut accounts: Vec<&AwsAccount> = self.accounts.iter().filter(named).collect();
        accounts.sort_by_key(|account| account.name_any());
        accounts
    }

    /// Accounts that these roles name and that nobody describes, with the roles.
    pub fn unknown_accounts(&self, which: impl Fn(&IamRole) -> bool) -> BTreeMap<&str, Vec<String>> {
        let known: HashSet<&str> = self
            .accounts
            .iter()
            .filter_map(|a| a.metadata.name.as_deref())
            .collect();
        let mut unknown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for role in self.roles.iter().filter(|role| which(role)) {
            let named = role.spec.accounts.names.iter();
            for name in named.filter(|name| !known.contains(name.as_str())) {
                unknown.entry(name).or_default().push(full_name(role));
            }
        }
        unknown
    }

    /// The session that the account is assumed on.
    pub fn session_of(&self, account: &AwsAccount) -> Option<&MfaSession> {
        let name = Some(&account.spec.session_ref);
        self.sessions
            .iter()
            .find(|session| session.metadata.name.as_ref() == name)
    }

    /// Assumes the account and reads all its roles. Kept are those that ours name, or `all`.
    pub async fn look(
        &self,
        account: &AwsAccount,
        session: &OpenSession,
        environment: AccountEnvironment,
        all: bool,
    ) -> Result<Arc<Account>, AccountError> {
        let live = Account::new(&account.name_any(), account.spec.clone(), environment);
        let iam = live.iam(session, None).await?;
        let start = live.snapshot.lock().begin_sweep(now());
        let reader = Reader::new(&live, session);
        match quotas(&reader, &*iam).await {
            Ok((quotas, _)) => live.set_quotas(quotas),
            // Without them AWS says what does not fit.
            Err(error) => tracing::warn!(account = live.name, %error, "quotas not read"),
        }
        let named = self.roles.iter().map(|role| name_in_aws(role).to_lowercase());
        let named: HashSet<String> = named.collect();
        let policies = (live.spec.approvals_for() != ApprovalsFor::None).then(|| {
            let roles = self.roles.iter().filter(|role| targets(role, account));
            policies_of(self, account, roles)
        });
        let swept = sweep(&reader, &*iam, |name| all || named.contains(name), policies).await?;
        live.snapshot.lock().merge(start, swept);
        Ok(live)
    }

    /// What is to be done about each role that names the account, or of which the removal waits there, in order.
    pub fn propose(
        &self,
        intent: Intent,
        account: &AwsAccount,
        session: &Arc<OpenSession>,
        live: &Account,
    ) -> Vec<Proposal> {
        let roles = self.roles.iter();
        let mut roles: Vec<(&IamRole, Goal)> = roles
            .filter_map(|role| Some((role, intent.goal(role, account)?)))
            .collect();
        roles.sort_by_key(|(role, _)| full_name(role));
        let session = SessionView::Open(session.clone());
        let asks = match intent {
            Intent::Make(_) => Asks::Operator,
            Intent::Decide => Asks::Approver,
        };
        roles
            .into_iter()
            .map(|(role, goal)| {
                let case = Case {
                    directory: self,
                    role,
                    account,
                    live,
                    session: &session,
                    failure: None,
                    asks,
                };
                Self::propose_one(goal, &case)
            })
            .collect()
    }

    fn propose_one(goal: Goal, case: &Case<'_>) -> Proposal {
        let Case { role, account, .. } = *case;
        let only_shown = role.spec.drift == DriftPolicy::Report;
        let mut proposal = Proposal {
            role_name: name_in_aws(role).to_owned(),
            account: account.name_any(),
            only_shown,
            nothing_to_remove: None,
            is_ours: false,
            role: role.clone(),
            verdict: Ok(Plan::default()),
            refusal: None,
            pending: None,
            observed: None,
        };
        if let Err(refusal) = check_role(role, goal) {
            proposal.verdict = Err(refusal);
            return proposal;
        }
        match case.propose(goal).0 {
            Proposed::Gone if goal == Goal::Remove => {
                proposal.nothing_to_remove = Some(nothing_to_remove(case));
            }
            Proposed::Gone => {}
            Proposed::InSync { observed, kept } => {
                proposal.observed = observed.map(|role| (role, now()));
                proposal.verdict = Ok(Plan {
                    kept,
                    ..Plan::default()
                });
            }
            Proposed::Waits(message) => {
                proposal.verdict = Err(Refusal::new(Reason::Progressing, message));
            }
            Proposed::PoliciesUnread => {
                let message = "the documents of managed policies were not read: run the command again";
                proposal.verdict = Err(Refusal::new(Reason::Progressing, message));
            }
            Proposed::Unread => {
                let message = "made or deleted while the account was read: try again";
                proposal.verdict = Err(Refusal::new(Reason::Progressing, message));
            }
            Proposed::Refused(refused) => proposal.verdict = Err(refused.refusal),
            Proposed::Differs(changes) | Proposed::Change(changes) => {
                let Changes {
                    name: _,
                    plan,
                    observed,
                    seen,
                    is_ours,
                    refusal,
                    pending,
                    granted: _,
                } = *changes;
                proposal.pending = pending;
                proposal.verdict = Ok(plan);
                proposal.observed = observed.map(|role| (role, seen));
                proposal.is_ours = is_ours;
                proposal.refusal = refusal;
            }
        }
        proposal
    }
}

fn nothing_to_remove(case: &Case<'_>) -> NothingToRemove {
    match case.live.snapshot.lock().lookup(name_in_aws(case.role)) {
        Lookup::Present(role, _) => {
            let role = role.unpack();
            NothingToRemove::Foreign(role.and_then(|role| role.tags.get(OWNER_TAG).cloned()))
        }
        Lookup::Absent | Lookup::Unknown => NothingToRemove::Absent,
    }
}

/// A role that the controller would leave exactly as it is, wherever it is. For a removal no account is selected.
fn check_role(role: &IamRole, goal: Goal) -> Result<(), Refusal> {
    if role.spec.suspend {
        return Err(Refusal::new(Reason::Suspended, "the role is suspended"));
    }
    if goal == Goal::Remove {
        return Ok(());
    }
    let selection = selector_error(role).map(|problem| format!("spec.accounts.selector: {problem}"));
    selection
        .or_else(|| wave_error(role))
        .map_or(Ok(()), |message| Err(Refusal::new(Reason::InvalidSpec, message)))
}

/// Files do not change while a command runs, and nobody can delete an object of a file.
impl Directory for Inventory {
    fn role(&self, key: &RoleKey) -> Option<Arc<IamRole>> {
        let found = self.roles.iter().find(|role| RoleKey::of(role) == *key);
        found.cloned().map(Arc::new)
    }

    fn account(&self, name: &str) -> Option<Arc<AwsAccount>> {
        let found = self.accounts.iter().find(|account| account.name_any() == name);
        found.cloned().map(Arc::new)
    }

    fn session(&self, name: &str) -> Option<Arc<MfaSession>> {
        let found = self.sessions.iter().find(|session| session.name_any() == name);
        found.cloned().map(Arc::new)
    }

    fn namesakes(&self, role_name: &str) -> Vec<Arc<IamRole>> {
        let is_namesake = |role: &&IamRole| name_in_aws(role).eq_ignore_ascii_case(role_name);
        self.roles
            .iter()
            .filter(is_namesake)
            .cloned()
            .map(Arc::new)
            .collect()
    }

    fn is_wanted(&self, role_name: &str) -> bool {
        self.roles
            .iter()
            .any(|role| name_in_aws(role).eq_ignore_ascii_case(role_name))
    }

    fn owner_of(&self, role: &IamRole) -> String {
        owner_of(&self.cluster, role)
    }

    fn admits(&self, account: &AwsAccount, namespace: &str) -> Admits {
        let mut namespaces = self.namespaces.iter();
        let found = namespaces.find(|other| other.metadata.name.as_deref() == Some(namespace));
        admits(account, namespace, found.map(Namespace::labels)).into()
    }

    fn access_roles(&self, account: &AwsAccount) -> BTreeSet<String> {
        access_roles(
            account,
            &self.accounts,
            self.sessions.iter().map(|session| &session.spec),
        )
    }

    fn documents(&self) -> &DocumentCache {
        &self.documents
    }

    fn confirm_admission<'a>(
        &'a self,
        account: &'a AwsAccount,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<bool, String>> {
        let is_admitted = self.admits(account, namespace) == Admits::Yes;
        std::future::ready(Ok(is_admitted)).boxed()
    }

    fn protect<'a>(&'a self, _role: &'a IamRole) -> BoxFuture<'a, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// Makes the changes of one proposal.
pub async fn make(
    live: &Arc<Account>,
    session: &OpenSession,
    proposal: &Proposal,
) -> Result<Applied, AccountError> {
    let Some(plan) = proposal.to_do() else {
        return Ok(Applied::default());
    };
    let observed = proposal.observed.as_ref().map(|(role, _)| role);
    let _room = live
        .make_room(&proposal.role_name, plan, observed, proposal.is_ours)
        .map_err(|full| AwsFailure {
            operation: "CreateRole",
            code: None,
            message: full.to_string(),
            class: Class::Quota,
        })?;
    let changes = Changes {
        name: observed.map_or(&proposal.role_name, |role| &role.name).clone(),
        plan: plan.clone(),
        observed: observed.cloned(),
        seen: proposal.observed.as_ref().map_or_else(now, |(_, seen)| *seen),
        is_ours: proposal.is_ours,
        refusal: None,
        pending: None,
        granted: None,
    };
    let key = RoleKey::of(&proposal.role);
    // The files that this run was given do not change while it runs.
    let applied = carry_out::carry_out(live, session, &key, changes, &|| Ok(())).await?;
    if applied.done.is_empty() && applied.failed.is_none() {
        return Err(AccountError::Aws(AwsFailure {
            operation: "GetRole",
            code: None,
            message: "the role was replaced meanwhile: run the command again".to_owned(),
            class: Class::Conflict,
        }));
    }
    Ok(applied)
}
