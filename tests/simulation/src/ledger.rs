//! What the invariants must remember of the past: nobody can read it in AWS or Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use rolectl_crds::OWNER_TAG;
use tokio::time::Instant;

use crate::aws::iam::State;
use crate::kubernetes::objects::is_of_this_cluster;

/// The past of a role name in an account.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// When somebody outside last changed the role.
    pub changed_outside: Option<Instant>,
    /// Since when the role has no owner tag of this cluster.
    pub foreign_since: Option<Instant>,
    /// Unique ids of roles that carried an owner tag of this cluster, with that.
    pub owners: BTreeMap<String, String>,
}

/// The past of everything.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By account id and role name in lower case.
    roles: Mutex<BTreeMap<(String, String), Past>>,
    /// Calls about a role, by account id, role name and hour. With an empty name: all calls in the account.
    calls: Mutex<BTreeMap<(String, String, u64), u32>>,
    /// Operators' sessions that a replica knows to be locked.
    locked: Mutex<BTreeSet<(usize, String)>>,
    /// When all faults had ended and every role was as declared: what was changed outside before is known by then.
    converged: Mutex<Option<Instant>>,
}

impl Ledger {
    /// The past of a role.
    pub fn past(&self, account: &str, role: &str) -> Past {
        let key = (account.to_owned(), role.to_lowercase());
        self.roles.lock().get(&key).cloned().unwrap_or_default()
    }

    fn with_past(&self, account: &str, role: &str, change: impl FnOnce(&mut Past)) {
        let key = (account.to_owned(), role.to_lowercase());
        change(self.roles.lock().entry(key).or_default());
    }

    /// Records a change of the role by somebody outside.
    pub fn changed_outside(&self, account: &str, role: &str) {
        self.with_past(account, role, |past| past.changed_outside = Some(Instant::now()));
    }

    /// Records whose the role is after a change by anybody.
    pub fn record_owner(&self, account: &str, role: &str, state: &State) {
        let Ok(role) = state.role(role) else { return };
        let owner = role.tags.get(OWNER_TAG).filter(|owner| is_of_this_cluster(owner));
        self.with_past(account, &role.name, |past| match owner {
            Some(owner) => {
                past.owners.insert(role.id.clone(), owner.clone());
                past.foreign_since = None;
            }
            None => {
                past.foreign_since.get_or_insert_with(Instant::now);
            }
        });
    }

    /// Counts a call about a role in this hour, or with an empty name any call in the account. Returns how many there were.
    pub fn count_call(&self, account: &str, role: &str, hour: u64) -> u32 {
        let mut calls = self.calls.lock();
        let count = calls
            .entry((account.to_owned(), role.to_lowercase(), hour))
            .or_default();
        *count += 1;
        *count
    }

    /// Records that a replica knows that this session is locked.
    pub fn lock_session(&self, replica: usize, session: &str) {
        self.locked.lock().insert((replica, session.to_owned()));
    }

    /// Returns true if the replica knows that the session is locked.
    pub fn is_locked(&self, replica: usize, session: &str) -> bool {
        self.locked.lock().contains(&(replica, session.to_owned()))
    }

    /// Records that everything is as declared, without faults.
    pub fn converged(&self) {
        self.converged.lock().get_or_insert_with(Instant::now);
    }

    /// When everything was first as declared, without faults.
    pub fn converged_at(&self) -> Option<Instant> {
        *self.converged.lock()
    }
}
