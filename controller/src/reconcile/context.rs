//! What the reconcilers share: caches, queues, sessions, live accounts, and what was left where.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt as _};
use parking_lot::{Mutex, RwLock};
use rolectl_crds::{AccountStatus, AwsAccount, FINALIZER, IamRole, MfaSession, Reason};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Error, Options, Shared};
use crate::aws::account::Account;
use crate::aws::session::{OpenSession, Sessions};
use crate::role::desired;
use crate::role::targets;

/// Field manager of everything that we write with server-side apply.
pub const MANAGER: &str = "rolectl-controller";

/// Caches of the three kinds.
pub struct Stores {
    /// Roles.
    pub roles: Store<IamRole>,
    /// Accounts.
    pub accounts: Store<AwsAccount>,
    /// Sessions.
    pub sessions: Store<MfaSession>,
    /// Whether each of them is filled.
    pub filled: [watch::Receiver<bool>; 3],
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

/// How a role was left in an account. While neither half changes there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Generation of the `IamRole`.
    pub generation: Option<i64>,
    /// Fingerprint of the role in AWS, `None` where there is none.
    pub fingerprint: Option<u64>,
}

/// Where the sweeps of an account stand.
#[derive(Clone, Debug, Default)]
pub struct AccountProgress {
    /// When the next sweep is due.
    pub due: Option<Instant>,
    /// A sweep was asked for.
    pub wanted: bool,
    /// Number of the session that the snapshot was made on.
    pub session: Option<u64>,
    /// Why the account cannot be worked on, if it cannot.
    pub failure: Option<(Reason, String)>,
    /// Failures in a row.
    pub failures: u32,
    /// Hash of the parts of the object that roles depend on.
    pub seen: Option<(Option<i64>, BTreeMap<String, String>)>,
    /// How each role was left here.
    pub settled: HashMap<ObjectRef<IamRole>, Settled>,
    /// Whether the roles know already that no call may be made.
    pub parked: bool,
    /// Owners without object that were already reported.
    pub orphans: Vec<String>,
}

/// Failures of one role in a row.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
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
    /// The SDK's configuration without credentials.
    pub base: SdkConfig,
    /// Cancelled when the process goes down.
    pub shutdown: CancellationToken,
    /// Secrets that are watched, by `MfaSession`.
    pub secret_watches: Mutex<HashMap<String, String>>,
    live: RwLock<HashMap<String, Arc<Account>>>,
    progress: Mutex<HashMap<String, AccountProgress>>,
    failures: Mutex<HashMap<ObjectRef<IamRole>, Failures>>,
    forced: Mutex<HashMap<ObjectRef<IamRole>, String>>,
    warned: Mutex<HashMap<ObjectRef<IamRole>, Option<i64>>>,
    written: Mutex<HashMap<String, String>>,
}

impl Context {
    /// A context with nothing known yet.
    pub async fn new(
        client: Client,
        options: Options,
        stores: Stores,
        queues: Queues,
        shutdown: CancellationToken,
    ) -> Shared {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: None,
        };
        Arc::new(Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            options,
            stores,
            queues,
            sessions: Sessions::default(),
            base: crate::aws::base_config().await,
            shutdown,
            secret_watches: Mutex::default(),
            live: RwLock::default(),
            progress: Mutex::default(),
            failures: Mutex::default(),
            forced: Mutex::default(),
            warned: Mutex::default(),
            written: Mutex::default(),
        })
    }

    /// Returns once all caches hold what the API server had. Nothing may be concluded from absence before.
    pub async fn caches_filled(&self) {
        for filled in &self.stores.filled {
            // A closed channel means that the process goes down.
            let _ = filled.clone().wait_for(|filled| *filled).await;
        }
    }

    /// Whether this process looks after the session.
    pub fn serves_session(&self, name: &str) -> bool {
        self.options.sessions.is_empty() || self.options.sessions.iter().any(|s| s == name)
    }

    /// Owner tag of an `IamRole`.
    pub fn owner(&self, namespace: &str, name: &str) -> String {
        desired::owner(&self.options.cluster, namespace, name)
    }

    /// What all owner tags of this cluster begin with.
    pub fn owner_prefix(&self) -> String {
        format!("{}/", self.options.cluster)
    }

    /// The live account of an object: made anew when its spec has changed.
    pub fn live(&self, object: &AwsAccount) -> Arc<Account> {
        let name = object.name_any();
        let mut all = self.live.write();
        if let Some(live) = all.get(&name).filter(|live| live.spec == object.spec) {
            return live.clone();
        }
        let live = Account::new(
            &name,
            object.spec.clone(),
            self.base.clone(),
            self.shutdown.clone(),
            &self.options.namespace,
            &self.owner_prefix(),
        );
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

    /// The live accounts whose snapshot holds a role of this owner.
    pub fn holding(&self, owner: &str) -> Vec<String> {
        let live: Vec<Arc<Account>> = self.live.read().values().cloned().collect();
        live.iter()
            .filter(|a| !a.snapshot.lock().owned_by(owner).is_empty())
            .map(|a| a.name.clone())
            .collect()
    }

    /// The account is gone.
    pub fn forget_account(&self, name: &str) {
        self.live.write().remove(name);
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

    /// Puts an account in its queue.
    pub fn wake_account(&self, name: &str) {
        // A closed queue means that the process goes down.
        let _ = self.queues.accounts.send(ObjectRef::new(name));
    }

    /// Puts a role in its queue.
    pub fn wake_role(&self, key: ObjectRef<IamRole>) {
        let _ = self.queues.roles.send(key);
    }

    /// Puts a session in its queue.
    pub fn wake_session(&self, name: &str) {
        let _ = self.queues.sessions.send(ObjectRef::new(name));
    }

    /// All roles that name the account or stand in it.
    pub fn roles_of(&self, account: &AwsAccount) -> Vec<Arc<IamRole>> {
        self.stores
            .roles
            .state_filter(|role| targets(role, account) || stands_in(role, &account.name_any()))
    }

    /// The value of the reconcile annotation, when it was not seen before. The first look after a start is no request.
    pub fn newly_forced(&self, key: &ObjectRef<IamRole>, value: Option<&str>) -> bool {
        let value = value.unwrap_or_default().to_owned();
        let before = self.forced.lock().insert(key.clone(), value.clone());
        before.is_some_and(|before| before != value) && !value.is_empty()
    }

    /// Whether this generation of the role was not warned of yet. From now on it was.
    pub fn newly_warned(&self, role: &IamRole) -> bool {
        let generation = role.metadata.generation;
        self.warned.lock().insert(ObjectRef::from_obj(role), generation) != Some(generation)
    }

    /// One more failure of a role: how many in a row, and since when.
    pub fn failed(&self, key: &ObjectRef<IamRole>) -> (u32, Duration) {
        let mut failures = self.failures.lock();
        let entry = failures.entry(key.clone()).or_insert(Failures {
            count: 0,
            since: Instant::now(),
        });
        entry.count += 1;
        (entry.count, entry.since.elapsed())
    }

    /// How long the role has been failing.
    pub fn failing_for(&self, key: &ObjectRef<IamRole>) -> Duration {
        self.failures
            .lock()
            .get(key)
            .map_or(Duration::ZERO, |f| f.since.elapsed())
    }

    /// The role is as it should be, or a user must act: no failures any more.
    pub fn succeeded(&self, key: &ObjectRef<IamRole>) {
        self.failures.lock().remove(key);
    }

    /// The role's object is gone.
    pub fn forget_role(&self, key: &ObjectRef<IamRole>, uid: Option<&str>) {
        self.failures.lock().remove(key);
        self.forced.lock().remove(key);
        self.warned.lock().remove(key);
        for progress in self.progress.lock().values_mut() {
            progress.settled.remove(key);
        }
        if let Some(uid) = uid {
            self.written.lock().remove(uid);
        }
    }

    /// Writes a status, unless the API server has it already. Server-side apply, so that nobody else's field is touched.
    pub async fn patch_status<K, S>(
        &self,
        api: &Api<K>,
        object: &K,
        before: Option<&S>,
        status: &S,
    ) -> Result<bool, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
        S: Serialize + Sync,
    {
        let uid = object.uid().unwrap_or_default();
        let body = serde_json::to_string(status).unwrap_or_default();
        // The cache may trail our own last write, so it alone does not prove that nothing changed.
        let trailing = self
            .written
            .lock()
            .get(&uid)
            .is_some_and(|written| *written != body);
        // Compared as written: the API keeps times to the second.
        let unchanged = before
            .and_then(|b| serde_json::to_string(b).ok())
            .is_some_and(|b| b == body);
        if unchanged && !trailing {
            return Ok(false);
        }
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": object.name_any()},
            "status": status,
        });
        match api
            .patch_status(
                &object.name_any(),
                &PatchParams::apply(MANAGER).force(),
                &Patch::Apply(&patch),
            )
            .await
        {
            Ok(_) => {}
            // Deleted meanwhile: there is nothing to say any more.
            Err(kube::Error::Api(e)) if e.code == 404 => return Ok(false),
            Err(error) => return Err(Error::kube("could not write the status")(error)),
        }
        self.written.lock().insert(uid, body);
        Ok(true)
    }

    /// Adds or removes our finalizer.
    pub async fn set_finalizer<K>(&self, api: &Api<K>, object: &K, wanted: bool) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        if object.finalizers().iter().any(|f| f == FINALIZER) == wanted {
            return Ok(());
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
        match api
            .patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(e)) if e.code == 404 && !wanted => Ok(()),
            Err(kube::Error::Api(e)) if e.code == 409 => {
                // Our cache trails: take the finalizers as they are now.
                let now = api
                    .get(&object.name_any())
                    .await
                    .map_err(Error::kube("could not read the object"))?;
                if now.uid() != object.uid() {
                    return Err(Error::Incomplete("the same uid"));
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
                let done = api
                    .patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                    .await;
                done.map(|_| ())
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

/// What the role's status says of the account.
pub fn entry_in<'a>(role: &'a IamRole, account: &str) -> Option<&'a AccountStatus> {
    role.status
        .iter()
        .flat_map(|s| &s.accounts)
        .find(|a| a.name == account)
}

/// Whether the role's status says that it stands, or may stand, in the account.
pub fn stands_in(role: &IamRole, account: &str) -> bool {
    entry_in(role, account).is_some()
}

/// `namespace/name`, for people.
pub fn full_name(role: &IamRole) -> String {
    format!("{}/{}", role.namespace().unwrap_or_default(), role.name_any())
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
