//! The deletion of an `AwsAccount`: its finalizer stays while a role needs the account.

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, IamRole};
use rolectl_kube::objects::{Listing, Unreadable};
use serde_json::json;
use tokio::time::Instant;

use rolectl_core::names::full_name;
use rolectl_core::selection::{may_admit, targets};

use super::super::context::{Context, entry_in, stands_in};
use super::super::{Error, pauses};
use super::counts::roles_counted;

/// How soon to list all roles again, at first and at most, when a list has shown one that the cache has not.
const LIST_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));
/// How long the API server may take for each piece of a list.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often all roles were listed in vain, and when they may be listed again.
#[derive(Debug, Default)]
pub struct Lists {
    in_vain: u32,
    again: Option<Instant>,
}

impl Lists {
    /// Returns true if the pause after the last list is over.
    pub fn may_list(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| again <= now)
    }

    /// A list has shown a role that needs the account.
    pub fn was_in_vain(&mut self, now: Instant) {
        self.in_vain = self.in_vain.saturating_add(1);
        self.again = Some(now + pauses::backoff(self.in_vain, LIST_AGAIN));
    }
}

/// Removes the finalizer of an account that no role needs any more. Returns true when it is removed.
pub(super) async fn remove_finalizer_if_unused(
    object: &AwsAccount,
    context: &Context,
    api: &Api<AwsAccount>,
) -> Result<bool, Error> {
    let name = object.name_any();
    let siblings = context.siblings(object);
    let is_needed = |role: &IamRole| needs(role, object, &siblings, context);
    if context.stores.roles.state().iter().any(|role| is_needed(role)) {
        return Ok(false);
    }
    if !context.notes.may_list(&name, Instant::now()) {
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
            context.notes.listed_in_vain(&name, Instant::now());
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
    if context.has_role_of(&name, &context.owner(namespace, role_name)) {
        return true;
    }
    // The rest is read as of a role without documents.
    let spec = role
        .accounts
        .clone()
        .map(|accounts| json!({"accounts": accounts, "ensure": "Absent"}));
    let readable = json!({"metadata": metadata, "spec": spec, "status": role.status});
    match serde_json::from_value::<IamRole>(readable) {
        Ok(readable) => needs(&readable, object, siblings, context),
        Err(_) => may_admit(object, namespace) || role.status.is_some(),
    }
}

/// Returns true if the role is in the account, or may yet be made there, and no other object of the AWS account keeps it there.
fn needs(role: &IamRole, object: &AwsAccount, siblings: &[Arc<AwsAccount>], context: &Context) -> bool {
    let name = object.name_any();
    let takes_over =
        |other: &Arc<AwsAccount>| other.metadata.deletion_timestamp.is_none() && targets(role, other);
    if siblings.iter().any(takes_over) {
        return false;
    }
    // A status lists only a part of many accounts; the last sweep has shown all roles.
    let has_it = entry_in(role, &name).is_some_and(|a| a.role_id.is_some())
        || context.has_role_of(&name, &context.owner_of(role));
    let may = may_admit(object, role.metadata.namespace.as_deref().unwrap_or_default());
    has_it || (may && (targets(role, object) || stands_in(role, &name)))
}

/// While the account is being deleted it says what still needs it.
pub(super) fn in_use(object: &AwsAccount, context: &Context) -> String {
    let siblings = context.siblings(object);
    let users = context
        .stores
        .roles
        .state_filter(|role| needs(role, object, &siblings, context));
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
