//! How one kind wakes another: objects are put into the queues of their reconciles, and actors are asked for sweeps.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use rolectl_crds::IamRole;

use rolectl_core::names::RoleKey;
use rolectl_core::selection::targets;

use super::context::Context;

/// How long the counts of an account trail its roles.
const RECOUNT: Duration = Duration::from_secs(2);

impl Context {
    /// Wakes everything: this replica holds other shards now.
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

    /// A role's state in the account has changed: the account's counts are made again, once for all changes of the next moment.
    pub fn recount(&self, account: &str) {
        let pending = self.actors.get(account).is_none() || self.notes.set_recount(account);
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
        if let Some(actor) = self.actors.get(account) {
            actor.request_sweep();
        }
    }

    /// Has all accounts of a role visited again: something that no object of its own shows has changed.
    pub fn recheck_role(&self, role: &IamRole) {
        self.reports.nudge(&RoleKey::of(role));
        self.wake_role(ObjectRef::from_obj(role));
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
            self.recheck_role(&role);
        }
    }

    /// Puts a session in its queue.
    pub fn wake_session(&self, name: &str) {
        let key = ObjectRef::new(name);
        self.waiting.enter(&key);
        let _ = self.queues.sessions.send(key);
    }

    /// Asks for a sweep of an account whose roles this process has not read, or that has a role in doubt. The first sweep
    /// comes by itself.
    pub fn want_first_sweep(&self, account: &str) {
        if let Some(actor) = self.actors.get(account)
            && actor.account().snapshot.lock().is_complete()
        {
            actor.want_sweep();
        }
    }
}
