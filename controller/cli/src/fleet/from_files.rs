//! Adds the objects of files to an inventory.

use serde::de::DeserializeOwned;

use rolectl_core::names::full_name;
use rolectl_crds::{AwsAccount, IamRole, MfaSession};

use crate::cluster;
use crate::failure::Failure;
use crate::files::{self, Found};
use crate::once::Inventory;

/// Adds the objects to the inventory by their kinds. As in kubectl, an `IamRole` of another namespace than `-n` is an error.
pub(super) fn add_objects(
    inventory: &mut Inventory,
    objects: &[Found],
    flags: &cluster::Flags,
) -> Result<(), Failure> {
    for found in objects {
        let kind = found
            .value
            .get("kind")
            .and_then(|k| k.as_str())
            .unwrap_or_default();
        let group = found
            .value
            .get("apiVersion")
            .and_then(|k| k.as_str())
            .unwrap_or_default();
        match kind {
            "Namespace" => inventory.namespaces.push(parsed(found)?),
            _ if !group.starts_with(rolectl_crds::GROUP) => {}
            "IamRole" => {
                // A status in a file is not from a controller.
                let mut role: IamRole = parsed(found)?;
                role.status = None;
                // The metadata of an exported object is from another time, and decides which of two namesakes comes first.
                role.metadata.uid = None;
                role.metadata.creation_timestamp = None;
                role.metadata.deletion_timestamp = None;
                if let Some(namespace) = &flags.namespace {
                    let own = role.metadata.namespace.get_or_insert_with(|| namespace.clone());
                    if own != namespace {
                        return Err(Failure::new(
                            format!(
                                "{}: IamRole {} is of another namespace than -n {namespace}",
                                found.source,
                                full_name(&role)
                            ),
                            "leave -n out, or correct the file",
                        )
                        .usage());
                    }
                }
                inventory.roles.push(role);
            }
            "AwsAccount" => {
                let account: AwsAccount = parsed(found)?;
                inventory.accounts.push(AwsAccount {
                    status: None,
                    ..account
                });
            }
            "MfaSession" => {
                let session: MfaSession = parsed(found)?;
                inventory.sessions.push(MfaSession {
                    status: None,
                    ..session
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Parses an object, and names the file and the object in the error.
fn parsed<K: DeserializeOwned>(found: &Found) -> Result<K, Failure> {
    files::object(&found.value).map_err(|error| {
        let name = found
            .value
            .pointer("/metadata/name")
            .and_then(|n| n.as_str())
            .unwrap_or("?");
        let kind = found.value.get("kind").and_then(|k| k.as_str()).unwrap_or("?");
        Failure::new(
            format!("{}: {kind} {name}: {error}", found.source),
            "correct the file; `rolectl lint` shows all that is wrong",
        )
        .usage()
    })
}
