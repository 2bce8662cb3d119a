//! What the actors ask about objects, answered from the caches and, before a write, by the API server; and where they report to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, IamRole, MfaSession};

use rolectl_aws::actor::directory::{Admits, Directory, Reporter};
use rolectl_aws::actor::report::RoleReport;
use rolectl_core::names::RoleKey;
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::role::admission::access_roles;
use rolectl_core::selection::{admits, may_admit};

use super::context::Context;
use super::role::reports::Wake;
use super::{Error, Shared, bounded_call, error_chain};

/// How long reports are gathered before the role is looked at. Many accounts may report the same thing in this time.
const GATHER: Duration = Duration::from_millis(100);

/// Key of a role in the cache.
pub fn object_ref(key: &RoleKey) -> ObjectRef<IamRole> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

impl Directory for Context {
    fn role(&self, key: &RoleKey) -> Option<Arc<IamRole>> {
        let found = self.stores.roles.get(&object_ref(key));
        found.or_else(|| self.leftovers.read().get(key).cloned())
    }

    fn account(&self, name: &str) -> Option<Arc<AwsAccount>> {
        self.stores.accounts.get(&ObjectRef::new(name))
    }

    fn session(&self, name: &str) -> Option<Arc<MfaSession>> {
        self.stores.sessions.get(&ObjectRef::new(name))
    }

    fn namesakes(&self, role_name: &str) -> Vec<Arc<IamRole>> {
        Self::namesakes(self, role_name)
    }

    fn is_wanted(&self, role_name: &str) -> bool {
        self.stores.names.is_wanted(role_name)
    }

    fn owner_of(&self, role: &IamRole) -> String {
        Self::owner_of(self, role)
    }

    fn admits(&self, account: &AwsAccount, namespace: &str) -> Admits {
        if !may_admit(account, namespace) {
            return Admits::No;
        }
        if account.spec.allowed_namespaces.selector.is_none() {
            return Admits::Yes;
        }
        let Some(found) = self.stores.namespaces.get(&ObjectRef::new(namespace)) else {
            return Admits::Unknown;
        };
        admits(account, namespace, Some(found.labels())).into()
    }

    fn access_roles(&self, account: &AwsAccount) -> BTreeSet<String> {
        let accounts = self
            .stores
            .accounts
            .state_filter(|other| other.spec.account_id == account.spec.account_id);
        let sessions = self
            .stores
            .sessions
            .state_filter(|session| session.spec.role_arn.is_some());
        access_roles(
            account,
            accounts.iter().map(|other| &**other),
            sessions.iter().map(|session| &session.spec),
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
        async move {
            // The cache may be stale, and no role is to be made because of labels that were removed.
            if account.spec.allowed_namespaces.selector.is_none() {
                return Ok(self.admits(account, namespace) == Admits::Yes);
            }
            let api: Api<Namespace> = Api::all(self.client.clone());
            let found = bounded_call(api.get_opt(namespace)).await;
            let found =
                found.map_err(|error| error_chain(&Error::kube("could not read the namespace")(error)))?;
            Ok(admits(account, namespace, found.as_ref().map(Namespace::labels)))
        }
        .boxed()
    }

    fn protect<'a>(&'a self, role: &'a IamRole) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let protected = self.protect_role(role).await;
            protected.map_err(|error| error_chain(&error))
        }
        .boxed()
    }
}

/// Where the actors report to.
pub struct Reports(pub Shared);

impl Reporter for Reports {
    fn role(&self, account: &str, key: &RoleKey, report: RoleReport) {
        let context = &self.0;
        match context.reports.report(account, key, report) {
            Wake::Now => context.wake_role(object_ref(key)),
            Wake::Soon if context.reports.begin_wake(key) => {
                let (context, key) = (context.clone(), key.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(GATHER).await;
                    context.reports.end_wake(&key);
                    context.wake_role(object_ref(&key));
                });
            }
            Wake::Soon | Wake::Never => {}
        }
    }

    fn account(&self, account: &str) {
        self.0.wake_account(account);
    }

    fn session_refused(&self, session: &str) {
        self.0.wake_session(session);
    }
}
