//! Does once what the controller does for ever: reads the accounts, plans every role in each, carries the plans out.
//!
//! What is to be done is decided by the same functions as in the controller; only where objects come from and where the
//! outcome goes differ.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use rolectl_crds::{AwsAccount, DriftPolicy, IamRole, MfaSession, Reason};
use std::time::Instant;

use rolectl_aws::account::{Account, AccountEnvironment, AccountError, Writer};
use rolectl_aws::apply::{Applied, apply, verify};
use rolectl_aws::clock::now;
use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::session::OpenSession;
use rolectl_aws::sweep::{quotas, sweep};
use rolectl_core::names::{full_name, name_in_aws, owner};
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::role::admission::{
    AccountCase, Admission, Applicant, check_access, deletion_policy, forbids_removal, works_through,
};
use rolectl_core::role::ownership::is_ours;
use rolectl_core::role::{Change, Known, ObservedRole, Plan, Refusal, plan_removal};
use rolectl_core::selection::targets;
use rolectl_core::selection::{admits, selector_error};

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

/// What is to become of the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// They are as their specs have them.
    Ensure,
    /// Our care for them ends, as when their objects are deleted.
    Remove,
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
    /// What AWS has, and when it was seen.
    pub observed: Option<(ObservedRole, Instant)>,
    /// `drift: Report`: the changes are shown and never made.
    pub only_shown: bool,
    /// Whether what AWS has is ours already.
    is_ours: bool,
}

impl Proposal {
    /// The changes that are to be made.
    pub fn to_do(&self) -> Option<&Plan> {
        let plan = self.verdict.as_ref().ok()?;
        (!self.only_shown && !plan.is_empty()).then_some(plan)
    }
}

impl Inventory {
    /// The accounts that any of these roles names, in order.
    pub fn targeted(&self, which: impl Fn(&IamRole) -> bool) -> Vec<&AwsAccount> {
        let roles: Vec<&IamRole> = self.roles.iter().filter(|role| which(role)).collect();
        let named = |account: &&AwsAccount| roles.iter().any(|role| targets(role, account));
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
        let iam = live.iam(session, Timestamp::now(), None).await?;
        let start = live.snapshot.lock().begin_sweep(now());
        match quotas(&live, &*iam).await {
            Ok((quotas, _)) => live.set_quotas(quotas),
            // Without them AWS says what does not fit.
            Err(error) => tracing::warn!(account = live.name, %error, "quotas not read"),
        }
        let named = self.roles.iter().map(|role| name_in_aws(role).to_lowercase());
        let named: HashSet<String> = named.collect();
        let prefix = format!("{}/", self.cluster);
        let swept = sweep(&live, &*iam, &prefix, |name| all || named.contains(name)).await?;
        live.snapshot.lock().merge(start, swept);
        Ok(live)
    }

    /// What is to be done about each role that names the account, in order.
    pub fn propose(&self, goal: Goal, account: &AwsAccount, live: &Account) -> Vec<Proposal> {
        let mut roles: Vec<&IamRole> = self.roles.iter().filter(|role| targets(role, account)).collect();
        roles.sort_by_key(|role| full_name(role));
        roles
            .into_iter()
            .map(|role| self.propose_one(goal, role, account, live))
            .collect()
    }

    fn propose_one(&self, goal: Goal, role: &IamRole, account: &AwsAccount, live: &Account) -> Proposal {
        let found = live.snapshot.lock().lookup(name_in_aws(role));
        let known = found.known();
        let observed = known.clone().flatten();
        let verdict = if known.is_none() {
            let message = "made or deleted while the account was read: try again";
            Err(Refusal::new(Reason::Progressing, message))
        } else {
            self.verdict(goal, role, account, live, observed.as_ref().map(|(role, _)| role))
        };
        let (verdict, refusal) = match verdict {
            Ok((plan, refusal)) => (Ok(plan), refusal),
            Err(refusal) => (Err(refusal), None),
        };
        let owner = self.owner(role);
        Proposal {
            role_name: name_in_aws(role).to_owned(),
            account: account.name_any(),
            only_shown: role.spec.drift == DriftPolicy::Report,
            is_ours: observed
                .as_ref()
                .is_some_and(|(seen, _)| is_ours(seen, &owner, None)),
            role: role.clone(),
            verdict,
            refusal,
            observed,
        }
    }

    fn owner(&self, role: &IamRole) -> String {
        owner(
            &self.cluster,
            &role.namespace().unwrap_or_default(),
            &role.name_any(),
        )
    }

    /// A role that wants to be in an account. Nothing is known of it beside what AWS shows: anybody can write a status into a file.
    fn applicant<'a>(&self, role: &'a IamRole, account: &AwsAccount) -> Applicant<'a> {
        let namespace = role.namespace().unwrap_or_default();
        let mut namespaces = self.namespaces.iter();
        let labels = namespaces.find(|other| other.name_any() == namespace);
        Applicant {
            role,
            owner: self.owner(role),
            is_admitted: admits(account, &namespace, labels.map(Namespace::labels)),
            role_id: None,
        }
    }

    /// The plan, and with it the refusal of the spec where the plan only enforces a guardrail.
    fn verdict(
        &self,
        goal: Goal,
        role: &IamRole,
        account: &AwsAccount,
        live: &Account,
        observed: Option<&ObservedRole>,
    ) -> Result<(Plan, Option<Refusal>), Refusal> {
        let refuse = |reason, message: String| Err(Refusal::new(reason, message));
        let owner = self.owner(role);
        if role.spec.suspend {
            return refuse(Reason::Suspended, "the role is suspended".to_owned());
        }
        if let Some(problem) = selector_error(role) {
            return refuse(Reason::InvalidSpec, format!("spec.accounts.selector: {problem}"));
        }
        let through = works_through(
            account,
            &self.accounts,
            self.sessions.iter().map(|session| &session.spec),
        );
        let case = AccountCase {
            object: account,
            session: self.session_of(account).map(|session| &session.spec),
            works_through: &through,
            quotas: live.quotas(),
            documents: &self.documents,
        };
        let applicant = self.applicant(role, account);
        if goal == Goal::Remove {
            if account.spec.suspend {
                return refuse(Reason::Suspended, "the account is suspended".to_owned());
            }
            let profile = role.spec.instance_profile.as_ref();
            let profile = profile.map(|p| p.name.clone().unwrap_or_else(|| name_in_aws(role).to_owned()));
            let profiles: Vec<String> = profile.filter(|_| observed.is_none()).into_iter().collect();
            let known = Known {
                instance_profiles: &profiles,
                ..case.known(&applicant)
            };
            let policy = deletion_policy(role, account, observed)?;
            let plan = plan_removal(observed, &owner, &known, policy);
            if plan.changes.contains(&Change::DeleteRole)
                && let Some(message) = forbids_removal(&through, name_in_aws(role))
            {
                return refuse(Reason::GuardrailViolated, message);
            }
            return Ok((plan, None));
        }
        check_access(account, &applicant)?;
        let desired = match case.desired(&applicant) {
            Ok(desired) => desired,
            Err(refusal) => {
                return match case.enforce(&applicant, &refusal, observed) {
                    Some(plan) => Ok((plan, Some(refusal))),
                    None => Err(refusal),
                };
            }
        };
        let is_namesake = |other: &&IamRole| {
            full_name(other) != full_name(role)
                && name_in_aws(other).eq_ignore_ascii_case(name_in_aws(role))
                && targets(other, account)
        };
        let namesakes = self.roles.iter().filter(is_namesake);
        let rivals: Vec<Applicant<'_>> = namesakes.map(|other| self.applicant(other, account)).collect();
        match case.admit(&applicant, &desired, &rivals, observed) {
            Admission::Admitted(plan) => Ok((plan, None)),
            Admission::Yields(refusal) | Admission::Refused(refusal) => Err(refusal),
        }
    }
}

/// Makes the changes of one proposal.
pub async fn carry_out(
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
    let (namespace, name) = (
        proposal.role.namespace().unwrap_or_default(),
        proposal.role.name_any(),
    );
    let iam = live
        .iam(session, Timestamp::now(), Some((&namespace, &name)))
        .await?;
    // The files that this run was given do not change while it runs.
    let writer = Writer::new(live, &|| Ok(()));
    if let Some((role, seen)) = &proposal.observed
        && !verify(&writer, &*iam, role, *seen).await?
    {
        return Err(AccountError::Aws(AwsFailure {
            operation: "GetRole",
            code: None,
            message: "another role stands there now: look again".to_owned(),
            class: Class::Conflict,
        }));
    }
    let observed = proposal.observed.as_ref().map(|(role, _)| role.clone());
    let name = observed
        .as_ref()
        .map_or(&proposal.role_name, |role| &role.name)
        .clone();
    Ok(apply(&writer, &*iam, &name, plan.clone(), observed).await)
}
