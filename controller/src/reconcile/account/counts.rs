//! The roles of an account in numbers, and those that have no object.

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use rolectl_crds::{AwsAccount, Reason, RoleCounts};

use rolectl_aws::actor::ActorHandle;
use rolectl_core::names::RoleKey;
use rolectl_core::selection::{may_admit, targets};

use super::super::context::{Context, entry_in, stands_in};
use super::super::events;

/// Counts the roles of the account as they are now. `found`: so many differ since the last sweep, and are about to be corrected.
pub(super) fn count(
    object: &AwsAccount,
    context: &Context,
    actor: &ActorHandle,
    found: u32,
    orphans: Vec<String>,
) -> (RoleCounts, Vec<String>) {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let account = actor.account();
    let snapshot = &account.snapshot;
    let (managed, unmanaged) = snapshot.lock().counts();
    let (mut reported, mut violating) = (0, 0);
    for role in context.roles_of(object) {
        let namespace = role.metadata.namespace.as_deref().unwrap_or_default();
        let by_actor = context.reports.state_in(&RoleKey::of(&role), &actor.name);
        let state = by_actor.or_else(|| entry_in(&role, &actor.name).map(|entry| entry.state));
        if state == Some(Reason::Drifted) {
            reported += 1;
        }
        let refused = matches!(
            state,
            Some(Reason::GuardrailViolated | Reason::NamespaceNotAllowed)
        ) || !may_admit(object, namespace);
        let owner = context.owner(namespace, &role.name_any());
        if refused && snapshot.lock().has_role_of(&owner) {
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
    (counts, orphans)
}

/// Namespace and name of every `IamRole` whose owner tag is on a role here.
fn owners(context: &Context, actor: &ActorHandle) -> impl Iterator<Item = (String, String)> {
    let prefix = context.owner_prefix();
    let owners: Vec<String> = actor
        .account()
        .snapshot
        .lock()
        .owners()
        .map(str::to_owned)
        .collect();
    owners.into_iter().filter_map(move |owner| {
        let (namespace, name) = owner.strip_prefix(&prefix)?.split_once('/')?;
        Some((namespace.to_owned(), name.to_owned()))
    })
}

/// Those of them whose object does not name this account.
pub(super) fn unselected(context: &Context, actor: &ActorHandle) -> Vec<(String, String)> {
    let Some(account) = context.stores.accounts.get(&ObjectRef::new(&actor.name)) else {
        return vec![];
    };
    owners(context, actor)
        .filter(|(namespace, name)| {
            // Already accounted for: its object names this account.
            let role = context.stores.roles.get(&ObjectRef::new(name).within(namespace));
            role.is_some_and(|role| !stands_in(&role, &actor.name) && !targets(&role, &account))
        })
        .collect()
}

/// Owners of the roles with our tag that have no `IamRole`, as after a finalizer was removed by force, in order.
pub(super) fn orphans_of(context: &Context, actor: &ActorHandle) -> Vec<String> {
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
    let mut orphans: Vec<String> = owners(context, actor)
        .filter(is_orphan)
        .map(|(namespace, name)| context.owner(&namespace, &name))
        .collect();
    orphans.sort();
    orphans
}

/// Publishes an event about new orphans. They are never touched. Returns all of them.
pub(super) fn report_orphans(object: &AwsAccount, context: &Context, actor: &ActorHandle) -> Vec<String> {
    let orphans = orphans_of(context, actor);
    let new = context.notes.set_orphans(&actor.name, &orphans);
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

pub(super) fn roles_counted(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} role{plural}")
}
