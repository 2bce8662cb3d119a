//! Watches that fill a cache and feed a controller.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use kube::api::{Request, WatchParams};
use kube::core::Status;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::{Api, Resource, ResourceExt as _};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::error_chain;
use super::waiting::static_kind;
use crate::health::Readiness;
use rolectl_kube::objects::{self, Lines, Listing, Read, Unreadable};

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
    /// The objects that are not in the cache because they do not parse.
    pub unreadable: Arc<UnreadableObjects>,
}

/// Objects of one kind that exist but do not parse. They are in no cache, and nothing may treat them as deleted.
#[derive(Debug, Default)]
pub struct UnreadableObjects {
    all: Mutex<BTreeMap<String, Arc<Unreadable>>>,
    /// Those of the list that is arriving.
    arriving: Mutex<BTreeMap<String, Arc<Unreadable>>>,
    /// Notified when one is added or changes.
    pub changed: Notify,
}

impl UnreadableObjects {
    /// All of them.
    pub fn all(&self) -> Vec<Arc<Unreadable>> {
        self.all.lock().values().cloned().collect()
    }

    /// The object of this name (`namespace/name`, or the name of a cluster-scoped one), if it does not parse.
    pub fn get(&self, full_name: &str) -> Option<Arc<Unreadable>> {
        self.all.lock().get(full_name).cloned()
    }

    fn insert(&self, object: Unreadable) {
        self.all.lock().insert(object.full_name(), Arc::new(object));
        self.changed.notify_one();
    }

    fn remove(&self, full_name: &str) {
        self.all.lock().remove(full_name);
    }

    fn list_begins(&self) {
        self.arriving.lock().clear();
    }

    fn arrives(&self, object: Unreadable) {
        // Also in the list before it is complete: its cached version leaves the cache with the end of the list.
        self.arriving
            .lock()
            .insert(object.full_name(), Arc::new(object.clone()));
        self.insert(object);
    }

    fn list_is_complete(&self) {
        *self.all.lock() = std::mem::take(&mut *self.arriving.lock());
        self.changed.notify_one();
    }
}

/// A cache of the objects behind `api`, each without what `trim` takes off. `hears` gets each event once the cache has it.
///
/// An object that does not parse is left out of the cache, and does not stall the watch. `hears` is not told when an
/// object leaves the cache for this reason: it is not deleted. `readiness` learns whether the watch works.
pub fn watched<K>(
    api: Api<K>,
    trim: fn(&mut K),
    readiness: Readiness,
    hears: impl Fn(&Event<K>, &Store<K>, &UnreadableObjects) + Send + Sync + 'static,
) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, mut writer) = reflector::store();
    let (fill, filled) = watch::channel(false);
    let unreadable = Arc::<UnreadableObjects>::default();
    let (cache, set_aside) = (store.clone(), unreadable.clone());
    let mut take_in = move |event| {
        let (event, is_told) = parsed(event, &cache, &set_aside)?;
        let event = event.modify(|object| {
            leave_out(object);
            trim(object);
        });
        writer.apply_watcher_event(&event);
        if is_told {
            hears(&event, &cache, &set_aside);
        }
        match event {
            Event::Apply(object) | Event::InitApply(object) => return Some(object),
            Event::InitDone => _ = fill.send_replace(true),
            Event::Delete(_) | Event::Init => {}
        }
        None
    };
    let stream = followed(api, PATIENCE, readiness)
        .filter_map(move |event| futures::future::ready(event.map(&mut take_in).transpose()))
        .boxed();
    Watched {
        store,
        stream,
        filled,
        unreadable,
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

/// Sets objects aside that do not parse. Returns what the cache takes in, and true if `hears` is called for it.
fn parsed<K>(
    event: Event<Read<K>>,
    cache: &Store<K>,
    unreadable: &UnreadableObjects,
) -> Option<(Event<K>, bool)>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let cached = |object: &Unreadable| {
        let mut key = ObjectRef::new(object.metadata.name.as_deref().unwrap_or_default());
        key.namespace.clone_from(&object.metadata.namespace);
        cache.get(&key)
    };
    Some(match event {
        Event::Init => {
            unreadable.list_begins();
            (Event::Init, true)
        }
        Event::InitApply(Ok(object)) => (Event::InitApply(object), true),
        Event::InitApply(Err(object)) => {
            warn::<K>(&object);
            unreadable.arrives(*object);
            return None;
        }
        Event::InitDone => {
            unreadable.list_is_complete();
            (Event::InitDone, true)
        }
        Event::Apply(Ok(object)) => {
            unreadable.remove(&full_name(&object));
            (Event::Apply(object), true)
        }
        Event::Apply(Err(object)) => {
            warn::<K>(&object);
            let before = cached(&object);
            unreadable.insert(*object);
            // As after a restart. Of the old spec nobody can say whether it is still wanted.
            (Event::Delete((*before?).clone()), false)
        }
        Event::Delete(Ok(object)) => {
            unreadable.remove(&full_name(&object));
            (Event::Delete(object), true)
        }
        Event::Delete(Err(object)) => {
            unreadable.remove(&object.full_name());
            let mut last = (*cached(&object)?).clone();
            *last.meta_mut() = object.metadata;
            (Event::Delete(last), true)
        }
    })
}

/// The name by which [`UnreadableObjects`] knows an object.
fn full_name<K: Resource>(object: &K) -> String {
    let name = object.name_any();
    match &object.meta().namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    }
}

fn warn<K: Resource<DynamicType = ()>>(object: &Unreadable) {
    tracing::warn!(
        kind = %K::kind(&()),
        object = object.full_name(),
        problem = object.problem,
        "object cannot be read and is left out: correct it, or update the CRDs"
    );
}

/// How long the API server may take for the next piece of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the API server keeps a watch open, in seconds. kube's watcher and client-go have about the same.
const WATCH: u32 = 290;
/// How long the first watches after a failure are open, in seconds. All is listed again after each: soon after a start of the API server
/// a watch can be of a cache that is no longer fed, without an event, an error or an end. How soon depends on the machine.
const WATCHES_AFTER_FAILURE: [u32; 3] = [10, 20, 40];
/// How much later a watch is ended from our side, if the API server has not.
const OVERDUE: Duration = Duration::from_secs(5);
/// A watch that is open for so long without an error works, although it has no event.
const STEADY: Duration = Duration::from_secs(10);
/// A watch that ends sooner than this, and without an event, has failed.
const TOO_SHORT: Duration = Duration::from_secs(1);
/// Events that are read ahead of the cache.
const AHEAD: usize = 16;

/// Lists and watches all objects, again and again, with a growing pause after each failure.
///
/// A list is a plain one in pages, never a streamed one: after a restart of the API server a streamed list can fail to
/// end, or be of a cache that is no longer fed. After an error all is listed again, for the same reason.
fn followed<K>(
    api: Api<K>,
    patience: Duration,
    readiness: Readiness,
) -> impl Stream<Item = watcher::Result<Event<Read<K>>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + 'static,
{
    let (events, told) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let kind = static_kind(&K::kind(&()));
        let work = async {
            let mut pauses = DefaultBackoff::default();
            let mut first_watches: &[u32] = &[];
            let mut last_error = String::new();
            loop {
                let Err(error) = list_and_watch(&api, first_watches, patience, &readiness, &events).await;
                first_watches = &WATCHES_AFTER_FAILURE;
                let text = error_chain(&error);
                // A watch that has worked in between fails for another time.
                let is_failing = readiness.failing().iter().any(|(failing, _)| *failing == kind);
                if is_failing && text == last_error {
                    tracing::debug!(kind, error = text, "watch failed as before, trying again");
                } else {
                    tracing::warn!(kind, error = text, "watch failed, trying again");
                }
                readiness.fails(kind, &text);
                last_error = text;
                let _ = events.send(Err(error)).await;
                tokio::time::sleep(pauses.next().unwrap_or(PATIENCE)).await;
            }
        };
        tokio::select! {
            () = events.closed() => {}
            () = work => {}
        }
    });
    futures::stream::unfold(told, |mut told| async move { Some((told.recv().await?, told)) })
}

/// Events for whoever reads them. That nobody does any more ends the sender's task.
type Events<K> = mpsc::Sender<watcher::Result<Event<Read<K>>>>;

/// Lists and watches until a failure. The first watches last `first_watches` seconds, and a list follows each of them.
async fn list_and_watch<K>(
    api: &Api<K>,
    first_watches: &[u32],
    patience: Duration,
    readiness: &Readiness,
    events: &Events<K>,
) -> watcher::Result<Infallible>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    for seconds in first_watches {
        let mut version = list(api, patience, events).await?;
        watch_from(api, &mut version, *seconds, patience, readiness, events).await?;
    }
    let mut version = list(api, patience, events).await?;
    loop {
        watch_from(api, &mut version, WATCH, patience, readiness, events).await?;
    }
}

/// Lists all objects. Returns the version from which to watch.
async fn list<K>(api: &Api<K>, patience: Duration, events: &Events<K>) -> watcher::Result<String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    let _ = events.send(Ok(Event::Init)).await;
    let mut list = Listing::new(api, patience);
    while let Some(object) = list.next().await.map_err(watcher::Error::InitialListFailed)? {
        let _ = events.send(Ok(Event::InitApply(object))).await;
    }
    let version = list
        .version()
        .ok_or(watcher::Error::NoResourceVersion)?
        .to_owned();
    let _ = events.send(Ok(Event::InitDone)).await;
    Ok(version)
}

/// Watches from a version on, until the API server ends the watch. Leaves the version from which to watch next.
async fn watch_from<K>(
    api: &Api<K>,
    version: &mut String,
    seconds: u32,
    patience: Duration,
    readiness: &Readiness,
    events: &Events<K>,
) -> watcher::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    let kind = static_kind(&K::kind(&()));
    let params = WatchParams::default().timeout(seconds);
    let request = Request::new(api.resource_url()).watch(&params, version);
    let request =
        request.map_err(|error| watcher::Error::WatchStartFailed(kube::Error::BuildRequest(error)))?;
    let lines = Lines::new(&api.clone().into_client(), request, patience).await;
    let mut lines = lines.map_err(watcher::Error::WatchStartFailed)?;
    let began = Instant::now();
    let mut works = false;
    loop {
        let wait = if works {
            (Duration::from_secs(seconds.into()) + OVERDUE).saturating_sub(began.elapsed())
        } else {
            STEADY
        };
        let line = match timeout(wait, lines.next()).await {
            Ok(line) => line.map_err(watcher::Error::WatchFailed)?,
            Err(_) if works => return Ok(()),
            Err(_) => {
                works = true;
                readiness.works(kind);
                continue;
            }
        };
        let Some(line) = line else {
            if !works && began.elapsed() < TOO_SHORT {
                return Err(failed("the API server ends the watch at once"));
            }
            return Ok(());
        };
        let (type_, text) =
            objects::event(&line).ok_or_else(|| failed("a line of the API server's watch does not parse"))?;
        if type_ == "ERROR" {
            let status: Status = serde_json::from_slice(text).unwrap_or_default();
            return Err(watcher::Error::WatchError(status.boxed()));
        }
        works = true;
        readiness.works(kind);
        if type_ == "BOOKMARK" {
            if let Some(now) = objects::version(text) {
                *version = now;
            }
            continue;
        }
        *version = objects::version(text).ok_or(watcher::Error::NoResourceVersion)?;
        let object = objects::read(text);
        let event = match type_.as_str() {
            "ADDED" | "MODIFIED" => Event::Apply(object),
            "DELETED" => Event::Delete(object),
            _ => continue,
        };
        let _ = events.send(Ok(event)).await;
    }
}

fn failed(why: &'static str) -> watcher::Error {
    watcher::Error::WatchFailed(kube::Error::Service(why.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::{Context, Poll};

    use futures::future::BoxFuture;
    use http::{Response, StatusCode};
    use kube::Client;
    use kube::client::Body;
    use rolectl_crds::{IamRole, MfaSession};
    use serde_json::{Value, json};

    use super::*;
    use rolectl_kube::objects::nested;

    /// An API server that gives each answer once. To what is asked beyond that it never answers.
    #[derive(Clone, Default)]
    struct Answers {
        lists: Arc<Mutex<VecDeque<(u16, String)>>>,
        watches: Arc<Mutex<VecDeque<(u16, String)>>>,
        /// What was asked.
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Answers {
        fn list(self, items: &[String]) -> Self {
            self.page(items, "")
        }

        fn page(self, items: &[String], token: &str) -> Self {
            let items = items.join(",");
            // Keys in the order of the API server.
            let list = format!(
                r#"{{"apiVersion":"v1","items":[{items}],"kind":"List","metadata":{{"continue":"{token}","resourceVersion":"7"}}}}"#
            );
            self.lists.lock().push_back((200, list));
            self
        }

        fn watch(self, lines: &[(&str, String)]) -> Self {
            let lines = lines
                .iter()
                .map(|(type_, object)| format!("{{\"type\":\"{type_}\",\"object\":{object}}}\n"));
            self.watches.lock().push_back((200, lines.collect()));
            self
        }

        fn client(&self) -> Client {
            Client::new(self.clone(), "default")
        }
    }

    impl tower_service::Service<http::Request<Body>> for Answers {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let queue = if query.contains("watch=true") {
                &self.watches
            } else {
                &self.lists
            };
            let answer = queue.lock().pop_front();
            self.asked.lock().push(query);
            Box::pin(async move {
                let Some((code, text)) = answer else {
                    return std::future::pending().await;
                };
                let mut response = Response::new(Body::from(text.into_bytes()));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                Ok(response)
            })
        }
    }

    fn session(name: &str, version: u32) -> String {
        let metadata = json!({"name": name, "resourceVersion": version.to_string()});
        json!({"metadata": metadata, "spec": {"accountId": "111111111111"}}).to_string()
    }

    fn role(name: &str) -> String {
        let spec = json!({"accounts": {"names": ["dev"]}, "assumeRolePolicy": {"Statement": []}});
        let metadata =
            json!({"name": name, "namespace": "team", "resourceVersion": "8", "finalizers": ["x"]});
        json!({"metadata": metadata, "spec": spec}).to_string()
    }

    /// Names of the roles in the cache, and of those that do not parse.
    fn names(watched: &Watched<IamRole>) -> (Vec<String>, Vec<String>) {
        let mut read: Vec<String> = watched.store.state().iter().map(|role| role.name_any()).collect();
        read.sort();
        (
            read,
            watched
                .unreadable
                .all()
                .iter()
                .map(|object| object.full_name())
                .collect(),
        )
    }

    /// What is told of deleted roles.
    type Deleted = Arc<Mutex<Vec<(String, Option<Vec<String>>)>>>;

    fn roles(answers: &Answers) -> (Watched<IamRole>, Deleted) {
        let (deleted, readiness) = (Deleted::default(), Readiness::default());
        let told = deleted.clone();
        let watched = watched(
            Api::all(answers.client()),
            |_: &mut IamRole| {},
            readiness,
            move |event, _, _| {
                if let Event::Delete(role) = event {
                    told.lock()
                        .push((role.name_any(), role.metadata.finalizers.clone()));
                }
            },
        );
        (watched, deleted)
    }

    #[tokio::test]
    async fn objects_that_are_nested_too_deeply_hide_no_other_one_in_a_list_or_in_a_watch() {
        let answers = Answers::default()
            .page(&[role("a"), nested("deep", 200), role("b")], "next")
            .list(&[nested("abyss", 9_999), role("c")])
            .watch(&[
                ("ADDED", nested("later", 9_999)),
                ("ADDED", role("d")),
                ("MODIFIED", nested("b", 200)),
                ("MODIFIED", role("deep")),
                ("DELETED", nested("abyss", 9_999)),
                ("ADDED", role("last")),
            ]);
        let (mut watched, deleted) = roles(&answers);
        let mut seen = vec![];
        while seen.last().is_none_or(|name| name != "last") {
            seen.push(watched.stream.next().await.unwrap().unwrap().name_any());
        }
        assert_eq!(seen, ["a", "b", "c", "d", "deep", "last"]);
        assert_eq!(
            names(&watched),
            (
                ["a", "c", "d", "deep", "last"].map(str::to_owned).into(),
                ["team/b", "team/later"].map(str::to_owned).into()
            )
        );
        assert!(*watched.filled.borrow());
        assert_eq!(
            *deleted.lock(),
            [],
            "an object that does not parse is not deleted"
        );
        let asked = answers.asked.lock().join(" ");
        assert!(
            asked.contains("limit=500") && asked.contains("continue=next"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn an_object_that_is_deleted_in_a_state_that_does_not_parse_is_deleted_as_it_was_at_the_end() {
        let answers = Answers::default()
            .list(&[role("a")])
            .watch(&[("DELETED", nested("a", 200)), ("ADDED", role("last"))]);
        let (mut watched, deleted) = roles(&answers);
        for _ in 0..2 {
            watched.stream.next().await.unwrap().unwrap();
        }
        assert_eq!(
            *deleted.lock(),
            [("a".to_owned(), None)],
            "its finalizer is not on it any more"
        );
        assert_eq!(names(&watched), (vec!["last".to_owned()], vec![]));
    }

    #[tokio::test]
    async fn a_new_list_forgets_what_it_does_not_contain_but_never_what_does_not_parse() {
        let gone = json!({"kind": "Status", "code": 410, "reason": "Expired"}).to_string();
        let answers = Answers::default()
            .list(&[role("a"), nested("deep", 200), nested("away", 200)])
            .watch(&[("ERROR", gone)])
            .list(&[nested("a", 200), nested("deep", 200), role("last")]);
        let (mut watched, deleted) = roles(&answers);
        assert!(matches!(watched.stream.next().await, Some(Ok(_))));
        let error = watched.stream.next().await.unwrap().unwrap_err();
        assert!(
            matches!(&error, watcher::Error::WatchError(status) if status.code == 410),
            "{error}"
        );
        assert_eq!(watched.stream.next().await.unwrap().unwrap().name_any(), "last");
        let expected = (
            vec!["last".to_owned()],
            ["team/a", "team/deep"].map(str::to_owned).into(),
        );
        // The end of the list is behind its last object.
        while names(&watched) != expected {
            assert!(futures::poll!(watched.stream.next()).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(*deleted.lock(), []);
    }

    #[tokio::test]
    async fn all_is_listed_again_after_the_first_watch_that_follows_a_failure() {
        let gone = json!({"kind": "Status", "code": 410, "reason": "Expired"}).to_string();
        let answers = Answers::default()
            .list(&[role("a")])
            .watch(&[("ERROR", gone)])
            .list(&[role("a")])
            .watch(&[("ADDED", role("b"))])
            .list(&[role("a"), role("missed")]);
        let (mut watched, _) = roles(&answers);
        let mut seen = vec![];
        while seen.last().is_none_or(|name| name != "missed") {
            if let Ok(role) = watched.stream.next().await.unwrap() {
                seen.push(role.name_any());
            }
        }
        assert_eq!(seen, ["a", "a", "b", "a", "missed"]);
    }

    async fn first_list(answers: Answers) -> Vec<String> {
        let api: Api<MfaSession> = Api::all(answers.client());
        let mut events = followed(api, Duration::from_millis(50), Readiness::default()).boxed();
        let mut names = vec![];
        loop {
            match events.next().await.unwrap() {
                Ok(Event::InitDone) => return names,
                Ok(Event::InitApply(object)) => names.push(object.unwrap().name_any()),
                // The next list begins.
                _ => names.clear(),
            }
        }
    }

    #[tokio::test]
    async fn a_list_that_fails_or_ends_early_is_followed_by_another_one() {
        let answers = Answers::default();
        for (code, text) in [
            (500, "no"),
            (200, r#"{"items":[{"metadata":{"name":"half"}"#),
            (200, "<html>"),
        ] {
            answers.lists.lock().push_back((code, text.to_owned()));
        }
        assert_eq!(
            first_list(answers.list(&[session("default", 7)])).await,
            ["default"]
        );
    }

    #[tokio::test]
    async fn a_list_that_is_never_answered_is_given_up() {
        let answers = Answers::default();
        let api: Api<MfaSession> = Api::all(answers.client());
        let mut events = followed(api, Duration::from_millis(50), Readiness::default()).boxed();
        assert!(matches!(events.next().await, Some(Ok(Event::Init))));
        let error = error_chain(&events.next().await.unwrap().unwrap_err());
        assert!(error.contains("does not answer within"), "{error}");
    }

    #[tokio::test]
    async fn a_watch_goes_on_from_the_last_version_that_was_told() {
        let bookmark = json!({"metadata": {"resourceVersion": "12"}}).to_string();
        let answers = Answers::default()
            .list(&[session("a", 5)])
            .watch(&[("ADDED", session("b", 9))])
            .watch(&[("BOOKMARK", bookmark)]);
        let api: Api<MfaSession> = Api::all(answers.client());
        let events = followed(api, Duration::from_secs(5), Readiness::default());
        let mut events = events.boxed();
        while !matches!(events.next().await, Some(Ok(Event::Apply(_)))) {}
        let asked = || {
            answers
                .asked
                .lock()
                .iter()
                .filter(|q| q.contains("watch=true"))
                .count()
        };
        while asked() < 3 {
            tokio::task::yield_now().await;
        }
        let asked = answers.asked.lock().join(" ");
        for version in [7, 9, 12] {
            assert!(asked.contains(&format!("resourceVersion={version}")), "{asked}");
        }
    }

    #[tokio::test]
    async fn a_watch_that_cannot_be_begun_or_read_is_a_failure_that_readiness_tells() {
        let broken: Value = json!({"type": "ADDED"});
        for (code, text) in [
            (403, "no".to_owned()),
            (200, format!("{broken}\n")),
            (200, String::new()),
        ] {
            let answers = Answers::default().list(&[]);
            answers.watches.lock().push_back((code, text));
            let readiness = Readiness::default();
            let api: Api<MfaSession> = Api::all(answers.client());
            let mut events = followed(api, Duration::from_secs(5), readiness.clone()).boxed();
            while !matches!(events.next().await, Some(Err(_))) {}
            assert_eq!(
                readiness.failing().first().map(|(kind, _)| *kind),
                Some("MfaSession"),
                "{code}"
            );
        }
    }
}
