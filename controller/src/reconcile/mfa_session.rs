//! `MfaSession`: takes up what `rolectl unlock` stored, and lets go of it in time.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sts::Client as Sts;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use rolectl_crds::{MfaSession, MfaSessionStatus, Phase, Reason, SESSION_SECRET_TYPE};

use super::context::{Context, Others};
use super::resume::resume;
use super::{Error, Shared, events};
use crate::aws::error::{AwsFailure, Class};
use crate::aws::session::{Material, OpenSession, fits};
use crate::aws::{arn_partition, sts_client};
use crate::conditions::{Truth, Verdict, conditions};

/// Where a session turned out to stand.
struct Standing {
    phase: Phase,
    open: Option<Arc<OpenSession>>,
    reason: Reason,
    message: String,
    /// When to look again, apart from changes of the Secret.
    again: Option<Duration>,
}

impl Standing {
    fn closed(phase: Phase, message: impl Into<String>) -> Self {
        let reason = if phase == Phase::Expired {
            Reason::Expired
        } else {
            Reason::SessionLocked
        };
        Self {
            phase,
            open: None,
            reason,
            message: message.into(),
            again: None,
        }
    }
}

/// Brings memory and status to what the Secret says and AWS confirms.
pub async fn reconcile(session: Arc<MfaSession>, context: Shared) -> Result<Action, Error> {
    let name = session.name_any();
    if !context.serves_session(&name) {
        return Ok(Action::await_change());
    }
    if !context.ready().await {
        return Ok(Action::await_change());
    }
    watch_secret(&session, &context);
    let standing = stand(&session, &context).await?;
    let changed = take_up(&name, &standing, &context);
    // First of all: should the report fail, the accounts must know nevertheless.
    match &standing.open {
        Some(_) if changed => resume(&name, &context),
        None if changed => wake_accounts(&name, &context),
        _ => {}
    }
    report(&session, &context, &standing).await?;
    Ok(standing.again.map_or_else(Action::await_change, Action::requeue))
}

/// A session whose object is gone is locked for good.
pub fn forget_if_gone(context: &Context, key: &ObjectRef<MfaSession>) {
    if context.stores.sessions.get(key).is_none() {
        context.secret_watches.lock().remove(&key.name);
        context.sessions.remove(&key.name);
        wake_accounts(&key.name, context);
    }
}

/// Wakes the session when its Secret changes. Only metadata is watched, so that no credential lies in a cache.
fn watch_secret(session: &MfaSession, context: &Shared) {
    let (name, secret) = (session.name_any(), session.secret_name());
    let before = context.secret_watches.lock().insert(name.clone(), secret.clone());
    if before.as_ref() == Some(&secret) {
        return;
    }
    let api: Api<PartialObjectMeta<Secret>> =
        Api::namespaced(context.client.clone(), &context.options.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={secret}"));
    let context = context.clone();
    tokio::spawn(async move {
        let mut changes = watcher(api, config).default_backoff().boxed();
        loop {
            let change = tokio::select! {
                () = context.shutdown.cancelled() => return,
                change = changes.next() => change,
            };
            if context.secret_watches.lock().get(&name) != Some(&secret) {
                return;
            }
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

async fn stand(session: &MfaSession, context: &Context) -> Result<Standing, Error> {
    let name = session.name_any();
    let secret_name = session.secret_name();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &context.options.namespace);
    let Some(secret) = api
        .get_opt(&secret_name)
        .await
        .map_err(Error::kube("could not read the session Secret"))?
    else {
        return Ok(Standing::closed(
            Phase::Locked,
            "no session: run `rolectl unlock`",
        ));
    };
    if secret.type_.as_deref() != Some(SESSION_SECRET_TYPE) {
        let message = format!(
            "Secret {secret_name} is not of type {SESSION_SECRET_TYPE}: delete it and run `rolectl unlock`"
        );
        return Ok(Standing::closed(Phase::Locked, message));
    }
    let material = match Material::from_secret(secret) {
        Ok(material) => material,
        Err(error) => return Ok(Standing::closed(Phase::Locked, error.to_string())),
    };
    let now = Timestamp::now();
    if material.expires_at <= now {
        let message = format!(
            "the session ended at {}: run `rolectl unlock`",
            material.expires_at
        );
        return Ok(Standing::closed(Phase::Expired, message));
    }
    if let Some(why) = context.sessions.rejection(&name, material.fingerprint()) {
        return Ok(Standing::closed(
            Phase::Expired,
            format!("{why}: run `rolectl unlock`"),
        ));
    }
    let open = match context
        .sessions
        .current(&name)
        .filter(|o| o.material.fingerprint() == material.fingerprint())
    {
        Some(open) => match fits(&session.spec, &open.principal_arn) {
            Ok(()) => open,
            Err(message) => return Ok(Standing::closed(Phase::Locked, message)),
        },
        None => match confirm(session, context, material).await {
            Ok(open) => open,
            Err(standing) => return Ok(standing),
        },
    };
    Ok(opened(session, open, now))
}

/// Asks AWS whose session it is: the Secret's word is not enough, since who may write it may not be who may unlock.
async fn confirm(
    session: &MfaSession,
    context: &Context,
    material: Material,
) -> Result<Arc<OpenSession>, Standing> {
    let name = session.name_any();
    let sts =
        sts_of(session, context, &material).map_err(|message| Standing::closed(Phase::Locked, message))?;
    let identity = match sts.get_caller_identity().send().await {
        Ok(identity) => identity,
        Err(error) => {
            let failure = AwsFailure::new("GetCallerIdentity", &error);
            // Only AWS's word that it knows no such session counts: a wrong clock, say, can be mended.
            if failure.class == Class::Expired {
                let why = format!("AWS does not accept the session ({failure})");
                context
                    .sessions
                    .reject_material(&name, material.fingerprint(), &why);
                return Err(Standing::closed(
                    Phase::Expired,
                    format!("{why}: run `rolectl unlock`"),
                ));
            }
            let message = format!("waiting to confirm the session with AWS: {failure}");
            let again = Some(Duration::from_secs(5));
            return Err(Standing {
                reason: failure.reason(),
                again,
                ..Standing::closed(Phase::Locked, message)
            });
        }
    };
    let principal = identity.arn.unwrap_or_default();
    fits(&session.spec, &principal).map_err(|message| Standing::closed(Phase::Locked, message))?;
    Ok(context
        .sessions
        .open(&name, material, principal, sts, Timestamp::now()))
}

/// STS for the session. Credentials are of one partition, so the one that the object names and the Secret's must agree.
fn sts_of(session: &MfaSession, context: &Context, material: &Material) -> Result<Sts, String> {
    let stored = arn_partition(&material.principal_arn);
    let named = session
        .spec
        .partition()
        .map_err(|error| format!("spec: {error}"))?;
    if let Some(named) = named.filter(|named| named.name != stored) {
        return Err(format!(
            "the session is of partition {stored:?}, the MfaSession is of {}: run `rolectl unlock`",
            named.name
        ));
    }
    sts_client(
        &context.base,
        material.credentials(),
        stored,
        session.spec.region.as_deref(),
    )
    .map_err(|error| format!("Secret {}: {error}. Run `rolectl unlock`", session.secret_name()))
}

fn opened(session: &MfaSession, open: Arc<OpenSession>, now: Timestamp) -> Standing {
    let warning: Duration = session.spec.expiry_warning.into();
    let left = Duration::try_from(open.expires_at.duration_since(now)).unwrap_or_default();
    let expires = open.expires_at;
    // A little past the moment, so that it has really come.
    let slack = Duration::from_millis(50);
    match left.checked_sub(warning) {
        Some(until_warning) if !until_warning.is_zero() => Standing {
            phase: Phase::Unlocked,
            reason: Reason::Unlocked,
            message: format!("unlocked by {} until {expires}", open.principal_arn),
            again: Some(until_warning + slack),
            open: Some(open),
        },
        _ => Standing {
            phase: Phase::Expiring,
            reason: Reason::Expiring,
            message: format!("ends at {expires}: run `rolectl unlock` to go on without a break"),
            again: Some(left + slack),
            open: Some(open),
        },
    }
}

/// Whether the accounts must know.
fn take_up(name: &str, standing: &Standing, context: &Context) -> bool {
    match &standing.open {
        Some(open) => context.stores.accounts.state().iter().any(|account| {
            account.spec.session_ref == name
                && context.serves(account)
                && context.progress(&account.name_any(), |p| p.session) != Some(open.number)
        }),
        None => context.sessions.lock(name, standing.message.clone()),
    }
}

fn wake_accounts(session: &str, context: &Context) {
    for account in context.stores.accounts.state() {
        if account.spec.session_ref == session {
            context.wake_account(&account.name_any());
        }
    }
}

async fn report(session: &MfaSession, context: &Context, standing: &Standing) -> Result<(), Error> {
    // Every replica takes the session up; one tells of it.
    if !context.shards.hold(&session.name_any()) {
        return Ok(());
    }
    let prior = session.status.as_ref();
    let ready = match standing.phase {
        Phase::Unlocked | Phase::Expiring => Truth::True,
        Phase::Locked | Phase::Expired => Truth::False,
    };
    let generation = session.metadata.generation;
    let verdict = Verdict {
        ready: Some(ready),
        reason: standing.reason,
        message: standing.message.clone(),
    };
    let open = standing.open.as_deref();
    let expires_at = open.map(|o| Time(o.expires_at));
    let same_session = |p: &&MfaSessionStatus| p.expires_at.is_some() && p.expires_at == expires_at;
    let status = MfaSessionStatus {
        observed_generation: generation,
        phase: standing.phase,
        unlocked_by: open.map(|o| o.principal_arn.clone()),
        // A restart takes the same session up again; it was unlocked when it was unlocked.
        unlocked_at: open.map(|o| {
            prior
                .filter(same_session)
                .and_then(|p| p.unlocked_at.clone())
                .unwrap_or(Time(o.opened_at))
        }),
        conditions: conditions(
            prior.map_or(&[][..], |p| &p.conditions),
            generation,
            verdict,
            Timestamp::now(),
        ),
        expires_at,
        controller_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    };
    let api: Api<MfaSession> = Api::all(context.client.clone());
    let written = context
        .patch_status(&api, session, prior, &status, Others::Keep)
        .await?;
    if written.is_written() && prior.map(|p| p.phase) != Some(standing.phase) {
        let (type_, reason) = match standing.phase {
            Phase::Unlocked => (EventType::Normal, "Unlocked"),
            Phase::Expiring => (EventType::Warning, "Expiring"),
            Phase::Expired => (EventType::Warning, "Expired"),
            Phase::Locked => (EventType::Normal, "Locked"),
        };
        tracing::info!(
            session = session.name_any(),
            phase = reason,
            message = standing.message,
            "session"
        );
        events::publish(context, session, type_, reason, "Session", &standing.message);
    }
    Ok(())
}
