//! `MfaSession`: opens the session that `rolectl unlock` stored, and closes it when it ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{MfaSession, MfaSessionStatus, Phase, Reason, SESSION_SECRET_TYPE};

use super::context::Context;
use super::resume::resume;
use super::session_secret::{remove_secret, watch_secret};
use super::{Error, Shared, events};
use rolectl_aws::api::Sts;
use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::principal::check_principal;
use rolectl_aws::session::{OpenSession, SessionSecret};
use rolectl_core::arn::arn_partition;
use rolectl_core::conditions::{Truth, Verdict, conditions};

/// The state of a session, from its Secret and from AWS.
struct Finding {
    phase: Phase,
    open: Option<Arc<OpenSession>>,
    reason: Reason,
    message: String,
    /// When to look again, apart from changes of the Secret.
    again: Option<Duration>,
}

impl Finding {
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
    let finding = find(&session, &context).await?;
    let changed = adopt(&name, &finding, &context);
    // First of all: should the report fail, the accounts must know nevertheless.
    match &finding.open {
        Some(_) if changed => resume(&name, &context),
        None if changed => wake_accounts(&name, &context),
        _ => {}
    }
    report(&session, &context, &finding).await?;
    Ok(finding.again.map_or_else(Action::await_change, Action::requeue))
}

/// A session whose object is gone is locked for good, and its Secret is deleted.
pub fn forget_if_gone(context: &Shared, key: &ObjectRef<MfaSession>) {
    // One that cannot be read is in no cache, but not deleted.
    if context.stores.unreadable.sessions.get(&key.name).is_some() {
        return;
    }
    if context.stores.sessions.get(key).is_none() {
        let secret = context.secret_watches.end(&key.name);
        context.sessions.remove(&key.name);
        wake_accounts(&key.name, context);
        if let Some(secret) = secret {
            tokio::spawn(remove_secret(context.clone(), key.name.clone(), secret));
        }
    }
}

async fn find(session: &MfaSession, context: &Context) -> Result<Finding, Error> {
    let name = session.name_any();
    let secret_name = session.secret_name();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &context.options.namespace);
    let Some(secret) = api
        .get_opt(&secret_name)
        .await
        .map_err(Error::kube("could not read the session Secret"))?
    else {
        return Ok(Finding::closed(Phase::Locked, "no session: run `rolectl unlock`"));
    };
    if secret.type_.as_deref() != Some(SESSION_SECRET_TYPE) {
        let message = format!(
            "Secret {secret_name} is not of type {SESSION_SECRET_TYPE}: delete it and run `rolectl unlock`"
        );
        return Ok(Finding::closed(Phase::Locked, message));
    }
    let session_secret = match SessionSecret::from_secret(secret) {
        Ok(session_secret) => session_secret,
        Err(error) => return Ok(Finding::closed(Phase::Locked, error.to_string())),
    };
    let now = Timestamp::now();
    if session_secret.expires_at <= now {
        let message = format!(
            "the session ended at {}: run `rolectl unlock`",
            session_secret.expires_at
        );
        return Ok(Finding::closed(Phase::Expired, message));
    }
    if let Some(why) = context.sessions.rejection(&name, session_secret.fingerprint()) {
        return Ok(Finding::closed(
            Phase::Expired,
            format!("{why}: run `rolectl unlock`"),
        ));
    }
    let open = match context.sessions.current(&name).filter(|o| {
        o.session_secret.fingerprint() == session_secret.fingerprint()
            && is_where_it_belongs(session, context, o)
    }) {
        Some(open) => match check_principal(&session.spec, &open.principal_arn) {
            Ok(()) => open,
            Err(message) => return Ok(Finding::closed(Phase::Locked, message)),
        },
        None => match confirm(session, context, session_secret).await {
            Ok(open) => open,
            Err(finding) => return Ok(finding),
        },
    };
    Ok(opened(session, open, now))
}

/// Asks AWS whose session it is: the Secret's word is not enough, since who may write it may not be who may unlock.
async fn confirm(
    session: &MfaSession,
    context: &Context,
    session_secret: SessionSecret,
) -> Result<Arc<OpenSession>, Finding> {
    let name = session.name_any();
    let sts = sts_of(session, context, &session_secret)
        .map_err(|message| Finding::closed(Phase::Locked, message))?;
    let principal = match sts.get_caller_identity().await {
        Ok(principal) => principal,
        Err(failure) => {
            // AWS found the access key id and no match: one value of the Secret was changed. Asking again does not help.
            if failure.class == Class::AccessDenied && is_signature(&failure) {
                let why = format!(
                    "AWS does not accept the session's signature ({failure}): the value of secretAccessKey in Secret {} is damaged",
                    session.secret_name()
                );
                return Err(Finding::closed(
                    Phase::Locked,
                    format!("{why}: run `rolectl unlock` again"),
                ));
            }
            // Only AWS's word that it knows no such session counts: a wrong clock, say, can be mended.
            if failure.class == Class::Expired {
                let why = format!("AWS does not accept the session ({failure})");
                context
                    .sessions
                    .reject_secret(&name, session_secret.fingerprint(), &why);
                return Err(Finding::closed(
                    Phase::Expired,
                    format!("{why}: run `rolectl unlock`"),
                ));
            }
            let message = format!("waiting to confirm the session with AWS: {failure}");
            let again = Some(Duration::from_secs(5));
            return Err(Finding {
                reason: failure.reason(),
                again,
                ..Finding::closed(Phase::Locked, message)
            });
        }
    };
    check_principal(&session.spec, &principal).map_err(|message| Finding::closed(Phase::Locked, message))?;
    if principal != session_secret.principal_arn {
        let message = format!(
            "the session is of {principal}, Secret {} has another principalArn: it is damaged, run `rolectl unlock` again",
            session.secret_name()
        );
        return Err(Finding::closed(Phase::Locked, message));
    }
    Ok(context
        .sessions
        .open(&name, session_secret, principal, sts, Timestamp::now()))
}

/// Returns false if `spec.region` has changed since the session was taken up.
fn is_where_it_belongs(session: &MfaSession, context: &Context, open: &OpenSession) -> bool {
    let partition = arn_partition(&open.principal_arn);
    let wanted = context.aws.sts_region(partition, session.spec.region.as_deref());
    wanted.is_ok_and(|wanted| open.sts.region() == wanted)
}

/// Returns true if AWS refused the signature and not the caller.
fn is_signature(failure: &AwsFailure) -> bool {
    matches!(
        failure.code.as_deref(),
        Some("SignatureDoesNotMatch" | "InvalidSignatureException")
    )
}

/// STS for the session. Credentials are of one partition, so the one that the object names and the Secret's must agree.
fn sts_of(
    session: &MfaSession,
    context: &Context,
    session_secret: &SessionSecret,
) -> Result<Arc<dyn Sts>, String> {
    let stored = arn_partition(&session_secret.principal_arn);
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
    let region = session.spec.region.as_deref();
    let sts = context.aws.sts(session_secret.credentials(), stored, region);
    sts.map_err(|error| format!("Secret {}: {error}. Run `rolectl unlock`", session.secret_name()))
}

fn opened(session: &MfaSession, open: Arc<OpenSession>, now: Timestamp) -> Finding {
    let warning: Duration = session.spec.expiry_warning.into();
    let left = Duration::try_from(open.expires_at.duration_since(now)).unwrap_or_default();
    let expires = open.expires_at;
    // A little past the moment, so that it has really come.
    let slack = Duration::from_millis(50);
    match left.checked_sub(warning) {
        Some(until_warning) if !until_warning.is_zero() => Finding {
            phase: Phase::Unlocked,
            reason: Reason::Unlocked,
            message: format!("unlocked by {} until {expires}", open.principal_arn),
            again: Some(until_warning + slack),
            open: Some(open),
        },
        _ => Finding {
            phase: Phase::Expiring,
            reason: Reason::Expiring,
            message: format!("ends at {expires}: run `rolectl unlock` to continue without a break"),
            again: Some(left + slack),
            open: Some(open),
        },
    }
}

/// Returns true if the accounts must be woken.
fn adopt(name: &str, finding: &Finding, context: &Context) -> bool {
    match &finding.open {
        Some(open) => context.stores.accounts.state().iter().any(|account| {
            account.spec.session_ref == name
                && context.serves(account)
                && context
                    .actors
                    .get(&account.name_any())
                    .is_none_or(|actor| actor.report().session != Some(open.number))
        }),
        None => context.sessions.lock(name, finding.message.clone()),
    }
}

/// Wakes every account of a session.
pub fn wake_accounts(session: &str, context: &Context) {
    for account in context.stores.accounts.state() {
        if account.spec.session_ref == session {
            context.wake_account(&account.name_any());
        }
    }
}

async fn report(session: &MfaSession, context: &Context, finding: &Finding) -> Result<(), Error> {
    // Every replica opens the session; one writes the status.
    if !context.shards.hold(&session.name_any()) {
        return Ok(());
    }
    let prior = session.status.as_ref();
    let ready = match finding.phase {
        Phase::Unlocked | Phase::Expiring => Truth::True,
        Phase::Locked | Phase::Expired | Phase::Other(_) => Truth::False,
    };
    let generation = session.metadata.generation;
    let verdict = Verdict {
        ready: Some(ready),
        reason: finding.reason,
        message: finding.message.clone(),
    };
    let open = finding.open.as_deref();
    let expires_at = open.map(|o| Time(o.expires_at));
    let unlocked_by = open.map(|o| o.principal_arn.clone());
    let same_session = |p: &&MfaSessionStatus| {
        p.expires_at.is_some() && p.expires_at == expires_at && p.unlocked_by == unlocked_by
    };
    let is_new = open.is_some() && !prior.as_ref().is_some_and(same_session);
    let status = MfaSessionStatus {
        observed_generation: generation,
        phase: finding.phase,
        unlocked_by: unlocked_by.clone(),
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
    let written = context.patch_status(&api, session, prior, &status, "").await?;
    if !written {
        return Ok(());
    }
    if let Some(open) = open.filter(|_| is_new) {
        let message = unlocked(open, prior, Timestamp::now());
        tracing::info!(session = session.name_any(), message, "session unlocked");
        events::publish(
            context,
            session,
            EventType::Normal,
            "Unlocked",
            "Session",
            &message,
        );
    }
    let is_told = is_new && finding.phase == Phase::Unlocked;
    if !is_told && prior.map(|p| p.phase) != Some(finding.phase) {
        let (type_, reason) = match finding.phase {
            Phase::Unlocked => (EventType::Normal, "Unlocked"),
            Phase::Expiring => (EventType::Warning, "Expiring"),
            Phase::Expired => (EventType::Warning, "Expired"),
            Phase::Locked | Phase::Other(_) => (EventType::Normal, "Locked"),
        };
        tracing::info!(
            session = session.name_any(),
            phase = reason,
            message = finding.message,
            "session"
        );
        events::publish(context, session, type_, reason, "Session", &finding.message);
    }
    Ok(())
}

/// Who unlocked, until when, and what that did to the session before.
fn unlocked(open: &OpenSession, prior: Option<&MfaSessionStatus>, now: Timestamp) -> String {
    let mut message = format!("unlocked by {} until {}", open.principal_arn, open.expires_at);
    let before = prior.filter(|p| p.expires_at.as_ref().is_some_and(|end| end.0 > now));
    if let Some(by) = before.and_then(|p| p.unlocked_by.as_ref()) {
        message = format!("{message}, in place of the session of {by}");
        if open.session_secret.replace {
            message.push_str("; the work under way on that one was ended");
        }
    }
    message
}
