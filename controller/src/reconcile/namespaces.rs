//! The labels of namespaces, which decide whose roles an account admits.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use super::store::{self, ObjectStream, Watched};
use crate::health::Readiness;

/// Watches the namespaces. Names of those whose labels change go to `changed`.
pub fn watch(client: &Client, readiness: Readiness, changed: UnboundedSender<String>) -> Watched<Namespace> {
    let known = Mutex::<Known>::default();
    store::watched(
        Api::all(client.clone()),
        trim,
        readiness,
        move |event: &Event<Namespace>, cache, _| {
            for name in known.lock().follow(event, cache) {
                // A closed queue means that the process goes down.
                let _ = changed.send(name);
            }
        },
    )
}

/// Polls the stream that fills the cache, until the process goes down.
pub async fn fill(mut stream: ObjectStream<Namespace>) {
    while stream.next().await.is_some() {}
}

/// Labels are all that is read of a namespace.
fn trim(namespace: &mut Namespace) {
    namespace.metadata.annotations = None;
    namespace.spec = None;
    namespace.status = None;
}

/// Hashes of the labels of all namespaces, to tell a change of labels from any other.
#[derive(Debug, Default)]
struct Known {
    labels: HashMap<String, u64>,
    hasher: RandomState,
}

impl Known {
    /// Returns the namespaces whose labels the event changes. One that is seen for the first time counts.
    fn follow(&mut self, event: &Event<Namespace>, cache: &Store<Namespace>) -> Vec<String> {
        match event {
            Event::Apply(namespace) => self.see(namespace).into_iter().collect(),
            // A namespace is deleted after everything in it.
            Event::Delete(namespace) => {
                self.labels.remove(&namespace.name_any());
                vec![]
            }
            Event::InitDone => {
                let all = cache.state();
                self.labels
                    .retain(|name, _| cache.get(&ObjectRef::new(name)).is_some());
                all.iter().filter_map(|namespace| self.see(namespace)).collect()
            }
            Event::Init | Event::InitApply(_) => vec![],
        }
    }

    fn see(&mut self, namespace: &Namespace) -> Option<String> {
        let (name, hash) = (namespace.name_any(), self.hash(namespace.labels()));
        let before = self.labels.insert(name.clone(), hash);
        (before != Some(hash)).then_some(name)
    }

    fn hash(&self, labels: &BTreeMap<String, String>) -> u64 {
        self.hasher.hash_one(labels)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;

    use super::*;

    fn namespace(name: &str, tier: &str) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        namespace.metadata.labels = Some([("tier".to_owned(), tier.to_owned())].into());
        namespace
    }

    #[test]
    fn a_namespace_counts_as_changed_when_its_labels_change_and_only_then() {
        let (cache, mut writer) = store();
        let mut known = Known::default();
        let mut follow = |event: Event<Namespace>| {
            writer.apply_watcher_event(&event);
            known.follow(&event, &cache)
        };
        assert_eq!(follow(Event::Apply(namespace("a", "dev"))), ["a"]);
        let mut annotated = namespace("a", "dev");
        annotated.metadata.annotations = Some([("x".to_owned(), "y".to_owned())].into());
        assert!(follow(Event::Apply(annotated)).is_empty());
        assert_eq!(follow(Event::Apply(namespace("a", "prod"))), ["a"]);
        // A change that was made while the watch was down.
        follow(Event::Init);
        follow(Event::InitApply(namespace("a", "dev")));
        follow(Event::InitApply(namespace("b", "dev")));
        let mut changed = follow(Event::InitDone);
        changed.sort();
        assert_eq!(changed, ["a", "b"]);
        follow(Event::Delete(namespace("a", "dev")));
        assert_eq!(
            follow(Event::Apply(namespace("a", "dev"))),
            ["a"],
            "another namespace of the name"
        );
    }
}
