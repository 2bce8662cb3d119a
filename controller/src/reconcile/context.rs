//! What the reconcilers share: caches, queues, sessions, live accounts, and what was left where.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt as _};
use parking_lot::{Mutex, RwLock};
use rolectl_crds::{AccountStatus, AwsAccount, IamRole, MfaSession};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use rolectl_aws::account::AccountEnvironment;
use rolectl_aws::actor::propose::SessionView;
use rolectl_aws::actor::{ActorContext, ActorHandle, Actors};
use rolectl_aws::api::Aws;
use rolectl_aws::clock::{Clock, Jitter};
use rolectl_aws::sdk::{SdkAws, base_config};
use rolectl_aws::session::Sessions;
use rolectl_core::names::{RoleKey, owner, owner_of};
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::selection::targets;

use super::account::notes::AccountNotes;
use super::api_writes::{Turns, WrittenStatus};
use super::directory::Reports;
use super::role::reports::RoleReports;
use super::role_names::RoleNames;
use super::session_secret::SecretWatches;
use super::shards::Shards;
use super::store::UnreadableObjects;
use super::waiting::Waiting;
use super::{Options, Shared};
use crate::metrics::Metrics;

/// After how many failed sweeps in a row an account counts as one that cannot be read.
const PATIENCE: u32 = 3;

/// Field manager of everything that we write with server-side apply.
pub const MANAGER: &str = "rolectl-controller";

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
    /// True for each cache that is filled.
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
    pub sessions: Arc<Sessions>,
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
    /// As many events as may be published at a time.
    pub event_turns: Arc<Semaphore>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What waits to be reconciled.
    pub waiting: Waiting,
    /// Secrets that are watched, by `MfaSession`.
    pub secret_watches: SecretWatches,
    /// The actors of our accounts.
    pub actors: Actors,
    actor_tasks: TaskTracker,
    /// What they have reported of roles.
    pub reports: RoleReports,
    /// What the reconciles of accounts keep.
    pub notes: AccountNotes,
    /// Roles that were deleted without their finalizer, and that are still to be removed in AWS.
    pub leftovers: RwLock<HashMap<RoleKey, Arc<IamRole>>>,
    /// Turns of those who set finalizers.
    pub finalizer_turns: Turns,
    /// Reconciles in a row that the API server made fail, by the hash of the object's uid.
    api_failures: Mutex<HashMap<u64, u32>>,
    forced: Mutex<HashMap<u64, u64>>,
    warned: Mutex<HashMap<u64, Option<i64>>>,
    /// Hash of the last status that we wrote, by a hash of the object's uid and of the name of the part.
    pub written: Mutex<HashMap<u64, WrittenStatus>>,
    /// Policy documents of all roles, each parsed once for all accounts and retries.
    pub documents: DocumentCache,
    /// Hashes that mean nothing outside this process.
    pub hasher: RandomState,
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
            sessions: Arc::default(),
            aws: SdkAws::new(base_config().await),
            shutdown,
            shards: Arc::new(shards),
            in_flight,
            event_turns: Arc::new(Semaphore::new(4)),
            metrics,
            waiting: Waiting::default(),
            secret_watches: SecretWatches::default(),
            actors: Actors::default(),
            actor_tasks: TaskTracker::new(),
            reports: RoleReports::default(),
            notes: AccountNotes::default(),
            leftovers: RwLock::default(),
            finalizer_turns: Turns::default(),
            api_failures: Mutex::default(),
            forced: Mutex::default(),
            warned: Mutex::default(),
            written: Mutex::default(),
            documents: DocumentCache::default(),
            hasher: RandomState::new(),
        })
    }

    /// A recorder that remembers nothing.
    pub fn new_recorder(&self) -> Recorder {
        recorder(self.client.clone())
    }

    /// Returns true if all caches are filled.
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

    /// Returns true if this process looks after the account.
    pub fn serves(&self, account: &AwsAccount) -> bool {
        self.serves_session(&account.spec.session_ref) && self.shards.hold(&account.name_any())
    }

    /// Returns true if the accounts are divided between replicas, or between controllers for different sessions.
    pub fn is_divided(&self) -> bool {
        self.shards.count() > 1 || !self.options.sessions.is_empty()
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

    /// Returns true if this process looks after all sessions.
    pub fn serves_all_sessions(&self) -> bool {
        self.options.sessions.is_empty()
    }

    /// Returns true if this process looks after the session of the account. The session of an account without object is not known, and
    /// counts as ours.
    pub fn serves_session_of(&self, account: &str) -> bool {
        if self.options.sessions.is_empty() {
            return true;
        }
        let account = self.stores.accounts.get(&ObjectRef::new(account));
        account.is_none_or(|account| self.serves_session(&account.spec.session_ref))
    }

    /// Returns true if this process looks after the session.
    pub fn serves_session(&self, name: &str) -> bool {
        self.options.sessions.is_empty() || self.options.sessions.iter().any(|s| s == name)
    }

    /// Owner tag of an `IamRole`.
    pub fn owner(&self, namespace: &str, name: &str) -> String {
        owner(&self.options.cluster, namespace, name)
    }

    /// Owner tag of this `IamRole`.
    pub fn owner_of(&self, role: &IamRole) -> String {
        owner_of(&self.options.cluster, role)
    }

    /// What all owner tags of this cluster begin with.
    pub fn owner_prefix(&self) -> String {
        format!("{}/", self.options.cluster)
    }

    /// The actor of an account, which is started if there is none. Returns true if it was.
    pub fn actor_for(self: &Arc<Self>, object: &Arc<AwsAccount>) -> (Arc<ActorHandle>, bool) {
        let name = object.name_any();
        if let Some(actor) = self.actors.get(&name) {
            return (actor, false);
        }
        let environment = AccountEnvironment {
            aws: self.aws.clone(),
            shutdown: self.shutdown.clone(),
            lease_term: self.shards.lease_term(&name).clone(),
            in_flight: self.in_flight.clone(),
            observer: self.metrics.clone(),
            namespace: self.options.namespace.clone(),
            owner_prefix: self.owner_prefix(),
            clock: Clock::Host,
            jitter: Jitter::default(),
        };
        let context = ActorContext {
            directory: self.clone(),
            reporter: Arc::new(Reports(self.clone())),
            sessions: self.sessions.clone(),
            principal_patience: self.options.principal_patience,
        };
        let (handle, actor) = self.actors.start(object.clone(), environment, context);
        self.actor_tasks.spawn(actor);
        (handle, true)
    }

    /// Returns once every actor has ended. Actors end when the process shuts down.
    pub async fn actors_have_ended(&self) {
        self.actor_tasks.close();
        self.actor_tasks.wait().await;
    }

    /// Returns true if the account's snapshot has a role of this owner.
    pub fn has_role_of(&self, account: &str, owner: &str) -> bool {
        let actor = self.actors.get(account);
        actor.is_some_and(|actor| actor.account().snapshot.lock().has_role_of(owner))
    }

    /// Returns true if the account has a role of this owner, or may have one called `role_name`. `None`: a sweep must show it first.
    pub fn may_have_role(&self, account: &str, role_name: &str, owner: &str) -> Option<bool> {
        let account = self.actors.get(account)?.account();
        account.snapshot.lock().may_have_role_of(role_name, owner)
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
    pub fn acting_for(&self, account: &str) -> Option<String> {
        self.notes.acting(account)
    }

    /// Returns true if the account's roles can be read, as far as that is known now. An account that denies access cannot, nor one
    /// whose sweeps have failed often.
    pub fn can_be_read(&self, account: &AwsAccount) -> bool {
        let session = SessionView::of(account, &self.sessions, self, Timestamp::now());
        let open = matches!(session, SessionView::Open(_) | SessionView::Waits);
        let name = account.name_any();
        let report = self.actors.get(&name).map(|actor| actor.report());
        let fails = report.is_some_and(|report| {
            report.is_failing && (!report.reason.is_reconciling() || report.failures > PATIENCE)
        });
        open && !account.spec.suspend && self.acting_for(&name).is_none() && !fails
    }

    /// The key of a role in small tables: a hash of its namespace and name.
    fn id(&self, key: &RoleKey) -> u64 {
        self.hasher.hash_one(key)
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

    /// This process does not look after the account any more.
    pub fn forget_account(&self, name: &str) {
        self.actors.stop(name);
        self.notes.forget(name);
    }

    /// All roles that select the account or have it in their status.
    pub fn roles_of(&self, account: &AwsAccount) -> Vec<Arc<IamRole>> {
        self.stores
            .roles
            .state_filter(|role| targets(role, account) || stands_in(role, &account.name_any()))
    }

    /// The value of the reconcile annotation, when it was not seen before. The first look after a start is no request.
    pub fn newly_forced(&self, key: &RoleKey, value: Option<&str>) -> bool {
        let value = value.unwrap_or_default();
        let hash = self.hasher.hash_one(value);
        let before = self.forced.lock().insert(self.id(key), hash);
        before.is_some_and(|before| before != hash) && !value.is_empty()
    }

    /// Returns true if no warning about this generation of the role was published, and records that one is now.
    pub fn newly_warned(&self, role: &IamRole) -> bool {
        let generation = role.metadata.generation;
        let id = self.id(&RoleKey::of(role));
        self.warned.lock().insert(id, generation) != Some(generation)
    }

    /// The API server made a reconcile of the object fail: how many times in a row.
    pub fn api_failed<K: Resource>(&self, object: &K) -> u32 {
        let mut failures = self.api_failures.lock();
        // Entries of deleted objects are not removed one by one.
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

    /// The role's object is deleted. Returns the accounts whose actors looked after it.
    pub fn forget_role(&self, key: &RoleKey, uid: Option<&str>) -> HashSet<String> {
        let id = self.id(key);
        self.forced.lock().remove(&id);
        self.warned.lock().remove(&id);
        let owner = self.owner(&key.namespace, &key.name);
        for actor in self.actors.all() {
            actor.account().snapshot.lock().end_claims(&owner);
        }
        let asked = self.reports.forget(key);
        for account in &asked {
            if let Some(actor) = self.actors.get(account) {
                actor.release(key.clone());
            }
        }
        if let Some(uid) = uid {
            self.forget_written(uid);
        }
        asked.iter().map(ToString::to_string).collect()
    }

    /// API of a namespaced object's own namespace.
    pub fn api_of<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

fn recorder(client: Client) -> Recorder {
    let reporter = Reporter {
        controller: MANAGER.to_owned(),
        instance: None,
    };
    Recorder::new(client, reporter)
}

/// Returns true if two objects describe the same AWS account.
pub fn is_same_account(one: &AwsAccount, other: &AwsAccount) -> bool {
    (&one.spec.account_id, &one.spec.partition) == (&other.spec.account_id, &other.spec.partition)
}

/// What the role's status says of the account.
pub fn entry_in<'a>(role: &'a IamRole, account: &str) -> Option<&'a AccountStatus> {
    let status = role.status.as_ref()?;
    let parts = status.shards.iter().flat_map(|part| &part.accounts);
    parts.chain(&status.accounts).find(|a| a.name == account)
}

/// Returns true if the role's status has an entry for the account.
pub fn stands_in(role: &IamRole, account: &str) -> bool {
    entry_in(role, account).is_some()
}

/// Distinct names, in order.
pub fn distinct(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names
        .into_iter()
        .filter(|name| seen.insert(name.clone()))
        .collect()
}
