//! The objects in simulated Kubernetes, and the Lease of the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rolectl_aws::actor::directory::{Admits, Directory};
use rolectl_core::names::{RoleKey, name_in_aws, owner};
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::role::admission::works_through;
use rolectl_core::selection::{admits, targets};
use rolectl_crds::{AwsAccount, IamRole, MfaSession};
use serde_json::json;
use tokio::time::Instant;

use crate::spec::Spec;

/// Name of the only `MfaSession`.
pub const SESSION: &str = "default";
/// What the owner tags begin with.
pub const CLUSTER: &str = "c";

/// An `IamRole`, and what outlives a controller.
#[derive(Clone, Debug)]
pub struct Object {
    /// The object.
    pub role: Arc<IamRole>,
    /// It has the finalizer.
    pub is_protected: bool,
    /// The accounts that its status mentions.
    pub mentioned: BTreeSet<String>,
}

/// Who may call AWS.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The replica that holds it.
    pub holder: usize,
    /// When it was renewed last.
    pub renewed: Instant,
}

/// For this long after a renewal nobody else takes the Lease.
pub const LEASE: Duration = Duration::from_secs(15);
/// For this long after a renewal the holder calls AWS.
pub const TERM: Duration = Duration::from_secs(6);

/// Everything that the API server has.
#[derive(Debug)]
pub struct Objects {
    /// The `IamRole`s.
    pub roles: BTreeMap<RoleKey, Object>,
    /// The `AwsAccount`s.
    pub accounts: BTreeMap<String, Arc<AwsAccount>>,
    /// The `MfaSession`.
    pub session: Arc<MfaSession>,
    /// The Lease.
    pub lease: Option<Lease>,
    /// Until when the API server does not answer.
    pub down_until: Option<Instant>,
    created: u32,
    /// Grows with every change.
    pub version: u64,
}

/// The API server.
#[derive(Debug)]
pub struct Cluster {
    objects: Mutex<Objects>,
    documents: DocumentCache,
}

impl Cluster {
    /// A cluster with two accounts.
    pub fn new() -> Arc<Self> {
        let session = serde_json::from_value(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession",
            "metadata": {"name": SESSION}, "spec": {"accountId": "111111111111"},
        }));
        let accounts = (0..2).map(|n| (format!("a{n}"), Arc::new(account(n)))).collect();
        Arc::new(Self {
            objects: Mutex::new(Objects {
                roles: BTreeMap::new(),
                accounts,
                session: session.expect("the object is valid"),
                lease: None,
                down_until: None,
                created: 0,
                version: 0,
            }),
            documents: DocumentCache::default(),
        })
    }

    /// Reads or changes the objects.
    pub fn with<T>(&self, act: impl FnOnce(&mut Objects) -> T) -> T {
        act(&mut self.objects.lock())
    }

    /// Returns true if the API server answers.
    pub fn is_up(&self) -> bool {
        self.with(|objects| objects.down_until.is_none_or(|until| until <= Instant::now()))
    }

    /// The objects that want this name in AWS, in this account or elsewhere.
    pub fn wanting(&self, role_name: &str) -> Vec<Object> {
        self.with(|objects| {
            let all = objects.roles.values();
            all.filter(|object| name_in_aws(&object.role).eq_ignore_ascii_case(role_name))
                .cloned()
                .collect()
        })
    }

    /// The owner tag of an object.
    pub fn owner(role: &IamRole) -> String {
        let metadata = &role.metadata;
        owner(
            CLUSTER,
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

fn account(n: usize) -> AwsAccount {
    let account = json!({
        "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": format!("a{n}"), "uid": format!("account-{n}"), "generation": 1},
        "spec": {
            "accountId": account_id(n),
            "sessionRef": SESSION,
            "assumeRole": {"name": "rolectl"},
            "allowedNamespaces": {"from": "All"},
            "guardrails": {"adoption": "IfUnowned"},
        },
    });
    serde_json::from_value(account).expect("the object is valid")
}

/// The id of an account by its number.
pub fn account_id(n: usize) -> String {
    format!("22222222222{n}")
}

/// What authors and administrators do.
impl Objects {
    /// Creates or changes an `IamRole`. One that is being deleted stays as it is.
    pub fn apply(&mut self, key: &RoleKey, role_name: &str, spec: Spec) {
        self.version += 1;
        let spec = spec.to_json(role_name);
        let before = self.roles.get(key).map(|object| object.role.clone());
        let (generation, uid, created) = match &before {
            Some(role) if role.metadata.deletion_timestamp.is_some() => return,
            Some(role) => (
                role.metadata.generation.unwrap_or_default() + 1,
                role.metadata.uid.clone(),
                None,
            ),
            None => {
                self.created += 1;
                (1, Some(format!("role-{}", self.created)), Some(self.created))
            }
        };
        let created = created.map(|n| format!("2026-01-01T00:{:02}:{:02}Z", n / 60, n % 60));
        let created = match (&before, created) {
            (Some(role), _) => serde_json::to_value(&role.metadata.creation_timestamp).unwrap_or_default(),
            (None, created) => json!(created),
        };
        let role: IamRole = serde_json::from_value(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {
                "namespace": &*key.namespace, "name": &*key.name,
                "generation": generation, "uid": uid, "creationTimestamp": created,
            },
            "spec": spec,
        }))
        .expect("the object is valid");
        if before.as_ref().is_some_and(|before| before.spec == role.spec) {
            return;
        }
        let entry = self.roles.entry(key.clone()).or_insert_with(|| Object {
            role: Arc::new(role.clone()),
            is_protected: false,
            mentioned: BTreeSet::new(),
        });
        entry.role = Arc::new(role);
    }

    /// Deletes an `IamRole`. It stays until its finalizer goes.
    pub fn delete(&mut self, key: &RoleKey) {
        self.version += 1;
        let Some(object) = self.roles.get_mut(key) else {
            return;
        };
        if !object.is_protected {
            self.roles.remove(key);
        } else if object.role.metadata.deletion_timestamp.is_none() {
            let mut role = (*object.role).clone();
            role.metadata.deletion_timestamp =
                serde_json::from_value(json!("2026-01-02T00:00:00Z")).expect("the time is valid");
            role.metadata.generation = role.metadata.generation.map(|generation| generation + 1);
            object.role = Arc::new(role);
        }
    }

    /// Changes an `AwsAccount`.
    pub fn change_account(&mut self, n: usize, change: impl FnOnce(&mut AwsAccount)) {
        self.version += 1;
        if let Some(account) = self.accounts.get_mut(&format!("a{n}")) {
            let account = Arc::make_mut(account);
            account.metadata.generation = account.metadata.generation.map(|generation| generation + 1);
            change(account);
        }
    }
}

/// The accounts that an object selects.
pub fn selected(objects: &Objects, role: &IamRole) -> Vec<String> {
    let all = objects.accounts.iter();
    all.filter(|(_, account)| targets(role, account))
        .map(|(name, _)| name.clone())
        .collect()
}

impl Directory for Cluster {
    fn role(&self, key: &RoleKey) -> Option<Arc<IamRole>> {
        self.with(|objects| objects.roles.get(key).map(|object| object.role.clone()))
    }

    fn account(&self, name: &str) -> Option<Arc<AwsAccount>> {
        self.with(|objects| objects.accounts.get(name).cloned())
    }

    fn session(&self, name: &str) -> Option<Arc<MfaSession>> {
        (name == SESSION).then(|| self.with(|objects| objects.session.clone()))
    }

    fn namesakes(&self, role_name: &str) -> Vec<Arc<IamRole>> {
        self.wanting(role_name)
            .into_iter()
            .map(|object| object.role)
            .collect()
    }

    fn is_wanted(&self, role_name: &str) -> bool {
        !self.wanting(role_name).is_empty()
    }

    fn owner_of(&self, role: &IamRole) -> String {
        Self::owner(role)
    }

    fn admits(&self, account: &AwsAccount, namespace: &str) -> Admits {
        if admits(account, namespace, None) {
            Admits::Yes
        } else {
            Admits::No
        }
    }

    fn works_through(&self, account: &AwsAccount) -> BTreeSet<String> {
        self.with(|objects| {
            let accounts = objects.accounts.values().map(|account| &**account);
            works_through(account, accounts, [&objects.session.spec])
        })
    }

    fn documents(&self) -> &DocumentCache {
        &self.documents
    }

    fn confirm_admission<'a>(
        &'a self,
        account: &'a AwsAccount,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<bool, String>> {
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !self.is_up() {
                return Err("the API server does not answer".to_owned());
            }
            let now = self.account(account.metadata.name.as_deref().unwrap_or_default());
            Ok(now.is_some_and(|now| admits(&now, namespace, None)))
        }
        .boxed()
    }

    fn protect<'a>(&'a self, role: &'a IamRole) -> BoxFuture<'a, Result<(), String>> {
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !self.is_up() {
                return Err("the API server does not answer".to_owned());
            }
            self.with(|objects| match objects.roles.get_mut(&RoleKey::of(role)) {
                Some(object) if object.role.metadata.uid != role.metadata.uid => {
                    Err("another object".to_owned())
                }
                Some(object) if object.is_protected => Ok(()),
                Some(object) if object.role.metadata.deletion_timestamp.is_none() => {
                    object.is_protected = true;
                    Ok(())
                }
                _ => Err("the object is being deleted".to_owned()),
            })
        }
        .boxed()
    }
}
