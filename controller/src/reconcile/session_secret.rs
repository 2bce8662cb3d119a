//! The Secret of an `MfaSession`: its watch, and its removal with the session.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use parking_lot::Mutex;
use rolectl_crds::{MfaSession, SESSION_SECRET_TYPE};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::context::Context;
use super::{Shared, error_chain};

/// The watches of sessions' Secrets, by `MfaSession`: the name of the Secret, and what ends its watch when it is dropped.
#[derive(Default)]
pub struct SecretWatches(Mutex<HashMap<String, (String, DropGuard)>>);

impl SecretWatches {
    /// What ends the watch that is to begin. `None`: this Secret is watched already. The watch of another Secret ends.
    pub(super) fn begin(
        &self,
        session: &str,
        secret: &str,
        shutdown: &CancellationToken,
    ) -> Option<CancellationToken> {
        let mut watches = self.0.lock();
        if watches.get(session).is_some_and(|(watched, _)| watched == secret) {
            return None;
        }
        let end = shutdown.child_token();
        watches.insert(session.to_owned(), (secret.to_owned(), end.clone().drop_guard()));
        Some(end)
    }

    /// Ends the watch of a session that is deleted. Returns the name of the Secret.
    pub(super) fn end(&self, session: &str) -> Option<String> {
        self.0.lock().remove(session).map(|(secret, _)| secret)
    }
}

/// How often the Secret of a deleted session is tried.
const TRIES: u32 = 5;

/// Deletes the Secret of a session that was deleted, so that nobody finds credentials there that no object speaks of. `rolectl unlock`
/// also makes the `MfaSession` the Secret's owner, for the case that no controller runs at that time.
pub(super) async fn remove_secret(context: Shared, session: String, secret: String) {
    for attempt in 0..TRIES {
        match try_remove_secret(&context, &session, &secret).await {
            Ok(()) => return,
            Err(error) if attempt + 1 == TRIES => {
                let namespace = &context.options.namespace;
                tracing::warn!(session, secret, error = %error_chain(&error),
                    "the MfaSession was deleted and its Secret could not be: run kubectl delete secret -n {namespace} {secret}");
            }
            Err(_) => tokio::select! {
                () = context.shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1 << attempt)) => {}
            },
        }
    }
}

async fn try_remove_secret(context: &Context, session: &str, secret: &str) -> Result<(), kube::Error> {
    // The cache may have missed an object that cannot be read, or one that was made again.
    let sessions: Api<MfaSession> = Api::all(context.client.clone());
    let is_wanted = |session: &MfaSession| session.secret_name() == secret;
    if sessions.get_metadata_opt(session).await?.is_some()
        || context
            .stores
            .sessions
            .state()
            .iter()
            .any(|session| is_wanted(session))
    {
        return Ok(());
    }
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &context.options.namespace);
    let Some(found) = api.get_opt(secret).await? else {
        return Ok(());
    };
    if found.type_.as_deref() != Some(SESSION_SECRET_TYPE) {
        tracing::warn!(
            session,
            secret,
            "the Secret is not of type {SESSION_SECRET_TYPE}, so it is not deleted"
        );
        return Ok(());
    }
    // Another object may have been unlocked into it meanwhile.
    let seen = Preconditions {
        uid: found.metadata.uid,
        resource_version: found.metadata.resource_version,
    };
    match api
        .delete(secret, &DeleteParams::default().preconditions(seen))
        .await
    {
        Ok(_) => {
            tracing::info!(session, secret, "deleted the Secret of a deleted MfaSession");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Wakes the session when its Secret changes. Only metadata is watched, so that no credential lies in a cache.
pub(super) fn watch_secret(session: &MfaSession, context: &Shared) {
    let (name, secret) = (session.name_any(), session.secret_name());
    let Some(end) = context.secret_watches.begin(&name, &secret, &context.shutdown) else {
        return;
    };
    let api: Api<PartialObjectMeta<Secret>> =
        Api::namespaced(context.client.clone(), &context.options.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={secret}"));
    let context = context.clone();
    tokio::spawn(async move {
        let mut changes = watcher(api, config).default_backoff().boxed();
        loop {
            let change = tokio::select! {
                () = end.cancelled() => return,
                change = changes.next() => change,
            };
            match change {
                None => return,
                Some(Ok(_)) => context.wake_session(&name),
                Some(Err(error)) => {
                    tracing::warn!(secret, %error, "Secret cannot be watched: check the controller's Role");
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_deleted_and_made_again_has_one_watch_of_its_secret() {
        let (watches, shutdown) = (SecretWatches::default(), CancellationToken::new());
        let first = watches.begin("main", "a", &shutdown).unwrap();
        assert!(watches.begin("main", "a", &shutdown).is_none() && !first.is_cancelled());
        watches.end("main");
        assert!(first.is_cancelled());
        let second = watches.begin("main", "a", &shutdown).unwrap();
        let third = watches.begin("main", "b", &shutdown).unwrap();
        assert!(second.is_cancelled() && !third.is_cancelled());
        shutdown.cancel();
        assert!(third.is_cancelled());
    }
}
