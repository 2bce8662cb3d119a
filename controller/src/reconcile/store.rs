//! Watches that fill a cache and feed a controller.

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_api};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Objects as they are added and changed.
pub type ObjectStream<K> = BoxStream<'static, Result<K, watcher::Error>>;

/// A cache with the stream that fills it.
pub struct Watched<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// The cache.
    pub store: Store<K>,
    /// Fills the cache. It must be polled.
    pub stream: ObjectStream<K>,
    /// Turns true once the first list is in the cache. (The store's own wait wakes only the last of several
    /// waiters, and its controller is one already.)
    pub filled: watch::Receiver<bool>,
}

/// A cache of the objects behind `api`. `deleted` hears of each object that has left it.
///
/// An object that does not parse is left out with a warning; it does not stall the watch.
pub fn watched<K>(api: Api<DeserializeGuard<K>>, deleted: impl Fn(&K) + Send + Sync + 'static) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let (fill, filled) = watch::channel(false);
    let stream = watch_api(api, watcher::Config::default().streaming_lists())
        .default_backoff()
        .try_filter_map(|event| futures::future::ready(Ok(parsed(event))))
        .modify(|object: &mut K| object.managed_fields_mut().clear())
        .inspect_err(|error| tracing::warn!(kind = %K::kind(&()), %error, "watch failed, trying again"))
        .reflect(writer)
        // Behind `reflect`, so that the cache has it already.
        .inspect_ok(move |event| match event {
            Event::InitDone => {
                fill.send_replace(true);
            }
            Event::Delete(object) => deleted(object),
            _ => {}
        })
        .applied_objects()
        .boxed();
    Watched {
        store,
        stream,
        filled,
    }
}

fn parsed<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    let keep = |DeserializeGuard(result): DeserializeGuard<K>| match result {
        Ok(object) => Some(object),
        Err(invalid) => {
            tracing::warn!(
                kind = %K::kind(&()),
                namespace = invalid.metadata.namespace.as_deref().unwrap_or_default(),
                name = invalid.metadata.name.as_deref().unwrap_or_default(),
                error = %invalid,
                "object does not parse and is left out: update the CRDs or correct the object"
            );
            None
        }
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(guard) => Event::InitApply(keep(guard)?),
        Event::Apply(guard) => Event::Apply(keep(guard)?),
        Event::Delete(guard) => Event::Delete(keep(guard)?),
    })
}
