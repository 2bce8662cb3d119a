//! How many objects of each kind wait to be reconciled, for the metrics.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::Mutex;

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
    pub fn prune<K>(&self, store: &Store<K>)
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

    /// How many objects of each kind wait.
    pub fn counts(&self) -> Vec<(&'static str, i64)> {
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
