//! The status of an `AwsAccount`.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, AwsAccountStatus, Quotas, Reason, RoleCounts};

use rolectl_aws::actor::ActorHandle;
use rolectl_aws::actor::directory::Directory as _;
use rolectl_core::conditions::{Truth, Verdict, conditions, ready_reason};
use rolectl_core::names::RoleKey;
use rolectl_core::role::admission::context as values_of;
use rolectl_core::role::guardrails::warnings;
use rolectl_core::status::truth;

use super::super::context::Context;
use super::super::directory::object_ref;
use super::super::{Error, Shared, events};
use super::counts::{count, orphans_of, report_orphans, unselected};
use super::deletion::in_use;

/// How many orphans a status names.
const SHOWN_ORPHANS: usize = 20;

/// What an account's status shows of its roles.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The roles in numbers.
    pub counts: RoleCounts,
    /// Owners without an object.
    orphans: Vec<String>,
    quotas: Option<Quotas>,
}

/// Writes what the actor has reported.
pub(super) async fn report(
    object: &Arc<AwsAccount>,
    context: &Shared,
    actor: &ActorHandle,
) -> Result<(), Error> {
    let (name, report) = (&actor.name, actor.report());
    let is_deleting = object.metadata.deletion_timestamp.is_some();
    let sweep = report.sweep.map(|sweep| (actor.instance, sweep.number));
    let is_new_sweep = sweep.is_some_and(|sweep| context.notes.is_new_sweep(name, sweep));
    if is_new_sweep {
        for (namespace, name) in unselected(context, actor) {
            context.wake_role(object_ref(&RoleKey::new(&namespace, &name)));
        }
    }
    let is_recount = context.notes.take_recount(name);
    if report.reason == Reason::InSync && (is_new_sweep || is_recount) {
        let orphans = if is_new_sweep {
            report_orphans(object, context, actor)
        } else {
            orphans_of(context, actor)
        };
        let drifted = report
            .sweep
            .filter(|_| is_new_sweep)
            .map_or(0, |sweep| sweep.drifted);
        let (counts, mut orphans) = count(object, context, actor, drifted, orphans);
        orphans.truncate(SHOWN_ORPHANS);
        let counted = Counted {
            counts,
            orphans,
            quotas: actor.account().quotas(),
        };
        context.notes.set_counted(name, counted);
    }
    // Before its first sweep nothing is known of the account that its status does not have.
    if report.reason == Reason::Progressing && report.failures == 0 && !is_deleting {
        return Ok(());
    }
    write(object, context, report.reason, report.message).await?;
    // Not before: a status that was not written is written again with everything in it.
    if let Some(sweep) = sweep.filter(|_| is_new_sweep) {
        context.notes.set_sweep(name, sweep);
    }
    Ok(())
}

/// Publishes what the account's owner may not have meant by the guardrails, once for each generation.
fn warn_of_guardrails(object: &AwsAccount, context: &Context) {
    let guardrails = object.spec.guardrails.as_ref();
    let session = context.session(&object.spec.session_ref);
    let values = values_of(object, session.as_ref().map(|session| &session.spec));
    let warnings = guardrails
        .map(|g| warnings(g, &values, &context.documents))
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

pub(super) async fn write(
    object: &AwsAccount,
    context: &Context,
    reason: Reason,
    message: String,
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
    if let Some(counted) = context.notes.counted(&object.name_any()) {
        status.roles = Some(counted.counts);
        status.orphans = counted.orphans;
        status.quotas = counted.quotas;
    }
    let actor = context.actors.get(&object.name_any());
    if let Some(sweep) = actor.and_then(|actor| actor.report().sweep) {
        status.last_sweep_time = Some(Time(sweep.ended));
        status.last_sweep_duration_ms = u64::try_from(sweep.took.as_millis()).ok();
    }
    let api: Api<AwsAccount> = Api::all(context.client.clone());
    if context.patch_status(&api, object, prior, &status, "").await? {
        let before = prior.and_then(|p| ready_reason(&p.conditions));
        events::publish_stalled(context, object, before, &status.conditions);
    }
    Ok(())
}
