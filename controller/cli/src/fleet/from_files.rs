//! Adds the objects of files to an inventory.

use serde::de::DeserializeOwned;

use rolectl_core::names::full_name;
use rolectl_crds::{AwsAccount, IamRole, MfaSession};

use crate::cluster;
use crate::failure::Failure;
use crate::field::Field;
use crate::files::{self, Found};
use crate::once::Inventory;
use crate::output::printable;

/// Adds the objects to the inventory by their kinds. As in kubectl, an `IamRole` of another namespace than `-n` is an error.
pub(super) fn add_objects(
    inventory: &mut Inventory,
    objects: &[Found],
    flags: &cluster::Flags,
) -> Result<(), Failure> {
    refuse_duplicates(objects, flags.namespace.as_deref().unwrap_or("default"))?;
    for found in objects {
        match files::text_at(&found.value, "/kind") {
            "Namespace" => inventory.namespaces.push(parsed(found)?),
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
                                found.origin.file,
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
            // A misspelled kind of ours is an error; others are not ours.
            _ => drop(parsed::<serde_json::Value>(found)?),
        }
    }
    Ok(())
}

/// An object that two files declare would be the one or the other, by chance.
fn refuse_duplicates(objects: &[Found], namespace: &str) -> Result<(), Failure> {
    let Some((first, second)) = files::duplicates(objects, namespace).into_iter().next() else {
        return Ok(());
    };
    let place = |found: &Found| format!("{}:{}", found.origin.file, found.origin.line(&Field::default()));
    Err(Failure::new(
        format!(
            "{} is declared twice: {} and {}",
            files::title(&second.value),
            place(first),
            place(second)
        ),
        "remove one of the two",
    )
    .usage())
}

/// Parses an object, and names the file and the object in the error.
fn parsed<K: DeserializeOwned>(found: &Found) -> Result<K, Failure> {
    files::object(&found.value).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| {
                let line = found.origin.line(&problem.field);
                format!(
                    "{}:{line}: {}: {problem}",
                    found.origin.file,
                    files::title(&found.value)
                )
            })
            .collect();
        Failure::new(
            lines
                .iter()
                .map(|line| printable(line))
                .collect::<Vec<_>>()
                .join("\n  "),
            "correct the file; `rolectl lint` shows all that is wrong",
        )
        .usage()
    })
}
