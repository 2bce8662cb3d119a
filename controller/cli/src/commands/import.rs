//! Implements `rolectl import`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use rolectl_core::glob::matches;
use rolectl_core::role::admission::access_roles;
use rolectl_core::role::import::import;
use rolectl_crds::{AwsAccount, OWNER_TAG};

use crate::cluster;
use crate::failure::Failure;
use crate::files::text_at;
use crate::fleet::{self, Fleet};
use crate::output::counted;
use crate::stdio::{eprintln, println};

/// Write roles that exist as IamRoles, ready to commit
///
/// Reads accounts and prints an IamRole for each role, in canonical form and without what is default anyway. Roles that are the same in
/// several accounts become one IamRole; those that differ get the account in their names. Each has
/// `adoption: IfUnowned`, so that applying it takes the role over: its owner tag is all that changes. Roles that rolectl manages
/// already, and roles of AWS's own services, are left out with a message.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl import --account prod -n platform > prod.yaml
  rolectl import --account prod --account dev --out-dir roles/
  rolectl import --account prod --name 'app-*' --path /team/ accounts.yaml

Exit codes: 0 all that were asked for are written, 1 failed, or some cannot be written, 2 wrong usage.")]
pub struct Import {
    /// Only roles of this name; `*` matches any characters
    #[arg(long, default_value = "*")]
    name: String,
    /// Only roles below this path
    #[arg(long, default_value = "/")]
    path: String,
    /// Namespace of the IamRoles. Default: that of -n, else `default`
    #[arg(long, value_name = "NAMESPACE")]
    into: Option<String>,
    /// Write a file for each role into this folder, `NAME.yaml`; existing files are not replaced
    #[arg(long, value_name = "FOLDER")]
    out_dir: Option<PathBuf>,
    #[command(flatten)]
    fleet: fleet::FleetFlags,
}

/// What came of the roles.
#[derive(Default)]
struct Counts {
    written: usize,
    managed: usize,
    failed: usize,
    all: usize,
}

impl Import {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        if self.fleet.accounts.is_empty() {
            return Err(Failure::new(
                "no account is named",
                "name it with --account; several are possible",
            )
            .usage());
        }
        let into = self.into.as_ref().or(flags.namespace.as_ref());
        let into = into.map_or("default", String::as_str);
        let mut counts = Counts::default();
        let (fleet, accounts) = self.fleet.named_accounts(flags).await?;
        let mut imported = vec![];
        for account in &accounts {
            imported.extend(self.account(&fleet, account, into, &mut counts).await?);
        }
        for object in merged(imported) {
            self.write(&object)?;
        }
        let Counts {
            written,
            managed,
            failed,
            all,
        } = counts;
        let managed = if managed > 0 {
            format!(", {managed} managed by rolectl already")
        } else {
            String::new()
        };
        eprintln!("{written} of {} written{managed}", counted(all, "role"));
        Ok(ExitCode::from(u8::from(failed > 0)))
    }

    async fn account(
        &self,
        fleet: &Fleet,
        account: &AwsAccount,
        into: &str,
        counts: &mut Counts,
    ) -> Result<Vec<Imported>, Failure> {
        let inventory = &fleet.inventory;
        let through = access_roles(
            account,
            &inventory.accounts,
            inventory.sessions.iter().map(|session| &session.spec),
        );
        let mut roles = fleet.all_roles(account).await?;
        let account = account.name_any();
        roles.retain(|role| matches(&self.name, &role.name) && role.path.starts_with(&self.path));
        counts.all += roles.len();
        let mut imported = vec![];
        for role in &roles {
            let left_out = |why: &str| eprintln!("left out: {} in {account}: {why}", role.name);
            if through.contains(&role.arn) {
                left_out("rolectl works through it");
                continue;
            }
            if let Some(owner) = role.tags.get(OWNER_TAG) {
                left_out(&format!("IamRole {owner} manages it"));
                counts.managed += 1;
                continue;
            }
            match import(role, &account, into) {
                Ok(object) => {
                    imported.push(Imported {
                        account: account.clone(),
                        role: role.name.clone(),
                        object,
                    });
                    counts.written += 1;
                }
                Err(why) => {
                    left_out(&why.to_string());
                    counts.failed += usize::from(!role.is_reserved());
                }
            }
        }
        Ok(imported)
    }

    fn write(&self, object: &Value) -> Result<(), Failure> {
        // It has lower case letters, digits, - and . only.
        let name = text_at(object, "/metadata/name");
        let text = serde_saphyr::to_string(object)
            .map_err(|e| Failure::new(format!("could not write {name}: {e}"), "report this as a defect"))?;
        let Some(folder) = &self.out_dir else {
            println!("---\n{}", text.trim_end());
            return Ok(());
        };
        let path = folder.join(format!("{name}.yaml"));
        let failed = |error: std::io::Error| {
            let next = if error.kind() == ErrorKind::AlreadyExists {
                "remove the file, or give another folder; a file that exists is not replaced"
            } else {
                "give a folder that can be written"
            };
            Failure::new(format!("could not write {}: {error}", path.display()), next)
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)
    }
}

/// An `IamRole` for a role of one account.
struct Imported {
    account: String,
    /// Name of the role in AWS.
    role: String,
    object: Value,
}

/// Merges roles of several accounts. Roles with the same name and the same spec become one object. If their specs differ, the name of
/// each object gets the name of its account. All returned objects have different names.
fn merged(imported: Vec<Imported>) -> Vec<Value> {
    let mut by_name: BTreeMap<String, Vec<Imported>> = BTreeMap::new();
    for one in imported {
        let name = text_at(&one.object, "/metadata/name").to_owned();
        by_name.entry(name).or_default().push(one);
    }
    let mut objects = vec![];
    for (name, all) in by_name {
        let mut groups: Vec<(Imported, Vec<String>)> = vec![];
        for one in all {
            let same = groups
                .iter_mut()
                .find(|(first, _)| without_accounts(&first.object) == without_accounts(&one.object));
            if let Some((_, accounts)) = same {
                accounts.push(one.account);
            } else {
                let account = one.account.clone();
                groups.push((one, vec![account]));
            }
        }
        let is_alone = groups.len() == 1;
        for (mut first, accounts) in groups {
            if let Some(names) = first.object.pointer_mut("/spec/accounts/names") {
                *names = json!(accounts);
            }
            if !is_alone {
                put(
                    &mut first.object,
                    "/metadata",
                    "name",
                    format!("{name}.{}", first.account),
                );
                put(&mut first.object, "/spec", "roleName", first.role);
            }
            objects.push(first.object);
        }
    }
    objects
}

fn put(object: &mut Value, parent: &str, key: &str, value: String) {
    if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value.into());
    }
}

fn without_accounts(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(spec) = object.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.remove("accounts");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(account: &str, description: &str) -> Imported {
        let object = json!({"metadata": {"name": "app"}, "spec": {"accounts": {"names": [account]}, "description": description}});
        Imported {
            account: account.to_owned(),
            role: "App".to_owned(),
            object,
        }
    }

    #[test]
    fn a_role_that_is_the_same_everywhere_is_one_object() {
        let objects = merged(vec![imported("dev", "x"), imported("prod", "x")]);
        assert_eq!(
            objects,
            [
                json!({"metadata": {"name": "app"}, "spec": {"accounts": {"names": ["dev", "prod"]}, "description": "x"}})
            ]
        );
    }

    #[test]
    fn roles_that_differ_have_the_account_in_their_names() {
        let objects = merged(vec![
            imported("dev", "x"),
            imported("prod", "y"),
            imported("test", "x"),
        ]);
        let shown: Vec<(&str, &Value)> = objects
            .iter()
            .map(|object| {
                (
                    text_at(object, "/metadata/name"),
                    &object["spec"]["accounts"]["names"],
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("app.dev", &json!(["dev", "test"])),
                ("app.prod", &json!(["prod"]))
            ]
        );
        assert!(objects.iter().all(|object| object["spec"]["roleName"] == "App"));
    }
}
