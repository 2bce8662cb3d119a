//! Watches that fill a cache and feed a controller.

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_api};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

/// Objects as they are added and changed.
pub type ObjectStream<K> = BoxStream<'static, Result<K, watcher::Error>>;

/// A cache of the objects behind `api`, and the stream that fills it. The stream must be polled.
///
/// An object that does not parse is left out with a warning; it does not stall the watch.
pub fn watch<K>(
    api: Api<DeserializeGuard<K>>,
    deleted: impl Fn(&K) + Send + Sync + 'static,
) -> (Store<K>, ObjectStream<K>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (reader, writer) = reflector::store();
    let stream = watch_api(api, watcher::Config::default().streaming_lists())
        .default_backoff()
        .try_filter_map(|event| futures::future::ready(Ok(parsed(event))))
        .modify(|object: &mut K| object.managed_fields_mut().clear())
        .inspect_ok(move |event| {
            if let Event::Delete(object) = event {
                deleted(object);
            }
        })
        .inspect_err(|error| tracing::warn!(kind = %K::kind(&()), %error, "watch failed, trying again"))
        .reflect(writer)
        .applied_objects();
    (reader, stream.boxed())
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
