//! Implements `rolectl forget`.

use clap::Args;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use rolectl_core::forget::{ForgottenRole, MAX_ENTRIES, forgotten};
use rolectl_core::names::{full_name, name_in_aws};
use rolectl_crds::{AwsAccount, FORGET_ANNOTATION, IamRole};

use crate::cluster::{self, Flags, failed};
use crate::failure::Failure;
use crate::output::agreed;
use crate::stdio::{eprintln, println};

/// Let the deletion of IamRoles continue without an account that cannot be reached any more
///
/// The deletion of an IamRole waits for every account in which the role may be. Where an account is closed, or will never let
/// rolectl in again, this ends the wait: the object goes, and the role stays in AWS as it is, with rolectl's tags. Nothing is read
/// from AWS or written to it. It is recorded in an annotation on the AwsAccount, which only the account's owner may write.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl forget role/app -n team-a --account old-sandbox

Exit codes: 0 recorded, 1 failed, or you did not agree, 2 wrong usage.")]
pub struct Forget {
    /// IamRoles that are being deleted, as `NAME` or `role/NAME`, all of one namespace
    #[arg(required = true, value_name = "ROLE")]
    roles: Vec<String>,
    /// Name of the AwsAccount that is not waited for
    #[arg(long)]
    account: String,
    /// Do not ask
    #[arg(long, short = 'y', visible_alias = "auto-approve")]
    yes: bool,
}

impl Forget {
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        let accounts: Api<AwsAccount> = Api::all(client.clone());
        let Some(account) = cluster::get(&accounts, &self.account).await? else {
            return Err(Failure::new(
                format!("there is no AwsAccount {}", self.account),
                "correct --account; for an account without an AwsAccount set deletionPolicy: Retain on the IamRole",
            ));
        };
        let roles: Api<IamRole> = Api::default_namespaced(client.clone());
        let namespace = client.default_namespace().to_owned();
        let mut selected = vec![];
        for name in &self.roles {
            selected.push(deleting(&roles, &namespace, name).await?);
        }
        for role in &selected {
            eprintln!(
                "IamRole {} will no longer wait for AwsAccount {}. Role {} stays in AWS account {} if it is there.",
                full_name(role),
                self.account,
                name_in_aws(role),
                account.spec.account_id
            );
        }
        if !self.yes && !agreed("Forget?")? {
            return Err(Failure::new("nothing was changed", "answer yes, or give --yes"));
        }
        let before = account.annotations().get(FORGET_ANNOTATION);
        if forgotten(&account).is_empty() && before.is_some_and(|text| text.trim() != "[]") {
            return Err(Failure::new(
                format!(
                    "the annotation {FORGET_ANNOTATION} of AwsAccount {} cannot be read",
                    self.account
                ),
                "correct it, or remove it with kubectl annotate, then try again",
            ));
        }
        // Deleted objects need no entry.
        let mut entries = vec![];
        for entry in forgotten(&account) {
            let api: Api<IamRole> = Api::namespaced(client.clone(), &entry.namespace);
            let there = api.get_metadata_opt(&entry.name).await;
            let is_there = match there {
                Ok(there) => there.is_some_and(|there| there.metadata.uid.as_ref() == Some(&entry.uid)),
                // The user may not read this namespace, so its entry stays.
                Err(kube::Error::Api(status)) if status.code == 403 => true,
                Err(error) => return Err(failed("read IamRoles", &error)),
            };
            if is_there {
                entries.push(entry);
            }
        }
        for entry in selected.iter().filter_map(ForgottenRole::of) {
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        if entries.len() > MAX_ENTRIES {
            return Err(Failure::new(
                format!(
                    "AwsAccount {} would name {} IamRoles to forget, and {MAX_ENTRIES} are read",
                    self.account,
                    entries.len()
                ),
                "wait until the first of them are deleted, then try again",
            ));
        }
        let value = serde_json::to_string(&entries).unwrap_or_default();
        // The resource version makes the patch fail if another operator has written in between.
        let patch = json!({"metadata": {
            "resourceVersion": account.resource_version(),
            "annotations": {FORGET_ANNOTATION: value},
        }});
        let patched = accounts
            .patch_metadata(&self.account, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        patched.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 403 => Failure::new(
                format!(
                    "the cluster does not let you change AwsAccount {}: {}",
                    self.account, status.message
                ),
                "ask the owner of the account: it takes the right to patch awsaccounts",
            ),
            kube::Error::Api(status) if status.code == 409 => Failure::new(
                format!("AwsAccount {} was changed meanwhile", self.account),
                "run the command again",
            ),
            error => failed(&format!("annotate AwsAccount {}", self.account), error),
        })?;
        for role in &selected {
            println!(
                "IamRole {}: AwsAccount {} forgotten",
                full_name(role),
                self.account
            );
        }
        Ok(())
    }
}

/// Returns the `IamRole` of this name. Fails if it is not being deleted.
async fn deleting(roles: &Api<IamRole>, namespace: &str, given: &str) -> Result<IamRole, Failure> {
    let name = given
        .strip_prefix("role/")
        .or_else(|| given.strip_prefix("iamrole/"))
        .unwrap_or(given);
    let Some(role) = cluster::get(roles, name).await? else {
        return Err(Failure::new(
            format!("there is no IamRole {namespace}/{name}"),
            "correct the name, or give its namespace with -n",
        ));
    };
    if role.metadata.deletion_timestamp.is_none() {
        return Err(Failure::new(
            format!("IamRole {namespace}/{name} is not being deleted"),
            format!(
                "delete it first: kubectl delete iamrole {name} -n {namespace} --wait=false; or take the account out of its spec.accounts"
            ),
        ));
    }
    Ok(role)
}
