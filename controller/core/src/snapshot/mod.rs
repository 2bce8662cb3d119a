//! The roles of an account: the last sweep, and every write of this process since.
//!
//! IAM is [eventually consistent](https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency):
//! a read may return the state before an earlier write. A snapshot therefore prefers a write to a read: a sweep that began
//! before the write, or within [`GRACE`] after it, does not replace what the write left. The merge then requests another sweep.
//! The caller passes in the time.
//!
//! The imports between the modules:
//!
//! ```text
//! claims -> entry
//! tally -> entry
//! entry -> sweep
//! limits
//! profiles
//! sweep
//! ```

mod claims;
mod entry;
mod limits;
mod profiles;
mod sweep;
mod tally;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use crate::role::observed::{ObservedRole, PackedRole};
use claims::Claims;
use entry::{AfterSweep, Entry};
use limits::{Reservations, Usage};
use profiles::RecentProfiles;
use tally::Tally;

pub use entry::Lookup;
pub use limits::Full;
pub use profiles::RecentProfile;
pub use sweep::{GRACE, Merge, SweepStart, Swept};

/// The roles of one account.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Roles that an `IamRole` names or that carry an owner tag of this cluster. The keys are names in lower case, because
    /// [IAM compares names without regard to case](https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html).
    entries: HashMap<String, Entry>,
    /// Hashes of the names of all other roles, in lower case. They only tell that a role exists.
    others: HashSet<u64>,
    hasher: RandomState,
    /// True if a sweep has completed, so that a missing entry means that there is no such role.
    complete: bool,
    /// Number of writes of this process.
    writes: u64,
    tally: Tally,
    /// Number of listed roles that AWS does not count against `RolesQuota`.
    uncounted: u32,
    reservations: Reservations,
    claims: Claims,
    profiles: RecentProfiles,
}

impl Snapshot {
    /// Returns a snapshot that needs a sweep. `owner_prefix` is what the owner tags of this cluster begin with.
    pub fn new(owner_prefix: &str) -> Self {
        Self {
            tally: Tally::new(owner_prefix),
            claims: Claims::new(owner_prefix),
            ..Self::default()
        }
    }

    /// Copies what this process saw of owner tags in an earlier snapshot of the same account. Nobody else may have managed the account
    /// since.
    pub fn inherit_claims(&mut self, before: &Self) {
        self.claims.inherit(&before.claims, &before.entries);
    }

    /// Invalidates the roles that this process wrote in an earlier snapshot of the same account so recently that a read at `now` may
    /// show the state before, and copies what it did to instance profiles.
    pub fn inherit_writes(&mut self, before: &Self, now: Instant) {
        self.profiles.clone_from(&before.profiles);
        for key in before.entries.keys() {
            self.inherit_write(key, before, now);
        }
    }

    /// Invalidates one role that this process wrote in an earlier snapshot of the same account so recently that a read at `now` may show
    /// the state before. Returns true if it did.
    pub fn inherit_write(&mut self, name: &str, before: &Self, now: Instant) -> bool {
        let key = name.to_lowercase();
        let entry = before.entries.get(&key);
        let Some((entry, at)) = entry.and_then(|entry| Some((entry, entry.unshown_since(now)?))) else {
            return false;
        };
        // This snapshot counts its writes from 0: the earlier one has ended before any sweep.
        let written = entry.written.map(|(_, at)| (0, at));
        self.put(key, Entry::invalidated(at, written));
        true
    }

    /// Returns the state of the role.
    pub fn lookup(&self, name: &str) -> Lookup {
        if !self.complete {
            return Lookup::Unknown;
        }
        let key = name.to_lowercase();
        match self.entries.get(&key) {
            Some(entry) if entry.invalidated => Lookup::Unknown,
            None if self.others.contains(&self.hasher.hash_one(&key)) => Lookup::Unknown,
            None | Some(Entry { role: None, .. }) => Lookup::Absent,
            Some(Entry {
                role: Some(role),
                seen,
                ..
            }) => Lookup::Present(role.clone(), *seen),
        }
    }

    /// Returns the role as AWS last showed it, even if the snapshot needs a sweep. `key` is the name in lower case.
    pub fn last_seen(&self, key: &str) -> Option<Arc<PackedRole>> {
        self.entries.get(key)?.role.clone()
    }

    /// Returns all roles that an `IamRole` names or that carry an owner tag of this cluster.
    pub fn roles(&self) -> Vec<Arc<PackedRole>> {
        self.entries
            .values()
            .filter_map(|entry| entry.role.clone())
            .collect()
    }

    /// Returns true if a sweep has completed since the last [`Self::invalidate_all`].
    pub const fn is_complete(&self) -> bool {
        self.complete
    }
}

/// Owners of roles and of instance profiles.
impl Snapshot {
    /// Returns true if a role carries this owner tag, which must be one of this cluster.
    pub fn has_role_of(&self, owner: &str) -> bool {
        self.tally.has_owner(owner)
    }

    /// Returns the owner tags of this cluster that roles carry, each once.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.tally.owners()
    }

    /// Returns true if the account has a role of this owner. `None` means that a sweep must come first, because the role called
    /// `name` may be one.
    pub fn may_have_role_of(&self, name: &str, owner: &str) -> Option<bool> {
        if self.has_role_of(owner) {
            return Some(true);
        }
        let entry = self.entries.get(&name.to_lowercase());
        let is_invalidated = entry.is_some_and(|entry| entry.invalidated);
        (self.complete && !is_invalidated).then_some(false)
    }

    /// Returns the unique id of the role if somebody else removed its owner tag, and the last owner tag that this process saw on
    /// it is `owner`.
    pub fn claimed(&self, name: &str, owner: &str) -> Option<String> {
        self.claims.role_id(&name.to_lowercase(), owner)
    }

    /// Ends the claims of an owner whose `IamRole` was deleted, so that a later object of the same name inherits nothing.
    pub fn end_claims(&mut self, owner: &str) {
        self.claims.end(owner);
    }

    /// Records what this process did to an instance profile, or is about to do. With `None` it did nothing.
    pub fn record_profile(&mut self, profile: &str, state: Option<RecentProfile>, now: Instant) {
        self.profiles.record(profile, state, now);
    }

    /// Returns what this process did to the instance profile within the last minute, which a read may not show yet, and when.
    pub fn recent_profile(&self, profile: &str, now: Instant) -> Option<(RecentProfile, Instant)> {
        self.profiles.get(profile, now).cloned()
    }
}

/// The numbers of roles and their limits.
impl Snapshot {
    /// Reserves room for a role that is about to be made. `managed` limits the roles of this cluster and `total` all roles of the
    /// account; `None` means no limit.
    ///
    /// # Errors
    /// When the role would exceed a limit.
    pub fn reserve(&mut self, name: &str, managed: Option<u32>, total: Option<u32>) -> Result<(), Full> {
        let managed = Usage {
            count: self.tally.managed(),
            limit: managed,
        };
        let total = Usage {
            count: self.count().saturating_sub(self.uncounted),
            limit: total,
        };
        self.reservations.reserve(name.to_lowercase(), managed, total)
    }

    /// Ends the reservation of a role that is made or that failed.
    pub fn release(&mut self, name: &str) {
        self.reservations.release(&name.to_lowercase());
    }

    /// Records how many roles AWS counts against `RolesQuota`. AWS lists roles that it does not count, such as service-linked
    /// ones. Call this right after [`Self::merge`], with a number that was read right before the sweep.
    pub fn calibrate(&mut self, counted: u32) {
        self.uncounted = self.count().saturating_sub(counted);
    }

    /// Returns the number of roles that carry an owner tag of this cluster, and the number of all others.
    pub fn counts(&self) -> (u32, u32) {
        let managed = self.tally.managed();
        (managed, self.count().saturating_sub(managed))
    }

    fn count(&self) -> u32 {
        self.tally.total() + u32::try_from(self.others.len()).unwrap_or(u32::MAX)
    }
}

/// Writes and sweeps.
impl Snapshot {
    /// Records the state that a write of this process left. `None` means that the role was deleted.
    pub fn wrote(&mut self, name: &str, role: Option<ObservedRole>, now: Instant) {
        self.writes += 1;
        let role = role.map(|role| Arc::new(PackedRole::new(&role)));
        self.put(name.to_lowercase(), Entry::written(role, self.writes, now));
    }

    /// Invalidates a role because AWS contradicted the snapshot, or did not answer a write. [`Self::lookup`] returns
    /// [`Lookup::Unknown`] until the next sweep.
    pub fn invalidate(&mut self, name: &str, now: Instant) {
        let key = name.to_lowercase();
        let written = self.entries.get(&key).and_then(|entry| entry.written);
        self.put(key, Entry::invalidated(now, written));
    }

    /// Records that AWS confirmed the role as the snapshot has it.
    pub fn confirmed(&mut self, name: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&name.to_lowercase()) {
            entry.seen = now;
        }
    }

    /// Invalidates the whole snapshot because it missed changes, for example while the session was locked.
    pub fn invalidate_all(&mut self) {
        self.complete = false;
    }

    /// Returns the beginning of a sweep. Call this before the first page is requested.
    pub const fn begin_sweep(&self, now: Instant) -> SweepStart {
        SweepStart {
            writes: self.writes,
            at: now,
        }
    }

    /// Replaces the entries by the result of a complete sweep, except for those that may be newer than the read.
    pub fn merge(&mut self, start: SweepStart, swept: Swept) -> Merge {
        let mut merge = Merge::default();
        let listed = swept.roles.into_iter();
        let mut next: HashMap<String, Entry> = listed
            .map(|(key, role)| (key, Entry::listed(role, start.at)))
            .collect();
        for name in &swept.unsettled {
            next.insert(name.to_lowercase(), Entry::invalidated(start.at, None));
            merge.sweep_again(GRACE);
        }
        for (key, entry) in mem::take(&mut self.entries) {
            let read = next.get(&key);
            if let Some(read) = read {
                self.claims.compare(&key, &entry, read);
            }
            let after = entry.after_sweep(start, read);
            let (AfterSweep::Kept(due) | AfterSweep::Replaced(due)) = after;
            if let Some(due) = due {
                merge.sweep_again(due);
            }
            if matches!(after, AfterSweep::Kept(_)) {
                next.insert(key, entry);
            }
        }
        self.claims.retain(&next);
        let unnamed = swept.others.iter().filter(|name| !next.contains_key(*name));
        self.others = unnamed.map(|name| self.hasher.hash_one(name)).collect();
        self.tally.recount(next.values());
        self.entries = next;
        self.complete = true;
        (merge.managed, merge.unmanaged) = self.counts();
        merge
    }

    /// Replaces one entry and keeps everything that depends on it in step.
    fn put(&mut self, key: String, entry: Entry) {
        // The entry itself counts from now on.
        if !entry.invalidated {
            self.reservations.release(&key);
        }
        self.others.remove(&self.hasher.hash_one(&key));
        self.claims.replace(&key, self.entries.get(&key), &entry);
        self.tally.add(&entry);
        if let Some(before) = self.entries.insert(key, entry) {
            self.tally.remove(&before);
        }
    }
}

#[cfg(test)]
mod tests;
