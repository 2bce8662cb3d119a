//! The only home of kube's runtime: one module a kind, each a list of named steps.
//!
//! `MfaSession` opens and closes sessions, `AwsAccount` sweeps, `IamRole` plans and applies. They wake one
//! another through [`Context`]'s queues: a session wakes its accounts, an account wakes those of its roles
//! that are not as they were left. A role in sync costs nothing, not even a queue entry.

mod access;
mod aws_account;
mod context;
mod events;
mod iam_role;
mod mfa_session;
mod store;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Predicate as _, predicates};
use kube::{Api, Client};
use rolectl_crds::{AwsAccount, IamRole, MfaSession};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

pub use context::Context;

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
    /// How many roles may be worked on at a time.
    pub concurrency: u16,
    /// How long a principal that AWS does not know may be one that was just made.
    pub principal_patience: Duration,
}

/// A failed reconcile. What a user can mend is in the status instead; this is for the API server's failures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{0}: {1}")]
    Kube(&'static str, #[source] Box<kube::Error>),
    /// An object lacks what the API server always sets.
    #[error("object without {0}")]
    Incomplete(&'static str),
}

impl Error {
    fn kube(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |error| Self::Kube(what, Box::new(error))
    }
}

/// How long to wait after the API server failed us.
const API_RETRY: Duration = Duration::from_secs(3);

/// Runs the three controllers until `shutdown`, and then until all that was begun has come to its next safe point.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
    ready: impl FnOnce() + Send + 'static,
) {
    let (role_queue, role_wakes) = unbounded_channel();
    let (account_queue, account_wakes) = unbounded_channel();
    let (session_queue, session_wakes) = unbounded_channel();

    let role_api = match &options.watch_namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (gone_roles, mut roles_gone) = unbounded_channel();
    let roles = store::watched(role_api, move |gone: &IamRole| {
        let _ = gone_roles.send(gone.clone());
    });
    let accounts = store::watched(Api::all(client.clone()), |_: &AwsAccount| {});
    let gone_queue = session_queue.clone();
    let sessions = store::watched(Api::all(client.clone()), move |gone: &MfaSession| {
        let _ = gone_queue.send(ObjectRef::from_obj(gone));
    });

    let concurrency = options.concurrency;
    let context = Context::new(
        client,
        options,
        context::Stores {
            roles: roles.store.clone(),
            accounts: accounts.store.clone(),
            sessions: sessions.store.clone(),
            filled: [roles.filled, accounts.filled, sessions.filled],
        },
        context::Queues {
            roles: role_queue,
            accounts: account_queue,
            sessions: session_queue,
        },
        shutdown.clone(),
    )
    .await;

    let becomes_ready = {
        let context = context.clone();
        async move {
            context.caches_filled().await;
            ready();
        }
    };

    let mourner = context.clone();
    tokio::spawn(async move {
        while let Some(role) = roles_gone.recv().await {
            iam_role::gone(&mourner, &role);
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
        .combine(predicates::annotations);
    let account_changed = predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::labels);

    let session_controller =
        Controller::for_stream(filtered(sessions.stream, predicates::generation), sessions.store)
            .with_config(Config::default().concurrency(16))
            .reconcile_on(session_wakes)
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(
                mfa_session::reconcile,
                |_, error, _| retry("MfaSession", error),
                context.clone(),
            );
    let account_controller =
        Controller::for_stream(filtered(accounts.stream, account_changed), accounts.store)
            .with_config(Config::default().concurrency(64))
            .reconcile_on(queue(account_wakes))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(
                aws_account::reconcile,
                |_, error, _| retry("AwsAccount", error),
                context.clone(),
            );
    let role_controller = Controller::for_stream(filtered(roles.stream, changed), roles.store)
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(queue(role_wakes))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            iam_role::reconcile,
            |_, error, _| retry("IamRole", error),
            context,
        );

    tokio::spawn(becomes_ready);
    // A task each: accounts and sessions are not starved while many roles are busy.
    let tasks = [
        tokio::spawn(session_controller.for_each(|_| futures::future::ready(()))),
        tokio::spawn(account_controller.for_each(|_| futures::future::ready(()))),
        tokio::spawn(role_controller.for_each(|_| futures::future::ready(()))),
    ];
    // None of them ends by itself: one that does has failed, and the process must not live on without it.
    let (_, _, others) = futures::future::select_all(tasks).await;
    if shutdown.is_cancelled() {
        futures::future::join_all(others).await;
    }
}

fn filtered<K>(
    stream: store::ObjectStream<K>,
    predicate: impl kube::runtime::Predicate<K> + Send + Unpin + 'static,
) -> impl futures::Stream<Item = Result<K, kube::runtime::watcher::Error>> + Send
where
    K: kube::Resource<DynamicType = ()> + Send + 'static,
{
    use kube::runtime::WatchStreamExt as _;
    stream.predicate_filter(predicate, kube::runtime::PredicateConfig::default())
}

fn queue<T: Send + 'static>(
    receiver: tokio::sync::mpsc::UnboundedReceiver<T>,
) -> impl futures::Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    })
}

fn retry(kind: &'static str, error: &Error) -> Action {
    tracing::warn!(kind, error = %error_chain(error), "reconcile failed, trying again");
    Action::requeue(API_RETRY.mul_f64(rand::random_range(0.7..1.3)))
}

/// An error with its causes, in one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Shared by all reconcilers.
pub(crate) type Shared = Arc<Context>;
