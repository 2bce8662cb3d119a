//! Watches that fill a cache and feed a controller.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
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

/// A cache of the objects behind `api`, each without what `trim` takes off. `hears` is told of each event once the cache has taken it in.
///
/// An object that does not parse is left out with a warning; it does not stall the watch.
pub fn watched<K>(
    api: Api<DeserializeGuard<K>>,
    trim: fn(&mut K),
    hears: impl Fn(&Event<K>, &Store<K>) + Send + Sync + 'static,
) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let (fill, filled) = watch::channel(false);
    let cache = store.clone();
    let stream = listed_in_time(api, LIST_PATIENCE)
        .default_backoff()
        .try_filter_map(|event| futures::future::ready(Ok(parsed(event))))
        .modify(move |object| {
            leave_out(object);
            trim(object);
        })
        .inspect_err(|error| tracing::warn!(kind = %K::kind(&()), %error, "watch failed, trying again"))
        .reflect(writer)
        // Behind `reflect`, so that the cache has it already.
        .inspect_ok(move |event| {
            hears(event, &cache);
            if matches!(event, Event::InitDone) {
                fill.send_replace(true);
            }
        })
        .applied_objects()
        .boxed();
    Watched {
        store,
        stream,
        filled,
    }
}

/// Leaves out what we never read and what is most of a small object: who manages which field, and kubectl's copy of all.
fn leave_out<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            object.meta_mut().annotations = None;
        }
    }
}

/// How long the next piece of a list may take.
const LIST_PATIENCE: Duration = Duration::from_secs(10);

/// A watch that begins with a streamed list, and with a plain one where the API server does not end the streamed one.
///
/// A streamed list ends with a bookmark that the API server sends once its cache has caught up with etcd. After a
/// restart under load that bookmark can fail to come, with no error and no end, and the watch would hang for minutes.
/// Or the list is of a cache that was set up a moment ago and is no longer fed: it ends, is old, and nothing follows. So
/// what comes after an error is a plain list, which the API server reads from etcd.
fn listed_in_time<K>(
    api: Api<DeserializeGuard<K>>,
    patience: Duration,
) -> impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let first = watch_api(api.clone(), watcher::Config::default().streaming_lists()).boxed();
    // Whether the list is complete, so that silence means that nothing happens.
    futures::stream::unfold((first, false), move |(mut stream, listed)| {
        let api = api.clone();
        async move {
            loop {
                let next = if listed {
                    stream.next().await
                } else if let Ok(next) = tokio::time::timeout(patience, stream.next()).await {
                    next
                } else {
                    tracing::warn!(kind = %K::kind(&()), "the API server does not end its list, asking for a plain one");
                    stream = watch_api(api.clone(), watcher::Config::default()).boxed();
                    continue;
                };
                if matches!(&next, Some(Err(_))) {
                    stream = watch_api(api.clone(), watcher::Config::default()).boxed();
                }
                let listed = match &next {
                    Some(Ok(Event::InitDone)) => true,
                    Some(Ok(Event::Apply(_) | Event::Delete(_))) => listed,
                    _ => false,
                };
                return next.map(|item| (item, (stream, listed)));
            }
        }
    })
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use futures::future::BoxFuture;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use rolectl_crds::MfaSession;

    use super::*;

    /// An API server that answers a plain list, and a watch as it is told.
    #[derive(Clone)]
    enum Watches {
        /// Never: a streamed list does not end.
        Hang,
        /// With an error of its own.
        Fail,
    }

    impl tower_service::Service<Request<Body>> for Watches {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let watch = request.uri().query().is_some_and(|q| q.contains("watch=true"));
            let watches = self.clone();
            Box::pin(async move {
                match (watch, watches) {
                    (true, Self::Hang) => std::future::pending::<()>().await,
                    (true, Self::Fail) => {
                        let mut gone = Response::new(Body::empty());
                        *gone.status_mut() = http::StatusCode::GONE;
                        return Ok(gone);
                    }
                    (false, _) => {}
                }
                let list = serde_json::json!({
                    "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSessionList", "metadata": {"resourceVersion": "7"},
                    "items": [{"metadata": {"name": "default"}, "spec": {"accountId": "111111111111"}}],
                });
                Ok(Response::new(Body::from(list.to_string().into_bytes())))
            })
        }
    }

    async fn first_list(watches: Watches) {
        let api: Api<DeserializeGuard<MfaSession>> = Api::all(Client::new(watches, "default"));
        let mut events = listed_in_time(api, Duration::from_millis(50)).boxed();
        let mut seen = vec![];
        while !matches!(seen.last(), Some(Event::InitDone)) {
            // An error is behind what `default_backoff` waits for.
            seen.extend(events.next().await.unwrap());
        }
        assert!(
            seen.iter()
                .any(|e| matches!(e, Event::InitApply(o) if o.0.as_ref().unwrap().name_any() == "default"))
        );
    }

    #[tokio::test]
    async fn a_streamed_list_that_never_ends_is_followed_by_a_plain_one() {
        first_list(Watches::Hang).await;
    }

    #[tokio::test]
    async fn a_watch_that_fails_is_followed_by_a_plain_list() {
        first_list(Watches::Fail).await;
    }
}
