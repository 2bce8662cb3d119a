//! The Leases as this replica has seen them. Clocks of two machines are never compared: what counts is how long a Lease has not
//! changed by our own clock.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use rolectl_kube::LEASE_LABEL;
use tokio::time::Instant;

use rolectl_aws::lease_term::EXPIRY;

use super::{COUNT, FORGET};

/// The Leases as they were seen, and since when each has stood still.
#[derive(Debug)]
pub(super) struct ObservedLeases {
    /// Since when we look.
    began: Instant,
    leases: BTreeMap<String, (Lease, Instant)>,
    /// Leases that were there once, and since when they are not.
    gone: HashMap<String, Instant>,
    pub(super) announced: Option<Instant>,
    /// Another number of shards is in use.
    pub(super) had_other_count: bool,
    /// Shards that are to be given back, and since when no call of ours begins there.
    pub(super) releasing: HashMap<usize, Instant>,
}

impl ObservedLeases {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            leases: BTreeMap::new(),
            gone: HashMap::new(),
            announced: None,
            had_other_count: false,
            releasing: HashMap::new(),
        }
    }

    /// Takes in a whole list.
    pub(super) fn see(&mut self, leases: Vec<Lease>, now: Instant) {
        let mut before = std::mem::take(&mut self.leases);
        for lease in leases {
            let name = lease.name_any();
            let since = before
                .remove(&name)
                .filter(|(old, _)| old.metadata.resource_version == lease.metadata.resource_version)
                .map_or(now, |(_, since)| since);
            self.gone.remove(&name);
            self.leases.insert(name, (lease, since));
        }
        for name in before.into_keys() {
            self.gone.insert(name, now);
        }
        self.gone.retain(|_, since| now.duration_since(*since) < FORGET);
    }

    /// Takes in what we have just written ourselves.
    pub(super) fn wrote(&mut self, leases: Vec<Option<Lease>>) {
        for lease in leases.into_iter().flatten() {
            self.leases.insert(lease.name_any(), (lease, Instant::now()));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Lease> {
        self.leases.get(name).map(|(lease, _)| lease)
    }

    /// Returns true if nobody can hold the Lease any more. `alone`: there is no other replica.
    pub(super) fn is_free(&self, name: &str, alone: bool, now: Instant) -> bool {
        if let Some((lease, since)) = self.leases.get(name) {
            return holder(lease).is_none() || now.duration_since(*since) > EXPIRY;
        }
        // A Lease that somebody deleted has a holder who may not know it yet.
        match self.gone.get(name) {
            Some(since) => now.duration_since(*since) > EXPIRY,
            None => alone || now.duration_since(self.began) > EXPIRY,
        }
    }

    pub(super) fn alive(&self, now: Instant) -> impl Iterator<Item = &Lease> {
        let alive = move |(lease, since): &&(Lease, Instant)| {
            holder(lease).is_some() && now.duration_since(*since) <= EXPIRY
        };
        self.leases.values().filter(alive).map(|(lease, _)| lease)
    }

    /// The replicas that live and divide the accounts as we do, in one order for all.
    pub(super) fn replicas(&self, count: usize, now: Instant) -> Vec<String> {
        let count = count.to_string();
        let alike = |lease: &&Lease| {
            label(lease, LEASE_LABEL) == Some("replica") && label(lease, COUNT) == Some(count.as_str())
        };
        let replicas = self.alive(now).filter(alike);
        let mut names: Vec<String> = replicas.filter_map(|lease| holder(lease).cloned()).collect();
        names.sort();
        names
    }

    /// Returns true if a replica with another number of shards is there.
    pub(super) fn has_other_count(&self, count: usize, now: Instant) -> bool {
        let count = count.to_string();
        self.alive(now)
            .any(|lease| label(lease, COUNT) != Some(count.as_str()))
    }

    pub(super) fn old_replicas(&self, now: Instant) -> Vec<String> {
        let old = self.leases.iter().filter(|(_, (lease, since))| {
            label(lease, LEASE_LABEL) == Some("replica") && now.duration_since(*since) > FORGET
        });
        old.map(|(name, _)| name.clone()).collect()
    }
}

pub(super) fn label<'a>(lease: &'a Lease, key: &str) -> Option<&'a str> {
    lease.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// The holder of a Lease, if it has one.
pub(super) fn holder(lease: &Lease) -> Option<&String> {
    let holder = lease.spec.as_ref()?.holder_identity.as_ref();
    holder.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::{Shards, TICK};
    use super::*;

    #[test]
    fn a_lease_is_free_without_a_holder_or_when_it_has_stood_still_for_long() {
        let shards = Shards::new(1, "r", "me".into());
        let mut lease = shards.taken(shards.blank("r-shard-0-of-1", "shard"));
        lease.metadata.resource_version = Some("1".into());
        let start = Instant::now();
        let mut observed = ObservedLeases::new(start);
        let later = start + EXPIRY + TICK;
        let is_free = |observed: &ObservedLeases, at| observed.is_free("r-shard-0-of-1", false, at);
        assert!(
            observed.is_free("r-shard-0-of-1", true, start),
            "nobody has made it, and nobody else lives"
        );
        assert!(
            !is_free(&observed, start),
            "it may have been deleted before we came"
        );
        observed.see(vec![lease.clone()], start);
        observed.see(vec![lease.clone()], start + EXPIRY);
        assert!(!is_free(&observed, start + EXPIRY));
        assert!(is_free(&observed, later));
        lease.metadata.resource_version = Some("2".into());
        observed.see(vec![lease.clone()], later);
        assert!(!is_free(&observed, later), "it was renewed");
        observed.see(vec![], later + TICK);
        assert!(
            !is_free(&observed, later + EXPIRY),
            "it was deleted, and its holder may not know"
        );
        assert!(is_free(&observed, later + TICK + EXPIRY + TICK));
        lease.spec = None;
        observed.see(vec![lease], later);
        assert!(is_free(&observed, later));
    }

    #[test]
    fn who_counts_the_shards_otherwise_is_found() {
        let (ours, theirs) = (Shards::new(8, "r", "a".into()), Shards::new(4, "r", "b".into()));
        let now = Instant::now();
        let mut observed = ObservedLeases::new(now);
        observed.see(vec![ours.taken(ours.blank("r-replica-a", "replica"))], now);
        assert!(!observed.has_other_count(8, now));
        observed.see(vec![theirs.taken(theirs.blank("r-replica-b", "replica"))], now);
        assert!(observed.has_other_count(8, now));
        assert!(!observed.has_other_count(8, now + EXPIRY + TICK), "gone");
    }
}
