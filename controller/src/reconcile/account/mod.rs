//! `AwsAccount`: starts and ends the account's actor, and writes what it reports into the status.
//!
//! ```text
//! reconcile -> actor (start, stop, wake)
//! its report -> counts, orphans -> status
//! deletion: the finalizer stays while a role needs the account
//! ```

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, FORGET_ANNOTATION, RECONCILE_ANNOTATION, Reason};

use rolectl_aws::actor::inputs::Inputs;
use rolectl_core::forget::forgotten;

use super::context::Context;
use super::directory::object_ref;
use super::{Error, Shared};

mod counts;
mod deletion;
pub mod notes;
mod status;

/// How often to look into the cache whether a role still needs a deleted account.
const LEAVING: Duration = Duration::from_secs(5);
/// How often an account whose AWS account another object describes looks whether that is still so. A change wakes it.
const YIELDING: Duration = Duration::from_mins(1);

/// Has the account looked after, and reports its state.
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
        if deletion::remove_finalizer_if_unused(&object, &context, &api).await? {
            return Ok(Action::await_change());
        }
        // Its roles can only go while it is looked after.
        look_after(&object, &context).await?;
        return Ok(Action::requeue(LEAVING));
    }
    context.set_finalizer(&api, &*object, true).await?;
    look_after(&object, &context).await
}

/// An account was deleted although it had a finalizer: its actor ends. Roles that are there stay, and their objects say so.
pub fn deleted(name: &str, context: &Context) {
    let is_there = context.stores.accounts.get(&ObjectRef::new(name)).is_some();
    if is_there || context.stores.unreadable.accounts.get(name).is_some() {
        return;
    }
    context.forget_account(name);
    for key in context.reports.roles_in(name) {
        context.wake_role(object_ref(&key));
    }
}

/// Finds out which object acts for the AWS account, and wakes those who depend on that when it has changed.
fn find_acting(object: &AwsAccount, context: &Context) {
    let name = object.name_any();
    let acting = context.acts_instead(object).map(|other| other.name_any());
    if context.notes.acting(&name) == acting {
        return;
    }
    if acting.is_some() {
        // What was queued for it is dropped; the other object reads the account again before it acts.
        context.forget_account(&name);
    }
    context.notes.set_acting(&name, acting);
    for sibling in context.siblings(object) {
        context.wake_account(&sibling.name_any());
    }
    for role in context.roles_of(object) {
        context.recheck_role(&role);
    }
}

/// Wakes the roles that wait for this account and no longer have to, once for each value of the annotation that says so.
fn wake_forgotten(object: &AwsAccount, context: &Context) {
    let value = object.annotations().get(FORGET_ANNOTATION);
    let hash = context.hash(value);
    if !context.notes.set_forgets(&object.name_any(), hash) {
        return;
    }
    for entry in forgotten(object) {
        context.wake_role(ObjectRef::new(&entry.name).within(&entry.namespace));
    }
}

async fn look_after(object: &Arc<AwsAccount>, context: &Shared) -> Result<Action, Error> {
    let name = object.name_any();
    if let Some(other) = context.acting_for(&name) {
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
        status::write(object, context, reason, message).await?;
        return Ok(Action::requeue(YIELDING));
    }
    let (actor, is_new) = context.actor_for(object);
    let siblings = context.siblings(object);
    let limits = siblings
        .iter()
        .filter_map(|other| other.spec.guardrails.as_ref()?.max_roles);
    actor.account().limit_roles(limits.min());
    // Before anything else, so that a request while nothing may be called is not a request once it may.
    let value = object.annotations().get(RECONCILE_ANNOTATION);
    let value = value.map(String::as_str).unwrap_or_default();
    if context.notes.is_newly_forced(&name, context.hash(value)) && !value.is_empty() {
        actor.request_sweep();
    }
    actor.wake();
    wake_on_change(object, context, is_new);
    status::report(object, context, &actor).await?;
    Ok(Action::await_change())
}

/// A changed spec or label may bring roles in or out, and an actor that has just started knows no roles.
fn wake_on_change(object: &AwsAccount, context: &Context, is_new: bool) {
    let name = object.name_any();
    let session = context
        .stores
        .sessions
        .get(&ObjectRef::new(&object.spec.session_ref));
    let inputs = Inputs::of(object, session.as_deref());
    if !context.notes.set_inputs(&name, inputs) && !is_new {
        return;
    }
    for role in context.roles_of(object) {
        context.wake_role(ObjectRef::from_obj(&*role));
    }
    for key in context.reports.roles_in(&name) {
        context.wake_role(object_ref(&key));
    }
}
