//! What one replica knows of the objects: its cache, which may be behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rolectl_aws::actor::directory::{Admits, Directory};
use rolectl_core::names::{RoleKey, owner_of};
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::role::admission::access_roles;
use rolectl_core::selection::admits;
use rolectl_crds::{AwsAccount, IamRole, MfaSession};

use super::cluster::Cluster;
use super::objects::{CLUSTER, Objects, SESSION};

/// How long the API server takes for one answer.
const API_LATENCY: Duration = Duration::from_millis(10);

/// The cache of a replica.
#[derive(Debug)]
pub struct View {
    cluster: Arc<Cluster>,
    replica: usize,
    documents: DocumentCache,
}

impl View {
    /// The cache of a replica of this cluster.
    pub fn new(cluster: Arc<Cluster>, replica: usize) -> Self {
        Self {
            cluster,
            replica,
            documents: DocumentCache::default(),
        }
    }

    /// The objects in the cache.
    pub fn objects(&self) -> Arc<Objects> {
        self.cluster.seen_by(self.replica)
    }
}

impl Directory for View {
    fn role(&self, key: &RoleKey) -> Option<Arc<IamRole>> {
        self.objects().roles.get(key).map(|object| object.role.clone())
    }

    fn account(&self, name: &str) -> Option<Arc<AwsAccount>> {
        self.objects().accounts.get(name).cloned()
    }

    fn session(&self, name: &str) -> Option<Arc<MfaSession>> {
        (name == SESSION).then(|| self.objects().session.clone())
    }

    fn namesakes(&self, role_name: &str) -> Vec<Arc<IamRole>> {
        let objects = self.objects();
        let wanting = objects.wanting(role_name).into_iter();
        wanting.map(|object| object.role.clone()).collect()
    }

    fn is_wanted(&self, role_name: &str) -> bool {
        !self.objects().wanting(role_name).is_empty()
    }

    fn owner_of(&self, role: &IamRole) -> String {
        owner_of(CLUSTER, role)
    }

    fn admits(&self, account: &AwsAccount, namespace: &str) -> Admits {
        admits(account, namespace, None).into()
    }

    fn access_roles(&self, account: &AwsAccount) -> BTreeSet<String> {
        let objects = self.objects();
        let accounts = objects.accounts.values().map(|account| &**account);
        access_roles(account, accounts, [&objects.session.spec])
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
            tokio::time::sleep(API_LATENCY).await;
            if !self.cluster.is_up() {
                return Err("the API server does not answer".to_owned());
            }
            let objects = self.cluster.now();
            let now = objects
                .accounts
                .get(account.metadata.name.as_deref().unwrap_or_default());
            Ok(now.is_some_and(|now| admits(now, namespace, None)))
        }
        .boxed()
    }

    fn protect<'a>(&'a self, role: &'a IamRole) -> BoxFuture<'a, Result<(), String>> {
        async move {
            tokio::time::sleep(API_LATENCY).await;
            if !self.cluster.is_up() {
                return Err("the API server does not answer".to_owned());
            }
            self.cluster
                .change(|objects| match objects.roles.get_mut(&RoleKey::of(role)) {
                    Some(object) if object.role.metadata.uid != role.metadata.uid => {
                        Err("the object was deleted and created again".to_owned())
                    }
                    Some(object) if object.is_protected => Ok(()),
                    Some(object) if !object.is_deleted() => {
                        object.is_protected = true;
                        Ok(())
                    }
                    _ => Err("the object is being deleted".to_owned()),
                })
        }
        .boxed()
    }
}
