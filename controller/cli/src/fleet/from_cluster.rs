//! Adds the objects of the cluster to an inventory.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use rolectl_core::names::full_name;
use rolectl_core::selection::targets;
use rolectl_crds::AwsAccount;

use super::scope::Scope;
use crate::cluster::{self, Selection};
use crate::failure::Failure;
use crate::once::Inventory;

/// Adds the objects that the files do not contain. A role in both gets its status, UID and creation time from the cluster.
///
/// Returns the name that the controller gives the cluster in owner tags, if it has written one. The status of an account that
/// the roles in scope target takes precedence: another controller can give the same cluster another name.
pub(super) async fn add_objects(
    inventory: &mut Inventory,
    client: &Client,
    with_roles: bool,
    scope: &Scope,
) -> Result<Option<String>, Failure> {
    for role in cluster::roles(client, &Selection::default()).await? {
        let same = inventory
            .roles
            .iter_mut()
            .find(|r| full_name(r) == full_name(&role));
        match same {
            Some(ours) => {
                ours.status = role.status;
                // The older one of two namesakes comes first.
                ours.metadata.uid = role.metadata.uid;
                ours.metadata.creation_timestamp = role.metadata.creation_timestamp;
            }
            None if with_roles => inventory.roles.push(role),
            None => {}
        }
    }
    let accounts = cluster::accounts(client).await?;
    let in_scope: Vec<_> = inventory
        .roles
        .iter()
        .filter(|role| scope.contains(role))
        .collect();
    let is_targeted = |account: &&AwsAccount| in_scope.iter().any(|role| targets(role, account));
    let cluster_name = accounts
        .iter()
        .filter(is_targeted)
        .chain(&accounts)
        .find_map(|account| account.status.as_ref()?.cluster.clone());
    for account in accounts {
        if !inventory
            .accounts
            .iter()
            .any(|a| a.name_any() == account.name_any())
        {
            inventory.accounts.push(account);
        }
    }
    for session in cluster::sessions(client).await? {
        if !inventory
            .sessions
            .iter()
            .any(|s| s.name_any() == session.name_any())
        {
            inventory.sessions.push(session);
        }
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    // Only accounts that select namespaces by labels need them, and not every user may list them.
    if let Ok(namespaces) = namespaces.list(&ListParams::default()).await {
        inventory.namespaces.extend(namespaces);
    }
    Ok(cluster_name)
}
