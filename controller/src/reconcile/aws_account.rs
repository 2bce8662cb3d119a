//! `AwsAccount`: sweeps the account, and wakes those of its roles that are not as they were left.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, AwsAccountStatus, FORGET_ANNOTATION, IamRole, Quotas, Reason, RoleCounts};
use serde_json::json;
use tokio::time::Instant;

use super::context::{Context, Others, backoff, entry_in, stands_in};
use super::{Error, Shared, events};
use rolectl_aws::account::{Account, AccountError};
use rolectl_aws::api::Iam;
use rolectl_aws::error::Class;
use rolectl_aws::session::{OpenSession, SessionState};
use rolectl_aws::sweep::{quotas, sweep};
use rolectl_core::conditions::{Truth, Verdict, conditions, ready_reason};
use rolectl_core::forget::forgotten;
use rolectl_core::names::{full_name, name_in_aws};
use rolectl_core::role::guardrails::warnings;
use rolectl_core::selection::may_admit;
use rolectl_core::selection::targets;
use rolectl_core::snapshot::Lookup;
use rolectl_core::status::truth;
use rolectl_kube::objects::{Listing, Unreadable};

/// How soon a failed sweep is tried again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(2));
/// How soon to ask again for a session that was not looked at yet.
const PENDING: Duration = Duration::from_secs(2);
/// How often to look into the cache whether a role still needs a deleted account.
const LEAVING: Duration = Duration::from_secs(5);
/// How soon to list all roles again, at first and at most, when a list has shown one that the cache has not.
const LIST_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));
/// How long the API server may take for each piece of a list.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often an account whose AWS account another object describes looks whether that is still so. A change wakes it.
const YIELDING: Duration = Duration::from_mins(1);

/// How many orphans a status names.
const SHOWN_ORPHANS: usize = 20;

/// Sweeps the account when it is due or asked for.
pub async fn reconcile(object: Arc<AwsAccount>, context: Shared) -> Result<Action, Error> {
    if !context.ready().await {
        return Ok(Action::await_change());
    }
    if !context.serves(&object) {
        context.forget_account(&object.name_any());
        return Ok(Action::await_change());
    }
    find_acting(&object, &context);
    wake_forgotten(&object, &context);
    let api: Api<AwsAccount> = Api::all(context.client.clone());
    if object.metadata.deletion_timestamp.is_some() {
        if let_go(&object, &context, &api).await? {
            return Ok(Action::await_change());
        }
        // Its roles can only go while it is looked after.
        tend(&object, &context).await?;
        return Ok(Action::requeue(LEAVING));
    }
    context.set_finalizer(&api, &object, true).await?;
    tend(&object, &context).await
}

/// Finds out which object acts for the AWS account, and wakes those who depend on that when it has changed.
fn find_acting(object: &AwsAccount, context: &Context) {
    let name = object.name_any();
    let acting = context.acts_instead(object).map(|other| other.name_any());
    let before = context.progress(&name, |p| p.yields_to.clone());
    if before == acting {
        return;
    }
    if acting.is_some() {
        // What was queued for it is dropped; the other object reads the account anew before it acts.
        context.forget_account(&name);
    }
    context.progress(&name, |p| p.yields_to = acting);
    for sibling in context.siblings(object) {
        context.wake_account(&sibling.name_any());
    }
    for role in context.roles_of(object) {
        context.wake_role(ObjectRef::from_obj(&*role));
    }
}

/// Wakes the roles that wait for this account and no longer have to, once for each value of the annotation that says so.
fn wake_forgotten(object: &AwsAccount, context: &Context) {
    let value = object.annotations().get(FORGET_ANNOTATION);
    let hash = context.hash(value);
    if context.progress(&object.name_any(), |p| p.forgets.replace(hash)) == Some(hash) {
        return;
    }
    for entry in forgotten(object) {
        context.wake_role(ObjectRef::new(&entry.name).within(&entry.namespace));
    }
}

async fn tend(object: &AwsAccount, context: &Context) -> Result<Action, Error> {
    if let Some(other) = context.yields_to(&object.name_any()) {
        let deleting = object.metadata.deletion_timestamp.is_some();
        let reason = if deleting {
            Reason::InSync
        } else {
            Reason::Duplicate
        };
        let message = format!(
            "AwsAccount {other} describes AWS account {}, too, and is the one that is used: delete one of the two. No role is touched by that",
            object.spec.account_id
        );
        report(object, context, reason, message, None).await?;
        return Ok(Action::requeue(YIELDING));
    }
    let live = context.live(object);
    let siblings = context.siblings(object);
    let limits = siblings
        .iter()
        .filter_map(|other| other.spec.guardrails.as_ref()?.max_roles);
    live.limit_roles(limits.min());
    wake_on_change(object, context);
    // Before anything else, so that a request while nothing may be called is not a request once it may.
    if context.account_newly_forced(object) {
        context.progress(&live.name, |p| p.request(Instant::now()));
    }
    if object.spec.suspend {
        park(object, context);
        let message = "suspended: no call is made in this account".to_owned();
        return report(object, context, Reason::Suspended, message, None)
            .await
            .map(|()| Action::await_change());
    }
    let session = match context.sessions.state(&object.spec.session_ref, Timestamp::now()) {
        SessionState::Open(session) => session,
        SessionState::Pending
            if context
                .stores
                .sessions
                .get(&ObjectRef::new(&object.spec.session_ref))
                .is_some() =>
        {
            return Ok(Action::requeue(PENDING));
        }
        SessionState::Pending => {
            park(object, context);
            let message = format!(
                "MfaSession {} does not exist: create it, or correct spec.sessionRef",
                object.spec.session_ref
            );
            return report(object, context, Reason::SessionLocked, message, None)
                .await
                .map(|()| Action::await_change());
        }
        SessionState::Locked(why) => {
            park(object, context);
            return report(object, context, Reason::SessionLocked, why, None)
                .await
                .map(|()| Action::await_change());
        }
    };
    sweep_if_due(object, context, &live, &session).await
}

async fn sweep_if_due(
    object: &AwsAccount,
    context: &Context,
    live: &Account,
    session: &OpenSession,
) -> Result<Action, Error> {
    let name = object.name_any();
    let now = Instant::now();
    let wait = context.progress(&name, |p| {
        let fresh = p.session == Some(session.number);
        let wait = p
            .due
            .filter(|_| fresh && !p.wanted)
            .map(|due| due.saturating_duration_since(now));
        // Taken before the sweep begins: one asked for while it runs is another.
        if wait.is_none_or(|w| w.is_zero()) {
            p.wanted = false;
        }
        wait
    });
    if let Some(wait) = wait.filter(|w| !w.is_zero()) {
        let recount = context.progress(&name, |p| std::mem::take(&mut p.recount) && p.failures == 0);
        if recount {
            let (counts, orphans) = count(object, context, live, 0, orphans_of(context, live));
            if object.status.as_ref().and_then(|s| s.roles) != Some(counts) {
                let counted = Counted {
                    counts,
                    orphans,
                    took: None,
                };
                report(object, context, Reason::InSync, "swept".to_owned(), Some(counted)).await?;
            }
        } else if object.metadata.deletion_timestamp.is_some() {
            report(object, context, Reason::InSync, String::new(), None).await?;
        }
        return Ok(Action::requeue(wait));
    }
    let start = live.snapshot.lock().begin_sweep(now.into_std());
    let mut counted = None;
    let swept = match live.iam(session, Timestamp::now(), None).await {
        Ok(iam) => {
            counted = read_quotas(live, &*iam).await;
            let names = &context.stores.names;
            sweep(live, &*iam, &context.owner_prefix(), |name| names.is_wanted(name))
                .await
                .map_err(AccountError::from)
        }
        Err(error) => Err(error),
    };
    let swept = match swept {
        Ok(swept) => swept,
        Err(error) => return sweep_failed(object, context, live, session, error).await,
    };
    if !live.is_held() {
        // Who looks after the account now tells how it is.
        return Ok(Action::await_change());
    }
    let merge = {
        let mut snapshot = live.snapshot.lock();
        let merge = snapshot.merge(start, swept);
        if let Some(counted) = counted {
            snapshot.calibrate(counted);
        }
        merge
    };
    let interval: Duration = object.spec.drift_interval.into();
    let next = merge
        .look_again
        .unwrap_or_else(|| interval.mul_f64(rand::random_range(0.85..1.0)))
        .min(interval);
    let recovered = context.progress(&name, |p| {
        p.due = Some(Instant::now() + next);
        p.session = Some(session.number);
        p.failures = 0;
        p.swept = Some((Instant::now(), now.elapsed()));
        p.parked = false;
        p.failure.take().is_some()
    });
    let drifted = wake_roles(object, context, live, recovered);
    let orphans = report_orphans(object, context, live);
    let (counts, orphans) = count(object, context, live, drifted, orphans);
    let took = now.elapsed();
    tracing::info!(
        account = name,
        managed = counts.managed,
        unmanaged = counts.unmanaged,
        drifted,
        ?took,
        "swept"
    );
    let counted = Counted {
        counts,
        orphans,
        took: Some(took),
    };
    report(object, context, Reason::InSync, "swept".to_owned(), Some(counted)).await?;
    Ok(Action::requeue(next))
}

/// What an account's status tells of its roles.
struct Counted {
    counts: RoleCounts,
    /// Owners without an object.
    orphans: Vec<String>,
    /// How long the sweep took, if one was made.
    took: Option<Duration>,
}

/// Counts the roles of the account as they are now. `found`: so many differ since the last sweep, and are about to be corrected.
fn count(
    object: &AwsAccount,
    context: &Context,
    live: &Account,
    found: u32,
    orphans: Vec<String>,
) -> (RoleCounts, Vec<String>) {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (managed, unmanaged) = live.snapshot.lock().counts();
    let (mut reported, mut violating) = (0, 0);
    for role in context.roles_of(object) {
        let namespace = role.metadata.namespace.as_deref().unwrap_or_default();
        let state = entry_in(&role, &live.name).map(|entry| entry.state);
        if state == Some(Reason::Drifted) {
            reported += 1;
        }
        let refused = matches!(
            state,
            Some(Reason::GuardrailViolated | Reason::NamespaceNotAllowed)
        ) || !may_admit(object, namespace);
        let owner = context.owner(namespace, &role.name_any());
        if refused && live.snapshot.lock().holds(&owner) {
            violating += 1;
        }
    }
    let counts = RoleCounts {
        managed,
        unmanaged,
        drifted: found.saturating_add(reported),
        orphaned: number(orphans.len()),
        violating,
    };
    context.progress(&live.name, |p| p.counts = counts);
    (counts, orphans)
}

/// Reads the quotas when they are due, and how many roles AWS counts. Without them roles are made all the same, and
/// AWS says what does not fit.
async fn read_quotas(live: &Account, iam: &dyn Iam) -> Option<u32> {
    if !live.wants_quotas() {
        return None;
    }
    match quotas(live, iam).await {
        Ok((quotas, counted)) => {
            live.set_quotas(quotas);
            Some(counted)
        }
        Err(error) => {
            tracing::warn!(account = live.name, %error, "quotas not read");
            if error.class == Class::AccessDenied {
                // Asking at every sweep would not help.
                live.set_quotas(Quotas::default());
            }
            None
        }
    }
}

async fn sweep_failed(
    object: &AwsAccount,
    context: &Context,
    live: &Account,
    session: &OpenSession,
    error: AccountError,
) -> Result<Action, Error> {
    let name = object.name_any();
    if context.shutdown.is_cancelled() || matches!(error, AccountError::NotHeld) || !live.is_held() {
        return Ok(Action::await_change());
    }
    // Where an account is used directly, a refused call may be a refused session.
    let direct = object.spec.assume_role.is_none();
    let error = if direct {
        live.judge(session, error, Instant::now()).await
    } else {
        error
    };
    match &error {
        AccountError::Aws(failure) if failure.class == Class::Expired && !direct => {
            live.drop_credentials();
        }
        AccountError::SessionRefused(_) => {
            context.refuse_session(&object.spec.session_ref, session, &error);
            return Ok(Action::requeue(PENDING));
        }
        _ => {}
    }
    // Refused credentials of an assumed role are fetched anew; that alone is no reason to call the session locked.
    let reason = match error.reason() {
        Reason::SessionLocked => Reason::AwsUnavailable,
        // A call that reads cannot hit a bad spec of a role.
        Reason::InvalidSpec => Reason::AccessDenied,
        other => other,
    };
    let message = match reason {
        Reason::AccessDenied => format!(
            "account {}: {error}. Check that the role {} exists, trusts the session's user under MFA, and may read IAM",
            object.spec.account_id,
            object.spec.assumed_role_arn(),
        ),
        _ => format!("account {}: {error}", object.spec.account_id),
    };
    // A passing failure takes nothing from what is known already, and the roles need not hear of it.
    let matters = !reason.is_reconciling() || !live.snapshot.lock().is_complete();
    let (wait, first) = context.progress(&name, |p| {
        p.failures += 1;
        let wait = backoff(p.failures, BACKOFF);
        p.due = Some(Instant::now() + wait);
        let first = matters && p.failure.as_ref().map(|(r, _)| *r) != Some(reason);
        if matters {
            p.failure = Some((reason, message.clone()));
        }
        (wait, first)
    });
    tracing::warn!(account = name, %reason, message, "sweep failed");
    report(object, context, reason, message, None).await?;
    if first {
        for role in context.roles_of(object) {
            context.wake_role(ObjectRef::from_obj(&*role));
        }
    }
    Ok(Action::requeue(wait))
}

/// A changed spec or label may bring roles in or out.
fn wake_on_change(object: &AwsAccount, context: &Context) {
    let now = context.inputs(object);
    let before = context.progress(&object.name_any(), |p| p.seen.replace(now.clone()));
    if before.as_ref() == Some(&now) {
        return;
    }
    context.progress(&object.name_any(), |p| {
        p.settled.clear();
        p.failing.clear();
    });
    for role in context.roles_of(object) {
        context.wake_role(ObjectRef::from_obj(&*role));
    }
}

/// Nothing may be called: what was known is out of date, and the roles must say so.
fn park(object: &AwsAccount, context: &Context) {
    let name = object.name_any();
    let news = context.progress(&name, |p| {
        p.session = None;
        p.failure = None;
        p.settled.clear();
        p.failing.clear();
        !std::mem::replace(&mut p.parked, true)
    });
    context.live(object).snapshot.lock().forget();
    if news {
        for role in context.roles_of(object) {
            context.wake_role(ObjectRef::from_obj(&*role));
        }
    }
}

/// Wakes the roles that are not as they were left. Returns how many of ours AWS shows otherwise than we left them.
fn wake_roles(object: &AwsAccount, context: &Context, live: &Account, all: bool) -> u32 {
    let mut drifted = 0;
    for role in context.roles_of(object) {
        let key = ObjectRef::from_obj(&*role);
        let fingerprint = match live.snapshot.lock().lookup(name_in_aws(&role)) {
            Lookup::Unknown => continue,
            Lookup::Absent => None,
            Lookup::Present(observed, _) => Some(observed.fingerprint),
        };
        let id = context.id(&key);
        let left = context.progress(&live.name, |p| p.settled.get(&id).copied());
        let generation = role.metadata.generation;
        if left.is_some_and(|l| l.has_drifted(generation, fingerprint)) {
            drifted += 1;
        }
        if all || !left.is_some_and(|left| left.is_still(generation, fingerprint)) {
            context.wake_role(key);
        }
    }
    for (namespace, name) in strays(context, live) {
        context.wake_role(ObjectRef::new(&name).within(&namespace));
    }
    drifted
}

/// Namespace and name of every `IamRole` whose owner tag is on a role here.
fn owners(context: &Context, live: &Account) -> impl Iterator<Item = (String, String)> {
    let prefix = context.owner_prefix();
    let owners: Vec<String> = live.snapshot.lock().owners().map(str::to_owned).collect();
    owners.into_iter().filter_map(move |owner| {
        let (namespace, name) = owner.strip_prefix(&prefix)?.split_once('/')?;
        Some((namespace.to_owned(), name.to_owned()))
    })
}

/// Those of them whose object does not name this account.
fn strays(context: &Context, live: &Account) -> Vec<(String, String)> {
    let Some(account) = context.stores.accounts.get(&ObjectRef::new(&live.name)) else {
        return vec![];
    };
    owners(context, live)
        .filter(|(namespace, name)| {
            // Already accounted for: its object names this account.
            let role = context.stores.roles.get(&ObjectRef::new(name).within(namespace));
            role.is_some_and(|role| !stands_in(&role, &live.name) && !targets(&role, &account))
        })
        .collect()
}

/// Owners of the roles with our tag that have no `IamRole`, as after a finalizer was removed by force, in order.
fn orphans_of(context: &Context, live: &Account) -> Vec<String> {
    let is_orphan = |(namespace, name): &(String, String)| {
        let watched = context.options.watch_namespace.as_ref();
        watched.is_none_or(|watched| watched == namespace)
            && context
                .stores
                .roles
                .get(&ObjectRef::new(name).within(namespace))
                .is_none()
            // It exists, although it cannot be read.
            && context.stores.unreadable.roles.get(&format!("{namespace}/{name}")).is_none()
    };
    let mut orphans: Vec<String> = owners(context, live)
        .filter(is_orphan)
        .map(|(namespace, name)| context.owner(&namespace, &name))
        .collect();
    orphans.sort();
    orphans
}

/// Tells of new orphans once. They are never touched. Returns all of them.
fn report_orphans(object: &AwsAccount, context: &Context, live: &Account) -> Vec<String> {
    let orphans = orphans_of(context, live);
    let new = context.progress(&live.name, |p| {
        let new = p.orphans != orphans;
        p.orphans.clone_from(&orphans);
        new
    });
    if new && !orphans.is_empty() {
        let shown: Vec<&str> = orphans.iter().take(5).map(String::as_str).collect();
        let note = format!(
            "{} carry our owner tag but have no IamRole ({}): apply the IamRole again to manage them, or delete them manually",
            roles_counted(orphans.len()),
            shown.join(", ")
        );
        events::publish(context, object, EventType::Warning, "Orphaned", "Sweep", &note);
    }
    orphans
}

/// Removes the finalizer of an account that no role needs any more. Returns true when it is removed.
async fn let_go(object: &AwsAccount, context: &Context, api: &Api<AwsAccount>) -> Result<bool, Error> {
    let name = object.name_any();
    let siblings = context.siblings(object);
    let is_needed = |role: &IamRole| needs(role, object, &siblings);
    if context.stores.roles.state().iter().any(|role| is_needed(role)) {
        return Ok(false);
    }
    if context.progress(&name, |p| {
        p.list_again.is_some_and(|again| again > Instant::now())
    }) {
        return Ok(false);
    }
    // Confirmed by the API server: our cache may be of one namespace only, and may trail.
    let roles: Api<IamRole> = Api::all(context.client.clone());
    let mut list = Listing::new(&roles, PATIENCE);
    while let Some(role) = list
        .next()
        .await
        .map_err(Error::kube("could not list IamRoles"))?
    {
        let is_needed = match role {
            Ok(role) => is_needed(&role),
            Err(role) => may_need(&role, object, &siblings, context),
        };
        if is_needed {
            context.progress(&name, |p| {
                p.lists = p.lists.saturating_add(1);
                p.list_again = Some(Instant::now() + backoff(p.lists, LIST_AGAIN));
            });
            return Ok(false);
        }
    }
    context.set_finalizer(api, object, false).await?;
    context.forget_account(&name);
    Ok(true)
}

/// Returns true unless it is certain that an `IamRole` that does not parse has no role in the account and wants none.
fn may_need(role: &Unreadable, object: &AwsAccount, siblings: &[Arc<AwsAccount>], context: &Context) -> bool {
    let (name, metadata) = (object.name_any(), &role.metadata);
    let (Some(namespace), Some(role_name)) = (&metadata.namespace, &metadata.name) else {
        return true;
    };
    if context.holds(&name, &context.owner(namespace, role_name)) {
        return true;
    }
    // The rest is read as of a role without documents.
    let spec = role
        .accounts
        .clone()
        .map(|accounts| json!({"accounts": accounts, "ensure": "Absent"}));
    let readable = json!({"metadata": metadata, "spec": spec, "status": role.status});
    match serde_json::from_value::<IamRole>(readable) {
        Ok(readable) => needs(&readable, object, siblings),
        Err(_) => may_admit(object, namespace) || role.status.is_some(),
    }
}

/// Whether the role stands in the account, or may yet come to, and no other object of the AWS account keeps it there.
fn needs(role: &IamRole, object: &AwsAccount, siblings: &[Arc<AwsAccount>]) -> bool {
    let name = object.name_any();
    let takes_over =
        |other: &Arc<AwsAccount>| other.metadata.deletion_timestamp.is_none() && targets(role, other);
    if siblings.iter().any(takes_over) {
        return false;
    }
    let has_it = entry_in(role, &name).is_some_and(|a| a.role_id.is_some());
    let may = may_admit(object, role.metadata.namespace.as_deref().unwrap_or_default());
    has_it || (may && (targets(role, object) || stands_in(role, &name)))
}

/// While the account is being deleted it says what still needs it.
fn in_use(object: &AwsAccount, context: &Context) -> String {
    let siblings = context.siblings(object);
    let users = context
        .stores
        .roles
        .state_filter(|role| needs(role, object, &siblings));
    let unreadable = context.stores.unreadable.roles.all();
    let unreadable = unreadable
        .iter()
        .filter(|role| may_need(role, object, &siblings, context));
    let users: Vec<String> = users
        .iter()
        .map(|role| full_name(role))
        .chain(unreadable.map(|role| format!("{} (which cannot be read)", role.full_name())))
        .collect();
    format!(
        "still used by {}: {}. Take the account out of their spec.accounts first",
        roles_counted(users.len()),
        users.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
    )
}

fn roles_counted(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} role{plural}")
}

/// Publishes what the account's owner may not have meant by the guardrails, once for each generation.
fn warn_of_guardrails(object: &AwsAccount, context: &Context) {
    let guardrails = object.spec.guardrails.as_ref();
    let warnings = guardrails
        .map(|g| warnings(g, &object.spec.partition))
        .unwrap_or_default();
    if !warnings.is_empty() {
        let note = warnings.join("; ");
        events::publish(
            context,
            object,
            EventType::Warning,
            "WeakGuardrails",
            "Check",
            &note,
        );
    }
}

async fn report(
    object: &AwsAccount,
    context: &Context,
    reason: Reason,
    message: String,
    counted: Option<Counted>,
) -> Result<(), Error> {
    let (reason, message) = match reason {
        Reason::InSync if object.metadata.deletion_timestamp.is_some() => {
            (Reason::InUse, in_use(object, context))
        }
        other => (other, message),
    };
    let prior = object.status.as_ref();
    let generation = object.metadata.generation;
    let ready = match reason {
        // Deleting, yet as good as before for those who still use it.
        Reason::InUse => Some(Truth::False),
        other => truth(other),
    };
    let verdict = Verdict {
        ready,
        reason,
        message,
    };
    if prior.and_then(|p| p.observed_generation) != generation {
        warn_of_guardrails(object, context);
    }
    let now = Timestamp::now();
    let mut status = AwsAccountStatus {
        observed_generation: generation,
        conditions: conditions(prior.map_or(&[][..], |p| &p.conditions), generation, verdict, now),
        cluster: Some(context.options.cluster.clone()),
        ..prior.cloned().unwrap_or_default()
    };
    if let Some(Counted {
        counts,
        mut orphans,
        took,
    }) = counted
    {
        status.roles = Some(counts);
        orphans.truncate(SHOWN_ORPHANS);
        status.orphans = orphans;
        if let Some(took) = took {
            let last = Some((now, u64::try_from(took.as_millis()).ok()));
            context.progress(&object.name_any(), |p| p.last_sweep = last);
            status.quotas = context.live(object).quotas();
        }
    }
    if let Some((ended, took)) = context.progress(&object.name_any(), |p| p.last_sweep) {
        status.last_sweep_time = Some(Time(ended));
        status.last_sweep_duration_ms = took;
    }
    let api: Api<AwsAccount> = Api::all(context.client.clone());
    if context
        .patch_status(&api, object, prior, &status, Others::Keep)
        .await?
        .is_written()
    {
        let before = prior.and_then(|p| ready_reason(&p.conditions));
        events::publish_stalled(context, object, before, &status.conditions);
    }
    Ok(())
}
