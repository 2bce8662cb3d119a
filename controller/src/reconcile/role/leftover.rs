//! The end of an object: who waited for it may continue, and what it left behind is removed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{FINALIZER, IamRole};

use rolectl_aws::actor::report::Goal;
use rolectl_core::names::RoleKey;
use rolectl_core::selection::targets;

use super::super::{Error, Shared, bounded_call, error_chain, pauses};
use super::Pass;

/// How often it is looked whether the role is removed, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(1));

/// The object has left the cache: who waited for it may continue. A `leftover` is what [`went_without_finalizer`].
pub fn gone(
    context: &Shared,
    role_name: &str,
    key: &ObjectRef<IamRole>,
    uid: Option<&str>,
    leftover: Option<IamRole>,
) {
    let key = RoleKey::new(key.namespace.as_deref().unwrap_or_default(), &key.name);
    let asked = context.forget_role(&key, uid);
    if let Some(role) = leftover {
        tokio::spawn(remove_leftover(context.clone(), role, asked));
    }
    for other in context.namesakes(role_name) {
        context.recheck_role(&other);
    }
    for account in context.stores.accounts.state() {
        if account.metadata.deletion_timestamp.is_some() {
            context.wake_account(&account.name_any());
        }
    }
}

/// Returns true if an object was removed with our finalizer on it and was never marked for deletion, so that nobody has removed
/// its role. A finalizer that somebody took off means that the role is to stay.
pub fn went_without_finalizer(role: &IamRole) -> bool {
    let has_finalizer = role.finalizers().iter().any(|f| f == FINALIZER);
    has_finalizer && role.metadata.deletion_timestamp.is_none() && !role.spec.suspend
}

/// Removes the role of an object that went although it had a finalizer: the API server removes an object that is deleted
/// at the very moment in which its finalizer is set. Nobody else knows of the role then.
async fn remove_leftover(context: Shared, mut role: IamRole, mut asked: HashSet<String>) {
    role.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    let key = RoleKey::of(&role);
    let role = Arc::new(role);
    context.leftovers.write().insert(key.clone(), role.clone());
    context.reports.begin(&key, role.metadata.uid.as_deref());
    for attempt in 1_u32.. {
        match leftover_is_gone(&context, &role, &mut asked).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(role = %key, error = %error_chain(&error), "role of a deleted object not removed yet");
            }
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(pauses::backoff(attempt, BACKOFF)) => {}
        }
    }
    context.leftovers.write().remove(&key);
    if context.stores.roles.get(&ObjectRef::from_obj(&*role)).is_none() {
        context.forget_role(&key, role.metadata.uid.as_deref());
    }
}

/// Returns true if nothing is left to do for a role whose object went although it had a finalizer.
async fn leftover_is_gone(
    context: &Shared,
    role: &Arc<IamRole>,
    asked: &mut HashSet<String>,
) -> Result<bool, Error> {
    let api: Api<IamRole> = context.api_of(&**role);
    let now = bounded_call(api.get_opt(&role.name_any())).await;
    if now.map_err(Error::kube("could not read the role"))?.is_some() {
        // Another object of this name has the role by the owner tag.
        return Ok(true);
    }
    let pass = Pass::new(role, context);
    // An actor that was asked to keep the role may be making it just now.
    asked.extend(context.reports.asked_in(&pass.key));
    let accounts = context.stores.accounts.state_filter(|account| {
        let name = account.metadata.name.as_deref().unwrap_or_default();
        let may_have = context.may_have_role(name, pass.role_name(), &pass.owner);
        let is_unread = targets(role, account) && context.can_be_read(account) && may_have.is_none();
        pass.holds(name) && (may_have == Some(true) || is_unread || asked.contains(name))
    });
    let goals: Vec<_> = accounts
        .into_iter()
        .filter_map(|account| pass.to_remove_from(&account))
        .map(|account| (account, Goal::Remove))
        .collect();
    pass.send(&goals);
    let done = context.reports.take_done(&pass.key);
    for (account, changes) in &done {
        tracing::warn!(role = %pass.key, account, changes, "removed the role of an object that went without its finalizer");
    }
    pass.publish_done(&done, "Removed");
    Ok(goals.iter().all(|(account, _)| {
        let name = account.name_any();
        context.reports.is_gone(&pass.key, &name) && !context.has_role_of(&name, &pass.owner)
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_removed_after_its_object_only_if_nobody_decided_about_it_before() {
        for (finalizer, deleting, suspended, leftover) in [
            (true, false, false, true),
            (false, false, false, false),
            (true, true, false, false),
            (true, false, true, false),
        ] {
            let spec = json!({"accounts": {"names": ["dev"]}, "suspend": suspended});
            let mut role = IamRole::new("app", serde_json::from_value(spec).unwrap());
            role.metadata.finalizers = finalizer.then(|| vec![FINALIZER.to_owned()]);
            role.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
            assert_eq!(
                went_without_finalizer(&role),
                leftover,
                "{finalizer} {deleting} {suspended}"
            );
        }
    }
}
