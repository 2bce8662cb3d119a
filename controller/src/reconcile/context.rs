//! What the reconcilers share: caches, queues, sessions, live accounts, and what was left where.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::{NonZeroI64, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::ACCEPT;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, Request};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt as _};
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use rolectl_crds::{
    AccountStatus, AwsAccount, FINALIZER, IamRole, MfaSession, MfaSessionSpec, RECONCILE_ANNOTATION, Reason,
    RoleCounts,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mfa_session::SecretWatches;
use super::role_names::RoleNames;
use super::shards::Shards;
use super::store::UnreadableObjects;
use super::{Error, Options, Shared, bounded_call};
use crate::metrics::{Metrics, OfAccount, OfKind, OfReason, OfSession, StateInAccount};
use rolectl_aws::account::{Account, AccountEnvironment};
use rolectl_aws::api::Aws;
use rolectl_aws::sdk::{SdkAws, base_config};
use rolectl_aws::session::{OpenSession, SessionState, Sessions};
use rolectl_core::conditions::ready_reason;
use rolectl_core::names::{full_name, name_in_aws, owner};
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::role::admission::{AccountCase, Applicant};
use rolectl_core::role::kept::RESTRICTED;
use rolectl_core::selection::{admits, may_admit, targets};
use rolectl_kube::objects;

/// Asks for nothing but an object's [metadata](https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches).
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Field manager of everything that we write with server-side apply.
pub const MANAGER: &str = "rolectl-controller";

/// After how many failed sweeps in a row an account counts as one that cannot be read.
const PATIENCE: u32 = 3;

/// Caches.
pub struct Stores {
    /// Roles.
    pub roles: Store<IamRole>,
    /// Roles by the name that they want in AWS.
    pub names: Arc<RoleNames>,
    /// Accounts.
    pub accounts: Store<AwsAccount>,
    /// Sessions.
    pub sessions: Store<MfaSession>,
    /// Namespaces, of which labels alone are kept.
    pub namespaces: Store<Namespace>,
    /// Whether each of them is filled.
    pub filled: [watch::Receiver<bool>; 4],
    /// Objects that are in none of the caches because they do not parse.
    pub unreadable: UnreadableOf,
}

/// Objects that do not parse, by kind. They exist: whoever misses an object in a cache must look here before it treats the
/// object as deleted.
pub struct UnreadableOf {
    /// `IamRole`s.
    pub roles: Arc<UnreadableObjects>,
    /// `AwsAccount`s.
    pub accounts: Arc<UnreadableObjects>,
    /// `MfaSession`s.
    pub sessions: Arc<UnreadableObjects>,
}

/// Queues by which one kind wakes another.
pub struct Queues {
    /// Roles to look at.
    pub roles: UnboundedSender<ObjectRef<IamRole>>,
    /// Accounts to look at.
    pub accounts: UnboundedSender<ObjectRef<AwsAccount>>,
    /// Sessions to look at.
    pub sessions: UnboundedSender<ObjectRef<MfaSession>>,
}

/// How a role was left in an account. While neither half changes there is nothing to do. There is one for every role and account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Generation of the `IamRole`. Those of the API server begin with 1.
    generation: Option<NonZeroI64>,
    /// Fingerprint of the role in AWS, `None` where there is none.
    fingerprint: Option<u64>,
    /// Where the role is as it should be, and was not given up on: a hash of what that was computed from and what was said.
    pub in_sync: Option<NonZeroU64>,
}

impl Settled {
    /// Left like this.
    pub fn new(generation: Option<i64>, fingerprint: Option<u64>, in_sync: Option<NonZeroU64>) -> Self {
        Self {
            generation: generation.and_then(NonZeroI64::new),
            fingerprint,
            in_sync,
        }
    }

    /// Whether the role is still as it was left.
    pub fn is_still(&self, generation: Option<i64>, fingerprint: Option<u64>) -> bool {
        *self == Self::new(generation, fingerprint, self.in_sync)
    }

    /// Whether AWS has changed since, and the object has not.
    pub fn has_drifted(&self, generation: Option<i64>, fingerprint: Option<u64>) -> bool {
        self.is_still(generation, self.fingerprint) && self.fingerprint != fingerprint
    }
}

/// What of the objects a role in an account depends on, beside its own: the account's generation and labels, and the
/// account and role of its session.
pub type Inputs = (
    Option<i64>,
    BTreeMap<String, String>,
    Option<(String, Option<String>)>,
);

/// Where the sweeps of an account stand.
#[derive(Clone, Debug, Default)]
pub struct AccountProgress {
    /// When the next sweep is due.
    pub due: Option<Instant>,
    /// A sweep was asked for.
    pub wanted: bool,
    /// Hash of the account's reconcile annotation.
    pub forced: Option<u64>,
    /// Hash of the annotation that names roles to forget.
    pub forgets: Option<u64>,
    /// When the last sweep that a user asked for was due.
    pub requested: Option<Instant>,
    /// Number of the session that the snapshot was made on.
    pub session: Option<u64>,
    /// Why the account cannot be worked on, if it cannot.
    pub failure: Option<(Reason, String)>,
    /// Failures in a row.
    pub failures: u32,
    /// When the last sweep went through, and how long it took.
    pub swept: Option<(Instant, Duration)>,
    /// What roles were told of last.
    pub seen: Option<Inputs>,
    /// How each role was left here, by [`Context::id`].
    pub settled: HashMap<u64, Settled>,
    /// Whether the roles know already that no call may be made.
    pub parked: bool,
    /// When the last sweep ended and how many milliseconds it took, as the status has it. The cached status may trail.
    pub last_sweep: Option<(Timestamp, Option<u64>)>,
    /// Changes that AWS refused or that failed, by [`Context::id`] of the role.
    pub failing: HashMap<u64, Failing>,
    /// Owners without object that were already reported.
    pub orphans: Vec<String>,
    /// The counts are to be made again.
    pub recount: bool,
    /// The counts as they were last.
    pub counts: RoleCounts,
    /// While the account is being deleted: how often all roles were listed in vain, and when they may be listed again.
    pub lists: u32,
    /// See `lists`.
    pub list_again: Option<Instant>,
    /// The object that acts for the AWS account in place of this one.
    pub yields_to: Option<String>,
}

/// How often the changes of one role failed in one account in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Generation of the `IamRole` that was tried.
    pub generation: Option<i64>,
    /// Failures in a row. Waiting is none.
    pub count: u32,
    /// When to try again.
    pub retry: Instant,
    /// Since when AWS does not know a principal of the trust policy.
    pub unknown_principal: Option<Instant>,
    /// Why they failed the last time. It stays in the status until the next try.
    pub why: (Reason, String),
}

/// How long the counts of an account trail its roles.
const RECOUNT: Duration = Duration::from_secs(2);

/// How often users can have an account swept, whatever they annotate.
const REQUEST_PAUSE: Duration = Duration::from_secs(10);

impl AccountProgress {
    /// A user asks for a sweep. Too soon after the last such request the sweep is put off, never left out.
    pub fn request(&mut self, now: Instant) {
        let earliest = self.requested.map(|last| last + REQUEST_PAUSE);
        match earliest.filter(|earliest| *earliest > now) {
            None => {
                self.requested = Some(now);
                self.wanted = true;
            }
            Some(earliest) => {
                // One that is put off already serves this request, too.
                let put_off = self.requested.filter(|at| *at > now);
                let at = put_off.unwrap_or(earliest);
                self.requested = Some(at);
                self.due = self.due.map(|due| due.min(at));
            }
        }
    }
}

/// Objects that are worked on just now, by [`Context::id`].
#[derive(Debug, Default)]
pub struct Busy {
    ids: Mutex<HashSet<u64>>,
    ended: Notify,
}

/// Work on one object, until dropped.
#[derive(Debug)]
pub struct InWork<'a> {
    busy: &'a Busy,
    id: u64,
}

impl Busy {
    /// Work on the object begins. At any time there is one reconcile of an object.
    pub fn enter(&self, id: u64) -> InWork<'_> {
        self.ids.lock().insert(id);
        InWork { busy: self, id }
    }

    /// Returns once nobody works on the object.
    pub async fn left(&self, id: u64) {
        loop {
            let ended = self.ended.notified();
            if !self.ids.lock().contains(&id) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        self.busy.ids.lock().remove(&self.id);
        self.busy.ended.notify_waiters();
    }
}

/// Objects that wait to be reconciled, by kind.
#[derive(Default)]
pub struct Waiting {
    objects: Mutex<HashMap<&'static str, HashSet<u64>>>,
    hasher: RandomState,
}

impl Waiting {
    /// The object waits.
    pub fn enter<K: Resource<DynamicType = ()>>(&self, key: &ObjectRef<K>) {
        let id = self.hasher.hash_one(key);
        self.objects
            .lock()
            .entry(static_kind(&K::kind(&())))
            .or_default()
            .insert(id);
    }

    /// It does not any more.
    pub fn leave<K: Resource<DynamicType = ()>>(&self, key: &ObjectRef<K>) {
        let id = self.hasher.hash_one(key);
        if let Some(waiting) = self.objects.lock().get_mut(static_kind(&K::kind(&()))) {
            waiting.remove(&id);
        }
    }

    /// Objects that went before their turn came do not wait.
    fn prune<K>(&self, store: &Store<K>)
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        let there = store.state();
        let there: HashSet<u64> = there
            .iter()
            .map(|object| self.hasher.hash_one(ObjectRef::from_obj(&**object)))
            .collect();
        if let Some(waiting) = self.objects.lock().get_mut(static_kind(&K::kind(&()))) {
            waiting.retain(|id| there.contains(id));
            // After a start all objects have waited.
            waiting.shrink_to_fit();
        }
    }

    fn counts(&self) -> Vec<(&'static str, i64)> {
        let count = |waiting: &HashSet<u64>| i64::try_from(waiting.len()).unwrap_or(i64::MAX);
        self.objects
            .lock()
            .iter()
            .map(|(kind, all)| (*kind, count(all)))
            .collect()
    }
}

/// One of the kinds that are watched, by its name.
pub fn static_kind(kind: &str) -> &'static str {
    let kinds = ["IamRole", "AwsAccount", "MfaSession", "Namespace"];
    kinds.into_iter().find(|k| *k == kind).unwrap_or("other")
}

/// Whether other replicas write the same status, each its own accounts in it: none may undo what another has just written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They do.
    Write,
    /// It is ours alone.
    Keep,
}

/// What became of a status that was to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// The API server has it already.
    Unchanged,
    /// It was written, and this is the object's version since.
    Written(Option<String>),
    /// Somebody else wrote first: it is to be made anew from the object as it is now.
    Stale,
}

impl Patched {
    /// Whether it was written just now.
    pub const fn is_written(&self) -> bool {
        matches!(self, Self::Written(_))
    }
}

/// Shared by all reconcilers.
pub struct Context {
    /// Kubernetes.
    pub client: Client,
    /// What to look after.
    pub options: Options,
    /// Caches.
    pub stores: Stores,
    /// Queues.
    pub queues: Queues,
    /// Sessions.
    pub sessions: Sessions,
    /// Events.
    pub recorder: Recorder,
    /// Makes clients of AWS.
    pub aws: Arc<dyn Aws>,
    /// Cancelled when the process goes down.
    pub shutdown: CancellationToken,
    /// Which accounts are ours to look after.
    pub shards: Arc<Shards>,
    /// As many AWS calls as may be under way at a time.
    in_flight: Arc<Semaphore>,
    /// As many events as may be published at a time: news come after work.
    pub event_turns: Arc<Semaphore>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What waits to be reconciled.
    pub waiting: Waiting,
    /// Secrets that are watched, by `MfaSession`.
    pub secret_watches: SecretWatches,
    live: RwLock<HashMap<String, Arc<Account>>>,
    progress: Mutex<HashMap<String, AccountProgress>>,
    /// Passes over a role in a row after which something in it was still to be waited for.
    unfinished: Mutex<HashMap<ObjectRef<IamRole>, u32>>,
    /// Reconciles in a row that the API server made fail, by the hash of the object's uid.
    api_failures: Mutex<HashMap<u64, u32>>,
    forced: Mutex<HashMap<u64, u64>>,
    warned: Mutex<HashMap<u64, Option<i64>>>,
    /// Hash of the last status that we wrote, by the hash of the object's uid.
    written: Mutex<HashMap<u64, u64>>,
    /// Roles that are reconciled just now.
    pub busy: Busy,
    /// Policy documents of all roles, each parsed once for all accounts and retries.
    pub documents: DocumentCache,
    /// Accounts in which this process has seen to it that nothing is left of a role that is being deleted, by [`Self::id`].
    removals: Mutex<HashMap<u64, HashSet<String>>>,
    hasher: RandomState,
}

impl Context {
    /// A context with nothing known yet.
    pub async fn new(
        client: Client,
        options: Options,
        metrics: Arc<Metrics>,
        stores: Stores,
        queues: Queues,
        shutdown: CancellationToken,
    ) -> Shared {
        let in_flight = Arc::new(Semaphore::new(options.concurrency.into()));
        let shards = Shards::new(options.shards, &options.lease_prefix(), options.replica.clone());
        Arc::new(Self {
            recorder: recorder(client.clone()),
            client,
            options,
            stores,
            queues,
            sessions: Sessions::default(),
            aws: SdkAws::new(base_config().await),
            shutdown,
            shards: Arc::new(shards),
            in_flight,
            event_turns: Arc::new(Semaphore::new(4)),
            metrics,
            waiting: Waiting::default(),
            secret_watches: SecretWatches::default(),
            live: RwLock::default(),
            progress: Mutex::default(),
            unfinished: Mutex::default(),
            api_failures: Mutex::default(),
            forced: Mutex::default(),
            warned: Mutex::default(),
            written: Mutex::default(),
            busy: Busy::default(),
            documents: DocumentCache::default(),
            removals: Mutex::default(),
            hasher: RandomState::new(),
        })
    }

    /// A recorder that remembers nothing.
    pub fn new_recorder(&self) -> Recorder {
        recorder(self.client.clone())
    }

    /// Whether all caches hold what the API server had.
    pub fn is_filled(&self) -> bool {
        self.stores.filled.iter().all(|filled| *filled.borrow())
    }

    /// Returns once all caches hold what the API server had, since nothing may be concluded from absence before; or when
    /// the process goes down, after which nobody fills them. Whether work may begin.
    pub async fn ready(&self) -> bool {
        let filled = async {
            for filled in &self.stores.filled {
                // A closed channel means that the process goes down.
                let _ = filled.clone().wait_for(|filled| *filled).await;
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => false,
            () = filled => !self.shutdown.is_cancelled(),
        }
    }

    /// Whether this process looks after the account.
    pub fn serves(&self, account: &AwsAccount) -> bool {
        self.serves_session(&account.spec.session_ref) && self.shards.hold(&account.name_any())
    }

    /// Another part of the accounts is ours now: everything is looked at anew.
    pub fn wake_all(&self) {
        for session in self.stores.sessions.state() {
            self.wake_session(&session.name_any());
        }
        for account in self.stores.accounts.state() {
            self.wake_account(&account.name_any());
        }
        for role in self.stores.roles.state() {
            self.wake_role(ObjectRef::from_obj(&*role));
        }
    }

    /// What stands, for the metrics. Of what several replicas see, each shows its part, so that sums are right.
    pub fn look_up(&self, metrics: &Metrics) {
        let view = self.shards.view();
        let (mut by_reason, mut by_state, mut restricted) = (HashMap::new(), HashMap::new(), HashMap::new());
        for role in self.stores.roles.state() {
            let Some(status) = &role.status else { continue };
            // Of several controllers that have a role in common, the first account's counts it.
            let counts = |entry: &AccountStatus| self.serves_session_of(&entry.name);
            if view.holds(&full_name(&role)) && status.accounts.first().is_none_or(counts) {
                let reason = ready_reason(&status.conditions).unwrap_or_default().to_owned();
                *by_reason.entry(reason).or_insert(0_i64) += 1;
            }
            let ours = |entry: &&AccountStatus| view.holds(&entry.name) && counts(entry);
            for entry in status.accounts.iter().filter(ours) {
                let at = (entry.name.clone(), entry.state.as_str());
                *by_state.entry(at).or_insert(0_i64) += 1;
                let message = entry.message.as_deref().unwrap_or_default();
                let is_restricted = entry.state == Reason::InSync && message.starts_with(RESTRICTED);
                *restricted.entry(entry.name.clone()).or_insert(0_i64) += i64::from(is_restricted);
            }
        }
        let unreadable = [
            ("IamRole", &self.stores.unreadable.roles),
            ("AwsAccount", &self.stores.unreadable.accounts),
            ("MfaSession", &self.stores.unreadable.sessions),
        ];
        for (kind, objects) in unreadable {
            let ours = objects
                .all()
                .iter()
                .filter(|object| view.holds(&object.full_name()))
                .count();
            let ours = i64::try_from(ours).unwrap_or(i64::MAX);
            metrics.unreadable.get_or_create(&OfKind { kind }).set(ours);
        }
        metrics.roles.clear();
        for (reason, count) in by_reason {
            metrics.roles.get_or_create(&OfReason { reason }).set(count);
        }
        metrics.restricted.clear();
        for (account, count) in restricted {
            metrics
                .restricted
                .get_or_create(&OfAccount { account })
                .set(count);
        }
        metrics.role_accounts.clear();
        for ((account, state), count) in by_state {
            let labels = StateInAccount { account, state };
            metrics.role_accounts.get_or_create(&labels).set(count);
        }
        let all = self.stores.accounts.state();
        let served = all.iter().filter(|a| self.serves_session(&a.spec.session_ref));
        metrics
            .accounts
            .set(i64::try_from(served.count()).unwrap_or(i64::MAX));
        let accounts: Vec<Arc<Account>> = self.live.read().values().cloned().collect();
        metrics.retain_accounts(&accounts.iter().map(|live| live.name.as_str()).collect());
        metrics.rate.clear();
        metrics.bucket_level.clear();
        metrics.sweep_age.clear();
        metrics.sweep_overdue.clear();
        metrics.orphaned.clear();
        metrics.violating.clear();
        metrics.sweep_seconds.clear();
        metrics
            .accounts_held
            .set(i64::try_from(accounts.len()).unwrap_or(i64::MAX));
        for live in &accounts {
            let account = OfAccount {
                account: live.name.clone(),
            };
            let (rate, level) = live.bucket_level();
            metrics.rate.get_or_create(&account).set(rate);
            metrics.bucket_level.get_or_create(&account).set(level);
            metrics
                .sweep_overdue
                .get_or_create(&account)
                .set(self.overdue(live));
            let counts = self.progress(&live.name, |p| p.counts);
            let gauge = |family: &Family<OfAccount, Gauge>, count: u32| {
                family.get_or_create(&account).set(count.into());
            };
            gauge(&metrics.orphaned, counts.orphaned);
            gauge(&metrics.violating, counts.violating);
            if let Some((at, took)) = self.progress(&live.name, |p| p.swept) {
                metrics
                    .sweep_age
                    .get_or_create(&account)
                    .set(at.elapsed().as_secs_f64());
                metrics
                    .sweep_seconds
                    .get_or_create(&account)
                    .set(took.as_secs_f64());
            }
        }
        metrics.session_left.clear();
        let now = Timestamp::now();
        for session in self.stores.sessions.state() {
            let session = session.name_any();
            if !self.serves_session(&session) || !view.holds(&session) {
                continue;
            }
            let open = self.sessions.current(&session);
            let left = open.map_or(0.0, |open| {
                open.expires_at.duration_since(now).as_secs_f64().max(0.0)
            });
            metrics
                .session_left
                .get_or_create(&OfSession { session })
                .set(left);
        }
        self.waiting.prune(&self.stores.roles);
        self.waiting.prune(&self.stores.accounts);
        self.waiting.prune(&self.stores.sessions);
        for (kind, waiting) in self.waiting.counts() {
            metrics.queue.get_or_create(&OfKind { kind }).set(waiting);
        }
    }

    /// For how many seconds a sweep of the account should have gone through and has not, whatever was tried meanwhile.
    fn overdue(&self, live: &Account) -> f64 {
        let Some(open) = self.sessions.current(&live.spec.session_ref) else {
            return 0.0;
        };
        if live.spec.suspend {
            return 0.0;
        }
        // Before the unlock nothing could be done.
        let open_for = Timestamp::now().duration_since(open.opened_at).as_secs_f64();
        let swept = self.progress(&live.name, |p| p.swept);
        let late = swept.map_or(f64::INFINITY, |(at, _)| {
            at.elapsed().as_secs_f64() - Duration::from(live.spec.drift_interval).as_secs_f64()
        });
        late.min(open_for).max(0.0)
    }

    /// Whether others write the statuses of roles, too: replicas, or controllers for other sessions.
    pub fn shares_roles(&self) -> bool {
        self.shards.are_shared() || !self.options.sessions.is_empty()
    }

    /// The accounts whose sessions other controllers look after.
    pub fn foreign_accounts(&self) -> HashSet<String> {
        if self.options.sessions.is_empty() {
            return HashSet::new();
        }
        let accounts = self.stores.accounts.state();
        let foreign = accounts
            .iter()
            .filter(|account| !self.serves_session(&account.spec.session_ref));
        foreign.map(|account| account.name_any()).collect()
    }

    /// Whether this process looks after the session of the account. Of one that has no object nobody knows.
    pub fn serves_session_of(&self, account: &str) -> bool {
        if self.options.sessions.is_empty() {
            return true;
        }
        let account = self.stores.accounts.get(&ObjectRef::new(account));
        account.is_none_or(|account| self.serves_session(&account.spec.session_ref))
    }

    /// Whether this process looks after the session.
    pub fn serves_session(&self, name: &str) -> bool {
        self.options.sessions.is_empty() || self.options.sessions.iter().any(|s| s == name)
    }

    /// Owner tag of an `IamRole`.
    pub fn owner(&self, namespace: &str, name: &str) -> String {
        owner(&self.options.cluster, namespace, name)
    }

    /// Owner tag of this `IamRole`.
    pub fn owner_of(&self, role: &IamRole) -> String {
        let metadata = &role.metadata;
        self.owner(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// What all owner tags of this cluster begin with.
    pub fn owner_prefix(&self) -> String {
        format!("{}/", self.options.cluster)
    }

    /// The live account of an object: made anew when its spec has changed.
    pub fn live(&self, object: &AwsAccount) -> Arc<Account> {
        let name = object.name_any();
        let mut all = self.live.write();
        if let Some(live) = all
            .get(&name)
            .filter(|live| live.spec == object.spec && live.is_held())
        {
            return live.clone();
        }
        let environment = AccountEnvironment {
            aws: self.aws.clone(),
            shutdown: self.shutdown.clone(),
            lease_term: self.shards.lease_term(&name).clone(),
            in_flight: self.in_flight.clone(),
            observer: self.metrics.clone(),
            namespace: self.options.namespace.clone(),
            owner_prefix: self.owner_prefix(),
        };
        let live = Account::new(&name, object.spec.clone(), environment);
        let same = |before: &&Arc<Account>| {
            before.is_held()
                && before.spec.account_id == object.spec.account_id
                && before.spec.partition == object.spec.partition
        };
        if let Some(before) = all.get(&name).filter(same) {
            live.snapshot.lock().inherit(&before.snapshot.lock());
        }
        all.insert(name.clone(), live.clone());
        drop(all);
        // A new account knows no role yet: it is swept before anything is decided.
        self.progress(&name, |p| {
            p.due = None;
            p.session = None;
        });
        self.wake_account(&name);
        live
    }

    /// Whether the account's snapshot holds a role of this owner.
    pub fn holds(&self, account: &str, owner: &str) -> bool {
        let live = self.live.read().get(account).cloned();
        live.is_some_and(|live| live.snapshot.lock().holds(owner))
    }

    /// Whether the account has a role of this owner, or may have one called `role_name`. `None`: that is to be read first.
    pub fn may_hold(&self, account: &str, role_name: &str, owner: &str) -> Option<bool> {
        let live = self.live.read().get(account).cloned()?;
        live.snapshot.lock().may_hold(role_name, owner)
    }

    /// Other objects that describe the same AWS account.
    pub fn siblings(&self, account: &AwsAccount) -> Vec<Arc<AwsAccount>> {
        self.stores.accounts.state_filter(|other| {
            other.metadata.name != account.metadata.name && is_same_account(other, account)
        })
    }

    /// Of several objects that describe one AWS account, the one that acts in place of this one: the oldest that is not being
    /// deleted. Two that act would undo each other's work.
    pub fn acts_instead(&self, account: &AwsAccount) -> Option<Arc<AwsAccount>> {
        let rank = |account: &AwsAccount| {
            let created = account.metadata.creation_timestamp.as_ref().map(|t| t.0);
            let deleting = account.metadata.deletion_timestamp.is_some();
            (deleting, created, account.metadata.uid.clone())
        };
        let siblings = self.siblings(account);
        let first = siblings.into_iter().min_by_key(|other| rank(other))?;
        (rank(&first) < rank(account)).then_some(first)
    }

    /// The object that acts in place of this account, as its last reconcile found.
    pub fn yields_to(&self, account: &str) -> Option<String> {
        self.progress.lock().get(account)?.yields_to.clone()
    }

    /// Whether the account's roles can be read, as far as that is known now. What fails for good does not count, nor what
    /// has failed often.
    pub fn can_be_read(&self, account: &AwsAccount) -> bool {
        let session = &account.spec.session_ref;
        let open = match self.sessions.state(session, Timestamp::now()) {
            SessionState::Open(_) => true,
            SessionState::Pending => self.stores.sessions.get(&ObjectRef::new(session)).is_some(),
            SessionState::Locked(_) => false,
        };
        let fails = |p: &mut AccountProgress| {
            let failure = p.failure.as_ref();
            let failed = |(reason, _): &(Reason, String)| !reason.is_reconciling() || p.failures > PATIENCE;
            p.yields_to.is_some() || failure.is_some_and(failed)
        };
        open && !account.spec.suspend && !self.progress(&account.name_any(), fails)
    }

    /// Asks for a sweep of an account whose roles this process has not read, or that has a role in doubt. The first sweep
    /// comes by itself.
    pub fn want_first_sweep(&self, account: &AwsAccount) {
        let name = account.name_any();
        let live = self.live.read().get(&name).cloned();
        if live.is_some_and(|live| live.snapshot.lock().is_complete()) {
            self.want_sweep(&name);
        }
    }

    /// Nothing is left of the role in the account.
    pub fn removed(&self, key: &ObjectRef<IamRole>, account: &str) {
        let mut removals = self.removals.lock();
        removals
            .entry(self.id(key))
            .or_default()
            .insert(account.to_owned());
    }

    /// Whether this process has found that nothing is left of the role in the account, and has seen none of it since.
    pub fn is_removed(&self, key: &ObjectRef<IamRole>, account: &str, owner: &str) -> bool {
        let removals = self.removals.lock();
        let removed = removals
            .get(&self.id(key))
            .is_some_and(|done| done.contains(account));
        drop(removals);
        removed && !self.holds(account, owner)
    }

    /// What stands for a role in our tables: its namespace and name in 8 bytes.
    pub fn id(&self, key: &ObjectRef<IamRole>) -> u64 {
        self.hasher.hash_one(key)
    }

    /// What the account's roles depend on.
    pub fn inputs(&self, account: &AwsAccount) -> Inputs {
        let session = self
            .stores
            .sessions
            .get(&ObjectRef::new(&account.spec.session_ref));
        let session = session.map(|session| (session.spec.account_id.clone(), session.spec.role_arn.clone()));
        (account.metadata.generation, account.labels().clone(), session)
    }

    /// A hash that means nothing outside this process.
    pub fn hash(&self, value: impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    /// Every role that wants this name in AWS, in whatever account. IAM's names are unique without case.
    pub fn namesakes(&self, role_name: &str) -> Vec<Arc<IamRole>> {
        let keys = self.stores.names.wanted_by(&role_name.to_lowercase());
        keys.iter().filter_map(|key| self.stores.roles.get(key)).collect()
    }

    /// The account is gone.
    pub fn forget_account(&self, name: &str) {
        if let Some(live) = self.live.write().remove(name) {
            live.retire();
        }
        self.progress.lock().remove(name);
    }

    /// Reads or changes how far an account is.
    pub fn progress<T>(&self, account: &str, f: impl FnOnce(&mut AccountProgress) -> T) -> T {
        f(self.progress.lock().entry(account.to_owned()).or_default())
    }

    /// AWS refused the session: it is not used again, and its object says so.
    pub fn refuse_session(&self, name: &str, session: &OpenSession, why: &impl Display) {
        self.sessions.reject(name, session, &why.to_string());
        self.wake_session(name);
    }

    /// Asks for a sweep soon.
    pub fn want_sweep(&self, account: &str) {
        self.progress(account, |p| p.wanted = true);
        self.wake_account(account);
    }

    /// How the changes of a role have failed in an account.
    pub fn failing(&self, account: &str, role: u64) -> Option<Failing> {
        self.progress.lock().get(account)?.failing.get(&role).cloned()
    }

    /// A role's state in the account has changed: the account's counts are made again, once for all changes of the next moment.
    pub fn recount(&self, account: &str) {
        let pending = match self.progress.lock().get_mut(account) {
            Some(progress) => std::mem::replace(&mut progress.recount, true),
            // Nobody looks after it here.
            None => true,
        };
        if !pending {
            let (queue, key) = (self.queues.accounts.clone(), ObjectRef::new(account));
            tokio::spawn(async move {
                tokio::time::sleep(RECOUNT).await;
                // A closed queue means that the process goes down.
                let _ = queue.send(key);
            });
        }
    }

    /// Asks for a sweep on behalf of a user.
    pub fn request_sweep(&self, account: &str) {
        self.progress(account, |p| p.request(Instant::now()));
        self.wake_account(account);
    }

    /// The account's reconcile annotation, when its value was not seen before. The first look after a start is no request.
    pub fn account_newly_forced(&self, account: &AwsAccount) -> bool {
        let value = account.annotations().get(RECONCILE_ANNOTATION);
        let value = value.map(String::as_str).unwrap_or_default();
        let hash = self.hasher.hash_one(value);
        let before = self.progress(&account.name_any(), |p| p.forced.replace(hash));
        before.is_some_and(|before| before != hash) && !value.is_empty()
    }

    /// Puts an account in its queue.
    pub fn wake_account(&self, name: &str) {
        // A closed queue means that the process goes down.
        let key = ObjectRef::new(name);
        self.waiting.enter(&key);
        let _ = self.queues.accounts.send(key);
    }

    /// Puts a role in its queue.
    pub fn wake_role(&self, key: ObjectRef<IamRole>) {
        self.waiting.enter(&key);
        let _ = self.queues.roles.send(key);
    }

    /// Puts the roles of a namespace in their queue whose accounts may have another mind of it since its labels changed.
    pub fn wake_roles_in(&self, namespace: &str) {
        let by_labels = self
            .stores
            .accounts
            .state_filter(|account| account.spec.allowed_namespaces.selector.is_some());
        if by_labels.is_empty() {
            return;
        }
        let roles = self.stores.roles.state_filter(|role| {
            role.metadata.namespace.as_deref() == Some(namespace)
                && by_labels.iter().any(|account| targets(role, account))
        });
        for role in roles {
            self.wake_role(ObjectRef::from_obj(&*role));
        }
    }

    /// What the roles of an account are judged by.
    pub fn case<'a>(
        &'a self,
        account: &'a AwsAccount,
        session: Option<&'a MfaSessionSpec>,
        works_through: &'a BTreeSet<String>,
    ) -> AccountCase<'a> {
        AccountCase {
            object: account,
            session,
            works_through,
            quotas: None,
            documents: &self.documents,
        }
    }

    /// A role that wants to be in an account. `live` is the account as this process knows it, once it was read.
    pub fn applicant<'a>(
        &self,
        role: &'a IamRole,
        account: &AwsAccount,
        live: Option<&Account>,
    ) -> Applicant<'a> {
        let owner = self.owner_of(role);
        let namespace = role.metadata.namespace.as_deref().unwrap_or_default();
        Applicant {
            role,
            // Labels that have not arrived yet may admit it: it must not lose a name to somebody who came later.
            is_admitted: self.admits(account, namespace) || self.waits_for_labels(account, namespace),
            role_id: live.and_then(|live| live.snapshot.lock().claimed(name_in_aws(role), &owner)),
            owner,
        }
    }

    /// Returns true if the account lets the namespace use it, by its `allowedNamespaces`.
    pub fn admits(&self, account: &AwsAccount, namespace: &str) -> bool {
        let found = self.stores.namespaces.get(&ObjectRef::new(namespace));
        admits(account, namespace, found.as_ref().map(|found| found.labels()))
    }

    /// Asks the API server whether the account admits the namespace, where that depends on labels: the cache may trail, or stand still
    /// while its watch fails, and no role is to be made on labels that are gone.
    ///
    /// # Errors
    /// When the API server does not answer. Nothing may be written then.
    pub async fn confirm_admission(&self, account: &AwsAccount, namespace: &str) -> Result<bool, Error> {
        if account.spec.allowed_namespaces.selector.is_none() {
            return Ok(self.admits(account, namespace));
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = bounded_call(api.get_opt(namespace)).await;
        let found = found.map_err(Error::kube("could not read the namespace"))?;
        Ok(admits(
            account,
            namespace,
            found.as_ref().map(kube::ResourceExt::labels),
        ))
    }

    /// Returns true if the account asks for labels of a namespace that is in no cache yet.
    pub fn waits_for_labels(&self, account: &AwsAccount, namespace: &str) -> bool {
        may_admit(account, namespace)
            && account.spec.allowed_namespaces.selector.is_some()
            && self.stores.namespaces.get(&ObjectRef::new(namespace)).is_none()
    }

    /// Puts a session in its queue.
    pub fn wake_session(&self, name: &str) {
        let key = ObjectRef::new(name);
        self.waiting.enter(&key);
        let _ = self.queues.sessions.send(key);
    }

    /// All roles that name the account or stand in it.
    pub fn roles_of(&self, account: &AwsAccount) -> Vec<Arc<IamRole>> {
        self.stores
            .roles
            .state_filter(|role| targets(role, account) || stands_in(role, &account.name_any()))
    }

    /// The value of the reconcile annotation, when it was not seen before. The first look after a start is no request.
    pub fn newly_forced(&self, key: &ObjectRef<IamRole>, value: Option<&str>) -> bool {
        let value = value.unwrap_or_default();
        let hash = self.hasher.hash_one(value);
        let before = self.forced.lock().insert(self.id(key), hash);
        before.is_some_and(|before| before != hash) && !value.is_empty()
    }

    /// Whether this generation of the role was not warned of yet. From now on it was.
    pub fn newly_warned(&self, role: &IamRole) -> bool {
        let generation = role.metadata.generation;
        let id = self.id(&ObjectRef::from_obj(role));
        self.warned.lock().insert(id, generation) != Some(generation)
    }

    /// The API server made a reconcile of the object fail: how many times in a row.
    pub fn api_failed<K: Resource>(&self, object: &K) -> u32 {
        let mut failures = self.api_failures.lock();
        // Of objects that were deleted meanwhile nobody tells.
        if failures.len() > 100_000 {
            failures.clear();
        }
        let count = failures
            .entry(self.hasher.hash_one(&object.meta().uid))
            .or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// A reconcile of the object went through.
    pub fn api_answered<K: Resource>(&self, object: &K) {
        let id = self.hasher.hash_one(&object.meta().uid);
        self.api_failures.lock().remove(&id);
    }

    /// Counts one more pass that left something to wait for. Returns how many in a row.
    pub fn unfinished(&self, key: &ObjectRef<IamRole>) -> u32 {
        let mut unfinished = self.unfinished.lock();
        let count = unfinished.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// The role is as it should be, or a user must act: nothing is waited for any more.
    pub fn finished(&self, key: &ObjectRef<IamRole>) {
        self.unfinished.lock().remove(key);
    }

    /// The role's object is gone.
    pub fn forget_role(&self, key: &ObjectRef<IamRole>, uid: Option<&str>) {
        let id = self.id(key);
        self.unfinished.lock().remove(key);
        self.forced.lock().remove(&id);
        self.warned.lock().remove(&id);
        self.removals.lock().remove(&id);
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let owner = self.owner(namespace, &key.name);
        let accounts: Vec<Arc<Account>> = self.live.read().values().cloned().collect();
        for account in accounts {
            account.snapshot.lock().end_claims(&owner);
        }
        for progress in self.progress.lock().values_mut() {
            progress.settled.remove(&id);
            progress.failing.remove(&id);
        }
        if let Some(uid) = uid {
            self.written.lock().remove(&self.hasher.hash_one(uid));
        }
    }

    /// Writes a status of `object`, unless the API server has it already. Server-side apply, so that nobody else's field is touched.
    pub async fn patch_status<K, S>(
        &self,
        api: &Api<K>,
        object: &K,
        before: Option<&S>,
        status: &S,
        others: Others,
    ) -> Result<Patched, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
        S: Serialize + Sync,
    {
        let uid = self.hasher.hash_one(object.uid().unwrap_or_default());
        let body = serde_json::to_string(status).unwrap_or_default();
        let hash = self.hasher.hash_one(&body);
        // The cache may trail our own last write, so it alone does not prove that nothing changed.
        let trailing = self
            .written
            .lock()
            .get(&uid)
            .is_some_and(|written| *written != hash);
        // Compared as written: the API keeps times to the second.
        let unchanged = before
            .and_then(|b| serde_json::to_string(b).ok())
            .is_some_and(|b| b == body);
        if unchanged && !trailing {
            return Ok(Patched::Unchanged);
        }
        let mut patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": object.name_any()},
            "status": status,
        });
        if others == Others::Write
            && let Some(metadata) = patch.get_mut("metadata").and_then(|m| m.as_object_mut())
        {
            metadata.insert("resourceVersion".to_owned(), json!(object.resource_version()));
        }
        let version = match apply_status(&self.client, api.resource_url(), &object.name_any(), &patch).await {
            Ok(version) => version,
            // Deleted meanwhile: there is nothing to say any more.
            Err(kube::Error::Api(e)) if e.code == 404 => return Ok(Patched::Unchanged),
            Err(kube::Error::Api(e)) if e.code == 409 && others == Others::Write => {
                return Ok(Patched::Stale);
            }
            Err(error) => return Err(Error::kube("could not write the status")(error)),
        };
        self.written.lock().insert(uid, hash);
        self.metrics.wrote_status(static_kind(&K::kind(&())));
        Ok(Patched::Written(version))
    }

    /// Adds or removes our finalizer. Returns the object's version since, where nobody else has written meanwhile.
    pub async fn set_finalizer<K>(
        &self,
        api: &Api<K>,
        object: &K,
        wanted: bool,
    ) -> Result<Option<String>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        if object.finalizers().iter().any(|f| f == FINALIZER) == wanted {
            return Ok(object.resource_version());
        }
        let mut finalizers: Vec<&str> = object
            .finalizers()
            .iter()
            .map(String::as_str)
            .filter(|f| *f != FINALIZER)
            .collect();
        if wanted {
            finalizers.push(FINALIZER);
        }
        // With the resource version: another's finalizer that we have not seen is never lost.
        let patch =
            json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
        match bounded_call(api.patch_metadata(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        ))
        .await
        {
            Ok(now) => Ok(now.metadata.resource_version),
            Err(kube::Error::Api(e)) if e.code == 404 && !wanted => Ok(None),
            Err(kube::Error::Api(e)) if e.code == 409 => {
                // What the others have written since may be a reason not to.
                if !wanted && self.shares_roles() {
                    return Err(Error::Contended);
                }
                // Our cache trails: take the finalizers as they are now.
                let now = bounded_call(api.get_opt(&object.name_any())).await;
                let now = now.map_err(Error::kube("could not read the object"))?;
                // Another replica may have let it go.
                let Some(now) = now else {
                    return if wanted {
                        Err(Error::Incomplete("itself"))
                    } else {
                        Ok(None)
                    };
                };
                if now.uid() != object.uid() {
                    return Err(Error::Incomplete("the same uid"));
                }
                if now.finalizers().iter().any(|f| f == FINALIZER) == wanted {
                    return Ok(None);
                }
                let mut finalizers: Vec<String> = now
                    .finalizers()
                    .iter()
                    .filter(|f| *f != FINALIZER)
                    .cloned()
                    .collect();
                if wanted {
                    finalizers.push(FINALIZER.to_owned());
                }
                let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": now.resource_version()}});
                let (name, params, patch) = (object.name_any(), PatchParams::default(), Patch::Merge(&patch));
                let done = api.patch_metadata(&name, &params, &patch);
                let done = bounded_call(done).await;
                done.map(|_| None)
                    .map_err(Error::kube("could not write the finalizer"))
            }
            Err(error) => Err(Error::kube("could not write the finalizer")(error)),
        }
    }

    /// API of a namespaced object's own namespace.
    pub fn api_of<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

/// Applies a status. Returns the object's version since. Of the answer only the metadata is asked for: the rest is what we have just sent, and may be large.
pub async fn apply_status(
    client: &Client,
    resource_url: &str,
    name: &str,
    patch: &serde_json::Value,
) -> kube::Result<Option<String>> {
    let params = PatchParams::apply(MANAGER).force();
    let request = Request::new(resource_url).patch_subresource("status", name, &params, &Patch::Apply(patch));
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA_ONLY);
    // As text: `managedFields` can be nested more deeply than a parser follows.
    let answer = bounded_call(client.request_text(request)).await?;
    Ok(objects::version(answer.as_bytes()))
}

fn recorder(client: Client) -> Recorder {
    let reporter = Reporter {
        controller: MANAGER.to_owned(),
        instance: None,
    };
    Recorder::new(client, reporter)
}

/// Whether two objects describe one AWS account.
pub fn is_same_account(one: &AwsAccount, other: &AwsAccount) -> bool {
    (&one.spec.account_id, &one.spec.partition) == (&other.spec.account_id, &other.spec.partition)
}

/// What the role's status says of the account.
pub fn entry_in<'a>(role: &'a IamRole, account: &str) -> Option<&'a AccountStatus> {
    role.status
        .iter()
        .flat_map(|s| &s.accounts)
        .find(|a| a.name == account)
}

/// Whether the role's status says that it stands, or may stand, in the account.
pub fn stands_in(role: &IamRole, account: &str) -> bool {
    let groups = role.status.iter().flat_map(|s| &s.more_accounts);
    entry_in(role, account).is_some() || groups.flat_map(|g| &g.names).any(|name| name == account)
}

/// How long to wait after so many failures in a row: doubled from the first wait up to the longest, and spread.
pub fn backoff(failures: u32, (first, longest): (Duration, Duration)) -> Duration {
    let doubled = first
        .saturating_mul(2_u32.saturating_pow(failures.min(10).saturating_sub(1)))
        .min(longest);
    doubled.mul_f64(rand::random_range(0.75..1.25))
}

/// Distinct names, in order.
pub fn distinct(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names
        .into_iter()
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_can_have_an_account_swept_once_in_ten_seconds() {
        let start = Instant::now();
        let mut p = AccountProgress {
            due: Some(start + Duration::from_mins(5)),
            ..AccountProgress::default()
        };
        p.request(start);
        assert!(std::mem::take(&mut p.wanted), "the first one is served at once");
        for second in 1..10 {
            p.request(start + Duration::from_secs(second));
            assert!(!p.wanted);
            assert_eq!(p.due, Some(start + REQUEST_PAUSE), "put off, not left out");
        }
        // The sweep that was put off has been made.
        p.due = Some(start + Duration::from_mins(5));
        p.request(start + Duration::from_secs(11));
        assert!(!p.wanted);
        assert_eq!(p.due, Some(start + 2 * REQUEST_PAUSE));
        p.due = None;
        p.request(start + Duration::from_mins(1));
        assert!(p.wanted);
    }
}
