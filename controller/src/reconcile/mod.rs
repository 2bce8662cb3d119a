//! The only home of kube's runtime: watches, and a controller for each kind.
//!
//! ```text
//! Secret ------> mfa_session -> sessions (rolectl_aws)
//! MfaSession --'      | wakes
//! AwsAccount --> account ----> actors (rolectl_aws): one for each account
//! IamRole -----> role: assign ---^   | reports
//!                role: status <------'
//! ```
//!
//! The caches are filled by [`store`], and the actors read them through [`directory`].

mod account;
mod api_writes;
mod context;
mod directory;
mod events;
mod gauges;
mod mfa_session;
mod namespaces;
mod pauses;
mod resume;
mod role;
mod role_names;
mod session_secret;
mod shards;
mod store;
mod unreadable;
mod waiting;
mod wakes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::runtime::{Predicate as _, predicates};
use kube::{Api, Client, ResourceExt as _};
use rolectl_core::digest::sha256;
use rolectl_crds::{AwsAccount, IamRole, MfaSession};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::health::Readiness;
use crate::metrics::Metrics;
pub use context::Context;
use role_names::RoleNames;
use rolectl_aws::spans;
pub(crate) use rolectl_core::causes::error_chain;
pub use shards::shard_of;

/// What the controllers are to look after, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of the controller, in which session Secrets live.
    pub namespace: String,
    /// Names this cluster in owner tags.
    pub cluster: String,
    /// Only `IamRole`s of this namespace. Absent: all.
    pub watch_namespace: Option<String>,
    /// Only these `MfaSession`s and the accounts that refer to them. Empty: all.
    pub sessions: Vec<String>,
    /// Into how many shards the accounts are divided between replicas. 0: this process is alone.
    pub shards: u16,
    /// Name of this replica, unlike any other's, past ones included.
    pub replica: String,
    /// How many roles may be worked on, and AWS calls be under way, at a time.
    pub concurrency: u16,
    /// How long a principal that AWS does not know may be one that was just made.
    pub principal_patience: Duration,
}

impl Options {
    /// What the names of our Leases begin with. Controllers that look after different objects do not share any.
    fn lease_prefix(&self) -> String {
        if self.watch_namespace.is_none() && self.sessions.is_empty() {
            return "rolectl".to_owned();
        }
        let sessions: BTreeSet<&String> = self.sessions.iter().collect();
        let scope = format!("{:?} {sessions:?}", self.watch_namespace);
        let digest = sha256(scope);
        format!("rolectl-{}", digest.chars().take(8).collect::<String>())
    }
}

/// A failed reconcile. What a user can mend is in the status instead; this is for the API server's failures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{0}: {1}")]
    Kube(&'static str, #[source] Box<kube::Error>),
    /// Others have changed the object since it was read.
    #[error("the object has changed since it was read")]
    Contended,
    /// An object lacks what the API server always sets.
    #[error("object without {0}")]
    Incomplete(&'static str),
}

impl Error {
    fn kube(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |error| Self::Kube(what, Box::new(error))
    }
}

/// How soon to try again after the API server failed us, at first and at most.
const API_RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(2));
/// How long an answer of the API server may take.
const API_ANSWER: Duration = Duration::from_secs(10);

/// A call to the API server, which ends as a failure when no answer comes in time. The client's own retries can take minutes.
pub(crate) async fn bounded_call<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    tokio::time::timeout(API_ANSWER, call).await.unwrap_or_else(|_| {
        let message = format!("no answer from the API server within {} s", API_ANSWER.as_secs());
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, message);
        Err(kube::Error::Service(Box::new(late)))
    })
}

/// Runs the three controllers until `shutdown`, and then until all that was begun has come to its next safe point.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
    metrics: Arc<Metrics>,
    readiness: Readiness,
) {
    let (role_queue, role_wakes) = unbounded_channel();
    let (account_queue, account_wakes) = unbounded_channel();
    let (session_queue, session_wakes) = unbounded_channel();

    let (gone_roles, mut roles_gone) = unbounded_channel();
    let names = Arc::<RoleNames>::default();
    let namespace = options.watch_namespace.as_deref();
    let roles = watch_roles(&client, namespace, readiness.clone(), names.clone(), gone_roles);
    let (deleted_accounts, mut accounts_deleted) = unbounded_channel();
    let accounts = watch_accounts(&client, readiness.clone(), deleted_accounts);
    let sessions = watch_sessions(&client, readiness.clone(), session_queue.clone());
    let (relabelled, mut relabels) = unbounded_channel();
    let namespaces = namespaces::watch(&client, readiness.clone(), relabelled);

    for (kind, filled) in [
        ("IamRole", &roles.filled),
        ("AwsAccount", &accounts.filled),
        ("MfaSession", &sessions.filled),
        ("Namespace", &namespaces.filled),
    ] {
        let (mut filled, readiness) = (filled.clone(), readiness.clone());
        tokio::spawn(async move {
            // A closed channel means that the process goes down.
            if filled.wait_for(|filled| *filled).await.is_ok() {
                readiness.filled(kind);
            }
        });
    }

    let concurrency = options.concurrency;
    let (lease_client, namespace) = (client.clone(), options.namespace.clone());
    let context = Context::new(
        client,
        options,
        metrics.clone(),
        context::Stores {
            roles: roles.store.clone(),
            names,
            accounts: accounts.store.clone(),
            sessions: sessions.store.clone(),
            namespaces: namespaces.store,
            filled: [roles.filled, accounts.filled, sessions.filled, namespaces.filled],
            unreadable: context::UnreadableOf {
                roles: roles.unreadable,
                accounts: accounts.unreadable,
                sessions: sessions.unreadable,
            },
        },
        context::Queues {
            roles: role_queue,
            accounts: account_queue,
            sessions: session_queue,
        },
        shutdown.clone(),
    )
    .await;

    start_reports(&context, &metrics, readiness);
    let drained = CancellationToken::new();
    let coordination = tokio::spawn(coordinate(
        context.clone(),
        lease_client,
        namespace,
        shutdown.clone(),
        drained.clone(),
    ));

    let cleaner = context.clone();
    tokio::spawn(async move {
        while let Some((name, key, uid, leftover)) = roles_gone.recv().await {
            role::gone(&cleaner, &name, &key, uid.as_deref(), leftover);
        }
    });

    let forgetting = context.clone();
    tokio::spawn(async move {
        while let Some(name) = accounts_deleted.recv().await {
            account::deleted(&name, &forgetting);
        }
    });

    tokio::spawn(namespaces::fill(namespaces.stream));
    let relabelled = context.clone();
    tokio::spawn(async move {
        while let Some(namespace) = relabels.recv().await {
            relabelled.wake_roles_in(&namespace);
        }
    });

    // A session that is gone has no object to reconcile, so its end is taken from the queue itself.
    let watched = context.clone();
    let session_wakes = queue(session_wakes).filter(move |key| {
        mfa_session::forget_if_gone(&watched, key);
        futures::future::ready(true)
    });

    let changed = predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::annotations)
        .combine(role::parts);
    let account_changed = predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::annotations)
        .combine(predicates::labels);

    let session_controller = Controller::for_stream(
        filtered(sessions.stream, predicates::generation, context.clone()),
        sessions.store,
    )
    .with_config(Config::default().concurrency(16))
    .reconcile_on(session_wakes)
    .graceful_shutdown_on(shutdown.clone().cancelled_owned())
    .run(
        |session: Arc<MfaSession>, context| measured(session, context, mfa_session::reconcile),
        |object, error, context| retry(&*object, error, &context),
        context.clone(),
    );
    let account_controller = Controller::for_stream(
        filtered(accounts.stream, account_changed, context.clone()),
        accounts.store,
    )
    .with_config(Config::default().concurrency(64))
    .reconcile_on(queue(account_wakes))
    .graceful_shutdown_on(shutdown.clone().cancelled_owned())
    .run(
        |account: Arc<AwsAccount>, context| measured(account, context, account::reconcile),
        |object, error, context| retry(&*object, error, &context),
        context.clone(),
    );
    let role_controller =
        Controller::for_stream(filtered(roles.stream, changed, context.clone()), roles.store)
            .with_config(Config::default().concurrency(concurrency))
            .reconcile_on(queue(role_wakes))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(
                |role: Arc<IamRole>, context| measured(role, context, role::reconcile),
                |object, error, context| retry(&*object, error, &context),
                context.clone(),
            );

    // A task each: accounts and sessions are not starved while many roles are busy.
    let tasks = [
        tokio::spawn(session_controller.for_each(|_| futures::future::ready(()))),
        tokio::spawn(account_controller.for_each(|_| futures::future::ready(()))),
        tokio::spawn(role_controller.for_each(|_| futures::future::ready(()))),
    ];
    until_the_end(&context, tasks, coordination, &shutdown, &drained).await;
}

/// The roles that have left the cache because they are deleted, by their name in AWS, with their uid. The last state of the object
/// follows where its role in AWS is still to be removed.
type GoneRoles = UnboundedSender<(Box<str>, ObjectRef<IamRole>, Option<String>, Option<IamRole>)>;

fn watch_roles(
    client: &Client,
    namespace: Option<&str>,
    readiness: Readiness,
    names: Arc<RoleNames>,
    gone: GoneRoles,
) -> store::Watched<IamRole> {
    let api = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    store::watched(
        api,
        role::shrink,
        readiness,
        move |event: &Event<IamRole>, cache, unreadable| {
            // Only the event of a deletion has the last state of the object; a new list does not.
            let deleted = match event {
                Event::Delete(role) => Some(role),
                _ => None,
            };
            let uid = deleted.and_then(kube::ResourceExt::uid);
            let leftover = deleted.filter(|role| role::went_without_finalizer(role));
            for (name, key) in names.follow(event, cache) {
                let namespace = key.namespace.as_deref().unwrap_or_default();
                // In no cache, but not deleted.
                if unreadable.get(&format!("{namespace}/{}", key.name)).is_some() {
                    continue;
                }
                // A closed queue means that the process goes down.
                let _ = gone.send((name, key, uid.clone(), leftover.cloned()));
            }
        },
    )
}

/// Names of accounts that leave the cache because they are deleted go to `deleted`.
fn watch_accounts(
    client: &Client,
    readiness: Readiness,
    deleted: UnboundedSender<String>,
) -> store::Watched<AwsAccount> {
    store::watched(
        Api::all(client.clone()),
        |_| {},
        readiness,
        move |event: &Event<AwsAccount>, _, _| {
            if let Event::Delete(account) = event {
                // A closed queue means that the process goes down.
                let _ = deleted.send(account.name_any());
            }
        },
    )
}

fn watch_sessions(
    client: &Client,
    readiness: Readiness,
    gone: UnboundedSender<ObjectRef<MfaSession>>,
) -> store::Watched<MfaSession> {
    store::watched(
        Api::all(client.clone()),
        |_| {},
        readiness,
        move |event: &Event<MfaSession>, _, _| {
            if let Event::Delete(session) = event {
                let _ = gone.send(ObjectRef::from_obj(session));
            }
        },
    )
}

/// Starts the gauges, and the statuses of objects that cannot be read.
fn start_reports(context: &Shared, metrics: &Metrics, readiness: Readiness) {
    let looked_up = context.clone();
    metrics.on_scrape(move |metrics| {
        looked_up.look_up(metrics);
        metrics.watches_fail(&readiness.failing());
    });
    let unreadable = &context.stores.unreadable;
    tokio::spawn(unreadable::report::<IamRole>(
        context.clone(),
        unreadable.roles.clone(),
    ));
    tokio::spawn(unreadable::report::<AwsAccount>(
        context.clone(),
        unreadable.accounts.clone(),
    ));
    tokio::spawn(unreadable::report::<MfaSession>(
        context.clone(),
        unreadable.sessions.clone(),
    ));
}

/// Waits until all that was begun has come to its end.
async fn until_the_end(
    context: &Shared,
    tasks: [JoinHandle<()>; 3],
    mut coordination: JoinHandle<()>,
    shutdown: &CancellationToken,
    drained: &CancellationToken,
) {
    let aborts = tasks.each_ref().map(JoinHandle::abort_handle);
    let (shutdown_began, filling) = (shutdown.clone(), context.clone());
    tokio::spawn(async move {
        shutdown_began.cancelled().await;
        // A controller whose cache was not filled yet waits for it, and nobody fills it any more. It has begun nothing.
        if !filling.is_filled() {
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    });
    // None of them ends by itself: one that does has failed, and the process must not live on without it. Leases are not
    // given back then, since calls may be under way; they run out.
    tokio::select! {
        _ = &mut coordination => return,
        (_, _, others) = futures::future::select_all(tasks) => {
            if !shutdown.is_cancelled() {
                return;
            }
            futures::future::join_all(others).await;
        }
    }
    context.actors_have_ended().await;
    // No call is under way any more: other replicas may take over at once.
    drained.cancel();
    let _ = coordination.await;
}

/// Divides the accounts with other replicas, once this one can do its work, until all is `drained`.
async fn coordinate(
    context: Shared,
    client: Client,
    namespace: String,
    shutdown: CancellationToken,
    drained: CancellationToken,
) {
    let shards = context.shards.clone();
    // Who cannot fill its caches would only keep accounts from those who can.
    if shards.are_shared() && context.ready().await {
        let changed = move || context.wake_all();
        let leases: Api<Lease> = Api::namespaced(client, &namespace);
        shards.run(Arc::new(leases), shutdown, drained, changed).await;
    } else {
        drained.cancelled().await;
    }
}

fn filtered<K>(
    stream: store::ObjectStream<K>,
    predicate: impl kube::runtime::Predicate<K> + Send + Unpin + 'static,
    context: Shared,
) -> impl futures::Stream<Item = Result<K, kube::runtime::watcher::Error>> + Send
where
    K: kube::Resource<DynamicType = ()> + Send + 'static,
{
    use futures::TryStreamExt as _;
    use kube::runtime::WatchStreamExt as _;
    stream
        .predicate_filter(predicate, kube::runtime::PredicateConfig::default())
        .inspect_ok(move |object| context.waiting.enter(&ObjectRef::from_obj(object)))
}

/// Reconciles one object, counted and timed.
async fn measured<K, F>(
    object: Arc<K>,
    context: Shared,
    reconcile: impl FnOnce(Arc<K>, Shared) -> F,
) -> Result<Action, Error>
where
    K: kube::Resource<DynamicType = ()>,
    F: Future<Output = Result<Action, Error>>,
{
    context.waiting.leave(&ObjectRef::from_obj(&*object));
    let began = tokio::time::Instant::now();
    let kind = waiting::static_kind(&K::kind(&()));
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let span = spans::reconcile(kind, meta.namespace.as_deref(), name);
    let result = reconcile(object.clone(), context.clone())
        .instrument(span.clone())
        .await;
    if result.is_err() {
        spans::failed(&span, None);
    } else {
        context.api_answered(&*object);
    }
    context
        .metrics
        .reconciled(kind, result.is_ok(), began.elapsed().as_secs_f64());
    result
}

fn queue<T: Send + 'static>(
    receiver: tokio::sync::mpsc::UnboundedReceiver<T>,
) -> impl futures::Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    })
}

fn retry<K: kube::Resource<DynamicType = ()>>(object: &K, error: &Error, context: &Context) -> Action {
    let wait = pauses::backoff(context.api_failed(object), API_RETRY);
    let (kind, name) = (waiting::static_kind(&K::kind(&())), object.meta().name.as_deref());
    tracing::warn!(kind, name, error = %error_chain(error), wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "reconcile failed, trying again");
    Action::requeue(wait)
}

/// Shared by all reconcilers.
pub(crate) type Shared = Arc<Context>;
