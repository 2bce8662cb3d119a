//! `IamRole`: resolve, desired, observed, plan, apply, status.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::mem;
use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use litemap::LiteMap;
use parking_lot::Mutex;
use rolectl_crds::{
    AccountStatus, AwsAccount, DeletionPolicy, DriftPolicy, Ensure, FINALIZER, FORGET_ANNOTATION, IamRole,
    IamRoleStatus, MfaSession, RECONCILE_ANNOTATION, Reason,
};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::context::{Context, Failing, Others, Patched, Settled, backoff, distinct, is_same_account};
use super::shards::View;
use super::{Error, Shared, bounded_call, error_chain, events};
use rolectl_aws::account::{Account, AccountError, Writer};
use rolectl_aws::apply::{Applied, apply, verify};
use rolectl_aws::clock::now;
use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::session::{OpenSession, SessionState};
use rolectl_core::bounded::clip;
use rolectl_core::conditions::ready_reason;
use rolectl_core::forget::forgets;
use rolectl_core::names::{full_name, name_in_aws};
use rolectl_core::role::admission::{
    AccountCase, Admission, Applicant, check_access, deletion_policy, forbids_removal, works_through,
};
use rolectl_core::role::kept::Kept;
use rolectl_core::role::managed_policy::suggestion;
use rolectl_core::role::ownership::is_ours;
use rolectl_core::role::removed::removed;
use rolectl_core::role::{Change, Known, ObservedRole, Plan, Refusal, plan_removal};
use rolectl_core::selection::{may_admit, nothing_selected, selector_error, targets};
use rolectl_core::snapshot::Lookup;
use rolectl_core::status::{CHANGE, Facts, SHOWN_CHANGES, bounded, status, without_accounts};

/// How often what only a user can mend is looked at again: the cure may have come from outside Kubernetes.
const STALLED_RETRY: Duration = Duration::from_mins(5);
/// How long an account may take before the status tells of the others: and for each account of the role so much longer, since
/// each makes the status larger.
const INTERIM: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(20));
/// In how many accounts one role is worked on at a time. Each takes some ten kilobytes meanwhile.
const ACCOUNTS_AT_ONCE: usize = 64;
/// How soon a change that AWS refused is tried again, at first and at most.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), STALLED_RETRY);
/// How soon a failure is tried again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// A sweep that is due this soon is waited for: no other is asked for.
const SOON: Duration = Duration::from_secs(10);

/// How often a status is made anew because another replica wrote first.
const ATTEMPTS: u32 = 8;
/// How long to let the others go first then, at first and at most.
const GIVE_WAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Reason of the event that tells of corrected drift.
const DRIFT_CORRECTED: &str = "DriftCorrected";

/// What came of one account.
struct Outcome {
    /// `None`: nothing of ours is left there.
    status: Option<AccountStatus>,
    /// The account and the changes made there, for the event.
    done: Option<(String, String)>,
}

impl Outcome {
    /// Nothing of ours is there, and nothing was done.
    const NOTHING: Self = Self {
        status: None,
        done: None,
    };
}

/// One reconcile of one role.
struct Work<'a> {
    role: &'a IamRole,
    context: &'a Context,
    key: ObjectRef<IamRole>,
    namespace: &'a str,
    /// The shards that are ours, from the beginning to the end of this reconcile.
    part: View,
    /// The accounts of other controllers' sessions, as they were at its beginning.
    foreign: HashSet<String>,
    name: String,
    owner: String,
    /// The entries of the object's status, by account.
    entries: HashMap<&'a str, &'a AccountStatus>,
    /// Accounts that only the selector names and that do not allow the namespace: its tenants learn how many there are.
    not_allowed: OnceLock<HashSet<String>>,
    /// Set once the finalizer is on the object. Before that nothing is written to AWS.
    finalizer: OnceCell<()>,
    /// One status is written at a time, so that none overtakes another.
    writing: tokio::sync::Mutex<()>,
    /// The object as we have written it ourselves since, where others write it, too.
    latest: Mutex<Option<IamRole>>,
}

/// Makes every account agree with the role.
pub async fn reconcile(role: Arc<IamRole>, context: Shared) -> Result<Action, Error> {
    if !context.ready().await {
        return Ok(Action::await_change());
    }
    let work = Work::new(&role, &context);
    let _busy = context.busy.enter(context.id(&work.key));
    if !work.part.holds_any() {
        return Ok(Action::await_change());
    }
    if role.metadata.deletion_timestamp.is_some() {
        return work.finalize().await;
    }
    if role.spec.suspend {
        return work
            .report_whole(Reason::Suspended, "suspended: nothing is read or written")
            .await;
    }
    if let Some(problem) = selector_error(&role) {
        let message =
            format!("spec.accounts.selector: {problem}. Until then the role stays as it is everywhere");
        return work.report_whole(Reason::InvalidSpec, &message).await;
    }
    work.find_not_allowed();
    work.look_again_if_asked();
    let (wanted, unknown) = work.resolve();
    let leaving = work.leaving(&wanted);
    let has_entry = work.entries.keys().any(|account| work.holds(account));
    if wanted.is_empty() && leaving.is_empty() && unknown.is_empty() && !has_entry && !work.leads() {
        // Nothing of it is in our part of the accounts.
        return Ok(Action::await_change());
    }
    let mut known = work.lost(&unknown);
    known.extend(unknown.into_iter().map(|name| work.unknown_account(name)));
    let outcomes = work.in_all(&wanted, &leaving, known).await?;
    let done: Vec<(String, String)> = outcomes.iter().filter_map(|o| o.done.clone()).collect();
    let accounts: Vec<AccountStatus> = outcomes.into_iter().filter_map(|o| o.status).collect();
    let action = work.next(&accounts);
    work.report(accounts, &done).await?;
    Ok(action)
}

/// Gives back the room that lists were read with: of small ones that is more than they hold, and all roles are kept.
pub fn shrink(role: &mut IamRole) {
    role.finalizers_mut().shrink_to_fit();
    role.spec.accounts.names.shrink_to_fit();
    role.spec.managed_policies.shrink_to_fit();
    shrink_map(&mut role.spec.inline_policies);
    shrink_map(&mut role.spec.tags);
    if let Some(status) = &mut role.status {
        status.expand();
        status.conditions.shrink_to_fit();
        status.accounts.shrink_to_fit();
    }
}

fn shrink_map<V>(map: &mut LiteMap<String, V>) {
    let mut pairs = mem::take(map).into_tuple_vec();
    pairs.shrink_to_fit();
    // They come out of a map, sorted.
    *map = LiteMap::from_sorted_store_unchecked(pairs);
}

/// Wakes a role that is being deleted when another replica has finished its part: by what is done, and by what is left, since
/// entries of accounts that are gone leave without a word, and those that nobody has written yet come with their last.
pub fn removals(role: &IamRole) -> Option<u64> {
    let deleting = role.metadata.deletion_timestamp.is_some();
    let entries = role.status.iter().flat_map(|status| &status.accounts);
    let entries = entries.filter(|_| deleting);
    let (done, left): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.state == Reason::Removed);
    let (done, left) = (u32::try_from(done.len()).ok()?, u32::try_from(left.len()).ok()?);
    Some((u64::from(left) << 32) | u64::from(done))
}

impl<'a> Work<'a> {
    fn new(role: &'a IamRole, context: &'a Context) -> Self {
        let namespace = role.metadata.namespace.as_deref().unwrap_or_default();
        let name = role.name_any();
        let entries = role.status.iter().flat_map(|status| &status.accounts);
        let has_finalizer = role.finalizers().iter().any(|f| f == FINALIZER);
        Self {
            key: ObjectRef::from_obj(role),
            owner: context.owner(namespace, &name),
            part: context.shards.view(),
            foreign: context.foreign_accounts(),
            not_allowed: OnceLock::new(),
            finalizer: OnceCell::new_with(has_finalizer.then_some(())),
            writing: tokio::sync::Mutex::default(),
            latest: Mutex::default(),
            entries: entries.map(|entry| (entry.name.as_str(), entry)).collect(),
            namespace,
            name,
            role,
            context,
        }
    }

    /// `kubectl annotate ... iam.rolectl.dev/reconcile=<anything>`: a fresh look at AWS, now.
    fn look_again_if_asked(&self) {
        let value = self
            .role
            .annotations()
            .get(RECONCILE_ANNOTATION)
            .map(String::as_str);
        if !self.context.newly_forced(&self.key, value) {
            return;
        }
        // An account that does not allow the namespace is not read for its sake.
        let refused = self.not_allowed.get();
        for account in self.resolve().0 {
            let name = account.name_any();
            let allowed = may_admit(&account, self.namespace) && !refused.is_some_and(|r| r.contains(&name));
            if !allowed || account.spec.suspend {
                continue;
            }
            // Also what was given up on is tried again.
            let id = self.context.id(&self.key);
            self.context.progress(&name, |p| {
                p.settled.remove(&id);
                p.failing.remove(&id);
            });
            self.context.request_sweep(&name);
        }
    }

    /// Finds the accounts that only the selector names and that do not allow the namespace.
    fn find_not_allowed(&self) {
        self.not_allowed.get_or_init(|| {
            let named: HashSet<&String> = self.role.spec.accounts.names.iter().collect();
            let targets = self.targets();
            let refused = targets
                .iter()
                .filter(|account| !self.context.admits(account, self.namespace))
                .filter(|account| !self.context.waits_for_labels(account, self.namespace));
            let refused = refused.map(|account| account.name_any());
            refused.filter(|name| !named.contains(name)).collect()
        });
    }

    /// Whether the entry would tell the namespace's tenants of an account that is none of their business. While an object is
    /// being deleted, replicas learn from entries how far each is.
    fn is_hidden(&self, entry: &AccountStatus) -> bool {
        let has_had_it = entry.role_id.is_some() || entry.last_applied_generation.is_some();
        let shared_end = self.role.metadata.deletion_timestamp.is_some() && self.context.shares_roles();
        let refused = self.not_allowed.get().is_some_and(|r| r.contains(&entry.name));
        refused && !has_had_it && !shared_end
    }

    /// Whether the account of this name is ours to look after in this reconcile.
    fn holds(&self, account: &str) -> bool {
        self.part.holds(account) && !self.foreign.contains(account)
    }

    /// Whether it falls to us to tell what concerns no account.
    fn leads(&self) -> bool {
        self.part.holds(&full_name(self.role))
    }

    /// All accounts that the spec names.
    fn targets(&self) -> Vec<Arc<AwsAccount>> {
        let accounts = &self.context.stores.accounts;
        accounts.state_filter(|account| targets(self.role, account))
    }

    /// The accounts that the spec names, and the names that no account has, as far as they are in our part.
    fn resolve(&self) -> (Vec<Arc<AwsAccount>>, Vec<String>) {
        let mut accounts = self.targets();
        let known: HashSet<&str> = accounts
            .iter()
            .filter_map(|a| a.metadata.name.as_deref())
            .collect();
        let named = self.role.spec.accounts.names.iter();
        let unknown = named.filter(|name| !known.contains(name.as_str()) && self.holds(name));
        let unknown = distinct(unknown.cloned());
        accounts.retain(|account| self.holds(&account.name_any()));
        (accounts, unknown)
    }

    /// Accounts that the spec does not name any more, but that have the role, or may have it.
    fn leaving(&self, wanted: &[Arc<AwsAccount>]) -> Vec<Arc<AwsAccount>> {
        let wanted: HashSet<&str> = wanted.iter().filter_map(|w| w.metadata.name.as_deref()).collect();
        // An AWS account whose object was renamed is mentioned by its id.
        let objects = &self.context.stores.accounts;
        let renamed = self.entries.values();
        let renamed = renamed.filter(|entry| objects.get(&ObjectRef::new(&entry.name)).is_none());
        let renamed: HashSet<&str> = renamed.filter_map(|entry| entry.account_id.as_deref()).collect();
        objects.state_filter(|account| {
            let name = account.metadata.name.as_deref().unwrap_or_default();
            self.holds(name)
                && !wanted.contains(name)
                && (self.prior(name).is_some()
                    || renamed.contains(account.spec.account_id.as_str())
                    || self.context.holds(name, &self.owner))
        })
    }

    /// Whether an object describes the AWS account of an entry, whatever its name.
    fn is_described(&self, entry: &AccountStatus) -> bool {
        let accounts = self.context.stores.accounts.state();
        let id = entry.account_id.as_ref();
        accounts
            .iter()
            .any(|account| Some(&account.spec.account_id) == id)
    }

    /// Ensures the role in an account where it `stays`, or ends our care for it.
    fn in_one<'w>(
        &'w self,
        account: &'w Arc<AwsAccount>,
        stays: bool,
    ) -> BoxFuture<'w, (&'w Arc<AwsAccount>, Result<Outcome, Error>)> {
        async move {
            // Whether the namespace is admitted is asked by what follows, which says so.
            let result = if let Err(why) = self.permit(account, false) {
                Ok(self.unchanged(account, &why))
            } else if stays {
                Box::pin(self.ensure(account)).await
            } else {
                self.leave(account).await
            };
            (account, result)
        }
        .boxed()
    }

    /// Whether this pass may still change something in `account`: neither the role's object nor the account's has changed since
    /// the pass began. It is asked before every call, so that rights that are taken away end what is queued already. `stays`:
    /// the role is to be in the account, and so needs its namespace to be allowed there. `Err` says why not; the change of the
    /// object that is the reason brings the next pass.
    fn permit(&self, account: &AwsAccount, stays: bool) -> Result<(), String> {
        permit_of_role(self.role, self.context.stores.roles.get(&self.key).as_deref())?;
        let now = self.context.stores.accounts.get(&ObjectRef::from_obj(account));
        let namespace = stays.then_some(self.namespace);
        permit_of_account(account, now.as_deref(), namespace, |account, namespace| {
            self.context.admits(account, namespace)
        })
    }

    /// Works on all accounts at the same time, beside the `outcomes` that are known already. One that takes long does not keep the others' news back.
    async fn in_all(
        &self,
        wanted: &[Arc<AwsAccount>],
        leaving: &[Arc<AwsAccount>],
        mut outcomes: Vec<Outcome>,
    ) -> Result<Vec<Outcome>, Error> {
        let mut waiting: VecDeque<(&Arc<AwsAccount>, bool)> = wanted.iter().map(|a| (a, true)).collect();
        waiting.extend(leaving.iter().map(|a| (a, false)));
        let mut running = FuturesUnordered::new();
        let mut slow: Vec<&Arc<AwsAccount>> = wanted.iter().chain(leaving).collect();
        let mut failure = None;
        // Ever more seldom: what is under way then is slow.
        let accounts = u32::try_from(slow.len()).unwrap_or(u32::MAX);
        let mut pause = INTERIM.0 + INTERIM.1 * accounts;
        let mut due = Box::pin(tokio::time::sleep(pause));
        // Written beside the calls: an API server that is slow must not stop them.
        let mut interim: OptionFuture<BoxFuture<'_, ()>> = None.into();
        loop {
            while running.len() < ACCOUNTS_AT_ONCE
                && let Some((account, stays)) = waiting.pop_front()
            {
                running.push(self.in_one(account, stays));
            }
            tokio::select! {
                next = running.next() => match next {
                    None => break,
                    Some((account, result)) => {
                        slow.retain(|a| !Arc::ptr_eq(a, account));
                        // Not returned at once: the others are in the middle of their calls.
                        match result {
                            Ok(outcome) => outcomes.push(outcome),
                            Err(error) => failure = Some(error),
                        }
                    }
                },
                Some(()) = &mut interim => {
                    interim = None.into();
                    pause *= 2;
                    due.as_mut().reset(Instant::now() + pause);
                },
                () = &mut due => {
                    let mut accounts: Vec<AccountStatus> = outcomes.iter().filter_map(|o: &Outcome| o.status.clone()).collect();
                    accounts.extend(slow.iter().filter_map(|account| self.unchanged(account, "under way").status));
                    interim = Some(self.write_interim(accounts).boxed()).into();
                    // Not before this one is written.
                    due.as_mut().reset(Instant::now() + Duration::from_hours(1));
                }
            }
        }
        // Two writes at a time could overtake each other.
        interim.await;
        failure.map_or(Ok(outcomes), Err)
    }

    /// Once: the next one comes soon.
    async fn write_interim(&self, accounts: Vec<AccountStatus>) {
        let generation = self.role.metadata.generation;
        let write = self.write(1, |latest| self.compose(latest, generation, &accounts));
        if let Err(error) = write.await {
            tracing::warn!(role = %self.key, %error, "interim status not written");
        }
    }

    fn prior(&self, account: &str) -> Option<&'a AccountStatus> {
        self.entries.get(account).copied()
    }

    /// The account's entry, with all that is known of the role there kept.
    fn entry(&self, account: &AwsAccount, state: Reason, message: Option<String>) -> AccountStatus {
        let name = account.name_any();
        let prior = self.prior(&name);
        AccountStatus {
            account_id: Some(account.spec.account_id.clone()),
            state,
            arn: prior.and_then(|p| p.arn.clone()),
            role_id: prior.and_then(|p| p.role_id.clone()),
            instance_profiles: prior.map(|p| p.instance_profiles.clone()).unwrap_or_default(),
            message,
            changes: vec![],
            observed_generation: self.role.metadata.generation,
            last_applied_generation: prior.and_then(|p| p.last_applied_generation),
            name,
        }
    }

    fn outcome(&self, account: &AwsAccount, state: Reason, message: impl Into<String>) -> Outcome {
        self.unsettle(account);
        Outcome {
            status: Some(self.entry(account, state, Some(message.into()))),
            done: None,
        }
    }

    /// The next sweep wakes the role again, whatever it finds.
    fn unsettle(&self, account: &AwsAccount) {
        self.context.progress(&account.name_any(), |p| {
            p.settled.remove(&self.context.id(&self.key))
        });
    }

    /// Nothing new can be said yet: what was said of this generation stands.
    fn unchanged(&self, account: &AwsAccount, waiting_for: &str) -> Outcome {
        self.unsettle(account);
        let settled = |s: &&AccountStatus| {
            s.observed_generation == self.role.metadata.generation && s.state != Reason::SessionLocked
        };
        match self.prior(&account.name_any()).filter(settled) {
            Some(prior) => Outcome {
                status: Some(prior.clone()),
                done: None,
            },
            None => self.outcome(account, Reason::Progressing, waiting_for),
        }
    }

    /// Accounts without object in which the role stands: it must not be forgotten that it does.
    fn lost(&self, but: &[String]) -> Vec<Outcome> {
        let entries = self.role.status.iter().flat_map(|s| &s.accounts);
        entries
            .filter(|a| a.role_id.is_some() || a.last_applied_generation.is_some())
            .filter(|a| self.holds(&a.name))
            .filter(|a| !but.contains(&a.name) && self.context.stores.accounts.get(&ObjectRef::new(&a.name)).is_none())
            // The role is looked for there by the object that describes the AWS account now.
            .filter(|a| !self.is_described(a))
            .map(|a| {
                let message = format!(
                    "AwsAccount {} is gone, and the role still stands there: apply it again, or set deletionPolicy: Retain",
                    a.name
                );
                account_gone(a.clone(), self.role.metadata.generation, message)
            })
            .collect()
    }

    fn unknown_account(&self, name: String) -> Outcome {
        let message = match self.context.stores.unreadable.accounts.get(&name) {
            Some(account) => format!(
                "AwsAccount {name} cannot be read: {}. Until its owner corrects it the role stays there as it is",
                account.problem
            ),
            None => format!("there is no AwsAccount {name}: create it, or correct spec.accounts.names"),
        };
        let known = self.prior(&name).cloned();
        let known = known.unwrap_or_else(|| AccountStatus::new(name, Reason::AccountNotFound));
        account_gone(known, self.role.metadata.generation, message)
    }

    /// Makes one account agree.
    async fn ensure(&self, account: &AwsAccount) -> Result<Outcome, Error> {
        if let Some(other) = self
            .context
            .yields_to(&account.name_any())
            .filter(|_| !account.spec.suspend)
        {
            return Ok(self.yields(account, &other));
        }
        let is_deleting = account.metadata.deletion_timestamp.is_some() && !account.spec.suspend;
        if is_deleting && self.may_stand_in(account) == Some(false) {
            let message = "the AwsAccount is being deleted: take it out of spec.accounts";
            return Ok(self.outcome(account, Reason::AccountNotFound, message));
        }
        if !account.spec.suspend && self.context.waits_for_labels(account, self.namespace) {
            return Ok(self.outcome(
                account,
                Reason::Progressing,
                "waiting for the labels of the namespace",
            ));
        }
        let mut applicant = self.context.applicant(self.role, account, None);
        if let Err(refusal) = check_access(account, &applicant) {
            return Ok(self.outcome(account, refusal.reason, refusal.message));
        }
        if let Some(status) = self.still_in_sync(account) {
            return Ok(Outcome {
                status: Some(status.clone()),
                done: None,
            });
        }
        let through = self.works_through(account);
        let session = self.session_of(account);
        let session = session.as_ref().map(|session| &session.spec);
        let mut case = self.context.case(account, session, &through);
        let desired = match case.desired(&applicant) {
            Ok(desired) => desired,
            Err(refusal) => return self.refused(account, &case, refusal).await,
        };
        self.warn(&desired.warnings);
        let (live, session) = match self.reach(account) {
            Ok(reached) => reached,
            Err(outcome) => return Ok(*outcome),
        };
        let (observed, seen) = match self.observe(account, &live) {
            Ok(observed) => observed,
            Err(outcome) => return Ok(*outcome),
        };
        case.quotas = live.quotas();
        applicant.role_id = self.claimed(&live);
        let namesakes = self.namesakes_in(account);
        let rivals = namesakes.iter();
        let rivals: Vec<Applicant<'_>> = rivals
            .map(|other| self.context.applicant(other, account, Some(&live)))
            .collect();
        let plan = match case.admit(&applicant, &desired, &rivals, observed.as_ref()) {
            Admission::Admitted(plan) => plan,
            Admission::Yields(Refusal { reason, message }) => {
                return Ok(self.outcome(account, reason, message));
            }
            Admission::Refused(Refusal { reason, message }) if reason == Reason::GuardrailViolated => {
                return Ok(self.outcome(account, reason, message));
            }
            Admission::Refused(Refusal { reason, message }) => {
                if reason == Reason::QuotaExceeded {
                    // Ours or to be, and looked at again with every sweep: the quota may be raised.
                    self.doubt_quotas(&live);
                    return Ok(self.outcome(account, reason, message));
                }
                let mut outcome = self.settle(account, reason, message, observed.as_ref());
                // Not ours, so nothing of it belongs in our status.
                if let Some(status) = outcome.status.as_mut().filter(|_| reason != Reason::InvalidSpec) {
                    (status.arn, status.role_id) = (None, None);
                }
                return Ok(outcome);
            }
        };
        if plan.is_empty() {
            // Ours already, as after a cluster was rebuilt from Git: from now on its deletion is our business.
            if observed.is_some() {
                self.hold_object().await?;
            }
            return Ok(self.in_sync(account, observed.as_ref(), &plan.kept));
        }
        if desired.drift == DriftPolicy::Report {
            let mut outcome = self.settle(
                account,
                Reason::Drifted,
                "differs, and drift: Report leaves it so",
                observed.as_ref(),
            );
            if let Some(status) = &mut outcome.status {
                status.changes = shown(&plan);
                if !self.has_told_drift(status) {
                    self.tell_drifted(&status.name, &status.changes);
                }
            }
            return Ok(outcome);
        }
        if let Some(outcome) = self.paused(account, observed.as_ref()) {
            return Ok(outcome);
        }
        let ours = observed
            .as_ref()
            .is_some_and(|o| is_ours(o, &self.owner, applicant.role_id.as_deref()));
        let _room = match live.make_room(&desired.name, &plan, observed.as_ref(), ours) {
            Ok(room) => room,
            Err(full) => {
                if full.reason() == Reason::QuotaExceeded {
                    self.doubt_quotas(&live);
                }
                return Ok(self.outcome(account, full.reason(), full.to_string()));
            }
        };
        if !self.context.confirm_admission(account, self.namespace).await? {
            applicant.is_admitted = false;
            if let Err(refusal) = check_access(account, &applicant) {
                return Ok(self.outcome(account, refusal.reason, refusal.message));
            }
        }
        self.hold_object().await?;
        let kept = plan.kept.clone();
        let applied = Box::pin(self.carry_out(
            account,
            &live,
            &session,
            (desired.name.as_str(), true),
            plan,
            (observed, seen),
        ))
        .await;
        Ok(self.applied(account, &live, &session, applied, &kept))
    }

    /// The spec cannot be carried out, so the role stays as it is. Managed policies that the account denies are detached all the
    /// same: a guardrail that was tightened holds for roles that are there.
    async fn refused(
        &self,
        account: &AwsAccount,
        case: &AccountCase<'_>,
        refusal: Refusal,
    ) -> Result<Outcome, Error> {
        if refusal.reason == Reason::GuardrailViolated
            && let Ok((live, session)) = self.reach(account)
            && let Ok((Some(observed), seen)) = self.observe(account, &live)
            && let applicant = self.context.applicant(self.role, account, Some(&live))
            && let Some(plan) = case.enforce(&applicant, &refusal, Some(&observed))
        {
            self.hold_object().await?;
            let name = observed.name.clone();
            let observed = (Some(observed), seen);
            let applied = self.carry_out(account, &live, &session, (&name, true), plan, observed);
            let applied = Box::pin(applied).await;
            let outcome = self.applied(account, &live, &session, applied, &Kept::default());
            let is_done = outcome.status.as_ref().is_some_and(|s| s.state == Reason::InSync);
            if !is_done {
                return Ok(outcome);
            }
            let refused = self.outcome(account, refusal.reason, refusal.message);
            return Ok(Outcome {
                done: outcome.done,
                ..refused
            });
        }
        Ok(self.outcome(account, refusal.reason, refusal.message))
    }

    /// What was said of the account, where the role was left in sync and neither the spec nor AWS has changed since. A role in
    /// a thousand accounts is computed anew only where something happened.
    fn still_in_sync(&self, account: &AwsAccount) -> Option<&'a AccountStatus> {
        let generation = self.role.metadata.generation;
        let said = self
            .prior(account.metadata.name.as_deref()?)
            .filter(|p| p.state == Reason::InSync && p.last_applied_generation == generation)?;
        let expected = self.in_sync_by(account, said);
        self.finalizer.get()?;
        let (live, _session) = self.reach(account).ok()?;
        let id = self.context.id(&self.key);
        let left = self.context.progress(&live.name, |p| {
            let settled = p.settled.get(&id).copied();
            settled.filter(|left| left.in_sync == Some(expected) && p.failure.is_none())
        })?;
        let Lookup::Present(role, _) = live.snapshot.lock().lookup(self.role_name()) else {
            return None;
        };
        left.is_still(generation, Some(role.fingerprint)).then_some(said)
    }

    /// Whether the role may be in an account that the spec names and that this process can read, and has not read yet.
    fn may_be_left_in(&self, account: &AwsAccount) -> bool {
        targets(self.role, account)
            && self.context.can_be_read(account)
            && self.may_stand_in(account).is_none()
    }

    /// What to say of an account whose AWS account another object describes, which is the one that acts.
    fn yields(&self, account: &AwsAccount, other: &str) -> Outcome {
        let targets = self.targets();
        if targets.iter().any(|target| target.name_any() == other) {
            return Outcome::NOTHING;
        }
        let message = format!(
            "AwsAccount {other} describes AWS account {}, too, and is the one that is used: name it in spec.accounts instead, or have AwsAccount {other} deleted",
            account.spec.account_id
        );
        self.outcome(account, Reason::Duplicate, message)
    }

    /// Whether the account has a role of ours, by what this process itself saw there. `None`: it has not looked yet.
    fn may_stand_in(&self, account: &AwsAccount) -> Option<bool> {
        self.context
            .may_hold(&account.name_any(), self.role_name(), &self.owner)
    }

    /// A quota stands in the way: look again before long whether it still does.
    fn doubt_quotas(&self, live: &Account) {
        if live.doubt_quotas() {
            self.context.want_sweep(&live.name);
        }
    }

    /// The unique id of the role in the account, if this process itself saw it with our owner tag and somebody removed the
    /// tag since.
    fn claimed(&self, live: &Account) -> Option<String> {
        live.snapshot.lock().claimed(self.role_name(), &self.owner)
    }

    /// The instance profile that the spec wants.
    fn wanted_profile(&self) -> Option<String> {
        self.spec_profile()
            .filter(|_| self.role.spec.ensure == Ensure::Present)
    }

    /// The instance profile that the spec names, whether it is to exist or not.
    fn spec_profile(&self) -> Option<String> {
        let profile = self.role.spec.instance_profile.as_ref()?;
        Some(
            profile
                .name
                .clone()
                .unwrap_or_else(|| self.role_name().to_owned()),
        )
    }

    /// Tells of what the author may not have meant, once for each generation of the spec.
    fn warn(&self, warnings: &[String]) {
        let seen = self.role.status.as_ref().and_then(|s| s.observed_generation);
        if warnings.is_empty()
            || seen == self.role.metadata.generation
            || !self.context.newly_warned(self.role)
        {
            return;
        }
        let note = warnings.join("; ");
        events::publish(
            self.context,
            self.role,
            EventType::Warning,
            "PolicyWarning",
            "Lint",
            &note,
        );
    }

    /// Publishes an event when somebody has restricted the role from outside.
    fn tell_restricted(&self, entry: &AccountStatus, kept: &Kept) {
        let Some(message) = entry.message.as_ref().filter(|_| !kept.restrictions.is_empty()) else {
            return;
        };
        if self.prior(&entry.name).and_then(|prior| prior.message.as_ref()) == Some(message) {
            return;
        }
        let note = format!("{}: {message}", entry.name);
        let action = events::action("Keep", &entry.name);
        events::publish(
            self.context,
            self.role,
            EventType::Warning,
            "Restricted",
            &action,
            &note,
        );
    }

    /// Whether the status has this difference already. One that is not shown there is taken for the same.
    fn has_told_drift(&self, entry: &AccountStatus) -> bool {
        let told = self
            .prior(&entry.name)
            .filter(|p| p.state == Reason::Drifted && p.observed_generation == self.role.metadata.generation);
        told.is_some_and(|told| {
            let is_shown = told.account_id.is_some();
            let changes = entry.changes.iter().map(|change| clip(change, CHANGE));
            !is_shown || changes.eq(told.changes.iter().map(String::as_str))
        })
    }

    fn tell_drifted(&self, account: &str, changes: &[String]) {
        let note = format!(
            "{account}: drift detected; not corrected because spec.drift is Report: {}",
            changes.join("; ")
        );
        let action = events::action("Drift", account);
        events::publish(
            self.context,
            self.role,
            EventType::Warning,
            "Drifted",
            &action,
            &note,
        );
    }

    fn tell_left_as_it_is(&self, account: &str) {
        let note = format!(
            "{account}: drift: Report never writes, so role {} stays there as it is",
            self.role_name()
        );
        let action = format!("Leave:{account}").chars().take(128).collect::<String>();
        events::publish(self.context, self.role, EventType::Normal, "Left", &action, &note);
    }

    /// Removes or releases the role in an account that the spec no longer names, or whose object is being deleted.
    ///
    /// Only what carries our owner tag is touched where the account does not admit the namespace now.
    async fn leave(&self, account: &AwsAccount) -> Result<Outcome, Error> {
        let name = account.name_any();
        let lives = self.role.metadata.deletion_timestamp.is_none();
        let same = |target: &Arc<AwsAccount>| is_same_account(target, account);
        if lives && self.targets().iter().any(same) {
            // The spec still wants the role in this AWS account, by another object that describes it.
            return Ok(Outcome::NOTHING);
        }
        if let Some(other) = self.context.yields_to(&name) {
            return self.leave_by(&other).await;
        }
        if self.role.spec.drift == DriftPolicy::Report {
            if self.context.holds(&name, &self.owner) {
                self.tell_left_as_it_is(&name);
            }
            return Ok(Outcome::NOTHING);
        }
        if account.spec.suspend {
            return Ok(self.outcome(
                account,
                Reason::Suspended,
                "the account is suspended; the role there is still to be removed",
            ));
        }
        let (live, session) = match self.reach(account) {
            Ok(reached) => reached,
            Err(outcome) => return Ok(*outcome),
        };
        let (observed, seen) = match self.observe(account, &live) {
            Ok(observed) => observed,
            Err(outcome) => return Ok(*outcome),
        };
        let claimed = self.claimed(&live);
        let tagged = observed
            .as_ref()
            .is_some_and(|role| is_ours(role, &self.owner, None));
        if !tagged && !self.context.admits(account, self.namespace) {
            return Ok(Outcome::NOTHING);
        }
        // With the role its record of profiles is deleted: what the spec names is looked at.
        let profiles: Vec<String> = match &observed {
            Some(_) => vec![],
            None => self.spec_profile().into_iter().collect(),
        };
        let known = Known {
            role_id: claimed.as_deref(),
            instance_profiles: &profiles,
            quotas: None,
        };
        let policy = match deletion_policy(self.role, account, observed.as_ref()) {
            Ok(policy) => policy,
            Err(Refusal { reason, message }) => return Ok(self.outcome(account, reason, message)),
        };
        let plan = plan_removal(observed.as_ref(), &self.owner, &known, policy);
        if plan.is_empty() {
            return Ok(Outcome::NOTHING);
        }
        if plan.changes.contains(&Change::DeleteRole)
            && let Some(message) = forbids_removal(&self.works_through(account), self.role_name())
        {
            return Ok(self.outcome(account, Reason::GuardrailViolated, message));
        }
        if let Some(outcome) = self.paused(account, observed.as_ref()) {
            return Ok(outcome);
        }
        self.hold_unless_deleted().await?;
        let name = observed
            .as_ref()
            .map_or_else(|| self.role_name().to_owned(), |o| o.name.clone());
        let applied =
            Box::pin(self.carry_out(account, &live, &session, (&name, false), plan, (observed, seen))).await;
        // Nothing done and nothing failed is a role that changed under us: look again before the object may go.
        let made = matches!(&applied, Ok(Applied { failed: None, done, .. }) if !done.is_empty());
        let mut outcome = self.applied(account, &live, &session, applied, &Kept::default());
        if made {
            self.made(account);
            self.unsettle(account);
            outcome.status = None;
        }
        Ok(outcome)
    }

    /// Removes or releases the role through the object that acts for the AWS account, unless that is in this pass anyway.
    async fn leave_by(&self, acting: &str) -> Result<Outcome, Error> {
        let Some(account) = self.context.stores.accounts.get(&ObjectRef::new(acting)) else {
            return Ok(Outcome::NOTHING);
        };
        let included = targets(self.role, &account)
            || self.prior(acting).is_some()
            || self.context.holds(acting, &self.owner);
        // Of two objects that each take the other for the acting one, one has not heard of a change yet.
        if included || !self.holds(acting) || self.context.yields_to(acting).is_some() {
            return Ok(Outcome::NOTHING);
        }
        Box::pin(self.leave(&account)).await
    }

    fn role_name(&self) -> &str {
        name_in_aws(self.role)
    }

    /// The other `IamRole`s that want a role of this name in the account.
    fn namesakes_in(&self, account: &AwsAccount) -> Vec<Arc<IamRole>> {
        let mut namesakes = self.context.namesakes(self.role_name());
        namesakes.retain(|other| other.metadata.uid != self.role.metadata.uid && targets(other, account));
        namesakes
    }

    /// A hash of what a role that is in sync depends on beside its own object and AWS, and of what is said of it.
    fn in_sync_by(&self, account: &AwsAccount, said: &AccountStatus) -> NonZeroU64 {
        let said = serde_json::to_string(said).unwrap_or_default();
        let hash = self.context.hash((self.context.inputs(account), said));
        NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN)
    }

    /// The session that the account is on.
    fn session_of(&self, account: &AwsAccount) -> Option<Arc<MfaSession>> {
        self.context
            .stores
            .sessions
            .get(&ObjectRef::new(&account.spec.session_ref))
    }

    /// The roles of the account through which rolectl works, by all objects that describe the account.
    fn works_through(&self, account: &AwsAccount) -> BTreeSet<String> {
        let stores = &self.context.stores;
        let accounts = stores
            .accounts
            .state_filter(|other| other.spec.account_id == account.spec.account_id);
        let sessions = stores
            .sessions
            .state_filter(|session| session.spec.role_arn.is_some());
        works_through(
            account,
            accounts.iter().map(|other| &**other),
            sessions.iter().map(|session| &session.spec),
        )
    }

    /// The live account and its open session, or what to say instead.
    fn reach(&self, account: &AwsAccount) -> Result<(Arc<Account>, Arc<OpenSession>), Box<Outcome>> {
        let session = &account.spec.session_ref;
        match self.context.sessions.state(session, Timestamp::now()) {
            SessionState::Open(open) => Ok((self.context.live(account), open)),
            SessionState::Pending
                if self
                    .context
                    .stores
                    .sessions
                    .get(&ObjectRef::new(session))
                    .is_some() =>
            {
                Err(Box::new(self.unchanged(account, "waiting for the session")))
            }
            SessionState::Pending => {
                let message = format!(
                    "MfaSession {session} does not exist: create it, or correct the account's sessionRef"
                );
                Err(Box::new(self.outcome(account, Reason::SessionLocked, message)))
            }
            SessionState::Locked(why) => {
                let mut outcome = self.outcome(account, Reason::SessionLocked, why);
                if let Some(status) = &mut outcome.status {
                    status.changes = self
                        .prior(&status.name)
                        .map(|p| p.changes.clone())
                        .unwrap_or_default();
                }
                Err(Box::new(outcome))
            }
        }
    }

    /// The role as AWS has it, or what to say while that is not known.
    fn observe(
        &self,
        account: &AwsAccount,
        live: &Account,
    ) -> Result<(Option<ObservedRole>, std::time::Instant), Box<Outcome>> {
        if let Some((reason, message)) = self.context.progress(&live.name, |p| p.failure.clone()) {
            return Err(Box::new(self.outcome(account, reason, message)));
        }
        let (found, swept) = {
            let snapshot = live.snapshot.lock();
            (snapshot.lookup(self.role_name()), snapshot.is_complete())
        };
        match found.known() {
            Some(Some((role, seen))) => Ok((Some(role), seen)),
            Some(None) => Ok((None, now())),
            None => {
                // The sweep wakes us when it is through. The first one comes by itself.
                let now = Instant::now();
                let soon = now + SOON;
                let comes = self
                    .context
                    .progress(&live.name, |p| p.wanted || p.due.is_none_or(|due| due <= soon));
                if swept && !comes {
                    self.context.want_sweep(&live.name);
                }
                Err(Box::new(self.unchanged(account, "reading the account's roles")))
            }
        }
    }

    /// From here on the object cannot go before its roles do.
    async fn hold_object(&self) -> Result<(), Error> {
        let api: Api<IamRole> = self.context.api_of(self.role);
        let set = async {
            let version = self.context.set_finalizer(&api, self.role, true).await?;
            if let Some(version) = version.filter(|_| self.context.shares_roles()) {
                let mut latest = self.role.clone();
                latest.metadata.resource_version = Some(version);
                *self.latest.lock() = Some(latest);
            }
            Ok(())
        };
        self.finalizer.get_or_try_init(|| set).await.copied()
    }

    async fn hold_unless_deleted(&self) -> Result<(), Error> {
        if self.role.metadata.deletion_timestamp.is_some() {
            Ok(())
        } else {
            self.hold_object().await
        }
    }

    /// Carries out `plan` on the role of this name, which `stays` in the account or leaves it.
    async fn carry_out(
        &self,
        account: &AwsAccount,
        live: &Account,
        session: &OpenSession,
        (name, stays): (&str, bool),
        plan: Plan,
        (observed, seen): (Option<ObservedRole>, std::time::Instant),
    ) -> Result<Applied, AccountError> {
        let permit = || self.permit(account, stays);
        permit().map_err(AccountError::Withdrawn)?;
        let iam = live
            .iam(session, Timestamp::now(), Some((self.namespace, &self.name)))
            .await?;
        let writer = Writer::new(live, &permit);
        if let Some(role) = &observed
            && !verify(&writer, &*iam, role, seen).await?
        {
            // Another role stands under this name now. Nothing is written before it was looked at.
            live.snapshot.lock().doubt(name, now());
            return Ok(Applied::default());
        }
        let before = observed.clone();
        let applied = apply(&writer, &*iam, name, plan, observed).await;
        let removed = before.and_then(|before| removed(&before, &applied.done));
        if let Some(removed) = removed {
            tracing::warn!(
                role = %self.key, account = account.spec.account_id, name, removed,
                "removed from the role in AWS"
            );
        }
        Ok(applied)
    }

    fn applied(
        &self,
        account: &AwsAccount,
        live: &Account,
        session: &OpenSession,
        result: Result<Applied, AccountError>,
        kept: &Kept,
    ) -> Outcome {
        let applied = match result {
            Ok(applied) => applied,
            Err(error) => return self.account_failed(account, live, session, &error),
        };
        let done: Vec<String> = applied.done.iter().map(ToString::to_string).collect();
        for line in &done {
            tracing::info!(role = %self.key, account = account.spec.account_id, change = line, "applied");
        }
        let mut outcome = match applied.failed {
            None if done.is_empty() => self.outcome(
                account,
                Reason::Progressing,
                "the role in AWS is not the one that was there; looking again",
            ),
            None => self.in_sync(account, applied.role.as_ref(), kept),
            Some((_, failure)) if failure.class == Class::Expired => {
                live.drop_credentials();
                self.outcome(account, Reason::Progressing, failure.to_string())
            }
            Some((change, failure)) => {
                let mut reason = failure.reason();
                let given_up = self.prior(&live.name).is_some_and(|p| {
                    p.observed_generation == self.role.metadata.generation && p.state == Reason::InvalidSpec
                });
                if reason == Reason::AwaitingPrincipal && (given_up || self.is_out_of_patience(&live.name)) {
                    reason = Reason::InvalidSpec;
                }
                if failure.class == Class::Quota {
                    self.doubt_quotas(live);
                }
                let hint = hint(&change, &failure);
                let message = format!(
                    "account {}: {failure} (at: {change}){hint}",
                    account.spec.account_id
                );
                tracing::warn!(role = %self.key, account = account.spec.account_id, %reason, message, "not applied");
                if failure.class != Class::NotMade {
                    let is_unknown_principal = failure.class == Class::AwaitingPrincipal;
                    self.failed(account, reason, &message, is_unknown_principal);
                }
                // What AWS did is not certain: one look tells, and a role in doubt is not looked at otherwise.
                if matches!(live.snapshot.lock().lookup(self.role_name()), Lookup::Unknown) {
                    self.context.want_sweep(&live.name);
                }
                self.settle_as(account, reason, message, applied.role.as_ref())
            }
        };
        if let (Some(status), Some(role)) = (&mut outcome.status, &applied.role) {
            status.arn = Some(role.arn.clone());
            status.role_id = Some(role.role_id.clone());
        }
        let done = (!done.is_empty()).then(|| (live.name.clone(), done.join("; ")));
        Outcome { done, ..outcome }
    }

    fn account_failed(
        &self,
        account: &AwsAccount,
        live: &Account,
        session: &OpenSession,
        error: &AccountError,
    ) -> Outcome {
        let reason = match error {
            AccountError::SessionRefused(_) => {
                self.context
                    .refuse_session(&account.spec.session_ref, session, error);
                Reason::SessionLocked
            }
            AccountError::Aws(failure) if failure.class == Class::Expired => {
                live.drop_credentials();
                Reason::AwsUnavailable
            }
            other => other.reason(),
        };
        let message = format!("account {}: {error}", account.spec.account_id);
        if matches!(error, AccountError::Aws(_)) {
            self.failed(account, reason, &message, false);
        }
        self.outcome(account, reason, message)
    }

    fn in_sync(&self, account: &AwsAccount, observed: Option<&ObservedRole>, kept: &Kept) -> Outcome {
        self.made(account);
        let mut status = self.entry(account, Reason::InSync, kept.message());
        self.tell_restricted(&status, kept);
        status.arn = observed.map(|o| o.arn.clone());
        status.role_id = observed.map(|o| o.role_id.clone());
        status.instance_profiles = self.wanted_profile().into_iter().collect();
        status.last_applied_generation = self.role.metadata.generation;
        let in_sync = self.in_sync_by(account, &status);
        self.remember(account, observed, Some(in_sync));
        Outcome {
            status: Some(status),
            done: None,
        }
    }

    /// What stays so until the spec or AWS changes.
    fn settle(
        &self,
        account: &AwsAccount,
        reason: Reason,
        message: impl Into<String>,
        observed: Option<&ObservedRole>,
    ) -> Outcome {
        let outcome = self.outcome(account, reason, message);
        self.remember(account, observed, None);
        outcome
    }

    fn settle_as(
        &self,
        account: &AwsAccount,
        reason: Reason,
        message: String,
        observed: Option<&ObservedRole>,
    ) -> Outcome {
        if reason.is_stalled() {
            self.settle(account, reason, message, observed)
        } else {
            self.outcome(account, reason, message)
        }
    }

    fn remember(&self, account: &AwsAccount, observed: Option<&ObservedRole>, in_sync: Option<NonZeroU64>) {
        let fingerprint = observed.map(ObservedRole::fingerprint);
        let settled = Settled::new(self.role.metadata.generation, fingerprint, in_sync);
        self.context.progress(&account.name_any(), |p| {
            p.settled.insert(self.context.id(&self.key), settled)
        });
    }

    /// AWS refused a change in the account, or failed: it is tried again, at first soon and then ever more seldom, because the cause
    /// may lie outside Kubernetes.
    fn failed(&self, account: &AwsAccount, reason: Reason, message: &str, is_unknown_principal: bool) {
        let pauses = if reason.is_stalled() { REFUSED } else { BACKOFF };
        let (id, generation) = (self.context.id(&self.key), self.role.metadata.generation);
        self.context.progress(&account.name_any(), |p| {
            let before = p.failing.get(&id).filter(|f| f.generation == generation);
            let count = before.map_or(0, |f| f.count).saturating_add(1);
            let retry = Instant::now() + backoff(count, pauses);
            let unknown = before.and_then(|f| f.unknown_principal);
            let unknown = unknown.or_else(|| is_unknown_principal.then(Instant::now));
            let failing = Failing {
                generation,
                count,
                retry,
                unknown_principal: unknown.filter(|_| is_unknown_principal),
                why: (reason, message.to_owned()),
            };
            p.failing.insert(id, failing);
        });
    }

    /// Returns true if a principal that AWS does not know in this account can no longer be one that was just made.
    fn is_out_of_patience(&self, account: &str) -> bool {
        let failing = self.context.failing(account, self.context.id(&self.key));
        let failing = failing.filter(|failing| failing.generation == self.role.metadata.generation);
        let since = failing.and_then(|failing| failing.unknown_principal);
        since.is_some_and(|since| since.elapsed() > self.context.options.principal_patience)
    }

    /// The changes in the account were made.
    fn made(&self, account: &AwsAccount) {
        let id = self.context.id(&self.key);
        self.context
            .progress(&account.name_any(), |p| p.failing.remove(&id));
    }

    /// How long until the account's changes are tried again, where they have failed.
    fn pause(&self, account: &str) -> Option<Duration> {
        let failing = self.context.failing(account, self.context.id(&self.key))?;
        let now = Instant::now();
        (failing.generation == self.role.metadata.generation)
            .then(|| failing.retry.saturating_duration_since(now))
    }

    /// What to say of the account while its changes are not tried again yet: why they failed. The cache may trail the status that
    /// said so, so it is not taken from there.
    fn paused(&self, account: &AwsAccount, observed: Option<&ObservedRole>) -> Option<Outcome> {
        let name = account.name_any();
        self.pause(&name).filter(|pause| !pause.is_zero())?;
        let (reason, message) = self.context.failing(&name, self.context.id(&self.key))?.why;
        let mut outcome = self.outcome(account, reason, message);
        let ours = observed.filter(|role| is_ours(role, &self.owner, None));
        if let (Some(status), Some(role)) = (&mut outcome.status, ours) {
            status.arn = Some(role.arn.clone());
            status.role_id = Some(role.role_id.clone());
        }
        Some(outcome)
    }

    /// When to look again by ourselves.
    fn next(&self, accounts: &[AccountStatus]) -> Action {
        let waits = accounts.iter().any(|a| a.state.is_reconciling());
        let count = if waits {
            self.context.unfinished(&self.key)
        } else {
            self.context.finished(&self.key);
            0
        };
        let unfinished = accounts
            .iter()
            .filter(|a| a.state.is_reconciling() || a.state.is_stalled());
        let pauses = unfinished.map(|a| match self.pause(&a.name) {
            // Not before it is due, or the pass would find that it must wait.
            Some(pause) => pause + Duration::from_millis(10),
            None if a.state.is_reconciling() => backoff(count, BACKOFF),
            None => STALLED_RETRY.mul_f64(rand::random_range(0.9..1.1)),
        });
        pauses.min().map_or_else(Action::await_change, Action::requeue)
    }

    /// Removes the role in every account, then the finalizer from the object.
    ///
    /// `Removed` in a status is a report to people and to other replicas. What is removed in our accounts is what this
    /// process found to be so.
    async fn finalize(&self) -> Result<Action, Error> {
        if self.finalizer.get().is_none() {
            return Ok(Action::await_change());
        }
        if self.role.spec.suspend {
            let message = "deletion waits: suspended. Set spec.suspend: false to let it go on";
            return self.report_whole(Reason::Suspended, message).await;
        }
        self.find_not_allowed();
        let mut accounts = self.resolve().0;
        accounts.extend(self.leaving(&accounts));
        let (removed, accounts): (Vec<_>, Vec<_>) = accounts.into_iter().partition(|account| {
            let name = account.name_any();
            forgets(account, self.role) || self.context.is_removed(&self.key, &name, &self.owner)
        });
        let removed: Vec<AccountStatus> = removed.iter().map(|account| self.done_with(account)).collect();
        let done_before = removed
            .iter()
            .cloned()
            .map(Some)
            .map(|status| Outcome { status, done: None });
        let outcomes = self.in_all(&[], &accounts, done_before.collect()).await?;
        let done: Vec<(String, String)> = outcomes.iter().filter_map(|o| o.done.clone()).collect();
        let mut left: Vec<AccountStatus> = outcomes.into_iter().filter_map(|o| o.status).collect();
        left.retain(|entry| !removed.iter().any(|removed| removed.name == entry.name));
        for account in &accounts {
            let name = account.name_any();
            if !left.iter().any(|entry| entry.name == name) {
                self.context.removed(&self.key, &name);
            }
        }
        let may_go = self.role.spec.drift == DriftPolicy::Report;
        if self.role.spec.deletion_policy != Some(DeletionPolicy::Retain) && !may_go {
            left.extend(self.lost(&[]).into_iter().filter_map(|o| o.status));
        }
        if left.is_empty() {
            self.tell(&done, "Removed");
            let unread = if may_go {
                0
            } else {
                self.unread(&accounts, &removed)
            };
            if unread > 0 {
                return self.await_sweeps(unread).await;
            }
            if self.others_are_at_it() {
                // The last one lets the object go.
                let mut removed = removed;
                removed.extend(accounts.iter().map(|account| self.removed(account)));
                return self.report(removed, &[]).await.map(|()| Action::await_change());
            }
            let api: Api<IamRole> = self.context.api_of(self.role);
            // First: whoever is killed in between must not leave a role without a word.
            self.tell_forgotten();
            self.context.set_finalizer(&api, self.role, false).await?;
            return Ok(Action::await_change());
        }
        let mut left = left.into_iter().map(deleting).collect::<Vec<_>>();
        let action = self.next(&left);
        left.extend(removed);
        self.report(left, &done).await?;
        Ok(action)
    }

    /// Tells of the accounts that the deletion has not waited for: the role may still be there.
    fn tell_forgotten(&self) {
        let accounts = &self.context.stores.accounts;
        for account in accounts.state_filter(|account| forgets(account, self.role)) {
            let (name, id, role_name) = (account.name_any(), &account.spec.account_id, self.role_name());
            let note = format!(
                "{name}: not waited for, as the annotation {FORGET_ANNOTATION} of the AwsAccount says. Role {role_name} may still be in AWS account {id}, with the owner tag {}",
                self.owner
            );
            tracing::warn!(role = %self.key, account = name, note, "forgotten");
            events::publish(
                self.context,
                self.role,
                EventType::Warning,
                "Forgotten",
                "Remove",
                &note,
            );
        }
    }

    /// How many of our accounts, beside those that the object mentions, can be read and were not read by this process yet.
    /// A process that was killed may have made the role there without a word in the status.
    fn unread(&self, accounts: &[Arc<AwsAccount>], removed: &[AccountStatus]) -> usize {
        let mentioned: HashSet<String> = accounts.iter().map(|account| account.name_any()).collect();
        let others = self.context.stores.accounts.state_filter(|account| {
            let name = account.metadata.name.as_deref().unwrap_or_default();
            self.holds(name)
                && !mentioned.contains(name)
                && !removed.iter().any(|entry| entry.name == name)
                && !forgets(account, self.role)
                && self.context.can_be_read(account)
        });
        let unread = others.iter().filter(|account| {
            let may_hold = self.may_stand_in(account);
            if may_hold.is_none() {
                self.context.want_first_sweep(account);
            }
            // A role of ours that a sweep has just found is in the next pass.
            may_hold != Some(false)
        });
        unread.count()
    }

    /// The deletion waits until more accounts are read.
    async fn await_sweeps(&self, unread: usize) -> Result<Action, Error> {
        let accounts = if unread == 1 { "account" } else { "accounts" };
        let message = format!("deletion waits: looking for the role in {unread} other {accounts}");
        self.report_whole(Reason::Progressing, &message).await?;
        let count = self.context.unfinished(&self.key);
        Ok(Action::requeue(backoff(count, BACKOFF)))
    }

    /// Whether another replica or controller has not yet said that the role is removed in one of its accounts.
    fn others_are_at_it(&self) -> bool {
        let targets = self.targets();
        let names = targets
            .iter()
            .filter_map(|account| account.metadata.name.as_deref());
        // Also one that has said nothing yet may be making the role.
        let mut foreign = names
            .chain(self.entries.keys().copied())
            .filter(|account| !self.holds(account));
        foreign.any(|account| {
            self.prior(account)
                .is_none_or(|entry| entry.state != Reason::Removed)
        })
    }

    /// Nothing of the role is left in the account, and the object waits for the other accounts.
    /// What is said of an account that the deletion does not wait for any more.
    fn done_with(&self, account: &AwsAccount) -> AccountStatus {
        if !forgets(account, self.role) {
            return self.removed(account);
        }
        // The other replicas wait for this state. What was seen of the role stays in the entry: nobody has removed it.
        let message = "not waited for: the account's owner had it forgotten, and the role may still be there";
        self.entry(account, Reason::Removed, Some(message.to_owned()))
    }

    fn removed(&self, account: &AwsAccount) -> AccountStatus {
        AccountStatus {
            arn: None,
            role_id: None,
            instance_profiles: vec![],
            last_applied_generation: None,
            ..self.entry(account, Reason::Removed, None)
        }
    }

    fn tell(&self, done: &[(String, String)], reason: &str) {
        // Somebody changed the role behind our back: an operator may have to look at what was removed.
        let type_ = || match reason {
            DRIFT_CORRECTED => EventType::Warning,
            _ => EventType::Normal,
        };
        for (action, note) in events::news(done) {
            events::publish(self.context, self.role, type_(), reason, &action, &note);
        }
    }

    /// Tells how the role stands in our accounts, and what was done there.
    async fn report(&self, accounts: Vec<AccountStatus>, done: &[(String, String)]) -> Result<(), Error> {
        let prior = self.role.status.as_ref();
        let corrected = prior.and_then(|p| p.observed_generation) == self.role.metadata.generation
            && prior.and_then(|p| ready_reason(&p.conditions)) == Some(Reason::InSync.as_str());
        self.write(ATTEMPTS, |latest| {
            self.compose(latest, self.role.metadata.generation, &accounts)
        })
        .await?;
        self.tell(done, if corrected { DRIFT_CORRECTED } else { "Applied" });
        for entry in &accounts {
            let before = self.prior(&entry.name).map(|p| p.state);
            if before != Some(entry.state) || done.iter().any(|(account, _)| *account == entry.name) {
                self.context.recount(&entry.name);
            }
        }
        Ok(())
    }

    /// Tells what concerns no account in particular. One of several replicas does.
    async fn report_whole(&self, reason: Reason, message: &str) -> Result<Action, Error> {
        if self.leads() {
            let generation = self.role.metadata.generation;
            self.write(ATTEMPTS, |latest| {
                let prior = latest.status.as_ref();
                without_accounts(prior, generation, reason, message, Timestamp::now())
            })
            .await?;
        }
        Ok(Action::await_change())
    }

    /// The status with our accounts as given, and those of other replicas as the object has them.
    fn compose(&self, latest: &IamRole, generation: Option<i64>, ours: &[AccountStatus]) -> IamRoleStatus {
        let now = self.context.shards.view();
        // What was ours when we began and is not any more is told by who has it now.
        let still_ours = |name: &str| {
            let held = self.holds(name) && now.holds_since(&self.part, name);
            held && self.context.serves_session_of(name)
        };
        let mut accounts: Vec<AccountStatus> = ours.iter().filter(|e| still_ours(&e.name)).cloned().collect();
        let targets = self.targets();
        let entries = latest.status.iter().flat_map(|status| &status.accounts);
        accounts.extend(entries.filter(|entry| !still_ours(&entry.name)).cloned());
        // Who looks after the others may not have begun.
        let told: HashSet<String> = accounts.iter().map(|entry| entry.name.clone()).collect();
        let named = targets.iter().map(|account| account.name_any());
        let silent = named.chain(self.role.spec.accounts.names.iter().cloned());
        let lives = latest.metadata.deletion_timestamp.is_none();
        let silent = distinct(silent.filter(|name| lives && !told.contains(name) && !still_ours(name)));
        accounts.extend(silent.into_iter().map(|name| AccountStatus {
            message: Some("waiting for the controller that looks after it".to_owned()),
            ..AccountStatus::new(name, Reason::Progressing)
        }));
        accounts.retain(|entry| !self.is_hidden(entry));
        let shown: HashSet<&str> = accounts.iter().map(|entry| entry.name.as_str()).collect();
        let refused = self.not_allowed.get().into_iter().flatten();
        let not_allowed = refused.filter(|name| !shown.contains(name.as_str())).count();
        let no_accounts = if accounts.is_empty() && not_allowed == 0 {
            nothing_selected(self.role, &self.context.stores.accounts.state())
        } else {
            String::new()
        };
        let facts = Facts {
            accounts,
            not_allowed: u32::try_from(not_allowed).unwrap_or(u32::MAX),
            no_accounts: &no_accounts,
        };
        status(latest.status.as_ref(), generation, facts, Timestamp::now())
    }

    /// Writes the status that `make` makes of the object, and of the object as it is now where others have written.
    async fn write(&self, attempts: u32, make: impl Fn(&IamRole) -> IamRoleStatus) -> Result<(), Error> {
        let _alone = self.writing.lock().await;
        let api: Api<IamRole> = self.context.api_of(self.role);
        let others = if self.context.shares_roles() {
            Others::Write
        } else {
            Others::Keep
        };
        let mut latest = self
            .latest
            .lock()
            .take()
            .map_or(Cow::Borrowed(self.role), Cow::Owned);
        for attempt in 1..=attempts {
            let prior = latest.status.as_ref().map(IamRoleStatus::collapse);
            let prior = prior.as_ref();
            let mut status = bounded(&make(&latest));
            let patched = self
                .context
                .patch_status(&api, &*latest, prior, &status, others)
                .await?;
            match patched {
                Patched::Unchanged => {
                    if let Cow::Owned(latest) = latest {
                        *self.latest.lock() = Some(latest);
                    }
                    return Ok(());
                }
                Patched::Written(version) => {
                    let before = prior.and_then(|p| ready_reason(&p.conditions));
                    events::publish_stalled(self.context, self.role, before, &status.conditions);
                    if others == Others::Write {
                        let mut latest = latest.into_owned();
                        latest.metadata.resource_version = version;
                        status.expand();
                        latest.status = Some(status);
                        *self.latest.lock() = Some(latest);
                    }
                    return Ok(());
                }
                Patched::Stale if attempt < attempts => {
                    tokio::time::sleep(backoff(attempt, GIVE_WAY)).await;
                }
                Patched::Stale => {}
            }
            let now = bounded_call(api.get_opt(&self.name)).await;
            match now.map_err(Error::kube("could not read the role"))? {
                Some(mut now) if now.metadata.uid == self.role.metadata.uid => {
                    if let Some(status) = &mut now.status {
                        status.expand();
                    }
                    latest = Cow::Owned(now);
                }
                // Deleted meanwhile: there is nothing to say any more.
                _ => return Ok(()),
            }
        }
        // The next try begins with what the others wrote.
        if let Cow::Owned(latest) = latest {
            *self.latest.lock() = Some(latest);
        }
        Err(Error::Contended)
    }
}

/// Whether a pass that began with the object `then` may still change something, by the object as the cache has it `now`.
fn permit_of_role(then: &IamRole, now: Option<&IamRole>) -> Result<(), String> {
    let name = full_name(then);
    let Some(now) = now else {
        // What is being deleted anyway is removed although the object has left the cache.
        let removes = then.metadata.deletion_timestamp.is_some();
        return if removes {
            Ok(())
        } else {
            Err(format!("IamRole {name} was deleted"))
        };
    };
    if now.metadata.uid != then.metadata.uid {
        Err(format!("IamRole {name} was deleted and created again"))
    } else if now.metadata.generation == then.metadata.generation {
        Ok(())
    } else if now.spec.suspend {
        Err(format!("IamRole {name} is suspended"))
    } else if now.metadata.deletion_timestamp.is_some() {
        Err(format!("IamRole {name} is being deleted"))
    } else {
        Err(format!("IamRole {name} has changed"))
    }
}

/// As [`permit_of_role`], by the account's object. `namespace`: the one that must be allowed there.
fn permit_of_account(
    then: &AwsAccount,
    now: Option<&AwsAccount>,
    namespace: Option<&str>,
    admits: impl Fn(&AwsAccount, &str) -> bool,
) -> Result<(), String> {
    let name = then.name_any();
    let Some(now) = now else {
        return Err(format!("AwsAccount {name} was deleted"));
    };
    let facts = |account: &AwsAccount| (account.metadata.uid.clone(), account.metadata.generation);
    let is_same = facts(now) == facts(then) && now.metadata.labels == then.metadata.labels;
    if !is_same && now.spec.suspend {
        return Err(format!("AwsAccount {name} is suspended"));
    }
    // Asked each time: labels of a namespace change without a change of the account.
    if let Some(namespace) = namespace.filter(|namespace| !admits(now, namespace)) {
        return Err(format!("AwsAccount {name} does not allow namespace {namespace}"));
    }
    if is_same {
        Ok(())
    } else {
        Err(format!("AwsAccount {name} has changed"))
    }
}

/// The object has left the cache: who waited for it may continue. A `leftover` is what [`went_without_finalizer`].
pub fn gone(
    context: &Shared,
    role_name: &str,
    key: &ObjectRef<IamRole>,
    uid: Option<&str>,
    leftover: Option<IamRole>,
) {
    if let Some(role) = leftover {
        tokio::spawn(remove_leftover(context.clone(), role));
    }
    context.forget_role(key, uid);
    for other in context.namesakes(role_name) {
        context.wake_role(ObjectRef::from_obj(&*other));
    }
    for account in context.stores.accounts.state() {
        if account.metadata.deletion_timestamp.is_some() {
            context.wake_account(&account.name_any());
        }
    }
}

/// Whether a deleted object carried our finalizer to its end and was never marked for deletion, so that nobody has removed
/// its role. A finalizer that somebody took off means that the role is to stay.
pub fn went_without_finalizer(role: &IamRole) -> bool {
    let has_finalizer = role.finalizers().iter().any(|f| f == FINALIZER);
    has_finalizer && role.metadata.deletion_timestamp.is_none() && !role.spec.suspend
}

/// Removes the role of an object that went although it had a finalizer: the API server removes an object that is deleted
/// at the very moment in which its finalizer is set. Nobody else knows of the role then.
async fn remove_leftover(context: Shared, mut role: IamRole) {
    role.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    let key = ObjectRef::from_obj(&role);
    for attempt in 1_u32.. {
        match Box::pin(leftover_is_gone(&context, &role, &key)).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(role = %key, error = %error_chain(&error), "role of a deleted object not removed yet");
            }
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(backoff(attempt, BACKOFF)) => {}
        }
    }
}

/// Whether nothing is left to do for a role whose object went although it had a finalizer.
async fn leftover_is_gone(context: &Shared, role: &IamRole, key: &ObjectRef<IamRole>) -> Result<bool, Error> {
    // What is under way for it may be making the role just now.
    context.busy.left(context.id(key)).await;
    let api: Api<IamRole> = context.api_of(role);
    let now = api.get_opt(&role.name_any()).await;
    if now.map_err(Error::kube("could not read the role"))?.is_some() {
        // Another object of this name has the role by the owner tag.
        return Ok(true);
    }
    // One that began just before the object went has entered by now.
    context.busy.left(context.id(key)).await;
    let work = Work::new(role, context);
    let accounts = context.stores.accounts.state_filter(|account| {
        let name = account.metadata.name.as_deref().unwrap_or_default();
        work.holds(name) && (context.holds(name, &work.owner) || work.may_be_left_in(account))
    });
    let mut gone = Ok(true);
    let mut done = vec![];
    for account in &accounts {
        match work.leave(account).await {
            Ok(outcome) => {
                gone = gone.map(|gone| gone && outcome.status.is_none());
                done.extend(outcome.done);
            }
            // The role is still to be removed in the other accounts.
            Err(error) => gone = Err(error),
        }
    }
    for (account, changes) in &done {
        tracing::warn!(role = %key, account, changes, "removed the role of an object that went without its finalizer");
    }
    work.tell(&done, "Removed");
    gone
}

/// An account without object, with what is known of the role there kept.
fn account_gone(known: AccountStatus, generation: Option<i64>, message: String) -> Outcome {
    let status = AccountStatus {
        observed_generation: generation,
        state: Reason::AccountNotFound,
        message: Some(message),
        changes: vec![],
        ..known
    };
    Outcome {
        status: Some(status),
        done: None,
    }
}

/// While the object is being deleted, what waits says what it waits for.
fn deleting(mut status: AccountStatus) -> AccountStatus {
    let message = status.message.take().unwrap_or_else(|| status.state.to_string());
    status.message = Some(format!("deletion waits: {message}"));
    if status.state == Reason::InSync {
        status.state = Reason::Progressing;
    }
    status
}

/// What to do about a failure, where AWS's words alone do not lead to it.
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

fn shown(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> = plan
        .changes
        .iter()
        .take(SHOWN_CHANGES)
        .map(ToString::to_string)
        .collect();
    if let Some(more) = plan.changes.len().checked_sub(SHOWN_CHANGES).filter(|n| *n > 0) {
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(change: serde_json::Value) -> IamRole {
        let mut role = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": "app", "namespace": "team", "uid": "1", "generation": 1, "resourceVersion": "1"},
            "spec": {"accounts": {"names": ["dev"]}, "ensure": "Absent"}});
        json_patch(&mut role, change);
        serde_json::from_value(role).unwrap()
    }

    fn account(change: serde_json::Value) -> AwsAccount {
        let mut account = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": "dev", "uid": "1", "generation": 1, "resourceVersion": "1"},
            "spec": {"accountId": "222222222222", "allowedNamespaces": {"from": "Names", "names": ["team"]}}});
        json_patch(&mut account, change);
        serde_json::from_value(account).unwrap()
    }

    /// A JSON merge patch.
    fn json_patch(target: &mut serde_json::Value, patch: serde_json::Value) {
        let serde_json::Value::Object(patch) = patch else {
            *target = patch;
            return;
        };
        for (key, value) in patch {
            json_patch(&mut target[key], value);
        }
    }

    #[test]
    fn a_role_is_removed_after_its_object_only_if_nobody_decided_about_it_before() {
        for (finalizer, deleting, suspended, leftover) in [
            (true, false, false, true),
            (false, false, false, false),
            (true, true, false, false),
            (true, false, true, false),
        ] {
            let mut role = role(json!({"spec": {"suspend": suspended}}));
            role.metadata.finalizers = finalizer.then(|| vec![FINALIZER.to_owned()]);
            role.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
            assert_eq!(
                went_without_finalizer(&role),
                leftover,
                "{finalizer} {deleting} {suspended}"
            );
        }
    }

    #[test]
    fn a_pass_may_change_aws_only_while_its_role_is_as_it_was_when_it_began() {
        let then = role(json!({}));
        for (change, says) in [
            (
                json!({"metadata": {"resourceVersion": "2", "annotations": {"a": "b"}}}),
                None,
            ),
            (
                json!({"metadata": {"uid": "2"}}),
                Some("IamRole team/app was deleted and created again"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"suspend": true}}),
                Some("IamRole team/app is suspended"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"ensure": "Absent"}}),
                Some("IamRole team/app has changed"),
            ),
            (
                json!({"metadata": {"generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                Some("IamRole team/app is being deleted"),
            ),
        ] {
            let permit = permit_of_role(&then, Some(&role(change.clone())));
            assert_eq!(permit.err().as_deref(), says, "{change}");
        }
        let says = permit_of_role(&then, None).err();
        assert_eq!(says.as_deref(), Some("IamRole team/app was deleted"));
        let deleting = role(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert_eq!(
            permit_of_role(&deleting, None),
            Ok(()),
            "its removal is carried out"
        );
    }

    #[test]
    fn a_pass_may_change_aws_only_while_the_account_allows_what_it_allowed_when_it_began() {
        let then = account(json!({}));
        for (change, says) in [
            (
                json!({"metadata": {"resourceVersion": "2"}, "status": {"cluster": "c"}}),
                None,
            ),
            (
                json!({"metadata": {"uid": "2"}}),
                Some("AwsAccount dev has changed"),
            ),
            (
                json!({"metadata": {"labels": {"tier": "prod"}}}),
                Some("AwsAccount dev has changed"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"guardrails": {"maxRoles": 1}}}),
                Some("AwsAccount dev has changed"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"suspend": true}}),
                Some("AwsAccount dev is suspended"),
            ),
            (
                json!({"metadata": {"generation": 2}, "spec": {"allowedNamespaces": {"from": "None"}}}),
                Some("AwsAccount dev does not allow namespace team"),
            ),
        ] {
            let permit = permit_of_account(&then, Some(&account(change.clone())), Some("team"), may_admit);
            assert_eq!(permit.err().as_deref(), says, "{change}");
        }
        // The account is as it was, and the labels of the namespace are not.
        let says = permit_of_account(&then, Some(&then), Some("team"), |_, _| false).err();
        assert_eq!(
            says.as_deref(),
            Some("AwsAccount dev does not allow namespace team")
        );
        assert_eq!(
            permit_of_account(&then, Some(&then), None, |_, _| false),
            Ok(()),
            "a removal"
        );
        let says = permit_of_account(&then, None, Some("team"), may_admit).err();
        assert_eq!(says.as_deref(), Some("AwsAccount dev was deleted"));
    }
}
